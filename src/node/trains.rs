//! Trains of probes: this node's own, on the links that trade, and those of its peers.
//!
//! ```text
//! errand ─▶ train: asking ── ready ─▶ running ── all settled ─▶ ending ── attested ─▶ end
//!   │                 └── busy, silent ─▶ absent
//!   └─ last train, last report of a peer ─▶ over
//! ```
//! Probes leave in steps of their own, after everything else that the step had to do, and not at
//! all where it fired a leg.

use std::collections::{BTreeMap, BTreeSet};

use crate::latency::attest;
use crate::latency::clock::Exchange;
use crate::latency::lines::{self, Absent, Attested, Ending, Head, Line, SAMPLES_MAX, Site};
use crate::latency::prober::Prober;
use crate::latency::quota::{NODE_PROBES_PER_S_MAX, Schedule, ScheduleError};
use crate::latency::responder::{ASKING, Responder, tag_of};
use crate::latency::train::{
    Attestation, End, Location, PATIENCE, PathCount, Sample, Shape, Spread,
};
use crate::membership::roster::Draft;
use crate::model::ids::{CommandNo, LinkNo, NodeId};
use crate::model::time::{Deadline, Span, Time};
use crate::node::Node;
use crate::node::output::{Outbox, Output};
use crate::node::surveys::{LINES_BYTES_MAX, Leaving};
use crate::wire::message::Message;
use crate::wire::talk::{Probe, Talk, Verdict};

/// Between being let in and the first probe, so that the pacing thread is ready for it.
const LEAD: Span = Span::millis(20);
/// How often the transport is asked for its counts.
const COUNT_EVERY: Span = Span::millis(100);
/// Whoever watches a train hears of it at least this often.
const LINE_EVERY: Span = Span::millis(500);
/// The pacing thread calls by then, or the node's own timer stands in for it.
const PACER_LATE_MAX: Span = Span::SECOND;
/// What is being signed. Full: the train is not attested.
const WORKS_MAX: usize = 64;
/// Errands under way. Full: one more is refused.
const ERRANDS_MAX: usize = 16;

/// Everything about probes.
#[derive(Debug, Default)]
pub(super) struct Trains {
    running: BTreeMap<u32, Running>,
    last: u32,
    pub(super) responder: Responder,
    errands: BTreeMap<u64, Errand>,
    last_errand: u64,
    works: BTreeMap<u64, Work>,
    last_work: u64,
    pub(super) leaving: Vec<Leaving>,
}

/// One train of this node's.
#[derive(Debug)]
struct Running {
    id: [u8; 16],
    errand: u64,
    to: NodeId,
    schedule: Schedule,
    state: State,
    /// The connection the counts below belong to.
    link: Option<LinkNo>,
    switches: u64,
    counted: Option<PathCount>,
    count_at: Time,
    ready: Vec<Sample>,
    line_at: Time,
    timer_late: Spread,
}

#[derive(Debug)]
enum State {
    Asking { until: Time },
    Probing(Prober),
    Ending { until: Time },
}

/// What somebody wants measured.
#[derive(Debug)]
struct Errand {
    whom: Whom,
    open: usize,
    /// Peers that measure for it.
    asked: BTreeSet<NodeId>,
    until: Time,
    /// What was measured for another node, until all of it is over.
    lines: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Owner(CommandNo),
    /// A peer of this owner, which has given its errand this number.
    Peer(NodeId, u64),
}

#[derive(Clone, Debug)]
pub(super) enum Work {
    Attest(NodeId, [u8; attest::BODY_BYTES]),
    Report(NodeId, u64),
    /// For whom this draft of a roster is signed.
    SignRoster(NodeId, Box<Draft>),
    /// Who sent a roster.
    VerifyRoster(NodeId),
}

impl Node {
    /// Runs one train to a peer for the owner.
    pub(super) fn order_train(
        &mut self,
        number: CommandNo,
        peer: &str,
        wanted: (Shape, u32),
        now: Time,
        out: &mut Outbox,
    ) -> Result<(), String> {
        let to = self.named_peer(peer)?;
        let schedule = scheduled(wanted)?;
        let errand = self.begin_errand(Whom::Owner(number), &schedule, now)?;
        if let Err(why) = self.begin_train(errand, to, schedule, now, out) {
            self.trains.errands.remove(&errand);
            return Err(why);
        }
        Ok(())
    }

    /// Whoever gave this command listens no more.
    pub(super) fn handle_command_gone(&mut self, number: CommandNo) {
        let gone = |errand: &Errand| errand.whom == Whom::Owner(number);
        let errands = self.trains.errands.iter();
        let gone: Vec<u64> = errands
            .filter(|(_, errand)| gone(errand))
            .map(|(number, _)| *number)
            .collect();
        for train in self.trains.running.values_mut() {
            if let State::Probing(prober) = &mut train.state
                && gone.contains(&train.errand)
            {
                prober.stop();
            }
        }
    }

    fn named_peer(&self, name: &str) -> Result<NodeId, String> {
        let mut found = self.peers.values().filter(|peer| {
            let id = peer.peer.id.to_string();
            peer.peer.name == name || (name.len() >= ID_PREFIX_MIN && id.starts_with(name))
        });
        match (found.next(), found.next()) {
            (Some(peer), None) => Ok(peer.peer.id),
            (Some(_), Some(_)) => Err(format!("more than one peer is called {name}; name its id")),
            (None, _) => Err(format!("no listed peer is called {name}; see `peer list`")),
        }
    }

    pub(super) fn begin_errand(
        &mut self,
        whom: Whom,
        schedule: &Schedule,
        now: Time,
    ) -> Result<u64, String> {
        if self.trains.errands.len() >= ERRANDS_MAX {
            return Err("too many measurements at once; try again when one is over".to_owned());
        }
        self.trains.last_errand += 1;
        let number = self.trains.last_errand;
        let errand = Errand {
            whom,
            open: 0,
            asked: BTreeSet::new(),
            lines: Vec::new(),
            until: now + schedule.lasts() + ERRAND_GRACE,
        };
        self.trains.errands.insert(number, errand);
        Ok(number)
    }

    /// Asks a peer to let itself be probed.
    pub(super) fn begin_train(
        &mut self,
        errand: u64,
        to: NodeId,
        schedule: Schedule,
        now: Time,
        out: &mut Outbox,
    ) -> Result<(), String> {
        let name = self.peer_name(to);
        let is_ready = self.peers.get(&to).is_some_and(|peer| peer.link.is_ready());
        if !is_ready {
            return Err(format!("{name} is not linked"));
        }
        if self.trains.running.values().any(|train| train.to == to) {
            return Err(format!(
                "a train to {name} is under way; try again after it"
            ));
        }
        let sum = self.trains.own_probes_per_s()
            + self.trains.responder.probes_per_s(now)
            + schedule.probes_per_s();
        if sum > NODE_PROBES_PER_S_MAX {
            return Err(format!(
                "this node would send and answer {sum} probes a second, {NODE_PROBES_PER_S_MAX} \
                 are allowed; use a longer interval"
            ));
        }
        let id = self.new_train_id();
        self.trains.last = self.trains.last.wrapping_add(1);
        let until = now + ASKING;
        let train = Running {
            id,
            errand,
            to,
            schedule,
            state: State::Asking { until },
            link: None,
            switches: 0,
            counted: None,
            count_at: now,
            ready: Vec::new(),
            line_at: now,
            timer_late: Spread::default(),
        };
        self.trains.running.insert(self.trains.last, train);
        if let Some(errand) = self.trains.errands.get_mut(&errand) {
            errand.open += 1;
        }
        let ask = Talk::TrainAsk {
            train: id,
            interval: schedule.interval(),
            burst: schedule.burst(),
            count: schedule.count,
        };
        self.send_once(to, &Message::Talk(ask), out);
        Ok(())
    }

    /// Draws an id whose first half, which every probe carries, is not zero.
    fn new_train_id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.random.next_u64().max(1).to_le_bytes());
        id[8..].copy_from_slice(&self.random.next_u64().to_le_bytes());
        id
    }

    pub(super) fn handle_talk(&mut self, from: NodeId, talk: Talk, now: Time, out: &mut Outbox) {
        match talk {
            Talk::TrainAsk {
                train,
                interval,
                burst,
                count,
            } => {
                let verdict = match Schedule::new(shape_of(interval, burst), count) {
                    Err(_) => Verdict::Refused,
                    Ok(schedule) => {
                        let own = self.trains.own_probes_per_s();
                        let responder = &mut self.trains.responder;
                        match responder.admit(from, train, &schedule, own, now) {
                            true => {
                                self.watch_now(from, now);
                                Verdict::Ready
                            }
                            false => Verdict::Busy,
                        }
                    }
                };
                let location = self.settings.location;
                let answer = Talk::TrainAnswer {
                    train,
                    verdict,
                    location_udeg: location
                        .map(|location| (location.latitude_udeg, location.longitude_udeg)),
                };
                self.send_once(from, &Message::Talk(answer), out);
            }
            Talk::TrainAnswer {
                train,
                verdict,
                location_udeg,
            } => self.handle_train_answer(from, train, (verdict, location_udeg), now, out),
            Talk::TrainOver { train } => self.attest(from, train, out),
            Talk::Attested {
                body,
                key,
                signature,
            } => self.handle_attested(from, &body, (key, signature), now, out),
            Talk::SurveyAsk {
                survey,
                interval,
                burst,
                count,
            } => {
                let wanted = (shape_of(interval, burst), count);
                self.handle_survey_ask(from, survey, wanted, now, out);
            }
            Talk::SurveyPiece {
                survey,
                is_whole,
                json,
            } => self.handle_survey_piece(from, survey, (is_whole, &json), out),
            Talk::SurveyOver { survey } => self.handle_survey_over(from, survey, out),
        }
    }

    fn handle_train_answer(
        &mut self,
        from: NodeId,
        id: [u8; 16],
        (verdict, location_udeg): (Verdict, Option<(i32, i32)>),
        now: Time,
        out: &mut Outbox,
    ) {
        let asked = self.trains.running.iter_mut().find(|(_, train)| {
            let is_asking = matches!(train.state, State::Asking { .. });
            is_asking && train.to == from && train.id == id
        });
        let Some((&number, train)) = asked else {
            return;
        };
        match verdict {
            Verdict::Ready => (),
            Verdict::Busy => {
                let why = "it runs as many probes as it allows; try again later";
                return self.leave_out(number, why, out);
            }
            Verdict::Refused => {
                let why = "it refuses the schedule; use a longer interval or fewer probes";
                return self.leave_out(number, why, out);
            }
        }
        let first = now + LEAD;
        train.state = State::Probing(Prober::new(train.schedule, first));
        train.line_at = now + LINE_EVERY;
        let (schedule, errand) = (train.schedule, train.errand);
        out.push(Output::Pace {
            train: number,
            first,
            interval: schedule.interval(),
            slots: schedule.slots(),
        });
        let peer = End {
            node: from,
            name: self.peer_name(from),
            location: location_udeg.map(|(latitude_udeg, longitude_udeg)| Location {
                latitude_udeg,
                longitude_udeg,
            }),
        };
        let own = End {
            node: self.me.id,
            name: self.settings.name.clone(),
            location: self.settings.location,
        };
        let head = Head {
            train: lines::hex(&id),
            from: Site::of(&own),
            to: Site::of(&peer),
            interval_ns: schedule.interval().0,
            burst: schedule.burst(),
            count: schedule.count,
            started_ns: first.0,
            probe_bytes: Probe::BYTES,
        };
        self.tell_errand(errand, &Line::Head(head), out);
        self.count_path(number, now, out);
    }

    /// Sends what is due of one train. Everything else of the step was asked for before.
    pub(super) fn send_probes(&mut self, number: u32, fired: bool, now: Time, out: &mut Outbox) {
        let Some(train) = self.trains.running.get_mut(&number) else {
            return;
        };
        let peer = self.peers.get(&train.to);
        let link = peer.filter(|peer| peer.link.is_ready());
        let link = link.and_then(|peer| peer.link_no);
        let State::Probing(prober) = &mut train.state else {
            return;
        };
        while let Some(probe) = prober.take_due(now) {
            if fired {
                prober.refuse(probe);
                continue;
            }
            // Without a link nothing leaves and nothing comes back: it is lost, as a leg would be.
            let Some(link) = link else { continue };
            let message = Message::Probe(Probe {
                train: tag_of(&train.id),
                number: probe,
                sent: now,
                received: Time::ZERO,
                replied: Time::ZERO,
            });
            let bytes = out.write(|arena| message.encode(arena));
            out.push(Output::Probe {
                link,
                train: number,
                number: probe,
                bytes,
            });
        }
        if train.count_at <= now {
            self.count_path(number, now, out);
        }
        self.settle_train(number, now, out);
    }

    /// The link has no room to spare for this probe.
    pub(super) fn handle_probe_refused(&mut self, number: u32, probe: u32) {
        if let Some(train) = self.trains.running.get_mut(&number)
            && let State::Probing(prober) = &mut train.state
        {
            prober.refuse(probe);
        }
    }

    /// Asks the transport for its counts.
    fn count_path(&mut self, number: u32, now: Time, out: &mut Outbox) {
        let Some(train) = self.trains.running.get_mut(&number) else {
            return;
        };
        train.count_at = now + COUNT_EVERY;
        let peer = self.peers.get(&train.to);
        let Some(link) = peer.and_then(|peer| peer.link_no) else {
            return;
        };
        if train.link.is_some_and(|before| before != link) {
            train.switches += 1;
        }
        train.link = Some(link);
        out.push(Output::CountPath {
            link,
            train: number,
        });
    }

    /// Passes the transport's counts on, where they tell more than the last ones.
    pub(super) fn handle_path_counted(&mut self, number: u32, count: PathCount, out: &mut Outbox) {
        let Some(train) = self.trains.running.get_mut(&number) else {
            return;
        };
        let count = PathCount {
            path_switches: count.path_switches + train.switches,
            ..count
        };
        let is_news = train.counted.is_none_or(|before| {
            let same = PathCount {
                at: before.at,
                sent_packets: before.sent_packets,
                ..count
            };
            before != same
        });
        let is_end = matches!(train.state, State::Ending { .. });
        if !is_news && !is_end {
            return;
        }
        train.counted = Some(count);
        let (errand, id) = (train.errand, train.id);
        let line = Line::Count {
            train: lines::hex(&id),
            count: count.into(),
        };
        self.tell_errand(errand, &line, out);
    }

    /// Takes an answer of a train; false where there is no such train.
    pub(super) fn handle_train_reply(
        &mut self,
        from: NodeId,
        probe: &Probe,
        exchange: &Exchange,
        now: Time,
        out: &mut Outbox,
    ) -> Option<Span> {
        let mut trains = self.trains.running.iter_mut();
        let (&number, train) =
            trains.find(|(_, train)| train.to == from && tag_of(&train.id) == probe.train)?;
        let State::Probing(prober) = &mut train.state else {
            return None;
        };
        let rtt = prober.hear(probe.number, exchange);
        self.settle_train(number, now, out);
        rtt
    }

    /// Hands on the samples whose fate is known, and ends a train that has no other.
    fn settle_train(&mut self, number: u32, now: Time, out: &mut Outbox) {
        loop {
            let Some(train) = self.trains.running.get_mut(&number) else {
                return;
            };
            let State::Probing(prober) = &mut train.state else {
                return;
            };
            prober.settle(now, SAMPLES_MAX, &mut train.ready);
            let (is_over, is_full) = (prober.is_over(), train.ready.len() >= SAMPLES_MAX);
            let is_time = is_over || train.line_at <= now;
            if is_full || (is_time && !train.ready.is_empty()) {
                train.line_at = now + LINE_EVERY;
                let line = Line::Samples {
                    train: lines::hex(&train.id),
                    samples: train
                        .ready
                        .drain(..)
                        .map(|one| lines::row_of(&one))
                        .collect(),
                };
                let errand = train.errand;
                self.tell_errand(errand, &line, out);
                continue;
            }
            if is_over {
                self.end_train(number, now, out);
            }
            return;
        }
    }

    /// Every probe is settled: the peer is asked what it saw.
    fn end_train(&mut self, number: u32, now: Time, out: &mut Outbox) {
        let Some(train) = self.trains.running.get_mut(&number) else {
            return;
        };
        train.state = State::Ending {
            until: now + PATIENCE,
        };
        let (to, id) = (train.to, train.id);
        out.push(Output::PaceOver { train: number });
        self.count_path(number, now, out);
        self.send_once(to, &Message::Talk(Talk::TrainOver { train: id }), out);
    }

    pub(super) fn handle_pace_over(&mut self, number: u32, late: Spread) {
        if let Some(train) = self.trains.running.get_mut(&number) {
            train.timer_late = late;
        }
    }

    pub(super) fn finish_train(
        &mut self,
        number: u32,
        attestation: Option<&Attestation>,
        now: Time,
        out: &mut Outbox,
    ) {
        let Some(train) = self.trains.running.remove(&number) else {
            return;
        };
        let peer = self.peers.get(&train.to);
        let clock = peer.and_then(|peer| peer.clock.offset(now));
        let late = train.timer_late;
        let ending = Ending {
            train: lines::hex(&train.id),
            clock: clock.map(|clock| (clock.ahead_ns, clock.bound.0)),
            timer_late: (late.count, late.p50.0, late.p99.0, late.max.0),
            attestation: attestation.map(Attested::of),
        };
        self.tell_errand(train.errand, &Line::End(Box::new(ending)), out);
        self.close_train(train.errand, out);
    }

    /// A train that does not come about.
    fn leave_out(&mut self, number: u32, why: &str, out: &mut Outbox) {
        let Some(train) = self.trains.running.remove(&number) else {
            return;
        };
        let absent = Absent {
            to: self.peer_name(train.to),
            why: why.to_owned(),
        };
        self.tell_errand(train.errand, &Line::Absent(absent), out);
        self.close_train(train.errand, out);
    }

    fn close_train(&mut self, errand: u64, out: &mut Outbox) {
        if let Some(errand) = self.trains.errands.get_mut(&errand) {
            errand.open = errand.open.saturating_sub(1);
        }
        self.end_errand_at_rest(errand, out);
    }

    pub(super) fn end_errand_at_rest(&mut self, number: u64, out: &mut Outbox) {
        let errand = self.trains.errands.get(&number);
        if !errand.is_some_and(|errand| errand.open == 0 && errand.asked.is_empty()) {
            return;
        }
        self.tell_errand(number, &Line::Over {}, out);
        if let Some(errand) = self.trains.errands.remove(&number)
            && let Whom::Peer(to, survey) = errand.whom
        {
            self.report_errand((to, survey), &errand.lines, out);
        }
    }

    pub(super) fn tell_errand(&mut self, errand: u64, line: &Line, out: &mut Outbox) {
        let Some(errand) = self.trains.errands.get_mut(&errand) else {
            return;
        };
        // Lines hold text and numbers only, and a Vec takes all of it.
        let json = serde_json::to_vec(line).unwrap_or_default();
        match errand.whom {
            Whom::Owner(command) => {
                let bytes = out.bytes(&json);
                out.push(Output::Answer {
                    command,
                    bytes,
                    last: matches!(line, Line::Over {}),
                });
            }
            Whom::Peer(..) if errand.lines.len() + json.len() < LINES_BYTES_MAX => {
                errand.lines.extend_from_slice(&json);
                errand.lines.push(b'\n');
            }
            Whom::Peer(..) => (),
        }
    }

    /// Ends what was waited for long enough.
    pub(super) fn tend_trains(&mut self, now: Time, out: &mut Outbox) {
        let due: Vec<u32> = self
            .trains
            .running
            .iter()
            .filter(|(_, train)| train.deadline() <= now)
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            match self.trains.running.get(&number).map(|train| &train.state) {
                None => (),
                Some(State::Asking { .. }) => {
                    self.leave_out(
                        number,
                        "it does not answer; is it of an older version?",
                        out,
                    );
                }
                Some(State::Probing(_)) => self.send_probes(number, false, now, out),
                Some(State::Ending { .. }) => self.finish_train(number, None, now, out),
            }
        }
        self.send_pieces(now, out);
        self.give_up_on_silent(now, out);
    }

    /// Peers that have not reported in time are told to be absent.
    fn give_up_on_silent(&mut self, now: Time, out: &mut Outbox) {
        let errands = self.trains.errands.iter_mut();
        let late = errands.filter(|(_, errand)| errand.until <= now && !errand.asked.is_empty());
        let late: Vec<(u64, BTreeSet<NodeId>)> = late
            .map(|(number, errand)| (*number, std::mem::take(&mut errand.asked)))
            .collect();
        for (number, silent) in late {
            for peer in silent {
                let to = format!("what {} measures", self.peer_name(peer));
                let why = "it has not reported in time".to_owned();
                self.tell_errand(number, &Line::Absent(Absent { to, why }), out);
            }
            self.end_errand_at_rest(number, out);
        }
    }

    pub(super) fn trains_deadline(&self) -> Option<Deadline> {
        let trains = self.trains.running.values().map(Running::deadline);
        let errands = self.trains.errands.values();
        let errands = errands.filter(|errand| !errand.asked.is_empty());
        let leaving = self.trains.leaving.iter().map(Leaving::at);
        let errands = errands.map(|errand| errand.until);
        let at = trains.chain(errands).chain(leaving).min()?;
        Some(Deadline { at, why: "train" })
    }
}

/// Reports of peers may take this much longer than their trains.
const ERRAND_GRACE: Span = Span::secs(10);
/// An id is told by so many of its letters.
const ID_PREFIX_MIN: usize = 4;

impl Trains {
    /// What this node's own trains send a second.
    fn own_probes_per_s(&self) -> u64 {
        let trains = self.running.values();
        trains.map(|train| train.schedule.probes_per_s()).sum()
    }

    /// Returns the number of a train that waits for this peer's word.
    pub(super) fn ending(&self, peer: NodeId, id: [u8; 16]) -> Option<u32> {
        let found = self.running.iter().find(|(_, train)| {
            let is_ending = matches!(train.state, State::Ending { .. });
            is_ending && train.to == peer && train.id == id
        });
        found.map(|(number, _)| *number)
    }

    /// Returns what a job was for; `None` where nobody waits for it.
    pub(super) fn take_work(&mut self, work: u64) -> Option<Work> {
        self.works.remove(&work)
    }

    /// Takes note of a job; `None` where too many are under way.
    pub(super) fn new_work(&mut self, work: Work) -> Option<u64> {
        if self.works.len() >= WORKS_MAX {
            return None;
        }
        self.last_work += 1;
        self.works.insert(self.last_work, work);
        Some(self.last_work)
    }

    pub(super) fn wait_for(&mut self, errand: u64, peer: NodeId) {
        if let Some(errand) = self.errands.get_mut(&errand) {
            errand.asked.insert(peer);
        }
    }

    pub(super) fn waits_for(&self, errand: u64, peer: NodeId) -> bool {
        let errand = self.errands.get(&errand);
        errand.is_some_and(|errand| errand.asked.contains(&peer))
    }

    pub(super) fn wait_no_more_for(&mut self, errand: u64, peer: NodeId) -> bool {
        let errand = self.errands.get_mut(&errand);
        errand.is_some_and(|errand| errand.asked.remove(&peer))
    }
}

impl Running {
    fn deadline(&self) -> Time {
        match &self.state {
            State::Asking { until } | State::Ending { until } => *until,
            State::Probing(prober) => {
                let line = (!self.ready.is_empty()).then_some(self.line_at);
                let unpaced = prober.next_due().map(|due| due + PACER_LATE_MAX);
                let times = [prober.deadline(), line, unpaced].into_iter();
                times.flatten().min().unwrap_or(Time::MAX)
            }
        }
    }
}

pub(super) fn scheduled((shape, count): (Shape, u32)) -> Result<Schedule, String> {
    Schedule::new(shape, count).map_err(|why: ScheduleError| why.to_string())
}

fn shape_of(interval: Span, burst: u16) -> Shape {
    match burst {
        1 => Shape::Idle { interval },
        burst => Shape::Loaded { interval, burst },
    }
}
