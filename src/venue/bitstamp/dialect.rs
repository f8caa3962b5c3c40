//! Bitstamp as the registry lists it.

use crate::model::market::{FeeIn, Rules};
use crate::model::number::{Price, Quantity};
use crate::model::time::Span;
use crate::venue::bitstamp::feed::BitstampFeed;
use crate::venue::bitstamp::record::read_document;
use crate::venue::document::Document;
use crate::venue::{Card, DecodeError, Dialect, Feed, Paths, Setup};

/// `bitstamp`.
#[derive(Clone, Copy, Debug)]
pub struct Bitstamp;

impl Dialect for Bitstamp {
    fn name(&self) -> &'static str {
        "bitstamp"
    }

    fn card(&self) -> Card {
        Card {
            is_tradable: false,
            sequenced_books: false,
            client_order_ids: true,
            private_stream: true,
            reports_engine_lag: false,
            is_serial: false,
            is_pollable: false,
            depth_levels_max: BitstampFeed::DEPTH_LEVELS_MAX,
            // Its answers to heartbeats come every ten seconds, whatever the market does.
            silence_max: Span::secs(30),
            // 8,000 in ten minutes.
            requests_per_s: 13,
            rules: RULES,
            paths: Paths {
                ws: Some("/"),
                socketio: None,
            },
            faults: &[],
        }
    }

    fn feed(&self, setup: &Setup) -> Box<dyn Feed> {
        Box::new(BitstampFeed::new(setup))
    }

    fn read_document(&self, bytes: &[u8]) -> Result<Document, DecodeError> {
        read_document(bytes)
    }
}

/// Of BTC/USD, for takers of the first tier; other markets have other decimals, which the
/// configuration tells. The least order is a sum of money there, here about as much in BTC.
const RULES: Rules = Rules {
    tick: Price(1_000_000),
    lot: Quantity(1),
    quantity_min: Quantity(20_000),
    taker_fee_ppm: 4_000,
    fee_in: FeeIn::Quote,
};
