//! The channel's operator at work: what networks show goes to its rules, what they decide to servers.
//!
//! Only where a server has made this node an operator is anybody asked or voiced.

use std::collections::{BTreeMap, BTreeSet};

use crate::discovery::chanop::proof::{Proof, Where};
use crate::discovery::chanop::{Announced, By, Chanop, Output, Place, Seats, Settings};
use crate::discovery::irc::line::{Line, LineError};
use crate::discovery::irc::name::CaseMapping;
use crate::discovery::irc::pace::Urgency;
use crate::discovery::lease::announce::Announcement;
use crate::discovery::network::NetworkNo;
use crate::discovery::shown::{ChanopShown, DecisionShown, VoiceShown};
use crate::membership::roster::Roster;
use crate::membership::rosters::{Mute, Rosters};
use crate::model::ids::NodeId;
use crate::model::time::{Deadline, Time};
use crate::shell::irc::Ranks;

/// The rules, and what they are fed with.
pub(super) struct Operator {
    chanop: Chanop,
    channel: String,
    networks: BTreeMap<NetworkNo, Seen>,
    out: Vec<Output>,
}

/// One network.
#[derive(Default)]
struct Seen {
    /// What the server calls this node.
    own: String,
    mapping: CaseMapping,
    name: String,
    /// Nicks as the server spells them, and the nodes that they say they are.
    members: BTreeMap<String, Option<NodeId>>,
    voiced: BTreeSet<String>,
    is_operator: bool,
    /// Voice means nothing yet: everybody is heard.
    wants_moderation: bool,
    /// Changes of voice that this node has asked the server for.
    asked: BTreeSet<(String, bool)>,
}

impl Operator {
    pub(super) fn new(settings: Settings, channel: String, secret: [u8; 32]) -> Self {
        Self {
            chanop: Chanop::new(settings, secret),
            channel,
            networks: BTreeMap::new(),
            out: Vec::new(),
        }
    }

    fn place(&self, network: NetworkNo, nick: &str) -> Place {
        let seen = self.networks.get(&network);
        let mapping = seen.map_or_else(CaseMapping::default, |seen| seen.mapping);
        Place {
            network: network.0,
            nick: mapping.fold(nick),
        }
    }

    pub(super) fn handle_joined<'m>(
        &mut self,
        network: NetworkNo,
        mapping: CaseMapping,
        members: impl Iterator<Item = (&'m str, Option<&'m str>)>,
        now: Time,
    ) {
        self.handle_left(network, now);
        let seen = self.networks.entry(network).or_default();
        seen.mapping = mapping;
        seen.members = members
            .map(|(nick, realname)| (nick.to_owned(), realname.and_then(claim)))
            .collect();
    }

    pub(super) fn handle_left(&mut self, network: NetworkNo, now: Time) {
        self.networks.remove(&network);
        self.chanop
            .handle_network_gone(network.0, now, &mut self.out);
    }

    pub(super) fn handle_came(&mut self, network: NetworkNo, nick: &str, now: Time) {
        self.handle_realname(network, nick, "", now);
    }

    pub(super) fn handle_realname(
        &mut self,
        network: NetworkNo,
        nick: &str,
        realname: &str,
        now: Time,
    ) {
        let place = self.place(network, nick);
        let Some(seen) = self.networks.get_mut(&network) else {
            return;
        };
        let claim = claim(realname);
        if seen.own == nick {
            return;
        }
        seen.members.insert(nick.to_owned(), claim);
        let has_voice = seen.voiced.contains(nick);
        if seen.is_operator {
            self.chanop
                .handle_seen(place, claim, has_voice, now, &mut self.out);
        }
    }

    pub(super) fn handle_gone(&mut self, network: NetworkNo, nick: &str, now: Time) {
        let place = self.place(network, nick);
        if let Some(seen) = self.networks.get_mut(&network) {
            seen.members.remove(nick);
            seen.voiced.remove(nick);
        }
        self.chanop.handle_gone(&place, now, &mut self.out);
    }

    pub(super) fn handle_renamed(&mut self, network: NetworkNo, from: &str, to: &str, now: Time) {
        let (old, new) = (self.place(network, from), self.place(network, to));
        if let Some(seen) = self.networks.get_mut(&network) {
            if let Some(claim) = seen.members.remove(from) {
                seen.members.insert(to.to_owned(), claim);
            }
            if seen.voiced.remove(from) {
                seen.voiced.insert(to.to_owned());
            }
        }
        self.chanop
            .handle_renamed(network.0, old.nick, new.nick, now, &mut self.out);
    }

    pub(super) fn handle_ranks(&mut self, network: NetworkNo, ranks: &Ranks, now: Time) {
        let Some(seen) = self.networks.get_mut(&network) else {
            return;
        };
        seen.name.clone_from(&ranks.network);
        seen.own.clone_from(&ranks.own);
        seen.wants_moderation = ranks.is_operator && !ranks.is_moderated;
        let was_operator = std::mem::replace(&mut seen.is_operator, ranks.is_operator);
        let voiced: BTreeSet<String> = ranks.voiced.iter().cloned().collect();
        let before = std::mem::replace(&mut seen.voiced, voiced.clone());
        if !ranks.is_operator {
            if was_operator {
                self.chanop
                    .handle_network_gone(network.0, now, &mut self.out);
            }
            return;
        }
        if !was_operator {
            let members: Vec<(String, Option<NodeId>)> = seen.members.clone().into_iter().collect();
            for (nick, claim) in members.iter().filter(|(nick, _)| *nick != ranks.own) {
                let place = self.place(network, nick);
                let has_voice = voiced.contains(nick);
                self.chanop
                    .handle_seen(place, *claim, has_voice, now, &mut self.out);
            }
            return;
        }
        let changed = voiced.symmetric_difference(&before);
        for nick in changed {
            let has_voice = voiced.contains(nick);
            let place = self.place(network, nick);
            let asked = self.networks.get_mut(&network);
            let is_ours = asked.is_some_and(|seen| seen.asked.remove(&(nick.clone(), has_voice)));
            let by = if is_ours { By::Us } else { By::Other };
            self.chanop
                .handle_voice(&place, has_voice, by, now, &mut self.out);
        }
    }

    pub(super) fn handle_line(&mut self, network: NetworkNo, nick: &str, now: Time) {
        let place = self.place(network, nick);
        self.chanop.handle_line(&place, now, &mut self.out);
    }

    /// Somebody answers a question, or tells of its lease.
    pub(super) fn handle_told(
        &mut self,
        (network, nick, text): (NetworkNo, &str, &str),
        rosters: &Rosters,
        trust_of: impl Fn(NodeId) -> u8,
        now: Time,
    ) {
        let place = self.place(network, nick);
        if let Ok(proof) = Proof::parse(text) {
            if !self.chanop.awaits(&place, &proof, now) {
                return;
            }
            let seen = self.networks.get(&network);
            let (name, mapping) =
                seen.map_or_else(Default::default, |seen| (seen.name.clone(), seen.mapping));
            let spelled = Where {
                network: &name,
                channel: &mapping.fold(&self.channel).to_string(),
                nick: &place.nick.to_string(),
            };
            let is_valid = proof.is_signed(spelled);
            let trust = trust_of(proof.pin().node_id());
            self.chanop
                .handle_proof(&place, &proof, trust, is_valid, now, &mut self.out);
        } else if let Ok(announced) = Announcement::parse(text) {
            let roster = rosters.roster(announced.peernet);
            // Whoever is not on the roster costs no look at a signature.
            let is_member = roster.is_some_and(|roster| roster.keys().contains(&announced.key));
            let is_valid = is_member && announced.is_signed();
            let announced = Announced {
                peernet: announced.peernet,
                node: announced.node(),
                token: announced.token,
                number: announced.number,
            };
            self.chanop
                .handle_lease(announced, is_valid, now, &mut self.out);
        }
    }

    pub(super) fn handle_roster(&mut self, roster: &Roster, rosters: &Rosters, now: Time) {
        let seats = Seats {
            peernet: roster.peernet(),
            version: roster.version(),
            hash: roster.hash(),
            members: roster.members().to_vec(),
            is_forked: rosters.may_speak(roster.peernet()) == Err(Mute::Forked),
        };
        self.chanop.handle_roster(seats, now, &mut self.out);
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.chanop.deadline()
    }

    pub(super) fn handle_deadline(&mut self, now: Time) {
        self.chanop.handle_deadline(now, &mut self.out);
    }

    /// Returns what is to be said next, and where.
    pub(super) fn poll(&mut self) -> Option<(NetworkNo, Urgency, Line)> {
        for (network, seen) in &mut self.networks {
            if std::mem::take(&mut seen.wants_moderation)
                && let Ok(line) = Line::new("MODE", &[&self.channel, "+m"], None)
            {
                return Some((*network, Urgency::Poll, line));
            }
        }
        while !self.out.is_empty() {
            let (place, line) = match self.out.remove(0) {
                Output::Challenge { place, challenge } => {
                    let line = Line::say("PRIVMSG", &place.nick.to_string(), &challenge.print());
                    (place, line)
                }
                Output::Voice { place } => self.mode(place, true),
                Output::Devoice { place, why } => {
                    tracing::info!(nick = %place.nick, %why, "voice is taken");
                    self.mode(place, false)
                }
                Output::Journal(_) => continue,
            };
            if let Ok(line) = line {
                return Some((NetworkNo(place.network), Urgency::Poll, line));
            }
        }
        None
    }

    fn mode(&mut self, place: Place, gives: bool) -> (Place, Result<Line, LineError>) {
        let network = NetworkNo(place.network);
        let nick = place.nick.to_string();
        if let Some(seen) = self.networks.get_mut(&network) {
            let spelled = seen.members.keys();
            let mut spelled = spelled.filter(|name| seen.mapping.is_same(name, &nick));
            let spelled = spelled.next().cloned().unwrap_or_else(|| nick.clone());
            // At most one wish each way for a member.
            seen.asked.insert((spelled, gives));
            let members = &seen.members;
            seen.asked.retain(|(nick, _)| members.contains_key(nick));
        }
        if gives {
            tracing::info!(%nick, "voice is given");
        }
        let sign = if gives { "+v" } else { "-v" };
        let line = Line::new("MODE", &[&self.channel, sign, &nick], None);
        (place, line)
    }

    /// Shows who is where, and what was decided.
    pub(super) fn show(&self, name_of: impl Fn(NetworkNo) -> String, now: Time) -> ChanopShown {
        let place_of =
            |place: &Place| format!("{}:{}", name_of(NetworkNo(place.network)), place.nick);
        let members = self.chanop.list(now);
        let members = members.map(|(place, node, has_voice, judged)| VoiceShown {
            place: place_of(place),
            node: node.map(|node| node.to_string()),
            voiced: has_voice,
            age_s: node.map_or(0, |node| self.chanop.age(node, now).as_millis() / 1_000),
            why_not: judged.err().map(|why| why.to_string()),
        });
        let decisions = self.chanop.log().iter();
        let decisions = decisions.map(|decision| DecisionShown {
            ago_s: now.since(decision.at).as_millis() / 1_000,
            place: place_of(&decision.place),
            node: decision.node.map(|node| node.to_string()),
            proven: decision.is_proven,
            verdict: decision.verdict.word().to_owned(),
            reason: decision.reason.map(|why| why.to_string()),
        });
        ChanopShown {
            members: members.collect(),
            decisions: decisions.collect(),
        }
    }
}

/// Returns the node that a realname begins with.
fn claim(realname: &str) -> Option<NodeId> {
    NodeId::parse(realname.split(' ').next()?)
}
