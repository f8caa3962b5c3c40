//! Ours and a peer in turn, on one pinned core, and one line of JSON a figure.

use std::hint::black_box;
use std::io::{IsTerminal, Write, stdout};
use std::time::Instant;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Rounds of a case: each lets ours and the peer read the same messages, the first of them changing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds(pub(crate) usize);

/// What a case came to.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) case: String,
    pub(crate) ours_ns: f64,
    pub(crate) peer: &'static str,
    pub(crate) peer_ns: f64,
    pub(crate) messages: usize,
}

/// Keeps this thread on the last core that it may use: the first one has most of the interrupts.
pub(crate) fn pin() {
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    let last = (0..CpuSet::MAX_CPU)
        .rev()
        .find(|core| allowed.is_set(*core));
    if let Some(core) = last {
        let mut only = CpuSet::new();
        only.set(core);
        sched_setaffinity(None, &only).ok();
    }
}

/// Measures both over the same messages, each on a state of its own that is made anew for every
/// round, unmeasured; the median of the rounds counts, for one message.
pub(crate) fn compare<A, B>(
    case: &str,
    rounds: Rounds,
    messages: usize,
    (mut fresh, mut ours): (impl FnMut() -> A, impl FnMut(&mut A)),
    (peer, mut made, mut theirs): (&'static str, impl FnMut() -> B, impl FnMut(&mut B)),
) -> Figure {
    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    let per_message = |begin: Instant| begin.elapsed().as_secs_f64() * 1e9 / messages.max(1) as f64;
    for round in 0..rounds.0 + 1 {
        let (mut one, mut other) = (fresh(), made());
        for turn in 0..2 {
            let which = (round + turn) % 2;
            let begin = Instant::now();
            if which == 0 {
                ours(&mut one);
            } else {
                theirs(&mut other);
            }
            let ns = per_message(begin);
            // The first round warms up.
            if round > 0 {
                times[which].push(ns);
            }
        }
    }
    let [mut ours, mut theirs] = times;
    Figure {
        case: case.to_owned(),
        ours_ns: median(&mut ours),
        peer,
        peer_ns: median(&mut theirs),
        messages,
    }
}

/// Prints one figure as one line, and for a person a row of a table.
pub(crate) fn report(bench: &str, figures: &[Figure]) {
    for figure in figures {
        let ratio = figure.ours_ns / figure.peer_ns.max(f64::MIN_POSITIVE);
        say(&format!(
            r#"{{"bench":"{bench}","case":"{}","ours_ns":{:.1},"peer":"{}","peer_ns":{:.1},"ratio":{ratio:.4},"messages":{}}}"#,
            figure.case, figure.ours_ns, figure.peer, figure.peer_ns, figure.messages
        ));
    }
    if !stdout().is_terminal() {
        return;
    }
    say(&format!(
        "\n{:<34} {:>10} {:>12} {:>8}  peer",
        "case", "ours ns", "peer ns", "ratio"
    ));
    for figure in figures {
        say(&format!(
            "{:<34} {:>10.1} {:>12.1} {:>8.3}  {}",
            figure.case,
            figure.ours_ns,
            figure.peer_ns,
            figure.ours_ns / figure.peer_ns.max(f64::MIN_POSITIVE),
            figure.peer
        ));
    }
}

/// Keeps a value from being optimised away.
pub(crate) fn keep<T>(value: T) {
    black_box(value);
}

/// Prints a line; whoever closed the other end has seen enough.
fn say(line: &str) {
    writeln!(stdout(), "{line}").ok();
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(0.0)
}
