//! The log reads in the HdrHistogram tools of another hand: the PyPI package `hdrhistogram`.
//!
//! `tests/run` installs it into `python` in the target folder; `EXPRESSNET_PYTHON` names a Python
//! that has it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::home;
use crate::latency::verbs::{latency, path, save, stdout};
use crate::latency::world::{Making, report};

const READER: &str = "\
import sys
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
reader = HistogramLogReader(sys.argv[1], HdrHistogram(1, 60000000000, 3))
while True:
    interval = reader.get_next_interval_histogram()
    if interval is None:
        break
    values = [interval.get_value_at_percentile(p) for p in (50, 90, 99, 99.9, 100)]
    print(interval.get_tag(), interval.get_total_count(), int(interval.get_start_time_stamp()), *values)
";

#[test]
fn the_log_reads_in_python_with_equal_percentiles() {
    let Some(python) = python() else { return };
    let folder = home("latency-hlog-python");
    // Whole thousands, for the package rounds ranks to the nearest and this program up.
    let trains = [Making::of(0, 1), Making::of(0, 3)].map(Making::train);
    let report = report(0, &trains);
    let file = save(&folder, "report.json", &report);
    let log = folder.join("paths.hlog");
    std::fs::write(&log, stdout(&latency(&["hlog", path(&file)]))).unwrap();
    let output = Command::new(python)
        .args(["-c", READER, path(&log)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let expected: Vec<String> = report
        .paths()
        .flat_map(|path| {
            let name = format!("{}->{}", path.from.name, path.to.name);
            let started = path.started_ns / 1_000_000;
            path.distributions()
                .map(move |(which, distribution)| {
                    let [count, _, p50, p90, p99, p99_9, max] = distribution.figures();
                    let tag = format!("{name}:{}", which.replace(' ', "_"));
                    format!("{tag} {count} {started} {p50} {p90} {p99} {p99_9} {max}")
                })
                .collect::<Vec<String>>()
        })
        .collect();
    assert_eq!(expected.len(), 6);
    assert_eq!(stdout(&output).lines().collect::<Vec<_>>(), expected);
}

/// Finds a Python with the package, or says aloud that there is none.
fn python() -> Option<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let default = top.join("target/python/bin/python");
    let python = std::env::var_os("EXPRESSNET_PYTHON").map_or(default, PathBuf::from);
    let probe = Command::new(&python).args(["-c", "import hdrh"]).output();
    if probe.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    // Written past the capture of the test harness, so that the skip is seen.
    let line = format!(
        "SKIPPED: no hdrhistogram to read a log with ({})\n",
        python.display()
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}
