//! The dialect as the registry lists it, once for every exchange that trades in it.

use crate::model::instrument::Pair;
use crate::model::market::Rules;
use crate::model::time::Span;
use crate::venue::btce::FAULTS;
use crate::venue::btce::feed::BtceFeed;
use crate::venue::btce::order::BtceOrders;
use crate::venue::btce::record::read_document;
use crate::venue::btce::server::BtceServer;
use crate::venue::btce::style::{BTCE, Style, YOBIT};
use crate::venue::document::Document;
use crate::venue::serving::{ServerSettings, SetupError};
use crate::venue::{
    Card, Credentials, DecodeError, Dialect, Feed, OrderClient, Paths, Server, Setup,
};

/// One exchange of the dialect.
#[derive(Clone, Copy, Debug)]
pub struct Btce(&'static Style);

/// `btce`.
pub const BTCE_DIALECT: Btce = Btce(&BTCE);
/// `yobit`.
pub const YOBIT_DIALECT: Btce = Btce(&YOBIT);

impl Dialect for Btce {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn card(&self) -> Card {
        Card {
            is_tradable: true,
            sequenced_books: false,
            client_order_ids: false,
            private_stream: false,
            reports_engine_lag: false,
            is_serial: true,
            is_pollable: true,
            depth_levels_max: 150,
            silence_max: Span::secs(20),
            requests_per_s: 50,
            rules: self.0.rules,
            paths: Paths {
                ws: self.0.pusher.map(|_| PUSHER_PATH),
                socketio: None,
            },
            faults: &FAULTS,
        }
    }

    fn rules(&self, pair: Pair) -> Rules {
        self.0.rules(pair)
    }

    fn feed(&self, setup: &Setup) -> Box<dyn Feed> {
        Box::new(BtceFeed::new(setup, self.0))
    }

    fn order_client(
        &self,
        setup: &Setup,
        credentials: Credentials,
    ) -> Option<Box<dyn OrderClient>> {
        Some(Box::new(BtceOrders::new(setup, &credentials, self.0)))
    }

    fn read_document(&self, bytes: &[u8]) -> Result<Document, DecodeError> {
        read_document(self.0, bytes)
    }

    fn server(&self, settings: ServerSettings) -> Result<Box<dyn Server>, SetupError> {
        Ok(Box::new(BtceServer::new(settings, self.0)?))
    }
}

/// BTC-e's application at Pusher; the key is in the path.
const PUSHER_PATH: &str = "/app/c354d4d129ee0faa5c92?protocol=7&client=expressnet&version=1.0";
