//! Orders that the engine has not seen yet: engine lag, slow cancels.

use std::collections::BTreeMap;

use crate::model::ids::OrderId;
use crate::model::random::Random;
use crate::model::time::{Span, Time};
use crate::venue::exchange::{AccountNo, Placement};

/// What waits for the engine, by when it gets there.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<(Time, u64), Waiting>,
    /// What is slow for itself and lets others pass.
    slow: BTreeMap<(Time, u64), Waiting>,
    pushed: u64,
    /// When the engine catches up, and how far behind it is until then.
    lag: Option<(Time, Span)>,
    last_told: Span,
}

/// A request on its way to the engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) account: AccountNo,
    pub(super) work: Work,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    Place(Placement),
    Cancel(OrderId),
}

impl Queue {
    /// Requests that wait; one more is refused as throttled.
    pub(super) const WAITING_MAX: usize = 10_000;
    /// How long the engine stays behind.
    const LAG_LASTS: Span = Span::secs(5);

    /// Begins a time of lag.
    pub(super) fn fall_behind(&mut self, random: &mut Random, now: Time) {
        let behind = Span::millis(random.between(50, 2_000));
        self.lag = Some((now + Self::LAG_LASTS, behind));
    }

    pub(super) fn is_lagging(&self, now: Time) -> bool {
        self.lag.is_some_and(|(until, _)| now < until) || !self.waiting.is_empty()
    }

    /// Returns how far behind the engine is.
    pub(super) fn lag(&self, now: Time) -> Span {
        match self.lag {
            Some((until, behind)) if now < until => behind,
            Some(_) | None => {
                let first = self.waiting.keys().next();
                first.map_or(Span::ZERO, |(at, _)| at.since(now))
            }
        }
    }

    /// Returns true where the lag is worth a frame: it is there, or it has just ended.
    pub(super) fn take_lag_news(&mut self, now: Time) -> bool {
        let lag = self.lag(now);
        let is_news = lag != self.last_told || lag != Span::ZERO;
        self.last_told = lag;
        is_news
    }

    /// Appends work behind all that waits; false where the queue is full.
    pub(super) fn push(&mut self, waiting: Waiting, now: Time) -> bool {
        let last = self.waiting.keys().next_back().map_or(now, |(at, _)| *at);
        let at = last.max(now + self.lag(now));
        self.pushed += 1;
        let fits = self.waiting.len() < Self::WAITING_MAX;
        if fits {
            self.waiting.insert((at, self.pushed), waiting);
        }
        fits
    }

    /// Lets work wait until `at` while others pass; false where too much waits like that.
    pub(super) fn push_slow(&mut self, waiting: Waiting, at: Time) -> bool {
        self.pushed += 1;
        let fits = self.slow.len() < Self::WAITING_MAX;
        if fits {
            self.slow.insert((at, self.pushed), waiting);
        }
        fits
    }

    pub(super) fn pop_due(&mut self, now: Time) -> Option<Waiting> {
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
        let first = |queue: &BTreeMap<(Time, u64), Waiting>| queue.keys().next().map(|(at, _)| *at);
        match (first(&self.waiting), first(&self.slow)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Returns the placements of an account that wait, from an id on.
    pub(super) fn placements(
        &self,
        account: AccountNo,
        from: OrderId,
    ) -> impl Iterator<Item = Placement> {
        self.waiting
            .values()
            .filter_map(move |waiting| match waiting.work {
                Work::Place(placement) if waiting.account == account => {
                    placement.id.filter(|id| *id >= from).map(|_| placement)
                }
                Work::Place(_) | Work::Cancel(_) => None,
            })
    }
}
