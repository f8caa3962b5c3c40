//! Book frames in the exchange's own spelling, straight from the receive buffer.

use crate::model::market::{Level, Side};
use crate::venue::coinbase::event::{Events, Head};
use crate::venue::names::Names;
use crate::venue::scan::Scan;
use crate::venue::stamp::Stamps;

/// Reads a frame of `l2_data` with one event of a configured market.
#[inline]
pub fn read_advanced(
    frame: &[u8],
    symbols: &mut Names,
    stamps: &mut Stamps,
    events: &mut Events,
) -> Option<Head> {
    events.clear();
    let mut scan = Scan::new(frame);
    scan.literal(br#"{"channel":"l2_data","timestamp":""#)?;
    let at = stamps.read(&mut scan)?;
    scan.literal(br#","sequence_num":"#)?;
    let number = scan.whole()?;
    scan.literal(br#","events":[{"type":""#)?;
    let is_snapshot = !scan.takes(br#"update","product_id":""#);
    if is_snapshot {
        scan.literal(br#"snapshot","product_id":""#)?;
    }
    let market = symbols.take(&mut scan)?;
    scan.literal(br#","updates":["#)?;
    updates(&mut scan, stamps, events)?;
    scan.literal(b"}]}")?;
    scan.end()?;
    events.end(Some(market), is_snapshot)?;
    Some(Head {
        number: Some(number),
        at: Some(at),
    })
}

/// Reads a frame of another channel than `l2_data`. It only takes its place in the numbers, so what it
/// says is not looked at.
#[inline]
pub fn read_other(frame: &[u8], stamps: &mut Stamps) -> Option<Head> {
    let mut scan = Scan::new(frame);
    scan.literal(br#"{"channel":""#)?;
    if scan.text()? == b"l2_data" {
        return None;
    }
    scan.literal(br#","timestamp":""#)?;
    let at = stamps.read(&mut scan)?;
    scan.literal(br#","sequence_num":"#)?;
    let number = scan.whole()?;
    scan.literal(br#","events":["#)?;
    scan.rest().ends_with(b"]}").then_some(Head {
        number: Some(number),
        at: Some(at),
    })
}

/// Reads `{"side":"bid","event_time":"…","price_level":"1","new_quantity":"2"},…]`.
#[inline]
fn updates(scan: &mut Scan<'_>, stamps: &mut Stamps, events: &mut Events) -> Option<()> {
    if scan.takes(b"]") {
        return Some(());
    }
    // The time of the update before, up to and with its quote: mostly it is the same.
    let mut time: &[u8] = &[];
    loop {
        scan.literal(br#"{"side":""#)?;
        let side = match scan.takes(br#"bid","event_time":""#) {
            true => Side::Bid,
            false => {
                scan.literal(br#"offer","event_time":""#)?;
                Side::Ask
            }
        };
        if time.is_empty() || !scan.takes(time) {
            let before = scan.rest();
            stamps.read(scan)?;
            time = before.get(..before.len() - scan.rest().len())?;
        }
        scan.literal(br#","price_level":""#)?;
        let price = scan.price()?;
        scan.literal(br#"","new_quantity":""#)?;
        let quantity = scan.quantity()?;
        events.push(side, Level { price, quantity })?;
        if scan.takes(br#""},"#) {
            continue;
        }
        return scan.literal(br#""}]"#);
    }
}

/// Reads a `snapshot` or an `l2update` of the Exchange.
#[inline]
pub fn read_exchange(
    frame: &[u8],
    symbols: &mut Names,
    stamps: &mut Stamps,
    events: &mut Events,
) -> Option<Head> {
    events.clear();
    let mut scan = Scan::new(frame);
    scan.literal(br#"{"type":""#)?;
    let is_snapshot = !scan.takes(br#"l2update","product_id":""#);
    if is_snapshot {
        scan.literal(br#"snapshot","product_id":""#)?;
    }
    let market = symbols.take(&mut scan)?;
    if is_snapshot {
        scan.literal(br#","asks":["#)?;
        levels(&mut scan, Side::Ask, events)?;
        scan.literal(br#","bids":["#)?;
        levels(&mut scan, Side::Bid, events)?;
    } else {
        scan.literal(br#","changes":["#)?;
        changes(&mut scan, events)?;
    }
    let at = match scan.takes(br#","time":""#) {
        true => Some(stamps.read(&mut scan)?),
        false => None,
    };
    scan.literal(b"}")?;
    scan.end()?;
    events.end(Some(market), is_snapshot)?;
    Some(Head { number: None, at })
}

/// Reads `["1","2"],…]`.
#[inline]
fn levels(scan: &mut Scan<'_>, side: Side, events: &mut Events) -> Option<()> {
    if scan.takes(b"]") {
        return Some(());
    }
    loop {
        scan.literal(br#"[""#)?;
        level(scan, side, events)?;
        if scan.takes(b",") {
            continue;
        }
        return scan.literal(b"]");
    }
}

/// Reads `["buy","1","2"],…]`.
#[inline]
fn changes(scan: &mut Scan<'_>, events: &mut Events) -> Option<()> {
    if scan.takes(b"]") {
        return Some(());
    }
    loop {
        let side = match scan.takes(br#"["buy",""#) {
            true => Side::Bid,
            false => {
                scan.literal(br#"["sell",""#)?;
                Side::Ask
            }
        };
        level(scan, side, events)?;
        if scan.takes(b",") {
            continue;
        }
        return scan.literal(b"]");
    }
}

/// Reads `1","2"]`.
#[inline]
fn level(scan: &mut Scan<'_>, side: Side, events: &mut Events) -> Option<()> {
    let price = scan.price()?;
    scan.literal(br#"",""#)?;
    let quantity = scan.quantity()?;
    scan.literal(br#""]"#)?;
    events.push(side, Level { price, quantity })
}
