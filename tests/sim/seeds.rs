//! Seeded worlds with every fault on; the long set is `expressnet simulate --seeds 1..1000
//! --coverage-min 50`.

use expressnet::node::Faults as Bugs;
use expressnet::sim::scenario::{self, Scenario, Topology};
use expressnet::sim::{self, Report};

/// Two nodes, a line and a mesh in turn, as the command line chooses them.
fn world(seed: u64) -> Scenario {
    let (nodes, topology) = match seed % 3 {
        0 => (2, Topology::Mesh),
        1 => (5, Topology::Line),
        _ => (4, Topology::Mesh),
    };
    scenario::standard(seed, nodes, topology, 60)
}

fn run(seed: u64) -> Report {
    sim::run(&world(seed), Bugs::default())
}

#[test]
fn no_invariant_breaks_in_the_first_seeds() {
    for seed in 1..=45 {
        let report = run(seed);
        assert!(
            report.violations.is_empty(),
            "seed {seed}: {:#?}",
            report.violations
        );
        assert!(
            report.tallies.undrawn().is_empty(),
            "seed {seed}: {:?}",
            report.tallies.undrawn()
        );
    }
}

#[test]
fn one_seed_twice_is_the_same_to_the_byte_and_another_is_not() {
    let (one, same, other) = (run(7), run(7), run(8));
    assert_eq!(one.trace, same.trace);
    assert_eq!(format!("{:?}", one.tallies), format!("{:?}", same.tallies));
    assert_ne!(one.trace, other.trace);
}

#[track_caller]
fn is_found(name: &str, bugs: Bugs) {
    let found = (1..=100).find(|seed| !sim::run(&world(*seed), bugs).violations.is_empty());
    assert!(found.is_some(), "{name} was not found within 100 seeds");
}

#[test]
fn planted_bugs_are_found_within_a_hundred_seeds() {
    let none = Bugs::default();
    is_found(
        "lost acknowledgement",
        Bugs {
            lost_acknowledgement: true,
            ..none
        },
    );
    is_found(
        "double accept",
        Bugs {
            double_accept: true,
            ..none
        },
    );
    is_found(
        "late hold",
        Bugs {
            late_hold: true,
            ..none
        },
    );
    is_found(
        "envelope reuse",
        Bugs {
            envelope_reuse: true,
            ..none
        },
    );
    is_found(
        "stale book",
        Bugs {
            stale_book: true,
            ..none
        },
    );
}
