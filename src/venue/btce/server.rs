//! The served exchange: its markets and accounts, deadlines, and what streams are told.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::instrument::Pair;
use crate::model::market::{Level, Rules, Side};
use crate::model::number::{Price, Quantity};
use crate::model::random::Random;
use crate::model::time::{Span, Time};
use crate::venue::btce::FAULTS;
use crate::venue::btce::access::{Access, Peers, Rights};
use crate::venue::btce::document::Documents;
use crate::venue::btce::ledger::Ledger;
use crate::venue::btce::personality::{Habits, Load};
use crate::venue::btce::pusher::Feed;
use crate::venue::btce::slow::SlowCancels;
use crate::venue::btce::style::{Style, pair_name};
use crate::venue::exchange::account::Balance;
use crate::venue::exchange::{self, AccountNo, Exchange, Order};
use crate::venue::history::Quotes;
use crate::venue::serving::fault::{Fault, Faults};
use crate::venue::serving::house::{audit_account, audit_order, open_market};
use crate::venue::serving::market::RunningMarket;
use crate::venue::serving::{AccountSettings, Audit, ServerSettings, SetupError};
use crate::venue::{Server, ServerReply, ServerRequest, StreamNo};

/// An exchange of the dialect.
#[derive(Debug)]
pub struct BtceServer {
    pub(super) exchange: Exchange,
    pub(super) style: Style,
    pub(super) habits: Habits,
    pub(super) taker_fee_ppm: u32,
    pub(super) requests_per_s: u16,
    house: AccountNo,
    pub(super) markets: Vec<Listed>,
    /// Every currency that stands in `funds`.
    pub(super) currencies: BTreeSet<Currency>,
    pub(super) access: Access,
    pub(super) peers: Peers,
    pub(super) load: Load,
    pub(super) documents: Documents,
    pub(super) ledgers: BTreeMap<AccountNo, Ledger>,
    /// The last name given to an order; a name is never given twice.
    pub(super) orders_named: u64,
    pub(super) transactions: u64,
    /// The first deposits, until a first call tells the time.
    pub(super) endowments: Vec<(AccountNo, Currency, Quantity)>,
    pub(super) slow_cancels: SlowCancels,
    pub(super) feed: Feed,
    pub(super) faults: Faults,
    pub(super) overloaded_until: Time,
    beat_at: Option<Time>,
}

/// A market and what it demands.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) rules: Rules,
    pub(super) running: RunningMarket,
    /// The feed has told of all trades below this number.
    pub(super) trades_told: u64,
}

impl BtceServer {
    /// Between two looks at streams and at the lag fault.
    const BEAT: Span = Span::SECOND;
    /// For this long signed requests are refused once the lag fault struck.
    const OVERLOAD_LASTS: Span = Span::secs(5);

    /// Opens markets and accounts; nothing stands in a book before the first deadline.
    ///
    /// # Errors
    /// The first setting that contradicts another or a limit.
    pub fn new(settings: ServerSettings, style: &'static Style) -> Result<Self, SetupError> {
        let habits = Habits::find(settings.personality.as_deref(), style)?;
        let own = settings.markets.iter().map(|(pair, _)| *pair);
        let rules = own.map(|pair| style.rules_beside(pair, &settings.rules));
        let loosest = rules.fold(settings.rules, |loosest, rules| Rules {
            tick: loosest.tick.min(rules.tick),
            quantity_min: loosest.quantity_min.min(rules.quantity_min),
            ..loosest
        });
        let mut exchange = Exchange::new(exchange::Settings {
            rules: loosest,
            maker_fee_ppm: settings.maker_fee_ppm,
            money: exchange::Money {
                steps: &[],
                fee_per_trade: true,
            },
        });
        let mut random = Random::new(settings.seed);
        let house = exchange.open_house().ok_or(SetupError::Accounts)?;
        let mut faults = Faults::new(random.fork());
        for (fault, ppm) in &settings.faults {
            faults.set(*fault, *ppm);
        }
        let mut server = Self {
            exchange,
            style: Style {
                nonce_text: habits.nonce_text,
                ..*style
            },
            habits,
            taker_fee_ppm: settings.rules.taker_fee_ppm,
            requests_per_s: settings.requests_per_s,
            house,
            markets: Vec::new(),
            currencies: BTreeSet::new(),
            access: Access::default(),
            peers: Peers::default(),
            load: Load::default(),
            documents: Documents::default(),
            ledgers: BTreeMap::new(),
            orders_named: 0,
            transactions: 0,
            endowments: Vec::new(),
            slow_cancels: SlowCancels::default(),
            feed: Feed::new(style.pusher, random.fork()),
            faults,
            overloaded_until: Time::ZERO,
            beat_at: None,
        };
        for (pair, source) in settings.markets {
            let rules = style.rules_beside(pair, &settings.rules);
            let running = RunningMarket::new(pair, source, random.fork());
            server.open_market(rules, running)?;
        }
        for account in &settings.accounts {
            server.open_account(account)?;
        }
        Ok(server)
    }

    fn open_market(&mut self, rules: Rules, running: RunningMarket) -> Result<(), SetupError> {
        let pair = running.pair;
        open_market(&mut self.exchange, self.house, pair)?;
        self.currencies.extend([pair.base, pair.quote]);
        self.markets.push(Listed {
            name: pair_name(pair),
            rules,
            running,
            trades_told: 0,
        });
        Ok(())
    }

    fn open_account(&mut self, settings: &AccountSettings) -> Result<(), SetupError> {
        let key = &settings.credentials.key;
        let account = self.exchange.open_account().ok_or(SetupError::Accounts)?;
        let rights = Rights {
            info: true,
            trade: true,
            withdraw: settings.may_withdraw,
        };
        if !self.access.insert(&settings.credentials, account, rights) {
            return Err(SetupError::KeyTwice(key.clone()));
        }
        for (currency, amount) in &settings.balances {
            let credited = self.exchange.credit(account, *currency, *amount);
            credited.map_err(|source| SetupError::Balance {
                key: key.clone(),
                source,
            })?;
            self.currencies.insert(*currency);
            self.endowments.push((account, *currency, *amount));
        }
        self.ledgers.insert(account, Ledger::default());
        Ok(())
    }

    /// Returns an account's balances by currency; none for an unknown key.
    pub fn balances(&self, key: &str) -> Vec<(Currency, Balance)> {
        let account = self.access.account(key);
        account.map_or_else(Vec::new, |account| {
            self.exchange.balances(account).collect()
        })
    }

    /// Returns every order of an account, by name.
    pub fn orders(&self, key: &str) -> Vec<Order> {
        let account = self.access.account(key);
        account.map_or_else(Vec::new, |account| {
            let orders = self.exchange.orders_from(account, OrderId(0));
            orders.copied().collect()
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

    /// Switches a fault on, off or to another rate.
    pub fn set_fault(&mut self, fault: Fault, ppm: u32) {
        self.faults.set(fault, ppm);
    }

    /// Changes what a key may do; false for an unknown one.
    pub fn set_rights(&mut self, key: &str, rights: Rights) -> bool {
        self.access.set_rights(key, rights)
    }

    /// Replaces what the house has standing in a market.
    pub fn quote(
        &mut self,
        pair: Pair,
        quotes: &Quotes,
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        let mut markets = self.markets.iter_mut();
        if let Some(listed) = markets.find(|listed| listed.running.pair == pair) {
            let (exchange, house) = (&mut self.exchange, self.house);
            listed
                .running
                .quote(exchange, house, &listed.rules, quotes, now);
        }
        self.publish(push);
    }

    /// Returns the market of a name.
    pub(super) fn listed(&self, name: &str) -> Option<&Listed> {
        self.markets.iter().find(|listed| listed.name == name)
    }

    /// Returns a name that no order has.
    pub(super) fn next_name(&mut self) -> OrderId {
        self.orders_named += 1;
        OrderId(self.orders_named)
    }

    fn beat(&mut self, now: Time) -> Time {
        let due = *self.beat_at.get_or_insert(now);
        if now < due {
            return due;
        }
        let next = now + Self::BEAT;
        self.beat_at = Some(next);
        if now >= self.overloaded_until && self.faults.strikes(Fault::Lag) {
            self.overloaded_until = now + Self::OVERLOAD_LASTS;
        }
        next
    }
}

impl Listed {
    pub(super) fn pair(&self) -> Pair {
        self.running.pair
    }

    /// Returns the lowest and the highest price that an order may name here.
    pub(super) fn prices(&self, style: &Style) -> (Price, Price) {
        style.prices(self.pair(), self.rules.tick)
    }
}

impl Server for BtceServer {
    fn handle_request(
        &mut self,
        request: &ServerRequest<'_>,
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) -> ServerReply {
        self.begin(now);
        let reply = self.answer(request, now);
        self.publish(push);
        reply
    }

    fn handle_stream(&mut self, stream: StreamNo, target: &str, now: Time) -> bool {
        self.feed.open(stream, target, now)
    }

    fn handle_frame(
        &mut self,
        stream: StreamNo,
        frame: &[u8],
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) {
        self.feed.handle_frame(stream, frame, now, push);
    }

    fn handle_stream_closed(&mut self, stream: StreamNo) {
        self.feed.forget(stream);
    }

    fn handle_deadline(
        &mut self,
        now: Time,
        push: &mut dyn FnMut(StreamNo, &[u8]),
    ) -> Option<Time> {
        self.begin(now);
        while let Some((account, id)) = self.slow_cancels.pop_due(now) {
            // What was filled in between needs no cancel.
            self.exchange.cancel(account, id).ok();
        }
        let mut next = self.beat(now);
        for listed in &mut self.markets {
            let (exchange, house) = (&mut self.exchange, self.house);
            let at = listed.running.advance(exchange, house, &listed.rules, now);
            next = at.map_or(next, |at| next.min(at));
        }
        self.publish(push);
        self.feed.tend(now, push);
        let slow = self.slow_cancels.next_at();
        Some(slow.map_or(next, |at| next.min(at)))
    }

    fn poll_closed(&mut self) -> Option<StreamNo> {
        self.feed.poll_closed()
    }

    fn audit(&self) -> Audit {
        let accounts = self.access.keys().filter_map(|key| {
            let account = self.access.account(key)?;
            let orders = self.exchange.orders_from(account, OrderId(0));
            let orders = orders.filter_map(audit_order).collect();
            Some(audit_account(&self.exchange, key, account, orders))
        });
        Audit {
            duplicates: self.exchange.duplicates(),
            imbalance: self.exchange.imbalance().map(|(currency, _)| currency),
            accounts: accounts.collect(),
        }
    }
}

/// Returns the number of a trade as customers see it; theirs begin with one.
pub(super) fn trade_id(no: u64) -> u64 {
    no.saturating_add(1)
}

/// Returns a moment in whole seconds since 1970.
pub(super) fn unix_s(at: Time) -> u64 {
    at.0 / Span::SECOND.0
}
