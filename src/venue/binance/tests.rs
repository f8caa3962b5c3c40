//! The feeds of Binance on small frames of our own, and their three readers against each other.

use crate::model::instrument::Market;
use crate::model::market::UpdateKind;
use crate::model::random::Random;
use crate::model::time::Span;
use crate::venue::binance::feed::BinanceFeed;
use crate::venue::binance::{Stated, Symbols, Trading, shape, template, tolerant};
use crate::venue::rows::Sides;
use crate::venue::scan::ReadCounts;
use crate::venue::trial::{Played, Readings, Told, Unknown, assert_readers_agree, setup};
use crate::venue::{DecodeError, Feed};

const SPOT: &str = r#"{"e":"depthUpdate","E":1700000000123,"s":"BTCUSDT","U":101,"u":103,"b":[["99.50000000","1.25000000"],["98.00000000","0.00000000"]],"a":[["101.50000000","2.00000000"]]}"#;
const FUTURES: &str = r#"{"e":"depthUpdate","E":1700000000123,"T":1700000000120,"s":"BTCUSDT","U":101,"u":103,"pu":99,"b":[["99.50","1.250"],["98.00","0"]],"a":[["101.50","2.000"]]}"#;
const DOCUMENT: &str = r#"{"lastUpdateId":100,"bids":[["99.00000000","1.00000000"],["98.00000000","2.00000000"]],"asks":[["101.00000000","3.00000000"]]}"#;
const FUTURES_DOCUMENT: &str = r#"{"lastUpdateId":100,"E":1700000000123,"T":1700000000120,"bids":[["99.00","1.000"]],"asks":[["101.00","3.000"]]}"#;

fn wrapped(event: &str) -> String {
    format!(r#"{{"stream":"btcusdt@depth@100ms","data":{event}}}"#)
}

fn symbols() -> Symbols {
    Symbols::new(&["BTCUSDT", "ETHUSDT"].map(str::to_owned))
}

/// What each reader makes of a frame: template, tolerant, serde.
fn read_thrice(frame: &[u8], trading: Trading) -> Readings<(Stated, Sides)> {
    let mut sides = [(); 3].map(|()| Sides::default());
    let slow = shape::frame(frame, trading, &symbols(), &mut sides[2]);
    let stated = [
        template::frame(frame, trading, &mut symbols(), &mut sides[0]),
        tolerant::frame(frame, trading, &symbols(), &mut sides[1]),
        slow.ok().flatten(),
    ];
    let mut sides = sides.into_iter();
    stated.map(|stated| stated.zip(sides.next()))
}

/// The same of a document.
fn read_document_thrice(body: &[u8], trading: Trading) -> Readings<(u64, Sides)> {
    let mut sides = [(); 3].map(|()| Sides::default());
    let last = [
        template::document(body, trading, &mut sides[0]),
        tolerant::document(body, &mut sides[1]),
        shape::document(body, &mut sides[2]).ok(),
    ];
    let mut sides = sides.into_iter();
    last.map(|last| last.zip(sides.next()))
}

#[test]
fn three_readers_agree_on_every_frame() {
    let mut random = Random::new(21);
    let other = SPOT.replace("BTC", "ETH");
    for (frame, trading) in [
        (SPOT.to_owned(), Trading::Spot),
        (wrapped(SPOT), Trading::Spot),
        (wrapped(&other).replace("btc", "eth"), Trading::Spot),
        (FUTURES.to_owned(), Trading::Futures),
        (wrapped(FUTURES), Trading::Futures),
    ] {
        let read = |text: &[u8]| read_thrice(text, trading);
        let taken = assert_readers_agree(&frame, &mut random, Unknown::Checked, read);
        assert!(taken.iter().all(|count| *count > 800), "{taken:?}");
    }
}

#[test]
fn three_readers_agree_on_every_document() {
    let mut random = Random::new(22);
    for (body, trading) in [
        (DOCUMENT, Trading::Spot),
        (FUTURES_DOCUMENT, Trading::Futures),
    ] {
        let read = |text: &[u8]| read_document_thrice(text, trading);
        assert_readers_agree(body, &mut random, Unknown::Checked, read);
    }
}

#[test]
fn a_change_without_its_numbers_is_none() {
    for (frame, trading) in [
        (SPOT.replace("\"U\":101,", ""), Trading::Spot),
        (SPOT.replace("\"U\":101", "\"U\":0"), Trading::Spot),
        (SPOT.replace("\"U\":101", "\"U\":104"), Trading::Spot),
        (FUTURES.to_owned(), Trading::Spot),
        (SPOT.to_owned(), Trading::Futures),
        (FUTURES.replace("\"pu\":99", "\"pu\":103"), Trading::Futures),
    ] {
        let read = read_thrice(frame.as_bytes(), trading);
        assert!(read.iter().all(Option::is_none), "{frame}");
    }
}

type World = Played<BinanceFeed>;

impl World {
    fn new(trading: Trading) -> Self {
        let setup = setup("binance", ["BTC/USDT", "ETH/USDT"]);
        let mut world = Self::begin(BinanceFeed::new(&setup, trading));
        world.wait(Span::ZERO);
        world
    }

    /// Hears changes from one number to another.
    fn hear(&mut self, first: u64, last: u64) {
        let frame = SPOT
            .replace("\"U\":101", &format!("\"U\":{first}"))
            .replace("\"u\":103", &format!("\"u\":{last}"));
        self.hear_frame(&wrapped(&frame)).unwrap();
    }

    /// The same of futures, which name the number before.
    fn hear_after(&mut self, before: u64, first: u64, last: u64) {
        let frame = FUTURES
            .replace("\"U\":101", &format!("\"U\":{first}"))
            .replace("\"u\":103", &format!("\"u\":{last}"))
            .replace("\"pu\":99", &format!("\"pu\":{before}"));
        self.hear_frame(&wrapped(&frame)).unwrap();
    }

    /// Answers the oldest question.
    fn answer(&mut self, status: u16, last: u64) -> Result<(), DecodeError> {
        let body = match self.asked[0].1.starts_with("/fapi/") {
            false => DOCUMENT,
            true => FUTURES_DOCUMENT,
        };
        self.answer_with(status, &body.replace(":100,", &format!(":{last},")))
    }

    /// The first market's book stands at 100, and nothing is asked for it.
    fn live(trading: Trading) -> Self {
        let mut world = Self::new(trading);
        world.wait(Span::SECOND);
        world.answer(200, 100).unwrap();
        world.answer(200, 100).unwrap();
        world.wait(Span::SECOND);
        world.heard.clear();
        world
    }
}

const fn delta(previous: u64, last: u64) -> Told {
    (UpdateKind::Delta { previous }, last, 3)
}

const fn gap(previous: u64, last: u64) -> Told {
    (UpdateKind::Delta { previous }, last, 0)
}

#[test]
fn the_first_change_above_the_document_must_span_its_number() {
    for (first, last, is_bridge) in [(98, 101, true), (101, 103, true), (102, 103, false)] {
        let mut world = World::new(Trading::Spot);
        let subscription = r#"{"method":"SUBSCRIBE","params":["btcusdt@depth@100ms","ethusdt@depth@100ms"],"id":1}"#;
        assert_eq!(world.frames, [subscription]);
        world.hear(90, 97);
        assert_eq!(world.asked[0].1, "/api/v3/depth?symbol=BTCUSDT&limit=1000");
        world.hear(first, last);
        world.answer(200, 100).unwrap();
        let expected = [(UpdateKind::Snapshot, 100, 3), delta(100, last)];
        match is_bridge {
            true => assert_eq!(world.heard, expected),
            false => assert!(world.heard.is_empty()),
        }
        world.asked.clear();
        world.wait(Span::SECOND);
        let is_asked = world.asked.iter().any(|(_, target)| target.contains("BTC"));
        assert_eq!(is_asked, !is_bridge);
    }
}

#[test]
fn changes_follow_on_each_other() {
    let mut world = World::live(Trading::Spot);
    world.hear(98, 99);
    world.hear(99, 104);
    world.hear(105, 105);
    assert_eq!(world.heard, [delta(100, 104), delta(104, 105)]);
    assert!(world.asked.is_empty());
    let counts = ReadCounts {
        template: 5,
        tolerant: 0,
        slow: 0,
    };
    assert_eq!(world.feed.read_counts(), counts);
}

#[test]
fn futures_follow_on_the_number_before() {
    let mut world = World::live(Trading::Futures);
    world.hear_after(70, 80, 90);
    world.hear_after(96, 105, 110);
    world.hear_after(110, 120, 130);
    assert_eq!(world.heard, [delta(100, 110), delta(110, 130)]);
    world.hear_after(131, 132, 133);
    assert_eq!(world.heard[2], gap(131, 133));
    assert_eq!(world.asked[0].1, "/fapi/v1/depth?symbol=BTCUSDT&limit=1000");
    world.answer(200, 132).unwrap();
    assert_eq!(
        world.heard[3..],
        [(UpdateKind::Snapshot, 132, 2), delta(132, 133)]
    );
}

#[test]
fn what_does_not_follow_is_one_step_that_the_book_cannot_follow() {
    for (first, last, told) in [
        (104, 105, gap(103, 105)),
        (101, 102, gap(100, 103)),
        (90, 91, gap(89, 103)),
    ] {
        let mut world = World::live(Trading::Spot);
        world.hear(101, 102);
        world.hear(first, last);
        world.hear(106, 107);
        assert_eq!(world.heard, [delta(100, 102), told]);
        let market = Market {
            venue: "binance".parse().unwrap(),
            pair: "BTC/USDT".parse().unwrap(),
        };
        for _ in 0..3 {
            world.ask(|feed, now, ask| feed.resync(market, now, ask));
            world.wait(Span::ZERO);
        }
        assert_eq!(world.asked.len(), 1, "asked once, whoever else wants it");
        world.answer(200, 105).unwrap();
        world.hear(108, 108);
        let after = [
            (UpdateKind::Snapshot, 105, 3),
            delta(105, 107),
            delta(107, 108),
        ];
        assert_eq!(world.heard[2..], after);
        assert!(world.asked.is_empty());
    }
}

#[test]
fn a_document_older_than_what_was_told_is_asked_for_again() {
    let mut world = World::live(Trading::Spot);
    world.hear(101, 105);
    world.hear(101, 105);
    world.answer(200, 104).unwrap();
    assert_eq!(world.heard.len(), 2);
    world.wait(Span::SECOND);
    world.answer(200, 105).unwrap();
    assert_eq!(world.heard[2], (UpdateKind::Snapshot, 105, 3));
}

#[test]
fn a_gap_among_the_changes_that_waited_is_seen() {
    let mut world = World::new(Trading::Spot);
    world.hear(99, 101);
    world.hear(103, 104);
    world.answer(200, 100).unwrap();
    let told = [
        (UpdateKind::Snapshot, 100, 3),
        delta(100, 101),
        gap(102, 104),
    ];
    assert_eq!(world.heard, told);
    world.asked.clear();
    world.wait(Span::SECOND);
    assert_eq!(world.asked[0].1, "/api/v3/depth?symbol=BTCUSDT&limit=1000");
}

#[test]
fn an_exchange_that_has_enough_is_left_alone_for_a_minute() {
    let mut world = World::new(Trading::Spot);
    world.hear(99, 101);
    let refused = DecodeError::Refused { what: "depth" };
    assert_eq!(world.answer(429, 0), Err(refused));
    for _ in 0..5 {
        world.wait(Span::secs(10));
    }
    assert!(world.asked.is_empty());
    let list = r#"{"method":"LIST_SUBSCRIPTIONS","id":2}"#;
    assert_eq!(
        world.frames.iter().filter(|frame| *frame == list).count(),
        5
    );
    world.wait(Span::secs(10));
    assert_eq!(world.asked.len(), 2);
}

#[test]
fn frames_without_a_change_say_what_they_say() {
    let mut world = World::live(Trading::Spot);
    for frame in [
        r#"{"result":null,"id":1}"#,
        r#"{"result":["btcusdt@depth@100ms"],"id":2}"#,
        r#"{"stream":"btcusdt@bookTicker","data":{"u":4,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}}"#,
        r#"{"e":"trade","E":1,"s":"BTCUSDT","p":"1","q":"2","T":3}"#,
    ] {
        assert_eq!(world.hear_frame(frame), Ok(()), "{frame}");
    }
    for (frame, what) in [
        (r#"{"code":2,"msg":"Invalid request"}"#, "request"),
        (r#"{"error":{"code":2,"msg":"x"},"id":1}"#, "request"),
        (
            r#"{"stream":"x","data":{"e":"serverShutdown","E":1}}"#,
            "shutdown",
        ),
    ] {
        assert_eq!(world.hear_frame(frame), Err(DecodeError::Refused { what }));
    }
    let unknown = SPOT.replace("BTCUSDT", "XRPUSDT");
    assert_eq!(world.hear_frame(&unknown), Err(DecodeError::Unknown));
    for frame in [
        SPOT.replace("1700000000123", "0"),
        SPOT.replace("99.5", "0"),
        SPOT.replace("101.50000000", "-1"),
        SPOT.replace("}", ""),
        String::new(),
    ] {
        let read = world.hear_frame(&frame);
        assert!(
            matches!(read, Err(DecodeError::Malformed { .. })),
            "{frame}"
        );
    }
    assert!(world.heard.is_empty());
}
