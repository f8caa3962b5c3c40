//! Round trips between two ends on two pinned cores: our transports, and what they are made of.
//! `benches/README.md` tells how to run and read it.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(clippy::float_arithmetic, reason = "figures of a bench are no money")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock around what it measures"
)]

#[path = "../figure.rs"]
mod figure;

mod admission;
mod contestant;
#[path = "../../tests/node/leader.rs"]
#[expect(dead_code, reason = "here nobody commands a leader")]
mod leader;
mod legs;
mod ours;
mod stock;
mod udp;

use std::time::Duration;

use expressnet::shell::mesh::Profile;

use crate::contestant::{Contestant, Pace, Way};
use crate::figure::{Figure, report};

/// The size of a leg or a short quote.
pub(crate) const MESSAGE_BYTES: usize = 64;
/// Peers of a fan-out, and bytes of a quote.
pub(crate) const FAN_OUT: usize = 12;
pub(crate) const QUOTE_BYTES: usize = 256;

const HOT: Profile = Profile::Colo {
    park_after: Duration::from_millis(3),
};

const COLD: Profile = Profile::Colo {
    park_after: Duration::ZERO,
};

/// Round trips of one round, and rounds.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    close: usize,
    sparse: usize,
    handshakes: usize,
}

fn main() {
    contestant::find_cores();
    let is_quick = !std::env::args().any(|argument| argument == "--bench");
    let effort = if is_quick {
        Effort {
            rounds: 2,
            close: 200,
            sparse: 20,
            handshakes: 3,
        }
    } else {
        Effort {
            rounds: 101,
            close: 1_000,
            sparse: 50,
            handshakes: 5,
        }
    };
    let only = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let wanted = |case: &str| {
        only.as_ref()
            .is_none_or(|only| case.contains(only.as_str()))
    };
    let mut figures = Vec::new();
    if wanted("hop") {
        hops(effort, &mut figures);
    }
    if wanted("leg") {
        legs(effort, &mut figures);
    }
    if wanted("shared") {
        shared(effort, &mut figures);
    }
    if wanted("fan_out") {
        fan_out(effort, &mut figures);
    }
    if wanted("admission") {
        figures.push(admission::compare(effort.rounds.min(15), effort.handshakes));
    }
    report("transport", &figures);
}

/// `colo` against the socket alone, and against quinn in two ways.
fn hops(effort: Effort, figures: &mut Vec<Figure>) {
    let mut ends = [
        ours::contestant("colo datagram", HOT, Way::Datagram),
        ours::contestant("colo stream", HOT, Way::Stream),
        udp::spinning(),
        stock::quinn(),
        stock::quinn_never_parking(),
    ];
    let close = contestant::race(&mut ends, effort.rounds, effort.close, Pace::Close);
    for (case, at) in [("hop_datagram", 0), ("hop_stream", 1)] {
        for (peer, beside) in [("udp spin", 2), ("quinn", 3), ("quinn never parking", 4)] {
            figures.extend(close.figures(case, at, peer, beside));
        }
    }
    let sparse = contestant::race(
        &mut ends[..3],
        effort.rounds,
        effort.sparse,
        Pace::EveryMilli,
    );
    figures.extend(sparse.figures("hop_sparse", 0, "udp spin", 2));
}

/// From the change of a book to the leg that leaves another node, beside the way alone.
fn legs(effort: Effort, figures: &mut Vec<Figure>) {
    let mut ends = [
        legs::contestant(HOT),
        ours::contestant("half stream", HOT, Way::Stream),
        ours::contestant("half datagram", HOT, Way::Datagram),
    ];
    let close = contestant::race(&mut ends, effort.rounds, effort.close / 20, Pace::Close);
    for (peer, at) in [("half a hop, stream", 1), ("half a hop, datagram", 2)] {
        let half = |figure: Figure| Figure {
            peer_ns: figure.peer_ns / 2.0,
            ..figure
        };
        let beside = close.figures("book_to_far_leg", 0, peer, at);
        figures.extend(beside.into_iter().map(half));
    }
}

/// `shared` against the same runtime's own socket.
fn shared(effort: Effort, figures: &mut Vec<Figure>) {
    let mut ends: [Box<dyn Contestant>; 3] = [
        ours::contestant("shared datagram", Profile::Shared, Way::Datagram),
        ours::contestant("cold datagram", COLD, Way::Datagram),
        udp::awaited(),
    ];
    let close = contestant::race(&mut ends, effort.rounds, effort.close / 4, Pace::Close);
    figures.extend(close.figures("hop_shared", 0, "tokio udp", 2));
    figures.extend(close.figures("hop_cold", 1, "tokio udp", 2));
}

/// One message to twelve peers, until the last of them has it.
fn fan_out(effort: Effort, figures: &mut Vec<Figure>) {
    let mut ends: [Box<dyn Contestant>; 2] = [ours::fan_out(HOT), udp::fan_out()];
    let close = contestant::race(&mut ends, effort.rounds, effort.close / 8, Pace::Close);
    figures.extend(close.figures("fan_out_12", 0, "udp spin", 1));
}
