//! The matching engine: rules one by one, then conservation over many random operations.

use expressnet::model::currency::Currency;
use expressnet::model::ids::OrderId;
use expressnet::model::instrument::Pair;
use expressnet::model::market::{FeeIn, Level, Rules, Side};
use expressnet::model::number::{Price, Quantity};
use expressnet::model::random::Random;
use expressnet::model::time::Time;
use expressnet::model::trade::VenueOrderState;
use expressnet::venue::exchange::{
    AccountNo, Exchange, Money, NoSuchOrder, PlaceError, Placement, Settings, TransferError,
};

#[test]
fn a_better_price_trades_first_and_then_the_earlier_order() {
    let mut world = World::new(FeeIn::Received);
    world.place(0, 1, Side::Ask, 1, 101).unwrap();
    world.place(0, 2, Side::Ask, 1, 100).unwrap();
    world.place(0, 3, Side::Ask, 1, 100).unwrap();
    world.place(1, 1, Side::Bid, 2, 100).unwrap();
    assert_eq!(world.state(0, 1), VenueOrderState::Open);
    assert_eq!(world.state(0, 2), VenueOrderState::Closed);
    assert_eq!(world.state(0, 3), VenueOrderState::Closed);
    world.place(0, 4, Side::Ask, 1, 100).unwrap();
    world.place(0, 5, Side::Ask, 1, 100).unwrap();
    world.place(1, 2, Side::Bid, 1, 105).unwrap();
    assert_eq!(world.state(0, 4), VenueOrderState::Closed);
    assert_eq!(world.state(0, 5), VenueOrderState::Open);
    let filled = world.filled(1, 2);
    assert_eq!(filled.total, Quantity::whole(100));
}

#[test]
fn fees_come_out_of_what_the_rules_name() {
    let mut received = World::new(FeeIn::Received);
    received.place(0, 1, Side::Ask, 1, 100).unwrap();
    received.place(1, 1, Side::Bid, 1, 100).unwrap();
    assert_eq!(received.filled(1, 1).fee, Quantity(200_000));
    assert_eq!(received.exchange.fees(Currency::BTC), 200_000);
    assert_eq!(received.exchange.fees(Currency::USD), 10_000_000);
    let mut quote = World::new(FeeIn::Quote);
    quote.place(0, 1, Side::Ask, 1, 100).unwrap();
    quote.place(1, 1, Side::Bid, 1, 100).unwrap();
    assert_eq!(quote.filled(1, 1).fee, Quantity(20_000_000));
    assert_eq!(quote.exchange.fees(Currency::BTC), 0);
    assert_eq!(quote.exchange.fees(Currency::USD), 30_000_000);
}

#[test]
fn a_used_id_is_refused_and_counted_even_after_a_rejection() {
    let mut world = World::new(FeeIn::Received);
    world.place(0, 7, Side::Bid, 1, 90).unwrap();
    assert_eq!(
        world.place(0, 7, Side::Bid, 1, 90),
        Err(PlaceError::Duplicate)
    );
    world
        .exchange
        .cancel(world.accounts[0], OrderId(7))
        .unwrap();
    assert_eq!(
        world.place(0, 7, Side::Bid, 1, 90),
        Err(PlaceError::Duplicate)
    );
    assert_eq!(
        world.place(0, 8, Side::Bid, 1_000_000, 90),
        Err(PlaceError::Funds)
    );
    assert_eq!(world.state(0, 8), VenueOrderState::Rejected);
    assert_eq!(
        world.place(0, 8, Side::Bid, 1, 90),
        Err(PlaceError::Duplicate)
    );
    assert_eq!(world.exchange.duplicates(), 3);
    world.place(1, 7, Side::Bid, 1, 90).unwrap();
}

#[test]
fn an_order_that_meets_its_own_account_is_closed_there() {
    let mut world = World::new(FeeIn::Received);
    world.place(1, 1, Side::Ask, 1, 99).unwrap();
    world.place(0, 1, Side::Ask, 1, 100).unwrap();
    world.place(0, 2, Side::Bid, 3, 101).unwrap();
    assert_eq!(world.state(0, 1), VenueOrderState::Open);
    assert_eq!(world.state(0, 2), VenueOrderState::Closed);
    assert_eq!(world.filled(0, 2).quantity, Quantity::whole(1));
}

#[test]
fn orders_off_the_rules_are_refused() {
    let mut world = World::new(FeeIn::Received);
    let placement = |id, quantity, limit| Placement {
        id: Some(OrderId(id)),
        pair: pair(),
        side: Side::Bid,
        quantity: Quantity(quantity),
        limit: Price(limit),
    };
    for (id, quantity, limit) in [
        (1, 99_999, 100_000_000),
        (2, 100_000_000, 100_000_001),
        (3, 0, 100_000_000),
        (4, 100_000_000, 0),
        (5, -100_000_000, 100_000_000),
    ] {
        let refused = world
            .exchange
            .place(world.accounts[0], placement(id, quantity, limit), NOW);
        assert_eq!(refused, Err(PlaceError::Rule), "order {id}");
    }
    let other = Placement {
        pair: "BTC/EUR".parse().unwrap(),
        ..placement(6, 100_000_000, 100_000_000)
    };
    let unknown = world.exchange.place(world.accounts[0], other, NOW);
    assert_eq!(unknown, Err(PlaceError::Unknown));
    let cancelled = world.exchange.cancel(world.accounts[0], OrderId(99));
    assert_eq!(cancelled, Err(NoSuchOrder));
}

#[test]
fn only_free_money_leaves() {
    let mut world = World::new(FeeIn::Received);
    let account = world.accounts[0];
    world.place(0, 1, Side::Bid, 1, 100).unwrap();
    let all = Quantity::whole(100_000);
    let refused = world.exchange.debit(account, Currency::USD, all);
    assert_eq!(refused, Err(TransferError::Funds));
    world.exchange.cancel(account, OrderId(1)).unwrap();
    assert_eq!(world.exchange.debit(account, Currency::USD, all), Ok(()));
    let too_much = world.exchange.credit(account, Currency::USD, Quantity::MAX);
    assert_eq!(too_much, Err(TransferError::Full));
    assert_eq!(world.exchange.imbalance(), None);
}

#[test]
fn changes_follow_each_other_and_rebuild_the_book() {
    let mut world = World::new(FeeIn::Received);
    let mut random = Random::new(3);
    let mut mirror = (Vec::new(), Vec::new());
    let mut sequence = 0;
    for id in 0..2_000 {
        world.random_order(id, &mut random);
        let Some(changes) = world.exchange.drain_changes(pair()) else {
            continue;
        };
        assert_eq!(changes.previous, sequence);
        assert!(changes.sequence > sequence);
        sequence = changes.sequence;
        apply(&mut mirror.0, &changes.bids, Side::Bid);
        apply(&mut mirror.1, &changes.asks, Side::Ask);
        let bids: Vec<Level> = world.exchange.levels(pair(), Side::Bid).collect();
        let asks: Vec<Level> = world.exchange.levels(pair(), Side::Ask).collect();
        assert_eq!((&bids, &asks), (&mirror.0, &mirror.1));
        if let (Some(bid), Some(ask)) = (bids.first(), asks.first()) {
            assert!(bid.price < ask.price);
        }
    }
}

#[test]
fn nothing_is_made_or_lost_in_many_random_operations() {
    for (seed, fee_in) in [(11, FeeIn::Received), (12, FeeIn::Quote)] {
        let mut world = World::new(fee_in);
        let mut random = Random::new(seed);
        for id in 0..100_000 {
            match random.below(10) {
                0 => world.random_transfer(&mut random),
                1..=3 => world.random_cancel(id, &mut random),
                _ => world.random_order(id, &mut random),
            }
            assert_eq!(world.exchange.imbalance(), None, "seed {seed} step {id}");
        }
        assert!(world.exchange.fees(Currency::USD) > 0);
    }
}

const NOW: Time = Time(1);

struct World {
    exchange: Exchange,
    accounts: Vec<AccountNo>,
}

impl World {
    /// Three accounts with 1,000 BTC and 100,000 USD each.
    fn new(fee_in: FeeIn) -> Self {
        let rules = Rules {
            tick: Price(1_000_000),
            lot: Quantity(1),
            quantity_min: Quantity(100_000),
            taker_fee_ppm: 2_000,
            fee_in,
        };
        let mut exchange = Exchange::new(Settings {
            rules,
            maker_fee_ppm: 1_000,
            money: Money::default(),
        });
        assert!(exchange.open_market(pair()));
        let mut accounts = Vec::new();
        for _ in 0..3 {
            let account = exchange.open_account().unwrap();
            exchange
                .credit(account, Currency::BTC, Quantity::whole(1_000))
                .unwrap();
            exchange
                .credit(account, Currency::USD, Quantity::whole(100_000))
                .unwrap();
            accounts.push(account);
        }
        Self { exchange, accounts }
    }

    fn place(
        &mut self,
        account: usize,
        id: u64,
        side: Side,
        quantity: i64,
        limit: i64,
    ) -> Result<(), PlaceError> {
        let placement = Placement {
            id: Some(OrderId(id)),
            pair: pair(),
            side,
            quantity: Quantity::whole(quantity),
            limit: Price::whole(limit),
        };
        self.exchange
            .place(self.accounts[account], placement, NOW)
            .map(|_| ())
    }

    fn state(&self, account: usize, id: u64) -> VenueOrderState {
        self.exchange
            .order_of(self.accounts[account], OrderId(id))
            .unwrap()
            .state
    }

    fn filled(&self, account: usize, id: u64) -> expressnet::model::trade::Filled {
        self.exchange
            .order_of(self.accounts[account], OrderId(id))
            .unwrap()
            .filled
    }

    fn random_account(&self, random: &mut Random) -> AccountNo {
        self.accounts[usize::try_from(random.below(3)).unwrap()]
    }

    fn random_order(&mut self, id: u64, random: &mut Random) {
        let account = self.random_account(random);
        let side = if random.below(2) == 0 {
            Side::Bid
        } else {
            Side::Ask
        };
        let quantity = i64::try_from(random.between(100_000, 300_000_000)).unwrap();
        let cents = i64::try_from(random.between(9_000, 11_000)).unwrap();
        let placement = Placement {
            id: Some(OrderId(id)),
            pair: pair(),
            side,
            quantity: Quantity(quantity),
            limit: Price(cents * 1_000_000),
        };
        let placed = self.exchange.place(account, placement, NOW);
        assert!(matches!(
            placed,
            Ok(_) | Err(PlaceError::Funds | PlaceError::Full)
        ));
        self.exchange.drain_touched(|_| ());
    }

    fn random_cancel(&mut self, id: u64, random: &mut Random) {
        let account = self.random_account(random);
        let back = random.between(1, 200);
        let cancelled = self
            .exchange
            .cancel(account, OrderId(id.saturating_sub(back)));
        assert!(matches!(cancelled, Ok(_) | Err(NoSuchOrder)));
    }

    fn random_transfer(&mut self, random: &mut Random) {
        let account = self.random_account(random);
        let amount = Quantity(i64::try_from(random.below(1_000_000_000)).unwrap());
        let moved = if random.below(2) == 0 {
            self.exchange.credit(account, Currency::USD, amount)
        } else {
            self.exchange.debit(account, Currency::BTC, amount)
        };
        assert!(matches!(moved, Ok(()) | Err(TransferError::Funds)));
    }
}

fn pair() -> Pair {
    "BTC/USD".parse().unwrap()
}

fn apply(side: &mut Vec<Level>, changes: &[Level], which: Side) {
    for change in changes {
        side.retain(|level| level.price != change.price);
        if change.quantity.is_positive() {
            side.push(*change);
        }
    }
    side.sort_by_key(|level| match which {
        Side::Bid => -level.price.0,
        Side::Ask => level.price.0,
    });
}
