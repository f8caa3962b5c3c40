//! What keeps a node from running is told in one line, and nothing was sent to anybody.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use expressnet::model::ids::CommitNo;
use expressnet::shell::store::Store;

use crate::shell::process::{Mode, Node, Venue};
use crate::shell::world::Folder;

#[test]
fn a_record_that_does_not_read_is_named_with_file_and_number() {
    let folder = Folder::new();
    let node = Node::make(&folder, "a", None, None);
    let (store, _) = Store::open(&node.home.join("journal.sqlite")).unwrap();
    store.append(CommitNo(1), b"\xFFnot a record").unwrap();
    drop(store);
    refused(&node.home, "journal.sqlite: record 1");
}

#[test]
fn live_orders_need_capability_and_keys_that_are_the_owner_s_alone() {
    let folder = Folder::new();
    let venue = Venue::serve("alpha", "100", 1);
    let node = Node::make(&folder, "a", Some((&venue, Mode::Live)), None);
    let (capability, key) = (node.home.join("live.toml"), node.home.join("venue.key"));
    let good = fs::read_to_string(&capability).unwrap();

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&node.home, "venue.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    fs::write(&key, "only-one-line\n").unwrap();
    refused(&node.home, "two lines belong here, key and secret");
    fs::write(&key, "trader\nloopback\n").unwrap();

    fs::write(&capability, good.replace("9999-12-31", "2020-01-01")).unwrap();
    refused(&node.home, "the capability has expired");

    fs::write(&capability, good.replace("alpha", "beta")).unwrap();
    refused(&node.home, "the capability allows venue beta");

    let other = "00000000-0000-8000-8000-000000000000";
    let id = good.split('"').nth(1).unwrap();
    fs::write(&capability, good.replace(id, other)).unwrap();
    refused(&node.home, "write one for this node");

    fs::remove_file(&capability).unwrap();
    refused(&node.home, "live.toml");
}

#[track_caller]
fn refused(home: &Path, expected: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_expressnet"))
        .arg("--home")
        .arg(home)
        .arg("run")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(expected), "{text}");
    assert!(!text.contains("loopback"), "a secret was printed: {text}");
}
