//! The log that the HdrHistogram tools read: one interval for each train and direction.
//!
//! Format 1.3, as `hdrh/log.py` of the PyPI package hdrhistogram 0.10.8 and the interval logs of the
//! crate hdrhistogram 7.6.0 read it (both read 2026-11-23): comments, a legend, then `Tag=NAME,start,length,max,histogram`; seconds from the base time, the maximum in
//! milliseconds. The intervals stand in the order in which they began.

use std::fmt::Write as _;

use crate::latency::histogram;
use crate::latency::report::{Carrier, Measured, Report};

const LEGEND: &str =
    "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"";

/// Writes the log of every path that has answers.
pub fn write(report: &Report) -> String {
    let mut paths: Vec<&Measured> = report.paths().collect();
    paths.sort_by_key(|path| path.started_ns);
    let base_ns = paths.first().map_or(0, |path| path.started_ns);
    let base = seconds(base_ns);
    let mut log = format!(
        "#[expressnet latency report; nanoseconds, {} digits]\n\
         #[Histogram log format version 1.3]\n\
         #[StartTime: {base} (seconds since epoch)]\n\
         #[BaseTime: {base} (seconds since epoch)]\n\
         {LEGEND}\n",
        histogram::DIGITS
    );
    for path in paths {
        let start = seconds(path.started_ns.saturating_sub(base_ns));
        let length = seconds(path.lasted_ns);
        for (which, distribution) in path.distributions() {
            let line = writeln!(
                log,
                "Tag={},{start},{length},{},{}",
                tag(path, which),
                milliseconds(distribution.max_ns),
                distribution.histogram
            );
            // Writing to a string cannot fail.
            line.unwrap_or_default();
        }
    }
    log
}

/// Names an interval, without the characters that end a tag: `alpha->beta:round_trip`.
pub fn tag(path: &Measured, which: &str) -> String {
    let over = match path.over {
        Carrier::Mesh => "",
        Carrier::Udp => ":udp",
        Carrier::Icmp => ":icmp",
    };
    let burst = match path.spacing.burst {
        0 | 1 => String::new(),
        burst => format!(":burst{burst}"),
    };
    let name = format!("{}->{}{over}{burst}:{which}", path.from.name, path.to.name);
    name.replace([',', ' '], "_")
}

fn seconds(ns: u64) -> String {
    let millis = ns / 1_000_000;
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

fn milliseconds(ns: u64) -> String {
    let micros = ns / 1_000;
    format!("{}.{:03}", micros / 1_000, micros % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::fixture;
    use crate::model::time::Span;

    #[test]
    fn each_direction_is_an_interval_in_the_order_of_time() {
        let mut late = fixture::train(1, 3);
        late.started = late.started + Span::millis(2_500);
        late.to.name = "New York, NY".to_owned();
        let log = write(&fixture::report(&[late, fixture::train(1, 2)]));
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(
            lines[2],
            "#[StartTime: 1790000000.000 (seconds since epoch)]"
        );
        let heads: Vec<&str> = lines[5..]
            .iter()
            .map(|line| line.rsplit_once(',').unwrap().0)
            .collect();
        assert_eq!(heads[0], "Tag=site1->site2:round_trip,0.000,9.990,29.999");
        assert!(heads[1].starts_with("Tag=site1->site2:there,0.000,"));
        assert!(heads[2].starts_with("Tag=site1->site2:back,0.000,"));
        assert!(heads[3].starts_with("Tag=site1->New_York__NY:round_trip,2.500,9.990,"));
        assert_eq!(heads.len(), 6);
    }
}
