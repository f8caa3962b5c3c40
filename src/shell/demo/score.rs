//! The story while it happens: what was seen first, and then how it goes on.

use crate::model::time::Span;
use crate::node::Totals;
use crate::offer::origin::OwnOffer;
use crate::shell::demo::stage::Stage;

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct Score {
    links: usize,
    legs: u64,
    told_at: Span,
    told: Vec<&'static str>,
    offers: Vec<(crate::model::ids::OfferId, String)>,
}

/// How often progress is told.
const TELL_EVERY: Span = Span::secs(2);

impl Score {
    /// Looks at all nodes and tells what is new.
    pub(super) fn follow(&mut self, stage: &Stage, at: Span, say: &mut dyn FnMut(&str)) {
        let totals = all(stage);
        let mut tell = |text: String| say(&format!("{:>5} ms  {text}", at.as_millis()));
        let links: usize = stage
            .actors
            .iter()
            .map(|actor| actor.look(|node| node.links_ready()))
            .sum();
        if links > self.links {
            self.links = links;
            if links == 2 * crate::shell::demo::cast::LINKS.len() {
                tell("every listed pair of nodes is linked over QUIC".to_owned());
            }
        }
        let mut first = |is_so: bool, what: &'static str| {
            if is_so && !self.told.contains(&what) {
                self.told.push(what);
                tell(what.to_owned());
            }
        };
        first(totals.opportunities > 0, "a spread pays after every cost");
        first(totals.legs_fired > 0, "legs leave, each beside its venue");
        first(
            totals.legs_filled > 1,
            "both venues filled: own funds first",
        );
        first(
            totals.offers > 0,
            "own funds ran out with the window open: the remainder is offered",
        );
        first(
            totals.partial_matches > 0,
            "providers answer with partial matches",
        );
        first(
            totals.aggregates > 0,
            "C answers with the sum of its providers",
        );
        for actor in &stage.actors {
            let offers: Vec<OwnOffer> =
                actor.look(|node| node.origins().closed().cloned().collect());
            for own in offers.iter().filter(|own| own.received().is_positive()) {
                let id = own.offer.id;
                if !self.offers.iter().any(|(known, _)| *known == id) {
                    let line = &own.offer.line;
                    let text = format!(
                        "{} offered {line}: {} matched for {} {}",
                        actor.role.name,
                        own.tally().filled,
                        own.received(),
                        line.want
                    );
                    if self.offers.len() < 5 {
                        tell(text.clone());
                    }
                    self.offers.push((id, text));
                }
            }
        }
        if at.less(self.told_at) >= TELL_EVERY {
            self.told_at = at;
            if totals.legs_filled != self.legs {
                self.legs = totals.legs_filled;
                tell(format!(
                    "{} plans taken, {} legs filled, {} offers, {} matches",
                    totals.taken, totals.legs_filled, totals.offers, totals.partial_matches
                ));
            }
        }
    }

    /// Returns true once every part of the path was seen.
    pub(super) fn is_complete(&self) -> bool {
        self.offers.len() >= 3 && self.told.len() >= 6
    }
}

/// Sums up what all nodes count.
pub(super) fn all(stage: &Stage) -> Totals {
    let mut sum = Totals::default();
    for actor in &stage.actors {
        let totals = actor.look(|node| node.totals().clone());
        sum.opportunities += totals.opportunities;
        sum.taken += totals.taken;
        sum.legs_fired += totals.legs_fired;
        sum.legs_filled += totals.legs_filled;
        sum.legs_failed += totals.legs_failed;
        sum.offers += totals.offers;
        sum.partial_matches += totals.partial_matches;
        sum.aggregates += totals.aggregates;
        for (of, into) in [
            (&totals.skipped, &mut sum.skipped),
            (&totals.endings, &mut sum.endings),
            (&totals.fires_refused, &mut sum.fires_refused),
        ] {
            for (word, count) in of {
                *into.entry(*word).or_default() += count;
            }
        }
        for (reason, units) in &totals.missed {
            *sum.missed.entry(*reason).or_default() += units;
        }
        for (currency, tally) in &totals.tallies {
            let into = sum.tallies.entry(*currency).or_default();
            *into = into.plus(*tally);
        }
        for (currency, units) in &totals.earned {
            *sum.earned.entry(*currency).or_default() += units;
        }
    }
    sum
}
