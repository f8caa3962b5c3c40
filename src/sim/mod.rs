//! A whole darknet on virtual time: seeded faults, invariants checked after every step.
//!
//! The simulator drives the same `Node` as the shell does, with the venues' own servers, a network
//! that loses, delays, doubles and reorders, disks that are slow and processes that die. Equal
//! seeds give equal runs, to the byte.
//!
//! ```text
//! scenario  who is there, linked how, with what money and rules
//! world     the event queue, and how nodes boot
//! events    what happens: every input of every node, in time order
//! carry     what nodes ask for: disks, peers, venues, and what goes wrong on the way
//! faults    what goes wrong by itself, what owners do by hand, the calm at the end
//! network   connections between nodes
//! market    venues and the way to them
//! checker   what must hold after every step, and once all is quiet
//! tally     what happened, for the summary
//! ```

mod carry;
mod checker;
mod events;
mod faults;
mod market;
mod network;
pub mod scenario;
pub mod tally;
mod world;

use crate::execution::order::Order;
use crate::model::instrument::Instrument;
use crate::model::number::Quantity;
use crate::node::{Faults as Bugs, Totals};
use crate::offer::hold::Hold;
use crate::offer::origin::OwnOffer;
use crate::sim::scenario::Scenario;
use crate::sim::tally::Tallies;
use crate::sim::world::{Host, World};

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    /// Every broken invariant, first one first; at most 16.
    pub violations: Vec<String>,
    pub tallies: Tallies,
    /// A digest of every output of every node, in order.
    pub trace: u64,
    pub nodes: Vec<NodeEnd>,
    /// What every node journalled, sent on streams and told, where that was asked for.
    pub story: Vec<String>,
}

/// How a node stood when its world ended.
#[derive(Clone, Debug, Default)]
pub struct NodeEnd {
    pub funds: Vec<(Instrument, Quantity)>,
    /// Own offers, closed ones included.
    pub offers: Vec<OwnOffer>,
    pub orders: Vec<Order>,
    /// What the node owes to origins that have counted it.
    pub sealed: Vec<Hold>,
    pub totals: Totals,
}

impl NodeEnd {
    fn of(host: &Host) -> Self {
        host.node.as_ref().map_or_else(Self::default, |node| Self {
            funds: node.funds().iter().collect(),
            offers: node
                .origins()
                .open()
                .chain(node.origins().closed())
                .cloned()
                .collect(),
            orders: node.orders().ended().cloned().collect(),
            sealed: node.holds().sealed().copied().collect(),
            totals: node.totals().clone(),
        })
    }
}

/// Runs one seeded world to its quiet end.
pub fn run(scenario: &Scenario, bugs: Bugs) -> Report {
    let mut world = World::new(scenario, bugs);
    world.run();
    world.into_report(scenario.seed)
}
