//! Orders as their customers lodged them, with the venue's names for them.
//!
//! ```text
//! Pending ─▶ Executing ─▶ PostPending ─▶ Open ─▶ Ended
//!                └─▶ Invalid ─▶ Executing (funds came)
//! ```
//! An order may be several in the matching engine, one after the other: an order without a price is
//! one for each level that it takes.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::model::ids::OrderId;
use crate::model::instrument::Pair;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::time::Time;
use crate::model::trade::Filled;
use crate::venue::exchange::AccountNo;
use crate::venue::mtgox::ledger::Share;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// The engine has not seen it.
    Pending,
    Executing,
    PostPending,
    Open,
    /// Its account cannot pay for it: listed, but not in the book.
    Invalid,
    Ended,
}

/// Why an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Filled as it came in.
    CompletedActive,
    /// Filled while it rested.
    CompletedPassive,
    Requested,
}

/// One order.
#[derive(Clone, Debug)]
pub(super) struct Lodged {
    pub(super) no: u64,
    pub(super) oid: Uuid,
    pub(super) account: AccountNo,
    pub(super) pair: Pair,
    pub(super) side: Side,
    /// `None` takes any price.
    pub(super) price: Option<Price>,
    pub(super) quantity: Quantity,
    pub(super) filled: Filled,
    pub(super) status: Status,
    pub(super) at: Time,
    /// Microseconds since 1970, unique.
    pub(super) priority: u64,
    /// The order of the engine that rests for it.
    pub(super) live: Option<OrderId>,
    pub(super) shares: Vec<Share>,
    /// Its news are held back until then (fault).
    pub(super) told_from: Time,
}

/// Every order there ever was.
#[derive(Debug, Default)]
pub(super) struct Orders {
    all: BTreeMap<u64, Lodged>,
    numbers: BTreeMap<Uuid, u64>,
    open: BTreeMap<AccountNo, BTreeSet<u64>>,
    /// Those that wait for funds.
    invalid: BTreeSet<u64>,
    pieces: BTreeMap<OrderId, u64>,
    made: u64,
    pieces_made: u64,
}

impl Status {
    /// Returns the venue's word; an order that ended has none, as it is listed nowhere.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Executing => "executing",
            Self::PostPending => "post-pending",
            Self::Open | Self::Ended => "open",
            Self::Invalid => "invalid",
        }
    }
}

impl Reason {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::CompletedActive => "completed_active",
            Self::CompletedPassive => "completed_passive",
            Self::Requested => "requested",
        }
    }
}

impl Lodged {
    /// Shares of one order that are listed; later ones only count in its sums.
    const SHARES_MAX: usize = 10_000;

    pub(super) fn remaining(&self) -> Quantity {
        self.quantity.less(self.filled.quantity)
    }

    /// Returns what is in the book or on its way there.
    pub(super) fn effective(&self) -> Quantity {
        match self.status {
            Status::Invalid => Quantity::ZERO,
            Status::Pending
            | Status::Executing
            | Status::PostPending
            | Status::Open
            | Status::Ended => self.remaining(),
        }
    }

    pub(super) fn add(&mut self, share: Share) {
        self.filled = self.filled.plus(Filled {
            quantity: share.quantity,
            total: share.total,
            fee: share.fee,
        });
        if self.shares.len() < Self::SHARES_MAX {
            self.shares.push(share);
        }
    }
}

impl Orders {
    /// Orders of the venue, kept for ever; one more is refused.
    const ORDERS_MAX: usize = 1_000_000;
    /// Orders of one account that are listed; one more is refused.
    const OPEN_MAX: usize = 1_000;

    /// Returns true where an account may lodge one more.
    pub(super) fn has_room(&self, account: AccountNo) -> bool {
        let open = self.open.get(&account).map_or(0, BTreeSet::len);
        self.all.len() < Self::ORDERS_MAX && open < Self::OPEN_MAX
    }

    /// Returns the number that the next order gets.
    pub(super) fn next_no(&self) -> u64 {
        self.made + 1
    }

    pub(super) fn insert(&mut self, order: Lodged) {
        self.made = order.no;
        self.numbers.insert(order.oid, order.no);
        let open = self.open.entry(order.account).or_default();
        open.insert(order.no);
        self.all.insert(order.no, order);
    }

    pub(super) fn get(&self, no: u64) -> Option<&Lodged> {
        self.all.get(&no)
    }

    pub(super) fn get_mut(&mut self, no: u64) -> Option<&mut Lodged> {
        self.all.get_mut(&no)
    }

    /// Looks an order of an account up by the venue's name for it.
    pub(super) fn find(&self, account: AccountNo, oid: &str) -> Option<&Lodged> {
        let no = self.numbers.get(&Uuid::try_parse(oid).ok()?)?;
        let order = self.all.get(no)?;
        (order.account == account).then_some(order)
    }

    /// Returns the orders of an account that did not end, oldest first.
    pub(super) fn open(&self, account: AccountNo) -> impl Iterator<Item = &Lodged> {
        let open = self.open.get(&account);
        open.into_iter().flatten().filter_map(|no| self.all.get(no))
    }

    /// Returns every order of an account, oldest first.
    pub(super) fn of(&self, account: AccountNo) -> impl Iterator<Item = &Lodged> {
        self.all
            .values()
            .filter(move |order| order.account == account)
    }

    /// Returns the orders that wait for funds, oldest first.
    pub(super) fn invalid(&self) -> Vec<u64> {
        self.invalid.iter().copied().collect()
    }

    /// Lets an order that did not end take another status.
    pub(super) fn set_status(&mut self, no: u64, status: Status) {
        let Some(order) = self.all.get_mut(&no) else {
            return;
        };
        order.status = status;
        if status == Status::Invalid {
            self.invalid.insert(no);
        } else {
            self.invalid.remove(&no);
        }
    }

    /// Makes a name for an order in the engine.
    pub(super) fn add_piece(&mut self, no: u64) -> OrderId {
        self.pieces_made += 1;
        let piece = OrderId(self.pieces_made);
        self.pieces.insert(piece, no);
        piece
    }

    pub(super) fn remove_piece(&mut self, piece: OrderId) {
        self.pieces.remove(&piece);
    }

    /// Returns whose order in the engine this is.
    pub(super) fn of_piece(&self, piece: OrderId) -> Option<u64> {
        self.pieces.get(&piece).copied()
    }

    /// Ends an order; false where it had ended.
    pub(super) fn end(&mut self, no: u64) -> bool {
        let Some(order) = self.all.get_mut(&no) else {
            return false;
        };
        if order.status == Status::Ended {
            return false;
        }
        order.status = Status::Ended;
        order.live = None;
        self.invalid.remove(&no);
        if let Some(open) = self.open.get_mut(&order.account) {
            open.remove(&no);
        }
        true
    }
}
