//! expressnet: a darknet of nodes beside exchanges, from venue bytes to settled trades.
//!
//! Modules are declared in the order in which data flows; `docs/ARCHITECTURE.md` is the map.

pub mod model;
pub mod telemetry;
pub mod venue;
pub mod book;
pub mod arbitrage;
pub mod risk;
pub mod execution;
pub mod offer;
pub mod latency;
pub mod membership;
pub mod discovery;
pub mod wire;
pub mod journal;
pub mod config;
pub mod node;
pub mod sim;
pub mod shell;
pub mod cli;
