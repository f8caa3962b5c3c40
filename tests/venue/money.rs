//! An adapter and its served side hold the same money, whatever is lost between them.
//!
//! Random orders are placed, left to rest, cancelled, looked up; every fault of the dialect strikes;
//! streams break, replies vanish, the engine lags. What the adapter told of every order, added up,
//! must be what the venue's own books hold, to the last unit of every currency.
//!
//! `EXPRESSNET_MONEY_OPERATIONS` sets how many operations each way of each dialect is driven through,
//! `EXPRESSNET_MONEY_WAYS` which ways, such as `mtgox Plain,btce Polled`, `EXPRESSNET_MONEY_SEED` what
//! chance begins with.

#![expect(clippy::print_stderr, reason = "what was driven is said aloud")]

use expressnet::model::currency::Currency;
use expressnet::model::market::Side;
use expressnet::model::number::{Price, Quantity};
use expressnet::model::random::Random;
use expressnet::model::time::Span;
use expressnet::venue::{Dialect, Framing};

use crate::venue::conformance::every_way;
use crate::venue::world::{Plan, World};

const OPERATIONS: u64 = 3_000;
/// How often each fault strikes.
const FAULT_PPM: u32 = 20_000;
const FUNDS: [(Currency, i64); 2] = [(Currency::USD, 200_000), (Currency::BTC, 2_000)];

#[test]
fn both_sides_hold_the_same_money() {
    let operations = std::env::var("EXPRESSNET_MONEY_OPERATIONS");
    let operations = operations.map_or(OPERATIONS, |text| text.parse().unwrap());
    let seed = std::env::var("EXPRESSNET_MONEY_SEED");
    let seed = seed.map_or(1, |text| text.parse::<u64>().unwrap());
    let ways = std::env::var("EXPRESSNET_MONEY_WAYS").unwrap_or_default();
    for (index, (dialect, framing)) in every_way().into_iter().enumerate() {
        let name = format!("{} {framing:?}", dialect.name());
        if !ways.is_empty() && !ways.split(',').any(|way| way == name) {
            continue;
        }
        drive(dialect, framing, operations, index as u64 + seed);
    }
}

fn drive(dialect: &'static dyn Dialect, framing: Framing, operations: u64, seed: u64) {
    let name = format!("{} {framing:?}", dialect.name());
    let faults = dialect.card().faults;
    let plan = Plan {
        framing,
        faults: faults.iter().map(|fault| (*fault, FAULT_PPM)).collect(),
        balances: FUNDS
            .iter()
            .map(|(currency, units)| (*currency, Quantity::whole(*units)))
            .collect(),
        seed,
        personality: None,
        may_withdraw: false,
    };
    let mut world = World::new(dialect, plan);
    let mut random = Random::new(seed);
    let mut placed = 0;
    for _ in 0..operations {
        match random.below(10) {
            0..5 => {
                placed += 1;
                place(&mut world, &mut random, placed);
            }
            5..9 => {
                let span = Span::millis(random.between(1, 120));
                world.step(span);
            }
            _ => {
                world.ask_account();
            }
        }
        world.told.clear();
        world.heard.clear();
        world.frames.clear();
        assert!(
            world.book.gaps == 0 || dialect.card().sequenced_books,
            "{name}"
        );
    }
    // Whatever is unknown is found out in the end, with faults as before.
    for _ in 0..40_000 {
        if world.orders.open().next().is_none() {
            break;
        }
        world.step(Span::millis(100));
    }
    // What ended last has been told, and not been added up.
    world.settle();
    let open: Vec<_> = world.orders.open().cloned().collect();
    assert!(
        open.is_empty(),
        "{name}: {} open, {:?}",
        open.len(),
        open.first()
    );
    assert_eq!(world.unclaimed(), Vec::<String>::new(), "{name}");
    for (currency, units) in FUNDS {
        let expected = Quantity::whole(units).0 + world.moved.get(&currency).copied().unwrap_or(0);
        let held = world.venue_balance(currency);
        assert_eq!(
            held,
            expected,
            "{name}: {currency} differs by {} after {placed} orders; {:?}",
            held - expected,
            world.refusals
        );
    }
    eprintln!(
        "{name}: {operations} operations, {placed} orders, {} reconnects, {} frames refused, {} kinds \
         of failed requests, money equal",
        world.reconnects,
        world.refused_frames,
        world.refusals.len()
    );
}

/// Orders around the market: some cross it, some rest, amounts differ in their smallest units only
/// where the desk makes them differ.
fn place(world: &mut World, random: &mut Random, id: u64) {
    let side = [Side::Bid, Side::Ask][usize::try_from(random.below(2)).unwrap()];
    let away = i64::try_from(random.below(4_000)).unwrap() - 2_000;
    let price = Price::whole(100).moved_ppm(away);
    let rules = world.dialect.rules(world.setup.pairs[0]);
    let limit = rules.limit_on_tick(side, price);
    let wanted = Quantity(i64::try_from(random.between(1_000_000, 60_000_000)).unwrap());
    let quantity = world.tagged(side, wanted);
    if world.orders.has_room() {
        world.place(id, side, quantity, limit);
    }
}
