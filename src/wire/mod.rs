//! Messages between nodes, with fixed ordinals; the same over QUIC and over DCC.
//!
//! `message` is what is said, `link` how it arrives once across
//! reconnects. `docs/PROTOCOL.md` states the same for people.

pub mod link;
pub mod message;

/// Versions of the protocol, newest first. The enum is the change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Books, envelopes, legs, offers and matches inside a darknet.
    V1 = 1,
}

impl Version {
    pub const CURRENT: Self = Self::V1;
    /// The oldest version this node still speaks.
    pub const OLDEST: Self = Self::V1;

    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
        }
    }
}
