//! Peernets on real servers: who is given voice, who speaks, and what crosses from one to another.

use std::fs;

use serde_json::Value;

use crate::shell::irc::meeting::{networks, servers};
use crate::shell::irc::programs::{Client, Person};
use crate::shell::irc::servers::{Kind, Server};
use crate::shell::process::{Mode, Node, Venue};
use crate::shell::world::Folder;

const EXIT: &str = "[exit]\nbroadcast_min = { \"BTC/USD\" = \"3\" }\nvoice_after = \"1s\"\n";
const OPERATOR: &str = "[chanop]\nrun = true\nvoice_after = \"1s\"\n";
const ANSWERS: &str = "[[offer.rail]]\nmethod = \"SEPA\"\ncurrency = \"USD\"\namount = \"1000000\"\n\
     [[offer.rule]]\ngive = \"BTC\"\nwant = \"USD\"\nmethods = [\"SEPA\"]\n\
     threshold = \"1\"\nsize_max = \"5\"\nprice = \"101\"\n";

/// Makes two nodes of one owner that list each other.
fn peernet(
    folder: &Folder,
    name: &str,
    venue: Option<&Venue>,
    more: &str,
    servers: &[Server],
) -> [Node; 2] {
    let venue = venue.map(|venue| (venue, Mode::Paper));
    let one = Node::make(folder, &format!("{name}1"), venue, None);
    let other = Node::make(folder, &format!("{name}2"), venue, Some(&one));
    one.list(&other);
    other.list(&one);
    for node in [&one, &other] {
        let file = node.home.join("node.toml");
        let text = fs::read_to_string(&file).unwrap();
        let text = text.replace("[node]\n", "[node]\nmode = \"open\"\nplaces = 12\n");
        let text = text.replace("ttl = \"1500ms\"", "ttl = \"30s\"");
        fs::write(&file, text + more + &networks(node.port(), servers) + EXIT).unwrap();
    }
    [one, other]
}

fn speaks(node: &Node) -> bool {
    let report: Value = serde_json::from_str(&node.cli(&["exit", "show", "--json"])).unwrap();
    report["speaks"] == true
}

/// Returns the places that have voice, by node.
fn voiced(report: &Value) -> Vec<(String, String)> {
    let members = report["chanop"]["members"].as_array().unwrap();
    let voiced = members.iter().filter(|member| member["voiced"] == true);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    voiced
        .map(|member| (text(&member["node"]), text(&member["place"])))
        .collect()
}

/// Six nodes of three peernets and an operator: one node of each has voice on a moderated channel,
/// and what one peernet cannot fill, the others do together.
#[test]
fn one_of_each_peernet_has_voice_and_a_broadcast_is_matched_by_the_others() {
    let folder = Folder::new();
    let Some(servers) = servers(&[Kind::Ngircd, Kind::Ngircd, Kind::Inspircd]) else {
        return;
    };
    let venue = Venue::serve("alpha", "100", 5);
    let mut operator = Node::make(&folder, "operator", None, None);
    let file = operator.home.join("node.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("[node]\n", "[node]\nmode = \"open\"\nplaces = 12\n");
    fs::write(
        &file,
        text + &networks(operator.port(), &servers) + OPERATOR,
    )
    .unwrap();
    // Whoever comes first to a channel is its operator.
    operator.run(&[]);
    operator.wait_for(&["channel", "--json"], |report| {
        let networks = report["networks"].as_array().unwrap();
        networks.iter().all(|network| network["moderated"] == true)
    });
    let readers: Option<Vec<Person>> = servers
        .iter()
        .map(|server| Person::join(Client::Weechat, server.plain))
        .collect();
    let Some(readers) = readers else {
        return;
    };
    let mut nodes = [
        peernet(&folder, "o", Some(&venue), "", &servers),
        peernet(&folder, "a", None, ANSWERS, &servers),
        peernet(&folder, "b", None, ANSWERS, &servers),
    ];
    for node in nodes.iter_mut().flatten() {
        node.run(&[]);
    }
    for [one, other] in &nodes {
        for node in [one, other] {
            node.wait_for(&["exit", "show", "--json"], |report| {
                report["version"] == 1 && report["members"].as_array().unwrap().len() == 2
            });
        }
    }
    for count in 1..=9 {
        operator.wait_for(&["channel", "--json"], |report| {
            voiced(report).len() >= count
        });
    }
    let report = serde_json::from_str(&operator.cli(&["channel", "--json"])).unwrap();
    let mut voiced = voiced(&report);
    assert_eq!(
        voiced.len(),
        9,
        "one of each peernet on each network: {report:#}"
    );
    voiced.sort();
    voiced.dedup_by_key(|(node, _)| node.clone());
    assert_eq!(voiced.len(), 3, "the same one everywhere: {report:#}");
    for [one, other] in &nodes {
        assert!(
            speaks(one) != speaks(other),
            "one speaks, the other does not"
        );
    }
    let origin = nodes[0].iter().find(|node| speaks(node)).unwrap();
    origin.wait(|status| status["running"] == true);
    origin.cli(&["offer", "new", "12BTC@USD:BO:SEPA", "--reserve", "90"]);
    origin.wait_for(&["offer", "list", "--json"], |offers| {
        let offers = offers["offers"].as_array().unwrap();
        offers.iter().any(|offer| offer["filled"] == "12")
    });
    for reader in &readers {
        reader.wait_for(|log| log.contains("close1 "));
        assert_eq!(reader.lines_with(&["12BTC@USD:BO:SEPA offer1 "]), 1);
        assert_eq!(reader.lines_with(&["close1 "]), 1);
    }
}
