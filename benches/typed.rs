//! The peer: a JSON library into borrowed, typed fields, and the same kind of book. It is serde_json
//! unless a bench brings a `Reader` of its own.

use expressnet::book::Book;
use expressnet::model::market::{BookUpdate, Level, UpdateKind};
use expressnet::model::number::{Price, Quantity, parse_decimal};
use expressnet::model::time::{Span, Time};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::harness::keep;
use crate::recorded::{Kind, Ours, Stream};

/// Books by the names that the exchange gives their markets.
pub(crate) struct Theirs {
    kind: Kind,
    pub(crate) books: Vec<Book>,
    names: Vec<String>,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

/// A frame, and who makes typed fields of it.
pub(crate) trait Reader<'a> {
    fn bytes(&self) -> &[u8];
    fn read<T: Deserialize<'a>>(self) -> T;
}

impl<'a> Reader<'a> for &'a [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn read<T: Deserialize<'a>>(self) -> T {
        serde_json::from_slice(self).unwrap()
    }
}

#[derive(Deserialize)]
struct Kraken<'a> {
    #[serde(rename = "channel")]
    _channel: &'a str,
    #[serde(rename = "type")]
    _kind: &'a str,
    #[serde(borrow)]
    data: Vec<KrakenBook<'a>>,
}

#[derive(Deserialize)]
struct KrakenBook<'a> {
    symbol: &'a str,
    bids: Vec<KrakenLevel>,
    asks: Vec<KrakenLevel>,
    #[serde(rename = "checksum")]
    _checksum: u32,
    #[serde(rename = "timestamp")]
    _timestamp: Option<&'a str>,
}

#[derive(Deserialize)]
struct KrakenLevel {
    price: f64,
    qty: f64,
}

#[derive(Deserialize)]
struct Advanced<'a> {
    #[serde(rename = "channel")]
    _channel: &'a str,
    #[serde(rename = "timestamp")]
    _timestamp: &'a str,
    #[serde(rename = "sequence_num")]
    _sequence: u64,
    #[serde(borrow)]
    events: Vec<AdvancedEvent<'a>>,
}

#[derive(Deserialize)]
struct AdvancedEvent<'a> {
    #[serde(rename = "type")]
    _kind: &'a str,
    product_id: &'a str,
    #[serde(borrow)]
    updates: Vec<AdvancedLevel<'a>>,
}

#[derive(Deserialize)]
struct AdvancedLevel<'a> {
    side: &'a str,
    #[serde(rename = "event_time")]
    _time: &'a str,
    price_level: &'a str,
    new_quantity: &'a str,
}

#[derive(Deserialize)]
struct Exchange<'a> {
    #[serde(rename = "type")]
    _kind: &'a str,
    product_id: &'a str,
    #[serde(borrow)]
    changes: Vec<(&'a str, &'a str, &'a str)>,
    #[serde(rename = "time")]
    _time: &'a str,
}

#[derive(Deserialize)]
struct Bitstamp<'a> {
    #[serde(borrow)]
    data: BitstampBook<'a>,
    channel: &'a str,
    #[serde(rename = "event")]
    _event: &'a str,
}

#[derive(Deserialize)]
struct BitstampBook<'a> {
    #[serde(rename = "timestamp")]
    _timestamp: &'a str,
    #[serde(rename = "microtimestamp")]
    _micros: &'a str,
    #[serde(borrow)]
    bids: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    asks: Vec<(&'a str, &'a str)>,
}

#[derive(Deserialize)]
struct Binance<'a> {
    #[serde(rename = "stream")]
    _stream: &'a str,
    #[serde(borrow)]
    data: BinanceBook<'a>,
}

#[derive(Deserialize)]
struct BinanceBook<'a> {
    #[serde(rename = "e")]
    _event: &'a str,
    #[serde(rename = "E")]
    _at: u64,
    s: &'a str,
    #[serde(rename = "U")]
    _first: u64,
    #[serde(rename = "u")]
    _last: u64,
    #[serde(borrow)]
    b: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    a: Vec<(&'a str, &'a str)>,
}

impl Theirs {
    /// Begins with the books that ours has before the steady frames.
    pub(crate) fn ready(stream: &Stream) -> Self {
        let kind = stream.kind;
        let names = stream.pairs.iter().map(|pair| match kind {
            Kind::Kraken => pair.to_string(),
            Kind::Advanced | Kind::Exchange => format!("{}-{}", pair.base, pair.quote),
            Kind::Bitstamp => format!("diff_order_book_{}{}", pair.base, pair.quote).to_lowercase(),
            Kind::Binance => format!("{}{}", pair.base, pair.quote),
        });
        Self {
            kind,
            books: Ours::ready(stream).books,
            names: names.collect(),
            bids: Vec::new(),
            asks: Vec::new(),
        }
    }

    pub(crate) fn take<'a>(&mut self, frame: impl Reader<'a>) {
        match self.kind {
            Kind::Kraken => {
                let read: Kraken<'_> = frame.read();
                for book in &read.data {
                    let level = |level: &KrakenLevel| Level {
                        price: Price((level.price * 1e8).round() as i64),
                        quantity: Quantity((level.qty * 1e8).round() as i64),
                    };
                    self.bids.extend(book.bids.iter().map(level));
                    self.asks.extend(book.asks.iter().map(level));
                    self.apply(book.symbol);
                }
            }
            Kind::Advanced if !frame.bytes().starts_with(br#"{"channel":"l2_data""#) => {
                let read: IgnoredAny = frame.read();
                keep(read);
            }
            Kind::Advanced => {
                let read: Advanced<'_> = frame.read();
                for event in &read.events {
                    for row in &event.updates {
                        let level = level(&(row.price_level, row.new_quantity));
                        match row.side {
                            "bid" => self.bids.push(level),
                            _ => self.asks.push(level),
                        }
                    }
                    self.apply(event.product_id);
                }
            }
            Kind::Exchange => {
                let read: Exchange<'_> = frame.read();
                for (side, price, size) in &read.changes {
                    match *side {
                        "buy" => self.bids.push(level(&(price, size))),
                        _ => self.asks.push(level(&(price, size))),
                    }
                }
                self.apply(read.product_id);
            }
            Kind::Bitstamp => {
                let read: Bitstamp<'_> = frame.read();
                self.bids.extend(read.data.bids.iter().map(level));
                self.asks.extend(read.data.asks.iter().map(level));
                self.apply(read.channel);
            }
            Kind::Binance => {
                let read: Binance<'_> = frame.read();
                self.bids.extend(read.data.b.iter().map(level));
                self.asks.extend(read.data.a.iter().map(level));
                self.apply(read.data.s);
            }
        }
    }

    fn apply(&mut self, name: &str) {
        let index = self.names.iter().position(|known| known == name).unwrap();
        let book = &mut self.books[index];
        let previous = book.sequence();
        book.apply(
            &BookUpdate {
                market: book.market(),
                kind: UpdateKind::Delta { previous },
                sequence: previous + 1,
                bids: &self.bids,
                asks: &self.asks,
                venue_time: Time::ZERO,
                engine_lag: Span::ZERO,
            },
            Time(1),
        );
        self.bids.clear();
        self.asks.clear();
    }
}

fn level((price, quantity): &(&str, &str)) -> Level {
    Level {
        price: Price(parse_decimal(price.as_bytes()).unwrap()),
        quantity: Quantity(parse_decimal(quantity.as_bytes()).unwrap()),
    }
}
