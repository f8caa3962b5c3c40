//! The member that grants: promises, and what they forbid.

use crate::discovery::lease::message::{Refusal, Say};
use crate::discovery::lease::{LOCK, Lease, Output, Standing, Token};
use crate::model::ids::NodeId;
use crate::model::time::{Span, Time};

impl Lease {
    pub(super) fn handle_ask(
        &mut self,
        from: NodeId,
        standing: Standing,
        (token, number): (Token, u64),
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        if number < peer.number_min {
            return;
        }
        peer.number_min = number;
        self.yield_to(from, standing, now, out);
        let is_more = self.promise.to == Some(from) && self.promise.token == token;
        if let Some((why, wait)) = self.refusal(from, token, is_more, now) {
            let say = Say::Refuse { why, wait };
            self.send(from, self.high, number, say, out);
            return;
        }
        if is_more {
            self.promise.until = self.promise.until.max(now + LOCK);
            self.promise.is_renewed |= number != self.promise.number;
            self.promise.number = number;
            if self.promise.waits_for.is_none() {
                self.send_grant(from, now, out);
            }
        } else {
            self.promise(from, token, number, now, out);
            if self.faults.grant_early {
                self.send_grant(from, now, out);
            }
        }
        self.failures = 0;
        self.plan(self.promise.until, now);
    }

    /// The asking, or what it got, is given back; tells whether this member had granted it.
    pub(super) fn handle_given_back(
        &mut self,
        from: NodeId,
        (token, number): (Token, u64),
        now: Time,
    ) -> bool {
        if let Some(peer) = self.peers.get_mut(&from) {
            // What was asked before may arrive later.
            peer.number_min = peer.number_min.max(number.saturating_add(1));
        }
        let is_its = self.promise.to == Some(from) && self.promise.token == token;
        if is_its {
            (self.promise.to, self.promise.until) = (None, now);
            self.promise.waits_for = None;
            self.plan(now, now);
        }
        is_its
    }

    pub(super) fn send_grant(&self, to: NodeId, now: Time, out: &mut Vec<Output>) {
        let standing = self.standing(now);
        let (token, number) = (self.promise.token, self.promise.number);
        self.send(to, token, number, Say::Grant { standing }, out);
    }

    fn refusal(
        &self,
        from: NodeId,
        token: Token,
        is_more: bool,
        now: Time,
    ) -> Option<(Refusal, Span)> {
        let wait = self.free_at(from).since(now);
        if !self.takes_part() {
            return Some((Refusal::Waiting, LOCK));
        }
        if self.closed_until > now {
            return Some((Refusal::Waiting, self.closed_until.since(now).min(LOCK)));
        }
        if wait > Span::ZERO {
            let is_candidate = self.is_candidate() || !self.promise.is_renewed;
            let why = match is_candidate && !self.is_holding() {
                true => Refusal::Promised,
                false => Refusal::Held,
            };
            return Some((why, wait.min(LOCK)));
        }
        let is_unused = token == self.promise.token && self.promise.is_unused;
        let is_new = token > self.promise.token || is_unused;
        let is_ours = token.version() == u64::from(self.seats.version);
        (!is_ours || !(is_more || is_new)).then_some((Refusal::Token, Span::ZERO))
    }
}
