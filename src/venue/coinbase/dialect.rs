//! Both dialects as the registry lists them. They are watched only: no orders can be sent yet.

use crate::model::market::{FeeIn, Rules};
use crate::model::number::{Price, Quantity};
use crate::model::time::Span;
use crate::venue::coinbase::feed::{CoinbaseFeed, Dialogue};
use crate::venue::coinbase::record::read_document;
use crate::venue::document::Document;
use crate::venue::{Card, DecodeError, Dialect, Feed, Paths, Setup};

/// One of the two.
#[derive(Clone, Copy, Debug)]
pub struct Coinbase(Dialogue);

/// `coinbase`, Advanced Trade.
pub const ADVANCED: Coinbase = Coinbase(Dialogue::Advanced);
/// `coinbaseexchange`, once Pro and GDAX.
pub const EXCHANGE: Coinbase = Coinbase(Dialogue::Exchange);

impl Dialect for Coinbase {
    fn name(&self) -> &'static str {
        match self.0 {
            Dialogue::Advanced => "coinbase",
            Dialogue::Exchange => "coinbaseexchange",
        }
    }

    /// Tick, lot and minimum are those of BTC-USD; the fees are what is known of the first tier, 1.2 %
    /// and 0.6 %. Other markets and accounts differ: the configuration can say so.
    fn card(&self) -> Card {
        let (taker_fee_ppm, requests_per_s) = match self.0 {
            Dialogue::Advanced => (12_000, 30),
            Dialogue::Exchange => (6_000, 15),
        };
        Card {
            is_tradable: false,
            sequenced_books: self.0 == Dialogue::Advanced,
            client_order_ids: false,
            private_stream: false,
            reports_engine_lag: false,
            is_serial: false,
            is_pollable: false,
            depth_levels_max: 1_000,
            // A heartbeat comes every second.
            silence_max: Span::secs(10),
            requests_per_s,
            rules: Rules {
                tick: Price(1_000_000),
                lot: Quantity(1),
                quantity_min: Quantity(1),
                taker_fee_ppm,
                fee_in: FeeIn::Quote,
            },
            paths: Paths {
                ws: Some("/"),
                socketio: None,
            },
            faults: &[],
        }
    }

    fn feed(&self, setup: &Setup) -> Box<dyn Feed> {
        Box::new(CoinbaseFeed::new(setup, self.0))
    }

    fn read_document(&self, bytes: &[u8]) -> Result<Document, DecodeError> {
        read_document(bytes)
    }
}
