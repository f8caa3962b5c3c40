//! Orders, balances and histories of the served BTC-e dialect.

use crate::venue::btce_server::{START, Shop, refusal};
use expressnet::model::currency::Currency;
use expressnet::model::number::Quantity;
use expressnet::model::time::Span;
use expressnet::venue::Server;
use expressnet::venue::btce::style::{BTCE, YOBIT};

#[test]
fn getinfo_tells_funds_without_what_orders_hold() {
    let mut shop = Shop::open(&BTCE);
    let second = START.0 / Span::SECOND.0;
    let expected = |funds: &str, withdraw: u8, rows: u8, open: u8| {
        format!(
            "{{\"success\":1,\"return\":{{\"funds\":{{{funds}}},\"rights\":{{\"info\":1,\
             \"trade\":1,\"withdraw\":{withdraw}}},\"transaction_count\":{rows},\
             \"open_orders\":{open},\"server_time\":{second}}}}}"
        )
    };
    let full = "\"btc\":10,\"ltc\":0,\"usd\":1000";
    assert_eq!(shop.call("one", "getInfo", ""), expected(full, 0, 2, 0));
    assert_eq!(shop.call("two", "getInfo", ""), expected(full, 1, 2, 0));
    shop.trade("one", "btc_usd", "buy", "90", "2");
    let held = "\"btc\":10,\"ltc\":0,\"usd\":820";
    assert_eq!(shop.call("one", "getInfo", ""), expected(held, 0, 2, 1));
}

#[test]
fn trade_answers_what_was_filled_and_names_only_what_rests() {
    let mut shop = Shop::open(&BTCE);
    assert_eq!(
        shop.trade("one", "btc_usd", "buy", "101.5", "0.1"),
        "{\"success\":1,\"return\":{\"received\":0.1,\"remains\":0,\"order_id\":0,\
         \"funds\":{\"btc\":10.0998,\"ltc\":0,\"usd\":989.85}}}"
    );
    assert_eq!(
        shop.trade("one", "btc_usd", "buy", "101.500", "1"),
        "{\"success\":1,\"return\":{\"received\":0.9,\"remains\":0.1,\"order_id\":2,\
         \"funds\":{\"btc\":10.998,\"ltc\":0,\"usd\":888.35}}}"
    );
    assert_eq!(
        shop.trade("one", "btc_usd", "sell", "200", "0.5"),
        "{\"success\":1,\"return\":{\"received\":0,\"remains\":0.5,\"order_id\":3,\
         \"funds\":{\"btc\":10.498,\"ltc\":0,\"usd\":888.35}}}"
    );
    assert_eq!(
        shop.call("one", "CancelOrder", "&order_id=2"),
        "{\"success\":1,\"return\":{\"order_id\":2,\
         \"funds\":{\"btc\":10.498,\"ltc\":0,\"usd\":898.5}}}"
    );
    assert_eq!(shop.server.audit().imbalance, None);
}

#[test]
fn yobit_tells_more_of_an_order() {
    let mut shop = Shop::open(&YOBIT);
    let second = START.0 / Span::SECOND.0;
    assert_eq!(
        shop.trade("one", "btc_usd", "buy", "101.5", "0.1"),
        format!(
            "{{\"success\":1,\"return\":{{\"received\":0.1,\"remains\":0,\"order_id\":0,\
             \"init_order_id\":1,\"funds\":{{\"btc\":10.0998,\"ltc\":0,\"usd\":989.85}},\
             \"funds_incl_orders\":{{\"btc\":10.0998,\"ltc\":0,\"usd\":989.85}},\
             \"server_time\":{second}}}}}"
        )
    );
    shop.trade("one", "btc_usd", "buy", "90.000000009", "1.000000009");
    assert_eq!(
        shop.call("one", "OrderInfo", "&order_id=2"),
        format!(
            "{{\"success\":1,\"return\":{{\"2\":{{\"pair\":\"btc_usd\",\"type\":\"buy\",\
             \"start_amount\":1,\"amount\":1,\"rate\":90,\"timestamp_created\":\"{second}\",\
             \"status\":0}}}}}}"
        )
    );
    let info = shop.call("one", "getInfo", "");
    let funds = "\"funds\":{\"btc\":10.0998,\"ltc\":0,\"usd\":899.85},\
                 \"funds_incl_orders\":{\"btc\":10.0998,\"ltc\":0,\"usd\":989.85},\"rights\"";
    assert!(info.contains(funds), "{info}");
    let cancelled = shop.call("one", "CancelOrder", "&order_id=2");
    let end = format!("\"usd\":989.85}},\"server_time\":{second}}}}}");
    assert!(cancelled.ends_with(&end), "{cancelled}");
}

#[test]
fn yobit_lists_times_as_texts_and_nothing_as_a_success() {
    const NOTHING: &str = "{\"success\":1}";
    let mut shop = Shop::open(&YOBIT);
    let second = START.0 / Span::SECOND.0;
    assert_eq!(shop.call("one", "ActiveOrders", "&pair=btc_usd"), NOTHING);
    assert_eq!(shop.call("one", "TradeHistory", "&pair=btc_usd"), NOTHING);
    shop.trade("one", "btc_usd", "buy", "101.5", "0.1");
    assert_eq!(
        shop.call("one", "TradeHistory", "&pair=btc_usd"),
        format!(
            "{{\"success\":1,\"return\":{{\"1\":{{\"pair\":\"btc_usd\",\"type\":\"buy\",\
             \"amount\":0.1,\"rate\":101.5,\"order_id\":\"1\",\"is_your_order\":0,\
             \"timestamp\":\"{second}\"}}}}}}"
        )
    );
    shop.trade("one", "btc_usd", "buy", "90", "1");
    assert_eq!(
        shop.call("one", "ActiveOrders", "&pair=btc_usd"),
        format!(
            "{{\"success\":1,\"return\":{{\"2\":{{\"pair\":\"btc_usd\",\"type\":\"buy\",\
             \"amount\":1,\"rate\":90,\"timestamp_created\":\"{second}\",\"status\":0}}}}}}"
        )
    );
}

#[test]
fn an_order_is_refused_in_the_words_of_btce() {
    let mut shop = Shop::open(&BTCE);
    let mut check = |fields: &str, error: &str| {
        assert_eq!(
            shop.call("one", "Trade", fields),
            refusal(error),
            "{fields}"
        );
    };
    check("", "invalid parameter: pair");
    check("&pair=usd_btc", "invalid parameter: pair");
    check("&pair=btc_usd", "invalid parameter: type");
    check("&pair=btc_usd&type=hold", "invalid parameter: type");
    let sell =
        |rate: &str, amount: &str| format!("&pair=btc_usd&type=sell&rate={rate}&amount={amount}");
    for rate in ["", "x", "-1", "0", "100.0001", "1e", "99999999999999"] {
        check(&sell(rate, "1"), "invalid parameter: rate");
    }
    for amount in ["", "x", "-1", "0", "99999999999999"] {
        check(&sell("100", amount), "invalid parameter: amount");
    }
    check(
        &sell("100", "0.000000001"),
        "You incorrectly entered one of fields.",
    );
    check(
        &sell("100", "1.123456789"),
        "You incorrectly entered one of fields.",
    );
    check(
        &sell("100", "0.00999999"),
        "Value BTC must be greater than 0.01 BTC.",
    );
    check(
        &sell("0.099", "1"),
        "Price per BTC must be greater than 0.1 USD.",
    );
    check(
        &sell("1000000.001", "1"),
        "Price per BTC must be less than 1000000 USD.",
    );
    check(
        &sell("100", "10.00000001"),
        "It is not enough BTC in the account for sale.",
    );
    check(
        "&pair=btc_usd&type=buy&rate=100&amount=10.00000001",
        "It is not enough USD in the account for purchase.",
    );
    check(
        "&pair=ltc_btc&type=buy&rate=0.019&amount=0.09",
        "Value LTC must be greater than 0.1 LTC.",
    );
    assert!(
        shop.trade("one", "btc_usd", "sell", "1e2", "0.01")
            .contains("order_id\":1")
    );
    assert_eq!(shop.server.orders("one").len(), 1);
}

#[test]
fn an_order_is_refused_with_a_number_at_yobit() {
    let mut shop = Shop::open(&YOBIT);
    let mut check = |fields: &str, code: u16, error: &str| {
        let expected = format!("{{\"success\":0,\"code\":{code},\"error\":\"{error}\"}}");
        assert_eq!(shop.call("one", "Trade", fields), expected, "{fields}");
    };
    let order = |kind: &str, rate: &str, amount: &str| {
        format!("&pair=btc_usd&type={kind}&rate={rate}&amount={amount}")
    };
    let text = "Count could not be less than 0.0001.";
    check(&order("buy", "100", "0.00009999"), 803, text);
    let text = "price could not be more than 10000.";
    check("&pair=ltc_btc&type=buy&rate=10001&amount=1", 806, text);
    let text = "cost could not be less than 0.0001.";
    check(&order("buy", "0.00000001", "1"), 807, text);
    let text = "Not enougth USD to create buy order.";
    check(&order("buy", "1000", "2"), 831, text);
    let text = "Not enougth BTC to create sell order.";
    check(&order("sell", "1000", "11"), 832, text);
    let unknown = shop.call("one", "CancelOrder", "&order_id=7");
    assert_eq!(
        unknown,
        "{\"success\":0,\"code\":833,\"error\":\"Order with id 7 was not found.\"}"
    );
    let wrong = shop.call("one", "Trade", &order("buy", "0.000000001", "1"));
    assert_eq!(wrong, refusal("invalid parameter: rate"));
    shop.trade("one", "btc_usd", "buy", "90", "1");
    shop.call("one", "CancelOrder", "&order_id=1");
    let ended = shop.call("one", "CancelOrder", "&order_id=1");
    assert!(ended.contains("\"code\":833"), "{ended}");
}

#[test]
fn orders_are_listed_looked_up_and_cancelled() {
    let mut shop = Shop::open(&BTCE);
    let second = START.0 / Span::SECOND.0;
    for method in ["ActiveOrders", "OrderList"] {
        assert_eq!(shop.call("one", method, ""), refusal("no orders"));
    }
    shop.trade("one", "btc_usd", "buy", "90", "2");
    shop.trade("one", "btc_usd", "sell", "99.25", "1.5");
    let row = |id: u64, kind: &str, amount: &str, rate: &str| {
        format!(
            "\"{id}\":{{\"pair\":\"btc_usd\",\"type\":\"{kind}\",\"amount\":{amount},\
             \"rate\":{rate},\"timestamp_created\":{second},\"status\":0}}"
        )
    };
    let (buy, sell) = (row(1, "buy", "2", "90"), row(2, "sell", "0.5", "99.25"));
    let both = format!("{{\"success\":1,\"return\":{{{buy},{sell}}}}}");
    for fields in ["", "&pair=", "&pair=btc_usd"] {
        assert_eq!(shop.call("one", "ActiveOrders", fields), both);
        assert_eq!(shop.call("one", "OrderList", fields), both);
    }
    let none = shop.call("one", "ActiveOrders", "&pair=ltc_btc");
    assert_eq!(none, refusal("no orders"));
    let wrong = shop.call("one", "ActiveOrders", "&pair=usd_btc");
    assert_eq!(wrong, refusal("invalid parameter: pair"));
    assert_eq!(shop.call("two", "ActiveOrders", ""), refusal("no orders"));

    shop.trade("one", "btc_usd", "buy", "102", "0.2");
    shop.call("one", "CancelOrder", "&order_id=1");
    shop.call("one", "CancelOrder", "&order_id=2");
    let mut status = |id: u64, start: &str, amount: &str, status: u8| {
        let info = shop.call("one", "OrderInfo", &format!("&order_id={id}"));
        let amounts = format!("\"start_amount\":{start},\"amount\":{amount},");
        let ends = format!("\"status\":{status}}}}}}}");
        assert!(info.contains(&amounts) && info.ends_with(&ends), "{info}");
    };
    status(1, "2", "2", 2);
    status(2, "1.5", "0.5", 3);
    status(3, "0.2", "0.2", 2);
    shop.trade("two", "btc_usd", "buy", "102", "0.2");
    let info = shop.call("two", "OrderInfo", "&order_id=4");
    assert!(
        info.contains("\"amount\":0,") && info.ends_with("\"status\":1}}}"),
        "{info}"
    );
    let mut check = |method: &str, fields: &str, error: &str| {
        assert_eq!(shop.call("one", method, fields), refusal(error));
    };
    check("CancelOrder", "&order_id=2", "bad status");
    check("CancelOrder", "&order_id=4", "invalid order");
    check("CancelOrder", "", "invalid parameter: order_id");
    check("OrderInfo", "&order_id=99", "invalid order");
    check("OrderInfo", "&order_id=x", "invalid parameter: order_id");
}

#[test]
fn the_trade_history_names_orders_that_trade_did_not() {
    let mut shop = Shop::open(&BTCE);
    let second = START.0 / Span::SECOND.0;
    assert_eq!(shop.call("one", "TradeHistory", ""), refusal("no trades"));
    shop.trade("one", "btc_usd", "sell", "101", "0.5");
    shop.now = shop.now + Span::secs(10);
    shop.trade("two", "btc_usd", "buy", "101.5", "0.75");
    let row = |id: u64, kind: &str, amount: &str, rate: &str, order: u64, maker: u8| {
        format!(
            "\"{id}\":{{\"pair\":\"btc_usd\",\"type\":\"{kind}\",\"amount\":{amount},\
             \"rate\":{rate},\"order_id\":{order},\"is_your_order\":{maker},\"timestamp\":{}}}",
            second + 10
        )
    };
    let history = |rows: &str| format!("{{\"success\":1,\"return\":{{{rows}}}}}");
    let made = row(1, "sell", "0.5", "101", 1, 1);
    assert_eq!(shop.call("one", "TradeHistory", ""), history(&made));
    let first = row(1, "buy", "0.5", "101", 2, 0);
    let next = row(2, "buy", "0.25", "101.5", 2, 0);
    let all = history(&format!("{next},{first}"));
    assert_eq!(shop.call("two", "TradeHistory", ""), all);
    assert_eq!(
        shop.call("two", "TradeHistory", "&pair=btc_usd&count=1000"),
        all
    );
    let since = shop.call("two", "TradeHistory", &format!("&since={second}"));
    assert_eq!(since, history(&format!("{first},{next}")));
    assert_eq!(
        shop.call("two", "TradeHistory", "&from_id=2&order=ASC"),
        history(&next)
    );
    let none = shop.call("two", "TradeHistory", &format!("&end={second}"));
    assert_eq!(none, refusal("no trades"));
    let none = shop.call("two", "TradeHistory", "&pair=ltc_btc");
    assert_eq!(none, refusal("no trades"));
    let wrong = shop.call("two", "TradeHistory", "&count=all");
    assert_eq!(wrong, refusal("invalid parameter: count"));
}

#[test]
fn money_from_outside_is_in_the_transactions() {
    let mut shop = Shop::open(&BTCE);
    let second = START.0 / Span::SECOND.0;
    shop.server
        .debit("one", Currency::BTC, Quantity::whole(3), START)
        .unwrap();
    shop.server
        .credit("one", Currency::USD, Quantity::whole(5), START)
        .unwrap();
    assert_eq!(
        shop.call("one", "TransHistory", "&count=2"),
        format!(
            "{{\"success\":1,\"return\":{{\"6\":{{\"type\":1,\"amount\":5,\"currency\":\"USD\",\
             \"desc\":\"USD Payment\",\"status\":2,\"timestamp\":{second}}},\"5\":{{\"type\":2,\
             \"amount\":3,\"currency\":\"BTC\",\"desc\":\"BTC Withdrawal\",\"status\":2,\
             \"timestamp\":{second}}}}}}}"
        )
    );
    let none = shop.call("one", "TransHistory", "&from=4");
    assert_eq!(none, refusal("no transactions"));
}

#[test]
fn what_needs_wallets_is_not_there() {
    let mut shop = Shop::open(&BTCE);
    let mut check = |key: &str, method: &str, fields: &str, error: &str| {
        assert_eq!(shop.call(key, method, fields), refusal(error), "{method}");
    };
    let denied = "api key dont have withdraw permission";
    check(
        "one",
        "WithdrawCoin",
        "&coinName=BTC&amount=1&address=1x",
        denied,
    );
    check(
        "two",
        "WithdrawCoin",
        "&coinName=BTC",
        "invalid parameter: amount",
    );
    check(
        "two",
        "WithdrawCoin",
        "&coinName=BTC&amount=1&address=1x",
        "not available",
    );
    check("two", "CreateCoupon", "", "invalid parameter: coinName");
    check(
        "two",
        "CreateCoupon",
        "&coinName=BTC&amount=1&receiver=x",
        "not available",
    );
    check("two", "RedeemCoupon", "&coupon=X", "not available");
    check(
        "one",
        "CoinDepositAddress",
        "&coinName=BTC",
        "not available",
    );
}

#[test]
fn an_order_that_meets_its_own_account_ends_there() {
    let mut shop = Shop::open(&BTCE);
    shop.trade("one", "btc_usd", "sell", "100", "1");
    let reply = shop.trade("one", "btc_usd", "buy", "100", "1");
    assert!(
        reply.contains("\"received\":0,\"remains\":0,\"order_id\":0,"),
        "{reply}"
    );
    assert!(shop.call("one", "ActiveOrders", "").contains("\"1\":{"));
    assert_eq!(shop.server.audit().imbalance, None);
}
