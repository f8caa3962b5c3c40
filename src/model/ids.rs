//! Names of things: one type per kind of id, so that none can stand for another.

use std::cmp::Ordering;
use std::fmt;

use uuid::Uuid;

use crate::model::random::Random;
use crate::model::time::Time;

/// SHA-256 of the public key (SPKI) in a node's certificate. The key is the identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin(pub [u8; 32]);

/// A node's UUID. It follows from the pin and is never taken from a message.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct NodeId(pub [u8; 16]);

/// As the bytes compare, in one comparison.
impl Ord for NodeId {
    fn cmp(&self, other: &Self) -> Ordering {
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl PartialOrd for NodeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The Ed25519 public key of an owner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub [u8; 32]);

/// A peernet. It follows from the keys that founded it and stays when members come and go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeernetId(pub [u8; 16]);

/// An offer: UUIDv7, made by its origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferId(pub [u8; 16]);

/// One node's match of one offer, unique at the matcher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatchId(pub u64);

/// An envelope, unique at the node that granted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvelopeId(pub u64);

/// An order as its node names it to the venue; never used twice by one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub u64);

/// One plan of a leader: an arbitrage with its legs, or an offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanId(pub u64);

/// One connection of the mesh, numbered by the transport; never used twice in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkNo(pub u64);

/// A durable write: everything journalled up to it is on disk once it is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitNo(pub u64);

/// A request to a venue, unique within one run of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNo(pub u64);

/// A question or command of the owner, numbered by the control socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandNo(pub u64);

impl Pin {
    /// Derives the UUID (version 8) that this key has for ever.
    pub fn node_id(&self) -> NodeId {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[..16]);
        NodeId(*uuid::Builder::from_custom_bytes(bytes).as_uuid().as_bytes())
    }
}

impl OfferId {
    /// Makes a UUIDv7 from the clock and the node's generator.
    pub fn new(now: Time, random: &mut Random) -> Self {
        let mut tail = [0; 10];
        tail[..8].copy_from_slice(&random.next_u64().to_le_bytes());
        tail[8..].copy_from_slice(&random.next_u64().to_le_bytes()[..2]);
        let millis = now.0 / 1_000_000;
        Self(
            *uuid::Builder::from_unix_timestamp_millis(millis, &tail)
                .as_uuid()
                .as_bytes(),
        )
    }

    /// Reads the text form; refuses anything that is not a UUIDv7.
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = Uuid::try_parse(text).ok()?;
        (uuid.get_version_num() == 7).then(|| Self(*uuid.as_bytes()))
    }
}

impl NodeId {
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text)
            .ok()
            .map(|uuid| Self(*uuid.as_bytes()))
    }
}

macro_rules! uuid_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                Uuid::from_bytes(self.0).hyphenated().fmt(formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }
    };
}

macro_rules! hex_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0
                    .iter()
                    .try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }
    };
}

macro_rules! counted {
    ($($name:ident),*) => {$(
        impl $name {
            /// Returns the id that follows this one.
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }
    )*};
}

uuid_text!(NodeId);
uuid_text!(OfferId);
hex_text!(Pin);
hex_text!(OwnerId);
hex_text!(PeernetId);
counted!(
    MatchId, EnvelopeId, OrderId, PlanId, LinkNo, CommitNo, RequestNo, CommandNo
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uuid_follows_from_the_pin() {
        let pin = Pin([0xAB; 32]);
        assert_eq!(pin.node_id(), Pin([0xAB; 32]).node_id());
        assert_ne!(pin.node_id(), Pin([0xAC; 32]).node_id());
        let text = pin.node_id().to_string();
        assert_eq!(NodeId::parse(&text), Some(pin.node_id()));
        assert_eq!(text.as_bytes()[14], b'8');
    }

    #[test]
    fn an_offer_id_is_a_uuid_of_version_7_with_its_time() {
        let mut random = Random::new(1);
        let early = OfferId::new(Time(1_000_000_000), &mut random);
        let late = OfferId::new(Time(2_000_000_000), &mut random);
        assert!(early < late);
        assert_eq!(OfferId::parse(&early.to_string()), Some(early));
        assert_eq!(OfferId::parse(&NodeId([1; 16]).to_string()), None);
    }
}
