//! A node behind a NAT links with one outside, by each way that can work there.
//!
//! Needs root, `ip netns`, iptables, a kernel that helps IRC through a NAT, and the networks of the
//! test harness, which `EXPRESSNET_HARNESS` names (by default `../shared/harness`, beside this
//! project); without them the test says so and is over.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::shell::irc::meeting::linked;
use crate::shell::irc::servers::{Server, is_installed, skipped};
use crate::shell::process::Node;
use crate::shell::world::Folder;

const NAMESPACES: [&str; 4] = ["xc", "xr", "xi", "xp"];
/// Where the IRC server is, between the NAT and the node outside.
const SERVER: &str = "203.0.113.10";

/// The namespaces: `xc` behind the NAT `xr`, the server's `xi`, and `xp` outside.
struct Nat {
    scripts: PathBuf,
}

/// One of the two nodes, as its owner set it up.
#[derive(Clone, Copy)]
struct Side {
    name: &'static str,
    namespace: &'static str,
    is_reachable: bool,
}

const OUTSIDE: Side = Side {
    name: "outside",
    namespace: "xp",
    is_reachable: true,
};
const INSIDE: Side = Side {
    name: "inside",
    namespace: "xc",
    is_reachable: false,
};

#[test]
fn a_node_behind_a_nat_is_linked_by_every_rung() {
    let Some(_nat) = Nat::up() else {
        return;
    };
    let Some(_server) = Server::start_in("xi", SERVER.parse().unwrap()) else {
        return;
    };
    // Who is first offers: outside there is no need for the other one's help.
    link_by(OUTSIDE, INSIDE, "direct");
    // Inside, the other one is asked to listen.
    link_by(INSIDE, OUTSIDE, "passive");
    // Where nobody can be dialled outside either, the kernel between reads the offer.
    assert!(within(
        "xp",
        &[
            "iptables", "-A", "INPUT", "-p", "tcp", "--syn", "-j", "DROP"
        ]
    ));
    let closed = Side {
        is_reachable: false,
        ..OUTSIDE
    };
    link_by(INSIDE, closed, "NAT helper");
}

/// Links two nodes of which the first one offers, and looks by which way they came to be linked.
fn link_by(first: Side, second: Side, rung: &str) {
    let folder = Folder::new();
    let mut nodes = ["one", "two"].map(|home| Node::make(&folder, home, None, None));
    // The lower UUID makes the first offer.
    nodes.sort_by_key(id);
    for (node, side) in nodes.iter_mut().zip([first, second]) {
        let text = format!(
            "[node]\nname = \"{}\"\nmode = \"open\"\nlisten = \"127.0.0.1:{}\"\n\
             [channel]\nlocal_addresses = true\nreachable = {}\n\
             [[irc]]\nname = \"net\"\nserver = \"{SERVER}:6667\"\ntls = \"none\"\n",
            side.name,
            node.port(),
            side.is_reachable
        );
        fs::write(node.home.join("node.toml"), text).unwrap();
        node.run_in(side.namespace);
    }
    for (node, by) in nodes.iter_mut().zip([rung, "answered"]) {
        let report = node.wait_for(&["channel", "--json"], |report| linked(report) == 1);
        assert_eq!(report["nodes"][0]["by"], by, "{report:#}");
    }
    for mut node in nodes {
        assert!(node.stop());
    }
}

fn id(node: &Node) -> String {
    let shown: Value = serde_json::from_str(&node.cli(&["id", "--json"])).unwrap();
    shown["node"].as_str().unwrap().to_owned()
}

fn within(namespace: &str, words: &[&str]) -> bool {
    let mut command = Command::new("ip");
    let done = command
        .args(["netns", "exec", namespace])
        .args(words)
        .status();
    done.is_ok_and(|status| status.success())
}

fn is_lived_in(namespace: &str) -> bool {
    let mut command = Command::new("ip");
    let found = command.args(["netns", "pids", namespace]).output();
    found.is_ok_and(|found| !found.stdout.is_empty())
}

impl Nat {
    /// Lays the networks, or says what is missing.
    fn up() -> Option<Self> {
        let harness = std::env::var_os("EXPRESSNET_HARNESS").map(PathBuf::from);
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/harness");
        let scripts = harness.unwrap_or_else(beside).join("wan");
        let missing = if !scripts.join("nat-up.sh").is_file() {
            "no wan/nat-up.sh; name the harness with EXPRESSNET_HARNESS".to_owned()
        } else if !rustix::process::geteuid().is_root() {
            "needs root".to_owned()
        } else if !is_installed("ip") || !is_installed("iptables") {
            "needs `ip netns` and iptables; tests/run installs them".to_owned()
        } else if NAMESPACES.iter().any(|namespace| is_lived_in(namespace)) {
            "its namespaces are in use".to_owned()
        } else {
            let nat = Self { scripts };
            // What an interrupted test left behind.
            nat.run("nat-down.sh").ok();
            match nat.run("nat-up.sh") {
                Ok(()) => return Some(nat),
                Err(why) => format!("it cannot be laid here: {why}"),
            }
        };
        skipped(&format!("a NAT with the kernel's help for IRC: {missing}"));
        None
    }

    fn run(&self, script: &str) -> Result<(), String> {
        let mut command = Command::new("bash");
        let output = command.arg(self.scripts.join(script)).output();
        let output = output.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.run("nat-down.sh").ok();
    }
}
