//! Commands of the owner.

use crate::model::ids::CommandNo;
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
        } else if let Command::PeerAdded { peer } = command {
            self.add_peer(peer, now);
        }
    }
}
