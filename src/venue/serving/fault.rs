//! Faults a served venue can be told to have, each with a rate and a counter.

use std::str::FromStr;

use thiserror::Error;

use crate::model::random::Random;

/// One way in which a venue misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A stream is closed instead of being sent a frame.
    Disconnects,
    /// A trade is shown a second time in another currency, as it is to the other party.
    CrossTrades,
    /// A request is answered 502; half of them were done.
    Errors,
    /// A request is refused as an invalid call although it is none; nothing was done.
    InvalidCalls,
    /// The engine falls behind for some seconds: orders queue and lag frames tell.
    Lag,
    /// A book frame is not sent.
    LostFrames,
    /// A request is done, its reply is cut off.
    LostReplies,
    /// A book frame is sent behind the next one.
    ReorderedFrames,
    /// News of an order come before the reply that names it, or well behind it.
    ReorderedReports,
    /// A cancel takes effect only after a while.
    SlowCancel,
    /// A request is answered with a line of plain text and status 200; half of them were done.
    TextErrors,
}

/// The text names no fault.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "a fault is cross-trades, disconnects, errors, invalid-calls, lag, lost-frames, lost-replies, \
     reordered-frames, reordered-reports, slow-cancel or text-errors"
)]
pub struct FaultError;

impl Fault {
    /// Every fault with its name.
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::CrossTrades, "cross-trades"),
        (Self::Disconnects, "disconnects"),
        (Self::Errors, "errors"),
        (Self::InvalidCalls, "invalid-calls"),
        (Self::Lag, "lag"),
        (Self::LostFrames, "lost-frames"),
        (Self::LostReplies, "lost-replies"),
        (Self::ReorderedFrames, "reordered-frames"),
        (Self::ReorderedReports, "reordered-reports"),
        (Self::SlowCancel, "slow-cancel"),
        (Self::TextErrors, "text-errors"),
    ];
    /// How often a fault strikes where no rate is given: twice in a hundred chances.
    pub const PPM_DEFAULT: u32 = 20_000;
}

impl Fault {
    pub fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(fault, _)| *fault == self);
        named.map_or("", |(_, name)| name)
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(fault, _)| *fault).ok_or(FaultError)
    }
}

/// Rates, counters and the generator that decides.
#[derive(Clone, Debug)]
pub struct Faults {
    rows: [Row; Fault::ALL.len()],
    random: Random,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    ppm: u32,
    count: u64,
}

impl Faults {
    pub fn new(random: Random) -> Self {
        Self {
            rows: [Row::default(); Fault::ALL.len()],
            random,
        }
    }

    pub fn set(&mut self, fault: Fault, ppm: u32) {
        self.row_mut(fault).ppm = ppm;
    }

    /// Decides whether the fault happens this time; a fault that is off draws nothing.
    pub fn strikes(&mut self, fault: Fault) -> bool {
        let ppm = self.row_mut(fault).ppm;
        if ppm == 0 || !self.random.chance(ppm) {
            return false;
        }
        self.row_mut(fault).count += 1;
        true
    }

    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Returns how often each of the named faults struck.
    pub fn counts(&self, of: &[Fault]) -> Vec<(&'static str, u64)> {
        let all = Fault::ALL.iter().zip(&self.rows);
        let known = all.filter(|((fault, _), _)| of.contains(fault));
        known.map(|((_, name), row)| (*name, row.count)).collect()
    }

    fn row_mut(&mut self, fault: Fault) -> &mut Row {
        let index = match fault {
            Fault::CrossTrades => 0,
            Fault::Disconnects => 1,
            Fault::Errors => 2,
            Fault::InvalidCalls => 3,
            Fault::Lag => 4,
            Fault::LostFrames => 5,
            Fault::LostReplies => 6,
            Fault::ReorderedFrames => 7,
            Fault::ReorderedReports => 8,
            Fault::SlowCancel => 9,
            Fault::TextErrors => 10,
        };
        &mut self.rows[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_and_its_own_counter() {
        let mut faults = Faults::new(Random::new(1));
        for (index, (fault, name)) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(name.parse(), Ok(fault));
            assert!(!faults.strikes(fault));
            faults.set(fault, 1_000_000);
            assert!(faults.strikes(fault));
            let all = Fault::ALL.map(|(fault, _)| fault);
            assert_eq!(faults.counts(&all)[index], (name, 1));
        }
        assert_eq!("fire".parse::<Fault>(), Err(FaultError));
    }
}
