//! Exchanges: what a dialect must offer, both as adapter and as server. Nothing here opens a socket.
//!
//! ```text
//! bytes of the feed ── Feed::decode ──▶ Heard (book, order report, lag)
//! Approved order ── OrderClient::place ──▶ request bytes ── reply ──▶ OrderClient::decode_reply
//! request bytes ── Server::handle_request ──▶ reply, frames     (rehearsal, tests, simulator)
//! ```

pub mod exchange;
pub mod history;
pub mod http;
pub mod registry;
pub mod serving;
pub mod simulated;

#[cfg(test)]
mod conformance;

use std::fmt;

use thiserror::Error;

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::instrument::{Market, Pair, VenueId};
use crate::model::market::{BookUpdate, Rules};
use crate::model::number::Quantity;
use crate::model::sealed::Approved;
use crate::model::time::{Span, Time};
use crate::model::trade::{Filled, OrderReport};
use crate::venue::serving::{Audit, ServerSettings, SetupError};

/// One exchange dialect. A new exchange is one folder and one line in `registry::VENUES`.
pub trait Dialect: fmt::Debug + Sync {
    /// Returns the dialect's name in configs and on the command line.
    fn name(&self) -> &'static str;

    /// Returns what the dialect can and cannot do.
    fn card(&self) -> Card;

    /// Makes the public half: it exists in every mode and holds no secret.
    fn feed(&self, setup: &Setup) -> Box<dyn Feed>;

    /// Makes the trading half. Only live mode calls this.
    fn order_client(&self, setup: &Setup, credentials: Credentials) -> Box<dyn OrderClient>;

    /// Makes the served side, for rehearsals, tests and the simulator.
    ///
    /// # Errors
    /// The first setting that contradicts another or a limit.
    fn server(&self, settings: ServerSettings) -> Result<Box<dyn Server>, SetupError>;
}

/// What an operator and the node must know of a dialect before trading through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    pub sequenced_books: bool,
    pub client_order_ids: bool,
    pub private_stream: bool,
    pub reports_engine_lag: bool,
    pub depth_levels_max: u16,
    /// A feed without any frame for this long is dead.
    pub silence_max: Span,
    /// Requests an account may send in a second.
    pub requests_per_s: u16,
    pub rules: Rules,
}

/// Where an instance of a dialect lives and what is traded there.
#[derive(Clone, Debug)]
pub struct Setup {
    pub venue: VenueId,
    /// `Host` of requests, as `host:port`.
    pub host: String,
    pub pairs: Vec<Pair>,
}

/// The public half of an adapter: turns frames of the feed into what they say.
pub trait Feed: fmt::Debug + Send {
    /// Appends the frames to send once the feed is connected, each through one call of `send`.
    fn subscribe(&mut self, send: &mut dyn FnMut(&[u8]));

    /// Appends the frames that ask for a fresh snapshot of `market` after a gap.
    fn resync(&mut self, market: Market, send: &mut dyn FnMut(&[u8]));

    /// Appends a heartbeat frame where the venue wants one, and says when to call again.
    fn heartbeat(&mut self, now: Time, send: &mut dyn FnMut(&[u8])) -> Option<Time>;

    /// Decodes one frame and hands every fact in it to `heard`, in order.
    ///
    /// # Errors
    /// Nothing of a frame that is refused was handed on.
    fn decode(
        &mut self,
        frame: &[u8],
        now: Time,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(), DecodeError>;
}

/// One fact from a feed.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    Book(BookUpdate<'a>),
    /// The account's own order changed (private stream).
    Order(OrderReport),
    /// How far the venue's engine runs behind.
    EngineLag(Span),
    /// The venue lives; nothing changed.
    Alive,
}

/// Why a frame was not used, and what to do about it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Drop the frame and resync what it may have carried.
    #[error("malformed frame at byte {at}: {what}")]
    Malformed { at: usize, what: &'static str },
    /// The venue speaks of something this node did not ask for. Ignore.
    #[error("unknown market or channel")]
    Unknown,
    /// The venue refuses to serve; reconnect with back-off.
    #[error("the venue refused: {what}")]
    Refused { what: &'static str },
}

/// The trading half of an adapter: writes whole HTTP/1.1 requests, reads replies.
///
/// Requests are appended to a reused buffer, head and body, ready for a connection that is open.
pub trait OrderClient: fmt::Debug + Send {
    fn place(&mut self, order: &Approved, now: Time, request: &mut Vec<u8>);

    fn cancel(&mut self, order: OrderId, market: Market, now: Time, request: &mut Vec<u8>);

    /// Asks for every order of this account with an id at or above `from`, open or closed.
    fn orders(&mut self, from: OrderId, now: Time, request: &mut Vec<u8>);

    /// Asks for free balances and for the rights of the key.
    fn account(&mut self, now: Time, request: &mut Vec<u8>);

    /// Appends the frames that open the private stream, where there is one.
    fn login(&mut self, now: Time, send: &mut dyn FnMut(&[u8]));

    /// Reads the reply to a request of the given kind and hands on every fact in it.
    ///
    /// # Errors
    /// `ReplyError::Unknown` where the venue may or may not have done it: query, never send again.
    fn decode_reply(
        &mut self,
        asked: Asked,
        status: u16,
        body: &[u8],
        told: &mut dyn FnMut(Told),
    ) -> Result<(), ReplyError>;
}

/// What a request asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Place(OrderId),
    Cancel(OrderId),
    Orders,
    Account,
}

/// One fact from a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Order(OrderReport),
    /// Free balance and what open orders hold, of one currency.
    Balance {
        currency: Currency,
        free: Quantity,
        held: Quantity,
    },
    Rights {
        may_trade: bool,
        may_withdraw: bool,
    },
    /// The list of orders or balances is complete.
    End,
}

/// Why a reply does not say that it was done.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReplyError {
    /// The venue refused; nothing happened there.
    #[error("the venue refused: {0}")]
    Rejected(Refusal),
    /// No way to tell: timeout, 5xx, unreadable body.
    #[error("the outcome is unknown")]
    Unknown,
}

/// Reasons of a venue, as far as the node acts on them.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("not enough funds")]
    Funds,
    #[error("below the venue's minimum, or off its tick or lot")]
    Rule,
    #[error("no such order")]
    NoSuchOrder,
    #[error("this order id was used already")]
    Duplicate,
    #[error("too many requests")]
    Throttled,
    #[error("key, signature or nonce")]
    Access,
    #[error("market closed or halted")]
    Closed,
    #[error("other")]
    Other,
}

/// Key and secret of a venue account. Neither prints.
#[derive(Clone)]
pub struct Credentials {
    pub key: String,
    pub secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(hidden)")
    }
}

/// The served side of a dialect over the matching engine: bytes in, bytes out, no socket.
pub trait Server: fmt::Debug + Send {
    /// Answers one HTTP request, and pushes frames to streams through `push`.
    fn handle_request(
        &mut self,
        request: &ServerRequest<'_>,
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) -> ServerReply;

    /// Takes note of a new stream opened at `target` (path and query).
    fn handle_stream(&mut self, stream: StreamNo, target: &str, now: Time) -> bool;

    fn handle_frame(
        &mut self,
        stream: StreamNo,
        frame: &[u8],
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    );

    fn handle_stream_closed(&mut self, stream: StreamNo);

    /// Does what is due by `now` (history, seeded flow, lag queue, faults) and says when to call again.
    ///
    /// Call it after every request and frame as well: they may bring the next deadline nearer.
    fn handle_deadline(&mut self, now: Time, push: &mut dyn FnMut(StreamNo, &[u8]))
    -> Option<Time>;

    /// Returns the streams to close since the last call (disconnect fault).
    fn poll_closed(&mut self) -> Option<StreamNo>;

    /// Returns what the venue's own books say of its customers.
    fn audit(&self) -> Audit;
}

/// One WebSocket of a served venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamNo(pub u64);

/// An HTTP request as a served dialect sees it.
#[derive(Clone, Copy, Debug)]
pub struct ServerRequest<'a> {
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

/// The reply of a served dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerReply {
    Answer {
        status: u16,
        content_type: &'static str,
        body: Vec<u8>,
    },
    /// The request is done, but its reply is lost on the way (fault).
    Lost,
}

/// What an account earned or paid in one trade, for books kept beside a venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    pub order: OrderId,
    pub filled: Filled,
}
