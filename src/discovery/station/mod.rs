//! Whom to meet on the open network, and how: who is asked for, who is offered a link, which offers
//! of others are taken.
//!
//! ```text
//! news of networks ─▶ roll: which nick is which node ─▶ who is wanted, and when
//!                                                              │
//! idle ── due ─▶ trying: direct ─▶ passive ─▶ NAT helper ── met ─▶ linked ── lost ─▶ idle
//!   ▲               └── none of them worked: a wait that doubles ──┐
//!   └──────────────────────────────────────────────────────────────┘
//! ```
//! The key at the other end decides who that was; until then everything here is a claim. Whoever
//! offers learns nothing of what came of it: an address that cannot be dialled, one that may not
//! be, and one that does not answer are met with the same silence.

mod attempt;
pub mod door;
pub mod roll;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::hmac;

use crate::discovery::irc::line::Line;
use crate::discovery::irc::name::CaseMapping;
use crate::discovery::irc::pace::{Allowance, Urgency};
use crate::discovery::network::{NETWORKS_MAX, NetworkNo, Settings};
use crate::discovery::station::attempt::Attempts;
pub use crate::discovery::station::attempt::{AttemptNo, Failure, Rung};
use crate::discovery::station::roll::Roll;
use crate::model::ids::{NodeId, Pin};
use crate::model::random::Random;
use crate::model::time::{Deadline, Span, Time};

/// What a station wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Say a line on a network, in its turn.
    Say {
        network: NetworkNo,
        urgency: Urgency,
        line: Line,
    },
    /// Listen for one link, on the address that this network is dialled from; answer with
    /// `handle_listening` or `handle_failed`.
    Listen {
        attempt: AttemptNo,
        network: NetworkNo,
    },
    /// Dial; answer with `handle_met` or `handle_failed`.
    Dial {
        attempt: AttemptNo,
        network: NetworkNo,
        address: SocketAddr,
    },
    /// Nobody waits for this attempt any more.
    Forget { attempt: AttemptNo },
    /// Tell the owner.
    Report(String),
}

/// How the node stands to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is no link.
    Free,
    Linked,
    /// The node does not want a link before then.
    Unwanted {
        until: Time,
    },
}

/// One node as the networks show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub node: NodeId,
    pub is_listed: bool,
    pub places: Vec<(NetworkNo, String)>,
    /// Which way led to the link that there is, or was last.
    pub by: Option<Rung>,
    /// Why there is no link; nothing where there is one.
    pub why_not: Option<String>,
}

/// What was done and refused, by name.
pub type Counts = BTreeMap<&'static str, u64>;

/// The machine.
#[derive(Debug)]
pub struct Station {
    own: NodeId,
    settings: Settings,
    listed: BTreeSet<NodeId>,
    /// Addresses that nobody is let to make this node dial: its own, the mesh's, the venues'.
    forbidden: BTreeSet<IpAddr>,
    roll: Roll,
    networks: BTreeMap<NetworkNo, Online>,
    dealings: BTreeMap<NodeId, Dealing>,
    /// Nodes by when something is due.
    due: BTreeSet<(Time, NodeId)>,
    attempts: Attempts,
    dials: Allowance,
    targets: BTreeMap<IpAddr, Allowance>,
    refusals: Allowance,
    /// What the sample of a large channel is drawn with.
    key: hmac::Key,
    random: Random,
    acts: VecDeque<Act>,
    counts: Counts,
}

/// A network that this node is on.
#[derive(Debug)]
struct Online {
    /// The address that it is dialled from.
    local: IpAddr,
    asked: VecDeque<String>,
    polls: Allowance,
    offers: Allowance,
    /// The hour whose sample of a large channel is being asked.
    hour: u64,
}

/// What is going on with one node.
#[derive(Debug)]
struct Dealing {
    state: State,
    due: Time,
    /// Ladders in a row that came to nothing.
    failures: u32,
    /// The next rung.
    rung: usize,
    by: Option<Rung>,
    /// Offers of its are refused before then.
    unwanted_until: Time,
    why_not: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Trying,
    Linked,
}

impl Station {
    /// Members of a channel up to which everybody is met; beyond, a sample of as many an hour.
    pub const EVERYBODY_MAX: usize = 200;
    /// Nodes that are dealt with; more are not. Whoever is listed always is.
    pub const DEALINGS_MAX: usize = 8_192;
    /// Offers without an answer on one network: as many expectations as a NAT helper keeps.
    pub const OUTSTANDING_MAX: usize = 8;
    /// What offers cost on one network: four at once, then one every ten seconds.
    pub const OFFERS_BURST: u64 = 4;
    pub const OFFER_EVERY: Span = Span::secs(10);
    /// Questions who somebody is: ten at once, then 200 an hour.
    pub const POLLS_BURST: u64 = 10;
    pub const POLL_EVERY: Span = Span::secs(18);
    /// Nicks of one network that wait to be asked for; one more is left for the next hour.
    pub const ASKED_MAX: usize = 256;
    /// Dials that others may cause: twelve at once, then one every three seconds.
    pub const DIALS_BURST: u64 = 12;
    pub const DIAL_EVERY: Span = Span::secs(3);
    /// Dials of one address that others may cause: three at once, then one every five minutes.
    pub const TARGET_BURST: u64 = 3;
    pub const TARGET_EVERY: Span = Span::secs(300);
    /// Addresses whose dials are counted; when full, no further one is dialled for others.
    pub const TARGETS_MAX: usize = 1_024;
    /// Polite refusals of plain chat: three at once, then one every 20 s.
    pub const REFUSALS_BURST: u64 = 3;
    pub const REFUSAL_EVERY: Span = Span::secs(20);
    /// Wishes that wait for the shell; more are dropped and counted.
    const ACTS_MAX: usize = 1_024;
    /// Who comes is not offered a link at the same moment by everybody.
    const STAGGER: Span = Span::secs(8);
    /// The higher id leaves the first offer to the lower one.
    const HEAD_START: Span = Span::secs(45);
    /// A listed node is dialled over QUIC first, where its card says where.
    const QUIC_FIRST: Span = Span::secs(10);
    const AGAIN_MIN: Span = Span::secs(120);
    const AGAIN_MAX: Span = Span::secs(6 * 3_600);

    pub fn new(own: NodeId, settings: Settings, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let key: [u8; 32] = std::array::from_fn(|_| random.next_u64().to_le_bytes()[0]);
        Self {
            own,
            settings,
            listed: BTreeSet::new(),
            forbidden: BTreeSet::new(),
            roll: Roll::default(),
            networks: BTreeMap::new(),
            dealings: BTreeMap::new(),
            due: BTreeSet::new(),
            attempts: Attempts::default(),
            dials: Allowance::default(),
            targets: BTreeMap::new(),
            refusals: Allowance::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            random,
            acts: VecDeque::new(),
            counts: Counts::new(),
        }
    }

    pub fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Knows a listed node.
    pub fn list(&mut self, pin: &Pin, now: Time) {
        let node = pin.node_id();
        self.listed.insert(node);
        self.roll.list(pin);
        // Whoever is there already is found by its nick.
        let networks: Vec<NetworkNo> = self.networks.keys().copied().collect();
        for network in networks {
            let nicks = self.roll.nicks_of(network);
            let nicks: Vec<String> = nicks.map(|(nick, _)| nick.to_owned()).collect();
            for nick in nicks.iter().filter(|nick| roll::is_nick_of_pin(nick, pin)) {
                self.roll.enter(network, nick);
                self.meet(node, now);
            }
        }
    }

    pub fn strike_off(&mut self, node: NodeId) {
        self.listed.remove(&node);
        self.roll.strike_off(node);
        if !self.settings.wants_strangers() {
            self.forget(node);
        }
    }

    /// Lets nobody make this node dial an address.
    pub fn forbid(&mut self, address: IpAddr) {
        self.forbidden.insert(address);
    }

    /// Takes how the node stands to another one, whichever way they are linked.
    pub fn handle_standing(&mut self, node: NodeId, standing: Standing, now: Time) {
        let (state, due, why_not) = match standing {
            Standing::Linked => (State::Linked, Time::MAX, ""),
            Standing::Free => {
                let wait = Span(self.random.below(Self::STAGGER.0));
                (State::Idle, now + wait, "the link was lost")
            }
            Standing::Unwanted { until } => (State::Idle, until, "not wanted now"),
        };
        if let Some(dealing) = self.dealings.get_mut(&node) {
            dealing.state = state;
            dealing.why_not = why_not;
            dealing.rung = 0;
            self.schedule(node, due);
        } else if self.roll.is_present(node) || state == State::Linked {
            self.deal_with(node, state, due, why_not);
        }
        if let Some(dealing) = self.dealings.get_mut(&node) {
            dealing.unwanted_until = match standing {
                Standing::Unwanted { until } => until,
                Standing::Free | Standing::Linked => Time::ZERO,
            };
        }
    }

    pub fn deadline(&self) -> Option<Deadline> {
        let offers = self.due.first().map(|(at, _)| Deadline {
            at: *at,
            why: "offer",
        });
        let waiting = self.networks.values().filter(|one| !one.asked.is_empty());
        let polls = waiting.map(|one| one.polls.due_at(Self::POLLS_BURST, Self::POLL_EVERY));
        let polls = polls.min().map(|at| Deadline { at, why: "poll" });
        let earlier = Deadline::earlier(offers.filter(|deadline| deadline.at < Time::MAX), polls);
        let hour = self.networks.values().map(|one| hour_after(one.hour)).min();
        let hour = hour.map(|at| Deadline { at, why: "sample" });
        Deadline::earlier(earlier, Deadline::earlier(hour, self.attempts.deadline()))
    }

    pub fn handle_deadline(&mut self, now: Time) {
        for attempt in self.attempts.overdue(now) {
            self.fail(attempt, now);
        }
        let networks: Vec<NetworkNo> = self.networks.keys().copied().collect();
        for network in networks {
            self.draw_sample(network, now);
            self.poll(network, now);
        }
        while let Some((at, node)) = self.due.first().copied() {
            if at > now {
                break;
            }
            self.due.remove(&(at, node));
            self.turn(node, now);
        }
    }

    /// Returns everybody who is known, and why they are not linked.
    pub fn sightings(&self) -> Vec<Sighting> {
        let mut nodes: BTreeSet<NodeId> = self.roll.nodes().collect();
        nodes.extend(self.dealings.keys().copied());
        nodes.remove(&self.own);
        nodes.into_iter().map(|node| self.sighting(node)).collect()
    }

    fn sighting(&self, node: NodeId) -> Sighting {
        let places = self.roll.places_of(node);
        let dealing = self.dealings.get(&node);
        let why_not = match dealing {
            None if !self.is_wanted(node) => Some("not on the list".to_owned()),
            None => Some("its turn has not come".to_owned()),
            Some(dealing) if dealing.state == State::Linked => None,
            Some(dealing) if dealing.state == State::Trying => Some("a link is offered".to_owned()),
            Some(dealing) => Some(dealing.why_not.to_owned()),
        };
        Sighting {
            node,
            is_listed: self.listed.contains(&node),
            places: places.map(|(on, nick)| (on, nick.to_owned())).collect(),
            by: dealing.and_then(|dealing| dealing.by),
            why_not,
        }
    }

    fn is_wanted(&self, node: NodeId) -> bool {
        node != self.own && (self.listed.contains(&node) || self.settings.wants_strangers())
    }

    /// Deals with a node that was just seen.
    fn meet(&mut self, node: NodeId, now: Time) {
        if !self.is_wanted(node) || self.dealings.contains_key(&node) {
            return;
        }
        let mut wait = Span(self.random.below(Self::STAGGER.0));
        if self.own > node {
            wait = wait + Self::HEAD_START;
        }
        if self.listed.contains(&node) {
            wait = wait + Self::QUIC_FIRST;
        }
        self.deal_with(node, State::Idle, now + wait, "its turn has not come");
    }

    fn deal_with(&mut self, node: NodeId, state: State, due: Time, why_not: &'static str) {
        if self.dealings.len() >= Self::DEALINGS_MAX && !self.listed.contains(&node) {
            self.count("crowded");
            return;
        }
        let dealing = Dealing {
            state,
            due,
            failures: 0,
            rung: 0,
            by: None,
            unwanted_until: Time::ZERO,
            why_not,
        };
        self.dealings.insert(node, dealing);
        self.schedule(node, due);
    }

    fn schedule(&mut self, node: NodeId, due: Time) {
        let Some(dealing) = self.dealings.get_mut(&node) else {
            return;
        };
        self.due.remove(&(dealing.due, node));
        dealing.due = due;
        if due < Time::MAX {
            self.due.insert((due, node));
        }
    }

    fn forget(&mut self, node: NodeId) {
        if let Some(dealing) = self.dealings.remove(&node) {
            self.due.remove(&(dealing.due, node));
        }
    }

    fn act(&mut self, act: Act) {
        if self.acts.len() >= Self::ACTS_MAX {
            self.count("acts_dropped");
            return;
        }
        self.acts.push_back(act);
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Lets a line wait for its turn. One that cannot be said names a nick that no server gives.
    fn say(&mut self, network: NetworkNo, urgency: Urgency, line: Option<Line>) {
        match line {
            Some(line) => self.act(Act::Say {
                network,
                urgency,
                line,
            }),
            None => self.count("unsayable"),
        }
    }
}

/// What the networks tell.
impl Station {
    /// Takes who is on the channel of a network that was just joined, or is told anew.
    pub fn handle_joined<'m>(
        &mut self,
        network: NetworkNo,
        mapping: CaseMapping,
        local: IpAddr,
        members: impl Iterator<Item = (&'m str, Option<&'m str>)>,
        now: Time,
    ) {
        if usize::from(network.0) >= NETWORKS_MAX {
            return;
        }
        self.roll.open(network, mapping);
        let online = Online {
            local,
            asked: VecDeque::new(),
            polls: Allowance::default(),
            offers: Allowance::default(),
            hour: 0,
        };
        // What was said before a connection was lost still counts.
        let before = self.networks.remove(&network);
        let online = match before {
            Some(before) => Online { local, ..before },
            None => online,
        };
        self.networks.insert(network, online);
        self.forbid(local);
        for (nick, realname) in members {
            self.enter(network, nick, now);
            if let Some(realname) = realname {
                self.handle_realname(network, nick, realname, now);
            }
        }
        if !self.settings.wants_strangers() {
            return;
        }
        let is_asked = self.roll.nicks_of(network).any(|(_, node)| node.is_none());
        if is_asked && self.roll.nicks_len(network) <= Self::EVERYBODY_MAX {
            let line = Line::new("WHO", &[&self.settings.channel], None).ok();
            self.count("polls");
            self.say(network, Urgency::Poll, line);
        }
    }

    pub fn handle_left(&mut self, network: NetworkNo) {
        self.networks.remove(&network);
        self.roll.close(network);
        self.attempts.forget_network(network);
    }

    pub fn handle_came(&mut self, network: NetworkNo, nick: &str, now: Time) {
        if self.enter(network, nick, now)
            || !self.settings.wants_strangers()
            || !roll::is_node_nick(nick)
        {
            return;
        }
        let is_crowd = self.roll.nicks_len(network) > Self::EVERYBODY_MAX;
        let is_drawn = !is_crowd || self.is_in_sample(network, nick, now);
        if is_drawn && let Some(online) = self.networks.get_mut(&network) {
            push_asked(&mut online.asked, nick);
        }
    }

    pub fn handle_gone(&mut self, network: NetworkNo, nick: &str) {
        if let Some(online) = self.networks.get_mut(&network) {
            online.asked.retain(|asked| asked != nick);
        }
        let Some(node) = self.roll.leave(network, nick) else {
            return;
        };
        let is_idle = |dealing: &Dealing| dealing.state == State::Idle;
        if !self.roll.is_present(node) && self.dealings.get(&node).is_some_and(is_idle) {
            self.forget(node);
        }
    }

    /// Whoever changes the nick is somebody new: what is claimed is asked for again.
    pub fn handle_renamed(&mut self, network: NetworkNo, from: &str, to: &str, now: Time) {
        self.handle_gone(network, from);
        self.handle_came(network, to, now);
    }

    pub fn handle_realname(&mut self, network: NetworkNo, nick: &str, realname: &str, now: Time) {
        // A listed node is known by its nick; what others claim does not matter to a dark one.
        if !self.settings.wants_strangers() {
            return;
        }
        if let Some(node) = self.roll.tell(network, nick, realname) {
            self.meet(node, now);
        }
    }

    /// Takes a nick; true where it is a listed node's.
    fn enter(&mut self, network: NetworkNo, nick: &str, now: Time) -> bool {
        let node = self.roll.enter(network, nick);
        if let Some(node) = node {
            self.meet(node, now);
        }
        node.is_some()
    }

    /// Asks who the next nick is, where the budget allows it.
    fn poll(&mut self, network: NetworkNo, now: Time) {
        while let Some(online) = self.networks.get_mut(&network) {
            let is_due = online.polls.due_at(Self::POLLS_BURST, Self::POLL_EVERY) <= now;
            let Some(nick) = online.asked.pop_front_if(|_| is_due) else {
                return;
            };
            if self.roll.node_of(network, &nick).is_some() {
                continue;
            }
            online.polls.pay(Self::POLL_EVERY, now);
            let line = Line::new("WHO", &[&nick], None).ok();
            self.count("polls");
            self.say(network, Urgency::Poll, line);
        }
    }

    /// Draws the sample of a channel with more than everybody, once an hour.
    fn draw_sample(&mut self, network: NetworkNo, now: Time) {
        let hour = hour_of(now);
        let Some(online) = self.networks.get_mut(&network) else {
            return;
        };
        if online.hour == hour {
            return;
        }
        online.hour = hour;
        if !self.settings.wants_strangers() || self.roll.nicks_len(network) <= Self::EVERYBODY_MAX {
            return;
        }
        let unknown = self.roll.nicks_of(network);
        let unknown = unknown.filter(|(_, node)| node.is_none());
        let drawn = unknown.filter(|(nick, _)| self.is_in_sample(network, nick, now));
        let drawn: Vec<String> = drawn
            .map(|(nick, _)| nick.to_owned())
            .take(Self::EVERYBODY_MAX)
            .collect();
        if let Some(online) = self.networks.get_mut(&network) {
            for nick in &drawn {
                push_asked(&mut online.asked, nick);
            }
        }
    }

    /// Tells whether a nick is one of the 200 or so of this hour. Nobody without the key can choose
    /// a nick that is.
    fn is_in_sample(&self, network: NetworkNo, nick: &str, now: Time) -> bool {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&hour_of(now).to_le_bytes());
        context.update(&[network.0]);
        context.update(nick.as_bytes());
        let tag = context.sign();
        let drawn = tag
            .as_ref()
            .first_chunk()
            .map_or(0, |first| u64::from(u32::from_le_bytes(*first)));
        let crowd = self.roll.nicks_len(network).max(1) as u64;
        drawn * crowd < (Self::EVERYBODY_MAX as u64) << 32
    }
}

fn push_asked(asked: &mut VecDeque<String>, nick: &str) {
    if asked.len() < Station::ASKED_MAX && !asked.iter().any(|waiting| waiting == nick) {
        asked.push_back(nick.to_owned());
    }
}

const HOUR: Span = Span::secs(3_600);

fn hour_of(now: Time) -> u64 {
    now.0 / HOUR.0
}

fn hour_after(hour: u64) -> Time {
    Time(HOUR.0.saturating_mul(hour + 1))
}
