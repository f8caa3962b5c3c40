//! What happens to orders: the queue, the matching engine, and what is told of it.
//!
//! The order of news is that of the venue: `executing`, then wallets and own trades, then
//! `post-pending` and `open`, or the removal. Everything waits in the outbox until the next frame
//! or deadline, so that the reply that names an order comes first.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::instrument::Pair;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::time::Time;
use crate::model::trade::VenueOrderState;
use crate::venue::exchange::{self, Fill, Placement, Trade};
use crate::venue::mtgox::json::json_of;
use crate::venue::mtgox::ledger::{Kind, Row, Share};
use crate::venue::mtgox::lodged::{Reason, Status};
use crate::venue::mtgox::message::{
    DepthChange, OrderRow, Removal, TradeRow, WalletNews, properties,
};
use crate::venue::mtgox::money::{self, Amount};
use crate::venue::mtgox::names::Channel;
use crate::venue::mtgox::queue::Work;
use crate::venue::mtgox::server::MtgoxServer;
use crate::venue::mtgox::tape::{Print, Tape, rate_ppm};
use crate::venue::serving::fault::Fault;

/// What one currency is worth in another where no market tells (modelled).
const RATE_PPM_DEFAULT: i64 = 750_000;

impl MtgoxServer {
    /// Lets everything that is due reach the engine, and revives what can be paid by now.
    pub(super) fn run_engine(&mut self, now: Time) {
        while let Some(work) = self.queue.pop_due(now) {
            match work {
                Work::Place(no) => self.execute(no, now),
                Work::Cancel(no) => self.cancel_now(no, now),
            }
        }
        self.settle(now);
        for no in self.orders.invalid() {
            if self.can_pay(no) {
                self.execute(no, now);
            }
        }
    }

    fn execute(&mut self, no: u64, now: Time) {
        let Some(order) = self.orders.get(no) else {
            return;
        };
        if order.status == Status::Ended {
            return;
        }
        let price = order.price;
        self.set_status(no, Status::Executing, now);
        match price {
            Some(limit) => self.execute_limit(no, limit, now),
            None => self.execute_market(no, now),
        }
    }

    fn execute_limit(&mut self, no: u64, limit: Price, now: Time) {
        if !self.can_pay(no) {
            self.set_status(no, Status::Invalid, now);
            return;
        }
        let Some(quantity) = self.orders.get(no).map(|order| order.remaining()) else {
            return;
        };
        if !self.place_piece(no, limit, quantity, now) {
            self.end(no, Reason::Requested, now);
        }
        self.settle(now);
    }

    /// Takes what the account can pay, level by level; the rest is dropped.
    fn execute_market(&mut self, no: u64, now: Time) {
        let mut is_filled = false;
        while let Some((price, quantity)) = self.next_bite(no) {
            let before = self.remaining(no);
            if !self.place_piece(no, price, quantity, now) {
                break;
            }
            // An order without a price never rests.
            self.drop_piece(no);
            self.settle(now);
            if self.remaining(no) == before {
                break;
            }
            is_filled = true;
        }
        if is_filled {
            self.report_end(no, Reason::CompletedPassive, now);
        }
        self.end(no, Reason::CompletedActive, now);
    }

    /// Returns the best level and what an order without a price can take of it.
    fn next_bite(&self, no: u64) -> Option<(Price, Quantity)> {
        let order = self.orders.get(no)?;
        let mut levels = self.exchange.levels(order.pair, order.side.opposite());
        let level = levels.next()?;
        let account = self.exchange.account(order.account)?;
        let most = match order.side {
            Side::Ask => account.balance(order.pair.base).free,
            Side::Bid => {
                let free = account.balance(order.pair.quote).free;
                free.floor_to(money::step(order.pair.quote))
                    .bought_at(level.price)
            }
        };
        let quantity = order.remaining().min(level.quantity).min(most);
        // The last cents of a wallet would buy dust that costs nothing, again and again.
        let step = money::step(order.pair.quote);
        let is_free = level.price.total_floor(quantity).floor_to(step).is_zero();
        let is_dust = is_free && quantity == most;
        (quantity.is_positive() && !is_dust).then_some((level.price, quantity))
    }

    /// Returns true where the account of an order has what the engine would hold for it.
    fn can_pay(&self, no: u64) -> bool {
        let Some(order) = self.orders.get(no) else {
            return false;
        };
        let Some(account) = self.exchange.account(order.account) else {
            return false;
        };
        match (order.side, order.price) {
            (Side::Ask, _) => account.balance(order.pair.base).free >= order.remaining(),
            (Side::Bid, Some(limit)) => {
                let free = account.balance(order.pair.quote).free;
                let step = money::step(order.pair.quote);
                free.floor_to(step) >= limit.total_ceil(order.remaining())
            }
            (Side::Bid, None) => true,
        }
    }

    fn place_piece(&mut self, no: u64, limit: Price, quantity: Quantity, now: Time) -> bool {
        let piece = self.orders.add_piece(no);
        let Some(order) = self.orders.get_mut(no) else {
            return false;
        };
        order.live = Some(piece);
        let placement = Placement {
            id: Some(piece),
            pair: order.pair,
            side: order.side,
            quantity,
            limit,
        };
        let account = order.account;
        let placed = self.exchange.place(account, placement, now);
        if placed.is_err() {
            order.live = None;
            self.orders.remove_piece(piece);
        }
        placed.is_ok()
    }

    fn drop_piece(&mut self, no: u64) {
        let Some(order) = self.orders.get(no) else {
            return;
        };
        if let Some(piece) = order.live {
            // A piece that is filled needs no cancel.
            self.exchange.cancel(order.account, piece).ok();
        }
    }

    fn cancel_now(&mut self, no: u64, now: Time) {
        self.drop_piece(no);
        self.settle(now);
        self.end(no, Reason::Requested, now);
    }

    fn remaining(&self, no: u64) -> Quantity {
        let order = self.orders.get(no);
        order.map_or(Quantity::ZERO, |order| order.remaining())
    }

    /// Writes down what the engine did since the last call, and what is told of it.
    pub(super) fn settle(&mut self, now: Time) {
        let fills: Vec<Fill> = self.exchange.drain_fills().collect();
        let at_market = self.market_trades(&fills);
        let tids = self.print_trades(&at_market, now);
        for fill in fills {
            let tid = tids.get(&fill.trade).copied();
            let tid = tid.unwrap_or_else(|| self.stamps.next(now));
            self.book_fill(&fill, tid, at_market.contains(&fill.trade), now);
        }
        self.publish_levels(now);
        let mut touched = Vec::new();
        self.exchange
            .drain_touched(|order| touched.push((order.id, order.state)));
        for (piece, state) in touched {
            let Some(no) = piece.and_then(|piece| self.orders.of_piece(piece)) else {
                continue;
            };
            self.follow_piece(no, state, now);
            if let Some(piece) = piece
                && state != VenueOrderState::Open
            {
                self.orders.remove_piece(piece);
            }
        }
    }

    /// Returns the trades in which an order without a price came in.
    fn market_trades(&self, fills: &[Fill]) -> BTreeSet<u64> {
        let takers = fills.iter().filter(|fill| !fill.is_maker);
        let at_market = takers.filter(|fill| {
            let order = self.lodged_for(fill);
            order.is_some_and(|no| {
                self.orders
                    .get(no)
                    .is_some_and(|order| order.price.is_none())
            })
        });
        at_market.map(|fill| fill.trade).collect()
    }

    fn lodged_for(&self, fill: &Fill) -> Option<u64> {
        let piece = self.exchange.order(fill.order)?.id?;
        self.orders.of_piece(piece)
    }

    /// Shows the trades that were made since the last call, and returns their public numbers.
    fn print_trades(&mut self, at_market: &BTreeSet<u64>, now: Time) -> BTreeMap<u64, u64> {
        let mut made: Vec<(Pair, Trade)> = Vec::new();
        for pair in self.exchange.pairs() {
            let trades = self.exchange.trades(pair);
            let late = trades.filter(|trade| trade.no >= self.trades_seen);
            made.extend(late.map(|trade| (pair, *trade)));
        }
        made.sort_by_key(|(_, trade)| trade.no);
        let mut tids = BTreeMap::new();
        for (pair, trade) in made {
            self.trades_seen = trade.no + 1;
            let tid = self.stamps.next(trade.at.max(now));
            tids.insert(trade.no, tid);
            let is_mixed = self.faults.strikes(Fault::CrossTrades);
            let print = Print {
                tid,
                at: now,
                item: pair.base,
                currency: pair.quote,
                price: trade.price,
                quantity: trade.quantity,
                taker: trade.taker,
                is_primary: true,
                is_market: at_market.contains(&trade.no),
                is_mixed,
            };
            self.show(pair, print);
            if is_mixed {
                let (other, print) = self.seen_by_other(pair, print);
                self.show(other, print);
            }
        }
        tids
    }

    fn show(&mut self, pair: Pair, print: Print) {
        if let Some(tape) = self.tapes.get_mut(&pair) {
            tape.push(print);
        }
        let channel = Channel::Trades(print.item);
        if self.streams.has(channel) {
            self.tell(
                channel,
                "trade",
                json_of(&TradeRow::streamed(&print)),
                print.tid,
            );
        }
    }

    /// Returns a trade as the other party saw it: in the currency of another market of the same
    /// item, at the rate of their middles, or in a modelled currency and rate.
    fn seen_by_other(&self, pair: Pair, print: Print) -> (Pair, Print) {
        let other = self.tapes.values().find(|tape| {
            let known = tape.pair();
            known.base == pair.base && known.quote != pair.quote
        });
        let middle = self.tapes.get(&pair).and_then(Tape::middle);
        if let Some(other) = other {
            let rate = middle.zip(other.middle());
            let rate = rate.and_then(|(from, to)| rate_ppm(from, to));
            let quote = other.pair().quote;
            let rate = rate.unwrap_or(RATE_PPM_DEFAULT);
            return (other.pair(), Tape::seen_in(print, quote, rate));
        }
        let quote = if pair.quote.as_str() == "EUR" {
            "USD"
        } else {
            "EUR"
        };
        let quote = quote.parse().unwrap_or(pair.quote);
        let other = Pair { quote, ..pair };
        (other, Tape::seen_in(print, quote, RATE_PPM_DEFAULT))
    }

    /// Writes a fill into its order, the ledger and the private stream.
    fn book_fill(&mut self, fill: &Fill, tid: u64, is_market: bool, now: Time) {
        let Some(no) = self.lodged_for(fill) else {
            return;
        };
        let Some(order) = self.orders.get_mut(no) else {
            return;
        };
        let share = Share {
            tid,
            oid: order.oid,
            pair: fill.pair,
            side: fill.side,
            at: now,
            price: fill.price,
            quantity: fill.quantity,
            total: fill.total,
            fee: fill.fee,
            is_market,
        };
        order.add(share);
        let account = order.account;
        for (currency, kind, value) in share.entries() {
            self.links += 1;
            let link = self.names.uuid("link", self.links);
            let ledger = self.ledgers.entry(account).or_default();
            let row = ledger.write((currency, kind, value), link, Some(share), now);
            if let Some(row) = row {
                let news = WalletNews {
                    op: kind.word(),
                    amount: Amount::quantity(currency, value),
                    info: self.info_of(&row),
                    reference: None,
                    balance: Amount::quantity(currency, row.balance),
                };
                let stamp = self.stamps.next(now);
                self.tell(Channel::Private(account), "wallet", json_of(&news), stamp);
            }
        }
        let ledger = self.ledgers.entry(account).or_default();
        ledger.count_volume(fill.quantity, now);
        let print = Print {
            tid,
            at: now,
            item: fill.pair.base,
            currency: fill.pair.quote,
            price: fill.price,
            quantity: fill.quantity,
            taker: if fill.is_maker {
                fill.side.opposite()
            } else {
                fill.side
            },
            is_primary: true,
            is_market,
            is_mixed: false,
        };
        let body = json_of(&TradeRow::streamed(&print));
        self.tell(Channel::Private(account), "trade", body, tid);
    }

    /// Writes what a row of the ledger is about, as the venue worded it.
    pub(super) fn info_of(&self, row: &Row) -> String {
        let Some(share) = row.share else {
            return match row.kind {
                Kind::Withdraw => "Withdraw".to_owned(),
                Kind::Deposit | Kind::Earned | Kind::Fee | Kind::In | Kind::Out | Kind::Spent => {
                    "Deposit".to_owned()
                }
            };
        };
        let Pair { base, quote } = share.pair;
        let word = match share.side {
            Side::Bid => "bought",
            Side::Ask => "sold",
        };
        let amount = money::display(base, share.quantity.0, money::decimals(base));
        let price = money::display(quote, share.price.0, money::decimals(quote));
        let text = format!("{base} {word}: [tid:{}] {amount} at {price}", share.tid);
        if row.kind != Kind::Fee {
            return text;
        }
        format!("{text} ({}% fee)", self.fee_percent())
    }

    /// Returns the fee of an order that comes in, in percent.
    pub(super) fn fee_percent(&self) -> String {
        Quantity(i64::from(self.settings.rules.taker_fee_ppm) * 10_000).to_string()
    }

    fn publish_levels(&mut self, now: Time) {
        let pairs: Vec<Pair> = self.tapes.keys().copied().collect();
        for pair in pairs {
            let Some(changes) = self.exchange.drain_changes(pair) else {
                continue;
            };
            let exchange::Changes { bids, asks, .. } = changes;
            let bids = bids.into_iter().map(|level| (Side::Bid, level));
            let asks = asks.into_iter().map(|level| (Side::Ask, level));
            let is_heard = self.streams.has(Channel::Depth(pair));
            for (side, level) in bids.chain(asks) {
                let stamp = self.stamps.next(now);
                let tape = self.tapes.get_mut(&pair);
                let change = tape.and_then(|tape| tape.set(side, level, stamp));
                if let Some(change) = change.filter(|_| is_heard) {
                    let body = json_of(&DepthChange::new(pair, &change, stamp));
                    self.tell(Channel::Depth(pair), "depth", body, stamp);
                }
            }
        }
    }

    /// Tells what became of an order whose part in the engine changed.
    fn follow_piece(&mut self, no: u64, state: VenueOrderState, now: Time) {
        let Some(order) = self.orders.get(no) else {
            return;
        };
        let is_new = order.status == Status::Executing;
        let is_filled = order.remaining().is_zero();
        if order.price.is_none() || order.status == Status::Ended {
            return;
        }
        if state == VenueOrderState::Open {
            if is_new {
                self.set_status(no, Status::PostPending, now);
            }
            self.set_status(no, Status::Open, now);
        } else if !is_filled {
            self.end(no, Reason::Requested, now);
        } else if is_new {
            self.end(no, Reason::CompletedActive, now);
        } else {
            self.end(no, Reason::CompletedPassive, now);
        }
    }

    /// Moves an order on and tells it, even where only its amount changed.
    pub(super) fn set_status(&mut self, no: u64, status: Status, now: Time) {
        self.orders.set_status(no, status);
        if let Some(order) = self.orders.get(no) {
            let body = json_of(&OrderRow::new(order));
            self.tell_of_order(no, body, now);
        }
    }

    fn end(&mut self, no: u64, reason: Reason, now: Time) {
        if self.orders.end(no) {
            self.report_end(no, reason, now);
        }
    }

    fn report_end(&mut self, no: u64, reason: Reason, now: Time) {
        if let Some(order) = self.orders.get(no) {
            let body = json_of(&Removal {
                oid: order.oid.to_string(),
                reason: reason.word(),
            });
            self.tell_of_order(no, body, now);
        }
    }
}

/// Returns the words of the ledger for how a trade came about.
pub(super) fn properties_of(share: &Share) -> &'static str {
    properties(share.is_market, false)
}
