//! What the node would owe after a crash, as records; and their replay.
//!
//! Prices, asks and partial matches are not here: nothing is owed for them. `owed` folds records
//! into what a booting node must take up again.

pub mod owed;
pub mod peernet;
pub mod record;
