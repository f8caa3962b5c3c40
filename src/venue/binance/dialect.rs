//! Binance as the registry lists it: its spot market, and its futures settled in USDT.

use crate::model::market::{FeeIn, Rules};
use crate::model::number::{Price, Quantity};
use crate::model::time::Span;
use crate::venue::binance::Trading;
use crate::venue::binance::feed::BinanceFeed;
use crate::venue::binance::record::read_document;
use crate::venue::document::Document;
use crate::venue::{Card, DecodeError, Dialect, Feed, Paths, Setup};

/// One of Binance's exchanges.
#[derive(Clone, Copy, Debug)]
pub struct Binance(Trading);

/// `binance`.
pub const BINANCE: Binance = Binance(Trading::Spot);
/// `binancefutures`.
pub const BINANCE_FUTURES: Binance = Binance(Trading::Futures);

impl Dialect for Binance {
    fn name(&self) -> &'static str {
        match self.0 {
            Trading::Spot => "binance",
            Trading::Futures => "binancefutures",
        }
    }

    fn card(&self) -> Card {
        Card {
            is_tradable: false,
            sequenced_books: true,
            client_order_ids: true,
            private_stream: true,
            reports_engine_lag: false,
            is_serial: false,
            is_pollable: false,
            depth_levels_max: BinanceFeed::DEPTH_LEVELS_MAX,
            // Lists of subscriptions are asked for every ten seconds, whatever the market does.
            silence_max: Span::secs(30),
            // A hundred orders in ten seconds.
            requests_per_s: 10,
            rules: match self.0 {
                Trading::Spot => SPOT_RULES,
                Trading::Futures => FUTURES_RULES,
            },
            paths: Paths {
                ws: Some("/stream"),
                socketio: None,
            },
            faults: &[],
        }
    }

    fn feed(&self, setup: &Setup) -> Box<dyn Feed> {
        Box::new(BinanceFeed::new(setup, self.0))
    }

    fn read_document(&self, bytes: &[u8]) -> Result<Document, DecodeError> {
        read_document(bytes)
    }
}

/// Of BTC/USDT, for takers without a discount; other markets have other steps, which the
/// configuration tells. The least order is a sum of money there, here about as much in BTC.
const SPOT_RULES: Rules = Rules {
    tick: Price(1_000_000),
    lot: Quantity(1_000),
    quantity_min: Quantity(10_000),
    taker_fee_ppm: 1_000,
    fee_in: FeeIn::Received,
};

/// The same of the perpetual contract, which settles in USDT.
const FUTURES_RULES: Rules = Rules {
    tick: Price(10_000_000),
    lot: Quantity(100_000),
    quantity_min: Quantity(100_000),
    taker_fee_ppm: 500,
    fee_in: FeeIn::Quote,
};
