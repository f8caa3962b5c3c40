//! Mutations of valid bytes against every decoder.

use expressnet::journal::record::Record;
use expressnet::membership::card::Card;
use expressnet::model::codec::Writer;
use expressnet::model::currency::Currency;
use expressnet::model::grammar::MatchLine;
use expressnet::model::ids::{EnvelopeId, MatchId, NodeId, OfferId, OrderId, PlanId};
use expressnet::model::instrument::Market;
use expressnet::model::market::Level;
use expressnet::model::number::{Price, Quantity};
use expressnet::model::offer::Line;
use expressnet::model::random::Random;
use expressnet::model::time::{Span, Time};
use expressnet::model::trade::{Draw, Purpose};
use expressnet::node::input::Command;
use expressnet::venue::history::TickReader;
use expressnet::venue::http::{parse_request, parse_response};
use expressnet::venue::registry::find;
use expressnet::venue::{Asked, Credentials, Framing, Setup};
use expressnet::wire::link::Link;
use expressnet::wire::message::{Message, Quote, QuoteHead};
use expressnet::wire::talk::{Probe, Talk, Verdict};

/// Mutations of each sample.
const ROUNDS: usize = 4_000;

#[test]
fn wire_messages_and_frames_of_a_link() {
    let samples = messages();
    sweep("message", &samples, |bytes| Message::decode(bytes).is_ok());
    let framed: Vec<Vec<u8>> = samples.iter().map(|body| sequenced(body)).collect();
    sweep("link frame", &framed, |bytes| {
        let mut link = Link::new(1);
        let mut welcome = Vec::new();
        Link::new(2).handle_connected(&mut |frame| welcome.extend_from_slice(frame));
        link.handle_frame(&welcome, &mut |_| ()).unwrap();
        link.handle_frame(bytes, &mut |_| ()).is_ok()
    });
    let mut welcome = Vec::new();
    Link::new(2).handle_connected(&mut |frame| welcome.extend_from_slice(frame));
    sweep("welcome", &[welcome], |bytes| {
        Link::new(1).handle_frame(bytes, &mut |_| ()).is_ok()
    });
}

#[test]
fn records_of_the_journal() {
    let draw = Draw {
        envelope: EnvelopeId(1),
        order: OrderId(2),
        plan: PlanId(3),
        quantity: Quantity(4),
        limit: Price(5),
        purpose: Purpose::Open,
    };
    let records = [
        Record::Booted { incarnation: 7 },
        Record::Drawn {
            draw,
            leader: NodeId([1; 16]),
            market: market(),
            side: expressnet::model::market::Side::Bid,
        },
        Record::Balance {
            location: "wallet".to_owned(),
            currency: Currency::BTC,
            units: -1,
        },
    ];
    let samples: Vec<Vec<u8>> = records
        .iter()
        .map(|record| {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            bytes
        })
        .collect();
    sweep("record", &samples, |bytes| Record::decode(bytes).is_ok());
}

#[test]
fn what_people_and_other_owners_write() {
    let lines = [
        b"150BTC@USD:BO:SEPA|OKPAY|PAYPAL|DWOLLA|ACH".to_vec(),
        b"150BTC@110USD:SEPA".to_vec(),
    ];
    sweep("offer line", &lines, |bytes| Line::parse(bytes).is_ok());
    let lines = [b"1BTC@110USD:SEPA".to_vec()];
    sweep("match line", &lines, |bytes| {
        MatchLine::parse(bytes).is_ok()
    });
    let requests = [
        br#"{"verb":"offer-new","line":"150BTC@USD:BO:SEPA","reserve":"90"}"#.to_vec(),
        br#"{"verb":"switch","to":"pause"}"#.to_vec(),
    ];
    sweep("control request", &requests, |bytes| {
        Command::parse(bytes).is_ok()
    });
    let ticks = [b"1315922016,5.800000000000,1.000000000000".to_vec()];
    sweep("tick", &ticks, |bytes| {
        TickReader::default().line(bytes).is_ok()
    });
    let card = [b"expressnet-card-1:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo".to_vec()];
    for bytes in mutations(&card[0]) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(Card::parse(&text).is_err(), "unsigned");
    }
}

#[test]
fn what_a_venue_answers_and_streams() {
    let order = r#"{"id":"7","pair":"BTC/USD","side":"bid","limit":"100","state":"closed","filled":"1","total":"100","fee":"0.1","remaining":"0"}"#;
    let replies = [
        (Asked::Place(OrderId(7)), format!("{{\"order\":{order}}}")),
        (Asked::Orders, format!("{{\"orders\":[{order}],\"end\":true}}")),
        (
            Asked::Account,
            r#"{"balances":[{"currency":"BTC","free":"1","held":"0"}],"rights":{"trade":true,"withdraw":false}}"#.to_owned(),
        ),
    ];
    let dialect = find("simulated").unwrap();
    let setup = Setup {
        venue: market().venue,
        host: "localhost".to_owned(),
        pairs: vec![market().pair],
        rules: Vec::new(),
        framing: Framing::Plain,
    };
    let key = Credentials {
        key: "key".to_owned(),
        secret: "c2VjcmV0".to_owned(),
    };
    let mut client = dialect.order_client(&setup, key).unwrap();
    for (asked, body) in replies {
        sweep("reply", &[body.into_bytes()], |bytes| {
            client
                .decode_reply(asked, 200, bytes, Time(0), &mut |_| ())
                .is_ok()
        });
    }
    let frames = [
        br#"{"ch":"book","pair":"BTC/USD","kind":"snapshot","seq":7,"ts":"9","lag_us":2,"bids":[["100.5","1.25"]],"asks":[["101","2"]]}"#.to_vec(),
    ];
    sweep("feed frame", &frames, |bytes| {
        let mut feed = dialect.feed(&setup);
        feed.decode(bytes, Time(1), &mut |_| ()).is_ok()
    });
    let responses = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec(),
    ];
    sweep("response", &responses, |bytes| {
        parse_response(bytes, true, 1_024).is_ok_and(|read| read.is_some())
    });
    let requests = [b"POST /order HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok".to_vec()];
    sweep("request", &requests, |bytes| {
        parse_request(bytes, 1_024).is_ok_and(|read| read.is_some())
    });
}

/// Hands every mutation of every sample to a decoder: it takes the samples themselves, refuses
/// some of the rest, and panics at nothing.
fn sweep(door: &str, samples: &[Vec<u8>], mut accepts: impl FnMut(&[u8]) -> bool) {
    let mut refused = 0;
    for sample in samples {
        assert!(accepts(sample), "{door}: a sample is refused: {sample:?}");
        for cut in 0..sample.len() {
            refused += usize::from(!accepts(&sample[..cut]));
        }
        for bytes in mutations(sample) {
            refused += usize::from(!accepts(&bytes));
        }
    }
    assert!(refused > samples.len(), "{door}: refuses nothing");
}

fn mutations(sample: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let mut random = Random::new(sample.len() as u64);
    (0..ROUNDS).map(move |_| {
        let mut bytes = sample.to_vec();
        for _ in 0..random.between(1, 3) {
            mutate(&mut bytes, &mut random);
        }
        bytes
    })
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let any =
        |random: &mut Random, below: usize| usize::try_from(random.below(below as u64)).unwrap();
    if bytes.is_empty() {
        return;
    }
    let at = any(random, bytes.len());
    match random.below(8) {
        0 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
        1 => bytes[at] ^= 1 << random.below(8),
        2 => drop(bytes.remove(at)),
        3 => bytes.truncate(at),
        // Not UTF-8.
        4 => bytes.insert(at, 0xFF),
        // Huge numbers, of text and of bytes.
        5 => drop(bytes.splice(at..at, std::iter::repeat_n(b'9', 400))),
        6 => {
            let end = (at + 8).min(bytes.len());
            bytes[at..end].fill(if random.chance(500_000) { 0xFF } else { 0x7F });
        }
        // Another type where one is due.
        _ => {
            const WORDS: [&[u8]; 6] = [b"null", b"[]", b"{}", b"-1", b"1e308", b"\"\""];
            let word = WORDS[any(random, WORDS.len())];
            let end = (at + any(random, 12)).min(bytes.len());
            drop(bytes.splice(at..end, word.iter().copied()));
        }
    }
}

fn messages() -> Vec<Vec<u8>> {
    let offer = OfferId([7; 16]);
    let level = Level {
        price: Price::whole(100),
        quantity: Quantity::whole(1),
    };
    [
        Message::Quote(Quote {
            head: QuoteHead {
                market: market(),
                number: 1,
                sequence: 2,
                age: Span::MILLI,
                engine_lag: Span::ZERO,
                is_live: true,
            },
            bids: vec![level; 16],
            asks: vec![level; 3],
        }),
        Message::Probe(Probe {
            train: 1,
            number: 2,
            sent: Time(5),
            received: Time(0),
            replied: Time(0),
        }),
        Message::Talk(Talk::TrainAnswer {
            train: [1; 16],
            verdict: Verdict::Ready,
            location_udeg: Some((1, 2)),
        }),
        Message::GrantOver {
            envelope: EnvelopeId(3),
        },
        Message::Confirm {
            offer,
            id: MatchId(1),
            quantity: Quantity(2),
            total: Quantity(3),
        },
        Message::Withdraw { offer },
    ]
    .iter()
    .map(|message| {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        bytes
    })
    .collect()
}

fn sequenced(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut writer = Writer::new(&mut frame);
    writer.u8(2);
    writer.u64(1);
    writer.raw(body);
    frame
}

fn market() -> Market {
    Market {
        venue: "alpha".parse().unwrap(),
        pair: "BTC/USD".parse().unwrap(),
    }
}
