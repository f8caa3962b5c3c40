//! A train over a cable of 40 ± 10 ms with 2 % loss between two network namespaces, held against the
//! cable's own log.
//!
//! Needs root, `ip` and `/dev/net/tun`, and the cable of the test harness, which
//! `EXPRESSNET_HARNESS` names (by default `../shared/harness`, beside this project); without them
//! the test says so and is over.
#![expect(
    clippy::float_arithmetic,
    clippy::print_stderr,
    reason = "figures are compared with a log in decimals, and told where the test is left out"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use expressnet::latency::lines::{Assembly, Heard};
use expressnet::latency::train::{Fate, Train};
use expressnet::node::command::Request;
use expressnet::shell::control::{AskError, ask_each};

use crate::shell::process::{Node, until};
use crate::shell::world::Folder;

const PROBES: u32 = 600;
/// Longer than a probe's jitter needs to bring it behind its neighbour often.
const INTERVAL_US: u64 = 20_000;
/// IP and UDP heads, QUIC's head and seal, and a probe: whatever is smaller carries none.
const PROBE_PACKET_BYTES_MIN: u64 = 90;

/// Two namespaces and the cable between them, removed with the test.
struct Wan {
    names: [String; 2],
    cable: Option<Child>,
}

impl Wan {
    fn lay(cable: &Path, log: &Path) -> Self {
        let names = ["a", "b"].map(|end| format!("exn{}{end}", std::process::id()));
        let mut wan = Self { names, cable: None };
        for name in &wan.names {
            assert!(ip(&["netns", "add", name]));
            assert!(ip(&["-n", name, "link", "set", "lo", "up"]));
        }
        let [one, other] = &wan.names;
        let child = Command::new("python3")
            .arg(cable)
            .args([one, "10.77.0.1", other, "10.77.0.2"])
            .args(["--delay", "40", "--jitter", "10", "--loss", "2", "--log"])
            .arg(log)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        wan.cable = Some(child.unwrap());
        for name in &wan.names {
            until(|| ip(&["-n", name, "-o", "addr", "show", "dev", "wan0", "up"])).unwrap();
        }
        wan
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        if let Some(cable) = &mut self.cable {
            cable.kill().unwrap_or_default();
            drop(cable.wait());
        }
        for name in &self.names {
            ip(&["netns", "delete", name]);
        }
    }
}

fn ip(words: &[&str]) -> bool {
    let mut command = Command::new("ip");
    let output = command.args(words).output();
    output.is_ok_and(|output| output.status.success())
}

/// Returns the cable of the harness, or says what is missing.
fn cable() -> Option<PathBuf> {
    let harness = std::env::var_os("EXPRESSNET_HARNESS").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/harness");
    let script = harness.unwrap_or_else(beside).join("wan/tuncable.py");
    let missing = if !script.is_file() {
        "no wan/tuncable.py; name the harness with EXPRESSNET_HARNESS"
    } else if !rustix::process::geteuid().is_root() {
        "needs root"
    } else if !Path::new("/dev/net/tun").exists() || !ip(&["netns", "list"]) {
        "needs /dev/net/tun and `ip netns`"
    } else {
        return Some(script);
    };
    eprintln!("SKIPPED: the cable between two namespaces: {missing}");
    None
}

/// One packet of the cable's log, in microseconds of the machine's monotonic clock.
struct Packet {
    in_us: f64,
    /// None for one that was lost.
    delay_us: Option<f64>,
}

/// Reads the packets of one direction that can carry a probe.
fn packets(log: &str, direction: &str) -> Vec<Packet> {
    let mut packets: Vec<Packet> = log
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let is_probe = fields.len() == 4
                && fields[0] == direction
                && fields[3].parse::<u64>().ok()? >= PROBE_PACKET_BYTES_MIN;
            if !is_probe {
                return None;
            }
            let in_us = fields[1].parse::<f64>().ok()? * 1e6;
            let out_us = fields[2].parse::<f64>().ok().map(|seconds| seconds * 1e6);
            Some(Packet {
                in_us,
                delay_us: out_us.map(|out_us| out_us - in_us),
            })
        })
        .collect();
    packets.sort_by(|one, other| one.in_us.total_cmp(&other.in_us));
    packets
}

fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty());
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn delays(packets: &[Packet]) -> Vec<f64> {
    packets
        .iter()
        .filter_map(|packet| packet.delay_us)
        .collect()
}

#[track_caller]
fn within_2_per_cent(what: &str, measured: f64, logged: f64) {
    let off = (measured - logged).abs() / logged;
    eprintln!(
        "{what}: measured {measured:.0}, logged {logged:.0}, {:.2} % off",
        off * 100.0
    );
    assert!(
        off <= 0.02,
        "{what}: measured {measured:.0}, logged {logged:.0}"
    );
}

fn train(node: &Node) -> Train {
    let mut assembly = Assembly::default();
    let mut train = None;
    let request = Request::Ping {
        peer: "b".to_owned(),
        interval_us: INTERVAL_US,
        burst: 1,
        count: PROBES,
    };
    ask_each::<AskError>(&node.home, &request, 1 << 24, &mut |line| {
        if let Ok(Heard::Train(whole)) = assembly.hear(&line) {
            train = Some(*whole);
        }
        Ok(())
    })
    .unwrap();
    train.unwrap()
}

#[test]
fn a_cable_is_measured_as_its_own_log_says() {
    let Some(script) = cable() else {
        return;
    };
    let folder = Folder::new();
    fs::create_dir_all(&folder.0).unwrap();
    let log = folder.file("cable.csv");
    let wan = Wan::lay(&script, &log);
    let mut nodes = [
        Node::make(&folder, "a", None, None),
        Node::make(&folder, "b", None, None),
    ];
    for (index, node) in nodes.iter_mut().enumerate() {
        let address = format!("10.77.0.{}:7411", index + 1);
        let name = ["a", "b"][index];
        let config = format!(
            "[node]\nname = \"{name}\"\nlisten = \"{address}\"\nadvertise = [\"{address}\"]\n\
             redial_max = \"1s\"\n"
        );
        fs::write(node.home.join("node.toml"), config).unwrap();
    }
    nodes[0].list(&nodes[1]);
    nodes[1].list(&nodes[0]);
    for (node, name) in nodes.iter_mut().zip(&wan.names) {
        node.run_in(name);
    }
    nodes[0].wait(|status| status["peers"][0]["rtt_us_p50"].is_u64());
    let before = fs::read_to_string(&log).unwrap().lines().count();
    let train = train(&nodes[0]);
    let text = fs::read_to_string(&log).unwrap();
    let during: Vec<&str> = text.lines().skip(before).collect();
    let during = during.join("\n");
    let (there, back) = (packets(&during, "ab"), packets(&during, "ba"));

    let (mut forward, mut backward, mut rtt) = (Vec::new(), Vec::new(), Vec::new());
    let mut lost = 0;
    for sample in &train.samples {
        match sample.fate {
            Fate::Lost => lost += 1,
            Fate::Refused => panic!("{sample:?}"),
            Fate::Answered {
                received,
                replied,
                heard,
                ..
            } => {
                // Both processes run on this machine's clock, so each direction shows as it is.
                forward.push(received.since(sample.sent).0 as f64 / 1e3);
                backward.push(heard.since(replied).0 as f64 / 1e3);
                rtt.push(heard.since(sample.sent).0 as f64 / 1e3);
            }
        }
    }
    within_2_per_cent("there, p50 in us", median(forward), median(delays(&there)));
    within_2_per_cent("back, p50 in us", median(backward), median(delays(&back)));
    let sums = delays(&there).into_iter().flat_map(|there| {
        let back = delays(&back);
        back.into_iter().map(move |back| there + back)
    });
    within_2_per_cent("round trip, p50 in us", median(rtt), median(sums.collect()));

    // A probe is lost on its way there or its answer on its way back; the few packets beside them
    // (probes that watch the link, acknowledgements) are lost as often.
    let share = |packets: &[Packet]| {
        let lost = packets.iter().filter(|packet| packet.delay_us.is_none());
        lost.count() as f64 / packets.len() as f64
    };
    let logged = 1.0 - (1.0 - share(&there)) * (1.0 - share(&back));
    let measured = f64::from(lost) / f64::from(PROBES);
    eprintln!("lost: measured {measured:.4}, logged {logged:.4}");
    assert!((measured - logged).abs() <= 0.02, "{measured} for {logged}");

    let clock = train.clock.unwrap();
    assert!(
        clock.ahead_ns.unsigned_abs() <= clock.bound.0 + 200_000,
        "{clock:?}"
    );
    assert!(train.attestation.is_some());
}
