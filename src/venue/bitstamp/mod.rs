//! Bitstamp's public market data, version 2: watched only.
//!
//! ```text
//! stream  wss://ws.bitstamp.net             diff_order_book_btcusd: new totals of single levels
//!                                           order_book_btcusd: the best hundred levels, whole
//! book    https://www.bitstamp.net          /api/v2/order_book/btcusd/?group=1
//! ```
//! Prices and quantities are decimals in strings, quantity zero removes a level, times are
//! microseconds since 1970. Nothing numbers the changes: `microtimestamp` only grows.

pub mod dialect;
pub mod feed;
pub mod record;
pub mod shape;
mod template;
#[cfg(test)]
mod tests;
mod tolerant;

use crate::venue::names::Names;

/// What a frame of a book says besides its levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stated {
    /// The market's place in the feed's list.
    pub market: usize,
    pub channel: Channel,
    /// When the exchange made it, in microseconds since 1970.
    pub micros: u64,
}

/// The channels that carry books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// `diff_order_book`: new totals of single levels.
    Changes,
    /// `order_book`: the best hundred levels of both sides, each time whole.
    Whole,
}

impl Channel {
    const CHANGES: &str = "diff_order_book_";
    const WHOLE: &str = "order_book_";

    /// Finds channel and market by the whole name of a channel.
    fn find(name: &[u8], names: &Names) -> Option<(Self, usize)> {
        let (channel, market) = match name.strip_prefix(Self::CHANGES.as_bytes()) {
            Some(market) => (Self::Changes, market),
            None => (Self::Whole, name.strip_prefix(Self::WHOLE.as_bytes())?),
        };
        Some((channel, names.find_name(market)?))
    }
}
