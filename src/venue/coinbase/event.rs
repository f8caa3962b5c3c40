//! What a frame says of books: levels of one or more markets.

use crate::model::market::{Level, Side};
use crate::model::time::Time;

/// Levels of one side that a frame may have; the whole book of BTC-USD has 27,000 asks. A frame with
/// more is refused.
pub const LEVELS_MAX: usize = 131_072;
/// Markets that a frame may speak of; a frame with more is refused.
pub const EVENTS_MAX: usize = 64;

/// A snapshot or the changes of one market. Its levels follow those of the event before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Place of the market in the feed's list; `None` where it is none of the feed's.
    pub market: Option<usize>,
    pub is_snapshot: bool,
    /// Where its levels end.
    pub bids_end: usize,
    pub asks_end: usize,
}

/// The events of one frame. The room is used again for the next one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Events {
    pub list: Vec<Event>,
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
}

impl Events {
    pub fn clear(&mut self) {
        self.list.clear();
        self.bids.clear();
        self.asks.clear();
    }

    /// Appends a level to the event that is being read; `None` where there is no room, or its price is
    /// none.
    #[inline]
    pub fn push(&mut self, side: Side, level: Level) -> Option<()> {
        let levels = match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        };
        if !level.price.is_positive() || level.quantity.0 < 0 || levels.len() >= LEVELS_MAX {
            return None;
        }
        levels.push(level);
        Some(())
    }

    /// Ends the event whose levels were pushed last; `None` where there are too many.
    #[inline]
    pub fn end(&mut self, market: Option<usize>, is_snapshot: bool) -> Option<()> {
        if self.list.len() >= EVENTS_MAX {
            return None;
        }
        self.list.push(Event {
            market,
            is_snapshot,
            bids_end: self.bids.len(),
            asks_end: self.asks.len(),
        });
        Some(())
    }
}

/// What a frame says besides its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number on the connection, where frames are counted.
    pub number: Option<u64>,
    pub at: Option<Time>,
}
