//! A book as MtGox tells it: totals by price without numbers, repaired by tickers and trades.

use std::collections::BTreeMap;

use crate::model::market::{Level, Side};
use crate::model::number::{Price, Quantity};

/// Both sides of one market, with when each level last changed.
#[derive(Debug, Default)]
pub struct Mirror {
    bids: BTreeMap<Price, Standing>,
    asks: BTreeMap<Price, Standing>,
    /// The newest change, in the venue's microseconds.
    newest_us: u64,
}

/// What stands at a price, and since when.
#[derive(Clone, Copy, Debug)]
struct Standing {
    quantity: Quantity,
    stamp_us: u64,
}

/// Levels that a step changed; quantity zero removes one.
#[derive(Debug, Default)]
pub struct Changed {
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
}

impl Changed {
    pub fn is_empty(&self) -> bool {
        self.bids.is_empty() && self.asks.is_empty()
    }

    /// Puts both sides into the order in which books are told: best level first.
    pub fn sort(&mut self) {
        self.bids
            .sort_unstable_by_key(|level| std::cmp::Reverse(level.price));
        self.asks.sort_unstable_by_key(|level| level.price);
    }

    fn push(&mut self, side: Side, level: Level) {
        match side {
            Side::Bid => self.bids.push(level),
            Side::Ask => self.asks.push(level),
        }
    }
}

impl Mirror {
    /// Levels kept a side; a book with more loses those furthest from the market.
    pub const LEVELS_MAX: usize = 16_384;

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn newest_us(&self) -> u64 {
        self.newest_us
    }

    /// Sets the total at a price, unless a newer change of it is known. What the other side had
    /// standing there or beyond, and has not changed since, was lost on the way: two sides never
    /// stand in each other's way at the venue.
    pub fn set(&mut self, side: Side, level: Level, stamp_us: u64, changed: &mut Changed) {
        self.newest_us = self.newest_us.max(stamp_us);
        let levels = self.side_mut(side);
        let is_old = levels
            .get(&level.price)
            .is_some_and(|standing| standing.stamp_us > stamp_us);
        if is_old || !level.price.is_positive() {
            return;
        }
        if level.quantity.is_positive() {
            self.drop_crossed(side, level.price, stamp_us, changed);
            let levels = self.side_mut(side);
            let standing = Standing {
                quantity: level.quantity,
                stamp_us,
            };
            levels.insert(level.price, standing);
            if levels.len() > Self::LEVELS_MAX {
                match side {
                    Side::Bid => levels.pop_first(),
                    Side::Ask => levels.pop_last(),
                };
            }
        } else {
            levels.remove(&level.price);
        }
        changed.push(
            side,
            Level {
                price: level.price,
                quantity: level.quantity.less(Quantity::ZERO),
            },
        );
    }

    /// Drops what the ticker says is gone: bids above its best bid, asks below its best ask.
    pub fn trim(&mut self, bid: Price, ask: Price, now_us: u64, changed: &mut Changed) {
        self.drop_better(Side::Bid, bid, now_us, changed);
        self.drop_better(Side::Ask, ask, now_us, changed);
    }

    /// Takes a trade out of what stood there, unless the book has told of it since.
    pub fn trade(&mut self, taker: Side, level: Level, stamp_us: u64, changed: &mut Changed) {
        let side = taker.opposite();
        self.drop_better(side, level.price, stamp_us, changed);
        // A side that stands beyond the price of the trade on the other side is crossed by it.
        let levels = self.side_mut(side);
        if let Some(standing) = levels.get_mut(&level.price)
            && standing.stamp_us < stamp_us
        {
            standing.quantity = standing.quantity.less(level.quantity);
            standing.stamp_us = stamp_us;
            let quantity = standing.quantity;
            if !quantity.is_positive() {
                levels.remove(&level.price);
            }
            let price = level.price;
            changed.push(side, Level { price, quantity });
        }
    }

    pub fn is_crossed(&self) -> bool {
        let bid = self.bids.last_key_value();
        let ask = self.asks.first_key_value();
        matches!((bid, ask), (Some((bid, _)), Some((ask, _))) if bid >= ask)
    }

    /// Returns the best levels of a side, best first.
    pub fn best(&self, side: Side, levels_max: usize) -> Vec<Level> {
        let level = |(price, standing): (&Price, &Standing)| Level {
            price: *price,
            quantity: standing.quantity,
        };
        match side {
            Side::Bid => self.bids.iter().rev().take(levels_max).map(level).collect(),
            Side::Ask => self.asks.iter().take(levels_max).map(level).collect(),
        }
    }

    /// Removes what stands at `price` or beyond on the other side and is older than a new level there.
    fn drop_crossed(&mut self, side: Side, price: Price, stamp_us: u64, changed: &mut Changed) {
        let other = side.opposite();
        let levels = self.side_mut(other);
        let is_older = |standing: &Standing| standing.stamp_us < stamp_us;
        let gone: Vec<Price> = match other {
            Side::Bid => levels
                .range(price..)
                .filter(|(_, standing)| is_older(standing))
                .map(|(level, _)| *level)
                .collect(),
            Side::Ask => levels
                .range(..=price)
                .filter(|(_, standing)| is_older(standing))
                .map(|(level, _)| *level)
                .collect(),
        };
        for price in gone {
            levels.remove(&price);
            let quantity = Quantity::ZERO;
            changed.push(other, Level { price, quantity });
        }
    }

    /// Removes levels better than `price` that have not changed since `now_us`.
    fn drop_better(&mut self, side: Side, price: Price, now_us: u64, changed: &mut Changed) {
        let levels = self.side_mut(side);
        let is_gone = |standing: &Standing| standing.stamp_us <= now_us;
        let gone: Vec<Price> = match side {
            Side::Bid => levels
                .range(price..)
                .filter(|(level, standing)| **level > price && is_gone(standing))
                .map(|(level, _)| *level)
                .collect(),
            Side::Ask => levels
                .range(..price)
                .filter(|(_, standing)| is_gone(standing))
                .map(|(level, _)| *level)
                .collect(),
        };
        for price in gone {
            levels.remove(&price);
            let quantity = Quantity::ZERO;
            changed.push(side, Level { price, quantity });
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut BTreeMap<Price, Standing> {
        match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(price: i64, quantity: i64) -> Level {
        Level {
            price: Price::whole(price),
            quantity: Quantity::whole(quantity),
        }
    }

    fn mirror() -> Mirror {
        let mut mirror = Mirror::default();
        let mut changed = Changed::default();
        for (side, price) in [
            (Side::Bid, 98),
            (Side::Bid, 99),
            (Side::Ask, 101),
            (Side::Ask, 102),
        ] {
            mirror.set(side, level(price, 5), 10, &mut changed);
        }
        mirror
    }

    #[test]
    fn totals_replace_each_other_and_zero_removes() {
        let mut mirror = mirror();
        let mut changed = Changed::default();
        mirror.set(Side::Bid, level(99, 2), 11, &mut changed);
        mirror.set(Side::Ask, level(101, 0), 11, &mut changed);
        mirror.set(Side::Bid, level(99, 9), 10, &mut changed);
        assert_eq!(mirror.best(Side::Bid, 1), [level(99, 2)]);
        assert_eq!(mirror.best(Side::Ask, 9), [level(102, 5)]);
        assert_eq!(changed.bids, [level(99, 2)]);
        assert_eq!(changed.asks, [level(101, 0)]);
    }

    #[test]
    fn a_ticker_removes_what_it_knows_to_be_gone_and_nothing_newer() {
        let mut mirror = mirror();
        let mut changed = Changed::default();
        mirror.set(Side::Bid, level(100, 1), 30, &mut changed);
        mirror.trim(Price::whole(98), Price::whole(102), 20, &mut changed);
        assert_eq!(mirror.best(Side::Bid, 9), [level(100, 1), level(98, 5)]);
        assert_eq!(mirror.best(Side::Ask, 9), [level(102, 5)]);
    }

    #[test]
    fn a_trade_reduces_once_whichever_comes_first() {
        let mut one = mirror();
        let mut changed = Changed::default();
        one.trade(Side::Bid, level(101, 2), 20, &mut changed);
        assert_eq!(one.best(Side::Ask, 1), [level(101, 3)]);
        one.set(Side::Ask, level(101, 3), 20, &mut changed);
        assert_eq!(one.best(Side::Ask, 1), [level(101, 3)]);
        let mut other = mirror();
        other.set(Side::Ask, level(101, 3), 20, &mut changed);
        other.trade(Side::Bid, level(101, 2), 20, &mut changed);
        assert_eq!(other.best(Side::Ask, 1), [level(101, 3)]);
        other.trade(Side::Bid, level(102, 1), 30, &mut changed);
        assert_eq!(other.best(Side::Ask, 1), [level(102, 4)]);
        assert!(!other.is_crossed());
    }

    #[test]
    fn a_new_level_removes_older_ones_in_its_way() {
        let mut mirror = mirror();
        let mut changed = Changed::default();
        mirror.set(Side::Ask, level(98, 1), 20, &mut changed);
        assert_eq!(mirror.best(Side::Bid, 9), []);
        assert_eq!(changed.bids.len(), 2);
        mirror.set(Side::Bid, level(98, 1), 15, &mut changed);
        assert!(mirror.is_crossed(), "what is newer stands");
        mirror.set(Side::Bid, level(97, 1), 30, &mut changed);
        assert_eq!(mirror.best(Side::Ask, 1), [level(98, 1)]);
    }

    #[test]
    fn a_full_side_loses_what_is_furthest_from_the_market() {
        let mut mirror = Mirror::default();
        let mut changed = Changed::default();
        let count = i64::try_from(Mirror::LEVELS_MAX).unwrap();
        for price in 1..=count + 3 {
            mirror.set(Side::Bid, level(price, 1), 1, &mut changed);
        }
        let bids = mirror.best(Side::Bid, usize::MAX);
        assert_eq!(bids.len(), Mirror::LEVELS_MAX);
        assert_eq!(bids.last(), Some(&level(4, 1)));
    }
}
