//! Plans and their legs: reports, recovery of single legs, closed accounts.

use crate::execution::plan::{Ending, Leg, Plan, PlanOutput, Role};
use crate::journal::record::Record;
use crate::model::ids::{EnvelopeId, NodeId, OrderId, PlanId};
use crate::model::instrument::Market;
use crate::model::market::{FeeIn, Side};
use crate::model::number::{Price, Quantity};
use crate::model::time::Time;
use crate::model::trade::{Draw, LegRefusal, LegReport, Purpose};
use crate::node::detect::Ticket;
use crate::node::output::{Outbox, Severity};
use crate::node::{Node, notice};
use crate::risk::Switch;
use crate::wire::message::Message;

impl Node {
    /// Does what the plans ask for.
    pub(super) fn drain_plans(&mut self, now: Time, out: &mut Outbox) -> bool {
        let mut moved = false;
        while let Some(output) = self.plans.poll_output() {
            moved = true;
            match output {
                PlanOutput::Query {
                    granter,
                    order,
                    plan,
                } => self.query_leg(granter, order, plan, now, out),
                PlanOutput::Recover { plan } => self.recover(plan, now, out),
                PlanOutput::GiveUp { plan } => self.give_up(plan, now, out),
                PlanOutput::Exposed {
                    market,
                    signed_units,
                } => self.gate.expose(market.pair.base, signed_units),
                PlanOutput::Closed { plan, ending } => self.close_plan(&plan, ending, now, out),
            }
        }
        moved
    }

    fn query_leg(
        &mut self,
        granter: NodeId,
        order: OrderId,
        plan: PlanId,
        now: Time,
        out: &mut Outbox,
    ) {
        if granter != self.me.id {
            // Asked anew whenever the peer is back, so that nothing piles up for it meanwhile.
            self.send_once(granter, &Message::LegQuery { order, plan }, out);
        } else if !self.orders.handle_query(order) {
            self.granted.burn(order);
            let why = LegRefusal::NeverSeen;
            self.plans.handle_refused(granter, order, why, now);
        }
    }

    /// Tries to bring a plan's legs back into balance: at the venue that fell short, or back where
    /// the excess came from, whichever pays better within reach.
    fn recover(&mut self, id: PlanId, now: Time, out: &mut Outbox) {
        let Some(plan) = self.plans.get(id) else {
            return;
        };
        let imbalance = plan.imbalance();
        let side = if imbalance > 0 { Side::Ask } else { Side::Bid };
        let wanted = Quantity(imbalance.abs());
        let reach = i64::from(self.settings.execution.recovery_reach_ppm);
        let (short, long) = match side {
            Side::Ask => ((plan.sell, plan.sell_limit), (plan.buy, plan.buy_limit)),
            Side::Bid => ((plan.buy, plan.buy_limit), (plan.sell, plan.sell_limit)),
        };
        let mut best: Option<(Ticket, Quantity, Price, Role)> = None;
        for ((market, planned), role) in [(short, Role::Hedge), (long, Role::Unwind)] {
            let role = if short.0 == long.0 {
                Role::Unwind
            } else {
                role
            };
            let bound = match side {
                Side::Ask => planned.moved_ppm(-reach),
                Side::Bid => planned.moved_ppm_ceil(reach),
            };
            let Some(way) = self.way_back(market, side, bound, wanted, now) else {
                continue;
            };
            let is_better = best.as_ref().is_none_or(|(_, quantity, price, _)| {
                way.1 > *quantity
                    || (way.1 == *quantity
                        && side.opposite().accepts(*price, way.2)
                        && *price != way.2)
            });
            if is_better {
                best = Some((way.0, way.1, way.2, role));
            }
        }
        let fired = best.is_some_and(|(ticket, quantity, limit, role)| {
            self.fire_leg(id, &ticket, quantity, limit, role, now, out)
        });
        if !fired {
            self.plans.handle_no_way(id, now);
        }
    }

    /// Returns a right and how much of `wanted` the book takes within `bound`.
    fn way_back(
        &self,
        market: Market,
        side: Side,
        bound: Price,
        wanted: Quantity,
        now: Time,
    ) -> Option<(Ticket, Quantity, Price)> {
        let state = self.books.get(&market)?;
        let book = state.book.live(now, &self.freshness).ok()?;
        let ticket = self.ticket(market, side, now).ok()?;
        let mut sum = Quantity::ZERO;
        let mut limit = None;
        for level in book.levels(side.opposite()) {
            let is_within =
                side.accepts(bound, level.price) && side.accepts(ticket.worst_price, level.price);
            if !is_within || sum >= wanted {
                break;
            }
            sum = sum.saturating_add(level.quantity);
            limit = Some(level.price);
        }
        let limit = limit?;
        let quantity = wanted
            .min(sum)
            .min(ticket.quantity_left)
            .min(ticket.notional_left.bought_at(limit))
            .floor_to(state.rules.lot);
        let is_enough = quantity.is_positive() && quantity >= state.rules.quantity_min;
        is_enough.then_some((ticket, quantity, limit))
    }

    /// Recovery ran out of time: the imbalance goes to the offer pipeline, or is held and told.
    fn give_up(&mut self, id: PlanId, now: Time, out: &mut Outbox) {
        let Some(plan) = self.plans.get(id) else {
            return;
        };
        let (imbalance, pair) = (plan.imbalance(), plan.buy.pair);
        let reserve = if imbalance > 0 {
            plan.buy_limit
        } else {
            plan.sell_limit
        };
        if self.offer_imbalance(imbalance, pair, reserve, now, out) {
            self.plans.close(id, Ending::Offered);
            return;
        }
        let text = format!(
            "plan {id}: {} {} bought and not sold (negative: sold and not bought) is held; balance it by hand",
            Quantity(imbalance),
            pair.base
        );
        notice(out, Severity::Warn, &text);
        self.plans.close(id, Ending::Held);
    }

    fn close_plan(&mut self, plan: &Plan, ending: Ending, now: Time, out: &mut Outbox) {
        let tally = plan.closed_tally();
        let (quote_units, base_units) = plan.result();
        let pair = plan.buy.pair;
        *self.totals.endings.entry(ending.word()).or_default() += 1;
        let sum = self.totals.tallies.entry(pair.base).or_default();
        *sum = sum.plus(tally);
        // What is left in balance is result; what is not is exposure and counted apart.
        *self.totals.earned.entry(pair.quote).or_default() += quote_units;
        *self.totals.earned.entry(pair.base).or_default() += base_units;
        for leg in &plan.legs {
            if leg.filled.quantity.is_positive() {
                self.totals.legs_filled += 1;
            } else {
                self.totals.legs_failed += 1;
            }
        }
        if plan.imbalance() == 0 && self.gate.settle_result(pair.quote, quote_units) {
            let text =
                "the day's loss limit is reached: only reducing orders are allowed".to_owned();
            self.halted_because = Some(text.clone());
            self.wanted_switch = Switch::Reduce;
            let switch = Switch::Reduce.ordinal();
            self.journal(&Record::Switched { switch }, out);
            notice(out, Severity::Error, &text);
        }
        let record = Record::PlanClosed {
            plan: plan.id,
            base: pair.base,
            quote: pair.quote,
            tally,
            result: (quote_units, base_units, plan.imbalance()),
            at: now,
        };
        self.journal(&record, out);
        for leg in &plan.legs {
            self.accounted.insert(leg.granter, leg.draw.order);
        }
        let text = format!(
            "plan {}: {} of {} {} filled, {} {}, {}",
            plan.id,
            tally.filled,
            tally.planned,
            pair.base,
            Quantity(quote_units),
            pair.quote,
            ending.word()
        );
        notice(out, Severity::Debug, &text);
        self.needs_renewal = true;
        self.needs_detection = true;
        self.move_proceeds(plan, now, out);
    }

    /// Moves what a plan bought and earned to where the next one needs it, by instant routes.
    fn move_proceeds(&mut self, plan: &Plan, now: Time, out: &mut Outbox) {
        let routes = [
            (plan.buy.base(), plan.sell.base().at),
            (plan.sell.quote(), plan.buy.quote().at),
        ];
        for (from, to) in routes {
            let is_instant = self.settings.execution.transfers.iter().any(|route| {
                route.currency == from.currency
                    && route.from == from.at
                    && route.to == to
                    && route.takes.0 == 0
            });
            if is_instant {
                self.free_for_transfer(from, now, out);
                let amount = self.available(from);
                self.transfer(from, to, amount, now, out);
            }
        }
    }

    /// Takes up a leg of an earlier run that the granter reports and nobody here remembers.
    pub(super) fn adopt_orphan(
        &mut self,
        granter: NodeId,
        report: &LegReport,
        now: Time,
        out: &mut Outbox,
    ) {
        let is_old = report.plan.0 >> 32 < self.incarnation;
        let is_known = self.accounted.contains(granter, report.order);
        if is_known || !is_old || !report.filled.quantity.is_positive() {
            return;
        }
        // An order whose draw its granter lost names no plan: it becomes one of its own.
        let plan = if report.plan == PlanId::default() {
            let fresh = self.numbers.plan;
            self.numbers.plan = fresh.next();
            fresh
        } else {
            report.plan
        };
        let draw = Draw {
            envelope: EnvelopeId::default(),
            order: report.order,
            plan,
            quantity: report.filled.quantity,
            limit: report.limit,
            purpose: Purpose::Open,
        };
        let record = Record::LegFired {
            granter,
            draw,
            market: report.market,
            side: report.side,
            planned: report.filled.quantity,
        };
        self.journal(&record, out);
        let fee_in = self
            .rules(report.market)
            .map_or(FeeIn::Quote, |rules| rules.fee_in);
        let leg = Leg::new(
            granter,
            draw,
            report.market,
            report.side,
            Role::Plan,
            fee_in,
            now,
        );
        self.plans.adopt(plan, leg, now);
        self.plans.handle_report(granter, report, now);
    }
}
