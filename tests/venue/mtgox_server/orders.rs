//! The life of orders, the account and its ledger.

use expressnet::model::currency::Currency;
use expressnet::model::ids::OrderId;
use expressnet::model::number::Quantity;
use expressnet::model::time::Span;
use expressnet::venue::Server;
use expressnet::venue::serving::ServerSettings;
use serde_json::{Value, json};

use super::world::{KEY, OTHER, START, World, account, level, order, pair, settings};

#[test]
fn an_order_is_named_first_and_seen_by_the_engine_afterwards() {
    let mut world = World::new();
    assert!(world.open(1, "/mtgox?Channel=none"));
    world.listen(1);
    world.heard(1);
    let oid = world.add("bid", "0.4", Some("95"));
    assert_eq!(oid.len(), 36);
    assert!(world.frames.is_empty());
    let orders = world.orders();
    assert_eq!(
        (&orders[0]["oid"], &orders[0]["status"]),
        (&json!(oid), &json!("pending"))
    );
    assert_eq!(
        world
            .server
            .levels(pair("BTC/USD"), expressnet::model::market::Side::Bid)
            .len(),
        3
    );
    world.run();
    let news = ["pending", "executing", "post-pending", "open"];
    assert_eq!(world.news(1), news.map(|word| format!("{word} 0.40000000")));
    let amount = |int: &str, value: &str| {
        json!({
            "value": value, "value_int": int, "display": format!("{value}\u{a0}BTC"),
            "display_short": format!("{}\u{a0}BTC", &value[..4]), "currency": "BTC",
        })
    };
    let row = world.orders().remove(0);
    let priority = row["priority"].as_str().unwrap();
    assert_eq!(
        row,
        json!({
            "oid": oid, "currency": "USD", "item": "BTC", "type": "bid",
            "amount": amount("40000000", "0.40000000"),
            "effective_amount": amount("40000000", "0.40000000"),
            "invalid_amount": amount("0", "0.00000000"),
            "price": {
                "value": "95.00000", "value_int": "9500000", "display": "$95.00000",
                "display_short": "$95.00", "currency": "USD",
            },
            "status": "open", "date": START.0 / 1_000_000_000, "priority": priority, "actions": [],
        })
    );
    let (_, info) = world.post("/api/2/money/info", "");
    let wallet = &info["data"]["Wallets"]["USD"];
    assert_eq!(wallet["Balance"]["value_int"], "100000000");
    assert_eq!(wallet["Open_Orders"]["value_int"], "3800000");
}

#[test]
fn a_fill_is_told_in_wallets_trades_and_orders() {
    let mut world = World::new();
    assert!(world.open(1, "/mtgox?Channel=none"));
    world.listen(1);
    world.heard(1);
    let oid = world.add("bid", "1.5", Some("100"));
    assert_eq!(world.result("bid", &oid)["error"], "Order not found");
    world.run();
    let frames = world.heard(1);
    let kinds: Vec<&str> = frames
        .iter()
        .map(|frame| match frame["private"].as_str().unwrap() {
            "user_order" => frame["user_order"]["status"].as_str().unwrap(),
            "wallet" => frame["wallet"]["op"].as_str().unwrap(),
            kind => kind,
        })
        .collect();
    let expected = [
        "pending",
        "executing",
        "in",
        "fee",
        "spent",
        "trade",
        "post-pending",
        "open",
    ];
    assert_eq!(kinds, expected);
    let fee = &frames[3]["wallet"];
    assert_eq!(fee["amount"]["value_int"], "600000");
    assert_eq!(fee["balance"]["value_int"], "1099400000");
    assert_eq!(fee["ref"], Value::Null);
    let trade = &frames[5];
    assert_ne!(trade["channel"], "dbf1dee9-4f2e-4a08-8cb7-748919a71b21");
    assert_eq!(trade["trade"]["type"], "trade");
    assert_eq!(trade["trade"]["price"], 100);
    assert_eq!(frames[7]["user_order"]["amount"]["value_int"], "50000000");

    let result = world.result("bid", &oid);
    let result = &result["data"];
    assert_eq!(result["order_id"], oid);
    assert_eq!(result["trades"][0]["trade_id"], trade["trade"]["tid"]);
    assert_eq!(result["trades"][0]["spent"]["value_int"], "10000000");
    assert_eq!(result["total_spent"]["value_int"], "10000000");
    assert_eq!(result["total_amount"]["value_int"], "100000000");
    assert_eq!(result["avg_cost"]["value_int"], "10000000");
    assert_eq!(world.result("ask", &oid)["error"], "Order not found");

    world.add_as(OTHER, "ask", "0.5", Some("100"));
    world.run();
    let news = world.news(1);
    assert_eq!(news, ["completed_passive"]);
    assert!(world.orders().is_empty());
    world.check_sums();
}

#[test]
fn fees_are_rounded_up_for_every_trade_and_the_ledger_says_so() {
    let mut world = World::new();
    world.quote(&[], &[level("97.96898", "0.00010789"), level("98", "1")]);
    let oid = world.add("bid", "0.01", Some("98"));
    world.run();
    let rows = world.history("BTC");
    assert_eq!(rows.len(), 5);
    let (fee, bought) = (&rows[2], &rows[3]);
    let tid = fee["Trade"]["tid"].as_str().unwrap();
    assert_eq!(
        (&fee["Type"], &bought["Type"]),
        (&json!("fee"), &json!("in"))
    );
    assert_eq!(fee["Value"]["value_int"], "65");
    assert_eq!(bought["Value"]["value_int"], "10789");
    assert_eq!(fee["Balance"]["value_int"], "1000010724");
    assert_eq!(fee["Index"], "3");
    let info = format!("BTC bought: [tid:{tid}] 0.00010789\u{a0}BTC at $97.96898");
    assert_eq!(bought["Info"], info);
    assert_eq!(fee["Info"], format!("{info} (0.6% fee)"));
    assert_eq!(
        (&fee["Link"][1], &fee["Link"][2]),
        (&json!("Money_Trade"), &json!(tid))
    );
    assert_eq!(fee["Trade"]["oid"], oid);
    assert_eq!(fee["Trade"]["app"], Value::Null);
    assert_eq!(fee["Trade"]["Amount"]["value_int"], "10789");
    let rows = world.history("USD");
    assert_eq!(rows[1]["Type"], "spent");
    // 0.00010789 at 97.96898 is 0.01056987..., in steps of 1e-5.
    assert_eq!(rows[1]["Value"]["value_int"], "1056");
    assert_eq!(rows[2]["Type"], "deposit");
    let sold = world.add("ask", "1", Some("50"));
    world.quote(&[level("50.00001", "1")], &[]);
    world.run();
    assert_eq!(
        world.result("ask", &sold)["data"]["trades"][0]["type"],
        "ask"
    );
    let rows = world.history("USD");
    let kinds = [&rows[0]["Type"], &rows[1]["Type"]];
    assert_eq!(kinds, ["fee", "earned"]);
    assert_eq!(rows[0]["Value"]["value_int"], "30001");
    assert_eq!(world.history("BTC")[0]["Type"], "out");
    world.check_sums();
}

#[test]
fn a_ledger_has_pages_of_fifty_newest_first() {
    let mut world = World::new();
    for _ in 0..60 {
        world
            .server
            .credit(KEY, Currency::USD, Quantity::whole(1), world.now)
            .unwrap();
    }
    let mut page = |number: &str| {
        let form = format!("currency=USD&page={number}");
        world.post("/api/2/money/wallet/history", &form).1["data"].clone()
    };
    let first = page("1");
    assert_eq!(
        [
            &first["records"],
            &first["current_page"],
            &first["max_page"],
            &first["max_results"]
        ],
        [&json!("61"), &json!(1), &json!(2), &json!(50)]
    );
    assert_eq!(first["result"].as_array().unwrap().len(), 50);
    assert_eq!(first["result"][0]["Index"], "61");
    let second = page("2");
    assert_eq!(second["result"].as_array().unwrap().len(), 11);
    assert_eq!(second["result"][10]["Index"], "1");
    assert_eq!(page("3")["result"], json!([]));
    assert_eq!(page("x")["current_page"], 1);
    let wrong = world.post("/api/2/money/wallet/history", "currency=usd").1;
    assert_eq!(wrong["error"], "Invalid parameter \"currency\"");
    let debited = world
        .server
        .debit(KEY, Currency::USD, Quantity::whole(1), world.now);
    assert_eq!(debited, Ok(()));
    assert_eq!(world.history("USD")[0]["Type"], "withdraw");
    world.check_sums();
}

#[test]
fn unfunded_orders_are_listed_and_revive_by_age() {
    let mut world = World::with(ServerSettings {
        accounts: vec![
            account(KEY, &[("USD", "10")]),
            account(OTHER, &[("BTC", "9")]),
        ],
        ..settings()
    });
    assert!(world.open(1, "/mtgox?Channel=none"));
    world.listen(1);
    world.heard(1);
    let older = world.add("bid", "1", Some("95"));
    world.add("bid", "1", Some("95"));
    world.run();
    assert_eq!(
        world.news(1)[4..],
        ["executing 1.00000000", "invalid 1.00000000"]
    );
    let rows = world.orders();
    assert_eq!(
        (&rows[0]["status"], &rows[1]["status"]),
        (&json!("invalid"), &json!("invalid"))
    );
    assert_eq!(rows[0]["effective_amount"]["value_int"], "0");
    assert_eq!(rows[0]["invalid_amount"]["value_int"], "100000000");
    let (_, book) = world.get("/api/1/BTCUSD/fulldepth?raw");
    assert_eq!(book["bids"].as_array().unwrap().len(), 3);
    let credited = world
        .server
        .credit(KEY, Currency::USD, Quantity::whole(90), world.now);
    assert_eq!(credited, Ok(()));
    world.run();
    let rows = world.orders();
    assert_eq!(
        (&rows[0]["oid"], &rows[0]["status"]),
        (&json!(older), &json!("open"))
    );
    assert_eq!(rows[1]["status"], "invalid");
    assert_eq!(
        world.news(1),
        ["executing", "post-pending", "open"].map(|word| format!("{word} 1.00000000"))
    );
    world.cancel(&older);
    world.run();
    let rows = world.orders();
    assert_eq!((rows.len(), &rows[0]["status"]), (1, &json!("open")));
    world.check_sums();
}

#[test]
fn an_order_without_a_price_takes_what_it_can_pay() {
    let mut world = World::with(ServerSettings {
        accounts: vec![account(KEY, &[("USD", "120"), ("BTC", "0.5")])],
        ..settings()
    });
    assert!(world.open(1, "/mtgox?Channel=none"));
    world.listen(1);
    world.heard(1);
    let oid = world.add("bid", "5", None);
    world.run();
    let news = world.news(1);
    assert_eq!(news[..2], ["pending 5.00000000", "executing 5.00000000"]);
    assert_eq!(news[2..], ["completed_passive", "completed_active"]);
    let result = world.result("bid", &oid);
    let trades = result["data"]["trades"].as_array().unwrap();
    assert_eq!(trades.len(), 2);
    assert_eq!(trades[0]["properties"], "market");
    assert_eq!(trades[1]["price"]["value_int"], "10100000");
    // One at 100 leaves 20 dollars, which buy 0.19801980 at 101.
    assert_eq!(result["data"]["total_amount"]["value_int"], "119801980");
    let ask = world.add("ask", "9", None);
    world.run();
    let sold = world.result("ask", &ask);
    let left = sold["data"]["total_amount"]["value_int"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(left, "169083168");
    world.quote(&[], &[]);
    let nothing = world.add("ask", "1", None);
    world.run();
    let empty = world.result("ask", &nothing);
    assert_eq!(empty["result"], "success");
    assert_eq!(empty["data"]["trades"], json!([]));
    assert_eq!(empty["data"]["total_amount"]["value_int"], "0");
    assert!(world.orders().is_empty());
    world.check_sums();
}

#[test]
fn a_cancel_is_taken_first_and_done_later() {
    let mut world = World::new();
    assert!(world.open(1, "/mtgox?Channel=none"));
    world.listen(1);
    let oid = world.add("bid", "1", Some("95"));
    world.run();
    world.heard(1);
    let (status, reply) = world.cancel(&oid);
    assert_eq!((status, &reply["data"]["oid"]), (200, &json!(oid)));
    assert_eq!(reply["data"]["qid"].as_str().unwrap().len(), 36);
    assert_eq!(world.orders()[0]["status"], "open");
    world.run();
    let removal = world.heard_of(1, "user_order");
    assert_eq!(removal, [json!({"oid": oid, "reason": "requested"})]);
    assert!(world.orders().is_empty());
    assert_eq!(
        world.cancel(&oid).1,
        json!({"result": "error", "error": "Order not found"})
    );
    let others = world.add_as(OTHER, "bid", "1", Some("95"));
    assert_eq!(world.cancel(&others).1["error"], "Order not found");
    assert_eq!(world.cancel("nonsense").1["error"], "Order not found");
    let prefixed = world.post_as(
        OTHER,
        "/api/2/BTCUSD/money/order/cancel",
        &format!("oid={others}"),
    );
    assert_eq!(prefixed.1["result"], "success");
    world.check_sums();
}

#[test]
fn wrong_parameters_are_named() {
    let mut world = World::new();
    for (form, error) in [
        (
            order("bid", "0.00999999", Some("90")),
            "Order amount is too low",
        ),
        ("type=bid&price_int=1".to_owned(), "Order amount is too low"),
        (
            order("buy", "1", None),
            "Invalid parameter \"type\" (should be ask or bid)",
        ),
        (
            "amount_int=100000000".to_owned(),
            "Invalid parameter \"type\" (should be ask or bid)",
        ),
        (
            "type=bid&amount_int=-1".to_owned(),
            "Invalid parameter \"amount_int\"",
        ),
        (
            "type=bid&amount_int=9999999999999999999".to_owned(),
            "Invalid parameter \"amount_int\"",
        ),
        (
            "type=bid&amount_int=1000000&price_int=1e5".to_owned(),
            "Invalid parameter \"price_int\"",
        ),
        (
            "type=bid&amount=1&price=1.000001".to_owned(),
            "Invalid parameter \"price_int\"",
        ),
        (
            "type=bid&amount=x".to_owned(),
            "Invalid parameter \"amount\"",
        ),
    ] {
        let (status, reply) = world.post("/api/1/BTCUSD/order/add", &form);
        assert_eq!(
            (status, reply),
            (200, json!({"result": "error", "error": error})),
            "{form}"
        );
    }
    let no_pair = world.post("/api/2/money/order/add", &order("bid", "1", None));
    assert_eq!(no_pair.1["error"], "Unknown currency pair");
    assert!(world.orders().is_empty());
    let (_, old) = world.post(
        "/api/2/BTCUSD/money/order/add",
        "type=bid&amount=0.5&price=90.5&more=1",
    );
    assert_eq!(old["result"], "success");
    assert_eq!(world.orders()[0]["price"]["value_int"], "9050000");
}

#[test]
fn a_quote_has_all_its_digits() {
    let mut world = World::new();
    let mut quote = |form: &str| world.post("/api/2/BTCUSD/money/order/quote", form).1;
    assert_eq!(
        quote("type=bid&amount=150000000")["data"],
        json!({"amount": 15_050_000})
    );
    assert_eq!(
        quote("type=ask&amount=23769001")["data"]["amount"].to_string(),
        "2139210.09"
    );
    assert_eq!(
        quote("type=ask&amount=999900000000")["error"],
        "Not enough depth"
    );
    assert_eq!(
        quote("type=ask&amount=0")["error"],
        "Invalid parameter \"amount\""
    );
}

#[test]
fn the_account_tells_rights_wallets_and_fee() {
    let mut world = World::with(ServerSettings {
        accounts: vec![super::world::AccountSettings {
            may_withdraw: true,
            ..account(KEY, &[("USD", "1000"), ("BTC", "2")])
        }],
        ..settings()
    });
    world.add("bid", "1", Some("100"));
    world.run();
    let (_, info) = world.post("/api/1/generic/private/info", "");
    let info = &info["return"];
    assert_eq!(info["Rights"], json!(["get_info", "trade", "withdraw"]));
    assert_eq!(info["Trade_Fee"].to_string(), "0.6");
    assert_eq!(info["Monthly_Volume"]["value_int"], "100000000");
    let wallet = &info["Wallets"]["BTC"];
    assert_eq!(wallet["Balance"]["value_int"], "299400000");
    assert_eq!(wallet["Operations"], 3);
    assert_eq!(wallet["Monthly_Withdraw_Limit"], Value::Null);
    assert_eq!(wallet["Max_Withdraw"]["value_int"], "40000000000");
    assert_eq!(
        info["Wallets"]["USD"]["Max_Withdraw"]["display"],
        "$1,000.00000"
    );
    for path in ["/api/1/generic/info", "/api/2/BTCUSD/money/info"] {
        assert_eq!(world.post(path, "").1["result"], "success", "{path}");
    }
    let mut plain = World::new();
    let (_, info) = plain.post("/api/2/money/info", "");
    assert_eq!(info["data"]["Rights"], json!(["get_info", "trade"]));
}

#[test]
fn version_0_trades_and_answers_with_lists() {
    let mut world = World::new();
    let (_, bought) = world.post("/api/0/buyBTC.php", "amount=0.5&price=85");
    let oid = bought["oid"].as_str().unwrap().to_owned();
    assert_eq!(bought["orders"][0]["real_status"], "pending");
    world.run();
    let (_, listed) = world.post("/api/0/getOrders.php", "");
    let row = &listed["orders"][0];
    assert_eq!(
        *row,
        json!({
            "oid": oid, "currency": "USD", "item": "BTC", "type": 2, "amount": "0.50000000",
            "amount_int": "50000000", "price": "85.00000", "price_int": "8500000", "status": 1,
            "real_status": "open", "dark": 0, "date": START.0 / 1_000_000_000,
            "priority": row["priority"],
        })
    );
    assert_eq!(
        (&listed["usds"], &listed["btcs"]),
        (&json!("1000"), &json!("10"))
    );
    let (_, sold) = world.post("/api/0/sellBTC.php", "amount=1&price=");
    assert!(sold["oid"].is_string());
    world.run();
    let (_, left) = world.post("/api/0/cancelOrder.php", &format!("oid={oid}&type=2"));
    assert_eq!(left["new_btcs"]["value_int"], "900000000");
    world.run();
    assert_eq!(
        world.post("/api/0/getOrders.php", "").1["orders"],
        json!([])
    );
    let (_, funds) = world.post("/api/0/getFunds.php", "");
    assert_eq!(funds["usds"], "1089.46");
    assert_eq!(funds.get("orders"), None);
    assert_eq!(
        world.post("/api/0/info.php", "").1["Rights"],
        json!(["get_info", "trade"])
    );
    let (_, low) = world.post("/api/0/buyBTC.php", "amount=0.001&price=95");
    assert_eq!(low, json!({"error": "Order amount is too low"}));
    let (_, none) = world.post("/api/0/cancelOrder.php", "oid=1&type=1");
    assert_eq!(none, json!({"error": "Order not found"}));
    world.check_sums();
}

#[test]
fn an_order_that_meets_its_own_account_is_removed() {
    let mut world = World::new();
    world.add("ask", "1", Some("95"));
    let oid = world.add("bid", "1", Some("95"));
    world.run();
    assert_eq!(world.orders().len(), 1);
    assert_eq!(world.cancel(&oid).1["error"], "Order not found");
    world.check_sums();
}

#[test]
fn the_audit_names_orders_by_the_venues_own_numbers() {
    let mut world = World::new();
    world.add("bid", "2", None);
    world.add_as(OTHER, "ask", "1", Some("200"));
    world.run();
    let audit = world.server.audit();
    assert_eq!((audit.duplicates, audit.imbalance), (0, None));
    let (first, other) = (&audit.accounts[0], &audit.accounts[1]);
    assert_eq!((first.key.as_str(), other.key.as_str()), (KEY, OTHER));
    assert_eq!(
        (first.orders[0].id, other.orders[0].id),
        (OrderId(1), OrderId(2))
    );
    assert_eq!(first.orders[0].filled.quantity, Quantity::whole(2));
    assert_eq!(first.orders[0].filled.total, Quantity::whole(201));
    assert_eq!(first.orders[0].filled.fee, Quantity(1_200_000));
    world.wait(Span::SECOND);
    assert_eq!(world.server.audit(), audit);
}
