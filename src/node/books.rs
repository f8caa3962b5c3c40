//! Every book the node knows, its own and its peers', with what their best prices mean to each other.

use std::collections::BTreeMap;

use crate::arbitrage;
use crate::arbitrage::bests::{Bests, Slot};
use crate::book::Book;
use crate::model::ids::NodeId;
use crate::model::instrument::Market;
use crate::model::market::{Rules, Side};
use crate::model::time::Time;

/// A book, its own or a peer's.
#[derive(Debug)]
pub(super) struct BookState {
    pub(super) book: Book,
    pub(super) rules: Rules,
    /// `None` for a market beside this node.
    pub(super) holder: Option<NodeId>,
    pub(super) quote_at: Time,
    /// The last quote sent of an own book, or heard of a peer's on this connection.
    pub(super) quote_number: u64,
    /// Where its best prices are kept; `None` where there is no more room, and it is not traded on.
    slot: Option<Slot>,
}

/// The books by market. Whoever changes one does so through a closure, behind which its best prices
/// are compared with all others.
#[derive(Debug, Default)]
pub(super) struct Books {
    states: BTreeMap<Market, BookState>,
    bests: Bests,
}

impl BookState {
    pub(super) fn new(
        market: Market,
        rules: Rules,
        holder: Option<NodeId>,
        quote_at: Time,
    ) -> Self {
        Self {
            book: Book::new(market),
            rules,
            holder,
            quote_at,
            quote_number: 0,
            slot: None,
        }
    }
}

impl Books {
    pub(super) fn get(&self, market: &Market) -> Option<&BookState> {
        self.states.get(market)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Market> {
        self.states.keys()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &BookState> {
        self.states.values()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Market, &BookState)> {
        self.states.iter()
    }

    /// Adds a book, or puts another one in its place.
    pub(super) fn insert(&mut self, mut state: BookState, settings: &arbitrage::Settings) {
        let market = state.book.market();
        state.slot = self
            .bests
            .add(market, settings.bounds(market, &state.rules));
        self.states.insert(market, state);
    }

    /// Takes what a venue demands and takes, as it was told anew.
    pub(super) fn set_rules(
        &mut self,
        market: Market,
        rules: Rules,
        settings: &arbitrage::Settings,
    ) {
        if let Some(state) = self.states.get_mut(&market) {
            state.rules = rules;
            state.slot = self.bests.add(market, settings.bounds(market, &rules));
            note(state, &mut self.bests);
        }
    }

    /// Removes the books that `keeps` does not keep.
    pub(super) fn retain(&mut self, keeps: impl Fn(&BookState) -> bool) {
        let bests = &mut self.bests;
        self.states.retain(|_, state| {
            let is_kept = keeps(state);
            if let (false, Some(slot)) = (is_kept, state.slot) {
                bests.remove(slot);
            }
            is_kept
        });
    }

    /// Changes one book.
    pub(super) fn change<R>(
        &mut self,
        market: &Market,
        change: impl FnOnce(&mut BookState) -> R,
    ) -> Option<R> {
        let state = self.states.get_mut(market)?;
        let result = change(state);
        note(state, &mut self.bests);
        Some(result)
    }

    /// Changes every book that `concerns` names.
    pub(super) fn change_all(
        &mut self,
        concerns: impl Fn(&Market, &BookState) -> bool,
        mut change: impl FnMut(&Market, &mut BookState),
    ) {
        for (market, state) in &mut self.states {
            if concerns(market, state) {
                change(market, state);
                note(state, &mut self.bests);
            }
        }
    }

    /// Appends the directions that may pay with a market, as where to buy and where to sell.
    pub(super) fn crossing(&self, market: &Market, directions: &mut Vec<(Market, Market)>) {
        let slot = self.states.get(market).and_then(|state| state.slot);
        if let Some(slot) = slot.filter(|slot| self.bests.crosses(*slot)) {
            directions.extend(self.bests.crossing(slot));
        }
    }
}

/// Compares the best prices of a book with all others, whatever state it is in: what seems to pay on
/// a book that is not live is counted as skipped.
fn note(state: &mut BookState, bests: &mut Bests) {
    let best = |side| state.book.depth(side).best().map(|level| level.price);
    let (ask, bid) = (best(Side::Ask), best(Side::Bid));
    if let Some(slot) = state.slot {
        bests.set(slot, ask, bid);
    }
}
