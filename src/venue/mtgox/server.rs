//! The served side of MtGox: what it is made of, its time, its outbox.

use std::collections::{BTreeMap, VecDeque};

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::instrument::Pair;
use crate::model::market::{FeeIn, Level, Rules, Side};
use crate::model::number::{Price, Quantity};
use crate::model::random::Random;
use crate::model::time::{Span, Time};
use crate::venue::exchange::account::Balance;
use crate::venue::exchange::{self, AccountNo, Exchange, TransferError};
use crate::venue::history::Quotes;
use crate::venue::mtgox::FAULTS;
use crate::venue::mtgox::access::{Access, Holder};
use crate::venue::mtgox::front::Front;
use crate::venue::mtgox::habits::Habits;
use crate::venue::mtgox::json::{Written, json_of};
use crate::venue::mtgox::ledger::{Kind, Ledger};
use crate::venue::mtgox::lodged::{Lodged, Orders};
use crate::venue::mtgox::message::{Broadcast, LagNews};
use crate::venue::mtgox::money;
use crate::venue::mtgox::names::{Channel, Names, Stamps};
use crate::venue::mtgox::queue::Queue;
use crate::venue::mtgox::streams::Streams;
use crate::venue::mtgox::tape::Tape;
use crate::venue::serving::fault::{Fault, Faults};
use crate::venue::serving::house::{audit_account, open_market};
use crate::venue::serving::market::RunningMarket;
use crate::venue::serving::{AccountSettings, Audit, OrderAudit, ServerSettings, SetupError};
use crate::venue::{Server, ServerReply, ServerRequest, StreamNo};

/// A venue of the MtGox dialect.
#[derive(Debug)]
pub struct MtgoxServer {
    pub(super) exchange: Exchange,
    pub(super) settings: ServerSettings,
    pub(super) house: AccountNo,
    markets: Vec<RunningMarket>,
    pub(super) access: Access,
    customers: Vec<(String, AccountNo)>,
    pub(super) names: Names,
    pub(super) stamps: Stamps,
    pub(super) orders: Orders,
    pub(super) queue: Queue,
    pub(super) ledgers: BTreeMap<AccountNo, Ledger>,
    /// Rows of all ledgers so far: each has a name.
    pub(super) links: u64,
    pub(super) tapes: BTreeMap<Pair, Tape>,
    /// Trades below this number of the engine were shown.
    pub(super) trades_seen: u64,
    pub(super) front: Front,
    pub(super) streams: Streams,
    outbox: VecDeque<News>,
    /// News that are held back (fault), by when they go out.
    late: BTreeMap<(Time, u64), News>,
    late_made: u64,
    pub(super) idkeys: VecDeque<IdKey>,
    pub(super) idkeys_made: u64,
    pub(super) queue_ids: u64,
    pub(super) faults: Faults,
    pub(super) habits: Habits,
    beat_at: Option<Time>,
    /// When all asks vanish from the stream next, and when they are back.
    flush_at: Option<Time>,
    unflush_at: Option<Time>,
    /// News of an order go out before the reply that names it (fault).
    pub(super) is_early: bool,
}

/// A message on its way to a channel.
#[derive(Debug)]
struct News {
    channel: Channel,
    message: Vec<u8>,
}

/// A key into the private stream of an account.
#[derive(Debug)]
pub(super) struct IdKey {
    pub(super) text: String,
    pub(super) account: AccountNo,
    pub(super) until: Time,
}

impl MtgoxServer {
    /// Between two looks at lag, tickers, heartbeats and habits.
    const BEAT_EVERY: Span = Span::SECOND;
    /// A ticker without news is repeated after this long, so that no stream seems dead.
    const TICKER_EVERY: Span = Span::secs(10);
    /// How long asks are gone when a habit flushes them.
    const FLUSH_LASTS: Span = Span::SECOND;
    /// Messages that wait for the next frame or deadline; the oldest of more are lost.
    const OUTBOX_MAX: usize = 100_000;
    /// Messages that are held back; one more goes out at once.
    const LATE_MAX: usize = 10_000;
    /// Keys into private streams; the oldest of more are good no longer.
    pub(super) const IDKEYS_MAX: usize = 10_000;
    pub(super) const IDKEY_LASTS: Span = Span::DAY;

    /// Opens markets and accounts; nothing stands in a book before the first deadline.
    ///
    /// Fees are taken from what an order receives whatever the rules say, as the venue did it.
    ///
    /// # Errors
    /// The first setting that contradicts another or a limit.
    pub fn new(mut settings: ServerSettings) -> Result<Self, SetupError> {
        let habits = Habits::parse(settings.personality.as_deref())?;
        settings.rules.fee_in = FeeIn::Received;
        let mut exchange = Exchange::new(exchange::Settings {
            // Minimum and tick are checked before orders come here: parts of one may be smaller.
            rules: Rules {
                tick: Price(1),
                lot: Quantity(1),
                quantity_min: Quantity(1),
                ..settings.rules
            },
            maker_fee_ppm: settings.maker_fee_ppm,
            money: exchange::Money {
                steps: money::steps(),
                fee_per_trade: true,
            },
        });
        let mut random = Random::new(settings.seed);
        let house = exchange.open_house().ok_or(SetupError::Accounts)?;
        let mut markets = Vec::new();
        let mut tapes = BTreeMap::new();
        for (pair, source) in std::mem::take(&mut settings.markets) {
            open_market(&mut exchange, house, pair)?;
            tapes.insert(pair, Tape::new(pair));
            markets.push(RunningMarket::new(pair, source, random.fork()));
        }
        let mut faults = Faults::new(random.fork());
        habits.set_faults(&settings.faults, &mut faults);
        let accounts = std::mem::take(&mut settings.accounts);
        let mut server = Self {
            exchange,
            house,
            markets,
            access: Access::default(),
            customers: Vec::new(),
            names: Names::new(settings.seed),
            stamps: Stamps::default(),
            orders: Orders::default(),
            queue: Queue::new(habits.steady_lag),
            ledgers: BTreeMap::new(),
            links: 0,
            tapes,
            trades_seen: 0,
            front: Front::default(),
            streams: Streams::default(),
            outbox: VecDeque::new(),
            late: BTreeMap::new(),
            late_made: 0,
            idkeys: VecDeque::new(),
            idkeys_made: 0,
            queue_ids: 0,
            faults,
            habits,
            beat_at: None,
            flush_at: None,
            unflush_at: None,
            is_early: false,
            settings,
        };
        for account in accounts {
            server.open_account(&account)?;
        }
        Ok(server)
    }

    fn open_account(&mut self, settings: &AccountSettings) -> Result<(), SetupError> {
        let key = settings.credentials.key.clone();
        let account = self.exchange.open_account().ok_or(SetupError::Accounts)?;
        let holder = Holder {
            account,
            may_withdraw: settings.may_withdraw,
        };
        if !self.access.insert(&settings.credentials, holder) {
            return Err(SetupError::KeyTwice(key));
        }
        self.customers.push((key.clone(), account));
        for (currency, amount) in &settings.balances {
            let amount = amount.floor_to(money::step(*currency));
            self.deposit(account, *currency, amount, Time::ZERO)
                .map_err(|source| SetupError::Balance {
                    key: key.clone(),
                    source,
                })?;
        }
        Ok(())
    }

    /// Returns an account's balances by currency; none for an unknown key.
    pub fn balances(&self, key: &str) -> Vec<(Currency, Balance)> {
        let account = self.access.account(key);
        account.map_or_else(Vec::new, |account| {
            self.exchange.balances(account).collect()
        })
    }

    /// Returns the levels of a side, best first.
    pub fn levels(&self, pair: Pair, side: Side) -> Vec<Level> {
        self.exchange.levels(pair, side).collect()
    }

    /// Returns how often each fault struck, by name.
    pub fn fault_counts(&self) -> Vec<(&'static str, u64)> {
        self.faults.counts(&FAULTS)
    }

    /// Returns a currency that does not add up, which never happens: in the engine, or between it
    /// and the ledgers.
    pub fn imbalance(&self) -> Option<Currency> {
        if let Some((currency, _)) = self.exchange.imbalance() {
            return Some(currency);
        }
        self.customers.iter().find_map(|(_, account)| {
            let ledger = self.ledgers.get(account);
            let mut balances = self.exchange.balances(*account);
            let wrong = balances.find(|(currency, balance)| {
                let written = ledger.map_or(Quantity::ZERO, |ledger| ledger.balance(*currency));
                balance.sum() != i128::from(written.0)
            });
            wrong.map(|(currency, _)| currency)
        })
    }

    /// Switches a fault on, off or to another rate.
    pub fn set_fault(&mut self, fault: Fault, ppm: u32) {
        self.faults.set(fault, ppm);
    }

    /// Moves money into an account. Less than the currency's smallest amount is dropped.
    ///
    /// # Errors
    /// See `TransferError`.
    pub fn credit(
        &mut self,
        key: &str,
        currency: Currency,
        amount: Quantity,
        now: Time,
    ) -> Result<(), TransferError> {
        let account = self.access.account(key).ok_or(TransferError::Unknown)?;
        let amount = amount.floor_to(money::step(currency));
        self.deposit(account, currency, amount, now)
    }

    /// Moves free money out of an account. Less than the currency's smallest amount is dropped.
    ///
    /// # Errors
    /// See `TransferError`.
    pub fn debit(
        &mut self,
        key: &str,
        currency: Currency,
        amount: Quantity,
        now: Time,
    ) -> Result<(), TransferError> {
        let account = self.access.account(key).ok_or(TransferError::Unknown)?;
        let amount = amount.floor_to(money::step(currency));
        self.exchange.debit(account, currency, amount)?;
        self.write_transfer(account, (currency, Kind::Withdraw, amount), now);
        Ok(())
    }

    fn deposit(
        &mut self,
        account: AccountNo,
        currency: Currency,
        amount: Quantity,
        now: Time,
    ) -> Result<(), TransferError> {
        self.exchange.credit(account, currency, amount)?;
        self.write_transfer(account, (currency, Kind::Deposit, amount), now);
        Ok(())
    }

    fn write_transfer(&mut self, account: AccountNo, entry: (Currency, Kind, Quantity), now: Time) {
        self.links += 1;
        let link = self.names.uuid("link", self.links);
        let ledger = self.ledgers.entry(account).or_default();
        ledger.write(entry, link, None, now);
    }

    /// Replaces what the house has standing in a market.
    pub fn quote(
        &mut self,
        pair: Pair,
        quotes: &Quotes,
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        let rules = self.rules_in(pair);
        if let Some(market) = self.markets.iter_mut().find(|market| market.pair == pair) {
            market.quote(&mut self.exchange, self.house, &rules, quotes, now);
        }
        self.settle(now);
        self.flush(now, push);
    }

    /// Returns the rules of one market: no price is finer than its currency.
    pub(super) fn rules_in(&self, pair: Pair) -> Rules {
        let rules = self.settings.rules;
        let tick = rules.tick.max(Price(money::step(pair.quote).0));
        Rules { tick, ..rules }
    }

    /// Puts a message for a channel into the outbox.
    pub(super) fn tell(&mut self, channel: Channel, kind: &'static str, body: Vec<u8>, stamp: u64) {
        let news = self.news(channel, kind, body, stamp);
        if self.outbox.len() >= Self::OUTBOX_MAX {
            self.outbox.pop_front();
        }
        self.outbox.push_back(news);
    }

    /// Puts news of an order into the outbox, or holds them back as its fault says.
    pub(super) fn tell_of_order(&mut self, no: u64, body: Vec<u8>, now: Time) {
        let Some((account, told_from)) = self
            .orders
            .get(no)
            .map(|order| (order.account, order.told_from))
        else {
            return;
        };
        let channel = Channel::Private(account);
        let stamp = self.stamps.next(now);
        if told_from <= now || self.late.len() >= Self::LATE_MAX {
            self.tell(channel, "user_order", body, stamp);
            return;
        }
        let news = self.news(channel, "user_order", body, stamp);
        self.late_made += 1;
        self.late.insert((told_from, self.late_made), news);
    }

    fn news(&self, channel: Channel, kind: &'static str, body: Vec<u8>, stamp: u64) -> News {
        let message = json_of(&Broadcast {
            channel: channel.uuid(&self.names).to_string(),
            kind,
            body: Written::new(body),
            stamp: stamp.to_string(),
        });
        News { channel, message }
    }

    /// Sends whatever waits.
    pub(super) fn flush(&mut self, now: Time, push: &mut dyn FnMut(StreamNo, &[u8])) {
        self.streams.greet(push);
        while let Some(first) = self.late.first_entry()
            && first.key().0 <= now
        {
            let News { channel, message } = first.remove();
            self.streams
                .broadcast(channel, &message, &mut self.faults, push);
        }
        while let Some(News { channel, message }) = self.outbox.pop_front() {
            self.streams
                .broadcast(channel, &message, &mut self.faults, push);
        }
    }

    fn beat(&mut self, now: Time, push: &mut dyn FnMut(StreamNo, &[u8])) -> Time {
        let due = *self.beat_at.get_or_insert(now);
        if now < due {
            return due;
        }
        let next = now + Self::BEAT_EVERY;
        self.beat_at = Some(next);
        if !self.queue.is_behind(now) {
            if self.faults.strikes(Fault::Lag) {
                self.queue.fall_behind(self.faults.random(), now);
            } else if let Some((most, ppm)) = self.habits.wave
                && self.faults.random().chance(ppm)
            {
                self.queue.fall_far_behind(most, self.faults.random(), now);
            }
        }
        if self.queue.take_lag_news(now) {
            self.tell_lag(now);
        }
        self.tell_tickers(now);
        self.flush_asks(now);
        self.streams.beat(now, push);
        next
    }

    fn tell_lag(&mut self, now: Time) {
        let lag = self.queue.lag(now);
        let is_over = lag == Span::ZERO;
        let qid = self.names.uuid("queue", self.queue_ids).to_string();
        let news = LagNews {
            qid: if is_over { String::new() } else { qid },
            stamp: ((now - lag).0 / 1_000).to_string(),
            age: lag.as_micros(),
        };
        let stamp = self.stamps.next(now);
        self.tell(Channel::Lag, "lag", json_of(&news), stamp);
    }

    fn tell_tickers(&mut self, now: Time) {
        let pairs: Vec<Pair> = self.tapes.keys().copied().collect();
        for pair in pairs {
            let is_heard = self.streams.has(Channel::Ticker(pair));
            let Some(tape) = self.tapes.get_mut(&pair).filter(|_| is_heard) else {
                continue;
            };
            let is_due = now.since(tape.ticker_at) >= Self::TICKER_EVERY;
            if !is_due && !tape.is_news {
                continue;
            }
            tape.is_news = false;
            tape.ticker_at = now;
            let mut ticker = self.ticker_of(pair, now);
            ticker.item = Some(pair.base.to_string());
            let stamp = self.stamps.next(now);
            self.tell(Channel::Ticker(pair), "ticker", json_of(&ticker), stamp);
        }
    }

    /// Lets all asks vanish from the stream and come back, where that is a habit.
    fn flush_asks(&mut self, now: Time) {
        let Some(every) = self.habits.asks_flushed_every else {
            return;
        };
        if self.unflush_at.is_some_and(|at| at <= now) {
            self.unflush_at = None;
            self.tell_all_asks(false, now);
        }
        if *self.flush_at.get_or_insert(now + every) <= now {
            self.flush_at = Some(now + every);
            self.unflush_at = Some(now + Self::FLUSH_LASTS);
            self.tell_all_asks(true, now);
        }
    }
}

impl Server for MtgoxServer {
    fn handle_request(
        &mut self,
        request: &ServerRequest<'_>,
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) -> ServerReply {
        let reply = self.answer(request, now);
        if std::mem::take(&mut self.is_early) {
            self.run_engine(now);
            self.flush(now, push);
        }
        reply
    }

    fn handle_stream(&mut self, stream: StreamNo, target: &str, now: Time) -> bool {
        self.open_stream(stream, target, now)
    }

    fn handle_frame(
        &mut self,
        stream: StreamNo,
        frame: &[u8],
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        self.streams.greet(push);
        self.read_frame(stream, frame, now, push);
        self.streams.greet(push);
    }

    fn handle_stream_closed(&mut self, stream: StreamNo) {
        self.streams.close(stream);
    }

    fn handle_deadline(
        &mut self,
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) -> Option<Time> {
        let mut next = Time::MAX;
        for index in 0..self.markets.len() {
            let rules = self.rules_in(self.markets[index].pair);
            let market = &mut self.markets[index];
            let at = market.advance(&mut self.exchange, self.house, &rules, now);
            next = at.map_or(next, |at| next.min(at));
        }
        self.run_engine(now);
        next = next.min(self.beat(now, push));
        self.flush(now, push);
        let late = self.late.keys().next().map(|(at, _)| *at);
        let waiting = [self.queue.next_at(), late];
        Some(waiting.into_iter().flatten().fold(next, Time::min))
    }

    fn poll_closed(&mut self) -> Option<StreamNo> {
        self.streams.pop_closed()
    }

    fn audit(&self) -> Audit {
        let accounts = self.customers.iter().map(|(key, account)| {
            let orders = self.orders.of(*account).map(audit_of).collect();
            audit_account(&self.exchange, key, *account, orders)
        });
        Audit {
            duplicates: self.exchange.duplicates(),
            imbalance: self.imbalance(),
            accounts: accounts.collect(),
        }
    }
}

fn audit_of(order: &Lodged) -> OrderAudit {
    OrderAudit {
        id: OrderId(order.no),
        pair: order.pair,
        side: order.side,
        filled: order.filled,
    }
}
