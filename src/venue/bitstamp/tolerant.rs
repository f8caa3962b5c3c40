//! The same frames and documents with their fields in any order and spacing.

use crate::venue::bitstamp::{Channel, Stated};
use crate::venue::names::Names;
use crate::venue::rows::{self, Sides};
use crate::venue::walk::Walk;

/// Reads a frame of a book; its levels take the place of those in `sides`.
pub(super) fn frame(frame: &[u8], names: &Names, sides: &mut Sides) -> Option<Stated> {
    let mut walk = Walk::new(frame);
    let (mut is_data, mut channel, mut micros) = (None, None, None);
    walk.object(|walk, name| match name {
        b"event" => once(&mut is_data, walk.text()? == b"data"),
        b"channel" => once(&mut channel, walk.text()?),
        b"data" => once(&mut micros, book(walk, sides)?),
        _ => rows::walk_plain(walk, name),
    })?;
    walk.end()?;
    let (channel, market) = Channel::find(channel?, names)?;
    is_data?.then_some(Stated {
        market,
        channel,
        micros: micros?,
    })
}

/// Reads the document of a whole book: returns when it was made.
pub(super) fn document(body: &[u8], sides: &mut Sides) -> Option<u64> {
    let mut walk = Walk::new(body);
    let micros = book(&mut walk, sides)?;
    walk.end()?;
    Some(micros)
}

fn book(walk: &mut Walk<'_>, sides: &mut Sides) -> Option<u64> {
    let (mut micros, mut bids, mut asks) = (None, None, None);
    walk.object(|walk, name| match name {
        b"microtimestamp" => once(&mut micros, rows::walk_whole(walk)?),
        b"bids" => once(&mut bids, rows::walk(walk, &mut sides.bids)?),
        b"asks" => once(&mut asks, rows::walk(walk, &mut sides.asks)?),
        _ => rows::walk_plain(walk, name),
    })?;
    bids?;
    asks?;
    micros
}

/// Takes a field's value, unless the field came before: which of the two counts nobody says.
fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}
