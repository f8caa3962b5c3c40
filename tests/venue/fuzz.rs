//! Mutated bytes at every door of every adapter: no panic, memory within bounds, and no book that
//! counts as live while it is crossed.
//!
//! `EXPRESSNET_FUZZ_FRAMES` says how many go to each door of each way; the long proof takes ten
//! million in a release build. `EXPRESSNET_FUZZ_WAYS` names the ways, such as `mtgox Plain,btce
//! Plain`; without it all are taken, though many share their decoders.

#![expect(clippy::print_stderr, reason = "what was tried is said aloud")]

use std::fs;

use expressnet::book::{Book, BookState};
use expressnet::model::ids::OrderId;
use expressnet::model::market::Side;
use expressnet::model::number::{Price, Quantity};
use expressnet::model::random::Random;
use expressnet::model::time::{Span, Time};
use expressnet::model::trade::OrderIntent;
use expressnet::venue::{Asked, Dialect, Framing, Heard, OrdersQuery};

use crate::venue::conformance::every_way;
use crate::venue::world::{Door, Plan, World};

const FRAMES: u64 = 5_000;
/// What the process may grow by, whatever comes in.
const GROWTH_BYTES_MAX: u64 = 256 << 20;

#[test]
fn mutated_bytes_do_no_harm_at_any_door() {
    let frames = std::env::var("EXPRESSNET_FUZZ_FRAMES");
    let frames = frames.map_or(FRAMES, |text| text.parse().unwrap());
    let ways = std::env::var("EXPRESSNET_FUZZ_WAYS").unwrap_or_default();
    for (index, (dialect, framing)) in every_way().into_iter().enumerate() {
        let name = format!("{} {framing:?}", dialect.name());
        if !ways.is_empty() && !ways.split(',').any(|way| way == name) {
            continue;
        }
        fuzz(dialect, framing, frames, index as u64 + 1);
    }
}

fn fuzz(dialect: &'static dyn Dialect, framing: Framing, frames: u64, seed: u64) {
    let mut plan = Plan::calm(dialect);
    plan.framing = framing;
    let mut world = World::new(dialect, plan);
    world.run(Span::secs(2));
    // Orders that rest, trade and end, so that every kind of answer has been given.
    for (id, limit) in [(1, 50), (2, 120), (3, 60)] {
        world.place(id, Side::Bid, Quantity(150_000_000), Price::whole(limit));
        world.run(Span::secs(3));
    }
    world.ask_account();
    world.place(4, Side::Bid, Quantity(140_000_000), Price::whole(55));
    let (about, since) = ([lost(&world)], world.now);
    world.ask(Asked::Orders, |client, request| {
        client.orders(&query(&about, since), since, request);
    });
    let stream: Vec<Vec<u8>> = world.frames.drain(..).collect();
    let mut doors: Vec<(Door, Vec<Vec<u8>>)> = Vec::new();
    if !stream.is_empty() {
        doors.push((Door::Frame, stream.clone()));
        doors.push((Door::Private, stream));
    }
    for (door, body) in world.bodies.clone() {
        match doors.iter_mut().find(|(known, _)| same_kind(*known, door)) {
            Some((_, bodies)) => bodies.push(body),
            None => doors.push((door, vec![body])),
        }
    }
    let name = format!("{} {framing:?}", dialect.name());
    assert!(doors.len() >= 4, "{name}: {} doors", doors.len());
    let mut random = Random::new(seed);
    let before = resident_bytes();
    for (door, corpus) in &doors {
        let mut book = Book::new(world.market());
        let mut refused = 0;
        for _ in 0..frames {
            let bytes = [mutated(corpus, &mut random), mutated(corpus, &mut random)];
            refused += u64::from(!knock(&mut world, *door, &bytes, &mut book));
        }
        let grown = resident_bytes().saturating_sub(before);
        assert!(
            grown < GROWTH_BYTES_MAX,
            "{name} {door:?} grew by {grown} bytes"
        );
        eprintln!("{name} {door:?}: {frames} tried, {refused} refused, grown by {grown} bytes");
    }
}

fn same_kind(one: Door, other: Door) -> bool {
    match (one, other) {
        (Door::Reply(one), Door::Reply(other)) => {
            std::mem::discriminant(&one) == std::mem::discriminant(&other)
        }
        (one, other) => one == other,
    }
}

/// Hands bytes to one door, and others behind them where one answer leads to the next question;
/// returns whether the first were taken.
fn knock(world: &mut World, door: Door, bytes: &[Vec<u8>; 2], book: &mut Book) -> bool {
    let [bytes, next] = bytes;
    // Time passes, so that what is kept for seconds only is forgotten.
    world.now = world.now + Span::millis(10);
    let now = world.now;
    let mut listen = |heard: Heard<'_>| {
        if let Heard::Book(update) = heard {
            book.apply(&update, now);
            let best = |side| book.depth(side).best().map(|level| level.price);
            let (bid, ask) = (best(Side::Bid), best(Side::Ask));
            let is_crossed = bid.zip(ask).is_some_and(|(bid, ask)| bid >= ask);
            assert!(
                !is_crossed || book.state() != BookState::Live,
                "crossed and live"
            );
            for side in [Side::Bid, Side::Ask] {
                assert!(book.depth(side).len() <= Book::LEVELS_MAX);
            }
        }
    };
    match door {
        Door::Frame => world.feed.decode(bytes, now, &mut listen).is_ok(),
        Door::Document(ticket) => {
            let feed = &mut world.feed;
            feed.decode_reply(ticket, 200, bytes, now, &mut listen)
                .is_ok()
        }
        Door::Private => {
            world.client.handle_frame(bytes, now, &mut |_| ());
            true
        }
        Door::Reply(asked) => {
            let about = [lost(world)];
            // Late enough for the next question about an order.
            world.now = now + Span::SECOND;
            let now = world.now;
            let client = &mut world.client;
            let mut request = Vec::new();
            // Whoever reads an answer has asked, and goes on asking while it reads well.
            match asked {
                Asked::Orders => client.orders(&query(&about, now), now, &mut request),
                Asked::Fills(_) => {
                    client.follow_up(now, &mut request);
                }
                Asked::Place(_)
                | Asked::Cancel(_)
                | Asked::Account
                | Asked::Entry
                | Asked::Public(_) => (),
            }
            let read = client.decode_reply(asked, 200, bytes, now, &mut |_| ());
            if read.is_ok() && client.follow_up(now, &mut request) == Some(Asked::Orders) {
                // Only a panic would matter here.
                client.decode_reply(asked, 200, next, now, &mut |_| ()).ok();
            }
            read.is_ok()
        }
    }
}

/// An order whose fate nobody knows.
fn lost(world: &World) -> OrderIntent {
    OrderIntent {
        id: OrderId(99),
        market: world.market(),
        side: Side::Bid,
        quantity: Quantity(140_000_001),
        limit: Price::whole(55),
    }
}

fn query(about: &[OrderIntent], since: Time) -> OrdersQuery<'_> {
    OrdersQuery {
        from: OrderId(0),
        about,
        since,
    }
}

/// Takes a body and changes it: bits, digits, cuts, repeats, pieces of another.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut pick = |len: usize| usize::try_from(random.below(len.max(1) as u64)).unwrap();
    let mut bytes = corpus[pick(corpus.len())].clone();
    let other = &corpus[pick(corpus.len())];
    for _ in 0..=pick(3) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = pick(bytes.len());
        match pick(7) {
            0 => bytes[at] ^= 1 << pick(8),
            1 => bytes[at] = b"0123456789-.eE\"{}[]:,"[pick(21)],
            2 => bytes.truncate(at),
            3 => {
                let digits = b"99999999999999999999";
                let len = pick(digits.len());
                bytes.splice(at..at, digits[..len].iter().copied());
            }
            4 => {
                let end = (at + pick(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 if !other.is_empty() => {
                let from = pick(other.len());
                let end = (from + pick(64)).min(other.len());
                bytes.splice(at..at, other[from..end].iter().copied());
            }
            // Now and then as it was: what follows should meet a book that lives.
            _ => (),
        }
    }
    bytes
}

/// Returns what the process holds of memory; zero where the system does not say.
fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0);
    pages * 4_096
}
