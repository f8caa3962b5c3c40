//! Whole nodes meet on real servers and link by DCC: strangers, listed ones in the dark, and who
//! moves on to QUIC.

use std::fs;
use std::net::Ipv4Addr;

use serde_json::Value;

use crate::shell::irc::servers::{Kind, Server};
use crate::shell::process::{Mode, Node, PROVIDER, Venue};
use crate::shell::world::Folder;

/// Makes a node on these servers, in a mode; its card names no address for QUIC.
pub(super) fn member(folder: &Folder, name: &str, mode: &str, servers: &[Server]) -> Node {
    let node = Node::make(folder, name, None, None);
    let port = node.port();
    let mut text =
        format!("[node]\nname = \"{name}\"\nmode = \"{mode}\"\nlisten = \"127.0.0.1:{port}\"\n");
    text.push_str(&networks(port, servers));
    fs::write(node.home.join("node.toml"), text).unwrap();
    node
}

/// Returns what a configuration says of these servers.
pub(super) fn networks(port: u16, servers: &[Server]) -> String {
    let mut text = "[channel]\nlocal_addresses = true\nrealname = \"a test\"\n".to_owned();
    for (at, server) in servers.iter().enumerate() {
        let address = server.plain;
        // Each node has an address of its own, as one network group fills no list.
        text.push_str(&format!(
            "[[irc]]\nname = \"net{at}\"\nserver = \"{address}\"\ntls = \"none\"\n\
             bind = \"{}\"\n",
            own_address(port)
        ));
    }
    text
}

fn own_address(port: u16) -> Ipv4Addr {
    let [high, low] = port.to_be_bytes();
    Ipv4Addr::new(127, 9, high, low)
}

/// Starts servers; fewer than asked for where they are not installed, which is said.
pub(super) fn servers(kinds: &[Kind]) -> Option<Vec<Server>> {
    kinds.iter().map(|kind| Server::start(*kind)).collect()
}

/// Returns how many nodes a report shows a link with.
pub(super) fn linked(report: &Value) -> usize {
    let nodes = report["nodes"].as_array().unwrap();
    nodes.iter().filter(|node| node["linked"] == true).count()
}

fn all(report: &Value, holds: impl Fn(&Value) -> bool) -> bool {
    let nodes = report["nodes"].as_array().unwrap();
    nodes
        .iter()
        .filter(|node| node["linked"] == true)
        .all(holds)
}

/// Three strangers on three networks see each other once, link over TLS, and order by round trip.
#[test]
fn strangers_meet_on_several_networks_and_link_once() {
    let folder = Folder::new();
    let Some(servers) = servers(&[Kind::Ngircd, Kind::Ngircd, Kind::Inspircd]) else {
        return;
    };
    let mut nodes: Vec<Node> = ["one", "two", "three"]
        .map(|name| member(&folder, name, "open", &servers))
        .into();
    for node in &mut nodes {
        node.run(&[]);
    }
    for node in &nodes {
        let report = node.wait_for(&["channel", "--json"], |report| {
            linked(report) == 2 && all(report, |node| node["placed"] == true)
        });
        for other in report["nodes"].as_array().unwrap() {
            assert_eq!(other["nicks"].as_array().unwrap().len(), 3, "{other}");
            assert_eq!(
                (&other["listed"], &other["trust"]),
                (&false.into(), &0.into())
            );
            assert!(other["rtt_us_p50"].as_u64().unwrap() > 0, "{other}");
            let by = other["by"].as_str().unwrap();
            assert!(["direct", "answered"].contains(&by), "{other}");
        }
        let rtts = report["nodes"].as_array().unwrap().iter();
        let rtts: Vec<u64> = rtts
            .filter_map(|node| node["rtt_us_p50"].as_u64())
            .collect();
        assert!(rtts.is_sorted(), "{rtts:?}");
        assert!(
            report["networks"]
                .as_array()
                .unwrap()
                .iter()
                .all(|one| one["state"] == "on")
        );
    }
    for node in &mut nodes {
        assert!(node.stop());
    }
}

/// Where both cards name an address for QUIC, the link moves there.
#[test]
fn a_link_moves_to_quic_where_both_cards_name_it() {
    let folder = Folder::new();
    let Some(servers) = servers(&[Kind::Ngircd]) else {
        return;
    };
    let mut nodes: Vec<Node> = ["one", "two"]
        .map(|name| {
            let node = member(&folder, name, "open", &servers);
            let text = fs::read_to_string(node.home.join("node.toml")).unwrap();
            let advertise = format!("[node]\nadvertise = [\"127.0.0.1:{}\"]\n", node.port());
            let text = text.replace("[node]\n", &advertise);
            fs::write(node.home.join("node.toml"), text).unwrap();
            node
        })
        .into();
    for node in &mut nodes {
        node.run(&[]);
    }
    for node in &nodes {
        node.wait_for(&["channel", "--json"], |report| {
            linked(report) == 1 && all(report, |node| node["by"] == "QUIC")
        });
    }
}

/// Two listed nodes that have no other way meet in the dark; an open stranger on the same channel
/// gets nothing from them, and they are linked with nobody else.
#[test]
fn listed_nodes_meet_in_the_dark_and_nobody_else_does() {
    let folder = Folder::new();
    let Some(servers) = servers(&[Kind::Inspircd]) else {
        return;
    };
    let mut dark: Vec<Node> = ["one", "two"]
        .map(|name| member(&folder, name, "dark", &servers))
        .into();
    let mut stranger = member(&folder, "three", "open", &servers);
    dark[0].list(&dark[1]);
    dark[1].list(&dark[0]);
    stranger.run(&[]);
    for node in &mut dark {
        node.run(&[]);
    }
    for node in &dark {
        let report = node.wait_for(&["channel", "--json"], |report| linked(report) == 1);
        let nodes = report["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 1, "{report:#}");
        assert_eq!(
            (&nodes[0]["listed"], &nodes[0]["trust"]),
            (&true.into(), &10.into())
        );
        assert_eq!(report["counts"]["polls"], Value::Null);
        let peers: Value = serde_json::from_str(&node.cli(&["peer", "list", "--json"])).unwrap();
        assert_eq!(peers["peers"].as_array().unwrap().len(), 1);
    }
    let report: Value = serde_json::from_str(&stranger.cli(&["channel", "--json"])).unwrap();
    assert_eq!(linked(&report), 0, "{report:#}");
    // The stranger asked and offered; it knows who is there and no more.
    assert_eq!(report["nodes"].as_array().unwrap().len(), 2);
}

/// What the listed nodes cannot fill is announced once, a stranger inquires, and its match is counted.
#[test]
fn an_offer_crosses_the_channel_and_comes_back_as_a_match() {
    let folder = Folder::new();
    let Some(servers) = servers(&[Kind::Ngircd, Kind::Inspircd]) else {
        return;
    };
    let venue = Venue::serve("alpha", "100", 5);
    let mut origin = Node::make(&folder, "o", Some((&venue, Mode::Paper)), None);
    let mut provider = Node::make(&folder, PROVIDER, None, None);
    for node in [&origin, &provider] {
        let file = node.home.join("node.toml");
        let text = fs::read_to_string(&file).unwrap();
        let text = text.replace("[node]\n", "[node]\nmode = \"open\"\n");
        let text = text.replace("ttl = \"1500ms\"", "ttl = \"20s\"");
        let exit = "[exit]\nbroadcast_min = { \"BTC/USD\" = \"3\" }\n";
        fs::write(&file, text + &networks(node.port(), &servers) + exit).unwrap();
    }
    origin.run(&[]);
    provider.run(&[]);
    for node in [&origin, &provider] {
        node.wait_for(&["channel", "--json"], |report| linked(report) == 1);
    }
    origin.wait(|status| status["running"] == true);
    // Below the least that is announced nobody would hear of it.
    assert!(!origin.try_cli(&["offer", "new", "2BTC@USD:BO:SEPA", "--reserve", "90"]));
    origin.cli(&["offer", "new", "4BTC@USD:BO:SEPA", "--reserve", "90"]);
    let counts = |report: &Value, what: &str| report["counts"][what].as_u64().unwrap_or(0);
    let filled = |offers: &Value, amount: &str| {
        let offers = offers["offers"].as_array().unwrap();
        offers.iter().any(|offer| offer["filled"] == amount)
    };
    origin.wait_for(&["offer", "list", "--json"], |offers| filled(offers, "4"));
    // The line that it is open, and the one that it is over.
    let said = origin.wait_for(&["channel", "--json"], |report| {
        counts(report, "announced") == 2
    });
    assert_eq!(counts(&said, "inquire"), 1, "{said:#}");
    // Each line was said on both networks, and counts once.
    let heard = provider.wait_for(&["channel", "--json"], |report| {
        counts(report, "heard_line") == 2
    });
    assert_eq!(counts(&heard, "heard_line"), 2);
}
