//! What a frame says of levels: values, and the digits that the exchange sums.

use std::fmt;

use crate::model::number::{Price, Quantity};
use crate::model::time::Time;
use crate::venue::scan::{DIGITS_MAX, Decimal, TENS, digits, short_decimal};

/// The largest book that can be subscribed to, levels a side.
pub const DEPTH_MAX: usize = 1_000;
/// Levels of one side that a frame may have; a frame with more is refused.
pub const LEVELS_MAX: usize = 2_000;

/// Price and quantity of a level as the sum takes them: printed digits without the point and without
/// the zeros in front, the quantity behind the price.
#[derive(Clone, Copy)]
pub struct Digits {
    /// What stands behind the digits means nothing.
    text: [u8; Self::LEN_MAX],
    len: u8,
}

impl Digits {
    /// Digits of both numbers of a level; where there are more the level cannot be summed.
    pub const LEN_MAX: usize = 47;
    pub const EMPTY: Self = Self {
        text: [0; Self::LEN_MAX],
        len: 0,
    };
    /// Digits that are copied as one block.
    const BLOCK: usize = 16;

    /// Returns the digits with what is left of their room, and how many they are.
    #[inline]
    pub fn padded(&self) -> (&[u8; Self::LEN_MAX], usize) {
        (&self.text, usize::from(self.len))
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Appends a number; `None` where there is no room for it.
    #[inline]
    pub fn push(&mut self, printed: &Printed<'_>) -> Option<()> {
        let Printed { number, text } = *printed;
        let Decimal {
            whole, fraction, ..
        } = number;
        let behind = text.get(whole + 1..).unwrap_or_default();
        let is_zero = |byte: &&u8| **byte == b'0';
        if text.first() != Some(&b'0') {
            self.append(text, whole)?;
            return self.append(behind, fraction);
        }
        let zeros = behind.iter().take(fraction).take_while(is_zero).count();
        self.append(behind.get(zeros..)?, fraction - zeros)
    }

    /// Appends the first `len` bytes. A whole block of known length is copied where there is one.
    #[inline]
    fn append(&mut self, from: &[u8], len: usize) -> Option<()> {
        let start = usize::from(self.len);
        let end = start + len;
        let place = self.text.get_mut(start..)?;
        match (
            from.first_chunk::<{ Self::BLOCK }>(),
            place.first_chunk_mut(),
        ) {
            (Some(block), Some(place)) if len <= Self::BLOCK => *place = *block,
            _ => place.get_mut(..len)?.copy_from_slice(from.get(..len)?),
        }
        self.len = u8::try_from(end).ok()?;
        Some(())
    }
}

impl PartialEq for Digits {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Digits {}

impl fmt::Debug for Digits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// A level as a frame states it: absolute, quantity zero removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub price: Price,
    pub quantity: Quantity,
    /// Empty where the level is removed.
    pub digits: Digits,
}

/// The levels of one frame, in its order. The room is used again for the next one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sides {
    pub bids: Vec<Change>,
    pub asks: Vec<Change>,
}

impl Sides {
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }
}

/// What a book frame says besides its levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Place of the market in the feed's list.
    pub market: usize,
    pub is_snapshot: bool,
    /// The sum of the book as it stands after the frame; snapshots of v1 have none.
    pub checksum: Option<u32>,
    pub at: Option<Time>,
}

/// A number with the text that it was read from.
#[derive(Clone, Copy, Debug)]
pub struct Printed<'a> {
    pub number: Decimal,
    /// Begins with the number, and may go on.
    pub text: &'a [u8],
}

/// Decimals of a unit.
const DECIMALS: usize = 8;

/// Reads `digits[.digits]` where `bytes` begins, by the grammar of JSON but without sign and exponent.
/// What follows is the caller's to compare.
///
/// `None` for more than 18 digits, and for a value that is no multiple of 1e-8: some markets print a
/// ninth decimal, which is zero.
// Its result is used at once: handed over in memory it costs more than the reading.
#[inline(always)]
pub fn printed(bytes: &[u8]) -> Option<Printed<'_>> {
    let number = match short_decimal(bytes) {
        Some(number) => number,
        None => long_decimal(bytes)?,
    };
    Some(Printed {
        number,
        text: bytes,
    })
}

fn long_decimal(bytes: &[u8]) -> Option<Decimal> {
    let (value, whole) = digits(bytes, 0);
    // As JSON has it: no zeros in front.
    if whole == 0 || (whole > 1 && bytes.first() == Some(&b'0')) {
        return None;
    }
    let (value, fraction) = match bytes.get(whole..)?.split_first() {
        Some((b'.', behind)) => {
            let (value, fraction) = digits(behind, value);
            if fraction == 0 {
                return None;
            }
            (value, fraction)
        }
        Some(_) | None => (value, 0),
    };
    if whole + fraction > DIGITS_MAX {
        return None;
    }
    let units = match DECIMALS.checked_sub(fraction) {
        Some(missing) => value.checked_mul(*TENS.get(missing)?)?,
        None => {
            let excess = *TENS.get(fraction - DECIMALS)?;
            if !value.is_multiple_of(excess) {
                return None;
            }
            value / excess
        }
    };
    Some(Decimal {
        units: i64::try_from(units).ok()?,
        whole,
        fraction,
    })
}

/// Appends a level of two printed numbers; `None` where there is no room, or the price is none.
#[inline]
pub fn push_change(
    levels: &mut Vec<Change>,
    price: &Printed<'_>,
    quantity: &Printed<'_>,
) -> Option<()> {
    if price.number.units <= 0 || levels.len() >= LEVELS_MAX {
        return None;
    }
    // It is written where it stays: what was written in pieces is slow to be read at once.
    levels.push(Change {
        price: Price(price.number.units),
        quantity: Quantity(quantity.number.units),
        digits: Digits::EMPTY,
    });
    if quantity.number.units > 0 {
        let digits = &mut levels.last_mut()?.digits;
        digits.push(price)?;
        digits.push(quantity)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;
    use crate::venue::literal::{Excess, units_of};

    fn text_of(price: &str, quantity: &str) -> Option<String> {
        let (price, quantity) = (printed(price.as_bytes())?, printed(quantity.as_bytes())?);
        let mut levels = Vec::new();
        push_change(&mut levels, &price, &quantity)?;
        Some(String::from_utf8(levels[0].digits.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn the_sum_takes_digits_without_the_point_and_the_zeros_in_front() {
        let text = |price, quantity| text_of(price, quantity).unwrap();
        assert_eq!(text("0.05000", "0.00000500"), "5000500");
        assert_eq!(text("45283.5", "0.10000000"), "45283510000000");
        assert_eq!(text("58819.90000", "12"), "588199000012");
        assert_eq!(text("0.000022890", "31.75709827"), "228903175709827");
        assert_eq!(text("100", "0.00000000"), "");
    }

    #[test]
    fn numbers_are_read_as_json_writes_them() {
        for text in [
            "", ".", ".5", "1.", "01", "00.5", "-1", "+1", "1e5", "1.5E1", "1.2.3", "x",
        ] {
            let read = printed(text.as_bytes());
            let is_whole = read.is_some_and(|read| read.number.width() == text.len());
            assert!(!is_whole, "{text}");
        }
        assert!(printed(b"0.000000001").is_none(), "finer than can be told");
        assert!(
            printed(b"1234567890123456789").is_none(),
            "more than 18 digits"
        );
        assert_eq!(printed(b"0.000022890}").unwrap().number.units, 2_289);
        assert_eq!(printed(b"9999999997.00000,").unwrap().number.width(), 16);
        assert!(text_of("0", "1").is_none() && text_of("0.0", "1").is_none());
    }

    #[test]
    fn what_is_read_is_what_the_careful_reader_reads() {
        let mut random = Random::new(3);
        let mut read = 0;
        for _ in 0..100_000 {
            let text: String = (0..random.between(1, 22))
                .map(|_| char::from(b"0123456789.000"[usize::try_from(random.below(14)).unwrap()]))
                .collect();
            let Some(number) =
                printed(text.as_bytes()).filter(|read| read.number.width() == text.len())
            else {
                continue;
            };
            read += 1;
            let careful = units_of(&text, 0, Excess::Refused);
            assert_eq!(careful, Ok(number.number.units), "{text}");
            let mut digits = Digits::EMPTY;
            digits.push(&number).unwrap();
            let plain = text.replace('.', "");
            assert_eq!(digits.as_bytes(), plain.trim_start_matches('0').as_bytes());
        }
        assert!(read > 10_000, "{read}");
    }
}
