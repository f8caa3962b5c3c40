//! What everybody may ask.

use expressnet::model::time::Span;
use expressnet::venue::serving::ServerSettings;
use expressnet::venue::{Server, ServerReply, ServerRequest};
use serde_json::{Value, json};

use super::world::{KEY, START, World, account, body_of, json_of, ladder, level, pair, settings};

fn two_markets() -> World {
    let euros = expressnet::venue::serving::market::Source::Ladder {
        bids: vec![level("60", "2")],
        asks: vec![level("80", "2")],
    };
    World::with(ServerSettings {
        markets: vec![(pair("BTC/USD"), ladder()), (pair("BTC/EUR"), euros)],
        ..settings()
    })
}

fn row(price: Value, amount: Value, price_int: &str, amount_int: &str) -> Value {
    json!({"price": price, "amount": amount, "price_int": price_int, "amount_int": amount_int})
}

fn without_stamps(rows: &Value) -> Vec<Value> {
    let rows = rows.as_array().unwrap().iter().cloned();
    rows.map(|mut row| {
        let stamp = row.as_object_mut().unwrap().remove("stamp").unwrap();
        assert_eq!(stamp.as_str().unwrap().len(), 16);
        row
    })
    .collect()
}

#[test]
fn every_spelling_gives_the_same_document_in_its_envelope() {
    let mut world = World::new();
    for (name, v1, v2) in [
        ("ticker", vec!["ticker", "public/ticker"], "ticker"),
        (
            "depth",
            vec!["depth", "depth/fetch", "public/depth"],
            "depth/fetch",
        ),
        (
            "trades",
            vec!["trades", "trades/fetch", "public/trades"],
            "trades/fetch",
        ),
    ] {
        let (_, bare) = world.get(&format!("/api/1/BTCUSD/{name}?raw"));
        for path in v1 {
            let reply = world.get(&format!("/api/1/BTCUSD/{path}"));
            assert_eq!(reply, (200, json!({"result": "success", "return": bare})));
        }
        for path in [
            format!("/api/2/BTCUSD/money/{v2}"),
            format!("/api/2/BTCUSD/money/{name}"),
        ] {
            let reply = world.get(&path);
            assert_eq!(reply, (200, json!({"result": "success", "data": bare})));
        }
    }
    let unknown = world.get("/api/2/BTCPLN/money/ticker");
    assert_eq!(unknown.1["error"], "Unknown currency pair");
    let unknown = world.get("/api/2/BTCUSD/money/nothing");
    assert_eq!(
        unknown.1,
        json!({"result": "error", "error": "Unknown method"})
    );
    let (status, page) = world.get("/index.html");
    assert_eq!(status, 404);
    assert!(page.as_str().unwrap().starts_with("<html>"));
}

#[test]
fn the_ticker_has_currency_objects_with_bid_and_ask() {
    let mut world = World::new();
    let (_, ticker) = world.get("/api/1/BTCUSD/ticker?raw");
    assert_eq!(
        ticker["buy"],
        json!({
            "value": "90.00000", "value_int": "9000000", "display": "$90.00000",
            "display_short": "$90.00", "currency": "USD",
        })
    );
    assert_eq!(ticker["sell"]["value_int"], "10000000");
    assert_eq!(ticker["vol"]["display"], "0.00000000\u{a0}BTC");
    assert_eq!(ticker["now"], (START.0 / 1_000).to_string());
    let raw = body_of(world.raw_get("/api/1/BTCUSD/ticker?raw")).1;
    assert!(raw.is_ascii());
    assert!(String::from_utf8(raw).unwrap().contains("\\u00a0BTC"));
    world.add("bid", "1.5", Some("101"));
    world.wait(Span::secs(11));
    let (_, ticker) = world.get("/api/1/BTCUSD/ticker?raw");
    let int = |name: &str| ticker[name]["value_int"].as_str().unwrap().to_owned();
    let seen = [
        "high",
        "low",
        "avg",
        "vwap",
        "vol",
        "last_local",
        "last",
        "last_all",
        "last_orig",
    ];
    assert_eq!(
        seen.map(int),
        ["10100000", "10000000", "10050000", "10033333", "150000000"]
            .into_iter()
            .chain(["10100000"; 4])
            .collect::<Vec<_>>()[..]
    );
}

#[test]
fn both_sides_of_the_book_rise() {
    let mut world = World::new();
    let (_, book) = world.get("/api/1/BTCUSD/depth/fetch?raw");
    assert_eq!(
        without_stamps(&book["asks"]),
        [
            row(json!(100), json!(1), "10000000", "100000000"),
            row(json!(101), json!(1), "10100000", "100000000"),
        ]
    );
    assert_eq!(
        without_stamps(&book["bids"]),
        [row(json!(90), json!(1), "9000000", "100000000")]
    );
    assert_eq!(book["filter_min_price"]["value_int"], "8550000");
    assert_eq!(book["filter_max_price"]["value_int"], "10450000");
    let (_, book) = world.get("/api/2/BTCUSD/money/depth/full");
    let prices = |side: &str| {
        let rows = book["data"][side].as_array().unwrap().iter();
        rows.map(|row| row["price_int"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(prices("bids"), ["5000000", "8000000", "9000000"]);
    assert_eq!(prices("asks"), ["10000000", "10100000", "15000000"]);
    assert_eq!(book["data"].get("filter_min_price"), None);
    world.quote(
        &[level("0.00001", "2556.05290")],
        &[level("182.99999", "2.5")],
    );
    world.wait(Span::secs(10));
    let raw = body_of(world.raw_get("/api/1/BTCUSD/fulldepth?raw")).1;
    let text = String::from_utf8(raw).unwrap();
    assert!(
        text.contains("\"price\":1.0e-5,\"amount\":2556.0529,\"price_int\":\"1\""),
        "{text}"
    );
    assert!(
        text.contains("\"price\":182.99999,\"amount\":2.5,"),
        "{text}"
    );
}

#[test]
fn documents_are_ten_seconds_old_at_most_unless_they_are_signed_for() {
    let mut world = World::new();
    let best = |reply: (u16, Value)| {
        reply.1["data"]["sell"]["value_int"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let path = "/api/2/BTCUSD/money/ticker";
    assert_eq!(best(world.get(path)), "10000000");
    world.quote(&[], &[level("99", "1")]);
    assert_eq!(best(world.get(path)), "10000000");
    assert_eq!(best(world.post(path, "")), "9900000");
    world.now = world.now + Span::millis(9_999);
    assert_eq!(best(world.get(path)), "10000000");
    world.now = world.now + Span::MILLI;
    assert_eq!(best(world.get(path)), "9900000");
}

#[test]
fn the_sixth_whole_book_bans_the_address_from_everything() {
    let mut world = World::new();
    for path in ["/api/1/BTCUSD/depth/full", "/api/2/BTCUSD/money/depth/full"] {
        assert_eq!(world.get(path).0, 200);
        assert_eq!(world.get(path).0, 200);
    }
    assert_eq!(world.get("/api/1/BTCUSD/fulldepth").0, 200);
    let (status, page) = world.get("/api/1/BTCUSD/fulldepth");
    assert_eq!(status, 403);
    assert!(page.as_str().unwrap().contains("403 Forbidden"));
    assert_eq!(world.get("/api/1/BTCUSD/ticker").0, 403);
    assert_eq!(world.post("/api/2/money/info", "").0, 403);
    let there = world.send(&ServerRequest {
        peer: "there",
        method: "GET",
        target: "/api/1/BTCUSD/fulldepth",
        headers: &[],
        body: b"",
    });
    assert!(matches!(there, ServerReply::Answer { status: 200, .. }));
    world.now = world.now + Span::secs(3_600);
    assert_eq!(world.get("/api/1/BTCUSD/ticker").0, 200);
}

#[test]
fn trades_come_oldest_first_from_behind_the_one_that_is_named() {
    let mut world = World::new();
    world.add("bid", "1", Some("100"));
    world.run();
    world.wait(Span::SECOND);
    world.add("ask", "0.5", None);
    world.run();
    let (_, trades) = world.get("/api/1/BTCUSD/trades?raw");
    let first = &trades[0];
    let tid = first["tid"].as_str().unwrap();
    assert_eq!(
        *first,
        json!({
            "date": START.0 / 1_000_000_000, "price": "100", "amount": "1",
            "price_int": "10000000", "amount_int": "100000000", "tid": tid,
            "price_currency": "USD", "item": "BTC", "trade_type": "bid",
            "primary": "Y", "properties": "limit",
        })
    );
    assert_eq!(trades[1]["trade_type"], "ask");
    assert_eq!(trades[1]["properties"], "market");
    let (_, since) = world.get(&format!("/api/2/BTCUSD/money/trades/fetch?since={tid}"));
    assert_eq!(since["data"], json!([trades[1]]));
    let (_, all) = world.get("/api/2/BTCUSD/money/trades?since=0");
    assert_eq!(all["data"], trades);
    let (_, posted) = world.post("/api/2/BTCUSD/money/trades/fetch", &format!("since={tid}"));
    assert_eq!(posted["data"], since["data"]);
    assert_eq!(
        world.get("/api/2/BTCUSD/money/trades/cancelled").1["data"],
        json!([])
    );
    world.now = world.now + Span::DAY + Span::SECOND;
    assert_eq!(world.get("/api/1/BTCUSD/trades?raw").1, json!([]));
}

#[test]
fn lag_currencies_and_channels_are_described() {
    let mut world = two_markets();
    let idle = json!({"lag": 0, "lag_secs": 0, "lag_text": "0 seconds", "length": "0"});
    assert_eq!(world.get("/api/2/money/order/lag").1["data"], idle);
    assert_eq!(world.get("/api/1/generic/order/lag").1["return"], idle);
    let (_, currency) = world.get("/api/2/BTCUSD/money/currency");
    assert_eq!(currency["data"]["decimals"], "5");
    assert_eq!(currency["data"]["symbol"], "$");
    assert_eq!(
        currency["data"]["depth_channel"],
        "24e67e0d-1cad-4cc0-9e7a-f8523ef460fe"
    );
    let (_, channels) = world.get("/api/2/stream/list_public");
    assert_eq!(
        channels["data"],
        json!({
            "depth.BTCEUR": "057bdc6b-9f9c-44e4-bc1a-363e4443ce87",
            "depth.BTCUSD": "24e67e0d-1cad-4cc0-9e7a-f8523ef460fe",
            "ticker.BTCEUR": "0bb6da8b-f6c6-4ecf-8f0d-a544ad948c15",
            "ticker.BTCUSD": "d5f06780-30a8-4a48-a2f8-7ed181b4a13f",
            "trade.BTC": "dbf1dee9-4f2e-4a08-8cb7-748919a71b21",
            "trade.lag": "85174711-be64-4de1-b783-0628995d7914",
        })
    );
}

#[test]
fn the_last_trade_anywhere_is_told_in_both_currencies() {
    let mut world = two_markets();
    world.add("bid", "1", Some("100"));
    let (_, added) = world.post(
        "/api/2/BTCEUR/money/order/add",
        "type=ask&amount_int=100000000&price_int=6000000",
    );
    assert_eq!(added["result"], "success");
    world.run();
    let (_, ticker) = world.get("/api/1/BTCUSD/ticker?raw");
    assert_eq!(ticker["last_local"]["value_int"], "10000000");
    assert_eq!(ticker["last_orig"]["display"], "60.00000\u{a0}\u{20ac}");
    assert_eq!(ticker["last"], ticker["last_all"]);
    assert_eq!(ticker["last"]["currency"], "USD");
    assert_ne!(ticker["last"], ticker["last_local"]);
}

#[test]
fn version_0_gives_bare_floats() {
    let mut world = World::new();
    world.add("bid", "0.5", Some("100"));
    world.run();
    let (_, ticker) = world.get("/api/0/data/ticker.php");
    assert_eq!(ticker["ticker"]["buy"], 90);
    assert_eq!(ticker["ticker"]["sell"], 100);
    assert_eq!(ticker["ticker"]["vol"], json!(0.5));
    let (_, book) = world.get("/api/0/data/getDepth.php?Currency=USD");
    assert_eq!(book["asks"], json!([[100, 0.5], [101, 1], [150, 1]]));
    assert_eq!(book["bids"], json!([[50, 1], [80, 1], [90, 1]]));
    let (_, trades) = world.get("/api/0/data/getTrades.php");
    assert_eq!(trades[0]["amount"], "0.5");
    assert_eq!(trades[0].get("primary"), None);
    let (_, wrong) = world.get("/api/0/data/ticker.php?Currency=EUR");
    assert_eq!(wrong, json!({"error": "Unknown currency pair"}));
    assert_eq!(
        world.get("/api/0/nothing.php").1,
        json!({"error": "Unknown method"})
    );
}

#[test]
fn yen_are_counted_in_thousandths() {
    let yen = expressnet::venue::serving::market::Source::Ladder {
        bids: vec![level("9306.5456", "1")],
        asks: vec![level("9400", "1")],
    };
    let mut world = World::with(ServerSettings {
        markets: vec![(pair("BTC/JPY"), yen)],
        accounts: vec![account(KEY, &[("JPY", "100000"), ("BTC", "1")])],
        ..settings()
    });
    let (_, ticker) = world.get("/api/1/BTCJPY/ticker?raw");
    assert_eq!(ticker["buy"]["value_int"], "9306545");
    let form = "type=ask&amount_int=33333333&price_int=9306545";
    let (_, added) = world.post("/api/1/BTCJPY/private/order/add", form);
    assert_eq!(added["result"], "success");
    world.run();
    let rows = world.history("JPY");
    let fee = &rows[0];
    assert_eq!(
        (&fee["Type"], &fee["Value"]["value_int"]),
        (&json!("fee"), &json!("18614"))
    );
    assert_eq!(rows[1]["Value"]["value_int"], "3102181");
    world.check_sums();
    let reply = json_of(world.raw_get("/api/2/BTCJPY/money/currency")).1;
    assert_eq!(reply["data"]["decimals"], "3");
    assert!(world.server.poll_closed().is_none());
}
