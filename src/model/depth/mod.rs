//! One side of a book: a level a price, the best first to whoever asks.
//!
//! ```text
//! worst ◀────────────── better ──────────────▶ best
//! sorted Vec, best last        │ ladder: a slot a tick, a bit a slot
//! what a snapshot brought and  │ begins once a side of many levels is changed often,
//! what stands below the ladder │ and moves with the market
//! ```
//! A ladder sets a level without moving others, a sorted Vec is dense and costs nothing to rebuild.
//! Sides that come as snapshots only, or have few levels, never get a ladder.

mod ladder;

use std::slice;

use crate::model::depth::ladder::{Ladder, Place};
use crate::model::market::{Level, Side};
use crate::model::number::Price;

/// Levels from the best one on that are searched first: most changes are there. Each next search is
/// over this many times as many.
const NEAR_LEVELS: usize = 16;
const WIDER: usize = 4;
/// Changes since the last snapshot, and levels, from which on a side may be worth a ladder: to begin
/// one costs as much as some hundred changes.
const LADDER_CHANGES: u32 = 512;
const LADDER_LEVELS: usize = 256;
/// Levels that a new ladder holds at the least. With fewer the tick is too fine for one, or the best
/// level too far from the others; the next is tried after some changes, twice as many each time.
const LADDER_WORTH: usize = 64;
const LADDER_PATIENCE_MAX: u32 = 1 << 20;

/// The levels of one side.
#[derive(Clone, Debug)]
pub struct Depth {
    side: Side,
    /// The best last. All of them where there is no ladder, or else what is worse than its lowest
    /// slot.
    sorted: Vec<Level>,
    ladder: Option<Box<Ladder>>,
    /// Changes to come until a ladder is tried, and how many that will be if it fails.
    until_ladder: u32,
    patience: u32,
}

/// The levels of a side, best first.
#[derive(Clone, Debug)]
pub struct Levels<'a> {
    ladder: Option<&'a Ladder>,
    /// Slots from this one on were told.
    told: usize,
    sorted: slice::Iter<'a, Level>,
}

impl Depth {
    /// Levels kept. One more, and the worst `GIVE_WAY` are dropped at once, itself among them or not.
    pub const LEVELS_MAX: usize = 1_024;
    pub const GIVE_WAY: usize = 64;

    pub fn new(side: Side) -> Self {
        Self {
            side,
            sorted: Vec::new(),
            ladder: None,
            until_ladder: LADDER_CHANGES,
            patience: LADDER_CHANGES,
        }
    }

    /// Forgets every level.
    pub fn clear(&mut self) {
        self.sorted.clear();
        self.ladder = None;
        self.until_ladder = LADDER_CHANGES;
        self.patience = LADDER_CHANGES;
    }

    /// Takes a whole side, in whatever order. Of more than `LEVELS_MAX` the best are kept; of two
    /// levels at one price the later counts.
    pub fn replace(&mut self, levels: &[Level]) {
        self.clear();
        self.sorted.extend_from_slice(levels);
        let side = self.side;
        // Snapshots come best first: turned around, sorting them is one look at each.
        self.sorted.reverse();
        self.sorted.sort_by_key(|level| key(side, level.price));
        // The sort is stable: of one price the one that came last stands first.
        self.sorted.dedup_by_key(|level| level.price);
        self.sorted.retain(|level| level.quantity.is_positive());
        let excess = self.sorted.len().saturating_sub(Self::LEVELS_MAX);
        self.sorted.drain(..excess);
    }

    /// Sets the total at a price; zero removes the level.
    #[inline]
    pub fn set(&mut self, level: Level) {
        let Some(ladder) = &mut self.ladder else {
            self.set_sorted(level);
            return self.count_change();
        };
        match ladder.place(key(self.side, level.price)) {
            Place::At(slot) if !level.quantity.is_positive() => {
                ladder.remove(slot);
                if ladder.wants_to_move(!self.sorted.is_empty()) {
                    self.move_ladder();
                }
            }
            Place::At(slot) => {
                if ladder.set(slot, level.quantity)
                    && ladder.len() + self.sorted.len() > Self::LEVELS_MAX
                {
                    self.give_way();
                }
            }
            Place::Below => self.set_sorted(level),
            Place::Above | Place::Between => self.set_beside(level),
        }
    }

    /// Returns the best level.
    #[inline]
    pub fn best(&self) -> Option<Level> {
        match &self.ladder {
            Some(ladder) => ladder.best().map(|slot| ladder.level(slot)),
            None => self.sorted.last().copied(),
        }
    }

    /// Returns the levels, best first.
    #[inline]
    pub fn levels(&self) -> Levels<'_> {
        Levels {
            ladder: self.ladder.as_deref(),
            told: Ladder::SLOTS,
            sorted: self.sorted.iter(),
        }
    }

    /// Returns the levels, best first, where they lie in one piece: walked in half the time.
    #[inline]
    pub fn dense(&self) -> Option<impl ExactSizeIterator<Item = Level>> {
        let levels = self.sorted.iter().rev().copied();
        self.ladder.is_none().then_some(levels)
    }

    pub fn len(&self) -> usize {
        self.sorted.len() + self.ladder.as_ref().map_or(0, |ladder| ladder.len())
    }

    pub fn is_empty(&self) -> bool {
        self.best().is_none()
    }

    fn count_change(&mut self) {
        if self.until_ladder > 0 {
            self.until_ladder -= 1;
        } else if self.sorted.len() >= LADDER_LEVELS {
            self.begin_ladder();
        }
    }

    /// Puts a ladder where the best levels are, a slot for whatever divides their prices.
    #[cold]
    fn begin_ladder(&mut self) {
        let best = self.sorted.iter().rev().take(LADDER_WORTH);
        let tick = best.fold(0, |tick, level| gcd(tick, level.price.0));
        self.build_ladder(tick);
    }

    fn build_ladder(&mut self, mut tick: u64) {
        // Each price between two slots makes the tick a half or less.
        while self.lay_ladder(tick) {
            let Some(between) = self.fill_ladder() else {
                break;
            };
            tick = gcd(tick, between.0);
            self.empty_ladder();
        }
        let len = self.ladder.as_ref().map_or(0, |ladder| ladder.len());
        if len >= LADDER_WORTH {
            self.patience = LADDER_CHANGES;
            return;
        }
        self.empty_ladder();
        self.ladder = None;
        self.until_ladder = self.patience;
        self.patience = self.patience.saturating_mul(2).min(LADDER_PATIENCE_MAX);
    }

    /// Lays an empty ladder around the best level; false where there can be none.
    fn lay_ladder(&mut self, tick: u64) -> bool {
        let laid = self.sorted.last().and_then(|best| {
            let mut ladder = match self.ladder.take() {
                Some(ladder) => ladder,
                None => Box::new(Ladder::new(self.side)),
            };
            let is_laid = ladder.begin(tick, key(self.side, best.price));
            is_laid.then_some(ladder)
        });
        self.ladder = laid;
        self.ladder.is_some()
    }

    /// Takes the levels from the sorted ones that have a slot, up to one that stands between two.
    fn fill_ladder(&mut self) -> Option<Price> {
        let ladder = self.ladder.as_mut()?;
        while let Some(level) = self.sorted.last() {
            match ladder.place(key(self.side, level.price)) {
                Place::At(slot) => ladder.set(slot, level.quantity),
                Place::Between => return Some(level.price),
                Place::Below | Place::Above => break,
            };
            self.sorted.pop();
        }
        None
    }

    /// Gives the levels of the ladder back to the sorted ones, all of which are worse.
    fn empty_ladder(&mut self) {
        if let Some(ladder) = &mut self.ladder {
            ladder.drain_into(&mut self.sorted);
        }
    }

    /// Moves the ladder to where the best levels are now.
    #[cold]
    fn move_ladder(&mut self) {
        let tick = self.ladder.as_ref().map_or(1, |ladder| ladder.tick());
        self.empty_ladder();
        self.build_ladder(tick);
    }

    /// Sets a level above all slots or between two of them: the ladder moves, or its tick is finer
    /// than was known. Nothing stands there that could be taken away.
    #[cold]
    fn set_beside(&mut self, level: Level) {
        let Some(ladder) = self.ladder.as_ref() else {
            return;
        };
        if level.quantity.is_positive() {
            let tick = gcd(ladder.tick(), level.price.0);
            self.empty_ladder();
            self.set_sorted(level);
            self.build_ladder(tick);
        }
    }

    /// Drops the worst levels.
    #[cold]
    fn give_way(&mut self) {
        let dropped = self.sorted.len().min(Self::GIVE_WAY);
        self.sorted.drain(..dropped);
        if let Some(ladder) = &mut self.ladder {
            for _ in dropped..Self::GIVE_WAY {
                ladder.remove_worst();
            }
        }
    }

    fn set_sorted(&mut self, level: Level) {
        let at = match self.side {
            Side::Bid => place(&self.sorted, |there| there.price < level.price),
            Side::Ask => place(&self.sorted, |there| there.price > level.price),
        };
        let stands = self
            .sorted
            .get(at)
            .is_some_and(|there| there.price == level.price);
        match (stands, level.quantity.is_positive()) {
            (true, true) => self.sorted[at].quantity = level.quantity,
            (true, false) => {
                self.sorted.remove(at);
            }
            (false, true) => {
                self.sorted.insert(at, level);
                if self.len() > Self::LEVELS_MAX {
                    self.give_way();
                }
            }
            (false, false) => (),
        }
    }
}

impl Iterator for Levels<'_> {
    type Item = Level;

    #[inline]
    fn next(&mut self) -> Option<Level> {
        match self.ladder {
            None => self.sorted.next_back().copied(),
            Some(ladder) => self.next_of_ladder(ladder),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let slots = self
            .ladder
            .map_or(0, |ladder| ladder.count_below(self.told));
        let left = slots + self.sorted.len();
        (left, Some(left))
    }
}

impl ExactSizeIterator for Levels<'_> {}

impl<'a> Levels<'a> {
    #[inline(never)]
    fn next_of_ladder(&mut self, ladder: &'a Ladder) -> Option<Level> {
        if let Some(slot) = ladder.next_below(self.told) {
            self.told = slot;
            return Some(ladder.level(slot));
        }
        self.ladder = None;
        self.sorted.next_back().copied()
    }
}

/// Returns a number that is greater for the better price.
#[inline]
fn key(side: Side, price: Price) -> i64 {
    match side {
        Side::Bid => price.0,
        Side::Ask => price.0.wrapping_neg(),
    }
}

/// Returns where a level stands or would stand, the best last.
fn place(levels: &[Level], is_worse: impl Fn(&Level) -> bool) -> usize {
    let mut end = levels.len();
    let mut width = NEAR_LEVELS;
    loop {
        let begin = levels.len().saturating_sub(width);
        if begin == 0 || is_worse(&levels[begin]) {
            return begin + levels[begin..end].partition_point(is_worse);
        }
        end = begin;
        width *= WIDER;
    }
}

/// Returns the largest number that divides both.
fn gcd(tick: u64, price: i64) -> u64 {
    let (mut one, mut other) = (tick, price.unsigned_abs());
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::number::Quantity;
    use crate::model::random::Random;

    fn level(price: i64, quantity: i64) -> Level {
        Level {
            price: Price(price),
            quantity: Quantity(quantity),
        }
    }

    /// What a side holds by its definition: quantities by key.
    #[derive(Default)]
    struct Plain(BTreeMap<i64, Level>);

    impl Plain {
        fn set(&mut self, side: Side, level: Level) {
            let key = key(side, level.price);
            if level.quantity.is_positive() {
                self.0.insert(key, level);
            } else {
                self.0.remove(&key);
            }
            if self.0.len() > Depth::LEVELS_MAX {
                for _ in 0..Depth::GIVE_WAY {
                    self.0.pop_first();
                }
            }
        }

        fn replace(&mut self, side: Side, levels: &[Level]) {
            self.0.clear();
            let quantities: BTreeMap<i64, Level> = levels
                .iter()
                .map(|level| (key(side, level.price), *level))
                .collect();
            let there = |(_, level): &(&i64, &Level)| level.quantity.is_positive();
            let kept = quantities.iter().filter(there).rev();
            self.0.extend(
                kept.take(Depth::LEVELS_MAX)
                    .map(|(key, level)| (*key, *level)),
            );
        }

        #[track_caller]
        fn assert_same(&self, depth: &Depth) {
            let best = self.0.last_key_value().map(|(_, level)| *level);
            assert_eq!(depth.best(), best);
            assert_eq!(depth.len(), self.0.len());
            assert_eq!(depth.levels().len(), depth.len());
            assert!(depth.levels().eq(self.0.values().rev().copied()));
        }
    }

    /// How a market behaves: its tick, how far its changes are from the best, how fast it moves.
    struct Market {
        tick: i64,
        /// One change of so many is off the tick.
        odd: u64,
        reach_ticks: u64,
        drift_ticks: i64,
    }

    /// Changes a side at random beside its definition; returns how often it had a ladder.
    fn play(side: Side, market: &Market, seed: u64) -> usize {
        let mut random = Random::new(seed);
        let (mut depth, mut plain) = (Depth::new(side), Plain::default());
        let mut middle = 1_000_000 * market.tick;
        let mut with_ladder = 0;
        for step in 0..6_000 {
            let ticks = |ticks: u64| i64::try_from(ticks).unwrap() * market.tick;
            let bits = random.below(market.reach_ticks.ilog2().into()) + 1;
            let behind = ticks(random.below(1 << bits));
            let price = match side {
                Side::Bid => middle - behind,
                Side::Ask => middle + behind,
            };
            let is_odd = random.below(market.odd) == 0;
            let quantity = i64::try_from(random.below(3)).unwrap();
            let change = level(price + i64::from(is_odd) * (market.tick / 2), quantity);
            depth.set(change);
            plain.set(side, change);
            if step % 1_500 == 40 {
                let count = i64::try_from(random.below(3_000)).unwrap();
                let levels: Vec<Level> = (0..count)
                    .map(|_| level(middle + ticks(random.below(2_000)), 1))
                    .collect();
                depth.replace(&levels);
                plain.replace(side, &levels);
            }
            plain.assert_same(&depth);
            middle += market.drift_ticks * ticks(random.below(3));
            with_ladder += usize::from(depth.ladder.is_some());
        }
        with_ladder
    }

    #[test]
    fn a_side_is_what_its_definition_says_with_and_without_a_ladder() {
        let calm = Market {
            tick: 100,
            odd: u64::MAX,
            reach_ticks: 1 << 11,
            drift_ticks: 0,
        };
        for side in [Side::Bid, Side::Ask] {
            for drift_ticks in [-7, -1, 0, 1, 7, 900] {
                for tick in [1, 3, 64, 1_000_000, 12_345_678] {
                    let moving = Market {
                        drift_ticks,
                        tick,
                        ..calm
                    };
                    let with_ladder = play(side, &moving, 1);
                    let is_wild = drift_ticks > 100;
                    assert!(is_wild || with_ladder > 1_000, "{drift_ticks} by {tick}");
                }
            }
            for (odd, reach_ticks) in [(500, 1 << 11), (3, 1 << 11), (u64::MAX, 1 << 16)] {
                let strange = Market {
                    odd,
                    reach_ticks,
                    ..calm
                };
                play(side, &strange, 2);
            }
        }
    }

    #[test]
    fn prices_at_the_ends_of_what_can_be_counted_are_levels_as_well() {
        for side in [Side::Bid, Side::Ask] {
            let (mut depth, mut plain) = (Depth::new(side), Plain::default());
            for step in 0..500_i64 {
                for price in [
                    i64::MAX - step,
                    1 + step,
                    i64::MAX / 2,
                    i64::MAX / (1 + step),
                ] {
                    let change = level(price, 1 + step % 2);
                    depth.set(change);
                    plain.set(side, change);
                    plain.assert_same(&depth);
                }
            }
        }
    }

    #[test]
    fn a_level_is_found_wherever_it_stands() {
        for len in 0..200 {
            let levels: Vec<Level> = (0..len).map(|price| level(2 * price, 1)).collect();
            for price in -1..=2 * len {
                let is_worse = |there: &Level| there.price.0 < price;
                let plain = levels.iter().take_while(|there| is_worse(there)).count();
                assert_eq!(place(&levels, is_worse), plain, "{price} of {len}");
            }
        }
    }

    #[test]
    fn a_full_side_drops_its_worst_levels() {
        let mut depth = Depth::new(Side::Bid);
        let count = i64::try_from(Depth::LEVELS_MAX).unwrap();
        let bids: Vec<Level> = (1..=count + 5).map(|price| level(price, 1)).collect();
        depth.replace(&bids);
        assert_eq!(depth.len(), Depth::LEVELS_MAX);
        assert_eq!(depth.levels().last(), Some(level(6, 1)));
        depth.set(level(count + 6, 1));
        assert_eq!(depth.len(), Depth::LEVELS_MAX + 1 - Depth::GIVE_WAY);
        assert_eq!(depth.best(), Some(level(count + 6, 1)));
    }
}
