//! A gigabyte at every door that takes bytes from a file or a socket: it is refused after little,
//! and what stands behind the door goes on.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use expressnet::model::ids::{OrderId, RequestNo};
use expressnet::model::instrument::VenueId;
use expressnet::node::input::Outcome;
use expressnet::shell::VenueSink;
use expressnet::shell::feed::{self, FeedSettings, Stream};
use expressnet::shell::orders::{self, OrdersSettings};
use expressnet::shell::socket::Trust;
use expressnet::shell::ticks::read_ticks;
use expressnet::venue::Asked;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::shell::world::on_local_set;

const GIGABYTE: u64 = 1 << 30;
/// What a door may take in before it closes, buffers of both ends included.
const TAKEN_MAX: u64 = 32 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_frame_of_a_gigabyte_ends_the_stream_and_the_feed_comes_back() {
    on_local_set(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sink = Rc::new(Counting::default());
        let settings = FeedSettings {
            venue: venue(),
            stream: Stream::Plain(format!("ws://{address}/ws")),
            trust: Trust::NONE,
            seed: 1,
        };
        let _feed = feed::start(settings, Rc::clone(&sink) as Rc<dyn VenueSink>);
        for round in 0..2 {
            let mut stream = accept(&listener).await;
            upgrade(&mut stream).await;
            let head = [&[0x81, 127][..], &GIGABYTE.to_be_bytes()].concat();
            stream.write_all(&head).await.unwrap();
            let taken = pour(&mut stream).await;
            assert!(taken < TAKEN_MAX, "round {round}: took {taken} bytes");
        }
        // Many short fragments of one message that never ends.
        let mut stream = accept(&listener).await;
        upgrade(&mut stream).await;
        stream.write_all(&[0x01, 126, 0xFF, 0xFF]).await.unwrap();
        stream.write_all(&[b'a'; 0xFFFF]).await.unwrap();
        let mut taken = 0;
        let part = [&[0x00, 126, 0xFF, 0xFF][..], &[b'a'; 0xFFFF]].concat();
        while taken < GIGABYTE && stream.write_all(&part).await.is_ok() {
            taken += part.len() as u64;
        }
        assert!(taken < TAKEN_MAX, "took {taken} bytes");
        let mut stream = accept(&listener).await;
        upgrade(&mut stream).await;
        assert_eq!(sink.frames.get(), 0);
        assert!(sink.downs.get() >= 3);
    });
}

#[test]
fn a_reply_of_a_gigabyte_is_lost_and_the_next_one_is_heard() {
    on_local_set(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sink = Rc::new(Counting::default());
        let shared = Rc::clone(&sink) as Rc<dyn VenueSink>;
        let orders = orders::start(&plain(&format!("http://{address}")), shared).unwrap();
        let request = b"POST /order HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
        let ask = |number: u64| {
            let asked = Asked::Place(OrderId(number));
            orders.send(RequestNo(number), asked, request.to_vec()).ok();
        };
        let answer = Rc::new(RefCell::new(String::new()));
        let taken = Rc::new(Cell::new(0));
        let (said, most) = (Rc::clone(&answer), Rc::clone(&taken));
        spawn_local(async move {
            // The lane keeps a spare connection, so any of several may be asked.
            while let Ok((mut stream, _)) = listener.accept().await {
                let (said, most) = (Rc::clone(&said), Rc::clone(&most));
                spawn_local(async move {
                    let mut bytes = [0; 1024];
                    while stream.read(&mut bytes).await.is_ok_and(|len| len > 0) {
                        let head = said.borrow().clone();
                        if stream.write_all(head.as_bytes()).await.is_err() {
                            break;
                        }
                        if !head.ends_with("ok") {
                            most.set(most.get().max(pour(&mut stream).await));
                            break;
                        }
                    }
                });
            }
        });
        for head in [
            format!("HTTP/1.1 200 OK\r\nContent-Length: {GIGABYTE}\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nX: ".to_owned(),
        ] {
            *answer.borrow_mut() = head;
            let before = sink.lost.get();
            ask(before + 1);
            until(|| {
                // While the lane connects anew, nothing leaves.
                if sink.not_sent.replace(0) > 0 {
                    ask(before + 1);
                }
                sink.lost.get() > before
            })
            .await;
        }
        assert!(taken.get() > 0, "nothing was poured");
        assert!(taken.get() < TAKEN_MAX, "took {} bytes", taken.get());
        *answer.borrow_mut() = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned();
        until(|| {
            if sink.replies.get() == 0 {
                ask(9);
            }
            sink.replies.get() > 0
        })
        .await;
    });
}

#[test]
fn files_of_a_gigabyte_are_refused_after_their_first_bytes() {
    let home = crate::home("doors-endless");
    // A line without an end, packed.
    let ticks = home.join("mtgoxUSD.csv.gz");
    let mut packer = GzEncoder::new(File::create(&ticks).unwrap(), Compression::fast());
    for _ in 0..64 {
        packer.write_all(&vec![b'9'; 1 << 20]).unwrap();
    }
    packer.finish().unwrap();
    let refused = read_ticks(&ticks).unwrap_err().to_string();
    assert!(refused.starts_with("line 1:"), "{refused}");
    // Bytes that are no text, and numbers that are no amounts.
    for (bytes, named) in [
        (&b"1315922016,5.8,1\n\xFF\xFE,1,2\n"[..], "line 2:"),
        (b"1315922016,5.8,99999999999999999999999999\n", "line 1:"),
        (b"1315922016,5.8\n", "line 1:"),
        (b"99999999999999999999,5.8,1\n", "line 1:"),
    ] {
        let ticks = home.join("x.csv");
        fs::write(&ticks, bytes).unwrap();
        let refused = read_ticks(&ticks).unwrap_err().to_string();
        assert!(refused.starts_with(named), "{refused}");
    }
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_expressnet"))
        .args(["--home"])
        .arg(home.join("node"))
        .arg("init")
        .output()
        .unwrap();
    assert!(output.status.success());
    let config = File::create(home.join("node").join("node.toml")).unwrap();
    config.set_len(GIGABYTE).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_expressnet"))
        .args(["--home"])
        .arg(home.join("node"))
        .args(["config", "check"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("node.toml") && text.contains("1048576"),
        "{text}"
    );
}

/// Counts what the shell tells.
#[derive(Debug, Default)]
struct Counting {
    downs: Cell<u64>,
    frames: Cell<u64>,
    replies: Cell<u64>,
    lost: Cell<u64>,
    not_sent: Cell<u64>,
}

impl VenueSink for Counting {
    fn feed_up(&self, _venue: VenueId) {}

    fn feed_down(&self, _venue: VenueId, _why: &str) {
        self.downs.set(self.downs.get() + 1);
    }

    fn feed_frame(&self, _venue: VenueId, _bytes: &[u8]) {
        self.frames.set(self.frames.get() + 1);
    }

    fn reply(&self, _venue: VenueId, _request: RequestNo, _asked: Asked, outcome: Outcome<'_>) {
        let count = match outcome {
            Outcome::Reply { .. } => &self.replies,
            Outcome::Lost => &self.lost,
            Outcome::NotSent => &self.not_sent,
        };
        count.set(count.get() + 1);
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    timeout(PATIENCE, listener.accept())
        .await
        .unwrap()
        .unwrap()
        .0
}

/// Answers a WebSocket handshake.
async fn upgrade(stream: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let text = String::from_utf8(request).unwrap();
    let key = text
        .lines()
        .find_map(|line| {
            line.split_once(": ")
                .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        })
        .unwrap()
        .1
        .trim();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// Writes until the other end has enough of it; returns how much went in.
async fn pour(stream: &mut TcpStream) -> u64 {
    let part = vec![b'a'; 1 << 16];
    let mut taken = 0;
    while taken < GIGABYTE {
        match timeout(Duration::from_secs(3), stream.write_all(&part)).await {
            Ok(Ok(())) => taken += part.len() as u64,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    taken
}

async fn until(mut done: impl FnMut() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !done() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap();
}

fn plain(http: &str) -> OrdersSettings {
    OrdersSettings {
        venue: venue(),
        http: http.to_owned(),
        ca_pem: None,
        may_order: true,
    }
}

fn venue() -> VenueId {
    "alpha".parse().unwrap()
}
