//! What nodes say to each other about measuring: trains of probes, and surveys of a whole mesh.
//!
//! All of it is sent once and dies with its connection: a measurement that a link did not outlive
//! is measured again.

use crate::model::codec::{CodecError, Reader, Writer};
use crate::model::time::{Span, Time};

/// Bytes of what a peer attests, without domain, key and signature.
pub const ATTESTED_BYTES: usize = 92;
/// Bytes of one piece of a survey's report: with its head it fits into one packet.
pub const PIECE_BYTES_MAX: usize = 1_024;
const FIRST: u8 = 22;

/// One probe, or its answer: both are of one length, so that both directions carry the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The first eight bytes of the train's id; zero for the probes that watch a link.
    pub train: u64,
    pub number: u32,
    /// The prober's clock.
    pub sent: Time,
    /// The peer's clock; zero on the way there.
    pub received: Time,
    pub replied: Time,
}

/// What is said on the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Talk {
    /// May I send this train?
    TrainAsk {
        train: [u8; 16],
        interval: Span,
        burst: u16,
        count: u32,
    },
    /// Yes, or why not; and where the answering site says it is.
    TrainAnswer {
        train: [u8; 16],
        verdict: Verdict,
        /// Millionths of a degree, north and east.
        location_udeg: Option<(i32, i32)>,
    },
    /// No further probe of it comes; what did you see?
    TrainOver { train: [u8; 16] },
    /// What was seen, as `docs/PROTOCOL.md` lays it out, signed with the node key.
    Attested {
        body: [u8; ATTESTED_BYTES],
        key: [u8; 32],
        signature: [u8; 64],
    },
    /// Run such a train to each of your own peers and report.
    SurveyAsk {
        survey: u64,
        interval: Span,
        burst: u16,
        count: u32,
    },
    /// A piece of a signed report of one train, as JSON; `is_whole` with its last piece.
    SurveyPiece {
        survey: u64,
        is_whole: bool,
        json: Vec<u8>,
    },
    /// No more of it comes.
    SurveyOver { survey: u64 },
}

/// Whether a peer lets itself be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ready,
    /// It runs as many probes as it may, or a train of this prober already.
    Busy,
    /// The schedule breaks a limit of its own.
    Refused,
}

impl Probe {
    /// Bytes of the whole message, with its ordinal.
    pub const BYTES: u16 = 37;

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.train);
        writer.raw(&self.number.to_le_bytes());
        for moment in [self.sent, self.received, self.replied] {
            writer.u64(moment.0);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            train: reader.u64("train")?,
            number: reader.array("number").map(u32::from_le_bytes)?,
            sent: Time(reader.u64("sent")?),
            received: Time(reader.u64("received")?),
            replied: Time(reader.u64("replied")?),
        })
    }
}

impl Talk {
    pub(super) const ORDINALS: std::ops::RangeInclusive<u8> = FIRST..=FIRST + 6;

    pub(super) const fn ordinal(&self) -> (u8, &'static str) {
        match self {
            Self::TrainAsk { .. } => (FIRST, "train_ask"),
            Self::TrainAnswer { .. } => (FIRST + 1, "train_answer"),
            Self::TrainOver { .. } => (FIRST + 2, "train_over"),
            Self::Attested { .. } => (FIRST + 3, "attested"),
            Self::SurveyAsk { .. } => (FIRST + 4, "survey_ask"),
            Self::SurveyPiece { .. } => (FIRST + 5, "survey_piece"),
            Self::SurveyOver { .. } => (FIRST + 6, "survey_over"),
        }
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Self::TrainAsk {
                train,
                interval,
                burst,
                count,
            } => {
                writer.raw(train);
                write_schedule(writer, *interval, *burst, *count);
            }
            Self::TrainAnswer {
                train,
                verdict,
                location_udeg,
            } => {
                writer.raw(train);
                writer.u8(verdict.ordinal());
                writer.option(location_udeg.as_ref(), |writer, (latitude, longitude)| {
                    writer.raw(&latitude.to_le_bytes());
                    writer.raw(&longitude.to_le_bytes());
                });
            }
            Self::TrainOver { train } => writer.raw(train),
            Self::Attested {
                body,
                key,
                signature,
            } => {
                writer.raw(body);
                writer.raw(key);
                writer.raw(signature);
            }
            Self::SurveyAsk {
                survey,
                interval,
                burst,
                count,
            } => {
                writer.u64(*survey);
                write_schedule(writer, *interval, *burst, *count);
            }
            Self::SurveyPiece {
                survey,
                is_whole,
                json,
            } => {
                writer.u64(*survey);
                writer.flag(*is_whole);
                writer.raw(&json[..json.len().min(PIECE_BYTES_MAX)]);
            }
            Self::SurveyOver { survey } => writer.u64(*survey),
        }
    }

    pub(super) fn read(ordinal: u8, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match ordinal.wrapping_sub(FIRST) {
            0 => {
                let train = reader.array("train")?;
                let (interval, burst, count) = read_schedule(reader)?;
                Self::TrainAsk {
                    train,
                    interval,
                    burst,
                    count,
                }
            }
            1 => Self::TrainAnswer {
                train: reader.array("train")?,
                verdict: Verdict::at(reader.u8("verdict")?)?,
                location_udeg: reader.option(read_location)?,
            },
            2 => Self::TrainOver {
                train: reader.array("train")?,
            },
            3 => Self::Attested {
                body: reader.array("attested")?,
                key: reader.array("key")?,
                signature: reader.array("signature")?,
            },
            4 => {
                let survey = reader.u64("survey")?;
                let (interval, burst, count) = read_schedule(reader)?;
                Self::SurveyAsk {
                    survey,
                    interval,
                    burst,
                    count,
                }
            }
            5 => {
                let (survey, is_whole) = (reader.u64("survey")?, reader.flag("whole")?);
                let json = reader.take_rest();
                if json.len() > PIECE_BYTES_MAX {
                    return Err(CodecError::Range("piece"));
                }
                Self::SurveyPiece {
                    survey,
                    is_whole,
                    json: json.to_vec(),
                }
            }
            6 => Self::SurveyOver {
                survey: reader.u64("survey")?,
            },
            _ => return Err(CodecError::Ordinal(ordinal)),
        })
    }
}

impl Verdict {
    const ALL: [Self; 3] = [Self::Ready, Self::Busy, Self::Refused];

    const fn ordinal(self) -> u8 {
        match self {
            Self::Ready => 1,
            Self::Busy => 2,
            Self::Refused => 3,
        }
    }

    fn at(ordinal: u8) -> Result<Self, CodecError> {
        let found = Self::ALL.iter().find(|one| one.ordinal() == ordinal);
        found.copied().ok_or(CodecError::Range("verdict"))
    }
}

fn write_schedule(writer: &mut Writer<'_>, interval: Span, burst: u16, count: u32) {
    writer.span(interval);
    writer.u16(burst);
    writer.raw(&count.to_le_bytes());
}

fn read_schedule(reader: &mut Reader<'_>) -> Result<(Span, u16, u32), CodecError> {
    let interval = reader.span("interval")?;
    let burst = reader.array("burst").map(u16::from_le_bytes)?;
    let count = reader.array("count").map(u32::from_le_bytes)?;
    Ok((interval, burst, count))
}

/// Reads a place on earth.
fn read_location(reader: &mut Reader<'_>) -> Result<(i32, i32), CodecError> {
    let latitude = reader.array("latitude").map(i32::from_le_bytes)?;
    let longitude = reader.array("longitude").map(i32::from_le_bytes)?;
    let is_on_earth =
        latitude.unsigned_abs() <= 90_000_000 && longitude.unsigned_abs() <= 180_000_000;
    is_on_earth
        .then_some((latitude, longitude))
        .ok_or(CodecError::Range("location"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::Message;

    fn talks() -> Vec<Talk> {
        let train = [7; 16];
        vec![
            Talk::TrainAsk {
                train,
                interval: Span::MILLI,
                burst: 3,
                count: 70_000,
            },
            Talk::TrainAnswer {
                train,
                verdict: Verdict::Busy,
                location_udeg: Some((-52_370_000, 179_999_999)),
            },
            Talk::TrainAnswer {
                train,
                verdict: Verdict::Ready,
                location_udeg: None,
            },
            Talk::TrainOver { train },
            Talk::Attested {
                body: [1; ATTESTED_BYTES],
                key: [2; 32],
                signature: [3; 64],
            },
            Talk::SurveyAsk {
                survey: 9,
                interval: Span::SECOND,
                burst: 1,
                count: 1,
            },
            Talk::SurveyPiece {
                survey: 9,
                is_whole: true,
                json: b"{}".to_vec(),
            },
            Talk::SurveyOver { survey: 9 },
        ]
    }

    #[test]
    fn every_message_reads_back_and_no_shorter_or_longer_one_does() {
        let mut messages: Vec<Message> = talks().into_iter().map(Message::Talk).collect();
        let probe = Probe {
            train: 1,
            number: u32::MAX,
            sent: Time(2),
            received: Time(3),
            replied: Time::MAX,
        };
        messages.extend([Message::Probe(probe), Message::ProbeReply(probe)]);
        for message in messages {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            assert_eq!(Message::decode(&bytes).as_ref(), Ok(&message));
            let is_open_ended = matches!(message, Message::Talk(Talk::SurveyPiece { .. }));
            for len in 0..bytes.len() {
                let cut = Message::decode(&bytes[..len]);
                assert!(cut.is_err() || is_open_ended, "{message:?} cut to {len}");
            }
            bytes.push(0);
            assert!(Message::decode(&bytes).is_err() || is_open_ended);
        }
    }

    #[test]
    fn a_probe_and_its_answer_are_as_long_as_they_say() {
        let probe = Probe {
            train: 0,
            number: 0,
            sent: Time(1),
            received: Time::ZERO,
            replied: Time::ZERO,
        };
        for message in [Message::Probe(probe), Message::ProbeReply(probe)] {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            assert_eq!(bytes.len(), usize::from(Probe::BYTES));
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let answer = |tail: &[u8]| {
            let mut bytes = vec![23];
            bytes.extend_from_slice(&[7; 16]);
            bytes.extend_from_slice(tail);
            Message::decode(&bytes)
        };
        assert_eq!(answer(&[4, 1]), Err(CodecError::Range("verdict")));
        let mut beyond = vec![1, 2];
        beyond.extend_from_slice(&90_000_001_i32.to_le_bytes());
        beyond.extend_from_slice(&0_i32.to_le_bytes());
        assert_eq!(answer(&beyond), Err(CodecError::Range("location")));
        let mut piece = vec![27];
        piece.extend_from_slice(&[0; 8]);
        piece.push(2);
        piece.resize(piece.len() + PIECE_BYTES_MAX + 1, b' ');
        assert_eq!(Message::decode(&piece), Err(CodecError::Range("piece")));
        for retired in [3, 4, 99] {
            assert_eq!(
                Message::decode(&[retired; 40]),
                Err(CodecError::Ordinal(retired))
            );
        }
    }
}
