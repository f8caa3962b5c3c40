//! Links that DCC brought about: listed nodes without their legs, and strangers.
//!
//! A listed key has its listed rights over DCC but for legs and envelopes, which want the pinned,
//! silent way. A stranger may answer offers and make them, be probed and probe; it hears no books,
//! announces no markets, and its place on the node list is one that listed nodes leave.

use std::net::IpAddr;

use crate::discovery::shown::Shown;
use crate::discovery::station::Standing;
use crate::membership::guests::LetGo;
use crate::membership::{Direction, Peer, Reach};
use crate::model::ids::{LinkNo, NodeId};
use crate::model::time::{Deadline, Span, Time};
use crate::node::output::{Outbox, Output, Severity};
use crate::node::report::{ChannelNode, ChannelReport, SCHEMA};
use crate::node::{Node, PeerState, notice};

/// How long a stranger without a link is remembered: what is under way with it may still end well.
const FORGET_AFTER: Span = Span::secs(600);
/// How long a stranger that was refused is not offered a link again.
const REFUSED_FOR: Span = Span::secs(3_600);

impl Node {
    /// Takes a link that DCC brought about; `peer` is what the card at its other end says.
    pub(super) fn handle_met(
        &mut self,
        peer: Peer,
        address: IpAddr,
        (link, direction): (LinkNo, Direction),
        now: Time,
        out: &mut Outbox,
    ) {
        let id = peer.id;
        let known = self.peers.get(&id).map(|state| state.is_listed);
        let is_welcome = match known {
            Some(true) => true,
            Some(false) | None => self.settings.open.wants_strangers(),
        };
        if !self.is_born() || !is_welcome || id == self.me.id {
            out.push(Output::CloseLink { link });
            let until = now + REFUSED_FOR;
            return out.push(Output::Standing {
                peer: id,
                standing: Standing::Unwanted { until },
            });
        }
        if known.is_none() && !self.admit_stranger(peer, address, now, out) {
            out.push(Output::CloseLink { link });
            return;
        }
        if let Some(state) = self.peers.get_mut(&id) {
            state.address = Some(address);
        }
        self.links.handle_up(id, link, (direction, Reach::Dcc), now);
    }

    fn admit_stranger(&mut self, peer: Peer, address: IpAddr, now: Time, out: &mut Outbox) -> bool {
        let id = peer.id;
        self.forget_strangers(now, out);
        if !self.add_stranger(peer, now) {
            let text = format!("no room for {id} from {address}: 256 peers are known");
            notice(out, Severity::Warn, &text);
            return false;
        }
        true
    }

    /// Forgets strangers that have had no link for long, and those that nothing is expected of.
    fn forget_strangers(&mut self, now: Time, out: &mut Outbox) {
        let is_over = |state: &PeerState| {
            let is_gone = state.link_no.is_none() && !state.is_listed;
            is_gone && now.since(state.linked_at) >= FORGET_AFTER
        };
        let over = self.peers.iter().filter(|(_, state)| is_over(state));
        let over: Vec<NodeId> = over.map(|(id, _)| *id).collect();
        for id in over {
            self.remove_peer(id, now, out);
            out.push(Output::Forget { peer: id });
        }
    }

    /// Takes note that a peer has its link, whichever way.
    pub(super) fn note_linked(&mut self, id: NodeId, now: Time, out: &mut Outbox) {
        let reach = self.links.reach_of(id);
        let Some(state) = self.peers.get_mut(&id) else {
            return;
        };
        state.reach = reach.unwrap_or(Reach::Quic);
        state.linked_at = now;
        let (is_listed, address) = (state.is_listed, state.address);
        if is_listed && reach == Some(Reach::Dcc) {
            // Legs need the pinned way: what was granted over it holds no longer.
            self.rights.drop_where(|right| right.granter == id);
            drop(self.granted.close_where(|envelope| envelope.drawer == id));
            self.needs_renewal = true;
        }
        if self.has_open_side() {
            let standing = Standing::Linked;
            out.push(Output::Standing { peer: id, standing });
        }
        self.guests.set_places(self.links.places_left());
        if !is_listed
            && let Some(address) = address
            && let Some(gone) = self.guests.handle_linked(id, address, now)
        {
            self.let_go(gone, now, out);
        }
    }

    /// Takes note that a peer has no link any more.
    pub(super) fn note_lost(&mut self, id: NodeId, now: Time, out: &mut Outbox) {
        self.guests.handle_lost(id);
        self.miss_member(id, now, out);
        // Whoever was let go is told of already.
        let is_known = match self.peers.get_mut(&id) {
            Some(state) => {
                state.linked_at = now;
                true
            }
            None => false,
        };
        if is_known && self.has_open_side() {
            let standing = Standing::Free;
            out.push(Output::Standing { peer: id, standing });
        }
        self.guests.set_places(self.links.places_left());
    }

    /// Ends trials whose time has come.
    pub(super) fn tend_guests(&mut self, now: Time, out: &mut Outbox) -> bool {
        let Some(gone) = self.guests.decide(now) else {
            return false;
        };
        self.let_go(gone, now, out);
        true
    }

    pub(super) fn guests_deadline(&self) -> Option<Deadline> {
        self.guests.deadline()
    }

    fn let_go(&mut self, gone: LetGo, now: Time, out: &mut Outbox) {
        let LetGo { peer, why } = gone;
        *self.totals.messages.entry("let_go").or_default() += 1;
        self.remove_peer(peer, now, out);
        out.push(Output::Forget { peer });
        let until = now + why.wait();
        out.push(Output::Standing {
            peer,
            standing: Standing::Unwanted { until },
        });
        let text = format!("{peer} has no place on the node list: {}", why.name());
        notice(out, Severity::Debug, &text);
    }

    pub(super) fn has_open_side(&self) -> bool {
        !self.settings.open.networks.is_empty()
    }

    /// Tells whether legs and envelopes may go to and come from a peer: a listed node of this owner,
    /// over the pinned way.
    pub(super) fn is_fleet(&self, id: NodeId) -> bool {
        self.peers.get(&id).is_some_and(|peer| {
            peer.is_listed && peer.reach == Reach::Quic && peer.peer.owner == self.me.owner
        })
    }

    pub(super) fn is_listed(&self, id: NodeId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.is_listed)
    }

    /// Tells whether a peer is linked and asked about offers unbidden: listed ones are. A stranger
    /// hears of what is announced, and inquires.
    pub(super) fn is_askable(&self, id: NodeId) -> bool {
        let linked = self.peers.get(&id).filter(|peer| peer.link.is_ready());
        linked.is_some_and(|peer| peer.is_listed)
    }

    /// Reports who is on the channel; round trips and trust are this node's to add.
    pub(super) fn channel_report(&self, shown: Option<Box<Shown>>) -> ChannelReport {
        let shown = shown.map(|shown| *shown).unwrap_or_default();
        let nodes = shown.nodes.into_iter().map(|node| {
            let peer = self.peers.get(&node.id);
            let linked = peer.filter(|peer| peer.link.is_ready());
            ChannelNode {
                id: node.id.to_string(),
                name: peer.map(|peer| peer.peer.name.clone()).unwrap_or_default(),
                nicks: node.nicks,
                voiced_on: node.voiced_on,
                listed: node.is_listed,
                linked: linked.is_some(),
                by: match linked.map(|peer| peer.reach) {
                    Some(Reach::Quic) => Some("QUIC".to_owned()),
                    Some(Reach::Dcc) => node.by.or(Some("DCC".to_owned())),
                    None => None,
                },
                placed: linked.is_some_and(|peer| peer.is_listed || self.guests.is_placed(node.id)),
                rtt_us_p50: linked.and_then(|peer| peer.rtt.quantile_us(500)),
                trust: peer.map_or(0, |peer| peer.peer.trust),
                why_not: match linked {
                    Some(_) => None,
                    None => node.why_not.or(Some("the link is being made".to_owned())),
                },
            }
        });
        let mut counts = shown.counts;
        for what in ["announced", "heard_line", "inquire", "let_go"] {
            let times = self.totals.messages.get(what);
            counts.extend(times.map(|times| (what.to_owned(), *times)));
        }
        let mut nodes: Vec<ChannelNode> = nodes.collect();
        nodes.sort_by_key(|node| (!node.linked, node.rtt_us_p50.unwrap_or(u64::MAX)));
        ChannelReport {
            schema: SCHEMA,
            mode: self.settings.open.mode.name().to_owned(),
            channel: self.settings.open.channel.clone(),
            networks: shown.networks,
            nodes,
            counts,
            chanop: shown.chanop,
        }
    }
}
