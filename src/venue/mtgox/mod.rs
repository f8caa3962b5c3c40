//! MtGox, 2011 to 2014: HTTP API in three versions, and a stream on WebSocket or socket.io 0.9.
//!
//! ```text
//! public   GET  /api/{0,1,2}/...   tickers, books (cached for 10 s), trades, lag
//! private  POST /api/{0,1,2}/...   Rest-Key, Rest-Sign: HMAC-SHA512 of the body (2: path NUL body)
//! stream   /mtgox, /, /socket.io/1  channels by UUID; signed calls in base64
//! ```
//! Numbers that count are integers in strings, `*_int`, with decimals by currency
//! ([`money`]). An order's id says only that it was queued: the engine sees it after the reply,
//! and its news come on the private stream.

mod access;
mod account;
mod answer;
mod calls;
mod engine;
mod front;
mod habits;
mod json;
mod ledger;
mod lodged;
mod message;
pub mod money;
mod names;
mod public;
mod queue;
mod routes;
pub mod server;
mod streams;
mod tape;
mod version0;

use crate::model::market::{FeeIn, Rules};
use crate::model::number::{Price, Quantity};
use crate::venue::serving::fault::Fault;

/// Requests of one key in a second, unless an operator says otherwise (modelled).
pub const REQUESTS_PER_S: u16 = 20;

/// What MtGox demanded and took: the fee is the base rate, before discounts for volume.
pub const RULES: Rules = Rules {
    tick: Price(1_000),
    lot: Quantity(1),
    quantity_min: Quantity(1_000_000),
    taker_fee_ppm: 6_000,
    fee_in: FeeIn::Received,
};

/// What a served MtGox can have.
pub const FAULTS: [Fault; 11] = [
    Fault::CrossTrades,
    Fault::Disconnects,
    Fault::Errors,
    Fault::InvalidCalls,
    Fault::Lag,
    Fault::LostFrames,
    Fault::LostReplies,
    Fault::ReorderedFrames,
    Fault::ReorderedReports,
    Fault::SlowCancel,
    Fault::TextErrors,
];
