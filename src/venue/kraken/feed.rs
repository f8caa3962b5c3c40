//! The public half of Kraken: one book channel a market, checked after every frame.
//!
//! The feed keeps its own book, as deep as the exchange acknowledged, only to sum it. There is no
//! sequence; a sum that differs is what shows that something was lost.
//!
//! Source: the exchange's documentation of its WebSocket API v2, read 2026-11-23.

use crate::model::instrument::{Market, Pair};
use crate::model::market::{Level, Side};
use crate::model::time::Time;
use crate::venue::document;
use crate::venue::kraken::change::{Change, DEPTH_MAX, Head, Sides};
use crate::venue::kraken::depth::{Depth, SUMMED};
use crate::venue::kraken::shape::{Fault, Frame, Subscribed, read_book};
use crate::venue::kraken::template::{self, HEARTBEAT};
use crate::venue::kraken::tolerant;
use crate::venue::kraken::version1::{self, Said};
use crate::venue::names::Names;
use crate::venue::scan::ReadCounts;
use crate::venue::stamp::Stamps;
use crate::venue::subscriptions::Subscriptions;
use crate::venue::{Ask, DecodeError, Feed, Hear, Heard, Setup};

/// Decodes the stream of one Kraken.
#[derive(Debug)]
pub struct KrakenFeed {
    markets: Subscriptions<Watched>,
    symbols: Names,
    stamps: Stamps,
    sides: Sides,
    bids: Vec<Level>,
    asks: Vec<Level>,
    counts: ReadCounts,
    /// Number of the last request.
    request: u64,
}

/// What is known of one market besides its subscription.
#[derive(Debug)]
struct Watched {
    /// Levels a side that the exchange keeps up to date.
    levels: usize,
    depth: Depth,
}

impl KrakenFeed {
    /// Bytes of the largest frame that is read: a snapshot of 1,000 levels has 65 kB.
    pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
    /// Levels a side that are subscribed to.
    pub const DEPTH_LEVELS: usize = 500;

    pub fn new(setup: &Setup) -> Self {
        let watched = |pair: &Pair| {
            let venue = setup.venue;
            let own = Watched {
                levels: Self::DEPTH_LEVELS,
                depth: Depth::default(),
            };
            (Market { venue, pair: *pair }, pair.to_string(), own)
        };
        Self {
            markets: Subscriptions::new(setup.pairs.iter().map(watched)),
            symbols: Names::new(setup.pairs.iter().map(Pair::to_string), b'"'),
            stamps: Stamps::default(),
            sides: Sides::default(),
            bids: Vec::new(),
            asks: Vec::new(),
            counts: ReadCounts::default(),
            request: 0,
        }
    }

    /// Takes a book frame whose levels stand in `sides`.
    fn take(&mut self, head: &Head, now: Time, heard: Hear<'_>) -> Result<(), DecodeError> {
        let Some(market) = self.markets.get_mut(head.market) else {
            return Err(DecodeError::Unknown);
        };
        if !head.is_snapshot && !market.is_live() {
            heard(Heard::Alive);
            return Ok(());
        }
        let Watched { levels, depth } = &mut market.own;
        if head.is_snapshot {
            depth.clear();
        }
        let Sides { bids, asks } = &self.sides;
        apply(depth, Side::Bid, bids, head.is_snapshot, &mut self.bids);
        apply(depth, Side::Ask, asks, head.is_snapshot, &mut self.asks);
        depth.truncate(*levels, &mut self.bids, &mut self.asks);
        let sum = depth.checksum();
        if head.checksum.is_some_and(|told| told != sum) {
            let gap = self.markets.lose(head.market, now);
            heard(gap.map_or(Heard::Alive, Heard::Book));
            return Ok(());
        }
        let levels = [self.bids.as_slice(), self.asks.as_slice()];
        let at = head.at.unwrap_or(now);
        heard(Heard::Book(market.next(head.is_snapshot, levels, at)));
        Ok(())
    }

    /// Reads what neither template nor tolerant reader could.
    fn decode_slow(&mut self, frame: &[u8], now: Time, heard: Hear<'_>) -> Result<(), DecodeError> {
        self.counts.slow += 1;
        if frame.first() == Some(&b'[') {
            let said = version1::read(frame, &self.symbols, &mut self.sides);
            let said = said.map_err(|fault| self.refuse(fault))?;
            return match said {
                Said::Book { head, depth } => {
                    self.set_levels(head.market, depth);
                    self.take(&head, now, heard)
                }
                Said::Other => {
                    heard(Heard::Alive);
                    Ok(())
                }
            };
        }
        let frame: Frame<'_> = document::read(frame)?;
        match (frame.channel.as_deref(), frame.method.as_deref()) {
            (Some("book"), None) => {
                let read = read_book(&frame, &self.symbols, &mut self.sides);
                let head = read.map_err(|fault| self.refuse(fault))?;
                return self.take(&head, now, heard);
            }
            (None, Some("subscribe")) => self.handle_subscribed(&frame)?,
            (Some(_), None) | (None, Some(_)) => (),
            (None, None) if frame.event.is_some() => (),
            (None, None) | (Some(_), Some(_)) => return Err(DecodeError::Unknown),
        }
        heard(Heard::Alive);
        Ok(())
    }

    /// Takes the depth that the exchange acknowledged.
    ///
    /// # Errors
    /// `Unknown` where it does not have the market: the others are served on.
    fn handle_subscribed(&mut self, frame: &Frame<'_>) -> Result<(), DecodeError> {
        if frame.success == Some(false) {
            let symbol = frame.symbol.as_deref().unwrap_or_default();
            let why = frame.error.as_deref().unwrap_or_default();
            // Whatever else it is, such as a subscription that still stands, may pass.
            if why.contains("not supported")
                && let Some(market) = self.symbols.find_name(symbol.as_bytes())
            {
                self.markets.refuse(market);
            }
            return Err(DecodeError::Unknown);
        }
        let result = frame.result.map_or("{}", |result| result.get());
        let subscribed: Subscribed<'_> = serde_json::from_str(result).unwrap_or_default();
        let symbol = subscribed.symbol.as_deref().unwrap_or_default();
        if let Some(market) = self.symbols.find_name(symbol.as_bytes())
            && let Some(levels) = subscribed.depth
        {
            self.set_levels(market, levels);
        }
        Ok(())
    }

    fn set_levels(&mut self, market: usize, levels: usize) {
        if let Some(market) = self.markets.get_mut(market) {
            market.own.levels = levels.clamp(SUMMED, DEPTH_MAX);
        }
    }

    /// A market that cannot be held is given up alone: reconnecting would bring the same frame.
    fn refuse(&mut self, fault: Fault) -> DecodeError {
        match fault {
            Fault::Malformed(what) => DecodeError::malformed(what),
            Fault::Unknown => DecodeError::Unknown,
            Fault::Beyond { market } => {
                self.markets.refuse(market);
                DecodeError::Unknown
            }
        }
    }
}

/// Sets levels of one side and says what they are now.
#[inline]
fn apply(
    depth: &mut Depth,
    side: Side,
    changes: &[Change],
    is_snapshot: bool,
    levels: &mut Vec<Level>,
) {
    let level_of = |change: &Change| Level {
        price: change.price,
        quantity: change.quantity,
    };
    levels.clear();
    levels.extend(changes.iter().map(level_of));
    if is_snapshot {
        // It comes best first: from its far end each level is the best so far, and nothing moves.
        for change in changes.iter().rev() {
            depth.apply(side, change);
        }
        return;
    }
    for change in changes {
        depth.apply(side, change);
    }
}

/// Asks for the books of these symbols, or no longer.
fn request(method: &str, symbols: &str, request: &mut u64) -> String {
    *request += 1;
    let depth = KrakenFeed::DEPTH_LEVELS;
    let wanted = match method {
        "subscribe" => ",\"snapshot\":true",
        _ => "",
    };
    format!(
        r#"{{"method":"{method}","params":{{"channel":"book","symbol":[{symbols}],"depth":{depth}{wanted}}},"req_id":{request}}}"#
    )
}

impl Feed for KrakenFeed {
    fn frame_bytes_max(&self) -> usize {
        Self::FRAME_BYTES_MAX
    }

    fn subscribe(&mut self, now: Time, ask: &mut dyn FnMut(Ask<'_>)) {
        let levels = Self::DEPTH_LEVELS;
        self.markets.begin(now, |watched| watched.levels = levels);
        let symbols = self.markets.quoted_names();
        let frame = request("subscribe", &symbols, &mut self.request);
        ask(Ask::Frame(frame.as_bytes()));
    }

    /// Subscribes anew, at most once a second: only that brings a snapshot.
    fn resync(&mut self, market: Market, now: Time, ask: &mut dyn FnMut(Ask<'_>)) {
        self.markets.resync(market, now);
        self.tend(now, ask);
    }

    /// Asks again where no snapshot came. The exchange sends its heartbeat unasked.
    fn tend(&mut self, now: Time, ask: &mut dyn FnMut(Ask<'_>)) -> Option<Time> {
        let number = &mut self.request;
        self.markets.tend(now, |symbol| {
            for method in ["unsubscribe", "subscribe"] {
                let frame = request(method, &format!("\"{symbol}\""), number);
                ask(Ask::Frame(frame.as_bytes()));
            }
        })
    }

    /// Decodes one frame.
    ///
    /// # Shape
    /// UTF-8 JSON, at most `FRAME_BYTES_MAX`, one book a frame; absolute quantities, zero removes.
    /// After each frame both sides are cut to the subscribed depth, and what was cut off is told as
    /// removed. Frames of v1, which are lists, are read as well.
    ///
    /// # Units
    /// Prices and quantities as printed, at most eight decimals that are not zero; times RFC 3339.
    fn read_frame(&mut self, frame: &[u8], now: Time, heard: Hear<'_>) -> Result<(), DecodeError> {
        if let Some(head) =
            template::read(frame, &mut self.symbols, &mut self.stamps, &mut self.sides)
        {
            self.counts.template += 1;
            return self.take(&head, now, heard);
        }
        if frame == HEARTBEAT {
            self.counts.template += 1;
            heard(Heard::Alive);
            return Ok(());
        }
        if let Some(head) = tolerant::read(frame, &self.symbols, &mut self.sides) {
            self.counts.tolerant += 1;
            return self.take(&head, now, heard);
        }
        self.decode_slow(frame, now, heard)
    }

    fn read_counts(&self) -> ReadCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Span;
    use crate::venue::Framing;

    const NOW: Time = Time(1_700_000_000_000_000_000);

    fn feed() -> KrakenFeed {
        let mut feed = KrakenFeed::new(&Setup {
            venue: "kraken".parse().unwrap(),
            host: "h".to_owned(),
            pairs: vec!["BTC/USD".parse().unwrap(), "ETH/USD".parse().unwrap()],
            rules: Vec::new(),
            framing: Framing::Plain,
        });
        feed.subscribe(NOW, &mut |_| ());
        feed
    }

    fn market() -> Market {
        Market {
            venue: "kraken".parse().unwrap(),
            pair: "BTC/USD".parse().unwrap(),
        }
    }

    fn hear(feed: &mut KrakenFeed, frame: &str) -> Result<Vec<String>, DecodeError> {
        let mut said = Vec::new();
        feed.decode(frame.as_bytes(), NOW, &mut |heard| {
            said.push(match heard {
                Heard::Book(update) => {
                    let levels = |levels: &[Level]| -> Vec<(i64, i64)> {
                        let units = |level: &Level| (level.price.0, level.quantity.0);
                        levels.iter().map(units).collect()
                    };
                    let (bids, asks) = (levels(update.bids), levels(update.asks));
                    format!("{:?} {} {bids:?} {asks:?}", update.kind, update.sequence)
                }
                other @ (Heard::Order(_) | Heard::EngineLag(_) | Heard::Account | Heard::Alive) => {
                    format!("{other:?}")
                }
            });
        })?;
        Ok(said)
    }

    fn asked(feed: &mut KrakenFeed, now: Time) -> Vec<String> {
        let mut frames = Vec::new();
        feed.tend(now, &mut |ask| match ask {
            Ask::Frame(frame) => frames.push(String::from_utf8(frame.to_vec()).unwrap()),
            Ask::Get { .. } => (),
        });
        frames
    }

    fn frame(kind: &str, bids: &str, asks: &str, digits: &str) -> String {
        let sum = crc32fast::hash(digits.as_bytes());
        format!(
            r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{bids}],"asks":[{asks}],"checksum":{sum}}}]}}"#
        )
    }

    fn snapshot() -> String {
        let (bid, ask) = (
            r#"{"price":9.0,"qty":0.10}"#,
            r#"{"price":11.0,"qty":2.00}"#,
        );
        frame("snapshot", bid, ask, "1102009010")
    }

    #[test]
    fn it_subscribes_in_the_words_of_the_exchange() {
        let mut said = String::new();
        let mut feed = feed();
        feed.subscribe(NOW, &mut |ask| {
            if let Ask::Frame(frame) = ask {
                said.push_str(&String::from_utf8_lossy(frame));
            }
        });
        assert_eq!(
            said,
            r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD","ETH/USD"],"depth":500,"snapshot":true},"req_id":2}"#
        );
        assert_eq!(asked(&mut feed, NOW), Vec::<String>::new());
        let late = asked(&mut feed, NOW + Subscriptions::<Watched>::PATIENCE);
        assert_eq!(late.len(), 4, "both markets again: {late:?}");
    }

    #[test]
    fn updates_follow_a_snapshot_and_are_counted() {
        let mut feed = feed();
        let bid = r#"{"price":9.5,"qty":1.00}"#;
        let update = frame("update", bid, "", "110200951009010");
        assert_eq!(hear(&mut feed, &update), Ok(vec!["Alive".to_owned()]));
        let said = hear(&mut feed, &snapshot()).unwrap();
        assert_eq!(
            said,
            ["Snapshot 1 [(900000000, 10000000)] [(1100000000, 200000000)]"]
        );
        let said = hear(&mut feed, &update).unwrap();
        assert_eq!(
            said,
            ["Delta { previous: 1 } 2 [(950000000, 100000000)] []"]
        );
        let gone = frame("update", r#"{"price":9.5,"qty":0.00}"#, "", "1102009010");
        let said = hear(&mut feed, &gone).unwrap();
        assert_eq!(said, ["Delta { previous: 2 } 3 [(950000000, 0)] []"]);
        assert_eq!(feed.read_counts().template, 4);
    }

    #[test]
    fn a_wrong_sum_is_a_missing_update_and_costs_one_resync() {
        let mut feed = feed();
        hear(&mut feed, &snapshot()).unwrap();
        let bid = r#"{"price":9.5,"qty":1.00}"#;
        let said = hear(&mut feed, &frame("update", bid, "", "x")).unwrap();
        assert_eq!(said, ["Delta { previous: 2 } 3 [] []"]);
        let said = hear(&mut feed, &frame("update", bid, "", "x")).unwrap();
        assert_eq!(said, ["Alive"], "nothing is told before the snapshot");
        let mut frames = Vec::new();
        feed.resync(market(), NOW + Span::SECOND, &mut |ask| {
            if let Ask::Frame(frame) = ask {
                frames.push(String::from_utf8(frame.to_vec()).unwrap());
            }
        });
        assert_eq!(
            frames,
            [
                r#"{"method":"unsubscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":500},"req_id":2}"#,
                r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":500,"snapshot":true},"req_id":3}"#,
            ]
        );
        let again = feed.asked_in(Span::millis(1_500));
        assert!(again.is_empty(), "not twice within a second: {again:?}");
        let said = hear(&mut feed, &snapshot()).unwrap();
        assert!(said[0].starts_with("Snapshot 4"), "{said:?}");
    }

    impl KrakenFeed {
        fn asked_in(&mut self, span: Span) -> Vec<String> {
            let mut frames = Vec::new();
            self.resync(market(), NOW + span, &mut |ask| {
                frames.push(format!("{ask:?}"))
            });
            frames
        }
    }

    #[test]
    fn what_is_deeper_than_the_acknowledged_depth_is_told_as_removed() {
        let mut feed = feed();
        let ack = r#"{"method":"subscribe","result":{"channel":"book","symbol":"BTC/USD","depth":10,"snapshot":true},"success":true}"#;
        assert_eq!(hear(&mut feed, ack), Ok(vec!["Alive".to_owned()]));
        let asks: Vec<String> = (1..=11)
            .map(|price| format!(r#"{{"price":{price}.0,"qty":1}}"#))
            .collect();
        let digits = "1012013014015016017018019011001";
        let good = frame("snapshot", "", &asks.join(","), digits);
        let said = hear(&mut feed, &good).unwrap();
        assert!(said[0].ends_with("(1100000000, 100000000), (1100000000, 0)]"));
    }

    #[test]
    fn a_market_that_cannot_be_had_leaves_the_others_alone() {
        let mut feed = feed();
        let refused = r#"{"error":"Currency pair not supported BTC/USD","method":"subscribe","success":false,"symbol":"BTC/USD"}"#;
        assert_eq!(hear(&mut feed, refused), Err(DecodeError::Unknown));
        let fine = r#"{"channel":"book","type":"snapshot","data":[{"symbol":"ETH/USD","bids":[{"price":0.0000123451,"qty":1}],"asks":[],"checksum":1}]}"#;
        assert_eq!(hear(&mut feed, fine), Err(DecodeError::Unknown));
        let late = asked(&mut feed, NOW + Subscriptions::<Watched>::PATIENCE);
        assert_eq!(late, Vec::<String>::new());
    }

    #[test]
    fn small_frames_say_that_the_exchange_lives() {
        let mut feed = feed();
        for text in [
            r#"{"channel":"heartbeat"}"#,
            r#"{"channel":"status","type":"update","data":[{"system":"online"}]}"#,
            r#"{"method":"pong","req_id":1,"time_in":"x","time_out":"y"}"#,
            r#"{"event":"heartbeat"}"#,
            r#"[1,{"a":["1",1,"1"]},"ticker","XBT/USD"]"#,
        ] {
            assert_eq!(
                hear(&mut feed, text),
                Ok(vec!["Alive".to_owned()]),
                "{text}"
            );
        }
        for text in ["", "{", "[1", "{\"channel\":\"book\"}", "\"x\"", "\u{fe}"] {
            let said = hear(&mut feed, text);
            assert!(matches!(said, Err(DecodeError::Malformed { .. })), "{text}");
        }
        assert_eq!(hear(&mut feed, "{}"), Err(DecodeError::Unknown));
        let long = " ".repeat(KrakenFeed::FRAME_BYTES_MAX + 1);
        let too_long = DecodeError::Malformed {
            at: KrakenFeed::FRAME_BYTES_MAX,
            what: "too long",
        };
        assert_eq!(hear(&mut feed, &long), Err(too_long));
    }
}
