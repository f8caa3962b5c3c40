//! The dialect as the registry lists it. It is watched only: no orders can be sent yet.

use crate::model::market::{FeeIn, Rules};
use crate::model::number::{Price, Quantity};
use crate::model::time::Span;
use crate::venue::document::Document;
use crate::venue::kraken::feed::KrakenFeed;
use crate::venue::kraken::record::read_document;
use crate::venue::{Card, DecodeError, Dialect, Feed, Paths, Setup};

/// `kraken`.
#[derive(Clone, Copy, Debug)]
pub struct Kraken;

impl Dialect for Kraken {
    fn name(&self) -> &'static str {
        "kraken"
    }

    /// The fee is that of the first tier, 0.40 %; tick and lot are those of BTC/USD. Other markets
    /// and accounts differ: the configuration can say so.
    fn card(&self) -> Card {
        Card {
            is_tradable: false,
            sequenced_books: false,
            client_order_ids: false,
            private_stream: false,
            reports_engine_lag: false,
            is_serial: false,
            is_pollable: false,
            depth_levels_max: 500,
            // A heartbeat comes every second.
            silence_max: Span::secs(10),
            // What the slowest tier regains of its call counter, rounded up.
            requests_per_s: 1,
            rules: Rules {
                tick: Price(10_000_000),
                lot: Quantity(1),
                quantity_min: Quantity(5_000),
                taker_fee_ppm: 4_000,
                fee_in: FeeIn::Quote,
            },
            paths: Paths {
                ws: Some("/v2"),
                socketio: None,
            },
            faults: &[],
        }
    }

    fn feed(&self, setup: &Setup) -> Box<dyn Feed> {
        Box::new(KrakenFeed::new(setup))
    }

    fn read_document(&self, bytes: &[u8]) -> Result<Document, DecodeError> {
        read_document(bytes)
    }
}
