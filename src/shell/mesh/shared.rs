//! Profile `shared`: quinn on the core's runtime. The thread sleeps until a packet comes.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, Incoming, TransportConfig, VarInt};
use quinn_proto::PathStats;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::membership::Direction;
use crate::model::ids::{LinkNo, NodeId};
use crate::shell::MeshSink;
use crate::shell::mesh::roster::{Roster, shown_by};
use crate::shell::mesh::shared_link::{Link, Receiving};
use crate::shell::mesh::{
    CONNECTIONS_PER_PEER_MAX, DIAL_DEADLINE, Goodbye, HANDSHAKE_DEADLINE, HANDSHAKES_MAX,
    MeshStats, STOP_DEADLINE, SendError, Transport,
};
use crate::shell::pinned_tls;
use crate::shell::quic::{self, QuicError};
use crate::shell::silence::SilentSocket;

/// QUIC's own task lets go of the socket a moment after its last handle.
const RELEASE_POLL: Duration = Duration::from_millis(1);

struct Shared {
    roster: Rc<Roster>,
    transport: Arc<TransportConfig>,
    endpoint: Endpoint,
    socket: Arc<SilentSocket>,
    links: RefCell<BTreeMap<LinkNo, Rc<Link>>>,
    dialling: RefCell<BTreeSet<NodeId>>,
    handshakes: RefCell<BTreeMap<NodeId, usize>>,
    last_link: Cell<LinkNo>,
    tasks: Cell<usize>,
    task_ended: Notify,
    stats: Cell<MeshStats>,
    sink: Rc<dyn MeshSink>,
}

/// Opens the socket and listens.
pub(super) fn start(
    roster: Rc<Roster>,
    listen: SocketAddr,
    sink: Rc<dyn MeshSink>,
) -> Result<Rc<dyn Transport>, QuicError> {
    let transport = Arc::new(quic::transport());
    let server = roster.server(&transport)?;
    let socket = SilentSocket::bind(listen, Arc::clone(roster.gate()))?;
    let endpoint = quic::endpoint(Arc::clone(&socket), Some(server))?;
    let shared = Rc::new(Shared {
        roster,
        transport,
        endpoint,
        socket,
        links: RefCell::default(),
        dialling: RefCell::default(),
        handshakes: RefCell::default(),
        last_link: Cell::default(),
        tasks: Cell::default(),
        task_ended: Notify::new(),
        stats: Cell::default(),
        sink,
    });
    shared.spawn(Shared::accept);
    Ok(shared)
}

impl Transport for Shared {
    fn dial(self: Rc<Self>, peer: NodeId) {
        if self.dialling.borrow_mut().insert(peer) {
            self.spawn(move |shared| shared.dial_peer(peer));
        }
    }

    fn close(&self, link: LinkNo) {
        if let Some(link) = self.link(link) {
            link.close();
        }
    }

    fn send_stream(&self, link: LinkNo, bytes: &[u8]) -> Result<(), SendError> {
        self.link(link).ok_or(SendError::NoLink)?.send_frame(bytes)
    }

    fn send_datagram(&self, link: LinkNo, bytes: &[u8]) -> Result<(), SendError> {
        self.link(link)
            .ok_or(SendError::NoLink)?
            .send_datagram(bytes)
    }

    /// The connections' own tasks send, in this same turn of the runtime.
    fn flush(&self) {}

    fn datagram_bytes_max(&self, link: LinkNo) -> Option<usize> {
        self.link(link)?.connection().max_datagram_size()
    }

    fn path(&self, link: LinkNo) -> Option<PathStats> {
        Some(self.link(link)?.connection().stats().path)
    }

    fn is_idle(&self, link: LinkNo) -> bool {
        self.link(link).is_some_and(|link| link.is_idle())
    }

    fn close_peer(&self, peer: NodeId) {
        let links = self.links.borrow();
        for link in links.values().filter(|link| link.peer == peer) {
            link.close();
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    fn stats(&self) -> MeshStats {
        MeshStats {
            links: self.links.borrow().len(),
            ..self.stats.get()
        }
    }

    fn stop(self: Rc<Self>) -> Goodbye {
        self.endpoint.close(VarInt::from_u32(0), b"");
        let goodbye = async move {
            self.endpoint.wait_idle().await;
            while self.tasks.get() > 0 {
                self.task_ended.notified().await;
            }
            let socket = Arc::downgrade(&self.socket);
            if Rc::strong_count(&self) > 1 {
                return;
            }
            drop(self);
            while socket.strong_count() > 0 {
                sleep(RELEASE_POLL).await;
            }
        };
        Box::pin(async move {
            if timeout(STOP_DEADLINE, goodbye).await.is_err() {
                tracing::debug!("the mesh did not end in time");
            }
        })
    }
}

impl Shared {
    /// Starts a task of the mesh; `stop` waits for it.
    fn spawn<F>(self: &Rc<Self>, task: impl FnOnce(Rc<Self>) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        self.tasks.set(self.tasks.get() + 1);
        let shared = Rc::clone(self);
        let running = task(Rc::clone(self));
        spawn_local(async move {
            running.await;
            shared.tasks.set(shared.tasks.get() - 1);
            shared.task_ended.notify_one();
        });
    }

    async fn dial_peer(self: Rc<Self>, peer: NodeId) {
        let mut opened = None;
        for address in self.roster.addresses(peer) {
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
        let pin = self.roster.pin(peer)?;
        let held = self.roster.hold(address, peer)?;
        let transport = Arc::clone(&self.transport);
        let config = quic::client(self.roster.credentials(), pin, transport).ok()?;
        let connecting = self
            .endpoint
            .connect_with(config, address, pinned_tls::SERVER_NAME)
            .ok()?;
        let connection = connecting.await.ok()?;
        let opened = Link::open(self.next_link(), peer, connection, held)
            .await
            .ok()?;
        self.roster.contains(peer).then_some(opened)
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
            match self.roster.gate().peer_at(incoming.remote_address()) {
                Some(peer) if under_way < HANDSHAKES_MAX && self.has_room(peer) => {
                    *self.handshakes.borrow_mut().entry(peer).or_default() += 1;
                    self.spawn(move |shared| shared.welcome(incoming, peer));
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
        let held = self.roster.hold(incoming.remote_address(), peer)?;
        let connection = incoming.accept().ok()?.await.ok()?;
        let shown = connection.peer_identity();
        if shown.and_then(|shown| shown_by(&*shown)) != Some(peer) {
            connection.close(VarInt::from_u32(1), b"");
            return None;
        }
        let opened = Link::open(self.next_link(), peer, connection, held)
            .await
            .ok()?;
        self.roster.contains(peer).then_some(opened)
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
        self.count(|stats| stats.count_end(&end));
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
