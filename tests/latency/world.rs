//! A mesh of five sites as its probers would have measured it, without a network.

use expressnet::latency::report::{Header, Report};
use expressnet::latency::train::{End, Fate, Location, Offset, PathCount, Sample, SelfLine, Train};
use expressnet::model::random::Random;
use expressnet::model::time::{Span, Time};

use crate::latency::fixture::{self, INTERVAL, START, spread};

/// Name, latitude and longitude in millionths of a degree.
const SITES: [(&str, i32, i32); 5] = [
    ("frankfurt", 50_110_900, 8_682_100),
    ("london", 51_507_400, -127_800),
    ("newyork", 40_712_800, -74_006_000),
    ("tokyo", 35_689_500, 139_691_700),
    ("zürich <b>", 47_376_900, 8_541_700),
];
/// Least round trips between two sites, in microseconds.
const LEAST_US: [[u64; 5]; 5] = [
    [0, 11_500, 81_000, 222_000, 5_900],
    [11_600, 0, 69_800, 214_000, 16_100],
    [81_200, 69_500, 0, 152_000, 87_000],
    [223_000, 214_500, 151_000, 0, 229_000],
    [5_800, 16_000, 87_100, 229_500, 0],
];

/// What one train is made like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Making {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) probes: u32,
    pub(super) seed: u64,
    /// Of each round trip, in percent.
    pub(super) slower_percent: u64,
    pub(super) loss_percent: u64,
}

impl Making {
    pub(super) fn of(from: usize, to: usize) -> Self {
        Self {
            from,
            to,
            probes: 2_000,
            seed: 1,
            slower_percent: 0,
            loss_percent: 0,
        }
    }

    /// Makes the train as both ends would have seen it, signed by the peer.
    pub(super) fn train(self) -> Train {
        let mut random = Random::new(self.seed + 100 * self.from as u64 + self.to as u64);
        let least = LEAST_US[self.from][self.to] * (100 + self.slower_percent) / 100;
        let mut train = empty(self.from, self.to);
        for number in 0..self.probes {
            let intended = START + INTERVAL.times(number.into());
            let sent = intended + Span(3_000 + random.next_u64() % 40_000);
            let is_lost = random.next_u64() % 100 < self.loss_percent;
            let fate = match is_lost {
                true => Fate::Lost,
                false => answered(sent, Span::micros(least), &mut random),
            };
            train.samples.push(Sample {
                number,
                intended,
                sent,
                fate,
            });
        }
        stall(&mut train);
        let (prober, peer) = (seed(self.from), seed(self.to));
        fixture::attest(train, prober, peer, Span::micros(least))
    }
}

/// A report of one prober.
pub(super) fn report(from: usize, trains: &[Train]) -> Report {
    let header = Header {
        name: SITES[from].0.to_owned(),
        ..fixture::header(seed(from))
    };
    Report::new(header, trains, |bytes| {
        fixture::signature(seed(from), bytes)
    })
}

/// The whole mesh, each site's part signed by it.
pub(super) fn mesh() -> Report {
    let part = |from: usize| {
        let trains: Vec<Train> = (0..SITES.len())
            .filter(|&to| to != from)
            .map(|to| {
                let loss_percent = if (from, to) == (2, 3) { 2 } else { 0 };
                let making = Making::of(from, to);
                Making {
                    loss_percent,
                    ..making
                }
                .train()
            })
            .collect();
        report(from, &trains)
    };
    let mut mesh = part(0);
    for from in 1..SITES.len() {
        mesh.join(part(from)).unwrap();
    }
    mesh
}

fn answered(sent: Time, least: Span, random: &mut Random) -> Fate {
    // A long tail: most are close to the least, one of 200 is much slower.
    let draw = random.next_u64();
    let tail = if draw.is_multiple_of(200) { 30 } else { 1 };
    let extra = Span(least.0 / 400 * (draw >> 32 & 0x0F) * tail / 4 + (draw >> 40) % 300_000);
    let held = Span(9_000 + random.next_u64() % 20_000);
    let received = sent + Span((least.0 + extra.0) / 2);
    let replied = received + held;
    Fate::Answered {
        received,
        replied,
        heard: sent + least + extra + held,
        overtaken: false,
    }
}

/// Lets the peer stand still for 100 ms in the middle, with what the transport counted.
fn stall(train: &mut Train) {
    let count = |at: Time, congestion_events: u64, congestion_window_bytes: u64| PathCount {
        at,
        sent_packets: 0,
        lost_packets: 0,
        congestion_events,
        congestion_window_bytes,
        path_switches: 0,
    };
    let middle = START + INTERVAL.times(1_000);
    let meanwhile = middle + Span::millis(5);
    train.path = vec![count(START, 0, 24_000), count(meanwhile, 1, 12_000)];
    let met = train.samples.iter_mut().skip(1_000).take(10);
    for (late, sample) in (0_u64..).zip(met) {
        if let Fate::Answered {
            received,
            replied,
            heard,
            ..
        } = &mut sample.fate
        {
            let wait = Span::millis(100).less(INTERVAL.times(late));
            (*received, *replied, *heard) = (*received + wait, *replied + wait, *heard + wait);
        }
    }
}

/// A train between two sites that has sent nothing yet.
fn empty(from: usize, to: usize) -> Train {
    let train = fixture::train(seed(from), seed(to));
    let bound = Span::micros(if to == 4 { 9_000 } else { 700 });
    Train {
        from: end(from),
        to: end(to),
        samples: Vec::new(),
        clock: Some(Offset { ahead_ns: 0, bound }),
        own: SelfLine {
            loopback: Some(spread(Span::micros(38))),
            ..train.own
        },
        ..train
    }
}

fn end(site: usize) -> End {
    let (name, latitude_udeg, longitude_udeg) = SITES[site];
    End {
        node: fixture::node(seed(site)),
        name: name.to_owned(),
        location: Some(Location {
            latitude_udeg,
            longitude_udeg,
        }),
    }
}

/// The seed of a site's key.
fn seed(site: usize) -> u8 {
    u8::try_from(site).unwrap() + 1
}
