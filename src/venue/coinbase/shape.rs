//! What Coinbase's streams and public documents say, read by serde: the last resort, and refusals.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::model::market::{Level, Side};
use crate::model::number::{NumberError, Price, Quantity};
use crate::model::time::Time;
use crate::venue::coinbase::event::{Events, Head};
use crate::venue::coinbase::tolerant::Said;
use crate::venue::literal::{Excess, Literal};
use crate::venue::names::Names;
use crate::venue::stamp::rfc3339;

/// Any frame of Advanced Trade.
#[derive(Debug, Deserialize)]
pub struct Frame<'a> {
    #[serde(borrow, default)]
    pub channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub sequence_num: Option<Literal<'a>>,
    #[serde(borrow, default)]
    pub events: Option<&'a RawValue>,
}

/// What happened to one book.
#[derive(Debug, Deserialize)]
pub struct BookEvent<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    pub product_id: Cow<'a, str>,
    #[serde(borrow)]
    pub updates: Vec<Update<'a>>,
}

/// A level of Advanced Trade.
#[derive(Debug, Deserialize)]
pub struct Update<'a> {
    #[serde(borrow)]
    pub side: Cow<'a, str>,
    #[serde(borrow)]
    pub price_level: Literal<'a>,
    #[serde(borrow)]
    pub new_quantity: Literal<'a>,
}

/// Any frame of the Exchange.
#[derive(Debug, Deserialize)]
pub struct ExchangeFrame<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub product_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub time: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub bids: Option<Vec<Row<'a>>>,
    #[serde(borrow, default)]
    pub asks: Option<Vec<Row<'a>>>,
    #[serde(borrow, default)]
    pub changes: Option<Vec<(Cow<'a, str>, Literal<'a>, Literal<'a>)>>,
    #[serde(borrow, default)]
    pub best_bid: Option<Literal<'a>>,
    #[serde(borrow, default)]
    pub best_ask: Option<Literal<'a>>,
    #[serde(borrow, default)]
    pub message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub reason: Option<Cow<'a, str>>,
}

/// Price and size of a level.
pub type Row<'a> = (Literal<'a>, Literal<'a>);

/// A book as a document of the Exchange: price, size, and how many orders stand there.
#[derive(Debug, Deserialize)]
pub struct BookDocument<'a> {
    pub sequence: u64,
    #[serde(borrow)]
    pub bids: Vec<(Literal<'a>, Literal<'a>, IgnoredAny)>,
    #[serde(borrow)]
    pub asks: Vec<(Literal<'a>, Literal<'a>, IgnoredAny)>,
}

/// A ticker as a document of the Exchange.
#[derive(Debug, Deserialize)]
pub struct TickerDocument<'a> {
    #[serde(borrow)]
    pub bid: Literal<'a>,
    #[serde(borrow)]
    pub ask: Literal<'a>,
}

/// Why a frame cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not what the exchange writes.
    Malformed(&'static str),
    /// Another kind of frame, or a refusal: there is nothing to be done about it.
    Unknown,
    /// The numbers of a market are finer than 1e-8.
    Beyond,
}

/// Reads a frame of Advanced Trade of any channel.
///
/// # Errors
/// See [`Fault`].
pub fn read_advanced(
    frame: &Frame<'_>,
    symbols: &Names,
    events: &mut Events,
) -> Result<Said, Fault> {
    events.clear();
    let (Some(channel), Some(number)) = (frame.channel.as_deref(), &frame.sequence_num) else {
        return Err(Fault::Unknown);
    };
    let number = number.whole().ok_or(Fault::Malformed("sequence_num"))?;
    let head = Head {
        number: Some(number),
        at: time_of(frame.timestamp.as_deref())?,
    };
    if channel != "l2_data" {
        return Ok(Said::Other(head));
    }
    let text = frame.events.ok_or(Fault::Malformed("events"))?.get();
    let list: Vec<BookEvent<'_>> =
        serde_json::from_str(text).map_err(|_| Fault::Malformed("events"))?;
    for event in &list {
        let market = symbols.find_name(event.product_id.as_bytes());
        for update in &event.updates {
            let side = match update.side.as_ref() {
                "bid" => Side::Bid,
                "offer" => Side::Ask,
                _ => return Err(Fault::Malformed("side")),
            };
            let row = (&update.price_level, &update.new_quantity);
            match push_level(side, row, events) {
                Ok(()) => (),
                Err(Fault::Beyond) => {
                    let head = (list.len() == 1).then_some(head);
                    return Ok(Said::Beyond { market, head });
                }
                Err(fault) => return Err(fault),
            }
        }
        let is_snapshot = match event.kind.as_ref() {
            "snapshot" => true,
            "update" => false,
            _ => return Err(Fault::Malformed("type of an event")),
        };
        let ended = events.end(market, is_snapshot);
        ended.ok_or(Fault::Malformed("too many events"))?;
    }
    Ok(Said::Book(head))
}

/// Reads a frame of the Exchange of any type.
///
/// # Errors
/// See [`Fault`].
pub fn read_exchange(
    frame: &ExchangeFrame<'_>,
    symbols: &Names,
    events: &mut Events,
) -> Result<Said, Fault> {
    events.clear();
    let product = frame.product_id.as_deref();
    let market = product.and_then(|product| symbols.find_name(product.as_bytes()));
    let is_snapshot = match frame.kind.as_ref() {
        "snapshot" => true,
        "l2update" => false,
        "ticker" => return read_ticker(market, frame),
        "error" => return Err(Fault::Unknown),
        _ => {
            return Ok(Said::Other(Head {
                number: None,
                at: None,
            }));
        }
    };
    product.ok_or(Fault::Malformed("product_id"))?;
    let head = Head {
        number: None,
        at: time_of(frame.time.as_deref())?,
    };
    match read_levels(is_snapshot, frame, events) {
        Ok(()) => (),
        Err(Fault::Beyond) => {
            let head = Some(head);
            return Ok(Said::Beyond { market, head });
        }
        Err(fault) => return Err(fault),
    }
    let ended = events.end(market, is_snapshot);
    ended.ok_or(Fault::Malformed("too many events"))?;
    Ok(Said::Book(head))
}

fn read_levels(
    is_snapshot: bool,
    frame: &ExchangeFrame<'_>,
    events: &mut Events,
) -> Result<(), Fault> {
    match (is_snapshot, &frame.bids, &frame.asks, &frame.changes) {
        (true, Some(bids), Some(asks), None) => {
            for (side, rows) in [(Side::Bid, bids), (Side::Ask, asks)] {
                for (price, quantity) in rows {
                    push_level(side, (price, quantity), events)?;
                }
            }
        }
        (false, None, None, Some(changes)) => {
            for (side, price, quantity) in changes {
                let side = match side.as_ref() {
                    "buy" => Side::Bid,
                    "sell" => Side::Ask,
                    _ => return Err(Fault::Malformed("side")),
                };
                push_level(side, (price, quantity), events)?;
            }
        }
        (_, _, _, _) => return Err(Fault::Malformed("book")),
    }
    Ok(())
}

fn read_ticker(market: Option<usize>, frame: &ExchangeFrame<'_>) -> Result<Said, Fault> {
    let price = |literal: &Option<Literal<'_>>, excess| {
        let literal = literal.as_ref().ok_or(Fault::Malformed("ticker"))?;
        literal
            .price(excess)
            .map_err(|_| Fault::Malformed("ticker"))
    };
    let bid = price(&frame.best_bid, Excess::Down)?;
    let ask = price(&frame.best_ask, Excess::Up)?;
    let market = market.ok_or(Fault::Unknown)?;
    Ok(Said::Best { market, bid, ask })
}

fn time_of(text: Option<&str>) -> Result<Option<Time>, Fault> {
    match text {
        Some(text) => match rfc3339(text.as_bytes()) {
            Some(time) => Ok(Some(time)),
            None => Err(Fault::Malformed("time")),
        },
        None => Ok(None),
    }
}

/// Appends a level. A price that is more than can be counted is left out: it is out of everybody's
/// reach; a quantity that is more counts as the most there is.
fn push_level(
    side: Side,
    (price, quantity): (&Literal<'_>, &Literal<'_>),
    events: &mut Events,
) -> Result<(), Fault> {
    let units = |literal: &Literal<'_>| match literal.units(Excess::Refused) {
        Ok(..0) | Err(NumberError::Empty | NumberError::NotADigit(_)) => {
            Err(Fault::Malformed("number"))
        }
        Ok(units) => Ok(Some(units)),
        Err(NumberError::TooLarge) => Ok(None),
        Err(NumberError::TooFine) => Err(Fault::Beyond),
    };
    let (price, quantity) = (units(price)?, units(quantity)?);
    let Some(price) = price else {
        return Ok(());
    };
    let level = Level {
        price: Price(price),
        quantity: Quantity(quantity.unwrap_or(i64::MAX)),
    };
    events.push(side, level).ok_or(Fault::Malformed("level"))
}
