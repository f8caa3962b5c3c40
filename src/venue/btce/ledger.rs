//! What an account did: its open orders, its trades, its deposits, and how lists of them are asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::instrument::Pair;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::venue::btce::form::Form;
use crate::venue::btce::json::Object;
use crate::venue::btce::refusal::Refusal;
use crate::venue::btce::style::{ListShape, pair_name};

/// One account's books.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Open orders by their names.
    pub(super) open: BTreeSet<OrderId>,
    /// When each order was placed, in seconds since 1970. The exchange keeps as many orders as an
    /// account may ever name, and no more stand here.
    created: BTreeMap<OrderId, u64>,
    trades: VecDeque<TradeRow>,
    transactions: VecDeque<Transaction>,
}

/// One trade of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TradeRow {
    pub(super) id: u64,
    pub(super) pair: Pair,
    pub(super) side: Side,
    pub(super) quantity: Quantity,
    pub(super) price: Price,
    pub(super) order: OrderId,
    pub(super) is_maker: bool,
    pub(super) unix_s: u64,
}

/// Money that came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) id: u64,
    pub(super) kind: TransactionKind,
    pub(super) currency: Currency,
    pub(super) amount: Quantity,
    pub(super) unix_s: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransactionKind {
    Deposit,
    Withdrawal,
}

/// What a list is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    skipped: u64,
    count: usize,
    ids: (u64, u64),
    unix_s: (u64, u64),
    is_ascending: bool,
}

impl Ledger {
    /// Trades of one account that are kept; older ones are forgotten, and no list shows them.
    pub(super) const TRADES_MAX: usize = 100_000;
    /// Deposits and withdrawals of one account that are kept; older ones are forgotten.
    const TRANSACTIONS_MAX: usize = 1_000;

    pub(super) fn note_created(&mut self, id: OrderId, unix_s: u64) {
        self.created.insert(id, unix_s);
    }

    pub(super) fn created(&self, id: OrderId) -> u64 {
        self.created.get(&id).copied().unwrap_or_default()
    }

    pub(super) fn push_trade(&mut self, row: TradeRow) {
        if self.trades.len() >= Self::TRADES_MAX {
            self.trades.pop_front();
        }
        self.trades.push_back(row);
    }

    pub(super) fn push_transaction(&mut self, row: Transaction) {
        if self.transactions.len() >= Self::TRANSACTIONS_MAX {
            self.transactions.pop_front();
        }
        self.transactions.push_back(row);
    }

    /// Returns the number of rows in both lists.
    pub(super) fn rows(&self) -> usize {
        self.trades.len() + self.transactions.len()
    }

    /// Writes the trades that are asked for, in one market or in all.
    pub(super) fn trades(
        &self,
        filter: &Filter,
        pair: Option<Pair>,
        shape: ListShape,
    ) -> Option<String> {
        let rows = self.trades.iter();
        let rows = rows.filter(|row| pair.is_none_or(|pair| row.pair == pair));
        filter.write(rows, |row| (row.id, row.unix_s), |row| row.object(shape))
    }

    pub(super) fn transactions(&self, filter: &Filter) -> Option<String> {
        let rows = self.transactions.iter();
        filter.write(rows, |row| (row.id, row.unix_s), |row| row.object())
    }
}

impl Filter {
    /// Rows of one list.
    const COUNT_MAX: usize = 1_000;

    /// Reads a request's fields. `from` skips rows, `from_id` and `end_id` are the first and the
    /// last row's names, `since` and `end` are times and make the list begin with its oldest row.
    pub(super) fn read(form: &Form) -> Result<Self, Refusal> {
        let number = |name: &'static str, default: u64| match form.filled(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| Refusal::Parameter(name)),
        };
        let count = number("count", u64::MAX)?;
        let is_timed = form.filled("since").is_some() || form.filled("end").is_some();
        let is_ascending = match form.filled("order") {
            None => false,
            Some(order) if order.eq_ignore_ascii_case("ASC") => true,
            Some(order) if order.eq_ignore_ascii_case("DESC") => false,
            Some(_) => return Err(Refusal::Parameter("order")),
        };
        Ok(Self {
            skipped: number("from", 0)?,
            count: usize::try_from(count)
                .map_or(Self::COUNT_MAX, |count| count.min(Self::COUNT_MAX)),
            ids: (number("from_id", 0)?, number("end_id", u64::MAX)?),
            unix_s: (number("since", 0)?, number("end", u64::MAX)?),
            is_ascending: is_ascending || is_timed,
        })
    }

    /// Writes an object of the rows that are asked for; `None` where there are none.
    fn write<'a, R: 'a>(
        &self,
        rows: impl DoubleEndedIterator<Item = &'a R>,
        place: impl Fn(&R) -> (u64, u64),
        object: impl Fn(&R) -> String,
    ) -> Option<String> {
        let is_asked = |row: &&R| {
            let (id, unix_s) = place(row);
            (self.ids.0..=self.ids.1).contains(&id)
                && (self.unix_s.0..=self.unix_s.1).contains(&unix_s)
        };
        let rows = rows.filter(is_asked);
        let skipped = usize::try_from(self.skipped).unwrap_or(usize::MAX);
        let listed: Vec<&R> = if self.is_ascending {
            rows.skip(skipped).take(self.count).collect()
        } else {
            rows.rev().skip(skipped).take(self.count).collect()
        };
        if listed.is_empty() {
            return None;
        }
        let put = |list: Object, row: &&R| list.put(&place(row).0.to_string(), object(row));
        Some(listed.iter().fold(Object::new(), put).end())
    }
}

impl TradeRow {
    fn object(&self, shape: ListShape) -> String {
        Object::new()
            .text("pair", &pair_name(self.pair))
            .text("type", order_type(self.side))
            .put("amount", self.quantity)
            .put("rate", self.price)
            .put("order_id", shape.number(self.order.0))
            .put("is_your_order", u8::from(self.is_maker))
            .put("timestamp", shape.number(self.unix_s))
            .end()
    }
}

impl Transaction {
    /// The only state here: done.
    const STATUS_DONE: u8 = 2;

    fn object(&self) -> String {
        let (kind, what) = match self.kind {
            TransactionKind::Deposit => (1, "Payment"),
            TransactionKind::Withdrawal => (2, "Withdrawal"),
        };
        Object::new()
            .put("type", kind)
            .put("amount", self.amount)
            .text("currency", self.currency.as_str())
            .text("desc", &format!("{} {what}", self.currency))
            .put("status", Self::STATUS_DONE)
            .put("timestamp", self.unix_s)
            .end()
    }
}

/// Returns the word for an order's side.
pub(super) fn order_type(side: Side) -> &'static str {
    match side {
        Side::Bid => "buy",
        Side::Ask => "sell",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(rows: u64) -> Ledger {
        let mut ledger = Ledger::default();
        for id in 1..=rows {
            ledger.push_trade(TradeRow {
                id,
                pair: "BTC/USD".parse().unwrap(),
                side: Side::Bid,
                quantity: Quantity::whole(1),
                price: Price::whole(100),
                order: OrderId(id + 7),
                is_maker: false,
                unix_s: 1_000 + id,
            });
        }
        ledger
    }

    fn check(fields: &str, expected: &[u64]) {
        let filter = Filter::read(&Form::parse(fields.as_bytes())).unwrap();
        let written = ledger(9)
            .trades(&filter, None, ListShape::Btce)
            .unwrap_or_default();
        let keys = written.match_indices("\":{\"pair\"").map(|(at, _)| at);
        let keys: Vec<u64> = keys
            .map(|at| written[..at].rsplit('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(keys, expected, "{fields}");
    }

    #[test]
    fn a_list_shows_what_is_asked_for() {
        check("", &[9, 8, 7, 6, 5, 4, 3, 2, 1]);
        check("count=2", &[9, 8]);
        check("count=2&from=3", &[6, 5]);
        check("count=2&order=ASC", &[1, 2]);
        check("from_id=4&end_id=6", &[6, 5, 4]);
        check("from_id=4&end_id=6&order=asc&count=1", &[4]);
        check("since=1008", &[8, 9]);
        check("end=1002&order=DESC", &[1, 2]);
        check("from_id=10", &[]);
        for fields in ["count=x", "order=up", "from_id=-1", "since=1.5"] {
            let read = Filter::read(&Form::parse(fields.as_bytes()));
            assert!(matches!(read, Err(Refusal::Parameter(_))), "{fields}");
        }
    }

    #[test]
    fn the_oldest_rows_are_forgotten() {
        let ledger = ledger(100_002);
        assert_eq!(ledger.rows(), Ledger::TRADES_MAX);
        let filter = Filter::read(&Form::parse(b"order=ASC&count=1")).unwrap();
        let first = ledger.trades(&filter, None, ListShape::Btce).unwrap();
        assert!(first.starts_with("{\"3\":"), "{first}");
    }
}
