//! What a node keeps of its peernet: rosters, and what it has promised.

use crate::model::codec::{CodecError, Reader, Writer};
use crate::model::ids::NodeId;

const FIRST: u8 = 22;

/// One durable fact about the peernet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeernetRecord {
    /// The latest roster of the own peernet, as `membership::roster` writes it.
    Roster { bytes: Vec<u8> },
    /// The lease was promised by this token. Durable before the grant leaves.
    Promised { token: u64, to: NodeId },
    /// A roster of this version was signed. Durable before the signature leaves.
    Signed { version: u32 },
}

/// What a booting node takes up of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Versions of the own peernet's roster, in the order in which they came.
    pub rosters: Vec<Vec<u8>>,
    /// The last promise of the lease: its token, and to whom.
    pub promised: Option<(u64, NodeId)>,
    /// The last version of a roster that was signed.
    pub signed: u32,
}

impl PeernetRecord {
    pub(super) const ORDINALS: std::ops::RangeInclusive<u8> = FIRST..=FIRST + 2;

    pub(super) const fn ordinal(&self) -> (u8, &'static str) {
        match self {
            Self::Roster { .. } => (FIRST, "roster"),
            Self::Promised { .. } => (FIRST + 1, "promised"),
            Self::Signed { .. } => (FIRST + 2, "roster-signed"),
        }
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Roster { bytes } => writer.raw(bytes),
            Self::Promised { token, to } => {
                writer.u64(*token);
                writer.raw(&to.0);
            }
            Self::Signed { version } => writer.u64(u64::from(*version)),
        }
    }

    pub(super) fn read(ordinal: u8, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match ordinal - FIRST {
            0 => Self::Roster {
                bytes: reader.take_rest().to_vec(),
            },
            1 => Self::Promised {
                token: reader.u64("token")?,
                to: reader.node()?,
            },
            2 => Self::Signed {
                version: u32::try_from(reader.u64("version")?)
                    .map_err(|_| CodecError::Range("version"))?,
            },
            _ => return Err(CodecError::Ordinal(ordinal)),
        })
    }
}

impl Kept {
    pub(super) fn apply(&mut self, record: PeernetRecord) {
        match record {
            PeernetRecord::Roster { bytes } => {
                // The first version of another peernet, which this node has joined.
                if is_first(&bytes) {
                    *self = Self::default();
                }
                self.rosters.push(bytes);
            }
            PeernetRecord::Promised { token, to } => self.promised = Some((token, to)),
            PeernetRecord::Signed { version } => self.signed = version,
        }
    }
}

/// Tells whether a roster's version, behind the peernet's id, is 1.
fn is_first(roster: &[u8]) -> bool {
    roster.get(16..24) == Some(&1_u64.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(peernet: u8, version: u64) -> PeernetRecord {
        let bytes = [&[peernet; 16][..], &version.to_le_bytes(), &[1; 97]].concat();
        PeernetRecord::Roster { bytes }
    }

    #[test]
    fn what_was_promised_in_another_peernet_binds_nobody_in_this_one() {
        let mut kept = Kept::default();
        let to = NodeId([9; 16]);
        kept.apply(PeernetRecord::Signed { version: 1 });
        kept.apply(roster(1, 1));
        kept.apply(PeernetRecord::Promised { token: 5, to });
        kept.apply(roster(1, 2));
        assert_eq!((kept.rosters.len(), kept.promised), (2, Some((5, to))));
        kept.apply(roster(2, 1));
        assert_eq!((kept.rosters.len(), kept.promised), (1, None));
    }
}
