//! eggdrop, whose TLS is OpenSSL's, at the other end of `DCC SCHAT`: the handshake succeeds both ways,
//! and who has no card gets no link.

use serde_json::Value;

use crate::shell::irc::CHANNEL;
use crate::shell::irc::meeting::{linked, member};
use crate::shell::irc::people::{count, join};
use crate::shell::irc::programs::Eggdrop;
use crate::shell::irc::servers::{Kind, Server, free_address};
use crate::shell::process::Node;
use crate::shell::world::Folder;

/// What it logs, in this order, of a handshake that succeeded.
const HANDSHAKE: [&str; 2] = ["TLS: handshake successful", "TLSv1.3"];

#[test]
fn a_bot_that_offers_a_link_is_dialled_and_has_no_card() {
    let folder = Folder::new();
    let Some(server) = Server::start(Kind::Ngircd) else {
        return;
    };
    let port = free_address().port();
    // It looks again and again who is there, for a join that comes early is told to no script.
    let script = format!(
        r#"utimer 1 offer
proc offer {{}} {{
  foreach nick [chanlist {CHANNEL}] {{
    if {{[regexp {{^x[a-z2-7]+$}} $nick]}} {{
      putserv "PRIVMSG $nick :\001DCC SCHAT chat 2130706433 {port}\001"
      return
    }}
  }}
  utimer 1 offer
}}
"#
    );
    let Some(bot) = Eggdrop::join(server.plain, ("eggie", "a bot"), port, &script) else {
        return;
    };
    let servers = [server];
    let mut node = member(&folder, "one", "open", &servers);
    join(&mut node);
    count(&node, "dials", 1);
    count(&node, "no_card", 1);
    // It asked for a name and was told a card.
    bot.wait_for(&[&HANDSHAKE[..], &["invalid handle: expressnet"]].concat());
    is_linked_with_nobody(&node);
}

#[test]
fn a_bot_that_takes_an_offer_comes_and_has_no_card() {
    let folder = Folder::new();
    let Some(server) = Server::start(Kind::Ngircd) else {
        return;
    };
    // Whoever looks like a node is offered a link; the highest UUID leaves the first offer to others.
    let claims = ("xabcdefgh", "ffffffff-ffff-4fff-bfff-ffffffffffff");
    let port = free_address().port();
    let Some(bot) = Eggdrop::join(server.plain, claims, port, "") else {
        return;
    };
    let servers = [server];
    let mut node = member(&folder, "one", "open", &servers);
    let nick = join(&mut node);
    count(&node, "offers", 1);
    count(&node, "no_card", 1);
    bot.wait_for(&[&format!("from {nick}"), HANDSHAKE[0], HANDSHAKE[1]]);
    is_linked_with_nobody(&node);
}

fn is_linked_with_nobody(node: &Node) {
    let report: Value = serde_json::from_str(&node.cli(&["channel", "--json"])).unwrap();
    assert_eq!(linked(&report), 0, "{report:#}");
    assert_eq!(report["counts"]["met"], Value::Null, "{report:#}");
}
