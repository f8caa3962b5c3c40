//! The feed: Pusher protocol 7 on a WebSocket, with the two channels of each market.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::instrument::Pair;
use crate::model::market::Level;
use crate::model::random::Random;
use crate::model::time::{Span, Time};
use crate::venue::StreamNo;
use crate::venue::btce::json::{Object, list, string};
use crate::venue::btce::ledger::order_type;
use crate::venue::btce::style::{Pusher, pair_name};
use crate::venue::exchange::{Changes, Trade};
use crate::venue::serving::fault::{Fault, Faults};

/// Every stream of an exchange.
#[derive(Debug)]
pub(super) struct Feed {
    pusher: Option<Pusher>,
    random: Random,
    streams: BTreeMap<StreamNo, Stream>,
    closed: VecDeque<StreamNo>,
}

#[derive(Debug)]
struct Stream {
    greeting: Option<Greeting>,
    channels: BTreeSet<String>,
    heard_at: Time,
    pinged_at: Option<Time>,
}

/// What a new stream is told first. The transport takes nothing while a stream opens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Greeting {
    Welcome,
    /// The reason, and then the stream is closed.
    Refused(u16, String),
}

/// A frame from a client.
#[derive(Debug, Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Subscription<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
}

/// Codes of `pusher:error`. Source: the protocol's documentation, "Error codes", and what the
/// hosted service answered; up to 4099 do not reconnect, up to 4199 back off, then at once.
mod code {
    pub(super) const NO_SUCH_KEY: u16 = 4001;
    pub(super) const PROTOCOL_UNKNOWN: u16 = 4007;
    pub(super) const PROTOCOL_MISSING: u16 = 4008;
    pub(super) const OVER_CAPACITY: u16 = 4100;
    pub(super) const NO_PONG: u16 = 4201;
}

impl Feed {
    /// Streams of one exchange that are served; further ones are told to back off.
    pub(super) const STREAMS_MAX: usize = 1_024;
    /// Streams that are open at all; one more is refused.
    const STREAMS_OPEN_MAX: usize = 2 * Self::STREAMS_MAX;
    /// Channels of one stream, known ones or not; one more is refused.
    const CHANNELS_MAX: usize = 128;
    /// Characters of a channel's name.
    const CHANNEL_LEN_MAX: usize = 164;
    /// A client that was not heard for this long is asked whether it lives.
    const ACTIVITY_TIMEOUT: Span = Span::secs(120);
    /// It has this long to answer.
    const PONG_TIMEOUT: Span = Span::secs(30);
    const PROTOCOLS: [&str; 3] = ["5", "6", "7"];

    pub(super) fn new(pusher: Option<Pusher>, random: Random) -> Self {
        Self {
            pusher,
            random,
            streams: BTreeMap::new(),
            closed: VecDeque::new(),
        }
    }

    /// Takes a stream on `/app/<key>?protocol=7`; false where nothing is served there.
    pub(super) fn open(&mut self, stream: StreamNo, target: &str, now: Time) -> bool {
        let Some(pusher) = self.pusher else {
            return false;
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let Some(key) = path.strip_prefix("/app/") else {
            return false;
        };
        if self.streams.len() >= Self::STREAMS_OPEN_MAX || self.streams.contains_key(&stream) {
            return false;
        }
        let mut fields = query.split('&');
        let protocol = fields.find_map(|field| field.strip_prefix("protocol="));
        let greeting = match protocol {
            _ if key != pusher.key => {
                Greeting::Refused(code::NO_SUCH_KEY, "Application does not exist".to_owned())
            }
            None => Greeting::Refused(
                code::PROTOCOL_MISSING,
                "No protocol version supplied".to_owned(),
            ),
            Some(version) if !Self::PROTOCOLS.contains(&version) => Greeting::Refused(
                code::PROTOCOL_UNKNOWN,
                "Unsupported protocol version".to_owned(),
            ),
            Some(_) if self.streams.len() >= Self::STREAMS_MAX => {
                Greeting::Refused(code::OVER_CAPACITY, "Over capacity".to_owned())
            }
            Some(_) => Greeting::Welcome,
        };
        let stream_state = Stream {
            greeting: Some(greeting),
            channels: BTreeSet::new(),
            heard_at: now,
            pinged_at: None,
        };
        self.streams.insert(stream, stream_state);
        true
    }

    pub(super) fn forget(&mut self, stream: StreamNo) {
        self.streams.remove(&stream);
    }

    pub(super) fn poll_closed(&mut self) -> Option<StreamNo> {
        self.closed.pop_front()
    }

    /// Greets new streams, asks silent ones whether they live, closes dead ones.
    pub(super) fn tend(&mut self, now: Time, push: &mut dyn FnMut(StreamNo, &[u8])) {
        let mut ended = Vec::new();
        for (no, stream) in &mut self.streams {
            match stream.greeting.take() {
                None => (),
                Some(Greeting::Welcome) => push(*no, welcome(&mut self.random).as_bytes()),
                Some(Greeting::Refused(code, why)) => {
                    push(*no, error(Some(code), &why).as_bytes());
                    ended.push(*no);
                    continue;
                }
            }
            match stream.pinged_at {
                None if now >= stream.heard_at + Self::ACTIVITY_TIMEOUT => {
                    stream.pinged_at = Some(now);
                    push(*no, br#"{"event":"pusher:ping","data":"{}"}"#);
                }
                Some(at) if now >= at + Self::PONG_TIMEOUT => {
                    let why = "Pong reply not received";
                    push(*no, error(Some(code::NO_PONG), why).as_bytes());
                    ended.push(*no);
                }
                None | Some(_) => (),
            }
        }
        for no in ended {
            self.close(no);
        }
    }

    /// Reads a client's frame and answers it.
    pub(super) fn handle_frame(
        &mut self,
        no: StreamNo,
        frame: &[u8],
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        self.tend(now, push);
        let Some(stream) = self.streams.get_mut(&no) else {
            return;
        };
        stream.heard_at = now;
        stream.pinged_at = None;
        let answer = match serde_json::from_slice(frame) {
            Ok(event) => stream.answer(&event),
            Err(_) => Some(error(None, "The message is not JSON with an event")),
        };
        if let Some(answer) = answer {
            push(no, answer.as_bytes());
        }
    }

    /// Tells what stands at the levels that changed.
    pub(super) fn push_depth(
        &mut self,
        pair: Pair,
        changes: &Changes,
        faults: &mut Faults,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        let channel_name = format!("{}.depth", pair_name(pair));
        if self.is_heard(&channel_name) {
            let data = Object::new()
                .put("ask", levels(&changes.asks))
                .put("bid", levels(&changes.bids))
                .end();
            self.push(
                &channel_name,
                &frame("depth", &channel_name, &data),
                faults,
                push,
            );
        }
    }

    /// Tells trades, oldest first.
    pub(super) fn push_trades(
        &mut self,
        pair: Pair,
        trades: &[Trade],
        faults: &mut Faults,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        let channel_name = format!("{}.trades", pair_name(pair));
        if self.is_heard(&channel_name) {
            let row = |trade: &Trade| {
                let (side, price) = (order_type(trade.taker), trade.price);
                format!("[\"{side}\",\"{price}\",\"{}\"]", trade.quantity)
            };
            let data = list(trades.iter().map(row));
            self.push(
                &channel_name,
                &frame("trades", &channel_name, &data),
                faults,
                push,
            );
        }
    }

    fn is_heard(&self, channel_name: &str) -> bool {
        let mut streams = self.streams.values();
        streams.any(|stream| stream.channels.contains(channel_name))
    }

    fn push(
        &mut self,
        channel_name: &str,
        frame: &str,
        faults: &mut Faults,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        let mut disconnected = Vec::new();
        for (no, stream) in &self.streams {
            if !stream.channels.contains(channel_name) {
                continue;
            }
            if faults.strikes(Fault::Disconnects) {
                disconnected.push(*no);
            } else if !faults.strikes(Fault::LostFrames) {
                push(*no, frame.as_bytes());
            }
        }
        for no in disconnected {
            self.close(no);
        }
    }

    fn close(&mut self, no: StreamNo) {
        self.streams.remove(&no);
        self.closed.push_back(no);
    }
}

impl Stream {
    fn answer(&mut self, event: &Event<'_>) -> Option<String> {
        match event.event.as_ref() {
            "pusher:subscribe" => Some(match channel_of(event.data) {
                Some(name) => self.subscribe(name),
                None => error(None, "The subscription names no channel"),
            }),
            "pusher:unsubscribe" => {
                if let Some(name) = channel_of(event.data) {
                    self.channels.remove(&name);
                }
                None
            }
            "pusher:ping" => Some(r#"{"event":"pusher:pong","data":"{}"}"#.to_owned()),
            "pusher:pong" => None,
            _ => Some(error(None, "The event is not known")),
        }
    }

    /// Any public name can be subscribed to; on most of them nothing is ever said.
    fn subscribe(&mut self, name: String) -> String {
        let is_private = name.starts_with("private-") || name.starts_with("presence-");
        if is_private {
            return error(None, "The channel needs an authorisation");
        }
        if name.is_empty() || name.len() > Feed::CHANNEL_LEN_MAX {
            return error(None, "The channel's name is empty or too long");
        }
        if self.channels.contains(&name) {
            return error(None, &format!("Existing subscription to channel {name}"));
        }
        if self.channels.len() >= Feed::CHANNELS_MAX {
            return error(None, "There are too many channels");
        }
        let answer = frame("pusher_internal:subscription_succeeded", &name, "{}");
        self.channels.insert(name);
        answer
    }
}

/// Reads the channel's name from the data of an event, an object or a text that holds one.
fn channel_of(data: Option<&RawValue>) -> Option<String> {
    let data = data?.get();
    let inner: String;
    let object = if data.starts_with('"') {
        inner = serde_json::from_str(data).ok()?;
        inner.as_str()
    } else {
        data
    };
    let subscription: Subscription<'_> = serde_json::from_str(object).ok()?;
    Some(subscription.channel.into_owned())
}

fn welcome(random: &mut Random) -> String {
    let (high, low) = (random.below(1_000_000), random.below(1_000_000_000));
    let data = Object::new()
        .text("socket_id", &format!("{high}.{low}"))
        .put(
            "activity_timeout",
            Feed::ACTIVITY_TIMEOUT.as_millis() / 1_000,
        )
        .end();
    Object::new()
        .text("event", "pusher:connection_established")
        .text("data", &data)
        .end()
}

fn error(code: Option<u16>, why: &str) -> String {
    let number = code.map_or_else(|| "null".to_owned(), |code| code.to_string());
    let data = Object::new().put("code", number).text("message", why).end();
    Object::new()
        .text("event", "pusher:error")
        .put("data", data)
        .end()
}

/// Writes an event on a channel; its data is JSON within a JSON string.
fn frame(event: &str, channel_name: &str, data: &str) -> String {
    Object::new()
        .text("event", event)
        .put("data", string(data))
        .text("channel", channel_name)
        .end()
}

fn levels(levels: &[Level]) -> String {
    list(levels.iter().map(level_row))
}

/// Writes a level as `[price,amount]`.
pub(super) fn level_row(level: &Level) -> String {
    format!("[{},{}]", level.price, level.quantity)
}
