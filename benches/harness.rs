//! Ours and a peer in turn, on one pinned core.

#[path = "figure.rs"]
mod figure;

use std::hint::black_box;
use std::time::Instant;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

pub(crate) use crate::harness::figure::{Figure, report};

/// Rounds of a case: each lets ours and the peer read the same messages, the first of them changing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds(pub(crate) usize);

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

/// Keeps a value from being optimised away.
pub(crate) fn keep<T>(value: T) {
    black_box(value);
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(0.0)
}
