//! A whole darknet on virtual time: seeded faults, invariants checked after every step.
//!
//! The simulator drives the same `Node` as the shell does, with the venues' own servers, a network
//! that loses, delays, doubles and reorders, disks that are slow and processes that die. Equal
//! seeds give equal runs, to the byte.
//!
//! ```text
//! scenario  who is there, linked how, with what money and rules
//! world     the event queue: every input of every node, in time order
//! network   connections between nodes
//! market    venues and the way to them
//! checker   what must hold after every step, and once all is quiet
//! tally     what happened, for the summary
//! ```

mod checker;
mod market;
mod network;
pub mod scenario;
pub mod tally;
mod world;

use crate::node::Faults as Bugs;
use crate::sim::scenario::Scenario;
use crate::sim::tally::Tallies;
use crate::sim::world::World;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    /// Every broken invariant, first one first; at most 16.
    pub violations: Vec<String>,
    pub tallies: Tallies,
    /// A digest of every output of every node, in order.
    pub trace: u64,
    /// What every node journalled, sent on streams and told, where that was asked for.
    pub story: Vec<String>,
}

/// Runs one seeded world to its quiet end.
pub fn run(scenario: &Scenario, bugs: Bugs) -> Report {
    let mut world = World::new(scenario, bugs);
    world.run();
    world.into_report(scenario.seed)
}
