//! The desk beside the venues: envelopes are granted, drawn on and renewed; orders are fired.

use crate::execution::order::OrderOutput;
use crate::journal::record::Record;
use crate::model::currency::Currency;
use crate::model::ids::{EnvelopeId, NodeId, OrderId, PlanId};
use crate::model::instrument::{Instrument, Location, Market};
use crate::model::market::{FeeIn, Rules, Side};
use crate::model::number::{Price, Quantity};
use crate::model::sealed::Approved;
use crate::model::time::{Span, Time};
use crate::model::trade::{Draw, Grant, LegRefusal, OrderIntent, Purpose};
use crate::node::output::{Outbox, Output, Severity};
use crate::node::{Node, Phase, notice};
use crate::offer::listed;
use crate::risk::Switch;
use crate::risk::envelope::{EnvelopeState, ORDERS_PER_ENVELOPE};
use crate::wire::message::Message;

/// Money on its way between two locations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moving {
    pub currency: Currency,
    pub to: Location,
    pub amount: Quantity,
}

impl Node {
    /// Fires a draw of a leader at one of this node's venues, or tells it why not.
    pub(super) fn fire(&mut self, draw: Draw, leader: NodeId, now: Time, out: &mut Outbox) {
        let market = self.granted.market(draw.envelope);
        let reference = market.and_then(|market| self.reference(market, now));
        if let Err(why) = self.place_leg(draw, leader, reference, now, out) {
            self.refuse(draw, leader, why, now, out);
        }
    }

    /// Takes a draw that is not fired out of use, and tells its leader.
    pub(super) fn refuse(
        &mut self,
        draw: Draw,
        leader: NodeId,
        why: LegRefusal,
        now: Time,
        out: &mut Outbox,
    ) {
        *self.totals.fires_refused.entry(why.word()).or_default() += 1;
        self.granted.burn(draw.order);
        self.tell_refused(leader, draw, why, now, out);
    }

    /// Checks a draw, lets its order leave and then writes it down. `reference` is the middle of the
    /// fresh books of its pair, as they are in this step.
    pub(super) fn place_leg(
        &mut self,
        draw: Draw,
        leader: NodeId,
        reference: Option<Price>,
        now: Time,
        out: &mut Outbox,
    ) -> Result<(), LegRefusal> {
        let may_fire = matches!(self.phase, Phase::Running | Phase::Closing);
        if !may_fire || !self.orders.has_room() {
            return Err(LegRefusal::Switch);
        }
        let (market, side) = self.granted.draw(&draw, leader, now)?;
        let draw = Draw {
            quantity: self.tagged(market, side, draw.quantity),
            ..draw
        };
        let intent = OrderIntent {
            id: draw.order,
            market,
            side,
            quantity: draw.quantity,
            limit: draw.limit,
        };
        let placed = self.place_drawn(&intent, draw.purpose, reference, now, out);
        let approved = placed.inspect_err(|_| {
            self.granted
                .handle_order_ended(draw.order, Quantity::ZERO, Quantity::ZERO);
        })?;
        self.orders.fire(&approved, draw, leader, now);
        let record = Record::Drawn {
            draw,
            leader,
            market,
            side,
        };
        self.journal(&record, out);
        Ok(())
    }

    fn place_drawn(
        &mut self,
        intent: &OrderIntent,
        purpose: Purpose,
        reference: Option<Price>,
        now: Time,
        out: &mut Outbox,
    ) -> Result<Approved, LegRefusal> {
        self.check_book(intent, now)?;
        let approved = self.gate.approve(intent, purpose, reference, now)?;
        if self.is_paper() {
            let way = self.settings.execution.paper_latency_min;
            self.paper.fire(approved, now, way);
        } else {
            self.place(approved, now, out)?;
            out.hand_over();
        }
        Ok(approved)
    }

    /// The price bound is checked again here, beside the venue, on the freshest book there is.
    fn check_book(&self, intent: &OrderIntent, now: Time) -> Result<(), LegRefusal> {
        let state = self
            .books
            .get(&intent.market)
            .ok_or(LegRefusal::BookNotLive)?;
        let book = state
            .book
            .live(now, &self.freshness)
            .map_err(|_| LegRefusal::BookNotLive)?;
        let best = book
            .best(intent.side.opposite())
            .ok_or(LegRefusal::PriceGone)?;
        if intent.side.accepts(intent.limit, best.price) {
            Ok(())
        } else {
            Err(LegRefusal::PriceGone)
        }
    }

    pub(super) fn tell_refused(
        &mut self,
        leader: NodeId,
        draw: Draw,
        why: LegRefusal,
        now: Time,
        out: &mut Outbox,
    ) {
        if leader == self.me.id {
            self.plans.handle_refused(leader, draw.order, why, now);
        } else {
            let message = Message::LegRefused {
                order: draw.order,
                plan: draw.plan,
                why,
            };
            self.send(leader, &message, now, out);
        }
    }

    /// Does what the orders ask for.
    pub(super) fn drain_orders(&mut self, now: Time, out: &mut Outbox) -> bool {
        let mut moved = false;
        while let Some(output) = self.orders.poll_output() {
            moved = true;
            match output {
                OrderOutput::Cancel(order, market) => self.cancel(order, market, now, out),
                OrderOutput::List(venue, from) => self.list(venue, from, now, out),
                OrderOutput::Report(leader, report) => {
                    if leader == self.me.id {
                        if !self.plans.handle_report(leader, &report, now) {
                            self.adopt_orphan(leader, &report, now, out);
                        }
                    } else {
                        self.send(leader, &Message::LegReport(report), now, out);
                    }
                }
                OrderOutput::Refused(leader, draw, why) => {
                    self.tell_refused(leader, draw, why, now, out);
                }
                OrderOutput::Ended(order) => self.handle_order_ended(order, now, out),
                OrderOutput::Filled(order, more) => {
                    if let Some((market, side)) = self
                        .orders
                        .get(order)
                        .map(|order| (order.intent.market, order.intent.side))
                    {
                        self.note_fill(order, market, now);
                        let fee_in = self
                            .rules(market)
                            .map_or(FeeIn::Quote, |rules| rules.fee_in);
                        self.funds.handle_fill(market, side, &more, fee_in);
                        self.note_balance(market.base(), out);
                        self.note_balance(market.quote(), out);
                    }
                }
            }
        }
        moved
    }

    fn handle_order_ended(&mut self, id: OrderId, now: Time, out: &mut Outbox) {
        self.forget_at_client(id);
        let Some(order) = self.orders.get(id) else {
            self.granted
                .handle_order_ended(id, Quantity::ZERO, Quantity::ZERO);
            return;
        };
        let (filled, market) = (order.filled, order.intent.market);
        if order.draw.plan == PlanId::default() && filled.quantity.is_positive() {
            // Its draw was lost in a crash: without it the end would mean nothing to the next run.
            let record = Record::Drawn {
                draw: Draw {
                    quantity: filled.quantity,
                    ..order.draw
                },
                leader: order.leader,
                market,
                side: order.intent.side,
            };
            self.journal(&record, out);
        }
        self.granted
            .handle_order_ended(id, filled.quantity, filled.total);
        let record = Record::Ended {
            order: id,
            filled,
            at: now,
        };
        self.journal(&record, out);
        self.needs_renewal = true;
        if let Some(venue) = self.venues.get_mut(&market.venue) {
            venue.account_at = venue.account_at.min(now + Span::millis(500));
        }
    }

    /// Fills paper orders that have arrived at their venue.
    pub(super) fn arrive_paper_orders(&mut self, now: Time) {
        while let Some(approved) = self.paper.poll_arrived(now) {
            let market = approved.order().market;
            let Some(state) = self.books.get(&market) else {
                continue;
            };
            let book = state.book.live(now, &self.freshness).ok();
            let report = self.paper.fill(&approved, book.as_ref(), &state.rules);
            self.orders.handle_report(&report, now);
        }
    }

    /// What is due at the desk a few times a second.
    pub(super) fn tend_desk(&mut self, now: Time, out: &mut Outbox) {
        self.reserve_nonces(out, now);
        self.ask_accounts(now, out);
        self.arrive_transfers(now, out);
        if self.gate.handle_day(now) {
            let open: Vec<_> = self
                .granted
                .iter()
                .map(|envelope| (envelope.grant, envelope.unfilled()))
                .collect();
            for (grant, (quantity, notional)) in open {
                self.gate
                    .reserve(grant.market, grant.side, quantity, notional);
            }
        }
    }

    /// Brings every envelope up to what funds and limits allow now.
    pub(super) fn renew_envelopes(&mut self, now: Time, out: &mut Outbox) {
        if self.phase != Phase::Running {
            return;
        }
        let expired = self
            .granted
            .close_where(|envelope| envelope.is_expired(now));
        self.tell_closed(expired, now, out);
        self.rights.drop_where(|right| right.expires <= now);
        self.drop_closed(out);
        if self.gate.switch() == Switch::Halt {
            return;
        }
        let markets: Vec<Market> = self
            .books
            .iter()
            .filter(|(_, state)| state.holder.is_none())
            .map(|(market, _)| *market)
            .collect();
        for market in markets {
            let drawers = self.drawers(market);
            for side in [Side::Bid, Side::Ask] {
                for drawer in &drawers {
                    self.renew_one(market, side, *drawer, drawers.len(), now, out);
                }
            }
        }
    }

    /// Returns who may lead plans with a leg at this market: nodes of this owner, this one
    /// included, where the pair is traded at another venue too.
    pub(super) fn drawers(&self, market: Market) -> Vec<NodeId> {
        let is_elsewhere =
            |other: &Market| other.pair == market.pair && other.venue != market.venue;
        let mut drawers = Vec::new();
        if self.books.keys().any(is_elsewhere) {
            drawers.push(self.me.id);
        }
        for (id, peer) in &self.peers {
            let leads = peer.markets.iter().any(|(other, _)| is_elsewhere(other));
            if leads && peer.link.is_ready() && self.is_fleet(*id) {
                drawers.push(*id);
            }
        }
        drawers
    }

    fn renew_one(
        &mut self,
        market: Market,
        side: Side,
        drawer: NodeId,
        share_of: usize,
        now: Time,
        out: &mut Outbox,
    ) {
        let Some((rules, worst)) = self.envelope_price(market, side, now) else {
            return;
        };
        let current = self.granted.iter().find(|envelope| {
            envelope.grant.market == market
                && envelope.grant.side == side
                && envelope.drawer == drawer
                && envelope.state != EnvelopeState::Closing
        });
        let current = current.map(|envelope| {
            let (quantity, _) = envelope.left();
            let ttl = self.settings.risk.envelope_ttl;
            let is_ageing = envelope.expires.since(now) < Span(ttl.0 / 4);
            let reach = u64::from(self.settings.risk.envelope_reach_ppm) / 2;
            let has_drifted = worst
                .distance_ppm(envelope.grant.worst_price)
                .is_none_or(|ppm| ppm > reach);
            let is_used_up = envelope.grant.orders > 4 && envelope.orders_left() < 4;
            (
                envelope.grant.envelope,
                quantity,
                is_ageing || has_drifted || is_used_up,
                matches!(envelope.state, EnvelopeState::Arming(_)),
            )
        });
        let held = current.map_or(Quantity::ZERO, |(_, quantity, ..)| quantity);
        let share = self.share(market, side, worst, &rules, share_of, held);
        let target = share.floor_to(rules.lot);
        if let Some((id, quantity, is_worn, is_arming)) = current {
            let is_enough = quantity.0 >= target.0 / 2 && quantity >= rules.quantity_min;
            let is_dry = target < rules.quantity_min && quantity < rules.quantity_min;
            if is_arming || (!is_worn && (is_enough || is_dry)) {
                return;
            }
            let closed = self
                .granted
                .close_where(|envelope| envelope.grant.envelope == id);
            self.tell_closed(closed, now, out);
            self.drop_closed(out);
        }
        if target >= rules.quantity_min && target.is_positive() && self.granted.has_room() {
            self.grant(market, side, drawer, target, worst, now, out);
        }
    }

    fn grant(
        &mut self,
        market: Market,
        side: Side,
        drawer: NodeId,
        quantity: Quantity,
        worst_price: Price,
        now: Time,
        out: &mut Outbox,
    ) {
        let reach = i64::from(self.settings.risk.envelope_reach_ppm);
        let dearest = match side {
            Side::Bid => worst_price,
            Side::Ask => worst_price.moved_ppm_ceil(reach.saturating_mul(4)),
        };
        let envelope = self.numbers.envelope;
        let first = self.numbers.order;
        self.numbers.envelope = envelope.next();
        self.numbers.order = OrderId(first.0 + u64::from(ORDERS_PER_ENVELOPE));
        let grant = Grant {
            envelope,
            market,
            side,
            first,
            orders: ORDERS_PER_ENVELOPE,
            quantity,
            worst_price,
            notional: dearest.total_ceil(quantity),
        };
        let expires = now + self.settings.risk.envelope_ttl;
        let commit = self.journal(
            &Record::Granted {
                grant,
                drawer,
                at: now,
            },
            out,
        );
        self.gate
            .reserve(market, side, quantity, worst_price.total_ceil(quantity));
        self.granted.arm(grant, drawer, expires, commit);
        if self.is_paper() && self.commits.durable >= commit {
            self.arm_committed(now, out);
        }
    }

    /// Hands out what has become durable.
    pub(super) fn arm_committed(&mut self, now: Time, out: &mut Outbox) {
        let armed = self.granted.handle_committed(self.commits.durable);
        let mut is_own = false;
        for (grant, drawer, expires) in armed {
            if drawer == self.me.id {
                is_own = true;
                self.rights.add(grant, drawer, expires);
            } else {
                let ttl = expires.since(now);
                self.send(drawer, &Message::Grant { grant, ttl }, now, out);
            }
        }
        if is_own {
            self.totals.slow_arms += 1;
            self.detect_all(now, out);
        }
    }

    pub(super) fn revoke_envelopes(&mut self, out: &mut Outbox, now: Time) {
        let closed = self.granted.close_where(|_| true);
        self.tell_closed(closed, now, out);
        self.drop_closed(out);
    }

    fn tell_closed(&mut self, closed: Vec<(EnvelopeId, NodeId)>, now: Time, out: &mut Outbox) {
        for (envelope, drawer) in closed {
            if drawer == self.me.id {
                let me = self.me.id;
                self.rights
                    .drop_where(|right| right.granter == me && right.grant.envelope == envelope);
            } else {
                self.send(drawer, &Message::GrantOver { envelope }, now, out);
            }
        }
    }

    /// Gives the limits back what closed envelopes did not fill.
    fn drop_closed(&mut self, out: &mut Outbox) {
        while let Some(envelope) = self.granted.poll_closed() {
            let grant = envelope.grant;
            let (quantity, _) = envelope.unfilled();
            let notional = grant.worst_price.total_ceil(quantity);
            self.gate
                .give_back(grant.market, grant.side, quantity, notional);
            let record = Record::EnvelopeClosed {
                envelope: grant.envelope,
            };
            self.journal(&record, out);
        }
    }

    /// Returns how much one drawer's new envelope may hold.
    fn share(
        &self,
        market: Market,
        side: Side,
        worst: Price,
        rules: &Rules,
        share_of: usize,
        held: Quantity,
    ) -> Quantity {
        let Ok(room) = self.gate.room(market, side, worst) else {
            return held.min(Quantity::ZERO);
        };
        let paid = match side {
            Side::Bid => market.quote(),
            Side::Ask => market.base(),
        };
        let free = self.available(paid);
        let parts = i64::try_from(share_of.max(1)).unwrap_or(1);
        let affordable = match side {
            Side::Bid => {
                let fee = match rules.fee_in {
                    FeeIn::Quote => i64::from(rules.taker_fee_ppm),
                    FeeIn::Received => 0,
                };
                free.bought_at(worst.moved_ppm_ceil(fee))
            }
            Side::Ask => free,
        };
        // What this drawer holds already is part of its share.
        let whole = affordable.saturating_add(held);
        let part = Quantity(whole.0 / parts).max(held);
        part.min(room.saturating_add(held))
            .min(self.order_max(market))
    }

    fn order_max(&self, market: Market) -> Quantity {
        listed(&self.settings.risk.order_quantity_max, market.pair.base).unwrap_or_default()
    }

    /// Returns money at an own location that no envelope, order or offer has a claim on.
    pub(super) fn available(&self, instrument: Instrument) -> Quantity {
        let mut free = self.funds.free(instrument);
        for envelope in self.granted.iter() {
            let grant = &envelope.grant;
            if envelope.state == EnvelopeState::Closing {
                continue;
            }
            let (quantity, _) = envelope.left();
            if grant.side == Side::Ask && grant.market.base() == instrument {
                free = free.less(quantity);
            }
            if grant.side == Side::Bid && grant.market.quote() == instrument {
                free = free.less(grant.worst_price.total_ceil(quantity));
            }
        }
        for order in self.orders.open() {
            let intent = &order.intent;
            let left = intent.quantity.less(order.filled.quantity);
            if intent.side == Side::Ask && intent.market.base() == instrument {
                free = free.less(left);
            }
            if intent.side == Side::Bid && intent.market.quote() == instrument {
                free = free.less(intent.limit.total_ceil(left));
            }
        }
        free.less(self.pledged_at(instrument))
    }

    /// Returns the price bound of an envelope now, or `None` without a live book.
    fn envelope_price(&self, market: Market, side: Side, now: Time) -> Option<(Rules, Price)> {
        let state = self.books.get(&market)?;
        let book = state.book.live(now, &self.freshness).ok()?;
        let best = book.best(side.opposite())?;
        let reach = i64::from(self.settings.risk.envelope_reach_ppm);
        let worst = match side {
            Side::Bid => best.price.moved_ppm_ceil(reach),
            Side::Ask => best.price.moved_ppm(-reach),
        };
        Some((state.rules, worst)).filter(|(_, worst)| worst.is_positive())
    }

    pub(super) fn rules(&self, market: Market) -> Option<Rules> {
        self.books.get(&market).map(|state| state.rules)
    }

    /// Moves what instant or due transfers carry, towards an open window's needs.
    pub(super) fn transfer(
        &mut self,
        from: Instrument,
        to: Location,
        amount: Quantity,
        now: Time,
        out: &mut Outbox,
    ) -> bool {
        let Some(route) = self
            .settings
            .execution
            .transfers
            .iter()
            .find(|route| {
                route.currency == from.currency && route.from == from.at && route.to == to
            })
            .copied()
        else {
            return false;
        };
        let arrives = amount.less(route.cost);
        if !arrives.is_positive() || self.available(from) < amount {
            return false;
        }
        self.funds.take(from, amount);
        self.note_balance(from, out);
        out.push(Output::Transfer {
            currency: from.currency,
            from: from.at,
            to,
            amount,
        });
        let moving = Moving {
            currency: from.currency,
            to,
            amount: arrives,
        };
        self.transfers.push_back((now + route.takes, moving));
        self.arrive_transfers(now, out);
        true
    }

    /// Closes own envelopes that hold money which is wanted elsewhere; they are renewed after.
    pub(super) fn free_for_transfer(&mut self, at: Instrument, now: Time, out: &mut Outbox) {
        let me = self.me.id;
        let closed = self.granted.close_where(|envelope| {
            let grant = &envelope.grant;
            let claims = match grant.side {
                Side::Ask => grant.market.base() == at,
                Side::Bid => grant.market.quote() == at,
            };
            claims && envelope.drawer == me
        });
        self.tell_closed(closed, now, out);
        self.drop_closed(out);
    }

    fn arrive_transfers(&mut self, now: Time, out: &mut Outbox) {
        let mut at = 0;
        while at < self.transfers.len() {
            if self.transfers[at].0 > now {
                at += 1;
                continue;
            }
            if let Some((_, moving)) = self.transfers.remove(at) {
                let instrument = Instrument {
                    currency: moving.currency,
                    at: moving.to,
                };
                self.funds.add(instrument, moving.amount);
                self.note_balance(instrument, out);
                self.needs_renewal = true;
            }
        }
    }

    /// Journals what a paper account holds; a live venue keeps its own books.
    pub(super) fn note_balance(&mut self, instrument: Instrument, out: &mut Outbox) {
        let is_venue = matches!(instrument.at, Location::Venue(_));
        if is_venue && !self.is_paper() {
            return;
        }
        let record = Record::Balance {
            location: instrument.at.to_string(),
            currency: instrument.currency,
            units: self.funds.free(instrument).0,
        };
        self.journal(&record, out);
    }

    /// Lets legs under way come to their end and begins nothing new. The owner's switch stays as it
    /// is for the next run.
    pub(super) fn begin_closing(&mut self, now: Time, out: &mut Outbox) {
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Closing;
        if self.gate.switch() != Switch::Halt {
            self.gate.set_switch(Switch::Reduce);
        }
        self.withdraw_offers(now, out);
    }

    /// Sets the switch; `Halt` cancels what rests and closes every envelope.
    pub(super) fn set_switch(&mut self, switch: Switch, now: Time, out: &mut Outbox) {
        self.wanted_switch = switch;
        let record = Record::Switched {
            switch: switch.ordinal(),
        };
        self.journal(&record, out);
        if self.phase == Phase::Running {
            self.gate.set_switch(switch);
        }
        if switch == Switch::Halt {
            self.gate.set_switch(switch);
            self.orders.cancel_all(now);
            self.revoke_envelopes(out, now);
        }
        if matches!(switch, Switch::Reduce | Switch::Halt) {
            self.withdraw_offers(now, out);
        }
        if switch == Switch::Active {
            self.halted_because = None;
        }
        let text = format!("switch is {}", switch.word());
        notice(out, Severity::Info, &text);
        self.needs_renewal = true;
    }
}
