//! Exact money: prices and quantities as `i64` at 1e-8, with `i128` in between.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Units of 1e-8 in one whole.
pub const SCALE: i64 = 100_000_000;
const DECIMALS: usize = 8;

/// An amount of one currency, in units of 1e-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(pub i64);

/// Units wanted per one unit given, in units of 1e-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(pub i64);

/// Why a decimal text is not an amount.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NumberError {
    #[error("a number is missing")]
    Empty,
    #[error("`{0}` is not a decimal digit")]
    NotADigit(char),
    #[error("more than 8 digits stand behind the point")]
    TooFine,
    #[error("the number is beyond 92233720368.54775807")]
    TooLarge,
}

impl Quantity {
    pub const ZERO: Self = Self(0);
    pub const MAX: Self = Self(i64::MAX);

    /// Returns a whole number of units, for constants and tests.
    pub const fn whole(units: i64) -> Self {
        Self(units * SCALE)
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Returns the difference, or zero where it would be negative.
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }

    /// Rounds towards zero to a multiple of `lot`; a lot of zero or one unit changes nothing.
    pub fn floor_to(self, lot: Self) -> Self {
        if lot.0 <= 1 {
            return self;
        }
        Self(self.0 - self.0 % lot.0)
    }

    /// Returns `self × ppm / 1,000,000`, rounded up: what a fee takes.
    pub fn ppm_ceil(self, ppm: u32) -> Self {
        let product = i128::from(self.0) * i128::from(ppm);
        Self(narrow(div_ceil::<MILLION>(product)))
    }

    /// Returns `self × ppm / 1,000,000`, rounded down.
    pub fn ppm_floor(self, ppm: u32) -> Self {
        let product = i128::from(self.0) * i128::from(ppm);
        Self(narrow(div_rem::<MILLION>(product).0))
    }

    /// Returns `wanted`, or how much less of it this amount buys at `price`.
    pub fn bought_up_to(self, wanted: Self, price: Price) -> Self {
        // Whether it is enough takes no division by a price.
        if price.total_ceil(wanted) < self && price.is_positive() {
            return wanted;
        }
        self.bought_at(price).min(wanted)
    }

    /// Returns how much can be bought with this amount at `price`, rounded down.
    pub fn bought_at(self, price: Price) -> Self {
        if price.0 <= 0 {
            return Self::ZERO;
        }
        Self(narrow(
            (i128::from(self.0) * i128::from(SCALE)).div_euclid(i128::from(price.0)),
        ))
    }
}

impl Price {
    pub const ZERO: Self = Self(0);

    pub const fn whole(units: i64) -> Self {
        Self(units * SCALE)
    }

    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// Returns `self × quantity` rounded down: what a seller may count on.
    pub fn total_floor(self, quantity: Quantity) -> Quantity {
        let product = i128::from(self.0) * i128::from(quantity.0);
        Quantity(narrow(div_rem::<WHOLE>(product).0))
    }

    /// Returns `self × quantity` rounded up: what a buyer must be ready to pay.
    pub fn total_ceil(self, quantity: Quantity) -> Quantity {
        let product = i128::from(self.0) * i128::from(quantity.0);
        Quantity(narrow(div_ceil::<WHOLE>(product)))
    }

    /// Returns `total ÷ quantity` rounded down, or `None` for an empty quantity.
    pub fn of_total(total: Quantity, quantity: Quantity) -> Option<Self> {
        (quantity.0 > 0).then(|| {
            Self(narrow(
                (i128::from(total.0) * i128::from(SCALE)).div_euclid(i128::from(quantity.0)),
            ))
        })
    }

    /// Moves the price by `ppm` parts per million; negative moves it down. Rounds down.
    pub fn moved_ppm(self, ppm: i64) -> Self {
        let product = i128::from(self.0) * (1_000_000 + i128::from(ppm));
        Self(narrow(div_rem::<MILLION>(product).0))
    }

    /// Moves the price by `ppm` parts per million, rounding up.
    pub fn moved_ppm_ceil(self, ppm: i64) -> Self {
        let product = i128::from(self.0) * (1_000_000 + i128::from(ppm));
        Self(narrow(div_ceil::<MILLION>(product)))
    }

    /// Says whether the distance to `reference` is at most so many whole parts per million of it:
    /// what `distance_ppm` would say, without a division.
    pub fn is_within_ppm(self, reference: Self, ppm_max: u32) -> bool {
        let gap = (i128::from(self.0) - i128::from(reference.0)).unsigned_abs();
        let beyond = i128::from(reference.0) * (i128::from(ppm_max) + 1);
        reference.0 > 0 && gap * 1_000_000 < beyond.unsigned_abs()
    }

    /// Returns the distance to `reference` in parts per million of it, or `None` without one.
    pub fn distance_ppm(self, reference: Self) -> Option<u64> {
        if reference.0 <= 0 {
            return None;
        }
        let gap = (i128::from(self.0) - i128::from(reference.0)).unsigned_abs();
        u64::try_from(gap * 1_000_000 / i128::from(reference.0).unsigned_abs()).ok()
    }
}

/// Parses ASCII digits with at most one point into units of 1e-8.
///
/// Accepts `1`, `1.5` and `0.00000001`; refuses signs, exponents, spaces, a bare point and a ninth
/// digit behind the point unless it is zero.
pub fn parse_decimal(text: &[u8]) -> Result<i64, NumberError> {
    let point = text.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &text[text.len()..]),
    };
    if whole.is_empty() || (point.is_some() && fraction.is_empty()) {
        return Err(NumberError::Empty);
    }
    let mut units: i64 = 0;
    for byte in whole {
        units = push_digit(units, *byte)?;
    }
    for index in 0..DECIMALS.max(fraction.len()) {
        let byte = fraction.get(index).copied().unwrap_or(b'0');
        if index < DECIMALS {
            units = push_digit(units, byte)?;
        } else if !byte.is_ascii_digit() {
            return Err(NumberError::NotADigit(char::from(byte)));
        } else if byte != b'0' {
            return Err(NumberError::TooFine);
        }
    }
    Ok(units)
}

fn push_digit(units: i64, byte: u8) -> Result<i64, NumberError> {
    if !byte.is_ascii_digit() {
        return Err(NumberError::NotADigit(char::from(byte)));
    }
    units
        .checked_mul(10)
        .and_then(|units| units.checked_add(i64::from(byte - b'0')))
        .ok_or(NumberError::TooLarge)
}

/// Characters of the longest decimal: a sign, 20 digits, as they are written in pairs, and the point.
const TEXT_LEN_MAX: usize = 22;

/// A decimal as text, made without an allocation.
struct Text {
    bytes: [u8; TEXT_LEN_MAX],
    start: usize,
    end: usize,
}

impl Text {
    /// Writes from the last digit to the first, two at a time.
    fn of(units: i64) -> Self {
        let mut text = Self {
            bytes: [b'0'; TEXT_LEN_MAX],
            start: TEXT_LEN_MAX,
            end: TEXT_LEN_MAX,
        };
        let scale = SCALE.unsigned_abs();
        let magnitude = units.unsigned_abs();
        let (mut whole, mut fraction) = (magnitude / scale, magnitude % scale);
        if fraction > 0 {
            // Eight digits, then the zeros at the end left off.
            for _ in 0..DECIMALS / 2 {
                text.push_front(fraction % 100);
                fraction /= 100;
            }
            let is_digit = |byte: &u8| *byte != b'0';
            text.end = text.bytes.iter().rposition(is_digit).map_or(0, |at| at + 1);
            text.start -= 1;
            text.bytes[text.start] = b'.';
        }
        while whole >= 100 {
            text.push_front(whole % 100);
            whole /= 100;
        }
        text.push_front(whole);
        text.start += usize::from(whole < 10);
        if units < 0 {
            text.start -= 1;
            text.bytes[text.start] = b'-';
        }
        text
    }

    fn push_front(&mut self, two_digits: u64) {
        self.start -= 2;
        self.bytes[self.start..self.start + 2].copy_from_slice(pair(two_digits));
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

fn write_decimal(units: i64, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let text = Text::of(units);
    formatter.write_str(std::str::from_utf8(text.bytes()).unwrap_or_default())
}

/// Appends a whole number in decimal digits.
pub fn push_whole(out: &mut Vec<u8>, mut whole: u64) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while whole >= 100 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(pair(whole % 100));
        whole /= 100;
    }
    let first = pair(whole);
    start -= 2;
    digits[start..start + 2].copy_from_slice(first);
    if whole < 10 {
        start += 1;
    }
    out.extend_from_slice(&digits[start..]);
}

fn pair(whole: u64) -> &'static [u8; 2] {
    &PAIRS[usize::from(whole.to_le_bytes()[0]) % PAIRS.len()]
}

/// The digits of 0 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut at: usize = 0;
    while at < 100 {
        let digits = at.to_le_bytes()[0];
        pairs[at] = [b'0' + digits / 10, b'0' + digits % 10];
        at += 1;
    }
    pairs
};

/// What amounts are divided by: parts per million, and the scale.
const MILLION: u32 = 1_000_000;
const WHOLE: u32 = 100_000_000;
const _: () = assert!(WHOLE as i64 == SCALE);

fn div_ceil<const BY: u32>(value: i128) -> i128 {
    let (floor, rest) = div_rem::<BY>(value);
    floor + i128::from(rest > 0)
}

/// Divides, rounding down, and returns what is left. In 64 bits a division by a constant is a
/// multiplication; most products fit, and others are divided in pieces that do.
fn div_rem<const BY: u32>(value: i128) -> (i128, u64) {
    let by = u64::from(BY);
    if let Ok(small) = u64::try_from(value) {
        return (i128::from(small / by), small % by);
    }
    let Ok(large) = u128::try_from(value) else {
        let by = i128::from(BY);
        let rest = u64::try_from(value.rem_euclid(by)).unwrap_or(0);
        return (value.div_euclid(by), rest);
    };
    let (mut quotient, mut rest) = (0_u128, 0_u64);
    for digits in large.to_be_bytes().as_chunks::<4>().0 {
        let piece = rest << 32 | u64::from(u32::from_be_bytes(*digits));
        quotient = quotient << 32 | u128::from(piece / by);
        rest = piece % by;
    }
    (i128::try_from(quotient).unwrap_or(i128::MAX), rest)
}

/// Narrows to `i64`, saturating: no order or offer is ever that large, and every limit refuses it.
fn narrow(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

macro_rules! decimal_text {
    ($name:ident) => {
        impl $name {
            /// Appends the number as it is displayed.
            pub fn push_to(self, out: &mut Vec<u8>) {
                out.extend_from_slice(Text::of(self.0).bytes());
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_decimal(self.0, formatter)
            }
        }

        impl FromStr for $name {
            type Err = NumberError;

            fn from_str(text: &str) -> Result<Self, NumberError> {
                parse_decimal(text.as_bytes()).map(Self)
            }
        }
    };
}

decimal_text!(Quantity);
decimal_text!(Price);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    fn check(text: &str, expected: Result<i64, NumberError>) {
        assert_eq!(parse_decimal(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn decimals_are_read_digit_by_digit() {
        check("0", Ok(0));
        check("1", Ok(SCALE));
        check("1.5", Ok(150_000_000));
        check("0.00000001", Ok(1));
        check("51.205000000000", Ok(5_120_500_000));
        check("92233720368.54775807", Ok(i64::MAX));
    }

    #[test]
    fn whatever_is_not_a_plain_decimal_is_refused() {
        check("", Err(NumberError::Empty));
        check(".", Err(NumberError::Empty));
        check("1.", Err(NumberError::Empty));
        check(".5", Err(NumberError::Empty));
        check("-1", Err(NumberError::NotADigit('-')));
        check("1e5", Err(NumberError::NotADigit('e')));
        check("1.2.3", Err(NumberError::NotADigit('.')));
        check("0.000000001", Err(NumberError::TooFine));
        check("92233720368.54775808", Err(NumberError::TooLarge));
    }

    #[test]
    fn printing_a_parsed_number_gives_its_shortest_text() {
        for text in ["0", "1", "1.5", "0.00000001", "92233720368.54775807"] {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!(quantity.to_string(), text);
        }
        let mut random = Random::new(3);
        for _ in 0..20_000 {
            let units = (random.next_u64() >> random.between(1, 63)).cast_signed();
            let units = units - units % 10_i64.pow(random.between(0, 9).try_into().unwrap());
            let text = format!("{}.{:08}", units / SCALE, units % SCALE);
            let text = text.trim_end_matches('0').trim_end_matches('.');
            assert_eq!(Quantity(units).to_string(), text);
        }
        assert_eq!(Quantity(-150_000_000).to_string(), "-1.5");
        assert_eq!(Quantity(i64::MIN).to_string(), "-92233720368.54775808");
        let mut out = b"a".to_vec();
        Price(-1).push_to(&mut out);
        push_whole(&mut out, 0);
        push_whole(&mut out, u64::MAX);
        assert_eq!(out, b"a-0.00000001018446744073709551615");
    }

    #[test]
    fn products_are_divided_alike_whatever_their_size() {
        let scale = i128::from(SCALE);
        let large = i128::from(u64::MAX);
        for product in [
            0,
            1,
            scale - 1,
            scale,
            large,
            large + 1,
            large * scale,
            large * scale + 1,
            i128::MAX,
            -1,
            -scale,
        ] {
            let rest = u64::try_from(product.rem_euclid(scale)).unwrap();
            let floor = product.div_euclid(scale);
            assert_eq!(div_rem::<WHOLE>(product), (floor, rest), "{product}");
            let ceil = -(-product).div_euclid(scale);
            assert_eq!(div_ceil::<WHOLE>(product), ceil, "{product}");
        }
    }

    #[test]
    fn whole_numbers_have_no_zero_before_them() {
        let mut numbers: Vec<u64> = (0..1_200).collect();
        let mut power = 1_u64;
        while let Some(next) = power.checked_mul(10) {
            numbers.extend([next - 1, next, next + 1]);
            power = next;
        }
        for number in numbers {
            let mut out = Vec::new();
            push_whole(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    #[test]
    fn what_is_bought_up_to_a_limit_is_what_division_says() {
        let mut random = Random::new(7);
        for _ in 0..20_000 {
            let mut amount = || (random.next_u64() >> random.between(2, 63)).cast_signed();
            let (funds, wanted) = (Quantity(amount()), Quantity(amount()));
            let price = Price(amount());
            let expected = funds.bought_at(price).min(wanted);
            assert_eq!(funds.bought_up_to(wanted, price), expected);
            let exact = price.total_ceil(wanted);
            for funds in [exact, Quantity(exact.0 - 1), Quantity::MAX] {
                let expected = funds.bought_at(price).min(wanted);
                assert_eq!(funds.bought_up_to(wanted, price), expected);
            }
        }
    }

    #[test]
    fn a_price_is_within_a_distance_as_its_parts_per_million_say() {
        let prices = [-1, 0, 1, 3, 89_999_999, 90_000_000, 100_000_000, i64::MAX];
        for (price, reference) in prices.iter().flat_map(|one| prices.map(|two| (*one, two))) {
            let (price, reference) = (Price(price), Price(reference));
            for ppm_max in [0, 99_999, 100_000, 100_001, u32::MAX] {
                let distance = price.distance_ppm(reference);
                let expected = distance.is_some_and(|ppm| ppm <= u64::from(ppm_max));
                assert_eq!(price.is_within_ppm(reference, ppm_max), expected);
            }
        }
    }

    #[test]
    fn totals_round_against_the_one_who_counts_them() {
        let price = Price(33_333_333);
        assert_eq!(price.total_floor(Quantity(2)).0, 0);
        assert_eq!(price.total_ceil(Quantity(2)).0, 1);
        assert_eq!(
            Quantity::whole(500).bought_at(Price::whole(100)),
            Quantity::whole(5)
        );
        assert_eq!(Quantity(10_789).ppm_ceil(6_000).0, 65);
    }
}
