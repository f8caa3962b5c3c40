//! Orders at a venue behind https: the certificate decides, and then all is as elsewhere.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use expressnet::model::currency::Currency;
use expressnet::model::ids::{OrderId, RequestNo};
use expressnet::model::instrument::{Market, VenueId};
use expressnet::model::market::Side;
use expressnet::model::number::{Price, Quantity};
use expressnet::model::sealed::{Approved, ApprovedOrder};
use expressnet::model::time::Time;
use expressnet::node::input::Outcome;
use expressnet::shell::VenueSink;
use expressnet::shell::orders::{self, OrdersSettings};
use expressnet::venue::btce::dialect::YOBIT_DIALECT;
use expressnet::venue::http::parse_request;
use expressnet::venue::serving::market::Source;
use expressnet::venue::serving::{AccountSettings, ServerSettings};
use expressnet::venue::{
    Asked, Credentials, Dialect, Framing, OrderClient, Server, ServerReply, ServerRequest, Setup,
    Told,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::shell::world::{on_local_set, pem};

const NOW: Time = Time(1_800_000_000_000_000_000);
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn orders_reach_a_venue_behind_https_whose_certificate_is_listed() {
    let (address, pem) = serve();
    let answers = ask(address, Some(pem));
    assert_eq!(answers.len(), 3, "{answers:?}");
    assert!(answers.iter().all(Option::is_some), "{answers:?}");
    let mut client = client(address);
    let mut told = Vec::new();
    let mut read = |asked, answer: &Answer| {
        let (status, body) = answer.clone().unwrap();
        let mut keep = |fact| told.push(fact);
        client.decode_reply(asked, status, &body, NOW, &mut keep)
    };
    assert_eq!(read(Asked::Account, &answers[0]), Ok(()));
    assert!(told.contains(&Told::Balance {
        currency: Currency::USD,
        free: Quantity::whole(1_000),
        held: Quantity::ZERO,
    }));
    let placed = String::from_utf8(answers[1].clone().unwrap().1).unwrap();
    assert!(placed.contains("\"order_id\":1"), "{placed}");
    let document = String::from_utf8(answers[2].clone().unwrap().1).unwrap();
    assert!(document.contains("btc_usd"), "{document}");
}

#[test]
fn a_venue_with_another_certificate_gets_no_order() {
    let (address, _) = serve();
    let (_, other) = serve();
    let answers = ask(address, Some(other));
    assert_eq!(answers, [None, None, None]);
    assert_eq!(ask(address, None), [None, None, None]);
}

/// Sends a question, an order and a request for a document; returns what came back.
fn ask(address: SocketAddr, ca_pem: Option<Vec<u8>>) -> Vec<Answer> {
    on_local_set(async {
        let sink = Rc::new(Sink::default());
        let settings = OrdersSettings {
            venue: "yobit".parse().unwrap(),
            http: format!("https://localhost:{}", address.port()),
            ca_pem,
            may_order: true,
        };
        let handle = orders::start(&settings, Rc::clone(&sink) as Rc<dyn VenueSink>).unwrap();
        let mut client = client(address);
        let mut account = Vec::new();
        client.account(NOW, &mut account);
        let mut order = Vec::new();
        client.place(&approved(), NOW, &mut order);
        let document = b"GET /api/3/depth/btc_usd HTTP/1.1\r\nHost: h\r\n\r\n".to_vec();
        let asked = [
            (Asked::Account, account),
            (Asked::Place(OrderId(7)), order),
            (Asked::Public(expressnet::venue::Ticket(0)), document),
        ];
        for (number, (asked, bytes)) in asked.into_iter().enumerate() {
            let request = RequestNo(number as u64 + 1);
            handle.send(request, asked, bytes).unwrap();
            timeout(PATIENCE, sink.came.notified()).await.unwrap();
            assert_eq!(sink.answers.borrow().len(), number + 1);
        }
        sink.answers.borrow().clone()
    })
}

/// Status and body, where there was a reply.
type Answer = Option<(u16, Vec<u8>)>;

#[derive(Default)]
struct Sink {
    answers: RefCell<Vec<Answer>>,
    came: Notify,
}

impl VenueSink for Sink {
    fn feed_up(&self, _venue: VenueId) {}

    fn feed_frame(&self, _venue: VenueId, _bytes: &[u8]) {}

    fn feed_down(&self, _venue: VenueId, _why: &str) {}

    fn reply(&self, _venue: VenueId, _request: RequestNo, _asked: Asked, outcome: Outcome<'_>) {
        let answer = match outcome {
            Outcome::Reply { status, body } => Some((status, body.to_vec())),
            Outcome::NotSent | Outcome::Lost => None,
        };
        self.answers.borrow_mut().push(answer);
        self.came.notify_one();
    }
}

fn credentials() -> Credentials {
    Credentials {
        key: "key".to_owned(),
        secret: "secret".to_owned(),
    }
}

fn client(address: SocketAddr) -> Box<dyn OrderClient> {
    let setup = Setup {
        venue: "yobit".parse().unwrap(),
        host: format!("localhost:{}", address.port()),
        pairs: vec!["BTC/USD".parse().unwrap()],
        rules: Vec::new(),
        framing: Framing::Polled,
    };
    let mut client = YOBIT_DIALECT.order_client(&setup, credentials()).unwrap();
    let below = client.nonces_wanted(NOW).unwrap();
    client.grant_nonces(below);
    client
}

fn approved() -> Approved {
    Approved::seal(ApprovedOrder {
        id: OrderId(7),
        market: Market {
            venue: "yobit".parse().unwrap(),
            pair: "BTC/USD".parse().unwrap(),
        },
        side: Side::Bid,
        quantity: Quantity::whole(1),
        limit: Price::whole(50),
    })
}

/// Serves a YoBit on a thread of its own; returns where, and its certificate.
fn serve() -> (SocketAddr, Vec<u8>) {
    let mut server = yobit();
    serve_tls(move |stream| {
        // A client that does not like the certificate hangs up: the next one may.
        answer_all(&mut *server, stream).ok();
    })
}

/// Lets `answer` talk to one client after the other behind a certificate of its own.
pub(crate) fn serve_tls(
    mut answer: impl FnMut(&mut StreamOwned<ServerConnection, TcpStream>) + Send + 'static,
) -> (SocketAddr, Vec<u8>) {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            answer(&mut StreamOwned::new(connection, socket));
        }
    });
    (address, pem("CERTIFICATE", issued.cert.der()).into_bytes())
}

fn answer_all(server: &mut dyn Server, stream: &mut (impl Read + Write)) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut part = [0; 4_096];
    loop {
        let len = stream.read(&mut part)?;
        if len == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&part[..len]);
        server.handle_deadline(NOW, &mut |_, _| ());
        let Ok(Some(request)) = parse_request(&bytes, 65_536) else {
            continue;
        };
        let served = ServerRequest {
            peer: "127.0.0.1",
            method: request.method,
            target: request.target,
            headers: &request.headers,
            body: &request.body,
        };
        let reply = server.handle_request(&served, NOW, &mut |_, _| ());
        let taken = request.len;
        bytes.drain(..taken);
        if let ServerReply::Answer { status, body, .. } = reply {
            let head = format!(
                "HTTP/1.1 {status} OK\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body)?;
            stream.flush()?;
        }
    }
}

fn yobit() -> Box<dyn Server> {
    let pair = "BTC/USD".parse().unwrap();
    let rules = YOBIT_DIALECT.rules(pair);
    let price = Price::whole(100);
    let settings = ServerSettings {
        rules,
        maker_fee_ppm: rules.taker_fee_ppm,
        markets: vec![(pair, Source::Flow { price })],
        accounts: vec![AccountSettings {
            credentials: credentials(),
            balances: vec![(Currency::USD, Quantity::whole(1_000))],
            may_withdraw: false,
        }],
        seed: 1,
        faults: Vec::new(),
        requests_per_s: 100,
        personality: None,
    };
    YOBIT_DIALECT.server(settings).unwrap()
}
