//! Rosters of others, as they are heard: who may speak for whom.
//!
//! A key stands on one roster at a time. Where it stands on two, neither peernet may speak until a
//! later version of one drops the key, or one has not been heard for [`Rosters::KEPT`]. A roster
//! that nobody here knows earns nothing by its size: no place, no voice and no trust is given for a
//! number of keys, which cost nothing to make.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::membership::roster::{Roster, SuccessionError};
use crate::model::ids::PeernetId;
use crate::model::time::{Deadline, Span, Time};

/// The latest roster of each peernet that was heard lately.
#[derive(Debug, Default)]
pub struct Rosters {
    known: BTreeMap<PeernetId, Known>,
    /// Which peernets list a key: one, or there is trouble.
    seats: BTreeMap<[u8; 32], Vec<PeernetId>>,
    own: Option<PeernetId>,
    /// Up to when looked-at signatures are paid for.
    paid_until: Time,
}

#[derive(Debug)]
struct Known {
    roster: Roster,
    /// What this version followed from; none for the one that founded the peernet.
    before: Option<Roster>,
    heard_at: Time,
    is_forked: bool,
}

/// What hearing a roster has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was known; it counts as heard again.
    Again,
    /// The peernet has this roster now. Every other one that shares a key with it is named.
    Latest { shared: Vec<Shared> },
    /// There are two of this version. The first one stays, and may not speak.
    Forked,
}

/// A key on two rosters; both peernets are mute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    pub key: [u8; 32],
    pub peernets: [PeernetId; 2],
}

/// Why a roster is not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TakeError {
    /// Whoever sent it is asked for the versions between.
    #[error("version {version} was sent, and those after {known} are unknown")]
    Gap { known: u64, version: u64 },
    #[error("version {known} is known")]
    Old { known: u64 },
    #[error(transparent)]
    Succession(#[from] SuccessionError),
    #[error("{0} peernets are known and none of them has been silent long enough")]
    Full(usize),
}

/// Why a peernet may not speak.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Mute {
    #[error("its roster is unknown")]
    Unknown,
    #[error("there are two rosters of its latest version")]
    Forked,
    #[error("one of its keys is on the roster of {with}")]
    Shared { with: PeernetId },
}

impl Rosters {
    /// Peernets that are known, each at most 12 KiB. Full: the one that was silent longest makes
    /// room if that is [`Rosters::SILENT`] at least; else the newcomer is refused, so a flood of
    /// new rosters displaces nobody who speaks.
    pub const PEERNETS_MAX: usize = 512;
    /// Signatures looked at: ten of the longest rosters at once, then 64 a second. A node that brings
    /// one more is heard at its next greeting.
    pub const CHECKS_BURST: u64 = 640;
    pub const CHECK_EVERY: Span = Span::micros(15_625);
    /// Silence after which a peernet may be displaced.
    pub const SILENT: Span = Span::secs(600);
    /// Silence after which a roster is not live: it is forgotten, and what it shared is free.
    pub const KEPT: Span = Span::DAY;

    /// Begins with one's own peernet, which is never displaced and never forgotten.
    pub fn new(own: Option<PeernetId>) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// Knows one's own peernet, which is never displaced and never forgotten.
    pub const fn own(&mut self, peernet: PeernetId) {
        self.own = Some(peernet);
    }

    /// Takes so many looks at signatures from the bucket; false where it has not as many.
    pub fn may_check(&mut self, signatures: usize, now: Time) -> bool {
        let cost = Self::CHECK_EVERY.times(signatures as u64);
        let paid_until = self.paid_until.max(now) + cost;
        let is_allowed = paid_until <= now + Self::CHECK_EVERY.times(Self::CHECKS_BURST);
        if is_allowed {
            self.paid_until = paid_until;
        }
        is_allowed
    }

    /// Tells what became of a roster, before its signatures are looked at: those of one that
    /// would not be taken need no work.
    ///
    /// # Errors
    /// As [`Rosters::take`], but for what only the signed keys tell.
    pub fn is_wanted(&self, peernet: PeernetId, version: u64, now: Time) -> Result<(), TakeError> {
        let known = self.version(peernet);
        if version < known {
            return Err(TakeError::Old { known });
        }
        if version - known > 1 {
            return Err(TakeError::Gap { known, version });
        }
        if known == 0 {
            self.room(now)?;
        }
        Ok(())
    }

    /// Takes a verified roster that was heard.
    ///
    /// # Errors
    /// Versions are missing or it is an old one; it does not follow from the one before; no room.
    pub fn take(&mut self, roster: Roster, now: Time) -> Result<Taken, TakeError> {
        let (peernet, version) = (roster.peernet(), roster.version());
        self.is_wanted(peernet, version, now)?;
        if version == self.version(peernet) {
            return self.take_again(&roster, now);
        }
        let before = match self.known.remove(&peernet) {
            Some(known) => {
                if let Err(error) = roster.succeeds(&known.roster) {
                    self.known.insert(peernet, known);
                    return Err(error.into());
                }
                self.unseat(&known.roster);
                Some(known.roster)
            }
            None => {
                if let Some(silent) = self.room(now)? {
                    self.forget(silent);
                }
                None
            }
        };
        for key in roster.keys() {
            self.seats.entry(*key).or_default().push(peernet);
        }
        let shared = self.shared(&roster);
        let known = Known {
            roster,
            before,
            heard_at: now,
            is_forked: false,
        };
        self.known.insert(peernet, known);
        Ok(Taken::Latest { shared })
    }

    pub fn roster(&self, peernet: PeernetId) -> Option<&Roster> {
        self.known.get(&peernet).map(|known| &known.roster)
    }

    /// Tells whether a peernet may speak.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may_speak(&self, peernet: PeernetId) -> Result<(), Mute> {
        let known = self.known.get(&peernet).ok_or(Mute::Unknown)?;
        if known.is_forked {
            return Err(Mute::Forked);
        }
        match self.shared(&known.roster).first() {
            Some(shared) => Err(Mute::Shared {
                with: shared.peernets[1],
            }),
            None => Ok(()),
        }
    }

    /// Returns the one peernet that lists a key, if just one does.
    pub fn peernet_of(&self, key: &[u8; 32]) -> Option<PeernetId> {
        match self.seats.get(key)?.as_slice() {
            [peernet] => Some(*peernet),
            [] | [_, _, ..] => None,
        }
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Returns when the next roster ceases to be live.
    pub fn deadline(&self) -> Option<Deadline> {
        let silent = self.silent_longest()?.1 + Self::KEPT;
        Some(Deadline {
            at: silent,
            why: "a roster was not heard for a day",
        })
    }

    /// Forgets what is not live any more.
    pub fn handle_deadline(&mut self, now: Time) {
        while let Some((peernet, heard_at)) = self.silent_longest() {
            if now.since(heard_at) < Self::KEPT {
                break;
            }
            self.forget(peernet);
        }
    }

    fn version(&self, peernet: PeernetId) -> u64 {
        self.roster(peernet).map_or(0, Roster::version)
    }

    fn take_again(&mut self, roster: &Roster, now: Time) -> Result<Taken, TakeError> {
        let Some(known) = self.known.get_mut(&roster.peernet()) else {
            return Ok(Taken::Again);
        };
        if known.roster.hash() == roster.hash() {
            known.heard_at = now;
            return Ok(Taken::Again);
        }
        // Only a rightful second version of what came before is a fork; anybody can sign another.
        if let Some(before) = &known.before {
            roster.succeeds(before)?;
        }
        known.is_forked = true;
        Ok(Taken::Forked)
    }

    /// Returns who must make room for one more, if anybody must.
    fn room(&self, now: Time) -> Result<Option<PeernetId>, TakeError> {
        if self.known.len() < Self::PEERNETS_MAX {
            return Ok(None);
        }
        match self.silent_longest() {
            Some((peernet, heard_at)) if now.since(heard_at) >= Self::SILENT => Ok(Some(peernet)),
            Some(_) | None => Err(TakeError::Full(self.known.len())),
        }
    }

    fn silent_longest(&self) -> Option<(PeernetId, Time)> {
        let others = self.known.iter();
        let others = others.filter(|(peernet, _)| self.own != Some(**peernet));
        others
            .map(|(peernet, known)| (*peernet, known.heard_at))
            .min_by_key(|(peernet, heard_at)| (*heard_at, *peernet))
    }

    /// Returns every key of a roster that another peernet lists as well.
    fn shared(&self, roster: &Roster) -> Vec<Shared> {
        let own = roster.peernet();
        let with = |key: &[u8; 32]| {
            let others = self.seats.get(key)?.iter();
            let with = others.copied().find(|peernet| *peernet != own)?;
            Some(Shared {
                key: *key,
                peernets: [own, with],
            })
        };
        roster.keys().iter().filter_map(with).collect()
    }

    fn forget(&mut self, peernet: PeernetId) {
        if let Some(known) = self.known.remove(&peernet) {
            self.unseat(&known.roster);
        }
    }

    fn unseat(&mut self, roster: &Roster) {
        for key in roster.keys() {
            if let Some(peernets) = self.seats.get_mut(key) {
                peernets.retain(|peernet| *peernet != roster.peernet());
                if peernets.is_empty() {
                    self.seats.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::roster::Draft;
    use crate::membership::roster::tests::{followed, founded, key, signed_by};

    const NOW: Time = Time(1_000 * 1_000_000_000);

    fn rosters(heard: &[&Roster]) -> Rosters {
        let mut rosters = Rosters::default();
        for roster in heard {
            rosters.take((*roster).clone(), NOW).unwrap();
        }
        rosters
    }

    #[test]
    fn a_key_on_two_rosters_silences_both_until_one_drops_it() {
        let (one, other) = (founded(&[1, 2, 3]), founded(&[3, 4, 5]));
        let mut rosters = rosters(&[&one]);
        assert_eq!(rosters.may_speak(one.peernet()), Ok(()));
        let peernets = [other.peernet(), one.peernet()];
        let shared = vec![Shared {
            key: key(3),
            peernets,
        }];
        let taken = rosters.take(other.clone(), NOW);
        assert_eq!(taken, Ok(Taken::Latest { shared }));
        let mute = |with: &Roster| {
            Err(Mute::Shared {
                with: with.peernet(),
            })
        };
        assert_eq!(rosters.may_speak(one.peernet()), mute(&other));
        assert_eq!(rosters.may_speak(other.peernet()), mute(&one));
        assert_eq!(rosters.peernet_of(&key(3)), None);
        rosters.take(followed(&other, &[4, 5]), NOW).unwrap();
        assert_eq!(rosters.may_speak(one.peernet()), Ok(()));
        assert_eq!(rosters.may_speak(other.peernet()), Ok(()));
        assert_eq!(rosters.peernet_of(&key(3)), Some(one.peernet()));
    }

    #[test]
    fn a_roster_that_is_not_heard_for_a_day_holds_nobody() {
        let (one, other) = (founded(&[1, 2, 3]), founded(&[3, 4, 5]));
        let mut rosters = rosters(&[&one, &other]);
        let later = NOW + Span::secs(3_600);
        assert_eq!(rosters.take(one.clone(), later), Ok(Taken::Again));
        let deadline = rosters.deadline().unwrap();
        assert_eq!(deadline.at, NOW + Rosters::KEPT);
        rosters.handle_deadline(deadline.at - Span(1));
        assert!(rosters.may_speak(one.peernet()).is_err());
        rosters.handle_deadline(deadline.at);
        assert_eq!(rosters.may_speak(one.peernet()), Ok(()));
        assert_eq!(rosters.may_speak(other.peernet()), Err(Mute::Unknown));
    }

    #[test]
    fn versions_are_taken_in_order_and_none_is_left_out() {
        let first = founded(&[1, 2, 3]);
        let second = followed(&first, &[1, 2, 4]);
        let third = followed(&second, &[1, 2, 4, 5]);
        let mut rosters = Rosters::default();
        let gap = |known, version| Err(TakeError::Gap { known, version });
        assert_eq!(rosters.take(third.clone(), NOW), gap(0, 3));
        rosters.take(first.clone(), NOW).unwrap();
        assert_eq!(rosters.take(third.clone(), NOW), gap(1, 3));
        rosters.take(second, NOW).unwrap();
        rosters.take(third.clone(), NOW).unwrap();
        let old = TakeError::Old { known: 3 };
        assert_eq!(rosters.take(first.clone(), NOW), Err(old));
        assert_eq!(rosters.roster(first.peernet()), Some(&third));
        assert_eq!(rosters.is_wanted(first.peernet(), 4, NOW), Ok(()));
        let far = rosters.is_wanted(first.peernet(), u64::MAX, NOW);
        assert_eq!(far.unwrap_err(), gap(3, u64::MAX).unwrap_err());
    }

    /// Makes a roster of any version, as somebody without the earlier keys could sign one.
    fn usurped(of: &Roster, seeds: &[u8]) -> Roster {
        let base = followed(of, &[1, 2, 3]);
        let mut bytes = Vec::new();
        base.write(&mut bytes);
        // A draft of the same peernet and version that lists other keys.
        let stranger = founded(seeds);
        let mut forged = Vec::new();
        stranger.write(&mut forged);
        forged[..24].copy_from_slice(&bytes[..24]);
        let read = crate::membership::roster::Unverified::read(&forged).unwrap();
        signed_by(read.draft(), seeds)
    }

    #[test]
    fn strangers_neither_take_a_peernet_over_nor_fork_it() {
        let first = founded(&[1, 2, 3]);
        let usurper = usurped(&first, &[7, 8]);
        let mut rosters = rosters(&[&first]);
        let refused = Err(SuccessionError::Majority.into());
        assert_eq!(rosters.take(usurper.clone(), NOW), refused);
        assert_eq!(rosters.roster(first.peernet()), Some(&first));
        rosters.take(followed(&first, &[1, 2, 3]), NOW).unwrap();
        assert_eq!(rosters.take(usurper, NOW), refused, "nor is it a fork");
        assert_eq!(rosters.may_speak(first.peernet()), Ok(()));
    }

    #[test]
    fn two_rosters_of_one_version_silence_the_peernet_until_the_next() {
        let first = founded(&[1, 2, 3]);
        let second = followed(&first, &[1, 2, 4]);
        let mut rosters = rosters(&[&first, &second]);
        let twin = followed(&first, &[1, 2, 5]);
        assert_eq!(rosters.take(twin, NOW), Ok(Taken::Forked));
        assert_eq!(rosters.may_speak(first.peernet()), Err(Mute::Forked));
        rosters.take(followed(&second, &[1, 2]), NOW).unwrap();
        assert_eq!(rosters.may_speak(first.peernet()), Ok(()));
    }

    /// One key a peernet, cheaper than founding hundreds of them by seeds of one byte.
    fn lone(count: u16) -> Roster {
        use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&count.to_le_bytes());
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let draft = Draft::found(&[pair.public_key().as_ref().try_into().unwrap()]).unwrap();
        let signature = pair.sign(&draft.statement()).as_ref().try_into().unwrap();
        draft.sign(vec![signature]).unwrap()
    }

    #[test]
    fn a_flood_of_rosters_displaces_nobody_who_speaks_and_never_ones_own() {
        let own = founded(&[1, 2, 3]);
        let mut rosters = Rosters::new(Some(own.peernet()));
        rosters.take(own.clone(), Time::ZERO).unwrap();
        for count in 1..Rosters::PEERNETS_MAX {
            rosters
                .take(lone(u16::try_from(count).unwrap()), NOW)
                .unwrap();
        }
        let newcomer = lone(u16::MAX);
        let full = Err(TakeError::Full(Rosters::PEERNETS_MAX));
        assert_eq!(rosters.is_wanted(newcomer.peernet(), 1, NOW), full);
        let full = Err(TakeError::Full(Rosters::PEERNETS_MAX));
        assert_eq!(rosters.take(newcomer.clone(), NOW), full);
        let later = NOW + Rosters::SILENT;
        assert_eq!(rosters.take(lone(1), later), Ok(Taken::Again));
        rosters.take(newcomer.clone(), later).unwrap();
        assert_eq!(rosters.len(), Rosters::PEERNETS_MAX);
        assert!(rosters.roster(own.peernet()).is_some());
        assert!(rosters.roster(lone(1).peernet()).is_some());
        rosters.handle_deadline(later + Rosters::KEPT);
        assert_eq!(rosters.len(), 1);
        assert!(rosters.deadline().is_none());
    }
}
