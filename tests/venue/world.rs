//! An adapter and its own served side, driven together without sockets: what the shell and the node
//! do between them, in one loop with a clock of its own.

use std::collections::{BTreeMap, VecDeque};

use expressnet::execution::order::{OrderOutput, OrderState, Orders};
use expressnet::execution::{self};
use expressnet::model::currency::Currency;
use expressnet::model::ids::{EnvelopeId, NodeId, OrderId, PlanId};
use expressnet::model::instrument::{Market, Pair};
use expressnet::model::market::{Level, Side, UpdateKind};
use expressnet::model::number::{Price, Quantity};
use expressnet::model::sealed::{Approved, ApprovedOrder};
use expressnet::model::time::{Span, Time};
use expressnet::model::trade::{Draw, Filled, Purpose};
use expressnet::venue::http::{Request, parse_request, write_request};
use expressnet::venue::serving::fault::Fault;
use expressnet::venue::serving::market::Source;
use expressnet::venue::serving::{AccountSettings, ServerSettings};
use expressnet::venue::{
    Ask, Asked, Credentials, DecodeError, Dialect, Feed, Framing, Heard, OrderClient, OrdersQuery,
    ReplyError, Server, ServerReply, ServerRequest, Setup, StreamNo, Ticket, Told, socketio,
};

/// What a world is made of.
pub(crate) struct Plan {
    pub(crate) framing: Framing,
    pub(crate) faults: Vec<(Fault, u32)>,
    pub(crate) balances: Vec<(Currency, Quantity)>,
    pub(crate) seed: u64,
    pub(crate) personality: Option<String>,
    pub(crate) may_withdraw: bool,
}

impl Plan {
    /// No faults, and what the dialect streams at its best.
    pub(crate) fn calm(dialect: &dyn Dialect) -> Self {
        Self {
            framing: match dialect.card().paths.ws {
                Some(_) => Framing::Plain,
                None => Framing::Polled,
            },
            faults: Vec::new(),
            balances: vec![
                (Currency::USD, Quantity::whole(1_000)),
                (Currency::BTC, Quantity::whole(10)),
            ],
            seed: 1,
            personality: None,
            may_withdraw: false,
        }
    }
}

/// The two sides, and what the adapter's owner would know.
pub(crate) struct World {
    pub(crate) dialect: &'static dyn Dialect,
    pub(crate) setup: Setup,
    pub(crate) server: Box<dyn Server>,
    pub(crate) feed: Box<dyn Feed>,
    pub(crate) client: Box<dyn OrderClient>,
    pub(crate) orders: Orders,
    pub(crate) now: Time,
    pub(crate) book: Book,
    /// Orders that ended with something filled.
    ended: Vec<(Side, Filled, OrderId)>,
    /// Signed units by currency, moved by fills.
    pub(crate) moved: BTreeMap<Currency, i64>,
    /// Facts told since the test looked last.
    pub(crate) told: Vec<Told>,
    pub(crate) heard: Vec<&'static str>,
    pub(crate) frames: VecDeque<Vec<u8>>,
    /// What was asked for and when: targets of documents, frames sent.
    pub(crate) asked: Vec<(Time, String)>,
    /// How far the venue's clock is ahead.
    pub(crate) skew: Span,
    /// Documents and replies as they came, some of each kind.
    pub(crate) bodies: Vec<(Door, Vec<u8>)>,
    pub(crate) refused_frames: u64,
    pub(crate) refusals: BTreeMap<String, u64>,
    pub(crate) reconnects: u64,
    stream: Option<StreamNo>,
    streams: u64,
    tend_at: Option<Time>,
    up_at: Time,
    list: Option<u64>,
    requests: u64,
}

/// A book as updates make it, with its gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Book {
    pub(crate) sequence: Option<u64>,
    pub(crate) bids: BTreeMap<Price, Quantity>,
    pub(crate) asks: BTreeMap<Price, Quantity>,
    pub(crate) updates: u64,
    pub(crate) gaps: u64,
    /// An update is missing, until the next snapshot.
    is_broken: bool,
    pub(crate) engine_lag: Span,
}

impl Book {
    pub(crate) fn is_crossed(&self) -> bool {
        let (bid, ask) = (self.bids.last_key_value(), self.asks.first_key_value());
        matches!((bid, ask), (Some((bid, _)), Some((ask, _))) if bid >= ask)
    }

    fn apply(&mut self, kind: UpdateKind, sequence: u64, bids: &[Level], asks: &[Level]) {
        self.updates += 1;
        match kind {
            UpdateKind::Snapshot => {
                self.is_broken = false;
                self.bids.clear();
                self.asks.clear();
            }
            UpdateKind::Delta { previous } if self.sequence == Some(previous) => (),
            UpdateKind::Delta { .. } => {
                self.gaps += u64::from(!self.is_broken);
                self.is_broken = true;
                return;
            }
        }
        self.sequence = Some(sequence);
        for (side, levels) in [(&mut self.bids, bids), (&mut self.asks, asks)] {
            for level in levels {
                match level.quantity.is_positive() {
                    true => side.insert(level.price, level.quantity),
                    false => side.remove(&level.price),
                };
            }
        }
    }
}

const LEADER: NodeId = NodeId([7; 16]);

impl World {
    pub(crate) fn new(dialect: &'static dyn Dialect, plan: Plan) -> Self {
        let pair: Pair = "BTC/USD".parse().unwrap();
        let rules = dialect.rules(pair);
        let setup = Setup {
            venue: "here".parse().unwrap(),
            host: "127.0.0.1:1".to_owned(),
            pairs: vec![pair],
            rules: Vec::new(),
            framing: plan.framing,
        };
        let price = Price::whole(100);
        let settings = ServerSettings {
            rules,
            maker_fee_ppm: rules.taker_fee_ppm,
            markets: vec![(pair, Source::Flow { price })],
            accounts: vec![AccountSettings {
                credentials: credentials("c2VjcmV0IG9mIGEgdGVzdA=="),
                balances: plan.balances,
                may_withdraw: plan.may_withdraw,
            }],
            seed: plan.seed,
            faults: plan.faults,
            requests_per_s: 10_000,
            personality: plan.personality,
        };
        let mut world = Self {
            dialect,
            server: dialect.server(settings).unwrap(),
            feed: dialect.feed(&setup),
            client: dialect
                .order_client(&setup, credentials("c2VjcmV0IG9mIGEgdGVzdA=="))
                .unwrap(),
            setup,
            orders: Orders::new(&times()),
            now: Time(1_400_000_000_000_000_000),
            book: Book::default(),
            ended: Vec::new(),
            moved: BTreeMap::new(),
            told: Vec::new(),
            heard: Vec::new(),
            frames: VecDeque::new(),
            asked: Vec::new(),
            skew: Span::ZERO,
            bodies: Vec::new(),
            refused_frames: 0,
            refusals: BTreeMap::new(),
            reconnects: 0,
            stream: None,
            streams: 0,
            tend_at: None,
            up_at: Time::ZERO,
            list: None,
            requests: 0,
        };
        world.grant_nonces();
        world.serve();
        world.connect();
        world
    }

    pub(crate) fn market(&self) -> Market {
        Market {
            venue: self.setup.venue,
            pair: self.setup.pairs[0],
        }
    }

    /// Lets time pass in small steps.
    pub(crate) fn run(&mut self, span: Span) {
        let end = self.now + span;
        while self.now < end {
            self.step(Span::millis(50).min(end.since(self.now)));
        }
    }

    pub(crate) fn step(&mut self, span: Span) {
        self.now = self.now + span;
        self.serve();
        if self.stream.is_none() && self.setup.framing != Framing::Polled && self.up_at <= self.now
        {
            self.connect();
        }
        if self.tend_at.is_some_and(|at| at <= self.now) {
            self.tend();
        }
        self.orders.handle_deadline(self.now);
        self.settle();
    }

    /// Sends an order and takes note of it as the desk does; returns what was told at once.
    pub(crate) fn place(&mut self, id: u64, side: Side, quantity: Quantity, limit: Price) {
        let approved = Approved::seal(ApprovedOrder {
            id: OrderId(id),
            market: self.market(),
            side,
            quantity,
            limit,
        });
        let draw = Draw {
            envelope: EnvelopeId(1),
            order: OrderId(id),
            plan: PlanId(1),
            quantity,
            limit,
            purpose: Purpose::Open,
        };
        self.orders.fire(&approved, draw, LEADER, self.now);
        let now = self.now;
        self.ask(Asked::Place(OrderId(id)), |client, request| {
            client.place(&approved, now, request);
        });
        self.settle();
    }

    /// Makes a quantity unique among open orders of a side, as the desk does.
    pub(crate) fn tagged(&self, side: Side, quantity: Quantity) -> Quantity {
        let mut tagged = quantity;
        let is_taken = |quantity: Quantity| {
            self.orders
                .open()
                .any(|order| order.intent.side == side && order.intent.quantity == quantity)
        };
        while is_taken(tagged) {
            tagged = Quantity(tagged.0 + 1);
        }
        tagged
    }

    pub(crate) fn ask_account(&mut self) -> Vec<Told> {
        let now = self.now;
        self.told.clear();
        self.ask(Asked::Account, |client, request| {
            client.account(now, request);
        });
        std::mem::take(&mut self.told)
    }

    /// Writes a request, lets the venue answer it, and reads the answer.
    pub(crate) fn ask(
        &mut self,
        asked: Asked,
        write: impl FnOnce(&mut dyn OrderClient, &mut Vec<u8>),
    ) {
        self.grant_nonces();
        let mut bytes = Vec::new();
        write(&mut *self.client, &mut bytes);
        if bytes.is_empty() {
            if let Asked::Cancel(id) = asked {
                self.orders.handle_cancel_refused(id, self.now);
            }
            return;
        }
        self.send(asked, &bytes);
    }

    fn send(&mut self, asked: Asked, bytes: &[u8]) {
        self.requests += 1;
        let number = self.requests;
        if asked == Asked::Orders {
            self.list = Some(number);
        }
        let reply = self.answer(bytes);
        if let Some((200, body)) = &reply {
            self.keep(Door::Reply(asked), body);
        }
        let now = self.now;
        let mut facts = Vec::new();
        let result = match &reply {
            Some((status, body)) => {
                let client = &mut self.client;
                client.decode_reply(asked, *status, body, now, &mut |fact| facts.push(fact))
            }
            None => {
                let client = &mut self.client;
                client.handle_lost(asked, now, &mut |fact| facts.push(fact))
            }
        };
        if let Err(why) = result {
            let kind = format!("{asked:?}");
            let kind = kind.split('(').next().unwrap_or_default().to_owned();
            *self.refusals.entry(format!("{kind}: {why}")).or_default() += 1;
        }
        self.hear_told(&facts);
        match (asked, result) {
            (Asked::Place(id), Err(ReplyError::Rejected(_))) => {
                self.orders.handle_rejected(id, now);
            }
            (Asked::Place(id), Err(ReplyError::Unknown)) => self.orders.handle_unknown(id, now),
            (Asked::Cancel(id), Err(_)) => self.orders.handle_cancel_refused(id, now),
            (Asked::Orders, result) if self.list == Some(number) => {
                let venue = self.setup.venue;
                if result.is_err() {
                    self.orders.handle_list_failed(venue);
                } else if facts.contains(&Told::End) {
                    self.orders.handle_list_end(venue, now);
                }
            }
            _ => (),
        }
        self.told.extend(facts);
        self.follow();
    }

    /// Does what replies and frames made necessary.
    pub(crate) fn follow(&mut self) {
        let now = self.now;
        loop {
            let mut frame = Vec::new();
            if !self.client.follow_frame(now, &mut frame) {
                break;
            }
            self.send_frame(&frame);
        }
        loop {
            self.grant_nonces();
            let mut bytes = Vec::new();
            let Some(asked) = self.client.follow_up(now, &mut bytes) else {
                return;
            };
            assert!(!bytes.is_empty(), "a follow-up writes something");
            self.send(asked, &bytes);
        }
    }

    /// Takes what the orders ask for, until they are quiet.
    pub(crate) fn settle(&mut self) {
        let now = self.now;
        while let Some(output) = self.orders.poll_output() {
            match output {
                OrderOutput::Cancel(order, market) => {
                    self.ask(Asked::Cancel(order), |client, request| {
                        client.cancel(order, market, now, request);
                    });
                }
                OrderOutput::List(venue, from) => {
                    let (about, since) = self.orders.unknown_at(venue);
                    let query = OrdersQuery {
                        from,
                        about: &about,
                        since,
                    };
                    self.ask(Asked::Orders, |client, request| {
                        client.orders(&query, now, request);
                    });
                }
                OrderOutput::Filled(id, more) => self.note_fill(id, &more),
                OrderOutput::Ended(id) => {
                    self.client.handle_ended(id);
                    if let Some(order) = self.orders.get(id)
                        && order.filled.quantity.is_positive()
                    {
                        self.ended.push((order.intent.side, order.filled, id));
                    }
                }
                OrderOutput::Report(..) | OrderOutput::Refused(..) => (),
            }
        }
        self.follow();
    }

    fn note_fill(&mut self, id: OrderId, more: &Filled) {
        let side = self.orders.get(id).unwrap().intent.side;
        let (base, quote, fee) = (more.quantity.0, more.total.0, more.fee.0);
        let pair = self.setup.pairs[0];
        // Every dialect here takes its fee from what is received.
        let (base, quote) = match side {
            Side::Bid => (base - fee, -quote),
            Side::Ask => (-base, quote - fee),
        };
        *self.moved.entry(pair.base).or_default() += base;
        *self.moved.entry(pair.quote).or_default() += quote;
    }

    fn hear_told(&mut self, facts: &[Told]) {
        for fact in facts {
            match fact {
                Told::Order(report) => self.orders.handle_report(report, self.now),
                Told::Ambiguous(id) => {
                    self.orders.handle_ambiguous(*id);
                }
                Told::Named { .. }
                | Told::Balance { .. }
                | Told::Rights { .. }
                | Told::More
                | Told::End => (),
            }
        }
    }

    /// Opens the stream, by a handshake where one is needed, and subscribes.
    pub(crate) fn connect(&mut self) {
        let paths = self.dialect.card().paths;
        let target = match self.setup.framing {
            Framing::Polled => None,
            Framing::Plain => paths.ws.map(str::to_owned),
            Framing::SocketIo => self.shake_hands(paths.socketio.unwrap()),
        };
        if let Some(target) = target {
            self.streams += 1;
            let stream = StreamNo(self.streams);
            assert!(self.server.handle_stream(stream, &target, self.now));
            self.stream = Some(stream);
        }
        self.book = Book {
            updates: self.book.updates,
            ..Book::default()
        };
        let mut login = Vec::new();
        self.client
            .login(self.now, &mut |frame| login.push(frame.to_vec()));
        for frame in login {
            self.send_frame(&frame);
        }
        let mut asked = Vec::new();
        self.feed
            .subscribe(self.now, &mut |ask| asked.push(Owned::of(ask)));
        self.take_asks(asked);
        self.serve();
        self.tend();
    }

    fn shake_hands(&mut self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        write_request(&mut bytes, ("GET", "h", path), &[], b"");
        let (status, body) = self.answer(&bytes)?;
        let url = socketio::stream_url(&format!("http://h{path}"), &body)?;
        (status == 200).then(|| url.strip_prefix("ws://h").unwrap().to_owned())
    }

    pub(crate) fn tend(&mut self) {
        let mut asked = Vec::new();
        self.tend_at = self
            .feed
            .tend(self.now, &mut |ask| asked.push(Owned::of(ask)));
        self.take_asks(asked);
    }

    pub(crate) fn resync(&mut self) {
        let mut asked = Vec::new();
        let market = self.market();
        self.feed
            .resync(market, self.now, &mut |ask| asked.push(Owned::of(ask)));
        self.take_asks(asked);
    }

    fn take_asks(&mut self, asked: Vec<Owned>) {
        for ask in asked {
            match ask {
                Owned::Frame(frame) => self.send_frame(&frame),
                Owned::Get(ticket, target) => {
                    self.asked.push((self.now, target.clone()));
                    let mut bytes = Vec::new();
                    write_request(&mut bytes, ("GET", "h", &target), &[], b"");
                    let (status, body) = self.answer(&bytes).unwrap_or((0, Vec::new()));
                    self.keep(Door::Document(ticket), &body);
                    self.hear(Some((ticket, status)), &body);
                }
            }
        }
    }

    fn send_frame(&mut self, frame: &[u8]) {
        let Some(stream) = self.stream else { return };
        let text = String::from_utf8_lossy(frame).into_owned();
        self.asked.push((self.now, text));
        let mut pushed = Vec::new();
        self.server
            .handle_frame(stream, frame, self.now, &mut |_, frame| {
                pushed.push(frame.to_vec());
            });
        self.take_frames(pushed);
    }

    /// Lets the venue do what is due and takes what it sends.
    pub(crate) fn serve(&mut self) {
        let mut pushed = Vec::new();
        self.server
            .handle_deadline(self.now, &mut |_, frame| pushed.push(frame.to_vec()));
        self.take_frames(pushed);
        while let Some(stream) = self.server.poll_closed() {
            if self.stream == Some(stream) {
                self.lose_stream();
            }
        }
    }

    fn lose_stream(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.server.handle_stream_closed(stream);
        }
        self.reconnects += 1;
        self.up_at = self.now + Span::millis(200);
        self.tend_at = None;
    }

    fn take_frames(&mut self, pushed: Vec<Vec<u8>>) {
        for frame in pushed {
            self.hear(None, &frame);
            if self.frames.len() < 4_096 {
                self.frames.push_back(frame);
            }
        }
    }

    /// Decodes a frame or a document and does what it makes necessary.
    pub(crate) fn hear(&mut self, document: Option<(Ticket, u16)>, bytes: &[u8]) {
        let now = self.now;
        let (was_broken, was_crossed) = (self.book.is_broken, self.book.is_crossed());
        let (mut is_private, mut reports, mut heard) = (false, Vec::new(), Vec::new());
        let book = &mut self.book;
        let mut listen = |fact: Heard<'_>| match fact {
            Heard::Book(update) => {
                heard.push("book");
                book.apply(update.kind, update.sequence, update.bids, update.asks);
                book.engine_lag = update.engine_lag;
            }
            Heard::Order(report) => reports.push(report),
            Heard::EngineLag(lag) => {
                heard.push("lag");
                book.engine_lag = lag;
            }
            Heard::Account => is_private = true,
            Heard::Alive => heard.push("alive"),
        };
        let decoded = match document {
            None => self.feed.decode(bytes, now, &mut listen),
            Some((ticket, status)) => {
                self.feed
                    .decode_reply(ticket, status, bytes, now, &mut listen)
            }
        };
        if decoded.is_err() {
            assert!(heard.is_empty(), "nothing of a refused frame is handed on");
            self.refused_frames += 1;
        }
        self.heard.extend(heard);
        for report in reports {
            self.orders.handle_report(&report, now);
        }
        if matches!(decoded, Err(DecodeError::Malformed { .. })) && document.is_none() {
            self.lose_stream();
            return;
        }
        if self.book.is_broken && !was_broken || self.book.is_crossed() && !was_crossed {
            self.resync();
        }
        self.tend();
        if is_private {
            let mut facts = Vec::new();
            self.client
                .handle_frame(bytes, now, &mut |fact| facts.push(fact));
            self.hear_told(&facts);
            self.told.extend(facts);
            self.follow();
        }
    }

    /// Answers raw request bytes; `None` where the reply is lost.
    pub(crate) fn answer(&mut self, bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
        let request = whole_request(bytes);
        let served = ServerRequest {
            peer: "127.0.0.1",
            method: request.method,
            target: request.target,
            headers: &request.headers,
            body: &request.body,
        };
        let mut pushed = Vec::new();
        let now = self.now + self.skew;
        let reply = self.server.handle_request(&served, now, &mut |_, frame| {
            pushed.push(frame.to_vec());
        });
        self.take_frames(pushed);
        match reply {
            ServerReply::Answer { status, body, .. } => Some((status, body)),
            ServerReply::Lost => None,
        }
    }

    fn grant_nonces(&mut self) {
        if let Some(below) = self.client.nonces_wanted(self.now) {
            self.client.grant_nonces(below);
        }
    }

    /// Keeps a body for those who look at bodies, a few of each kind.
    fn keep(&mut self, door: Door, body: &[u8]) {
        let same = |(other, _): &&(Door, Vec<u8>)| {
            std::mem::discriminant(other) == std::mem::discriminant(&door)
        };
        if self.bodies.len() < 256 && self.bodies.iter().filter(same).count() < 64 {
            self.bodies.push((door, body.to_vec()));
        }
    }

    pub(crate) fn state(&self, id: u64) -> Option<OrderState> {
        self.orders.get(OrderId(id)).map(|order| order.state)
    }

    pub(crate) fn filled(&self, id: u64) -> Filled {
        self.orders
            .get(OrderId(id))
            .map_or_else(Filled::default, |order| order.filled)
    }

    /// Returns the orders that the venue filled and nobody here knows of, and the other way round.
    pub(crate) fn unclaimed(&self) -> Vec<String> {
        let audit = self.server.audit();
        let mut ours: Vec<(Side, Filled, OrderId)> = self.ended.clone();
        let mut unclaimed = Vec::new();
        let filled = audit.accounts[0].orders.iter();
        for order in filled.filter(|order| order.filled.quantity.is_positive()) {
            let same = |(side, filled, _): &(Side, Filled, OrderId)| {
                *side == order.side && *filled == order.filled
            };
            match ours.iter().position(same) {
                Some(at) => drop(ours.swap_remove(at)),
                None => unclaimed.push(format!("venue: {order:?}")),
            }
        }
        unclaimed.extend(ours.into_iter().map(|order| format!("ours: {order:?}")));
        unclaimed
    }

    /// Returns what the venue's own books say the account has, free and held together.
    pub(crate) fn venue_balance(&self, currency: Currency) -> i64 {
        let audit = self.server.audit();
        assert_eq!(audit.imbalance, None);
        let balances = audit.accounts[0].balances.iter();
        balances
            .filter(|(known, ..)| *known == currency)
            .map(|(_, free, held)| free.0 + held.0)
            .sum()
    }
}

/// Where bytes from a venue come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Frame,
    Private,
    Document(Ticket),
    Reply(Asked),
}

/// What a feed asked for, kept for a moment.
enum Owned {
    Frame(Vec<u8>),
    Get(Ticket, String),
}

impl Owned {
    fn of(ask: Ask<'_>) -> Self {
        match ask {
            Ask::Frame(frame) => Self::Frame(frame.to_vec()),
            Ask::Get { ticket, target } => Self::Get(ticket, target.to_owned()),
        }
    }
}

pub(crate) fn credentials(secret: &str) -> Credentials {
    Credentials {
        key: "f81d4fae-7dec-11d0-a765-00a0c91e6bf6".to_owned(),
        secret: secret.to_owned(),
    }
}

fn whole_request(bytes: &[u8]) -> Request<'_> {
    let request = parse_request(bytes, 65_536).unwrap().unwrap();
    assert_eq!(request.len, bytes.len());
    request
}

fn times() -> execution::Settings {
    execution::Settings {
        leg_deadline: Span::secs(1),
        unknown_after: Span::secs(2),
        recovery_reach_ppm: 0,
        recovery_deadline: Span::SECOND,
        paper_latency_min: Span::ZERO,
        transfers: Vec::new(),
        acquire_for_offers: false,
    }
}
