//! A train on its way from the node that runs it to whoever asked for it: lines of JSON, each short
//! enough to be made within a step, put together again at the other end.
//!
//! ```text
//! head ─▶ samples, counts of the transport, as they come ─▶ end        (once for each train)
//! ```

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::latency::attest;
use crate::latency::measured::TransportCount;
use crate::latency::train::{
    Attestation, End, Fate, Location, Offset, Over, PROBES_MAX, Sample, SelfLine, Shape, Spread,
    TimestampSource, Train,
};
use crate::model::ids::NodeId;
use crate::model::time::{Span, Time};

/// Samples of one line: some ten microseconds of a step.
pub const SAMPLES_MAX: usize = 64;
/// Counts of the transport that are kept of one train; later ones are left off.
pub const COUNTS_MAX: usize = 4_096;
/// Trains that are put together at once: those of a node to all of its peers.
const TRAINS_MAX: usize = 256;

/// One line. Ids and keys are hexadecimal, moments and spans nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    Head(Head),
    Samples {
        train: String,
        samples: Vec<Row>,
    },
    Count {
        train: String,
        count: TransportCount,
    },
    End(Box<Ending>),
    Absent(Absent),
    Piece(Piece),
    /// Nothing follows.
    Over {},
}

/// A train that was asked for and is not run, or a peer that does not report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Absent {
    pub to: String,
    pub why: String,
}

/// A piece of what another node of the owner measured and signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    pub from: String,
    pub is_whole: bool,
    pub json: String,
}

/// What is known before the first probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pub train: String,
    pub from: Site,
    pub to: Site,
    pub interval_ns: u64,
    /// One for an idle train.
    pub burst: u16,
    pub count: u32,
    pub started_ns: u64,
    pub probe_bytes: u16,
}

/// One end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    pub node: String,
    pub name: String,
    /// Millionths of a degree, north and east; as that site claims.
    pub location_udeg: Option<(i32, i32)>,
}

/// One sample: number, intended, sent, fate (0 lost, 1 refused, 2 answered, 3 answered after a
/// later one), received, replied, heard.
pub type Row = (u32, u64, u64, u8, u64, u64, u64);

/// What is known after the last probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    pub train: String,
    /// How far the peer's clock is ahead, and the bound.
    pub clock: Option<(i64, u64)>,
    /// How late the pacing thread woke: count, p50, p99, max.
    pub timer_late: (u64, u64, u64, u64),
    pub attestation: Option<Attested>,
}

/// What the peer attests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attested {
    pub body: String,
    pub key: String,
    pub signature: String,
}

/// Why lines are no train.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LinesError {
    #[error(
        "a line of the train is not as this program writes it: {0}; is the node of another version?"
    )]
    Json(String),
    #[error("`{0}` is not what it should be")]
    Field(&'static str),
    #[error("a line belongs to no train that was begun")]
    Unknown,
    #[error("more than {0} of one thing")]
    TooMany(usize),
}

/// Trains that are being put together.
#[derive(Debug, Default)]
pub struct Assembly {
    open: BTreeMap<String, Train>,
}

/// What a line brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Begun {
        to: String,
    },
    /// How many samples there are now.
    Samples(usize),
    Nothing,
    Train(Box<Train>),
    Absent(Absent),
    Piece(Piece),
    Over,
}

impl Assembly {
    /// Takes one line. What of the self line this machine and not the node knows is left empty.
    ///
    /// # Errors
    /// The line is none, or belongs to no train.
    pub fn hear(&mut self, line: &str) -> Result<Heard, LinesError> {
        let line: Line =
            serde_json::from_str(line).map_err(|error| LinesError::Json(error.to_string()))?;
        Ok(match line {
            Line::Head(head) => {
                if self.open.len() >= TRAINS_MAX {
                    return Err(LinesError::TooMany(TRAINS_MAX));
                }
                let to = head.to.name.clone();
                self.open.insert(head.train.clone(), head.train()?);
                Heard::Begun { to }
            }
            Line::Samples { train, samples } => {
                let train = self.open.get_mut(&train).ok_or(LinesError::Unknown)?;
                let most = PROBES_MAX as usize;
                if train.samples.len() + samples.len() > most {
                    return Err(LinesError::TooMany(most));
                }
                for row in samples {
                    train.samples.push(sample_of(row)?);
                }
                Heard::Samples(train.samples.len())
            }
            Line::Count { train, count } => {
                let train = self.open.get_mut(&train).ok_or(LinesError::Unknown)?;
                if train.path.len() >= COUNTS_MAX {
                    return Err(LinesError::TooMany(COUNTS_MAX));
                }
                train.path.push(count.into());
                Heard::Nothing
            }
            Line::End(ending) => {
                let train = self.open.remove(&ending.train).ok_or(LinesError::Unknown)?;
                Heard::Train(Box::new(ending.end(train)?))
            }
            Line::Absent(absent) => Heard::Absent(absent),
            Line::Piece(piece) => Heard::Piece(piece),
            Line::Over {} => Heard::Over,
        })
    }
}

impl Head {
    fn train(self) -> Result<Train, LinesError> {
        let interval = Span(self.interval_ns);
        Ok(Train {
            id: bytes_of("train", &self.train)?,
            from: self.from.end()?,
            to: self.to.end()?,
            over: Over::Mesh,
            shape: match self.burst {
                0 | 1 => Shape::Idle { interval },
                burst => Shape::Loaded { interval, burst },
            },
            started: Time(self.started_ns),
            probe_bytes: self.probe_bytes,
            samples: Vec::new(),
            clock: None,
            path: Vec::new(),
            own: SelfLine {
                loopback: None,
                timer_late: Spread::default(),
                timestamps: TimestampSource::User,
                system_clock: String::new(),
            },
            attestation: None,
        })
    }
}

impl Ending {
    fn end(self, mut train: Train) -> Result<Train, LinesError> {
        train.clock = self.clock.map(|(ahead_ns, bound_ns)| Offset {
            ahead_ns,
            bound: Span(bound_ns),
        });
        let (count, p50, p99, max) = self.timer_late;
        train.own.timer_late = Spread {
            count,
            p50: Span(p50),
            p99: Span(p99),
            max: Span(max),
        };
        train.attestation = self.attestation.map(Attested::read).transpose()?;
        Ok(train)
    }
}

impl Attested {
    /// Writes what a peer attests.
    pub fn of(attestation: &Attestation) -> Self {
        Self {
            body: HEXLOWER.encode(&attest::body(attestation)),
            key: HEXLOWER.encode(&attestation.key),
            signature: HEXLOWER.encode(&attestation.signature),
        }
    }

    fn read(self) -> Result<Attestation, LinesError> {
        let body = bytes_of("body", &self.body)?;
        let key = bytes_of("key", &self.key)?;
        let signature = bytes_of("signature", &self.signature)?;
        attest::read(&body, key, signature).map_err(|_| LinesError::Field("body"))
    }
}

impl Site {
    /// Writes one end.
    pub fn of(end: &End) -> Self {
        let location = end.location;
        Self {
            node: end.node.to_string(),
            name: end.name.clone(),
            location_udeg: location
                .map(|location| (location.latitude_udeg, location.longitude_udeg)),
        }
    }

    fn end(self) -> Result<End, LinesError> {
        let location = self.location_udeg;
        Ok(End {
            node: NodeId::parse(&self.node).ok_or(LinesError::Field("node"))?,
            name: self.name,
            location: location.map(|(latitude_udeg, longitude_udeg)| Location {
                latitude_udeg,
                longitude_udeg,
            }),
        })
    }
}

/// Writes one sample.
pub fn row_of(sample: &Sample) -> Row {
    let (fate, received, replied, heard) = match sample.fate {
        Fate::Lost => (0, 0, 0, 0),
        Fate::Refused => (1, 0, 0, 0),
        Fate::Answered {
            received,
            replied,
            heard,
            overtaken,
        } => (2 + u8::from(overtaken), received.0, replied.0, heard.0),
    };
    let (intended, sent) = (sample.intended.0, sample.sent.0);
    (
        sample.number,
        intended,
        sent,
        fate,
        received,
        replied,
        heard,
    )
}

fn sample_of(row: Row) -> Result<Sample, LinesError> {
    let (number, intended, sent, fate, received, replied, heard) = row;
    Ok(Sample {
        number,
        intended: Time(intended),
        sent: Time(sent),
        fate: match fate {
            0 => Fate::Lost,
            1 => Fate::Refused,
            2 | 3 => Fate::Answered {
                received: Time(received),
                replied: Time(replied),
                heard: Time(heard),
                overtaken: fate == 3,
            },
            _ => return Err(LinesError::Field("fate")),
        },
    })
}

/// Writes an id.
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn bytes_of<const N: usize>(field: &'static str, text: &str) -> Result<[u8; N], LinesError> {
    let bytes = HEXLOWER.decode(text.as_bytes()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(LinesError::Field(field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::train::PathCount;

    const COUNT: TransportCount = TransportCount {
        at_ns: 1,
        sent_packets: 2,
        lost_packets: 3,
        congestion_events: 4,
        congestion_window_bytes: 5,
        path_switches: 6,
    };

    fn json(line: &Line) -> String {
        serde_json::to_string(line).unwrap()
    }

    fn site(byte: u8) -> Site {
        Site {
            node: NodeId([byte; 16]).to_string(),
            name: format!("site {byte}"),
            location_udeg: Some((1, -2)),
        }
    }

    #[test]
    fn a_train_comes_out_as_it_went_in() {
        let train = hex(&[5; 16]);
        let samples = [
            Fate::Lost,
            Fate::Refused,
            Fate::Answered {
                received: Time(7),
                replied: Time(8),
                heard: Time(9),
                overtaken: true,
            },
        ];
        let samples: Vec<Sample> = samples
            .into_iter()
            .enumerate()
            .map(|(index, fate)| Sample {
                number: u32::try_from(index).unwrap(),
                intended: Time(3),
                sent: Time(4),
                fate,
            })
            .collect();
        let mut assembly = Assembly::default();
        let lines = [
            Line::Head(Head {
                train: train.clone(),
                from: site(1),
                to: site(2),
                interval_ns: 1_000_000,
                burst: 4,
                count: 3,
                started_ns: 11,
                probe_bytes: 37,
            }),
            Line::Samples {
                train: train.clone(),
                samples: samples.iter().map(row_of).collect(),
            },
            Line::Count {
                train: train.clone(),
                count: COUNT,
            },
        ];
        for line in &lines {
            assembly.hear(&json(line)).unwrap();
        }
        let end = Line::End(Box::new(Ending {
            train,
            clock: Some((-5, 6)),
            timer_late: (1, 2, 3, 4),
            attestation: None,
        }));
        let Heard::Train(whole) = assembly.hear(&json(&end)).unwrap() else {
            panic!("no train");
        };
        assert_eq!(whole.samples, samples);
        assert_eq!(whole.path, [PathCount::from(COUNT)]);
        assert_eq!(whole.own.timer_late.max, Span(4));
        assert_eq!(whole.clock.unwrap().ahead_ns, -5);
        assert_eq!(Site::of(&whole.to), site(2));
        assert!(matches!(whole.shape, Shape::Loaded { burst: 4, .. }));
        assert_eq!(assembly.hear(&json(&end)), Err(LinesError::Unknown));
    }

    #[test]
    fn what_is_handed_on_as_it_came_keeps_its_json() {
        let mut assembly = Assembly::default();
        let absent = Absent {
            to: "b".to_owned(),
            why: "busy".to_owned(),
        };
        let line = json(&Line::Absent(absent.clone()));
        assert_eq!(line, r#"{"line":"absent","to":"b","why":"busy"}"#);
        assert_eq!(assembly.hear(&line), Ok(Heard::Absent(absent)));
        let piece = Piece {
            from: "c".to_owned(),
            is_whole: true,
            json: "{}".to_owned(),
        };
        let line = json(&Line::Piece(piece.clone()));
        let expected = r#"{"line":"piece","from":"c","is_whole":true,"json":"{}"}"#;
        assert_eq!(line, expected);
        assert_eq!(assembly.hear(&line), Ok(Heard::Piece(piece)));
    }

    #[test]
    fn what_no_node_writes_is_refused() {
        let mut assembly = Assembly::default();
        let unknown_field = r#"{"line":"absent","to":"b","why":"busy","x":1}"#;
        assert!(assembly.hear(unknown_field).is_err());
        for text in ["", "{}", "{\"line\":\"over\",\"x\":1}", "[]"] {
            assert!(assembly.hear(text).is_err(), "{text}");
        }
        assert!(sample_of((0, 0, 0, 4, 0, 0, 0)).is_err());
    }
}
