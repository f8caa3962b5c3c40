//! NATS: a message on one subject, its answer on another, through a server of its own, without TLS.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::contestant::{Contestant, Threaded, pin};
use crate::echo::{Echo, measure};
use crate::udp::runtime;

/// How often the server is looked for, ten milliseconds apart.
const LOOKS_MAX: usize = 500;

/// A server that ends with its owner, as its defaults have it.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts the server that `benches/peers/nats-server` fetched, or the one of the system.
    pub(crate) fn start() -> Option<Self> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/nats/usr/sbin/nats-server");
        let program = if own.is_file() {
            own
        } else {
            "nats-server".into()
        };
        let port = free_port();
        let child = Command::new(program)
            .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self { child, port };
        let is_up = |_: &usize| TcpStream::connect(("127.0.0.1", port)).is_ok();
        let pause = |_: &usize| thread::sleep(Duration::from_millis(10));
        (0..LOOKS_MAX)
            .inspect(pause)
            .any(|look| is_up(&look))
            .then_some(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Returns a port that nothing listened on a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Two clients of one server.
pub(crate) fn contestant(port: u16) -> Box<dyn Contestant> {
    Box::new(Threaded::start(move |turns| {
        let (listening, is_up) = channel();
        thread::spawn(move || {
            pin(1);
            runtime().block_on(async move {
                let (client, mut asked) = subscribed(port, "ask").await;
                listening.send(()).unwrap();
                while let Some(message) = asked.next().await {
                    client.publish("answer", message.payload).await.unwrap();
                }
            });
        });
        is_up.recv().unwrap();
        runtime().block_on(async move {
            let (client, answers) = subscribed(port, "answer").await;
            measure(turns, Subjects(client, answers)).await;
        });
    }))
}

async fn subscribed(port: u16, subject: &'static str) -> (Client, Subscriber) {
    let client = async_nats::connect(format!("127.0.0.1:{port}"))
        .await
        .unwrap();
    let messages = client.subscribe(subject).await.unwrap();
    // Whoever has an answer to this is subscribed.
    client.flush().await.unwrap();
    (client, messages)
}

struct Subjects(Client, Subscriber);

impl Echo for Subjects {
    async fn round_trip(&mut self, message: &[u8]) {
        let bytes = Bytes::copy_from_slice(message);
        self.0.publish("ask", bytes).await.unwrap();
        self.1.next().await.unwrap();
    }
}
