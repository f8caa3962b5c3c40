//! One train under way: what is due, what is out, what came back.
//!
//! ```text
//! schedule ── take_due ─▶ out ── hear ─▶ answered ┐
//!                          ├── patience over ─▶ lost ├─ settle, in order ─▶ samples
//!                          └── refuse ──────▶ refused ┘
//! ```
//! Open loop: a probe is due when it was due from the start, whatever became of earlier ones, and
//! a prober that comes late sends everything that fell due meanwhile. Samples leave in the order in
//! which they were due, so what is kept is what fits between a probe and its patience.

use std::collections::VecDeque;

use crate::latency::clock::Exchange;
use crate::latency::quota::Schedule;
use crate::latency::train::{Fate, PATIENCE, Sample};
use crate::model::time::{Span, Time};

/// The probes of one train, from the first that is not settled.
#[derive(Clone, Debug)]
pub struct Prober {
    schedule: Schedule,
    first: Time,
    /// The next number to be sent.
    next: u32,
    /// Numbers `next - out.len()` to `next - 1`. Bounded by the schedule's rate: a probe is settled
    /// once its patience is over, so two seconds of probes at most.
    out: VecDeque<Out>,
    /// The highest number that was answered.
    answered: Option<u32>,
    /// Answers to nothing that is out: doubled, late, or made up.
    pub strays: u64,
}

#[derive(Clone, Copy, Debug)]
struct Out {
    sent: Time,
    fate: Option<Fate>,
}

impl Prober {
    /// A train whose first probe is due at `first`.
    pub fn new(schedule: Schedule, first: Time) -> Self {
        Self {
            schedule,
            first,
            next: 0,
            out: VecDeque::new(),
            answered: None,
            strays: 0,
        }
    }

    pub fn first(&self) -> Time {
        self.first
    }

    /// Returns the number of a probe that is due, and counts it as sent now.
    pub fn take_due(&mut self, now: Time) -> Option<u32> {
        if self.next >= self.schedule.count || self.intended(self.next) > now {
            return None;
        }
        let number = self.next;
        self.next += 1;
        let out = Out {
            sent: now,
            fate: None,
        };
        self.out.push_back(out);
        Some(number)
    }

    /// A probe that was taken could not leave: its place stays, and says so.
    pub fn refuse(&mut self, number: u32) {
        if let Some(out) = self.out_mut(number) {
            out.fate = Some(Fate::Refused);
        }
    }

    /// Takes an answer. `None` where nothing waits for it, or its moments contradict each other.
    pub fn hear(&mut self, number: u32, exchange: &Exchange) -> Option<Span> {
        let overtaken = self.answered.is_some_and(|answered| answered > number);
        let rtt = exchange.rtt();
        let out = self.out_mut(number);
        let out = out.filter(|out| out.fate.is_none() && out.sent == exchange.sent);
        let (Some(out), Some(rtt)) = (out, rtt) else {
            self.strays += 1;
            return None;
        };
        out.fate = Some(Fate::Answered {
            received: exchange.received,
            replied: exchange.replied,
            heard: exchange.heard,
            overtaken,
        });
        self.answered = self.answered.max(Some(number));
        Some(rtt)
    }

    /// Appends samples whose fate is known to `settled`, in order, at most `max` of them.
    pub fn settle(&mut self, now: Time, max: usize, settled: &mut Vec<Sample>) {
        while settled.len() < max
            && let Some(out) = self.out.front().copied()
        {
            let is_lost = out.sent + PATIENCE <= now;
            let Some(fate) = out.fate.or(is_lost.then_some(Fate::Lost)) else {
                return;
            };
            let number = self.front();
            self.out.pop_front();
            settled.push(Sample {
                number,
                intended: self.intended(number),
                sent: out.sent,
                fate,
            });
        }
    }

    /// Returns true once every probe was sent and settled.
    pub fn is_over(&self) -> bool {
        self.next >= self.schedule.count && self.out.is_empty()
    }

    /// Returns when the patience with the oldest probe ends.
    pub fn deadline(&self) -> Option<Time> {
        let oldest = self.out.front()?;
        Some(oldest.sent + PATIENCE)
    }

    /// Returns when the next probe is due; `None` once all were.
    pub fn next_due(&self) -> Option<Time> {
        (self.next < self.schedule.count).then(|| self.intended(self.next))
    }

    /// Begins nothing more; what is out is waited for.
    pub fn stop(&mut self) {
        self.schedule.count = self.next;
    }

    fn intended(&self, number: u32) -> Time {
        self.first + self.schedule.due(number)
    }

    fn front(&self) -> u32 {
        let out = u32::try_from(self.out.len()).unwrap_or(u32::MAX);
        self.next.saturating_sub(out)
    }

    fn out_mut(&mut self, number: u32) -> Option<&mut Out> {
        let at = number.checked_sub(self.front())?;
        self.out.get_mut(usize::try_from(at).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::train::Shape;

    const START: Time = Time(1_000 * Span::SECOND.0);

    fn prober(count: u32) -> Prober {
        let shape = Shape::Idle {
            interval: Span::MILLI,
        };
        Prober::new(Schedule::new(shape, count).unwrap(), START)
    }

    fn answer(sent: Time, after: Span) -> Exchange {
        Exchange {
            sent,
            received: sent + Span(after.0 / 2),
            replied: sent + Span(after.0 / 2),
            heard: sent + after,
        }
    }

    fn at(micros: u64) -> Time {
        START + Span::micros(micros)
    }

    fn settled(prober: &mut Prober, now: Time) -> Vec<Sample> {
        let mut samples = Vec::new();
        prober.settle(now, usize::MAX, &mut samples);
        samples
    }

    #[test]
    fn a_prober_that_comes_late_sends_all_that_fell_due() {
        let mut prober = prober(1_000);
        assert_eq!(prober.take_due(Time(START.0 - 1)), None);
        let late = at(99_500);
        let numbers: Vec<u32> = std::iter::from_fn(|| prober.take_due(late)).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<u32>>());
        for number in numbers {
            prober.hear(number, &answer(late, Span::MILLI)).unwrap();
        }
        let samples = settled(&mut prober, late + Span::MILLI);
        assert_eq!(samples.len(), 100);
        for (index, sample) in samples.iter().enumerate() {
            let intended = START + Span::millis(index as u64);
            assert_eq!((sample.intended, sample.sent), (intended, late));
        }
    }

    #[test]
    fn a_sample_leaves_in_its_turn_whatever_came_back_first() {
        let mut prober = prober(4);
        for number in 0..4 {
            assert_eq!(prober.take_due(at(u64::from(number) * 1_000)), Some(number));
        }
        let sent = |number: u64| at(number * 1_000);
        prober.hear(2, &answer(sent(2), Span::millis(5))).unwrap();
        prober.hear(1, &answer(sent(1), Span::millis(9))).unwrap();
        prober.refuse(3);
        assert!(settled(&mut prober, at(50_000)).is_empty());
        let samples = settled(&mut prober, START + PATIENCE);
        let fates: Vec<Fate> = samples.iter().map(|sample| sample.fate).collect();
        assert_eq!((fates[0], fates[3]), (Fate::Lost, Fate::Refused));
        let overtaken = |fate| {
            matches!(
                fate,
                Fate::Answered {
                    overtaken: true,
                    ..
                }
            )
        };
        assert!(overtaken(fates[1]) && !overtaken(fates[2]), "{fates:?}");
        assert!(prober.is_over());
        assert_eq!(prober.deadline(), None);
    }

    #[test]
    fn an_answer_counts_once_and_only_with_the_moment_that_was_sent() {
        let mut prober = prober(2);
        prober.take_due(START).unwrap();
        let good = answer(START, Span::MILLI);
        for (number, forged) in [
            (0, answer(at(1), Span::MILLI)),
            (1, good),
            (u32::MAX, good),
            (
                0,
                Exchange {
                    replied: START + Span::SECOND,
                    ..good
                },
            ),
        ] {
            assert_eq!(prober.hear(number, &forged), None);
        }
        assert_eq!(prober.hear(0, &good), Some(Span::MILLI));
        assert_eq!(prober.hear(0, &good), None);
        assert_eq!(prober.strays, 5);
    }

    #[test]
    fn what_is_kept_is_bounded_by_patience() {
        let mut prober = prober(100_000);
        let mut most = 0;
        let mut samples = 0;
        for step in 0..200_000 {
            let now = at(step * 1_000);
            while prober.take_due(now).is_some() {}
            samples += settled(&mut prober, now).len();
            most = most.max(prober.out.len());
        }
        assert_eq!((samples, prober.is_over()), (100_000, true));
        assert!(most <= 2_001, "{most} probes kept");
    }

    #[test]
    fn a_train_that_is_stopped_waits_for_what_is_out() {
        let mut prober = prober(10);
        prober.take_due(START).unwrap();
        prober.stop();
        assert_eq!(prober.take_due(at(5_000)), None);
        assert!(!prober.is_over());
        assert_eq!(settled(&mut prober, START + PATIENCE).len(), 1);
        assert!(prober.is_over());
    }
}
