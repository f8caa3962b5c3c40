//! `expressnet latency ping`: the way to one peer, on the connection that trades, and beside it by
//! plain datagrams and echoes of the system; or the way to an address, without a node.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread;

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::latency::measured::{self, Brought, Kept, Spacing};
use crate::cli::screen;
use crate::config::checked::Config;
use crate::latency::quota::Schedule;
use crate::latency::train::{End, Over, SelfLine, TimestampSource, Train};
use crate::membership::Peer;
use crate::model::ids::NodeId;
use crate::node::command::Request;
use crate::shell::clock::Clock;
use crate::shell::echo;
use crate::shell::identity::Identity;
use crate::shell::peers::PeerList;
use crate::wire::talk::Probe;

/// Arguments of `ping`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  expressnet latency ping tokyo\n  \
expressnet latency ping tokyo --count 2000 --interval 1ms --out measured\n  \
expressnet latency ping tokyo --loaded --udp 192.0.2.10:7412\n  \
expressnet latency ping 192.0.2.10:7412")]
pub struct Args {
    /// A peer's name, or the beginning of its id; or an address, with the port of a responder
    /// (`latency serve --echo`) where there is one.
    #[arg(value_name = "PEER|ADDR")]
    pub target: String,
    /// Where the peer answers plain datagrams, to be measured beside the mesh.
    #[arg(long, value_name = "ADDR:PORT")]
    pub udp: Option<SocketAddr>,
    /// Send nothing beside the mesh.
    #[arg(long, conflicts_with = "udp")]
    pub mesh_only: bool,
    #[command(flatten)]
    pub spacing: Spacing,
    #[command(flatten)]
    pub kept: Kept,
}

/// What is measured beside the mesh, or without it.
struct Beside {
    from: End,
    to: End,
    udp: Option<SocketAddr>,
    icmp: Option<IpAddr>,
    schedule: Schedule,
}

/// Measures and prints.
///
/// # Errors
/// No node runs in this home, or the peer is not linked; nothing answers at the address.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    let schedule = args.spacing.schedule()?;
    let address = match (args.target.parse(), args.target.parse()) {
        (Ok(address), _) => Some((Some(address), SocketAddr::ip(&address))),
        (Err(_), Ok(ip)) => Some((args.udp, ip)),
        (Err(_), Err(_)) => None,
    };
    let own = own_end(home)?;
    if let Some((udp, ip)) = address {
        let to = End {
            node: NodeId::default(),
            name: args.target.clone(),
            location: None,
        };
        let beside = Beside {
            from: own,
            to,
            udp,
            icmp: Some(ip),
            schedule,
        };
        return without_node(home, &beside, args);
    }
    let request = Request::Ping {
        peer: args.target.clone(),
        interval_us: schedule.interval().as_micros(),
        burst: schedule.burst(),
        count: schedule.count,
    };
    let peer = listed(home, own.node, &args.target)?;
    let beside = peer.filter(|_| !args.mesh_only).map(|peer| Beside {
        from: own,
        to: End {
            node: peer.id,
            name: peer.name,
            location: None,
        },
        udp: args.udp,
        icmp: peer.addresses.first().map(SocketAddr::ip),
        schedule,
    });
    // All at once, so that all of them meet the same weather.
    let (brought, others) = thread::scope(|scope| {
        let others = beside
            .as_ref()
            .map(|beside| scope.spawn(|| beside.measure()));
        let brought = measured::collect(home, &request);
        let others = others.and_then(|others| others.join().ok());
        (brought, others.unwrap_or_default())
    });
    let mut brought = brought?;
    if let (Some(first), (trains, absent)) = (brought.trains.first().cloned(), others) {
        for (what, why) in absent {
            screen::note(&format!("absent: {what}: {why}"))?;
        }
        brought.trains.extend(trains.into_iter().map(|train| Train {
            to: first.to.clone(),
            ..train
        }));
    }
    let absent = brought.absent.clone();
    let report = measured::report(home, brought)?;
    measured::keep(&report, &absent, &args.kept)
}

fn without_node(home: &Home, beside: &Beside, args: &Args) -> Result<Exit, CliError> {
    let (trains, absent) = beside.measure();
    if trains.is_empty() {
        let why: Vec<String> = absent
            .iter()
            .map(|(what, why)| format!("{what}: {why}"))
            .collect();
        return Err(CliError::failed(why.join("; ")));
    }
    for (what, why) in &absent {
        screen::note(&format!("absent: {what}: {why}"))?;
    }
    let brought = Brought {
        trains,
        ..Brought::default()
    };
    let report = measured::report(home, brought)?;
    measured::keep(&report, &[], &args.kept)
}

impl Beside {
    /// Measures what can be, one after the other; names what cannot.
    fn measure(&self) -> (Vec<Train>, Vec<(String, String)>) {
        let clock = Clock::start();
        let udp = match self.udp {
            Some(to) => echo::udp(to, self.schedule, clock).map_err(|error| error.to_string()),
            None => Err("no responder is named; run `latency serve --echo` there".to_owned()),
        };
        let icmp = match self.icmp {
            Some(to) => echo::icmp(to, self.schedule, clock).map_err(|error| why_no_echo(&error)),
            None => Err("the peer's card has no address".to_owned()),
        };
        let (mut trains, mut absent) = (Vec::new(), Vec::new());
        for (over, what, brought) in [
            (Over::Udp, "plain datagrams", udp),
            (Over::Icmp, "echoes of the system", icmp),
        ] {
            match brought {
                Ok(brought) => trains.push(self.train(over, brought)),
                Err(why) => absent.push((what.to_owned(), why)),
            }
        }
        (trains, absent)
    }

    fn train(&self, over: Over, brought: echo::Brought) -> Train {
        let mut id = [0; 16];
        // Without a random source the id is nothing but less unlikely to be met again.
        getrandom::fill(&mut id).unwrap_or_default();
        Train {
            id,
            from: self.from.clone(),
            to: self.to.clone(),
            over,
            shape: self.schedule.shape,
            started: brought.started,
            probe_bytes: Probe::BYTES,
            samples: brought.samples,
            clock: brought.clock,
            path: Vec::new(),
            own: SelfLine {
                loopback: None,
                timer_late: brought.timer_late,
                timestamps: TimestampSource::User,
                system_clock: String::new(),
            },
            attestation: None,
        }
    }
}

fn why_no_echo(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return "this user may not; widen net.ipv4.ping_group_range, or grant CAP_NET_RAW"
            .to_owned();
    }
    error.to_string()
}

fn own_end(home: &Home) -> Result<End, CliError> {
    if !home.path.exists() {
        let path = home.path.display();
        let text = format!("there is no home at {path}; make one with `expressnet init`");
        return Err(CliError::failed(text));
    }
    let identity = Identity::open(&home.path).map_err(anyhow::Error::from)?;
    let Config { name, location, .. } = home.config()?.config;
    Ok(End {
        node: identity.node_id(),
        name,
        location,
    })
}

/// Returns the listed peer that is meant, if exactly one is.
fn listed(home: &Home, own: NodeId, name: &str) -> Result<Option<Peer>, CliError> {
    let list = PeerList::open(&home.path, own).map_err(anyhow::Error::from)?;
    let mut found = list
        .list()
        .filter(|peer| peer.name == name || peer.id.to_string().starts_with(name));
    Ok(match (found.next(), found.next()) {
        (Some(peer), None) => Some(peer.clone()),
        (Some(_), Some(_)) | (None, _) => None,
    })
}
