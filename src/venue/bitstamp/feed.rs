//! The public half of Bitstamp: a stream of changes, and documents of the whole book.
//!
//! ```text
//!           document new enough                CORRECT_EVERY
//! waiting ───────────────────────▶ live ─────────────────────▶ correcting
//!    ▲      what was held applied   │ ▲                             │ document new enough
//!    └──────────────────────────────┘ └─────────────────────────────┘
//!      a change out of order, or the book asks
//! ```
//! A document of the book is up to three seconds older than its arrival. So changes are held from
//! before it is asked for, and applied to it where they are younger; a document that is older than
//! the first that must be in it is asked for again. The stream numbers nothing: a lost change shows
//! only when the book crosses, so every minute a document corrects what was lost. The numbers that
//! the book checks are counted here.
//!
//! Source: www.bitstamp.net/websocket/v2 and www.bitstamp.net/api, read 2026-11-23.

use crate::model::instrument::{Market, Pair};
use crate::model::market::{BookUpdate, UpdateKind};
use crate::model::time::{Span, Time};
use crate::venue::asking::Asking;
use crate::venue::bitstamp::shape::{self};
use crate::venue::bitstamp::{Channel, Stated, template, tolerant};
use crate::venue::held::Held;
use crate::venue::names::Names;
use crate::venue::rows::Sides;
use crate::venue::scan::ReadCounts;
use crate::venue::{Ask, DecodeError, Feed, Hear, Heard, Setup, Ticket};

/// Decodes the stream and the documents of Bitstamp.
#[derive(Debug)]
pub struct BitstampFeed {
    names: Names,
    markets: Vec<Watched>,
    /// The levels of what is being decoded.
    sides: Sides,
    counts: ReadCounts,
    next_ticket: u16,
    heartbeat_at: Time,
    alive_at: Time,
    /// When something is due next; zero where that is to be found out.
    due_at: Time,
}

/// One market.
#[derive(Debug)]
struct Watched {
    market: Market,
    target: String,
    phase: Phase,
    /// Of the last update that was told, counted here.
    sequence: u64,
    /// When the last change heard was made, in microseconds.
    seen: u64,
    /// When the document was made that the book stands on.
    whole: u64,
    /// How young the next document must be at least.
    needed: u64,
    held: Held,
    asking: Asking,
    correct_at: Time,
}

/// What becomes of a change of a market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Held: there is no book yet.
    Waiting,
    /// Told.
    Live,
    /// Told and held: a document is asked for soon, or was.
    Correcting,
}

impl BitstampFeed {
    /// Bytes of the largest frame and of the largest document; larger ones are refused.
    pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
    /// Levels of a side that are taken from a document, the best ones.
    pub const DEPTH_LEVELS_MAX: u16 = 1_000;
    const HEARTBEAT_EVERY: Span = Span::secs(10);
    /// Between subscription and first document.
    const SETTLE: Span = Span::millis(500);
    /// How often a document corrects what was lost.
    const CORRECT_EVERY: Span = Span::MINUTE;
    /// How long changes are held before that document is asked for: as old as it may be.
    const HOLD_BEFORE: Span = Span::secs(3);
    /// How often frames say of all books that they still stand.
    const ALIVE_EVERY: Span = Span::millis(250);
    const HEARTBEAT: &[u8] = br#"{"event":"bts:heartbeat"}"#;

    pub fn new(setup: &Setup) -> Self {
        let watched = |pair: &Pair| Watched {
            market: Market {
                venue: setup.venue,
                pair: *pair,
            },
            target: format!("/api/v2/order_book/{}/?group=1", name_of(*pair)),
            phase: Phase::Waiting,
            sequence: 0,
            seen: 0,
            whole: 0,
            needed: 0,
            held: Held::default(),
            asking: Asking::default(),
            correct_at: Time::MAX,
        };
        Self {
            names: Names::new(setup.pairs.iter().map(|pair| name_of(*pair)), b'"'),
            markets: setup.pairs.iter().map(watched).collect(),
            sides: Sides::default(),
            counts: ReadCounts::default(),
            next_ticket: 0,
            heartbeat_at: Time::MAX,
            alive_at: Time::ZERO,
            due_at: Time::ZERO,
        }
    }

    fn hear_alive(&mut self, now: Time, heard: Hear<'_>) {
        if now >= self.alive_at {
            self.alive_at = now + Self::ALIVE_EVERY;
            heard(Heard::Alive);
        }
    }

    /// Reads a frame by other means than the template; `None` where it carries no book.
    fn read_slow(&mut self, frame: &[u8]) -> Result<Option<Stated>, DecodeError> {
        if let Some(stated) = tolerant::frame(frame, &self.names, &mut self.sides) {
            self.counts.tolerant += 1;
            return Ok(Some(stated));
        }
        let stated = shape::frame(frame, &self.names, &mut self.sides)?;
        self.counts.slow += u64::from(stated.is_some());
        Ok(stated)
    }

    fn read_document(&mut self, body: &[u8]) -> Result<u64, DecodeError> {
        self.counts.read(
            &mut self.sides,
            |sides| template::document(body, sides),
            |sides| tolerant::document(body, sides),
            |sides| shape::document(body, sides),
        )
    }

    fn ask_due(&mut self, now: Time, ask: &mut dyn FnMut(Ask<'_>)) {
        for watched in &mut self.markets {
            watched.tend(now);
            let (target, next) = (&watched.target, &mut self.next_ticket);
            watched.asking.ask_due(target, next, now, ask);
        }
    }
}

impl Watched {
    /// Does what is due apart from asking.
    fn tend(&mut self, now: Time) {
        if self.phase == Phase::Live && now >= self.correct_at {
            self.phase = Phase::Correcting;
            self.needed = self.seen;
            self.asking.want(now + BitstampFeed::HOLD_BEFORE);
        }
    }

    fn due_at(&self) -> Time {
        let correct_at = match self.phase {
            Phase::Live => self.correct_at,
            Phase::Waiting | Phase::Correcting => Time::MAX,
        };
        self.asking.due_at().min(correct_at)
    }

    /// Gives the book up until a document has come that has all heard so far.
    fn begin(&mut self, now: Time) {
        self.phase = Phase::Waiting;
        self.needed = self.seen;
        self.held.clear();
        self.asking.want(now);
    }

    /// Takes changes; returns false where they came out of order and a document is needed.
    fn handle_changes(
        &mut self,
        (micros, venue_time): (u64, Time),
        sides: &Sides,
        now: Time,
        heard: Hear<'_>,
    ) -> bool {
        if micros <= self.seen {
            let was_live = self.phase != Phase::Waiting;
            self.begin(now);
            if was_live {
                let gap = BookUpdate::gap(self.market, self.sequence, venue_time);
                self.sequence = gap.sequence;
                heard(Heard::Book(gap));
            }
            return false;
        }
        self.seen = micros;
        if self.phase != Phase::Live {
            // What came before the question should be in the answer.
            if self.phase == Phase::Waiting && self.held.is_empty() && !self.asking.is_open() {
                self.needed = self.needed.max(micros);
            }
            let gave_way = self.held.push((micros, micros), (now, venue_time), sides);
            self.needed = self.needed.max(gave_way.unwrap_or_default());
        }
        if self.phase != Phase::Waiting && micros > self.whole {
            heard(self.next(venue_time, sides));
        }
        true
    }

    /// Takes a whole book; returns false where it is too old.
    fn handle_whole(
        &mut self,
        (micros, venue_time): (u64, Time),
        sides: &mut Sides,
        now: Time,
        heard: Hear<'_>,
    ) -> bool {
        if micros < self.needed {
            return false;
        }
        self.whole = micros;
        self.sequence += 1;
        heard(self.told(UpdateKind::Snapshot, venue_time, sides));
        while let Some(change) = self.held.pop(sides) {
            if change.last > micros {
                heard(self.next(change.venue_time, sides));
            }
        }
        self.phase = Phase::Live;
        self.asking.rest();
        self.correct_at = now + BitstampFeed::CORRECT_EVERY;
        true
    }

    fn next<'a>(&mut self, venue_time: Time, sides: &'a Sides) -> Heard<'a> {
        let previous = self.sequence;
        self.sequence += 1;
        self.told(UpdateKind::Delta { previous }, venue_time, sides)
    }

    fn told<'a>(&self, kind: UpdateKind, venue_time: Time, sides: &'a Sides) -> Heard<'a> {
        let levels = [sides.bids.as_slice(), sides.asks.as_slice()];
        Heard::Book(BookUpdate::new(
            self.market,
            kind,
            self.sequence,
            levels,
            venue_time,
        ))
    }
}

impl Feed for BitstampFeed {
    fn frame_bytes_max(&self) -> usize {
        Self::DOCUMENT_BYTES_MAX
    }

    fn subscribe(&mut self, now: Time, ask: &mut dyn FnMut(Ask<'_>)) {
        for (index, watched) in self.markets.iter_mut().enumerate() {
            watched.seen = 0;
            watched.whole = 0;
            watched.begin(now);
            watched.asking.want(now + Self::SETTLE);
            let name = String::from_utf8_lossy(self.names.name(index));
            let channel = format!("{}{name}", Channel::CHANGES);
            let frame = format!(r#"{{"event":"bts:subscribe","data":{{"channel":"{channel}"}}}}"#);
            ask(Ask::Frame(frame.as_bytes()));
        }
        self.heartbeat_at = now + Self::HEARTBEAT_EVERY;
        self.due_at = Time::ZERO;
    }

    /// Asks for a whole book, unless one is on its way already.
    fn resync(&mut self, market: Market, now: Time, ask: &mut dyn FnMut(Ask<'_>)) {
        let mut watched = self.markets.iter_mut();
        let watched = watched.find(|watched| watched.market == market);
        if let Some(watched) = watched.filter(|watched| watched.phase != Phase::Waiting) {
            watched.begin(now);
        }
        self.ask_due(now, ask);
        self.due_at = Time::ZERO;
    }

    fn tend(&mut self, now: Time, ask: &mut dyn FnMut(Ask<'_>)) -> Option<Time> {
        if now >= self.due_at {
            if now >= self.heartbeat_at {
                self.heartbeat_at = now + Self::HEARTBEAT_EVERY;
                ask(Ask::Frame(Self::HEARTBEAT));
            }
            self.ask_due(now, ask);
            let due = self.markets.iter().map(Watched::due_at);
            self.due_at = due.fold(self.heartbeat_at, Time::min);
        }
        (self.due_at < Time::MAX).then_some(self.due_at)
    }

    /// Decodes one frame of the stream.
    ///
    /// # Shape
    /// UTF-8 JSON, at most `DOCUMENT_BYTES_MAX`; quantity 0 removes a level.
    ///
    /// # Units
    /// Decimal strings, absolute; `microtimestamp` in µs since 1970.
    fn read_frame(&mut self, frame: &[u8], now: Time, heard: Hear<'_>) -> Result<(), DecodeError> {
        let by_template = template::frame(frame, &mut self.names, &mut self.sides);
        let stated = match by_template {
            Some(stated) => {
                self.counts.template += 1;
                stated
            }
            None => match self.read_slow(frame)? {
                Some(stated) => stated,
                None => {
                    heard(Heard::Alive);
                    return Ok(());
                }
            },
        };
        let times = (stated.micros, time_of(stated.micros)?);
        let depth = usize::from(Self::DEPTH_LEVELS_MAX);
        let watched = self.markets.get_mut(stated.market);
        let watched = watched.ok_or(DecodeError::Unknown)?;
        match stated.channel {
            Channel::Changes if watched.handle_changes(times, &self.sides, now, heard) => (),
            Channel::Changes => self.due_at = Time::ZERO,
            Channel::Whole if !self.sides.make_book(depth) => {
                return Err(DecodeError::malformed("book"));
            }
            // An older one says nothing new: the changes since are told already.
            Channel::Whole if watched.phase == Phase::Live && times.0 <= watched.seen => (),
            Channel::Whole => {
                watched.handle_whole(times, &mut self.sides, now, heard);
                self.due_at = Time::ZERO;
            }
        }
        self.hear_alive(now, heard);
        Ok(())
    }

    /// Decodes the document of a whole book.
    ///
    /// # Shape
    /// UTF-8 JSON, at most `DOCUMENT_BYTES_MAX`; best level first on both sides.
    ///
    /// # Units
    /// As the frames.
    fn decode_reply(
        &mut self,
        ticket: Ticket,
        status: u16,
        body: &[u8],
        now: Time,
        heard: Hear<'_>,
    ) -> Result<(), DecodeError> {
        let mut markets = self.markets.iter_mut();
        let index = markets.position(|watched| watched.asking.is_answered(ticket, now));
        let index = index.ok_or(DecodeError::Unknown)?;
        self.due_at = Time::ZERO;
        if status != 200 || body.len() > Self::DOCUMENT_BYTES_MAX {
            return Err(DecodeError::Refused { what: "order_book" });
        }
        let micros = self.read_document(body)?;
        let times = (micros, time_of(micros)?);
        if !self.sides.make_book(usize::from(Self::DEPTH_LEVELS_MAX)) {
            return Err(DecodeError::malformed("book"));
        }
        let watched = &mut self.markets[index];
        if !watched.handle_whole(times, &mut self.sides, now, heard) {
            watched.asking.want(now);
        }
        heard(Heard::Alive);
        Ok(())
    }

    fn read_counts(&self) -> ReadCounts {
        self.counts
    }
}

/// The exchange's name for a market, as `btcusd`.
fn name_of(pair: Pair) -> String {
    format!("{}{}", pair.base, pair.quote).to_lowercase()
}

fn time_of(micros: u64) -> Result<Time, DecodeError> {
    let nanos = micros.checked_mul(Span::MICRO.0).filter(|nanos| *nanos > 0);
    nanos
        .map(Time)
        .ok_or(DecodeError::malformed("microtimestamp"))
}
