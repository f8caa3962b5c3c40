//! Attempts at one link: what was offered to whom, which rung of the ladder it is, and what offers of
//! others may cause.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::discovery::dcc::{Offer, OfferError, Token, Verb, Way, is_open};
use crate::discovery::irc::line::Line;
use crate::discovery::irc::pace::Urgency;
use crate::discovery::network::{Mode, NetworkNo, Trust};
use crate::discovery::station::{Act, Dealing, State, Station};
use crate::model::ids::NodeId;
use crate::model::time::{Deadline, Span, Time};

/// One attempt at one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptNo(pub u64);

/// The ways to a link, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// This node listens and says where.
    Direct,
    /// The other one is asked to listen.
    Passive,
    /// This node listens behind a NAT whose kernel reads the offer and lets the other one through;
    /// it can read offers on networks without TLS only.
    Helper,
    /// The other one offered.
    Answered,
}

impl Rung {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Passive => "passive",
            Self::Helper => "NAT helper",
            Self::Answered => "answered",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why an attempt came to nothing, as far as this end can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection in time, or none that lasted.
    Unreached,
    /// TLS came to nothing: another protocol, an older version, or a key that is not listed.
    Tls,
    /// Behind TLS came no card of a node.
    NoCard,
    /// The card is of another key than TLS showed.
    AnotherKey,
}

impl Failure {
    /// Returns what it is counted as.
    const fn name(self) -> &'static str {
        match self {
            Self::Unreached => "unreached",
            Self::Tls => "no_tls",
            Self::NoCard => "no_card",
            Self::AnotherKey => "false_card",
        }
    }
}

#[derive(Debug)]
pub(super) struct Attempt {
    /// Whom it is with, as far as anybody claims.
    node: Option<NodeId>,
    network: NetworkNo,
    nick: String,
    rung: Rung,
    /// Ties a passive offer to its answer.
    token: Option<Token>,
    until: Time,
}

/// The attempts that are under way.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    last: u64,
    open: BTreeMap<AttemptNo, Attempt>,
}

impl Attempts {
    /// Attempts under way at once, over all networks; one more waits or is refused.
    const OPEN_MAX: usize = 64;

    fn begin(&mut self, attempt: Attempt) -> Option<AttemptNo> {
        if self.open.len() >= Self::OPEN_MAX {
            return None;
        }
        self.last += 1;
        let number = AttemptNo(self.last);
        self.open.insert(number, attempt);
        Some(number)
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let first = self.open.values().map(|attempt| attempt.until).min();
        first.map(|at| Deadline {
            at,
            why: "offer unanswered",
        })
    }

    pub(super) fn overdue(&self, now: Time) -> Vec<AttemptNo> {
        let over = self.open.iter().filter(|(_, attempt)| attempt.until <= now);
        over.map(|(number, _)| *number).collect()
    }

    /// Forgets who could be answered on a network; links that are being made there go on.
    pub(super) fn forget_network(&mut self, network: NetworkNo) {
        for attempt in self.open.values_mut() {
            if attempt.network == network {
                attempt.token = None;
            }
        }
    }

    fn outstanding(&self, network: NetworkNo) -> usize {
        let on = self.open.values();
        on.filter(|attempt| attempt.network == network && attempt.rung != Rung::Answered)
            .count()
    }
}

/// How long an offer, and everything up to the link, may take.
const OFFER_MAX: Span = Span::secs(30);
/// How long it is until the next rung is tried.
const RUNG_WAIT: Span = Span::secs(2);

/// Own offers.
impl Station {
    /// Does what is due with a node.
    pub(super) fn turn(&mut self, node: NodeId, now: Time) {
        let is_idle = |dealing: &Dealing| dealing.state == State::Idle;
        if !self.dealings.get(&node).is_some_and(is_idle) {
            return;
        }
        if !self.roll.is_present(node) {
            return self.forget(node);
        }
        let rungs = self.rungs(node);
        let rung = self.dealings.get(&node).map_or(0, |dealing| dealing.rung);
        let Some((rung, network, nick)) = rungs.get(rung).cloned() else {
            return self.climb_down(node, rungs.is_empty(), now);
        };
        if let Some(at) = self.too_early(network, now) {
            return self.schedule(node, at);
        }
        let token = (rung == Rung::Passive).then(|| self.new_token());
        let attempt = Attempt {
            node: Some(node),
            network,
            nick: nick.clone(),
            rung,
            token,
            until: now + OFFER_MAX,
        };
        let Some(number) = self.attempts.begin(attempt) else {
            return self.schedule(node, now + RUNG_WAIT);
        };
        if let Some(online) = self.networks.get_mut(&network) {
            online.offers.pay(Self::OFFER_EVERY, now);
        }
        if let Some(dealing) = self.dealings.get_mut(&node) {
            dealing.state = State::Trying;
            dealing.rung += 1;
        }
        self.schedule(node, Time::MAX);
        self.count("offers");
        match (rung, token) {
            (Rung::Passive, Some(token)) => {
                let address = self.own_address(network);
                self.offer(network, &nick, address, Way::Passive { token });
            }
            (Rung::Direct | Rung::Passive | Rung::Helper | Rung::Answered, _) => {
                let attempt = number;
                self.act(Act::Listen { attempt, network });
            }
        }
    }

    /// Returns which ways there are to a node, in order, and the network to offer them on.
    fn rungs(&self, node: NodeId) -> Vec<(Rung, NetworkNo, String)> {
        let places: Vec<(NetworkNo, String)> = self
            .roll
            .places_of(node)
            .filter(|(network, _)| self.networks.contains_key(network))
            .map(|(network, nick)| (network, nick.to_owned()))
            .collect();
        let find = |fits: &dyn Fn(NetworkNo) -> bool| {
            let mut places = places.iter();
            places.find(|(network, _)| fits(*network)).cloned()
        };
        let direct = find(&|network| self.is_reachable(network));
        let helper = find(&|network| !self.is_reachable(network) && self.is_plain(network));
        let all = [
            direct.map(|(network, nick)| (Rung::Direct, network, nick)),
            find(&|_| true).map(|(network, nick)| (Rung::Passive, network, nick)),
            helper.map(|(network, nick)| (Rung::Helper, network, nick)),
        ];
        all.into_iter().flatten().collect()
    }

    /// No rung is left: the whole ladder is tried again later.
    fn climb_down(&mut self, node: NodeId, is_nowhere: bool, now: Time) {
        let Some(dealing) = self.dealings.get_mut(&node) else {
            return;
        };
        let doubled = Self::AGAIN_MIN.times(1 << dealing.failures.min(16));
        let most = doubled.min(Self::AGAIN_MAX);
        dealing.failures = dealing.failures.saturating_add(1);
        dealing.rung = 0;
        dealing.why_not = match is_nowhere {
            true => "no network in common",
            false => "no offer led to a link",
        };
        let wait = self.random.between(most.0 / 2, most.0);
        self.schedule(node, now + Span(wait));
    }

    /// Returns until when a network takes no further offer.
    fn too_early(&self, network: NetworkNo, now: Time) -> Option<Time> {
        if self.attempts.outstanding(network) >= Self::OUTSTANDING_MAX {
            return Some(now + RUNG_WAIT);
        }
        let online = self.networks.get(&network)?;
        let at = online.offers.due_at(Self::OFFERS_BURST, Self::OFFER_EVERY);
        (at > now).then_some(at)
    }

    fn own_address(&self, network: NetworkNo) -> IpAddr {
        let local = self.networks.get(&network).map(|online| online.local);
        let unknown = IpAddr::from([0, 0, 0, 0]);
        self.settings.address.or(local).unwrap_or(unknown)
    }

    fn is_reachable(&self, network: NetworkNo) -> bool {
        let address = self.own_address(network);
        let is_here = self.settings.is_local_allowed && address.is_loopback();
        let is_likely = is_open(address) || is_here;
        self.settings.is_reachable.unwrap_or(is_likely)
    }

    fn is_plain(&self, network: NetworkNo) -> bool {
        let network = self.settings.networks.get(usize::from(network.0));
        network.is_some_and(|network| network.trust == Trust::Plain)
    }

    fn new_token(&mut self) -> Token {
        // Real clients take small numbers; zero is none.
        Token(u32::try_from(self.random.between(1, 999_999_999)).unwrap_or(1))
    }

    fn offer(&mut self, network: NetworkNo, nick: &str, address: IpAddr, way: Way) {
        let verb = Verb::Schat;
        let offer = Offer { verb, address, way };
        let line = Line::say("PRIVMSG", nick, &format!("\u{1}DCC {offer}\u{1}")).ok();
        self.say(network, Urgency::Poll, line);
    }
}

/// What comes of it.
impl Station {
    /// The shell listens: whom it is for is told where.
    pub fn handle_listening(&mut self, attempt: AttemptNo, address: SocketAddr) {
        let Some(open) = self.attempts.open.get(&attempt) else {
            return self.act(Act::Forget { attempt });
        };
        let (network, nick) = (open.network, open.nick.clone());
        let port = address.port();
        let way = match open.token {
            Some(token) => Way::Answer { port, token },
            None => Way::Active { port },
        };
        let named = self.settings.address.unwrap_or(address.ip());
        self.offer(network, &nick, named, way);
    }

    /// Counts why somebody who came, or was dialled, was not met. A listener may go on after it;
    /// where the attempt is over, that is told by `handle_failed` besides.
    pub fn handle_missed(&mut self, failure: Failure) {
        self.count(failure.name());
    }

    /// Neither listening nor dialling led to a link.
    pub fn handle_failed(&mut self, attempt: AttemptNo, now: Time) {
        if self.attempts.open.contains_key(&attempt) {
            self.fail(attempt, now);
        }
    }

    /// Takes whose key it was at the other end. True where the link may be; it is then the node's.
    pub fn handle_met(&mut self, attempt: AttemptNo, node: NodeId, now: Time) -> bool {
        let Some(open) = self.attempts.open.get(&attempt) else {
            return false;
        };
        let is_other = open.node.is_some_and(|claimed| claimed != node);
        if is_other || !self.is_wanted(node) {
            let nick = open.nick.clone();
            let what = if is_other { "another_key" } else { "unwanted" };
            self.count(what);
            if is_other {
                let text =
                    format!("{nick} claims to be another node than its key is ({node}): no link");
                self.act(Act::Report(text));
            }
            self.fail(attempt, now);
            return false;
        }
        let rung = open.rung;
        self.attempts.open.remove(&attempt);
        if !self.dealings.contains_key(&node) {
            self.deal_with(node, State::Linked, Time::MAX, "");
        }
        if let Some(dealing) = self.dealings.get_mut(&node) {
            (dealing.state, dealing.failures, dealing.rung) = (State::Linked, 0, 0);
            dealing.by = Some(rung);
        }
        self.schedule(node, Time::MAX);
        self.count("met");
        true
    }

    pub(super) fn fail(&mut self, attempt: AttemptNo, now: Time) {
        let Some(over) = self.attempts.open.remove(&attempt) else {
            return;
        };
        self.count("came_to_nothing");
        self.act(Act::Forget { attempt });
        let Some(node) = over.node else {
            return;
        };
        let is_trying = |dealing: &Dealing| dealing.state == State::Trying;
        if !self.dealings.get(&node).is_some_and(is_trying) {
            return;
        }
        if let Some(dealing) = self.dealings.get_mut(&node) {
            dealing.state = State::Idle;
            dealing.why_not = "the last offer led to no link";
        }
        self.schedule(node, now + RUNG_WAIT);
    }
}

/// Offers of others.
impl Station {
    /// Takes what stands behind `DCC` in a request to this node. Whatever is refused is refused
    /// without a word, so that nobody learns which ports are open; plain chat alone is told to people.
    pub fn handle_dcc(&mut self, network: NetworkNo, nick: &str, text: &str, now: Time) {
        let offer = match Offer::parse(text) {
            Ok(offer) => offer,
            Err(why) => return self.count(refused_as(why)),
        };
        let node = self.roll.node_of(network, nick);
        match offer.verb {
            Verb::Chat => return self.refuse_chat(network, nick, now),
            Verb::Schat => (),
        }
        let is_wanted = match node {
            Some(node) => self.is_wanted(node),
            None => self.settings.wants_strangers(),
        };
        if !is_wanted {
            return self.count("refused_stranger");
        }
        let is_linked = |dealing: &Dealing| dealing.state == State::Linked;
        let dealing = node.and_then(|node| self.dealings.get(&node));
        if dealing.is_some_and(is_linked) {
            return self.count("refused_linked");
        }
        if dealing.is_some_and(|dealing| dealing.unwanted_until > now) {
            return self.count("refused_unwanted");
        }
        match offer.way {
            Way::Active { port } => {
                let address = SocketAddr::new(offer.address, port);
                let rung = Rung::Answered;
                self.dial(network, (nick, node, rung), address, None, now);
            }
            Way::Answer { port, token } => {
                let address = SocketAddr::new(offer.address, port);
                self.handle_answer(network, nick, token, address, now);
            }
            Way::Passive { token } => {
                let attempt = Attempt {
                    node,
                    network,
                    nick: nick.to_owned(),
                    rung: Rung::Answered,
                    token: Some(token),
                    until: now + OFFER_MAX,
                };
                match self.begin_for_other(attempt, now) {
                    Some(attempt) => self.act(Act::Listen { attempt, network }),
                    None => self.count("refused_crowded"),
                }
            }
        }
    }

    fn handle_answer(
        &mut self,
        network: NetworkNo,
        nick: &str,
        token: Token,
        address: SocketAddr,
        now: Time,
    ) {
        let mut open = self.attempts.open.iter();
        let asked = open.find(|(_, attempt)| {
            attempt.rung == Rung::Passive
                && attempt.token == Some(token)
                && attempt.network == network
                && self.roll.is_same(network, &attempt.nick, nick)
        });
        let Some((number, attempt)) = asked.map(|(number, attempt)| (*number, attempt)) else {
            return self.count("refused_token");
        };
        let with = (nick, attempt.node, Rung::Passive);
        self.dial(network, with, address, Some(number), now);
    }

    /// Dials for an offer, where address and buckets allow it.
    fn dial(
        &mut self,
        network: NetworkNo,
        (nick, node, rung): (&str, Option<NodeId>, Rung),
        address: SocketAddr,
        asked: Option<AttemptNo>,
        now: Time,
    ) {
        if !self.may_dial(address.ip()) {
            return self.count("refused_address");
        }
        if !self.take_target(address.ip(), now) {
            return self.count("refused_target");
        }
        let number = match asked {
            Some(number) => {
                if let Some(attempt) = self.attempts.open.get_mut(&number) {
                    attempt.token = None;
                }
                Some(number)
            }
            None => {
                let attempt = Attempt {
                    node,
                    network,
                    nick: nick.to_owned(),
                    rung,
                    token: None,
                    until: now + OFFER_MAX,
                };
                self.begin_for_other(attempt, now)
            }
        };
        let Some(attempt) = number else {
            return self.count("refused_crowded");
        };
        self.count("dials");
        self.act(Act::Dial {
            attempt,
            network,
            address,
        });
    }

    fn begin_for_other(&mut self, attempt: Attempt, now: Time) -> Option<AttemptNo> {
        if self.dials.due_at(Self::DIALS_BURST, Self::DIAL_EVERY) > now {
            return None;
        }
        let begun = self.attempts.begin(attempt)?;
        self.dials.pay(Self::DIAL_EVERY, now);
        Some(begun)
    }

    /// Tells whether an address that somebody named may be dialled.
    pub fn may_dial(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_local = !address.is_unspecified() && !address.is_multicast();
        let is_broadcast = address == IpAddr::from([255, 255, 255, 255]);
        match self.settings.is_local_allowed {
            true => is_local && !is_broadcast,
            false => is_open(address) && !self.forbidden.contains(&address),
        }
    }

    /// Counts a dial of one address; false where others had it dialled often enough.
    fn take_target(&mut self, address: IpAddr, now: Time) -> bool {
        let (burst, every) = (Self::TARGET_BURST, Self::TARGET_EVERY);
        let address = target_of(address);
        self.targets.retain(|_, target| target.owes_until() > now);
        if self.targets.len() >= Self::TARGETS_MAX && !self.targets.contains_key(&address) {
            return false;
        }
        let target = self.targets.entry(address).or_default();
        let is_due = target.due_at(burst, every) <= now;
        if is_due {
            target.pay(every, now);
        }
        is_due
    }

    fn refuse_chat(&mut self, network: NetworkNo, nick: &str, now: Time) {
        self.count("refused_plain");
        let due_at = self
            .refusals
            .due_at(Self::REFUSALS_BURST, Self::REFUSAL_EVERY);
        if self.settings.mode == Mode::Dark || due_at > now {
            return;
        }
        self.refusals.pay(Self::REFUSAL_EVERY, now);
        let line = Line::say("NOTICE", nick, "\u{1}DCC REJECT CHAT chat\u{1}").ok();
        self.say(network, Urgency::Poll, line);
    }
}

/// Returns the address that dials are counted for: of IPv6 whole networks, as one customer has one.
fn target_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

fn refused_as(why: OfferError) -> &'static str {
    match why {
        OfferError::Verb => "refused_verb",
        OfferError::Words => "refused_words",
        OfferError::Address => "refused_address",
        OfferError::Port => "refused_port",
        OfferError::Token => "refused_token",
    }
}
