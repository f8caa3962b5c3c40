//! Separate processes trade live beside served exchanges of the old dialects, whose names, nonces,
//! noise and lag are those of the time.

use expressnet::journal::record::Record;
use expressnet::model::market::Side;
use expressnet::model::random::Random;
use expressnet::shell::store::Store;
use serde_json::Value;

use crate::shell::process::{Mode, Node, Venue};
use crate::shell::processes::{assert_at_rest, assert_trading, darknet};
use crate::shell::world::Folder;

/// What MtGox was like on a bad day.
const NOISE: [&str; 6] = [
    "--fault",
    "invalid-calls=100000",
    "--fault",
    "lag=20000",
    "--fault",
    "reordered-reports=100000",
];

#[test]
fn mtgox_and_btce_are_traded_live_and_both_books_agree() {
    let folder = Folder::new();
    let (alpha, beta) = (
        Venue::serve_as("mtgox", "alpha", "100", 3, &NOISE),
        Venue::serve_as("btce", "beta", "103", 4, &[]),
    );
    let mut nodes = darknet(&folder, &alpha, &beta, Mode::Live);
    for node in &mut nodes {
        node.run(&[]);
    }
    assert_trading(&nodes);
    assert_at_rest(&nodes);
    finish(nodes, vec![alpha, beta]);
}

/// Each time both are trading, one of them is killed after a few more commits of its journal;
/// `EXPRESSNET_KILLS` says how often.
#[test]
fn nodes_beside_mtgox_and_btce_survive_kills() {
    let kills = std::env::var("EXPRESSNET_KILLS").map_or(3, |kills| kills.parse().unwrap());
    let folder = Folder::new();
    let (alpha, beta) = (
        Venue::serve_as("mtgox", "alpha", "100", 5, &NOISE),
        Venue::serve_as("btce", "beta", "103", 6, &[]),
    );
    let mut nodes = darknet(&folder, &alpha, &beta, Mode::Live);
    for node in &mut nodes {
        node.run(&[]);
    }
    let mut random = Random::new(7);
    let written = |status: &Value| status["journal_commit"].as_u64().unwrap();
    for kill in 0..kills {
        assert_trading(&nodes);
        let victim = kill % 2;
        let until = written(&nodes[victim].wait(|_| true)) + random.below(10);
        nodes[victim].wait(|status| written(status) >= until);
        nodes[victim].kill();
        nodes[victim].run(&[]);
        nodes[victim].wait(|status| status["running"] == true);
    }
    assert_trading(&nodes);
    assert_at_rest(&nodes);
    finish(nodes, vec![alpha, beta]);
}

#[test]
fn nothing_is_fired_on_a_book_whose_engine_is_a_minute_behind() {
    let folder = Folder::new();
    let slow = ["--personality", "mtgox-lag-60"];
    let (alpha, beta) = (
        Venue::serve_as("mtgox", "alpha", "100", 7, &slow),
        Venue::serve_as("btce", "beta", "103", 8, &[]),
    );
    let mut nodes = darknet(&folder, &alpha, &beta, Mode::Live);
    for node in &mut nodes {
        node.run(&[]);
    }
    for node in &nodes[..2] {
        let skipped = |status: &Value| status["skipped"]["engine_lag"].as_u64().unwrap_or(0);
        let status = node.wait(|status| skipped(status) >= 5);
        assert_eq!(status["counts"]["legs_fired"], 0, "{status:#}");
    }
    for node in &mut nodes {
        assert!(node.stop());
    }
    for venue in [alpha, beta] {
        let books = venue.close();
        assert_eq!(books["accounts"][0]["orders"], 0, "{books}");
    }
}

/// Ends everything, and compares what the nodes' journals say was traded with the venues' books.
fn finish(mut nodes: Vec<Node>, venues: Vec<Venue>) {
    for node in &mut nodes {
        assert!(node.stop());
    }
    assert_books(&nodes, venues);
}

#[track_caller]
fn assert_books(nodes: &[Node], venues: Vec<Venue>) {
    for (node, venue) in nodes.iter().zip(venues) {
        let (base, quote) = traded(node);
        let name = venue.name;
        let books = venue.close();
        let balance = |currency: &str| -> i128 {
            let text = books["accounts"][0]["balances"][currency].as_str().unwrap();
            text.parse::<expressnet::model::number::Quantity>()
                .unwrap()
                .0
                .into()
        };
        let whole = |units: i128| units * 100_000_000;
        assert_eq!(balance("BTC") - whole(1_000), base, "{name}: {books}");
        assert_eq!(balance("USD") - whole(100_000), quote, "{name}: {books}");
        assert_sound_books(&books);
    }
}

fn assert_sound_books(books: &Value) {
    assert!(books["imbalance"].is_null(), "{books}");
    assert_eq!(
        books["accounts"][0]["held"],
        serde_json::json!({}),
        "{books}"
    );
    let filled = books["accounts"][0]["orders_filled"].as_u64().unwrap();
    assert!(filled > 0, "{books}");
}

/// Sums what a node's journal says of its orders: signed units of base and quote.
fn traded(node: &Node) -> (i128, i128) {
    let (_, bodies) = Store::open(&node.home.join("journal.sqlite")).unwrap();
    let mut sides = std::collections::BTreeMap::new();
    let mut ended = std::collections::BTreeMap::new();
    for body in &bodies {
        let record = Record::decode(body).unwrap();
        if let Record::Drawn { draw, side, .. } = record {
            sides.insert(draw.order, side);
        } else if let Record::Ended { order, filled, .. } = record {
            ended.insert(order, filled);
        }
    }
    let (mut base, mut quote) = (0, 0);
    for (order, filled) in ended
        .iter()
        .filter(|(_, filled)| !filled.quantity.is_zero())
    {
        let (quantity, total) = (i128::from(filled.quantity.0), i128::from(filled.total.0));
        let fee = i128::from(filled.fee.0);
        match sides[order] {
            Side::Bid => {
                base += quantity - fee;
                quote -= total;
            }
            Side::Ask => {
                base -= quantity;
                quote += total - fee;
            }
        }
    }
    (base, quote)
}
