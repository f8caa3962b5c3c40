//! Markets whose whole book comes only with a new subscription, and whose updates carry no number.
//!
//! ```text
//!          snapshot                lost
//! waiting ──────────▶ live ────────────────▶ waiting       refused: until the next connection
//! ```
//! The feed counts the updates itself. What shows that something was lost becomes a missing update:
//! the book stage sees a gap, asks for a resync, and the market is subscribed to anew. Until its
//! snapshot comes nothing of the market is told, so one fault costs one resync.

use crate::model::instrument::Market;
use crate::model::market::{BookUpdate, Level, UpdateKind};
use crate::model::time::{Span, Time};

/// The markets of one feed, each with what the feed itself knows of it.
#[derive(Debug)]
pub struct Subscriptions<T> {
    markets: Vec<Subscribed<T>>,
    /// A market may wait for its snapshot.
    has_waiting: bool,
}

/// One market.
#[derive(Debug)]
pub struct Subscribed<T> {
    pub market: Market,
    /// The exchange's name for it.
    pub name: String,
    pub own: T,
    state: State,
    sequence: u64,
    asked_at: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No snapshot yet; it is asked for again when the time comes.
    Waiting {
        again_at: Time,
    },
    Live,
    /// The exchange does not have the market, or it cannot be held here. The next connection tries
    /// again.
    Refused,
}

impl<T> Subscriptions<T> {
    /// How long a snapshot may take before it is asked for again.
    pub const PATIENCE: Span = Span::secs(10);
    /// A market is not subscribed to more often, whatever its book looks like.
    const RESYNC_EVERY: Span = Span::SECOND;

    pub fn new(markets: impl Iterator<Item = (Market, String, T)>) -> Self {
        let subscribed = |(market, name, own)| Subscribed {
            market,
            name,
            own,
            state: State::Waiting {
                again_at: Time::MAX,
            },
            sequence: 0,
            asked_at: None,
        };
        Self {
            markets: markets.map(subscribed).collect(),
            has_waiting: false,
        }
    }

    #[inline]
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Subscribed<T>> {
        self.markets.get_mut(index)
    }

    /// Returns the names, each in quotes, with commas between.
    pub fn quoted_names(&self) -> String {
        let quoted = self.markets.iter().map(|one| format!("\"{}\"", one.name));
        quoted.collect::<Vec<_>>().join(",")
    }

    /// All of them are being subscribed to now.
    pub fn begin(&mut self, now: Time, mut each: impl FnMut(&mut T)) {
        self.has_waiting = true;
        for one in &mut self.markets {
            one.asked(now);
            each(&mut one.own);
        }
    }

    /// Waits for a snapshot of a market: one is asked for at the next tending, or a second after the
    /// last.
    pub fn resync(&mut self, market: Market, now: Time) {
        let mut markets = self.markets.iter_mut();
        let one = markets.find(|one| one.market == market);
        let Some(one) = one.filter(|one| one.state != State::Refused) else {
            return;
        };
        let at = one.asked_at.map_or(now, |at| at + Self::RESYNC_EVERY);
        one.state = State::Waiting {
            again_at: at.max(now),
        };
        self.has_waiting = true;
    }

    /// Lets `again` ask for each market whose snapshot did not come; returns when to look next.
    pub fn tend(&mut self, now: Time, mut again: impl FnMut(&str)) -> Option<Time> {
        if !self.has_waiting {
            return None;
        }
        let mut next = Time::MAX;
        self.has_waiting = false;
        for one in &mut self.markets {
            let State::Waiting { again_at } = one.state else {
                continue;
            };
            self.has_waiting = true;
            if again_at <= now {
                one.asked(now);
                again(&one.name);
            }
            if let State::Waiting { again_at } = one.state {
                next = next.min(again_at);
            }
        }
        (next < Time::MAX).then_some(next)
    }

    /// Takes note that something of a market was lost or wrong; returns the update that says so,
    /// where the market had been told of.
    pub fn lose(&mut self, index: usize, now: Time) -> Option<BookUpdate<'static>> {
        let one = self.markets.get_mut(index)?;
        let was_live = one.is_live();
        if one.state == State::Refused {
            return None;
        }
        one.state = State::Waiting {
            again_at: now + Self::RESYNC_EVERY,
        };
        self.has_waiting = true;
        let gap = BookUpdate::gap(one.market, one.sequence, now);
        one.sequence = gap.sequence;
        was_live.then_some(gap)
    }

    /// Takes note that something was lost that may have been of any market told of.
    pub fn lose_all(&mut self, now: Time, mut told: impl FnMut(BookUpdate<'static>)) {
        for index in 0..self.markets.len() {
            let is_live = self.markets.get(index).is_some_and(Subscribed::is_live);
            if let Some(gap) = is_live.then(|| self.lose(index, now)).flatten() {
                told(gap);
            }
        }
    }

    /// Gives a market up until the next connection: to ask again would bring the same.
    pub fn refuse(&mut self, index: usize) {
        if let Some(one) = self.markets.get_mut(index) {
            one.state = State::Refused;
        }
    }
}

impl<T> Subscribed<T> {
    #[inline]
    pub fn is_live(&self) -> bool {
        self.state == State::Live
    }

    /// Returns the next update: a snapshot, or changes that follow on the last one.
    #[inline]
    pub fn next<'a>(
        &mut self,
        is_snapshot: bool,
        levels: [&'a [Level]; 2],
        venue_time: Time,
    ) -> BookUpdate<'a> {
        let previous = self.sequence;
        self.sequence += 1;
        self.state = State::Live;
        let kind = match is_snapshot {
            true => UpdateKind::Snapshot,
            false => UpdateKind::Delta { previous },
        };
        BookUpdate::new(self.market, kind, self.sequence, levels, venue_time)
    }

    fn asked(&mut self, now: Time) {
        self.state = State::Waiting {
            again_at: now + Subscriptions::<T>::PATIENCE,
        };
        self.asked_at = Some(now);
    }
}
