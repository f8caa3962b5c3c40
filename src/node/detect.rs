//! From a changed book to fired legs: the walk, the caps, the rights, and what is left to offer.

use crate::arbitrage::Costs;
use crate::arbitrage::walk::{Bound, Caps, NoTrade, Opportunity, walk};
use crate::execution::plan::{Leg, Plan, Role};
use crate::journal::record::Record;
use crate::model::ids::{EnvelopeId, NodeId, PlanId};
use crate::model::instrument::Market;
use crate::model::market::{FeeIn, Rules, Side};
use crate::model::number::{Price, Quantity};
use crate::model::sealed::LiveBook;
use crate::model::time::{Span, Time};
use crate::model::trade::{Draw, LegRefusal, Purpose};
use crate::node::books::BookState;
use crate::node::output::Outbox;
use crate::node::{Node, Phase};
use crate::risk::Switch;
use crate::risk::gate::LimitHit;
use crate::wire::message::Message;

/// What is remembered of one direction between two markets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    /// Sequences at which an opportunity was last counted.
    counted: (u64, u64),
    /// Sequences at which legs were last fired: what stood there may be gone.
    fired: (u64, u64),
}

/// What a walk needs of both sides.
pub(super) struct Sides<'a> {
    pub(super) buy: LiveBook<'a>,
    pub(super) sell: LiveBook<'a>,
    pub(super) buy_rules: Rules,
    pub(super) sell_rules: Rules,
    pub(super) costs: Costs,
    /// The nodes beside the books; `None` for this one.
    buy_holder: Option<NodeId>,
    sell_holder: Option<NodeId>,
}

impl Sides<'_> {
    /// Returns the smallest order that each venue takes.
    fn least(&self) -> (Quantity, Quantity) {
        (self.buy_rules.quantity_min, self.sell_rules.quantity_min)
    }

    /// Shrinks a quantity until its notional at the limits fits both envelopes.
    fn fit(
        &self,
        found: &Opportunity,
        buying: &Ticket,
        selling: &Ticket,
    ) -> Result<Quantity, &'static str> {
        let (buy_rules, sell_rules) = (&self.buy_rules, &self.sell_rules);
        let quantity = buying
            .notional_left
            .bought_up_to(found.quantity, found.buy_limit);
        let quantity = selling
            .notional_left
            .bought_up_to(quantity, found.sell_limit)
            .floor_to(buy_rules.lot)
            .floor_to(sell_rules.lot);
        if quantity < buy_rules.quantity_min.max(sell_rules.quantity_min) || quantity.is_zero() {
            return Err("funds_to_buy");
        }
        Ok(quantity)
    }

    /// Walks both ladders as far as `caps` and costs allow.
    pub(super) fn walk(&self, caps: &Caps) -> Result<Opportunity, NoTrade> {
        walk(
            &self.buy,
            &self.sell,
            &self.buy_rules,
            &self.sell_rules,
            &self.costs,
            caps,
        )
    }
}

/// Returns true where none of the caps takes anything from an opportunity: to walk again would find
/// the same. What is spent is rounded up level by level, so near the cap it is walked.
fn is_within(whole: &Opportunity, caps: &Caps) -> bool {
    let spent = whole.cost.saturating_add(Quantity(whole.cost.0 / 1_024));
    whole.quantity <= caps.quantity_max
        && spent < caps.spend_max
        && whole.buy_limit <= caps.buy_worst
        && whole.sell_limit >= caps.sell_worst
}

/// What limits and rights allow of an opportunity.
pub(super) struct Allowed {
    found: Opportunity,
    quantity: Quantity,
    buying: Ticket,
    selling: Ticket,
    /// The middle of the fresh books, for the gate beside this node's own venue.
    reference: Option<Price>,
}

/// A leg that is about to be fired.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub market: Market,
    pub side: Side,
    pub granter: NodeId,
    pub envelope: EnvelopeId,
    pub quantity_left: Quantity,
    pub notional_left: Quantity,
    pub worst_price: Price,
}

/// A leg whose bytes have left, or that the own desk refused.
#[derive(Clone, Copy, Debug)]
struct Fired {
    ticket: Ticket,
    draw: Draw,
    role: Role,
    /// Why the own desk did not let it leave.
    refused: Option<LegRefusal>,
}

impl Node {
    /// Looks for opportunities between a market that changed and all others of its pair.
    pub(super) fn detect(&mut self, changed: Market, now: Time, out: &mut Outbox) {
        let is_own = self
            .books
            .get(&changed)
            .is_some_and(|state| state.holder.is_none());
        if !is_own || self.phase != Phase::Running {
            return;
        }
        let mut directions = std::mem::take(&mut self.directions);
        directions.clear();
        self.books.crossing(&changed, &mut directions);
        for (buy, sell) in &directions {
            self.try_direction(*buy, *sell, now, out);
        }
        self.directions = directions;
    }

    /// Looks again at every own market: rights, funds or books elsewhere have changed.
    pub(super) fn detect_all(&mut self, now: Time, out: &mut Outbox) {
        let own: Vec<Market> = self
            .books
            .iter()
            .filter(|(_, state)| state.holder.is_none())
            .map(|(market, _)| *market)
            .collect();
        for market in own {
            self.detect(market, now, out);
        }
    }

    fn try_direction(&mut self, buy: Market, sell: Market, now: Time, out: &mut Outbox) {
        let Some(sides) = self.sides(buy, sell, now) else {
            self.note_unusable(buy, sell, now);
            return;
        };
        let (Some(ask), Some(bid)) = (sides.buy.best(Side::Ask), sides.sell.best(Side::Bid)) else {
            return;
        };
        if !sides.costs.pays(ask.price, bid.price) {
            return;
        }
        let caps = self.in_flight_caps(buy, sell);
        let whole = sides.walk(&caps);
        let Ok(whole) = whole else { return };
        let sequences = (whole.buy_sequence, whole.sell_sequence);
        let costs = sides.costs;
        match self.judge(&whole, &sides, &caps, now) {
            Ok(allowed) => {
                self.fire_plan(&allowed, now, out);
                self.count_opportunity(buy, sell, sequences);
                self.totals.taken += 1;
            }
            Err(why) => {
                if self.count_opportunity(buy, sell, sequences) {
                    *self.totals.skipped.entry(why).or_default() += 1;
                    let net = whole.proceeds.0.saturating_sub(whole.cost.0);
                    let missed = self.totals.missed.entry((why, buy.pair.quote));
                    let missed = missed.or_default();
                    *missed = missed.saturating_add(net);
                }
                self.consider_residual(&whole, &costs, why, now, out);
            }
        }
    }

    /// Counts what seems to pay on a book that may not be traded on, with what is wrong with it.
    fn note_unusable(&mut self, buy: Market, sell: Market, now: Time) {
        let Some(why) = self.why_not_live(buy, sell, now) else {
            return;
        };
        let (Some(bought), Some(sold)) = (self.books.get(&buy), self.books.get(&sell)) else {
            return;
        };
        let best = |state: &BookState, side| {
            let best = state.book.depth(side).best();
            best.map(|level| level.price)
        };
        let (Some(ask), Some(bid)) = (best(bought, Side::Ask), best(sold, Side::Bid)) else {
            return;
        };
        let rules = ((buy, &bought.rules), (sell, &sold.rules));
        let costs = self.settings.arbitrage.costs(rules.0, rules.1, Span::ZERO);
        let sequences = (bought.book.sequence(), sold.book.sequence());
        if costs.pays(ask, bid) && self.count_opportunity(buy, sell, sequences) {
            *self.totals.skipped.entry(why).or_default() += 1;
        }
    }

    /// Says what keeps the first of two books from being traded on.
    pub(super) fn why_not_live(
        &self,
        buy: Market,
        sell: Market,
        now: Time,
    ) -> Option<&'static str> {
        [buy, sell].iter().find_map(|market| {
            let state = self.books.get(market)?;
            let why = state.book.live(now, &self.freshness).err()?;
            Some(why.word())
        })
    }

    /// Says what limits and rights allow of an opportunity that was found between two books, or the
    /// first reason against it.
    pub(super) fn judge(
        &self,
        whole: &Opportunity,
        sides: &Sides<'_>,
        caps: &Caps,
        now: Time,
    ) -> Result<Allowed, &'static str> {
        let (buy, sell) = (whole.buy, whole.sell);
        if self.gate.switch() != Switch::Active {
            return Err(LimitHit::Switch.word());
        }
        let window = self.windows.get(&(buy, sell)).copied().unwrap_or_default();
        if whole.buy_sequence == window.fired.0 || whole.sell_sequence == window.fired.1 {
            return Err("awaiting_book");
        }
        if !self.plans.has_room() {
            return Err("plans_full");
        }
        let (least_bought, least_sold) = sides.least();
        let buying = self.ticket_at(buy, Side::Bid, sides.buy_holder, least_bought, now)?;
        let selling = self.ticket_at(sell, Side::Ask, sides.sell_holder, least_sold, now)?;
        let base = buy.pair.base;
        let exposure = self
            .gate
            .exposure_left(base)
            .less(self.planned_in_flight(buy));
        if !exposure.is_positive() {
            return Err(LimitHit::Exposure.word());
        }
        let capped = Caps {
            quantity_max: buying
                .quantity_left
                .min(selling.quantity_left)
                .min(exposure),
            spend_max: buying.notional_left,
            buy_worst: buying.worst_price,
            sell_worst: selling.worst_price,
            ..*caps
        };
        let found = if is_within(whole, &capped) {
            *whole
        } else {
            let found = sides.walk(&capped);
            found.map_err(|why| self.why_nothing(why, &buying, &selling, exposure))?
        };
        let quantity = sides.fit(&found, &buying, &selling)?;
        let reference = self.reference(found.buy, now);
        self.would_pass(&found, &[buying, selling], reference, now)?;
        Ok(Allowed {
            found,
            quantity,
            buying,
            selling,
            reference,
        })
    }

    /// Asks beforehand what the gates beside the venues will ask: a leg that would be refused leaves
    /// its other half alone.
    fn would_pass(
        &self,
        found: &Opportunity,
        tickets: &[Ticket; 2],
        reference: Option<Price>,
        now: Time,
    ) -> Result<(), &'static str> {
        for (ticket, limit) in tickets.iter().zip([found.buy_limit, found.sell_limit]) {
            if !self.gate.is_within_collar(limit, reference) {
                return Err(LegRefusal::Collar.word());
            }
            let may_send = match self.peers.get(&ticket.granter) {
                Some(peer) => peer.throttled_until <= now,
                None => self.gate.may_send(ticket.market.venue, now),
            };
            if !may_send {
                return Err(LegRefusal::Throttle.word());
            }
        }
        Ok(())
    }

    /// Names what kept a walk from taking anything.
    fn why_nothing(
        &self,
        why: NoTrade,
        buying: &Ticket,
        selling: &Ticket,
        exposure: Quantity,
    ) -> &'static str {
        match why {
            NoTrade::BelowEdge => "below_edge",
            NoTrade::TooSmall(Bound::Books) => "below_minimum",
            NoTrade::TooSmall(Bound::Price) => "no_envelope",
            NoTrade::TooSmall(Bound::Spend) => "funds_to_buy",
            NoTrade::TooSmall(Bound::Quantity)
                if exposure <= buying.quantity_left.min(selling.quantity_left) =>
            {
                LimitHit::Exposure.word()
            }
            NoTrade::TooSmall(Bound::Quantity) if buying.quantity_left <= selling.quantity_left => {
                "funds_to_buy"
            }
            NoTrade::TooSmall(Bound::Quantity) => "funds_to_sell",
        }
    }

    fn fire_plan(&mut self, allowed: &Allowed, now: Time, out: &mut Outbox) {
        let Allowed {
            found,
            quantity,
            buying,
            selling,
            reference,
        } = allowed;
        let quantity = *quantity;
        let id = self.numbers.plan;
        self.numbers.plan = id.next();
        // The leg that has further to go leaves first.
        let mut legs = [(buying, found.buy_limit), (selling, found.sell_limit)];
        if buying.granter == self.me.id {
            legs.reverse();
        }
        let fired = legs.map(|(ticket, limit)| {
            self.send_leg(
                id,
                ticket,
                (quantity, limit),
                Role::Plan,
                *reference,
                now,
                out,
            )
        });
        let window = self.windows.entry((found.buy, found.sell)).or_default();
        window.fired = (found.buy_sequence, found.sell_sequence);
        let mut plan = Plan::new(id, found.buy, found.sell, quantity, now);
        plan.buy_limit = found.buy_limit;
        plan.sell_limit = found.sell_limit;
        self.plans.open_plan(plan);
        for leg in fired.iter().flatten() {
            self.add_leg(id, leg, now);
        }
        for leg in fired.iter().flatten() {
            self.note_leg(id, leg, now, out);
        }
    }

    /// Buys what cannot be sold beside it any more, within the exposure the owner allows, to offer
    /// it to others while the window is open.
    pub(super) fn acquire(&mut self, whole: &Opportunity, now: Time, out: &mut Outbox) -> bool {
        if !self.settings.execution.acquire_for_offers {
            return false;
        }
        let Ok(ticket) = self.ticket(whole.buy, Side::Bid, now) else {
            return false;
        };
        let Some(rules) = self.rules(whole.buy) else {
            return false;
        };
        let quantity = whole
            .quantity
            .min(ticket.quantity_left)
            .min(ticket.notional_left.bought_at(whole.buy_limit))
            .min(self.gate.exposure_left(whole.buy.pair.base))
            .floor_to(rules.lot);
        if quantity < rules.quantity_min || quantity.is_zero() {
            return false;
        }
        let id = self.numbers.plan;
        self.numbers.plan = id.next();
        let window = self.windows.entry((whole.buy, whole.sell)).or_default();
        // Only the buying book is taken from.
        window.fired.0 = whole.buy_sequence;
        let mut plan = Plan::new(id, whole.buy, whole.sell, quantity, now);
        plan.buy_limit = whole.buy_limit;
        plan.sell_limit = whole.sell_limit;
        plan.is_acquisition = true;
        self.plans.open_plan(plan);
        self.fire_leg(id, &ticket, quantity, whole.buy_limit, Role::Plan, now, out)
    }

    /// Draws on an envelope and fires one leg of an open plan, here or at a peer.
    pub(super) fn fire_leg(
        &mut self,
        plan: PlanId,
        ticket: &Ticket,
        quantity: Quantity,
        limit: Price,
        role: Role,
        now: Time,
        out: &mut Outbox,
    ) -> bool {
        let reference = self.reference(ticket.market, now);
        let size = (quantity, limit);
        let Some(leg) = self.send_leg(plan, ticket, size, role, reference, now, out) else {
            return false;
        };
        self.add_leg(plan, &leg, now);
        self.note_leg(plan, &leg, now, out);
        true
    }

    /// Draws on an envelope and lets the bytes of a leg leave. Its plan hears of it afterwards.
    fn send_leg(
        &mut self,
        plan: PlanId,
        ticket: &Ticket,
        (quantity, limit): (Quantity, Price),
        role: Role,
        reference: Option<Price>,
        now: Time,
        out: &mut Outbox,
    ) -> Option<Fired> {
        let purpose = match role {
            Role::Plan => Purpose::Open,
            Role::Hedge | Role::Unwind => Purpose::Recover,
        };
        let envelope = (ticket.granter, ticket.envelope);
        let draw = self.rights.draw(envelope, plan, quantity, limit, purpose)?;
        let refused = if ticket.granter == self.me.id {
            let me = self.me.id;
            self.place_leg(draw, me, reference, now, out).err()
        } else {
            self.send_once(ticket.granter, &Message::Fire(draw), out);
            out.hand_over();
            None
        };
        Some(Fired {
            ticket: *ticket,
            draw,
            role,
            refused,
        })
    }

    fn add_leg(&mut self, plan: PlanId, fired: &Fired, now: Time) {
        let ticket = &fired.ticket;
        let fee_in = self
            .books
            .get(&ticket.market)
            .map_or(FeeIn::Quote, |state| state.rules.fee_in);
        let leg = Leg::new(
            ticket.granter,
            fired.draw,
            ticket.market,
            ticket.side,
            fired.role,
            fee_in,
            now,
        );
        self.plans.add_leg(plan, leg);
        self.totals.legs_fired += 1;
    }

    /// Writes down a leg that has left, and what its own venue's desk said to it.
    fn note_leg(&mut self, plan: PlanId, fired: &Fired, now: Time, out: &mut Outbox) {
        let (ticket, draw) = (fired.ticket, fired.draw);
        let planned = self
            .plans
            .get(plan)
            .map_or(draw.quantity, |plan| plan.planned);
        if let Some(why) = fired.refused {
            self.refuse(draw, self.me.id, why, now, out);
        }
        let record = Record::LegFired {
            granter: ticket.granter,
            draw,
            market: ticket.market,
            side: ticket.side,
            planned,
        };
        self.journal(&record, out);
    }

    /// Finds the right to trade on a side of a market.
    pub(super) fn ticket(
        &self,
        market: Market,
        side: Side,
        now: Time,
    ) -> Result<Ticket, &'static str> {
        let state = self.books.get(&market);
        let holder = state.and_then(|state| state.holder);
        let least = state.map_or(Quantity(1), |state| state.rules.quantity_min);
        self.ticket_at(market, side, holder, least, now)
    }

    /// The same where it is known who stands beside the market and what the smallest order is.
    fn ticket_at(
        &self,
        market: Market,
        side: Side,
        holder: Option<NodeId>,
        least: Quantity,
        now: Time,
    ) -> Result<Ticket, &'static str> {
        if let Some(peer) = holder
            && !self
                .peers
                .get(&peer)
                .is_some_and(|peer| peer.link.is_ready())
        {
            return Err("link_down");
        }
        let right = self.rights.best(market, side, now);
        let Some(right) = right.filter(|right| right.quantity_left() >= least) else {
            return Err(self.why_no_right(market, side, holder));
        };
        Ok(Ticket {
            market,
            side,
            granter: right.granter,
            envelope: right.grant.envelope,
            quantity_left: right.quantity_left(),
            notional_left: right.notional_left(),
            worst_price: right.grant.worst_price,
        })
    }

    /// Says why there is no envelope, as far as this node can know.
    fn why_no_right(&self, market: Market, side: Side, holder: Option<NodeId>) -> &'static str {
        if holder.is_some() {
            let is_foreign = holder
                .and_then(|peer| self.peers.get(&peer))
                .is_some_and(|peer| peer.peer.owner != self.me.owner);
            return if is_foreign {
                "other_owner"
            } else {
                "no_envelope"
            };
        }
        let price = self
            .books
            .get(&market)
            .and_then(|state| state.book.depth(side.opposite()).best())
            .map_or(Price::whole(1), |level| level.price);
        if let Err(limit) = self.gate.room(market, side, price) {
            return limit.word();
        }
        // What this node's next envelope could be made of: its share of what is free, and what its
        // last one leaves.
        let shares = i64::try_from(self.drawers(market).len()).unwrap_or(1);
        let free = match side {
            Side::Bid => self.available(market.quote()),
            Side::Ask => self.available(market.base()),
        };
        let left = self
            .granted
            .iter()
            .filter(|one| one.drawer == self.me.id)
            .filter(|one| (one.grant.market, one.grant.side) == (market, side))
            .fold(Quantity::ZERO, |sum, one| {
                let (quantity, _) = one.left();
                sum.saturating_add(match side {
                    Side::Bid => one.grant.worst_price.total_ceil(quantity),
                    Side::Ask => quantity,
                })
            });
        let paid = Quantity(free.0 / shares.max(1)).saturating_add(left);
        let rules = self.books.get(&market).map(|state| state.rules);
        let needed = rules.map_or(Quantity(1), |rules| match side {
            Side::Bid => price.total_ceil(rules.quantity_min),
            Side::Ask => rules.quantity_min,
        });
        match (paid < needed, side) {
            (true, Side::Bid) => "funds_to_buy",
            (true, Side::Ask) => "funds_to_sell",
            (false, _) => "no_envelope",
        }
    }

    pub(super) fn sides(&self, buy: Market, sell: Market, now: Time) -> Option<Sides<'_>> {
        let (bought, sold) = (self.books.get(&buy)?, self.books.get(&sell)?);
        let buy_book = bought.book.live(now, &self.freshness).ok()?;
        let sell_book = sold.book.live(now, &self.freshness).ok()?;
        let age = now
            .since(buy_book.received)
            .max(now.since(sell_book.received));
        let lag = buy_book.engine_lag.max(sell_book.engine_lag);
        let way = self.way_to(bought.holder).max(self.way_to(sold.holder));
        let costs = self.settings.arbitrage.costs(
            (buy, &bought.rules),
            (sell, &sold.rules),
            age + lag + way,
        );
        Some(Sides {
            buy: buy_book,
            sell: sell_book,
            buy_rules: bought.rules,
            sell_rules: sold.rules,
            costs,
            buy_holder: bought.holder,
            sell_holder: sold.holder,
        })
    }

    /// Returns the time a leg needs to the node beside a book: half a round trip.
    fn way_to(&self, holder: Option<NodeId>) -> Span {
        holder
            .and_then(|peer| self.peers.get(&peer)?.last_rtt)
            .map_or(Span::ZERO, |rtt| Span(rtt.0 / 2))
    }

    /// Returns what legs in flight will take from a side of a book.
    pub(super) fn in_flight(&self, market: Market, takes: Side) -> Quantity {
        let own = self.orders.in_flight(market, takes);
        let legs = self.plans.iter().flat_map(|plan| &plan.legs);
        legs.filter(|leg| {
            leg.market == market
                && leg.side == takes.opposite()
                && leg.granter != self.me.id
                && !leg.state.is_final()
        })
        .fold(own, |sum, leg| {
            sum.saturating_add(leg.draw.quantity.less(leg.filled.quantity))
        })
    }

    /// Returns what could become imbalance if one side of every plan in flight failed.
    fn planned_in_flight(&self, market: Market) -> Quantity {
        self.plans
            .iter()
            .filter(|plan| plan.buy.pair.base == market.pair.base)
            .fold(Quantity::ZERO, |sum, plan| sum.saturating_add(plan.planned))
    }

    fn count_opportunity(&mut self, buy: Market, sell: Market, sequences: (u64, u64)) -> bool {
        let window = self.windows.entry((buy, sell)).or_default();
        let is_new = window.counted != sequences;
        if is_new {
            window.counted = sequences;
            self.totals.opportunities += 1;
        }
        is_new
    }
}
