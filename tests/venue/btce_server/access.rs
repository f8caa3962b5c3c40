//! Keys, signatures, nonces, rights and rates of the served BTC-e dialect.

use std::io::Write as _;
use std::path::PathBuf;

use crate::venue::btce_server::{
    RATE, SECRET, START, Shop, account, ask, refusal, settings, signed,
};
use expressnet::model::time::Span;
use expressnet::venue::btce::access::Rights;
use expressnet::venue::btce::server::BtceServer;
use expressnet::venue::btce::style::{BTCE, LIQUI, Style, YOBIT};
use serde_json::Value;

#[test]
fn recorded_signatures_are_accepted() {
    let Some(text) = vectors() else {
        return;
    };
    let vectors: Value = serde_json::from_str(&text).unwrap();
    let mut checked = 0;
    for group in ["btce", "ccxt"] {
        for vector in vectors[group].as_array().unwrap() {
            if !vector["venue"].as_str().unwrap_or("").starts_with("btce") {
                continue;
            }
            let request = vector.get("request").unwrap_or(vector);
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let headers = &request["headers"];
            let key = text(vector.get("key").unwrap_or(&headers["Key"]));
            let secret = text(&vector["secret"]);
            let (body, sign) = (text(&request["body"]), text(&headers["Sign"]));
            assert_eq!(signed(&secret, body.as_bytes()), sign);
            let mut settings = settings(&BTCE, 1);
            settings.accounts = vec![account(&key, &secret)];
            let mut server = BtceServer::new(settings, &BTCE).unwrap();
            let headers = [("Key", key.as_str()), ("Sign", sign.as_str())];
            let reply = ask(&mut server, "POST", "/tapi", &headers, &body, START);
            assert!(!reply.contains("invalid sign"), "{reply}");
            assert!(!reply.contains("invalid nonce"), "{reply}");
            checked += 1;
        }
    }
    assert_eq!(checked, 7);
}

#[test]
fn who_asks_is_checked_in_the_documented_order() {
    let mut shop = Shop::open(&BTCE);
    let body = "method=getInfo&nonce=1";
    let sign = signed(SECRET, body.as_bytes());
    let upper = sign.to_ascii_uppercase();
    let mut check = |headers: &[(&str, &str)], error: &str| {
        let reply = ask(&mut shop.server, "POST", "/tapi", headers, body, START);
        assert_eq!(reply, refusal(error));
    };
    check(&[], "api key not specified");
    check(&[("Sign", &sign)], "api key not specified");
    check(&[("Key", "nobody")], "invalid sign");
    check(&[("Key", "nobody"), ("Sign", &sign)], "invalid api key");
    check(&[("Key", "one"), ("Sign", &upper)], "invalid sign");
    check(&[("Key", "one"), ("Sign", "00ff")], "invalid sign");
    let other = signed("another secret", body.as_bytes());
    check(&[("Key", "one"), ("Sign", &other)], "invalid sign");
    let headers = [("key", "one"), ("SIGN", sign.as_str())];
    let reply = ask(&mut shop.server, "POST", "/tapi", &headers, body, START);
    assert!(reply.starts_with("{\"success\":1,"), "{reply}");
    let reply = ask(&mut shop.server, "POST", "/tapi?x=1", &headers, body, START);
    let advice = "invalid nonce parameter; on key:1, you sent:'1', you should send:2";
    assert_eq!(reply, refusal(advice));
}

#[test]
fn a_nonce_is_refused_in_each_exchange_s_own_words() {
    let check = |style: &'static Style, last: &str, sent: &str, text: &str| {
        let mut shop = Shop::open(style);
        let body = format!("nonce={last}&method=getInfo");
        assert!(shop.send("one", &body).starts_with("{\"success\":1,"));
        let body = format!("method=getInfo&nonce={sent}");
        assert_eq!(shop.send("one", &body), refusal(text), "{}", style.name);
    };
    check(
        &BTCE,
        "41",
        "40",
        "invalid nonce parameter; on key:41, you sent:'40', you should send:42",
    );
    check(
        &BTCE,
        "4294967294",
        "4294967295",
        "invalid nonce parameter; on key:4294967294, you sent:'4294967295', \
         you should send:4294967295",
    );
    check(
        &LIQUI,
        "4",
        "3",
        "invalid nonce parameter; on key:4, you sent:'3'",
    );
    let used = "invalid nonce (has already been used)";
    check(&YOBIT, "41", "41", used);
    check(&YOBIT, "2147483646", "2147483647", used);
    check(&YOBIT, "1", "", used);
    let mut shop = Shop::open(&BTCE);
    let missing = "invalid nonce parameter; on key:0, you sent:'', you should send:1";
    assert_eq!(shop.send("one", "method=getInfo"), refusal(missing));
}

#[test]
fn a_refusal_behind_the_signature_uses_the_nonce() {
    let mut shop = Shop::open(&BTCE);
    shop.server.set_rights(
        "one",
        Rights {
            info: false,
            trade: false,
            withdraw: false,
        },
    );
    for (nonce, method, what) in [
        (1, "getInfo", "info"),
        (2, "ActiveOrders", "info"),
        (3, "TradeHistory", "info"),
        (4, "CoinDepositAddress", "info"),
        (5, "Trade", "trade"),
        (6, "CancelOrder", "trade"),
        (7, "WithdrawCoin", "withdraw"),
        (8, "CreateCoupon", "withdraw"),
        (9, "RedeemCoupon", "withdraw"),
    ] {
        let reply = shop.send("one", &format!("method={method}&nonce={nonce}"));
        let error = format!("api key dont have {what} permission");
        assert_eq!(reply, refusal(&error));
    }
    let reply = shop.send("one", "method=getInfo&nonce=9");
    assert!(reply.contains("on key:9, you sent:'9'"), "{reply}");
    let reply = shop.send("one", "method=Dance&nonce=10");
    assert_eq!(reply, refusal("invalid method"));
}

#[test]
fn a_key_has_its_requests_in_a_second() {
    let mut shop = Shop::open(&BTCE);
    for _ in 0..RATE {
        assert!(shop.call("one", "getInfo", "").contains("funds"));
    }
    assert_eq!(
        shop.call("one", "getInfo", ""),
        refusal("Requests too often")
    );
    assert!(shop.call("two", "getInfo", "").contains("funds"));
    shop.now = shop.now + Span::SECOND;
    assert!(shop.call("one", "getInfo", "").contains("funds"));
}

#[test]
fn a_method_may_stand_in_the_path() {
    let mut shop = Shop::open(&BTCE);
    let sign = signed(SECRET, b"nonce=1");
    let headers = [("Key", "one"), ("Sign", sign.as_str())];
    let reply = ask(
        &mut shop.server,
        "POST",
        "/tapi/3/getInfo",
        &headers,
        "nonce=1",
        START,
    );
    assert!(
        reply.starts_with("{\"success\":1,\"return\":{\"funds\""),
        "{reply}"
    );
    let sign = signed(SECRET, b"nonce=2");
    let headers = [("Key", "one"), ("Sign", sign.as_str())];
    let reply = ask(
        &mut shop.server,
        "POST",
        "/tapi/",
        &headers,
        "nonce=2",
        START,
    );
    assert_eq!(reply, refusal("invalid method"));
}

/// Returns the recorded signatures, where they are there.
fn vectors() -> Option<String> {
    let fixtures = std::env::var_os("EXPRESSNET_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
        PathBuf::from,
    );
    let file = fixtures.join("SIGNING_VECTORS.json");
    let text = std::fs::read_to_string(&file).ok();
    if text.is_none() {
        // Written past the capture of the test harness, so that the skip is seen.
        let line = format!("SKIPPED: no recorded signatures in {}\n", file.display());
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    text
}
