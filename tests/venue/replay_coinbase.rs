//! Recorded streams of Coinbase: the books are those that others found, and every planted fault costs
//! one resync of what it may have touched.

use std::collections::{BTreeMap, BTreeSet};

use expressnet::book::{Applied, BookState};
use expressnet::model::instrument::{Market, Pair};
use expressnet::model::market::{Level, Side};
use expressnet::model::number::Price;
use expressnet::model::time::Span;
use expressnet::venue::Dialect;
use expressnet::venue::coinbase::dialect::{ADVANCED, EXCHANGE};
use serde_json::{Value, json};

use crate::venue::fixtures::told_documents;
use crate::venue::replaying::{Recorded, Replay, captures, expected};

#[test]
fn fixture_documents_of_coinbase_are_read() {
    told_documents("coinbase", &ADVANCED);
}

#[test]
fn fixture_books_of_coinbase_are_those_that_others_found() {
    for (name, lines) in captures("coinbase") {
        let Some(capture) = Stream::of(&lines) else {
            continue;
        };
        let mut replay = Replay::new(capture.dialect(), &capture.pairs);
        let (mut books, mut by_template) = (0, 0);
        let mut tickers: BTreeMap<bool, u64> = BTreeMap::new();
        for frame in &capture.frames {
            replay.now = replay.now + Span::MILLI;
            let before = replay.feed.read_counts();
            assert_eq!(replay.frame(frame.as_bytes()), Ok(()), "{name}: {frame}");
            let after = replay.feed.read_counts();
            assert_eq!(after.slow, 0, "{name}: {frame}");
            if capture.is_book(frame) {
                books += 1;
                by_template += after.template - before.template;
            } else if let Some((pair, bid, ask)) = ticker_of(frame) {
                let market = replay.market(&pair.replace('-', "/"));
                let best = [Side::Bid, Side::Ask].map(|side| replay.best(market, side, 1));
                let is_same = best.iter().zip([bid, ask]).all(|(levels, price)| {
                    levels.first().is_some_and(|level| level.price == price)
                });
                *tickers.entry(is_same).or_default() += 1;
            }
        }
        eprintln!(
            "{name}: {books} book frames, {by_template} by template, {:?}; ticker as the book: {tickers:?}",
            replay.feed.read_counts()
        );
        assert!(books > 0 && by_template * 100 >= books * 99);
        assert_eq!(replay.resyncs, [], "{name}");
        let changed: u64 = replay.changed.values().sum();
        assert_eq!(changed, books, "{name}");
        if let Some(expected) = expected(&name) {
            check(&replay, &expected, &tickers);
        }
    }
}

/// Compares a replay with what others counted.
fn check(replay: &Replay, expected: &Value, tickers: &BTreeMap<bool, u64>) {
    for (product, book) in expected["final"].as_object().unwrap() {
        let market = replay.market(&product.replace('-', "/"));
        replay.assert_best(market, book);
        let changed = replay.changed[&market];
        // Updates of the Exchange are counted without their snapshot.
        match (
            &expected["l2_events"][product],
            &expected["l2updates"][product],
        ) {
            (Value::Null, updates) => assert_eq!(*updates, changed - 1, "{product}"),
            (events, _) => assert_eq!(*events, changed, "{product}"),
        }
    }
    if let Some(match_and_differ) = expected.get("ticker_best_vs_book_at_arrival") {
        let of = |is_same| tickers.get(&is_same).copied().unwrap_or(0);
        let found = json!({"match": of(true), "differ": of(false)});
        assert_eq!(*match_and_differ, found);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Lost,
    Twice,
    Swapped,
    Crossed,
}

#[test]
fn fixture_faults_of_advanced_trade_cost_each_book_one_resync() {
    for (name, lines) in captures("coinbase") {
        let Some(capture) = Stream::of(&lines).filter(|capture| capture.is_advanced) else {
            continue;
        };
        // The frames after both snapshots; those alone have the size of a whole book.
        let start = capture
            .frames
            .iter()
            .rposition(|frame| frame.contains("[{\"type\":\"snapshot\",\"product_id\""))
            .unwrap();
        let mut tried: BTreeMap<(Fault, usize), u64> = BTreeMap::new();
        for at in (start + 3..capture.frames.len() - 20).step_by(119) {
            for fault in [Fault::Lost, Fault::Twice, Fault::Swapped, Fault::Crossed] {
                let resyncs = plant(fault, &capture, at);
                *tried.entry((fault, resyncs)).or_default() += 1;
            }
        }
        eprintln!("{name}: {tried:?}");
        assert!(!tried.is_empty());
        for (fault, resyncs) in tried.keys() {
            let expected = match fault {
                // A number that was heard already says that nothing new stands there.
                Fault::Twice => 0,
                // What is lost may have been of any market.
                Fault::Lost | Fault::Swapped => capture.pairs.len(),
                Fault::Crossed => 1,
            };
            assert_eq!(*resyncs, expected, "{name}: {fault:?}");
        }
    }
}

/// Plays a recording of Advanced Trade with one fault; returns how many resyncs it took. The exchange
/// answers each at once with a snapshot of the book as it truly is.
fn plant(fault: Fault, capture: &Stream, at: usize) -> usize {
    let mut replay = Replay::new(&ADVANCED, &capture.pairs);
    let mut truth = Replay::new(&ADVANCED, &capture.pairs);
    // Frames that the recording does not have move the numbers of those behind them.
    let mut added = 0;
    let mut index = 0;
    while index < capture.frames.len() {
        for replay in [&mut replay, &mut truth] {
            replay.now = replay.now + Span::secs(2);
        }
        let frame = &capture.frames[index];
        let sent: Vec<String> = match fault {
            _ if index != at => vec![numbered(frame, added)],
            Fault::Lost => Vec::new(),
            Fault::Twice => vec![frame.clone(), frame.clone()],
            Fault::Swapped => vec![capture.frames[index + 1].clone(), frame.clone()],
            Fault::Crossed => {
                added += 1;
                let crossed = crossing(&truth, capture.pairs[0], number_of(frame));
                vec![crossed, numbered(frame, added)]
            }
        };
        let before = replay.resyncs.len();
        assert_eq!(truth.frame(frame.as_bytes()), Ok(()));
        if fault == Fault::Swapped && index == at {
            index += 1;
            assert_eq!(truth.frame(capture.frames[index].as_bytes()), Ok(()));
        }
        let mut number = number_of(&capture.frames[index]) + added + 1;
        for frame in sent {
            assert_eq!(replay.frame(frame.as_bytes()), Ok(()), "{frame}");
        }
        let lost: Vec<(Market, Applied)> = replay.resyncs[before..].to_vec();
        for (market, _) in lost {
            assert_ne!(replay.books[&market].state(), BookState::Live);
            let product = market.pair.to_string().replace('/', "-");
            let wanted = format!("{{\"type\":\"subscribe\",\"product_ids\":[\"{product}\"]");
            assert!(replay.asked.iter().any(|asked| asked.starts_with(&wanted)));
            let snapshot = snapshot_of(&truth, market, number);
            assert_eq!(replay.frame(snapshot.as_bytes()), Ok(()));
            assert_eq!(replay.books[&market].state(), BookState::Live);
            number += 1;
            added += 1;
        }
        index += 1;
    }
    for (market, book) in &replay.books {
        for side in [Side::Bid, Side::Ask] {
            let (found, expected) = (
                replay.best(*market, side, 200),
                truth.best(*market, side, 200),
            );
            assert_eq!(found, expected, "{market} after {fault:?} at {at}");
        }
        assert_eq!(book.state(), BookState::Live);
    }
    replay.resyncs.len()
}

/// A frame that bids what is asked.
fn crossing(truth: &Replay, pair: Pair, number: u64) -> String {
    let market = truth.market(&pair.to_string());
    let ask = truth.best(market, Side::Ask, 1)[0];
    advanced_frame(number, "update", market, &[(Side::Bid, ask)])
}

fn snapshot_of(truth: &Replay, market: Market, number: u64) -> String {
    let mut levels = Vec::new();
    for side in [Side::Bid, Side::Ask] {
        let best = truth.best(market, side, usize::MAX);
        levels.extend(best.into_iter().map(|level| (side, level)));
    }
    advanced_frame(number, "snapshot", market, &levels)
}

fn advanced_frame(number: u64, kind: &str, market: Market, levels: &[(Side, Level)]) -> String {
    let product = market.pair.to_string().replace('/', "-");
    let updates: Vec<String> = levels
        .iter()
        .map(|(side, level)| {
            let side = match side {
                Side::Bid => "bid",
                Side::Ask => "offer",
            };
            let (price, quantity) = (level.price, level.quantity);
            format!(
                r#"{{"side":"{side}","event_time":"2026-08-09T21:05:48.210883Z","price_level":"{price}","new_quantity":"{quantity}"}}"#
            )
        })
        .collect();
    let updates = updates.join(",");
    format!(
        r#"{{"channel":"l2_data","timestamp":"2026-08-09T21:05:48.505350477Z","sequence_num":{number},"events":[{{"type":"{kind}","product_id":"{product}","updates":[{updates}]}}]}}"#
    )
}

fn number_of(frame: &str) -> u64 {
    let (_, rest) = frame.split_once("\"sequence_num\":").unwrap();
    rest.split_once(',').unwrap().0.parse().unwrap()
}

fn numbered(frame: &str, added: u64) -> String {
    let number = number_of(frame);
    let (from, to) = (number, number + added);
    frame.replacen(
        &format!("\"sequence_num\":{from},"),
        &format!("\"sequence_num\":{to},"),
        1,
    )
}

/// The Exchange numbers nothing: what was lost shows when it was at the top of the book.
#[test]
fn fixture_faults_of_the_exchange_cost_one_resync_where_they_show() {
    for (name, lines) in captures("coinbase") {
        let Some(capture) = Stream::of(&lines).filter(|capture| !capture.is_advanced) else {
            continue;
        };
        let mut tried: BTreeMap<(Fault, Option<&str>), u64> = BTreeMap::new();
        for pair in &capture.pairs {
            let product = pair.to_string().replace('/', "-");
            let named = format!("\"product_id\":\"{product}\"");
            let own = capture.frames.iter().filter(|frame| frame.contains(&named));
            let own: Vec<&str> = own.map(String::as_str).collect();
            for fault in [Fault::Lost, Fault::Twice, Fault::Crossed] {
                for (side, nth) in [Side::Bid, Side::Ask]
                    .into_iter()
                    .flat_map(|side| (0..12).map(move |nth| (side, 3 * nth)))
                {
                    let resyncs = plant_unnumbered(fault, &own, *pair, (side, nth));
                    let Some(resyncs) = resyncs else { continue };
                    assert!(resyncs.len() <= 1, "{product} {fault:?}: {resyncs:?}");
                    let why = resyncs.first().map(|why| match why {
                        Applied::Crossed => "crossed",
                        Applied::Gap | Applied::Old | Applied::Changed => "ticker",
                    });
                    *tried.entry((fault, why)).or_default() += 1;
                }
            }
        }
        eprintln!("{name}: {tried:?}");
        let of = |fault, why| tried.get(&(fault, why)).copied().unwrap_or(0);
        assert!(of(Fault::Lost, Some("ticker")) > 0);
        assert!(of(Fault::Lost, Some("crossed")) > 0);
        assert_eq!(
            of(Fault::Twice, None),
            tried
                .iter()
                .filter(|((fault, _), _)| *fault == Fault::Twice)
                .map(|(_, count)| count)
                .sum::<u64>()
        );
        assert_eq!(
            of(Fault::Crossed, None) + of(Fault::Crossed, Some("ticker")),
            0
        );
    }
}

/// Plays the frames of one market with one fault and answers a resync with the book as it truly is.
fn plant_unnumbered(
    fault: Fault,
    frames: &[&str],
    pair: Pair,
    (side, nth): (Side, u32),
) -> Option<Vec<Applied>> {
    let mut replay = Replay::new(&EXCHANGE, &[pair]);
    let mut truth = Replay::new(&EXCHANGE, &[pair]);
    let market = replay.market(&pair.to_string());
    let (mut falls, mut is_planted) = (0, false);
    for frame in frames {
        for replay in [&mut replay, &mut truth] {
            replay.now = replay.now + Span::secs(2);
        }
        let price = |truth: &Replay| Some(truth.best(market, side, 1).first()?.price);
        let before = price(&truth);
        assert_eq!(truth.frame(frame.as_bytes()), Ok(()));
        // The best level goes: where that is lost, it stands on as if it were the best.
        let after = price(&truth);
        let is_fall = before
            .zip(after)
            .is_some_and(|(before, after)| before != after && side.accepts(before, after));
        falls += u32::from(is_fall);
        let mut sent = vec![(*frame).to_owned()];
        if is_fall && falls > nth && !is_planted {
            is_planted = true;
            match fault {
                Fault::Lost => sent.clear(),
                Fault::Twice => sent.push((*frame).to_owned()),
                Fault::Crossed | Fault::Swapped => {
                    let ask = truth.best(market, Side::Ask, 1)[0];
                    sent.push(change_frame(market, "buy", ask.price));
                }
            }
        }
        let before = replay.resyncs.len();
        for frame in sent {
            assert_eq!(replay.frame(frame.as_bytes()), Ok(()), "{frame}");
        }
        if replay.resyncs.len() > before {
            assert_ne!(replay.books[&market].state(), BookState::Live);
            let snapshot = exchange_snapshot(&truth, market);
            assert_eq!(replay.frame(snapshot.as_bytes()), Ok(()));
            assert_eq!(replay.books[&market].state(), BookState::Live);
        }
    }
    if fault != Fault::Lost || !replay.resyncs.is_empty() {
        for side in [Side::Bid, Side::Ask] {
            let found = replay.best(market, side, 200);
            assert_eq!(
                found,
                truth.best(market, side, 200),
                "{market} after {fault:?}"
            );
        }
    }
    let resyncs = replay.resyncs.iter().map(|(_, why)| *why).collect();
    is_planted.then_some(resyncs)
}

fn change_frame(market: Market, side: &str, price: Price) -> String {
    let product = market.pair.to_string().replace('/', "-");
    format!(
        r#"{{"type":"l2update","product_id":"{product}","changes":[["{side}","{price}","1"]],"time":"2021-04-17T16:43:37.077621Z"}}"#
    )
}

fn exchange_snapshot(truth: &Replay, market: Market) -> String {
    let product = market.pair.to_string().replace('/', "-");
    let rows = |side| -> String {
        let levels = truth.best(market, side, usize::MAX);
        let rows: Vec<String> = levels
            .iter()
            .map(|level| format!("[\"{}\",\"{}\"]", level.price, level.quantity))
            .collect();
        rows.join(",")
    };
    let (bids, asks) = (rows(Side::Bid), rows(Side::Ask));
    format!(r#"{{"type":"snapshot","product_id":"{product}","asks":[{asks}],"bids":[{bids}]}}"#)
}

/// A recording with what it is of.
struct Stream {
    is_advanced: bool,
    pairs: Vec<Pair>,
    frames: Vec<String>,
}

impl Stream {
    fn of(lines: &[Recorded]) -> Option<Self> {
        let frames: Vec<String> = lines
            .iter()
            .filter(|line| line.t == "recv")
            .map(|line| line.data.clone())
            .collect();
        let mut stream = Self {
            is_advanced: frames.first()?.starts_with("{\"channel\""),
            pairs: Vec::new(),
            frames,
        };
        let snapshots = stream
            .frames
            .iter()
            .filter(|frame| stream.is_book(frame) && frame.contains("\"type\":\"snapshot\""));
        let pairs: BTreeSet<Pair> = snapshots
            .map(|frame| {
                let (_, rest) = frame.split_once("\"product_id\":\"").unwrap();
                let (product, _) = rest.split_once('"').unwrap();
                product.replace('-', "/").parse().unwrap()
            })
            .collect();
        stream.pairs = pairs.into_iter().collect();
        Some(stream)
    }

    fn dialect(&self) -> &'static dyn Dialect {
        if self.is_advanced {
            &ADVANCED
        } else {
            &EXCHANGE
        }
    }

    fn is_book(&self, frame: &str) -> bool {
        if self.is_advanced {
            return frame.starts_with("{\"channel\":\"l2_data\"");
        }
        ["snapshot", "l2update"]
            .iter()
            .any(|kind| frame.starts_with(&format!("{{\"type\":\"{kind}\"")))
    }
}

/// Reads whose ticker a frame of the Exchange is, and what it says.
fn ticker_of(frame: &str) -> Option<(String, Price, Price)> {
    if !frame.starts_with("{\"type\":\"ticker\"") {
        return None;
    }
    let value: Value = serde_json::from_str(frame).ok()?;
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let (bid, ask) = (text("best_bid")?, text("best_ask")?);
    Some((text("product_id")?, bid.parse().ok()?, ask.parse().ok()?))
}
