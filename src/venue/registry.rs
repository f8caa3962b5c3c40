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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Time;
    use crate::venue::DecodeError;
    use crate::venue::trial::setup;

    #[test]
    fn no_feed_reads_a_frame_that_is_too_long() {
        let long = vec![b' '; 16 * 1024 * 1024 + 1];
        for dialect in VENUES {
            let mut feed = dialect.feed(&setup("venue", ["BTC/USD", "ETH/USD"]));
            let said = feed.decode(&long, Time(1), &mut |_| ());
            let is_refused = matches!(
                said,
                Err(DecodeError::Malformed {
                    what: "too long",
                    ..
                })
            );
            assert!(is_refused, "{}: {said:?}", dialect.name());
        }
    }
}
