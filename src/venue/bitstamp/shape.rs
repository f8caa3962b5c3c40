//! What Bitstamp writes, read by serde: all of its public frames and documents.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::market::Side;
use crate::venue::DecodeError;
use crate::venue::bitstamp::{Channel, Stated};
use crate::venue::document::read;
use crate::venue::literal::Literal;
use crate::venue::names::Names;
use crate::venue::rows::{self, Row, Sides};

/// Reads a frame; its levels, where it has any, take the place of those in `sides`. `None` says
/// that it carries no book: an answer, a heartbeat, a trade, or what may come to be.
///
/// # Errors
/// Where and why it is no frame; that its market is not watched; that the exchange refuses.
pub fn frame(
    frame: &[u8],
    names: &Names,
    sides: &mut Sides,
) -> Result<Option<Stated>, DecodeError> {
    let frame: Frame<'_> = read(text_of(frame)?)?;
    match frame.event.as_ref() {
        "data" => (),
        "bts:request_reconnect" => return Err(DecodeError::Refused { what: "reconnect" }),
        "bts:error" => return Err(DecodeError::Refused { what: "bts:error" }),
        _ => return Ok(None),
    }
    let name = frame
        .channel
        .as_deref()
        .ok_or(DecodeError::malformed("channel"))?;
    let found = Channel::find(name.as_bytes(), names);
    let (channel, market) = found.ok_or(DecodeError::Unknown)?;
    let data = frame.data.ok_or(DecodeError::malformed("data"))?;
    let micros = read::<Book<'_>>(data.get())?.take(sides)?;
    Ok(Some(Stated {
        market,
        channel,
        micros: micros.ok_or(DecodeError::malformed("microtimestamp"))?,
    }))
}

/// Reads the document of a whole book: returns when it was made.
///
/// # Errors
/// Where and why it is no such document.
pub fn document(body: &[u8], sides: &mut Sides) -> Result<u64, DecodeError> {
    let micros = read::<Book<'_>>(text_of(body)?)?.take(sides)?;
    micros.ok_or(DecodeError::malformed("microtimestamp"))
}

fn text_of(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|error| DecodeError::Malformed {
        at: error.valid_up_to(),
        what: "not UTF-8",
    })
}

/// Every frame of the stream.
#[derive(Debug, Deserialize)]
pub struct Frame<'a> {
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    #[serde(borrow, default)]
    pub channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
}

/// A book or changes of one, in a frame or as a document. Documents of before 2019 have no
/// `microtimestamp`.
#[derive(Debug, Deserialize)]
pub struct Book<'a> {
    #[serde(borrow, default)]
    pub microtimestamp: Option<Literal<'a>>,
    #[serde(borrow)]
    pub bids: Vec<Row<'a>>,
    #[serde(borrow)]
    pub asks: Vec<Row<'a>>,
}

/// A trade on the channel `live_trades`; only the numbers in strings are exact.
#[derive(Debug, Deserialize)]
pub struct LiveTrade<'a> {
    #[serde(borrow)]
    pub id: Literal<'a>,
    #[serde(borrow)]
    pub price_str: Literal<'a>,
    #[serde(borrow)]
    pub amount_str: Literal<'a>,
    /// 0 buys, 1 sells.
    #[serde(rename = "type")]
    pub side: u8,
    #[serde(borrow)]
    pub microtimestamp: Literal<'a>,
}

/// A row of the document of trades.
#[derive(Debug, Deserialize)]
pub struct Trade<'a> {
    #[serde(borrow)]
    pub date: Literal<'a>,
    #[serde(borrow)]
    pub tid: Literal<'a>,
    #[serde(borrow)]
    pub price: Literal<'a>,
    #[serde(borrow)]
    pub amount: Literal<'a>,
}

/// The document of one market's ticker.
#[derive(Debug, Deserialize)]
pub struct Ticker<'a> {
    #[serde(borrow)]
    pub bid: Literal<'a>,
    #[serde(borrow)]
    pub ask: Literal<'a>,
    #[serde(borrow)]
    pub last: Literal<'a>,
}

/// A market in the list of all.
#[derive(Debug, Deserialize)]
pub struct PairInfo<'a> {
    #[serde(borrow)]
    pub url_symbol: Cow<'a, str>,
    pub base_decimals: u8,
    pub counter_decimals: u8,
}

impl Book<'_> {
    /// Takes the levels; returns when it was made, where it says so.
    ///
    /// # Errors
    /// A number is none, or there are too many levels.
    pub fn take(&self, sides: &mut Sides) -> Result<Option<u64>, DecodeError> {
        rows::take(Side::Bid, &self.bids, &mut sides.bids).ok_or(DecodeError::malformed("bids"))?;
        rows::take(Side::Ask, &self.asks, &mut sides.asks).ok_or(DecodeError::malformed("asks"))?;
        let micros = self.microtimestamp.as_ref().map(Literal::whole);
        micros
            .map(|micros| micros.ok_or(DecodeError::malformed("microtimestamp")))
            .transpose()
    }
}
