//! Tests of `src/venue` through its public interface.

mod exchange;
mod mtgox_server;
mod registry;
mod simulated;
