//! What the node would owe after a crash, as records; and their replay.
//!
//! Prices, asks and partial matches are not here: nothing is owed for them. `owed` folds records
//! into what a booting node must take up again, and back into the fewest records that say the same.

pub mod owed;
pub mod record;
