//! What this node's rules answer to an offer, and why: a pure function of rules, funds and books.

use crate::model::currency::{Currency, Method};
use crate::model::ids::OwnerId;
use crate::model::instrument::Market;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity, SCALE};
use crate::model::offer::{Ask, Asking, NoAnswer, Part};
use crate::offer::{Rule, RulePrice, Settings};

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub part: Part,
    /// The owner wants to be asked first.
    pub needs_approval: bool,
}

/// What an answer is reckoned from.
pub struct Desk<'a> {
    pub owner: OwnerId,
    pub settings: &'a Settings,
    /// Money that is free to pay with, by method.
    pub free: &'a dyn Fn(Method, Currency) -> Quantity,
    /// The best price of a side of an own live book, or `None` where it is not live.
    pub best: &'a dyn Fn(Market, Side) -> Option<Price>,
}

impl std::fmt::Debug for Desk<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Desk")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

/// Answers an offer.
///
/// # Errors
/// The first reason against it.
pub fn answer(ask: &Ask, desk: &Desk<'_>) -> Result<Answer, NoAnswer> {
    if ask.owner == desk.owner {
        return Err(NoAnswer::SameOwner);
    }
    let line = &ask.line;
    let rule = desk
        .settings
        .rules
        .iter()
        .find(|rule| rule.give == line.give && rule.want == line.want)
        .ok_or(NoAnswer::NoRule)?;
    if line.quantity < rule.threshold {
        return Err(NoAnswer::BelowThreshold);
    }
    let price = price_of(rule, desk).ok_or(NoAnswer::StalePrice)?;
    if matches!(line.asking, Asking::AtLeast(least) if price < least) {
        return Err(NoAnswer::Price);
    }
    let mut why = NoAnswer::NoMethod;
    for method in line
        .methods
        .iter()
        .filter(|method| rule.methods.contains(*method))
    {
        let affordable = (desk.free)(method, line.want).bought_at(price);
        let quantity = line.quantity.min(rule.size_max).min(affordable);
        let total = price.total_floor(quantity);
        if !total.is_positive() {
            why = NoAnswer::Funds;
        } else if quantity < ask.part_min {
            why = if affordable < ask.part_min {
                NoAnswer::Funds
            } else {
                NoAnswer::BelowPart
            };
        } else {
            return Ok(Answer {
                part: Part {
                    quantity,
                    total,
                    method,
                },
                needs_approval: rule.approve_above.is_some_and(|above| quantity > above),
            });
        }
    }
    Err(why)
}

/// Returns what the rule pays per unit given, or `None` where its book is not live.
fn price_of(rule: &Rule, desk: &Desk<'_>) -> Option<Price> {
    match rule.price {
        RulePrice::Fixed(price) => Some(price),
        RulePrice::Book { market, spread_ppm } => {
            let spread = -i64::from(spread_ppm);
            if market.pair.base == rule.give {
                let bid = (desk.best)(market, Side::Bid)?;
                return Some(bid.moved_ppm(spread)).filter(|price| price.is_positive());
            }
            let ask = (desk.best)(market, Side::Ask)?;
            let inverse = i128::from(SCALE) * i128::from(SCALE) / i128::from(ask.0.max(1));
            let price = Price(i64::try_from(inverse).ok()?).moved_ppm(spread);
            Some(price).filter(|price| price.is_positive())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{NodeId, OfferId};
    use crate::model::offer::Line;
    use crate::model::time::Span;

    const ME: OwnerId = OwnerId([1; 32]);
    const YOU: OwnerId = OwnerId([2; 32]);

    fn rule() -> Rule {
        Rule {
            give: Currency::BTC,
            want: Currency::USD,
            methods: [Method::Sepa, Method::Okpay].into_iter().collect(),
            threshold: Quantity::whole(2),
            size_max: Quantity::whole(10),
            price: RulePrice::Fixed(Price::whole(105)),
            approve_above: Some(Quantity::whole(9)),
        }
    }

    fn settings(rule: Rule) -> Settings {
        Settings {
            methods: rule.methods,
            offer_min: Vec::new(),
            part_min: Vec::new(),
            ttl: Span::SECOND,
            gather: Span::SECOND,
            hold: Span::SECOND,
            cooldown: Span::SECOND,
            haircuts: Vec::new(),
            method_caps: Vec::new(),
            rails: Vec::new(),
            rules: vec![rule],
        }
    }

    fn ask(line: &str) -> Ask {
        Ask {
            offer: OfferId([7; 16]),
            origin: NodeId([2; 16]),
            owner: YOU,
            line: Line::parse(line.as_bytes()).unwrap(),
            part_min: Quantity::whole(1),
            hops: 0,
        }
    }

    #[track_caller]
    fn check(
        ask: &Ask,
        rule: Rule,
        funds: i64,
        best: Option<i64>,
        expected: Result<(i64, i64, bool), NoAnswer>,
    ) {
        let settings = settings(rule);
        let desk = Desk {
            owner: ME,
            settings: &settings,
            free: &|_, _| Quantity::whole(funds),
            best: &|_, _| best.map(Price::whole),
        };
        let expected = expected.map(|(quantity, total, needs_approval)| Answer {
            part: Part {
                quantity: Quantity::whole(quantity),
                total: Quantity::whole(total),
                method: Method::Sepa,
            },
            needs_approval,
        });
        assert_eq!(answer(ask, &desk), expected);
    }

    #[test]
    fn a_rule_answers_with_what_it_may_and_can_take() {
        let offer = ask("150BTC@USD:BO:ACH|SEPA|OKPAY");
        check(&offer, rule(), 100_000, None, Ok((10, 1_050, true)));
        check(&offer, rule(), 525, None, Ok((5, 525, false)));
    }

    #[test]
    fn every_reason_has_its_name() {
        let rich = 100_000;
        check(
            &ask("1BTC@USD:BO:SEPA"),
            rule(),
            rich,
            None,
            Err(NoAnswer::BelowThreshold),
        );
        check(
            &ask("5BTC@EUR:BO:SEPA"),
            rule(),
            rich,
            None,
            Err(NoAnswer::NoRule),
        );
        check(
            &ask("5BTC@USD:BO:ACH"),
            rule(),
            rich,
            None,
            Err(NoAnswer::NoMethod),
        );
        check(
            &ask("5BTC@106USD:SEPA"),
            rule(),
            rich,
            None,
            Err(NoAnswer::Price),
        );
        check(
            &ask("5BTC@USD:BO:SEPA"),
            rule(),
            0,
            None,
            Err(NoAnswer::Funds),
        );
        check(
            &ask("5BTC@USD:BO:SEPA"),
            rule(),
            104,
            None,
            Err(NoAnswer::Funds),
        );
        let mut mine = ask("5BTC@USD:BO:SEPA");
        mine.owner = ME;
        check(&mine, rule(), rich, None, Err(NoAnswer::SameOwner));
        let mut small = rule();
        small.size_max = Quantity(1);
        check(
            &ask("5BTC@USD:BO:SEPA"),
            small,
            rich,
            None,
            Err(NoAnswer::BelowPart),
        );
    }

    #[test]
    fn a_price_that_follows_a_book_needs_a_live_one() {
        let mut following = rule();
        following.price = RulePrice::Book {
            market: Market {
                venue: "a".parse().unwrap(),
                pair: "BTC/USD".parse().unwrap(),
            },
            spread_ppm: 10_000,
        };
        let offer = ask("5BTC@USD:BO:SEPA");
        check(&offer, following, 100_000, Some(100), Ok((5, 495, false)));
        check(&offer, following, 100_000, None, Err(NoAnswer::StalePrice));
    }
}
