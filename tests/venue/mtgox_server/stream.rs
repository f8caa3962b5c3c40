//! Streams: subscriptions, frames of every channel, socket.io, signed calls.

use std::collections::BTreeMap;

use expressnet::model::market::Side;
use expressnet::model::time::Span;
use expressnet::venue::Server;
use expressnet::venue::serving::ServerSettings;
use expressnet::venue::serving::market::Source;
use serde_json::{Value, json};

use super::world::{KEY, World, body_of, level, pair, settings};

const DEPTH: &str = "24e67e0d-1cad-4cc0-9e7a-f8523ef460fe";
const TICKER: &str = "d5f06780-30a8-4a48-a2f8-7ed181b4a13f";
const TRADES: &str = "dbf1dee9-4f2e-4a08-8cb7-748919a71b21";
const LAG: &str = "85174711-be64-4de1-b783-0628995d7914";
const EURO_DEPTH: &str = "057bdc6b-9f9c-44e4-bc1a-363e4443ce87";

fn two_markets() -> World {
    let flow = |price: &str| Source::Flow {
        price: price.parse().unwrap(),
    };
    World::with(ServerSettings {
        markets: vec![
            (pair("BTC/USD"), flow("100")),
            (pair("BTC/EUR"), flow("75")),
        ],
        ..settings()
    })
}

fn subscribed(world: &mut World, no: u64) -> Vec<String> {
    let frames = world.heard(no).into_iter();
    let confirmed = frames.filter(|frame| frame["op"] == "subscribe");
    let mut channels: Vec<String> = confirmed
        .map(|frame| frame["channel"].as_str().unwrap().to_owned())
        .collect();
    channels.sort();
    channels
}

#[test]
fn a_stream_gets_what_its_address_asks_for() {
    let mut world = two_markets();
    for (target, expected) in [
        ("/mtgox", vec![DEPTH, TICKER, TRADES]),
        ("/", vec![DEPTH, TICKER, TRADES]),
        (
            "/mtgox?Channel=depth.BTCUSD/ticker.BTCUSD",
            vec![DEPTH, TICKER],
        ),
        ("/mtgox?Channel=depth.BTCEUR", vec![EURO_DEPTH]),
        ("/mtgox?Channel=nothing", vec![]),
        (
            "/?Currency=EUR,USD",
            vec![
                EURO_DEPTH,
                "0bb6da8b-f6c6-4ecf-8f0d-a544ad948c15",
                DEPTH,
                TICKER,
                TRADES,
            ],
        ),
    ] {
        assert!(world.open(1, target), "{target}");
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(subscribed(&mut world, 1), expected, "{target}");
        world
            .server
            .handle_stream_closed(expressnet::venue::StreamNo(1));
    }
    for target in [
        "/other",
        "/socket.io/1/websocket/unknown",
        "/api/1/BTCUSD/ticker",
    ] {
        assert!(!world.open(2, target), "{target}");
    }
}

#[test]
fn channels_are_joined_by_name_kind_and_id_and_left() {
    let mut world = two_markets();
    assert!(world.open(1, "/mtgox?Channel=nothing"));
    for (frame, channel) in [
        (
            json!({"op": "mtgox.subscribe", "channel": "depth.BTCEUR"}),
            EURO_DEPTH,
        ),
        (json!({"op": "mtgox.subscribe", "channel": TICKER}), TICKER),
        (json!({"op": "mtgox.subscribe", "type": "depth"}), DEPTH),
        (json!({"op": "mtgox.subscribe", "type": "ticker"}), TICKER),
        (json!({"op": "mtgox.subscribe", "type": "trades"}), TRADES),
        (json!({"op": "mtgox.subscribe", "type": "lag"}), LAG),
    ] {
        world.say(1, frame.to_string().as_bytes());
        let answer = world.heard(1);
        assert_eq!(
            answer,
            [json!({"op": "subscribe", "channel": channel})],
            "{frame}"
        );
    }
    for frame in [
        json!({"op": "mtgox.subscribe", "channel": "depth.BTCPLN"}),
        json!({"op": "mtgox.subscribe", "type": "all"}),
        json!({"op": "mtgox.subscribe", "key": "guessed"}),
        json!({"op": "mtgox.subscribe"}),
        json!({"op": "unsubscribe", "channel": "x"}),
    ] {
        world.say(1, frame.to_string().as_bytes());
        let answer = world.heard(1);
        let remark = json!({"op": "remark", "message": "Unknown channel", "success": false});
        assert_eq!(answer, [remark], "{frame}");
    }
    world.say(1, b"{\"op\":\"dance\"}");
    assert_eq!(world.heard(1)[0]["message"], "Unknown command");
    world.say(1, b"not json");
    assert_eq!(world.heard(1)[0]["message"], "Invalid message");
    world.say(
        1,
        json!({"op": "unsubscribe", "channel": EURO_DEPTH})
            .to_string()
            .as_bytes(),
    );
    assert_eq!(
        world.heard(1),
        [json!({"op": "unsubscribe", "channel": EURO_DEPTH})]
    );
    world.wait(Span::secs(2));
    let frames = world.heard(1);
    assert!(frames.iter().any(|frame| frame["channel"] == DEPTH));
    assert!(!frames.iter().any(|frame| frame["channel"] == EURO_DEPTH));
}

#[test]
fn depth_frames_rebuild_the_book() {
    let mut world = two_markets();
    assert!(world.open(1, "/mtgox"));
    world.heard(1);
    let mut book: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    let (_, full) = world.get("/api/1/BTCUSD/fulldepth?raw");
    let int = |value: &Value| value.as_str().unwrap().parse::<i64>().unwrap();
    for (kind, side) in [(1, "asks"), (2, "bids")] {
        for row in full[side].as_array().unwrap() {
            book.insert((kind, int(&row["price_int"])), int(&row["amount_int"]));
        }
    }
    world.wait(Span::secs(5));
    let mut last = 0;
    for row in world.heard_of(1, "depth") {
        assert_eq!(
            (&row["currency"], &row["item"]),
            (&json!("USD"), &json!("BTC"))
        );
        let kind = row["type"].as_i64().unwrap();
        assert_eq!(row["type_str"], if kind == 1 { "ask" } else { "bid" });
        let key = (kind, int(&row["price_int"]));
        let total = int(&row["total_volume_int"]);
        let before = book.get(&key).copied().unwrap_or(0);
        assert_eq!(before + int(&row["volume_int"]), total, "{row}");
        book.insert(key, total);
        assert!(int(&row["now"]) > last);
        last = int(&row["now"]);
    }
    book.retain(|_, total| *total != 0);
    for (kind, side) in [(1, Side::Ask), (2, Side::Bid)] {
        let levels = world.server.levels(pair("BTC/USD"), side);
        let standing = levels
            .iter()
            .map(|level| ((kind, level.price.0 / 1_000), level.quantity.0));
        let mirrored: Vec<_> = book
            .iter()
            .filter(|((known, _), _)| *known == kind)
            .collect();
        assert_eq!(mirrored.len(), levels.len());
        for (key, quantity) in standing {
            assert_eq!(book[&key], quantity);
        }
    }
}

#[test]
fn trades_and_tickers_are_told() {
    let mut world = World::new();
    assert!(world.open(1, "/mtgox"));
    world.heard(1);
    world.add("bid", "0.25", Some("100"));
    world.wait(Span::secs(1));
    let frames = world.heard(1);
    let trade = frames
        .iter()
        .find(|frame| frame["private"] == "trade")
        .unwrap();
    assert_eq!(trade["channel"], TRADES);
    assert_eq!(
        (&trade["op"], &trade["origin"]),
        (&json!("private"), &json!("broadcast"))
    );
    assert_eq!(trade["trade"]["amount"], json!(0.25));
    assert_eq!(trade["trade"]["amount_int"], "25000000");
    assert_eq!(trade["trade"]["trade_type"], "bid");
    assert_eq!(trade["trade"]["primary"], "Y");
    let depth = frames
        .iter()
        .find(|frame| frame["private"] == "depth")
        .unwrap();
    assert_eq!(depth["depth"]["volume"], "-0.25");
    assert_eq!(depth["depth"]["total_volume_int"], "75000000");
    let ticker = frames
        .iter()
        .find(|frame| frame["private"] == "ticker")
        .unwrap();
    assert_eq!(ticker["ticker"]["item"], "BTC");
    assert_eq!(ticker["ticker"]["sell"]["value_int"], "10000000");
    assert_eq!(ticker["ticker"]["vol"]["value_int"], "25000000");
    world.wait(Span::secs(30));
    let tickers = world.heard_of(1, "ticker");
    assert!((2..=4).contains(&tickers.len()), "{}", tickers.len());
}

#[test]
fn a_private_key_is_good_for_a_day() {
    let mut world = World::new();
    let (_, first) = world.post("/api/1/generic/private/idkey", "");
    let (_, second) = world.post("/api/2/money/idkey", "");
    assert_ne!(first["return"], second["data"]);
    let join = |world: &mut World, key: &Value| {
        assert!(world.open(1, "/mtgox?Channel=none"));
        world.say(
            1,
            json!({"op": "mtgox.subscribe", "key": key})
                .to_string()
                .as_bytes(),
        );
        world
            .server
            .handle_stream_closed(expressnet::venue::StreamNo(1));
        world.heard(1)[0]["op"].clone()
    };
    assert_eq!(join(&mut world, &first["return"]), "subscribe");
    assert_eq!(join(&mut world, &second["data"]), "subscribe");
    world.now = world.now + Span::DAY;
    assert_eq!(join(&mut world, &first["return"]), "remark");
}

#[test]
fn socket_io_shakes_hands_and_wraps_frames() {
    let mut world = World::new();
    for target in [
        "/socket.io/1?Channel=depth.BTCUSD",
        "/socket.io/1/?Channel=depth.BTCUSD&t=1",
    ] {
        let (status, body) = body_of(world.raw_get(target));
        let text = String::from_utf8(body).unwrap();
        let fields: Vec<&str> = text.split(':').collect();
        assert_eq!(
            (status, &fields[1..]),
            (200, &["60", "60", "websocket"][..])
        );
        assert!(expressnet::venue::socketio::session_of(text.as_bytes()).is_some());
        let path = format!("/socket.io/1/websocket/{}", fields[0]);
        assert!(world.open(1, &path));
        assert_eq!(world.frames, [(1, b"1::".to_vec())]);
        assert!(!world.open(2, &path), "a session is good once");
        world.frames.clear();
        world.quote(&[level("91", "1")], &[]);
        assert!(
            world.frames.is_empty(),
            "nothing comes before the namespace is joined"
        );
        world.say(1, b"1::/mtgox");
        assert_eq!(world.frames[0].1, b"1::/mtgox");
        let confirmed = format!("4::/mtgox:{{\"op\":\"subscribe\",\"channel\":\"{DEPTH}\"}}");
        assert_eq!(String::from_utf8_lossy(&world.frames[1].1), confirmed);
        world.frames.clear();
        world.say(
            1,
            b"4::/mtgox:{\"op\":\"mtgox.subscribe\",\"type\":\"lag\"}",
        );
        assert!(
            world.frames[0]
                .1
                .starts_with(b"4::/mtgox:{\"op\":\"subscribe\"")
        );
        world.frames.clear();
        world.quote(&[level("90", "1")], &[level("100", "1")]);
        assert!(world.frames[0].1.starts_with(b"4::/mtgox:{\"channel\":\""));
        world.frames.clear();
        world.say(1, b"0::");
        assert_eq!(
            world.server.poll_closed(),
            Some(expressnet::venue::StreamNo(1))
        );
    }
    let (_, body) = body_of(world.raw_get("/socket.io/1"));
    let session = String::from_utf8(body).unwrap();
    let path = format!(
        "/socket.io/1/websocket/{}",
        session.split(':').next().unwrap()
    );
    world.now = world.now + Span::secs(30);
    assert!(!world.open(3, &path), "a session is good for half a minute");
}

#[test]
fn socket_io_beats_and_hangs_up_on_silence() {
    let mut world = World::new();
    let (_, body) = body_of(world.raw_get("/socket.io/1?Channel=none"));
    let session = String::from_utf8(body).unwrap();
    assert!(world.open(
        1,
        &format!(
            "/socket.io/1/websocket/{}",
            session.split(':').next().unwrap()
        )
    ));
    assert!(world.open(2, "/mtgox?Channel=none"));
    world.frames.clear();
    world.wait(Span::secs(30));
    assert_eq!(world.frames, [(1, b"2::".to_vec())]);
    world.say(1, b"2::");
    world.wait(Span::secs(59));
    assert_eq!(world.server.poll_closed(), None);
    world.wait(Span::secs(3));
    assert_eq!(
        world.server.poll_closed(),
        Some(expressnet::venue::StreamNo(1))
    );
    assert_eq!(world.server.poll_closed(), None);
}

#[test]
fn signed_calls_trade() {
    let mut world = World::new();
    assert!(world.open(1, "/mtgox?Channel=none"));
    let info = world.call(1, "private/info", &json!({}));
    assert_eq!(info["result"]["Rights"], json!(["get_info", "trade"]));
    let key = world.call(1, "private/idkey", &json!([]));
    world.say(
        1,
        json!({"op": "mtgox.subscribe", "key": key["result"]})
            .to_string()
            .as_bytes(),
    );
    world.heard(1);
    let params = json!({"type": "bid", "price_int": 9_500_000, "amount_int": "50000000"});
    let added = world.call(1, "order/add", &params);
    assert_eq!(
        (&added["op"], &added["id"]),
        (&json!("result"), &json!("1"))
    );
    let oid = added["result"].as_str().unwrap().to_owned();
    world.run();
    assert_eq!(world.news(1).last().unwrap(), "open 0.50000000");
    let orders = world.call(1, "private/orders", &json!({}));
    assert_eq!(orders["result"][0]["oid"], oid);
    let lag = world.call(1, "order/lag", &json!({}));
    assert_eq!(lag["result"]["lag"], 0);
    let cancelled = world.call(1, "order/cancel", &json!({"oid": oid}));
    assert_eq!(cancelled["result"]["oid"], oid);
    world.run();
    assert_eq!(world.news(1), ["requested"]);
    let twice = world.call(1, "order/cancel", &json!({"oid": oid}));
    let remark = json!({"op": "remark", "message": "Order not found", "success": false, "id": "1"});
    assert_eq!(twice, remark);
    let low = world.call(1, "order/add", &json!({"type": "bid", "amount_int": 5}));
    assert_eq!(low["message"], "Order amount is too low");
    let unknown = world.call(1, "private/dance", &json!({}));
    assert_eq!(unknown["message"], "Invalid call");
    for call in ["", "AAAA", "!!"] {
        world.say(
            1,
            json!({"op": "call", "call": call, "id": "9"})
                .to_string()
                .as_bytes(),
        );
        let answer = world.heard(1);
        assert_eq!(
            (&answer[0]["op"], &answer[0]["id"]),
            (&json!("remark"), &json!("9"))
        );
    }
    let audit = world.server.audit();
    assert_eq!(audit.accounts[0].key, KEY);
    assert_eq!(audit.accounts[0].orders.len(), 1);
}

#[test]
fn strangers_bytes_never_end_the_venue() {
    let mut world = World::new();
    assert!(world.open(1, "/mtgox"));
    let (_, body) = body_of(world.raw_get("/socket.io/1"));
    let session = String::from_utf8(body).unwrap();
    assert!(world.open(
        2,
        &format!(
            "/socket.io/1/websocket/{}",
            session.split(':').next().unwrap()
        )
    ));
    let whole =
        json!({"op": "call", "call": "AAAA", "id": "9", "context": "mtgox.com"}).to_string();
    for cut in 0..whole.len() {
        world.say(1, &whole.as_bytes()[..cut]);
        world.say(2, format!("4::/mtgox:{}", &whole[..cut]).as_bytes());
        world.raw_post(KEY, &format!("/api/2/{}", &whole[..cut]), &whole[..cut]);
    }
    for frame in [
        &b"\xff\xfe"[..],
        b"[[[[",
        b"{\"op\":7}",
        b"4:::",
        b"1::/x",
        b"9",
        b"{\"op\":\"call\",\"call\":null}",
    ] {
        world.say(1, frame);
        world.say(2, frame);
    }
    for target in [
        "",
        "/",
        "/api",
        "/api/",
        "/api/1",
        "/api/1/",
        "/api/2//",
        "/api/2/BTCUSD",
        "/api/1/\u{e9}\u{e9}\u{e9}USD/ticker",
    ] {
        world.raw_get(target);
    }
    world.wait(Span::secs(1));
    world.check_sums();
}
