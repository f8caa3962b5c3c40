//! What Kraken's streams and public documents say, read by serde: the last resort, and all that is
//! not a book.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::number::{NumberError, Price, Quantity};
use crate::venue::kraken::change::{
    Change, Digits, Head, LEVELS_MAX, Printed, Sides, printed, push_change,
};
use crate::venue::literal::{Excess, Literal, countable, units_of};
use crate::venue::names::Names;
use crate::venue::scan::Decimal;
use crate::venue::stamp::rfc3339;

/// Any frame of v2, and the events of v1.
#[derive(Debug, Default, Deserialize)]
pub struct Frame<'a> {
    #[serde(borrow, default)]
    pub channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub method: Option<Cow<'a, str>>,
    /// What v1 calls its messages that are no data.
    #[serde(borrow, default)]
    pub event: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "type")]
    pub kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
    #[serde(default)]
    pub success: Option<bool>,
    #[serde(borrow, default)]
    pub error: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub result: Option<&'a RawValue>,
    /// Which symbol a refused subscription was for.
    #[serde(borrow, default)]
    pub symbol: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub params: Option<&'a RawValue>,
}

/// What a subscription came to.
#[derive(Debug, Default, Deserialize)]
pub struct Subscribed<'a> {
    #[serde(borrow, default)]
    pub channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub symbol: Option<Cow<'a, str>>,
    #[serde(default)]
    pub depth: Option<usize>,
}

/// One book of a frame.
#[derive(Debug, Deserialize)]
pub struct Book<'a> {
    #[serde(borrow)]
    pub symbol: Cow<'a, str>,
    #[serde(borrow)]
    pub bids: Vec<Row<'a>>,
    #[serde(borrow)]
    pub asks: Vec<Row<'a>>,
    #[serde(borrow)]
    pub checksum: Literal<'a>,
    #[serde(borrow, default)]
    pub timestamp: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
pub struct Row<'a> {
    #[serde(borrow)]
    pub price: Literal<'a>,
    #[serde(borrow)]
    pub qty: Literal<'a>,
}

/// A document of the public REST interface.
#[derive(Debug, Deserialize)]
pub struct Reply<'a> {
    pub error: Vec<String>,
    #[serde(borrow, default)]
    pub result: Option<&'a RawValue>,
}

/// A book as a document: price, quantity, and seconds since 1970.
#[derive(Debug, Deserialize)]
pub struct BookDocument<'a> {
    #[serde(borrow)]
    pub bids: Vec<(Literal<'a>, Literal<'a>, Literal<'a>)>,
    #[serde(borrow)]
    pub asks: Vec<(Literal<'a>, Literal<'a>, Literal<'a>)>,
}

/// A ticker as a document or a frame of v1: best ask and bid lead their lists.
#[derive(Debug, Deserialize)]
pub struct Ticker<'a> {
    #[serde(borrow)]
    pub a: Vec<Literal<'a>>,
    #[serde(borrow)]
    pub b: Vec<Literal<'a>>,
}

/// Documents keyed by pair.
pub type ByPair<'a, T> = BTreeMap<Cow<'a, str>, T>;

/// Why a book cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not what the exchange writes.
    Malformed(&'static str),
    /// The market is not one of the feed's.
    Unknown,
    /// The frame is whole, but this market's numbers cannot be held or summed: finer than 1e-8, or
    /// printed with an exponent.
    Beyond { market: usize },
}

/// Reads a book frame of v2 into `sides`.
///
/// # Errors
/// See [`Fault`].
pub fn read_book(frame: &Frame<'_>, symbols: &Names, sides: &mut Sides) -> Result<Head, Fault> {
    let is_snapshot = match frame.kind.as_deref() {
        Some("snapshot") => true,
        Some("update") => false,
        Some(_) | None => return Err(Fault::Malformed("type of a book")),
    };
    let data = frame.data.map_or("[]", RawValue::get);
    let Ok([book]) = serde_json::from_str::<[Book<'_>; 1]>(data) else {
        return Err(Fault::Malformed("book"));
    };
    let market = symbols.find_name(book.symbol.as_bytes());
    let market = market.ok_or(Fault::Unknown)?;
    let checksum = book.checksum.whole();
    let checksum = checksum.and_then(|sum| u32::try_from(sum).ok());
    let at = match &book.timestamp {
        Some(text) => Some(rfc3339(text.as_bytes()).ok_or(Fault::Malformed("timestamp"))?),
        None => None,
    };
    read_rows(market, &book.bids, &mut sides.bids)?;
    read_rows(market, &book.asks, &mut sides.asks)?;
    Ok(Head {
        market,
        is_snapshot,
        checksum: Some(checksum.ok_or(Fault::Malformed("checksum"))?),
        at,
    })
}

fn read_rows(market: usize, rows: &[Row<'_>], levels: &mut Vec<Change>) -> Result<(), Fault> {
    levels.clear();
    for row in rows {
        push_level(market, row.price.as_str(), row.qty.as_str(), levels)?;
    }
    Ok(())
}

/// Appends a level. A price that is more than can be counted is left out: it is out of everybody's
/// reach; a quantity that is more counts as the most there is.
///
/// # Errors
/// See [`Fault`].
pub fn push_level(
    market: usize,
    price: &str,
    quantity: &str,
    levels: &mut Vec<Change>,
) -> Result<(), Fault> {
    if levels.len() >= LEVELS_MAX {
        return Err(Fault::Malformed("too many levels"));
    }
    let fast = |text: &str| {
        printed(text.as_bytes())
            .filter(|read| read.number.width() == text.len())
            .is_some()
    };
    if fast(price) && fast(quantity) {
        let numbers = printed(price.as_bytes()).zip(printed(quantity.as_bytes()));
        let pushed = numbers.and_then(|(price, quantity)| push_change(levels, &price, &quantity));
        return pushed.ok_or(Fault::Malformed("price"));
    }
    let Some(price_units) = units(market, price)? else {
        return Ok(());
    };
    let quantity_units = units(market, quantity)?.unwrap_or(i64::MAX);
    if price_units <= 0 {
        return Err(Fault::Malformed("price"));
    }
    let mut digits = Digits::EMPTY;
    if quantity_units > 0 {
        let pushed = push_text(&mut digits, price).and_then(|()| push_text(&mut digits, quantity));
        pushed.ok_or(Fault::Beyond { market })?;
    }
    levels.push(Change {
        price: Price(price_units),
        quantity: Quantity(quantity_units),
        digits,
    });
    Ok(())
}

/// Returns a number, or `None` where it is more than can be counted.
fn units(market: usize, text: &str) -> Result<Option<i64>, Fault> {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let has_zeros = text.len() > 1 && text.starts_with('0') && !text.starts_with("0.");
    match countable(units_of(text, 0, Excess::Refused)) {
        Ok(Some(..0)) | Err(NumberError::Empty | NumberError::NotADigit(_)) => {
            Err(Fault::Malformed("number"))
        }
        Ok(_) if has_zeros => Err(Fault::Malformed("number")),
        Ok(_) if !is_plain => Err(Fault::Beyond { market }),
        Ok(units) => Ok(units),
        Err(NumberError::TooFine | NumberError::TooLarge) => Err(Fault::Beyond { market }),
    }
}

fn push_text(digits: &mut Digits, text: &str) -> Option<()> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    digits.push(&Printed {
        number: Decimal {
            units: 0,
            whole: whole.len(),
            fraction: fraction.len(),
        },
        text: text.as_bytes(),
    })
}
