//! Thread clocks and memory, as the kernel counts them.

use std::collections::BTreeMap;
use std::fs;
use std::thread::{Builder, JoinHandle};

use rustix::time::{ClockId, clock_gettime};

/// Threads of the bench, whose time is not the node's.
const BENCH: [&str; 5] = ["core", "ear", "feeder", "friend", "visitors"];

/// Starts a thread by a name that tells whose time it is.
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    assert!(BENCH.contains(&name), "{name} would count as the node's");
    Builder::new().name(name.to_owned()).spawn(run).unwrap()
}

/// Time that this thread has run.
pub(crate) fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap()
}

/// Time that every thread of the node has run, by thread. What is no thread of the bench is one.
pub(crate) fn nodes_ns() -> BTreeMap<String, u64> {
    let main = std::process::id().to_string();
    let mut times = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/task").unwrap() {
        let path = entry.unwrap().path();
        let tid = path.file_name().unwrap().to_str().unwrap().to_owned();
        let read = |what: &str| fs::read_to_string(path.join(what));
        // A thread may have ended meanwhile.
        let (Ok(name), Ok(stat)) = (read("comm"), read("schedstat")) else {
            continue;
        };
        if tid == main || BENCH.contains(&name.trim()) {
            continue;
        }
        let ran = stat.split(' ').next().unwrap().parse().unwrap();
        times.insert(format!("{} {tid}", name.trim()), ran);
    }
    times
}

/// Memory of this process that no file backs.
pub(crate) fn resident_bytes() -> i64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<i64>().unwrap() * 1_024
}
