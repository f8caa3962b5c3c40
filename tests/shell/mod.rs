//! Tests against real sockets, files and clocks.
#![expect(
    clippy::disallowed_methods,
    reason = "real sockets need real clocks and tasks"
)]

mod attacker;
mod boot;
mod clients;
mod control;
mod demo;
mod dialects;
mod flood;
mod https;
mod identity;
mod irc;
mod kills;
mod latency;
mod mesh;
mod pinned_tls;
mod process;
mod processes;
mod retry;
mod silence;
mod store;
mod simultaneous;
mod venue;
mod wan;
pub(crate) mod world;
mod wss;
