//! When the document of a market's book is asked for, and whether its answer still counts.

use crate::model::time::{Span, Time};
use crate::venue::{Ask, Ticket};

/// One market's questions: at most one is open at a time.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    open: Option<(Ticket, Time)>,
    ask_at: Time,
    /// Not before then, however much it is wanted.
    patient_until: Time,
}

impl Default for Asking {
    fn default() -> Self {
        Self {
            open: None,
            ask_at: Time::MAX,
            patient_until: Time::ZERO,
        }
    }
}

impl Asking {
    /// Between two questions.
    pub const EVERY: Span = Span::SECOND;
    /// After an answer that was of no use.
    pub const AGAIN: Span = Span::secs(5);
    /// After so long an answer will not come any more.
    pub const PATIENCE: Span = Span::secs(30);

    /// Wants a document that is asked for at this moment or later; an open question is forgotten.
    pub fn want(&mut self, at: Time) {
        self.open = None;
        self.ask_at = at.max(self.patient_until);
    }

    /// Wants it no later than this, unless it is asked for already.
    pub fn want_by(&mut self, at: Time) {
        if self.open.is_none() {
            self.ask_at = self.ask_at.min(at.max(self.patient_until));
        }
    }

    /// Wants none any more.
    pub fn rest(&mut self) {
        self.open = None;
        self.ask_at = Time::MAX;
    }

    /// Asks for the document when it is time, with a ticket of its own.
    pub fn ask_due(
        &mut self,
        target: &str,
        next_ticket: &mut u16,
        now: Time,
        ask: &mut dyn FnMut(Ask<'_>),
    ) {
        let ticket = Ticket(*next_ticket);
        if self.is_due(ticket, now) {
            *next_ticket = next_ticket.wrapping_add(1);
            ask(Ask::Get { ticket, target });
        }
    }

    /// Returns true once, when it is time to ask with this ticket.
    fn is_due(&mut self, ticket: Ticket, now: Time) -> bool {
        if self.open.is_some_and(|(_, at)| now >= at + Self::PATIENCE) {
            self.want(now);
        }
        if self.ask_at > now {
            return false;
        }
        self.open = Some((ticket, now));
        self.ask_at = Time::MAX;
        self.patient_until = now + Self::EVERY;
        true
    }

    /// Takes the answer to the open question, if it is that; until it proves to be of use another
    /// document is wanted.
    pub fn is_answered(&mut self, ticket: Ticket, now: Time) -> bool {
        let is_it = self.open.is_some_and(|(open, _)| open == ticket);
        if is_it {
            self.want(now + Self::AGAIN);
        }
        is_it
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Returns when something is due next.
    pub fn due_at(&self) -> Time {
        let lost_at = |(_, at): (Ticket, Time)| at + Self::PATIENCE;
        self.ask_at.min(self.open.map_or(Time::MAX, lost_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time(1_000_000_000_000);

    #[test]
    fn a_question_is_asked_once_and_answered_once() {
        let mut asking = Asking::default();
        assert!(!asking.is_due(Ticket(1), START));
        asking.want(START);
        assert_eq!(asking.due_at(), START);
        assert!(asking.is_due(Ticket(1), START));
        assert!(!asking.is_due(Ticket(2), START));
        assert!(asking.is_open());
        assert!(!asking.is_answered(Ticket(2), START));
        assert!(asking.is_answered(Ticket(1), START));
        assert!(!asking.is_answered(Ticket(1), START));
        assert_eq!(asking.due_at(), START + Asking::AGAIN);
        asking.rest();
        assert_eq!(asking.due_at(), Time::MAX);
    }

    #[test]
    fn questions_keep_their_distance() {
        let mut asking = Asking::default();
        asking.want(START);
        assert!(asking.is_due(Ticket(1), START));
        asking.want_by(START);
        assert!(!asking.is_due(Ticket(2), START), "one is open");
        asking.want(START);
        assert!(!asking.is_due(Ticket(2), START + Span(1)));
        assert!(asking.is_due(Ticket(2), START + Asking::EVERY));
        assert!(
            !asking.is_answered(Ticket(1), START + Asking::EVERY),
            "forgotten"
        );
    }

    #[test]
    fn a_question_without_an_answer_is_asked_again() {
        let mut asking = Asking::default();
        asking.want(START + Span::SECOND);
        asking.want_by(START);
        assert!(asking.is_due(Ticket(1), START));
        assert_eq!(asking.due_at(), START + Asking::PATIENCE);
        assert!(!asking.is_due(Ticket(2), START + Span::SECOND));
        assert!(asking.is_due(Ticket(2), START + Asking::PATIENCE));
    }
}
