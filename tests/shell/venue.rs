//! A served venue, its feed and its order connections over loopback.

use std::cell::RefCell;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use expressnet::model::currency::Currency;
use expressnet::model::ids::{OrderId, RequestNo};
use expressnet::model::instrument::{Market, Pair, VenueId};
use expressnet::model::market::Side;
use expressnet::model::number::{Price, Quantity};
use expressnet::model::sealed::{Approved, ApprovedOrder};
use expressnet::model::time::{Span, Time};
use expressnet::model::trade::VenueOrderState;
use expressnet::node::input::Outcome;
use expressnet::shell::VenueSink;
use expressnet::shell::clock::Clock;
use expressnet::shell::feed::{self, FeedHandle, FeedSettings, Stream};
use expressnet::shell::orders::{self, OrdersHandle, OrdersSettings};
use expressnet::shell::socket::Trust;
use expressnet::shell::ticks::read_ticks;
use expressnet::shell::venue_server::{Served, serve};
use expressnet::venue::history::{ReplaySettings, pair_of_file_name};
use expressnet::venue::registry::find;
use expressnet::venue::serving::fault::Fault;
use expressnet::venue::serving::market::Source;
use expressnet::venue::serving::{AccountSettings, ServerSettings};
use expressnet::venue::simulated::RULES;
use expressnet::venue::simulated::server::SimulatedServer;
use expressnet::venue::{
    Ask, Asked, Credentials, Feed, Framing, Heard, OrderClient, OrdersQuery, Refusal, ReplyError,
    Server, Setup, Told,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::shell::world::on_local_set;

#[test]
fn an_order_goes_out_shows_on_the_feed_and_is_looked_up() {
    local(async {
        let mut world = World::new(Vec::new()).await;
        assert!(matches!(world.next().await, Event::Up));
        world
            .client
            .login(NOW, &mut |frame| world.feed_handle.send(frame));
        world.feed.subscribe(NOW, &mut |ask| {
            if let Ask::Frame(frame) = ask {
                world.feed_handle.send(frame);
            }
        });
        let bids = world.next_heard(|heard| match heard {
            Heard::Book(update) => Some(update.bids.len()),
            Heard::Order(_) | Heard::EngineLag(_) | Heard::Account | Heard::Alive => None,
        });
        assert_eq!(bids.await, 10);
        let told = world.place(7, 1, 90).await.unwrap();
        assert_eq!(state(&told), VenueOrderState::Open);
        let reported = world.next_heard(|heard| match heard {
            Heard::Order(report) => Some(*report),
            Heard::Book(_) | Heard::EngineLag(_) | Heard::Account | Heard::Alive => None,
        });
        let reported = reported.await;
        assert_eq!(reported.id, Some(OrderId(7)));
        assert_eq!(reported.state, VenueOrderState::Open);
        let duplicate = world.place(7, 1, 90).await;
        assert_eq!(duplicate, Err(ReplyError::Rejected(Refusal::Duplicate)));
        let told = world.ask(Asked::Cancel(OrderId(7))).await.unwrap();
        assert_eq!(state(&told), VenueOrderState::Closed);
        let told = world.place(8, 1, 120).await.unwrap();
        assert_eq!(state(&told), VenueOrderState::Closed);
        let told = world.ask(Asked::Orders).await.unwrap();
        assert_eq!(told.len(), 3);
        assert_eq!(told[2], Told::End);
        let told = world.ask(Asked::Account).await.unwrap();
        assert!(told.contains(&Told::Rights {
            may_trade: true,
            may_withdraw: false
        }));
    });
}

#[test]
fn a_wrong_signature_is_refused() {
    local(async {
        let mut world = World::new(Vec::new()).await;
        world.client = find("simulated")
            .unwrap()
            .order_client(&world.setup, credentials("wrong"))
            .unwrap();
        let placed = world.place(1, 1, 90).await;
        assert_eq!(placed, Err(ReplyError::Rejected(Refusal::Access)));
        let told = world.ask(Asked::Account).await;
        assert_eq!(told, Err(ReplyError::Rejected(Refusal::Access)));
    });
}

#[test]
fn a_lost_reply_is_lost_and_the_order_is_there() {
    local(async {
        let mut world = World::new(vec![(Fault::LostReplies, 1_000_000)]).await;
        assert_eq!(world.place(1, 1, 90).await, Err(ReplyError::Unknown));
        assert_eq!(world.place(1, 1, 90).await, Err(ReplyError::Unknown));
    });
}

#[test]
fn a_disconnected_feed_comes_back() {
    local(async {
        let mut world = World::new(vec![(Fault::Disconnects, 1_000_000)]).await;
        assert!(matches!(world.next().await, Event::Up));
        world.feed.subscribe(NOW, &mut |ask| {
            if let Ask::Frame(frame) = ask {
                world.feed_handle.send(frame);
            }
        });
        loop {
            if matches!(world.next().await, Event::Down) {
                break;
            }
        }
        assert!(matches!(world.next().await, Event::Up));
        world.feed_handle.reconnect();
        assert!(matches!(world.next().await, Event::Down));
        assert!(matches!(world.next().await, Event::Up));
    });
}

#[test]
fn an_enormous_body_is_refused_unread_and_the_venue_lives() {
    local(async {
        let mut world = World::new(Vec::new()).await;
        let mut stream = TcpStream::connect(world.served.address()).await.unwrap();
        let head = b"POST /order HTTP/1.1\r\nHost: h\r\nContent-Length: 1073741824\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut reply = [0; 12];
        stream.read_exact(&mut reply).await.unwrap();
        assert_eq!(&reply, b"HTTP/1.1 413");
        let mut endless = TcpStream::connect(world.served.address()).await.unwrap();
        let head = b"POST /order HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        endless.write_all(head).await.unwrap();
        let chunk = format!("8000\r\n{}\r\n", "a".repeat(0x8000));
        while endless.write_all(chunk.as_bytes()).await.is_ok() {
            if timeout(Duration::from_millis(1), endless.readable())
                .await
                .is_ok()
            {
                break;
            }
        }
        assert!(world.place(1, 1, 90).await.is_ok());
    });
}

#[test]
fn frames_that_are_no_text_end_only_their_own_stream() {
    local(async {
        let mut world = World::new(Vec::new()).await;
        let mut stream = TcpStream::connect(world.served.address()).await.unwrap();
        let hello = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(hello.as_bytes()).await.unwrap();
        stream
            .write_all(&[0x81, 0x82, 0, 0, 0, 0, 0xFF, 0xFE])
            .await
            .unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
        assert!(rest.starts_with(b"HTTP/1.1 101"));
        assert!(world.place(1, 1, 90).await.is_ok());
    });
}

#[test]
fn where_nobody_listens_nothing_was_sent() {
    local(async {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let (sink, mut events) = Recorder::record();
        let handle = orders::start(&plain(&format!("http://{address}")), sink).unwrap();
        let request = b"POST /order HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".to_vec();
        for asked in [Asked::Place(OrderId(1)), Asked::Account] {
            handle.send(RequestNo(1), asked, request.clone()).unwrap();
            let event = timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
            assert!(matches!(event, Event::NotSent), "{event:?}");
        }
        assert!(orders::start(&plain("ftp://h:1"), Recorder::record().0).is_err());
    });
}

#[test]
fn a_silent_or_babbling_venue_loses_replies() {
    local(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sink, mut events) = Recorder::record();
        let handle = orders::start(&plain(&format!("http://{address}")), sink).unwrap();
        let babble = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec();
        for answer in [Vec::new(), b"nonsense\r\n\r\n".to_vec(), babble] {
            let request = b"POST /order HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".to_vec();
            handle
                .send(RequestNo(1), Asked::Place(OrderId(1)), request)
                .unwrap();
            let mut idle = Vec::new();
            let event = loop {
                tokio::select! {
                    event = events.recv() => break event.unwrap(),
                    accepted = listener.accept() => {
                        let (mut stream, _) = accepted.unwrap();
                        let answer = answer.clone();
                        idle.push(tokio::task::spawn_local(async move {
                            let mut bytes = [0; 1024];
                            if stream.read(&mut bytes).await.is_ok_and(|len| len > 0) {
                                stream.write_all(&answer).await.ok();
                            }
                        }));
                    }
                }
            };
            assert!(matches!(event, Event::Lost), "{event:?}");
        }
    });
}

#[test]
fn recorded_ticks_are_served() {
    let Some(folder) = history() else {
        return;
    };
    let file = folder.join("mtgoxSEK.csv.gz");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".csv.gz") {
            assert!(pair_of_file_name(&name).is_some(), "{name}");
            let ticks = read_ticks(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(ticks.is_sorted_by_key(|tick| tick.unix_s), "{name}");
        }
    }
    let pair = pair_of_file_name("mtgoxSEK.csv.gz").unwrap();
    let ticks = read_ticks(&file).unwrap();
    local(async move {
        let settings = ReplaySettings::new(ticks[0].unix_s, 60);
        let market = (pair, Source::History { ticks, settings });
        let mut world = World::with_market(market, Vec::new()).await;
        assert!(matches!(world.next().await, Event::Up));
        world.feed.subscribe(NOW, &mut |ask| {
            if let Ask::Frame(frame) = ask {
                world.feed_handle.send(frame);
            }
        });
        let best = world.next_heard(|heard| match heard {
            Heard::Book(update) => update.asks.first().copied(),
            Heard::Order(_) | Heard::EngineLag(_) | Heard::Account | Heard::Alive => None,
        });
        let best = best.await;
        assert!(best.price > Price::whole(50) && best.price < Price::whole(60));
        assert_eq!(best.quantity, Quantity::whole(6));
    });
}

#[test]
fn two_histories_of_one_origin_cross_each_other() {
    let Some(folder) = history() else {
        return;
    };
    let pair: Pair = "BTC/SEK".parse().unwrap();
    let mut servers = ["mtgoxSEK.csv.gz", "kptnSEK.csv.gz"].map(|name| {
        let ticks = read_ticks(&folder.join(name)).unwrap();
        let mut settings = ReplaySettings::new(1_352_000_000, 36_000);
        settings.started = Some(NOW);
        let source = Source::History { ticks, settings };
        SimulatedServer::new(settings_of((pair, source), Vec::new())).unwrap()
    });
    let (mut now, mut windows, mut was_open) = (NOW, 0, false);
    let end = NOW + Span::secs(600);
    while now < end {
        let deadlines = servers
            .each_mut()
            .map(|server| server.handle_deadline(now, &mut |_, _| ()));
        let best = servers.each_ref().map(|server| {
            let best = |side| server.levels(pair, side).first().map(|level| level.price);
            (best(Side::Bid), best(Side::Ask))
        });
        let pays = |ask: Option<Price>, bid: Option<Price>| {
            let (Some(ask), Some(bid)) = (ask, bid) else {
                return false;
            };
            ask.moved_ppm_ceil(2_000) < bid.moved_ppm(-2_000)
        };
        let is_open = pays(best[0].1, best[1].0) || pays(best[1].1, best[0].0);
        windows += u32::from(is_open && !was_open);
        was_open = is_open;
        now = deadlines.into_iter().flatten().min().unwrap();
    }
    assert!(windows > 20, "{windows} windows");
    assert!(servers.iter().all(|server| server.imbalance().is_none()));
}

const PATIENCE: Duration = Duration::from_secs(20);
const EVERY_ORDER: OrdersQuery<'_> = OrdersQuery {
    from: OrderId(0),
    about: &[],
    since: Time::ZERO,
};

const NOW: Time = Time(1_700_000_000_000_000_000);

#[derive(Debug)]
enum Event {
    Up,
    Down,
    Frame(Vec<u8>),
    Reply(u16, Vec<u8>),
    NotSent,
    Lost,
}

/// Hands everything the shell tells into a queue.
struct Recorder(mpsc::Sender<Event>);

impl Recorder {
    fn record() -> (Rc<dyn VenueSink>, mpsc::Receiver<Event>) {
        let (sender, events) = mpsc::channel(10_000);
        (Rc::new(Self(sender)), events)
    }
}

impl VenueSink for Recorder {
    fn feed_up(&self, _venue: VenueId) {
        self.0.try_send(Event::Up).unwrap();
    }

    fn feed_down(&self, _venue: VenueId, _why: &str) {
        self.0.try_send(Event::Down).unwrap();
    }

    fn feed_frame(&self, _venue: VenueId, bytes: &[u8]) {
        self.0.try_send(Event::Frame(bytes.to_vec())).unwrap();
    }

    fn reply(&self, _venue: VenueId, _request: RequestNo, _asked: Asked, outcome: Outcome<'_>) {
        let event = match outcome {
            Outcome::Reply { status, body } => Event::Reply(status, body.to_vec()),
            Outcome::NotSent => Event::NotSent,
            Outcome::Lost => Event::Lost,
        };
        self.0.try_send(event).unwrap();
    }
}

struct World {
    setup: Setup,
    served: Served,
    feed: Box<dyn Feed>,
    feed_handle: FeedHandle,
    feed_events: mpsc::Receiver<Event>,
    client: Box<dyn OrderClient>,
    orders: OrdersHandle,
    replies: mpsc::Receiver<Event>,
    told: RefCell<u64>,
}

impl World {
    async fn new(faults: Vec<(Fault, u32)>) -> Self {
        let pair: Pair = "BTC/USD".parse().unwrap();
        let price = Price::whole(100);
        Self::with_market((pair, Source::Flow { price }), faults).await
    }

    async fn with_market(market: (Pair, Source), faults: Vec<(Fault, u32)>) -> Self {
        let dialect = find("simulated").unwrap();
        let pair = market.0;
        let settings = settings_of(market, faults);
        let server = dialect.server(settings).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let served = serve(any, server, Clock::start()).await.unwrap();
        let address = served.address();
        let setup = Setup {
            venue: venue(),
            host: address.to_string(),
            pairs: vec![pair],
            rules: Vec::new(),
            framing: Framing::Plain,
        };
        let (feed_sink, feed_events) = Recorder::record();
        let feed_settings = FeedSettings {
            venue: venue(),
            stream: Stream::Plain(format!("ws://{address}/ws")),
            trust: Trust::NONE,
            seed: 1,
        };
        let (orders_sink, replies) = Recorder::record();
        Self {
            served,
            feed: dialect.feed(&setup),
            feed_handle: feed::start(feed_settings, feed_sink),
            feed_events,
            client: dialect.order_client(&setup, credentials("secret")).unwrap(),
            orders: orders::start(&plain(&format!("http://{address}")), orders_sink).unwrap(),
            replies,
            setup,
            told: RefCell::new(0),
        }
    }

    async fn next(&mut self) -> Event {
        timeout(PATIENCE, self.feed_events.recv())
            .await
            .unwrap()
            .unwrap()
    }

    async fn next_heard<T>(&mut self, pick: impl Fn(&Heard<'_>) -> Option<T>) -> T {
        loop {
            if let Event::Frame(frame) = self.next().await {
                let mut picked = None;
                let decoded = self
                    .feed
                    .decode(&frame, NOW, &mut |heard| picked = pick(&heard));
                assert_eq!(decoded, Ok(()));
                if let Some(picked) = picked {
                    return picked;
                }
            }
        }
    }

    async fn place(&mut self, id: u64, quantity: i64, limit: i64) -> Result<Vec<Told>, ReplyError> {
        let order = Approved::seal(ApprovedOrder {
            id: OrderId(id),
            market: self.market(),
            side: Side::Bid,
            quantity: Quantity::whole(quantity),
            limit: Price::whole(limit),
        });
        let mut bytes = Vec::new();
        self.client.place(&order, NOW, &mut bytes);
        self.send(Asked::Place(OrderId(id)), bytes).await
    }

    async fn ask(&mut self, asked: Asked) -> Result<Vec<Told>, ReplyError> {
        let mut bytes = Vec::new();
        match asked {
            Asked::Cancel(id) => self.client.cancel(id, self.market(), NOW, &mut bytes),
            Asked::Orders => self.client.orders(&EVERY_ORDER, NOW, &mut bytes),
            Asked::Account => self.client.account(NOW, &mut bytes),
            Asked::Place(_) => unreachable!("place has its own helper"),
            Asked::Fills(_) | Asked::Entry | Asked::Public(_) => unreachable!("not asked here"),
        }
        self.send(asked, bytes).await
    }

    async fn send(&mut self, asked: Asked, bytes: Vec<u8>) -> Result<Vec<Told>, ReplyError> {
        let request = RequestNo(self.told.replace_with(|told| *told + 1));
        self.orders
            .send(request, asked, bytes)
            .expect("the lane has room");
        let event = timeout(PATIENCE, self.replies.recv())
            .await
            .expect("a reply in time");
        let Some(Event::Reply(status, body)) = event else {
            return Err(ReplyError::Unknown);
        };
        let mut told = Vec::new();
        self.client
            .decode_reply(asked, status, &body, NOW, &mut |fact| told.push(fact))?;
        Ok(told)
    }

    fn market(&self) -> Market {
        Market {
            venue: venue(),
            pair: self.setup.pairs[0],
        }
    }
}

/// Returns the folder of recorded ticks, where there is one.
fn history() -> Option<PathBuf> {
    let fixtures = std::env::var_os("EXPRESSNET_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
        PathBuf::from,
    );
    let folder = fixtures.join("history");
    if !folder.exists() {
        // Written past the capture of the test harness, so that the skip is seen.
        let line = format!("SKIPPED: no recorded ticks in {}\n", folder.display());
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return None;
    }
    Some(folder)
}

fn settings_of(market: (Pair, Source), faults: Vec<(Fault, u32)>) -> ServerSettings {
    ServerSettings {
        rules: RULES,
        maker_fee_ppm: 2_000,
        markets: vec![market],
        accounts: vec![AccountSettings {
            credentials: credentials("secret"),
            balances: vec![(Currency::USD, Quantity::whole(1_000))],
            may_withdraw: false,
        }],
        seed: 1,
        faults,
        requests_per_s: 200,
        personality: None,
    }
}

fn local(test: impl Future<Output = ()>) {
    on_local_set(async {
        timeout(Duration::from_secs(60), test).await.unwrap();
    });
}

fn state(told: &[Told]) -> VenueOrderState {
    match told {
        [Told::Order(report)] => report.state,
        other => panic!("one order belongs here: {other:?}"),
    }
}

fn plain(http: &str) -> OrdersSettings {
    OrdersSettings {
        venue: venue(),
        http: http.to_owned(),
        ca_pem: None,
        may_order: true,
    }
}

fn venue() -> VenueId {
    "here".parse().unwrap()
}

fn credentials(secret: &str) -> Credentials {
    Credentials {
        key: "key".to_owned(),
        secret: secret.to_owned(),
    }
}
