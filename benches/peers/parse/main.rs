//! Recorded frames into books: ours beside other readers of JSON, and beside barter-data.
//! `benches/README.md` tells how to run and read it.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(clippy::float_arithmetic, reason = "figures of a bench are no money")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock around what it measures"
)]
#![expect(clippy::print_stderr, reason = "what is skipped is said aloud")]

#[path = "../../harness.rs"]
#[expect(dead_code, reason = "here more than two are compared")]
mod harness;
#[path = "../race.rs"]
mod race;
#[path = "../../recorded.rs"]
#[expect(dead_code, reason = "here no stream is made")]
mod recorded;
#[path = "../../typed.rs"]
mod typed;

mod barter;
mod readers;

use expressnet::book::Book;
use expressnet::model::market::Level;

use crate::barter::Barter;
use crate::harness::{Figure, Rounds, keep, pin, report};
use crate::race::{Contestant, race};
use crate::readers::{Simd, Sonic, simd_buffers};
use crate::recorded::{Kind, Ours, SIDES, Stream, streams};
use crate::typed::Theirs;

fn main() {
    let is_quick = !std::env::args().any(|argument| argument == "--bench");
    let rounds = Rounds(if is_quick { 2 } else { 101 });
    pin();
    let mut figures = Vec::new();
    for stream in streams() {
        check(&stream);
        figures.extend(read(&stream, rounds));
    }
    report("peers_parse", &figures);
}

/// Every steady frame of a stream, by each of them.
fn read(stream: &Stream, rounds: Rounds) -> Vec<Figure> {
    let frames = &stream.steady;
    let barter = (stream.kind == Kind::Binance).then(|| Barter::of(stream));
    let mut contestants = vec![
        Contestant::new("ours", || {
            let mut ours = Ours::ready(stream);
            Box::new(move || frames.iter().for_each(|frame| ours.take(frame)))
        }),
        Contestant::new("serde_json", || {
            let mut theirs = Theirs::ready(stream);
            Box::new(move || frames.iter().for_each(|frame| theirs.take(&frame[..])))
        }),
        Contestant::new("sonic-rs", || {
            let mut theirs = Theirs::ready(stream);
            Box::new(move || frames.iter().for_each(|frame| theirs.take(Sonic(frame))))
        }),
        Contestant::new("simd-json", || {
            let mut theirs = Theirs::ready(stream);
            // It writes into what it reads, which the owner of a receive buffer can let it do.
            let (mut frames, mut buffers) = (frames.clone(), simd_buffers());
            Box::new(move || {
                for frame in &mut frames {
                    theirs.take(Simd(frame, &mut buffers));
                }
            })
        }),
    ];
    if let Some(barter) = &barter {
        contestants.push(Contestant::new("barter-data", || {
            let mut reading = barter.ready();
            let texts = &barter.texts;
            Box::new(move || {
                for text in texts {
                    reading.take(text);
                    keep(&reading);
                }
            })
        }));
    }
    let case = format!("parse_{}", stream.name);
    race(&case, rounds, frames.len(), &mut contestants)
}

/// All come to the same best prices, or the comparison is of different work.
fn check(stream: &Stream) {
    let mut ours = Ours::ready(stream);
    let (mut sonic, mut simd) = (Theirs::ready(stream), Theirs::ready(stream));
    let mut buffers = simd_buffers();
    for frame in &stream.steady {
        ours.take(frame);
        sonic.take(Sonic(frame));
        simd.take(Simd(&mut frame.clone(), &mut buffers));
    }
    eprintln!("{}: {} steady frames", stream.name, stream.steady.len());
    for (at, book) in ours.books.iter().enumerate() {
        assert_eq!(bests(book), bests(&sonic.books[at]), "{}", stream.name);
        assert_eq!(bests(book), bests(&simd.books[at]), "{}", stream.name);
    }
    if stream.kind == Kind::Binance {
        let barter = Barter::of(stream);
        let mut reading = barter.ready();
        for text in &barter.texts {
            reading.take(text);
        }
        for (at, book) in ours.books.iter().enumerate() {
            assert_eq!(bests(book), reading.bests(at), "barter-data");
        }
    }
}

fn bests(book: &Book) -> [Option<Level>; 2] {
    SIDES.map(|side| book.depth(side).best())
}
