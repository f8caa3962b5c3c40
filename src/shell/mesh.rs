//! The mesh: QUIC connections with listed peers, profile `shared` (quinn on the core's runtime).
//!
//! Every method returns at once and none of them calls the sink: what comes of it is told by the
//! mesh's own tasks. So a sink may call any method from within any of its own calls.
//!
//! - One `dial` is answered by exactly one `link_up` or `dial_failed`; a dial of a peer that is
//!   being dialled joins the one under way.
//! - One `link_up` is followed by exactly one `link_down`, also after `close`.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, Endpoint, Incoming, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::latency::train::PathCount;
use crate::membership::knock::KnockStats;
use crate::membership::links::PEERS_MAX;
use crate::membership::{Direction, Peer};
use crate::model::ids::{LinkNo, NodeId};
use crate::model::time::{Span, Time};
use crate::shell::MeshSink;
use crate::shell::identity::Identity;
use crate::shell::link::{Link, LinkEnd, Receiving, SendError};
use crate::shell::pinned_tls::{self, Credentials, ListedPins};
use crate::shell::quic::{self, QuicError};
use crate::shell::silence::{Gate, SilentSocket};

/// One address of a dial, from first packet to the peer's hello.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(3);
/// An accepted connection, from first packet to the peer's hello.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(3);
/// Handshakes under way. Full: further first packets are ignored, the dialler sends them again.
pub const HANDSHAKES_MAX: usize = 16;
/// Handshakes and links of one peer: two of a simultaneous dial and two that died unnoticed.
/// Full: that peer's next connection is refused.
pub const CONNECTIONS_PER_PEER_MAX: usize = 4;
/// How long `stop` waits for goodbyes to leave.
const STOP_DEADLINE: Duration = Duration::from_secs(1);
/// QUIC's own task lets go of the socket a moment after its last handle.
const RELEASE_POLL: Duration = Duration::from_millis(1);

/// A handle of the mesh; clones are the same mesh.
#[derive(Clone)]
pub struct Mesh {
    inner: Rc<Inner>,
}

/// What the mesh counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeshStats {
    pub knocks: KnockStats,
    pub links: usize,
    pub dialled: u64,
    pub dial_failed: u64,
    pub accepted: u64,
    pub retries: u64,
    /// Accepted connections that came to nothing: certificate, hello or deadline.
    pub refused: u64,
    /// First packets ignored as too many handshakes were under way.
    pub crowded: u64,
    /// Links closed as the peer read too slowly, sent too much, or broke the framing.
    pub overflows: u64,
    pub floods: u64,
    pub bad_frames: u64,
}

struct Inner {
    own: NodeId,
    credentials: Credentials,
    transport: Arc<TransportConfig>,
    endpoint: Endpoint,
    socket: Arc<SilentSocket>,
    gate: Arc<Gate>,
    listed: ListedPins,
    peers: RefCell<BTreeMap<NodeId, Peer>>,
    links: RefCell<BTreeMap<LinkNo, Rc<Link>>>,
    dialling: RefCell<BTreeSet<NodeId>>,
    handshakes: RefCell<BTreeMap<NodeId, usize>>,
    last_link: Cell<LinkNo>,
    tasks: Cell<usize>,
    task_ended: Notify,
    stats: Cell<MeshStats>,
    sink: Rc<dyn MeshSink>,
}

impl Mesh {
    /// Opens the socket and listens. Needs a `LocalSet` on a current_thread runtime; no call of
    /// the sink is made before the caller yields.
    pub fn start(
        identity: &Identity,
        listen: SocketAddr,
        peers: &[Peer],
        sink: Rc<dyn MeshSink>,
    ) -> Result<Self, QuicError> {
        let own = identity.node_id();
        let credentials = Credentials {
            certificate: identity.certificate(),
            key: identity.private_key(),
        };
        let transport = Arc::new(quic::transport());
        let listed = ListedPins::default();
        let gate = Gate::new(own, identity.knock_secret().clone());
        let server = quic::server(credentials.clone(), listed.clone(), Arc::clone(&transport))?;
        let socket = SilentSocket::bind(listen, Arc::clone(&gate))?;
        let endpoint = quic::endpoint(Arc::clone(&socket), Some(server))?;
        let inner = Rc::new(Inner {
            own,
            credentials,
            transport,
            endpoint,
            socket,
            gate,
            listed,
            peers: RefCell::default(),
            links: RefCell::default(),
            dialling: RefCell::default(),
            handshakes: RefCell::default(),
            last_link: Cell::default(),
            tasks: Cell::default(),
            task_ended: Notify::new(),
            stats: Cell::default(),
            sink,
        });
        let mesh = Self { inner };
        mesh.set_peers(peers);
        mesh.inner.spawn(Inner::accept);
        Ok(mesh)
    }

    /// Dials a peer at its addresses in order.
    pub fn dial(&self, peer: NodeId) {
        if self.inner.dialling.borrow_mut().insert(peer) {
            self.inner.spawn(move |inner| inner.dial(peer));
        }
    }

    /// Closes a link; unknown ones are closed already.
    pub fn close(&self, link: LinkNo) {
        if let Some(link) = self.inner.link(link) {
            link.close();
        }
    }

    /// Sends one frame of 1 to 65,536 bytes on the link's ordered stream.
    ///
    /// # Errors
    /// [`SendError::Overflow`]: the peer does not keep up; its link, and no other, is closed.
    pub fn send_stream(&self, link: LinkNo, bytes: &[u8]) -> Result<(), SendError> {
        self.inner
            .link(link)
            .ok_or(SendError::NoLink)?
            .send_frame(bytes)
    }

    /// Sends one datagram, which may be lost; at most [`Mesh::datagram_bytes_max`] long.
    pub fn send_datagram(&self, link: LinkNo, bytes: &[u8]) -> Result<(), SendError> {
        self.inner
            .link(link)
            .ok_or(SendError::NoLink)?
            .send_datagram(bytes)
    }

    /// Returns how long a datagram of this link can be.
    pub fn datagram_bytes_max(&self, link: LinkNo) -> Option<usize> {
        self.inner.link(link)?.connection().max_datagram_size()
    }

    /// Returns QUIC's current estimate of the link's round-trip time.
    pub fn rtt(&self, link: LinkNo) -> Option<Span> {
        let rtt = self.inner.link(link)?.connection().rtt();
        Some(Span(u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Returns what the link's connection has counted; the moment is the caller's to set.
    pub fn path_count(&self, link: LinkNo) -> Option<PathCount> {
        let path = self.inner.link(link)?.connection().stats().path;
        Some(PathCount {
            at: Time::ZERO,
            sent_packets: path.sent_packets,
            lost_packets: path.lost_packets,
            congestion_events: path.congestion_events,
            congestion_window_bytes: path.cwnd,
            path_switches: 0,
        })
    }

    /// Returns true while nothing of this link waits that a probe could delay.
    pub fn is_idle(&self, link: LinkNo) -> bool {
        self.inner.link(link).is_some_and(|link| link.is_idle())
    }

    /// Lists exactly these peers: others are removed, changed ones replaced.
    pub fn set_peers(&self, peers: &[Peer]) {
        let listed: Vec<NodeId> = self.inner.peers.borrow().keys().copied().collect();
        for id in listed {
            if !peers.iter().any(|peer| peer.id == id) {
                self.remove_peer(id);
            }
        }
        for peer in peers {
            self.add_peer(peer.clone());
        }
    }

    /// Lists a peer, or takes its new addresses. Returns false for oneself, a knock key nobody
    /// can hold, or a full list.
    pub fn add_peer(&self, peer: Peer) -> bool {
        let inner = &self.inner;
        if peer.id == inner.own || peer.id != peer.pin.node_id() {
            return false;
        }
        let known = inner.peers.borrow().get(&peer.id).map(|known| known.knock);
        if known.is_none() && inner.peers.borrow().len() >= PEERS_MAX {
            return false;
        }
        if known.is_some_and(|knock| knock != peer.knock) {
            self.remove_peer(peer.id);
        }
        if known != Some(peer.knock) && !inner.gate.add(peer.id, &peer.knock) {
            return false;
        }
        inner.listed.insert(peer.pin);
        inner.peers.borrow_mut().insert(peer.id, peer);
        true
    }

    /// Strikes a peer off: nothing is heard from it any more and its links are closed.
    pub fn remove_peer(&self, id: NodeId) {
        let Some(peer) = self.inner.peers.borrow_mut().remove(&id) else {
            return;
        };
        self.inner.listed.remove(peer.pin);
        self.inner.gate.remove(id);
        for link in self
            .inner
            .links
            .borrow()
            .values()
            .filter(|link| link.peer == id)
        {
            link.close();
        }
    }

    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.inner.endpoint.local_addr()
    }

    pub fn stats(&self) -> MeshStats {
        MeshStats {
            knocks: self.inner.gate.stats(),
            links: self.inner.links.borrow().len(),
            ..self.inner.stats.get()
        }
    }

    /// Closes every link and the endpoint and waits until all of it was told to the sink. If this
    /// was the last handle, the address is free again afterwards.
    pub async fn stop(self) {
        let inner = self.inner;
        inner.endpoint.close(VarInt::from_u32(0), b"");
        let goodbye = async move {
            inner.endpoint.wait_idle().await;
            while inner.tasks.get() > 0 {
                inner.task_ended.notified().await;
            }
            let socket = Arc::downgrade(&inner.socket);
            if Rc::strong_count(&inner) > 1 {
                return;
            }
            drop(inner);
            while socket.strong_count() > 0 {
                sleep(RELEASE_POLL).await;
            }
        };
        if timeout(STOP_DEADLINE, goodbye).await.is_err() {
            tracing::debug!("the mesh did not end in time");
        }
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Mesh")
            .field("own", &self.inner.own)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Starts a task of the mesh; `stop` waits for it.
    fn spawn<F>(self: &Rc<Self>, task: impl FnOnce(Rc<Self>) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        self.tasks.set(self.tasks.get() + 1);
        let inner = Rc::clone(self);
        let running = task(Rc::clone(self));
        spawn_local(async move {
            running.await;
            inner.tasks.set(inner.tasks.get() - 1);
            inner.task_ended.notify_one();
        });
    }

    async fn dial(self: Rc<Self>, peer: NodeId) {
        let listed = self.peers.borrow().get(&peer).cloned();
        let addresses = listed.as_ref().map_or(&[][..], |listed| &listed.addresses);
        let mut opened = None;
        for &address in addresses {
            match timeout(DIAL_DEADLINE, self.dial_address(peer, address)).await {
                Ok(Some(link)) => {
                    opened = Some(link);
                    break;
                }
                Ok(None) => tracing::debug!(%peer, "dial refused"),
                Err(_) => tracing::debug!(%peer, "dial unanswered"),
            }
        }
        self.dialling.borrow_mut().remove(&peer);
        match opened {
            Some((link, receiving)) => {
                self.count(|stats| stats.dialled += 1);
                self.serve(link, receiving, Direction::Dialled).await;
            }
            None => {
                self.count(|stats| stats.dial_failed += 1);
                self.sink.dial_failed(peer);
            }
        }
    }

    async fn dial_address(&self, peer: NodeId, address: SocketAddr) -> Option<(Link, Receiving)> {
        let pin = self.peers.borrow().get(&peer)?.pin;
        let held = self.gate.hold(address, peer)?;
        let transport = Arc::clone(&self.transport);
        let config = quic::client(self.credentials.clone(), pin, transport).ok()?;
        let connecting = self
            .endpoint
            .connect_with(config, address, pinned_tls::SERVER_NAME)
            .ok()?;
        let connection = connecting.await.ok()?;
        let opened = Link::open(self.next_link(), peer, connection, held)
            .await
            .ok()?;
        self.peers.borrow().contains_key(&peer).then_some(opened)
    }

    async fn accept(self: Rc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            if !incoming.remote_address_validated() {
                self.count(|stats| stats.retries += 1);
                if let Err(error) = incoming.retry() {
                    error.into_incoming().ignore();
                }
                continue;
            }
            let under_way: usize = self.handshakes.borrow().values().sum();
            match self.gate.peer_at(incoming.remote_address()) {
                Some(peer) if under_way < HANDSHAKES_MAX && self.has_room(peer) => {
                    *self.handshakes.borrow_mut().entry(peer).or_default() += 1;
                    self.spawn(move |inner| inner.welcome(incoming, peer));
                }
                Some(_) | None => {
                    self.count(|stats| stats.crowded += 1);
                    incoming.ignore();
                }
            }
        }
    }

    /// Takes one accepted connection from first packet to its end.
    async fn welcome(self: Rc<Self>, incoming: Incoming, peer: NodeId) {
        let opened = timeout(HANDSHAKE_DEADLINE, self.handshake(incoming, peer)).await;
        self.end_handshake(peer);
        match opened {
            Ok(Some((link, receiving))) => {
                self.count(|stats| stats.accepted += 1);
                self.serve(link, receiving, Direction::Accepted).await;
            }
            Ok(None) | Err(_) => self.count(|stats| stats.refused += 1),
        }
    }

    async fn handshake(&self, incoming: Incoming, peer: NodeId) -> Option<(Link, Receiving)> {
        let held = self.gate.hold(incoming.remote_address(), peer)?;
        let connection = incoming.accept().ok()?.await.ok()?;
        if authenticated(&connection) != Some(peer) {
            connection.close(VarInt::from_u32(1), b"");
            return None;
        }
        let opened = Link::open(self.next_link(), peer, connection, held)
            .await
            .ok()?;
        self.peers.borrow().contains_key(&peer).then_some(opened)
    }

    fn end_handshake(&self, peer: NodeId) {
        let mut handshakes = self.handshakes.borrow_mut();
        if let Some(count) = handshakes.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                handshakes.remove(&peer);
            }
        }
    }

    /// Reports a link up, serves it, and reports it down.
    async fn serve(&self, link: Link, receiving: Receiving, direction: Direction) {
        let (number, peer) = (link.number, link.peer);
        let link = Rc::new(link);
        self.links.borrow_mut().insert(number, Rc::clone(&link));
        self.sink.link_up(peer, number, direction);
        let end = link.run(receiving, &*self.sink).await;
        tracing::debug!(%peer, link = %number, %end, "link down");
        self.count(|stats| match end {
            LinkEnd::Overflow => stats.overflows += 1,
            LinkEnd::Flood => stats.floods += 1,
            LinkEnd::Frame(_) => stats.bad_frames += 1,
            LinkEnd::Closed
            | LinkEnd::Connection(_)
            | LinkEnd::Ended
            | LinkEnd::Hello
            | LinkEnd::Write(_) => {}
        });
        self.links.borrow_mut().remove(&number);
        drop(link);
        self.sink.link_down(number);
    }

    fn has_room(&self, peer: NodeId) -> bool {
        let handshakes = self.handshakes.borrow().get(&peer).copied().unwrap_or(0);
        let links = self.links.borrow();
        let links = links.values().filter(|link| link.peer == peer).count();
        handshakes + links < CONNECTIONS_PER_PEER_MAX
    }

    fn link(&self, number: LinkNo) -> Option<Rc<Link>> {
        self.links.borrow().get(&number).map(Rc::clone)
    }

    fn next_link(&self) -> LinkNo {
        self.last_link.set(self.last_link.get().next());
        self.last_link.get()
    }

    fn count(&self, change: impl FnOnce(&mut MeshStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }
}

/// Returns whose key the other end proved to have.
fn authenticated(connection: &Connection) -> Option<NodeId> {
    let shown = connection.peer_identity()?;
    let chain = shown.downcast_ref::<Vec<CertificateDer<'static>>>()?;
    let (certificate, rest) = chain.split_first()?;
    let pin = pinned_tls::pin_of_chain(certificate, rest).ok()?;
    Some(pin.node_id())
}
