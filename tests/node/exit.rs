//! What goes to the channel through `Node::handle`: only big offers, the mark first, each line once.

use expressnet::discovery::announce::{Said, take_over};
use expressnet::discovery::network::{Mode, Network, Settings, Trust};
use expressnet::execution::TransferRoute;
use expressnet::journal::record::Record;
use expressnet::model::currency::Currency;
use expressnet::model::ids::OfferId;
use expressnet::model::instrument::{Location, Pair};
use expressnet::model::market::Side;
use expressnet::model::number::{Price, Quantity};
use expressnet::model::offer::Line;
use expressnet::model::time::Span;
use expressnet::node::input::{Command, Input};
use expressnet::node::output::Output;

use crate::node::leader::Leader;

/// A node that announces what is left of offers from 3 BTC on.
fn exit() -> Leader<()> {
    let mut leader = outsider();
    let since = Some(leader.now);
    leader.hand(Input::OnChannel {
        since,
        may_speak: true,
    });
    wait(&mut leader, 4);
    assert!(has_lease(&mut leader));
    leader
}

/// Lets seconds pass while the venue is heard.
fn wait(leader: &mut Leader<()>, seconds: u32) {
    for _ in 0..seconds {
        leader.clear(Side::Bid);
        for _ in 0..10 {
            leader.advance(Span::millis(100));
        }
    }
}

/// Tells whether the node may speak.
fn has_lease(leader: &mut Leader<()>) -> bool {
    let report = leader.answer(Command::ExitShow);
    report["speaks"] == true
}

/// The same node, before it is on the channel.
fn outsider() -> Leader<()> {
    Leader::with((), |config| {
        let from = Location::Venue(config.venues[0].id);
        config.execution.transfers = vec![TransferRoute {
            currency: Currency::BTC,
            from,
            to: Location::Wallet,
            takes: Span::MINUTE,
            cost: Quantity::ZERO,
        }];
        config.offer.ttl = Span::secs(60);
        config.offer.gather = Span::millis(500);
        let network = Network {
            name: "one".to_owned(),
            host: "irc.test".to_owned(),
            port: 6667,
            trust: Trust::Plain,
            bind: None,
            login_file: None,
        };
        let pair = Pair {
            base: Currency::BTC,
            quote: Currency::USD,
        };
        config.open = Settings {
            mode: Mode::Open,
            networks: vec![network],
            broadcast_min: vec![(pair, Quantity::whole(3))],
            ..Settings::default()
        };
    })
}

fn offer(leader: &mut Leader<()>, text: &str) {
    let line = Line::parse(text.as_bytes()).unwrap();
    let reserve = Some(Price::whole(90));
    leader.order(Command::OfferNew { line, reserve });
    leader.settle();
}

fn announced(leader: &Leader<()>) -> u64 {
    let counts = &leader.node.totals().messages;
    counts.get("announced").copied().unwrap_or(0)
}

/// Returns what the last step wants said.
fn said(leader: &Leader<()>) -> Vec<Said> {
    let outputs = leader.out.outputs().iter();
    let said = outputs.filter_map(|output| {
        let Output::Announce { bytes } = output else {
            return None;
        };
        take_over(leader.out.read(*bytes)).ok()
    });
    said.map(|(_, said)| said).collect()
}

/// Lets deadlines pass until a step journals the mark of a line; true where one did.
fn until_marked(leader: &mut Leader<()>) -> bool {
    for _ in 0..15 {
        leader.now = leader.now + Span::millis(100);
        leader.hand(Input::Deadline);
        let is_mark = |output: &Output| {
            matches!(output, Output::Journal { bytes, .. }
                if Record::name_of(leader.out.read(*bytes)) == "spoken")
        };
        if leader.out.outputs().iter().any(is_mark) {
            return true;
        }
        leader.settle();
    }
    false
}

fn open_offer(leader: &Leader<()>) -> OfferId {
    let own = leader.node.origins().open().next().unwrap();
    own.offer.id
}

#[test]
fn a_line_waits_for_its_mark_is_said_once_and_taken_back() {
    let mut leader = exit();
    offer(&mut leader, "4BTC@USD:BO:SEPA");
    let id = open_offer(&leader);
    assert!(until_marked(&mut leader), "it is announced");
    assert_eq!(said(&leader), [], "not before the mark is durable");
    leader.commit();
    let lines = said(&leader);
    let [Said::Offer(offered)] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!((offered.offer, offered.version), (id, 1));
    assert_eq!(offered.line.quantity, Quantity::whole(4));
    leader.settle();
    assert!(!until_marked(&mut leader), "once");
    assert_eq!(announced(&leader), 1);
    leader.order(Command::OfferWithdraw(id));
    leader.settle();
    assert_eq!(announced(&leader), 2, "that it is over");
}

#[test]
fn a_small_offer_stays_among_listed_nodes() {
    let mut leader = exit();
    offer(&mut leader, "2BTC@USD:BO:SEPA");
    assert!(!until_marked(&mut leader));
    let id = open_offer(&leader);
    leader.order(Command::OfferWithdraw(id));
    leader.settle();
    assert_eq!(announced(&leader), 0, "what was not said is not taken back");
}

#[test]
fn who_is_not_on_the_channel_has_no_lease_and_says_nothing() {
    let mut leader = outsider();
    offer(&mut leader, "4BTC@USD:BO:SEPA");
    assert!(!until_marked(&mut leader));
    assert!(!has_lease(&mut leader));
}

#[test]
fn a_lease_that_is_given_back_between_mark_and_line_holds_the_line_back() {
    let mut leader = exit();
    offer(&mut leader, "4BTC@USD:BO:SEPA");
    let id = open_offer(&leader);
    assert!(until_marked(&mut leader), "it is announced");
    leader.order(Command::ExitRelease);
    leader.settle();
    assert!(!has_lease(&mut leader));
    assert_eq!(announced(&leader), 0, "not without the lease");
    leader.order(Command::OfferWithdraw(id));
    leader.settle();
    wait(&mut leader, 14);
    assert!(has_lease(&mut leader), "after its rest it asks again");
    assert_eq!(
        announced(&leader),
        0,
        "what was never said is not taken back"
    );
}

#[test]
fn the_line_that_was_held_back_is_said_once_with_the_next_lease() {
    let mut leader = exit();
    offer(&mut leader, "4BTC@USD:BO:SEPA");
    assert!(until_marked(&mut leader), "it is announced");
    leader.order(Command::ExitRelease);
    leader.settle();
    wait(&mut leader, 14);
    assert_eq!(announced(&leader), 1);
}

#[test]
fn who_leaves_the_channel_gives_the_lease_back() {
    let mut leader = exit();
    let since = None;
    leader.hand(Input::OnChannel {
        since,
        may_speak: true,
    });
    leader.settle();
    assert!(!has_lease(&mut leader), "off the channel");
}
