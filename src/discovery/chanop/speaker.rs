//! The exit's side of the operator: what it answers, and what it announces unasked.

use crate::discovery::chanop::proof::{Challenge, Proof, Where};
use crate::discovery::irc::pace::Allowance;
use crate::discovery::lease::Token;
use crate::discovery::lease::announce::Announcement;
use crate::model::ids::PeernetId;
use crate::model::time::{Deadline, Span, Time};

/// By what a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    pub peernet: PeernetId,
    pub token: Token,
    pub roster_hash: [u8; 32],
}

/// Answers operators, and tells them of the lease.
#[derive(Debug)]
pub struct Speaker {
    key: [u8; 32],
    right: Option<Right>,
    announce_at: Time,
    /// How long it is from one announcement to the next: doubled each time.
    wait: Span,
    /// Higher with each announcement, in all lives.
    number: u64,
    answers: Allowance,
}

impl Speaker {
    /// How soon a lease is announced again, for an operator may hear of the roster later than of it;
    /// and how often after a while.
    pub const ANNOUNCE_AGAIN: Span = Span::secs(5);
    pub const ANNOUNCE_EVERY: Span = Span::secs(60);
    /// Answers to operators: eight at once, then one every five seconds.
    pub const ANSWERS_BURST: u64 = 8;
    pub const ANSWER_EVERY: Span = Span::secs(5);

    /// Begins a life; its announcements are numbered from the moment on, above all earlier ones.
    pub fn new(key: [u8; 32], now: Time) -> Self {
        Self {
            key,
            right: None,
            announce_at: Time::MAX,
            wait: Self::ANNOUNCE_AGAIN,
            number: now.0,
            answers: Allowance::default(),
        }
    }

    /// This node speaks by another right from now on, or by none.
    pub fn handle_right(&mut self, right: Option<Right>, now: Time) {
        if self.right != right {
            self.right = right;
            self.announce_soon(now);
        }
    }

    /// There is somebody new to tell.
    pub fn announce_soon(&mut self, now: Time) {
        self.announce_at = if self.right.is_some() { now } else { Time::MAX };
        self.wait = Self::ANNOUNCE_AGAIN;
    }

    /// Returns what to sign for an operator's question; nothing for anybody else.
    pub fn answer(&mut self, challenge: Challenge, is_operator: bool, now: Time) -> Option<Proof> {
        let is_due = self.answers.due_at(Self::ANSWERS_BURST, Self::ANSWER_EVERY) <= now;
        if !is_operator || !is_due {
            return None;
        }
        self.answers.pay(Self::ANSWER_EVERY, now);
        let right = self.right.unwrap_or(Right {
            peernet: PeernetId([0; 16]),
            token: Token(0),
            roster_hash: [0; 32],
        });
        Some(Proof {
            key: self.key,
            nonce: challenge.nonce,
            peernet: right.peernet,
            token: right.token.0,
            roster_hash: right.roster_hash,
            signature: [0; 64],
        })
    }

    /// Signs a proof for one place.
    pub fn prove(
        mut proof: Proof,
        place: Where<'_>,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Proof {
        proof.signature = sign(&proof.statement(place));
        proof
    }

    pub fn deadline(&self) -> Option<Deadline> {
        (self.announce_at < Time::MAX).then_some(Deadline {
            at: self.announce_at,
            why: "announce the lease",
        })
    }

    /// Returns the announcement that is due.
    pub fn announce(
        &mut self,
        now: Time,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Option<Announcement> {
        let right = self.right.filter(|_| now >= self.announce_at)?;
        self.announce_at = now + self.wait;
        self.wait = self.wait.times(2).min(Self::ANNOUNCE_EVERY);
        self.number += 1;
        let mut announcement = Announcement {
            key: self.key,
            peernet: right.peernet,
            token: right.token,
            number: self.number,
            signature: [0; 64],
        };
        announcement.signature = sign(&announcement.statement());
        Some(announcement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000_000_000);

    fn right(count: u64) -> Right {
        Right {
            peernet: PeernetId([1; 16]),
            token: Token(1 << 32 | count),
            roster_hash: [2; 32],
        }
    }

    #[test]
    fn only_operators_are_answered_and_not_without_end() {
        let mut speaker = Speaker::new([3; 32], NOW);
        speaker.handle_right(Some(right(1)), NOW);
        let challenge = Challenge { nonce: [4; 16] };
        assert_eq!(speaker.answer(challenge, false, NOW), None);
        let proof = speaker.answer(challenge, true, NOW).unwrap();
        assert_eq!((proof.nonce, proof.token), ([4; 16], 1 << 32 | 1));
        let more = (0..100).filter(|_| speaker.answer(challenge, true, NOW).is_some());
        assert_eq!(more.count() as u64, Speaker::ANSWERS_BURST - 1);
    }

    #[test]
    fn a_new_lease_is_announced_at_once_and_then_ever_less_often() {
        let mut speaker = Speaker::new([3; 32], NOW);
        let sign = |_: &[u8]| [0; 64];
        assert_eq!(speaker.announce(NOW, sign), None);
        speaker.handle_right(Some(right(1)), NOW);
        let seconds = (0..300).map(|second| NOW + Span::secs(second));
        let mut said = Vec::new();
        for moment in seconds {
            let announced = speaker.announce(moment, sign);
            said.extend(announced.map(|it| (moment, it.number)));
        }
        let waits = said.windows(2).map(|two| two[1].0.since(two[0].0));
        let waits: Vec<Span> = waits.collect();
        let wanted = [5, 10, 20, 40, 60, 60, 60].map(Span::secs);
        assert_eq!(waits, wanted);
        assert!(said.is_sorted_by(|one, next| one.1 < next.1));
        let later = NOW + Span::secs(300);
        speaker.handle_right(Some(right(2)), later);
        assert_eq!(speaker.announce(later, sign).unwrap().token, right(2).token);
        speaker.handle_right(None, later);
        assert_eq!(speaker.announce(Time(u64::MAX - 1), sign), None);
    }
}
