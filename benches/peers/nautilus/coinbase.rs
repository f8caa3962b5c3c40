//! Coinbase Advanced by nautilus-coinbase. The handler between the public parts is private: its
//! steps stand here in its order (nautilus-coinbase 0.57.0, `websocket/handler.rs`, read 2026-11-23).

use expressnet::model::instrument::Pair;
use nautilus_coinbase::http::parse::parse_rfc3339_timestamp;
use nautilus_coinbase::websocket::messages::{CoinbaseWsMessage, WsEventType};
use nautilus_coinbase::websocket::parse::{parse_ws_l2_snapshot, parse_ws_l2_update};

use crate::markets::{Adapter, CAME, Markets};
use crate::recorded::Stream;

/// All frames of a connection, of which most change a book.
pub(crate) struct Coinbase;

impl Adapter for Coinbase {
    type Frame = String;

    const PEER: &'static str = "nautilus";
    const VENUE: &'static str = "COINBASE";

    fn name(pair: Pair) -> String {
        format!("{}-{}", pair.base, pair.quote)
    }

    fn frames(stream: &Stream) -> Vec<String> {
        let text = |frame: &Vec<u8>| String::from_utf8(frame.clone()).unwrap();
        stream.steady.iter().map(text).collect()
    }

    fn take(markets: &mut Markets, text: &String) {
        let message: CoinbaseWsMessage = serde_json::from_str(text).unwrap();
        let CoinbaseWsMessage::L2Data {
            timestamp, events, ..
        } = message
        else {
            return;
        };
        let at = parse_rfc3339_timestamp(&timestamp).unwrap();
        for event in &events {
            let market = markets.get(event.product_id);
            let read = match event.event_type {
                WsEventType::Snapshot => parse_ws_l2_snapshot,
                WsEventType::Update => parse_ws_l2_update,
            };
            let deltas = read(event, &market.instrument, at, CAME).unwrap();
            market.book.apply_deltas(&deltas).unwrap();
        }
    }
}
