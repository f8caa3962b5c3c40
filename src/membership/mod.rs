//! Who is known: identities, owners, cards, pins, and the list of nodes by round-trip time.

pub mod card;
pub mod guests;
pub mod knock;
pub mod links;
pub mod muster;
pub mod roster;
pub mod rosters;
mod tag;

use crate::model::ids::{NodeId, OwnerId, Pin};
use crate::model::time::Span;

/// What the owner says about how links are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Places on the node list; see [`places`].
    pub places: u16,
    pub redial_min: Span,
    pub redial_max: Span,
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    Dialled,
    Accepted,
}

/// How a link is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    Quic,
    /// TCP with TLS, as DCC brings it about.
    Dcc,
}

/// A listed node, as its card and the owner's trust describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub id: NodeId,
    pub pin: Pin,
    /// The Ed25519 key that the pin is of; its roster names it.
    pub key: [u8; 32],
    /// The X25519 key for the tag on first packets.
    pub knock: [u8; 32],
    pub owner: OwnerId,
    /// The card's label; shown, never trusted.
    pub name: String,
    /// Numeric addresses to dial, in order.
    pub addresses: Vec<std::net::SocketAddr>,
    /// 0 to 10, assigned by the owner; 10 for one's own.
    pub trust: u8,
}

/// Returns the number of places on the node list: 12 on four cores, 2 more for each further core
/// of a dedicated machine, half of it on a shared one, 3 a core below four.
pub fn places(cores: u16, dedicated: bool) -> u16 {
    let full = match cores {
        0..4 => cores.max(1) * 3,
        _ => 12 + (cores - 4) * 2,
    };
    if dedicated { full } else { (full / 2).max(1) }
}
