//! The command line: one file per verb.

pub mod venue_serve;
