//! Two nodes of our mesh, each on its own core thread, as the program runs them.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use expressnet::membership::card::Card;
use expressnet::membership::{Direction, Peer};
use expressnet::model::ids::{LinkNo, NodeId};
use expressnet::shell::MeshSink;
use expressnet::shell::identity::{Identity, OwnerSource};
use expressnet::shell::mesh::{Mesh, Profile};
use tokio::sync::Notify;
use tokio::task::{LocalSet, yield_now};

use crate::contestant::{Arrivals, Contestant, Pace, Threaded, Turns, Way, ns_since, pin};
use crate::udp::runtime;
use crate::{FAN_OUT, MESSAGE_BYTES, QUOTE_BYTES};

/// A node's identity; its folder is gone once its keys are read.
pub(crate) struct Home {
    pub(crate) identity: Identity,
}

impl Home {
    pub(crate) fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("expressnet-bench-{}-{name}", std::process::id()));
        let identity = Identity::create(&folder, OwnerSource::New).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        Self { identity }
    }

    pub(crate) fn peer(&self, address: SocketAddr) -> Peer {
        let card = self.identity.card("bench", &[address]).unwrap();
        Card::parse(&card).unwrap().peer(10)
    }
}

/// Sends what it is told to and measures; or answers whatever comes.
#[derive(Default)]
struct Sink {
    mesh: OnceCell<Mesh>,
    answers: bool,
    arrivals: Option<Arc<Arrivals>>,
    way: Cell<Option<Way>>,
    bytes: usize,
    links: RefCell<Vec<LinkNo>>,
    linked: Notify,
    sent: Cell<Option<Instant>>,
    /// Answers that the message under way still waits for.
    awaited: Cell<usize>,
    left: Cell<usize>,
    is_close: Cell<bool>,
    samples: RefCell<Vec<u64>>,
    done: Notify,
}

impl Sink {
    fn mesh(&self) -> &Mesh {
        self.mesh.get().unwrap()
    }

    fn send(&self) {
        let message = [7; QUOTE_BYTES];
        let links = self.links.borrow();
        self.awaited.set(links.len());
        self.sent.set(Some(Instant::now()));
        for &link in &*links {
            self.give(link, &message[..self.bytes]);
        }
        self.mesh().flush();
    }

    fn give(&self, link: LinkNo, bytes: &[u8]) {
        match self.way.get().unwrap() {
            Way::Datagram => self.mesh().send_datagram(link, bytes).unwrap(),
            Way::Stream => self.mesh().send_stream(link, bytes).unwrap(),
        }
    }

    fn hear(&self, link: LinkNo, bytes: &[u8]) {
        if let Some(arrivals) = &self.arrivals {
            return arrivals.note();
        }
        if self.answers {
            self.give(link, bytes);
            self.mesh().flush();
            return;
        }
        self.awaited.set(self.awaited.get() - 1);
        if self.awaited.get() > 0 {
            return;
        }
        self.samples
            .borrow_mut()
            .push(ns_since(self.sent.get().unwrap()));
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 {
            self.done.notify_one();
        } else if self.is_close.get() {
            self.send();
        }
    }
}

impl MeshSink for Sink {
    fn link_up(&self, _peer: NodeId, link: LinkNo, _direction: Direction) {
        self.links.borrow_mut().push(link);
        self.linked.notify_one();
    }

    fn link_down(&self, _link: LinkNo) {}

    fn dial_failed(&self, peer: NodeId) {
        panic!("{peer} is not reached");
    }

    fn stream_frame(&self, link: LinkNo, bytes: &[u8]) {
        self.hear(link, bytes);
    }

    fn datagram(&self, link: LinkNo, bytes: &[u8]) {
        self.hear(link, bytes);
    }
}

/// What both ends of a contestant agree on.
#[derive(Clone)]
struct Terms {
    profile: Profile,
    way: Way,
    bytes: usize,
    /// The other end does not answer but notes when a message came.
    arrivals: Option<Arc<Arrivals>>,
}

/// Two nodes; messages go one way or the other.
pub(crate) fn contestant(name: &str, profile: Profile, way: Way) -> Box<dyn Contestant> {
    let terms = Terms {
        profile,
        way,
        bytes: MESSAGE_BYTES,
        arrivals: None,
    };
    linked(name, terms, 1)
}

/// One node and twelve that hear it.
pub(crate) fn fan_out(profile: Profile) -> Box<dyn Contestant> {
    let terms = Terms {
        profile,
        way: Way::Datagram,
        bytes: QUOTE_BYTES,
        arrivals: Some(Arrivals::new()),
    };
    linked("fan-out", terms, FAN_OUT)
}

fn linked(name: &str, terms: Terms, peers: usize) -> Box<dyn Contestant> {
    let name = name.replace(' ', "-");
    Box::new(Threaded::start(move |turns| {
        let near = Home::new(&name);
        // Nobody is dialled at this address: the other ends only listen.
        let nowhere = near.peer(([127, 0, 0, 1], 9).into());
        let (listening, addresses) = channel();
        let far_terms = terms.clone();
        thread::spawn(move || {
            pin(1);
            LocalSet::new().block_on(&runtime(), async {
                for at in 0..peers {
                    let far = Home::new(&format!("{name}-{at}"));
                    let (mesh, _sink) =
                        start(&far_terms, &far, std::slice::from_ref(&nowhere), true);
                    let address = mesh.local_addr().unwrap();
                    listening.send(far.peer(address)).unwrap();
                }
                std::future::pending::<()>().await;
            });
        });
        let peers: Vec<Peer> = (0..peers).map(|_| addresses.recv().unwrap()).collect();
        LocalSet::new().block_on(&runtime(), measure(&terms, &near, &peers, turns));
    }))
}

fn start(terms: &Terms, home: &Home, peers: &[Peer], answers: bool) -> (Mesh, Rc<Sink>) {
    let sink = Rc::new(Sink {
        answers,
        arrivals: terms.arrivals.clone().filter(|_| answers),
        way: Cell::new(Some(terms.way)),
        bytes: terms.bytes,
        ..Sink::default()
    });
    let listen = ([127, 0, 0, 1], 0).into();
    let told = Rc::<Sink>::clone(&sink);
    let mesh = Mesh::start(terms.profile, &home.identity, listen, peers, told).unwrap();
    assert!(sink.mesh.set(mesh.clone()).is_ok());
    (mesh, sink)
}

async fn measure(terms: &Terms, home: &Home, peers: &[Peer], turns: Turns) {
    let (mesh, sink) = start(terms, home, peers, false);
    for peer in peers {
        mesh.dial(peer.id);
    }
    while sink.links.borrow().len() < peers.len() {
        sink.linked.notified().await;
    }
    let mut commands = awaitable(turns.commands);
    while let Some((count, pace)) = commands.recv().await {
        sink.samples.borrow_mut().clear();
        match (&terms.arrivals, pace) {
            (Some(arrivals), _) => fan(&sink, arrivals, count, peers.len()).await,
            (None, Pace::Close) => {
                sink.is_close.set(true);
                sink.left.set(count);
                sink.send();
                sink.done.notified().await;
            }
            (None, Pace::EveryMilli) => sparse(&sink, count).await,
        }
        turns.samples.send(sink.samples.take()).unwrap();
    }
}

async fn sparse(sink: &Sink, count: usize) {
    sink.is_close.set(false);
    let mut next = Instant::now();
    for _ in 0..count {
        next += Duration::from_millis(1);
        while Instant::now() < next {
            yield_now().await;
        }
        sink.left.set(1);
        sink.send();
        sink.done.notified().await;
    }
}

async fn fan(sink: &Sink, arrivals: &Arrivals, count: usize, peers: usize) {
    for _ in 0..count {
        arrivals.expect(peers);
        sink.send();
        while !arrivals.are_there() {
            yield_now().await;
        }
        let taken = arrivals.last_after(sink.sent.get().unwrap());
        sink.samples.borrow_mut().push(taken);
    }
}

/// Lets commands be awaited, so that links are kept alive meanwhile.
pub(crate) fn awaitable<T: Send + 'static>(
    commands: Receiver<T>,
) -> tokio::sync::mpsc::Receiver<T> {
    let (sending, received) = tokio::sync::mpsc::channel(1);
    let (ready, started) = sync_channel::<()>(1);
    thread::spawn(move || {
        ready.send(()).ok();
        while let Ok(command) = commands.recv() {
            if sending.blocking_send(command).is_err() {
                return;
            }
        }
    });
    started.recv().ok();
    received
}
