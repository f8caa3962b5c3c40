//! Round trips between two ends on two pinned cores: `colo` beside what others would send a leg with.
//! `benches/README.md` tells how to run and read it.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(clippy::float_arithmetic, reason = "figures of a bench are no money")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock around what it measures"
)]
#![expect(clippy::print_stderr, reason = "what is absent is said aloud")]

#[path = "../../transport/contestant.rs"]
mod contestant;
#[path = "../../figure.rs"]
mod figure;
#[path = "../../transport/ours.rs"]
#[expect(dead_code, reason = "there is no fan-out here")]
mod ours;
#[path = "../../transport/stock.rs"]
#[expect(dead_code, reason = "quinn runs here in one way only")]
mod stock;
#[path = "../../transport/udp.rs"]
#[expect(dead_code, reason = "there is no fan-out here")]
mod udp;

mod echo;
mod irohs;
mod nats;
mod tls;

use std::time::Duration;

use expressnet::shell::mesh::Profile;

use crate::contestant::{Contestant, Pace, Way};
use crate::figure::report;

/// The size of a leg or a short quote.
pub(crate) const MESSAGE_BYTES: usize = 64;
/// What a fan-out would be: the files shared with the other bench name it.
pub(crate) const FAN_OUT: usize = 12;
pub(crate) const QUOTE_BYTES: usize = 256;

const HOT: Profile = Profile::Colo {
    park_after: Duration::from_millis(3),
};

fn main() {
    contestant::find_cores();
    let is_quick = !std::env::args().any(|argument| argument == "--bench");
    let (rounds, count) = if is_quick { (2, 100) } else { (51, 500) };
    let mut peers = vec!["quinn", "iroh datagram", "iroh stream", "mtls over tcp"];
    let mut ends: Vec<Box<dyn Contestant>> = vec![
        ours::contestant("colo datagram", HOT, Way::Datagram),
        ours::contestant("colo stream", HOT, Way::Stream),
        stock::quinn(),
        irohs::contestant(Way::Datagram),
        irohs::contestant(Way::Stream),
        tls::contestant(),
    ];
    let server = nats::Server::start();
    match &server {
        Some(server) => {
            peers.push("nats");
            ends.push(nats::contestant(server.port));
        }
        None => eprintln!("ABSENT: nats-server; `benches/peers/nats-server` fetches it"),
    }
    let outcome = contestant::race(&mut ends, rounds, count, Pace::Close);
    let mut figures = Vec::new();
    for (case, ours) in [("hop_datagram", 0), ("hop_stream", 1)] {
        for (at, peer) in peers.iter().enumerate() {
            figures.extend(outcome.figures(case, ours, peer, at + 2));
        }
    }
    report("peers_hops", &figures);
}
