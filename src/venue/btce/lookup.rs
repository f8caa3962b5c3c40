//! What became of orders whose fate is unknown, and the reading of the history of trades.
//!
//! 1. The open orders: those with a known name stand there, or are over.
//! 2. The history, on from the last trade that is known.
//! 3. An order without a name is recognised among the open ones that are nobody's and the trades that
//!    are: what rests and what was traded are together what was ordered, which no other open order
//!    of ours there is. Two that may be it, and nobody decides but the owner.
//!
//! Nonces only rise: what a list held that was answered after an order was lost is what the order
//! came to, unless the exchange refused it in front and went on with it behind. So trades that came
//! later are an order's only where no other order explains them.

use std::collections::BTreeMap;

use crate::model::ids::OrderId;
use crate::model::instrument::Market;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::time::{Span, Time};
use crate::model::trade::{Filled, OrderIntent, VenueRef};
use crate::venue::btce::history::{Row, Sought};
use crate::venue::btce::order::{BtceOrders, Known};
use crate::venue::btce::shape::{Envelope, HistoryRow, OrderRow, pair_of, quantity_of, side_of};
use crate::venue::btce::style::ListShape;
use crate::venue::literal::Excess;
use crate::venue::recognise::Stray;
use crate::venue::{OrdersQuery, ReplyError, Told};

/// How late the trades of an order may have come.
#[derive(Clone, Copy, Debug)]
enum Reach {
    /// Before the first list that should have held it.
    Settled,
    /// While the exchange may still have been at work on it.
    Lingering,
}

/// One question about orders, while it is being answered.
#[derive(Debug)]
pub(super) struct Lookup {
    about: Vec<OrderIntent>,
    since: Time,
    is_history: bool,
    /// The request of this step is on its way.
    is_asked: bool,
    /// Orders that the exchange lists and that are nobody's.
    strays: Vec<Stray>,
    /// Pages of the history read.
    pages: u32,
    /// Answers that did not come or could not be read.
    failures: u32,
}

impl Lookup {
    /// Pages of the history that are read for one question.
    const PAGES_MAX: u32 = 40;
    /// Answers that may fail before the question is given up, to be asked anew.
    const FAILURES_MAX: u32 = 8;
}

impl BtceOrders {
    pub(super) fn begin_lookup(
        &mut self,
        query: &OrdersQuery<'_>,
        now: Time,
        request: &mut Vec<u8>,
    ) {
        for intent in query.about {
            self.known
                .entry(intent.id)
                .or_insert_with(|| Known::new(*intent, now));
        }
        self.lookup = Some(Lookup {
            about: query.about.to_vec(),
            since: query.since,
            is_history: false,
            is_asked: true,
            strays: Vec::new(),
            pages: 0,
            failures: 0,
        });
        self.write("ActiveOrders", "", request);
    }

    /// Appends the request of the next step, if one is to be made.
    pub(super) fn write_lookup_step(&mut self, _now: Time, request: &mut Vec<u8>) -> bool {
        let Some(lookup) = self.lookup.as_mut().filter(|lookup| !lookup.is_asked) else {
            return false;
        };
        lookup.is_asked = true;
        let since = lookup.since;
        self.write_history(since, request);
        true
    }

    /// Asks the step again whose answer failed, some times.
    pub(super) fn ask_again(&mut self, told: &mut dyn FnMut(Told)) -> Result<(), ReplyError> {
        let lookup = self
            .lookup
            .as_mut()
            .filter(|lookup| lookup.is_history && lookup.failures < Lookup::FAILURES_MAX);
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
        let is_history = self.lookup.as_ref().map(|lookup| lookup.is_history);
        if !is_history.ok_or(ReplyError::Unknown)? {
            self.read_active(body)?;
            if let Some(lookup) = &mut self.lookup {
                lookup.is_history = true;
                lookup.is_asked = false;
            }
            told(Told::More);
            return Ok(());
        }
        let is_more = self.read_history(body)?;
        let Some(lookup) = &mut self.lookup else {
            return Ok(());
        };
        lookup.pages += 1;
        if is_more && lookup.pages >= Lookup::PAGES_MAX {
            return Err(ReplyError::Unknown);
        }
        if is_more {
            lookup.is_asked = false;
            told(Told::More);
            return Ok(());
        }
        self.find_due(told);
        self.recognise_strays(told);
        let about = self.lookup.take().map(|lookup| lookup.about);
        let last = self.history.last.unwrap_or(0);
        for intent in about.unwrap_or_default() {
            let Some(known) = self.known.get_mut(&intent.id) else {
                continue;
            };
            let is_found = known.reference.is_some() || known.is_removed;
            if !is_found {
                known.settled_by.get_or_insert(last);
            }
            if is_found && !self.tell(intent.id, now, told) {
                // To say nothing of it would count it as absent.
                return Err(ReplyError::Unknown);
            }
        }
        told(Told::End);
        Ok(())
    }

    fn read_active(&mut self, body: &[u8]) -> Result<(), ReplyError> {
        let rows: BTreeMap<u64, OrderRow<'_>> = self.listed(body)?.unwrap_or_default();
        let mut listed = BTreeMap::new();
        let mut strays = Vec::new();
        for (name, row) in &rows {
            let reference = VenueRef(u128::from(*name));
            // What is not of our pairs is nobody's concern here.
            let pair = pair_of(&row.pair).filter(|pair| self.pairs.contains(pair));
            let Some(pair) = pair else { continue };
            let resting = quantity_of(&row.amount).ok_or(ReplyError::Unknown)?;
            match self.names.get(&reference) {
                Some(id) => {
                    listed.insert(*id, resting);
                }
                None => strays.push((
                    Stray {
                        reference,
                        market: Market {
                            venue: self.venue,
                            pair,
                        },
                        side: side_of(&row.side).ok_or(ReplyError::Unknown)?,
                        limit: row.rate.units(Excess::Refused).ok().map(Price),
                        resting: Some(resting),
                        traded: Quantity::ZERO,
                    },
                    row.timestamp_created,
                )),
            }
        }
        let Some(lookup) = &mut self.lookup else {
            return Ok(());
        };
        let since_s = since_s(lookup.since);
        let recent = strays.iter().filter(|(_, at_s)| *at_s >= since_s);
        lookup.strays = recent.map(|(stray, _)| *stray).collect();
        for intent in &lookup.about {
            let Some(known) = self.known.get_mut(&intent.id) else {
                continue;
            };
            match listed.get(&intent.id) {
                Some(resting) => {
                    let traded = known.intent.quantity.less(*resting);
                    known.traded_min = known.traded_min.max(traded);
                    known.is_removed = false;
                }
                None if known.reference.is_some() => known.is_removed = true,
                None => (),
            }
        }
        Ok(())
    }

    /// Reads a page of the history; returns true where there may be more.
    pub(super) fn read_history(&mut self, body: &[u8]) -> Result<bool, ReplyError> {
        let rows: BTreeMap<u64, HistoryRow<'_>> = match self.listed(body)? {
            Some(rows) => rows,
            None => {
                self.settle_lost();
                return Ok(false);
            }
        };
        let mut fresh = Vec::new();
        for (trade, row) in &rows {
            if self.history.last.is_none_or(|last| *trade > last) {
                fresh.push(self.row_of(*trade, row).ok_or(ReplyError::Unknown)?);
            }
        }
        for row in fresh.into_iter().flatten() {
            let named = self.names.get(&row.reference);
            let known = named.and_then(|id| self.known.get_mut(id));
            match known.filter(|known| known.claims(&row)) {
                Some(known) => known.add(&row),
                None => self.history.push(row),
            }
        }
        if let Some(last) = rows.keys().next_back() {
            let known = self.history.last.unwrap_or(0);
            self.history.last = Some(known.max(*last));
        }
        let is_more = rows.len() >= Self::TRADES_MAX;
        if !is_more {
            self.settle_lost();
        }
        Ok(is_more)
    }

    /// The history was read to its end: what was lost before it was asked for has traded by now.
    fn settle_lost(&mut self) {
        let last = self.history.last.unwrap_or(0);
        for known in self.known.values_mut().filter(|known| known.is_lost()) {
            known.settled_by.get_or_insert(last);
        }
    }

    /// Reads one trade; one of a market that is not ours is nothing.
    fn row_of(&self, trade: u64, row: &HistoryRow<'_>) -> Option<Option<Row>> {
        let pair = pair_of(&row.pair).filter(|pair| self.pairs.contains(pair));
        let Some(pair) = pair else { return Some(None) };
        let side = side_of(&row.side)?;
        let quantity = quantity_of(&row.amount)?;
        let rate = Price(row.rate.units(Excess::Refused).ok()?);
        let total = rate.total_floor(quantity);
        let received = match side {
            Side::Bid => quantity,
            Side::Ask => total,
        };
        Some(Some(Row {
            trade,
            reference: VenueRef(u128::from(row.order_id)),
            was_resting: row.is_your_order == 1,
            pair,
            side,
            filled: Filled {
                quantity,
                total,
                // A part of what is received, rounded up for every trade.
                fee: received.ppm_ceil(self.fee_ppm(pair)).min(received),
            },
            rate,
            at_s: row.timestamp,
        }))
    }

    /// Finds the orders in question that have no name among what is nobody's.
    fn recognise_strays(&mut self, told: &mut dyn FnMut(Told)) {
        let Some(lookup) = self.lookup.take() else {
            return;
        };
        let is_nameless = |id: &OrderId| {
            let known = self.known.get(id);
            known.is_some_and(|known| known.reference.is_none() && !known.is_removed)
        };
        let nameless = lookup.about.iter().filter(|intent| is_nameless(&intent.id));
        let (blank, about): (Vec<OrderIntent>, Vec<OrderIntent>) = nameless
            .copied()
            .partition(|intent| intent.quantity.is_zero());
        let mut open = lookup.strays.clone();
        let since_s = since_s(lookup.since);
        let mut left = about;
        for reach in [Reach::Settled, Reach::Lingering] {
            left.retain(|intent| {
                let sought = self.sought_within(intent, since_s, reach);
                !self.recognise(intent, &mut open, sought, told)
            });
            self.recognise_parts(&mut left, since_s, reach, told);
        }
        for intent in &blank {
            self.take_blank(intent, &mut open, since_s, told);
        }
        self.lookup = Some(lookup);
    }

    /// Finds one order by its amount; returns false where nothing may be it.
    fn recognise(
        &mut self,
        intent: &OrderIntent,
        open: &mut Vec<Stray>,
        sought: Sought,
        told: &mut dyn FnMut(Told),
    ) -> bool {
        let runs = |quantity: Quantity| self.history.runs(sought, quantity);
        // What rests of it, or rested until it was filled, and where the run of its trades begins.
        let mut may_be: Vec<(Option<Stray>, Option<u64>)> = Vec::new();
        for stray in self.rested(open) {
            if !stray.may_be(intent) {
                continue;
            }
            let accounted = stray
                .resting
                .unwrap_or_default()
                .saturating_add(stray.traded);
            match intent.quantity.less(accounted) {
                Quantity::ZERO if accounted == intent.quantity => {
                    may_be.push((Some(stray), None));
                }
                Quantity::ZERO => (),
                rest => {
                    let runs = runs(rest).into_iter();
                    may_be.extend(runs.map(|first| (Some(stray), Some(first))));
                }
            }
        }
        let whole = runs(intent.quantity).into_iter();
        may_be.extend(whole.map(|first| (None, Some(first))));
        let (stray, first) = match may_be[..] {
            [] => return false,
            [one] => one,
            [..] => {
                told(Told::Ambiguous(intent.id));
                return true;
            }
        };
        let mut quantity = intent.quantity;
        if let Some(stray) = stray {
            let resting = stray.resting.unwrap_or_default();
            quantity = quantity.less(resting).less(stray.traded);
            open.retain(|other| other.reference != stray.reference);
            self.bind(intent.id, stray.reference, told);
        }
        if let Some(known) = self.known.get_mut(&intent.id) {
            known.is_removed = stray.is_none_or(|stray| stray.resting.is_none());
        }
        if let Some(first) = first {
            self.bind_run(intent.id, first, quantity, told);
        }
        true
    }

    /// Returns the orders that rest or rested and are nobody's, with what they traded while they did.
    fn rested(&self, open: &[Stray]) -> Vec<Stray> {
        let mut rested = open.to_vec();
        for stray in &mut rested {
            stray.traded = self.history.named_quantity(stray.reference);
        }
        for (reference, pair, side) in self.history.resting_strays() {
            if rested.iter().any(|stray| stray.reference == reference) {
                continue;
            }
            rested.push(Stray {
                reference,
                market: Market {
                    venue: self.venue,
                    pair,
                },
                side,
                limit: None,
                resting: None,
                traded: self.history.named_quantity(reference),
            });
        }
        rested
    }

    /// An order whose rest was dropped or cancelled has lost its amount: where one such question and
    /// one moment's trades are left, they belong together. Takes out what was decided.
    fn recognise_parts(
        &mut self,
        left: &mut Vec<OrderIntent>,
        since_s: u64,
        reach: Reach,
        told: &mut dyn FnMut(Told),
    ) {
        let parts = |intent: &OrderIntent| -> Vec<(u64, Quantity)> {
            let sought = self.sought_within(intent, since_s, reach);
            let is_part = |(_, sum): &(u64, Quantity)| *sum < intent.quantity;
            let bursts = self.history.bursts(sought).into_iter();
            bursts.filter(is_part).collect()
        };
        let fits: Vec<(OrderId, Vec<(u64, Quantity)>)> = left
            .iter()
            .map(|intent| (intent.id, parts(intent)))
            .filter(|(_, parts)| !parts.is_empty())
            .collect();
        for (id, parts) in &fits {
            let rivals = fits
                .iter()
                .filter(|(_, others)| others.iter().any(|part| parts.contains(part)));
            match (&parts[..], rivals.count()) {
                ([(first, quantity)], 1) => {
                    if let Some(known) = self.known.get_mut(id) {
                        known.is_removed = true;
                    }
                    self.bind_run(*id, *first, *quantity, told);
                }
                _ => told(Told::Ambiguous(*id)),
            }
        }
        left.retain(|intent| fits.iter().all(|(id, _)| *id != intent.id));
    }

    fn sought_within(&self, intent: &OrderIntent, since_s: u64, reach: Reach) -> Sought {
        let known = self.known.get(&intent.id);
        let settled_by = known.and_then(|known| known.settled_by);
        let last = match reach {
            Reach::Settled => settled_by.unwrap_or(u64::MAX),
            Reach::Lingering => u64::MAX,
        };
        Sought {
            last,
            ..self.sought(intent, since_s)
        }
    }

    /// Gives what is left to a question that knows no amount: an open order, or trades of a moment.
    fn take_blank(
        &mut self,
        intent: &OrderIntent,
        open: &mut Vec<Stray>,
        since_s: u64,
        told: &mut dyn FnMut(Told),
    ) {
        let (pair, side) = (intent.market.pair, intent.side);
        let at = open.iter().position(|stray| stray.may_be(intent));
        let resting = self
            .history
            .resting_strays()
            .into_iter()
            .find(|(_, other_pair, other_side)| *other_pair == pair && *other_side == side);
        let burst = self
            .history
            .bursts(self.sought(intent, since_s))
            .first()
            .copied();
        let Some(known) = self.known.get_mut(&intent.id) else {
            return;
        };
        if let Some(at) = at {
            let stray = open.remove(at);
            known.intent.quantity = stray.resting.unwrap_or_default();
            known.intent.limit = stray.limit.unwrap_or(known.intent.limit);
            known.intent.quantity = known
                .intent
                .quantity
                .saturating_add(self.history.named_quantity(stray.reference));
            self.bind(intent.id, stray.reference, told);
        } else if let Some((reference, ..)) = resting {
            known.is_removed = true;
            known.intent.quantity = self.history.named_quantity(reference);
            self.bind(intent.id, reference, told);
        } else if let Some((first, quantity)) = burst {
            known.is_removed = true;
            known.intent.quantity = quantity;
            self.bind_run(intent.id, first, quantity, told);
        }
    }

    /// Reads a list that the exchange gives as an object by number; `None` where it is empty, which
    /// is an error there, or a success that lists nothing.
    fn listed<'a, T: serde::Deserialize<'a>>(
        &mut self,
        body: &'a [u8],
    ) -> Result<Option<BTreeMap<u64, T>>, ReplyError> {
        let envelope: Envelope<'a> =
            serde_json::from_slice(body).map_err(|_| ReplyError::Unknown)?;
        let is_empty = matches!(envelope.error.as_deref(), Some("no orders" | "no trades"));
        if envelope.success == 0 && is_empty {
            return Ok(None);
        }
        let is_bare = envelope.success == 1 && envelope.content.is_none();
        if is_bare && self.style.lists == ListShape::Yobit {
            return Ok(None);
        }
        self.content(body).map(Some)
    }
}

/// Returns the second before which nothing that is in question can have happened.
pub(super) fn since_s(since: Time) -> u64 {
    since.since(Time::ZERO + BtceOrders::SLACK).0 / Span::SECOND.0
}
