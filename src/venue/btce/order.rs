//! The trading half of the BTC-e dialect: signed requests one by one, replies, and what was traded.
//!
//! The answer to an order says at once how much it traded and how much rests, but names it only where
//! something does, and never says at which prices: that stands in the account's history of trades,
//! which is read on from the last trade that is known.
//!
//! Nonces are 32 bits, for ever: they are reserved durably in blocks before they are used, and where
//! the exchange says that it has seen a higher one, counting goes on from there.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::instrument::{Market, Pair, VenueId};
use crate::model::market::Rules;
use crate::model::number::Quantity;
use crate::model::sealed::Approved;
use crate::model::time::{Span, Time};
use crate::model::trade::{Filled, OrderIntent, OrderReport, VenueOrderState, VenueRef};
use crate::venue::btce::history::{History, Row, Sought, trades_of, trades_reference};
use crate::venue::btce::lookup::{Lookup, since_s};
use crate::venue::btce::nonces::Nonces;
use crate::venue::btce::shape::{
    Account, Cancelled, Envelope, OrderRow, Placed, quantity_of, side_word,
};
use crate::venue::btce::sign::Signer;
use crate::venue::btce::style::{Style, pair_name};
use crate::venue::http::{USER_AGENT, write_request};
use crate::venue::literal::Literal;
use crate::venue::{
    Asked, Credentials, OrderClient, OrdersQuery, Refusal, ReplyError, Setup, Told,
};

/// Writes requests of one account and reads what comes back.
pub struct BtceOrders {
    pub(super) venue: VenueId,
    host: String,
    pub(super) pairs: Vec<Pair>,
    rules: Vec<(Pair, Rules)>,
    pub(super) style: &'static Style,
    signer: Signer,
    nonces: Nonces,
    pub(super) known: BTreeMap<OrderId, Known>,
    pub(super) names: BTreeMap<VenueRef, OrderId>,
    pub(super) history: History,
    pub(super) lookup: Option<Lookup>,
    /// What was asked last about fills.
    asking: Option<Question>,
    /// What the exchange's clock showed, and ours at that moment.
    clock: Option<(u64, Time)>,
}

/// One order, as far as the exchange has told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) intent: OrderIntent,
    pub(super) reference: Option<VenueRef>,
    sent: Time,
    /// It was sent by this run, and at once.
    is_sent_here: bool,
    /// When it was known that no answer would tell.
    lost: Option<Time>,
    /// The last trade that was known when it was sent.
    after: u64,
    /// The last trade of the first history that should have held its own.
    pub(super) settled_by: Option<u64>,
    /// What it must have traded, by what was told.
    pub(super) traded_min: Quantity,
    /// What it traded when it came in and is not found in the history yet.
    due: Quantity,
    /// It does not rest any more.
    pub(super) is_removed: bool,
    /// Cancelled, but not yet seen to be gone.
    is_cancelled: bool,
    pub(super) is_ended: bool,
    filled: Filled,
    /// When to ask about it.
    pub(super) ask_at: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Where an order stands.
    Order(OrderId),
    /// What was traded since.
    History,
}

impl fmt::Debug for BtceOrders {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BtceOrders")
            .field("venue", &self.venue)
            .field("orders", &self.known.len())
            .finish_non_exhaustive()
    }
}

impl BtceOrders {
    /// Orders remembered, ended ones included; the oldest ended ones give way.
    const KNOWN_MAX: usize = 4_096;
    /// Trades asked for at a time.
    pub(super) const TRADES_MAX: usize = 1_000;
    /// The exchange's clock may differ by this much, until it has told the time.
    pub(super) const SLACK: Span = Span::secs(30);
    /// How far its seconds may be off once it has.
    const SLACK_TOLD: Span = Span::secs(3);
    /// An order that has not reached the exchange by then never does.
    const ARRIVES_WITHIN: Span = Span::secs(30);
    /// What a front end refused or lost may still be under way behind it.
    const LINGERS_FOR: Span = Span::secs(3);
    /// Between two questions about one order.
    const ASK_AGAIN: Span = Span::millis(500);
    /// Between two looks at what resting orders have traded.
    const LOOK_EVERY: Span = Span::SECOND;

    pub fn new(setup: &Setup, credentials: &Credentials, style: &'static Style) -> Self {
        Self {
            venue: setup.venue,
            host: setup.host.clone(),
            pairs: setup.pairs.clone(),
            rules: setup.rules.clone(),
            style,
            signer: Signer::new(credentials),
            nonces: Nonces::default(),
            known: BTreeMap::new(),
            names: BTreeMap::new(),
            history: History::default(),
            lookup: None,
            asking: None,
            clock: None,
        }
    }

    /// Appends one signed request.
    pub(super) fn write(&mut self, method: &str, form: &str, request: &mut Vec<u8>) {
        let nonce = self.nonces.take();
        let body = format!("method={method}&nonce={nonce}{form}");
        let sign = self.signer.sign(body.as_bytes());
        let headers = [
            ("User-Agent", USER_AGENT),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Key", self.signer.key()),
            ("Sign", &sign),
        ];
        let line = ("POST", self.host.as_str(), self.style.tapi);
        write_request(request, line, &headers, body.as_bytes());
    }

    /// Asks for what was traded since the last trade that is known, or since a time.
    pub(super) fn write_history(&mut self, since: Time, request: &mut Vec<u8>) {
        let count = Self::TRADES_MAX;
        let form = match self.history.last {
            Some(last) => format!("&from_id={}&order=ASC&count={count}", last + 1),
            None => {
                let since_s = since_s(since);
                format!("&since={since_s}&order=ASC&count={count}")
            }
        };
        self.write("TradeHistory", &form, request);
    }

    /// Reads the content of an answer, or what its error means.
    pub(super) fn content<'a, T: Deserialize<'a>>(
        &mut self,
        body: &'a [u8],
    ) -> Result<T, ReplyError> {
        let envelope: Envelope<'a> =
            serde_json::from_slice(body).map_err(|_| ReplyError::Unknown)?;
        if envelope.success != 1 {
            let text = envelope.error.as_deref().unwrap_or_default();
            if text.starts_with("invalid nonce") {
                self.nonces.handle_refused(text, self.style.nonce_max);
            }
            return Err(ReplyError::Rejected(refusal_of(text, envelope.code)));
        }
        self.nonces.handle_accepted();
        let content = envelope.content.ok_or(ReplyError::Unknown)?;
        serde_json::from_str(content.get()).map_err(|_| ReplyError::Unknown)
    }

    /// Takes the exchange's name for an order, and what the history has of it already.
    pub(super) fn bind(&mut self, id: OrderId, reference: VenueRef, told: &mut dyn FnMut(Told)) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        if known.reference.replace(reference) != Some(reference) {
            let order = id;
            self.names.insert(reference, id);
            told(Told::Named { order, reference });
        }
        for row in self.history.take_named(reference) {
            known.filled = known.filled.plus(row.filled);
        }
    }

    /// Gives an order the trades that it made when it came in.
    pub(super) fn bind_run(
        &mut self,
        id: OrderId,
        first: u64,
        quantity: Quantity,
        told: &mut dyn FnMut(Told),
    ) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        let market = known.intent.market;
        let side = known.intent.side;
        let rows: Vec<Row> = self.history.take_run(market.pair, side, first, quantity);
        for row in rows {
            known.filled = known.filled.plus(row.filled);
        }
        known.due = Quantity::ZERO;
        known.traded_min = known.traded_min.max(known.filled.quantity);
        // The next run must know that these are counted.
        told(Told::Named {
            order: id,
            reference: trades_reference(first, quantity),
        });
    }

    /// Tells where an order stands, once the history holds all that it must.
    pub(super) fn tell(&mut self, id: OrderId, now: Time, told: &mut dyn FnMut(Told)) -> bool {
        let Some(known) = self.known.get_mut(&id) else {
            return true;
        };
        if known.due.is_positive() || known.filled.quantity < known.traded_min {
            known.ask_at = Some(now + Self::ASK_AGAIN);
            return false;
        }
        known.is_ended |= known.is_removed || known.filled.quantity >= known.intent.quantity;
        known.ask_at = (!known.is_ended).then_some(now + Self::LOOK_EVERY);
        told(Told::Order(known.report()));
        true
    }

    pub(super) fn fee_ppm(&self, pair: Pair) -> u32 {
        let own = self.rules.iter().find(|(known, _)| *known == pair);
        own.map_or_else(
            || self.style.rules(pair).taker_fee_ppm,
            |(_, rules)| rules.taker_fee_ppm,
        )
    }

    fn read_placed(
        &mut self,
        id: OrderId,
        body: &[u8],
        now: Time,
        told: &mut dyn FnMut(Told),
    ) -> Result<(), ReplyError> {
        let placed: Placed<'_> = self.content(body)?;
        let received = quantity_of(&placed.received).ok_or(ReplyError::Unknown)?;
        let Some(known) = self.known.get_mut(&id) else {
            return Ok(());
        };
        known.due = received;
        known.traded_min = received;
        known.is_removed = placed.order_id == 0;
        known.ask_at = Some(now);
        let name = match placed.order_id {
            0 => placed.init_order_id.filter(|name| *name != 0),
            name => Some(name),
        };
        if let Some(name) = name {
            self.bind(id, VenueRef(u128::from(name)), told);
        }
        if received.is_zero() {
            self.tell(id, now, told);
        }
        Ok(())
    }

    fn read_cancelled(&mut self, id: OrderId, body: &[u8], now: Time) -> Result<(), ReplyError> {
        let cancelled: Cancelled = self.content(body)?;
        let Some(known) = self.known.get_mut(&id) else {
            return Ok(());
        };
        if known.reference != Some(VenueRef(u128::from(cancelled.order_id))) {
            return Err(ReplyError::Unknown);
        }
        known.is_cancelled = true;
        known.ask_at = Some(now);
        Ok(())
    }

    /// Reads where one order stands.
    fn read_standing(&mut self, id: OrderId, body: &[u8], now: Time) -> Result<(), ReplyError> {
        let rows: BTreeMap<u64, OrderRow<'_>> = self.content(body)?;
        let row = rows.values().next().ok_or(ReplyError::Unknown)?;
        let remaining = quantity_of(&row.amount).ok_or(ReplyError::Unknown)?;
        if let Some(known) = self.known.get_mut(&id) {
            let traded = known.intent.quantity.less(remaining);
            known.traded_min = known.traded_min.max(traded);
            known.is_removed = row.status != 0;
            known.ask_at = Some(now);
            if row.status == 0 {
                // The cancel has not taken effect.
                known.ask_at = Some(now + Self::ASK_AGAIN);
            }
        }
        Ok(())
    }

    /// Returns where an order's trades may stand in the history.
    pub(super) fn sought(&self, intent: &OrderIntent, since_s: u64) -> Sought {
        let known = self.known.get(&intent.id);
        let sent_here = known.filter(|known| known.is_sent_here);
        let window = sent_here.map(|known| self.window_s(known));
        let (first_s, last_s) = window.unwrap_or((since_s, u64::MAX));
        Sought {
            pair: intent.market.pair,
            side: intent.side,
            limit: intent.limit,
            since_s: first_s,
            until_s: last_s,
            after: known.map_or(0, |known| known.after),
            last: u64::MAX,
        }
    }

    /// Returns the exchange's seconds between which an order that was sent at a moment got there.
    fn window_s(&self, known: &Known) -> (u64, u64) {
        let sent = known.sent;
        let latest = sent + Self::ARRIVES_WITHIN;
        let latest = known.lost.map_or(latest, |lost| lost + Self::LINGERS_FOR);
        let (told, slack) = match self.clock {
            Some((told_s, at)) => {
                let told = Time::ZERO + Span::secs(told_s) + sent.since(at);
                (told - at.since(sent), Self::SLACK_TOLD)
            }
            None => (sent, Self::SLACK),
        };
        let seconds = |at: Time| at.0 / Span::SECOND.0;
        let last = told + latest.since(sent) + slack;
        (seconds(told - slack), seconds(last))
    }

    fn read_account(
        &mut self,
        body: &[u8],
        now: Time,
        told: &mut dyn FnMut(Told),
    ) -> Result<(), ReplyError> {
        let account: Account<'_> = self.content(body)?;
        self.clock = account.server_time.map(|told_s| (told_s, now));
        let units = |literal: &Literal<'_>| literal.quantity().map_err(|_| ReplyError::Unknown);
        let mut facts = Vec::new();
        for (name, free) in &account.funds {
            let Ok(currency) = name.to_ascii_uppercase().parse::<Currency>() else {
                continue;
            };
            let free = units(free)?;
            let whole = account.funds_incl_orders.as_ref();
            let whole = whole.and_then(|funds| funds.get(name)).map(units);
            facts.push(Told::Balance {
                currency,
                free,
                held: whole.transpose()?.unwrap_or(free).less(free),
            });
        }
        facts.push(Told::Rights {
            may_trade: account.rights.trade == 1,
            may_withdraw: account.rights.withdraw == 1,
        });
        facts.push(Told::End);
        facts.into_iter().for_each(told);
        Ok(())
    }

    fn note_lost(&mut self, id: OrderId, now: Time) {
        if let Some(known) = self.known.get_mut(&id) {
            known.lost.get_or_insert(now);
        }
    }

    fn forget_oldest(&mut self) {
        while self.known.len() > Self::KNOWN_MAX {
            let oldest = self.known.iter().find(|(_, known)| known.is_ended);
            let Some((id, reference)) = oldest.map(|(id, known)| (*id, known.reference)) else {
                return;
            };
            self.known.remove(&id);
            if let Some(reference) = reference {
                self.names.remove(&reference);
            }
        }
    }
}

impl Known {
    pub(super) fn new(intent: OrderIntent, sent: Time) -> Self {
        Self {
            intent,
            reference: None,
            sent,
            is_sent_here: false,
            lost: None,
            after: 0,
            settled_by: None,
            traded_min: Quantity::ZERO,
            due: Quantity::ZERO,
            is_removed: false,
            is_cancelled: false,
            is_ended: false,
            filled: Filled::default(),
            ask_at: None,
        }
    }

    /// Returns true for one of which no answer tells.
    pub(super) fn is_lost(&self) -> bool {
        let is_nameless = self.reference.is_none() && !self.is_removed && !self.is_ended;
        is_nameless && (self.lost.is_some() || !self.is_sent_here)
    }

    /// Returns true for a trade that names this order and can be its.
    pub(super) fn claims(&self, row: &Row) -> bool {
        let is_there = self.intent.market.pair == row.pair && self.intent.side == row.side;
        // One that came in is in the answer to placing it, and found by its amount.
        is_there && row.was_resting
    }

    pub(super) fn add(&mut self, row: &Row) {
        self.filled = self.filled.plus(row.filled);
    }

    fn report(&self) -> OrderReport {
        OrderReport {
            id: Some(self.intent.id),
            market: self.intent.market,
            side: self.intent.side,
            limit: self.intent.limit,
            state: if self.is_ended {
                VenueOrderState::Closed
            } else {
                VenueOrderState::Open
            },
            filled: self.filled,
            remaining: if self.is_ended {
                Quantity::ZERO
            } else {
                self.intent.quantity.less(self.filled.quantity)
            },
        }
    }
}

impl OrderClient for BtceOrders {
    fn place(&mut self, order: &Approved, now: Time, request: &mut Vec<u8>) {
        let order = order.order();
        let intent = OrderIntent {
            id: order.id,
            market: order.market,
            side: order.side,
            quantity: order.quantity,
            limit: order.limit,
        };
        let mut known = Known::new(intent, now);
        known.is_sent_here = true;
        known.after = self.history.last.unwrap_or(0);
        self.known.insert(order.id, known);
        self.forget_oldest();
        let form = format!(
            "&pair={}&type={}&rate={}&amount={}",
            pair_name(order.market.pair),
            side_word(order.side),
            order.limit,
            order.quantity
        );
        self.write("Trade", &form, request);
    }

    fn cancel(&mut self, order: OrderId, _market: Market, _now: Time, request: &mut Vec<u8>) {
        let reference = self.known.get(&order).and_then(|known| known.reference);
        if let Some(reference) = reference {
            self.write(
                "CancelOrder",
                &format!("&order_id={}", reference.0),
                request,
            );
        }
    }

    fn orders(&mut self, query: &OrdersQuery<'_>, now: Time, request: &mut Vec<u8>) {
        self.begin_lookup(query, now, request);
    }

    fn account(&mut self, _now: Time, request: &mut Vec<u8>) {
        self.write("getInfo", "", request);
    }

    /// There is no private stream.
    fn login(&mut self, _now: Time, _send: &mut dyn FnMut(&[u8])) {}

    fn decode_reply(
        &mut self,
        asked: Asked,
        status: u16,
        body: &[u8],
        now: Time,
        told: &mut dyn FnMut(Told),
    ) -> Result<(), ReplyError> {
        if status != 200 {
            return self.handle_lost(asked, now, told);
        }
        match asked {
            Asked::Place(id) => {
                let placed = self.read_placed(id, body, now, told);
                match placed {
                    Ok(()) => (),
                    Err(ReplyError::Rejected(_)) => drop(self.known.remove(&id)),
                    Err(ReplyError::Unknown) => self.note_lost(id, now),
                }
                placed
            }
            Asked::Cancel(id) => self.read_cancelled(id, body, now),
            Asked::Fills(_) => match self.asking.take() {
                Some(Question::Order(id)) => self.read_standing(id, body, now),
                Some(Question::History) => {
                    let is_more = self.read_history(body)?;
                    self.tell_all(is_more, now, told);
                    Ok(())
                }
                None => Err(ReplyError::Unknown),
            },
            Asked::Orders => {
                let read = self.read_lookup(body, now, told);
                read.or_else(|_| self.ask_again(told))
            }
            Asked::Account => self.read_account(body, now, told),
            Asked::Entry | Asked::Public(_) => Err(ReplyError::Unknown),
        }
    }

    fn handle_lost(
        &mut self,
        asked: Asked,
        now: Time,
        told: &mut dyn FnMut(Told),
    ) -> Result<(), ReplyError> {
        match asked {
            Asked::Place(id) => self.note_lost(id, now),
            Asked::Orders => return self.ask_again(told),
            Asked::Fills(_) => self.asking = None,
            Asked::Cancel(_) | Asked::Account | Asked::Entry | Asked::Public(_) => (),
        }
        Err(ReplyError::Unknown)
    }

    fn follow_up(&mut self, now: Time, request: &mut Vec<u8>) -> Option<Asked> {
        if self.write_lookup_step(now, request) {
            return Some(Asked::Orders);
        }
        if self.asking.is_some() || self.lookup.is_some() {
            return None;
        }
        let due = self
            .known
            .values_mut()
            .filter(|known| known.ask_at.is_some_and(|at| at <= now))
            .min_by_key(|known| known.ask_at)?;
        let id = due.intent.id;
        due.ask_at = Some(now + Self::ASK_AGAIN);
        let needs_standing = due.is_cancelled && !due.is_removed;
        match due.reference.filter(|_| needs_standing) {
            Some(reference) => {
                self.asking = Some(Question::Order(id));
                self.write("OrderInfo", &format!("&order_id={}", reference.0), request);
            }
            None => {
                self.asking = Some(Question::History);
                let sent = due.sent;
                self.write_history(sent, request);
            }
        }
        Some(Asked::Fills(id))
    }

    fn handle_ended(&mut self, order: OrderId) {
        let Some(known) = self.known.get_mut(&order) else {
            return;
        };
        known.is_ended = true;
        known.ask_at = None;
        if known.reference.is_none() {
            self.known.remove(&order);
        }
    }

    fn adopt(&mut self, order: &OrderIntent, reference: VenueRef, is_ended: bool) {
        let trades = trades_of(reference);
        if let (Some((first, quantity)), true) = (trades, is_ended) {
            self.history.note_counted(first, quantity);
            return;
        }
        let fresh = Known::new(*order, Time::ZERO);
        let known = self.known.entry(order.id).or_insert(fresh);
        if let Some((_, quantity)) = trades {
            // It died before its end was written: its trades are to be found again. A name, where it
            // has one, comes before them; without one nothing of it rests.
            known.due = quantity;
            known.traded_min = known.traded_min.max(quantity);
            known.is_removed = known.reference.is_none();
            return;
        }
        known.reference = Some(reference);
        known.is_ended = is_ended;
        self.names.insert(reference, order.id);
        self.forget_oldest();
    }

    fn resume_nonces(&mut self, used_below: u64) {
        self.nonces.resume(used_below);
    }

    fn nonces_wanted(&self, now: Time) -> Option<u64> {
        self.nonces.wanted(now, self.style.nonce_max)
    }

    fn grant_nonces(&mut self, below: u64) {
        self.nonces.grant(below);
    }

    fn is_ready(&self) -> bool {
        self.nonces.is_ready()
    }
}

impl BtceOrders {
    /// Tells every order that waited for the history, unless more of it is to come first.
    fn tell_all(&mut self, is_more: bool, now: Time, told: &mut dyn FnMut(Told)) {
        if is_more {
            for known in self.known.values_mut() {
                if known.ask_at.is_some() {
                    known.ask_at = Some(now);
                }
            }
            return;
        }
        self.find_due(told);
        let waiting: Vec<OrderId> = self
            .known
            .values()
            .filter(|known| {
                let is_placed = known.reference.is_some() || known.is_removed;
                let is_certain = known.is_removed || !known.is_cancelled;
                is_placed && is_certain && known.ask_at.is_some() && !known.is_ended
            })
            .map(|known| known.intent.id)
            .collect();
        for id in waiting {
            self.tell(id, now, told);
        }
    }
}

impl BtceOrders {
    /// Finds the trades of orders that traded when they came in, the earliest order first.
    pub(super) fn find_due(&mut self, told: &mut dyn FnMut(Told)) {
        let mut due: Vec<(Time, OrderId, OrderIntent, Quantity)> = self
            .known
            .values()
            .filter(|known| known.due.is_positive())
            .map(|known| (known.sent, known.intent.id, known.intent, known.due))
            .collect();
        due.sort_unstable_by_key(|(sent, id, ..)| (*sent, *id));
        for (_, id, intent, quantity) in due {
            // The answer said that it traded: when does not matter.
            let sought = Sought {
                since_s: 0,
                until_s: u64::MAX,
                ..self.sought(&intent, 0)
            };
            let runs = self.history.runs(sought, quantity);
            if let Some(first) = runs.first() {
                self.bind_run(id, *first, quantity, told);
            }
        }
    }
}

/// Says what an error means. Every one of them says that nothing was done.
///
/// Source: texts of the facts, read 2026-11-23; numbers are YoBit's.
fn refusal_of(text: &str, code: Option<u32>) -> Refusal {
    match code {
        Some(803..=807) => return Refusal::Rule,
        Some(831 | 832) => return Refusal::Funds,
        Some(833) => return Refusal::NoSuchOrder,
        Some(_) | None => (),
    }
    let begins = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
    if begins(&[
        "invalid nonce",
        "invalid api key",
        "invalid sign",
        "api key",
    ]) {
        Refusal::Access
    } else if begins(&["It is not enough", "Insufficient funds"]) {
        Refusal::Funds
    } else if begins(&[
        "Value ",
        "Price per",
        "invalid parameter",
        "You incorrectly",
        "Total ",
    ]) {
        Refusal::Rule
    } else if begins(&["bad status", "invalid order"]) {
        Refusal::NoSuchOrder
    } else if begins(&["Requests too often"]) {
        Refusal::Throttled
    } else {
        Refusal::Other
    }
}
