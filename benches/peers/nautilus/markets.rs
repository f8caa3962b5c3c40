//! nautilus' instruments and books of a stream, and what an adapter does with a frame of it.

use expressnet::book::Book;
use expressnet::model::instrument::Pair;
use expressnet::model::market::{Level, Side};
use expressnet::model::number::{Price, Quantity};
use nautilus_core::UnixNanos;
use nautilus_model::data::{BookOrder, OrderBookDelta};
use nautilus_model::enums::{BookAction, BookType, CurrencyType, OrderSide};
use nautilus_model::identifiers::{InstrumentId, Symbol, Venue};
use nautilus_model::instruments::{CurrencyPair, InstrumentAny};
use nautilus_model::orderbook::OrderBook;
use nautilus_model::types::price::PRICE_RAW_MAX;
use nautilus_model::types::{Currency, Price as TheirPrice, Quantity as TheirQuantity};
use ustr::{Ustr, UstrMap};

use crate::recorded::{Ours, SIDES, Stream};

/// When everything came: a running adapter reads the clock for each frame, which is left out.
pub(crate) const CAME: UnixNanos = UnixNanos::new(1);

/// Digits behind the point of our numbers, and of every instrument here.
const DIGITS: u8 = 8;

/// Theirs are whole numbers of a tenth of our unit.
const UNIT: i64 = 10;

/// One exchange's frames by the functions that nautilus publishes.
pub(crate) trait Adapter {
    /// What the adapter's handler is given: text that is already checked, or bytes.
    type Frame;

    const PEER: &'static str;
    const VENUE: &'static str;

    /// Returns the exchange's name of a market.
    fn name(pair: Pair) -> String;

    /// Makes the frames of a stream, unmeasured.
    fn frames(stream: &Stream) -> Vec<Self::Frame>;

    /// Takes one frame. A fault would mean that less was done than by ours.
    fn take(markets: &mut Markets, frame: &Self::Frame);
}

/// One market of theirs.
#[derive(Debug)]
pub(crate) struct Market {
    pub(crate) instrument: InstrumentAny,
    pub(crate) book: OrderBook,
}

/// Their markets by the exchange's names.
#[derive(Debug)]
pub(crate) struct Markets {
    all: UstrMap<Market>,
    /// Number of the next change, of those adapters that count by themselves.
    pub(crate) sequence: u64,
}

impl Markets {
    /// Begins with the books that ours has before the steady frames.
    pub(crate) fn ready<A: Adapter>(stream: &Stream) -> Self {
        let books = Ours::ready(stream).books;
        let market = |book: &Book| {
            let name = Ustr::from(&A::name(book.market().pair));
            (name, market(name, A::VENUE, book))
        };
        Self {
            all: books.iter().map(market).collect(),
            sequence: 1,
        }
    }

    pub(crate) fn get(&mut self, name: Ustr) -> &mut Market {
        self.all.get_mut(&name).unwrap()
    }

    /// Returns the best bid and the best ask as ours would have them.
    pub(crate) fn bests(&self, name: &str) -> [Option<Level>; 2] {
        let book = &self.all[&Ustr::from(name)].book;
        [
            level(book.best_bid_price(), book.best_bid_size()),
            level(book.best_ask_price(), book.best_ask_size()),
        ]
    }
}

fn level(price: Option<TheirPrice>, size: Option<TheirQuantity>) -> Option<Level> {
    Some(Level {
        price: Price(price?.raw / UNIT),
        quantity: Quantity(i64::try_from(size?.raw).unwrap() / UNIT),
    })
}

fn market(name: Ustr, venue: &str, ours: &Book) -> Market {
    let id = InstrumentId::new(Symbol::from(name), Venue::from(venue));
    let mut book = OrderBook::new(id, BookType::L2_MBP);
    for side in SIDES {
        for level in ours.depth(side).levels() {
            // An order at a price that theirs cannot hold stands as far from the best as can be.
            if let Some(delta) = added(id, side, level) {
                book.apply_delta(&delta).unwrap();
            }
        }
    }
    let pair = ours.market().pair;
    Market {
        instrument: instrument(id, pair),
        book,
    }
}

fn added(id: InstrumentId, side: Side, level: Level) -> Option<OrderBookDelta> {
    let side = match side {
        Side::Bid => OrderSide::Buy,
        Side::Ask => OrderSide::Sell,
    };
    let price = level.price.0.checked_mul(UNIT)?;
    let price = (price <= PRICE_RAW_MAX).then_some(price)?;
    let size = level
        .quantity
        .0
        .unsigned_abs()
        .checked_mul(UNIT.unsigned_abs())?;
    let order = BookOrder::new(
        side,
        TheirPrice::from_raw(price, DIGITS),
        TheirQuantity::from_raw(size, DIGITS),
        0,
    );
    let action = BookAction::Add;
    Some(OrderBookDelta::new(id, action, order, 0, 0, CAME, CAME))
}

fn instrument(id: InstrumentId, pair: Pair) -> InstrumentAny {
    let currency = |code: String| Currency::new(&code, DIGITS, 0, &code, CurrencyType::Crypto);
    let made = CurrencyPair::new(
        id,
        id.symbol,
        currency(pair.base.to_string()),
        currency(pair.quote.to_string()),
        DIGITS,
        DIGITS,
        TheirPrice::from_raw(UNIT, DIGITS),
        TheirQuantity::from_raw(UNIT.unsigned_abs(), DIGITS),
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        CAME,
        CAME,
    );
    InstrumentAny::CurrencyPair(made)
}
