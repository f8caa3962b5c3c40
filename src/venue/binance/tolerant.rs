//! The same frames and documents with their fields in any order and spacing.

use crate::venue::binance::{Stated, Symbols, Trading};
use crate::venue::rows::{self, Sides, walk_number, walk_plain};
use crate::venue::walk::Walk;

/// Reads a change, bare or in the wrapper of a combined stream; its levels take the place of those
/// in `sides`.
pub(super) fn frame(
    frame: &[u8],
    trading: Trading,
    symbols: &Symbols,
    sides: &mut Sides,
) -> Option<Stated> {
    let mut walk = Walk::new(frame);
    let mut change = None;
    let wrapped = walk.object(|walk, name| match name {
        b"data" => once(&mut change, event(walk, trading, symbols, sides)?),
        _ => walk_plain(walk, name),
    });
    if wrapped.is_some() {
        walk.end()?;
        return change;
    }
    let mut walk = Walk::new(frame);
    let change = event(&mut walk, trading, symbols, sides)?;
    walk.end()?;
    Some(change)
}

fn event(
    walk: &mut Walk<'_>,
    trading: Trading,
    symbols: &Symbols,
    sides: &mut Sides,
) -> Option<Stated> {
    let (mut is_change, mut millis, mut market) = (None, None, None);
    let (mut first, mut last, mut before) = (None, None, None);
    let (mut bids, mut asks) = (None, None);
    walk.object(|walk, name| match name {
        b"e" => once(&mut is_change, walk.text()? == b"depthUpdate"),
        b"E" => once(&mut millis, walk_number(walk)?),
        b"s" => once(&mut market, symbols.symbols.find_name(walk.text()?)?),
        b"U" => once(&mut first, walk_number(walk)?),
        b"u" => once(&mut last, walk_number(walk)?),
        b"pu" => once(&mut before, walk_number(walk)?),
        b"b" => once(&mut bids, rows::walk(walk, &mut sides.bids)?),
        b"a" => once(&mut asks, rows::walk(walk, &mut sides.asks)?),
        b"data" => None,
        _ => walk_plain(walk, name),
    })?;
    bids?;
    asks?;
    let (previous, last) = trading.span((first?, last?, before))?;
    is_change?.then_some(Stated {
        market: market?,
        previous,
        last,
        millis: millis?,
    })
}

/// Reads the document of a whole book: returns its number.
pub(super) fn document(body: &[u8], sides: &mut Sides) -> Option<u64> {
    let mut walk = Walk::new(body);
    let (mut last, mut bids, mut asks) = (None, None, None);
    walk.object(|walk, name| match name {
        b"lastUpdateId" => once(&mut last, walk_number(walk)?),
        b"bids" => once(&mut bids, rows::walk(walk, &mut sides.bids)?),
        b"asks" => once(&mut asks, rows::walk(walk, &mut sides.asks)?),
        _ => walk_plain(walk, name),
    })?;
    walk.end()?;
    bids?;
    asks?;
    last
}

/// Takes a field's value, unless the field came before: which of the two counts nobody says.
fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}
