//! Frames and documents exactly as Bitstamp wrote them in January 2022.

use crate::venue::bitstamp::{Channel, Stated};
use crate::venue::names::Names;
use crate::venue::rows::{self, Sides};
use crate::venue::scan::Scan;

/// Reads a frame of a book; its levels take the place of those in `sides`.
pub(super) fn frame(frame: &[u8], names: &mut Names, sides: &mut Sides) -> Option<Stated> {
    let mut scan = Scan::new(frame);
    scan.literal(b"{\"data\":{\"timestamp\":\"")?;
    scan.whole()?;
    scan.literal(b"\",\"microtimestamp\":\"")?;
    let micros = scan.whole()?;
    scan.literal(b"\",\"bids\":")?;
    rows::scan::<false>(&mut scan, &mut sides.bids)?;
    scan.literal(b",\"asks\":")?;
    rows::scan::<false>(&mut scan, &mut sides.asks)?;
    scan.literal(b"},\"channel\":\"")?;
    let channel = if scan.takes(Channel::CHANGES.as_bytes()) {
        Channel::Changes
    } else {
        scan.literal(Channel::WHOLE.as_bytes())?;
        Channel::Whole
    };
    let (market, rest) = names.find(scan.rest())?;
    (rest == b",\"event\":\"data\"}").then_some(Stated {
        market,
        channel,
        micros,
    })
}

/// Reads the document of a whole book: returns when it was made.
pub(super) fn document(body: &[u8], sides: &mut Sides) -> Option<u64> {
    let mut scan = Scan::new(body);
    scan.literal(b"{\"timestamp\": \"")?;
    scan.whole()?;
    scan.literal(b"\", \"microtimestamp\": \"")?;
    let micros = scan.whole()?;
    scan.literal(b"\", \"bids\": ")?;
    rows::scan::<true>(&mut scan, &mut sides.bids)?;
    scan.literal(b", \"asks\": ")?;
    rows::scan::<true>(&mut scan, &mut sides.asks)?;
    scan.literal(b"}")?;
    scan.end()?;
    Some(micros)
}
