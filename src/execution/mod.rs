//! Legs across nodes, from fire to a known end; recovery of single legs; transfers.

pub mod funds;
pub mod order;
pub mod paper;
pub mod plan;

use crate::model::currency::Currency;
use crate::model::instrument::Location;
use crate::model::number::Quantity;
use crate::model::time::Span;

/// What the owner says about how legs end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a leg may rest before what is left of it is cancelled.
    pub leg_deadline: Span,
    /// How long a venue or a peer may be silent about an order before it is `unknown`.
    pub unknown_after: Span,
    /// How far from the planned price a hedge or an unwind may go.
    pub recovery_reach_ppm: u32,
    /// How long recovery may take before the rest is held and the owner told.
    pub recovery_deadline: Span,
    /// Added to a paper fill: the measured way to the venue and back, at least this.
    pub paper_latency_min: Span,
    pub transfers: Vec<TransferRoute>,
    /// Buy more than can be sold beside it while a window is open, to offer it to others.
    pub acquire_for_offers: bool,
}

/// A way to move money between locations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferRoute {
    pub currency: Currency,
    pub from: Location,
    pub to: Location,
    pub takes: Span,
    /// Taken from what is moved.
    pub cost: Quantity,
}
