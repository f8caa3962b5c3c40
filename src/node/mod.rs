//! The composition of all stages. Pure: no clock, socket, file, task or random source.

pub mod command;
pub mod input;
pub mod output;
pub mod report;
