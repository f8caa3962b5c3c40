//! What Binance writes, read by serde: all of its public frames and documents.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::model::market::Side;
use crate::venue::DecodeError;
use crate::venue::binance::{Stated, Symbols, Trading};
use crate::venue::document::read;
use crate::venue::literal::Literal;
use crate::venue::rows::{self, Row, Sides};

/// Reads a frame; its levels, where it has any, take the place of those in `sides`. `None` says
/// that it carries no change of a book: an answer, a trade, or what may come to be.
///
/// # Errors
/// Where and why it is no frame; that its market is not watched; that the exchange refuses.
pub fn frame(
    frame: &[u8],
    trading: Trading,
    symbols: &Symbols,
    sides: &mut Sides,
) -> Result<Option<Stated>, DecodeError> {
    let text = text_of(frame)?;
    let outer: Outer<'_> = read(text)?;
    let text = outer.data.map_or(text, RawValue::get);
    let event: Event<'_> = read(text)?;
    match event.kind.as_deref() {
        Some("depthUpdate") => (),
        Some("serverShutdown") => return Err(DecodeError::Refused { what: "shutdown" }),
        None if outer.data.is_none() && (outer.error.is_some() || outer.code.is_some()) => {
            return Err(DecodeError::Refused { what: "request" });
        }
        Some(_) | None => return Ok(None),
    }
    let change: Change<'_> = read(text)?;
    let market = symbols.symbols.find_name(change.symbol.as_bytes());
    let market = market.ok_or(DecodeError::Unknown)?;
    let numbers = change.numbers().ok_or(DecodeError::malformed("numbers"))?;
    let (previous, last) = trading
        .span(numbers)
        .ok_or(DecodeError::malformed("numbers"))?;
    change.take(sides)?;
    Ok(Some(Stated {
        market,
        previous,
        last,
        millis: change.sent.whole().ok_or(DecodeError::malformed("E"))?,
    }))
}

/// Reads the document of a whole book: returns its number.
///
/// # Errors
/// Where and why it is no such document.
pub fn document(body: &[u8], sides: &mut Sides) -> Result<u64, DecodeError> {
    let book: Book<'_> = read(text_of(body)?)?;
    book.take(sides)?;
    let last = book.last_update_id.as_ref().and_then(Literal::whole);
    last.ok_or(DecodeError::malformed("lastUpdateId"))
}

fn text_of(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|error| DecodeError::Malformed {
        at: error.valid_up_to(),
        what: "not UTF-8",
    })
}

/// The wrapper of a combined stream, and what an answer that refuses has.
#[derive(Debug, Deserialize)]
pub struct Outer<'a> {
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
    #[serde(default)]
    pub error: Option<IgnoredAny>,
    #[serde(default)]
    pub code: Option<IgnoredAny>,
}

/// What kind of event a frame is; the best bid and ask say no kind.
#[derive(Debug, Deserialize)]
pub struct Event<'a> {
    #[serde(borrow, rename = "e", default)]
    pub kind: Option<Cow<'a, str>>,
}

/// Levels that changed. Frames of 2017 have no first number.
#[derive(Debug, Deserialize)]
pub struct Change<'a> {
    #[serde(borrow, rename = "E")]
    pub sent: Literal<'a>,
    #[serde(borrow, rename = "s")]
    pub symbol: Cow<'a, str>,
    #[serde(borrow, rename = "U", default)]
    pub first: Option<Literal<'a>>,
    #[serde(borrow, rename = "u")]
    pub last: Literal<'a>,
    /// Of futures: the number that the change before ended with.
    #[serde(borrow, rename = "pu", default)]
    pub before: Option<Literal<'a>>,
    #[serde(borrow, rename = "b")]
    pub bids: Vec<Row<'a>>,
    #[serde(borrow, rename = "a")]
    pub asks: Vec<Row<'a>>,
}

/// The document of a whole book.
#[derive(Debug, Deserialize)]
pub struct Book<'a> {
    #[serde(borrow, rename = "lastUpdateId", default)]
    pub last_update_id: Option<Literal<'a>>,
    #[serde(borrow)]
    pub bids: Vec<Row<'a>>,
    #[serde(borrow)]
    pub asks: Vec<Row<'a>>,
}

/// The best bid and ask, after the update of this number.
#[derive(Debug, Deserialize)]
pub struct BookTicker<'a> {
    #[serde(borrow, rename = "u")]
    pub number: Literal<'a>,
    #[serde(borrow, rename = "s")]
    pub symbol: Cow<'a, str>,
    #[serde(borrow, rename = "b")]
    pub bid: Literal<'a>,
    #[serde(borrow, rename = "B")]
    pub bid_quantity: Literal<'a>,
    #[serde(borrow, rename = "a")]
    pub ask: Literal<'a>,
    #[serde(borrow, rename = "A")]
    pub ask_quantity: Literal<'a>,
}

/// A trade, or several of one order at one price.
#[derive(Debug, Deserialize)]
pub struct Trade<'a> {
    #[serde(borrow, rename = "p")]
    pub price: Literal<'a>,
    #[serde(borrow, rename = "q")]
    pub quantity: Literal<'a>,
    #[serde(borrow, rename = "T")]
    pub traded: Literal<'a>,
}

/// A row of the document of trades.
#[derive(Debug, Deserialize)]
pub struct TradeRow<'a> {
    #[serde(borrow)]
    pub id: Literal<'a>,
    #[serde(borrow)]
    pub price: Literal<'a>,
    #[serde(borrow, rename = "qty")]
    pub quantity: Literal<'a>,
}

/// The documents of a ticker, as far as they have a best bid and ask.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticker<'a> {
    #[serde(borrow)]
    pub bid_price: Literal<'a>,
    #[serde(borrow)]
    pub ask_price: Literal<'a>,
}

impl Change<'_> {
    fn numbers(&self) -> Option<(u64, u64, Option<u64>)> {
        let first = self.first.as_ref()?.whole()?;
        let before = self.before.as_ref().map(Literal::whole);
        let before = before.map_or(Some(None), |before| before.map(Some))?;
        Some((first, self.last.whole()?, before))
    }

    /// Takes the levels.
    ///
    /// # Errors
    /// A number is none, or there are too many levels.
    pub fn take(&self, sides: &mut Sides) -> Result<(), DecodeError> {
        take(&self.bids, &self.asks, sides)
    }
}

impl Book<'_> {
    /// Takes the levels.
    ///
    /// # Errors
    /// A number is none, or there are too many levels.
    pub fn take(&self, sides: &mut Sides) -> Result<(), DecodeError> {
        take(&self.bids, &self.asks, sides)
    }
}

fn take(bids: &[Row<'_>], asks: &[Row<'_>], sides: &mut Sides) -> Result<(), DecodeError> {
    rows::take(Side::Bid, bids, &mut sides.bids).ok_or(DecodeError::malformed("bids"))?;
    rows::take(Side::Ask, asks, &mut sides.asks).ok_or(DecodeError::malformed("asks"))
}
