//! Offers and matches as values; how they are written stands in `grammar`.

use crate::model::currency::{Currency, Method, Methods};
use crate::model::ids::{MatchId, NodeId, OfferId, OwnerId};
use crate::model::number::{Price, Quantity};
use crate::model::time::Time;

/// What an offer asks per unit given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asking {
    /// Best offer: whoever answers names the price.
    Best,
    /// At least this much of the wanted currency per unit.
    AtLeast(Price),
}

/// The public part of an offer: amount and asset given, currency wanted, asking price, methods in
/// order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub quantity: Quantity,
    pub give: Currency,
    pub want: Currency,
    pub asking: Asking,
    pub methods: Methods,
}

/// An offer as its origin keeps it, private terms included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub id: OfferId,
    pub origin: NodeId,
    pub line: Line,
    /// Nothing below this is accepted; never sent.
    pub reserve: Price,
    pub part_min: Quantity,
    pub expires: Time,
    /// The currency whose imbalance from broken legs this offer is to cover, if it is for that.
    pub covers: Option<Currency>,
}

impl Offer {
    /// Returns what the imbalance of the covered currency changes by, in signed units, once
    /// `filled` was given and `received` came in.
    pub fn covered(&self, filled: Quantity, received: Quantity) -> Option<(Currency, i64)> {
        let base = self.covers?;
        let units = if base == self.line.give {
            -filled.0
        } else {
            received.0
        };
        Some((base, units))
    }
}

/// What one node takes of an offer: quantity and total are the truth, a price is how they print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub quantity: Quantity,
    /// What the matcher pays for all of it, in the wanted currency.
    pub total: Quantity,
    pub method: Method,
}

impl Part {
    /// Returns total ÷ quantity, rounded down to 1e-8.
    pub fn price(&self) -> Price {
        Price::of_total(self.total, self.quantity).unwrap_or(Price::ZERO)
    }

    /// Returns the part that remains when only `quantity` of it is taken; the total shrinks in
    /// proportion, rounded up, so that the offerer is never paid less per unit.
    pub fn shrunk_to(&self, quantity: Quantity) -> Self {
        if quantity >= self.quantity || self.quantity.0 <= 0 {
            return *self;
        }
        let product = i128::from(self.total.0) * i128::from(quantity.0);
        let total = -(-product).div_euclid(i128::from(self.quantity.0));
        Self {
            quantity,
            total: Quantity(i64::try_from(total).unwrap_or(self.total.0)),
            method: self.method,
        }
    }
}

/// An offer on its way to those who may answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    pub offer: OfferId,
    pub origin: NodeId,
    /// Nodes of this owner do not answer: nobody matches with themself.
    pub owner: OwnerId,
    /// The line with what is still open.
    pub line: Line,
    pub part_min: Quantity,
    /// Times this ask may be handed on to further nodes.
    pub hops: u8,
}

/// Why a node does not answer an offer. Ordinals stand on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoAnswer {
    /// The asker is of the same owner.
    SameOwner,
    /// No rule for these currencies.
    NoRule,
    /// No method in common.
    NoMethod,
    /// The offer is below the rule's threshold.
    BelowThreshold,
    /// The price asked is above what the rule pays.
    Price,
    /// The book that the price follows is not live.
    StalePrice,
    /// Nothing free to pay with.
    Funds,
    /// What could be taken is below the smallest part.
    BelowPart,
    /// Waits for the owner's word.
    NeedsApproval,
    /// Answered already by another route.
    AnsweredAlready,
    /// Too many holds are open.
    Full,
    /// Paused or halted.
    Switch,
}

impl NoAnswer {
    pub const ALL: [Self; 12] = [
        Self::SameOwner,
        Self::NoRule,
        Self::NoMethod,
        Self::BelowThreshold,
        Self::Price,
        Self::StalePrice,
        Self::Funds,
        Self::BelowPart,
        Self::NeedsApproval,
        Self::AnsweredAlready,
        Self::Full,
        Self::Switch,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::SameOwner => "same_owner",
            Self::NoRule => "no_rule",
            Self::NoMethod => "no_method",
            Self::BelowThreshold => "below_threshold",
            Self::Price => "price",
            Self::StalePrice => "stale_price",
            Self::Funds => "funds",
            Self::BelowPart => "below_part",
            Self::NeedsApproval => "needs_approval",
            Self::AnsweredAlready => "answered_already",
            Self::Full => "full",
            Self::Switch => "switch",
        }
    }
}

/// Conservation of one plan or offer, in the currency it gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub planned: Quantity,
    pub filled: Quantity,
    /// With own legs in flight, or on offer.
    pub offered: Quantity,
    pub released: Quantity,
}

impl Tally {
    pub fn is_conserved(&self) -> bool {
        let sum = self.filled.0.checked_add(self.offered.0);
        sum.and_then(|sum| sum.checked_add(self.released.0)) == Some(self.planned.0)
            && self.filled.0 >= 0
            && self.offered.0 >= 0
            && self.released.0 >= 0
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            planned: self.planned.saturating_add(other.planned),
            filled: self.filled.saturating_add(other.filled),
            offered: self.offered.saturating_add(other.offered),
            released: self.released.saturating_add(other.released),
        }
    }
}

/// A confirmed aggregate as the journal keeps it: whom to tell when the origin seals or releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub offer: OfferId,
    pub upstream: NodeId,
    pub id: MatchId,
    pub part: Part,
    pub own: Option<MatchId>,
    pub members: Vec<(NodeId, MatchId)>,
}
