//! Every account's ledger: what came in and went out, with the balance after each row.

use std::collections::{BTreeMap, VecDeque};

use uuid::Uuid;

use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::time::{Span, Time};

/// The ledger of one account.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    wallets: BTreeMap<Currency, Wallet>,
    /// What was traded on each day, oldest first.
    volumes: VecDeque<(u64, Quantity)>,
}

/// The rows of one currency.
#[derive(Debug, Default)]
struct Wallet {
    balance: Quantity,
    rows: VecDeque<Row>,
    rows_made: u64,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// From 1 on in its currency.
    pub(super) index: u64,
    pub(super) link: Uuid,
    pub(super) at: Time,
    pub(super) kind: Kind,
    pub(super) value: Quantity,
    /// After this row.
    pub(super) balance: Quantity,
    pub(super) share: Option<Share>,
}

/// What a row is about. Items go in and out, money is spent and earned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Deposit,
    Earned,
    Fee,
    In,
    Out,
    Spent,
    Withdraw,
}

/// An account's share in one trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) tid: u64,
    pub(super) oid: Uuid,
    pub(super) pair: Pair,
    pub(super) side: Side,
    pub(super) at: Time,
    pub(super) price: Price,
    pub(super) quantity: Quantity,
    pub(super) total: Quantity,
    pub(super) fee: Quantity,
    /// The order that came in had no price.
    pub(super) is_market: bool,
}

impl Kind {
    /// Returns the venue's word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Earned => "earned",
            Self::Fee => "fee",
            Self::In => "in",
            Self::Out => "out",
            Self::Spent => "spent",
            Self::Withdraw => "withdraw",
        }
    }

    fn adds(self) -> bool {
        match self {
            Self::Deposit | Self::Earned | Self::In => true,
            Self::Fee | Self::Out | Self::Spent | Self::Withdraw => false,
        }
    }
}

impl Share {
    /// Returns what the share does to the wallets, in the order of the venue's rows.
    pub(super) fn entries(&self) -> [(Currency, Kind, Quantity); 3] {
        let Pair { base, quote } = self.pair;
        match self.side {
            Side::Bid => [
                (base, Kind::In, self.quantity),
                (base, Kind::Fee, self.fee),
                (quote, Kind::Spent, self.total),
            ],
            Side::Ask => [
                (base, Kind::Out, self.quantity),
                (quote, Kind::Earned, self.total),
                (quote, Kind::Fee, self.fee),
            ],
        }
    }
}

impl Ledger {
    /// Rows of one currency; the oldest are forgotten, their numbers are not given again.
    const ROWS_MAX: usize = 100_000;
    /// Days that count for the volume of a month.
    const MONTH_DAYS: u64 = 30;

    /// Writes a row and returns it; a fee of nothing has none.
    pub(super) fn write(
        &mut self,
        (currency, kind, value): (Currency, Kind, Quantity),
        link: Uuid,
        share: Option<Share>,
        at: Time,
    ) -> Option<Row> {
        if kind == Kind::Fee && value.is_zero() {
            return None;
        }
        let wallet = self.wallets.entry(currency).or_default();
        wallet.balance = if kind.adds() {
            wallet.balance.saturating_add(value)
        } else {
            wallet.balance.saturating_sub(value)
        };
        wallet.rows_made += 1;
        let row = Row {
            index: wallet.rows_made,
            link,
            at,
            kind,
            value,
            balance: wallet.balance,
            share,
        };
        if wallet.rows.len() >= Self::ROWS_MAX {
            wallet.rows.pop_front();
        }
        wallet.rows.push_back(row);
        Some(row)
    }

    pub(super) fn count_volume(&mut self, quantity: Quantity, at: Time) {
        let day = at.day();
        match self.volumes.back_mut() {
            Some((last, volume)) if *last == day => *volume = volume.saturating_add(quantity),
            Some(_) | None => self.volumes.push_back((day, quantity)),
        }
        self.forget_before(day);
    }

    /// Returns what was traded in the past thirty days.
    pub(super) fn volume(&self, now: Time) -> Quantity {
        let from = (now - Span::DAY.times(Self::MONTH_DAYS)).day();
        let late = self.volumes.iter().filter(|(day, _)| *day >= from);
        late.fold(Quantity::ZERO, |sum, (_, volume)| {
            sum.saturating_add(*volume)
        })
    }

    /// Returns the number of rows a currency ever had.
    pub(super) fn rows_made(&self, currency: Currency) -> u64 {
        self.wallets
            .get(&currency)
            .map_or(0, |wallet| wallet.rows_made)
    }

    pub(super) fn balance(&self, currency: Currency) -> Quantity {
        self.wallets
            .get(&currency)
            .map_or(Quantity::ZERO, |wallet| wallet.balance)
    }

    /// Returns the remembered rows of a currency, newest first.
    pub(super) fn rows(&self, currency: Currency) -> impl ExactSizeIterator<Item = &Row> {
        static NONE: VecDeque<Row> = VecDeque::new();
        let wallet = self.wallets.get(&currency);
        wallet.map_or(&NONE, |wallet| &wallet.rows).iter().rev()
    }

    fn forget_before(&mut self, day: u64) {
        while let Some((first, _)) = self.volumes.front()
            && first + Self::MONTH_DAYS < day
        {
            self.volumes.pop_front();
        }
    }
}
