//! The two sides of one market, in price-time order, with what changed since it was last told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::market::{Level, Side};
use crate::model::number::{Price, Quantity};
use crate::venue::exchange::{Changes, OrderNo, Trade};

/// Both sides of one market.
#[derive(Debug, Default)]
pub(super) struct Ladders {
    pub(super) sequence: u64,
    bids: Ladder,
    asks: Ladder,
    /// The sequence at the last drain.
    told: u64,
    changed: BTreeSet<(Side, Rank)>,
    is_dirty: bool,
    trades: VecDeque<Trade>,
}

/// Price levels a side may have; an order that needs one more is not rested.
pub const LEVELS_MAX: usize = 1_000;
/// Trades a market remembers; older ones are forgotten.
const TRADES_MAX: usize = 1_000;

/// A price as its side sorts it: the lower, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(i64);

#[derive(Debug, Default)]
struct Ladder {
    queue: BTreeSet<(Rank, OrderNo)>,
    totals: BTreeMap<Rank, Quantity>,
}

impl Rank {
    fn new(side: Side, price: Price) -> Self {
        match side {
            Side::Bid => Self(-price.0),
            Side::Ask => Self(price.0),
        }
    }

    fn price(self) -> Price {
        Price(self.0.abs())
    }
}

impl Ladders {
    /// Returns the order that is next to trade on a side.
    pub(super) fn best(&self, side: Side) -> Option<(Price, OrderNo)> {
        let (rank, no) = self.side(side).queue.first()?;
        Some((rank.price(), *no))
    }

    pub(super) fn levels(&self, side: Side) -> impl Iterator<Item = Level> {
        self.side(side).totals.iter().map(|(rank, quantity)| Level {
            price: rank.price(),
            quantity: *quantity,
        })
    }

    pub(super) fn trades(&self) -> impl Iterator<Item = &Trade> {
        self.trades.iter()
    }

    pub(super) fn push_trade(&mut self, trade: Trade) {
        if self.trades.len() >= TRADES_MAX {
            self.trades.pop_front();
        }
        self.trades.push_back(trade);
    }

    /// Rests an order; false where that would need a level too many.
    pub(super) fn insert(
        &mut self,
        side: Side,
        price: Price,
        no: OrderNo,
        quantity: Quantity,
    ) -> bool {
        let rank = Rank::new(side, price);
        let ladder = self.side_mut(side);
        if ladder.totals.len() >= LEVELS_MAX && !ladder.totals.contains_key(&rank) {
            return false;
        }
        ladder.queue.insert((rank, no));
        let total = ladder.totals.entry(rank).or_default();
        *total = total.saturating_add(quantity);
        self.note(side, rank);
        true
    }

    /// Takes a resting order out.
    pub(super) fn remove(&mut self, side: Side, price: Price, no: OrderNo, quantity: Quantity) {
        self.forget(side, price, no);
        self.reduce(side, price, quantity);
    }

    /// Lowers what stands at a price.
    pub(super) fn reduce(&mut self, side: Side, price: Price, quantity: Quantity) {
        let rank = Rank::new(side, price);
        let ladder = self.side_mut(side);
        if let Some(total) = ladder.totals.get_mut(&rank) {
            *total = total.less(quantity);
            if total.is_zero() {
                ladder.totals.remove(&rank);
            }
        }
        self.note(side, rank);
    }

    /// Takes an order out of the queue of its price.
    pub(super) fn forget(&mut self, side: Side, price: Price, no: OrderNo) {
        self.side_mut(side)
            .queue
            .remove(&(Rank::new(side, price), no));
    }

    /// Ends one operation: whatever it changed is one step of the sequence.
    pub(super) fn commit(&mut self) {
        if std::mem::take(&mut self.is_dirty) {
            self.sequence += 1;
        }
    }

    pub(super) fn drain_changes(&mut self) -> Option<Changes> {
        if self.changed.is_empty() {
            return None;
        }
        let mut changes = Changes {
            previous: self.told,
            sequence: self.sequence,
            bids: Vec::new(),
            asks: Vec::new(),
        };
        for (side, rank) in std::mem::take(&mut self.changed) {
            let total = self.side(side).totals.get(&rank).copied();
            let level = Level {
                price: rank.price(),
                quantity: total.unwrap_or_default(),
            };
            match side {
                Side::Bid => changes.bids.push(level),
                Side::Ask => changes.asks.push(level),
            }
        }
        self.told = self.sequence;
        Some(changes)
    }

    fn note(&mut self, side: Side, rank: Rank) {
        self.changed.insert((side, rank));
        self.is_dirty = true;
    }

    fn side(&self, side: Side) -> &Ladder {
        match side {
            Side::Bid => &self.bids,
            Side::Ask => &self.asks,
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut Ladder {
        match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        }
    }
}
