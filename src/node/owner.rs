//! Commands of the owner.

use crate::model::ids::CommandNo;
use crate::model::number::Price;
use crate::model::time::Time;
use crate::node::Node;
use crate::node::input::Command;
use crate::node::output::Outbox;

impl Node {
    pub(super) fn handle_command(
        &mut self,
        _number: CommandNo,
        command: Command,
        now: Time,
        out: &mut Outbox,
    ) {
        if let Command::Switch(switch) = command {
            self.set_switch(switch, now, out);
        } else if let Command::OfferNew { line, reserve } = command {
            drop(self.open_offer(line, reserve.unwrap_or(Price::ZERO), None, now, out));
        } else if let Command::OfferApprove(offer) = command {
            self.holds.handle_approved(offer, now);
        } else if let Command::OfferWithdraw(offer) = command {
            let sayings = self.origins.withdraw(offer, now);
            self.say_all(sayings, now, out);
        }
    }
}
