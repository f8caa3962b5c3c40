//! What goes wrong in a world by itself, what owners do by hand, and the calm at the end.

use std::collections::BTreeSet;

use crate::model::currency::Currency;
use crate::model::ids::CommandNo;
use crate::model::number::{Price, Quantity};
use crate::model::offer::{Asking, Line};
use crate::model::time::{Span, Time};
use crate::node::input::{Command, Input};
use crate::offer::hold::HoldState;
use crate::risk::Switch;
use crate::sim::scenario::FaultRates;
use crate::sim::world::{Event, FaultKind, World};

impl World {
    pub(super) fn schedule_fault(&mut self, kind: FaultKind) {
        let every = match kind {
            FaultKind::Disconnect => self.rates.disconnect_every,
            FaultKind::Partition => self.rates.partition_every,
            FaultKind::Crash => self.rates.crash_every,
            FaultKind::Stall => self.rates.stall_every,
        };
        if every.0 > 0 && !self.is_calm {
            let wait = Span(self.random.between(1, every.0 * 2));
            self.schedule(wait, Event::Fault(kind));
        }
    }

    pub(super) fn strike(&mut self, kind: FaultKind) {
        if self.is_calm {
            return;
        }
        let count = self.hosts.len() as u64;
        let host = usize::try_from(self.random.below(count)).unwrap_or(0);
        match kind {
            FaultKind::Disconnect => {
                let links = self.network.all();
                let at = usize::try_from(self.random.below(links.len() as u64)).unwrap_or(0);
                if let Some(link) = links.get(at) {
                    self.tallies.fault("disconnect");
                    self.close_link(*link);
                }
            }
            FaultKind::Partition => {
                let other = usize::try_from(self.random.below(count)).unwrap_or(0);
                let is_linked = self.network.way(host, other).is_some();
                if is_linked && self.network.may_cut(host, other, self.now) {
                    self.tallies.fault("partition");
                    let longest = if self.random.chance(200_000) {
                        40_000
                    } else {
                        6_000
                    };
                    let until = self.now + Span::millis(self.random.between(500, longest));
                    self.network.cut(host, other, until);
                    for link in self.network.links_between(host, other) {
                        self.close_link(link);
                    }
                }
            }
            FaultKind::Crash => self.crash(host),
            FaultKind::Stall => {
                let markets = self.markets.len() as u64;
                let venue = usize::try_from(self.random.below(markets)).unwrap_or(0);
                let listeners: BTreeSet<usize> =
                    self.markets[venue].streams.values().copied().collect();
                let until = self.now + Span::millis(self.random.between(1_000, 4_500));
                for host in listeners {
                    self.tallies.fault("feed-stalled");
                    self.markets[venue].stalled.insert(host, until);
                }
            }
        }
        self.schedule_fault(kind);
    }

    /// Kills a process: what was not on disk is gone, what was on its way to it is void.
    pub(super) fn crash(&mut self, host: usize) {
        if self.hosts[host].node.is_none() {
            return;
        }
        self.tallies.fault("crash");
        self.tell_line(host, "crashes");
        self.collect(host);
        self.checker.handle_crash(host);
        self.hosts[host].node = None;
        self.hosts[host].writing.clear();
        self.hosts[host].wake_at = Time::MAX;
        for link in self.network.links_of(host) {
            self.close_link(link);
        }
        for market in &mut self.markets {
            market.close_streams(host);
        }
        let wait = Span::millis(self.random.between(200, 4_000));
        self.schedule(wait, Event::Restart { host });
    }

    /// An owner makes an offer, or takes one back.
    pub(super) fn offer_by_hand(&mut self) {
        if self.is_calm {
            return;
        }
        let traders: Vec<usize> = (0..self.hosts.len())
            .filter(|at| !self.scenario.nodes[*at].config.venues.is_empty())
            .collect();
        let at = usize::try_from(self.random.below(traders.len() as u64)).unwrap_or(0);
        let Some(host) = traders.get(at).copied() else {
            return;
        };
        let settings = &self.scenario.nodes[host].config.offer;
        let quantity =
            Quantity(i64::try_from(self.random.between(15, 200)).unwrap_or(100) * 1_000_000);
        let methods = settings.methods;
        let reserve = Price::whole(i64::try_from(self.random.between(85, 105)).unwrap_or(95));
        if !self.random.chance(850_000) {
            let node = self.hosts[host].node.as_ref();
            let open = node.and_then(|node| node.origins().open().next().map(|own| own.offer.id));
            match open {
                Some(id) => self.command(host, Command::OfferWithdraw(id)),
                None => self.schedule(Span::SECOND, Event::OfferByHand),
            }
            return;
        }
        // Who is told that this is more than the node may pledge asks for less.
        for share in [1, 4, 16] {
            let line = Line {
                quantity: Quantity(quantity.0 / share),
                give: Currency::BTC,
                want: Currency::USD,
                asking: Asking::Best,
                methods,
            };
            let before = self.own_offers(host);
            let reserve = Some(reserve);
            self.command(host, Command::OfferNew { line, reserve });
            if self.own_offers(host) > before {
                return;
            }
        }
        // Nobody would hear of it, or the node is down: later, then.
        let wait = Span::millis(self.random.between(1_000, 3_000));
        self.schedule(wait, Event::OfferByHand);
    }

    fn own_offers(&self, host: usize) -> u64 {
        let node = self.hosts[host].node.as_ref();
        node.map_or(0, |node| node.totals().offers)
    }

    /// The owner of a node commands it.
    fn command(&mut self, host: usize, command: Command) {
        let number = CommandNo(self.scheduled);
        self.step(host, Input::Command { number, command });
    }

    /// The owner says yes to some of what waits for approval.
    pub(super) fn approve_by_hand(&mut self, host: usize) {
        let waiting = self.hosts[host].node.as_ref().and_then(|node| {
            let mut open = node.holds().open();
            open.find(|hold| hold.state == HoldState::Waiting)
                .map(|hold| hold.offer)
        });
        if let Some(offer) = waiting
            && self.random.chance(150_000)
        {
            self.command(host, Command::OfferApprove(offer));
        }
    }

    /// Ends all faults, so that everything in doubt can come to its end.
    pub(super) fn calm_down(&mut self) {
        self.is_calm = true;
        self.rates = FaultRates::NONE;
        self.network.heal();
        for venue in 0..self.markets.len() {
            self.markets[venue].calm();
            self.markets[venue].stalled.clear();
        }
        for host in 0..self.hosts.len() {
            if self.hosts[host].node.is_none() {
                self.start(host);
            }
            let number = CommandNo(self.scheduled);
            let command = Command::Switch(Switch::Reduce);
            self.step(host, Input::Command { number, command });
        }
    }
}
