//! Latency between sites: what is measured, what it may claim, and how it is shown.
//!
//! ```text
//! schedule ─▶ probes on the sockets that trade ─▶ Train ─▶ Report ─▶ text, JSON, .hlog, SVG
//!                                                            └─▶ verify, compare, why
//! ```
//! A train is open-loop: its probes leave when they are due, whether or not earlier ones were
//! answered, so a peer that stalls shows in every probe that met the stall.

pub mod attest;
pub mod clock;
pub mod compare;
pub mod figure;
#[cfg(test)]
mod fixture;
pub mod histogram;
pub mod hlog;
pub mod lines;
pub mod measured;
pub mod physics;
pub mod plot;
pub mod prober;
pub mod quota;
pub mod report;
pub mod responder;
pub mod sign;
pub mod summary;
pub mod train;
pub mod verify;
pub mod why;
pub mod wire;
