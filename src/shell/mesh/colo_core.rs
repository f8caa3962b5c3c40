//! All connections of profile `colo`, and the one socket they share. It never calls the sink: what
//! there is to tell is kept as facts.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Endpoint, Incoming, PathStats,
    TransportConfig,
};

use crate::membership::Direction;
use crate::membership::knock::{KnockStats, Outgoing, is_short};
use crate::model::ids::{LinkNo, NodeId, Pin};
use crate::shell::mesh::colo_link::{ColoLink, Fact, State};
use crate::shell::mesh::roster::Roster;
use crate::shell::mesh::{
    CONNECTIONS_PER_PEER_MAX, DIAL_DEADLINE, HANDSHAKE_DEADLINE, HANDSHAKES_MAX, LinkEnd,
    MeshStats, SendError,
};
use crate::shell::pinned_tls;
use crate::shell::quic::{self, QuicError};
use crate::shell::silence::{Gate, Held, Proven};

/// A first packet with its trailer fits.
const PACKET_CAPACITY: usize = 2_048;

/// Connections, links and dials of one node.
pub(super) struct Core {
    roster: Rc<Roster>,
    wire: Wire,
    endpoint: Endpoint,
    transport: Arc<TransportConfig>,
    /// What each peer is dialled with, made at its first dial; at most one for each listed peer.
    clients: BTreeMap<NodeId, (Pin, ClientConfig)>,
    /// By handle; QUIC gives the lowest free one.
    connections: Vec<Option<Box<ColoLink>>>,
    links: BTreeMap<LinkNo, ConnectionHandle>,
    /// What is left of each dial, and what is tried.
    dials: BTreeMap<NodeId, VecDeque<SocketAddr>>,
    /// Connections that may have something to send, each once.
    touched: Vec<ConnectionHandle>,
    /// This node itself has queued something: what leaves next may be answered.
    has_asked: bool,
    facts: VecDeque<Fact>,
    due: Option<Instant>,
    last_link: LinkNo,
    is_stopping: bool,
    stats: MeshStats,
}

/// The socket behind the gate, for sending.
struct Wire {
    socket: UdpSocket,
    gate: Arc<Gate>,
    proven: Proven,
    /// Packets that passed without the gate being asked.
    passed: u64,
    packet: Vec<u8>,
    sealed: Vec<u8>,
}

impl Core {
    pub(super) fn new(roster: Rc<Roster>, socket: UdpSocket) -> Result<Self, QuicError> {
        let transport = Arc::new(quic::transport());
        let server = roster.server(&transport)?;
        let config = Arc::new(quic::endpoint_config());
        let wire = Wire {
            socket,
            gate: Arc::clone(roster.gate()),
            proven: Proven::default(),
            passed: 0,
            packet: Vec::with_capacity(PACKET_CAPACITY),
            sealed: Vec::with_capacity(PACKET_CAPACITY),
        };
        Ok(Self {
            roster,
            wire,
            endpoint: Endpoint::new(config, Some(Arc::new(server)), false, None),
            transport,
            clients: BTreeMap::new(),
            connections: Vec::new(),
            links: BTreeMap::new(),
            dials: BTreeMap::new(),
            touched: Vec::new(),
            has_asked: false,
            facts: VecDeque::new(),
            due: None,
            last_link: LinkNo::default(),
            is_stopping: false,
            stats: MeshStats::default(),
        })
    }

    pub(super) fn next_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    /// Returns when [`Core::tend`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Tells whether something was queued that has not left.
    pub(super) fn is_touched(&self) -> bool {
        !self.touched.is_empty() || !self.facts.is_empty()
    }

    pub(super) fn stats(&self) -> MeshStats {
        MeshStats {
            knocks: KnockStats {
                passed: self.wire.passed,
                ..KnockStats::default()
            },
            links: self.links.len(),
            ..self.stats
        }
    }

    /// Begins a dial, unless the peer is being dialled.
    pub(super) fn dial(&mut self, peer: NodeId, now: Instant) {
        if self.is_stopping || self.dials.contains_key(&peer) {
            return;
        }
        let addresses = self.roster.addresses(peer).into();
        self.dials.insert(peer, addresses);
        self.dial_next(peer, now);
    }

    pub(super) fn send_stream(&mut self, link: LinkNo, bytes: &[u8], now: Instant) -> Sent {
        let handle = self.links.get(&link).copied().ok_or(SendError::NoLink)?;
        let connection = self.get(handle).ok_or(SendError::NoLink)?;
        let sent = connection.send_frame(bytes);
        self.has_asked = true;
        self.touch(handle);
        if sent == Err(SendError::Overflow) {
            self.end(handle, &LinkEnd::Overflow, now);
        }
        sent
    }

    pub(super) fn send_datagram(&mut self, link: LinkNo, bytes: &[u8]) -> Sent {
        let handle = self.links.get(&link).copied().ok_or(SendError::NoLink)?;
        let connection = self.get(handle).ok_or(SendError::NoLink)?;
        connection.send_datagram(bytes)?;
        self.has_asked = true;
        self.touch(handle);
        Ok(())
    }

    pub(super) fn datagram_bytes_max(&mut self, link: LinkNo) -> Option<usize> {
        let handle = self.links.get(&link).copied()?;
        self.get(handle)?.quic.datagrams().max_size()
    }

    pub(super) fn path(&self, link: LinkNo) -> Option<PathStats> {
        let handle = self.links.get(&link)?;
        let connection = self.connections.get(handle.0)?.as_ref()?;
        Some(connection.quic.stats().path)
    }

    pub(super) fn is_idle(&mut self, link: LinkNo) -> bool {
        let handle = self.links.get(&link).copied();
        let link = handle.and_then(|handle| self.get(handle));
        link.is_some_and(ColoLink::is_idle)
    }

    pub(super) fn end_link(&mut self, link: LinkNo, why: &LinkEnd, now: Instant) {
        if let Some(&handle) = self.links.get(&link) {
            self.end(handle, why, now);
        }
    }

    pub(super) fn end_peer(&mut self, peer: NodeId, now: Instant) {
        self.clients.remove(&peer);
        for handle in self.handles() {
            if self.get(handle).is_some_and(|it| it.peer == peer) {
                self.end(handle, &LinkEnd::Closed, now);
            }
        }
    }

    /// Says goodbye to everybody; afterwards nothing is dialled or accepted.
    pub(super) fn stop(&mut self, now: Instant) {
        self.is_stopping = true;
        self.dials.values_mut().for_each(VecDeque::clear);
        for handle in self.handles() {
            self.end(handle, &LinkEnd::Closed, now);
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Tells whether every goodbye has left and was waited for.
    pub(super) fn is_over(&self) -> bool {
        self.is_stopping && self.connections.iter().all(Option::is_none)
    }

    /// Takes one datagram from the socket, if there is one; an error of the network concerns one
    /// that was sent earlier.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.wire.socket.recv_from(buffer).ok()
    }

    /// Judges one datagram and gives it to its connection.
    pub(super) fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        let Some(len) = self.wire.judge(from, bytes) else {
            return;
        };
        self.wire.packet.clear();
        let data = BytesMut::from(&bytes[..len]);
        let packet = &mut self.wire.packet;
        match self.endpoint.handle(now, from, None, None, data, packet) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(connection) = self.get(handle) {
                    connection.quic.handle_event(event);
                    self.progress(handle, now);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.admit(incoming, now),
            Some(DatagramEvent::Response(answer)) => self.wire.answer(answer.destination),
            None => (),
        }
    }

    /// Calls the connections whose time has come.
    pub(super) fn tend(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        for handle in self.handles() {
            let Some(connection) = self.get(handle) else {
                continue;
            };
            if connection.due.is_some_and(|due| due <= now) {
                connection.quic.handle_timeout(now);
                self.progress(handle, now);
            }
            let state = self.get(handle).map(|connection| connection.state);
            if let Some(State::Opening { until }) = state
                && until <= now
            {
                self.end(handle, &LinkEnd::Ended, now);
            }
        }
        self.plan();
    }

    /// Sends what every connection has to say, in the order in which it was said; returns whether
    /// any of it may be answered, which an acknowledgement is not.
    pub(super) fn flush(&mut self, now: Instant) -> bool {
        if self.touched.is_empty() {
            return false;
        }
        let mut is_answered = mem::take(&mut self.has_asked);
        let mut touched = mem::take(&mut self.touched);
        // The first packet of each leaves before anything is looked up behind another one.
        touched.retain(|&handle| {
            let is_opening = self.get(handle).is_some_and(|link| link.state != State::Up);
            let has_sent = self.transmit(handle, now);
            is_answered |= has_sent && is_opening;
            if !has_sent {
                self.settle(handle);
            }
            has_sent
        });
        for handle in touched.drain(..) {
            while self.transmit(handle, now) {}
            self.settle(handle);
        }
        self.touched = touched;
        self.plan();
        is_answered
    }

    /// Sends one packet of a connection; returns whether there was one.
    fn transmit(&mut self, handle: ConnectionHandle, now: Instant) -> bool {
        let Some(Some(connection)) = self.connections.get_mut(handle.0) else {
            return false;
        };
        self.wire.packet.clear();
        let packet = &mut self.wire.packet;
        let Some(transmit) = connection.quic.poll_transmit(now, 1, packet) else {
            return false;
        };
        self.wire.answer(transmit.destination);
        true
    }

    /// Notes that a connection has nothing more to send.
    fn settle(&mut self, handle: ConnectionHandle) {
        if let Some(connection) = self.get(handle) {
            connection.is_touched = false;
            connection.due = connection.quic.poll_timeout();
            self.forward(handle);
        }
    }

    /// Sees to it that a connection is asked at the next flush.
    fn touch(&mut self, handle: ConnectionHandle) {
        if let Some(connection) = self.get(handle)
            && !mem::replace(&mut connection.is_touched, true)
        {
            self.touched.push(handle);
        }
    }

    fn admit(&mut self, incoming: Incoming, now: Instant) {
        self.wire.packet.clear();
        if !incoming.remote_address_validated() {
            self.stats.retries += 1;
            match self.endpoint.retry(incoming, &mut self.wire.packet) {
                Ok(retry) => self.wire.answer(retry.destination),
                Err(error) => self.endpoint.ignore(error.into_incoming()),
            }
            return;
        }
        let remote = incoming.remote_address();
        let peer = self.roster.gate().peer_at(remote);
        let peer = peer.filter(|&peer| !self.is_stopping && self.has_room(peer));
        let held = peer.and_then(|peer| Some((peer, self.roster.hold(remote, peer)?)));
        let Some((peer, held)) = held else {
            self.stats.crowded += 1;
            self.endpoint.ignore(incoming);
            return;
        };
        let packet = &mut self.wire.packet;
        match self.endpoint.accept(incoming, now, packet, None) {
            Ok((handle, quic)) => {
                let until = now + HANDSHAKE_DEADLINE;
                let link = ColoLink::new(quic, peer, Direction::Accepted, until, held);
                self.insert(handle, link);
                self.progress(handle, now);
            }
            Err(error) => {
                self.stats.refused += 1;
                if let Some(answer) = error.response {
                    self.wire.answer(answer.destination);
                }
            }
        }
    }

    /// Tries the next address of a dial; without one, the dial has failed.
    fn dial_next(&mut self, peer: NodeId, now: Instant) {
        while let Some(address) = self.dials.get_mut(&peer).and_then(VecDeque::pop_front) {
            if let Some((handle, quic, held)) = self.connect(peer, address, now) {
                let until = now + DIAL_DEADLINE;
                let link = ColoLink::new(quic, peer, Direction::Dialled, until, held);
                self.insert(handle, link);
                self.progress(handle, now);
                return;
            }
        }
        self.dials.remove(&peer);
        self.stats.dial_failed += 1;
        self.facts.push_back(Fact::DialFailed(peer));
    }

    fn connect(
        &mut self,
        peer: NodeId,
        address: SocketAddr,
        now: Instant,
    ) -> Option<(ConnectionHandle, Connection, Held)> {
        let config = self.client(peer)?;
        let held = self.roster.hold(address, peer)?;
        let name = pinned_tls::SERVER_NAME;
        let (handle, quic) = self.endpoint.connect(now, config, address, name).ok()?;
        Some((handle, quic, held))
    }

    fn client(&mut self, peer: NodeId) -> Option<ClientConfig> {
        let pin = self.roster.pin(peer)?;
        if let Some((of, config)) = self.clients.get(&peer)
            && *of == pin
        {
            return Some(config.clone());
        }
        let transport = Arc::clone(&self.transport);
        let config = quic::client(self.roster.credentials(), pin, transport).ok()?;
        self.clients.insert(peer, (pin, config.clone()));
        Some(config)
    }

    /// Takes everything a connection has to tell.
    fn progress(&mut self, handle: ConnectionHandle, now: Instant) {
        self.touch(handle);
        // The last event of a connection that times out comes together with its being drained.
        while let Some(Some(connection)) = self.connections.get_mut(handle.0) {
            let Some(event) = connection.quic.poll() else {
                self.forward(handle);
                return;
            };
            if connection.state == State::Over {
                continue;
            }
            let mut handled = connection.handle(&event, &mut self.facts);
            // A hello counts even if nothing comes behind it.
            if connection.state != State::Up && matches!(handled, Ok(()) | Err(LinkEnd::Ended)) {
                match connection.is_welcomed() {
                    Ok(true) => self.open(handle),
                    Ok(false) => (),
                    Err(end) => handled = Err(end),
                }
            }
            if let Err(why) = handled {
                self.end(handle, &why, now);
            }
        }
    }

    /// The peer's hello came: the link is up.
    fn open(&mut self, handle: ConnectionHandle) {
        let number = self.last_link.next();
        let Some(connection) = self.get(handle) else {
            return;
        };
        connection.state = State::Up;
        connection.live.number.set(number);
        let (peer, direction) = (connection.peer, connection.direction);
        let live = Rc::clone(&connection.live);
        self.last_link = number;
        self.links.insert(number, handle);
        match direction {
            Direction::Accepted => self.stats.accepted += 1,
            Direction::Dialled => {
                self.dials.remove(&peer);
                self.stats.dialled += 1;
            }
        }
        self.facts.push_back(Fact::Up(peer, number, direction));
        // What came behind the hello waits in the link's frames.
        self.facts
            .push_back(Fact::Stream(live, bytes::Bytes::new()));
    }

    /// Ends a connection once; what waits to be told of it is not told any more.
    fn end(&mut self, handle: ConnectionHandle, why: &LinkEnd, now: Instant) {
        let Some(connection) = self.get(handle) else {
            return;
        };
        let was = connection.state;
        if was == State::Over {
            return;
        }
        connection.close(now, why);
        let (peer, direction) = (connection.peer, connection.direction);
        let number = connection.live.number.get();
        tracing::debug!(%peer, remote = %connection.remote(), end = %why, "connection ended");
        self.touch(handle);
        match (was, direction) {
            (State::Up, _) => {
                self.links.remove(&number);
                self.stats.count_end(why);
                self.facts.push_back(Fact::Down(number));
            }
            (_, Direction::Accepted) => self.stats.refused += 1,
            (_, Direction::Dialled) => self.dial_next(peer, now),
        }
    }

    /// Carries what a connection has to say to its endpoint, until it is drained.
    fn forward(&mut self, handle: ConnectionHandle) {
        while let Some(Some(connection)) = self.connections.get_mut(handle.0) {
            let Some(event) = connection.quic.poll_endpoint_events() else {
                return;
            };
            let is_drained = event.is_drained();
            if let Some(answer) = self.endpoint.handle_event(handle, event) {
                connection.quic.handle_event(answer);
            }
            if is_drained {
                self.connections[handle.0] = None;
            }
        }
    }

    fn insert(&mut self, handle: ConnectionHandle, link: ColoLink) {
        if self.connections.len() <= handle.0 {
            self.connections.resize_with(handle.0 + 1, || None);
        }
        self.connections[handle.0] = Some(Box::new(link));
    }

    fn get(&mut self, handle: ConnectionHandle) -> Option<&mut ColoLink> {
        self.connections.get_mut(handle.0)?.as_deref_mut()
    }

    fn handles(&self) -> Vec<ConnectionHandle> {
        let taken = |&at: &usize| self.connections[at].is_some();
        (0..self.connections.len())
            .filter(taken)
            .map(ConnectionHandle)
            .collect()
    }

    /// Tells whether one more handshake with this peer may begin.
    fn has_room(&self, peer: NodeId) -> bool {
        let (mut handshakes, mut of_peer) = (0, 0);
        for link in self.connections.iter().flatten() {
            let is_accepted = link.direction == Direction::Accepted;
            let (is_handshake, is_link) = match link.state {
                State::Opening { .. } => (is_accepted, false),
                State::Up => (false, true),
                State::Over => (false, false),
            };
            handshakes += usize::from(is_handshake);
            of_peer += usize::from((is_handshake || is_link) && link.peer == peer);
        }
        handshakes < HANDSHAKES_MAX && of_peer < CONNECTIONS_PER_PEER_MAX
    }

    fn plan(&mut self) {
        let links = self.connections.iter().flatten();
        self.due = links.filter_map(|link| link.next_due()).min();
    }
}

pub(super) type Sent = Result<(), SendError>;

impl Wire {
    /// Judges a datagram; returns how many of its bytes are QUIC's, or `None` to drop it.
    fn judge(&mut self, from: SocketAddr, bytes: &[u8]) -> Option<usize> {
        let is_short = is_short(bytes) && !bytes.is_empty();
        if is_short && self.gate.is_proven(from, &mut self.proven) {
            self.passed += 1;
            return Some(bytes.len());
        }
        self.gate.handle_datagram(from, bytes)
    }

    /// Sends `packet`, or keeps silent. An error of the network, a full socket buffer among them,
    /// is a lost datagram: QUIC sends again.
    fn answer(&mut self, to: SocketAddr) {
        let is_plain = is_short(&self.packet) && self.gate.is_proven(to, &mut self.proven);
        let bytes = if is_plain {
            &self.packet
        } else {
            match self.gate.seal(to, &self.packet, &mut self.sealed) {
                Outgoing::Plain => &self.packet,
                Outgoing::Sealed => &self.sealed,
                Outgoing::Silence => return,
            }
        };
        if let Err(error) = self.socket.send_to(bytes, to) {
            tracing::trace!(%error, "datagram not sent");
        }
    }
}
