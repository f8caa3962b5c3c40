//! What members of a peernet say to each other about the lease.
//!
//! ```text
//! peernet 16 │ kind 1 │ token 8 │ number 8 │ then, by kind:
//! 1 ask      standing 1
//! 2 grant    standing 1
//! 3 refuse   why 1 │ wait span 8
//! 4 release  nothing
//! 5 give up  nothing
//! ```

use crate::model::codec::{CodecError, Reader, Writer};
use crate::model::ids::PeernetId;
use crate::model::time::Span;

use crate::discovery::lease::{LOCK, Standing, Token};

/// One message, between two members of one peernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub peernet: PeernetId,
    /// What is asked for, granted, refused or given back. In a refusal: the highest token that the
    /// refusing member knows.
    pub token: Token,
    /// The asking that this belongs to; see [`Say`].
    pub number: u64,
    pub say: Say,
}

/// What is said. An asking is numbered by the member that asks and never used twice, in no life of
/// it: a grant counts from the moment of its own asking and of no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// Asks for the lease, or for more of it.
    Ask { standing: Standing },
    /// Grants it for [`crate::discovery::lease::LEASE`] from the asking on.
    Grant { standing: Standing },
    /// Does not; asking again is of no use for `wait`.
    Refuse { why: Refusal, wait: Span },
    /// Gives the lease back.
    Release,
    /// Gives an asking up: this token was not used, and will not be by this member.
    GiveUp,
}

/// Why a member does not grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has promised itself to a candidate who has not come back for more.
    Promised,
    /// It has promised itself to an exit who renews.
    Held,
    /// It has begun without knowing its promises, or the roster has changed.
    Waiting,
    /// The token is not above the last one it has promised.
    Token,
}

impl Message {
    /// Bytes of the longest message.
    pub const BYTES_MAX: usize = 16 + 1 + 8 + 8 + 1 + 8;

    /// Reads a message.
    ///
    /// # Errors
    /// Any other shape; a wait longer than a promise lasts.
    pub fn read(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let peernet = PeernetId(reader.array("peernet")?);
        let kind = reader.u8("kind")?;
        let token = Token(reader.u64("token")?);
        let number = reader.u64("number")?;
        let say = match kind {
            1 => Say::Ask {
                standing: read_standing(&mut reader)?,
            },
            2 => Say::Grant {
                standing: read_standing(&mut reader)?,
            },
            3 => Say::Refuse {
                why: match reader.u8("refusal")? {
                    1 => Refusal::Promised,
                    2 => Refusal::Held,
                    3 => Refusal::Waiting,
                    4 => Refusal::Token,
                    _ => return Err(CodecError::Range("refusal")),
                },
                wait: read_wait(&mut reader)?,
            },
            4 => Say::Release,
            5 => Say::GiveUp,
            kind => return Err(CodecError::Ordinal(kind)),
        };
        reader.finish()?;
        Ok(Self {
            peernet,
            token,
            number,
            say,
        })
    }

    /// Appends the message's one form in bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.raw(&self.peernet.0);
        writer.u8(match self.say {
            Say::Ask { .. } => 1,
            Say::Grant { .. } => 2,
            Say::Refuse { .. } => 3,
            Say::Release => 4,
            Say::GiveUp => 5,
        });
        writer.u64(self.token.0);
        writer.u64(self.number);
        match self.say {
            Say::Ask { standing } | Say::Grant { standing } => writer.u8(match standing {
                Standing::Unready => 1,
                Standing::Young => 2,
                Standing::Aged => 3,
            }),
            Say::Refuse { why, wait } => {
                writer.u8(match why {
                    Refusal::Promised => 1,
                    Refusal::Held => 2,
                    Refusal::Waiting => 3,
                    Refusal::Token => 4,
                });
                writer.span(wait);
            }
            Say::Release | Say::GiveUp => (),
        }
    }
}

fn read_standing(reader: &mut Reader<'_>) -> Result<Standing, CodecError> {
    match reader.u8("standing")? {
        1 => Ok(Standing::Unready),
        2 => Ok(Standing::Young),
        3 => Ok(Standing::Aged),
        _ => Err(CodecError::Range("standing")),
    }
}

fn read_wait(reader: &mut Reader<'_>) -> Result<Span, CodecError> {
    let wait = reader.span("wait")?;
    (wait <= LOCK)
        .then_some(wait)
        .ok_or(CodecError::Range("wait"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(say: Say) -> Message {
        Message {
            peernet: PeernetId([7; 16]),
            token: Token(1 << 32 | 5),
            number: 3 << 32 | 9,
            say,
        }
    }

    #[test]
    fn every_message_has_one_form_in_bytes() {
        let standings = [Standing::Unready, Standing::Young, Standing::Aged];
        let refusals = [
            Refusal::Promised,
            Refusal::Held,
            Refusal::Waiting,
            Refusal::Token,
        ];
        let asks = standings.map(|standing| Say::Ask { standing });
        let grants = standings.map(|standing| Say::Grant { standing });
        let refuses = refusals.map(|why| Say::Refuse { why, wait: LOCK });
        let says = [&asks[..], &grants, &refuses, &[Say::Release, Say::GiveUp]].concat();
        for say in says {
            let mut bytes = Vec::new();
            message(say).write(&mut bytes);
            assert_eq!(Message::read(&bytes), Ok(message(say)));
            assert!(bytes.len() <= Message::BYTES_MAX);
            for at in 0..bytes.len() {
                assert!(Message::read(&bytes[..at]).is_err(), "{say:?}, {at} bytes");
            }
            bytes.push(0);
            assert_eq!(Message::read(&bytes), Err(CodecError::Trailing(1)));
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let mut bytes = Vec::new();
        let wait = LOCK;
        let why = Refusal::Held;
        message(Say::Refuse { why, wait }).write(&mut bytes);
        for (at, value, error) in [
            (16, 0, CodecError::Ordinal(0)),
            (16, 6, CodecError::Ordinal(6)),
            (33, 0, CodecError::Range("refusal")),
            (33, 5, CodecError::Range("refusal")),
            (41, 1, CodecError::Range("wait")),
        ] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            assert_eq!(Message::read(&wrong), Err(error));
        }
        bytes.clear();
        message(Say::Release).write(&mut bytes);
        bytes[16] = 2;
        bytes.push(4);
        assert_eq!(Message::read(&bytes), Err(CodecError::Range("standing")));
    }
}
