//! A small world for leases: members with drifting clocks and disks, a network that delays, loses,
//! doubles and reorders, partitions, crashes. After every step it is checked who believes to hold.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::discovery::lease::message::Message;
use crate::discovery::lease::{
    DRIFT_PPM_MAX, Faults, Lease, Output, Record, Restored, Seats, Settings, Token,
};
use crate::model::ids::{NodeId, PeernetId};
use crate::model::random::Random;
use crate::model::time::{Span, Time};

pub(super) const PEERNET: PeernetId = PeernetId([9; 16]);
pub(super) const AGED_AFTER: Span = Span::secs(100);
const MILLI: u64 = 1_000_000;
/// Local clocks begin here, so that there is a time before.
const EPOCH_NS: u64 = 1_000_000 * MILLI;

/// What a checker has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// Two members believe to hold at one moment.
    TwoHolders,
    /// A holder began with a token that is not above all earlier ones.
    Token,
    /// Nobody held although nothing stood in the way.
    NoHolder,
}

#[derive(Clone, Debug)]
enum Event {
    Deliver {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    Durable {
        node: usize,
        life: u32,
        number: u64,
    },
    Wake {
        node: usize,
    },
    Harm,
    /// The exit is cut off when it has just begun, and one that may have granted begins anew.
    HarmExit,
}

pub(super) struct Member {
    pub(super) id: NodeId,
    pub(super) lease: Option<Lease>,
    life: u32,
    durable: Restored,
    /// Records that the disk has not.
    behind: Vec<(u64, Record)>,
    rate_ppm: u64,
    ahead: u64,
    /// Whether it reaches the channel, and whether it counts as aged there.
    pub(super) is_ready: bool,
    pub(super) is_aged: bool,
    wake_at: u64,
    /// The token and life of its last hold.
    held: Option<(u32, Token)>,
}

pub(super) struct World {
    pub(super) now: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    bodies: Vec<Event>,
    pub(super) members: Vec<Member>,
    /// Sides of a partition; members of different sides do not hear each other.
    side: Vec<u8>,
    /// Members whom nobody hears.
    mute: Vec<bool>,
    random: Random,
    settings: Vec<Settings>,
    faults: Faults,
    loss_ppm: u32,
    double_ppm: u32,
    slow_ppm: u32,
    delay_ms_max: u64,
    disk_ms_max: u64,
    pub(super) may_forget: bool,
    has_forgotten: bool,
    highest: Token,
    pub(super) holds: u64,
    pub(super) violation: Option<Violation>,
}

impl World {
    pub(super) fn new(seed: u64, count: usize, faults: Faults) -> Self {
        let mut random = Random::new(seed);
        let alone = |at: usize| Settings {
            alone_after_lease: at == 0,
            aged_after: AGED_AFTER,
        };
        let members = (0..count).map(|at| Member {
            id: NodeId([u8::try_from(at + 1).unwrap(); 16]),
            lease: None,
            life: 0,
            durable: Restored::default(),
            behind: Vec::new(),
            rate_ppm: 1_000_000 - DRIFT_PPM_MAX + random.below(2 * DRIFT_PPM_MAX + 1),
            ahead: EPOCH_NS + random.below(1_000 * MILLI),
            is_ready: true,
            is_aged: random.chance(600_000),
            wake_at: 0,
            held: None,
        });
        let mut world = Self {
            now: 0,
            events: BinaryHeap::new(),
            bodies: Vec::new(),
            members: members.collect(),
            side: vec![0; count],
            mute: vec![false; count],
            settings: (0..count).map(alone).collect(),
            faults,
            loss_ppm: 0,
            double_ppm: 0,
            slow_ppm: 0,
            delay_ms_max: 50,
            disk_ms_max: 20,
            may_forget: false,
            has_forgotten: false,
            highest: Token::default(),
            holds: 0,
            violation: None,
            random,
        };
        for node in 0..count {
            world.boot(node);
        }
        world
    }

    /// Lets harm be done for so long, in steps of some hundred milliseconds.
    pub(super) fn harm_for(&mut self, span_ms: u64) {
        let until = self.now + span_ms * MILLI;
        self.loss_ppm = u32::try_from(self.random.below(250_000)).unwrap();
        self.double_ppm = 50_000;
        self.slow_ppm = if self.random.chance(300_000) {
            400_000
        } else {
            100_000
        };
        self.disk_ms_max = if self.random.chance(500_000) { 800 } else { 20 };
        while self.now < until && self.violation.is_none() {
            let next = self.now + self.random.between(50, 900) * MILLI;
            self.push(next, Event::Harm);
            self.run_until(next);
        }
    }

    /// Ends all harm: most members live, the network is whole, an aged member is ready.
    pub(super) fn calm(&mut self) {
        (self.loss_ppm, self.double_ppm, self.slow_ppm) = (0, 0, 0);
        self.disk_ms_max = 20;
        self.side.fill(0);
        self.mute.fill(false);
        let majority = self.members.len() / 2 + 1;
        for node in 0..self.members.len() {
            let alive = self.alive().count();
            if self.members[node].lease.is_none()
                && (alive < majority || self.random.chance(700_000))
            {
                self.boot(node);
            }
        }
        let alive: Vec<usize> = self.alive().collect();
        let chosen = alive[usize::try_from(self.random.below(alive.len() as u64)).unwrap()];
        (self.members[chosen].is_ready, self.members[chosen].is_aged) = (true, true);
        for node in alive {
            self.tell_standing(node);
        }
        self.tell_links();
    }

    pub(super) fn run_for(&mut self, span_ms: u64) {
        self.run_until(self.now + span_ms * MILLI);
    }

    /// Runs until somebody holds, at most so long, and returns how long it took.
    pub(super) fn until_held(&mut self, most_ms: u64) -> Option<u64> {
        let start = self.now;
        while self.holder().is_none() {
            if self.now - start > most_ms * MILLI || self.violation.is_some() {
                return None;
            }
            self.run_for(10);
        }
        Some((self.now - start) / MILLI)
    }

    /// Returns who believes to hold, and by which token.
    pub(super) fn holder(&self) -> Option<(usize, Token)> {
        let token = |(at, member): (usize, &Member)| {
            let token = member.lease.as_ref()?.token(self.local(at))?;
            Some((at, token))
        };
        self.members.iter().enumerate().find_map(token)
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = usize> {
        let members = self.members.iter().enumerate();
        members.filter_map(|(at, member)| member.lease.is_some().then_some(at))
    }

    /// Parts the members: those listed do not hear the others.
    pub(super) fn part(&mut self, apart: &[usize]) {
        for (at, side) in self.side.iter_mut().enumerate() {
            *side = u8::from(apart.contains(&at));
        }
    }

    pub(super) fn heal(&mut self) {
        self.side.fill(0);
        self.mute.fill(false);
        self.tell_links();
    }

    pub(super) fn boot(&mut self, node: usize) {
        let now = self.local(node);
        let seats = Seats {
            peernet: PEERNET,
            version: 1,
            members: self.members.iter().map(|member| member.id).collect(),
        };
        let seed = self.random.next_u64();
        let (settings, faults) = (self.settings[node], self.faults);
        self.members[node].life += 1;
        let member = &self.members[node];
        let (me, life) = (member.id, member.life);
        let mut lease = Lease::new(me, settings, seats, member.durable, life, seed, now);
        lease.plant(faults, now);
        for other in 1..=u8::try_from(self.members.len()).unwrap() {
            let rtt = Span::millis(self.random.between(1, 60));
            lease.handle_rtt(NodeId([other; 16]), rtt);
        }
        self.members[node].lease = Some(lease);
        self.tell_standing(node);
        self.tell_links();
    }

    /// Stops a member; what its disk has not got is gone, but for a part that it got unnoticed.
    pub(super) fn crash(&mut self, node: usize) {
        let forgets = self.may_forget && self.random.chance(500_000);
        let member = &mut self.members[node];
        member.lease = None;
        let kept = self.random.below(member.behind.len() as u64 + 1);
        for (_, record) in member.behind.drain(..).take(usize::try_from(kept).unwrap()) {
            keep(&mut member.durable, record);
        }
        member.durable.has_gap = forgets;
        if forgets {
            member.durable.promised = None;
            self.has_forgotten = true;
        }
        if self.random.chance(500_000) {
            self.tell_links();
        }
    }

    pub(super) fn tell_standing(&mut self, node: usize) {
        let now = self.local(node);
        let member = &self.members[node];
        let since = if member.is_aged {
            now - AGED_AFTER
        } else {
            now
        };
        let on_since = member.is_ready.then_some(since);
        self.act(node, |lease, now, out| {
            lease.handle_standing(on_since, now, out)
        });
    }

    /// Calls a member, and carries out what it wants.
    pub(super) fn act(
        &mut self,
        node: usize,
        call: impl FnOnce(&mut Lease, Time, &mut Vec<Output>),
    ) {
        let now = self.local(node);
        let mut outputs = Vec::new();
        let Some(lease) = &mut self.members[node].lease else {
            return;
        };
        call(lease, now, &mut outputs);
        for output in outputs {
            self.carry_out(node, output);
        }
        self.set_alarm(node);
        self.check();
    }

    fn carry_out(&mut self, node: usize, output: Output) {
        match output {
            Output::Send { to, message } => {
                let to = self
                    .members
                    .iter()
                    .position(|member| member.id == to)
                    .unwrap();
                let mut bytes = Vec::new();
                message.write(&mut bytes);
                self.transmit(node, to, bytes);
            }
            Output::Journal { number, record } => {
                let life = self.members[node].life;
                self.members[node].behind.push((number, record));
                let at = self.now + self.random.below(self.disk_ms_max * MILLI);
                self.push(at, Event::Durable { node, life, number });
            }
            Output::Holder { .. } => {
                if self.slow_ppm > 0 && self.random.chance(300_000) {
                    let most = if self.random.chance(500_000) { 20 } else { 700 };
                    let at = self.now + self.random.below(most * MILLI);
                    self.push(at, Event::HarmExit);
                }
            }
            Output::Lost { .. } => (),
        }
    }

    fn transmit(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        if self.mute[from] {
            return;
        }
        let copies = 1 + u8::from(self.random.chance(self.double_ppm));
        for _ in 0..copies {
            if self.random.chance(self.loss_ppm) {
                continue;
            }
            let mut delay = self.random.between(MILLI, self.delay_ms_max * MILLI);
            if self.random.chance(self.slow_ppm) {
                delay += self.random.below(2_400 * MILLI);
            }
            let bytes = bytes.clone();
            self.push(self.now + delay, Event::Deliver { from, to, bytes });
        }
    }

    fn run_until(&mut self, until: u64) {
        while let Some(Reverse((at, _, body))) = self.events.peek().copied() {
            if at > until || self.violation.is_some() {
                break;
            }
            self.events.pop();
            self.now = at;
            let event = std::mem::replace(&mut self.bodies[body], Event::Harm);
            self.handle(event);
        }
        self.now = self.now.max(until);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, bytes } => {
                if self.side[from] == self.side[to] {
                    let from = self.members[from].id;
                    let message = Message::read(&bytes).unwrap();
                    self.act(to, |lease, now, out| {
                        lease.handle_message(from, &message, now, out);
                    });
                }
            }
            Event::Durable { node, life, number } => {
                let member = &mut self.members[node];
                if member.life == life && member.lease.is_some() {
                    let durable = member.behind.extract_if(.., |(of, _)| *of <= number);
                    let durable: Vec<_> = durable.collect();
                    for (_, record) in durable {
                        keep(&mut member.durable, record);
                    }
                    self.act(node, |lease, now, out| {
                        lease.handle_durable(number, now, out);
                    });
                }
            }
            Event::Wake { node } => {
                self.members[node].wake_at = 0;
                self.act(node, |lease, now, out| {
                    if lease.deadline().is_some_and(|deadline| deadline.at <= now) {
                        lease.handle_deadline(now, out);
                    }
                });
            }
            Event::Harm if self.slow_ppm > 0 => self.harm(),
            Event::HarmExit if self.slow_ppm > 0 => self.harm_exit(),
            Event::Harm | Event::HarmExit => (),
        }
    }

    fn harm(&mut self) {
        let count = self.members.len() as u64;
        let node = usize::try_from(self.random.below(count)).unwrap();
        match self.random.below(10) {
            0 | 1 => {
                let apart: Vec<usize> = (0..self.members.len())
                    .filter(|_| self.random.chance(450_000))
                    .collect();
                self.part(&apart);
                if self.random.chance(300_000) {
                    self.tell_links();
                }
            }
            2 | 3 => self.heal(),
            4 => self.crash(node),
            5 => {
                let victim = self.holder().map_or(node, |(at, _)| at);
                self.crash(victim);
            }
            6 | 7 => {
                let dead = (0..self.members.len()).filter(|at| self.members[*at].lease.is_none());
                for node in dead.collect::<Vec<_>>() {
                    self.boot(node);
                }
            }
            8 => {
                let member = &mut self.members[node];
                member.is_ready = !member.is_ready;
                self.tell_standing(node);
            }
            9 => {
                // Cuts the exit off from the rest, or from all but one.
                let exit = self.holder().map_or(node, |(at, _)| at);
                let friend = self.random.chance(500_000).then_some(node);
                self.part(&[&[exit][..], friend.as_slice()].concat());
            }
            10.. => (),
        }
    }

    fn harm_exit(&mut self) {
        let Some((exit, _)) = self.holder() else {
            return;
        };
        match self.random.chance(500_000) {
            true => self.part(&[exit]),
            false => self.mute[exit] = true,
        }
        // A power cut takes them all.
        let begin_anew = [0, 300_000, 1_000_000][usize::try_from(self.random.below(3)).unwrap()];
        let others: Vec<usize> = self.alive().filter(|at| *at != exit).collect();
        for node in others {
            if self.random.chance(begin_anew) {
                if begin_anew == 1_000_000 {
                    self.members[node].behind.clear();
                }
                self.crash(node);
                self.boot(node);
            }
        }
    }

    /// Makes every living member know which links stand.
    fn tell_links(&mut self) {
        for node in 0..self.members.len() {
            for other in 0..self.members.len() {
                let is_up =
                    self.members[other].lease.is_some() && self.side[node] == self.side[other];
                let id = self.members[other].id;
                if node != other {
                    self.act(node, |lease, now, out| {
                        lease.handle_link(id, is_up, now, out)
                    });
                }
            }
        }
    }

    fn set_alarm(&mut self, node: usize) {
        let member = &self.members[node];
        let deadline = member.lease.as_ref().and_then(Lease::deadline);
        let Some(deadline) = deadline.filter(|deadline| deadline.at < Time::MAX) else {
            return;
        };
        let passed = u128::from(deadline.at.0.saturating_sub(member.ahead)) * 1_000_000;
        let at = u64::try_from(passed.div_ceil(u128::from(member.rate_ppm))).unwrap();
        let at = at.max(self.now);
        if member.wake_at == 0 || at < member.wake_at {
            self.members[node].wake_at = at;
            // A process has its turn a little late, and now and then very late.
            let late = match self.random.chance(self.slow_ppm / 10) {
                true => self.random.below(400 * MILLI),
                false => self.random.below(2 * MILLI),
            };
            self.push(at + late, Event::Wake { node });
        }
    }

    fn push(&mut self, at: u64, event: Event) {
        let body = self.bodies.len();
        self.bodies.push(event);
        self.events.push(Reverse((at, body as u64, body)));
    }

    /// Returns what the clock of a member shows.
    pub(super) fn local(&self, node: usize) -> Time {
        let member = &self.members[node];
        let passed = u128::from(self.now) * u128::from(member.rate_ppm) / 1_000_000;
        Time(member.ahead + u64::try_from(passed).unwrap())
    }

    fn check(&mut self) {
        let mut holders = 0;
        for at in 0..self.members.len() {
            let now = self.local(at);
            let member = &self.members[at];
            let Some(token) = member.lease.as_ref().and_then(|lease| lease.token(now)) else {
                continue;
            };
            holders += 1;
            let hold = (member.life, token);
            if member.held != Some(hold) {
                self.members[at].held = Some(hold);
                self.holds += 1;
                // Tokens live in journals: a disk that lost its own may fall behind.
                if token <= self.highest && !self.has_forgotten {
                    self.violation.get_or_insert(Violation::Token);
                }
                self.highest = self.highest.max(token);
            }
        }
        if holders > 1 {
            self.violation.get_or_insert(Violation::TwoHolders);
        }
    }
}

fn keep(durable: &mut Restored, record: Record) {
    match record {
        Record::Promised { token, to } => durable.promised = Some((token, to)),
        Record::Signed { version } => durable.signed = version,
    }
}
