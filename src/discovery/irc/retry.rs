//! When to try again: later each time, never at the same moment as others.

use crate::model::random::Random;
use crate::model::time::Span;

/// Waits that double up to a limit.
#[derive(Clone, Debug)]
pub struct Retry {
    next: Span,
    least: Span,
    most: Span,
    /// What has held for so long begins anew.
    settled: Span,
}

impl Retry {
    /// For connections: from 5 s to 10 min, anew after 10 min on the channel.
    pub const fn of_dials() -> Self {
        Self::new(Span::secs(5), Span::secs(600), Span::secs(600))
    }

    /// For a channel that one may not enter: from 1 min to 1 h.
    pub const fn of_joins() -> Self {
        Self::new(Span::secs(60), Span::secs(3_600), Span::secs(3_600))
    }

    const fn new(least: Span, most: Span, settled: Span) -> Self {
        Self {
            next: least,
            least,
            most,
            settled,
        }
    }

    /// Returns how long to wait now: between a half and one and a half of what the row says.
    pub fn next_wait(&mut self, random: &mut Random) -> Span {
        let wait = self.next;
        self.next = Span(wait.0.saturating_mul(2)).min(self.most);
        Span(wait.0 / 2 + random.below(wait.0))
    }

    /// The other side has said that it wants none of this: the next wait is a long one.
    pub fn be_patient(&mut self) {
        /// Doublings that are skipped.
        const SKIPPED: u32 = 3;
        self.next = Span(self.next.0 << SKIPPED).min(self.most);
    }

    /// Takes note for how long all has been well.
    pub fn note_success(&mut self, span: Span) {
        if span >= self.settled {
            self.next = self.least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_begin_anew() {
        let (mut retry, mut random) = (Retry::of_dials(), Random::new(1));
        for expected in [5, 10, 20, 40, 80, 160, 320, 600, 600] {
            let wait = retry.next_wait(&mut random);
            assert!(wait >= Span::millis(expected * 500) && wait < Span::millis(expected * 1_500));
        }
        retry.note_success(Span::secs(599));
        assert!(retry.next_wait(&mut random) >= Span::secs(300));
        retry.note_success(Span::secs(600));
        assert!(retry.next_wait(&mut random) < Span::secs(8));
        retry.be_patient();
        assert!(retry.next_wait(&mut random) >= Span::secs(40));
    }
}
