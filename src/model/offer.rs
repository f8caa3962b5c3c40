//! Offers and matches as values; how they are written stands in `grammar`.

use crate::model::currency::{Currency, Method, Methods};
use crate::model::ids::{NodeId, OfferId};
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
