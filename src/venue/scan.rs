//! Reading frames by their template: the fast path of a feed.
//!
//! An exchange writes each kind of frame in one fixed way. A template compares the text between the
//! numbers whole and reads the numbers as they come, straight from the receive buffer and without an
//! allocation. Whatever differs, by a space or by a field, is left to [`crate::venue::walk`], and what
//! that cannot read to serde_json; each step down is counted in [`ReadCounts`].

use crate::model::number::{Price, Quantity};

/// How frames of a feed were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// By their template.
    pub template: u64,
    /// By a scanner that takes fields in any order and spacing.
    pub tolerant: u64,
    /// By serde_json: neither of the others could.
    pub slow: u64,
}

/// What is left to read of one frame.
///
/// Every step returns `None` where the text is not what the template says; the frame then is to be
/// read again from its beginning by other means.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    rest: &'a [u8],
}

/// Powers of ten up to the eighth, for the decimals that a number does not write.
const POWERS: [u64; 9] = [
    100_000_000,
    10_000_000,
    1_000_000,
    100_000,
    10_000,
    1_000,
    100,
    10,
    1,
];

/// Digits that fit 64 bits whatever they are.
const DIGITS_MAX: usize = 18;

impl<'a> Scan<'a> {
    pub const fn new(frame: &'a [u8]) -> Self {
        Self { rest: frame }
    }

    /// Returns what was not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads exactly this text.
    #[inline]
    pub fn literal(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// Reads this text if it comes next; returns whether it did.
    #[inline]
    pub fn takes(&mut self, text: &[u8]) -> bool {
        self.literal(text).is_some()
    }

    /// Returns the next byte without reading it.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Reads so many bytes, such as a time of fixed length.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    /// Reads up to the quote that ends a string, and over it. A string with an escape is none.
    #[inline]
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let len = self
            .rest
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\'))?;
        if self.rest[len] == b'\\' {
            return None;
        }
        let text = &self.rest[..len];
        self.rest = &self.rest[len + 1..];
        Some(text)
    }

    /// Reads a whole number without a sign.
    #[inline]
    pub fn whole(&mut self) -> Option<u64> {
        let (value, len) = digits(self.rest, 0);
        if len == 0 || len > DIGITS_MAX {
            return None;
        }
        self.rest = &self.rest[len..];
        Some(value)
    }

    /// Reads `digits[.digits]` in units of 1e-8, with at most 8 decimals.
    #[inline]
    pub fn units(&mut self) -> Option<i64> {
        if let Some((units, rest)) = short_units(self.rest) {
            self.rest = rest;
            return Some(units);
        }
        self.any_units()
    }

    /// Reads a number of any length.
    fn any_units(&mut self) -> Option<i64> {
        let (whole, len) = digits(self.rest, 0);
        if len == 0 {
            return None;
        }
        let (value, decimals, len) = match self.rest.get(len) {
            Some(b'.') => {
                let (value, end) = digits(&self.rest[len + 1..], whole);
                if end == 0 || len + end > DIGITS_MAX {
                    return None;
                }
                (value, end, len + 1 + end)
            }
            _ if len > DIGITS_MAX => return None,
            _ => (whole, 0, len),
        };
        let units = value.checked_mul(*POWERS.get(decimals)?)?;
        self.rest = &self.rest[len..];
        // An exponent would move the point.
        match self.peek() {
            Some(b'e' | b'E' | b'.') => None,
            Some(_) | None => i64::try_from(units).ok(),
        }
    }

    #[inline]
    pub fn price(&mut self) -> Option<Price> {
        self.units().map(Price)
    }

    #[inline]
    pub fn quantity(&mut self) -> Option<Quantity> {
        self.units().map(Quantity)
    }

    /// Nothing is left.
    #[inline]
    pub fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

/// Reads digits behind those of `value`: returns the number and how many there were. The number is
/// right for up to 18 digits in all.
#[inline]
fn digits(bytes: &[u8], mut value: u64) -> (u64, usize) {
    let mut len = 0;
    let mut rest = bytes;
    // Times and numbers of updates have so many.
    while let Some((eight, u64::BITS)) = leading(rest) {
        value = value.wrapping_mul(POWERS[0]).wrapping_add(together(eight));
        len += 8;
        rest = rest.get(8..).unwrap_or_default();
    }
    for byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        len += 1;
    }
    (value, len)
}

/// Reads `digits.digits` with up to eight digits on both sides: returns units of 1e-8 and what is
/// left. `None` says nothing: whatever else there is is read the long way.
///
/// Numbers are most of what a frame of a book has, and nearly all are of this kind. Digits in front
/// of the point are few; those behind it are looked at, and turned into a number, at once.
#[inline]
fn short_units(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (mut whole, mut len, mut rest) = (0_u64, 0, bytes);
    let fraction = loop {
        let (byte, after) = rest.split_first()?;
        match byte {
            b'0'..=b'9' if len < 8 => {
                whole = whole.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
            }
            b'.' if len > 0 => break after,
            _ => return None,
        }
        (len, rest) = (len + 1, after);
    };
    let (decimals, bits) = leading(fraction)?;
    // Most have all eight: said apart, so that what follows need not wait for the count.
    let (kept, rest) = if bits == u64::BITS {
        (decimals, fraction.get(8..)?)
    } else {
        let kept = decimals & !(u64::MAX << bits);
        (kept, fraction.get(index_of(bits)..)?)
    };
    match rest.first() {
        // More decimals, or an exponent that would move the point.
        Some(b'0'..=b'9' | b'e' | b'E' | b'.') => None,
        Some(_) | None => {
            let units = whole.wrapping_mul(POWERS[0]).wrapping_add(together(kept));
            Some((i64::try_from(units).ok()?, rest))
        }
    }
}

/// Returns the values of eight digits, the first one lowest, and how many of its bits belong to the
/// digits in front; `None` where there is none, or fewer than eight bytes.
#[inline]
fn leading(bytes: &[u8]) -> Option<(u64, u32)> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    /// Lifts whatever is above nine to the highest bit of its byte.
    const ABOVE_NINE: u64 = 0x7676_7676_7676_7676;
    const HIGHEST: u64 = 0x8080_8080_8080_8080;
    let values = u64::from_le_bytes(*bytes.first_chunk()?) ^ ZEROS;
    // What overflows from a byte spoils only those behind it, and the first one counts.
    let others = (values.wrapping_add(ABOVE_NINE) | values) & HIGHEST;
    let bits = others.trailing_zeros() & !7;
    (bits > 0).then_some((values, bits))
}

/// Returns how many whole bytes so many bits are.
fn index_of(bits: u32) -> usize {
    usize::try_from(bits / u8::BITS).unwrap_or_default()
}

/// Puts eight digits together, the first one lowest: neighbours to two digits, to four, to eight.
#[inline]
const fn together(digits: u64) -> u64 {
    let pairs = (digits.wrapping_mul(10).wrapping_add(digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    (fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xFFFF_FFFF
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;
    use crate::venue::literal::{Excess, units_of};

    fn units(text: &str) -> Option<i64> {
        let mut scan = Scan::new(text.as_bytes());
        let units = scan.units()?;
        scan.end()?;
        Some(units)
    }

    #[test]
    fn numbers_are_read_as_their_digits_stand() {
        assert_eq!(units("0"), Some(0));
        assert_eq!(units("0.00000001"), Some(1));
        assert_eq!(units("65062.5"), Some(6_506_250_000_000));
        assert_eq!(units("58819.90000"), Some(5_881_990_000_000));
        assert_eq!(units("92233720368.0"), Some(9_223_372_036_800_000_000));
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e5",
            "1.0e-3",
            "1.000000000",
            "99999999999",
            "1.2.3",
            "123456789012345678901234567890",
        ] {
            assert_eq!(units(text), None, "{text}");
        }
    }

    #[test]
    fn eight_digits_at_once_are_those_one_by_one() {
        let mut random = Random::new(2);
        for _ in 0..200_000 {
            let len = usize::try_from(random.below(20)).unwrap();
            let bytes: Vec<u8> = (0..len)
                .map(|_| match random.below(8) {
                    0 => u8::try_from(random.below(256)).unwrap(),
                    digit => b'2' + u8::try_from(digit).unwrap(),
                })
                .collect();
            let expected: String = bytes
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .map(|byte| char::from(*byte))
                .collect();
            let number = expected.parse().unwrap_or(0);
            assert_eq!(digits(&bytes, 0), (number, expected.len()), "{bytes:?}");
        }
    }

    #[test]
    fn short_numbers_are_what_the_long_way_reads() {
        let mut random = Random::new(3);
        let mut short = 0;
        for _ in 0..200_000 {
            let len = random.between(1, 24);
            let bytes: Vec<u8> = (0..len)
                .map(|_| b"0123456789..\"e"[usize::try_from(random.below(14)).unwrap()])
                .collect();
            if let Some((units, rest)) = short_units(&bytes) {
                let mut scan = Scan::new(&bytes);
                assert_eq!(scan.any_units(), Some(units), "{bytes:?}");
                assert_eq!(scan.rest(), rest);
                short += 1;
            }
        }
        assert!(short > 5_000, "{short}");
    }

    #[test]
    fn what_is_read_is_what_the_careful_reader_reads() {
        let mut random = Random::new(1);
        for _ in 0..200_000 {
            let len = random.between(1, 24);
            let text: String = (0..len)
                .map(|_| char::from(b"0123456789.0000"[usize::try_from(random.below(15)).unwrap()]))
                .collect();
            if let Some(read) = units(&text) {
                assert_eq!(units_of(&text, 0, Excess::Refused), Ok(read), "{text}");
            }
        }
    }

    #[test]
    fn a_template_reads_exactly_itself() {
        let frame = br#"{"p":"1.5","q":7}"#;
        let read = |frame: &[u8]| {
            let mut scan = Scan::new(frame);
            scan.literal(br#"{"p":""#)?;
            let price = scan.price()?;
            scan.literal(br#"","q":"#)?;
            let whole = scan.whole()?;
            scan.literal(b"}")?;
            scan.end()?;
            Some((price, whole))
        };
        assert_eq!(read(frame), Some((Price(150_000_000), 7)));
        for cut in 0..frame.len() {
            assert_eq!(read(&frame[..cut]), None);
        }
        assert_eq!(read(br#"{"p": "1.5","q":7}"#), None);
        assert_eq!(read(br#"{"p":"1.5","q":7} "#), None);
    }

    #[test]
    fn a_string_with_an_escape_is_left_to_others() {
        let mut scan = Scan::new(br#"BTC-USD","x"#);
        assert_eq!(scan.text(), Some(&b"BTC-USD"[..]));
        assert_eq!(scan.rest(), b",\"x");
        assert_eq!(Scan::new(br#"BTC\/USD""#).text(), None);
        assert_eq!(Scan::new(b"open").text(), None);
    }
}
