//! Which matches to take: most net proceeds, after the owner's haircut for each method.

use crate::model::currency::{Currency, Method};
use crate::model::ids::{MatchId, NodeId};
use crate::model::number::{Price, Quantity};
use crate::model::offer::Part;
use crate::model::time::Span;

/// A match that may be taken, whole or in part.
#[derive(Clone, Copy, Debug)]
pub struct Bid {
    pub part: Part,
    /// Least that may be taken of it, if any is.
    pub part_min: Quantity,
    pub haircut_ppm: u32,
    /// The method's place in the offer's order of preference.
    pub rank: usize,
    pub trust: u8,
    pub rtt: Span,
    pub peer: NodeId,
    pub id: MatchId,
}

/// What bounds the choice.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    pub quantity: Quantity,
    /// Nothing below this pays, haircut taken off.
    pub reserve: Price,
    pub want: Currency,
    pub method_caps: &'a [(Method, Currency, Quantity)],
}

/// Bids that are searched exactly; more are taken greedily, best first.
pub const EXACT_MAX: usize = 16;

/// Returns how much to take of which bid, as (place in `bids`, quantity).
///
/// A part can be taken down to its `part_min`, so best-first is exact unless a minimum stands in
/// the way; then up to 16 bids are searched for the best set.
pub fn best_set(bids: &[Bid], wanted: &Wanted<'_>) -> Vec<(usize, Quantity)> {
    let mut order: Vec<usize> = (0..bids.len())
        .filter(|place| net(&bids[*place]) >= wanted.reserve)
        .collect();
    order.sort_by_key(|place| {
        let bid = &bids[*place];
        (
            std::cmp::Reverse(net(bid)),
            bid.rank,
            std::cmp::Reverse(bid.trust),
            std::cmp::Reverse(bid.part.quantity),
            bid.rtt,
            bid.peer,
            bid.id,
        )
    });
    if order.len() > EXACT_MAX || !minimum_binds(bids, &order, wanted) {
        return allocate(bids, &order, wanted);
    }
    let mut search = Search {
        bids,
        wanted,
        order: &order,
        best: allocate(bids, &order, wanted),
        chosen: Vec::new(),
    };
    search.branch(0);
    search.best
}

/// Returns the price after the owner's haircut for the method.
pub fn net(bid: &Bid) -> Price {
    bid.part.price().moved_ppm(-i64::from(bid.haircut_ppm))
}

struct Search<'a> {
    bids: &'a [Bid],
    wanted: &'a Wanted<'a>,
    order: &'a [usize],
    best: Vec<(usize, Quantity)>,
    chosen: Vec<usize>,
}

impl Search<'_> {
    /// Tries every subset; within one, best-first with minima set aside is optimal.
    fn branch(&mut self, depth: usize) {
        let minima = self.chosen.iter().fold(Quantity::ZERO, |sum, place| {
            sum.saturating_add(self.bids[*place].part_min)
        });
        if minima > self.wanted.quantity {
            return;
        }
        if depth == self.order.len() {
            let taken = allocate_all(self.bids, &self.chosen, self.wanted);
            if self.value(&taken) > self.value(&self.best) {
                self.best = taken;
            }
            return;
        }
        self.chosen.push(self.order[depth]);
        self.branch(depth + 1);
        self.chosen.pop();
        self.branch(depth + 1);
    }

    fn value(&self, taken: &[(usize, Quantity)]) -> i128 {
        value(self.bids, taken, self.wanted)
    }
}

/// Returns what a set is worth above keeping the goods, in 1e-16 of the wanted currency.
pub fn value(bids: &[Bid], taken: &[(usize, Quantity)], wanted: &Wanted<'_>) -> i128 {
    taken
        .iter()
        .map(|(place, quantity)| {
            let above = net(&bids[*place]).0 - wanted.reserve.0;
            i128::from(above) * i128::from(quantity.0)
        })
        .sum()
}

fn minimum_binds(bids: &[Bid], order: &[usize], wanted: &Wanted<'_>) -> bool {
    let mut left = wanted.quantity;
    for place in order {
        let bid = &bids[*place];
        let free = left.min(capped(bids, &[], bid, wanted));
        if free < bid.part.quantity && free < bid.part_min {
            return true;
        }
        left = left.less(bid.part.quantity.min(free));
    }
    false
}

/// Best first; a bid whose minimum does not fit what is left is passed over.
fn allocate(bids: &[Bid], order: &[usize], wanted: &Wanted<'_>) -> Vec<(usize, Quantity)> {
    let mut taken: Vec<(usize, Quantity)> = Vec::new();
    let mut left = wanted.quantity;
    for place in order {
        let bid = &bids[*place];
        let cap = capped(bids, &taken, bid, wanted);
        let quantity = bid.part.quantity.min(left).min(cap);
        if quantity.is_positive() && quantity >= bid.part_min.min(bid.part.quantity) {
            taken.push((*place, quantity));
            left = left.less(quantity);
        }
    }
    taken
}

/// Gives every chosen bid its minimum, then fills best first.
fn allocate_all(bids: &[Bid], chosen: &[usize], wanted: &Wanted<'_>) -> Vec<(usize, Quantity)> {
    let mut taken: Vec<(usize, Quantity)> = Vec::new();
    let mut left = wanted.quantity;
    for place in chosen {
        let bid = &bids[*place];
        let least = bid.part_min.min(bid.part.quantity);
        if least > left.min(capped(bids, &taken, bid, wanted)) {
            return Vec::new();
        }
        taken.push((*place, least));
        left = left.less(least);
    }
    for index in 0..taken.len() {
        let (place, quantity) = taken[index];
        let bid = &bids[place];
        let cap = capped(bids, &taken, bid, wanted);
        let more = bid.part.quantity.less(quantity).min(left).min(cap);
        taken[index].1 = quantity.saturating_add(more);
        left = left.less(more);
    }
    taken
}

/// Returns how much of a bid its method's cap still allows.
fn capped(bids: &[Bid], taken: &[(usize, Quantity)], bid: &Bid, wanted: &Wanted<'_>) -> Quantity {
    let Some((.., cap)) = wanted
        .method_caps
        .iter()
        .find(|(method, currency, _)| *method == bid.part.method && *currency == wanted.want)
    else {
        return Quantity::MAX;
    };
    let used = taken
        .iter()
        .filter(|(place, _)| bids[*place].part.method == bid.part.method)
        .fold(Quantity::ZERO, |sum, (place, quantity)| {
            sum.saturating_add(bids[*place].part.shrunk_to(*quantity).total)
        });
    cap.less(used).bought_at(bid.part.price())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    fn bid(quantity: i64, price: i64, part_min: i64, id: u64) -> Bid {
        Bid {
            part: Part {
                quantity: Quantity::whole(quantity),
                total: Quantity::whole(quantity * price),
                method: Method::Sepa,
            },
            part_min: Quantity::whole(part_min),
            haircut_ppm: 0,
            rank: 0,
            trust: 5,
            rtt: Span::ZERO,
            peer: NodeId::default(),
            id: MatchId(id),
        }
    }

    fn wanted(quantity: i64, reserve: i64) -> Wanted<'static> {
        Wanted {
            quantity: Quantity::whole(quantity),
            reserve: Price::whole(reserve),
            want: Currency::USD,
            method_caps: &[],
        }
    }

    fn check(bids: &[Bid], wanted: &Wanted<'_>, expected: &[(usize, i64)]) {
        let expected: Vec<(usize, Quantity)> = expected
            .iter()
            .map(|(place, quantity)| (*place, Quantity::whole(*quantity)))
            .collect();
        let mut taken = best_set(bids, wanted);
        taken.sort_unstable();
        assert_eq!(taken, expected);
    }

    #[test]
    fn the_best_prices_are_taken_first_and_the_last_in_part() {
        let bids = [
            bid(40, 105, 1, 1),
            bid(90, 110, 1, 2),
            bid(12, 108, 1, 3),
            bid(30, 104, 1, 4),
        ];
        check(
            &bids,
            &wanted(150, 100),
            &[(0, 40), (1, 90), (2, 12), (3, 8)],
        );
    }

    #[test]
    fn nothing_below_the_reserve_is_taken() {
        check(
            &[bid(5, 99, 1, 1), bid(5, 101, 1, 2)],
            &wanted(10, 100),
            &[(1, 5)],
        );
    }

    #[test]
    fn a_minimum_that_does_not_fit_gives_way_to_a_better_sum() {
        // Greedy takes 6 @ 110 and then cannot take 5 (at least 5) of the remaining 4.
        let bids = [bid(6, 110, 6, 1), bid(10, 109, 5, 2)];
        check(&bids, &wanted(10, 100), &[(1, 10)]);
    }

    #[test]
    fn a_haircut_counts_against_the_method() {
        let mut dear = bid(10, 110, 1, 1);
        dear.haircut_ppm = 50_000;
        check(&[dear, bid(10, 105, 1, 2)], &wanted(10, 100), &[(1, 10)]);
    }

    #[test]
    fn a_method_cap_bounds_what_is_accepted_by_it() {
        let caps = [(Method::Sepa, Currency::USD, Quantity::whole(550))];
        let wanted = Wanted {
            method_caps: &caps,
            ..wanted(10, 100)
        };
        check(&[bid(10, 110, 1, 1)], &wanted, &[(0, 5)]);
    }

    #[test]
    fn equal_prices_go_by_trust_then_size() {
        let mut trusted = bid(5, 105, 1, 1);
        trusted.trust = 9;
        check(&[bid(9, 105, 1, 2), trusted], &wanted(5, 100), &[(1, 5)]);
        check(
            &[bid(5, 105, 1, 3), bid(9, 105, 1, 4)],
            &wanted(5, 100),
            &[(1, 5)],
        );
    }

    /// The exact search never does worse than best-first, and never breaks a bound.
    #[test]
    fn exact_is_never_worse_than_greedy() {
        let mut random = Random::new(11);
        for _ in 0..300 {
            let bids: Vec<Bid> = (0..random.between(1, 8))
                .map(|id| {
                    let draw = |random: &mut Random, low, high| {
                        i64::try_from(random.between(low, high)).unwrap()
                    };
                    let quantity = draw(&mut random, 1, 12);
                    let least = draw(&mut random, 1, 12).min(quantity);
                    bid(quantity, draw(&mut random, 98, 112), least, id)
                })
                .collect();
            let wanted = wanted(i64::try_from(random.between(1, 30)).unwrap(), 100);
            let order: Vec<usize> = {
                let mut order: Vec<usize> = (0..bids.len())
                    .filter(|at| net(&bids[*at]) >= wanted.reserve)
                    .collect();
                order.sort_by_key(|at| std::cmp::Reverse(net(&bids[*at])));
                order
            };
            let greedy = allocate(&bids, &order, &wanted);
            let exact = best_set(&bids, &wanted);
            assert!(value(&bids, &exact, &wanted) >= value(&bids, &greedy, &wanted));
            let sum: i64 = exact.iter().map(|(_, quantity)| quantity.0).sum();
            assert!(sum <= wanted.quantity.0);
            for (place, quantity) in exact {
                assert!(quantity >= bids[place].part_min && quantity <= bids[place].part.quantity);
            }
        }
    }
}
