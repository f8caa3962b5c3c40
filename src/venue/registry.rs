//! The table of exchange dialects: one line a venue. Everything that lists venues reads it.

use crate::venue::Dialect;

/// Every dialect, in the order in which lists show them.
pub const VENUES: &[&dyn Dialect] = &[
    &crate::venue::simulated::Simulated,
    &crate::venue::mtgox::dialect::MTGOX,
    &crate::venue::mtgox::dialect::MTGOX_V1,
    &crate::venue::btce::dialect::BTCE_DIALECT,
    &crate::venue::btce::dialect::YOBIT_DIALECT,
    &crate::venue::kraken::dialect::Kraken,
    &crate::venue::coinbase::dialect::ADVANCED,
    &crate::venue::coinbase::dialect::EXCHANGE,
    &crate::venue::bitstamp::dialect::Bitstamp,
    &crate::venue::binance::dialect::BINANCE,
    &crate::venue::binance::dialect::BINANCE_FUTURES,
];

/// Finds a dialect by its name.
pub fn find(name: &str) -> Option<&'static dyn Dialect> {
    VENUES
        .iter()
        .copied()
        .find(|dialect| dialect.name() == name)
}
