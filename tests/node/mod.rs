//! Tests of `src/node` through its public interface.

mod exit;
mod fast_path;
mod leader;
mod trains;
