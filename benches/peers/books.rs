//! Single levels set and the best read, 1,000 levels a side: ours beside hftbacktest's depths.
//! `benches/README.md` tells how to run and read it.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(clippy::float_arithmetic, reason = "figures of a bench are no money")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock around what it measures"
)]

#[path = "../harness.rs"]
#[expect(dead_code, reason = "here more than two are compared")]
mod harness;
#[path = "../large.rs"]
mod large;
mod race;

use expressnet::book::Book;
use expressnet::model::market::{Level, Side, UpdateKind};
use expressnet::model::time::Time;
use hftbacktest::depth::{
    BTreeMarketDepth, HashMapMarketDepth, L2MarketDepth, MarketDepth, ROIVectorMarketDepth,
};

use crate::harness::{Rounds, keep, pin, report};
use crate::large::{LEVELS, TICK, changes, full, market, update};
use crate::race::{Contestant, Pass, race};

/// One unit of a price or a quantity, as a float has it.
const UNIT: f64 = 1e-8;
/// A tick of the generated prices, and the least quantity, which is theirs to know.
const TICK_SIZE: f64 = TICK as f64 * UNIT;
const LOT_SIZE: f64 = UNIT;

fn main() {
    let is_quick = !std::env::args().any(|argument| argument == "--bench");
    let rounds = Rounds(if is_quick { 2 } else { 301 });
    pin();
    let (full, changes) = (full(), changes());
    check(&full, &changes);
    let figures = race(
        "book_1000",
        rounds,
        changes.len(),
        &mut [
            Contestant::new("ours", || ours(&full, &changes)),
            Contestant::new("hftbacktest ROIVector", || {
                theirs(roi_vector(), &full, &changes)
            }),
            Contestant::new("hftbacktest HashMap", || {
                theirs(
                    HashMapMarketDepth::new(TICK_SIZE, LOT_SIZE),
                    &full,
                    &changes,
                )
            }),
            Contestant::new("hftbacktest BTree", || {
                theirs(BTreeMarketDepth::new(TICK_SIZE, LOT_SIZE), &full, &changes)
            }),
        ],
    );
    report("peers_books", &figures);
}

/// A range of interest as wide as all that comes.
fn roi_vector() -> ROIVectorMarketDepth {
    let top = LEVELS as f64 * TICK_SIZE;
    ROIVectorMarketDepth::new(TICK_SIZE, LOT_SIZE, 0.0, top)
}

fn set(book: &mut Book, kind: UpdateKind, sequence: u64, bids: &[Level]) {
    let update = update(book.market(), kind, sequence, bids);
    book.apply(&update, Time(1));
}

fn best(book: &Book) -> Option<Level> {
    book.depth(Side::Bid).best()
}

/// The book of a market that has been traded for a while: every change has been there once.
fn made(full: &[Level], changes: &[Level]) -> Book {
    let mut book = Book::new(market());
    set(&mut book, UpdateKind::Snapshot, 0, full);
    for level in changes.iter().chain(full) {
        change(&mut book, level);
    }
    book
}

#[inline]
fn change(book: &mut Book, level: &Level) {
    let previous = book.sequence();
    let kind = UpdateKind::Delta { previous };
    set(book, kind, previous + 1, std::slice::from_ref(level));
}

fn ours<'a>(full: &[Level], changes: &'a [Level]) -> Pass<'a> {
    let mut book = made(full, changes);
    Box::new(move || {
        for level in changes {
            change(&mut book, level);
            keep(best(&book));
        }
    })
}

/// Floats are made beforehand, as if the frame had brought them.
fn floats(levels: &[Level]) -> Vec<(f64, f64)> {
    let pair = |level: &Level| {
        let (price, quantity) = (level.price.0 as f64, level.quantity.0 as f64);
        (price * UNIT, quantity * UNIT)
    };
    levels.iter().map(pair).collect()
}

fn theirs<'a, D>(mut depth: D, full: &[Level], changes: &[Level]) -> Pass<'a>
where
    D: L2MarketDepth + MarketDepth + 'a,
{
    let (full, changes) = (floats(full), floats(changes));
    for (price, quantity) in changes.iter().chain(&full) {
        depth.update_bid_depth(*price, *quantity, 1);
    }
    Box::new(move || {
        for (price, quantity) in &changes {
            depth.update_bid_depth(*price, *quantity, 1);
            keep((depth.best_bid_tick(), depth.best_bid_qty()));
        }
    })
}

/// Both have the same best price behind every change, or the comparison is of different work.
fn check(full: &[Level], changes: &[Level]) {
    let (mut book, mut depth) = (made(full, changes), roi_vector());
    let (full, floats) = (floats(full), floats(changes));
    for (price, quantity) in floats.iter().chain(&full) {
        depth.update_bid_depth(*price, *quantity, 1);
    }
    for (at, (level, (price, quantity))) in changes.iter().zip(floats).enumerate() {
        change(&mut book, level);
        depth.update_bid_depth(price, quantity, 1);
        let best = best(&book).map_or(0, |level| level.price.0 / TICK);
        assert_eq!(best, depth.best_bid_tick(), "behind change {at}");
    }
}
