//! The words of the simulated venue, as they stand on its wire.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::model::market::{Level, Side};
use crate::model::trade::VenueOrderState;
use crate::venue::Refusal;
use crate::venue::exchange::{Order, Trade};

/// A frame from the venue.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "ch", rename_all = "lowercase")]
pub(super) enum Frame<'a> {
    #[serde(borrow)]
    Book(Book<'a>),
    #[serde(borrow)]
    Order(OrderRow<'a>),
    Lag {
        us: u64,
    },
    Login {
        ok: bool,
    },
    Error {
        #[serde(borrow)]
        what: Cow<'a, str>,
    },
    Alive,
    #[serde(other, skip_serializing)]
    Other,
}

/// A snapshot or a delta. The order of the fields is the order on the wire.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Book<'a> {
    #[serde(borrow)]
    pub(super) pair: Cow<'a, str>,
    pub(super) kind: BookKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prev: Option<u64>,
    pub(super) seq: u64,
    #[serde(borrow)]
    pub(super) ts: Cow<'a, str>,
    pub(super) lag_us: u64,
    #[serde(borrow)]
    pub(super) bids: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    #[serde(borrow)]
    pub(super) asks: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum BookKind {
    Snapshot,
    Delta,
}

/// A frame from a client.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(super) enum Operation {
    Subscribe {
        pairs: Vec<String>,
    },
    Resync {
        pair: String,
    },
    Login {
        key: String,
        nonce: u64,
        sign: String,
    },
}

/// One order, in frames and in replies.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct OrderRow<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) pair: Cow<'a, str>,
    pub(super) side: SideWord,
    #[serde(borrow)]
    pub(super) limit: Cow<'a, str>,
    pub(super) state: StateWord,
    #[serde(borrow)]
    pub(super) filled: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) total: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) fee: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) remaining: Cow<'a, str>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SideWord {
    Bid,
    Ask,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StateWord {
    Pending,
    Open,
    Closed,
    Rejected,
}

/// Body of `POST /order`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) pair: Cow<'a, str>,
    pub(super) side: SideWord,
    pub(super) quantity: Cow<'a, str>,
    pub(super) limit: Cow<'a, str>,
}

/// Body of `POST /cancel`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cancel<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) pair: Cow<'a, str>,
}

/// Body of `POST /orders`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrdersFrom<'a> {
    pub(super) from: Cow<'a, str>,
}

/// Reply to `/order` and `/cancel`.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct One<'a> {
    #[serde(borrow)]
    pub(super) order: OrderRow<'a>,
}

/// Reply to `/orders`, by id; `end` is false where there are more than fit.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Many<'a> {
    #[serde(borrow)]
    pub(super) orders: Vec<OrderRow<'a>>,
    pub(super) end: bool,
}

/// Reply to `/account`.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Account<'a> {
    #[serde(borrow)]
    pub(super) balances: Vec<BalanceRow<'a>>,
    pub(super) rights: Rights,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct BalanceRow<'a> {
    #[serde(borrow)]
    pub(super) currency: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) free: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) held: Cow<'a, str>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Rights {
    pub(super) trade: bool,
    pub(super) withdraw: bool,
}

/// Any reply that refuses.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Refused<'a> {
    #[serde(borrow)]
    pub(super) error: Cow<'a, str>,
}

/// Reply to `GET /trades`.
#[derive(Debug, Serialize)]
pub(super) struct Trades {
    pub(super) trades: Vec<TradeRow>,
}

#[derive(Debug, Serialize)]
pub(super) struct TradeRow {
    no: u64,
    ts: String,
    price: String,
    quantity: String,
    taker: SideWord,
}

/// Reply to `GET /rules`.
#[derive(Debug, Serialize)]
pub(super) struct RulesReply {
    pub(super) pairs: Vec<String>,
    pub(super) tick: String,
    pub(super) lot: String,
    pub(super) quantity_min: String,
    pub(super) taker_fee_ppm: u32,
    pub(super) maker_fee_ppm: u32,
    pub(super) fee_in: &'static str,
}

/// Every refusal with its word and its status. A status of the five hundreds would say that the
/// outcome is unknown, so none stands here.
const REFUSALS: [(Refusal, &str, u16); 8] = [
    (Refusal::Funds, "funds", 409),
    (Refusal::Rule, "rule", 400),
    (Refusal::NoSuchOrder, "no-such-order", 404),
    (Refusal::Duplicate, "duplicate", 409),
    (Refusal::Throttled, "throttled", 429),
    (Refusal::Access, "access", 401),
    (Refusal::Closed, "closed", 423),
    (Refusal::Other, "request", 400),
];

pub(super) fn refusal_word(refusal: Refusal) -> (&'static str, u16) {
    let row = REFUSALS.iter().find(|(known, ..)| *known == refusal);
    row.map_or(("request", 400), |(_, word, status)| (*word, *status))
}

pub(super) fn refusal_of_word(word: &str) -> Option<Refusal> {
    let row = REFUSALS.iter().find(|(_, known, _)| *known == word);
    row.map(|(refusal, ..)| *refusal)
}

impl OrderRow<'static> {
    pub(super) fn of(order: &Order) -> Self {
        Self {
            id: order.id.unwrap_or_default().to_string().into(),
            pair: order.pair.to_string().into(),
            side: order.side.into(),
            limit: order.limit.to_string().into(),
            state: order.state.into(),
            filled: order.filled.quantity.to_string().into(),
            total: order.filled.total.to_string().into(),
            fee: order.filled.fee.to_string().into(),
            remaining: order.remaining.to_string().into(),
        }
    }
}

impl TradeRow {
    pub(super) fn of(trade: &Trade) -> Self {
        Self {
            no: trade.no,
            ts: trade.at.0.to_string(),
            price: trade.price.to_string(),
            quantity: trade.quantity.to_string(),
            taker: trade.taker.into(),
        }
    }
}

pub(super) fn rows_of(
    levels: impl IntoIterator<Item = Level>,
) -> Vec<(Cow<'static, str>, Cow<'static, str>)> {
    levels
        .into_iter()
        .map(|level| {
            (
                level.price.to_string().into(),
                level.quantity.to_string().into(),
            )
        })
        .collect()
}

/// Writes a message; these types always have a JSON form.
pub(super) fn json_of(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("texts, numbers and lists always have a JSON form")
}

impl From<Side> for SideWord {
    fn from(side: Side) -> Self {
        match side {
            Side::Bid => Self::Bid,
            Side::Ask => Self::Ask,
        }
    }
}

impl From<SideWord> for Side {
    fn from(word: SideWord) -> Self {
        match word {
            SideWord::Bid => Self::Bid,
            SideWord::Ask => Self::Ask,
        }
    }
}

impl From<VenueOrderState> for StateWord {
    fn from(state: VenueOrderState) -> Self {
        match state {
            VenueOrderState::Pending => Self::Pending,
            VenueOrderState::Open => Self::Open,
            VenueOrderState::Closed => Self::Closed,
            VenueOrderState::Rejected => Self::Rejected,
        }
    }
}

impl From<StateWord> for VenueOrderState {
    fn from(word: StateWord) -> Self {
        match word {
            StateWord::Pending => Self::Pending,
            StateWord::Open => Self::Open,
            StateWord::Closed => Self::Closed,
            StateWord::Rejected => Self::Rejected,
        }
    }
}
