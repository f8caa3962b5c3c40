//! barter-data's own way from a text frame of Binance to its book: message, transformer, upserts.

use barter_data::books::{Level as BarterLevel, OrderBook};
use barter_data::event::MarketEvent;
use barter_data::exchange::binance::spot::l2::{
    BinanceSpotOrderBookL2Update, BinanceSpotOrderBooksL2Transformer,
};
use barter_data::subscription::Map;
use barter_data::subscription::book::OrderBookEvent;
use barter_data::transformer::ExchangeTransformer;
use barter_instrument::exchange::ExchangeId;
use barter_integration::Transformer;
use barter_integration::subscription::SubscriptionId;
use expressnet::model::market::{Level, Side};
use expressnet::model::number::{Price, Quantity};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::recorded::{Ours, Stream};

/// Digits behind the point of our numbers.
const DIGITS: u32 = 8;

/// Frames without the envelope of a combined stream, which barter-data does not ask for.
#[derive(Deserialize)]
struct Combined<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What barter-data reads: texts, and books to begin with.
pub(crate) struct Barter {
    pub(crate) texts: Vec<String>,
    names: Vec<String>,
    books: Vec<OrderBook>,
}

/// barter-data at work; an instrument's key is the index of its book.
#[derive(Debug)]
pub(crate) struct Reading {
    transformer: BinanceSpotOrderBooksL2Transformer<usize>,
    books: Vec<OrderBook>,
}

impl Barter {
    pub(crate) fn of(stream: &Stream) -> Self {
        let text = |frame: &Vec<u8>| {
            let combined: Combined<'_> = serde_json::from_slice(frame).unwrap();
            combined.data.get().to_owned()
        };
        let books = Ours::ready(stream).books;
        let book = |book: &expressnet::book::Book| {
            let side = |side| book.depth(side).levels().map(their);
            OrderBook::new(book.sequence(), None, side(Side::Bid), side(Side::Ask))
        };
        let pairs = stream.pairs.iter();
        Self {
            texts: stream.steady.iter().map(text).collect(),
            names: pairs
                .map(|pair| format!("{}{}", pair.base, pair.quote))
                .collect(),
            books: books.iter().map(book).collect(),
        }
    }

    pub(crate) fn ready(&self) -> Reading {
        let named = self.names.iter().enumerate();
        let ids: Map<usize> = named
            .map(|(at, name)| (SubscriptionId::from(format!("@depth@100ms|{name}")), at))
            .collect();
        let books = self.books.iter().cloned().enumerate();
        let snapshots: Vec<_> = books.map(snapshot).collect();
        let (sending, _unused) = tokio::sync::mpsc::unbounded_channel();
        let made = BinanceSpotOrderBooksL2Transformer::init(ids, &snapshots, sending);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        Reading {
            transformer: runtime.unwrap().block_on(made).unwrap(),
            books: self.books.clone(),
        }
    }
}

impl Reading {
    /// Takes one frame of the stream. A fault would mean that less was done than by the others.
    pub(crate) fn take(&mut self, text: &str) {
        let update: BinanceSpotOrderBookL2Update = serde_json::from_str(text).unwrap();
        for event in self.transformer.transform(update) {
            let event = event.unwrap();
            self.books[event.instrument].update(&event.kind);
        }
    }

    pub(crate) fn bests(&self, at: usize) -> [Option<Level>; 2] {
        let book = &self.books[at];
        [book.bids().best(), book.asks().best()].map(|best| best.map(our))
    }
}

fn snapshot((at, book): (usize, OrderBook)) -> MarketEvent<usize, OrderBookEvent> {
    MarketEvent {
        time_exchange: Default::default(),
        time_received: Default::default(),
        exchange: ExchangeId::BinanceSpot,
        instrument: at,
        kind: OrderBookEvent::Snapshot(book),
    }
}

fn their(level: Level) -> BarterLevel {
    BarterLevel {
        price: Decimal::new(level.price.0, DIGITS),
        amount: Decimal::new(level.quantity.0, DIGITS),
    }
}

fn our(level: &BarterLevel) -> Level {
    let units = |mut number: Decimal| {
        number.rescale(DIGITS);
        i64::try_from(number.mantissa()).unwrap()
    };
    Level {
        price: Price(units(level.price)),
        quantity: Quantity(units(level.amount)),
    }
}
