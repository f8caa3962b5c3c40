//! Paper orders: filled from displayed depth only, after the way to the venue, once.
//!
//! In paper mode no live order client exists; approved orders come here instead. What was taken
//! from a level stays taken until the venue changes that level.

use std::collections::BTreeMap;

use crate::model::instrument::Market;
use crate::model::market::{FeeIn, Rules, Side};
use crate::model::number::{Price, Quantity};
use crate::model::sealed::{Approved, LiveBook};
use crate::model::time::{Deadline, Span, Time};
use crate::model::trade::{Filled, OrderReport, VenueOrderState};

/// Paper orders on their way, and what earlier ones took.
#[derive(Clone, Debug, Default)]
pub struct Paper {
    on_the_way: Vec<(Time, Approved)>,
    taken: BTreeMap<(Market, Side, Price), Taken>,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    /// What the level displayed when it was taken from.
    displayed: Quantity,
    taken: Quantity,
}

impl Paper {
    /// Levels remembered; full forgets all, which only a market of that many changes can see.
    const TAKEN_MAX: usize = 4_096;

    /// Sends an order that reaches the venue after `way`.
    pub fn fire(&mut self, approved: Approved, now: Time, way: Span) {
        self.on_the_way.push((now + way, approved));
    }

    pub fn deadline(&self) -> Option<Deadline> {
        self.on_the_way
            .iter()
            .map(|(at, _)| *at)
            .min()
            .map(|at| Deadline {
                at,
                why: "paper order arrives",
            })
    }

    /// Returns one order that has arrived by `now`.
    pub fn poll_arrived(&mut self, now: Time) -> Option<Approved> {
        let at = self.on_the_way.iter().position(|(due, _)| *due <= now)?;
        Some(self.on_the_way.remove(at).1)
    }

    /// Fills an arrived order from the book; what it cannot take is cancelled at once. Without a
    /// book nothing is filled.
    pub fn fill(
        &mut self,
        approved: &Approved,
        book: Option<&LiveBook<'_>>,
        rules: &Rules,
    ) -> OrderReport {
        let order = approved.order();
        let mut filled = Filled::default();
        let takes = order.side.opposite();
        for level in book.into_iter().flat_map(|book| book.levels(takes)) {
            let left = order.quantity.less(filled.quantity);
            if !left.is_positive() || !order.side.accepts(order.limit, level.price) {
                break;
            }
            let step = self.take(order.market, takes, level.price, level.quantity, left);
            let total = match order.side {
                Side::Bid => level.price.total_ceil(step),
                Side::Ask => level.price.total_floor(step),
            };
            filled.quantity = filled.quantity.saturating_add(step);
            filled.total = filled.total.saturating_add(total);
        }
        let charged = match (rules.fee_in, order.side) {
            (FeeIn::Received, Side::Bid) => filled.quantity,
            (FeeIn::Received, Side::Ask) | (FeeIn::Quote, _) => filled.total,
        };
        filled.fee = charged.ppm_ceil(rules.taker_fee_ppm);
        OrderReport {
            id: Some(order.id),
            market: order.market,
            side: order.side,
            limit: order.limit,
            state: VenueOrderState::Closed,
            filled,
            remaining: Quantity::ZERO,
        }
    }

    fn take(
        &mut self,
        market: Market,
        side: Side,
        price: Price,
        displayed: Quantity,
        wanted: Quantity,
    ) -> Quantity {
        if self.taken.len() >= Self::TAKEN_MAX {
            self.taken.clear();
        }
        let entry = self.taken.entry((market, side, price)).or_insert(Taken {
            displayed,
            taken: Quantity::ZERO,
        });
        if entry.displayed != displayed {
            *entry = Taken {
                displayed,
                taken: Quantity::ZERO,
            };
        }
        let step = displayed.less(entry.taken).min(wanted);
        entry.taken = entry.taken.saturating_add(step);
        step
    }
}
