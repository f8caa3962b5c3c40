//! A channel that is played by hand, for the tests of its operator.

use crate::discovery::chanop::decision::{Reason, Verdict};
use crate::discovery::chanop::proof::{Challenge, Proof};
use crate::discovery::chanop::{Announced, By, Chanop, Output, Place, Record, Seats, Settings};
use crate::discovery::irc::name::{CaseMapping, Folded};
use crate::discovery::lease::Token;
use crate::model::ids::{NodeId, PeernetId};
use crate::model::key::pin_of;
use crate::model::time::{Span, Time};

pub(super) const START: Time = Time(1_000_000 * 1_000_000_000);
pub(super) const NETS: [PeernetId; 2] = [PeernetId([1; 16]), PeernetId([2; 16])];
pub(super) const TRUSTED: u8 = 5;

pub(super) fn nick(text: &str) -> Folded {
    CaseMapping::Ascii.fold(text)
}

pub(super) fn place(text: &str) -> Place {
    Place {
        network: 1,
        nick: nick(text),
    }
}

pub(super) fn key(seed: u8) -> [u8; 32] {
    [seed; 32]
}

pub(super) fn node(seed: u8) -> NodeId {
    pin_of(&key(seed)).node_id()
}

pub(super) fn token(version: u64, count: u64) -> Token {
    Token(version << 32 | count)
}

pub(super) fn seats(peernet: usize, version: u64, members: &[u8]) -> Seats {
    Seats {
        peernet: NETS[peernet],
        version,
        hash: [u8::try_from(version).unwrap(); 32],
        members: members.iter().map(|seed| node(*seed)).collect(),
        is_forked: false,
    }
}

/// An operator on a channel that is played by hand.
pub(super) struct Channel {
    pub(super) chanop: Chanop,
    pub(super) now: Time,
    /// What was put out and not looked at yet.
    pub(super) out: Vec<Output>,
    pub(super) records: Vec<Record>,
    pub(super) number: u64,
}

pub(super) fn quiet() -> Channel {
    let settings = Settings {
        voice_after: Span::DAY,
        trust_min: TRUSTED,
    };
    Channel {
        chanop: Chanop::new(settings, [3; 32]),
        now: START,
        out: Vec::new(),
        records: Vec::new(),
        number: 0,
    }
}

/// A channel with an aged exit `a` (key 1) of a peernet of keys 1 to 3, which has its voice.
pub(super) fn voiced() -> Channel {
    let mut channel = quiet();
    channel.roster(seats(0, 1, &[1, 2, 3]));
    channel.seen("a", Some(1), false);
    channel.prove("a", 1, None);
    channel.pass(Span::DAY);
    channel.lease(0, 1, token(1, 1));
    channel.prove("a", 1, Some((0, token(1, 1))));
    assert_eq!(channel.take(), [Output::Voice { place: place("a") }]);
    channel.mode("a", true, By::Us);
    assert_eq!(channel.judge("a"), Ok(()));
    channel
}

impl Channel {
    pub(super) fn call(&mut self, call: impl FnOnce(&mut Chanop, Time, &mut Vec<Output>)) {
        let mut out = Vec::new();
        call(&mut self.chanop, self.now, &mut out);
        for output in out {
            match output {
                Output::Journal(record) => self.records.push(record),
                Output::Challenge { .. } | Output::Voice { .. } | Output::Devoice { .. } => {
                    self.out.push(output);
                }
            }
        }
    }

    /// Lets time pass in steps, announcing the leases that were announced before each minute.
    pub(super) fn pass(&mut self, span: Span) {
        let until = self.now + span;
        while self.now < until {
            let next = self.chanop.deadline().map_or(until, |deadline| deadline.at);
            self.now = next.max(self.now).min(until);
            self.call(Chanop::handle_deadline);
        }
    }

    pub(super) fn seen(&mut self, nick: &str, claim: Option<u8>, has_voice: bool) {
        let claim = claim.map(node);
        self.call(|chanop, now, out| chanop.handle_seen(place(nick), claim, has_voice, now, out));
    }

    pub(super) fn gone(&mut self, nick: &str) {
        self.call(|chanop, now, out| chanop.handle_gone(&place(nick), now, out));
    }

    pub(super) fn mode(&mut self, nick: &str, has_voice: bool, by: By) {
        self.call(|chanop, now, out| chanop.handle_voice(&place(nick), has_voice, by, now, out));
    }

    pub(super) fn roster(&mut self, seats: Seats) {
        self.call(|chanop, now, out| chanop.handle_roster(seats, now, out));
    }

    pub(super) fn lease(&mut self, peernet: usize, seed: u8, token: Token) {
        self.number += 1;
        let announced = Announced {
            peernet: NETS[peernet],
            node: node(seed),
            token,
            number: self.number,
        };
        self.call(|chanop, now, out| chanop.handle_lease(announced, true, now, out));
    }

    /// Returns the question that a nick was asked since the last look, if any.
    pub(super) fn question(&mut self, nick: &str) -> Option<Challenge> {
        let asked = |output: &Output| match output {
            Output::Challenge {
                place: asked,
                challenge,
            } if *asked == place(nick) => Some(*challenge),
            Output::Challenge { .. } | Output::Voice { .. } | Output::Devoice { .. } => None,
            Output::Journal(_) => None,
        };
        let found = self.out.iter().rev().find_map(asked);
        self.out.retain(|output| asked(output).is_none());
        found
    }

    /// Answers the question that a nick was asked, with a key and what it knows of its lease.
    #[track_caller]
    pub(super) fn prove(&mut self, nick: &str, seed: u8, lease: Option<(usize, Token)>) {
        let challenge = self.question(nick).expect("it was asked");
        self.answer(nick, challenge, seed, lease, true);
    }

    pub(super) fn answer(
        &mut self,
        nick: &str,
        challenge: Challenge,
        seed: u8,
        lease: Option<(usize, Token)>,
        is_valid: bool,
    ) {
        let version = lease.map_or(0, |(_, token)| token.version());
        let proof = Proof {
            key: key(seed),
            nonce: challenge.nonce,
            peernet: lease.map_or(PeernetId([0; 16]), |(peernet, _)| NETS[peernet]),
            token: lease.map_or(0, |(_, token)| token.0),
            roster_hash: [u8::try_from(version).unwrap(); 32],
            signature: [0; 64],
        };
        self.call(|chanop, now, out| {
            chanop.handle_proof(&place(nick), &proof, TRUSTED, is_valid, now, out);
        });
    }

    pub(super) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn judge(&self, nick: &str) -> Result<(), Reason> {
        self.chanop.judge(&place(nick), self.now)
    }

    /// Expects that a voice is taken for this reason, and nothing else.
    #[track_caller]
    pub(super) fn devoices(&mut self, nick: &str, why: Reason) {
        let place = place(nick);
        assert_eq!(self.take(), [Output::Devoice { place, why }]);
        let last = self.chanop.log().iter().last().unwrap();
        assert_eq!((last.verdict, last.reason), (Verdict::Devoiced, Some(why)));
    }

    pub(super) fn restarted(&self) -> Self {
        let mut channel = quiet();
        channel.now = self.now + Span::secs(60);
        for record in &self.records {
            channel.chanop.restore(record, channel.now);
        }
        channel.number = self.number;
        channel.records = self.records.clone();
        channel
    }
}
