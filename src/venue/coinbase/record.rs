//! Recorded frames and documents of both dialects of Coinbase.

use serde_json::value::RawValue;

use crate::model::market::Side;
use crate::venue::DecodeError;
use crate::venue::coinbase::shape::{
    BookDocument, BookEvent, ExchangeFrame, Frame, TickerDocument,
};
use crate::venue::document::{
    Document, Fields, NOT_BUILT, best, fields_of, is_json, items_of, read,
};
use crate::venue::literal::{Excess, Literal};

/// Reads a frame or a public document of either dialect.
///
/// # Errors
/// Where and why it is neither something that the exchange writes nor one of its refusals.
pub fn read_document(bytes: &[u8]) -> Result<Document, DecodeError> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    if let Some(fields) = fields_of(text) {
        return read_object(text, &fields);
    }
    if let Some(items) = items_of(text) {
        return Ok(read_list(&items));
    }
    let is_words = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '<');
    if is_words && !is_json(text) {
        return Ok(Document::refusal(text));
    }
    Err(DecodeError::malformed("no document of this exchange"))
}

fn read_object(text: &str, fields: &Fields<'_>) -> Result<Document, DecodeError> {
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    if has(&["channel", "sequence_num"]) {
        return read_advanced(text);
    }
    if has(&["sequence", "bids", "asks"]) {
        let book: BookDocument<'_> = read(text)?;
        let bids = book.bids.iter().map(|(price, size, _)| (price, size));
        let asks = book.asks.iter().map(|(price, size, _)| (price, size));
        let (bid, ask) = (best(Side::Bid, bids)?, best(Side::Ask, asks)?);
        let document = Document::new("book", book.bids.len() + book.asks.len());
        return Ok(document.with_best_of(bid, ask));
    }
    if has(&["bid", "ask", "trade_id"]) {
        let ticker: TickerDocument<'_> = read(text)?;
        let price = |literal: &Literal<'_>, excess| {
            literal
                .price(excess)
                .map_err(|_| DecodeError::malformed("ticker"))
        };
        let (bid, ask) = (
            price(&ticker.bid, Excess::Down)?,
            price(&ticker.ask, Excess::Up)?,
        );
        return Ok(Document::new("ticker", 0).with_best(bid, ask));
    }
    if let Some(products) = fields.get("products") {
        let rows = items_of(products.get()).map_or(0, |items| items.len());
        return Ok(Document::new("markets", rows));
    }
    if has(&["open", "high", "low"]) {
        return Ok(Document::new("day's prices", 0));
    }
    if has(&["id", "side", "type"]) {
        return Ok(Document::new(NOT_BUILT, 1));
    }
    if has(&["type"]) {
        return read_exchange(text);
    }
    match fields.get("message") {
        Some(message) => Ok(Document::refusal(&word(message))),
        None => Err(DecodeError::malformed("no document of this exchange")),
    }
}

/// Tells lists of rows apart by their first one.
fn read_list(items: &[&RawValue]) -> Document {
    let Some(first) = items.first() else {
        return Document::new(NOT_BUILT, 0);
    };
    let fields = fields_of(first.get());
    let kind = match fields {
        None => "candles",
        Some(fields) if fields.contains_key("base_currency") => "markets",
        Some(_) => NOT_BUILT,
    };
    Document::new(kind, items.len())
}

fn read_advanced(text: &str) -> Result<Document, DecodeError> {
    let frame: Frame<'_> = read(text)?;
    let number = frame.sequence_num.as_ref().and_then(Literal::whole);
    number.ok_or(DecodeError::malformed("sequence_num"))?;
    let events = frame.events.map_or("[]", RawValue::get);
    let rows = items_of(events).map_or(0, |items| items.len());
    let kind = match frame.channel.as_deref() {
        Some("l2_data") => return read_book_events(events),
        Some("heartbeats") => "heartbeat",
        Some("subscriptions") => "subscription",
        Some("ticker" | "ticker_batch") => "ticker frame",
        Some("market_trades") => "trades frame",
        Some("candles") => "candles frame",
        Some("status") => "markets frame",
        Some(_) | None => NOT_BUILT,
    };
    Ok(Document::new(kind, rows))
}

fn read_book_events(events: &str) -> Result<Document, DecodeError> {
    let events: Vec<BookEvent<'_>> = read(events)?;
    let mut document = Document::new("book frame", 0);
    for event in &events {
        let of = |side: &'static str| {
            let updates = event.updates.iter();
            let updates = updates.filter(move |update| update.side == side);
            updates.map(|update| (&update.price_level, &update.new_quantity))
        };
        let (bid, ask) = (best(Side::Bid, of("bid"))?, best(Side::Ask, of("offer"))?);
        let has_side = |side: &str| matches!(side, "bid" | "offer");
        if !event.updates.iter().all(|update| has_side(&update.side)) {
            return Err(DecodeError::malformed("side"));
        }
        let rows = document.rows + event.updates.len();
        document = match event.kind.as_ref() {
            "snapshot" => Document::new("book frame", rows).with_best_of(bid, ask),
            _ => Document { rows, ..document },
        };
    }
    Ok(document)
}

fn read_exchange(text: &str) -> Result<Document, DecodeError> {
    let frame: ExchangeFrame<'_> = read(text)?;
    match frame.kind.as_ref() {
        "snapshot" | "l2update" => {
            let (bids, asks) = (
                frame.bids.unwrap_or_default(),
                frame.asks.unwrap_or_default(),
            );
            let changes = frame.changes.unwrap_or_default();
            let bids_of = bids.iter().map(|(price, size)| (price, size));
            let asks_of = asks.iter().map(|(price, size)| (price, size));
            let changes_of = changes.iter().map(|(_, price, size)| (price, size));
            let (bid, ask) = (best(Side::Bid, bids_of)?, best(Side::Ask, asks_of)?);
            best(Side::Ask, changes_of)?;
            let is_side = |side: &str| matches!(side, "buy" | "sell");
            if !changes.iter().all(|(side, ..)| is_side(side)) {
                return Err(DecodeError::malformed("side"));
            }
            let rows = bids.len() + asks.len() + changes.len();
            Ok(Document::new("book frame", rows).with_best_of(bid, ask))
        }
        "ticker" => {
            let price = |literal: &Option<Literal<'_>>, excess| {
                let literal = literal.as_ref().ok_or(DecodeError::malformed("ticker"))?;
                literal
                    .price(excess)
                    .map_err(|_| DecodeError::malformed("ticker"))
            };
            let bid = price(&frame.best_bid, Excess::Down)?;
            let ask = price(&frame.best_ask, Excess::Up)?;
            Ok(Document::new("ticker frame", 0).with_best(bid, ask))
        }
        "heartbeat" => Ok(Document::new("heartbeat", 0)),
        "subscriptions" | "subscribe" | "unsubscribe" => Ok(Document::new("subscription", 0)),
        "match" | "last_match" => Ok(Document::new("trades frame", 1)),
        "error" => {
            let message = frame.message.unwrap_or_default();
            let reason = frame.reason.unwrap_or_default();
            Ok(Document::refusal(format!("{message} {reason}").trim()))
        }
        _ => Ok(Document::new(NOT_BUILT, 0)),
    }
}

fn word(raw: &RawValue) -> String {
    serde_json::from_str(raw.get()).unwrap_or_default()
}
