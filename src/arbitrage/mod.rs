//! Live books to opportunities: the exact walk of two ladders, net of every cost.

use crate::model::currency::Currency;
use crate::model::instrument::VenueId;
use crate::model::time::Span;

/// What the owner says about when a spread is worth taking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What must be left of the notional after fees, friction and drift.
    pub edge_min_ppm: u32,
    /// How far a market is expected to run away per second of book age, engine lag and leg time.
    pub drift_ppm_per_s: u32,
    /// What a currency at a venue is worth less than elsewhere: withdrawal cost, delay, doubt.
    pub frictions: Vec<Friction>,
}

/// A haircut on one currency at one venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Friction {
    pub venue: VenueId,
    pub currency: Currency,
    pub ppm: u32,
}

/// Limits on what a book may be to be traded on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    pub book_age_max: Span,
    pub engine_lag_max: Span,
}
