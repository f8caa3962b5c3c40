//! What the adapters of the old dialects owe their venues, and how they come back from trouble.

use expressnet::execution::order::OrderState;
use expressnet::model::market::Side;
use expressnet::model::number::{Price, Quantity};
use expressnet::model::time::{Span, Time};
use expressnet::venue::btce::dialect::{BTCE_DIALECT, YOBIT_DIALECT};
use expressnet::venue::btce::sign::Signer;
use expressnet::venue::http::write_request;
use expressnet::venue::mtgox::dialect::MTGOX;
use expressnet::venue::serving::fault::Fault;
use expressnet::venue::{Dialect, Framing, Told};

use crate::venue::world::{Plan, World, credentials};

const SECRET: &str = "c2VjcmV0IG9mIGEgdGVzdA==";

#[test]
fn mtgox_is_asked_for_whole_books_five_times_an_hour_at_most() {
    let mut world = World::new(&MTGOX, Plan::calm(&MTGOX));
    for _ in 0..4 * 3_600 {
        world.step(Span::secs(1));
        world.frames.clear();
        world.heard.clear();
    }
    let whole: Vec<Time> = times(&world, "/depth/full");
    for first in &whole {
        let hour = whole
            .iter()
            .filter(|at| *at >= first && at.since(*first) < Span::secs(3_600));
        assert!(hour.count() <= 5, "{whole:?}");
    }
    let start = world.asked[0].0;
    assert!(whole.iter().all(|at| at.since(start) >= Span::secs(3_600)));
    assert!(!whole.is_empty(), "the budget is used once it is known");
    let windows = times(&world, "/depth/fetch");
    assert!(
        windows
            .windows(2)
            .all(|two| two[1].since(two[0]) >= Span::secs(10))
    );
    let said = times(&world, "depth.BTCUSD");
    assert!(
        (8..=9).contains(&said.len()),
        "subscriptions are said again: {said:?}"
    );
    assert_eq!((world.reconnects, world.refused_frames), (0, 0));
}

#[test]
fn a_book_that_loses_rows_is_repaired() {
    for framing in [Framing::Plain, Framing::SocketIo] {
        let mut plan = Plan::calm(&MTGOX);
        plan.framing = framing;
        plan.faults = vec![
            (Fault::LostFrames, 100_000),
            (Fault::ReorderedFrames, 50_000),
        ];
        let mut world = World::new(&MTGOX, plan);
        world.run(Span::secs(15));
        let (mut looks, mut crossed) = (0, 0);
        for _ in 0..600 {
            world.step(Span::millis(100));
            looks += 1;
            crossed += u64::from(world.book.is_crossed());
            assert!(!world.book.bids.is_empty() && !world.book.asks.is_empty());
        }
        // A row in ten is lost for ever; tickers and trades undo what can be seen of it.
        assert!(
            crossed * 3 < looks,
            "{framing:?}: crossed {crossed} of {looks} times"
        );
    }
}

#[test]
fn engine_lag_reaches_the_book() {
    let mut plan = Plan::calm(&MTGOX);
    plan.personality = Some("mtgox-lag-60".to_owned());
    let mut world = World::new(&MTGOX, plan);
    world.run(Span::secs(15));
    assert!(
        world.book.engine_lag >= Span::secs(59),
        "{:?}",
        world.book.engine_lag
    );
}

#[test]
fn an_order_that_cannot_be_paid_is_listed_and_cancelled_in_time() {
    let mut world = World::new(&MTGOX, Plan::calm(&MTGOX));
    world.run(Span::secs(1));
    world.place(1, Side::Bid, Quantity::whole(100), Price::whole(99));
    world.run(Span::millis(500));
    assert_eq!(world.state(1), Some(OrderState::Open));
    world.run(Span::secs(10));
    assert_eq!(world.state(1), Some(OrderState::Closed));
    assert!(world.filled(1).quantity.is_zero());
}

#[test]
fn mtgox_is_spoken_to_by_nonces_where_the_clocks_differ() {
    let mut world = World::new(&MTGOX, Plan::calm(&MTGOX));
    world.skew = Span::secs(60);
    assert_eq!(world.ask_account(), []);
    let told = world.ask_account();
    assert_eq!(told.last(), Some(&Told::End));
}

#[test]
fn a_key_whose_nonces_are_far_ahead_is_caught_up_with() {
    for (dialect, ahead) in [
        (&BTCE_DIALECT as &'static dyn Dialect, 4_000_000_000_u64),
        (&YOBIT_DIALECT, 1_400_009_000),
    ] {
        let mut plan = Plan::calm(dialect);
        plan.framing = Framing::Polled;
        let mut world = World::new(dialect, plan);
        let signer = Signer::new(&credentials(SECRET));
        let body = format!("method=getInfo&nonce={ahead}");
        let sign = signer.sign(body.as_bytes());
        let headers = [("Key", signer.key()), ("Sign", sign.as_str())];
        let mut bytes = Vec::new();
        write_request(
            &mut bytes,
            ("POST", "h", "/tapi"),
            &headers,
            body.as_bytes(),
        );
        let (_, answer) = world.answer(&bytes).unwrap();
        assert!(String::from_utf8_lossy(&answer).contains("\"success\":1"));
        let tries = (1..=12).find(|_| world.ask_account().last() == Some(&Told::End));
        assert!(tries.is_some(), "{}: {:?}", dialect.name(), world.refusals);
    }
}

#[test]
fn nonces_of_an_earlier_run_are_not_used_again() {
    let setup = World::new(&BTCE_DIALECT, Plan::calm(&BTCE_DIALECT)).setup;
    let now = Time(1_400_000_000_000_000_000);
    let mut first = BTCE_DIALECT
        .order_client(&setup, credentials(SECRET))
        .unwrap();
    assert!(!first.is_ready(), "nothing is reserved yet");
    let below = first.nonces_wanted(now).unwrap();
    first.grant_nonces(below);
    assert!(first.is_ready());
    let used = |client: &mut dyn expressnet::venue::OrderClient| {
        let mut request = Vec::new();
        client.account(now, &mut request);
        let text = String::from_utf8(request).unwrap();
        let (_, nonce) = text.split_once("nonce=").unwrap();
        nonce.parse::<u64>().unwrap()
    };
    let last = (0..100).map(|_| used(&mut *first)).last().unwrap();
    let mut second = BTCE_DIALECT
        .order_client(&setup, credentials(SECRET))
        .unwrap();
    second.resume_nonces(below);
    let more = second.nonces_wanted(now).unwrap();
    second.grant_nonces(more);
    assert!(used(&mut *second) > last);
    assert!(used(&mut *second) >= below);
}

fn times(world: &World, what: &str) -> Vec<Time> {
    let asked = world.asked.iter();
    asked
        .filter(|(_, text)| text.contains(what))
        .map(|(at, _)| *at)
        .collect()
}
