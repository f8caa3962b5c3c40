//! Which best prices cross, kept up with every change: most updates are answered by one comparison.
//!
//! Every market of a pair has a row: what a unit bought there costs at least, and what a unit sold
//! there brings at most, net of the costs that do not depend on the other market. The cheapest and
//! the dearest row of a pair are remembered, so a change is compared with one row instead of all.
//! What crosses here is looked at exactly by [`crate::arbitrage::walk`]; what does not cross here
//! never pays, for the costs left out only ever add to it.

use crate::model::instrument::{Market, Pair};
use crate::model::number::Price;

/// Where a market's row is. It is good until the market is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pair: u16,
    row: u16,
}

/// The costs of a market that do not depend on the other one, in parts per million of its price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A unit bought here costs this share of its ask or more.
    pub buy_ppm: i64,
    /// A unit sold here brings this share of its bid or less.
    pub sell_ppm: i64,
}

/// The best prices of all markets, net.
#[derive(Clone, Debug, Default)]
pub struct Bests {
    pairs: Vec<Rows>,
}

#[derive(Clone, Debug)]
struct Rows {
    pair: Pair,
    rows: Vec<Row>,
    /// The row where buying costs least, and the one where selling brings most.
    cheapest: usize,
    dearest: usize,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    /// `None` where a market was removed.
    market: Option<Market>,
    bounds: Bounds,
    /// Price times parts per million: exact.
    buy: i128,
    sell: i128,
}

/// Nothing to buy, nothing to sell.
const NO_ASK: i128 = i128::MAX;
const NO_BID: i128 = i128::MIN;

impl Bests {
    /// Markets of one pair and pairs; a market beyond is not looked at, and `add` says so.
    pub const ROWS_MAX: usize = 1_024;

    /// Adds a market, or changes the costs of a known one; its prices are to be set after.
    ///
    /// `None` where there is no room.
    pub fn add(&mut self, market: Market, bounds: Bounds) -> Option<Slot> {
        let pair = match self.pairs.iter().position(|rows| rows.pair == market.pair) {
            Some(pair) => pair,
            None if self.pairs.len() < Self::ROWS_MAX => {
                self.pairs.push(Rows {
                    pair: market.pair,
                    rows: Vec::new(),
                    cheapest: 0,
                    dearest: 0,
                });
                self.pairs.len() - 1
            }
            None => return None,
        };
        let rows = &mut self.pairs[pair].rows;
        let known = rows.iter().position(|row| row.market == Some(market));
        let free = known.or_else(|| rows.iter().position(|row| row.market.is_none()));
        let fresh = Row {
            market: Some(market),
            bounds,
            buy: NO_ASK,
            sell: NO_BID,
        };
        let row = match free {
            Some(row) => row,
            None if rows.len() < Self::ROWS_MAX => {
                rows.push(fresh);
                rows.len() - 1
            }
            None => return None,
        };
        rows[row] = fresh;
        self.pairs[pair].find_best();
        Some(Slot {
            pair: u16::try_from(pair).ok()?,
            row: u16::try_from(row).ok()?,
        })
    }

    /// Removes a market; another one may take its place.
    pub fn remove(&mut self, slot: Slot) {
        let Some(rows) = self.pairs.get_mut(usize::from(slot.pair)) else {
            return;
        };
        if let Some(row) = rows.rows.get_mut(usize::from(slot.row)) {
            row.market = None;
            (row.buy, row.sell) = (NO_ASK, NO_BID);
        }
        rows.find_best();
    }

    /// Takes the best prices of a market.
    #[inline]
    pub fn set(&mut self, slot: Slot, ask: Option<Price>, bid: Option<Price>) {
        let Some(rows) = self.pairs.get_mut(usize::from(slot.pair)) else {
            return;
        };
        let at = usize::from(slot.row);
        let Some(row) = rows.rows.get_mut(at) else {
            return;
        };
        let net = |price: Price, ppm: i64| i128::from(price.0) * i128::from(ppm);
        let buy = ask.map_or(NO_ASK, |ask| net(ask, row.bounds.buy_ppm));
        let sell = bid.map_or(NO_BID, |bid| net(bid, row.bounds.sell_ppm));
        let is_worse =
            (at == rows.cheapest && buy > row.buy) || (at == rows.dearest && sell < row.sell);
        (row.buy, row.sell) = (buy, sell);
        if is_worse {
            rows.find_best();
        } else {
            if buy < rows.rows[rows.cheapest].buy {
                rows.cheapest = at;
            }
            if sell > rows.rows[rows.dearest].sell {
                rows.dearest = at;
            }
        }
    }

    /// Returns true where something may pay with a market: one comparison a direction.
    #[inline]
    pub fn crosses(&self, slot: Slot) -> bool {
        let rows = self.pairs.get(usize::from(slot.pair));
        let crosses = |rows: &Rows| {
            let row = rows.rows.get(usize::from(slot.row))?;
            let (cheapest, dearest) = (rows.rows.get(rows.cheapest)?, rows.rows.get(rows.dearest)?);
            Some(row.buy < dearest.sell || row.sell > cheapest.buy)
        };
        rows.and_then(crosses).unwrap_or(false)
    }

    /// Returns the directions that may pay with a market, as where to buy and where to sell.
    pub fn crossing(&self, slot: Slot) -> impl Iterator<Item = (Market, Market)> + '_ {
        let rows = self.pairs.get(usize::from(slot.pair));
        let rows = rows.map_or(&[][..], |rows| &rows.rows[..]);
        let own = rows.get(usize::from(slot.row)).copied();
        let changed = own.and_then(|row| Some((row, row.market?)));
        changed.into_iter().flat_map(move |(own, market)| {
            let others = rows.iter().filter_map(|row| Some((row, row.market?)));
            let others = others.filter(move |(_, other)| other.venue != market.venue);
            others.flat_map(move |(row, other)| {
                let buys = (own.buy < row.sell).then_some((market, other));
                let sells = (row.buy < own.sell).then_some((other, market));
                buys.into_iter().chain(sells)
            })
        })
    }
}

impl Rows {
    fn find_best(&mut self) {
        (self.cheapest, self.dearest) = (0, 0);
        for (at, row) in self.rows.iter().enumerate() {
            if row.buy < self.rows[self.cheapest].buy {
                self.cheapest = at;
            }
            if row.sell > self.rows[self.dearest].sell {
                self.dearest = at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    const BOUNDS: Bounds = Bounds {
        buy_ppm: 1_001_000,
        sell_ppm: 998_000,
    };

    fn market(venue: usize) -> Market {
        Market {
            venue: format!("v{venue}").parse().unwrap(),
            pair: "BTC/USD".parse().unwrap(),
        }
    }

    /// What crosses, found by comparing all with all.
    fn naive(prices: &[(Option<i64>, Option<i64>)], changed: usize) -> Vec<(Market, Market)> {
        let pays = |buy: usize, sell: usize| {
            let (ask, bid) = (prices[buy].0, prices[sell].1);
            ask.zip(bid).is_some_and(|(ask, bid)| {
                i128::from(ask) * i128::from(BOUNDS.buy_ppm)
                    < i128::from(bid) * i128::from(BOUNDS.sell_ppm)
            })
        };
        let mut found = Vec::new();
        for other in (0..prices.len()).filter(|other| *other != changed) {
            if pays(changed, other) {
                found.push((market(changed), market(other)));
            }
            if pays(other, changed) {
                found.push((market(other), market(changed)));
            }
        }
        found
    }

    #[test]
    fn what_crosses_is_what_comparing_all_finds() {
        let mut random = Random::new(1);
        for venues in [1, 2, 3, 8, 33] {
            let mut bests = Bests::default();
            let slots: Vec<Slot> = (0..venues)
                .map(|venue| bests.add(market(venue), BOUNDS).unwrap())
                .collect();
            let mut prices = vec![(None, None); venues];
            let mut crossed = 0;
            for _ in 0..5_000 {
                let at = usize::try_from(random.below(venues as u64)).unwrap();
                let mut price = || {
                    let price = i64::try_from(random.between(10_000, 10_080)).unwrap();
                    (random.below(10) > 0).then_some(price)
                };
                prices[at] = (price(), price());
                // A book of its own never crosses.
                if let (Some(ask), Some(bid)) = prices[at]
                    && bid >= ask
                {
                    prices[at].1 = Some(ask - 1);
                }
                let (ask, bid) = prices[at];
                bests.set(slots[at], ask.map(Price), bid.map(Price));
                let may_pay = bests.crosses(slots[at]);
                let expected = naive(&prices, at);
                let found: Vec<_> = bests.crossing(slots[at]).collect();
                assert_eq!(found, expected);
                assert!(may_pay || expected.is_empty());
                crossed += usize::from(may_pay);
            }
            assert!(venues == 1 || crossed > 100 && crossed < 5_000);
        }
    }

    #[test]
    fn a_removed_market_crosses_nothing_and_its_place_is_taken() {
        let mut bests = Bests::default();
        let slots = [0, 1].map(|venue| bests.add(market(venue), BOUNDS).unwrap());
        bests.set(slots[0], Some(Price(100)), Some(Price(99)));
        bests.set(slots[1], Some(Price(202)), Some(Price(200)));
        assert!(bests.crosses(slots[1]) && bests.crosses(slots[0]));
        bests.remove(slots[0]);
        assert!(!bests.crosses(slots[1]));
        assert_eq!(bests.add(market(2), BOUNDS), Some(slots[0]));
        assert_eq!(bests.crossing(slots[1]).count(), 0);
    }
}
