//! Book frames of v2 whose fields come in any order and spacing.

use crate::venue::kraken::change::{Change, Head, Sides, printed, push_change};
use crate::venue::names::Names;
use crate::venue::stamp::rfc3339;
use crate::venue::walk::Walk;

/// Reads a snapshot or an update of one configured market into `sides`; leaves all else to others.
pub fn read(frame: &[u8], symbols: &Names, sides: &mut Sides) -> Option<Head> {
    sides.clear();
    let (mut channel, mut kind, mut head) = (None, None, None);
    let mut walk = Walk::new(frame);
    walk.object(|walk, name| match name {
        b"channel" => once(&mut channel, walk.text()?),
        b"type" => once(&mut kind, walk.text()?),
        b"data" => {
            walk.open()?;
            once(&mut head, book(walk, symbols, sides)?)?;
            walk.close()
        }
        _ => walk.skip(),
    })?;
    walk.end()?;
    let is_snapshot = match (channel?, kind?) {
        (b"book", b"snapshot") => true,
        (b"book", b"update") => false,
        _ => return None,
    };
    Some(Head {
        is_snapshot,
        ..head?
    })
}

fn book(walk: &mut Walk<'_>, symbols: &Names, sides: &mut Sides) -> Option<Head> {
    let (mut market, mut bids, mut asks) = (None, None, None);
    let (mut checksum, mut at) = (None, None);
    walk.object(|walk, name| match name {
        b"symbol" => once(&mut market, symbols.find_name(walk.text()?)?),
        b"bids" => once(&mut bids, levels(walk, &mut sides.bids)?),
        b"asks" => once(&mut asks, levels(walk, &mut sides.asks)?),
        b"checksum" => once(&mut checksum, u32::try_from(walk.whole()?).ok()?),
        b"timestamp" => once(&mut at, rfc3339(walk.text()?)?),
        _ => walk.skip(),
    })?;
    bids?;
    asks?;
    Some(Head {
        market: market?,
        is_snapshot: false,
        checksum: Some(checksum?),
        at,
    })
}

fn levels(walk: &mut Walk<'_>, levels: &mut Vec<Change>) -> Option<()> {
    levels.clear();
    walk.list(|walk| {
        let (mut price, mut quantity) = (None, None);
        walk.object(|walk, name| match name {
            b"price" => once(&mut price, walk.digits()?),
            b"qty" => once(&mut quantity, walk.digits()?),
            _ => walk.skip(),
        })?;
        let (price, quantity) = (price?, quantity?);
        let (read_price, read_quantity) = (printed(price)?, printed(quantity)?);
        if read_price.number.width() != price.len()
            || read_quantity.number.width() != quantity.len()
        {
            return None;
        }
        push_change(levels, &read_price, &read_quantity)
    })
}

/// A field that stands twice says nothing that can be relied on.
fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;
    use crate::venue::kraken::shape::{Frame, read_book};
    use crate::venue::kraken::template;
    use crate::venue::stamp::Stamps;
    use crate::venue::trial::{self, Readings, Unknown, assert_readers_agree};

    const UPDATE: &str = r#"{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":45283.50,"qty":0.10000000},{"price":45283.40,"qty":0.00000000}],"asks":[{"price":0.000022890,"qty":12.5}],"checksum":2439117997,"timestamp":"2023-10-06T17:35:55.440295Z"}]}"#;

    /// What each reader makes of a frame: template, tolerant, serde.
    fn readings(frame: &[u8]) -> Readings<(Head, Sides)> {
        let mut symbols = Names::new(
            ["ETH/USD", "BTC/USD"].iter().map(|text| (*text).to_owned()),
            b'"',
        );
        let mut sides = [(); 3].map(|()| Sides::default());
        let [one, two, three] = &mut sides;
        let frame_of: Result<Frame<'_>, _> = serde_json::from_slice(frame);
        let is_book = |frame: &Frame<'_>| frame.channel.as_deref() == Some("book");
        let frame_of = frame_of.ok().filter(is_book);
        let heads = [
            template::read(frame, &mut symbols, &mut Stamps::default(), one),
            read(frame, &symbols, two),
            frame_of.and_then(|frame| read_book(&frame, &symbols, three).ok()),
        ];
        let mut sides = sides.into_iter();
        heads.map(|head| head.zip(sides.next()))
    }

    #[track_caller]
    fn agree(frame: &[u8]) -> [bool; 3] {
        trial::agree(&readings(frame), frame, Unknown::Unchecked)
    }

    #[test]
    fn a_frame_of_the_exchange_is_read_alike_by_all() {
        let bare = UPDATE.replace(",\"timestamp\":\"2023-10-06T17:35:55.440295Z\"", "");
        let empty = UPDATE.replace(r#"{"price":0.000022890,"qty":12.5}"#, "");
        for text in [UPDATE, &UPDATE.replace("update", "snapshot"), &bare, &empty] {
            assert_eq!(agree(text.as_bytes()), [true; 3], "{text}");
        }
        let [read, ..] = readings(UPDATE.as_bytes());
        let (head, sides) = read.unwrap();
        assert_eq!((head.market, head.checksum), (1, Some(2_439_117_997)));
        assert_eq!((sides.bids.len(), sides.asks.len()), (2, 1));
        assert_eq!(sides.bids[0].digits.as_bytes(), b"452835010000000");
        assert_eq!(sides.asks[0].price.0, 2_289);
    }

    #[test]
    fn order_and_spacing_are_no_matter_to_the_tolerant_reader() {
        let turned = r#" { "data" : [ { "timestamp":"2023-10-06T17:35:55.440295Z", "checksum" : 7,
            "news":{"a":[1,2]}, "asks":[ ], "bids":[{"qty":"1.50","price":"2.0","x":null}],
            "symbol":"ETH/USD" } ], "type":"update" , "channel":"book" } "#;
        assert_eq!(agree(turned.as_bytes()), [false, true, true]);
        let spaced = UPDATE.replace(',', " , ").replace(':', ": ");
        let spaced = spaced.replace(": 35: 55", ":35:55");
        assert_eq!(agree(spaced.as_bytes()), [false, true, true], "{spaced}");
    }

    #[test]
    fn what_is_wrong_is_taken_by_none() {
        for (from, to) in [
            ("45283.50", "-45283.50"),
            ("45283.50", "0.00"),
            ("45283.50", "045283.50"),
            ("45283.50", "45283.50e1"),
            ("2439117997", "4294967296"),
            ("\"checksum\":2439117997,", ""),
            ("\"symbol\"", "\"symbol\":\"BTC/USD\",\"symbol\""),
            ("\"qty\":12.5", "\"qty\":12.5,\"qty\":12.5"),
            ("BTC/USD", "BTC/EUR"),
            ("17:35", "27:35"),
            ("}]}", "},{}]}"),
        ] {
            let frame = UPDATE.replacen(from, to, 1);
            assert_eq!(agree(frame.as_bytes()), [false; 3], "{frame}");
        }
    }

    #[test]
    fn readers_agree_on_every_mutation() {
        let mut random = Random::new(17);
        let taken = assert_readers_agree(UPDATE, &mut random, Unknown::Unchecked, readings);
        assert!(taken.iter().all(|count| *count > 700), "{taken:?}");
    }
}
