//! From a home to a running node: identity, peers, keys of venues, journal, sockets.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc::Receiver;

use crate::config::FILE_BYTES_MAX;
use crate::config::capability::{Capability, CapabilityError};
use crate::config::checked::{Config, ParkAfter, Trading, Transport, Venue};
use crate::journal::owed::Owed;
use crate::journal::record::Record;
use crate::membership::Peer;
use crate::model::codec::CodecError;
use crate::model::ids::NodeId;
use crate::model::instrument::VenueId;
use crate::model::random::Random;
use crate::model::time::Span;
use crate::node::output::Outbox;
use crate::node::{Me, Node};
use crate::shell::clock::Clock;
use crate::shell::control::{ControlError, ControlHandle};
use crate::shell::driver::{Driver, Hands, Jobs};
use crate::shell::feed::{self, FeedHandle, FeedSettings, Stream};
use crate::shell::identity::{Identity, IdentityError};
use crate::shell::mesh::{Mesh, Profile};
use crate::shell::open::{Begin, Open, OpenError, Told};
use crate::shell::orders::{self, OrdersError, OrdersHandle, OrdersSettings};
use crate::shell::pacer::Pacer;
use crate::shell::peers::{PeerList, PeerListError};
use crate::shell::private_file::{self, PrivateFileError};
use crate::shell::quic::QuicError;
use crate::shell::socket::{SocketError, Trust};
use crate::shell::store::{Crash, CrashPoint, Store, StoreError};
use crate::shell::{MeshSink, VenueSink};
use crate::venue::{Credentials, Framing, OrderClient, registry};

/// Which node to run, and how.
#[derive(Debug)]
pub struct Start {
    pub home: PathBuf,
    pub config: Config,
    /// Ends the process around a chosen record, for rehearsals.
    pub crash: Option<CrashPoint>,
    /// The node's only source of randomness.
    pub seed: u64,
    pub rehearsal: Rehearsal,
}

/// Faults of the machine that are rehearsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rehearsal {
    /// The clock is wrong by this.
    pub clock_ahead: Span,
    /// The pacing thread wakes late by this.
    pub timer_late: Span,
}

/// Why a node does not run.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Peers(#[from] PeerListError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}: record {number}", path.display())]
    Record {
        path: PathBuf,
        number: usize,
        #[source]
        source: CodecError,
    },
    #[error("{}", path.display())]
    Capability {
        path: PathBuf,
        #[source]
        source: CapabilityError,
    },
    #[error("{} is not UTF-8 text", .0.display())]
    Text(PathBuf),
    #[error("{}: two lines belong here, key and secret", .0.display())]
    KeyFile(PathBuf),
    #[error("the certificates in {path} cannot be read")]
    Certificates {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("venue {0} is allowed to trade live and has no key_file")]
    NoKeyFile(VenueId),
    #[error("the capability allows venue {0}, which the configuration does not have")]
    NoVenue(VenueId),
    #[error(
        "the capability allows venue {0}, whose dialect is watched only: take it out, or trade there \
         on paper"
    )]
    WatchedOnly(VenueId),
    #[error("venue {venue}: its ca_file: {source}")]
    Trust { venue: VenueId, source: SocketError },
    #[error(transparent)]
    File(#[from] PrivateFileError),
    #[error(transparent)]
    Quic(#[from] QuicError),
    #[error("venue {venue}")]
    Orders {
        venue: VenueId,
        #[source]
        source: OrdersError,
    },
    #[error("the open network")]
    Open(#[from] OpenError),
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// The configuration in a home.
pub const CONFIG_FILE: &str = "node.toml";

type Clients = BTreeMap<VenueId, Box<dyn OrderClient>>;

/// Starts a node as tasks of the current `LocalSet`.
///
/// # Errors
/// The first thing in its home that keeps it from running. Nothing was sent to anybody then.
pub fn start(start: Start) -> Result<Rc<Driver>, StartError> {
    let Start {
        home,
        config,
        crash,
        seed,
        rehearsal,
    } = start;
    let clock = Clock::start().ahead_by(rehearsal.clock_ahead);
    let identity = Arc::new(Identity::open(&home)?);
    let peers: Vec<Peer> = PeerList::open(&home, identity.node_id())?
        .list()
        .cloned()
        .collect();
    let clients = clients(&home, &config, identity.node_id(), clock)?;
    let live: Vec<VenueId> = clients.keys().copied().collect();
    let (store, owed) = open_store(&home.join(&config.store), crash)?;
    let is_first_run = owed.incarnation == 0;
    let mut random = Random::new(seed);
    let (id, owner) = (identity.node_id(), identity.owner());
    let key = identity.node_key();
    let me = Me { id, owner, key };
    let now = clock.now();
    let mut outbox = Outbox::new();
    let node_seed = random.next_u64();
    let settings = config.clone();
    let mut node = Node::new(me, settings, owed, clients, node_seed, now, &mut outbox);
    for peer in &peers {
        node.add_peer(peer.clone(), now);
    }
    let is_live = !live.is_empty();
    let driver = Driver::new(config.name.clone(), is_live, clock, node, outbox);
    let control = ControlHandle::serve(&home, Rc::clone(&driver) as _)?;
    let sink = Rc::clone(&driver) as Rc<dyn MeshSink>;
    let mesh = Mesh::start(
        profile_of(config.transport),
        &identity,
        config.listen,
        &peers,
        sink,
    )?;
    let begin = Begin {
        is_first_run,
        clock,
        seed: random.next_u64(),
        given: Vec::new(),
    };
    let open = open_side(&home, &config, &identity, &peers, begin)?;
    let (open, told) = open.unzip();
    let (works, jobs) = Jobs::new(identity, home.join(CONFIG_FILE));
    let mut hands = Hands {
        mesh,
        feeds: BTreeMap::new(),
        orders: BTreeMap::new(),
        control,
        store,
        pacer: Pacer::new(clock, rehearsal.timer_late),
        works,
        open,
    };
    for venue in &config.venues {
        let sink = Rc::clone(&driver) as Rc<dyn VenueSink>;
        let may_order = live.contains(&venue.id);
        let (orders, feed) = open_venue(&home, venue, may_order, random.next_u64(), sink)?;
        hands.orders.insert(venue.id, orders);
        hands.feeds.insert(venue.id, feed);
    }
    driver.start(hands, jobs, told);
    Ok(driver)
}

/// Begins the open side, where the owner wants one.
fn open_side(
    home: &Path,
    config: &Config,
    identity: &Arc<Identity>,
    peers: &[Peer],
    begin: Begin,
) -> Result<Option<(Open, Receiver<Told>)>, StartError> {
    if config.open.networks.is_empty() {
        return Ok(None);
    }
    Ok(Some(Open::start(home, config, identity, peers, begin)?))
}

/// Opens a venue's two ways: its orders, and its feed.
fn open_venue(
    home: &Path,
    venue: &Venue,
    may_order: bool,
    seed: u64,
    sink: Rc<dyn VenueSink>,
) -> Result<(OrdersHandle, FeedHandle), StartError> {
    let settings = OrdersSettings {
        venue: venue.id,
        http: venue.http.clone(),
        ca_pem: certificates(home, venue)?,
        may_order,
    };
    let orders = orders::start(&settings, Rc::clone(&sink));
    let orders = orders.map_err(|source| StartError::Orders {
        venue: venue.id,
        source,
    })?;
    let settings = FeedSettings {
        venue: venue.id,
        stream: stream_of(venue),
        trust: trust_of(home, venue)?,
        seed,
    };
    Ok((orders, feed::start(settings, sink)))
}

fn profile_of(transport: Transport) -> Profile {
    match transport {
        Transport::Shared => Profile::Shared,
        Transport::Colo { park_after } => Profile::Colo {
            park_after: match park_after {
                ParkAfter::AtOnce => Duration::ZERO,
                ParkAfter::Quiet(quiet) => Duration::from_nanos(quiet.0),
                ParkAfter::Never => Duration::MAX,
            },
        },
    }
}

pub(super) fn certificates(home: &Path, venue: &Venue) -> Result<Option<Vec<u8>>, StartError> {
    let Some(file) = &venue.ca_file else {
        return Ok(None);
    };
    let path = home.join(file);
    let read = std::fs::read(&path);
    read.map(Some)
        .map_err(|source| StartError::Certificates { path, source })
}

pub(super) fn trust_of(home: &Path, venue: &Venue) -> Result<Trust, StartError> {
    let is_tls = venue.ws.as_ref().is_some_and(|url| url.starts_with("wss:"));
    if !is_tls {
        return Ok(Trust::NONE);
    }
    let pem = certificates(home, venue)?;
    Trust::new(pem.as_deref()).map_err(|source| StartError::Trust {
        venue: venue.id,
        source,
    })
}

pub(super) fn stream_of(venue: &Venue) -> Stream {
    match (&venue.ws, venue.framing()) {
        (None, _) | (_, Framing::Polled) => Stream::Polled,
        (Some(url), Framing::Plain) => Stream::Plain(url.clone()),
        (Some(url), Framing::SocketIo) => Stream::SocketIo(url.clone()),
    }
}

fn open_store(path: &Path, crash: Option<CrashPoint>) -> Result<(Store, Owed), StartError> {
    let (store, bodies) = match crash {
        Some(point) => Store::open_to_crash(path, Crash::new(point, Record::name_of))?,
        None => Store::open(path)?,
    };
    let bodies = bodies.iter().map(Vec::as_slice);
    let owed = Owed::replay(bodies).map_err(|(number, source)| StartError::Record {
        path: path.to_owned(),
        number,
        source,
    })?;
    Ok((store, owed))
}

/// Makes the order clients that mode, capability and key files allow together.
fn clients(
    home: &Path,
    config: &Config,
    node: NodeId,
    clock: Clock,
) -> Result<Clients, StartError> {
    let mut clients = Clients::new();
    let Trading::Live { capability } = &config.trading else {
        return Ok(clients);
    };
    let path = home.join(capability);
    let text = private_text(&path)?;
    let file = path.display().to_string();
    let capability = Capability::parse(&text, &file, node, clock.now())
        .map_err(|source| StartError::Capability { path, source })?;
    for id in &capability.venues {
        let named = config.venues.iter().find(|venue| venue.id == *id);
        let venue = named.ok_or(StartError::NoVenue(*id))?;
        let Some(dialect) = registry::find(&venue.dialect) else {
            continue;
        };
        let setup = venue.setup();
        if !dialect.card().is_tradable {
            return Err(StartError::WatchedOnly(*id));
        }
        let client = dialect.order_client(&setup, credentials(home, venue)?);
        clients.extend(client.map(|client| (venue.id, client)));
    }
    Ok(clients)
}

fn credentials(home: &Path, venue: &Venue) -> Result<Credentials, StartError> {
    let file = venue.key_file.as_ref();
    let path = home.join(file.ok_or(StartError::NoKeyFile(venue.id))?);
    let text = private_text(&path)?;
    let mut lines = text.lines().map(str::trim);
    match (lines.next(), lines.next(), lines.next()) {
        (Some(key), Some(secret), None) if !key.is_empty() && !secret.is_empty() => {
            Ok(Credentials {
                key: key.to_owned(),
                secret: secret.to_owned(),
            })
        }
        (_, _, _) => Err(StartError::KeyFile(path)),
    }
}

fn private_text(path: &Path) -> Result<String, StartError> {
    let bytes = private_file::read(path, FILE_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|_| StartError::Text(path.to_owned()))
}
