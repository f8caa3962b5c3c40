//! Book frames of v2 in the exchange's own spelling, straight from the receive buffer.

use crate::venue::kraken::change::{Change, Head, Sides, printed, push_change};
use crate::venue::names::Names;
use crate::venue::scan::Scan;
use crate::venue::stamp::Stamps;

/// The one frame that comes when nothing else does.
pub const HEARTBEAT: &[u8] = br#"{"channel":"heartbeat"}"#;

/// Reads a snapshot or an update of one configured market into `sides`.
#[inline]
pub fn read(
    frame: &[u8],
    symbols: &mut Names,
    stamps: &mut Stamps,
    sides: &mut Sides,
) -> Option<Head> {
    let mut scan = Scan::new(frame);
    scan.literal(br#"{"channel":"book","type":""#)?;
    let is_snapshot = !scan.takes(br#"update","data":[{"symbol":""#);
    if is_snapshot {
        scan.literal(br#"snapshot","data":[{"symbol":""#)?;
    }
    let market = symbols.take(&mut scan)?;
    scan.literal(br#","bids":["#)?;
    levels(&mut scan, &mut sides.bids)?;
    scan.literal(br#","asks":["#)?;
    levels(&mut scan, &mut sides.asks)?;
    scan.literal(br#","checksum":"#)?;
    let checksum = u32::try_from(scan.whole()?).ok()?;
    let at = match scan.takes(br#","timestamp":""#) {
        true => Some(stamps.read(&mut scan)?),
        false => None,
    };
    scan.literal(b"}]}")?;
    scan.end()?;
    Some(Head {
        market,
        is_snapshot,
        checksum: Some(checksum),
        at,
    })
}

/// Reads `{"price":1.5,"qty":2.0},…]`.
#[inline]
fn levels(scan: &mut Scan<'_>, levels: &mut Vec<Change>) -> Option<()> {
    levels.clear();
    if scan.takes(b"]") {
        return Some(());
    }
    loop {
        scan.literal(br#"{"price":"#)?;
        let price = printed(scan.rest())?;
        scan.bytes(price.number.width())?;
        scan.literal(br#","qty":"#)?;
        let quantity = printed(scan.rest())?;
        scan.bytes(quantity.number.width())?;
        push_change(levels, &price, &quantity)?;
        if scan.takes(b"},") {
            continue;
        }
        return scan.literal(b"}]");
    }
}
