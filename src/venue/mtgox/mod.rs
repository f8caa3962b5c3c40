//! MtGox, 2011 to 2014: HTTP API in three versions, and a stream on WebSocket or socket.io 0.9.
//!
//! ```text
//! public   GET  /api/{0,1,2}/...   tickers, books (cached for 10 s), trades, lag
//! private  POST /api/{0,1,2}/...   Rest-Key, Rest-Sign: HMAC-SHA512 of the body (2: path NUL body)
//! stream   /mtgox, /, /socket.io/1  channels by UUID; signed calls in base64
//! ```
//! Numbers that count are integers in strings, `*_int`, with decimals by currency
//! ([`money`]). An order's id says only that it was queued: the engine sees it after the reply,
//! and its news come on the private stream. Where the answer that names an order is lost, the order
//! is recognised by its market, side, price, time and an amount that no other open order has.

mod access;
mod account;
mod answer;
mod calls;
pub mod dialect;
mod engine;
pub mod feed;
mod front;
mod habits;
mod json;
mod ledger;
mod lodged;
mod lookup;
mod message;
pub mod mirror;
pub mod money;
mod names;
pub mod order;
mod private;
mod public;
mod queue;
pub mod record;
mod routes;
pub mod server;
pub mod shape;
pub mod sign;
mod streams;
mod tape;
mod version0;

use crate::venue::serving::fault::Fault;

/// Requests of one key in a second, unless an operator says otherwise (modelled).
pub const REQUESTS_PER_S: u16 = 20;

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
