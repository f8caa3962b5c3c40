//! The dialect that this project serves itself, for rehearsals, tests and the simulator.
//!
//! ```text
//! feed    WebSocket, JSON text: book snapshot, book delta (prev, seq), order, lag, alive
//! orders  HTTP, JSON bodies: POST /order /cancel /orders /account, signed; GET /book /trades /rules
//! ```
//! Numbers are decimal strings, times nanoseconds since 1970 as strings, ids decimal strings.

pub mod access;
mod answer;
pub mod decode;
mod message;
pub mod order;
mod queue;
pub mod server;

use crate::model::market::{FeeIn, Rules};
use crate::model::number::{Price, Quantity};
use crate::model::time::Span;
use crate::venue::serving::fault::Fault;
use crate::venue::serving::{ServerSettings, SetupError};
use crate::venue::simulated::decode::SimulatedFeed;
use crate::venue::simulated::order::SimulatedOrders;
use crate::venue::simulated::server::SimulatedServer;
use crate::venue::{Card, Credentials, Dialect, Feed, OrderClient, Paths, Server, Setup};

/// The dialect `simulated`.
#[derive(Clone, Copy, Debug)]
pub struct Simulated;

/// Levels a side of the largest book: the matching engine keeps no more.
pub const DEPTH_LEVELS_MAX: u16 = 1_000;
/// Requests of one key in a second; the next one is answered 429.
pub const REQUESTS_PER_S: u16 = 200;

/// What a simulated venue demands and takes unless its operator says otherwise.
pub const RULES: Rules = Rules {
    tick: Price(1_000_000),
    lot: Quantity(1),
    quantity_min: Quantity(100_000),
    taker_fee_ppm: 2_000,
    fee_in: FeeIn::Received,
};

/// What a simulated venue can have.
pub const FAULTS: [Fault; 7] = [
    Fault::Disconnects,
    Fault::Errors,
    Fault::Lag,
    Fault::LostFrames,
    Fault::LostReplies,
    Fault::ReorderedFrames,
    Fault::SlowCancel,
];

impl Dialect for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn card(&self) -> Card {
        Card {
            is_tradable: true,
            sequenced_books: true,
            client_order_ids: true,
            private_stream: true,
            reports_engine_lag: true,
            is_serial: false,
            is_pollable: false,
            depth_levels_max: DEPTH_LEVELS_MAX,
            silence_max: Span::secs(5),
            requests_per_s: REQUESTS_PER_S,
            rules: RULES,
            paths: Paths {
                ws: Some("/ws"),
                socketio: None,
            },
            faults: &FAULTS,
        }
    }

    fn feed(&self, setup: &Setup) -> Box<dyn Feed> {
        Box::new(SimulatedFeed::new(setup))
    }

    fn order_client(
        &self,
        setup: &Setup,
        credentials: Credentials,
    ) -> Option<Box<dyn OrderClient>> {
        Some(Box::new(SimulatedOrders::new(setup, credentials)))
    }

    fn server(&self, settings: ServerSettings) -> Result<Box<dyn Server>, SetupError> {
        Ok(Box::new(SimulatedServer::new(settings)?))
    }
}
