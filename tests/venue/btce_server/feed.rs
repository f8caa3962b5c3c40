//! The Pusher feed of the served BTC-e dialect.

use crate::venue::btce_server::{FEED, START, Shop};
use expressnet::model::time::Span;
use expressnet::venue::btce::style::{BTCE, YOBIT};
use expressnet::venue::{Server, StreamNo};
use serde_json::Value;

#[test]
fn the_feed_speaks_pusher() {
    let mut shop = Shop::open(&BTCE);
    let (one, two) = (StreamNo(1), StreamNo(2));
    assert!(!shop.server.handle_stream(one, "/ws", START));
    for stream in [one, two] {
        assert!(shop.server.handle_stream(stream, FEED, START));
        assert!(!shop.server.handle_stream(stream, FEED, START));
    }
    let greetings = shop.tend();
    assert_eq!(greetings.len(), 2);
    let greeting: Value = serde_json::from_str(&greetings[0].1).unwrap();
    assert_eq!(greeting["event"], "pusher:connection_established");
    let data: Value = serde_json::from_str(greeting["data"].as_str().unwrap()).unwrap();
    assert_eq!(data["activity_timeout"], 120);
    assert!(data["socket_id"].as_str().unwrap().contains('.'));

    let subscribe = r#"{"event":"pusher:subscribe","data":{"channel":"btc_usd.depth"}}"#;
    assert_eq!(
        shop.frame(one, subscribe),
        r#"{"event":"pusher_internal:subscription_succeeded","data":"{}","channel":"btc_usd.depth"}"#
    );
    let again = shop.frame(one, subscribe);
    assert!(
        again.contains("pusher:error") && again.contains("\"code\":null"),
        "{again}"
    );
    shop.frame(two, subscribe);
    let trades = r#"{"event":"pusher:subscribe","data":"{\"channel\":\"btc_usd.trades\"}"}"#;
    assert!(shop.frame(two, trades).contains("subscription_succeeded"));
    let unsubscribe = r#"{"event":"pusher:unsubscribe","data":{"channel":"btc_usd.depth"}}"#;
    assert_eq!(shop.frame(two, unsubscribe), "");
    let ping = r#"{"event":"pusher:ping","data":{}}"#;
    assert_eq!(
        shop.frame(one, ping),
        r#"{"event":"pusher:pong","data":"{}"}"#
    );
    for bad in [
        "x",
        "{}",
        r#"{"event":"client-x","data":{}}"#,
        r#"{"event":"pusher:subscribe"}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":"private-x"}}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":""}}"#,
    ] {
        assert!(shop.frame(one, bad).contains("\"pusher:error\""), "{bad}");
    }
    let pushed = shop.pushed("one", "Trade", "&pair=btc_usd&type=buy&rate=102&amount=1.5");
    assert_eq!(
        pushed,
        [
            (
                two,
                r#"{"event":"trades","data":"[[\"buy\",\"101.5\",\"1\"],[\"buy\",\"102\",\"0.5\"]]","channel":"btc_usd.trades"}"#
                    .to_owned()
            ),
            (
                one,
                r#"{"event":"depth","data":"{\"ask\":[[101.5,0],[102,1.5]],\"bid\":[]}","channel":"btc_usd.depth"}"#
                    .to_owned()
            ),
        ]
    );
    shop.server.handle_stream_closed(two);
    let pushed = shop.pushed("one", "Trade", "&pair=btc_usd&type=buy&rate=102&amount=0.5");
    assert_eq!(pushed.len(), 1);
}

#[test]
fn a_stream_that_is_not_welcome_is_told_why_and_closed() {
    for (target, code) in [
        ("/app/0000?protocol=7", "4001"),
        ("/app/c354d4d129ee0faa5c92", "4008"),
        ("/app/c354d4d129ee0faa5c92?protocol=99", "4007"),
    ] {
        let mut shop = Shop::open(&BTCE);
        assert!(shop.server.handle_stream(StreamNo(1), target, START));
        let told = shop.tend();
        assert!(
            told[0].1.contains(&format!("{{\"code\":{code},")),
            "{told:?}"
        );
        assert_eq!(shop.server.poll_closed(), Some(StreamNo(1)));
        assert_eq!(shop.server.poll_closed(), None);
    }
    let mut yobit = Shop::open(&YOBIT);
    assert!(!yobit.server.handle_stream(StreamNo(1), FEED, START));
    let mut full = Shop::open(&BTCE);
    for stream in 0..=1_024 {
        assert!(full.server.handle_stream(StreamNo(stream), FEED, START));
    }
    let told = full.tend();
    assert!(told[1_024].1.contains("\"code\":4100"));
}

#[test]
fn a_silent_client_is_asked_and_then_closed() {
    let mut shop = Shop::open(&BTCE);
    shop.server.handle_stream(StreamNo(1), FEED, START);
    assert_eq!(shop.tend().len(), 1);
    shop.now = START + Span::secs(120);
    assert_eq!(shop.tend()[0].1, r#"{"event":"pusher:ping","data":"{}"}"#);
    shop.now = START + Span::secs(149);
    assert!(shop.tend().is_empty());
    assert_eq!(shop.frame(StreamNo(1), r#"{"event":"pusher:pong"}"#), "");
    shop.now = START + Span::secs(269);
    assert_eq!(shop.tend().len(), 1);
    shop.now = START + Span::secs(299);
    assert!(shop.tend()[0].1.contains("\"code\":4201"));
    assert_eq!(shop.server.poll_closed(), Some(StreamNo(1)));
}
