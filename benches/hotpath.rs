//! Recorded frames into books: our readers beside serde_json with typed fields.
//! `benches/README.md` tells how to run and read it.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(clippy::float_arithmetic, reason = "figures of a bench are no money")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock around what it measures"
)]
#![expect(clippy::print_stderr, reason = "what is skipped is said aloud")]

mod each;
mod futures;
mod harness;
mod large;
mod recorded;
mod typed;

use expressnet::book::Book;
use expressnet::model::market::UpdateKind;
use expressnet::model::number::{Price, Quantity};
use expressnet::model::time::Time;

use crate::each::each;
use crate::futures::futures;
use crate::harness::{Figure, Rounds, compare, keep, pin, report};
use crate::large::{changes, full, market, update};
use crate::recorded::{Ours, Stream, streams};
use crate::typed::Theirs;

fn main() {
    let is_quick = !std::env::args().any(|argument| argument == "--bench");
    let rounds = Rounds(if is_quick { 2 } else { 101 });
    let mut counted = std::env::args().skip_while(|argument| argument != "--count");
    if let Some(name) = counted.nth(1) {
        return count(&name);
    }
    pin();
    let mut figures = Vec::new();
    for stream in all_streams() {
        figures.push(read(&stream, rounds));
        figures.push(spaced(&stream, rounds));
        figures.extend(each(&stream, rounds));
    }
    figures.push(large_book(rounds));
    report("hotpath", &figures);
}

/// Recorded streams, and one made of them.
fn all_streams() -> Vec<Stream> {
    let mut streams = streams();
    let made: Vec<Stream> = streams.iter().filter_map(futures).collect();
    streams.extend(made);
    streams
}

/// Reads the steady frames of one stream once, for tools that count instructions, and says how many
/// they are.
fn count(name: &str) {
    let streams = all_streams();
    let Some(stream) = streams.iter().find(|stream| stream.name == name) else {
        return;
    };
    let mut ours = Ours::ready(stream);
    counted_pass(&mut ours, stream);
    eprintln!("messages {}", stream.steady.len());
}

#[inline(never)]
fn counted_pass(ours: &mut Ours, stream: &Stream) {
    for frame in &stream.steady {
        ours.take(frame);
    }
}

/// Every steady frame of a stream, by ours and by serde_json, into books of the same kind.
fn read(stream: &Stream, rounds: Rounds) -> Figure {
    check(stream);
    compare(
        &format!("read_{}", stream.name),
        rounds,
        stream.steady.len(),
        (
            || Ours::ready(stream),
            |ours: &mut Ours| stream.steady.iter().for_each(|frame| ours.take(frame)),
        ),
        (
            "serde_json",
            || Theirs::ready(stream),
            |theirs: &mut Theirs| {
                stream
                    .steady
                    .iter()
                    .for_each(|frame| theirs.take(&frame[..]))
            },
        ),
    )
}

/// The same frames with space between all that may have some, beside the frames as recorded.
fn spaced(stream: &Stream, rounds: Rounds) -> Figure {
    let spaced: Vec<Vec<u8>> = stream.steady.iter().map(|frame| space(frame)).collect();
    compare(
        &format!("spaced_{}", stream.name),
        rounds,
        spaced.len(),
        (
            || Ours::ready(stream),
            |ours: &mut Ours| spaced.iter().for_each(|frame| ours.take(frame)),
        ),
        (
            "our template",
            || Ours::ready(stream),
            |ours: &mut Ours| stream.steady.iter().for_each(|frame| ours.take(frame)),
        ),
    )
}

/// Both come to the same best prices, or the comparison is of different work.
fn check(stream: &Stream) {
    let (mut ours, mut theirs) = (Ours::ready(stream), Theirs::ready(stream));
    for frame in &stream.steady {
        ours.take(frame);
        theirs.take(&frame[..]);
    }
    let counts = ours.feed.read_counts();
    eprintln!(
        "{}: {} steady frames, {counts:?}",
        stream.name,
        stream.steady.len()
    );
    for (one, other) in ours.books.iter().zip(&theirs.books) {
        assert_eq!(one.state(), other.state(), "{}", stream.name);
        for side in recorded::SIDES {
            let best = |book: &Book| book.depth(side).best();
            assert_eq!(best(one), best(other), "{}", stream.name);
        }
    }
}

/// Puts a space behind every comma and colon outside of strings.
fn space(frame: &[u8]) -> Vec<u8> {
    let mut spaced = Vec::with_capacity(frame.len() * 2);
    let mut is_text = false;
    for byte in frame {
        is_text ^= *byte == b'"';
        spaced.push(*byte);
        if !is_text && matches!(byte, b',' | b':') {
            spaced.push(b' ');
        }
    }
    spaced
}

/// A level set and the best read, most of them near the best, beside a balanced tree.
fn large_book(rounds: Rounds) -> Figure {
    let (changes, full) = (changes(), full());
    let market = market();
    compare(
        "book_1000",
        rounds,
        changes.len(),
        (
            || {
                let mut book = Book::new(market);
                book.apply(&update(market, UpdateKind::Snapshot, 0, &full), Time(1));
                book
            },
            |book: &mut Book| {
                for (at, change) in changes.iter().enumerate() {
                    let previous = at as u64;
                    let kind = UpdateKind::Delta { previous };
                    let bids = std::slice::from_ref(change);
                    book.apply(&update(market, kind, previous + 1, bids), Time(1));
                    keep(book.depth(recorded::SIDES[0]).best());
                }
            },
        ),
        (
            "BTreeMap",
            || {
                let levels = full.iter().map(|level| (level.price, level.quantity));
                levels.collect::<std::collections::BTreeMap<Price, Quantity>>()
            },
            |tree: &mut std::collections::BTreeMap<Price, Quantity>| {
                for change in &changes {
                    if change.quantity.is_positive() {
                        tree.insert(change.price, change.quantity);
                    } else {
                        tree.remove(&change.price);
                    }
                    keep(tree.last_key_value());
                }
            },
        ),
    )
}
