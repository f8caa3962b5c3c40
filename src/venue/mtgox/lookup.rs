//! What became of orders whose fate is unknown.
//!
//! 1. The list of open orders: those with a known name stand there, or are over.
//! 2. What is over is asked for its trades, order by order.
//! 3. Orders whose name is not known are recognised among the open ones that are nobody's and among
//!    the trades in the ledger that are nobody's, and then asked for their trades.

use std::collections::{BTreeMap, VecDeque};

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::instrument::Market;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::time::{Span, Time};
use crate::model::trade::{OrderIntent, VenueRef};
use crate::venue::mtgox::order::{Known, MtgoxOrders, reference_of};
use crate::venue::mtgox::shape::{History, OrderRow, side_of};
use crate::venue::recognise::{Found, Stray, recognise};
use crate::venue::{OrdersQuery, ReplyError, Told};

/// One question about orders, while it is being answered.
#[derive(Debug)]
pub(super) struct Lookup {
    about: Vec<OrderIntent>,
    since: Time,
    step: Step,
    /// The request of this step is on its way.
    is_asked: bool,
    /// Orders that the venue lists and that are nobody's.
    strays: Vec<Stray>,
    /// What the ledger says was traded by orders that are nobody's.
    traded: BTreeMap<VenueRef, (Side, Quantity)>,
    /// Orders to be asked for their trades.
    results: VecDeque<OrderId>,
    ledgers: VecDeque<Currency>,
    was_recognised: bool,
    /// Answers that did not come or could not be read.
    failures: u32,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Orders,
    Result(OrderId),
    Ledger { page: u64 },
}

impl Lookup {
    /// Pages of one ledger that are read; an account that trades more than that between two looks
    /// has its orders held.
    const PAGES_MAX: u64 = 40;
    /// Answers that may fail before the question is given up, to be asked anew.
    const FAILURES_MAX: u32 = 16;
    /// The venue's clock may be this much behind.
    const SLACK: Span = Span::secs(30);

    fn is_recent(&self, at_us: u64) -> bool {
        let at = Time(at_us.saturating_mul(Span::MICRO.0));
        at + Self::SLACK >= self.since
    }
}

impl MtgoxOrders {
    pub(super) fn begin_lookup(
        &mut self,
        query: &OrdersQuery<'_>,
        now: Time,
        request: &mut Vec<u8>,
    ) {
        for intent in query.about {
            self.known
                .entry(intent.id)
                .or_insert_with(|| Known::new(*intent));
        }
        self.lookup = Some(Lookup {
            about: query.about.to_vec(),
            since: query.since,
            step: Step::Orders,
            is_asked: true,
            strays: Vec::new(),
            traded: BTreeMap::new(),
            results: VecDeque::new(),
            ledgers: VecDeque::new(),
            was_recognised: false,
            failures: 0,
        });
        let method = ("money/orders", Some("generic/private/orders"));
        self.write(method, "", now, request);
    }

    /// Appends the request of the next step, if one is to be made.
    pub(super) fn write_lookup_step(&mut self, now: Time, request: &mut Vec<u8>) -> bool {
        let Some(lookup) = self.lookup.as_mut().filter(|lookup| !lookup.is_asked) else {
            return false;
        };
        lookup.is_asked = true;
        match lookup.step {
            Step::Orders => false,
            Step::Result(id) => self.write_fills(id, now, request),
            Step::Ledger { page } => {
                let Some(currency) = lookup.ledgers.front().copied() else {
                    return false;
                };
                let form = format!("currency={currency}&page={page}");
                self.write(("money/wallet/history", None), &form, now, request);
                true
            }
        }
    }

    /// Asks the step again whose answer failed, some times.
    pub(super) fn ask_again(&mut self, told: &mut dyn FnMut(Told)) -> Result<(), ReplyError> {
        let lookup = self
            .lookup
            .as_mut()
            .filter(|lookup| lookup.step != Step::Orders && lookup.failures < Lookup::FAILURES_MAX);
        let Some(lookup) = lookup else {
            self.lookup = None;
            return Err(ReplyError::Unknown);
        };
        lookup.failures += 1;
        lookup.is_asked = false;
        told(Told::More);
        Ok(())
    }

    /// Reads the answer to the step that was asked for.
    pub(super) fn read_lookup(
        &mut self,
        body: &[u8],
        now: Time,
        told: &mut dyn FnMut(Told),
    ) -> Result<(), ReplyError> {
        let step = self.lookup.as_ref().map(|lookup| lookup.step);
        match step.ok_or(ReplyError::Unknown)? {
            Step::Orders => self.read_orders(body, told)?,
            Step::Result(id) => {
                let result = self.read_result(body)?;
                if !self.take_result(id, result.as_ref(), now, told)? {
                    // To say nothing of it would count it as absent.
                    return Err(ReplyError::Unknown);
                }
            }
            Step::Ledger { page } => self.read_ledger(page, body)?,
        }
        self.next_step(now, told);
        Ok(())
    }

    fn read_orders(&mut self, body: &[u8], told: &mut dyn FnMut(Told)) -> Result<(), ReplyError> {
        let rows: Vec<OrderRow<'_>> = self.content(body)?;
        let mut listed = BTreeMap::new();
        let mut strays = Vec::new();
        for row in &rows {
            let reference = reference_of(&row.oid).ok_or(ReplyError::Unknown)?;
            // What is not of our pairs is nobody's concern here.
            let Some(market) = self.market_of(row) else {
                continue;
            };
            let stray = stray_of(reference, market, row).ok_or(ReplyError::Unknown)?;
            let at_us = row.priority.as_ref().and_then(|at| at.whole());
            match self.names.get(&reference) {
                Some(id) => {
                    listed.insert(*id, stray.resting.unwrap_or_default());
                }
                None => strays.push((stray, at_us)),
            }
        }
        let Some(lookup) = self.lookup.as_mut() else {
            return Ok(());
        };
        let recent = strays
            .iter()
            .filter(|(_, at_us)| at_us.is_none_or(|at_us| lookup.is_recent(at_us)));
        lookup.strays = recent.map(|(stray, _)| *stray).collect();
        for intent in &lookup.about {
            let Some(known) = self.known.get_mut(&intent.id) else {
                continue;
            };
            if known.reference.is_none() {
                if !lookup.ledgers.contains(&intent.market.pair.base) {
                    lookup.ledgers.push_back(intent.market.pair.base);
                }
                continue;
            }
            match listed.get(&intent.id) {
                Some(remaining) if *remaining == known.intent.quantity => {
                    told(Told::Order(known.report()));
                }
                Some(remaining) => {
                    known.remaining = known.remaining.min(*remaining);
                    lookup.results.push_back(intent.id);
                }
                None => {
                    known.is_removed = true;
                    lookup.results.push_back(intent.id);
                }
            }
        }
        Ok(())
    }

    fn read_ledger(&mut self, page: u64, body: &[u8]) -> Result<(), ReplyError> {
        let history: History<'_> = self.content(body)?;
        let pages = history.max_page.whole().ok_or(ReplyError::Unknown)?;
        let Some(lookup) = self.lookup.as_mut() else {
            return Ok(());
        };
        let mut is_over = page >= pages;
        for row in &history.result {
            let date_s = row.date.whole().ok_or(ReplyError::Unknown)?;
            if !lookup.is_recent(date_s.saturating_mul(1_000_000)) {
                is_over = true;
                break;
            }
            let side = match row.kind.as_ref() {
                "in" => Side::Bid,
                "out" => Side::Ask,
                _ => continue,
            };
            let Some(trade) = &row.trade else { continue };
            let reference = reference_of(&trade.oid).ok_or(ReplyError::Unknown)?;
            if self.names.contains_key(&reference) {
                continue;
            }
            let units = row.value.units().ok_or(ReplyError::Unknown)?;
            let sum = lookup
                .traded
                .entry(reference)
                .or_insert((side, Quantity::ZERO));
            sum.1 = sum.1.saturating_add(Quantity(units.abs()));
        }
        if is_over {
            lookup.ledgers.pop_front();
            lookup.step = Step::Ledger { page: 0 };
        } else if page >= Lookup::PAGES_MAX {
            return Err(ReplyError::Unknown);
        }
        Ok(())
    }

    /// Goes on to what is still to be asked, or ends.
    fn next_step(&mut self, now: Time, told: &mut dyn FnMut(Told)) {
        loop {
            let Some(lookup) = self.lookup.as_mut() else {
                return;
            };
            lookup.is_asked = false;
            if let Some(id) = lookup.results.pop_front() {
                lookup.step = Step::Result(id);
                told(Told::More);
                return;
            }
            if !lookup.ledgers.is_empty() {
                let page = match lookup.step {
                    Step::Ledger { page } => page + 1,
                    Step::Orders | Step::Result(_) => 1,
                };
                lookup.step = Step::Ledger { page };
                told(Told::More);
                return;
            }
            if lookup.was_recognised {
                self.lookup = None;
                told(Told::End);
                return;
            }
            lookup.was_recognised = true;
            self.recognise_strays(now, told);
        }
    }

    /// Gives nameless orders their names, and lets each be asked for its trades.
    fn recognise_strays(&mut self, now: Time, told: &mut dyn FnMut(Told)) {
        let Some(lookup) = &self.lookup else { return };
        let nameless = |intent: &&OrderIntent| {
            let known = self.known.get(&intent.id);
            known.is_some_and(|known| known.reference.is_none())
        };
        let about: Vec<OrderIntent> = lookup.about.iter().filter(nameless).copied().collect();
        if about.is_empty() {
            return;
        }
        let mut strays = lookup.strays.clone();
        for stray in &mut strays {
            if let Some((_, traded)) = lookup.traded.get(&stray.reference) {
                stray.traded = *traded;
            }
        }
        for (reference, (side, traded)) in &lookup.traded {
            if strays.iter().any(|stray| stray.reference == *reference) {
                continue;
            }
            // The ledger of a currency does not say what it was traded for: any of our markets.
            let mut markets: Vec<Market> = about.iter().map(|intent| intent.market).collect();
            markets.sort_unstable();
            markets.dedup();
            strays.extend(markets.into_iter().map(|market| Stray {
                reference: *reference,
                market,
                side: *side,
                limit: None,
                resting: None,
                traded: *traded,
            }));
        }
        for found in recognise(&about, &strays) {
            match found {
                Found::Ambiguous(id) => told(Told::Ambiguous(id)),
                Found::Is(id, reference) => {
                    let stray = strays.iter().find(|stray| stray.reference == reference);
                    self.adopt_stray(id, stray, now, told);
                }
            }
        }
    }

    fn adopt_stray(
        &mut self,
        id: OrderId,
        stray: Option<&Stray>,
        now: Time,
        told: &mut dyn FnMut(Told),
    ) {
        let (Some(stray), Some(known)) = (stray, self.known.get_mut(&id)) else {
            return;
        };
        let whole = stray
            .resting
            .unwrap_or_default()
            .saturating_add(stray.traded);
        if known.intent.quantity.is_zero() {
            known.intent.quantity = whole;
            known.intent.limit = stray.limit.unwrap_or(known.intent.limit);
        }
        known.remaining = match stray.resting {
            Some(resting) => resting,
            None => known.intent.quantity.less(stray.traded),
        };
        known.is_removed = stray.resting.is_none();
        self.bind(id, stray.reference, now, told);
        let has_traded = stray.traded.is_positive();
        if let (false, Some(known)) = (has_traded, self.known.get(&id)) {
            told(Told::Order(known.report()));
        } else if let Some(lookup) = &mut self.lookup {
            lookup.results.push_back(id);
        }
    }
}

fn stray_of(reference: VenueRef, market: Market, row: &OrderRow<'_>) -> Option<Stray> {
    Some(Stray {
        reference,
        market,
        side: side_of(row.side?)?,
        limit: row
            .price
            .as_ref()
            .and_then(|price| price.units())
            .map(Price),
        resting: Some(Quantity(row.amount.as_ref()?.units()?)),
        traded: Quantity::ZERO,
    })
}
