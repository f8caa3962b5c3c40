//! The trading half of MtGox: signed requests, replies, and news of the private stream.
//!
//! The answer to placing an order names it and says no more: it may wait in the engine's queue for
//! minutes. What became of it comes on the stream, before or after that answer; what it traded is
//! asked for. The venue accepts what the account cannot pay and lists it as `invalid`; here that is
//! an order like any other, which is cancelled when its time is over.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use serde::Deserialize;
use uuid::Uuid;

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::instrument::{Market, Pair, VenueId};
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::sealed::Approved;
use crate::model::time::{Span, Time};
use crate::model::trade::{Filled, OrderIntent, OrderReport, VenueOrderState, VenueRef};
use crate::venue::http::{USER_AGENT, write_request};
use crate::venue::literal::Excess;
use crate::venue::mtgox::feed::{symbol_of, text_of};
use crate::venue::mtgox::lookup::Lookup;
use crate::venue::mtgox::money;
use crate::venue::mtgox::private::{Entry, News};
use crate::venue::mtgox::shape::{Envelope, Info, Money, OrderResult, OrderRow, ResultTrade};
use crate::venue::mtgox::sign::{Signer, Version};
use crate::venue::{
    Asked, Credentials, Framing, OrderClient, OrdersQuery, Refusal, ReplyError, Setup, Told,
};

/// Writes requests of one account and reads what comes back.
pub struct MtgoxOrders {
    pub(super) venue: VenueId,
    host: String,
    pub(super) pairs: Vec<Pair>,
    pub(super) framing: Framing,
    version: Version,
    pub(super) signer: Signer,
    /// The last number that was signed, in microseconds.
    numbered_us: u64,
    /// The clocks differ too much for times: numbers are only counted.
    pub(super) uses_nonce: bool,
    fee_ppm: u32,
    pub(super) known: BTreeMap<OrderId, Known>,
    pub(super) names: BTreeMap<VenueRef, OrderId>,
    /// The names in the order in which they came.
    named: VecDeque<VenueRef>,
    /// News of orders whose names are not known yet, oldest first.
    pub(super) early: VecDeque<(VenueRef, News)>,
    pub(super) lookup: Option<Lookup>,
    /// The order whose trades are being asked for.
    asking: Option<OrderId>,
    pub(super) entry: Entry,
}

/// One order, as far as the venue has told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) intent: OrderIntent,
    pub(super) reference: Option<VenueRef>,
    /// The least that was told to rest.
    pub(super) remaining: Quantity,
    /// It does not rest any more.
    pub(super) is_removed: bool,
    pub(super) is_ended: bool,
    filled: Filled,
    /// When its trades are to be asked for.
    pub(super) fills_at: Option<Time>,
}

impl fmt::Debug for MtgoxOrders {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MtgoxOrders")
            .field("venue", &self.venue)
            .field("orders", &self.known.len())
            .finish_non_exhaustive()
    }
}

impl MtgoxOrders {
    /// Orders remembered, ended ones included; the oldest ended ones give way.
    const KNOWN_MAX: usize = 4_096;
    /// Names remembered: an order whose name is known is nobody else's; the oldest give way.
    const NAMES_MAX: usize = 65_536;
    /// Between two questions for the trades of one order.
    const FILLS_AGAIN: Span = Span::millis(500);

    pub fn new(setup: &Setup, credentials: &Credentials, version: Version) -> Self {
        Self {
            venue: setup.venue,
            host: setup.host.clone(),
            pairs: setup.pairs.clone(),
            framing: setup.framing,
            version,
            signer: Signer::new(credentials),
            numbered_us: 0,
            uses_nonce: false,
            fee_ppm: 6_000,
            known: BTreeMap::new(),
            names: BTreeMap::new(),
            named: VecDeque::new(),
            early: VecDeque::new(),
            lookup: None,
            asking: None,
            entry: Entry::default(),
        }
    }

    /// Appends one signed request. `method` is v2's, behind `api/2/`; `v1` the same in v1, where
    /// that has it.
    pub(super) fn write(
        &mut self,
        (method, v1): (&str, Option<&str>),
        form: &str,
        now: Time,
        request: &mut Vec<u8>,
    ) {
        let number = self.next_number(now);
        let name = if self.uses_nonce { "nonce" } else { "tonce" };
        let mut body = format!("{name}={number}");
        if !form.is_empty() {
            body.push('&');
            body.push_str(form);
        }
        let (version, method, generation) = match (self.version, v1) {
            (Version::V1, Some(v1)) => (Version::V1, v1, 1),
            (Version::V1, None) | (Version::V2, _) => (Version::V2, method, 2),
        };
        let target = format!("/api/{generation}/{method}");
        let sign = self.signer.sign(version, method, body.as_bytes());
        let headers = [
            ("User-Agent", USER_AGENT),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Rest-Key", self.signer.key()),
            ("Rest-Sign", &sign),
        ];
        write_request(
            request,
            ("POST", &self.host, &target),
            &headers,
            body.as_bytes(),
        );
    }

    /// Returns a number never returned before, also over restarts while the clock runs on.
    pub(super) fn next_number(&mut self, now: Time) -> u64 {
        self.numbered_us = (now.0 / Span::MICRO.0).max(self.numbered_us + 1);
        self.numbered_us
    }

    pub(super) fn write_fills(&mut self, id: OrderId, now: Time, request: &mut Vec<u8>) -> bool {
        let Some(known) = self.known.get(&id) else {
            return false;
        };
        let Some(reference) = known.reference else {
            return false;
        };
        let form = format!(
            "type={}&order={}",
            known.intent.side.word(),
            Uuid::from_u128(reference.0)
        );
        let method = ("money/order/result", Some("generic/private/order/result"));
        self.write(method, &form, now, request);
        true
    }

    /// Takes the venue's name for an order, and the news that came before it.
    pub(super) fn bind(
        &mut self,
        id: OrderId,
        reference: VenueRef,
        now: Time,
        told: &mut dyn FnMut(Told),
    ) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        if known.reference.replace(reference) != Some(reference) {
            let order = id;
            self.remember_name(reference, id);
            told(Told::Named { order, reference });
        }
        let early: Vec<News> = self
            .early
            .iter()
            .filter(|(other, _)| *other == reference)
            .map(|(_, news)| *news)
            .collect();
        self.early.retain(|(other, _)| *other != reference);
        for news in early {
            self.take_news(id, news, now);
        }
    }

    /// Takes what an order has traded; `None` says that nothing was. Returns false where that is
    /// less than is known already.
    pub(super) fn take_result(
        &mut self,
        id: OrderId,
        result: Option<&OrderResult<'_>>,
        now: Time,
        told: &mut dyn FnMut(Told),
    ) -> Result<bool, ReplyError> {
        let fee_ppm = self.fee_ppm;
        let Some(known) = self.known.get_mut(&id) else {
            return Ok(true);
        };
        let mut filled = Filled::default();
        for trade in result.iter().flat_map(|result| &result.trades) {
            let part = part_of(&known.intent, trade, fee_ppm).ok_or(ReplyError::Unknown)?;
            filled = filled.plus(part);
        }
        let expected = known.intent.quantity.less(known.remaining);
        if filled.quantity < expected || filled.quantity < known.filled.quantity {
            // The result runs behind the news: only a whole one is told.
            known.fills_at = Some(now + Self::FILLS_AGAIN);
            return Ok(false);
        }
        known.filled = filled;
        known.remaining = known.intent.quantity.less(filled.quantity);
        known.fills_at = None;
        let is_over = known.is_removed || known.remaining.is_zero();
        known.is_ended |= is_over;
        told(Told::Order(known.report()));
        Ok(true)
    }

    fn read_placed(
        &mut self,
        id: OrderId,
        body: &[u8],
        now: Time,
        told: &mut dyn FnMut(Told),
    ) -> Result<(), ReplyError> {
        let text = text_of(body);
        let name: String = self.content(text.as_bytes())?;
        let reference = reference_of(&name).ok_or(ReplyError::Unknown)?;
        if let Some(known) = self.known.get(&id) {
            told(Told::Order(known.report()));
        }
        self.bind(id, reference, now, told);
        Ok(())
    }

    fn read_account(&mut self, body: &[u8], told: &mut dyn FnMut(Told)) -> Result<(), ReplyError> {
        let text = text_of(body);
        let info: Info<'_> = self.content(text.as_bytes())?;
        let mut facts = Vec::new();
        for (name, wallet) in &info.wallets {
            let Ok(currency) = name.parse() else {
                continue;
            };
            let units = |money: &Money<'_>| money.units().map(Quantity).ok_or(ReplyError::Unknown);
            let balance = units(&wallet.balance)?;
            let held = wallet
                .open_orders
                .as_ref()
                .map_or(Ok(Quantity::ZERO), units)?;
            facts.push(Told::Balance {
                currency,
                free: balance.less(held),
                held,
            });
        }
        if let Some(percent) = &info.trade_fee {
            // A percent is ten thousand millionths; its units are a ten-thousandth of one.
            let units = percent.units(Excess::Up).map_err(|_| ReplyError::Unknown)?;
            let ppm = units.max(0).div_euclid(10_000);
            self.fee_ppm = u32::try_from(ppm).map_err(|_| ReplyError::Unknown)?;
        }
        let has = |right: &str| info.rights.iter().any(|known| known == right);
        facts.push(Told::Rights {
            may_trade: has("trade"),
            may_withdraw: has("withdraw"),
        });
        facts.push(Told::End);
        facts.into_iter().for_each(told);
        Ok(())
    }

    /// Reads the content of an answer, or what its error means.
    pub(super) fn content<'a, T: Deserialize<'a>>(
        &mut self,
        body: &'a [u8],
    ) -> Result<T, ReplyError> {
        let envelope: Envelope<'a> =
            serde_json::from_slice(body).map_err(|_| ReplyError::Unknown)?;
        if envelope.result == "error" {
            let text = envelope.error.as_deref().unwrap_or_default();
            let token = envelope.token.as_deref().unwrap_or_default();
            if token == "login_error_invalid_nonce" {
                self.uses_nonce = !self.uses_nonce;
            }
            return Err(refusal_of(text, token));
        }
        let content = envelope.content().ok_or(ReplyError::Unknown)?;
        serde_json::from_str(content.get()).map_err(|_| ReplyError::Unknown)
    }

    pub(super) fn market_of(&self, row: &OrderRow<'_>) -> Option<Market> {
        let (item, currency) = (row.item.as_deref()?, row.currency.as_deref()?);
        let pair = self
            .pairs
            .iter()
            .find(|pair| pair.base.as_str() == item && pair.quote.as_str() == currency)?;
        Some(Market {
            venue: self.venue,
            pair: *pair,
        })
    }

    fn forget_oldest(&mut self) {
        while self.known.len() > Self::KNOWN_MAX {
            let oldest = self.known.iter().find(|(_, known)| known.is_ended);
            let Some(id) = oldest.map(|(id, _)| *id) else {
                return;
            };
            self.known.remove(&id);
        }
    }

    fn remember_name(&mut self, reference: VenueRef, id: OrderId) {
        if self.names.insert(reference, id).is_none() {
            self.named.push_back(reference);
        }
        while self.named.len() > Self::NAMES_MAX {
            if let Some(oldest) = self.named.pop_front() {
                self.names.remove(&oldest);
            }
        }
    }
}

impl Known {
    pub(super) fn new(intent: OrderIntent) -> Self {
        Self {
            intent,
            reference: None,
            remaining: intent.quantity,
            is_removed: false,
            is_ended: false,
            filled: Filled::default(),
            fills_at: None,
        }
    }

    pub(super) fn report(&self) -> OrderReport {
        let is_over = self.is_ended;
        OrderReport {
            id: Some(self.intent.id),
            market: self.intent.market,
            side: self.intent.side,
            limit: self.intent.limit,
            state: if is_over {
                VenueOrderState::Closed
            } else {
                VenueOrderState::Open
            },
            filled: self.filled,
            remaining: if is_over {
                Quantity::ZERO
            } else {
                self.intent.quantity.less(self.filled.quantity)
            },
        }
    }
}

impl OrderClient for MtgoxOrders {
    fn place(&mut self, order: &Approved, now: Time, request: &mut Vec<u8>) {
        let order = order.order();
        let pair = order.market.pair;
        let form = format!(
            "type={}&amount_int={}&price_int={}",
            order.side.word(),
            money::int_of(pair.base, order.quantity.0),
            money::int_of(pair.quote, order.limit.0)
        );
        let intent = OrderIntent {
            id: order.id,
            market: order.market,
            side: order.side,
            quantity: order.quantity,
            limit: order.limit,
        };
        self.known.insert(order.id, Known::new(intent));
        self.forget_oldest();
        let symbol = symbol_of(pair);
        let method = format!("{symbol}/money/order/add");
        let v1 = format!("{symbol}/private/order/add");
        self.write((&method, Some(&v1)), &form, now, request);
    }

    fn cancel(&mut self, order: OrderId, market: Market, now: Time, request: &mut Vec<u8>) {
        let reference = self.known.get(&order).and_then(|known| known.reference);
        let Some(reference) = reference else { return };
        let form = format!("oid={}", Uuid::from_u128(reference.0));
        let v1 = format!("{}/private/order/cancel", symbol_of(market.pair));
        self.write(("money/order/cancel", Some(&v1)), &form, now, request);
    }

    fn orders(&mut self, query: &OrdersQuery<'_>, now: Time, request: &mut Vec<u8>) {
        self.begin_lookup(query, now, request);
    }

    fn account(&mut self, now: Time, request: &mut Vec<u8>) {
        let method = ("money/info", Some("generic/private/info"));
        self.write(method, "", now, request);
    }

    /// Asks for the key of the private stream; what follows comes from `follow_frame`.
    fn login(&mut self, now: Time, send: &mut dyn FnMut(&[u8])) {
        self.enter(now, send);
    }

    fn decode_reply(
        &mut self,
        asked: Asked,
        status: u16,
        body: &[u8],
        now: Time,
        told: &mut dyn FnMut(Told),
    ) -> Result<(), ReplyError> {
        if let Asked::Fills(id) = asked {
            self.asking = None;
            if let Some(known) = self.known.get_mut(&id) {
                known.fills_at = Some(now + Self::FILLS_AGAIN);
            }
        }
        let text = text_of(body);
        if status != 200 {
            if asked == Asked::Orders {
                return self.ask_again(told);
            }
            // A login that failed is answered 403, with the usual error in it.
            let refused = match status {
                400..500 => self.content::<serde::de::IgnoredAny>(text.as_bytes()),
                _ => Err(ReplyError::Unknown),
            };
            let refused = refused.err().unwrap_or(ReplyError::Unknown);
            if let (Asked::Place(id), ReplyError::Rejected(_)) = (asked, refused) {
                self.known.remove(&id);
            }
            return Err(refused);
        }
        match asked {
            Asked::Place(id) => {
                let placed = self.read_placed(id, body, now, told);
                if matches!(placed, Err(ReplyError::Rejected(_))) {
                    self.known.remove(&id);
                }
                placed
            }
            Asked::Cancel(_) => self
                .content::<serde::de::IgnoredAny>(text.as_bytes())
                .map(drop),
            Asked::Fills(id) => {
                let result = self.read_result(text.as_bytes())?;
                self.take_result(id, result.as_ref(), now, told).map(drop)
            }
            Asked::Orders => {
                let read = self.read_lookup(text.as_bytes(), now, told);
                read.or_else(|_| self.ask_again(told))
            }
            Asked::Account => self.read_account(body, told),
            Asked::Entry | Asked::Public(_) => Err(ReplyError::Unknown),
        }
    }

    fn handle_lost(
        &mut self,
        asked: Asked,
        now: Time,
        told: &mut dyn FnMut(Told),
    ) -> Result<(), ReplyError> {
        if let Asked::Fills(id) = asked {
            self.asking = None;
            if let Some(known) = self.known.get_mut(&id) {
                known.fills_at = Some(now + Self::FILLS_AGAIN);
            }
        }
        if asked == Asked::Orders {
            return self.ask_again(told);
        }
        Err(ReplyError::Unknown)
    }

    fn handle_frame(&mut self, frame: &[u8], now: Time, told: &mut dyn FnMut(Told)) {
        self.read_frame(frame, now, told);
    }

    fn follow_up(&mut self, now: Time, request: &mut Vec<u8>) -> Option<Asked> {
        if self.write_lookup_step(now, request) {
            return Some(Asked::Orders);
        }
        if self.asking.is_some() {
            return None;
        }
        let due = self
            .known
            .values()
            .find(|known| known.reference.is_some() && known.fills_at.is_some_and(|at| at <= now));
        let id = due?.intent.id;
        if !self.write_fills(id, now, request) {
            return None;
        }
        self.asking = Some(id);
        Some(Asked::Fills(id))
    }

    fn follow_frame(&mut self, now: Time, frame: &mut Vec<u8>) -> bool {
        self.write_entry(now, frame)
    }

    fn handle_ended(&mut self, order: OrderId) {
        let Some(known) = self.known.get_mut(&order) else {
            return;
        };
        known.is_ended = true;
        known.fills_at = None;
        if known.reference.is_none() {
            self.known.remove(&order);
        }
    }

    fn adopt(&mut self, order: &OrderIntent, reference: VenueRef, is_ended: bool) {
        let known = self.known.entry(order.id).or_insert(Known::new(*order));
        known.reference = Some(reference);
        known.is_ended = is_ended;
        self.remember_name(reference, order.id);
        self.forget_oldest();
    }
}

impl MtgoxOrders {
    /// Reads what an order has traded; `None` where the venue says that nothing was.
    pub(super) fn read_result<'a>(
        &mut self,
        body: &'a [u8],
    ) -> Result<Option<OrderResult<'a>>, ReplyError> {
        match self.content(body) {
            Ok(result) => Ok(Some(result)),
            Err(ReplyError::Rejected(Refusal::NoSuchOrder)) => Ok(None),
            Err(why) => Err(why),
        }
    }
}

/// Returns what one trade adds to its order.
fn part_of(intent: &OrderIntent, trade: &ResultTrade<'_>, fee_ppm: u32) -> Option<Filled> {
    let pair = intent.market.pair;
    let quantity = Quantity(trade.amount.units()?);
    let price = Price(trade.price.units()?);
    let step = money::step(pair.quote);
    let spent = trade.spent.as_ref().and_then(|spent| spent.units());
    let total = spent.map_or(price.total_floor(quantity).floor_to(step), Quantity);
    let fee = match intent.side {
        Side::Bid => fee_of(quantity, fee_ppm, pair.base),
        Side::Ask => fee_of(total, fee_ppm, pair.quote),
    };
    Some(Filled {
        quantity,
        total,
        fee,
    })
}

/// Returns the fee of one trade: a part of what is received, rounded up.
fn fee_of(received: Quantity, ppm: u32, currency: Currency) -> Quantity {
    let step = money::step(currency).0;
    let above = received.ppm_ceil(ppm).0.saturating_add(step - 1);
    Quantity(above - above % step).min(received)
}

/// Reads the name of an order, a UUID in text.
pub(super) fn reference_of(text: &str) -> Option<VenueRef> {
    let uuid: Uuid = text.parse().ok()?;
    Some(VenueRef(uuid.as_u128()))
}

/// Says what an error means for what was asked.
///
/// Source: texts and tokens of the facts, read 2026-11-23. Where a text says nothing of what was
/// done, nobody knows.
fn refusal_of(text: &str, token: &str) -> ReplyError {
    let refusal = if token.starts_with("login_error") || text.starts_with("Identification") {
        Refusal::Access
    } else if text.starts_with("Order amount is too low") {
        Refusal::Rule
    } else if text.starts_with("Order not found") {
        Refusal::NoSuchOrder
    } else if text.starts_with("Too many") {
        Refusal::Throttled
    } else {
        return ReplyError::Unknown;
    };
    ReplyError::Rejected(refusal)
}
