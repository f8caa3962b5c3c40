//! The one gate that every order passes: limits, collar, throttle, kill switch, envelopes.

pub mod envelope;
pub mod gate;

use crate::model::currency::Currency;
use crate::model::instrument::{Pair, VenueId};
use crate::model::market::Side;
use crate::model::number::Quantity;
use crate::model::time::Span;

/// What the owner allows. A limit that is not set allows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Largest single order, by base currency.
    pub order_quantity_max: Vec<(Currency, Quantity)>,
    /// Largest sum bought or sold a UTC day at one venue, by base currency.
    pub venue_day_max: Vec<VenueDayLimit>,
    /// Largest notional a UTC day of one pair over all venues, in its quote currency.
    pub pair_day_notional_max: Vec<(Pair, Quantity)>,
    /// Largest notional a UTC day over all pairs, by quote currency.
    pub day_notional_max: Vec<(Currency, Quantity)>,
    /// Largest loss a UTC day before the switch goes to `Reduce`, by quote currency.
    pub day_loss_max: Vec<(Currency, Quantity)>,
    /// Largest imbalance between filled legs, by base currency.
    pub exposure_max: Vec<(Currency, Quantity)>,
    /// An order further than this from a fresh reference is refused; so is one without reference.
    pub collar_ppm: u32,
    /// How long an envelope may be drawn on.
    pub envelope_ttl: Span,
    /// How far beyond the best price an envelope reaches.
    pub envelope_reach_ppm: u32,
    /// Orders a venue gets in a second; cancels have a reserve of their own.
    pub orders_per_s: u16,
    pub book_age_max: Span,
    pub engine_lag_max: Span,
}

/// How much may be bought or sold at one venue in a UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VenueDayLimit {
    pub venue: VenueId,
    pub side: Side,
    pub currency: Currency,
    pub quantity: Quantity,
}

/// The kill switch. Cancels are allowed in every position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Switch {
    /// Everything within limits is allowed.
    Active,
    /// No new plans; open ones run to their end.
    Pause,
    /// Only orders that reduce exposure.
    Reduce,
    /// Nothing but cancels.
    Halt,
}

impl Switch {
    pub const ALL: [Self; 4] = [Self::Active, Self::Pause, Self::Reduce, Self::Halt];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pause => "pause",
            Self::Reduce => "reduce",
            Self::Halt => "halt",
        }
    }

    pub const fn ordinal(self) -> u8 {
        match self {
            Self::Active => 1,
            Self::Pause => 2,
            Self::Reduce => 3,
            Self::Halt => 4,
        }
    }

    pub fn from_ordinal(ordinal: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|switch| switch.ordinal() == ordinal)
    }
}
