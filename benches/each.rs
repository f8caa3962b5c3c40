//! Every message's own times: ours when it is slow beside the peer as it usually is.

use std::time::Instant;

use crate::harness::{Figure, Rounds};
use crate::recorded::{Ours, Stream};
use crate::typed::Theirs;

/// Frames of a stream that are measured one by one.
const FRAMES_MAX: usize = 500;
/// Rounds without which a hundredth of the samples is nothing.
const ROUNDS_FACTOR: usize = 3;

/// The times of one message, in ns.
#[derive(Clone, Default)]
struct Times {
    ours: Vec<u64>,
    theirs: Vec<u64>,
}

/// A message's p99 of ours and p50 of the peer's.
struct Beside {
    ours_p99: u64,
    peer_p50: u64,
}

impl Beside {
    fn of(mut times: Times) -> Self {
        times.ours.sort_unstable();
        times.theirs.sort_unstable();
        Self {
            ours_p99: times.ours[(times.ours.len() - 1) * 99 / 100],
            peer_p50: times.theirs[(times.theirs.len() - 1) / 2],
        }
    }

    fn ratio(&self) -> f64 {
        self.ours_p99 as f64 / self.peer_p50.max(1) as f64
    }
}

/// Returns the message in the middle of all, and the one that a tenth of all exceeds, ordered by our
/// p99 in terms of the peer's p50. Both times carry one reading of the clock.
pub(crate) fn each(stream: &Stream, rounds: Rounds) -> [Figure; 2] {
    let frames = &stream.steady[..stream.steady.len().min(FRAMES_MAX)];
    let mut times = vec![Times::default(); frames.len()];
    for round in 0..=rounds.0 * ROUNDS_FACTOR {
        let (mut ours, mut theirs) = (Ours::ready(stream), Theirs::ready(stream));
        for turn in 0..2 {
            for (frame, times) in frames.iter().zip(&mut times) {
                if (round + turn) % 2 == 0 {
                    times.ours.push(ns(|| ours.take(frame)));
                } else {
                    times.theirs.push(ns(|| theirs.take(&frame[..])));
                }
            }
        }
        // The first round warms up.
        if round == 0 {
            times.fill(Times::default());
        }
    }
    let mut beside: Vec<Beside> = times.into_iter().map(Beside::of).collect();
    beside.sort_by(|one, other| one.ratio().total_cmp(&other.ratio()));
    [("p99", 5), ("p99_worst_tenth", 9)].map(|(case, tenths)| {
        let at = &beside[(beside.len() - 1) * tenths / 10];
        Figure {
            case: format!("{case}_{}", stream.name),
            ours_ns: at.ours_p99 as f64,
            peer: "serde_json p50",
            peer_ns: at.peer_p50 as f64,
            messages: frames.len(),
        }
    })
}

fn ns(step: impl FnOnce()) -> u64 {
    let begin = Instant::now();
    step();
    u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
