//! What must hold after every step of every node, and once all is quiet.

use std::collections::{BTreeMap, BTreeSet};

use crate::journal::record::Record;
use crate::model::currency::Currency;
use crate::model::ids::{MatchId, NodeId, OfferId, OrderId};
use crate::model::instrument::{Instrument, Location, VenueId};
use crate::model::market::Side;
use crate::model::number::Quantity;
use crate::model::offer::Offer;
use crate::model::time::{Span, Time};
use crate::node::Node;
use crate::offer::hold::HoldState;
use crate::sim::market::{Market, credentials};
use crate::sim::scenario::Scenario;
use crate::sim::world::Host;

/// Broken invariants kept; a world is stopped when there are so many.
const VIOLATIONS_MAX: usize = 16;
/// What a feed may be late beyond the limit for a book's age: the step in which it is noticed.
const SLACK: Span = Span::millis(1);

/// What the checker knows of a world, on its own account.
#[derive(Debug)]
pub(super) struct Checker {
    scenario: Scenario,
    violations: Vec<String>,
    /// Order ids on the disk of each node as granted, by envelope: first id, count.
    granted: BTreeMap<usize, Vec<(u64, u64)>>,
    /// Orders that each node has sent to a venue.
    placed: BTreeSet<(usize, OrderId)>,
    /// When each node last heard each feed.
    heard: BTreeMap<(usize, VenueId), Time>,
    /// Until when each hold was promised, as first seen.
    promised: BTreeMap<(usize, MatchId), Time>,
    /// What origins count as filled, by durable records.
    counted: BTreeMap<(OfferId, NodeId, MatchId), Quantity>,
    /// What matchers are bound to, by durable records.
    bound: BTreeMap<(usize, MatchId), (OfferId, Quantity)>,
    sealed: BTreeMap<(usize, MatchId), (OfferId, Quantity)>,
    /// What each order came to, by durable records.
    ended: BTreeMap<(usize, OrderId), Quantity>,
    /// Offers that cover an imbalance, and what closed ones did to it.
    covering: BTreeMap<OfferId, Offer>,
    covered: BTreeMap<usize, i64>,
}

impl Checker {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            scenario: scenario.clone(),
            violations: Vec::new(),
            granted: BTreeMap::new(),
            placed: BTreeSet::new(),
            heard: BTreeMap::new(),
            promised: BTreeMap::new(),
            counted: BTreeMap::new(),
            bound: BTreeMap::new(),
            sealed: BTreeMap::new(),
            ended: BTreeMap::new(),
            covering: BTreeMap::new(),
            covered: BTreeMap::new(),
        }
    }

    pub(super) fn violate(&mut self, now: Time, text: String) {
        if !self.is_full() {
            let at = now.since(Time(1_750_000_000 * 1_000_000_000)).as_millis();
            self.violations.push(format!("at {at} ms: {text}"));
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.violations.len() >= VIOLATIONS_MAX
    }

    pub(super) fn into_violations(self) -> Vec<String> {
        self.violations
    }

    pub(super) fn handle_frame(&mut self, host: usize, venue: VenueId, now: Time) {
        self.heard.insert((host, venue), now);
    }

    pub(super) fn handle_crash(&mut self, host: usize) {
        self.heard.retain(|(at, _), _| *at != host);
        self.promised.retain(|(at, _), _| *at != host);
    }

    /// A record is on disk: follow what it binds its node to.
    pub(super) fn handle_record(&mut self, host: usize, body: &[u8]) {
        let Ok(record) = Record::decode(body) else {
            self.violate(
                Time::ZERO,
                format!("node {host} wrote a record that does not read"),
            );
            return;
        };
        match record {
            Record::Granted { grant, .. } => {
                let range = (grant.first.0, u64::from(grant.orders));
                self.granted.entry(host).or_default().push(range);
            }
            Record::Counted {
                offer,
                peer,
                id,
                part,
            } => {
                self.counted.insert((offer, peer, id), part.quantity);
            }
            Record::Uncounted { offer, peer, id } => {
                self.counted.remove(&(offer, peer, id));
            }
            Record::HoldConfirmed {
                offer, id, part, ..
            } => {
                self.bound.insert((host, id), (offer, part.quantity));
            }
            Record::HoldOver { id, is_sealed } | Record::RelayOver { id, is_sealed } => {
                if let Some(bound) = self.bound.remove(&(host, id))
                    && is_sealed
                {
                    self.sealed.insert((host, id), bound);
                }
            }
            Record::RelayBound { bound } => {
                self.bound
                    .insert((host, bound.id), (bound.offer, bound.part.quantity));
            }
            Record::OfferOpened { offer } => {
                self.covering.insert(offer.id, offer);
            }
            Record::OfferClosed {
                offer,
                tally,
                received,
            } => {
                let opened = self.covering.remove(&offer);
                let covered = opened.and_then(|offer| offer.covered(tally.filled, received));
                *self.covered.entry(host).or_default() += covered.map_or(0, |(_, units)| units);
            }
            Record::Ended { order, filled, .. } => {
                self.ended.insert((host, order), filled.quantity);
            }
            Record::Booted { .. }
            | Record::Switched { .. }
            | Record::Named { .. }
            | Record::Nonces { .. }
            | Record::Spoken { .. }
            | Record::Peernet(_)
            | Record::EnvelopeClosed { .. }
            | Record::Drawn { .. }
            | Record::LegFired { .. }
            | Record::PlanClosed { .. }
            | Record::Accepted { .. }
            | Record::Balance { .. } => (),
        }
    }

    /// An order leaves for its venue: its id is durable, was never used, and its book was heard.
    pub(super) fn handle_place(
        &mut self,
        host: usize,
        venue: VenueId,
        order: OrderId,
        request: &[u8],
        now: Time,
    ) {
        if !self.placed.insert((host, order)) {
            self.violate(now, format!("node {host} sent order {order} twice"));
        }
        let is_granted = self.granted.get(&host).is_some_and(|ranges| {
            ranges
                .iter()
                .any(|(first, count)| (*first..first + count).contains(&order.0))
        });
        if !is_granted {
            self.violate(
                now,
                format!("node {host} sent order {order} outside every durable envelope"),
            );
        }
        let heard = self
            .heard
            .get(&(host, venue))
            .copied()
            .unwrap_or(Time::ZERO);
        let age = self.scenario.nodes[host].config.risk.book_age_max;
        if now.since(heard) > age + SLACK {
            self.violate(
                now,
                format!(
                    "node {host} traded at {venue} on a book not heard for {}",
                    now.since(heard)
                ),
            );
        }
        if request.is_empty() {
            self.violate(now, format!("node {host} sent an empty order {order}"));
        }
    }

    pub(super) fn check_venue(&mut self, market: &Market, now: Time) {
        if let Some((currency, units)) = market.server.imbalance() {
            self.violate(
                now,
                format!("{}: {units} units of {currency} too much", market.id),
            );
        }
        if market.server.duplicates() > 0 {
            self.violate(now, format!("{}: an order id was used twice", market.id));
        }
    }

    /// Checks one node after one step.
    pub(super) fn check_node(&mut self, host: usize, node: &Node, now: Time) {
        for plan in node.plans().iter() {
            if !plan.tally().is_conserved() {
                self.violate(
                    now,
                    format!(
                        "node {host}: plan {} is not conserved: {:?}",
                        plan.id,
                        plan.tally()
                    ),
                );
            }
        }
        for own in node.origins().open() {
            if !own.tally().is_conserved() {
                let (id, tally) = (own.offer.id, own.tally());
                self.violate(
                    now,
                    format!("node {host}: offer {id} is not conserved: {tally:?}"),
                );
            }
        }
        for rail in &self.scenario.nodes[host].config.offer.rails.clone() {
            let holds = node.holds();
            let committed = holds.committed(rail.method, rail.currency);
            if committed > holds.funds(rail.method, rail.currency) {
                self.violate(
                    now,
                    format!(
                        "node {host} promised {committed} by {}, more than it has: {:?}",
                        rail.method,
                        node.holds()
                            .sealed()
                            .map(|h| (h.id, h.part))
                            .collect::<Vec<_>>()
                    ),
                );
            }
        }
        for hold in node.holds().open() {
            match hold.state {
                HoldState::Held | HoldState::Waiting => {
                    self.promised.entry((host, hold.id)).or_insert(hold.until);
                }
                HoldState::Confirmed => {
                    let until = self.promised.remove(&(host, hold.id));
                    if until.is_some_and(|until| now >= until) {
                        self.violate(
                            now,
                            format!("node {host} confirmed {} after its hold had ended", hold.id),
                        );
                    }
                }
                HoldState::Sealed
                | HoldState::Released
                | HoldState::Expired
                | HoldState::Lapsed => (),
            }
        }
        for envelope in node.granted().iter() {
            let (quantity, notional) = envelope.left();
            if quantity.0 < 0 || notional.0 < 0 {
                self.violate(
                    now,
                    format!("node {host} overdrew envelope {}", envelope.grant.envelope),
                );
            }
        }
    }

    /// Checks the whole world once every fault has ended and all had time to come to rest.
    pub(super) fn check_quiet(&mut self, hosts: &[Host], markets: &[Market], now: Time) {
        for (host, state) in hosts.iter().enumerate() {
            match &state.node {
                Some(node) => self.check_quiet_node(host, node, now),
                None => self.violate(now, format!("node {host} did not come back")),
            }
        }
        self.check_links(hosts, now);
        self.check_offers(now);
        for market in markets {
            self.check_venue(market, now);
            self.check_money(market, hosts, now);
        }
        self.check_exposure(hosts, markets, now);
    }

    fn check_quiet_node(&mut self, host: usize, node: &Node, now: Time) {
        let mut leaks = Vec::new();
        if !node.is_running() {
            leaks.push("is still reconciling".to_owned());
        }
        for plan in node.plans().iter() {
            leaks.push(format!("plan {} never closed: {:?}", plan.id, plan.legs));
        }
        for order in node.orders().open() {
            leaks.push(format!(
                "order {} never ended ({})",
                order.intent.id,
                order.state.word()
            ));
        }
        for hold in node.holds().open() {
            leaks.push(format!("hold {} leaked ({})", hold.id, hold.state.word()));
        }
        if node.accepting() > 0 {
            leaks.push("an accept was never answered".to_owned());
        }
        for own in node.origins().open() {
            leaks.push(format!(
                "offer {} never closed ({:?})",
                own.offer.id, own.state
            ));
        }
        for text in leaks {
            self.violate(now, format!("node {host}: {text}"));
        }
    }

    /// What was handed to a link has arrived once at its other end.
    fn check_links(&mut self, hosts: &[Host], now: Time) {
        let mut counts = BTreeMap::new();
        for (host, state) in hosts.iter().enumerate() {
            let from = self.scenario.nodes[host].id;
            for (to, count) in state.node.iter().flat_map(Node::link_counts) {
                counts.insert((from, to), count);
            }
        }
        for ((from, to), (acknowledged, submitted, _)) in &counts {
            let delivered = counts.get(&(*to, *from)).map(|(.., delivered)| *delivered);
            if delivered.is_some_and(|delivered| !(*acknowledged..=*submitted).contains(&delivered))
            {
                self.violate(
                    now,
                    format!("of {submitted} messages from {from} to {to}, {delivered:?} arrived"),
                );
            }
        }
    }

    /// What an origin counts as filled, its matcher is bound to, and the other way round.
    fn check_offers(&mut self, now: Time) {
        let mut faults = Vec::new();
        let by_node: BTreeMap<NodeId, usize> = self
            .scenario
            .nodes
            .iter()
            .enumerate()
            .map(|(at, plan)| (plan.id, at))
            .collect();
        for ((offer, peer, id), quantity) in &self.counted {
            let host = by_node.get(peer).copied().unwrap_or(usize::MAX);
            match self.sealed.get(&(host, *id)) {
                Some((_, owed)) if owed == quantity => (),
                Some((_, owed)) => faults.push(format!(
                    "offer {offer}: the origin counts {quantity}, node {host} owes {owed}"
                )),
                None => faults.push(format!(
                    "offer {offer}: the origin counts {quantity} that node {host} does not owe"
                )),
            }
        }
        for ((host, id), (offer, quantity)) in &self.bound {
            faults.push(format!(
                "offer {offer}: node {host} is bound to {quantity} (match {id}) for ever"
            ));
        }
        for text in faults {
            self.violate(now, text);
        }
    }

    /// A node's view of its accounts is the venue's, to the last unit.
    fn check_money(&mut self, market: &Market, hosts: &[Host], now: Time) {
        for (host, state) in hosts.iter().enumerate() {
            let Some(node) = &state.node else { continue };
            let plan = &self.scenario.nodes[host];
            if !plan.config.venues.iter().any(|venue| venue.id == market.id) {
                continue;
            }
            for (currency, balance) in market.server.balances(&credentials(plan.id).key) {
                let instrument = Instrument {
                    currency,
                    at: Location::Venue(market.id),
                };
                let known = node.funds().free(instrument);
                if !balance.held.is_zero() {
                    let text = format!(
                        "{}: {} {currency} of node {host} is still held",
                        market.id, balance.held
                    );
                    self.violate(now, text);
                }
                if known != balance.free {
                    let text = format!(
                        "{}: node {host} believes in {known} {currency}, the venue in {}",
                        market.id, balance.free
                    );
                    self.violate(now, text);
                }
            }
        }
    }

    /// What the nodes of one owner know as exposure is what the venues show, and within the limit.
    fn check_exposure(&mut self, hosts: &[Host], markets: &[Market], now: Time) {
        let mut owners: BTreeMap<[u8; 32], (i64, i64)> = BTreeMap::new();
        let mut faults = Vec::new();
        for (host, state) in hosts.iter().enumerate() {
            let Some(node) = &state.node else { continue };
            let plan = &self.scenario.nodes[host];
            let sums = owners.entry(plan.owner.0).or_default();
            sums.0 += node.gate().exposure(Currency::BTC);
            sums.1 += self.covered.get(&host).copied().unwrap_or(0);
            for market in markets {
                for order in market.server.orders(&credentials(plan.id).key) {
                    let known = order.id.and_then(|id| self.ended.get(&(host, id)));
                    if known.copied().unwrap_or_default() != order.filled.quantity {
                        faults.push(format!(
                            "node {host} knows of {known:?} filled of {order:?}"
                        ));
                    }
                    sums.1 += match order.side {
                        Side::Bid => order.filled.quantity.0,
                        Side::Ask => -order.filled.quantity.0,
                    };
                }
            }
        }
        let limit = self.scenario.nodes[0]
            .config
            .risk
            .exposure_max
            .first()
            .map_or(0, |(_, limit)| limit.0);
        for text in faults {
            self.violate(now, text);
        }
        for (known, real) in owners.into_values() {
            if known != real {
                let text = format!(
                    "an owner knows of {} BTC out of balance, the venues show {}",
                    Quantity(known),
                    Quantity(real)
                );
                self.violate(now, text);
            }
            if real.abs() > limit {
                self.violate(
                    now,
                    format!("exposure {} is beyond the limit", Quantity(real)),
                );
            }
        }
    }
}
