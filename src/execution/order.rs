//! Orders beside their venue, from fire to a known end.
//!
//! ```text
//!  sent ──▶ open ──▶ cancelling ──▶ closed
//!   │  └──────│──────────│────────────▲
//!   │         └──────────│────────────┤
//!   ├──▶ unknown ◀───────┘            │
//!   │      ├──▶ open ─▶ …             │
//!   │      ├──────────────────────────┘
//!   │      ▼
//!   └──▶ rejected (nothing of it ever was in the book)
//! ```
//! An unknown order is looked up, never sent again. It counts as rejected once two lists of the
//! venue, each asked for after it became unknown, do not hold it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::execution::Settings;
use crate::model::ids::{NodeId, OrderId, PlanId};
use crate::model::instrument::{Market, VenueId};
use crate::model::market::Side;
use crate::model::number::Quantity;
use crate::model::sealed::Approved;
use crate::model::time::{Deadline, Span, Time};
use crate::model::trade::{
    Draw, Filled, LegRefusal, LegReport, OrderIntent, OrderReport, VenueOrderState,
};
use crate::telemetry::transitions::Transitions;

/// Where an order stands, in lifecycle order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrderState {
    Sent,
    Open,
    Cancelling,
    Unknown,
    Closed,
    Rejected,
}

impl OrderState {
    pub const ALL: [Self; 6] = [
        Self::Sent,
        Self::Open,
        Self::Cancelling,
        Self::Unknown,
        Self::Closed,
        Self::Rejected,
    ];

    /// Every step an order can take.
    pub const STEPS: [(Self, Self); 11] = [
        (Self::Sent, Self::Open),
        (Self::Sent, Self::Unknown),
        (Self::Sent, Self::Closed),
        (Self::Sent, Self::Rejected),
        (Self::Open, Self::Cancelling),
        (Self::Open, Self::Closed),
        (Self::Cancelling, Self::Closed),
        (Self::Cancelling, Self::Unknown),
        (Self::Unknown, Self::Cancelling),
        (Self::Unknown, Self::Closed),
        (Self::Unknown, Self::Rejected),
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Open => "open",
            Self::Cancelling => "cancelling",
            Self::Unknown => "unknown",
            Self::Closed => "closed",
            Self::Rejected => "rejected",
        }
    }

    pub const fn is_final(self) -> bool {
        matches!(self, Self::Closed | Self::Rejected)
    }
}

/// One order of this node's accounts.
#[derive(Clone, Debug)]
pub struct Order {
    pub intent: OrderIntent,
    pub draw: Draw,
    /// The node that drew it and hears of it.
    pub leader: NodeId,
    pub state: OrderState,
    pub filled: Filled,
    since: Time,
    /// It was not sent before.
    sent: Time,
    /// The owner was told that more than one order at the venue may be this one.
    is_ambiguous: bool,
    /// Lists of the venue that did not hold it.
    absent: u8,
    /// The venue has told of it once, so it was there.
    was_seen: bool,
}

/// What the orders ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderOutput {
    Cancel(OrderId, Market),
    /// Ask the venue for every order from this id on.
    List(VenueId, OrderId),
    /// Tell the leader.
    Report(NodeId, LegReport),
    Refused(NodeId, Draw, LegRefusal),
    /// The order has ended: journal it, give its envelope back what it did not fill.
    Ended(OrderId),
    /// More was filled: book it.
    Filled(OrderId, Filled),
}

/// Orders beside this node's venues.
#[derive(Clone, Debug)]
pub struct Orders {
    settings: OrderTimes,
    open: BTreeMap<OrderId, Order>,
    /// Ended orders, kept for leaders that ask again.
    ended: VecDeque<Order>,
    outputs: VecDeque<OrderOutput>,
    lists: BTreeMap<VenueId, Listing>,
    pub steps: Transitions<6>,
}

/// One question for a venue's list of orders.
#[derive(Clone, Debug)]
struct Listing {
    asked: Time,
    /// Orders that were unknown when it was asked.
    about: BTreeSet<OrderId>,
    is_open: bool,
    /// Pages heard so far.
    pages: u16,
}

#[derive(Clone, Copy, Debug)]
struct OrderTimes {
    leg_deadline: Span,
    unknown_after: Span,
}

impl Orders {
    /// Pages of one list; a venue that never comes to its end is asked again from the start.
    const PAGES_MAX: u16 = 1_000;
    /// Orders open at once; full refuses further fires.
    pub const OPEN_MAX: usize = 512;
    /// Ended orders kept; the oldest gives way.
    pub const ENDED_MAX: usize = 1_024;
    /// Lists that must not hold an unknown order before it counts as never arrived.
    const ABSENT_MIN: u8 = 2;

    pub fn new(settings: &Settings) -> Self {
        Self {
            settings: OrderTimes {
                leg_deadline: settings.leg_deadline,
                unknown_after: settings.unknown_after,
            },
            open: BTreeMap::new(),
            ended: VecDeque::new(),
            outputs: VecDeque::new(),
            lists: BTreeMap::new(),
            steps: Transitions::default(),
        }
    }

    pub fn has_room(&self) -> bool {
        self.open.len() < Self::OPEN_MAX
    }

    /// Takes an approved order that is being sent now.
    pub fn fire(&mut self, approved: &Approved, draw: Draw, leader: NodeId, now: Time) {
        let order = approved.order();
        self.open.insert(
            order.id,
            Order {
                intent: OrderIntent {
                    id: order.id,
                    market: order.market,
                    side: order.side,
                    quantity: order.quantity,
                    limit: order.limit,
                },
                draw,
                leader,
                state: OrderState::Sent,
                filled: Filled::default(),
                since: now,
                sent: now,
                is_ambiguous: false,
                absent: 0,
                was_seen: false,
            },
        );
    }

    /// Takes an order of an earlier run, not sent before `sent`, whose fate must be looked up.
    pub fn recover(
        &mut self,
        intent: OrderIntent,
        draw: Draw,
        leader: NodeId,
        sent: Time,
        now: Time,
    ) {
        self.open.insert(
            intent.id,
            Order {
                intent,
                draw,
                leader,
                state: OrderState::Unknown,
                filled: Filled::default(),
                since: now,
                sent,
                is_ambiguous: false,
                absent: 0,
                was_seen: false,
            },
        );
    }

    /// Takes an order of an earlier run whose end is known.
    pub fn remember(&mut self, intent: OrderIntent, draw: Draw, leader: NodeId, filled: Filled) {
        self.keep_ended(Order {
            intent,
            draw,
            leader,
            state: OrderState::Closed,
            filled,
            since: Time::ZERO,
            sent: Time::ZERO,
            is_ambiguous: false,
            absent: 0,
            was_seen: true,
        });
    }

    /// The venue told where an order stands.
    pub fn handle_report(&mut self, report: &OrderReport, now: Time) {
        let Some(id) = report.id else { return };
        let Some(order) = self.open.get_mut(&id) else {
            return;
        };
        if let Some(listing) = self.lists.get_mut(&order.intent.market.venue) {
            listing.about.remove(&id);
        }
        order.absent = 0;
        order.was_seen = true;
        if report.filled.quantity > order.filled.quantity {
            let more = Filled {
                quantity: report.filled.quantity.less(order.filled.quantity),
                total: report.filled.total.less(order.filled.total),
                fee: report.filled.fee.less(order.filled.fee),
            };
            order.filled = report.filled;
            self.outputs.push_back(OrderOutput::Filled(id, more));
        }
        match (report.state, order.state) {
            (VenueOrderState::Closed, _) => self.end(id, OrderState::Closed, now),
            (VenueOrderState::Rejected, OrderState::Sent | OrderState::Unknown) => {
                self.end(id, OrderState::Rejected, now);
            }
            (VenueOrderState::Rejected, _) => self.end(id, OrderState::Closed, now),
            (VenueOrderState::Pending | VenueOrderState::Open, OrderState::Sent) => {
                self.step(id, OrderState::Open, now);
                self.report(id, false);
            }
            (VenueOrderState::Pending | VenueOrderState::Open, OrderState::Unknown) => {
                self.step(id, OrderState::Cancelling, now);
                self.cancel(id);
            }
            (VenueOrderState::Pending | VenueOrderState::Open, OrderState::Open) => {
                self.report(id, false);
            }
            (VenueOrderState::Pending | VenueOrderState::Open, _) => (),
        }
    }

    /// The venue refused to take the order, or it never left this machine.
    pub fn handle_rejected(&mut self, id: OrderId, now: Time) {
        if self.state(id) == Some(OrderState::Sent) {
            self.end(id, OrderState::Rejected, now);
        }
    }

    /// Nobody knows what came of placing or cancelling it.
    pub fn handle_unknown(&mut self, id: OrderId, now: Time) {
        if matches!(
            self.state(id),
            Some(OrderState::Sent | OrderState::Cancelling)
        ) {
            self.step(id, OrderState::Unknown, now);
            self.list_for(id, now);
        }
    }

    /// More than one order at the venue may be this one: it stays unknown. Returns true the first
    /// time.
    pub fn handle_ambiguous(&mut self, id: OrderId) -> bool {
        let Some(order) = self.open.get_mut(&id) else {
            return false;
        };
        order.absent = 0;
        if let Some(listing) = self.lists.get_mut(&order.intent.market.venue) {
            listing.about.remove(&id);
        }
        !std::mem::replace(&mut order.is_ambiguous, true)
    }

    /// Returns the orders that a venue is to be asked for, and a moment before all of them.
    pub fn unknown_at(&self, venue: VenueId) -> (Vec<OrderIntent>, Time) {
        let asked = self.asked_at(venue);
        let since = asked.iter().map(|order| order.sent).min();
        let intents = asked.iter().map(|order| order.intent);
        (intents.collect(), since.unwrap_or(Time::MAX))
    }

    /// Returns the orders at a venue whose fate is unknown. Those that are held for their owner to
    /// settle are asked for only when there are no others: they may be old, and must not make every
    /// other question long.
    fn asked_at(&self, venue: VenueId) -> Vec<&Order> {
        let unknown: Vec<&Order> = self
            .open
            .values()
            .filter(|order| {
                order.intent.market.venue == venue && order.state == OrderState::Unknown
            })
            .collect();
        let only_held = unknown.iter().all(|order| order.is_ambiguous);
        let asked = unknown.into_iter();
        asked
            .filter(|order| order.is_ambiguous == only_held)
            .collect()
    }

    /// The venue does not know the order that was to be cancelled.
    pub fn handle_cancel_refused(&mut self, id: OrderId, now: Time) {
        self.handle_unknown(id, now);
    }

    /// The venue's list is complete: what it should hold and does not is counted as absent.
    pub fn handle_list_end(&mut self, venue: VenueId, now: Time) {
        let Some(listing) = self.lists.get_mut(&venue) else {
            return;
        };
        listing.is_open = false;
        let absent = std::mem::take(&mut listing.about);
        for id in absent {
            let Some(order) = self.open.get_mut(&id) else {
                continue;
            };
            if order.state != OrderState::Unknown {
                continue;
            }
            order.absent += 1;
            if order.absent >= Self::ABSENT_MIN {
                let end = if order.was_seen {
                    OrderState::Closed
                } else {
                    OrderState::Rejected
                };
                self.end(id, end, now);
            }
        }
    }

    /// The venue listed no further than `last`: the rest is asked for before anything counts as
    /// absent.
    pub fn handle_list_page(&mut self, venue: VenueId, last: Option<OrderId>, now: Time) {
        let listing = self.lists.get_mut(&venue).filter(|one| one.is_open);
        let (Some(listing), Some(last)) = (listing, last) else {
            self.handle_list_failed(venue);
            return;
        };
        listing.pages += 1;
        listing.asked = now;
        if listing.pages >= Self::PAGES_MAX {
            self.handle_list_failed(venue);
            return;
        }
        let next = OrderId(last.0.saturating_add(1));
        self.outputs.push_back(OrderOutput::List(venue, next));
    }

    /// The list could not be had; it is asked for again at the deadline.
    pub fn handle_list_failed(&mut self, venue: VenueId) {
        if let Some(listing) = self.lists.get_mut(&venue) {
            listing.is_open = false;
            listing.about.clear();
        }
    }

    /// Answers a leader that asks for a leg: returns false where the id was never seen here.
    pub fn handle_query(&mut self, id: OrderId) -> bool {
        if let Some(order) = self.open.get(&id) {
            // What may never have arrived is told once it is known.
            if matches!(order.state, OrderState::Open | OrderState::Cancelling) {
                self.report(id, false);
            }
            return true;
        }
        let Some(order) = self.ended.iter().find(|order| order.intent.id == id) else {
            return false;
        };
        self.outputs.push_back(ended_output(order));
        true
    }

    /// Tells a restarted leader again what its legs came to.
    pub fn handle_leader_restarted(&mut self, leader: NodeId) {
        for order in self.ended.iter().filter(|order| order.leader == leader) {
            self.outputs.push_back(ended_output(order));
        }
        let open: Vec<OrderId> = self
            .open
            .values()
            .filter(|order| {
                let is_there = matches!(order.state, OrderState::Open | OrderState::Cancelling);
                order.leader == leader && is_there
            })
            .map(|order| order.intent.id)
            .collect();
        for id in open {
            self.report(id, false);
        }
    }

    /// Cancels everything that rests.
    pub fn cancel_all(&mut self, now: Time) {
        let open: Vec<OrderId> = self
            .open
            .values()
            .filter(|order| order.state == OrderState::Open)
            .map(|order| order.intent.id)
            .collect();
        for id in open {
            self.step(id, OrderState::Cancelling, now);
            self.cancel(id);
        }
    }

    pub fn deadline(&self) -> Option<Deadline> {
        self.open
            .values()
            .map(|order| self.due(order))
            .min()
            .map(|at| Deadline { at, why: "order" })
    }

    pub fn handle_deadline(&mut self, now: Time) {
        let due: Vec<OrderId> = self
            .open
            .values()
            .filter(|order| self.due(order) <= now)
            .map(|order| order.intent.id)
            .collect();
        for id in due {
            match self.state(id) {
                Some(OrderState::Open) => {
                    self.step(id, OrderState::Cancelling, now);
                    self.cancel(id);
                }
                Some(OrderState::Sent | OrderState::Cancelling) => {
                    self.step(id, OrderState::Unknown, now);
                    self.list_for(id, now);
                }
                Some(OrderState::Unknown) => {
                    if let Some(order) = self.open.get_mut(&id) {
                        order.since = now;
                    }
                    self.list_for(id, now);
                }
                Some(OrderState::Closed | OrderState::Rejected) | None => (),
            }
        }
    }

    pub fn poll_output(&mut self) -> Option<OrderOutput> {
        self.outputs.pop_front()
    }

    pub fn get(&self, id: OrderId) -> Option<&Order> {
        self.open
            .get(&id)
            .or_else(|| self.ended.iter().rev().find(|order| order.intent.id == id))
    }

    pub fn open(&self) -> impl Iterator<Item = &Order> {
        self.open.values()
    }

    pub fn ended(&self) -> impl Iterator<Item = &Order> {
        self.ended.iter()
    }

    /// Returns the quantity that orders in flight may still take from a side of a market.
    pub fn in_flight(&self, market: Market, takes: Side) -> Quantity {
        self.open
            .values()
            .filter(|order| {
                order.intent.market == market
                    && order.intent.side == takes.opposite()
                    && order.state == OrderState::Sent
            })
            .fold(Quantity::ZERO, |sum, order| {
                sum.saturating_add(order.intent.quantity.less(order.filled.quantity))
            })
    }

    fn due(&self, order: &Order) -> Time {
        let wait = match order.state {
            OrderState::Open => self.settings.leg_deadline,
            OrderState::Sent
            | OrderState::Cancelling
            | OrderState::Unknown
            | OrderState::Closed
            | OrderState::Rejected => self.settings.unknown_after,
        };
        order.since + wait
    }

    fn state(&self, id: OrderId) -> Option<OrderState> {
        self.open.get(&id).map(|order| order.state)
    }

    fn step(&mut self, id: OrderId, to: OrderState, now: Time) {
        if let Some(order) = self.open.get_mut(&id) {
            self.steps.count(order.state as usize, to as usize);
            order.state = to;
            order.since = now;
        }
    }

    fn end(&mut self, id: OrderId, to: OrderState, now: Time) {
        self.step(id, to, now);
        if let Some(order) = self.open.remove(&id) {
            // An id of an earlier run that was never drawn concerns nobody.
            let is_blank = order.draw.plan == PlanId::default() && to == OrderState::Rejected;
            self.outputs.push_back(OrderOutput::Ended(id));
            if !is_blank {
                self.outputs.push_back(ended_output(&order));
                self.keep_ended(order);
            }
        }
    }

    fn keep_ended(&mut self, order: Order) {
        if self.ended.len() >= Self::ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(order);
    }

    fn cancel(&mut self, id: OrderId) {
        if let Some(order) = self.open.get(&id) {
            self.outputs
                .push_back(OrderOutput::Cancel(id, order.intent.market));
        }
    }

    fn report(&mut self, id: OrderId, is_final: bool) {
        if let Some(order) = self.open.get(&id) {
            let report = report_of(order, is_final);
            self.outputs
                .push_back(OrderOutput::Report(order.leader, report));
        }
    }

    /// Asks for the venue's list about every order that is unknown there, one list at a time.
    fn list_for(&mut self, id: OrderId, now: Time) {
        let Some(venue) = self.open.get(&id).map(|order| order.intent.market.venue) else {
            return;
        };
        let wait = self.settings.unknown_after;
        if self
            .lists
            .get(&venue)
            .is_some_and(|listing| listing.is_open && now.since(listing.asked) < wait)
        {
            return;
        }
        let about: BTreeSet<OrderId> = self
            .asked_at(venue)
            .iter()
            .map(|order| order.intent.id)
            .collect();
        let Some(first) = about.first().copied() else {
            return;
        };
        self.outputs.push_back(OrderOutput::List(venue, first));
        self.lists.insert(
            venue,
            Listing {
                asked: now,
                about,
                is_open: true,
                pages: 0,
            },
        );
    }
}

fn ended_output(order: &Order) -> OrderOutput {
    if order.state == OrderState::Rejected {
        return OrderOutput::Refused(order.leader, order.draw, LegRefusal::Venue);
    }
    OrderOutput::Report(order.leader, report_of(order, true))
}

fn report_of(order: &Order, is_final: bool) -> LegReport {
    LegReport {
        order: order.intent.id,
        plan: order.draw.plan,
        market: order.intent.market,
        side: order.intent.side,
        limit: order.intent.limit,
        filled: order.filled,
        is_final,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::EnvelopeId;
    use crate::model::number::Price;
    use crate::model::trade::Purpose;

    /// A venue with thousands of orders lists a part of them at a time: what the first page lacks
    /// may stand on the second.
    #[test]
    fn an_order_is_absent_only_from_a_list_that_came_to_its_end() {
        let market = Market {
            venue: "alpha".parse().unwrap(),
            pair: "BTC/USD".parse().unwrap(),
        };
        let mut orders = Orders::new(&Settings {
            leg_deadline: Span::SECOND,
            unknown_after: Span::SECOND,
            recovery_reach_ppm: 0,
            recovery_deadline: Span::SECOND,
            paper_latency_min: Span::ZERO,
            transfers: Vec::new(),
            acquire_for_offers: false,
        });
        let id = OrderId(5);
        let intent = OrderIntent {
            id,
            market,
            side: Side::Bid,
            quantity: Quantity(1),
            limit: Price(1),
        };
        let draw = Draw {
            envelope: EnvelopeId(1),
            order: id,
            plan: PlanId(1),
            quantity: Quantity(1),
            limit: Price(1),
            purpose: Purpose::Open,
        };
        orders.recover(intent, draw, NodeId::default(), Time(0), Time(0));
        let mut now = Time(0);
        for round in 1..=Orders::ABSENT_MIN {
            now = now + Span::secs(2);
            orders.handle_deadline(now);
            assert!(matches!(
                orders.poll_output(),
                Some(OrderOutput::List(_, OrderId(5)))
            ));
            for page in 1..=3 {
                orders.handle_list_page(market.venue, Some(OrderId(page * 1_000)), now);
                let next = OrderId(page * 1_000 + 1);
                assert!(matches!(
                    orders.poll_output(),
                    Some(OrderOutput::List(_, from)) if from == next
                ));
                assert_eq!(orders.state(id), Some(OrderState::Unknown), "round {round}");
            }
            orders.handle_list_end(market.venue, now);
        }
        assert_eq!(orders.state(id), None, "twice absent: it never arrived");
    }
}
