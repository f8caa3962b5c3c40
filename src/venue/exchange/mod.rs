//! The matching engine of served venues: price-time priority, exact money, no clock.
//!
//! ```text
//! place ─▶ Rejected                                    (rule, funds)
//!       └▶ matched against the other side ─▶ Open ─▶ Closed   (filled, or cancelled)
//! ```
//! Every unit that was credited is at every instant in a balance, held by an order, or earned as a
//! fee: `imbalance` tells where that fails. Two accounts trade at the resting order's price; the
//! total is rounded down to the quote currency's smallest amount, the same for both sides. Fees are
//! rounded up, over the life of an order or for each execution, as the venue does it.
//!
//! Where an order would meet a resting order of its own account, what is left of the incoming
//! order is closed and the resting one stays.

pub mod account;
pub mod ladder;
mod matching;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::instrument::Pair;
use crate::model::market::{Level, Rules, Side};
use crate::model::number::{Price, Quantity};
use crate::model::time::Time;
use crate::model::trade::{Filled, VenueOrderState};
use crate::venue::exchange::account::{Account, Balance};
use crate::venue::exchange::ladder::Ladders;
use crate::venue::exchange::matching::spent_currency;

/// What an exchange demands and takes, and how much it can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub rules: Rules,
    /// Taken from the order that was resting.
    pub maker_fee_ppm: u32,
    pub money: Money,
}

/// How a venue counts money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Money {
    /// The smallest amount of a currency, where that is not 1e-8.
    pub steps: &'static [(Currency, Quantity)],
    /// Whether a fee is rounded up for each execution instead of once for an order.
    pub fee_per_trade: bool,
}

impl Money {
    /// Returns the smallest amount of a currency.
    pub fn step(&self, currency: Currency) -> Quantity {
        let known = self.steps.iter().find(|(known, _)| *known == currency);
        known.map_or(Quantity(1), |(_, step)| *step)
    }
}

impl Settings {
    /// Accounts of one exchange; one more is refused.
    pub const ACCOUNTS_MAX: usize = 1_024;
    /// Markets of one exchange; one more is refused.
    pub const MARKETS_MAX: usize = 64;
    /// Open orders of one account; one more is refused as `Full`.
    pub const ORDERS_OPEN_MAX: usize = 4_096;
    /// Orders of one account with a name, open or closed, kept for ever; one more is `Full`.
    pub const ORDERS_NAMED_MAX: usize = 1_000_000;
}

/// An account of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountNo(pub u32);

/// An order of one exchange; later orders have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderNo(pub u64);

/// What an account asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The account's own name for the order, never to be used again. Only the house may have none.
    pub id: Option<OrderId>,
    pub pair: Pair,
    pub side: Side,
    pub quantity: Quantity,
    pub limit: Price,
}

/// An order as the exchange knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub no: OrderNo,
    pub account: AccountNo,
    pub id: Option<OrderId>,
    pub pair: Pair,
    pub side: Side,
    pub limit: Price,
    pub quantity: Quantity,
    /// What still rests.
    pub remaining: Quantity,
    pub state: VenueOrderState,
    pub filled: Filled,
    /// What the account holds back for it.
    held: Quantity,
    /// Sum of amount × ppm of its executions; the fee is a millionth of it, rounded up.
    fee_weight: i128,
}

/// One execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    pub no: u64,
    pub at: Time,
    pub price: Price,
    pub quantity: Quantity,
    /// The side of the order that came in.
    pub taker: Side,
}

/// One side's part of an execution, as its account's ledger shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    pub order: OrderNo,
    pub account: AccountNo,
    /// The number of the [`Trade`].
    pub trade: u64,
    pub at: Time,
    pub pair: Pair,
    pub side: Side,
    pub is_maker: bool,
    pub price: Price,
    pub quantity: Quantity,
    pub total: Quantity,
    pub fee: Quantity,
}

/// Levels that changed since they were last drained, best first; quantity zero removes one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub previous: u64,
    pub sequence: u64,
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
}

/// Why an order never entered the book.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PlaceError {
    #[error("this order id was used already")]
    Duplicate,
    #[error("a limit of the exchange is reached")]
    Full,
    #[error("not enough funds")]
    Funds,
    #[error("no such account or market")]
    Unknown,
    #[error("below the minimum, or off tick or lot")]
    Rule,
}

/// The account has no order of this name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no such order")]
pub struct NoSuchOrder;

/// Why money was not credited or debited.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TransferError {
    #[error("no such account")]
    Unknown,
    #[error("not enough free funds")]
    Funds,
    #[error("more than the exchange can count")]
    Full,
}

/// All accounts, markets and orders of one exchange.
#[derive(Debug)]
pub struct Exchange {
    settings: Settings,
    accounts: Vec<Account>,
    markets: BTreeMap<Pair, Ladders>,
    orders: BTreeMap<OrderNo, Order>,
    fees: BTreeMap<Currency, i128>,
    /// Credited less debited.
    issued: BTreeMap<Currency, i128>,
    touched: Vec<OrderNo>,
    fills: Vec<Fill>,
    orders_made: u64,
    trades_made: u64,
    duplicates: u64,
}

impl Exchange {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            accounts: Vec::new(),
            markets: BTreeMap::new(),
            orders: BTreeMap::new(),
            fees: BTreeMap::new(),
            issued: BTreeMap::new(),
            touched: Vec::new(),
            fills: Vec::new(),
            orders_made: 0,
            trades_made: 0,
            duplicates: 0,
        }
    }

    /// Opens a market; false where it exists or the exchange is full.
    pub fn open_market(&mut self, pair: Pair) -> bool {
        if self.markets.contains_key(&pair) || self.markets.len() >= Settings::MARKETS_MAX {
            return false;
        }
        self.markets.insert(pair, Ladders::default());
        true
    }

    /// Opens a customer's account, or `None` where the exchange is full.
    pub fn open_account(&mut self) -> Option<AccountNo> {
        self.insert_account(Account::customer())
    }

    /// Opens an account that pays no fees, needs no names and may place less than the minimum.
    pub fn open_house(&mut self) -> Option<AccountNo> {
        self.insert_account(Account::house())
    }

    fn insert_account(&mut self, account: Account) -> Option<AccountNo> {
        if self.accounts.len() >= Settings::ACCOUNTS_MAX {
            return None;
        }
        let no = AccountNo(u32::try_from(self.accounts.len()).ok()?);
        self.accounts.push(account);
        Some(no)
    }

    /// Adds money from outside.
    ///
    /// # Errors
    /// `Full` where all of a currency together would pass what an amount can count: that keeps
    /// every later addition within range.
    pub fn credit(
        &mut self,
        account: AccountNo,
        currency: Currency,
        amount: Quantity,
    ) -> Result<(), TransferError> {
        let issued = self.issued.entry(currency).or_default();
        let after = *issued + i128::from(amount.0);
        if amount.0 < 0 || after > i128::from(i64::MAX) {
            return Err(TransferError::Full);
        }
        let account = account_mut(&mut self.accounts, account).ok_or(TransferError::Unknown)?;
        account.balance_mut(currency).add_free(amount);
        *issued = after;
        Ok(())
    }

    /// Takes money out; only what is free can leave.
    pub fn debit(
        &mut self,
        account: AccountNo,
        currency: Currency,
        amount: Quantity,
    ) -> Result<(), TransferError> {
        let account = account_mut(&mut self.accounts, account).ok_or(TransferError::Unknown)?;
        let balance = account.balance_mut(currency);
        if amount.0 < 0 || !balance.take_free(amount) {
            return Err(TransferError::Funds);
        }
        *self.issued.entry(currency).or_default() -= i128::from(amount.0);
        Ok(())
    }

    /// Takes an order: matches what its limit allows, rests the remainder.
    ///
    /// # Errors
    /// An order refused for its funds or its shape keeps its name and can be looked up as rejected.
    /// What would need a new level on a full side is closed instead of rested.
    pub fn place(
        &mut self,
        account: AccountNo,
        placement: Placement,
        now: Time,
    ) -> Result<OrderNo, PlaceError> {
        self.check_names(account, &placement)?;
        let no = OrderNo(self.orders_made);
        self.orders_made += 1;
        let mut order = Order {
            no,
            account,
            id: placement.id,
            pair: placement.pair,
            side: placement.side,
            limit: placement.limit,
            quantity: placement.quantity,
            remaining: placement.quantity,
            state: VenueOrderState::Open,
            filled: Filled::default(),
            held: Quantity::ZERO,
            fee_weight: 0,
        };
        let refused = self
            .check_rules(&order)
            .and_then(|()| self.hold(&mut order));
        if let Err(refusal) = refused {
            order.state = VenueOrderState::Rejected;
            order.remaining = Quantity::ZERO;
            self.keep(order);
            return Err(refusal);
        }
        let account_open = account_mut(&mut self.accounts, account).ok_or(PlaceError::Unknown)?;
        account_open.orders_open += 1;
        self.keep(order);
        self.match_order(no, now);
        self.rest(no);
        self.commit(placement.pair);
        Ok(no)
    }

    /// Cancels what rests of an order; a closed order is returned as it is.
    ///
    /// # Errors
    /// The account never placed an order of this name.
    pub fn cancel(&mut self, account: AccountNo, id: OrderId) -> Result<OrderNo, NoSuchOrder> {
        let no = self.number_of(account, id).ok_or(NoSuchOrder)?;
        self.cancel_number(no);
        Ok(no)
    }

    /// Cancels by number; does nothing where the order is closed.
    pub fn cancel_number(&mut self, no: OrderNo) {
        let Some(order) = self.orders.get(&no).copied() else {
            return;
        };
        if order.state != VenueOrderState::Open {
            return;
        }
        if let Some(ladders) = self.markets.get_mut(&order.pair) {
            ladders.remove(order.side, order.limit, no, order.remaining);
        }
        self.close(no);
        self.commit(order.pair);
    }

    pub fn number_of(&self, account: AccountNo, id: OrderId) -> Option<OrderNo> {
        self.account(account)?.named.get(&id).copied()
    }

    /// Looks an order up by its account's name for it, open or closed.
    pub fn order_of(&self, account: AccountNo, id: OrderId) -> Option<&Order> {
        self.orders.get(&self.number_of(account, id)?)
    }

    pub fn order(&self, no: OrderNo) -> Option<&Order> {
        self.orders.get(&no)
    }

    /// Returns the named orders of an account from `id` on, by name.
    pub fn orders_from(&self, account: AccountNo, id: OrderId) -> impl Iterator<Item = &Order> {
        self.account(account)
            .into_iter()
            .flat_map(move |account| account.named.range(id..))
            .filter_map(|(_, no)| self.orders.get(no))
    }

    pub fn account(&self, account: AccountNo) -> Option<&Account> {
        self.accounts.get(usize::try_from(account.0).ok()?)
    }

    pub fn balances(&self, account: AccountNo) -> impl Iterator<Item = (Currency, Balance)> {
        self.account(account)
            .into_iter()
            .flat_map(Account::balances)
    }

    /// Returns how often an order id was used a second time.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Counts a second use of an order id that was seen before the order came here.
    pub fn count_duplicate(&mut self) {
        self.duplicates += 1;
    }

    /// Returns the levels of a side, best first.
    pub fn levels(&self, pair: Pair, side: Side) -> impl Iterator<Item = Level> {
        self.markets
            .get(&pair)
            .into_iter()
            .flat_map(move |ladders| ladders.levels(side))
    }

    /// Returns the number of changes a market has seen.
    pub fn sequence(&self, pair: Pair) -> Option<u64> {
        self.markets.get(&pair).map(|ladders| ladders.sequence)
    }

    pub fn pairs(&self) -> impl Iterator<Item = Pair> {
        self.markets.keys().copied()
    }

    /// Returns the last trades of a market, oldest first.
    pub fn trades(&self, pair: Pair) -> impl Iterator<Item = &Trade> {
        self.markets
            .get(&pair)
            .into_iter()
            .flat_map(Ladders::trades)
    }

    /// Records a trade that others made (history).
    pub fn print_trade(&mut self, pair: Pair, taker: Side, level: Level, at: Time) {
        let no = self.trades_made;
        self.trades_made += 1;
        if let Some(ladders) = self.markets.get_mut(&pair) {
            ladders.push_trade(Trade {
                no,
                at,
                price: level.price,
                quantity: level.quantity,
                taker,
            });
        }
    }

    /// Returns what changed in a market since the last call, or `None`.
    pub fn drain_changes(&mut self, pair: Pair) -> Option<Changes> {
        self.markets.get_mut(&pair)?.drain_changes()
    }

    /// Hands out the named orders that changed since the last call, each once.
    pub fn drain_touched(&mut self, mut touched: impl FnMut(&Order)) {
        self.touched.sort_unstable();
        self.touched.dedup();
        for no in self.touched.drain(..) {
            if let Some(order) = self.orders.get(&no) {
                touched(order);
            }
        }
    }

    /// Hands out what customers' orders traded since the last call, oldest first.
    pub fn drain_fills(&mut self) -> std::vec::Drain<'_, Fill> {
        self.fills.drain(..)
    }

    /// Returns a currency whose balances and fees do not add up to what was issued, if any.
    pub fn imbalance(&self) -> Option<(Currency, i128)> {
        self.issued.iter().find_map(|(currency, issued)| {
            let held: i128 = self
                .accounts
                .iter()
                .map(|account| account.balance(*currency).sum())
                .sum();
            let fees = self.fees.get(currency).copied().unwrap_or(0);
            let gap = held + fees - issued;
            (gap != 0).then_some((*currency, gap))
        })
    }

    /// Returns what the exchange earned in a currency.
    pub fn fees(&self, currency: Currency) -> i128 {
        self.fees.get(&currency).copied().unwrap_or(0)
    }

    fn check_names(&mut self, account: AccountNo, placement: &Placement) -> Result<(), PlaceError> {
        if !self.markets.contains_key(&placement.pair) {
            return Err(PlaceError::Unknown);
        }
        let Some(known) = self.account(account) else {
            return Err(PlaceError::Unknown);
        };
        let Some(id) = placement.id else {
            let is_full = known.orders_open >= Settings::ORDERS_OPEN_MAX;
            return if is_full {
                Err(PlaceError::Full)
            } else {
                Ok(())
            };
        };
        if known.named.contains_key(&id) {
            self.duplicates += 1;
            return Err(PlaceError::Duplicate);
        }
        if known.orders_open >= Settings::ORDERS_OPEN_MAX
            || known.named.len() >= Settings::ORDERS_NAMED_MAX
        {
            return Err(PlaceError::Full);
        }
        Ok(())
    }

    fn check_rules(&self, order: &Order) -> Result<(), PlaceError> {
        let rules = &self.settings.rules;
        let is_house = self
            .account(order.account)
            .is_some_and(|known| known.is_house);
        let least = if is_house {
            Quantity(1)
        } else {
            rules.quantity_min
        };
        let on_tick = rules.tick.0 <= 1 || order.limit.0 % rules.tick.0 == 0;
        let on_lot = order.quantity.floor_to(rules.lot) == order.quantity;
        let is_named = is_house || order.id.is_some();
        if !order.limit.is_positive()
            || !order.quantity.is_positive()
            || order.quantity < least
            || !on_tick
            || !on_lot
            || !is_named
        {
            return Err(PlaceError::Rule);
        }
        Ok(())
    }

    fn keep(&mut self, order: Order) {
        if let Some(id) = order.id
            && let Some(account) = account_mut(&mut self.accounts, order.account)
        {
            account.named.insert(id, order.no);
            self.touched.push(order.no);
        }
        if order.id.is_some() || order.state == VenueOrderState::Open {
            self.orders.insert(order.no, order);
        }
    }

    fn rest(&mut self, no: OrderNo) {
        let Some(order) = self.orders.get(&no).copied() else {
            return;
        };
        if order.state != VenueOrderState::Open {
            return;
        }
        let rests = order.remaining.is_positive()
            && self.markets.get_mut(&order.pair).is_some_and(|ladders| {
                ladders.insert(order.side, order.limit, no, order.remaining)
            });
        if !rests {
            self.close(no);
        }
    }

    /// Ends an order that rests no more, and frees what was held for it.
    fn close(&mut self, no: OrderNo) {
        let Some(order) = self.orders.get_mut(&no) else {
            return;
        };
        order.state = VenueOrderState::Closed;
        order.remaining = Quantity::ZERO;
        let held = std::mem::take(&mut order.held);
        let order = *order;
        if let Some(account) = account_mut(&mut self.accounts, order.account) {
            account.balance_mut(spent_currency(&order)).release(held);
            account.orders_open = account.orders_open.saturating_sub(1);
        }
        self.touch(&order);
        if order.id.is_none() {
            self.orders.remove(&no);
        }
    }

    fn touch(&mut self, order: &Order) {
        if order.id.is_some() && self.touched.last() != Some(&order.no) {
            self.touched.push(order.no);
        }
    }

    fn commit(&mut self, pair: Pair) {
        if let Some(ladders) = self.markets.get_mut(&pair) {
            ladders.commit();
        }
    }
}

fn account_mut(accounts: &mut [Account], no: AccountNo) -> Option<&mut Account> {
    accounts.get_mut(usize::try_from(no.0).ok()?)
}
