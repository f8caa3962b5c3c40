//! What an order asks for and what comes of it.

use crate::model::ids::{EnvelopeId, OrderId, PlanId};
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

/// A venue's own name for an order: a UUID, or a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VenueRef(pub u128);

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

/// Why a leg was not fired by the node beside the venue. Ordinals stand on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LegRefusal {
    /// No such envelope, or it is another peer's.
    NoEnvelope,
    EnvelopeExpired,
    /// Id, quantity, price or notional beyond the envelope.
    BeyondEnvelope,
    /// The book beside the venue is not live.
    BookNotLive,
    /// The price bound is not there any more.
    PriceGone,
    /// More than the owner allows in one order.
    OrderMax,
    /// The limit price is too far from the middle of the fresh books of its pair.
    Collar,
    /// More orders in a second than the owner or the venue allows.
    Throttle,
    /// Paused, reducing or halted.
    Switch,
    /// This id was never seen here; from this answer on it cannot be used.
    NeverSeen,
    /// The venue refused the order.
    Venue,
}

impl LegRefusal {
    pub const ALL: [Self; 11] = [
        Self::NoEnvelope,
        Self::EnvelopeExpired,
        Self::BeyondEnvelope,
        Self::BookNotLive,
        Self::PriceGone,
        Self::OrderMax,
        Self::Collar,
        Self::Throttle,
        Self::Switch,
        Self::NeverSeen,
        Self::Venue,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::NoEnvelope => "no_envelope",
            Self::EnvelopeExpired => "envelope_expired",
            Self::BeyondEnvelope => "beyond_envelope",
            Self::BookNotLive => "book_not_live",
            Self::PriceGone => "price_gone",
            Self::OrderMax => "order_max",
            Self::Collar => "price_collar",
            Self::Throttle => "throttled",
            Self::Switch => "switch",
            Self::NeverSeen => "never_seen",
            Self::Venue => "venue",
        }
    }
}

/// A right to fire orders at a venue, bought in advance: granted by the node beside the venue to
/// the one peer that may draw on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub envelope: EnvelopeId,
    pub market: Market,
    pub side: Side,
    /// Order ids from here on belong to the envelope.
    pub first: OrderId,
    pub orders: u16,
    /// Sum of the base quantities that may be ordered.
    pub quantity: Quantity,
    pub worst_price: Price,
    /// Sum of quantity × limit that may be ordered.
    pub notional: Quantity,
}

/// A draw on an envelope: one leg, to be fired at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    pub envelope: EnvelopeId,
    pub order: OrderId,
    pub plan: PlanId,
    pub quantity: Quantity,
    pub limit: Price,
    pub purpose: Purpose,
}

/// Why an order is fired; the kill switch treats both kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A leg of a new plan.
    Open,
    /// Brings filled legs back into balance.
    Recover,
}

/// How a leg stands, as the node beside its venue tells the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegReport {
    pub order: OrderId,
    pub plan: PlanId,
    pub market: Market,
    pub side: Side,
    pub limit: Price,
    pub filled: Filled,
    /// Nothing more will come of it.
    pub is_final: bool,
}
