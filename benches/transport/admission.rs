//! From nothing to the first byte of an answer: our full admission beside stock quinn with Retry.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use expressnet::membership::{Direction, Peer};
use expressnet::model::ids::{LinkNo, NodeId};
use expressnet::shell::MeshSink;
use expressnet::shell::mesh::Mesh;
use quinn::Endpoint;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::HOT;
use crate::contestant::{Contestant, Pace, Threaded, Turns, ns_since, pin, race};
use crate::figure::Figure;
use crate::ours::{Home, awaitable};
use crate::stock::{Shown, client, server};
use crate::udp::runtime;

/// Between two admissions: less than `colo` looks on, as after any other packet.
const PAUSE: Duration = Duration::from_millis(1);

/// Returns the figure of whole admissions.
pub(crate) fn compare(rounds: usize, handshakes: usize) -> Figure {
    let mut ends: [Box<dyn Contestant>; 2] = [
        Box::new(Threaded::start(ours)),
        Box::new(Threaded::start(stock)),
    ];
    let outcome = race(&mut ends, rounds, handshakes, Pace::Close);
    let mut figures = outcome.figures("admission", 0, "quinn with retry", 1);
    figures.swap_remove(0)
}

#[derive(Default)]
struct Sink {
    mesh: OnceCell<Mesh>,
    answers: bool,
    link: Cell<Option<LinkNo>>,
    heard: Notify,
    down: Notify,
}

impl MeshSink for Sink {
    fn link_up(&self, _peer: NodeId, link: LinkNo, _direction: Direction) {
        self.link.set(Some(link));
        if !self.answers {
            let mesh = self.mesh.get().unwrap();
            mesh.send_stream(link, b"first").unwrap();
            mesh.flush();
        }
    }

    fn link_down(&self, _link: LinkNo) {
        self.down.notify_one();
    }

    fn dial_failed(&self, peer: NodeId) {
        panic!("{peer} is not reached");
    }

    fn stream_frame(&self, link: LinkNo, bytes: &[u8]) {
        if self.answers {
            let mesh = self.mesh.get().unwrap();
            mesh.send_stream(link, bytes).unwrap();
            mesh.flush();
        } else {
            self.heard.notify_one();
        }
    }

    fn datagram(&self, _link: LinkNo, _bytes: &[u8]) {}
}

fn start(home: &Home, peers: &[Peer], answers: bool) -> (Mesh, Rc<Sink>) {
    let sink = Rc::new(Sink {
        answers,
        ..Sink::default()
    });
    let listen = ([127, 0, 0, 1], 0).into();
    let told = Rc::<Sink>::clone(&sink);
    let mesh = Mesh::start(HOT, &home.identity, listen, peers, told).unwrap();
    assert!(sink.mesh.set(mesh.clone()).is_ok());
    (mesh, sink)
}

fn ours(turns: Turns) {
    let near = Home::new("admission-near");
    let nowhere = near.peer(([127, 0, 0, 1], 9).into());
    let (listening, addresses) = channel();
    thread::spawn(move || {
        pin(1);
        LocalSet::new().block_on(&runtime(), async {
            let far = Home::new("admission-far");
            let (mesh, _sink) = start(&far, &[nowhere], true);
            listening
                .send(far.peer(mesh.local_addr().unwrap()))
                .unwrap();
            std::future::pending::<()>().await;
        });
    });
    let peer = addresses.recv().unwrap();
    LocalSet::new().block_on(&runtime(), async {
        let (mesh, sink) = start(&near, std::slice::from_ref(&peer), false);
        let mut commands = awaitable(turns.commands);
        while let Some((count, _)) = commands.recv().await {
            let mut samples = Vec::new();
            for _ in 0..count {
                let begin = Instant::now();
                mesh.dial(peer.id);
                sink.heard.notified().await;
                samples.push(ns_since(begin));
                mesh.close(sink.link.get().unwrap());
                sink.down.notified().await;
                tokio::time::sleep(PAUSE).await;
            }
            turns.samples.send(samples).unwrap();
        }
    });
}

fn stock(turns: Turns) {
    let (near, far) = (Shown::new(), Shown::new());
    let (server, client) = (server(&far, &near), client(&near, &far));
    let (listening, address) = channel();
    thread::spawn(move || {
        pin(1);
        runtime().block_on(async move {
            let endpoint = Endpoint::server(server, ([127, 0, 0, 1], 0).into()).unwrap();
            listening.send(endpoint.local_addr().unwrap()).unwrap();
            while let Some(incoming) = endpoint.accept().await {
                if !incoming.remote_address_validated() {
                    incoming.retry().unwrap();
                    continue;
                }
                tokio::spawn(async move {
                    let connection = incoming.await.unwrap();
                    let (mut sending, mut receiving) = connection.accept_bi().await.unwrap();
                    let mut bytes = [0; 5];
                    receiving.read_exact(&mut bytes).await.unwrap();
                    sending.write_all(&bytes).await.unwrap();
                    connection.closed().await;
                });
            }
        });
    });
    let address = address.recv().unwrap();
    runtime().block_on(async {
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
        let mut commands = awaitable(turns.commands);
        while let Some((count, _)) = commands.recv().await {
            let mut samples = Vec::new();
            for _ in 0..count {
                let begin = Instant::now();
                let connecting = endpoint.connect_with(client.clone(), address, "localhost");
                let connection = connecting.unwrap().await.unwrap();
                let (mut sending, mut receiving) = connection.open_bi().await.unwrap();
                sending.write_all(b"first").await.unwrap();
                receiving.read_exact(&mut [0; 5]).await.unwrap();
                samples.push(ns_since(begin));
                connection.close(0u32.into(), b"");
                tokio::time::sleep(PAUSE).await;
            }
            turns.samples.send(samples).unwrap();
        }
    });
}
