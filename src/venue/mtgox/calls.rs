//! The streaming half of the venue: opening streams, subscriptions, signed calls.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::instrument::Pair;
use crate::model::time::Time;
use crate::venue::StreamNo;
use crate::venue::mtgox::access::{SignedCall, once_of};
use crate::venue::mtgox::answer::{Call, Refusal};
use crate::venue::mtgox::json::{Written, json_of};
use crate::venue::mtgox::message::{CallResult, Remark, Subscribed};
use crate::venue::mtgox::names::Channel;
use crate::venue::mtgox::routes::{Method, Params, pair_of};
use crate::venue::mtgox::server::MtgoxServer;
use crate::venue::mtgox::streams::NAMESPACE;
use crate::venue::serving::fault::Fault;
use crate::venue::socketio::{self, Packet};

/// What a client sends.
#[derive(Debug, Deserialize)]
struct Operation<'a> {
    op: Cow<'a, str>,
    #[serde(default)]
    channel: Option<Cow<'a, str>>,
    #[serde(default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    key: Option<Cow<'a, str>>,
    #[serde(default)]
    call: Option<Cow<'a, str>>,
    #[serde(default)]
    id: Option<Cow<'a, str>>,
}

/// What a signed call says. Numbers may stand in texts.
#[derive(Debug, Deserialize)]
struct Inner<'a> {
    #[serde(borrow)]
    call: Cow<'a, str>,
    #[serde(default, borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
    #[serde(default, borrow)]
    item: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    currency: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    nonce: Option<&'a RawValue>,
    #[serde(default, borrow)]
    tonce: Option<&'a RawValue>,
}

impl MtgoxServer {
    /// Opens a plain stream at `/mtgox` or `/`, or one of socket.io behind its handshake.
    pub(super) fn open_stream(&mut self, no: StreamNo, target: &str, now: Time) -> bool {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if let Some(session) = path.strip_prefix("/socket.io/1/websocket/") {
            let Some(asked) = self.streams.take_session(session, now) else {
                return false;
            };
            let query = if query.is_empty() { &asked } else { query };
            let channels = self.queried_channels(query);
            return self.streams.open(no, true, channels, &self.names, now);
        }
        if !matches!(path, "/" | "/mtgox" | "/mtgox/") {
            return false;
        }
        let channels = self.queried_channels(query);
        self.streams.open(no, false, channels, &self.names, now)
    }

    /// Returns what a query asks for, and what everybody gets who asks for nothing.
    fn queried_channels(&self, query: &str) -> BTreeSet<Channel> {
        let mut params = Params::default();
        params.add_form(query.as_bytes());
        let (named, currencies) = (params.get("Channel"), params.get("Currency"));
        if named.is_none() && currencies.is_none() {
            return self.channels_in(self.default_pair());
        }
        let named = named.into_iter().flat_map(|names| names.split('/'));
        let named = named.filter_map(|name| self.find_channel(name));
        let currencies = currencies.into_iter().flat_map(|list| list.split(','));
        let pairs = currencies.filter_map(|quote| pair_of(&format!("BTC{quote}")));
        let known = pairs.filter(|pair| self.tapes.contains_key(pair));
        let wanted = known.flat_map(|pair| self.channels_in(Some(pair)));
        named.chain(wanted).collect()
    }

    fn channels_in(&self, pair: Option<Pair>) -> BTreeSet<Channel> {
        let channels = pair.map(|pair| {
            [
                Channel::Depth(pair),
                Channel::Ticker(pair),
                Channel::Trades(pair.base),
            ]
        });
        channels.into_iter().flatten().collect()
    }

    /// Finds a public channel by its name or its id.
    fn find_channel(&self, text: &str) -> Option<Channel> {
        let mut channels = self.channels().into_iter();
        channels.find(|channel| {
            channel.name().as_deref() == Some(text) || channel.uuid(&self.names).to_string() == text
        })
    }

    /// Reads one frame of a client.
    pub(super) fn read_frame(
        &mut self,
        no: StreamNo,
        frame: &[u8],
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        let Some(is_socketio) = self.streams.heard(no, now) else {
            return;
        };
        if !is_socketio {
            self.read_message(no, frame, now, push);
            return;
        }
        match socketio::parse(frame) {
            Some(Packet::Disconnect) => self.streams.hang_up(no),
            Some(Packet::Connect(NAMESPACE)) => self.streams.join(no, &self.names),
            Some(Packet::Json(NAMESPACE, message)) => self.read_message(no, message, now, push),
            // The client's heartbeat was noted above; other namespaces hold nothing.
            Some(Packet::Heartbeat | Packet::Connect(_) | Packet::Json(_, _) | Packet::Other)
            | None => (),
        }
    }

    fn read_message(
        &mut self,
        no: StreamNo,
        message: &[u8],
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        let Ok(operation) = serde_json::from_slice::<Operation<'_>>(message) else {
            self.remark(no, &Refusal::text("Invalid message"), None, push);
            return;
        };
        let id = operation.id.as_deref().map(str::to_owned);
        let done = match &*operation.op {
            "mtgox.subscribe" | "subscribe" => self.subscribe(no, &operation, now, push),
            "mtgox.unsubscribe" | "unsubscribe" => self.unsubscribe(no, &operation, push),
            "call" => {
                let call = operation.call.as_deref().unwrap_or_default();
                self.take_call(no, call, id.clone(), now, push);
                Ok(())
            }
            _ => Err(Refusal::text("Unknown command")),
        };
        if let Err(refusal) = done {
            self.remark(no, &refusal, id, push);
        }
    }

    fn subscribe(
        &mut self,
        no: StreamNo,
        operation: &Operation<'_>,
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) -> Result<(), Refusal> {
        let channel = self.wanted_channel(operation, now);
        let channel = channel.ok_or(Refusal::text("Unknown channel"))?;
        if !self.streams.subscribe(no, channel) {
            return Err(Refusal::text("Too many channels"));
        }
        self.confirm(no, "subscribe", channel, push);
        Ok(())
    }

    fn unsubscribe(
        &mut self,
        no: StreamNo,
        operation: &Operation<'_>,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) -> Result<(), Refusal> {
        let text = operation.channel.as_deref().unwrap_or_default();
        let private = || {
            let accounts = self
                .ledgers
                .keys()
                .map(|account| Channel::Private(*account));
            let mut named =
                accounts.filter(|channel| channel.uuid(&self.names).to_string() == text);
            named.next()
        };
        let channel = self.find_channel(text).or_else(private);
        let channel = channel.ok_or(Refusal::text("Unknown channel"))?;
        self.streams.unsubscribe(no, channel);
        self.confirm(no, "unsubscribe", channel, push);
        Ok(())
    }

    fn confirm(
        &self,
        no: StreamNo,
        op: &'static str,
        channel: Channel,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        let channel = channel.uuid(&self.names).to_string();
        let message = json_of(&Subscribed { op, channel });
        self.streams.send(no, &message, push);
    }

    fn wanted_channel(&self, operation: &Operation<'_>, now: Time) -> Option<Channel> {
        if let Some(key) = operation.key.as_deref() {
            let good = self.idkeys.iter().filter(|known| now < known.until);
            let mut good = good.filter(|known| known.text == key);
            return good.next().map(|known| Channel::Private(known.account));
        }
        if let Some(name) = operation.channel.as_deref() {
            return self.find_channel(name);
        }
        let pair = self.default_pair()?;
        match operation.kind.as_deref()? {
            "depth" => Some(Channel::Depth(pair)),
            "lag" => Some(Channel::Lag),
            "ticker" => Some(Channel::Ticker(pair)),
            "trades" => Some(Channel::Trades(pair.base)),
            _ => None,
        }
    }

    fn take_call(
        &mut self,
        no: StreamNo,
        call: &str,
        id: Option<String>,
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        let Some(signed) = SignedCall::parse(call) else {
            self.remark(no, &Refusal::INVALID_CALL, id, push);
            return;
        };
        let text = signed.text.clone();
        let Ok(inner) = serde_json::from_slice::<Inner<'_>>(&text) else {
            self.remark(no, &Refusal::INVALID_CALL, id, push);
            return;
        };
        let id = inner.id.as_deref().map(str::to_owned).or(id);
        let done = self.serve_signed(&signed, &inner, now);
        if std::mem::take(&mut self.is_early) {
            self.run_engine(now);
            self.flush(now, push);
        }
        match done {
            // The call is done; only its answer is lost.
            Ok(_) if self.faults.strikes(Fault::LostReplies) => (),
            Ok(result) => {
                let message = json_of(&CallResult {
                    op: "result",
                    id,
                    result: Written::new(result),
                });
                self.streams.send(no, &message, push);
            }
            Err(refusal) => self.remark(no, &refusal, id, push),
        }
    }

    fn serve_signed(
        &mut self,
        signed: &SignedCall,
        inner: &Inner<'_>,
        now: Time,
    ) -> Result<Vec<u8>, Refusal> {
        let (nonce, tonce) = (inner.nonce.map(text_of), inner.tonce.map(text_of));
        let once = once_of(nonce.as_deref(), tonce.as_deref());
        let rate = self.settings.requests_per_s;
        let holder = self.access.check_call(signed, once, rate, now)?;
        let method = Method::of_name(&inner.call).ok_or(Refusal::INVALID_CALL)?;
        let item = inner.item.as_deref().unwrap_or("BTC");
        let pair = inner
            .currency
            .as_deref()
            .map(|quote| format!("{item}{quote}"));
        let pair = pair.map(|text| self.known_pair(&text)).transpose()?;
        let params = params_of(inner.params)?;
        let call = Call {
            method,
            pair: pair.or_else(|| self.default_pair()),
            params: &params,
            holder: Some(holder),
            peer: "",
        };
        self.serve_call(&call, now)
    }

    fn remark(
        &self,
        no: StreamNo,
        refusal: &Refusal,
        id: Option<String>,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        let message = json_of(&Remark {
            op: "remark",
            message: &refusal.text,
            success: false,
            id,
            token: refusal.token,
        });
        self.streams.send(no, &message, push);
    }
}

/// Reads parameters; an empty array is what some clients send for none.
fn params_of(raw: Option<&RawValue>) -> Result<Params, Refusal> {
    let mut params = Params::default();
    let Some(raw) = raw.filter(|raw| !matches!(raw.get(), "null" | "[]")) else {
        return Ok(params);
    };
    let fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(raw.get()).map_err(|_| Refusal::INVALID_CALL)?;
    for (name, value) in fields {
        params.add(name, text_of(&value));
    }
    Ok(params)
}

/// Returns what a text says, or the digits of a number.
fn text_of(raw: &RawValue) -> String {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned())
}
