//! One train in figures: round trips, one-way delays with their bounds, loss, jitter, order.
//!
//! A path's latency is `heard - sent - (replied - received)`. `sent - intended` is the prober's own
//! and stands apart. Percentiles are of the probes that were answered; a lost probe is counted
//! beside them and never as a fast one.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::latency::histogram;
use crate::latency::train::{Fate, Offset, PathCount, Sample, Spread, Train};
use crate::model::time::Time;

/// What became of the probes of one train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    pub probes: u64,
    pub answered: u64,
    pub lost: u64,
    pub refused: u64,
    /// Answers whose peer says it held them longer than the whole round trip took; in no histogram.
    pub contradicted: u64,
    /// Answers that a later probe's answer overtook.
    pub overtaken: u64,
}

/// A distribution: its figures, and the histogram they are read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    pub count: u64,
    pub min_ns: u64,
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub p99_9_ns: u64,
    pub max_ns: u64,
    /// HdrHistogram V2, deflated, base64.
    pub histogram: String,
}

/// The delay of one direction, as far as the clocks allow to tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum OneWay {
    /// Each value is true within plus or minus the bound.
    Known { bound_ns: u64, delay: Distribution },
    /// The asymmetry is unknown: the median delay lies between nothing and the median round trip.
    Unknown {
        /// `None` where no offset was estimated; else the bound, which exceeds the median delay.
        bound_ns: Option<u64>,
        at_most_ns: u64,
    },
    /// So many probes are outside of nothing to round trip by more than the bound: the offset is
    /// wrong, or a clock was stepped meanwhile.
    Contradicted { bound_ns: u64, probes: u64 },
    /// Nothing was answered.
    Silent {},
}

/// A spread in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    pub count: u64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub max_ns: u64,
}

/// What an answered probe tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub number: u32,
    pub intended: Time,
    pub sent: Time,
    pub received: Time,
    pub replied: Time,
    pub heard: Time,
    pub overtaken: bool,
}

/// One train in figures.
#[derive(Clone, Debug)]
pub struct Summary {
    pub counts: Counts,
    pub rtt: Option<Distribution>,
    /// Mean absolute difference of successive round trips (RFC 3550, section 6.4.1, without its
    /// smoothing); `None` below two answers.
    pub jitter_ns: Option<u64>,
    pub forward: OneWay,
    pub backward: OneWay,
    /// How late the probes left: the prober's own, in no path.
    pub late: Histogram<u64>,
}

/// One of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

impl Summary {
    pub fn of(train: &Train) -> Self {
        let answers: Vec<Answer> = train.samples.iter().filter_map(Answer::of).collect();
        let kept: Vec<Answer> = answers.iter().copied().filter(Answer::holds).collect();
        let mut rtt = histogram::empty();
        for answer in &kept {
            histogram::record(&mut rtt, answer.rtt_ns());
        }
        let counts = counts(train, &answers, kept.len());
        let rtt = Distribution::of(&rtt);
        let way = |direction| one_way(&kept, rtt.as_ref(), train.clock, direction);
        Self {
            counts,
            jitter_ns: jitter_ns(&kept),
            forward: way(Direction::Forward),
            backward: way(Direction::Backward),
            rtt,
            late: late(&train.samples),
        }
    }
}

impl Answer {
    /// Reads a sample that was answered.
    pub fn of(sample: &Sample) -> Option<Self> {
        match sample.fate {
            Fate::Lost | Fate::Refused => None,
            Fate::Answered {
                received,
                replied,
                heard,
                overtaken,
            } => Some(Self {
                number: sample.number,
                intended: sample.intended,
                sent: sample.sent,
                received,
                replied,
                heard,
                overtaken,
            }),
        }
    }

    /// Tells whether the peer's own time fits into the round trip.
    pub fn holds(&self) -> bool {
        self.heard > self.sent
            && self.replied >= self.received
            && self.held_ns() < self.heard.since(self.sent).0
    }

    /// How long the peer had it.
    pub fn held_ns(&self) -> u64 {
        self.replied.since(self.received).0
    }

    /// The path's share of the round trip, without what the peer held.
    pub fn rtt_ns(&self) -> u64 {
        self.heard.since(self.sent).0.saturating_sub(self.held_ns())
    }

    /// How late the probe left.
    pub fn late_ns(&self) -> u64 {
        self.sent.since(self.intended).0
    }

    /// The delay of one direction as these clocks have it; it may be negative by an offset's error.
    fn one_way_ns(&self, clock: Offset, direction: Direction) -> i128 {
        let (from, to, ahead) = match direction {
            Direction::Forward => (self.sent, self.received, clock.ahead_ns),
            Direction::Backward => (self.replied, self.heard, clock.ahead_ns.saturating_neg()),
        };
        i128::from(to.0) - i128::from(from.0) - i128::from(ahead)
    }
}

impl OneWay {
    /// Returns the delays where they are known.
    pub fn known(&self) -> Option<&Distribution> {
        match self {
            Self::Known { delay, .. } => Some(delay),
            Self::Unknown { .. } | Self::Contradicted { .. } | Self::Silent {} => None,
        }
    }

    /// Returns the longest that the fastest probe can have taken: its delay and the bound.
    pub fn at_most_ns(&self) -> Option<u64> {
        match self {
            Self::Known { bound_ns, delay } => Some(delay.min_ns.saturating_add(*bound_ns)),
            Self::Unknown { .. } | Self::Contradicted { .. } | Self::Silent {} => None,
        }
    }
}

impl Distribution {
    /// Reads the figures off a histogram; `None` without values.
    pub fn of(values: &Histogram<u64>) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        Some(Self {
            count: values.len(),
            min_ns: values.min(),
            p50_ns: values.value_at_quantile(0.5),
            p90_ns: values.value_at_quantile(0.9),
            p99_ns: values.value_at_quantile(0.99),
            p99_9_ns: values.value_at_quantile(0.999),
            max_ns: values.max(),
            histogram: histogram::to_text(values),
        })
    }

    /// Returns count, least, p50, p90, p99, p99.9 and most, without the histogram.
    pub const fn figures(&self) -> [u64; 7] {
        [
            self.count,
            self.min_ns,
            self.p50_ns,
            self.p90_ns,
            self.p99_ns,
            self.p99_9_ns,
            self.max_ns,
        ]
    }
}

impl Figures {
    /// Reads the figures off a histogram; all are zero without values.
    pub fn of(values: &Histogram<u64>) -> Self {
        Self {
            count: values.len(),
            p50_ns: values.value_at_quantile(0.5),
            p99_ns: values.value_at_quantile(0.99),
            max_ns: values.max(),
        }
    }
}

impl From<Spread> for Figures {
    fn from(spread: Spread) -> Self {
        Self {
            count: spread.count,
            p50_ns: spread.p50.0,
            p99_ns: spread.p99.0,
            max_ns: spread.max.0,
        }
    }
}

fn counts(train: &Train, answers: &[Answer], kept: usize) -> Counts {
    let fates = || train.samples.iter().map(|sample| sample.fate);
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Counts {
        probes: count(train.samples.len()),
        answered: count(kept),
        lost: count(fates().filter(|fate| *fate == Fate::Lost).count()),
        refused: count(fates().filter(|fate| *fate == Fate::Refused).count()),
        contradicted: count(answers.len() - kept),
        overtaken: count(answers.iter().filter(|answer| answer.overtaken).count()),
    }
}

fn jitter_ns(answers: &[Answer]) -> Option<u64> {
    let differences = answers
        .windows(2)
        .map(|pair| u128::from(pair[0].rtt_ns().abs_diff(pair[1].rtt_ns())));
    let count = u128::try_from(differences.len()).ok()?;
    let sum: u128 = differences.sum();
    u64::try_from(sum.checked_div(count)?).ok()
}

fn one_way(
    answers: &[Answer],
    rtt: Option<&Distribution>,
    clock: Option<Offset>,
    direction: Direction,
) -> OneWay {
    let Some(at_most_ns) = rtt.map(|rtt| rtt.p50_ns) else {
        return OneWay::Silent {};
    };
    let Some(clock) = clock else {
        return OneWay::Unknown {
            bound_ns: None,
            at_most_ns,
        };
    };
    let bound = i128::from(clock.bound.0);
    let mut delays = histogram::empty();
    let mut outside = 0;
    for answer in answers {
        let delay = answer.one_way_ns(clock, direction);
        let most = i128::from(answer.rtt_ns());
        if delay + bound < 0 || delay - bound > most {
            outside += 1;
        }
        // What the bound explains is put where it may be: no path takes less than nothing.
        let possible = delay.clamp(0, most);
        histogram::record(&mut delays, u64::try_from(possible).unwrap_or(0));
    }
    let bound_ns = clock.bound.0;
    if outside > 0 {
        return OneWay::Contradicted {
            bound_ns,
            probes: outside,
        };
    }
    match Distribution::of(&delays) {
        Some(delay) if delay.p50_ns > bound_ns => OneWay::Known { bound_ns, delay },
        Some(_) | None => OneWay::Unknown {
            bound_ns: Some(bound_ns),
            at_most_ns,
        },
    }
}

fn late(samples: &[Sample]) -> Histogram<u64> {
    let mut late = histogram::empty();
    for sample in samples.iter().filter(|sample| sample.fate != Fate::Refused) {
        histogram::record(&mut late, sample.sent.since(sample.intended).0);
    }
    late
}

/// Thins the transport's counts: what only counts sent packets tells nothing about a tail. The
/// count before one that tells stays, so that it shows what changed.
pub fn telling(counts: &[PathCount]) -> Vec<PathCount> {
    let tells = |index: usize| {
        let Some((before, count)) = index
            .checked_sub(1)
            .and_then(|before| counts.get(before))
            .zip(counts.get(index))
        else {
            return true;
        };
        before.lost_packets != count.lost_packets
            || before.congestion_events != count.congestion_events
            || before.congestion_window_bytes > count.congestion_window_bytes
            || before.path_switches != count.path_switches
    };
    let kept = (0..counts.len())
        .filter(|&index| tells(index) || index + 1 == counts.len() || tells(index + 1));
    kept.filter_map(|index| counts.get(index).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::fixture::{INTERVAL, START, samples, train};
    use crate::model::time::Span;

    #[test]
    fn a_stall_of_100_ms_stands_in_p99_for_all_probes_that_met_it() {
        // Ten of a thousand probes were due while the peer stood still; each waited for the rest.
        let mut rtts = vec![Some(Span::millis(20)); 1_000];
        for (met, rtt) in (0_u64..).zip(&mut rtts[300..310]) {
            *rtt = Some(Span::millis(120).less(INTERVAL.times(met)));
        }
        let summary = of(&rtts, None);
        let rtt = summary.rtt.unwrap();
        assert_eq!(rtt.p50_ns / 1_000_000, 20);
        assert_eq!(rtt.p99_ns / 1_000_000, 20);
        assert_eq!(rtt.p99_9_ns / 1_000_000, 110);
        assert_eq!(rtt.max_ns / 1_000_000, 120);
        rtts[299] = Some(Span::millis(120));
        assert_eq!(of(&rtts, None).rtt.unwrap().p99_ns / 1_000_000, 30);
    }

    #[test]
    fn a_late_timer_shows_in_the_prober_and_not_in_the_path() {
        let mut train = train(1, 2);
        let before = Summary::of(&train).rtt.unwrap();
        for sample in &mut train.samples {
            sample.intended = sample.intended - Span::MILLI;
        }
        let summary = Summary::of(&train);
        assert_eq!(summary.rtt.unwrap(), before);
        assert_eq!(Figures::of(&summary.late).p50_ns / 1_000, 1_005);
    }

    #[test]
    fn lost_and_refused_probes_are_counted_and_not_fast() {
        let mut rtts = vec![Some(Span::millis(20)); 98];
        rtts.extend([None, None]);
        let mut train = train(1, 2);
        train.samples = samples(&rtts);
        train.samples[99].fate = Fate::Refused;
        let summary = Summary::of(&train);
        let counts = summary.counts;
        assert_eq!((counts.probes, counts.answered), (100, 98));
        assert_eq!((counts.lost, counts.refused), (1, 1));
        assert_eq!(summary.rtt.unwrap().min_ns / 100_000, 199);
    }

    #[test]
    fn what_the_peer_cannot_have_held_counts_nowhere_else() {
        let mut train = train(1, 2);
        if let Fate::Answered { replied, .. } = &mut train.samples[3].fate {
            *replied = *replied + Span::SECOND;
        }
        let summary = Summary::of(&train);
        assert_eq!(summary.counts.contradicted, 1);
        assert_eq!(summary.counts.answered, 999);
        assert_eq!(summary.rtt.unwrap().count, 999);
    }

    #[test]
    fn jitter_is_the_mean_difference_of_successive_round_trips() {
        let rtts = [20, 23, 19, 19].map(|millis| Some(Span::millis(millis)));
        let third = 7 * Span::MILLI.0 / 3;
        assert_eq!(of(&rtts, None).jitter_ns, Some(third));
        assert_eq!(of(&rtts[..1], None).jitter_ns, None);
    }

    #[test]
    fn one_way_delays_are_right_within_the_bound_of_a_skewed_clock() {
        // The peer's clock is 50 ms ahead; the estimate says so within 0.4 ms, and errs by 0.3.
        let mut train = train(1, 2);
        train.samples = samples(&[Some(Span::millis(20)); 100]);
        skew(&mut train, Span::millis(50));
        let summary = with(&train, 50_300, 400);
        let known = |way: &OneWay| match way {
            OneWay::Known { bound_ns, delay } => (delay.p50_ns / 1_000, *bound_ns / 1_000),
            OneWay::Unknown { .. } | OneWay::Contradicted { .. } | OneWay::Silent {} => {
                panic!("{way:?}")
            }
        };
        let ((there, bound), (back, _)) = (known(&summary.forward), known(&summary.backward));
        assert!(there.abs_diff(10_000) <= bound && back.abs_diff(10_000) <= bound);
        assert!((9_690..=9_710).contains(&there) && (10_290..=10_310).contains(&back));
    }

    #[test]
    fn an_offset_that_cannot_be_is_contradicted() {
        let mut train = train(1, 2);
        train.samples = samples(&[Some(Span::millis(20)); 100]);
        skew(&mut train, Span::millis(50));
        let (bound_ns, probes) = (400_000, 100);
        let expected = OneWay::Contradicted { bound_ns, probes };
        assert_eq!(with(&train, 0, 400).forward, expected);
        assert_eq!(with(&train, 61_000, 400).forward, expected);
        assert_eq!(with(&train, 60_200, 400).forward.known(), None);
    }

    #[test]
    fn a_bound_wider_than_the_delay_leaves_the_asymmetry_unknown() {
        let mut train = train(1, 2);
        train.samples = samples(&[Some(Span::millis(20)); 100]);
        let at_most_ns = Summary::of(&train).rtt.unwrap().p50_ns;
        assert_eq!(at_most_ns / 100_000, 200);
        let expected = OneWay::Unknown {
            bound_ns: Some(11_000_000),
            at_most_ns,
        };
        assert_eq!(with(&train, 0, 11_000).forward, expected);
        train.clock = None;
        let expected = OneWay::Unknown {
            bound_ns: None,
            at_most_ns,
        };
        assert_eq!(Summary::of(&train).backward, expected);
    }

    #[test]
    fn counts_that_tell_nothing_are_left_off() {
        let count = |at, lost_packets, congestion_window_bytes| PathCount {
            at: START + Span(at),
            sent_packets: at,
            lost_packets,
            congestion_events: 0,
            congestion_window_bytes,
            path_switches: 0,
        };
        let counts = [
            count(0, 0, 10),
            count(1, 0, 20),
            count(2, 0, 30),
            count(3, 0, 25),
            count(4, 0, 40),
            count(5, 0, 50),
            count(6, 1, 50),
            count(7, 1, 50),
            count(8, 1, 60),
        ];
        let kept: Vec<u64> = telling(&counts)
            .iter()
            .map(|count| count.sent_packets)
            .collect();
        assert_eq!(kept, [0, 2, 3, 5, 6, 8]);
        assert_eq!(telling(&[]), []);
    }

    fn of(rtts: &[Option<Span>], clock: Option<Offset>) -> Summary {
        let mut train = train(1, 2);
        train.samples = samples(rtts);
        train.clock = clock;
        Summary::of(&train)
    }

    fn with(train: &Train, ahead_us: i64, bound_us: u64) -> Summary {
        let clock = Some(Offset {
            ahead_ns: ahead_us * 1_000,
            bound: Span::micros(bound_us),
        });
        let train = Train {
            clock,
            ..train.clone()
        };
        Summary::of(&train)
    }

    fn skew(train: &mut Train, ahead: Span) {
        for sample in &mut train.samples {
            if let Fate::Answered {
                received, replied, ..
            } = &mut sample.fate
            {
                (*received, *replied) = (*received + ahead, *replied + ahead);
            }
        }
    }
}
