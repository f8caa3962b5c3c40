//! Whoever sends a message and waits for its answer, and a race of several of them, turn by turn.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::figure::Figure;

/// When messages came to the other core: the clock is one for both.
#[derive(Debug)]
pub(crate) struct Arrivals {
    begun: Instant,
    awaited: AtomicUsize,
    last_ns: AtomicU64,
}

impl Arrivals {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            awaited: AtomicUsize::new(0),
            last_ns: AtomicU64::new(0),
        })
    }

    pub(crate) fn expect(&self, messages: usize) {
        self.awaited.store(messages, Ordering::Release);
    }

    pub(crate) fn note(&self) {
        self.last_ns.store(ns_since(self.begun), Ordering::Release);
        self.awaited.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn are_there(&self) -> bool {
        self.awaited.load(Ordering::Acquire) == 0
    }

    /// Returns how long after `begin` the last one came.
    pub(crate) fn last_after(&self, begin: Instant) -> u64 {
        let begin = u64::try_from(begin.duration_since(self.begun).as_nanos()).unwrap();
        self.last_ns.load(Ordering::Acquire) - begin
    }
}

/// How a message travels where there is a choice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Datagram,
    Stream,
}

/// When the next message leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As soon as the answer to the last one is there.
    Close,
    /// One a millisecond, so that caches and predictors have seen other things meanwhile.
    EveryMilli,
}

/// Two ends, each on its own core; asleep unless it is their turn.
pub(crate) trait Contestant {
    /// Returns the round trips in ns.
    fn run(&mut self, count: usize, pace: Pace) -> Vec<u64>;
}

/// The p50 and the p99 of each contestant in each round.
pub(crate) struct Outcome(Vec<[Vec<f64>; 2]>);

/// What a thread that works on command is told.
pub(crate) type Command = (usize, Pace);

/// A contestant whose own thread sends and measures.
pub(crate) struct Threaded {
    commands: Sender<Command>,
    samples: Receiver<Vec<u64>>,
}

/// The end of a thread that measures.
pub(crate) struct Turns {
    pub(crate) commands: Receiver<Command>,
    pub(crate) samples: Sender<Vec<u64>>,
}

impl Threaded {
    /// Starts a thread on the first of the two cores.
    pub(crate) fn start(run: impl FnOnce(Turns) + Send + 'static) -> Self {
        let (commands, received) = channel();
        let (sending, samples) = channel();
        let turns = Turns {
            commands: received,
            samples: sending,
        };
        thread::spawn(move || {
            pin(0);
            run(turns);
        });
        Self { commands, samples }
    }
}

impl Contestant for Threaded {
    fn run(&mut self, count: usize, pace: Pace) -> Vec<u64> {
        self.commands.send((count, pace)).unwrap();
        self.samples.recv_timeout(Duration::from_secs(60)).unwrap()
    }
}

impl Outcome {
    /// Returns the figures of one contestant beside another: p50, then p99.
    pub(crate) fn figures(
        &self,
        case: &str,
        ours: usize,
        peer: &'static str,
        at: usize,
    ) -> Vec<Figure> {
        let beside = |which: usize| Figure {
            case: format!("{case}_{}", ["p50", "p99"][which]),
            ours_ns: middle(&self.0[ours][which]),
            peer,
            peer_ns: middle(&self.0[at][which]),
            messages: 1,
        };
        vec![beside(0), beside(1)]
    }
}

/// Lets each in turn make its round trips; the first round warms up.
pub(crate) fn race(
    ends: &mut [Box<dyn Contestant>],
    rounds: usize,
    count: usize,
    pace: Pace,
) -> Outcome {
    let mut outcome = Outcome(vec![[Vec::new(), Vec::new()]; ends.len()]);
    for round in 0..=rounds {
        for turn in 0..ends.len() {
            let at = (round + turn) % ends.len();
            let mut samples = ends[at].run(count, pace);
            samples.sort_unstable();
            if round > 0 {
                for (which, share) in [50, 99].into_iter().enumerate() {
                    let value = samples[(samples.len() - 1) * share / 100];
                    outcome.0[at][which].push(value as f64);
                }
            }
            // Whoever looked at its socket goes to sleep before the next one's turn.
            thread::sleep(Duration::from_millis(8));
        }
    }
    outcome
}

/// The cores of this process, as they were before any thread was pinned: a thread begins with
/// those of the one that started it.
static CORES: OnceLock<Vec<usize>> = OnceLock::new();

/// Notes the cores that may be used; there must be two.
pub(crate) fn find_cores() {
    let allowed = sched_getaffinity(None).unwrap();
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|&core| allowed.is_set(core))
        .collect();
    assert!(cores.len() > 1, "two ends need two cores");
    CORES.set(cores).unwrap();
}

/// Keeps this thread on the first or the second of two cores.
pub(crate) fn pin(which: usize) {
    let mut only = CpuSet::new();
    only.set(CORES.get().unwrap()[which]);
    sched_setaffinity(None, &only).unwrap();
}

/// Looks at the clock until it is time.
pub(crate) fn spin_until(at: Instant) {
    while Instant::now() < at {
        std::hint::spin_loop();
    }
}

pub(crate) fn ns_since(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_nanos()).unwrap()
}

pub(crate) fn middle(samples: &[f64]) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_unstable_by(f64::total_cmp);
    samples[samples.len() / 2]
}
