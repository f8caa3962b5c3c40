//! The method Trade: a limit order, and what becomes of it at once.

use crate::model::ids::OrderId;
use crate::model::market::Side;
use crate::model::number::{NumberError, Price, Quantity};
use crate::model::time::Time;
use crate::model::trade::VenueOrderState;
use crate::venue::btce::form::Form;
use crate::venue::btce::json::Object;
use crate::venue::btce::refusal::Refusal;
use crate::venue::btce::server::{BtceServer, Listed, unix_s};
use crate::venue::exchange::{AccountNo, PlaceError, Placement};
use crate::venue::literal::{Excess, units_of};

impl BtceServer {
    /// Takes an order. `received` is what it filled at once, before any fee; where nothing of it
    /// rests, `order_id` is zero, and only the trade history names it.
    pub(super) fn trade(
        &mut self,
        account: AccountNo,
        form: &Form,
        now: Time,
    ) -> Result<String, Refusal> {
        let mut placement = self.placement(form)?;
        self.check_funds(account, &placement)?;
        let id = self.next_name();
        placement.id = Some(id);
        let placed = self.exchange.place(account, placement, now);
        let no = placed.map_err(|error| refusal_of(error, &placement))?;
        let ledger = self.ledgers.entry(account).or_default();
        ledger.note_created(id, unix_s(now));
        let order = self.exchange.order(no);
        let filled = order.map_or(Quantity::ZERO, |order| order.filled.quantity);
        let open = order.filter(|order| order.state == VenueOrderState::Open);
        let remains = open.map_or(Quantity::ZERO, |order| order.remaining);
        let resting = open.map_or(OrderId(0), |_| id);
        let answer = Object::new()
            .put("received", filled)
            .put("remains", remains)
            .put("order_id", resting);
        let answer = match self.style.has_extras {
            true => answer.put("init_order_id", id),
            false => answer,
        };
        let answer = self.put_funds(answer, account);
        Ok(self.put_server_time(answer, now).end())
    }

    /// Reads an order and checks it against what its market demands.
    fn placement(&self, form: &Form) -> Result<Placement, Refusal> {
        let listed = form.filled("pair").and_then(|name| self.listed(name));
        let listed = listed.ok_or(Refusal::Parameter("pair"))?;
        let side = match form.filled("type") {
            Some("buy") => Side::Bid,
            Some("sell") => Side::Ask,
            Some(_) | None => return Err(Refusal::Parameter("type")),
        };
        let limit = self.rate(listed, form)?;
        let quantity = self.amount(listed, form)?;
        let pair = listed.pair();
        let (low, high) = listed.prices(&self.style);
        if limit < low {
            return Err(Refusal::PriceMin(pair, low));
        }
        if limit > high {
            return Err(Refusal::PriceMax(pair, high));
        }
        if quantity < listed.rules.quantity_min {
            return Err(Refusal::QuantityMin(pair.base, listed.rules.quantity_min));
        }
        if limit.total_floor(quantity) < self.style.total_min {
            return Err(Refusal::TotalMin(self.style.total_min));
        }
        Ok(Placement {
            id: None,
            pair,
            side,
            quantity,
            limit,
        })
    }

    fn rate(&self, listed: &Listed, form: &Form) -> Result<Price, Refusal> {
        let wrong = Refusal::Parameter("rate");
        let text = form.filled("rate").unwrap_or_default();
        let Ok(units) = units_of(text, 0, self.excess()) else {
            return Err(wrong);
        };
        let on_tick = Price(units - units.rem_euclid(listed.rules.tick.0.max(1)));
        if !on_tick.is_positive() || (self.style.refuses_excess && on_tick.0 != units) {
            return Err(wrong);
        }
        Ok(on_tick)
    }

    fn amount(&self, listed: &Listed, form: &Form) -> Result<Quantity, Refusal> {
        let text = form.filled("amount").unwrap_or_default();
        let units = match units_of(text, 0, self.excess()) {
            Ok(units) if units > 0 => Quantity(units),
            Err(NumberError::TooFine) => return Err(Refusal::Fields),
            Ok(_) | Err(NumberError::Empty | NumberError::NotADigit(_) | NumberError::TooLarge) => {
                return Err(Refusal::Parameter("amount"));
            }
        };
        let on_lot = units.floor_to(listed.rules.lot);
        if !on_lot.is_positive() || (self.style.refuses_excess && on_lot != units) {
            return Err(Refusal::Fields);
        }
        Ok(on_lot)
    }

    fn excess(&self) -> Excess {
        if self.style.refuses_excess {
            Excess::Refused
        } else {
            Excess::Down
        }
    }

    /// Refuses what cannot be paid before it takes a name; the exchange has the last word.
    fn check_funds(&self, account: AccountNo, placement: &Placement) -> Result<(), Refusal> {
        let pair = placement.pair;
        let (currency, needed) = match placement.side {
            Side::Bid => (pair.quote, placement.limit.total_ceil(placement.quantity)),
            Side::Ask => (pair.base, placement.quantity),
        };
        let known = self.exchange.account(account);
        let has = known.is_some_and(|known| known.balance(currency).free >= needed);
        if has {
            Ok(())
        } else {
            Err(Refusal::Funds(placement.side, pair))
        }
    }
}

fn refusal_of(error: PlaceError, placement: &Placement) -> Refusal {
    match error {
        PlaceError::Funds => Refusal::Funds(placement.side, placement.pair),
        PlaceError::Rule | PlaceError::Duplicate | PlaceError::Unknown => Refusal::Fields,
        PlaceError::Full => Refusal::TooOften,
    }
}
