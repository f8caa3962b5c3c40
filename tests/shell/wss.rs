//! A feed behind TLS: the certificate decides, and then frames come as they were sent.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use expressnet::model::ids::RequestNo;
use expressnet::model::instrument::VenueId;
use expressnet::node::input::Outcome;
use expressnet::shell::VenueSink;
use expressnet::shell::feed::{self, FeedSettings, Stream};
use expressnet::shell::socket::Trust;
use expressnet::venue::Asked;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use crate::shell::https::serve_tls;
use crate::shell::world::on_local_set;

const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing must happen before nothing is believed.
const QUIET: Duration = Duration::from_millis(700);

#[derive(Default)]
struct Sink {
    ups: RefCell<usize>,
    frames: RefCell<Vec<Vec<u8>>>,
    heard: Notify,
}

impl VenueSink for Sink {
    fn feed_up(&self, _venue: VenueId) {
        *self.ups.borrow_mut() += 1;
        self.heard.notify_one();
    }

    fn feed_frame(&self, _venue: VenueId, bytes: &[u8]) {
        self.frames.borrow_mut().push(bytes.to_vec());
        self.heard.notify_one();
    }

    fn feed_down(&self, _venue: VenueId, _why: &str) {}

    fn reply(&self, _venue: VenueId, _request: RequestNo, _asked: Asked, _outcome: Outcome<'_>) {}
}

#[test]
fn a_feed_behind_tls_brings_what_its_venue_sends_and_answers_its_pings() {
    let (heard, hears) = mpsc::channel();
    let (address, pem) = serve_tls(move |stream| {
        // A client that leaves ends the talk.
        talk(stream, &heard).ok();
    });
    let sink = run(address, Trust::new(Some(&pem)).unwrap(), PATIENCE, |sink| {
        sink.frames.borrow().len() >= 3
    });
    let frames = sink.frames.borrow();
    assert_eq!(frames.len(), 3);
    assert_eq!(frames[0], b"behind the handshake");
    assert_eq!(frames[1], b"subscribe", "what was sent comes back");
    assert_eq!(frames[2], vec![b'x'; 300_000]);
    let from_client: Vec<Message> = hears.try_iter().collect();
    let pong = Message::Pong(b"are you there".to_vec().into());
    assert!(from_client.contains(&pong), "{from_client:?}");
}

#[test]
fn a_feed_whose_certificate_is_not_listed_never_comes_up() {
    let (heard, _hears) = mpsc::channel();
    let (address, _) = serve_tls(move |stream| {
        talk(stream, &heard).ok();
    });
    let (_, other) = serve_tls(|_| ());
    for trust in [
        Trust::new(Some(&other)).unwrap(),
        Trust::new(None).unwrap(),
        Trust::NONE,
    ] {
        let sink = run(address, trust, QUIET, |_| false);
        assert_eq!(*sink.ups.borrow(), 0);
    }
    assert!(Trust::new(Some(b"no certificate")).is_err());
}

/// Keeps a feed running until `is_done`, or for as long as it has.
fn run(
    address: SocketAddr,
    trust: Trust,
    patience: Duration,
    is_done: impl Fn(&Sink) -> bool,
) -> Rc<Sink> {
    on_local_set(async {
        let sink = Rc::new(Sink::default());
        let settings = FeedSettings {
            venue: "far".parse().unwrap(),
            stream: Stream::Plain(format!("wss://localhost:{}/v2?a=b", address.port())),
            trust,
            seed: 1,
        };
        let handle = feed::start(settings, Rc::clone(&sink) as Rc<dyn VenueSink>);
        let came = async {
            let mut has_sent = false;
            while !is_done(&sink) {
                sink.heard.notified().await;
                if *sink.ups.borrow() > 0 && !has_sent {
                    handle.send(b"subscribe");
                    has_sent = true;
                }
            }
        };
        timeout(patience, came).await.ok();
        sink
    })
}

/// Answers the handshake and sends a frame in the same breath, then a ping, what it hears, and a long
/// message in parts.
fn talk(
    stream: &mut (impl Read + Write),
    heard: &mpsc::Sender<Message>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let text = String::from_utf8(request)?;
    assert!(text.starts_with("GET /v2?a=b HTTP/1.1\r\n"), "{text}");
    let key = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then_some(value)
    });
    let accept = derive_accept_key(key.ok_or("no key")?.as_bytes());
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes();
    answer.extend(b"\x81\x14behind the handshake");
    stream.write_all(&answer)?;
    stream.flush()?;
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
    socket.send(Message::Ping(b"are you there".to_vec().into()))?;
    let mut subscription = None;
    let mut has_pong = false;
    while subscription.is_none() || !has_pong {
        let message = socket.read()?;
        has_pong |= message.is_pong();
        if message.is_text() {
            subscription = Some(message.clone());
        }
        heard.send(message)?;
    }
    socket.send(subscription.ok_or("nothing was sent")?)?;
    let stream = socket.get_mut();
    let part = [b'x'; 100_000];
    for head in [0x02, 0x00, 0x80] {
        stream.write_all(&[head, 127])?;
        stream.write_all(&(part.len() as u64).to_be_bytes())?;
        stream.write_all(&part)?;
    }
    stream.flush()?;
    // Until the client leaves.
    while socket.read().is_ok() {}
    Ok(())
}
