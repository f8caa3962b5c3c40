//! What the node would owe after a crash, as records; and their replay.
