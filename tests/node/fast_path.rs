//! From a venue's bytes to the bytes of both legs: what is waited for.

use expressnet::model::market::Side;
use expressnet::model::time::Span;
use expressnet::node::input::Command;
use expressnet::risk::Switch;

use crate::node::leader::Leader;

#[test]
fn on_an_armed_envelope_one_frame_fires_both_legs_and_waits_for_no_commit() {
    let mut leader = Leader::new(());
    for round in 0..100_u32 {
        let side = [Side::Ask, Side::Bid][round as usize % 2];
        let frame = leader.crossing_frame(side);
        assert_eq!(leader.fire(&frame), 0, "round {round}");
        clear(&mut leader, side);
    }
    let totals = leader.node.totals();
    assert_eq!((totals.taken, totals.legs_fired), (100, 200));
    assert_eq!(totals.endings.get("filled"), Some(&100));
}

#[test]
fn without_an_armed_envelope_legs_wait_for_the_one_commit_that_arms_it() {
    let mut leader = Leader::new(());
    for round in 0..10 {
        leader.order(Command::Switch(Switch::Halt));
        leader.settle();
        leader.order(Command::Switch(Switch::Active));
        let frame = leader.crossing_frame(Side::Ask);
        assert_eq!(leader.fire(&frame), 1, "round {round}");
        clear(&mut leader, Side::Ask);
    }
}

fn clear(leader: &mut Leader<()>, side: Side) {
    leader.settle();
    let frame = leader.clearing_frame(side);
    leader.frame(&frame);
    leader.settle();
    leader.advance(Span::millis(60));
}
