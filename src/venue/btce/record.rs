//! Recorded documents and frames of the BTC-e dialect, of every exchange that spoke it.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::model::market::Side;
use crate::model::number::Price;
use crate::venue::DecodeError;
use crate::venue::btce::shape::{
    Account, Depth, DepthChange, Frame, HistoryRow, Info, OrderRow, Placed, Row, Ticker, TradeRow,
    level_of, quantity_of, side_of,
};
use crate::venue::btce::style::Style;
use crate::venue::document::{Document, Fields, fields_of, is_json, items_of, read};
use crate::venue::literal::Excess;

/// Reads a document or a frame of one exchange.
///
/// # Errors
/// Where and why it is neither something that the exchange wrote nor one of its refusals.
pub fn read_document(style: &Style, bytes: &[u8]) -> Result<Document, DecodeError> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    if let Some(fields) = fields_of(text) {
        return read_object(style, text, &fields);
    }
    if let Some(items) = items_of(text) {
        return read_trades(text, items.len());
    }
    let is_words = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '<');
    if is_words && !is_json(text) {
        return Ok(Document::refusal(text));
    }
    Err(unknown())
}

fn read_object(style: &Style, text: &str, fields: &Fields<'_>) -> Result<Document, DecodeError> {
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    if has(&["success"]) {
        return match (fields.get("return"), fields.get("error")) {
            (Some(content), _) => read_return(content.get()),
            (None, Some(_)) => Ok(Document::refusal(&word(fields, "error"))),
            (None, None) => Err(unknown()),
        };
    }
    if has(&["event"]) {
        return read_frame(text);
    }
    if has(&["error"]) {
        return Ok(Document::refusal(&word(fields, "error")));
    }
    if has(&["asks", "bids"]) {
        return read_depth(text);
    }
    if let Some(ticker) = fields.get("ticker") {
        return read_ticker(style, ticker.get());
    }
    if has(&["server_time", "pairs"]) {
        let info: Info<'_> = read(text)?;
        for (name, pair) in &info.pairs {
            // Some of its currencies have no code here; they are read and cannot be traded.
            name.split_once('_').ok_or(unknown())?;
            for literal in [
                &pair.min_price,
                &pair.max_price,
                &pair.min_amount,
                &pair.fee,
            ] {
                literal.units(Excess::Nearest).map_err(|_| unknown())?;
            }
        }
        return Ok(Document::new("info", info.pairs.len()));
    }
    if has(&["trade"]) && fields.len() == 1 {
        return Ok(Document::new("fee", 0));
    }
    read_by_pair(style, fields)
}

/// Reads a document of the third generation: what there is, by pair.
fn read_by_pair(style: &Style, fields: &Fields<'_>) -> Result<Document, DecodeError> {
    let mut whole: Option<Document> = None;
    for (name, value) in fields {
        name.split_once('_').ok_or(unknown())?;
        let text = value.get();
        let document = match fields_of(text) {
            Some(inner) if inner.contains_key("asks") || inner.contains_key("bids") => {
                read_depth(text)?
            }
            Some(inner) if inner.contains_key("buy") => read_ticker(style, text)?,
            Some(_) => return Err(unknown()),
            None => read_trades(text, items_of(text).ok_or(unknown())?.len())?,
        };
        whole = Some(match whole {
            Some(so_far) if so_far.kind != document.kind => return Err(unknown()),
            Some(so_far) => Document {
                rows: so_far.rows + document.rows,
                ..so_far
            },
            None => document,
        });
    }
    whole.ok_or(unknown())
}

fn read_return(text: &str) -> Result<Document, DecodeError> {
    let fields = fields_of(text).ok_or(unknown())?;
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    if has(&["funds", "rights"]) {
        let account: Account<'_> = read(text)?;
        for amount in account.funds.values() {
            amount.quantity().map_err(|_| unknown())?;
        }
        return Ok(Document::new("account", account.funds.len()));
    }
    if has(&["received", "remains"]) {
        let placed: Placed<'_> = read(text)?;
        quantity_of(&placed.remains).ok_or(unknown())?;
        return Ok(Document::new("placed", 0));
    }
    if has(&["order_id", "funds"]) {
        return Ok(Document::new("cancelled", 0));
    }
    let first = fields.values().next().map(|row| row.get());
    let Some(row) = first.and_then(fields_of) else {
        // Coupons, addresses, withdrawals: read as far as that they are answers.
        return Ok(Document::new("answer", fields.len()));
    };
    if row.contains_key("timestamp_created") {
        let rows: BTreeMap<u64, OrderRow<'_>> = read(text)?;
        for row in rows.values() {
            side_of(&row.side).ok_or(unknown())?;
            quantity_of(&row.amount).ok_or(unknown())?;
        }
        return Ok(Document::new("orders", rows.len()));
    }
    if row.contains_key("rate") {
        let rows: BTreeMap<u64, HistoryRow<'_>> = read(text)?;
        for row in rows.values() {
            row.pair.split_once('_').ok_or(unknown())?;
            side_of(&row.side).ok_or(unknown())?;
            quantity_of(&row.amount).ok_or(unknown())?;
        }
        return Ok(Document::new("trades of the account", rows.len()));
    }
    if row.contains_key("desc") {
        let rows: BTreeMap<u64, IgnoredAny> = read(text)?;
        return Ok(Document::new("ledger", rows.len()));
    }
    Err(unknown())
}

fn read_frame(text: &str) -> Result<Document, DecodeError> {
    let frame: Frame<'_> = read(text)?;
    if frame.event.starts_with("pusher") {
        return Ok(Document::new("control frame", 0));
    }
    let data = frame.data.map_or("\"\"", RawValue::get);
    let inner = match serde_json::from_str::<String>(data) {
        Ok(inner) => inner,
        Err(_) => data.to_owned(),
    };
    match frame.event.as_ref() {
        "depth" => {
            let change: DepthChange<'_> = read(&inner)?;
            levels(Side::Bid, &change.bid)?;
            levels(Side::Ask, &change.ask)?;
            let rows = change.bid.len() + change.ask.len();
            Ok(Document::new("depth frame", rows))
        }
        "trades" => {
            let rows: Vec<(String, String, String)> = read(&inner)?;
            Ok(Document::new("trades frame", rows.len()))
        }
        _ => Err(unknown()),
    }
}

fn read_depth(text: &str) -> Result<Document, DecodeError> {
    let depth: Depth<'_> = read(text)?;
    let bid = levels(Side::Bid, &depth.bids)?;
    let ask = levels(Side::Ask, &depth.asks)?;
    let document = Document::new("depth", depth.bids.len() + depth.asks.len());
    Ok(document.with_best_of(bid, ask))
}

/// Reads every level of a side; returns its best price.
fn levels(side: Side, rows: &[Row<'_>]) -> Result<Option<Price>, DecodeError> {
    let mut best: Option<Price> = None;
    for row in rows {
        let level = level_of(side, row).map_err(|_| unknown())?;
        let Some(price) = level.map(|level| level.price) else {
            continue;
        };
        best = Some(match (side, best) {
            (Side::Bid, Some(best)) => best.max(price),
            (Side::Ask, Some(best)) => best.min(price),
            (_, None) => price,
        });
    }
    Ok(best)
}

/// Reads a ticker, whose words mean what its exchange means by them.
fn read_ticker(style: &Style, text: &str) -> Result<Document, DecodeError> {
    let ticker: Ticker<'_> = read(text)?;
    let (bid, ask) = match style.ticker_buy {
        Side::Bid => (&ticker.buy, &ticker.sell),
        Side::Ask => (&ticker.sell, &ticker.buy),
    };
    let bid = bid.price(Excess::Down).map_err(|_| unknown())?;
    let ask = ask.price(Excess::Up).map_err(|_| unknown())?;
    for literal in [&ticker.vol, &ticker.vol_cur] {
        literal.units(Excess::Nearest).map_err(|_| unknown())?;
    }
    if bid > ask {
        return Err(DecodeError::Malformed {
            at: 0,
            what: "buy and sell of the ticker are the wrong way round",
        });
    }
    Ok(Document::new("ticker", 0).with_best(bid, ask))
}

fn read_trades(text: &str, rows: usize) -> Result<Document, DecodeError> {
    let trades: Vec<TradeRow<'_>> = read(text)?;
    for trade in &trades {
        if !matches!(trade.side.as_ref(), "bid" | "ask") {
            return Err(unknown());
        }
        trade.price.price(Excess::Nearest).map_err(|_| unknown())?;
        trade.amount.quantity().map_err(|_| unknown())?;
    }
    Ok(Document::new("trades", rows))
}

fn word(fields: &Fields<'_>, name: &str) -> String {
    let raw = fields.get(name).map_or("\"\"", |raw| raw.get());
    serde_json::from_str(raw).unwrap_or_default()
}

fn unknown() -> DecodeError {
    DecodeError::Malformed {
        at: 0,
        what: "no document of this exchange",
    }
}
