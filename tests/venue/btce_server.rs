//! The served BTC-e dialect, driven by the bytes that clients of the time sent.

mod access;
mod faults;
mod feed;
mod orders;
mod public;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use expressnet::model::currency::Currency;
use expressnet::model::instrument::Pair;
use expressnet::model::market::Level;
use expressnet::model::number::{Price, Quantity};
use expressnet::model::time::Time;
use expressnet::venue::btce::server::BtceServer;
use expressnet::venue::btce::style::Style;
use expressnet::venue::serving::market::Source;
use expressnet::venue::serving::{AccountSettings, ServerSettings};
use expressnet::venue::{Credentials, Server, ServerReply, ServerRequest, StreamNo};

/// An exchange with two customers, and the next nonce of each.
struct Shop {
    server: BtceServer,
    nonces: [u32; 2],
    now: Time,
}

impl Shop {
    fn open(style: &'static Style) -> Self {
        Self::of(settings(style, 1), style)
    }

    fn of(settings: ServerSettings, style: &'static Style) -> Self {
        let mut server = BtceServer::new(settings, style).unwrap();
        server.handle_deadline(START, &mut |_, _| ());
        Self {
            server,
            nonces: [0; 2],
            now: START,
        }
    }

    fn get(&mut self, target: &str) -> String {
        text_of(
            self.server
                .handle_request(&public(target), self.now, &mut |_, _| ()),
        )
    }

    /// Sends a body that is whole, with its nonce.
    fn send(&mut self, key: &str, body: &str) -> String {
        text_of(self.sent(key, body, &mut |_, _| ()))
    }

    fn call(&mut self, key: &str, method: &str, fields: &str) -> String {
        text_of(self.reply(key, method, fields))
    }

    fn trade(&mut self, key: &str, pair: &str, kind: &str, rate: &str, amount: &str) -> String {
        let fields = format!("&pair={pair}&type={kind}&rate={rate}&amount={amount}");
        self.call(key, "Trade", &fields)
    }

    fn reply(&mut self, key: &str, method: &str, fields: &str) -> ServerReply {
        let body = self.body(key, method, fields);
        self.sent(key, &body, &mut |_, _| ())
    }

    /// Returns what streams were told while a request was answered.
    fn pushed(&mut self, key: &str, method: &str, fields: &str) -> Vec<(StreamNo, String)> {
        let body = self.body(key, method, fields);
        let mut pushed = Vec::new();
        self.sent(key, &body, &mut |stream, frame| {
            pushed.push((stream, frame.to_vec()))
        });
        texts_of(pushed)
    }

    fn body(&mut self, key: &str, method: &str, fields: &str) -> String {
        let nonce = &mut self.nonces[usize::from(key == "two")];
        *nonce += 1;
        format!("method={method}&nonce={nonce}{fields}")
    }

    fn sent(
        &mut self,
        key: &str,
        body: &str,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) -> ServerReply {
        let sign = signed(SECRET, body.as_bytes());
        let headers = [("Key", key), ("Sign", sign.as_str())];
        let request = ServerRequest {
            peer: "here",
            method: "POST",
            target: "/tapi",
            headers: &headers,
            body: body.as_bytes(),
        };
        self.server.handle_request(&request, self.now, push)
    }

    fn tend(&mut self) -> Vec<(StreamNo, String)> {
        let mut pushed = Vec::new();
        let mut push = |stream: StreamNo, frame: &[u8]| pushed.push((stream, frame.to_vec()));
        self.server.handle_deadline(self.now, &mut push);
        texts_of(pushed)
    }

    /// Sends a frame and returns the one that answers it, if there is one.
    fn frame(&mut self, stream: StreamNo, frame: &str) -> String {
        let mut pushed = Vec::new();
        let mut push = |stream: StreamNo, frame: &[u8]| pushed.push((stream, frame.to_vec()));
        self.server
            .handle_frame(stream, frame.as_bytes(), self.now, &mut push);
        let mut texts = texts_of(pushed);
        assert!(texts.len() <= 1);
        texts.pop().map_or_else(String::new, |(_, text)| text)
    }
}

const START: Time = Time(1_385_205_219_000_000_000);
const SECRET: &str = "a secret of plain text";
const FEED: &str = "/app/c354d4d129ee0faa5c92?protocol=7&client=js&version=2.1";
const RATE: u16 = 100;

fn settings(style: &'static Style, seed: u64) -> ServerSettings {
    let level = |price: i64, quantity| Level {
        price: Price(price),
        quantity: Quantity::whole(quantity),
    };
    let dollars = Source::Ladder {
        bids: vec![level(9_925_000_000, 1), level(9_800_000_000, 2)],
        asks: vec![level(10_150_000_000, 1), level(10_200_000_000, 2)],
    };
    let coins = Source::Ladder {
        bids: vec![level(1_999_000, 50)],
        asks: vec![level(2_000_000, 100)],
    };
    let mut rich = account("two", SECRET);
    rich.may_withdraw = true;
    ServerSettings {
        rules: style.rules,
        maker_fee_ppm: style.rules.taker_fee_ppm,
        markets: vec![(btc_usd(), dollars), ("LTC/BTC".parse().unwrap(), coins)],
        accounts: vec![account("one", SECRET), rich],
        seed,
        faults: Vec::new(),
        requests_per_s: RATE,
        personality: None,
    }
}

fn account(key: &str, secret: &str) -> AccountSettings {
    AccountSettings {
        credentials: Credentials {
            key: key.to_owned(),
            secret: secret.to_owned(),
        },
        balances: vec![
            (Currency::USD, Quantity::whole(1_000)),
            (Currency::BTC, Quantity::whole(10)),
        ],
        may_withdraw: false,
    }
}

fn btc_usd() -> Pair {
    "BTC/USD".parse().unwrap()
}

fn public(target: &str) -> ServerRequest<'_> {
    ServerRequest {
        peer: "here",
        method: "GET",
        target,
        headers: &[],
        body: b"",
    }
}

fn ask(
    server: &mut BtceServer,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
    now: Time,
) -> String {
    let request = ServerRequest {
        peer: "there",
        method,
        target,
        headers,
        body: body.as_bytes(),
    };
    text_of(server.handle_request(&request, now, &mut |_, _| ()))
}

fn text_of(reply: ServerReply) -> String {
    match reply {
        ServerReply::Answer { status, body, .. } => {
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
            String::from_utf8(body).unwrap()
        }
        ServerReply::Lost => panic!("nothing is lost here"),
    }
}

fn texts_of(pushed: Vec<(StreamNo, Vec<u8>)>) -> Vec<(StreamNo, String)> {
    let text = |(stream, frame)| (stream, String::from_utf8(frame).unwrap());
    pushed.into_iter().map(text).collect()
}

fn refusal(error: &str) -> String {
    format!("{{\"success\":0,\"error\":\"{error}\"}}")
}

/// Signs a body as a client does.
fn signed(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA512, secret.as_bytes());
    HEXLOWER.encode(hmac::sign(&key, body).as_ref())
}
