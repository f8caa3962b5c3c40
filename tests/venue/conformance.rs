//! What every registered dialect must pass, its adapter against its own served side.

use std::collections::BTreeSet;

use expressnet::execution::order::OrderState;
use expressnet::model::currency::Currency;
use expressnet::model::ids::OrderId;
use expressnet::model::market::Side;
use expressnet::model::number::{Price, Quantity};
use expressnet::model::random::Random;
use expressnet::model::time::Span;
use expressnet::venue::registry::VENUES;
use expressnet::venue::{Asked, Dialect, Framing, Heard, ReplyError, Told};

use crate::venue::world::{Plan, World, credentials};

#[test]
fn names_are_unique_and_fit_a_config() {
    let names: BTreeSet<&str> = VENUES.iter().map(|dialect| dialect.name()).collect();
    assert_eq!(names.len(), VENUES.len());
    for name in names {
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
    }
}

#[test]
fn a_subscription_brings_a_book_that_follows_the_market() {
    for (dialect, framing) in every_way() {
        let mut world = world(dialect, framing);
        world.run(Span::secs(30));
        let name = dialect.name();
        assert!(
            world.book.updates > 3,
            "{name} {framing:?}: {} updates",
            world.book.updates
        );
        assert!(!world.book.is_crossed(), "{name} {framing:?}");
        assert_eq!(world.book.gaps, 0, "{name} {framing:?}");
        assert_eq!(world.reconnects, 0, "{name} {framing:?}");
        assert_eq!(world.refused_frames, 0, "{name} {framing:?}");
        let depth = world.book.bids.len().min(world.book.asks.len());
        assert!(depth >= 5, "{name} {framing:?}: {depth} levels");
    }
}

#[test]
fn no_bytes_make_a_feed_panic() {
    for (dialect, framing) in every_way() {
        let mut world = world(dialect, framing);
        world.run(Span::secs(2));
        let frames: Vec<Vec<u8>> = world.frames.drain(..).collect();
        let mut random = Random::new(1);
        for frame in frames.iter().filter(|frame| frame.len() > 8).take(8) {
            for cut in 1..frame.len() {
                let mut heard = 0;
                let bytes = &frame[..cut];
                let decoded = world.feed.decode(bytes, world.now, &mut |_| heard += 1);
                // The head of a socket.io packet may itself be one.
                let is_short = framing == Framing::SocketIo && cut < 12;
                assert!(
                    is_short || (decoded.is_err() && heard == 0),
                    "{}: cut at {cut}",
                    dialect.name()
                );
            }
        }
        for _ in 0..20_000 {
            let noise: Vec<u8> = (0..random.below(64))
                .map(|_| random.next_u64().to_le_bytes()[0])
                .collect();
            let mut bytes = noise.clone();
            if !frames.is_empty() {
                let pick = usize::try_from(random.below(frames.len() as u64)).unwrap();
                bytes.clone_from(&frames[pick]);
                for _ in 0..=random.below(4) {
                    let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
                    bytes[at] = random.next_u64().to_le_bytes()[0];
                }
            }
            swallow(&mut world, &bytes);
            swallow(&mut world, &noise);
            for asked in [
                Asked::Place(OrderId(1)),
                Asked::Fills(OrderId(1)),
                Asked::Orders,
                Asked::Account,
            ] {
                let status = if random.below(2) == 0 { 200 } else { 400 };
                // Only a panic would matter here.
                let client = &mut world.client;
                client
                    .decode_reply(asked, status, &noise, world.now, &mut |_| ())
                    .ok();
            }
        }
    }
}

/// Hands bytes to the adapter's three doors; only a panic would matter.
fn swallow(world: &mut World, bytes: &[u8]) {
    world.feed.decode(bytes, world.now, &mut |_| ()).ok();
    world.client.handle_frame(bytes, world.now, &mut |_| ());
    for ticket in [0, 1, u16::MAX] {
        let ticket = expressnet::venue::Ticket(ticket);
        world
            .feed
            .decode_reply(ticket, 200, bytes, world.now, &mut |_| ())
            .ok();
    }
}

#[test]
fn a_lost_frame_shows_as_a_gap_and_a_resync_gives_the_same_book() {
    for dialect in tradable().filter(|dialect| dialect.card().sequenced_books) {
        let mut world = world(dialect, Framing::Plain);
        world.run(Span::secs(2));
        assert_eq!(
            world.book.gaps,
            0,
            "{}: a gap without a loss",
            dialect.name()
        );
        let before = world.book.clone();
        world.frames.clear();
        world.run(Span::millis(300));
        let frames: Vec<Vec<u8>> = world.frames.drain(..).collect();
        let expected = world.book.clone();
        world.book = before;
        let is_book = |world: &mut World, frame: &[u8]| {
            let mut is_book = false;
            let mut look = |heard: Heard<'_>| is_book |= matches!(heard, Heard::Book(_));
            world.feed.decode(frame, world.now, &mut look).ok();
            is_book
        };
        let books: Vec<Vec<u8>> = frames
            .into_iter()
            .filter(|frame| is_book(&mut world, frame))
            .collect();
        assert!(books.len() >= 2);
        // The second follows on the first, which is lost: the world asks for a snapshot at once.
        world.hear(None, &books[1]);
        assert_eq!(world.book.bids, expected.bids, "{}", dialect.name());
        assert_eq!(world.book.asks, expected.asks, "{}", dialect.name());
    }
}

#[test]
fn an_order_rests_is_cancelled_and_costs_nothing() {
    for (dialect, framing) in every_way() {
        let mut world = world(dialect, framing);
        world.run(Span::secs(1));
        let name = dialect.name();
        world.place(7, Side::Bid, Quantity::whole(1), Price::whole(50));
        world.run(Span::millis(300));
        assert_eq!(world.state(7), Some(OrderState::Open), "{name} {framing:?}");
        let told = world.ask_account();
        let is_left = |fact: &Told| {
            let left = Quantity::whole(950);
            matches!(fact, Told::Balance { currency, free, .. }
                if *currency == Currency::USD && *free == left)
        };
        assert!(told.iter().any(is_left), "{name} {framing:?}: {told:?}");
        assert_eq!(told.last(), Some(&Told::End));
        world.run(Span::secs(10));
        assert_eq!(
            world.state(7),
            Some(OrderState::Closed),
            "{name} {framing:?}"
        );
        assert!(world.filled(7).quantity.is_zero());
        assert_eq!(world.venue_balance(Currency::USD), Quantity::whole(1_000).0);
        assert_eq!(world.refusals.len(), 0, "{name}: {:?}", world.refusals);
    }
}

#[test]
fn an_order_that_trades_is_told_to_the_last_unit() {
    for (dialect, framing) in every_way() {
        for (side, limit) in [(Side::Bid, 120), (Side::Ask, 80)] {
            let mut world = world(dialect, framing);
            world.run(Span::secs(1));
            let name = format!("{} {framing:?} {side:?}", dialect.name());
            world.place(7, side, Quantity(123_456_789), Price::whole(limit));
            world.run(Span::secs(5));
            assert_eq!(world.state(7), Some(OrderState::Closed), "{name}");
            let filled = world.filled(7);
            assert_eq!(filled.quantity, Quantity(123_456_789), "{name}");
            assert!(filled.total.is_positive() && filled.fee.is_positive());
            for (currency, start) in [(Currency::USD, 1_000), (Currency::BTC, 10)] {
                let moved = world.moved.get(&currency).copied().unwrap_or(0);
                let start = Quantity::whole(start).0;
                assert_eq!(
                    world.venue_balance(currency),
                    start + moved,
                    "{name}: {currency}"
                );
            }
        }
    }
}

#[test]
fn rights_are_read_from_the_key() {
    for dialect in tradable() {
        for may_withdraw in [false, true] {
            let mut plan = Plan::calm(dialect);
            plan.may_withdraw = may_withdraw;
            let mut world = World::new(dialect, plan);
            let told = world.ask_account();
            let rights = Told::Rights {
                may_trade: true,
                may_withdraw,
            };
            assert!(told.contains(&rights), "{}: {told:?}", dialect.name());
        }
    }
}

#[test]
fn a_wrong_secret_is_refused_as_such() {
    for dialect in tradable() {
        let mut world = World::new(dialect, Plan::calm(dialect));
        world.client = dialect
            .order_client(&world.setup, credentials("d3Jvbmc="))
            .unwrap();
        assert_eq!(world.ask_account(), []);
        let refusals: Vec<&String> = world.refusals.keys().collect();
        assert_eq!(
            refusals,
            ["Account: the venue refused: key, signature or nonce"]
        );
    }
}

#[test]
fn unreadable_answers_leave_the_outcome_unknown() {
    for dialect in tradable() {
        let mut world = World::new(dialect, Plan::calm(dialect));
        for (status, body) in [
            (200, "{"),
            (200, "MySQL error, please retry later"),
            (502, "{}"),
            (404, "<html>"),
            (100, ""),
            (302, ""),
        ] {
            for asked in [
                Asked::Place(OrderId(1)),
                Asked::Cancel(OrderId(1)),
                Asked::Orders,
            ] {
                let client = &mut world.client;
                let read =
                    client.decode_reply(asked, status, body.as_bytes(), world.now, &mut |_| ());
                let expected = Err(ReplyError::Unknown);
                assert_eq!(read, expected, "{} {status}", dialect.name());
            }
        }
    }
}

/// Every dialect in every way in which its feed can be had.
/// Dialects with both sides, adapter and served venue.
fn tradable() -> impl Iterator<Item = &'static dyn Dialect> {
    let all = VENUES.iter().copied();
    all.filter(|dialect| dialect.card().is_tradable)
}

pub(crate) fn every_way() -> Vec<(&'static dyn Dialect, Framing)> {
    let mut ways = Vec::new();
    for dialect in tradable() {
        let card = dialect.card();
        if card.paths.ws.is_some() {
            ways.push((dialect, Framing::Plain));
        }
        if card.paths.socketio.is_some() {
            ways.push((dialect, Framing::SocketIo));
        }
        if card.is_pollable {
            ways.push((dialect, Framing::Polled));
        }
    }
    ways
}

fn world(dialect: &'static dyn Dialect, framing: Framing) -> World {
    let mut plan = Plan::calm(dialect);
    plan.framing = framing;
    World::new(dialect, plan)
}
