//! What this node's accounts hold, as far as it knows.

use std::collections::BTreeMap;

use crate::model::currency::Currency;
use crate::model::instrument::{Instrument, Location, Market};
use crate::model::market::{FeeIn, Side};
use crate::model::number::Quantity;
use crate::model::trade::Filled;

/// Free money by instrument. A venue's answer overrules what was reckoned from fills.
#[derive(Clone, Debug, Default)]
pub struct Funds {
    free: BTreeMap<Instrument, Quantity>,
}

impl Funds {
    pub fn free(&self, instrument: Instrument) -> Quantity {
        self.free.get(&instrument).copied().unwrap_or_default()
    }

    pub fn set(&mut self, instrument: Instrument, free: Quantity) {
        self.free.insert(instrument, free);
    }

    pub fn add(&mut self, instrument: Instrument, amount: Quantity) {
        let free = self.free.entry(instrument).or_default();
        *free = free.saturating_add(amount);
    }

    pub fn take(&mut self, instrument: Instrument, amount: Quantity) {
        let free = self.free.entry(instrument).or_default();
        *free = free.saturating_sub(amount);
    }

    /// Books an execution: what was paid goes, what was received comes, the fee is gone.
    pub fn handle_fill(&mut self, market: Market, side: Side, filled: &Filled, fee_in: FeeIn) {
        let (paid, received) = match side {
            Side::Bid => (
                (market.quote(), filled.total),
                (market.base(), filled.quantity),
            ),
            Side::Ask => (
                (market.base(), filled.quantity),
                (market.quote(), filled.total),
            ),
        };
        self.take(paid.0, paid.1);
        self.add(received.0, received.1);
        match fee_in {
            FeeIn::Received => self.take(received.0, filled.fee),
            FeeIn::Quote => self.take(market.quote(), filled.fee),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (Instrument, Quantity)> + '_ {
        self.free.iter().map(|(at, free)| (*at, *free))
    }

    /// Sums a currency over the places a test names.
    pub fn sum(&self, currency: Currency, counts: impl Fn(Location) -> bool) -> Quantity {
        self.free
            .iter()
            .filter(|(at, _)| at.currency == currency && counts(at.at))
            .fold(Quantity::ZERO, |sum, (_, free)| sum.saturating_add(*free))
    }
}
