//! Who listens to what: plain WebSockets and socket.io, subscriptions, frames on their way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::time::{Span, Time};
use crate::venue::StreamNo;
use crate::venue::mtgox::json::json_of;
use crate::venue::mtgox::message::Subscribed;
use crate::venue::mtgox::names::{Channel, Names};
use crate::venue::serving::fault::{Fault, Faults};
use crate::venue::socketio;

/// Where a stream's data are in socket.io.
pub(super) const NAMESPACE: &str = "/mtgox";

/// Every stream, and the sessions that may become one.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<StreamNo, Stream>,
    sessions: VecDeque<Session>,
    closed: VecDeque<StreamNo>,
}

/// One client on a stream.
#[derive(Debug)]
struct Stream {
    is_socketio: bool,
    /// Whether data may be sent: in socket.io only after the namespace was joined.
    is_joined: bool,
    channels: BTreeSet<Channel>,
    /// What is to be sent first.
    greetings: Vec<Vec<u8>>,
    /// A depth frame that waits for the next one (fault).
    overtaken: Option<Vec<u8>>,
    heard_at: Time,
    beat_at: Time,
}

/// A handshake of socket.io that no WebSocket followed yet.
#[derive(Debug)]
struct Session {
    name: String,
    query: String,
    until: Time,
}

impl Streams {
    /// Streams of one venue; one more is refused.
    pub(super) const STREAMS_MAX: usize = 1_024;
    /// Handshakes that are remembered; one more makes the venue forget the oldest.
    const SESSIONS_MAX: usize = 1_024;
    /// How long a handshake is good for.
    const SESSION_LASTS: Span = Span::secs(30);
    /// Seconds after which either side of socket.io takes the other for dead, as its handshake
    /// says (the defaults of socket.io 0.9).
    pub(super) const SILENCE_SECS: u64 = 60;
    /// Between two heartbeats of the venue.
    const BEAT_EVERY: Span = Span::secs(25);
    /// Channels of one stream; one more is refused.
    const CHANNELS_MAX: usize = 256;

    pub(super) fn add_session(&mut self, name: String, query: &str, now: Time) {
        if self.sessions.len() >= Self::SESSIONS_MAX {
            self.sessions.pop_front();
        }
        self.sessions.push_back(Session {
            name,
            query: query.to_owned(),
            until: now + Self::SESSION_LASTS,
        });
    }

    /// Returns the query of a handshake that is still good; it is good once.
    pub(super) fn take_session(&mut self, name: &str, now: Time) -> Option<String> {
        self.sessions.retain(|session| now < session.until);
        let at = self.sessions.iter().position(|known| known.name == name)?;
        self.sessions.remove(at).map(|session| session.query)
    }

    /// Opens a stream; false where there is no room.
    pub(super) fn open(
        &mut self,
        no: StreamNo,
        is_socketio: bool,
        channels: BTreeSet<Channel>,
        names: &Names,
        now: Time,
    ) -> bool {
        if self.open.len() >= Self::STREAMS_MAX {
            return false;
        }
        let mut stream = Stream {
            is_socketio,
            is_joined: !is_socketio,
            channels,
            greetings: Vec::new(),
            overtaken: None,
            heard_at: now,
            beat_at: now + Self::BEAT_EVERY,
        };
        if is_socketio {
            stream.greetings.push(b"1::".to_vec());
        } else {
            stream.greet_channels(names);
        }
        self.open.insert(no, stream).is_none()
    }

    pub(super) fn close(&mut self, no: StreamNo) {
        self.open.remove(&no);
    }

    /// Ends a stream from this side.
    pub(super) fn hang_up(&mut self, no: StreamNo) {
        if self.open.remove(&no).is_some() {
            self.closed.push_back(no);
        }
    }

    pub(super) fn pop_closed(&mut self) -> Option<StreamNo> {
        self.closed.pop_front()
    }

    /// Takes note that a stream spoke, and returns whether it is socket.io.
    pub(super) fn heard(&mut self, no: StreamNo, now: Time) -> Option<bool> {
        let stream = self.open.get_mut(&no)?;
        stream.heard_at = now;
        Some(stream.is_socketio)
    }

    pub(super) fn join(&mut self, no: StreamNo, names: &Names) {
        if let Some(stream) = self.open.get_mut(&no) {
            let join = format!("1::{NAMESPACE}").into_bytes();
            stream.greetings.push(join);
            if !std::mem::replace(&mut stream.is_joined, true) {
                stream.greet_channels(names);
            }
        }
    }

    /// Adds a channel; false where the stream has too many.
    pub(super) fn subscribe(&mut self, no: StreamNo, channel: Channel) -> bool {
        self.open.get_mut(&no).is_some_and(|stream| {
            let fits = stream.channels.len() < Self::CHANNELS_MAX;
            (fits && stream.channels.insert(channel)) || stream.channels.contains(&channel)
        })
    }

    pub(super) fn unsubscribe(&mut self, no: StreamNo, channel: Channel) {
        if let Some(stream) = self.open.get_mut(&no) {
            stream.channels.remove(&channel);
        }
    }

    /// Returns true where somebody listens to a channel.
    pub(super) fn has(&self, channel: Channel) -> bool {
        self.open
            .values()
            .any(|stream| stream.channels.contains(&channel))
    }

    /// Sends a message to one stream.
    pub(super) fn send(&self, no: StreamNo, message: &[u8], push: &mut dyn FnMut(StreamNo, &[u8])) {
        if let Some(stream) = self.open.get(&no) {
            stream.push(no, message, push);
        }
    }

    /// Sends a message to all who listen to a channel. Depth frames may meet a fault on the way.
    pub(super) fn broadcast(
        &mut self,
        channel: Channel,
        message: &[u8],
        faults: &mut Faults,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        let mut disconnected = Vec::new();
        let is_depth = matches!(channel, Channel::Depth(_));
        for (no, stream) in &mut self.open {
            if !stream.is_joined || !stream.channels.contains(&channel) {
                continue;
            }
            if !is_depth {
                stream.push(*no, message, push);
            } else if faults.strikes(Fault::Disconnects) {
                disconnected.push(*no);
            } else if faults.strikes(Fault::LostFrames) {
                continue;
            } else if stream.overtaken.is_none() && faults.strikes(Fault::ReorderedFrames) {
                stream.overtaken = Some(message.to_vec());
            } else {
                stream.push(*no, message, push);
                if let Some(late) = stream.overtaken.take() {
                    stream.push(*no, &late, push);
                }
            }
        }
        for no in disconnected {
            self.hang_up(no);
        }
    }

    /// Sends what new streams are greeted with.
    pub(super) fn greet(&mut self, push: &mut dyn FnMut(StreamNo, &[u8])) {
        for (no, stream) in &mut self.open {
            for frame in stream.greetings.drain(..) {
                push(*no, &frame);
            }
        }
    }

    /// Sends the heartbeats that are due, and ends the streams that are silent for too long.
    pub(super) fn beat(&mut self, now: Time, push: &mut dyn FnMut(StreamNo, &[u8])) {
        let mut silent = Vec::new();
        for (no, stream) in self
            .open
            .iter_mut()
            .filter(|(_, stream)| stream.is_socketio)
        {
            if now.since(stream.heard_at) > Span::secs(Self::SILENCE_SECS) {
                silent.push(*no);
            } else if now >= stream.beat_at {
                stream.beat_at = now + Self::BEAT_EVERY;
                push(*no, b"2::");
            }
        }
        for no in silent {
            self.hang_up(no);
        }
    }
}

impl Stream {
    fn greet_channels(&mut self, names: &Names) {
        for channel in &self.channels {
            let frame = json_of(&Subscribed {
                op: "subscribe",
                channel: channel.uuid(names).to_string(),
            });
            let frame = framed(self.is_socketio, &frame);
            self.greetings.push(frame);
        }
    }

    fn push(&self, no: StreamNo, message: &[u8], push: &mut dyn FnMut(StreamNo, &[u8])) {
        if self.is_socketio {
            push(no, &socketio::json(NAMESPACE, message));
        } else {
            push(no, message);
        }
    }
}

fn framed(is_socketio: bool, message: &[u8]) -> Vec<u8> {
    if is_socketio {
        socketio::json(NAMESPACE, message)
    } else {
        message.to_vec()
    }
}
