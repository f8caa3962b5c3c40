//! Own offers: asked round by round, taken by the best set, counted, closed.
//!
//! ```text
//!  gathering ──▶ settling ──▶ gathering (what is still open) … ──▶ standing ──▶ closed
//! ```
//! `planned = filled + offered + released` at every instant; only here does quantity move from
//! open to accepted, and never beyond planned.

use std::collections::{BTreeMap, VecDeque};

use crate::model::currency::Currency;
use crate::model::ids::{MatchId, NodeId, OfferId, OwnerId};
use crate::model::number::{Price, Quantity};
use crate::model::offer::{Ask, Asking, Line, NoAnswer, Offer, Part, Tally};
use crate::model::time::{Deadline, Span, Time};
use crate::offer::best::{self, Bid, Wanted};
use crate::offer::gather::{Candidate, CandidateState, Gather};
use crate::offer::{Faults, Say, Saying, Settings};
use crate::telemetry::transitions::Transitions;

/// Where an own offer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginState {
    /// Answers come in until then.
    Gathering {
        until: Time,
    },
    /// Accepts wait for their confirmations.
    Settling,
    /// Everybody was asked; a late answer is still taken.
    Standing,
    Closed(Closing),
}

impl OriginState {
    /// Every state with its closings, in lifecycle order.
    pub const WORDS: [&'static str; 7] = [
        "gathering",
        "settling",
        "standing",
        "filled",
        "expired",
        "withdrawn",
        "recovered",
    ];

    /// Every step an own offer can take, by place; a recovered one is born closed.
    pub const STEPS: [(usize, usize); 12] = [
        (0, 1),
        (0, 2),
        (1, 2),
        (2, 0),
        (2, 1),
        (2, 3),
        (0, 4),
        (1, 4),
        (2, 4),
        (0, 5),
        (1, 5),
        (2, 5),
    ];

    /// Returns the state's place in its lifecycle.
    pub const fn place(self) -> usize {
        match self {
            Self::Gathering { .. } => 0,
            Self::Settling => 1,
            Self::Standing => 2,
            Self::Closed(Closing::Filled) => 3,
            Self::Closed(Closing::Expired) => 4,
            Self::Closed(Closing::Withdrawn) => 5,
            Self::Closed(Closing::Recovered) => 6,
        }
    }
}

/// Why an offer was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closing {
    Filled,
    Expired,
    Withdrawn,
    /// The node came back from a crash; nothing new is accepted.
    Recovered,
}

impl Closing {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Filled => "filled",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Recovered => "recovered",
        }
    }
}

/// A node that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub peer: NodeId,
    pub trust: u8,
    pub rtt: Span,
}

/// One own offer.
#[derive(Clone, Debug)]
pub struct OwnOffer {
    pub offer: Offer,
    pub state: OriginState,
    pub gather: Gather,
    pub rounds: u8,
    /// Strangers heard of it and may inquire: nothing is taken before.
    listens_until: Time,
    filled: Quantity,
    released: Quantity,
    /// Paid by matchers for what is filled, in the wanted currency.
    received: Quantity,
    views: BTreeMap<NodeId, Asked>,
    steps: Transitions<7>,
}

/// Every own offer.
#[derive(Clone, Debug)]
pub struct Origins {
    settings: Settings,
    owner: OwnerId,
    open: BTreeMap<OfferId, OwnOffer>,
    /// Closed offers with nothing in doubt, for `offer explain`; the oldest gives way.
    closed: VecDeque<OwnOffer>,
    newly_closed: Vec<OfferId>,
    /// Steps of offers, and of their matches, that gave way.
    past: (Transitions<7>, Transitions<7>),
    /// What is still to be paid for them.
    past_filled: BTreeMap<Currency, Quantity>,
    faults: Faults,
}

impl Origins {
    /// Own offers open at once; full makes no further one.
    pub const OPEN_MAX: usize = 64;
    const CLOSED_MAX: usize = 256;
    /// Times an offer is scattered anew with what is still open.
    const ROUNDS_MAX: u8 = 4;
    /// How long an accept waits for its confirmation before it is revoked.
    const DOUBT: Span = Span::secs(5);
    /// Times an ask may be handed on inside the darknet.
    const HOPS: u8 = 1;
    /// Nodes that are asked about one offer; whoever inquires beyond them is not.
    const ASKED_MAX: usize = 512;

    pub fn new(owner: OwnerId, settings: Settings) -> Self {
        Self {
            settings,
            owner,
            open: BTreeMap::new(),
            closed: VecDeque::new(),
            newly_closed: Vec::new(),
            past: Default::default(),
            past_filled: BTreeMap::new(),
            faults: Faults::default(),
        }
    }

    pub fn plant(&mut self, faults: Faults) {
        self.faults = faults;
    }

    pub fn has_room(&self) -> bool {
        self.open.len() < Self::OPEN_MAX
    }

    /// Opens an offer and scatters it to `peers`, nearest first.
    pub fn open_offer(&mut self, offer: Offer, peers: &[Asked], now: Time) -> Vec<Saying> {
        let mut own = OwnOffer {
            offer,
            state: OriginState::Gathering { until: now },
            gather: Gather::new(offer.id),
            rounds: 0,
            listens_until: Time::ZERO,
            filled: Quantity::ZERO,
            released: Quantity::ZERO,
            received: Quantity::ZERO,
            views: BTreeMap::new(),
            steps: Transitions::default(),
        };
        let sayings = self.scatter(&mut own, peers, now);
        self.open.insert(offer.id, own);
        sayings
    }

    /// Takes back an offer of an earlier run: what was not accepted is released.
    pub fn recover(
        &mut self,
        offer: Offer,
        filled: Quantity,
        received: Quantity,
        accepting: &[Candidate],
        now: Time,
    ) {
        let mut gather = Gather::new(offer.id);
        for candidate in accepting {
            let mut candidate = *candidate;
            candidate.doubt_until = now + Self::DOUBT;
            gather.recover(candidate);
        }
        let mut own = OwnOffer {
            offer,
            state: OriginState::Closed(Closing::Recovered),
            gather,
            rounds: 0,
            listens_until: Time::ZERO,
            filled,
            released: Quantity::ZERO,
            received,
            views: BTreeMap::new(),
            steps: Transitions::default(),
        };
        own.released = own.open_quantity();
        self.open.insert(offer.id, own);
    }

    pub fn handle_match(
        &mut self,
        peer: NodeId,
        offer: OfferId,
        id: MatchId,
        part: Part,
        hold: Span,
        now: Time,
    ) -> Vec<Saying> {
        let Some(own) = self.open.get_mut(&offer) else {
            let say = Say::Release { offer, id };
            return vec![Saying { to: peer, say }];
        };
        let is_new = own.gather.handle_match(peer, id, part, now + hold);
        if is_new && matches!(own.state, OriginState::Closed(_)) {
            own.gather.release_offered();
        }
        self.advance(offer, now)
    }

    pub fn handle_no_match(
        &mut self,
        peer: NodeId,
        offer: OfferId,
        why: NoAnswer,
        now: Time,
    ) -> Vec<Saying> {
        if let Some(own) = self.open.get_mut(&offer) {
            own.gather.handle_no_match(peer, why);
        }
        self.advance(offer, now)
    }

    /// A matcher is bound, or is not. What it confirms is counted as filled, once.
    pub fn handle_confirm(
        &mut self,
        peer: NodeId,
        offer: OfferId,
        id: MatchId,
        quantity: Quantity,
        total: Quantity,
        now: Time,
    ) -> Vec<Saying> {
        let Some(own) = self.open.get_mut(&offer) else {
            return if quantity.is_positive() && !self.is_counted(offer, peer, id) {
                let say = Say::Release { offer, id };
                vec![Saying { to: peer, say }]
            } else {
                Vec::new()
            };
        };
        if let Some(place) = own.gather.handle_confirm(peer, id, quantity, total) {
            own.count(place);
        }
        let mut sayings = own.drain();
        sayings.extend(self.advance(offer, now));
        sayings
    }

    /// A matcher gave up after it was counted: filled → released, once by its id.
    pub fn handle_lapse(
        &mut self,
        peer: NodeId,
        offer: OfferId,
        id: MatchId,
        now: Time,
    ) -> Vec<Saying> {
        let closed = self.closed.iter_mut().find(|own| own.offer.id == offer);
        let Some(own) = self.open.get_mut(&offer).or(closed) else {
            return Vec::new();
        };
        if let Some((CandidateState::Confirmed, quantity)) = own.gather.handle_lapse(peer, id) {
            own.filled = own.filled.less(quantity);
            own.released = own.released.saturating_add(quantity);
        }
        self.advance(offer, now)
    }

    /// The owner or the end of the window takes the offer back.
    pub fn withdraw(&mut self, offer: OfferId, now: Time) -> Vec<Saying> {
        if let Some(own) = self.open.get_mut(&offer) {
            own.close(Closing::Withdrawn);
        }
        self.advance(offer, now)
    }

    /// A peer has a new life, or this node has: says again what it has not answered.
    pub fn handle_peer_restarted(&mut self, peer: NodeId) -> Vec<Saying> {
        let mut sayings = Vec::new();
        for own in self.open.values_mut().chain(&mut self.closed) {
            own.gather.say_again(peer);
            sayings.extend(own.drain());
        }
        sayings
    }

    pub fn deadline(&self) -> Option<Deadline> {
        let mut at = Time::MAX;
        for own in self.open.values() {
            at = at.min(match own.state {
                OriginState::Gathering { until } => own.gathers_until(until).min(own.offer.expires),
                OriginState::Settling | OriginState::Closed(_) => Time::MAX,
                OriginState::Standing => own.offer.expires,
            });
            for candidate in own.gather.candidates() {
                if candidate.state == CandidateState::Accepting {
                    at = at.min(candidate.doubt_until);
                }
            }
        }
        (at < Time::MAX).then_some(Deadline { at, why: "offer" })
    }

    /// The offer is announced now: whoever hears it may inquire, and what is best of it shows when
    /// a gathering time has passed, not with the first answer.
    pub fn handle_announced(&mut self, id: OfferId, now: Time) {
        let until = now + self.settings.gather;
        let Some(own) = self.open.get_mut(&id) else {
            return;
        };
        if until < own.offer.expires {
            own.listens_until = until;
            own.listen(until, until);
        }
    }

    /// Asks one more node about an offer that is open, as it wishes.
    pub fn invite(&mut self, id: OfferId, asked: Asked, now: Time) -> Vec<Saying> {
        let Settings { gather, hold, .. } = self.settings;
        let owner = self.owner;
        let Some(own) = self.open.get_mut(&id) else {
            return Vec::new();
        };
        let is_open = !matches!(own.state, OriginState::Closed(_));
        let is_worth = own.open_quantity() >= own.offer.part_min;
        let is_early = now + gather < own.offer.expires;
        let is_new = !own.views.contains_key(&asked.peer);
        let has_room = own.views.len() < Self::ASKED_MAX;
        if !(is_open && is_worth && is_early && is_new && has_room) {
            return Vec::new();
        }
        // However many inquire one after the other, those before them do not wait for all.
        own.listen(now + gather, own.listens_until + gather);
        own.gather.handle_asked(asked.peer);
        own.views.insert(asked.peer, asked);
        let say = Say::Ask {
            ask: own.ask(owner, Self::HOPS),
            answer_within: gather.less(asked.rtt),
            hold: hold + own.listens_until.since(now),
        };
        let to = asked.peer;
        vec![Saying { to, say }]
    }

    /// Does what is due; `peers` are asked where an offer goes into another round.
    pub fn handle_deadline(&mut self, peers: &[Asked], now: Time) -> Vec<Saying> {
        let mut sayings = Vec::new();
        let ids: Vec<OfferId> = self.open.keys().copied().collect();
        for id in ids {
            if let Some(own) = self.open.get_mut(&id) {
                own.revoke_doubtful(now);
                if own.offer.expires <= now && !matches!(own.state, OriginState::Closed(_)) {
                    own.close(Closing::Expired);
                }
            }
            sayings.extend(self.advance(id, now));
            sayings.extend(self.next_round(id, peers, now));
        }
        sayings
    }

    /// Moves an offer on as far as its answers allow.
    fn advance(&mut self, id: OfferId, now: Time) -> Vec<Saying> {
        let Some(mut own) = self.open.remove(&id) else {
            return Vec::new();
        };
        let is_due = match own.state {
            OriginState::Gathering { until } => {
                until <= now || own.listens_until <= now && own.gather.all_answered()
            }
            OriginState::Standing => true,
            OriginState::Settling | OriginState::Closed(_) => false,
        };
        if is_due {
            self.take_best(&mut own, now);
        }
        if own.state == OriginState::Settling && !own.gather.is_accepting() {
            own.enter(OriginState::Standing);
            self.take_best(&mut own, now);
        }
        if own.open_quantity().is_zero()
            && !own.gather.is_accepting()
            && !matches!(own.state, OriginState::Closed(_))
        {
            own.close(Closing::Filled);
        }
        let sayings = own.drain();
        if matches!(own.state, OriginState::Closed(_)) && !own.gather.is_accepting() {
            if self.closed.len() >= Self::CLOSED_MAX
                && let Some(gone) = self.closed.pop_front()
            {
                let filled = self.past_filled.entry(gone.offer.line.give).or_default();
                *filled = filled.saturating_add(gone.filled);
                self.past.0.add(&gone.steps);
                self.past.1.add(&gone.gather.steps);
            }
            self.newly_closed.push(id);
            self.closed.push_back(own);
        } else {
            self.open.insert(id, own);
        }
        sayings
    }

    /// Accepts the best set of what is on the table.
    fn take_best(&mut self, own: &mut OwnOffer, now: Time) {
        let (places, bids) = own.bids(&self.settings, now);
        let wanted = Wanted {
            quantity: if self.faults.double_accept {
                own.offer.line.quantity
            } else {
                own.open_quantity()
            },
            reserve: own.reserve(),
            want: own.offer.line.want,
            method_caps: &self.settings.method_caps,
        };
        let taken = best::best_set(&bids, &wanted);
        for (index, quantity) in &taken {
            own.gather
                .accept(places[*index], *quantity, now + Self::DOUBT);
        }
        if taken.is_empty() {
            own.enter(OriginState::Standing);
        } else {
            own.enter(OriginState::Settling);
        }
    }

    /// Scatters what is still open anew, where that may help.
    fn next_round(&mut self, id: OfferId, peers: &[Asked], now: Time) -> Vec<Saying> {
        let Some(mut own) = self.open.remove(&id) else {
            return Vec::new();
        };
        let may_help = own.state == OriginState::Standing
            && own.rounds < Self::ROUNDS_MAX
            && own.open_quantity() >= own.offer.part_min
            && now + self.settings.gather < own.offer.expires;
        let sayings = if may_help {
            own.gather.release_offered();
            let mut sayings = own.drain();
            sayings.extend(self.scatter(&mut own, peers, now));
            sayings
        } else {
            Vec::new()
        };
        self.open.insert(id, own);
        sayings
    }

    fn scatter(&self, own: &mut OwnOffer, peers: &[Asked], now: Time) -> Vec<Saying> {
        own.rounds += 1;
        let ask = own.ask(self.owner, Self::HOPS);
        own.enter(OriginState::Gathering {
            until: now + self.settings.gather,
        });
        peers
            .iter()
            .map(|asked| {
                own.gather.handle_asked(asked.peer);
                own.views.insert(asked.peer, *asked);
                Saying {
                    to: asked.peer,
                    say: Say::Ask {
                        ask,
                        answer_within: self.settings.gather.less(asked.rtt),
                        hold: self.settings.hold,
                    },
                }
            })
            .collect()
    }

    /// Returns an offer that was closed since the last call.
    pub fn poll_closed(&mut self) -> Option<OfferId> {
        self.newly_closed.pop()
    }

    pub fn get(&self, id: OfferId) -> Option<&OwnOffer> {
        self.open
            .get(&id)
            .or_else(|| self.closed.iter().find(|own| own.offer.id == id))
    }

    pub fn open(&self) -> impl Iterator<Item = &OwnOffer> {
        self.open.values()
    }

    pub fn closed(&self) -> impl Iterator<Item = &OwnOffer> {
        self.closed.iter()
    }

    /// Returns every step of own offers so far, and every step of their matches.
    pub fn steps(&self) -> (Transitions<7>, Transitions<7>) {
        let (mut offers, mut matches) = self.past.clone();
        for own in self.open.values().chain(&self.closed) {
            offers.add(&own.steps);
            matches.add(&own.gather.steps);
        }
        (offers, matches)
    }

    /// Returns what own offers have pledged of a currency: what is open, and what is matched and
    /// not paid yet.
    pub fn pledged(&self, give: Currency) -> Quantity {
        let gone = self.past_filled.get(&give).copied().unwrap_or_default();
        self.open
            .values()
            .chain(&self.closed)
            .filter(|own| own.offer.line.give == give)
            .fold(gone, |sum, own| {
                let tally = own.tally();
                sum.saturating_add(tally.offered)
                    .saturating_add(tally.filled)
            })
    }

    fn is_counted(&self, offer: OfferId, peer: NodeId, id: MatchId) -> bool {
        self.closed
            .iter()
            .filter(|own| own.offer.id == offer)
            .flat_map(|own| own.gather.candidates())
            .any(|candidate| {
                candidate.peer == peer
                    && candidate.id == id
                    && candidate.state == CandidateState::Confirmed
            })
    }
}

impl OwnOffer {
    /// Gathers until then, if it does not yet; if it does, longer, but not beyond `latest`. What is
    /// settling goes on, and is followed by a look at what has come in meanwhile.
    fn listen(&mut self, until: Time, latest: Time) {
        match self.state {
            OriginState::Gathering { until: known } => {
                let until = known.max(until.min(latest));
                self.state = OriginState::Gathering { until };
            }
            OriginState::Standing => self.enter(OriginState::Gathering { until }),
            OriginState::Settling | OriginState::Closed(_) => (),
        }
    }

    /// Returns when gathering ends if nobody says more: strangers may have answered all and others
    /// be listened for still.
    fn gathers_until(&self, until: Time) -> Time {
        if self.listens_until > Time::ZERO && self.gather.all_answered() {
            return until.min(self.listens_until);
        }
        until
    }

    /// Returns what others are asked: what is still open, on its terms.
    fn ask(&self, owner: OwnerId, hops: u8) -> Ask {
        Ask {
            offer: self.offer.id,
            origin: self.offer.origin,
            owner,
            line: Line {
                quantity: self.open_quantity(),
                ..self.offer.line
            },
            part_min: self.offer.part_min,
            hops,
        }
    }

    pub fn tally(&self) -> Tally {
        let line = &self.offer.line;
        Tally {
            planned: line.quantity,
            filled: self.filled,
            offered: Quantity(line.quantity.0 - self.filled.0 - self.released.0),
            released: self.released,
        }
    }

    pub fn received(&self) -> Quantity {
        self.received
    }

    /// Returns the least that is accepted per unit: the private reserve, or what the line asks.
    pub fn reserve(&self) -> Price {
        match self.offer.line.asking {
            Asking::Best => self.offer.reserve,
            Asking::AtLeast(price) => self.offer.reserve.max(price),
        }
    }

    /// Says why a candidate was or was not taken.
    pub fn verdict(&self, candidate: &Candidate, settings: &Settings) -> &'static str {
        match candidate.state {
            CandidateState::Offered | CandidateState::Released => {
                if candidate
                    .part
                    .price()
                    .moved_ppm(-i64::from(haircut(settings, candidate)))
                    < self.reserve()
                {
                    "price below the reserve"
                } else if candidate.part.quantity < self.offer.part_min {
                    "below the smallest part"
                } else {
                    "not needed: others were better"
                }
            }
            CandidateState::Accepting => "accepted, not confirmed yet",
            CandidateState::Confirmed => "taken",
            CandidateState::Refused => "too late: its hold had ended",
            CandidateState::Revoked => "never confirmed",
            CandidateState::Lapsed => "the matcher gave up",
        }
    }

    /// Returns what is neither filled, nor being accepted, nor released.
    pub fn open_quantity(&self) -> Quantity {
        let accepting = self
            .gather
            .candidates()
            .iter()
            .filter(|candidate| candidate.state == CandidateState::Accepting)
            .fold(Quantity::ZERO, |sum, candidate| {
                sum.saturating_add(candidate.taken)
            });
        self.offer
            .line
            .quantity
            .less(self.filled)
            .less(self.released)
            .less(accepting)
    }

    fn bids(&self, settings: &Settings, now: Time) -> (Vec<usize>, Vec<Bid>) {
        let mut places = Vec::new();
        let mut bids = Vec::new();
        for (place, candidate) in self.gather.candidates().iter().enumerate() {
            let rank = self.offer.line.methods.rank(candidate.part.method);
            let is_open = candidate.state == CandidateState::Offered && now < candidate.until;
            let (Some(rank), true) = (rank, is_open) else {
                continue;
            };
            if candidate.part.quantity < self.offer.part_min.min(self.open_quantity()) {
                continue;
            }
            let view = self.views.get(&candidate.peer);
            places.push(place);
            bids.push(Bid {
                part: candidate.part,
                part_min: self.offer.part_min,
                haircut_ppm: haircut(settings, candidate),
                rank,
                trust: view.map_or(0, |view| view.trust),
                rtt: view.map_or(Span::ZERO, |view| view.rtt),
                peer: candidate.peer,
                id: candidate.id,
            });
        }
        (places, bids)
    }

    /// Counts a confirmed candidate, or lets it go where it is worth less than was agreed.
    fn count(&mut self, place: usize) {
        let candidate = self.gather.candidates()[place];
        if candidate.state != CandidateState::Confirmed {
            return;
        }
        let price = Price::of_total(candidate.total, candidate.taken).unwrap_or_default();
        if price < self.reserve() {
            self.gather.release(place);
            return;
        }
        self.filled = self.filled.saturating_add(candidate.taken);
        self.received = self.received.saturating_add(candidate.total);
        self.gather.seal(place);
    }

    /// Gives up accepts that nobody confirmed within the bound.
    fn revoke_doubtful(&mut self, now: Time) {
        for place in 0..self.gather.candidates().len() {
            let candidate = self.gather.candidates()[place];
            if candidate.state == CandidateState::Accepting && candidate.doubt_until <= now {
                self.gather.release(place);
            }
        }
        if let OriginState::Closed(_) = self.state {
            let left = self.open_quantity();
            self.released = self.released.saturating_add(left);
        }
    }

    fn close(&mut self, why: Closing) {
        if matches!(self.state, OriginState::Closed(_)) {
            return;
        }
        let left = self.open_quantity();
        self.released = self.released.saturating_add(left);
        self.enter(OriginState::Closed(why));
        self.gather.release_offered();
        self.gather.withdraw();
    }

    /// Goes to a state, and counts the step.
    fn enter(&mut self, to: OriginState) {
        if to.place() != self.state.place() {
            self.steps.count(self.state.place(), to.place());
        }
        self.state = to;
    }

    fn drain(&mut self) -> Vec<Saying> {
        if let OriginState::Closed(_) = self.state {
            let left = self.open_quantity();
            self.released = self.released.saturating_add(left);
        }
        let mut sayings = Vec::new();
        while let Some(saying) = self.gather.poll_saying() {
            sayings.push(saying);
        }
        sayings
    }
}

fn haircut(settings: &Settings, candidate: &Candidate) -> u32 {
    settings
        .haircuts
        .iter()
        .find(|(method, _)| *method == candidate.part.method)
        .map_or(0, |(_, ppm)| *ppm)
}
