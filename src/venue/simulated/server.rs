//! The served side of the simulated dialect: requests, streams, engine lag, deadlines.

use std::collections::{BTreeMap, VecDeque};

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::instrument::Pair;
use crate::model::market::{Level, Side};
use crate::model::number::Quantity;
use crate::model::random::Random;
use crate::model::time::{Span, Time};
use crate::venue::exchange::account::Balance;
use crate::venue::exchange::{self, AccountNo, Changes, Exchange, Order, TransferError};
use crate::venue::history::Quotes;
use crate::venue::serving::fault::{Fault, Faults};
use crate::venue::serving::house::{audit_account, audit_order, open_market};
use crate::venue::serving::market::RunningMarket;
use crate::venue::serving::{AccountSettings, Audit, ServerSettings, SetupError};
use crate::venue::simulated::FAULTS;
use crate::venue::simulated::access::{Access, Holder, LOGIN_PATH, Proof};
use crate::venue::simulated::message::{
    Book, BookKind, Frame, Operation, OrderRow, json_of, rows_of,
};
use crate::venue::simulated::queue::Queue;
use crate::venue::{Refusal, Server, ServerReply, ServerRequest, StreamNo};

/// A venue of the simulated dialect.
#[derive(Debug)]
pub struct SimulatedServer {
    pub(super) exchange: Exchange,
    pub(super) settings: ServerSettings,
    house: AccountNo,
    pub(super) markets: Vec<RunningMarket>,
    pub(super) access: Access,
    streams: BTreeMap<StreamNo, Stream>,
    closed: VecDeque<StreamNo>,
    pub(super) faults: Faults,
    pub(super) queue: Queue,
    alive_at: Option<Time>,
}

/// One client on the feed.
#[derive(Debug, Default)]
struct Stream {
    pairs: Vec<Pair>,
    account: Option<AccountNo>,
    /// A book frame that waits for the next one (fault).
    overtaken: Option<Vec<u8>>,
}

impl SimulatedServer {
    /// Streams of one venue; one more is refused.
    pub const STREAMS_MAX: usize = 1_024;
    /// Between two heartbeats of the feed.
    const ALIVE_EVERY: Span = Span::SECOND;

    /// Opens markets and accounts; nothing stands in a book before the first deadline.
    ///
    /// # Errors
    /// The first setting that contradicts another or a limit.
    pub fn new(mut settings: ServerSettings) -> Result<Self, SetupError> {
        if let Some(found) = settings.personality.take() {
            return Err(SetupError::Personality {
                found,
                known: "none",
            });
        }
        let mut exchange = Exchange::new(exchange::Settings {
            rules: settings.rules,
            maker_fee_ppm: settings.maker_fee_ppm,
            money: exchange::Money::default(),
        });
        let mut random = Random::new(settings.seed);
        let house = exchange.open_house().ok_or(SetupError::Accounts)?;
        let mut markets = Vec::new();
        for (pair, source) in std::mem::take(&mut settings.markets) {
            open_market(&mut exchange, house, pair)?;
            markets.push(RunningMarket::new(pair, source, random.fork()));
        }
        let mut faults = Faults::new(random.fork());
        for (fault, ppm) in &settings.faults {
            faults.set(*fault, *ppm);
        }
        let mut access = Access::default();
        for account in std::mem::take(&mut settings.accounts) {
            open_account(&mut exchange, &mut access, &account)?;
        }
        Ok(Self {
            exchange,
            settings,
            house,
            markets,
            access,
            streams: BTreeMap::new(),
            closed: VecDeque::new(),
            faults,
            queue: Queue::default(),
            alive_at: None,
        })
    }

    /// Returns an account's balances by currency; none for an unknown key.
    pub fn balances(&self, key: &str) -> Vec<(Currency, Balance)> {
        let account = self.access.account(key);
        account.map_or_else(Vec::new, |account| {
            self.exchange.balances(account).collect()
        })
    }

    /// Returns every order an account ever named, by name, without those the engine did not see yet.
    pub fn orders(&self, key: &str) -> Vec<Order> {
        let account = self.access.account(key);
        account.map_or_else(Vec::new, |account| {
            self.exchange
                .orders_from(account, OrderId(0))
                .copied()
                .collect()
        })
    }

    /// Returns how often an order id was used a second time.
    pub fn duplicates(&self) -> u64 {
        self.exchange.duplicates()
    }

    /// Returns the levels of a side, best first.
    pub fn levels(&self, pair: Pair, side: Side) -> Vec<Level> {
        self.exchange.levels(pair, side).collect()
    }

    /// Returns how often each fault struck, by name.
    pub fn fault_counts(&self) -> Vec<(&'static str, u64)> {
        self.faults.counts(&FAULTS)
    }

    /// Returns a currency that does not add up, which never happens.
    pub fn imbalance(&self) -> Option<(Currency, i128)> {
        self.exchange.imbalance()
    }

    /// Switches a fault on, off or to another rate.
    pub fn set_fault(&mut self, fault: Fault, ppm: u32) {
        self.faults.set(fault, ppm);
    }

    /// Moves money into an account.
    ///
    /// # Errors
    /// See `TransferError`.
    pub fn credit(
        &mut self,
        key: &str,
        currency: Currency,
        amount: Quantity,
    ) -> Result<(), TransferError> {
        let account = self.access.account(key).ok_or(TransferError::Unknown)?;
        self.exchange.credit(account, currency, amount)
    }

    /// Moves free money out of an account.
    ///
    /// # Errors
    /// See `TransferError`.
    pub fn debit(
        &mut self,
        key: &str,
        currency: Currency,
        amount: Quantity,
    ) -> Result<(), TransferError> {
        let account = self.access.account(key).ok_or(TransferError::Unknown)?;
        self.exchange.debit(account, currency, amount)
    }

    /// Replaces what the house has standing in a market.
    pub fn quote(
        &mut self,
        pair: Pair,
        quotes: &Quotes,
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        if let Some(market) = self.markets.iter_mut().find(|market| market.pair == pair) {
            market.quote(
                &mut self.exchange,
                self.house,
                &self.settings.rules,
                quotes,
                now,
            );
        }
        self.publish(now, push);
    }

    /// Tells every stream what changed since the last call.
    pub(super) fn publish(&mut self, now: Time, push: &mut dyn FnMut(StreamNo, &[u8])) {
        let pairs: Vec<Pair> = self.markets.iter().map(|market| market.pair).collect();
        for pair in pairs {
            if let Some(changes) = self.exchange.drain_changes(pair) {
                let frame = self.delta(pair, &changes, now);
                self.push_book(pair, &frame, push);
            }
        }
        // Orders tell their sums here; single executions interest nobody.
        self.exchange.drain_fills();
        let mut touched = Vec::new();
        self.exchange.drain_touched(|order| touched.push(*order));
        for order in touched {
            let frame = json_of(&Frame::Order(OrderRow::of(&order)));
            for (stream, state) in &self.streams {
                if state.account == Some(order.account) {
                    push(*stream, &frame);
                }
            }
        }
    }

    fn delta(&self, pair: Pair, changes: &Changes, now: Time) -> Vec<u8> {
        json_of(&Frame::Book(Book {
            pair: pair.to_string().into(),
            kind: BookKind::Delta,
            prev: Some(changes.previous),
            seq: changes.sequence,
            ts: now.0.to_string().into(),
            lag_us: self.queue.lag(now).as_micros(),
            bids: rows_of(changes.bids.iter().copied()),
            asks: rows_of(changes.asks.iter().copied()),
        }))
    }

    /// Writes the whole book; every change up to here was published.
    pub(super) fn snapshot(&self, pair: Pair, now: Time) -> Vec<u8> {
        json_of(&Frame::Book(Book {
            pair: pair.to_string().into(),
            kind: BookKind::Snapshot,
            prev: None,
            seq: self.exchange.sequence(pair).unwrap_or_default(),
            ts: now.0.to_string().into(),
            lag_us: self.queue.lag(now).as_micros(),
            bids: rows_of(self.exchange.levels(pair, Side::Bid)),
            asks: rows_of(self.exchange.levels(pair, Side::Ask)),
        }))
    }

    fn push_book(&mut self, pair: Pair, frame: &[u8], push: &mut dyn FnMut(StreamNo, &[u8])) {
        let mut disconnected = Vec::new();
        for (stream, state) in &mut self.streams {
            if !state.pairs.contains(&pair) {
                continue;
            }
            if self.faults.strikes(Fault::Disconnects) {
                disconnected.push(*stream);
            } else if self.faults.strikes(Fault::LostFrames) {
                continue;
            } else if state.overtaken.is_none() && self.faults.strikes(Fault::ReorderedFrames) {
                state.overtaken = Some(frame.to_vec());
            } else {
                push(*stream, frame);
                if let Some(late) = state.overtaken.take() {
                    push(*stream, &late);
                }
            }
        }
        for stream in disconnected {
            self.streams.remove(&stream);
            self.closed.push_back(stream);
        }
    }

    fn handle_operation(
        &mut self,
        stream: StreamNo,
        operation: Operation,
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) -> Result<(), Refusal> {
        match operation {
            Operation::Subscribe { pairs } => {
                let pairs: Result<Vec<Pair>, Refusal> =
                    pairs.iter().map(|text| self.known_pair(text)).collect();
                let mut pairs = pairs?;
                pairs.sort_unstable();
                pairs.dedup();
                for pair in &pairs {
                    push(stream, &self.snapshot(*pair, now));
                }
                if let Some(state) = self.streams.get_mut(&stream) {
                    state.pairs = pairs;
                }
            }
            Operation::Resync { pair } => {
                let pair = self.known_pair(&pair)?;
                if let Some(state) = self.streams.get_mut(&stream) {
                    state.overtaken = None;
                }
                push(stream, &self.snapshot(pair, now));
            }
            Operation::Login { key, nonce, sign } => {
                let nonce = nonce.to_string();
                let proof = Proof {
                    key: &key,
                    nonce: &nonce,
                    sign: &sign,
                };
                let rate = self.settings.requests_per_s;
                let holder = self.access.check(proof, LOGIN_PATH, b"", rate, now);
                push(stream, &json_of(&Frame::Login { ok: holder.is_ok() }));
                if let (Ok(holder), Some(state)) = (holder, self.streams.get_mut(&stream)) {
                    state.account = Some(holder.account);
                }
            }
        }
        Ok(())
    }

    pub(super) fn known_pair(&self, text: &str) -> Result<Pair, Refusal> {
        let pair: Pair = text.parse().map_err(|_| Refusal::Other)?;
        let known = self.markets.iter().any(|market| market.pair == pair);
        known.then_some(pair).ok_or(Refusal::Other)
    }

    fn beat(&mut self, now: Time, push: &mut dyn FnMut(StreamNo, &[u8])) -> Time {
        let due = *self.alive_at.get_or_insert(now);
        if now < due {
            return due;
        }
        let next = now + Self::ALIVE_EVERY;
        self.alive_at = Some(next);
        if !self.queue.is_lagging(now) && self.faults.strikes(Fault::Lag) {
            self.queue.fall_behind(self.faults.random(), now);
        }
        let was_lagging = self.queue.take_lag_news(now);
        for stream in self.streams.keys() {
            push(*stream, &json_of(&Frame::Alive));
            if was_lagging {
                let us = self.queue.lag(now).as_micros();
                push(*stream, &json_of(&Frame::Lag { us }));
            }
        }
        next
    }
}

impl Server for SimulatedServer {
    fn handle_request(
        &mut self,
        request: &ServerRequest<'_>,
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) -> ServerReply {
        let reply = self.answer(request, now);
        self.publish(now, push);
        reply
    }

    fn handle_stream(&mut self, stream: StreamNo, target: &str, _now: Time) -> bool {
        let path = target.split('?').next().unwrap_or_default();
        if path != LOGIN_PATH || self.streams.len() >= Self::STREAMS_MAX {
            return false;
        }
        self.streams.insert(stream, Stream::default()).is_none()
    }

    fn handle_frame(
        &mut self,
        stream: StreamNo,
        frame: &[u8],
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        if !self.streams.contains_key(&stream) {
            return;
        }
        let done = match serde_json::from_slice(frame) {
            Ok(operation) => self.handle_operation(stream, operation, now, push),
            Err(_) => Err(Refusal::Other),
        };
        if done.is_err() {
            let what = "request".into();
            push(stream, &json_of(&Frame::Error { what }));
        }
    }

    fn handle_stream_closed(&mut self, stream: StreamNo) {
        self.streams.remove(&stream);
    }

    fn handle_deadline(
        &mut self,
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) -> Option<Time> {
        self.run_queue(now);
        let mut next = self.beat(now, push);
        for market in &mut self.markets {
            let rules = &self.settings.rules;
            let at = market.advance(&mut self.exchange, self.house, rules, now);
            next = at.map_or(next, |at| next.min(at));
        }
        self.publish(now, push);
        Some(self.queue.next_at().map_or(next, |at| next.min(at)))
    }

    fn poll_closed(&mut self) -> Option<StreamNo> {
        self.closed.pop_front()
    }

    fn audit(&self) -> Audit {
        let accounts = self.access.keys().filter_map(|key| {
            let account = self.access.account(key)?;
            let orders = self.exchange.orders_from(account, OrderId(0));
            let orders = orders.filter_map(audit_order).collect();
            Some(audit_account(&self.exchange, key, account, orders))
        });
        Audit {
            duplicates: self.duplicates(),
            imbalance: self.imbalance().map(|(currency, _)| currency),
            accounts: accounts.collect(),
        }
    }
}

fn open_account(
    exchange: &mut Exchange,
    access: &mut Access,
    settings: &AccountSettings,
) -> Result<(), SetupError> {
    let key = &settings.credentials.key;
    let account = exchange.open_account().ok_or(SetupError::Accounts)?;
    let holder = Holder {
        account,
        may_withdraw: settings.may_withdraw,
    };
    if !access.insert(&settings.credentials, holder) {
        return Err(SetupError::KeyTwice(key.clone()));
    }
    for (currency, amount) in &settings.balances {
        let credited = exchange.credit(account, *currency, *amount);
        credited.map_err(|source| SetupError::Balance {
            key: key.clone(),
            source,
        })?;
    }
    Ok(())
}
