//! Frames whose fields come in any order and spacing. What is no book is told apart here.

use crate::model::market::{Level, Side};
use crate::model::number::Price;
use crate::venue::coinbase::event::{Events, Head};
use crate::venue::names::Names;
use crate::venue::scan::Scan;
use crate::venue::stamp::rfc3339;
use crate::venue::walk::Walk;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Books, their events read.
    Book(Head),
    /// The best prices of one market of the feed, as the Exchange's ticker has them.
    Best {
        market: usize,
        bid: Price,
        ask: Price,
    },
    /// Another channel or kind; its number still counts.
    Other(Head),
    /// The frame is whole, but the numbers of this market are finer than 1e-8. There is no head where
    /// other markets stand in the frame too: then it counts as lost.
    Beyond {
        market: Option<usize>,
        head: Option<Head>,
    },
}

/// Reads a frame of Advanced Trade of any channel; leaves refusals and what it cannot read to others.
pub fn read_advanced(frame: &[u8], symbols: &Names, events: &mut Events) -> Option<Said> {
    events.clear();
    let (mut channel, mut number, mut at, mut at_events) = (None, None, None, None);
    let mut is_read = false;
    let mut walk = Walk::new(frame);
    walk.object(|walk, name| match name {
        b"channel" => once(&mut channel, walk.text()?),
        b"sequence_num" => once(&mut number, walk.whole()?),
        b"timestamp" => once(&mut at, rfc3339(walk.text()?)?),
        b"events" => {
            once(&mut at_events, *walk)?;
            if channel != Some(&b"l2_data"[..]) {
                return walk.skip();
            }
            is_read = true;
            walk.list(|walk| event(walk, symbols, events))
        }
        _ => walk.skip(),
    })?;
    walk.end()?;
    let head = Head {
        number: Some(number?),
        at,
    };
    if channel? != b"l2_data" {
        return Some(Said::Other(head));
    }
    let mut at_events = at_events?;
    if !is_read {
        // The channel was named behind them.
        at_events.list(|walk| event(walk, symbols, events))?;
    }
    Some(Said::Book(head))
}

fn event(walk: &mut Walk<'_>, symbols: &Names, events: &mut Events) -> Option<()> {
    let (mut kind, mut product, mut updates) = (None, None, None);
    walk.object(|walk, name| match name {
        b"type" => once(&mut kind, is_snapshot(walk.text()?)?),
        b"product_id" => once(&mut product, walk.text()?),
        b"updates" => once(&mut updates, walk.list(|walk| update(walk, events))?),
        _ => walk.skip(),
    })?;
    updates?;
    events.end(symbols.find_name(product?), kind?)
}

fn update(walk: &mut Walk<'_>, events: &mut Events) -> Option<()> {
    let (mut side, mut price, mut quantity) = (None, None, None);
    walk.object(|walk, name| match name {
        b"side" => once(&mut side, walk.text()?),
        b"price_level" => once(&mut price, walk.price()?),
        b"new_quantity" => once(&mut quantity, walk.quantity()?),
        _ => walk.skip(),
    })?;
    let side = match side? {
        b"bid" => Side::Bid,
        b"offer" => Side::Ask,
        _ => return None,
    };
    let (price, quantity) = (price?, quantity?);
    events.push(side, Level { price, quantity })
}

fn is_snapshot(kind: &[u8]) -> Option<bool> {
    match kind {
        b"snapshot" => Some(true),
        b"update" => Some(false),
        _ => None,
    }
}

/// Reads a frame of the Exchange of any type; leaves refusals and what it cannot read to others.
pub fn read_exchange(frame: &[u8], symbols: &Names, events: &mut Events) -> Option<Said> {
    events.clear();
    let (mut kind, mut product, mut at) = (None, None, None);
    let (mut bid, mut ask) = (None, None);
    let (mut bids, mut asks, mut changes) = (None, None, None);
    let mut walk = Walk::new(frame);
    walk.object(|walk, name| match name {
        b"type" => once(&mut kind, walk.text()?),
        b"product_id" => once(&mut product, walk.text()?),
        b"time" => once(&mut at, walk.text()?),
        b"bids" => once(&mut bids, levels(walk, Side::Bid, events)?),
        b"asks" => once(&mut asks, levels(walk, Side::Ask, events)?),
        b"changes" => once(&mut changes, walk.list(|walk| change(walk, events))?),
        b"best_bid" => once(&mut bid, walk.digits()?),
        b"best_ask" => once(&mut ask, walk.digits()?),
        _ => walk.skip(),
    })?;
    walk.end()?;
    let market = product.and_then(|product| symbols.find_name(product));
    let has = (bids.is_some(), asks.is_some(), changes.is_some());
    let is_snapshot = match (kind?, has) {
        (b"snapshot", (true, true, false)) => true,
        (b"l2update", (false, false, true)) => false,
        (b"snapshot" | b"l2update" | b"error", _) => return None,
        (b"ticker", (false, false, false)) => {
            let price = |digits: &[u8]| {
                let mut scan = Scan::new(digits);
                let price = scan.price()?;
                scan.end().map(|()| price)
            };
            let (bid, ask) = (price(bid?)?, price(ask?)?);
            let market = market?;
            return Some(Said::Best { market, bid, ask });
        }
        (_, (false, false, false)) => {
            return Some(Said::Other(Head {
                number: None,
                at: None,
            }));
        }
        (_, (_, _, _)) => return None,
    };
    let at = match at {
        Some(text) => Some(rfc3339(text)?),
        None => None,
    };
    product?;
    events.end(market, is_snapshot)?;
    Some(Said::Book(Head { number: None, at }))
}

fn levels(walk: &mut Walk<'_>, side: Side, events: &mut Events) -> Option<()> {
    walk.list(|walk| {
        walk.open()?;
        level(walk, side, events)
    })
}

fn change(walk: &mut Walk<'_>, events: &mut Events) -> Option<()> {
    walk.open()?;
    let side = match walk.text()? {
        b"buy" => Side::Bid,
        b"sell" => Side::Ask,
        _ => return None,
    };
    walk.comma()?;
    level(walk, side, events)
}

fn level(walk: &mut Walk<'_>, side: Side, events: &mut Events) -> Option<()> {
    let price = walk.price()?;
    walk.comma()?;
    let quantity = walk.quantity()?;
    walk.close()?;
    events.push(side, Level { price, quantity })
}

/// A field that stands twice says nothing that can be relied on.
fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;
    use crate::venue::coinbase::shape::{self, ExchangeFrame, Fault, Frame};
    use crate::venue::coinbase::template;
    use crate::venue::stamp::Stamps;
    use crate::venue::trial::{self, Readings, Unknown, assert_readers_agree};

    const ADVANCED: &str = r#"{"channel":"l2_data","timestamp":"2026-08-09T21:05:48.505350477Z","sequence_num":14,"events":[{"type":"update","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"2026-08-09T21:05:48.210883Z","price_level":"65062.5","new_quantity":"0.00583"},{"side":"offer","event_time":"2026-08-09T21:05:48.210883Z","price_level":"65061.91","new_quantity":"0"}]}]}"#;
    const UPDATE: &str = r#"{"type":"l2update","product_id":"BTC-USD","changes":[["buy","0.7885","0.0"],["sell","0.7913","7441.5"]],"time":"2021-04-17T16:43:37.077621Z"}"#;
    const SNAPSHOT: &str = r#"{"type":"snapshot","product_id":"BTC-USD","asks":[["14.8024","12.77"],["14.8069","12.49"]],"bids":[["14.7693","27.51"]]}"#;

    /// What each reader makes of a frame: template, tolerant, serde.
    fn readings(frame: &[u8], is_advanced: bool) -> Readings<(Said, Events)> {
        let mut symbols = Names::new(
            ["ETH-USD", "BTC-USD"].iter().map(|text| (*text).to_owned()),
            b'"',
        );
        let mut stamps = Stamps::default();
        let mut events = [(); 3].map(|()| Events::default());
        let [one, two, three] = &mut events;
        let said = if is_advanced {
            let read: Result<Frame<'_>, _> = serde_json::from_slice(frame);
            let slow = read.map_err(|_| Fault::Unknown);
            [
                template::read_advanced(frame, &mut symbols, &mut stamps, one).map(Said::Book),
                read_advanced(frame, &symbols, two),
                slow.and_then(|frame| shape::read_advanced(&frame, &symbols, three))
                    .ok(),
            ]
        } else {
            let read: Result<ExchangeFrame<'_>, _> = serde_json::from_slice(frame);
            let slow = read.map_err(|_| Fault::Unknown);
            [
                template::read_exchange(frame, &mut symbols, &mut stamps, one).map(Said::Book),
                read_exchange(frame, &symbols, two),
                slow.and_then(|frame| shape::read_exchange(&frame, &symbols, three))
                    .ok(),
            ]
        };
        let mut events = events.into_iter();
        said.map(|said| said.zip(events.next()))
    }

    #[track_caller]
    fn agree(frame: &[u8], is_advanced: bool) -> [bool; 3] {
        let read = readings(frame, is_advanced);
        trial::agree(&read, frame, Unknown::Unchecked)
    }

    #[test]
    fn a_frame_of_the_exchange_is_read_alike_by_all() {
        let none = ADVANCED.find("{\"side\"").unwrap();
        let none = format!("{}]}}]}}", &ADVANCED[..none]);
        for text in [ADVANCED, &ADVANCED.replace("update\"", "snapshot\""), &none] {
            assert_eq!(agree(text.as_bytes(), true), [true; 3], "{text}");
        }
        let timed = SNAPSHOT.replace("]]}", "]],\"time\":\"2021-04-17T16:43:37.077621Z\"}");
        for text in [UPDATE, SNAPSHOT, &timed] {
            assert_eq!(agree(text.as_bytes(), false), [true; 3], "{text}");
        }
        let [read, ..] = readings(ADVANCED.as_bytes(), true);
        let (said, events) = read.unwrap();
        let number = Some(14);
        assert!(matches!(said, Said::Book(head) if head.number == number && head.at.is_some()));
        assert_eq!(events.list[0].market, Some(1));
        assert_eq!(events.bids[0].price, Price(6_506_250_000_000));
        assert!(events.asks[0].quantity.is_zero());
    }

    #[test]
    fn order_and_spacing_are_no_matter_to_the_tolerant_reader() {
        let turned = r#"{"events":[{"updates":[{"new_quantity":"1","price_level":2.5,"side":"bid"}],"new":{"a":[1]},"product_id":"ETH-USD","type":"update"},{"type":"snapshot","product_id":"DOGE-USD","updates":[]}], "sequence_num" : 3, "channel" : "l2_data"}"#;
        assert_eq!(agree(turned.as_bytes(), true), [false, true, true]);
        let spaced = UPDATE.replace(',', " , ");
        assert_eq!(agree(spaced.as_bytes(), false), [false, true, true]);
        let turned = r#"{"time":"2021-04-17T16:43:37Z","bids":[],"asks":[["1","2"]],"product_id":"ETH-USD","type":"snapshot","x":null}"#;
        assert_eq!(agree(turned.as_bytes(), false), [false, true, true]);
    }

    #[test]
    fn what_is_no_book_is_told_apart() {
        let other = ADVANCED.replace("l2_data", "heartbeats");
        assert_eq!(agree(other.as_bytes(), true), [false, true, true]);
        let ticker = r#"{"type":"ticker","sequence":3,"product_id":"BTC-USD","best_bid":"14.7550","best_ask":"14.8060"}"#;
        assert_eq!(agree(ticker.as_bytes(), false), [false, true, true]);
        let [_, tolerant, _] = readings(ticker.as_bytes(), false);
        let best = Said::Best {
            market: 1,
            bid: Price(1_475_500_000),
            ask: Price(1_480_600_000),
        };
        assert_eq!(tolerant.unwrap().0, best);
        for text in [
            r#"{"type":"heartbeat","last_trade_id":1,"product_id":"BTC-USD","sequence":1,"time":"x"}"#,
            r#"{"type":"subscriptions","channels":[]}"#,
        ] {
            assert_eq!(agree(text.as_bytes(), false), [false, true, true], "{text}");
        }
        let fine = UPDATE.replace("0.7885", "0.0000000001");
        let [_, _, slow] = readings(fine.as_bytes(), false);
        assert!(matches!(slow.unwrap().0, Said::Beyond { .. }));
    }

    #[test]
    fn of_another_channel_only_the_head_is_read_and_alike() {
        let symbols = Names::new(["BTC-USD".to_owned()], b'"');
        let other = ADVANCED.replace("l2_data", "ticker");
        let heads = |frame: &[u8]| {
            let template = template::read_other(frame, &mut Stamps::default());
            let tolerant = read_advanced(frame, &symbols, &mut Events::default());
            (template.map(Said::Other), tolerant)
        };
        let (template, tolerant) = heads(other.as_bytes());
        assert!(template.is_some());
        assert_eq!(template, tolerant);
        let mut random = Random::new(29);
        let mut taken = 0;
        for _ in 0..20_000 {
            let damaged = trial::damaged(&other, &mut random);
            if let (Some(template), Some(tolerant)) = heads(&damaged) {
                assert_eq!(template, tolerant, "{}", String::from_utf8_lossy(&damaged));
                taken += 1;
            }
        }
        assert!(taken > 400, "{taken}");
        for text in [
            ADVANCED.to_owned(),
            other.replace("]}]}", "]}]"),
            other.replace("14,", "014,"),
            other.replace("Z\",\"seq", "Z\", \"seq"),
            other.replace("\"events\"", "\"event\""),
        ] {
            assert_eq!(heads(text.as_bytes()).0, None, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_taken_by_none() {
        for (from, to) in [
            ("\"65062.5\"", "\"-65062.5\""),
            ("65062.5", "0"),
            ("65062.5", "6x"),
            ("\"bid\"", "\"ask\""),
            ("14,", "\"x\","),
            ("\"side\"", "\"side\":\"bid\",\"side\""),
            ("}]}]}", "}]}"),
        ] {
            let frame = ADVANCED.replacen(from, to, 1);
            assert_eq!(agree(frame.as_bytes(), true), [false; 3], "{frame}");
        }
        for (from, to) in [
            ("buy", "bid"),
            ("\"0.7885\",", ""),
            ("\"changes\"", "\"bids\""),
            ("16:43", "16:63"),
            ("\"0.0\"]", "\"0.0\",\"1\"]"),
        ] {
            let frame = UPDATE.replacen(from, to, 1);
            assert_eq!(agree(frame.as_bytes(), false), [false; 3], "{frame}");
        }
    }

    #[test]
    fn readers_agree_on_every_mutation() {
        let mut random = Random::new(23);
        for (text, is_advanced) in [(ADVANCED, true), (UPDATE, false), (SNAPSHOT, false)] {
            let read = |frame: &[u8]| readings(frame, is_advanced);
            let taken = assert_readers_agree(text, &mut random, Unknown::Unchecked, read);
            assert!(taken.iter().all(|count| *count > 400), "{taken:?}");
        }
    }
}
