//! Binance as it was recorded: every frame and document is read, and the books are those that the
//! exchange itself told the best bid and ask of.

#![expect(clippy::print_stderr, reason = "what was read is said aloud")]

use std::collections::BTreeMap;

use expressnet::book::BookState;
use expressnet::model::instrument::Pair;
use expressnet::model::market::{Level, Side};
use expressnet::venue::binance::dialect::{BINANCE, BINANCE_FUTURES};
use expressnet::venue::binance::shape::{BookTicker, Change, Event, Outer};
use expressnet::venue::literal::{Excess, Literal};
use expressnet::venue::scan::ReadCounts;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::venue::fixtures::{documents, expected};
use crate::venue::replay::{Capture, Injected, Line, Stage, Step, Truth, captures, pair_of, rows};

/// What an independent replay of one market came to.
#[derive(Deserialize)]
struct Expected {
    applied: u32,
    skipped: u32,
    last_u: u64,
    crossed_states: u32,
    #[serde(rename = "bookTicker_same_u_match")]
    tickers: usize,
    #[serde(rename = "bookTicker_same_u_mismatch")]
    tickers_missed: usize,
    #[serde(rename = "final")]
    end: End,
}

#[derive(Deserialize)]
struct End {
    bids: Vec<(String, String)>,
    asks: Vec<(String, String)>,
}

/// Best bid and best ask after an update of a market.
type Bests = BTreeMap<(Pair, u64), [Level; 2]>;

#[test]
fn fixture_documents_and_frames_of_binance_are_read_or_named() {
    documents("binance", &BINANCE);
}

#[test]
fn fixture_books_of_binance_are_those_that_its_best_bids_and_asks_tell_of() {
    let mut shared = 0;
    let mut captures = 0;
    let mut counts = ReadCounts::default();
    for capture in recorded() {
        shared += check(&capture, &expected(&capture.path), &mut counts);
        captures += 1;
    }
    let all = counts.template + counts.tolerant + counts.slow;
    eprintln!("{captures} captures, {shared} numbers shared, all alike; {counts:?}");
    assert!(counts.template * 100 >= all * 99, "{counts:?}");
}

fn check(
    capture: &Capture,
    expected: &BTreeMap<String, Expected>,
    counts: &mut ReadCounts,
) -> usize {
    let (mut told, mut come_to) = (Bests::new(), Bests::new());
    let mut changes: BTreeMap<Pair, u32> = BTreeMap::new();
    let mut stage = Stage::new(&BINANCE, &capture.pairs, capture.lines[0].at);
    stage.play(&capture.lines, |stage, line| {
        let frame = line.document_of.is_none().then_some(line);
        if let Some((ticker, best)) = frame.and_then(ticker_of) {
            told.insert(ticker, best);
        }
        if let Some(pair) = frame.and_then(changed) {
            *changes.entry(pair).or_default() += 1;
        }
        for (pair, book) in &stage.books {
            let best = |side: Side| book.depth(side).best();
            if let (Some(bid), Some(ask)) = (best(Side::Bid), best(Side::Ask)) {
                come_to.insert((*pair, book.sequence()), [bid, ask]);
            }
        }
    });
    assert_eq!((stage.refused.len(), stage.crossed_states), (0, 0));
    assert!(stage.resyncs.is_empty(), "a gap: {:?}", stage.resyncs);
    let mut shared = 0;
    for (ticker, best) in &told {
        if let Some(book) = come_to.get(ticker) {
            assert_eq!(book, best, "{ticker:?}");
            shared += 1;
        }
    }
    let (mut tickers, mut missed) = (0, 0);
    for (name, expected) in expected {
        let pair = pair_of(name);
        let book = &stage.books[&pair];
        assert_eq!(stage.applied[&pair], expected.applied, "{name}");
        let skipped = changes[&pair] - expected.applied;
        assert_eq!(skipped, expected.skipped, "{name}");
        assert_eq!(
            (book.sequence(), book.state()),
            (expected.last_u, BookState::Live)
        );
        assert_eq!(expected.crossed_states, 0);
        let end = [levels(&expected.end.bids), levels(&expected.end.asks)];
        assert_eq!(stage.best(pair, end[0].len()), end, "{name}");
        tickers += expected.tickers;
        missed += expected.tickers_missed;
    }
    assert!(shared >= tickers && missed == 0, "{shared} of {tickers}");
    let read = stage.feed.read_counts();
    eprintln!(
        "{}: {} frames, {} books, {shared} best bids and asks of {}, {read:?}",
        capture.path.display(),
        stage.frames,
        expected.len(),
        told.len()
    );
    counts.template += read.template;
    counts.tolerant += read.tolerant;
    counts.slow += read.slow;
    shared
}

#[test]
fn fixture_changes_of_binance_that_are_lost_doubled_or_swapped_are_one_resync() {
    for capture in recorded() {
        let truth = Truth::of(&BINANCE, &capture);
        for injected in [Injected::Lost, Injected::Twice, Injected::Swapped] {
            let stage = truth.play(&BINANCE, injected, document);
            assert_eq!(stage.resyncs.get(&truth.pair), Some(&1), "{injected:?}");
            assert!(truth.is_met_by(&stage), "{injected:?} {}", truth.pair);
        }
    }
}

#[test]
fn fixture_books_of_binance_that_cross_are_one_resync() {
    for capture in recorded() {
        let mut truth = Truth::of(&BINANCE, &capture);
        let middle = truth.steps.len() / 2;
        let step = &mut truth.steps[middle];
        let ask = step.sides[1][0].price;
        let (before, after) = step.line.data.split_once("\"b\":[").unwrap();
        let comma = if after.starts_with(']') { "" } else { "," };
        step.line.data = format!("{before}\"b\":[[\"{ask}\",\"1\"]{comma}{after}");
        let stage = truth.play(&BINANCE, Injected::Nothing, document);
        assert_eq!(stage.resyncs.get(&truth.pair), Some(&1));
        assert!(stage.crossed_states > 0);
        assert!(truth.is_met_by(&stage));
    }
}

/// No capture of futures is at hand: those of the spot market are told as futures would be.
#[test]
fn fixture_books_are_the_same_when_told_as_futures() {
    for capture in recorded() {
        let mut ended: BTreeMap<Pair, u64> = BTreeMap::new();
        let mut lines = capture.lines.clone();
        for line in &mut lines {
            if line.document_of.is_some() {
                let written = line
                    .data
                    .replacen(",\"bids\"", ",\"E\":1,\"T\":1,\"bids\"", 1);
                line.data = written;
            } else if let Some((pair, first, last)) = spanned(line) {
                let before = ended.insert(pair, last).unwrap_or(first - 1);
                let written = line.data.replacen(",\"s\":", ",\"T\":1,\"s\":", 1);
                line.data = written.replacen(",\"b\":", &format!(",\"pu\":{before},\"b\":"), 1);
            }
        }
        let mut spot = Stage::new(&BINANCE, &capture.pairs, lines[0].at);
        let mut futures = Stage::new(&BINANCE_FUTURES, &capture.pairs, lines[0].at);
        spot.play(&capture.lines, |_, _| ());
        futures.play(&lines, |_, _| ());
        assert_eq!((futures.refused.len(), futures.resyncs.len()), (0, 0));
        for pair in &capture.pairs {
            let depth = usize::MAX;
            assert_eq!(
                spot.best(*pair, depth),
                futures.best(*pair, depth),
                "{pair}"
            );
        }
        assert_eq!(futures.applied, spot.applied);
        let counts = futures.feed.read_counts();
        assert_eq!((counts.tolerant, counts.slow), (0, 0), "{counts:?}");
    }
}

fn recorded() -> Vec<Capture> {
    captures("binance", |url| {
        let (_, query) = url.split_once("/depth?symbol=")?;
        query.split('&').next()
    })
}

fn levels(rows: &[(String, String)]) -> Vec<Level> {
    let level = |(price, quantity): &(String, String)| Level {
        price: price.parse().unwrap(),
        quantity: quantity.parse().unwrap(),
    };
    rows.iter().map(level).collect()
}

fn event_of(line: &Line) -> (Option<String>, String) {
    let outer: Outer<'_> = serde_json::from_str(&line.data).unwrap();
    let text = outer.data.map_or(line.data.as_str(), RawValue::get);
    let event: Event<'_> = serde_json::from_str(text).unwrap();
    (event.kind.map(|kind| kind.into_owned()), text.to_owned())
}

fn spanned(line: &Line) -> Option<(Pair, u64, u64)> {
    let (kind, text) = event_of(line);
    if kind.as_deref() != Some("depthUpdate") {
        return None;
    }
    let change: Change<'_> = serde_json::from_str(&text).unwrap();
    let first = change.first.as_ref()?.whole()?;
    Some((pair_of(&change.symbol), first, change.last.whole()?))
}

fn changed(line: &Line) -> Option<Pair> {
    spanned(line).map(|(pair, ..)| pair)
}

fn ticker_of(line: &Line) -> Option<((Pair, u64), [Level; 2])> {
    let (kind, text) = event_of(line);
    if kind.is_some() {
        return None;
    }
    let ticker: BookTicker<'_> = serde_json::from_str(&text).ok()?;
    let level = |price: &Literal<'_>, quantity: &Literal<'_>| Level {
        price: price.price(Excess::Refused).unwrap(),
        quantity: quantity.quantity().unwrap(),
    };
    let number = ticker.number.whole()?;
    let bid = level(&ticker.bid, &ticker.bid_quantity);
    let ask = level(&ticker.ask, &ticker.ask_quantity);
    Some(((pair_of(&ticker.symbol), number), [bid, ask]))
}

/// Writes the book after a step as the exchange writes its document.
fn document(step: &Step) -> String {
    let (_, _, last) = spanned(&step.line).unwrap();
    let [bids, asks] = &step.sides;
    format!(
        r#"{{"lastUpdateId":{last},"bids":{},"asks":{}}}"#,
        rows(bids, ","),
        rows(asks, ",")
    )
}
