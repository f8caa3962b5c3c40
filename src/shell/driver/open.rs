//! The open side at the core: what it tells becomes inputs, what the node wants of it is handed on.

use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::mpsc;

use crate::discovery::station::Standing;
use crate::membership::{Direction, Peer};
use crate::model::ids::{CommandNo, LinkNo, NodeId};
use crate::node::input::{Command, Input};
use crate::node::output::{Bytes, Outbox};
use crate::shell::driver::{Driver, Hands};
use crate::shell::open::{Open, Told, datagram, is_dcc};

impl Driver {
    /// Tells the node what comes by links over DCC.
    pub(super) async fn follow_open(self: Rc<Self>, mut told: mpsc::Receiver<Told>) {
        while let Some(told) = told.recv().await {
            match told {
                Told::Met {
                    peer,
                    address,
                    link,
                    direction,
                    waiting,
                } => {
                    self.with_open(|open| open.add(link, waiting));
                    self.meet(peer, address, (link, direction));
                }
                Told::Frame { link, bytes } => match datagram(&bytes) {
                    Some(bytes) => self.step(Input::LinkDatagram { link, bytes }),
                    None => self.step(Input::LinkStream {
                        link,
                        bytes: &bytes,
                    }),
                },
                Told::OnChannel { since, may_speak } => {
                    self.step(Input::OnChannel { since, may_speak });
                }
                Told::RosterWanted {
                    from,
                    peernet,
                    after,
                } => self.step(Input::RosterWanted {
                    from,
                    peernet,
                    after,
                }),
                Told::Announced(announced) => self.step(Input::Announced { announced }),
                Told::Shown { number, shown } => {
                    let command = Command::Channel(Some(Box::new(shown)));
                    self.step(Input::Command { number, command });
                }
                Told::Down { link } => {
                    self.with_open(|open| open.close(link));
                    self.step(Input::LinkDown { link });
                }
            }
        }
    }

    /// The mesh knows a stranger before the node may dial it, and no longer than the node does.
    fn meet(&self, peer: Peer, address: IpAddr, (link, direction): (LinkNo, Direction)) {
        let id = peer.id;
        let is_new = !self.look(|node| node.knows(id));
        if is_new && let Some(hands) = &*self.hands.borrow() {
            hands.mesh.add_peer(peer.clone());
        }
        self.step(Input::Met {
            peer,
            address,
            link,
            direction,
        });
        if !self.look(|node| node.knows(id)) {
            self.forget(id);
        }
    }

    fn forget(&self, peer: NodeId) {
        if let Some(hands) = &*self.hands.borrow() {
            hands.mesh.remove_peer(peer);
        }
    }

    pub(super) fn with_open(&self, act: impl FnOnce(&Open)) {
        if let Some(hands) = &*self.hands.borrow() {
            with(hands, act);
        }
    }

    /// Sends on a link, by whichever way it is carried.
    pub(super) fn send(&self, hands: &Hands, link: LinkNo, bytes: Bytes, outbox: &Outbox) {
        let bytes = outbox.read(bytes);
        if is_dcc(link) {
            return with(hands, |open| open.send_stream(link, bytes));
        }
        // A link that does not take the frame is closed, and that is told.
        if let Err(error) = hands.mesh.send_stream(link, bytes) {
            tracing::debug!(node = self.name, %error, "frame not sent");
        }
    }

    pub(super) fn send_datagram(&self, hands: &Hands, link: LinkNo, bytes: Bytes, outbox: &Outbox) {
        let bytes = outbox.read(bytes);
        if is_dcc(link) {
            return with(hands, |open| open.send_datagram(link, bytes));
        }
        // Datagrams may be lost, here as well as on the way.
        if let Err(error) = hands.mesh.send_datagram(link, bytes) {
            tracing::trace!(node = self.name, %error, "datagram not sent");
        }
    }

    pub(super) fn close_link(&self, hands: &Hands, link: LinkNo) {
        match is_dcc(link) {
            true => with(hands, |open| open.close(link)),
            false => hands.mesh.close(link),
        }
    }

    /// Asks what the networks show; false where there are none.
    pub(super) fn ask_open(&self, number: CommandNo) -> bool {
        let mut is_asked = false;
        self.with_open(|open| {
            open.look(number);
            is_asked = true;
        });
        is_asked
    }
}

pub(super) fn with(hands: &Hands, act: impl FnOnce(&Open)) {
    if let Some(open) = &hands.open {
        act(open);
    }
}

/// Tells the open side of a roster: the own peernet's, or what somebody says is one.
pub(super) fn know(hands: &Hands, from: Option<NodeId>, bytes: &[u8]) {
    with(hands, |open| open.know(from, bytes));
}

pub(super) fn stand(hands: &Hands, peer: NodeId, standing: Standing) {
    with(hands, |open| open.stand(peer, standing));
}
