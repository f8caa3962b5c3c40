//! What the public saw of a market: levels with the stamp of their last change, and trades.

use std::collections::{BTreeMap, VecDeque};

use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::market::{Level, Side};
use crate::model::number::{Price, Quantity, SCALE};
use crate::model::time::{Span, Time};

/// A market as the public sees it.
#[derive(Debug)]
pub(super) struct Tape {
    pair: Pair,
    bids: BTreeMap<Price, Standing>,
    asks: BTreeMap<Price, Standing>,
    prints: VecDeque<Print>,
    /// Something changed since the last ticker frame.
    pub(super) is_news: bool,
    pub(super) ticker_at: Time,
}

/// What stands at one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) quantity: Quantity,
    /// Microseconds since 1970.
    pub(super) stamp: u64,
}

/// One public trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print {
    /// Its number, in microseconds since 1970.
    pub(super) tid: u64,
    pub(super) at: Time,
    pub(super) item: Currency,
    pub(super) currency: Currency,
    pub(super) price: Price,
    pub(super) quantity: Quantity,
    pub(super) taker: Side,
    /// False for a trade that is shown a second time in another currency.
    pub(super) is_primary: bool,
    /// The order that came in had no price.
    pub(super) is_market: bool,
    /// Its two orders had different currencies.
    pub(super) is_mixed: bool,
}

/// Sums over a day of trades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) high: Price,
    pub(super) low: Price,
    /// Of all prices, each trade counted once.
    pub(super) avg: Price,
    /// Of all prices, each unit counted once.
    pub(super) vwap: Price,
    pub(super) vol: Quantity,
    pub(super) last: Price,
}

/// A level that changed, by how much and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LevelChange {
    pub(super) side: Side,
    pub(super) price: Price,
    /// Signed, in units of 1e-8.
    pub(super) change: i64,
    pub(super) total: Quantity,
}

impl Tape {
    /// Trades a market remembers; older ones are forgotten.
    const PRINTS_MAX: usize = 20_000;
    /// Trades in one document; the next ones are asked for from the last one on.
    const PRINTS_LISTED_MAX: usize = 1_000;

    pub(super) fn new(pair: Pair) -> Self {
        Self {
            pair,
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
            prints: VecDeque::new(),
            is_news: true,
            ticker_at: Time::ZERO,
        }
    }

    /// Takes a level's new total; `None` where that is the old one.
    pub(super) fn set(&mut self, side: Side, level: Level, stamp: u64) -> Option<LevelChange> {
        let levels = match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        };
        let standing = Standing {
            quantity: level.quantity,
            stamp,
        };
        let before = if level.quantity.is_zero() {
            levels.remove(&level.price)
        } else {
            levels.insert(level.price, standing)
        };
        let before = before.map_or(0, |before| before.quantity.0);
        self.is_news = true;
        (before != level.quantity.0).then_some(LevelChange {
            side,
            price: level.price,
            change: level.quantity.0.saturating_sub(before),
            total: level.quantity,
        })
    }

    /// Returns the levels of a side by rising price, whichever side it is.
    pub(super) fn rising(&self, side: Side) -> impl Iterator<Item = (Price, Standing)> {
        let levels = match side {
            Side::Bid => &self.bids,
            Side::Ask => &self.asks,
        };
        levels.iter().map(|(price, standing)| (*price, *standing))
    }

    pub(super) fn best(&self, side: Side) -> Option<Price> {
        match side {
            Side::Bid => self.bids.keys().next_back().copied(),
            Side::Ask => self.asks.keys().next().copied(),
        }
    }

    /// Returns the middle of the best prices, else the only one there is, else the last trade.
    pub(super) fn middle(&self) -> Option<Price> {
        match (self.best(Side::Bid), self.best(Side::Ask)) {
            (Some(bid), Some(ask)) => {
                Some(Price(bid.0 / 2 + ask.0 / 2 + (bid.0 % 2 + ask.0 % 2) / 2))
            }
            (Some(only), None) | (None, Some(only)) => Some(only),
            (None, None) => self.last().map(|print| print.price),
        }
    }

    pub(super) fn push(&mut self, print: Print) {
        if self.prints.len() >= Self::PRINTS_MAX {
            self.prints.pop_front();
        }
        self.prints.push_back(print);
        self.is_news = true;
    }

    /// Returns the last trade that was made in this market.
    pub(super) fn last(&self) -> Option<&Print> {
        let own = |print: &&Print| print.is_primary;
        self.prints.iter().rev().find(own)
    }

    /// Returns trades oldest first: those behind `since` for up to a day, or the last ones of the
    /// past day.
    pub(super) fn prints(&self, since: Option<u64>, now: Time) -> Vec<Print> {
        let day = Span::DAY.as_micros();
        let Some(since) = since else {
            let from = (now - Span::DAY).0 / 1_000;
            let mut late: Vec<Print> = self
                .prints
                .iter()
                .rev()
                .take_while(|print| print.tid >= from)
                .take(Self::PRINTS_LISTED_MAX)
                .copied()
                .collect();
            late.reverse();
            return late;
        };
        let behind = self.prints.iter().filter(|print| print.tid > since);
        let mut listed: Vec<Print> = behind.take(Self::PRINTS_LISTED_MAX).copied().collect();
        if let Some(first) = listed.first().map(|print| print.tid) {
            listed.retain(|print| print.tid <= first.saturating_add(day));
        }
        listed
    }

    /// Sums up the past day. Without a trade every price is the middle of the book.
    pub(super) fn day(&self, now: Time) -> Day {
        let from = now - Span::DAY;
        let mut day = Day::default();
        let (mut count, mut prices, mut worth, mut volume) = (0_i128, 0_i128, 0_i128, 0_i128);
        let late = self
            .prints
            .iter()
            .rev()
            .take_while(|print| print.at >= from);
        for print in late.filter(|print| print.is_primary) {
            if count == 0 {
                day.last = print.price;
                day.low = print.price;
            }
            day.high = day.high.max(print.price);
            day.low = day.low.min(print.price);
            count += 1;
            prices += i128::from(print.price.0);
            volume += i128::from(print.quantity.0);
            worth += i128::from(print.price.0) * i128::from(print.quantity.0);
        }
        if count == 0 {
            let price = self.last().map(|print| print.price);
            let price = price.or_else(|| self.middle()).unwrap_or_default();
            return Day {
                high: price,
                low: price,
                avg: price,
                vwap: price,
                vol: Quantity::ZERO,
                last: price,
            };
        }
        day.avg = Price(narrow(prices / count));
        day.vwap = if volume == 0 {
            day.avg
        } else {
            Price(narrow(worth / volume))
        };
        day.vol = Quantity(narrow(volume));
        day
    }

    /// Returns a trade of this market as it looks in a currency in which one unit of this
    /// market's costs `rate_ppm` millionths.
    pub(super) fn seen_in(print: Print, currency: Currency, rate_ppm: i64) -> Print {
        let price = i128::from(print.price.0) * i128::from(rate_ppm) / 1_000_000;
        Print {
            currency,
            price: Price(narrow(price).max(1)),
            is_primary: false,
            ..print
        }
    }

    pub(super) fn pair(&self) -> Pair {
        self.pair
    }
}

/// Returns how many millionths of one market's currency the other's costs, by their middles.
pub(super) fn rate_ppm(from: Price, to: Price) -> Option<i64> {
    if from.0 <= 0 {
        return None;
    }
    Some(narrow(i128::from(to.0) * 1_000_000 / i128::from(from.0)))
}

/// Returns what an amount costs, in the quote currency's integers, with all its digits.
pub(super) fn worth_text(price_int: i64, quantity: Quantity, sum: &mut i128) -> String {
    *sum += i128::from(price_int) * i128::from(quantity.0);
    let scale = i128::from(SCALE);
    let (whole, fraction) = (*sum / scale, *sum % scale);
    let fraction = format!("{fraction:08}");
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        whole.to_string()
    } else {
        format!("{whole}.{fraction}")
    }
}

fn narrow(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
