//! Coinbase: two dialects of one exchange, books only.
//!
//! ```text
//! coinbase          wss://advanced-trade-ws.coinbase.com     level2 ▶ l2_data, sequence_num a connection
//! coinbaseexchange  wss://ws-feed.exchange.coinbase.com      level2_batch ▶ snapshot, l2update; ticker
//! ```
//! Prices and sizes are decimal strings, sizes absolute, zero removes a level. Advanced Trade counts
//! all frames of a connection, so one that is missing may have been of any market. The Exchange counts
//! nothing here: its ticker says what the best prices are, and a book that goes on saying otherwise
//! has lost something.
//!
//! Source: the exchange's documentation of both feeds, read 2026-11-23.

pub mod dialect;
pub mod event;
pub mod feed;
pub mod record;
pub mod shape;
pub mod template;
pub mod tolerant;
pub mod top;
