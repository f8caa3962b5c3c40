//! What the program needs to know of its owner's wishes, all of it checked.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeTable;

use crate::config::fault::{ConfigFaults, Fault};
use crate::config::raw::{Reader, Resolved, document};
use crate::config::{legs, limits, node, offers, open, venues};
use crate::discovery::network;
use crate::latency::train::Location;
use crate::model::currency::Currency;
use crate::model::instrument::{Pair, VenueId};
use crate::model::market::Rules;
use crate::model::number::Quantity;
use crate::model::time::Span;
use crate::venue::{Dialect, Framing, Setup};
use crate::{arbitrage, execution, membership, offer, risk};

/// A whole checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The label other operators see on the card.
    pub name: String,
    pub listen: SocketAddr,
    /// Numeric addresses that go into the card.
    pub advertise: Vec<SocketAddr>,
    pub transport: Transport,
    /// Where the node stands; peers are told.
    pub location: Option<Location>,
    /// Relative to the home.
    pub store: PathBuf,
    pub trading: Trading,
    pub venues: Vec<Venue>,
    pub membership: membership::Settings,
    pub arbitrage: arbitrage::Settings,
    pub risk: risk::Settings,
    pub execution: execution::Settings,
    pub offer: offer::Settings,
    /// The open network; without networks there is none.
    pub open: network::Settings,
    /// The node answers probes and nothing else. No file says so: `latency serve` does.
    pub responds_only: bool,
}

/// What a file is checked against besides itself.
#[derive(Clone, Copy, Debug)]
pub struct Known<'k> {
    /// The dialects that this binary speaks.
    pub dialects: &'k [&'static dyn Dialect],
    /// Cores of this machine, for `places = "auto"`.
    pub cores: u16,
}

/// A configuration with what its owner may want to know about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// Every key with its value and where that comes from.
    pub resolved: Vec<Resolved>,
    /// What is allowed but likely not meant.
    pub warnings: Vec<Fault>,
}

impl Config {
    /// Reads and checks a whole file; `file` is its name in faults.
    ///
    /// # Errors
    /// Everything that is wrong with the file, at once.
    pub fn parse(text: &str, file: &str, known: &Known<'_>) -> Result<Self, ConfigFaults> {
        Loaded::parse(text, file, known).map(|loaded| loaded.config)
    }
}

impl Config {
    /// Returns what of this configuration a responder to probes needs: no venue, no rule, no rail.
    #[must_use]
    pub fn for_responder(mut self) -> Self {
        self.trading = Trading::Paper;
        self.venues.clear();
        self.arbitrage.frictions.clear();
        self.execution.transfers.clear();
        self.offer.rules.clear();
        self.offer.rails.clear();
        self.open.networks.clear();
        self.responds_only = true;
        self
    }
}

impl Loaded {
    /// Reads and checks a whole file and keeps where each value comes from.
    ///
    /// # Errors
    /// Everything that is wrong with the file, at once.
    pub fn parse(text: &str, file: &str, known: &Known<'_>) -> Result<Self, ConfigFaults> {
        let document = document(text, file)?;
        let mut reader = Reader::new(text, file);
        let config = read(&mut reader, document.get_ref(), known);
        match config {
            Some(config) if reader.faults.is_empty() => Ok(Self {
                config,
                resolved: reader.resolved,
                warnings: ConfigFaults::sorted(reader.warnings).faults,
            }),
            Some(_) | None => Err(ConfigFaults::sorted(reader.faults)),
        }
    }
}

/// Reads every section, whatever is wrong with the ones before.
fn read<'t>(reader: &mut Reader<'t>, table: &'t DeTable<'t>, known: &Known<'_>) -> Option<Config> {
    let root = reader.open("", table);
    let (mode, node) = node::read(reader, &root, known.cores);
    let venues = venues::read(reader, &root, known);
    let arbitrage = legs::read_arbitrage(reader, &root, &venues);
    let risk = limits::read(reader, &root, &venues);
    let execution = legs::read_execution(reader, &root, &venues);
    let offer = offers::read(reader, &root, &venues);
    let open = open::read(reader, &root, mode);
    let node = node?;
    Some(Config {
        name: node.name,
        listen: node.listen,
        advertise: node.advertise,
        transport: node.transport,
        location: node.location,
        store: node.store,
        trading: node.trading,
        venues,
        membership: node.membership,
        arbitrage: arbitrage?,
        risk,
        execution: execution?,
        offer: offer?,
        open: open?,
        responds_only: false,
    })
}

/// How links to peers are driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The default: the core thread sleeps between packets.
    Shared,
    /// The core thread goes on looking for packets for so long after the last one.
    Colo { park_after: ParkAfter },
}

/// When a core thread that looks for packets goes to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkAfter {
    AtOnce,
    Quiet(Span),
    Never,
}

/// Whether orders are real.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trading {
    /// The default: no live order client exists.
    Paper,
    /// Real orders, if this capability file allows them.
    Live { capability: PathBuf },
}

impl Venue {
    /// What the venue's dialect needs to know of it.
    pub fn setup(&self) -> Setup {
        Setup {
            venue: self.id,
            host: self
                .http
                .trim_start_matches("https://")
                .trim_start_matches("http://")
                .to_owned(),
            pairs: self.pairs.clone(),
            rules: self.rules.clone(),
            framing: self.framing(),
        }
    }

    /// Returns how the venue's stream is spoken, which its address tells.
    pub fn framing(&self) -> Framing {
        match &self.ws {
            None => Framing::Polled,
            Some(url) if url.starts_with("http") => Framing::SocketIo,
            Some(_) => Framing::Plain,
        }
    }
}

/// One venue beside this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Venue {
    pub id: VenueId,
    /// A name from `venue::registry`.
    pub dialect: String,
    /// `http://host:port` or `https://host`.
    pub http: String,
    /// `ws://host:port/path`; `http://host:port/path` for the handshake of socket.io; none where
    /// everything is polled.
    pub ws: Option<String>,
    /// Certificates in PEM that alone are trusted for https; relative to the home.
    pub ca_file: Option<PathBuf>,
    /// Two lines, key and secret; mode 0600; relative to the home.
    pub key_file: Option<PathBuf>,
    pub pairs: Vec<Pair>,
    /// The dialect's rules in each market, with what the file overrides.
    pub rules: Vec<(Pair, Rules)>,
    /// What the paper account starts with.
    pub paper: Vec<(Currency, Quantity)>,
}
