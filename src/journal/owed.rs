//! Folds records into what a booting node must take up again.

use std::collections::{BTreeMap, BTreeSet};

use crate::journal::peernet::Kept;
use crate::journal::record::Record;
use crate::model::codec::CodecError;
use crate::model::currency::Currency;
use crate::model::ids::{EnvelopeId, MatchId, NodeId, OfferId, OrderId, PlanId};
use crate::model::instrument::{Market, VenueId};
use crate::model::market::Side;
use crate::model::number::Quantity;
use crate::model::offer::{Bound, Offer, Part, Tally};
use crate::model::time::Time;
use crate::model::trade::{Draw, Filled, Grant, VenueRef};

/// An order that was fired, as far as the journal knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrawnOrder {
    pub draw: Draw,
    pub leader: NodeId,
    pub market: Market,
    pub side: Side,
    pub ended: Option<(Filled, Time)>,
}

/// A leg that this node led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FiredLeg {
    pub granter: NodeId,
    pub draw: Draw,
    pub market: Market,
    pub side: Side,
    pub planned: Quantity,
}

/// An own offer and what was accepted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOffer {
    pub offer: Offer,
    pub accepted: BTreeMap<(NodeId, MatchId), (Quantity, Part)>,
    pub counted: BTreeMap<(NodeId, MatchId), Part>,
}

/// A part this node is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundHold {
    pub offer: OfferId,
    pub upstream: Option<NodeId>,
    pub give: Currency,
    pub want: Currency,
    pub part: Part,
    pub is_sealed: bool,
}

/// Legs that are accounted for, by granter. Orders of one granter are numbered upwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounted {
    orders: BTreeMap<NodeId, BTreeSet<OrderId>>,
}

impl Accounted {
    /// Legs remembered per granter; the oldest give way.
    const LEGS_MAX: usize = 2_048;

    pub fn insert(&mut self, granter: NodeId, order: OrderId) {
        let orders = self.orders.entry(granter).or_default();
        orders.insert(order);
        while orders.len() > Self::LEGS_MAX {
            orders.pop_first();
        }
    }

    pub fn contains(&self, granter: NodeId, order: OrderId) -> bool {
        self.orders
            .get(&granter)
            .is_some_and(|orders| orders.contains(&order))
    }
}

/// Everything a node owes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    pub incarnation: u64,
    pub switch: u8,
    pub envelopes: BTreeMap<EnvelopeId, (Grant, NodeId)>,
    /// When each open envelope was granted: none of its orders is older.
    pub granted_at: BTreeMap<EnvelopeId, Time>,
    pub orders: BTreeMap<OrderId, DrawnOrder>,
    /// The venues' own names of orders and of their trades; the oldest give way.
    pub names: BTreeSet<(OrderId, VenueRef)>,
    /// Nonces that may have been used, by venue.
    pub nonces: BTreeMap<VenueId, u64>,
    pub legs: BTreeMap<PlanId, Vec<FiredLeg>>,
    pub closed_plans: BTreeSet<PlanId>,
    /// Legs of closed plans, by granter: a late report of one is no orphan.
    pub accounted: Accounted,
    /// Counted matches of closed offers, newest last: sealed again after a crash, and taken back
    /// where the matcher lapsed.
    pub counted: BTreeMap<(OfferId, NodeId, MatchId), (Currency, Part)>,
    pub offers: BTreeMap<OfferId, OpenOffer>,
    /// Offers that the channel was told of, and not that they are over, with their versions.
    pub spoken: BTreeMap<OfferId, u32>,
    pub peernet: Kept,
    pub holds: BTreeMap<MatchId, BoundHold>,
    pub relays: BTreeMap<MatchId, Bound>,
    /// Aggregates that the origin has sealed.
    pub sealed_relays: BTreeMap<MatchId, Bound>,
    pub balances: BTreeMap<(String, Currency), i64>,
    /// Sums over closed plans and offers, by the currency they give.
    pub tallies: BTreeMap<Currency, Tally>,
    /// Signed units earned, and left unbalanced, by currency.
    pub earned: BTreeMap<Currency, i64>,
    pub imbalance: BTreeMap<Currency, i64>,
    pub today: Today,
}

/// What counts against the limits of the last day that has records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Today {
    pub day: u64,
    /// Base and notional of what was filled.
    pub filled: BTreeMap<(Market, Side), (Quantity, Quantity)>,
    /// Signed units earned by balanced plans, by quote currency.
    pub results: BTreeMap<Currency, i64>,
}

impl Today {
    fn begin(&mut self, at: Time) {
        if at.day() > self.day {
            *self = Self {
                day: at.day(),
                ..Self::default()
            };
        }
    }
}

impl Owed {
    /// Ended orders kept for leaders that ask again; the oldest give way.
    const ENDED_MAX: usize = 1_024;
    /// Counted matches of closed offers remembered; offer ids grow with time, the oldest give way.
    pub const COUNTED_MAX: usize = 1_024;
    /// Names of orders remembered; order ids grow with time, the oldest give way.
    const NAMES_MAX: usize = 4_096;
    /// Sealed aggregates remembered; the oldest give way.
    const SEALED_MAX: usize = 1_024;
    /// Closed plans remembered, so that a late report is known for what it is.
    const CLOSED_MAX: usize = 4_096;

    /// Folds a journal, oldest record first.
    ///
    /// # Errors
    /// The number of the record that cannot be read, from 1, and why.
    pub fn replay<'a>(
        bodies: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, (usize, CodecError)> {
        let mut owed = Self::default();
        for (index, body) in bodies.into_iter().enumerate() {
            let record = Record::decode(body).map_err(|why| (index + 1, why))?;
            owed.apply(record);
        }
        Ok(owed)
    }

    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Booted { incarnation } => self.incarnation = incarnation,
            Record::Switched { switch } => self.switch = switch,
            Record::Granted { grant, drawer, at } => {
                self.envelopes.insert(grant.envelope, (grant, drawer));
                self.granted_at.insert(grant.envelope, at);
            }
            Record::EnvelopeClosed { envelope } => {
                self.envelopes.remove(&envelope);
                self.granted_at.remove(&envelope);
            }
            Record::Drawn {
                draw,
                leader,
                market,
                side,
            } => {
                let drawn = DrawnOrder {
                    draw,
                    leader,
                    market,
                    side,
                    ended: None,
                };
                self.orders.insert(draw.order, drawn);
            }
            Record::Ended { order, filled, at } => self.end_order(order, filled, at),
            Record::LegFired {
                granter,
                draw,
                market,
                side,
                planned,
            } => {
                let leg = FiredLeg {
                    granter,
                    draw,
                    market,
                    side,
                    planned,
                };
                if !self.closed_plans.contains(&draw.plan) {
                    self.legs.entry(draw.plan).or_default().push(leg);
                }
            }
            Record::PlanClosed {
                plan,
                base,
                quote,
                tally,
                result,
                at,
            } => self.close_plan(plan, (base, quote), tally, result, at),
            Record::Balance { .. }
            | Record::Named { .. }
            | Record::Nonces { .. }
            | Record::Spoken { .. }
            | Record::Peernet(_) => self.apply_word(record),
            Record::OfferOpened { .. }
            | Record::Accepted { .. }
            | Record::Counted { .. }
            | Record::Uncounted { .. }
            | Record::OfferClosed { .. }
            | Record::HoldConfirmed { .. }
            | Record::HoldOver { .. }
            | Record::RelayBound { .. }
            | Record::RelayOver { .. } => self.apply_offer_record(record),
        }
    }

    fn apply_word(&mut self, record: Record) {
        if let Record::Balance {
            location,
            currency,
            units,
        } = record
        {
            self.balances.insert((location, currency), units);
        } else if let Record::Named { order, reference } = record {
            self.names.insert((order, reference));
            while self.names.len() > Self::NAMES_MAX {
                self.names.pop_first();
            }
        } else if let Record::Nonces { venue, below } = record {
            let known = self.nonces.entry(venue).or_default();
            *known = below.max(*known);
        } else if let Record::Spoken {
            offer,
            version,
            is_over,
        } = record
        {
            match is_over {
                true => self.spoken.remove(&offer),
                false => self.spoken.insert(offer, version),
            };
        } else if let Record::Peernet(record) = record {
            self.peernet.apply(record);
        }
    }

    fn end_order(&mut self, order: OrderId, filled: Filled, at: Time) {
        if let Some(drawn) = self.orders.get_mut(&order)
            && drawn.ended.replace((filled, at)).is_none()
        {
            let (market, side) = (drawn.market, drawn.side);
            self.today.begin(at);
            let sum = self.today.filled.entry((market, side)).or_default();
            sum.0 = sum.0.saturating_add(filled.quantity);
            sum.1 = sum.1.saturating_add(filled.total);
        }
        self.forget_oldest_ended();
    }

    fn close_plan(
        &mut self,
        plan: PlanId,
        (base, quote): (Currency, Currency),
        tally: Tally,
        result: (i64, i64, i64),
        at: Time,
    ) {
        for leg in self.legs.remove(&plan).unwrap_or_default() {
            self.accounted.insert(leg.granter, leg.draw.order);
        }
        if self.closed_plans.insert(plan) {
            self.add_tally(base, tally);
            if result.2 == 0 {
                self.today.begin(at);
                *self.today.results.entry(quote).or_default() += result.0;
            }
            *self.earned.entry(quote).or_default() += result.0;
            *self.earned.entry(base).or_default() += result.1;
            *self.imbalance.entry(base).or_default() += result.2;
        }
        while self.closed_plans.len() > Self::CLOSED_MAX {
            self.closed_plans.pop_first();
        }
    }

    fn close_offer(&mut self, offer: OfferId, tally: Tally, received: Quantity) {
        let Some(open) = self.offers.remove(&offer) else {
            return;
        };
        let give = open.offer.line.give;
        for ((peer, id), part) in &open.counted {
            self.counted.insert((offer, *peer, *id), (give, *part));
        }
        while self.counted.len() > Self::COUNTED_MAX {
            self.counted.pop_first();
        }
        self.add_tally(give, tally);
        if let Some((base, units)) = open.offer.covered(tally.filled, received) {
            *self.imbalance.entry(base).or_default() += units;
        }
    }

    fn apply_offer_record(&mut self, record: Record) {
        match record {
            Record::OfferOpened { offer } => {
                self.offers.insert(
                    offer.id,
                    OpenOffer {
                        offer,
                        accepted: BTreeMap::new(),
                        counted: BTreeMap::new(),
                    },
                );
            }
            Record::Accepted {
                offer,
                peer,
                id,
                quantity,
                part,
            } => {
                if let Some(open) = self.offers.get_mut(&offer) {
                    open.accepted.insert((peer, id), (quantity, part));
                }
            }
            Record::Counted {
                offer,
                peer,
                id,
                part,
            } => {
                if let Some(open) = self.offers.get_mut(&offer) {
                    open.accepted.remove(&(peer, id));
                    open.counted.insert((peer, id), part);
                }
            }
            Record::Uncounted { offer, peer, id } => {
                if let Some(open) = self.offers.get_mut(&offer) {
                    open.accepted.remove(&(peer, id));
                    open.counted.remove(&(peer, id));
                }
                if let Some((give, part)) = self.counted.remove(&(offer, peer, id)) {
                    let sum = self.tallies.entry(give).or_default();
                    sum.filled = sum.filled.less(part.quantity);
                    sum.released = sum.released.saturating_add(part.quantity);
                }
            }
            Record::OfferClosed {
                offer,
                tally,
                received,
            } => self.close_offer(offer, tally, received),
            Record::HoldConfirmed { .. }
            | Record::HoldOver { .. }
            | Record::RelayBound { .. }
            | Record::RelayOver { .. } => self.apply_bound_record(record),
            Record::Booted { .. }
            | Record::Switched { .. }
            | Record::Granted { .. }
            | Record::EnvelopeClosed { .. }
            | Record::Drawn { .. }
            | Record::Ended { .. }
            | Record::LegFired { .. }
            | Record::PlanClosed { .. }
            | Record::Balance { .. }
            | Record::Named { .. }
            | Record::Nonces { .. }
            | Record::Spoken { .. }
            | Record::Peernet(_) => (),
        }
    }

    fn apply_bound_record(&mut self, record: Record) {
        match record {
            Record::HoldConfirmed {
                offer,
                id,
                upstream,
                give,
                want,
                part,
            } => {
                self.holds.insert(
                    id,
                    BoundHold {
                        offer,
                        upstream,
                        give,
                        want,
                        part,
                        is_sealed: false,
                    },
                );
            }
            Record::HoldOver { id, is_sealed } => match self.holds.get_mut(&id) {
                Some(hold) if is_sealed => hold.is_sealed = true,
                Some(_) | None => {
                    self.holds.remove(&id);
                }
            },
            Record::RelayBound { bound } => {
                self.relays.insert(bound.id, bound);
            }
            Record::RelayOver { id, is_sealed } => {
                if let Some(bound) = self.relays.remove(&id)
                    && is_sealed
                {
                    self.sealed_relays.insert(id, bound);
                }
                while self.sealed_relays.len() > Self::SEALED_MAX {
                    self.sealed_relays.pop_first();
                }
            }
            Record::Booted { .. }
            | Record::Switched { .. }
            | Record::Granted { .. }
            | Record::EnvelopeClosed { .. }
            | Record::Drawn { .. }
            | Record::Ended { .. }
            | Record::LegFired { .. }
            | Record::PlanClosed { .. }
            | Record::Balance { .. }
            | Record::Named { .. }
            | Record::Nonces { .. }
            | Record::Spoken { .. }
            | Record::Peernet(_)
            | Record::OfferOpened { .. }
            | Record::Accepted { .. }
            | Record::Counted { .. }
            | Record::Uncounted { .. }
            | Record::OfferClosed { .. } => (),
        }
    }

    /// Returns the first number of the next run: every id of a run lies above all earlier ones,
    /// journalled or not.
    pub const fn first_number(incarnation: u64) -> u64 {
        (incarnation << 32) + 1
    }

    fn add_tally(&mut self, currency: Currency, tally: Tally) {
        let sum = self.tallies.entry(currency).or_default();
        *sum = sum.plus(tally);
    }

    fn forget_oldest_ended(&mut self) {
        while self.orders.len() > Self::ENDED_MAX {
            let oldest = self
                .orders
                .iter()
                .find(|(_, order)| order.ended.is_some())
                .map(|(id, _)| *id);
            match oldest {
                Some(id) => self.orders.remove(&id),
                None => break,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Span;
    use crate::model::trade::Purpose;

    /// More orders than are remembered one by one still count, and only those of the last day.
    #[test]
    fn what_a_day_has_used_of_its_limits_is_counted_whole() {
        let market = Market {
            venue: "alpha".parse().unwrap(),
            pair: "BTC/USD".parse().unwrap(),
        };
        let mut owed = Owed::default();
        let mut order = 0;
        let mut trade = |owed: &mut Owed, count: u64, at: Time| {
            for _ in 0..count {
                order += 1;
                let draw = Draw {
                    envelope: EnvelopeId(1),
                    order: OrderId(order),
                    plan: PlanId(order),
                    quantity: Quantity(2),
                    limit: crate::model::number::Price(1),
                    purpose: Purpose::Open,
                };
                owed.apply(Record::Drawn {
                    draw,
                    leader: NodeId::default(),
                    market,
                    side: Side::Bid,
                });
                let filled = Filled {
                    quantity: Quantity(2),
                    total: Quantity(3),
                    fee: Quantity(0),
                };
                let ended = Record::Ended {
                    order: OrderId(order),
                    filled,
                    at,
                };
                owed.apply(ended.clone());
                // Said twice, it counts once.
                owed.apply(ended);
            }
        };
        trade(&mut owed, 5, Time(0));
        let next = Time(0) + Span::DAY;
        trade(&mut owed, 3_000, next);
        assert!(owed.orders.len() < 3_000);
        assert_eq!(owed.today.day, 1);
        let used = owed.today.filled[&(market, Side::Bid)];
        assert_eq!(used, (Quantity(6_000), Quantity(9_000)));
        owed.apply(Record::PlanClosed {
            plan: PlanId(1),
            base: Currency::BTC,
            quote: Currency::USD,
            tally: Tally::default(),
            result: (-7, 0, 0),
            at: next,
        });
        assert_eq!(owed.today.results[&Currency::USD], -7);
    }
}
