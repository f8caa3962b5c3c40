//! How two orders trade: what is held, what is paid, what is charged.

use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::market::{FeeIn, Level, Rules, Side};
use crate::model::number::{Price, Quantity};
use crate::model::time::Time;
use crate::model::trade::Filled;
use crate::venue::exchange::{AccountNo, Exchange, Fill, Order, OrderNo, PlaceError, account_mut};

/// Whether an order came in or was resting when it was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Maker,
    Taker,
}

/// One side's part of an execution.
#[derive(Clone, Copy, Debug)]
struct Execution {
    quantity: Quantity,
    total: Quantity,
    role: Role,
    price: Price,
    at: Time,
}

impl Exchange {
    pub(super) fn hold(&mut self, order: &mut Order) -> Result<(), PlaceError> {
        let needed = self.hold_needed(order);
        let currency = spent_currency(order);
        let account = account_mut(&mut self.accounts, order.account).ok_or(PlaceError::Unknown)?;
        if !account.balance_mut(currency).hold(needed) {
            return Err(PlaceError::Funds);
        }
        order.held = needed;
        Ok(())
    }

    /// Returns what must be held for what remains of an order. Executions never make this grow by
    /// more than they leave unspent, so that a held order can always be paid.
    fn hold_needed(&self, order: &Order) -> Quantity {
        match order.side {
            Side::Ask => order.remaining,
            Side::Bid => {
                let total = self.money_ceil(order.pair, order.limit.total_ceil(order.remaining));
                if self.settings.rules.fee_in == FeeIn::Received || self.is_house(order.account) {
                    return total;
                }
                let ppm = self
                    .settings
                    .rules
                    .taker_fee_ppm
                    .max(self.settings.maker_fee_ppm);
                let weight = order.fee_weight + i128::from(total.0) * i128::from(ppm);
                let fee = Quantity(fee_of(weight)).less(order.filled.fee);
                total.saturating_add(fee)
            }
        }
    }

    pub(super) fn match_order(&mut self, taker_no: OrderNo, now: Time) {
        while let Some(taker) = self.orders.get(&taker_no).copied() {
            let best = self
                .markets
                .get(&taker.pair)
                .and_then(|ladders| ladders.best(taker.side.opposite()));
            let Some((price, maker_no)) = best else {
                return;
            };
            let Some(maker) = self.orders.get(&maker_no).copied() else {
                return;
            };
            if !taker.remaining.is_positive() || !taker.side.accepts(taker.limit, price) {
                return;
            }
            if maker.account == taker.account {
                self.close(taker_no);
                return;
            }
            let quantity = taker.remaining.min(maker.remaining);
            self.trade(&taker, &maker, quantity, now);
        }
    }

    fn trade(&mut self, taker: &Order, maker: &Order, quantity: Quantity, now: Time) {
        let step = self.settings.money.step(maker.pair.quote);
        let total = maker.limit.total_floor(quantity).floor_to(step);
        let execution = |role| Execution {
            quantity,
            total,
            role,
            price: maker.limit,
            at: now,
        };
        if let Some(ladders) = self.markets.get_mut(&maker.pair) {
            let is_last = maker.remaining == quantity;
            ladders.reduce(maker.side, maker.limit, quantity);
            if is_last {
                ladders.forget(maker.side, maker.limit, maker.no);
            }
        }
        self.execute(maker.no, execution(Role::Maker));
        self.execute(taker.no, execution(Role::Taker));
        let level = Level {
            price: maker.limit,
            quantity,
        };
        self.print_trade(maker.pair, taker.side, level, now);
    }

    fn execute(&mut self, no: OrderNo, execution: Execution) {
        let Some(mut order) = self.orders.get(&no).copied() else {
            return;
        };
        let Execution {
            quantity,
            total,
            role,
            ..
        } = execution;
        let received = match order.side {
            Side::Bid => quantity,
            Side::Ask => total,
        };
        let fee = self.fee_added(&mut order, execution);
        let mut spent = match order.side {
            Side::Bid => total,
            Side::Ask => quantity,
        };
        let mut kept = received;
        if fee_from_spent(&self.settings.rules, order.side) {
            spent = spent.saturating_add(fee);
        } else {
            kept = kept.saturating_sub(fee);
        }
        *self
            .fees
            .entry(fee_currency(&self.settings.rules, &order))
            .or_default() += i128::from(fee.0);
        order.remaining = order.remaining.less(quantity);
        order.filled = order.filled.plus(Filled {
            quantity,
            total,
            fee,
        });
        order.held = order.held.saturating_sub(spent);
        let excess = order.held.saturating_sub(self.hold_needed(&order));
        order.held = order.held.saturating_sub(excess);
        assert!(excess.0 >= 0, "an order spent more than was held for it");
        if let Some(account) = account_mut(&mut self.accounts, order.account) {
            account
                .balance_mut(spent_currency(&order))
                .spend_held(spent);
            account.balance_mut(spent_currency(&order)).release(excess);
            account
                .balance_mut(received_currency(&order))
                .add_free(kept);
        }
        self.orders.insert(no, order);
        self.touch(&order);
        self.note_fill(&order, execution, fee);
        if order.remaining.is_zero() && role == Role::Maker {
            self.close(no);
        }
    }

    /// The house's own part is of no interest to anybody.
    fn note_fill(&mut self, order: &Order, execution: Execution, fee: Quantity) {
        if order.id.is_none() {
            return;
        }
        self.fills.push(Fill {
            order: order.no,
            account: order.account,
            trade: self.trades_made,
            at: execution.at,
            pair: order.pair,
            side: order.side,
            is_maker: execution.role == Role::Maker,
            price: execution.price,
            quantity: execution.quantity,
            total: execution.total,
            fee,
        });
    }

    fn money_ceil(&self, pair: Pair, amount: Quantity) -> Quantity {
        ceil_to(amount, self.settings.money.step(pair.quote))
    }

    fn fee_added(&self, order: &mut Order, execution: Execution) -> Quantity {
        let ppm = match execution.role {
            _ if self.is_house(order.account) => 0,
            Role::Maker => self.settings.maker_fee_ppm,
            Role::Taker => self.settings.rules.taker_fee_ppm,
        };
        let amount = match (self.settings.rules.fee_in, order.side) {
            (FeeIn::Received, Side::Bid) => execution.quantity,
            (FeeIn::Received | FeeIn::Quote, Side::Ask) | (FeeIn::Quote, Side::Bid) => {
                execution.total
            }
        };
        if self.settings.money.fee_per_trade {
            let step = self
                .settings
                .money
                .step(fee_currency(&self.settings.rules, order));
            return ceil_to(amount.ppm_ceil(ppm), step).min(amount);
        }
        order.fee_weight += i128::from(amount.0) * i128::from(ppm);
        Quantity(fee_of(order.fee_weight)).less(order.filled.fee)
    }

    fn is_house(&self, account: AccountNo) -> bool {
        self.account(account).is_some_and(|known| known.is_house)
    }
}

pub(super) fn spent_currency(order: &Order) -> Currency {
    match order.side {
        Side::Bid => order.pair.quote,
        Side::Ask => order.pair.base,
    }
}

fn received_currency(order: &Order) -> Currency {
    match order.side {
        Side::Bid => order.pair.base,
        Side::Ask => order.pair.quote,
    }
}

fn fee_from_spent(rules: &Rules, side: Side) -> bool {
    rules.fee_in == FeeIn::Quote && side == Side::Bid
}

fn fee_currency(rules: &Rules, order: &Order) -> Currency {
    match rules.fee_in {
        FeeIn::Received => received_currency(order),
        FeeIn::Quote => order.pair.quote,
    }
}

fn ceil_to(amount: Quantity, step: Quantity) -> Quantity {
    let above = amount.saturating_add(Quantity((step.0 - 1).max(0)));
    above.floor_to(step)
}

fn fee_of(weight: i128) -> i64 {
    let fee = -(-weight).div_euclid(1_000_000);
    i64::try_from(fee).unwrap_or(i64::MAX)
}
