//! The public half of Binance: a stream of numbered changes, and documents of the whole book.
//!
//! ```text
//!           document that the changes held follow on
//! waiting ───────────────────────────────────────────▶ live
//!    ▲      a change that does not follow on the one before, or the book asks
//!    └──────────────────────────────────────────────────┘
//! ```
//! A document with number `S` has every change up to `S`. Of the changes held, those that end at or
//! before it are dropped; the first that ends above it must begin at or below `S + 1`, else the
//! document is too old and is asked for again. From there on each change must begin where the one
//! before ended. In futures it names the number of that one (`pu`) and may begin higher: numbers
//! are given out for more than this book. So `pu` at or below `S` is what bridges there; the rule of
//! the documentation, `U <= S <= u`, is a part of it.
//!
//! Source: developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and
//! .../derivatives/usds-margined-futures, "How to manage a local order book correctly", read
//! 2026-11-23.

use crate::model::instrument::{Market, Pair};
use crate::model::market::{BookUpdate, UpdateKind};
use crate::model::time::{Span, Time};
use crate::venue::asking::Asking;
use crate::venue::binance::shape::{self};
use crate::venue::binance::{Stated, Symbols, Trading, template, tolerant};
use crate::venue::held::Held;
use crate::venue::rows::Sides;
use crate::venue::scan::ReadCounts;
use crate::venue::{Ask, DecodeError, Feed, Hear, Heard, Setup, Ticket};

/// Decodes the stream and the documents of one of Binance's exchanges.
#[derive(Debug)]
pub struct BinanceFeed {
    trading: Trading,
    symbols: Symbols,
    markets: Vec<Watched>,
    /// The levels of what is being decoded.
    sides: Sides,
    counts: ReadCounts,
    subscription: String,
    next_ticket: u16,
    list_at: Time,
    alive_at: Time,
    /// Nothing is asked before then: the exchange said that it was too much.
    quiet_until: Time,
    /// When something is due next; zero where that is to be found out.
    due_at: Time,
}

/// One market.
#[derive(Debug)]
struct Watched {
    market: Market,
    target: String,
    phase: Phase,
    /// The last number that was told, or heard before that.
    seen: u64,
    /// The least number that the next document may have.
    needed: u64,
    held: Held,
    asking: Asking,
}

/// What becomes of a change of a market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Held: there is no book yet.
    Waiting,
    /// Told, once one has come that follows on the document.
    Bridging,
    /// Told.
    Live,
}

impl BinanceFeed {
    /// Bytes of the largest frame and of the largest document; larger ones are refused.
    pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
    /// Levels of a side that are asked for; those beyond are unknown until they change.
    pub const DEPTH_LEVELS_MAX: u16 = 1_000;
    /// Between subscription and first document of a market that does not change.
    const SETTLE: Span = Span::SECOND;
    /// How often the list of subscriptions is asked for, so that a quiet market is no dead line.
    const LIST_EVERY: Span = Span::secs(10);
    /// How long nothing is asked once the exchange refused for too many questions.
    const QUIET: Span = Span::MINUTE;
    /// How often frames say of all books that they still stand.
    const ALIVE_EVERY: Span = Span::millis(250);
    const LIST: &[u8] = br#"{"method":"LIST_SUBSCRIPTIONS","id":2}"#;

    pub fn new(setup: &Setup, trading: Trading) -> Self {
        let names: Vec<String> = setup.pairs.iter().map(|pair| symbol_of(*pair)).collect();
        let path = match trading {
            Trading::Spot => "/api/v3/depth",
            Trading::Futures => "/fapi/v1/depth",
        };
        let watched = |(pair, symbol): (&Pair, &String)| Watched {
            market: Market {
                venue: setup.venue,
                pair: *pair,
            },
            target: format!("{path}?symbol={symbol}&limit={}", Self::DEPTH_LEVELS_MAX),
            phase: Phase::Waiting,
            seen: 0,
            needed: 0,
            held: Held::default(),
            asking: Asking::default(),
        };
        let stream = |symbol: &String| format!("\"{}@depth@100ms\"", symbol.to_lowercase());
        let streams: Vec<String> = names.iter().map(stream).collect();
        let streams = streams.join(",");
        Self {
            trading,
            symbols: Symbols::new(&names),
            markets: setup.pairs.iter().zip(&names).map(watched).collect(),
            sides: Sides::default(),
            counts: ReadCounts::default(),
            subscription: format!(r#"{{"method":"SUBSCRIBE","params":[{streams}],"id":1}}"#),
            next_ticket: 0,
            list_at: Time::MAX,
            alive_at: Time::ZERO,
            quiet_until: Time::ZERO,
            due_at: Time::ZERO,
        }
    }

    /// Reads a frame by other means than the template; `None` where it carries no change.
    fn read_slow(&mut self, frame: &[u8]) -> Result<Option<Stated>, DecodeError> {
        let (trading, sides) = (self.trading, &mut self.sides);
        if let Some(stated) = tolerant::frame(frame, trading, &self.symbols, sides) {
            self.counts.tolerant += 1;
            return Ok(Some(stated));
        }
        let stated = shape::frame(frame, trading, &self.symbols, sides)?;
        self.counts.slow += u64::from(stated.is_some());
        Ok(stated)
    }

    fn read_document(&mut self, body: &[u8]) -> Result<u64, DecodeError> {
        let trading = self.trading;
        self.counts.read(
            &mut self.sides,
            |sides| template::document(body, trading, sides),
            |sides| tolerant::document(body, sides),
            |sides| shape::document(body, sides),
        )
    }

    fn ask_due(&mut self, now: Time, ask: &mut dyn FnMut(Ask<'_>)) {
        if now < self.quiet_until {
            return;
        }
        for watched in &mut self.markets {
            let (target, next) = (&watched.target, &mut self.next_ticket);
            watched.asking.ask_due(target, next, now, ask);
        }
    }
}

impl Watched {
    /// Gives the book up until a document has come that has all heard so far.
    fn begin(&mut self, now: Time) {
        self.phase = Phase::Waiting;
        self.needed = self.seen;
        self.held.clear();
        self.asking.want(now);
    }

    /// Takes a change; returns false where a document is needed.
    fn handle_change(
        &mut self,
        stated: &Stated,
        sides: &Sides,
        (now, venue_time): (Time, Time),
        heard: Hear<'_>,
    ) -> bool {
        match self.phase {
            Phase::Waiting => {
                let is_first = self.held.is_empty();
                self.hold(stated, sides, (now, venue_time));
                // Now there is something that the document can be measured by.
                if is_first {
                    self.asking.want_by(now);
                }
                return !is_first;
            }
            Phase::Bridging if stated.last <= self.seen => return true,
            Phase::Bridging if stated.previous <= self.seen => (),
            Phase::Live if stated.previous == self.seen => (),
            Phase::Bridging | Phase::Live => {
                heard(self.told_gap(stated, venue_time));
                self.begin(now);
                self.hold(stated, sides, (now, venue_time));
                return false;
            }
        }
        self.phase = Phase::Live;
        let previous = self.seen;
        self.seen = stated.last;
        let kind = UpdateKind::Delta { previous };
        heard(self.told(kind, self.seen, venue_time, sides));
        true
    }

    fn hold(&mut self, stated: &Stated, sides: &Sides, times: (Time, Time)) {
        let numbers = (stated.previous, stated.last);
        let gave_way = self.held.push(numbers, times, sides);
        self.needed = self.needed.max(gave_way.unwrap_or_default());
    }

    /// Takes a whole book; returns false where it is too old.
    fn handle_whole(&mut self, last: u64, sides: &mut Sides, now: Time, heard: Hear<'_>) -> bool {
        let next = self.held.iter().find(|change| change.last > last);
        if last < self.needed || next.is_some_and(|change| change.first > last) {
            return false;
        }
        self.asking.rest();
        self.phase = Phase::Bridging;
        self.seen = last;
        heard(self.told(UpdateKind::Snapshot, last, now, sides));
        while let Some(change) = self.held.pop(sides) {
            // One that came late or twice meanwhile does no harm: it is in the document.
            if change.last <= self.seen {
                continue;
            }
            let stated = Stated {
                market: 0,
                previous: change.first,
                last: change.last,
                millis: 0,
            };
            if !self.handle_change(&stated, sides, (now, change.venue_time), heard) {
                break;
            }
        }
        true
    }

    /// What makes the book ask for a document: a change that follows on something it has not.
    fn told_gap<'a>(&self, stated: &Stated, venue_time: Time) -> Heard<'a> {
        let sequence = stated.last.max(self.seen + 1);
        let previous = stated.previous;
        let kind = UpdateKind::Delta { previous };
        let market = self.market;
        Heard::Book(BookUpdate::new(
            market,
            kind,
            sequence,
            [&[], &[]],
            venue_time,
        ))
    }

    fn told<'a>(
        &self,
        kind: UpdateKind,
        sequence: u64,
        venue_time: Time,
        sides: &'a Sides,
    ) -> Heard<'a> {
        let levels = [sides.bids.as_slice(), sides.asks.as_slice()];
        Heard::Book(BookUpdate::new(
            self.market,
            kind,
            sequence,
            levels,
            venue_time,
        ))
    }
}

impl Feed for BinanceFeed {
    fn frame_bytes_max(&self) -> usize {
        Self::DOCUMENT_BYTES_MAX
    }

    fn subscribe(&mut self, now: Time, ask: &mut dyn FnMut(Ask<'_>)) {
        for watched in &mut self.markets {
            watched.seen = 0;
            watched.begin(now);
            watched.asking.want(now + Self::SETTLE);
        }
        ask(Ask::Frame(self.subscription.as_bytes()));
        self.list_at = now + Self::LIST_EVERY;
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
            if now >= self.list_at {
                self.list_at = now + Self::LIST_EVERY;
                ask(Ask::Frame(Self::LIST));
            }
            self.ask_due(now, ask);
            let due = self.markets.iter().map(|watched| watched.asking.due_at());
            let due = due.fold(Time::MAX, Time::min).max(self.quiet_until);
            self.due_at = due.min(self.list_at);
        }
        (self.due_at < Time::MAX).then_some(self.due_at)
    }

    /// Decodes one frame of the stream.
    ///
    /// # Shape
    /// UTF-8 JSON, bare or in the wrapper of a combined stream, at most `DOCUMENT_BYTES_MAX`;
    /// quantity 0 removes a level.
    ///
    /// # Units
    /// Decimal strings, absolute; `E` in ms since 1970.
    fn read_frame(&mut self, frame: &[u8], now: Time, heard: Hear<'_>) -> Result<(), DecodeError> {
        let (symbols, sides) = (&mut self.symbols, &mut self.sides);
        let stated = match template::frame(frame, self.trading, symbols, sides) {
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
        let times = (now, time_of(stated.millis)?);
        let watched = self.markets.get_mut(stated.market);
        let watched = watched.ok_or(DecodeError::Unknown)?;
        if !watched.handle_change(&stated, &self.sides, times, heard) {
            self.due_at = Time::ZERO;
        }
        if now >= self.alive_at {
            self.alive_at = now + Self::ALIVE_EVERY;
            heard(Heard::Alive);
        }
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
        /// Too many questions, and banned for having gone on.
        const TOO_MANY: [u16; 2] = [429, 418];
        let mut markets = self.markets.iter_mut();
        let index = markets.position(|watched| watched.asking.is_answered(ticket, now));
        let index = index.ok_or(DecodeError::Unknown)?;
        self.due_at = Time::ZERO;
        if TOO_MANY.contains(&status) {
            self.quiet_until = now + Self::QUIET;
        }
        if status != 200 || body.len() > Self::DOCUMENT_BYTES_MAX {
            return Err(DecodeError::Refused { what: "depth" });
        }
        let last = self.read_document(body)?;
        if !self.sides.make_book(usize::from(Self::DEPTH_LEVELS_MAX)) {
            return Err(DecodeError::malformed("book"));
        }
        let watched = &mut self.markets[index];
        if !watched.handle_whole(last, &mut self.sides, now, heard) {
            watched.asking.want(now);
        }
        heard(Heard::Alive);
        Ok(())
    }

    fn read_counts(&self) -> ReadCounts {
        self.counts
    }
}

/// The exchange's name for a market, as `BTCUSDT`.
fn symbol_of(pair: Pair) -> String {
    format!("{}{}", pair.base, pair.quote)
}

fn time_of(millis: u64) -> Result<Time, DecodeError> {
    let nanos = millis.checked_mul(Span::MILLI.0).filter(|nanos| *nanos > 0);
    nanos.map(Time).ok_or(DecodeError::malformed("E"))
}
