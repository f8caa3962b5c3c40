//! Messages between nodes, with fixed ordinals; the same over QUIC and over DCC.
//!
//! `message` is what is said, `talk` what of it is about measuring,
//! `peernet` what is about rosters and the lease, `link` how it arrives once
//! across reconnects. `docs/PROTOCOL.md` states the same for people.

pub mod link;
pub mod message;
pub mod peernet;
pub mod talk;

/// Versions of the protocol, newest first. The enum is the change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Books, envelopes, legs, offers and matches inside a darknet.
    V1 = 1,
    /// Probes have numbers and the peer's moments; trains and surveys. The probes of version 1 have
    /// no successor that such a node would understand, and none was ever released.
    V2 = 2,
    /// Exits inquire after offers that were announced; peernets have rosters and a lease. A node of
    /// version 2 would close the link at that, and none was ever released.
    V3 = 3,
}

impl Version {
    pub const CURRENT: Self = Self::V3;
    /// The oldest version this node still speaks.
    pub const OLDEST: Self = Self::V3;

    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}
