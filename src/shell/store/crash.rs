//! Rehearsed crashes: the process kills itself around the commit of a chosen record.

use std::str::FromStr;

use rustix::process::{Signal, getpid, kill_process};
use thiserror::Error;

/// Where a rehearsal ends, as `run --crash-at KIND:before|after[:N]` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    /// The record's kind, by the name that the journal gives it.
    pub kind: String,
    pub moment: Moment,
    /// The how manieth record of that kind in this run, from 1.
    pub nth: u32,
}

/// On which side of the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The record is not on disk, and nobody was told that it is.
    Before,
    /// The record is on disk, and nobody was told that it is.
    After,
}

/// Why a text is not a crash point.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a crash point is KIND:before or KIND:after, with :N for the Nth such record")]
pub struct CrashPointError;

impl FromStr for CrashPoint {
    type Err = CrashPointError;

    fn from_str(text: &str) -> Result<Self, CrashPointError> {
        let mut parts = text.split(':');
        let kind = parts.next().filter(|kind| !kind.is_empty());
        let moment = match parts.next() {
            Some("before") => Moment::Before,
            Some("after") => Moment::After,
            Some(_) | None => return Err(CrashPointError),
        };
        let nth = match parts.next() {
            Some(number) => number.parse().map_err(|_| CrashPointError)?,
            None => 1,
        };
        if nth == 0 || parts.next().is_some() {
            return Err(CrashPointError);
        }
        Ok(Self {
            kind: kind.ok_or(CrashPointError)?.to_owned(),
            moment,
            nth,
        })
    }
}

/// A crash point with the way to tell the kind of a record.
#[derive(Clone, Debug)]
pub struct Crash {
    point: CrashPoint,
    kind_of: fn(&[u8]) -> &'static str,
    seen: u32,
}

impl Crash {
    pub fn new(point: CrashPoint, kind_of: fn(&[u8]) -> &'static str) -> Self {
        let seen = 0;
        Self {
            point,
            kind_of,
            seen,
        }
    }

    /// Counts a record that is about to be committed; returns the moment if it is the one.
    pub(super) fn is_due(&mut self, body: &[u8]) -> Option<Moment> {
        if (self.kind_of)(body) != self.point.kind {
            return None;
        }
        self.seen = self.seen.saturating_add(1);
        (self.seen == self.point.nth).then_some(self.point.moment)
    }
}

/// Ends the process as `kill -9` does: no destructor runs, no buffer is written.
pub(super) fn now() -> ! {
    while kill_process(getpid(), Signal::KILL).is_ok() {}
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_point_is_read_strictly() {
        let point: CrashPoint = "envelope:after:3".parse().unwrap();
        let expected = CrashPoint {
            kind: "envelope".to_owned(),
            moment: Moment::After,
            nth: 3,
        };
        assert_eq!(point, expected);
        let first: CrashPoint = "accept:before".parse().unwrap();
        assert_eq!(first.nth, 1);
        for text in ["", "x", ":before", "x:during", "x:after:0", "x:after:1:2"] {
            assert_eq!(text.parse::<CrashPoint>(), Err(CrashPointError), "{text}");
        }
    }

    #[test]
    fn only_the_nth_record_of_the_kind_is_due() {
        let point = "a:before:2".parse().unwrap();
        let mut crash = Crash::new(point, |body| if body == b"a" { "a" } else { "other" });
        let due: Vec<bool> = [b"a", b"b", b"a", b"a"]
            .iter()
            .map(|body| crash.is_due(*body).is_some())
            .collect();
        assert_eq!(due, [false, false, true, false]);
    }
}
