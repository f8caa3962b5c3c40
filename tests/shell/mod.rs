//! The shell against the real world: files, sockets, processes.

mod control;
mod store;

use std::fs;
use std::path::PathBuf;

/// Makes an empty folder for one test.
fn home(name: &str) -> PathBuf {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(fs::remove_dir_all(&home));
    fs::create_dir_all(&home).unwrap();
    home
}
