//! The primary's part: hands an ask on to its secondaries, adds up their partial matches by method,
//! and stands between origin and matchers until both are bound.
//!
//! ```text
//!  gathering ──▶ answered; each aggregate: offered ──▶ accepting ──▶ confirmed ──▶ over
//! ```
//! A primary confirms its parts again before it confirms an accept; what a part does not confirm
//! shrinks the aggregate. It never owes the origin more than its parts owe it.

use std::collections::BTreeMap;

use crate::model::currency::Method;
use crate::model::ids::{MatchId, NodeId, OfferId};
use crate::model::number::Quantity;
use crate::model::offer::{Ask, Bound, NoAnswer, Part};
use crate::model::time::{Deadline, Span, Time};
use crate::offer::gather::{CandidateState, Gather};
use crate::offer::hold::{HoldState, Holds};
use crate::offer::{Say, Saying};
use crate::telemetry::transitions::Transitions;

/// One offer that this node relays.
#[derive(Clone, Debug)]
pub struct Relay {
    pub ask: Ask,
    pub upstream: NodeId,
    respond_by: Time,
    until: Time,
    gather: Gather,
    own: Option<MatchId>,
    why_not: NoAnswer,
    is_answered: bool,
    aggregates: Vec<Aggregate>,
}

/// Parts of one method, offered upstream as one match.
#[derive(Clone, Debug)]
struct Aggregate {
    id: MatchId,
    part: Part,
    members: Vec<Member>,
    state: AggregateState,
    doubt_until: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AggregateState {
    Offered,
    Accepting,
    Confirmed {
        quantity: Quantity,
        total: Quantity,
    },
    /// Sealed, released, or nothing was confirmed.
    Over,
    /// The origin was silent too long; whatever it says now, nobody is bound.
    Lapsed,
}

/// Whose part it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Own(MatchId),
    /// A place among the gathered candidates.
    Gathered(usize),
}

/// Every offer this node relays.
#[derive(Clone, Debug, Default)]
pub struct Relays {
    open: BTreeMap<OfferId, Relay>,
    /// Confirmed aggregates of an earlier run.
    bound: Vec<Recovered>,
    /// Aggregates that the origin has sealed: it may say so again, and its parts may have to hear
    /// it again, after a crash of either end.
    sealed: BTreeMap<MatchId, Bound>,
    /// Steps of matches of relays that are over.
    past: Transitions<7>,
}

/// A confirmed aggregate of an earlier run, and until when it waits for the origin's word.
#[derive(Clone, Debug)]
struct Recovered {
    bound: Bound,
    until: Time,
    is_lapsed: bool,
}

impl Relays {
    /// Offers relayed at once; full hands nothing on.
    pub const OPEN_MAX: usize = 256;
    /// Sealed aggregates remembered; the oldest give way.
    pub const SEALED_MAX: usize = 1_024;
    /// How long a part may take to confirm again.
    const DOUBT: Span = Span::secs(2);
    /// How long a confirmed aggregate waits for the origin's word; its parts wait longer.
    const SEAL_WITHIN: Span = Span::secs(15);
    /// How long a relay is kept after its hold has ended, for late seals.
    const KEEP: Span = Span::secs(120);

    pub fn has_room(&self) -> bool {
        self.open.len() < Self::OPEN_MAX
    }

    pub fn has(&self, offer: OfferId) -> bool {
        self.open.contains_key(&offer)
    }

    /// Begins to relay: returns the asks for the secondaries. `own` is this node's own promise.
    pub fn begin(
        &mut self,
        ask: Ask,
        upstream: NodeId,
        own: Result<MatchId, NoAnswer>,
        secondaries: &[NodeId],
        answer_within: Span,
        hold: Span,
        now: Time,
    ) -> Vec<Saying> {
        let mut gather = Gather::new(ask.offer);
        let within = Span(answer_within.0 / 8 * 6);
        let handed_on = Ask {
            hops: ask.hops.saturating_sub(1),
            ..ask
        };
        let sayings = secondaries
            .iter()
            .map(|to| {
                gather.handle_asked(*to);
                Saying {
                    to: *to,
                    say: Say::Ask {
                        ask: handed_on,
                        answer_within: within,
                        hold,
                    },
                }
            })
            .collect();
        self.open.insert(
            ask.offer,
            Relay {
                ask,
                upstream,
                respond_by: now + Span(answer_within.0 / 8 * 7),
                until: now + hold,
                gather,
                own: own.ok(),
                why_not: own.err().unwrap_or(NoAnswer::NoRule),
                is_answered: false,
                aggregates: Vec::new(),
            },
        );
        sayings
    }

    pub fn handle_match(
        &mut self,
        peer: NodeId,
        offer: OfferId,
        id: MatchId,
        part: Part,
        hold: Span,
        now: Time,
    ) -> bool {
        let Some(relay) = self.open.get_mut(&offer) else {
            return false;
        };
        if relay.gather.handle_match(peer, id, part, now + hold) && relay.is_answered {
            relay.gather.release(relay.gather.candidates().len() - 1);
        }
        true
    }

    pub fn handle_no_match(&mut self, peer: NodeId, offer: OfferId, why: NoAnswer) {
        if let Some(relay) = self.open.get_mut(&offer) {
            relay.gather.handle_no_match(peer, why);
        }
    }

    /// The origin takes `quantity` of an aggregate. Returns false where it is none of ours.
    pub fn handle_accept(
        &mut self,
        offer: OfferId,
        id: MatchId,
        quantity: Quantity,
        holds: &mut Holds,
        now: Time,
    ) -> bool {
        let Some((relay, at)) = self.aggregate(offer, id) else {
            return self.recovered(id).is_some();
        };
        if relay.aggregates[at].state != AggregateState::Offered {
            return true;
        }
        relay.accept(at, quantity, holds, now);
        true
    }

    /// Repeats the confirmation of an aggregate that is bound already.
    pub fn confirmed(&self, offer: OfferId, id: MatchId) -> Option<(Quantity, Quantity)> {
        if let Some(one) = self.recovered(id) {
            return Some(if one.is_lapsed {
                (Quantity::ZERO, Quantity::ZERO)
            } else {
                (one.bound.part.quantity, one.bound.part.total)
            });
        }
        let relay = self.open.get(&offer)?;
        let aggregate = relay.aggregates.iter().find(|one| one.id == id)?;
        match aggregate.state {
            AggregateState::Confirmed { quantity, total } => Some((quantity, total)),
            AggregateState::Over | AggregateState::Lapsed => Some((Quantity::ZERO, Quantity::ZERO)),
            AggregateState::Offered | AggregateState::Accepting => None,
        }
    }

    /// A secondary is bound, or is not.
    pub fn handle_confirm(
        &mut self,
        peer: NodeId,
        offer: OfferId,
        id: MatchId,
        quantity: Quantity,
        total: Quantity,
    ) {
        if let Some(relay) = self.open.get_mut(&offer) {
            relay.gather.handle_confirm(peer, id, quantity, total);
        }
    }

    /// A secondary gave up: nothing to count here, the origin hears of what it was told.
    pub fn handle_lapse(&mut self, peer: NodeId, offer: OfferId, id: MatchId) {
        if let Some(relay) = self.open.get_mut(&offer) {
            relay.gather.handle_lapse(peer, id);
        }
    }

    /// The origin has counted an aggregate, or lets it go. Returns false where it is none of ours.
    pub fn handle_verdict(
        &mut self,
        offer: OfferId,
        id: MatchId,
        is_sealed: bool,
        holds: &mut Holds,
    ) -> Vec<Saying> {
        if self.sealed.contains_key(&id) {
            return Vec::new();
        }
        let has_lapsed = self.recovered(id).is_some_and(|one| one.is_lapsed);
        if is_sealed
            && !has_lapsed
            && !self.is_lapsed(offer, id)
            && let Some(bound) = self.bound(offer, id)
        {
            self.remember_sealed(bound);
        }
        if let Some((relay, at)) = self.aggregate(offer, id) {
            if relay.aggregates[at].state == AggregateState::Lapsed {
                let (to, say) = (relay.upstream, Say::Lapse { offer, id });
                return if is_sealed {
                    vec![Saying { to, say }]
                } else {
                    Vec::new()
                };
            }
            relay.pass_on(at, is_sealed, holds);
            return relay.drain();
        }
        let Some(at) = self.bound.iter().position(|one| one.bound.id == id) else {
            return Vec::new();
        };
        if self.bound[at].is_lapsed {
            let (to, say) = (self.bound[at].bound.upstream, Say::Lapse { offer, id });
            return if is_sealed {
                vec![Saying { to, say }]
            } else {
                Vec::new()
            };
        }
        let bound = self.bound.remove(at).bound;
        if let Some(own) = bound.own {
            decide(holds, own, is_sealed);
        }
        bound
            .members
            .iter()
            .map(|(to, id)| Saying {
                to: *to,
                say: verdict(bound.offer, *id, is_sealed),
            })
            .collect()
    }

    /// Returns whom an aggregate was offered to.
    pub fn upstream(&self, offer: OfferId, id: MatchId) -> Option<NodeId> {
        if let Some(bound) = self.sealed.get(&id) {
            return Some(bound.upstream);
        }
        if let Some(one) = self.recovered(id) {
            return Some(one.bound.upstream);
        }
        self.open.get(&offer).map(|relay| relay.upstream)
    }

    /// Returns true where the origin asks again and nothing of the last round is open or bound:
    /// the relay begins anew.
    pub fn make_way(&mut self, offer: OfferId, from: NodeId) -> bool {
        let is_over = self.open.get(&offer).is_some_and(|relay| {
            let is_done = |one: &Aggregate| {
                matches!(one.state, AggregateState::Over | AggregateState::Lapsed)
            };
            relay.upstream == from && relay.is_answered && relay.aggregates.iter().all(is_done)
        });
        if is_over && let Some(gone) = self.open.remove(&offer) {
            self.past.add(&gone.gather.steps);
        }
        is_over
    }

    pub fn owns(&self, offer: OfferId, id: MatchId) -> bool {
        self.sealed.contains_key(&id)
            || self.recovered(id).is_some()
            || self
                .open
                .get(&offer)
                .is_some_and(|relay| relay.aggregates.iter().any(|one| one.id == id))
    }

    /// The origin has withdrawn its offer: everything that is not bound is free.
    pub fn handle_withdrawn(
        &mut self,
        from: NodeId,
        offer: OfferId,
        holds: &mut Holds,
    ) -> Vec<Saying> {
        let relay = self.open.get_mut(&offer);
        let Some(relay) = relay.filter(|relay| relay.upstream == from) else {
            return Vec::new();
        };
        relay.is_answered = true;
        for at in 0..relay.aggregates.len() {
            if relay.aggregates[at].state == AggregateState::Offered {
                relay.pass_on(at, false, holds);
            }
        }
        relay.gather.release_offered();
        relay.gather.withdraw();
        relay.drain()
    }

    /// A peer lost its memory: say again what it must still know.
    pub fn handle_peer_restarted(&mut self, peer: NodeId) -> Vec<Saying> {
        let mut sayings = Vec::new();
        for relay in self.open.values_mut() {
            relay.gather.say_again_as_relay(peer);
            sayings.extend(relay.drain());
        }
        for bound in self.sealed.values() {
            let offer = bound.offer;
            let members = bound.members.iter().filter(|(member, _)| *member == peer);
            sayings.extend(members.map(|(to, id)| Saying {
                to: *to,
                say: Say::Seal { offer, id: *id },
            }));
        }
        sayings
    }

    /// Takes a confirmed aggregate of an earlier run.
    pub fn recover(&mut self, bound: Bound, now: Time) {
        self.bound.push(Recovered {
            bound,
            until: now + Self::SEAL_WITHIN,
            is_lapsed: false,
        });
    }

    /// Takes an aggregate that was sealed in an earlier run.
    pub fn recover_sealed(&mut self, bound: Bound) {
        self.remember_sealed(bound);
    }

    fn remember_sealed(&mut self, bound: Bound) {
        self.sealed.insert(bound.id, bound);
        while self.sealed.len() > Self::SEALED_MAX {
            self.sealed.pop_first();
        }
    }

    /// Moves every relay on: answers upstream, confirms, tidies up. `next_id` numbers matches.
    pub fn advance(
        &mut self,
        holds: &mut Holds,
        next_id: &mut dyn FnMut() -> MatchId,
        now: Time,
    ) -> Vec<Saying> {
        let mut sayings = Vec::new();
        self.lapse_recovered(holds, now, &mut sayings);
        for relay in self.open.values_mut() {
            if !relay.is_answered && (relay.gather.all_answered() || relay.respond_by <= now) {
                relay.answer(holds, next_id, now, &mut sayings);
            }
            for at in 0..relay.aggregates.len() {
                relay.confirm_if_complete(at, holds, now, &mut sayings);
                relay.lapse_if_silent(at, holds, now, &mut sayings);
            }
            sayings.extend(relay.drain());
        }
        let past = &mut self.past;
        self.open.retain(|_, relay| {
            let is_busy = relay.aggregates.iter().any(|one| one.is_bound());
            let stays = is_busy || now < relay.until + Self::KEEP;
            if !stays {
                past.add(&relay.gather.steps);
            }
            stays
        });
        sayings
    }

    /// Returns every step of matches gathered for others so far.
    pub fn steps(&self) -> Transitions<7> {
        let mut steps = self.past.clone();
        for relay in self.open.values() {
            steps.add(&relay.gather.steps);
        }
        steps
    }

    pub fn deadline(&self) -> Option<Deadline> {
        let waiting = self.bound.iter().filter(|one| !one.is_lapsed);
        let mut at = waiting.map(|one| one.until).min().unwrap_or(Time::MAX);
        for relay in self.open.values() {
            at = at.min(if relay.is_answered {
                relay.until + Self::KEEP
            } else {
                relay.respond_by
            });
            for one in &relay.aggregates {
                if one.is_bound() {
                    at = at.min(one.doubt_until);
                }
            }
        }
        (at < Time::MAX).then_some(Deadline { at, why: "relay" })
    }

    /// Describes a confirmed aggregate for the journal.
    pub fn bound(&self, offer: OfferId, id: MatchId) -> Option<Bound> {
        if let Some(one) = self.recovered(id) {
            return Some(one.bound.clone());
        }
        let relay = self.open.get(&offer)?;
        let aggregate = relay.aggregates.iter().find(|one| one.id == id)?;
        let (quantity, total) = match aggregate.state {
            AggregateState::Confirmed { quantity, total } => (quantity, total),
            AggregateState::Lapsed => (aggregate.part.quantity, aggregate.part.total),
            AggregateState::Offered | AggregateState::Accepting | AggregateState::Over => {
                return None;
            }
        };
        let mut bound = Bound {
            offer,
            upstream: relay.upstream,
            id,
            part: Part {
                quantity,
                total,
                method: aggregate.part.method,
            },
            own: None,
            members: Vec::new(),
        };
        for member in &aggregate.members {
            match member {
                Member::Own(id) => bound.own = Some(*id),
                Member::Gathered(place) => {
                    let candidate = &relay.gather.candidates()[*place];
                    if candidate.state == CandidateState::Confirmed {
                        bound.members.push((candidate.peer, candidate.id));
                    }
                }
            }
        }
        Some(bound)
    }

    fn recovered(&self, id: MatchId) -> Option<&Recovered> {
        self.bound.iter().find(|one| one.bound.id == id)
    }

    /// Lets go of what an earlier run was bound to and the origin has forgotten.
    fn lapse_recovered(&mut self, holds: &mut Holds, now: Time, sayings: &mut Vec<Saying>) {
        for one in &mut self.bound {
            if one.is_lapsed || now < one.until {
                continue;
            }
            one.is_lapsed = true;
            if let Some(own) = one.bound.own {
                holds.release(own);
            }
            let (offer, id) = (one.bound.offer, one.bound.id);
            sayings.push(Saying {
                to: one.bound.upstream,
                say: Say::Lapse { offer, id },
            });
            for (to, id) in &one.bound.members {
                sayings.push(Saying {
                    to: *to,
                    say: Say::Release { offer, id: *id },
                });
            }
        }
    }

    fn is_lapsed(&self, offer: OfferId, id: MatchId) -> bool {
        self.open.get(&offer).is_some_and(|relay| {
            relay
                .aggregates
                .iter()
                .any(|one| one.id == id && one.state == AggregateState::Lapsed)
        })
    }

    fn aggregate(&mut self, offer: OfferId, id: MatchId) -> Option<(&mut Relay, usize)> {
        let relay = self.open.get_mut(&offer)?;
        let at = relay.aggregates.iter().position(|one| one.id == id)?;
        Some((relay, at))
    }
}

impl Aggregate {
    const fn is_bound(&self) -> bool {
        matches!(
            self.state,
            AggregateState::Accepting | AggregateState::Confirmed { .. }
        )
    }
}

impl Relay {
    /// Adds up what was gathered, by method, and offers each sum upstream.
    fn answer(
        &mut self,
        holds: &Holds,
        next_id: &mut dyn FnMut() -> MatchId,
        now: Time,
        sayings: &mut Vec<Saying>,
    ) {
        self.is_answered = true;
        let mut sums: BTreeMap<Method, Aggregate> = BTreeMap::new();
        let own = self.own.and_then(|id| {
            let mut open = holds.open();
            let hold = open.find(|hold| hold.id == id && hold.state == HoldState::Held)?;
            Some((Member::Own(id), hold.part, hold.until))
        });
        let gathered = self.gather.candidates().iter().enumerate();
        let gathered = gathered
            .filter(|(_, one)| one.state == CandidateState::Offered && now < one.until)
            .map(|(place, one)| (Member::Gathered(place), one.part, one.until));
        let mut until = self.until;
        for (member, part, ends) in own.into_iter().chain(gathered) {
            until = until.min(ends);
            let sum = sums.entry(part.method).or_insert_with(|| Aggregate {
                id: MatchId::default(),
                part: Part {
                    quantity: Quantity::ZERO,
                    total: Quantity::ZERO,
                    method: part.method,
                },
                members: Vec::new(),
                state: AggregateState::Offered,
                doubt_until: Time::MAX,
            });
            sum.part.quantity = sum.part.quantity.saturating_add(part.quantity);
            sum.part.total = sum.part.total.saturating_add(part.total);
            sum.members.push(member);
        }
        self.until = until;
        for mut aggregate in sums.into_values() {
            aggregate.id = next_id();
            sayings.push(Saying {
                to: self.upstream,
                say: Say::Match {
                    offer: self.ask.offer,
                    id: aggregate.id,
                    part: aggregate.part,
                    hold: until.since(now),
                },
            });
            self.aggregates.push(aggregate);
        }
        if self.aggregates.is_empty() {
            let (offer, why) = (self.ask.offer, self.why_not);
            sayings.push(Saying {
                to: self.upstream,
                say: Say::NoMatch { offer, why },
            });
        }
    }

    /// Spreads an accept over the parts, dearest first, so that the parts cover what is owed.
    fn accept(&mut self, at: usize, quantity: Quantity, holds: &mut Holds, now: Time) {
        let mut members = self.aggregates[at].members.clone();
        members.sort_by_key(|member| std::cmp::Reverse(self.part_of(*member, holds).price()));
        let mut left = quantity.min(self.aggregates[at].part.quantity);
        let doubt_until = now + Relays::DOUBT;
        for member in &members {
            let part = self.part_of(*member, holds);
            let share = part.quantity.min(left);
            match (member, share.is_positive()) {
                (Member::Own(id), true) => {
                    let part = holds.confirm(*id, share, now);
                    left = left.less(part.quantity);
                }
                (Member::Own(id), false) => holds.release(*id),
                (Member::Gathered(place), true) => {
                    self.gather.accept(*place, share, doubt_until);
                    left = left.less(share);
                }
                (Member::Gathered(place), false) => self.gather.release(*place),
            }
        }
        let aggregate = &mut self.aggregates[at];
        aggregate.part = aggregate.part.shrunk_to(quantity);
        aggregate.state = AggregateState::Accepting;
        aggregate.doubt_until = doubt_until;
    }

    /// Confirms upstream once every part has, or the bound for that is over.
    fn confirm_if_complete(
        &mut self,
        at: usize,
        holds: &Holds,
        now: Time,
        sayings: &mut Vec<Saying>,
    ) {
        if self.aggregates[at].state != AggregateState::Accepting {
            return;
        }
        let members = self.aggregates[at].members.clone();
        let is_late = self.aggregates[at].doubt_until <= now;
        let (mut quantity, mut total) = (Quantity::ZERO, Quantity::ZERO);
        for member in members {
            match member {
                Member::Own(id) => {
                    let own = holds
                        .open()
                        .find(|hold| hold.id == id && hold.state == HoldState::Confirmed);
                    if let Some(hold) = own {
                        quantity = quantity.saturating_add(hold.part.quantity);
                        total = total.saturating_add(hold.part.total);
                    }
                }
                Member::Gathered(place) => {
                    let candidate = self.gather.candidates()[place];
                    match candidate.state {
                        CandidateState::Accepting if is_late => self.gather.release(place),
                        CandidateState::Accepting => return,
                        CandidateState::Confirmed => {
                            quantity = quantity.saturating_add(candidate.taken);
                            total = total.saturating_add(candidate.total);
                        }
                        CandidateState::Offered
                        | CandidateState::Refused
                        | CandidateState::Released
                        | CandidateState::Revoked
                        | CandidateState::Lapsed => (),
                    }
                }
            }
        }
        let aggregate = &mut self.aggregates[at];
        let owed = aggregate.part.shrunk_to(quantity).total.min(total);
        aggregate.doubt_until = now + Relays::SEAL_WITHIN;
        aggregate.state = if quantity.is_positive() {
            AggregateState::Confirmed {
                quantity,
                total: owed,
            }
        } else {
            AggregateState::Over
        };
        sayings.push(Saying {
            to: self.upstream,
            say: Say::Confirm {
                offer: self.ask.offer,
                id: aggregate.id,
                quantity,
                total: if quantity.is_positive() {
                    owed
                } else {
                    Quantity::ZERO
                },
            },
        });
    }

    /// Lets go of a confirmed aggregate that the origin has forgotten.
    fn lapse_if_silent(
        &mut self,
        at: usize,
        holds: &mut Holds,
        now: Time,
        sayings: &mut Vec<Saying>,
    ) {
        let one = &self.aggregates[at];
        if matches!(one.state, AggregateState::Confirmed { .. }) && one.doubt_until <= now {
            let (offer, id) = (self.ask.offer, one.id);
            self.pass_on(at, false, holds);
            self.aggregates[at].state = AggregateState::Lapsed;
            sayings.push(Saying {
                to: self.upstream,
                say: Say::Lapse { offer, id },
            });
        }
    }

    /// Hands the origin's word on to every part of an aggregate.
    fn pass_on(&mut self, at: usize, is_sealed: bool, holds: &mut Holds) {
        let aggregate = &mut self.aggregates[at];
        aggregate.state = AggregateState::Over;
        for member in aggregate.members.clone() {
            match member {
                Member::Own(id) => decide(holds, id, is_sealed),
                Member::Gathered(place) => {
                    let is_bound =
                        self.gather.candidates()[place].state == CandidateState::Confirmed;
                    if is_sealed && is_bound {
                        self.gather.seal(place);
                    } else if !is_sealed {
                        self.gather.release(place);
                    }
                }
            }
        }
    }

    fn part_of(&self, member: Member, holds: &Holds) -> Part {
        let nothing = Part {
            quantity: Quantity::ZERO,
            total: Quantity::ZERO,
            method: self
                .ask
                .line
                .methods
                .iter()
                .next()
                .unwrap_or(Method::Manual),
        };
        match member {
            Member::Own(id) => holds
                .open()
                .find(|hold| hold.id == id)
                .map_or(nothing, |hold| hold.part),
            Member::Gathered(place) => self.gather.candidates()[place].part,
        }
    }

    fn drain(&mut self) -> Vec<Saying> {
        let mut sayings = Vec::new();
        while let Some(saying) = self.gather.poll_saying() {
            sayings.push(saying);
        }
        sayings
    }
}

fn decide(holds: &mut Holds, id: MatchId, is_sealed: bool) {
    if is_sealed {
        holds.seal(id);
    } else {
        holds.release(id);
    }
}

const fn verdict(offer: OfferId, id: MatchId, is_sealed: bool) -> Say {
    if is_sealed {
        Say::Seal { offer, id }
    } else {
        Say::Release { offer, id }
    }
}
