//! Bitstamp as it was recorded: every frame and document is read, and the books come out right.

#![expect(clippy::print_stderr, reason = "what was read is said aloud")]

use std::collections::BTreeMap;

use expressnet::book::BookState;
use expressnet::model::market::Level;
use expressnet::model::time::Span;
use expressnet::venue::bitstamp::dialect::Bitstamp;
use serde::Deserialize;

use crate::venue::fixtures::{documents, expected};
use crate::venue::replay::{Capture, Injected, Line, Stage, Step, Truth, captures, pair_of, rows};

/// What an independent replay of one market came to.
#[derive(Deserialize)]
struct Expected {
    applied: u32,
    skipped: u32,
    crossed_states: u32,
    #[serde(rename = "final")]
    end: End,
}

#[derive(Deserialize)]
struct End {
    bids: Vec<(String, String)>,
    asks: Vec<(String, String)>,
}

#[test]
fn fixture_documents_and_frames_of_bitstamp_are_read_or_named() {
    documents("bitstamp", &Bitstamp);
}

#[test]
fn fixture_books_of_bitstamp_come_out_as_an_independent_replay_says() {
    for capture in recorded() {
        let expected: BTreeMap<String, Expected> = expected(&capture.path);
        for delay in [Span::ZERO, Span::secs(2)] {
            check(&capture, delay, &expected);
        }
    }
}

/// Plays a capture whose documents come so much later.
fn check(capture: &Capture, delay: Span, expected: &BTreeMap<String, Expected>) {
    let mut lines: Vec<Line> = capture.lines.clone();
    for line in lines.iter_mut().filter(|line| line.document_of.is_some()) {
        line.at = line.at + delay;
    }
    lines.sort_by_key(|line| line.at);
    let mut stage = Stage::new(&Bitstamp, &capture.pairs, lines[0].at);
    let mut changes: BTreeMap<String, u32> = BTreeMap::new();
    for line in &lines {
        if let Some((_, name)) = line.data.split_once("channel\":\"diff_order_book_")
            && line.data.contains("\"event\":\"data\"")
        {
            let name = name.split('"').next().unwrap_or_default();
            *changes.entry(name.to_owned()).or_default() += 1;
        }
    }
    stage.play(&lines, |_, _| ());
    assert_eq!((stage.refused.len(), stage.crossed_states), (0, 0));
    assert!(stage.resyncs.is_empty(), "{:?}", stage.resyncs);
    for (name, expected) in expected {
        let pair = pair_of(name);
        let applied = stage.applied[&pair];
        assert_eq!(applied, expected.applied, "{name}");
        assert_eq!(changes[name] - applied, expected.skipped, "{name}");
        assert_eq!(expected.crossed_states, 0);
        assert_eq!(stage.books[&pair].state(), BookState::Live);
        let levels = |rows: &[(String, String)]| -> Vec<Level> {
            let level = |(price, quantity): &(String, String)| Level {
                price: price.parse().unwrap(),
                quantity: quantity.parse().unwrap(),
            };
            rows.iter().map(level).collect()
        };
        let end = [levels(&expected.end.bids), levels(&expected.end.asks)];
        assert_eq!(stage.best(pair, end[0].len()), end, "{name}");
    }
    let counts = stage.feed.read_counts();
    let all = counts.template + counts.tolerant + counts.slow;
    eprintln!(
        "{}: {} frames, {} books of {}, {counts:?}",
        capture.path.display(),
        stage.frames,
        expected.len(),
        capture.pairs.len(),
    );
    assert!(counts.template * 100 >= all * 99, "{counts:?}");
}

#[test]
fn fixture_changes_that_come_twice_or_swapped_are_one_resync() {
    for capture in recorded() {
        let truth = Truth::of(&Bitstamp, &capture);
        for injected in [Injected::Twice, Injected::Swapped] {
            let stage = truth.play(&Bitstamp, injected, document);
            assert_eq!(stage.resyncs.get(&truth.pair), Some(&1), "{injected:?}");
            assert!(truth.is_met_by(&stage), "{injected:?}");
        }
    }
}

/// Nothing numbers the changes, so nobody can see at once that one is missing.
#[test]
fn fixture_changes_that_are_lost_are_made_good_within_a_minute() {
    for capture in recorded() {
        let truth = Truth::of(&Bitstamp, &capture);
        let mut stage = truth.play(&Bitstamp, Injected::Lost, document);
        let is_crossed = stage.resyncs.contains_key(&truth.pair);
        truth.rest(&mut stage, Span::secs(70), document);
        assert!(truth.is_met_by(&stage));
        assert!(stage.resyncs.values().all(|count| *count <= 1));
        eprintln!(
            "{}: a lost change crossed the book: {is_crossed}",
            truth.pair
        );
    }
}

#[test]
fn fixture_books_that_cross_are_one_resync() {
    for capture in recorded() {
        let mut truth = Truth::of(&Bitstamp, &capture);
        let middle = truth.steps.len() / 2;
        let step = &truth.steps[middle];
        let ask = step.sides[1][0].price;
        let (before, after) = step.line.data.split_once("\"bids\":[").unwrap();
        let comma = if after.starts_with(']') { "" } else { "," };
        let data = format!("{before}\"bids\":[[\"{ask}\",\"1\"]{comma}{after}");
        let mut line = step.line.clone();
        line.data = data;
        truth.steps[middle].line = line;
        let stage = truth.play(&Bitstamp, Injected::Nothing, document);
        assert_eq!(stage.resyncs.get(&truth.pair), Some(&1));
        assert!(stage.crossed_states > 0);
        assert!(truth.is_met_by(&stage));
    }
}

fn recorded() -> Vec<Capture> {
    captures("bitstamp", |url| {
        url.split_once("/order_book/").map(|(_, name)| name)
    })
}

/// Writes the book after a step as the exchange writes its document.
fn document(step: &Step) -> String {
    let (_, micros) = step.line.data.split_once("microtimestamp\":\"").unwrap();
    let micros = &micros[..16];
    let [bids, asks] = &step.sides;
    format!(
        r#"{{"timestamp": "{}", "microtimestamp": "{micros}", "bids": {}, "asks": {}}}"#,
        &micros[..10],
        rows(bids, ", "),
        rows(asks, ", ")
    )
}
