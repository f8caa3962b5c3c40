//! One connection of profile `colo`: its ordered stream of frames, its datagrams, its bounds.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{
    Connection, Dir, Event, ReadError, SendDatagramError, StreamEvent, StreamId, VarInt, WriteError,
};

use crate::membership::Direction;
use crate::model::ids::{LinkNo, NodeId};
use crate::shell::frames::{Allowance, FRAME_BYTES_MAX, Frames, HELLO, Waiting};
use crate::shell::mesh::roster::shown_by;
use crate::shell::mesh::{LinkEnd, SendError};
use crate::shell::quic::DATAGRAM_BUFFER_BYTES;
use crate::shell::silence::Held;

/// Something the sink is to be told once the connections are not borrowed any more.
#[derive(Debug)]
pub(super) enum Fact {
    Up(NodeId, LinkNo, Direction),
    Down(LinkNo),
    DialFailed(NodeId),
    /// Bytes of the stream; frames are cut as they are told.
    Stream(Rc<Live>, Bytes),
    Datagram(Rc<Live>, Bytes),
}

/// What telling a link's facts needs.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) number: Cell<LinkNo>,
    pub(super) frames: RefCell<Frames>,
    pub(super) allowance: Allowance,
    /// Nothing of the link is told any more but its end.
    pub(super) is_over: Cell<bool>,
}

/// One connection, from first packet to its last.
pub(super) struct ColoLink {
    pub(super) quic: Connection,
    pub(super) peer: NodeId,
    pub(super) direction: Direction,
    pub(super) state: State,
    pub(super) live: Rc<Live>,
    /// When QUIC wants to be called.
    pub(super) due: Option<Instant>,
    /// It is among those that are asked at the next flush.
    pub(super) is_touched: bool,
    sending: Option<StreamId>,
    receiving: Option<StreamId>,
    waiting: Waiting,
    _held: Held,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Until then the peer's hello must be there.
    Opening {
        until: Instant,
    },
    Up,
    /// Goodbyes may still leave.
    Over,
}

impl ColoLink {
    pub(super) fn new(
        quic: Connection,
        peer: NodeId,
        direction: Direction,
        until: Instant,
        held: Held,
    ) -> Self {
        Self {
            quic,
            peer,
            direction,
            state: State::Opening { until },
            live: Rc::new(Live {
                number: Cell::default(),
                frames: RefCell::default(),
                allowance: Allowance::new(),
                is_over: Cell::new(false),
            }),
            due: None,
            is_touched: false,
            sending: None,
            receiving: None,
            waiting: Waiting::default(),
            _held: held,
        }
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    /// Returns when this connection must be looked at.
    pub(super) fn next_due(&self) -> Option<Instant> {
        match self.state {
            State::Opening { until } => Some(self.due.map_or(until, |due| due.min(until))),
            State::Up | State::Over => self.due,
        }
    }

    /// Takes what QUIC tells; notes what the sink is to be told.
    ///
    /// # Errors
    /// The link must end.
    pub(super) fn handle(
        &mut self,
        event: &Event,
        facts: &mut VecDeque<Fact>,
    ) -> Result<(), LinkEnd> {
        match event {
            Event::Connected => self.say_hello(),
            Event::ConnectionLost { reason } => Err(LinkEnd::Connection(reason.clone())),
            Event::Stream(StreamEvent::Opened { .. }) => {
                if self.receiving.is_none() {
                    self.receiving = self.quic.streams().accept(Dir::Uni);
                }
                self.read(facts)
            }
            Event::Stream(StreamEvent::Readable { .. }) => self.read(facts),
            Event::Stream(StreamEvent::Writable { .. } | StreamEvent::Available { .. }) => {
                self.write()
            }
            Event::Stream(StreamEvent::Finished { .. } | StreamEvent::Stopped { .. }) => {
                Err(LinkEnd::Ended)
            }
            Event::DatagramReceived => {
                while let Some(bytes) = self.quic.datagrams().recv() {
                    if self.state == State::Up {
                        facts.push_back(Fact::Datagram(Rc::clone(&self.live), bytes));
                    }
                }
                Ok(())
            }
            Event::HandshakeDataReady | Event::DatagramsUnblocked => Ok(()),
        }
    }

    /// Queues one frame and gives QUIC what it takes at once.
    pub(super) fn send_frame(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        if bytes.is_empty() || bytes.len() > FRAME_BYTES_MAX {
            return Err(SendError::Size);
        }
        if !self.waiting.push(bytes) {
            return Err(SendError::Overflow);
        }
        // A stream that takes no more at all is told of by an event of its own.
        self.write().or(Ok(()))
    }

    /// Queues a datagram; the oldest waiting one is dropped if there is no room.
    pub(super) fn send_datagram(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let sent = (self.quic.datagrams()).send(Bytes::copy_from_slice(bytes), true);
        sent.map_err(|error| match error {
            SendDatagramError::TooLarge => SendError::Size,
            SendDatagramError::UnsupportedByPeer
            | SendDatagramError::Disabled
            | SendDatagramError::Blocked(_) => SendError::NoLink,
        })
    }

    pub(super) fn is_idle(&mut self) -> bool {
        let room = self.quic.datagrams().send_buffer_space();
        self.waiting.bytes().is_empty() && room >= DATAGRAM_BUFFER_BYTES / 2
    }

    /// Ends the connection; what QUIC still says of it is of no interest.
    pub(super) fn close(&mut self, now: Instant, why: &LinkEnd) {
        self.state = State::Over;
        self.live.is_over.set(true);
        let code = u32::from(matches!(why, LinkEnd::Hello | LinkEnd::Key));
        self.quic.close(now, VarInt::from_u32(code), Bytes::new());
    }

    /// A dialler's TLS is done before the listener has seen its certificate, so a link is up only
    /// once the other end's hello came.
    fn say_hello(&mut self) -> Result<(), LinkEnd> {
        let shown = self.quic.crypto_session().peer_identity();
        if shown.and_then(|shown| shown_by(&*shown)) != Some(self.peer) {
            return Err(LinkEnd::Key);
        }
        self.sending = self.quic.streams().open(Dir::Uni);
        self.waiting.push(HELLO);
        self.write()
    }

    /// Reads all there is. Before the hello it is kept, and only the hello is looked at.
    fn read(&mut self, facts: &mut VecDeque<Fact>) -> Result<(), LinkEnd> {
        let Some(id) = self.receiving else {
            return Ok(());
        };
        let is_up = self.state == State::Up;
        let mut stream = self.quic.recv_stream(id);
        let mut chunks = stream.read(true).map_err(|_| LinkEnd::Ended)?;
        let end = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) if is_up => {
                    facts.push_back(Fact::Stream(Rc::clone(&self.live), chunk.bytes));
                }
                Ok(Some(chunk)) => {
                    let mut frames = self.live.frames.borrow_mut();
                    frames.buffer.extend_from_slice(&chunk.bytes);
                }
                Err(ReadError::Blocked) => break Ok(()),
                Ok(None) | Err(ReadError::Reset(_)) => break Err(LinkEnd::Ended),
            }
        };
        // Whether a new window is due is asked at the next flush, which always follows.
        drop(chunks);
        end
    }

    /// Returns whether the peer's hello is there.
    ///
    /// # Errors
    /// The first frame is something else.
    pub(super) fn is_welcomed(&self) -> Result<bool, LinkEnd> {
        match self.live.frames.borrow_mut().next() {
            Ok(Some(frame)) if frame == HELLO => Ok(true),
            Ok(Some(_)) => Err(LinkEnd::Hello),
            Ok(None) => Ok(false),
            Err(length) => Err(LinkEnd::Frame(length)),
        }
    }

    fn write(&mut self) -> Result<(), LinkEnd> {
        let Some(id) = self.sending else {
            return Ok(());
        };
        while !self.waiting.bytes().is_empty() {
            match self.quic.send_stream(id).write(self.waiting.bytes()) {
                Ok(len) => self.waiting.advance(len),
                Err(WriteError::Blocked) => break,
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => {
                    return Err(LinkEnd::Ended);
                }
            }
        }
        Ok(())
    }
}
