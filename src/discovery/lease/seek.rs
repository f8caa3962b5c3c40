//! The member that asks: candidate, then exit.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};

use crate::discovery::lease::message::{Refusal, Say};
use crate::discovery::lease::{
    ANSWERS_WITHIN, ASK_AGAIN_EVERY, GIVE_WAY_EVERY, LEASE, LOCK, Lease, Lost, Output, RENEW_EVERY,
    RETRY_MAX, RETRY_MIN, Standing, Token, YOUNG_LATER,
};
use crate::model::ids::NodeId;
use crate::model::time::{Span, Time};

/// Askings for more whose answers still count; the oldest makes room.
const ROUNDS_MAX: usize = 4;
/// The most by which members far from the others ask later.
const NEARNESS_MAX: Span = Span::millis(150);
/// How much later than the one before it each member asks, in the order of ids, and the most.
const RANK_STEP: Span = Span::millis(20);
const RANK_MAX: Span = Span::millis(200);
/// What chance adds to each wait.
const JITTER: Span = Span::millis(60);

/// What a member does about the lease.
#[derive(Debug)]
pub(super) enum Role {
    Idle,
    /// Waits for its own promise to be durable.
    Preparing {
        until: Time,
    },
    Asking(Asking),
    Holding(Held),
}

#[derive(Debug)]
pub(super) struct Asking {
    token: Token,
    round: Round,
    again_at: Time,
    /// Members that refused, and how long asking them again is of no use.
    refused: Vec<(NodeId, Span)>,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) token: Token,
    pub(super) until: Time,
    pub(super) renew_at: Time,
    rounds: VecDeque<Round>,
}

/// One asking of all members.
#[derive(Debug)]
struct Round {
    number: u64,
    asked_at: Time,
    granted: BTreeSet<NodeId>,
}

impl Asking {
    pub(super) fn until(&self) -> Time {
        self.round.asked_at + ANSWERS_WITHIN
    }

    pub(super) fn due_at(&self) -> Time {
        self.again_at.min(self.until())
    }
}

impl Lease {
    pub(super) const fn is_holding(&self) -> bool {
        matches!(self.role, Role::Holding(_))
    }

    /// Tells whether this member asks for the lease and does not have it.
    pub(super) const fn is_candidate(&self) -> bool {
        matches!(self.role, Role::Preparing { .. } | Role::Asking(_))
    }

    /// Chooses when to ask: not before `from`, aged and near members first.
    pub(super) fn plan(&mut self, from: Time, now: Time) {
        let from = from.max(self.rest_until).max(self.free_at(self.me));
        let later = match self.standing(now) {
            Standing::Aged => Span::ZERO,
            Standing::Young | Standing::Unready => YOUNG_LATER,
        };
        let mut rtts: Vec<Span> = self.peers.values().filter_map(|peer| peer.rtt).collect();
        rtts.sort_unstable();
        let rtt = rtts.get(rtts.len() / 2).copied().unwrap_or(NEARNESS_MAX);
        let rank = self.seats.members.binary_search(&self.me).unwrap_or(0);
        let rank = RANK_STEP.times(rank as u64).min(RANK_MAX);
        let jitter = Span(self.random.below(JITTER.0));
        self.try_at = from + later + rtt.min(NEARNESS_MAX) + rank + jitter;
    }

    /// Promises itself a new token; asking waits until that is durable.
    pub(super) fn prepare(&mut self, now: Time, out: &mut Vec<Output>) {
        let first_at = self.rest_until.max(self.free_at(self.me));
        if self.on_since.is_none() || !self.takes_part() || first_at > now {
            self.plan(first_at.max(now + RETRY_MIN), now);
            return;
        }
        let last = self.high.max(self.promise.token);
        let next = match self.faults.reuse_token && self.promise.number == 0 {
            true => Some(self.promise.token)
                .filter(|token| token.0 > 0)
                .or(last.next()),
            false => last.next(),
        };
        // After the last token of a version there is no exit until the roster has a new one.
        let Some(token) = next else {
            self.plan(now + LOCK, now);
            return;
        };
        self.number += 1;
        self.promise(self.me, token, self.number, now, out);
        self.role = Role::Preparing {
            until: self.promise.until,
        };
    }

    /// Asks everybody: the lease, if it comes, has begun here.
    pub(super) fn begin_asking(&mut self, now: Time, out: &mut Vec<Output>) {
        if !matches!(self.role, Role::Preparing { .. }) {
            return;
        }
        let token = self.promise.token;
        let round = self.ask(token, self.promise.number, now, out);
        self.high = self.high.max(token);
        self.role = Role::Asking(Asking {
            token,
            round,
            again_at: now + ASK_AGAIN_EVERY,
            refused: Vec::new(),
        });
        self.count(now, out);
    }

    /// Asks those again that have not granted. It is the same asking: what comes of it counts from
    /// its beginning.
    pub(super) fn ask_again(&mut self, now: Time, out: &mut Vec<Output>) {
        let standing = self.standing(now);
        let Role::Asking(asking) = &mut self.role else {
            return;
        };
        asking.again_at = now + ASK_AGAIN_EVERY;
        let (token, number) = (asking.token, asking.round.number);
        let granted = asking.round.granted.clone();
        for node in self.peers.keys().filter(|node| !granted.contains(node)) {
            self.send(*node, token, number, Say::Ask { standing }, out);
        }
    }

    /// Gives an asking up for somebody who comes first: of two that ask, one goes on.
    pub(super) fn yield_to(
        &mut self,
        other: NodeId,
        standing: Standing,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let own = (self.standing(now) == Standing::Aged, Reverse(self.me));
        if self.is_candidate() && (standing == Standing::Aged, Reverse(other)) > own {
            self.stop(now, out);
        }
    }

    /// Asks for more, long before the lease ends.
    pub(super) fn renew(&mut self, now: Time, out: &mut Vec<Output>) {
        let Role::Holding(held) = &self.role else {
            return;
        };
        let token = held.token;
        self.number += 1;
        let round = self.ask(token, self.number, now, out);
        if let Role::Holding(held) = &mut self.role {
            if held.rounds.len() == ROUNDS_MAX {
                held.rounds.pop_front();
            }
            held.rounds.push_back(round);
            held.renew_at = now + RENEW_EVERY;
        }
        self.count(now, out);
    }

    /// Lets a member whose link has just come up take part.
    pub(super) fn ask_newcomer(&mut self, node: NodeId, now: Time, out: &mut Vec<Output>) {
        let standing = self.standing(now);
        let (token, number) = match &mut self.role {
            Role::Idle | Role::Preparing { .. } => return,
            Role::Asking(asking) => (asking.token, asking.round.number),
            Role::Holding(held) => {
                held.renew_at = now;
                return;
            }
        };
        self.send(node, token, number, Say::Ask { standing }, out);
    }

    pub(super) fn handle_grant(
        &mut self,
        from: NodeId,
        token: Token,
        number: u64,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let any_number = self.faults.any_number;
        let is_meant = |round: &Round| round.number == number || any_number;
        let round = match &mut self.role {
            Role::Idle | Role::Preparing { .. } => return,
            Role::Asking(asking) if asking.token == token => {
                Some(&mut asking.round).filter(|round| is_meant(round))
            }
            Role::Holding(held) if held.token == token => {
                held.rounds.iter_mut().rev().find(|round| is_meant(round))
            }
            Role::Asking(_) | Role::Holding(_) => return,
        };
        if let Some(round) = round {
            round.granted.insert(from);
            self.count(now, out);
        }
    }

    pub(super) fn handle_refuse(
        &mut self,
        from: NodeId,
        number: u64,
        (why, wait): (Refusal, Span),
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let Role::Asking(asking) = &mut self.role else {
            return;
        };
        if asking.round.number != number || asking.refused.iter().any(|(node, _)| *node == from) {
            return;
        }
        let wait = match why {
            Refusal::Held | Refusal::Waiting => wait,
            Refusal::Token => Span::ZERO,
            // That candidate may give up, and is asked for again.
            Refusal::Promised => return,
        };
        asking.refused.push((from, wait));
        asking
            .refused
            .sort_unstable_by_key(|(node, wait)| (*wait, *node));
        let refused = asking.refused.iter().map(|(_, wait)| *wait);
        let refused: Vec<Span> = refused.collect();
        let hoped_for = self.seats.members.len() - refused.len();
        let missing = self.needed(now).saturating_sub(hoped_for);
        if let Some(wait) = missing.checked_sub(1).and_then(|at| refused.get(at)) {
            self.fail(*wait, now, out);
        }
    }

    /// Stops asking, lets those free that granted, and waits a while: longer each time.
    pub(super) fn fail(&mut self, wait: Span, now: Time, out: &mut Vec<Output>) {
        self.stop(now, out);
        self.failures = self.failures.saturating_add(1);
        let most = RETRY_MIN.times(1 << self.failures.min(8)).min(RETRY_MAX);
        let retry = Span(self.random.between(RETRY_MIN.0, most.0));
        self.plan(now + wait.max(retry), now);
    }

    /// Gives up what this member has or asks for.
    pub(super) fn give_up(&mut self, why: Lost, now: Time, out: &mut Vec<Output>) {
        match &self.role {
            Role::Idle => (),
            Role::Preparing { .. } | Role::Asking(_) => self.fail(Span::ZERO, now, out),
            Role::Holding(held) => {
                let token = held.token;
                out.push(Output::Lost { token, why });
                self.stop(now, out);
                self.plan(now, now);
            }
        }
    }

    /// Leaves the lease to an aged member, if this one is young and the other one is ready.
    pub(super) fn give_way(&mut self, standing: Standing, now: Time, out: &mut Vec<Output>) {
        let is_young = self.standing(now) != Standing::Aged;
        let is_due = standing == Standing::Aged && now >= self.give_way_at;
        if self.is_holding() && is_young && is_due {
            self.give_way_at = now + GIVE_WAY_EVERY;
            self.give_up(Lost::GaveWay, now, out);
        }
    }

    fn ask(&mut self, token: Token, number: u64, now: Time, out: &mut Vec<Output>) -> Round {
        self.promise.until = now + LOCK;
        let standing = self.standing(now);
        for node in self.peers.keys() {
            self.send(*node, token, number, Say::Ask { standing }, out);
        }
        Round {
            number,
            asked_at: now,
            granted: BTreeSet::from([self.me]),
        }
    }

    /// Looks whether an asking has its majority. What it gives counts from when it was asked.
    fn count(&mut self, now: Time, out: &mut Vec<Output>) {
        let needed = self.needed(now);
        let from_grant = self.faults.count_from_grant;
        let until = |round: &Round| match from_grant {
            true => now + LEASE,
            false => round.asked_at + LEASE,
        };
        let has_majority = |round: &&Round| round.granted.len() >= needed;
        match &mut self.role {
            Role::Idle | Role::Preparing { .. } => (),
            Role::Asking(asking) => {
                let (token, round) = (asking.token, &asking.round);
                let until = until(round);
                if !has_majority(&round) || until <= now {
                    return;
                }
                self.failures = 0;
                self.role = Role::Holding(Held {
                    token,
                    until,
                    renew_at: round.asked_at + RENEW_EVERY,
                    rounds: VecDeque::new(),
                });
                out.push(Output::Holder { token, until });
            }
            Role::Holding(held) => {
                let last = held.rounds.iter().rev().find(has_majority);
                let until = last.map_or(held.until, until);
                if until > held.until && held.until > now {
                    held.until = until;
                    let token = held.token;
                    out.push(Output::Holder { token, until });
                }
            }
        }
    }

    fn stop(&mut self, now: Time, out: &mut Vec<Output>) {
        let say = match self.role {
            Role::Idle | Role::Preparing { .. } => None,
            Role::Asking(_) => Some(Say::GiveUp),
            Role::Holding(_) => Some(Say::Release),
        };
        let token = self.promise.token;
        self.promise.is_unused = self.is_candidate();
        self.promise.waits_for = None;
        (self.promise.to, self.promise.until) = (None, now);
        self.role = Role::Idle;
        if let Some(say) = say {
            for node in self.peers.keys() {
                self.send(*node, token, self.number, say, out);
            }
        }
    }
}
