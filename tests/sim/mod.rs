//! Whole worlds on virtual time.

mod seeds;
pub(crate) mod worked_example;
