//! What the engine has not seen yet: engine lag, slow cancels.

use std::collections::BTreeMap;

use crate::model::random::Random;
use crate::model::time::{Span, Time};

/// What waits for the engine, by when it gets there.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<(Time, u64), Work>,
    /// What is slow for itself and lets others pass.
    slow: BTreeMap<(Time, u64), Work>,
    pushed: u64,
    /// How far the engine is always behind.
    steady: Span,
    /// When the engine catches up, and how far behind it is until then.
    wave: Option<(Time, Span)>,
    was_behind: bool,
}

/// A step of an order's life that the engine has to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Place(u64),
    Cancel(u64),
}

impl Queue {
    /// Steps that wait; one more is refused.
    pub(super) const WAITING_MAX: usize = 10_000;
    /// How long a wave of the fault lasts, and how far behind the engine is in it.
    const WAVE_LASTS: Span = Span::secs(5);
    const WAVE_MIN_MS: u64 = 50;
    const WAVE_MAX_MS: u64 = 2_000;

    pub(super) fn new(steady: Span) -> Self {
        Self {
            steady,
            ..Self::default()
        }
    }

    /// Falls behind as the fault says.
    pub(super) fn fall_behind(&mut self, random: &mut Random, now: Time) {
        let behind = Span::millis(random.between(Self::WAVE_MIN_MS, Self::WAVE_MAX_MS));
        self.wave = Some((now + Self::WAVE_LASTS, behind));
    }

    /// Falls behind by up to `most`, for as long as that and once more.
    pub(super) fn fall_far_behind(&mut self, most: Span, random: &mut Random, now: Time) {
        let behind = Span::millis(random.between(most.as_millis() / 10, most.as_millis()));
        self.wave = Some((now + behind.times(2), behind));
    }

    pub(super) fn is_behind(&self, now: Time) -> bool {
        self.lag(now) > Span::ZERO
    }

    /// Returns how long the engine takes to get to what is pushed now.
    pub(super) fn lag(&self, now: Time) -> Span {
        let wave = match self.wave {
            Some((until, behind)) if now < until => behind,
            Some(_) | None => Span::ZERO,
        };
        // Work of a wave that is over still has to be done.
        let last = self.waiting.keys().next_back();
        let rest = last.map_or(Span::ZERO, |(at, _)| at.since(now));
        self.steady.max(wave).max(rest)
    }

    /// Returns how many wait in the venue's engine: ours, and somebody's where it is behind.
    pub(super) fn len(&self, now: Time) -> usize {
        let others = usize::from(self.is_behind(now) && self.waiting.is_empty());
        self.waiting.len() + others
    }

    /// Returns true where the lag is worth a frame: it is there, or it has just ended.
    pub(super) fn take_lag_news(&mut self, now: Time) -> bool {
        let is_behind = self.is_behind(now);
        std::mem::replace(&mut self.was_behind, is_behind) || is_behind
    }

    /// Appends work behind all that waits; false where the queue is full.
    pub(super) fn push(&mut self, work: Work, now: Time) -> bool {
        let at = now + self.lag(now);
        Self::insert(&mut self.waiting, &mut self.pushed, work, at)
    }

    /// Lets work wait until `at` while others pass; false where too much waits like that.
    pub(super) fn push_slow(&mut self, work: Work, at: Time) -> bool {
        Self::insert(&mut self.slow, &mut self.pushed, work, at)
    }

    pub(super) fn pop_due(&mut self, now: Time) -> Option<Work> {
        for queue in [&mut self.waiting, &mut self.slow] {
            if let Some(first) = queue.first_entry()
                && first.key().0 <= now
            {
                return Some(first.remove());
            }
        }
        None
    }

    pub(super) fn next_at(&self) -> Option<Time> {
        let queues = [&self.waiting, &self.slow];
        let first = queues.iter().filter_map(|queue| queue.keys().next());
        first.map(|(at, _)| *at).min()
    }

    fn insert(
        queue: &mut BTreeMap<(Time, u64), Work>,
        pushed: &mut u64,
        work: Work,
        at: Time,
    ) -> bool {
        *pushed += 1;
        let fits = queue.len() < Self::WAITING_MAX;
        if fits {
            queue.insert((at, *pushed), work);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_keeps_its_order_and_waits_as_long_as_the_engine_is_behind() {
        let mut queue = Queue::default();
        let mut random = Random::new(1);
        assert!(queue.push(Work::Place(1), Time::ZERO));
        assert_eq!(queue.pop_due(Time::ZERO), Some(Work::Place(1)));
        assert!(!queue.take_lag_news(Time::ZERO));
        queue.fall_behind(&mut random, Time::ZERO);
        let lag = queue.lag(Time::ZERO);
        assert!(lag >= Span::millis(50) && lag <= Span::millis(2_000));
        assert!(queue.push(Work::Place(2), Time::ZERO));
        assert!(queue.push_slow(Work::Cancel(2), Time::ZERO));
        assert_eq!(queue.pop_due(Time::ZERO), Some(Work::Cancel(2)));
        assert_eq!(queue.pop_due(Time::ZERO), None);
        assert_eq!(queue.next_at(), Some(Time::ZERO + lag));
        assert_eq!(queue.len(Time::ZERO), 1);
        assert!(queue.take_lag_news(Time::ZERO));
        assert_eq!(queue.pop_due(Time::ZERO + lag), Some(Work::Place(2)));
        let over = Time::ZERO + Queue::WAVE_LASTS;
        assert_eq!(queue.lag(over), Span::ZERO);
        assert!(queue.take_lag_news(over));
        assert!(!queue.take_lag_news(over));
    }

    #[test]
    fn a_steady_lag_never_ends_and_a_full_queue_refuses() {
        let mut queue = Queue::new(Span::secs(60));
        for at in [0, 5, 500] {
            let now = Time::ZERO + Span::secs(at);
            assert_eq!((queue.lag(now), queue.len(now)), (Span::secs(60), 1));
        }
        for number in 0..Queue::WAITING_MAX as u64 {
            assert!(queue.push(Work::Place(number), Time::ZERO));
        }
        assert!(!queue.push(Work::Place(0), Time::ZERO));
        assert_eq!(queue.pop_due(Time::ZERO + Span::secs(59)), None);
        assert!(queue.pop_due(Time::ZERO + Span::secs(60)).is_some());
    }
}
