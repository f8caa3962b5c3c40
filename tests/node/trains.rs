//! Trains of probes through `Node::handle`: legs go first, quotas hold, peers attest.

use expressnet::latency::attest;
use expressnet::latency::lines::{Line, Row};
use expressnet::latency::quota::Schedule;
use expressnet::latency::train::Shape;
use expressnet::model::ids::CommandNo;
use expressnet::model::market::Side;
use expressnet::model::time::{Span, Time};
use expressnet::node::input::{Command, Input};
use expressnet::node::output::{Job, Output};
use expressnet::wire::message::Message;
use expressnet::wire::talk::{Probe, Talk};

use crate::node::leader::Leader;

const STEADY: Shape = Shape::Idle {
    interval: Span::MILLI,
};
const TRAIN: u32 = 1;

/// Begins a train to the peer, whose first probe is due at once.
fn begin(leader: &mut Leader<()>, count: u32) {
    leader.order(Command::Ping {
        peer: "beta".to_owned(),
        shape: STEADY,
        count,
    });
    leader.settle();
    leader.now = leader.now + Span::millis(20);
}

fn paced(leader: &mut Leader<()>) -> usize {
    leader.hand(Input::Paced { train: TRAIN });
    probes(leader)
}

fn probes(leader: &Leader<()>) -> usize {
    let outputs = leader.out.outputs().iter();
    let is_probe = |output: &&Output| matches!(output, Output::Probe { .. });
    outputs.filter(is_probe).count()
}

/// Runs a train to its end and returns what its owner was told.
fn lines_until_over(leader: &mut Leader<()>) -> Vec<Line> {
    let mut lines = told(leader);
    while !matches!(lines.last(), Some(Line::Over {})) {
        assert!(lines.len() < 1_000, "no end");
        leader.now = leader.now + Span::millis(300);
        // A feed that is silent for longer is opened anew.
        let frame = leader.clearing_frame(Side::Ask);
        leader.frame(&frame);
        leader.hand(Input::Deadline);
        lines.extend(told(leader));
    }
    lines
}

fn told(leader: &Leader<()>) -> Vec<Line> {
    let mut lines = Vec::new();
    for output in leader.out.outputs() {
        if let Output::Answer { bytes, .. } = output {
            lines.extend(serde_json::from_slice::<Line>(leader.out.read(*bytes)).ok());
        }
    }
    lines
}

fn rows(lines: &[Line]) -> Vec<Row> {
    let of = |line: &Line| match line {
        Line::Samples { samples, .. } => samples.clone(),
        Line::Head(_)
        | Line::Count { .. }
        | Line::End(_)
        | Line::Absent { .. }
        | Line::Piece { .. }
        | Line::Over {} => Vec::new(),
    };
    lines.iter().flat_map(of).collect()
}

/// What a leg waits for is the same with and without a train whose probes are due.
#[test]
fn a_train_that_runs_delays_no_leg() {
    let (mut plain, mut probed) = (Leader::new(()), Leader::new(()));
    begin(&mut probed, 100_000);
    plain.now = probed.now;
    assert_eq!(paced(&mut probed), 1);
    for round in 0..100_u32 {
        let side = [Side::Ask, Side::Bid][round as usize % 2];
        let frame = plain.crossing_frame(side);
        assert_eq!(plain.fire(&frame), 0, "round {round}");
        let legs = plain.out.outputs().len();
        let frame = probed.crossing_frame(side);
        assert_eq!(probed.fire(&frame), 0, "round {round}");
        assert_eq!(probes(&probed), 0, "a probe left with the legs");
        assert_eq!(probed.out.outputs().len(), legs, "round {round}");
        let sent = paced(&mut probed);
        assert!(
            round == 0 || sent >= 60,
            "{sent} of a train that was never due"
        );
        for leader in [&mut plain, &mut probed] {
            leader.settle();
            let frame = leader.clearing_frame(side);
            leader.frame(&frame);
            leader.settle();
            leader.advance(Span::millis(60));
        }
    }
    let totals = probed.node.totals();
    assert_eq!((totals.taken, totals.legs_fired), (100, 200));
}

#[test]
fn what_falls_due_while_the_core_is_busy_leaves_with_its_own_moment() {
    let mut leader = Leader::new(());
    begin(&mut leader, 200);
    assert_eq!(paced(&mut leader), 1);
    leader.now = leader.now + Span::millis(100);
    assert_eq!(paced(&mut leader), 100);
    leader.hand(Input::ProbeRefused {
        train: TRAIN,
        number: 7,
    });
    leader.now = leader.now + Span::millis(300);
    assert_eq!(paced(&mut leader), 99);
    let rows = rows(&lines_until_over(&mut leader));
    assert_eq!(rows.len(), 200);
    for (index, (number, intended, sent, fate, ..)) in rows.iter().enumerate() {
        assert_eq!(*number as usize, index);
        assert_eq!(intended - rows[0].1, index as u64 * 1_000_000);
        let late = if index == 0 {
            0
        } else if index <= 100 {
            100 - index as u64
        } else {
            400 - index as u64
        };
        assert_eq!(sent - intended, late * 1_000_000, "probe {index}");
        assert_eq!(*fate, u8::from(index == 7), "nobody answered");
    }
}

#[test]
fn a_peer_is_answered_what_it_asked_for_and_no_more() {
    let mut leader = Leader::new(());
    let schedule = Schedule::new(STEADY, 10).unwrap();
    let probe = |number, train: u64| Probe {
        train,
        number,
        sent: Time(9),
        received: Time::ZERO,
        replied: Time::ZERO,
    };
    let answers = |leader: &mut Leader<()>, train: u64, count: u32| -> usize {
        let mut answered = 0;
        for number in 0..count {
            let mut bytes = Vec::new();
            Message::Probe(probe(number, train)).encode(&mut bytes);
            let link = leader.link;
            leader.hand(Input::LinkDatagram {
                link,
                bytes: &bytes,
            });
            for output in leader.out.outputs() {
                if let Output::LinkDatagram { bytes, .. } = output {
                    let reply = Message::decode(leader.out.read(*bytes)).unwrap();
                    let expected = Probe {
                        received: leader.now,
                        replied: leader.now,
                        ..probe(number, train)
                    };
                    assert_eq!(reply, Message::ProbeReply(expected));
                    answered += 1;
                }
            }
        }
        answered
    };
    let train = [5; 16];
    let tag = u64::from_le_bytes([5; 8]);
    assert_eq!(answers(&mut leader, tag, 10), 0, "it was not asked for");
    leader.say(&Message::Talk(Talk::TrainAsk {
        train,
        interval: schedule.interval(),
        burst: 1,
        count: 10,
    }));
    leader.settle();
    assert_eq!(
        answers(&mut leader, tag, 10_000),
        2_200,
        "two seconds at its rate"
    );
    leader.say(&Message::Talk(Talk::TrainOver { train }));
    leader.settle();
    assert_eq!(answers(&mut leader, tag, 10), 0, "it is over");
}

#[test]
fn what_was_seen_of_a_train_is_signed_beside_the_core() {
    let mut leader = Leader::new(());
    let train = [6; 16];
    leader.say(&Message::Talk(Talk::TrainAsk {
        train,
        interval: Span::MILLI,
        burst: 1,
        count: 1,
    }));
    leader.settle();
    leader.say(&Message::Talk(Talk::TrainOver { train }));
    leader.settle();
    let mut work = None;
    for output in leader.out.outputs() {
        if let Output::Work {
            work: number,
            job: Job::Sign,
            bytes,
        } = output
        {
            work = Some((*number, leader.out.read(*bytes).to_vec()));
        }
    }
    let (work, statement) = work.unwrap();
    leader.hand(Input::Worked {
        work,
        key: [1; 32],
        bytes: &[2; 64],
    });
    let mut said = None;
    for output in leader.out.outputs() {
        if let Output::LinkStream { bytes, .. } = output {
            said = Message::decode(&leader.out.read(*bytes)[1..]).ok();
        }
    }
    let Some(Message::Talk(Talk::Attested { body, key, .. })) = said else {
        panic!("{said:?}");
    };
    assert_eq!((attest::statement(&body), key), (statement, [1; 32]));
    let attestation = attest::read(&body, key, [2; 64]).unwrap();
    assert_eq!((attestation.train, attestation.received), (train, 0));
}

#[test]
fn whoever_stops_listening_ends_the_train() {
    let mut leader = Leader::new(());
    begin(&mut leader, 1_000);
    assert_eq!(paced(&mut leader), 1);
    let number = CommandNo(1);
    leader.hand(Input::CommandGone { number });
    leader.now = leader.now + Span::millis(100);
    assert_eq!(paced(&mut leader), 0);
    assert_eq!(rows(&lines_until_over(&mut leader)).len(), 1);
}
