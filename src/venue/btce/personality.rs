//! Habits of one exchange at one time. All of them are modelled: no record gives their numbers.

use crate::model::time::Time;
use crate::venue::btce::access::Turns;
use crate::venue::btce::style::{NonceText, Style};
use crate::venue::serving::SetupError;

/// A named set of habits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    pub name: &'static str,
    /// The exchange that has them.
    pub style: &'static str,
    pub nonce_text: NonceText,
    /// How often the front end wants to see a browser, in parts per million of all requests.
    /// Modelled after clients of the time that carried its cookie; they tell no rate.
    pub challenge_ppm: u32,
    /// Requests of all customers in a second beyond which the overload page comes. Modelled after
    /// the documentation, which says that answers are not JSON where limits are exceeded.
    pub overload_per_s: Option<u16>,
    /// Whether a taker's row in TradeHistory names the resting order it met, another's, instead of
    /// its own. So a recorded history of 2013 reads: two rows of one second and one price, which
    /// together fill a round amount, name two orders.
    pub takers_row_names_maker: bool,
}

/// Every personality.
pub const PERSONALITIES: [Habits; 2] = [
    Habits {
        name: "btce-2013",
        style: "btce",
        nonce_text: NonceText::Advising,
        challenge_ppm: 1_000,
        overload_per_s: Some(200),
        takers_row_names_maker: true,
    },
    Habits {
        name: "yobit-2016",
        style: "yobit",
        nonce_text: NonceText::Used,
        challenge_ppm: 5_000,
        overload_per_s: Some(100),
        takers_row_names_maker: false,
    },
];
const KNOWN: &str = "btce-2013 (at btce), yobit-2016 (at yobit)";

/// What is left of the second for all customers together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load(Turns);

impl Habits {
    /// Returns the habits of a name, or plain ones where none is given.
    ///
    /// # Errors
    /// The exchange has no habits of that name.
    pub fn find(name: Option<&str>, style: &Style) -> Result<Self, SetupError> {
        let Some(name) = name else {
            return Ok(Self::plain(style));
        };
        let mut known = PERSONALITIES.iter();
        let found = known.find(|habits| habits.name == name && habits.style == style.name);
        found.copied().ok_or_else(|| SetupError::Personality {
            found: name.to_owned(),
            known: KNOWN,
        })
    }

    /// Returns the habits of an exchange that always has a good day.
    fn plain(style: &Style) -> Self {
        Self {
            name: "plain",
            style: style.name,
            nonce_text: style.nonce_text,
            challenge_ppm: 0,
            overload_per_s: None,
            takers_row_names_maker: false,
        }
    }
}

impl Load {
    /// Counts a request; true where it is one too many.
    pub(super) fn is_over(&mut self, habits: &Habits, now: Time) -> bool {
        let limit = habits.overload_per_s;
        limit.is_some_and(|per_s| !self.0.take(per_s, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venue::btce::style::STYLES;

    #[test]
    fn every_personality_belongs_to_a_style_and_is_listed() {
        for habits in &PERSONALITIES {
            let style = STYLES.iter().find(|style| style.name == habits.style);
            let found = Habits::find(Some(habits.name), style.unwrap());
            assert_eq!(found.as_ref(), Ok(habits));
            assert!(KNOWN.contains(habits.name));
        }
    }
}
