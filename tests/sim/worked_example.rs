//! The worked example, number for number: 100 BTC and 500 USD against an ask of 100 and a bid of
//! 110, and the remainder of 150 BTC among four primaries with ten secondaries each.

use expressnet::execution::TransferRoute;
use expressnet::model::currency::{Currency, Method};
use expressnet::model::ids::OwnerId;
use expressnet::model::instrument::Location;
use expressnet::model::market::{FeeIn, Level, Rules, Side};
use expressnet::model::number::{Price, Quantity};
use expressnet::model::random::Random;
use expressnet::model::time::Span;
use expressnet::node::Faults as Bugs;
use expressnet::offer::gather::CandidateState;
use expressnet::offer::{RailFunds, Rule, RulePrice};
use expressnet::risk::VenueDayLimit;
use expressnet::sim::scenario::{self, FaultRates, NodePlan, PAIR, Scenario, Topology, VenuePlan};
use expressnet::sim::{self, NodeEnd, Report};
use expressnet::venue::serving::market::Source;
use expressnet::{arbitrage, offer};

pub(crate) const PRIMARIES: usize = 4;
pub(crate) const SECONDARIES: usize = 10;
pub(crate) const METHODS: [Method; 5] = [
    Method::Sepa,
    Method::Okpay,
    Method::Paypal,
    Method::Dwolla,
    Method::Ach,
];

#[test]
fn the_window_nets_150_btc_and_four_primaries_take_them() {
    let report = run(&window(0, 0, &[(100, 100_000)]));
    let origin = &report.nodes[0];
    assert_eq!(traded(origin, Side::Bid), Quantity::whole(500), "bought");
    assert_eq!(
        traded(origin, Side::Ask),
        Quantity::whole(450),
        "sold, to its daily limit"
    );
    assert_eq!(held(origin, Currency::BTC), Quantity::whole(150));
    assert_eq!(held(origin, Currency::USD), Quantity::ZERO);

    assert_eq!(origin.offers.len(), 1, "one announcement");
    let own = &origin.offers[0];
    assert_eq!(
        own.offer.line.to_string(),
        "150BTC@USD:BO:SEPA|OKPAY|PAYPAL|DWOLLA|ACH"
    );
    let mut matches: Vec<(String, i64, CandidateState)> = own
        .gather
        .candidates()
        .iter()
        .map(|one| {
            let part = &one.part;
            let text = format!("{}BTC@{}USD:{}", part.quantity, part.price(), part.method);
            (text, one.taken.0 / 100_000_000, one.state)
        })
        .collect();
    matches.sort_by(|one, other| one.0.cmp(&other.0));
    let taken = CandidateState::Confirmed;
    assert_eq!(
        matches,
        [
            ("12BTC@108USD:PAYPAL".to_owned(), 12, taken),
            ("30BTC@104USD:DWOLLA".to_owned(), 8, taken),
            ("40BTC@105USD:SEPA".to_owned(), 40, taken),
            ("90BTC@110USD:OKPAY".to_owned(), 90, taken),
        ]
    );
    let tally = own.tally();
    assert!(tally.is_conserved());
    assert_eq!(tally.filled, Quantity::whole(150));
    assert_eq!(own.received(), Quantity::whole(4_200 + 9_900 + 1_296 + 832));
    let bound: Quantity = sealed(&report);
    assert_eq!(
        bound,
        Quantity::whole(150),
        "22 of the last 30 are released"
    );
}

#[test]
fn fees_and_friction_stop_the_window_earlier() {
    let ladder = [(100, 300), (104, 100_000)];
    let free = run(&window(0, 0, &ladder));
    assert_eq!(traded(&free.nodes[0], Side::Ask), Quantity::whole(450));
    let dear = run(&window(10_000, 40_000, &ladder));
    let origin = &dear.nodes[0];
    assert_eq!(traded(origin, Side::Bid), Quantity::whole(300));
    assert_eq!(traded(origin, Side::Ask), Quantity::whole(300));
    assert!(
        origin.offers.is_empty(),
        "the window is closed: nothing is left over"
    );
    // 1 % at each venue: 300 × 100 × 1.01 spent, 300 × 110 × 0.99 received.
    // Fees are rounded up, by less than a unit of 1e-8 an order.
    let expected = Quantity::whole(500 - 30_300 + 32_670);
    let rounded = expected.0 - held(origin, Currency::USD).0;
    let orders = i64::try_from(origin.orders.len()).unwrap();
    assert!(
        (0..=orders).contains(&rounded),
        "{rounded} of {orders} orders"
    );
    assert_eq!(held(origin, Currency::BTC), Quantity::whole(100));
}

fn run(scenario: &Scenario) -> Report {
    let report = sim::run(scenario, Bugs::default());
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    report
}

fn traded(node: &NodeEnd, side: Side) -> Quantity {
    node.orders
        .iter()
        .filter(|order| order.intent.side == side)
        .fold(Quantity::ZERO, |sum, order| {
            sum.saturating_add(order.filled.quantity)
        })
}

fn held(node: &NodeEnd, currency: Currency) -> Quantity {
    node.funds
        .iter()
        .filter(|(at, _)| at.currency == currency)
        .fold(Quantity::ZERO, |sum, (_, free)| sum.saturating_add(*free))
}

fn sealed(report: &Report) -> Quantity {
    report
        .nodes
        .iter()
        .flat_map(|node| &node.sealed)
        .fold(Quantity::ZERO, |sum, hold| {
            sum.saturating_add(hold.part.quantity)
        })
}

/// The window of the example with fees at both venues, friction on the proceeds, and the asks that
/// stand at the buying venue.
fn window(fee_ppm: u32, friction_ppm: u32, asks: &[(i64, i64)]) -> Scenario {
    let rules = Rules {
        tick: Price(1),
        lot: Quantity(1),
        quantity_min: Quantity(1_000),
        taker_fee_ppm: fee_ppm,
        fee_in: FeeIn::Quote,
    };
    let venues = vec![
        venue(
            "alpha",
            rules,
            &[(99, 100_000)],
            asks,
            &[(Currency::USD, 500)],
        ),
        venue(
            "beta",
            rules,
            &[(110, 100_000)],
            &[(120, 100_000)],
            &[(Currency::BTC, 100)],
        ),
    ];
    let mut nodes = vec![origin(&venues, friction_ppm)];
    for index in 1..=PRIMARIES {
        nodes.push(provider(index, Vec::new(), Vec::new()));
    }
    for (primary, parts) in parts().into_iter().enumerate() {
        for (quantity, price) in parts {
            let method = METHODS[primary];
            nodes.push(secondary(nodes.len(), method, quantity, price));
        }
    }
    Scenario {
        seed: 1,
        topology: Topology::Tree {
            primaries: PRIMARIES,
            secondaries: SECONDARIES,
        },
        nodes,
        venues,
        busy: Span::secs(20),
        calm: Span::secs(30),
        faults: FaultRates::NONE,
        offers_by_hand: 0,
        tells: false,
    }
}

/// What each secondary takes: tenths of a BTC, and its price.
pub(crate) fn parts() -> [Vec<(i64, i64)>; PRIMARIES] {
    let sepa = [(10, 110), (10, 100)]
        .into_iter()
        .chain([(50, 105); 6])
        .chain([(40, 105); 2]);
    let okpay = [(10, 117), (10, 103)].into_iter().chain([(110, 110); 8]);
    [
        sepa.collect(),
        okpay.collect(),
        vec![(12, 108); SECONDARIES],
        vec![(30, 104); SECONDARIES],
    ]
}

fn venue(
    name: &str,
    rules: Rules,
    bids: &[(i64, i64)],
    asks: &[(i64, i64)],
    balances: &[(Currency, i64)],
) -> VenuePlan {
    let levels = |rows: &[(i64, i64)]| -> Vec<Level> {
        rows.iter()
            .map(|(price, quantity)| Level {
                price: Price::whole(*price),
                quantity: Quantity::whole(*quantity),
            })
            .collect()
    };
    VenuePlan {
        id: name.parse().unwrap(),
        rules,
        source: Source::Ladder {
            bids: levels(bids),
            asks: levels(asks),
        },
        pair: PAIR,
        balances: balances
            .iter()
            .map(|(currency, units)| (*currency, Quantity::whole(*units)))
            .collect(),
    }
}

fn origin(venues: &[VenuePlan], friction_ppm: u32) -> NodePlan {
    let beside: Vec<&VenuePlan> = venues.iter().collect();
    let mut config = scenario::config(0, &beside, &mut Random::new(1));
    let (alpha, beta) = (Location::Venue(venues[0].id), Location::Venue(venues[1].id));
    let route = |currency, from, to, takes| TransferRoute {
        currency,
        from,
        to,
        takes,
        cost: Quantity::ZERO,
    };
    config.execution.transfers = vec![
        route(Currency::USD, beta, alpha, Span::ZERO),
        route(Currency::BTC, alpha, beta, Span::ZERO),
        route(Currency::BTC, beta, Location::Wallet, Span::MINUTE),
    ];
    config.execution.acquire_for_offers = true;
    config.arbitrage = arbitrage::Settings {
        edge_min_ppm: 0,
        drift_ppm_per_s: 0,
        frictions: vec![arbitrage::Friction {
            venue: venues[1].id,
            currency: Currency::USD,
            ppm: friction_ppm,
        }],
    };
    config.risk.order_quantity_max = vec![(Currency::BTC, Quantity::whole(1_000))];
    config.risk.exposure_max = vec![(Currency::BTC, Quantity::whole(1_000))];
    config.risk.venue_day_max = vec![VenueDayLimit {
        venue: venues[1].id,
        side: Side::Ask,
        currency: Currency::BTC,
        quantity: Quantity::whole(450),
    }];
    config.risk.envelope_reach_ppm = 0;
    config.offer = offer_settings(Vec::new(), Vec::new());
    NodePlan {
        id: scenario::node_id(0),
        owner: OwnerId([1; 32]),
        config,
        trust: 5,
    }
}

fn secondary(index: usize, method: Method, tenths: i64, price: i64) -> NodePlan {
    let quantity = Quantity(tenths * 10_000_000);
    let rule = Rule {
        give: Currency::BTC,
        want: Currency::USD,
        methods: [method].into_iter().collect(),
        threshold: Quantity::whole(1),
        size_max: quantity,
        price: RulePrice::Fixed(Price::whole(price)),
        approve_above: None,
    };
    let rail = RailFunds {
        method,
        currency: Currency::USD,
        amount: Quantity::whole(2_000),
    };
    provider(index, vec![rule], vec![rail])
}

fn provider(index: usize, rules: Vec<Rule>, rails: Vec<RailFunds>) -> NodePlan {
    let mut config = scenario::config(index, &[], &mut Random::new(1));
    config.offer = offer_settings(rules, rails);
    NodePlan {
        id: scenario::node_id(index),
        owner: OwnerId([u8::try_from(index + 1).unwrap(); 32]),
        config,
        trust: 5,
    }
}

fn offer_settings(rules: Vec<Rule>, rails: Vec<RailFunds>) -> offer::Settings {
    offer::Settings {
        methods: METHODS.into_iter().collect(),
        offer_min: vec![(Currency::BTC, Quantity::whole(1))],
        part_min: vec![(Currency::BTC, Quantity::whole(1))],
        ttl: Span::secs(10),
        gather: Span::secs(2),
        hold: Span::secs(8),
        cooldown: Span::SECOND,
        haircuts: Vec::new(),
        method_caps: Vec::new(),
        rails,
        rules,
    }
}
