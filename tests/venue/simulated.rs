//! The served simulated venue: seeded flow, faults, history.

use expressnet::model::instrument::Pair;
use expressnet::model::market::{Level, Side};
use expressnet::model::number::{Price, Quantity};
use expressnet::model::time::{Span, Time};
use expressnet::venue::history::{ReplaySettings, Tick};
use expressnet::venue::serving::ServerSettings;
use expressnet::venue::serving::fault::Fault;
use expressnet::venue::serving::market::Source;
use expressnet::venue::simulated::server::SimulatedServer;
use expressnet::venue::simulated::{REQUESTS_PER_S, RULES};
use expressnet::venue::{Server, StreamNo};

#[test]
fn two_seeds_of_one_price_cross_and_close_several_times_in_ten_seconds() {
    let mut one = serve(1, flow());
    let mut other = serve(2, flow());
    let (mut openings, mut open_steps, mut was_open) = (0, 0, false);
    for step in 0..1_200_u64 {
        let now = START + Span::millis(100).times(step);
        one.handle_deadline(now, &mut |_, _| ());
        other.handle_deadline(now, &mut |_, _| ());
        let is_open = pays(&one, &other) || pays(&other, &one);
        openings += u32::from(is_open && !was_open);
        open_steps += u32::from(is_open);
        was_open = is_open;
    }
    assert!(
        (24..=300).contains(&openings),
        "{openings} openings in 120 s"
    );
    assert!(
        (50..=700).contains(&open_steps),
        "{open_steps} of 1,200 steps open"
    );
    assert_eq!(one.imbalance(), None);
}

#[test]
fn equal_seeds_send_equal_bytes_and_faults_are_counted() {
    let run = || {
        let mut server = serve(9, flow());
        for (fault, _) in Fault::ALL {
            server.set_fault(fault, 200_000);
        }
        server.set_fault(Fault::Disconnects, 2_000);
        let mut pushed = Vec::new();
        let mut push = |stream: StreamNo, frame: &[u8]| pushed.push((stream, frame.to_vec()));
        for stream in 0..4 {
            assert!(server.handle_stream(StreamNo(stream), "/ws", START));
            let subscribe = br#"{"op":"subscribe","pairs":["BTC/USD"]}"#;
            server.handle_frame(StreamNo(stream), subscribe, START, &mut push);
        }
        for step in 0..400_u64 {
            let now = START + Span::millis(100).times(step);
            server.handle_deadline(now, &mut push);
        }
        (pushed, server.fault_counts())
    };
    let (pushed, counts) = run();
    assert_eq!((pushed, counts.clone()), run());
    for name in ["lost-frames", "reordered-frames", "lag"] {
        let count = counts.iter().find(|(known, _)| *known == name).unwrap();
        assert!(count.1 > 0, "{counts:?}");
    }
}

#[test]
fn a_history_stands_around_its_ticks_and_goes_when_they_are_old() {
    let ticks = vec![
        Tick {
            unix_s: 100,
            price: Price::whole(50),
            quantity: Quantity::whole(2),
        },
        Tick {
            unix_s: 160,
            price: Price::whole(60),
            quantity: Quantity::whole(3),
        },
    ];
    let settings = ReplaySettings::new(100, 60);
    let mut server = serve(1, Source::History { ticks, settings });
    server.handle_deadline(START, &mut |_, _| ());
    let level = |price, quantity| Level {
        price: Price(price),
        quantity: Quantity::whole(quantity),
    };
    assert_eq!(
        server.levels(pair(), Side::Ask),
        vec![level(5_005_000_000, 2)]
    );
    let next = server.handle_deadline(START + Span::secs(1), &mut |_, _| ());
    let bids = server.levels(pair(), Side::Bid);
    assert_eq!(bids, vec![level(5_994_000_000, 3), level(5_991_000_000, 2)]);
    assert!(next.is_some());
    server.handle_deadline(START + Span::secs(12), &mut |_, _| ());
    assert!(server.levels(pair(), Side::Bid).is_empty());
    assert!(server.levels(pair(), Side::Ask).is_empty());
    assert_eq!(server.imbalance(), None);
}

const START: Time = Time(1_700_000_000_000_000_000);

fn flow() -> Source {
    Source::Flow {
        price: Price::whole(100),
    }
}

fn pair() -> Pair {
    "BTC/USD".parse().unwrap()
}

fn serve(seed: u64, source: Source) -> SimulatedServer {
    let settings = ServerSettings {
        rules: RULES,
        maker_fee_ppm: 0,
        markets: vec![(pair(), source)],
        accounts: Vec::new(),
        seed,
        faults: Vec::new(),
        requests_per_s: REQUESTS_PER_S,
    };
    SimulatedServer::new(settings).unwrap()
}

/// Returns true where buying here and selling there pays both fees.
fn pays(here: &SimulatedServer, there: &SimulatedServer) -> bool {
    let ask = here.levels(pair(), Side::Ask)[0].price;
    let bid = there.levels(pair(), Side::Bid)[0].price;
    ask.moved_ppm_ceil(2_000) < bid.moved_ppm(-2_000)
}
