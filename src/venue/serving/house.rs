//! What every served venue does alike with the matching engine behind it.

use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::number::Quantity;
use crate::venue::exchange::account::Balance;
use crate::venue::exchange::{AccountNo, Exchange, Order};
use crate::venue::serving::{AccountAudit, OrderAudit, SetupError};

/// What the house has of every currency, in whole units: more than any test can spend, and nine of
/// it still fit into an amount.
const HOUSE_UNITS: i64 = 10_000_000_000;

/// Opens a market and gives the house what it quotes with.
///
/// # Errors
/// The market is open already, or there are too many.
pub fn open_market(
    exchange: &mut Exchange,
    house: AccountNo,
    pair: Pair,
) -> Result<(), SetupError> {
    if !exchange.open_market(pair) {
        return Err(SetupError::Market(pair));
    }
    for currency in [pair.base, pair.quote] {
        let has_some = exchange.balances(house).any(|(known, _)| known == currency);
        let all = Quantity::whole(HOUSE_UNITS);
        let is_endowed = has_some || exchange.credit(house, currency, all).is_ok();
        assert!(is_endowed, "the first credit of a currency fits");
    }
    Ok(())
}

/// Returns what the engine's books say of one customer.
pub fn audit_account(
    exchange: &Exchange,
    key: &str,
    account: AccountNo,
    orders: Vec<OrderAudit>,
) -> AccountAudit {
    let balances = exchange.balances(account);
    let row = |(currency, balance): (Currency, Balance)| (currency, balance.free, balance.held);
    AccountAudit {
        key: key.to_owned(),
        balances: balances.map(row).collect(),
        orders,
    }
}

/// Returns what an order came to, unless it is the house's.
pub fn audit_order(order: &Order) -> Option<OrderAudit> {
    Some(OrderAudit {
        id: order.id?,
        pair: order.pair,
        side: order.side,
        filled: order.filled,
    })
}
