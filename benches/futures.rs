//! A stream as Binance's futures send it, made of a recorded one of its spot market: three changes in
//! one, each with the number of the last one before it. No stream of theirs is recorded that goes on
//! for more than two messages.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expressnet::book::Book;
use expressnet::model::instrument::Pair;
use expressnet::model::market::{Level, Side};
use expressnet::venue::{Dialect, registry};
use serde::Deserialize;

use crate::recorded::{Ours, Stream};

/// Changes of the spot market in one of ours.
const MERGED: usize = 3;

#[derive(Deserialize)]
struct Combined<'a> {
    #[serde(borrow)]
    data: Change<'a>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(rename = "E")]
    millis: u64,
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "U")]
    first: u64,
    #[serde(rename = "u")]
    last: u64,
    #[serde(borrow, rename = "b")]
    bids: Vec<(&'a str, &'a str)>,
    #[serde(borrow, rename = "a")]
    asks: Vec<(&'a str, &'a str)>,
}

/// Prices with the last quantity of each.
type Rows = BTreeMap<String, String>;

/// What becomes one message.
#[derive(Default)]
struct Merged {
    changes: usize,
    millis: u64,
    first: u64,
    last: u64,
    bids: Rows,
    asks: Rows,
}

/// Makes the stream; `None` where the spot market's is not one of Binance's.
pub(crate) fn futures(spot: &Stream) -> Option<Stream> {
    if spot.name != "binance" {
        return None;
    }
    let books = Ours::ready(spot).books;
    let books: Vec<&Book> = books.iter().filter(|book| book.sequence() > 0).collect();
    let mut before = Vec::new();
    let mut sequences: BTreeMap<String, u64> = BTreeMap::new();
    for book in &books {
        let (pair, last) = (book.market().pair, book.sequence());
        // A frame that does not say when it was sent is refused.
        let empty = Merged {
            millis: 1,
            first: last,
            last,
            ..Merged::default()
        };
        before.push((None, frame(&symbol(pair), last - 1, &empty)));
        before.push((Some(pair), document(book)));
        sequences.insert(symbol(pair), last);
    }
    let mut open: BTreeMap<&str, Merged> = BTreeMap::new();
    let mut steady = Vec::new();
    for text in &spot.steady {
        let Combined { data } = serde_json::from_slice(text).ok()?;
        let Some(sequence) = sequences.get_mut(data.symbol) else {
            continue;
        };
        let merged = open.entry(data.symbol).or_default();
        merged.add(&data);
        if merged.changes == MERGED {
            steady.push(frame(data.symbol, *sequence, merged));
            *sequence = merged.last;
            *merged = Merged::default();
        }
    }
    let pairs = books.iter().map(|book| book.market().pair).collect();
    let made = Stream::made(dialect(), spot.kind, pairs, before, steady);
    // A book that never begins takes no change, which looks like a fast one.
    let begun = Ours::ready(&made).books;
    assert!(begun.iter().all(|book| book.sequence() > 0));
    Some(made)
}

fn dialect() -> &'static dyn Dialect {
    registry::find("binancefutures").unwrap()
}

impl Merged {
    fn add(&mut self, change: &Change<'_>) {
        if self.changes == 0 {
            self.first = change.first;
        }
        self.changes += 1;
        (self.millis, self.last) = (change.millis, change.last);
        for (rows, said) in [
            (&mut self.bids, &change.bids),
            (&mut self.asks, &change.asks),
        ] {
            let said = said.iter();
            rows.extend(said.map(|(price, quantity)| (cut(price, 2), cut(quantity, 3))));
        }
    }
}

/// Cuts zeros off the end of a decimal, to no less than some decimals.
fn cut(decimal: &str, least: usize) -> String {
    let point = decimal.find('.').unwrap_or(decimal.len());
    let end = decimal.trim_end_matches('0').len();
    let end = end.max(point + 1 + least).min(decimal.len());
    decimal[..end].to_owned()
}

fn symbol(pair: Pair) -> String {
    format!("{}{}", pair.base, pair.quote)
}

fn frame(symbol: &str, previous: u64, merged: &Merged) -> Vec<u8> {
    let stream = symbol.to_lowercase();
    let Merged {
        millis,
        first,
        last,
        bids,
        asks,
        ..
    } = merged;
    let mut text = format!(
        r#"{{"stream":"{stream}@depth@100ms","data":{{"e":"depthUpdate","E":{millis},"T":{millis},"s":"{symbol}","U":{first},"u":{last},"pu":{previous},"b":["#
    );
    write_rows(&mut text, bids.iter().rev());
    text.push_str(r#"],"a":["#);
    write_rows(&mut text, asks.iter());
    text.push_str("]}}");
    text.into_bytes()
}

fn document(book: &Book) -> Vec<u8> {
    let rows = |side: Side| -> Vec<(String, String)> {
        let row = |level: Level| (level.price.to_string(), level.quantity.to_string());
        book.depth(side).levels().map(row).collect()
    };
    let mut text = format!(r#"{{"lastUpdateId":{},"bids":["#, book.sequence());
    write_rows(
        &mut text,
        rows(Side::Bid)
            .iter()
            .map(|(price, quantity)| (price, quantity)),
    );
    text.push_str(r#"],"asks":["#);
    write_rows(
        &mut text,
        rows(Side::Ask)
            .iter()
            .map(|(price, quantity)| (price, quantity)),
    );
    text.push_str("]}");
    text.into_bytes()
}

fn write_rows<'a>(text: &mut String, rows: impl Iterator<Item = (&'a String, &'a String)>) {
    for (index, (price, quantity)) in rows.enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(text, r#"{comma}["{price}","{quantity}"]"#).unwrap();
    }
}
