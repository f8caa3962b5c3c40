//! The channel's operator: who gets voice, for how long, and why not.
//!
//! ```text
//!  member seen ─▶ challenge ─▶ proof ─▶ the place is bound to a key; its age counts
//!                                         │  lease announced, on the roster, trusted, aged
//!                                         ▼
//!                                       voice ─ flood, lease over, key trouble, lower token,
//!                                               no new proof after a change of nick ─▶ none
//! ```
//! One node of a peernet has voice on a network, and it is the one that holds the lease. A nick is
//! never an identity: it is bound to a key by a signature over a question of ours, for as long as
//! it stays; who leaves and comes again proves again. A change of nick, a netsplit or our own
//! restart takes no voice by itself, but begins a time in which the key must be shown.
//!
//! Whatever is decided is decided by [`Chanop::judge`], in one order of rules, and logged where it
//! differs from what was decided about that member last.

pub mod decision;
mod judge;
mod people;
pub mod proof;
pub mod speaker;

#[cfg(test)]
mod played;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use crate::discovery::chanop::decision::{Decision, Log, Reason, Verdict};
use crate::discovery::chanop::proof::{Challenge, Proof};
use crate::discovery::irc::name::Folded;
use crate::discovery::lease::Token;
use crate::model::ids::{NodeId, PeernetId, Pin};
use crate::model::time::{Deadline, Span, Time};

/// What the owner of the channel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time on the channel before voice; a day by default.
    pub voice_after: Span,
    /// Trust, 0 to 10, that voice asks for.
    pub trust_min: u8,
}

/// A nick on one network, in the spelling that is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub network: u8,
    pub nick: Folded,
}

/// Who has changed a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Us,
    /// Another operator, or a server.
    Other,
}

/// A roster as the operator needs it; its signatures were verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seats {
    pub peernet: PeernetId,
    pub version: u64,
    pub hash: [u8; 32],
    pub members: Vec<NodeId>,
    /// Whether there is another roster of this version.
    pub is_forked: bool,
}

/// An exit's announcement of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    pub peernet: PeernetId,
    pub node: NodeId,
    pub token: Token,
    pub number: u64,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask this nick to show its key.
    Challenge {
        place: Place,
        challenge: Challenge,
    },
    Voice {
        place: Place,
    },
    Devoice {
        place: Place,
        why: Reason,
    },
    /// What is to be known after a restart. Nothing waits for it: a lost end costs a node an hour
    /// of its age at most, or a devoiced one a second look.
    Journal(Record),
}

/// What the operator knows after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// How long a key has been on the channel, and when that was.
    Age {
        node: NodeId,
        pin: Pin,
        age: Span,
        at: Time,
    },
    /// The key is not known any more: it was away for too long.
    Forgotten { node: NodeId },
    /// Another key was shown for the node; or the owner has pardoned it.
    Trouble { node: NodeId, is_troubled: bool },
    /// A node has voice on a network, or has none any more.
    Voice {
        node: NodeId,
        network: u8,
        is_voiced: bool,
    },
    /// The highest token of a peernet, and whose it is.
    Token {
        peernet: PeernetId,
        token: Token,
        holder: NodeId,
        number: u64,
    },
}

/// Somebody on a channel.
#[derive(Clone, Debug, Default)]
struct Member {
    /// The node that it says it is, and need not be.
    claim: Option<NodeId>,
    bound: Option<Bound>,
    has_voice: bool,
    /// Whether its voice, or the lack of it, is another operator's doing.
    is_others: bool,
    question: Option<Question>,
    /// Questions without an answer, and when the next may be asked.
    unanswered: u32,
    ask_at: Time,
    /// What we have asked the server for, and until when we wait for it.
    wanted: Option<(bool, Time)>,
    /// Why the proof that there was is not enough.
    doubt: Option<Reason>,
    flooded_until: Time,
    /// Lines of the present ten seconds, and when they began.
    lines: u32,
    lines_since: Time,
    /// How long roster and lease of one that has voice may stay unheard of.
    unheard_until: Option<Time>,
    last: Option<(Verdict, Option<Reason>)>,
}

/// A key that was shown at a place.
#[derive(Clone, Copy, Debug)]
struct Bound {
    node: NodeId,
    peernet: PeernetId,
    token: Token,
    roster_hash: [u8; 32],
}

#[derive(Clone, Copy, Debug)]
struct Question {
    challenge: Challenge,
    until: Time,
}

/// A key that was shown somewhere.
#[derive(Clone, Debug)]
struct Known {
    pin: Pin,
    /// Time on the channel up to `since`.
    age: Span,
    /// Since when it is there, or away.
    since: Time,
    /// Where it is bound; one nick a network.
    places: Vec<Place>,
    trust: u8,
    is_troubled: bool,
    barred_until: Time,
    recorded_at: Time,
}

#[derive(Clone, Debug)]
struct Peernet {
    seats: Option<Seats>,
    shares_with: Option<PeernetId>,
    lease: Option<LeaseHeard>,
}

#[derive(Clone, Copy, Debug)]
struct LeaseHeard {
    token: Token,
    holder: NodeId,
    number: u64,
    heard_at: Time,
}

/// What there was of one nick and another operator.
#[derive(Clone, Debug, Default)]
struct Quarrel {
    reversed: VecDeque<Time>,
}

/// The operator's rules, and all that it knows.
#[derive(Debug)]
pub struct Chanop {
    settings: Settings,
    secret: [u8; 32],
    questions: u64,
    members: BTreeMap<Place, Member>,
    nodes: BTreeMap<NodeId, Known>,
    peernets: BTreeMap<PeernetId, Peernet>,
    /// On whose roster a node is.
    seated: BTreeMap<NodeId, PeernetId>,
    quarrels: BTreeMap<Place, Quarrel>,
    log: Log,
    /// When the next round begins or goes on, and behind whom.
    round_at: Time,
    round_from: Option<Place>,
    /// The moment up to which questions were paid for.
    asked_until: Time,
    /// Members, nodes and peernets that there was no room for.
    full: u64,
}

impl Chanop {
    /// Members that are known, over all networks. Full: one more is counted and gets no voice.
    pub const MEMBERS_MAX: usize = 4_096;
    /// Keys that are known. Full: one more is refused with [`Reason::Full`]; keys that were away for
    /// longer than [`Chanop::GRACE`] make room.
    pub const NODES_MAX: usize = 4_096;
    /// Peernets. Full: one more is counted, and its exit gets no voice for want of a roster.
    pub const PEERNETS_MAX: usize = 512;
    /// Nicks over which there was a disagreement within the hour. Full: one more is left alone.
    pub const QUARRELS_MAX: usize = 256;
    /// How long a challenge may be answered.
    pub const ANSWER_WITHIN: Span = Span::secs(300);
    /// How often anybody at all is asked; a few at once.
    pub const ASK_EVERY: Span = Span::secs(2);
    pub const ASK_BURST: u64 = 4;
    /// How long a nick that gave no answer is left in peace: doubled each time, a day at most.
    pub const ASK_AGAIN_AFTER: Span = Span::secs(600);
    /// Absence up to which a key's age goes on where it stopped: netsplits, restarts of a node.
    pub const GRACE: Span = Span::secs(1_800);
    /// How often ages are written down.
    pub const RECORD_EVERY: Span = Span::secs(3_600);
    /// Written ages older than this count for nothing: the operator itself was away too long.
    pub const RECORD_KEPT: Span = Span(7 * Span::DAY.0);
    /// Silence after which a lease that was announced counts as ended; exits announce each minute.
    pub const LEASE_SILENCE: Span = Span::secs(180);
    /// Lines within a time that are a flood: what a well-paced node says in forty seconds.
    pub const FLOOD_LINES: u32 = 20;
    pub const FLOOD_WITHIN: Span = Span::secs(10);
    /// How long who floods has no voice.
    pub const FLOOD_BARS: Span = Span::secs(3_600);
    /// How long the server may take to change a mode before it is asked again.
    pub const MODE_WITHIN: Span = Span::secs(30);
    /// How often another operator's decision about a nick is reversed within an hour.
    pub const REVERSALS_MAX: usize = 3;
    /// Wait before another operator's decision is reversed again; doubled each time.
    pub const REVERSAL_AFTER: Span = Span::secs(20);
    const HOUR: Span = Span::secs(3_600);
    /// How often all members are looked at, and how many in one step.
    const ROUND_EVERY: Span = Span::secs(2);
    const ROUND_STEP: usize = 128;
    const ROUND_ON: Span = Span::millis(50);

    /// Begins with nothing known. `secret` makes the questions unforeseeable: it must come from the
    /// operating system's generator, and be another one in each run.
    pub fn new(settings: Settings, secret: [u8; 32]) -> Self {
        Self {
            settings,
            secret,
            questions: 0,
            members: BTreeMap::new(),
            nodes: BTreeMap::new(),
            peernets: BTreeMap::new(),
            seated: BTreeMap::new(),
            quarrels: BTreeMap::new(),
            log: Log::default(),
            round_at: Time::ZERO,
            round_from: None,
            asked_until: Time::ZERO,
            full: 0,
        }
    }

    /// Somebody is on a channel: has come, or was there when we came. `claim` is the node that it
    /// says it is, by its realname. Who claims nothing is no node, and not asked.
    pub fn handle_seen(
        &mut self,
        place: Place,
        claim: Option<NodeId>,
        has_voice: bool,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let is_new = !self.members.contains_key(&place);
        if is_new && self.members.len() >= Self::MEMBERS_MAX {
            self.full += 1;
            return;
        }
        let member = self.members.entry(place.clone()).or_default();
        member.claim = claim.or(member.claim);
        if is_new || member.has_voice != has_voice {
            member.has_voice = has_voice;
            member.is_others = false;
        }
        self.settle(&place, now, out);
    }

    /// Somebody has left, or a netsplit has taken it. The server takes its voice along.
    pub fn handle_gone(&mut self, place: &Place, now: Time, out: &mut Vec<Output>) {
        let Some(member) = self.members.get(place) else {
            return;
        };
        let node = member.bound.map(|bound| bound.node);
        let had_voice = member.has_voice;
        if had_voice {
            self.note_voice(place, false, out);
            self.decide(place, Verdict::Devoiced, Some(Reason::Departed), now);
        }
        self.unbind(place, now, out);
        self.members.remove(place);
        self.settle_fellows(node, now, out);
    }

    /// A network is gone with everybody on it.
    pub fn handle_network_gone(&mut self, network: u8, now: Time, out: &mut Vec<Output>) {
        let there = self.members.keys().filter(|place| place.network == network);
        let there: Vec<Place> = there.cloned().collect();
        for place in there {
            self.unbind(&place, now, out);
            self.members.remove(&place);
        }
    }

    /// Somebody has another nick. It is the same connection, but who sees only a nick must not be
    /// fooled: the key has to be shown for the new one. The old nick is nobody's.
    pub fn handle_renamed(
        &mut self,
        network: u8,
        from: Folded,
        to: Folded,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let (from, to) = (
            Place {
                network,
                nick: from,
            },
            Place { network, nick: to },
        );
        let Some(mut member) = self.members.remove(&from).filter(|_| from != to) else {
            return;
        };
        self.handle_gone(&to, now, out);
        if let Some(bound) = member.bound {
            member.doubt = Some(Reason::NickChanged);
            if let Some(known) = self.nodes.get_mut(&bound.node) {
                known.places.retain(|place| *place != from);
                known.places.push(to.clone());
            }
        }
        (member.question, member.wanted) = (None, None);
        (member.unanswered, member.ask_at) = (0, now);
        self.members.insert(to.clone(), member);
        self.settle(&to, now, out);
    }

    /// A voice was given or taken.
    pub fn handle_voice(
        &mut self,
        place: &Place,
        has_voice: bool,
        by: By,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let Some(member) = self.members.get_mut(place) else {
            return;
        };
        let is_change = member.has_voice != has_voice;
        member.has_voice = has_voice;
        match by {
            By::Us => (member.is_others, member.wanted) = (false, None),
            By::Other if is_change => {
                (member.is_others, member.wanted) = (true, None);
            }
            By::Other => (),
        }
        let node = member.bound.map(|bound| bound.node);
        if is_change {
            self.note_voice(place, has_voice, out);
        }
        self.settle(place, now, out);
        if is_change && !has_voice {
            self.settle_fellows(node, now, out);
        }
    }

    /// A proof has come from a nick; `is_valid` tells whether its signature holds for that nick,
    /// here. `trust` is what is assigned to the node of that key.
    pub fn handle_proof(
        &mut self,
        place: &Place,
        proof: &Proof,
        trust: u8,
        is_valid: bool,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let Some(member) = self.members.get_mut(place) else {
            return;
        };
        let is_meant =
            |question: &Question| question.challenge.nonce == proof.nonce && now < question.until;
        // An answer to nothing costs nothing and changes nothing.
        if !member.question.as_ref().is_some_and(is_meant) {
            return;
        }
        member.question = None;
        if !is_valid {
            member.doubt = Some(Reason::ProofWrong);
            self.put_off(place, now);
        } else if !self.bind(place, proof, trust, now, out) {
            self.put_off(place, now);
        } else if let Some(member) = self.members.get_mut(place) {
            (member.doubt, member.unanswered, member.ask_at) = (None, 0, now);
        }
        self.settle(place, now, out);
    }

    /// A roster was heard, or is other than before.
    pub fn handle_roster(&mut self, mut seats: Seats, now: Time, out: &mut Vec<Output>) {
        let id = seats.peernet;
        if !self.peernets.contains_key(&id) && self.peernets.len() >= Self::PEERNETS_MAX {
            self.full += 1;
            return;
        }
        seats.members.sort_unstable();
        let peernet = self.peernets.entry(id).or_insert(Peernet {
            seats: None,
            shares_with: None,
            lease: None,
        });
        let known = peernet.seats.as_ref().map_or(0, |seats| seats.version);
        if seats.version < known {
            return;
        }
        peernet.seats = Some(seats);
        self.compare_rosters(now, out);
        self.settle_peernet(id, now, out);
    }

    /// A roster is not live any more.
    pub fn handle_roster_gone(&mut self, peernet: PeernetId, now: Time, out: &mut Vec<Output>) {
        let members = self.members_of(peernet);
        self.peernets.remove(&peernet);
        self.compare_rosters(now, out);
        for node in members {
            self.settle_node(node, now, out);
        }
    }

    /// An exit announces its lease; `is_valid` tells whether its signature holds. Of one peernet the
    /// highest token counts, and of one token the first holder.
    pub fn handle_lease(
        &mut self,
        announced: Announced,
        is_valid: bool,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let Announced {
            peernet: id,
            node,
            token,
            number,
        } = announced;
        let Some(peernet) = self.peernets.get_mut(&id).filter(|_| is_valid) else {
            return;
        };
        let seats = peernet.seats.as_ref();
        let is_member = seats.is_some_and(|seats| {
            seats.members.binary_search(&node).is_ok() && token.version() == seats.version
        });
        let counts = match peernet.lease {
            Some(last) if last.token == token => last.holder == node && number > last.number,
            Some(last) => token > last.token,
            None => true,
        };
        if !is_member || !counts {
            return;
        }
        let is_new = peernet.lease.is_none_or(|last| last.token != token);
        let heard = LeaseHeard {
            token,
            holder: node,
            number,
            heard_at: now,
        };
        let before = peernet.lease.replace(heard).map(|last| last.holder);
        if is_new {
            out.push(Output::Journal(Record::Token {
                peernet: id,
                token,
                holder: node,
                number,
            }));
        }
        for node in before.into_iter().filter(|before| *before != node) {
            self.settle_node(node, now, out);
        }
        self.settle_node(node, now, out);
    }

    /// A nick says something to the channel.
    pub fn handle_line(&mut self, place: &Place, now: Time, out: &mut Vec<Output>) {
        let Some(member) = self.members.get_mut(place) else {
            return;
        };
        if now.since(member.lines_since) >= Self::FLOOD_WITHIN {
            (member.lines, member.lines_since) = (0, now);
        }
        member.lines += 1;
        if member.lines == Self::FLOOD_LINES {
            self.handle_flood(place, now, out);
        }
    }

    /// Tells whether a proof answers a question of ours: others are not looked at.
    pub fn awaits(&self, place: &Place, proof: &Proof, now: Time) -> bool {
        let question = self.members.get(place).and_then(|member| member.question);
        question.is_some_and(|it| it.challenge.nonce == proof.nonce && now < it.until)
    }

    /// A nick floods the channel.
    pub fn handle_flood(&mut self, place: &Place, now: Time, out: &mut Vec<Output>) {
        let until = now + Self::FLOOD_BARS;
        let Some(member) = self.members.get_mut(place) else {
            return;
        };
        member.flooded_until = until;
        let node = member.bound.map(|bound| bound.node);
        if let Some(known) = node.and_then(|node| self.nodes.get_mut(&node)) {
            known.barred_until = until;
        }
        self.settle(place, now, out);
        if let Some(node) = node {
            self.settle_node(node, now, out);
        }
    }

    /// The trust in a node is another.
    pub fn handle_trust(&mut self, node: NodeId, trust: u8, now: Time, out: &mut Vec<Output>) {
        if let Some(known) = self.nodes.get_mut(&node) {
            known.trust = trust;
            self.settle_node(node, now, out);
        }
    }

    /// The owner has cleared up which key a node has: it begins anew.
    pub fn handle_pardon(&mut self, node: NodeId, now: Time, out: &mut Vec<Output>) {
        let Some(known) = self.nodes.remove(&node) else {
            return;
        };
        let is_troubled = false;
        out.push(Output::Journal(Record::Trouble { node, is_troubled }));
        out.push(Output::Journal(Record::Forgotten { node }));
        for place in known.places {
            if let Some(member) = self.members.get_mut(&place) {
                (member.bound, member.doubt, member.ask_at) = (None, None, now);
            }
            self.settle(&place, now, out);
        }
    }

    /// Returns when members are looked at next.
    pub fn deadline(&self) -> Option<Deadline> {
        (!self.members.is_empty() || !self.nodes.is_empty()).then_some(Deadline {
            at: self.round_at,
            why: "look at the members of the channel",
        })
    }

    /// Looks at some members: what is due for them is done.
    pub fn handle_deadline(&mut self, now: Time, out: &mut Vec<Output>) {
        if now < self.round_at {
            return;
        }
        let behind = |place: &Place| self.round_from.as_ref().is_none_or(|from| place > from);
        let places = self.members.keys().filter(|place| behind(place));
        let places: Vec<Place> = places.take(Self::ROUND_STEP).cloned().collect();
        for place in &places {
            self.settle(place, now, out);
        }
        if places.len() == Self::ROUND_STEP {
            self.round_from = places.last().cloned();
            self.round_at = now + Self::ROUND_ON;
            return;
        }
        self.round_from = None;
        self.round_at = now + Self::ROUND_EVERY;
        self.tend_nodes(now, out);
        let is_recent = |time: &Time| now.since(*time) < Self::HOUR;
        self.quarrels
            .retain(|_, quarrel| quarrel.reversed.iter().any(is_recent));
    }

    /// Returns every member that claims to be a node, has shown a key or has voice: its place, its
    /// node if that is proven, whether it has voice, and what is against it.
    pub fn list(
        &self,
        now: Time,
    ) -> impl Iterator<Item = (&Place, Option<NodeId>, bool, Result<(), Reason>)> {
        let concerns_us =
            |member: &Member| member.claim.is_some() || member.bound.is_some() || member.has_voice;
        let members = self.members.iter();
        members
            .filter(move |(_, member)| concerns_us(member))
            .map(move |(place, member)| {
                let node = member.bound.map(|bound| bound.node);
                (place, node, member.has_voice, self.judge(place, now))
            })
    }

    /// Returns what was decided about a node, newest first.
    pub fn explain(&self, node: NodeId) -> impl Iterator<Item = &Decision> {
        let decisions = self.log.iter().rev();
        decisions.filter(move |decision| decision.node == Some(node))
    }

    /// Returns how long a key has been on the channel.
    pub fn age(&self, node: NodeId, now: Time) -> Span {
        self.nodes
            .get(&node)
            .map_or(Span::ZERO, |known| known.age(now))
    }

    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Returns how often there was no room for a member, a key or a peernet.
    pub const fn full(&self) -> u64 {
        self.full
    }
}
