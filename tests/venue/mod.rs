//! Tests of `src/venue` through its public interface.

mod exchange;
mod registry;
mod simulated;
