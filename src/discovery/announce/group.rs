//! Which unfilled offers stand together in one relay line.

use crate::discovery::announce::{AMOUNT_MAX, OfferRef, RELAYED_MAX, Relayed};
use crate::model::ids::{NodeId, OfferId};
use crate::model::offer::Line;

/// An offer from elsewhere, with what is still open of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfilled {
    /// The exit that announced it.
    pub origin: NodeId,
    pub offer: OfferId,
    pub version: u32,
    pub line: Line,
    /// Seconds since 1970.
    pub expires_s: u32,
}

/// What one relay line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub relayed: Relayed,
    /// The earliest expiry of its offers: the line may not outlive one of them.
    pub expires_s: u32,
}

/// Puts offers of equal terms together: same currencies, same price asked, same methods in the same
/// order.
///
/// Groups stand in the order of their first offers, and offers join in the order given; what has no
/// room, as a sixth offer or because the sum would leave [`AMOUNT_MAX`], begins another group. Of an
/// offer that is given twice the higher version counts. Offers that no line may name (nothing open,
/// more than [`AMOUNT_MAX`], version 0) are left out.
pub fn group(unfilled: &[Unfilled]) -> Vec<Group> {
    let referred: Vec<(OfferRef, &Unfilled)> = unfilled
        .iter()
        .filter(|one| one.line.quantity.is_positive() && one.version > 0)
        .map(|one| (OfferRef::of(one.origin, one.offer), one))
        .collect();
    let mut groups: Vec<Group> = Vec::new();
    for (index, (reference, one)) in referred.iter().enumerate() {
        let is_outdated = referred.iter().enumerate().any(|(at, (same, other))| {
            let is_same = same == reference && at != index;
            is_same && (other.version, at) > (one.version, index)
        });
        if is_outdated || one.line.quantity > AMOUNT_MAX {
            continue;
        }
        match groups.iter_mut().find(|group| group.has_room_for(one)) {
            Some(group) => group.join(*reference, one),
            None => groups.push(Group {
                relayed: Relayed {
                    line: one.line,
                    offers: vec![(*reference, one.version)],
                },
                expires_s: one.expires_s,
            }),
        }
    }
    for group in &mut groups {
        group.relayed.offers.sort_unstable();
    }
    groups
}

impl Group {
    fn has_room_for(&self, one: &Unfilled) -> bool {
        let quantity = self.relayed.line.quantity;
        let sum = quantity.saturating_add(one.line.quantity);
        let alike = Line {
            quantity,
            ..one.line
        };
        alike == self.relayed.line && sum <= AMOUNT_MAX && self.relayed.offers.len() < RELAYED_MAX
    }

    fn join(&mut self, reference: OfferRef, one: &Unfilled) {
        let line = &mut self.relayed.line;
        line.quantity = line.quantity.saturating_add(one.line.quantity);
        self.relayed.offers.push((reference, one.version));
        self.expires_s = self.expires_s.min(one.expires_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::number::Quantity;

    fn unfilled(origin: u8, text: &str) -> Unfilled {
        Unfilled {
            origin: NodeId([origin; 16]),
            offer: OfferId([7; 16]),
            version: 1,
            line: Line::parse(text.as_bytes()).unwrap(),
            expires_s: 1_000 + u32::from(origin),
        }
    }

    fn lines(groups: &[Group]) -> Vec<(String, usize)> {
        let shown = |group: &Group| (group.relayed.line.to_string(), group.relayed.offers.len());
        groups.iter().map(shown).collect()
    }

    #[test]
    fn offers_of_equal_terms_stand_in_one_line() {
        let groups = group(&[
            unfilled(9, "1BTC@USD:BO:SEPA|ACH"),
            unfilled(2, "2BTC@USD:BO:ACH|SEPA"),
            unfilled(3, "4BTC@USD:BO:SEPA|ACH"),
            unfilled(4, "8BTC@100USD:SEPA|ACH"),
            unfilled(5, "16BTC@EUR:BO:SEPA|ACH"),
            unfilled(6, "32USD@BTC:BO:SEPA|ACH"),
        ]);
        let expected = [
            ("5BTC@USD:BO:SEPA|ACH", 2),
            ("2BTC@USD:BO:ACH|SEPA", 1),
            ("8BTC@100USD:SEPA|ACH", 1),
            ("16BTC@EUR:BO:SEPA|ACH", 1),
            ("32USD@BTC:BO:SEPA|ACH", 1),
        ];
        let expected = expected.map(|(line, count)| (line.to_owned(), count));
        assert_eq!(lines(&groups), expected);
        assert_eq!(groups[0].expires_s, 1_003);
        assert!(groups[0].relayed.offers.is_sorted());
    }

    #[test]
    fn a_sixth_offer_begins_another_line_and_so_does_a_sum_beyond_the_limit() {
        let many: Vec<Unfilled> = (1..=12)
            .map(|origin| unfilled(origin, "1BTC@USD:BO:SEPA"))
            .collect();
        let counts: Vec<usize> = lines(&group(&many))
            .iter()
            .map(|(_, count)| *count)
            .collect();
        assert_eq!(counts, [5, 5, 2]);
        let large = [
            unfilled(1, "10000000000BTC@USD:BO:SEPA"),
            unfilled(2, "0.00000001BTC@USD:BO:SEPA"),
            unfilled(3, "10000000000.00000001BTC@USD:BO:SEPA"),
        ];
        let groups = group(&large);
        assert_eq!(groups.len(), 2);
        assert!(groups.iter().all(|group| group.relayed.offers.len() == 1));
        assert_eq!(groups[0].relayed.line.quantity, AMOUNT_MAX);
    }

    #[test]
    fn an_offer_stands_once_with_its_highest_version() {
        let old = unfilled(1, "5BTC@USD:BO:SEPA");
        let mut new = unfilled(1, "3BTC@USD:BO:SEPA");
        new.version = 2;
        let mut empty = unfilled(2, "1BTC@USD:BO:SEPA");
        empty.line.quantity = Quantity::ZERO;
        for offers in [[old, new, empty], [new, old, new]] {
            let groups = group(&offers);
            assert_eq!(groups.len(), 1);
            assert_eq!(groups[0].relayed.line.quantity, Quantity::whole(3));
            assert_eq!(
                groups[0].relayed.offers,
                [(OfferRef::of(new.origin, new.offer), 2)]
            );
        }
    }
}
