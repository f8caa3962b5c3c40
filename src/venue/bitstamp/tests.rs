//! The feed of Bitstamp on small frames of our own, and its three readers against each other.

use crate::model::instrument::Market;
use crate::model::market::UpdateKind;
use crate::model::random::Random;
use crate::model::time::Span;
use crate::venue::bitstamp::feed::BitstampFeed;
use crate::venue::bitstamp::{Channel, Stated, shape, template, tolerant};
use crate::venue::names::Names;
use crate::venue::rows::Sides;
use crate::venue::scan::ReadCounts;
use crate::venue::trial::{Played, Readings, Told, Unknown, assert_readers_agree, setup};
use crate::venue::{DecodeError, Feed, Ticket};

const CHANGES: &str = r#"{"data":{"timestamp":"1700000000","microtimestamp":"1700000000000007","bids":[["99.5","1.25000000"],["98.00","0.00000000"]],"asks":[["101.5","2"]]},"channel":"diff_order_book_btcusd","event":"data"}"#;
const DOCUMENT: &str = r#"{"timestamp": "1700000000", "microtimestamp": "1700000000000005", "bids": [["99.00", "1.00000000"], ["98.00", "2.00000000"]], "asks": [["101.00", "3.00000000"]]}"#;

fn names() -> Names {
    Names::new(["btcusd", "ethusd"].map(str::to_owned), b'"')
}

/// What each reader makes of a frame: template, tolerant, serde.
fn read_thrice(frame: &[u8]) -> Readings<(Stated, Sides)> {
    let mut sides = [(); 3].map(|()| Sides::default());
    let stated = [
        template::frame(frame, &mut names(), &mut sides[0]),
        tolerant::frame(frame, &names(), &mut sides[1]),
        shape::frame(frame, &names(), &mut sides[2]).ok().flatten(),
    ];
    let mut sides = sides.into_iter();
    stated.map(|stated| stated.zip(sides.next()))
}

/// The same of a document.
fn read_document_thrice(body: &[u8]) -> Readings<(u64, Sides)> {
    let mut sides = [(); 3].map(|()| Sides::default());
    let micros = [
        template::document(body, &mut sides[0]),
        tolerant::document(body, &mut sides[1]),
        shape::document(body, &mut sides[2]).ok(),
    ];
    let mut sides = sides.into_iter();
    micros.map(|micros| micros.zip(sides.next()))
}

#[test]
fn three_readers_agree_on_every_frame() {
    let whole = CHANGES
        .replace("diff_", "")
        .replace("98.00\",\"0.00", "98.00\",\"0.01");
    let other = CHANGES.replace("btcusd", "ethusd");
    let mut random = Random::new(11);
    for frame in [CHANGES, &whole, &other] {
        let taken = assert_readers_agree(frame, &mut random, Unknown::Checked, read_thrice);
        assert!(taken.iter().all(|count| *count > 1_400), "{taken:?}");
    }
}

#[test]
fn three_readers_agree_on_every_document() {
    let mut random = Random::new(12);
    assert_readers_agree(
        DOCUMENT,
        &mut random,
        Unknown::Checked,
        read_document_thrice,
    );
}

type World = Played<BitstampFeed>;

impl World {
    fn new() -> Self {
        let setup = setup("bitstamp", ["BTC/USD", "ETH/USD"]);
        Self::begin(BitstampFeed::new(&setup))
    }

    fn hear(&mut self, micros: u64) -> Result<(), DecodeError> {
        let frame = CHANGES.replace(
            "1700000000000007",
            &(1_700_000_000_000_000 + micros).to_string(),
        );
        self.hear_frame(&frame)
    }

    /// Answers the oldest question.
    fn answer(&mut self, status: u16, micros: u64) -> Result<(), DecodeError> {
        let at = (1_700_000_000_000_000 + micros).to_string();
        self.answer_with(status, &DOCUMENT.replace("1700000000000005", &at))
    }

    /// Both books stand, and nothing is asked for.
    fn live() -> Self {
        let mut world = Self::new();
        world.wait(Span::SECOND);
        world.answer(200, 5).unwrap();
        world.answer(200, 5).unwrap();
        world.wait(Span::SECOND);
        world.heard.clear();
        world
    }
}

const fn delta(sequence: u64) -> Told {
    let previous = sequence - 1;
    (UpdateKind::Delta { previous }, sequence, 3)
}

#[test]
fn what_came_before_the_document_waits_for_it() {
    let mut world = World::new();
    let subscribed = r#"{"event":"bts:subscribe","data":{"channel":"diff_order_book_btcusd"}}"#;
    assert_eq!(world.frames[0], subscribed);
    for micros in [1, 3, 5, 6] {
        world.hear(micros).unwrap();
    }
    assert!(world.asked.is_empty());
    world.wait(Span::SECOND);
    let targets: Vec<&str> = world
        .asked
        .iter()
        .map(|(_, target)| target.as_str())
        .collect();
    assert_eq!(
        targets,
        [
            "/api/v2/order_book/btcusd/?group=1",
            "/api/v2/order_book/ethusd/?group=1"
        ]
    );
    assert!(world.heard.is_empty());
    world.answer(200, 5).unwrap();
    world.hear(9).unwrap();
    assert_eq!(
        world.heard,
        [(UpdateKind::Snapshot, 1, 3), delta(2), delta(3)]
    );
    let counts = ReadCounts {
        template: 6,
        tolerant: 0,
        slow: 0,
    };
    assert_eq!(world.feed.read_counts(), counts);
}

#[test]
fn a_document_older_than_what_must_be_in_it_is_asked_for_again() {
    let mut world = World::new();
    world.hear(7).unwrap();
    world.wait(Span::SECOND);
    world.answer(200, 5).unwrap();
    assert!(world.heard.is_empty());
    world.asked.clear();
    world.wait(Span::SECOND);
    assert_eq!(world.asked.len(), 1);
    world.answer(200, 7).unwrap();
    assert_eq!(world.heard, [(UpdateKind::Snapshot, 1, 3)]);
}

#[test]
fn changes_older_than_the_document_are_passed_over() {
    let mut world = World::live();
    for micros in [2, 4, 5, 6] {
        world.hear(micros).unwrap();
    }
    assert_eq!(world.heard, [delta(2)]);
    assert!(world.asked.is_empty());
}

#[test]
fn what_comes_twice_or_too_late_is_one_step_that_the_book_cannot_follow() {
    for second in [7, 6] {
        let mut world = World::live();
        world.hear(7).unwrap();
        world.hear(second).unwrap();
        world.hear(8).unwrap();
        let gap = (UpdateKind::Delta { previous: 3 }, 4, 0);
        assert_eq!(world.heard, [delta(2), gap]);
        let market = Market {
            venue: "bitstamp".parse().unwrap(),
            pair: "BTC/USD".parse().unwrap(),
        };
        for _ in 0..3 {
            world.ask(|feed, now, ask| feed.resync(market, now, ask));
            world.wait(Span::ZERO);
        }
        assert_eq!(world.asked.len(), 1, "asked once, whoever else wants it");
        world.answer(200, 8).unwrap();
        world.hear(9).unwrap();
        assert_eq!(world.heard[2..], [(UpdateKind::Snapshot, 5, 3), delta(6)]);
        assert!(world.asked.is_empty());
    }
}

#[test]
fn a_document_corrects_every_minute_what_was_lost() {
    let mut world = World::live();
    world.hear(6).unwrap();
    world.wait(Span::MINUTE);
    world.hear(7).unwrap();
    assert!(
        world.asked.is_empty(),
        "changes are held for a while before"
    );
    world.wait(Span::secs(4));
    assert_eq!(world.asked.len(), 2);
    world.hear(8).unwrap();
    world.answer(200, 7).unwrap();
    let expected = [
        delta(2),
        delta(3),
        delta(4),
        (UpdateKind::Snapshot, 5, 3),
        delta(6),
    ];
    assert_eq!(world.heard, expected);
}

#[test]
fn a_question_without_an_answer_is_asked_again_but_not_at_once() {
    let mut world = World::new();
    world.wait(Span::SECOND);
    world.asked.truncate(1);
    let refused = DecodeError::Refused { what: "order_book" };
    assert_eq!(world.answer(503, 5), Err(refused));
    world.wait(Span::SECOND);
    assert!(world.asked.is_empty());
    world.wait(Span::secs(4));
    assert_eq!(world.asked.len(), 1);
    // An answer that nobody waits for any more.
    let (ticket, _) = world.asked[0];
    let late = world
        .feed
        .decode_reply(Ticket(ticket.0 + 9), 200, b"{}", world.now, &mut |_| ());
    assert_eq!(late, Err(DecodeError::Unknown));
    world.asked.clear();
    world.wait(Span::secs(30));
    assert_eq!(world.asked.len(), 2, "neither came");
}

#[test]
fn frames_without_a_book_say_what_they_say() {
    let mut world = World::live();
    for frame in [
        r#"{"event":"bts:subscription_succeeded","channel":"diff_order_book_btcusd","data":{}}"#,
        r#"{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}"#,
        r#"{"data":{"id":1},"channel":"live_trades_btcusd","event":"trade"}"#,
    ] {
        assert_eq!(world.hear_frame(frame), Ok(()), "{frame}");
    }
    let reconnect = r#"{"event":"bts:request_reconnect","channel":"","data":""}"#;
    let refused = DecodeError::Refused { what: "reconnect" };
    assert_eq!(world.hear_frame(reconnect), Err(refused));
    let unknown = CHANGES.replace("btcusd", "xrpusd");
    assert_eq!(world.hear_frame(&unknown), Err(DecodeError::Unknown));
    for frame in [
        CHANGES.replace("1700000000000007", "0"),
        CHANGES.replace("1700000000000007", "99999999999999999"),
        CHANGES.replace("99.5", "0"),
        CHANGES.replace("99.5", "x"),
        CHANGES.replace("}", ""),
        String::new(),
    ] {
        let read = world.hear_frame(&frame);
        assert!(
            matches!(read, Err(DecodeError::Malformed { .. })),
            "{frame}"
        );
    }
    assert!(world.heard.is_empty());
    world.wait(Span::secs(10));
    assert_eq!(world.frames.last().unwrap(), r#"{"event":"bts:heartbeat"}"#);
}

#[test]
fn the_channel_of_whole_books_is_a_document_that_comes_by_itself() {
    let whole = CHANGES
        .replace("diff_", "")
        .replace("[\"98.00\",\"0.00000000\"]", "[\"98.00\",\"1\"]");
    let mut world = World::live();
    world.hear_frame(&whole).unwrap();
    world.hear(6).unwrap();
    world.hear(8).unwrap();
    assert_eq!(world.heard, [(UpdateKind::Snapshot, 2, 3), delta(3)]);
    world.hear_frame(&whole).unwrap();
    assert_eq!(world.heard.len(), 2, "it is older than what is told");
    let crossed = whole.replace("101.5", "99.5");
    assert!(world.hear_frame(&crossed).is_err());
    assert_eq!(Channel::find(b"detail_order_book_btcusd", &names()), None);
}
