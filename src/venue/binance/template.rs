//! Frames and documents exactly as Binance writes them: so they came in 2021, and so its
//! documentation shows futures.

use crate::venue::binance::{Stated, Symbols, Trading};
use crate::venue::rows::{self, Sides};
use crate::venue::scan::Scan;

/// Reads a change, bare or in the wrapper of a combined stream; its levels take the place of those
/// in `sides`.
pub(super) fn frame(
    frame: &[u8],
    trading: Trading,
    symbols: &mut Symbols,
    sides: &mut Sides,
) -> Option<Stated> {
    let mut scan = Scan::new(frame);
    let wrapped = scan.takes(b"{\"stream\":\"");
    if wrapped {
        scan = Scan::new(symbols.streams.find(scan.rest())?.1);
        scan.literal(b"depth@100ms\",\"data\":")?;
    }
    scan.literal(b"{\"e\":\"depthUpdate\",\"E\":")?;
    let millis = scan.whole()?;
    if trading == Trading::Futures {
        scan.literal(b",\"T\":")?;
        scan.whole()?;
    }
    scan.literal(b",\"s\":\"")?;
    let (market, rest) = symbols.symbols.find(scan.rest())?;
    scan = Scan::new(rest);
    scan.literal(b",\"U\":")?;
    let first = scan.whole()?;
    scan.literal(b",\"u\":")?;
    let last = scan.whole()?;
    let before = match trading {
        Trading::Spot => None,
        Trading::Futures => {
            scan.literal(b",\"pu\":")?;
            Some(scan.whole()?)
        }
    };
    scan.literal(b",\"b\":")?;
    rows::scan::<false>(&mut scan, &mut sides.bids)?;
    scan.literal(b",\"a\":")?;
    rows::scan::<false>(&mut scan, &mut sides.asks)?;
    scan.literal(if wrapped { b"}}" } else { b"}" })?;
    scan.end()?;
    let (previous, last) = trading.span((first, last, before))?;
    Some(Stated {
        market,
        previous,
        last,
        millis,
    })
}

/// Reads the document of a whole book: returns its number.
pub(super) fn document(body: &[u8], trading: Trading, sides: &mut Sides) -> Option<u64> {
    let mut scan = Scan::new(body);
    scan.literal(b"{\"lastUpdateId\":")?;
    let last = scan.whole()?;
    if trading == Trading::Futures {
        scan.literal(b",\"E\":")?;
        scan.whole()?;
        scan.literal(b",\"T\":")?;
        scan.whole()?;
    }
    scan.literal(b",\"bids\":")?;
    rows::scan::<false>(&mut scan, &mut sides.bids)?;
    scan.literal(b",\"asks\":")?;
    rows::scan::<false>(&mut scan, &mut sides.asks)?;
    scan.literal(b"}")?;
    scan.end()?;
    Some(last)
}
