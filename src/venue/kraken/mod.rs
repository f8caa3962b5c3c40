//! Kraken: books of the WebSocket API v2, every one checked by the exchange's own sum.
//!
//! ```text
//! wss://ws.kraken.com/v2   {"channel":"book","type":"snapshot"|"update","data":[{..,"checksum":u32}]}
//! ```
//! Prices and quantities are JSON numbers printed with every digit of their market, trailing zeros
//! included, and the sum is taken over those digits. So each level keeps what was printed beside its
//! value. There is no sequence: a sum that differs is the only sign that something was lost.
//!
//! Frames of v1 are read too, for recordings: there numbers are strings and BTC is `XBT`.
//!
//! Source: the exchange's documentation of its WebSocket API v2 and v1, read 2026-11-23.

pub mod change;
pub mod depth;
pub mod dialect;
pub mod feed;
pub mod record;
pub mod shape;
pub mod template;
pub mod tolerant;
mod version1;
