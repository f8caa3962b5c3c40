//! Binance by nautilus-binance. Its adapter of the spot market reads the binary stream alone; only
//! that of the futures reads JSON. The handlers between the public parts are private: their steps
//! stand here in their order (nautilus-binance 0.57.0, `futures/websocket/streams/handler.rs`,
//! `futures/data.rs`, `spot/websocket/streams/handler.rs` and `spot/data.rs`, read 2026-11-23).

use expressnet::model::instrument::Pair;
use expressnet::model::number::parse_decimal;
use nautilus_binance::common::enums::BinanceWsEventType;
use nautilus_binance::futures::websocket::streams::messages::BinanceFuturesDepthUpdateMsg;
use nautilus_binance::futures::websocket::streams::parse_data::{
    extract_event_type, parse_depth_update,
};
use nautilus_binance::spot::sbe::stream::template_id::DEPTH_DIFF_STREAM_EVENT;
use nautilus_binance::spot::sbe::stream::{
    DepthDiffStreamEvent, PriceLevel, STREAM_SCHEMA_ID, STREAM_SCHEMA_VERSION,
};
use nautilus_binance::spot::websocket::streams::parse::{
    MarketDataMessage, decode_market_data, parse_depth_diff,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::markets::{Adapter, CAME, Markets};
use crate::recorded::Stream;

/// Frames without the envelope of a combined stream, which nautilus does not ask for.
#[derive(Deserialize)]
struct Combined<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(rename = "E")]
    millis: i64,
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "U")]
    first: i64,
    #[serde(rename = "u")]
    last: i64,
    #[serde(borrow, rename = "b")]
    bids: Vec<(&'a str, &'a str)>,
    #[serde(borrow, rename = "a")]
    asks: Vec<(&'a str, &'a str)>,
}

fn bare(frame: &[u8]) -> &str {
    let combined: Combined<'_> = serde_json::from_slice(frame).unwrap();
    combined.data.get()
}

fn change(bare: &str) -> Change<'_> {
    serde_json::from_str(bare).unwrap()
}

fn symbol(pair: Pair) -> String {
    format!("{}{}", pair.base, pair.quote)
}

/// JSON by the adapter of the futures.
pub(crate) struct Json;

impl Adapter for Json {
    type Frame = Vec<u8>;

    const PEER: &'static str = "nautilus";
    const VENUE: &'static str = "BINANCE";

    fn name(pair: Pair) -> String {
        symbol(pair)
    }

    fn frames(stream: &Stream) -> Vec<Vec<u8>> {
        let frames = stream.steady.iter();
        frames.map(|frame| whole(bare(frame)).into()).collect()
    }

    fn take(markets: &mut Markets, frame: &Vec<u8>) {
        let json: Value = serde_json::from_slice(frame).unwrap();
        let is_answer = json.get("result").is_some() || json.get("id").is_some();
        assert!(!is_answer && json.get("code").is_none());
        let kind = extract_event_type(&json).unwrap();
        assert_eq!(kind, BinanceWsEventType::DepthUpdate);
        // The copy is theirs too: the message is read out of it.
        let message: BinanceFuturesDepthUpdateMsg = serde_json::from_value(json.clone()).unwrap();
        let market = markets.get(message.symbol);
        let deltas = parse_depth_update(&message, &market.instrument, CAME).unwrap();
        market.book.apply_deltas(&deltas).unwrap();
    }
}

/// Gives a change of the spot market the two fields that only the futures' have.
fn whole(bare: &str) -> String {
    if bare.contains(r#""pu":"#) {
        return bare.to_owned();
    }
    let Change { millis, first, .. } = change(bare);
    let (time, previous) = (format!(r#","T":{millis},"s":"#), first - 1);
    let text = bare.replacen(r#","s":"#, &time, 1);
    text.replacen(r#","b":"#, &format!(r#","pu":{previous},"b":"#), 1)
}

/// The binary stream by the adapter of the spot market: the changes of the recorded frames, written
/// as `depth_diff.rs` of that adapter tells.
pub(crate) struct Binary;

impl Adapter for Binary {
    type Frame = Vec<u8>;

    const PEER: &'static str = "nautilus, binary stream";
    const VENUE: &'static str = "BINANCE";

    fn name(pair: Pair) -> String {
        symbol(pair)
    }

    fn frames(stream: &Stream) -> Vec<Vec<u8>> {
        let frames = stream.steady.iter();
        frames.map(|frame| binary(&change(bare(frame)))).collect()
    }

    fn take(markets: &mut Markets, frame: &Vec<u8>) {
        let Ok(MarketDataMessage::DepthDiff(event)) = decode_market_data(frame) else {
            panic!("a frame of ours is no change of a book");
        };
        let market = markets.get(event.symbol);
        let deltas = parse_depth_diff(&event, &market.instrument).unwrap();
        market.book.apply_deltas(&deltas).unwrap();
    }
}

fn binary(change: &Change<'_>) -> Vec<u8> {
    let block = DepthDiffStreamEvent::BLOCK_LENGTH as u16;
    let mut bytes = Vec::new();
    for word in [
        block,
        DEPTH_DIFF_STREAM_EVENT,
        STREAM_SCHEMA_ID,
        STREAM_SCHEMA_VERSION,
    ] {
        bytes.extend(word.to_le_bytes());
    }
    for word in [change.millis * 1000, change.first, change.last] {
        bytes.extend(word.to_le_bytes());
    }
    // Prices and quantities are whole numbers of the eighth digit behind the point.
    bytes.extend([-8_i8, -8].map(i8::cast_unsigned));
    for rows in [&change.bids, &change.asks] {
        bytes.extend((PriceLevel::ENCODED_LENGTH as u16).to_le_bytes());
        bytes.extend((rows.len() as u16).to_le_bytes());
        for (price, quantity) in rows {
            for text in [price, quantity] {
                let units = parse_decimal(text.as_bytes()).unwrap();
                bytes.extend(units.to_le_bytes());
            }
        }
    }
    bytes.push(change.symbol.len() as u8);
    bytes.extend(change.symbol.as_bytes());
    bytes
}
