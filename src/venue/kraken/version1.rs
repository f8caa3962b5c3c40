//! Frames of the WebSocket API v1, which old recordings hold.
//!
//! ```text
//! [channelID, {"as":[["price","volume","time"],..],"bs":[..]}, "book-1000", "XBT/USD"]
//! [channelID, {"a":[..]}, {"b":[..],"c":"checksum"}, "book-1000", "XBT/USD"]
//! ```
//! A fourth element `r` of a level says that it is told again, deeper levels having come into sight.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::time::Time;
use crate::venue::kraken::change::{Change, DEPTH_MAX, Head, Sides};
use crate::venue::kraken::shape::{Fault, push_level};
use crate::venue::literal::{Excess, Literal, units_of};
use crate::venue::names::Names;

/// One or two of these make a book frame.
#[derive(Debug, Default, Deserialize)]
struct Part<'a> {
    #[serde(borrow, default, rename = "as")]
    all_asks: Option<Vec<Row<'a>>>,
    #[serde(borrow, default, rename = "bs")]
    all_bids: Option<Vec<Row<'a>>>,
    #[serde(borrow, default)]
    a: Vec<Row<'a>>,
    #[serde(borrow, default)]
    b: Vec<Row<'a>>,
    #[serde(borrow, default)]
    c: Option<Literal<'a>>,
}

/// Price, volume, time, and the letter of a level that is told again.
type Row<'a> = Vec<Cow<'a, str>>;

/// What a frame of v1 is.
#[derive(Debug)]
pub(super) enum Said {
    /// A book frame with the depth of its subscription.
    Book { head: Head, depth: usize },
    /// Another channel.
    Other,
}

/// Reads a frame that is a list.
///
/// # Errors
/// See [`Fault`].
pub(super) fn read(frame: &[u8], symbols: &Names, sides: &mut Sides) -> Result<Said, Fault> {
    let items: Vec<&RawValue> =
        serde_json::from_slice(frame).map_err(|_| Fault::Malformed("json"))?;
    let [_, parts @ .., channel, pair] = items.as_slice() else {
        return Ok(Said::Other);
    };
    let (Some(channel), Some(pair)) = (text(channel), text(pair)) else {
        return Ok(Said::Other);
    };
    let Some(depth) = channel.strip_prefix("book-") else {
        return Ok(Said::Other);
    };
    let depth = depth.parse().map_err(|_| Fault::Malformed("depth"))?;
    if depth > DEPTH_MAX {
        return Err(Fault::Malformed("depth"));
    }
    let market = symbols.find_name(symbol_of(&pair).as_bytes());
    let market = market.ok_or(Fault::Unknown)?;
    let mut head = Head {
        market,
        is_snapshot: false,
        checksum: None,
        at: None,
    };
    sides.clear();
    for part in parts {
        let part: Part<'_> =
            serde_json::from_str(part.get()).map_err(|_| Fault::Malformed("book"))?;
        read_part(&part, &mut head, sides)?;
    }
    if !head.is_snapshot && head.checksum.is_none() {
        return Err(Fault::Malformed("checksum"));
    }
    Ok(Said::Book { head, depth })
}

fn read_part(part: &Part<'_>, head: &mut Head, sides: &mut Sides) -> Result<(), Fault> {
    head.is_snapshot |= part.all_asks.is_some() || part.all_bids.is_some();
    let bids = part.all_bids.iter().flatten().chain(&part.b);
    let asks = part.all_asks.iter().flatten().chain(&part.a);
    for row in bids {
        head.at = head.at.max(read_row(head.market, row, &mut sides.bids)?);
    }
    for row in asks {
        head.at = head.at.max(read_row(head.market, row, &mut sides.asks)?);
    }
    if let Some(sum) = &part.c {
        let sum = sum.whole().and_then(|sum| u32::try_from(sum).ok());
        head.checksum = Some(sum.ok_or(Fault::Malformed("checksum"))?);
    }
    Ok(())
}

/// Reads price, volume and time of a level; returns the time.
fn read_row(
    market: usize,
    row: &[Cow<'_, str>],
    levels: &mut Vec<Change>,
) -> Result<Option<Time>, Fault> {
    let [price, quantity, at, ..] = row else {
        return Err(Fault::Malformed("level"));
    };
    push_level(market, price, quantity, levels)?;
    let units = units_of(at, 0, Excess::Down);
    let units = units.ok().and_then(|units| u64::try_from(units).ok());
    // A unit of 1e-8 s is ten nanoseconds.
    Ok(units.and_then(|units| units.checked_mul(10)).map(Time))
}

/// Returns the symbol of v2 for a pair of v1, which has old names for two currencies.
fn symbol_of(pair: &str) -> String {
    let renamed = |code: &str| match code {
        "XBT" => "BTC".to_owned(),
        "XDG" => "DOGE".to_owned(),
        _ => code.to_owned(),
    };
    let (base, quote) = pair.split_once('/').unwrap_or((pair, ""));
    format!("{}/{}", renamed(base), renamed(quote))
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}
