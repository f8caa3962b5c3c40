//! One book as deep as it was subscribed to, with the digits that its sum is taken over.

use crate::model::market::{Level, Side};
use crate::model::number::{Price, Quantity};
use crate::venue::kraken::change::{Change, DEPTH_MAX, Digits, LEVELS_MAX};

/// Levels of a side that the sum takes, from the best.
pub const SUMMED: usize = 10;

/// Both sides of a book, and the sum over their best levels.
#[derive(Debug)]
pub struct Depth {
    bids: Half,
    asks: Half,
    /// The sum over the asks alone; that over the bids goes on from it.
    sum_of_asks: u32,
    sum: u32,
}

impl Default for Depth {
    fn default() -> Self {
        Self {
            bids: Half::new(Side::Bid),
            asks: Half::new(Side::Ask),
            sum_of_asks: 0,
            sum: 0,
        }
    }
}

impl Depth {
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    /// Sets one level, or removes it where its quantity is zero.
    #[inline]
    pub fn apply(&mut self, side: Side, change: &Change) {
        match side {
            Side::Bid => self.bids.apply(change),
            Side::Ask => self.asks.apply(change),
        }
    }

    /// Forgets what lies deeper than `depth` levels: the exchange will not speak of it again. Each
    /// forgotten level is appended to `bids` or `asks` with quantity zero.
    #[inline]
    pub fn truncate(&mut self, depth: usize, bids: &mut Vec<Level>, asks: &mut Vec<Level>) {
        self.bids.truncate(depth, bids);
        self.asks.truncate(depth, asks);
    }

    /// Returns the CRC-32 over the ten best asks, then the ten best bids. What did not change is not
    /// written or summed again. Not inlined, so that its share can be counted.
    #[inline(never)]
    pub fn checksum(&mut self) -> u32 {
        if self.asks.is_changed {
            self.sum_of_asks = crc32fast::hash(self.asks.written());
        } else if !self.bids.is_changed {
            return self.sum;
        }
        let mut hasher = crc32fast::Hasher::new_with_initial(self.sum_of_asks);
        hasher.update(self.bids.written());
        self.sum = hasher.finalize();
        self.sum
    }

    /// Returns how many bids and asks there are.
    pub fn len(&self) -> (usize, usize) {
        (self.bids.len(), self.asks.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }
}

/// One side. Its levels ascend by `rank`, so the best is last and most changes are near the end.
#[derive(Debug)]
struct Half {
    side: Side,
    entries: Vec<Entry>,
    /// Entries before this one are forgotten; they leave in one go when they are many.
    start: usize,
    /// What was printed of each level, where its slot says; levels move, digits stay.
    printed: Vec<Digits>,
    free: Vec<u16>,
    /// One of the summed levels is other than when `text` was written.
    is_changed: bool,
    text: [u8; TEXT_LEN_MAX],
    text_len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The price of a bid, the negative price of an ask.
    rank: i64,
    slot: u16,
}

const TEXT_LEN_MAX: usize = SUMMED * Digits::LEN_MAX;
/// Forgotten entries that are kept until they are dropped at once.
const FORGOTTEN_MAX: usize = 256;
/// Levels that there is room for from the start: more than the deepest book and a frame have, so that
/// nothing is allocated while it lives.
const ROOM: usize = DEPTH_MAX + 64;
/// Slots never run out: a frame adds fewer levels than this before the side is truncated.
const SLOTS_MAX: usize = DEPTH_MAX + LEVELS_MAX;
const _: () = assert!(SLOTS_MAX <= u16::MAX as usize);

impl Half {
    fn new(side: Side) -> Self {
        Self {
            side,
            entries: Vec::with_capacity(ROOM + FORGOTTEN_MAX),
            start: 0,
            printed: Vec::with_capacity(ROOM),
            free: Vec::with_capacity(ROOM),
            is_changed: true,
            text: [0; TEXT_LEN_MAX],
            text_len: 0,
        }
    }

    fn len(&self) -> usize {
        self.entries.len() - self.start
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.printed.clear();
        self.free.clear();
        self.start = 0;
        self.is_changed = true;
    }

    #[inline]
    fn apply(&mut self, change: &Change) {
        let rank = match self.side {
            Side::Bid => change.price.0,
            Side::Ask => -change.price.0,
        };
        let kept = self.entries.get(self.start..).unwrap_or_default();
        let at = self.start + place_of(kept, rank);
        let better = self.entries.len() - at;
        let stands = self.entries.get(at).filter(|entry| entry.rank == rank);
        match (stands.copied(), change.quantity.is_positive()) {
            (Some(entry), true) => {
                if let Some(printed) = self.printed.get_mut(usize::from(entry.slot)) {
                    *printed = change.digits;
                }
                self.is_changed |= better <= SUMMED;
            }
            (Some(entry), false) => {
                self.entries.remove(at);
                self.free.push(entry.slot);
                self.is_changed |= better <= SUMMED;
            }
            (None, true) => {
                let Some(slot) = self.slot_for(&change.digits) else {
                    return;
                };
                self.entries.insert(at, Entry { rank, slot });
                self.is_changed |= better < SUMMED;
            }
            (None, false) => (),
        }
    }

    /// Stores digits; `None` where all slots are taken, which frames of limited length cannot do.
    #[inline]
    fn slot_for(&mut self, digits: &Digits) -> Option<u16> {
        if let Some(slot) = self.free.pop() {
            *self.printed.get_mut(usize::from(slot))? = *digits;
            return Some(slot);
        }
        if self.printed.len() >= SLOTS_MAX {
            return None;
        }
        let slot = u16::try_from(self.printed.len()).ok()?;
        self.printed.push(*digits);
        Some(slot)
    }

    #[inline]
    fn truncate(&mut self, depth: usize, forgotten: &mut Vec<Level>) {
        while self.len() > depth {
            let Some(entry) = self.entries.get(self.start) else {
                return;
            };
            self.free.push(entry.slot);
            forgotten.push(Level {
                price: Price(entry.rank.abs()),
                quantity: Quantity::ZERO,
            });
            self.start += 1;
            self.is_changed |= depth < SUMMED;
        }
        if self.start > FORGOTTEN_MAX {
            self.entries.drain(..self.start);
            self.start = 0;
        }
    }

    /// Returns the digits of the summed levels, best first.
    #[inline]
    fn written(&mut self) -> &[u8] {
        if self.is_changed {
            self.is_changed = false;
            self.write();
        }
        self.text.get(..self.text_len).unwrap_or_default()
    }

    fn write(&mut self) {
        let mut end = 0;
        let kept = self.entries.get(self.start..).unwrap_or_default();
        for entry in kept.iter().rev().take(SUMMED) {
            let Some(digits) = self.printed.get(usize::from(entry.slot)) else {
                continue;
            };
            // All the room is copied, of a length that is known; the next level overwrites the rest.
            let (padded, len) = digits.padded();
            if let Some(place) = self.text.get_mut(end..end + Digits::LEN_MAX) {
                place.copy_from_slice(padded);
                end += len;
            }
        }
        self.text_len = end;
    }
}

/// Returns how many levels are worse than this rank. Most changes are near the best, so the search
/// begins there and widens.
#[inline]
fn place_of(levels: &[Entry], rank: i64) -> usize {
    const FIRST: usize = 8;
    let (mut end, mut step) = (levels.len(), FIRST);
    loop {
        let start = levels.len().saturating_sub(step);
        let is_within = levels.get(start).is_none_or(|entry| entry.rank < rank);
        if is_within || start == 0 {
            let window = levels.get(start..end).unwrap_or_default();
            return start + window.partition_point(|entry| entry.rank < rank);
        }
        end = start;
        step *= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;
    use crate::venue::kraken::change::{printed, push_change};

    fn change(price: &str, quantity: &str) -> Change {
        let mut levels = Vec::new();
        let quantity = printed(quantity.as_bytes()).unwrap();
        push_change(&mut levels, &printed(price.as_bytes()).unwrap(), &quantity).unwrap();
        levels[0]
    }

    #[test]
    fn what_is_kept_sums_as_if_it_were_written_anew() {
        let mut random = Random::new(11);
        let mut depth = Depth::default();
        let (mut bids, mut asks) = (Vec::new(), Vec::new());
        let mut forgotten = 0;
        for round in 0..20_000 {
            let side = [Side::Bid, Side::Ask][round % 2];
            let offset = random.between(1, 60);
            let price = match side {
                Side::Bid => 1_000 - offset,
                Side::Ask => 1_000 + offset,
            };
            let quantity = random.below(3);
            depth.apply(side, &change(&price.to_string(), &format!("{quantity}.50")));
            if quantity == 0 {
                depth.apply(side, &change(&price.to_string(), "0.00"));
            }
            bids.clear();
            asks.clear();
            depth.truncate(25, &mut bids, &mut asks);
            forgotten += bids.len() + asks.len();
            let sum = depth.checksum();
            depth.asks.is_changed = true;
            depth.bids.is_changed = true;
            assert_eq!(depth.checksum(), sum, "round {round}");
            let (bids, asks) = depth.len();
            assert!(bids <= 25 && asks <= 25);
        }
        assert!(forgotten > 1_000);
        for half in [&depth.bids, &depth.asks] {
            assert!(half.entries[half.start..].is_sorted_by_key(|entry| entry.rank));
            assert_eq!(half.len() + half.free.len(), half.printed.len());
            assert!(half.printed.len() <= 26);
        }
    }

    #[test]
    fn what_is_pushed_out_is_told_and_fewer_than_ten_levels_are_summed_as_they_are() {
        let mut depth = Depth::default();
        assert!(depth.is_empty());
        assert_eq!(depth.checksum(), 0);
        for price in 1..=11 {
            depth.apply(Side::Ask, &change(&price.to_string(), "1.0"));
        }
        let (mut bids, mut asks) = (Vec::new(), Vec::new());
        depth.truncate(10, &mut bids, &mut asks);
        let expected = Level {
            price: Price::whole(11),
            quantity: Quantity::ZERO,
        };
        assert_eq!((bids.len(), asks.as_slice()), (0, &[expected][..]));
        assert_eq!(
            depth.checksum(),
            crc32fast::hash(b"1102103104105106107108109101010")
        );
        depth.clear();
        depth.apply(Side::Bid, &change("2.50", "0.00100000"));
        assert_eq!(depth.checksum(), crc32fast::hash(b"250100000"));
    }
}
