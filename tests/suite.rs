//! All integration tests, one binary; folders mirror `src`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod arbitrage;
mod cli;
mod config;
mod doors;
mod latency;
mod membership;
mod node;
mod offer;
mod shell;
mod sim;
mod venue;

use std::fs;
use std::path::PathBuf;

use expressnet::model;

/// Makes an empty folder for one test.
fn home(name: &str) -> PathBuf {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(fs::remove_dir_all(&home));
    fs::create_dir_all(&home).unwrap();
    home
}
