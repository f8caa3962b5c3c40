//! Recorded documents and frames of MtGox, all generations.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::currency::Currency;
use crate::model::market::Side;
use crate::model::number::Price;
use crate::venue::DecodeError;
use crate::venue::document::{Document, Fields, fields_of, is_json, items_of, read};
use crate::venue::literal::{Excess, Literal};
use crate::venue::mtgox::feed::text_of;
use crate::venue::mtgox::mirror::{Changed, Mirror};
use crate::venue::mtgox::order::reference_of;
use crate::venue::mtgox::shape::{
    Depth, DepthRow, History, Info, Lag, Money, OrderResult, OrderRow, Ticker, TradeRow, side_of,
};
use crate::venue::socketio::{self, Packet};

/// The ticker of v0, which has floats and nothing else.
#[derive(Deserialize)]
struct TickerV0<'a> {
    #[serde(borrow)]
    buy: Literal<'a>,
    #[serde(borrow)]
    sell: Literal<'a>,
}

/// An order of v0: amounts stand in the row itself.
#[derive(Deserialize)]
struct OrderV0<'a> {
    oid: String,
    #[serde(borrow, rename = "type")]
    side: &'a RawValue,
    #[serde(borrow)]
    amount_int: Literal<'a>,
    #[serde(borrow)]
    price_int: Literal<'a>,
}

/// Reads a document or a frame.
///
/// # Errors
/// Where and why it is neither something that the venue wrote nor one of its refusals.
pub fn read_document(bytes: &[u8]) -> Result<Document, DecodeError> {
    let text = text_of(bytes);
    let text = text.trim();
    if let Some(Packet::Json(_, message)) = socketio::parse(text.as_bytes()) {
        return read_document(message);
    }
    if let Some(fields) = fields_of(text) {
        return read_object(text, &fields);
    }
    if let Some(items) = items_of(text) {
        return read_list(text, &items);
    }
    if let Ok(name) = serde_json::from_str::<String>(text) {
        return match reference_of(&name) {
            Some(_) => Ok(Document::new("order name", 0)),
            None => Ok(Document::new("stream key", 0)),
        };
    }
    // The front end and the database answer in plain words and in HTML.
    let is_words = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '<');
    if is_words && !is_json(text) {
        return Ok(Document::refusal(text));
    }
    Err(unknown())
}

fn read_object(text: &str, fields: &Fields<'_>) -> Result<Document, DecodeError> {
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    if has(&["op"]) {
        return read_frame(fields);
    }
    if has(&["result"]) && (has(&["return"]) || has(&["data"]) || has(&["error"])) {
        let content = fields.get("return").or_else(|| fields.get("data"));
        return match content {
            Some(content) => read_document(content.get().as_bytes()),
            None => Ok(Document::refusal(&word(fields, "error"))),
        };
    }
    if has(&["error"]) {
        return Ok(Document::refusal(&word(fields, "error")));
    }
    if has(&["asks", "bids"]) {
        return read_depth(text, fields);
    }
    if let Some(ticker) = fields.get("ticker") {
        let ticker: TickerV0<'_> = read(ticker.get())?;
        let price = |literal: &Literal<'_>| literal.price(Excess::Nearest).map_err(|_| unknown());
        let (bid, ask) = (price(&ticker.buy)?, price(&ticker.sell)?);
        return Ok(Document::new("ticker", 0).with_best(bid, ask));
    }
    if has(&["buy", "sell"]) {
        return read_ticker(text);
    }
    if has(&["Wallets"]) {
        let info: Info<'_> = read(text)?;
        let counted = info.wallets.values().map(|wallet| money(&wallet.balance));
        let counted: Result<Vec<i64>, DecodeError> = counted.collect();
        return Ok(Document::new("account", counted?.len()));
    }
    if has(&["order_id", "trades"]) {
        let result: OrderResult<'_> = read(text)?;
        for trade in &result.trades {
            money(&trade.amount)?;
            money(&trade.price)?;
        }
        return Ok(Document::new("trades of an order", result.trades.len()));
    }
    if has(&["result", "max_page"]) {
        let history: History<'_> = read(text)?;
        for row in &history.result {
            money(&row.value)?;
            money(&row.balance)?;
        }
        return Ok(Document::new("ledger", history.result.len()));
    }
    if has(&["lag"]) {
        let lag: Lag<'_> = read(text)?;
        lag.age.whole().ok_or(unknown())?;
        return Ok(Document::new("lag", 0));
    }
    if let (true, Some(orders)) = (has(&["usds", "btcs"]), fields.get("orders")) {
        let rows: Vec<OrderV0<'_>> = read(orders.get())?;
        return orders_v0(&rows);
    }
    read_small(fields)
}

/// Reads answers that hold little more than a name or a number.
fn read_small(fields: &Fields<'_>) -> Result<Document, DecodeError> {
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    for (names, kind) in [
        (&["oid", "qid"][..], "cancel"),
        (&["amount"], "quote"),
        (&["decimals"], "currency"),
        (&["usds", "btcs"], "funds"),
        (&["value_int", "currency"], "amount"),
    ] {
        if has(names) {
            return Ok(Document::new(kind, 0));
        }
    }
    let is_channels = fields.values().all(|value| {
        let id = serde_json::from_str::<String>(value.get());
        id.is_ok_and(|id| reference_of(&id).is_some())
    });
    if is_channels && !fields.is_empty() {
        return Ok(Document::new("channels", fields.len()));
    }
    Err(unknown())
}

fn read_frame(fields: &Fields<'_>) -> Result<Document, DecodeError> {
    let kind = word(fields, "private");
    let part = fields.get(kind.as_str()).map(|part| part.get());
    match (word(fields, "op").as_str(), kind.as_str(), part) {
        ("private", "depth", Some(part)) => {
            let row: DepthRow<'_> = read(part)?;
            let (base, quote) = (currency(&row.item)?, currency(&row.currency)?);
            row.level(base, quote).map_err(|_| unknown())?;
            Ok(Document::new("depth frame", 1))
        }
        ("private", "ticker", Some(part)) => read_ticker(part),
        ("private", "trade", Some(part)) => {
            let row: TradeRow<'_> = read(part)?;
            trade(&row)?;
            Ok(Document::new("trade frame", 1))
        }
        ("private", "lag", Some(part)) => {
            let lag: Lag<'_> = read(part)?;
            lag.age.whole().ok_or(unknown())?;
            Ok(Document::new("lag frame", 0))
        }
        ("private", "user_order", Some(part)) => {
            let row: OrderRow<'_> = read(part)?;
            reference_of(&row.oid).ok_or(unknown())?;
            Ok(Document::new("order frame", 1))
        }
        ("private", "wallet", Some(_)) => Ok(Document::new("wallet frame", 1)),
        ("private", ..) => Err(unknown()),
        ("remark" | "result" | "subscribe" | "unsubscribe" | "error" | "call", ..)
        | ("mtgox.subscribe", ..) => Ok(Document::new("control frame", 0)),
        _ => Err(unknown()),
    }
}

fn read_list(text: &str, items: &[&RawValue]) -> Result<Document, DecodeError> {
    let Some(first) = items.first() else {
        return Ok(Document::new("empty list", 0));
    };
    let fields = fields_of(first.get()).ok_or(unknown())?;
    if fields.contains_key("tid") {
        let rows: Vec<TradeRow<'_>> = read(text)?;
        for row in &rows {
            trade(row)?;
        }
        return Ok(Document::new("trades", rows.len()));
    }
    if fields.contains_key("amount_int") && fields.contains_key("oid") {
        let rows: Vec<OrderV0<'_>> = read(text)?;
        return orders_v0(&rows);
    }
    if fields.contains_key("oid") {
        let rows: Vec<OrderRow<'_>> = read(text)?;
        for row in &rows {
            reference_of(&row.oid).ok_or(unknown())?;
            side_of(row.side.ok_or(unknown())?).ok_or(unknown())?;
            money(row.amount.as_ref().ok_or(unknown())?)?;
        }
        return Ok(Document::new("orders", rows.len()));
    }
    Err(unknown())
}

fn read_depth(text: &str, fields: &Fields<'_>) -> Result<Document, DecodeError> {
    let is_v0 = ["asks", "bids"].iter().any(|side| {
        let items = fields.get(*side).and_then(|rows| items_of(rows.get()));
        items.is_some_and(|items| items.first().is_some_and(|row| row.get().starts_with('[')))
    });
    if is_v0 {
        let asks: Vec<(Literal<'_>, Literal<'_>)> = read(fields["asks"].get())?;
        let bids: Vec<(Literal<'_>, Literal<'_>)> = read(fields["bids"].get())?;
        return Ok(Document::new("depth", asks.len() + bids.len()));
    }
    let depth: Depth<'_> = read(text)?;
    // A document does not say its currencies; its integers are read alike in all with five decimals.
    let mut mirror = Mirror::default();
    let mut unused = Changed::default();
    for (side, rows) in [(Side::Bid, &depth.bids), (Side::Ask, &depth.asks)] {
        for row in rows {
            let level = row.level(Currency::BTC, Currency::USD);
            if let Some((level, stamp_us)) = level.map_err(|_| unknown())? {
                mirror.set(side, level, stamp_us, &mut unused);
            }
        }
    }
    let rows = depth.bids.len() + depth.asks.len();
    let document = Document::new("depth", rows);
    let best = |side| mirror.best(side, 1).first().map(|level| level.price);
    Ok(document.with_best_of(best(Side::Bid), best(Side::Ask)))
}

fn read_ticker(text: &str) -> Result<Document, DecodeError> {
    let ticker: Ticker<'_> = read(text)?;
    let (bid, ask) = (Price(money(&ticker.buy)?), Price(money(&ticker.sell)?));
    Ok(Document::new("ticker", 0).with_best(bid, ask))
}

fn orders_v0(rows: &[OrderV0<'_>]) -> Result<Document, DecodeError> {
    for row in rows {
        reference_of(&row.oid).ok_or(unknown())?;
        side_of(row.side).ok_or(unknown())?;
        for literal in [&row.amount_int, &row.price_int] {
            literal.whole().ok_or(unknown())?;
        }
    }
    Ok(Document::new("orders", rows.len()))
}

fn trade(row: &TradeRow<'_>) -> Result<(), DecodeError> {
    currency(&row.item)?;
    currency(&row.price_currency)?;
    row.tid.whole().ok_or(unknown())?;
    row.price_int.whole().ok_or(unknown())?;
    row.amount_int.whole().ok_or(unknown())?;
    Ok(())
}

fn money(money: &Money<'_>) -> Result<i64, DecodeError> {
    money.units().ok_or(unknown())
}

fn currency(text: &str) -> Result<Currency, DecodeError> {
    text.parse().map_err(|_| unknown())
}

fn word(fields: &Fields<'_>, name: &str) -> String {
    let raw = fields.get(name).map_or("\"\"", |raw| raw.get());
    serde_json::from_str(raw).unwrap_or_default()
}

fn unknown() -> DecodeError {
    DecodeError::Malformed {
        at: 0,
        what: "no document of this venue",
    }
}
