//! Bytes of a venue in, bytes of both legs out, through `Node`: time, allocations, and what is
//! waited for. `benches/README.md` tells how to run and read it.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock around the node, which never does"
)]

mod cold;
mod quiet;
#[path = "../tests/node/leader.rs"]
#[expect(dead_code, reason = "here nobody draws on a leader's envelopes")]
mod leader;

use std::alloc::System;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{IsTerminal, Write, stdout};
use std::rc::Rc;
use std::time::Instant;
use std::{env, fs};

use expressnet::membership::card::pin_of;
use expressnet::model::market::Side;
use expressnet::model::random::Random;
use expressnet::model::time::Span;
use expressnet::node::input::{Command, Input};
use expressnet::node::output::{Carrier, Outbox, Output};
use expressnet::risk::Switch;
use serde::Deserialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::cold::Cold;
use crate::leader::{Leader, PEER_KEY, Probe, legs_among};
use crate::quiet::quiet_frame;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How often each case runs.
struct Counts {
    /// Frames that change nothing tradable. The first tenth of all rounds warms up.
    quiet: u32,
    /// Frames between two that fire.
    between: u32,
    /// Rounds without an armed envelope.
    slow: u32,
    /// Fires by a core that has done other things.
    cold: u32,
    /// Reconnects of feed and link.
    reconnects: u32,
}

impl Counts {
    const FULL: Self = Self {
        quiet: 200_000,
        between: 50,
        slow: 1_000,
        cold: 400,
        reconnects: 500,
    };
    const QUICK: Self = Self {
        quiet: 500,
        between: 10,
        slow: 5,
        cold: 4,
        reconnects: 3,
    };
}

/// Time and allocations of one or more steps.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Until the bytes of the last leg were handed over, or to the end where none was.
    ns: u64,
    /// To the end of each step.
    steps_ns: u64,
    allocations: u64,
}

/// When the last leg was handed over in the step that runs.
type Left = Rc<Cell<Option<Instant>>>;

/// Takes the legs and looks at the clock, where a node writes them into sockets.
struct Taker(Left);

impl Carrier for Taker {
    fn carry(&mut self, outbox: &Outbox) {
        for output in outbox.waiting() {
            if let Output::LinkStream { bytes, .. } | Output::VenueRequest { bytes, .. } = output {
                black_box(outbox.read(*bytes));
            }
        }
        self.0.set(Some(Instant::now()));
    }
}

/// Measures every call of `Node::handle`.
#[derive(Default)]
struct Meter {
    since: Cost,
    left: Left,
    by_input: BTreeMap<&'static str, Vec<u64>>,
}

impl Probe for Meter {
    fn measure(&mut self, input: &'static str, step: impl FnOnce()) {
        self.left.take();
        let cost = measure(step, &self.left);
        self.since.ns += cost.ns;
        self.since.steps_ns += cost.steps_ns;
        self.since.allocations += cost.allocations;
        self.by_input.entry(input).or_default().push(cost.steps_ns);
    }
}

impl Meter {
    /// Returns the cost of everything since the last call.
    fn take(&mut self) -> Cost {
        std::mem::take(&mut self.since)
    }
}

/// The samples of one case.
#[derive(Default)]
struct Samples {
    ours: Vec<u64>,
    steps: Vec<u64>,
    peers: Vec<u64>,
    allocations: u64,
    peer_allocations: u64,
    waited: u64,
}

/// A book frame as serde_json reads it, borrowed and untagged: the least it can do.
#[derive(Deserialize)]
struct Book<'a> {
    ch: &'a str,
    pair: &'a str,
    kind: &'a str,
    prev: Option<u64>,
    seq: u64,
    ts: &'a str,
    lag_us: u64,
    #[serde(borrow)]
    bids: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    asks: Vec<(&'a str, &'a str)>,
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    // `cargo bench` says `--bench`; `cargo test --benches` says nothing.
    let is_quick = has("--quick") || !has("--bench");
    let counts = if is_quick {
        Counts::QUICK
    } else {
        Counts::FULL
    };
    let mut leader = Leader::new(Meter::default());
    let taker = Taker(Rc::clone(&leader.probe.left));
    leader.out.carry_by(Box::new(taker));
    let before = switches();
    let (quiet, fire) = steady(&mut leader, &counts);
    let by_input = leader.probe.by_input.clone();
    let cold = cold(&mut leader, &counts);
    // What comes into cold caches is told apart.
    leader.probe.by_input = by_input;
    let slow = unarmed(&mut leader, &counts);
    reconnect(&mut leader, &counts);
    let after = switches();
    let why = "the bench is over";
    leader.hand(Input::StoreFailed { why });
    assert_eq!(fire.waited, 0, "a fire waited for a commit");
    assert_eq!(cold.waited, 0, "a cold fire waited for a commit");
    assert_eq!(slow.waited, u64::from(counts.slow), "one commit arms");
    assert_eq!(quiet.allocations, 0, "a steady frame allocates nothing");

    let mut table = Table::default();
    table.case("quiet_frame", &quiet);
    for (name, samples) in [
        ("fire_armed", &fire),
        ("fire_armed_cold", &cold),
        ("fire_unarmed", &slow),
    ] {
        table.case(name, samples);
        table.steps(name, samples);
    }
    for (input, samples) in &leader.probe.by_input {
        table.input(input, samples);
    }
    table.line(&[
        ("case", "\"waiting\"".to_owned()),
        ("waited", fire.waited.to_string()),
        ("blocked", (after.0 - before.0).to_string()),
        ("preempted", (after.1 - before.1).to_string()),
    ]);
    if stdout().is_terminal() {
        table.print();
    }
}

/// Frames that fire nothing, and every so often one that does.
fn steady(leader: &mut Leader<Meter>, counts: &Counts) -> (Samples, Samples) {
    let mut random = Random::new(1);
    let (mut quiet, mut fire) = (Samples::default(), Samples::default());
    let warm = counts.quiet / 10;
    for round in 0..warm + counts.quiet {
        if round == warm {
            (quiet, fire) = (Samples::default(), Samples::default());
            leader.probe.by_input.clear();
        }
        let frame = quiet_frame(leader, &mut random);
        let peer_first = round % 2 == 0;
        quiet.compare(peer_first, &frame, || {
            leader.probe.take();
            leader.frame(&frame);
            (leader.probe.take(), 0)
        });
        leader.settle();
        leader.advance(Span::MILLI);
        if round % counts.between == 0 {
            let side = [Side::Ask, Side::Bid][(round / counts.between % 2) as usize];
            let frame = leader.crossing_frame(side);
            let peer_first = round / counts.between % 4 < 2;
            fire.compare(peer_first, &frame, || {
                leader.probe.take();
                let waited = leader.fire_measured(&frame);
                (leader.probe.take(), waited)
            });
            leader.clear(side);
        }
    }
    (quiet, fire)
}

/// Frames that fire a millisecond after anything else, out of caches that hold other things. The
/// peer's caches are made as cold.
fn cold(leader: &mut Leader<Meter>, counts: &Counts) -> Samples {
    let mut caches = Cold::new();
    let mut cold = Samples::default();
    for round in 0..counts.cold {
        let side = [Side::Ask, Side::Bid][(round % 2) as usize];
        let frame = leader.crossing_frame(side);
        let peer_first = round % 4 < 2;
        if peer_first {
            caches.make(&frame);
            cold.parse(&frame);
        }
        caches.make(&frame);
        leader.probe.take();
        let waited = leader.fire_measured(&frame);
        let cost = leader.probe.take();
        cold.add(cost, waited);
        if !peer_first {
            caches.make(&frame);
            cold.parse(&frame);
        }
        leader.clear(side);
    }
    cold
}

/// Frames that cross while the envelope beside the venue waits for its commit.
fn unarmed(leader: &mut Leader<Meter>, counts: &Counts) -> Samples {
    let mut slow = Samples::default();
    for round in 0..counts.slow {
        leader.order(Command::Switch(Switch::Halt));
        leader.settle();
        leader.order(Command::Switch(Switch::Active));
        let frame = leader.crossing_frame(Side::Ask);
        slow.compare(round % 2 == 0, &frame, || {
            leader.probe.take();
            let waited = leader.fire_measured(&frame);
            (leader.probe.take(), waited)
        });
        leader.clear(Side::Ask);
        for question in [
            Command::Status,
            Command::Balance,
            Command::Legs,
            Command::Limits,
            Command::Watch,
        ] {
            leader.order(question);
        }
    }
    slow
}

/// Feed and link go and come back, for the inputs that a steady stream does not bring.
fn reconnect(leader: &mut Leader<Meter>, counts: &Counts) {
    for _ in 0..counts.reconnects {
        leader.feed_down();
        leader.feed_up();
        leader.link_down();
        leader.link_up();
        leader.advance(Span::millis(300));
    }
}

impl Samples {
    /// Runs our step and the peer's parse of the same bytes; which goes first changes.
    fn compare(&mut self, peer_first: bool, frame: &[u8], ours: impl FnOnce() -> (Cost, u32)) {
        if peer_first {
            self.parse(frame);
        }
        let (cost, waited) = ours();
        self.add(cost, waited);
        if !peer_first {
            self.parse(frame);
        }
    }

    fn add(&mut self, cost: Cost, waited: u32) {
        self.ours.push(cost.ns);
        self.steps.push(cost.steps_ns);
        self.allocations += cost.allocations;
        self.waited += u64::from(waited);
    }

    fn parse(&mut self, frame: &[u8]) {
        let parse = || {
            let book: Book<'_> = serde_json::from_slice(black_box(frame)).unwrap();
            let Book {
                ch,
                pair,
                kind,
                prev,
                seq,
                ts,
                lag_us,
                bids,
                asks,
            } = book;
            black_box((ch, pair, kind, prev, seq, ts, lag_us, bids, asks));
        };
        let cost = measure(parse, &Left::default());
        self.peers.push(cost.ns);
        self.peer_allocations += cost.allocations;
    }
}

fn measure(step: impl FnOnce(), left: &Left) -> Cost {
    let region = Region::new(ALLOCATOR);
    let begin = Instant::now();
    step();
    let end = Instant::now();
    let change = region.change();
    let ns_to = |at: Instant| u64::try_from((at - begin).as_nanos()).unwrap_or(u64::MAX);
    Cost {
        ns: ns_to(left.get().unwrap_or(end)),
        steps_ns: ns_to(end),
        allocations: (change.allocations + change.reallocations) as u64,
    }
}

/// Returns how often this thread gave up its processor of itself, to wait for anything at all, and
/// how often it was taken from it. Zero where the system does not tell.
fn switches() -> (u64, u64) {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let count = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    };
    (
        count("voluntary_ctxt_switches:"),
        count("nonvoluntary_ctxt_switches:"),
    )
}

/// What was printed as lines, for a person.
#[derive(Default)]
struct Table {
    rows: Vec<Vec<(&'static str, String)>>,
}

impl Table {
    fn case(&mut self, name: &str, samples: &Samples) {
        let (ours, peers) = (Quantiles::of(&samples.ours), Quantiles::of(&samples.peers));
        let count = samples.ours.len() as u64;
        self.line(&[
            ("case", format!("\"{name}\"")),
            ("ours_ns", ours.p50.to_string()),
            ("ours_p99_ns", ours.p99.to_string()),
            ("ours_p999_ns", ours.p999.to_string()),
            ("worst_ns", ours.worst.to_string()),
            ("peer", "\"serde_json\"".to_owned()),
            ("peer_ns", peers.p50.to_string()),
            ("peer_p99_ns", peers.p99.to_string()),
            ("ratio", thousandths(ours.p50, peers.p50)),
            ("messages", count.to_string()),
            ("waited", samples.waited.to_string()),
        ]);
        self.line(&[
            ("case", format!("\"{name}_allocations\"")),
            (
                "allocs_per_message",
                thousandths(samples.allocations, count),
            ),
            ("peer", "\"serde_json\"".to_owned()),
            (
                "peer_allocs_per_message",
                thousandths(samples.peer_allocations, count),
            ),
        ]);
    }

    /// Tells how long the steps took as a whole, with what comes behind the legs.
    fn steps(&mut self, name: &str, samples: &Samples) {
        let (steps, peers) = (Quantiles::of(&samples.steps), Quantiles::of(&samples.peers));
        self.line(&[
            ("case", format!("\"{name}_to_end\"")),
            ("ours_ns", steps.p50.to_string()),
            ("ours_p99_ns", steps.p99.to_string()),
            ("ours_p999_ns", steps.p999.to_string()),
            ("worst_ns", steps.worst.to_string()),
            ("peer", "\"serde_json\"".to_owned()),
            ("peer_ns", peers.p50.to_string()),
            ("ratio", thousandths(steps.p50, peers.p50)),
            ("messages", samples.steps.len().to_string()),
        ]);
    }

    fn input(&mut self, input: &str, samples: &[u64]) {
        let quantiles = Quantiles::of(samples);
        self.line(&[
            ("case", format!("\"input_{input}\"")),
            ("ours_ns", quantiles.p50.to_string()),
            ("ours_p99_ns", quantiles.p99.to_string()),
            ("ours_p999_ns", quantiles.p999.to_string()),
            ("worst_ns", quantiles.worst.to_string()),
            ("messages", samples.len().to_string()),
        ]);
    }

    /// Prints one figure as one line of JSON.
    fn line(&mut self, fields: &[(&'static str, String)]) {
        let mut text = r#"{"bench":"pipeline""#.to_owned();
        for (name, value) in fields {
            text.push_str(&format!(",\"{name}\":{value}"));
        }
        say(&format!("{text}}}"));
        self.rows.push(fields.to_vec());
    }

    fn print(&self) {
        const COLUMNS: [&str; 10] = [
            "case",
            "ours_ns",
            "ours_p99_ns",
            "ours_p999_ns",
            "worst_ns",
            "peer_ns",
            "ratio",
            "allocs_per_message",
            "messages",
            "waited",
        ];
        let heads = ["case", "p50 ns", "p99 ns", "p99.9 ns", "worst ns"];
        let heads = heads
            .iter()
            .chain(&["serde p50", "ratio", "allocs", "messages", "waited"]);
        print_row(heads.map(|head| (*head).to_owned()));
        for row in &self.rows {
            print_row(COLUMNS.iter().map(|column| {
                let field = row.iter().find(|(name, _)| name == column);
                field.map_or(String::new(), |(_, value)| value.replace('"', ""))
            }));
        }
    }
}

fn print_row(cells: impl Iterator<Item = String>) {
    let text: Vec<String> = cells
        .enumerate()
        .map(|(index, cell)| match index {
            0 => format!("{cell:<25}"),
            _ => format!("{cell:>10}"),
        })
        .collect();
    say(&text.join(" "));
}

/// Prints a line; whoever closed the other end has seen enough.
fn say(line: &str) {
    writeln!(stdout(), "{line}").ok();
}

struct Quantiles {
    p50: u64,
    p99: u64,
    p999: u64,
    worst: u64,
}

impl Quantiles {
    fn of(samples: &[u64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        let at = |per_mille: usize| {
            let index = sorted.len() * per_mille / 1_000;
            let last = sorted.len().saturating_sub(1);
            sorted.get(index.min(last)).copied().unwrap_or(0)
        };
        Self {
            p50: at(500),
            p99: at(990),
            p999: at(999),
            worst: at(1_000),
        }
    }
}

/// Writes a share with three digits.
fn thousandths(part: u64, whole: u64) -> String {
    let share = part * 1_000 / whole.max(1);
    format!("{}.{:03}", share / 1_000, share % 1_000)
}

impl Leader<Meter> {
    /// Fires and makes sure that the meter has seen both legs leave.
    fn fire_measured(&mut self, frame: &[u8]) -> u32 {
        let waited = self.fire(frame);
        let late = legs_among(self.out.waiting(), &self.out);
        assert_eq!(late, (false, false), "a leg waited for the end of its step");
        waited
    }

    fn feed_down(&mut self) {
        let venue = self.venue;
        self.hand(Input::FeedDown { venue });
        self.settle();
    }

    fn link_down(&mut self) {
        let link = self.link;
        self.peer.handle_disconnected();
        self.hand(Input::LinkDown { link });
        self.settle();
        let peer = pin_of(&PEER_KEY).node_id();
        self.hand(Input::DialFailed { peer });
        self.settle();
    }
}
