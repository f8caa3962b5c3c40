//! How fast one network is spoken to: a few lines at once, then one every two seconds, the most
//! urgent first. Every server, and every bot in a channel, punishes who is faster.

use std::collections::VecDeque;

use thiserror::Error;

use crate::discovery::irc::line::Line;
use crate::model::time::{Span, Time};

/// What waits for whom; the first is sent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// What the server waits for, such as the answer to its `PING`.
    Server,
    /// What was announced no longer holds.
    Withdraw,
    Match,
    Offer,
    /// Who is there, and links offered to them.
    Poll,
}

/// A line that has no room.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{waiting} lines wait to be sent already")]
pub struct Full {
    pub waiting: usize,
}

/// Lines that wait, and when the next may leave.
#[derive(Debug)]
pub struct Pace {
    waiting: [VecDeque<Line>; URGENCIES],
    allowance: Allowance,
}

/// So many at once, and one more each span. It holds the moment up to which was paid.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::discovery) struct Allowance(Time);

impl Allowance {
    /// Returns when the next one is allowed.
    pub(in crate::discovery) fn due_at(self, burst: u64, every: Span) -> Time {
        let credit = every.times(burst - 1);
        Time(self.0.0.saturating_sub(credit.0))
    }

    pub(in crate::discovery) fn pay(&mut self, every: Span, now: Time) {
        self.0 = self.0.max(now) + every;
    }

    /// Returns the moment up to which was paid; from then on it is as if nothing ever was.
    pub(in crate::discovery) const fn owes_until(self) -> Time {
        self.0
    }

    /// Owes for no more than up to that moment.
    fn forgive(&mut self, most: Time) {
        self.0 = self.0.min(most);
    }
}

const URGENCIES: usize = 5;

impl Pace {
    /// Lines that may leave at once.
    pub const BURST: u64 = 4;
    /// What each costs: as eggdrop's defaults and ngircd's penalties leave it unpunished.
    pub const LINE_EVERY: Span = Span::secs(2);
    /// Lines that may be paid for later: a server that asks and asks delays the rest by no more.
    const DEBT_MAX: u64 = 2 * Self::BURST;
    /// Lines of one urgency that wait at most; one more is refused.
    pub const WAITING_MAX: usize = 64;
    /// Withdrawals that wait at most: more than there can be announcements, so none is refused.
    pub const WITHDRAWALS_MAX: usize = 512;

    pub fn new() -> Self {
        Self {
            waiting: Default::default(),
            allowance: Allowance::default(),
        }
    }

    /// Takes a line.
    ///
    /// # Errors
    /// Too many of this urgency wait.
    pub fn push(&mut self, urgency: Urgency, line: Line) -> Result<(), Full> {
        let limit = match urgency {
            Urgency::Withdraw => Self::WITHDRAWALS_MAX,
            Urgency::Server | Urgency::Match | Urgency::Offer | Urgency::Poll => Self::WAITING_MAX,
        };
        let queue = &mut self.waiting[urgency as usize];
        if queue.len() >= limit {
            return Err(Full {
                waiting: queue.len(),
            });
        }
        queue.push_back(line);
        Ok(())
    }

    /// Returns the next line that may leave now.
    pub fn pop(&mut self, now: Time) -> Option<Line> {
        let at = self.due_at()?;
        if at > now {
            return None;
        }
        let queue = self.waiting.iter_mut().find(|queue| !queue.is_empty())?;
        let line = queue.pop_front();
        self.allowance.pay(Self::LINE_EVERY, now);
        self.allowance
            .forgive(now + Self::LINE_EVERY.times(Self::DEBT_MAX));
        line
    }

    /// Returns when the next line may leave, if one waits. What the server waits for may leave at
    /// once; it is paid for by the lines behind it.
    pub fn due_at(&self) -> Option<Time> {
        let first = self.waiting.iter().position(|queue| !queue.is_empty())?;
        if first == Urgency::Server as usize {
            return Some(Time::ZERO);
        }
        Some(self.allowance.due_at(Self::BURST, Self::LINE_EVERY))
    }

    /// Forgets what waits: a new connection begins with what is true then. Withdrawals stay.
    pub fn clear(&mut self) {
        for urgency in [
            Urgency::Server,
            Urgency::Match,
            Urgency::Offer,
            Urgency::Poll,
        ] {
            self.waiting[urgency as usize].clear();
        }
    }

    pub fn waiting(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    const NOW: Time = Time(1_000 * 1_000_000_000);

    fn line(text: &str) -> Line {
        Line::say("PRIVMSG", "#a", text).unwrap()
    }

    #[test]
    fn a_burst_leaves_at_once_and_then_one_every_two_seconds() {
        let mut pace = Pace::new();
        for _ in 0..10 {
            pace.push(Urgency::Offer, line("a")).unwrap();
        }
        let mut sent = Vec::new();
        for second in 0..60 {
            let now = NOW + Span::secs(second);
            while pace.pop(now).is_some() {
                sent.push(second);
            }
        }
        assert_eq!(sent, [0, 0, 0, 0, 2, 4, 6, 8, 10, 12]);
        assert_eq!(pace.due_at(), None);
    }

    #[test]
    fn the_most_urgent_leaves_first_and_the_server_never_waits() {
        let mut pace = Pace::new();
        for (urgency, text) in [
            (Urgency::Poll, "poll"),
            (Urgency::Offer, "offer"),
            (Urgency::Match, "match"),
            (Urgency::Withdraw, "withdraw"),
        ] {
            for _ in 0..2 {
                pace.push(urgency, line(text)).unwrap();
            }
        }
        let mut sent = Vec::new();
        let mut now = NOW;
        while let Some(due_at) = pace.due_at() {
            now = now.max(due_at);
            let line = pace.pop(now).unwrap();
            sent.push(line.as_str().rsplit(':').next().unwrap().to_owned());
            if sent.len() == 6 {
                pace.push(Urgency::Server, line).unwrap();
                assert!(pace.pop(now).is_some());
            }
        }
        let expected = [
            "withdraw", "withdraw", "match", "match", "offer", "offer", "poll", "poll",
        ];
        assert_eq!(sent, expected);
        assert_eq!(now.since(NOW), Span::secs(2 * (4 + 1)));
    }

    #[test]
    fn over_any_time_no_more_leaves_than_was_allowed() {
        let mut random = Random::new(3);
        for _ in 0..50 {
            let (mut pace, mut now, mut sent) = (Pace::new(), NOW, Vec::new());
            for _ in 0..500 {
                pace.push(Urgency::Match, line("a")).ok();
                now = now + Span::millis(random.below(1_500));
                while pace.pop(now).is_some() {
                    sent.push(now);
                }
            }
            for (at, first) in sent.iter().enumerate() {
                for (count, last) in sent[at..].iter().enumerate() {
                    let allowed = Pace::BURST + last.since(*first).0 / Pace::LINE_EVERY.0;
                    assert!(
                        (count as u64) < allowed,
                        "{count} from {first:?} to {last:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_has_no_room_is_refused_and_no_withdrawal_is() {
        let mut pace = Pace::new();
        for _ in 0..Pace::WAITING_MAX {
            pace.push(Urgency::Offer, line("a")).unwrap();
        }
        let full = pace.push(Urgency::Offer, line("a")).unwrap_err();
        assert_eq!(full.waiting, Pace::WAITING_MAX);
        for _ in 0..Pace::WITHDRAWALS_MAX {
            pace.push(Urgency::Withdraw, line("a")).unwrap();
        }
        pace.clear();
        assert_eq!(pace.waiting(), Pace::WITHDRAWALS_MAX);
    }
}
