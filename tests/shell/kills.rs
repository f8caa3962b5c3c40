//! Offers outlive the death of whoever takes part: origin, relay and provider are killed around
//! every record of a deal, and in the end both sides' journals agree.
//!
//! Three of the records are tried, one of each node; with `EXPRESSNET_KILLS` set, all of them.

use std::time::Duration;

use expressnet::journal::owed::Owed;
use expressnet::model::currency::Currency;
use expressnet::shell::store::Store;

use crate::shell::process::{Mode, Node, PROVIDER, Venue, until};
use crate::shell::world::Folder;

/// Who is killed (origin, relay, provider), around which record.
const POINTS: [(usize, &str); 8] = [
    (0, "offer-opened"),
    (0, "accepted"),
    (0, "counted"),
    (0, "offer-closed"),
    (1, "relay-bound"),
    (1, "relay-over"),
    (2, "hold-confirmed"),
    (2, "hold-over"),
];

/// The records that bind somebody, one of each node.
const FEW: [(usize, &str); 3] = [(0, "accepted"), (1, "relay-bound"), (2, "hold-confirmed")];

#[test]
fn a_deal_is_counted_alike_on_both_sides_whoever_is_killed() {
    let folder = Folder::new();
    let alpha = Venue::serve("alpha", "100", 7);
    let origin = Node::make(&folder, "a", Some((&alpha, Mode::Live)), None);
    let relay = Node::make(&folder, "c", None, Some(&origin));
    let provider = Node::make(&folder, PROVIDER, None, None);
    for (one, other) in [(&origin, &relay), (&relay, &provider)] {
        one.list(other);
        other.list(one);
    }
    let mut nodes = [origin, relay, provider];
    for node in &mut nodes {
        node.run(&[]);
    }
    let mut reached = 0;
    let is_long = std::env::var_os("EXPRESSNET_KILLS").is_some();
    let points = if is_long { &POINTS[..] } else { &FEW[..] };
    for &(victim, record) in points {
        for moment in ["before", "after"] {
            nodes[victim].kill();
            nodes[victim].run(&["--crash-at", &format!("{record}:{moment}")]);
            reached += usize::from(dies(&mut nodes, victim));
            nodes[victim].kill();
            nodes[victim].run(&[]);
            nodes[victim].wait(|status| status["running"] == true);
        }
    }
    assert_eq!(reached, 2 * points.len(), "not every record was written");
    let mut last = None;
    let agreed = until(|| {
        last = agree(&mut nodes);
        last.is_none()
    });
    assert!(agreed.is_some(), "{}", last.unwrap_or_default());
}

/// Makes offers until the victim has killed itself.
fn dies(nodes: &mut [Node; 3], victim: usize) -> bool {
    let mut is_dead = false;
    until(|| {
        let line = ["offer", "new", "2BTC@USD:BO:SEPA", "--reserve", "90"];
        nodes[0].try_cli(&line);
        is_dead = nodes[victim].ends_within(Duration::from_millis(300));
        is_dead
    });
    is_dead
}

/// Stops all nodes, compares the journals of both ends, and runs them again where they differ: a
/// deal in doubt is settled by asking again.
fn agree(nodes: &mut [Node; 3]) -> Option<String> {
    for (node, links) in nodes.iter().zip([1, 2, 1]) {
        node.wait(|status| {
            let peers = status["peers"].as_array().unwrap();
            peers.iter().filter(|peer| peer["linked"] == true).count() == links
        });
    }
    until(|| {
        let offers = nodes[0].cli(&["offer", "list", "--json"]);
        ["gathering", "settling", "standing"]
            .iter()
            .all(|state| !offers.contains(state))
    });
    for node in nodes.iter_mut() {
        assert!(node.stop());
    }
    let (origin, provider) = (owed(&nodes[0]), owed(&nodes[2]));
    let closed = origin
        .tallies
        .get(&Currency::BTC)
        .copied()
        .unwrap_or_default();
    assert!(closed.is_conserved());
    // What was confirmed and never counted lapses by itself, two minutes after the last start.
    let sealed = provider.holds.values().filter(|hold| hold.is_sealed);
    let bound: i64 = sealed.map(|hold| hold.part.quantity.0).sum();
    if origin.offers.is_empty() && closed.filled.0 == bound && bound > 0 {
        return None;
    }
    for node in nodes.iter_mut() {
        node.run(&[]);
    }
    Some(format!(
        "filled {}, sealed {bound}; still open {:#?}; held {:#?}",
        closed.filled.0, origin.offers, provider.holds
    ))
}

/// Returns what the journal of a node that does not run says it owes.
pub(super) fn owed(node: &Node) -> Owed {
    let (_store, bodies) = Store::open(&node.home.join("journal.sqlite")).unwrap();
    Owed::replay(bodies.iter().map(Vec::as_slice)).unwrap()
}
