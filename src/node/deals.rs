//! Offers between nodes: own ones out, others' answered or handed on, matches bound and counted.

use crate::journal::record::Record;
use crate::model::ids::{MatchId, NodeId, OfferId};
use crate::model::number::Quantity;
use crate::model::offer::{Ask, NoAnswer, Part};
use crate::model::time::{Span, Time};
use crate::node::output::{Outbox, Severity};
use crate::node::{Node, Phase, notice};
use crate::offer::answer::{self, Answer, Desk};
use crate::offer::hold::{Hold, HoldState};
use crate::offer::origin::OriginState;
use crate::offer::{Say, Saying};
use crate::risk::Switch;
use crate::wire::message::Message;

/// The longest that funds are held for an offer of somebody else, whatever the ask says.
const HOLD_MAX: Span = Span::secs(60);
/// The longest that answers are gathered for an offer of somebody else.
const ANSWER_MAX: Span = Span::secs(10);
/// Times an ask may still be handed on when it comes here.
const HOPS_MAX: u8 = 2;

impl Node {
    /// Moves relays and promises on, and journals what has ended.
    pub(super) fn drain_deals(&mut self, now: Time, out: &mut Outbox) -> bool {
        let mut moved = false;
        let matching = &mut self.numbers.matching;
        let mut next_id = || {
            let id = *matching;
            *matching = id.next();
            id
        };
        let sayings = self.relays.advance(&mut self.holds, &mut next_id, now);
        moved |= !sayings.is_empty();
        for saying in &sayings {
            if matches!(saying.say, Say::Match { .. }) {
                self.totals.aggregates += 1;
            }
        }
        self.say_all(sayings, now, out);
        while let Some(saying) = self.holds.poll_saying() {
            moved = true;
            self.say(saying, now, out);
        }
        while let Some(id) = self.holds.poll_lapsed() {
            moved = true;
            let is_sealed = false;
            self.journal(&Record::HoldOver { id, is_sealed }, out);
        }
        while let Some(offer) = self.origins.poll_closed() {
            moved = true;
            self.handle_offer_closed(offer, out);
        }
        moved
    }

    pub(super) fn handle_deal(
        &mut self,
        from: NodeId,
        message: Message,
        now: Time,
        out: &mut Outbox,
    ) {
        let sayings = match message {
            Message::Ask {
                ask,
                answer_within,
                hold,
                asked,
            } => {
                self.handle_ask(from, ask, (answer_within, hold), &asked, now, out);
                return;
            }
            Message::Match {
                offer,
                id,
                part,
                hold,
            } => {
                self.totals.partial_matches += 1;
                if self.relays.handle_match(from, offer, id, part, hold, now) {
                    return;
                }
                self.origins.handle_match(from, offer, id, part, hold, now)
            }
            Message::NoMatch { offer, why } => {
                self.relays.handle_no_match(from, offer, why);
                self.origins.handle_no_match(from, offer, why, now)
            }
            Message::Confirm {
                offer,
                id,
                quantity,
                total,
            } => {
                if self.relays.has(offer) {
                    self.relays.handle_confirm(from, offer, id, quantity, total);
                    return;
                }
                self.origins
                    .handle_confirm(from, offer, id, quantity, total, now)
            }
            Message::Lapse { offer, id } => self.handle_lapse(from, offer, id, now, out),
            Message::Accept { .. }
            | Message::Release { .. }
            | Message::Seal { .. }
            | Message::Withdraw { .. } => {
                self.handle_decision(from, message, now, out);
                return;
            }
            Message::Inquire { .. }
            | Message::Peernet(_)
            | Message::Market { .. }
            | Message::Quote(_)
            | Message::Probe(_)
            | Message::ProbeReply(_)
            | Message::Talk(_)
            | Message::Grant { .. }
            | Message::GrantOver { .. }
            | Message::Fire(_)
            | Message::LegReport(_)
            | Message::LegRefused { .. }
            | Message::LegQuery { .. } => return,
        };
        self.say_all(sayings, now, out);
    }

    /// A matcher gave up: what was counted is not any more.
    fn handle_lapse(
        &mut self,
        from: NodeId,
        offer: OfferId,
        id: MatchId,
        now: Time,
        out: &mut Outbox,
    ) -> Vec<Saying> {
        self.relays.handle_lapse(from, offer, id);
        self.uncount_earlier(offer, from, id, out);
        if self.origins.get(offer).is_some() {
            let peer = from;
            self.journal(&Record::Uncounted { offer, peer, id }, out);
        }
        self.origins.handle_lapse(from, offer, id, now)
    }

    /// Takes what an asker decides about matches that were offered to it.
    fn handle_decision(&mut self, from: NodeId, message: Message, now: Time, out: &mut Outbox) {
        match message {
            Message::Accept {
                offer,
                id,
                quantity,
            } => self.handle_accept(from, offer, id, quantity, now, out),
            Message::Release { offer, id } => {
                self.handle_verdict(from, offer, id, false, now, out);
            }
            Message::Seal { offer, id } => self.handle_verdict(from, offer, id, true, now, out),
            Message::Withdraw { offer } => {
                self.holds.handle_withdrawn(from, offer);
                let sayings = self.relays.handle_withdrawn(from, offer, &mut self.holds);
                self.say_all(sayings, now, out);
            }
            Message::Ask { .. }
            | Message::Match { .. }
            | Message::NoMatch { .. }
            | Message::Confirm { .. }
            | Message::Lapse { .. }
            | Message::Inquire { .. }
            | Message::Peernet(_)
            | Message::Market { .. }
            | Message::Quote(_)
            | Message::Probe(_)
            | Message::ProbeReply(_)
            | Message::Talk(_)
            | Message::Grant { .. }
            | Message::GrantOver { .. }
            | Message::Fire(_)
            | Message::LegReport(_)
            | Message::LegRefused { .. }
            | Message::LegQuery { .. } => (),
        }
    }

    /// Answers an ask under this node's own rules, and hands it on where that is wanted.
    fn handle_ask(
        &mut self,
        from: NodeId,
        ask: Ask,
        (answer_within, hold): (Span, Span),
        asked: &[NodeId],
        now: Time,
        out: &mut Outbox,
    ) {
        let offer = ask.offer;
        let refuse = |why| Saying {
            to: from,
            say: Say::NoMatch { offer, why },
        };
        let hold = hold.min(HOLD_MAX);
        let answer_within = answer_within.min(ANSWER_MAX);
        let ask = Ask {
            hops: ask.hops.min(HOPS_MAX),
            ..ask
        };
        self.relays.make_way(offer, from);
        let is_known = self.holds.has(offer) || self.relays.has(offer);
        if is_known || ask.origin == self.me.id {
            self.say(refuse(NoAnswer::AnsweredAlready), now, out);
            return;
        }
        let secondaries = self.secondaries(&ask, from, asked);
        let is_relay = !secondaries.is_empty() && self.relays.has_room();
        let answered = self.answer(&ask, now);
        let own = answered.and_then(|answer| {
            let waits = answer.needs_approval;
            // A part that waits for its owner comes late and by itself, never within an aggregate.
            let upstream = (waits || !is_relay).then_some(from);
            let id = self.promise(&ask, answer, upstream, hold, now, out);
            if waits {
                Err(NoAnswer::NeedsApproval)
            } else {
                Ok(id)
            }
        });
        if is_relay {
            let sayings = self
                .relays
                .begin(ask, from, own, &secondaries, answer_within, hold, now);
            self.say_all(sayings, now, out);
        } else if let Err(why) = own {
            self.say(refuse(why), now, out);
        }
    }

    /// Returns the peers to hand an ask on to: near, and not asked by another route.
    fn secondaries(&self, ask: &Ask, from: NodeId, asked: &[NodeId]) -> Vec<NodeId> {
        if ask.hops == 0 {
            return Vec::new();
        }
        self.links
            .nearest()
            .map(|(peer, _)| peer)
            .filter(|peer| {
                *peer != from
                    && *peer != ask.origin
                    && !asked.contains(peer)
                    && self.is_askable(*peer)
            })
            .collect()
    }

    pub(super) fn answer(&self, ask: &Ask, now: Time) -> Result<Answer, NoAnswer> {
        if self.phase != Phase::Running || self.gate.switch() != Switch::Active {
            return Err(NoAnswer::Switch);
        }
        if !self.holds.has_room() {
            return Err(NoAnswer::Full);
        }
        let desk = Desk {
            owner: self.me.owner,
            settings: &self.settings.offer,
            free: &|method, currency| self.holds.free(method, currency),
            best: &|market, side| {
                let state = self.books.get(&market)?;
                let book = state.book.live(now, &self.freshness).ok()?;
                book.best(side).map(|level| level.price)
            },
        };
        answer::answer(ask, &desk)
    }

    fn promise(
        &mut self,
        ask: &Ask,
        answer: Answer,
        upstream: Option<NodeId>,
        hold: Span,
        now: Time,
        out: &mut Outbox,
    ) -> MatchId {
        let id = self.numbers.matching;
        self.numbers.matching = id.next();
        let waits = answer.needs_approval;
        let promise = Hold {
            offer: ask.offer,
            id,
            upstream,
            give: ask.line.give,
            want: ask.line.want,
            part: answer.part,
            state: if waits {
                HoldState::Waiting
            } else {
                HoldState::Held
            },
            until: now + hold,
        };
        self.holds.hold(promise, now);
        if waits {
            let text = format!(
                "offer {}: {} waits for your word: expressnet offer approve {}",
                ask.offer, ask.line, ask.offer
            );
            notice(out, Severity::Info, &text);
        }
        id
    }

    fn handle_accept(
        &mut self,
        from: NodeId,
        offer: OfferId,
        id: MatchId,
        quantity: Quantity,
        now: Time,
        out: &mut Outbox,
    ) {
        if !self.is_asker(from, offer, id) {
            self.note_not_allowed();
            let (quantity, total) = (Quantity::ZERO, Quantity::ZERO);
            let say = Say::Confirm {
                offer,
                id,
                quantity,
                total,
            };
            self.say(Saying { to: from, say }, now, out);
            return;
        }
        if let Some((quantity, total)) = self.relays.confirmed(offer, id) {
            let say = Say::Confirm {
                offer,
                id,
                quantity,
                total,
            };
            self.say(Saying { to: from, say }, now, out);
            return;
        }
        let is_relayed = self
            .relays
            .handle_accept(offer, id, quantity, &mut self.holds, now);
        if is_relayed {
            return;
        }
        let part = self.holds.confirm(id, quantity, now);
        let say = Say::Confirm {
            offer,
            id,
            quantity: part.quantity,
            total: part.total,
        };
        self.say(Saying { to: from, say }, now, out);
    }

    fn handle_verdict(
        &mut self,
        from: NodeId,
        offer: OfferId,
        id: MatchId,
        is_sealed: bool,
        now: Time,
        out: &mut Outbox,
    ) {
        if self.relays.owns(offer, id) && !self.is_asker(from, offer, id) {
            self.note_not_allowed();
            return;
        }
        if self.relays.owns(offer, id) {
            self.journal_relay_over(offer, id, is_sealed, out);
            let sayings = self
                .relays
                .handle_verdict(offer, id, is_sealed, &mut self.holds);
            self.say_all(sayings, now, out);
            return;
        }
        let is_asker = self.is_asker(from, offer, id);
        if is_sealed {
            if is_asker && self.holds.seal(id) {
                self.journal(&Record::HoldOver { id, is_sealed }, out);
            } else {
                let say = Say::Lapse { offer, id };
                self.say(Saying { to: from, say }, now, out);
            }
        } else if is_asker {
            self.holds.release(id);
            self.journal(&Record::HoldOver { id, is_sealed }, out);
        }
    }

    /// Returns true where a match was offered to this peer: nobody else decides about it.
    fn is_asker(&self, peer: NodeId, offer: OfferId, id: MatchId) -> bool {
        let upstream = if self.relays.owns(offer, id) {
            self.relays.upstream(offer, id)
        } else {
            self.holds.upstream(id)
        };
        upstream == Some(peer)
    }

    fn note_not_allowed(&mut self) {
        *self.totals.messages.entry("not_allowed").or_default() += 1;
    }

    fn journal_relay_over(
        &mut self,
        offer: OfferId,
        id: MatchId,
        is_sealed: bool,
        out: &mut Outbox,
    ) {
        let Some(bound) = self.relays.bound(offer, id) else {
            return;
        };
        if let Some(own) = bound.own {
            self.journal(&Record::HoldOver { id: own, is_sealed }, out);
        }
        self.journal(&Record::RelayOver { id, is_sealed }, out);
    }

    /// Says again to a matcher what an earlier run of this origin has counted.
    pub(super) fn seal_earlier(&mut self, peer: NodeId, now: Time, out: &mut Outbox) {
        let counted: Vec<(OfferId, MatchId)> = self
            .earlier_counted
            .keys()
            .filter(|(_, matcher, _)| *matcher == peer)
            .map(|(offer, _, id)| (*offer, *id))
            .collect();
        for (offer, id) in counted {
            self.send(peer, &Message::Seal { offer, id }, now, out);
        }
    }

    /// A matcher gave up what an earlier run has counted: filled → released, once by its id.
    fn uncount_earlier(&mut self, offer: OfferId, peer: NodeId, id: MatchId, out: &mut Outbox) {
        let Some((give, part)) = self.earlier_counted.remove(&(offer, peer, id)) else {
            return;
        };
        let sum = self.totals.tallies.entry(give).or_default();
        sum.filled = sum.filled.less(part.quantity);
        sum.released = sum.released.saturating_add(part.quantity);
        self.journal(&Record::Uncounted { offer, peer, id }, out);
    }

    pub(super) fn say_all(&mut self, sayings: Vec<Saying>, now: Time, out: &mut Outbox) {
        for saying in sayings {
            self.say(saying, now, out);
        }
    }

    /// Turns what the pipeline says into a message, journalled first where that is owed.
    fn say(&mut self, saying: Saying, now: Time, out: &mut Outbox) {
        let to = saying.to;
        let message = self.message_of(saying);
        let record = match saying.say {
            Say::Accept {
                offer,
                id,
                quantity,
            } => self.origins.get(offer).and_then(|own| {
                let candidates = own.gather.candidates();
                let one = candidates
                    .iter()
                    .find(|one| one.peer == to && one.id == id)?;
                Some(Record::Accepted {
                    offer,
                    peer: to,
                    id,
                    quantity,
                    part: one.part,
                })
            }),
            Say::Seal { offer, id } => self.counted_record(offer, to, id),

            Say::Confirm {
                offer,
                id,
                quantity,
                ..
            } if quantity.is_positive() => {
                let own = self.relays.bound(offer, id).and_then(|bound| bound.own);
                if let Some(record) = own.and_then(|own| self.hold_record(own)) {
                    self.journal(&record, out);
                }
                self.confirmed_record(offer, id)
            }
            Say::Release { offer, id } if self.origins.get(offer).is_some() => {
                let record = Record::Uncounted {
                    offer,
                    peer: to,
                    id,
                };
                self.journal(&record, out);
                None
            }

            Say::Lapse { offer, id } => {
                self.journal_relay_over(offer, id, false, out);
                let is_sealed = false;
                self.journal(&Record::HoldOver { id, is_sealed }, out);
                None
            }
            Say::Ask { .. }
            | Say::Match { .. }
            | Say::NoMatch { .. }
            | Say::Confirm { .. }
            | Say::Release { .. }
            | Say::Withdraw { .. } => None,
        };
        match record {
            Some(record) => {
                let commit = self.journal(&record, out);
                self.send_after(commit, to, message, now, out);
            }
            None => self.send(to, &message, now, out),
        }
    }

    fn message_of(&self, saying: Saying) -> Message {
        match saying.say {
            Say::Ask {
                ask,
                answer_within,
                hold,
            } => {
                let asked = self.origins.get(ask.offer).map(|own| own.gather.asked());
                Message::Ask {
                    ask,
                    answer_within,
                    hold,
                    asked: asked.into_iter().flatten().map(|(peer, _)| peer).collect(),
                }
            }
            Say::Match {
                offer,
                id,
                part,
                hold,
            } => Message::Match {
                offer,
                id,
                part,
                hold,
            },
            Say::NoMatch { offer, why } => Message::NoMatch { offer, why },
            Say::Accept {
                offer,
                id,
                quantity,
            } => Message::Accept {
                offer,
                id,
                quantity,
            },
            Say::Confirm {
                offer,
                id,
                quantity,
                total,
            } => Message::Confirm {
                offer,
                id,
                quantity,
                total,
            },
            Say::Release { offer, id } => Message::Release { offer, id },
            Say::Seal { offer, id } => Message::Seal { offer, id },
            Say::Lapse { offer, id } => Message::Lapse { offer, id },
            Say::Withdraw { offer } => Message::Withdraw { offer },
        }
    }

    fn counted_record(&self, offer: OfferId, peer: NodeId, id: MatchId) -> Option<Record> {
        let own = self.origins.get(offer)?;
        let one = own
            .gather
            .candidates()
            .iter()
            .find(|one| one.peer == peer && one.id == id)?;
        Some(Record::Counted {
            offer,
            peer,
            id,
            part: Part {
                quantity: one.taken,
                total: one.total,
                method: one.part.method,
            },
        })
    }

    fn confirmed_record(&self, offer: OfferId, id: MatchId) -> Option<Record> {
        if let Some(bound) = self.relays.bound(offer, id) {
            return Some(Record::RelayBound { bound });
        }

        self.hold_record(id)
    }

    fn hold_record(&self, id: MatchId) -> Option<Record> {
        let mut open = self.holds.open();
        let hold = open.find(|hold| hold.id == id && hold.state == HoldState::Confirmed)?;
        Some(Record::HoldConfirmed {
            offer: hold.offer,
            id,
            upstream: hold.upstream,
            give: hold.give,
            want: hold.want,
            part: hold.part,
        })
    }

    fn handle_offer_closed(&mut self, id: OfferId, out: &mut Outbox) {
        let Some(own) = self.origins.get(id) else {
            return;
        };
        let (tally, give, want, received) = (
            own.tally(),
            own.offer.line.give,
            own.offer.line.want,
            own.received(),
        );
        let closing = match own.state {
            OriginState::Closed(why) => why.word(),
            OriginState::Gathering { .. } | OriginState::Settling | OriginState::Standing => "open",
        };
        let sum = self.totals.tallies.entry(give).or_default();
        *sum = sum.plus(tally);
        let covered = own.offer.covered(tally.filled, received);
        let record = Record::OfferClosed {
            offer: id,
            tally,
            received,
        };
        self.journal(&record, out);
        self.announce_over(id, out);
        if let Some((base, units)) = covered {
            self.gate.expose(base, units);
        }
        let text = format!(
            "offer {id} {closing}: {} of {} {give} matched for {received} {want}",
            tally.filled, tally.planned
        );
        notice(out, Severity::Info, &text);
    }
}
