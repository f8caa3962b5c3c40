//! The public half of both dialects: which markets are whole, and what to ask for where one is not.
//!
//! What shows that something was lost is a number of the connection that was left out, or a ticker
//! that goes on contradicting the book.
//!
//! Source: the exchange's documentation of both feeds, read 2026-11-23.

use crate::model::instrument::{Market, Pair};
use crate::model::market::{Level, Side};
use crate::model::number::Price;
use crate::model::time::Time;
use crate::venue::coinbase::event::{Events, Head};
use crate::venue::coinbase::shape::{self, ExchangeFrame, Fault, Frame};
use crate::venue::coinbase::template;
use crate::venue::coinbase::tolerant::{self, Said};
use crate::venue::coinbase::top::Top;
use crate::venue::document;
use crate::venue::names::Names;
use crate::venue::scan::ReadCounts;
use crate::venue::stamp::Stamps;
use crate::venue::subscriptions::Subscriptions;
use crate::venue::{Ask, DecodeError, Feed, Hear, Heard, Setup};

/// Which of the two feeds is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialogue {
    /// Advanced Trade: frames are numbered.
    Advanced,
    /// The Exchange: nothing is numbered, the ticker tells.
    Exchange,
}

/// Decodes the stream of one of the two.
#[derive(Debug)]
pub struct CoinbaseFeed {
    dialogue: Dialogue,
    markets: Subscriptions<Check>,
    symbols: Names,
    stamps: Stamps,
    events: Events,
    counts: ReadCounts,
    /// The number that the next frame of the connection must have, once one was heard.
    number: Option<u64>,
}

/// The best prices by the updates and by the ticker.
#[derive(Debug, Default)]
struct Check {
    top: Top,
    /// What the ticker said that the book did not have then. Updates may still be on their way.
    doubt: Option<(Price, Price)>,
    /// Doubts in a row that the next update did not settle.
    strikes: u8,
}

impl CoinbaseFeed {
    /// Bytes of the largest frame that is read: the whole book of BTC-USD has 5 MB.
    pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
    /// Levels a side of a snapshot that are told; the exchange sends all there are.
    pub const DEPTH_LEVELS_MAX: usize = 1_000;
    /// Tickers in a row that the book contradicts before it counts as wrong. One may: it can be of
    /// the moment before the snapshot, or come ahead of a batch.
    const STRIKES_MAX: u8 = 3;

    pub fn new(setup: &Setup, dialogue: Dialogue) -> Self {
        let product = |pair: &Pair| format!("{}-{}", pair.base, pair.quote);
        let watched = |pair: &Pair| {
            let venue = setup.venue;
            (
                Market { venue, pair: *pair },
                product(pair),
                Check::default(),
            )
        };
        Self {
            dialogue,
            markets: Subscriptions::new(setup.pairs.iter().map(watched)),
            symbols: Names::new(setup.pairs.iter().map(product), b'"'),
            stamps: Stamps::default(),
            events: Events::default(),
            counts: ReadCounts::default(),
            number: None,
        }
    }

    /// Reads a frame, the fastest way first; returns what it is with its events in `events`.
    fn read(&mut self, frame: &[u8]) -> Result<Said, DecodeError> {
        let (symbols, stamps, events) = (&mut self.symbols, &mut self.stamps, &mut self.events);
        let head = match self.dialogue {
            Dialogue::Advanced => template::read_advanced(frame, symbols, stamps, events),
            Dialogue::Exchange => template::read_exchange(frame, symbols, stamps, events),
        };
        if let Some(head) = head {
            self.counts.template += 1;
            return Ok(Said::Book(head));
        }
        if self.dialogue == Dialogue::Advanced
            && let Some(head) = template::read_other(frame, stamps)
        {
            self.counts.template += 1;
            return Ok(Said::Other(head));
        }
        let said = match self.dialogue {
            Dialogue::Advanced => tolerant::read_advanced(frame, symbols, events),
            Dialogue::Exchange => tolerant::read_exchange(frame, symbols, events),
        };
        if let Some(said) = said {
            self.counts.tolerant += 1;
            return Ok(said);
        }
        self.counts.slow += 1;
        let said = match self.dialogue {
            Dialogue::Advanced => {
                let frame: Frame<'_> = document::read(frame)?;
                shape::read_advanced(&frame, symbols, events)
            }
            Dialogue::Exchange => {
                let frame: ExchangeFrame<'_> = document::read(frame)?;
                shape::read_exchange(&frame, symbols, events)
            }
        };
        said.map_err(|fault| match fault {
            Fault::Malformed(what) => DecodeError::malformed(what),
            Fault::Unknown | Fault::Beyond => DecodeError::Unknown,
        })
    }

    /// Compares a frame's number with the one before; returns false where it came too late.
    fn follow(&mut self, head: &Head, now: Time, heard: Hear<'_>) -> bool {
        let Some(number) = head.number else {
            return true;
        };
        let expected = self.number.unwrap_or(number);
        if number < expected {
            return false;
        }
        self.number = number.checked_add(1);
        if number > expected {
            self.markets.lose_all(now, |gap| heard(Heard::Book(gap)));
        }
        true
    }

    /// Hands on the events of a frame.
    fn tell(&mut self, head: &Head, now: Time, heard: Hear<'_>) {
        let (mut bids_start, mut asks_start) = (0, 0);
        for event in &self.events.list {
            let bids = self.events.bids.get_mut(bids_start..event.bids_end);
            let asks = self.events.asks.get_mut(asks_start..event.asks_end);
            (bids_start, asks_start) = (event.bids_end, event.asks_end);
            let (Some(index), Some(bids), Some(asks)) = (event.market, bids, asks) else {
                continue;
            };
            let Some(market) = self.markets.get_mut(index) else {
                continue;
            };
            let at = head.at.unwrap_or(now);
            if event.is_snapshot {
                let levels = [best_of(Side::Bid, bids), best_of(Side::Ask, asks)];
                heard(Heard::Book(market.next(true, levels, at)));
                if self.dialogue == Dialogue::Exchange {
                    market.own.handle_snapshot(bids, asks);
                }
            } else if market.is_live() {
                let is_right =
                    self.dialogue == Dialogue::Advanced || market.own.handle_update(bids, asks);
                if is_right {
                    heard(Heard::Book(market.next(false, [bids, asks], at)));
                } else if let Some(gap) = self.markets.lose(index, now) {
                    heard(Heard::Book(gap));
                }
            }
        }
    }
}

/// Cuts one side of a snapshot to the levels that are told, best first.
fn best_of(side: Side, levels: &mut [Level]) -> &[Level] {
    let rank = |level: &Level| match side {
        Side::Bid => -level.price.0,
        Side::Ask => level.price.0,
    };
    if !levels.is_sorted_by_key(rank) {
        levels.sort_by_key(rank);
    }
    let told = levels.len().min(CoinbaseFeed::DEPTH_LEVELS_MAX);
    levels.get(..told).unwrap_or_default()
}

impl Check {
    fn handle_snapshot(&mut self, bids: &[Level], asks: &[Level]) {
        self.top.clear();
        self.doubt = None;
        self.strikes = 0;
        // From its far end each level is the best so far, and nothing moves.
        for (side, levels) in [(Side::Bid, bids), (Side::Ask, asks)] {
            let told = levels.len().min(CoinbaseFeed::DEPTH_LEVELS_MAX);
            for level in levels.iter().take(told).rev() {
                self.top.apply(side, level);
            }
        }
    }

    /// Applies an update; returns false where the book has contradicted too many tickers in a row.
    #[inline]
    fn handle_update(&mut self, bids: &[Level], asks: &[Level]) -> bool {
        for (side, levels) in [(Side::Bid, bids), (Side::Ask, asks)] {
            for level in levels {
                self.top.apply(side, level);
            }
        }
        if let Some(doubt) = self.doubt.take() {
            // The ticker may have been ahead of this update.
            let is_settled = self.top.best() == Some(doubt);
            self.strikes = if is_settled { 0 } else { self.strikes + 1 };
        }
        self.strikes < CoinbaseFeed::STRIKES_MAX
    }

    fn handle_ticker(&mut self, bid: Price, ask: Price) {
        if self.top.best() == Some((bid, ask)) {
            self.doubt = None;
            self.strikes = 0;
        } else {
            self.doubt = Some((bid, ask));
        }
    }
}

impl Dialogue {
    /// Returns the frame that begins or ends the books of these products.
    fn request(self, kind: &str, products: &str) -> String {
        match self {
            Self::Advanced => {
                format!(r#"{{"type":"{kind}","product_ids":[{products}],"channel":"level2"}}"#)
            }
            Self::Exchange => {
                format!(
                    r#"{{"type":"{kind}","product_ids":[{products}],"channels":["level2_batch"]}}"#
                )
            }
        }
    }

    /// Returns what keeps the connection alive, and what the book is compared with.
    fn companion(self, products: &str) -> String {
        match self {
            Self::Advanced => {
                format!(
                    r#"{{"type":"subscribe","product_ids":[{products}],"channel":"heartbeats"}}"#
                )
            }
            Self::Exchange => format!(
                r#"{{"type":"subscribe","product_ids":[{products}],"channels":["heartbeat","ticker"]}}"#
            ),
        }
    }
}

impl Feed for CoinbaseFeed {
    fn frame_bytes_max(&self) -> usize {
        Self::FRAME_BYTES_MAX
    }

    fn subscribe(&mut self, now: Time, ask: &mut dyn FnMut(Ask<'_>)) {
        self.number = None;
        self.markets.begin(now, |_| ());
        let products = self.markets.quoted_names();
        let books = self.dialogue.request("subscribe", &products);
        for frame in [books, self.dialogue.companion(&products)] {
            ask(Ask::Frame(frame.as_bytes()));
        }
    }

    /// Subscribes anew, at most once a second: only that brings a snapshot.
    fn resync(&mut self, market: Market, now: Time, ask: &mut dyn FnMut(Ask<'_>)) {
        self.markets.resync(market, now);
        self.tend(now, ask);
    }

    /// Asks again where no snapshot came. The exchange sends its heartbeat once it was asked to.
    fn tend(&mut self, now: Time, ask: &mut dyn FnMut(Ask<'_>)) -> Option<Time> {
        let dialogue = self.dialogue;
        self.markets.tend(now, |product| {
            for kind in ["unsubscribe", "subscribe"] {
                let frame = dialogue.request(kind, &format!("\"{product}\""));
                ask(Ask::Frame(frame.as_bytes()));
            }
        })
    }

    /// Decodes one frame.
    ///
    /// # Shape
    /// UTF-8 JSON, at most `FRAME_BYTES_MAX`; absolute sizes, zero removes. Of a snapshot the best
    /// `DEPTH_LEVELS_MAX` levels a side are told.
    ///
    /// # Units
    /// Prices and sizes as decimal strings, at most eight decimals that are not zero; times RFC 3339.
    fn read_frame(&mut self, frame: &[u8], now: Time, heard: Hear<'_>) -> Result<(), DecodeError> {
        match self.read(frame)? {
            Said::Book(head) => {
                if self.follow(&head, now, heard) {
                    self.tell(&head, now, heard);
                }
            }
            Said::Best { market, bid, ask } => {
                if let Some(market) = self.markets.get_mut(market) {
                    market.own.handle_ticker(bid, ask);
                }
            }
            Said::Other(head) => {
                self.follow(&head, now, heard);
            }
            Said::Beyond { market, head } => {
                // It is given up alone: reconnecting would bring the same frame.
                if let Some(market) = market {
                    self.markets.refuse(market);
                }
                if let Some(head) = head {
                    self.follow(&head, now, heard);
                }
            }
        }
        heard(Heard::Alive);
        Ok(())
    }

    fn read_counts(&self) -> ReadCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venue::Framing;

    const NOW: Time = Time(1_700_000_000_000_000_000);

    fn feed(dialogue: Dialogue) -> CoinbaseFeed {
        let setup = Setup {
            venue: "coinbase".parse().unwrap(),
            host: "h".to_owned(),
            pairs: vec!["BTC/USD".parse().unwrap(), "ETH/USD".parse().unwrap()],
            rules: Vec::new(),
            framing: Framing::Plain,
        };
        let mut feed = CoinbaseFeed::new(&setup, dialogue);
        feed.subscribe(NOW, &mut |_| ());
        feed
    }

    fn hear(feed: &mut CoinbaseFeed, frame: &str) -> Result<Vec<String>, DecodeError> {
        let mut said = Vec::new();
        feed.decode(frame.as_bytes(), NOW, &mut |heard| {
            if let Heard::Book(update) = heard {
                let best = |levels: &[Level]| {
                    let first = levels.first().map(|level| level.price.to_string());
                    format!("{}:{}", levels.len(), first.unwrap_or_default())
                };
                let (kind, pair) = (update.kind, update.market.pair);
                let (bids, asks) = (best(update.bids), best(update.asks));
                said.push(format!("{pair} {kind:?} {} {bids} {asks}", update.sequence));
            }
        })?;
        Ok(said)
    }

    fn frames(asked: impl FnOnce(&mut dyn FnMut(Ask<'_>))) -> Vec<String> {
        let mut frames = Vec::new();
        asked(&mut |ask| {
            if let Ask::Frame(frame) = ask {
                frames.push(String::from_utf8(frame.to_vec()).unwrap());
            }
        });
        frames
    }

    fn advanced(number: u64, kind: &str, product: &str, bid: &str) -> String {
        format!(
            r#"{{"channel":"l2_data","timestamp":"2026-08-09T21:05:48.505350477Z","sequence_num":{number},"events":[{{"type":"{kind}","product_id":"{product}","updates":[{{"side":"bid","event_time":"2026-08-09T21:05:48.210883Z","price_level":"{bid}","new_quantity":"1"}}]}}]}}"#
        )
    }

    fn update(bid: &str, size: &str) -> String {
        format!(
            r#"{{"type":"l2update","product_id":"BTC-USD","changes":[["buy","{bid}","{size}"]],"time":"2021-04-17T16:43:37.077621Z"}}"#
        )
    }

    fn ticker(bid: &str) -> String {
        format!(r#"{{"type":"ticker","product_id":"BTC-USD","best_bid":"{bid}","best_ask":"11"}}"#)
    }

    const SNAPSHOT: &str =
        r#"{"type":"snapshot","product_id":"BTC-USD","asks":[["11","1"]],"bids":[["9","1"]]}"#;

    #[test]
    fn they_subscribe_in_the_words_of_the_exchange() {
        let mut advanced = feed(Dialogue::Advanced);
        assert_eq!(
            frames(|ask| advanced.subscribe(NOW, ask)),
            [
                r#"{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"channel":"level2"}"#,
                r#"{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"channel":"heartbeats"}"#,
            ]
        );
        let mut exchange = feed(Dialogue::Exchange);
        assert_eq!(
            frames(|ask| exchange.subscribe(NOW, ask)),
            [
                r#"{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"channels":["level2_batch"]}"#,
                r#"{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"channels":["heartbeat","ticker"]}"#,
            ]
        );
        let again = frames(|ask| {
            exchange.tend(NOW + Subscriptions::<Check>::PATIENCE, ask);
        });
        assert_eq!(again.len(), 4, "no snapshot came: {again:?}");
        assert_eq!(
            again[0],
            r#"{"type":"unsubscribe","product_ids":["BTC-USD"],"channels":["level2_batch"]}"#
        );
    }

    #[test]
    fn a_number_left_out_costs_every_live_market_one_resync() {
        let mut feed = feed(Dialogue::Advanced);
        let mut hear = |frame: String| hear(&mut feed, &frame).unwrap();
        let first = hear(advanced(7, "snapshot", "BTC-USD", "9"));
        assert_eq!(first, ["BTC/USD Snapshot 1 1:9 0:"]);
        let next = hear(advanced(8, "update", "BTC-USD", "9.5"));
        assert_eq!(next, ["BTC/USD Delta { previous: 1 } 2 1:9.5 0:"]);
        assert_eq!(hear(advanced(8, "update", "BTC-USD", "9.6")).len(), 0);
        assert_eq!(hear(advanced(3, "update", "BTC-USD", "9.6")).len(), 0);
        let other = r#"{"channel":"heartbeats","timestamp":"2026-08-09T21:05:48Z","sequence_num":9,"events":[]}"#;
        assert_eq!(hear(other.to_owned()).len(), 0);
        let lost = hear(advanced(11, "update", "BTC-USD", "9.6"));
        assert_eq!(lost, ["BTC/USD Delta { previous: 3 } 4 0: 0:"]);
        assert_eq!(hear(advanced(12, "update", "BTC-USD", "9.6")).len(), 0);
        assert_eq!(hear(advanced(14, "update", "BTC-USD", "9.6")).len(), 0);
        let back = hear(advanced(15, "snapshot", "BTC-USD", "9.7"));
        assert_eq!(back, ["BTC/USD Snapshot 5 1:9.7 0:"]);
        assert_eq!(hear(advanced(16, "update", "XRP-USD", "1")).len(), 0);
        let next = hear(advanced(17, "update", "BTC-USD", "9.8"));
        assert_eq!(next.len(), 1);
    }

    #[test]
    fn a_ticker_that_goes_on_contradicting_the_book_costs_one_resync() {
        let mut feed = feed(Dialogue::Exchange);
        let mut hear = |frame: &str| hear(&mut feed, frame).unwrap();
        assert_eq!(hear(SNAPSHOT), ["BTC/USD Snapshot 1 1:9 1:11"]);
        // Old, ahead of its update, and right: no reason to doubt.
        hear(&ticker("8"));
        hear(&update("7", "1"));
        hear(&ticker("9.5"));
        hear(&update("9.5", "1"));
        hear(&ticker("9.5"));
        for round in 0..2 {
            hear(&ticker("9.4"));
            assert!(hear(&update("7", "2"))[0].contains("7"), "round {round}");
        }
        hear(&ticker("9.4"));
        let lost = hear(&update("7", "3"));
        assert_eq!(lost, ["BTC/USD Delta { previous: 6 } 7 0: 0:"]);
        assert_eq!(hear(&update("7", "4")).len(), 0);
        hear(&ticker("9.4"));
        assert_eq!(hear(SNAPSHOT), ["BTC/USD Snapshot 8 1:9 1:11"]);
        assert_eq!(hear(&update("7", "4")).len(), 1);
    }

    #[test]
    fn of_a_snapshot_the_best_levels_are_told_whatever_their_order() {
        let rows: Vec<String> = (1..=1_500)
            .map(|price| format!(r#"["{price}","1"]"#))
            .collect();
        let rows = rows.join(",");
        let text =
            format!(r#"{{"type":"snapshot","product_id":"BTC-USD","asks":[],"bids":[{rows}]}}"#);
        let said = hear(&mut feed(Dialogue::Exchange), &text).unwrap();
        assert_eq!(said, ["BTC/USD Snapshot 1 1000:1500 0:"]);
    }

    #[test]
    fn a_market_too_fine_is_given_up_alone() {
        let mut feed = feed(Dialogue::Advanced);
        hear(&mut feed, &advanced(0, "snapshot", "ETH-USD", "9")).unwrap();
        let fine = hear(
            &mut feed,
            &advanced(1, "snapshot", "BTC-USD", "0.0000000001"),
        );
        assert_eq!(fine, Ok(Vec::new()));
        let next = hear(&mut feed, &advanced(2, "update", "ETH-USD", "9")).unwrap();
        assert!(next[0].starts_with("ETH/USD Delta"), "{next:?}");
        let late = frames(|ask| {
            feed.tend(NOW + Subscriptions::<Check>::PATIENCE, ask);
        });
        assert_eq!(late, Vec::<String>::new());
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for dialogue in [Dialogue::Advanced, Dialogue::Exchange] {
            let mut feed = feed(dialogue);
            for text in ["", "{", "[]", "\"x\"", "{\"type\":7}"] {
                assert!(hear(&mut feed, text).is_err(), "{text}");
            }
            let error = r#"{"type":"error","message":"x","reason":"y"}"#;
            assert_eq!(hear(&mut feed, error), Err(DecodeError::Unknown));
        }
    }
}
