//! What an origin does about strangers who heard of its offer on the channel and inquire.

use expressnet::model::currency::{Currency, Method};
use expressnet::model::ids::{MatchId, NodeId, OfferId, OwnerId};
use expressnet::model::number::{Price, Quantity};
use expressnet::model::offer::{Line, Offer, Part};
use expressnet::model::time::{Span, Time};
use expressnet::offer::origin::{Asked, Closing, OriginState, Origins};
use expressnet::offer::{Say, Saying, Settings};

const OFFER: OfferId = OfferId([3; 16]);
const GATHER: Span = Span::secs(2);
const HOLD: Span = Span::secs(8);
const OPENED: Time = Time(1_000_000_000);

/// An origin whose offer of 150 BTC was announced, and the moment of that.
struct World {
    origins: Origins,
    now: Time,
}

/// The four aggregates of the worked example: BTC, USD for one, by what.
const MATCHES: [(i64, i64, Method); 4] = [
    (30, 104, Method::Dwolla),
    (12, 108, Method::Paypal),
    (40, 105, Method::Sepa),
    (90, 110, Method::Okpay),
];

impl World {
    fn announced() -> Self {
        let methods = MATCHES.map(|(_, _, method)| method);
        let settings = Settings {
            methods: methods.into_iter().collect(),
            offer_min: vec![(Currency::BTC, Quantity::whole(1))],
            part_min: vec![(Currency::BTC, Quantity::whole(1))],
            ttl: Span::secs(60),
            gather: GATHER,
            hold: HOLD,
            cooldown: Span::SECOND,
            haircuts: Vec::new(),
            method_caps: Vec::new(),
            rails: Vec::new(),
            rules: Vec::new(),
        };
        let offer = Offer {
            id: OFFER,
            origin: NodeId([1; 16]),
            line: Line::parse(b"150BTC@USD:BO:SEPA|OKPAY|PAYPAL|DWOLLA").unwrap(),
            reserve: Price::whole(100),
            part_min: Quantity::whole(1),
            expires: OPENED + settings.ttl,
            covers: None,
        };
        let mut origins = Origins::new(OwnerId([1; 32]), settings);
        assert_eq!(origins.open_offer(offer, &[], OPENED), []);
        assert_eq!(origins.handle_deadline(&[], OPENED), []);
        origins.handle_announced(OFFER, OPENED);
        let now = OPENED;
        Self { origins, now }
    }

    fn pass(&mut self, span: Span) {
        self.now = self.now + span;
    }

    /// A stranger inquires; returns for how much it is asked, and how long it is to hold that.
    fn inquire(&mut self, number: u8) -> Option<(Quantity, Span)> {
        let asked = Asked {
            peer: peer(number),
            trust: 0,
            rtt: Span::millis(10),
        };
        let sayings = self.origins.invite(OFFER, asked, self.now);
        let saying = sayings.first()?;
        let Say::Ask { ask, hold, .. } = saying.say else {
            panic!("{sayings:?}");
        };
        assert_eq!((sayings.len(), saying.to), (1, asked.peer));
        Some((ask.line.quantity, hold))
    }

    /// A stranger answers as one of [`MATCHES`]; returns what is said to that.
    fn answer(&mut self, number: u8) -> Vec<Saying> {
        let (quantity, price, method) = MATCHES[usize::from(number)];
        let part = Part {
            quantity: Quantity::whole(quantity),
            total: Quantity::whole(quantity * price),
            method,
        };
        let id = MatchId(u64::from(number));
        self.origins
            .handle_match(peer(number), OFFER, id, part, HOLD, self.now)
    }

    /// Confirms what was accepted, whole; returns what is said to that.
    fn confirm(&mut self, number: u8, quantity: i64) -> Vec<Saying> {
        let (_, price, _) = MATCHES[usize::from(number)];
        let (id, total) = (
            MatchId(u64::from(number)),
            Quantity::whole(quantity * price),
        );
        let quantity = Quantity::whole(quantity);
        self.origins
            .handle_confirm(peer(number), OFFER, id, quantity, total, self.now)
    }

    fn is_due(&self) -> bool {
        self.origins
            .deadline()
            .is_some_and(|due| due.at <= self.now)
    }

    fn deadline(&mut self) -> Vec<Saying> {
        self.origins.handle_deadline(&[], self.now)
    }
}

fn peer(number: u8) -> NodeId {
    NodeId([number + 10; 16])
}

/// Returns how many whole BTC are accepted of whom, by number.
fn accepted(sayings: &[Saying]) -> Vec<(u8, i64)> {
    let accepts = sayings.iter().filter_map(|saying| {
        let Say::Accept { quantity, .. } = saying.say else {
            return None;
        };
        Some((saying.to.0[0] - 10, quantity.0 / 100_000_000))
    });
    let mut accepts: Vec<(u8, i64)> = accepts.collect();
    accepts.sort_unstable();
    accepts
}

/// The farthest inquires last and may have the best price: who was first waits for it.
#[test]
fn whoever_inquires_in_time_is_compared_with_the_others() {
    let mut world = World::announced();
    for number in 0..4 {
        world.pass(Span::millis(400));
        let (open, hold) = world.inquire(number).unwrap();
        assert_eq!(open, Quantity::whole(150));
        let listens = (OPENED + GATHER).since(world.now);
        assert_eq!(hold, HOLD + listens, "no hold ends while others are heard");
        assert_eq!(accepted(&world.answer(number)), [], "{number}");
        assert!(!world.is_due());
    }
    world.pass(Span::millis(400));
    assert!(world.is_due(), "all have answered, and the time is over");
    let accepts = accepted(&world.deadline());
    assert_eq!(accepts, [(0, 8), (1, 12), (2, 40), (3, 90)]);
    for (number, quantity) in accepts {
        world.confirm(number, quantity);
    }
    let own = world.origins.get(OFFER).unwrap();
    assert_eq!(own.state, OriginState::Closed(Closing::Filled));
    assert_eq!(own.received(), Quantity::whole(832 + 1_296 + 4_200 + 9_900));
}

#[test]
fn who_inquires_while_a_match_settles_is_asked_for_the_rest() {
    let mut world = World::announced();
    world.inquire(3).unwrap();
    world.answer(3);
    world.pass(GATHER);
    assert_eq!(accepted(&world.deadline()), [(3, 90)]);
    let (open, hold) = world.inquire(2).unwrap();
    assert_eq!((open, hold), (Quantity::whole(60), HOLD));
    assert_eq!(accepted(&world.answer(2)), [], "not before that is settled");
    assert_eq!(accepted(&world.confirm(3, 90)), [(2, 40)]);
}

/// Strangers who inquire one after the other and then say nothing.
#[test]
fn nobody_waits_long_for_strangers_who_say_nothing() {
    let mut world = World::announced();
    world.inquire(3).unwrap();
    world.answer(3);
    let mut silent = 4;
    while !world.is_due() {
        world.pass(Span::millis(100));
        world.inquire(silent).unwrap();
        silent += 1;
    }
    assert!(world.now <= OPENED + GATHER.times(2));
    assert_eq!(accepted(&world.deadline()), [(3, 90)]);
}
