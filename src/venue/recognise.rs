//! Which orders of a venue are ours, where it keeps none of our names and the answer that told its
//! own name was lost.
//!
//! An order is recognised by its market, side and limit and by its amount, which no other open
//! order of ours there has. Two orders that may be it, and nobody decides but the owner.

use crate::model::ids::OrderId;
use crate::model::instrument::Market;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::trade::{OrderIntent, VenueRef};

/// An order that the venue shows and that is nobody's yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray {
    pub reference: VenueRef,
    pub market: Market,
    pub side: Side,
    /// Its limit, where the venue shows it.
    pub limit: Option<Price>,
    /// What rests of it; `None` where it does not rest any more.
    pub resting: Option<Quantity>,
    pub traded: Quantity,
}

/// What was found out about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is this one of the venue.
    Is(OrderId, VenueRef),
    /// It may be more than one.
    Ambiguous(OrderId),
}

impl Stray {
    pub fn may_be(&self, intent: &OrderIntent) -> bool {
        let is_there = self.market == intent.market && self.side == intent.side;
        let fits = self
            .limit
            .is_none_or(|limit| limit == intent.limit || intent.quantity.is_zero());
        is_there && fits
    }

    fn is_whole(&self, intent: &OrderIntent) -> bool {
        let whole = self.resting.unwrap_or_default().saturating_add(self.traded);
        whole == intent.quantity
    }

    /// Part of it was traded and the rest cancelled.
    fn is_part(&self, intent: &OrderIntent) -> bool {
        self.resting.is_none() && self.traded < intent.quantity
    }
}

/// Finds the orders in question among those that are nobody's.
///
/// 1. The amount decides: what rests and what was traded are together what was ordered.
/// 2. What was cancelled in part by an earlier run has lost its amount: where one such order and one
///    such question are left in a market and side, they belong together.
/// 3. What is left belongs to the questions that know no amount, which are alike.
pub fn recognise(about: &[OrderIntent], strays: &[Stray]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut left: Vec<&Stray> = strays.iter().collect();
    let mut open: Vec<&OrderIntent> = Vec::new();
    for intent in about.iter().filter(|intent| !intent.quantity.is_zero()) {
        let mut fits = left
            .iter()
            .filter(|stray| stray.may_be(intent) && stray.is_whole(intent));
        match (fits.next().copied(), fits.next()) {
            (Some(stray), None) => {
                found.push(Found::Is(intent.id, stray.reference));
                left.retain(|other| other.reference != stray.reference);
            }
            (Some(_), Some(_)) => found.push(Found::Ambiguous(intent.id)),
            (None, _) => open.push(intent),
        }
    }
    for intent in &open {
        let rivals = open
            .iter()
            .filter(|other| other.market == intent.market && other.side == intent.side);
        let mut fits = left
            .iter()
            .filter(|stray| stray.may_be(intent) && stray.is_part(intent));
        match (fits.next().copied(), fits.next(), rivals.count()) {
            (None, ..) => (),
            (Some(stray), None, 1) => {
                found.push(Found::Is(intent.id, stray.reference));
                left.retain(|other| other.reference != stray.reference);
            }
            (Some(_), ..) => found.push(Found::Ambiguous(intent.id)),
        }
    }
    for intent in about.iter().filter(|intent| intent.quantity.is_zero()) {
        let fits = left.iter().position(|stray| stray.may_be(intent));
        if let Some(at) = fits {
            found.push(Found::Is(intent.id, left.remove(at).reference));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn market() -> Market {
        Market {
            venue: "a".parse().unwrap(),
            pair: "BTC/USD".parse().unwrap(),
        }
    }

    fn intent(id: u64, quantity: i64) -> OrderIntent {
        OrderIntent {
            id: OrderId(id),
            market: market(),
            side: Side::Bid,
            quantity: Quantity(quantity),
            limit: Price(100),
        }
    }

    fn stray(reference: u128, resting: Option<i64>, traded: i64) -> Stray {
        Stray {
            reference: VenueRef(reference),
            market: market(),
            side: Side::Bid,
            limit: None,
            resting: resting.map(Quantity),
            traded: Quantity(traded),
        }
    }

    fn is(id: u64, reference: u128) -> Found {
        Found::Is(OrderId(id), VenueRef(reference))
    }

    #[test]
    fn the_amount_tells_orders_apart() {
        let about = [intent(1, 500), intent(2, 499), intent(3, 498)];
        let strays = [stray(7, Some(99), 400), stray(8, None, 500)];
        assert_eq!(recognise(&about, &strays), [is(1, 8), is(2, 7)]);
    }

    #[test]
    fn two_that_may_be_it_are_left_to_the_owner() {
        let strays = [stray(7, Some(500), 0), stray(8, None, 500)];
        let found = recognise(&[intent(1, 500)], &strays);
        assert_eq!(found, [Found::Ambiguous(OrderId(1))]);
        let parts = [stray(7, None, 200), stray(8, None, 300)];
        let found = recognise(&[intent(1, 500)], &parts);
        assert_eq!(found, [Found::Ambiguous(OrderId(1))]);
        let rivals = [intent(1, 500), intent(2, 600)];
        let found = recognise(&rivals, &parts[..1]);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|one| matches!(one, Found::Ambiguous(_))));
    }

    #[test]
    fn a_cancelled_part_belongs_to_the_only_question_left() {
        let about = [intent(1, 500), intent(2, 499)];
        let strays = [stray(7, None, 500), stray(8, None, 20)];
        assert_eq!(recognise(&about, &strays), [is(1, 7), is(2, 8)]);
    }

    #[test]
    fn what_is_left_belongs_to_questions_without_an_amount() {
        let about = [intent(1, 0), intent(2, 0), intent(3, 500)];
        let strays = [stray(7, None, 500), stray(8, Some(20), 0)];
        assert_eq!(recognise(&about, &strays), [is(3, 7), is(1, 8)]);
    }

    #[test]
    fn other_markets_sides_and_limits_are_others() {
        let other = Stray {
            side: Side::Ask,
            ..stray(7, None, 500)
        };
        let dearer = Stray {
            limit: Some(Price(101)),
            ..stray(8, Some(500), 0)
        };
        assert_eq!(recognise(&[intent(1, 500)], &[other, dearer]), []);
    }
}
