//! What an earlier run left behind is looked up before anything new is done.

use crate::execution::plan::{Leg, Role};
use crate::journal::owed::{DrawnOrder, FiredLeg, Owed};
use crate::journal::record::Record;
use crate::model::ids::{MatchId, NodeId, OrderId, PlanId};
use crate::model::instrument::{Instrument, Location};
use crate::model::market::FeeIn;
use crate::model::number::Quantity;
use crate::model::offer::Part;
use crate::model::time::Time;
use crate::model::trade::{Draw, Filled, OrderIntent, Purpose};
use crate::node::output::{Outbox, Severity};
use crate::node::{Node, Phase, notice};
use crate::offer::gather::{Candidate, CandidateState};
use crate::offer::hold::{Hold, HoldState, Holds};
use crate::risk::Switch;

impl Node {
    /// Takes up what the journal says is owed.
    pub(super) fn take_up(&mut self, owed: Owed, now: Time, out: &mut Outbox) {
        let record = Record::Booted {
            incarnation: self.incarnation,
        };
        self.journal(&record, out);
        self.wanted_switch = Switch::from_ordinal(owed.switch).unwrap_or(Switch::Active);
        self.gate.set_switch(Switch::Halt);
        self.gate.handle_day(now);
        self.take_up_day(&owed, now);
        self.accounted = owed.accounted.clone();
        self.earlier_counted = owed.counted.clone();
        self.totals.tallies = owed.tallies.clone();
        self.totals.earned = owed.earned.clone();
        for (base, units) in &owed.imbalance {
            self.gate.expose(*base, *units);
        }
        self.take_up_balances(&owed);
        self.take_up_orders(&owed, now, out);
        self.take_up_legs(&owed, now);
        self.take_up_offers(&owed, now);
        self.take_back(&owed.spoken, out);
        self.earlier_envelopes = owed.envelopes.keys().copied().collect();
    }

    /// What an earlier run of this day has used of its limits stays used.
    fn take_up_day(&mut self, owed: &Owed, now: Time) {
        if owed.today.day != now.day() {
            return;
        }
        for ((market, side), (quantity, notional)) in &owed.today.filled {
            self.gate.reserve(*market, *side, *quantity, *notional);
        }
        for (quote, units) in &owed.today.results {
            self.gate.settle_result(*quote, *units);
        }
    }

    fn take_up_balances(&mut self, owed: &Owed) {
        if self.is_paper() {
            for venue in &self.settings.venues {
                for (currency, amount) in &venue.paper {
                    let at = Location::Venue(venue.id);
                    let currency = *currency;
                    self.funds.set(Instrument { currency, at }, *amount);
                }
            }
        }
        for ((location, currency), units) in &owed.balances {
            if let Ok(at) = location.parse() {
                let instrument = Instrument {
                    currency: *currency,
                    at,
                };
                self.funds.set(instrument, Quantity(*units));
            }
        }
    }

    /// Every id of an open envelope that is not known to be unused is unknown, and looked up.
    fn take_up_orders(&mut self, owed: &Owed, now: Time, out: &mut Outbox) {
        for order in owed.orders.values() {
            if let Some((filled, _)) = order.ended {
                let intent = intent_of(order);
                self.orders
                    .remember(intent, order.draw, order.leader, filled);
            }
        }
        if self.is_paper() {
            // Paper orders lived in memory only: what was on its way never arrived.
            for order in owed.orders.values().filter(|order| order.ended.is_none()) {
                let record = Record::Ended {
                    order: order.draw.order,
                    filled: Filled::default(),
                    at: now,
                };
                self.journal(&record, out);
                self.orders.remember(
                    intent_of(order),
                    order.draw,
                    order.leader,
                    Filled::default(),
                );
            }
            return;
        }
        for (grant, drawer) in owed.envelopes.values() {
            let granted = owed.granted_at.get(&grant.envelope).copied();
            let sent = granted.unwrap_or(Time::ZERO);
            for index in 0..u64::from(grant.orders) {
                let id = OrderId(grant.first.0 + index);
                match owed.orders.get(&id) {
                    Some(order) if order.ended.is_some() => (),
                    Some(order) => {
                        let intent = intent_of(order);
                        self.orders
                            .recover(intent, order.draw, order.leader, sent, now);
                    }
                    None => {
                        let blank = Draw {
                            envelope: grant.envelope,
                            order: id,
                            plan: PlanId::default(),
                            quantity: Quantity::ZERO,
                            limit: grant.worst_price,
                            purpose: Purpose::Open,
                        };
                        let intent = OrderIntent {
                            id,
                            market: grant.market,
                            side: grant.side,
                            quantity: Quantity::ZERO,
                            limit: grant.worst_price,
                        };
                        self.orders.recover(intent, blank, *drawer, sent, now);
                    }
                }
            }
        }
        self.take_up_names(owed);
        let unknown = self.orders.open().count();
        if unknown > 0 {
            let text = format!(
                "{unknown} order ids of an earlier run are looked up before trading resumes"
            );
            notice(out, Severity::Info, &text);
        }
    }

    /// Tells the trading halves what the venues call the orders of earlier runs.
    fn take_up_names(&mut self, owed: &Owed) {
        for (id, reference) in &owed.names {
            let Some(order) = self.orders.get(*id) else {
                continue;
            };
            let is_ended = order.state.is_final();
            let venue = self.venues.get_mut(&order.intent.market.venue);
            if let Some(client) = venue.and_then(|venue| venue.client.as_mut()) {
                client.adopt(&order.intent, *reference, is_ended);
            }
        }
        for (id, below) in &owed.nonces {
            let venue = self.venues.get_mut(id);
            if let Some(client) = venue.and_then(|venue| venue.client.as_mut()) {
                client.resume_nonces(*below);
            }
        }
    }

    fn take_up_legs(&mut self, owed: &Owed, now: Time) {
        for (plan, legs) in &owed.legs {
            for fired in legs {
                self.plans.adopt(*plan, self.leg_of(fired, now), now);
            }
        }
        let own: Vec<OrderId> = owed
            .legs
            .values()
            .flatten()
            .filter(|leg| leg.granter == self.me.id)
            .map(|leg| leg.draw.order)
            .collect();
        for order in own {
            self.orders.handle_query(order);
        }
    }

    fn leg_of(&self, fired: &FiredLeg, now: Time) -> Leg {
        let role = match fired.draw.purpose {
            Purpose::Open => Role::Plan,
            Purpose::Recover => Role::Hedge,
        };
        let fee_in = self
            .rules(fired.market)
            .map_or(FeeIn::Quote, |rules| rules.fee_in);
        Leg::new(
            fired.granter,
            fired.draw,
            fired.market,
            fired.side,
            role,
            fee_in,
            now,
        )
    }

    fn take_up_offers(&mut self, owed: &Owed, now: Time) {
        for open in owed.offers.values() {
            let mut candidates = Vec::new();
            for ((peer, id), (quantity, part)) in &open.accepted {
                candidates.push(candidate(
                    *peer,
                    *id,
                    *part,
                    CandidateState::Accepting,
                    *quantity,
                ));
            }
            let (mut filled, mut received) = (Quantity::ZERO, Quantity::ZERO);
            for ((peer, id), part) in &open.counted {
                filled = filled.saturating_add(part.quantity);
                received = received.saturating_add(part.total);
                let state = CandidateState::Confirmed;
                candidates.push(candidate(*peer, *id, *part, state, part.quantity));
            }
            self.origins
                .recover(open.offer, filled, received, &candidates, now);
        }
        for (id, bound) in &owed.holds {
            self.holds.recover(Hold {
                offer: bound.offer,
                id: *id,
                upstream: bound.upstream,
                give: bound.give,
                want: bound.want,
                part: bound.part,
                state: if bound.is_sealed {
                    HoldState::Sealed
                } else {
                    HoldState::Confirmed
                },
                until: now + Holds::SEAL_WITHIN,
            });
        }
        for bound in owed.relays.values() {
            self.relays.recover(bound.clone(), now);
        }
        for bound in owed.sealed_relays.values() {
            self.relays.recover_sealed(bound.clone());
        }
    }

    /// Resumes alone once every order of the earlier run has a known end.
    pub(super) fn finish_reconciling(&mut self, now: Time, out: &mut Outbox) {
        if self.orders.open().next().is_some() {
            return;
        }
        self.phase = Phase::Running;
        // Only now: a crash while reconciling must find them again.
        for envelope in std::mem::take(&mut self.earlier_envelopes) {
            self.journal(&Record::EnvelopeClosed { envelope }, out);
        }
        self.gate.set_switch(self.wanted_switch);
        self.needs_renewal = true;
        if self.incarnation > 1 {
            let text = format!("reconciled; switch is {}", self.wanted_switch.word());
            notice(out, Severity::Info, &text);
        }
        self.detect_all(now, out);
    }
}

fn intent_of(order: &DrawnOrder) -> OrderIntent {
    OrderIntent {
        id: order.draw.order,
        market: order.market,
        side: order.side,
        quantity: order.draw.quantity,
        limit: order.draw.limit,
    }
}

fn candidate(
    peer: NodeId,
    id: MatchId,
    part: Part,
    state: CandidateState,
    taken: Quantity,
) -> Candidate {
    Candidate {
        peer,
        id,
        part,
        until: Time::ZERO,
        state,
        taken,
        total: part.total,
        doubt_until: Time::MAX,
    }
}
