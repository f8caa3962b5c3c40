//! What a link costs while nothing is said on it: memory, and time of the core thread.
//! `benches/README.md` tells how to run and read it.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(clippy::float_arithmetic, reason = "figures of a bench are no money")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock around what it measures"
)]
#![expect(clippy::print_stdout, reason = "a bench tells its figures there")]
#![expect(
    dead_code,
    reason = "modules of the transport bench serve here in part"
)]

#[path = "transport/contestant.rs"]
mod contestant;
mod figure;
#[path = "transport/ours.rs"]
mod ours;
#[path = "transport/stock.rs"]
mod stock;
#[path = "transport/udp.rs"]
mod udp;

use std::cell::Cell;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use std::{env, fs, thread};

use expressnet::membership::{Direction, Peer};
use expressnet::model::ids::{LinkNo, NodeId};
use expressnet::shell::MeshSink;
use expressnet::shell::mesh::{Mesh, Profile};
use quinn::Endpoint;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

use crate::figure::{Figure, report};
use crate::ours::Home;
use crate::stock::{Shown, client, server};
use crate::udp::runtime;

pub(crate) const MESSAGE_BYTES: usize = 64;
pub(crate) const FAN_OUT: usize = 12;
pub(crate) const QUOTE_BYTES: usize = 256;
/// The argument of a process that measures one kind.
const ALONE: &str = "--alone";
/// Links whose memory is looked at: so many that pages and what the process does besides are small.
const MANY: usize = 120;
/// After the last handshake, until what it needed is given back.
const SETTLE: Duration = Duration::from_secs(2);

const COLD: Profile = Profile::Colo {
    park_after: Duration::ZERO,
};

/// What one kind of link costs.
struct Cost {
    bytes_per_end: f64,
    /// Time of the thread with twelve ends, each second.
    cpu_ns_per_s: f64,
}

fn main() {
    contestant::find_cores();
    let arguments: Vec<String> = env::args().collect();
    let is_quick = !arguments.iter().any(|argument| argument == "--bench");
    let idle = Duration::from_secs(if is_quick { 1 } else { 20 });
    if let Some(at) = arguments.iter().position(|argument| argument == ALONE) {
        let cost = cost_of(&arguments[at + 1], idle);
        println!("{} {}", cost.bytes_per_end, cost.cpu_ns_per_s);
        return;
    }
    let peer = "quinn";
    let stock = measured(peer);
    let mut figures = Vec::new();
    for name in ["colo", "shared"] {
        let ours = measured(name);
        for (case, ours, theirs) in [
            ("bytes_per_end", ours.bytes_per_end, stock.bytes_per_end),
            ("idle_ns_per_s", ours.cpu_ns_per_s, stock.cpu_ns_per_s),
        ] {
            figures.push(Figure {
                case: format!("{name}_{case}"),
                ours_ns: ours,
                peer,
                peer_ns: theirs,
                messages: FAN_OUT,
            });
        }
    }
    report("links", &figures);
}

/// Lets a process of its own measure one kind: none has the memory that another gave back.
fn measured(name: &str) -> Cost {
    let mut alone = Command::new(env::current_exe().unwrap());
    alone.args([ALONE, name]).args(env::args().skip(1));
    let output = alone.stderr(Stdio::inherit()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut figures = said
        .split_whitespace()
        .map(|figure| figure.parse().unwrap());
    Cost {
        bytes_per_end: figures.next().unwrap(),
        cpu_ns_per_s: figures.next().unwrap(),
    }
}

fn cost_of(name: &str, idle: Duration) -> Cost {
    match name {
        "colo" => cost(idle, |steps| mesh(COLD, steps)),
        "shared" => cost(idle, |steps| mesh(Profile::Shared, steps)),
        _ => cost(idle, quinn),
    }
}

/// Tells how far the links are: ready, linked, and at the end the thread's own time.
struct Steps {
    links: usize,
    ready: Sender<()>,
    go: Receiver<()>,
    linked: Sender<()>,
    idle: Duration,
    cpu_ns: Sender<u64>,
}

fn cost(idle: Duration, run: impl Fn(Steps) + Copy + Send + 'static) -> Cost {
    let (bytes, _) = linked(MANY, Duration::ZERO, run);
    let (_, cpu_ns) = linked(FAN_OUT, idle, run);
    Cost {
        bytes_per_end: bytes as f64 / (2 * MANY) as f64,
        cpu_ns_per_s: cpu_ns as f64 / idle.as_secs_f64(),
    }
}

/// Links both ends; returns the bytes that took, and the time of the thread while all are idle.
fn linked(links: usize, idle: Duration, run: impl FnOnce(Steps) + Send + 'static) -> (i64, u64) {
    let (ready, is_ready) = channel();
    let (go, going) = channel();
    let (linked, is_linked) = channel();
    let (cpu_ns, taken) = channel();
    let steps = Steps {
        links,
        ready,
        go: going,
        linked,
        idle,
        cpu_ns,
    };
    thread::spawn(move || run(steps));
    is_ready.recv().unwrap();
    let before = resident_bytes();
    go.send(()).unwrap();
    is_linked.recv().unwrap();
    (resident_bytes() - before, taken.recv().unwrap())
}

/// Memory of this process that no file backs, as the kernel counts it: whatever language asked.
fn resident_bytes() -> i64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<i64>().unwrap() * 1_024
}

/// Time that this thread has run, as the kernel counts it.
fn thread_ns() -> u64 {
    let line = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    line.split(' ').next().unwrap().parse().unwrap()
}

async fn idle_and_tell(steps: &Steps) {
    tokio::time::sleep(SETTLE).await;
    steps.linked.send(()).unwrap();
    let before = thread_ns();
    tokio::time::sleep(steps.idle).await;
    steps.cpu_ns.send(thread_ns() - before).unwrap();
    std::future::pending::<()>().await;
}

#[derive(Default)]
struct Sink {
    links: Cell<usize>,
    linked: Notify,
}

impl MeshSink for Sink {
    fn link_up(&self, _peer: NodeId, _link: LinkNo, _direction: Direction) {
        self.links.set(self.links.get() + 1);
        self.linked.notify_one();
    }

    fn link_down(&self, link: LinkNo) {
        panic!("{link} is down");
    }

    fn dial_failed(&self, peer: NodeId) {
        panic!("{peer} is not reached");
    }

    fn stream_frame(&self, _link: LinkNo, _bytes: &[u8]) {}

    fn datagram(&self, _link: LinkNo, _bytes: &[u8]) {}
}

/// One node with links to many, all in one process.
fn mesh(profile: Profile, steps: Steps) {
    let listen = ([127, 0, 0, 1], 0).into();
    let name = format!("links-{}-{profile:?}", steps.links);
    let name = name.replace(|letter: char| !letter.is_alphanumeric(), "-");
    let near = Home::new(&name);
    let nowhere = near.peer(([127, 0, 0, 1], 9).into());
    let (listening, addresses) = channel();
    let links = steps.links;
    thread::spawn(move || {
        LocalSet::new().block_on(&runtime(), async {
            let mut meshes = Vec::new();
            for at in 0..links {
                let far = Home::new(&format!("{name}-{at}"));
                let sink = Rc::new(Sink::default());
                let peers = [nowhere.clone()];
                let mesh = Mesh::start(profile, &far.identity, listen, &peers, sink).unwrap();
                listening
                    .send(far.peer(mesh.local_addr().unwrap()))
                    .unwrap();
                meshes.push(mesh);
            }
            std::future::pending::<()>().await;
        });
    });
    let peers: Vec<Peer> = (0..links).map(|_| addresses.recv().unwrap()).collect();
    LocalSet::new().block_on(&runtime(), async {
        let sink = Rc::new(Sink::default());
        let told = Rc::<Sink>::clone(&sink);
        let mesh = Mesh::start(profile, &near.identity, listen, &peers, told).unwrap();
        steps.ready.send(()).unwrap();
        steps.go.recv().unwrap();
        for peer in &peers {
            mesh.dial(peer.id);
        }
        while sink.links.get() < links {
            sink.linked.notified().await;
        }
        idle_and_tell(&steps).await;
    });
}

/// One stock endpoint with as many connections, each to an endpoint of its own, kept alive as ours
/// are.
fn quinn(steps: Steps) {
    let (near, far) = (Shown::new(), Shown::new());
    let (server, client) = (server(&far, &near), client(&near, &far));
    let (listening, addresses) = channel();
    let links = steps.links;
    thread::spawn(move || {
        LocalSet::new().block_on(&runtime(), async move {
            for _ in 0..links {
                let endpoint = Endpoint::server(server.clone(), ([127, 0, 0, 1], 0).into());
                let endpoint = endpoint.unwrap();
                listening.send(endpoint.local_addr().unwrap()).unwrap();
                spawn_local(async move {
                    let _connection = endpoint.accept().await.unwrap().await.unwrap();
                    std::future::pending::<()>().await;
                });
            }
            std::future::pending::<()>().await;
        });
    });
    let addresses: Vec<SocketAddr> = (0..links).map(|_| addresses.recv().unwrap()).collect();
    runtime().block_on(async {
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
        steps.ready.send(()).unwrap();
        steps.go.recv().unwrap();
        let mut connections = Vec::new();
        for address in addresses {
            let connecting = endpoint.connect_with(client.clone(), address, "localhost");
            connections.push(connecting.unwrap().await.unwrap());
        }
        idle_and_tell(&steps).await;
    });
}
