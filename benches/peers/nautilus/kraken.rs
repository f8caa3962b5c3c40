//! Kraken's second version by nautilus-kraken. The handler between the public parts is private: its
//! steps for a data message stand here in its order (nautilus-kraken 0.57.0,
//! `websocket/spot_v2/handler.rs` and `data/spot.rs`, read 2026-11-23).

use expressnet::model::instrument::Pair;
use nautilus_kraken::websocket::spot_v2::messages::{KrakenWsBookData, KrakenWsMessage};
use nautilus_kraken::websocket::spot_v2::parse::parse_book_deltas;
use nautilus_model::data::OrderBookDeltas;
use nautilus_model::instruments::Instrument;
use serde_json::Value;

use crate::markets::{Adapter, CAME, Markets};
use crate::recorded::Stream;

/// Book messages with numbers written bare, which it reads as floats.
pub(crate) struct Kraken;

impl Adapter for Kraken {
    type Frame = String;

    const PEER: &'static str = "nautilus";
    const VENUE: &'static str = "KRAKEN";

    fn name(pair: Pair) -> String {
        pair.to_string()
    }

    fn frames(stream: &Stream) -> Vec<String> {
        let text = |frame: &Vec<u8>| String::from_utf8(frame.clone()).unwrap();
        stream.steady.iter().map(text).collect()
    }

    fn take(markets: &mut Markets, text: &String) {
        assert!(!text.contains("\"level3\""));
        let value: Value = serde_json::from_str(text).unwrap();
        assert!(value.get("method").is_none());
        assert!(value.get("channel").is_some() && value.get("data").is_some());
        let message: KrakenWsMessage = serde_json::from_value(value).unwrap();
        for data in message.data {
            let said: KrakenWsBookData = serde_json::from_value(data).unwrap();
            let sequence = markets.sequence;
            let market = markets.get(said.symbol);
            let deltas = parse_book_deltas(&said, &market.instrument, sequence, CAME).unwrap();
            let count = deltas.len() as u64;
            if count > 0 {
                let deltas = OrderBookDeltas::new(market.instrument.id(), deltas);
                market.book.apply_deltas(&deltas).unwrap();
                markets.sequence += count;
            }
        }
    }
}
