//! Every way in which the exchange says no, in its own words.

use std::borrow::Cow;

use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::venue::btce::json::Object;
use crate::venue::btce::style::{ListShape, NonceText, Style, Wording};

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    // Public documents.
    InvalidPair(String),
    EmptyPairs,
    DuplicatedPair(String),
    InvalidDocument,
    // Keys.
    KeyMissing,
    KeyUnknown,
    SignWrong,
    /// The highest nonce so far, and what was sent.
    Nonce(u64, String),
    Permission(&'static str),
    TooOften,
    // Methods.
    InvalidMethod,
    Parameter(&'static str),
    /// One of the fields is not what it must be, and which one is not told.
    Fields,
    NotAvailable,
    NoOrders,
    NoTrades,
    NoTransactions,
    // Orders.
    QuantityMin(Currency, Quantity),
    PriceMin(Pair, Price),
    PriceMax(Pair, Price),
    TotalMin(Quantity),
    Funds(Side, Pair),
    NoSuchOrder(String),
    OrderEnded,
}

impl Refusal {
    /// Writes the document that says so; its status is 200.
    pub(super) fn document(&self, style: &Style) -> String {
        let is_empty = matches!(self, Self::NoOrders | Self::NoTrades);
        if is_empty && style.lists == ListShape::Yobit {
            return Object::new().put("success", 1).end();
        }
        let answer = Object::new().put("success", 0);
        let coded = match style.wording {
            Wording::Btce => None,
            Wording::Coded => self.coded(),
        };
        let answer = match coded {
            Some((code, text)) => answer.put("code", code).text("error", &text),
            None => answer.text("error", &self.text(style.nonce_text)),
        };
        answer.end()
    }

    fn text(&self, nonce_text: NonceText) -> Cow<'static, str> {
        match self {
            Self::InvalidPair(name) => format!("Invalid pair name: {name}").into(),
            Self::EmptyPairs => "Empty pair list".into(),
            Self::DuplicatedPair(name) => format!("Duplicated pair name: {name}").into(),
            Self::InvalidDocument => "Invalid method".into(),
            Self::KeyMissing => "api key not specified".into(),
            Self::KeyUnknown => "invalid api key".into(),
            Self::SignWrong => "invalid sign".into(),
            Self::Nonce(last, sent) => nonce_refusal(nonce_text, *last, sent).into(),
            Self::Permission(what) => format!("api key dont have {what} permission").into(),
            Self::TooOften => "Requests too often".into(),
            Self::InvalidMethod => "invalid method".into(),
            Self::Parameter(name) => format!("invalid parameter: {name}").into(),
            Self::Fields => "You incorrectly entered one of fields.".into(),
            Self::NotAvailable => "not available".into(),
            Self::NoOrders => "no orders".into(),
            Self::NoTrades => "no trades".into(),
            Self::NoTransactions => "no transactions".into(),
            Self::QuantityMin(currency, least) => {
                format!("Value {currency} must be greater than {least} {currency}.").into()
            }
            Self::PriceMin(Pair { base, quote }, least) => {
                format!("Price per {base} must be greater than {least} {quote}.").into()
            }
            Self::PriceMax(Pair { base, quote }, most) => {
                format!("Price per {base} must be less than {most} {quote}.").into()
            }
            Self::TotalMin(least) => format!("Total must be greater than {least}.").into(),
            Self::Funds(Side::Bid, pair) => {
                let quote = pair.quote;
                format!("It is not enough {quote} in the account for purchase.").into()
            }
            Self::Funds(Side::Ask, pair) => {
                let base = pair.base;
                format!("It is not enough {base} in the account for sale.").into()
            }
            Self::NoSuchOrder(_) => "invalid order".into(),
            Self::OrderEnded => "bad status".into(),
        }
    }

    /// Returns what has a number, with the words that go with it. They are read in clients of
    /// Liqui and YoBit, whose authors noted them; the misspelling is the exchange's.
    fn coded(&self) -> Option<(u16, String)> {
        match self {
            Self::QuantityMin(_, least) => {
                Some((803, format!("Count could not be less than {least}.")))
            }
            Self::PriceMin(_, least) => {
                Some((805, format!("price could not be less than {least}.")))
            }
            Self::PriceMax(_, most) => Some((806, format!("price could not be more than {most}."))),
            Self::TotalMin(least) => Some((807, format!("cost could not be less than {least}."))),
            Self::Funds(Side::Bid, pair) => Some((
                831,
                format!("Not enougth {} to create buy order.", pair.quote),
            )),
            Self::Funds(Side::Ask, pair) => Some((
                832,
                format!("Not enougth {} to create sell order.", pair.base),
            )),
            Self::NoSuchOrder(id) => Some((833, format!("Order with id {id} was not found."))),
            Self::OrderEnded => Some((
                833,
                "The given order has already been closed and cannot be cancelled.".to_owned(),
            )),
            Self::InvalidPair(_)
            | Self::EmptyPairs
            | Self::DuplicatedPair(_)
            | Self::InvalidDocument
            | Self::KeyMissing
            | Self::KeyUnknown
            | Self::SignWrong
            | Self::Nonce(..)
            | Self::Permission(_)
            | Self::TooOften
            | Self::InvalidMethod
            | Self::Parameter(_)
            | Self::Fields
            | Self::NotAvailable
            | Self::NoOrders
            | Self::NoTrades
            | Self::NoTransactions => None,
        }
    }
}

fn nonce_refusal(text: NonceText, last: u64, sent: &str) -> String {
    let next = last.saturating_add(1);
    let head = format!("invalid nonce parameter; on key:{last}, you sent:");
    match text {
        NonceText::Bare => format!("{head}{sent}"),
        NonceText::Quoted => format!("{head}'{sent}'"),
        NonceText::Advising => format!("{head}'{sent}', you should send:{next}"),
        NonceText::Used => "invalid nonce (has already been used)".to_owned(),
    }
}
