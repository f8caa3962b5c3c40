//! Exchanges: what a dialect must offer, both as adapter and as server. Nothing here opens a socket.
//!
//! ```text
//! bytes of the feed ── Feed::decode ──▶ Heard (book, order report, lag)
//!                      Feed::tend ──▶ Ask (frames to send, public documents to get)
//! Approved order ── OrderClient::place ──▶ request bytes ── reply ──▶ OrderClient::decode_reply
//!                   OrderClient::follow_up ──▶ what earlier replies made necessary
//! request bytes ── Server::handle_request ──▶ reply, frames     (rehearsal, tests, simulator)
//! ```

pub mod asking;
pub mod binance;
pub mod bitstamp;
pub mod btce;
pub mod coinbase;
pub mod document;
pub mod exchange;
pub mod held;
pub mod history;
pub mod http;
pub mod kraken;
pub mod literal;
pub mod mtgox;
pub mod names;
pub mod recognise;
pub mod registry;
pub mod rows;
pub mod scan;
pub mod serving;
pub mod simulated;
pub mod socketio;
pub mod stamp;
pub mod subscriptions;
#[cfg(test)]
mod trial;
pub mod walk;
pub mod websocket;

use std::fmt;

use thiserror::Error;

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::instrument::{Market, Pair, VenueId};
use crate::model::market::{BookUpdate, Rules};
use crate::model::number::Quantity;
use crate::model::sealed::Approved;
use crate::model::time::{Span, Time};
use crate::model::trade::{Filled, OrderIntent, OrderReport, VenueRef};
use crate::venue::document::Document;
use crate::venue::scan::ReadCounts;
use crate::venue::serving::fault::Fault;
use crate::venue::serving::{Audit, ServerSettings, SetupError};

/// One exchange dialect. A new exchange is one folder and one line in `registry::VENUES`.
pub trait Dialect: fmt::Debug + Sync {
    /// Returns the dialect's name in configs and on the command line.
    fn name(&self) -> &'static str;

    /// Returns what the dialect can and cannot do.
    fn card(&self) -> Card;

    /// Returns what the venue demands in one market.
    fn rules(&self, _pair: Pair) -> Rules {
        self.card().rules
    }

    /// Makes the public half: it exists in every mode and holds no secret.
    fn feed(&self, setup: &Setup) -> Box<dyn Feed>;

    /// Makes the trading half, where orders can be sent. Only live mode calls this.
    fn order_client(
        &self,
        _setup: &Setup,
        _credentials: Credentials,
    ) -> Option<Box<dyn OrderClient>> {
        None
    }

    /// Reads a recorded document or frame, for those who check recordings.
    ///
    /// # Errors
    /// It is neither something that the venue writes nor one of its refusals.
    fn read_document(&self, _bytes: &[u8]) -> Result<Document, DecodeError> {
        Err(DecodeError::Unknown)
    }

    /// Makes the served side, for rehearsals, tests and the simulator.
    ///
    /// # Errors
    /// The first setting that contradicts another or a limit; `NotServed` where there is none.
    fn server(&self, _settings: ServerSettings) -> Result<Box<dyn Server>, SetupError> {
        Err(SetupError::NotServed)
    }
}

/// What an operator and the node must know of a dialect before trading through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    /// Orders can be sent, and a served side stands for the exchange. Without, its books are
    /// watched: they feed detection, quotes and paper trading.
    pub is_tradable: bool,
    pub sequenced_books: bool,
    pub client_order_ids: bool,
    pub private_stream: bool,
    pub reports_engine_lag: bool,
    /// A key's requests must arrive in the order of their nonces: one is in flight at a time.
    pub is_serial: bool,
    /// Books can be had without a stream.
    pub is_pollable: bool,
    pub depth_levels_max: u16,
    /// A feed without any frame for this long is dead.
    pub silence_max: Span,
    /// Requests an account may send in a second.
    pub requests_per_s: u16,
    pub rules: Rules,
    pub paths: Paths,
    /// The faults its served side can have.
    pub faults: &'static [Fault],
}

/// Where a dialect's streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Of the WebSocket; `None` where all is polled.
    pub ws: Option<&'static str>,
    /// Of the handshake of socket.io 0.x, where that is spoken too.
    pub socketio: Option<&'static str>,
}

/// How frames travel on a venue's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no stream: everything is polled.
    Polled,
    #[default]
    Plain,
    /// socket.io 0.x over a WebSocket.
    SocketIo,
}

/// Where an instance of a dialect lives and what is traded there.
#[derive(Clone, Debug)]
pub struct Setup {
    pub venue: VenueId,
    /// `Host` of requests, as `host:port`.
    pub host: String,
    pub pairs: Vec<Pair>,
    /// What the venue demands and takes in each market, where its operator knows better.
    pub rules: Vec<(Pair, Rules)>,
    pub framing: Framing,
}

/// The public half of an adapter: turns frames of the feed into what they say.
pub trait Feed: fmt::Debug + Send {
    /// Returns the bytes of the largest frame that is read.
    fn frame_bytes_max(&self) -> usize;

    /// Asks for what is to be heard, once the feed is connected (or polling may begin).
    fn subscribe(&mut self, now: Time, ask: &mut dyn FnMut(Ask<'_>));

    /// Asks for a fresh snapshot of `market` after a gap.
    fn resync(&mut self, market: Market, now: Time, ask: &mut dyn FnMut(Ask<'_>));

    /// Asks for what is due: heartbeats, polls, answers to what was just decoded. It is called
    /// after every frame and reply, and at the moment it returned last.
    fn tend(&mut self, now: Time, ask: &mut dyn FnMut(Ask<'_>)) -> Option<Time>;

    /// Reads a frame that is not too long, for [`Feed::decode`].
    ///
    /// # Errors
    /// As there.
    fn read_frame(&mut self, frame: &[u8], now: Time, heard: Hear<'_>) -> Result<(), DecodeError>;

    /// Decodes one frame and hands every fact in it to `heard`, in order.
    ///
    /// # Errors
    /// Nothing of a frame that is refused was handed on; one that is too long was not read.
    #[inline]
    fn decode(&mut self, frame: &[u8], now: Time, heard: Hear<'_>) -> Result<(), DecodeError> {
        let at = self.frame_bytes_max();
        if frame.len() > at {
            let what = "too long";
            return Err(DecodeError::Malformed { at, what });
        }
        self.read_frame(frame, now, heard)
    }

    /// Decodes a public document that was asked for. Status 0 says that there is none: it was
    /// not sent or its reply was lost.
    ///
    /// # Errors
    /// Nothing of a document that is refused was handed on.
    fn decode_reply(
        &mut self,
        _ticket: Ticket,
        _status: u16,
        _body: &[u8],
        _now: Time,
        _heard: Hear<'_>,
    ) -> Result<(), DecodeError> {
        Err(DecodeError::Unknown)
    }

    /// Returns how its frames were read.
    fn read_counts(&self) -> ReadCounts {
        ReadCounts::default()
    }
}

/// What a feed wants sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// A text frame on the stream.
    Frame(&'a [u8]),
    /// A public document: path and query.
    Get { ticket: Ticket, target: &'a str },
}

/// A feed's own number for a document it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u16);

/// Takes the facts of a feed, in order.
pub type Hear<'a> = &'a mut dyn FnMut(Heard<'_>);

/// One fact from a feed.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    Book(BookUpdate<'a>),
    /// The account's own order changed (private stream).
    Order(OrderReport),
    /// How far the venue's engine runs behind.
    EngineLag(Span),
    /// This frame concerns the account: the trading half reads it.
    Account,
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

impl DecodeError {
    /// What is wrong is no matter of one byte.
    pub const fn malformed(what: &'static str) -> Self {
        Self::Malformed { at: 0, what }
    }
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed {
            at: error.column(),
            what: "json",
        }
    }
}

/// The trading half of an adapter: writes whole HTTP/1.1 requests, reads replies.
///
/// Requests are appended to a reused buffer, head and body, ready for a connection that is open.
/// Where the venue gives orders names of its own, this half keeps the table of names: it reports
/// orders by ours, and tells each name once, so that it can be made durable.
pub trait OrderClient: fmt::Debug + Send {
    fn place(&mut self, order: &Approved, now: Time, request: &mut Vec<u8>);

    /// Appends nothing where the venue's name for the order is not known yet.
    fn cancel(&mut self, order: OrderId, market: Market, now: Time, request: &mut Vec<u8>);

    /// Asks what became of orders.
    fn orders(&mut self, query: &OrdersQuery<'_>, now: Time, request: &mut Vec<u8>);

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
        now: Time,
        told: &mut dyn FnMut(Told),
    ) -> Result<(), ReplyError>;

    /// Takes note that no reply will come.
    ///
    /// # Errors
    /// `ReplyError::Unknown`, unless the question will be asked again and the answer goes on.
    fn handle_lost(
        &mut self,
        _asked: Asked,
        _now: Time,
        _told: &mut dyn FnMut(Told),
    ) -> Result<(), ReplyError> {
        Err(ReplyError::Unknown)
    }

    /// Reads a frame of the private stream.
    fn handle_frame(&mut self, _frame: &[u8], _now: Time, _told: &mut dyn FnMut(Told)) {}

    /// Appends the next request that earlier replies or frames made necessary, if there is one.
    fn follow_up(&mut self, _now: Time, _request: &mut Vec<u8>) -> Option<Asked> {
        None
    }

    /// Appends the next frame for the stream that earlier replies made necessary.
    fn follow_frame(&mut self, _now: Time, _frame: &mut Vec<u8>) -> bool {
        false
    }

    /// Takes up an order of an earlier run and the venue's name for it.
    fn adopt(&mut self, _order: &OrderIntent, _reference: VenueRef, _is_ended: bool) {}

    /// Takes note that the node is done with an order.
    fn handle_ended(&mut self, _order: OrderId) {}

    /// Takes note that nonces below this one may have been used by an earlier run.
    fn resume_nonces(&mut self, _used_below: u64) {}

    /// Returns up to where nonces should be reserved durably, when that is needed.
    fn nonces_wanted(&self, _now: Time) -> Option<u64> {
        None
    }

    /// Nonces below this one are reserved: the next run will use none of them.
    fn grant_nonces(&mut self, _below: u64) {}

    /// Returns false while no request can be written, for want of nonces.
    fn is_ready(&self) -> bool {
        true
    }
}

/// Which orders a list is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct OrdersQuery<'a> {
    /// Every order with an id at or above this one, where the venue knows our ids.
    pub from: OrderId,
    /// The orders whose fate is unknown. A quantity of zero says that not even that is known: any
    /// order of that market and side which nobody else is may be it.
    pub about: &'a [OrderIntent],
    /// None of them was sent before.
    pub since: Time,
}

/// What a request asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Place(OrderId),
    Cancel(OrderId),
    /// What an order has traded, and at which prices.
    Fills(OrderId),
    Orders,
    Account,
    /// A way into the private stream.
    Entry,
    /// A public document of the feed.
    Public(Ticket),
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
    /// The venue's own name for an order of ours.
    Named {
        order: OrderId,
        reference: VenueRef,
    },
    /// More than one order at the venue may be this one: nobody acts before its owner does.
    Ambiguous(OrderId),
    /// The answer goes on in follow-ups.
    More,
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
    /// Where it comes from: an address without a port.
    pub peer: &'a str,
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
