//! Version 0 of the API: bare objects, decimal texts, whole lists as answers.

use serde::Serialize;

use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity, parse_decimal};
use crate::model::time::Time;
use crate::venue::mtgox::access::{Denied, Holder};
use crate::venue::mtgox::answer::{Call, Refusal};
use crate::venue::mtgox::front::Cached;
use crate::venue::mtgox::json::json_of;
use crate::venue::mtgox::message::OrderRow0;
use crate::venue::mtgox::money::Amount;
use crate::venue::mtgox::routes::{Params, Version0};
use crate::venue::mtgox::server::MtgoxServer;
use crate::venue::serving::fault::Fault;

/// Balances, and the open orders where they were asked for.
#[derive(Debug, Serialize)]
struct Funds {
    usds: String,
    btcs: String,
    new_usds: Amount,
    new_btcs: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    orders: Option<Vec<OrderRow0>>,
}

impl MtgoxServer {
    pub(super) fn serve_call_0(
        &mut self,
        method: Version0,
        call: &Call<'_>,
        now: Time,
    ) -> Result<Vec<u8>, Refusal> {
        let pair = self.pair_0(call.params)?;
        match method {
            Version0::Depth => return Ok(self.document(Cached::Depth0, pair, false, now)),
            Version0::Ticker => return Ok(self.document(Cached::Ticker0, pair, false, now)),
            Version0::Trades => return Ok(self.trade_rows_0(pair, call.params, now)),
            Version0::Buy
            | Version0::Cancel
            | Version0::Funds
            | Version0::Info
            | Version0::Orders
            | Version0::Sell => (),
        }
        let holder = call.holder.ok_or(Denied::MissingKey)?;
        if self.faults.strikes(Fault::InvalidCalls) {
            return Err(Refusal::INVALID_CALL);
        }
        let mut funds = match method {
            Version0::Info => return Ok(self.info(holder, now)),
            Version0::Funds => return Ok(json_of(&self.funds(holder))),
            Version0::Buy => self.trade_0(holder, pair, Side::Bid, call.params, now)?,
            Version0::Sell => self.trade_0(holder, pair, Side::Ask, call.params, now)?,
            Version0::Cancel => {
                let oid = call.params.get("oid").unwrap_or_default();
                self.cancel(holder, oid, now)?;
                self.funds(holder)
            }
            Version0::Orders | Version0::Depth | Version0::Ticker | Version0::Trades => {
                self.funds(holder)
            }
        };
        let open = self.orders.open(holder.account);
        funds.orders = Some(open.map(OrderRow0::new).collect());
        Ok(json_of(&funds))
    }

    fn trade_0(
        &mut self,
        holder: Holder,
        pair: Pair,
        side: Side,
        params: &Params,
        now: Time,
    ) -> Result<Funds, Refusal> {
        let number = |name: &str| {
            let text = params.get(name).filter(|text| !text.is_empty());
            let units = text.map(|text| parse_decimal(text.as_bytes())).transpose();
            units.map_err(|_| Refusal::text(format!("Invalid parameter \"{name}\"")))
        };
        let quantity = Quantity(number("amount")?.unwrap_or_default());
        let price = number("price")?.filter(|units| *units != 0).map(Price);
        let oid = self.lodge(holder.account, pair, (side, quantity, price), now)?;
        Ok(Funds {
            status: Some("Your order has been queued for execution."),
            oid: Some(oid),
            ..self.funds(holder)
        })
    }

    fn funds(&self, holder: Holder) -> Funds {
        let account = self.exchange.account(holder.account);
        let all = |currency| {
            let balance = account.map(|account| account.balance(currency));
            balance.map_or(Quantity::ZERO, |balance| {
                balance.free.saturating_add(balance.held)
            })
        };
        let (usd, btc) = (all(Currency::USD), all(Currency::BTC));
        Funds {
            usds: usd.to_string(),
            btcs: btc.to_string(),
            new_usds: Amount::quantity(Currency::USD, usd),
            new_btcs: Amount::quantity(Currency::BTC, btc),
            status: None,
            oid: None,
            orders: None,
        }
    }

    /// Reads the currency of a request, dollars where it names none.
    fn pair_0(&self, params: &Params) -> Result<Pair, Refusal> {
        match params.get("Currency").or_else(|| params.get("currency")) {
            Some(quote) => self.known_pair(&format!("BTC{quote}")),
            None => self.default_pair().ok_or(Refusal::NO_PAIR),
        }
    }

    /// Returns the market in dollars, else the first one.
    pub(super) fn default_pair(&self) -> Option<Pair> {
        let mut pairs = self.tapes.keys();
        let in_dollars = |pair: &&Pair| pair.quote == Currency::USD;
        let first = self.tapes.keys().next();
        pairs.find(in_dollars).or(first).copied()
    }
}
