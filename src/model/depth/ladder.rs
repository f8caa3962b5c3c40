//! A window of prices: a slot a tick, a bit for each slot that holds a level, a bit for each word of
//! bits that is not empty. Setting a level is an index, the next best one two counts of zeros.

use crate::model::market::{Level, Side};
use crate::model::number::{Price, Quantity};

const WORD: usize = 64;
/// One word tells which words of bits are empty.
const WORDS: usize = 64;
const SLOTS: usize = WORD * WORDS;
/// A window begins so far above its lowest slot, for most levels stand below the best one.
const BEST_AT: i64 = 3 * SLOTS as i64 / 4;
/// Below this slot a market has moved away, and the window moves after it.
const LOW: usize = SLOTS / 4;

/// A window of prices, its slots better the higher they are.
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    side: Side,
    tick: u64,
    /// The odd part's inverse modulo 2^64, and how often two divides the tick: an exact division is
    /// a product with the one, turned by the other, and whatever is no multiple comes out too high.
    inverse: u64,
    twos: u32,
    /// The key of slot 0.
    base: i64,
    quantities: [Quantity; SLOTS],
    bits: [u64; WORDS],
    words: u64,
    len: usize,
    /// The highest slot that holds a level; 0 where none does.
    best: usize,
}

/// Where a key belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    At(usize),
    /// Worse than every slot.
    Below,
    /// Better than every slot.
    Above,
    /// Between two slots.
    Between,
}

impl Ladder {
    pub(super) const SLOTS: usize = SLOTS;

    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            tick: 1,
            inverse: 1,
            twos: 0,
            base: 0,
            quantities: [Quantity(0); SLOTS],
            bits: [0; WORDS],
            words: 0,
            len: 0,
            best: 0,
        }
    }

    /// Lays an empty window around a best key; false where no such window can be.
    pub(super) fn begin(&mut self, tick: u64, best: i64) -> bool {
        let base = i64::try_from(tick).ok().and_then(|tick| {
            let base = best.checked_sub(tick.checked_mul(BEST_AT)?)?;
            base.checked_add(tick.checked_mul(SLOTS as i64)?)?;
            (tick > 0).then_some(base)
        });
        let Some(base) = base else {
            return false;
        };
        self.tick = tick;
        self.twos = tick.trailing_zeros();
        self.inverse = inverse_of_odd(tick >> self.twos);
        self.base = base;
        true
    }

    pub(super) fn tick(&self) -> u64 {
        self.tick
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn place(&self, key: i64) -> Place {
        let above = key.wrapping_sub(self.base).cast_unsigned();
        let slot = above.wrapping_mul(self.inverse).rotate_right(self.twos);
        match usize::try_from(slot) {
            Ok(slot) if slot < SLOTS => Place::At(slot),
            _ => self.place_beside(key),
        }
    }

    #[cold]
    fn place_beside(&self, key: i64) -> Place {
        if key < self.base {
            return Place::Below;
        }
        let above = key.wrapping_sub(self.base).cast_unsigned();
        if above / self.tick >= SLOTS as u64 {
            Place::Above
        } else {
            Place::Between
        }
    }

    /// Sets the level of a slot; returns true where none was there.
    #[inline]
    pub(super) fn set(&mut self, slot: usize, quantity: Quantity) -> bool {
        let there = &mut self.quantities[slot % SLOTS];
        let is_new = there.0 == 0;
        *there = quantity;
        if is_new {
            let word = slot / WORD % WORDS;
            self.bits[word] |= 1 << (slot % WORD);
            self.words |= 1 << word;
            self.len += 1;
            self.best = self.best.max(slot);
        }
        is_new
    }

    #[inline]
    pub(super) fn remove(&mut self, slot: usize) {
        let there = &mut self.quantities[slot % SLOTS];
        if there.0 == 0 {
            return;
        }
        *there = Quantity(0);
        let word = slot / WORD % WORDS;
        self.bits[word] &= !(1 << (slot % WORD));
        if self.bits[word] == 0 {
            self.words &= !(1 << word);
        }
        self.len -= 1;
        if slot == self.best {
            self.best = self.next_below(slot).unwrap_or(0);
        }
    }

    pub(super) fn remove_worst(&mut self) {
        if self.words != 0 {
            let word = lowest(self.words);
            self.remove(word * WORD + lowest(self.bits[word]));
        }
    }

    #[inline]
    pub(super) fn best(&self) -> Option<usize> {
        (self.len > 0).then_some(self.best)
    }

    /// Returns the highest slot below another that holds a level.
    #[inline]
    pub(super) fn next_below(&self, end: usize) -> Option<usize> {
        let (word, bit) = (end / WORD, end % WORD);
        let here = self
            .bits
            .get(word)
            .map_or(0, |bits| bits & ((1 << bit) - 1));
        if here != 0 {
            return Some(word * WORD + highest(here));
        }
        let words = match word {
            0..WORDS => self.words & ((1 << word) - 1),
            _ => self.words,
        };
        if words == 0 {
            return None;
        }
        let word = highest(words);
        Some(word * WORD + highest(self.bits[word % WORDS]))
    }

    /// Returns how many slots below another hold a level.
    pub(super) fn count_below(&self, end: usize) -> usize {
        if end == SLOTS {
            return self.len;
        }
        let (words, bit) = (end / WORD, end % WORD);
        let here = self.bits[words] & ((1 << bit) - 1);
        let ones = |bits: &u64| bits.count_ones() as usize;
        self.bits[..words].iter().map(ones).sum::<usize>() + ones(&here)
    }

    #[inline]
    pub(super) fn level(&self, slot: usize) -> Level {
        let key = self.base + (slot as u64 * self.tick).cast_signed();
        let price = match self.side {
            Side::Bid => key,
            Side::Ask => -key,
        };
        Level {
            price: Price(price),
            quantity: self.quantities[slot % SLOTS],
        }
    }

    /// True where the window holds nothing, or little, while there are levels below it.
    #[inline]
    pub(super) fn wants_to_move(&self, has_below: bool) -> bool {
        self.best < LOW && (has_below || self.len == 0)
    }

    /// Gives every level away, the worst first.
    pub(super) fn drain_into(&mut self, levels: &mut Vec<Level>) {
        while self.words != 0 {
            let word = lowest(self.words);
            let slot = word * WORD + lowest(self.bits[word]);
            levels.push(self.level(slot));
            self.quantities[slot % SLOTS] = Quantity(0);
            self.bits[word] &= self.bits[word] - 1;
            if self.bits[word] == 0 {
                self.words &= !(1 << word);
            }
        }
        (self.len, self.best) = (0, 0);
    }
}

#[inline]
fn highest(bits: u64) -> usize {
    (bits.ilog2()) as usize
}

#[inline]
fn lowest(bits: u64) -> usize {
    bits.trailing_zeros() as usize
}

/// Returns what an odd number is to be multiplied with for 1 modulo 2^64: each step of Newton's
/// doubles the bits that are right, and a number is its own inverse to three bits.
fn inverse_of_odd(odd: u64) -> u64 {
    let mut inverse = odd;
    for _ in 0..5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
    }
    inverse
}
