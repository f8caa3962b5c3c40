//! Recorded trades of a market, and the market they make when they are replayed.
//!
//! ```text
//! unixtime,price,amount ── TickReader::line ──▶ Ticks ── Replay::advance ──▶ trades due, quotes
//! ```
//! Only what traded is known to have stood there: each tick refreshes a few levels around its
//! price, as large as the last ticks were. Where the last tick is too old in replay time, nothing
//! stands at all.

use thiserror::Error;

use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::market::Level;
use crate::model::number::{Price, Quantity, SCALE, parse_decimal};
use crate::model::time::{Span, Time};

/// One trade of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Seconds since 1970, as the file states them.
    pub unix_s: u64,
    pub price: Price,
    /// Zero where the recorder rounded it away: then only the price is known.
    pub quantity: Quantity,
}

/// Why a tick file is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HistoryError {
    #[error("line {line}: {fault}")]
    Line { line: u64, fault: TickFault },
    #[error("no ticks at all")]
    Empty,
}

/// What is wrong with a line of a tick file.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TickFault {
    #[error("longer than {} bytes", TickReader::LINE_BYTES_MAX)]
    TooLong,
    #[error("more than {} rows", TickReader::ROWS_MAX)]
    TooMany,
    #[error("three fields belong here: unixtime,price,amount")]
    Fields,
    #[error("the time is not a number of seconds")]
    Time,
    #[error("the price is not a decimal above zero")]
    Price,
    #[error("the amount is not a decimal")]
    Amount,
}

/// Reads a tick file line by line.
#[derive(Clone, Debug)]
pub struct TickReader {
    ticks: Vec<Tick>,
    lines: u64,
    rows_max: usize,
}

impl Default for TickReader {
    fn default() -> Self {
        Self::with_rows_max(Self::ROWS_MAX)
    }
}

impl TickReader {
    /// Rows of the longest file; the whole history of the largest venue of 2014 fits twice.
    pub const ROWS_MAX: usize = 20_000_000;
    /// Bytes of the longest line without its end.
    pub const LINE_BYTES_MAX: usize = 256;

    pub fn with_rows_max(rows_max: usize) -> Self {
        Self {
            ticks: Vec::new(),
            lines: 0,
            rows_max: rows_max.min(Self::ROWS_MAX),
        }
    }

    /// Takes the next line, with or without its end. A first line without digits is a header;
    /// empty lines count but say nothing.
    ///
    /// # Units
    /// Digits behind the eighth are dropped: they are residue of binary fractions.
    ///
    /// # Errors
    /// The line's number, from 1, and what is wrong with it.
    pub fn line(&mut self, line: &[u8]) -> Result<(), HistoryError> {
        self.lines += 1;
        let fault = |fault| HistoryError::Line {
            line: self.lines,
            fault,
        };
        let line = line.trim_ascii();
        if line.len() > Self::LINE_BYTES_MAX {
            return Err(fault(TickFault::TooLong));
        }
        let is_header = self.lines == 1 && line.first().is_some_and(u8::is_ascii_alphabetic);
        if line.is_empty() || is_header {
            return Ok(());
        }
        if self.ticks.len() >= self.rows_max {
            return Err(fault(TickFault::TooMany));
        }
        let tick = parse_tick(line).map_err(fault)?;
        self.ticks.push(tick);
        Ok(())
    }

    /// Returns the ticks, oldest first; those of one second keep the order of the file, reversed
    /// where the file runs backwards.
    ///
    /// # Errors
    /// `Empty` for a file without a tick.
    pub fn finish(self) -> Result<Vec<Tick>, HistoryError> {
        let mut ticks = self.ticks;
        let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else {
            return Err(HistoryError::Empty);
        };
        if first.unix_s > last.unix_s {
            ticks.reverse();
        }
        ticks.sort_by_key(|tick| tick.unix_s);
        Ok(ticks)
    }
}

fn parse_tick(line: &[u8]) -> Result<Tick, TickFault> {
    let mut fields = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let (Some(time), Some(price), Some(amount), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(TickFault::Fields);
    };
    let seconds = parse_decimal(time).map_err(|_| TickFault::Time)?;
    if seconds % SCALE != 0 {
        return Err(TickFault::Time);
    }
    let unix_s = u64::try_from(seconds / SCALE).map_err(|_| TickFault::Time)?;
    let price = cut_decimal(price)
        .filter(|units| *units > 0)
        .ok_or(TickFault::Price)?;
    let amount = cut_decimal(amount).ok_or(TickFault::Amount)?;
    Ok(Tick {
        unix_s,
        price: Price(price),
        quantity: Quantity(amount),
    })
}

/// Parses a decimal and drops digits behind the eighth; what that leaves of a positive number is
/// at least one unit.
fn cut_decimal(text: &[u8]) -> Option<i64> {
    /// Digits behind the point that are kept.
    const DECIMALS: usize = 8;
    let point = text.iter().position(|byte| *byte == b'.');
    let end = point.map_or(text.len(), |at| text.len().min(at + 1 + DECIMALS));
    let (kept, dropped) = text.split_at(end);
    if !dropped.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let units = parse_decimal(kept).ok()?;
    let is_positive = dropped.iter().any(|byte| *byte != b'0');
    Some(if units == 0 && is_positive { 1 } else { units })
}

/// Reads the pair from a file's name: the last three letters of what stands before the first
/// point or underscore are the currency of the price, as in `mtgoxSEK.csv.gz`.
pub fn pair_of_file_name(name: &str) -> Option<Pair> {
    let stem = name.split(['.', '_']).next()?;
    let letters = stem.bytes().take_while(u8::is_ascii_alphabetic).count();
    let code = stem.get(letters.checked_sub(3)?..letters)?;
    let quote = Currency::from_bytes(code.as_bytes()).ok()?;
    (quote != Currency::BTC).then_some(Pair {
        base: Currency::BTC,
        quote,
    })
}

/// How a history is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplaySettings {
    /// The moment of the past at which the replay begins; the same for histories that run together.
    pub origin_unix_s: u64,
    /// When that moment is replayed; the first call of `advance` where none is given.
    pub started: Option<Time>,
    /// Seconds of replay time in a second of the clock.
    pub speed: u32,
    /// Nothing stands once the last tick is older than this, in replay time.
    pub tick_age_max: Span,
    /// From the last price to the best level of either side.
    pub half_spread_ppm: u32,
    /// From one level to the next.
    pub step_ppm: u32,
}

impl ReplaySettings {
    /// Levels a side: as many as there are last ticks to take a size from.
    pub const LEVELS: usize = 5;
    /// Ticks older than ten minutes say nothing of what stood there.
    pub const TICK_AGE_MAX: Span = Span(10 * Span::MINUTE.0);

    /// Returns the usual shape of a replayed market: 0.2 % between the best levels.
    pub fn new(origin_unix_s: u64, speed: u32) -> Self {
        Self {
            origin_unix_s,
            started: None,
            speed,
            tick_age_max: Self::TICK_AGE_MAX,
            half_spread_ppm: 1_000,
            step_ppm: 500,
        }
    }
}

/// A history that runs.
#[derive(Clone, Debug)]
pub struct Replay {
    settings: ReplaySettings,
    ticks: Vec<Tick>,
    /// The first tick that is not due yet.
    next: usize,
    is_quoting: bool,
}

/// What stands after a replay moved on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotes {
    /// Best first.
    pub bids: Vec<Level>,
    /// Best first.
    pub asks: Vec<Level>,
}

impl Replay {
    /// Makes a replay of ticks that are sorted by time.
    pub fn new(ticks: Vec<Tick>, settings: ReplaySettings) -> Self {
        let next = ticks.partition_point(|tick| tick.unix_s < settings.origin_unix_s);
        Self {
            settings,
            ticks,
            next,
            is_quoting: false,
        }
    }

    /// Moves on to `now`: hands out each tick that became due, then says what stands, or `None`
    /// where nothing changed.
    pub fn advance(&mut self, now: Time, mut due: impl FnMut(&Tick)) -> Option<Quotes> {
        let started = *self.settings.started.get_or_insert(now);
        let replayed = self.replayed(now, started);
        let first = self.next;
        let is_first_call = first > 0 && !self.is_quoting;
        while let Some(tick) = self.ticks.get(self.next) {
            if nanos(tick.unix_s) > replayed {
                break;
            }
            due(tick);
            self.next += 1;
        }
        let is_fresh = self.last_tick().is_some_and(|tick| {
            replayed.saturating_sub(nanos(tick.unix_s)) <= u128::from(self.settings.tick_age_max.0)
        });
        if is_fresh && (self.next > first || is_first_call) {
            self.is_quoting = true;
            return Some(self.quotes());
        }
        if !is_fresh && std::mem::take(&mut self.is_quoting) {
            return Some(Quotes::default());
        }
        None
    }

    /// Returns when something happens next, or `None` when the history is over.
    pub fn next_at(&self) -> Option<Time> {
        let started = self.settings.started?;
        let next_tick = self.ticks.get(self.next).map(|tick| nanos(tick.unix_s));
        let end = self
            .last_tick()
            .filter(|_| self.is_quoting)
            .map(|tick| nanos(tick.unix_s) + u128::from(self.settings.tick_age_max.0) + 1);
        let replayed = match (next_tick, end) {
            (Some(tick), Some(end)) => tick.min(end),
            (tick, end) => tick.or(end)?,
        };
        let since_origin = replayed.saturating_sub(nanos(self.settings.origin_unix_s));
        let wait = since_origin.div_ceil(u128::from(self.settings.speed.max(1)));
        Some(started + Span(u64::try_from(wait).unwrap_or(u64::MAX)))
    }

    /// Returns true once every tick was handed out.
    pub fn is_over(&self) -> bool {
        self.next >= self.ticks.len()
    }

    fn last_tick(&self) -> Option<&Tick> {
        self.ticks.get(self.next.checked_sub(1)?)
    }

    fn replayed(&self, now: Time, started: Time) -> u128 {
        let passed = u128::from(now.since(started).0) * u128::from(self.settings.speed);
        nanos(self.settings.origin_unix_s) + passed
    }

    fn quotes(&self) -> Quotes {
        let mut quotes = Quotes::default();
        let Some(last) = self.last_tick() else {
            return quotes;
        };
        let sizes = self.ticks[..self.next]
            .iter()
            .rev()
            .map(|tick| tick.quantity)
            .filter(|quantity| quantity.is_positive());
        let mut away = i64::from(self.settings.half_spread_ppm);
        for quantity in sizes.take(ReplaySettings::LEVELS) {
            quotes.bids.push(Level {
                price: last.price.moved_ppm(-away),
                quantity,
            });
            quotes.asks.push(Level {
                price: last.price.moved_ppm_ceil(away),
                quantity,
            });
            away += i64::from(self.settings.step_ppm);
        }
        quotes
    }
}

fn nanos(unix_s: u64) -> u128 {
    u128::from(unix_s) * u128::from(Span::SECOND.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Tick>, HistoryError> {
        let mut reader = TickReader::with_rows_max(4);
        for line in text.lines() {
            reader.line(line.as_bytes())?;
        }
        reader.finish()
    }

    fn check_fault(text: &str, line: u64, fault: TickFault) {
        assert_eq!(
            read(text),
            Err(HistoryError::Line { line, fault }),
            "{text}"
        );
    }

    fn tick(unix_s: u64, price: i64, quantity: i64) -> Tick {
        Tick {
            unix_s,
            price: Price::whole(price),
            quantity: Quantity::whole(quantity),
        }
    }

    #[test]
    fn files_may_have_a_header_and_may_run_backwards() {
        let forward = "Time,Price,Volume\n1,100.000000000000,1.000000000000\n2,101,2\r\n";
        assert_eq!(read(forward), Ok(vec![tick(1, 100, 1), tick(2, 101, 2)]));
        assert_eq!(
            read("2,101,2\n2,100,2\n1,100,1\n"),
            Ok(vec![tick(1, 100, 1), tick(2, 100, 2), tick(2, 101, 2)])
        );
        assert_eq!(
            read("1,1,0.000000000001").map(|ticks| ticks[0].quantity.0),
            Ok(1)
        );
    }

    #[test]
    fn a_bad_line_is_named_with_its_number() {
        check_fault("1,1,1\n2,2\n", 2, TickFault::Fields);
        check_fault("1,1,1,1", 1, TickFault::Fields);
        check_fault("1,1,1\nTime,Price,Volume", 2, TickFault::Time);
        check_fault("1.5,1,1", 1, TickFault::Time);
        check_fault("1,0,1", 1, TickFault::Price);
        check_fault("1,-1,1", 1, TickFault::Price);
        check_fault("1,1,1e5", 1, TickFault::Amount);
        check_fault("1,1,0.0000000000x", 1, TickFault::Amount);
        check_fault("1,1,1\n1,1,1\n1,1,1\n1,1,1\n1,1,1", 5, TickFault::TooMany);
        check_fault(&"1".repeat(300), 1, TickFault::TooLong);
        assert_eq!(read("\n"), Err(HistoryError::Empty));
    }

    #[test]
    fn the_currency_stands_in_the_name_of_the_file() {
        for (name, quote) in [
            ("mtgoxSEK.csv.gz", Some("BTC/SEK")),
            ("bitstampUSD_2011-09_part1.csv.gz", Some("BTC/USD")),
            ("bcmPPUSD.csv", Some("BTC/USD")),
            ("ticks.csv", None),
            ("US.csv", None),
            ("", None),
        ] {
            let pair = pair_of_file_name(name).map(|pair| pair.to_string());
            assert_eq!(pair.as_deref(), quote, "{name}");
        }
    }

    #[test]
    fn a_replay_quotes_fresh_ticks_and_nothing_behind_stale_ones() {
        let ticks = vec![tick(1_000, 100, 3), tick(1_060, 110, 2), tick(9_000, 90, 1)];
        let mut replay = Replay::new(ticks, ReplaySettings::new(1_030, 60));
        let start = Time(Span::DAY.0);
        let mut due = Vec::new();
        let before = replay.advance(start, |tick| due.push(*tick)).unwrap();
        assert!(due.is_empty());
        assert_eq!(before.asks[0].price, Price(10_010_000_000));
        assert_eq!(replay.next_at(), Some(start + Span::millis(500)));
        assert_eq!(replay.advance(start + Span::millis(499), |_| ()), None);
        let quotes = replay
            .advance(start + Span::millis(500), |tick| due.push(*tick))
            .unwrap();
        assert_eq!(due, vec![tick(1_060, 110, 2)]);
        assert_eq!(quotes.bids[0].price, Price(10_989_000_000));
        assert_eq!(quotes.bids[1].quantity, Quantity::whole(3));
        let stale = replay.next_at().unwrap();
        assert!(stale < start + Span::secs(11));
        assert_eq!(replay.advance(stale, |_| ()), Some(Quotes::default()));
        let late = replay.next_at().unwrap();
        assert!(replay.advance(late, |_| ()).is_some());
        assert!(replay.is_over());
        let end = replay.next_at().unwrap();
        assert_eq!(replay.advance(end, |_| ()), Some(Quotes::default()));
        assert_eq!(replay.next_at(), None);
    }
}
