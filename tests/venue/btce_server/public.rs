//! Public documents of the served BTC-e dialect.

use crate::venue::btce_server::{START, Shop, ask, public, refusal};
use expressnet::model::time::Span;
use expressnet::venue::btce::style::{BTCE, LIQUI, STYLES, YOBIT};
use expressnet::venue::{Server, ServerReply, ServerRequest};

#[test]
fn documents_of_the_third_version_have_the_recorded_shapes() {
    let mut shop = Shop::open(&BTCE);
    let second = START.0 / Span::SECOND.0;
    let info = format!(
        "{{\"server_time\":{second},\"pairs\":{{\"btc_usd\":{{\"decimal_places\":3,\
         \"min_price\":0.1,\"max_price\":1000000,\"min_amount\":0.01,\"hidden\":0,\"fee\":0.2}},\
         \"ltc_btc\":{{\"decimal_places\":5,\"min_price\":0.0001,\"max_price\":1000000,\
         \"min_amount\":0.1,\"hidden\":0,\"fee\":0.2}}}}}}"
    );
    for target in [
        "/api/3/info",
        "/api/3/info/",
        "/api/3/info/?",
        "/api/3/info?x",
    ] {
        assert_eq!(shop.get(target), info, "{target}");
    }
    let posted = ask(&mut shop.server, "POST", "/api/3/info", &[], "", START);
    assert_eq!(posted, info);
    let ticker = format!(
        "{{\"btc_usd\":{{\"high\":0,\"low\":0,\"avg\":0,\"vol\":0,\"vol_cur\":0,\"last\":0,\
         \"buy\":101.5,\"sell\":99.25,\"updated\":{second}}}}}"
    );
    assert_eq!(shop.get("/api/3/ticker/btc_usd"), ticker);
    assert_eq!(
        shop.get("/api/3/depth/btc_usd"),
        "{\"btc_usd\":{\"asks\":[[101.5,1],[102,2]],\"bids\":[[99.25,1],[98,2]]}}"
    );
    assert_eq!(
        shop.get("/api/3/depth/ltc_btc-btc_usd?limit=1"),
        "{\"ltc_btc\":{\"asks\":[[0.02,100]],\"bids\":[[0.01999,50]]},\
         \"btc_usd\":{\"asks\":[[101.5,1]],\"bids\":[[99.25,1]]}}"
    );
    assert_eq!(shop.get("/api/3/trades/btc_usd"), "{\"btc_usd\":[]}");
    shop.trade("one", "btc_usd", "buy", "101.5", "0.25");
    shop.trade("one", "btc_usd", "sell", "99", "0.5");
    shop.now = shop.now + Span::secs(3);
    assert_eq!(
        shop.get("/api/3/trades/btc_usd?limit=1"),
        format!(
            "{{\"btc_usd\":[{{\"type\":\"ask\",\"price\":99.25,\"amount\":0.5,\"tid\":2,\
             \"timestamp\":{second}}}]}}"
        )
    );
    let ticker = format!(
        "{{\"btc_usd\":{{\"high\":101.5,\"low\":99.25,\"avg\":100.375,\"vol\":75,\"vol_cur\":0.75,\
         \"last\":99.25,\"buy\":101.5,\"sell\":99.25,\"updated\":{}}}}}",
        second + 3
    );
    assert_eq!(shop.get("/api/3/ticker/btc_usd"), ticker);
    shop.now = shop.now + Span::DAY;
    let later = shop.get("/api/3/ticker/btc_usd");
    assert!(
        later.contains("\"vol\":0,\"vol_cur\":0,\"last\":99.25"),
        "{later}"
    );
}

#[test]
fn documents_of_the_second_version_take_a_count_in_the_path() {
    let mut shop = Shop::open(&BTCE);
    let second = START.0 / Span::SECOND.0;
    shop.trade("one", "btc_usd", "buy", "101.5", "0.25");
    shop.trade("one", "btc_usd", "buy", "101.5", "0.05");
    assert_eq!(
        shop.get("/api/2/btc_usd/ticker"),
        format!(
            "{{\"ticker\":{{\"high\":101.5,\"low\":101.5,\"avg\":101.5,\"vol\":30.45,\
             \"vol_cur\":0.3,\"last\":101.5,\"buy\":101.5,\"sell\":99.25,\"updated\":{second},\
             \"server_time\":{second}}}}}"
        )
    );
    assert_eq!(shop.get("/api/2/btc_usd/fee"), "{\"trade\":0.2}");
    assert_eq!(
        shop.get("/api/2/btc_usd/depth/1"),
        "{\"asks\":[[101.5,0.7]],\"bids\":[[99.25,1]]}"
    );
    let row = |tid: u64, amount: &str| {
        format!(
            "{{\"date\":{second},\"price\":101.5,\"amount\":{amount},\"tid\":{tid},\
             \"price_currency\":\"USD\",\"item\":\"BTC\",\"trade_type\":\"bid\"}}"
        )
    };
    let (newer, older) = (row(2, "0.05"), row(1, "0.25"));
    let all = format!("[{newer},{older}]");
    assert_eq!(shop.get("/api/2/btc_usd/trades"), all);
    let first = format!("[{newer}]");
    assert_eq!(shop.get("/api/2/btc_usd/trades/1"), first);
    assert_eq!(shop.get("/api/2/btc_usd/trades/x"), all);
    assert_eq!(
        shop.get("/api/2/usd_btc/depth"),
        refusal("Invalid pair name: usd_btc")
    );
    assert_eq!(shop.get("/api/2/btc_usd/dance"), refusal("Invalid method"));
    let liqui = &mut Shop::open(&LIQUI).server;
    let reply = liqui.handle_request(&public("/api/2/btc_usd/fee"), START, &mut |_, _| ());
    assert!(matches!(reply, ServerReply::Answer { status: 404, .. }));
}

#[test]
fn lists_of_pairs_are_read_as_documented() {
    let mut shop = Shop::open(&BTCE);
    let mut check = |target: &str, error: &str| {
        assert_eq!(
            shop.get(&format!("/api/3/{target}")),
            refusal(error),
            "{target}"
        );
    };
    check("ticker/usd_btc", "Invalid pair name: usd_btc");
    check("ticker/btc_usd-x_y", "Invalid pair name: x_y");
    check("ticker/BTC_USD", "Invalid pair name: BTC_USD");
    check("ticker/-btc_usd", "Invalid pair name: ");
    check("ticker", "Empty pair list");
    check("depth/", "Empty pair list");
    check("depth/-", "Empty pair list");
    check("depth/x_y?ignore_invalid=1", "Empty pair list");
    check("trades/btc_usd-btc_usd", "Duplicated pair name: btc_usd");
    check(
        "trades/btc_usd-btc_usd?ignore_invalid=1",
        "Duplicated pair name: btc_usd",
    );
    check("ticker/x_y?ignore_invalid=0", "Invalid pair name: x_y");
    check("ticker/x_y?ignore_invalid=2", "Invalid pair name: x_y");
    check("dance/btc_usd", "Invalid method");
    check("", "Invalid method");
    let depth = shop.get("/api/3/depth/btc_usd");
    for target in [
        "depth/btc_usd-",
        "depth/btc_usd/",
        "depth/x_y-btc_usd?ignore_invalid=1",
        "depth/btc_usd?ignore_invalid=0",
        "depth/btc_usd?limit=0",
        "depth/btc_usd?limit=many",
    ] {
        assert_eq!(shop.get(&format!("/api/3/{target}")), depth, "{target}");
    }
    let body = "limit=1&ignore_invalid=1";
    let posted = ask(
        &mut shop.server,
        "POST",
        "/api/3/depth/btc_usd-x_y",
        &[],
        body,
        START,
    );
    assert_eq!(
        posted,
        "{\"btc_usd\":{\"asks\":[[101.5,1]],\"bids\":[[99.25,1]]}}"
    );
}

#[test]
fn buy_and_sell_of_the_ticker_are_the_exchange_s_own_way_round() {
    for style in STYLES {
        let mut shop = Shop::open(style);
        let ticker = shop.get(&format!("{}/ticker/btc_usd", style.api_v3));
        let words = match style.name {
            "btce" | "wex" | "dsx" => "\"buy\":101.5,\"sell\":99.25",
            _ => "\"buy\":99.25,\"sell\":101.5",
        };
        assert!(ticker.contains(words), "{}: {ticker}", style.name);
    }
    let info = Shop::open(&YOBIT).get("/api/3/info");
    let row = "\"btc_usd\":{\"decimal_places\":8,\"min_price\":0.00000001,\"max_price\":1000000,\
               \"min_amount\":0.0001,\"min_total\":0.0001,\"hidden\":0,\"fee\":0.2,\
               \"fee_buyer\":0.2,\"fee_seller\":0.2}";
    assert!(info.contains(row), "{info}");
    let row = "\"ltc_btc\":{\"decimal_places\":8,\"min_price\":0.00000001,\"max_price\":10000,";
    assert!(info.contains(row), "{info}");
    let info = Shop::open(&LIQUI).get("/api/3/info");
    let row = "\"min_amount\":0.00000001,\"max_amount\":1000000,\"min_total\":0.0001,\"hidden\":0,\
               \"fee\":0.25}";
    assert!(info.contains(row), "{info}");
}

#[test]
fn a_document_stands_for_two_seconds() {
    let mut shop = Shop::open(&BTCE);
    let before = shop.get("/api/3/depth/btc_usd");
    shop.trade("one", "btc_usd", "buy", "101.5", "1");
    shop.now = START + Span::millis(1_999);
    assert_eq!(shop.get("/api/3/depth/btc_usd"), before);
    assert_eq!(shop.get("/api/3/depth/btc_usd?_=1700000001999"), before);
    let other = shop.get("/api/3/depth/btc_usd?limit=1");
    assert_eq!(
        other,
        "{\"btc_usd\":{\"asks\":[[102,2]],\"bids\":[[99.25,1]]}}"
    );
    shop.now = START + Span::secs(2);
    let after = shop.get("/api/3/depth/btc_usd");
    assert_eq!(
        after,
        "{\"btc_usd\":{\"asks\":[[102,2]],\"bids\":[[99.25,1],[98,2]]}}"
    );
}

#[test]
fn a_busy_stranger_meets_the_front_end() {
    let mut shop = Shop::open(&BTCE);
    let mut statuses = Vec::new();
    for _ in 0..60 {
        let reply = shop
            .server
            .handle_request(&public("/api/3/info"), START, &mut |_, _| ());
        let ServerReply::Answer { status, body, .. } = reply else {
            panic!("nothing is lost here");
        };
        assert_eq!(status == 503, body.starts_with(b"<!DOCTYPE html>"));
        statuses.push(status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 10);
    let other = ServerRequest {
        peer: "other",
        ..public("/api/3/info")
    };
    let reply = shop.server.handle_request(&other, START, &mut |_, _| ());
    assert!(matches!(reply, ServerReply::Answer { status: 200, .. }));
    assert!(shop.call("one", "getInfo", "").contains("funds"));
    let lost = shop
        .server
        .handle_request(&public("/nowhere"), START, &mut |_, _| ());
    assert!(matches!(lost, ServerReply::Answer { status: 404, .. }));
}
