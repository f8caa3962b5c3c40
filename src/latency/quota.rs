//! What measuring may cost whoever is measured: quotas of probes, at both ends.
//!
//! A schedule is admitted as a whole before its first probe, so a train that runs is not thinned
//! out where it matters most; the buckets behind it stop a peer that sends more than it asked for.

use crate::latency::train::{PATIENCE, PROBES_MAX, Shape};
use crate::model::time::{Span, Time};

/// Probes a second of one train.
pub const TRAIN_PROBES_PER_S_MAX: u64 = 1_000;
/// Probes a second of all trains that run through one node, as prober or as peer. A probe and its
/// answer cost a core some 20 µs, so this is a tenth of it at most.
pub const NODE_PROBES_PER_S_MAX: u64 = 4_000;
/// Probes of one burst.
pub const BURST_MAX: u16 = 64;
/// The longest and the shortest time between two probes or bursts.
pub const INTERVAL_MAX: Span = Span::secs(10);
pub const INTERVAL_MIN: Span = Span::micros(100);
/// Probes outside of any train, by which a link is watched, a second: two, and fifty while the other
/// end's train runs.
pub const WATCH_PROBES_PER_S_MAX: u64 = 50;

/// Why a schedule is not run.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScheduleError {
    #[error("a train has 1 to {PROBES_MAX} probes")]
    Count,
    #[error("an interval lies between 100 µs and 10 s")]
    Interval,
    #[error("a burst has 1 to {BURST_MAX} probes")]
    Burst,
    #[error(
        "a train sends at most {TRAIN_PROBES_PER_S_MAX} probes a second; use a longer interval"
    )]
    TooFast,
}

/// When each probe of a train is due: all of it is known before the first one leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub shape: Shape,
    pub count: u32,
}

impl Schedule {
    /// Checks a schedule against every limit of one train.
    ///
    /// # Errors
    /// The first limit it breaks.
    pub fn new(shape: Shape, count: u32) -> Result<Self, ScheduleError> {
        let schedule = Self { shape, count };
        let (interval, burst) = (schedule.interval(), schedule.burst());
        if count == 0 || count > PROBES_MAX {
            return Err(ScheduleError::Count);
        }
        if interval < INTERVAL_MIN || interval > INTERVAL_MAX {
            return Err(ScheduleError::Interval);
        }
        if burst == 0 || burst > BURST_MAX {
            return Err(ScheduleError::Burst);
        }
        match schedule.probes_per_s() > TRAIN_PROBES_PER_S_MAX {
            true => Err(ScheduleError::TooFast),
            false => Ok(schedule),
        }
    }

    pub fn interval(&self) -> Span {
        match self.shape {
            Shape::Idle { interval } | Shape::Loaded { interval, .. } => interval,
        }
    }

    pub fn burst(&self) -> u16 {
        match self.shape {
            Shape::Idle { .. } => 1,
            Shape::Loaded { burst, .. } => burst,
        }
    }

    /// Returns how many moments there are at which something is due.
    pub fn slots(&self) -> u32 {
        self.count.div_ceil(u32::from(self.burst()).max(1))
    }

    /// Returns when a probe is due, counted from the first.
    pub fn due(&self, number: u32) -> Span {
        let slot = number / u32::from(self.burst()).max(1);
        self.interval().times(u64::from(slot))
    }

    /// Returns probes a second, rounded up.
    pub fn probes_per_s(&self) -> u64 {
        let interval = self.interval().0.max(1);
        (Span::SECOND.0 * u64::from(self.burst())).div_ceil(interval)
    }

    /// Returns how long it is from the first probe until the last answer may come.
    pub fn lasts(&self) -> Span {
        self.due(self.count.saturating_sub(1)) + PATIENCE
    }
}

/// A bucket of probes: it fills at a rate and never holds more than two seconds of it, so a peer
/// that stood still for as long as a probe is waited for loses none of its quota.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    per_s: u64,
    /// Billionths of a probe.
    level: u128,
    filled_at: Time,
}

impl Bucket {
    /// A full bucket. A tenth above the rate lets clocks differ.
    pub fn new(probes_per_s: u64, now: Time) -> Self {
        let mut bucket = Self {
            per_s: probes_per_s + probes_per_s.div_ceil(10),
            level: 0,
            filled_at: now,
        };
        bucket.level = bucket.full();
        bucket
    }

    /// Takes one probe; false where the quota is used up.
    pub fn take(&mut self, now: Time) -> bool {
        let gained = u128::from(now.since(self.filled_at).0) * u128::from(self.per_s);
        self.filled_at = self.filled_at.max(now);
        self.level = (self.level + gained).min(self.full());
        match self.level.checked_sub(u128::from(Span::SECOND.0)) {
            Some(left) => {
                self.level = left;
                true
            }
            None => false,
        }
    }

    fn full(&self) -> u128 {
        u128::from(self.per_s) * u128::from(PATIENCE.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(interval: Span) -> Shape {
        Shape::Idle { interval }
    }

    #[test]
    fn a_schedule_is_fixed_before_it_begins() {
        let steady = Schedule::new(idle(Span::MILLI), 2_000).unwrap();
        assert_eq!(steady.due(1_999), Span::millis(1_999));
        assert_eq!(steady.slots(), 2_000);
        assert_eq!(steady.lasts(), Span::millis(3_999));
        let loaded = Shape::Loaded {
            interval: Span::millis(100),
            burst: 16,
        };
        let loaded = Schedule::new(loaded, 40).unwrap();
        assert_eq!((loaded.slots(), loaded.probes_per_s()), (3, 160));
        assert_eq!(
            (loaded.due(15), loaded.due(16)),
            (Span::ZERO, Span::millis(100))
        );
    }

    #[test]
    fn what_would_disturb_trading_is_refused_with_the_limit() {
        let burst = |interval, burst| Shape::Loaded { interval, burst };
        for (shape, count, expected) in [
            (idle(Span::MILLI), 0, ScheduleError::Count),
            (idle(Span::MILLI), PROBES_MAX + 1, ScheduleError::Count),
            (idle(Span::micros(99)), 1, ScheduleError::Interval),
            (idle(Span::secs(11)), 1, ScheduleError::Interval),
            (burst(Span::SECOND, 65), 1, ScheduleError::Burst),
            (burst(Span::SECOND, 0), 1, ScheduleError::Burst),
            (idle(Span::micros(999)), 1, ScheduleError::TooFast),
            (burst(Span::millis(10), 11), 1, ScheduleError::TooFast),
        ] {
            assert_eq!(Schedule::new(shape, count), Err(expected), "{shape:?}");
        }
    }

    #[test]
    fn a_bucket_gives_its_rate_and_no_more() {
        let start = Time(5 * Span::SECOND.0);
        let mut bucket = Bucket::new(1_000, start);
        let taken = (0..10_000).filter(|_| bucket.take(start)).count();
        assert_eq!(taken, 2_200);
        let mut taken = 0;
        for step in 0..100_000 {
            taken += u64::from(bucket.take(start + Span::micros(100).times(step)));
        }
        assert!((10_998..=11_000).contains(&taken), "{taken} in ten seconds");
        assert!(
            !bucket.take(Time::ZERO),
            "a clock that runs backwards gives nothing"
        );
    }
}
