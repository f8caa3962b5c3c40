//! How MtGox counts and writes money: decimals of each currency, currency objects, its floats.
//!
//! Shapes: captures of the venue's answers of 2012 and 2013, read 2026-11-23.

use std::sync::LazyLock;

use serde::Serialize;

use crate::model::currency::Currency;
use crate::model::number::{Price, Quantity, SCALE};

/// How one currency is counted and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    pub code: &'static str,
    pub name: &'static str,
    /// Decimals of every `*_int` and of `value`.
    pub decimals: u32,
    /// Decimals of `display_short`.
    pub display_decimals: u32,
    pub symbol: &'static str,
    pub place: Place,
}

/// Where a currency's symbol stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Before,
    /// Behind a no-break space.
    After,
}

/// The decimals of amounts inside this program.
const DECIMALS: u32 = 8;
/// Decimals of a national currency that is not in the table.
const DECIMALS_FIAT: u32 = 5;

const fn coin(code: &'static str, name: &'static str) -> Unit {
    Unit {
        code,
        name,
        decimals: DECIMALS,
        display_decimals: 2,
        symbol: code,
        place: Place::After,
    }
}

const fn fiat(code: &'static str, name: &'static str, symbol: &'static str, place: Place) -> Unit {
    Unit {
        code,
        name,
        decimals: DECIMALS_FIAT,
        display_decimals: 2,
        symbol,
        place,
    }
}

const fn coarse(unit: Unit, display_decimals: u32) -> Unit {
    Unit {
        decimals: 3,
        display_decimals,
        ..unit
    }
}

/// Every currency of the venue. The decimals are its own; names and symbols are only looked at.
pub const UNITS: [Unit; 21] = [
    coin("BTC", "Bitcoin"),
    coin("LTC", "Litecoin"),
    coin("NMC", "Namecoin"),
    fiat("AUD", "Australian Dollar", "AU$", Place::Before),
    fiat("CAD", "Canadian Dollar", "CA$", Place::Before),
    fiat("CHF", "Swiss Franc", "CHF", Place::After),
    fiat("CNY", "Yuan", "CN\u{a5}", Place::Before),
    fiat("CZK", "Czech Koruna", "CZK", Place::After),
    fiat("DKK", "Danish Krone", "DKK", Place::After),
    fiat("EUR", "Euro", "\u{20ac}", Place::After),
    fiat("GBP", "Great British Pound", "\u{a3}", Place::Before),
    fiat("HKD", "Hong Kong Dollar", "HK$", Place::Before),
    coarse(fiat("JPY", "Yen", "\u{a5}", Place::Before), 0),
    fiat("NOK", "Norwegian Krone", "NOK", Place::After),
    fiat("NZD", "New Zealand Dollar", "NZ$", Place::Before),
    fiat("PLN", "Zloty", "PLN", Place::After),
    fiat("RUB", "Rouble", "RUB", Place::After),
    coarse(fiat("SEK", "Swedish Krona", "SEK", Place::After), 2),
    fiat("SGD", "Singapore Dollar", "SG$", Place::Before),
    fiat("THB", "Baht", "THB", Place::After),
    fiat("USD", "Dollar", "$", Place::Before),
];

/// Returns a currency's entry of the table, if it has one.
pub fn unit(currency: Currency) -> Option<&'static Unit> {
    UNITS.iter().find(|unit| unit.code == currency.as_str())
}

/// Returns the decimals that `*_int` of a currency implies; 5 for one that is not in the table.
pub fn decimals(currency: Currency) -> u32 {
    unit(currency).map_or(DECIMALS_FIAT, |unit| unit.decimals)
}

/// Returns the smallest amount of a currency: 1e-5 of most national ones, 1e-3 of JPY and SEK.
pub fn step(currency: Currency) -> Quantity {
    Quantity(units_in(decimals(currency)))
}

/// Returns every currency whose smallest amount is not 1e-8, for the matching engine.
pub fn steps() -> &'static [(Currency, Quantity)] {
    static STEPS: LazyLock<Vec<(Currency, Quantity)>> = LazyLock::new(|| {
        let known = UNITS.iter().filter_map(|unit| unit.code.parse().ok());
        known
            .map(|currency| (currency, step(currency)))
            .filter(|(_, step)| step.0 > 1)
            .collect()
    });
    &STEPS
}

/// Returns an amount in the venue's integers; what is finer is dropped.
pub fn int_of(currency: Currency, units: i64) -> i64 {
    units / units_in(decimals(currency))
}

/// Returns what a venue's integer is worth in units of 1e-8, or `None` beyond what an amount can
/// count.
pub fn units_of(currency: Currency, int: i64) -> Option<i64> {
    int.checked_mul(units_in(decimals(currency)))
}

/// A currency object as the venue writes it. `display` is for eyes only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Amount {
    value: String,
    value_int: String,
    display: String,
    display_short: String,
    currency: String,
}

impl Amount {
    /// Writes an amount given in units of 1e-8.
    pub fn new(currency: Currency, units: i64) -> Self {
        let decimals = decimals(currency);
        let short = unit(currency).map_or(2, |unit| unit.display_decimals);
        Self {
            value: fixed(units, decimals),
            value_int: int_of(currency, units).to_string(),
            display: display(currency, units, decimals),
            display_short: display(currency, rounded(units, short), short),
            currency: currency.to_string(),
        }
    }

    pub fn quantity(currency: Currency, quantity: Quantity) -> Self {
        Self::new(currency, quantity.0)
    }

    pub fn price(currency: Currency, price: Price) -> Self {
        Self::new(currency, price.0)
    }
}

/// Writes units of 1e-8 with so many decimals and nothing else.
pub fn fixed(units: i64, decimals: u32) -> String {
    let (whole, fraction) = parts(units, decimals);
    format!("{}{whole}{fraction}", sign(units))
}

/// Writes an amount for eyes: separators, symbol, no-break space.
pub fn display(currency: Currency, units: i64, decimals: u32) -> String {
    let (whole, fraction) = parts(units, decimals);
    let number = format!("{}{fraction}", grouped(whole));
    let sign = sign(units);
    match unit(currency) {
        Some(unit) if unit.place == Place::Before => format!("{sign}{}{number}", unit.symbol),
        Some(unit) => format!("{sign}{number}\u{a0}{}", unit.symbol),
        None => format!("{sign}{number}\u{a0}{currency}"),
    }
}

/// Writes units of 1e-8 as the venue's floats look: shortest digits, and an exponent below 1e-4.
pub fn float(units: i64) -> String {
    /// From here on no exponent is written.
    const PLAIN_FROM: u64 = 10_000;
    let magnitude = units.unsigned_abs();
    if magnitude == 0 || magnitude >= PLAIN_FROM {
        return Quantity(units).to_string();
    }
    let digits = magnitude.to_string();
    let exponent = 9 - digits.len();
    let (first, rest) = digits.split_at(1);
    let rest = rest.trim_end_matches('0');
    let rest = if rest.is_empty() { "0" } else { rest };
    format!("{}{first}.{rest}e-{exponent}", sign(units))
}

const fn units_in(decimals: u32) -> i64 {
    10_i64.pow(DECIMALS.saturating_sub(decimals))
}

fn sign(units: i64) -> &'static str {
    if units < 0 { "-" } else { "" }
}

/// Splits a magnitude into its whole part and `.` with its decimals, or nothing without decimals.
fn parts(units: i64, decimals: u32) -> (u64, String) {
    let magnitude = units.unsigned_abs();
    let scale = SCALE.unsigned_abs();
    let (whole, fraction) = (magnitude / scale, magnitude % scale);
    if decimals == 0 {
        return (whole, String::new());
    }
    let fraction = fraction / units_in(decimals).unsigned_abs();
    let width = usize::try_from(decimals).unwrap_or(0);
    (whole, format!(".{fraction:0width$}"))
}

fn rounded(units: i64, decimals: u32) -> i64 {
    let half = units_in(decimals) / 2;
    units.saturating_add(if units < 0 { -half } else { half })
}

fn grouped(whole: u64) -> String {
    let digits = whole.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: &str, units: i64, expected: [&str; 4]) {
        let amount = Amount::new(code.parse().unwrap(), units);
        let Amount {
            value,
            value_int,
            display,
            display_short,
            currency,
        } = amount;
        assert_eq!([value, value_int, display, display_short], expected);
        assert_eq!(currency, code);
    }

    #[test]
    fn amounts_are_written_as_the_venue_wrote_them() {
        let usd = ["90.68502", "9068502", "$90.68502", "$90.69"];
        check("USD", 9_068_502_000, usd);
        let usd = ["1000.00000", "100000000", "$1,000.00000", "$1,000.00"];
        check("USD", 100_000_000_000, usd);
        let vol = [
            "49692.83815274",
            "4969283815274",
            "49,692.83815274\u{a0}BTC",
            "49,692.84\u{a0}BTC",
        ];
        check("BTC", 4_969_283_815_274, vol);
        let jpy = ["9306.545", "9306545", "\u{a5}9,306.545", "\u{a5}9,307"];
        check("JPY", 930_654_500_000, jpy);
        let eur = [
            "-0.50000",
            "-50000",
            "-0.50000\u{a0}\u{20ac}",
            "-0.50\u{a0}\u{20ac}",
        ];
        check("EUR", -50_000_000, eur);
    }

    #[test]
    fn floats_have_an_exponent_where_they_are_small() {
        for (units, text) in [
            (1_000, "1.0e-5"),
            (215, "2.15e-6"),
            (1, "1.0e-8"),
            (0, "0"),
            (10_000, "0.0001"),
            (18_299_999_000, "182.99999"),
            (-271_000_000, "-2.71"),
            (-1_500, "-1.5e-5"),
        ] {
            assert_eq!(float(units), text);
        }
    }

    #[test]
    fn integers_follow_the_currency() {
        let code = |text: &str| text.parse::<Currency>().unwrap();
        assert_eq!(int_of(code("USD"), 9_068_502_000), 9_068_502);
        assert_eq!(units_of(code("SEK"), 1), Some(100_000));
        assert_eq!(units_of(code("USD"), i64::MAX), None);
        assert_eq!(decimals(code("QQQ")), 5);
        let steps = steps();
        assert!(steps.contains(&(code("JPY"), Quantity(100_000))));
        assert!(steps.contains(&(code("USD"), Quantity(1_000))));
        assert!(!steps.iter().any(|(currency, _)| *currency == Currency::BTC));
    }
}
