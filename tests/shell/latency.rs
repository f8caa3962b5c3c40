//! `latency ping` and `latency mesh` between whole processes: what is a fault of the path, of the
//! peer and of the machine shows where it belongs.

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use expressnet::latency::report::{Measured, Report};
use expressnet::latency::summary::OneWay;
use expressnet::latency::verify::Verdict;

use crate::shell::process::Node;
use crate::shell::world::Folder;

/// Nodes of one owner that list each other and are linked; each with what `run` is told.
fn linked(folder: &Folder, nodes: &[(&str, &[&str])]) -> Vec<Node> {
    let mut made: Vec<Node> = Vec::new();
    for (name, _) in nodes {
        let node = Node::make(folder, name, None, made.first());
        made.push(node);
    }
    for one in &made {
        for other in made.iter().filter(|other| other.home != one.home) {
            one.list(other);
        }
    }
    for (node, (_, words)) in made.iter_mut().zip(nodes) {
        node.run(words);
    }
    for node in &made {
        node.wait(|status| {
            let peers = status["peers"].as_array().unwrap();
            peers.iter().all(|peer| peer["rtt_us_p50"].is_u64())
        });
    }
    for (at, node) in made.iter().enumerate() {
        for (name, _) in &nodes[at + 1..] {
            while has_switched(node, name) {}
        }
    }
    made
}

/// Measures for half a second and tells whether the link changed meanwhile: two nodes that dialled
/// each other at once come down to one connection, and what is on the other one is lost.
fn has_switched(node: &Node, peer: &str) -> bool {
    let words = [
        "latency",
        "ping",
        peer,
        "--count",
        "50",
        "--mesh-only",
        "--json",
    ];
    let report = Report::parse(node.cli(&words).as_bytes()).unwrap();
    let switches = |path: &Measured| path.transport.iter().any(|count| count.path_switches > 0);
    report.paths().any(switches)
}

fn measured(node: &Node, words: &[&str]) -> Report {
    let alone: &[&str] = match words[0] {
        "ping" => &["--mesh-only"],
        _ => &[],
    };
    let words = [&["latency"], words, alone, &["--json"]].concat();
    let report = Report::parse(node.cli(&words).as_bytes()).unwrap();
    let verdict = Verdict::of(&report);
    assert!(verdict.is_good(), "{verdict:#?}");
    report
}

fn only(report: &Report) -> &Measured {
    let mut paths = report.paths();
    let path = paths.next().unwrap();
    assert!(paths.next().is_none());
    path
}

#[test]
fn a_train_is_whole_signed_by_both_ends_and_holds() {
    let folder = Folder::new();
    let nodes = linked(&folder, &[("a", &[]), ("b", &[])]);
    let report = measured(
        &nodes[0],
        &["ping", "b", "--count", "300", "--interval", "2ms"],
    );
    let path = only(&report);
    assert_eq!((path.from.name.as_str(), path.to.name.as_str()), ("a", "b"));
    let counts = &path.counts;
    assert_eq!((counts.probes, counts.answered), (300, 300), "{counts:?}");
    let attested = path.attestation.unwrap();
    assert_eq!(attested.received, 300);
    assert_eq!(attested.prober, path.from.node);
    assert_eq!(path.transport.len(), 2, "at the beginning and at the end");
    let own = &report.parts[0].claim.own;
    assert_eq!(own.loopback.unwrap().count, 300);
    assert_eq!((own.timer_late.count, own.sent_late.count), (300, 300));
}

#[test]
fn bursts_leave_together() {
    let folder = Folder::new();
    let nodes = linked(&folder, &[("a", &[]), ("b", &[])]);
    let report = measured(
        &nodes[0],
        &["ping", "b", "--loaded", "--count", "60", "--burst", "20"],
    );
    let path = only(&report);
    assert_eq!(path.counts.answered, 60);
    assert_eq!((path.spacing.burst, path.lasted_ns), (20, 200_000_000));
    assert_eq!(report.parts[0].claim.own.timer_late.count, 3);
}

/// The peer stands still for 100 ms of 2.5 s. Whoever sends the next probe only after an answer
/// would have one slow probe of thousands, and no percentile would know.
#[test]
fn a_peer_that_stalls_shows_in_every_probe_that_met_the_stall() {
    let folder = Folder::new();
    let nodes = linked(&folder, &[("a", &[]), ("b", &[])]);
    let words = [
        "latency",
        "ping",
        "b",
        "--json",
        "--mesh-only",
        "--count",
        "2500",
        "--interval",
        "1ms",
    ];
    let mut ping = nodes[0].begin(&words);
    let notes = BufReader::new(ping.stderr.take().unwrap());
    let mut notes = notes.lines().map(Result::unwrap);
    assert!(notes.any(|note| note.ends_with(" probes")));
    let began = Instant::now();
    nodes[1].stall(true);
    // A hundred probes become due meanwhile.
    assert!(!nodes[1].ends_within(Duration::from_millis(100)));
    nodes[1].stall(false);
    let stalled_us = u64::try_from(began.elapsed().as_micros()).unwrap();
    let mut json = String::new();
    ping.stdout
        .take()
        .unwrap()
        .read_to_string(&mut json)
        .unwrap();
    assert!(ping.wait().unwrap().success());
    let report = Report::parse(json.as_bytes()).unwrap();
    let path = only(&report);
    assert_eq!(path.counts.answered, 2_500, "{:?}", path.counts);
    let rtt = path.rtt.as_ref().unwrap();
    // A probe a millisecond, each slower by a millisecond than the one behind it: the slowest
    // hundredth, 25 probes, begins 25 ms below the stall.
    let predicted_us = stalled_us - 25_000;
    let (p99_us, max_us) = (rtt.p99_ns / 1_000, rtt.max_ns / 1_000);
    let margin_us = 15_000;
    assert!(
        p99_us.abs_diff(predicted_us) < margin_us,
        "{p99_us} for {predicted_us}"
    );
    assert!(
        max_us.abs_diff(stalled_us) < margin_us,
        "{max_us} for {stalled_us}"
    );
    assert!(rtt.p50_ns < 20_000_000, "{}", rtt.p50_ns);
}

#[test]
fn a_late_timer_shows_in_the_self_line_and_not_in_the_path() {
    let folder = Folder::new();
    let late: &[&str] = &["--timer-late-us", "1000"];
    let nodes = linked(&folder, &[("a", late), ("b", &[])]);
    let words = ["--count", "400", "--interval", "3ms"];
    let there = measured(&nodes[0], &[&["ping", "b"], &words[..]].concat());
    let back = measured(&nodes[1], &[&["ping", "a"], &words[..]].concat());
    let own = |report: &Report| report.parts[0].claim.own.clone();
    let (late, fair) = (own(&there), own(&back));
    assert!(late.timer_late.p50_ns >= 990_000, "{late:?}");
    assert!(late.sent_late.p50_ns >= 990_000, "{late:?}");
    assert!(fair.timer_late.p50_ns < 900_000, "{fair:?}");
    let p50 = |report: &Report| only(report).rtt.as_ref().unwrap().p50_ns;
    let differ = p50(&there).abs_diff(p50(&back));
    assert!(
        differ < 700_000,
        "{differ} ns of the timer's are in the path"
    );
}

#[test]
fn a_clock_that_is_50_ms_ahead_is_found_within_the_bound() {
    let folder = Folder::new();
    let ahead: &[&str] = &["--clock-ahead-ms", "50"];
    let nodes = linked(&folder, &[("a", &[]), ("b", ahead)]);
    for (node, peer, ahead_ns) in [(0, "b", 50_000_000), (1, "a", -50_000_000_i64)] {
        let words = ["ping", peer, "--count", "200", "--interval", "5ms"];
        let report = measured(&nodes[node], &words);
        let path = only(&report);
        let clock = path.clock.unwrap();
        // Both processes read the system's clock once, at their start; it may be slewed between.
        let slewed_ns = 200_000;
        let off = clock.ahead_ns.abs_diff(ahead_ns);
        assert!(off <= clock.bound_ns + slewed_ns, "{off} ns off: {clock:?}");
        let rtt = path.rtt.as_ref().unwrap();
        assert!(clock.bound_ns <= rtt.max_ns, "{clock:?} {rtt:?}");
        for way in [&path.forward, &path.backward] {
            let is_within = match way {
                OneWay::Known { delay, .. } => delay.p50_ns <= rtt.max_ns,
                OneWay::Unknown { at_most_ns, .. } => *at_most_ns <= rtt.max_ns,
                OneWay::Contradicted { .. } | OneWay::Silent {} => false,
            };
            assert!(is_within, "{way:?}");
        }
        let status = nodes[node].wait(|status| status["peers"][0]["clock_bound_us"].is_u64());
        let shown = status["peers"][0]["clock_ahead_us"].as_i64().unwrap();
        assert!(shown.abs_diff(ahead_ns / 1_000) < 20_000, "{shown}");
    }
}

#[test]
fn one_command_measures_every_way_of_the_mesh_from_both_ends() {
    let folder = Folder::new();
    let nodes = linked(&folder, &[("a", &[]), ("b", &[]), ("c", &[])]);
    let report = measured(&nodes[1], &["mesh", "--count", "50"]);
    assert_eq!(report.parts.len(), 3, "each node signs what it measured");
    let mut ways: Vec<(String, String)> = report
        .paths()
        .map(|path| (path.from.name.clone(), path.to.name.clone()))
        .collect();
    ways.sort();
    let all = ["a", "b", "c"];
    let mut expected = Vec::new();
    for from in all {
        expected.extend(all.iter().filter(|to| **to != from).map(|to| (from, *to)));
    }
    let ways: Vec<(&str, &str)> = ways.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(ways, expected);
    for path in report.paths() {
        let told = format!("{}: {:?} {:?}", path.name(), path.counts, path.transport);
        // A link that both ends have dialled is replaced once, and what is on its way with it.
        assert!(path.counts.answered >= 45, "{told}");
        assert!(
            u64::from(path.attestation.unwrap().received) >= path.counts.answered,
            "{told}"
        );
    }
}

#[test]
fn what_cannot_be_measured_says_why() {
    let folder = Folder::new();
    let nodes = linked(&folder, &[("a", &[]), ("b", &[])]);
    for words in [
        &["latency", "ping", "nobody"][..],
        &["latency", "ping", "b", "--interval", "500us"],
        &["latency", "ping", "b", "--interval", "11s"],
        &["latency", "mesh", "--count", "2001"],
    ] {
        assert!(!nodes[0].try_cli(words), "{words:?}");
    }
    let long = [
        "latency",
        "ping",
        "b",
        "--json",
        "--count",
        "100000",
        "--interval",
        "1ms",
    ];
    let mut first = nodes[0].begin(&long);
    let notes = BufReader::new(first.stderr.take().unwrap());
    assert!(notes.lines().any(|note| note.unwrap().ends_with(" probes")));
    let second = ["latency", "ping", "b", "--count", "1"];
    assert!(!nodes[0].try_cli(&second), "one train at a time");
    // Whoever asked has gone: the train ends, and makes room for another.
    first.kill().unwrap();
    first.wait().unwrap();
    crate::shell::process::until(|| nodes[0].try_cli(&second)).unwrap();
}
