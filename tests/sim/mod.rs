//! Whole worlds on virtual time.

mod seeds;
mod worked_example;
