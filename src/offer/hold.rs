//! What this node has promised to pay: its own parts of other nodes' offers.
//!
//! ```text
//!  waiting ──▶ held ──▶ confirmed ──▶ sealed
//!    │          │ │         ├──▶ released (the origin does not count it)
//!    │          │ │         └──▶ lapsed   (the origin was silent too long)
//!    │          │ └──▶ released
//!    └──▶ expired ◀── held
//! ```

use std::collections::{BTreeMap, VecDeque};

use crate::model::currency::{Currency, Method};
use crate::model::ids::{MatchId, NodeId, OfferId};
use crate::model::number::Quantity;
use crate::model::offer::Part;
use crate::model::time::{Deadline, Span, Time};
use crate::offer::{Faults, RailFunds, Say, Saying};
use crate::telemetry::transitions::Transitions;

/// Where a hold stands, in lifecycle order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldState {
    /// For the owner's word.
    Waiting,
    Held,
    Confirmed,
    Sealed,
    Released,
    Expired,
    Lapsed,
}

impl HoldState {
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Held,
        Self::Confirmed,
        Self::Sealed,
        Self::Released,
        Self::Expired,
        Self::Lapsed,
    ];

    /// Every step a hold can take.
    pub const STEPS: [(Self, Self); 8] = [
        (Self::Waiting, Self::Held),
        (Self::Waiting, Self::Expired),
        (Self::Held, Self::Confirmed),
        (Self::Held, Self::Released),
        (Self::Held, Self::Expired),
        (Self::Confirmed, Self::Sealed),
        (Self::Confirmed, Self::Released),
        (Self::Confirmed, Self::Lapsed),
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Confirmed => "confirmed",
            Self::Sealed => "sealed",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Lapsed => "lapsed",
        }
    }
}

/// One promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    pub offer: OfferId,
    pub id: MatchId,
    /// Who asked; `None` where this node itself relays the part within its aggregate.
    pub upstream: Option<NodeId>,
    pub give: Currency,
    pub want: Currency,
    /// What is promised; once confirmed, what is owed.
    pub part: Part,
    pub state: HoldState,
    pub until: Time,
}

/// Every promise of this node, and the money behind them.
#[derive(Clone, Debug)]
pub struct Holds {
    rails: Vec<RailFunds>,
    open: BTreeMap<MatchId, Hold>,
    sayings: VecDeque<Saying>,
    /// Own parts of aggregates that lapsed: nobody is told, but the journal is.
    lapsed: Vec<MatchId>,
    /// Confirmed and counted by the origin: owed until settled.
    sealed: Vec<Hold>,
    faults: Faults,
    pub steps: Transitions<7>,
}

impl Holds {
    /// Promises open at once; full answers nobody.
    pub const OPEN_MAX: usize = 1_024;
    /// Promises owed and not settled; full answers nobody until some are.
    pub const SEALED_MAX: usize = 16_384;
    /// How long a confirmed part waits for the origin's seal before it lapses.
    pub const SEAL_WITHIN: Span = Span::secs(20);

    pub fn new(rails: Vec<RailFunds>) -> Self {
        Self {
            rails,
            open: BTreeMap::new(),
            sayings: VecDeque::new(),
            lapsed: Vec::new(),
            sealed: Vec::new(),
            faults: Faults::default(),
            steps: Transitions::default(),
        }
    }

    pub fn plant(&mut self, faults: Faults) {
        self.faults = faults;
    }

    pub fn has_room(&self) -> bool {
        self.open.len() < Self::OPEN_MAX && self.sealed.len() < Self::SEALED_MAX
    }

    /// Returns the money of a rail that no promise holds.
    pub fn free(&self, method: Method, currency: Currency) -> Quantity {
        self.funds(method, currency)
            .less(self.committed(method, currency))
    }

    pub fn funds(&self, method: Method, currency: Currency) -> Quantity {
        self.rails
            .iter()
            .filter(|rail| rail.method == method && rail.currency == currency)
            .fold(Quantity::ZERO, |sum, rail| sum.saturating_add(rail.amount))
    }

    /// Returns the money of a rail that is promised or owed.
    pub fn committed(&self, method: Method, currency: Currency) -> Quantity {
        self.open
            .values()
            .chain(&self.sealed)
            .filter(|hold| hold.part.method == method && hold.want == currency)
            .fold(Quantity::ZERO, |sum, hold| {
                sum.saturating_add(hold.part.total)
            })
    }

    /// Returns true where this offer was answered already.
    pub fn has(&self, offer: OfferId) -> bool {
        self.open.values().any(|hold| hold.offer == offer)
    }

    /// Makes a promise. One that waits for the owner is not told to anybody yet.
    pub fn hold(&mut self, hold: Hold, now: Time) {
        if hold.state == HoldState::Held {
            self.tell(&hold, now);
        }
        self.open.insert(hold.id, hold);
    }

    /// The owner approves what waits; returns true where something did.
    pub fn handle_approved(&mut self, offer: OfferId, now: Time) -> bool {
        let waiting: Vec<MatchId> = self
            .open
            .values()
            .filter(|hold| hold.offer == offer && hold.state == HoldState::Waiting)
            .map(|hold| hold.id)
            .collect();
        for id in &waiting {
            self.step(*id, HoldState::Held);
            if let Some(hold) = self.open.get(id).copied() {
                self.tell(&hold, now);
            }
        }
        !waiting.is_empty()
    }

    /// The origin takes `quantity`: binds this node to it, if the promise still stands. Returns
    /// what it is bound to; zero where it is not. Asking twice gives the same answer.
    pub fn confirm(&mut self, id: MatchId, quantity: Quantity, now: Time) -> Part {
        let late_is_fine = self.faults.late_hold;
        let Some(hold) = self.open.get_mut(&id) else {
            return self.sealed_part(id);
        };
        match hold.state {
            HoldState::Held if now < hold.until || late_is_fine => {
                hold.part = hold.part.shrunk_to(quantity);
                hold.until = now + Self::SEAL_WITHIN;
                let part = hold.part;
                self.step(id, HoldState::Confirmed);
                part
            }
            HoldState::Confirmed => hold.part,
            HoldState::Waiting
            | HoldState::Held
            | HoldState::Sealed
            | HoldState::Released
            | HoldState::Expired
            | HoldState::Lapsed => nothing(hold.part.method),
        }
    }

    /// The origin has counted the confirmed part. Returns false where this node is not bound.
    pub fn seal(&mut self, id: MatchId) -> bool {
        if self.sealed.iter().any(|hold| hold.id == id) {
            return true;
        }
        let is_bound = self
            .open
            .get(&id)
            .is_some_and(|hold| hold.state == HoldState::Confirmed);
        if is_bound {
            self.step(id, HoldState::Sealed);
            if let Some(hold) = self.open.remove(&id) {
                self.sealed.push(hold);
            }
        }
        is_bound
    }

    /// The origin does not need the part, or does not count it.
    pub fn release(&mut self, id: MatchId) {
        match self.open.get(&id).map(|hold| hold.state) {
            Some(HoldState::Held | HoldState::Confirmed) => self.end(id, HoldState::Released),
            Some(HoldState::Waiting) => self.end(id, HoldState::Expired),
            Some(
                HoldState::Sealed | HoldState::Released | HoldState::Expired | HoldState::Lapsed,
            )
            | None => (),
        }
    }

    /// The offer is over: everything promised to it is free; what is confirmed waits for its seal.
    pub fn handle_withdrawn(&mut self, from: NodeId, offer: OfferId) {
        let free: Vec<MatchId> = self
            .open
            .values()
            .filter(|hold| {
                hold.offer == offer
                    && hold.upstream == Some(from)
                    && hold.state != HoldState::Confirmed
            })
            .map(|hold| hold.id)
            .collect();
        for id in free {
            self.release(id);
        }
    }

    /// Returns whom a part was promised to.
    pub fn upstream(&self, id: MatchId) -> Option<NodeId> {
        let sealed = self.sealed.iter().find(|hold| hold.id == id);
        self.open.get(&id).or(sealed)?.upstream
    }

    /// Takes a confirmed or sealed promise of an earlier run.
    pub fn recover(&mut self, hold: Hold) {
        if hold.state == HoldState::Sealed {
            self.sealed.push(hold);
        } else {
            self.open.insert(hold.id, hold);
        }
    }

    pub fn deadline(&self) -> Option<Deadline> {
        self.open
            .values()
            .map(|hold| hold.until)
            .min()
            .map(|at| Deadline { at, why: "hold" })
    }

    pub fn handle_deadline(&mut self, now: Time) {
        let over: Vec<(MatchId, HoldState)> = self
            .open
            .values()
            .filter(|hold| hold.until <= now)
            .map(|hold| (hold.id, hold.state))
            .collect();
        for (id, state) in over {
            if state != HoldState::Confirmed {
                if !self.faults.late_hold {
                    self.end(id, HoldState::Expired);
                } else if let Some(hold) = self.open.get_mut(&id) {
                    hold.until = now + Span::SECOND;
                }
                continue;
            }
            if let Some(hold) = self.open.get(&id) {
                let (offer, id) = (hold.offer, hold.id);
                match hold.upstream {
                    Some(to) => self.sayings.push_back(Saying {
                        to,
                        say: Say::Lapse { offer, id },
                    }),
                    None => self.lapsed.push(id),
                }
            }
            self.end(id, HoldState::Lapsed);
        }
    }

    pub fn poll_saying(&mut self) -> Option<Saying> {
        self.sayings.pop_front()
    }

    /// Returns an own part of an aggregate that lapsed since the last call.
    pub fn poll_lapsed(&mut self) -> Option<MatchId> {
        self.lapsed.pop()
    }

    pub fn open(&self) -> impl Iterator<Item = &Hold> {
        self.open.values()
    }

    pub fn sealed(&self) -> impl Iterator<Item = &Hold> {
        self.sealed.iter()
    }

    fn sealed_part(&self, id: MatchId) -> Part {
        self.sealed
            .iter()
            .find(|hold| hold.id == id)
            .map_or(nothing(Method::Manual), |hold| hold.part)
    }

    fn tell(&mut self, hold: &Hold, now: Time) {
        if let Some(to) = hold.upstream {
            self.sayings.push_back(Saying {
                to,
                say: Say::Match {
                    offer: hold.offer,
                    id: hold.id,
                    part: hold.part,
                    hold: hold.until.since(now),
                },
            });
        }
    }

    fn step(&mut self, id: MatchId, to: HoldState) {
        if let Some(hold) = self.open.get_mut(&id) {
            self.steps.count(hold.state as usize, to as usize);
            hold.state = to;
        }
    }

    fn end(&mut self, id: MatchId, to: HoldState) {
        self.step(id, to);
        self.open.remove(&id);
    }
}

fn nothing(method: Method) -> Part {
    Part {
        quantity: Quantity::ZERO,
        total: Quantity::ZERO,
        method,
    }
}
