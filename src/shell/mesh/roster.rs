//! Who is listed: whose packets are heard, whose keys are admitted, where each peer is dialled.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{ServerConfig, TransportConfig};
use rustls::pki_types::CertificateDer;

use crate::membership::Peer;
use crate::membership::links::PEERS_MAX;
use crate::model::ids::{NodeId, Pin};
use crate::shell::identity::Identity;
use crate::shell::pinned_tls::{self, Credentials, ListedPins};
use crate::shell::quic::{self, QuicError};
use crate::shell::silence::{Gate, Held};

/// The list, and the node's own name and key. Both transports share its rules.
#[derive(Debug)]
pub(super) struct Roster {
    own: NodeId,
    credentials: Credentials,
    gate: Arc<Gate>,
    listed: ListedPins,
    peers: RefCell<BTreeMap<NodeId, Peer>>,
}

impl Roster {
    pub(super) fn new(identity: &Identity) -> Self {
        let own = identity.node_id();
        Self {
            own,
            credentials: Credentials {
                certificate: identity.certificate(),
                key: identity.private_key(),
            },
            gate: Gate::new(own, identity.knock_secret().clone()),
            listed: ListedPins::default(),
            peers: RefCell::default(),
        }
    }

    pub(super) fn own(&self) -> NodeId {
        self.own
    }

    /// Returns how connections of listed peers are accepted.
    pub(super) fn server(
        &self,
        transport: &Arc<TransportConfig>,
    ) -> Result<ServerConfig, QuicError> {
        quic::server(
            self.credentials(),
            self.listed.clone(),
            Arc::clone(transport),
        )
    }

    pub(super) fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.peers.borrow().keys().copied().collect()
    }

    pub(super) fn contains(&self, peer: NodeId) -> bool {
        self.peers.borrow().contains_key(&peer)
    }

    pub(super) fn pin(&self, peer: NodeId) -> Option<Pin> {
        Some(self.peers.borrow().get(&peer)?.pin)
    }

    /// Returns where a peer is dialled, in order.
    pub(super) fn addresses(&self, peer: NodeId) -> Vec<SocketAddr> {
        let peers = self.peers.borrow();
        peers
            .get(&peer)
            .map_or_else(Vec::new, |peer| peer.addresses.clone())
    }

    /// Returns whether adding this peer means that its links under another knock key must go.
    pub(super) fn knocks_otherwise(&self, peer: &Peer) -> bool {
        let peers = self.peers.borrow();
        let known = peers.get(&peer.id);
        known.is_some_and(|known| known.knock != peer.knock)
    }

    /// Lists a peer, or takes its new addresses. Returns false for oneself, a knock key nobody
    /// can hold, or a full list.
    pub(super) fn add(&self, peer: Peer) -> bool {
        if peer.id == self.own || peer.id != peer.pin.node_id() {
            return false;
        }
        let known = self.peers.borrow().get(&peer.id).map(|known| known.knock);
        if known.is_none() && self.peers.borrow().len() >= PEERS_MAX {
            return false;
        }
        if known != Some(peer.knock) && !self.gate.add(peer.id, &peer.knock) {
            return false;
        }
        self.listed.insert(peer.pin);
        self.peers.borrow_mut().insert(peer.id, peer);
        true
    }

    /// Strikes a peer off: nothing is heard from it any more. Returns whether it was listed.
    pub(super) fn remove(&self, id: NodeId) -> bool {
        let Some(peer) = self.peers.borrow_mut().remove(&id) else {
            return false;
        };
        self.listed.remove(peer.pin);
        self.gate.remove(id);
        true
    }

    /// Claims to be heard at an address; see [`Gate::hold`].
    pub(super) fn hold(&self, address: SocketAddr, peer: NodeId) -> Option<Held> {
        self.gate.hold(address, peer)
    }
}

/// Returns whose key a certificate chain shows, as the TLS session hands it over.
pub(super) fn shown_by(identity: &dyn std::any::Any) -> Option<NodeId> {
    let chain = identity.downcast_ref::<Vec<CertificateDer<'static>>>()?;
    let (certificate, rest) = chain.split_first()?;
    let pin = pinned_tls::pin_of_chain(certificate, rest).ok()?;
    Some(pin.node_id())
}
