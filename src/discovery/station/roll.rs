//! Who is on which network, and which of them are one node.
//!
//! A nick says nothing about who that is. What it claims in its realname is taken as a claim: it
//! decides whom a link is offered to, and the key at the other end decides who that was.

use std::collections::BTreeMap;

use crate::discovery::irc::name::{CaseMapping, Folded, NICK_LEN_MAX, NICKS, nick_of};
use crate::discovery::network::{NETWORKS_MAX, NetworkNo};
use crate::model::ids::{NodeId, Pin};

/// Nicks that are kept, over all networks. Whoever comes beyond them is counted and not known.
pub const NICKS_MAX: usize = 32_768;
/// Nicks that one node is known by; an impostor's claim must not push out the real one's.
const CLAIMS_MAX: usize = 4 * NETWORKS_MAX;

/// Everybody who could be a node, by network and nick.
#[derive(Debug, Default)]
pub struct Roll {
    networks: BTreeMap<NetworkNo, OneNetwork>,
    claims: BTreeMap<NodeId, Vec<(NetworkNo, Folded)>>,
    /// The nicks that listed nodes have by their keys.
    expected: BTreeMap<String, NodeId>,
    nicks: usize,
    unknown: u64,
}

#[derive(Debug, Default)]
struct OneNetwork {
    mapping: CaseMapping,
    nicks: BTreeMap<Folded, Present>,
}

#[derive(Debug)]
struct Present {
    /// As the server spells it.
    nick: String,
    /// Whom its realname names, or its nick where that is a listed node's.
    node: Option<NodeId>,
}

impl Roll {
    /// Knows a listed node by the nicks that follow from its key.
    pub fn list(&mut self, pin: &Pin) {
        for attempt in 0..NICKS {
            self.expected.insert(nick_of(pin, attempt), pin.node_id());
        }
    }

    pub fn strike_off(&mut self, node: NodeId) {
        self.expected.retain(|_, listed| *listed != node);
    }

    /// Begins a network anew: nobody of whom was known before is there now.
    pub fn open(&mut self, network: NetworkNo, mapping: CaseMapping) {
        self.close(network);
        let nicks = BTreeMap::new();
        self.networks.insert(network, OneNetwork { mapping, nicks });
    }

    /// Forgets a network.
    pub fn close(&mut self, network: NetworkNo) {
        let Some(closed) = self.networks.remove(&network) else {
            return;
        };
        self.nicks -= closed.nicks.len();
        self.claims.retain(|_, claims| {
            claims.retain(|(on, _)| *on != network);
            !claims.is_empty()
        });
    }

    /// Takes a nick that is there. Returns the node it is taken for, if that is known already.
    pub fn enter(&mut self, network: NetworkNo, nick: &str) -> Option<NodeId> {
        if !is_node_nick(nick) {
            return None;
        }
        let expected = self.expected.get(&nick.to_ascii_lowercase()).copied();
        let one = self.networks.get_mut(&network)?;
        let folded = one.mapping.fold(nick);
        let is_new = !one.nicks.contains_key(&folded);
        if is_new && self.nicks >= NICKS_MAX {
            self.unknown += 1;
            return None;
        }
        let present = Present {
            nick: nick.to_owned(),
            node: None,
        };
        self.nicks += usize::from(is_new);
        one.nicks.insert(folded, present);
        let node = expected?;
        self.claim(network, nick, node);
        Some(node)
    }

    /// Takes what a nick claims to be. Returns the node it names.
    pub fn tell(&mut self, network: NetworkNo, nick: &str, realname: &str) -> Option<NodeId> {
        let uuid = realname.split(' ').next().unwrap_or_default();
        let node = NodeId::parse(uuid)?;
        self.claim(network, nick, node).then_some(node)
    }

    fn claim(&mut self, network: NetworkNo, nick: &str, node: NodeId) -> bool {
        let Some(one) = self.networks.get_mut(&network) else {
            return false;
        };
        let folded = one.mapping.fold(nick);
        let Some(present) = one.nicks.get_mut(&folded) else {
            return false;
        };
        let before = present.node.replace(node);
        if before == Some(node) {
            return true;
        }
        if let Some(before) = before {
            self.disclaim(network, &folded, before);
        }
        let claims = self.claims.entry(node).or_default();
        // The nick that follows from the UUID comes first: who has another may be an impostor.
        let at = match is_nick_of(nick, node) {
            true => 0,
            false => claims.len(),
        };
        if claims.len() < CLAIMS_MAX || at == 0 {
            claims.insert(at, (network, folded));
            claims.truncate(CLAIMS_MAX);
        }
        true
    }

    fn disclaim(&mut self, network: NetworkNo, folded: &Folded, node: NodeId) {
        if let Some(claims) = self.claims.get_mut(&node) {
            claims.retain(|(on, nick)| *on != network || nick != folded);
            if claims.is_empty() {
                self.claims.remove(&node);
            }
        }
    }

    /// Takes note that a nick is gone. Returns the node it was taken for.
    pub fn leave(&mut self, network: NetworkNo, nick: &str) -> Option<NodeId> {
        let one = self.networks.get_mut(&network)?;
        let folded = one.mapping.fold(nick);
        let gone = one.nicks.remove(&folded)?;
        self.nicks -= 1;
        let node = gone.node?;
        self.disclaim(network, &folded, node);
        Some(node)
    }

    /// Returns whom a nick is taken for.
    pub fn node_of(&self, network: NetworkNo, nick: &str) -> Option<NodeId> {
        let one = self.networks.get(&network)?;
        one.nicks.get(&one.mapping.fold(nick))?.node
    }

    /// Tells whether two spellings are one nick on this network.
    pub fn is_same(&self, network: NetworkNo, one: &str, other: &str) -> bool {
        let known = self.networks.get(&network);
        known.map_or(one == other, |network| network.mapping.is_same(one, other))
    }

    /// Returns where a node is, the likeliest nick first.
    pub fn places_of(&self, node: NodeId) -> impl Iterator<Item = (NetworkNo, &str)> {
        let claims = self.claims.get(&node).into_iter().flatten();
        claims.filter_map(|(network, folded)| {
            let present = self.networks.get(network)?.nicks.get(folded)?;
            Some((*network, present.nick.as_str()))
        })
    }

    pub fn is_present(&self, node: NodeId) -> bool {
        self.claims.contains_key(&node)
    }

    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeId> {
        self.claims.keys().copied()
    }

    /// Returns the nicks of a network that could be nodes.
    pub fn nicks_of(&self, network: NetworkNo) -> impl Iterator<Item = (&str, Option<NodeId>)> {
        let one = self.networks.get(&network).into_iter();
        one.flat_map(|one| one.nicks.values())
            .map(|present| (present.nick.as_str(), present.node))
    }

    pub fn nicks_len(&self, network: NetworkNo) -> usize {
        self.networks.get(&network).map_or(0, |one| one.nicks.len())
    }

    /// Returns how many nicks had no room.
    pub const fn unknown(&self) -> u64 {
        self.unknown
    }
}

/// Tells whether a nick has the form that every node's has; people and other bots are not asked.
pub fn is_node_nick(nick: &str) -> bool {
    let letters = nick.as_bytes();
    let is_base32 = |letter: &u8| matches!(letter.to_ascii_lowercase(), b'a'..=b'z' | b'2'..=b'7');
    letters.len() == NICK_LEN_MAX
        && letters
            .first()
            .is_some_and(|first| matches!(first, b'x' | b'X'))
        && letters.iter().skip(1).all(is_base32)
}

/// Tells whether a nick is one that follows from a key.
pub(super) fn is_nick_of_pin(nick: &str, pin: &Pin) -> bool {
    (0..NICKS).any(|attempt| nick_of(pin, attempt).eq_ignore_ascii_case(nick))
}

/// Tells whether a nick is the first of a node's: the 40 bits it says are the UUID's first.
fn is_nick_of(nick: &str, node: NodeId) -> bool {
    let mut pin = Pin([0; 32]);
    pin.0[..16].copy_from_slice(&node.0);
    nick_of(&pin, 0).eq_ignore_ascii_case(nick)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NetworkNo = NetworkNo(0);
    const OTHER: NetworkNo = NetworkNo(1);

    fn pin(seed: u8) -> Pin {
        Pin([seed; 32])
    }

    fn roll() -> Roll {
        let mut roll = Roll::default();
        roll.open(ONE, CaseMapping::Ascii);
        roll.open(OTHER, CaseMapping::Rfc1459);
        roll
    }

    fn places(roll: &Roll, node: NodeId) -> Vec<(u8, String)> {
        let places = roll.places_of(node);
        places.map(|(on, nick)| (on.0, nick.to_owned())).collect()
    }

    #[test]
    fn one_node_on_several_networks_is_one_node() {
        let mut roll = roll();
        let (node, nick) = (pin(7).node_id(), nick_of(&pin(7), 0));
        for network in [ONE, OTHER] {
            assert_eq!(roll.enter(network, &nick), None);
            assert_eq!(
                roll.tell(network, &nick, &format!("{node} by me")),
                Some(node)
            );
        }
        assert_eq!(roll.nodes().collect::<Vec<_>>(), [node]);
        assert_eq!(places(&roll, node), [(1, nick.clone()), (0, nick.clone())]);
        assert_eq!(roll.leave(ONE, &nick.to_uppercase()), Some(node));
        assert!(roll.is_present(node));
        roll.close(OTHER);
        assert!(!roll.is_present(node));
        assert_eq!(roll.nicks, 0);
    }

    #[test]
    fn whoever_has_the_nick_of_the_key_comes_before_who_only_claims_it() {
        let mut roll = roll();
        let node = pin(7).node_id();
        let (real, thief) = (nick_of(&pin(7), 0), nick_of(&pin(9), 0));
        for nick in [&thief, &real] {
            roll.enter(ONE, nick);
            assert_eq!(roll.tell(ONE, nick, &node.to_string()), Some(node));
        }
        assert_eq!(places(&roll, node), [(0, real), (0, thief.clone())]);
        // Who claims to be somebody else from now on is not the one before any more.
        let other = pin(9).node_id();
        assert_eq!(roll.tell(ONE, &thief, &other.to_string()), Some(other));
        assert_eq!(places(&roll, node).len(), 1);
    }

    #[test]
    fn a_listed_node_is_known_by_its_nick_and_strangers_by_what_they_claim() {
        let mut roll = roll();
        roll.list(&pin(3));
        let node = pin(3).node_id();
        assert_eq!(roll.enter(ONE, &nick_of(&pin(3), 4)), Some(node));
        assert_eq!(
            roll.enter(OTHER, &nick_of(&pin(3), 0).to_uppercase()),
            Some(node)
        );
        assert_eq!(roll.enter(ONE, &nick_of(&pin(4), 0)), None);
        roll.strike_off(node);
        roll.open(ONE, CaseMapping::Ascii);
        assert_eq!(roll.enter(ONE, &nick_of(&pin(3), 0)), None);
    }

    #[test]
    fn people_are_not_taken_for_nodes_and_claims_without_a_nick_count_nothing() {
        let mut roll = roll();
        for nick in ["alice", "xabcdefg", "xabcdefgh1", "x1bcdefgh", "yabcdefgh"] {
            assert!(!is_node_nick(nick), "{nick}");
            roll.enter(ONE, nick);
            assert_eq!(roll.tell(ONE, nick, &pin(1).node_id().to_string()), None);
        }
        assert_eq!((roll.nicks_len(ONE), roll.nodes().len()), (0, 0));
        roll.enter(ONE, "xabcdefgh");
        assert_eq!(roll.tell(ONE, "xabcdefgh", "no uuid"), None);
        assert_eq!(roll.tell(NetworkNo(5), "xabcdefgh", "no uuid"), None);
    }

    #[test]
    fn whoever_comes_beyond_the_limit_is_counted_and_not_known() {
        let mut roll = roll();
        let nick = |count: usize| {
            nick_of(
                &Pin(std::array::from_fn(|at| count.to_le_bytes()[at % 3])),
                0,
            )
        };
        for count in 0..NICKS_MAX + 10 {
            roll.enter(ONE, &nick(count));
        }
        assert_eq!(roll.nicks_len(ONE), NICKS_MAX);
        assert_eq!(roll.unknown(), 10);
    }
}
