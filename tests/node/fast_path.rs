//! From a venue's bytes to the bytes of both legs: what is waited for.

use std::cell::RefCell;
use std::rc::Rc;

use expressnet::model::market::Side;
use expressnet::model::time::Span;
use expressnet::node::input::{Command, Input};
use expressnet::node::output::{Carrier, Outbox, Output};
use expressnet::risk::Switch;

use crate::node::leader::{Leader, legs_among};

/// Keeps what each hand-over held: a leg for the peer, one for the venue, and how many outputs.
struct Keeper(Rc<RefCell<Vec<(bool, bool, usize)>>>);

impl Carrier for Keeper {
    fn carry(&mut self, outbox: &Outbox) {
        let (at_peer, at_venue) = legs_among(outbox.waiting(), outbox);
        let kept = (at_peer, at_venue, outbox.waiting().len());
        self.0.borrow_mut().push(kept);
    }
}

/// The leg that has further to go is handed over alone, then the other one, then everything else is
/// left for the end of the step: the records, and the quote for the peer.
#[test]
fn legs_are_handed_over_before_anything_else_of_their_step() {
    let mut leader = Leader::new(());
    let kept = Rc::new(RefCell::new(Vec::new()));
    leader.out.carry_by(Box::new(Keeper(Rc::clone(&kept))));
    for round in 0..10_usize {
        let side = [Side::Ask, Side::Bid][round % 2];
        let frame = leader.crossing_frame(side);
        assert_eq!(leader.fire(&frame), 0, "round {round}");
        assert_eq!(
            kept.take(),
            [(true, false, 1), (false, true, 1)],
            "round {round}"
        );
        let waiting = leader.out.waiting();
        let is_record = |output: &&Output| matches!(output, Output::Journal { .. });
        assert_eq!(waiting.iter().filter(is_record).count(), 3);
        assert_eq!(waiting.len() + 2, leader.out.outputs().len());
        leader.clear(side);
    }
}

/// A draw's order is handed over by the node beside the venue before its record.
#[test]
fn a_drawn_order_is_handed_over_before_its_record() {
    let mut leader = Leader::new(());
    let kept = Rc::new(RefCell::new(Vec::new()));
    leader.out.carry_by(Box::new(Keeper(Rc::clone(&kept))));
    let (link, bytes) = (leader.link, leader.draw_frame(Side::Bid));
    let bytes = &bytes;
    leader.hand(Input::LinkStream { link, bytes });
    let [(at_peer, at_venue, _)] = kept.take()[..] else {
        panic!("one leg is handed over once");
    };
    assert!(!at_peer && at_venue);
    let waiting = leader.out.waiting();
    assert!(matches!(waiting, [Output::Journal { .. }]), "{waiting:?}");
}

#[test]
fn on_an_armed_envelope_one_frame_fires_both_legs_and_waits_for_no_commit() {
    let mut leader = Leader::new(());
    for round in 0..100_u32 {
        let side = [Side::Ask, Side::Bid][round as usize % 2];
        let frame = leader.crossing_frame(side);
        assert_eq!(leader.fire(&frame), 0, "round {round}");
        leader.clear(side);
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
        leader.clear(Side::Ask);
    }
}

#[test]
fn what_a_gate_would_refuse_is_not_half_fired() {
    let mut leader = Leader::with((), |config| config.risk.collar_ppm = 1);
    let frame = leader.crossing_frame(Side::Ask);
    leader.frame(&frame);
    assert_eq!(leader.node.totals().legs_fired, 0);
    assert_eq!(leader.node.totals().skipped.get("price_collar"), Some(&1));
    let mut leader = Leader::with((), |config| config.risk.orders_per_s = 5);
    for round in 0..10_u32 {
        let side = [Side::Ask, Side::Bid][round as usize % 2];
        let frame = leader.crossing_frame(side);
        leader.frame(&frame);
        leader.clear(side);
    }
    let totals = leader.node.totals();
    assert!((4..10).contains(&totals.taken), "{totals:?}");
    assert_eq!(
        totals.legs_fired,
        2 * totals.taken,
        "a half was fired alone"
    );
    assert!(totals.skipped.contains_key("throttled"), "{totals:?}");
    assert!(totals.fires_refused.is_empty(), "{totals:?}");
}

#[test]
fn a_peer_whose_venue_begins_its_sequence_anew_is_heard() {
    let mut leader = Leader::new(());
    let pass = |leader: &mut Leader<()>| {
        leader.advance(Span::millis(60));
        let frame = leader.clearing_frame(Side::Ask);
        leader.frame(&frame);
    };
    for _ in 0..40 {
        pass(&mut leader);
    }
    // The next quote is number 41, its sequence 1.
    leader.quotes_before = 40;
    // Longer than a book may be old, shorter than the sequence takes to come back to where it was.
    for _ in 0..38 {
        pass(&mut leader);
    }
    let frame = leader.crossing_frame(Side::Ask);
    assert_eq!(leader.fire(&frame), 0);
}

/// A peer's draw on an envelope that is armed leaves for the venue with the frame that brings it.
#[test]
fn a_draw_of_a_peer_is_fired_by_the_step_that_hears_it() {
    let mut holder = Leader::new(());
    for round in 0..100 {
        let side = [Side::Ask, Side::Bid][round % 2];
        let (bytes, link) = (holder.draw_frame(side), holder.link);
        holder.hand(Input::LinkStream {
            link,
            bytes: &bytes,
        });
        assert_eq!(holder.legs(), (false, true), "round {round}");
        holder.clear(side);
    }
}
