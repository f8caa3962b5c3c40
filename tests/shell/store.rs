//! What the journal keeps through kills, full disks and damaged files.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use expressnet::model::ids::CommitNo;
use expressnet::shell::store::{
    AppendError, Crash, Progress, QUEUE_RECORDS_MAX, RECORD_BYTES_MAX, Store, StoreError,
};
use tokio::time::timeout;

use crate::home;

#[test]
fn what_is_durable_is_read_back_in_order() {
    let path = home("store-order").join("journal.sqlite");
    let (store, bodies) = Store::open(&path).unwrap();
    assert!(bodies.is_empty());
    fill(&store, 1, 100);
    drop(store);
    let (store, bodies) = Store::open(&path).unwrap();
    assert_eq!(bodies, (1..=100).map(body).collect::<Vec<_>>());
    fill(&store, 101, 110);
    drop(store);
    assert_eq!(reopened(&path).len(), 110);
}

#[test]
fn a_checkpoint_takes_the_place_of_everything_before_it() {
    let path = home("store-compact").join("journal.sqlite");
    let (store, _) = Store::open(&path).unwrap();
    fill(&store, 1, 50);
    store
        .compact(CommitNo(51), &[body(1_000), body(1_001)])
        .unwrap();
    store.append(CommitNo(52), &body(52)).unwrap();
    await_durable(&store, CommitNo(52));
    drop(store);
    assert_eq!(reopened(&path), [body(1_000), body(1_001), body(52)]);
}

#[test]
fn a_record_that_is_too_long_is_not_taken() {
    let path = home("store-long").join("journal.sqlite");
    let (store, _) = Store::open(&path).unwrap();
    let long = vec![0; RECORD_BYTES_MAX + 1];
    assert_eq!(store.append(CommitNo(1), &long), Err(AppendError::TooLong));
    let whole = vec![0; RECORD_BYTES_MAX];
    assert_eq!(store.append(CommitNo(1), &whole), Ok(()));
}

/// Goal: a disk that has stopped is noticed. Method: append faster than any disk can sync.
#[test]
fn a_store_that_falls_behind_says_so_and_keeps_what_it_took() {
    let path = home("store-behind").join("journal.sqlite");
    let (store, _) = Store::open(&path).unwrap();
    let body = vec![9; RECORD_BYTES_MAX / 8];
    let refused = (1..1_000_000).find(|number| store.append(CommitNo(*number), &body).is_err());
    let refused = refused.unwrap();
    assert!(refused > QUEUE_RECORDS_MAX as u64);
    await_durable(&store, CommitNo(refused - 1));
    drop(store);
    assert_eq!(reopened(&path).len() as u64, refused - 1);
}

#[test]
fn two_processes_cannot_use_one_home() {
    let path = home("store-two").join("journal.sqlite");
    let (store, _) = Store::open(&path).unwrap();
    fill(&store, 1, 1);
    let error = Store::open(&path).expect_err("opened twice");
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    let outside = rusqlite::Connection::open(&path).unwrap();
    outside
        .execute("DELETE FROM journal", [])
        .expect_err("written to from outside");
    drop((outside, store));
    assert_eq!(reopened(&path), [body(1)]);
}

#[test]
fn files_of_others_are_refused_and_not_altered() {
    let path = home("store-foreign").join("journal.sqlite");
    for bytes in [b"".as_slice(), b"not a database at all", &[0; 4_096]] {
        refuses_unaltered(&path, bytes, |error| {
            matches!(error, StoreError::Foreign { .. })
        });
    }
    fs::remove_file(&path).unwrap();
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign
        .execute_batch("CREATE TABLE journal (seq, body, digest)")
        .unwrap();
    drop(foreign);
    let bytes = fs::read(&path).unwrap();
    refuses_unaltered(&path, &bytes, |error| {
        matches!(error, StoreError::Foreign { .. })
    });
}

#[test]
fn a_later_schema_is_refused_and_not_altered() {
    let path = filled("store-version");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    drop(connection);
    let bytes = fs::read(&path).unwrap();
    refuses_unaltered(&path, &bytes, |error| {
        matches!(error, StoreError::Version { found: 2, .. })
    });
}

#[test]
fn a_truncated_file_is_refused_and_not_altered() {
    let path = filled("store-truncated");
    let whole = fs::read(&path).unwrap();
    for len in [whole.len() / 2, whole.len() - 4_096, 4_096, 200] {
        refuses_unaltered(&path, &whole[..len], |error| {
            matches!(
                error,
                StoreError::Damaged { .. } | StoreError::BrokenChain { .. }
            )
        });
    }
}

#[test]
fn an_altered_or_missing_record_breaks_the_chain() {
    for statement in [
        "UPDATE journal SET body = x'00' WHERE seq = 7",
        "DELETE FROM journal WHERE seq = 1",
        "DELETE FROM journal WHERE seq = 7",
        "DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)",
    ] {
        let path = filled("store-chain");
        let connection = rusqlite::Connection::open(&path).unwrap();
        assert_eq!(connection.execute(statement, []).unwrap(), 1);
        drop(connection);
        let error = Store::open(&path).expect_err("opened");
        assert!(
            matches!(error, StoreError::BrokenChain { .. }),
            "{statement}: {error}"
        );
    }
}

/// Goal: a kill at any moment loses nothing that was reported. Method: a child process writes and
/// reports on its standard output, and is killed without warning.
#[test]
fn nothing_reported_durable_is_lost_by_kill_9() {
    for round in 0..5 {
        let path = home("store-kill").join("journal.sqlite");
        let mut child = child(&path, None);
        let mut reported = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(number) = line.strip_prefix("durable ") {
                reported = number.parse().unwrap();
            }
            if reported > 20 * (round + 1) {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let bodies = reopened(&path);
        assert!(
            bodies.len() >= usize::try_from(reported).unwrap(),
            "lost records"
        );
        for (index, found) in (1..).zip(&bodies) {
            assert_eq!(*found, body(index), "a partial or foreign record");
        }
    }
}

#[test]
fn a_rehearsed_crash_falls_exactly_before_or_after_its_record() {
    for (point, expected) in [
        ("seventh:before", 6),
        ("seventh:after", 7),
        ("seventh:after:2", 14),
    ] {
        let path = home("store-crash").join("journal.sqlite");
        let mut child = child(&path, Some(point));
        std::io::copy(&mut child.stdout.take().unwrap(), &mut std::io::sink()).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{point}");
        assert_eq!(reopened(&path).len(), expected, "{point}");
    }
}

/// Not a test of its own: what the two tests above run in a child process.
#[test]
fn a_child_writes_until_it_is_killed() {
    let Ok(path) = env::var("EXPRESSNET_TEST_JOURNAL") else {
        return;
    };
    let path = PathBuf::from(path);
    let (store, _) = match env::var("EXPRESSNET_TEST_CRASH") {
        Ok(point) => Store::open_to_crash(&path, Crash::new(point.parse().unwrap(), kind_of)),
        Err(_) => Store::open(&path),
    }
    .unwrap();
    let mut output = std::io::stdout();
    for number in 1..1_000_000 {
        store.append(CommitNo(number), &body(number)).unwrap();
        if number % 10 == 0 {
            await_durable(&store, CommitNo(number));
            drop(writeln!(output, "\ndurable {number}"));
            drop(output.flush());
        }
    }
}

#[test]
fn a_full_disk_is_told_once_and_loses_nothing_that_was_reported() {
    let home = home("store-full");
    let Some(_disk) = TinyDisk::mount(&home) else {
        let mut output = std::io::stderr();
        drop(writeln!(
            output,
            "SKIPPED: a full disk needs the right to mount a tmpfs"
        ));
        return;
    };
    let path = home.join("journal.sqlite");
    let (store, _) = Store::open(&path).unwrap();
    let mut number = 0;
    let progress = loop {
        number += 1;
        let taken = store.append(CommitNo(number), &vec![7; 16 * 1024]);
        let progress = settled(&store, CommitNo(number));
        if progress.failed.is_some() {
            break progress;
        }
        taken.unwrap();
    };
    assert!(progress.failed.unwrap().contains("full"));
    assert!(progress.durable > CommitNo(3));
    let after = store.append(CommitNo(number + 1), b"more");
    assert_eq!(after, Err(AppendError::Stopped));
    assert_eq!(store.progress().borrow().durable, progress.durable);
    drop(store);
    let bodies = reopened(&path);
    assert_eq!(bodies.len() as u64, progress.durable.0);
    assert!(bodies.iter().all(|body| body.len() == 16 * 1024));
}

fn body(number: u64) -> Vec<u8> {
    format!(
        "record {number} {}",
        "x".repeat(usize::try_from(number % 300).unwrap())
    )
    .into_bytes()
}

fn kind_of(body: &[u8]) -> &'static str {
    let text = std::str::from_utf8(body).unwrap();
    let number: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    if number.is_multiple_of(7) {
        "seventh"
    } else {
        "other"
    }
}

fn fill(store: &Store, first: u64, last: u64) {
    for number in first..=last {
        store.append(CommitNo(number), &body(number)).unwrap();
    }
    await_durable(store, CommitNo(last));
}

fn filled(name: &str) -> PathBuf {
    let path = home(name).join("journal.sqlite");
    let (store, _) = Store::open(&path).unwrap();
    fill(&store, 1, 200);
    path
}

fn reopened(path: &Path) -> Vec<Vec<u8>> {
    Store::open(path).unwrap().1
}

fn await_durable(store: &Store, commit: CommitNo) {
    let progress = settled(store, commit);
    assert_eq!(progress.failed, None);
}

/// Waits until a commit is durable or the store has failed.
fn settled(store: &Store, commit: CommitNo) -> Progress {
    let mut receiver = store.progress();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let is_settled = |progress: &Progress| progress.durable >= commit || progress.failed.is_some();
    let settled = receiver.wait_for(is_settled);
    let settled = runtime.block_on(async { timeout(Duration::from_secs(30), settled).await });
    settled.expect("the store is stuck").unwrap().clone()
}

#[track_caller]
fn refuses_unaltered(path: &Path, bytes: &[u8], is_expected: impl Fn(&StoreError) -> bool) {
    fs::write(path, bytes).unwrap();
    let error = Store::open(path).expect_err("opened");
    assert!(is_expected(&error), "{error:?}");
    assert!(
        error.to_string().starts_with(&path.display().to_string()),
        "{error}"
    );
    assert!(fs::read(path).unwrap() == bytes, "altered: {error}");
}

fn child(path: &Path, crash: Option<&str>) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "shell::store::a_child_writes_until_it_is_killed",
            "--nocapture",
        ])
        .env("EXPRESSNET_TEST_JOURNAL", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(crash) = crash {
        command.env("EXPRESSNET_TEST_CRASH", crash);
    }
    command.spawn().unwrap()
}

/// A file system of 512 KiB, gone with the value.
struct TinyDisk(PathBuf);

impl TinyDisk {
    fn mount(at: &Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(at.to_owned()))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}
