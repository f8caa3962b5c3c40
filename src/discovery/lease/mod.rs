//! The exit's lease: at most one member of a peernet speaks for it at any moment.
//!
//! ```text
//!           due, ready           own promise durable         a majority granted
//!   idle ──────────────▶ preparing ──────────────▶ asking ────────────────────▶ holding ──┐
//!    ▲ ▲                                             │                           │ ▲      │ a majority
//!    │ └──────── refused by too many, or no answer ──┘                           │ └──────┘ grants more
//!    └───────────────── ran out, given back, not ready, outbid, handed over ─────┘
//! ```
//! A member grants by a promise: to grant to nobody else for [`LOCK`] from that moment on, by its
//! own clock. The exit believes in its lease for [`LEASE`] from the moment it *asked*, by its own
//! clock. The grant comes after the asking and the lock is longer than the lease by more than
//! clocks drift apart, so every lease has ended when the first lock behind it does. No clock is
//! shared. Of two that ask at a time the one that is young, or has the higher id, gives up and grants
//! to the other. Any two majorities have a member in common, so there is one lease at a time.
//!
//! A promise to somebody new, or of a new token, is durable before the grant leaves. Renewals are
//! not journalled: a member that begins anew stands by its last promise for a whole lock from its
//! start, which is longer than anything it granted before.
//!
//! Tokens fence: each new holder has a higher one. The upper half is the version of the roster, so
//! tokens rise although a new roster's majority may have promised nothing before. Signing a roster
//! ends one's part in the earlier ones, and a new version keeps a majority of the last; so from
//! then on nobody gets a majority of the last any more, and what was granted by it ends before
//! anybody grants by the new one.

pub mod announce;
mod grant;
pub mod message;
mod seek;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::collections::BTreeMap;
use std::fmt;

use crate::discovery::lease::message::{Message, Say};
use crate::discovery::lease::seek::Role;
use crate::model::ids::{NodeId, PeernetId};
use crate::model::random::Random;
use crate::model::time::{Deadline, Span, Time};

/// How long a grant lets the exit speak, counted from its asking.
pub const LEASE: Span = Span::millis(2_000);
/// How long whoever grants is bound, counted from the promise.
pub const LOCK: Span = Span::millis(2_100);
/// Parts per million by which any clock may run fast or slow against true time. Crystals keep
/// within 100; the rest is for virtual machines.
pub const DRIFT_PPM_MAX: u64 = 20_000;
/// How often an exit asks for more: three askings fall within a lease.
pub const RENEW_EVERY: Span = Span::millis(600);
/// How long answers are waited for before an asking is given up.
pub const ANSWERS_WITHIN: Span = Span::millis(800);
/// How often those are asked again, within that, that have not granted: others give up meanwhile.
pub const ASK_AGAIN_EVERY: Span = Span::millis(160);
/// How much later than aged members those ask that the channel would give no voice yet.
pub const YOUNG_LATER: Span = Span::millis(1_000);
/// Waits after failures: the first one, and the longest.
pub const RETRY_MIN: Span = Span::millis(60);
pub const RETRY_MAX: Span = Span::millis(600);
/// How long a member does not ask after its owner has made it give the lease back.
pub const REST: Span = Span::secs(10);
/// How often a young exit gives way to an aged member: one that cannot get the lease should not
/// be offered it again and again.
pub const GIVE_WAY_EVERY: Span = Span::secs(60);
/// Members of a peernet, as of its roster; further ones are left out and can neither ask nor grant.
pub const MEMBERS_MAX: usize = 64;

const _: () = {
    // The slowest clock's lease ends before the fastest clock's lock.
    assert!(LEASE.0 * (1_000_000 + DRIFT_PPM_MAX) <= LOCK.0 * (1_000_000 - DRIFT_PPM_MAX));
    assert!(RENEW_EVERY.0 * 2 < LEASE.0);
};

/// A fencing token: roster version in the upper 32 bits, a count in the lower ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What the owner says about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// In a peernet of two: whether this member may hold the lease without the other once that one
    /// was silent for a lock. To be set at one of the two at most: if both are cut off from each
    /// other, both would speak.
    pub alone_after_lease: bool,
    /// Time on the channel after which its operator gives voice.
    pub aged_after: Span,
}

/// The roster as far as the lease needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seats {
    pub peernet: PeernetId,
    pub version: u32,
    pub members: Vec<NodeId>,
}

/// Whether a member could speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It does not reach the channel.
    Unready,
    /// It does, and would get no voice yet.
    Young,
    Aged,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Send {
        to: NodeId,
        message: Message,
    },
    /// Make it durable, then call [`Lease::handle_durable`] with the number. What must not leave
    /// before is not sent before.
    Journal {
        number: u64,
        record: Record,
    },
    /// This node may speak, until then at most. Said again whenever it may for longer.
    Holder {
        token: Token,
        until: Time,
    },
    Lost {
        token: Token,
        why: Lost,
    },
}

/// What a member owes after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// The token was promised; the last one counts.
    Promised { token: Token, to: NodeId },
    /// A roster of this version was signed: nothing is granted under a lower one.
    Signed { version: u32 },
}

/// Why an exit is none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// A higher token was announced.
    Outbid,
    /// It ran out: a majority could not be reached.
    Expired,
    /// An aged member is ready, and this one is young.
    GaveWay,
    /// The owner said so.
    Released,
    /// There is a new roster, or one was signed.
    Roster,
    /// This node does not reach the channel.
    Unready,
}

/// What the journal says about earlier lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    pub promised: Option<(Token, NodeId)>,
    pub signed: u32,
    /// The journal may lack its end: nothing is granted for a lock from now.
    pub has_gap: bool,
}

/// Bugs that can be planted to prove that the tests' checkers have teeth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Grants leave before the promise is durable.
    pub grant_early: bool,
    /// The holder counts from the moment at which the grant arrives.
    pub count_from_grant: bool,
    /// A member that hears nobody grants the lease to itself.
    pub alone_anywhere: bool,
    /// A node that begins anew asks for the token that it had.
    pub reuse_token: bool,
    /// A grant counts for the latest asking, whichever it answers.
    pub any_number: bool,
    /// What was promised before a restart is not kept.
    pub forget_promise: bool,
    /// A journal without its end is trusted.
    pub ignore_gap: bool,
}

/// One member's part in the lease of its peernet.
#[derive(Debug)]
pub struct Lease {
    me: NodeId,
    settings: Settings,
    seats: Seats,
    peers: BTreeMap<NodeId, Peer>,
    /// Since when this node is on the channel; none where it cannot reach it.
    on_since: Option<Time>,
    promise: Promise,
    /// Nothing is granted before.
    closed_until: Time,
    signed: u32,
    /// The highest token that was heard of.
    high: Token,
    role: Role,
    /// When to ask next, while idle and ready.
    try_at: Time,
    rest_until: Time,
    give_way_at: Time,
    failures: u32,
    /// The last number of an asking, and of a record.
    number: u64,
    record: u64,
    random: Random,
    faults: Faults,
}

/// What a member has promised last.
#[derive(Clone, Copy, Debug)]
struct Promise {
    token: Token,
    to: Option<NodeId>,
    until: Time,
    /// The asking that it answers.
    number: u64,
    is_renewed: bool,
    /// Whoever had it promised has given up without using it: somebody else may have the token.
    is_unused: bool,
    /// The record that is not durable yet.
    waits_for: Option<u64>,
}

/// Another member.
#[derive(Clone, Copy, Debug)]
struct Peer {
    is_up: bool,
    rtt: Option<Span>,
    heard_at: Time,
    /// Askings of it below this one are over.
    number_min: u64,
}

impl Standing {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unready => "unready",
            Self::Young => "young",
            Self::Aged => "aged",
        }
    }
}

impl Lost {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Outbid => "a higher token was announced",
            Self::Expired => "no majority was reached in time",
            Self::GaveWay => "an aged member is there",
            Self::Released => "the owner said so",
            Self::Roster => "there is a new roster",
            Self::Unready => "the channel is not reached",
        }
    }
}

impl Token {
    /// Returns the version of the roster under which it was made.
    pub const fn version(self) -> u64 {
        self.0 >> 32
    }

    /// Returns the token before the first one of a version.
    const fn before(version: u32) -> Self {
        Self((version as u64) << 32)
    }

    /// Returns the next token of the same version; none after the last.
    fn next(self) -> Option<Self> {
        let next = Self(self.0.checked_add(1)?);
        (next.version() == self.version()).then_some(next)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.version(), self.0 & 0xFFFF_FFFF)
    }
}

impl Lease {
    /// Begins one life of a member. `incarnation` is above that of every earlier life.
    pub fn new(
        me: NodeId,
        settings: Settings,
        seats: Seats,
        restored: Restored,
        incarnation: u32,
        seed: u64,
        now: Time,
    ) -> Self {
        let (token, to) = restored.promised.unzip();
        let token = token.unwrap_or_default();
        // What an earlier life promised itself binds nobody: that life is over.
        let to = to.filter(|to| *to != me);
        let mut lease = Self {
            me,
            settings,
            seats: Seats {
                peernet: seats.peernet,
                version: 0,
                members: Vec::new(),
            },
            peers: BTreeMap::new(),
            on_since: None,
            promise: Promise {
                token,
                to,
                until: if to.is_some() { now + LOCK } else { now },
                number: 0,
                is_renewed: false,
                is_unused: false,
                waits_for: None,
            },
            closed_until: if restored.has_gap { now + LOCK } else { now },
            signed: restored.signed,
            high: token,
            role: Role::Idle,
            try_at: now,
            rest_until: now,
            give_way_at: now,
            failures: 0,
            number: u64::from(incarnation) << 32,
            record: 0,
            random: Random::new(seed),
            faults: Faults::default(),
        };
        lease.sit(seats, now);
        lease
    }

    pub fn plant(&mut self, faults: Faults, now: Time) {
        self.faults = faults;
        if faults.forget_promise {
            (self.promise.to, self.promise.until) = (None, now);
        }
        if faults.ignore_gap {
            self.closed_until = now;
        }
    }

    /// Returns the token by which this node may speak at this moment. Ask it at the moment of
    /// speaking: the last `Holder` may be old.
    pub fn token(&self, now: Time) -> Option<Token> {
        match &self.role {
            Role::Holding(held) if now < held.until => Some(held.token),
            Role::Idle | Role::Preparing { .. } | Role::Asking(_) | Role::Holding(_) => None,
        }
    }

    /// Returns to whom this member is bound, and until when.
    pub fn promised(&self, now: Time) -> Option<(NodeId, Token, Time)> {
        let to = self.promise.to.filter(|_| self.promise.until > now)?;
        Some((to, self.promise.token, self.promise.until))
    }

    pub fn standing(&self, now: Time) -> Standing {
        match self.on_since {
            None => Standing::Unready,
            Some(since) if now.since(since) >= self.settings.aged_after => Standing::Aged,
            Some(_) => Standing::Young,
        }
    }

    pub const fn seats(&self) -> &Seats {
        &self.seats
    }

    /// Takes what another member says. Who is on no seat is not heard.
    pub fn handle_message(
        &mut self,
        from: NodeId,
        message: &Message,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        if message.peernet != self.seats.peernet {
            return;
        }
        self.expire(now, out);
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        peer.heard_at = now;
        let is_ours = message.token.version() == u64::from(self.seats.version);
        if is_ours {
            self.high = self.high.max(message.token);
        }
        let Message { token, number, .. } = *message;
        match message.say {
            Say::Ask { standing } => self.handle_ask(from, standing, (token, number), now, out),
            Say::Grant { standing } => {
                self.handle_grant(from, token, number, now, out);
                self.give_way(standing, now, out);
            }
            Say::Refuse { why, wait } => self.handle_refuse(from, number, (why, wait), now, out),
            Say::Release => {
                self.handle_given_back(from, (token, number), now);
            }
            Say::GiveUp => {
                let is_unused = self.handle_given_back(from, (token, number), now);
                self.promise.is_unused |= is_unused;
            }
        }
    }

    /// Everything journalled up to this number is durable.
    pub fn handle_durable(&mut self, number: u64, now: Time, out: &mut Vec<Output>) {
        if self.promise.waits_for.is_none_or(|waits| waits > number) {
            return;
        }
        self.promise.waits_for = None;
        match self.promise.to {
            Some(to) if to == self.me => self.begin_asking(now, out),
            Some(to) if self.promise.until > now && !self.faults.grant_early => {
                self.send_grant(to, now, out);
            }
            Some(_) | None => (),
        }
    }

    /// A link to another member came up or went down.
    pub fn handle_link(&mut self, node: NodeId, is_up: bool, now: Time, out: &mut Vec<Output>) {
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        peer.is_up = is_up;
        if is_up {
            self.ask_newcomer(node, now, out);
        }
    }

    pub fn handle_rtt(&mut self, node: NodeId, rtt: Span) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.rtt = Some(rtt);
        }
    }

    /// Whether this node can reach the channel, and since when it counts as being there.
    pub fn handle_standing(&mut self, on_since: Option<Time>, now: Time, out: &mut Vec<Output>) {
        let was_ready = self.on_since.is_some();
        self.on_since = on_since;
        match on_since {
            None => self.give_up(Lost::Unready, now, out),
            Some(_) if !was_ready => self.plan(now, now),
            Some(_) => (),
        }
    }

    /// A token of this peernet was announced, by whomever.
    pub fn handle_announced(&mut self, token: Token, now: Time, out: &mut Vec<Output>) {
        if token.version() != u64::from(self.seats.version) {
            return;
        }
        self.high = self.high.max(token);
        if self.token(now).is_some_and(|own| own < token) {
            self.give_up(Lost::Outbid, now, out);
        }
    }

    /// The owner wants somebody else to speak. Nothing is asked for during [`REST`].
    pub fn handle_release(&mut self, now: Time, out: &mut Vec<Output>) {
        self.rest_until = now + REST;
        self.give_up(Lost::Released, now, out);
        self.plan(now, now);
    }

    /// This node is about to sign a roster: its part in earlier ones ends here. The signature may
    /// leave when the record is durable.
    pub fn handle_signing(&mut self, version: u32, now: Time, out: &mut Vec<Output>) {
        if version <= self.signed {
            return;
        }
        self.signed = version;
        self.record += 1;
        out.push(Output::Journal {
            number: self.record,
            record: Record::Signed { version },
        });
        if version > self.seats.version {
            self.give_up(Lost::Roster, now, out);
        }
    }

    /// There is a later roster. Nothing is granted under it for a lock.
    pub fn handle_roster(&mut self, seats: Seats, now: Time, out: &mut Vec<Output>) {
        if seats.peernet != self.seats.peernet || seats.version <= self.seats.version {
            return;
        }
        self.give_up(Lost::Roster, now, out);
        self.closed_until = self.closed_until.max(now + LOCK);
        self.sit(seats, now);
    }

    /// Returns when this machine wants to be called next.
    pub fn deadline(&self) -> Option<Deadline> {
        let (at, why) = match &self.role {
            Role::Idle if self.on_since.is_some() && self.has_seat() => {
                (self.try_at, "ask for the lease")
            }
            Role::Idle => return None,
            Role::Preparing { until } => (*until, "the journal is late"),
            Role::Asking(asking) => (asking.due_at(), "answers to an asking"),
            Role::Holding(held) if held.renew_at < held.until => (held.renew_at, "renew the lease"),
            Role::Holding(held) => (held.until, "the lease ends"),
        };
        Some(Deadline { at, why })
    }

    /// Does what is due.
    pub fn handle_deadline(&mut self, now: Time, out: &mut Vec<Output>) {
        self.expire(now, out);
        match &self.role {
            Role::Idle if now >= self.try_at => self.prepare(now, out),
            Role::Asking(asking) if now >= asking.due_at() => self.ask_again(now, out),
            Role::Holding(held) if now >= held.renew_at => self.renew(now, out),
            Role::Idle | Role::Preparing { .. } | Role::Asking(_) | Role::Holding(_) => (),
        }
    }

    /// Ends what has run out. What others want is looked at only behind that: a promise to oneself
    /// ends with the role that it was made for.
    fn expire(&mut self, now: Time, out: &mut Vec<Output>) {
        match &self.role {
            Role::Preparing { until } if now >= *until => self.fail(Span::ZERO, now, out),
            Role::Asking(asking) if now >= asking.until() => self.fail(Span::ZERO, now, out),
            Role::Holding(held) if now >= held.until => self.give_up(Lost::Expired, now, out),
            Role::Idle | Role::Preparing { .. } | Role::Asking(_) | Role::Holding(_) => (),
        }
    }

    /// Takes the seats of a roster; who stays keeps what is known of it.
    fn sit(&mut self, mut seats: Seats, now: Time) {
        seats.members.sort_unstable();
        seats.members.dedup();
        seats.members.truncate(MEMBERS_MAX);
        let newcomer = Peer {
            is_up: false,
            rtt: None,
            heard_at: now,
            number_min: 0,
        };
        let others = seats.members.iter().filter(|member| **member != self.me);
        self.peers = others
            .map(|member| (*member, *self.peers.get(member).unwrap_or(&newcomer)))
            .collect();
        self.high = self.high.max(Token::before(seats.version));
        self.seats = seats;
        self.plan(now, now);
    }

    fn has_seat(&self) -> bool {
        self.seats.members.binary_search(&self.me).is_ok()
    }

    /// Tells whether this member takes part in the roster's lease at all.
    fn takes_part(&self) -> bool {
        self.has_seat() && self.signed <= self.seats.version
    }

    /// Returns how many grants make a lease, one's own among them.
    fn needed(&self, now: Time) -> usize {
        let is_silent = |peer: &Peer| now.since(peer.heard_at) >= LOCK;
        let is_alone = self.peers.values().all(is_silent);
        let may_be_alone = self.seats.members.len() == 2 && self.settings.alone_after_lease;
        if is_alone && (may_be_alone || self.faults.alone_anywhere) {
            return 1;
        }
        self.seats.members.len() / 2 + 1
    }

    fn send(&self, to: NodeId, token: Token, number: u64, say: Say, out: &mut Vec<Output>) {
        let message = Message {
            peernet: self.seats.peernet,
            token,
            number,
            say,
        };
        if self.peers.get(&to).is_some_and(|peer| peer.is_up) {
            out.push(Output::Send { to, message });
        }
    }

    /// Makes a promise that is not kept before it is durable.
    fn promise(&mut self, to: NodeId, token: Token, number: u64, now: Time, out: &mut Vec<Output>) {
        self.record += 1;
        self.promise = Promise {
            token,
            to: Some(to),
            until: now + LOCK,
            number,
            is_renewed: false,
            is_unused: false,
            waits_for: Some(self.record),
        };
        out.push(Output::Journal {
            number: self.record,
            record: Record::Promised { token, to },
        });
    }

    /// Returns when this member is free to grant to `to`.
    fn free_at(&self, to: NodeId) -> Time {
        match self.promise.to {
            Some(bound) if bound != to => self.promise.until.max(self.closed_until),
            Some(_) | None => self.closed_until,
        }
    }
}
