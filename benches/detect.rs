//! Best prices of V venues of one pair: what a change costs to be compared with all the others.
//! `benches/README.md` tells how to run and read it.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(clippy::float_arithmetic, reason = "figures of a bench are no money")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock around what it measures"
)]

mod harness;

use expressnet::arbitrage::bests::{Bests, Bounds, Slot};
use expressnet::model::instrument::{Market, Pair};
use expressnet::model::number::Price;
use expressnet::model::random::Random;

use crate::harness::{Figure, Rounds, compare, keep, pin, report};

/// Numbers of venues that trade one pair.
const VENUES: [usize; 5] = [2, 4, 8, 32, 128];
/// Changes of one round.
const CHANGES: usize = 4_096;
const BOUNDS: Bounds = Bounds {
    buy_ppm: 1_002_500,
    sell_ppm: 997_500,
};

/// One venue's best prices move.
#[derive(Clone, Copy)]
struct Change {
    venue: usize,
    ask: Price,
    bid: Price,
}

fn main() {
    let is_quick = !std::env::args().any(|argument| argument == "--bench");
    let rounds = Rounds(if is_quick { 3 } else { 301 });
    pin();
    let figures: Vec<Figure> = VENUES
        .iter()
        .map(|venues| {
            let changes = calm(*venues);
            let (mut bests, slots) = table(*venues);
            let mut prices = vec![(Price(i64::MAX / 2_000_000), Price::ZERO); *venues];
            compare(
                &format!("detect_{venues}_venues"),
                rounds,
                changes.len(),
                (
                    || (),
                    |(): &mut ()| {
                        for change in &changes {
                            let slot = slots[change.venue];
                            bests.set(slot, Some(change.ask), Some(change.bid));
                            keep(bests.crosses(slot));
                        }
                    },
                ),
                (
                    "all pairs",
                    || (),
                    |(): &mut ()| {
                        for change in &changes {
                            prices[change.venue] = (change.ask, change.bid);
                            keep(naive(&prices));
                        }
                    },
                ),
            )
        })
        .collect();
    report("detect", &figures);
    check();
}

/// What ours calls a crossing is one of all pairs.
fn check() {
    let changes = calm(8);
    let (mut bests, slots) = table(8);
    let mut prices = vec![(Price(i64::MAX / 2_000_000), Price::ZERO); 8];
    for change in &changes {
        let slot = slots[change.venue];
        bests.set(slot, Some(change.ask), Some(change.bid));
        prices[change.venue] = (change.ask, change.bid);
        assert_eq!(bests.crosses(slot), naive(&prices).is_some());
    }
}

/// Prices that wander around one middle and nearly touch.
fn calm(venues: usize) -> Vec<Change> {
    let mut random = Random::new(7);
    let mut middles = vec![10_000_000_000_i64; venues];
    (0..CHANGES)
        .map(|_| {
            let venue = usize::try_from(random.below(venues as u64)).unwrap();
            let step = i64::try_from(random.below(2_000_001)).unwrap() - 1_000_000;
            // Drawn back to the middle, so that fees are never paid by it.
            middles[venue] += step - (middles[venue] - 10_000_000_000) / 16;
            Change {
                venue,
                ask: Price(middles[venue] + 2_000_000),
                bid: Price(middles[venue] - 2_000_000),
            }
        })
        .collect()
}

fn table(venues: usize) -> (Bests, Vec<Slot>) {
    let pair: Pair = "BTC/USD".parse().unwrap();
    let mut bests = Bests::default();
    let slots = (0..venues)
        .map(|venue| {
            let venue = format!("v{venue}").parse().unwrap();
            bests.add(Market { venue, pair }, BOUNDS).unwrap()
        })
        .collect();
    (bests, slots)
}

/// Compares every ask with every bid, as one would write it down first. 64 bits do for these prices.
fn naive(prices: &[(Price, Price)]) -> Option<(usize, usize)> {
    let mut best = None;
    let mut most = 0;
    for (buy, (ask, _)) in prices.iter().enumerate() {
        let cost = ask.0 * BOUNDS.buy_ppm;
        for (sell, (_, bid)) in prices.iter().enumerate() {
            let left = bid.0 * BOUNDS.sell_ppm - cost;
            if buy != sell && left > most {
                (best, most) = (Some((buy, sell)), left);
            }
        }
    }
    best
}
