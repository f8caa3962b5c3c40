//! The account's own trades, read once and in order, and whose they are.
//!
//! A trade in which our order was resting names it. One in which it came in names some order, by
//! recorded histories the one it met: such trades are known by their amount. Orders are sent one by
//! one and matched at once, so those of one order stand together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::instrument::Pair;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::trade::{Filled, VenueRef};

/// One trade of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) trade: u64,
    /// The order that the exchange names.
    pub(super) reference: VenueRef,
    pub(super) was_resting: bool,
    pub(super) pair: Pair,
    pub(super) side: Side,
    pub(super) filled: Filled,
    pub(super) rate: Price,
    pub(super) at_s: u64,
}

/// Trades that an incoming order may have made: in its market and side, at prices it allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought {
    pub(super) pair: Pair,
    pub(super) side: Side,
    pub(super) limit: Price,
    /// Not before this second, and not after that one.
    pub(super) since_s: u64,
    pub(super) until_s: u64,
    /// Behind this trade, and not behind that one.
    pub(super) after: u64,
    pub(super) last: u64,
}

impl Sought {
    fn fits(&self, row: &Row) -> bool {
        !row.was_resting
            && row.pair == self.pair
            && row.side == self.side
            && (self.since_s..=self.until_s).contains(&row.at_s)
            && row.trade > self.after
            && row.trade <= self.last
            && self.side.accepts(self.limit, row.rate)
    }
}

/// The account's trades that are nobody's yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The last trade that was read.
    pub(super) last: Option<u64>,
    strays: VecDeque<Row>,
    /// Trades that an earlier run has counted: the first one's number, and how much from there.
    counted: BTreeMap<u64, Quantity>,
    counting: Vec<(Pair, Side, Quantity)>,
}

/// Marks a name that means trades instead of an order.
const TRADES_MARK: u128 = 1 << 127;

/// Names the trades of an order that has no name: the first one's number and how much they are.
pub(super) fn trades_reference(first: u64, quantity: Quantity) -> VenueRef {
    let quantity = u128::from(quantity.0.unsigned_abs());
    VenueRef(TRADES_MARK | (u128::from(first & (u64::MAX >> 1)) << 64) | quantity)
}

/// Reads such a name.
pub(super) fn trades_of(reference: VenueRef) -> Option<(u64, Quantity)> {
    if reference.0 & TRADES_MARK == 0 {
        return None;
    }
    let first = u64::try_from((reference.0 & !TRADES_MARK) >> 64).ok()?;
    let quantity = i64::try_from(reference.0 & u128::from(u64::MAX)).ok()?;
    Some((first, Quantity(quantity)))
}

impl History {
    /// Trades kept that are nobody's; the oldest give way.
    const STRAYS_MAX: usize = 8_192;

    /// Takes note that trades were counted by an earlier run.
    pub(super) fn note_counted(&mut self, first: u64, quantity: Quantity) {
        self.counted.insert(first, quantity);
    }

    /// Takes a trade that no known order claims by its name, unless an earlier run has counted it.
    pub(super) fn push(&mut self, row: Row) {
        if let Some(quantity) = self.counted.remove(&row.trade) {
            self.counting.push((row.pair, row.side, quantity));
        }
        let counting = self.counting.iter_mut().find(|(pair, side, left)| {
            *pair == row.pair && *side == row.side && *left >= row.filled.quantity
        });
        if let Some((_, _, left)) = counting.filter(|_| !row.was_resting) {
            *left = left.less(row.filled.quantity);
            self.counting.retain(|(_, _, left)| left.is_positive());
            return;
        }
        if self.strays.len() >= Self::STRAYS_MAX {
            self.strays.pop_front();
        }
        self.strays.push_back(row);
    }

    /// Takes the trades that name an order, all of them in which it was resting.
    pub(super) fn take_named(&mut self, reference: VenueRef) -> Vec<Row> {
        let is_its = |row: &Row| row.was_resting && row.reference == reference;
        let taken = self
            .strays
            .iter()
            .filter(|row| is_its(row))
            .copied()
            .collect();
        self.strays.retain(|row| !is_its(row));
        taken
    }

    /// Returns what an order that was resting has traded.
    pub(super) fn named_quantity(&self, reference: VenueRef) -> Quantity {
        let rows = self.strays.iter();
        rows.filter(|row| row.was_resting && row.reference == reference)
            .fold(Quantity::ZERO, |sum, row| {
                sum.saturating_add(row.filled.quantity)
            })
    }

    /// Returns the orders that were resting and are nobody's.
    pub(super) fn resting_strays(&self) -> BTreeSet<(VenueRef, Pair, Side)> {
        let rows = self.strays.iter().filter(|row| row.was_resting);
        rows.map(|row| (row.reference, row.pair, row.side))
            .collect()
    }

    /// Returns the first numbers of all runs of trades that an incoming order of this amount may
    /// have made: neighbours in its market and side.
    pub(super) fn runs(&self, sought: Sought, quantity: Quantity) -> Vec<u64> {
        let rows = self.incoming(sought);
        let mut runs = Vec::new();
        for first in 0..rows.len() {
            let mut sum = Quantity::ZERO;
            for row in &rows[first..] {
                sum = sum.saturating_add(row.filled.quantity);
                if sum >= quantity {
                    break;
                }
            }
            if sum == quantity {
                runs.push(rows[first].trade);
            }
        }
        runs
    }

    /// Takes a run of trades from its first one on.
    pub(super) fn take_run(
        &mut self,
        pair: Pair,
        side: Side,
        first: u64,
        quantity: Quantity,
    ) -> Vec<Row> {
        let mut left = quantity;
        let mut taken = Vec::new();
        self.strays.retain(|row| {
            let is_in = !row.was_resting
                && row.pair == pair
                && row.side == side
                && row.trade >= first
                && left >= row.filled.quantity
                && left.is_positive();
            if is_in {
                left = left.less(row.filled.quantity);
                taken.push(*row);
            }
            !is_in
        });
        taken
    }

    /// Returns trades of incoming orders that nobody claims, those of one second together: the first
    /// one's number and how much they are.
    pub(super) fn bursts(&self, sought: Sought) -> Vec<(u64, Quantity)> {
        let mut bursts: Vec<(u64, Quantity, u64)> = Vec::new();
        for row in self.incoming(sought) {
            match bursts.last_mut().filter(|(.., at_s)| row.at_s <= *at_s + 1) {
                Some((_, sum, _)) => *sum = sum.saturating_add(row.filled.quantity),
                None => bursts.push((row.trade, row.filled.quantity, row.at_s)),
            }
        }
        let named = bursts.into_iter().map(|(first, sum, _)| (first, sum));
        named.collect()
    }

    fn incoming(&self, sought: Sought) -> Vec<Row> {
        let rows = self.strays.iter().filter(|row| sought.fits(row));
        rows.copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Pair {
        "BTC/USD".parse().unwrap()
    }

    fn sought() -> Sought {
        Sought {
            pair: pair(),
            side: Side::Bid,
            limit: Price(100),
            since_s: 0,
            until_s: 100,
            after: 0,
            last: u64::MAX,
        }
    }

    fn row(trade: u64, quantity: i64, was_resting: bool) -> Row {
        Row {
            trade,
            reference: VenueRef(u128::from(trade) * 10),
            was_resting,
            pair: pair(),
            side: Side::Bid,
            filled: Filled {
                quantity: Quantity(quantity),
                ..Filled::default()
            },
            rate: Price(100),
            at_s: trade,
        }
    }

    fn history() -> History {
        let mut history = History::default();
        for (trade, quantity) in [(1, 50), (2, 30), (3, 20), (4, 50)] {
            history.push(row(trade, quantity, false));
        }
        history.push(row(5, 7, true));
        history
    }

    #[test]
    fn runs_are_neighbours_that_add_up() {
        let mut history = history();
        let runs = |history: &History, quantity| history.runs(sought(), Quantity(quantity));
        assert_eq!(runs(&history, 50), [1, 2, 4]);
        assert_eq!(runs(&history, 100), [1, 2]);
        assert_eq!(runs(&history, 70), [3]);
        assert!(runs(&history, 60).is_empty());
        let taken = history.take_run(pair(), Side::Bid, 2, Quantity(50));
        assert_eq!(taken.len(), 2);
        assert_eq!(runs(&history, 50), [1, 4]);
        assert_eq!(history.take_named(VenueRef(50)).len(), 1);
    }

    #[test]
    fn trades_known_before_an_order_was_sent_are_not_its() {
        let later = Sought {
            after: 1,
            ..sought()
        };
        assert_eq!(history().runs(later, Quantity(50)), [2, 4]);
        let settled = Sought { last: 3, ..later };
        assert_eq!(history().runs(settled, Quantity(50)), [2]);
    }

    #[test]
    fn what_an_earlier_run_counted_is_not_offered_again() {
        let reference = trades_reference(2, Quantity(50));
        assert_eq!(trades_of(reference), Some((2, Quantity(50))));
        assert_eq!(trades_of(VenueRef(7)), None);
        let mut history = History::default();
        history.note_counted(2, Quantity(50));
        for (trade, quantity) in [(1, 50), (2, 30), (3, 20), (4, 50)] {
            history.push(row(trade, quantity, false));
        }
        assert_eq!(history.runs(sought(), Quantity(50)), [1, 4]);
        let cheaper = Sought {
            limit: Price(99),
            ..sought()
        };
        assert!(history.runs(cheaper, Quantity(50)).is_empty());
    }

    #[test]
    fn trades_of_one_moment_are_one_burst() {
        let bursts = history().bursts(sought());
        assert_eq!(bursts, [(1, Quantity(80)), (3, Quantity(70))]);
    }
}
