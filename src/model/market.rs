//! What a venue says of its market: levels, updates, rules and fees.

use crate::model::instrument::Market;
use crate::model::number::{Price, Quantity};
use crate::model::time::{Span, Time};

/// The two sides of a book, and of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Somebody wants to buy.
    Bid,
    /// Somebody wants to sell.
    Ask,
}

impl Side {
    pub const fn opposite(self) -> Self {
        match self {
            Self::Bid => Self::Ask,
            Self::Ask => Self::Bid,
        }
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Bid => "bid",
            Self::Ask => "ask",
        }
    }

    /// Returns true where `price` is at least as good as `limit` for an order of this side.
    pub fn accepts(self, limit: Price, price: Price) -> bool {
        match self {
            Self::Bid => price <= limit,
            Self::Ask => price >= limit,
        }
    }
}

/// A price with the quantity that stands there. In an update, quantity zero removes the level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    pub price: Price,
    pub quantity: Quantity,
}

/// How an update relates to what was known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateKind {
    /// The whole book, or as much of it as the venue shows.
    Snapshot,
    /// New totals of single levels, following directly on `previous`.
    Delta { previous: u64 },
}

/// Levels of one market, absolute, as one venue frame states them.
///
/// # Units
/// Prices and quantities at 1e-8. `sequence` counts the venue's updates of this market.
#[derive(Clone, Copy, Debug)]
pub struct BookUpdate<'a> {
    pub market: Market,
    pub kind: UpdateKind,
    pub sequence: u64,
    pub bids: &'a [Level],
    pub asks: &'a [Level],
    /// The venue's clock, or the receive time where it gives none.
    pub venue_time: Time,
    /// How far the venue's engine runs behind, where it says so.
    pub engine_lag: Span,
}

impl<'a> BookUpdate<'a> {
    /// Makes an update of a venue that says nothing of its engine; levels of bids and of asks.
    pub fn new(
        market: Market,
        kind: UpdateKind,
        sequence: u64,
        [bids, asks]: [&'a [Level]; 2],
        venue_time: Time,
    ) -> Self {
        Self {
            market,
            kind,
            sequence,
            bids,
            asks,
            venue_time,
            engine_lag: Span::ZERO,
        }
    }

    /// Makes an update that does not follow on any other: whoever keeps the book sees that one is
    /// missing. The next sequence is two above `sequence`.
    pub fn gap(market: Market, sequence: u64, venue_time: Time) -> Self {
        let previous = sequence + 1;
        let kind = UpdateKind::Delta { previous };
        Self::new(market, kind, sequence + 2, [&[], &[]], venue_time)
    }
}

/// What a venue demands of an order and takes for it. A versioned fact of the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub tick: Price,
    pub lot: Quantity,
    pub quantity_min: Quantity,
    pub taker_fee_ppm: u32,
    /// Which currency the fee is taken in.
    pub fee_in: FeeIn,
}

/// The currency a venue takes its fee in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeeIn {
    /// In whatever the order receives: base for a buyer, quote for a seller.
    Received,
    /// Always in the quote currency.
    Quote,
}

impl Rules {
    /// Rounds a limit price to the tick, never to the worse for the order's owner.
    pub fn limit_on_tick(&self, side: Side, price: Price) -> Price {
        if self.tick.0 <= 1 {
            return price;
        }
        let below = price.0 - price.0.rem_euclid(self.tick.0);
        match side {
            Side::Bid => Price(below),
            Side::Ask if below < price.0 => Price(below.saturating_add(self.tick.0)),
            Side::Ask => Price(below),
        }
    }
}
