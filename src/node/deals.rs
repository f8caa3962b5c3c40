//! Offers between nodes: own ones out, others' answered or handed on, matches bound and counted.

use crate::arbitrage::Costs;
use crate::arbitrage::walk::Opportunity;
use crate::journal::record::Record;
use crate::model::currency::Currency;
use crate::model::ids::{MatchId, NodeId, OfferId};
use crate::model::instrument::{Instrument, Location, Pair};
use crate::model::number::{Price, Quantity, SCALE};
use crate::model::offer::{Ask, Asking, Line, NoAnswer, Offer, Part};
use crate::model::time::{Span, Time};
use crate::node::output::{Outbox, Severity};
use crate::node::{Node, Phase, notice};
use crate::offer::answer::{self, Answer, Desk};
use crate::offer::gather::CandidateState;
use crate::offer::hold::{Hold, HoldState};
use crate::offer::origin::{Asked, OriginState};
use crate::offer::{Say, Saying, listed};
use crate::risk::Switch;
use crate::risk::gate::LimitHit;
use crate::wire::message::Message;

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
            Message::Accept {
                offer,
                id,
                quantity,
            } => {
                self.handle_accept(from, offer, id, quantity, now, out);
                return;
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
            Message::Lapse { offer, id } => {
                self.relays.handle_lapse(from, offer, id);
                self.uncount_earlier(offer, from, id, out);
                let record = Record::Uncounted {
                    offer,
                    peer: from,
                    id,
                };
                if self.origins.get(offer).is_some() {
                    self.journal(&record, out);
                }
                self.origins.handle_lapse(from, offer, id, now)
            }
            Message::Release { offer, id } => {
                self.handle_verdict(from, offer, id, false, now, out);
                return;
            }
            Message::Seal { offer, id } => {
                self.handle_verdict(from, offer, id, true, now, out);
                return;
            }
            Message::Withdraw { offer } => {
                self.holds.handle_withdrawn(offer);
                self.relays.handle_withdrawn(offer, &mut self.holds)
            }
            Message::Market { .. }
            | Message::Quote(_)
            | Message::Probe { .. }
            | Message::ProbeReply { .. }
            | Message::Grant { .. }
            | Message::GrantOver { .. }
            | Message::Fire(_)
            | Message::LegReport(_)
            | Message::LegRefused { .. }
            | Message::LegQuery { .. } => return,
        };
        self.say_all(sayings, now, out);
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
                    && self
                        .peers
                        .get(peer)
                        .is_some_and(|peer| peer.link.is_ready())
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
        if self.relays.owns(offer, id) {
            self.journal_relay_over(offer, id, is_sealed, out);
            let sayings = self
                .relays
                .handle_verdict(offer, id, is_sealed, &mut self.holds);
            self.say_all(sayings, now, out);
            return;
        }
        if is_sealed {
            if self.holds.seal(id) {
                self.journal(&Record::HoldOver { id, is_sealed }, out);
            } else {
                let say = Say::Lapse { offer, id };
                self.say(Saying { to: from, say }, now, out);
            }
        } else {
            self.holds.release(id);
            self.journal(&Record::HoldOver { id, is_sealed }, out);
        }
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
        if let Some((base, units)) = covered {
            self.gate.expose(base, units);
        }
        let text = format!(
            "offer {id} {closing}: {} of {} {give} matched for {received} {want}",
            tally.filled, tally.planned
        );
        notice(out, Severity::Info, &text);
    }

    /// Returns the linked peers that can be asked, nearest first.
    pub(super) fn askable_peers(&self) -> Vec<Asked> {
        self.links
            .nearest()
            .filter_map(|(id, rtt)| {
                let peer = self.peers.get(&id).filter(|peer| peer.link.is_ready())?;
                Some(Asked {
                    peer: id,
                    trust: peer.peer.trust,
                    rtt: rtt.unwrap_or(Span::ZERO),
                })
            })
            .collect()
    }

    /// Makes an offer of what is pledged; returns its id, or why there is none.
    pub(super) fn open_offer(
        &mut self,
        line: Line,
        reserve: Price,
        covers: Option<Currency>,
        now: Time,
        out: &mut Outbox,
    ) -> Result<OfferId, String> {
        if !self.origins.has_room() {
            return Err("64 offers are open already; withdraw one".to_owned());
        }
        let pledgeable = self.pledgeable(line.give);
        if line.quantity > pledgeable {
            return Err(format!(
                "only {pledgeable} {} lies where a listed method can pay from; offer less, or add a rail or a transfer route",
                line.give
            ));
        }
        let part_min = listed(&self.settings.offer.part_min, line.give).unwrap_or(Quantity(1));
        let offer = Offer {
            id: OfferId::new(now, &mut self.random),
            origin: self.me.id,
            line,
            reserve,
            part_min: part_min.min(line.quantity),
            expires: now + self.settings.offer.ttl,
            covers,
        };
        self.journal(&Record::OfferOpened { offer }, out);
        self.totals.offers += 1;
        let peers = self.askable_peers();
        let sayings = self.origins.open_offer(offer, &peers, now);
        notice(out, Severity::Info, &format!("offer {}: {line}", offer.id));
        self.say_all(sayings, now, out);
        Ok(offer.id)
    }

    /// What own funds could not do of an open window becomes an offer: it gives what is in surplus
    /// and wants what ran out.
    pub(super) fn consider_residual(
        &mut self,
        whole: &Opportunity,
        costs: &Costs,
        why: &'static str,
        now: Time,
        out: &mut Outbox,
    ) {
        let is_short = matches!(why, "funds_to_buy" | "funds_to_sell");
        let is_limited = why == LimitHit::VenueDay.word();
        let is_busy = self
            .plans
            .iter()
            .any(|plan| plan.buy.pair == whole.buy.pair);
        if !(is_short || is_limited) || is_busy || self.gate.switch() != Switch::Active {
            return;
        }
        if is_limited && self.acquire(whole, now, out) {
            return;
        }
        let pair = whole.buy.pair;
        let gives_base = is_limited || why == "funds_to_buy";
        let line_and_reserve = if gives_base {
            let quantity = self.pledgeable(pair.base).min(whole.quantity);
            Some((
                self.residual_line(pair.base, pair.quote, quantity),
                costs.break_even(whole.buy_limit),
            ))
        } else {
            let quantity = self.pledgeable(pair.quote).min(whole.cost);
            let net = whole.sell_limit.moved_ppm(costs.sell_ppm - 1_000_000);
            inverse(net)
                .map(|reserve| (self.residual_line(pair.quote, pair.base, quantity), reserve))
        };
        let Some((Some(line), reserve)) = line_and_reserve else {
            return;
        };
        let key = (line.give, line.want);
        let is_open = self
            .origins
            .open()
            .any(|own| (own.offer.line.give, own.offer.line.want) == key);
        let is_cooling = self.cooldowns.get(&key).is_some_and(|until| now < *until);
        if is_open || is_cooling || self.askable_peers().is_empty() {
            return;
        }
        self.cooldowns.insert(
            key,
            now + self.settings.offer.ttl + self.settings.offer.cooldown,
        );
        if let Err(why) = self.open_offer(line, reserve, None, now, out) {
            notice(out, Severity::Debug, &format!("no offer: {why}"));
        }
    }

    /// Offers what a plan bought and could not sell, or sold and could not buy.
    pub(super) fn offer_imbalance(
        &mut self,
        imbalance: i64,
        pair: Pair,
        reserve: Price,
        now: Time,
        out: &mut Outbox,
    ) -> bool {
        let quantity = Quantity(imbalance.abs());
        let (line, reserve) = if imbalance > 0 {
            let quantity = quantity.min(self.pledgeable(pair.base));
            (
                self.residual_line(pair.base, pair.quote, quantity),
                Some(reserve),
            )
        } else {
            let cost = reserve
                .total_ceil(quantity)
                .min(self.pledgeable(pair.quote));
            (
                self.residual_line(pair.quote, pair.base, cost),
                inverse(reserve),
            )
        };
        let (Some(line), Some(reserve)) = (line, reserve) else {
            return false;
        };
        if self.askable_peers().is_empty() {
            return false;
        }
        self.open_offer(line, reserve, Some(pair.base), now, out)
            .is_ok()
    }

    fn residual_line(&self, give: Currency, want: Currency, quantity: Quantity) -> Option<Line> {
        let least = listed(&self.settings.offer.offer_min, give)?;
        let methods = self.settings.offer.methods;
        let is_enough = quantity >= least && quantity.is_positive() && !methods.is_empty();
        is_enough.then_some(Line {
            quantity,
            give,
            want,
            asking: Asking::Best,
            methods,
        })
    }

    /// Returns what can be pledged of a currency: rail accounts, and holdings at a venue from which
    /// a transfer route leads to the wallet or a rail.
    pub(super) fn pledgeable(&self, currency: Currency) -> Quantity {
        let rails = self.rails_of(currency);
        let venues = self
            .settings
            .execution
            .transfers
            .iter()
            .filter(|route| {
                let leaves = matches!(route.from, Location::Venue(_));
                let arrives = !matches!(route.to, Location::Venue(_));
                route.currency == currency && leaves && arrives
            })
            .fold(Quantity::ZERO, |sum, route| {
                let at = Instrument {
                    currency,
                    at: route.from,
                };
                sum.saturating_add(self.available(at))
            });
        let on_rails = rails.less(self.origins.pledged(currency));
        on_rails.saturating_add(venues)
    }

    /// Returns how much of a holding at a venue is pledged to offers.
    pub(super) fn pledged_at(&self, instrument: Instrument) -> Quantity {
        let is_route = self.settings.execution.transfers.iter().any(|route| {
            route.currency == instrument.currency
                && route.from == instrument.at
                && !matches!(route.to, Location::Venue(_))
        });
        if !is_route {
            return Quantity::ZERO;
        }
        self.origins
            .pledged(instrument.currency)
            .less(self.rails_of(instrument.currency))
    }

    fn rails_of(&self, currency: Currency) -> Quantity {
        let wallet = Instrument {
            currency,
            at: Location::Wallet,
        };
        self.settings
            .offer
            .rails
            .iter()
            .filter(|rail| rail.currency == currency)
            .fold(self.funds.free(wallet), |sum, rail| {
                sum.saturating_add(self.holds.free(rail.method, currency))
            })
    }

    /// Takes back every own offer.
    pub(super) fn withdraw_offers(&mut self, now: Time, out: &mut Outbox) {
        let open: Vec<OfferId> = self.origins.open().map(|own| own.offer.id).collect();
        for id in open {
            let sayings = self.origins.withdraw(id, now);
            self.say_all(sayings, now, out);
        }
    }

    /// Returns how many accepted matches of own offers are not confirmed yet.
    pub fn accepting(&self) -> usize {
        self.origins
            .open()
            .flat_map(|own| own.gather.candidates())
            .filter(|one| one.state == CandidateState::Accepting)
            .count()
    }
}

/// Returns 1 ÷ price, rounded up.
fn inverse(price: Price) -> Option<Price> {
    if !price.is_positive() {
        return None;
    }
    let square = i128::from(SCALE) * i128::from(SCALE);
    let inverse = -(-square).div_euclid(i128::from(price.0));
    i64::try_from(inverse).ok().map(Price)
}
