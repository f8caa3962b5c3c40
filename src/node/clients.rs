//! The trading halves of the adapters: requests that leave, replies that come.
//!
//! ```text
//! place, cancel, list, account ─▶ turn ─▶ request ─▶ reply ─▶ facts ─▶ orders, funds
//!                                  ▲                    └──▶ follow-ups ─┐
//!                                  └─────────────────────────────────────┘
//! ```
//! Where a venue wants a key's requests in the order of their nonces, one is in flight at a time
//! and the others wait for their turn: orders first, then cancels, follow-ups and lists.

use std::collections::VecDeque;

use crate::journal::record::Record;
use crate::model::ids::{CommitNo, OrderId, RequestNo};
use crate::model::instrument::{Instrument, Location, Market, VenueId};
use crate::model::market::Side;
use crate::model::number::Quantity;
use crate::model::sealed::Approved;
use crate::model::time::{Span, Time};
use crate::model::trade::LegRefusal;
use crate::node::input::Outcome;
use crate::node::output::{Outbox, Output, Severity};
use crate::node::{Node, VenueState, notice};
use crate::telemetry::latency::Latency;
use crate::venue::{Asked, OrderClient, OrdersQuery, ReplyError, Ticket, Told};

/// How often a live account is read while nothing changes it.
const ACCOUNT_EVERY: Span = Span::secs(5);

/// Whose turn it is at a venue that wants requests one by one.
#[derive(Debug, Default)]
pub(super) struct Turn {
    in_flight: Option<RequestNo>,
    places: VecDeque<(Approved, Time)>,
    cancels: VecDeque<(OrderId, Market)>,
    list: Option<OrderId>,
    /// A reservation of nonces that is being made durable.
    nonces: Option<(CommitNo, u64)>,
}

impl Turn {
    /// Orders that wait; one more is refused.
    const PLACES_MAX: usize = 16;
    /// Cancels that wait; one more counts as refused and its order is looked up.
    const CANCELS_MAX: usize = 512;
    /// An order that waited this long is not sent any more: its price is history.
    const PATIENCE: Span = Span::SECOND;
}

/// How long a venue took: from the request to its reply, and from an order to its first fill.
#[derive(Debug)]
pub(super) struct OrderTimes {
    pub(super) ack: Latency,
    pub(super) cancel: Latency,
    pub(super) fill: Latency,
    placed: [(OrderId, Time); Self::OUT_MAX],
    cancelled: [(OrderId, Time); Self::OUT_MAX],
}

impl Default for OrderTimes {
    fn default() -> Self {
        let none = [(OrderId::default(), Time::ZERO); Self::OUT_MAX];
        Self {
            ack: Latency::default(),
            cancel: Latency::default(),
            fill: Latency::default(),
            placed: none,
            cancelled: none,
        }
    }
}

impl OrderTimes {
    /// Orders whose moments are kept; an older one is not timed. A fixed table, as what it is
    /// written in fires legs.
    const OUT_MAX: usize = 64;

    fn slot(table: &mut [(OrderId, Time); Self::OUT_MAX], order: OrderId) -> &mut (OrderId, Time) {
        let at = usize::try_from(order.0).unwrap_or(0) % Self::OUT_MAX;
        &mut table[at]
    }

    fn note_reply(&mut self, asked: Asked, now: Time) {
        let (table, times) = match asked {
            Asked::Place(_) => (&mut self.placed, &mut self.ack),
            Asked::Cancel(_) => (&mut self.cancelled, &mut self.cancel),
            Asked::Fills(_) | Asked::Orders | Asked::Account | Asked::Entry | Asked::Public(_) => {
                return;
            }
        };
        if let Asked::Place(order) | Asked::Cancel(order) = asked {
            let slot = Self::slot(table, order);
            if slot.0 == order {
                times.record_us(now.since(slot.1).as_micros());
            }
        }
    }

    fn note_fill(&mut self, order: OrderId, now: Time) {
        let slot = Self::slot(&mut self.placed, order);
        if slot.0 == order {
            self.fill.record_us(now.since(slot.1).as_micros());
            slot.0 = OrderId::default();
        }
    }
}

impl VenueState {
    /// Returns true while another request must be answered before the next may leave.
    fn is_taken(&self) -> bool {
        self.turn.in_flight.is_some()
    }
}

impl Node {
    /// Makes a quantity unique among open orders of a market and side, by leaving off a few of the
    /// smallest units, where the venue has no room for our names: that is how an order is
    /// recognised whose acknowledgement was lost.
    pub(super) fn tagged(&self, market: Market, side: Side, quantity: Quantity) -> Quantity {
        let has_names = self
            .venues
            .get(&market.venue)
            .is_none_or(|venue| venue.card.client_order_ids);
        let rules = self.rules(market);
        let (false, Some(rules)) = (has_names, rules) else {
            return quantity;
        };
        let lot = rules.lot.0.max(1);
        let mut tagged = quantity;
        let is_taken = |quantity: Quantity| {
            self.orders.open().any(|order| {
                let intent = &order.intent;
                intent.market == market && intent.side == side && intent.quantity == quantity
            })
        };
        while is_taken(tagged) && tagged.0 - lot >= rules.quantity_min.0.max(lot) {
            tagged = Quantity(tagged.0 - lot);
        }
        tagged
    }

    /// Sends an approved order, or lets it wait for its turn.
    pub(super) fn place(
        &mut self,
        approved: Approved,
        now: Time,
        out: &mut Outbox,
    ) -> Result<(), LegRefusal> {
        let id = approved.order().market.venue;
        let venue = self.venues.get_mut(&id).filter(|venue| venue.may_trade);
        let venue = venue.ok_or(LegRefusal::Venue)?;
        let client = venue.client.as_ref().ok_or(LegRefusal::Venue)?;
        if !client.is_ready() {
            return Err(LegRefusal::Venue);
        }
        if venue.is_taken() {
            if venue.turn.places.len() >= Turn::PLACES_MAX {
                return Err(LegRefusal::Throttle);
            }
            venue.turn.places.push_back((approved, now));
            return Ok(());
        }
        self.send_place(id, &approved, now, out);
        Ok(())
    }

    fn send_place(&mut self, id: VenueId, approved: &Approved, now: Time, out: &mut Outbox) {
        let order = approved.order().id;
        if let Some(venue) = self.venues.get_mut(&id) {
            *OrderTimes::slot(&mut venue.times.placed, order) = (order, now);
        }
        self.ask_venue(id, out, |client, arena| {
            client.place(approved, now, arena);
            Some(Asked::Place(approved.order().id))
        });
    }

    pub(super) fn cancel(&mut self, order: OrderId, market: Market, now: Time, out: &mut Outbox) {
        let Some(venue) = self.venues.get_mut(&market.venue) else {
            return;
        };
        if venue.is_taken() {
            if venue.turn.cancels.len() < Turn::CANCELS_MAX {
                venue.turn.cancels.push_back((order, market));
            } else {
                self.orders.handle_cancel_refused(order, now);
            }
            return;
        }
        self.send_cancel(order, market, now, out);
    }

    fn send_cancel(&mut self, order: OrderId, market: Market, now: Time, out: &mut Outbox) {
        if let Some(venue) = self.venues.get_mut(&market.venue) {
            *OrderTimes::slot(&mut venue.times.cancelled, order) = (order, now);
        }
        let sent = self.ask_venue(market.venue, out, |client, arena| {
            client.cancel(order, market, now, arena);
            Some(Asked::Cancel(order))
        });
        if sent.is_none() {
            self.orders.handle_cancel_refused(order, now);
        }
    }

    /// Asks what became of the orders that are unknown at a venue.
    pub(super) fn list(&mut self, id: VenueId, from: OrderId, now: Time, out: &mut Outbox) {
        let Some(venue) = self.venues.get_mut(&id) else {
            return;
        };
        if venue.is_taken() {
            venue.turn.list = Some(from);
            return;
        }
        self.send_list(id, from, now, out);
    }

    fn send_list(&mut self, id: VenueId, from: OrderId, now: Time, out: &mut Outbox) {
        let (about, since) = self.orders.unknown_at(id);
        let sent = self.ask_venue(id, out, |client, arena| {
            let query = OrdersQuery {
                from,
                about: &about,
                since,
            };
            client.orders(&query, now, arena);
            Some(Asked::Orders)
        });
        if sent.is_none() {
            self.orders.handle_list_failed(id);
        }
    }

    /// Lets the client write a request and sends it; `None` where it wrote nothing.
    fn ask_venue(
        &mut self,
        id: VenueId,
        out: &mut Outbox,
        write: impl FnOnce(&mut dyn OrderClient, &mut Vec<u8>) -> Option<Asked>,
    ) -> Option<RequestNo> {
        let venue = self.venues.get_mut(&id)?;
        let client = venue.client.as_mut().filter(|client| client.is_ready())?;
        let mut written = None;
        let bytes = out.write(|arena| written = write(&mut **client, arena));
        let asked = written.filter(|_| !out.read(bytes).is_empty())?;
        let request = self.numbers.request;
        self.numbers.request = request.next();
        if venue.card.is_serial {
            venue.turn.in_flight = Some(request);
        }
        if asked == Asked::Orders {
            // What an earlier list lacks says nothing any more.
            self.list_requests.insert(id, request);
        }
        out.push(Output::VenueRequest {
            venue: id,
            request,
            asked,
            bytes,
        });
        Some(request)
    }

    /// Sends what waits for its turn, and what replies or frames made necessary.
    pub(super) fn advance_venue(&mut self, id: VenueId, now: Time, out: &mut Outbox) {
        loop {
            let Some(venue) = self.venues.get_mut(&id) else {
                return;
            };
            if let Some(client) = &mut venue.client {
                let mut is_more = true;
                while is_more {
                    let bytes = out.write(|arena| is_more = client.follow_frame(now, arena));
                    if is_more {
                        out.push(Output::VenueFrame { venue: id, bytes });
                    }
                }
            }
            if venue.is_taken() {
                return;
            }
            if let Some((approved, since)) = venue.turn.places.pop_front() {
                if now.since(since) > Turn::PATIENCE {
                    self.orders.handle_rejected(approved.order().id, now);
                } else {
                    self.send_place(id, &approved, now, out);
                }
                continue;
            }
            if let Some((order, market)) = venue.turn.cancels.pop_front() {
                self.send_cancel(order, market, now, out);
                continue;
            }
            let follows =
                |client: &mut dyn OrderClient, arena: &mut Vec<u8>| client.follow_up(now, arena);
            if self.ask_venue(id, out, follows).is_some() {
                continue;
            }
            let Some(venue) = self.venues.get_mut(&id) else {
                return;
            };
            let Some(from) = venue.turn.list.take() else {
                return;
            };
            self.send_list(id, from, now, out);
        }
    }

    pub(super) fn handle_venue_reply(
        &mut self,
        id: VenueId,
        request: RequestNo,
        asked: Asked,
        outcome: Outcome<'_>,
        now: Time,
        out: &mut Outbox,
    ) {
        if let Asked::Public(ticket) = asked {
            self.handle_document(id, ticket, outcome, now, out);
            return;
        }
        let mut told = std::mem::take(&mut self.scratch.told);
        told.clear();
        let Some(venue) = self.venues.get_mut(&id) else {
            return;
        };
        if venue.turn.in_flight == Some(request) {
            venue.turn.in_flight = None;
        }
        if matches!(outcome, Outcome::Reply { .. }) {
            venue.times.note_reply(asked, now);
        }
        let Some(client) = venue.client.as_mut() else {
            return;
        };
        let result = match outcome {
            Outcome::Reply { status, body } => {
                client.decode_reply(asked, status, body, now, &mut |fact| told.push(fact))
            }
            Outcome::NotSent | Outcome::Lost => {
                client.handle_lost(asked, now, &mut |fact| told.push(fact))
            }
        };
        self.hear_told(id, &told, now, out);
        match asked {
            Asked::Place(order) => match (outcome, result) {
                (_, Ok(())) => (),
                (Outcome::NotSent, Err(_)) | (_, Err(ReplyError::Rejected(_))) => {
                    self.orders.handle_rejected(order, now);
                }
                (Outcome::Reply { .. } | Outcome::Lost, Err(ReplyError::Unknown)) => {
                    self.orders.handle_unknown(order, now);
                }
            },
            Asked::Cancel(order) => {
                if result.is_err() {
                    self.orders.handle_cancel_refused(order, now);
                }
            }
            Asked::Orders => self.handle_list(id, request, result.is_ok(), &told, now),
            Asked::Account => self.handle_account(id, request, result.is_ok(), &told, now, out),
            Asked::Fills(_) | Asked::Entry | Asked::Public(_) => (),
        }
        self.scratch.told = told;
        self.advance_venue(id, now, out);
    }

    /// The first fill of an order came.
    pub(super) fn note_fill(&mut self, order: OrderId, market: Market, now: Time) {
        if let Some(venue) = self.venues.get_mut(&market.venue) {
            venue.times.note_fill(order, now);
        }
    }

    /// Tells the trading half that an order has ended.
    pub(super) fn forget_at_client(&mut self, id: OrderId) {
        // One that was never drawn may belong to any venue.
        let venue = self.orders.get(id).map(|order| order.intent.market.venue);
        for (other, state) in &mut self.venues {
            if venue.is_none_or(|venue| venue == *other)
                && let Some(client) = &mut state.client
            {
                client.handle_ended(id);
            }
        }
    }

    /// Takes the end of a list, or asks for what lies behind its last row.
    fn handle_list(
        &mut self,
        id: VenueId,
        request: RequestNo,
        is_good: bool,
        told: &[Told],
        now: Time,
    ) {
        if self.list_requests.get(&id) != Some(&request) {
            return;
        }
        if !is_good {
            self.orders.handle_list_failed(id);
        } else if told.contains(&Told::End) {
            self.orders.handle_list_end(id, now);
        } else if !told.contains(&Told::More) {
            let ids = told.iter().filter_map(|fact| match fact {
                Told::Order(report) => report.id,
                Told::Balance { .. }
                | Told::Rights { .. }
                | Told::Named { .. }
                | Told::Ambiguous(_)
                | Told::More
                | Told::End => None,
            });
            self.orders.handle_list_page(id, ids.max(), now);
        }
    }

    /// Takes up every fact that concerns orders.
    pub(super) fn hear_told(&mut self, id: VenueId, told: &[Told], now: Time, out: &mut Outbox) {
        for fact in told {
            match fact {
                Told::Order(report) => self.orders.handle_report(report, now),
                Told::Named { order, reference } => {
                    let (order, reference) = (*order, *reference);
                    self.journal(&Record::Named { order, reference }, out);
                }
                Told::Ambiguous(order) => {
                    if self.orders.handle_ambiguous(*order) {
                        let text = format!(
                            "venue {id}: more than one order there may be our order {order}; it is held until you settle it there by hand"
                        );
                        notice(out, Severity::Error, &text);
                    }
                }
                Told::Balance { .. } | Told::Rights { .. } | Told::More | Told::End => (),
            }
        }
    }

    /// Reads a public document that a feed asked for.
    fn handle_document(
        &mut self,
        id: VenueId,
        ticket: Ticket,
        outcome: Outcome<'_>,
        now: Time,
        out: &mut Outbox,
    ) {
        let (status, body) = match outcome {
            Outcome::Reply { status, body } => (status, body),
            Outcome::NotSent | Outcome::Lost => (0, &b""[..]),
        };
        self.hear_feed(id, Some((ticket, status)), body, now, out);
    }

    /// Makes nonces durable before they are used.
    pub(super) fn reserve_nonces(&mut self, out: &mut Outbox, now: Time) {
        let ids: Vec<VenueId> = self.venues.keys().copied().collect();
        for id in ids {
            let wanted = self.venues.get(&id).and_then(|venue| {
                let is_waiting = venue.turn.nonces.is_some();
                let client = venue.client.as_ref().filter(|_| !is_waiting)?;
                client.nonces_wanted(now)
            });
            let Some(below) = wanted else { continue };
            let commit = self.journal(&Record::Nonces { venue: id, below }, out);
            if let Some(venue) = self.venues.get_mut(&id) {
                venue.turn.nonces = Some((commit, below));
            }
        }
    }

    /// Hands out the nonces that have become durable.
    pub(super) fn grant_nonces(&mut self, now: Time, out: &mut Outbox) {
        let durable = self.commits.durable;
        let mut ready = Vec::new();
        for (id, venue) in &mut self.venues {
            let due = venue.turn.nonces.filter(|(commit, _)| *commit <= durable);
            if let (Some((_, below)), Some(client)) = (due, &mut venue.client) {
                venue.turn.nonces = None;
                client.grant_nonces(below);
                ready.push(*id);
            }
        }
        for id in ready {
            self.advance_venue(id, now, out);
        }
    }

    /// Asks for a live account's balances and rights, when it is time.
    pub(super) fn ask_accounts(&mut self, now: Time, out: &mut Outbox) {
        let ids: Vec<VenueId> = self.venues.keys().copied().collect();
        for id in ids {
            let is_clean = !self
                .orders
                .open()
                .any(|order| order.intent.market.venue == id);
            let Some(venue) = self.venues.get_mut(&id) else {
                continue;
            };
            let is_due = venue.account_at <= now && (is_clean || !venue.may_trade);
            if !is_due || venue.is_taken() {
                continue;
            }
            let asked = self.ask_venue(id, out, |client, arena| {
                client.account(now, arena);
                Some(Asked::Account)
            });
            if let (Some(request), Some(venue)) = (asked, self.venues.get_mut(&id)) {
                venue.account_at = now + ACCOUNT_EVERY;
                venue.account_is_clean = is_clean;
                venue.account_asked = Some(request);
            }
        }
    }

    fn handle_account(
        &mut self,
        id: VenueId,
        request: RequestNo,
        is_good: bool,
        told: &[Told],
        now: Time,
        out: &mut Outbox,
    ) {
        let Some(venue) = self.venues.get_mut(&id) else {
            return;
        };
        if venue.account_asked != Some(request) {
            return;
        }
        venue.account_asked = None;
        if !is_good {
            venue.account_at = now + Span::SECOND;
            return;
        }
        let mut may_trade = true;
        for fact in told {
            if let Told::Rights {
                may_trade: trades,
                may_withdraw,
            } = fact
            {
                may_trade = *trades && !*may_withdraw;
                if *may_withdraw && venue.client.is_some() {
                    let text = format!(
                        "venue {id}: this key may withdraw and is refused for trading; make one that may only trade"
                    );
                    notice(out, Severity::Error, &text);
                }
            }
        }
        let begins = !venue.may_trade && may_trade;
        venue.may_trade = may_trade;
        // What was in flight when the question left may or may not be in the answer.
        let is_still_clean = venue.account_is_clean;
        if begins || is_still_clean {
            self.adopt_balances(id, told);
        }
        self.needs_renewal = true;
    }

    fn adopt_balances(&mut self, id: VenueId, told: &[Told]) {
        let has_open = self
            .orders
            .open()
            .any(|order| order.intent.market.venue == id);
        if has_open {
            return;
        }
        for fact in told {
            if let Told::Balance { currency, free, .. } = fact {
                self.funds.set(
                    Instrument {
                        currency: *currency,
                        at: Location::Venue(id),
                    },
                    *free,
                );
            }
        }
    }
}
