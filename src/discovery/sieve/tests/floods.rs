//! Floods: much of everything, and what it may cost.

use std::collections::BTreeSet;

use crate::discovery::announce::{Announcement, Signer};
use crate::discovery::sieve::memory::Seen;
use crate::discovery::sieve::tests::{
    CHANNEL, FRIEND, NOW, NOW_S, STRANGER, adds_up, check, close, draft, forged, hear, hear_on,
    matched, network, plain, relay, said, settings, signer,
};
use crate::discovery::sieve::{
    CHECK_PATIENCE, CHECKS_MAX, CLAIMED_MAX, CLAIMS_MAX, MARKED_MAX, Marks, NETWORK_BURST,
    NETWORK_EVERY, PEERNETS_MAX, Refusal, Roster, SEEN_MAX, SIGNER_BURST, SIGNER_EVERY,
    STRANGERS_BURST, STRANGERS_EVERY, Sieve, Standing, Verdict,
};
use crate::model::random::Random;
use crate::model::time::{Span, Time};

/// Attack 22 behind the window: more lines than are remembered.
#[test]
fn what_had_to_be_forgotten_does_not_come_back() {
    let mut sieve = Sieve::new(settings());
    let standing = Standing {
        trust: 10,
        roster: Roster::Unknown,
    };
    let mut now = NOW;
    let mut texts = Vec::new();
    let count = SEEN_MAX + 500;
    for number in 0..count {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&(number as u64 % 4_000).to_le_bytes());
        let mut draft = draft(plain(number as u64), Signer(key));
        // Those that are said last expire first as often as not.
        draft.expires_s = NOW_S + 3_000 + u32::try_from(number % 500).unwrap();
        draft.life_s = 3_600;
        let text = Announcement::issue(draft, CHANNEL, |_| [1; 64]).unwrap();
        let text = text.to_string();
        now = now + Span::millis(4);
        let on = network(number as u64 % 8);
        let heard = check(&mut sieve, on, &text, standing, now);
        let taken = heard.and_then(|candidate| sieve.admit(candidate, true, now));
        if number < SEEN_MAX {
            assert!(taken.is_ok(), "{taken:?}");
        }
        if taken.is_ok() {
            texts.push(text);
        }
        assert!(sieve.held().seen <= SEEN_MAX);
    }
    assert!(texts.len() > SEEN_MAX + 100, "{}", texts.len());
    assert_eq!(sieve.held().seen, SEEN_MAX);
    now = now + Span::secs(60);
    for text in &texts {
        let heard = check(&mut sieve, network(0), text, standing, now);
        let why = heard.map(|_| ()).unwrap_err();
        assert!(matches!(why, Refusal::Seen | Refusal::BeforeEvicted));
    }
    assert!(sieve.counts().before_evicted >= 100);
}

#[test]
fn marked_signers_have_a_limit() {
    let mut sieve = Sieve::new(settings());
    for number in 0..3_000_u64 {
        let mut key = [7; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        sieve.latest = NOW + Span(number);
        sieve.mark(Signer(key));
        assert!(sieve.held().marked <= MARKED_MAX);
    }
}

#[test]
fn tokens_have_limits() {
    let mut sieve = Sieve::new(settings());
    let standing = Standing {
        trust: 10,
        roster: Roster::Unknown,
    };
    for (standing, limit) in [(standing, CLAIMED_MAX), (FRIEND, PEERNETS_MAX)] {
        for number in 0..5_000_u64 {
            let mut key = [7; 32];
            key[..8].copy_from_slice(&number.to_le_bytes());
            let text = forged(Signer(key), plain(number), 0);
            let now = NOW + Span::millis(4 * number);
            let candidate = check(&mut sieve, network(number % 8), &text, standing, now);
            if let Ok(candidate) = candidate {
                assert!(sieve.admit(candidate, true, now).is_ok());
            }
            let held = sieve.held();
            assert!(held.peernets <= PEERNETS_MAX && held.claimed <= limit.max(CLAIMED_MAX));
        }
    }
    assert_eq!(sieve.held().claimed, CLAIMED_MAX);
}

/// Attack 28: a hundred thousand offers of one signer, all of them good.
#[test]
fn many_offers_of_one_signer_cost_his_bucket() {
    for (standing, count, expected) in [(STRANGER, 100_000, 4 + 12), (FRIEND, 20_000, 14 + 27)] {
        let (mut sieve, by) = (Sieve::new(settings()), signer(1));
        for number in 0..count {
            let now = NOW + Span::millis(number);
            let text = forged(by, plain(number), 0);
            if let Ok(candidate) = check(&mut sieve, network(0), &text, standing, now) {
                assert!(sieve.admit(candidate, true, now).is_ok());
            }
        }
        let (counts, held) = (sieve.counts(), sieve.held());
        assert_eq!((counts.checks, counts.taken), (expected, expected));
        assert_eq!(counts.signer_quota, count - expected);
        assert_eq!(held.seen as u64, expected);
        let other = said(2, plain(1), |draft| draft.expires_s += 100);
        let now = NOW + Span::secs(100);
        assert!(hear(&mut sieve, &other, STRANGER, now).is_ok());
        adds_up(counts, 0);
    }
}

#[test]
fn checks_that_nobody_comes_back_from_block_nothing_for_long() {
    let mut sieve = Sieve::new(settings());
    let text = |number: usize| {
        let mut key = [7; 32];
        key[..8].copy_from_slice(&(number as u64).to_le_bytes());
        forged(Signer(key), plain(1), 0)
    };
    assert!(
        check(
            &mut sieve,
            network(0),
            &text(0),
            FRIEND,
            NOW - CHECK_PATIENCE
        )
        .is_ok()
    );
    for number in 0..CHECKS_MAX {
        let on = network(number as u64 % 8);
        assert!(check(&mut sieve, on, &text(number), FRIEND, NOW).is_ok());
    }
    let mut full = |now| check(&mut sieve, network(0), &text(CHECKS_MAX), FRIEND, now).map(|_| ());
    assert_eq!(full(NOW), Err(Refusal::ChecksFull));
    let later = NOW + CHECK_PATIENCE;
    assert_eq!(full(later), Ok(()));
    assert_eq!(sieve.held().checks, 1);
    let again = check(&mut sieve, network(0), &text(0), FRIEND, later);
    assert!(again.is_ok());
}

/// Whatever is replayed, forgotten, restarted: nothing is ever taken twice.
#[test]
fn no_line_is_taken_twice_in_any_run() {
    let (mut taken_at_all, mut evictions) = (0, 0);
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut sieve = Sieve::new(settings());
        sieve.seen = Seen::new(8);
        let (mut now, mut texts, mut taken) = (NOW, Vec::new(), BTreeSet::new());
        for step in 0..300_u64 {
            now = now + Span::millis(random.below(4_000));
            if random.chance(250_000) || texts.is_empty() {
                texts.push(some_line(&mut random, step, now));
            }
            if random.chance(10_000) {
                let marks = match random.chance(500_000) {
                    true => sieve.marks(),
                    false => Marks::default(),
                };
                evictions += sieve.counts().before_evicted;
                sieve = Sieve::restore(settings(), &marks, now);
                sieve.seen = Seen::new(8);
            }
            let at = usize::try_from(random.below(texts.len() as u64)).unwrap();
            let (on, text) = (network(random.below(8)), &texts[at]);
            let heard = check(&mut sieve, on, text, FRIEND, now);
            if let Ok(candidate) = heard
                && sieve.admit(candidate, true, now).is_ok()
            {
                assert!(taken.insert(text.clone()), "seed {seed}: {text}");
            }
            assert!(sieve.held().seen <= 8);
        }
        taken_at_all += taken.len();
        evictions += sieve.counts().before_evicted;
    }
    assert!(taken_at_all > 5_000, "{taken_at_all}");
    assert!(evictions > 1_000, "{evictions}");
}

fn some_line(random: &mut Random, step: u64, now: Time) -> String {
    let what = match random.below(4) {
        0 => plain(step),
        1 => matched(step),
        2 => relay(&[step % 5, 5 + step % 3, 8 + step % 2]),
        _ => close(step),
    };
    let by = Signer([u8::try_from(random.between(1, 6)).unwrap(); 32]);
    let mut draft = draft(what, by);
    draft.life_s = u16::try_from(random.between(1, 300)).unwrap();
    let issued_s = now.0 / 1_000_000_000 + random.below(40) - 5;
    draft.expires_s = u32::try_from(issued_s).unwrap() + u32::from(draft.life_s);
    let announced = Announcement::issue(draft, CHANNEL, |_| [1; 64]);
    announced.unwrap().to_string()
}

/// 200,000 lines in ten seconds: noise, another key for each line, a friend's name, replays. Checks
/// stay inside the buckets, tables inside their limits, and who has trust is heard as if nothing were.
#[test]
fn a_flood_costs_what_the_buckets_allow() {
    const LINES: u64 = 200_000;
    const EVERY: Span = Span::micros(50);
    let mut random = Random::new(200_000);
    let mut sieve = Sieve::new(settings());
    let known = signer(1);
    let standing = |by: Signer, _| if by == known { FRIEND } else { STRANGER };
    let replay = said(1, plain(1_000_000), |_| {});
    assert!(hear(&mut sieve, &replay, FRIEND, NOW).is_ok());
    let (mut spoken, mut heard, mut checking) = (0, 0, Vec::new());
    for number in 0..LINES {
        let now = NOW + EVERY.times(number);
        let text = flood(&mut random, number, known, &replay);
        let on = network(random.below(3));
        if let Verdict::Check(candidate) = sieve.handle_line(on, &text, now, standing) {
            checking.push(candidate);
        }
        // Checks come back in bunches, as from a thread that was busy.
        if number % 100 == 0 {
            for candidate in checking.drain(..) {
                assert!(sieve.admit(candidate, false, now).is_err());
            }
        }
        if number % 40_000 == 0 {
            let good = said(1, plain(2_000_000 + number), |_| {});
            spoken += 1;
            heard += u32::from(hear_on(&mut sieve, network(5), &good, FRIEND, now).is_ok());
        }
        let held = sieve.held();
        assert!(held.checks <= CHECKS_MAX && held.strangers <= CLAIMS_MAX);
    }
    let (counts, held) = (sieve.counts(), sieve.held());
    adds_up(counts, checking.len() as u64);
    assert_eq!((spoken, heard), (5, 5));
    let flooded = EVERY.times(LINES);
    let strangers = STRANGERS_BURST + flooded.0 / STRANGERS_EVERY.0;
    let friend = SIGNER_BURST + 10 + flooded.0 * 11 / SIGNER_EVERY.0;
    let networks = 3 * (NETWORK_BURST + flooded.0 / NETWORK_EVERY.0);
    let most = strangers + 3 * friend;
    assert!(most < networks && counts.checks <= most + 6, "{counts:?}");
    assert!(counts.checks >= strangers && counts.strangers_quota > 10_000);
    assert!(counts.signer_quota > 10_000 && counts.grammar > 10_000 && counts.seen > 10_000);
    assert_eq!((held.seen, held.claimed, held.peernets), (6, 0, 1));
    assert!(held.listed <= 4 && held.strangers as u64 <= strangers);
}

fn flood(random: &mut Random, number: u64, known: Signer, replay: &str) -> String {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&random.next_u64().to_le_bytes());
    match random.below(8) {
        0 => {
            let byte = |random: &mut Random| char::from(u8::try_from(random.below(128)).unwrap());
            (0..random.below(400)).map(|_| byte(random)).collect()
        }
        1 => {
            let at = usize::try_from(random.below(replay.len() as u64)).unwrap();
            replay[..at].to_owned()
        }
        2 => replay.to_owned(),
        3 | 4 => forged(known, plain(number), 9),
        5 => forged(known, matched(number), 9),
        6 => forged(Signer(key), relay(&[number, number + 1]), 9),
        _ => forged(Signer(key), plain(number), 9),
    }
}
