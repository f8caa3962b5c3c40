//! The one clock: anchored to UTC when the program starts, monotonic from there on.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the place where time becomes an input"
)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::time::{Span, Time};

/// Reads the time. A step of the system clock after the start does not show.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    utc: Time,
}

impl Clock {
    /// Anchors a clock to UTC.
    pub fn start() -> Self {
        let utc = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            started: Instant::now(),
            utc: Time::ZERO + span_of(utc),
        }
    }

    /// Sets the clock wrong by a span ahead, for rehearsals.
    #[must_use]
    pub fn ahead_by(self, span: Span) -> Self {
        let utc = self.utc + span;
        Self { utc, ..self }
    }

    pub fn now(&self) -> Time {
        self.utc + span_of(self.started.elapsed())
    }

    /// Returns how long it is until `at`; nothing where that has passed.
    pub fn until(&self, at: Time) -> Duration {
        Duration::from_nanos(at.since(self.now()).0)
    }
}

fn span_of(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
