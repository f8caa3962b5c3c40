//! The gate: what may be reserved, what may be sent, and what the switch says.

use std::collections::BTreeMap;

use crate::model::currency::Currency;
use crate::model::instrument::{Market, Pair, VenueId};
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::sealed::{Approved, ApprovedOrder};
use crate::model::time::{Span, Time};
use crate::model::trade::{LegRefusal, OrderIntent, Purpose};
use crate::risk::{Settings, Switch};

/// Which limit stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitHit {
    Order,
    VenueDay,
    PairDay,
    Day,
    Exposure,
    Switch,
}

impl LimitHit {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Order => "order_limit",
            Self::VenueDay => "venue_day_limit",
            Self::PairDay => "pair_day_limit",
            Self::Day => "day_limit",
            Self::Exposure => "exposure_limit",
            Self::Switch => "switch",
        }
    }
}

/// Limits of one owner at one node, and how much of them is used.
#[derive(Clone, Debug)]
pub struct Gate {
    settings: Settings,
    switch: Switch,
    day: u64,
    /// Base, per venue and side: open envelopes plus today's fills.
    venue_day: BTreeMap<(VenueId, Side, Currency), Quantity>,
    /// Quote notional of today's fills and open envelopes.
    pair_day: BTreeMap<Pair, Quantity>,
    /// Quote result of today's closed plans; negative is a loss.
    result_day: BTreeMap<Currency, i64>,
    /// Base that is bought but not sold (positive) or sold but not bought.
    exposure: BTreeMap<Currency, i64>,
    throttles: BTreeMap<VenueId, Bucket>,
}

/// A limit for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUse {
    pub name: String,
    pub currency: Currency,
    pub used: Quantity,
    pub limit: Quantity,
}

/// One order in so many is kept for bringing broken plans back into balance.
const SPARE_OF: u16 = 5;

impl Gate {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            switch: Switch::Active,
            day: 0,
            venue_day: BTreeMap::new(),
            pair_day: BTreeMap::new(),
            result_day: BTreeMap::new(),
            exposure: BTreeMap::new(),
            throttles: BTreeMap::new(),
        }
    }

    pub fn switch(&self) -> Switch {
        self.switch
    }

    pub fn set_switch(&mut self, switch: Switch) {
        self.switch = switch;
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Begins a new UTC day where one has begun: today's fills and results start at nothing, open
    /// envelopes stay counted by the caller through `reserve`.
    pub fn handle_day(&mut self, now: Time) -> bool {
        if now.day() == self.day {
            return false;
        }
        self.day = now.day();
        self.venue_day.clear();
        self.pair_day.clear();
        self.result_day.clear();
        true
    }

    /// Returns the largest base quantity that limits still allow to be reserved.
    ///
    /// # Errors
    /// The limit that allows nothing.
    pub fn room(&self, market: Market, side: Side, price: Price) -> Result<Quantity, LimitHit> {
        if self.switch == Switch::Halt {
            return Err(LimitHit::Switch);
        }
        let order = find(&self.settings.order_quantity_max, market.pair.base)
            .filter(|limit| limit.is_positive())
            .ok_or(LimitHit::Order)?;
        let venue = self.venue_day_left(market, side);
        let pair = self.pair_day_left(market.pair).bought_at(price);
        let day = self.day_left(market.pair.quote).bought_at(price);
        if !venue.is_positive() {
            return Err(LimitHit::VenueDay);
        }
        if !pair.is_positive() {
            return Err(LimitHit::PairDay);
        }
        if !day.is_positive() {
            return Err(LimitHit::Day);
        }
        Ok(order.min(venue).min(pair).min(day))
    }

    /// Counts a grant against every limit it touches.
    pub fn reserve(&mut self, market: Market, side: Side, quantity: Quantity, notional: Quantity) {
        let key = (market.venue, side, market.pair.base);
        let used = self.venue_day.entry(key).or_default();
        *used = used.saturating_add(quantity);
        let used = self.pair_day.entry(market.pair).or_default();
        *used = used.saturating_add(notional);
    }

    /// Gives back what a closed grant did not fill.
    pub fn give_back(
        &mut self,
        market: Market,
        side: Side,
        quantity: Quantity,
        notional: Quantity,
    ) {
        let key = (market.venue, side, market.pair.base);
        let used = self.venue_day.entry(key).or_default();
        *used = used.less(quantity);
        let used = self.pair_day.entry(market.pair).or_default();
        *used = used.less(notional);
    }

    /// Lets an order pass, or says what stands in its way. `reference` is the middle of fresh books
    /// of the pair; without one nothing passes.
    ///
    /// # Errors
    /// The refusal for the leader.
    pub fn approve(
        &mut self,
        intent: &OrderIntent,
        purpose: Purpose,
        reference: Option<Price>,
        now: Time,
    ) -> Result<Approved, LegRefusal> {
        match (self.switch, purpose) {
            (Switch::Active, _) | (Switch::Pause | Switch::Reduce, Purpose::Recover) => (),
            (Switch::Pause | Switch::Reduce, Purpose::Open) | (Switch::Halt, _) => {
                return Err(LegRefusal::Switch);
            }
        }
        let order_max = find(&self.settings.order_quantity_max, intent.market.pair.base);
        if order_max.is_none_or(|limit| intent.quantity > limit) {
            return Err(LegRefusal::OrderMax);
        }
        if !self.is_within_collar(intent.limit, reference) {
            return Err(LegRefusal::Collar);
        }
        let rate = self.settings.orders_per_s;
        let bucket = self.throttles.entry(intent.market.venue).or_default();
        let spare = match purpose {
            Purpose::Open => rate / SPARE_OF,
            Purpose::Recover => 0,
        };
        if !bucket.take(rate, spare, now) {
            return Err(LegRefusal::Throttle);
        }
        Ok(Approved::seal(ApprovedOrder {
            id: intent.id,
            market: intent.market,
            side: intent.side,
            quantity: intent.quantity,
            limit: intent.limit,
        }))
    }

    /// Says whether a limit price lies near enough to the middle of fresh books.
    pub fn is_within_collar(&self, limit: Price, reference: Option<Price>) -> bool {
        reference.is_some_and(|reference| limit.is_within_ppm(reference, self.settings.collar_ppm))
    }

    /// Says whether one more order may leave for a venue now.
    pub fn may_send(&self, venue: VenueId, now: Time) -> bool {
        let mut bucket = self.throttles.get(&venue).copied().unwrap_or_default();
        let rate = self.settings.orders_per_s;
        bucket.take(rate, rate / SPARE_OF, now)
    }

    /// Returns how much more imbalance of a currency the owner allows.
    pub fn exposure_left(&self, currency: Currency) -> Quantity {
        let limit = find(&self.settings.exposure_max, currency).unwrap_or_default();
        let used = self.exposure(currency).unsigned_abs();
        limit.less(Quantity(i64::try_from(used).unwrap_or(i64::MAX)))
    }

    pub fn exposure(&self, currency: Currency) -> i64 {
        self.exposure.get(&currency).copied().unwrap_or(0)
    }

    /// Adds to the imbalance: positive for base bought, negative for base sold.
    pub fn expose(&mut self, currency: Currency, signed_units: i64) {
        let exposure = self.exposure.entry(currency).or_default();
        *exposure = exposure.saturating_add(signed_units);
    }

    /// Counts a closed plan's result; a loss beyond the limit pulls the switch to `Reduce`.
    pub fn settle_result(&mut self, quote: Currency, signed_units: i64) -> bool {
        let result = self.result_day.entry(quote).or_default();
        *result = result.saturating_add(signed_units);
        let limit = find(&self.settings.day_loss_max, quote).unwrap_or_default();
        let is_beyond = *result < 0 && result.unsigned_abs() > limit.0.unsigned_abs();
        if is_beyond && self.switch == Switch::Active {
            self.switch = Switch::Reduce;
            return true;
        }
        false
    }

    pub fn results(&self) -> impl Iterator<Item = (Currency, i64)> + '_ {
        self.result_day
            .iter()
            .map(|(quote, units)| (*quote, *units))
    }

    /// Lists every limit and its use.
    pub fn uses(&self) -> Vec<LimitUse> {
        let mut uses = Vec::new();
        for limit in &self.settings.venue_day_max {
            let key = (limit.venue, limit.side, limit.currency);
            uses.push(LimitUse {
                name: format!("venue_day {} {}", limit.venue, limit.side.word()),
                currency: limit.currency,
                used: self.venue_day.get(&key).copied().unwrap_or_default(),
                limit: limit.quantity,
            });
        }
        for (pair, limit) in &self.settings.pair_day_notional_max {
            uses.push(LimitUse {
                name: format!("pair_day {pair}"),
                currency: pair.quote,
                used: self.pair_day.get(pair).copied().unwrap_or_default(),
                limit: *limit,
            });
        }
        for (quote, limit) in &self.settings.day_notional_max {
            uses.push(LimitUse {
                name: "day".to_owned(),
                currency: *quote,
                used: self.day_used(*quote),
                limit: *limit,
            });
        }
        for (currency, limit) in &self.settings.exposure_max {
            let used = self.exposure(*currency).unsigned_abs();
            uses.push(LimitUse {
                name: "exposure".to_owned(),
                currency: *currency,
                used: Quantity(i64::try_from(used).unwrap_or(i64::MAX)),
                limit: *limit,
            });
        }
        for (quote, limit) in &self.settings.day_loss_max {
            let result = self.result_day.get(quote).copied().unwrap_or(0);
            let lost = i64::try_from(result.min(0).unsigned_abs()).unwrap_or(i64::MAX);
            uses.push(LimitUse {
                name: "day_loss".to_owned(),
                currency: *quote,
                used: Quantity(lost),
                limit: *limit,
            });
        }
        uses
    }

    fn venue_day_left(&self, market: Market, side: Side) -> Quantity {
        let limit = self.settings.venue_day_max.iter().find(|limit| {
            limit.venue == market.venue && limit.side == side && limit.currency == market.pair.base
        });
        let key = (market.venue, side, market.pair.base);
        let used = self.venue_day.get(&key).copied().unwrap_or_default();
        limit.map_or(Quantity::MAX, |limit| limit.quantity.less(used))
    }

    fn pair_day_left(&self, pair: Pair) -> Quantity {
        let used = self.pair_day.get(&pair).copied().unwrap_or_default();
        self.settings
            .pair_day_notional_max
            .iter()
            .find(|(limited, _)| *limited == pair)
            .map_or(Quantity::MAX, |(_, limit)| limit.less(used))
    }

    fn day_left(&self, quote: Currency) -> Quantity {
        find(&self.settings.day_notional_max, quote)
            .map_or(Quantity::MAX, |limit| limit.less(self.day_used(quote)))
    }

    fn day_used(&self, quote: Currency) -> Quantity {
        self.pair_day
            .iter()
            .filter(|(pair, _)| pair.quote == quote)
            .fold(Quantity::ZERO, |sum, (_, used)| sum.saturating_add(*used))
    }
}

/// A token bucket that holds one second's worth.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Nanoseconds of a second that are spent.
    spent_ns: u64,
    at: Time,
}

impl Bucket {
    /// Takes a token and leaves at least `spare` of them.
    fn take(&mut self, rate: u16, spare: u16, now: Time) -> bool {
        if rate == 0 {
            return false;
        }
        let price_ns = Span::SECOND.0 / u64::from(rate);
        self.spent_ns = self.spent_ns.saturating_sub(now.since(self.at).0);
        self.at = now;
        if self.spent_ns + price_ns * (1 + u64::from(spare)) > Span::SECOND.0 {
            return false;
        }
        self.spent_ns += price_ns;
        true
    }
}

fn find(limits: &[(Currency, Quantity)], currency: Currency) -> Option<Quantity> {
    limits
        .iter()
        .find(|(limited, _)| *limited == currency)
        .map(|(_, limit)| *limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::OrderId;
    use crate::risk::VenueDayLimit;

    fn settings() -> Settings {
        Settings {
            order_quantity_max: vec![(Currency::BTC, Quantity::whole(10))],
            venue_day_max: vec![VenueDayLimit {
                venue: "a".parse().unwrap(),
                side: Side::Ask,
                currency: Currency::BTC,
                quantity: Quantity::whole(12),
            }],
            pair_day_notional_max: Vec::new(),
            day_notional_max: vec![(Currency::USD, Quantity::whole(2_000))],
            day_loss_max: vec![(Currency::USD, Quantity::whole(5))],
            exposure_max: vec![(Currency::BTC, Quantity::whole(3))],
            collar_ppm: 100_000,
            envelope_ttl: Span::MINUTE,
            envelope_reach_ppm: 10_000,
            orders_per_s: 2,
            book_age_max: Span::SECOND,
            engine_lag_max: Span::SECOND,
        }
    }

    fn intent(quantity: i64, limit: i64) -> OrderIntent {
        OrderIntent {
            id: OrderId(1),
            market: market(),
            side: Side::Ask,
            quantity: Quantity::whole(quantity),
            limit: Price::whole(limit),
        }
    }

    fn market() -> Market {
        Market {
            venue: "a".parse().unwrap(),
            pair: "BTC/USD".parse().unwrap(),
        }
    }

    #[track_caller]
    fn check(intent: &OrderIntent, reference: Option<i64>, expected: Result<(), LegRefusal>) {
        let mut gate = Gate::new(settings());
        let reference = reference.map(Price::whole);
        let result = gate.approve(intent, Purpose::Open, reference, Time(0));
        assert_eq!(result.map(|_| ()), expected);
    }

    #[test]
    fn an_order_passes_only_within_its_limit_and_collar() {
        check(&intent(10, 100), Some(100), Ok(()));
        check(&intent(11, 100), Some(100), Err(LegRefusal::OrderMax));
        check(&intent(10, 111), Some(100), Err(LegRefusal::Collar));
        check(&intent(10, 89), Some(100), Err(LegRefusal::Collar));
        check(&intent(10, 100), None, Err(LegRefusal::Collar));
    }

    #[test]
    fn the_throttle_lets_a_second_pass_in_a_second() {
        let mut gate = Gate::new(settings());
        let mut passes = |now| {
            gate.approve(&intent(1, 100), Purpose::Open, Some(Price::whole(100)), now)
                .is_ok()
        };
        let start = Time(0) + Span::SECOND;
        assert!(passes(start) && passes(start));
        assert!(!passes(start));
        assert!(passes(start + Span::millis(500)));
        assert!(!passes(start + Span::millis(600)));
    }

    #[test]
    fn a_fifth_of_the_orders_is_kept_for_recovery() {
        let mut gate = Gate::new(Settings {
            orders_per_s: 10,
            ..settings()
        });
        let now = Time(0) + Span::SECOND;
        let venue = market().venue;
        let mut pass = |purpose| {
            gate.approve(&intent(1, 100), purpose, Some(Price::whole(100)), now)
                .map(drop)
        };
        for _ in 0..8 {
            assert_eq!(pass(Purpose::Open), Ok(()));
        }
        assert_eq!(pass(Purpose::Open), Err(LegRefusal::Throttle));
        assert_eq!(pass(Purpose::Recover), Ok(()));
        assert_eq!(pass(Purpose::Recover), Ok(()));
        assert_eq!(pass(Purpose::Recover), Err(LegRefusal::Throttle));
        assert!(!gate.may_send(venue, now));
        assert!(gate.may_send(venue, now + Span::SECOND));
    }

    #[test]
    fn the_switch_decides_by_purpose() {
        for (switch, open, recover) in [
            (Switch::Active, true, true),
            (Switch::Pause, false, true),
            (Switch::Reduce, false, true),
            (Switch::Halt, false, false),
        ] {
            let mut gate = Gate::new(settings());
            gate.set_switch(switch);
            let mut passes = |purpose| {
                gate.approve(&intent(1, 100), purpose, Some(Price::whole(100)), Time(0))
                    .is_ok()
            };
            assert_eq!(passes(Purpose::Open), open, "{switch:?}");
            assert_eq!(passes(Purpose::Recover), recover, "{switch:?}");
        }
    }

    #[test]
    fn what_is_reserved_leaves_less_room() {
        let mut gate = Gate::new(settings());
        let price = Price::whole(100);
        assert_eq!(
            gate.room(market(), Side::Ask, price),
            Ok(Quantity::whole(10))
        );
        gate.reserve(
            market(),
            Side::Ask,
            Quantity::whole(9),
            Quantity::whole(900),
        );
        assert_eq!(
            gate.room(market(), Side::Ask, price),
            Ok(Quantity::whole(3))
        );
        gate.reserve(
            market(),
            Side::Ask,
            Quantity::whole(3),
            Quantity::whole(300),
        );
        assert_eq!(
            gate.room(market(), Side::Ask, price),
            Err(LimitHit::VenueDay)
        );
        assert_eq!(
            gate.room(market(), Side::Bid, price),
            Ok(Quantity::whole(8))
        );
        gate.give_back(
            market(),
            Side::Ask,
            Quantity::whole(3),
            Quantity::whole(300),
        );
        assert_eq!(
            gate.room(market(), Side::Ask, price),
            Ok(Quantity::whole(3))
        );
    }

    #[test]
    fn a_loss_beyond_the_limit_pulls_the_switch() {
        let mut gate = Gate::new(settings());
        assert!(!gate.settle_result(Currency::USD, -500_000_000));
        assert!(gate.settle_result(Currency::USD, -1));
        assert_eq!(gate.switch(), Switch::Reduce);
    }

    #[test]
    fn a_currency_without_limits_cannot_be_traded() {
        let mut empty = settings();
        empty.order_quantity_max.clear();
        let gate = Gate::new(empty);
        assert_eq!(
            gate.room(market(), Side::Bid, Price::whole(1)),
            Err(LimitHit::Order)
        );
    }
}
