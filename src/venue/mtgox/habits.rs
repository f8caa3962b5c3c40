//! Habits of the venue at different times. All of them are modelled: kinds of trouble that users
//! and clients of the time describe, with numbers chosen here.

use crate::model::time::Span;
use crate::venue::serving::SetupError;
use crate::venue::serving::fault::{Fault, Faults};

/// How a served venue behaves beside its rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Habits {
    /// How far the engine is always behind.
    pub(super) steady_lag: Span,
    /// How far behind it falls at times, and how often a second begins such a time.
    pub(super) wave: Option<(Span, u32)>,
    /// How often the stream says that all asks are gone, and takes it back a second later. The
    /// documents show the true book in between.
    pub(super) asks_flushed_every: Option<Span>,
    /// Whether national currencies, and coins, can be withdrawn at all.
    pub(super) is_fiat_stuck: bool,
    pub(super) are_coins_stuck: bool,
    /// Faults that come with the time, unless the operator gave them a rate.
    faults: &'static [(Fault, u32)],
}

/// The names that a setting can have.
pub(super) const KNOWN: &str = "mtgox-2011, mtgox-2013, mtgox-2014, mtgox-lag-<seconds up to 4200>";

/// The longest steady lag: in April 2013 the engine was 70 minutes behind.
const LAG_SECS_MAX: u64 = 4_200;

/// Modelled on 2011 and 2012: a small engine, errors of the data base as plain text, HTML errors
/// under load, and the stream of August 2012 that lost all asks. Source: the venue's error texts in
/// old clients; the surveys of this project on other tools ("flushed asks").
const YEAR_2011: Habits = Habits {
    steady_lag: Span::ZERO,
    wave: Some((Span::secs(3), 5_000)),
    asks_flushed_every: Some(Span::secs(600)),
    is_fiat_stuck: false,
    are_coins_stuck: false,
    faults: &[(Fault::TextErrors, 5_000), (Fault::Errors, 5_000)],
};

/// Modelled on 2013: the engine falls up to a minute behind, calls are refused for no reason,
/// rows of the book get lost, dollars cannot be withdrawn. Source: clients that show the lag and
/// repeat invalid calls ("about 10 % at load").
const YEAR_2013: Habits = Habits {
    steady_lag: Span::ZERO,
    wave: Some((Span::secs(60), 10_000)),
    asks_flushed_every: None,
    is_fiat_stuck: true,
    are_coins_stuck: false,
    faults: &[
        (Fault::InvalidCalls, 50_000),
        (Fault::LostFrames, 2_000),
        (Fault::CrossTrades, 100_000),
        (Fault::Errors, 2_000),
    ],
};

/// Modelled on January and February 2014: a calmer engine, and nothing can be withdrawn.
const YEAR_2014: Habits = Habits {
    steady_lag: Span::ZERO,
    wave: Some((Span::secs(10), 5_000)),
    asks_flushed_every: None,
    is_fiat_stuck: true,
    are_coins_stuck: true,
    faults: &[
        (Fault::CrossTrades, 100_000),
        (Fault::InvalidCalls, 10_000),
        (Fault::LostFrames, 2_000),
    ],
};

impl Habits {
    /// Reads a personality. `mtgox-lag-60` is an engine that is steadily 60 seconds behind, which
    /// may also be written `lag=60s`.
    ///
    /// # Errors
    /// `SetupError::Personality` for a name that is not known.
    pub(super) fn parse(personality: Option<&str>) -> Result<Self, SetupError> {
        let Some(found) = personality else {
            return Ok(Self::default());
        };
        let habits = match found {
            "mtgox-2011" => Some(YEAR_2011),
            "mtgox-2013" => Some(YEAR_2013),
            "mtgox-2014" => Some(YEAR_2014),
            _ => steady(found),
        };
        habits.ok_or_else(|| SetupError::Personality {
            found: found.to_owned(),
            known: KNOWN,
        })
    }

    /// Sets the rates that come with the time and that `given` does not name.
    pub(super) fn set_faults(&self, given: &[(Fault, u32)], faults: &mut Faults) {
        for (fault, ppm) in self.faults.iter().chain(given) {
            faults.set(*fault, *ppm);
        }
    }
}

fn steady(text: &str) -> Option<Habits> {
    let seconds = text.strip_prefix("mtgox-lag-").or_else(|| {
        let seconds = text.strip_prefix("lag=")?;
        seconds.strip_suffix('s')
    });
    let seconds: u64 = seconds?.parse().ok()?;
    (seconds <= LAG_SECS_MAX).then(|| Habits {
        steady_lag: Span::secs(seconds),
        ..Habits::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_or_refused() {
        let lag = |text| Habits::parse(Some(text)).map(|habits| habits.steady_lag);
        assert_eq!(lag("mtgox-lag-60"), Ok(Span::secs(60)));
        assert_eq!(lag("lag=60s"), Ok(Span::secs(60)));
        assert_eq!(Habits::parse(None), Ok(Habits::default()));
        for name in ["mtgox-2011", "mtgox-2013", "mtgox-2014"] {
            assert!(Habits::parse(Some(name)).is_ok());
        }
        for name in [
            "",
            "btce",
            "mtgox-lag-",
            "mtgox-lag-4201",
            "lag=-1s",
            "lag=60",
        ] {
            assert!(Habits::parse(Some(name)).is_err(), "{name}");
        }
    }
}
