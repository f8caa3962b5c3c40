//! How much of two ladders pays, level by level, and what it costs and brings to the last unit.

use crate::arbitrage::Costs;
use crate::model::instrument::Market;
use crate::model::market::{FeeIn, Level, Rules, Side};
use crate::model::number::{Price, Quantity};
use crate::model::sealed::LiveBook;

/// What a walk may not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// In base: order limits and what can be delivered at the selling venue.
    pub quantity_max: Quantity,
    /// In quote: what can be paid at the buying venue, fee included.
    pub spend_max: Quantity,
    /// Base at the front of the asks that own orders in flight will take.
    pub buy_in_flight: Quantity,
    /// The same of the bids.
    pub sell_in_flight: Quantity,
    /// The dearest ask and the cheapest bid that may be taken.
    pub buy_worst: Price,
    pub sell_worst: Price,
}

impl Caps {
    /// No cap: what the books alone allow.
    pub const NONE: Self = Self {
        quantity_max: Quantity::MAX,
        spend_max: Quantity::MAX,
        buy_in_flight: Quantity::ZERO,
        sell_in_flight: Quantity::ZERO,
        buy_worst: Price(i64::MAX),
        sell_worst: Price::ZERO,
    };
}

/// A quantity that pays on both books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opportunity {
    pub buy: Market,
    pub sell: Market,
    pub buy_sequence: u64,
    pub sell_sequence: u64,
    pub quantity: Quantity,
    /// The worst ask that is taken.
    pub buy_limit: Price,
    /// The worst bid that is taken.
    pub sell_limit: Price,
    /// Paid in quote, a quote fee included.
    pub cost: Quantity,
    /// Received in quote, fee taken off.
    pub proceeds: Quantity,
    pub bound: Bound,
}

/// What ended a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The next levels do not pay, or there are none.
    Books,
    Quantity,
    Spend,
    /// The next level pays but lies beyond the worst price allowed.
    Price,
}

/// Why there is nothing to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTrade {
    /// The best levels do not pay.
    BelowEdge,
    /// What pays is under a minimum or a lot once every cap is applied.
    TooSmall(Bound),
}

/// Walks the asks of one book against the bids of another.
///
/// Each step takes the smaller of both levels while it pays; the sum is rounded down to both lots
/// and priced again exactly, fees rounded up.
///
/// # Errors
/// Why nothing is worth taking.
pub fn walk(
    buy: &LiveBook<'_>,
    sell: &LiveBook<'_>,
    buy_rules: &Rules,
    sell_rules: &Rules,
    costs: &Costs,
    caps: &Caps,
) -> Result<Opportunity, NoTrade> {
    let (quantity, bound) = quantity_that_pays(buy, sell, buy_rules, costs, caps);
    if quantity.is_zero() && bound == Bound::Books {
        return Err(NoTrade::BelowEdge);
    }
    let rounded = quantity.floor_to(buy_rules.lot).floor_to(sell_rules.lot);
    let least = buy_rules.quantity_min.max(sell_rules.quantity_min);
    if !rounded.is_positive() || rounded < least {
        return Err(NoTrade::TooSmall(bound));
    }
    let bought = take(rest(buy.levels(Side::Ask), caps.buy_in_flight), rounded);
    let sold = take(rest(sell.levels(Side::Bid), caps.sell_in_flight), rounded);
    let cost = match buy_rules.fee_in {
        FeeIn::Received => bought.total_ceil,
        FeeIn::Quote => bought
            .total_ceil
            .saturating_add(bought.total_ceil.ppm_ceil(buy_rules.taker_fee_ppm)),
    };
    let proceeds = sold
        .total_floor
        .saturating_sub(sold.total_floor.ppm_ceil(sell_rules.taker_fee_ppm));
    Ok(Opportunity {
        buy: buy.market,
        sell: sell.market,
        buy_sequence: buy.sequence,
        sell_sequence: sell.sequence,
        quantity: rounded,
        buy_limit: bought.worst,
        sell_limit: sold.worst,
        cost,
        proceeds,
        bound,
    })
}

fn quantity_that_pays(
    buy: &LiveBook<'_>,
    sell: &LiveBook<'_>,
    buy_rules: &Rules,
    costs: &Costs,
    caps: &Caps,
) -> (Quantity, Bound) {
    let spend_fee_ppm = match buy_rules.fee_in {
        FeeIn::Received => 0,
        FeeIn::Quote => i64::from(buy_rules.taker_fee_ppm),
    };
    let mut asks = rest(buy.levels(Side::Ask), caps.buy_in_flight);
    let mut bids = rest(sell.levels(Side::Bid), caps.sell_in_flight);
    let (mut ask, mut bid) = (asks.next(), bids.next());
    let mut sum = Quantity::ZERO;
    let mut spent = Quantity::ZERO;
    while let (Some(asked), Some(bidden)) = (ask, bid) {
        if !costs.pays(asked.price, bidden.price) {
            break;
        }
        if asked.price > caps.buy_worst || bidden.price < caps.sell_worst {
            return (sum, Bound::Price);
        }
        let step = asked.quantity.min(bidden.quantity);
        let all_in = asked.price.moved_ppm_ceil(spend_fee_ppm);
        let affordable = caps.spend_max.less(spent).bought_up_to(step, all_in);
        let allowed = caps.quantity_max.less(sum);
        let taken = affordable.min(allowed);
        sum = sum.saturating_add(taken);
        spent = spent.saturating_add(all_in.total_ceil(taken));
        if taken < step {
            let bound = if affordable < allowed {
                Bound::Spend
            } else {
                Bound::Quantity
            };
            return (sum, bound);
        }
        ask = left_of(asked, taken).or_else(|| asks.next());
        bid = left_of(bidden, taken).or_else(|| bids.next());
    }
    (sum, Bound::Books)
}

fn left_of(level: Level, taken: Quantity) -> Option<Level> {
    let quantity = level.quantity.less(taken);
    quantity.is_positive().then_some(Level {
        price: level.price,
        quantity,
    })
}

/// Skips the quantity at the front that orders in flight will take.
fn rest(levels: impl Iterator<Item = Level>, in_flight: Quantity) -> impl Iterator<Item = Level> {
    let mut skip = in_flight;
    levels.filter_map(move |level| {
        let skipped = skip.min(level.quantity);
        skip = skip.less(skipped);
        left_of(level, skipped)
    })
}

/// What a quantity costs on a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub quantity: Quantity,
    pub total_floor: Quantity,
    pub total_ceil: Quantity,
    pub worst: Price,
}

/// Takes up to `quantity` from a ladder, best level first.
pub fn take(levels: impl Iterator<Item = Level>, quantity: Quantity) -> Taken {
    let mut taken = Taken {
        quantity: Quantity::ZERO,
        total_floor: Quantity::ZERO,
        total_ceil: Quantity::ZERO,
        worst: Price::ZERO,
    };
    for level in levels {
        let step = level.quantity.min(quantity.less(taken.quantity));
        if !step.is_positive() {
            break;
        }
        taken.quantity = taken.quantity.saturating_add(step);
        taken.total_floor = taken
            .total_floor
            .saturating_add(level.price.total_floor(step));
        taken.total_ceil = taken
            .total_ceil
            .saturating_add(level.price.total_ceil(step));
        taken.worst = level.price;
    }
    taken
}
