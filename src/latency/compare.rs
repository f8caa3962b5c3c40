//! Whether one report is worse than another: percentiles by order statistics, loss by Wilson's score.
//!
//! Of `n` values the quantile `q` lies between the values at ranks `nq ± z·√(nq(1-q))`, whatever the
//! distribution. A figure counts as worse when the two intervals do not overlap *and* it grew by more
//! than the tolerance: the first keeps noise from failing a build, the second keeps a difference too
//! small to matter from doing so. Successive probes are not quite independent, so `z` is that of 99
//! in 100. Paths are matched by both nodes, carrier and burst; trains of one path are added up.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::latency::histogram;
use crate::latency::report::{Carrier, Measured, Report};
use crate::model::ids::NodeId;

/// Two-sided 99 in 100 of the normal distribution.
const Z: f64 = 2.576;
/// The quantiles that are compared, in thousandths.
const QUANTILES: [(&str, u32); 3] = [("p50", 500), ("p99", 990), ("p99.9", 999)];

/// What is compared, by path and then by figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub rows: Vec<Row>,
    /// Paths of the one report that the other does not have.
    pub only_before: Vec<String>,
    pub only_after: Vec<String>,
}

/// One figure of one path in both reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub path: String,
    /// `p50`, `p99`, `p99.9` (ns) or `loss` (parts per million).
    pub figure: &'static str,
    pub before: Estimate,
    pub after: Estimate,
    pub change: Change,
}

/// A figure with the interval in which it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    pub value: u64,
    pub low: u64,
    /// `None` where there are too few values to bound it from above.
    pub high: Option<u64>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Worse,
    Better,
    /// No difference that these numbers of probes can show, or none beyond the tolerance.
    Same,
    /// Too few probes to bound the figure.
    TooFew,
}

type Key = (NodeId, NodeId, Carrier, u16);

/// The trains of one path, added up.
struct Sum {
    name: String,
    values: Histogram<u64>,
    lost: u64,
    sent: u64,
}

impl Comparison {
    /// Compares two reports; `tolerance_percent` is of the figure before.
    pub fn of(before: &Report, after: &Report, tolerance_percent: u32) -> Self {
        let (before, after) = (sums(before), sums(after));
        let mut rows = Vec::new();
        for (key, old) in &before {
            if let Some(new) = after.get(key) {
                rows.extend(compare(old, new, tolerance_percent));
            }
        }
        let missing = |here: &BTreeMap<Key, Sum>, there: &BTreeMap<Key, Sum>| {
            let lone = here.iter().filter(|(key, _)| !there.contains_key(*key));
            lone.map(|(_, sum)| sum.name.clone()).collect()
        };
        Self {
            only_before: missing(&before, &after),
            only_after: missing(&after, &before),
            rows,
        }
    }

    pub fn is_worse(&self) -> bool {
        self.rows.iter().any(|row| row.change == Change::Worse)
    }

    /// Tells whether anything could not be compared.
    pub fn has_gaps(&self) -> bool {
        let too_few = self.rows.iter().any(|row| row.change == Change::TooFew);
        too_few || self.rows.is_empty() || !self.only_before.is_empty()
    }
}

impl Change {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Worse => "WORSE",
            Self::Better => "better",
            Self::Same => "same",
            Self::TooFew => "too few probes",
        }
    }
}

fn sums(report: &Report) -> BTreeMap<Key, Sum> {
    let mut sums = BTreeMap::new();
    for path in report.paths() {
        let key = (path.from.node, path.to.node, path.over, path.spacing.burst);
        let sum = sums.entry(key).or_insert_with(|| Sum {
            name: path.name(),
            values: histogram::empty(),
            lost: 0,
            sent: 0,
        });
        add(sum, path);
    }
    sums
}

fn add(sum: &mut Sum, path: &Measured) {
    // A report is read only with histograms that decode, all of the same bounds.
    let values = path
        .rtt
        .as_ref()
        .and_then(|rtt| histogram::from_text(&rtt.histogram).ok());
    if let Some(values) = values {
        sum.values.add(&values).unwrap_or_default();
    }
    let counts = path.counts;
    sum.lost = sum.lost.saturating_add(counts.lost);
    let answered = counts.answered.saturating_add(counts.contradicted);
    sum.sent = sum
        .sent
        .saturating_add(answered.saturating_add(counts.lost));
}

fn compare(old: &Sum, new: &Sum, tolerance_percent: u32) -> Vec<Row> {
    let row = |figure, before: Option<Estimate>, after: Option<Estimate>| {
        let (before, after) = before.zip(after)?;
        Some(Row {
            path: old.name.clone(),
            figure,
            before,
            after,
            change: change(before, after, tolerance_percent),
        })
    };
    let quantiles = QUANTILES.iter().map(|&(figure, per_mille)| {
        let estimate = |sum: &Sum| quantile(&sum.values, per_mille);
        row(figure, estimate(old), estimate(new))
    });
    let loss = row("loss", loss_ppm(old), loss_ppm(new));
    quantiles.chain([loss]).flatten().collect()
}

fn change(before: Estimate, after: Estimate, tolerance_percent: u32) -> Change {
    let (Some(before_high), Some(after_high)) = (before.high, after.high) else {
        return match (before.high, after.high) {
            // Bounded before and above that now: worse, however far above.
            (Some(high), None)
                if grew(before.value, after.low, tolerance_percent) && after.low > high =>
            {
                Change::Worse
            }
            (Some(_) | None, Some(_) | None) => Change::TooFew,
        };
    };
    if after.low > before_high && grew(before.value, after.value, tolerance_percent) {
        return Change::Worse;
    }
    if before.low > after_high && grew(after.value, before.value, tolerance_percent) {
        return Change::Better;
    }
    Change::Same
}

fn grew(from: u64, to: u64, tolerance_percent: u32) -> bool {
    u128::from(to) * 100 > u128::from(from) * (100 + u128::from(tolerance_percent))
}

/// Estimates a quantile with its interval of order statistics; `None` without values.
#[expect(
    clippy::float_arithmetic,
    reason = "ranks of order statistics; no money is in it"
)]
fn quantile(values: &Histogram<u64>, per_mille: u32) -> Option<Estimate> {
    if values.is_empty() {
        return None;
    }
    let count = values.len() as f64;
    let share = f64::from(per_mille) / 1_000.0;
    let reach = Z * (count * share * (1.0 - share)).sqrt();
    let rank = count * share;
    let (low, high) = ((rank - reach).floor(), (rank + reach).ceil() + 1.0);
    Some(Estimate {
        value: values.value_at_quantile(share),
        low: values.lowest_equivalent(values.value_at_quantile((low / count).max(0.0))),
        high: (high <= count).then(|| values.value_at_quantile(high / count)),
    })
}

/// Estimates loss in parts per million with Wilson's interval; `None` where nothing was sent.
#[expect(
    clippy::float_arithmetic,
    reason = "an interval of a share; no money is in it"
)]
fn loss_ppm(sum: &Sum) -> Option<Estimate> {
    if sum.sent == 0 {
        return None;
    }
    let (count, lost) = (sum.sent as f64, sum.lost as f64);
    let share = lost / count;
    let square = Z * Z;
    let middle = share + square / (2.0 * count);
    let reach = Z * (share * (1.0 - share) / count + square / (4.0 * count * count)).sqrt();
    let scale = 1.0 + square / count;
    // Shares of one, so the million fits.
    let ppm = |share: f64| (share.clamp(0.0, 1.0) * 1e6) as u64;
    Some(Estimate {
        value: ppm(share),
        low: ppm((middle - reach) / scale),
        high: Some(ppm((middle + reach) / scale)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::fixture::{report, samples, train};
    use crate::model::time::Span;

    #[test]
    fn the_same_twice_is_no_change() {
        let report = sample(10_000, 20_000, 0);
        let comparison = Comparison::of(&report, &report, 5);
        assert_eq!(changes(&comparison), [Change::Same; 4]);
        assert!(!comparison.has_gaps());
    }

    #[test]
    fn noise_is_no_change_but_a_shift_beyond_the_tolerance_is() {
        let before = sample(10_000, 20_000, 0);
        let noise = Comparison::of(&before, &sample(10_000, 20_000, 13), 5);
        assert!(!noise.is_worse(), "{noise:?}");
        let shifted = sample(10_000, 22_000, 13);
        let worse = Comparison::of(&before, &shifted, 5);
        assert_eq!(changes(&worse)[0], Change::Worse, "{worse:?}");
        let better = Comparison::of(&shifted, &before, 5);
        assert_eq!(changes(&better)[0], Change::Better, "{better:?}");
        assert!(!Comparison::of(&before, &shifted, 15).is_worse());
    }

    #[test]
    fn what_so_few_probes_cannot_show_is_no_regression() {
        // Medians of 40 and 44 ms, of sixty probes between 10 and 73.
        let sixty = |least_ms: u64| {
            let rtts: Vec<_> = (0..60)
                .map(|step| Some(Span::millis(least_ms + step)))
                .collect();
            let mut train = train(1, 2);
            train.samples = samples(&rtts);
            report(&[train])
        };
        let comparison = Comparison::of(&sixty(10), &sixty(14), 5);
        assert_eq!(changes(&comparison)[0], Change::Same, "{comparison:?}");
        let comparison = Comparison::of(&sixty(10), &sixty(50), 5);
        assert_eq!(changes(&comparison)[0], Change::Worse, "{comparison:?}");
    }

    #[test]
    fn trains_of_one_path_are_added_up() {
        let mut slow = train(1, 2);
        slow.samples = samples(&[Some(Span::millis(90)); 3_000]);
        let both = report(&[train(1, 2), slow]);
        let comparison = Comparison::of(&report(&[train(1, 2)]), &both, 5);
        assert_eq!(comparison.rows[0].after.value / 1_000_000, 90);
    }

    #[test]
    fn a_worse_tail_is_found_though_the_median_stands() {
        let before = sample(10_000, 20_000, 0);
        let mut tail = train(1, 2);
        tail.samples = samples(&rtts(10_000, 20_000, 0, |number| number % 50 == 7));
        let comparison = Comparison::of(&before, &report(&[tail]), 5);
        let expected = [Change::Same, Change::Worse, Change::Worse, Change::Same];
        assert_eq!(changes(&comparison), expected, "{comparison:?}");
    }

    #[test]
    fn too_few_probes_say_so() {
        let few = sample(200, 20_000, 0);
        let comparison = Comparison::of(&few, &few, 5);
        let expected = [Change::Same, Change::TooFew, Change::TooFew, Change::Same];
        assert_eq!(changes(&comparison), expected, "{comparison:?}");
        assert!(comparison.has_gaps());
    }

    #[test]
    fn loss_alone_is_a_regression() {
        let before = sample(5_000, 20_000, 0);
        let mut lossy = train(1, 2);
        let mut rtts = rtts(5_000, 20_000, 0, |_| false);
        rtts.iter_mut().step_by(50).for_each(|rtt| *rtt = None);
        lossy.samples = samples(&rtts);
        let comparison = Comparison::of(&before, &report(&[lossy]), 5);
        assert_eq!(changes(&comparison)[3], Change::Worse, "{comparison:?}");
    }

    #[test]
    fn a_path_that_is_gone_is_told() {
        let both = report(&[train(1, 2), train(1, 3)]);
        let one = report(&[train(1, 2)]);
        let comparison = Comparison::of(&both, &one, 5);
        assert_eq!(comparison.only_before, ["site1 → site3"]);
        assert!(comparison.has_gaps());
        assert_eq!(Comparison::of(&one, &both, 5).only_after, ["site1 → site3"]);
    }

    fn sample(count: u64, least_us: u64, seed: u64) -> Report {
        let mut train = train(1, 2);
        train.samples = samples(&rtts(count, least_us, seed, |_| false));
        report(&[train])
    }

    /// Round trips over 10 ms, in an order and with a spread that depend on the seed.
    fn rtts(count: u64, least_us: u64, seed: u64, slow: fn(u64) -> bool) -> Vec<Option<Span>> {
        let rtt = |number: u64| {
            let spread = (number * 7_919 + seed * 104_729) % 10_007;
            let stall = if slow(number) { 100_000 } else { 0 };
            Some(Span::micros(least_us + spread + stall))
        };
        (0..count).map(rtt).collect()
    }

    fn changes(comparison: &Comparison) -> Vec<Change> {
        comparison.rows.iter().map(|row| row.change).collect()
    }
}
