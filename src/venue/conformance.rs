//! What every registered dialect must pass, its adapter against its own served side.

use std::collections::BTreeSet;

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::instrument::Market;
use crate::model::market::{Level, Side, UpdateKind};
use crate::model::number::{Price, Quantity};
use crate::model::random::Random;
use crate::model::sealed::{Approved, ApprovedOrder};
use crate::model::time::{Span, Time};
use crate::model::trade::{OrderReport, VenueOrderState};
use crate::venue::http::{Request, parse_request};
use crate::venue::registry::VENUES;
use crate::venue::serving::market::Source;
use crate::venue::serving::{AccountSettings, ServerSettings};
use crate::venue::{
    Ask, Asked, Credentials, Dialect, Feed, Framing, Heard, OrderClient, OrdersQuery, Refusal,
    ReplyError, Server, ServerReply, ServerRequest, Setup, StreamNo, Told,
};

#[test]
fn names_are_unique_and_fit_a_config() {
    let names: BTreeSet<&str> = VENUES.iter().map(|dialect| dialect.name()).collect();
    assert_eq!(names.len(), VENUES.len());
    for name in names {
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
    }
}

#[test]
fn a_subscription_says_something_and_brings_a_book() {
    for dialect in VENUES {
        let mut world = World::new(*dialect);
        let frames = world.subscribe();
        let books = world.books(&frames);
        assert!(!books.is_empty(), "{}", dialect.name());
        assert_eq!(books[0].kind, UpdateKind::Snapshot);
    }
}

#[test]
fn no_bytes_make_a_feed_panic() {
    for dialect in VENUES {
        let mut world = World::new(*dialect);
        let mut frames = world.subscribe();
        frames.extend(world.run(20));
        let mut random = Random::new(1);
        for frame in frames.iter().take(8) {
            for cut in 0..frame.len() {
                let mut heard = 0;
                let decoded = world.feed.decode(&frame[..cut], NOW, &mut |_| heard += 1);
                assert!(decoded.is_err(), "{}: cut at {cut}", dialect.name());
                assert_eq!(heard, 0);
            }
        }
        for _ in 0..20_000 {
            let pick = usize::try_from(random.below(frames.len() as u64)).unwrap();
            let mut frame = frames[pick].clone();
            for _ in 0..=random.below(4) {
                let at = usize::try_from(random.below(frame.len() as u64)).unwrap();
                frame[at] = random.next_u64().to_le_bytes()[0];
            }
            world.ignore(&frame);
            let noise: Vec<u8> = (0..random.below(64))
                .map(|_| random.next_u64().to_le_bytes()[0])
                .collect();
            world.ignore(&noise);
            for asked in [Asked::Place(OrderId(1)), Asked::Orders, Asked::Account] {
                let status = if random.below(2) == 0 { 200 } else { 400 };
                // Only a panic would matter here.
                world
                    .client
                    .decode_reply(asked, status, &noise, NOW, &mut |_| ())
                    .ok();
            }
        }
    }
}

#[test]
fn a_lost_frame_shows_as_a_gap_and_a_resync_gives_the_same_book() {
    for dialect in VENUES
        .iter()
        .filter(|dialect| dialect.card().sequenced_books)
    {
        let mut world = World::new(*dialect);
        let mut mirror = Mirror::default();
        let mut frames = world.subscribe();
        frames.extend(world.run(20));
        for book in world.books(&frames) {
            assert!(
                mirror.apply(&book),
                "{}: a gap without a loss",
                dialect.name()
            );
        }
        let mut later = world.run(20);
        let lost = later
            .iter()
            .position(|frame| !world.books(std::slice::from_ref(frame)).is_empty());
        later.remove(lost.unwrap());
        let books = world.books(&later);
        assert!(
            !mirror.apply(&books[0]),
            "{}: the gap is not seen",
            dialect.name()
        );
        let frames = world.resync();
        let mut fresh = Mirror::default();
        for book in world.books(&frames) {
            assert!(fresh.apply(&book));
        }
        let mut undisturbed = World::new(*dialect);
        let mut all = undisturbed.subscribe();
        all.extend(undisturbed.run(20));
        all.extend(undisturbed.run(20));
        let mut expected = Mirror::default();
        for book in undisturbed.books(&all) {
            assert!(expected.apply(&book));
        }
        assert_eq!(fresh, expected, "{}", dialect.name());
    }
}

#[test]
fn an_order_is_placed_looked_up_and_cancelled() {
    for dialect in VENUES {
        let mut world = World::new(*dialect);
        world.run(1);
        let approved = world.approved(7, Side::Bid, 1, 50);
        let placed = world.ask(Asked::Place(OrderId(7)), |client, request| {
            client.place(&approved, NOW, request);
        });
        assert_eq!(one_order(&placed.unwrap()).state, VenueOrderState::Open);
        let account = world.ask(Asked::Account, |client, request| {
            client.account(NOW, request)
        });
        let account = account.unwrap();
        assert!(account.contains(&Told::Balance {
            currency: Currency::USD,
            free: Quantity::whole(950),
            held: Quantity::whole(50),
        }));
        assert_eq!(account.last(), Some(&Told::End));
        let market = world.market();
        let cancelled = world.ask(Asked::Cancel(OrderId(7)), |client, request| {
            client.cancel(OrderId(7), market, NOW, request);
        });
        assert_eq!(
            one_order(&cancelled.unwrap()).state,
            VenueOrderState::Closed
        );
        let orders = world.ask(Asked::Orders, |client, request| {
            let query = OrdersQuery {
                from: OrderId(0),
                about: &[],
                since: Time::ZERO,
            };
            client.orders(&query, NOW, request);
        });
        assert_eq!(orders.unwrap().len(), 2);
    }
}

#[test]
fn refusals_say_why() {
    for dialect in VENUES {
        let mut world = World::new(*dialect);
        world.run(1);
        let large = world.approved(1, Side::Bid, 1_000, 50);
        let poor = world.ask(Asked::Place(OrderId(1)), |client, request| {
            client.place(&large, NOW, request);
        });
        assert_eq!(poor, Err(ReplyError::Rejected(Refusal::Funds)));
        if dialect.card().client_order_ids {
            let small = world.approved(2, Side::Bid, 1, 50);
            for expected in [Ok(()), Err(ReplyError::Rejected(Refusal::Duplicate))] {
                let placed = world.ask(Asked::Place(OrderId(2)), |client, request| {
                    client.place(&small, NOW, request);
                });
                assert_eq!(placed.map(|_| ()), expected);
            }
        }
        world.client = dialect.order_client(&world.setup, credentials("wrong"));
        let account = world.ask(Asked::Account, |client, request| {
            client.account(NOW, request)
        });
        assert_eq!(account, Err(ReplyError::Rejected(Refusal::Access)));
    }
}

#[test]
fn unreadable_answers_leave_the_outcome_unknown() {
    for dialect in VENUES {
        let mut world = World::new(*dialect);
        for (status, body) in [
            (200, "{"),
            (502, "{}"),
            (404, "<html>"),
            (100, ""),
            (302, ""),
        ] {
            for asked in [
                Asked::Place(OrderId(1)),
                Asked::Cancel(OrderId(1)),
                Asked::Orders,
            ] {
                let read =
                    world
                        .client
                        .decode_reply(asked, status, body.as_bytes(), NOW, &mut |_| ());
                assert_eq!(
                    read,
                    Err(ReplyError::Unknown),
                    "{} {status}",
                    dialect.name()
                );
            }
        }
    }
}

const NOW: Time = Time(1_000_000_000_000);
const STREAM: StreamNo = StreamNo(1);

struct World {
    setup: Setup,
    server: Box<dyn Server>,
    feed: Box<dyn Feed>,
    client: Box<dyn OrderClient>,
    now: Time,
}

struct SeenBook {
    kind: UpdateKind,
    sequence: u64,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Mirror {
    sequence: Option<u64>,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

impl World {
    fn new(dialect: &dyn Dialect) -> Self {
        let setup = Setup {
            venue: "here".parse().unwrap(),
            host: "127.0.0.1:1".to_owned(),
            pairs: vec!["BTC/USD".parse().unwrap()],
            rules: Vec::new(),
            framing: Framing::Plain,
        };
        let settings = ServerSettings {
            rules: dialect.card().rules,
            maker_fee_ppm: 0,
            markets: vec![(
                setup.pairs[0],
                Source::Flow {
                    price: Price::whole(100),
                },
            )],
            accounts: vec![AccountSettings {
                credentials: credentials("secret"),
                balances: vec![(Currency::USD, Quantity::whole(1_000))],
                may_withdraw: false,
            }],
            seed: 1,
            faults: Vec::new(),
            requests_per_s: 1_000,
            personality: None,
        };
        Self {
            server: dialect.server(settings).unwrap(),
            feed: dialect.feed(&setup),
            client: dialect.order_client(&setup, credentials("secret")),
            setup,
            now: NOW,
        }
    }

    fn market(&self) -> Market {
        Market {
            venue: self.setup.venue,
            pair: self.setup.pairs[0],
        }
    }

    fn approved(&self, id: u64, side: Side, quantity: i64, limit: i64) -> Approved {
        Approved::seal(ApprovedOrder {
            id: OrderId(id),
            market: self.market(),
            side,
            quantity: Quantity::whole(quantity),
            limit: Price::whole(limit),
        })
    }

    /// Opens a stream and subscribes; returns what the venue sends.
    fn subscribe(&mut self) -> Vec<Vec<u8>> {
        self.run(1);
        assert!(self.server.handle_stream(STREAM, "/ws", self.now));
        let mut asked = Vec::new();
        self.feed
            .subscribe(self.now, &mut |ask| asked.extend(frame_of(ask)));
        self.tell(&asked)
    }

    fn resync(&mut self) -> Vec<Vec<u8>> {
        let market = self.market();
        let mut asked = Vec::new();
        self.feed
            .resync(market, self.now, &mut |ask| asked.extend(frame_of(ask)));
        self.tell(&asked)
    }

    fn tell(&mut self, asked: &[Vec<u8>]) -> Vec<Vec<u8>> {
        assert!(!asked.is_empty());
        let mut pushed = Vec::new();
        for frame in asked {
            assert!(!frame.is_empty());
            self.server
                .handle_frame(STREAM, frame, self.now, &mut |_, frame| {
                    pushed.push(frame.to_vec());
                });
        }
        pushed
    }

    /// Lets the venue live for some tenths of a second.
    fn run(&mut self, tenths: u64) -> Vec<Vec<u8>> {
        let mut pushed = Vec::new();
        for _ in 0..tenths {
            self.now = self.now + Span::millis(100);
            self.server
                .handle_deadline(self.now, &mut |_, frame| pushed.push(frame.to_vec()));
        }
        pushed
    }

    fn books(&mut self, frames: &[Vec<u8>]) -> Vec<SeenBook> {
        let mut books = Vec::new();
        for frame in frames {
            let decoded = self.feed.decode(frame, NOW, &mut |heard| {
                if let Heard::Book(update) = heard {
                    books.push(SeenBook {
                        kind: update.kind,
                        sequence: update.sequence,
                        bids: update.bids.to_vec(),
                        asks: update.asks.to_vec(),
                    });
                }
            });
            assert_eq!(decoded, Ok(()));
        }
        books
    }

    fn ignore(&mut self, frame: &[u8]) {
        // Only a panic would matter here, on either side.
        self.feed.decode(frame, NOW, &mut |_| ()).ok();
        self.server
            .handle_frame(STREAM, frame, self.now, &mut |_, _| ());
    }

    fn ask(
        &mut self,
        asked: Asked,
        write: impl FnOnce(&mut dyn OrderClient, &mut Vec<u8>),
    ) -> Result<Vec<Told>, ReplyError> {
        let mut bytes = Vec::new();
        write(&mut *self.client, &mut bytes);
        let request = whole_request(&bytes);
        let reply = self.server.handle_request(
            &ServerRequest {
                peer: "here",
                method: request.method,
                target: request.target,
                headers: &request.headers,
                body: &request.body,
            },
            self.now,
            &mut |_, _| (),
        );
        let ServerReply::Answer { status, body, .. } = reply else {
            return Err(ReplyError::Unknown);
        };
        let mut told = Vec::new();
        self.client
            .decode_reply(asked, status, &body, self.now, &mut |fact| told.push(fact))?;
        Ok(told)
    }
}

fn frame_of(ask: Ask<'_>) -> Option<Vec<u8>> {
    match ask {
        Ask::Frame(frame) => Some(frame.to_vec()),
        Ask::Get { .. } => None,
    }
}

fn whole_request(bytes: &[u8]) -> Request<'_> {
    let request = parse_request(bytes, 65_536).unwrap().unwrap();
    assert_eq!(request.len, bytes.len());
    request
}

impl Mirror {
    /// Applies an update; false where one before it is missing.
    fn apply(&mut self, book: &SeenBook) -> bool {
        match book.kind {
            UpdateKind::Snapshot => *self = Self::default(),
            UpdateKind::Delta { previous } if self.sequence == Some(previous) => (),
            UpdateKind::Delta { .. } => return false,
        }
        self.sequence = Some(book.sequence);
        for (side, levels) in [(&mut self.bids, &book.bids), (&mut self.asks, &book.asks)] {
            for change in levels {
                side.retain(|level| level.price != change.price);
                if change.quantity.is_positive() {
                    side.push(*change);
                }
            }
            side.sort_by_key(|level| level.price);
        }
        true
    }
}

fn one_order(told: &[Told]) -> OrderReport {
    match told {
        [Told::Order(report)] => *report,
        other => panic!("one order belongs here: {other:?}"),
    }
}

fn credentials(secret: &str) -> Credentials {
    Credentials {
        key: "key".to_owned(),
        secret: secret.to_owned(),
    }
}
