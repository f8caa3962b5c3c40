//! The HTTP half of the venue: who is let in, what is answered, in which envelope.

use std::borrow::Cow;

use serde::Serialize;

use crate::model::instrument::Pair;
use crate::model::time::Time;
use crate::venue::mtgox::access::{Denied, Holder};
use crate::venue::mtgox::front::Cached;
use crate::venue::mtgox::json::json_of;
use crate::venue::mtgox::routes::{Method, Params, Route, RouteError, Version, pair_of};
use crate::venue::mtgox::server::MtgoxServer;
use crate::venue::mtgox::streams::Streams;
use crate::venue::serving::fault::Fault;
use crate::venue::{ServerReply, ServerRequest};

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) text: Cow<'static, str>,
    pub(super) token: Option<&'static str>,
    pub(super) status: u16,
}

impl Refusal {
    pub(super) const BANNED: Self = Self {
        text: Cow::Borrowed("Forbidden"),
        token: None,
        status: 403,
    };
    pub(super) const INVALID_CALL: Self = Self::fixed("Invalid call");
    pub(super) const NO_ORDER: Self = Self::fixed("Order not found");
    pub(super) const NO_PAIR: Self = Self::fixed("Unknown currency pair");
    pub(super) const TOO_MANY_ORDERS: Self =
        Self::fixed("Too many orders placed, please try again later");
    const LOGIN: &'static str = "Identification required to access private API";

    const fn fixed(text: &'static str) -> Self {
        Self {
            text: Cow::Borrowed(text),
            token: None,
            status: 200,
        }
    }

    pub(super) fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            text: text.into(),
            token: None,
            status: 200,
        }
    }
}

impl From<Denied> for Refusal {
    /// A login that failed is answered 403, as clients of the time logged it.
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Rate => Self::fixed("Too many requests"),
            Denied::MissingKey | Denied::Key | Denied::Sign | Denied::Nonce => Self {
                text: Cow::Borrowed(Self::LOGIN),
                token: denied.token(),
                status: 403,
            },
        }
    }
}

#[derive(Debug, Serialize)]
struct ErrorReply<'a> {
    result: &'static str,
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct ErrorReply0<'a> {
    error: &'a str,
}

/// How a request is spoiled on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoilt {
    Html,
    Text,
}

/// A call that was let in as far as it has to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) pair: Option<Pair>,
    pub(super) params: &'a Params,
    /// `None` where nobody signed.
    pub(super) holder: Option<Holder>,
    pub(super) peer: &'a str,
}

impl MtgoxServer {
    /// Answers one request, unless the front end or a fault does.
    pub(super) fn answer(&mut self, request: &ServerRequest<'_>, now: Time) -> ServerReply {
        if self.front.is_banned(request.peer, now) {
            return forbidden();
        }
        let spoilt = self.spoils();
        if let Some(spoilt) = spoilt
            && self.faults.random().below(2) == 0
        {
            return broken(spoilt);
        }
        let reply = self.route(request, now);
        if let Some(spoilt) = spoilt {
            return broken(spoilt);
        }
        if self.faults.strikes(Fault::LostReplies) {
            return ServerReply::Lost;
        }
        reply
    }

    fn spoils(&mut self) -> Option<Spoilt> {
        if self.faults.strikes(Fault::Errors) {
            return Some(Spoilt::Html);
        }
        self.faults
            .strikes(Fault::TextErrors)
            .then_some(Spoilt::Text)
    }

    fn route(&mut self, request: &ServerRequest<'_>, now: Time) -> ServerReply {
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((request.target, ""));
        if matches!(path, "/socket.io/1" | "/socket.io/1/") {
            return self.shake_hands(query, now);
        }
        let route = match Route::parse(path) {
            Ok(route) => route,
            Err(RouteError::Elsewhere) => return not_found(),
            Err(RouteError::Unknown(version)) => {
                let refusal = Refusal::text("Unknown method");
                return enveloped(version, false, Err(refusal));
            }
        };
        let mut params = Params::default();
        params.add_form(request.body);
        params.add_form(query.as_bytes());
        let is_raw = query
            .split('&')
            .any(|field| field.split('=').next() == Some("raw"));
        let done = self.serve_request(route, request, &params, now);
        if done == Err(Refusal::BANNED) {
            return forbidden();
        }
        enveloped(route.version, is_raw, done)
    }

    fn serve_request(
        &mut self,
        route: Route<'_>,
        request: &ServerRequest<'_>,
        params: &Params,
        now: Time,
    ) -> Result<Vec<u8>, Refusal> {
        let holder = self.admit(route, request, now)?;
        let pair = match route.pair {
            Some(text) => Some(self.known_pair(text)?),
            None => None,
        };
        let call = Call {
            method: route.method,
            pair,
            params,
            holder,
            peer: request.peer,
        };
        self.serve_call(&call, now)
    }

    /// Lets a request in: a private one must be signed, a public one may be.
    fn admit(
        &mut self,
        route: Route<'_>,
        request: &ServerRequest<'_>,
        now: Time,
    ) -> Result<Option<Holder>, Refusal> {
        let names_key = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case("rest-key");
        let has_key = request.headers.iter().any(names_key);
        let is_signed = request.method == "POST" && has_key;
        if !is_signed {
            return if route.method.is_private() {
                Err(Denied::MissingKey.into())
            } else {
                Ok(None)
            };
        }
        let prefixed;
        let signed = match route.version {
            Version::V0 | Version::V1 => request.body,
            Version::V2 => {
                prefixed = [route.signed.as_bytes(), b"\0", request.body].concat();
                &prefixed
            }
        };
        // What stands in the query is not signed: only the body can bring the nonce.
        let mut form = Params::default();
        form.add_form(request.body);
        let rate = self.settings.requests_per_s;
        let checked = self
            .access
            .check_request(request.headers, signed, &form, rate, now);
        Ok(Some(checked?))
    }

    /// Does a call, wherever it came from, and writes its bare answer.
    pub(super) fn serve_call(&mut self, call: &Call<'_>, now: Time) -> Result<Vec<u8>, Refusal> {
        if let Method::Version0(method) = call.method {
            return self.serve_call_0(method, call, now);
        }
        if !call.method.is_private() {
            return self.serve_public(call, now);
        }
        let holder = call.holder.ok_or(Denied::MissingKey)?;
        if self.faults.strikes(Fault::InvalidCalls) {
            return Err(Refusal::INVALID_CALL);
        }
        match call.method {
            Method::Add => {
                let pair = call.pair.ok_or(Refusal::NO_PAIR)?;
                let oid = self.add(holder, pair, call.params, now)?;
                Ok(json_of(&oid))
            }
            Method::Cancel => {
                let oid = call.params.get("oid").or_else(|| call.params.get("order"));
                self.cancel(holder, oid.unwrap_or_default(), now)
            }
            Method::History => self.history(holder, call.params),
            Method::IdKey => Ok(self.idkey(holder, now)),
            Method::Info => Ok(self.info(holder, now)),
            Method::Orders => Ok(self.order_rows(holder)),
            Method::Quote => self.order_quote(call.pair.ok_or(Refusal::NO_PAIR)?, call.params),
            Method::Result => self.result(holder, call.params),
            Method::Cancelled
            | Method::Currency
            | Method::DepthFetch
            | Method::DepthFull
            | Method::Lag
            | Method::Public
            | Method::Ticker
            | Method::Trades
            | Method::Version0(_) => Err(Refusal::INVALID_CALL),
        }
    }

    fn serve_public(&mut self, call: &Call<'_>, now: Time) -> Result<Vec<u8>, Refusal> {
        let pair = call.pair.ok_or(Refusal::NO_PAIR);
        let is_signed = call.holder.is_some();
        match call.method {
            Method::Cancelled => pair.map(|_| b"[]".to_vec()),
            Method::Currency => Ok(self.currency(pair?)),
            Method::DepthFetch => Ok(self.document(Cached::Depth, pair?, is_signed, now)),
            Method::DepthFull => self.full_book(call.peer, pair?, now),
            Method::Lag => Ok(self.lag_document(now)),
            Method::Public => Ok(self.public_channels()),
            Method::Ticker => Ok(self.document(Cached::Ticker, pair?, is_signed, now)),
            Method::Trades => Ok(self.trade_rows(pair?, call.params, now)),
            Method::Add
            | Method::Cancel
            | Method::History
            | Method::IdKey
            | Method::Info
            | Method::Orders
            | Method::Quote
            | Method::Result
            | Method::Version0(_) => Err(Refusal::INVALID_CALL),
        }
    }

    /// Reads a pair that is traded here.
    pub(super) fn known_pair(&self, text: &str) -> Result<Pair, Refusal> {
        let pair = pair_of(text).filter(|pair| self.tapes.contains_key(pair));
        pair.ok_or(Refusal::NO_PAIR)
    }

    /// Answers the handshake of socket.io 0.9; only WebSockets may follow it.
    fn shake_hands(&mut self, query: &str, now: Time) -> ServerReply {
        let session = self.faults.random().next_u64();
        let session = self.names.uuid("session", session).simple().to_string();
        let seconds = Streams::SILENCE_SECS;
        let body = format!("{session}:{seconds}:{seconds}:websocket");
        self.streams.add_session(session, query, now);
        ServerReply::Answer {
            status: 200,
            content_type: "text/plain; charset=UTF-8",
            body: body.into_bytes(),
        }
    }
}

/// Puts a bare answer into the envelope of its version.
fn enveloped(version: Version, is_raw: bool, done: Result<Vec<u8>, Refusal>) -> ServerReply {
    let (status, body) = match (version, done) {
        (Version::V0, Err(refusal)) => {
            // The oldest version has one text for every failed login.
            let error = match refusal.token {
                Some(_) => "Not logged in.",
                None => &refusal.text,
            };
            (200, json_of(&ErrorReply0 { error }))
        }
        (Version::V1 | Version::V2, Err(refusal)) => {
            let reply = ErrorReply {
                result: "error",
                error: &refusal.text,
                token: refusal.token,
            };
            (refusal.status, json_of(&reply))
        }
        (Version::V0, Ok(body)) => (200, body),
        (Version::V1 | Version::V2, Ok(body)) if is_raw => (200, body),
        (Version::V1, Ok(body)) => (200, within("return", &body)),
        (Version::V2, Ok(body)) => (200, within("data", &body)),
    };
    ServerReply::Answer {
        status,
        content_type: "application/json",
        body,
    }
}

fn within(name: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{{\"result\":\"success\",\"{name}\":");
    [head.as_bytes(), body, b"}"].concat()
}

fn forbidden() -> ServerReply {
    page(403, "403 Forbidden")
}

fn not_found() -> ServerReply {
    page(404, "404 Not Found")
}

fn broken(spoilt: Spoilt) -> ServerReply {
    match spoilt {
        Spoilt::Html => page(502, "502 Bad Gateway"),
        Spoilt::Text => ServerReply::Answer {
            status: 200,
            content_type: "text/plain",
            body: b"MySQL error, please retry later".to_vec(),
        },
    }
}

fn page(status: u16, title: &str) -> ServerReply {
    let body = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body bgcolor=\"white\">\r\n\
         <center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    ServerReply::Answer {
        status,
        content_type: "text/html",
        body: body.into_bytes(),
    }
}
