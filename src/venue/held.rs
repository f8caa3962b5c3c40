//! Changes of a book that wait for the snapshot they belong to.

use std::collections::VecDeque;

use crate::model::market::Level;
use crate::model::time::Time;
use crate::venue::rows::Sides;

/// The changes of one market, oldest first.
///
/// What was held once is reused: holding costs no allocation after the first time.
#[derive(Clone, Debug, Default)]
pub struct Held {
    changes: VecDeque<HeldChange>,
    levels: VecDeque<Level>,
}

/// One change that is held, without its levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldChange {
    /// The exchange's first and last number in it; they are the same where it counts frames.
    pub first: u64,
    pub last: u64,
    /// When it was heard.
    pub at: Time,
    /// The exchange's clock.
    pub venue_time: Time,
    bids: usize,
    asks: usize,
}

impl Held {
    /// Changes held; the oldest gives way, and the snapshot must then be newer than it.
    pub const CHANGES_MAX: usize = 4_096;
    /// Levels held in all of them; the oldest changes give way. A frame cannot have as many.
    pub const LEVELS_MAX: usize = 65_536;

    /// Holds a change; returns the last number of the youngest one that gave way.
    pub fn push(
        &mut self,
        (first, last): (u64, u64),
        (at, venue_time): (Time, Time),
        sides: &Sides,
    ) -> Option<u64> {
        let mut gave_way = None;
        let added = sides.bids.len() + sides.asks.len();
        while self.changes.len() >= Self::CHANGES_MAX
            || self.levels.len() + added > Self::LEVELS_MAX
        {
            let Some(oldest) = self.changes.pop_front() else {
                break;
            };
            self.levels.drain(..oldest.bids + oldest.asks);
            gave_way = Some(oldest.last);
        }
        self.changes.push_back(HeldChange {
            first,
            last,
            at,
            venue_time,
            bids: sides.bids.len(),
            asks: sides.asks.len(),
        });
        self.levels.extend(&sides.bids);
        self.levels.extend(&sides.asks);
        gave_way
    }

    /// Takes the oldest change out; its levels take the place of those in `sides`.
    pub fn pop(&mut self, sides: &mut Sides) -> Option<HeldChange> {
        let change = self.changes.pop_front()?;
        sides.bids.clear();
        sides.asks.clear();
        sides.bids.extend(self.levels.drain(..change.bids));
        sides.asks.extend(self.levels.drain(..change.asks));
        Some(change)
    }

    /// Returns the changes that are held, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &HeldChange> {
        self.changes.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub fn clear(&mut self) {
        self.changes.clear();
        self.levels.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::number::{Price, Quantity};

    fn sides(bids: i64, asks: i64) -> Sides {
        let levels = |count: i64| -> Vec<Level> {
            let level = |price| Level {
                price: Price(price),
                quantity: Quantity(1),
            };
            (1..=count).map(level).collect()
        };
        Sides {
            bids: levels(bids),
            asks: levels(asks),
        }
    }

    #[test]
    fn changes_come_back_as_they_were_held() {
        let mut held = Held::default();
        let times = (Time(3), Time(2));
        for (number, bids, asks) in [(1, 2, 0), (2, 0, 0), (3, 1, 3)] {
            assert_eq!(held.push((number, number), times, &sides(bids, asks)), None);
        }
        let mut read = sides(9, 9);
        for (number, bids, asks) in [(1, 2, 0), (2, 0, 0), (3, 1, 3)] {
            let change = held.pop(&mut read).unwrap();
            assert_eq!((change.first, change.at), (number, Time(3)));
            assert_eq!(read, sides(bids, asks));
        }
        assert_eq!(held.pop(&mut read), None);
        assert!(held.is_empty());
    }

    #[test]
    fn the_oldest_gives_way_and_is_named() {
        let mut held = Held::default();
        let times = (Time(3), Time(2));
        let count = u64::try_from(Held::CHANGES_MAX).unwrap();
        for number in 1..=count {
            assert_eq!(held.push((number, number), times, &sides(1, 0)), None);
        }
        assert_eq!(held.push((9_999, 9_999), times, &sides(1, 0)), Some(1));
        assert_eq!(held.iter().count(), Held::CHANGES_MAX);
        let many = i64::try_from(Held::LEVELS_MAX).unwrap();
        assert_eq!(
            held.push((10_000, 10_001), times, &sides(many, 0)),
            Some(9_999)
        );
        assert_eq!(held.iter().count(), 1);
        held.clear();
        assert!(held.is_empty());
    }
}
