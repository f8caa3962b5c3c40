//! The asking side: who was asked, what they answered, what was taken of it.
//!
//! ```text
//!  offered ──▶ accepting ──▶ confirmed ──▶ lapsed
//!     │            └──▶ refused | revoked
//!     └──▶ released
//! ```

use std::collections::{BTreeMap, VecDeque};

use crate::model::ids::{MatchId, NodeId, OfferId};
use crate::model::number::Quantity;
use crate::model::offer::{NoAnswer, Part};
use crate::model::time::Time;
use crate::offer::{Say, Saying};
use crate::telemetry::transitions::Transitions;

/// Where a gathered match stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateState {
    Offered,
    /// Accepted; the matcher has not confirmed yet.
    Accepting,
    Confirmed,
    Refused,
    Released,
    /// Never confirmed within the bound; told to let go.
    Revoked,
    /// The matcher gave up after confirming.
    Lapsed,
}

impl CandidateState {
    pub const ALL: [Self; 7] = [
        Self::Offered,
        Self::Accepting,
        Self::Confirmed,
        Self::Refused,
        Self::Released,
        Self::Revoked,
        Self::Lapsed,
    ];

    /// Every step a gathered match can take.
    pub const STEPS: [(Self, Self); 7] = [
        (Self::Offered, Self::Accepting),
        (Self::Offered, Self::Released),
        (Self::Accepting, Self::Confirmed),
        (Self::Accepting, Self::Refused),
        (Self::Accepting, Self::Revoked),
        (Self::Confirmed, Self::Revoked),
        (Self::Confirmed, Self::Lapsed),
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Accepting => "accepting",
            Self::Confirmed => "confirmed",
            Self::Refused => "refused",
            Self::Released => "released",
            Self::Revoked => "revoked",
            Self::Lapsed => "lapsed",
        }
    }
}

/// One gathered match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub peer: NodeId,
    pub id: MatchId,
    pub part: Part,
    pub until: Time,
    pub state: CandidateState,
    /// What was accepted, then what was confirmed.
    pub taken: Quantity,
    pub total: Quantity,
    /// Until when a confirmation is waited for.
    pub doubt_until: Time,
}

/// Everything gathered for one offer.
#[derive(Clone, Debug)]
pub struct Gather {
    offer: OfferId,
    asked: BTreeMap<NodeId, Option<Answered>>,
    candidates: Vec<Candidate>,
    sayings: VecDeque<Saying>,
    /// Every step of every match so far.
    pub steps: Transitions<7>,
}

/// What an asked node said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    Match,
    NoMatch(NoAnswer),
}

impl Gather {
    /// Matches kept of one offer; full drops the newcomer, whose hold then expires.
    pub const CANDIDATES_MAX: usize = 64;

    pub fn new(offer: OfferId) -> Self {
        Self {
            offer,
            asked: BTreeMap::new(),
            candidates: Vec::new(),
            sayings: VecDeque::new(),
            steps: Transitions::default(),
        }
    }

    pub fn handle_asked(&mut self, peer: NodeId) {
        self.asked.insert(peer, None);
    }

    pub fn was_asked(&self, peer: NodeId) -> bool {
        self.asked.contains_key(&peer)
    }

    pub fn asked(&self) -> impl Iterator<Item = (NodeId, Option<Answered>)> + '_ {
        self.asked.iter().map(|(peer, answered)| (*peer, *answered))
    }

    pub fn all_answered(&self) -> bool {
        self.asked.values().all(Option::is_some)
    }

    /// Takes a match of a node that was asked; the same match twice counts once.
    pub fn handle_match(&mut self, peer: NodeId, id: MatchId, part: Part, until: Time) -> bool {
        let Some(answered) = self.asked.get_mut(&peer) else {
            return false;
        };
        *answered = Some(Answered::Match);
        let is_known = self.find(peer, id).is_some();
        if is_known || self.candidates.len() >= Self::CANDIDATES_MAX {
            return false;
        }
        self.candidates.push(Candidate {
            peer,
            id,
            part,
            until,
            state: CandidateState::Offered,
            taken: Quantity::ZERO,
            total: Quantity::ZERO,
            doubt_until: Time::MAX,
        });
        true
    }

    pub fn handle_no_match(&mut self, peer: NodeId, why: NoAnswer) {
        if let Some(answered) = self.asked.get_mut(&peer)
            && answered.is_none()
        {
            *answered = Some(Answered::NoMatch(why));
        }
    }

    /// Takes back an accept of an earlier run whose answer is not known.
    pub fn recover(&mut self, candidate: Candidate) {
        self.asked.insert(candidate.peer, Some(Answered::Match));
        self.candidates.push(candidate);
    }

    pub fn accept(&mut self, place: usize, quantity: Quantity, doubt_until: Time) {
        let offer = self.offer;
        if let Some(candidate) = self.candidates.get_mut(place) {
            self.steps
                .count(candidate.state as usize, CandidateState::Accepting as usize);
            candidate.state = CandidateState::Accepting;
            candidate.taken = quantity;
            candidate.doubt_until = doubt_until;
            self.sayings.push_back(Saying {
                to: candidate.peer,
                say: Say::Accept {
                    offer,
                    id: candidate.id,
                    quantity,
                },
            });
        }
    }

    /// Says again to a peer that lost its memory, or after this node lost its own, what is accepted,
    /// let go of and counted.
    pub fn say_again(&mut self, peer: NodeId) {
        self.say_again_as_relay(peer);
        let offer = self.offer;
        for candidate in self.candidates.iter().filter(|one| one.peer == peer) {
            if candidate.state == CandidateState::Confirmed {
                let id = candidate.id;
                let say = Say::Seal { offer, id };
                self.sayings.push_back(Saying { to: peer, say });
            }
        }
    }

    /// The same without seals: a relay may seal only what its origin has sealed.
    pub fn say_again_as_relay(&mut self, peer: NodeId) {
        let offer = self.offer;
        for candidate in self.candidates.iter().filter(|one| one.peer == peer) {
            let id = candidate.id;
            let say = match candidate.state {
                CandidateState::Accepting => Say::Accept {
                    offer,
                    id,
                    quantity: candidate.taken,
                },
                CandidateState::Revoked => Say::Release { offer, id },
                CandidateState::Confirmed
                | CandidateState::Offered
                | CandidateState::Refused
                | CandidateState::Released
                | CandidateState::Lapsed => continue,
            };
            self.sayings.push_back(Saying { to: peer, say });
        }
    }

    /// Takes a confirmation; returns the place of the candidate whose account it changes.
    pub fn handle_confirm(
        &mut self,
        peer: NodeId,
        id: MatchId,
        quantity: Quantity,
        total: Quantity,
    ) -> Option<usize> {
        let place = self.find(peer, id)?;
        let candidate = &mut self.candidates[place];
        match candidate.state {
            CandidateState::Accepting => {
                let quantity = quantity.min(candidate.taken);
                candidate.taken = quantity;
                candidate.total = total;
                let to = if quantity.is_positive() {
                    CandidateState::Confirmed
                } else {
                    CandidateState::Refused
                };
                self.steps.count(candidate.state as usize, to as usize);
                candidate.state = to;
                Some(place)
            }
            CandidateState::Revoked | CandidateState::Released if quantity.is_positive() => {
                self.say_release(place);
                None
            }
            CandidateState::Confirmed => {
                self.seal(place);
                None
            }
            CandidateState::Offered
            | CandidateState::Refused
            | CandidateState::Released
            | CandidateState::Revoked
            | CandidateState::Lapsed => None,
        }
    }

    /// Tells the matcher that its part is counted.
    pub fn seal(&mut self, place: usize) {
        if let Some(candidate) = self.candidates.get(place) {
            self.sayings.push_back(Saying {
                to: candidate.peer,
                say: Say::Seal {
                    offer: self.offer,
                    id: candidate.id,
                },
            });
        }
    }

    /// A matcher gave up. Returns what was counted and is not any more.
    pub fn handle_lapse(
        &mut self,
        peer: NodeId,
        id: MatchId,
    ) -> Option<(CandidateState, Quantity)> {
        let place = self.find(peer, id)?;
        let candidate = &mut self.candidates[place];
        let before = candidate.state;
        let to = match before {
            CandidateState::Accepting => CandidateState::Refused,
            CandidateState::Confirmed => CandidateState::Lapsed,
            CandidateState::Offered
            | CandidateState::Refused
            | CandidateState::Released
            | CandidateState::Revoked
            | CandidateState::Lapsed => return None,
        };
        self.steps.count(before as usize, to as usize);
        candidate.state = to;
        Some((before, candidate.taken))
    }

    /// Lets go of every match that was not taken.
    pub fn release_offered(&mut self) {
        for place in 0..self.candidates.len() {
            if self.candidates[place].state == CandidateState::Offered {
                self.release(place);
            }
        }
    }

    pub fn release(&mut self, place: usize) {
        if let Some(candidate) = self.candidates.get_mut(place) {
            let to = match candidate.state {
                CandidateState::Accepting | CandidateState::Confirmed => CandidateState::Revoked,
                CandidateState::Offered => CandidateState::Released,
                over @ (CandidateState::Refused
                | CandidateState::Released
                | CandidateState::Revoked
                | CandidateState::Lapsed) => over,
            };
            if to != candidate.state {
                self.steps.count(candidate.state as usize, to as usize);
                candidate.state = to;
            }
        }
        self.say_release(place);
    }

    /// Tells everybody who was asked that the offer is over.
    pub fn withdraw(&mut self) {
        let offer = self.offer;
        for peer in self.asked.keys() {
            self.sayings.push_back(Saying {
                to: *peer,
                say: Say::Withdraw { offer },
            });
        }
    }

    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    pub fn is_accepting(&self) -> bool {
        self.candidates
            .iter()
            .any(|candidate| candidate.state == CandidateState::Accepting)
    }

    pub fn poll_saying(&mut self) -> Option<Saying> {
        self.sayings.pop_front()
    }

    fn find(&self, peer: NodeId, id: MatchId) -> Option<usize> {
        self.candidates
            .iter()
            .position(|candidate| candidate.peer == peer && candidate.id == id)
    }

    fn say_release(&mut self, place: usize) {
        if let Some(candidate) = self.candidates.get(place) {
            self.sayings.push_back(Saying {
                to: candidate.peer,
                say: Say::Release {
                    offer: self.offer,
                    id: candidate.id,
                },
            });
        }
    }
}
