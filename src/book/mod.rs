//! One book per market, with a state that decides whether it may be traded on.
//!
//! ```text
//!          snapshot                 missed update
//!   gap ─────────────▶ live ───────────────────────▶ gap
//!    ▲                 │  ▲ uncrossing update
//!    │ resync          ▼  │
//!    └────────────── crossed          halted: by the venue or the owner, until lifted
//! ```
//! `stale` and `lagging` are not stored: they follow from the time of asking.

use thiserror::Error;

use crate::model::depth::Depth;
use crate::model::instrument::Market;
use crate::model::market::{BookUpdate, Side, UpdateKind};
use crate::model::sealed::LiveBook;
use crate::model::time::{Span, Time};

/// Where a book stands, time apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookState {
    /// No snapshot yet, or an update is missing.
    Gap,
    Live,
    /// Best bid at or above best ask: something was lost or the venue is at fault.
    Crossed,
    Halted,
}

/// Why a book may not be traded on.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotLive {
    #[error("gap")]
    Gap,
    #[error("crossed")]
    Crossed,
    #[error("halted")]
    Halted,
    #[error("stale")]
    Stale,
    #[error("engine lag")]
    Lagging,
    #[error("empty")]
    Empty,
}

impl NotLive {
    /// Returns the word that counts in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gap => "book_gap",
            Self::Crossed => "book_crossed",
            Self::Halted => "book_halted",
            Self::Stale => "book_stale",
            Self::Lagging => "engine_lag",
            Self::Empty => "book_empty",
        }
    }
}

/// What an update did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Changed,
    /// Older than what is known; dropped.
    Old,
    /// An update before this one is missing: ask for a snapshot.
    Gap,
    /// The book is crossed: ask for a snapshot.
    Crossed,
}

/// How old and how far behind a book may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    pub book_age_max: Span,
    pub engine_lag_max: Span,
}

/// The order book of one market.
#[derive(Clone, Debug)]
pub struct Book {
    market: Market,
    state: BookState,
    sequence: u64,
    bids: Depth,
    asks: Depth,
    received: Time,
    engine_lag: Span,
}

impl Book {
    /// Levels kept a side; when full, those furthest from the market give way.
    pub const LEVELS_MAX: usize = Depth::LEVELS_MAX;

    pub fn new(market: Market) -> Self {
        Self {
            market,
            state: BookState::Gap,
            sequence: 0,
            bids: Depth::new(Side::Bid),
            asks: Depth::new(Side::Ask),
            received: Time::ZERO,
            engine_lag: Span::ZERO,
        }
    }

    /// Applies one update of the venue or of the peer that holds this book.
    pub fn apply(&mut self, update: &BookUpdate<'_>, now: Time) -> Applied {
        match update.kind {
            UpdateKind::Snapshot => {
                if self.state == BookState::Live && update.sequence < self.sequence {
                    return Applied::Old;
                }
                self.bids.replace(update.bids);
                self.asks.replace(update.asks);
            }
            UpdateKind::Delta { previous } => {
                if self.state == BookState::Gap {
                    return Applied::Gap;
                }
                if update.sequence <= self.sequence {
                    return Applied::Old;
                }
                if previous != self.sequence {
                    self.state = BookState::Gap;
                    return Applied::Gap;
                }
                for level in update.bids {
                    self.bids.set(*level);
                }
                for level in update.asks {
                    self.asks.set(*level);
                }
            }
        }
        self.sequence = update.sequence;
        self.received = now;
        self.engine_lag = update.engine_lag;
        self.judge()
    }

    /// Takes note that the venue speaks: an unchanged book is as good as its feed.
    pub fn handle_alive(&mut self, now: Time) {
        if self.state == BookState::Live {
            self.received = now;
        }
    }

    pub fn handle_engine_lag(&mut self, lag: Span) {
        self.engine_lag = lag;
    }

    /// Forgets everything: the feed is down, sequences begin anew.
    pub fn reset(&mut self) {
        self.state = BookState::Gap;
        self.sequence = 0;
        self.bids.clear();
        self.asks.clear();
    }

    pub fn halt(&mut self) {
        self.state = BookState::Halted;
    }

    /// Returns the book for trading, if it may be traded on at `now`.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn live(&self, now: Time, freshness: &Freshness) -> Result<LiveBook<'_>, NotLive> {
        match self.state {
            BookState::Gap => return Err(NotLive::Gap),
            BookState::Crossed => return Err(NotLive::Crossed),
            BookState::Halted => return Err(NotLive::Halted),
            BookState::Live => (),
        }
        if now.since(self.received) > freshness.book_age_max {
            return Err(NotLive::Stale);
        }
        if self.engine_lag > freshness.engine_lag_max {
            return Err(NotLive::Lagging);
        }
        if self.bids.is_empty() && self.asks.is_empty() {
            return Err(NotLive::Empty);
        }
        Ok(LiveBook::seal(
            self.market,
            self.sequence,
            &self.bids,
            &self.asks,
            self.received,
            self.engine_lag,
        ))
    }

    pub fn market(&self) -> Market {
        self.market
    }

    pub fn state(&self) -> BookState {
        self.state
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    pub fn received(&self) -> Time {
        self.received
    }

    pub fn engine_lag(&self) -> Span {
        self.engine_lag
    }

    /// Returns a side, whatever the state: for display and quotes.
    pub fn depth(&self, side: Side) -> &Depth {
        match side {
            Side::Bid => &self.bids,
            Side::Ask => &self.asks,
        }
    }

    fn judge(&mut self) -> Applied {
        let crossed = match (self.bids.best(), self.asks.best()) {
            (Some(bid), Some(ask)) => bid.price >= ask.price,
            _ => false,
        };
        if self.state != BookState::Halted {
            self.state = if crossed {
                BookState::Crossed
            } else {
                BookState::Live
            };
        }
        if crossed {
            Applied::Crossed
        } else {
            Applied::Changed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::market::Level;
    use crate::model::number::{Price, Quantity};

    const FRESH: Freshness = Freshness {
        book_age_max: Span::SECOND,
        engine_lag_max: Span::SECOND,
    };

    fn market() -> Market {
        Market {
            venue: "a".parse().unwrap(),
            pair: "BTC/USD".parse().unwrap(),
        }
    }

    fn level(price: i64, quantity: i64) -> Level {
        Level {
            price: Price::whole(price),
            quantity: Quantity::whole(quantity),
        }
    }

    fn update<'a>(
        kind: UpdateKind,
        sequence: u64,
        bids: &'a [Level],
        asks: &'a [Level],
    ) -> BookUpdate<'a> {
        BookUpdate {
            market: market(),
            kind,
            sequence,
            bids,
            asks,
            venue_time: Time::ZERO,
            engine_lag: Span::ZERO,
        }
    }

    fn live_book() -> Book {
        let mut book = Book::new(market());
        let bids = [level(99, 1), level(98, 2)];
        let asks = [level(101, 1), level(102, 2)];
        let applied = book.apply(&update(UpdateKind::Snapshot, 10, &bids, &asks), Time(1));
        assert_eq!(applied, Applied::Changed);
        book
    }

    #[test]
    fn a_snapshot_makes_a_book_live_with_its_best_levels_first() {
        let book = live_book();
        let live = book.live(Time(1), &FRESH).unwrap();
        assert_eq!(live.best(Side::Bid), Some(level(99, 1)));
        let asks: Vec<Level> = live.levels(Side::Ask).collect();
        assert_eq!(asks, [level(101, 1), level(102, 2)]);
        assert_eq!(live.mid(), Some(Price::whole(100)));
    }

    #[test]
    fn a_delta_sets_absolute_totals_and_zero_removes() {
        let mut book = live_book();
        let delta = UpdateKind::Delta { previous: 10 };
        let bids = [level(99, 0), level(97, 5)];
        assert_eq!(
            book.apply(&update(delta, 11, &bids, &[level(101, 7)]), Time(2)),
            Applied::Changed
        );
        let bids: Vec<Level> = book.depth(Side::Bid).levels().collect();
        assert_eq!(bids, [level(98, 2), level(97, 5)]);
        assert_eq!(book.depth(Side::Ask).best(), Some(level(101, 7)));
    }

    #[test]
    fn a_missing_update_is_a_gap_until_the_next_snapshot() {
        let mut book = live_book();
        let delta = UpdateKind::Delta { previous: 11 };
        assert_eq!(
            book.apply(&update(delta, 12, &[], &[]), Time(2)),
            Applied::Gap
        );
        assert_eq!(book.live(Time(2), &FRESH).unwrap_err(), NotLive::Gap);
        let next = UpdateKind::Delta { previous: 12 };
        assert_eq!(
            book.apply(&update(next, 13, &[], &[]), Time(2)),
            Applied::Gap
        );
        book.apply(
            &update(UpdateKind::Snapshot, 13, &[level(99, 1)], &[]),
            Time(3),
        );
        assert!(book.live(Time(3), &FRESH).is_ok());
    }

    #[test]
    fn an_old_update_changes_nothing() {
        let mut book = live_book();
        let delta = UpdateKind::Delta { previous: 8 };
        let applied = book.apply(&update(delta, 9, &[level(99, 0)], &[]), Time(2));
        assert_eq!(applied, Applied::Old);
        assert_eq!(book.depth(Side::Bid).best(), Some(level(99, 1)));
    }

    #[test]
    fn a_crossed_stale_or_lagging_book_is_not_live() {
        let mut book = live_book();
        assert_eq!(
            book.live(Time(1) + Span::SECOND + Span(1), &FRESH)
                .unwrap_err(),
            NotLive::Stale
        );
        book.handle_engine_lag(Span::secs(2));
        assert_eq!(book.live(Time(1), &FRESH).unwrap_err(), NotLive::Lagging);
        book.handle_engine_lag(Span::ZERO);
        let delta = UpdateKind::Delta { previous: 10 };
        let applied = book.apply(&update(delta, 11, &[level(101, 1)], &[]), Time(2));
        assert_eq!(applied, Applied::Crossed);
        assert_eq!(book.live(Time(2), &FRESH).unwrap_err(), NotLive::Crossed);
    }
}
