//! Signed requests: who asks, whether he may, and what the account's lists answer.

use crate::model::ids::OrderId;
use crate::model::instrument::Pair;
use crate::model::number::Quantity;
use crate::model::time::{Span, Time};
use crate::model::trade::VenueOrderState;
use crate::venue::ServerRequest;
use crate::venue::btce::access::{Holder, Limits, Proof, Rights};
use crate::venue::btce::form::Form;
use crate::venue::btce::json::Object;
use crate::venue::btce::ledger::{Filter, Ledger, order_type};
use crate::venue::btce::refusal::Refusal;
use crate::venue::btce::server::{BtceServer, unix_s};
use crate::venue::btce::style::pair_name;
use crate::venue::exchange::{AccountNo, Order};
use crate::venue::serving::fault::Fault;

/// What a signed request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    ActiveOrders,
    CancelOrder,
    CoinDepositAddress,
    CreateCoupon,
    GetInfo,
    OrderInfo,
    RedeemCoupon,
    Trade,
    TradeHistory,
    TransHistory,
    WithdrawCoin,
}

/// Every method with its name on the wire; an older name is listed behind its own.
const METHODS: [(&str, Method); 12] = [
    ("ActiveOrders", Method::ActiveOrders),
    ("CancelOrder", Method::CancelOrder),
    ("CoinDepositAddress", Method::CoinDepositAddress),
    ("CreateCoupon", Method::CreateCoupon),
    ("getInfo", Method::GetInfo),
    ("OrderInfo", Method::OrderInfo),
    ("RedeemCoupon", Method::RedeemCoupon),
    ("Trade", Method::Trade),
    ("TradeHistory", Method::TradeHistory),
    ("TransHistory", Method::TransHistory),
    ("WithdrawCoin", Method::WithdrawCoin),
    ("OrderList", Method::ActiveOrders),
];

/// What has become of an order, as OrderInfo tells it.
const STATUS_ACTIVE: u8 = 0;
const STATUS_EXECUTED: u8 = 1;
const STATUS_CANCELLED: u8 = 2;
const STATUS_PARTLY_EXECUTED: u8 = 3;

impl Method {
    /// Returns whether the key may do this, and the word for what it needs.
    fn is_allowed(self, rights: Rights) -> Result<(), Refusal> {
        let (has, word) = match self {
            Self::ActiveOrders
            | Self::CoinDepositAddress
            | Self::GetInfo
            | Self::OrderInfo
            | Self::TradeHistory
            | Self::TransHistory => (rights.info, "info"),
            Self::CancelOrder | Self::Trade => (rights.trade, "trade"),
            Self::CreateCoupon | Self::RedeemCoupon | Self::WithdrawCoin => {
                (rights.withdraw, "withdraw")
            }
        };
        if has {
            Ok(())
        } else {
            Err(Refusal::Permission(word))
        }
    }
}

impl BtceServer {
    /// Answers a signed request. The method stands in the body; `rest` of the path, as in
    /// `/tapi/3/getInfo`, names it for clients that leave it out there.
    pub(super) fn tapi(
        &mut self,
        request: &ServerRequest<'_>,
        rest: &str,
        now: Time,
    ) -> Result<String, Refusal> {
        let form = Form::parse(request.body);
        let holder = self.admit(request, &form, now)?;
        if now < self.overloaded_until {
            return Err(Refusal::TooOften);
        }
        let in_path = rest.rsplit('/').next().unwrap_or_default();
        let name = form.filled("method").unwrap_or(in_path);
        let method = METHODS.iter().find(|(known, _)| *known == name);
        let (_, method) = method.ok_or(Refusal::InvalidMethod)?;
        method.is_allowed(holder.rights)?;
        let account = holder.account;
        let answer = match method {
            Method::GetInfo => self.get_info(holder, now),
            Method::Trade => self.trade(account, &form, now)?,
            Method::ActiveOrders => self.active_orders(account, &form)?,
            Method::OrderInfo => self.order_info(account, &form)?,
            Method::CancelOrder => self.cancel_order(account, &form, now)?,
            Method::TradeHistory => {
                let (filter, pair) = (Filter::read(&form)?, self.pair_asked(&form)?);
                let ledger = self.ledgers.get(&account);
                let rows = ledger.and_then(|ledger| ledger.trades(&filter, pair, self.style.lists));
                rows.ok_or(Refusal::NoTrades)?
            }
            Method::TransHistory => {
                let filter = Filter::read(&form)?;
                let ledger = self.ledgers.get(&account);
                let rows = ledger.and_then(|ledger| ledger.transactions(&filter));
                rows.ok_or(Refusal::NoTransactions)?
            }
            Method::CoinDepositAddress => return Err(unavailable(&form, &["coinName"])),
            Method::WithdrawCoin => {
                return Err(unavailable(&form, &["coinName", "amount", "address"]));
            }
            Method::CreateCoupon => {
                return Err(unavailable(&form, &["coinName", "amount", "receiver"]));
            }
            Method::RedeemCoupon => return Err(unavailable(&form, &["coupon"])),
        };
        Ok(Object::new().put("success", 1).put("return", answer).end())
    }

    fn admit(
        &mut self,
        request: &ServerRequest<'_>,
        form: &Form,
        now: Time,
    ) -> Result<Holder, Refusal> {
        let header = |wanted: &str| {
            let mut headers = request.headers.iter();
            let found = headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map_or("", |(_, value)| value.trim())
        };
        let proof = Proof {
            key: header("key"),
            sign: header("sign"),
            signed: request.body,
            nonce: form.value("nonce").unwrap_or_default(),
        };
        let limits = Limits {
            nonce_max: self.style.nonce_max,
            requests_per_s: self.requests_per_s,
        };
        self.access.check(proof, limits, now)
    }

    fn get_info(&self, holder: Holder, now: Time) -> String {
        let ledger = self.ledgers.get(&holder.account);
        let rights = Object::new()
            .put("info", u8::from(holder.rights.info))
            .put("trade", u8::from(holder.rights.trade))
            .put("withdraw", u8::from(holder.rights.withdraw));
        self.put_funds(Object::new(), holder.account)
            .put("rights", rights.end())
            .put("transaction_count", ledger.map_or(0, Ledger::rows))
            .put("open_orders", ledger.map_or(0, |ledger| ledger.open.len()))
            .put("server_time", unix_s(now))
            .end()
    }

    /// Appends what an account has free, and on some exchanges what it has with what orders hold.
    pub(super) fn put_funds(&self, answer: Object, account: AccountNo) -> Object {
        let known = self.exchange.account(account);
        let funds = |sum: fn(Quantity, Quantity) -> Quantity| {
            let put = |funds: Object, currency: &_| {
                let balance = known.map(|known| known.balance(*currency));
                let balance = balance.unwrap_or_default();
                let name = currency.to_string().to_ascii_lowercase();
                funds.put(&name, sum(balance.free, balance.held))
            };
            self.currencies.iter().fold(Object::new(), put).end()
        };
        let answer = answer.put("funds", funds(|free, _| free));
        if !self.style.has_extras {
            return answer;
        }
        answer.put("funds_incl_orders", funds(Quantity::saturating_add))
    }

    fn active_orders(&self, account: AccountNo, form: &Form) -> Result<String, Refusal> {
        let pair = self.pair_asked(form)?;
        let ledger = self.ledgers.get(&account).ok_or(Refusal::NoOrders)?;
        let orders = ledger.open.iter();
        let orders = orders.filter_map(|id| Some((*id, self.exchange.order_of(account, *id)?)));
        let orders = orders.filter(|(_, order)| pair.is_none_or(|pair| order.pair == pair));
        let mut listed = orders.peekable();
        listed.peek().ok_or(Refusal::NoOrders)?;
        let put = |list: Object, (id, order): (OrderId, &Order)| {
            let row = Object::new()
                .text("pair", &pair_name(order.pair))
                .text("type", order_type(order.side))
                .put("amount", order.remaining)
                .put("rate", order.limit)
                .put(
                    "timestamp_created",
                    self.style.lists.number(ledger.created(id)),
                )
                .put("status", STATUS_ACTIVE);
            list.put(&id.to_string(), row.end())
        };
        Ok(listed.fold(Object::new(), put).end())
    }

    fn order_info(&self, account: AccountNo, form: &Form) -> Result<String, Refusal> {
        let (id, order) = self.order_asked(account, form)?;
        let ledger = self.ledgers.get(&account);
        let created = ledger.map_or(0, |ledger| ledger.created(id));
        let row = Object::new()
            .text("pair", &pair_name(order.pair))
            .text("type", order_type(order.side))
            .put("start_amount", order.quantity)
            .put("amount", order.quantity.less(order.filled.quantity))
            .put("rate", order.limit)
            .put("timestamp_created", self.style.lists.number(created))
            .put("status", status_of(order));
        Ok(Object::new().put(&id.to_string(), row.end()).end())
    }

    fn cancel_order(
        &mut self,
        account: AccountNo,
        form: &Form,
        now: Time,
    ) -> Result<String, Refusal> {
        let (id, order) = self.order_asked(account, form)?;
        if order.state != VenueOrderState::Open {
            return Err(Refusal::OrderEnded);
        }
        let is_slow = self.faults.strikes(Fault::SlowCancel) && {
            let wait = Span::millis(self.faults.random().between(200, 2_000));
            self.slow_cancels.push(account, id, now + wait)
        };
        if !is_slow {
            let cancelled = self.exchange.cancel(account, id);
            cancelled.map_err(|_| Refusal::NoSuchOrder(id.to_string()))?;
        }
        let answer = Object::new().put("order_id", id);
        let answer = self.put_funds(answer, account);
        Ok(self.put_server_time(answer, now).end())
    }

    /// Appends the server's time, where the exchange tells it with orders.
    pub(super) fn put_server_time(&self, answer: Object, now: Time) -> Object {
        if !self.style.has_extras {
            return answer;
        }
        answer.put("server_time", unix_s(now))
    }

    /// Returns the market that is asked for, or `None` for all of them.
    fn pair_asked(&self, form: &Form) -> Result<Option<Pair>, Refusal> {
        let Some(name) = form.filled("pair") else {
            return Ok(None);
        };
        let listed = self.listed(name).ok_or(Refusal::Parameter("pair"))?;
        Ok(Some(listed.pair()))
    }

    fn order_asked(&self, account: AccountNo, form: &Form) -> Result<(OrderId, &Order), Refusal> {
        let text = form.filled("order_id");
        let text = text.ok_or(Refusal::Parameter("order_id"))?;
        let id = text.parse().map_err(|_| Refusal::Parameter("order_id"))?;
        let order = self.exchange.order_of(account, OrderId(id));
        let order = order.filter(|order| order.state != VenueOrderState::Rejected);
        let order = order.ok_or_else(|| Refusal::NoSuchOrder(id.to_string()))?;
        Ok((OrderId(id), order))
    }
}

fn status_of(order: &Order) -> u8 {
    match order.state {
        VenueOrderState::Pending | VenueOrderState::Open => STATUS_ACTIVE,
        VenueOrderState::Closed if order.filled.quantity == order.quantity => STATUS_EXECUTED,
        VenueOrderState::Closed if order.filled.quantity.is_positive() => STATUS_PARTLY_EXECUTED,
        VenueOrderState::Closed | VenueOrderState::Rejected => STATUS_CANCELLED,
    }
}

/// Refuses what needs the exchange's own wallets: a field that is missing, or the thing itself.
fn unavailable(form: &Form, needed: &[&'static str]) -> Refusal {
    let mut needed = needed.iter();
    let missing = needed.find(|name| form.filled(name).is_none());
    missing.map_or(Refusal::NotAvailable, |name| Refusal::Parameter(name))
}
