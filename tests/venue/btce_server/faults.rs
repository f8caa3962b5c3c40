//! Faults and personalities of the served BTC-e dialect; money that is never lost.

use crate::venue::btce_server::{
    FEED, SECRET, START, Shop, account, btc_usd, public, refusal, settings, signed,
};
use expressnet::model::currency::Currency;
use expressnet::model::number::{Price, Quantity};
use expressnet::model::random::Random;
use expressnet::model::time::Span;
use expressnet::venue::btce::FAULTS;
use expressnet::venue::btce::personality::PERSONALITIES;
use expressnet::venue::btce::server::BtceServer;
use expressnet::venue::btce::style::{BTCE, STYLES, Style, YOBIT};
use expressnet::venue::serving::SetupError;
use expressnet::venue::serving::fault::Fault;
use expressnet::venue::serving::market::Source;
use expressnet::venue::{Server, ServerReply, ServerRequest, StreamNo};
use serde_json::Value;

#[test]
fn half_of_the_requests_that_meet_an_error_page_were_done() {
    for (fault, statuses) in [
        (Fault::Errors, &[502, 503][..]),
        (Fault::TextErrors, &[200][..]),
    ] {
        let mut shop = Shop::open(&BTCE);
        shop.server.set_fault(fault, 1_000_000);
        for _ in 0..80 {
            shop.now = shop.now + Span::SECOND;
            let fields = "&pair=btc_usd&type=buy&rate=1&amount=0.01";
            let reply = shop.reply("one", "Trade", fields);
            let ServerReply::Answer { status, body, .. } = reply else {
                panic!("nothing is lost here");
            };
            assert!(statuses.contains(&status));
            assert!(serde_json::from_slice::<Value>(&body).is_err());
        }
        let done = shop.server.orders("one").len();
        assert!((25..=55).contains(&done), "{done} of 80 done");
        assert_eq!(shop.server.audit().imbalance, None);
    }
}

#[test]
fn a_lost_reply_was_done() {
    let mut shop = Shop::open(&BTCE);
    shop.server.set_fault(Fault::LostReplies, 1_000_000);
    let fields = "&pair=btc_usd&type=buy&rate=1&amount=0.01";
    assert_eq!(shop.reply("one", "Trade", fields), ServerReply::Lost);
    assert_eq!(shop.server.orders("one").len(), 1);
}

#[test]
fn an_overloaded_exchange_does_nothing_for_some_seconds() {
    let mut shop = Shop::open(&BTCE);
    shop.server.set_fault(Fault::Lag, 1_000_000);
    shop.now = START + Span::secs(1);
    shop.tend();
    shop.server.set_fault(Fault::Lag, 0);
    let often = refusal("Requests too often");
    assert_eq!(shop.trade("one", "btc_usd", "buy", "1", "0.01"), often);
    assert_eq!(shop.call("one", "getInfo", ""), often);
    assert!(shop.server.orders("one").is_empty());
    assert!(shop.get("/api/3/info").contains("btc_usd"));
    shop.now = START + Span::secs(6);
    assert!(shop.call("one", "getInfo", "").contains("funds"));
}

#[test]
fn a_slow_cancel_is_answered_at_once_and_comes_later() {
    let mut shop = Shop::open(&BTCE);
    shop.trade("one", "btc_usd", "buy", "90", "2");
    shop.server.set_fault(Fault::SlowCancel, 1_000_000);
    let reply = shop.call("one", "CancelOrder", "&order_id=1");
    assert!(reply.contains("\"order_id\":1,\"funds\":{\"btc\":10,\"ltc\":0,\"usd\":820}"));
    let info = shop.call("one", "OrderInfo", "&order_id=1");
    assert!(info.contains("\"status\":0"), "{info}");
    let next = shop
        .server
        .handle_deadline(shop.now, &mut |_, _| ())
        .unwrap();
    assert!(next <= shop.now + Span::secs(1));
    shop.now = shop.now + Span::secs(2);
    shop.tend();
    let info = shop.call("one", "OrderInfo", "&order_id=1");
    assert!(info.contains("\"status\":2"), "{info}");
    let ended = shop.call("one", "CancelOrder", "&order_id=1");
    assert_eq!(ended, refusal("bad status"));
}

#[test]
fn frames_are_lost_and_streams_closed() {
    let listening = |fault: Fault| {
        let mut shop = Shop::open(&BTCE);
        shop.server.handle_stream(StreamNo(1), FEED, START);
        shop.tend();
        let subscribe = r#"{"event":"pusher:subscribe","data":{"channel":"btc_usd.depth"}}"#;
        shop.frame(StreamNo(1), subscribe);
        shop.server.set_fault(fault, 1_000_000);
        let fields = "&pair=btc_usd&type=buy&rate=1&amount=0.01";
        assert!(shop.pushed("one", "Trade", fields).is_empty());
        shop.server.poll_closed()
    };
    assert_eq!(listening(Fault::LostFrames), None);
    assert_eq!(listening(Fault::Disconnects), Some(StreamNo(1)));
}

#[test]
fn whatever_is_sent_money_is_conserved_and_nothing_panics() {
    for (seed, style) in [(1, &BTCE), (2, &YOBIT), (3, &BTCE), (4, &YOBIT)] {
        let mut settings = settings(style, seed);
        settings.markets[0].1 = Source::Flow {
            price: Price::whole(100),
        };
        let mut shop = Shop::of(settings, style);
        for fault in FAULTS {
            shop.server.set_fault(fault, 50_000);
        }
        shop.server.set_fault(Fault::SlowCancel, 500_000);
        let mut random = Random::new(seed);
        for step in 0..4_000_u64 {
            shop.now = shop.now + Span::millis(random.between(5, 60));
            shop.tend();
            let key = ["one", "two"][usize::try_from(random.below(2)).unwrap()];
            let (method, fields) = drawn_request(&mut random, step);
            shop.reply(key, method, &fields);
            let audit = shop.server.audit();
            assert_eq!(audit.imbalance, None, "seed {seed}");
            assert_eq!(audit.duplicates, 0);
            while shop.server.poll_closed().is_some() {}
        }
        for (name, count) in shop.server.fault_counts() {
            let is_of_feed = name == "lost-frames" || name == "disconnects";
            assert!(count > 0 || is_of_feed, "{name} never struck");
        }
        for account in shop.server.audit().accounts {
            let traded = account
                .orders
                .iter()
                .any(|order| order.filled.quantity.0 > 0);
            assert!(traded, "{} never traded", account.key);
        }
    }
}

#[test]
fn noise_is_answered_and_never_a_panic() {
    let mut shop = Shop::open(&BTCE);
    shop.server.handle_stream(StreamNo(1), FEED, START);
    let mut random = Random::new(11);
    let seeds = [
        "/api/3/depth/btc_usd-ltc_btc?limit=5&ignore_invalid=1",
        "/api/2/btc_usd/trades/20",
        "/tapi/3/getInfo",
        "method=Trade&pair=btc_usd&type=buy&rate=90.5&amount=0.02",
        "method=TradeHistory&from=1&count=2&order=ASC&since=3&pair=",
        r#"{"event":"pusher:subscribe","data":{"channel":"btc_usd.depth"}}"#,
    ];
    for step in 0..20_000_u64 {
        shop.now = START + Span::millis(25 * step);
        let drawn = seeds[usize::try_from(random.below(6)).unwrap()];
        let mut bytes = drawn.as_bytes().to_vec();
        for _ in 0..random.between(1, 4) {
            let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
            match random.below(3) {
                0 => bytes[at] = random.next_u64().to_le_bytes()[0],
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b"%&=-+./0e\"{"[at % 11]),
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = [format!("nonce={}&", 1 + step).as_bytes(), &bytes[..]].concat();
        let sign = signed(SECRET, &body);
        let headers = [("Key", "one"), ("Sign", sign.as_str())];
        for target in ["/tapi", text.as_str()] {
            let request = ServerRequest {
                headers: &headers,
                method: "POST",
                body: &body,
                ..public(target)
            };
            shop.server
                .handle_request(&request, shop.now, &mut |_, _| ());
        }
        let now = shop.now;
        shop.server
            .handle_frame(StreamNo(1), &bytes, now, &mut |_, _| ());
    }
    assert_eq!(shop.server.audit().imbalance, None);
}

#[test]
fn what_trades_say_is_what_funds_show() {
    let mut settings = settings(&BTCE, 5);
    settings.markets[0].1 = Source::Flow {
        price: Price::whole(100),
    };
    let mut shop = Shop::of(settings, &BTCE);
    let mut random = Random::new(5);
    for step in 0..600_u64 {
        shop.now = shop.now + Span::millis(random.between(20, 60));
        shop.tend();
        let key = ["one", "two"][usize::try_from(step % 2).unwrap()];
        let (method, fields) = drawn_request(&mut random, step);
        shop.reply(key, method, &fields);
    }
    for key in ["one", "two"] {
        shop.now = shop.now + Span::secs(2);
        let (mut btc, mut usd) = (Quantity::whole(10).0, Quantity::whole(1_000).0);
        let history = shop.call(key, "TradeHistory", "&count=1000");
        let history: Value = serde_json::from_str(&history).unwrap();
        let rows = history["return"].as_object().unwrap();
        assert!((10..1_000).contains(&rows.len()), "{} rows", rows.len());
        for row in rows.values() {
            let quantity: Quantity = row["amount"].to_string().parse().unwrap_or_default();
            let price: Price = row["rate"].to_string().parse().unwrap();
            let total = price.total_floor(quantity);
            if row["type"] == "buy" {
                btc += quantity.0 - quantity.ppm_ceil(2_000).0;
                usd -= total.0;
            } else {
                btc -= quantity.0;
                usd += total.0 - total.ppm_ceil(2_000).0;
            }
        }
        let sum = |currency: Currency| {
            let balances = shop.server.balances(key);
            let found = balances.iter().find(|(known, _)| *known == currency);
            found.map_or(0, |(_, balance)| balance.sum())
        };
        assert_eq!(sum(Currency::BTC), i128::from(btc));
        assert_eq!(sum(Currency::USD), i128::from(usd));
    }
}

#[test]
fn equal_seeds_answer_equal_bytes() {
    let run = || {
        let mut settings = settings(&BTCE, 9);
        settings.markets[0].1 = Source::Flow {
            price: Price::whole(100),
        };
        settings.faults = FAULTS.map(|fault| (fault, 100_000)).to_vec();
        let mut shop = Shop::of(settings, &BTCE);
        shop.server.handle_stream(StreamNo(1), FEED, START);
        let mut random = Random::new(9);
        let mut seen = Vec::new();
        for step in 0..500_u64 {
            shop.now = shop.now + Span::millis(50);
            seen.push(format!("{:?}", shop.tend()));
            let (method, fields) = drawn_request(&mut random, step);
            seen.push(format!("{:?}", shop.reply("one", method, &fields)));
        }
        (seen, shop.server.fault_counts())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_personality_belongs_to_its_exchange() {
    let with = |style: &'static Style, name: &str| {
        let mut settings = settings(style, 1);
        settings.personality = Some(name.to_owned());
        BtceServer::new(settings, style)
    };
    for habits in PERSONALITIES {
        let style = STYLES.into_iter().find(|style| style.name == habits.style);
        assert!(with(style.unwrap(), habits.name).is_ok());
    }
    for (style, name) in [(&BTCE, "yobit-2016"), (&YOBIT, "btce-2013"), (&BTCE, "x")] {
        let refused = with(style, name).err();
        assert!(matches!(refused, Some(SetupError::Personality { .. })));
    }
}

#[test]
fn btce_of_2013_names_the_order_that_a_taker_met_and_breaks_under_load() {
    let mut settings = settings(&BTCE, 1);
    settings.personality = Some("btce-2013".to_owned());
    settings.requests_per_s = 1_000;
    let mut shop = Shop::of(settings, &BTCE);
    shop.trade("one", "btc_usd", "sell", "101", "0.5");
    shop.trade("two", "btc_usd", "buy", "101.5", "0.75");
    let history = shop.call("two", "TradeHistory", "&order=ASC");
    assert!(
        history.contains("\"order_id\":1,\"is_your_order\":0"),
        "{history}"
    );
    assert!(
        history.contains("\"order_id\":3,\"is_your_order\":0"),
        "{history}"
    );
    let mut pages = 0;
    for _ in 0..300 {
        let reply = shop.reply("one", "getInfo", "");
        pages += u32::from(matches!(reply, ServerReply::Answer { status: 503, .. }));
    }
    assert!((100..=110).contains(&pages), "{pages} pages");
}

#[test]
fn a_setting_that_cannot_be_is_refused() {
    let mut twice = settings(&BTCE, 1);
    twice.markets.push(twice.markets[0].clone());
    let refused = BtceServer::new(twice, &BTCE).err();
    assert_eq!(refused, Some(SetupError::Market(btc_usd())));
    let mut twice = settings(&BTCE, 1);
    twice.accounts.push(account("one", "other"));
    let refused = BtceServer::new(twice, &BTCE).err();
    assert_eq!(refused, Some(SetupError::KeyTwice("one".to_owned())));
}

/// Draws a request, now and then one that makes no sense.
fn drawn_request(random: &mut Random, step: u64) -> (&'static str, String) {
    let rate = 9_000 + random.below(2_000);
    let amount = 1 + random.below(200);
    let kind = ["buy", "sell"][usize::try_from(random.below(2)).unwrap()];
    match random.below(12) {
        0..=5 => (
            "Trade",
            format!(
                "&pair=btc_usd&type={kind}&rate={}.{:02}&amount=0.{amount:03}",
                rate / 100,
                rate % 100
            ),
        ),
        6 => (
            "Trade",
            format!("&pair=btc_usd&type={kind}&rate={rate}e{amount}&amount=%ff{step}"),
        ),
        7 | 8 => (
            "CancelOrder",
            format!("&order_id={}", random.below(step + 1)),
        ),
        9 => ("ActiveOrders", "&pair=".to_owned()),
        10 => ("TradeHistory", format!("&from={amount}&count={rate}")),
        _ => ("OrderInfo", format!("&order_id={}", random.below(step + 1))),
    }
}
