//! What exchanges of the BTC-e dialect write, read by its digits.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::model::instrument::Pair;
use crate::model::market::{Level, Side};
use crate::model::number::{NumberError, Price, Quantity};
use crate::venue::literal::{Excess, Literal, countable};

/// Price and amount of a level.
pub type Row<'a> = (Literal<'a>, Literal<'a>);

/// A book, best levels first on both sides.
#[derive(Debug, Deserialize)]
pub struct Depth<'a> {
    #[serde(borrow)]
    pub asks: Vec<Row<'a>>,
    #[serde(borrow)]
    pub bids: Vec<Row<'a>>,
}

/// Levels that changed, on the stream: absolute amounts, zero removes.
#[derive(Debug, Deserialize)]
pub struct DepthChange<'a> {
    #[serde(borrow, default)]
    pub ask: Vec<Row<'a>>,
    #[serde(borrow, default)]
    pub bid: Vec<Row<'a>>,
}

/// A ticker of either generation.
#[derive(Debug, Deserialize)]
pub struct Ticker<'a> {
    /// Which side of the book this is differs by exchange.
    #[serde(borrow)]
    pub buy: Literal<'a>,
    #[serde(borrow)]
    pub sell: Literal<'a>,
    #[serde(borrow)]
    pub last: Literal<'a>,
    #[serde(borrow)]
    pub vol: Literal<'a>,
    #[serde(borrow)]
    pub vol_cur: Literal<'a>,
}

/// A trade of either generation; newest first in every list.
#[derive(Debug, Deserialize)]
pub struct TradeRow<'a> {
    /// `bid`: the taker bought.
    #[serde(borrow, rename = "type", alias = "trade_type")]
    pub side: Cow<'a, str>,
    #[serde(borrow)]
    pub price: Literal<'a>,
    #[serde(borrow)]
    pub amount: Literal<'a>,
    pub tid: u64,
    #[serde(rename = "timestamp", alias = "date")]
    pub at_s: u64,
}

/// What an exchange demands in its markets.
#[derive(Debug, Deserialize)]
pub struct Info<'a> {
    pub server_time: u64,
    #[serde(borrow)]
    pub pairs: BTreeMap<Cow<'a, str>, InfoPair<'a>>,
}

/// What an exchange demands in one market.
#[derive(Debug, Deserialize)]
pub struct InfoPair<'a> {
    pub decimal_places: u32,
    #[serde(borrow)]
    pub min_price: Literal<'a>,
    #[serde(borrow)]
    pub max_price: Literal<'a>,
    #[serde(borrow)]
    pub min_amount: Literal<'a>,
    /// In percent.
    #[serde(borrow)]
    pub fee: Literal<'a>,
}

/// The answer of every trade method, and of public ones that fail.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    pub success: u8,
    #[serde(borrow, default, rename = "return")]
    pub content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<Cow<'a, str>>,
    /// YoBit's number of the error.
    #[serde(default)]
    pub code: Option<u32>,
}

/// Amounts by currency, in lower case.
pub type Funds<'a> = BTreeMap<Cow<'a, str>, Literal<'a>>;

/// The account.
#[derive(Debug, Deserialize)]
pub struct Account<'a> {
    /// Without what orders hold.
    #[serde(borrow)]
    pub funds: Funds<'a>,
    /// With it, where the exchange says so.
    #[serde(borrow, default)]
    pub funds_incl_orders: Option<Funds<'a>>,
    pub rights: Rights,
    /// Seconds since 1970.
    #[serde(default)]
    pub server_time: Option<u64>,
}

/// What the key may do, each 0 or 1.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Rights {
    #[serde(default)]
    pub info: u8,
    #[serde(default)]
    pub trade: u8,
    #[serde(default)]
    pub withdraw: u8,
}

/// What placing an order came to at once.
#[derive(Debug, Deserialize)]
pub struct Placed<'a> {
    /// What was filled.
    #[serde(borrow)]
    pub received: Literal<'a>,
    /// What rests.
    #[serde(borrow)]
    pub remains: Literal<'a>,
    /// Zero where nothing rests.
    pub order_id: u64,
    /// YoBit's name of an order of which nothing rests.
    #[serde(default)]
    pub init_order_id: Option<u64>,
}

/// What cancelling an order came to.
#[derive(Debug, Deserialize)]
pub struct Cancelled {
    pub order_id: u64,
}

/// An order, open or looked at.
#[derive(Debug, Deserialize)]
pub struct OrderRow<'a> {
    #[serde(borrow)]
    pub pair: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    pub side: Cow<'a, str>,
    /// What rests.
    #[serde(borrow)]
    pub amount: Literal<'a>,
    #[serde(borrow)]
    pub rate: Literal<'a>,
    #[serde(deserialize_with = "whole")]
    pub timestamp_created: u64,
    /// 0 active, 1 executed, 2 cancelled, 3 cancelled after a part was executed.
    pub status: u8,
    #[serde(borrow, default)]
    pub start_amount: Option<Literal<'a>>,
}

/// A trade of the account.
#[derive(Debug, Deserialize)]
pub struct HistoryRow<'a> {
    #[serde(borrow)]
    pub pair: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    pub side: Cow<'a, str>,
    #[serde(borrow)]
    pub amount: Literal<'a>,
    #[serde(borrow)]
    pub rate: Literal<'a>,
    /// The account's own order where it was resting; where it came in, whichever order the exchange
    /// names: recorded histories name the one it met.
    #[serde(deserialize_with = "whole")]
    pub order_id: u64,
    /// 1 where the account's order was resting.
    #[serde(default)]
    pub is_your_order: u8,
    #[serde(deserialize_with = "whole")]
    pub timestamp: u64,
}

/// A frame of the stream.
#[derive(Debug, Deserialize)]
pub struct Frame<'a> {
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    #[serde(borrow, default)]
    pub channel: Option<Cow<'a, str>>,
    /// JSON in a JSON string, mostly.
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
}

/// Why the stream is refused.
#[derive(Debug, Default, Deserialize)]
pub struct StreamError {
    #[serde(default)]
    pub code: Option<u32>,
}

/// Reads a level so that it promises no more than it says: bids are rounded down, asks up. `None`
/// where it is beyond what can be counted.
///
/// # Errors
/// A number is none.
pub fn level_of(side: Side, row: &Row<'_>) -> Result<Option<Level>, NumberError> {
    let excess = match side {
        Side::Bid => Excess::Down,
        Side::Ask => Excess::Up,
    };
    let price = countable(row.0.units(excess))?;
    let amount = countable(row.1.units(Excess::Down))?;
    Ok(price.zip(amount).map(|(price, amount)| Level {
        price: Price(price),
        quantity: Quantity(amount),
    }))
}

/// Reads a whole number that may stand in a text, as times and names in YoBit's rows do.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let literal = Literal::deserialize(deserializer)?;
    let number = literal.whole();
    number.ok_or_else(|| D::Error::custom("not a whole number"))
}

/// Reads `buy` and `sell`.
pub fn side_of(word: &str) -> Option<Side> {
    match word {
        "buy" => Some(Side::Bid),
        "sell" => Some(Side::Ask),
        _ => None,
    }
}

pub const fn side_word(side: Side) -> &'static str {
    match side {
        Side::Bid => "buy",
        Side::Ask => "sell",
    }
}

/// Reads `btc_usd`.
pub fn pair_of(name: &str) -> Option<Pair> {
    let (base, quote) = name.split_once('_')?;
    let code = |text: &str| text.to_ascii_uppercase().parse().ok();
    let (base, quote) = (code(base)?, code(quote)?);
    (base != quote).then_some(Pair { base, quote })
}

/// Reads an amount of an order or a trade exactly.
pub fn quantity_of(literal: &Literal<'_>) -> Option<Quantity> {
    literal.units(Excess::Refused).ok().map(Quantity)
}
