//! What nodes say to each other about their peernet: its roster, and who speaks for it.
//!
//! All of it is sent once and dies with its connection: whoever still needs it says it again. The
//! bytes within are those of `membership::roster` and `discovery::lease`.

use crate::model::codec::{CodecError, Reader, Writer};
use crate::model::ids::PeernetId;

/// Bytes of the longest roster.
pub const ROSTER_BYTES_MAX: usize = 6_169;
/// Bytes of the longest message about the lease.
pub const LEASE_BYTES_MAX: usize = 64;
const FIRST: u8 = 30;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peernet {
    /// Will you sign the roster of the keys that you list? `sum` is SHA-256 of what is signed.
    Draft {
        peernet: PeernetId,
        version: u64,
        sum: [u8; 32],
    },
    /// The sender's signature under a draft.
    Signed {
        peernet: PeernetId,
        version: u64,
        signature: [u8; 64],
    },
    /// A roster that everybody on it has signed.
    Roster { bytes: Vec<u8> },
    /// The versions after this one, please.
    Wanted { peernet: PeernetId, after: u64 },
    /// About the lease.
    Lease { bytes: Vec<u8> },
}

impl Peernet {
    pub(super) const ORDINALS: std::ops::RangeInclusive<u8> = FIRST..=FIRST + 4;

    pub(super) const fn ordinal(&self) -> (u8, &'static str) {
        match self {
            Self::Draft { .. } => (FIRST, "roster_draft"),
            Self::Signed { .. } => (FIRST + 1, "roster_signed"),
            Self::Roster { .. } => (FIRST + 2, "roster"),
            Self::Wanted { .. } => (FIRST + 3, "roster_wanted"),
            Self::Lease { .. } => (FIRST + 4, "lease"),
        }
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Draft {
                peernet,
                version,
                sum,
            } => {
                writer.raw(&peernet.0);
                writer.u64(*version);
                writer.raw(sum);
            }
            Self::Roster { bytes } | Self::Lease { bytes } => writer.raw(bytes),
            Self::Signed {
                peernet,
                version,
                signature,
            } => {
                writer.raw(&peernet.0);
                writer.u64(*version);
                writer.raw(signature);
            }
            Self::Wanted { peernet, after } => {
                writer.raw(&peernet.0);
                writer.u64(*after);
            }
        }
    }

    pub(super) fn read(ordinal: u8, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match ordinal - FIRST {
            0 => Self::Draft {
                peernet: PeernetId(reader.array("peernet")?),
                version: reader.u64("version")?,
                sum: reader.array("sum")?,
            },
            1 => Self::Signed {
                peernet: PeernetId(reader.array("peernet")?),
                version: reader.u64("version")?,
                signature: reader.array("signature")?,
            },
            2 => Self::Roster {
                bytes: rest(reader, "roster", ROSTER_BYTES_MAX)?,
            },
            3 => Self::Wanted {
                peernet: PeernetId(reader.array("peernet")?),
                after: reader.u64("version")?,
            },
            4 => Self::Lease {
                bytes: rest(reader, "lease", LEASE_BYTES_MAX)?,
            },
            _ => return Err(CodecError::Ordinal(ordinal)),
        })
    }
}

/// Takes everything to the end of the message, at most so much.
fn rest(reader: &mut Reader<'_>, what: &'static str, max: usize) -> Result<Vec<u8>, CodecError> {
    let bytes = reader.take_rest();
    match bytes.len() <= max {
        true => Ok(bytes.to_vec()),
        false => Err(CodecError::Range(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::Message;

    #[test]
    fn every_message_is_read_as_it_was_written_and_none_is_longer_than_it_may() {
        let peernet = PeernetId([7; 16]);
        let bytes = vec![1; LEASE_BYTES_MAX];
        let samples = [
            Peernet::Draft {
                peernet,
                version: 1,
                sum: [4; 32],
            },
            Peernet::Signed {
                peernet,
                version: 3,
                signature: [9; 64],
            },
            Peernet::Roster {
                bytes: vec![2; ROSTER_BYTES_MAX],
            },
            Peernet::Wanted { peernet, after: 2 },
            Peernet::Lease { bytes },
        ];
        for sample in samples {
            let mut bytes = Vec::new();
            let message = Message::Peernet(sample);
            message.encode(&mut bytes);
            assert_eq!(Message::decode(&bytes), Ok(message.clone()));
            bytes.resize(bytes.len() + ROSTER_BYTES_MAX + 1, 0);
            assert!(Message::decode(&bytes).is_err(), "{message:?}");
        }
    }
}
