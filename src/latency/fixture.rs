//! Trains, keys and reports for the tests beside this code and for those of the verbs.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use crate::latency::histogram;
use crate::latency::report::{Header, Report};
use crate::latency::sign;
use crate::latency::summary::{Distribution, OneWay};
use crate::latency::train::{
    Attestation, End, Fate, Offset, Over, Sample, SelfLine, Shape, Spread, TimestampSource, Train,
};
use crate::latency::wire::Hex;
use crate::model::ids::NodeId;
use crate::model::key::pin_of;
use crate::model::time::{Span, Time};

pub(crate) const START: Time = Time(1_790_000_000_000_000_000);
pub(crate) const INTERVAL: Span = Span::millis(10);

pub(crate) fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

pub(crate) fn public(seed: u8) -> [u8; 32] {
    key(seed).public_key().as_ref().try_into().unwrap()
}

pub(crate) fn node(seed: u8) -> NodeId {
    pin_of(&public(seed)).node_id()
}

pub(crate) fn signature(seed: u8, bytes: &[u8]) -> [u8; 64] {
    key(seed).sign(bytes).as_ref().try_into().unwrap()
}

/// Probes every [`INTERVAL`] with these round trips, halved between the ways; `None` is lost.
pub(crate) fn samples(rtts: &[Option<Span>]) -> Vec<Sample> {
    let numbered = (0_u32..).zip(rtts);
    numbered
        .map(|(number, rtt)| {
            let intended = START + INTERVAL.times(u64::from(number));
            let sent = intended + Span::micros(5);
            let fate = rtt.map_or(Fate::Lost, |rtt| {
                let received = sent + Span(rtt.0 / 2);
                let replied = received + Span::micros(20);
                let heard = sent + rtt + Span::micros(20);
                let overtaken = false;
                Fate::Answered {
                    received,
                    replied,
                    heard,
                    overtaken,
                }
            });
            Sample {
                number,
                intended,
                sent,
                fate,
            }
        })
        .collect()
}

/// A train of a thousand probes of 20 to 30 ms between two keys, without attestation.
pub(crate) fn train(from: u8, to: u8) -> Train {
    let rtts: Vec<Option<Span>> = (0..1_000)
        .map(|number| Some(Span::micros(20_000 + number * 7_919 % 10_000)))
        .collect();
    let end = |seed: u8| End {
        node: node(seed),
        name: format!("site{seed}"),
        location: None,
    };
    Train {
        id: [from, to].repeat(8).try_into().unwrap(),
        from: end(from),
        to: end(to),
        over: Over::Mesh,
        shape: Shape::Idle { interval: INTERVAL },
        started: START,
        probe_bytes: 64,
        samples: samples(&rtts),
        clock: Some(Offset {
            ahead_ns: 0,
            bound: Span::micros(400),
        }),
        path: Vec::new(),
        own: SelfLine {
            loopback: Some(spread(Span::micros(30))),
            timer_late: spread(Span::micros(60)),
            timestamps: TimestampSource::Kernel,
            system_clock: "ntp synchronised".to_owned(),
        },
        attestation: None,
    }
}

/// Lets the peer attest what it would have seen.
pub(crate) fn attest(mut train: Train, prober: u8, peer: u8, rtt_min: Span) -> Train {
    let moments: Vec<Time> = train
        .samples
        .iter()
        .filter_map(|sample| match sample.fate {
            Fate::Lost | Fate::Refused => None,
            Fate::Answered { received, .. } => Some(received),
        })
        .collect();
    let mut attestation = Attestation {
        train: train.id,
        prober: node(prober),
        received: moments.len().try_into().unwrap(),
        first_received: *moments.first().unwrap(),
        last_received: *moments.last().unwrap(),
        rtt: spread(rtt_min),
        rtt_min,
        key: public(peer),
        signature: [0; 64],
    };
    attestation.signature = signature(peer, &sign::attestation_statement(&attestation));
    train.attestation = Some(attestation);
    train
}

pub(crate) fn header(seed: u8) -> Header {
    Header {
        key: Hex(public(seed)),
        name: format!("site{seed}"),
        started_ns: START.0,
        program: "expressnet 0.1.0".to_owned(),
        kernel: "Linux 6.1".to_owned(),
        clock: "ntp synchronised".to_owned(),
        configuration: String::new(),
    }
}

/// A report of key 1.
pub(crate) fn report(trains: &[Train]) -> Report {
    Report::new(header(1), trains, |bytes| signature(1, bytes))
}

pub(crate) fn spread(span: Span) -> Spread {
    Spread {
        count: 100,
        p50: span,
        p99: span,
        max: span,
    }
}

/// A one-way delay that is always the same.
pub(crate) fn one_way(delay: Span, bound: Span) -> OneWay {
    let mut values = histogram::empty();
    for _ in 0..1_000 {
        histogram::record(&mut values, delay.0);
    }
    OneWay::Known {
        bound_ns: bound.0,
        delay: Distribution::of(&values).unwrap(),
    }
}
