//! Recorded documents and frames of Bitstamp's public market data.

use crate::model::market::Side;
use crate::model::number::Price;
use crate::venue::DecodeError;
use crate::venue::bitstamp::shape::{Book, Frame, LiveTrade, PairInfo, Ticker, Trade};
use crate::venue::document::{Document, Fields, fields_of, items_of, read};
use crate::venue::literal::{Excess, Literal};
use crate::venue::rows::Sides;

/// Reads a document or a frame.
///
/// # Errors
/// `Unknown` for what is neither public nor a refusal; else where and why it is not what it seems.
pub fn read_document(bytes: &[u8]) -> Result<Document, DecodeError> {
    let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::malformed("not UTF-8"))?;
    let text = text.trim();
    match (fields_of(text), items_of(text)) {
        (Some(fields), _) => read_object(text, &fields),
        (None, Some(items)) => {
            let first = items.first().and_then(|item| fields_of(item.get()));
            read_list(text, items.len(), &first.unwrap_or_default())
        }
        (None, None) => Err(DecodeError::Unknown),
    }
}

fn read_object(text: &str, fields: &Fields<'_>) -> Result<Document, DecodeError> {
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    if has(&["event"]) {
        return read_frame(text);
    }
    for name in ["error", "reason"] {
        if let Some(error) = fields.get(name) {
            return Ok(Document::refusal(error.get().trim_matches('"')));
        }
    }
    if has(&["bids", "asks"]) {
        return read_book("book", text);
    }
    if has(&["bid", "ask", "last"]) {
        let ticker: Ticker<'_> = read(text)?;
        price(&ticker.last)?;
        let (bid, ask) = (price(&ticker.bid)?, price(&ticker.ask)?);
        return Ok(Document::new("ticker", 0).with_best(bid, ask));
    }
    if has(&["buy", "sell"]) && fields.len() == 2 {
        return Ok(Document::new("conversion rate", 0));
    }
    let candles = fields.get("data").and_then(|data| {
        let inner = fields_of(data.get())?;
        items_of(inner.get("ohlc")?.get()).map(|rows| rows.len())
    });
    candles
        .map(|rows| Document::new("candles", rows))
        .ok_or(DecodeError::Unknown)
}

fn read_list(text: &str, rows: usize, first: &Fields<'_>) -> Result<Document, DecodeError> {
    let has = |names: &[&str]| names.iter().all(|name| first.contains_key(*name));
    if has(&["tid", "price", "amount", "date"]) {
        for row in read::<Vec<Trade<'_>>>(text)? {
            price(&row.price)?;
            row.amount
                .quantity()
                .map_err(|_| DecodeError::malformed("amount"))?;
            let is_whole = row.tid.whole().is_some() && row.date.whole().is_some();
            is_whole
                .then_some(())
                .ok_or(DecodeError::malformed("tid"))?;
        }
        return Ok(Document::new("trades", rows));
    }
    if has(&["url_symbol", "base_decimals"]) {
        let pairs: Vec<PairInfo<'_>> = read(text)?;
        return Ok(Document::new("pairs", pairs.len()));
    }
    Err(DecodeError::Unknown)
}

fn read_frame(text: &str) -> Result<Document, DecodeError> {
    let frame: Frame<'_> = read(text)?;
    let channel = frame.channel.as_deref().unwrap_or_default();
    let data = || {
        frame
            .data
            .map(|data| data.get())
            .ok_or(DecodeError::malformed("data"))
    };
    match frame.event.as_ref() {
        "bts:subscription_succeeded" => Ok(Document::new("subscription", 0)),
        "bts:unsubscription_succeeded" => Ok(Document::new("end of subscription", 0)),
        "bts:heartbeat" => Ok(Document::new("heartbeat", 0)),
        "bts:request_reconnect" => Ok(Document::new("request to reconnect", 0)),
        "bts:error" => Ok(Document::refusal(data()?)),
        "data" if channel.starts_with("diff_order_book_") => read_book("changes", data()?),
        "data" if channel.starts_with("order_book_") => read_book("book", data()?),
        "trade" if channel.starts_with("live_trades_") => {
            let trade: LiveTrade<'_> = read(data()?)?;
            price(&trade.price_str)?;
            trade
                .amount_str
                .quantity()
                .map_err(|_| DecodeError::malformed("amount_str"))?;
            let is_whole = trade.id.whole().is_some() && trade.microtimestamp.whole().is_some();
            let is_trade = is_whole && trade.side <= 1;
            is_trade
                .then_some(())
                .ok_or(DecodeError::malformed("trade"))?;
            Ok(Document::new("trade", 0))
        }
        "order_created" | "order_changed" | "order_deleted"
            if channel.starts_with("live_orders_") =>
        {
            Ok(Document::new("order of somebody", 0))
        }
        _ => Err(DecodeError::Unknown),
    }
}

fn read_book(kind: &'static str, text: &str) -> Result<Document, DecodeError> {
    let book: Book<'_> = read(text)?;
    let mut sides = Sides::default();
    book.take(&mut sides)?;
    let document = Document::new(kind, sides.bids.len() + sides.asks.len());
    let best = |side: Side| match side {
        Side::Bid => sides.bids.iter().map(|level| level.price).max(),
        Side::Ask => sides.asks.iter().map(|level| level.price).min(),
    };
    Ok(match (kind, best(Side::Bid), best(Side::Ask)) {
        ("book", Some(bid), Some(ask)) => document.with_best(bid, ask),
        _ => document,
    })
}

fn price(literal: &Literal<'_>) -> Result<Price, DecodeError> {
    literal
        .price(Excess::Nearest)
        .map_err(|_| DecodeError::malformed("price"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(text: &str) -> Result<String, DecodeError> {
        read_document(text.as_bytes()).map(|document| document.to_string())
    }

    #[test]
    fn public_documents_and_frames_are_told_apart() {
        for (text, said) in [
            (
                r#"{"bids":[["1.5","2"]],"asks":[["1.6","2"]]}"#,
                "book, 2 rows, bid 1.5, ask 1.6",
            ),
            (
                r#"{"bid":"1","ask":"2","last":"1"}"#,
                "ticker, bid 1, ask 2",
            ),
            (
                r#"[{"tid":1,"date":"2","price":"3","amount":"4"}]"#,
                "trades, 1 rows",
            ),
            (
                r#"{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}"#,
                "heartbeat",
            ),
            (
                r#"{"event":"bts:error","channel":"","data":{"code":4009}}"#,
                r#"refusal: {"code":4009}"#,
            ),
            (r#"{"error":"Order not found"}"#, "refusal: Order not found"),
            (
                r#"{"status":"error","reason":"late","code":"API0004"}"#,
                "refusal: late",
            ),
            (
                r#"{"event":"data","channel":"diff_order_book_btcusd","data":{"bids":[],"asks":[["1","0"]]}}"#,
                "changes, 1 rows",
            ),
        ] {
            assert_eq!(kind_of(text), Ok(said.to_owned()), "{text}");
        }
        for text in [
            "{}",
            "[]",
            "7",
            r#"{"id":"1","price":"2"}"#,
            r#"{"event":"news"}"#,
        ] {
            assert_eq!(kind_of(text), Err(DecodeError::Unknown), "{text}");
        }
        assert!(kind_of(r#"{"bids":[["x","2"]],"asks":[]}"#).is_err());
    }
}
