//! The public half of the BTC-e dialect: documents every two seconds, and Pusher where it is.
//!
//! Without Pusher every depth document is the book. With it, changes come as absolute amounts
//! without numbers: they are applied as they come, and a document corrects every five seconds what
//! was lost. A document may be two seconds old, so changes heard in the last seconds are applied to
//! it again; being absolute, they do no harm.
//!
//! Source: the exchanges' documentation and their users' clients of 2013 to 2017, read 2026-11-23.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use crate::model::instrument::{Market, Pair};
use crate::model::market::{BookUpdate, Level, Side, UpdateKind};
use crate::model::time::{Span, Time};
use crate::venue::btce::shape::{Depth, DepthChange, Envelope, Frame, Row, StreamError, level_of};
use crate::venue::btce::style::{Style, pair_name};
use crate::venue::document::read;
use crate::venue::scan::ReadCounts;
use crate::venue::{Ask, DecodeError, Feed, Framing, Hear, Heard, Setup, Ticket};

/// Decodes the documents and the stream of one exchange.
#[derive(Debug)]
pub struct BtceFeed {
    style: &'static Style,
    markets: Vec<Watched>,
    has_stream: bool,
    frames: VecDeque<Vec<u8>>,
    poll_at: Option<Time>,
    ping_at: Time,
    bids: Vec<Level>,
    asks: Vec<Level>,
    /// Frames of the stream that were read.
    read: u64,
}

#[derive(Debug)]
struct Watched {
    market: Market,
    name: String,
    sequence: u64,
    is_live: bool,
    /// Changes of the last seconds, oldest first.
    changes: VecDeque<(Time, Vec<Level>, Vec<Level>)>,
}

impl BtceFeed {
    /// Bytes of the largest frame and of the largest document.
    pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
    /// Levels of a side that are asked for and told.
    pub const DEPTH_LEVELS_MAX: usize = 150;
    /// How often a document corrects the stream.
    const CORRECT_EVERY: Span = Span::secs(5);
    const PING_EVERY: Span = Span::secs(60);
    /// How long changes are kept to be applied again.
    const CHANGES_KEPT: Span = Span::secs(3);
    /// Changes kept; the oldest give way.
    const CHANGES_MAX: usize = 1_024;
    /// Frames that wait to be sent; further ones are dropped.
    const FRAMES_MAX: usize = 256;
    const DEPTH: Ticket = Ticket(0);

    pub fn new(setup: &Setup, style: &'static Style) -> Self {
        let watched = |pair: &Pair| Watched {
            market: Market {
                venue: setup.venue,
                pair: *pair,
            },
            name: pair_name(*pair),
            sequence: 0,
            is_live: false,
            changes: VecDeque::new(),
        };
        Self {
            style,
            markets: setup.pairs.iter().map(watched).collect(),
            has_stream: setup.framing != Framing::Polled,
            frames: VecDeque::new(),
            poll_at: None,
            ping_at: Time::MAX,
            bids: Vec::new(),
            asks: Vec::new(),
            read: 0,
        }
    }

    fn push_frame(&mut self, text: String) {
        if self.frames.len() < Self::FRAMES_MAX {
            self.frames.push_back(text.into_bytes());
        }
    }

    fn poll_every(&self) -> Span {
        if self.has_stream {
            Self::CORRECT_EVERY
        } else {
            self.style.cached
        }
    }

    fn handle_event(
        &mut self,
        frame: &Frame<'_>,
        now: Time,
        heard: Hear<'_>,
    ) -> Result<(), DecodeError> {
        match frame.event.as_ref() {
            "pusher:connection_established" => {
                let channels: Vec<String> = self
                    .markets
                    .iter()
                    .map(|watched| format!("{}.depth", watched.name))
                    .collect();
                for channel in channels {
                    self.push_frame(format!(
                        r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#
                    ));
                }
                self.ping_at = now + Self::PING_EVERY;
            }
            "pusher:ping" => self.push_frame(r#"{"event":"pusher:pong","data":{}}"#.to_owned()),
            "pusher:error" => {
                let text = inner(frame).unwrap_or(Cow::Borrowed("{}"));
                let error: StreamError = serde_json::from_str(&text).unwrap_or_default();
                if !matches!(error.code, Some(4_000..4_100)) {
                    return Err(DecodeError::Refused { what: "pusher" });
                }
                // It says not to come back: documents have to do.
                self.has_stream = false;
                self.poll_at = Some(now);
            }
            "depth" => return self.handle_change(frame, now, heard),
            _ => (),
        }
        heard(Heard::Alive);
        Ok(())
    }

    fn handle_change(
        &mut self,
        frame: &Frame<'_>,
        now: Time,
        heard: Hear<'_>,
    ) -> Result<(), DecodeError> {
        let channel = frame.channel.as_deref().unwrap_or_default();
        let name = channel
            .strip_suffix(".depth")
            .ok_or(DecodeError::malformed("channel"))?;
        let text = inner(frame).ok_or(DecodeError::malformed("data"))?;
        let change: DepthChange<'_> = read(text.as_bytes())?;
        let index = self.markets.iter().position(|watched| watched.name == name);
        let index = index.ok_or(DecodeError::Unknown)?;
        read_side(Side::Bid, &change.bid, &mut self.bids)?;
        read_side(Side::Ask, &change.ask, &mut self.asks)?;
        let watched = &mut self.markets[index];
        watched.forget_old(now);
        if watched.changes.len() >= Self::CHANGES_MAX {
            watched.changes.pop_front();
        }
        let kept = (now, self.bids.clone(), self.asks.clone());
        watched.changes.push_back(kept);
        heard(Heard::Alive);
        if watched.is_live {
            let previous = watched.sequence;
            watched.sequence += 1;
            let kind = UpdateKind::Delta { previous };
            heard(Heard::Book(
                watched.update(kind, &self.bids, &self.asks, now),
            ));
        }
        Ok(())
    }

    fn handle_depth(
        &mut self,
        index: usize,
        depth: &Depth<'_>,
        now: Time,
        heard: Hear<'_>,
    ) -> Result<(), DecodeError> {
        read_side(Side::Bid, &depth.bids, &mut self.bids)?;
        read_side(Side::Ask, &depth.asks, &mut self.asks)?;
        for levels in [&mut self.bids, &mut self.asks] {
            levels.retain(|level| level.quantity.is_positive());
            levels.truncate(Self::DEPTH_LEVELS_MAX);
        }
        let best = (self.bids.first(), self.asks.first());
        if let (Some(bid), Some(ask)) = best
            && bid.price >= ask.price
        {
            return Err(DecodeError::malformed("crossed depth"));
        }
        let watched = &mut self.markets[index];
        watched.is_live = true;
        watched.sequence += 1;
        let kind = UpdateKind::Snapshot;
        heard(Heard::Book(
            watched.update(kind, &self.bids, &self.asks, now),
        ));
        watched.forget_old(now);
        for at in 0..watched.changes.len() {
            let previous = watched.sequence;
            watched.sequence += 1;
            let (_, bids, asks) = &watched.changes[at];
            let kind = UpdateKind::Delta { previous };
            heard(Heard::Book(watched.update(kind, bids, asks, now)));
        }
        Ok(())
    }

    fn handle_document(
        &mut self,
        body: &[u8],
        now: Time,
        heard: Hear<'_>,
    ) -> Result<(), DecodeError> {
        let document: BTreeMap<Cow<'_, str>, Depth<'_>> = match serde_json::from_slice(body) {
            Ok(document) => document,
            Err(error) => {
                let envelope: Result<Envelope<'_>, _> = serde_json::from_slice(body);
                return Err(match envelope {
                    Ok(_) => DecodeError::Refused { what: "depth" },
                    Err(_) => error.into(),
                });
            }
        };
        for index in 0..self.markets.len() {
            if let Some(depth) = document.get(self.markets[index].name.as_str()) {
                self.handle_depth(index, depth, now, heard)?;
            }
        }
        heard(Heard::Alive);
        Ok(())
    }
}

impl Watched {
    fn forget_old(&mut self, now: Time) {
        while let Some((at, ..)) = self.changes.front()
            && now.since(*at) > BtceFeed::CHANGES_KEPT
        {
            self.changes.pop_front();
        }
    }

    fn update<'a>(
        &self,
        kind: UpdateKind,
        bids: &'a [Level],
        asks: &'a [Level],
        now: Time,
    ) -> BookUpdate<'a> {
        BookUpdate::new(self.market, kind, self.sequence, [bids, asks], now)
    }
}

impl Feed for BtceFeed {
    fn frame_bytes_max(&self) -> usize {
        Self::DOCUMENT_BYTES_MAX
    }

    fn subscribe(&mut self, now: Time, _ask: &mut dyn FnMut(Ask<'_>)) {
        self.frames.clear();
        for watched in &mut self.markets {
            watched.is_live = false;
            watched.changes.clear();
        }
        self.poll_at = Some(now);
        self.ping_at = Time::MAX;
    }

    /// The next document comes in seconds anyhow, and no sooner.
    fn resync(&mut self, _market: Market, _now: Time, _ask: &mut dyn FnMut(Ask<'_>)) {}

    fn tend(&mut self, now: Time, ask: &mut dyn FnMut(Ask<'_>)) -> Option<Time> {
        if now >= self.ping_at {
            self.ping_at = now + Self::PING_EVERY;
            self.push_frame(r#"{"event":"pusher:ping","data":{}}"#.to_owned());
        }
        while let Some(frame) = self.frames.pop_front() {
            ask(Ask::Frame(&frame));
        }
        let poll_at = self.poll_at?;
        if poll_at > now {
            return Some(poll_at.min(self.ping_at));
        }
        let next = now + self.poll_every();
        self.poll_at = Some(next);
        let names: Vec<&str> = self
            .markets
            .iter()
            .map(|watched| watched.name.as_str())
            .collect();
        let (api, limit) = (self.style.api_v3, Self::DEPTH_LEVELS_MAX);
        let target = format!("{api}/depth/{}?limit={limit}", names.join("-"));
        ask(Ask::Get {
            ticket: Self::DEPTH,
            target: &target,
        });
        Some(next.min(self.ping_at))
    }

    /// Decodes one frame of Pusher, protocol 7.
    ///
    /// # Shape
    /// UTF-8 JSON, its `data` JSON again in a string; at most `DOCUMENT_BYTES_MAX`.
    ///
    /// # Units
    /// Prices and amounts as decimals, absolute; zero removes a level.
    fn read_frame(&mut self, frame: &[u8], now: Time, heard: Hear<'_>) -> Result<(), DecodeError> {
        self.read += 1;
        let frame: Frame<'_> = read(frame)?;
        self.handle_event(&frame, now, heard)
    }

    /// Every frame is read by serde.
    fn read_counts(&self) -> ReadCounts {
        ReadCounts {
            slow: self.read,
            ..ReadCounts::default()
        }
    }

    fn decode_reply(
        &mut self,
        ticket: Ticket,
        status: u16,
        body: &[u8],
        now: Time,
        heard: Hear<'_>,
    ) -> Result<(), DecodeError> {
        match (ticket, status) {
            (Self::DEPTH, 200) if body.len() <= Self::DOCUMENT_BYTES_MAX => {
                self.handle_document(body, now, heard)
            }
            (Self::DEPTH, _) => Err(DecodeError::Refused { what: "depth" }),
            _ => Err(DecodeError::Unknown),
        }
    }
}

/// Reads a side, best level first whatever the order it came in; the last of two alike counts.
fn read_side(side: Side, rows: &[Row<'_>], levels: &mut Vec<Level>) -> Result<(), DecodeError> {
    levels.clear();
    for row in rows {
        let level = level_of(side, row).map_err(|_| DecodeError::malformed("level"))?;
        let Some(level) = level else { continue };
        if !level.price.is_positive() {
            return Err(DecodeError::malformed("price"));
        }
        levels.push(level);
    }
    // Stable, and reversed first: of two alike the later one stands in front and is kept.
    levels.reverse();
    match side {
        Side::Bid => levels.sort_by_key(|level| std::cmp::Reverse(level.price)),
        Side::Ask => levels.sort_by_key(|level| level.price),
    }
    levels.dedup_by_key(|level| level.price);
    Ok(())
}

/// Returns the JSON inside a frame's data.
fn inner<'a>(frame: &Frame<'a>) -> Option<Cow<'a, str>> {
    let raw = frame.data?.get();
    if raw.starts_with('"') {
        return serde_json::from_str::<String>(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(raw))
}
