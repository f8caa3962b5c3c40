//! The dialect of BTC-e and of the exchanges that took it over, 2011 to 2018 and later.
//!
//! ```text
//! public  HTTP GET or POST  /api/2/<pair>/<method>   /api/3/<method>/<pair>-<pair>     cached 2 s
//! tapi    HTTP POST, form encoded, Key and Sign headers, a nonce that only grows
//! feed    WebSocket, Pusher protocol 7: channels <pair>.trades and <pair>.depth
//! ```
//! Numbers are bare JSON numbers, times are seconds since 1970, a pair is `btc_usd`. A refusal has
//! status 200 and says `{"success":0,"error":"..."}`.

pub mod access;
pub mod dialect;
mod booking;
mod document;
pub mod feed;
mod form;
mod history;
mod json;
mod ledger;
mod lookup;
mod nonces;
pub mod order;
pub mod personality;
mod public;
mod pusher;
pub mod record;
mod refusal;
pub mod server;
pub mod shape;
pub mod sign;
mod slow;
pub mod style;
mod tapi;
mod trade;

use crate::venue::serving::fault::Fault;

/// What a served exchange of this dialect can have.
///
/// `Lag` cannot make the engine late here, for this dialect has no pending orders: for some seconds
/// every signed request is refused as too often instead, and nothing is done.
pub const FAULTS: [Fault; 7] = [
    Fault::Disconnects,
    Fault::Errors,
    Fault::Lag,
    Fault::LostFrames,
    Fault::LostReplies,
    Fault::SlowCancel,
    Fault::TextErrors,
];
