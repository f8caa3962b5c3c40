//! Separate processes trade with each other, in paper and live mode, and survive being killed.
//!
//! `EXPRESSNET_KILLS=200` makes the kill test long; without it a few kills are tried.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::shell::kills::owed;
use crate::shell::process::{Mode, Node, Venue};
use crate::shell::world::Folder;

#[test]
fn three_processes_trade_on_paper_and_an_unlisted_one_never_links() {
    let folder = Folder::new();
    let (alpha, beta) = (
        Venue::serve("alpha", "100", 1),
        Venue::serve("beta", "102", 2),
    );
    let mut nodes = darknet(&folder, &alpha, &beta, Mode::Paper);
    let mut stranger = Node::make(&folder, "d", None, None);
    stranger.list(&nodes[0]);
    for node in &mut nodes {
        node.run(&[]);
    }
    stranger.run(&[]);
    assert_trading(&nodes);
    let seen = stranger.wait(|_| true);
    assert_eq!(seen["peers"][0]["linked"], false);
    let listed = nodes[0].wait(|_| true);
    assert_eq!(listed["peers"].as_array().unwrap().len(), 2);
    for node in &mut nodes {
        assert!(node.stop());
    }
    for venue in [alpha, beta] {
        assert_eq!(
            venue.close()["accounts"][0]["orders"],
            0,
            "paper sends nothing"
        );
    }
}

#[test]
fn a_peer_that_is_added_to_running_nodes_links_at_once() {
    let folder = Folder::new();
    let mut one = Node::make(&folder, "one", None, None);
    let mut other = Node::make(&folder, "other", None, None);
    one.run(&[]);
    other.run(&[]);
    one.wait(|status| status["running"] == true);
    other.wait(|status| status["running"] == true);
    one.list(&other);
    other.list(&one);
    one.wait(|status| linked(status) == 1);
    let id = other.status().unwrap()["node"].as_str().unwrap().to_owned();
    one.cli(&["peer", "remove", &id]);
    other.wait(|status| linked(status) == 0);
}

#[test]
fn a_request_of_a_gigabyte_is_refused_and_the_socket_lives() {
    let folder = Folder::new();
    let mut node = Node::make(&folder, "a", None, None);
    node.run(&[]);
    node.wait(|status| status["running"] == true);
    let connect = || UnixStream::connect(node.home.join("control.sock"));
    let mut stream = connect().unwrap();
    let part = vec![b'x'; 1 << 20];
    let mut taken = 0;
    while taken < 1 << 30 && stream.write_all(&part).is_ok() {
        taken += part.len() as u64;
    }
    assert!(taken < 32 << 20, "took {taken} bytes");
    for bytes in [
        &b"\xFF\xFE\x00\n"[..],
        b"{\"verb\":\"status\"",
        b"[[[[[[[[\n",
        b"\n",
    ] {
        let mut stream = connect().unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        drop(stream.read_to_string(&mut answer));
        assert!(!answer.contains("\"ok\":true"), "{answer}");
    }
    assert!(node.status().is_some());
    assert!(node.stop());
}

#[test]
fn three_processes_trade_live_and_the_venues_agree() {
    let folder = Folder::new();
    let (alpha, beta) = (
        Venue::serve("alpha", "100", 3),
        Venue::serve("beta", "102", 4),
    );
    let mut nodes = darknet(&folder, &alpha, &beta, Mode::Live);
    for node in &mut nodes {
        node.run(&[]);
    }
    assert_trading(&nodes);
    for node in &mut nodes {
        assert!(node.stop());
        let owed = owed(node);
        assert!(
            owed.envelopes.is_empty(),
            "a clean stop leaves nothing to look up"
        );
        assert!(owed.legs.is_empty(), "{:?}", owed.legs);
    }
    assert_sound(vec![alpha, beta]);
}

#[test]
fn a_killed_node_comes_back_and_no_order_is_sent_twice() {
    let folder = Folder::new();
    let (alpha, beta) = (
        Venue::serve("alpha", "100", 5),
        Venue::serve("beta", "100", 6),
    );
    survive_kills(darknet(&folder, &alpha, &beta, Mode::Live));
    assert_sound(vec![alpha, beta]);
}

#[test]
fn a_node_on_paper_survives_kills_as_well() {
    let folder = Folder::new();
    let (alpha, beta) = (
        Venue::serve("alpha", "100", 7),
        Venue::serve("beta", "100", 8),
    );
    survive_kills(darknet(&folder, &alpha, &beta, Mode::Paper));
    for venue in [alpha, beta] {
        assert_eq!(venue.close()["accounts"][0]["orders"], 0);
    }
}

/// Kills the two traders in turn around named records and at random times; then all must be well.
fn survive_kills(mut nodes: Vec<Node>) {
    let kills = std::env::var("EXPRESSNET_KILLS").map_or(6, |kills| kills.parse().unwrap());
    nodes[2].run(&[]);
    nodes[1].run(&[]);
    let is_long = kills >= 100;
    let rehearsals = if is_long { 2 * POINTS.len() } else { 0 };
    let mut draw = 0x2545_F491_4F6C_DD1D_u64;
    let mut reached = 0;
    for kill in 0..rehearsals + kills {
        draw ^= draw << 13;
        draw ^= draw >> 7;
        draw ^= draw << 17;
        let (victim, other) = if kill % 2 == 0 { (0, 1) } else { (1, 0) };
        if kill >= rehearsals && kill % 3 == 0 {
            // The node beside no venue dies at any time and is back for the next round.
            nodes[2].kill();
            nodes[2].run(&[]);
        }
        let point = POINTS[kill / 2 % POINTS.len()];
        // Every point first, however long it takes; then at random.
        let (nth, patience_ms) = match kill < rehearsals {
            true => (1, 20_000),
            false => (1 + draw % 3, 500 + draw % 2_500),
        };
        nodes[victim].kill();
        nodes[victim].run(&["--crash-at", &format!("{point}:{nth}")]);
        let is_dead = nodes[victim].ends_within(Duration::from_millis(patience_ms));
        assert!(is_dead || kill >= rehearsals, "{point} was never written");
        reached += usize::from(is_dead);
        nodes[victim].kill();
        nodes[victim].run(&[]);
        nodes[victim].wait(|status| status["running"] == true);
        if kill > 0 {
            nodes[other].wait(|status| status["running"] == true);
        }
    }
    assert!(reached > 0, "no record was ever written");
    assert_trading(&nodes);
    assert_at_rest(&nodes);
    for node in &mut nodes {
        assert!(node.stop());
        let owed = owed(node);
        assert!(owed.envelopes.is_empty() && owed.legs.is_empty());
    }
}

/// Where a node is killed: around the records of a leg and of the envelope it draws on. The records
/// of a deal have a test of their own.
const POINTS: [&str; 14] = [
    "granted:before",
    "granted:after",
    "drawn:before",
    "drawn:after",
    "leg-fired:before",
    "leg-fired:after",
    "ended:before",
    "ended:after",
    "plan-closed:before",
    "plan-closed:after",
    "envelope-closed:before",
    "envelope-closed:after",
    "booted:before",
    "booted:after",
];

/// Three nodes of one owner that list each other: beside alpha, beside beta, beside none.
pub(super) fn darknet(folder: &Folder, alpha: &Venue, beta: &Venue, mode: Mode) -> Vec<Node> {
    let a = Node::make(folder, "a", Some((alpha, mode)), None);
    let b = Node::make(folder, "b", Some((beta, mode)), Some(&a));
    let c = Node::make(folder, "c", None, Some(&a));
    let nodes = vec![a, b, c];
    for (place, node) in nodes.iter().enumerate() {
        for (other, peer) in nodes.iter().enumerate() {
            if place != other {
                node.list(peer);
            }
        }
    }
    nodes
}

/// Waits until all are linked and both sides have filled legs.
#[track_caller]
pub(super) fn assert_trading(nodes: &[Node]) {
    for node in nodes {
        node.wait(|status| linked(status) == 2);
    }
    let filled = |status: &Value| status["counts"]["legs_filled"].as_u64().unwrap();
    let before: Vec<u64> = nodes[..2]
        .iter()
        .map(|node| filled(&node.wait(|_| true)))
        .collect();
    let grew = crate::shell::process::until(|| {
        let now: u64 = nodes[..2]
            .iter()
            .filter_map(|node| node.status().map(|status| filled(&status)))
            .sum();
        now >= before.iter().sum::<u64>().max(2)
    });
    assert!(grew.is_some(), "nothing was filled");
}

/// Lets no new plan begin, and waits until nothing is under way: no plan stays open, and no node
/// carries more imbalance than its owner allows.
#[track_caller]
pub(super) fn assert_at_rest(nodes: &[Node]) {
    for node in nodes {
        node.cli(&["reduce"]);
    }
    for node in &nodes[..2] {
        node.wait(|status| status["plans_open"] == 0);
        let limits: Value = serde_json::from_str(&node.cli(&["limits", "--json"])).unwrap();
        let limits = limits["limits"].as_array().unwrap();
        let number =
            |limit: &Value, key: &str| -> f64 { limit[key].as_str().unwrap().parse().unwrap() };
        assert!(limits.iter().any(|limit| limit["name"] == "exposure"));
        for limit in limits {
            assert!(number(limit, "used") <= number(limit, "limit"), "{limit}");
        }
    }
}

/// No order id was used twice, nothing is lost at the venue, and something was traded.
#[track_caller]
pub(super) fn assert_sound(venues: Vec<Venue>) {
    for venue in venues {
        let books = venue.close();
        assert_eq!(books["duplicates"], 0, "{books}");
        assert!(books["imbalance"].is_null(), "{books}");
        assert_eq!(
            books["accounts"][0]["held"],
            serde_json::json!({}),
            "{books}"
        );
        assert!(
            books["accounts"][0]["orders_filled"].as_u64().unwrap() > 0,
            "{books}"
        );
    }
}

fn linked(status: &Value) -> usize {
    let peers = status["peers"].as_array().unwrap();
    peers.iter().filter(|peer| peer["linked"] == true).count()
}
