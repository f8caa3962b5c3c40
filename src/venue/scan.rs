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

impl ReadCounts {
    /// Reads by the fastest that can, and counts which it was.
    ///
    /// # Errors
    /// What the last of them finds wrong.
    pub fn read<S, T, E>(
        &mut self,
        into: &mut S,
        template: impl FnOnce(&mut S) -> Option<T>,
        tolerant: impl FnOnce(&mut S) -> Option<T>,
        slow: impl FnOnce(&mut S) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(read) = template(into) {
            self.template += 1;
            return Ok(read);
        }
        if let Some(read) = tolerant(into) {
            self.tolerant += 1;
            return Ok(read);
        }
        let read = slow(into)?;
        self.slow += 1;
        Ok(read)
    }
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
const POWERS: [u64; 9] = falling();

/// Returns the powers of ten, the last one to the power of none.
pub const fn falling<const LEN: usize>() -> [u64; LEN] {
    let mut powers = [1; LEN];
    let mut at = LEN;
    while at > 1 {
        at -= 1;
        powers[at - 1] = powers[at] * 10;
    }
    powers
}

/// Digits that fit 64 bits whatever they are.
pub const DIGITS_MAX: usize = 18;

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
        let len = text_len(self.rest)?;
        if self.rest[len] == b'\\' {
            return None;
        }
        let text = &self.rest[..len];
        self.rest = &self.rest[len + 1..];
        Some(text)
    }

    /// Reads a whole number without a sign or a leading zero.
    // A call and its result in memory cost as much as the reading.
    #[inline(always)]
    pub fn whole(&mut self) -> Option<u64> {
        let (value, len) = match short_whole(self.rest) {
            Some(short) => short,
            None => long_digits(self.rest),
        };
        if len == 0 || len > DIGITS_MAX || (len > 1 && self.rest[0] == b'0') {
            return None;
        }
        self.rest = &self.rest[len..];
        Some(value)
    }

    /// Reads a whole number of up to 64 bits, such as nanoseconds since 1970.
    #[inline]
    pub fn long_whole(&mut self) -> Option<u64> {
        let (_, len) = digits(self.rest, 0);
        if len <= DIGITS_MAX {
            return self.whole();
        }
        let (head, tail) = self.rest.get(..len)?.split_at_checked(DIGITS_MAX)?;
        let (before, _) = digits(head, 0);
        let whole = tail.iter().try_fold(before, |whole, digit| {
            whole.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })?;
        self.rest = &self.rest[len..];
        (head[0] != b'0').then_some(whole)
    }

    /// Reads `digits[.digits]` in units of 1e-8, with at most 8 decimals and no leading zero. What
    /// follows is the caller's to compare: an exponent, which would move the point, is no digit.
    #[inline(always)]
    pub fn units(&mut self) -> Option<i64> {
        if let Some(short) = short_decimal(self.rest) {
            self.rest = self.rest.get(short.width()..)?;
            return Some(short.units);
        }
        self.long_units()
    }

    #[inline(never)]
    fn long_units(&mut self) -> Option<i64> {
        let (whole, len) = digits(self.rest, 0);
        if len == 0 || (len > 1 && self.rest[0] == b'0') {
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
        i64::try_from(units).ok()
    }

    #[inline(always)]
    pub fn price(&mut self) -> Option<Price> {
        self.units().map(Price)
    }

    #[inline(always)]
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
pub fn digits(bytes: &[u8], mut value: u64) -> (u64, usize) {
    let mut len = 0;
    let mut rest = bytes;
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        let word = Word::new(*word);
        let count = word.count();
        if let Some(scale @ 10..) = TENS.get(count) {
            value = value.wrapping_mul(*scale).wrapping_add(word.whole());
        }
        len += count;
        // Eight decimals are common, and nothing follows them.
        if count < 8 || behind.first().is_some_and(|byte| !byte.is_ascii_digit()) {
            return (value, len);
        }
        rest = behind;
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

#[inline(never)]
fn long_digits(bytes: &[u8]) -> (u64, usize) {
    digits(bytes, 0)
}

/// Reads up to eight decimals in units of 1e-8, and how many they are, where eight bytes are left.
#[inline]
pub fn decimals(bytes: &[u8]) -> Option<(u64, usize)> {
    let word = Word::new(*bytes.first_chunk()?);
    let count = word.count();
    (count > 0).then(|| (word.fraction(), count))
}

/// Reads a whole number of up to 15 digits, and how many they are, where 16 bytes are left.
#[inline(always)]
fn short_whole(bytes: &[u8]) -> Option<(u64, usize)> {
    let (first, second) = words(bytes.first_chunk()?);
    if !first.is_full() {
        let count = first.count();
        return (count > 0).then(|| (first.whole(), count));
    }
    match second.count() {
        0 => Some((first.fraction(), 8)),
        count => {
            let scale = TENS.get(count).filter(|_| count < 8)?;
            let value = first.fraction() * scale + second.whole();
            Some((value, 8 + count))
        }
    }
}

/// A number as it stands printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// At 1e-8.
    pub units: i64,
    /// Digits before the point.
    pub whole: usize,
    /// Digits behind it.
    pub fraction: usize,
}

impl Decimal {
    /// Returns how many bytes it takes.
    #[inline]
    pub const fn width(&self) -> usize {
        match self.fraction {
            0 => self.whole,
            fraction => self.whole + 1 + fraction,
        }
    }
}

/// Reads `digits[.digits]` with at most seven digits before the point and eight behind it, as most
/// numbers have, in two words. `None` for others: they are no fault. What follows the number is the
/// caller's to compare.
// Its result is used at once: handed over in memory it costs as much as the reading.
#[inline(always)]
pub fn short_decimal(bytes: &[u8]) -> Option<Decimal> {
    match bytes.first_chunk() {
        Some(window) => decimal_of(window),
        None => decimal_at_end(bytes),
    }
}

/// Bytes that a short number and what ends it may take.
const WINDOW: usize = 17;

/// Reads near the end of a frame, as if zero bytes followed it.
#[inline(never)]
fn decimal_at_end(bytes: &[u8]) -> Option<Decimal> {
    let mut window = [0; WINDOW];
    window.get_mut(..bytes.len())?.copy_from_slice(bytes);
    decimal_of(&window)
}

#[inline(always)]
fn decimal_of(window: &[u8; WINDOW]) -> Option<Decimal> {
    const ONE: u64 = POWERS[0];
    let first = Word::new(*window.first_chunk()?);
    let whole = first.count();
    if !(1..8).contains(&whole) || (whole > 1 && window[0] == b'0') {
        return None;
    }
    let units = first.whole().wrapping_mul(ONE);
    if window[whole] != b'.' {
        return Some(Decimal {
            units: units.cast_signed(),
            whole,
            fraction: 0,
        });
    }
    let behind = Word::new(*window.get(whole + 1..)?.first_chunk()?);
    let fraction = behind.count();
    if fraction == 0 || (fraction == 8 && window[whole + 9].is_ascii_digit()) {
        return None;
    }
    Some(Decimal {
        units: units.wrapping_add(behind.fraction()).cast_signed(),
        whole,
        fraction,
    })
}

/// Ten to the power of the index.
pub const TENS: [u64; 11] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// Eight bytes of text, the first one lowest, for all of which is done at once what is done for one.
#[derive(Clone, Copy)]
struct Word {
    /// The value of each byte that is a digit.
    digits: u64,
    /// The highest bit of the first byte that is none, and of some behind it.
    others: u64,
}

impl Word {
    #[inline(always)]
    const fn new(bytes: [u8; 8]) -> Self {
        const HIGH: u64 = 0x8080_8080_8080_8080;
        let digits = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030;
        // Adding 0x76 lifts whatever is above nine into the highest bit of its byte. A carry only
        // disturbs bytes behind the first that is no digit.
        let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & HIGH;
        Self { digits, others }
    }

    /// Returns how many digits it begins with.
    #[inline(always)]
    const fn count(self) -> usize {
        (self.others.trailing_zeros() / 8) as usize
    }

    /// All eight are digits.
    #[inline(always)]
    const fn is_full(self) -> bool {
        self.others == 0
    }

    /// Returns the number that its digits are, of which there is one at least.
    #[inline(always)]
    const fn whole(self) -> u64 {
        // What is no digit moves out at the top, zeros move in as the leading digits.
        let count = self.others.trailing_zeros() & !7;
        join(self.digits.wrapping_shl(64_u32.wrapping_sub(count)))
    }

    /// Returns the number that its digits are with zeros behind them up to the eighth: in units of
    /// 1e-8 where they are decimals.
    #[inline(always)]
    const fn fraction(self) -> u64 {
        let lowest = self.others & self.others.wrapping_neg();
        join(self.digits & (lowest >> 7).wrapping_sub(1))
    }
}

/// Joins neighbours: eight digits, four pairs, two fours, one number.
#[inline(always)]
const fn join(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let outer = (pairs & 0x0000_00FF_0000_00FF).wrapping_mul(0x000F_4240_0000_0064);
    let inner = ((pairs >> 16) & 0x0000_00FF_0000_00FF).wrapping_mul(0x0000_2710_0000_0001);
    outer.wrapping_add(inner) >> 32
}

/// Returns the words of sixteen bytes.
#[inline(always)]
fn words(bytes: &[u8; 16]) -> (Word, Word) {
    let (words, _) = bytes.as_chunks::<8>();
    (Word::new(words[0]), Word::new(words[1]))
}

/// Returns where the first quote or backslash stands, eight bytes at a time.
#[inline]
pub fn text_len(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xFF;
    const TOPS: u64 = ONES << 7;
    // The lowest byte found is right; those above it may be taken for zero by the borrow.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5C));
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let is_end = |byte: &u8| matches!(byte, b'"' | b'\\');
    Some(words.len() * 8 + tail.iter().position(is_end)?)
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
            "00.5",
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
    fn short_numbers_are_read_as_long_ones() {
        let mut random = Random::new(4);
        let mut short = 0;
        for _ in 0..300_000 {
            let len = usize::try_from(random.between(1, 20)).unwrap();
            let text: Vec<u8> = (0..len)
                .map(|_| b"0123456789.0000e\","[usize::try_from(random.below(18)).unwrap()])
                .chain(*b"\",\"new_quantity")
                .collect();
            if let Some((value, len)) = short_whole(&text) {
                assert_eq!((value, len), digits(&text, 0));
            }
            if let Some((units, len)) = decimals(&text) {
                let written = digits(&text, 0);
                assert_eq!(len, written.1.min(8));
                assert!(written.1 > 8 || units == written.0 * POWERS[len]);
            }
            if let Some(read) = short_decimal(&text) {
                short += 1;
                let mut scan = Scan::new(&text);
                assert_eq!(scan.long_units(), Some(read.units));
                assert_eq!(scan.rest(), &text[read.width()..]);
                assert_eq!(digits(&text, 0).1, read.whole);
                let alone = short_decimal(&text[..read.width()]);
                assert_eq!(alone, Some(read), "nothing follows");
            }
        }
        assert!(short > 50_000, "{short}");
    }

    #[test]
    fn digits_end_where_something_else_stands() {
        let mut random = Random::new(2);
        for _ in 0..200_000 {
            let len = usize::try_from(random.below(20)).unwrap();
            let mut bytes: Vec<u8> = (0..len)
                .map(|_| b'0' + u8::try_from(random.below(10)).unwrap())
                .collect();
            let count = bytes.len();
            if random.chance(900_000) {
                let other = u8::try_from(random.below(256)).unwrap();
                bytes.push(if other.is_ascii_digit() { b'/' } else { other });
                let more = random.below(12);
                bytes.extend((0..more).map(|_| u8::try_from(random.below(256)).unwrap()));
            }
            let (value, read) = digits(&bytes, 7);
            assert_eq!(read, count, "{bytes:?}");
            if count <= 17 {
                let text = format!("7{}", String::from_utf8_lossy(&bytes[..count]));
                assert_eq!(value.to_string(), text);
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

    #[test]
    fn a_text_ends_where_its_first_quote_or_backslash_stands() {
        let mut random = Random::new(11);
        for _ in 0..20_000 {
            let letters = b"\"\\!#][\xA2\xDC\x00\x21\x23az\xFF\x5B\x5D";
            let count = random.below(40);
            let mut letter = || letters[random.below(letters.len() as u64) as usize];
            let text: Vec<u8> = (0..count).map(|_| letter()).collect();
            let plain = text.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            assert_eq!(text_len(&text), plain, "{text:?}");
        }
    }
}
