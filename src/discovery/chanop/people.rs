//! Keys and how long they have been there: what a proof binds, and what is written down.

use crate::discovery::chanop::decision::{Reason, Verdict};
use crate::discovery::chanop::proof::Proof;
use crate::discovery::chanop::{Bound, Chanop, Known, LeaseHeard, Output, Peernet, Place, Record};
use crate::discovery::lease::Token;
use crate::model::ids::{NodeId, PeernetId, Pin};
use crate::model::time::{Span, Time};

impl Known {
    pub(super) fn age(&self, now: Time) -> Span {
        match self.places.is_empty() {
            true => self.age,
            false => self.age + now.since(self.since),
        }
    }

    /// Lets the age count up to now.
    fn count(&mut self, now: Time) {
        self.age = self.age(now);
        self.since = now;
    }
}

impl Chanop {
    /// Takes what an earlier run has written down, in that order and before anything else.
    pub fn restore(&mut self, record: &Record, now: Time) {
        match *record {
            Record::Age { node, pin, age, at } => {
                if now.since(at) <= Self::RECORD_KEPT && self.nodes.len() < Self::NODES_MAX {
                    let known = self
                        .nodes
                        .entry(node)
                        .or_insert_with(|| Known::new(pin, now));
                    (known.pin, known.age, known.since) = (pin, age, now);
                }
            }
            Record::Forgotten { node } => {
                self.nodes.remove(&node);
            }
            Record::Trouble { node, is_troubled } => {
                if let Some(known) = self.nodes.get_mut(&node) {
                    known.is_troubled = is_troubled;
                }
            }
            // Who has voice is what the servers say; the record is for the owner.
            Record::Voice { .. } => (),
            Record::Token {
                peernet,
                token,
                holder,
                number,
            } => {
                if self.peernets.len() < Self::PEERNETS_MAX {
                    self.restore_token(peernet, (token, holder, number), now);
                }
            }
        }
    }

    fn restore_token(
        &mut self,
        peernet: PeernetId,
        (token, holder, number): (Token, NodeId, u64),
        now: Time,
    ) {
        let lease = LeaseHeard {
            token,
            holder,
            number,
            heard_at: now,
        };
        let unheard = Peernet {
            seats: None,
            shares_with: None,
            lease: None,
        };
        self.peernets.entry(peernet).or_insert(unheard).lease = Some(lease);
    }

    /// Binds a place to the key that was shown there; tells whether that was done.
    pub(super) fn bind(
        &mut self,
        place: &Place,
        proof: &Proof,
        trust: u8,
        now: Time,
        out: &mut Vec<Output>,
    ) -> bool {
        let pin = proof.pin();
        let node = pin.node_id();
        if !self.nodes.contains_key(&node) {
            if self.nodes.len() >= Self::NODES_MAX {
                self.full += 1;
                self.doubt(place, Reason::Full);
                return false;
            }
            self.nodes.insert(node, Known::new(pin, now));
        }
        let Some(known) = self.nodes.get_mut(&node) else {
            return false;
        };
        if known.pin != pin {
            known.is_troubled = true;
            let is_troubled = true;
            out.push(Output::Journal(Record::Trouble { node, is_troubled }));
            self.doubt(place, Reason::KeyChanged);
            self.settle_node(node, now, out);
            return false;
        }
        known.trust = trust;
        self.leave_for(place, node, now, out);
        self.unbind(place, now, out);
        if let Some(known) = self.nodes.get_mut(&node) {
            if known.places.is_empty() {
                known.return_at(now);
                known.places.push(place.clone());
                self.write_age(node, now, out);
            } else {
                known.places.push(place.clone());
            }
        }
        if let Some(member) = self.members.get_mut(place) {
            member.bound = Some(Bound {
                node,
                peernet: proof.peernet,
                token: Token(proof.token),
                roster_hash: proof.roster_hash,
            });
        }
        true
    }

    /// A place is nobody's any more.
    pub(super) fn unbind(&mut self, place: &Place, now: Time, out: &mut Vec<Output>) {
        let bound = self
            .members
            .get_mut(place)
            .and_then(|member| member.bound.take());
        let Some(node) = bound.map(|bound| bound.node) else {
            return;
        };
        let Some(known) = self.nodes.get_mut(&node) else {
            return;
        };
        known.count(now);
        known.places.retain(|bound| bound != place);
        if known.places.is_empty() {
            self.write_age(node, now, out);
        }
    }

    /// Writes ages down each hour, and forgets who was away for too long.
    pub(super) fn tend_nodes(&mut self, now: Time, out: &mut Vec<Output>) {
        let is_due = |known: &Known| {
            let is_away = known.places.is_empty();
            (is_away && now.since(known.since) > Self::GRACE)
                || (!is_away && now.since(known.recorded_at) >= Self::RECORD_EVERY)
        };
        let due = self.nodes.iter().filter(|(_, known)| is_due(known));
        let due: Vec<NodeId> = due.map(|(node, _)| *node).collect();
        for node in due {
            let known = self.nodes.get(&node);
            let is_troubled = known.is_some_and(|known| known.is_troubled);
            match known.is_some_and(|known| known.places.is_empty()) {
                // A trouble is for the owner to clear up, not for time.
                true if is_troubled => (),
                true => {
                    self.nodes.remove(&node);
                    out.push(Output::Journal(Record::Forgotten { node }));
                }
                false => self.write_age(node, now, out),
            }
        }
    }

    pub(super) fn note_voice(&mut self, place: &Place, is_voiced: bool, out: &mut Vec<Output>) {
        let bound = self.members.get(place).and_then(|member| member.bound);
        if let Some(Bound { node, .. }) = bound {
            let network = place.network;
            out.push(Output::Journal(Record::Voice {
                node,
                network,
                is_voiced,
            }));
        }
    }

    fn write_age(&mut self, node: NodeId, now: Time, out: &mut Vec<Output>) {
        if let Some(known) = self.nodes.get_mut(&node) {
            known.recorded_at = now;
            let (pin, age, at) = (known.pin, known.age(now), now);
            out.push(Output::Journal(Record::Age { node, pin, age, at }));
        }
    }

    /// Of two nicks of one key on a network the one that has shown it last counts.
    fn leave_for(&mut self, place: &Place, node: NodeId, now: Time, out: &mut Vec<Output>) {
        let places = self.nodes.get(&node).map(|known| known.places.clone());
        let is_left = |other: &Place| other.network == place.network && other != place;
        for other in places
            .unwrap_or_default()
            .iter()
            .filter(|other| is_left(other))
        {
            self.unbind(other, now, out);
            self.doubt(other, Reason::Moved);
            self.decide(other, Verdict::Refused, Some(Reason::Moved), now);
            self.settle(other, now, out);
        }
    }

    pub(super) fn doubt(&mut self, place: &Place, reason: Reason) {
        if let Some(member) = self.members.get_mut(place) {
            member.doubt = Some(reason);
        }
    }
}

impl Known {
    fn new(pin: Pin, now: Time) -> Self {
        Self {
            pin,
            age: Span::ZERO,
            since: now,
            places: Vec::new(),
            trust: 0,
            is_troubled: false,
            barred_until: Time::ZERO,
            recorded_at: now,
        }
    }

    /// Comes again: after a short absence its age goes on, after a long one it begins anew.
    fn return_at(&mut self, now: Time) {
        if now.since(self.since) > Chanop::GRACE {
            self.age = Span::ZERO;
        }
        self.since = now;
    }
}
