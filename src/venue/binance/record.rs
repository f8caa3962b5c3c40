//! Recorded documents and frames of Binance's public market data.

use crate::model::number::Price;
use crate::venue::DecodeError;
use crate::venue::binance::shape::{Book, BookTicker, Change, Event, Ticker, Trade, TradeRow};
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
    let Some(fields) = fields_of(text) else {
        let items = items_of(text).ok_or(DecodeError::Unknown)?;
        let first = items.first().map_or("", |item| item.get());
        return read_list(text, items.len(), first);
    };
    if let Some(data) = fields.get("data").filter(|_| fields.contains_key("stream")) {
        let inner = fields_of(data.get()).ok_or(DecodeError::malformed("data"))?;
        return read_object(data.get(), &inner);
    }
    read_object(text, &fields)
}

fn read_object(text: &str, fields: &Fields<'_>) -> Result<Document, DecodeError> {
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    if has(&["e"]) {
        return read_event(text);
    }
    if has(&["u", "s", "b", "B", "a", "A"]) {
        return read_best(text);
    }
    if has(&["bids", "asks"]) {
        let book: Book<'_> = read(text)?;
        let mut sides = Sides::default();
        book.take(&mut sides)?;
        let document = Document::new("book", sides.bids.len() + sides.asks.len());
        let [bid, ask] = [&sides.bids, &sides.asks].map(|side| Some(side.first()?.price));
        return Ok(document.with_best_of(bid, ask));
    }
    if has(&["bidPrice", "askPrice"]) {
        let ticker: Ticker<'_> = read(text)?;
        let (bid, ask) = (price(&ticker.bid_price)?, price(&ticker.ask_price)?);
        return Ok(Document::new("ticker", 0).with_best(bid, ask));
    }
    if let (true, Some(words)) = (has(&["code", "msg"]), fields.get("msg")) {
        return Ok(Document::refusal(words.get().trim_matches('"')));
    }
    if let Some(symbols) = fields.get("symbols").filter(|_| has(&["serverTime"])) {
        let symbols = items_of(symbols.get()).ok_or(DecodeError::malformed("symbols"))?;
        return Ok(Document::new("symbols", symbols.len()));
    }
    let small: [(&[&str], &'static str); 5] = [
        (&["symbol", "price"], "last price"),
        (&["mins", "price"], "average price"),
        (&["serverTime"], "time"),
        (&["result", "id"], "answer"),
        (&[], "ping"),
    ];
    let is_small = |names: &[&str]| {
        let further = if names.contains(&"mins") { 1 } else { 0 };
        has(names) && fields.len() <= names.len() + further
    };
    let found = small.iter().find(|(names, _)| is_small(names));
    found
        .map(|(_, kind)| Document::new(kind, 0))
        .ok_or(DecodeError::Unknown)
}

fn read_list(text: &str, rows: usize, first: &str) -> Result<Document, DecodeError> {
    /// Items of a candle.
    const CANDLE_LEN: usize = 12;
    if items_of(first).is_some_and(|items| items.len() == CANDLE_LEN) {
        return Ok(Document::new("candles", rows));
    }
    let fields = fields_of(first).ok_or(DecodeError::Unknown)?;
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    if has(&["bidPrice", "askPrice"]) {
        for ticker in read::<Vec<Ticker<'_>>>(text)? {
            price(&ticker.bid_price)?;
            price(&ticker.ask_price)?;
        }
        return Ok(Document::new("tickers", rows));
    }
    if has(&["a", "p", "q", "f", "l", "T"]) {
        for trade in read::<Vec<Trade<'_>>>(text)? {
            check(&trade)?;
        }
        return Ok(Document::new("trades", rows));
    }
    // The account's own trades have a commission besides.
    if has(&["id", "price", "qty", "isBuyerMaker"]) && !has(&["commission"]) {
        for row in read::<Vec<TradeRow<'_>>>(text)? {
            price(&row.price)?;
            row.quantity
                .quantity()
                .map_err(|_| DecodeError::malformed("qty"))?;
            row.id.whole().ok_or(DecodeError::malformed("id"))?;
        }
        return Ok(Document::new("trades", rows));
    }
    Err(DecodeError::Unknown)
}

fn read_event(text: &str) -> Result<Document, DecodeError> {
    let event: Event<'_> = read(text)?;
    match event.kind.as_deref().unwrap_or_default() {
        "depthUpdate" => {
            let change: Change<'_> = read(text)?;
            let mut sides = Sides::default();
            change.take(&mut sides)?;
            let kind = match (&change.first, &change.before) {
                (Some(_), Some(_)) => "changes of futures",
                (Some(_), None) => "changes",
                (None, _) => "changes of 2017",
            };
            Ok(Document::new(kind, sides.bids.len() + sides.asks.len()))
        }
        "bookTicker" => read_best(text),
        "trade" | "aggTrade" => {
            check(&read(text)?)?;
            Ok(Document::new("trade", 0))
        }
        "kline" => Ok(Document::new("candle", 0)),
        "24hrTicker" | "24hrMiniTicker" => Ok(Document::new("ticker of a day", 0)),
        "serverShutdown" => Ok(Document::new("shutdown", 0)),
        _ => Err(DecodeError::Unknown),
    }
}

fn read_best(text: &str) -> Result<Document, DecodeError> {
    let best: BookTicker<'_> = read(text)?;
    best.number.whole().ok_or(DecodeError::malformed("u"))?;
    for quantity in [&best.bid_quantity, &best.ask_quantity] {
        quantity
            .quantity()
            .map_err(|_| DecodeError::malformed("quantity"))?;
    }
    let (bid, ask) = (price(&best.bid)?, price(&best.ask)?);
    Ok(Document::new("best bid and ask", 0).with_best(bid, ask))
}

fn check(trade: &Trade<'_>) -> Result<(), DecodeError> {
    price(&trade.price)?;
    trade
        .quantity
        .quantity()
        .map_err(|_| DecodeError::malformed("q"))?;
    trade
        .traded
        .whole()
        .map(|_| ())
        .ok_or(DecodeError::malformed("T"))
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
        let changes = r#"{"e":"depthUpdate","E":1,"s":"A","U":1,"u":2,"b":[["1","2"]],"a":[]}"#;
        for (text, said) in [
            (changes.to_owned(), "changes, 1 rows"),
            (
                format!(r#"{{"stream":"a@depth","data":{changes}}}"#),
                "changes, 1 rows",
            ),
            (changes.replace("\"U\":1,", ""), "changes of 2017, 1 rows"),
            (
                changes.replace("\"b\"", "\"pu\":0,\"b\""),
                "changes of futures, 1 rows",
            ),
            (
                r#"{"u":4,"s":"A","b":"1","B":"2","a":"3","A":"4"}"#.to_owned(),
                "best bid and ask, bid 1, ask 3",
            ),
            (
                r#"{"lastUpdateId":4,"bids":[["1","2"]],"asks":[["3","4"]]}"#.to_owned(),
                "book, 2 rows, bid 1, ask 3",
            ),
            (
                r#"{"code":-1121,"msg":"Invalid symbol."}"#.to_owned(),
                "refusal: Invalid symbol.",
            ),
            (r#"{"result":null,"id":1}"#.to_owned(), "answer"),
            (r#"{"mins":5,"price":"1"}"#.to_owned(), "average price"),
            ("{}".to_owned(), "ping"),
        ] {
            assert_eq!(kind_of(&text), Ok(said.to_owned()), "{text}");
        }
        for text in [
            "[]",
            "7",
            r#"{"e":"executionReport"}"#,
            r#"{"orderId":1}"#,
            "[[1]]",
        ] {
            assert_eq!(kind_of(text), Err(DecodeError::Unknown), "{text}");
        }
        assert!(kind_of(&changes.replace("\"1\"", "\"x\"")).is_err());
        assert!(kind_of(r#"{"stream":"x","data":7}"#).is_err());
    }
}
