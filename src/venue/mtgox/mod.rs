//! MtGox, 2011 to 2014: HTTP v1 and v2, streaming over a plain WebSocket and over socket.io.
//!
//! Books have no numbers and orders no names of ours; the engine may be minutes behind and says so.
//! What the venue calls an order is known from the answer to placing it; where that answer is lost,
//! the order is recognised by its market, side, price, time and an amount that no other open order
//! has.

pub mod feed;
mod lookup;
pub mod message;
pub mod mirror;
pub mod money;
pub mod order;
pub mod sign;

use crate::model::instrument::Pair;
use crate::model::market::{FeeIn, Rules};
use crate::model::number::{Price, Quantity};

/// What MtGox demands and takes in a market: prices in the smallest unit of the quote currency,
/// 0.01 BTC at least, 0.6 % of what is received.
pub fn rules(pair: Pair) -> Rules {
    Rules {
        tick: Price(money::step(pair.quote).0),
        lot: money::step(pair.base),
        quantity_min: Quantity(1_000_000),
        taker_fee_ppm: 6_000,
        fee_in: FeeIn::Received,
    }
}
