//! The HTTP half of the simulated venue: what each path answers.

use serde::Deserialize;

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::instrument::Pair;
use crate::model::market::FeeIn;
use crate::model::number::{Price, Quantity};
use crate::model::time::{Span, Time};
use crate::venue::exchange::account::Balance;
use crate::venue::exchange::{AccountNo, PlaceError, Placement};
use crate::venue::serving::fault::Fault;
use crate::venue::simulated::access::{Holder, Proof};
use crate::venue::simulated::decode::whole_number;
use crate::venue::simulated::message::{
    Account, BalanceRow, Cancel, Many, One, OrderRow, OrdersFrom, Place, Refused, Rights,
    RulesReply, StateWord, TradeRow, Trades, json_of, refusal_word,
};
use crate::venue::simulated::queue::{Waiting, Work};
use crate::venue::simulated::server::SimulatedServer;
use crate::venue::{Refusal, ServerReply, ServerRequest};

/// Orders in one reply; the next ones are asked for from behind the last.
const ORDERS_LISTED_MAX: usize = 1_000;

impl SimulatedServer {
    /// Answers one request, unless a fault does.
    pub(super) fn answer(&mut self, request: &ServerRequest<'_>, now: Time) -> ServerReply {
        let breaks = self.faults.strikes(Fault::Errors);
        if breaks && self.faults.random().below(2) == 0 {
            return broken();
        }
        let reply = match self.route(request, now) {
            Ok(body) => reply_of(200, body),
            Err(refusal) => {
                let (word, status) = refusal_word(refusal);
                reply_of(status, json_of(&Refused { error: word.into() }))
            }
        };
        if breaks {
            return broken();
        }
        if self.faults.strikes(Fault::LostReplies) {
            return ServerReply::Lost;
        }
        reply
    }

    /// Lets everything that is due reach the engine.
    pub(super) fn run_queue(&mut self, now: Time) {
        while let Some(Waiting { account, work }) = self.queue.pop_due(now) {
            match work {
                Work::Place(placement) => {
                    let placed = self.exchange.place(account, placement, now);
                    debug_assert!(placed != Err(PlaceError::Duplicate), "checked when queued");
                }
                Work::Cancel(id) => {
                    // An order that never was, or is closed, needs no cancel.
                    self.exchange.cancel(account, id).ok();
                }
            }
        }
    }

    fn route(&mut self, request: &ServerRequest<'_>, now: Time) -> Result<Vec<u8>, Refusal> {
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((request.target, ""));
        match (request.method, path) {
            ("GET", "/book") => Ok(self.snapshot(self.queried_pair(query)?, now)),
            ("GET", "/trades") => {
                let trades = self.exchange.trades(self.queried_pair(query)?);
                let trades = trades.map(TradeRow::of).collect();
                Ok(json_of(&Trades { trades }))
            }
            ("GET", "/rules") => Ok(self.rules()),
            ("POST", "/order" | "/cancel" | "/orders" | "/account") => {
                let holder = self.admit(request, now)?;
                match path {
                    "/order" => self.place(holder, read(request.body)?, now),
                    "/cancel" => self.cancel(holder, &read(request.body)?, now),
                    "/orders" => self.list(holder, &read(request.body)?),
                    _ => Ok(self.account(holder)),
                }
            }
            _ => Err(Refusal::Other),
        }
    }

    fn admit(&mut self, request: &ServerRequest<'_>, now: Time) -> Result<Holder, Refusal> {
        let mut proof = Proof::default();
        for (name, value) in request.headers {
            for (known, field) in [
                ("x-key", &mut proof.key),
                ("x-nonce", &mut proof.nonce),
                ("x-sign", &mut proof.sign),
            ] {
                if name.eq_ignore_ascii_case(known) {
                    *field = value;
                }
            }
        }
        let rate = self.settings.requests_per_s;
        self.access
            .check(proof, request.target, request.body, rate, now)
    }

    fn place(&mut self, holder: Holder, place: Place<'_>, now: Time) -> Result<Vec<u8>, Refusal> {
        let id = OrderId(whole_number(&place.id).ok_or(Refusal::Other)?);
        let limit: Price = place.limit.parse().map_err(|_| Refusal::Rule)?;
        let quantity: Quantity = place.quantity.parse().map_err(|_| Refusal::Rule)?;
        let placement = Placement {
            id: Some(id),
            pair: self.known_pair(&place.pair)?,
            side: place.side.into(),
            quantity,
            limit,
        };
        if !self.queue.is_lagging(now) {
            let placed = self.exchange.place(holder.account, placement, now);
            placed.map_err(refusal_of)?;
            return self.one(holder.account, id);
        }
        let is_used = self.exchange.number_of(holder.account, id).is_some()
            || self
                .queue
                .placements(holder.account, id)
                .any(|queued| queued.id == Some(id));
        if is_used {
            self.exchange.count_duplicate();
            return Err(Refusal::Duplicate);
        }
        let waiting = Waiting {
            account: holder.account,
            work: Work::Place(placement),
        };
        if !self.queue.push(waiting, now) {
            return Err(Refusal::Throttled);
        }
        self.one(holder.account, id)
    }

    fn cancel(
        &mut self,
        holder: Holder,
        cancel: &Cancel<'_>,
        now: Time,
    ) -> Result<Vec<u8>, Refusal> {
        let id = OrderId(whole_number(&cancel.id).ok_or(Refusal::Other)?);
        self.known_pair(&cancel.pair)?;
        self.one(holder.account, id)?;
        let waiting = Waiting {
            account: holder.account,
            work: Work::Cancel(id),
        };
        let is_taken = if self.faults.strikes(Fault::SlowCancel) {
            let wait = Span::millis(self.faults.random().between(200, 2_000));
            let at = now + wait + self.queue.lag(now);
            self.queue.push_slow(waiting, at)
        } else if self.queue.is_lagging(now) {
            self.queue.push(waiting, now)
        } else {
            let cancelled = self.exchange.cancel(holder.account, id);
            cancelled.map_err(|_| Refusal::NoSuchOrder)?;
            true
        };
        if !is_taken {
            return Err(Refusal::Throttled);
        }
        self.one(holder.account, id)
    }

    fn list(&self, holder: Holder, from: &OrdersFrom<'_>) -> Result<Vec<u8>, Refusal> {
        let from = OrderId(whole_number(&from.from).ok_or(Refusal::Other)?);
        let known = self.exchange.orders_from(holder.account, from);
        let mut rows: Vec<(OrderId, OrderRow<'_>)> = known
            .take(ORDERS_LISTED_MAX + 1)
            .map(|order| (order.id.unwrap_or_default(), OrderRow::of(order)))
            .collect();
        for placement in self.queue.placements(holder.account, from) {
            rows.push((placement.id.unwrap_or_default(), pending_row(&placement)));
        }
        rows.sort_by_key(|(id, _)| *id);
        let end = rows.len() <= ORDERS_LISTED_MAX;
        let listed = rows.into_iter().take(ORDERS_LISTED_MAX);
        let orders = listed.map(|(_, row)| row).collect();
        Ok(json_of(&Many { orders, end }))
    }

    fn account(&self, holder: Holder) -> Vec<u8> {
        let row = |(currency, balance): (Currency, Balance)| BalanceRow {
            currency: currency.to_string().into(),
            free: balance.free.to_string().into(),
            held: balance.held.to_string().into(),
        };
        json_of(&Account {
            balances: self.exchange.balances(holder.account).map(row).collect(),
            rights: Rights {
                trade: true,
                withdraw: holder.may_withdraw,
            },
        })
    }

    /// Writes one order, whether the engine has seen it or not.
    fn one(&self, account: AccountNo, id: OrderId) -> Result<Vec<u8>, Refusal> {
        let order = match self.exchange.order_of(account, id) {
            Some(order) => OrderRow::of(order),
            None => {
                let mut queued = self.queue.placements(account, id);
                let placement = queued.find(|placement| placement.id == Some(id));
                pending_row(&placement.ok_or(Refusal::NoSuchOrder)?)
            }
        };
        Ok(json_of(&One { order }))
    }

    fn rules(&self) -> Vec<u8> {
        let rules = &self.settings.rules;
        json_of(&RulesReply {
            pairs: self
                .markets
                .iter()
                .map(|market| market.pair.to_string())
                .collect(),
            tick: rules.tick.to_string(),
            lot: rules.lot.to_string(),
            quantity_min: rules.quantity_min.to_string(),
            taker_fee_ppm: rules.taker_fee_ppm,
            maker_fee_ppm: self.settings.maker_fee_ppm,
            fee_in: match rules.fee_in {
                FeeIn::Received => "received",
                FeeIn::Quote => "quote",
            },
        })
    }

    fn queried_pair(&self, query: &str) -> Result<Pair, Refusal> {
        let mut fields = query.split('&').filter_map(|field| field.split_once('='));
        let (_, pair) = fields
            .find(|(name, _)| *name == "pair")
            .ok_or(Refusal::Other)?;
        self.known_pair(&pair.replace("%2F", "/"))
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::Other)
}

fn pending_row(placement: &Placement) -> OrderRow<'static> {
    OrderRow {
        id: placement.id.unwrap_or_default().to_string().into(),
        pair: placement.pair.to_string().into(),
        side: placement.side.into(),
        limit: placement.limit.to_string().into(),
        state: StateWord::Pending,
        filled: "0".into(),
        total: "0".into(),
        fee: "0".into(),
        remaining: placement.quantity.to_string().into(),
    }
}

fn refusal_of(error: PlaceError) -> Refusal {
    match error {
        PlaceError::Duplicate => Refusal::Duplicate,
        PlaceError::Full => Refusal::Throttled,
        PlaceError::Funds => Refusal::Funds,
        PlaceError::Rule => Refusal::Rule,
        PlaceError::Unknown => Refusal::Other,
    }
}

fn reply_of(status: u16, body: Vec<u8>) -> ServerReply {
    ServerReply::Answer {
        status,
        content_type: "application/json",
        body,
    }
}

fn broken() -> ServerReply {
    ServerReply::Answer {
        status: 502,
        content_type: "text/html",
        body: b"<html>bad gateway</html>".to_vec(),
    }
}
