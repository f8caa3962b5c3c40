//! What of a measurement is the machine's own: its loopback, its clock, its kernel.
#![expect(
    clippy::disallowed_methods,
    reason = "round trips of the machine with itself are timed by its own clock"
)]

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;

use crate::config::FILE_BYTES_MAX;
use crate::latency::lines::{Assembly, Heard};
use crate::latency::report::{Header, Report};
use crate::latency::train::{Spread, Train};
use crate::latency::wire::Hex;
use crate::model::time::{Span, Time};
use crate::shell::identity::Identity;

/// Round trips over loopback.
const ROUND_TRIPS: usize = 300;
/// Round trips before them, which are not counted.
const WARM_UP: usize = 20;
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// Bytes of each, as many as a probe has on the wire.
const BYTES: usize = 100;
/// Letters of what a program says of the clock.
const TEXT_LEN_MAX: usize = 120;

/// Sends datagrams to a thread of this process and back; `None` where that does not work.
pub fn loopback() -> Option<Spread> {
    ping_pong().ok()
}

fn ping_pong() -> io::Result<Spread> {
    let (here, there) = (socket()?, socket()?);
    here.connect(there.local_addr()?)?;
    there.connect(here.local_addr()?)?;
    let echo = thread::Builder::new().spawn(move || {
        let mut bytes = [0; BYTES];
        for _ in 0..WARM_UP + ROUND_TRIPS {
            match there.recv(&mut bytes) {
                Ok(len) if there.send(&bytes[..len]).is_ok() => (),
                Ok(_) | Err(_) => return,
            }
        }
    })?;
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    let mut bytes = [0; BYTES];
    for turn in 0..WARM_UP + ROUND_TRIPS {
        let began = Instant::now();
        here.send(&bytes)?;
        here.recv(&mut bytes)?;
        if turn >= WARM_UP {
            let nanos = began.elapsed().as_nanos();
            times.push(Span(u64::try_from(nanos).unwrap_or(u64::MAX)));
        }
    }
    drop(echo.join());
    times.sort_unstable();
    let at = |per_mille: usize| times[(times.len() - 1) * per_mille / 1_000];
    Ok(Spread {
        count: u64::try_from(times.len()).unwrap_or(u64::MAX),
        p50: at(500),
        p99: at(990),
        max: at(1_000),
    })
}

fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    Ok(socket)
}

/// Says what is known of the system clock: by chrony where it runs, else by systemd.
pub fn system_clock() -> String {
    let chrony = told("chronyc", &["-c", "tracking"]).and_then(|line| chrony(&line));
    let systemd = || {
        let told = told("timedatectl", &["show", "-p", "NTPSynchronized", "--value"])?;
        match told.as_str() {
            "yes" => Some("synchronised over the network, says systemd; bound unknown".to_owned()),
            "no" => Some("not synchronised, says systemd".to_owned()),
            _ => None,
        }
    };
    chrony.or_else(systemd).unwrap_or_else(|| {
        "unknown: neither chronyc nor timedatectl says anything of it".to_owned()
    })
}

/// Reads `chronyc -c tracking`: 0 reference, 1 its name, 2 stratum, 3 time, 4 offset now, 5 last
/// offset, 6 root mean square, 7 frequency, 8 residual, 9 skew, 10 root delay, 11 root dispersion,
/// 12 update interval, 13 leap status; seconds. The clock is off by at most the offset, half the
/// delay and the dispersion (chronyc(1), "tracking",
/// <https://chrony-project.org/doc/4.6/chronyc.html>, read 2026-11-23).
fn chrony(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.trim().split(',').collect();
    let nanos = |at: usize| nanos_of(fields.get(at)?);
    let off = nanos(4)?
        .saturating_add(nanos(10)? / 2)
        .saturating_add(nanos(11)?);
    let name = fields.get(1).filter(|name| !name.is_empty())?;
    let leap = fields.get(13)?;
    if *leap == "Not synchronised" {
        return Some("not synchronised, says chrony".to_owned());
    }
    let bound_us = off.div_ceil(1_000);
    Some(format!("chrony follows {name}, ±{bound_us} µs"))
}

/// Reads seconds with a decimal point; the sign is dropped.
fn nanos_of(text: &str) -> Option<u64> {
    let text = text.trim().trim_start_matches(['-', '+']);
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let decimals: String = decimals
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let whole: u64 = whole.parse().ok()?;
    whole
        .checked_mul(1_000_000_000)?
        .checked_add(decimals.parse().ok()?)
}

/// Returns the first line that a program prints, if it is there and succeeds.
fn told(program: &str, words: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(words).stdin(Stdio::null()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?;
    Some(line.trim().chars().take(TEXT_LEN_MAX).collect())
}

/// Makes and signs a node's part of a report; fills in what the machine knows of itself.
pub fn report(identity: &Identity, config: &Path, mut trains: Vec<Train>) -> Report {
    let (clock, loopback) = (system_clock(), loopback());
    for train in &mut trains {
        train.own.loopback = loopback;
        clock.clone_into(&mut train.own.system_clock);
    }
    let started = trains.iter().map(|train| train.started).min();
    let header = Header {
        key: Hex(identity.node_key()),
        name: trains
            .first()
            .map_or_else(String::new, |train| train.from.name.clone()),
        started_ns: started.unwrap_or(Time::ZERO).0,
        program: concat!("expressnet ", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel: kernel(),
        clock,
        configuration: hash_of(config),
    };
    Report::new(header, &trains, |bytes| identity.sign(bytes))
}

/// Makes a report of trains that come as lines of JSON; nothing where they are none.
pub(super) fn report_of_lines(identity: &Identity, config: &Path, lines: &[u8]) -> Option<String> {
    let mut assembly = Assembly::default();
    let mut trains = Vec::new();
    for line in std::str::from_utf8(lines).ok()?.lines() {
        if let Heard::Train(train) = assembly.hear(line).ok()? {
            trains.push(*train);
        }
    }
    let report = report(identity, config, trains);
    serde_json::to_string(&report).ok()
}

/// Returns the SHA-256 of a file in hexadecimal; nothing where it cannot be read.
fn hash_of(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_or_else(
        |_| String::new(),
        |bytes| HEXLOWER.encode(digest::digest(&digest::SHA256, &bytes).as_ref()),
    )
}

/// Names the running kernel.
pub fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    release.map_or_else(
        |_| "unknown".to_owned(),
        |release| format!("Linux {}", release.trim()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_answers_itself() {
        let spread = loopback().unwrap();
        assert_eq!(spread.count, 300);
        assert!(spread.p50 > Span::ZERO && spread.p50 <= spread.p99);
        assert!(spread.p99 <= spread.max);
    }

    #[test]
    fn what_chrony_says_becomes_a_bound() {
        let line = "A9FEA97B,169.254.169.123,4,1700000000.123,-0.000012500,0.000001,0.000010,\
                    -7.5,0.001,0.05,0.000400000,0.000250000,16.2,Normal\n";
        let told = "chrony follows 169.254.169.123, ±463 µs";
        assert_eq!(chrony(line).as_deref(), Some(told));
        let lost = line.replace("Normal", "Not synchronised");
        let told = "not synchronised, says chrony";
        assert_eq!(chrony(&lost).as_deref(), Some(told));
        for text in [
            "",
            "506 Cannot talk to daemon",
            ",,,,,,,,,,,,,",
            "a,b,4,1,x,1,1,1,1,1,1,1,1,N",
        ] {
            assert_eq!(chrony(text), None, "{text}");
        }
    }
}
