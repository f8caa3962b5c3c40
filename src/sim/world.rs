//! The event queue: every input of every node, in time order.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use crate::journal::owed::Owed;
use crate::journal::record::Record;
use crate::membership::{Direction, Peer};
use crate::model::currency::Currency;
use crate::model::ids::{CommandNo, CommitNo, LinkNo, NodeId, Pin, RequestNo};
use crate::model::instrument::VenueId;
use crate::model::number::{Price, Quantity};
use crate::model::offer::{Asking, Line};
use crate::model::random::Random;
use crate::model::time::{Span, Time};
use crate::node::input::{Command, Input, Outcome};
use crate::node::output::{Bytes, Outbox, Output};
use crate::node::{Faults as Bugs, Me, Node};
use crate::offer::hold::HoldState;
use crate::risk::Switch;
use crate::sim::Report;
use crate::sim::checker::Checker;
use crate::sim::market::{Market, Pushed, WAY, credentials};
use crate::sim::network::Network;
use crate::sim::scenario::{FaultRates, Scenario, Topology};
use crate::sim::tally::Tallies;
use crate::venue::{Asked, OrderClient, Server, Setup, StreamNo, registry};
use crate::wire::message::Message;

/// A node, alive or dead, with its disk.
#[derive(Debug)]
pub(super) struct Host {
    pub node: Option<Node>,
    /// Counts lives: events of an earlier one are void.
    life: u32,
    wake_at: Time,
    /// What survives a crash.
    pub disk: Vec<Vec<u8>>,
    writing: VecDeque<(Time, CommitNo, Vec<u8>)>,
    written: CommitNo,
}

/// Something that happens.
#[derive(Debug)]
enum Event {
    Wake {
        host: usize,
        life: u32,
    },
    Written {
        host: usize,
        life: u32,
    },
    Dialled {
        from: usize,
        to: usize,
        life: u32,
    },
    Up {
        host: usize,
        life: u32,
        link: LinkNo,
        peer: usize,
        direction: Direction,
    },
    Down {
        host: usize,
        link: LinkNo,
    },
    Stream {
        to: usize,
        link: LinkNo,
        bytes: Vec<u8>,
    },
    Datagram {
        to: usize,
        link: LinkNo,
        bytes: Vec<u8>,
    },
    VenueDue {
        venue: usize,
    },
    FeedUp {
        host: usize,
        life: u32,
        venue: usize,
    },
    FeedFrame {
        host: usize,
        venue: usize,
        stream: StreamNo,
        bytes: Vec<u8>,
    },
    ToVenue {
        venue: usize,
        host: usize,
        bytes: Vec<u8>,
    },
    Request {
        venue: usize,
        host: usize,
        life: u32,
        request: RequestNo,
        asked: Asked,
        bytes: Vec<u8>,
    },
    Reply {
        venue: usize,
        host: usize,
        life: u32,
        request: RequestNo,
        asked: Asked,
        answer: Option<(u16, Vec<u8>)>,
    },
    NotSent {
        venue: usize,
        host: usize,
        life: u32,
        request: RequestNo,
        asked: Asked,
    },
    Restart {
        host: usize,
    },
    Fault(FaultKind),
    OfferByHand,
    Calm,
    End,
}

#[derive(Clone, Copy, Debug)]
enum FaultKind {
    Disconnect,
    Partition,
    Crash,
    Stall,
}

struct Scheduled {
    at: Time,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// A running world.
pub(super) struct World {
    scenario: Scenario,
    bugs: Bugs,
    now: Time,
    begins: Time,
    random: Random,
    rates: FaultRates,
    events: BinaryHeap<Scheduled>,
    scheduled: u64,
    pub hosts: Vec<Host>,
    by_id: BTreeMap<NodeId, usize>,
    network: Network,
    pub markets: Vec<Market>,
    by_venue: BTreeMap<VenueId, usize>,
    next_stream: u64,
    outbox: Outbox,
    checker: Checker,
    tallies: Tallies,
    trace: u64,
    is_calm: bool,
    is_over: bool,
    story: Vec<String>,
}

/// Lines of a story; a longer one ends there.
const STORY_LINES_MAX: usize = 1_000_000;
/// Steps after which a world is taken for stuck.
const STEPS_MAX: u64 = 20_000_000;

impl World {
    pub(super) fn new(scenario: &Scenario, bugs: Bugs) -> Self {
        let mut random = Random::new(scenario.seed);
        // A day of its own, so that limits by day see one day only.
        let begins = Time(1_750_000_000 * 1_000_000_000);
        let markets: Vec<Market> = scenario
            .venues
            .iter()
            .filter_map(|plan| Market::new(plan, scenario, &mut random))
            .collect();
        let by_venue = markets
            .iter()
            .enumerate()
            .map(|(at, one)| (one.id, at))
            .collect();
        let hosts = scenario.nodes.iter().map(|_| Host::new()).collect();
        let by_id = scenario
            .nodes
            .iter()
            .enumerate()
            .map(|(at, plan)| (plan.id, at))
            .collect();
        let mut world = Self {
            scenario: scenario.clone(),
            bugs,
            now: begins,
            begins,
            rates: scenario.faults,
            events: BinaryHeap::new(),
            scheduled: 0,
            hosts,
            by_id,
            network: Network::new(),
            markets,
            by_venue,
            next_stream: 1,
            outbox: Outbox::new(),
            checker: Checker::new(scenario),
            tallies: Tallies::default(),
            trace: 0xCBF2_9CE4_8422_2325,
            is_calm: false,
            is_over: false,
            story: Vec::new(),
            random: random.fork(),
        };
        world.set_up();
        world
    }

    pub(super) fn run(&mut self) {
        while let Some(next) = self.events.pop() {
            self.now = next.at;
            self.tallies.steps += 1;
            self.happen(next.event);
            if self.is_over || self.checker.is_full() || self.tallies.steps > STEPS_MAX {
                break;
            }
        }
        if self.tallies.steps > STEPS_MAX {
            self.checker
                .violate(self.now, "the world never comes to rest".to_owned());
        }
        if !self.checker.is_full() {
            self.checker
                .check_quiet(&self.hosts, &self.markets, self.now);
        }
        for at in 0..self.hosts.len() {
            self.collect(at);
        }
        self.tallies.sim_seconds = self.now.since(self.begins).as_millis() / 1_000;
        for market in &self.markets {
            for (name, count) in market.server.fault_counts() {
                *self.tallies.faults.entry(name).or_default() += count;
            }
        }
    }

    pub(super) fn into_report(self, seed: u64) -> Report {
        Report {
            seed,
            violations: self.checker.into_violations(),
            tallies: self.tallies,
            trace: self.trace,
            story: self.story,
        }
    }

    fn set_up(&mut self) {
        let count = self.hosts.len();
        for one in 0..count {
            for other in one + 1..count {
                let linked = match self.scenario.topology {
                    Topology::Line => other == one + 1,
                    Topology::Mesh => true,
                };
                if linked {
                    let way = Span::micros(self.random.between(300, 40_000));
                    self.network.set_way(one, other, way);
                }
            }
        }
        for venue in 0..self.markets.len() {
            self.schedule(Span::ZERO, Event::VenueDue { venue });
        }
        for host in 0..count {
            self.start(host);
        }
        for kind in [
            FaultKind::Disconnect,
            FaultKind::Partition,
            FaultKind::Crash,
            FaultKind::Stall,
        ] {
            self.schedule_fault(kind);
        }
        for _ in 0..self.scenario.offers_by_hand {
            let at = Span(self.random.below(self.scenario.busy.0));
            self.schedule(at, Event::OfferByHand);
        }
        self.schedule(self.scenario.busy, Event::Calm);
        let end = self.scenario.busy + self.scenario.calm;
        self.schedule(end, Event::End);
    }

    fn schedule(&mut self, wait: Span, event: Event) {
        self.schedule_at(self.now + wait, event);
    }

    fn schedule_at(&mut self, at: Time, event: Event) {
        self.scheduled += 1;
        self.events.push(Scheduled {
            at,
            order: self.scheduled,
            event,
        });
    }

    fn schedule_fault(&mut self, kind: FaultKind) {
        let every = match kind {
            FaultKind::Disconnect => self.rates.disconnect_every,
            FaultKind::Partition => self.rates.partition_every,
            FaultKind::Crash => self.rates.crash_every,
            FaultKind::Stall => self.rates.stall_every,
        };
        if every.0 > 0 && !self.is_calm {
            let wait = Span(self.random.between(1, every.0 * 2));
            self.schedule(wait, Event::Fault(kind));
        }
    }

    /// Boots a node from what its disk holds.
    fn start(&mut self, host: usize) {
        let plan = self.scenario.nodes[host].clone();
        let bodies = self.hosts[host].disk.iter().map(Vec::as_slice);
        let owed = match Owed::replay(bodies) {
            Ok(owed) => owed,
            Err((number, why)) => {
                let text = format!("{}: record {number} does not read: {why}", plan.id);
                self.checker.violate(self.now, text);
                return;
            }
        };
        self.tell_line(host, "boots");
        let me = Me {
            id: plan.id,
            owner: plan.owner,
        };
        let clients = plan
            .config
            .venues
            .iter()
            .filter_map(|venue| {
                let dialect = registry::find(&venue.dialect)?;
                let setup = Setup {
                    venue: venue.id,
                    host: venue.id.to_string(),
                    pairs: venue.pairs.clone(),
                };
                Some((venue.id, dialect.order_client(&setup, credentials(plan.id))))
            })
            .collect::<BTreeMap<VenueId, Box<dyn OrderClient>>>();
        let seed = self.random.next_u64();
        let mut outbox = std::mem::take(&mut self.outbox);
        outbox.clear();
        let mut node = Node::new(
            me,
            plan.config.clone(),
            owed,
            clients,
            seed,
            self.now,
            &mut outbox,
        );
        node.plant(self.bugs);
        for other in 0..self.hosts.len() {
            if self.network.way(host, other).is_some() {
                node.add_peer(self.peer(host, other), self.now);
            }
        }
        self.hosts[host].life += 1;
        self.hosts[host].written = CommitNo(0);
        self.hosts[host].node = Some(node);
        self.carry_out(host, &outbox);
        self.outbox = outbox;
        let life = self.hosts[host].life;
        for venue in &plan.config.venues {
            if let Some(venue) = self.by_venue.get(&venue.id).copied() {
                self.schedule(Span::millis(1), Event::FeedUp { host, life, venue });
            }
        }
        self.rearm(host);
    }

    fn peer(&self, of: usize, other: usize) -> Peer {
        let plan = &self.scenario.nodes[other];
        let is_own = plan.owner == self.scenario.nodes[of].owner;
        Peer {
            id: plan.id,
            pin: Pin([u8::try_from(other + 1).unwrap_or(u8::MAX); 32]),
            knock: [0; 32],
            owner: plan.owner,
            name: plan.config.name.clone(),
            addresses: Vec::new(),
            trust: if is_own { 10 } else { plan.trust },
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { host, life } => {
                if self.is_alive(host, life) && self.hosts[host].wake_at <= self.now {
                    self.hosts[host].wake_at = Time::MAX;
                    self.step(host, Input::Deadline);
                }
            }
            Event::Written { host, life } => self.handle_written(host, life),
            Event::Dialled { from, to, life } => self.handle_dialled(from, to, life),
            Event::Up {
                host,
                life,
                link,
                peer,
                direction,
            } => {
                if self.is_alive(host, life) && self.network.get(link).is_some() {
                    let peer = self.scenario.nodes[peer].id;
                    self.step(
                        host,
                        Input::LinkUp {
                            peer,
                            link,
                            direction,
                        },
                    );
                }
            }
            Event::Down { host, link } => self.step(host, Input::LinkDown { link }),
            Event::Stream { to, link, bytes } => {
                if self.network.get(link).is_some() {
                    self.step(
                        to,
                        Input::LinkStream {
                            link,
                            bytes: &bytes,
                        },
                    );
                }
            }
            Event::Datagram { to, link, bytes } => {
                if self.network.get(link).is_some() {
                    self.step(
                        to,
                        Input::LinkDatagram {
                            link,
                            bytes: &bytes,
                        },
                    );
                }
            }
            Event::VenueDue { venue } => self.handle_venue_due(venue),
            Event::FeedUp { host, life, venue } => self.handle_feed_up(host, life, venue),
            Event::FeedFrame {
                host,
                venue,
                stream,
                bytes,
            } => {
                if self.markets[venue].streams.contains_key(&stream) {
                    self.checker
                        .handle_frame(host, self.markets[venue].id, self.now);
                    let venue = self.markets[venue].id;
                    self.step(
                        host,
                        Input::FeedFrame {
                            venue,
                            bytes: &bytes,
                        },
                    );
                }
            }
            Event::ToVenue { venue, host, bytes } => self.handle_to_venue(venue, host, &bytes),
            Event::Request {
                venue,
                host,
                life,
                request,
                asked,
                bytes,
            } => {
                self.handle_request(venue, (host, life), request, asked, &bytes);
            }
            Event::Reply {
                venue,
                host,
                life,
                request,
                asked,
                answer,
            } => {
                if self.is_alive(host, life) {
                    let outcome = match &answer {
                        Some((status, body)) => Outcome::Reply {
                            status: *status,
                            body,
                        },
                        None => Outcome::Lost,
                    };
                    let venue = self.markets[venue].id;
                    self.step(
                        host,
                        Input::VenueReply {
                            venue,
                            request,
                            asked,
                            outcome,
                        },
                    );
                }
            }
            Event::NotSent {
                venue,
                host,
                life,
                request,
                asked,
            } => {
                if self.is_alive(host, life) {
                    let venue = self.markets[venue].id;
                    let outcome = Outcome::NotSent;
                    self.step(
                        host,
                        Input::VenueReply {
                            venue,
                            request,
                            asked,
                            outcome,
                        },
                    );
                }
            }
            Event::Restart { host } => {
                if self.hosts[host].node.is_none() {
                    self.start(host);
                }
            }
            Event::Fault(kind) => self.strike(kind),
            Event::OfferByHand => self.offer_by_hand(),
            Event::Calm => self.calm_down(),
            Event::End => self.is_over = true,
        }
    }

    fn is_alive(&self, host: usize, life: u32) -> bool {
        self.hosts[host].node.is_some() && self.hosts[host].life == life
    }

    /// Hands one input to a node, carries out what it asks for, and checks every invariant.
    fn step(&mut self, host: usize, input: Input<'_>) {
        let Some(node) = self.hosts[host].node.as_mut() else {
            return;
        };
        let mut outbox = std::mem::take(&mut self.outbox);
        outbox.clear();
        node.handle(input, self.now, &mut outbox);
        self.carry_out(host, &outbox);
        self.outbox = outbox;
        if let Some(node) = self.hosts[host].node.as_ref() {
            self.checker.check_node(host, node, self.now);
        }
        self.approve_by_hand(host);
        self.rearm(host);
    }

    fn rearm(&mut self, host: usize) {
        let Some(node) = self.hosts[host].node.as_ref() else {
            return;
        };
        let Some(deadline) = node.deadline() else {
            return;
        };
        let at = deadline.at.max(Time(self.now.0 + 1_000));
        if at < self.hosts[host].wake_at {
            self.hosts[host].wake_at = at;
            let life = self.hosts[host].life;
            self.schedule_at(at, Event::Wake { host, life });
        }
    }

    fn carry_out(&mut self, host: usize, outbox: &Outbox) {
        for output in outbox.outputs() {
            self.digest(host, output, outbox);
            if self.scenario.tells {
                self.tell(host, output, outbox);
            }
            match *output {
                Output::Dial { peer } => self.dial(host, peer),
                Output::CloseLink { link } => self.close_link(link),
                Output::LinkStream { link, bytes } => {
                    self.send_stream(host, link, outbox.read(bytes))
                }
                Output::LinkDatagram { link, bytes } => {
                    self.send_datagram(host, link, outbox.read(bytes));
                }
                Output::VenueFrame { venue, bytes } => {
                    if let Some(venue) = self.by_venue.get(&venue).copied() {
                        let bytes = outbox.read(bytes).to_vec();
                        self.schedule(WAY, Event::ToVenue { venue, host, bytes });
                    }
                }
                Output::VenueReconnect { venue } => {
                    if let Some(venue) = self.by_venue.get(&venue).copied() {
                        self.drop_feed(host, venue);
                    }
                }
                Output::VenueRequest {
                    venue,
                    request,
                    asked,
                    bytes,
                } => {
                    self.send_request(host, venue, request, asked, outbox.read(bytes));
                }
                Output::Journal { commit, bytes } => self.write(host, commit, outbox.read(bytes)),
                Output::Transfer { .. } | Output::Answer { .. } | Output::Notice { .. } => (),
            }
        }
    }

    /// Adds an output to the story.
    fn tell(&mut self, host: usize, output: &Output, outbox: &Outbox) {
        let text = match output {
            Output::LinkStream { link, bytes } => {
                let frame = outbox.read(*bytes);
                let body = match frame.first() {
                    Some(2) => frame.get(9..),
                    Some(3) => frame.get(1..),
                    _ => None,
                };
                let Some(message) = body.and_then(|body| Message::decode(body).ok()) else {
                    return;
                };
                format!("on link {link}: {message:?}")
            }
            Output::Journal { commit, bytes } => {
                format!(
                    "journals {commit}: {:?}",
                    Record::decode(outbox.read(*bytes))
                )
            }
            Output::VenueRequest { asked, .. } => format!("asks a venue: {asked:?}"),
            Output::Notice { bytes, .. } => {
                String::from_utf8_lossy(outbox.read(*bytes)).into_owned()
            }
            Output::Dial { .. }
            | Output::CloseLink { .. }
            | Output::LinkDatagram { .. }
            | Output::VenueFrame { .. }
            | Output::VenueReconnect { .. }
            | Output::Answer { .. }
            | Output::Transfer { .. } => return,
        };
        self.tell_line(host, &text);
    }

    fn tell_line(&mut self, host: usize, text: &str) {
        if self.scenario.tells && self.story.len() < STORY_LINES_MAX {
            let at = self.now.since(self.begins).as_micros();
            self.story.push(format!("{at:>12} node {host} {text}"));
        }
    }

    /// Folds an output into the trace.
    fn digest(&mut self, host: usize, output: &Output, outbox: &Outbox) {
        let bytes: Option<Bytes> = match output {
            Output::LinkStream { bytes, .. }
            | Output::LinkDatagram { bytes, .. }
            | Output::VenueFrame { bytes, .. }
            | Output::VenueRequest { bytes, .. }
            | Output::Journal { bytes, .. }
            | Output::Answer { bytes, .. }
            | Output::Notice { bytes, .. } => Some(*bytes),
            Output::Dial { .. }
            | Output::CloseLink { .. }
            | Output::VenueReconnect { .. }
            | Output::Transfer { .. } => None,
        };
        let mut fold = |byte: u8| {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        };
        for byte in self.now.0.to_le_bytes() {
            fold(byte);
        }
        fold(u8::try_from(host).unwrap_or(u8::MAX));
        for byte in bytes.map_or(&[][..], |bytes| outbox.read(bytes)) {
            fold(*byte);
        }
    }

    fn write(&mut self, host: usize, commit: CommitNo, body: &[u8]) {
        let wait = Span::micros(self.random.between(200, 8_000));
        let last = self.hosts[host]
            .writing
            .back()
            .map_or(self.now, |(at, ..)| *at);
        let at = (self.now + wait).max(last);
        let life = self.hosts[host].life;
        self.hosts[host]
            .writing
            .push_back((at, commit, body.to_vec()));
        self.schedule_at(at, Event::Written { host, life });
    }

    fn handle_written(&mut self, host: usize, life: u32) {
        if !self.is_alive(host, life) {
            return;
        }
        let mut newest = None;
        while let Some((at, ..)) = self.hosts[host].writing.front() {
            if *at > self.now {
                break;
            }
            if let Some((_, commit, body)) = self.hosts[host].writing.pop_front() {
                self.checker.handle_record(host, &body);
                self.hosts[host].disk.push(body);
                newest = Some(commit);
            }
        }
        if let Some(commit) = newest.filter(|commit| *commit > self.hosts[host].written) {
            self.hosts[host].written = commit;
            self.step(host, Input::Committed { commit });
        }
    }

    fn dial(&mut self, from: usize, peer: NodeId) {
        let life = self.hosts[from].life;
        if let Some(to) = self.by_id.get(&peer).copied() {
            let way = self.network.way(from, to).unwrap_or(Span::SECOND);
            self.schedule(way.times(3), Event::Dialled { from, to, life });
        }
    }

    fn handle_dialled(&mut self, from: usize, to: usize, life: u32) {
        if !self.is_alive(from, life) {
            return;
        }
        let is_reachable =
            self.hosts[to].node.is_some() && !self.network.is_cut(from, to, self.now);
        let link = if is_reachable {
            self.network.connect(from, to, self.now)
        } else {
            None
        };
        let Some(link) = link else {
            let peer = self.scenario.nodes[to].id;
            self.tallies.fault("dial-failed");
            self.step(from, Input::DialFailed { peer });
            return;
        };
        let there = self.hosts[to].life;
        let wait = Span::micros(self.random.between(0, 2_000));
        self.network.hold_back(link, self.now + wait);
        self.schedule(
            Span::ZERO,
            Event::Up {
                host: to,
                life: there,
                link,
                peer: from,
                direction: Direction::Accepted,
            },
        );
        self.schedule(
            wait,
            Event::Up {
                host: from,
                life,
                link,
                peer: to,
                direction: Direction::Dialled,
            },
        );
    }

    fn close_link(&mut self, link: LinkNo) {
        let Some(connection) = self.network.close(link) else {
            return;
        };
        for host in [connection.dialler, connection.listener] {
            let wait = Span::micros(self.random.between(1, 1_000));
            self.schedule(wait, Event::Down { host, link });
        }
    }

    fn send_stream(&mut self, host: usize, link: LinkNo, bytes: &[u8]) {
        self.cut_at_confirm(link, bytes);
        if let Some((to, at)) = self.network.stream(link, host, self.now, &mut self.random) {
            let bytes = bytes.to_vec();
            self.schedule_at(at, Event::Stream { to, link, bytes });
        }
    }

    /// Cuts a link just as a matcher confirms: the moment at which both ends know least.
    fn cut_at_confirm(&mut self, link: LinkNo, bytes: &[u8]) {
        const SEQUENCED: u8 = 2;
        const CONFIRM: u8 = 15;
        let is_confirm = bytes.first() == Some(&SEQUENCED) && bytes.get(9) == Some(&CONFIRM);
        if !is_confirm || !self.random.chance(self.rates.cut_at_confirm_ppm) {
            return;
        }
        if let Some(connection) = self.network.get(link) {
            self.tallies.fault("cut-at-confirm");
            let until = self.now + Span::millis(self.random.between(6_000, 40_000));
            let (one, other) = (connection.dialler, connection.listener);
            self.network.cut(one, other, until);
            self.close_link(link);
        }
    }

    fn send_datagram(&mut self, host: usize, link: LinkNo, bytes: &[u8]) {
        let Some(connection) = self.network.get(link) else {
            return;
        };
        let to = if connection.dialler == host {
            connection.listener
        } else {
            connection.dialler
        };
        if self.random.chance(self.rates.datagram_lost_ppm) {
            self.tallies.fault("datagram-lost");
            return;
        }
        let way = self.network.way(host, to).unwrap_or(Span::MILLI);
        let copies = if self.random.chance(self.rates.datagram_doubled_ppm) {
            self.tallies.fault("datagram-doubled");
            2
        } else {
            1
        };
        for _ in 0..copies {
            let jitter = Span(self.random.below(way.0 + 1));
            if jitter.0 > way.0 / 2 {
                self.tallies.fault("datagram-late");
            }
            let bytes = bytes.to_vec();
            self.schedule(way + jitter, Event::Datagram { to, link, bytes });
        }
    }

    fn handle_venue_due(&mut self, venue: usize) {
        if self.is_calm {
            return;
        }
        let market = &self.markets[venue];
        if market.deadline.is_some_and(|at| at > self.now) {
            return;
        }
        self.advance_venue(venue);
    }

    fn advance_venue(&mut self, venue: usize) {
        let now = self.now;
        let pushed = self.markets[venue].advance(now);
        self.deliver(venue, pushed);
        if let Some(at) = self.markets[venue].deadline {
            let at = at.max(Time(now.0 + 1_000));
            self.markets[venue].deadline = Some(at);
            self.schedule_at(at, Event::VenueDue { venue });
        }
    }

    fn deliver(&mut self, venue: usize, pushed: Pushed) {
        for (stream, bytes) in pushed.frames {
            let market = &mut self.markets[venue];
            let Some(host) = market.streams.get(&stream).copied() else {
                continue;
            };
            let held = market.stalled.get(&host).copied().unwrap_or(self.now);
            let last = market.last_arrival.get(&host).copied().unwrap_or(self.now);
            let at = (self.now.max(held) + WAY).max(Time(last.0 + 1));
            market.last_arrival.insert(host, at);
            self.schedule_at(
                at,
                Event::FeedFrame {
                    host,
                    venue,
                    stream,
                    bytes,
                },
            );
        }
        for stream in pushed.closed {
            if let Some(host) = self.markets[venue].streams.get(&stream).copied() {
                self.drop_feed(host, venue);
            }
        }
        if !self.is_calm || self.markets[venue].server.imbalance().is_some() {
            self.checker.check_venue(&self.markets[venue], self.now);
        }
    }

    fn drop_feed(&mut self, host: usize, venue: usize) {
        self.markets[venue].close_streams(host);
        let id = self.markets[venue].id;
        let life = self.hosts[host].life;
        if self.hosts[host].node.is_some() {
            self.step(host, Input::FeedDown { venue: id });
            self.schedule(Span::millis(200), Event::FeedUp { host, life, venue });
        }
    }

    fn handle_feed_up(&mut self, host: usize, life: u32, venue: usize) {
        let is_listening = self.markets[venue].streams.values().any(|one| *one == host);
        if !self.is_alive(host, life) || is_listening {
            return;
        }
        let stream = StreamNo(self.next_stream);
        self.next_stream += 1;
        let market = &mut self.markets[venue];
        if market.server.handle_stream(stream, "/ws", self.now) {
            market.streams.insert(stream, host);
            market.last_arrival.remove(&host);
            let id = market.id;
            self.step(host, Input::FeedUp { venue: id });
        }
    }

    fn handle_to_venue(&mut self, venue: usize, host: usize, bytes: &[u8]) {
        let streams = &self.markets[venue].streams;
        let Some(stream) = streams
            .iter()
            .find(|(_, one)| **one == host)
            .map(|(stream, _)| *stream)
        else {
            return;
        };
        let pushed = self.markets[venue].hear(stream, bytes, self.now);
        self.deliver(venue, pushed);
        self.touch_venue(venue);
    }

    /// A request or frame may bring the venue's next deadline nearer.
    fn touch_venue(&mut self, venue: usize) {
        self.advance_venue(venue);
    }

    fn send_request(
        &mut self,
        host: usize,
        venue: VenueId,
        request: RequestNo,
        asked: Asked,
        bytes: &[u8],
    ) {
        let Some(venue) = self.by_venue.get(&venue).copied() else {
            return;
        };
        if let Asked::Place(order) = asked {
            let id = self.markets[venue].id;
            self.checker.handle_place(host, id, order, bytes, self.now);
        }
        let life = self.hosts[host].life;
        if self.random.chance(self.rates.request_not_sent_ppm) {
            self.tallies.fault("request-not-sent");
            self.schedule(
                WAY,
                Event::NotSent {
                    venue,
                    host,
                    life,
                    request,
                    asked,
                },
            );
            return;
        }
        if self.random.chance(self.rates.request_lost_ppm) {
            self.tallies.fault("request-lost");
            let event = Event::Reply {
                venue,
                host,
                life,
                request,
                asked,
                answer: None,
            };
            self.schedule(Span::millis(500), event);
            return;
        }
        let wait = WAY + Span::micros(self.random.below(2_000));
        let bytes = bytes.to_vec();
        self.schedule(
            wait,
            Event::Request {
                venue,
                host,
                life,
                request,
                asked,
                bytes,
            },
        );
    }

    fn handle_request(
        &mut self,
        venue: usize,
        (host, life): (usize, u32),
        request: RequestNo,
        asked: Asked,
        bytes: &[u8],
    ) {
        let (mut answer, pushed) = self.markets[venue].answer(bytes, self.now);
        self.deliver(venue, pushed);
        self.touch_venue(venue);
        if self.random.chance(self.rates.reply_lost_ppm) {
            self.tallies.fault("reply-lost");
            answer = None;
        }
        let wait = if answer.is_some() {
            WAY + Span::micros(self.random.below(2_000))
        } else {
            Span::millis(500)
        };
        self.schedule(
            wait,
            Event::Reply {
                venue,
                host,
                life,
                request,
                asked,
                answer,
            },
        );
    }

    fn strike(&mut self, kind: FaultKind) {
        if self.is_calm {
            return;
        }
        let count = self.hosts.len() as u64;
        let host = usize::try_from(self.random.below(count)).unwrap_or(0);
        match kind {
            FaultKind::Disconnect => {
                let links = self.network.all();
                let at = usize::try_from(self.random.below(links.len() as u64)).unwrap_or(0);
                if let Some(link) = links.get(at) {
                    self.tallies.fault("disconnect");
                    self.close_link(*link);
                }
            }
            FaultKind::Partition => {
                let other = usize::try_from(self.random.below(count)).unwrap_or(0);
                if self.network.way(host, other).is_some() {
                    self.tallies.fault("partition");
                    let longest = if self.random.chance(200_000) {
                        40_000
                    } else {
                        6_000
                    };
                    let until = self.now + Span::millis(self.random.between(500, longest));
                    self.network.cut(host, other, until);
                    for link in self.network.links_between(host, other) {
                        self.close_link(link);
                    }
                }
            }
            FaultKind::Crash => self.crash(host),
            FaultKind::Stall => {
                let markets = self.markets.len() as u64;
                let venue = usize::try_from(self.random.below(markets)).unwrap_or(0);
                let listeners: BTreeSet<usize> =
                    self.markets[venue].streams.values().copied().collect();
                let until = self.now + Span::millis(self.random.between(1_000, 4_500));
                for host in listeners {
                    self.tallies.fault("feed-stalled");
                    self.markets[venue].stalled.insert(host, until);
                }
            }
        }
        self.schedule_fault(kind);
    }

    /// Kills a process: what was not on disk is gone, what was on its way to it is void.
    fn crash(&mut self, host: usize) {
        if self.hosts[host].node.is_none() {
            return;
        }
        self.tallies.fault("crash");
        self.tell_line(host, "crashes");
        self.collect(host);
        self.checker.handle_crash(host);
        self.hosts[host].node = None;
        self.hosts[host].writing.clear();
        self.hosts[host].wake_at = Time::MAX;
        for link in self.network.links_of(host) {
            self.close_link(link);
        }
        for market in &mut self.markets {
            market.close_streams(host);
        }
        let wait = Span::millis(self.random.between(200, 4_000));
        self.schedule(wait, Event::Restart { host });
    }

    /// Adds a node's counters to the world's before it goes.
    fn collect(&mut self, host: usize) {
        let Some(node) = self.hosts[host].node.as_ref() else {
            return;
        };
        let tallies = &mut self.tallies;
        tallies.orders.add(&node.orders().steps);
        tallies.legs.add(&node.plans().steps);
        tallies.holds.add(&node.holds().steps);
        let totals = node.totals();
        tallies.offers += totals.offers;
        tallies.plans += totals.taken;
        let pairs = [
            (&mut tallies.endings, &totals.endings),
            (&mut tallies.skipped, &totals.skipped),
            (&mut tallies.messages, &totals.messages),
        ];
        for (sums, counts) in pairs {
            for (name, count) in counts {
                *sums.entry(name).or_default() += count;
            }
        }
    }

    /// An owner makes an offer, or takes one back.
    fn offer_by_hand(&mut self) {
        let traders: Vec<usize> = (0..self.hosts.len())
            .filter(|at| !self.scenario.nodes[*at].config.venues.is_empty())
            .collect();
        let at = usize::try_from(self.random.below(traders.len() as u64)).unwrap_or(0);
        let Some(host) = traders.get(at).copied() else {
            return;
        };
        let settings = &self.scenario.nodes[host].config.offer;
        let line = Line {
            quantity: Quantity(
                i64::try_from(self.random.between(100, 900)).unwrap_or(100) * 1_000_000,
            ),
            give: Currency::BTC,
            want: Currency::USD,
            asking: Asking::Best,
            methods: settings.methods,
        };
        let reserve = Price::whole(i64::try_from(self.random.between(85, 105)).unwrap_or(95));
        let command = if self.random.chance(850_000) {
            Command::OfferNew {
                line,
                reserve: Some(reserve),
            }
        } else {
            let node = self.hosts[host].node.as_ref();
            match node.and_then(|node| node.origins().open().next().map(|own| own.offer.id)) {
                Some(id) => Command::OfferWithdraw(id),
                None => return,
            }
        };
        let number = CommandNo(self.scheduled);
        self.step(host, Input::Command { number, command });
    }

    /// The owner says yes to some of what waits for approval.
    fn approve_by_hand(&mut self, host: usize) {
        let waiting = self.hosts[host].node.as_ref().and_then(|node| {
            let mut open = node.holds().open();
            open.find(|hold| hold.state == HoldState::Waiting)
                .map(|hold| hold.offer)
        });
        if let Some(offer) = waiting
            && self.random.chance(150_000)
        {
            let number = CommandNo(self.scheduled);
            let command = Command::OfferApprove(offer);
            self.step(host, Input::Command { number, command });
        }
    }

    /// Ends all faults, so that everything in doubt can come to its end.
    fn calm_down(&mut self) {
        self.is_calm = true;
        self.rates = FaultRates::NONE;
        self.network.heal();
        for venue in 0..self.markets.len() {
            self.markets[venue].calm();
            self.markets[venue].stalled.clear();
        }
        for host in 0..self.hosts.len() {
            if self.hosts[host].node.is_none() {
                self.start(host);
            }
            let number = CommandNo(self.scheduled);
            let command = Command::Switch(Switch::Reduce);
            self.step(host, Input::Command { number, command });
        }
    }
}

impl Host {
    fn new() -> Self {
        Self {
            node: None,
            life: 0,
            wake_at: Time::MAX,
            disk: Vec::new(),
            writing: VecDeque::new(),
            written: CommitNo(0),
        }
    }
}
