//! Tests of `src/venue` through its public interface.

mod btce_server;
mod exchange;
mod registry;
mod simulated;
