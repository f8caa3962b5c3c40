//! What happened in simulated worlds, added up.

use std::collections::BTreeMap;

use crate::execution::order::OrderState;
use crate::execution::plan::LegState;
use crate::offer::gather::CandidateState;
use crate::offer::hold::HoldState;
use crate::offer::origin::OriginState;
use crate::telemetry::transitions::Transitions;

/// Counters of one world or of many.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    pub orders: Transitions<6>,
    pub legs: Transitions<5>,
    pub holds: Transitions<7>,
    pub own_offers: Transitions<7>,
    pub matches: Transitions<7>,
    /// Every fault that struck, by name.
    pub faults: BTreeMap<&'static str, u64>,
    pub offers: u64,
    pub plans: u64,
    pub steps: u64,
    pub sim_seconds: u64,
    pub endings: BTreeMap<&'static str, u64>,
    pub skipped: BTreeMap<&'static str, u64>,
    pub messages: BTreeMap<&'static str, u64>,
}

impl Tallies {
    pub fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        self.orders.add(&other.orders);
        self.legs.add(&other.legs);
        self.holds.add(&other.holds);
        self.own_offers.add(&other.own_offers);
        self.matches.add(&other.matches);
        self.offers += other.offers;
        self.plans += other.plans;
        self.steps += other.steps;
        self.sim_seconds += other.sim_seconds;
        let pairs = [
            (&mut self.faults, &other.faults),
            (&mut self.endings, &other.endings),
            (&mut self.skipped, &other.skipped),
            (&mut self.messages, &other.messages),
        ];
        for (sums, more) in pairs {
            for (name, count) in more {
                *sums.entry(name).or_default() += count;
            }
        }
    }

    /// Lists every step of every machine with its count: (machine, from, to, count).
    pub fn transitions(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
        let mut rows = Vec::new();
        for (from, to) in OrderState::STEPS {
            let count = self.orders.of(from as usize, to as usize);
            rows.push(("order", from.word(), to.word(), count));
        }
        for (from, to) in LegState::STEPS {
            let count = self.legs.of(from as usize, to as usize);
            rows.push(("leg", from.word(), to.word(), count));
        }
        for (from, to) in HoldState::STEPS {
            let count = self.holds.of(from as usize, to as usize);
            rows.push(("hold", from.word(), to.word(), count));
        }
        for (from, to) in OriginState::STEPS {
            let words = OriginState::WORDS;
            rows.push((
                "offer",
                words[from],
                words[to],
                self.own_offers.of(from, to),
            ));
        }
        for (from, to) in CandidateState::STEPS {
            let count = self.matches.of(from as usize, to as usize);
            rows.push(("match", from.word(), to.word(), count));
        }
        rows
    }

    /// Returns the steps that were taken but are not drawn in any machine's diagram.
    pub fn undrawn(&self) -> Vec<String> {
        let mut found = Vec::new();
        for from in OrderState::ALL {
            for to in OrderState::ALL {
                let count = self.orders.of(from as usize, to as usize);
                if count > 0 && !OrderState::STEPS.contains(&(from, to)) {
                    found.push(format!("order {} → {}: {count}", from.word(), to.word()));
                }
            }
        }
        for from in LegState::ALL {
            for to in LegState::ALL {
                let count = self.legs.of(from as usize, to as usize);
                if count > 0 && !LegState::STEPS.contains(&(from, to)) {
                    found.push(format!("leg {} → {}: {count}", from.word(), to.word()));
                }
            }
        }
        for from in HoldState::ALL {
            for to in HoldState::ALL {
                let count = self.holds.of(from as usize, to as usize);
                if count > 0 && !HoldState::STEPS.contains(&(from, to)) {
                    found.push(format!("hold {} → {}: {count}", from.word(), to.word()));
                }
            }
        }
        for (from, from_word) in OriginState::WORDS.into_iter().enumerate() {
            for (to, to_word) in OriginState::WORDS.into_iter().enumerate() {
                let count = self.own_offers.of(from, to);
                if count > 0 && !OriginState::STEPS.contains(&(from, to)) {
                    found.push(format!("offer {from_word} → {to_word}: {count}"));
                }
            }
        }
        for from in CandidateState::ALL {
            for to in CandidateState::ALL {
                let count = self.matches.of(from as usize, to as usize);
                if count > 0 && !CandidateState::STEPS.contains(&(from, to)) {
                    found.push(format!("match {} → {}: {count}", from.word(), to.word()));
                }
            }
        }
        found
    }
}
