//! Whole nodes meet on real servers and link by DCC: strangers, listed ones in the dark, and who
//! moves on to QUIC.

use std::fs;
use std::net::Ipv4Addr;

use serde_json::Value;

use crate::shell::irc::servers::{Kind, Server};
use crate::shell::process::Node;
use crate::shell::world::Folder;

/// Makes a node on these servers, in a mode; its card names no address for QUIC.
fn member(folder: &Folder, name: &str, mode: &str, servers: &[Server]) -> Node {
    let node = Node::make(folder, name, None, None);
    let port = node.port();
    let mut text = format!(
        "[node]\nname = \"{name}\"\nmode = \"{mode}\"\nlisten = \"127.0.0.1:{port}\"\n\
         [channel]\nlocal_addresses = true\nrealname = \"a test\"\n"
    );
    for (at, server) in servers.iter().enumerate() {
        let address = server.plain;
        // Each node has an address of its own, as one network group fills no list.
        text.push_str(&format!(
            "[[irc]]\nname = \"net{at}\"\nserver = \"{address}\"\ntls = \"none\"\n\
             bind = \"{}\"\n",
            own_address(port)
        ));
    }
    fs::write(node.home.join("node.toml"), text).unwrap();
    node
}

fn own_address(port: u16) -> Ipv4Addr {
    let [high, low] = port.to_be_bytes();
    Ipv4Addr::new(127, 9, high, low)
}

/// Starts servers; fewer than asked for where they are not installed, which is said.
fn servers(kinds: &[Kind]) -> Option<Vec<Server>> {
    kinds.iter().map(|kind| Server::start(*kind)).collect()
}

fn linked(report: &Value) -> usize {
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
