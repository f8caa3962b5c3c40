//! Faults and habits: what goes wrong, how often, and that nothing is lost in it.

use expressnet::model::currency::Currency;
use expressnet::model::number::Quantity;
use expressnet::model::random::Random;
use expressnet::model::time::Span;
use expressnet::venue::mtgox::FAULTS;
use expressnet::venue::serving::ServerSettings;
use expressnet::venue::serving::fault::Fault;
use expressnet::venue::serving::market::Source;
use expressnet::venue::{Server, ServerReply};
use serde_json::{Value, json};

use super::world::{KEY, OTHER, World, account, body_of, level, order, pair, settings};

const ALWAYS: u32 = 1_000_000;
const ADD: &str = "/api/2/BTCUSD/money/order/add";

/// Two living markets and every fault.
pub(super) fn troubled(seed: u64) -> ServerSettings {
    let flow = |price: &str| Source::Flow {
        price: price.parse().unwrap(),
    };
    ServerSettings {
        markets: vec![
            (pair("BTC/USD"), flow("100")),
            (pair("BTC/EUR"), flow("75")),
        ],
        accounts: vec![
            account(KEY, &[("USD", "9000"), ("BTC", "90"), ("EUR", "9000")]),
            account(OTHER, &[("USD", "9000"), ("BTC", "90")]),
        ],
        seed,
        faults: FAULTS.map(|fault| (fault, 50_000)).to_vec(),
        ..settings()
    }
}

fn struck(world: &World, name: &str) -> u64 {
    let counts = world.server.fault_counts();
    counts.iter().find(|(known, _)| *known == name).unwrap().1
}

fn orders_made(world: &World) -> usize {
    world.server.audit().accounts[0].orders.len()
}

#[test]
fn half_of_the_broken_requests_are_done() {
    for (fault, status, text) in [
        (Fault::Errors, 502, "502 Bad Gateway"),
        (Fault::TextErrors, 200, "MySQL error, please retry later"),
    ] {
        let mut world = World::with_faults(&[(fault, ALWAYS)]);
        for _ in 0..50 {
            let (seen, body) = body_of(world.raw_post(KEY, ADD, &order("bid", "0.01", Some("10"))));
            assert_eq!(seen, status);
            assert!(String::from_utf8(body).unwrap().contains(text));
        }
        let made = orders_made(&world);
        assert!((10..40).contains(&made), "{made}");
    }
}

#[test]
fn invalid_calls_do_nothing_and_spare_the_public() {
    let mut world = World::with_faults(&[(Fault::InvalidCalls, ALWAYS)]);
    let refused = (200, json!({"result": "error", "error": "Invalid call"}));
    assert_eq!(world.post(ADD, &order("bid", "1", Some("90"))), refused);
    assert_eq!(world.post("/api/2/money/info", ""), refused);
    assert_eq!(
        world.post("/api/0/info.php", "").1,
        json!({"error": "Invalid call"})
    );
    assert_eq!(orders_made(&world), 0);
    assert_eq!(world.get("/api/1/BTCUSD/ticker").1["result"], "success");
    assert!(world.open(1, "/mtgox?Channel=none"));
    let remark = world.call(
        1,
        "order/add",
        &json!({"type": "bid", "amount_int": 100_000_000}),
    );
    assert_eq!(
        (&remark["op"], &remark["message"]),
        (&json!("remark"), &json!("Invalid call"))
    );
}

#[test]
fn lost_replies_belong_to_done_requests() {
    let mut world = World::with_faults(&[(Fault::LostReplies, ALWAYS)]);
    let reply = world.raw_post(KEY, ADD, &order("bid", "1", Some("90")));
    assert_eq!(reply, ServerReply::Lost);
    assert!(world.open(1, "/mtgox?Channel=none"));
    let params = json!({"type": "bid", "amount_int": 100_000_000, "price_int": 9_000_000});
    assert_eq!(world.call(1, "order/add", &params), Value::Null);
    assert_eq!(orders_made(&world), 2);
}

#[test]
fn depth_frames_are_lost_swapped_or_end_the_stream() {
    let mut world = World::new();
    assert!(world.open(1, "/mtgox"));
    world.heard(1);
    world.server.set_fault(Fault::LostFrames, ALWAYS);
    world.quote(&[level("91", "1")], &[]);
    assert!(world.heard(1).is_empty());
    world.server.set_fault(Fault::LostFrames, 0);
    world.server.set_fault(Fault::ReorderedFrames, ALWAYS);
    world.quote(&[level("92", "1")], &[]);
    let stamps: Vec<String> = world
        .heard_of(1, "depth")
        .iter()
        .map(|row| row["now"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(stamps.len(), 2);
    assert!(stamps[0] > stamps[1]);
    world.server.set_fault(Fault::ReorderedFrames, 0);
    world.server.set_fault(Fault::Disconnects, ALWAYS);
    world.quote(&[level("93", "1")], &[]);
    assert!(world.heard(1).is_empty());
    assert_eq!(
        world.server.poll_closed(),
        Some(expressnet::venue::StreamNo(1))
    );
    assert_eq!(struck(&world, "disconnects"), 1);
}

#[test]
fn cross_trades_are_shown_again_in_another_currency() {
    let mut world = World::with_faults(&[(Fault::CrossTrades, ALWAYS)]);
    assert!(world.open(1, "/mtgox"));
    world.heard(1);
    world.add("bid", "0.5", Some("100"));
    world.run();
    let trades = world.heard_of(1, "trade");
    let fields = |trade: &Value| {
        ["primary", "price_currency", "price_int", "properties"]
            .map(|name| trade[name].as_str().unwrap().to_owned())
    };
    assert_eq!(
        fields(&trades[0]),
        ["Y", "USD", "10000000", "limit,mixed_currency"]
    );
    assert_eq!(
        fields(&trades[1]),
        ["N", "EUR", "7500000", "limit,mixed_currency"]
    );
    assert_eq!(trades[0]["tid"], trades[1]["tid"]);
    let (_, listed) = world.get("/api/1/BTCUSD/trades?raw");
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let mut world = World::with(ServerSettings {
        faults: vec![(Fault::CrossTrades, ALWAYS)],
        ..troubled(1)
    });
    world.add("bid", "0.5", Some("150"));
    world.run();
    let (_, listed) = world.get("/api/1/BTCEUR/trades?raw");
    let rows = listed.as_array().unwrap();
    assert!(
        rows.iter()
            .any(|row| row["primary"] == "N" && row["price_currency"] == "EUR")
    );
}

#[test]
fn news_come_before_their_reply_or_well_behind_it() {
    let mut world = World::with_faults(&[(Fault::ReorderedReports, ALWAYS)]);
    assert!(world.open(1, "/mtgox?Channel=none"));
    world.listen(1);
    world.heard(1);
    let (mut early, mut late) = (0, 0);
    for _ in 0..20 {
        world.add("bid", "0.01", Some("95"));
        let before = world.news(1);
        world.run();
        let at_once = world.news(1);
        world.wait(Span::secs(5));
        let after = world.news(1);
        let whole = ["pending", "executing", "post-pending", "open"]
            .map(|word| format!("{word} 0.01000000"));
        if before.is_empty() {
            assert_eq!((at_once.len(), after.as_slice()), (0, &whole[..]));
            late += 1;
        } else {
            assert_eq!((before.as_slice(), at_once.len()), (&whole[..], 0));
            early += 1;
        }
    }
    assert!(early > 3 && late > 3, "{early} {late}");
    let params = json!({"type": "bid", "amount_int": 1_000_000, "price_int": 9_000_000});
    let is_early = (0..20).any(|_| {
        world.heard(1);
        world.call(1, "order/add", &params);
        !world.news(1).is_empty()
    });
    assert!(is_early);
}

#[test]
fn a_slow_cancel_leaves_the_order_standing_for_a_while() {
    let mut world = World::with_faults(&[(Fault::SlowCancel, ALWAYS)]);
    let oid = world.add("bid", "1", Some("95"));
    world.run();
    assert_eq!(world.cancel(&oid).0, 200);
    world.wait(Span::millis(100));
    assert_eq!(world.orders().len(), 1);
    world.wait(Span::secs(2));
    assert!(world.orders().is_empty());
}

#[test]
fn lag_keeps_orders_pending_and_is_told_until_it_is_over() {
    let mut world = World::with_faults(&[(Fault::Lag, ALWAYS)]);
    world.server.set_fault(Fault::Lag, 0);
    assert!(world.open(1, "/mtgox?Channel=trade.lag"));
    world.add("bid", "1", Some("95"));
    world.run();
    assert_eq!(world.orders()[0]["status"], "pending");
    let (_, lag) = world.get("/api/2/money/order/lag");
    let lag_us = lag["data"]["lag"].as_u64().unwrap();
    assert!((50_000..=2_000_000).contains(&lag_us));
    assert_eq!(lag["data"]["length"], "1");
    let text = lag["data"]["lag_secs"].to_string();
    assert_eq!(lag["data"]["lag_text"], format!("{text} seconds"));
    world.wait(Span::secs(10));
    assert_eq!(world.orders()[0]["status"], "open");
    let lags = world.heard_of(1, "lag");
    assert!((4..=7).contains(&lags.len()), "{lags:?}");
    assert_eq!(lags[0]["age"], lag_us);
    assert_eq!(lags.last().unwrap()["age"], 0);
    assert_eq!(lags.last().unwrap()["qid"], "");
}

#[test]
fn an_engine_can_be_steadily_sixty_seconds_behind() {
    for name in ["mtgox-lag-60", "lag=60s"] {
        let mut world = World::with(ServerSettings {
            personality: Some(name.to_owned()),
            ..settings()
        });
        assert!(world.open(1, "/mtgox?Channel=trade.lag"));
        let oid = world.add("bid", "1", Some("95"));
        world.wait(Span::secs(59));
        assert_eq!(world.orders()[0]["status"], "pending");
        world.wait(Span::secs(2));
        assert_eq!(world.orders()[0]["status"], "open");
        world.cancel(&oid);
        world.wait(Span::secs(61));
        assert!(world.orders().is_empty());
        assert_eq!(
            world.get("/api/2/money/order/lag").1["data"]["lag"],
            60_000_000
        );
        let lags = world.heard_of(1, "lag");
        assert!(lags.len() > 100);
        assert!(lags.iter().all(|lag| lag["age"] == 60_000_000));
    }
}

#[test]
fn the_years_have_their_habits() {
    let year = |name: &str| {
        World::with(ServerSettings {
            personality: Some(name.to_owned()),
            faults: vec![
                (Fault::InvalidCalls, 0),
                (Fault::Errors, 0),
                (Fault::TextErrors, 0),
            ],
            ..settings()
        })
    };
    let most = |world: &mut World, currency: &str| {
        let (_, info) = world.post("/api/2/money/info", "");
        info["data"]["Wallets"][currency]["Max_Withdraw"]["value_int"].clone()
    };
    for (name, usd, btc) in [
        ("mtgox-2011", "100000000", "40000000000"),
        ("mtgox-2013", "0", "40000000000"),
        ("mtgox-2014", "0", "0"),
    ] {
        let mut world = year(name);
        assert_eq!(
            (most(&mut world, "USD"), most(&mut world, "BTC")),
            (json!(usd), json!(btc))
        );
        assert!(world.open(1, "/mtgox?Channel=trade.lag"));
        world.wait(Span::secs(1_200));
        let lags = world.heard_of(1, "lag");
        let worst = lags.iter().filter_map(|lag| lag["age"].as_u64()).max();
        assert!(
            worst.is_some_and(|us| us > 200_000 && us <= 60_000_000),
            "{name} {worst:?}"
        );
    }
    let mut world = year("mtgox-2011");
    assert!(world.open(1, "/mtgox?Channel=depth.BTCUSD"));
    world.wait(Span::secs(602));
    let rows = world.heard_of(1, "depth");
    let gone = rows.iter().filter(|row| row["total_volume_int"] == "0");
    assert_eq!((rows.len(), gone.count()), (6, 3));
    let (_, book) = world.get("/api/1/BTCUSD/depth?raw");
    assert_eq!(book["asks"].as_array().unwrap().len(), 2);
}

#[test]
fn nothing_is_made_or_lost_in_many_random_operations() {
    for seed in 1..=4 {
        let mut world = World::with(troubled(seed));
        let mut random = Random::new(seed);
        let mut oids: Vec<String> = Vec::new();
        let mut stream = 0;
        for step in 0..4_000 {
            if step % 50 == 0 {
                stream = stream % 4 + 1;
                world.open(stream, "/mtgox");
            }
            let key = [KEY, OTHER][usize::try_from(random.below(2)).unwrap()];
            let side = ["bid", "ask"][usize::try_from(random.below(2)).unwrap()];
            let amount = Quantity(i64::try_from(random.between(1_000_000, 300_000_000)).unwrap());
            let market =
                [ADD, "/api/2/BTCEUR/money/order/add"][usize::try_from(random.below(2)).unwrap()];
            match random.below(10) {
                0 => {
                    let amount = Quantity(amount.0 * 10);
                    let (currency, now) = (Currency::USD, world.now);
                    let moved = match random.below(2) {
                        0 => world.server.credit(key, currency, amount, now),
                        _ => world.server.debit(key, currency, amount, now),
                    };
                    // An empty wallet has nothing to take.
                    moved.ok();
                }
                1..=3 => {
                    if let Some(oid) = oids.pop() {
                        world.raw_post(key, "/api/2/money/order/cancel", &format!("oid={oid}"));
                    }
                }
                4 => world.wait(Span::millis(300)),
                kind => {
                    let price = (kind < 8).then(|| random.between(70, 110).to_string());
                    let form = order(side, &amount.to_string(), price.as_deref());
                    let reply = world.raw_post(key, market, &form);
                    if let ServerReply::Answer { body, .. } = reply
                        && let Ok(reply) = serde_json::from_slice::<Value>(&body)
                        && let Some(oid) = reply["data"].as_str()
                    {
                        oids.push(oid.to_owned());
                    }
                    world.now = world.now + Span::millis(random.between(0, 150));
                    world.run();
                }
            }
            world.frames.clear();
            while let Some(closed) = world.server.poll_closed() {
                world.server.handle_stream_closed(closed);
            }
            assert_eq!(world.server.imbalance(), None, "seed {seed} step {step}");
        }
        let audit = world.server.audit();
        let filled = audit.accounts.iter().flat_map(|account| &account.orders);
        assert!(
            filled
                .filter(|order| order.filled.quantity.is_positive())
                .count()
                > 50
        );
        assert!(
            world
                .server
                .fault_counts()
                .iter()
                .all(|(_, count)| *count > 0)
        );
    }
}
