//! How MtGox counts money: integers with implied decimals, per currency.

use crate::model::currency::Currency;
use crate::model::number::{Price, Quantity};

/// Decimals of a venue's integers that differ from the fiat default of five.
const DECIMALS: [(&str, u32); 5] = [("BTC", 8), ("LTC", 8), ("NMC", 8), ("JPY", 3), ("SEK", 3)];

/// Returns how many decimals an integer amount of a currency has.
pub fn decimals(currency: Currency) -> u32 {
    let known = DECIMALS.iter().find(|(name, _)| *name == currency.as_str());
    known.map_or(5, |(_, decimals)| *decimals)
}

/// Returns the smallest amount of a currency.
pub fn step(currency: Currency) -> Quantity {
    Quantity(10_i64.pow(8 - decimals(currency)))
}

/// Returns an amount as the venue's integer, rounded down.
pub fn amount_int(amount: Quantity, currency: Currency) -> i64 {
    amount.0 / step(currency).0
}

/// Returns a price in a currency as the venue's integer, rounded down.
pub fn price_int(price: Price, currency: Currency) -> i64 {
    price.0 / step(currency).0
}

/// Returns the fee of one trade: a part of what is received, rounded up.
pub fn fee(received: Quantity, ppm: u32, currency: Currency) -> Quantity {
    let step = step(currency).0;
    let fee = received.ppm_ceil(ppm).0;
    let above = fee.saturating_add(step - 1);
    Quantity(above - above % step).min(received)
}
