//! The best prices of a book, kept to compare them with the ticker.

use crate::model::market::{Level, Side};
use crate::model::number::Price;

/// The levels of one market that are nearest to each other.
#[derive(Debug, Default)]
pub struct Top {
    /// Ascending: the best bid is last.
    bids: Vec<i64>,
    /// Negative prices, ascending: the best ask is last.
    asks: Vec<i64>,
}

impl Top {
    /// Levels kept a side; when full, the one furthest from the market gives way.
    pub const LEVELS_MAX: usize = 1_024;

    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    /// Sets one level, or removes it where its quantity is zero.
    #[inline]
    pub fn apply(&mut self, side: Side, level: &Level) {
        let (ranks, rank) = match side {
            Side::Bid => (&mut self.bids, level.price.0),
            Side::Ask => (&mut self.asks, -level.price.0),
        };
        let at = place_of(ranks, rank);
        let stands = ranks.get(at) == Some(&rank);
        match (stands, level.quantity.is_positive()) {
            (true, false) => {
                ranks.remove(at);
            }
            (false, true) if ranks.len() < Self::LEVELS_MAX => ranks.insert(at, rank),
            (false, true) if at > 0 => {
                ranks.remove(0);
                ranks.insert(at - 1, rank);
            }
            (true, true) | (false, true | false) => (),
        }
    }

    /// Returns the best bid and the best ask.
    #[inline]
    pub fn best(&self) -> Option<(Price, Price)> {
        let (bid, ask) = (self.bids.last()?, self.asks.last()?);
        Some((Price(*bid), Price(-*ask)))
    }
}

/// Returns how many levels are worse. Most changes are near the best, where the search begins.
#[inline]
fn place_of(ranks: &[i64], rank: i64) -> usize {
    const NEAR: usize = 16;
    let start = ranks.len().saturating_sub(NEAR);
    if ranks.get(start).is_none_or(|first| *first < rank) {
        let near = ranks.get(start..).unwrap_or_default();
        return start + near.partition_point(|other| *other < rank);
    }
    ranks.partition_point(|other| *other < rank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::number::Quantity;
    use crate::model::random::Random;
    use std::collections::BTreeSet;

    #[test]
    fn the_best_prices_are_those_of_a_plain_set() {
        let mut random = Random::new(9);
        let mut top = Top::default();
        let (mut bids, mut asks) = (BTreeSet::new(), BTreeSet::new());
        assert_eq!(top.best(), None);
        for _ in 0..20_000 {
            let offset = i64::try_from(random.between(1, 80)).unwrap();
            let quantity = Quantity(i64::try_from(random.below(2)).unwrap());
            for (side, price) in [(Side::Bid, 1_000 - offset), (Side::Ask, 1_000 + offset)] {
                let level = Level {
                    price: Price(price),
                    quantity,
                };
                top.apply(side, &level);
                let set = match side {
                    Side::Bid => &mut bids,
                    Side::Ask => &mut asks,
                };
                if quantity.is_positive() {
                    set.insert(price);
                } else {
                    set.remove(&price);
                }
            }
            let best = bids.last().zip(asks.first());
            let best = best.map(|(bid, ask)| (Price(*bid), Price(*ask)));
            assert_eq!(top.best(), best);
        }
    }

    #[test]
    fn a_full_side_drops_its_worst_level() {
        let mut top = Top::default();
        for price in 1..=2_000 {
            let level = Level {
                price: Price(price),
                quantity: Quantity(1),
            };
            top.apply(Side::Bid, &level);
        }
        assert_eq!(top.bids.len(), Top::LEVELS_MAX);
        assert_eq!(top.bids.last(), Some(&2_000));
        top.clear();
        assert!(top.bids.is_empty());
    }
}
