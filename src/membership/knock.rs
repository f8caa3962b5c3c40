//! Silence to strangers: which datagrams the transport may see, and to whom it may answer.
//!
//! QUIC's first packets have a long header. Between members each datagram that begins with one
//! carries a trailer, taken off again before QUIC sees it:
//!
//! ```text
//! QUIC packets │ hint 8 │ stamp 6 │ tag 16
//! tag  = HMAC-SHA256(pair key, receiver's id │ hint │ stamp │ QUIC packets), first 16 bytes
//! hint = HMAC-SHA256(pair key, "hint" │ receiver's id), first 8 bytes: it names the sender to the
//!        receiver alone
//! stamp = sender's wall clock in ms since 1970
//! pair key = HKDF-SHA256(X25519(own secret, peer's public key), lower id, higher id)
//! ```
//!
//! - A long header without a valid tag is dropped, so nobody unlisted gets a single byte.
//! - A short header passes only from an address with which a connection is held.
//! - Nothing is sent to an address that is neither held nor knocked from lately.
//! - A replayed tag is dropped: each is remembered per peer while its stamp is within the window,
//!   and stamps from before the peer was added (so, before this process began) do not count. Who
//!   intercepts a packet *before* it arrives and delivers it from elsewhere gets one Retry, which
//!   is useless without the pair key. The price: after a start, a peer whose clock is behind is
//!   heard that much later, and so is everybody after our own clock was set back.
//! - Two peers with one hint cannot be told apart; the first one listed is heard (2^-64).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use aws_lc_rs::hmac;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::membership::tag::{HINT_BYTES, STAMP_BYTES, TAG_BYTES, equal, hint, pair_key, tag};
use crate::model::ids::NodeId;
use crate::model::time::{Span, Time};

/// Bytes added to a datagram with a long header: 1,200 and these fit IPv6's least MTU (1,280).
pub const TRAILER_BYTES: usize = HINT_BYTES + STAMP_BYTES + TAG_BYTES;
/// How far the clocks of two nodes may differ.
pub const WINDOW_MS: u64 = 120_000;
/// Tags remembered per peer; a handshake takes about six. Full: that peer's next first packets are
/// dropped until old stamps leave the window; nobody else is concerned.
pub const SEEN_MAX: usize = 1_024;
/// Addresses remembered per peer. Full: its least recent one without a connection makes room; if
/// all have connections, the packet is dropped.
pub const ADDRESSES_MAX: usize = 8;
/// How long an address is answered after its last valid tag, without a connection.
pub const KNOCKED: Span = Span::secs(10);
/// How long closing packets still leave after the last connection went.
pub const LINGER: Span = Span::secs(1);

const LONG_HEADER: u8 = 0x80;

/// The two clocks a step needs: one that never jumps, and the one that other nodes share.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    pub now: Time,
    pub wall_ms: u64,
}

/// Who may be heard and who may be answered.
pub struct Knocks {
    own: NodeId,
    secret: StaticSecret,
    /// Boxed: a door is over a kilobyte, and a map keeps room for eleven at once.
    peers: BTreeMap<NodeId, Box<Door>>,
    hints: BTreeMap<[u8; HINT_BYTES], NodeId>,
    table: BTreeMap<SocketAddr, Entry>,
    stats: KnockStats,
}

/// What became of datagrams, one counter a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnockStats {
    pub passed: u64,
    /// Long header, and no trailer or no peer of that hint.
    pub strangers: u64,
    pub bad_tags: u64,
    pub outside_window: u64,
    pub replayed: u64,
    pub seen_full: u64,
    /// Short header from an address without a connection.
    pub unproven: u64,
    /// A tag of one peer from an address where another has a connection.
    pub address_taken: u64,
    pub addresses_full: u64,
    /// Answers kept back, as nobody at that address knocked.
    pub unsent: u64,
}

/// What is to be done with an outgoing datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Send as it is.
    Plain,
    /// Send what was written, trailer included.
    Sealed,
    /// Send nothing.
    Silence,
}

struct Door {
    key: hmac::Key,
    /// The hint we send, and the one we expect.
    ours: [u8; HINT_BYTES],
    theirs: [u8; HINT_BYTES],
    since_ms: u64,
    seen: BTreeSet<(u64, [u8; TAG_BYTES])>,
    addresses: Vec<SocketAddr>,
}

#[derive(Clone, Copy)]
struct Entry {
    peer: NodeId,
    /// Connections with this address.
    holds: u16,
    /// Without a connection, the entry ends here.
    until: Time,
    /// The peer was removed: nothing is heard, closing packets still leave.
    leaving: bool,
}

impl Knocks {
    pub fn new(own: NodeId, secret: StaticSecret) -> Self {
        Self {
            own,
            secret,
            peers: BTreeMap::new(),
            hints: BTreeMap::new(),
            table: BTreeMap::new(),
            stats: KnockStats::default(),
        }
    }

    /// Lets a peer be heard. Returns false for oneself and for a key of small order.
    pub fn add(&mut self, peer: NodeId, knock: &[u8; 32], clocks: Clocks) -> bool {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*knock));
        if peer == self.own || !shared.was_contributory() {
            return false;
        }
        let Some(key) = pair_key(shared.as_bytes(), self.own.min(peer), self.own.max(peer)) else {
            return false;
        };
        let (ours, theirs) = (hint(&key, peer), hint(&key, self.own));
        let since_ms = clocks.wall_ms;
        self.hints.entry(theirs).or_insert(peer);
        let (seen, addresses) = (BTreeSet::new(), Vec::new());
        self.peers.insert(
            peer,
            Box::new(Door {
                key,
                ours,
                theirs,
                since_ms,
                seen,
                addresses,
            }),
        );
        true
    }

    /// Stops hearing a peer at once; closing packets may still leave for [`LINGER`].
    pub fn remove(&mut self, peer: NodeId, now: Time) {
        let Some(door) = self.peers.remove(&peer) else {
            return;
        };
        if self.hints.get(&door.theirs) == Some(&peer) {
            self.hints.remove(&door.theirs);
        }
        for address in door.addresses {
            if let Some(entry) = self.table.get_mut(&address)
                && entry.peer == peer
            {
                entry.leaving = true;
                entry.until = now + LINGER;
            }
        }
        self.table
            .retain(|_, entry| self.peers.contains_key(&entry.peer) || entry.until > now);
    }

    /// Judges a datagram; returns how many of its bytes are QUIC's, or `None` to drop it.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        bytes: &[u8],
        clocks: Clocks,
    ) -> Option<usize> {
        let from = canonical(from);
        if is_short(bytes) {
            return self.handle_short(from, bytes);
        }
        let passed = self.handle_knock(from, bytes, clocks);
        self.stats.passed += u64::from(passed.is_some());
        passed
    }

    /// Judges a datagram that needs no clock, as all of a connection's but its first ones do.
    pub fn handle_short(&mut self, from: SocketAddr, bytes: &[u8]) -> Option<usize> {
        let passed = self.is_held(from) && !bytes.is_empty();
        self.stats.unproven += u64::from(!passed);
        self.stats.passed += u64::from(passed);
        passed.then_some(bytes.len())
    }

    /// Tells whether a connection is held at an address: what is not a first packet leaves as it is.
    pub fn is_held(&self, address: SocketAddr) -> bool {
        let entry = self.table.get(&canonical(address));
        entry.is_some_and(|entry| entry.holds > 0 && !entry.leaving)
    }

    /// Judges an outgoing datagram; writes it with its trailer where it needs one.
    pub fn seal(
        &mut self,
        to: SocketAddr,
        packet: &[u8],
        clocks: Clocks,
        sealed: &mut Vec<u8>,
    ) -> Outgoing {
        let Some(entry) = self.table.get(&canonical(to)) else {
            self.stats.unsent += 1;
            return Outgoing::Silence;
        };
        if entry.until <= clocks.now && (entry.holds == 0 || entry.leaving) {
            self.stats.unsent += 1;
            return Outgoing::Silence;
        }
        if is_short(packet) {
            return Outgoing::Plain;
        }
        let Some(door) = self.peers.get(&entry.peer) else {
            self.stats.unsent += 1;
            return Outgoing::Silence;
        };
        let mut stamp = [0; STAMP_BYTES];
        stamp.copy_from_slice(&clocks.wall_ms.to_be_bytes()[8 - STAMP_BYTES..]);
        sealed.clear();
        sealed.extend_from_slice(packet);
        sealed.extend_from_slice(&door.ours);
        sealed.extend_from_slice(&stamp);
        sealed.extend_from_slice(&tag(&door.key, entry.peer, &door.ours, &stamp, packet));
        Outgoing::Sealed
    }

    /// Counts a connection with `peer` at an address, so that it is heard and answered there.
    /// Returns false if the peer is not listed, or another peer is connected there.
    pub fn hold(&mut self, address: SocketAddr, peer: NodeId, now: Time) -> bool {
        let address = canonical(address);
        if !self.peers.contains_key(&peer) || !self.note(address, peer, now) {
            return false;
        }
        if let Some(entry) = self.table.get_mut(&address) {
            entry.holds = entry.holds.saturating_add(1);
        }
        true
    }

    /// Ends what [`Knocks::hold`] began.
    pub fn release(&mut self, address: SocketAddr, peer: NodeId, now: Time) {
        if let Some(entry) = self.table.get_mut(&canonical(address))
            && entry.peer == peer
        {
            entry.holds = entry.holds.saturating_sub(1);
            entry.until = entry.until.max(now + LINGER);
        }
    }

    /// Returns who proved to be at an address.
    pub fn peer_at(&self, address: SocketAddr) -> Option<NodeId> {
        let entry = self.table.get(&canonical(address))?;
        (!entry.leaving).then_some(entry.peer)
    }

    pub fn stats(&self) -> KnockStats {
        self.stats
    }

    fn handle_knock(&mut self, from: SocketAddr, bytes: &[u8], clocks: Clocks) -> Option<usize> {
        let Some((packet, trailer)) = bytes.split_last_chunk::<TRAILER_BYTES>() else {
            self.stats.strangers += 1;
            return None;
        };
        let (hint, rest) = trailer.split_at(HINT_BYTES);
        let (stamp, sent_tag) = rest.split_at(STAMP_BYTES);
        let Some(&peer) = self.hints.get(hint) else {
            self.stats.strangers += 1;
            return None;
        };
        let door = self.peers.get_mut(&peer)?;
        let expected = tag(&door.key, self.own, hint, stamp, packet);
        if !equal(&expected, sent_tag) {
            self.stats.bad_tags += 1;
            return None;
        }
        let sent_ms = stamp
            .iter()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        if sent_ms.abs_diff(clocks.wall_ms) > WINDOW_MS || sent_ms < door.since_ms {
            self.stats.outside_window += 1;
            return None;
        }
        if door.seen.contains(&(sent_ms, expected)) {
            self.stats.replayed += 1;
            return None;
        }
        if door.seen.len() >= SEEN_MAX {
            let oldest = clocks.wall_ms.saturating_sub(WINDOW_MS);
            door.seen = door.seen.split_off(&(oldest, [0; TAG_BYTES]));
            if door.seen.len() >= SEEN_MAX {
                self.stats.seen_full += 1;
                return None;
            }
        }
        door.seen.insert((sent_ms, expected));
        self.note(from, peer, clocks.now).then_some(packet.len())
    }

    /// Enters that `peer` is at `address`; false if there is no room for it.
    fn note(&mut self, address: SocketAddr, peer: NodeId, now: Time) -> bool {
        let until = now + KNOCKED;
        if let Some(entry) = self.table.get_mut(&address) {
            if entry.peer == peer {
                entry.until = entry.until.max(until);
                entry.leaving = false;
                return true;
            }
            if entry.holds > 0 && !entry.leaving {
                self.stats.address_taken += 1;
                return false;
            }
            self.table.remove(&address);
        }
        if !self.make_room(peer) {
            self.stats.addresses_full += 1;
            return false;
        }
        if let Some(door) = self.peers.get_mut(&peer) {
            door.addresses.push(address);
        }
        let entry = Entry {
            peer,
            holds: 0,
            until,
            leaving: false,
        };
        self.table.insert(address, entry);
        true
    }

    /// Sees to it that one more address of this peer can be entered.
    fn make_room(&mut self, peer: NodeId) -> bool {
        let Some(door) = self.peers.get_mut(&peer) else {
            return false;
        };
        let table = &mut self.table;
        door.addresses
            .retain(|address| table.get(address).is_some_and(|entry| entry.peer == peer));
        if door.addresses.len() < ADDRESSES_MAX {
            return true;
        }
        let idle = door
            .addresses
            .iter()
            .filter(|address| table.get(address).is_some_and(|entry| entry.holds == 0));
        let oldest = idle.min_by_key(|address| table.get(address).map(|entry| entry.until));
        let Some(&oldest) = oldest else {
            return false;
        };
        table.remove(&oldest);
        door.addresses.retain(|&address| address != oldest);
        true
    }
}

impl fmt::Debug for Knocks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Knocks")
            .field("own", &self.own)
            .field("peers", &self.peers.len())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

/// Tells whether this is not one of a connection's first packets; true of nothing at all.
pub fn is_short(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|first| first & LONG_HEADER == 0)
}

/// An IPv4 address in its own form, also where the socket is IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL_MS: u64 = 1_700_000_000_000;
    const INITIAL: [u8; 1200] = [0xC0; 1200];
    const SHORT: [u8; 40] = [0x40; 40];

    fn clocks(at_ms: u64) -> Clocks {
        Clocks {
            now: Time(at_ms * 1_000_000),
            wall_ms: WALL_MS + at_ms,
        }
    }

    fn node(number: u8) -> NodeId {
        NodeId([number; 16])
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn pair() -> (Knocks, Knocks) {
        let secrets = [1, 2].map(|seed| StaticSecret::from([seed; 32]));
        let publics = secrets
            .each_ref()
            .map(|secret| PublicKey::from(secret).to_bytes());
        let [one, two] = secrets;
        let mut one = Knocks::new(node(1), one);
        let mut two = Knocks::new(node(2), two);
        assert!(one.add(node(2), &publics[1], clocks(0)));
        assert!(two.add(node(1), &publics[0], clocks(0)));
        assert!(one.hold(address(2), node(2), clocks(0).now));
        (one, two)
    }

    fn knock(from: &mut Knocks, at_ms: u64) -> Vec<u8> {
        let mut sealed = Vec::new();
        let outgoing = from.seal(address(2), &INITIAL, clocks(at_ms), &mut sealed);
        assert_eq!(outgoing, Outgoing::Sealed);
        sealed
    }

    fn answer(from: &mut Knocks, to: u16, at_ms: u64) -> Outgoing {
        from.seal(address(to), &INITIAL, clocks(at_ms), &mut Vec::new())
    }

    #[test]
    fn a_genuine_knock_passes_and_is_answered() {
        let (mut one, mut two) = pair();
        assert_eq!(answer(&mut two, 1, 0), Outgoing::Silence);
        let sealed = knock(&mut one, 0);
        assert_eq!(sealed.len(), INITIAL.len() + TRAILER_BYTES);
        assert_eq!(
            two.handle_datagram(address(1), &sealed, clocks(50)),
            Some(1200)
        );
        assert_eq!(two.peer_at(address(1)), Some(node(1)));
        assert_eq!(answer(&mut two, 1, 50), Outgoing::Sealed);
        assert_eq!(
            answer(&mut two, 1, 50 + KNOCKED.as_millis()),
            Outgoing::Silence
        );
    }

    #[test]
    fn whatever_is_changed_in_a_knock_it_is_dropped() {
        let (mut one, mut two) = pair();
        let sealed = knock(&mut one, 0);
        for at in (0..sealed.len()).filter(|at| at % 97 == 0 || *at >= INITIAL.len()) {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(
                two.handle_datagram(address(1), &changed, clocks(0)),
                None,
                "{at}"
            );
        }
        for len in [
            0,
            1,
            TRAILER_BYTES - 1,
            TRAILER_BYTES,
            1200,
            sealed.len() - 1,
        ] {
            assert_eq!(
                two.handle_datagram(address(1), &sealed[..len], clocks(0)),
                None
            );
        }
        assert_eq!(
            one.handle_datagram(address(2), &sealed, clocks(0)),
            None,
            "reflected"
        );
        assert_eq!(
            two.handle_datagram(address(1), &sealed, clocks(0)),
            Some(1200)
        );
    }

    #[test]
    fn a_replay_is_dropped_from_anywhere_and_for_ever() {
        let (mut one, mut two) = pair();
        let sealed = knock(&mut one, 0);
        assert!(
            two.handle_datagram(address(1), &sealed, clocks(0))
                .is_some()
        );
        for at_ms in [0, 1, WINDOW_MS, WINDOW_MS + 1, 10 * WINDOW_MS] {
            for port in [1, 66] {
                assert_eq!(
                    two.handle_datagram(address(port), &sealed, clocks(at_ms)),
                    None
                );
            }
        }
        assert_eq!(two.peer_at(address(66)), None);
        assert_eq!(two.stats().replayed, 6);
        let early = knock(&mut one, 5);
        let knock_key = PublicKey::from(&StaticSecret::from([1; 32])).to_bytes();
        two.remove(node(1), clocks(6).now);
        assert!(two.add(node(1), &knock_key, clocks(6)));
        assert_eq!(
            two.handle_datagram(address(66), &early, clocks(6)),
            None,
            "added later"
        );
    }

    #[test]
    fn the_seen_set_is_bounded_and_frees_itself() {
        let (mut one, mut two) = pair();
        for at_ms in 0..SEEN_MAX as u64 {
            let sealed = knock(&mut one, at_ms);
            assert!(
                two.handle_datagram(address(1), &sealed, clocks(at_ms))
                    .is_some()
            );
        }
        let one_more = knock(&mut one, 2_000);
        assert_eq!(
            two.handle_datagram(address(1), &one_more, clocks(2_000)),
            None
        );
        assert_eq!(two.stats().seen_full, 1);
        let later = 2_000 + WINDOW_MS;
        let sealed = knock(&mut one, later);
        assert!(
            two.handle_datagram(address(1), &sealed, clocks(later))
                .is_some()
        );
    }

    #[test]
    fn short_headers_pass_only_where_a_connection_is_held() {
        let (mut one, mut two) = pair();
        let sealed = knock(&mut one, 0);
        assert!(
            two.handle_datagram(address(1), &sealed, clocks(0))
                .is_some()
        );
        assert_eq!(two.handle_datagram(address(1), &SHORT, clocks(0)), None);
        assert!(two.hold(address(1), node(1), clocks(0).now));
        assert_eq!(
            two.handle_datagram(address(1), &SHORT, clocks(60_000)),
            Some(40)
        );
        assert_eq!(two.handle_datagram(address(66), &SHORT, clocks(0)), None);
        let mapped = SocketAddr::new("::ffff:192.0.2.1".parse().unwrap(), 1);
        assert_eq!(two.handle_datagram(mapped, &SHORT, clocks(0)), Some(40));
        two.release(address(1), node(1), clocks(60_000).now);
        assert_eq!(
            two.handle_datagram(address(1), &SHORT, clocks(60_000)),
            None
        );
        assert_eq!(answer(&mut two, 1, 60_500), Outgoing::Sealed);
        assert_eq!(answer(&mut two, 1, 61_000), Outgoing::Silence);
    }

    #[test]
    fn a_removed_peer_is_not_heard_and_only_goodbyes_leave() {
        let (mut one, mut two) = pair();
        let sealed = knock(&mut one, 0);
        assert!(
            two.handle_datagram(address(1), &sealed, clocks(0))
                .is_some()
        );
        assert!(two.hold(address(1), node(1), clocks(0).now));
        two.remove(node(1), clocks(10).now);
        let fresh = knock(&mut one, 20);
        assert_eq!(two.handle_datagram(address(1), &fresh, clocks(20)), None);
        assert_eq!(two.handle_datagram(address(1), &SHORT, clocks(20)), None);
        let mut goodbye = |at_ms| two.seal(address(1), &SHORT, clocks(at_ms), &mut Vec::new());
        assert_eq!(goodbye(20), Outgoing::Plain);
        assert_eq!(goodbye(2_000), Outgoing::Silence);
    }

    #[test]
    fn a_peer_fills_its_own_addresses_only_and_takes_nobodys() {
        let (mut one, mut two) = pair();
        let third = StaticSecret::from([3; 32]);
        assert!(two.add(node(3), &PublicKey::from(&third).to_bytes(), clocks(0)));
        assert!(two.hold(address(300), node(3), clocks(0).now));
        for number in 0..100 {
            let sealed = knock(&mut one, number);
            let from = address(1_000 + u16::try_from(number).unwrap());
            assert!(two.handle_datagram(from, &sealed, clocks(number)).is_some());
        }
        assert_eq!(two.table.len(), ADDRESSES_MAX + 1);
        let sealed = knock(&mut one, 200);
        assert_eq!(
            two.handle_datagram(address(300), &sealed, clocks(200)),
            None
        );
        assert_eq!(two.stats().address_taken, 1);
        assert_eq!(two.peer_at(address(300)), Some(node(3)));
    }
}
