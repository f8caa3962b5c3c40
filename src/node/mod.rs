//! The composition of all stages. Pure: no clock, socket, file, task or random source.
//!
//! `Node::handle` takes one [`input::Input`], lets the stages decide, and leaves in an
//! [`output::Outbox`] what the world is asked for; legs it hands over at once. Stages do not know
//! each other; the files here carry values from one to the next:
//!
//! ```text
//! feeds    venue frames ─▶ books ─▶ quotes for peers, detection
//! clients  requests to venues ─▶ replies ─▶ orders, balances
//! detect   books ─▶ opportunity ─▶ gate and rights ─▶ legs, or a residual offer
//! desk     beside the venue: envelopes, fires, orders, paper
//! legs     plans and their legs, recovery, accounts
//! deals    matches: scatter, answer, gather, accept
//! exit     the open channel: what is announced, and what others announce
//! offers   own offers: what is left over, what can be pledged
//! peernet  whose nodes have signed one roster, and which of them speaks
//! mesh     links, messages, round trips
//! trains   probes, own and peers'; surveys: of a whole mesh
//! boot     what an earlier run left behind
//! owner    commands and answers
//! views    the node's state as reports; watch: spreads and why nothing is fired
//! ```

mod attestations;
mod books;
mod boot;
mod clients;
pub mod command;
mod deals;
mod desk;
mod detect;
mod exit;
mod feeds;
pub mod input;
mod legs;
mod mesh;
mod offers;
pub mod output;
mod owner;
mod peernet;
pub mod report;
mod strangers;
mod surveys;
mod trains;
mod views;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::book::Freshness;
use crate::config::checked::{Config, Trading};
use crate::execution::funds::Funds;
use crate::execution::order::Orders;
use crate::execution::paper::Paper;
use crate::execution::plan::Plans;
use crate::journal::owed::{Accounted, Owed};
use crate::journal::record::Record;
use crate::latency::clock::PeerClock;
use crate::membership::guests::Guests;
use crate::membership::links::{Known, Links};
use crate::membership::{Peer, Reach};
use crate::model::currency::Currency;
use crate::model::ids::{
    CommitNo, EnvelopeId, LinkNo, MatchId, NodeId, OfferId, OrderId, OwnerId, PlanId, RequestNo,
};
use crate::model::instrument::{Market, VenueId};
use crate::model::market::Rules;
use crate::model::offer::{Part, Tally};
use crate::model::random::Random;
use crate::model::time::{Deadline, Span, Time};
use crate::node::books::Books;
use crate::node::input::Input;
use crate::node::output::{Outbox, Output, Severity};
use crate::offer::hold::{HoldState, Holds};
use crate::offer::origin::Origins;
use crate::offer::relay::Relays;
use crate::risk::Switch;
use crate::risk::envelope::{Granted, Rights};
use crate::risk::gate::Gate;
use crate::telemetry::latency::Latency;
use crate::venue::{Card, Feed, OrderClient};
use crate::wire::link::Link;
use crate::wire::message::Message;

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    pub id: NodeId,
    pub owner: OwnerId,
    /// The node key (Ed25519, public).
    pub key: [u8; 32],
}

/// One running appliance.
#[derive(Debug)]
pub struct Node {
    me: Me,
    settings: Config,
    random: Random,
    incarnation: u64,
    booted: Time,
    numbers: Numbers,
    commits: Commits,
    phase: Phase,
    halted_because: Option<String>,
    /// The switch as the owner last set it; the gate's may be stricter while recovering.
    wanted_switch: Switch,
    freshness: Freshness,

    links: Links,
    guests: Guests,
    peers: BTreeMap<NodeId, PeerState>,
    link_peers: BTreeMap<LinkNo, NodeId>,

    venues: BTreeMap<VenueId, VenueState>,
    books: Books,
    scratch: feeds::Scratch,
    /// Reused while directions are looked at.
    directions: Vec<(Market, Market)>,

    gate: Gate,
    granted: Granted,
    /// Envelopes of an earlier run, until every order of theirs is accounted for.
    earlier_envelopes: Vec<EnvelopeId>,
    rights: Rights,
    funds: Funds,
    orders: Orders,
    /// The last list of orders asked of each venue; what an earlier one lacks says nothing.
    list_requests: BTreeMap<VenueId, RequestNo>,
    paper: Paper,
    plans: Plans,
    /// Legs of closed plans, by granter.
    accounted: Accounted,
    /// Counted matches of offers that an earlier run closed.
    earlier_counted: BTreeMap<(OfferId, NodeId, MatchId), (Currency, Part)>,
    windows: BTreeMap<(Market, Market), detect::Window>,

    origins: Origins,
    relays: Relays,
    holds: Holds,
    voice: exit::Voice,
    peernet: peernet::Peernet,
    cooldowns: BTreeMap<(Currency, Currency), Time>,

    transfers: VecDeque<(Time, desk::Moving)>,
    trains: trains::Trains,
    renew_at: Time,
    needs_renewal: bool,
    /// A plan has closed: what it left over is looked at again, though no book has changed.
    needs_detection: bool,
    totals: Totals,
    faults: Faults,
}

/// A peer and the link to it.
#[derive(Debug)]
struct PeerState {
    peer: Peer,
    /// The owner listed it; else it is a stranger that DCC brought.
    is_listed: bool,
    /// How it is linked, or was last.
    reach: Reach,
    /// Where the other end of a link by DCC is, or was.
    address: Option<IpAddr>,
    /// When it was linked, or lost its link.
    linked_at: Time,
    link: Link,
    /// The connection in use, once there is one.
    link_no: Option<LinkNo>,
    rtt: Latency,
    rtt_min: Option<Span>,
    last_rtt: Option<Span>,
    clock: PeerClock,
    watched: mesh::Watched,
    probe_at: Time,
    markets: Vec<(Market, Rules)>,
    /// It has sent as many orders as it may; no leg is asked of it before then.
    throttled_until: Time,
}

/// A venue beside this node.
#[derive(Debug)]
struct VenueState {
    feed: Box<dyn Feed>,
    /// Exists in live mode only.
    client: Option<Box<dyn OrderClient>>,
    card: Card,
    turn: clients::Turn,
    times: clients::OrderTimes,
    /// `Host` of requests.
    host: String,
    is_up: bool,
    heard_at: Time,
    /// When the feed wants to be tended next.
    tend_at: Option<Time>,
    account_at: Time,
    /// The account question on its way, and whether nothing was in flight when it left.
    account_asked: Option<RequestNo>,
    account_is_clean: bool,
    /// Set by the first answer: a key that may withdraw is refused.
    may_trade: bool,
    frames: u64,
    refused_frames: u64,
}

/// What the node counts.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub inputs: BTreeMap<&'static str, u64>,
    pub messages: BTreeMap<&'static str, u64>,
    pub opportunities: u64,
    pub taken: u64,
    pub skipped: BTreeMap<&'static str, u64>,
    /// Signed units, net of costs, that what was skipped would have earned, by reason and quote.
    pub missed: BTreeMap<(&'static str, Currency), i64>,
    pub legs_fired: u64,
    pub legs_filled: u64,
    pub legs_failed: u64,
    pub endings: BTreeMap<&'static str, u64>,
    pub slow_arms: u64,
    pub offers: u64,
    pub partial_matches: u64,
    pub aggregates: u64,
    pub fires_refused: BTreeMap<&'static str, u64>,
    /// Sums of closed plans and offers, by the currency they give.
    pub tallies: BTreeMap<Currency, Tally>,
    /// Signed units earned by closed plans.
    pub earned: BTreeMap<Currency, i64>,
}

/// Bugs that can be planted to prove that the simulator's checkers have teeth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub lost_acknowledgement: bool,
    pub double_accept: bool,
    pub late_hold: bool,
    pub envelope_reuse: bool,
    pub stale_book: bool,
}

/// Whether the node may trade yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Orders of an earlier run are being looked up.
    Reconciling,
    Running,
    /// Told to stop: legs under way come to their end, nothing new begins.
    Closing,
    /// The store failed: nothing but cancels.
    Failed,
}

/// Numbers that are never used twice, across runs.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    envelope: EnvelopeId,
    order: OrderId,
    plan: PlanId,
    matching: MatchId,
    request: RequestNo,
}

impl Numbers {
    fn from(first: u64) -> Self {
        Self {
            envelope: EnvelopeId(first),
            order: OrderId(first),
            plan: PlanId(first),
            matching: MatchId(first),
            request: RequestNo(1),
        }
    }
}

/// What is being made durable, and what waits for it.
#[derive(Clone, Debug, Default)]
struct Commits {
    last: CommitNo,
    durable: CommitNo,
    waiting: VecDeque<(CommitNo, NodeId, Message)>,
}

impl Commits {
    /// Messages that wait for the store; full means the store is stuck, and halts the node.
    const WAITING_MAX: usize = 8_192;
}

/// The commit of a life's first record, its number.
const BIRTH: CommitNo = CommitNo(1);
/// How often envelopes, silent feeds and transfers are looked after.
const RENEW_EVERY: Span = Span::millis(250);
/// Peers a node keeps, linked or not.
const PEERS_MAX: usize = 256;

impl Node {
    /// Makes a node from its configuration and what an earlier run owes.
    ///
    /// `clients` holds the live order client of every venue that may be traded live; it is empty
    /// in paper mode. `seed` is the node's only source of randomness.
    pub fn new(
        me: Me,
        settings: Config,
        owed: Owed,
        clients: BTreeMap<VenueId, Box<dyn OrderClient>>,
        seed: u64,
        now: Time,
        out: &mut Outbox,
    ) -> Self {
        let mut random = Random::new(seed);
        let links = Links::new(me.id, settings.membership.clone(), random.next_u64());
        let freshness = Freshness {
            book_age_max: settings.risk.book_age_max,
            engine_lag_max: settings.risk.engine_lag_max,
        };
        let incarnation = owed.incarnation + 1;
        let guests = Guests::new(usize::from(settings.membership.places));
        let mut node = Self {
            links,
            guests,
            random,
            incarnation,
            booted: now,
            numbers: Numbers::from(Owed::first_number(incarnation)),
            commits: Commits::default(),
            phase: Phase::Reconciling,
            halted_because: None,
            wanted_switch: Switch::Active,
            freshness,
            peers: BTreeMap::new(),
            link_peers: BTreeMap::new(),
            venues: BTreeMap::new(),
            books: Books::default(),
            scratch: feeds::Scratch::default(),
            directions: Vec::new(),
            gate: Gate::new(settings.risk.clone()),
            granted: Granted::default(),
            earlier_envelopes: Vec::new(),
            rights: Rights::default(),
            funds: Funds::default(),
            orders: Orders::new(&settings.execution),
            list_requests: BTreeMap::new(),
            paper: Paper::default(),
            plans: Plans::new(&settings.execution),
            accounted: Accounted::default(),
            earlier_counted: BTreeMap::new(),
            windows: BTreeMap::new(),
            origins: Origins::new(me.owner, settings.offer.clone()),
            relays: Relays::default(),
            holds: Holds::new(settings.offer.rails.clone()),
            voice: exit::Voice::default(),
            peernet: peernet::Peernet::new(&me, &owed.peernet, now),
            cooldowns: BTreeMap::new(),
            transfers: VecDeque::new(),
            trains: trains::Trains::default(),
            renew_at: now,
            needs_renewal: true,
            needs_detection: false,
            totals: Totals::default(),
            faults: Faults::default(),
            me,
            settings,
        };
        node.add_venues(clients, now);
        node.take_up(owed, now, out);
        node.take_seats(now, out);
        node.reserve_nonces(out, now);
        node.settle(now, out);
        node
    }

    /// Plants bugs, for the simulator's checkers to find.
    pub fn plant(&mut self, faults: Faults) {
        self.faults = faults;
        self.origins.plant(crate::offer::Faults {
            double_accept: faults.double_accept,
            late_hold: faults.late_hold,
        });
        self.holds.plant(crate::offer::Faults {
            double_accept: faults.double_accept,
            late_hold: faults.late_hold,
        });
        self.granted.plant(crate::risk::envelope::Faults {
            reuse_ids: faults.envelope_reuse,
        });
        self.rights.plant(crate::risk::envelope::Faults {
            reuse_ids: faults.envelope_reuse,
        });
        if faults.stale_book {
            self.freshness.book_age_max = Span(u64::MAX);
        }
        for peer in self.peers.values_mut() {
            peer.link.plant(crate::wire::link::Faults {
                forget_at_reconnect: faults.lost_acknowledgement,
            });
        }
    }

    /// Takes one event and leaves in `out` what the world is asked for.
    pub fn handle(&mut self, input: Input<'_>, now: Time, out: &mut Outbox) {
        let name = input.name();
        let fired = self.totals.legs_fired;
        let mut paced = None;
        match input {
            Input::FeedUp { venue } => self.handle_feed_up(venue, now, out),
            Input::FeedDown { venue } => self.handle_feed_down(venue, now, out),
            Input::FeedFrame { venue, bytes } => self.handle_feed_frame(venue, bytes, now, out),
            Input::VenueReply {
                venue,
                request,
                asked,
                outcome,
            } => self.handle_venue_reply(venue, request, asked, outcome, now, out),
            Input::LinkUp {
                peer,
                link,
                direction,
            } => self.handle_link_up(peer, link, direction, now, out),
            Input::Met {
                peer,
                address,
                link,
                direction,
            } => self.handle_met(peer, address, (link, direction), now, out),
            Input::Announced { announced } => self.handle_announced(&announced, now, out),
            Input::OnChannel { since, may_speak } => {
                self.handle_on_channel((since, may_speak), now, out);
            }
            Input::RosterWanted {
                from,
                peernet,
                after,
            } => self.want_roster(from, peernet, after, out),
            Input::LinkDown { link } => self.links.handle_down(link, now),
            Input::DialFailed { peer } => self.links.handle_dial_failed(peer, now),
            Input::LinkStream { link, bytes } => self.handle_link_stream(link, bytes, now, out),
            Input::LinkDatagram { link, bytes } => self.handle_datagram(link, bytes, now, out),
            Input::Committed { commit } => self.handle_committed(commit, now, out),
            Input::StoreFailed { why } => self.handle_store_failed(why, now, out),
            Input::Command { number, command } => self.handle_command(number, command, now, out),
            Input::CommandGone { number } => self.handle_command_gone(number),
            Input::Paced { train } => paced = Some(train),
            Input::PaceOver { train, late } => self.handle_pace_over(train, late),
            Input::ProbeRefused { train, number } => self.handle_probe_refused(train, number),
            Input::PathCounted { train, count } => self.handle_path_counted(train, count, out),
            Input::Worked { work, key, bytes } => self.handle_worked(work, key, bytes, now, out),
            Input::Deadline => self.handle_deadline(now, out),
        }
        *self.totals.inputs.entry(name).or_default() += 1;
        self.settle(now, out);
        if let Some(train) = paced {
            let has_fired = self.totals.legs_fired > fired;
            self.send_probes(train, has_fired, now, out);
        }
    }

    /// Returns when to call `handle(Input::Deadline)`, and why.
    pub fn deadline(&self) -> Option<Deadline> {
        let mut next = Some(Deadline {
            at: self.renew_at,
            why: "renew",
        });
        let links = self.links.deadline().filter(|_| self.is_born());
        for other in [
            links,
            self.orders.deadline(),
            self.paper.deadline(),
            self.plans.deadline(),
            self.origins.deadline(),
            self.relays.deadline(),
            self.holds.deadline(),
            self.feeds_deadline(),
            self.mesh_deadline(),
            self.guests_deadline(),
            self.voice.deadline(),
            self.peernet_deadline(),
            self.trains_deadline(),
        ] {
            next = Deadline::earlier(next, other);
        }
        next
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    pub fn id(&self) -> NodeId {
        self.me.id
    }

    pub fn owner(&self) -> OwnerId {
        self.me.owner
    }

    /// Returns true while no leg is under way and no match waits for its seal.
    pub fn is_at_rest(&self) -> bool {
        let mut holds = self.holds.open();
        let is_bound = holds.any(|hold| hold.state == HoldState::Confirmed);
        self.phase == Phase::Reconciling
            || self.phase == Phase::Failed
            || self.plans.iter().next().is_none()
                && self.orders.open().next().is_none()
                && self.origins.open().next().is_none()
                && !is_bound
    }

    pub fn plans(&self) -> &Plans {
        &self.plans
    }

    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    pub fn relays(&self) -> &Relays {
        &self.relays
    }

    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    pub fn granted(&self) -> &Granted {
        &self.granted
    }

    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    pub fn funds(&self) -> &Funds {
        &self.funds
    }

    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Returns what every link has carried; see `Link::counts`.
    pub fn link_counts(&self) -> impl Iterator<Item = (NodeId, (u64, u64, u64))> + '_ {
        self.peers
            .iter()
            .filter(|(_, peer)| peer.link.is_ready())
            .map(|(id, peer)| (*id, peer.link.counts()))
    }

    /// Returns how many peers are linked and understood.
    pub fn links_ready(&self) -> usize {
        let peers = self.peers.values();
        peers.filter(|peer| peer.link.is_ready()).count()
    }

    /// Returns true once every order of an earlier run is accounted for.
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Tells whether a node is known here, listed or not.
    pub fn knows(&self, id: NodeId) -> bool {
        self.peers.contains_key(&id)
    }

    /// Adds a listed peer.
    pub fn add_peer(&mut self, peer: Peer, now: Time) -> bool {
        self.seat(&peer, now);
        self.add(peer, Known::LISTED, now)
    }

    fn add_stranger(&mut self, peer: Peer, now: Time) -> bool {
        let known = Known {
            is_dialable: !peer.addresses.is_empty(),
            is_guest: true,
        };
        self.add(peer, known, now)
    }

    fn add(&mut self, peer: Peer, known: Known, now: Time) -> bool {
        if self.peers.len() >= PEERS_MAX || peer.id == self.me.id {
            return false;
        }
        self.links.add(peer.id, known, now);
        let mut link = Link::new(self.incarnation);
        link.plant(crate::wire::link::Faults {
            forget_at_reconnect: self.faults.lost_acknowledgement,
        });
        self.peers.insert(
            peer.id,
            PeerState {
                peer,
                is_listed: !known.is_guest,
                reach: Reach::Quic,
                address: None,
                linked_at: now,
                link,
                link_no: None,
                rtt: Latency::default(),
                rtt_min: None,
                last_rtt: None,
                clock: PeerClock::default(),
                watched: mesh::Watched::default(),
                probe_at: now,
                markets: Vec::new(),
                throttled_until: Time::ZERO,
            },
        );
        true
    }

    /// Returns true once this life's number is on disk. Before that no peer hears it: a crash could
    /// give the same number to the next life.
    pub fn is_born(&self) -> bool {
        self.commits.durable >= BIRTH
    }

    fn is_paper(&self) -> bool {
        self.settings.trading == Trading::Paper
    }

    fn handle_deadline(&mut self, now: Time, out: &mut Outbox) {
        if self.is_born() {
            self.links.handle_deadline(now);
        }
        self.orders.handle_deadline(now);
        self.arrive_paper_orders(now);
        self.plans.handle_deadline(now);
        self.holds.handle_deadline(now);
        let peers = self.askable_peers();
        let sayings = self.origins.handle_deadline(&peers, now);
        self.say_all(sayings, now, out);
        self.tend_peernet(now, out);
        self.announce_due(now, out);
        self.tend_inquiries(now, out);
        self.tend_feeds(now, out);
        self.tend_links(now, out);
        self.tend_trains(now, out);
        if self.renew_at <= now {
            self.renew_at = now + RENEW_EVERY;
            self.needs_renewal = true;
            self.tend_desk(now, out);
        }
    }

    /// Carries what one stage gave to the next, until all are quiet.
    fn settle(&mut self, now: Time, out: &mut Outbox) {
        loop {
            let mut moved = self.drain_links(now, out);
            moved |= self.tend_guests(now, out);
            moved |= self.drain_orders(now, out);
            moved |= self.drain_plans(now, out);
            moved |= self.drain_deals(now, out);
            if moved {
                continue;
            }
            if self.phase == Phase::Reconciling {
                self.finish_reconciling(now, out);
            }
            if self.phase == Phase::Closing && self.is_at_rest() {
                // The next run then has nothing to look up.
                self.revoke_envelopes(out, now);
            }
            if self.needs_renewal {
                self.needs_renewal = false;
                self.renew_envelopes(now, out);
                continue;
            }
            if self.needs_detection {
                self.needs_detection = false;
                self.detect_all(now, out);
                continue;
            }
            break;
        }
    }

    /// Journals a record; returns the commit that makes it durable.
    fn journal(&mut self, record: &Record, out: &mut Outbox) -> CommitNo {
        self.commits.last = self.commits.last.next();
        let commit = self.commits.last;
        let bytes = out.write(|arena| record.encode(arena));
        out.push(Output::Journal { commit, bytes });
        commit
    }

    /// Sends a message once a commit is durable.
    fn send_after(
        &mut self,
        commit: CommitNo,
        to: NodeId,
        message: Message,
        now: Time,
        out: &mut Outbox,
    ) {
        if self.commits.waiting.len() >= Commits::WAITING_MAX {
            self.handle_store_failed("the store does not keep up", now, out);
            return;
        }
        self.commits.waiting.push_back((commit, to, message));
    }

    fn handle_committed(&mut self, commit: CommitNo, now: Time, out: &mut Outbox) {
        self.commits.durable = self.commits.durable.max(commit);
        while let Some((waits, ..)) = self.commits.waiting.front() {
            if *waits > self.commits.durable {
                break;
            }
            if let Some((_, to, message)) = self.commits.waiting.pop_front() {
                self.send(to, &message, now, out);
            }
        }
        self.handle_peernet_durable(now, out);
        self.speak_durable(now, out);
        self.arm_committed(now, out);
        self.grant_nonces(now, out);
    }

    fn handle_store_failed(&mut self, why: &str, now: Time, out: &mut Outbox) {
        if self.phase == Phase::Failed {
            return;
        }
        self.phase = Phase::Failed;
        self.halted_because = Some(format!("store: {why}"));
        self.gate.set_switch(Switch::Halt);
        self.orders.cancel_all(now);
        self.revoke_envelopes(out, now);
        notice(
            out,
            Severity::Error,
            &format!(
                "halted: the store cannot write: {why}; free space or mend the disk, then restart"
            ),
        );
    }
}

fn notice(out: &mut Outbox, severity: Severity, text: &str) {
    let bytes = out.bytes(text.as_bytes());
    out.push(Output::Notice { severity, bytes });
}
