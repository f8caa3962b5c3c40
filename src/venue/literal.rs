//! Numbers by their digits: what a venue writes in JSON never passes through a float.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::model::number::{NumberError, Price, Quantity};

/// A JSON number, or a number in a JSON string, as its digits stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal<'a>(Cow<'a, str>);

/// What becomes of digits behind the eighth decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// They are an error.
    Refused,
    /// A bid is worth less, not more, than what it says.
    Down,
    /// An ask costs more, not less.
    Up,
    /// Where the venue's own floats show, half a unit is nobody's intent.
    Nearest,
}

/// Returns the number, or `None` where it is more than can be counted: such levels stand in real
/// books, out of everybody's reach.
///
/// # Errors
/// The text is no number.
pub fn countable(number: Result<i64, NumberError>) -> Result<Option<i64>, NumberError> {
    match number {
        Ok(units) => Ok(Some(units)),
        Err(NumberError::TooLarge) => Ok(None),
        Err(why) => Err(why),
    }
}

/// Characters of the longest number that is read.
const LITERAL_LEN_MAX: usize = 64;

impl<'de: 'a, 'a> Deserialize<'de> for Literal<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'a RawValue>::deserialize(deserializer)?.get();
        let digits = raw
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(raw);
        let is_number = !digits.is_empty()
            && digits.len() <= LITERAL_LEN_MAX
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        if !is_number {
            return Err(D::Error::custom("not a number"));
        }
        Ok(Self(Cow::Borrowed(digits)))
    }
}

impl Literal<'_> {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the number in units of 1e-8.
    ///
    /// # Errors
    /// It is no number, or beyond what an amount can count.
    pub fn units(&self, excess: Excess) -> Result<i64, NumberError> {
        units_of(&self.0, 0, excess)
    }

    /// Returns an integer with so many implied decimals in units of 1e-8.
    ///
    /// # Errors
    /// As [`Literal::units`]; at most 8 decimals are implied anywhere.
    pub fn scaled(&self, decimals: u32, excess: Excess) -> Result<i64, NumberError> {
        units_of(&self.0, -i64::from(decimals), excess)
    }

    pub fn price(&self, excess: Excess) -> Result<Price, NumberError> {
        self.units(excess).map(Price)
    }

    pub fn quantity(&self) -> Result<Quantity, NumberError> {
        self.units(Excess::Down).map(Quantity)
    }

    /// Returns a whole number without a sign, such as an id or a time.
    pub fn whole(&self) -> Option<u64> {
        let is_plain = self.0.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| self.0.parse().ok()).flatten()
    }
}

/// Reads `[-]digits[.digits][e[±]digits]` times ten to the `shift`, in units of 1e-8.
///
/// # Errors
/// The text is no such number, too fine where that is refused, or beyond an amount.
pub fn units_of(text: &str, shift: i64, excess: Excess) -> Result<i64, NumberError> {
    /// Ten to the eighth is one whole.
    const DECIMALS: i64 = 8;
    let (is_negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match magnitude.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
        None => (magnitude, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || (fraction.is_empty() && mantissa.contains('.')) {
        return Err(NumberError::Empty);
    }
    // Digits before this place count; the first one behind it decides how a float is rounded.
    let point = len_of(whole) + exponent + shift + DECIMALS;
    let mut units: i64 = 0;
    let mut rest = Rest::default();
    let digits = whole.bytes().chain(fraction.bytes());
    let mut count: i64 = 0;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return Err(NumberError::NotADigit(char::from(byte)));
        }
        if count < point {
            units = push_digit(units, byte)?;
        } else {
            rest.note(byte, count == point);
        }
        count += 1;
    }
    while count < point && units != 0 {
        units = push_digit(units, b'0')?;
        count += 1;
    }
    let is_up = match excess {
        Excess::Refused if !rest.is_zero => return Err(NumberError::TooFine),
        Excess::Refused | Excess::Down => is_negative && !rest.is_zero,
        Excess::Up => !is_negative && !rest.is_zero,
        Excess::Nearest => rest.first >= b'5',
    };
    let units = units
        .checked_add(i64::from(is_up))
        .ok_or(NumberError::TooLarge)?;
    Ok(if is_negative { -units } else { units })
}

/// What stands behind the last digit that counts.
struct Rest {
    is_zero: bool,
    first: u8,
}

impl Default for Rest {
    fn default() -> Self {
        Self {
            is_zero: true,
            first: b'0',
        }
    }
}

impl Rest {
    fn note(&mut self, byte: u8, is_first: bool) {
        self.is_zero &= byte == b'0';
        if is_first {
            self.first = byte;
        }
    }
}

fn exponent_of(text: &str) -> Result<i64, NumberError> {
    /// Larger ones are beyond any amount, or below every unit of one.
    const EXPONENT_MAX: i64 = 40;
    let digits = text.trim_start_matches('+');
    let exponent: i64 = digits.parse().map_err(|_| NumberError::Empty)?;
    if exponent.abs() > EXPONENT_MAX {
        return Err(NumberError::TooLarge);
    }
    Ok(exponent)
}

fn len_of(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX / 2)
}

fn push_digit(units: i64, byte: u8) -> Result<i64, NumberError> {
    units
        .checked_mul(10)
        .and_then(|units| units.checked_add(i64::from(byte - b'0')))
        .ok_or(NumberError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, excess: Excess, expected: Result<i64, NumberError>) {
        assert_eq!(units_of(text, 0, excess), expected, "{text}");
    }

    #[test]
    fn digits_are_taken_as_they_stand() {
        for (text, units) in [
            ("0", 0),
            ("10", 1_000_000_000),
            ("760.98", 76_098_000_000),
            ("2.15e-06", 215),
            ("1E+2", 10_000_000_000),
            ("1.0e-5", 1_000),
            ("0.00000001", 1),
            ("-2.71", -271_000_000),
            ("25560529.03", 2_556_052_903_000_000),
            ("0.000000010000", 1),
        ] {
            check(text, Excess::Refused, Ok(units));
        }
    }

    #[test]
    fn what_is_too_fine_goes_the_way_that_its_reader_says() {
        check("2.15e-07", Excess::Refused, Err(NumberError::TooFine));
        check("2.15e-07", Excess::Down, Ok(21));
        check("2.15e-07", Excess::Up, Ok(22));
        check("16.666599999999999", Excess::Nearest, Ok(1_666_660_000));
        check("16.369430127000001", Excess::Nearest, Ok(1_636_943_013));
        check("-1e-9", Excess::Down, Ok(-1));
        check("-1e-9", Excess::Up, Ok(0));
        check("1e-20", Excess::Up, Ok(1));
        check("1e-20", Excess::Nearest, Ok(0));
    }

    #[test]
    fn what_is_no_amount_is_an_error() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-",
            "1e",
            "1e99",
            "99999999999999",
            "1e20",
        ] {
            assert!(units_of(text, 0, Excess::Nearest).is_err(), "{text}");
        }
        check("0e20", Excess::Refused, Ok(0));
    }

    #[test]
    fn implied_decimals_follow_the_currency() {
        let literal = |text: &'static str| Literal(Cow::Borrowed(text));
        assert_eq!(
            literal("18299999").scaled(5, Excess::Refused),
            Ok(18_299_999_000)
        );
        assert_eq!(
            literal("9306545").scaled(3, Excess::Refused),
            Ok(930_654_500_000)
        );
        assert_eq!(
            literal("-271000000").scaled(8, Excess::Refused),
            Ok(-271_000_000)
        );
        let fraction = literal("2179142.24937").scaled(5, Excess::Nearest);
        assert_eq!(fraction, Ok(2_179_142_249));
    }

    #[test]
    fn numbers_are_read_bare_or_in_strings_and_nothing_else_is() {
        let rows: Vec<Literal<'_>> = serde_json::from_str(r#"[1.50, "1.50", 3e-7]"#).unwrap();
        let texts: Vec<&str> = rows.iter().map(Literal::as_str).collect();
        assert_eq!(texts, ["1.50", "1.50", "3e-7"]);
        for text in ["true", "null", "\"\"", "\"x\"", "[1]", "{}", "\"1 000\""] {
            assert!(serde_json::from_str::<Literal<'_>>(text).is_err(), "{text}");
        }
    }
}
