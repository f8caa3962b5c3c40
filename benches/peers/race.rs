//! Several in turn, on one pinned core: each does the same work, the first of them changing.

use std::time::Instant;

use crate::harness::{Figure, Rounds};

/// What is measured of one contestant in one round. What it holds is dropped afterwards, unmeasured.
pub(crate) type Pass<'a> = Box<dyn FnMut() + 'a>;

/// One that makes a state anew for every round, unmeasured.
pub(crate) struct Contestant<'a> {
    name: &'static str,
    ready: Box<dyn FnMut() -> Pass<'a> + 'a>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(name: &'static str, mut ready: impl FnMut() -> Pass<'a> + 'a) -> Self {
        Self {
            name,
            ready: Box::new(move || ready()),
        }
    }
}

/// Lets each do its work once a round; returns the figures of the first beside each of the others,
/// by the medians of the rounds, for one message.
pub(crate) fn race(
    case: &str,
    rounds: Rounds,
    messages: usize,
    contestants: &mut [Contestant<'_>],
) -> Vec<Figure> {
    let count = contestants.len();
    let mut times = vec![Vec::new(); count];
    for round in 0..=rounds.0 {
        let mut passes: Vec<Pass<'_>> = contestants.iter_mut().map(|one| (one.ready)()).collect();
        for turn in 0..count {
            let at = (round + turn) % count;
            let begin = Instant::now();
            passes[at]();
            let took = begin.elapsed().as_secs_f64();
            // The first round warms up.
            if round > 0 {
                times[at].push(took * 1e9 / messages.max(1) as f64);
            }
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    let beside = |at: usize| Figure {
        case: case.to_owned(),
        ours_ns: medians[0],
        peer: contestants[at].name,
        peer_ns: medians[at],
        messages,
    };
    (1..count).map(beside).collect()
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(0.0)
}
