//! Envelopes: permission bought in advance, so that a fire waits for nothing.
//!
//! ```text
//! granter:  arming ── durable ──▶ armed ── expired, used up or revoked ──▶ closing ── last order
//!           ended ──▶ closed (gone)
//! drawer:   right ── draw ──▶ … ── expired or over ──▶ gone
//! ```
//! Every order id belongs to one envelope and is used at most once, crash or not.

use std::collections::BTreeMap;

use crate::model::ids::{CommitNo, EnvelopeId, NodeId, OrderId, PlanId};
use crate::model::instrument::Market;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::time::{Span, Time};
use crate::model::trade::{Draw, Grant, LegRefusal, Purpose};

/// Order ids in one envelope; they fit one word.
pub const ORDERS_PER_ENVELOPE: u16 = 32;
/// Envelopes a node keeps open as granter; full grants no more until one closes.
pub const GRANTED_MAX: usize = 512;
/// Rights a node keeps as drawer; full drops the newcomer.
pub const RIGHTS_MAX: usize = 512;
/// The granter still honours a draw this long after the drawer's right has ended: the way it needs.
const GRACE: Span = Span::secs(2);

/// One envelope as its granter keeps it.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub grant: Grant,
    pub drawer: NodeId,
    pub expires: Time,
    pub state: EnvelopeState,
    used: u32,
    drawn_quantity: Quantity,
    drawn_notional: Quantity,
    /// Fills of its orders that ended, for the limits.
    filled_quantity: Quantity,
    filled_notional: Quantity,
    orders_open: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeState {
    /// Waits for its record to be durable.
    Arming(CommitNo),
    Armed,
    /// No more draws; waits for its orders to end.
    Closing,
}

/// Every envelope this node has granted and not closed.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    envelopes: BTreeMap<EnvelopeId, Envelope>,
    faults: Faults,
}

/// Bugs that can be planted to prove that the simulator's checkers have teeth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Forgets which ids were used.
    pub reuse_ids: bool,
}

impl Granted {
    pub fn plant(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Takes a new envelope that waits for `commit`.
    pub fn arm(&mut self, grant: Grant, drawer: NodeId, expires: Time, commit: CommitNo) {
        self.envelopes.insert(
            grant.envelope,
            Envelope {
                grant,
                drawer,
                expires,
                state: EnvelopeState::Arming(commit),
                used: 0,
                drawn_quantity: Quantity::ZERO,
                drawn_notional: Quantity::ZERO,
                filled_quantity: Quantity::ZERO,
                filled_notional: Quantity::ZERO,
                orders_open: 0,
            },
        );
    }

    pub fn has_room(&self) -> bool {
        self.envelopes.len() < GRANTED_MAX
    }

    /// Arms what waited for this commit and returns it, to be told to its drawers.
    pub fn handle_committed(&mut self, commit: CommitNo) -> Vec<(Grant, NodeId, Time)> {
        let mut armed = Vec::new();
        for envelope in self.envelopes.values_mut() {
            if matches!(envelope.state, EnvelopeState::Arming(waits) if waits <= commit) {
                envelope.state = EnvelopeState::Armed;
                armed.push((envelope.grant, envelope.drawer, envelope.expires));
            }
        }
        armed
    }

    /// Draws on an envelope: marks the id as used and takes the amounts off.
    ///
    /// # Errors
    /// The refusal for the drawer. A refused id stays unused, but see `burn`.
    pub fn draw(
        &mut self,
        draw: &Draw,
        drawer: NodeId,
        now: Time,
    ) -> Result<(Market, Side), LegRefusal> {
        let envelope = self
            .envelopes
            .get_mut(&draw.envelope)
            .filter(|envelope| envelope.drawer == drawer)
            .ok_or(LegRefusal::NoEnvelope)?;
        if envelope.state != EnvelopeState::Armed || now > envelope.expires + GRACE {
            return Err(LegRefusal::EnvelopeExpired);
        }
        let bit = envelope.bit(draw.order).ok_or(LegRefusal::BeyondEnvelope)?;
        if envelope.used & bit != 0 && !self.faults.reuse_ids {
            return Err(LegRefusal::BeyondEnvelope);
        }
        let grant = &envelope.grant;
        let quantity = envelope.drawn_quantity.saturating_add(draw.quantity);
        let notional = draw.limit.total_ceil(draw.quantity);
        let notional = envelope.drawn_notional.saturating_add(notional);
        if quantity > grant.quantity
            || notional > grant.notional
            || !grant.side.accepts(grant.worst_price, draw.limit)
        {
            return Err(LegRefusal::BeyondEnvelope);
        }
        let (market, side) = (grant.market, grant.side);
        envelope.used |= bit;
        envelope.drawn_quantity = quantity;
        envelope.drawn_notional = notional;
        envelope.orders_open += 1;
        Ok((market, side))
    }

    /// Returns where an envelope's orders go.
    pub fn market(&self, id: EnvelopeId) -> Option<Market> {
        self.envelopes
            .get(&id)
            .map(|envelope| envelope.grant.market)
    }

    /// Makes an id unusable: whoever asked for its fate was told that it was never seen.
    pub fn burn(&mut self, order: OrderId) {
        for envelope in self.envelopes.values_mut() {
            if let Some(bit) = envelope.bit(order) {
                envelope.used |= bit;
            }
        }
    }

    /// Ends one drawn order: what it did not fill returns to the limits when the envelope closes.
    pub fn handle_order_ended(&mut self, order: OrderId, quantity: Quantity, notional: Quantity) {
        for envelope in self.envelopes.values_mut() {
            if envelope.bit(order).is_some() {
                envelope.orders_open = envelope.orders_open.saturating_sub(1);
                envelope.filled_quantity = envelope.filled_quantity.saturating_add(quantity);
                envelope.filled_notional = envelope.filled_notional.saturating_add(notional);
            }
        }
    }

    /// Ends one envelope's draws, or all of one drawer's, or all.
    pub fn close_where(&mut self, closes: impl Fn(&Envelope) -> bool) -> Vec<(EnvelopeId, NodeId)> {
        let mut closed = Vec::new();
        for (id, envelope) in &mut self.envelopes {
            if envelope.state != EnvelopeState::Closing && closes(envelope) {
                envelope.state = EnvelopeState::Closing;
                closed.push((*id, envelope.drawer));
            }
        }
        closed
    }

    /// Removes one envelope that is closing and has no open order left.
    pub fn poll_closed(&mut self) -> Option<Envelope> {
        let id = self
            .envelopes
            .iter()
            .find(|(_, envelope)| {
                envelope.state == EnvelopeState::Closing && envelope.orders_open == 0
            })
            .map(|(id, _)| *id)?;
        self.envelopes.remove(&id)
    }

    /// Returns the time at which the next envelope ends.
    pub fn next_expiry(&self) -> Option<Time> {
        self.envelopes
            .values()
            .filter(|envelope| envelope.state == EnvelopeState::Armed)
            .map(|envelope| envelope.expires + GRACE)
            .min()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Envelope> {
        self.envelopes.values()
    }
}

impl Envelope {
    /// Returns what no order has drawn yet.
    pub fn left(&self) -> (Quantity, Quantity) {
        (
            self.grant.quantity.less(self.drawn_quantity),
            self.grant.notional.less(self.drawn_notional),
        )
    }

    /// Returns how many of its ids are unused.
    pub fn orders_left(&self) -> u32 {
        u32::from(self.grant.orders).saturating_sub(self.used.count_ones())
    }

    pub fn is_expired(&self, now: Time) -> bool {
        now > self.expires + GRACE
    }

    /// Returns what was granted but not filled, for the limits.
    pub fn unfilled(&self) -> (Quantity, Quantity) {
        (
            self.grant.quantity.less(self.filled_quantity),
            self.grant.notional.less(self.filled_notional),
        )
    }

    fn bit(&self, order: OrderId) -> Option<u32> {
        let index = order.0.checked_sub(self.grant.first.0)?;
        (index < u64::from(self.grant.orders)).then(|| 1 << index)
    }
}

/// One right to draw, as its drawer keeps it.
#[derive(Clone, Debug)]
pub struct Right {
    pub grant: Grant,
    pub granter: NodeId,
    pub expires: Time,
    next: u16,
    quantity_left: Quantity,
    notional_left: Quantity,
}

/// Every right this node holds, its own venues' included.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    rights: BTreeMap<(Market, Side), Vec<Right>>,
    count: usize,
    faults: Faults,
}

impl Rights {
    pub fn plant(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Takes a right; returns false where there is no room.
    pub fn add(&mut self, grant: Grant, granter: NodeId, expires: Time) -> bool {
        let last = grant.first.0.checked_add(u64::from(grant.orders));
        if self.count >= RIGHTS_MAX || last.is_none() || grant.orders > ORDERS_PER_ENVELOPE {
            return false;
        }
        let list = self.rights.entry((grant.market, grant.side)).or_default();
        list.push(Right {
            grant,
            granter,
            expires,
            next: 0,
            quantity_left: grant.quantity,
            notional_left: grant.notional,
        });
        self.count += 1;
        true
    }

    /// Drops one envelope of a granter, or all of them.
    pub fn drop_where(&mut self, drops: impl Fn(&Right) -> bool) {
        for list in self.rights.values_mut() {
            list.retain(|right| !drops(right));
        }
        self.count = self.rights.values().map(Vec::len).sum();
    }

    /// Returns the right with most quantity left that can still be drawn on.
    pub fn best(&self, market: Market, side: Side, now: Time) -> Option<&Right> {
        self.rights
            .get(&(market, side))?
            .iter()
            .filter(|right| right.next < right.grant.orders && now < right.expires)
            .max_by_key(|right| right.quantity_left)
    }

    /// Draws on the right that `best` returned.
    pub fn draw(
        &mut self,
        envelope: (NodeId, EnvelopeId),
        plan: PlanId,
        quantity: Quantity,
        limit: Price,
        purpose: Purpose,
    ) -> Option<Draw> {
        let (granter, id) = envelope;
        let right = self
            .rights
            .values_mut()
            .flatten()
            .find(|right| right.granter == granter && right.grant.envelope == id)?;
        let notional = limit.total_ceil(quantity);
        if right.next >= right.grant.orders
            || quantity > right.quantity_left
            || notional > right.notional_left
        {
            return None;
        }
        let order = OrderId(right.grant.first.0 + u64::from(right.next));
        if !self.faults.reuse_ids || right.next % 2 == 0 {
            right.next += 1;
        }
        right.quantity_left = right.quantity_left.less(quantity);
        right.notional_left = right.notional_left.less(notional);
        Some(Draw {
            envelope: id,
            order,
            plan,
            quantity,
            limit,
            purpose,
        })
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Right {
    pub fn quantity_left(&self) -> Quantity {
        self.quantity_left
    }

    pub fn notional_left(&self) -> Quantity {
        self.notional_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWER: NodeId = NodeId([1; 16]);
    const OTHER: NodeId = NodeId([2; 16]);

    fn grant() -> Grant {
        Grant {
            envelope: EnvelopeId(1),
            market: Market {
                venue: "a".parse().unwrap(),
                pair: "BTC/USD".parse().unwrap(),
            },
            side: Side::Bid,
            first: OrderId(100),
            orders: 4,
            quantity: Quantity::whole(10),
            worst_price: Price::whole(110),
            notional: Quantity::whole(1_000),
        }
    }

    fn armed() -> Granted {
        let mut granted = Granted::default();
        granted.arm(grant(), DRAWER, Time(1_000), CommitNo(1));
        assert_eq!(granted.handle_committed(CommitNo(1)).len(), 1);
        granted
    }

    fn draw(order: u64, quantity: i64, limit: i64) -> Draw {
        Draw {
            envelope: EnvelopeId(1),
            order: OrderId(order),
            plan: PlanId(1),
            quantity: Quantity::whole(quantity),
            limit: Price::whole(limit),
            purpose: Purpose::Open,
        }
    }

    #[test]
    fn an_envelope_that_is_not_durable_cannot_be_drawn_on() {
        let mut granted = Granted::default();
        granted.arm(grant(), DRAWER, Time(1_000), CommitNo(1));
        assert_eq!(
            granted.draw(&draw(100, 1, 100), DRAWER, Time(1)),
            Err(LegRefusal::EnvelopeExpired)
        );
    }

    #[test]
    fn every_bound_of_an_envelope_holds() {
        let refused = [
            (draw(99, 1, 100), LegRefusal::BeyondEnvelope),
            (draw(104, 1, 100), LegRefusal::BeyondEnvelope),
            (draw(100, 11, 1), LegRefusal::BeyondEnvelope),
            (draw(100, 1, 111), LegRefusal::BeyondEnvelope),
            (draw(100, 10, 101), LegRefusal::BeyondEnvelope),
        ];
        for (draw, why) in refused {
            assert_eq!(armed().draw(&draw, DRAWER, Time(1)), Err(why), "{draw:?}");
        }
        assert_eq!(
            armed().draw(&draw(100, 1, 100), OTHER, Time(1)),
            Err(LegRefusal::NoEnvelope)
        );
        let late = Time(1_000) + GRACE + Span(1);
        assert_eq!(
            armed().draw(&draw(100, 1, 100), DRAWER, late),
            Err(LegRefusal::EnvelopeExpired)
        );
    }

    #[test]
    fn an_id_serves_once_and_a_burnt_one_never() {
        let mut granted = armed();
        assert!(granted.draw(&draw(100, 1, 100), DRAWER, Time(1)).is_ok());
        assert!(granted.draw(&draw(100, 1, 100), DRAWER, Time(1)).is_err());
        granted.burn(OrderId(101));
        assert!(granted.draw(&draw(101, 1, 100), DRAWER, Time(1)).is_err());
        assert!(granted.draw(&draw(102, 1, 100), DRAWER, Time(1)).is_ok());
    }

    #[test]
    fn an_envelope_closes_when_its_last_order_has_ended() {
        let mut granted = armed();
        granted.draw(&draw(100, 4, 100), DRAWER, Time(1)).unwrap();
        assert_eq!(granted.close_where(|_| true), [(EnvelopeId(1), DRAWER)]);
        assert!(granted.poll_closed().is_none());
        granted.handle_order_ended(OrderId(100), Quantity::whole(3), Quantity::whole(300));
        let closed = granted.poll_closed().unwrap();
        assert_eq!(
            closed.unfilled(),
            (Quantity::whole(7), Quantity::whole(700))
        );
    }

    #[test]
    fn a_drawer_never_draws_more_than_its_right() {
        let mut rights = Rights::default();
        assert!(rights.add(grant(), OTHER, Time(1_000)));
        let market = grant().market;
        assert!(rights.best(market, Side::Ask, Time(1)).is_none());
        assert!(rights.best(market, Side::Bid, Time(1_000)).is_none());
        let envelope = (OTHER, EnvelopeId(1));
        let mut try_draw = |quantity| {
            rights
                .draw(
                    envelope,
                    PlanId(1),
                    Quantity::whole(quantity),
                    Price::whole(100),
                    Purpose::Open,
                )
                .map(|draw| draw.order)
        };
        assert_eq!(try_draw(6), Some(OrderId(100)));
        assert_eq!(try_draw(5), None);
        assert_eq!(try_draw(4), Some(OrderId(101)));
        assert_eq!(try_draw(1), None);
    }
}
