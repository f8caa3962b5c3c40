//! The private stream of MtGox: the way in, and the news of orders on it.
//!
//! A signed call asks for a key, and a subscription with that key opens the stream for a day; both
//! are said again long before. News of an order may come before the answer that names it: they are
//! kept until it does.

use crate::model::ids::OrderId;
use crate::model::number::{Price, Quantity};
use crate::model::time::{Span, Time};
use crate::venue::mtgox::feed::NAMESPACE;
use crate::venue::mtgox::order::{MtgoxOrders, reference_of};
use crate::venue::mtgox::shape::{Frame, OrderRow, side_of};
use crate::venue::socketio::{self, Packet};
use crate::venue::{Framing, Told};

/// What the stream says of an order.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    /// What rests; `None` where it was removed.
    pub(super) remaining: Option<Quantity>,
    /// All of it was traded.
    pub(super) is_complete: bool,
}

/// The way into the private stream. Its key does not print.
#[derive(Default)]
pub(super) struct Entry {
    call: Option<String>,
    key: Option<String>,
    /// When to ask again, for the key or with it.
    at: Option<Time>,
}

impl MtgoxOrders {
    /// News kept for orders whose names may yet come; the oldest give way, and are looked up.
    const EARLY_MAX: usize = 256;
    /// A stream key is asked for, and used, again after this.
    const ENTRY_AGAIN: Span = Span::secs(5);
    const ENTRY_EVERY: Span = Span::secs(1_500);

    /// Asks for the key of the private stream; what follows comes from `write_entry`.
    pub(super) fn enter(&mut self, now: Time, send: &mut dyn FnMut(&[u8])) {
        self.entry = Entry::default();
        match self.framing {
            Framing::Plain => send(&self.call("private/idkey", now)),
            // The namespace is not joined yet.
            Framing::SocketIo => self.entry.at = Some(now + Span::SECOND),
            Framing::Polled => return,
        }
        self.entry.at.get_or_insert(now + Self::ENTRY_AGAIN);
    }

    /// Reads a frame that concerns the account.
    pub(super) fn read_frame(&mut self, frame: &[u8], now: Time, told: &mut dyn FnMut(Told)) {
        let message = match self.framing {
            Framing::SocketIo => match socketio::parse(frame) {
                Some(Packet::Json(_, message)) => message,
                _ => return,
            },
            Framing::Plain | Framing::Polled => frame,
        };
        let Ok(frame) = serde_json::from_slice::<Frame<'_>>(message) else {
            return;
        };
        match frame.op.as_ref() {
            "result" | "remark" => self.handle_entry_frame(&frame, now),
            "private" => {
                let row = frame.user_order;
                let row = row.and_then(|raw| serde_json::from_str::<OrderRow<'_>>(raw.get()).ok());
                if let Some(row) = row {
                    self.handle_order_frame(&row, now, told);
                }
            }
            _ => (),
        }
    }

    /// Appends the next frame of the way in, when it is time.
    pub(super) fn write_entry(&mut self, now: Time, frame: &mut Vec<u8>) -> bool {
        if self.entry.at.is_none_or(|at| at > now) {
            return false;
        }
        let bytes = match self.entry.key.take() {
            Some(key) => {
                self.entry.at = Some(now + Self::ENTRY_EVERY);
                self.wrap(format!(r#"{{"op":"mtgox.subscribe","key":"{key}"}}"#))
            }
            None => {
                self.entry.at = Some(now + Self::ENTRY_AGAIN);
                self.call("private/idkey", now)
            }
        };
        frame.extend_from_slice(&bytes);
        true
    }

    pub(super) fn take_news(&mut self, id: OrderId, news: News, now: Time) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        match news.remaining {
            Some(remaining) if remaining < known.remaining => {
                known.remaining = remaining;
                known.fills_at = Some(now);
            }
            Some(_) => (),
            None => {
                known.is_removed = true;
                if news.is_complete {
                    known.remaining = Quantity::ZERO;
                }
                known.fills_at = Some(now);
            }
        }
    }

    fn handle_order_frame(&mut self, row: &OrderRow<'_>, now: Time, told: &mut dyn FnMut(Told)) {
        let Some(reference) = reference_of(&row.oid) else {
            return;
        };
        let remaining = match &row.amount {
            Some(amount) => match amount.units() {
                Some(units) => Some(Quantity(units)),
                None => return,
            },
            None => None,
        };
        let reason = row.reason.as_deref().unwrap_or_default();
        let news = News {
            remaining,
            is_complete: reason.starts_with("completed"),
        };
        let known = self.names.get(&reference).copied();
        if let Some(id) = known.or_else(|| self.unnamed(row, remaining)) {
            self.bind(id, reference, now, told);
            self.take_news(id, news, now);
            return;
        }
        if self.early.len() >= Self::EARLY_MAX {
            self.early.pop_front();
        }
        self.early.push_back((reference, news));
    }

    /// Returns the one order without a name that a new order on the stream must be.
    fn unnamed(&self, row: &OrderRow<'_>, remaining: Option<Quantity>) -> Option<OrderId> {
        let market = self.market_of(row)?;
        let (side, limit) = (side_of(row.side?)?, Price(row.price.as_ref()?.units()?));
        let mut fits = self.known.values().filter(|known| {
            known.reference.is_none()
                && !known.is_ended
                && known.intent.market == market
                && known.intent.side == side
                && known.intent.limit == limit
                && Some(known.intent.quantity) == remaining
        });
        let one = fits.next()?;
        fits.next().is_none().then_some(one.intent.id)
    }

    fn handle_entry_frame(&mut self, frame: &Frame<'_>, now: Time) {
        if frame.id.is_none() || frame.id.as_deref() != self.entry.call.as_deref() {
            return;
        }
        let key = frame
            .result
            .and_then(|raw| serde_json::from_str(raw.get()).ok());
        match key {
            Some(key) => {
                self.entry.key = Some(key);
                self.entry.at = Some(now);
            }
            None => self.entry.at = Some(now + Self::ENTRY_AGAIN),
        }
        self.entry.call = None;
    }

    fn wrap(&self, message: String) -> Vec<u8> {
        match self.framing {
            Framing::SocketIo => socketio::json(NAMESPACE, message.as_bytes()),
            Framing::Plain | Framing::Polled => message.into_bytes(),
        }
    }

    /// Writes a signed call of the stream.
    fn call(&mut self, name: &str, now: Time) -> Vec<u8> {
        let number = self.next_number(now);
        let id = format!("{number:x}");
        let kind = if self.uses_nonce { "nonce" } else { "tonce" };
        let text = format!(
            r#"{{"id":"{id}","call":"{name}","params":{{}},"item":"BTC","currency":"USD","{kind}":{number}}}"#
        );
        let call = self.signer.call(text.as_bytes());
        self.entry.call = Some(id.clone());
        self.wrap(format!(
            r#"{{"op":"call","call":"{call}","id":"{id}","context":"mtgox.com"}}"#
        ))
    }
}
