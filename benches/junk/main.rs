//! A node's own trades while strangers flood its open side: lines of a channel through a socketpair,
//! and garbage at the listener for links. `benches/README.md` tells how to run and read it.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(clippy::float_arithmetic, reason = "figures of a bench are no money")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock around what it measures"
)]

mod clocks;
mod core;
mod crowd;
#[path = "../../tests/node/leader.rs"]
#[expect(dead_code, reason = "here nobody commands a leader")]
mod leader;
mod limits;
#[path = "../quiet.rs"]
mod quiet;
mod server;
mod visitors;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use expressnet::config::checked::Config;
use expressnet::discovery::irc::name::nick_of;
use expressnet::discovery::network::{Mode, Network, Settings, Trust};
use expressnet::discovery::shown::Shown;
use expressnet::membership::Peer;
use expressnet::model::ids::{OwnerId, Pin};
use expressnet::model::instrument::Pair;
use expressnet::model::key::pin_of;
use expressnet::model::number::Quantity;
use expressnet::model::random::Random;
use expressnet::shell::clock::Clock;
use expressnet::shell::identity::{Identity, OwnerSource};
use expressnet::shell::open::{Begin, Open, Told};
use expressnet::sim::scenario::{Topology, standard};
use tokio::sync::mpsc;

use crate::core::{Answer, Core, Meter, Order, Traded};
use crate::crowd::{Crowd, Prepared, Speaker};
use crate::leader::Leader;
use crate::limits::Seen;
use crate::server::{Said, Server};
use crate::visitors::{Visited, visit};

pub(crate) const CHANNEL: &str = "#expressnet";
pub(crate) const LINES_PER_S: u64 = 20_000;
/// One connection for so many lines: 2,000 a second.
pub(crate) const LINES_A_VISIT: u64 = 10;
/// Whatever is awaited comes within this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Ports that the node may listen on for links.
const PORTS: u16 = 4;
const FRIEND_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Seconds of trades that warm up, in quiet before and again behind the flood, and during it.
struct Effort {
    warm_s: u64,
    quiet_s: u64,
    flood_s: u64,
    is_quick: bool,
}

fn main() -> ExitCode {
    let has = |name: &str| std::env::args().any(|argument| argument == name);
    // `cargo bench` says `--bench`; `cargo test` says nothing.
    let is_quick = has("--quick") || !has("--bench");
    let effort = match is_quick {
        true => Effort {
            warm_s: 1,
            quiet_s: 3,
            flood_s: 3,
            is_quick,
        },
        false => Effort {
            warm_s: 3,
            quiet_s: 15,
            flood_s: 30,
            is_quick,
        },
    };
    let folder = Folder::new();
    let (world, quiet) = World::new(&folder.0, effort.flood_s);
    world.run(&effort, quiet).report()
}

/// A folder that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("expressnet-junk-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// The node, and everybody around it.
struct World {
    flooded: Server,
    friend: Arc<Speaker>,
    clock: Clock,
    ports: (u16, u16),
    file: PathBuf,
    prepared: Arc<Prepared>,
    core: JoinHandle<()>,
    orders: Sender<Order>,
    answers: Receiver<Answer>,
}

impl World {
    /// Makes the world, and the network on which nobody floods.
    fn new(folder: &Path, flood_s: u64) -> (Self, Server) {
        let home = folder.join("home");
        let identity = Arc::new(Identity::create(&home, OwnerSource::New).unwrap());
        let friend = Arc::new(Speaker::new(7));
        let clock = Clock::start();
        let nick = nick_of(&identity.pin(), 0);
        let file = folder.join("junk");
        let prepared = Crowd::new(&nick, &friend, clock.now()).prepare(&file, flood_s);
        let ports = free_ports();
        let (flooded, at_flooded) = Server::open(&nick);
        let (quiet, at_quiet) = Server::open(&nick);
        let mut config = standard(1, 3, Topology::Mesh, 1).nodes[0].config.clone();
        config.open = settings(ports);
        let begin = Begin {
            is_first_run: true,
            clock,
            seed: 1,
            given: vec![at_flooded, at_quiet],
        };
        let peers = [peer(&friend)];
        let (open, told) = Open::start(&home, &config, &identity, &peers, begin).unwrap();
        let (orders, ordered) = channel();
        let (answer, answers) = channel();
        let core = clocks::start("core", move || {
            begin_core(open, told, &config).run(&ordered, &answer);
        });
        let world = Self {
            flooded,
            friend,
            clock,
            ports,
            file,
            prepared: Arc::new(prepared),
            core,
            orders,
            answers,
        };
        (world, quiet)
    }

    fn run(self, effort: &Effort, quiet_network: Server) -> Seen {
        self.flooded.wait(&Said::Joined, &mut Vec::new());
        quiet_network.wait(&Said::Joined, &mut Vec::new());
        let quiet_time = Duration::from_secs(effort.quiet_s);
        let warm = self.trade(Duration::from_secs(effort.warm_s));
        let mut quiet = self.trade(quiet_time);
        self.await_closes(warm.closes + quiet.closes, Vec::new());
        let mut heard = Vec::new();
        // Somebody is listened for when the first of the visitors comes.
        self.flooded.ask_to_listen();
        self.flooded.wait(&Said::Listens, &mut heard);
        let before = clocks::nodes_ns();
        let resident = clocks::resident_bytes();
        let began = Instant::now();
        let stop = Arc::new(AtomicBool::new(false));
        self.orders.send(Order::Trade(Arc::clone(&stop))).unwrap();
        let friend = self.start_friend(quiet_network, &stop);
        let visitors = self.start_visitors(&stop);
        let (flood, peak) = self.flood();
        self.flooded.say("PING :over");
        let over = Said::Pong("over".to_owned());
        self.flooded.wait(&over, &mut heard);
        let visited = visitors.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        let told_by_friend = friend.join().unwrap();
        let flooded = self.traded();
        let shown = self.look();
        let lasted = began.elapsed();
        let after = clocks::nodes_ns();
        let closes_heard = self.await_closes(flooded.closes, heard);
        // What else the machine does may begin or end at any time: quiet is before and behind.
        quiet.add(&self.trade(quiet_time));
        drop(self.orders);
        self.core.join().unwrap();
        Seen {
            quiet,
            flooded,
            prepared: self.prepared,
            flood,
            lasted,
            junk_ns: grown(&before, &after),
            growth_bytes: peak - resident,
            resident_bytes: resident,
            visited,
            told_by_friend,
            closes_heard,
            is_quick: effort.is_quick,
            shown,
        }
    }

    /// Waits until the node has taken back so many offers; returns how often it did.
    fn await_closes(&self, closes: u64, mut heard: Vec<Said>) -> u64 {
        let count = |heard: &[Said]| heard.iter().filter(|said| **said == Said::Close).count();
        while (count(&heard) as u64) < closes {
            let mut more = Vec::new();
            self.flooded.wait(&Said::Close, &mut more);
            heard.extend(more);
        }
        self.flooded.take(&mut heard);
        count(&heard) as u64
    }

    /// Says the junk; returns how long that took, and the most memory seen meanwhile.
    fn flood(&self) -> (Duration, i64) {
        let feeder = self.flooded.start_flood(&self.file, &self.prepared);
        let mut peak = 0;
        while !feeder.is_finished() {
            peak = peak.max(clocks::resident_bytes());
            sleep(LOOK_EVERY);
        }
        (feeder.join().unwrap(), peak.max(clocks::resident_bytes()))
    }

    fn start_visitors(&self, stop: &Arc<AtomicBool>) -> JoinHandle<Visited> {
        let (ports, stop) = (self.ports, Arc::clone(stop));
        let visits = self.prepared.lines / LINES_A_VISIT;
        clocks::start("visitors", move || visit(ports, visits, &stop))
    }

    /// A friend goes on speaking on the other network; returns how often it did.
    fn start_friend(&self, quiet: Server, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
        let stop = Arc::clone(stop);
        let (friend, clock) = (Arc::clone(&self.friend), self.clock);
        clocks::start("friend", move || {
            let mut spoken = 0;
            let mut due = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                if Instant::now() >= due {
                    due += FRIEND_EVERY;
                    spoken += 1;
                    let text = friend.offer(spoken, clock.now());
                    quiet.say(&format!(":friend!u@h PRIVMSG {CHANNEL} :{text}"));
                }
                sleep(LOOK_EVERY);
            }
            quiet.say("PING :over");
            quiet.wait(&Said::Pong("over".to_owned()), &mut Vec::new());
            spoken
        })
    }

    fn trade(&self, time: Duration) -> Box<Traded> {
        let stop = Arc::new(AtomicBool::new(false));
        self.orders.send(Order::Trade(Arc::clone(&stop))).unwrap();
        sleep(time);
        stop.store(true, Ordering::Relaxed);
        self.traded()
    }

    fn traded(&self) -> Box<Traded> {
        match self.answers.recv_timeout(PATIENCE).unwrap() {
            Answer::Traded(traded) => traded,
            Answer::Shown(_) => panic!("nobody asked what is shown"),
        }
    }

    fn look(&self) -> Shown {
        self.orders.send(Order::Look).unwrap();
        match self.answers.recv_timeout(PATIENCE).unwrap() {
            Answer::Shown(shown) => *shown,
            Answer::Traded(_) => panic!("nobody traded"),
        }
    }
}

fn begin_core(open: Open, told: mpsc::Receiver<Told>, config: &Config) -> Core {
    let settings = config.open.clone();
    Core {
        leader: Leader::with(Meter::new(), |config| config.open = settings),
        open,
        told,
        random: Random::new(1),
        offered: 0,
    }
}

/// Open to everybody, on two networks.
fn settings(ports: (u16, u16)) -> Settings {
    let pair = Pair {
        base: "BTC".parse().unwrap(),
        quote: "USD".parse().unwrap(),
    };
    let network = |name: &str| Network {
        name: name.to_owned(),
        // Nobody is there: what is given is never dialled again, or the bench fails.
        host: "127.0.0.1".to_owned(),
        port: 1,
        trust: Trust::Plain,
        bind: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        login_file: None,
    };
    Settings {
        mode: Mode::Open,
        channel: CHANNEL.to_owned(),
        ports: Some(ports),
        broadcast_min: vec![(pair, Quantity::whole(10))],
        networks: vec![network("flooded"), network("quiet")],
        ..Settings::default()
    }
}

fn peer(friend: &Speaker) -> Peer {
    let pin: Pin = pin_of(&friend.key().0);
    Peer {
        id: pin.node_id(),
        pin,
        key: friend.key().0,
        knock: [0; 32],
        owner: OwnerId([9; 32]),
        name: "friend".to_owned(),
        addresses: Vec::new(),
        trust: 10,
    }
}

/// Finds ports in a row that are free.
fn free_ports() -> (u16, u16) {
    loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let Some(last) = port.checked_add(PORTS - 1) else {
            continue;
        };
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if (port + 1..=last).all(is_free) {
            return (port, last);
        }
    }
}

/// Returns what each thread of the node ran between two looks.
fn grown(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let of = |thread: &String| before.get(thread).copied().unwrap_or(0);
    let grown = after
        .iter()
        .map(|(thread, ns)| (thread.clone(), ns - of(thread)));
    grown.collect()
}
