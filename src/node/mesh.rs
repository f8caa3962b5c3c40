//! Links and messages: what peers say goes to the stage it is for.

use crate::latency::clock::{Exchange, PeerClock};
use crate::membership::links::LinkOutput;
use crate::membership::{Direction, Reach};
use crate::model::ids::{LinkNo, NodeId};
use crate::model::instrument::Market;
use crate::model::market::{BookUpdate, Level, Rules, UpdateKind};
use crate::model::offer::NoAnswer;
use crate::model::time::{Deadline, Span, Time};
use crate::model::trade::LegRefusal;
use crate::node::books::BookState;
use crate::node::output::{Outbox, Output, Severity};
use crate::node::{Node, notice};
use crate::wire::link::{Heard, Link, LinkError};
use crate::wire::message::{Message, QuoteHead};
use crate::wire::talk::Probe;

/// How often a link's round trip is measured.
const PROBE_EVERY: Span = Span::millis(500);
/// How often it is while the peer's own train runs: what it claims is held against these.
const WATCH_EVERY: Span = Span::millis(20);
/// How long no leg is asked of a peer that has sent as many orders as it may.
const THROTTLED_FOR: Span = Span::millis(100);
/// Markets one peer may announce; more are ignored.
const MARKETS_MAX: usize = 64;

/// The last probes that watch a link, by number: an answer to any other is stray.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    next: u32,
    out: [Option<(u32, Time)>; Self::OUT_MAX],
}

impl Default for Watched {
    fn default() -> Self {
        Self {
            next: 0,
            out: [None; Self::OUT_MAX],
        }
    }
}

impl Watched {
    /// More than a second of them while a peer's train runs; an older one is lost.
    const OUT_MAX: usize = 64;

    fn send(&mut self, now: Time) -> u32 {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.out[number as usize % Self::OUT_MAX] = Some((number, now));
        number
    }

    fn take(&mut self, number: u32, sent: Time) -> bool {
        let slot = &mut self.out[number as usize % Self::OUT_MAX];
        let is_out = *slot == Some((number, sent));
        if is_out {
            *slot = None;
        }
        is_out
    }
}

impl Node {
    pub(super) fn handle_link_up(
        &mut self,
        peer: NodeId,
        link: LinkNo,
        direction: Direction,
        now: Time,
        out: &mut Outbox,
    ) {
        if self.is_born() {
            let way = (direction, Reach::Quic);
            self.links.handle_up(peer, link, way, now);
        } else {
            out.push(Output::CloseLink { link });
        }
    }

    /// Does what the links ask for.
    pub(super) fn drain_links(&mut self, now: Time, out: &mut Outbox) -> bool {
        let mut moved = false;
        while let Some(output) = self.links.poll_output() {
            moved = true;
            match output {
                LinkOutput::Dial { peer } => out.push(Output::Dial { peer }),
                LinkOutput::Close { link } => out.push(Output::CloseLink { link }),
                LinkOutput::Ready { peer, link } => {
                    self.handle_connected(peer, link, out);
                    self.note_linked(peer, now, out);
                }
                LinkOutput::Lost { peer, link } => {
                    self.handle_link_lost(peer, link, now);
                    // A link that only moved is not lost.
                    if self.links.link_of(peer).is_none() {
                        self.note_lost(peer, now, out);
                    }
                }
            }
        }
        moved
    }

    fn handle_connected(&mut self, id: NodeId, link: LinkNo, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if let Some(old) = peer.link_no.replace(link) {
            self.link_peers.remove(&old);
        }
        self.link_peers.insert(link, id);
        peer.link
            .handle_connected(&mut |frame| push_frame(out, link, frame));
    }

    fn handle_link_lost(&mut self, id: NodeId, link: LinkNo, now: Time) {
        self.link_peers.remove(&link);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.link_no == Some(link) {
            peer.link_no = None;
            peer.link.handle_disconnected();
            self.plans.handle_link_lost(id, now);
            let is_its = |_: &Market, state: &BookState| state.holder == Some(id);
            self.books.change_all(is_its, |_, state| {
                state.quote_number = 0;
                state.book.reset();
            });
        }
    }

    pub(super) fn handle_link_stream(
        &mut self,
        link: LinkNo,
        frame: &[u8],
        now: Time,
        out: &mut Outbox,
    ) {
        let Some(id) = self.link_peers.get(&link).copied() else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let heard = peer
            .link
            .handle_frame(frame, &mut |frame| push_frame(out, link, frame));
        match heard {
            Ok(Heard::Ready { restarted }) => self.handle_ready(id, restarted, now, out),
            Ok(Heard::Message(bytes)) => match Message::decode(bytes) {
                Ok(message) => self.handle_message(id, message, now, out),
                Err(why) => self.close_for(id, link, LinkError::Codec(why), now, out),
            },
            Ok(Heard::Nothing) => (),
            Err(why) => self.close_for(id, link, why, now, out),
        }
    }

    /// A peer that breaks the protocol loses its connection; what is owed to it is kept.
    fn close_for(&mut self, id: NodeId, link: LinkNo, why: LinkError, now: Time, out: &mut Outbox) {
        notice(
            out,
            Severity::Warn,
            &format!("peer {id}: {why}; link closed"),
        );
        out.push(Output::CloseLink { link });
        self.links.handle_down(link, now);
    }

    fn handle_ready(&mut self, id: NodeId, restarted: bool, now: Time, out: &mut Outbox) {
        let is_listed = self.is_listed(id);
        let own: Vec<(Market, Rules)> = self
            .books
            .iter()
            .filter(|(_, state)| state.holder.is_none())
            .map(|(market, state)| (*market, state.rules))
            .collect();
        if restarted {
            // Its clock was anchored anew.
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.clock = PeerClock::default();
            }
            self.rights.drop_where(|right| right.granter == id);
            let drawn = self.granted.close_where(|envelope| envelope.drawer == id);
            drop(drawn);
            for (market, rules) in own.iter().filter(|_| is_listed) {
                let message = Message::Market {
                    market: *market,
                    rules: *rules,
                };
                self.send(id, &message, now, out);
            }
            self.orders.handle_leader_restarted(id);
            self.seal_earlier(id, now, out);
            let mut sayings = self.relays.handle_peer_restarted(id);
            sayings.extend(self.origins.handle_peer_restarted(id));
            self.say_all(sayings, now, out);
        }
        self.greet_member(id, now, out);
        self.plans.handle_link_ready(id, now);
        for (market, _) in own {
            self.quote(market, now, out);
        }
        self.needs_renewal = true;
    }

    pub(super) fn handle_datagram(
        &mut self,
        link: LinkNo,
        bytes: &[u8],
        now: Time,
        out: &mut Outbox,
    ) {
        let Some(id) = self.link_peers.get(&link).copied() else {
            return;
        };
        let is_ready = self.peers.get(&id).is_some_and(|peer| peer.link.is_ready());
        let mut levels = std::mem::take(&mut self.scratch.quoted);
        let quote = QuoteHead::decode(bytes, &mut levels.0, &mut levels.1);
        if let Some(Ok(head)) = quote {
            *self.totals.messages.entry("quote").or_default() += 1;
            if is_ready {
                self.handle_quote(id, &head, &levels, now);
            }
        }
        self.scratch.quoted = levels;
        if matches!(quote, Some(Ok(_))) {
            return;
        }
        let Ok(message) = Message::decode(bytes) else {
            *self.totals.messages.entry("malformed").or_default() += 1;
            return;
        };
        *self.totals.messages.entry(message.ordinal().1).or_default() += 1;
        if !is_ready {
            return;
        }
        match message {
            Message::Probe(probe) => self.handle_probe(id, link, probe, now, out),
            Message::ProbeReply(probe) => self.handle_probe_reply(id, &probe, now, out),
            // Everything else must arrive and comes on the stream.
            Message::Quote(_)
            | Message::Market { .. }
            | Message::Grant { .. }
            | Message::GrantOver { .. }
            | Message::Fire(_)
            | Message::LegReport(_)
            | Message::LegRefused { .. }
            | Message::LegQuery { .. }
            | Message::Ask { .. }
            | Message::Match { .. }
            | Message::NoMatch { .. }
            | Message::Accept { .. }
            | Message::Confirm { .. }
            | Message::Release { .. }
            | Message::Seal { .. }
            | Message::Lapse { .. }
            | Message::Withdraw { .. }
            | Message::Inquire { .. }
            | Message::Peernet(_)
            | Message::Talk(_) => (),
        }
    }

    /// Answers within the step, so both of this node's moments are the step's.
    fn handle_probe(
        &mut self,
        from: NodeId,
        link: LinkNo,
        probe: Probe,
        now: Time,
        out: &mut Outbox,
    ) {
        if !self.trains.responder.take(from, probe.train, now) {
            return;
        }
        let reply = Message::ProbeReply(Probe {
            received: now,
            replied: now,
            ..probe
        });
        let bytes = out.write(|arena| reply.encode(arena));
        out.push(Output::LinkDatagram { link, bytes });
    }

    /// Only an answer to a probe that is out says anything: of time, or of the peer's clock.
    fn handle_probe_reply(&mut self, from: NodeId, probe: &Probe, now: Time, out: &mut Outbox) {
        let exchange = Exchange {
            sent: probe.sent,
            received: probe.received,
            replied: probe.replied,
            heard: now,
        };
        let heard = match probe.train {
            0 => {
                let peer = self.peers.get_mut(&from);
                let is_out = peer.is_some_and(|peer| peer.watched.take(probe.number, probe.sent));
                exchange.rtt().filter(|_| is_out)
            }
            _ => self.handle_train_reply(from, probe, &exchange, now, out),
        };
        let (Some(rtt), Some(peer)) = (heard, self.peers.get_mut(&from)) else {
            *self.totals.messages.entry("stray_reply").or_default() += 1;
            return;
        };
        peer.rtt.record_us(rtt.as_micros());
        peer.rtt_min = Some(peer.rtt_min.map_or(rtt, |least| least.min(rtt)));
        peer.last_rtt = Some(rtt);
        peer.clock.hear(&exchange);
        self.links.handle_rtt(from, rtt, now);
        self.guests.handle_rtt(from, rtt);
        self.peernet.handle_rtt(from, rtt);
    }

    fn handle_message(&mut self, from: NodeId, message: Message, now: Time, out: &mut Outbox) {
        let name = message.ordinal().1;
        if !self.is_listed(from) && !message.is_public() {
            *self.totals.messages.entry("not_allowed").or_default() += 1;
            return;
        }
        let is_own = self.is_fleet(from);
        self.act_on_message(from, message, is_own, now, out);
        // Counted behind, as it may have been a leg.
        *self.totals.messages.entry(name).or_default() += 1;
    }

    fn act_on_message(
        &mut self,
        from: NodeId,
        message: Message,
        is_own: bool,
        now: Time,
        out: &mut Outbox,
    ) {
        if self.settings.responds_only && !matches!(message, Message::Talk(_)) {
            return self.decline(from, &message, now, out);
        }
        match message {
            Message::Market { market, rules } => self.handle_market(from, market, rules),
            Message::Grant { grant, ttl } if is_own => {
                let way = self.way(from);
                self.rights.add(grant, from, now + ttl.less(way));
                self.detect_all(now, out);
            }
            Message::GrantOver { envelope } => self
                .rights
                .drop_where(|right| right.granter == from && right.grant.envelope == envelope),
            Message::Fire(draw) if is_own => self.fire(draw, from, now, out),
            Message::LegReport(report) if is_own => {
                if !self.plans.handle_report(from, &report, now) {
                    self.adopt_orphan(from, &report, now, out);
                }
            }
            Message::LegRefused { order, why, .. } if is_own => {
                if why == LegRefusal::Throttle
                    && let Some(peer) = self.peers.get_mut(&from)
                {
                    peer.throttled_until = now + THROTTLED_FOR;
                }
                self.plans.handle_refused(from, order, why, now);
            }
            Message::LegQuery { order, plan } if is_own => {
                if !self.orders.handle_query(order) {
                    self.granted.burn(order);
                    let message = Message::LegRefused {
                        order,
                        plan,
                        why: LegRefusal::NeverSeen,
                    };
                    self.send(from, &message, now, out);
                }
            }
            // Legs and envelopes are for nodes of one owner only.
            Message::Grant { .. }
            | Message::Fire(_)
            | Message::LegReport(_)
            | Message::LegRefused { .. }
            | Message::LegQuery { .. } => {
                *self.totals.messages.entry("not_allowed").or_default() += 1;
            }
            Message::Ask { .. }
            | Message::Match { .. }
            | Message::NoMatch { .. }
            | Message::Accept { .. }
            | Message::Confirm { .. }
            | Message::Release { .. }
            | Message::Seal { .. }
            | Message::Lapse { .. }
            | Message::Withdraw { .. } => self.handle_deal(from, message, now, out),
            Message::Inquire { offer } => self.handle_inquire(from, offer, now, out),
            Message::Peernet(message) => self.handle_peernet(from, message, now, out),
            Message::Talk(talk) => self.handle_talk(from, talk, now, out),
            Message::Quote(_) | Message::Probe(_) | Message::ProbeReply(_) => (),
        }
    }

    /// A node that only answers probes says no to offers, so that nobody waits for it, and hears
    /// nothing else.
    fn decline(&mut self, from: NodeId, message: &Message, now: Time, out: &mut Outbox) {
        *self.totals.messages.entry("declined").or_default() += 1;
        if let Message::Ask { ask, .. } = message {
            let (offer, why) = (ask.offer, NoAnswer::NoRule);
            self.send(from, &Message::NoMatch { offer, why }, now, out);
        }
    }

    fn handle_market(&mut self, from: NodeId, market: Market, rules: Rules) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        peer.markets.retain(|(known, _)| *known != market);
        if peer.markets.len() >= MARKETS_MAX {
            return;
        }
        peer.markets.push((market, rules));
        self.needs_renewal = true;
        let is_own = |peer: NodeId| {
            let peer = self.peers.get(&peer).filter(|peer| peer.is_listed);
            peer.is_some_and(|peer| peer.peer.owner == self.me.owner)
        };
        let takes_over = |holder: NodeId| is_own(from) && !is_own(holder);
        let arbitrage = &self.settings.arbitrage;
        let holder = self.books.get(&market).map(|state| state.holder);
        match holder {
            Some(holder) if holder == Some(from) => {
                self.books.set_rules(market, rules, arbitrage);
            }
            // One's own book, or one that another peer holds, stays as it is. But another owner may
            // call a venue by the same name: the own node's word counts.
            Some(holder) if !holder.is_some_and(takes_over) => (),
            Some(_) | None => {
                let state = BookState::new(market, rules, Some(from), Time::MAX);
                self.books.insert(state, arbitrage);
            }
        }
    }

    fn handle_quote(
        &mut self,
        from: NodeId,
        head: &QuoteHead,
        (bids, asks): &(Vec<Level>, Vec<Level>),
        now: Time,
    ) {
        let way = self.way(from);
        self.books.change(&head.market, |state| {
            if state.holder != Some(from) || head.number <= state.quote_number {
                return;
            }
            state.quote_number = head.number;
            if !head.is_live || head.sequence < state.book.sequence() {
                state.book.reset();
            }
            if !head.is_live {
                return;
            }
            let update = BookUpdate {
                market: head.market,
                kind: UpdateKind::Snapshot,
                sequence: head.sequence,
                bids,
                asks,
                venue_time: now,
                engine_lag: head.engine_lag,
            };
            // The book is as old as its sender said, and as the way is long.
            let age = head.age + way;
            state.book.apply(&update, Time(now.0.saturating_sub(age.0)));
        });
    }

    /// Sends a message that must arrive.
    pub(super) fn send(&mut self, to: NodeId, message: &Message, now: Time, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(&to) else {
            return;
        };
        let link = peer.link_no;
        let sent = peer.link.send(|frame| message.encode(frame), &mut |frame| {
            if let Some(link) = link {
                push_frame(out, link, frame);
            }
        });
        match (sent, link) {
            (Ok(()), _) => (),
            (Err(why), Some(link)) => self.close_for(to, link, why, now, out),
            // Whoever is still owed something says so again; what is offered meanwhile lapses.
            (Err(_), None) => {
                *self
                    .totals
                    .messages
                    .entry("dropped_for_absent")
                    .or_default() += 1;
            }
        }
    }

    /// Sends a message that is worth nothing after this connection.
    pub(super) fn send_once(&mut self, to: NodeId, message: &Message, out: &mut Outbox) {
        let Some(link) = self
            .peers
            .get(&to)
            .filter(|peer| peer.link.is_ready())
            .and_then(|peer| peer.link_no)
        else {
            return;
        };
        let bytes = out.write(|arena| {
            Link::write_once(|out| message.encode(out), arena);
        });
        out.push(Output::LinkStream { link, bytes });
    }

    pub(super) fn mesh_deadline(&self) -> Option<Deadline> {
        self.peers
            .values()
            .filter(|peer| peer.link.is_ready())
            .map(|peer| peer.probe_at)
            .min()
            .map(|at| Deadline { at, why: "probe" })
    }

    /// Lets the link be watched from now on, however long it was to be.
    pub(super) fn watch_now(&mut self, peer: NodeId, now: Time) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.probe_at = now;
        }
    }

    pub(super) fn tend_links(&mut self, now: Time, out: &mut Outbox) {
        for peer in self.peers.values_mut() {
            if let Some(link) = peer.link_no
                && peer.link.is_ready()
                && peer.probe_at <= now
            {
                let is_probed = self.trains.responder.is_probed_by(peer.peer.id, now);
                peer.probe_at = now + if is_probed { WATCH_EVERY } else { PROBE_EVERY };
                let probe = Message::Probe(Probe {
                    train: 0,
                    number: peer.watched.send(now),
                    sent: now,
                    received: Time::ZERO,
                    replied: Time::ZERO,
                });
                let bytes = out.write(|arena| probe.encode(arena));
                out.push(Output::LinkDatagram { link, bytes });
            }
        }
    }

    /// Forgets a peer: its link, its books, its rights.
    pub(super) fn remove_peer(&mut self, id: NodeId, now: Time, out: &mut Outbox) -> bool {
        let Some(peer) = self.peers.get(&id) else {
            return false;
        };
        if let Some(link) = peer.link_no {
            out.push(Output::CloseLink { link });
            self.handle_link_lost(id, link, now);
        }
        self.unseat(id, now);
        self.links.remove(id);
        self.guests.handle_lost(id);
        self.peers.remove(&id);
        self.trains.responder.forget(id);
        self.books.retain(|state| state.holder != Some(id));
        self.rights.drop_where(|right| right.granter == id);
        drop(self.granted.close_where(|envelope| envelope.drawer == id));
        self.needs_renewal = true;
        true
    }

    fn way(&self, peer: NodeId) -> Span {
        let rtt = self.peers.get(&peer).and_then(|peer| peer.last_rtt);
        rtt.map_or(Span::ZERO, |rtt| Span(rtt.0 / 2))
    }
}

fn push_frame(out: &mut Outbox, link: LinkNo, frame: &[u8]) {
    let bytes = out.bytes(frame);
    out.push(Output::LinkStream { link, bytes });
}
