//! The event queue: every input of every node, in time order.

use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use crate::journal::owed::Owed;
use crate::membership::{Direction, Peer};
use crate::model::ids::{CommitNo, LinkNo, NodeId, Pin, RequestNo};
use crate::model::instrument::VenueId;
use crate::model::random::Random;
use crate::model::time::{Span, Time};
use crate::node::input::Input;
use crate::node::output::Outbox;
use crate::node::{Faults as Bugs, Me, Node};
use crate::sim::checker::Checker;
use crate::sim::market::{Market, credentials};
use crate::sim::network::Network;
use crate::sim::scenario::{FaultRates, Scenario};
use crate::sim::tally::Tallies;
use crate::sim::{NodeEnd, Report};
use crate::venue::{Asked, Framing, OrderClient, Setup, StreamNo, registry};

/// A node, alive or dead, with its disk.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) node: Option<Node>,
    /// Counts lives: events of an earlier one are void.
    pub(super) life: u32,
    pub(super) wake_at: Time,
    /// What survives a crash.
    pub(super) disk: Vec<Vec<u8>>,
    pub(super) writing: VecDeque<(Time, CommitNo, Vec<u8>)>,
    pub(super) written: CommitNo,
}

/// Something that happens.
#[derive(Debug)]
pub(super) enum Event {
    Paced {
        host: usize,
        life: u32,
        train: u32,
        interval: Span,
        left: u32,
    },
    Worked {
        host: usize,
        life: u32,
        work: u64,
    },
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
pub(super) enum FaultKind {
    Disconnect,
    Partition,
    Crash,
    Stall,
}

#[derive(Debug)]
pub(super) struct Scheduled {
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
    pub(super) scenario: Scenario,
    pub(super) bugs: Bugs,
    pub(super) now: Time,
    pub(super) begins: Time,
    pub(super) random: Random,
    pub(super) rates: FaultRates,
    pub(super) events: BinaryHeap<Scheduled>,
    pub(super) scheduled: u64,
    pub(super) hosts: Vec<Host>,
    pub(super) by_id: BTreeMap<NodeId, usize>,
    pub(super) network: Network,
    pub(super) markets: Vec<Market>,
    pub(super) by_venue: BTreeMap<VenueId, usize>,
    pub(super) next_stream: u64,
    pub(super) outbox: Outbox,
    pub(super) checker: Checker,
    pub(super) tallies: Tallies,
    pub(super) trace: u64,
    pub(super) is_calm: bool,
    pub(super) is_over: bool,
    pub(super) story: Vec<String>,
}

/// Lines of a story; a longer one ends there.
pub(super) const STORY_LINES_MAX: usize = 1_000_000;
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
            nodes: self.hosts.iter().map(NodeEnd::of).collect(),
            story: self.story,
        }
    }

    pub(super) fn set_up(&mut self) {
        let count = self.hosts.len();
        for one in 0..count {
            for other in one + 1..count {
                if self.scenario.topology.links(one, other) {
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

    pub(super) fn schedule(&mut self, wait: Span, event: Event) {
        self.schedule_at(self.now + wait, event);
    }

    pub(super) fn schedule_at(&mut self, at: Time, event: Event) {
        self.scheduled += 1;
        self.events.push(Scheduled {
            at,
            order: self.scheduled,
            event,
        });
    }

    /// Boots a node from what its disk holds.
    pub(super) fn start(&mut self, host: usize) {
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
            key: [0; 32],
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
                    rules: Vec::new(),
                    framing: Framing::Plain,
                };
                let client = dialect.order_client(&setup, credentials(plan.id))?;
                Some((venue.id, client))
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

    pub(super) fn peer(&self, of: usize, other: usize) -> Peer {
        let plan = &self.scenario.nodes[other];
        let is_own = plan.owner == self.scenario.nodes[of].owner;
        Peer {
            id: plan.id,
            pin: Pin([u8::try_from(other + 1).unwrap_or(u8::MAX); 32]),
            key: [u8::try_from(other + 1).unwrap_or(u8::MAX); 32],
            knock: [0; 32],
            owner: plan.owner,
            name: plan.config.name.clone(),
            addresses: Vec::new(),
            trust: if is_own { 10 } else { plan.trust },
        }
    }

    pub(super) fn is_alive(&self, host: usize, life: u32) -> bool {
        self.hosts[host].node.is_some() && self.hosts[host].life == life
    }

    /// Hands one input to a node, carries out what it asks for, and checks every invariant.
    pub(super) fn step(&mut self, host: usize, input: Input<'_>) {
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

    pub(super) fn rearm(&mut self, host: usize) {
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

    /// Adds a node's counters to the world's before it goes.
    pub(super) fn collect(&mut self, host: usize) {
        let Some(node) = self.hosts[host].node.as_ref() else {
            return;
        };
        let tallies = &mut self.tallies;
        tallies.orders.add(&node.orders().steps);
        tallies.legs.add(&node.plans().steps);
        tallies.holds.add(&node.holds().steps);
        let (own_offers, matches) = node.origins().steps();
        tallies.own_offers.add(&own_offers);
        tallies.matches.add(&matches);
        tallies.matches.add(&node.relays().steps());
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
