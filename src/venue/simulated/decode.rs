//! The public half of the simulated dialect.
//!
//! Book frames exactly as the venue writes them are scanned byte by byte into reused levels. What
//! the scanner does not recognise goes through the tolerant reader, which alone finds faults: both
//! give the same result where both give one.

use crate::model::ids::OrderId;
use crate::model::instrument::{Market, Pair};
use crate::model::market::{BookUpdate, Level, UpdateKind};
use crate::model::number::{Price, Quantity, parse_decimal};
use crate::model::time::{Span, Time};
use crate::model::trade::{Filled, OrderReport};
use crate::venue::document;
use crate::venue::scan::{ReadCounts, Scan};
use crate::venue::simulated::DEPTH_LEVELS_MAX;
use crate::venue::simulated::message::{Book, BookKind, Frame, Operation, OrderRow, json_of};
use crate::venue::{Ask, DecodeError, Feed, Hear, Heard, Setup};

/// Decodes the frames of one simulated venue.
#[derive(Debug)]
pub struct SimulatedFeed {
    markets: Vec<(String, Market)>,
    bids: Vec<Level>,
    asks: Vec<Level>,
    counts: ReadCounts,
}

/// What a book frame says besides its levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BookHead {
    market: Market,
    kind: UpdateKind,
    sequence: u64,
    venue_time: Time,
    engine_lag: Span,
}

impl SimulatedFeed {
    /// Bytes of the largest frame: two full sides with the longest numbers.
    pub const FRAME_BYTES_MAX: usize = 256 * 1024;

    pub fn new(setup: &Setup) -> Self {
        let market = |pair: &Pair| Market {
            venue: setup.venue,
            pair: *pair,
        };
        let depth = usize::from(DEPTH_LEVELS_MAX);
        Self {
            markets: setup
                .pairs
                .iter()
                .map(|pair| (pair.to_string(), market(pair)))
                .collect(),
            bids: Vec::with_capacity(depth),
            asks: Vec::with_capacity(depth),
            counts: ReadCounts::default(),
        }
    }

    fn scan(&mut self, frame: &[u8]) -> Option<BookHead> {
        let mut scan = Scan::new(frame);
        scan.literal(b"{\"ch\":\"book\",\"pair\":\"")?;
        let pair = scan.text()?;
        let (_, market) = self
            .markets
            .iter()
            .find(|(text, _)| text.as_bytes() == pair)?;
        let market = *market;
        scan.literal(b",\"kind\":\"")?;
        let kind = if scan.takes(b"delta\",\"prev\":") {
            UpdateKind::Delta {
                previous: scan.whole()?,
            }
        } else {
            scan.literal(b"snapshot\"")?;
            UpdateKind::Snapshot
        };
        scan.literal(b",\"seq\":")?;
        let sequence = scan.whole()?;
        scan.literal(b",\"ts\":\"")?;
        let venue_time = Time(scan.long_whole()?);
        scan.literal(b"\",\"lag_us\":")?;
        let lag_us = scan.whole()?;
        scan.literal(b",\"bids\":[")?;
        scan_levels(&mut scan, &mut self.bids)?;
        scan.literal(b",\"asks\":[")?;
        scan_levels(&mut scan, &mut self.asks)?;
        scan.literal(b"}")?;
        scan.end()?;
        Some(BookHead {
            market,
            kind,
            sequence,
            venue_time,
            engine_lag: span_of_micros(lag_us),
        })
    }

    fn read_book(&mut self, book: &Book<'_>) -> Result<BookHead, DecodeError> {
        let market = self.market_of(&book.pair)?;
        let kind = match (book.kind, book.prev) {
            (BookKind::Snapshot, None) => UpdateKind::Snapshot,
            (BookKind::Delta, Some(previous)) => UpdateKind::Delta { previous },
            (BookKind::Snapshot, Some(_)) | (BookKind::Delta, None) => {
                return Err(DecodeError::malformed("prev belongs to deltas"));
            }
        };
        read_levels(&book.bids, &mut self.bids)?;
        read_levels(&book.asks, &mut self.asks)?;
        Ok(BookHead {
            market,
            kind,
            sequence: book.seq,
            venue_time: Time(whole_number(&book.ts).ok_or(DecodeError::malformed("ts"))?),
            engine_lag: span_of_micros(book.lag_us),
        })
    }

    fn market_of(&self, pair: &str) -> Result<Market, DecodeError> {
        let found = self.markets.iter().find(|(text, _)| text == pair);
        found.map(|(_, market)| *market).ok_or(DecodeError::Unknown)
    }

    fn hear_book(&self, head: BookHead, heard: Hear<'_>) -> Result<(), DecodeError> {
        let is_snapshot = match head.kind {
            UpdateKind::Snapshot => true,
            UpdateKind::Delta { previous } if previous < head.sequence => false,
            UpdateKind::Delta { .. } => {
                return Err(DecodeError::malformed("seq does not follow prev"));
            }
        };
        if !self.bids.is_sorted_by(|one, other| one.price > other.price)
            || !self.asks.is_sorted_by(|one, other| one.price < other.price)
        {
            return Err(DecodeError::malformed("levels out of order"));
        }
        let mut levels = self.bids.iter().chain(&self.asks);
        if levels.any(|level| !level.price.is_positive() || is_snapshot && level.quantity.is_zero())
        {
            return Err(DecodeError::malformed("empty level"));
        }
        if let (true, Some(bid), Some(ask)) = (is_snapshot, self.bids.first(), self.asks.first())
            && bid.price >= ask.price
        {
            return Err(DecodeError::malformed("crossed snapshot"));
        }
        heard(Heard::Book(BookUpdate {
            market: head.market,
            kind: head.kind,
            sequence: head.sequence,
            bids: &self.bids,
            asks: &self.asks,
            venue_time: head.venue_time,
            engine_lag: head.engine_lag,
        }));
        Ok(())
    }
}

impl Feed for SimulatedFeed {
    fn frame_bytes_max(&self) -> usize {
        Self::FRAME_BYTES_MAX
    }

    fn subscribe(&mut self, _now: Time, ask: &mut dyn FnMut(Ask<'_>)) {
        let pairs = self.markets.iter().map(|(text, _)| text.clone()).collect();
        ask(Ask::Frame(&json_of(&Operation::Subscribe { pairs })));
    }

    fn resync(&mut self, market: Market, _now: Time, ask: &mut dyn FnMut(Ask<'_>)) {
        let pair = market.pair.to_string();
        ask(Ask::Frame(&json_of(&Operation::Resync { pair })));
    }

    /// The venue sends the heartbeat; none is owed to it.
    fn tend(&mut self, _now: Time, _ask: &mut dyn FnMut(Ask<'_>)) -> Option<Time> {
        None
    }

    /// Decodes one frame.
    ///
    /// # Shape
    /// UTF-8 JSON, at most `FRAME_BYTES_MAX`; best level first; quantity 0 removes a level.
    ///
    /// # Units
    /// Decimal strings at 1e-8; `ts` in ns since 1970; `lag_us` in µs.
    fn read_frame(&mut self, frame: &[u8], _now: Time, heard: Hear<'_>) -> Result<(), DecodeError> {
        if let Some(head) = self.scan(frame) {
            self.counts.template += 1;
            return self.hear_book(head, heard);
        }
        self.counts.slow += 1;
        let read: Frame<'_> = document::read(frame)?;
        match read {
            Frame::Book(book) => {
                let head = self.read_book(&book)?;
                self.hear_book(head, heard)?;
            }
            Frame::Order(row) => {
                let market = self.market_of(&row.pair)?;
                let report = report_of(&row, market).ok_or(DecodeError::malformed("order"))?;
                heard(Heard::Order(report));
            }
            Frame::Lag { us } => heard(Heard::EngineLag(span_of_micros(us))),
            Frame::Alive | Frame::Login { ok: true } => heard(Heard::Alive),
            Frame::Login { ok: false } => return Err(DecodeError::Refused { what: "login" }),
            Frame::Error { .. } => return Err(DecodeError::Refused { what: "request" }),
            Frame::Other => return Err(DecodeError::Unknown),
        }
        Ok(())
    }

    fn read_counts(&self) -> ReadCounts {
        self.counts
    }
}

/// Reads an order of the venue; `None` where a field is not what it should be.
pub(super) fn report_of(row: &OrderRow<'_>, market: Market) -> Option<OrderReport> {
    let quantity = |text: &str| parse_decimal(text.as_bytes()).ok().map(Quantity);
    Some(OrderReport {
        id: Some(OrderId(whole_number(&row.id)?)),
        market,
        side: row.side.into(),
        limit: Price(parse_decimal(row.limit.as_bytes()).ok()?),
        state: row.state.into(),
        filled: Filled {
            quantity: quantity(&row.filled)?,
            total: quantity(&row.total)?,
            fee: quantity(&row.fee)?,
        },
        remaining: quantity(&row.remaining)?,
    })
}

/// Reads digits without sign or leading zero.
pub(super) fn whole_number(text: &str) -> Option<u64> {
    let mut scan = Scan::new(text.as_bytes());
    let number = scan.long_whole()?;
    scan.end()?;
    Some(number)
}

fn read_levels(
    rows: &[(std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)],
    levels: &mut Vec<Level>,
) -> Result<(), DecodeError> {
    if rows.len() > usize::from(DEPTH_LEVELS_MAX) {
        return Err(DecodeError::malformed("too many levels"));
    }
    levels.clear();
    for (price, quantity) in rows {
        let number = |text: &str| {
            parse_decimal(text.as_bytes()).map_err(|_| DecodeError::malformed("number"))
        };
        levels.push(Level {
            price: Price(number(price)?),
            quantity: Quantity(number(quantity)?),
        });
    }
    Ok(())
}

fn span_of_micros(micros: u64) -> Span {
    Span(micros.saturating_mul(Span::MICRO.0))
}

/// Reads `["price","quantity"],…]` into `levels`.
fn scan_levels(scan: &mut Scan<'_>, levels: &mut Vec<Level>) -> Option<()> {
    levels.clear();
    if scan.takes(b"]") {
        return Some(());
    }
    loop {
        scan.literal(b"[\"")?;
        let price = scan.price()?;
        scan.literal(b"\",\"")?;
        let quantity = scan.quantity()?;
        scan.literal(b"\"]")?;
        if levels.len() == usize::from(DEPTH_LEVELS_MAX) {
            return None;
        }
        levels.push(Level { price, quantity });
        if !scan.takes(b",") {
            return scan.literal(b"]");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;
    use crate::venue::Framing;

    const DELTA: &str = r#"{"ch":"book","pair":"BTC/USD","kind":"delta","prev":6,"seq":7,"ts":"9","lag_us":2,"bids":[["100.5","1.25"],["100","0"]],"asks":[]}"#;

    fn feed() -> SimulatedFeed {
        SimulatedFeed::new(&Setup {
            venue: "sim".parse().unwrap(),
            host: "h".to_owned(),
            pairs: vec!["BTC/USD".parse().unwrap()],
            rules: Vec::new(),
            framing: Framing::Plain,
        })
    }

    fn hear(frame: &[u8]) -> Result<String, DecodeError> {
        let mut text = String::new();
        feed().decode(frame, Time(1), &mut |heard| text = format!("{heard:?}"))?;
        Ok(text)
    }

    fn hear_tolerant(frame: &[u8]) -> Result<String, DecodeError> {
        let mut spaced = frame.to_vec();
        spaced.push(b' ');
        hear(&spaced)
    }

    #[test]
    fn the_scanner_knows_what_the_venue_writes() {
        for text in [
            DELTA.to_owned(),
            DELTA.replace("delta\",\"prev\":6", "snapshot\""),
        ] {
            let read: Frame<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!(json_of(&read), text.as_bytes());
            assert!(feed().scan(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn scanner_and_tolerant_reader_agree_on_every_mutation() {
        let mut random = Random::new(5);
        let mut accepted = 0;
        for _ in 0..50_000 {
            let mut frame = DELTA.as_bytes().to_vec();
            for _ in 0..=random.below(2) {
                let at = usize::try_from(random.below(frame.len() as u64)).unwrap();
                match random.below(3) {
                    0 => {
                        frame[at] =
                            b"0123456789.,\"[]{}- \\"[usize::try_from(random.below(20)).unwrap()]
                    }
                    1 => frame[at] = u8::try_from(random.below(256)).unwrap(),
                    _ => drop(frame.remove(at)),
                }
            }
            let direct = hear(&frame);
            assert_eq!(direct.is_ok(), hear_tolerant(&frame).is_ok());
            if let Ok(text) = direct {
                assert_eq!(Ok(text), hear_tolerant(&frame));
                accepted += 1;
            }
        }
        assert!(accepted > 1_000);
    }

    #[test]
    fn a_frame_is_refused_whole() {
        for (from, to) in [
            ("\"100\"", "\"101\""),
            ("\"prev\":6", "\"prev\":7"),
            ("\"prev\":6,", ""),
            ("1.25", "1.2.5"),
            ("1.25", "-1"),
            ("100.5", "0"),
        ] {
            let frame = DELTA.replace(from, to);
            assert!(
                matches!(hear(frame.as_bytes()), Err(DecodeError::Malformed { .. })),
                "{frame}"
            );
        }
        let other = DELTA.replace("BTC/USD", "BTC/EUR");
        assert_eq!(hear(other.as_bytes()), Err(DecodeError::Unknown));
        assert_eq!(hear(br#"{"ch":"news"}"#), Err(DecodeError::Unknown));
        let crossed = r#"{"ch":"book","pair":"BTC/USD","kind":"snapshot","seq":7,"ts":"9","lag_us":2,"bids":[["100","1"]],"asks":[["100","1"]]}"#;
        assert!(hear(crossed.as_bytes()).is_err());
    }

    #[test]
    fn small_frames_say_what_they_say() {
        let login = DecodeError::Refused { what: "login" };
        assert_eq!(hear(br#"{"ch":"login","ok":false}"#), Err(login));
        assert_eq!(
            hear(br#"{"ch":"lag","us":5}"#),
            Ok("EngineLag(Span(5000))".to_owned())
        );
        assert_eq!(hear(br#"{"ch":"alive"}"#), Ok("Alive".to_owned()));
        let order = r#"{"ch":"order","id":"7","pair":"BTC/USD","side":"bid","limit":"1","state":"open","filled":"0","total":"0","fee":"0","remaining":"1"}"#;
        assert!(hear(order.as_bytes()).unwrap().contains("Open"));
        assert!(hear(order.replace("\"7\"", "\"x\"").as_bytes()).is_err());
    }
}
