//! A side of 1,000 levels, and changes of single levels, most of them near the best.

use expressnet::model::instrument::Market;
use expressnet::model::market::{BookUpdate, Level, UpdateKind};
use expressnet::model::number::{Price, Quantity};
use expressnet::model::random::Random;
use expressnet::model::time::{Span, Time};

/// Levels of the side.
pub(crate) const LEVELS: i64 = 1_000;
const CHANGES: usize = 8_192;

/// Two prices that stand beside each other.
pub(crate) const TICK: i64 = 1_000_000;

/// Whose side it is.
pub(crate) fn market() -> Market {
    Market {
        venue: "made".parse().unwrap(),
        pair: "BTC/USD".parse().unwrap(),
    }
}

/// Every change sets a level; one of three takes it away.
pub(crate) fn changes() -> Vec<Level> {
    let mut random = Random::new(3);
    let mut change = || {
        let bits = random.between(1, 10);
        let near = random.below(1 << bits);
        let depth = i64::try_from(near).unwrap().min(LEVELS - 1);
        Level {
            price: Price((LEVELS - depth) * TICK),
            quantity: Quantity(i64::try_from(random.below(3)).unwrap() * 100_000_000),
        }
    };
    (0..CHANGES).map(|_| change()).collect()
}

/// The side before the first change.
pub(crate) fn full() -> Vec<Level> {
    let level = |price| Level {
        price: Price(price * TICK),
        quantity: Quantity(100_000_000),
    };
    (1..=LEVELS).map(level).collect()
}

/// What a feed would tell of that side.
#[inline]
pub(crate) fn update(
    market: Market,
    kind: UpdateKind,
    sequence: u64,
    bids: &[Level],
) -> BookUpdate<'_> {
    BookUpdate {
        market,
        kind,
        sequence,
        bids,
        asks: &[],
        venue_time: Time::ZERO,
        engine_lag: Span::ZERO,
    }
}
