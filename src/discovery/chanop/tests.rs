//! The operator's rules, one by one, and what it must not do.

use crate::discovery::chanop::decision::{Reason, Verdict};
use crate::discovery::chanop::played::{
    NETS, TRUSTED, key, nick, node, place, quiet, seats, token, voiced,
};
use crate::discovery::chanop::proof::{Challenge, Proof};
use crate::discovery::chanop::{Announced, By, Chanop, Output, Place, Record, Seats};
use crate::model::ids::{PeernetId, Pin};
use crate::model::key::pin_of;
use crate::model::time::{Span, Time};

#[test]
fn voice_comes_after_the_time_on_the_channel_and_a_proof_by_the_exit() {
    let mut channel = quiet();
    channel.roster(seats(0, 1, &[1, 2, 3]));
    channel.seen("a", Some(1), false);
    assert_eq!(channel.judge("a"), Err(Reason::NotProven));
    channel.prove("a", 1, None);
    assert_eq!(channel.judge("a"), Err(Reason::NoLease));
    channel.lease(0, 1, token(1, 1));
    channel.prove("a", 1, Some((0, token(1, 1))));
    let day_s = 86_400;
    assert_eq!(channel.judge("a"), Err(Reason::Young { missing_s: day_s }));
    for _ in 0..1_440 {
        channel.pass(Span::secs(60).less(Span::millis(1)));
        assert!(channel.take().is_empty(), "not before its time");
        channel.pass(Span::millis(1));
        channel.lease(0, 1, token(1, 1));
    }
    assert_eq!(channel.take(), [Output::Voice { place: place("a") }]);
    let said: Vec<_> = channel
        .chanop
        .explain(node(1))
        .map(|decision| decision.verdict)
        .collect();
    assert_eq!(said.first(), Some(&Verdict::Voiced));
    assert!(
        said.len() <= 5,
        "what does not change is not said again: {said:?}"
    );
    assert!(
        channel
            .chanop
            .list(channel.now)
            .any(|(_, proven, ..)| proven == Some(node(1)))
    );
}

#[test]
fn a_nick_that_claims_nothing_is_not_asked_and_one_that_lies_gains_nothing() {
    let mut channel = voiced();
    channel.seen("human", None, false);
    channel.pass(Span::DAY);
    assert_eq!(channel.question("human"), None);
    let mut channel = voiced();
    channel.seen("liar", Some(1), false);
    let challenge = channel.question("liar").unwrap();
    assert_eq!(channel.judge("liar"), Err(Reason::NotProven));
    channel.answer("liar", challenge, 1, Some((0, token(1, 1))), false);
    assert_eq!(channel.judge("liar"), Err(Reason::ProofWrong));
    assert_eq!(channel.judge("a"), Ok(()), "it harms nobody else");
    assert!(channel.take().is_empty());
}

#[test]
fn an_answer_counts_once_for_its_question_and_in_time() {
    let mut channel = quiet();
    channel.seen("a", Some(1), false);
    let challenge = channel.question("a").unwrap();
    let other = Challenge { nonce: [9; 16] };
    channel.answer("a", other, 1, None, true);
    assert_eq!(channel.judge("a"), Err(Reason::NotProven));
    channel.now = channel.now + Chanop::ANSWER_WITHIN;
    channel.answer("a", challenge, 1, None, true);
    assert_eq!(channel.judge("a"), Err(Reason::NotProven), "too late");
    channel.pass(Chanop::ASK_AGAIN_AFTER + Span::secs(2));
    let challenge = channel.question("a").unwrap();
    channel.answer("a", challenge, 1, None, true);
    assert_eq!(channel.judge("a"), Err(Reason::NoRoster));
    channel.gone("a");
    channel.seen("a", None, false);
    channel.answer("a", challenge, 1, None, true);
    assert_eq!(channel.judge("a"), Err(Reason::NotProven), "replayed");
}

#[test]
fn who_does_not_answer_is_asked_ever_more_seldom() {
    let mut channel = quiet();
    channel.seen("a", Some(1), false);
    let mut asked = 0;
    for _ in 0..24 {
        channel.pass(Span::secs(3_600));
        asked += channel.take().len();
    }
    assert!((5..=9).contains(&asked), "{asked} questions a day");
}

#[test]
fn everybody_is_asked_but_few_at_once() {
    let mut channel = quiet();
    for count in 0..100 {
        channel.seen(&format!("n{count}"), Some(count), false);
    }
    assert_eq!(channel.take().len() as u64, Chanop::ASK_BURST);
    channel.pass(Span::secs(60));
    assert!((28..=32).contains(&channel.take().len()));
    channel.pass(Span::secs(180));
    assert_eq!(channel.take().len(), 100 - 4 - 30);
}

#[test]
fn too_little_trust_is_no_voice_and_losing_it_takes_it() {
    let mut channel = voiced();
    channel.call(|chanop, now, out| chanop.handle_trust(node(1), TRUSTED - 1, now, out));
    let (trust, min) = (TRUSTED - 1, TRUSTED);
    channel.devoices("a", Reason::Trust { trust, min });
}

#[test]
fn flooding_takes_the_voice_for_an_hour_also_from_another_nick() {
    let mut channel = voiced();
    channel.call(|chanop, now, out| chanop.handle_flood(&place("a"), now, out));
    channel.devoices("a", Reason::Flood);
    channel.mode("a", false, By::Us);
    channel.gone("a");
    channel.seen("b", Some(1), false);
    channel.prove("b", 1, Some((0, token(1, 1))));
    assert_eq!(channel.judge("b"), Err(Reason::Flood));
    for _ in 0..60 {
        channel.pass(Span::secs(60));
        channel.lease(0, 1, token(1, 1));
    }
    assert_eq!(channel.take(), [Output::Voice { place: place("b") }]);
}

#[test]
fn a_lease_that_is_not_announced_again_has_ended() {
    let mut channel = voiced();
    channel.pass(Span::secs(100));
    channel.lease(0, 1, token(1, 1));
    channel.pass(Chanop::LEASE_SILENCE.less(Span::secs(3)));
    assert!(channel.take().is_empty());
    channel.pass(Span::secs(3));
    channel.devoices("a", Reason::LeaseExpired);
    let old = Announced {
        peernet: NETS[0],
        node: node(1),
        token: token(1, 1),
        number: channel.number,
    };
    channel.call(|chanop, now, out| chanop.handle_lease(old, true, now, out));
    assert_eq!(
        channel.judge("a"),
        Err(Reason::LeaseExpired),
        "a replay renews nothing"
    );
}

#[test]
fn a_higher_token_takes_the_voice_and_a_lower_one_never_does() {
    let mut channel = voiced();
    channel.seen("b", Some(2), false);
    channel.prove("b", 2, None);
    channel.pass(Span::secs(60));
    channel.lease(0, 2, token(1, 1));
    channel.lease(0, 2, token(1, 0));
    let forged = Announced {
        peernet: NETS[0],
        node: node(2),
        token: token(1, 9),
        number: 99,
    };
    channel.call(|chanop, now, out| chanop.handle_lease(forged, false, now, out));
    channel.lease(0, 9, token(1, 9));
    channel.lease(0, 2, token(2, 9));
    assert!(
        channel.take().is_empty(),
        "one token has one holder, a member under that roster"
    );
    channel.lease(0, 2, token(1, 2));
    let devoice = Output::Devoice {
        place: place("a"),
        why: Reason::LowerToken,
    };
    let challenge = channel.question("b").unwrap();
    assert_eq!(channel.take(), [devoice]);
    channel.lease(0, 1, token(1, 1));
    assert_eq!(channel.judge("a"), Err(Reason::LowerToken));
    for _ in 0..1_440 {
        channel.pass(Span::secs(60));
        channel.lease(0, 2, token(1, 2));
    }
    channel.take();
    channel.answer("b", challenge, 2, Some((0, token(1, 2))), true);
    assert!(channel.take().is_empty(), "that question is over");
}

#[test]
fn one_nick_a_peernet_has_voice_on_a_network() {
    let mut channel = voiced();
    channel.seen("b", Some(2), false);
    channel.prove("b", 2, None);
    for _ in 0..1_440 {
        channel.pass(Span::secs(60));
        channel.lease(0, 1, token(1, 1));
    }
    assert_eq!(channel.judge("b"), Err(Reason::NotExit));
    channel.lease(0, 2, token(1, 2));
    channel.prove("b", 2, Some((0, token(1, 2))));
    assert_eq!(
        channel.judge("b"),
        Err(Reason::OtherNick),
        "the other has it still"
    );
    let why = Reason::LowerToken;
    let devoice = Output::Devoice {
        place: place("a"),
        why,
    };
    assert_eq!(channel.take(), [devoice]);
    channel.mode("a", false, By::Us);
    assert_eq!(channel.take(), [Output::Voice { place: place("b") }]);
}

#[test]
fn two_rosters_with_one_key_silence_both_peernets_until_one_drops_it() {
    let mut channel = voiced();
    channel.roster(seats(1, 1, &[3, 4]));
    let with = NETS[1];
    channel.devoices("a", Reason::RosterShared { with });
    channel.mode("a", false, By::Us);
    channel.roster(seats(1, 2, &[4, 5]));
    assert_eq!(channel.take(), [Output::Voice { place: place("a") }]);
    channel.mode("a", true, By::Us);
    channel.roster(seats(1, 1, &[3, 4]));
    assert!(channel.take().is_empty(), "an old roster says nothing");
    channel.roster(seats(1, 3, &[3, 4, 5]));
    channel.devoices("a", Reason::RosterShared { with });
    channel.call(|chanop, now, out| chanop.handle_roster_gone(NETS[1], now, out));
    channel.mode("a", false, By::Us);
    assert_eq!(channel.take(), [Output::Voice { place: place("a") }]);
}

#[test]
fn a_forked_roster_and_a_dropped_member_have_no_voice() {
    let mut channel = voiced();
    let is_forked = true;
    channel.roster(Seats {
        is_forked,
        ..seats(0, 1, &[1, 2, 3])
    });
    channel.devoices("a", Reason::RosterForked);
    let mut channel = voiced();
    channel.roster(seats(0, 2, &[2, 3]));
    channel.pass(Span::secs(2));
    channel.devoices("a", Reason::NotOnRoster);
}

#[test]
fn a_roster_earns_nothing_by_its_size() {
    let mut channel = quiet();
    let many: Vec<u8> = (1..=64).collect();
    channel.roster(seats(0, 1, &many));
    channel.seen("a", Some(1), false);
    let challenge = channel.question("a").unwrap();
    channel.lease(0, 1, token(1, 1));
    let proof = Proof {
        key: key(1),
        nonce: challenge.nonce,
        peernet: NETS[0],
        token: token(1, 1).0,
        roster_hash: [1; 32],
        signature: [0; 64],
    };
    channel.call(|chanop, now, out| {
        chanop.handle_proof(&place("a"), &proof, 0, true, now, out);
    });
    for _ in 0..2 * 1_440 {
        channel.pass(Span::secs(60));
        channel.lease(0, 1, token(1, 1));
    }
    let min = TRUSTED;
    assert_eq!(channel.judge("a"), Err(Reason::Trust { trust: 0, min }));
    assert!(channel.take().is_empty());
}

#[test]
fn another_key_under_one_node_is_trouble_until_the_owner_pardons() {
    let mut channel = voiced();
    let changed = Pin({
        let mut pin = pin_of(&key(1)).0;
        pin[31] ^= 1;
        pin
    });
    // As if a key with the same first half of its digest had been known before.
    let at = channel.now;
    let age = Span::DAY;
    let record = Record::Age {
        node: node(1),
        pin: changed,
        age,
        at,
    };
    channel.gone("a");
    channel.chanop.restore(&record, at);
    channel.seen("a", Some(1), true);
    let challenge = channel.question("a").unwrap();
    channel.answer("a", challenge, 1, Some((0, token(1, 1))), true);
    channel.devoices("a", Reason::KeyChanged);
    let is_troubled = true;
    let trouble = Record::Trouble {
        node: node(1),
        is_troubled,
    };
    assert!(channel.records.contains(&trouble));
    channel.gone("a");
    channel.pass(Span::secs(7_200));
    channel.seen("a", Some(1), false);
    channel.prove("a", 1, None);
    let judged = channel.judge("a");
    assert_eq!(judged, Err(Reason::KeyChanged), "time does not heal it");
    channel.call(|chanop, now, out| chanop.handle_pardon(node(1), now, out));
    assert_eq!(channel.chanop.age(node(1), channel.now), Span::ZERO);
}

#[test]
fn trouble_with_a_key_takes_the_voice_of_every_nick_that_has_it() {
    let mut channel = voiced();
    let mut pin = pin_of(&key(1));
    pin.0[31] ^= 1;
    let record = Record::Age {
        node: node(1),
        pin,
        age: Span::DAY,
        at: channel.now,
    };
    channel.chanop.restore(&record, channel.now);
    channel.seen("b", Some(1), false);
    channel.prove("b", 1, None);
    let why = Reason::KeyChanged;
    let devoice = Output::Devoice {
        place: place("a"),
        why,
    };
    assert!(channel.take().contains(&devoice));
}

#[test]
fn a_recycled_nick_has_nothing_of_the_one_before() {
    let mut channel = voiced();
    channel.gone("a");
    let last = channel.chanop.log().iter().last().unwrap();
    assert_eq!(last.reason, Some(Reason::Departed));
    channel.seen("a", Some(1), false);
    assert_eq!(channel.judge("a"), Err(Reason::NotProven));
    assert!(channel.question("a").is_some());
    assert!(channel.take().is_empty());
    // A split that ends may give the recycled nick the voice of the other.
    channel.mode("a", true, By::Other);
    channel.pass(Chanop::ANSWER_WITHIN + Span::secs(2));
    channel.devoices("a", Reason::NoAnswer);
}

#[test]
fn a_new_nick_keeps_its_voice_for_as_long_as_a_proof_may_take() {
    let mut channel = voiced();
    let rename = |chanop: &mut Chanop, now: Time, out: &mut Vec<Output>| {
        chanop.handle_renamed(1, nick("a"), nick("z"), now, out);
    };
    channel.call(rename);
    assert_eq!(channel.judge("a"), Err(Reason::Departed));
    assert_eq!(channel.judge("z"), Err(Reason::NickChanged));
    channel.pass(Span::secs(100));
    channel.prove("z", 1, Some((0, token(1, 1))));
    assert_eq!(channel.judge("z"), Ok(()));
    assert!(channel.take().is_empty());
    let mut channel = voiced();
    channel.call(rename);
    assert!(channel.question("z").is_some());
    for _ in 0..5 {
        channel.pass(Span::secs(60));
        channel.lease(0, 1, token(1, 1));
    }
    channel.pass(Span::secs(4));
    channel.devoices("z", Reason::NoAnswer);
}

#[test]
fn a_netsplit_within_the_grace_costs_no_age_and_a_longer_one_all_of_it() {
    for (away, kept) in [
        (Chanop::GRACE, true),
        (Chanop::GRACE + Span::secs(3), false),
    ] {
        let mut channel = quiet();
        channel.seen("a", Some(1), false);
        channel.prove("a", 1, None);
        channel.pass(Span::secs(10_000));
        channel.call(|chanop, now, out| chanop.handle_network_gone(1, now, out));
        channel.pass(away);
        channel.seen("a", Some(1), false);
        channel.prove("a", 1, None);
        channel.pass(Span::secs(10));
        let age_s = channel.chanop.age(node(1), channel.now).as_millis() / 1_000;
        assert_eq!(age_s, if kept { 10_010 } else { 10 });
    }
}

#[test]
fn a_long_absence_counts_although_nobody_looked_meanwhile() {
    let mut channel = quiet();
    channel.seen("a", Some(1), false);
    channel.prove("a", 1, None);
    channel.pass(Span::secs(100));
    channel.gone("a");
    channel.now = channel.now + Chanop::GRACE + Span(1);
    channel.seen("a", Some(1), false);
    channel.prove("a", 1, None);
    assert_eq!(channel.chanop.age(node(1), channel.now), Span::ZERO);
}

#[test]
fn age_counts_once_however_many_networks() {
    let mut channel = quiet();
    let there = |network| Place {
        network,
        nick: nick("a"),
    };
    for network in 1..=4 {
        let claim = Some(node(1));
        channel.call(|chanop, now, out| {
            chanop.handle_seen(there(network), claim, false, now, out);
        });
        let Some(Output::Challenge { challenge, .. }) = channel.take().pop() else {
            panic!("it was not asked on network {network}");
        };
        let proof = Proof {
            key: key(1),
            nonce: challenge.nonce,
            peernet: NETS[0],
            token: 0,
            roster_hash: [0; 32],
            signature: [0; 64],
        };
        channel.call(|chanop, now, out| {
            chanop.handle_proof(&there(network), &proof, TRUSTED, true, now, out);
        });
    }
    channel.pass(Span::secs(100));
    channel.call(|chanop, now, out| chanop.handle_network_gone(2, now, out));
    channel.pass(Span::secs(100));
    assert_eq!(channel.chanop.age(node(1), channel.now), Span::secs(200));
}

#[test]
fn the_nick_that_shows_a_key_last_has_it() {
    let mut channel = voiced();
    channel.seen("b", Some(1), false);
    let challenge = channel.question("b").unwrap();
    channel.answer("b", challenge, 1, Some((0, token(1, 1))), true);
    let why = Reason::Moved;
    assert_eq!(channel.judge("a"), Err(why));
    let outputs = channel.take();
    let devoice = Output::Devoice {
        place: place("a"),
        why,
    };
    assert!(outputs.contains(&devoice), "{outputs:?}");
}

#[test]
fn a_restart_takes_no_voice_and_keeps_ages() {
    let before = voiced();
    let mut channel = before.restarted();
    channel.seen("a", Some(1), true);
    let challenge = channel.question("a").unwrap();
    assert!(channel.take().is_empty());
    channel.answer("a", challenge, 1, Some((0, token(1, 1))), true);
    assert_eq!(channel.judge("a"), Err(Reason::NoRoster));
    channel.pass(Span::secs(30));
    channel.roster(seats(0, 1, &[1, 2, 3]));
    channel.lease(0, 1, token(1, 1));
    assert_eq!(channel.judge("a"), Ok(()));
    assert!(channel.take().is_empty());
    let last = channel.chanop.log().iter().last().unwrap();
    assert_eq!((last.verdict, last.reason), (Verdict::Kept, None));
    assert!(channel.chanop.age(node(1), channel.now) >= Span::DAY);
    // The token is remembered: what was used before does not come back.
    let mut channel = before.restarted();
    channel.roster(seats(0, 1, &[1, 2, 3]));
    channel.lease(0, 2, token(1, 1));
    channel.seen("b", Some(2), false);
    channel.prove("b", 2, Some((0, token(1, 1))));
    assert_eq!(channel.judge("b"), Err(Reason::NotExit));
}

#[test]
fn after_a_restart_who_does_not_prove_again_loses_its_voice() {
    let mut channel = voiced().restarted();
    channel.seen("a", Some(1), true);
    channel.question("a").unwrap();
    channel.pass(Chanop::ANSWER_WITHIN.less(Span::secs(2)));
    assert!(channel.take().is_empty());
    channel.pass(Span::secs(4));
    channel.devoices("a", Reason::NoAnswer);
    // Nor is a voice kept for a peernet of which nothing is heard.
    let mut channel = voiced().restarted();
    channel.seen("a", Some(1), true);
    channel.prove("a", 1, Some((1, token(1, 1))));
    channel.pass(Chanop::ANSWER_WITHIN + Span::secs(2));
    channel.devoices("a", Reason::NoRoster);
}

#[test]
fn ages_that_were_written_down_long_ago_count_for_nothing() {
    let before = voiced();
    let mut channel = quiet();
    channel.now = before.now + Chanop::RECORD_KEPT + Span::secs(1);
    for record in &before.records {
        channel.chanop.restore(record, channel.now);
    }
    assert_eq!(channel.chanop.age(node(1), channel.now), Span::ZERO);
}

#[test]
fn what_another_operator_voices_is_left_where_our_rules_allow_it() {
    let mut channel = voiced();
    channel.mode("a", false, By::Other);
    assert_eq!(channel.take(), [Output::Voice { place: place("a") }]);
    channel.mode("a", true, By::Other);
    channel.pass(Span::secs(120));
    assert!(channel.take().is_empty());
    assert_eq!(channel.judge("a"), Ok(()));
}

#[test]
fn two_operators_do_not_fight() {
    let mut channel = voiced();
    channel.call(|chanop, now, out| chanop.handle_trust(node(1), 0, now, out));
    channel.take();
    channel.mode("a", false, By::Us);
    let mut reversed = Vec::new();
    let start = channel.now;
    for _ in 0..1_700 {
        channel.mode("a", true, By::Other);
        channel.pass(Span::secs(2));
        if !channel.take().is_empty() {
            reversed.push(channel.now.since(start).as_millis() / 1_000);
            channel.mode("a", false, By::Us);
        }
    }
    assert_eq!(
        reversed.len(),
        Chanop::REVERSALS_MAX,
        "in an hour: {reversed:?}"
    );
    assert!(reversed[1] - reversed[0] >= 18 && reversed[2] - reversed[1] >= 38);
    let last = channel.chanop.log().iter().last().unwrap();
    assert_eq!(last.verdict, Verdict::LeftAlone);
    channel.pass(Span::secs(300));
    assert!(!channel.take().is_empty(), "after an hour it tries again");
}

#[test]
fn every_table_is_bounded() {
    let mut channel = quiet();
    for count in 0..Chanop::MEMBERS_MAX + 5 {
        let place = place(&format!("n{count}"));
        channel.call(|chanop, now, out| chanop.handle_seen(place, None, false, now, out));
    }
    assert_eq!(channel.chanop.full(), 5);
    assert_eq!(channel.chanop.members.len(), Chanop::MEMBERS_MAX);
    for count in 0..Chanop::PEERNETS_MAX + 3 {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&(count as u64).to_le_bytes());
        let peernet = PeernetId(id);
        channel.roster(Seats {
            peernet,
            ..seats(0, 1, &[])
        });
    }
    assert_eq!(channel.chanop.peernets.len(), Chanop::PEERNETS_MAX);
    assert_eq!(channel.chanop.full(), 8);
    assert!(channel.chanop.log().dropped() > 0);
    assert_eq!(channel.chanop.log().iter().count(), 1_024);
}

#[test]
fn keys_beyond_the_limit_are_refused_and_those_away_make_room() {
    let mut channel = quiet();
    for count in 0..Chanop::NODES_MAX {
        let mut pin = [7; 32];
        pin[..8].copy_from_slice(&(count as u64).to_le_bytes());
        let pin = Pin(pin);
        let (age, at) = (Span::ZERO, channel.now);
        let node = pin.node_id();
        let record = Record::Age { node, pin, age, at };
        channel.chanop.restore(&record, at);
    }
    channel.seen("a", Some(1), false);
    channel.prove("a", 1, None);
    assert_eq!(channel.judge("a"), Err(Reason::Full));
    channel.pass(Chanop::GRACE + Span::secs(4));
    assert!(channel.chanop.nodes.is_empty());
    channel.take();
    channel.pass(Span::secs(400));
    channel.prove("a", 1, None);
    assert_eq!(channel.judge("a"), Err(Reason::NoRoster));
}
