//! The served MtGox: documents, orders, ledger, streams, faults, habits.

mod faults;
mod orders;
mod public;
mod stream;
mod world;

use expressnet::model::time::{Span, Time};
use expressnet::venue::mtgox::server::MtgoxServer;
use expressnet::venue::serving::SetupError;
use expressnet::venue::{Server, ServerRequest, StreamNo};
use serde_json::{Value, json};
use world::{KEY, OTHER, START, World, account, json_of, order, pair, settings, sign_request};

#[test]
fn requests_of_the_signing_vectors_are_let_in() {
    let Some(vectors) = world::fixture("SIGNING_VECTORS.json") else {
        return;
    };
    let vectors: Value = serde_json::from_slice(&vectors).unwrap();
    let mut world = World::new();
    world.now = Time(1_364_691_201_933_191_000);
    let stream = StreamNo(1);
    assert!(world.open(1, "/mtgox?Channel=none"));
    let mut seen = 0;
    for vector in vectors["mtgox"].as_array().unwrap() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        seen += 1;
        if vector["frame"].is_object() {
            assert_eq!(stream, StreamNo(1));
            world.say(1, vector["frame"].to_string().as_bytes());
            let answer = world.heard(1).pop().unwrap();
            assert_eq!(
                (&answer["op"], &answer["id"]),
                (&json!("result"), &vector["frame"]["id"])
            );
            assert_eq!(answer["result"].as_str().unwrap().len(), 36);
            continue;
        }
        let url = text(&vector["url"]);
        let headers = &vector["headers"];
        let (key, sign) = (text(&headers["Rest-Key"]), text(&headers["Rest-Sign"]));
        let body = text(&vector["body"]);
        let reply = json_of(world.send(&ServerRequest {
            peer: "here",
            method: "POST",
            target: &url[url.find("/api/").unwrap()..],
            headers: &[("Rest-Key", &key), ("Rest-Sign", &sign)],
            body: body.as_bytes(),
        }));
        let is_cancel = url.ends_with("order/cancel");
        let expected = if is_cancel {
            json!("Order not found")
        } else {
            Value::Null
        };
        assert_eq!(
            (reply.0, &reply.1["error"]),
            (200, &expected),
            "{}",
            vector["desc"]
        );
    }
    assert_eq!(seen, 6);
}

#[test]
fn a_login_fails_with_the_code_of_its_fault() {
    let mut world = World::new();
    let target = "/api/2/money/info";
    let denied = |token: &str| {
        let error = "Identification required to access private API";
        (
            403,
            json!({"result": "error", "error": error, "token": token}),
        )
    };
    assert_eq!(world.get(target), denied("login_error_missing_rest_key"));
    assert_eq!(
        world.get("/api/1/generic/info"),
        denied("login_error_missing_rest_key")
    );
    let unknown = "00000000-0000-0000-0000-000000000000";
    let key = world.post_as(unknown, target, "");
    assert_eq!(key, denied("login_error_invalid_rest_key"));
    let sign = sign_request("/api/2/money/orders", "nonce=5");
    let mut send = |headers: &[(&str, &str)], body: &[u8]| {
        json_of(world.send(&ServerRequest {
            peer: "here",
            method: "POST",
            target,
            headers,
            body,
        }))
    };
    let other_path = send(&[("Rest-Key", KEY), ("Rest-Sign", &sign)], b"nonce=5");
    assert_eq!(other_path, denied("login_error_invalid_rest_sign"));
    let no_sign = send(&[("Rest-Key", KEY)], b"nonce=5");
    assert_eq!(no_sign, denied("login_error_invalid_rest_sign"));
    let sign = sign_request(target, "");
    let no_nonce = send(&[("Rest-Key", KEY), ("Rest-Sign", &sign)], b"");
    assert_eq!(no_nonce, denied("login_error_invalid_nonce"));
    let old = world.get("/api/0/info.php");
    assert_eq!(old, (200, json!({"error": "Not logged in."})));
}

#[test]
fn nonces_rise_across_requests_and_streams_and_tonces_are_near_the_clock() {
    let mut world = World::new();
    assert!(world.open(1, "/mtgox?Channel=none"));
    let path = "/api/2/money/order/lag";
    let ask = |world: &mut World, body: String| json_of(world.post_body(KEY, path, &body)).0;
    assert_eq!(ask(&mut world, "nonce=100000000000".to_owned()), 200);
    let call = |nonce: u64| json!({"id": "x", "call": "private/info", "nonce": nonce}).to_string();
    let refused = world.call_text(1, &call(100_000_000_000));
    assert_eq!(refused["token"], "login_error_invalid_nonce");
    assert_eq!(
        (&refused["op"], &refused["success"], &refused["id"]),
        (&json!("remark"), &json!(false), &json!("x"))
    );
    let done = world.call_text(1, &call(100_000_000_001));
    assert_eq!(done["op"], "result");
    assert_eq!(ask(&mut world, "nonce=100000000001".to_owned()), 403);
    let at = START.0 / 1_000;
    for (tonce, status) in [
        (at, 200),
        (at - 9_000_000, 200),
        (at, 403),
        (at - 11_000_000, 403),
    ] {
        assert_eq!(ask(&mut world, format!("tonce={tonce}")), status, "{tonce}");
    }
}

#[test]
fn too_many_requests_and_orders_are_refused() {
    let mut world = World::with(world::ServerSettings {
        requests_per_s: 3,
        ..settings()
    });
    let asked: Vec<_> = (0..4)
        .map(|_| world.post("/api/2/money/info", "").1)
        .collect();
    assert_eq!(asked[2]["result"], "success");
    assert_eq!(
        asked[3],
        json!({"result": "error", "error": "Too many requests"})
    );
    let mut world = World::new();
    let form = order("bid", "0.01", Some("10"));
    let refused = (0..100).find_map(|count| {
        let (_, reply) = world.post("/api/2/BTCUSD/money/order/add", &form);
        let error = reply["error"].as_str()?;
        Some((count, error.to_owned()))
    });
    let (count, error) = refused.unwrap();
    assert_eq!(count, 60);
    assert!(error.starts_with("Too many orders placed"), "{error}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let market = settings().markets[0].clone();
    let twice = world::ServerSettings {
        markets: vec![market.clone(), market],
        ..settings()
    };
    let refused = |settings| MtgoxServer::new(settings).unwrap_err();
    assert_eq!(refused(twice), SetupError::Market(pair("BTC/USD")));
    let keys = world::ServerSettings {
        accounts: vec![account(KEY, &[]), account(&KEY.to_uppercase(), &[])],
        ..settings()
    };
    assert_eq!(refused(keys), SetupError::KeyTwice(KEY.to_uppercase()));
    let rich = world::ServerSettings {
        accounts: vec![account(KEY, &[("USD", "90000000000")])],
        ..settings()
    };
    assert!(matches!(refused(rich), SetupError::Balance { .. }));
    let named = world::ServerSettings {
        personality: Some("btce".to_owned()),
        ..settings()
    };
    let error = refused(named);
    assert!(matches!(error, SetupError::Personality { .. }));
    assert!(error.to_string().contains("mtgox-2013"));
}

#[test]
fn equal_seeds_give_equal_bytes() {
    let run = || {
        let mut world = World::with(faults::troubled(3));
        assert!(world.open(1, "/mtgox"));
        for step in 0..50 {
            let body = format!("nonce={}&{}", 10 + step, order("bid", "0.5", Some("95")));
            let reply = world.post_body(OTHER, "/api/2/BTCUSD/money/order/add", &body);
            world.frames.push((0, format!("{reply:?}").into_bytes()));
            world.wait(Span::millis(300));
        }
        (world.frames, world.server.audit())
    };
    assert_eq!(run(), run());
}
