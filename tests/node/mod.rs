//! Tests of `src/node` through its public interface.

mod fast_path;
mod leader;
mod trains;
