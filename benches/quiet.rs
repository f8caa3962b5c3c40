//! A frame of the venue that changes the book and is worth no trade.

use expressnet::model::market::{Level, Side};
use expressnet::model::number::Quantity;
use expressnet::model::random::Random;

use crate::leader::{LEVELS, Leader, Probe};

/// Makes new totals for two bids and an ask somewhere in the book.
pub(crate) fn quiet_frame<P: Probe>(leader: &mut Leader<P>, random: &mut Random) -> Vec<u8> {
    let mut level = |side: Side, low: i64, high: i64| {
        let (low, high) = (low.unsigned_abs(), high.unsigned_abs());
        let index = i64::try_from(random.between(low, high)).unwrap();
        let lots = i64::try_from(random.between(10, 999)).unwrap();
        Level {
            price: Leader::<P>::price(side, index),
            quantity: Quantity(lots * 1_000_000),
        }
    };
    let bids = [
        level(Side::Bid, 0, LEVELS / 2 - 1),
        level(Side::Bid, LEVELS / 2, LEVELS - 1),
    ];
    let asks = [level(Side::Ask, 0, LEVELS - 1)];
    leader.delta(&bids, &asks)
}
