//! Tests of `src/venue` through its public interface.

mod exchange;
