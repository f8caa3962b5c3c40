//! What all served dialects share: their settings, where liquidity comes from, faults.

pub mod fault;
pub mod house;
pub mod market;

use thiserror::Error;

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::instrument::Pair;
use crate::model::market::{Rules, Side};
use crate::model::number::Quantity;
use crate::model::trade::Filled;
use crate::venue::Credentials;
use crate::venue::exchange::TransferError;
use crate::venue::serving::fault::Fault;
use crate::venue::serving::market::Source;

/// What a served venue is made of.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    pub rules: Rules,
    pub maker_fee_ppm: u32,
    pub markets: Vec<(Pair, Source)>,
    pub accounts: Vec<AccountSettings>,
    /// Everything random follows from it.
    pub seed: u64,
    /// Faults with how often they strike, in parts per million.
    pub faults: Vec<(Fault, u32)>,
    /// Requests of one key in a second.
    pub requests_per_s: u16,
    /// A named set of habits of one venue at one time; the dialect knows which there are.
    pub personality: Option<String>,
}

/// One customer of a served venue.
#[derive(Clone, Debug)]
pub struct AccountSettings {
    pub credentials: Credentials,
    pub balances: Vec<(Currency, Quantity)>,
    pub may_withdraw: bool,
}

/// What a venue's own books say, to be compared with those of its customers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// How often an order id was used a second time.
    pub duplicates: u64,
    /// A currency that does not add up, which never happens.
    pub imbalance: Option<Currency>,
    pub accounts: Vec<AccountAudit>,
}

/// One customer in an [`Audit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountAudit {
    pub key: String,
    /// Free, and held by open orders.
    pub balances: Vec<(Currency, Quantity, Quantity)>,
    pub orders: Vec<OrderAudit>,
}

/// One order that a customer named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderAudit {
    pub id: OrderId,
    pub pair: Pair,
    pub side: Side,
    pub filled: Filled,
}

/// Why a served venue cannot be made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SetupError {
    #[error("this dialect is watched only: it has no served side")]
    NotServed,
    #[error("market {0} is named twice, or there are too many")]
    Market(Pair),
    #[error("personality `{found}` is unknown here; known: {known}")]
    Personality { found: String, known: &'static str },
    #[error("two accounts have the key `{0}`")]
    KeyTwice(String),
    #[error("there are too many accounts")]
    Accounts,
    #[error("account `{key}` cannot have that much")]
    Balance {
        key: String,
        #[source]
        source: TransferError,
    },
}
