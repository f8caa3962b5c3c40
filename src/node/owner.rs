//! Commands of the owner: each gets exactly one answer, of one line but where something is measured.

use serde::Serialize;

use crate::config::checked::Trading;
use crate::membership::Peer;
use crate::model::currency::{Currency, Methods};
use crate::model::ids::{CommandNo, NodeId, OfferId};
use crate::model::instrument::{Instrument, Location};
use crate::model::number::{Price, Quantity};
use crate::model::offer::{Asking, Line};
use crate::model::time::Time;
use crate::node::input::Command;
use crate::node::output::{Outbox, Output};
use crate::node::report::Done;
use crate::node::{Node, Phase};
use crate::offer::origin::OriginState;
use crate::risk::Switch;

impl Node {
    pub(super) fn handle_command(
        &mut self,
        number: CommandNo,
        command: Command,
        now: Time,
        out: &mut Outbox,
    ) {
        match command {
            Command::Status => answer(number, &self.status(now), out),
            Command::Balance => answer(number, &self.balances(), out),
            Command::Legs => answer(number, &self.legs(), out),
            Command::Limits => answer(number, &self.limits(), out),
            Command::Watch => answer(number, &self.watch(now), out),
            Command::OfferList => answer(number, &self.offers(), out),
            Command::OfferQuote(line) => answer(number, &self.quote_offer(&line, now), out),
            Command::PeerList => answer(number, &self.peer_list(now), out),
            Command::Channel(shown) => answer(number, &self.channel_report(shown), out),
            Command::ExitShow => answer(number, &self.exit_report(now), out),
            Command::ExitRelease => self.order_release(number, now, out),
            Command::OfferExplain(id) => match self.explain(id) {
                Some(explained) => answer(number, &explained, out),
                None => answer(number, &unknown_offer(id), out),
            },
            Command::Switch(switch) => {
                let done = self.order_switch(switch, now, out);
                answer(number, &done, out);
            }
            Command::Close => {
                self.begin_closing(now, out);
                answer(number, &Done::ok("closing"), out);
            }
            Command::OfferNew { line, reserve } => {
                let done = self.order_offer(line, reserve, now, out);
                answer(number, &done, out);
            }
            Command::OfferWithdraw(id) => {
                let done = self.order_withdrawal(id, now, out);
                answer(number, &done, out);
            }
            Command::OfferApprove(id) => {
                let done = self.order_approval(id, now);
                answer(number, &done, out);
            }
            Command::PeerAdded { peer } => {
                let done = self.order_peer(peer, now, out);
                answer(number, &done, out);
            }
            Command::PeerRemoved(id) => {
                let done = self.order_removal(id, now, out);
                answer(number, &done, out);
            }
            Command::Ping { .. } | Command::Survey { .. } => {
                self.order_measurement(number, command, now, out);
            }
            Command::Transferred {
                currency,
                from,
                to,
                amount,
            } => {
                let done = self.order_transfer(currency, (from, to), amount, out);
                answer(number, &done, out);
            }
            Command::Methods(methods) => {
                let done = self.order_methods(methods);
                answer(number, &done, out);
            }
        }
    }

    fn order_methods(&mut self, methods: Methods) -> Done {
        self.settings.offer.methods = methods;
        Done::ok(format!(
            "own offers may be paid by {methods}, until the next start"
        ))
    }

    fn order_approval(&mut self, id: OfferId, now: Time) -> Done {
        match self.holds.handle_approved(id, now) {
            true => Done::ok(format!("approved what waited for offer {id}")),
            false => Done::failed(format!("nothing waits for your word on offer {id}")),
        }
    }

    /// Begins to measure; its answer ends with what is measured.
    fn order_measurement(
        &mut self,
        number: CommandNo,
        command: Command,
        now: Time,
        out: &mut Outbox,
    ) {
        let begun = if let Command::Ping { peer, shape, count } = command {
            self.order_train(number, &peer, (shape, count), now, out)
        } else if let Command::Survey { shape, count } = command {
            self.order_survey(number, (shape, count), now, out)
        } else {
            Ok(())
        };
        if let Err(why) = begun {
            answer(number, &Done::failed(why), out);
        }
    }

    fn order_switch(&mut self, switch: Switch, now: Time, out: &mut Outbox) -> Done {
        let opens = matches!(switch, Switch::Active | Switch::Pause | Switch::Reduce);
        if self.phase == Phase::Failed && opens {
            let why = self.halted_because.clone().unwrap_or_default();
            return Done::refused(format!("{why}; mend it and restart"));
        }
        self.set_switch(switch, now, out);
        let waits = match self.phase {
            Phase::Reconciling => " once every order of the earlier run is accounted for",
            Phase::Running | Phase::Closing | Phase::Failed => "",
        };
        Done::ok(format!("switch is {}{waits}", switch.word()))
    }

    fn order_offer(
        &mut self,
        line: Line,
        reserve: Option<Price>,
        now: Time,
        out: &mut Outbox,
    ) -> Done {
        if self.phase != Phase::Running || self.gate.switch() != Switch::Active {
            return Done::refused("the switch is not active; `expressnet resume` lets offers out");
        }
        let reserve = match (reserve, line.asking) {
            (Some(reserve), _) | (None, Asking::AtLeast(reserve)) => reserve,
            (None, Asking::Best) => {
                let text = "`BO` takes the best offer, however low; add --reserve PRICE";
                return Done::refused(text);
            }
        };
        if self.askable_peers().is_empty() && !self.is_broadcast(&line, line.quantity) {
            let why = "no peer is linked, and it is not announced, so nobody would hear of it";
            return Done::failed(why);
        }
        match self.open_offer(line, reserve, None, now, out) {
            Ok(id) => Done::ok(format!("offer {id}")),
            Err(why) => Done::failed(why),
        }
    }

    fn order_withdrawal(&mut self, id: OfferId, now: Time, out: &mut Outbox) -> Done {
        let Some(own) = self.origins.get(id) else {
            return unknown_offer(id);
        };
        if let OriginState::Closed(why) = own.state {
            return Done::failed(format!("offer {id} is closed already: {}", why.word()));
        }
        let sayings = self.origins.withdraw(id, now);
        self.say_all(sayings, now, out);
        Done::ok(format!("offer {id} is withdrawn; accepted matches stand"))
    }

    fn order_removal(&mut self, id: NodeId, now: Time, out: &mut Outbox) -> Done {
        let legs = self.plans.unfinished_at(id);
        match self.remove_peer(id, now, out) {
            true if legs > 0 => Done::ok(format!(
                "{id} does not exist for this node any more; {legs} legs there are not known to \
                 have ended: list it again to hear of them"
            )),
            true => Done::ok(format!("{id} does not exist for this node any more")),
            false => Done::failed(format!("no listed node has the id {id}")),
        }
    }

    /// Lists a peer, or takes its new card.
    fn order_peer(&mut self, peer: Peer, now: Time, out: &mut Outbox) -> Done {
        let (id, name) = (peer.id, peer.name.clone());
        if let Some(known) = self.peers.get_mut(&id) {
            let is_same =
                known.is_listed && known.peer.knock == peer.knock && known.peer.owner == peer.owner;
            if is_same {
                known.peer = peer;
                return Done::ok(format!("{id} {name} has a new card"));
            }
            self.remove_peer(id, now, out);
        }
        match self.add_peer(peer, now) {
            true => Done::ok(format!("{id} {name} exists for this node")),
            false => Done::failed("the list of peers is full, or this is the node itself"),
        }
    }

    /// Books what the owner moved by hand. What a live venue holds is its own word.
    fn order_transfer(
        &mut self,
        currency: Currency,
        (from, to): (Location, Location),
        amount: Quantity,
        out: &mut Outbox,
    ) -> Done {
        let (from, to) = (
            Instrument { currency, at: from },
            Instrument { currency, at: to },
        );
        let books = |node: &Self, at: Location| {
            matches!(at, Location::Wallet | Location::Rail(_))
                || node.settings.trading == Trading::Paper
        };
        let free = self.available(from);
        if books(self, from.at) && free < amount {
            return Done::failed(format!("only {free} {currency} is free at {}", from.at));
        }
        if books(self, from.at) {
            self.funds.take(from, amount);
            self.note_balance(from, out);
        }
        if books(self, to.at) {
            self.funds.add(to, amount);
            self.note_balance(to, out);
        }
        self.needs_renewal = true;
        Done::ok(format!(
            "booked {amount} {currency} from {} to {}",
            from.at, to.at
        ))
    }

    /// Returns a peer's label, or its id where it is not listed any more.
    pub(super) fn peer_name(&self, id: NodeId) -> String {
        let peer = self.peers.get(&id);
        peer.map_or_else(|| id.to_string(), |peer| peer.peer.name.clone())
    }
}

fn unknown_offer(id: OfferId) -> Done {
    Done::failed(format!("no offer of this node has the id {id}"))
}

/// Answers a command with one line, which is its last.
pub(super) fn answer(number: CommandNo, value: &impl Serialize, out: &mut Outbox) {
    // Reports hold text and numbers only, and a Vec takes all of it.
    let line = serde_json::to_vec(value).unwrap_or_default();
    let bytes = out.bytes(&line);
    out.push(Output::Answer {
        command: number,
        bytes,
        last: true,
    });
}
