//! The front end before the venue: cached documents, and who asked for too much.

use std::collections::{BTreeMap, VecDeque};

use crate::model::instrument::Pair;
use crate::model::time::{Span, Time};

/// Documents that are written once for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cached {
    Depth,
    Depth0,
    Ticker,
    Ticker0,
}

/// What stands before the venue.
#[derive(Debug, Default)]
pub(super) struct Front {
    documents: BTreeMap<(Cached, Pair), (Time, Vec<u8>)>,
    peers: BTreeMap<String, Peer>,
}

/// What one address asked for.
#[derive(Debug, Default)]
struct Peer {
    /// When it got whole books in the past hour.
    books: VecDeque<Time>,
    banned_until: Option<Time>,
}

impl Front {
    /// How long a document is handed out before it is written again.
    pub(super) const CACHED_FOR: Span = Span::secs(10);
    /// Whole books of one address in one hour; with the next one it is banned.
    pub(super) const BOOKS_MAX: usize = 5;
    const BOOKS_IN: Span = Span::secs(3_600);
    /// How long a ban lasts (modelled: only that there is one is known).
    pub(super) const BANNED_FOR: Span = Span::secs(3_600);
    /// Addresses that are remembered; one more makes the venue forget the one that asked for a
    /// book the longest time ago.
    const PEERS_MAX: usize = 4_096;

    /// Returns a document that is young enough.
    pub(super) fn cached(&self, what: Cached, pair: Pair, now: Time) -> Option<&[u8]> {
        let (at, document) = self.documents.get(&(what, pair))?;
        (now.since(*at) < Self::CACHED_FOR).then_some(document)
    }

    /// Keeps a document; there is room for every kind of every market.
    pub(super) fn keep(&mut self, what: Cached, pair: Pair, document: &[u8], now: Time) {
        self.documents
            .insert((what, pair), (now, document.to_vec()));
    }

    pub(super) fn is_banned(&self, peer: &str, now: Time) -> bool {
        let until = self.peers.get(peer).and_then(|peer| peer.banned_until);
        until.is_some_and(|until| now < until)
    }

    /// Counts a whole book; false where that was one too many and begins a ban.
    pub(super) fn take_book(&mut self, peer: &str, now: Time) -> bool {
        if !self.peers.contains_key(peer) && self.peers.len() >= Self::PEERS_MAX {
            self.forget_one();
        }
        let known = self.peers.entry(peer.to_owned()).or_default();
        while let Some(first) = known.books.front()
            && now.since(*first) >= Self::BOOKS_IN
        {
            known.books.pop_front();
        }
        let is_allowed = known.books.len() < Self::BOOKS_MAX;
        if is_allowed {
            known.books.push_back(now);
        } else {
            known.banned_until = Some(now + Self::BANNED_FOR);
        }
        is_allowed
    }

    fn forget_one(&mut self) {
        let oldest = self.peers.iter().min_by_key(|(_, peer)| peer.books.back());
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.peers.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_book_in_an_hour_bans_one_address_for_an_hour() {
        let mut front = Front::default();
        let at = |minutes: u64| Time::ZERO + Span::MINUTE.times(minutes);
        for minute in 0..5 {
            assert!(front.take_book("a", at(minute)));
        }
        assert!(front.take_book("b", at(5)));
        assert!(!front.take_book("a", at(59)));
        assert!(front.is_banned("a", at(118)) && !front.is_banned("b", at(59)));
        assert!(!front.is_banned("a", at(119)));
        assert!(front.take_book("a", at(119)));
    }

    #[test]
    fn a_full_list_of_addresses_forgets_the_oldest() {
        let mut front = Front::default();
        for number in 0..=Front::PEERS_MAX {
            assert!(front.take_book(&number.to_string(), Time(number as u64)));
        }
        assert_eq!(front.peers.len(), Front::PEERS_MAX);
        assert!(!front.peers.contains_key("0"));
    }
}
