//! Cancels that wait (fault).

use std::collections::BTreeMap;

use crate::model::ids::OrderId;
use crate::model::time::Time;
use crate::venue::exchange::AccountNo;

/// Cancels that were answered and have not taken effect (fault).
#[derive(Debug, Default)]
pub(super) struct SlowCancels {
    waiting: BTreeMap<(Time, u64), (AccountNo, OrderId)>,
    pushed: u64,
}

impl SlowCancels {
    /// Cancels that wait; one more takes effect at once.
    const WAITING_MAX: usize = 10_000;

    pub(super) fn push(&mut self, account: AccountNo, id: OrderId, at: Time) -> bool {
        self.pushed += 1;
        let fits = self.waiting.len() < Self::WAITING_MAX;
        if fits {
            self.waiting.insert((at, self.pushed), (account, id));
        }
        fits
    }

    pub(super) fn pop_due(&mut self, now: Time) -> Option<(AccountNo, OrderId)> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub(super) fn next_at(&self) -> Option<Time> {
        self.waiting.keys().next().map(|(at, _)| *at)
    }
}
