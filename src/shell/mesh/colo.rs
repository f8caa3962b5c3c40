//! Profile `colo`: the core thread drives QUIC itself and looks at the socket without sleeping
//! while there is traffic.
//!
//! ```text
//! hot: turn, turn, turn, yield ──nothing for park_after──▶ parked: wait for packet, timer, or a
//!   ▲                                                        call that queued something
//!   └────────────────────────any of them───────────────────────┘
//! ```
//! A turn takes what the socket has, calls the sink for each packet at once, and sends what that
//! led to. The runtime gets the thread right after a turn that had something to do, as no answer to
//! it can be there yet, and else every few turns, so feeds and order connections wait ten
//! microseconds at most. Waking up a parked thread costs more than a round trip beside it, so
//! parking in less than two milliseconds loses what the profile is for.
#![expect(
    clippy::disallowed_methods,
    reason = "QUIC's timers and the time until parking are the transport's own"
)]

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use quinn_proto::PathStats;
use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::task::{spawn_local, yield_now};
use tokio::time::{sleep_until, timeout};

use crate::model::ids::{LinkNo, NodeId};
use crate::shell::MeshSink;
use crate::shell::mesh::colo_core::{Core, Sent};
use crate::shell::mesh::colo_link::{Fact, Live};
use crate::shell::mesh::roster::Roster;
use crate::shell::mesh::{Goodbye, LinkEnd, MeshStats, STOP_DEADLINE, SendError, Transport};
use crate::shell::quic::{self, QuicError};

/// Looks at the socket before the runtime gets its turn, while answers may be on their way.
const TURNS_PER_YIELD: u32 = 32;
/// The same when nothing that may be answered was sent for longer than [`ANSWERED_WITHIN`]: feeds
/// matter as much then.
const QUIET_TURNS_PER_YIELD: u32 = 2;
const ANSWERED_WITHIN: Duration = Duration::from_micros(50);
/// Datagrams taken in one turn before what they led to is sent.
const RECEIVES_PER_TURN_MAX: usize = 32;
/// Longer than any datagram between members; what fills it is not one of theirs.
const RECEIVE_BYTES: usize = 2_048;

struct Colo {
    core: RefCell<Option<Core>>,
    address: SocketAddr,
    park_after: Duration,
    /// Something was queued while the thread was parked.
    queued: Notify,
    is_parked: Cell<bool>,
    /// The time of the turn under way: what one datagram leads to happens at one time.
    turn_at: Cell<Option<Instant>>,
    /// When a packet last came or something was last sent, and when something was last sent that
    /// may be answered.
    active: Cell<Instant>,
    sent: Cell<Instant>,
    ended: Notify,
    sink: Rc<dyn MeshSink>,
}

/// Opens the socket and listens.
pub(super) fn start(
    roster: Rc<Roster>,
    listen: SocketAddr,
    park_after: Duration,
    sink: Rc<dyn MeshSink>,
) -> Result<Rc<dyn Transport>, QuicError> {
    let socket = quic::socket(listen)?;
    let address = socket.local_addr()?;
    let alarm = tokio::net::UdpSocket::from_std(socket.try_clone()?)?;
    let core = Core::new(roster, socket)?;
    let colo = Rc::new(Colo {
        core: RefCell::new(Some(core)),
        address,
        park_after,
        queued: Notify::new(),
        is_parked: Cell::new(false),
        turn_at: Cell::new(None),
        active: Cell::new(Instant::now()),
        sent: Cell::new(Instant::now()),
        ended: Notify::new(),
        sink,
    });
    spawn_local(Rc::clone(&colo).drive(alarm));
    Ok(colo)
}

impl Transport for Colo {
    fn dial(self: Rc<Self>, peer: NodeId) {
        self.change(|core, now| core.dial(peer, now));
    }

    fn close(&self, link: LinkNo) {
        self.change(|core, now| core.end_link(link, &LinkEnd::Closed, now));
    }

    fn send_stream(&self, link: LinkNo, bytes: &[u8]) -> Sent {
        self.change(|core, now| core.send_stream(link, bytes, now))
            .unwrap_or(Err(SendError::NoLink))
    }

    fn send_datagram(&self, link: LinkNo, bytes: &[u8]) -> Sent {
        self.change(|core, _| core.send_datagram(link, bytes))
            .unwrap_or(Err(SendError::NoLink))
    }

    fn flush(&self) {
        if let Some(core) = &mut *self.core.borrow_mut()
            && core.is_touched()
        {
            let now = self.now();
            self.note_sent(core.flush(now), now);
        }
    }

    fn datagram_bytes_max(&self, link: LinkNo) -> Option<usize> {
        self.core.borrow_mut().as_mut()?.datagram_bytes_max(link)
    }

    fn path(&self, link: LinkNo) -> Option<PathStats> {
        self.core.borrow().as_ref()?.path(link)
    }

    fn is_idle(&self, link: LinkNo) -> bool {
        let mut core = self.core.borrow_mut();
        core.as_mut().is_some_and(|core| core.is_idle(link))
    }

    fn close_peer(&self, peer: NodeId) {
        self.change(|core, now| core.end_peer(peer, now));
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn stats(&self) -> MeshStats {
        let core = self.core.borrow();
        core.as_ref().map(Core::stats).unwrap_or_default()
    }

    fn stop(self: Rc<Self>) -> Goodbye {
        self.change(Core::stop);
        Box::pin(async move {
            let ended = self.ended.notified();
            if self.core.borrow().is_some() && timeout(STOP_DEADLINE, ended).await.is_err() {
                tracing::debug!("the mesh did not end in time");
            }
        })
    }
}

impl Colo {
    /// Returns the time, as it was at the last datagram where a turn is under way.
    fn now(&self) -> Instant {
        self.turn_at.get().unwrap_or_else(Instant::now)
    }

    /// Changes the core and sees to it that what follows is looked at.
    fn change<T>(&self, change: impl FnOnce(&mut Core, Instant) -> T) -> Option<T> {
        let changed = change(self.core.borrow_mut().as_mut()?, self.now());
        if self.is_parked.get() {
            self.queued.notify_one();
        }
        Some(changed)
    }

    /// Drives the links until the mesh was stopped and its goodbyes are over. `alarm` is the same
    /// socket once more, for waiting only.
    async fn drive(self: Rc<Self>, alarm: tokio::net::UdpSocket) {
        let mut buffer = [0; RECEIVE_BYTES];
        let mut until = None;
        let mut turns = TURNS_PER_YIELD;
        loop {
            let (mut is_busy, mut now) = self.turn(&mut buffer);
            for _ in 1..turns {
                // No answer can be there yet: until it can, the runtime's turn is free.
                if is_busy {
                    break;
                }
                (is_busy, now) = self.turn(&mut buffer);
            }
            let quiet_for = now.duration_since(self.active.get());
            turns = if now.duration_since(self.sent.get()) > ANSWERED_WITHIN {
                QUIET_TURNS_PER_YIELD
            } else {
                TURNS_PER_YIELD
            };
            let is_over = match &*self.core.borrow() {
                Some(core) if core.is_stopping() => {
                    core.is_over() || *until.get_or_insert(now + STOP_DEADLINE) <= now
                }
                Some(_) => false,
                None => true,
            };
            if is_over {
                break;
            }
            if !is_busy && quiet_for >= self.park_after {
                self.park(&alarm).await;
            } else {
                yield_now().await;
            }
        }
        self.core.replace(None);
        drop(alarm);
        self.ended.notify_one();
    }

    fn note_sent(&self, is_answered: bool, now: Instant) {
        self.active.set(now);
        if is_answered {
            self.sent.set(now);
        }
    }

    /// Takes what the socket has, tells what came of it, and sends what that led to. Returns
    /// whether there was anything, and the time.
    fn turn(&self, buffer: &mut [u8; RECEIVE_BYTES]) -> (bool, Instant) {
        let mut now = Instant::now();
        self.turn_at.set(Some(now));
        let mut is_busy = false;
        for _ in 0..RECEIVES_PER_TURN_MAX {
            let received = self
                .core
                .borrow()
                .as_ref()
                .and_then(|core| core.receive(buffer));
            match received {
                Some((len, from)) => {
                    is_busy = true;
                    self.active.set(now);
                    if let Some(core) = &mut *self.core.borrow_mut()
                        && len < buffer.len()
                    {
                        core.handle_datagram(from, &buffer[..len], now);
                    }
                    self.tell();
                    now = Instant::now();
                    self.turn_at.set(Some(now));
                }
                None => break,
            }
        }
        if let Some(core) = &mut *self.core.borrow_mut() {
            core.tend(now);
        }
        self.tell();
        if let Some(core) = &mut *self.core.borrow_mut()
            && core.is_touched()
        {
            self.note_sent(core.flush(now), now);
            is_busy = true;
        }
        self.turn_at.set(None);
        (is_busy, now)
    }

    /// Tells the sink what there is, while nothing is borrowed: it may call any method.
    fn tell(&self) {
        loop {
            let fact = self.core.borrow_mut().as_mut().and_then(Core::next_fact);
            match fact {
                Some(Fact::Up(peer, link, direction)) => self.sink.link_up(peer, link, direction),
                Some(Fact::Down(link)) => self.sink.link_down(link),
                Some(Fact::DialFailed(peer)) => self.sink.dial_failed(peer),
                Some(Fact::Stream(live, bytes)) => self.tell_frames(&live, &bytes),
                Some(Fact::Datagram(live, bytes)) => {
                    if live.is_over.get() {
                        continue;
                    }
                    if live.allowance.take() {
                        self.sink.datagram(live.number.get(), &bytes);
                    } else {
                        self.end(&live, &LinkEnd::Flood);
                    }
                }
                None => return,
            }
        }
    }

    fn tell_frames(&self, live: &Live, bytes: &[u8]) {
        let mut frames = live.frames.take();
        frames.buffer.extend_from_slice(bytes);
        while !live.is_over.get() {
            match frames.next() {
                Ok(Some(_)) if !live.allowance.take() => self.end(live, &LinkEnd::Flood),
                Ok(Some(frame)) => self.sink.stream_frame(live.number.get(), frame),
                Ok(None) => break,
                Err(length) => self.end(live, &LinkEnd::Frame(length)),
            }
        }
        live.frames.replace(frames);
    }

    fn end(&self, live: &Live, why: &LinkEnd) {
        self.change(|core, now| core.end_link(live.number.get(), why, now));
    }

    /// Sleeps until a packet comes, a timer is due, or something was queued.
    async fn park(&self, alarm: &tokio::net::UdpSocket) {
        let due = self.core.borrow().as_ref().and_then(Core::due);
        let timer = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => pending().await,
            }
        };
        self.is_parked.set(true);
        tokio::select! {
            biased;
            () = self.queued.notified() => (),
            _ = alarm.readable() => {
                // The turns that follow read until nothing is left; a packet that comes later
                // rings again.
                let quiet = || Err::<(), _>(ErrorKind::WouldBlock.into());
                alarm.try_io(Interest::READABLE, quiet).unwrap_or_default();
            }
            () = timer => (),
        }
        self.is_parked.set(false);
    }
}
