//! One live node beside the venue `alpha` that leads plans with `beta`, and the world around it:
//! the venue, the store, and the peer of the same owner that stands beside `beta`. The world speaks
//! the bytes of the feed, of HTTP and of the wire protocol, and answers only when it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

use expressnet::config::checked::Config;
use expressnet::discovery::lease::message::Say;
use expressnet::discovery::lease::{self, Standing};
use expressnet::journal::owed::Owed;
use expressnet::membership::card::pin_of;
use expressnet::membership::{Direction, Peer};
use expressnet::model::currency::Currency;
use expressnet::model::ids::{CommandNo, CommitNo, EnvelopeId, LinkNo, OrderId, PlanId, RequestNo};
use expressnet::model::instrument::{Market, VenueId};
use expressnet::model::market::{FeeIn, Level, Rules, Side};
use expressnet::model::number::{Price, Quantity};
use expressnet::model::time::{Span, Time};
use expressnet::model::trade::{Draw, Filled, Grant, LegReport, Purpose};
use expressnet::node::input::{Command, Input, Outcome};
use expressnet::node::output::{Bytes, Job, Outbox, Output};
use expressnet::node::{Me, Node};
use expressnet::sim::scenario::{PAIR, Topology, standard};
use expressnet::venue::{Asked, Credentials, Framing, OrderClient, Setup, http, registry};
use expressnet::wire::link::{Heard, Link};
use expressnet::wire::message::{Message, Quote, QuoteHead};
use expressnet::wire::peernet::Peernet;
use expressnet::wire::talk::{self, Talk, Verdict};

/// What stands for keys: nothing is signed here.
const OWN_KEY: [u8; 32] = [1; 32];
pub(crate) const PEER_KEY: [u8; 32] = [2; 32];

/// Stands around every call of `Node::handle`.
pub(crate) trait Probe {
    fn measure(&mut self, input: &'static str, step: impl FnOnce());
}

impl Probe for () {
    fn measure(&mut self, _input: &'static str, step: impl FnOnce()) {
        step();
    }
}

pub(crate) struct Leader<P> {
    pub(crate) node: Node,
    pub(crate) out: Outbox,
    pub(crate) now: Time,
    pub(crate) probe: P,
    /// The peer's end of the link.
    pub(crate) peer: Link,
    pub(crate) link: LinkNo,
    pub(crate) venue: VenueId,
    beta: Market,
    sequence: u64,
    quoted: (u64, Time),
    /// Quotes before the peer's venue began its sequence anew.
    pub(crate) quotes_before: u64,
    granted: BTreeMap<Side, Granted>,
    /// Rights that the node has given, and how many orders were drawn on each.
    given: BTreeMap<Side, (Grant, u16)>,
    envelopes: u64,
    commands: u64,
    journalled: CommitNo,
    durable: CommitNo,
    due: VecDeque<Due>,
}

/// A right that the peer has given.
struct Granted {
    grant: Grant,
    at: Time,
    draws: u16,
}

/// What the world owes the node.
enum Due {
    Datagram(Vec<u8>),
    Frame(Vec<u8>),
    Reply(RequestNo, Asked, String),
    Stream(Vec<u8>),
    Worked(u64, Vec<u8>),
}

const RULES: Rules = Rules {
    tick: Price(1_000_000),
    lot: Quantity(1_000_000),
    quantity_min: Quantity(1_000_000),
    taker_fee_ppm: 500,
    fee_in: FeeIn::Quote,
};
/// One step of a ladder.
const STEP: i64 = 1_000_000;
/// Levels a side at `alpha`.
pub(crate) const LEVELS: i64 = 100;
/// Best prices that never cross each other; a crossing frame stands between them and the other's.
const ALPHA_BID: Price = Price::whole(99);
const ALPHA_ASK: Price = Price::whole(101);
const BETA_BID: Price = Price(9_995_000_000);
const BETA_ASK: Price = Price(10_005_000_000);
const CROSSING_ASK: Price = Price(9_950_000_000);
const CROSSING_BID: Price = Price(10_050_000_000);
const ACCOUNT: &str = r#"{"balances":[{"currency":"BTC","free":"1000","held":"0"},{"currency":"USD","free":"100000","held":"0"}],"rights":{"trade":true,"withdraw":false}}"#;

impl<P: Probe> Leader<P> {
    /// Makes a node whose books are live and whose envelopes are armed on both sides.
    pub(crate) fn new(probe: P) -> Self {
        Self::with(probe, |_| ())
    }

    /// Makes such a node with other settings.
    pub(crate) fn with(probe: P, change: impl FnOnce(&mut Config)) -> Self {
        let scenario = standard(1, 3, Topology::Mesh, 1);
        let plan = &scenario.nodes[0];
        let mut config = plan.config.clone();
        config.venues[0].rules[0].1 = RULES;
        config.execution.transfers.clear();
        config.risk.day_notional_max = vec![(Currency::USD, Quantity::whole(1_000_000_000))];
        config.risk.orders_per_s = 10_000;
        change(&mut config);
        let alpha = config.venues[0].id;
        let setup = Setup {
            venue: alpha,
            host: alpha.to_string(),
            pairs: vec![PAIR],
            rules: Vec::new(),
            framing: Framing::Plain,
        };
        let credentials = Credentials {
            key: "key".to_owned(),
            secret: "secret".to_owned(),
        };
        let dialect = registry::find("simulated").unwrap();
        let client: Box<dyn OrderClient> = dialect.order_client(&setup, credentials).unwrap();
        let me = Me {
            id: pin_of(&OWN_KEY).node_id(),
            owner: plan.owner,
            key: OWN_KEY,
        };
        let now = Time(1_750_000_000 * Span::SECOND.0);
        let mut out = Outbox::new();
        let clients = BTreeMap::from([(alpha, client)]);
        let mut node = Node::new(me, config, Owed::default(), clients, 1, now, &mut out);
        let peer = Peer {
            id: pin_of(&PEER_KEY).node_id(),
            pin: pin_of(&PEER_KEY),
            key: PEER_KEY,
            knock: [0; 32],
            owner: scenario.nodes[1].owner,
            name: "beta".to_owned(),
            addresses: Vec::new(),
            trust: 10,
        };
        assert!(node.add_peer(peer, now));
        let market = |venue: VenueId| Market { venue, pair: PAIR };
        let mut leader = Self {
            node,
            out,
            now,
            probe,
            peer: Link::new(1),
            link: LinkNo(0),
            venue: alpha,
            beta: market(scenario.venues[1].id),
            sequence: 0,
            quoted: (0, Time::ZERO),
            quotes_before: 0,
            granted: BTreeMap::new(),
            given: BTreeMap::new(),
            envelopes: 0,
            commands: 0,
            journalled: CommitNo::default(),
            durable: CommitNo::default(),
            due: VecDeque::new(),
        };
        leader.note();
        leader.feed_up();
        leader.link_up();
        leader.say(&Message::Market {
            market: leader.beta,
            rules: RULES,
        });
        leader.settle();
        leader.advance(Span::millis(300));
        leader.advance(Span::millis(300));
        assert!(leader.node.is_running() && leader.node.links_ready() == 1);
        leader
    }

    /// Hands one input to the node and takes note of what it asks for.
    pub(crate) fn hand(&mut self, input: Input<'_>) {
        self.out.clear();
        let (node, out, now) = (&mut self.node, &mut self.out, self.now);
        self.probe
            .measure(input.name(), || node.handle(input, now, out));
        self.note();
    }

    pub(crate) fn frame(&mut self, bytes: &[u8]) {
        let venue = self.venue;
        self.hand(Input::FeedFrame { venue, bytes });
    }

    pub(crate) fn order(&mut self, command: Command) {
        self.commands += 1;
        let number = CommandNo(self.commands);
        self.hand(Input::Command { number, command });
    }

    /// Gives a command and returns the first answer.
    pub(crate) fn answer(&mut self, command: Command) -> serde_json::Value {
        self.order(command);
        let mut outputs = self.out.outputs().iter();
        let bytes = outputs.find_map(|output| {
            let Output::Answer { bytes, .. } = output else {
                return None;
            };
            Some(*bytes)
        });
        serde_json::from_slice(self.out.read(bytes.unwrap())).unwrap()
    }

    /// Hands in a frame and then commits until both legs have left; returns how many commits.
    pub(crate) fn fire(&mut self, frame: &[u8]) -> u32 {
        self.frame(frame);
        let (mut at_peer, mut at_venue) = self.legs();
        let mut commits = 0;
        while !(at_peer && at_venue) {
            assert!(commits < 4, "nothing was fired");
            self.commit();
            commits += 1;
            let more = self.legs();
            (at_peer, at_venue) = (at_peer || more.0, at_venue || more.1);
        }
        commits
    }

    /// Answers everything the node has asked for, until both are quiet.
    pub(crate) fn settle(&mut self) {
        loop {
            if self.durable < self.journalled {
                self.commit();
                continue;
            }
            let venue = self.venue;
            let link = self.link;
            match self.due.pop_front() {
                Some(Due::Frame(bytes)) => self.frame(&bytes),
                Some(Due::Stream(bytes)) => self.hand(Input::LinkStream {
                    link,
                    bytes: &bytes,
                }),
                Some(Due::Datagram(bytes)) => {
                    self.now = self.now + Span::micros(200);
                    self.hand(Input::LinkDatagram {
                        link,
                        bytes: &bytes,
                    });
                }
                Some(Due::Worked(work, bytes)) => self.hand(Input::Worked {
                    work,
                    key: OWN_KEY,
                    bytes: &bytes,
                }),
                Some(Due::Reply(request, asked, body)) => {
                    let body = body.as_bytes();
                    self.hand(Input::VenueReply {
                        venue,
                        request,
                        asked,
                        outcome: Outcome::Reply { status: 200, body },
                    });
                }
                None => break,
            }
        }
    }

    /// Lets time pass: deadlines, quotes of the peer, its grants.
    pub(crate) fn advance(&mut self, span: Span) {
        self.now = self.now + span;
        if self.now.since(self.quoted.1) >= Span::millis(50) {
            self.quote();
        }
        for side in [Side::Bid, Side::Ask] {
            self.grant(side);
        }
        self.settle();
        while self.node.deadline().is_some_and(|due| due.at <= self.now) {
            self.hand(Input::Deadline);
            self.settle();
        }
    }

    /// Closes the window and lets a little time pass, so that the next frame finds quiet books.
    pub(crate) fn clear(&mut self, side: Side) {
        self.settle();
        let frame = self.clearing_frame(side);
        self.frame(&frame);
        self.settle();
        self.advance(Span::millis(60));
    }

    /// Makes the frame by which the peer draws a leg on what the node has granted it.
    pub(crate) fn draw_frame(&mut self, side: Side) -> Vec<u8> {
        let (grant, draws) = self.given.get_mut(&side).unwrap();
        let order = OrderId(grant.first.0 + u64::from(*draws));
        *draws += 1;
        assert!(*draws <= grant.orders, "the node grants anew in time");
        let draw = Draw {
            envelope: grant.envelope,
            order,
            plan: PlanId(order.0),
            quantity: RULES.quantity_min,
            limit: Self::price(side.opposite(), 0),
            purpose: Purpose::Open,
        };
        let mut bytes = Vec::new();
        let message = Message::Fire(draw);
        let sent = self.peer.send(|frame| message.encode(frame), &mut |frame| {
            bytes = frame.to_vec();
        });
        sent.unwrap();
        bytes
    }

    /// Makes a frame that opens a window: an ask below the peer's bids, or a bid above its asks.
    pub(crate) fn crossing_frame(&mut self, side: Side) -> Vec<u8> {
        self.single(side, Quantity(50_000_000))
    }

    /// Makes the frame that closes the window again.
    pub(crate) fn clearing_frame(&mut self, side: Side) -> Vec<u8> {
        self.single(side, Quantity::ZERO)
    }

    /// Makes the next frame of the feed, best levels first.
    pub(crate) fn delta(&mut self, bids: &[Level], asks: &[Level]) -> Vec<u8> {
        let previous = self.sequence;
        self.sequence += 1;
        let kind = format!(r#"delta","prev":{previous}"#);
        self.book_frame(&kind, bids, asks)
    }

    /// Returns the price of a level of `alpha`, counted from its best.
    pub(crate) fn price(side: Side, index: i64) -> Price {
        match side {
            Side::Bid => Price(ALPHA_BID.0 - index * STEP),
            Side::Ask => Price(ALPHA_ASK.0 + index * STEP),
        }
    }

    pub(crate) fn feed_up(&mut self) {
        let venue = self.venue;
        self.hand(Input::FeedUp { venue });
        self.settle();
    }

    pub(crate) fn link_up(&mut self) {
        self.link = self.link.next();
        let (peer, link, direction) = (pin_of(&PEER_KEY).node_id(), self.link, Direction::Accepted);
        let due = &mut self.due;
        self.peer
            .handle_connected(&mut |frame| due.push_back(Due::Stream(frame.to_vec())));
        self.hand(Input::LinkUp {
            peer,
            link,
            direction,
        });
        self.settle();
        self.quote();
    }

    pub(crate) fn commit(&mut self) {
        let commit = self.journalled;
        self.durable = commit;
        self.hand(Input::Committed { commit });
    }

    /// Returns whether the last step wrote a leg's bytes for the peer, and for the own venue. Where
    /// there is a carrier, it has them.
    pub(crate) fn legs(&self) -> (bool, bool) {
        legs_among(self.out.outputs(), &self.out)
    }

    fn note(&mut self) {
        for index in 0..self.out.outputs().len() {
            let output = self.out.outputs()[index];
            match output {
                Output::Journal { commit, .. } => self.journalled = commit,
                Output::VenueFrame { bytes, .. } => {
                    let text = String::from_utf8_lossy(self.out.read(bytes));
                    let reply = if text.contains("login") {
                        br#"{"ch":"login","ok":true}"#.to_vec()
                    } else {
                        self.snapshot()
                    };
                    self.due.push_back(Due::Frame(reply));
                }
                Output::VenueRequest {
                    request,
                    asked,
                    bytes,
                    ..
                } => {
                    let body = answer_of(asked, self.out.read(bytes));
                    self.due.push_back(Due::Reply(request, asked, body));
                }
                Output::LinkStream { link, bytes } if link == self.link => {
                    let bytes = self.out.read(bytes).to_vec();
                    self.hear(&bytes);
                }
                Output::LinkDatagram { bytes, .. } => {
                    self.answer_probe(bytes);
                }
                Output::Probe { bytes, .. } => self.answer_probe(bytes),
                // Nobody here has a key: signatures of rosters are zeros, and every one verifies.
                Output::Work { work, job, bytes } => {
                    let bytes = self.out.read(bytes);
                    if job == Job::VerifyRoster {
                        self.due.push_back(Due::Worked(work, bytes.to_vec()));
                    } else if bytes.starts_with(b"expressnet roster 1\0") {
                        self.due.push_back(Due::Worked(work, vec![0; 64]));
                    }
                }
                Output::VenueReconnect { .. } => panic!("the node refused a frame"),
                Output::Dial { .. }
                | Output::CloseLink { .. }
                | Output::Forget { .. }
                | Output::Standing { .. }
                | Output::Announce { .. }
                | Output::Speaker { .. }
                | Output::Roster { .. }
                | Output::RosterHeard { .. }
                | Output::LinkStream { .. }
                | Output::Answer { .. }
                | Output::Transfer { .. }
                | Output::Pace { .. }
                | Output::PaceOver { .. }
                | Output::CountPath { .. }
                | Output::Notice { .. } => (),
            }
        }
    }

    /// The peer answers a probe at once; its clock is the same.
    fn answer_probe(&mut self, bytes: Bytes) {
        if let Ok(Message::Probe(probe)) = Message::decode(self.out.read(bytes)) {
            let mut bytes = Vec::new();
            let (received, replied) = (self.now, self.now);
            let reply = talk::Probe {
                received,
                replied,
                ..probe
            };
            Message::ProbeReply(reply).encode(&mut bytes);
            self.due.push_back(Due::Datagram(bytes));
        }
    }

    /// The peer hears one frame of the stream.
    fn hear(&mut self, bytes: &[u8]) {
        let due = &mut self.due;
        let heard = self.peer.handle_frame(bytes, &mut |frame| {
            due.push_back(Due::Stream(frame.to_vec()));
        });
        let Heard::Message(bytes) = heard.unwrap() else {
            return;
        };
        let message = Message::decode(bytes).unwrap();
        if let Message::Fire(draw) = message {
            self.fill(&draw);
        } else if let Message::Grant { grant, .. } = message {
            self.given.insert(grant.side, (grant, 0));
        } else if let Message::Peernet(message) = message {
            self.go_along(message);
        } else if let Message::Talk(Talk::TrainAsk { train, .. }) = message {
            self.say(&Message::Talk(Talk::TrainAnswer {
                train,
                verdict: Verdict::Ready,
                location_udeg: None,
            }));
        }
    }

    /// The peer signs every roster and grants every lease.
    fn go_along(&mut self, message: Peernet) {
        let reply = if let Peernet::Draft {
            peernet, version, ..
        } = message
        {
            let signature = [0; 64];
            Peernet::Signed {
                peernet,
                version,
                signature,
            }
        } else if let Peernet::Lease { bytes } = message
            && let Ok(asked) = lease::message::Message::read(&bytes)
            && matches!(asked.say, Say::Ask { .. })
        {
            let standing = Standing::Unready;
            let say = Say::Grant { standing };
            let mut bytes = Vec::new();
            lease::message::Message { say, ..asked }.write(&mut bytes);
            Peernet::Lease { bytes }
        } else {
            return;
        };
        self.say(&Message::Peernet(reply));
    }

    /// The peer's venue fills a leg at its limit.
    fn fill(&mut self, draw: &Draw) {
        let mut granted = self.granted.values_mut();
        let granted = granted
            .find(|granted| granted.grant.envelope == draw.envelope)
            .unwrap();
        granted.draws += 1;
        let total = draw.limit.total_floor(draw.quantity);
        let report = LegReport {
            order: draw.order,
            plan: draw.plan,
            market: self.beta,
            side: granted.grant.side,
            limit: draw.limit,
            filled: Filled {
                quantity: draw.quantity,
                total,
                fee: total.ppm_ceil(RULES.taker_fee_ppm),
            },
            is_final: true,
        };
        self.say(&Message::LegReport(report));
    }

    /// The peer says something that must arrive.
    pub(crate) fn say(&mut self, message: &Message) {
        let due = &mut self.due;
        let sent = self.peer.send(|frame| message.encode(frame), &mut |frame| {
            due.push_back(Due::Stream(frame.to_vec()));
        });
        sent.unwrap();
    }

    fn quote(&mut self) {
        self.quoted = (self.quoted.0 + 1, self.now);
        let ladder = |best: Price, step: i64| -> Vec<Level> {
            let price = |index: i64| Price(best.0 + index * step);
            let level = |index| Level {
                price: price(index),
                quantity: Quantity::whole(1),
            };
            (0..16).map(level).collect()
        };
        let quote = Message::Quote(Quote {
            head: QuoteHead {
                number: self.quoted.0,
                market: self.beta,
                sequence: self.quoted.0 - self.quotes_before,
                age: Span::ZERO,
                engine_lag: Span::ZERO,
                is_live: true,
            },
            bids: ladder(BETA_BID, -STEP),
            asks: ladder(BETA_ASK, STEP),
        });
        let mut bytes = Vec::new();
        quote.encode(&mut bytes);
        let link = self.link;
        self.hand(Input::LinkDatagram {
            link,
            bytes: &bytes,
        });
    }

    /// Grants a side of `beta` anew before its ids or its time run out.
    fn grant(&mut self, side: Side) {
        const ORDERS: u16 = 32;
        let old = self.granted.get(&side);
        let is_good = old
            .is_some_and(|old| old.draws + 4 < ORDERS && self.now.since(old.at) < Span::secs(20));
        if is_good {
            return;
        }
        if let Some(old) = old {
            let envelope = old.grant.envelope;
            self.say(&Message::GrantOver { envelope });
        }
        self.envelopes += 1;
        let grant = Grant {
            envelope: EnvelopeId(self.envelopes),
            market: self.beta,
            side,
            first: OrderId(self.envelopes * u64::from(ORDERS)),
            orders: ORDERS,
            quantity: Quantity::whole(100),
            worst_price: match side {
                Side::Bid => Price::whole(110),
                Side::Ask => Price::whole(90),
            },
            notional: Quantity::whole(100_000),
        };
        let granted = Granted {
            grant,
            at: self.now,
            draws: 0,
        };
        self.granted.insert(side, granted);
        let ttl = Span::secs(30);
        self.say(&Message::Grant { grant, ttl });
    }

    fn single(&mut self, side: Side, quantity: Quantity) -> Vec<u8> {
        let level = |price| [Level { price, quantity }];
        match side {
            Side::Ask => self.delta(&[], &level(CROSSING_ASK)),
            Side::Bid => self.delta(&level(CROSSING_BID), &[]),
        }
    }

    fn snapshot(&mut self) -> Vec<u8> {
        self.sequence += 1;
        let ladder = |side: Side| -> Vec<Level> {
            let level = |index| Level {
                price: Self::price(side, index),
                quantity: Quantity::whole(1),
            };
            (0..LEVELS).map(level).collect()
        };
        self.book_frame("snapshot\"", &ladder(Side::Bid), &ladder(Side::Ask))
    }

    fn book_frame(&self, kind: &str, bids: &[Level], asks: &[Level]) -> Vec<u8> {
        let mut text = format!(
            r#"{{"ch":"book","pair":"{PAIR}","kind":"{kind},"seq":{},"ts":"{}","lag_us":0,"bids":["#,
            self.sequence, self.now.0
        );
        write_levels(&mut text, bids);
        text.push_str(r#"],"asks":["#);
        write_levels(&mut text, asks);
        text.push_str("]}");
        text.into_bytes()
    }
}

fn write_levels(text: &mut String, levels: &[Level]) {
    for (index, level) in levels.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let Level { price, quantity } = level;
        write!(text, r#"{comma}["{price}","{quantity}"]"#).unwrap();
    }
}

/// Returns whether there is a leg for a peer among outputs, and one for a venue.
pub(crate) fn legs_among(outputs: &[Output], out: &Outbox) -> (bool, bool) {
    let (mut at_peer, mut at_venue) = (false, false);
    for output in outputs {
        match output {
            Output::LinkStream { bytes, .. } => {
                let message = out.read(*bytes).get(1..).map(Message::decode);
                at_peer |= matches!(message, Some(Ok(Message::Fire(_))));
            }
            Output::VenueRequest { asked, bytes, .. } => {
                let is_order = out.read(*bytes).starts_with(b"POST /order ");
                at_venue |= is_order && matches!(asked, Asked::Place(_));
            }
            Output::Dial { .. }
            | Output::CloseLink { .. }
            | Output::Forget { .. }
            | Output::Standing { .. }
            | Output::Announce { .. }
            | Output::Speaker { .. }
            | Output::Roster { .. }
            | Output::RosterHeard { .. }
            | Output::LinkDatagram { .. }
            | Output::Probe { .. }
            | Output::VenueFrame { .. }
            | Output::VenueReconnect { .. }
            | Output::Journal { .. }
            | Output::Answer { .. }
            | Output::Transfer { .. }
            | Output::Pace { .. }
            | Output::PaceOver { .. }
            | Output::CountPath { .. }
            | Output::Work { .. }
            | Output::Notice { .. } => (),
        }
    }
    (at_peer, at_venue)
}

/// Returns what `alpha` answers: orders are filled at their limit, the account is always the same.
fn answer_of(asked: Asked, request: &[u8]) -> String {
    let id = match asked {
        Asked::Place(id) => id,
        Asked::Account => return ACCOUNT.to_owned(),
        Asked::Orders => return r#"{"orders":[],"end":true}"#.to_owned(),
        Asked::Cancel(id) => panic!("order {id} rests"),
        Asked::Fills(_) | Asked::Entry | Asked::Public(_) => panic!("not of this dialect"),
    };
    let request = http::parse_request(request, http::BODY_BYTES_MAX);
    let body = request.unwrap().unwrap().body.to_vec();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    let (side, limit, quantity) = (text("side"), text("limit"), text("quantity"));
    let price: Price = limit.parse().unwrap();
    let total = price.total_floor(quantity.parse().unwrap());
    let fee = total.ppm_ceil(RULES.taker_fee_ppm);
    format!(
        r#"{{"order":{{"id":"{id}","pair":"{PAIR}","side":"{side}","limit":"{limit}","state":"closed","filled":"{quantity}","total":"{total}","fee":"{fee}","remaining":"0"}}}}"#
    )
}
