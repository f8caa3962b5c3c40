//! What a sieve remembers of lines that it took: which they were, and the highest token of a peernet.

use std::collections::{BTreeMap, BTreeSet};

use crate::discovery::announce::{Announcement, Said, Signer};
use crate::discovery::sieve::{Refusal, Roster};
use crate::model::ids::PeernetId;
use crate::model::key::sha256;
use crate::model::time::Time;

/// Offers, matches, relayed offers and ends remembered, each until its line expires. Full: the one
/// that expires first goes, and from then on no line is taken that expires no later than it would have.
pub const SEEN_MAX: usize = 65_536;
/// Peernets whose roster is known, with their highest token. Full: the one heard least lately goes;
/// its next line begins anew, and no line that was taken can come back, for it was seen.
pub const PEERNETS_MAX: usize = 1_024;
/// Pairs of a key and a peernet whose roster is not known. Full: as above.
pub const CLAIMED_MAX: usize = 4_096;

/// Half of a SHA-256: two lines of one sum cost their maker 2^64 tries, and he loses one of them.
type Sum = [u8; 16];

/// Whether a line was heard before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    New,
    Again,
    /// The same offer and version with other terms.
    Otherwise,
}

#[derive(Debug)]
pub(super) struct Seen {
    lines: BTreeMap<Sum, Line>,
    by_expiry: BTreeSet<(u32, Sum)>,
    /// The latest expiry of what had to go, in seconds since 1970.
    evicted_s: u32,
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    terms: Sum,
    expires_s: u32,
}

impl Seen {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            lines: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            evicted_s: 0,
            limit,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Looks for a line.
    ///
    /// # Errors
    /// It expires before what had to go, so nobody knows whether it was heard.
    pub(super) fn look(&self, announced: &Announcement) -> Result<Heard, Refusal> {
        let sums = sums(announced);
        if !sums.iter().all(|sum| self.lines.contains_key(sum)) {
            return match announced.expires_s() <= self.evicted_s {
                true => Err(Refusal::BeforeEvicted),
                false => Ok(Heard::New),
            };
        }
        // A relay may come in other company on another channel.
        let is_relay = matches!(announced.said(), Said::Relay(_));
        let terms = half(announced.terms());
        let is_same = |sum| self.lines.get(sum).is_some_and(|line| line.terms == terms);
        Ok(match is_relay || sums.iter().all(is_same) {
            true => Heard::Again,
            false => Heard::Otherwise,
        })
    }

    /// Remembers a line, and forgets those that are over.
    ///
    /// # Errors
    /// There is no room, and all that is remembered expires later.
    pub(super) fn put(&mut self, announced: &Announcement, now: Time) -> Result<(), Refusal> {
        let now_s = now.0 / 1_000_000_000;
        while let Some((expires_s, sum)) = self.by_expiry.first().copied()
            && u64::from(expires_s) <= now_s
        {
            self.forget(expires_s, sum);
        }
        let (sums, expires_s) = (sums(announced), announced.expires_s());
        let is_new = |lines: &BTreeMap<Sum, Line>, sum| !lines.contains_key(sum);
        loop {
            let new = sums.iter().filter(|sum| is_new(&self.lines, *sum)).count();
            let Some((oldest_s, sum)) = self.by_expiry.first().copied() else {
                break;
            };
            if self.lines.len() + new <= self.limit {
                break;
            }
            if expires_s <= oldest_s {
                return Err(Refusal::BeforeEvicted);
            }
            self.evicted_s = self.evicted_s.max(oldest_s);
            self.forget(oldest_s, sum);
        }
        let terms = half(announced.terms());
        for sum in sums {
            let earlier_s = self.lines.get(&sum).map(|line| line.expires_s);
            let expires_s = expires_s.max(earlier_s.unwrap_or(0));
            if let Some(earlier_s) = earlier_s {
                self.by_expiry.remove(&(earlier_s, sum));
            }
            self.by_expiry.insert((expires_s, sum));
            self.lines.insert(sum, Line { terms, expires_s });
        }
        Ok(())
    }

    fn forget(&mut self, expires_s: u32, sum: Sum) {
        self.by_expiry.remove(&(expires_s, sum));
        self.lines.remove(&sum);
    }
}

/// Returns what a line is known by: kind, signer, offer and version; a relay by each offer it names.
fn sums(announced: &Announcement) -> Vec<Sum> {
    let kind = [announced.said().kind() as u8];
    let signer = announced.signer().0;
    let sum = |offer: &[u8], version: u32| {
        half(sha256(
            &[&kind, &signer[..], &version.to_le_bytes(), offer].concat(),
        ))
    };
    match announced.said() {
        Said::Offer(offered) => vec![sum(&offered.offer.0, offered.version)],
        Said::Match(matched) => vec![sum(
            &[matched.offer.0, matched.origin.0].concat(),
            matched.version,
        )],
        Said::Relay(relayed) => {
            let named = relayed.offers.iter();
            named
                .map(|(offer, version)| sum(&offer.0, *version))
                .collect()
        }
        Said::Close(closed) => vec![sum(&closed.offer.0, closed.version)],
    }
}

fn half(sum: [u8; 32]) -> Sum {
    let mut half = [0; 16];
    half.copy_from_slice(&sum[..16]);
    half
}

/// The highest token of a peernet, and who spoke under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub peernet: PeernetId,
    pub token: u64,
    pub signer: Signer,
}

/// The highest tokens heard.
///
/// Where the roster is known, a token counts for the peernet, and one token for one speaker. Where it
/// is not, anybody could name any peernet; there a token counts for the key that named it, so that
/// one line with a high token cannot silence somebody else.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    known: BTreeMap<PeernetId, Highest>,
    claimed: BTreeMap<(PeernetId, Signer), Highest>,
}

#[derive(Clone, Copy, Debug)]
struct Highest {
    token: u64,
    signer: Signer,
    heard_at: Time,
}

impl Tokens {
    pub(super) fn of(tokens: &[Token]) -> Self {
        let mut own = Self::default();
        for Token {
            peernet,
            token,
            signer,
        } in tokens.iter().take(PEERNETS_MAX)
        {
            let heard = Highest {
                token: *token,
                signer: *signer,
                heard_at: Time::ZERO,
            };
            own.known.insert(*peernet, heard);
        }
        own
    }

    /// Tells whether a line is from under a lease that is over.
    pub(super) fn is_over(&self, announced: &Announcement, roster: Roster) -> bool {
        let (peernet, signer) = (announced.peernet(), announced.signer());
        let highest = match roster {
            Roster::Member => self.known.get(&peernet),
            Roster::Unknown | Roster::Foreign => self.claimed.get(&(peernet, signer)),
        };
        highest.is_some_and(|highest| {
            let token = announced.token();
            token < highest.token || (token == highest.token && signer != highest.signer)
        })
    }

    /// Counts the token of a line that was taken.
    pub(super) fn raise(&mut self, announced: &Announcement, roster: Roster, now: Time) {
        let (peernet, signer) = (announced.peernet(), announced.signer());
        let heard = Highest {
            token: announced.token(),
            signer,
            heard_at: now,
        };
        match roster {
            Roster::Member => put(&mut self.known, peernet, heard, PEERNETS_MAX),
            Roster::Unknown | Roster::Foreign => {
                put(&mut self.claimed, (peernet, signer), heard, CLAIMED_MAX);
            }
        }
    }

    /// Returns the tokens of peernets whose roster is known.
    pub(super) fn known(&self) -> Vec<Token> {
        let known = self.known.iter().map(|(peernet, highest)| Token {
            peernet: *peernet,
            token: highest.token,
            signer: highest.signer,
        });
        known.collect()
    }

    pub(super) fn len(&self) -> (usize, usize) {
        (self.known.len(), self.claimed.len())
    }
}

fn put<K: Ord + Copy>(heard: &mut BTreeMap<K, Highest>, name: K, highest: Highest, limit: usize) {
    if heard.len() >= limit && !heard.contains_key(&name) {
        let oldest = heard.iter().min_by_key(|(_, heard)| heard.heard_at);
        if let Some(oldest) = oldest.map(|(name, _)| *name) {
            heard.remove(&oldest);
        }
    }
    heard.insert(name, highest);
}
