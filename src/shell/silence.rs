//! The socket below QUIC: strangers are not heard, and nothing is said to them.
//!
//! One datagram a system call, no segmentation offload: each datagram is judged by itself. MTU
//! discovery stays off, as a datagram with a long header grows by the trailer.
#![expect(
    clippy::disallowed_methods,
    reason = "stamps need the wall clock, expiry a steady one"
)]

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use x25519_dalek::StaticSecret;

use crate::membership::knock::{Clocks, KnockStats, Knocks, Outgoing, is_short};
use crate::model::ids::NodeId;
use crate::model::time::Time;
use crate::shell::quic;

/// Datagrams dropped in one go before other tasks get their turn.
const DROPS_PER_POLL_MAX: usize = 64;
/// Addresses remembered as proven. Full: the gate is asked each time.
const PROVEN_MAX: usize = 32;
/// Bytes asked of the kernel for each direction.
const SEALED_BYTES: usize = 1_500;

/// The rules of who is heard, shared by the socket and the mesh.
#[derive(Debug)]
pub struct Gate {
    knocks: Mutex<Knocks>,
    /// Counts every change of who is heard where.
    changes: AtomicU64,
    begun: Instant,
}

/// Addresses that the gate was asked about since its last change.
#[derive(Debug, Default)]
pub struct Proven {
    changes: u64,
    addresses: Vec<SocketAddr>,
}

/// A connection's claim to be heard at its address; ends when dropped.
#[derive(Debug)]
pub struct Held {
    gate: Arc<Gate>,
    address: SocketAddr,
    peer: NodeId,
}

/// A UDP socket that only lets members through.
pub struct SilentSocket {
    socket: UdpSocket,
    gate: Arc<Gate>,
    sealed: Mutex<Vec<u8>>,
}

impl Gate {
    pub fn new(own: NodeId, secret: StaticSecret) -> Arc<Self> {
        Arc::new(Self {
            knocks: Mutex::new(Knocks::new(own, secret)),
            changes: AtomicU64::new(0),
            begun: Instant::now(),
        })
    }

    /// Lets a peer be heard; see [`Knocks::add`].
    pub fn add(&self, peer: NodeId, knock: &[u8; 32]) -> bool {
        let clocks = self.clocks();
        let added = self.lock().add(peer, knock, clocks);
        self.note_change();
        added
    }

    pub fn remove(&self, peer: NodeId) {
        let now = self.clocks().now;
        self.lock().remove(peer, now);
        self.note_change();
    }

    /// Hears and answers `peer` at an address until the claim is dropped; see [`Knocks::hold`].
    pub fn hold(self: &Arc<Self>, address: SocketAddr, peer: NodeId) -> Option<Held> {
        let now = self.clocks().now;
        let held = self.lock().hold(address, peer, now);
        self.note_change();
        held.then(|| Held {
            gate: Arc::clone(self),
            address,
            peer,
        })
    }

    pub fn peer_at(&self, address: SocketAddr) -> Option<NodeId> {
        self.lock().peer_at(address)
    }

    /// Judges a datagram; returns how many of its bytes are QUIC's, or `None` to drop it.
    pub fn handle_datagram(&self, from: SocketAddr, bytes: &[u8]) -> Option<usize> {
        if is_short(bytes) {
            return self.lock().handle_short(from, bytes);
        }
        let clocks = self.clocks();
        self.lock().handle_datagram(from, bytes, clocks)
    }

    /// Judges an outgoing datagram; writes it with its trailer where it needs one.
    pub fn seal(&self, to: SocketAddr, packet: &[u8], sealed: &mut Vec<u8>) -> Outgoing {
        if is_short(packet) && self.lock().is_held(to) {
            return Outgoing::Plain;
        }
        let clocks = self.clocks();
        self.lock().seal(to, packet, clocks, sealed)
    }

    pub fn stats(&self) -> KnockStats {
        self.lock().stats()
    }

    /// Tells whether packets of a connection may pass from and to an address, and remembers it in
    /// `proven` until somebody comes or goes.
    pub fn is_proven(&self, address: SocketAddr, proven: &mut Proven) -> bool {
        let changes = self.changes.load(Ordering::Acquire);
        if proven.changes != changes {
            proven.addresses.clear();
            proven.changes = changes;
        }
        if proven.addresses.contains(&address) {
            return true;
        }
        let is_held = self.lock().is_held(address);
        if is_held && proven.addresses.len() < PROVEN_MAX {
            proven.addresses.push(address);
        }
        is_held
    }

    fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    fn lock(&self) -> MutexGuard<'_, Knocks> {
        self.knocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clocks(&self) -> Clocks {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let steady = self.begun.elapsed();
        Clocks {
            now: Time(u64::try_from(steady.as_nanos()).unwrap_or(u64::MAX)),
            wall_ms: wall.map_or(0, |wall| {
                u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
            }),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let now = self.gate.clocks().now;
        self.gate.lock().release(self.address, self.peer, now);
        self.gate.note_change();
    }
}

impl SilentSocket {
    /// Binds a socket behind a gate. Needs a tokio runtime.
    pub fn bind(address: SocketAddr, gate: Arc<Gate>) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            socket: UdpSocket::from_std(quic::socket(address)?)?,
            gate,
            sealed: Mutex::new(Vec::with_capacity(SEALED_BYTES)),
        }))
    }

    /// Receives one datagram into `buffer`; its length is zero if it was dropped.
    fn poll_one(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut read = ReadBuf::new(buffer);
        match self.socket.poll_recv_from(cx, &mut read) {
            Poll::Ready(Ok(from)) => {
                let passed = self.gate.handle_datagram(from, read.filled());
                Poll::Ready(Ok((passed.unwrap_or(0), from)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncUdpSocket for SilentSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(WhenWritable {
            socket: self,
            waiting: None,
        })
    }

    /// Sends, or keeps silent. An error of the network is a lost datagram: QUIC sends again.
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut sealed = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
        let (to, packet) = (transmit.destination, transmit.contents);
        let bytes = match self.gate.seal(to, packet, &mut sealed) {
            Outgoing::Plain => packet,
            Outgoing::Sealed => &sealed,
            Outgoing::Silence => return Ok(()),
        };
        match self.socket.try_send_to(bytes, to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut filled = 0;
        let mut dropped = 0;
        while filled < buffers.len().min(metas.len()) && dropped < DROPS_PER_POLL_MAX {
            match self.poll_one(cx, &mut buffers[filled]) {
                Poll::Ready(Ok((0, _)) | Err(_)) => dropped += 1,
                Poll::Ready(Ok((len, addr))) => {
                    metas[filled] = RecvMeta {
                        addr,
                        len,
                        stride: len,
                        ecn: None,
                        dst_ip: None,
                    };
                    filled += 1;
                }
                Poll::Pending if filled == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if filled == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(filled))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        1
    }

    fn max_receive_segments(&self) -> usize {
        1
    }

    fn may_fragment(&self) -> bool {
        true
    }
}

impl fmt::Debug for SilentSocket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SilentSocket")
            .field("address", &self.socket.local_addr().ok())
            .finish_non_exhaustive()
    }
}

type Waiting = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Wakes one task when the socket can take a datagram again.
struct WhenWritable {
    socket: Arc<SilentSocket>,
    waiting: Option<Waiting>,
}

impl UdpPoller for WhenWritable {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = Arc::clone(&self.socket);
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(async move { socket.socket.writable().await }));
        let polled = waiting.as_mut().poll(cx);
        if polled.is_ready() {
            self.waiting = None;
        }
        polled
    }
}

impl fmt::Debug for WhenWritable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WhenWritable")
            .finish_non_exhaustive()
    }
}
