//! Announcements: one text each, no text that is neither an announcement nor an error.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use crate::discovery::announce::text::LONGEST;
use crate::discovery::announce::{
    AMOUNT_MAX, AmountFault, AnnounceError, Announcement, Closed, Draft, LIFE_S_MAX, Matched,
    OfferRef, Offered, RELAYED_MAX, Relayed, Said, Signer,
};
use crate::discovery::irc::line::{self, TEXT_MAX};
use crate::model::codec::CodecError;
use crate::model::currency::{Currency, Method};
use crate::model::grammar::{GrammarError, GrammarFault};
use crate::model::ids::{NodeId, OfferId, PeernetId};
use crate::model::number::Quantity;
use crate::model::offer::{Line, Part};
use crate::model::random::Random;

const CHANNEL: &str = "#expressnet";
const EXPIRES_S: u32 = 1_800_000_000;

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn signer(seed: u8) -> Signer {
    Signer(key(seed).public_key().as_ref().try_into().unwrap())
}

fn draft(said: Said) -> Draft {
    Draft {
        said,
        peernet: PeernetId([0x11; 16]),
        token: 7,
        expires_s: EXPIRES_S,
        life_s: 600,
        signer: signer(1),
    }
}

fn issue(said: Said) -> Result<Announcement, AnnounceError> {
    let sign = |statement: &[u8]| key(1).sign(statement).as_ref().try_into().unwrap();
    Announcement::issue(draft(said), CHANNEL, sign)
}

fn line(text: &str) -> Line {
    Line::parse(text.as_bytes()).unwrap()
}

fn offer(text: &str) -> Said {
    Said::Offer(Offered {
        offer: OfferId([3; 16]),
        version: 1,
        line: line(text),
        part_min: Quantity(1),
    })
}

fn matched() -> Matched {
    Matched {
        offer: OfferId([3; 16]),
        version: 2,
        origin: NodeId([9; 16]),
        give: Currency::BTC,
        want: Currency::USD,
        part: Part {
            quantity: Quantity::whole(40),
            total: Quantity::whole(4_200),
            method: Method::Sepa,
        },
        remainder: Quantity::whole(110),
    }
}

fn relayed(text: &str, count: u8) -> Relayed {
    Relayed {
        line: line(text),
        offers: (1..=count)
            .map(|at| (OfferRef([at; 8]), u32::MAX))
            .collect(),
    }
}

fn one_of_each() -> [Said; 4] {
    let close = Closed {
        offer: OfferId([3; 16]),
        version: 4,
    };
    [
        offer("150BTC@USD:BO:SEPA|OKPAY|PAYPAL|DWOLLA|ACH"),
        Said::Match(matched()),
        Said::Relay(relayed("150BTC@110USD:SEPA|OKPAY", 3)),
        Said::Close(close),
    ]
}

#[test]
fn every_kind_is_read_as_it_was_written() {
    let heads = [
        "150BTC@USD:BO:SEPA|OKPAY|PAYPAL|DWOLLA|ACH offer1 ",
        "40BTC@105USD:SEPA match1 ",
        "150BTC@110USD:SEPA|OKPAY relay1 ",
        "close1 ",
    ];
    for (said, head) in one_of_each().into_iter().zip(heads) {
        let announced = issue(said.clone()).unwrap();
        let text = announced.to_string();
        assert!(text.starts_with(head), "{text}");
        assert_eq!(*announced.said(), said);
        assert_eq!(Announcement::parse(&text), Ok(announced.clone()));
        assert!(announced.is_signed(CHANNEL) && announced.is_signed("#ExpressNet"));
        assert!(!announced.is_signed("#elsewhere"));
        assert!(line::Line::say("PRIVMSG", CHANNEL, &text).is_ok());
        let life = announced.expires().since(announced.issued());
        assert_eq!((life.as_millis(), announced.token()), (600_000, 7));
    }
}

/// The bytes of the protocol page, so that they change with it only.
#[test]
fn the_example_of_the_protocol_page_is_what_is_written() {
    let page = include_str!("../../../docs/PROTOCOL.md");
    for said in one_of_each() {
        let text = issue(said).unwrap().to_string();
        if text.contains("offer1") {
            assert!(page.contains(&text), "{text}");
        }
    }
}

#[test]
fn the_longest_lines_fit_with_all_methods_and_five_origins() {
    let methods = "SEPA|OKPAY|PAYPAL|DWOLLA|ACH|BTC|MANUAL";
    assert_eq!(methods.split('|').count(), Method::ALL.len());
    let mut longest = 0;
    for head in [
        format!("99999.99999999ABCDEFGH@99999.99999999STUVWXYZ:{methods}"),
        format!("9999999999.99999999ABCDEFGH@0.99999999STUVWXYZ:{methods}"),
        format!("0.99999999ABCDEFGH@9999999999.99999999STUVWXYZ:{methods}"),
    ] {
        let relay = Said::Relay(relayed(&head, u8::try_from(RELAYED_MAX).unwrap()));
        for said in [offer(&head), relay] {
            let length = issue(said).unwrap().to_string().len();
            longest = longest.max(length);
        }
    }
    for (quantity, total) in [
        (AMOUNT_MAX.0 - 1, AMOUNT_MAX.0 - 1),
        (1, 99_999_999_999),
        (99_999_999, AMOUNT_MAX.0 - 1),
    ] {
        let mut large = matched();
        (large.give, large.want) = ("ABCDEFGH".parse().unwrap(), "STUVWXYZ".parse().unwrap());
        large.part = Part {
            quantity: Quantity(quantity),
            total: Quantity(total),
            method: Method::Dwolla,
        };
        large.remainder = Quantity(AMOUNT_MAX.0 - quantity);
        longest = longest.max(issue(Said::Match(large)).unwrap().to_string().len());
    }
    assert_eq!((longest, LONGEST, TEXT_MAX), (342, 351, 380));
    let six = Said::Relay(relayed("1BTC@USD:BO:SEPA", 6));
    assert_eq!(issue(six), Err(AnnounceError::Order));
}

#[track_caller]
fn refuses(said: Said, expected: impl Into<AnnounceError>) {
    assert_eq!(issue(said), Err(expected.into()));
}

/// Attack 25: nothing, less than nothing, too much, itself.
#[test]
fn amounts_that_cannot_be_are_refused() {
    let good = matched();
    let mut bad = good;
    bad.part.total = Quantity::ZERO;
    refuses(
        Said::Match(bad),
        GrammarError {
            column: 7,
            reason: GrammarFault::Range,
        },
    );
    bad.part.total = Quantity(AMOUNT_MAX.0 + 1);
    refuses(Said::Match(bad), AmountFault::TooLarge);
    bad.part = Part {
        quantity: Quantity::ZERO,
        ..good.part
    };
    refuses(
        Said::Match(bad),
        GrammarError {
            column: 1,
            reason: GrammarFault::Range,
        },
    );
    bad = Matched {
        remainder: Quantity(-1),
        ..good
    };
    refuses(Said::Match(bad), CodecError::Range("remainder"));
    bad = Matched {
        remainder: Quantity(AMOUNT_MAX.0 - good.part.quantity.0 + 1),
        ..good
    };
    refuses(Said::Match(bad), AmountFault::TooLarge);
    bad = Matched {
        remainder: Quantity::MAX,
        ..good
    };
    refuses(Said::Match(bad), AmountFault::TooLarge);
    bad = Matched { version: 0, ..good };
    refuses(Said::Match(bad), AnnounceError::Version);
    bad = Matched {
        origin: signer(1).node_id(),
        ..good
    };
    refuses(Said::Match(bad), AnnounceError::SelfMatch);
    bad = Matched {
        want: good.give,
        ..good
    };
    let same = GrammarError {
        column: 10,
        reason: GrammarFault::SameCurrency,
    };
    refuses(Said::Match(bad), same);
}

/// Attack 25: amounts that 64 bits would hold, and what they come to would not.
#[test]
fn an_offer_comes_to_no_more_than_the_limit() {
    for head in [
        "10000000000.00000001BTC@USD:BO:SEPA",
        "1BTC@10000000000.00000001USD:SEPA",
        "0.00000001BTC@92233720368.54775807USD:SEPA",
        "92233720368.54775807BTC@92233720368.54775807USD:SEPA",
        "100000BTC@100000.00000001USD:SEPA",
    ] {
        refuses(offer(head), AmountFault::TooLarge);
        refuses(Said::Relay(relayed(head, 1)), AmountFault::TooLarge);
    }
    assert!(issue(offer("100000BTC@100000USD:SEPA")).is_ok());
    for (part_min, expected) in [
        (0, AnnounceError::Field(CodecError::Range("smallest part"))),
        (-1, AnnounceError::Field(CodecError::Range("smallest part"))),
        (100_000_001, AnnounceError::Amount(AmountFault::Part)),
    ] {
        let mut bad = offer("1BTC@USD:BO:SEPA");
        if let Said::Offer(offered) = &mut bad {
            offered.part_min = Quantity(part_min);
        }
        refuses(bad, expected);
    }
}

#[test]
fn a_relay_names_each_offer_once_and_in_order() {
    let good = relayed("1BTC@USD:BO:SEPA", 3);
    for order in [vec![1, 0, 2], vec![0, 0], vec![2, 1]] {
        let offers = order.into_iter().map(|at| good.offers[at]).collect();
        refuses(
            Said::Relay(Relayed {
                offers,
                ..good.clone()
            }),
            AnnounceError::Order,
        );
    }
    let none = Relayed {
        offers: Vec::new(),
        ..good.clone()
    };
    refuses(Said::Relay(none), AnnounceError::Encoding);
    let mut zero = good;
    zero.offers[1].1 = 0;
    refuses(Said::Relay(zero), AnnounceError::Version);
}

#[test]
fn a_life_has_limits() {
    let sign = |_: &[u8]| [1; 64];
    let make = |expires_s, life_s| {
        let mut draft = draft(offer("1BTC@USD:BO:SEPA"));
        (draft.expires_s, draft.life_s) = (expires_s, life_s);
        Announcement::issue(draft, CHANNEL, sign).map(|_| ())
    };
    assert_eq!(make(EXPIRES_S, LIFE_S_MAX), Ok(()));
    for (expires_s, life_s) in [
        (EXPIRES_S, 0),
        (EXPIRES_S, LIFE_S_MAX + 1),
        (EXPIRES_S, u16::MAX),
        (600, 600),
        (0, 1),
    ] {
        assert_eq!(make(expires_s, life_s), Err(AnnounceError::Life));
    }
    assert_eq!(make(u32::MAX, 1), Ok(()));
}

/// Attacks 23 and 26: another spelling, a byte more, a byte less.
#[test]
fn every_other_spelling_is_refused() {
    let text = issue(offer("150BTC@USD:BO:SEPA")).unwrap().to_string();
    let at = text.rfind(' ').unwrap();
    let (head, fields) = text.split_at(at + 1);
    // 154 bytes leave four bits of the last letter unused: they must be zero.
    let last = fields.len() - 1;
    let other = match &fields[last..] {
        "A" => "B",
        "Q" => "R",
        "g" => "h",
        _ => "x",
    };
    for (spelling, expected) in [
        (String::new(), AnnounceError::Kind),
        (
            format!("{head}{}{other}", &fields[..last]),
            AnnounceError::Encoding,
        ),
        (format!("{text}=="), AnnounceError::Encoding),
        (format!("{text}A"), AnnounceError::Encoding),
        (format!("{text} "), AnnounceError::Kind),
        (format!(" {text}"), AnnounceError::Kind),
        (text[..text.len() - 1].to_owned(), AnnounceError::Encoding),
        (
            text.replacen(" offer1 ", "  offer1 ", 1),
            AnnounceError::Line(GrammarError {
                column: 19,
                reason: GrammarFault::Trailing,
            }),
        ),
        (
            text.replacen(" offer1 ", " offer2 ", 1),
            AnnounceError::Kind,
        ),
        (
            text.replacen(" offer1 ", " relay1 ", 1),
            AnnounceError::Encoding,
        ),
        (
            text.replacen("150", "0150", 1),
            AnnounceError::Line(GrammarError {
                column: 1,
                reason: GrammarFault::NotShortest,
            }),
        ),
        (text.replacen(' ', "\t", 1), AnnounceError::Control),
        (text.replacen(' ', "\u{a0}", 1), AnnounceError::Control),
        (text.replacen(' ', "\r\n", 1), AnnounceError::Control),
        (
            format!("{head}{}+", &fields[..last]),
            AnnounceError::Encoding,
        ),
        (format!("1{}", "0".repeat(TEXT_MAX)), AnnounceError::TooLong),
        ("1".repeat(1 << 20), AnnounceError::TooLong),
    ] {
        assert_eq!(Announcement::parse(&spelling), Err(expected), "{spelling}");
    }
    let text = issue(Said::Match(matched())).unwrap().to_string();
    for (from, to) in [("105USD", "104.99999999USD"), ("40BTC", "41BTC")] {
        let other = Announcement::parse(&text.replacen(from, to, 1));
        assert_eq!(other, Err(AmountFault::Price.into()));
    }
    let close = issue(one_of_each()[3].clone()).unwrap().to_string();
    let spaced = Announcement::parse(&format!("c {close}"));
    assert_eq!(spaced, Err(AnnounceError::NotCanonical));
}

/// Attack 23: whatever bit of a line is another one, it is refused or its signature is wrong.
#[test]
fn a_signature_holds_for_its_own_bytes_only() {
    let mut random = Random::new(23);
    for said in one_of_each() {
        let text = issue(said).unwrap().to_string();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = b"ABCwxyz012789-_"[usize::try_from(random.below(15)).unwrap()];
            let other = String::from_utf8(bytes).unwrap();
            let read = Announcement::parse(&other);
            let is_taken = read.is_ok_and(|announced| announced.is_signed(CHANNEL));
            assert_eq!(is_taken, other == text, "{other}");
        }
    }
}

#[test]
fn any_text_is_an_announcement_with_one_spelling_or_an_error() {
    let mut random = Random::new(5);
    let texts = one_of_each().map(|said| issue(said).unwrap().to_string());
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..60_000 {
        let mut pick = |limit: usize| usize::try_from(random.below(limit as u64)).unwrap();
        let mut bytes = texts[pick(4)].clone().into_bytes();
        for _ in 0..=pick(2) {
            let at = pick(bytes.len());
            match pick(5) {
                0 => bytes[at] = u8::try_from(pick(256)).unwrap(),
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, b"0A.@|: c"[pick(8)]),
                3 => drop(bytes.remove(at)),
                _ => bytes[at] = b"ABCDEFGHabcdefgh012345678"[pick(25)],
            }
            if bytes.is_empty() {
                bytes.push(b'1');
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        match Announcement::parse(&text) {
            Ok(announced) => {
                assert_eq!(announced.to_string(), text);
                accepted += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 5_000 && refused > 10_000, "{accepted} {refused}");
}

#[test]
fn a_reference_is_of_one_offer_of_one_exit() {
    let own = OfferRef::of(NodeId([1; 16]), OfferId([2; 16]));
    assert_eq!(own, OfferRef::of(NodeId([1; 16]), OfferId([2; 16])));
    assert_ne!(own, OfferRef::of(NodeId([3; 16]), OfferId([2; 16])));
    assert_ne!(own, OfferRef::of(NodeId([1; 16]), OfferId([3; 16])));
}
