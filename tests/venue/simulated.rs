//! The served simulated venue: seeded flow, faults, history.

use expressnet::model::currency::Currency;
use expressnet::model::ids::OrderId;
use expressnet::model::instrument::{Market, Pair};
use expressnet::model::market::{Level, Side};
use expressnet::model::number::{Price, Quantity};
use expressnet::model::random::Random;
use expressnet::model::sealed::{Approved, ApprovedOrder};
use expressnet::model::time::{Span, Time};
use expressnet::model::trade::VenueOrderState;
use expressnet::venue::history::{ReplaySettings, Tick};
use expressnet::venue::http::{Request, parse_request};
use expressnet::venue::registry::find;
use expressnet::venue::serving::fault::Fault;
use expressnet::venue::serving::market::Source;
use expressnet::venue::serving::{AccountSettings, ServerSettings};
use expressnet::venue::simulated::server::SimulatedServer;
use expressnet::venue::simulated::{REQUESTS_PER_S, RULES};
use expressnet::venue::{
    Asked, Credentials, Framing, OrderClient, OrdersQuery, Refusal, ReplyError, Server,
    ServerReply, ServerRequest, Setup, StreamNo, Told,
};

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

#[test]
fn a_lagging_engine_takes_orders_later_and_says_so() {
    let mut customer = Customer::new(3);
    let start = START + Span::SECOND;
    customer.server.set_fault(Fault::Lag, 1_000_000);
    customer.server.handle_deadline(start, &mut |_, _| ());
    customer.server.set_fault(Fault::Lag, 0);
    let placed = customer.place(1, start).unwrap();
    assert_eq!(state(&placed), VenueOrderState::Pending);
    let twice = customer.place(1, start);
    assert_eq!(twice, Err(ReplyError::Rejected(Refusal::Duplicate)));
    let listed = customer.ask(Asked::Orders, start).unwrap();
    assert_eq!(state(&listed), VenueOrderState::Pending);
    assert_eq!(customer.server.orders("key").len(), 0);
    let cancelled = customer.ask(Asked::Cancel(OrderId(1)), start).unwrap();
    assert_eq!(state(&cancelled), VenueOrderState::Pending);
    let mut now = start;
    while let Some(next) = customer.server.handle_deadline(now, &mut |_, _| ()) {
        assert!(next > now);
        now = next;
        if now > start + Span::secs(6) {
            break;
        }
    }
    let orders = customer.server.orders("key");
    assert_eq!(orders[0].state, VenueOrderState::Closed);
    let prompt = customer.place(2, now).unwrap();
    assert_eq!(state(&prompt), VenueOrderState::Open);
    assert_eq!(customer.server.duplicates(), 1);
}

#[test]
fn a_slow_cancel_lets_other_orders_pass() {
    let mut customer = Customer::new(3);
    customer.server.set_fault(Fault::SlowCancel, 1_000_000);
    customer.place(1, START).unwrap();
    let slow = customer.ask(Asked::Cancel(OrderId(1)), START).unwrap();
    assert_eq!(state(&slow), VenueOrderState::Open);
    let other = customer.place(2, START).unwrap();
    assert_eq!(state(&other), VenueOrderState::Open);
    let later = START + Span::secs(3);
    customer.server.handle_deadline(later, &mut |_, _| ());
    let orders = customer.server.orders("key");
    assert_eq!(orders[0].state, VenueOrderState::Closed);
    assert_eq!(orders[1].state, VenueOrderState::Open);
}

#[test]
fn whatever_goes_wrong_every_answer_is_true_and_no_money_is_lost() {
    for seed in 1..=4 {
        let mut customer = Customer::new(seed);
        for (fault, _) in Fault::ALL {
            customer.server.set_fault(fault, 100_000);
        }
        let mut random = Random::new(seed);
        let (mut id, mut resent, mut now) = (0, 0, START);
        let mut accepted = Vec::new();
        for _ in 0..5_000 {
            now = now + Span::millis(random.between(5, 30));
            customer.server.handle_deadline(now, &mut |_, _| ());
            if random.below(3) == 0 {
                let back = OrderId(random.between(0, id));
                customer.ask(Asked::Cancel(back), now).ok();
                continue;
            }
            id += 1;
            match customer.place(id, now) {
                Ok(_) => accepted.push(id),
                Err(ReplyError::Unknown) if random.below(4) == 0 => {
                    resent += 1;
                    customer.place(id, now).ok();
                }
                Err(ReplyError::Unknown | ReplyError::Rejected(_)) => (),
            }
            assert_eq!(customer.server.imbalance(), None, "seed {seed}");
        }
        for (fault, _) in Fault::ALL {
            customer.server.set_fault(fault, 0);
        }
        customer
            .server
            .handle_deadline(now + Span::secs(60), &mut |_, _| ());
        let orders = customer.server.orders("key");
        for id in accepted {
            let known = orders.iter().any(|order| order.id == Some(OrderId(id)));
            assert!(
                known,
                "seed {seed}: order {id} was accepted and is not there"
            );
        }
        assert!(customer.server.duplicates() <= resent);
        assert!(customer.server.duplicates() > 0);
        for (name, count) in customer.server.fault_counts() {
            assert!(
                count > 0 || name.contains("frames") || name == "disconnects",
                "{name}"
            );
        }
    }
}

#[test]
fn a_key_has_its_rate() {
    let mut customer = Customer::new(1);
    let mut refused = 0;
    for id in 1..=u64::from(REQUESTS_PER_S) + 5 {
        let placed = customer.place(id, START);
        refused += u32::from(placed == Err(ReplyError::Rejected(Refusal::Throttled)));
    }
    assert_eq!(refused, 5);
    assert!(customer.place(999, START + Span::SECOND).is_ok());
}

struct Customer {
    server: SimulatedServer,
    client: Box<dyn OrderClient>,
    random: Random,
}

impl Customer {
    fn new(seed: u64) -> Self {
        let credentials = Credentials {
            key: "key".to_owned(),
            secret: "secret".to_owned(),
        };
        let setup = Setup {
            venue: "here".parse().unwrap(),
            host: "h:1".to_owned(),
            pairs: vec![pair()],
            rules: Vec::new(),
            framing: Framing::Plain,
        };
        let mut settings = settings(seed, flow());
        settings.accounts.push(AccountSettings {
            credentials: credentials.clone(),
            balances: vec![
                (Currency::USD, Quantity::whole(100_000)),
                (Currency::BTC, Quantity::whole(1_000)),
            ],
            may_withdraw: false,
        });
        let mut server = SimulatedServer::new(settings).unwrap();
        server.handle_deadline(START, &mut |_, _| ());
        Self {
            server,
            client: find("simulated")
                .unwrap()
                .order_client(&setup, credentials)
                .unwrap(),
            random: Random::new(seed),
        }
    }

    /// Buys far below the market, or from the third order on sometimes across it.
    fn place(&mut self, id: u64, now: Time) -> Result<Vec<Told>, ReplyError> {
        let crosses = id > 2 && self.random.below(2) == 0;
        let limit = if crosses { 110 } else { 50 };
        let order = Approved::seal(ApprovedOrder {
            id: OrderId(id),
            market: market(),
            side: Side::Bid,
            quantity: Quantity(1_000_000),
            limit: Price::whole(limit),
        });
        let mut bytes = Vec::new();
        self.client.place(&order, now, &mut bytes);
        self.send(Asked::Place(OrderId(id)), &bytes, now)
    }

    fn ask(&mut self, asked: Asked, now: Time) -> Result<Vec<Told>, ReplyError> {
        let mut bytes = Vec::new();
        match asked {
            Asked::Cancel(id) => self.client.cancel(id, market(), now, &mut bytes),
            Asked::Orders => self.client.orders(
                &OrdersQuery {
                    from: OrderId(0),
                    about: &[],
                    since: Time::ZERO,
                },
                now,
                &mut bytes,
            ),
            Asked::Account => self.client.account(now, &mut bytes),
            Asked::Place(_) => unreachable!("place has its own helper"),
            Asked::Fills(_) | Asked::Entry | Asked::Public(_) => unreachable!("not asked here"),
        }
        self.send(asked, &bytes, now)
    }

    fn send(&mut self, asked: Asked, bytes: &[u8], now: Time) -> Result<Vec<Told>, ReplyError> {
        let request = whole_request(bytes);
        let served = ServerRequest {
            peer: "here",
            method: request.method,
            target: request.target,
            headers: &request.headers,
            body: &request.body,
        };
        let reply = self.server.handle_request(&served, now, &mut |_, _| ());
        let ServerReply::Answer { status, body, .. } = reply else {
            return Err(ReplyError::Unknown);
        };
        let mut told = Vec::new();
        self.client
            .decode_reply(asked, status, &body, now, &mut |fact| told.push(fact))?;
        Ok(told)
    }
}

fn state(told: &[Told]) -> VenueOrderState {
    match told {
        [Told::Order(report)] | [Told::Order(report), Told::End] => report.state,
        other => panic!("one order belongs here: {other:?}"),
    }
}

const START: Time = Time(1_700_000_000_000_000_000);

fn flow() -> Source {
    Source::Flow {
        price: Price::whole(100),
    }
}

fn whole_request(bytes: &[u8]) -> Request<'_> {
    parse_request(bytes, 65_536).unwrap().unwrap()
}

fn market() -> Market {
    Market {
        venue: "here".parse().unwrap(),
        pair: pair(),
    }
}

fn pair() -> Pair {
    "BTC/USD".parse().unwrap()
}

fn serve(seed: u64, source: Source) -> SimulatedServer {
    SimulatedServer::new(settings(seed, source)).unwrap()
}

fn settings(seed: u64, source: Source) -> ServerSettings {
    ServerSettings {
        rules: RULES,
        maker_fee_ppm: 0,
        markets: vec![(pair(), source)],
        accounts: Vec::new(),
        seed,
        faults: Vec::new(),
        requests_per_s: REQUESTS_PER_S,
        personality: None,
    }
}

/// Returns true where buying here and selling there pays both fees.
fn pays(here: &SimulatedServer, there: &SimulatedServer) -> bool {
    let ask = here.levels(pair(), Side::Ask)[0].price;
    let bid = there.levels(pair(), Side::Bid)[0].price;
    ask.moved_ppm_ceil(2_000) < bid.moved_ppm(-2_000)
}
