//! One connection of profile `shared`: its ordered stream of frames, its datagrams, its bounds.
//!
//! Each end opens one stream. A frame is its length (u32, big endian) and 1 to 65,536 bytes; the
//! first frame is the hello. A dialler's TLS is done before the listener has seen its certificate,
//! so a link is up only once the other end's hello came.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream, VarInt};

use crate::model::ids::{LinkNo, NodeId};
use crate::shell::MeshSink;
use crate::shell::frames::{Allowance, FRAME_BYTES_MAX, Frames, HELLO, Waiting, framed};
use crate::shell::mesh::{LinkEnd, SendError};
use crate::shell::quic::DATAGRAM_BUFFER_BYTES;
use crate::shell::silence::Held;

const READ_BYTES: usize = 4 * 1_024;

/// One authenticated connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) number: LinkNo,
    pub(super) peer: NodeId,
    connection: Connection,
    sending: RefCell<Sending>,
    overflowed: Cell<bool>,
    closing: Cell<bool>,
    allowance: Allowance,
    _held: Held,
}

/// The receiving end of a link, until it runs.
#[derive(Debug)]
pub(super) struct Receiving {
    stream: RecvStream,
    frames: Frames,
}

#[derive(Debug)]
struct Sending {
    stream: SendStream,
    waiting: Waiting,
    /// The link's own task, once it waits.
    waker: Option<Waker>,
}

impl Link {
    /// Exchanges hellos; done when the other end has said that it let us in.
    pub(super) async fn open(
        number: LinkNo,
        peer: NodeId,
        connection: Connection,
        held: Held,
    ) -> Result<(Self, Receiving), LinkEnd> {
        let mut stream = connection.open_uni().await.map_err(LinkEnd::Connection)?;
        stream
            .write_all(&framed(HELLO))
            .await
            .map_err(|_| LinkEnd::Ended)?;
        let incoming = connection.accept_uni().await.map_err(LinkEnd::Connection)?;
        let mut receiving = Receiving {
            stream: incoming,
            frames: Frames::default(),
        };
        let hello = loop {
            if let Some(frame) = receiving.frames.next().map_err(LinkEnd::Frame)? {
                break frame == HELLO;
            }
            receiving.read().await?;
        };
        if !hello {
            connection.close(VarInt::from_u32(1), b"");
            return Err(LinkEnd::Hello);
        }
        let link = Self {
            number,
            peer,
            connection,
            sending: RefCell::new(Sending {
                stream,
                waiting: Waiting::default(),
                waker: None,
            }),
            overflowed: Cell::new(false),
            closing: Cell::new(false),
            allowance: Allowance::new(),
            _held: held,
        };
        Ok((link, receiving))
    }

    /// Serves the link until it ends; the caller then tells the sink.
    pub(super) async fn run(&self, receiving: Receiving, sink: &dyn MeshSink) -> LinkEnd {
        let end = tokio::select! {
            biased;
            end = poll_fn(|cx| self.sending.borrow_mut().poll_flush(cx)) => end,
            end = self.read_frames(receiving, sink) => end,
            end = self.read_datagrams(sink) => end,
        };
        self.connection.close(VarInt::from_u32(0), b"");
        if self.overflowed.get() {
            return LinkEnd::Overflow;
        }
        if self.closing.get() {
            LinkEnd::Closed
        } else {
            end
        }
    }

    /// Queues one frame; what the connection takes at once does not wait for a task.
    pub(super) fn send_frame(&self, bytes: &[u8]) -> Result<(), SendError> {
        if self.closing.get() {
            return Err(SendError::NoLink);
        }
        if bytes.is_empty() || bytes.len() > FRAME_BYTES_MAX {
            return Err(SendError::Size);
        }
        let mut sending = self.sending.borrow_mut();
        if !sending.waiting.push(bytes) {
            self.overflowed.set(true);
            drop(sending);
            self.close();
            return Err(SendError::Overflow);
        }
        sending.flush();
        Ok(())
    }

    /// Sends a datagram; the oldest waiting one is dropped if there is no room.
    pub(super) fn send_datagram(&self, bytes: &[u8]) -> Result<(), SendError> {
        if self.closing.get() {
            return Err(SendError::NoLink);
        }
        self.connection
            .send_datagram(Bytes::copy_from_slice(bytes))
            .map_err(|error| match error {
                quinn::SendDatagramError::TooLarge => SendError::Size,
                quinn::SendDatagramError::UnsupportedByPeer
                | quinn::SendDatagramError::Disabled
                | quinn::SendDatagramError::ConnectionLost(_) => SendError::NoLink,
            })
    }

    pub(super) fn is_idle(&self) -> bool {
        let sending = self.sending.borrow();
        let room = self.connection.datagram_send_buffer_space();
        sending.waiting.bytes().is_empty() && room >= DATAGRAM_BUFFER_BYTES / 2
    }

    /// Ends the link; its task reports that to the sink, never this call.
    pub(super) fn close(&self) {
        self.closing.set(true);
        self.connection.close(VarInt::from_u32(0), b"");
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    async fn read_frames(&self, mut receiving: Receiving, sink: &dyn MeshSink) -> LinkEnd {
        loop {
            loop {
                match receiving.frames.next() {
                    Ok(Some(_)) if self.closing.get() => return LinkEnd::Closed,
                    Ok(Some(_)) if !self.allowance.take() => return LinkEnd::Flood,
                    Ok(Some(frame)) => sink.stream_frame(self.number, frame),
                    Ok(None) => break,
                    Err(length) => return LinkEnd::Frame(length),
                }
            }
            if let Err(end) = receiving.read().await {
                return end;
            }
        }
    }

    async fn read_datagrams(&self, sink: &dyn MeshSink) -> LinkEnd {
        loop {
            match self.connection.read_datagram().await {
                Ok(_) if self.closing.get() => return LinkEnd::Closed,
                Ok(_) if !self.allowance.take() => return LinkEnd::Flood,
                Ok(bytes) => sink.datagram(self.number, &bytes),
                Err(error) => return LinkEnd::Connection(error),
            }
        }
    }
}

impl Receiving {
    async fn read(&mut self) -> Result<(), LinkEnd> {
        let filled = self.frames.buffer.len();
        self.frames.buffer.resize(filled + READ_BYTES, 0);
        let read = self.stream.read(&mut self.frames.buffer[filled..]).await;
        let len = match read {
            Ok(Some(len)) => len,
            Ok(None) | Err(_) => 0,
        };
        self.frames.buffer.truncate(filled + len);
        match read {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(LinkEnd::Ended),
            Err(quinn::ReadError::ConnectionLost(error)) => Err(LinkEnd::Connection(error)),
            Err(_) => Err(LinkEnd::Ended),
        }
    }
}

impl Sending {
    /// Writes on behalf of the link's task, which is woken when there is room again.
    fn flush(&mut self) {
        if let Some(waker) = self.waker.take()
            && self.poll_flush(&mut Context::from_waker(&waker)).is_ready()
        {
            waker.wake();
        }
    }

    /// Writes what the stream takes; ready only when the stream is broken.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<LinkEnd> {
        if self
            .waker
            .as_ref()
            .is_none_or(|waker| !waker.will_wake(cx.waker()))
        {
            self.waker = Some(cx.waker().clone());
        }
        while !self.waiting.bytes().is_empty() {
            let stream = Pin::new(&mut self.stream);
            match stream.poll_write(cx, self.waiting.bytes()) {
                Poll::Ready(Ok(len)) => self.waiting.advance(len),
                Poll::Ready(Err(_)) => return Poll::Ready(LinkEnd::Ended),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }
}
