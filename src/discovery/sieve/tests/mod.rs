//! What passes the sieve, and that whatever else is said costs next to nothing.

mod attacks;
mod floods;

use std::collections::BTreeMap;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use crate::discovery::announce::{
    Announcement, Closed, Draft, Matched, OfferRef, Offered, Relayed, Said, Signer,
};
use crate::discovery::network::NetworkNo;
use crate::discovery::sieve::{
    Candidate, Counts, Marks, Refusal, Roster, Settings, Sieve, Standing, Verdict,
};
use crate::model::currency::{Currency, Method};
use crate::model::ids::{NodeId, OfferId, PeernetId};
use crate::model::instrument::Pair;
use crate::model::number::Quantity;
use crate::model::offer::{Line, Part};
use crate::model::time::{Span, Time};

const CHANNEL: &str = "#expressnet";
const NOW: Time = Time(NOW_S as u64 * 1_000_000_000);
const NOW_S: u32 = 1_800_000_000;
const FRIEND: Standing = Standing {
    trust: 10,
    roster: Roster::Member,
};
const STRANGER: Standing = Standing {
    trust: 0,
    roster: Roster::Unknown,
};

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn signer(seed: u8) -> Signer {
    Signer(key(seed).public_key().as_ref().try_into().unwrap())
}

fn network(number: u64) -> NetworkNo {
    NetworkNo(u8::try_from(number).unwrap())
}

fn settings() -> Settings {
    let pair = |give: &str, want: &str| Pair {
        base: give.parse().unwrap(),
        quote: want.parse().unwrap(),
    };
    let broadcast_min = BTreeMap::from([
        (pair("BTC", "USD"), Quantity::whole(10)),
        (pair("USD", "BTC"), Quantity::whole(1_000)),
    ]);
    Settings {
        channel: CHANNEL.to_owned(),
        own: signer(200),
        broadcast_min,
    }
}

fn id(number: u64) -> OfferId {
    let mut bytes = [0x77; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    OfferId(bytes)
}

fn line(text: &str) -> Line {
    Line::parse(text.as_bytes()).unwrap()
}

fn offer(number: u64, text: &str) -> Said {
    Said::Offer(Offered {
        offer: id(number),
        version: 1,
        line: line(text),
        part_min: Quantity(1),
    })
}

fn relay(numbers: &[u64]) -> Said {
    let refer = |number: &u64| (OfferRef::of(NodeId([5; 16]), id(*number)), 1);
    let mut offers: Vec<(OfferRef, u32)> = numbers.iter().map(refer).collect();
    offers.sort_unstable();
    Said::Relay(Relayed {
        line: line("150BTC@USD:BO:SEPA"),
        offers,
    })
}

fn matched(number: u64) -> Said {
    Said::Match(Matched {
        offer: id(number),
        version: 1,
        origin: NodeId([5; 16]),
        give: Currency::BTC,
        want: Currency::USD,
        part: Part {
            quantity: Quantity::whole(1),
            total: Quantity::whole(110),
            method: Method::Sepa,
        },
        remainder: Quantity::whole(149),
    })
}

fn close(number: u64) -> Said {
    Said::Close(Closed {
        offer: id(number),
        version: 1,
    })
}

fn plain(number: u64) -> Said {
    offer(number, "150BTC@USD:BO:SEPA")
}

fn draft(said: Said, by: Signer) -> Draft {
    Draft {
        said,
        peernet: PeernetId(*by.0.first_chunk().unwrap()),
        token: 7,
        expires_s: NOW_S + 600,
        life_s: 600,
        signer: by,
    }
}

/// What a node of that key says.
fn said(seed: u8, said: Said, change: impl FnOnce(&mut Draft)) -> String {
    let mut draft = draft(said, signer(seed));
    change(&mut draft);
    let sign = |statement: &[u8]| key(seed).sign(statement).as_ref().try_into().unwrap();
    let announced = Announcement::issue(draft, CHANNEL, sign);
    announced.unwrap().to_string()
}

/// What somebody says in the name of a key that he has not.
fn forged(by: Signer, said: Said, garbage: u8) -> String {
    let announced = Announcement::issue(draft(said, by), CHANNEL, |_| [garbage; 64]);
    announced.unwrap().to_string()
}

/// Says a line and has its signature checked at once.
fn hear(sieve: &mut Sieve, text: &str, standing: Standing, now: Time) -> Result<Said, Refusal> {
    hear_on(sieve, network(0), text, standing, now)
}

fn hear_on(
    sieve: &mut Sieve,
    network: NetworkNo,
    text: &str,
    standing: Standing,
    now: Time,
) -> Result<Said, Refusal> {
    let candidate = check(sieve, network, text, standing, now)?;
    let is_signed = candidate.is_signed();
    let taken = sieve.admit(candidate, is_signed, now);
    taken.map(Announcement::into_said)
}

fn check(
    sieve: &mut Sieve,
    network: NetworkNo,
    text: &str,
    standing: Standing,
    now: Time,
) -> Result<Box<Candidate>, Refusal> {
    match sieve.handle_line(network, text, now, |_, _| standing) {
        Verdict::Check(candidate) => Ok(candidate),
        Verdict::Refused(why) => Err(why),
    }
}

/// Asserts that each line was counted once before its check, and each check once behind it.
#[track_caller]
fn adds_up(counts: Counts, unfinished: u64) {
    let Counts {
        lines,
        too_long,
        grammar,
        unknown_pair,
        below_min,
        expired,
        ahead,
        before_start,
        own,
        foreign,
        marked,
        old_token,
        seen,
        before_evicted,
        checking,
        checks_full,
        signer_quota,
        strangers_quota,
        network_quota,
        checks,
        bad_signature,
        conflict,
        taken,
    } = counts;
    let refused = too_long
        + grammar
        + unknown_pair
        + below_min
        + expired
        + ahead
        + before_start
        + own
        + foreign
        + marked
        + old_token
        + seen
        + before_evicted
        + checking
        + checks_full
        + signer_quota
        + strangers_quota
        + network_quota
        + bad_signature
        + conflict;
    assert_eq!(lines, refused + taken + unfinished, "{counts:?}");
    assert!(checks >= taken + bad_signature + conflict + unfinished);
}

#[test]
fn every_kind_passes_once() {
    let mut sieve = Sieve::new(settings());
    for what in [plain(1), matched(1), relay(&[1, 2]), close(1)] {
        let text = said(1, what.clone(), |_| {});
        assert_eq!(hear(&mut sieve, &text, FRIEND, NOW), Ok(what));
        let again = hear(&mut sieve, &text, FRIEND, NOW);
        assert_eq!(again, Err(Refusal::Seen));
    }
    let counts = sieve.counts();
    assert_eq!((counts.lines, counts.checks, counts.taken), (8, 4, 4));
    assert_eq!((sieve.held().seen, sieve.held().checks), (5, 0));
    adds_up(counts, 0);
}

/// Each step refuses what no earlier one does, before anything is spent on a signature.
#[test]
fn steps_are_taken_in_their_order() {
    let mut sieve = Sieve::restore(settings(), &Marks::default(), NOW - Span::secs(100));
    let old = |draft: &mut Draft| draft.expires_s = NOW_S;
    let before = |draft: &mut Draft| draft.expires_s = NOW_S + 600 - 70;
    let ahead = |draft: &mut Draft| draft.expires_s = NOW_S + 600 + 31;
    let foreign = Standing {
        roster: Roster::Foreign,
        ..FRIEND
    };
    let taken = said(1, plain(50), |_| {});
    assert!(hear(&mut sieve, &taken, FRIEND, NOW).is_ok());
    let eur = offer(1, "1BTC@EUR:BO:SEPA");
    let small = offer(1, "9.99999999BTC@USD:BO:SEPA");
    let lower = |draft: &mut Draft| draft.token = 6;
    for (text, standing, expected) in [
        (format!("{}0", "1".repeat(380)), FRIEND, Refusal::TooLong),
        ("150BTC@USD:BO:SEPA".to_owned(), FRIEND, Refusal::Grammar),
        (said(200, eur, old), foreign, Refusal::UnknownPair),
        (said(200, small, old), foreign, Refusal::BelowMin),
        (said(200, plain(1), old), foreign, Refusal::Expired),
        (said(200, plain(1), ahead), foreign, Refusal::Ahead),
        (said(200, plain(1), before), foreign, Refusal::BeforeStart),
        (said(200, plain(1), |_| {}), foreign, Refusal::Own),
        (said(1, plain(50), lower), foreign, Refusal::Foreign),
        (said(1, plain(50), lower), FRIEND, Refusal::OldToken),
        (taken, FRIEND, Refusal::Seen),
    ] {
        let checks = sieve.counts().checks;
        let heard = hear(&mut sieve, &text, standing, NOW);
        assert_eq!(heard, Err(expected), "{text}");
        assert_eq!(sieve.counts().checks, checks);
    }
    let counts = sieve.counts();
    adds_up(counts, 0);
    let each = [
        counts.too_long,
        counts.grammar,
        counts.unknown_pair,
        counts.below_min,
        counts.expired,
        counts.ahead,
        counts.before_start,
        counts.own,
        counts.foreign,
        counts.old_token,
        counts.seen,
    ];
    assert_eq!(each, [1; 11]);
}

/// A match is no broadcast, however small; the pair of one must be known all the same.
#[test]
fn matches_have_no_least_size() {
    let mut sieve = Sieve::new(settings());
    assert!(hear(&mut sieve, &said(1, matched(1), |_| {}), FRIEND, NOW).is_ok());
    let small = offer(2, "999.99999999USD@BTC:BO:SEPA");
    let heard = hear(&mut sieve, &said(1, small, |_| {}), FRIEND, NOW);
    assert_eq!(heard, Err(Refusal::BelowMin));
    let large = offer(2, "1000USD@BTC:BO:SEPA");
    assert!(hear(&mut sieve, &said(1, large, |_| {}), FRIEND, NOW).is_ok());
}
