//! A served MtGox, a customer who signs for himself, and what the streams say.

use std::io::Write as _;
use std::path::PathBuf;

use aws_lc_rs::hmac;
use data_encoding::{BASE64, HEXLOWER};
use expressnet::model::instrument::Pair;
use expressnet::model::market::Level;
use expressnet::model::number::{Price, Quantity};
use expressnet::model::time::{Span, Time};
use expressnet::venue::Dialect as _;
use expressnet::venue::history::Quotes;
use expressnet::venue::mtgox::dialect::MTGOX;
use expressnet::venue::mtgox::server::MtgoxServer;
use expressnet::venue::serving::fault::Fault;
use expressnet::venue::serving::market::Source;
pub(super) use expressnet::venue::serving::{AccountSettings, ServerSettings};
use expressnet::venue::{Credentials, Server, ServerReply, ServerRequest, StreamNo};
use serde_json::{Value, json};

pub(super) const KEY: &str = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
pub(super) const SECRET: &str =
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
pub(super) const OTHER: &str = "0e1c8a57-3c1f-4b61-9f46-2f3e8ad7b1c5";
pub(super) const START: Time = Time(1_364_691_201_933_000_000);

/// A venue, its time, and everything its streams were sent.
pub(super) struct World {
    pub(super) server: MtgoxServer,
    pub(super) now: Time,
    pub(super) frames: Vec<(u64, Vec<u8>)>,
    nonce: u64,
}

/// An answer that is JSON, with its status.
pub(super) type Reply = (u16, Value);

pub(super) fn pair(text: &str) -> Pair {
    text.parse().unwrap()
}

pub(super) fn level(price: &str, quantity: &str) -> Level {
    Level {
        price: price.parse().unwrap(),
        quantity: quantity.parse().unwrap(),
    }
}

pub(super) fn account(key: &str, balances: &[(&str, &str)]) -> AccountSettings {
    let read = |(currency, amount): &(&str, &str)| -> (_, Quantity) {
        (currency.parse().unwrap(), amount.parse().unwrap())
    };
    AccountSettings {
        credentials: Credentials {
            key: key.to_owned(),
            secret: SECRET.to_owned(),
        },
        balances: balances.iter().map(read).collect(),
        may_withdraw: false,
    }
}

/// Bids at 90, 80 and 50, asks at 100, 101 and 150 dollars, one BTC each.
pub(super) fn ladder() -> Source {
    let levels = |prices: [&str; 3]| prices.map(|price| level(price, "1")).to_vec();
    Source::Ladder {
        bids: levels(["90", "80", "50"]),
        asks: levels(["100", "101", "150"]),
    }
}

pub(super) fn settings() -> ServerSettings {
    ServerSettings {
        rules: MTGOX.card().rules,
        maker_fee_ppm: MTGOX.card().rules.taker_fee_ppm,
        markets: vec![(pair("BTC/USD"), ladder())],
        accounts: vec![
            account(KEY, &[("USD", "1000"), ("BTC", "10")]),
            account(OTHER, &[("USD", "1000"), ("BTC", "10")]),
        ],
        seed: 7,
        faults: Vec::new(),
        requests_per_s: 10_000,
        personality: None,
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(settings())
    }

    pub(super) fn with_faults(faults: &[(Fault, u32)]) -> Self {
        Self::with(ServerSettings {
            faults: faults.to_vec(),
            ..settings()
        })
    }

    pub(super) fn with(settings: ServerSettings) -> Self {
        let mut world = Self {
            server: MtgoxServer::new(settings).unwrap(),
            now: START,
            frames: Vec::new(),
            nonce: 1,
        };
        world.run();
        world
    }

    /// Does what is due now.
    pub(super) fn run(&mut self) -> Option<Time> {
        let frames = &mut self.frames;
        self.server.handle_deadline(self.now, &mut |no, frame| {
            frames.push((no.0, frame.to_vec()));
        })
    }

    /// Lets time pass in steps of a tenth of a second.
    pub(super) fn wait(&mut self, span: Span) {
        let until = self.now + span;
        while self.now < until {
            self.now = until.min(self.now + Span::millis(100));
            self.run();
        }
    }

    pub(super) fn send(&mut self, request: &ServerRequest<'_>) -> ServerReply {
        let frames = &mut self.frames;
        self.server
            .handle_request(request, self.now, &mut |no, frame| {
                frames.push((no.0, frame.to_vec()));
            })
    }

    pub(super) fn get(&mut self, target: &str) -> Reply {
        json_of(self.raw_get(target))
    }

    pub(super) fn raw_get(&mut self, target: &str) -> ServerReply {
        self.send(&ServerRequest {
            peer: "here",
            method: "GET",
            target,
            headers: &[("user-agent", "test")],
            body: b"",
        })
    }

    /// Signs and sends a form; the nonce is added.
    pub(super) fn post(&mut self, target: &str, form: &str) -> Reply {
        json_of(self.raw_post(KEY, target, form))
    }

    pub(super) fn post_as(&mut self, key: &str, target: &str, form: &str) -> Reply {
        json_of(self.raw_post(key, target, form))
    }

    pub(super) fn raw_post(&mut self, key: &str, target: &str, form: &str) -> ServerReply {
        let body = format!("nonce={}&{form}", self.next_nonce());
        self.post_body(key, target, &body)
    }

    pub(super) fn post_body(&mut self, key: &str, target: &str, body: &str) -> ServerReply {
        let sign = sign_request(target, body);
        self.send(&ServerRequest {
            peer: "here",
            method: "POST",
            target,
            headers: &[("rest-key", key), ("rest-sign", &sign)],
            body: body.as_bytes(),
        })
    }

    pub(super) fn next_nonce(&mut self) -> u64 {
        self.nonce += 1;
        self.nonce
    }

    /// Places an order in dollars and returns its id; the engine has not seen it yet.
    pub(super) fn add(&mut self, side: &str, amount: &str, price: Option<&str>) -> String {
        self.add_as(KEY, side, amount, price)
    }

    pub(super) fn add_as(
        &mut self,
        key: &str,
        side: &str,
        amount: &str,
        price: Option<&str>,
    ) -> String {
        let (status, reply) = self.post_as(
            key,
            "/api/2/BTCUSD/money/order/add",
            &order(side, amount, price),
        );
        assert_eq!(
            (status, &reply["result"]),
            (200, &json!("success")),
            "{reply}"
        );
        reply["data"].as_str().unwrap().to_owned()
    }

    pub(super) fn cancel(&mut self, oid: &str) -> Reply {
        self.post("/api/2/money/order/cancel", &format!("oid={oid}"))
    }

    pub(super) fn orders(&mut self) -> Vec<Value> {
        let (_, reply) = self.post("/api/2/money/orders", "");
        reply["data"].as_array().unwrap().clone()
    }

    pub(super) fn result(&mut self, side: &str, oid: &str) -> Value {
        let form = format!("type={side}&order={oid}");
        self.post("/api/2/money/order/result", &form).1
    }

    pub(super) fn history(&mut self, currency: &str) -> Vec<Value> {
        let form = format!("currency={currency}");
        let (_, reply) = self.post("/api/2/money/wallet/history", &form);
        reply["data"]["result"].as_array().unwrap().clone()
    }

    pub(super) fn quote(&mut self, bids: &[Level], asks: &[Level]) {
        let quotes = Quotes {
            bids: bids.to_vec(),
            asks: asks.to_vec(),
        };
        let frames = &mut self.frames;
        self.server
            .quote(pair("BTC/USD"), &quotes, self.now, &mut |no, frame| {
                frames.push((no.0, frame.to_vec()));
            });
    }

    pub(super) fn open(&mut self, no: u64, target: &str) -> bool {
        let is_open = self.server.handle_stream(StreamNo(no), target, self.now);
        self.run();
        is_open
    }

    pub(super) fn say(&mut self, no: u64, frame: &[u8]) {
        let frames = &mut self.frames;
        self.server
            .handle_frame(StreamNo(no), frame, self.now, &mut |no, frame| {
                frames.push((no.0, frame.to_vec()));
            });
    }

    /// Subscribes a stream to the private channel of the customer.
    pub(super) fn listen(&mut self, no: u64) {
        let (_, reply) = self.post("/api/2/money/idkey", "");
        let frame = json!({"op": "mtgox.subscribe", "key": reply["data"]});
        self.say(no, frame.to_string().as_bytes());
    }

    /// Sends a signed call and takes the frame that answers it.
    pub(super) fn call(&mut self, no: u64, call: &str, params: &Value) -> Value {
        let inner = json!({
            "id": "1", "call": call, "params": params, "item": "BTC", "currency": "USD",
            "nonce": self.next_nonce(),
        });
        self.call_text(no, &inner.to_string())
    }

    pub(super) fn call_text(&mut self, no: u64, inner: &str) -> Value {
        let key = HEXLOWER.decode(KEY.replace('-', "").as_bytes()).unwrap();
        let sign = hmac::sign(&signer(), inner.as_bytes());
        let call = BASE64.encode(&[&key, sign.as_ref(), inner.as_bytes()].concat());
        let frame = json!({"op": "call", "call": call, "id": "1", "context": "mtgox.com"});
        self.say(no, frame.to_string().as_bytes());
        let last = self.frames.pop().map(|(_, frame)| frame);
        serde_json::from_slice(&last.unwrap_or_default()).unwrap_or(Value::Null)
    }

    /// Takes the frames of one stream so far.
    pub(super) fn heard(&mut self, no: u64) -> Vec<Value> {
        let mut heard = Vec::new();
        self.frames.retain(|(stream, frame)| {
            if *stream == no {
                heard.push(serde_json::from_slice(frame).unwrap());
            }
            *stream != no
        });
        heard
    }

    /// Takes the frames of one stream and keeps the bodies of one kind.
    pub(super) fn heard_of(&mut self, no: u64, kind: &str) -> Vec<Value> {
        let frames = self.heard(no).into_iter();
        let of_kind = frames.filter(|frame| frame["private"] == kind);
        of_kind.map(|frame| frame[kind].clone()).collect()
    }

    /// Takes the news of orders: status or reason, each with what is left.
    pub(super) fn news(&mut self, no: u64) -> Vec<String> {
        let news = self.heard_of(no, "user_order").into_iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        news.map(|order| {
            if order["status"].is_null() {
                return text(&order["reason"]);
            }
            let left = text(&order["amount"]["value"]);
            format!("{} {left}", text(&order["status"]))
        })
        .collect()
    }

    #[track_caller]
    pub(super) fn check_sums(&self) {
        assert_eq!(self.server.audit().imbalance, None);
    }
}

pub(super) fn order(side: &str, amount: &str, price: Option<&str>) -> String {
    let amount: Quantity = amount.parse().unwrap();
    let price = price.map(|price| price.parse::<Price>().unwrap().0 / 1_000);
    let price = price.map_or_else(String::new, |price| format!("&price_int={price}"));
    format!("type={side}&amount_int={}{price}", amount.0)
}

/// Signs as the version in the path wants it.
pub(super) fn sign_request(target: &str, body: &str) -> String {
    let path = target.split('?').next().unwrap();
    let signed = match path.strip_prefix("/api/2/") {
        Some(path) => format!("{path}\0{body}"),
        None => body.to_owned(),
    };
    BASE64.encode(hmac::sign(&signer(), signed.as_bytes()).as_ref())
}

fn signer() -> hmac::Key {
    hmac::Key::new(
        hmac::HMAC_SHA512,
        &BASE64.decode(SECRET.as_bytes()).unwrap(),
    )
}

#[track_caller]
pub(super) fn json_of(reply: ServerReply) -> Reply {
    let (status, body) = body_of(reply);
    let text = String::from_utf8_lossy(&body).into_owned();
    let value = serde_json::from_slice(&body);
    (status, value.unwrap_or(Value::String(text)))
}

#[track_caller]
pub(super) fn body_of(reply: ServerReply) -> (u16, Vec<u8>) {
    match reply {
        ServerReply::Answer { status, body, .. } => (status, body),
        ServerReply::Lost => panic!("the reply is lost"),
    }
}

/// Returns a file of the captures, or says loudly that there is none.
pub(super) fn fixture(name: &str) -> Option<Vec<u8>> {
    let given = std::env::var_os("EXPRESSNET_FIXTURES").map(PathBuf::from);
    let top = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = given.unwrap_or_else(|| top.join("../shared/fixtures"));
    let found = std::fs::read(folder.join(name)).ok();
    if found.is_none() {
        // Written past the capture of the test harness, so that the skip is seen.
        let line = format!("SKIPPED: no {name} in the folder of captures\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    found
}
