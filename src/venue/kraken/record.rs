//! Recorded frames and documents of Kraken.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::market::Side;
use crate::model::number::Price;
use crate::venue::DecodeError;
use crate::venue::document::{
    Document, Fields, NOT_BUILT, best, fields_of, is_json, items_of, read,
};
use crate::venue::kraken::shape::{Book, BookDocument, ByPair, Frame, Reply, Ticker};
use crate::venue::literal::{Excess, Literal};

/// Reads a frame of v2 or v1, or a document of the public interface.
///
/// # Errors
/// Where and why it is neither something that the exchange writes nor one of its refusals.
pub fn read_document(bytes: &[u8]) -> Result<Document, DecodeError> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    if let Some(fields) = fields_of(text) {
        if fields.contains_key("error") && !fields.contains_key("method") {
            return read_reply(text);
        }
        return read_frame(text, &fields);
    }
    if let Some(items) = items_of(text) {
        return read_list(&items);
    }
    let is_words = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '<');
    if is_words && !is_json(text) {
        return Ok(Document::refusal(text));
    }
    Err(DecodeError::malformed("no document of this exchange"))
}

/// Reads a frame of v2, or an event of v1.
fn read_frame(text: &str, fields: &Fields<'_>) -> Result<Document, DecodeError> {
    let frame: Frame<'_> = read(text)?;
    if let Some(event) = frame.event.as_deref() {
        return match event {
            "heartbeat" | "pong" | "ping" => Ok(Document::new("heartbeat", 0)),
            "systemStatus" => Ok(Document::new("status", 0)),
            "subscriptionStatus" | "subscribe" => Ok(Document::new("subscription", 0)),
            _ => Ok(Document::new(NOT_BUILT, 0)),
        };
    }
    if let Some(method) = frame.method.as_deref() {
        if let (Some(false), Some(why)) = (frame.success, frame.error.as_deref()) {
            return Ok(Document::refusal(why));
        }
        return Ok(match method {
            "subscribe" | "unsubscribe" => Document::new("subscription", 0),
            "ping" | "pong" => Document::new("heartbeat", 0),
            _ => Document::new(NOT_BUILT, 0),
        });
    }
    let data = frame.data.map_or("[]", RawValue::get);
    let rows = items_of(data).map_or(0, |items| items.len());
    match frame.channel.as_deref() {
        Some("book") => read_books(data),
        Some("heartbeat") => Ok(Document::new("heartbeat", 0)),
        Some("status") => Ok(Document::new("status", rows)),
        Some("ticker") => Ok(Document::new("ticker frame", rows)),
        Some("trade") => Ok(Document::new("trades frame", rows)),
        Some("ohlc") => Ok(Document::new("candles frame", rows)),
        Some("instrument") => read_instruments(data),
        Some("level3") => Ok(Document::new("orders of the book", rows)),
        Some(_) => Ok(Document::new(NOT_BUILT, rows)),
        None if fields.contains_key("type") => Ok(Document::new(NOT_BUILT, 0)),
        None => Err(DecodeError::malformed("no frame of this exchange")),
    }
}

fn read_books(data: &str) -> Result<Document, DecodeError> {
    let books: Vec<Book<'_>> = read(data)?;
    let mut document = Document::new("book frame", 0);
    for book in &books {
        let bids = book.bids.iter().map(|row| (&row.price, &row.qty));
        let asks = book.asks.iter().map(|row| (&row.price, &row.qty));
        document = document.with_best_of(best(Side::Bid, bids)?, best(Side::Ask, asks)?);
        document.rows += book.bids.len() + book.asks.len();
    }
    Ok(document)
}

/// How finely each market is printed.
#[derive(Debug, Deserialize)]
struct Instruments<'a> {
    #[serde(borrow)]
    pairs: Vec<Instrument<'a>>,
}

#[derive(Debug, Deserialize)]
struct Instrument<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    price_precision: u32,
    qty_precision: u32,
}

fn read_instruments(data: &str) -> Result<Document, DecodeError> {
    /// More decimals would not fit any number that is read here.
    const PRECISION_MAX: u32 = 18;
    let instruments: Instruments<'_> = read(data)?;
    for instrument in &instruments.pairs {
        let finest = instrument.price_precision.max(instrument.qty_precision);
        if finest > PRECISION_MAX || !instrument.symbol.contains('/') {
            return Err(DecodeError::malformed("instrument"));
        }
    }
    Ok(Document::new("instruments", instruments.pairs.len()))
}

/// Reads a frame of v1 that is a list, or a list of trading.
fn read_list(items: &[&RawValue]) -> Result<Document, DecodeError> {
    let [_, parts @ .., channel, _] = items else {
        return Err(DecodeError::malformed("no list of this exchange"));
    };
    let Ok(channel) = serde_json::from_str::<String>(channel.get()) else {
        return Err(DecodeError::malformed("no list of this exchange"));
    };
    let rows = |parts: &[&RawValue]| -> usize {
        let lists = parts.iter().filter_map(|part| items_of(part.get()));
        lists.map(|list| list.len()).sum()
    };
    match channel
        .split_once('-')
        .map_or(channel.as_str(), |(name, _)| name)
    {
        "book" => read_book_parts(parts),
        "ticker" => {
            let part = parts.first().ok_or(DecodeError::malformed("ticker"))?;
            Ok(with_best_of("ticker frame", &read(part.get())?)?)
        }
        "trade" => Ok(Document::new("trades frame", rows(parts))),
        "ohlc" => Ok(Document::new("candles frame", 0)),
        "spread" => Ok(Document::new("spread frame", 0)),
        _ => Ok(Document::new(NOT_BUILT, 0)),
    }
}

fn read_book_parts(parts: &[&RawValue]) -> Result<Document, DecodeError> {
    let mut rows = 0;
    for part in parts {
        let fields: ByPair<'_, &RawValue> = read(part.get())?;
        for (name, value) in &fields {
            if name == "c" {
                let sum: Literal<'_> = read(value.get())?;
                let sum = sum.whole().and_then(|sum| u32::try_from(sum).ok());
                sum.ok_or(DecodeError::malformed("checksum"))?;
                continue;
            }
            let levels: Vec<Vec<Cow<'_, str>>> = read(value.get())?;
            let is_level = |row: &Vec<Cow<'_, str>>| (3..=4).contains(&row.len());
            if !["a", "b", "as", "bs"].contains(&name.as_ref()) || !levels.iter().all(is_level) {
                return Err(DecodeError::malformed("book"));
            }
            rows += levels.len();
        }
    }
    Ok(Document::new("book frame", rows))
}

/// Reads a document: what there is, or why not.
fn read_reply(text: &str) -> Result<Document, DecodeError> {
    let reply: Reply<'_> = read(text)?;
    let Some(result) = reply.result else {
        return match reply.error.first() {
            Some(why) => Ok(Document::refusal(why)),
            None => Err(DecodeError::malformed("neither result nor error")),
        };
    };
    let text = result.get();
    let Some(fields) = fields_of(text) else {
        return Ok(Document::new(NOT_BUILT, 0));
    };
    let has = |name: &str| fields.contains_key(name);
    if has("unixtime") {
        return Ok(Document::new("time", 0));
    }
    if has("status") && has("timestamp") {
        return Ok(Document::new("status", 0));
    }
    let first = fields.iter().find(|(name, _)| *name != "last");
    let Some((name, first)) = first else {
        return Ok(Document::new(NOT_BUILT, 0));
    };
    if let Some(inner) = fields_of(first.get()) {
        let has = |name: &str| inner.contains_key(name);
        return match () {
            () if has("asks") && has("bids") => read_book_document(text),
            () if has("a") && has("b") && has("o") => read_tickers(text),
            () if has("altname") && has("lot_decimals") => {
                Ok(Document::new("markets", fields.len()))
            }
            () if has("altname") && has("decimals") => {
                Ok(Document::new("currencies", fields.len()))
            }
            () => Ok(Document::new(NOT_BUILT, fields.len())),
        };
    }
    match items_of(first.get()) {
        Some(rows) if has("last") => Ok(Document::new("candles, trades or spreads", rows.len())),
        Some(rows) if !name.is_empty() => Ok(Document::new(NOT_BUILT, rows.len())),
        Some(_) | None => Ok(Document::new(NOT_BUILT, fields.len())),
    }
}

fn read_book_document(text: &str) -> Result<Document, DecodeError> {
    let books: ByPair<'_, BookDocument<'_>> = read(text)?;
    let mut document = Document::new("book", 0);
    for book in books.values() {
        let bids = book.bids.iter().map(|(price, volume, _)| (price, volume));
        let asks = book.asks.iter().map(|(price, volume, _)| (price, volume));
        document = document.with_best_of(best(Side::Bid, bids)?, best(Side::Ask, asks)?);
        document.rows += book.bids.len() + book.asks.len();
    }
    Ok(document)
}

fn read_tickers(text: &str) -> Result<Document, DecodeError> {
    let tickers: ByPair<'_, Ticker<'_>> = read(text)?;
    let mut document = Document::new("ticker", 0);
    for ticker in tickers.values() {
        document = with_best_of("ticker", ticker)?;
    }
    document.rows = tickers.len();
    Ok(document)
}

fn with_best_of(kind: &'static str, ticker: &Ticker<'_>) -> Result<Document, DecodeError> {
    let price = |side: &[Literal<'_>], excess: Excess| -> Result<Price, DecodeError> {
        let literal = side.first().ok_or(DecodeError::malformed("ticker"))?;
        literal
            .price(excess)
            .map_err(|_| DecodeError::malformed("ticker"))
    };
    let (bid, ask) = (
        price(&ticker.b, Excess::Down)?,
        price(&ticker.a, Excess::Up)?,
    );
    if bid > ask {
        return Err(DecodeError::malformed(
            "bid and ask of the ticker are the wrong way round",
        ));
    }
    Ok(Document::new(kind, 0).with_best(bid, ask))
}
