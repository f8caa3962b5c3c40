//! Recorded streams of Kraken: every sum of the exchange is right, and every planted fault costs one
//! resync.

use std::collections::{BTreeMap, BTreeSet};

use expressnet::book::BookState;
use expressnet::model::instrument::Pair;
use expressnet::model::market::{Level, Side};
use expressnet::model::number::Price;
use expressnet::model::time::Span;
use expressnet::venue::kraken::dialect::Kraken;

use crate::venue::fixtures::told_documents;
use crate::venue::replaying::{Recorded, Replay, captures, expected};

#[test]
fn fixture_documents_of_kraken_are_read() {
    told_documents("kraken", &Kraken);
}

#[test]
fn fixture_sums_of_kraken_are_all_right() {
    let mut total = 0;
    for (name, lines) in captures("kraken") {
        let frames = book_frames(&lines);
        if frames.is_empty() {
            continue;
        }
        let mut replay = Replay::new(&Kraken, &pairs_of(&frames));
        let before = replay.feed.read_counts();
        for line in lines.iter().filter(|line| line.t == "recv") {
            replay.now = replay.now + Span::MILLI;
            let decoded = replay.frame(line.data.as_bytes());
            assert_eq!(decoded, Ok(()), "{name}: {}", line.data);
        }
        let counts = replay.feed.read_counts();
        let changed: u64 = replay.changed.values().sum();
        eprintln!("{name}: {changed} book frames, {counts:?}");
        assert_eq!(replay.resyncs, [], "{name}");
        assert_eq!(changed, frames.len() as u64, "{name}");
        let sums = frames.iter().filter(|(_, sum, _)| sum.is_some()).count();
        total += sums;
        if !is_version1(&frames[0].2) {
            let by_template = counts.template - before.template;
            assert!(by_template * 100 >= changed * 99, "{counts:?}");
        } else {
            eprintln!("{name}: of v1, which serde alone reads");
        }
        if let Some(expected) = expected(&name) {
            assert_eq!(expected["checksum_ok"], sums, "{name}");
            for (pair, messages) in expected["messages"].as_object().unwrap() {
                let market = replay.market(pair);
                assert_eq!(messages, replay.changed[&market], "{name} {pair}");
                replay.assert_best(market, &expected["final"][pair]);
            }
        }
    }
    eprintln!("kraken: {total} sums of the exchange are right");
}

/// The ten best levels, and so the exchange's sums, are the same whatever the subscribed depth: a
/// stream of ten levels is made of the recorded one. What is pushed out of sight is not spoken of.
#[test]
fn fixture_sums_of_kraken_are_right_at_a_depth_of_ten() {
    const DEPTH: usize = 10;
    for (name, lines) in captures("kraken") {
        let frames = book_frames(&lines);
        if frames.first().is_none_or(|(.., frame)| is_version1(frame)) {
            continue;
        }
        let pairs = pairs_of(&frames);
        let mut replay = Replay::new(&Kraken, &pairs);
        let mut books: BTreeMap<Pair, [Truth; 2]> = BTreeMap::new();
        let (mut told, mut pushed_out) = (0_u64, 0);
        for (pair, sum, frame) in &frames {
            let [all, shown] = books.entry(*pair).or_default();
            all.apply(frame, usize::MAX);
            if frame.contains("\"snapshot\"") {
                assert_eq!(replay.frame(ack(*pair, DEPTH).as_bytes()), Ok(()));
                *shown = Truth::default();
            }
            let (bids, gone_bids) = shown_changes(&all.bids, &mut shown.bids, DEPTH);
            let (asks, gone_asks) = shown_changes(&all.asks, &mut shown.asks, DEPTH);
            pushed_out += gone_bids + gone_asks;
            let kind = if frame.contains("\"snapshot\"") {
                "snapshot"
            } else {
                "update"
            };
            let sum = sum.unwrap();
            let text = format!(
                r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"{pair}","bids":[{bids}],"asks":[{asks}],"checksum":{sum}}}]}}"#
            );
            assert_eq!(replay.frame(text.as_bytes()), Ok(()), "{text}");
            assert_eq!(replay.resyncs, [], "{name}: {text}");
            told += 1;
            let market = replay.market(&pair.to_string());
            for (side, levels) in [(Side::Bid, &shown.bids), (Side::Ask, &shown.asks)] {
                let found = replay.best(market, side, usize::MAX);
                assert_eq!(found.len(), levels.len(), "{text}");
            }
        }
        eprintln!("{name}: {told} sums right at a depth of ten, {pushed_out} levels pushed out");
        assert!(pushed_out > 100);
    }
}

/// Returns what a subscriber of so many levels is told of a side, and how many levels leave its sight
/// untold.
fn shown_changes(
    all: &BTreeMap<i64, (String, String)>,
    shown: &mut BTreeMap<i64, (String, String)>,
    depth: usize,
) -> (String, u64) {
    let seen: BTreeMap<i64, (String, String)> = all
        .iter()
        .rev()
        .take(depth)
        .map(|(key, level)| (*key, level.clone()))
        .collect();
    let mut rows = Vec::new();
    let mut pushed_out = 0;
    for (key, (price, _)) in shown.iter().filter(|(key, _)| !seen.contains_key(key)) {
        if all.contains_key(key) {
            pushed_out += 1;
            continue;
        }
        rows.push(format!("{{\"price\":{price},\"qty\":0.00000000}}"));
    }
    for (key, level) in seen.iter().rev() {
        if shown.get(key) != Some(level) {
            let (price, quantity) = level;
            rows.push(format!("{{\"price\":{price},\"qty\":{quantity}}}"));
        }
    }
    *shown = seen;
    (rows.join(","), pushed_out)
}

fn ack(pair: Pair, depth: usize) -> String {
    format!(
        r#"{{"method":"subscribe","result":{{"channel":"book","symbol":"{pair}","depth":{depth},"snapshot":true}},"success":true}}"#
    )
}

/// Both versions were recorded at once: they must come to the same books.
#[test]
fn fixture_books_of_both_versions_are_the_same() {
    let mut ends: BTreeMap<Pair, Vec<(String, usize)>> = BTreeMap::new();
    for (_, lines) in captures("kraken") {
        let frames = book_frames(&lines);
        let pairs = pairs_of(&frames);
        let mut replay = Replay::new(&Kraken, &pairs);
        for line in lines.iter().filter(|line| line.t == "recv") {
            assert_eq!(replay.frame(line.data.as_bytes()), Ok(()));
        }
        for pair in pairs {
            let market = replay.market(&pair.to_string());
            let sides = [Side::Bid, Side::Ask].map(|side| replay.best(market, side, 1_000));
            let count = sides[0].len() + sides[1].len();
            let end = (format!("{sides:?}"), count);
            ends.entry(pair).or_default().push(end);
        }
    }
    for (pair, ends) in ends {
        assert!(ends.iter().all(|end| *end == ends[0]), "{pair}");
    }
}

#[test]
fn fixture_faults_of_kraken_cost_one_resync() {
    for (name, lines) in captures("kraken") {
        let frames = book_frames(&lines);
        if frames.first().is_none_or(|(.., frame)| is_version1(frame)) {
            continue;
        }
        let mut tried = BTreeMap::new();
        for pair in pairs_of(&frames) {
            let own: Vec<&str> = frames
                .iter()
                .filter(|(of, ..)| *of == pair)
                .map(|(.., frame)| frame.as_str())
                .collect();
            let depth = subscribed_depth(&lines);
            for fault in [
                Fault::Lost,
                Fault::Twice,
                Fault::TwiceLater,
                Fault::Swapped,
                Fault::WrongSum,
                Fault::Crossed,
            ] {
                let at = (1..own.len().saturating_sub(8)).step_by(37);
                for at in at.filter(|at| matters(fault, &own, *at)) {
                    let resyncs = plant(fault, &own, at, depth, pair);
                    let count = tried.entry((fault, resyncs)).or_insert(0);
                    *count += 1;
                }
            }
        }
        eprintln!("{name}: {tried:?}");
        for (fault, resyncs) in tried.keys() {
            let expected = match fault {
                // The same levels again, at once, change nothing.
                Fault::Twice => 0..=0,
                // A level that comes and goes before the next frame hides what was lost for ever.
                Fault::Lost | Fault::TwiceLater | Fault::Swapped => 0..=1,
                Fault::WrongSum | Fault::Crossed => 1..=1,
            };
            assert!(expected.contains(resyncs), "{name}: {fault:?} {resyncs}");
        }
        for (fault, share) in [
            (Fault::Lost, 9),
            (Fault::Swapped, 9),
            (Fault::TwiceLater, 1),
        ] {
            let of = |resyncs| tried.get(&(fault, resyncs)).copied().unwrap_or(0);
            assert!(of(1) > share * of(0), "{fault:?} is hardly ever noticed");
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Lost,
    Twice,
    TwiceLater,
    Swapped,
    WrongSum,
    Crossed,
}

/// A fault can be seen where the sum follows what is lost or comes too late.
fn matters(fault: Fault, frames: &[&str], at: usize) -> bool {
    let differ = |one: usize, other: usize| sum_of(frames[one]) != sum_of(frames[other]);
    match fault {
        Fault::Lost => differ(at - 1, at) && differ(at - 1, at + 1),
        Fault::Swapped => {
            differ(at - 1, at) && differ(at, at + 1) && differ(at - 1, at + 1) && {
                let (one, other) = (levels_of(frames[at]), levels_of(frames[at + 1]));
                one.iter().all(|level| !other.contains(level))
            }
        }
        Fault::TwiceLater => {
            // What it set has been set anew since.
            let (first, later) = (levels_of(frames[at]), levels_of(frames[at + 1]));
            let moved = |(side, price, quantity): &(Side, String, String)| {
                let mut later = later.iter();
                later.any(|(s, p, q)| (s, p) == (side, price) && q != quantity)
            };
            differ(at, at + 1) && first.iter().any(moved)
        }
        Fault::Twice | Fault::WrongSum | Fault::Crossed => true,
    }
}

/// Plays the frames of one market with one fault; returns how many resyncs it took. The exchange
/// answers each with a snapshot of the book as it truly is.
fn plant(fault: Fault, frames: &[&str], at: usize, depth: usize, pair: Pair) -> usize {
    let mut replay = Replay::new(&Kraken, &[pair]);
    let market = replay.market(&pair.to_string());
    assert_eq!(replay.frame(ack(pair, depth).as_bytes()), Ok(()));
    let mut truth = Truth::default();
    let mut index = 0;
    while index < frames.len() {
        replay.now = replay.now + Span::secs(2);
        let frame = frames[index];
        let before = replay.resyncs.len();
        let sent: Vec<String> = match fault {
            _ if index != at && (fault != Fault::TwiceLater || index != at + 1) => {
                vec![frame.to_owned()]
            }
            Fault::Lost => Vec::new(),
            Fault::Twice => vec![frame.to_owned(), frame.to_owned()],
            Fault::TwiceLater if index == at => vec![frame.to_owned()],
            Fault::TwiceLater => vec![frame.to_owned(), frames[at].to_owned()],
            Fault::Swapped => {
                truth.apply(frame, depth);
                index += 1;
                vec![frames[index].to_owned(), frame.to_owned()]
            }
            Fault::WrongSum => {
                let sum = sum_of(frame).unwrap();
                vec![frame.replace(&format!(":{sum},"), &format!(":{},", sum ^ 1))]
            }
            Fault::Crossed => {
                truth.apply(frame, depth);
                assert_eq!(replay.frame(frame.as_bytes()), Ok(()));
                vec![truth.crossed(frame)]
            }
        };
        if fault != Fault::Crossed || index != at {
            truth.apply(frames[index], depth);
        }
        for frame in sent {
            let decoded = replay.frame(frame.as_bytes());
            assert_eq!(decoded, Ok(()), "{frame}");
        }
        if replay.resyncs.len() > before {
            assert_ne!(replay.books[&market].state(), BookState::Live);
            assert!(replay.asked.last().unwrap().contains("\"subscribe\""));
            let snapshot = truth.snapshot(frames[index]);
            assert_eq!(replay.frame(snapshot.as_bytes()), Ok(()));
            assert_eq!(replay.books[&market].state(), BookState::Live);
        }
        index += 1;
    }
    // What no sum covers may stay wrong where nothing was noticed; the best levels may not.
    let count = if replay.resyncs.is_empty() { 10 } else { depth };
    for (side, levels) in [(Side::Bid, &truth.bids), (Side::Ask, &truth.asks)] {
        let levels = levels.values().rev().take(count);
        let expected: Vec<Level> = levels
            .map(|(price, quantity)| Level {
                price: price.parse().unwrap(),
                quantity: quantity.parse().unwrap(),
            })
            .collect();
        let found = replay.best(market, side, count);
        assert_eq!(found, expected, "{fault:?} at {at} of {pair}");
    }
    replay.resyncs.len()
}

/// The book as the exchange has it, read by cutting its text apart.
#[derive(Default)]
struct Truth {
    /// Printed price and quantity by value; asks by their negative, so that the best is last.
    bids: BTreeMap<i64, (String, String)>,
    asks: BTreeMap<i64, (String, String)>,
}

impl Truth {
    fn apply(&mut self, frame: &str, depth: usize) {
        if frame.contains("\"snapshot\"") {
            self.bids.clear();
            self.asks.clear();
        }
        for (side, price, quantity) in levels_of(frame) {
            let value = price.parse::<Price>().unwrap().0;
            let (levels, key) = match side {
                Side::Bid => (&mut self.bids, value),
                Side::Ask => (&mut self.asks, -value),
            };
            if quantity.bytes().all(|byte| b"0.".contains(&byte)) {
                levels.remove(&key);
            } else {
                levels.insert(key, (price, quantity));
            }
        }
        for levels in [&mut self.bids, &mut self.asks] {
            while levels.len() > depth {
                levels.pop_first();
            }
        }
    }

    fn snapshot(&self, last: &str) -> String {
        let rows = |levels: &BTreeMap<i64, (String, String)>| -> String {
            let rows = levels.values().rev();
            let rows: Vec<String> = rows
                .map(|(price, quantity)| format!("{{\"price\":{price},\"qty\":{quantity}}}"))
                .collect();
            rows.join(",")
        };
        let (bids, asks) = (rows(&self.bids), rows(&self.asks));
        let symbol = symbol_of(last);
        let sum = self.sum();
        assert_eq!(Some(sum), sum_of(last), "the test's own sum");
        format!(
            r#"{{"channel":"book","type":"snapshot","data":[{{"symbol":"{symbol}","bids":[{bids}],"asks":[{asks}],"checksum":{sum}}}]}}"#
        )
    }

    /// An update that sets a bid at the best ask, with the sum that is then right.
    fn crossed(&self, last: &str) -> String {
        let (_, (price, _)) = self.asks.last_key_value().unwrap();
        let mut crossed = Self {
            bids: self.bids.clone(),
            asks: self.asks.clone(),
        };
        let quantity = "1.00000000".to_owned();
        let value = price.parse::<Price>().unwrap().0;
        crossed
            .bids
            .insert(value, (price.clone(), quantity.clone()));
        let (symbol, sum) = (symbol_of(last), crossed.sum());
        format!(
            r#"{{"channel":"book","type":"update","data":[{{"symbol":"{symbol}","bids":[{{"price":{price},"qty":{quantity}}}],"asks":[],"checksum":{sum},"timestamp":"2021-04-17T16:48:53.365913Z"}}]}}"#
        )
    }

    fn sum(&self) -> u32 {
        let mut text = String::new();
        for levels in [&self.asks, &self.bids] {
            for (price, quantity) in levels.values().rev().take(10) {
                for number in [price, quantity] {
                    text.push_str(number.replace('.', "").trim_start_matches('0'));
                }
            }
        }
        crc32fast::hash(text.as_bytes())
    }
}

/// Levels of a frame of v2 as they are printed, bids first.
fn levels_of(frame: &str) -> Vec<(Side, String, String)> {
    let (_, rest) = frame.split_once("\"bids\":[").unwrap();
    let (bids, asks) = rest.split_once("\"asks\":[").unwrap();
    let mut levels = Vec::new();
    for (side, text) in [(Side::Bid, bids), (Side::Ask, asks)] {
        for row in text.split("{\"price\":").skip(1) {
            let (price, rest) = row.split_once(",\"qty\":").unwrap();
            let (quantity, _) = rest.split_once('}').unwrap();
            levels.push((side, price.to_owned(), quantity.to_owned()));
        }
    }
    levels
}

fn symbol_of(frame: &str) -> &str {
    let (_, rest) = frame.split_once("\"symbol\":\"").unwrap();
    rest.split_once('"').unwrap().0
}

fn sum_of(frame: &str) -> Option<u32> {
    let (_, rest) = frame
        .split_once("\"checksum\":")
        .or_else(|| frame.split_once("\"c\":\""))?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
    rest[..end].parse().ok()
}

fn is_version1(frame: &str) -> bool {
    frame.starts_with('[')
}

/// Frames that carry a book: whose, the sum, the text.
fn book_frames(lines: &[Recorded]) -> Vec<(Pair, Option<u32>, String)> {
    let mut frames = Vec::new();
    for line in lines.iter().filter(|line| line.t == "recv") {
        let text = &line.data;
        let pair = if is_version1(text) && text.contains("\"book-") {
            let pair = text.rsplit('"').nth(1).unwrap();
            pair.replace("XBT", "BTC").replace("XDG", "DOGE")
        } else if text.starts_with("{\"channel\":\"book\"") {
            symbol_of(text).to_owned()
        } else {
            continue;
        };
        frames.push((pair.parse().unwrap(), sum_of(text), text.clone()));
    }
    frames
}

fn pairs_of(frames: &[(Pair, Option<u32>, String)]) -> Vec<Pair> {
    let pairs: BTreeSet<Pair> = frames.iter().map(|(pair, ..)| *pair).collect();
    pairs.into_iter().collect()
}

fn subscribed_depth(lines: &[Recorded]) -> usize {
    let sent = lines.iter().find(|line| line.t == "send").unwrap();
    let (_, rest) = sent.data.split_once("\"depth\": ").unwrap();
    rest.split_once(',').unwrap().0.parse().unwrap()
}
