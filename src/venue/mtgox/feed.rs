//! The public half of MtGox: stream and documents to one book per pair.
//!
//! 1. Subscribe to depth, ticker, trades and lag; keep depth rows while there is no book.
//! 2. With the first row, get the depth document: the window around the market, and the whole book
//!    later, within a budget of five an hour that a start spends at once: what an earlier run asked
//!    for is not known, and a ban would stop orders too. The front end may show a document that is ten seconds
//!    old: one that was drawn up before the first row is asked for again.
//! 3. Replay the rows that are newer than the level they change; from here on every row is a total.
//! 4. Rows get lost and nothing tells of it: every ticker removes what it knows to be gone, every
//!    trade what it took. A book that is crossed after a ticker is asked for anew.
//! 5. Subscriptions vanish: they are said again every half hour.
//!
//! Source: the rules of the venue's own and its users' clients of 2013, read 2026-11-23.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::instrument::{Market, Pair};
use crate::model::market::{BookUpdate, Level, Side, UpdateKind};
use crate::model::number::{Price, Quantity};
use crate::model::time::{Span, Time};
use crate::venue::document::read;
use crate::venue::literal::Excess;
use crate::venue::mtgox::mirror::{Changed, Mirror};
use crate::venue::mtgox::money::decimals;
use crate::venue::mtgox::shape::{Depth, DepthRow, Envelope, Frame, Lag, Ticker, TradeRow};
use crate::venue::scan::ReadCounts;
use crate::venue::socketio::{self, Packet};
use crate::venue::{Ask, DecodeError, Feed, Framing, Hear, Heard, Setup, Ticket};

/// The namespace of the venue on socket.io.
pub const NAMESPACE: &str = "/mtgox";
/// The public channel of trades.
pub const TRADES_CHANNEL: &str = "dbf1dee9-4f2e-4a08-8cb7-748919a71b21";

/// Decodes the stream and the documents of one MtGox.
#[derive(Debug)]
pub struct MtgoxFeed {
    markets: Vec<Watched>,
    framing: Framing,
    /// Frames may be sent: the namespace of socket.io is joined.
    is_open: bool,
    frames: VecDeque<Vec<u8>>,
    engine_lag: Span,
    lag_heard: Time,
    lag_asked: Time,
    subscribe_at: Time,
    /// When whole books were asked for, within the last hour.
    full_asked: VecDeque<Time>,
    is_budgeted: bool,
    /// Frames of the stream that were read.
    read: u64,
}

/// One market and what is known of its book.
#[derive(Debug)]
struct Watched {
    market: Market,
    symbol: String,
    mirror: Mirror,
    is_live: bool,
    /// Rows heard before there was a book, oldest first.
    rows: VecDeque<(Side, Level, u64)>,
    /// The moment of the first row, in the venue's microseconds.
    first_row_us: Option<u64>,
    subscribed: Time,
    sequence: u64,
    /// When a depth document is to be asked for; `None` while one is on its way.
    snapshot_at: Option<Time>,
    asked: Time,
    /// The book was found crossed: the next ticker decides whether it is asked for anew.
    is_doubtful: bool,
}

impl Watched {
    /// Rows kept while there is no book; with one more, waiting begins anew.
    const ROWS_MAX: usize = 16_384;

    fn new(market: Market) -> Self {
        Self {
            market,
            symbol: symbol_of(market.pair),
            mirror: Mirror::default(),
            is_live: false,
            rows: VecDeque::new(),
            first_row_us: None,
            subscribed: Time::ZERO,
            sequence: 0,
            snapshot_at: None,
            asked: Time::ZERO,
            is_doubtful: false,
        }
    }

    /// Asks for a book as soon as may be.
    fn hurry(&mut self, now: Time) {
        let soonest = match self.asked {
            Time::ZERO => now,
            asked => now.max(asked + MtgoxFeed::CACHED_FOR),
        };
        self.snapshot_at = self.snapshot_at.map(|at| at.min(soonest));
    }

    /// Waits for a new book.
    fn restart(&mut self, at: Time) {
        self.is_live = false;
        self.is_doubtful = false;
        self.rows.clear();
        self.first_row_us = None;
        self.snapshot_at = Some(at);
    }
}

impl MtgoxFeed {
    /// Bytes of the largest frame.
    pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
    /// Levels of a side that are told.
    pub const DEPTH_LEVELS_MAX: usize = 1_000;
    /// Whole books that may be asked for in an hour; one more bans the address.
    const FULL_MAX: usize = 5;
    const HOUR: Span = Span::secs(3_600);
    /// How old a document of the front end may be, and how often one may be asked for.
    const CACHED_FOR: Span = Span::secs(10);
    /// A live book is asked for again, for what was lost far from the market.
    const REFRESH_EVERY: Span = Span::secs(900);
    const SUBSCRIBE_EVERY: Span = Span::secs(1_800);
    const LAG_EVERY: Span = Span::secs(10);
    const LAG_TICKET: Ticket = Ticket(u16::MAX);
    /// Frames that wait to be sent; further ones are dropped, and subscriptions said again later.
    const FRAMES_MAX: usize = 1_024;

    pub fn new(setup: &Setup) -> Self {
        let market = |pair: &Pair| {
            Watched::new(Market {
                venue: setup.venue,
                pair: *pair,
            })
        };
        Self {
            markets: setup.pairs.iter().map(market).collect(),
            framing: setup.framing,
            is_open: false,
            read: 0,
            frames: VecDeque::new(),
            engine_lag: Span::ZERO,
            lag_heard: Time::ZERO,
            lag_asked: Time::ZERO,
            subscribe_at: Time::MAX,
            full_asked: VecDeque::new(),
            is_budgeted: false,
        }
    }

    fn push_frame(&mut self, frame: Vec<u8>) {
        if self.frames.len() < Self::FRAMES_MAX {
            self.frames.push_back(frame);
        }
    }

    /// Says every subscription; saying one twice changes nothing.
    fn push_subscriptions(&mut self, now: Time) {
        self.subscribe_at = now + Self::SUBSCRIBE_EVERY;
        let mut wanted: Vec<String> = Vec::new();
        for watched in &self.markets {
            let symbol = &watched.symbol;
            for kind in ["depth", "ticker"] {
                wanted.push(format!(
                    r#"{{"op":"mtgox.subscribe","channel":"{kind}.{symbol}"}}"#
                ));
            }
        }
        for kind in ["trades", "lag"] {
            wanted.push(format!(r#"{{"op":"mtgox.subscribe","type":"{kind}"}}"#));
        }
        for text in wanted {
            let frame = self.wrap(text.as_bytes());
            self.push_frame(frame);
        }
    }

    fn wrap(&self, message: &[u8]) -> Vec<u8> {
        match self.framing {
            Framing::SocketIo => socketio::json(NAMESPACE, message),
            Framing::Plain | Framing::Polled => message.to_vec(),
        }
    }

    fn handle_packet(
        &mut self,
        frame: &[u8],
        now: Time,
        heard: Hear<'_>,
    ) -> Result<(), DecodeError> {
        match socketio::parse(frame).ok_or(DecodeError::malformed("socket.io"))? {
            Packet::Disconnect => return Err(DecodeError::Refused { what: "disconnect" }),
            Packet::Connect("") => self.push_frame(format!("1::{NAMESPACE}").into_bytes()),
            Packet::Connect(NAMESPACE) if !self.is_open => {
                self.is_open = true;
                self.push_subscriptions(now);
            }
            Packet::Heartbeat => self.push_frame(b"2::".to_vec()),
            Packet::Json(NAMESPACE, message) => return self.handle_message(message, now, heard),
            Packet::Connect(_) | Packet::Json(..) | Packet::Other => (),
        }
        heard(Heard::Alive);
        Ok(())
    }

    fn handle_message(
        &mut self,
        message: &[u8],
        now: Time,
        heard: Hear<'_>,
    ) -> Result<(), DecodeError> {
        let frame: Frame<'_> = read(message)?;
        if frame.op != "private" {
            heard(Heard::Alive);
            // Answers to calls and confirmations: whether they are ours the trading half knows.
            heard(Heard::Account);
            return Ok(());
        }
        match frame.private.as_deref() {
            Some("depth") => {
                let row = part(frame.depth)?;
                self.handle_depth(&row, now, heard)
            }
            Some("ticker") => {
                let ticker = part(frame.ticker)?;
                self.handle_ticker(&ticker, now, heard)
            }
            Some("trade") => {
                let row: TradeRow<'_> = part(frame.trade)?;
                self.handle_trade(&row, heard)?;
                if frame.channel.as_deref() != Some(TRADES_CHANNEL) {
                    heard(Heard::Account);
                }
                Ok(())
            }
            Some("lag") => {
                let lag: Lag<'_> = part(frame.lag)?;
                heard(Heard::Alive);
                self.handle_lag(&lag, now, heard)
            }
            Some(_) => {
                heard(Heard::Alive);
                heard(Heard::Account);
                Ok(())
            }
            None => Err(DecodeError::malformed("private without a kind")),
        }
    }

    fn handle_lag(&mut self, lag: &Lag<'_>, now: Time, heard: Hear<'_>) -> Result<(), DecodeError> {
        let us = lag.age.whole().ok_or(DecodeError::malformed("lag"))?;
        self.engine_lag = Span(us.saturating_mul(Span::MICRO.0));
        self.lag_heard = now;
        heard(Heard::EngineLag(self.engine_lag));
        Ok(())
    }

    fn handle_depth(
        &mut self,
        row: &DepthRow<'_>,
        now: Time,
        heard: Hear<'_>,
    ) -> Result<(), DecodeError> {
        let index = self.market_of(&row.item, &row.currency);
        let index = index.ok_or(DecodeError::Unknown)?;
        let pair = self.markets[index].market.pair;
        let row = row.level(pair.base, pair.quote);
        let row = row.map_err(|_| DecodeError::malformed("depth row"))?;
        let watched = &mut self.markets[index];
        heard(Heard::Alive);
        let Some((side, (level, stamp_us))) = row else {
            return Ok(());
        };
        if !watched.is_live {
            if watched.first_row_us.is_none() {
                watched.first_row_us = Some(stamp_us);
                watched.hurry(now);
            }
            watched.rows.push_back((side, level, stamp_us));
            if watched.rows.len() > Watched::ROWS_MAX {
                let again = watched.asked + Self::CACHED_FOR;
                watched.restart(again.max(now));
            }
            return Ok(());
        }
        let mut changed = Changed::default();
        watched.mirror.set(side, level, stamp_us, &mut changed);
        self.tell(index, changed, stamp_us, heard);
        Ok(())
    }

    fn handle_ticker(
        &mut self,
        ticker: &Ticker<'_>,
        now: Time,
        heard: Hear<'_>,
    ) -> Result<(), DecodeError> {
        let item = ticker.item.as_deref().unwrap_or("BTC");
        let index = self.market_of(item, &ticker.buy.currency);
        let index = index.ok_or(DecodeError::Unknown)?;
        let price = |units: Option<i64>| units.map(Price).ok_or(DecodeError::malformed("ticker"));
        let (bid, ask) = (price(ticker.buy.units())?, price(ticker.sell.units())?);
        let said_us = ticker.now.as_ref().and_then(|now| now.whole());
        heard(Heard::Alive);
        let watched = &mut self.markets[index];
        if !watched.is_live {
            return Ok(());
        }
        // One that came late knows nothing of what changed since.
        let now_us = said_us.unwrap_or(watched.mirror.newest_us());
        let mut changed = Changed::default();
        if bid < ask {
            watched.mirror.trim(bid, ask, now_us, &mut changed);
        }
        let is_crossed = watched.mirror.is_crossed();
        let doubtful = std::mem::take(&mut watched.is_doubtful);
        if is_crossed && doubtful {
            let again = watched.asked + Self::CACHED_FOR;
            watched.restart(again.max(now));
        }
        self.tell(index, changed, now_us, heard);
        Ok(())
    }

    fn handle_trade(&mut self, row: &TradeRow<'_>, heard: Hear<'_>) -> Result<(), DecodeError> {
        let taker = match row.trade_type.as_ref() {
            "bid" => Side::Bid,
            "ask" => Side::Ask,
            _ => return Err(DecodeError::malformed("trade type")),
        };
        heard(Heard::Alive);
        let is_copy = row.primary.as_deref() == Some("N");
        let index = self.market_of(&row.item, &row.price_currency);
        let Some(index) = index.filter(|_| !is_copy) else {
            return Ok(());
        };
        let pair = self.markets[index].market.pair;
        let price = row.price_int.scaled(decimals(pair.quote), Excess::Nearest);
        let amount = row.amount_int.scaled(decimals(pair.base), Excess::Down);
        let (Ok(price), Ok(amount), Some(stamp_us)) = (price, amount, row.tid.whole()) else {
            return Ok(());
        };
        let watched = &mut self.markets[index];
        if !watched.is_live {
            return Ok(());
        }
        let level = Level {
            price: Price(price),
            quantity: Quantity(amount),
        };
        let mut changed = Changed::default();
        watched.mirror.trade(taker, level, stamp_us, &mut changed);
        self.tell(index, changed, stamp_us, heard);
        Ok(())
    }

    /// Hands changed levels on as the next update of their market.
    fn tell(&mut self, index: usize, mut changed: Changed, stamp_us: u64, heard: Hear<'_>) {
        let watched = &mut self.markets[index];
        if changed.is_empty() || !watched.is_live {
            return;
        }
        changed.sort();
        let previous = watched.sequence;
        watched.sequence += 1;
        heard(Heard::Book(BookUpdate {
            market: watched.market,
            kind: UpdateKind::Delta { previous },
            sequence: watched.sequence,
            bids: &changed.bids,
            asks: &changed.asks,
            venue_time: Time(stamp_us.saturating_mul(Span::MICRO.0)),
            engine_lag: self.engine_lag,
        }));
    }

    fn handle_document(
        &mut self,
        index: usize,
        body: &[u8],
        now: Time,
        heard: Hear<'_>,
    ) -> Result<(), DecodeError> {
        let text = String::from_utf8_lossy(body);
        let depth: Depth<'_> = content(text.as_bytes())?;
        let watched = &mut self.markets[index];
        let pair = watched.market.pair;
        let mut mirror = Mirror::default();
        let mut unused = Changed::default();
        for (side, rows) in [(Side::Bid, &depth.bids), (Side::Ask, &depth.asks)] {
            for row in rows {
                let level = row.level(pair.base, pair.quote);
                if let Some((level, stamp_us)) =
                    level.map_err(|_| DecodeError::malformed("depth level"))?
                {
                    mirror.set(side, level, stamp_us, &mut unused);
                }
            }
        }
        let drawn_us = depth.now.and_then(|now| now.whole());
        let as_of_us = drawn_us.unwrap_or(mirror.newest_us());
        let is_certain = watched.first_row_us.is_some_and(|first| as_of_us >= first)
            || watched.asked >= watched.subscribed + Self::CACHED_FOR;
        if !watched.is_live && !is_certain {
            let fresh = watched.subscribed + Self::CACHED_FOR + Span::SECOND;
            watched.snapshot_at = Some(fresh.max(now + Span::SECOND));
            return Ok(());
        }
        if watched.is_live {
            // A refresh brings what was lost; what was heard since is newer and stays.
            if as_of_us + 1_000_000 < watched.mirror.newest_us() {
                watched.snapshot_at = Some(now + Self::REFRESH_EVERY);
                return Ok(());
            }
        }
        for (side, level, stamp_us) in watched.rows.drain(..) {
            mirror.set(side, level, stamp_us, &mut unused);
        }
        if mirror.is_crossed() {
            watched.restart(now + Self::CACHED_FOR);
            return Err(DecodeError::malformed("crossed depth"));
        }
        watched.mirror = mirror;
        watched.is_live = true;
        watched.snapshot_at = Some(now + Self::REFRESH_EVERY);
        watched.sequence += 1;
        let bids = watched.mirror.best(Side::Bid, Self::DEPTH_LEVELS_MAX);
        let asks = watched.mirror.best(Side::Ask, Self::DEPTH_LEVELS_MAX);
        heard(Heard::Book(BookUpdate {
            market: watched.market,
            kind: UpdateKind::Snapshot,
            sequence: watched.sequence,
            bids: &bids,
            asks: &asks,
            venue_time: Time(as_of_us.saturating_mul(Span::MICRO.0)),
            engine_lag: self.engine_lag,
        }));
        Ok(())
    }

    fn ask_snapshot(&mut self, index: usize, now: Time, ask: &mut dyn FnMut(Ask<'_>)) {
        while let Some(first) = self.full_asked.front()
            && now.since(*first) >= Self::HOUR
        {
            self.full_asked.pop_front();
        }
        let is_full = self.full_asked.len() < Self::FULL_MAX;
        if is_full {
            self.full_asked.push_back(now);
        }
        let watched = &mut self.markets[index];
        watched.snapshot_at = None;
        watched.asked = now;
        let kind = if is_full { "full" } else { "fetch" };
        let target = format!("/api/2/{}/money/depth/{kind}", watched.symbol);
        let ticket = Ticket(u16::try_from(index).unwrap_or(u16::MAX - 1));
        ask(Ask::Get {
            ticket,
            target: &target,
        });
    }

    fn market_of(&self, item: &str, currency: &str) -> Option<usize> {
        self.markets.iter().position(|watched| {
            let pair = &watched.market.pair;
            pair.base.as_str() == item && pair.quote.as_str() == currency
        })
    }
}

impl Feed for MtgoxFeed {
    fn frame_bytes_max(&self) -> usize {
        Self::FRAME_BYTES_MAX
    }

    fn subscribe(&mut self, now: Time, _ask: &mut dyn FnMut(Ask<'_>)) {
        if !std::mem::replace(&mut self.is_budgeted, true) {
            self.full_asked.extend([now; Self::FULL_MAX]);
        }
        self.frames.clear();
        self.engine_lag = Span::ZERO;
        self.lag_heard = Time::ZERO;
        self.is_open = self.framing == Framing::Plain;
        for watched in &mut self.markets {
            // Unless a row comes sooner: a document is of use only behind a row.
            watched.restart(now + Self::CACHED_FOR);
            watched.subscribed = now;
        }
        if self.is_open {
            self.push_subscriptions(now);
        }
    }

    fn resync(&mut self, market: Market, _now: Time, _ask: &mut dyn FnMut(Ask<'_>)) {
        let found = self.markets.iter_mut();
        if let Some(watched) = found.into_iter().find(|watched| watched.market == market) {
            watched.is_doubtful = true;
        }
    }

    fn tend(&mut self, now: Time, ask: &mut dyn FnMut(Ask<'_>)) -> Option<Time> {
        if self.is_open && now >= self.subscribe_at {
            self.push_subscriptions(now);
        }
        while let Some(frame) = self.frames.pop_front() {
            ask(Ask::Frame(&frame));
        }
        if !self.is_open {
            return None;
        }
        let mut next = self.subscribe_at;
        for index in 0..self.markets.len() {
            match self.markets[index].snapshot_at {
                Some(at) if at <= now => self.ask_snapshot(index, now, ask),
                Some(at) => next = next.min(at),
                None => (),
            }
        }
        let lag_at = self.lag_heard.max(self.lag_asked) + Self::LAG_EVERY;
        if lag_at <= now {
            self.lag_asked = now;
            ask(Ask::Get {
                ticket: Self::LAG_TICKET,
                target: "/api/2/money/order/lag",
            });
        }
        Some(next.min(lag_at.max(now + Span::SECOND)))
    }

    /// Decodes one frame of either framing.
    ///
    /// # Shape
    /// UTF-8 JSON, at most `FRAME_BYTES_MAX`, bare or in socket.io's `4::/mtgox:`.
    ///
    /// # Units
    /// `*_int` by the currency's decimals; `now`, `tid` and lag in µs.
    fn read_frame(&mut self, frame: &[u8], now: Time, heard: Hear<'_>) -> Result<(), DecodeError> {
        self.read += 1;
        match self.framing {
            Framing::SocketIo => self.handle_packet(frame, now, heard),
            Framing::Plain | Framing::Polled => self.handle_message(frame, now, heard),
        }
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
        if ticket == Self::LAG_TICKET {
            if status != 200 {
                return Err(DecodeError::Refused { what: "lag" });
            }
            let lag: Lag<'_> = content(body)?;
            return self.handle_lag(&lag, now, heard);
        }
        let index = usize::from(ticket.0);
        if index >= self.markets.len() {
            return Err(DecodeError::Unknown);
        }
        let read = match status {
            200 => self.handle_document(index, body, now, heard),
            _ => Err(DecodeError::Refused { what: "depth" }),
        };
        let watched = &mut self.markets[index];
        if read.is_err() && watched.snapshot_at.is_none() {
            watched.snapshot_at = Some(now + Self::CACHED_FOR);
        }
        read
    }
}

/// Writes a pair as the venue does: `BTCUSD`.
pub fn symbol_of(pair: Pair) -> String {
    format!("{}{}", pair.base, pair.quote)
}

/// Reads the content of a v1 or v2 answer.
pub fn content<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, DecodeError> {
    let envelope: Envelope<'a> = read(body)?;
    let content = envelope.content();
    let content = content.ok_or(DecodeError::Refused { what: "an error" })?;
    read(content.get().as_bytes())
}

fn part<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Result<T, DecodeError> {
    let raw = raw.ok_or(DecodeError::malformed("private without its part"))?;
    read(raw.get().as_bytes())
}

/// Reads the bytes of a document whatever its texts for people hold.
pub fn text_of(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body)
}
