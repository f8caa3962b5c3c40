//! The walk of two ladders, on books as the book stage seals them.

use expressnet::arbitrage::Settings;
use expressnet::arbitrage::walk::{Bound, Caps, NoTrade, Opportunity, walk};
use expressnet::book::{Book, Freshness};
use expressnet::model::instrument::Market;
use expressnet::model::market::{BookUpdate, FeeIn, Level, Rules, UpdateKind};
use expressnet::model::number::{Price, Quantity};
use expressnet::model::random::Random;
use expressnet::model::sealed::LiveBook;
use expressnet::model::time::{Span, Time};

const FREE: Rules = Rules {
    tick: Price(1),
    lot: Quantity(1),
    quantity_min: Quantity(1),
    taker_fee_ppm: 0,
    fee_in: FeeIn::Quote,
};
const FRESH: Freshness = Freshness {
    book_age_max: Span::SECOND,
    engine_lag_max: Span::SECOND,
};
const NO_EDGE: Settings = Settings {
    edge_min_ppm: 0,
    drift_ppm_per_s: 0,
    frictions: Vec::new(),
};

fn market(venue: &str) -> Market {
    Market {
        venue: venue.parse().unwrap(),
        pair: "BTC/USD".parse().unwrap(),
    }
}

fn book(market: Market, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> Book {
    let (bids, asks) = (levels(bids), levels(asks));
    let mut book = Book::new(market);
    let update = BookUpdate {
        market,
        kind: UpdateKind::Snapshot,
        sequence: 1,
        bids: &bids,
        asks: &asks,
        venue_time: Time(1),
        engine_lag: Span::ZERO,
    };
    book.apply(&update, Time(1));
    book
}

fn live(book: &Book) -> LiveBook<'_> {
    book.live(Time(1), &FRESH).unwrap()
}

fn levels(rows: &[(i64, i64)]) -> Vec<Level> {
    rows.iter()
        .map(|(price, quantity)| Level {
            price: Price::whole(*price),
            quantity: Quantity::whole(*quantity),
        })
        .collect()
}

fn run(
    asks: &[(i64, i64)],
    bids: &[(i64, i64)],
    rules: Rules,
    caps: Caps,
) -> Result<Opportunity, NoTrade> {
    let (buy, sell) = (market("a"), market("b"));
    let (buy_book, sell_book) = (book(buy, &[], asks), book(sell, bids, &[]));
    let costs = NO_EDGE.costs((buy, &rules), (sell, &rules), Span::ZERO);
    walk(
        &live(&buy_book),
        &live(&sell_book),
        &rules,
        &rules,
        &costs,
        &caps,
    )
}

#[test]
fn levels_are_taken_while_they_pay() {
    let found = run(
        &[(100, 1), (104, 2), (106, 9)],
        &[(110, 2), (105, 5)],
        FREE,
        Caps::NONE,
    );
    let found = found.unwrap();
    assert_eq!(found.quantity, Quantity::whole(3));
    assert_eq!(found.buy_limit, Price::whole(104));
    assert_eq!(found.sell_limit, Price::whole(105));
    assert_eq!(found.cost, Quantity::whole(308));
    assert_eq!(found.proceeds, Quantity::whole(325));
    assert_eq!(found.bound, Bound::Books);
}

#[test]
fn fees_stop_the_walk_earlier() {
    let rules = Rules {
        taker_fee_ppm: 20_000,
        ..FREE
    };
    let found = run(
        &[(100, 1), (104, 2)],
        &[(110, 2), (105, 5)],
        rules,
        Caps::NONE,
    )
    .unwrap();
    assert_eq!(found.quantity, Quantity::whole(2));
    assert_eq!(
        run(&[(100, 1)], &[(103, 1)], rules, Caps::NONE),
        Err(NoTrade::BelowEdge)
    );
}

#[test]
fn the_bound_names_what_ran_out() {
    let spend = Caps {
        spend_max: Quantity::whole(500),
        ..Caps::NONE
    };
    let found = run(&[(100, 50)], &[(110, 50)], FREE, spend).unwrap();
    assert_eq!(
        (found.quantity, found.bound),
        (Quantity::whole(5), Bound::Spend)
    );
    let quantity = Caps {
        quantity_max: Quantity::whole(7),
        ..Caps::NONE
    };
    let found = run(&[(100, 50)], &[(110, 50)], FREE, quantity).unwrap();
    assert_eq!(
        (found.quantity, found.bound),
        (Quantity::whole(7), Bound::Quantity)
    );
    let none = Caps {
        spend_max: Quantity::ZERO,
        ..Caps::NONE
    };
    assert_eq!(
        run(&[(100, 50)], &[(110, 50)], FREE, none),
        Err(NoTrade::TooSmall(Bound::Spend))
    );
}

#[test]
fn orders_in_flight_are_taken_off_the_front() {
    let caps = Caps {
        buy_in_flight: Quantity::whole(2),
        ..Caps::NONE
    };
    let found = run(&[(100, 1), (101, 2)], &[(110, 9)], FREE, caps).unwrap();
    assert_eq!(found.quantity, Quantity::whole(1));
    assert_eq!(found.buy_limit, Price::whole(101));
}

/// Whatever the books, fees and lots: what the walk takes never loses, to the last unit.
#[test]
fn no_walk_ever_loses_money() {
    let mut random = Random::new(3);
    let mut taken = 0;
    for _ in 0..20_000 {
        let mut side = |low: u64, high: u64| -> Vec<(i64, i64)> {
            (0..random.between(1, 5))
                .map(|_| {
                    let price = i64::try_from(random.between(low, high)).unwrap();
                    (price, i64::try_from(random.between(1, 9)).unwrap())
                })
                .collect()
        };
        let mut asks = side(95, 105);
        let mut bids = side(98, 112);
        asks.sort_unstable();
        bids.sort_unstable_by(|one, other| other.cmp(one));
        let rules = Rules {
            taker_fee_ppm: u32::try_from(random.below(30_000)).unwrap(),
            lot: Quantity(i64::try_from(random.between(1, 30_000_000)).unwrap()),
            ..FREE
        };
        if let Ok(found) = run(&asks, &bids, rules, Caps::NONE) {
            assert!(found.proceeds >= found.cost, "{found:?}");
            taken += 1;
        }
    }
    assert!(taken > 1_000);
}
