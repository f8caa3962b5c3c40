//! Values that prove a check was made: each can be made in one folder only, which
//! `tests/architecture.rs` guards.

use crate::model::depth::{Depth, Levels};
use crate::model::ids::OrderId;
use crate::model::instrument::Market;
use crate::model::market::{Level, Side};
use crate::model::number::{Price, Quantity};
use crate::model::time::{Span, Time};

/// A book that may be traded on: live, fresh and not crossed. Made under `book/` only.
#[derive(Clone, Copy, Debug)]
pub struct LiveBook<'a> {
    pub market: Market,
    pub sequence: u64,
    bids: &'a Depth,
    asks: &'a Depth,
    pub received: Time,
    pub engine_lag: Span,
}

impl<'a> LiveBook<'a> {
    /// Seals a checked book.
    pub fn seal(
        market: Market,
        sequence: u64,
        bids: &'a Depth,
        asks: &'a Depth,
        received: Time,
        engine_lag: Span,
    ) -> Self {
        Self {
            market,
            sequence,
            bids,
            asks,
            received,
            engine_lag,
        }
    }

    /// Returns the levels of a side, best first.
    pub fn levels(&self, side: Side) -> Levels<'a> {
        self.depth(side).levels()
    }

    pub fn best(&self, side: Side) -> Option<Level> {
        self.depth(side).best()
    }

    fn depth(&self, side: Side) -> &'a Depth {
        match side {
            Side::Bid => self.bids,
            Side::Ask => self.asks,
        }
    }

    /// Returns the middle between best bid and best ask, where both stand.
    pub fn mid(&self) -> Option<Price> {
        let (bid, ask) = (self.best(Side::Bid)?, self.best(Side::Ask)?);
        Some(Price(bid.price.0 + (ask.price.0 - bid.price.0) / 2))
    }
}

/// An order that passed the one gate. Made under `risk/` only; nothing else reaches a venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approved {
    order: ApprovedOrder,
}

/// What the gate approved, to the last unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApprovedOrder {
    pub id: OrderId,
    pub market: Market,
    pub side: Side,
    pub quantity: Quantity,
    pub limit: Price,
}

impl Approved {
    /// Seals an order that the gate has checked and counted.
    pub fn seal(order: ApprovedOrder) -> Self {
        Self { order }
    }

    pub fn order(&self) -> ApprovedOrder {
        self.order
    }
}
