//! Recorded frames into books: ours beside the adapters of nautilus and its book.
//! `benches/README.md` tells how to run and read it.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(clippy::float_arithmetic, reason = "figures of a bench are no money")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock around what it measures"
)]
#![expect(clippy::print_stderr, reason = "what is skipped is said aloud")]

#[path = "../../futures.rs"]
mod futures;
#[path = "../../harness.rs"]
#[expect(dead_code, reason = "another loop than that of two is used here")]
mod harness;
#[path = "../race.rs"]
mod race;
#[path = "../../recorded.rs"]
mod recorded;

mod binance;
mod coinbase;
mod kraken;
mod markets;

use crate::binance::{Binary, Json};
use crate::coinbase::Coinbase;
use crate::futures::futures;
use crate::harness::{Figure, Rounds, pin, report};
use crate::kraken::Kraken;
use crate::markets::{Adapter, Markets};
use crate::race::{Contestant, race};
use crate::recorded::{Kind, Ours, SIDES, Stream, streams};

fn main() {
    let is_quick = !std::env::args().any(|argument| argument == "--bench");
    let rounds = Rounds(if is_quick { 2 } else { 101 });
    pin();
    let mut streams = streams();
    let made: Vec<Stream> = streams.iter().filter_map(futures).collect();
    streams.extend(made);
    let mut figures = Vec::new();
    for stream in &streams {
        match (stream.kind, stream.name.as_str()) {
            (Kind::Kraken, _) => figures.extend(read::<Kraken>(stream, rounds)),
            (Kind::Advanced, _) => figures.extend(read::<Coinbase>(stream, rounds)),
            (Kind::Binance, "binance") => {
                figures.extend(read::<Json>(stream, rounds));
                figures.extend(read::<Binary>(stream, rounds));
            }
            (Kind::Binance, _) => figures.extend(read::<Json>(stream, rounds)),
            (Kind::Exchange | Kind::Bitstamp, _) => {}
        }
    }
    report("peers_nautilus", &figures);
}

/// Every steady frame of a stream, by ours and by one adapter.
fn read<A: Adapter>(stream: &Stream, rounds: Rounds) -> Vec<Figure> {
    let frames = &stream.steady;
    let theirs = A::frames(stream);
    check::<A>(stream, &theirs);
    let mut contestants = [
        Contestant::new("ours", || {
            let mut ours = Ours::ready(stream);
            Box::new(move || frames.iter().for_each(|frame| ours.take(frame)))
        }),
        Contestant::new(A::PEER, || {
            let mut markets = Markets::ready::<A>(stream);
            let theirs = &theirs;
            Box::new(move || {
                for frame in theirs {
                    A::take(&mut markets, frame);
                }
            })
        }),
    ];
    let case = format!("read_{}", stream.name);
    race(&case, rounds, frames.len(), &mut contestants)
}

/// Both come to the same best prices behind every frame, and not to none in every market, or the
/// comparison is of different work.
fn check<A: Adapter>(stream: &Stream, theirs: &[A::Frame]) {
    let (mut ours, mut markets) = (Ours::ready(stream), Markets::ready::<A>(stream));
    for (frame, their) in stream.steady.iter().zip(theirs) {
        ours.take(frame);
        A::take(&mut markets, their);
        for book in &ours.books {
            let bests = SIDES.map(|side| book.depth(side).best());
            let name = A::name(book.market().pair);
            assert_eq!(bests, markets.bests(&name), "{name} of {}", stream.name);
        }
    }
    let sequences = ours.books.iter().map(|book| book.sequence());
    let count = sequences.filter(|sequence| *sequence > 0).count();
    assert!(count > 0, "no book of {}", stream.name);
    eprintln!(
        "{}, {}: {} steady frames, {count} books",
        stream.name,
        A::PEER,
        theirs.len()
    );
}
