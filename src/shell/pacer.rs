//! The pacing thread: calls the core at moments that a timer of the runtime, coarse to a
//! millisecond, would miss.
//!
//! ```text
//! schedule ─▶ thread: sleep until shortly before, then yield ─▶ note how late ─▶ wake the core
//! ```
//! Moments are those of the schedule, whatever became of earlier ones. A core that is busy finds
//! one wake-up for all that passed meanwhile; how late the thread itself was is told apart.
//! The thread begins with the first schedule, for most nodes never measure.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::Notify;

use crate::latency::train::Spread;
use crate::model::time::{Span, Time};
use crate::shell::clock::Clock;

/// How long before a moment the thread stops sleeping: the kernel wakes a sleeper some 50 µs late.
const YIELD_BEFORE: Duration = Duration::from_micros(100);
/// Orders waiting for the thread. Full: a schedule is not kept, and the node's own timer serves it.
const ORDERS_MAX: usize = 64;
/// The longest sleep without a look at the orders.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);
/// Lateness is told to two digits, up to a minute.
const LATE_NS_MAX: u64 = 60_000_000_000;

/// The core's side. Dropping it ends the thread.
pub(super) struct Pacer {
    clock: Clock,
    /// Each wake-up is made later by this, for rehearsals.
    rehearsed: Span,
    shared: Arc<Shared>,
    orders: OnceCell<Option<SyncSender<Order>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    woken: Notify,
}

/// At most one entry for each train that runs.
#[derive(Default)]
struct State {
    /// The core's side is gone.
    is_over: bool,
    due: BTreeSet<u32>,
    late: BTreeMap<u32, Histogram<u32>>,
}

enum Order {
    Begin(u32, Schedule),
    End(u32),
}

#[derive(Clone, Copy)]
struct Schedule {
    next: Time,
    interval: Span,
    left: u32,
}

impl Pacer {
    pub(super) fn new(clock: Clock, rehearsed: Span) -> Self {
        Self {
            clock,
            rehearsed,
            shared: Arc::default(),
            orders: OnceCell::new(),
        }
    }

    /// Keeps a train's moments.
    pub(super) fn begin(&self, train: u32, first: Time, interval: Span, slots: u32) {
        let schedule = Schedule {
            next: first,
            interval,
            left: slots,
        };
        let histogram = Histogram::new_with_bounds(1, LATE_NS_MAX, 2);
        self.shared
            .lock()
            .late
            .extend(histogram.map(|histogram| (train, histogram)));
        self.order(Order::Begin(train, schedule));
    }

    /// Keeps them no more; returns how late they were.
    pub(super) fn end(&self, train: u32) -> Spread {
        self.order(Order::End(train));
        let mut state = self.shared.lock();
        state.due.remove(&train);
        state.late.remove(&train).map(spread).unwrap_or_default()
    }

    /// Waits until a moment has come; returns whose. Nobody's, once the pacer is gone.
    pub(super) async fn due(shared: &Waiting) -> Vec<u32> {
        loop {
            {
                let mut state = shared.0.lock();
                if state.is_over || !state.due.is_empty() {
                    return std::mem::take(&mut state.due).into_iter().collect();
                }
            }
            shared.0.woken.notified().await;
        }
    }

    /// What the core waits on.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting(Arc::clone(&self.shared))
    }

    fn order(&self, order: Order) {
        let orders = self.orders.get_or_init(|| {
            let (orders, taken) = sync_channel(ORDERS_MAX);
            let thread = Thread {
                clock: self.clock,
                rehearsed: self.rehearsed,
                shared: Arc::clone(&self.shared),
                schedules: BTreeMap::new(),
            };
            let pacing = thread::Builder::new().name("pacer".to_owned());
            match pacing.spawn(move || thread.run(&taken)) {
                Ok(_) => Some(orders),
                Err(error) => {
                    tracing::warn!(%error, "no pacing thread; the runtime's timer paces probes");
                    None
                }
            }
        });
        if let Some(orders) = orders
            && let Err(TrySendError::Full(_)) = orders.try_send(order)
        {
            tracing::warn!("the pacing thread has too many orders");
        }
    }
}

/// The way by which the thread wakes the core.
pub(super) struct Waiting(Arc<Shared>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.woken.notify_one();
    }
}

impl fmt::Debug for Pacer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pacer").finish_non_exhaustive()
    }
}

struct Thread {
    clock: Clock,
    rehearsed: Span,
    shared: Arc<Shared>,
    schedules: BTreeMap<u32, Schedule>,
}

impl Thread {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let next = self.schedules.values().map(|schedule| schedule.next).min();
            let wait = next.map_or(LOOK_EVERY, |at| {
                self.clock
                    .until(at + self.rehearsed)
                    .saturating_sub(YIELD_BEFORE)
            });
            match orders.recv_timeout(wait) {
                Ok(Order::Begin(train, schedule)) if schedule.left > 0 => {
                    self.schedules.insert(train, schedule);
                }
                Ok(Order::Begin(train, _) | Order::End(train)) => {
                    self.schedules.remove(&train);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(at) = next {
                        self.pass(at);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Waits for the moment itself and calls for every train whose moment has come.
    fn pass(&mut self, at: Time) {
        while !self.clock.until(at + self.rehearsed).is_zero() {
            thread::yield_now();
        }
        let now = self.clock.now();
        let mut state = self.shared.lock();
        for (train, schedule) in &mut self.schedules {
            while schedule.left > 0 && schedule.next + self.rehearsed <= now {
                let late = now.since(schedule.next);
                if let Some(histogram) = state.late.get_mut(train) {
                    histogram.saturating_record(late.0);
                    state.due.insert(*train);
                }
                schedule.next = schedule.next + schedule.interval;
                schedule.left -= 1;
            }
        }
        drop(state);
        self.schedules.retain(|_, schedule| schedule.left > 0);
        self.shared.woken.notify_one();
    }
}

fn spread(late: Histogram<u32>) -> Spread {
    Spread {
        count: late.len(),
        p50: Span(late.value_at_quantile(0.5)),
        p99: Span(late.value_at_quantile(0.99)),
        max: Span(late.max()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        runtime.block_on(async {
            let patience = Duration::from_secs(20);
            tokio::time::timeout(patience, test).await.unwrap()
        })
    }

    /// Lets a train pass, and returns how late its moments were once all of them were called.
    fn pace(rehearsed: Span, slots: u32) -> Spread {
        let clock = Clock::start();
        let pacer = Pacer::new(clock, rehearsed);
        let waiting = pacer.waiting();
        let (interval, first) = (Span::MILLI, clock.now() + Span::millis(5));
        pacer.begin(7, first, interval, slots);
        let called = || waiting.0.lock().late[&7].len();
        run(async {
            while called() < u64::from(slots) {
                assert_eq!(Pacer::due(&waiting).await, [7]);
                let last = first + interval.times(called().saturating_sub(1));
                assert!(clock.now() >= last + rehearsed, "called before its moment");
            }
        });
        pacer.end(7)
    }

    #[test]
    fn every_moment_is_kept_and_none_too_early() {
        let late = pace(Span::ZERO, 100);
        assert_eq!(late.count, 100);
    }

    #[test]
    fn a_rehearsed_lateness_shows_in_every_moment() {
        let late = pace(Span::MILLI, 100);
        assert_eq!(late.count, 100);
        assert!(late.p50 >= Span::micros(990), "{late:?}");
    }
}
