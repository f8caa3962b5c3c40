//! Ranks on the channel: what this node proves to operators, and what it does as one.

use crate::discovery::chanop::proof::{Challenge, Where};
use crate::discovery::chanop::speaker::{Right, Speaker};
use crate::discovery::irc::line::Line;
use crate::discovery::irc::name::CaseMapping;
use crate::discovery::irc::pace::Urgency;
use crate::discovery::lease::Token;
use crate::discovery::network::NetworkNo;
use crate::model::ids::PeernetId;
use crate::model::time::{Deadline, Time};
use crate::shell::irc::{Ranks, Wish};
use crate::shell::open::side::Side;

impl Side {
    /// This node speaks by another token, or its roster is another.
    pub(super) fn handle_right(&mut self, right: Option<(PeernetId, u64)>) {
        self.right = right;
        let right = right.and_then(|(peernet, token)| {
            let roster = self.rosters.roster(peernet)?;
            Some(Right {
                peernet,
                token: Token(token),
                roster_hash: roster.hash(),
            })
        });
        self.speaker.handle_right(right, self.clock.now());
    }

    pub(super) fn handle_ranks(&mut self, network: NetworkNo, ranks: Ranks, now: Time) {
        if let Some(operator) = &mut self.operator {
            operator.handle_ranks(network, &ranks, now);
        }
        let operators = &ranks.operators;
        self.askers
            .retain(|(on, nick)| *on != network || operators.contains(nick));
        self.ranks.insert(network, ranks);
    }

    /// Somebody says something to this node alone: an operator asks, or a node answers one.
    pub(super) fn handle_told(&mut self, network: NetworkNo, nick: &str, text: &str, now: Time) {
        if let Some(operator) = &mut self.operator {
            let trust_of = |node| self.trusts.get(&node).copied().unwrap_or(0);
            operator.handle_told((network, nick, text), &self.rosters, trust_of, now);
        }
        let Ok(challenge) = Challenge::parse(text) else {
            return;
        };
        let Some(ranks) = self.ranks.get(&network) else {
            return;
        };
        let is_operator = ranks.operators.iter().any(|operator| operator == nick);
        let Some(proof) = self.speaker.answer(challenge, is_operator, now) else {
            return;
        };
        // People who are operators have not asked, and are told nothing.
        if self.askers.insert((network, nick.to_owned())) {
            self.speaker.announce_soon(now);
        }
        let mapping = self.mappings.get(&network).copied();
        let mapping = mapping.unwrap_or_else(CaseMapping::default);
        let place = Where {
            network: &ranks.network,
            channel: &mapping.fold(self.voice.channel_name()).to_string(),
            nick: &mapping.fold(&ranks.own).to_string(),
        };
        let identity = self.voice.identity();
        let proof = Speaker::prove(proof, place, |statement| identity.sign(statement));
        self.send(network, Line::say("PRIVMSG", nick, &proof.print()));
    }

    fn send<E>(&self, network: NetworkNo, line: Result<Line, E>) {
        let joined = self.networks.get(usize::from(network.0));
        if let (Some(joined), Ok(line)) = (joined, line) {
            let urgency = Urgency::Poll;
            // A network that takes no more lines is not spoken to.
            joined.wishes.try_send(Wish::Send { urgency, line }).ok();
        }
    }

    /// Tells operators of the lease, and does what this node's own rules as one want done.
    pub(super) fn act_as_operator(&mut self) {
        let now = self.clock.now();
        let identity = self.voice.identity();
        let due = self
            .speaker
            .announce(now, |statement| identity.sign(statement));
        if let Some(announcement) = due {
            let text = announcement.print();
            for (network, operator) in &self.askers {
                self.send(*network, Line::say("PRIVMSG", operator, &text));
            }
        }
        while let Some((network, urgency, line)) =
            self.operator.as_mut().and_then(|operator| operator.poll())
        {
            let joined = self.networks.get(usize::from(network.0));
            let wish = Wish::Send { urgency, line };
            joined.map(|joined| joined.wishes.try_send(wish));
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let operator = self.operator.as_ref();
        let operator = operator.and_then(|operator| operator.deadline());
        let ranks = Deadline::earlier(operator, self.speaker.deadline());
        Deadline::earlier(self.station.deadline(), ranks)
    }

    pub(super) fn handle_deadline(&mut self) {
        let now = self.clock.now();
        self.station.handle_deadline(now);
        if let Some(operator) = &mut self.operator {
            operator.handle_deadline(now);
        }
    }
}
