//! What all served dialects share: their settings, where liquidity comes from, faults.

pub mod fault;
pub mod market;

use thiserror::Error;

use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::market::Rules;
use crate::model::number::Quantity;
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
}

/// One customer of a served venue.
#[derive(Clone, Debug)]
pub struct AccountSettings {
    pub credentials: Credentials,
    pub balances: Vec<(Currency, Quantity)>,
    pub may_withdraw: bool,
}

/// Why a served venue cannot be made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SetupError {
    #[error("market {0} is named twice, or there are too many")]
    Market(Pair),
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
