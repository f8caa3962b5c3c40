//! The calls that need a key: account, orders, ledger.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity, parse_decimal};
use crate::model::time::{Span, Time};
use crate::model::trade::Filled;
use crate::venue::exchange::AccountNo;
use crate::venue::exchange::account::Balance;
use crate::venue::mtgox::access::Holder;
use crate::venue::mtgox::answer::Refusal;
use crate::venue::mtgox::engine::properties_of;
use crate::venue::mtgox::json::{Bare, json_of};
use crate::venue::mtgox::ledger::{Row, Share};
use crate::venue::mtgox::lodged::{Lodged, Status};
use crate::venue::mtgox::message::{OrderResult, OrderRow, ResultRow, seconds};
use crate::venue::mtgox::money::{self, Amount};
use crate::venue::mtgox::queue::Work;
use crate::venue::mtgox::routes::Params;
use crate::venue::mtgox::server::{IdKey, MtgoxServer};
use crate::venue::mtgox::tape::worth_text;
use crate::venue::serving::fault::Fault;

/// What may leave a wallet in a day and in a month, in whole units (as captured in 2012).
const DAILY_FIAT: i64 = 1_000;
const MONTHLY_FIAT: i64 = 10_000;
const DAILY_COINS: i64 = 400;
/// Rows on one page of a ledger.
const PAGE_ROWS: usize = 50;

#[derive(Debug, Serialize)]
struct Info {
    #[serde(rename = "Login")]
    login: String,
    #[serde(rename = "Index")]
    index: String,
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Rights")]
    rights: Vec<&'static str>,
    #[serde(rename = "Language")]
    language: &'static str,
    #[serde(rename = "Created")]
    created: &'static str,
    #[serde(rename = "Last_Login")]
    last_login: &'static str,
    #[serde(rename = "Wallets")]
    wallets: BTreeMap<String, Wallet>,
    #[serde(rename = "Monthly_Volume")]
    monthly_volume: Amount,
    #[serde(rename = "Trade_Fee")]
    trade_fee: Bare,
}

#[derive(Debug, Serialize)]
struct Wallet {
    /// With what open orders hold.
    #[serde(rename = "Balance")]
    balance: Amount,
    #[serde(rename = "Operations")]
    operations: u64,
    #[serde(rename = "Daily_Withdraw_Limit")]
    daily: Amount,
    #[serde(rename = "Monthly_Withdraw_Limit")]
    monthly: Option<Amount>,
    #[serde(rename = "Max_Withdraw")]
    most: Amount,
    #[serde(rename = "Open_Orders")]
    open_orders: Amount,
}

#[derive(Debug, Serialize)]
struct CancelReply {
    oid: String,
    qid: String,
}

#[derive(Debug, Serialize)]
struct QuoteReply {
    amount: Bare,
}

#[derive(Debug, Serialize)]
struct History {
    records: String,
    result: Vec<HistoryRow>,
    current_page: usize,
    max_page: usize,
    max_results: usize,
}

#[derive(Debug, Serialize)]
struct HistoryRow {
    #[serde(rename = "Index")]
    index: String,
    #[serde(rename = "Date")]
    date: u64,
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(rename = "Value")]
    value: Amount,
    #[serde(rename = "Balance")]
    balance: Amount,
    #[serde(rename = "Info")]
    info: String,
    #[serde(rename = "Link")]
    link: [String; 3],
    #[serde(rename = "Trade")]
    trade: Option<HistoryTrade>,
}

#[derive(Debug, Serialize)]
struct HistoryTrade {
    oid: String,
    app: Value,
    tid: String,
    #[serde(rename = "Amount")]
    amount: Amount,
    #[serde(rename = "Properties")]
    properties: &'static str,
}

impl MtgoxServer {
    pub(super) fn info(&self, holder: Holder, now: Time) -> Vec<u8> {
        let account = holder.account;
        let mut rights = vec!["get_info", "trade"];
        rights.extend(holder.may_withdraw.then_some("withdraw"));
        let wallets = self.exchange.balances(account);
        let wallets = wallets.map(|(currency, balance)| {
            let wallet = self.wallet(account, currency, balance);
            (currency.to_string(), wallet)
        });
        let volume = self.ledgers.get(&account).map(|ledger| ledger.volume(now));
        json_of(&Info {
            login: format!("customer{}", account.0),
            index: (100_000 + u64::from(account.0)).to_string(),
            id: self.names.uuid("account", account.0.into()).to_string(),
            rights,
            language: "en_US",
            created: "2011-12-01 14:58:53",
            last_login: "2012-03-03 17:17:06",
            wallets: wallets.collect(),
            monthly_volume: Amount::quantity(Currency::BTC, volume.unwrap_or_default()),
            trade_fee: Bare(self.fee_percent()),
        })
    }

    fn wallet(&self, account: AccountNo, currency: Currency, balance: Balance) -> Wallet {
        let is_coin = money::decimals(currency) == 8;
        let is_stuck = if is_coin {
            self.habits.are_coins_stuck
        } else {
            self.habits.is_fiat_stuck
        };
        let daily = if is_coin { DAILY_COINS } else { DAILY_FIAT };
        let amount = |units| Amount::quantity(currency, Quantity::whole(units));
        let ledger = self.ledgers.get(&account);
        Wallet {
            balance: Amount::quantity(currency, balance.free.saturating_add(balance.held)),
            operations: ledger.map_or(0, |ledger| ledger.rows_made(currency)),
            daily: amount(daily),
            monthly: (!is_coin).then(|| amount(MONTHLY_FIAT)),
            most: amount(if is_stuck { 0 } else { daily }),
            open_orders: Amount::quantity(currency, balance.held),
        }
    }

    /// Makes a key into the private stream, good for a day.
    pub(super) fn idkey(&mut self, holder: Holder, now: Time) -> Vec<u8> {
        if self.idkeys.len() >= Self::IDKEYS_MAX {
            self.idkeys.pop_front();
        }
        self.idkeys_made += 1;
        let text = self.names.idkey(self.idkeys_made);
        let written = json_of(&text);
        self.idkeys.push_back(IdKey {
            text,
            account: holder.account,
            until: now + Self::IDKEY_LASTS,
        });
        written
    }

    pub(super) fn order_rows(&self, holder: Holder) -> Vec<u8> {
        let open = self.orders.open(holder.account);
        let rows: Vec<_> = open.map(OrderRow::new).collect();
        json_of(&rows)
    }

    /// Takes an order into the queue and returns the venue's name for it.
    pub(super) fn add(
        &mut self,
        holder: Holder,
        pair: Pair,
        params: &Params,
        now: Time,
    ) -> Result<String, Refusal> {
        let side = side_of(params)?;
        let quantity = Quantity(units(params, "amount", pair.base)?.unwrap_or_default());
        // A price of nothing was how some clients left it out.
        let price = units(params, "price", pair.quote)?.filter(|units| *units != 0);
        let price = price.map(Price);
        self.lodge(holder.account, pair, (side, quantity, price), now)
    }

    /// Checks and queues an order.
    pub(super) fn lodge(
        &mut self,
        account: AccountNo,
        pair: Pair,
        (side, quantity, price): (Side, Quantity, Option<Price>),
        now: Time,
    ) -> Result<String, Refusal> {
        let rules = self.rules_in(pair);
        if quantity < rules.quantity_min || !quantity.is_positive() {
            return Err(Refusal::text("Order amount is too low"));
        }
        if quantity.floor_to(rules.lot) != quantity {
            return Err(Refusal::text("Invalid parameter \"amount_int\""));
        }
        let tick = rules.tick.0.max(1);
        if price.is_some_and(|price| price.0 < 0 || price.0 % tick != 0) {
            return Err(Refusal::text("Invalid parameter \"price_int\""));
        }
        if !self.orders.has_room(account) || !self.access.take_order(account, now) {
            return Err(Refusal::TOO_MANY_ORDERS);
        }
        let no = self.orders.next_no();
        if !self.queue.push(Work::Place(no), now) {
            return Err(Refusal::TOO_MANY_ORDERS);
        }
        let oid = self.names.uuid("order", no);
        let priority = self.stamps.next(now);
        let told_from = self.news_from(now);
        self.orders.insert(Lodged {
            no,
            oid,
            account,
            pair,
            side,
            price,
            quantity,
            filled: Filled::default(),
            status: Status::Pending,
            at: now,
            priority,
            live: None,
            shares: Vec::new(),
            told_from,
        });
        self.queue_ids += 1;
        self.set_status(no, Status::Pending, now);
        Ok(oid.to_string())
    }

    /// Decides when the news of a new order go out: behind its reply, or before it, or late.
    fn news_from(&mut self, now: Time) -> Time {
        if !self.faults.strikes(Fault::ReorderedReports) {
            return now;
        }
        if self.faults.random().below(2) == 0 {
            self.is_early = true;
            return now;
        }
        now + Span::millis(self.faults.random().between(500, 5_000))
    }

    /// Queues the removal of an order; the reply only says that it was asked for.
    pub(super) fn cancel(
        &mut self,
        holder: Holder,
        oid: &str,
        now: Time,
    ) -> Result<Vec<u8>, Refusal> {
        let order = self.orders.find(holder.account, oid);
        let order = order.filter(|order| order.status != Status::Ended);
        let order = order.ok_or(Refusal::NO_ORDER)?;
        let (no, oid) = (order.no, order.oid.to_string());
        let is_taken = if self.faults.strikes(Fault::SlowCancel) {
            let wait = Span::millis(self.faults.random().between(200, 2_000));
            let at = now + wait + self.queue.lag(now);
            self.queue.push_slow(Work::Cancel(no), at)
        } else {
            self.queue.push(Work::Cancel(no), now)
        };
        if !is_taken {
            return Err(Refusal::TOO_MANY_ORDERS);
        }
        self.queue_ids += 1;
        let qid = self.names.uuid("queue", self.queue_ids).to_string();
        Ok(json_of(&CancelReply { oid, qid }))
    }

    /// Lists what an order traded. Before its first fill there is no result, but for an order
    /// without a price that found nothing.
    pub(super) fn result(&self, holder: Holder, params: &Params) -> Result<Vec<u8>, Refusal> {
        let side = side_of(params)?;
        let oid = params.get("order").or_else(|| params.get("oid"));
        let order = self.orders.find(holder.account, oid.unwrap_or_default());
        let order = order.filter(|order| order.side == side);
        let order = order.ok_or(Refusal::NO_ORDER)?;
        let is_empty = order.price.is_none() && order.status == Status::Ended;
        if order.shares.is_empty() && !is_empty {
            return Err(Refusal::NO_ORDER);
        }
        let Pair { base, quote } = order.pair;
        let Filled {
            quantity, total, ..
        } = order.filled;
        let average = Price::of_total(total, quantity).unwrap_or_default();
        Ok(json_of(&OrderResult {
            order_id: order.oid.to_string(),
            trades: order.shares.iter().map(ResultRow::new).collect(),
            total_spent: Amount::quantity(quote, total),
            total_amount: Amount::quantity(base, quantity),
            avg_cost: Amount::price(quote, average),
        }))
    }

    /// Says what an amount would cost or bring now, in the currency's integers.
    pub(super) fn order_quote(&self, pair: Pair, params: &Params) -> Result<Vec<u8>, Refusal> {
        let side = side_of(params)?;
        let amount = params.get("amount").or_else(|| params.get("amount_int"));
        let int = amount.and_then(|text| text.parse().ok());
        let units = int.and_then(|int| money::units_of(pair.base, int));
        let units = units.filter(|units| *units > 0);
        let mut rest = Quantity(units.ok_or_else(|| invalid("amount"))?);
        let (mut sum, mut text) = (0, String::new());
        for level in self.exchange.levels(pair, side.opposite()) {
            let part = rest.min(level.quantity);
            let price = money::int_of(pair.quote, level.price.0);
            text = worth_text(price, part, &mut sum);
            rest = rest.less(part);
            if rest.is_zero() {
                break;
            }
        }
        if !rest.is_zero() {
            return Err(Refusal::text("Not enough depth"));
        }
        Ok(json_of(&QuoteReply { amount: Bare(text) }))
    }

    /// Returns a page of a ledger, newest rows first.
    pub(super) fn history(&self, holder: Holder, params: &Params) -> Result<Vec<u8>, Refusal> {
        let currency = params.get("currency").unwrap_or("BTC").parse();
        let currency: Currency = currency.map_err(|_| invalid("currency"))?;
        let page = params.get("page").and_then(|text| text.parse().ok());
        let page: usize = page.unwrap_or(1).max(1);
        let ledger = self.ledgers.get(&holder.account);
        let records = ledger.map_or(0, |ledger| ledger.rows(currency).len());
        let rows = ledger.into_iter().flat_map(|ledger| ledger.rows(currency));
        let skipped = (page - 1).saturating_mul(PAGE_ROWS);
        let rows = rows.skip(skipped).take(PAGE_ROWS);
        Ok(json_of(&History {
            records: records.to_string(),
            result: rows.map(|row| self.history_row(currency, row)).collect(),
            current_page: page,
            max_page: records.div_ceil(PAGE_ROWS).max(1),
            max_results: PAGE_ROWS,
        }))
    }

    fn history_row(&self, currency: Currency, row: &Row) -> HistoryRow {
        let share = row.share.as_ref();
        let (link, reference) = match share {
            Some(share) => ("Money_Trade", share.tid.to_string()),
            None => ("Money_Transfer", row.index.to_string()),
        };
        HistoryRow {
            index: row.index.to_string(),
            date: seconds(row.at),
            kind: row.kind.word(),
            value: Amount::quantity(currency, row.value),
            balance: Amount::quantity(currency, row.balance),
            info: self.info_of(row),
            link: [row.link.to_string(), link.to_owned(), reference],
            trade: share.map(history_trade),
        }
    }
}

fn history_trade(share: &Share) -> HistoryTrade {
    HistoryTrade {
        oid: share.oid.to_string(),
        app: Value::Null,
        tid: share.tid.to_string(),
        amount: Amount::quantity(share.pair.base, share.quantity),
        properties: properties_of(share),
    }
}

fn side_of(params: &Params) -> Result<Side, Refusal> {
    match params.get("type") {
        Some("bid") => Ok(Side::Bid),
        Some("ask") => Ok(Side::Ask),
        Some(_) | None => Err(Refusal::text(
            "Invalid parameter \"type\" (should be ask or bid)",
        )),
    }
}

/// Reads `<name>_int`, or the decimal text of `<name>` that older clients send.
fn units(params: &Params, name: &str, currency: Currency) -> Result<Option<i64>, Refusal> {
    let int_name = format!("{name}_int");
    if let Some(text) = params.get(&int_name) {
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let int = is_plain.then(|| text.parse().ok()).flatten();
        let units = int.and_then(|int| money::units_of(currency, int));
        return units.map(Some).ok_or_else(|| invalid(&int_name));
    }
    let Some(text) = params.get(name) else {
        return Ok(None);
    };
    let units = parse_decimal(text.as_bytes());
    units.map(Some).map_err(|_| invalid(name))
}

fn invalid(name: &str) -> Refusal {
    Refusal::text(format!("Invalid parameter \"{name}\""))
}
