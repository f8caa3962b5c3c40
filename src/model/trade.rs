//! What an order asks for and what comes of it.

use crate::model::ids::OrderId;
use crate::model::instrument::Market;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};

/// One limit order as it leaves for a venue: takes what its limit allows; what rests is cancelled
/// when its leg's deadline comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderIntent {
    pub id: OrderId,
    pub market: Market,
    pub side: Side,
    pub quantity: Quantity,
    pub limit: Price,
}

/// The sum of an order's executions so far.
///
/// # Units
/// `quantity` in base, `total` in quote; `fee` in the currency the venue's rules name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    pub quantity: Quantity,
    pub total: Quantity,
    pub fee: Quantity,
}

impl Filled {
    pub fn plus(self, other: Self) -> Self {
        Self {
            quantity: self.quantity.saturating_add(other.quantity),
            total: self.total.saturating_add(other.total),
            fee: self.fee.saturating_add(other.fee),
        }
    }
}

/// Where an order stands, as its venue last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VenueOrderState {
    /// Accepted but not yet before the engine.
    Pending,
    /// Resting, perhaps partly filled.
    Open,
    /// Nothing of it rests any more: filled, or cancelled after what was filled.
    Closed,
    /// Never entered the book.
    Rejected,
}

/// A venue's account of one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderReport {
    /// The name our node gave it, or `None` where the venue keeps no such names.
    pub id: Option<OrderId>,
    pub market: Market,
    pub side: Side,
    pub limit: Price,
    pub state: VenueOrderState,
    pub filled: Filled,
    /// What still rests.
    pub remaining: Quantity,
}
