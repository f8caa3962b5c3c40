//! Live books to opportunities: the exact walk of two ladders, net of every cost.

pub mod bests;
pub mod walk;

use crate::arbitrage::bests::Bounds;
use crate::model::currency::Currency;
use crate::model::instrument::{Market, VenueId};
use crate::model::market::{FeeIn, Rules};
use crate::model::number::Price;
use crate::model::time::Span;

/// What the owner says about when a spread is worth taking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What must be left of the notional after fees, friction and drift.
    pub edge_min_ppm: u32,
    /// How far a market is expected to run away per second of book age, engine lag and leg time.
    pub drift_ppm_per_s: u32,
    /// What a currency at a venue is worth less than elsewhere: withdrawal cost, delay, doubt.
    pub frictions: Vec<Friction>,
}

/// A haircut on one currency at one venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Friction {
    pub venue: VenueId,
    pub currency: Currency,
    pub ppm: u32,
}

/// What stands between a gross spread and money, in parts per million of each side's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// One unit bought costs this share of its ask.
    pub buy_ppm: i64,
    /// One unit sold brings this share of its bid.
    pub sell_ppm: i64,
}

impl Settings {
    /// Sums up the costs of buying at one market and selling at the other, `delay` after both
    /// books were true.
    pub fn costs(&self, buy: (Market, &Rules), sell: (Market, &Rules), delay: Span) -> Costs {
        let drift = u64::from(self.drift_ppm_per_s).saturating_mul(delay.as_micros()) / 1_000_000;
        let (buy_market, buy_rules) = buy;
        let (sell_market, sell_rules) = sell;
        let buying = self.bounds(buy_market, buy_rules);
        let mut costs = Costs {
            buy_ppm: buying.buy_ppm + i64::try_from(drift).unwrap_or(i64::MAX / 4),
            sell_ppm: self.bounds(sell_market, sell_rules).sell_ppm,
        };
        if buy_rules.fee_in == FeeIn::Received {
            // The coins that are missing would have been sold over there.
            costs.sell_ppm -= i64::from(buy_rules.taker_fee_ppm);
        }
        costs
    }

    /// Returns the costs of a market whatever the other one is: those of a trade are never less.
    pub fn bounds(&self, market: Market, rules: &Rules) -> Bounds {
        let mut bounds = Bounds {
            buy_ppm: 1_000_000 + i64::from(self.edge_min_ppm),
            sell_ppm: 1_000_000 - i64::from(rules.taker_fee_ppm),
        };
        bounds.buy_ppm += self.friction(market.venue, market.pair.base);
        bounds.sell_ppm -= self.friction(market.venue, market.pair.quote);
        if rules.fee_in == FeeIn::Quote {
            bounds.buy_ppm += i64::from(rules.taker_fee_ppm);
        }
        bounds
    }

    fn friction(&self, venue: VenueId, currency: Currency) -> i64 {
        self.frictions
            .iter()
            .filter(|friction| friction.venue == venue && friction.currency == currency)
            .map(|friction| i64::from(friction.ppm))
            .sum()
    }
}

impl Costs {
    /// Returns true where a unit bought at `ask` and sold at `bid` leaves more than it costs.
    pub fn pays(&self, ask: Price, bid: Price) -> bool {
        i128::from(bid.0) * i128::from(self.sell_ppm) > i128::from(ask.0) * i128::from(self.buy_ppm)
    }

    /// Returns what is left in parts per million of the ask, negative where nothing is.
    pub fn net_ppm(&self, ask: Price, bid: Price) -> i64 {
        if ask.0 <= 0 {
            return 0;
        }
        let left = i128::from(bid.0) * i128::from(self.sell_ppm)
            - i128::from(ask.0) * i128::from(self.buy_ppm);
        i64::try_from(left / i128::from(ask.0)).unwrap_or(i64::MAX)
    }

    /// Returns the price at which giving a unit away pays for buying it again at `ask`.
    pub fn break_even(&self, ask: Price) -> Price {
        ask.moved_ppm_ceil(self.buy_ppm - 1_000_000)
    }
}
