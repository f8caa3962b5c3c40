//! The sieve: what of the channel is worth a look at its signature.
//!
//! ```text
//! line ─ length ─ grammar ─ pair, least size ─ time ─ own ─ roster, marked ─ token ─ seen ─ quota ─▶ check
//! check (elsewhere) ─▶ admit ─ signature ─ again: time, marked, token, seen ─▶ announcement
//! ```
//! Everything before the check is cheap and leaves nothing behind, so whoever floods a channel costs
//! the reading of his lines and the checks that the quota has for him. Only what was signed enters a
//! table.
//!
//! **Once.** What was taken is remembered until it expires, on all networks together, so a line counts
//! once however often and by whomever it is said. Time is the latest that was ever handed in: a clock
//! that is set back brings nothing back.
//!
//! **After a restart** nothing is remembered; then only lines issued later than any that may have been
//! taken count: later than [`CLOCK_TOLERANCE`] after the start, as a line may be issued that far ahead
//! of our clock and no further, and later than [`Marks::issued_max`], for a clock that was set back
//! meanwhile. The price is that half a minute of deafness. A node that has never run needs neither.

mod counts;
mod memory;
mod quota;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::discovery::announce::{
    AnnounceError, Announcement, CLOCK_TOLERANCE, LIFE_S_MAX, Said, Signer,
};
use crate::discovery::network::NetworkNo;
pub use crate::discovery::sieve::counts::{Counts, Refusal};
pub use crate::discovery::sieve::memory::{CLAIMED_MAX, PEERNETS_MAX, SEEN_MAX, Token};
use crate::discovery::sieve::memory::{Heard, Seen, Tokens};
pub use crate::discovery::sieve::quota::{
    CLAIMS_MAX, NETWORK_BURST, NETWORK_EVERY, SIGNER_BURST, SIGNER_EVERY, STRANGERS_BURST,
    STRANGERS_EVERY, STRIKES_FOR, STRIKES_MAX, TRUST_MAX,
};
use crate::discovery::sieve::quota::{Claim, Quota};
use crate::model::ids::PeernetId;
use crate::model::instrument::Pair;
use crate::model::key::sha256;
use crate::model::number::Quantity;
use crate::model::time::{Span, Time};

/// Lines whose signature is being checked at once. Full: a line is refused.
pub const CHECKS_MAX: usize = 256;
/// When a check that nobody came back from is forgotten.
pub const CHECK_PATIENCE: Span = Span::secs(10);
/// Signers that said two things under one name, and how long nothing of them is heard. Full: the one
/// whose time ends first goes.
pub const MARKED_MAX: usize = 1_024;
pub const MARKED_FOR: Span = Span::secs(3_600);

/// Seconds for which a line is remembered at most.
const REMEMBERED_S_MAX: u64 = LIFE_S_MAX as u64 + CLOCK_TOLERANCE.0 / Span::SECOND.0;
/// All strangers together cannot fill half of what is remembered; the other half is for those with
/// trust.
const _: () = {
    let a_second = Span::SECOND.0 / STRANGERS_EVERY.0;
    assert!(a_second * REMEMBERED_S_MAX + 2 * STRANGERS_BURST < SEEN_MAX as u64 / 2);
};

/// What the owner says.
#[derive(Clone, Debug)]
pub struct Settings {
    pub channel: String,
    /// The node's own key: its lines come back from the channel.
    pub own: Signer,
    /// The least broadcast that is heard, by what is given (base) for what is wanted (quote), in what
    /// is given. Other pairs are not heard at all.
    pub broadcast_min: BTreeMap<Pair, Quantity>,
}

/// What a node knows of the key in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// 0 to 10; 0 for strangers, and more counts as 10.
    pub trust: u8,
    pub roster: Roster,
}

/// Whether a key may speak for the peernet that a line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roster {
    /// Nobody told us who is in that peernet.
    Unknown,
    Member,
    /// The roster is known, and the key is not on it.
    Foreign,
}

/// What is to be done with a line.
#[derive(Debug)]
pub enum Verdict {
    /// Check the signature, wherever there is time for it, and tell the sieve what came of it.
    Check(Box<Candidate>),
    Refused(Refusal),
}

/// A line whose signature is to be checked.
#[derive(Debug)]
pub struct Candidate {
    announced: Announcement,
    channel: Arc<str>,
    network: NetworkNo,
    standing: Standing,
    sum: [u8; 32],
}

impl Candidate {
    pub const fn announced(&self) -> &Announcement {
        &self.announced
    }

    /// Checks the signature: the costly step, which needs nothing but this.
    pub fn is_signed(&self) -> bool {
        self.announced.is_signed(&self.channel)
    }

    const fn claim(&self) -> Claim {
        Claim {
            network: self.network,
            signer: self.announced.signer(),
            trust: self.standing.trust,
        }
    }
}

/// How much is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub seen: usize,
    pub checks: usize,
    pub listed: usize,
    pub strangers: usize,
    pub peernets: usize,
    pub claimed: usize,
    pub marked: usize,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The latest issue of a line that was taken.
    pub issued_max: Time,
    /// The highest tokens of peernets whose roster is known, at most [`PEERNETS_MAX`].
    pub tokens: Vec<Token>,
}

/// See the module.
#[derive(Debug)]
pub struct Sieve {
    settings: Settings,
    channel: Arc<str>,
    /// Lines issued up to then may have been taken by an earlier run.
    floor: Time,
    issued_max: Time,
    /// The latest moment that was handed in.
    latest: Time,
    seen: Seen,
    tokens: Tokens,
    quota: Quota,
    checks: BTreeMap<[u8; 32], Time>,
    marked: BTreeMap<Signer, Time>,
    counts: Counts,
}

impl Sieve {
    /// Makes the sieve of a node that has never run before.
    pub fn new(settings: Settings) -> Self {
        Self {
            channel: settings.channel.as_str().into(),
            settings,
            floor: Time::ZERO,
            issued_max: Time::ZERO,
            latest: Time::ZERO,
            seen: Seen::new(SEEN_MAX),
            tokens: Tokens::default(),
            quota: Quota::default(),
            checks: BTreeMap::new(),
            marked: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Makes the sieve of a node that ran before; see the module. Marks that were not kept cost no
    /// more than that a clock set back, or an exit whose lease ended meanwhile, is not noticed.
    pub fn restore(settings: Settings, marks: &Marks, booted_at: Time) -> Self {
        Self {
            floor: marks.issued_max.max(booted_at + CLOCK_TOLERANCE),
            issued_max: marks.issued_max,
            latest: booted_at,
            tokens: Tokens::of(&marks.tokens),
            ..Self::new(settings)
        }
    }

    /// Returns what the next run needs; it changes with a line that is taken, and then only.
    pub fn marks(&self) -> Marks {
        Marks {
            issued_max: self.issued_max,
            tokens: self.tokens.known(),
        }
    }

    pub const fn counts(&self) -> Counts {
        self.counts
    }

    pub fn held(&self) -> Held {
        let (listed, strangers) = self.quota.claims();
        let (peernets, claimed) = self.tokens.len();
        Held {
            seen: self.seen.len(),
            checks: self.checks.len(),
            listed,
            strangers,
            peernets,
            claimed,
            marked: self.marked.len(),
        }
    }

    /// Judges a line of the channel.
    ///
    /// `standing` tells what is known of a key that speaks for a peernet. It is asked before the
    /// signature is checked, so nothing may be concluded from its having been asked.
    pub fn handle_line(
        &mut self,
        network: NetworkNo,
        text: &str,
        now: Time,
        standing: impl FnOnce(Signer, PeernetId) -> Standing,
    ) -> Verdict {
        self.counts.lines += 1;
        self.latest = self.latest.max(now);
        match self.judge(network, text, standing) {
            Ok(candidate) => {
                self.counts.checks += 1;
                Verdict::Check(Box::new(candidate))
            }
            Err(why) => {
                self.counts.count(why);
                Verdict::Refused(why)
            }
        }
    }

    /// Takes what came of a check; returns the announcement if it counts.
    ///
    /// # Errors
    /// Why it does not. `Conflict` proves that its signer said two things under one name.
    pub fn admit(
        &mut self,
        candidate: Box<Candidate>,
        is_valid: bool,
        now: Time,
    ) -> Result<Announcement, Refusal> {
        self.latest = self.latest.max(now);
        self.checks.remove(&candidate.sum);
        let taken = self.take(*candidate, is_valid);
        match &taken {
            Ok(_) => self.counts.taken += 1,
            Err(why) => self.counts.count(*why),
        }
        taken
    }

    fn judge(
        &mut self,
        network: NetworkNo,
        text: &str,
        standing: impl FnOnce(Signer, PeernetId) -> Standing,
    ) -> Result<Candidate, Refusal> {
        let announced = Announcement::parse(text).map_err(|fault| match fault {
            AnnounceError::TooLong => Refusal::TooLong,
            AnnounceError::Kind
            | AnnounceError::Control
            | AnnounceError::Encoding
            | AnnounceError::Line(_)
            | AnnounceError::Field(_)
            | AnnounceError::Amount(_)
            | AnnounceError::Version
            | AnnounceError::Order
            | AnnounceError::Life
            | AnnounceError::SelfMatch
            | AnnounceError::NotCanonical => Refusal::Grammar,
        })?;
        self.check_size(announced.said())?;
        self.check_time(&announced)?;
        if announced.signer() == self.settings.own {
            return Err(Refusal::Own);
        }
        let standing = standing(announced.signer(), announced.peernet());
        self.check_speaker(&announced, standing)?;
        if self.seen.look(&announced)? == Heard::Again {
            return Err(Refusal::Seen);
        }
        let candidate = Candidate {
            announced,
            channel: Arc::clone(&self.channel),
            network,
            standing,
            sum: sha256(text.as_bytes()),
        };
        self.check_room(&candidate)?;
        self.checks.insert(candidate.sum, self.latest);
        Ok(candidate)
    }

    fn check_size(&self, said: &Said) -> Result<(), Refusal> {
        let Some(pair) = said.pair() else {
            return Ok(());
        };
        let least = self.settings.broadcast_min.get(&pair);
        let least = least.ok_or(Refusal::UnknownPair)?;
        match said.broadcast().is_none_or(|quantity| quantity >= *least) {
            true => Ok(()),
            false => Err(Refusal::BelowMin),
        }
    }

    fn check_time(&self, announced: &Announcement) -> Result<(), Refusal> {
        if announced.expires() <= self.latest {
            return Err(Refusal::Expired);
        }
        if announced.issued() > self.latest + CLOCK_TOLERANCE {
            return Err(Refusal::Ahead);
        }
        match announced.issued() <= self.floor {
            true => Err(Refusal::BeforeStart),
            false => Ok(()),
        }
    }

    fn check_speaker(&self, announced: &Announcement, standing: Standing) -> Result<(), Refusal> {
        if standing.roster == Roster::Foreign {
            return Err(Refusal::Foreign);
        }
        let marked_until = self.marked.get(&announced.signer());
        if marked_until.is_some_and(|until| *until > self.latest) {
            return Err(Refusal::Marked);
        }
        match self.tokens.is_over(announced, standing.roster) {
            true => Err(Refusal::OldToken),
            false => Ok(()),
        }
    }

    /// Sees to it that the signature may be checked, and pays for it.
    fn check_room(&mut self, candidate: &Candidate) -> Result<(), Refusal> {
        let now = self.latest;
        let since = self.checks.get(&candidate.sum);
        if since.is_some_and(|since| now.since(*since) < CHECK_PATIENCE) {
            return Err(Refusal::Checking);
        }
        if self.checks.len() >= CHECKS_MAX {
            self.checks
                .retain(|_, since| now.since(*since) < CHECK_PATIENCE);
            if self.checks.len() >= CHECKS_MAX {
                return Err(Refusal::ChecksFull);
            }
        }
        let offers = match candidate.announced.said() {
            Said::Relay(relayed) => relayed.offers.len() as u64,
            Said::Offer(_) | Said::Match(_) | Said::Close(_) => 1,
        };
        self.quota.take(candidate.claim(), offers, now)
    }

    fn take(&mut self, candidate: Candidate, is_valid: bool) -> Result<Announcement, Refusal> {
        let claim = candidate.claim();
        if !is_valid {
            self.quota.strike(claim, self.latest);
            return Err(Refusal::BadSignature);
        }
        self.quota.pardon(claim, self.latest);
        let Candidate {
            announced,
            standing,
            ..
        } = candidate;
        self.check_time(&announced)?;
        self.check_speaker(&announced, standing)?;
        match self.seen.look(&announced)? {
            Heard::New => {}
            Heard::Again => return Err(Refusal::Seen),
            Heard::Otherwise => {
                self.mark(announced.signer());
                return Err(Refusal::Conflict);
            }
        }
        self.seen.put(&announced, self.latest)?;
        self.tokens.raise(&announced, standing.roster, self.latest);
        self.issued_max = self.issued_max.max(announced.issued());
        Ok(announced)
    }

    fn mark(&mut self, signer: Signer) {
        if self.marked.len() >= MARKED_MAX && !self.marked.contains_key(&signer) {
            let first = self.marked.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(signer, _)| *signer) {
                self.marked.remove(&first);
            }
        }
        self.marked.insert(signer, self.latest + MARKED_FOR);
    }
}
