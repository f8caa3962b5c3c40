//! Plans of a leader: an arbitrage with its legs, from fire to a closed account.
//!
//! ```text
//! plan:  firing ──▶ recovering ──▶ closed (hedged | unwound | offered | held)
//!           └──────────────────────▶ closed (filled | nothing)
//! leg:   fired ──▶ working ──▶ done
//!          ├──────────────────▶ done
//!          ├──▶ unknown ──▶ working | done | refused
//!          └──▶ refused
//! ```
//! `planned = filled + open + released` holds at every instant.

use std::collections::{BTreeMap, VecDeque};

use crate::execution::Settings;
use crate::model::ids::{NodeId, OrderId, PlanId};
use crate::model::instrument::Market;
use crate::model::market::{FeeIn, Side};
use crate::model::number::{Price, Quantity};
use crate::model::offer::Tally;
use crate::model::time::{Deadline, Span, Time};
use crate::model::trade::{Draw, Filled, LegRefusal, LegReport};
use crate::telemetry::transitions::Transitions;

/// Where a leg stands for its leader, in lifecycle order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LegState {
    Fired,
    Working,
    Unknown,
    Done,
    Refused,
}

impl LegState {
    pub const ALL: [Self; 5] = [
        Self::Fired,
        Self::Working,
        Self::Unknown,
        Self::Done,
        Self::Refused,
    ];

    /// Every step a leg can take.
    pub const STEPS: [(Self, Self); 8] = [
        (Self::Fired, Self::Working),
        (Self::Fired, Self::Unknown),
        (Self::Fired, Self::Done),
        (Self::Fired, Self::Refused),
        (Self::Working, Self::Done),
        (Self::Unknown, Self::Working),
        (Self::Unknown, Self::Done),
        (Self::Unknown, Self::Refused),
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Working => "working",
            Self::Unknown => "unknown",
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }

    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Refused)
    }
}

/// What a leg is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One of the plan's own two legs.
    Plan,
    /// Completes the side that fell short, at the venue it was meant for.
    Hedge,
    /// Gives the side that went too far back to the venue it came from.
    Unwind,
}

/// One leg as its leader keeps it.
#[derive(Clone, Copy, Debug)]
pub struct Leg {
    pub granter: NodeId,
    pub draw: Draw,
    pub market: Market,
    pub side: Side,
    pub role: Role,
    pub state: LegState,
    pub filled: Filled,
    pub refused: Option<LegRefusal>,
    pub fee_in: FeeIn,
    since: Time,
}

/// How a plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Both sides filled alike.
    Filled,
    /// Neither side filled.
    Nothing,
    Hedged,
    Unwound,
    /// The imbalance went to the offer pipeline.
    Offered,
    /// The imbalance stays; the owner is told.
    Held,
}

impl Ending {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Filled => "filled",
            Self::Nothing => "nothing",
            Self::Hedged => "hedged",
            Self::Unwound => "unwound",
            Self::Offered => "offered",
            Self::Held => "held",
        }
    }
}

/// Where a plan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanState {
    Firing,
    Recovering { until: Time, next_try: Time },
}

/// One plan of this leader.
#[derive(Clone, Debug)]
pub struct Plan {
    pub id: PlanId,
    pub buy: Market,
    pub sell: Market,
    pub buy_limit: Price,
    pub sell_limit: Price,
    pub planned: Quantity,
    pub legs: Vec<Leg>,
    pub state: PlanState,
    /// A plan with a buying leg only, made to offer what it buys.
    pub is_acquisition: bool,
    opened: Time,
    /// Until then other legs of an adopted plan may still turn up.
    waits_until: Time,
}

/// What the plans ask for.
#[derive(Clone, Debug)]
pub enum PlanOutput {
    /// Ask the granter what became of this leg.
    Query {
        granter: NodeId,
        order: OrderId,
        plan: PlanId,
    },
    /// The sides differ: fire a recovery leg, or say that there is no way now.
    Recover {
        plan: PlanId,
    },
    /// Recovery ran out of time: offer the imbalance or hold it, then `close`.
    GiveUp {
        plan: PlanId,
    },
    /// More of a leg was filled: signed base units for the exposure.
    Exposed {
        market: Market,
        signed_units: i64,
    },
    Closed {
        plan: Plan,
        ending: Ending,
    },
}

/// Every open plan of this leader.
#[derive(Clone, Debug)]
pub struct Plans {
    unknown_after: Span,
    recovery_deadline: Span,
    open: BTreeMap<PlanId, Plan>,
    outputs: VecDeque<PlanOutput>,
    pub steps: Transitions<5>,
}

impl Plans {
    /// Plans open at once; full fires no further ones.
    pub const OPEN_MAX: usize = 256;
    /// Legs in one plan, recovery included; full gives up.
    pub const LEGS_MAX: usize = 12;
    /// Wait for the other legs of an adopted plan.
    const ADOPTION: Span = Span::secs(5);
    /// Wait after the first try to recover; it doubles with each further leg, so that the legs a
    /// plan may have last for its recovery deadline.
    const RETRY: Span = Span::millis(100);
    const RETRY_DOUBLINGS_MAX: usize = 5;

    pub fn new(settings: &Settings) -> Self {
        Self {
            unknown_after: settings.unknown_after,
            recovery_deadline: settings.recovery_deadline,
            open: BTreeMap::new(),
            outputs: VecDeque::new(),
            steps: Transitions::default(),
        }
    }

    pub fn has_room(&self) -> bool {
        self.open.len() < Self::OPEN_MAX
    }

    pub fn open_plan(&mut self, plan: Plan) {
        self.open.insert(plan.id, plan);
    }

    pub fn get(&self, id: PlanId) -> Option<&Plan> {
        self.open.get(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Plan> {
        self.open.values()
    }

    /// Adds a leg that is being fired now.
    pub fn add_leg(&mut self, id: PlanId, leg: Leg) {
        if let Some(plan) = self.open.get_mut(&id) {
            plan.legs.push(leg);
        }
    }

    /// Takes up a leg of an earlier run that nobody here remembers. The plan waits a while for its
    /// other legs before it is judged.
    pub fn adopt(&mut self, id: PlanId, leg: Leg, now: Time) {
        let until = now + Self::ADOPTION + self.recovery_deadline;
        let plan = self.open.entry(id).or_insert_with(|| {
            let mut plan = Plan::new(id, leg.market, leg.market, leg.draw.quantity, now);
            // Until the other side is known, recovery is bound to what this leg was worth.
            plan.buy_limit = leg.draw.limit;
            plan.sell_limit = leg.draw.limit;
            plan.state = PlanState::Recovering {
                until,
                next_try: now + Self::ADOPTION,
            };
            plan.waits_until = now + Self::ADOPTION;
            plan
        });
        match leg.side {
            Side::Bid => (plan.buy, plan.buy_limit) = (leg.market, leg.draw.limit),
            Side::Ask => (plan.sell, plan.sell_limit) = (leg.market, leg.draw.limit),
        }
        if plan.legs.len() < Self::LEGS_MAX {
            plan.legs.push(leg);
        }
    }

    /// Takes a report of the node beside a leg's venue. Returns false where no such leg is open.
    pub fn handle_report(&mut self, granter: NodeId, report: &LegReport, now: Time) -> bool {
        let Some((id, index)) = self.find(granter, report.order) else {
            return false;
        };
        let Some(leg) = self.leg_mut(id, index) else {
            return false;
        };
        let more = report.filled.quantity.less(leg.filled.quantity);
        let (market, side) = (leg.market, leg.side);
        if more.is_positive() {
            leg.filled = report.filled;
        }
        if more.is_positive() {
            let signed_units = match side {
                Side::Bid => more.0,
                Side::Ask => -more.0,
            };
            self.outputs.push_back(PlanOutput::Exposed {
                market,
                signed_units,
            });
        }
        let to = if report.is_final {
            LegState::Done
        } else {
            LegState::Working
        };
        self.step(id, index, to, now);
        self.judge(id, now);
        true
    }

    /// Takes the word that a leg never was and never will be.
    pub fn handle_refused(
        &mut self,
        granter: NodeId,
        order: OrderId,
        why: LegRefusal,
        now: Time,
    ) -> bool {
        let Some((id, index)) = self.find(granter, order) else {
            return false;
        };
        if let Some(leg) = self.leg_mut(id, index) {
            if leg.filled.quantity.is_positive() {
                self.step(id, index, LegState::Done, now);
            } else {
                leg.refused = Some(why);
                self.step(id, index, LegState::Refused, now);
            }
        }
        self.judge(id, now);
        true
    }

    /// The link to a granter broke: what was fired there and not answered is unknown.
    pub fn handle_link_lost(&mut self, granter: NodeId, now: Time) {
        let fired: Vec<(PlanId, usize)> =
            self.legs_where(|leg| leg.granter == granter && leg.state == LegState::Fired);
        for (id, index) in fired {
            self.step(id, index, LegState::Unknown, now);
        }
    }

    /// The link is back: ask for everything that is not at its end.
    pub fn handle_link_ready(&mut self, granter: NodeId, now: Time) {
        let open = self.legs_where(|leg| leg.granter == granter && !leg.state.is_final());
        for (id, index) in open {
            self.query(id, index, now);
        }
    }

    /// There is no way to recover now; tried again shortly.
    pub fn handle_no_way(&mut self, id: PlanId, now: Time) {
        if let Some(plan) = self.open.get_mut(&id)
            && let PlanState::Recovering { next_try, .. } = &mut plan.state
        {
            *next_try = now + Self::RETRY;
        }
    }

    /// Closes a plan whose recovery gave up.
    pub fn close(&mut self, id: PlanId, ending: Ending) {
        if let Some(plan) = self.open.remove(&id) {
            self.outputs.push_back(PlanOutput::Closed { plan, ending });
        }
    }

    pub fn deadline(&self) -> Option<Deadline> {
        let mut at = Time::MAX;
        for plan in self.open.values() {
            at = at.min(self.due(plan));
        }
        (at < Time::MAX).then_some(Deadline { at, why: "plan" })
    }

    pub fn handle_deadline(&mut self, now: Time) {
        let overdue =
            self.legs_where(|leg| !leg.state.is_final() && leg.since + self.unknown_after <= now);
        for (id, index) in overdue {
            let fired = self
                .leg_mut(id, index)
                .is_some_and(|leg| leg.state == LegState::Fired);
            if fired {
                self.step(id, index, LegState::Unknown, now);
            }
            self.query(id, index, now);
        }
        let recovering: Vec<PlanId> = self
            .open
            .values()
            .filter(|plan| match plan.state {
                PlanState::Recovering { next_try, .. } => next_try <= now && plan.is_settled(),
                PlanState::Firing => false,
            })
            .map(|plan| plan.id)
            .collect();
        for id in recovering {
            self.recover_or_give_up(id, now);
        }
    }

    pub fn poll_output(&mut self) -> Option<PlanOutput> {
        self.outputs.pop_front()
    }

    fn due(&self, plan: &Plan) -> Time {
        let legs = plan
            .legs
            .iter()
            .filter(|leg| !leg.state.is_final())
            .map(|leg| leg.since + self.unknown_after)
            .min()
            .unwrap_or(Time::MAX);
        match plan.state {
            PlanState::Recovering { next_try, .. } if plan.is_settled() => next_try.min(legs),
            PlanState::Recovering { .. } | PlanState::Firing => legs,
        }
    }

    /// After every change of a leg: close the plan, or begin to recover.
    fn judge(&mut self, id: PlanId, now: Time) {
        let Some(plan) = self.open.get_mut(&id) else {
            return;
        };
        if !plan.is_settled() {
            return;
        }
        if now < plan.waits_until {
            return;
        }
        if plan.imbalance() == 0 || plan.is_acquisition {
            let ending = plan.ending();
            self.close(id, ending);
            return;
        }
        if plan.state == PlanState::Firing {
            plan.state = PlanState::Recovering {
                until: now + self.recovery_deadline,
                next_try: now,
            };
        }
        // A try that filled nothing is not repeated at once: the book has not changed since.
        if matches!(plan.state, PlanState::Recovering { next_try, .. } if now < next_try) {
            return;
        }
        self.recover_or_give_up(id, now);
    }

    fn recover_or_give_up(&mut self, id: PlanId, now: Time) {
        let Some(plan) = self.open.get_mut(&id) else {
            return;
        };
        let tries = plan.legs.iter().filter(|leg| leg.role != Role::Plan);
        let doublings = tries.count().min(Self::RETRY_DOUBLINGS_MAX);
        let PlanState::Recovering { until, next_try } = &mut plan.state else {
            return;
        };
        *next_try = now + Self::RETRY.times(1 << doublings);
        let is_over = now >= *until || plan.legs.len() >= Self::LEGS_MAX;
        let imbalance = plan.imbalance();
        if plan.legs.iter().all(|leg| leg.state.is_final()) && imbalance == 0 {
            let ending = plan.ending();
            self.close(id, ending);
        } else if is_over {
            self.outputs.push_back(PlanOutput::GiveUp { plan: id });
        } else {
            self.outputs.push_back(PlanOutput::Recover { plan: id });
        }
    }

    fn query(&mut self, id: PlanId, index: usize, now: Time) {
        let Some(leg) = self.leg_mut(id, index) else {
            return;
        };
        leg.since = now;
        let (granter, order) = (leg.granter, leg.draw.order);
        self.outputs.push_back(PlanOutput::Query {
            granter,
            order,
            plan: id,
        });
    }

    fn step(&mut self, id: PlanId, index: usize, to: LegState, now: Time) {
        let Some(leg) = self
            .open
            .get_mut(&id)
            .and_then(|plan| plan.legs.get_mut(index))
        else {
            return;
        };
        leg.since = now;
        if leg.state != to && !leg.state.is_final() {
            self.steps.count(leg.state as usize, to as usize);
            leg.state = to;
        }
    }

    fn find(&self, granter: NodeId, order: OrderId) -> Option<(PlanId, usize)> {
        self.legs_where(|leg| leg.granter == granter && leg.draw.order == order)
            .first()
            .copied()
    }

    /// Counts the legs at a granter whose end is not known.
    pub fn unfinished_at(&self, granter: NodeId) -> usize {
        let is_open = |leg: &Leg| {
            leg.granter == granter && !matches!(leg.state, LegState::Done | LegState::Refused)
        };
        self.legs_where(is_open).len()
    }

    fn legs_where(&self, wanted: impl Fn(&Leg) -> bool) -> Vec<(PlanId, usize)> {
        let mut found = Vec::new();
        for plan in self.open.values() {
            for (index, leg) in plan.legs.iter().enumerate() {
                if wanted(leg) {
                    found.push((plan.id, index));
                }
            }
        }
        found
    }

    fn leg_mut(&mut self, id: PlanId, index: usize) -> Option<&mut Leg> {
        self.open.get_mut(&id)?.legs.get_mut(index)
    }
}

impl Plan {
    pub fn new(id: PlanId, buy: Market, sell: Market, planned: Quantity, now: Time) -> Self {
        Self {
            id,
            buy,
            sell,
            buy_limit: Price::ZERO,
            sell_limit: Price::ZERO,
            planned,
            legs: Vec::with_capacity(2),
            state: PlanState::Firing,
            is_acquisition: false,
            opened: now,
            waits_until: Time::ZERO,
        }
    }

    /// Returns the age of the plan.
    pub fn age(&self, now: Time) -> Span {
        now.since(self.opened)
    }

    /// Returns base bought less base sold, in units.
    pub fn imbalance(&self) -> i64 {
        self.legs
            .iter()
            .map(|leg| match leg.side {
                Side::Bid => leg.filled.quantity.0,
                Side::Ask => -leg.filled.quantity.0,
            })
            .fold(0, i64::saturating_add)
    }

    /// Returns true where every leg is at its end.
    pub fn is_settled(&self) -> bool {
        self.legs.iter().all(|leg| leg.state.is_final())
    }

    /// Returns what is filled, still open, and released while the plan is open.
    pub fn tally(&self) -> Tally {
        let filled = self.filled();
        Tally {
            planned: self.planned,
            filled,
            offered: self.planned.less(filled),
            released: Quantity::ZERO,
        }
    }

    /// Returns the tally once the plan is closed: what is not filled is released.
    pub fn closed_tally(&self) -> Tally {
        let filled = self.filled();
        Tally {
            planned: self.planned,
            filled,
            offered: Quantity::ZERO,
            released: self.planned.less(filled),
        }
    }

    /// Returns what the plan earned in quote, and what fees took in base.
    pub fn result(&self) -> (i64, i64) {
        let (mut quote, mut base) = (0_i64, 0_i64);
        for leg in &self.legs {
            let filled = &leg.filled;
            match leg.side {
                Side::Bid => quote = quote.saturating_sub(filled.total.0),
                Side::Ask => quote = quote.saturating_add(filled.total.0),
            }
            match (leg.side, leg.fee_in) {
                (Side::Bid, FeeIn::Received) => base = base.saturating_sub(filled.fee.0),
                (Side::Bid, FeeIn::Quote) | (Side::Ask, _) => {
                    quote = quote.saturating_sub(filled.fee.0);
                }
            }
        }
        (quote, base)
    }

    fn filled(&self) -> Quantity {
        let sum = |side: Side| -> i64 {
            self.legs
                .iter()
                .map(|leg| match (leg.role, leg.side == side) {
                    (Role::Plan | Role::Hedge, true) => leg.filled.quantity.0,
                    (Role::Unwind, false) => -leg.filled.quantity.0,
                    (Role::Plan | Role::Hedge, false) | (Role::Unwind, true) => 0,
                })
                .fold(0, i64::saturating_add)
        };
        let both = if self.is_acquisition {
            sum(Side::Bid)
        } else {
            sum(Side::Bid).min(sum(Side::Ask))
        };
        Quantity(both.clamp(0, self.planned.0))
    }

    fn ending(&self) -> Ending {
        let has = |role: Role| {
            self.legs
                .iter()
                .any(|leg| leg.role == role && leg.filled.quantity.is_positive())
        };
        if has(Role::Unwind) {
            Ending::Unwound
        } else if has(Role::Hedge) {
            Ending::Hedged
        } else if self.filled().is_positive() {
            Ending::Filled
        } else {
            Ending::Nothing
        }
    }
}

impl Leg {
    pub fn new(
        granter: NodeId,
        draw: Draw,
        market: Market,
        side: Side,
        role: Role,
        fee_in: FeeIn,
        now: Time,
    ) -> Self {
        Self {
            granter,
            draw,
            market,
            side,
            role,
            state: LegState::Fired,
            filled: Filled::default(),
            refused: None,
            fee_in,
            since: now,
        }
    }
}
