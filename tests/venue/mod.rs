//! Tests of `src/venue` through its public interface.

mod adapters;
mod btce_server;
mod conformance;
mod exchange;
pub(crate) mod fixtures;
mod fuzz;
mod money;
mod mtgox_server;
mod registry;
mod replay_coinbase;
mod replay_kraken;
mod replaying;
mod replay;
mod replay_binance;
mod replay_bitstamp;
mod signing;
mod simulated;
mod world;
