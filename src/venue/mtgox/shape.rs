//! What MtGox writes, read by its digits. Only `*_int` fields are money: floats and displays are not
//! looked at.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::currency::Currency;
use crate::model::market::{Level, Side};
use crate::model::number::{NumberError, Price, Quantity};
use crate::venue::literal::{Excess, Literal, countable};
use crate::venue::mtgox::money::decimals;

/// The answer of every v1 and v2 method: `{"result":"success","return"|"data":…}` or an error.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    #[serde(borrow)]
    pub result: Cow<'a, str>,
    #[serde(borrow, default, rename = "return")]
    pub v1: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub token: Option<Cow<'a, str>>,
}

impl<'a> Envelope<'a> {
    /// Returns the content of a success, of either version.
    pub fn content(&self) -> Option<&'a RawValue> {
        (self.result == "success").then(|| self.v1.or(self.data))?
    }
}

/// An amount of money; what is shown to people is not read.
#[derive(Clone, Debug, Deserialize)]
pub struct Money<'a> {
    #[serde(borrow)]
    pub value_int: Literal<'a>,
    #[serde(borrow)]
    pub currency: Cow<'a, str>,
}

impl Money<'_> {
    /// Returns the amount in units of 1e-8.
    pub fn units(&self) -> Option<i64> {
        let currency: Currency = self.currency.parse().ok()?;
        let units = self.value_int.scaled(decimals(currency), Excess::Nearest);
        units.ok()
    }
}

/// One level of a depth document. Both sides ascend by price.
#[derive(Debug, Deserialize)]
pub struct DepthLevel<'a> {
    #[serde(borrow)]
    pub price_int: Literal<'a>,
    #[serde(borrow)]
    pub amount_int: Literal<'a>,
    /// Microseconds since 1970 of its last change.
    #[serde(borrow)]
    pub stamp: Literal<'a>,
}

/// A depth document, a window of the book or all of it.
#[derive(Debug, Deserialize)]
pub struct Depth<'a> {
    #[serde(borrow)]
    pub asks: Vec<DepthLevel<'a>>,
    #[serde(borrow)]
    pub bids: Vec<DepthLevel<'a>>,
    /// When it was drawn up, in microseconds; not every generation says so.
    #[serde(borrow, default)]
    pub now: Option<Literal<'a>>,
}

/// A ticker, in a document or on the stream.
#[derive(Debug, Deserialize)]
pub struct Ticker<'a> {
    /// Best bid.
    #[serde(borrow)]
    pub buy: Money<'a>,
    /// Best ask.
    #[serde(borrow)]
    pub sell: Money<'a>,
    #[serde(borrow, default)]
    pub last: Option<Money<'a>>,
    #[serde(borrow, default)]
    pub vol: Option<Money<'a>>,
    #[serde(borrow, default)]
    pub item: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub now: Option<Literal<'a>>,
}

/// A level that changed, on the stream: its new total.
#[derive(Debug, Deserialize)]
pub struct DepthRow<'a> {
    #[serde(borrow)]
    pub currency: Cow<'a, str>,
    #[serde(borrow)]
    pub item: Cow<'a, str>,
    #[serde(borrow)]
    pub type_str: Cow<'a, str>,
    #[serde(borrow)]
    pub price_int: Literal<'a>,
    #[serde(borrow)]
    pub total_volume_int: Literal<'a>,
    #[serde(borrow)]
    pub now: Literal<'a>,
}

/// A trade, in a document or on the stream.
#[derive(Debug, Deserialize)]
pub struct TradeRow<'a> {
    #[serde(borrow)]
    pub tid: Literal<'a>,
    #[serde(borrow)]
    pub price_int: Literal<'a>,
    #[serde(borrow)]
    pub amount_int: Literal<'a>,
    #[serde(borrow)]
    pub price_currency: Cow<'a, str>,
    #[serde(borrow)]
    pub item: Cow<'a, str>,
    #[serde(borrow)]
    pub trade_type: Cow<'a, str>,
    /// `N`: the same trade as its other party sees it, in another currency.
    #[serde(borrow, default)]
    pub primary: Option<Cow<'a, str>>,
}

/// How far the engine is behind: `age` on the stream, `lag` in the document, in microseconds.
#[derive(Debug, Deserialize)]
pub struct Lag<'a> {
    #[serde(borrow, alias = "lag")]
    pub age: Literal<'a>,
}

/// An order of the account.
#[derive(Debug, Deserialize)]
pub struct OrderRow<'a> {
    #[serde(borrow)]
    pub oid: Cow<'a, str>,
    #[serde(borrow, default)]
    pub currency: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub item: Option<Cow<'a, str>>,
    /// `bid` or `ask`; v0 wrote 2 and 1.
    #[serde(borrow, default, rename = "type")]
    pub side: Option<&'a RawValue>,
    /// What still rests of it.
    #[serde(borrow, default)]
    pub amount: Option<Money<'a>>,
    #[serde(borrow, default)]
    pub price: Option<Money<'a>>,
    #[serde(borrow, default)]
    pub status: Option<Cow<'a, str>>,
    /// Microseconds since 1970 of its making.
    #[serde(borrow, default)]
    pub priority: Option<Literal<'a>>,
    /// Why it was removed, on the stream.
    #[serde(borrow, default)]
    pub reason: Option<Cow<'a, str>>,
}

/// What an order has traded.
#[derive(Debug, Deserialize)]
pub struct OrderResult<'a> {
    #[serde(borrow)]
    pub order_id: Cow<'a, str>,
    #[serde(borrow)]
    pub trades: Vec<ResultTrade<'a>>,
}

/// One trade of an order.
#[derive(Debug, Deserialize)]
pub struct ResultTrade<'a> {
    #[serde(borrow)]
    pub trade_id: Literal<'a>,
    #[serde(borrow)]
    pub amount: Money<'a>,
    #[serde(borrow)]
    pub price: Money<'a>,
    #[serde(borrow, default)]
    pub spent: Option<Money<'a>>,
}

/// The account.
#[derive(Debug, Deserialize)]
pub struct Info<'a> {
    #[serde(rename = "Rights", borrow)]
    pub rights: Vec<Cow<'a, str>>,
    #[serde(rename = "Wallets", borrow)]
    pub wallets: BTreeMap<Cow<'a, str>, Wallet<'a>>,
    /// In percent.
    #[serde(rename = "Trade_Fee", borrow, default)]
    pub trade_fee: Option<Literal<'a>>,
}

/// What the account has of a currency.
#[derive(Debug, Deserialize)]
pub struct Wallet<'a> {
    #[serde(rename = "Balance", borrow)]
    pub balance: Money<'a>,
    /// What open orders hold.
    #[serde(rename = "Open_Orders", borrow, default)]
    pub open_orders: Option<Money<'a>>,
}

/// A page of an account's ledger, newest row first.
#[derive(Debug, Deserialize)]
pub struct History<'a> {
    #[serde(borrow)]
    pub max_page: Literal<'a>,
    #[serde(borrow)]
    pub result: Vec<HistoryRow<'a>>,
}

/// A row of a ledger.
#[derive(Debug, Deserialize)]
pub struct HistoryRow<'a> {
    #[serde(rename = "Date", borrow)]
    pub date: Literal<'a>,
    /// `in`, `out`, `fee`, `earned`, `spent`, `deposit`, `withdraw`.
    #[serde(rename = "Type", borrow)]
    pub kind: Cow<'a, str>,
    #[serde(rename = "Value", borrow)]
    pub value: Money<'a>,
    #[serde(rename = "Balance", borrow)]
    pub balance: Money<'a>,
    #[serde(rename = "Trade", borrow, default)]
    pub trade: Option<HistoryTrade<'a>>,
}

/// The trade behind a ledger row.
#[derive(Debug, Deserialize)]
pub struct HistoryTrade<'a> {
    #[serde(borrow)]
    pub oid: Cow<'a, str>,
    #[serde(borrow)]
    pub tid: Literal<'a>,
    #[serde(rename = "Amount", borrow)]
    pub amount: Money<'a>,
}

/// Any frame of the stream.
#[derive(Debug, Deserialize)]
pub struct Frame<'a> {
    #[serde(borrow)]
    pub op: Cow<'a, str>,
    #[serde(borrow, default)]
    pub channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub private: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub depth: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub ticker: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub trade: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub lag: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub user_order: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub wallet: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub message: Option<Cow<'a, str>>,
    #[serde(default)]
    pub success: Option<bool>,
}

/// A level and the moment of its last change, in microseconds.
pub type Stamped = (Level, u64);

impl DepthLevel<'_> {
    /// Returns the level, or `None` where it is beyond what can be counted.
    ///
    /// # Errors
    /// A number is none.
    pub fn level(&self, base: Currency, quote: Currency) -> Result<Option<Stamped>, NumberError> {
        let level = level_of((&self.price_int, quote), (&self.amount_int, base))?;
        let stamp_us = self.stamp.whole().ok_or(NumberError::Empty)?;
        Ok(level.map(|level| (level, stamp_us)))
    }
}

impl DepthRow<'_> {
    /// Returns the side and the level with its new total, or `None` where it is beyond what can be
    /// counted.
    ///
    /// # Errors
    /// A number is none, or the side is neither.
    pub fn level(
        &self,
        base: Currency,
        quote: Currency,
    ) -> Result<Option<(Side, Stamped)>, NumberError> {
        let side = match self.type_str.as_ref() {
            "bid" => Side::Bid,
            "ask" => Side::Ask,
            _ => return Err(NumberError::Empty),
        };
        let level = level_of((&self.price_int, quote), (&self.total_volume_int, base))?;
        let stamp_us = self.now.whole().ok_or(NumberError::Empty)?;
        Ok(level.map(|level| (side, (level, stamp_us))))
    }
}

fn level_of(
    price: (&Literal<'_>, Currency),
    amount: (&Literal<'_>, Currency),
) -> Result<Option<Level>, NumberError> {
    let price = price.0.scaled(decimals(price.1), Excess::Refused);
    // Totals beyond 2^53 were made from doubles: their last digits mean nothing.
    let amount = amount.0.scaled(decimals(amount.1), Excess::Down);
    let (price, amount) = (countable(price)?, countable(amount)?);
    Ok(price.zip(amount).map(|(price, amount)| Level {
        price: Price(price),
        quantity: Quantity(amount),
    }))
}

/// Reads `bid` and `ask`, and the 2 and 1 of v0.
pub fn side_of(raw: &RawValue) -> Option<Side> {
    match raw.get().trim_matches('"') {
        "bid" | "2" => Some(Side::Bid),
        "ask" | "1" => Some(Side::Ask),
        _ => None,
    }
}
