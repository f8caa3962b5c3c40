//! What the program needs to know of its owner's wishes, all of it checked.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::model::currency::Currency;
use crate::model::instrument::{Pair, VenueId};
use crate::model::market::Rules;
use crate::model::number::Quantity;
use crate::{arbitrage, execution, membership, offer, risk};

/// A whole checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The label other operators see on the card.
    pub name: String,
    pub listen: SocketAddr,
    /// Numeric addresses that go into the card.
    pub advertise: Vec<SocketAddr>,
    /// Relative to the home.
    pub store: PathBuf,
    pub trading: Trading,
    pub venues: Vec<Venue>,
    pub membership: membership::Settings,
    pub arbitrage: arbitrage::Settings,
    pub risk: risk::Settings,
    pub execution: execution::Settings,
    pub offer: offer::Settings,
}

/// Whether orders are real.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trading {
    /// The default: no live order client exists.
    Paper,
    /// Real orders, if this capability file allows them.
    Live { capability: PathBuf },
}

/// One venue beside this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Venue {
    pub id: VenueId,
    /// A name from `venue::registry`.
    pub dialect: String,
    /// `http://host:port`.
    pub http: String,
    /// `ws://host:port/path`.
    pub ws: String,
    /// Two lines, key and secret; mode 0600; relative to the home.
    pub key_file: Option<PathBuf>,
    pub pairs: Vec<Pair>,
    /// The dialect's rules, with what the file overrides.
    pub rules: Rules,
    /// What the paper account starts with.
    pub paper: Vec<(Currency, Quantity)>,
}
