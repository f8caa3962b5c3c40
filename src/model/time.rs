//! Time as an input: nanoseconds since 1970, always handed in, never read.

use std::fmt;
use std::ops::{Add, Sub};

/// A moment in nanoseconds since 1970. It never runs backwards within one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

/// A length of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub u64);

/// When a machine wants to be called again, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    pub at: Time,
    pub why: &'static str,
}

impl Time {
    pub const ZERO: Self = Self(0);
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the time passed since `earlier`, or zero where that lies ahead.
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// Returns the number of the UTC day.
    pub fn day(self) -> u64 {
        self.0 / Span::DAY.0
    }
}

impl Span {
    pub const ZERO: Self = Self(0);
    pub const MICRO: Self = Self(1_000);
    pub const MILLI: Self = Self(1_000_000);
    pub const SECOND: Self = Self(1_000_000_000);
    pub const MINUTE: Self = Self(60 * 1_000_000_000);
    pub const DAY: Self = Self(86_400 * 1_000_000_000);

    pub const fn micros(count: u64) -> Self {
        Self(count * 1_000)
    }

    pub const fn millis(count: u64) -> Self {
        Self(count * 1_000_000)
    }

    pub const fn secs(count: u64) -> Self {
        Self(count * 1_000_000_000)
    }

    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    pub fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add<Span> for Time {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Time {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Deadline {
    /// Returns the earlier of two optional deadlines; the first wins a tie.
    pub fn earlier(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(if other.at < one.at { other } else { one }),
            (one, other) => one.or(other),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_000_000 => write!(formatter, "{} µs", self.as_micros()),
            1_000_000..10_000_000_000 => write!(formatter, "{} ms", self.as_millis()),
            _ => write!(formatter, "{} s", self.as_millis() / 1_000),
        }
    }
}
