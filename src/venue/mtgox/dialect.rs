//! The dialect as the registry lists it, once for each generation of its HTTP interface.

use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::market::{FeeIn, Rules};
use crate::model::number::{Price, Quantity};
use crate::model::time::Span;
use crate::venue::document::Document;
use crate::venue::mtgox::feed::MtgoxFeed;
use crate::venue::mtgox::order::MtgoxOrders;
use crate::venue::mtgox::record::read_document;
use crate::venue::mtgox::server::MtgoxServer;
use crate::venue::mtgox::sign::Version;
use crate::venue::mtgox::{FAULTS, REQUESTS_PER_S, money};
use crate::venue::serving::{ServerSettings, SetupError};
use crate::venue::{
    Card, Credentials, DecodeError, Dialect, Feed, OrderClient, Paths, Server, Setup,
};

/// MtGox, spoken to in one generation.
#[derive(Clone, Copy, Debug)]
pub struct Mtgox {
    name: &'static str,
    version: Version,
}

/// `mtgox`: v2, as from 2012 on.
pub const MTGOX: Mtgox = Mtgox {
    name: "mtgox",
    version: Version::V2,
};
/// `mtgox1`: v1 wherever that has the method.
pub const MTGOX_V1: Mtgox = Mtgox {
    name: "mtgox1",
    version: Version::V1,
};

const BTC_USD: Pair = Pair {
    base: Currency::BTC,
    quote: Currency::USD,
};

impl Dialect for Mtgox {
    fn name(&self) -> &'static str {
        self.name
    }

    fn card(&self) -> Card {
        Card {
            is_tradable: true,
            sequenced_books: false,
            client_order_ids: false,
            private_stream: true,
            reports_engine_lag: true,
            is_serial: false,
            is_pollable: false,
            depth_levels_max: 1_000,
            silence_max: Span::secs(60),
            requests_per_s: REQUESTS_PER_S,
            rules: self.rules(BTC_USD),
            paths: Paths {
                ws: Some("/mtgox"),
                socketio: Some("/socket.io/1"),
            },
            faults: &FAULTS,
        }
    }

    /// Prices stand in the smallest unit of the quote currency; 0.01 BTC at least; 0.6 % of what is
    /// received.
    fn rules(&self, pair: Pair) -> Rules {
        Rules {
            tick: Price(money::step(pair.quote).0),
            lot: money::step(pair.base),
            quantity_min: Quantity(1_000_000),
            taker_fee_ppm: 6_000,
            fee_in: FeeIn::Received,
        }
    }

    fn feed(&self, setup: &Setup) -> Box<dyn Feed> {
        Box::new(MtgoxFeed::new(setup))
    }

    fn order_client(
        &self,
        setup: &Setup,
        credentials: Credentials,
    ) -> Option<Box<dyn OrderClient>> {
        Some(Box::new(MtgoxOrders::new(
            setup,
            &credentials,
            self.version,
        )))
    }

    fn read_document(&self, bytes: &[u8]) -> Result<Document, DecodeError> {
        read_document(bytes)
    }

    fn server(&self, settings: ServerSettings) -> Result<Box<dyn Server>, SetupError> {
        Ok(Box::new(MtgoxServer::new(settings)?))
    }
}
