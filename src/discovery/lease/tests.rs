//! Leases in worlds of one to nine members, with and without planted bugs.

use crate::discovery::lease::message::{Message, Refusal, Say};
use crate::discovery::lease::world::{AGED_AFTER, PEERNET, Violation, World};
use crate::discovery::lease::{
    Faults, LEASE, LOCK, Lease, Output, Record, Restored, Seats, Settings, Standing, Token,
};
use crate::model::ids::{NodeId, PeernetId};
use crate::model::time::{Span, Time};

/// How long a new exit may take once nothing stands in its way.
const FOUND_WITHIN_MS: u64 = 5_000;

/// What came of one world: how long it took to find an exit after the harm, and after its death.
struct Seen {
    after_harm_ms: u64,
    after_death_ms: Option<u64>,
    holds: u64,
}

/// Lets a world come to harm, then calm down, then lose its exit.
fn run(seed: u64, count: usize, faults: Faults) -> Result<Seen, Violation> {
    let mut world = World::new(seed, count, faults);
    world.may_forget = seed.is_multiple_of(5);
    world.harm_for(8_000);
    world.calm();
    let after_harm_ms = held(&mut world)?;
    world.run_for(2_000);
    held(&mut world)?;
    let after_death_ms = lose_the_exit(&mut world)?;
    match world.violation {
        Some(violation) => Err(violation),
        None => Ok(Seen {
            after_harm_ms,
            after_death_ms,
            holds: world.holds,
        }),
    }
}

fn held(world: &mut World) -> Result<u64, Violation> {
    let found = world.until_held(FOUND_WITHIN_MS);
    match world.violation {
        Some(violation) => Err(violation),
        None => found.ok_or(Violation::NoHolder),
    }
}

/// Kills the exit where a majority with an aged and ready member is left.
fn lose_the_exit(world: &mut World) -> Result<Option<u64>, Violation> {
    let Some((exit, _)) = world.holder() else {
        return Ok(None);
    };
    let left: Vec<usize> = world.alive().filter(|at| *at != exit).collect();
    let has_successor = left
        .iter()
        .any(|at| world.members[*at].is_ready && world.members[*at].is_aged);
    if left.len() <= world.members.len() / 2 || !has_successor {
        return Ok(None);
    }
    world.crash(exit);
    held(world).map(Some)
}

fn clean(seeds: std::ops::Range<u64>, count: impl Fn(u64) -> usize) -> Vec<Seen> {
    let mut all = Vec::new();
    for seed in seeds {
        match run(seed, count(seed), Faults::default()) {
            Ok(seen) => all.push(seen),
            Err(violation) => panic!("seed {seed}: {violation:?}"),
        }
    }
    all
}

/// Returns the first seed that finds a planted bug as this violation. Small peernets find more.
fn first(faults: Faults, violation: Violation) -> Option<u64> {
    let count = |seed: u64| usize::try_from(3 + seed % 3).unwrap();
    (0..10_000).find(|seed| run(*seed, count(*seed), faults).err() == Some(violation))
}

fn members(seed: u64) -> usize {
    usize::try_from(3 + seed % 7).unwrap()
}

#[test]
fn there_is_never_more_than_one_exit_and_soon_one_again() {
    let seen = clean(0..2_000, members);
    let worst = seen.iter().map(|seen| seen.after_harm_ms).max().unwrap();
    let deaths: Vec<u64> = seen.iter().filter_map(|seen| seen.after_death_ms).collect();
    let holds: u64 = seen.iter().map(|seen| seen.holds).sum();
    println!(
        "after harm: {worst} ms at most; after {} deaths: {} ms; {holds} holds",
        deaths.len(),
        deaths.iter().max().unwrap()
    );
    // The worlds are worth something only if exits come, go and die.
    assert!(
        deaths.len() > 400 && holds > 4_000,
        "{} {holds}",
        deaths.len()
    );
}

#[test]
fn a_peernet_of_two_or_one_is_no_other() {
    let seen = clean(0..400, |seed| usize::try_from(1 + seed % 2).unwrap());
    assert!(seen.iter().map(|seen| seen.holds).sum::<u64>() > 600);
}

#[test]
fn each_planted_bug_is_found() {
    let none = Faults::default();
    let two = Violation::TwoHolders;
    for (faults, violation) in [
        (
            Faults {
                grant_early: true,
                ..none
            },
            two,
        ),
        (
            Faults {
                count_from_grant: true,
                ..none
            },
            two,
        ),
        (
            Faults {
                alone_anywhere: true,
                ..none
            },
            two,
        ),
        (
            Faults {
                reuse_token: true,
                ..none
            },
            Violation::Token,
        ),
        (
            Faults {
                any_number: true,
                ..none
            },
            two,
        ),
        (
            Faults {
                forget_promise: true,
                ..none
            },
            two,
        ),
        (
            Faults {
                ignore_gap: true,
                ..none
            },
            two,
        ),
    ] {
        let seed = first(faults, violation);
        println!("{faults:?}: seed {seed:?}");
        assert!(seed.is_some(), "{faults:?}");
    }
}

/// A world without harm, in which everybody is ready and aged, and somebody holds.
fn settled(count: usize) -> World {
    let mut world = World::new(1, count, Faults::default());
    for node in 0..count {
        world.members[node].is_aged = true;
        world.tell_standing(node);
    }
    assert!(world.until_held(FOUND_WITHIN_MS).is_some());
    world.run_for(1_000);
    world
}

#[test]
fn the_smaller_part_has_no_exit_once_the_lease_ends_and_the_larger_has_one_with_a_higher_token() {
    let mut world = settled(5);
    let (exit, token) = world.holder().unwrap();
    world.part(&[exit, (exit + 1) % 5]);
    world.run_for(1_800);
    // The lease of the last asking that a majority answered has ended by now, at the slowest clock.
    world.run_for(300);
    assert!(world.holder().is_none_or(|(at, _)| at != exit));
    world.until_held(2_900).unwrap();
    let (next, higher) = world.holder().unwrap();
    assert!(higher > token && ![exit, (exit + 1) % 5].contains(&next));
    world.run_for(5_000);
    world.heal();
    world.run_for(3_000);
    assert_eq!(world.holder(), Some((next, higher)), "it stays");
    assert_eq!(world.violation, None);
}

#[test]
fn of_two_the_one_that_may_be_alone_speaks_on_after_the_lease_and_the_other_does_not() {
    let mut world = settled(2);
    let token = world.holder().unwrap().1;
    world.crash(1);
    world.until_held(FOUND_WITHIN_MS).unwrap();
    world.run_for(3_000);
    let (alone, later) = world.holder().unwrap();
    assert_eq!(alone, 0);
    assert!(later >= token);
    world.boot(1);
    world.run_for(2_000);
    world.crash(0);
    world.run_for(10_000);
    assert_eq!(
        world.holder(),
        None,
        "the owner has not let this one speak alone"
    );
    assert_eq!(world.violation, None);
}

#[test]
fn two_that_do_not_hear_each_other_never_both_speak() {
    let mut world = settled(2);
    world.part(&[0]);
    world.run_for(10_000);
    assert_eq!(world.holder().map(|(at, _)| at), Some(0));
    world.heal();
    world.run_for(10_000);
    assert!(world.holder().is_some());
    assert_eq!(world.violation, None);
}

#[test]
fn the_owner_makes_an_exit_rest_and_another_member_speaks() {
    let mut world = settled(3);
    let (exit, token) = world.holder().unwrap();
    world.act(exit, |lease, now, out| lease.handle_release(now, out));
    assert_eq!(world.holder(), None);
    let took_ms = world.until_held(1_500).unwrap();
    assert!(
        took_ms < 1_000,
        "nobody waits for a lease that was given back: {took_ms} ms"
    );
    let (next, higher) = world.holder().unwrap();
    assert!(next != exit && higher > token);
}

#[test]
fn an_exit_that_does_not_reach_the_channel_gives_the_lease_back() {
    let mut world = settled(3);
    let (exit, _) = world.holder().unwrap();
    world.members[exit].is_ready = false;
    world.tell_standing(exit);
    world.until_held(1_500).unwrap();
    assert_ne!(world.holder().unwrap().0, exit);
    for node in 0..3 {
        world.members[node].is_ready = false;
        world.tell_standing(node);
    }
    world.run_for(10_000);
    assert_eq!(world.holder(), None);
}

#[test]
fn a_young_exit_gives_way_to_an_aged_member() {
    let mut world = settled(3);
    let (exit, _) = world.holder().unwrap();
    let young: Vec<usize> = (0..3).filter(|at| *at != (exit + 1) % 3).collect();
    for node in young {
        world.members[node].is_aged = false;
        world.tell_standing(node);
    }
    world.run_for(3_000);
    assert_eq!(world.holder().map(|(at, _)| at), Some((exit + 1) % 3));
    assert_eq!(world.violation, None);
}

#[test]
fn an_exit_that_is_outbid_asks_for_a_higher_token() {
    let mut world = settled(3);
    let (exit, token) = world.holder().unwrap();
    let announced = Token(token.0 + 40);
    world.act(exit, |lease, now, out| {
        let version_2 = Token(2 << 32 | 1);
        lease.handle_announced(version_2, now, out);
        lease.handle_announced(token, now, out);
        assert!(out.is_empty(), "neither another roster's nor its own");
        lease.handle_announced(announced, now, out);
    });
    assert_eq!(world.holder(), None);
    world.until_held(FOUND_WITHIN_MS).unwrap();
    world.run_for(2_000);
    assert!(world.holder().unwrap().1 > token);
}

/// One machine by hand, in a peernet of three: this one is the second.
struct Hand {
    lease: Lease,
    now: Time,
    out: Vec<Output>,
}

const IDS: [NodeId; 3] = [NodeId([1; 16]), NodeId([2; 16]), NodeId([3; 16])];

fn seats(version: u32, members: &[NodeId]) -> Seats {
    Seats {
        peernet: PEERNET,
        version,
        members: members.to_vec(),
    }
}

fn hand(restored: Restored) -> Hand {
    let settings = Settings {
        alone_after_lease: false,
        aged_after: AGED_AFTER,
    };
    let now = Time(1_000 * 1_000_000_000);
    let mut lease = Lease::new(IDS[1], settings, seats(1, &IDS), restored, 1, 7, now);
    for node in [IDS[0], IDS[2]] {
        lease.handle_link(node, true, now, &mut Vec::new());
    }
    let out = Vec::new();
    Hand { lease, now, out }
}

impl Hand {
    fn hear(&mut self, from: NodeId, token: Token, number: u64, say: Say) -> Vec<Output> {
        let message = Message {
            peernet: PEERNET,
            token,
            number,
            say,
        };
        self.lease
            .handle_message(from, &message, self.now, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn ask(&mut self, from: NodeId, token: Token, number: u64) -> Vec<Output> {
        let standing = Standing::Aged;
        self.hear(from, token, number, Say::Ask { standing })
    }

    fn durable(&mut self, number: u64) -> Vec<Output> {
        self.lease.handle_durable(number, self.now, &mut self.out);
        std::mem::take(&mut self.out)
    }
}

fn token(count: u64) -> Token {
    Token(1 << 32 | count)
}

fn says(outputs: &[Output]) -> Vec<Say> {
    let say = |output: &Output| match output {
        Output::Send { message, .. } => Some(message.say),
        Output::Journal { .. } | Output::Holder { .. } | Output::Lost { .. } => None,
    };
    outputs.iter().filter_map(say).collect()
}

const GRANT: Say = Say::Grant {
    standing: Standing::Unready,
};

#[test]
fn a_grant_is_held_back_until_the_promise_is_durable_and_renewals_are_not() {
    let mut hand = hand(Restored::default());
    let record = Record::Promised {
        token: token(1),
        to: IDS[0],
    };
    let number = 1;
    let outputs = hand.ask(IDS[0], token(1), 5);
    assert_eq!(outputs, [Output::Journal { number, record }]);
    assert!(
        hand.ask(IDS[0], token(1), 5).is_empty(),
        "asked again meanwhile"
    );
    assert!(hand.durable(0).is_empty());
    assert_eq!(says(&hand.durable(1)), [GRANT]);
    assert_eq!(says(&hand.ask(IDS[0], token(1), 6)), [GRANT]);
}

#[test]
fn who_has_promised_refuses_others_until_the_lock_ends() {
    let mut hand = hand(Restored::default());
    hand.ask(IDS[0], token(1), 5);
    hand.durable(1);
    let refuse = |why, wait| vec![Say::Refuse { why, wait }];
    let refused = says(&hand.ask(IDS[2], token(2), 5));
    assert_eq!(refused, refuse(Refusal::Promised, LOCK));
    hand.now = hand.now + Span::millis(600);
    hand.ask(IDS[0], token(1), 6);
    let refused = says(&hand.ask(IDS[2], token(2), 6));
    assert_eq!(refused, refuse(Refusal::Held, LOCK));
    hand.now = hand.now + LOCK;
    let refused = says(&hand.ask(IDS[2], token(1), 7));
    assert_eq!(
        refused,
        refuse(Refusal::Token, Span::ZERO),
        "that one was used"
    );
    assert!(says(&hand.ask(IDS[2], token(2), 8)).is_empty());
    assert_eq!(says(&hand.durable(2)), [GRANT]);
}

#[test]
fn what_is_given_back_is_free_at_once_and_late_askings_do_not_bind_again() {
    let mut hand = hand(Restored::default());
    hand.ask(IDS[0], token(1), 5);
    hand.durable(1);
    hand.hear(IDS[0], token(1), 6, Say::Release);
    assert!(
        hand.ask(IDS[0], token(1), 6).is_empty(),
        "it is from before"
    );
    assert_eq!(hand.lease.promised(hand.now), None);
    let refused = says(&hand.ask(IDS[2], token(1), 1));
    let (why, wait) = (Refusal::Token, Span::ZERO);
    assert_eq!(refused, [Say::Refuse { why, wait }], "a lease had it");
    hand.ask(IDS[2], token(2), 2);
    hand.hear(IDS[2], token(2), 2, Say::GiveUp);
    hand.ask(IDS[0], token(2), 7);
    let promised = hand
        .lease
        .promised(hand.now)
        .map(|(to, token, _)| (to, token));
    assert_eq!(promised, Some((IDS[0], token(2))), "no lease had it");
}

#[test]
fn a_member_that_begins_anew_stands_by_its_promise_for_a_whole_lock() {
    let mut hand = hand(Restored {
        promised: Some((token(4), IDS[0])),
        ..Restored::default()
    });
    hand.now = hand.now + (LOCK.less(Span(1)));
    assert!(matches!(
        says(&hand.ask(IDS[2], token(9), 1))[..],
        [Say::Refuse { .. }]
    ));
    hand.now = hand.now + Span(1);
    let (why, wait) = (Refusal::Token, Span::ZERO);
    let refused = says(&hand.ask(IDS[2], token(4), 2));
    assert_eq!(refused, [Say::Refuse { why, wait }]);
    assert!(matches!(
        hand.ask(IDS[2], token(5), 3)[..],
        [Output::Journal { .. }]
    ));
}

#[test]
fn a_member_whose_journal_may_lack_its_end_grants_nothing_for_a_lock() {
    let mut hand = hand(Restored {
        promised: Some((token(4), IDS[0])),
        has_gap: true,
        ..Restored::default()
    });
    hand.now = hand.now + (LOCK.less(Span(1)));
    let (why, wait) = (Refusal::Waiting, Span(1));
    let refused = [Say::Refuse { why, wait }];
    assert_eq!(
        says(&hand.ask(IDS[0], token(4), 1)),
        refused,
        "a later promise may be lost"
    );
    assert_eq!(says(&hand.ask(IDS[2], token(5), 1)), refused);
    hand.now = hand.now + Span(1);
    assert!(matches!(
        hand.ask(IDS[2], token(5), 2)[..],
        [Output::Journal { .. }]
    ));
}

#[test]
fn strangers_other_peernets_and_other_rosters_are_not_heard() {
    let mut hand = hand(Restored::default());
    assert!(hand.ask(NodeId([9; 16]), token(1), 1).is_empty());
    let (why, wait) = (Refusal::Token, Span::ZERO);
    let refused = says(&hand.ask(IDS[0], Token(2 << 32 | 1), 1));
    assert_eq!(refused, [Say::Refuse { why, wait }]);
    let message = Message {
        peernet: PeernetId([8; 16]),
        token: token(1),
        number: 2,
        say: Say::Ask {
            standing: Standing::Aged,
        },
    };
    let now = hand.now;
    hand.lease
        .handle_message(IDS[0], &message, now, &mut hand.out);
    assert!(hand.out.is_empty());
}

#[test]
fn signing_a_roster_ends_the_part_in_earlier_ones() {
    let mut hand = hand(Restored::default());
    hand.lease.handle_signing(2, hand.now, &mut hand.out);
    let record = Record::Signed { version: 2 };
    let number = 1;
    assert_eq!(
        std::mem::take(&mut hand.out),
        [Output::Journal { number, record }]
    );
    let (why, wait) = (Refusal::Waiting, LOCK);
    let refused = says(&hand.ask(IDS[0], token(1), 1));
    assert_eq!(refused, [Say::Refuse { why, wait }]);
    let mut restored = self::hand(Restored {
        signed: 2,
        ..Restored::default()
    });
    let refused = says(&restored.ask(IDS[0], token(1), 1));
    assert_eq!(refused, [Say::Refuse { why, wait }], "after a restart too");
}

#[test]
fn a_new_roster_grants_nothing_for_a_lock_and_its_tokens_are_higher() {
    let mut hand = hand(Restored::default());
    hand.ask(IDS[0], token(7), 1);
    hand.durable(1);
    let second = seats(2, &[IDS[1], IDS[2], NodeId([4; 16])]);
    let older = seats(1, &IDS);
    let now = hand.now;
    hand.lease.handle_roster(second.clone(), now, &mut hand.out);
    hand.lease.handle_roster(older, now, &mut hand.out);
    assert_eq!(hand.lease.seats(), &second);
    let first_of_two = Token(2 << 32 | 1);
    assert!(first_of_two > token(u64::from(u32::MAX)));
    let (why, wait) = (Refusal::Waiting, LOCK);
    let refused = says(&hand.ask(IDS[2], first_of_two, 1));
    assert_eq!(refused, [Say::Refuse { why, wait }]);
    assert!(
        hand.ask(IDS[0], token(8), 2).is_empty(),
        "it has no seat any more"
    );
    hand.now = hand.now + LOCK;
    assert!(matches!(
        hand.ask(IDS[2], first_of_two, 2)[..],
        [Output::Journal { .. }]
    ));
}

#[test]
fn an_exit_speaks_by_the_moment_and_not_by_the_last_word() {
    let world = settled(1);
    let lease = world.members[0].lease.as_ref().unwrap();
    let now = world.local(0);
    assert!(lease.token(now).is_some());
    assert_eq!(
        lease.token(now + LEASE),
        None,
        "although no deadline was run"
    );
}

#[test]
fn an_exit_that_slept_through_its_lease_keeps_what_it_promises_on_waking() {
    let mut world = settled(3);
    let (exit, token) = world.holder().unwrap();
    let other = world.members[(exit + 1) % 3].id;
    world.act(exit, |lease, now, out| {
        let later = now + LOCK;
        let message = Message {
            peernet: PEERNET,
            token: Token(token.0 + 1),
            number: 9 << 32,
            say: Say::Ask {
                standing: Standing::Aged,
            },
        };
        lease.handle_message(other, &message, later, out);
        lease.handle_deadline(later, out);
        let promised = lease.promised(later).map(|(to, token, _)| (to, token));
        assert_eq!(promised, Some((other, message.token)));
    });
}

#[test]
fn after_the_last_token_of_a_version_there_is_no_exit_until_the_next() {
    let mut hand = hand(Restored {
        promised: Some((token(u64::from(u32::MAX)), IDS[1])),
        ..Restored::default()
    });
    let since = hand.now - AGED_AFTER;
    hand.lease
        .handle_standing(Some(since), hand.now, &mut hand.out);
    for _ in 0..10 {
        hand.now = hand.lease.deadline().unwrap().at;
        hand.lease.handle_deadline(hand.now, &mut hand.out);
    }
    assert!(hand.out.is_empty());
    let now = hand.now;
    hand.lease.handle_roster(seats(2, &IDS), now, &mut hand.out);
    hand.now = hand.lease.deadline().unwrap().at;
    hand.lease.handle_deadline(hand.now, &mut hand.out);
    let record = Record::Promised {
        token: Token(2 << 32 | 1),
        to: IDS[1],
    };
    let number = 1;
    assert_eq!(hand.out, [Output::Journal { number, record }]);
}
