//! Whom to dial and when, which of two connections survives, and who is near.
//!
//! ```text
//! idle ──deadline──▶ dialling ──up──▶ linked ──down──▶ idle (back-off)
//!   ▲                   │ failed, or no answer in DIAL_PATIENCE
//!   └───────────────────┘
//! ```
//! # One connection a pair
//! Both ends may dial, so two connections of one pair can come up at once. Both ends keep the one
//! that the lower node id dialled and close the other; both know who dialled what, so no message
//! is needed. Races:
//! - The ends see the two connections in different order, or one end sees only one of them: whoever
//!   sees both closes the same one, the other end sees that one go.
//! - The losing connection is closed before its other end came up: its dial fails there, while the
//!   survivor is up or on its way.
//! - A link is lost while the own dial of the same pair is still on its way: that dial is waited
//!   for, no second one is made.
//! - An end is gone and the other has not noticed (half-open): if the same node dials again, the
//!   newer connection replaces the older. If the dead one was dialled by the lower id and now the
//!   higher one dials, the new one is closed until the transport's idle timeout takes the dead
//!   one; the back-off of the higher one stays at its shortest meanwhile.
//! - A connection from oneself, or from someone not added, is closed.
//!
//! # Two ways
//! A pair may be linked over QUIC or over DCC. QUIC wins over DCC, whoever dialled: what is said
//! moves there, as nothing is lost between two connections of one link. While only DCC is up and
//! the card names an address for QUIC, that is dialled now and then. Whose card names none is never
//! dialled from here.
//!
//! # Places
//! Nobody is dialled beyond `places` links; peers without one wait for a free place in order of
//! their turn. A connection that a peer opened is kept beyond that, as the peer had a place for
//! it; [`Links::nearest`] never names more than `places`.

use std::collections::{BTreeMap, VecDeque};

use crate::membership::{Direction, Reach, Settings};
use crate::model::ids::{LinkNo, NodeId};
use crate::model::random::Random;
use crate::model::time::{Deadline, Span, Time};

/// Peers one node can list; the roster of a darknet is smaller.
pub const PEERS_MAX: usize = 256;
/// A dial that was not answered by then counts as failed. Four addresses take less.
pub const DIAL_PATIENCE: Span = Span::secs(30);
/// A link that lasted this long was a success: the back-off begins anew.
pub const SETTLED: Span = Span::secs(5);
/// How soon after a link over DCC came up QUIC is dialled, and the longest until it is again.
pub const MOVE_FIRST: Span = Span::secs(2);
pub const MOVE_MAX: Span = Span::secs(3_600);
/// A peer moves ahead of its neighbour when it is nearer by more than this part of a million.
pub const HYSTERESIS_PPM: u64 = 200_000;

/// What the machine wants done, or tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOutput {
    /// Open a connection; answer with `handle_up` or `handle_dial_failed`.
    Dial { peer: NodeId },
    /// Close this connection; it is not known here any more.
    Close { link: LinkNo },
    /// The pair has its one connection.
    Ready { peer: NodeId, link: LinkNo },
    /// The connection that was ready is not any more.
    Lost { peer: NodeId, link: LinkNo },
}

/// What is known of a peer before any link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its card says where it is dialled.
    pub is_dialable: bool,
    /// A stranger: it takes no listed peer's place.
    pub is_guest: bool,
}

impl Known {
    pub const LISTED: Self = Self {
        is_dialable: true,
        is_guest: false,
    };
}

/// The state machine of all links of one node.
#[derive(Debug)]
pub struct Links {
    own: NodeId,
    settings: Settings,
    random: Random,
    peers: BTreeMap<NodeId, Entry>,
    links: BTreeMap<LinkNo, NodeId>,
    /// Linked peers, nearest first; those without a sample stand last.
    order: Vec<NodeId>,
    outputs: VecDeque<LinkOutput>,
    deadline: Option<Deadline>,
}

#[derive(Debug)]
struct Entry {
    state: State,
    /// Dials and links in a row that came to nothing.
    failures: u32,
    rtt: Option<Span>,
    known: Known,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Idle { dial_at: Time },
    Dialling { until: Time },
    Linked { live: Live },
}

#[derive(Clone, Copy, Debug)]
struct Live {
    link: LinkNo,
    dialler: NodeId,
    reach: Reach,
    since: Time,
    /// When QUIC is dialled, and the wait before that.
    move_at: Time,
    move_wait: Span,
    /// A dial that is still on its way, and until when it is waited for.
    in_flight: Option<Time>,
}

impl Links {
    pub fn new(own: NodeId, settings: Settings, seed: u64) -> Self {
        Self {
            own,
            settings,
            random: Random::new(seed),
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
            order: Vec::new(),
            outputs: VecDeque::new(),
            deadline: None,
        }
    }

    /// Adds a peer to be linked with. The lower id dials at once, the higher one gives it
    /// `redial_min`. Returns false for oneself, a known peer, or beyond [`PEERS_MAX`].
    pub fn add(&mut self, peer: NodeId, known: Known, now: Time) -> bool {
        if peer == self.own || self.peers.contains_key(&peer) || self.peers.len() >= PEERS_MAX {
            return false;
        }
        let head_start = if self.own < peer {
            Span::ZERO
        } else {
            self.settings.redial_min
        };
        let entry = Entry {
            state: State::Idle {
                dial_at: match known.is_dialable {
                    true => now + head_start,
                    false => Time::MAX,
                },
            },
            failures: 0,
            rtt: None,
            known,
        };
        self.peers.insert(peer, entry);
        self.plan();
        true
    }

    /// Forgets a peer and closes its connection.
    pub fn remove(&mut self, peer: NodeId) {
        let Some(entry) = self.peers.remove(&peer) else {
            return;
        };
        match entry.state {
            State::Linked { live } => self.drop_link(peer, live.link),
            State::Idle { .. } | State::Dialling { .. } => {}
        }
        self.order.retain(|&other| other != peer);
        self.plan();
    }

    /// Takes a connection that passed mutual authentication as `peer`.
    pub fn handle_up(
        &mut self,
        peer: NodeId,
        link: LinkNo,
        (direction, reach): (Direction, Reach),
        now: Time,
    ) {
        let dialler = match direction {
            Direction::Dialled => self.own,
            Direction::Accepted => peer,
        };
        let Some(entry) = self.peers.get_mut(&peer) else {
            self.outputs.push_back(LinkOutput::Close { link });
            return;
        };
        let (older, in_flight) = match entry.state {
            State::Linked { live } => (Some(live), live.in_flight),
            State::Dialling { until } => (None, Some(until)),
            State::Idle { .. } => (None, None),
        };
        let is_answer = direction == Direction::Dialled && reach == Reach::Quic;
        let in_flight = in_flight.filter(|_| !is_answer);
        if let Some(older) = older
            && !survives(
                (dialler, reach),
                (older.dialler, older.reach),
                peer,
                self.own,
            )
        {
            entry.state = State::Linked {
                live: Live { in_flight, ..older },
            };
            self.outputs.push_back(LinkOutput::Close { link });
            return;
        }
        let moves = reach == Reach::Dcc && entry.known.is_dialable;
        let live = Live {
            link,
            dialler,
            reach,
            since: now,
            move_at: if moves { now + MOVE_FIRST } else { Time::MAX },
            move_wait: MOVE_FIRST,
            in_flight,
        };
        entry.state = State::Linked { live };
        entry.rtt = None;
        if let Some(older) = older {
            self.drop_link(peer, older.link);
        }
        self.links.insert(link, peer);
        self.order.retain(|&other| other != peer);
        self.order.push(peer);
        self.outputs.push_back(LinkOutput::Ready { peer, link });
        self.plan();
    }

    /// Takes the end of a connection; one that was closed here is not known and changes nothing.
    pub fn handle_down(&mut self, link: LinkNo, now: Time) {
        let Some(peer) = self.links.remove(&link) else {
            return;
        };
        self.order.retain(|&other| other != peer);
        self.outputs.push_back(LinkOutput::Lost { peer, link });
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        entry.rtt = None;
        let in_flight = match entry.state {
            State::Linked { live } => {
                if now.since(live.since) >= SETTLED {
                    entry.failures = 0;
                }
                live.in_flight.filter(|&until| until > now)
            }
            State::Idle { .. } | State::Dialling { .. } => None,
        };
        match in_flight {
            Some(until) => entry.state = State::Dialling { until },
            None => self.back_off(peer, now),
        }
        self.plan();
    }

    /// Takes the end of a dial that came to nothing.
    pub fn handle_dial_failed(&mut self, peer: NodeId, now: Time) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        match &mut entry.state {
            State::Dialling { .. } => self.back_off(peer, now),
            State::Linked { live } => live.in_flight = None,
            State::Idle { .. } => {}
        }
        self.plan();
    }

    /// Takes one round-trip time of a linked peer. Samples are smoothed (an eighth each), and the
    /// order changes only where the difference is beyond [`HYSTERESIS_PPM`].
    pub fn handle_rtt(&mut self, peer: NodeId, rtt: Span, _now: Time) {
        let Some(mut place) = self.order.iter().position(|&other| other == peer) else {
            return;
        };
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        let smooth = entry
            .rtt
            .map_or(rtt, |old| Span(old.0 - old.0 / 8 + rtt.0 / 8));
        entry.rtt = Some(smooth);
        while place > 0 && nearer(Some(smooth), self.rtt_of(self.order[place - 1])) {
            self.order.swap(place, place - 1);
            place -= 1;
        }
        while place + 1 < self.order.len()
            && nearer(self.rtt_of(self.order[place + 1]), Some(smooth))
        {
            self.order.swap(place, place + 1);
            place += 1;
        }
    }

    pub fn poll_output(&mut self) -> Option<LinkOutput> {
        self.outputs.pop_front()
    }

    pub fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// Gives up dials without an answer, then dials whose turn has come while there are places.
    pub fn handle_deadline(&mut self, now: Time) {
        let silent: Vec<NodeId> = self.peers_where(|state| match state {
            State::Dialling { until } => until <= now,
            State::Idle { .. } | State::Linked { .. } => false,
        });
        for peer in silent {
            self.back_off(peer, now);
        }
        self.dial_to_move(now);
        let mut due: Vec<(Time, NodeId)> = self
            .peers
            .iter()
            .filter_map(|(&peer, entry)| match entry.state {
                State::Idle { dial_at } => (dial_at <= now).then_some((dial_at, peer)),
                State::Dialling { .. } | State::Linked { .. } => None,
            })
            .collect();
        due.sort_unstable();
        for (_, peer) in due.into_iter().take(self.free_places()) {
            if let Some(entry) = self.peers.get_mut(&peer) {
                entry.state = State::Dialling {
                    until: now + DIAL_PATIENCE,
                };
                self.outputs.push_back(LinkOutput::Dial { peer });
            }
        }
        self.plan();
    }

    /// Dials over QUIC whoever is linked over DCC only, with growing waits.
    fn dial_to_move(&mut self, now: Time) {
        for (&peer, entry) in &mut self.peers {
            if let State::Linked { live } = &mut entry.state
                && live.move_at <= now
            {
                live.in_flight = Some(now + DIAL_PATIENCE);
                live.move_wait = live.move_wait.times(4).min(MOVE_MAX);
                live.move_at = now + live.move_wait;
                self.outputs.push_back(LinkOutput::Dial { peer });
            }
        }
    }

    pub fn peer_of(&self, link: LinkNo) -> Option<NodeId> {
        self.links.get(&link).copied()
    }

    pub fn link_of(&self, peer: NodeId) -> Option<LinkNo> {
        match self.peers.get(&peer)?.state {
            State::Linked { live } => Some(live.link),
            State::Idle { .. } | State::Dialling { .. } => None,
        }
    }

    /// Returns how a peer is linked.
    pub fn reach_of(&self, peer: NodeId) -> Option<Reach> {
        match self.peers.get(&peer)?.state {
            State::Linked { live } => Some(live.reach),
            State::Idle { .. } | State::Dialling { .. } => None,
        }
    }

    /// Returns the node list: linked peers with their smoothed round-trip time, nearest first.
    pub fn nearest(&self) -> impl Iterator<Item = (NodeId, Option<Span>)> {
        self.order
            .iter()
            .take(usize::from(self.settings.places))
            .map(|&peer| (peer, self.rtt_of(peer)))
    }

    /// Waits between half of and the whole back-off, and the higher id half of it more, so that
    /// the two ends of a lost link seldom dial at the same moment.
    fn back_off(&mut self, peer: NodeId, now: Time) {
        let (min, max) = (self.settings.redial_min, self.settings.redial_max);
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        let doubled = min.times(1 << entry.failures.min(20)).min(max);
        entry.failures = entry.failures.saturating_add(1);
        let grace = if self.own < peer { 0 } else { doubled.0 / 2 };
        let wait = self
            .random
            .between(doubled.0 / 2 + grace, doubled.0 + grace);
        let dial_at = match entry.known.is_dialable {
            true => now + Span(wait),
            false => Time::MAX,
        };
        entry.state = State::Idle { dial_at };
    }

    fn drop_link(&mut self, peer: NodeId, link: LinkNo) {
        self.links.remove(&link);
        self.outputs.push_back(LinkOutput::Lost { peer, link });
        self.outputs.push_back(LinkOutput::Close { link });
    }

    fn free_places(&self) -> usize {
        let takes = |entry: &&Entry| match entry.state {
            State::Idle { .. } => false,
            State::Dialling { .. } | State::Linked { .. } => !entry.known.is_guest,
        };
        let taken = self.peers.values().filter(takes).count();
        usize::from(self.settings.places).saturating_sub(taken)
    }

    /// Returns how many places the listed peers that are linked leave to strangers.
    pub fn places_left(&self) -> usize {
        let takes = |entry: &&Entry| match entry.state {
            State::Idle { .. } | State::Dialling { .. } => false,
            State::Linked { .. } => !entry.known.is_guest,
        };
        let taken = self.peers.values().filter(takes).count();
        usize::from(self.settings.places).saturating_sub(taken)
    }

    fn peers_where(&self, wanted: impl Fn(State) -> bool) -> Vec<NodeId> {
        self.peers
            .iter()
            .filter(|(_, entry)| wanted(entry.state))
            .map(|(&peer, _)| peer)
            .collect()
    }

    fn rtt_of(&self, peer: NodeId) -> Option<Span> {
        self.peers.get(&peer)?.rtt
    }

    /// Finds the next deadline anew; cheap to ask for in between.
    fn plan(&mut self) {
        let free = self.free_places() > 0;
        self.deadline = self
            .peers
            .values()
            .filter_map(|entry| match entry.state {
                State::Idle { dial_at } => {
                    let at = dial_at;
                    (free && at < Time::MAX).then_some(Deadline { at, why: "dial" })
                }
                State::Dialling { until } => Some(Deadline {
                    at: until,
                    why: "dial unanswered",
                }),
                State::Linked { live } => {
                    let at = live.move_at;
                    (at < Time::MAX).then_some(Deadline { at, why: "move" })
                }
            })
            .fold(None, |first, next| Deadline::earlier(first, Some(next)));
    }
}

/// Tells whether a new connection replaces the one that is up.
fn survives(
    (newer, newer_reach): (NodeId, Reach),
    (older, older_reach): (NodeId, Reach),
    peer: NodeId,
    own: NodeId,
) -> bool {
    match (newer_reach, older_reach) {
        (Reach::Quic, Reach::Dcc) => true,
        (Reach::Dcc, Reach::Quic) => false,
        (Reach::Quic, Reach::Quic) | (Reach::Dcc, Reach::Dcc) => {
            newer == older || newer == own.min(peer)
        }
    }
}

/// Tells whether `one` is nearer than `other` beyond doubt; any sample is nearer than none.
fn nearer(one: Option<Span>, other: Option<Span>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            u128::from(one.0) * 1_000_000
                < u128::from(other.0) * u128::from(1_000_000 - HYSTERESIS_PPM)
        }
        (Some(_), None) => true,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 16])
    }

    fn links(own: u8, places: u16, peers: &[u8]) -> Links {
        let settings = Settings {
            places,
            redial_min: Span::millis(100),
            redial_max: Span::secs(2),
        };
        let mut links = Links::new(node(own), settings, u64::from(own));
        for &peer in peers {
            assert!(links.add(node(peer), Known::LISTED, Time::ZERO));
        }
        links
    }

    fn drain(links: &mut Links) -> Vec<LinkOutput> {
        std::iter::from_fn(|| links.poll_output()).collect()
    }

    fn order(links: &Links) -> Vec<u8> {
        links.nearest().map(|(peer, _)| peer.0[0]).collect()
    }

    #[test]
    fn the_lower_id_dials_at_once_and_the_higher_one_later() {
        let mut low = links(1, 4, &[2]);
        assert_eq!(low.deadline().unwrap().at, Time::ZERO);
        low.handle_deadline(Time::ZERO);
        assert_eq!(drain(&mut low), [LinkOutput::Dial { peer: node(2) }]);
        let high = links(2, 4, &[1]);
        assert_eq!(high.deadline().unwrap().at, Time::ZERO + Span::millis(100));
    }

    #[test]
    fn the_connection_dialled_by_the_lower_id_survives_in_either_order() {
        for (own, peer, winner) in [(1, 2, Direction::Dialled), (2, 1, Direction::Accepted)] {
            let loser = match winner {
                Direction::Dialled => Direction::Accepted,
                Direction::Accepted => Direction::Dialled,
            };
            let mut machine = links(own, 4, &[peer]);
            machine.handle_up(node(peer), LinkNo(1), (winner, Reach::Quic), Time::ZERO);
            machine.handle_up(node(peer), LinkNo(2), (loser, Reach::Quic), Time::ZERO);
            assert_eq!(
                drain(&mut machine),
                [
                    LinkOutput::Ready {
                        peer: node(peer),
                        link: LinkNo(1)
                    },
                    LinkOutput::Close { link: LinkNo(2) },
                ]
            );
            let mut machine = links(own, 4, &[peer]);
            machine.handle_up(node(peer), LinkNo(2), (loser, Reach::Quic), Time::ZERO);
            machine.handle_up(node(peer), LinkNo(1), (winner, Reach::Quic), Time::ZERO);
            assert_eq!(
                drain(&mut machine),
                [
                    LinkOutput::Ready {
                        peer: node(peer),
                        link: LinkNo(2)
                    },
                    LinkOutput::Lost {
                        peer: node(peer),
                        link: LinkNo(2)
                    },
                    LinkOutput::Close { link: LinkNo(2) },
                    LinkOutput::Ready {
                        peer: node(peer),
                        link: LinkNo(1)
                    },
                ]
            );
            machine.handle_down(LinkNo(2), Time::ZERO);
            assert_eq!(machine.link_of(node(peer)), Some(LinkNo(1)));
            assert_eq!(machine.peer_of(LinkNo(2)), None);
        }
    }

    #[test]
    fn a_newer_connection_of_the_same_dialler_replaces_the_older() {
        for direction in [Direction::Dialled, Direction::Accepted] {
            let mut machine = links(1, 4, &[2]);
            machine.handle_up(node(2), LinkNo(1), (direction, Reach::Quic), Time::ZERO);
            machine.handle_up(node(2), LinkNo(2), (direction, Reach::Quic), Time::ZERO);
            assert_eq!(machine.link_of(node(2)), Some(LinkNo(2)));
            assert!(drain(&mut machine).contains(&LinkOutput::Close { link: LinkNo(1) }));
        }
    }

    #[test]
    fn oneself_and_strangers_are_closed() {
        let mut machine = links(1, 4, &[2]);
        assert!(!machine.add(node(1), Known::LISTED, Time::ZERO));
        for peer in [1, 3] {
            machine.handle_up(
                node(peer),
                LinkNo(9),
                (Direction::Accepted, Reach::Quic),
                Time::ZERO,
            );
            assert_eq!(drain(&mut machine), [LinkOutput::Close { link: LinkNo(9) }]);
        }
        machine.handle_up(
            node(2),
            LinkNo(1),
            (Direction::Accepted, Reach::Quic),
            Time::ZERO,
        );
        machine.remove(node(2));
        assert_eq!(
            drain(&mut machine).last(),
            Some(&LinkOutput::Close { link: LinkNo(1) })
        );
        assert_eq!(machine.deadline(), None);
    }

    #[test]
    fn the_back_off_grows_to_its_bound_and_a_settled_link_resets_it() {
        let mut machine = links(1, 4, &[2]);
        let mut now = Time::ZERO;
        let mut waits = Vec::new();
        for _ in 0..12 {
            now = machine.deadline().unwrap().at;
            machine.handle_deadline(now);
            machine.handle_dial_failed(node(2), now);
            waits.push(machine.deadline().unwrap().at.since(now));
        }
        assert!(
            (Span::millis(50)..=Span::millis(100)).contains(&waits[0]),
            "{waits:?}"
        );
        assert!(
            (Span::secs(1)..=Span::secs(2)).contains(&waits[11]),
            "{waits:?}"
        );
        machine.handle_up(node(2), LinkNo(1), (Direction::Accepted, Reach::Quic), now);
        now = now + SETTLED;
        machine.handle_down(LinkNo(1), now);
        assert!(machine.deadline().unwrap().at.since(now) <= Span::millis(100));
    }

    #[test]
    fn an_unanswered_dial_is_given_up() {
        let mut machine = links(1, 4, &[2]);
        machine.handle_deadline(Time::ZERO);
        let deadline = machine.deadline().unwrap();
        assert_eq!(
            (deadline.at, deadline.why),
            (Time::ZERO + DIAL_PATIENCE, "dial unanswered")
        );
        machine.handle_deadline(deadline.at);
        assert_eq!(machine.deadline().unwrap().why, "dial");
    }

    #[test]
    fn nobody_is_dialled_beyond_the_places_and_a_free_place_goes_to_the_next() {
        let mut machine = links(1, 2, &[2, 3, 4]);
        machine.handle_deadline(Time::ZERO);
        assert_eq!(drain(&mut machine).len(), 2);
        machine.handle_deadline(Time::ZERO);
        assert_eq!(drain(&mut machine), []);
        machine.handle_dial_failed(node(2), Time::ZERO);
        machine.handle_deadline(Time::ZERO);
        assert_eq!(drain(&mut machine), [LinkOutput::Dial { peer: node(4) }]);
    }

    #[test]
    fn the_node_list_is_ordered_with_hysteresis_and_bounded_by_the_places() {
        let mut machine = links(1, 3, &[2, 3, 4, 5]);
        for peer in 2..=5 {
            machine.handle_up(
                node(peer),
                LinkNo(u64::from(peer)),
                (Direction::Accepted, Reach::Quic),
                Time::ZERO,
            );
        }
        assert_eq!(order(&machine), [2, 3, 4]);
        machine.handle_rtt(node(5), Span::millis(100), Time::ZERO);
        assert_eq!(order(&machine), [5, 2, 3]);
        machine.handle_rtt(node(4), Span::millis(81), Time::ZERO);
        assert_eq!(order(&machine), [5, 4, 2]);
        machine.handle_rtt(node(3), Span::millis(50), Time::ZERO);
        assert_eq!(order(&machine), [3, 5, 4]);
        machine.handle_down(LinkNo(3), Time::ZERO);
        assert_eq!(order(&machine), [5, 4, 2]);
    }
}
