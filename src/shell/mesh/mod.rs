//! The mesh: QUIC connections with listed peers, by one of two transports.
//!
//! | profile | how it is driven | where it belongs |
//! |---|---|---|
//! | `shared` | quinn on the core's runtime, asleep between packets | a machine with other work |
//! | `colo` | quinn-proto by the core thread itself, which looks at the socket without sleeping while there is traffic | a core of one's own beside an exchange |
//!
//! Both speak the same wire, admit by the same rules, and link with each other.
//!
//! Every method returns at once and none of them calls the sink: what comes of it is told by the
//! mesh's own tasks. So a sink may call any method from within any of its own calls.
//!
//! - One `dial` is answered by exactly one `link_up` or `dial_failed`; a dial of a peer that is
//!   being dialled joins the one under way.
//! - One `link_up` is followed by exactly one `link_down`, also after `close`.

mod colo;
mod colo_core;
mod colo_link;
mod roster;
mod shared;
mod shared_link;

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use quinn_proto::{ConnectionError, PathStats};
use thiserror::Error;

use crate::latency::train::PathCount;
use crate::membership::Peer;
use crate::membership::knock::KnockStats;
use crate::model::ids::{LinkNo, NodeId};
use crate::model::time::{Span, Time};
use crate::shell::MeshSink;
use crate::shell::identity::Identity;
use crate::shell::mesh::roster::Roster;
use crate::shell::quic::QuicError;

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

/// Which transport drives the links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Shared,
    /// How long the core thread goes on looking after the last packet: `Duration::ZERO` never
    /// looks without being woken, `Duration::MAX` never sleeps.
    Colo {
        park_after: Duration,
    },
}

/// A handle of the mesh; clones are the same mesh.
#[derive(Clone)]
pub struct Mesh {
    roster: Rc<Roster>,
    transport: Rc<dyn Transport>,
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

/// Why something was not sent.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SendError {
    #[error("there is no such link")]
    NoLink,
    #[error("the queue was full; the link is closed")]
    Overflow,
    #[error("it is empty or too long")]
    Size,
}

/// Why a link ended.
#[derive(Debug, Error)]
enum LinkEnd {
    #[error("closed by this node")]
    Closed,
    #[error("the connection is gone")]
    Connection(#[source] ConnectionError),
    #[error("the peer ended its stream")]
    Ended,
    #[error("the peer sends more than its allowance")]
    Flood,
    #[error("a frame of {0} bytes")]
    Frame(u32),
    #[error("the peer's first frame is no hello")]
    Hello,
    #[error("the peer shows another key than it knocked with")]
    Key,
    #[error("more waits for the peer than its queue holds")]
    Overflow,
}

type Goodbye = Pin<Box<dyn Future<Output = ()>>>;

/// What a profile must do; [`Mesh`] says what each method means.
trait Transport {
    fn dial(self: Rc<Self>, peer: NodeId);
    fn close(&self, link: LinkNo);
    fn send_stream(&self, link: LinkNo, bytes: &[u8]) -> Result<(), SendError>;
    fn send_datagram(&self, link: LinkNo, bytes: &[u8]) -> Result<(), SendError>;
    fn flush(&self);
    fn datagram_bytes_max(&self, link: LinkNo) -> Option<usize>;
    fn path(&self, link: LinkNo) -> Option<PathStats>;
    fn is_idle(&self, link: LinkNo) -> bool;
    /// Closes every link with a peer.
    fn close_peer(&self, peer: NodeId);
    fn local_addr(&self) -> std::io::Result<SocketAddr>;
    /// Returns everything; of the knocks only those that passed without the gate being asked.
    fn stats(&self) -> MeshStats;
    fn stop(self: Rc<Self>) -> Goodbye;
}

impl Mesh {
    /// Opens the socket and listens. Needs a `LocalSet` on a current_thread runtime; no call of
    /// the sink is made before the caller yields.
    pub fn start(
        profile: Profile,
        identity: &Identity,
        listen: SocketAddr,
        peers: &[Peer],
        sink: Rc<dyn MeshSink>,
    ) -> Result<Self, QuicError> {
        let roster = Rc::new(Roster::new(identity));
        let transport = match profile {
            Profile::Shared => shared::start(Rc::clone(&roster), listen, sink)?,
            Profile::Colo { park_after } => {
                colo::start(Rc::clone(&roster), listen, park_after, sink)?
            }
        };
        let mesh = Self { roster, transport };
        mesh.set_peers(peers);
        Ok(mesh)
    }

    /// Dials a peer at its addresses in order.
    pub fn dial(&self, peer: NodeId) {
        Rc::clone(&self.transport).dial(peer);
    }

    /// Closes a link; unknown ones are closed already.
    pub fn close(&self, link: LinkNo) {
        self.transport.close(link);
    }

    /// Queues one frame of 1 to 65,536 bytes on the link's ordered stream.
    ///
    /// # Errors
    /// [`SendError::Overflow`]: the peer does not keep up; its link, and no other, is closed.
    pub fn send_stream(&self, link: LinkNo, bytes: &[u8]) -> Result<(), SendError> {
        self.transport.send_stream(link, bytes)
    }

    /// Queues one datagram, which may be lost; at most [`Mesh::datagram_bytes_max`] long.
    pub fn send_datagram(&self, link: LinkNo, bytes: &[u8]) -> Result<(), SendError> {
        self.transport.send_datagram(link, bytes)
    }

    /// Lets everything that was queued leave now, as far as the peers' windows allow. Without it,
    /// it leaves a moment later.
    pub fn flush(&self) {
        self.transport.flush();
    }

    /// Returns how long a datagram of this link can be.
    pub fn datagram_bytes_max(&self, link: LinkNo) -> Option<usize> {
        self.transport.datagram_bytes_max(link)
    }

    /// Returns QUIC's current estimate of the link's round-trip time.
    pub fn rtt(&self, link: LinkNo) -> Option<Span> {
        let rtt = self.transport.path(link)?.rtt;
        Some(Span(u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Returns what the link's connection has counted; the moment is the caller's to set.
    pub fn path_count(&self, link: LinkNo) -> Option<PathCount> {
        let path = self.transport.path(link)?;
        Some(PathCount {
            at: Time::ZERO,
            sent_packets: path.sent_packets,
            lost_packets: path.lost_packets,
            congestion_events: path.congestion_events,
            congestion_window_bytes: path.cwnd,
            path_switches: 0,
        })
    }

    /// Returns true while nothing of this link waits that a probe could delay: no frame, and half
    /// of the room for datagrams is free, which a probe leaves to quotes.
    pub fn is_idle(&self, link: LinkNo) -> bool {
        self.transport.is_idle(link)
    }

    /// Lists exactly these peers: others are removed, changed ones replaced.
    pub fn set_peers(&self, peers: &[Peer]) {
        for id in self.roster.ids() {
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
        if self.roster.knocks_otherwise(&peer) {
            self.remove_peer(peer.id);
        }
        self.roster.add(peer)
    }

    /// Strikes a peer off: nothing is heard from it any more and its links are closed.
    pub fn remove_peer(&self, id: NodeId) {
        if self.roster.remove(id) {
            self.transport.close_peer(id);
        }
    }

    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.transport.local_addr()
    }

    pub fn stats(&self) -> MeshStats {
        let mut stats = self.transport.stats();
        let passed = stats.knocks.passed;
        stats.knocks = self.roster.gate().stats();
        stats.knocks.passed += passed;
        stats
    }

    /// Closes every link and the endpoint and waits until all of it was told to the sink. If this
    /// was the last handle, the address is free again afterwards.
    pub async fn stop(self) {
        self.transport.stop().await;
    }
}

impl MeshStats {
    /// Counts how a link ended.
    fn count_end(&mut self, end: &LinkEnd) {
        match end {
            LinkEnd::Overflow => self.overflows += 1,
            LinkEnd::Flood => self.floods += 1,
            LinkEnd::Frame(_) => self.bad_frames += 1,
            LinkEnd::Closed
            | LinkEnd::Connection(_)
            | LinkEnd::Ended
            | LinkEnd::Hello
            | LinkEnd::Key => {}
        }
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Mesh")
            .field("own", &self.roster.own())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
