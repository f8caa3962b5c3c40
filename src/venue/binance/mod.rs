//! Binance's public market data, spot and futures: watched only. Binance.US speaks the same.
//!
//! ```text
//! stream  wss://stream.binance.com:9443/stream   btcusdt@depth@100ms: new totals of single levels
//! book    https://api.binance.com                /api/v3/depth?symbol=BTCUSDT&limit=1000
//! futures wss://fstream.binance.com/stream       https://fapi.binance.com   /fapi/v1/depth
//! ```
//! Prices and quantities are decimals in strings, quantity zero removes a level, times are
//! milliseconds since 1970. Every change says which numbers it spans; in futures also the number
//! that the one before ended with.

pub mod dialect;
pub mod feed;
pub mod record;
pub mod shape;
mod template;
#[cfg(test)]
mod tests;
mod tolerant;

use crate::venue::names::Names;

/// What is traded, which decides how changes follow on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trading {
    /// A change begins one above the number that the one before ended with.
    Spot,
    /// A change names the number that the one before ended with.
    Futures,
}

/// What a change says besides its levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stated {
    /// The market's place in the feed's list.
    pub market: usize,
    /// The number that the change before it ended with.
    pub previous: u64,
    pub last: u64,
    /// When the exchange sent it, in milliseconds since 1970.
    pub millis: u64,
}

/// The numbers of a change: first (`U`), last (`u`), and in futures the one before (`pu`).
type Numbers = (u64, u64, Option<u64>);

impl Trading {
    /// Returns the number before a change and its last one, where they can be such.
    fn span(self, (first, last, before): Numbers) -> Option<(u64, u64)> {
        let previous = match (self, before) {
            (Self::Spot, None) => first.checked_sub(1)?,
            (Self::Futures, Some(before)) => before,
            (Self::Spot, Some(_)) | (Self::Futures, None) => return None,
        };
        (previous < last && first <= last).then_some((previous, last))
    }
}

/// The markets by both of the names that frames call them.
#[derive(Clone, Debug)]
pub struct Symbols {
    /// As `btcusdt`, in the name of the stream.
    streams: Names,
    /// As `BTCUSDT`.
    symbols: Names,
}

impl Symbols {
    /// Takes the symbols in capitals.
    pub fn new(symbols: &[String]) -> Self {
        let streams = symbols.iter().map(|symbol| symbol.to_lowercase());
        Self {
            streams: Names::new(streams, b'@'),
            symbols: Names::new(symbols.iter().cloned(), b'"'),
        }
    }
}
