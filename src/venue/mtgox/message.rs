//! What the venue's documents and frames look like.
//!
//! Fields stand in the order of the captures of 2012 and 2013, read 2026-11-23.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::model::instrument::Pair;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::time::Time;
use crate::venue::mtgox::json::{Bare, Written};
use crate::venue::mtgox::ledger::Share;
use crate::venue::mtgox::lodged::{Lodged, Status};
use crate::venue::mtgox::money::{self, Amount};
use crate::venue::mtgox::tape::{LevelChange, Print, Standing};

/// `ticker`, from version 1 on.
#[derive(Debug, Serialize)]
pub(super) struct Ticker {
    pub(super) high: Amount,
    pub(super) low: Amount,
    pub(super) avg: Amount,
    pub(super) vwap: Amount,
    pub(super) vol: Amount,
    pub(super) last_local: Amount,
    pub(super) last_orig: Amount,
    pub(super) last_all: Amount,
    pub(super) last: Amount,
    pub(super) buy: Amount,
    pub(super) sell: Amount,
    /// Only on the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item: Option<String>,
    pub(super) now: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Depth {
    pub(super) asks: Vec<DepthRow>,
    pub(super) bids: Vec<DepthRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) filter_min_price: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) filter_max_price: Option<Amount>,
}

#[derive(Debug, Serialize)]
pub(super) struct DepthRow {
    price: Bare,
    amount: Bare,
    price_int: String,
    amount_int: String,
    stamp: String,
}

/// `ticker.php` of version 0.
#[derive(Debug, Serialize)]
pub(super) struct Ticker0 {
    pub(super) ticker: Ticker0Body,
}

#[derive(Debug, Serialize)]
pub(super) struct Ticker0Body {
    pub(super) high: Bare,
    pub(super) low: Bare,
    pub(super) avg: Bare,
    pub(super) vwap: Bare,
    pub(super) vol: Bare,
    pub(super) last_all: Bare,
    pub(super) last_local: Bare,
    pub(super) last: Bare,
    pub(super) buy: Bare,
    pub(super) sell: Bare,
}

/// `getDepth.php` of version 0: price and amount.
#[derive(Debug, Serialize)]
pub(super) struct Depth0 {
    pub(super) asks: Vec<[Bare; 2]>,
    pub(super) bids: Vec<[Bare; 2]>,
}

/// A trade; texts in documents, floats on the stream.
#[derive(Debug, Serialize)]
pub(super) struct TradeRow<N> {
    date: u64,
    price: N,
    amount: N,
    price_int: String,
    amount_int: String,
    tid: String,
    price_currency: String,
    item: String,
    trade_type: &'static str,
    /// Not in version 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    primary: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<&'static str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
}

/// A change of one level, on the stream.
#[derive(Debug, Serialize)]
pub(super) struct DepthChange {
    currency: String,
    item: String,
    now: String,
    price: String,
    price_int: String,
    total_volume_int: String,
    #[serde(rename = "type")]
    kind: u8,
    type_str: &'static str,
    volume: String,
    volume_int: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Lag {
    /// Microseconds.
    pub(super) lag: u64,
    pub(super) lag_secs: Bare,
    pub(super) lag_text: String,
    pub(super) length: String,
}

/// The lag on the stream.
#[derive(Debug, Serialize)]
pub(super) struct LagNews {
    pub(super) qid: String,
    pub(super) stamp: String,
    /// Microseconds.
    pub(super) age: u64,
}

/// An open order in a list and in news.
#[derive(Debug, Serialize)]
pub(super) struct OrderRow {
    oid: String,
    currency: String,
    item: String,
    #[serde(rename = "type")]
    side: &'static str,
    amount: Amount,
    effective_amount: Amount,
    invalid_amount: Amount,
    /// Not for an order without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Amount>,
    status: &'static str,
    date: u64,
    priority: String,
    actions: [(); 0],
}

/// News that an order ended.
#[derive(Debug, Serialize)]
pub(super) struct Removal {
    pub(super) oid: String,
    pub(super) reason: &'static str,
}

/// An open order in version 0.
#[derive(Debug, Serialize)]
pub(super) struct OrderRow0 {
    oid: String,
    currency: String,
    item: String,
    /// 1 sells, 2 buys.
    #[serde(rename = "type")]
    side: u8,
    amount: String,
    amount_int: String,
    price: String,
    price_int: String,
    /// 0 not enough funds, 1 active, 2 pending.
    status: u8,
    real_status: &'static str,
    dark: u8,
    date: u64,
    priority: String,
}

/// One trade in the result of an order.
#[derive(Debug, Serialize)]
pub(super) struct ResultRow {
    trade_id: String,
    primary: &'static str,
    currency: String,
    #[serde(rename = "type")]
    side: &'static str,
    properties: &'static str,
    item: String,
    amount: Amount,
    price: Amount,
    spent: Amount,
}

#[derive(Debug, Serialize)]
pub(super) struct OrderResult {
    pub(super) order_id: String,
    pub(super) trades: Vec<ResultRow>,
    pub(super) total_spent: Amount,
    pub(super) total_amount: Amount,
    pub(super) avg_cost: Amount,
}

/// A change of a wallet, on the private stream.
#[derive(Debug, Serialize)]
pub(super) struct WalletNews {
    pub(super) op: &'static str,
    pub(super) amount: Amount,
    pub(super) info: String,
    #[serde(rename = "ref")]
    pub(super) reference: Option<String>,
    pub(super) balance: Amount,
}

/// A frame of a channel: its kind names the field that holds the body.
#[derive(Debug)]
pub(super) struct Broadcast {
    pub(super) channel: String,
    pub(super) kind: &'static str,
    pub(super) body: Written,
    pub(super) stamp: String,
}

/// The answer to a signed call that was done.
#[derive(Debug, Serialize)]
pub(super) struct CallResult {
    pub(super) op: &'static str,
    pub(super) id: Option<String>,
    pub(super) result: Written,
}

/// The answer to a frame that was not done.
#[derive(Debug, Serialize)]
pub(super) struct Remark<'a> {
    pub(super) op: &'static str,
    pub(super) message: &'a str,
    pub(super) success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<&'static str>,
}

/// A subscription that was made or ended.
#[derive(Debug, Serialize)]
pub(super) struct Subscribed {
    pub(super) op: &'static str,
    pub(super) channel: String,
}

impl Serialize for Broadcast {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(6))?;
        map.serialize_entry("channel", &self.channel)?;
        map.serialize_entry("op", "private")?;
        map.serialize_entry("origin", "broadcast")?;
        map.serialize_entry("private", self.kind)?;
        map.serialize_entry(self.kind, &self.body)?;
        map.serialize_entry("stamp", &self.stamp)?;
        map.end()
    }
}

impl DepthRow {
    pub(super) fn new(pair: Pair, price: Price, standing: Standing) -> Self {
        Self {
            price: Bare::float(price.0),
            amount: Bare::float(standing.quantity.0),
            price_int: money::int_of(pair.quote, price.0).to_string(),
            amount_int: money::int_of(pair.base, standing.quantity.0).to_string(),
            stamp: standing.stamp.to_string(),
        }
    }
}

impl<N> TradeRow<N> {
    fn new(print: &Print, number: impl Fn(i64) -> N) -> Self {
        Self {
            date: seconds(print.at),
            price: number(print.price.0),
            amount: number(print.quantity.0),
            price_int: money::int_of(print.currency, print.price.0).to_string(),
            amount_int: money::int_of(print.item, print.quantity.0).to_string(),
            tid: print.tid.to_string(),
            price_currency: print.currency.to_string(),
            item: print.item.to_string(),
            trade_type: print.taker.word(),
            primary: Some(if print.is_primary { "Y" } else { "N" }),
            properties: Some(properties(print.is_market, print.is_mixed)),
            kind: None,
        }
    }
}

impl TradeRow<String> {
    pub(super) fn listed(print: &Print) -> Self {
        Self::new(print, money::float)
    }

    pub(super) fn listed_0(print: &Print) -> Self {
        Self {
            primary: None,
            properties: None,
            ..Self::listed(print)
        }
    }
}

impl TradeRow<Bare> {
    pub(super) fn streamed(print: &Print) -> Self {
        Self {
            kind: Some("trade"),
            ..Self::new(print, Bare::float)
        }
    }
}

impl DepthChange {
    pub(super) fn new(pair: Pair, change: &LevelChange, stamp: u64) -> Self {
        Self {
            currency: pair.quote.to_string(),
            item: pair.base.to_string(),
            now: stamp.to_string(),
            price: money::float(change.price.0),
            price_int: money::int_of(pair.quote, change.price.0).to_string(),
            total_volume_int: money::int_of(pair.base, change.total.0).to_string(),
            kind: match change.side {
                Side::Ask => 1,
                Side::Bid => 2,
            },
            type_str: change.side.word(),
            volume: money::float(change.change),
            volume_int: money::int_of(pair.base, change.change).to_string(),
        }
    }
}

impl Lag {
    pub(super) fn new(lag_us: u64, length: usize) -> Self {
        let units = i64::try_from(lag_us)
            .unwrap_or(i64::MAX)
            .saturating_mul(100);
        let seconds = Quantity(units).to_string();
        Self {
            lag: lag_us,
            lag_text: format!("{seconds} seconds"),
            lag_secs: Bare(seconds),
            length: length.to_string(),
        }
    }
}

impl OrderRow {
    pub(super) fn new(order: &Lodged) -> Self {
        let (item, currency) = (order.pair.base, order.pair.quote);
        let remaining = order.remaining();
        let effective = order.effective();
        Self {
            oid: order.oid.to_string(),
            currency: currency.to_string(),
            item: item.to_string(),
            side: order.side.word(),
            amount: Amount::quantity(item, remaining),
            effective_amount: Amount::quantity(item, effective),
            invalid_amount: Amount::quantity(item, remaining.less(effective)),
            price: order.price.map(|price| Amount::price(currency, price)),
            status: order.status.word(),
            date: seconds(order.at),
            priority: order.priority.to_string(),
            actions: [],
        }
    }
}

impl OrderRow0 {
    pub(super) fn new(order: &Lodged) -> Self {
        let (item, currency) = (order.pair.base, order.pair.quote);
        let price = order.price.unwrap_or_default();
        let remaining = order.remaining();
        Self {
            oid: order.oid.to_string(),
            currency: currency.to_string(),
            item: item.to_string(),
            side: match order.side {
                Side::Ask => 1,
                Side::Bid => 2,
            },
            amount: money::fixed(remaining.0, money::decimals(item)),
            amount_int: money::int_of(item, remaining.0).to_string(),
            price: money::fixed(price.0, money::decimals(currency)),
            price_int: money::int_of(currency, price.0).to_string(),
            status: match order.status {
                Status::Invalid => 0,
                Status::Open | Status::Ended => 1,
                Status::Pending | Status::Executing | Status::PostPending => 2,
            },
            real_status: order.status.word(),
            dark: 0,
            date: seconds(order.at),
            priority: order.priority.to_string(),
        }
    }
}

impl ResultRow {
    pub(super) fn new(share: &Share) -> Self {
        let (item, currency) = (share.pair.base, share.pair.quote);
        Self {
            trade_id: share.tid.to_string(),
            primary: "Y",
            currency: currency.to_string(),
            side: share.side.word(),
            properties: properties(share.is_market, false),
            item: item.to_string(),
            amount: Amount::quantity(item, share.quantity),
            price: Amount::price(currency, share.price),
            spent: Amount::quantity(currency, share.total),
        }
    }
}

/// Returns the venue's words for how a trade came about.
pub(super) fn properties(is_market: bool, is_mixed: bool) -> &'static str {
    match (is_market, is_mixed) {
        (false, false) => "limit",
        (true, false) => "market",
        (false, true) => "limit,mixed_currency",
        (true, true) => "market,mixed_currency",
    }
}

pub(super) fn seconds(at: Time) -> u64 {
    at.0 / 1_000_000_000
}
