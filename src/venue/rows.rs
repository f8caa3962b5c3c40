//! Levels as `[["price","quantity"],…]`, as several exchanges write them, read at three speeds.

use std::fmt;

use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::model::market::{Level, Side};
use crate::model::number::{NumberError, Price, Quantity};
use crate::venue::literal::{Excess, Literal, countable};
use crate::venue::scan::Scan;
use crate::venue::walk::Walk;

/// Levels of a side that are read; a frame or document with more is refused.
pub const LEVELS_MAX: usize = 16_384;

/// Both sides of one frame, in the order in which it lists them. Frame after frame is read into the
/// same one, which costs no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
}

impl Sides {
    /// Makes a whole book of what was read: of each side the best `depth` levels, the worst first,
    /// for so a book takes them in without moving one.
    ///
    /// Returns false where it is no book: levels out of order or empty, or the sides cross.
    pub fn make_book(&mut self, depth: usize) -> bool {
        let Self { bids, asks } = self;
        let is_filled = |level: &Level| level.quantity.is_positive();
        let is_in_order = bids.is_sorted_by(|one, other| one.price > other.price)
            && asks.is_sorted_by(|one, other| one.price < other.price)
            && bids.iter().chain(asks.iter()).all(is_filled);
        let is_crossed = match (bids.first(), asks.first()) {
            (Some(bid), Some(ask)) => bid.price >= ask.price,
            (None, _) | (_, None) => false,
        };
        for side in [bids, asks] {
            side.truncate(depth);
            side.reverse();
        }
        is_in_order && !is_crossed
    }
}

/// Reads a list by its template; `SPACED` is the one with a space behind every comma.
#[inline]
pub fn scan<const SPACED: bool>(scan: &mut Scan<'_>, levels: &mut Vec<Level>) -> Option<()> {
    let (between, next): (&[u8], &[u8]) = if SPACED {
        (b"\", \"", b"\"], [\"")
    } else {
        (b"\",\"", b"\"],[\"")
    };
    levels.clear();
    if scan.takes(b"[]") {
        return Some(());
    }
    scan.literal(b"[[\"")?;
    loop {
        let price = scan.price()?;
        scan.literal(between)?;
        let quantity = scan.quantity()?;
        push(levels, Level { price, quantity })?;
        if !scan.takes(next) {
            return scan.literal(b"\"]]");
        }
    }
}

/// Reads a list in any spacing. A third item of a row is passed over where it is empty: Binance
/// wrote one until 2018.
pub fn walk(walk: &mut Walk<'_>, levels: &mut Vec<Level>) -> Option<()> {
    levels.clear();
    walk.list(|walk| {
        walk.open()?;
        let price = Price(units(walk.text()?)?);
        walk.comma()?;
        let quantity = Quantity(units(walk.text()?)?);
        if walk.peek()? == b',' {
            walk.comma()?;
            walk.open()?;
            walk.close()?;
        }
        walk.close()?;
        push(levels, Level { price, quantity })
    })
}

/// Reads a whole number in a string.
pub fn walk_whole(walk: &mut Walk<'_>) -> Option<u64> {
    let mut scan = Scan::new(walk.text()?);
    let whole = scan.whole()?;
    scan.end()?;
    Some(whole)
}

/// Reads over the value of a field that is not known, where name and value are plain: texts without
/// escapes, whole numbers. Anything else is left to serde_json, which alone knows all that may stand
/// there.
pub fn walk_plain(walk: &mut Walk<'_>, name: &[u8]) -> Option<()> {
    let is_plain = |text: &[u8]| text.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_plain(name) {
        return None;
    }
    if walk.peek()? == b'"' {
        return is_plain(walk.text()?).then_some(());
    }
    walk_number(walk).map(|_| ())
}

/// Reads a whole number that stands bare.
pub fn walk_number(walk: &mut Walk<'_>) -> Option<u64> {
    if walk.peek()? == b'"' {
        return None;
    }
    let mut scan = Scan::new(walk.digits()?);
    let number = scan.whole()?;
    scan.end()?;
    Some(number)
}

/// A row as serde reads it.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    pub price: Literal<'a>,
    pub quantity: Literal<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Row<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a price and a quantity")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Row<'de>, A::Error> {
        let mut number = || -> Result<Literal<'de>, A::Error> {
            let number = items.next_element()?;
            number.ok_or_else(|| A::Error::custom("a number is missing"))
        };
        let (price, quantity) = (number()?, number()?);
        let ignored: Option<Vec<IgnoredAny>> = items.next_element()?;
        if ignored.is_some_and(|items| !items.is_empty()) {
            return Err(A::Error::custom("a row of more than two"));
        }
        let further: Option<IgnoredAny> = items.next_element()?;
        if further.is_some() {
            return Err(A::Error::custom("a row of more than two"));
        }
        Ok(Row { price, quantity })
    }
}

/// Takes the rows that serde read. What is finer than can be counted is rounded against the one who
/// would trade on it; a price beyond all counting is out of everybody's reach and left out, and of a
/// quantity beyond it as much stands there as can be counted.
///
/// Returns `None` where a number is none, a price is not above zero, or there are too many.
pub fn take(side: Side, rows: &[Row<'_>], levels: &mut Vec<Level>) -> Option<()> {
    let excess = match side {
        Side::Bid => Excess::Down,
        Side::Ask => Excess::Up,
    };
    levels.clear();
    for row in rows {
        let quantity = match row.quantity.quantity() {
            Err(NumberError::TooLarge) => Quantity::MAX,
            counted => counted.ok().filter(|counted| counted.0 >= 0)?,
        };
        let price = countable(row.price.units(excess)).ok()?;
        let Some(price) = price.map(Price) else {
            continue;
        };
        push(levels, Level { price, quantity })?;
    }
    Some(())
}

#[inline]
fn push(levels: &mut Vec<Level>, level: Level) -> Option<()> {
    if !level.price.is_positive() || levels.len() >= LEVELS_MAX {
        return None;
    }
    levels.push(level);
    Some(())
}

fn units(text: &[u8]) -> Option<i64> {
    let mut scan = Scan::new(text);
    let units = scan.units()?;
    scan.end()?;
    Some(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(price: i64, quantity: i64) -> Level {
        Level {
            price: Price(price),
            quantity: Quantity(quantity),
        }
    }

    fn by_template(text: &str) -> Option<Vec<Level>> {
        let mut levels = Vec::new();
        let mut reader = Scan::new(text.as_bytes());
        scan::<false>(&mut reader, &mut levels)?;
        reader.end()?;
        Some(levels)
    }

    fn by_spaced_template(text: &str) -> Option<Vec<Level>> {
        let mut levels = Vec::new();
        let mut reader = Scan::new(text.as_bytes());
        scan::<true>(&mut reader, &mut levels)?;
        reader.end()?;
        Some(levels)
    }

    fn tolerantly(text: &str) -> Option<Vec<Level>> {
        let mut levels = Vec::new();
        let mut reader = Walk::new(text.as_bytes());
        walk(&mut reader, &mut levels)?;
        reader.end()?;
        Some(levels)
    }

    fn by_serde(text: &str) -> Option<Vec<Level>> {
        let mut levels = Vec::new();
        let rows: Vec<Row<'_>> = serde_json::from_str(text).ok()?;
        take(Side::Ask, &rows, &mut levels)?;
        Some(levels)
    }

    #[test]
    fn three_readers_take_the_same_levels() {
        let two = vec![level(115_979_000, 99_302_588_113), level(1, 0)];
        let text = r#"[["1.15979","993.02588113"],["0.00000001","0.00000000"]]"#;
        assert_eq!(by_template(text), Some(two.clone()));
        let spaced = text.replace(',', ", ");
        assert_eq!(by_spaced_template(&spaced), Some(two.clone()));
        assert_eq!(by_template(&spaced), None);
        assert_eq!(by_spaced_template(text), None);
        let wide = text.replace(',', " ,\n");
        for text in [text, &spaced, &wide] {
            assert_eq!(tolerantly(text), Some(two.clone()), "{text}");
            assert_eq!(by_serde(text), Some(two.clone()), "{text}");
        }
        let old = r#"[["1.15979","993.02588113",[]],["0.00000001","0",[]]]"#;
        assert_eq!(
            (tolerantly(old), by_serde(old)),
            (Some(two.clone()), Some(two))
        );
        for read in [by_template, by_spaced_template, tolerantly, by_serde] {
            assert_eq!(read("[]"), Some(Vec::new()));
        }
    }

    #[test]
    fn what_is_no_level_is_refused() {
        for text in [
            "",
            "[",
            "[[]]",
            r#"[["1"]]"#,
            r#"[["1","2"],]"#,
            r#"[["1","2","3"]]"#,
            r#"[["1","2",[1]]]"#,
            r#"[["1","2",[],[]]]"#,
            r#"[["0","2"]]"#,
            r#"[["-1","2"]]"#,
            r#"[["1","-2"]]"#,
            r#"[["1","x"]]"#,
            r#"[["1","2"]"#,
        ] {
            for read in [by_template, by_spaced_template, tolerantly, by_serde] {
                assert_eq!(read(text), None, "{text}");
            }
        }
        let many = format!("[{}[\"1\",\"2\"]]", "[\"1\",\"2\"],".repeat(LEVELS_MAX));
        assert_eq!((by_template(&many), tolerantly(&many)), (None, None));
        assert_eq!(by_serde(&many), None);
    }

    #[test]
    fn numbers_beyond_the_common_are_left_to_serde() {
        let text = r#"[["1.000000001","5e-1"],["99999999999999","1"],["2","99999999999999"]]"#;
        assert_eq!((by_template(text), tolerantly(text)), (None, None));
        let expected = [level(100_000_001, 50_000_000), level(200_000_000, i64::MAX)];
        assert_eq!(by_serde(text), Some(expected.to_vec()));
        assert_eq!(
            by_serde("[[1.5,2]]"),
            Some(vec![level(150_000_000, 200_000_000)])
        );
        assert_eq!(tolerantly("[[1.5,2]]"), None);
    }

    #[test]
    fn a_bare_number_has_no_zero_in_front() {
        for (text, expected) in [("7", Some(7)), ("0", Some(0)), ("07", None), ("00", None)] {
            assert_eq!(
                walk_number(&mut Walk::new(format!("{text},").as_bytes())),
                expected
            );
        }
    }

    #[test]
    fn a_book_stands_worst_first_and_in_order_or_not_at_all() {
        let book = |bids: &[i64], asks: &[i64]| Sides {
            bids: bids.iter().map(|price| level(*price, 1)).collect(),
            asks: asks.iter().map(|price| level(*price, 1)).collect(),
        };
        let mut sides = book(&[5, 4, 3], &[6, 7, 8]);
        assert!(sides.make_book(2));
        assert_eq!(sides, book(&[4, 5], &[7, 6]));
        assert!(book(&[], &[6]).make_book(2));
        assert!(!book(&[5], &[5]).make_book(2));
        assert!(!book(&[4, 5], &[6]).make_book(2));
        assert!(!book(&[5, 5], &[6]).make_book(2));
        assert!(!book(&[5], &[7, 6]).make_book(2));
        let mut empty = book(&[5], &[6]);
        empty.asks[0].quantity = Quantity::ZERO;
        assert!(!empty.make_book(2));
    }
}
