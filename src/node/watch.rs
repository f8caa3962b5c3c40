//! Live spreads of every pair, net of costs, and why nothing is fired.

use crate::arbitrage::walk::{Caps, NoTrade};
use crate::model::instrument::Market;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::time::Time;
use crate::node::report::{SCHEMA, Spread, Watch};
use crate::node::{Node, Phase};

impl Node {
    pub(super) fn watch(&self, now: Time) -> Watch {
        let mut spreads = Vec::new();
        for buy in self.books.keys() {
            let others = self.books.keys();
            for sell in others.filter(|sell| sell.pair == buy.pair && sell.venue != buy.venue) {
                spreads.push(self.spread(*buy, *sell, now));
            }
        }
        Watch {
            schema: SCHEMA,
            spreads,
        }
    }

    fn spread(&self, buy: Market, sell: Market, now: Time) -> Spread {
        let mut spread = Spread {
            pair: buy.pair.to_string(),
            buy_venue: buy.venue.to_string(),
            sell_venue: sell.venue.to_string(),
            gross_ppm: 0,
            net_ppm: 0,
            quantity: Quantity::ZERO.to_string(),
            verdict: "book_not_live".to_owned(),
        };
        let Some(sides) = self.sides(buy, sell, now) else {
            if let Some(why) = self.why_not_live(buy, sell, now) {
                why.clone_into(&mut spread.verdict);
            }
            return spread;
        };
        let (Some(ask), Some(bid)) = (sides.buy.best(Side::Ask), sides.sell.best(Side::Bid)) else {
            "one_sided".clone_into(&mut spread.verdict);
            return spread;
        };
        spread.gross_ppm = gross_ppm(ask.price, bid.price);
        spread.net_ppm = sides.costs.net_ppm(ask.price, bid.price);
        let caps = self.in_flight_caps(buy, sell);
        let whole = sides.walk(&caps);
        let verdict = match whole {
            Ok(whole) => {
                spread.quantity = whole.quantity.to_string();
                match self.judge(&whole, &sides, &caps, now) {
                    Ok(_) if self.phase == Phase::Closing => "stopping",
                    Ok(_) if self.phase != Phase::Running => "reconciling",
                    Ok(_) if !self.is_beside(buy, sell) => "not_beside",
                    Ok(_) => "fire",
                    Err(why) => why,
                }
            }
            Err(NoTrade::BelowEdge) => "below_edge",
            Err(NoTrade::TooSmall(_)) => "below_minimum",
        };
        verdict.clone_into(&mut spread.verdict);
        spread
    }

    /// The node whose own book changed leads; one without a book of its own never does.
    fn is_beside(&self, buy: Market, sell: Market) -> bool {
        [buy, sell].iter().any(|market| {
            let state = self.books.get(market);
            state.is_some_and(|state| state.holder.is_none())
        })
    }

    /// Returns caps of what orders in flight will take from both books.
    pub(super) fn in_flight_caps(&self, buy: Market, sell: Market) -> Caps {
        Caps {
            buy_in_flight: self.in_flight(buy, Side::Ask),
            sell_in_flight: self.in_flight(sell, Side::Bid),
            ..Caps::NONE
        }
    }
}

fn gross_ppm(ask: Price, bid: Price) -> i64 {
    let left = (i128::from(bid.0) - i128::from(ask.0)) * 1_000_000;
    i64::try_from(left / i128::from(ask.0.max(1))).unwrap_or(i64::MAX)
}
