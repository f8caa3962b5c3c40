//! An account of the exchange: what is free, what orders hold, and the names it used.

use std::collections::BTreeMap;

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::number::Quantity;
use crate::venue::exchange::OrderNo;

/// One account.
#[derive(Debug)]
pub struct Account {
    pub(super) is_house: bool,
    pub(super) orders_open: usize,
    /// Every name this account ever used.
    pub(super) named: BTreeMap<OrderId, OrderNo>,
    balances: BTreeMap<Currency, Balance>,
}

/// What an account has of one currency. Neither part is ever negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub free: Quantity,
    pub held: Quantity,
}

impl Account {
    pub(super) fn customer() -> Self {
        Self {
            is_house: false,
            orders_open: 0,
            named: BTreeMap::new(),
            balances: BTreeMap::new(),
        }
    }

    pub(super) fn house() -> Self {
        Self {
            is_house: true,
            ..Self::customer()
        }
    }

    pub fn balance(&self, currency: Currency) -> Balance {
        self.balances.get(&currency).copied().unwrap_or_default()
    }

    pub fn balances(&self) -> impl Iterator<Item = (Currency, Balance)> {
        self.balances
            .iter()
            .map(|(currency, balance)| (*currency, *balance))
    }

    pub(super) fn balance_mut(&mut self, currency: Currency) -> &mut Balance {
        self.balances.entry(currency).or_default()
    }
}

impl Balance {
    /// Returns free and held together.
    pub fn sum(&self) -> i128 {
        i128::from(self.free.0) + i128::from(self.held.0)
    }

    pub(super) fn add_free(&mut self, amount: Quantity) {
        let free = self.free.checked_add(amount);
        self.free = free.expect("credit keeps the sum of all balances countable");
    }

    pub(super) fn take_free(&mut self, amount: Quantity) -> bool {
        let is_enough = self.free >= amount;
        if is_enough {
            self.free = self.free.saturating_sub(amount);
        }
        is_enough
    }

    pub(super) fn hold(&mut self, amount: Quantity) -> bool {
        let is_enough = self.take_free(amount);
        if is_enough {
            self.held = self.held.saturating_add(amount);
        }
        is_enough
    }

    pub(super) fn release(&mut self, amount: Quantity) {
        self.spend_held(amount);
        self.add_free(amount);
    }

    pub(super) fn spend_held(&mut self, amount: Quantity) {
        assert!(self.held >= amount, "more is spent than is held");
        self.held = self.held.saturating_sub(amount);
    }
}
