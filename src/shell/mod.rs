//! The thin part that touches the world: sockets, files, clocks, threads.
//!
//! One core thread runs a current_thread runtime. Its tasks (links, feeds, order connections) call
//! straight into the driver through the sinks below: no channel lies between bytes and decision.

pub mod boot;
pub mod clock;
pub mod control;
pub mod demo;
pub mod driver;
pub mod echo;
pub mod feed;
pub mod frames;
pub mod identity;
pub mod irc;
pub mod machine;
pub mod mesh;
pub mod open;
pub mod orders;
mod pacer;
pub mod peers;
pub mod pinned_tls;
pub mod private_file;
mod queries;
pub mod quic;
pub mod silence;
pub mod socket;
pub mod store;
pub mod ticks;
pub mod venue_server;
pub mod venue_way;
mod verifier;

use crate::membership::Direction;
use crate::model::ids::{LinkNo, NodeId, RequestNo};
use crate::model::instrument::VenueId;
use crate::node::input::Outcome;
use crate::venue::Asked;

/// What the mesh tells the driver. Calls return at once and may send on any link meanwhile.
pub trait MeshSink {
    fn link_up(&self, peer: NodeId, link: LinkNo, direction: Direction);
    fn link_down(&self, link: LinkNo);
    fn dial_failed(&self, peer: NodeId);
    fn stream_frame(&self, link: LinkNo, bytes: &[u8]);
    fn datagram(&self, link: LinkNo, bytes: &[u8]);
}

/// What feeds and order connections tell the driver. Calls return at once.
pub trait VenueSink {
    fn feed_up(&self, venue: VenueId);
    fn feed_down(&self, venue: VenueId, why: &str);
    fn feed_frame(&self, venue: VenueId, bytes: &[u8]);
    fn reply(&self, venue: VenueId, request: RequestNo, asked: Asked, outcome: Outcome<'_>);
}
