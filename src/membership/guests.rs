//! Strangers on the node list: who of them keeps a place.
//!
//! ```text
//! linked ─▶ on trial: 8 round trips, at most 15 s ─▶ placed, where there is room
//!                                     │              ▲
//!                                     └─ none: nearer than the farthest? ─▶ that one goes
//!                                                      └─ no ─▶ this one goes
//! ```
//! Listed nodes have their places first. A network group (IPv4 by 16 bits, IPv6 by 32) has at most
//! a quarter of what is left, so that whoever has many addresses in one place fills no list; in
//! mode `open` the rest stays free rather than theirs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::ids::NodeId;
use crate::model::time::{Deadline, Span, Time};

/// Addresses that likely belong to one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group(u32);

impl Group {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // What is rehearsed on one machine is told apart by whole addresses.
            IpAddr::V4(address) if address.is_loopback() => Self(address.to_bits()),
            IpAddr::V4(address) => Self(address.to_bits() & 0xFFFF_0000),
            IpAddr::V6(address) => Self((address.to_bits() >> 96) as u32),
        }
    }
}

/// Who has to go, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetGo {
    pub peer: NodeId,
    pub why: Why,
}

/// Why a stranger has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Enough others are nearer.
    TooFar,
    /// Its network group has its share already.
    Group,
    /// Too many are on trial.
    Crowded,
    /// It answered too few probes to be placed.
    Silent,
}

impl Why {
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooFar => "others are nearer",
            Self::Group => "its network has its share of places",
            Self::Crowded => "too many on trial at once",
            Self::Silent => "it answers no probes",
        }
    }

    /// Returns for how long the same one is not wanted again.
    pub const fn wait(self) -> Span {
        match self {
            Self::TooFar | Self::Group => Span::secs(3_600),
            Self::Crowded => Span::secs(120),
            Self::Silent => Span::secs(900),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Guest {
    group: Group,
    since: Time,
    samples: u32,
    rtt: Option<Span>,
    is_placed: bool,
}

/// The strangers that are linked.
#[derive(Debug)]
pub struct Guests {
    places: usize,
    guests: BTreeMap<NodeId, Guest>,
}

impl Guests {
    /// Round trips of a trial, and how long they may take.
    pub const SAMPLES: u32 = 8;
    pub const TRIAL_MAX: Span = Span::secs(15);
    /// Strangers on trial at once, beyond those with a place. One more is let go.
    pub const TRIALS_MAX: usize = 8;
    /// Who is to take another one's place must be nearer by this part of a million.
    pub const NEARER_PPM: u64 = 200_000;
    /// One group has at most this part of the places, and always one.
    pub const GROUP_SHARE: usize = 4;

    /// Begins with the places that listed nodes leave.
    pub const fn new(places: usize) -> Self {
        Self {
            places,
            guests: BTreeMap::new(),
        }
    }

    /// Takes how many places there are from now on.
    pub fn set_places(&mut self, places: usize) {
        self.places = places;
    }

    pub fn is_placed(&self, peer: NodeId) -> bool {
        self.guests.get(&peer).is_some_and(|guest| guest.is_placed)
    }

    pub fn len(&self) -> usize {
        self.guests.len()
    }

    pub fn is_empty(&self) -> bool {
        self.guests.is_empty()
    }

    /// Takes a stranger on trial. Returns why it has to go at once, if it has.
    pub fn handle_linked(&mut self, peer: NodeId, address: IpAddr, now: Time) -> Option<LetGo> {
        let on_trial = self
            .guests
            .values()
            .filter(|guest| !guest.is_placed)
            .count();
        if on_trial >= Self::TRIALS_MAX && !self.guests.contains_key(&peer) {
            let why = Why::Crowded;
            return Some(LetGo { peer, why });
        }
        let known = self.guests.get(&peer).copied();
        let guest = Guest {
            group: Group::of(address),
            since: now,
            samples: 0,
            rtt: None,
            is_placed: known.is_some_and(|known| known.is_placed),
        };
        self.guests.insert(peer, guest);
        None
    }

    pub fn handle_lost(&mut self, peer: NodeId) {
        self.guests.remove(&peer);
    }

    /// Takes one round trip; an eighth of it counts.
    pub fn handle_rtt(&mut self, peer: NodeId, rtt: Span) {
        if let Some(guest) = self.guests.get_mut(&peer) {
            guest.samples = guest.samples.saturating_add(1);
            let smooth = |old: Span| Span(old.0 - old.0 / 8 + rtt.0 / 8);
            guest.rtt = Some(guest.rtt.map_or(rtt, smooth));
        }
    }

    pub fn deadline(&self) -> Option<Deadline> {
        let on_trial = self.guests.values().filter(|guest| !guest.is_placed);
        let first = on_trial.map(|guest| guest.since + Self::TRIAL_MAX).min();
        first.map(|at| Deadline { at, why: "trial" })
    }

    /// Decides one trial that is over, or one place too many. Returns who has to go; call again
    /// until there is nobody.
    pub fn decide(&mut self, now: Time) -> Option<LetGo> {
        if self.placed().count() > self.places {
            let (peer, _) = self.farthest(|_| true)?;
            return Some(self.let_go(peer, Why::TooFar));
        }
        loop {
            let is_over = |guest: &Guest| {
                guest.samples >= Self::SAMPLES || now.since(guest.since) >= Self::TRIAL_MAX
            };
            let mut trials = self.guests.iter();
            let over = trials.find(|(_, guest)| !guest.is_placed && is_over(guest));
            let (peer, guest) = over.map(|(peer, guest)| (*peer, *guest))?;
            let Some(rtt) = guest.rtt else {
                return Some(self.let_go(peer, Why::Silent));
            };
            let in_group = |other: &Guest| other.group == guest.group;
            let share = (self.places / Self::GROUP_SHARE).max(1);
            let is_group_full = self.placed().filter(|(_, other)| in_group(other)).count() >= share;
            let is_full = self.placed().count() >= self.places;
            let rival = match (is_group_full, is_full) {
                (true, _) => self.farthest(in_group),
                (false, true) => self.farthest(|_| true),
                (false, false) => None,
            };
            let is_nearer = |other: Option<Span>| {
                other.is_none_or(|other| {
                    u128::from(rtt.0) * 1_000_000
                        < u128::from(other.0) * u128::from(1_000_000 - Self::NEARER_PPM)
                })
            };
            match rival {
                None if is_full || is_group_full => return Some(self.let_go(peer, Why::TooFar)),
                None => self.place(peer),
                Some((rival, other)) if is_nearer(other.rtt) => {
                    self.place(peer);
                    return Some(self.let_go(rival, Why::TooFar));
                }
                Some(_) if is_group_full => return Some(self.let_go(peer, Why::Group)),
                Some(_) => return Some(self.let_go(peer, Why::TooFar)),
            }
        }
    }

    fn place(&mut self, peer: NodeId) {
        if let Some(guest) = self.guests.get_mut(&peer) {
            guest.is_placed = true;
        }
    }

    fn let_go(&mut self, peer: NodeId, why: Why) -> LetGo {
        self.guests.remove(&peer);
        LetGo { peer, why }
    }

    fn placed(&self) -> impl Iterator<Item = (&NodeId, &Guest)> {
        self.guests.iter().filter(|(_, guest)| guest.is_placed)
    }

    /// Returns the farthest of those with a place; whoever was never measured since is.
    fn farthest(&self, counts: impl Fn(&Guest) -> bool) -> Option<(NodeId, Guest)> {
        let placed = self.placed().filter(|(_, guest)| counts(guest));
        let far = |guest: &Guest| guest.rtt.unwrap_or(Span(u64::MAX));
        placed
            .max_by_key(|(peer, guest)| (far(guest), **peer))
            .map(|(peer, guest)| (*peer, *guest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    fn node(number: u32) -> NodeId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        NodeId(id)
    }

    fn address(number: u32) -> IpAddr {
        // A group each.
        IpAddr::from((0x1400_0000 + (number << 16)).to_be_bytes())
    }

    /// Links a stranger, lets it answer, and returns who had to go.
    fn admit(guests: &mut Guests, number: u32, from: IpAddr, rtt_us: u64) -> Vec<(u32, Why)> {
        let now = Time(1);
        let mut gone = Vec::new();
        gone.extend(guests.handle_linked(node(number), from, now));
        for _ in 0..Guests::SAMPLES {
            guests.handle_rtt(node(number), Span::micros(rtt_us));
        }
        gone.extend(std::iter::from_fn(|| guests.decide(now)));
        gone.into_iter()
            .map(|gone| {
                (
                    u32::from_be_bytes(*gone.peer.0.first_chunk().unwrap()),
                    gone.why,
                )
            })
            .collect()
    }

    #[test]
    fn the_nearest_keep_their_places() {
        let mut guests = Guests::new(3);
        for (number, rtt_us) in [(1, 300), (2, 100), (3, 200)] {
            assert_eq!(admit(&mut guests, number, address(number), rtt_us), []);
        }
        // Nearer than the farthest, but not beyond doubt.
        assert_eq!(admit(&mut guests, 4, address(4), 250), [(4, Why::TooFar)]);
        assert_eq!(admit(&mut guests, 5, address(5), 200), [(1, Why::TooFar)]);
        assert_eq!(admit(&mut guests, 6, address(6), 900), [(6, Why::TooFar)]);
        guests.handle_lost(node(5));
        assert_eq!(admit(&mut guests, 6, address(6), 900), []);
        guests.set_places(1);
        let gone: Vec<_> = std::iter::from_fn(|| guests.decide(Time(1))).collect();
        assert_eq!(gone.len(), 2);
        assert!(guests.is_placed(node(2)));
    }

    #[test]
    fn one_network_fills_no_list() {
        let mut guests = Guests::new(12);
        for number in 0..200 {
            let from = IpAddr::from([20, 1, 0, number as u8]);
            admit(&mut guests, number, from, 50 + u64::from(number));
        }
        assert_eq!(guests.placed().count(), 3);
        assert_eq!(
            admit(&mut guests, 900, IpAddr::from([20, 1, 9, 9]), 500),
            [(900, Why::Group)]
        );
        assert_eq!(admit(&mut guests, 901, address(901), 90_000), []);
        // A nearer one of the same group takes the place of its farthest, not of somebody else's.
        let gone = admit(&mut guests, 902, IpAddr::from([20, 1, 9, 8]), 10);
        assert_eq!(gone, [(2, Why::TooFar)]);
        assert!(guests.is_placed(node(901)));
    }

    #[test]
    fn whoever_does_not_answer_and_whoever_comes_in_a_crowd_goes() {
        let mut guests = Guests::new(3);
        for number in 0..Guests::TRIALS_MAX as u32 {
            assert_eq!(
                guests.handle_linked(node(number), address(number), Time(5)),
                None
            );
        }
        let crowded = guests
            .handle_linked(node(99), address(99), Time(5))
            .unwrap();
        assert_eq!(crowded.why, Why::Crowded);
        assert_eq!(guests.decide(Time(6)), None);
        assert_eq!(guests.deadline().unwrap().at, Time(5) + Guests::TRIAL_MAX);
        let over = Time(5) + Guests::TRIAL_MAX;
        let gone: Vec<_> = std::iter::from_fn(|| guests.decide(over)).collect();
        assert_eq!(gone.len(), Guests::TRIALS_MAX);
        assert!(gone.iter().all(|gone| gone.why == Why::Silent));
        assert!(guests.is_empty());
    }

    /// Round trips that jitter by a tenth move nobody: the list is the same after an hour of them.
    #[test]
    fn noise_does_not_churn_the_list() {
        let (mut guests, mut random) = (Guests::new(12), Random::new(5));
        let jittered = |random: &mut Random, number: u32| {
            let base = 1_000 + 10 * u64::from(number);
            Span::micros(random.between(base * 9 / 10, base * 11 / 10))
        };
        for number in 0..12 {
            admit(
                &mut guests,
                number,
                address(number),
                1_000 + 10 * u64::from(number),
            );
        }
        let mut changes = 0;
        for round in 0..3_600 {
            for number in 0..12 {
                let rtt = jittered(&mut random, number);
                guests.handle_rtt(node(number), rtt);
            }
            // Somebody else of like distance tries each second.
            let number = 100 + round;
            let rtt_us = random.between(1_000, 1_300);
            let gone = admit(&mut guests, number, address(number), rtt_us);
            changes += usize::from(gone != [(number, Why::TooFar)]);
        }
        assert_eq!(changes, 0);
    }
}
