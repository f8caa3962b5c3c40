//! Nonces of 32 bits, for ever: reserved durably in blocks before they are used.

use crate::model::time::{Span, Time};

/// Numbers of requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nonces {
    next: u64,
    /// Reserved up to here.
    below: u64,
    /// How far to leap where only "used" is said; it grows while that is said again.
    leap: u64,
}

impl Default for Nonces {
    fn default() -> Self {
        Self {
            next: 1,
            below: 0,
            leap: Self::LEAP_MIN,
        }
    }
}

impl Nonces {
    /// Nonces reserved at a time; a new block is asked for when half of one is left.
    const BLOCK: u64 = 4_096;
    const LEAP_MIN: u64 = 16;

    /// Goes on above what the exchange has seen.
    pub(super) fn handle_refused(&mut self, text: &str, nonce_max: u64) {
        let seen = text.split_once("on key:").and_then(|(_, rest)| {
            let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
            digits.parse::<u64>().ok()
        });
        match seen {
            Some(seen) if seen < nonce_max => self.next = self.next.max(seen + 1),
            Some(_) => (),
            None => {
                self.next = (self.next + self.leap).min(nonce_max);
                self.leap = (self.leap * 8).min(nonce_max / 64);
            }
        }
    }

    /// Takes note that the exchange took the last one.
    pub(super) fn handle_accepted(&mut self) {
        self.leap = Self::LEAP_MIN;
    }

    pub(super) fn take(&mut self) -> u64 {
        let nonce = self.next;
        self.next += 1;
        nonce
    }

    /// Uses none that an earlier run may have used.
    pub(super) fn resume(&mut self, used_below: u64) {
        self.next = self.next.max(used_below);
    }

    /// Returns up to where they should be reserved, when that is needed.
    pub(super) fn wanted(&self, now: Time, nonce_max: u64) -> Option<u64> {
        // Whoever else used this key most likely counted seconds.
        let seconds = now.0 / Span::SECOND.0;
        let next = match self.below {
            0 => {
                // Some are kept for later whatever the year.
                let latest = nonce_max / 16 * 15;
                self.next.max(seconds.min(latest))
            }
            _ => self.next,
        };
        let is_low = self.below < next + Self::BLOCK / 2;
        let below = (next + Self::BLOCK).min(nonce_max + 1);
        (is_low && below > self.below).then_some(below)
    }

    pub(super) fn grant(&mut self, below: u64) {
        if self.below == 0 {
            self.next = self.next.max(below.saturating_sub(Self::BLOCK));
        }
        self.below = self.below.max(below);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.next < self.below
    }
}
