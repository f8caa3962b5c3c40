//! What came of a demo, and whether every unit is accounted for.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::currency::Currency;
use crate::model::instrument::{Instrument, Location};
use crate::model::market::{FeeIn, Side};
use crate::model::number::Quantity;
use crate::model::offer::Tally;
use crate::model::time::Span;
use crate::offer::hold::HoldState;
use crate::shell::demo::cast::{Kind, Script};
use crate::shell::demo::score;
use crate::shell::demo::stage::{Actor, Stage};
use crate::venue::serving::{AccountAudit, Audit};

/// The figures of one demo.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub opportunities: u64,
    pub taken: u64,
    pub skipped: BTreeMap<String, u64>,
    /// What the skipped ones would have earned net of costs, by reason, with its currency.
    pub skipped_money: BTreeMap<String, String>,
    pub legs: LegCounts,
    /// Orders as the venues count them, by venue.
    pub venues: BTreeMap<String, OrderCounts>,
    pub offers: u64,
    pub partial_matches: u64,
    pub aggregates: u64,
    pub planned: BTreeMap<String, String>,
    pub filled: BTreeMap<String, String>,
    pub offered: BTreeMap<String, String>,
    pub released: BTreeMap<String, String>,
    pub pnl: BTreeMap<String, String>,
    pub conserved: bool,
    /// What does not add up; empty where `conserved`.
    pub unaccounted: Vec<String>,
    pub wall_s: u64,
}

/// Legs by what came of them, and plans whose legs differed.
#[derive(Clone, Debug, Serialize)]
pub struct LegCounts {
    pub fired: u64,
    pub filled: u64,
    /// Refused or unfilled.
    pub failed: u64,
    /// Legs that the node beside the venue did not send, by reason.
    pub refused: BTreeMap<String, u64>,
    pub unwound: u64,
    pub held: u64,
}

/// Orders of the trader beside a venue, in the venue's own books.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct OrderCounts {
    pub orders: usize,
    pub filled: usize,
}

impl Report {
    pub(super) fn of(stage: &Stage, script: &Script, audits: &[Audit], wall: Span) -> Self {
        let totals = score::all(stage);
        let tallies = tallies(stage);
        let ending = |word: &str| totals.endings.get(word).copied().unwrap_or_default();
        let by = |part: fn(&Tally) -> Quantity| -> BTreeMap<String, String> {
            let texts = tallies.iter();
            texts
                .map(|(currency, tally)| (currency.to_string(), part(tally).to_string()))
                .collect()
        };
        let unaccounted = unaccounted(stage, script, audits, &tallies);
        Self {
            opportunities: totals.opportunities,
            taken: totals.taken,
            skipped: words(&totals.skipped),
            skipped_money: totals
                .missed
                .iter()
                .map(|((why, quote), units)| {
                    let money = format!("{} {quote}", Quantity(*units));
                    ((*why).to_owned(), money)
                })
                .collect(),
            legs: LegCounts {
                fired: totals.legs_fired,
                filled: totals.legs_filled,
                failed: totals.legs_failed,
                refused: words(&totals.fires_refused),
                unwound: ending("unwound"),
                held: ending("held"),
            },
            venues: script
                .venues
                .iter()
                .zip(audits)
                .map(|(part, audit)| (part.name.to_owned(), order_counts(audit)))
                .collect(),
            offers: totals.offers,
            partial_matches: totals.partial_matches,
            aggregates: totals.aggregates,
            planned: by(|tally| tally.planned),
            filled: by(|tally| tally.filled),
            offered: by(|tally| tally.offered),
            released: by(|tally| tally.released),
            pnl: totals
                .earned
                .iter()
                .map(|(currency, units)| (currency.to_string(), Quantity(*units).to_string()))
                .collect(),
            conserved: unaccounted.is_empty(),
            unaccounted,
            wall_s: wall.0 / Span::SECOND.0,
        }
    }
}

fn order_counts(audit: &Audit) -> OrderCounts {
    let orders = || audit.accounts.iter().flat_map(|account| &account.orders);
    OrderCounts {
        orders: orders().count(),
        filled: orders()
            .filter(|order| order.filled.quantity.is_positive())
            .count(),
    }
}

fn words(counts: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counts
        .iter()
        .map(|(word, count)| ((*word).to_owned(), *count))
        .collect()
}

/// Sums closed and open plans and offers of all nodes, by the currency they give.
fn tallies(stage: &Stage) -> BTreeMap<Currency, Tally> {
    let mut sums: BTreeMap<Currency, Tally> = BTreeMap::new();
    let mut add = |currency: Currency, tally: Tally| {
        let sum = sums.entry(currency).or_default();
        *sum = sum.plus(tally);
    };
    for actor in &stage.actors {
        actor.look(|node| {
            for (currency, tally) in &node.totals().tallies {
                add(*currency, *tally);
            }
            for plan in node.plans().iter() {
                add(plan.buy.pair.base, plan.tally());
            }
            for own in node.origins().open() {
                add(own.offer.line.give, own.tally());
            }
        });
    }
    sums
}

/// Lists everything that does not add up, in words.
fn unaccounted(
    stage: &Stage,
    script: &Script,
    audits: &[Audit],
    tallies: &BTreeMap<Currency, Tally>,
) -> Vec<String> {
    let mut found = Vec::new();
    if !stage.is_quiet() {
        found.push("something is still under way".to_owned());
    }
    for (currency, tally) in tallies {
        if !tally.is_conserved() {
            found.push(format!(
                "{currency}: planned is not filled + offered + released"
            ));
        }
    }
    for actor in &stage.actors {
        if let Kind::Trader(index) = actor.role.kind {
            let audit = audits.get(index).cloned().unwrap_or_default();
            check_venue(actor, index, script, &audit, &mut found);
        }
    }
    check_matches(stage, &mut found);
    found
}

/// Initial + trades − fees = final at the venue, and the node reckons the same.
fn check_venue(
    actor: &Actor,
    index: usize,
    script: &Script,
    audit: &Audit,
    found: &mut Vec<String>,
) {
    let part = &script.venues[index];
    if audit.imbalance.is_some() || audit.duplicates > 0 {
        found.push(format!("venue {}: its own books are off", part.name));
    }
    let Some(account) = audit.accounts.first() else {
        found.push(format!("venue {}: no account", part.name));
        return;
    };
    let Ok(venue) = part.name.parse() else {
        return;
    };
    for (currency, initial) in script.funds(index) {
        let at = Location::Venue(venue);
        let node = actor.look(|node| node.funds().free(Instrument { currency, at }));
        let traded = traded(account, part.rules.fee_in, currency);
        let balance = account.balances.iter().find(|(of, ..)| *of == currency);
        let last = balance.map_or(0, |(_, free, held)| i128::from(free.0) + i128::from(held.0));
        if i128::from(initial.0) + traded != last {
            found.push(format!("venue {}: {currency} is off its trades", part.name));
        }
        if i128::from(node.0) != last {
            let place = part.name;
            let last = last - i128::from(node.0);
            found.push(format!(
                "node {}: {currency} at {place} is off by {last}",
                actor.role.name
            ));
        }
    }
}

fn traded(account: &AccountAudit, fee_in: FeeIn, currency: Currency) -> i128 {
    let orders = account.orders.iter();
    orders
        .map(|order| {
            let filled = &order.filled;
            let (base, quote) = match order.side {
                Side::Bid => (filled.quantity.0, -filled.total.0),
                Side::Ask => (-filled.quantity.0, filled.total.0),
            };
            let is_base = order.pair.base == currency;
            let fee_in_base = fee_in == FeeIn::Received && order.side == Side::Bid;
            let fee = if is_base == fee_in_base {
                filled.fee.0
            } else {
                0
            };
            i128::from(if is_base { base } else { quote }) - i128::from(fee)
        })
        .sum()
}

/// What origins count as filled is what matchers are bound to.
fn check_matches(stage: &Stage, found: &mut Vec<String>) {
    let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
    for actor in &stage.actors {
        actor.look(|node| {
            for own in node.origins().open().chain(node.origins().closed()) {
                *sums.entry(own.offer.line.give).or_default() += i128::from(own.tally().filled.0);
            }
            let is_bound = |state| matches!(state, HoldState::Confirmed | HoldState::Sealed);
            let holds = node.holds().open().chain(node.holds().sealed());
            for hold in holds.filter(|hold| is_bound(hold.state)) {
                *sums.entry(hold.give).or_default() -= i128::from(hold.part.quantity.0);
            }
        });
    }
    for (currency, gap) in sums.into_iter().filter(|(_, gap)| *gap != 0) {
        found.push(format!(
            "{currency}: origins and matchers differ by {gap} units"
        ));
    }
}
