//! One train in a report: its two ends, its figures, its outliers and what the peer attests.

use serde::{Deserialize, Serialize};

use crate::latency::histogram;
use crate::latency::report::{
    COUNTS_MAX, LOST_MAX, NAME_BYTES_MAX, OUTLIERS_MAX, ReportError, count, cut, text, within,
};
use crate::latency::summary::{Answer, Counts, Distribution, Figures, OneWay, Summary, telling};
use crate::latency::train::{Attestation, End, Fate, Location, Over, PathCount, Shape, Train};
use crate::latency::wire::{self, Hex};
use crate::model::ids::NodeId;
use crate::model::time::Time;

/// One train in figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    pub train: Hex<16>,
    pub from: Site,
    pub to: Site,
    pub over: Carrier,
    pub spacing: Spacing,
    pub started_ns: u64,
    /// From the first probe's due moment to the last one's.
    pub lasted_ns: u64,
    pub probe_bytes: u16,
    pub counts: Counts,
    pub rtt: Option<Distribution>,
    pub jitter_ns: Option<u64>,
    pub forward: OneWay,
    pub backward: OneWay,
    pub clock: Option<Ahead>,
    pub late: Figures,
    /// The slowest answers at or above p99.9, by number.
    pub outliers: Vec<Outlier>,
    pub outliers_left_off: u64,
    /// Lost probes by number.
    pub lost: Vec<LostProbe>,
    pub transport: Vec<TransportCount>,
    pub transport_left_off: u64,
    pub attestation: Option<Attested>,
}

/// One end of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    #[serde(with = "wire::node")]
    pub node: NodeId,
    pub name: String,
    pub location: Option<Place>,
}

/// Where a site is, in millionths of a degree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub latitude_udeg: i32,
    pub longitude_udeg: i32,
}

/// What carried the probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    Mesh,
    Udp,
    Icmp,
}

/// How probes were spaced: `burst` at once every `interval_ns`; an idle train has bursts of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spacing {
    pub interval_ns: u64,
    pub burst: u16,
}

/// How far the peer's clock is ahead, true within plus or minus the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ahead {
    pub ahead_ns: i64,
    pub bound_ns: u64,
}

/// One slow answer, with what stood beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outlier {
    pub number: u32,
    pub rtt_ns: u64,
    pub intended_ns: u64,
    pub sent_ns: u64,
    pub received_ns: u64,
    pub replied_ns: u64,
    pub heard_ns: u64,
    /// Round trips of the probe before and after; `None` where there is none or it was lost.
    pub before_ns: Option<u64>,
    pub after_ns: Option<u64>,
}

/// One probe without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LostProbe {
    pub number: u32,
    pub intended_ns: u64,
    pub sent_ns: u64,
}

/// What the transport had counted up to a moment, in reports and on the way to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransportCount {
    pub at_ns: u64,
    pub sent_packets: u64,
    pub lost_packets: u64,
    pub congestion_events: u64,
    pub congestion_window_bytes: u64,
    pub path_switches: u64,
}

/// What the peer says of the train, with its signature over [`crate::latency::sign::attestation_statement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attested {
    pub train: Hex<16>,
    #[serde(with = "wire::node")]
    pub prober: NodeId,
    pub received: u32,
    pub first_received_ns: u64,
    pub last_received_ns: u64,
    pub rtt: Figures,
    pub rtt_min_ns: u64,
    pub key: Hex<32>,
    pub signature: Hex<64>,
}

impl Measured {
    pub(crate) fn of(train: &Train, summary: &Summary) -> Self {
        let (outliers, outliers_left_off) = outliers(train, summary);
        let counts = telling(&train.path);
        let transport: Vec<TransportCount> = counts
            .iter()
            .take(COUNTS_MAX)
            .map(|count| TransportCount::from(*count))
            .collect();
        let transport_left_off = count(counts.len() - transport.len());
        let due = train.samples.first().zip(train.samples.last());
        Self {
            train: Hex(train.id),
            from: Site::of(&train.from),
            to: Site::of(&train.to),
            over: train.over.into(),
            spacing: train.shape.into(),
            started_ns: train.started.0,
            lasted_ns: due.map_or(0, |(first, last)| last.intended.since(first.intended).0),
            probe_bytes: train.probe_bytes,
            counts: summary.counts,
            rtt: summary.rtt.clone(),
            jitter_ns: summary.jitter_ns,
            forward: summary.forward.clone(),
            backward: summary.backward.clone(),
            clock: train.clock.map(|clock| Ahead {
                ahead_ns: clock.ahead_ns,
                bound_ns: clock.bound.0,
            }),
            late: Figures::of(&summary.late),
            outliers,
            outliers_left_off,
            lost: lost(train),
            transport,
            transport_left_off,
            attestation: train.attestation.as_ref().map(Attested::from),
        }
    }

    /// Names the path for people.
    pub fn name(&self) -> String {
        let burst = match self.spacing.burst {
            0 | 1 => String::new(),
            burst => format!(" in bursts of {burst}"),
        };
        let over = match self.over {
            Carrier::Mesh => "",
            Carrier::Udp => " over UDP",
            Carrier::Icmp => " over ICMP",
        };
        format!("{} → {}{over}{burst}", self.from.name, self.to.name)
    }

    /// Yields the distributions with the names of what they are of.
    pub fn distributions(&self) -> impl Iterator<Item = (&'static str, &Distribution)> {
        let rtt = self.rtt.as_ref().map(|rtt| ("round trip", rtt));
        [
            rtt,
            self.forward.known().map(|delay| ("there", delay)),
            self.backward.known().map(|delay| ("back", delay)),
        ]
        .into_iter()
        .flatten()
    }

    pub(crate) fn check(&self) -> Result<(), ReportError> {
        within("outliers", self.outliers.len(), OUTLIERS_MAX)?;
        within("lost probes", self.lost.len(), LOST_MAX)?;
        within("counts of the transport", self.transport.len(), COUNTS_MAX)?;
        for site in [&self.from, &self.to] {
            text("name", &site.name, NAME_BYTES_MAX)?;
            let on_earth = site.location.is_none_or(|place| {
                place.latitude_udeg.unsigned_abs() <= 90_000_000
                    && place.longitude_udeg.unsigned_abs() <= 180_000_000
            });
            if !on_earth {
                return Err(ReportError::Location(site.name.clone()));
            }
        }
        for (_, distribution) in self.distributions() {
            histogram::from_text(&distribution.histogram).map_err(|error| {
                let path = self.name();
                ReportError::Histogram { path, error }
            })?;
        }
        Ok(())
    }
}

impl Site {
    fn of(end: &End) -> Self {
        Self {
            node: end.node,
            name: cut(&end.name, NAME_BYTES_MAX),
            location: end.location.map(Place::from),
        }
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self {
            latitude_udeg: location.latitude_udeg,
            longitude_udeg: location.longitude_udeg,
        }
    }
}

impl From<Place> for Location {
    fn from(place: Place) -> Self {
        Self {
            latitude_udeg: place.latitude_udeg,
            longitude_udeg: place.longitude_udeg,
        }
    }
}

impl From<Over> for Carrier {
    fn from(over: Over) -> Self {
        match over {
            Over::Mesh => Self::Mesh,
            Over::Udp => Self::Udp,
            Over::Icmp => Self::Icmp,
        }
    }
}

impl From<Shape> for Spacing {
    fn from(shape: Shape) -> Self {
        let (interval, burst) = match shape {
            Shape::Idle { interval } => (interval, 1),
            Shape::Loaded { interval, burst } => (interval, burst),
        };
        Self {
            interval_ns: interval.0,
            burst,
        }
    }
}

impl From<PathCount> for TransportCount {
    fn from(count: PathCount) -> Self {
        Self {
            at_ns: count.at.0,
            sent_packets: count.sent_packets,
            lost_packets: count.lost_packets,
            congestion_events: count.congestion_events,
            congestion_window_bytes: count.congestion_window_bytes,
            path_switches: count.path_switches,
        }
    }
}

impl From<TransportCount> for PathCount {
    fn from(count: TransportCount) -> Self {
        Self {
            at: Time(count.at_ns),
            sent_packets: count.sent_packets,
            lost_packets: count.lost_packets,
            congestion_events: count.congestion_events,
            congestion_window_bytes: count.congestion_window_bytes,
            path_switches: count.path_switches,
        }
    }
}

impl From<&Attestation> for Attested {
    fn from(attestation: &Attestation) -> Self {
        Self {
            train: Hex(attestation.train),
            prober: attestation.prober,
            received: attestation.received,
            first_received_ns: attestation.first_received.0,
            last_received_ns: attestation.last_received.0,
            rtt: attestation.rtt.into(),
            rtt_min_ns: attestation.rtt_min.0,
            key: Hex(attestation.key),
            signature: Hex(attestation.signature),
        }
    }
}

/// Picks the answers at or above p99.9 that are slower than the median: the slowest of them, by
/// number. The second value counts those left off.
fn outliers(train: &Train, summary: &Summary) -> (Vec<Outlier>, u64) {
    let Some(rtt) = &summary.rtt else {
        return (Vec::new(), 0);
    };
    let bounds = histogram::empty();
    let least = bounds.lowest_equivalent(rtt.p99_9_ns).max(rtt.p50_ns + 1);
    let answer_at = |index: Option<usize>| {
        let sample = train.samples.get(index?)?;
        Answer::of(sample).filter(Answer::holds)
    };
    let mut slow: Vec<(usize, Answer)> = (0..train.samples.len())
        .filter_map(|index| Some((index, answer_at(Some(index))?)))
        .filter(|(_, answer)| answer.rtt_ns() >= least)
        .collect();
    let found = slow.len();
    slow.sort_by_key(|(_, answer)| std::cmp::Reverse(answer.rtt_ns()));
    slow.truncate(OUTLIERS_MAX);
    slow.sort_by_key(|(index, _)| *index);
    let kept = slow.iter().map(|&(index, answer)| Outlier {
        number: answer.number,
        rtt_ns: answer.rtt_ns(),
        intended_ns: answer.intended.0,
        sent_ns: answer.sent.0,
        received_ns: answer.received.0,
        replied_ns: answer.replied.0,
        heard_ns: answer.heard.0,
        before_ns: answer_at(index.checked_sub(1)).map(|answer| answer.rtt_ns()),
        after_ns: answer_at(index.checked_add(1)).map(|answer| answer.rtt_ns()),
    });
    (kept.collect(), count(found - slow.len()))
}

fn lost(train: &Train) -> Vec<LostProbe> {
    let lost = train
        .samples
        .iter()
        .filter(|sample| sample.fate == Fate::Lost);
    lost.take(LOST_MAX)
        .map(|sample| LostProbe {
            number: sample.number,
            intended_ns: sample.intended.0,
            sent_ns: sample.sent.0,
        })
        .collect()
}
