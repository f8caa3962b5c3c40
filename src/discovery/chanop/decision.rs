//! What the operator has decided, and why: what `chanop list` and `chanop explain` print.

use std::collections::VecDeque;

use thiserror::Error;

use crate::discovery::chanop::Place;
use crate::model::ids::{NodeId, PeernetId};
use crate::model::time::Time;

/// What was decided about a member of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It gets no voice.
    Refused,
    /// It gets voice.
    Voiced,
    /// It has voice already, and may.
    Kept,
    /// Its voice is taken.
    Devoiced,
    /// Another operator disagrees; it is left as that one wants it.
    LeftAlone,
}

impl Verdict {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Voiced => "voiced",
            Self::Kept => "kept",
            Self::Devoiced => "devoiced",
            Self::LeftAlone => "left alone",
        }
    }
}

/// Why a member may not have voice.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    #[error("it has not shown its key")]
    NotProven,
    #[error("it has changed its nick and not shown its key since")]
    NickChanged,
    #[error("what it signed is of an earlier lease or roster")]
    ProofOld,
    #[error("it did not show its key in time")]
    NoAnswer,
    #[error("its proof is wrong")]
    ProofWrong,
    #[error("another key was shown for the same node")]
    KeyChanged,
    #[error("it has flooded the channel")]
    Flood,
    #[error("it is trusted with {trust} of the {min} that are asked for")]
    Trust { trust: u8, min: u8 },
    #[error("the roster of its peernet is unknown")]
    NoRoster,
    #[error("it is not on the roster of the peernet that it names")]
    NotOnRoster,
    #[error("there are two rosters of one version of its peernet")]
    RosterForked,
    #[error("its peernet shares a key with {with}")]
    RosterShared { with: PeernetId },
    #[error("no lease of its peernet was announced")]
    NoLease,
    #[error("another member of its peernet holds the lease")]
    NotExit,
    #[error("a higher token of its peernet was announced")]
    LowerToken,
    #[error("the lease of its peernet was not announced again")]
    LeaseExpired,
    #[error("it is {missing_s} s too young")]
    Young { missing_s: u64 },
    #[error("another nick speaks for its peernet here")]
    OtherNick,
    #[error("it shows its key by another nick")]
    Moved,
    #[error("it has left")]
    Departed,
    #[error("too many nodes are known")]
    Full,
}

/// One line of the log. Without a reason: every rule is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub at: Time,
    pub place: Place,
    /// The node whose key was shown there; else the one that the nick says it is.
    pub node: Option<NodeId>,
    pub is_proven: bool,
    pub verdict: Verdict,
    pub reason: Option<Reason>,
}

/// The last decisions, oldest first.
#[derive(Debug, Default)]
pub struct Log {
    decisions: VecDeque<Decision>,
    dropped: u64,
}

impl Log {
    /// Decisions that are kept; the oldest makes room and is counted.
    pub const DECISIONS_MAX: usize = 1_024;

    pub(super) fn push(&mut self, decision: Decision) {
        if self.decisions.len() == Self::DECISIONS_MAX {
            self.decisions.pop_front();
            self.dropped += 1;
        }
        self.decisions.push_back(decision);
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Decision> {
        self.decisions.iter()
    }

    /// Returns how many decisions made room for later ones.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Reason {
    /// Tells whether a proof may yet set it right: who has voice keeps it until one is overdue.
    pub(super) const fn may_pass(self) -> bool {
        match self {
            Self::NotProven
            | Self::NickChanged
            | Self::ProofOld
            | Self::NoRoster
            | Self::NoLease => true,
            Self::NoAnswer
            | Self::ProofWrong
            | Self::KeyChanged
            | Self::Flood
            | Self::Trust { .. }
            | Self::NotOnRoster
            | Self::RosterForked
            | Self::RosterShared { .. }
            | Self::NotExit
            | Self::LowerToken
            | Self::LeaseExpired
            | Self::Young { .. }
            | Self::OtherNick
            | Self::Moved
            | Self::Departed
            | Self::Full => false,
        }
    }

    /// Tells whether two reasons are the same but for their figures: what changes with every second
    /// is not logged every second.
    pub(super) fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}
