//! The exit: what this node says to the open channel, and what it does about what others say there.
//!
//! ```text
//! own offer, asked within, still open, ≥ broadcast_min ─ mark durable ─▶ offer line
//! over ─▶ close line
//! offer line of another exit ─ could be met here? ─ slot delay ─▶ inquire ─▶ its ask, as from a peer
//! ```
//! IRC carries the one line; everything else goes over the link. Only who holds the lease speaks.

use std::collections::{BTreeMap, VecDeque};

use crate::discovery::announce::{Announcement, Closed, Offered, Said, hand_out};
use crate::discovery::lease::Token;
use crate::journal::record::Record;
use crate::model::ids::{CommitNo, NodeId, OfferId, OwnerId};
use crate::model::instrument::Pair;
use crate::model::number::Quantity;
use crate::model::offer::{Ask, Line};
use crate::model::random::Random;
use crate::model::time::{Deadline, Span, Time};
use crate::node::output::{Outbox, Output};
use crate::node::{Node, Phase};
use crate::offer::origin::{Asked, OriginState, OwnOffer};
use crate::wire::message::Message;

/// Offers of other exits that this node means to inquire after, or has. Full: a further one is left
/// to others.
const INQUIRIES_MAX: usize = 64;
/// Who is as near as the next room waits this long; whoever is farther waits its round trip more.
const SLOT_MIN: Span = Span::millis(100);
/// How often a link to whoever announced is waited for.
const LINK_WAIT: Span = Span::millis(500);

/// What was said, and what others said.
#[derive(Debug, Default)]
pub(super) struct Voice {
    /// Own offers that were announced, with the version.
    spoken: BTreeMap<OfferId, u32>,
    /// Lines whose mark is not durable yet.
    waiting: VecDeque<(CommitNo, Said)>,
    inquiries: BTreeMap<OfferId, Inquiry>,
}

#[derive(Clone, Copy, Debug)]
struct Inquiry {
    exit: NodeId,
    due: Option<Time>,
    until: Time,
}

impl Voice {
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let due = self.inquiries.values().filter_map(|inquiry| inquiry.due);
        let at = due.min()?;
        Some(Deadline { at, why: "inquire" })
    }
}

/// What this node says.
impl Node {
    /// Announces what the own peernet could not fill.
    pub(super) fn announce_due(&mut self, now: Time, out: &mut Outbox) {
        let is_idle = self.phase != Phase::Running || self.settings.open.broadcast_min.is_empty();
        if is_idle || self.peernet.may_speak(now).is_none() {
            return;
        }
        let is_due = |own: &&OwnOffer| {
            let was_asked_within = match own.state {
                OriginState::Standing => true,
                OriginState::Gathering { .. } => own.rounds > 1,
                OriginState::Settling | OriginState::Closed(_) => false,
            };
            was_asked_within
                && self.is_broadcast(&own.offer.line, own.open_quantity())
                && !self.voice.spoken.contains_key(&own.offer.id)
        };
        let due: Vec<Offered> = self
            .origins
            .open()
            .filter(is_due)
            .map(|own| Offered {
                offer: own.offer.id,
                version: 1,
                line: Line {
                    quantity: own.open_quantity(),
                    ..own.offer.line
                },
                part_min: own.offer.part_min,
            })
            .collect();
        for offered in due {
            self.voice.spoken.insert(offered.offer, offered.version);
            self.speak(Said::Offer(offered), out);
        }
    }

    /// Tells whether so much of an offer is announced.
    pub(super) fn is_broadcast(&self, line: &Line, quantity: Quantity) -> bool {
        let pair = Pair {
            base: line.give,
            quote: line.want,
        };
        let mut listed = self.settings.open.broadcast_min.iter();
        self.has_open_side() && listed.any(|(of, least)| *of == pair && quantity >= *least)
    }

    /// Takes back what an earlier run announced: none of its offers is open any more.
    pub(super) fn take_back(&mut self, spoken: &BTreeMap<OfferId, u32>, out: &mut Outbox) {
        for (&offer, &version) in spoken {
            self.speak(Said::Close(Closed { offer, version }), out);
        }
    }

    /// Takes note that an own offer is over; what was announced is taken back.
    pub(super) fn announce_over(&mut self, offer: OfferId, out: &mut Outbox) {
        let Some(version) = self.voice.spoken.remove(&offer) else {
            return;
        };
        let waits = |said: &Said| matches!(said, Said::Offer(offered) if offered.offer == offer);
        if self.voice.waiting.iter().any(|(_, said)| waits(said)) {
            // It was never said, so nothing is taken back on the channel.
            self.voice.waiting.retain(|(_, said)| !waits(said));
            let is_over = true;
            let record = Record::Spoken {
                offer,
                version,
                is_over,
            };
            self.journal(&record, out);
            return;
        }
        self.speak(Said::Close(Closed { offer, version }), out);
    }

    /// The mark first, then the line: what was said is never said twice, whatever crashes between.
    fn speak(&mut self, said: Said, out: &mut Outbox) {
        let (offer, version, is_over) = match &said {
            Said::Offer(offered) => (offered.offer, offered.version, false),
            Said::Close(closed) => (closed.offer, closed.version, true),
            Said::Match(_) | Said::Relay(_) => return,
        };
        let record = Record::Spoken {
            offer,
            version,
            is_over,
        };
        let commit = self.journal(&record, out);
        self.voice.waiting.push_back((commit, said));
    }

    /// Says what has its mark on disk by now, by the lease of this moment. Without one it waits: what
    /// was marked and not said may still be said once.
    pub(super) fn speak_durable(&mut self, now: Time, out: &mut Outbox) {
        while let Some((commit, _)) = self.voice.waiting.front() {
            if *commit > self.commits.durable {
                return;
            }
            let Some(right) = self.peernet.may_speak(now) else {
                return;
            };
            if let Some((_, said)) = self.voice.waiting.pop_front() {
                let right = (right.0, right.1.0);
                let bytes = out.write(|arena| hand_out(&said, right, arena));
                out.push(Output::Announce { bytes });
                if let Said::Offer(offered) = &said {
                    self.origins.handle_announced(offered.offer, now);
                }
                *self.totals.messages.entry("announced").or_default() += 1;
            }
        }
    }

    /// Another exit wants to be asked about an offer that was announced.
    pub(super) fn handle_inquire(
        &mut self,
        from: NodeId,
        offer: OfferId,
        now: Time,
        out: &mut Outbox,
    ) {
        let Some(peer) = self.peers.get(&from) else {
            return;
        };
        let is_own = peer.peer.owner == self.me.owner;
        let asked = Asked {
            peer: from,
            trust: peer.peer.trust,
            rtt: peer.last_rtt.unwrap_or(Span::ZERO),
        };
        if is_own || !self.voice.spoken.contains_key(&offer) {
            *self.totals.messages.entry("not_allowed").or_default() += 1;
            return;
        }
        let sayings = self.origins.invite(offer, asked, now);
        self.say_all(sayings, now, out);
    }
}

/// What others say.
impl Node {
    pub(super) fn handle_announced(
        &mut self,
        announced: &Announcement,
        now: Time,
        out: &mut Outbox,
    ) {
        let right = (announced.peernet(), Token(announced.token()));
        self.handle_token(right, now, out);
        *self.totals.messages.entry("heard_line").or_default() += 1;
        let exit = announced.signer().node_id();
        match announced.said() {
            Said::Offer(offered) => self.consider(exit, offered, announced.expires(), now),
            Said::Close(closed) => {
                let is_its = |inquiry: &Inquiry| inquiry.exit == exit;
                if self.voice.inquiries.get(&closed.offer).is_some_and(is_its) {
                    self.voice.inquiries.remove(&closed.offer);
                }
            }
            Said::Match(_) | Said::Relay(_) => (),
        }
    }

    /// Inquires after an offer that could be met here, once its slot has come: the nearest first.
    fn consider(&mut self, exit: NodeId, offered: &Offered, until: Time, now: Time) {
        self.voice
            .inquiries
            .retain(|_, inquiry| inquiry.until > now);
        let is_known = self.voice.inquiries.contains_key(&offered.offer);
        let is_full = self.voice.inquiries.len() >= INQUIRIES_MAX;
        if is_known || is_full || !self.could_meet(exit, offered, now) {
            return;
        }
        let rtt = self.peers.get(&exit).and_then(|peer| peer.last_rtt);
        let rtt = rtt.unwrap_or(LINK_WAIT);
        let jitter = jitter(&mut self.random, rtt);
        let due = Some(now + SLOT_MIN + rtt + jitter);
        let inquiry = Inquiry { exit, due, until };
        self.voice.inquiries.insert(offered.offer, inquiry);
    }

    /// Tells whether own rules would answer, or there is somebody here to ask.
    fn could_meet(&self, exit: NodeId, offered: &Offered, now: Time) -> bool {
        let unknown = OwnerId([0; 32]);
        let owner = self
            .peers
            .get(&exit)
            .map_or(unknown, |peer| peer.peer.owner);
        let ask = Ask {
            offer: offered.offer,
            origin: exit,
            owner,
            line: offered.line,
            part_min: offered.part_min,
            hops: 1,
        };
        let has_secondary = self
            .peers
            .values()
            .any(|peer| peer.is_listed && peer.link.is_ready() && peer.peer.owner != owner);
        owner != self.me.owner && (self.answer(&ask, now).is_ok() || has_secondary)
    }

    /// Sends inquiries whose slot has come, to exits that are linked.
    pub(super) fn tend_inquiries(&mut self, now: Time, out: &mut Outbox) {
        let due = |inquiry: &Inquiry| inquiry.due.is_some_and(|due| due <= now);
        let inquiries = self.voice.inquiries.iter();
        let due: Vec<(OfferId, Inquiry)> = inquiries
            .filter(|(_, inquiry)| due(inquiry))
            .map(|(offer, inquiry)| (*offer, *inquiry))
            .collect();
        for (offer, mut inquiry) in due {
            let exit = self.peers.get(&inquiry.exit);
            let is_linked = exit.is_some_and(|peer| peer.link.is_ready());
            if inquiry.until <= now {
                self.voice.inquiries.remove(&offer);
                continue;
            }
            if is_linked {
                self.send(inquiry.exit, &Message::Inquire { offer }, now, out);
            }
            inquiry.due = (!is_linked).then_some(now + LINK_WAIT);
            self.voice.inquiries.insert(offer, inquiry);
        }
    }
}

fn jitter(random: &mut Random, rtt: Span) -> Span {
    Span(random.below((rtt.0 / 4).max(1)))
}
