//! What became of orders whose fate is unknown, and the reading of the history of trades.
//!
//! 1. The open orders: those with a known name stand there, or are over.
//! 2. The history, on from the last trade that is known.
//! 3. Orders without a name are recognised among the open ones and the traded ones that are nobody's.

use std::collections::BTreeMap;

use crate::model::ids::OrderId;
use crate::model::instrument::Market;
use crate::model::number::{Price, Quantity};
use crate::model::time::{Span, Time};
use crate::model::trade::{OrderIntent, VenueRef};
use crate::venue::btce::order::{BtceOrders, Known, Traded};
use crate::venue::btce::shape::{HistoryRow, OrderRow, pair_of, quantity_of, side_of};
use crate::venue::literal::Excess;
use crate::venue::recognise::{Found, Stray, recognise};
use crate::venue::{OrdersQuery, ReplyError, Told};

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
}

impl Lookup {
    /// Pages of the history that are read for one question.
    const PAGES_MAX: u32 = 40;
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
        self.recognise_strays(told);
        let about = self.lookup.take().map(|lookup| lookup.about);
        for intent in about.unwrap_or_default() {
            let has_name = self
                .known
                .get(&intent.id)
                .is_some_and(|known| known.reference.is_some());
            if has_name && !self.tell(intent.id, now, told) {
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
        let since_s = lookup.since.since(Time::ZERO + Self::SLACK).0 / Span::SECOND.0;
        let recent = strays.iter().filter(|(_, at_s)| *at_s >= since_s);
        lookup.strays = recent.map(|(stray, _)| *stray).collect();
        for intent in &lookup.about {
            let Some(known) = self.known.get_mut(&intent.id) else {
                continue;
            };
            match listed.get(&intent.id) {
                Some(resting) => {
                    known.remaining = known.remaining.min(*resting);
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
            None => return Ok(false),
        };
        let mut fresh = Vec::new();
        for (trade, row) in &rows {
            if self.history.last.is_some_and(|last| *trade <= last) {
                continue;
            }
            let pair = pair_of(&row.pair).ok_or(ReplyError::Unknown)?;
            let side = side_of(&row.side).ok_or(ReplyError::Unknown)?;
            let quantity = quantity_of(&row.amount).ok_or(ReplyError::Unknown)?;
            let rate = row
                .rate
                .units(Excess::Refused)
                .map_err(|_| ReplyError::Unknown)?;
            let traded = Traded {
                quantity,
                total: Price(rate).total_floor(quantity),
            };
            fresh.push((VenueRef(u128::from(row.order_id)), pair, side, traded));
        }
        for (reference, pair, side, traded) in fresh {
            let known = self.names.get(&reference);
            if let Some(known) = known.and_then(|id| self.known.get_mut(id)) {
                known.traded.add(traded);
                continue;
            }
            let empty = (pair, side, Traded::default());
            let stray = self.history.strays.entry(reference).or_insert(empty);
            stray.2.add(traded);
            while self.history.strays.len() > Self::STRAYS_MAX {
                self.history.strays.pop_first();
            }
        }
        if let Some(last) = rows.keys().next_back() {
            let known = self.history.last.unwrap_or(0);
            self.history.last = Some(known.max(*last));
        }
        Ok(rows.len() >= Self::TRADES_MAX)
    }

    /// Names the orders of which nothing ever rested: each is the one in the history with its
    /// amount.
    pub(super) fn name_whole_orders(&mut self, told: &mut dyn FnMut(Told)) {
        let whole: Vec<OrderIntent> = self
            .known
            .values()
            .filter(|known| {
                known.reference.is_none() && known.remaining.is_zero() && !known.is_ended
            })
            .map(|known| known.intent)
            .collect();
        if whole.is_empty() {
            return;
        }
        let strays = self.traded_strays();
        for found in recognise(&whole, &strays) {
            match found {
                Found::Is(id, reference) => self.bind(id, reference, told),
                Found::Ambiguous(id) => told(Told::Ambiguous(id)),
            }
        }
    }

    fn recognise_strays(&mut self, told: &mut dyn FnMut(Told)) {
        let Some(lookup) = &self.lookup else { return };
        let is_nameless = |id: &OrderId| {
            let known = self.known.get(id);
            known.is_some_and(|known| known.reference.is_none())
        };
        let nameless = lookup.about.iter().filter(|intent| is_nameless(&intent.id));
        let about: Vec<OrderIntent> = nameless.copied().collect();
        if about.is_empty() {
            return;
        }
        let mut strays = self.traded_strays();
        for open in &lookup.strays {
            match strays
                .iter_mut()
                .find(|stray| stray.reference == open.reference)
            {
                Some(stray) => {
                    stray.resting = open.resting;
                    stray.limit = open.limit;
                }
                None => strays.push(*open),
            }
        }
        for found in recognise(&about, &strays) {
            match found {
                Found::Ambiguous(id) => told(Told::Ambiguous(id)),
                Found::Is(id, reference) => {
                    let stray = strays.iter().find(|stray| stray.reference == reference);
                    self.adopt_stray(id, stray, told);
                }
            }
        }
    }

    fn adopt_stray(&mut self, id: OrderId, stray: Option<&Stray>, told: &mut dyn FnMut(Told)) {
        let (Some(stray), Some(known)) = (stray, self.known.get_mut(&id)) else {
            return;
        };
        if known.intent.quantity.is_zero() {
            let resting = stray.resting.unwrap_or_default();
            known.intent.quantity = resting.saturating_add(stray.traded);
            known.intent.limit = stray.limit.unwrap_or(known.intent.limit);
        }
        known.remaining = match stray.resting {
            Some(resting) => resting,
            None => known.intent.quantity.less(stray.traded),
        };
        known.is_removed = stray.resting.is_none();
        self.bind(id, stray.reference, told);
    }

    fn traded_strays(&self) -> Vec<Stray> {
        self.history
            .strays
            .iter()
            .map(|(reference, (pair, side, traded))| Stray {
                reference: *reference,
                market: Market {
                    venue: self.venue,
                    pair: *pair,
                },
                side: *side,
                limit: None,
                resting: None,
                traded: traded.quantity,
            })
            .collect()
    }

    /// Reads a list that the exchange gives as an object by number; `None` where it is empty, which
    /// is an error there.
    fn listed<'a, T: serde::Deserialize<'a>>(
        &mut self,
        body: &'a [u8],
    ) -> Result<Option<BTreeMap<u64, T>>, ReplyError> {
        let envelope: crate::venue::btce::shape::Envelope<'a> =
            serde_json::from_slice(body).map_err(|_| ReplyError::Unknown)?;
        let is_empty = matches!(envelope.error.as_deref(), Some("no orders" | "no trades"));
        if envelope.success == 0 && is_empty {
            return Ok(None);
        }
        self.content(body).map(Some)
    }
}
