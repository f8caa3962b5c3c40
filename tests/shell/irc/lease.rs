//! The exit of a running peernet dies, or stands still: another one speaks, and never two.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::shell::irc::meeting::networks;
use crate::shell::irc::programs::{Client, Person};
use crate::shell::irc::servers::{Kind, Server};
use crate::shell::process::{Mode, Node, Venue};
use crate::shell::world::Folder;

/// A new exit has come within this.
const WITHIN: Duration = Duration::from_secs(5);
const EXIT: &str = "[exit]\nbroadcast_min = { \"BTC/USD\" = \"3\" }\nvoice_after = \"1s\"\n";

fn show(node: &Node) -> Value {
    serde_json::from_str(&node.cli(&["exit", "show", "--json"])).unwrap()
}

/// Returns which of the nodes may speak at this moment; two never may.
fn speaker(nodes: &[Node], asleep: Option<usize>) -> Option<usize> {
    let awake = (0..nodes.len()).filter(|at| Some(*at) != asleep);
    let speaking = awake.filter(|at| show(&nodes[*at])["speaks"] == true);
    let speaking: Vec<usize> = speaking.collect();
    assert!(speaking.len() <= 1, "two speak: {speaking:?}");
    speaking.first().copied()
}

/// Waits for another exit than the one that is gone.
fn successor(nodes: &[Node], gone: usize) -> usize {
    let began = Instant::now();
    loop {
        if let Some(next) = speaker(nodes, Some(gone)) {
            return next;
        }
        assert!(began.elapsed() < WITHIN, "nobody has spoken for {WITHIN:?}");
    }
}

#[test]
fn a_new_exit_comes_within_five_seconds_and_two_never_speak() {
    let folder = Folder::new();
    let Some(server) = Server::start(Kind::Ngircd) else {
        return;
    };
    let reader = Person::join(Client::Weechat, server.plain);
    let servers = [server];
    let venue = Venue::serve("alpha", "100", 5);
    let mut nodes: Vec<Node> = Vec::new();
    for name in ["e1", "e2", "e3"] {
        let venue = Some((&venue, Mode::Paper));
        nodes.push(Node::make(&folder, name, venue, nodes.first()));
    }
    for node in &nodes {
        for other in nodes.iter().filter(|other| other.home != node.home) {
            node.list(other);
        }
        let file = node.home.join("node.toml");
        let text = fs::read_to_string(&file).unwrap();
        let text = text.replace("[node]\n", "[node]\nmode = \"open\"\n");
        let text = text.replace("ttl = \"1500ms\"", "ttl = \"60s\"");
        fs::write(&file, text + &networks(node.port(), &servers) + EXIT).unwrap();
    }
    for node in &mut nodes {
        node.run(&[]);
    }
    for node in &nodes {
        node.wait_for(&["exit", "show", "--json"], |report| {
            let members = report["members"].as_array().unwrap();
            members.len() == 3
                && members.iter().all(|member| member["linked"] == true)
                && report["standing"] == "aged"
                && report["exit"].is_string()
        });
        node.wait(|status| status["running"] == true);
    }
    let first = successor(&nodes, nodes.len());
    nodes[first].cli(&["offer", "new", "4BTC@USD:BO:SEPA", "--reserve", "90"]);
    nodes[first].wait_for(&["channel", "--json"], |report| {
        report["counts"]["announced"] == 1
    });
    if let Some(reader) = &reader {
        reader.wait_for(|log| log.contains("offer1 "));
    }
    // Dead in the middle of its offer.
    nodes[first].kill();
    let second = successor(&nodes, first);
    nodes[first].run(&[]);
    nodes[first].wait(|status| status["running"] == true);
    // Not dead, but out of touch: what it holds has ended when it comes back.
    nodes[second].stall(true);
    let third = successor(&nodes, second);
    nodes[second].stall(false);
    for _ in 0..20 {
        speaker(&nodes, None);
    }
    assert_ne!(second, third);
    if let Some(reader) = reader {
        assert_eq!(reader.lines_with(&["offer1 "]), 1);
        // Who is an operator and has asked nobody anything is told nothing.
        assert_eq!(reader.lines_with(&["expressnet-exit1:"]), 0);
    }
}
