//! What changed at the exchange goes into its customers' books and onto the feed.

use crate::model::currency::Currency;
use crate::model::number::Quantity;
use crate::model::time::Time;
use crate::model::trade::VenueOrderState;
use crate::venue::StreamNo;
use crate::venue::btce::ledger::{TradeRow, Transaction, TransactionKind};
use crate::venue::btce::server::{BtceServer, trade_id, unix_s};
use crate::venue::exchange::{AccountNo, Fill, Trade, TransferError};

impl BtceServer {
    /// Moves money into an account.
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
        self.begin(now);
        let account = self.access.account(key).ok_or(TransferError::Unknown)?;
        self.exchange.credit(account, currency, amount)?;
        self.currencies.insert(currency);
        self.note_transfer(TransactionKind::Deposit, account, currency, amount, now);
        Ok(())
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
        now: Time,
    ) -> Result<(), TransferError> {
        self.begin(now);
        let account = self.access.account(key).ok_or(TransferError::Unknown)?;
        self.exchange.debit(account, currency, amount)?;
        self.note_transfer(TransactionKind::Withdrawal, account, currency, amount, now);
        Ok(())
    }

    /// Books the first deposits at the first moment that is known.
    pub(super) fn begin(&mut self, now: Time) {
        for (account, currency, amount) in std::mem::take(&mut self.endowments) {
            self.note_transfer(TransactionKind::Deposit, account, currency, amount, now);
        }
    }

    fn note_transfer(
        &mut self,
        kind: TransactionKind,
        account: AccountNo,
        currency: Currency,
        amount: Quantity,
        now: Time,
    ) {
        self.transactions += 1;
        let ledger = self.ledgers.entry(account).or_default();
        ledger.push_transaction(Transaction {
            id: self.transactions,
            kind,
            currency,
            amount,
            unix_s: unix_s(now),
        });
    }

    /// Books what changed since the last call, and tells it on the feed.
    pub(super) fn publish(&mut self, push: &mut dyn FnMut(StreamNo, &[u8])) {
        self.book_fills();
        let ledgers = &mut self.ledgers;
        self.exchange.drain_touched(|order| {
            let ledger = ledgers.entry(order.account).or_default();
            let id = order.id.unwrap_or_default();
            match order.state {
                VenueOrderState::Open => ledger.open.insert(id),
                VenueOrderState::Pending | VenueOrderState::Closed | VenueOrderState::Rejected => {
                    ledger.open.remove(&id)
                }
            };
        });
        for listed in &mut self.markets {
            let pair = listed.running.pair;
            let told = listed.trades_told;
            let trades = self.exchange.trades(pair);
            let fresh: Vec<Trade> = trades.filter(|trade| trade.no >= told).copied().collect();
            if let Some(last) = fresh.last() {
                listed.trades_told = last.no + 1;
                self.feed.push_trades(pair, &fresh, &mut self.faults, push);
            }
            if let Some(changes) = self.exchange.drain_changes(pair) {
                self.feed.push_depth(pair, &changes, &mut self.faults, push);
            }
        }
    }

    fn book_fills(&mut self) {
        let fills: Vec<Fill> = self.exchange.drain_fills().collect();
        for fill in &fills {
            let order = self.exchange.order(fill.order).and_then(|order| order.id);
            let order = if self.habits.takers_row_names_maker && !fill.is_maker {
                let mut makers = fills.iter();
                let maker = makers.find(|other| other.is_maker && other.trade == fill.trade);
                let maker = maker.and_then(|maker| self.exchange.order(maker.order)?.id);
                maker.unwrap_or_else(|| self.next_name())
            } else {
                order.unwrap_or_default()
            };
            let ledger = self.ledgers.entry(fill.account).or_default();
            ledger.push_trade(TradeRow {
                id: trade_id(fill.trade),
                pair: fill.pair,
                side: fill.side,
                quantity: fill.quantity,
                price: fill.price,
                order,
                is_maker: fill.is_maker,
                unix_s: unix_s(fill.at),
            });
        }
    }
}
