//! The offer pipeline: fill from own funds, scatter, answer, gather, aggregate, accept, release.

pub mod answer;
pub mod best;
pub mod gather;
pub mod hold;
pub mod origin;
pub mod relay;

use crate::model::currency::{Currency, Method, Methods};
use crate::model::ids::{MatchId, NodeId, OfferId};
use crate::model::instrument::Market;
use crate::model::number::{Price, Quantity};
use crate::model::offer::{Ask, NoAnswer, Part};
use crate::model::time::Span;

/// What the owner says about offers, made and answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Methods for own offers, in order of preference.
    pub methods: Methods,
    /// Nothing smaller becomes an offer, by currency given.
    pub offer_min: Vec<(Currency, Quantity)>,
    /// Smallest part that is accepted, by currency given.
    pub part_min: Vec<(Currency, Quantity)>,
    /// How long an own offer stands.
    pub ttl: Span,
    /// How long answers are gathered before the best set is taken; at least two round trips.
    pub gather: Span,
    /// How long matchers are asked to hold their funds.
    pub hold: Span,
    /// Wait between two offers of the same currencies.
    pub cooldown: Span,
    /// What a payment by this method is worth less: cost, delay, charge-back.
    pub haircuts: Vec<(Method, u32)>,
    /// Most that is accepted by one method in one offer, in the wanted currency.
    pub method_caps: Vec<(Method, Currency, Quantity)>,
    /// Money this node can pay with, by method.
    pub rails: Vec<RailFunds>,
    /// What this node answers to offers of others; the first rule that fits decides.
    pub rules: Vec<Rule>,
}

/// An account that matches are paid from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RailFunds {
    pub method: Method,
    pub currency: Currency,
    pub amount: Quantity,
}

/// A rule for answering offers that give `give` for `want`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub give: Currency,
    pub want: Currency,
    pub methods: Methods,
    /// Offers below this are not answered.
    pub threshold: Quantity,
    /// Most that is taken of one offer.
    pub size_max: Quantity,
    pub price: RulePrice,
    /// Parts above this wait for the owner.
    pub approve_above: Option<Quantity>,
}

/// Where a rule takes its price from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulePrice {
    Fixed(Price),
    /// Follows the node's own book: the price at which the given currency could be sold there
    /// (or bought, where it is the quote), less the spread. A stale book gives no answer.
    Book {
        market: Market,
        spread_ppm: u32,
    },
}

/// What the pipeline says to other nodes. `Accept`, `Confirm` (of more than nothing) and `Seal` are
/// durable before they leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    Ask {
        ask: Ask,
        answer_within: Span,
        hold: Span,
    },
    Match {
        offer: OfferId,
        id: MatchId,
        part: Part,
        hold: Span,
    },
    NoMatch {
        offer: OfferId,
        why: NoAnswer,
    },
    Accept {
        offer: OfferId,
        id: MatchId,
        quantity: Quantity,
    },
    Confirm {
        offer: OfferId,
        id: MatchId,
        quantity: Quantity,
        total: Quantity,
    },
    Release {
        offer: OfferId,
        id: MatchId,
    },
    Seal {
        offer: OfferId,
        id: MatchId,
    },
    Lapse {
        offer: OfferId,
        id: MatchId,
    },
    Withdraw {
        offer: OfferId,
    },
}

/// Something to say, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saying {
    pub to: NodeId,
    pub say: Say,
}

/// Bugs that can be planted to prove that the simulator's checkers have teeth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The origin forgets that what it is accepting is not open any more.
    pub double_accept: bool,
    /// The matcher honours an accept after its hold has ended.
    pub late_hold: bool,
}

/// Returns the amount listed for a currency.
pub fn listed(amounts: &[(Currency, Quantity)], currency: Currency) -> Option<Quantity> {
    amounts
        .iter()
        .find(|(listed, _)| *listed == currency)
        .map(|(_, amount)| *amount)
}
