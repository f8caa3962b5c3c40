//! Stand-ins for parts of the program that are built elsewhere: identity, peers, dialects.
//!
//! The names and signatures are those of `shell::identity`, `shell::peers` and `venue::registry`, so
//! that each item here can become a `pub use`. Nothing else in `cli` reaches them another way.

use std::net::SocketAddr;
use std::path::Path;

use thiserror::Error;

use crate::membership::Peer;
use crate::model::ids::NodeId;
use crate::venue::Card;

/// One dialect of the registry.
#[derive(Clone, Copy, Debug)]
pub struct KnownCard {
    pub name: &'static str,
    pub card: Card,
}

/// Returns every dialect that this binary speaks.
pub fn dialects() -> Vec<KnownCard> {
    use crate::model::market::{FeeIn, Rules};
    use crate::model::number::{Price, Quantity};
    use crate::model::time::Span;
    vec![KnownCard {
        name: "simulated",
        card: Card {
            sequenced_books: true,
            client_order_ids: true,
            private_stream: true,
            reports_engine_lag: true,
            depth_levels_max: 100,
            silence_max: Span::secs(10),
            requests_per_s: 10,
            rules: Rules {
                tick: Price(1_000_000),
                lot: Quantity(1),
                quantity_min: Quantity(1_000_000),
                taker_fee_ppm: 2_000,
                fee_in: FeeIn::Received,
            },
        },
    }]
}

/// Where the owner's key comes from when an identity is made.
#[derive(Clone, Copy, Debug)]
pub enum OwnerSource<'a> {
    /// A new owner: the key is made and kept in this home.
    New,
    /// The `owner.key` of another home is copied here.
    Copied(&'a Path),
    /// The `owner.key` of another home vouches for this node and is not kept here.
    Vouched(&'a Path),
}

/// Why there is no identity or list of peers.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("keys and peers are not built in this binary")]
pub struct NotBuilt;

/// The node's key and its owner.
#[derive(Debug)]
pub struct Identity {
    node: NodeId,
}

impl Identity {
    pub fn create(_home: &Path, _owner: OwnerSource<'_>) -> Result<Self, NotBuilt> {
        Err(NotBuilt)
    }

    pub fn open(_home: &Path) -> Result<Self, NotBuilt> {
        Err(NotBuilt)
    }

    pub fn node_id(&self) -> NodeId {
        self.node
    }

    /// Returns the line that a peer's owner needs.
    pub fn card(&self, _name: &str, _addresses: &[SocketAddr]) -> Result<String, NotBuilt> {
        Err(NotBuilt)
    }
}

/// The list of peers in a home.
#[derive(Debug)]
pub struct PeerList {
    peers: Vec<Peer>,
}

impl PeerList {
    pub fn open(_home: &Path, _own: NodeId) -> Result<Self, NotBuilt> {
        Err(NotBuilt)
    }

    /// Checks a card line, adds the peer it names, and writes the file.
    pub fn add(&mut self, _line: &str, _trust: u8) -> Result<Peer, NotBuilt> {
        Err(NotBuilt)
    }

    /// Removes a peer and writes the file.
    pub fn remove(&mut self, _id: NodeId) -> Result<Peer, NotBuilt> {
        Err(NotBuilt)
    }

    pub fn list(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter()
    }
}
