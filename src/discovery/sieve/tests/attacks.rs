//! Attacks on the sieve, each with what is expected of it.

use crate::discovery::announce::Draft;
use crate::discovery::sieve::tests::{
    FRIEND, NOW, NOW_S, STRANGER, adds_up, check, forged, hear, hear_on, network, offer, plain,
    relay, said, settings, signer,
};
use crate::discovery::sieve::{MARKED_FOR, Marks, Refusal, Roster, Sieve, Standing};
use crate::model::ids::PeernetId;
use crate::model::time::{Span, Time};

/// Attack 22: on the same connection, by another peer elsewhere, while it is checked, after a restart
/// and after it was forgotten.
#[test]
fn a_replay_is_taken_once() {
    let mut sieve = Sieve::new(settings());
    let text = said(1, plain(1), |_| {});
    let first = check(&mut sieve, network(0), &text, FRIEND, NOW).unwrap();
    let meanwhile = check(&mut sieve, network(1), &text, FRIEND, NOW);
    assert_eq!(meanwhile.map(|_| ()), Err(Refusal::Checking));
    assert!(sieve.admit(first, true, NOW).is_ok());
    for second in 0..700 {
        let now = NOW + Span::secs(second);
        let heard = hear_on(&mut sieve, network(second % 8), &text, STRANGER, now);
        let expected = if second < 600 {
            Refusal::Seen
        } else {
            Refusal::Expired
        };
        assert_eq!(heard, Err(expected));
    }
    // Taken in the last moment at which it could be, and the process dies: whatever was kept.
    let ahead = said(1, plain(2), |draft| draft.expires_s = NOW_S + 630);
    let mut sieve = Sieve::new(settings());
    assert!(hear(&mut sieve, &ahead, FRIEND, NOW).is_ok());
    for marks in [sieve.marks(), Marks::default()] {
        for booted_at in [NOW, NOW + Span::secs(1), NOW + Span::secs(60)] {
            let mut sieve = Sieve::restore(settings(), &marks, booted_at);
            for second in 0..700 {
                let now = booted_at + Span::secs(second);
                assert!(hear(&mut sieve, &ahead, FRIEND, now).is_err());
            }
            let later = said(1, plain(3), |draft| {
                draft.expires_s = NOW_S + 60 + 31 + 800;
                draft.life_s = 800;
            });
            let heard = hear(&mut sieve, &later, FRIEND, NOW + Span::secs(760));
            assert!(heard.is_ok());
        }
    }
    // The clock was set back between the runs: the marks remember.
    let mut sieve = Sieve::restore(settings(), &sieve.marks(), NOW - Span::secs(20));
    let heard = hear(&mut sieve, &ahead, FRIEND, NOW);
    assert_eq!(heard, Err(Refusal::BeforeStart));
}

/// Attack 23: a signature over other bytes costs the claim its bucket, and only where it was said.
#[test]
fn a_wrong_signature_is_refused_and_its_claim_is_marked() {
    let mut sieve = Sieve::new(settings());
    for garbage in 0..3 {
        let text = forged(signer(1), plain(1), garbage);
        let heard = hear(&mut sieve, &text, FRIEND, NOW);
        assert_eq!(heard, Err(Refusal::BadSignature));
    }
    let text = said(1, plain(1), |_| {});
    let moved = text.replacen("150BTC", "160BTC", 1);
    let here = hear(&mut sieve, &moved, FRIEND, NOW);
    assert_eq!(here, Err(Refusal::SignerQuota));
    let there = hear_on(&mut sieve, network(1), &moved, FRIEND, NOW);
    assert_eq!(there, Err(Refusal::BadSignature));
    let there = hear_on(&mut sieve, network(1), &text, FRIEND, NOW);
    assert_eq!(there, Ok(plain(1)));
    let elsewhere = said(1, plain(2), |_| {}).replacen("offer1", "offer2", 1);
    let heard = hear_on(&mut sieve, network(1), &elsewhere, FRIEND, NOW);
    assert_eq!(heard, Err(Refusal::Grammar));
}

/// Attack 23: two offers with one id.
#[test]
fn who_says_two_things_under_one_name_is_not_heard_for_an_hour() {
    let mut sieve = Sieve::new(settings());
    let other = offer(1, "150BTC@120USD:SEPA");
    assert!(hear(&mut sieve, &said(1, plain(1), |_| {}), FRIEND, NOW).is_ok());
    // In the name of another it proves nothing.
    for garbage in 0..3 {
        let text = forged(signer(1), other.clone(), garbage);
        let heard = hear(&mut sieve, &text, FRIEND, NOW);
        assert_eq!(heard, Err(Refusal::BadSignature));
    }
    assert_eq!(sieve.held().marked, 0);
    // The id belongs to a signer: another may have the same.
    assert!(hear(&mut sieve, &said(2, other.clone(), |_| {}), FRIEND, NOW).is_ok());
    let now = NOW + Span::secs(60);
    let heard = hear(&mut sieve, &said(1, other.clone(), |_| {}), FRIEND, now);
    assert_eq!(heard, Err(Refusal::Conflict));
    let fresh = |number, at: Span| {
        said(1, plain(number), |draft| {
            draft.expires_s = NOW_S + 660 + u32::try_from(at.as_millis() / 1_000).unwrap();
        })
    };
    let heard = hear(&mut sieve, &fresh(2, Span::ZERO), FRIEND, now);
    assert_eq!(heard, Err(Refusal::Marked));
    let heard = hear(&mut sieve, &fresh(3, MARKED_FOR), FRIEND, now + MARKED_FOR);
    assert_eq!(heard, Ok(plain(3)));
    // The same terms for longer are no second offer.
    let longer = said(2, other, |draft| draft.expires_s += 10);
    let heard = hear(&mut sieve, &longer, FRIEND, NOW);
    assert_eq!(heard, Err(Refusal::Expired));
    adds_up(sieve.counts(), 0);
}

#[test]
fn the_same_terms_for_longer_are_heard_before() {
    let mut sieve = Sieve::new(settings());
    assert!(hear(&mut sieve, &said(1, plain(1), |_| {}), FRIEND, NOW).is_ok());
    let longer = said(1, plain(1), |draft| draft.expires_s += 10);
    let heard = hear(&mut sieve, &longer, FRIEND, NOW);
    assert_eq!(heard, Err(Refusal::Seen));
}

/// Attack 24: expired, too far ahead, and a clock that jumps.
#[test]
fn time_has_two_ends_and_never_runs_back() {
    let mut sieve = Sieve::new(settings());
    for (expires_s, expected) in [
        (NOW_S - 1_000_000, Err(Refusal::Expired)),
        (NOW_S - 1, Err(Refusal::Expired)),
        (NOW_S, Err(Refusal::Expired)),
        (NOW_S + 1, Ok(())),
        (NOW_S + 630, Ok(())),
        (NOW_S + 631, Err(Refusal::Ahead)),
        (u32::MAX, Err(Refusal::Ahead)),
    ] {
        let what = plain(u64::from(expires_s));
        let text = said(1, what, |draft| draft.expires_s = expires_s);
        let heard = hear(&mut sieve, &text, FRIEND, NOW).map(|_| ());
        assert_eq!(heard, expected, "{expires_s}");
    }
    // Three hours forth: everything is over and forgotten. And back: nothing returns.
    let text = said(1, plain(1), |_| {});
    let jump = NOW + Span::secs(10_800);
    assert!(hear(&mut sieve, &text, FRIEND, NOW).is_ok());
    let then = said(1, plain(2), |draft| draft.expires_s += 10_800);
    assert!(hear(&mut sieve, &then, FRIEND, jump).is_ok());
    assert_eq!(sieve.held().seen, 1);
    for moment in [NOW, Time::ZERO, Time(1)] {
        let heard = hear(&mut sieve, &text, FRIEND, moment);
        assert_eq!(heard, Err(Refusal::Expired));
        let heard = hear(&mut sieve, &then, FRIEND, moment);
        assert_eq!(heard, Err(Refusal::Seen));
    }
    let heard = hear(&mut sieve, &then, FRIEND, Time::MAX);
    assert_eq!(heard, Err(Refusal::Expired));
}

#[test]
fn a_line_that_expires_while_it_is_checked_is_not_taken() {
    let mut sieve = Sieve::new(settings());
    let text = said(1, plain(1), |_| {});
    let candidate = check(&mut sieve, network(0), &text, FRIEND, NOW).unwrap();
    let late = sieve.admit(candidate, true, NOW + Span::secs(600));
    assert_eq!(late.map(|_| ()), Err(Refusal::Expired));
    assert_eq!(sieve.held().seen, 0);
}

#[test]
fn of_two_that_are_checked_at_once_the_first_is_taken() {
    let mut sieve = Sieve::new(settings());
    let texts = [
        said(1, plain(1), |_| {}),
        said(1, plain(1), |draft| draft.expires_s += 1),
        said(1, offer(1, "15BTC@USD:BO:SEPA"), |_| {}),
        said(1, plain(2), |_| {}),
    ];
    let candidates = texts.map(|text| check(&mut sieve, network(0), &text, FRIEND, NOW).unwrap());
    let taken = candidates.map(|candidate| sieve.admit(candidate, true, NOW).map(|_| ()));
    let expected = [
        Ok(()),
        Err(Refusal::Seen),
        Err(Refusal::Conflict),
        Err(Refusal::Marked),
    ];
    assert_eq!(taken, expected);
}

#[test]
fn a_lower_token_is_from_a_lease_that_is_over() {
    let peernet = PeernetId([3; 16]);
    let mut sieve = Sieve::new(settings());
    let speak = |seed, number, token| {
        said(seed, plain(number), |draft| {
            (draft.peernet, draft.token) = (peernet, token);
        })
    };
    for (seed, number, token, expected) in [
        (1, 1, 7, Ok(())),
        (2, 2, 8, Ok(())),
        (1, 3, 7, Err(Refusal::OldToken)),
        (1, 4, 8, Err(Refusal::OldToken)),
        (2, 5, 8, Ok(())),
        (1, 6, 9, Ok(())),
    ] {
        let heard = hear(&mut sieve, &speak(seed, number, token), FRIEND, NOW);
        assert_eq!(heard.map(|_| ()), expected, "{seed} {token}");
    }
    // Two leases at once: whichever is admitted first, the lower one never follows.
    let low = check(&mut sieve, network(0), &speak(2, 7, 9 + 1), FRIEND, NOW).unwrap();
    let high = speak(1, 8, 9 + 2);
    assert!(hear(&mut sieve, &high, FRIEND, NOW).is_ok());
    let late = sieve.admit(low, true, NOW);
    assert_eq!(late.map(|_| ()), Err(Refusal::OldToken));
    // After a restart as well.
    let booted_at = NOW + Span::secs(1);
    let mut sieve = Sieve::restore(settings(), &sieve.marks(), booted_at);
    let speak = |seed, number, token| {
        said(seed, plain(number), |draft| {
            (draft.peernet, draft.token) = (peernet, token);
            draft.expires_s += 100;
        })
    };
    let now = NOW + Span::secs(100);
    let heard = hear(&mut sieve, &speak(2, 9, 10), FRIEND, now);
    assert_eq!(heard, Err(Refusal::OldToken));
    assert!(hear(&mut sieve, &speak(1, 9, 11), FRIEND, now).is_ok());
}

#[test]
fn a_stranger_silences_no_peernet_by_naming_it() {
    let mut sieve = Sieve::new(settings());
    let peernet = |draft: &mut Draft| draft.peernet = PeernetId([3; 16]);
    let highest = |draft: &mut Draft| {
        draft.peernet = PeernetId([3; 16]);
        draft.token = u64::MAX;
    };
    let attack = said(66, plain(1), highest);
    assert!(hear(&mut sieve, &attack, STRANGER, NOW).is_ok());
    for standing in [FRIEND, STRANGER] {
        let number = u64::from(standing.trust) + 2;
        let heard = hear(&mut sieve, &said(1, plain(number), peernet), standing, NOW);
        assert_eq!(heard, Ok(plain(number)));
    }
    let foreign = Standing {
        trust: 10,
        roster: Roster::Foreign,
    };
    let heard = hear(&mut sieve, &said(67, plain(3), highest), foreign, NOW);
    assert_eq!(heard, Err(Refusal::Foreign));
}

/// Attack 28: two exits that hand the same offers to and fro are each heard once.
#[test]
fn a_relay_goes_round_no_second_time() {
    let mut sieve = Sieve::new(settings());
    let mut taken = 0;
    for round in 0..50_u32 {
        for exit in [1, 2] {
            let text = said(exit, relay(&[1, 2, 3]), |draft| {
                draft.expires_s += round % 30
            });
            let now = NOW + Span::secs(u64::from(round));
            let on = network(u64::from(round) % 8);
            taken += u32::from(hear_on(&mut sieve, on, &text, FRIEND, now).is_ok());
        }
    }
    assert_eq!(taken, 2);
    // In other company it counts for what is new in it, and what was said before stays said.
    let now = NOW + Span::secs(60);
    for (numbers, expires_s, expected) in [
        (&[1, 2][..], 700, Err(Refusal::Seen)),
        (&[2, 3, 4], 710, Ok(())),
        (&[4, 2], 720, Err(Refusal::Seen)),
    ] {
        let text = said(1, relay(numbers), |draft| {
            (draft.expires_s, draft.life_s) = (NOW_S + expires_s, 700);
        });
        let heard = hear(&mut sieve, &text, FRIEND, now).map(|_| ());
        assert_eq!(heard, expected, "{numbers:?}");
    }
}

#[test]
fn a_relay_of_five_costs_what_five_offers_cost() {
    let mut sieve = Sieve::new(settings());
    for (number, expected) in [(0, Ok(())), (10, Err(Refusal::SignerQuota))] {
        let numbers: Vec<u64> = (number..number + 5).collect();
        let text = said(1, relay(&numbers), |_| {});
        let heard = hear(&mut sieve, &text, STRANGER, NOW).map(|_| ());
        assert_eq!(heard, expected);
    }
}
