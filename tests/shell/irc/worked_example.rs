//! The worked example over real IRC, number for number: an origin and four primaries meet on ngircd,
//! each primary has ten listed secondaries over QUIC, and all 45 nodes run in this process.
//!
//! ```text
//!             ┌ ngircd: offer1 …, once; close1 … ┐
//!   origin ───┴── DCC ── P1 … P4 ── QUIC ── 10 secondaries each
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command as Program;
use std::rc::Rc;
use std::time::{Duration, Instant};

use expressnet::config::checked::{Config, Known};
use expressnet::discovery::irc::name::nick_of;
use expressnet::membership::Peer;
use expressnet::membership::card::Card;
use expressnet::model::currency::Currency;
use expressnet::model::ids::{CommandNo, NodeId};
use expressnet::model::number::{Price, Quantity};
use expressnet::node::Node;
use expressnet::node::input::Command;
use expressnet::offer::gather::CandidateState;
use expressnet::offer::hold::Hold;
use expressnet::offer::origin::{Closing, OriginState, OwnOffer};
use expressnet::shell::boot::{Rehearsal, Start, start};
use expressnet::shell::control::ControlSink as _;
use expressnet::shell::driver::Driver;
use expressnet::shell::identity::{Identity, OwnerSource};
use expressnet::venue::registry;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::shell::irc::programs::{Client, Person};
use crate::shell::irc::servers::{Kind, Server};
use crate::shell::process::PATIENCE;
use crate::shell::world::{Folder, on_local_set};
use crate::sim::worked_example::{METHODS, PRIMARIES, SECONDARIES, parts};

const OFFER: &str = "150BTC@USD:BO:SEPA|OKPAY|PAYPAL|DWOLLA|ACH";
/// What each secondary can pay.
const FUNDS_USD: i64 = 2_000;
const TRUST: u8 = 5;
/// Places of a primary: its secondaries, the origin and the other primaries.
const PLACES: usize = SECONDARIES + PRIMARIES;
/// Between two looks at nodes that run on this thread too.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A node that runs on this thread.
struct Actor {
    home: PathBuf,
    name: String,
    driver: Rc<Driver>,
}

/// A primary and whoever is behind it.
struct Group {
    primary: Actor,
    secondaries: Vec<Actor>,
}

impl Actor {
    fn start(folder: &Folder, name: &str, rest: &str) -> Self {
        let home = folder.file(name);
        Identity::create(&home, OwnerSource::New).unwrap();
        let text = format!(
            "[node]\nname = \"{name}\"\nlisten = \"127.0.0.1:7411\"\nplaces = {PLACES}\n{rest}"
        );
        let known = Known {
            dialects: registry::VENUES,
            cores: 2,
        };
        let mut config = Config::parse(&text, name, &known).unwrap();
        // Any free port: the cards are handed over once it is known.
        config.listen.set_port(0);
        let driver = start(Start {
            home: home.clone(),
            config,
            crash: None,
            seed: 1,
            rehearsal: Rehearsal::default(),
        });
        let (name, driver) = (name.to_owned(), driver.unwrap());
        Self { home, name, driver }
    }

    fn look<T>(&self, look: impl FnOnce(&Node) -> T) -> T {
        self.driver.look(look)
    }

    fn id(&self) -> NodeId {
        self.look(Node::id)
    }

    /// Tells whether each of the two knows the other as linked and understood.
    fn is_linked(&self, other: &Self) -> bool {
        let has = |one: &Self, id: NodeId| {
            one.look(|node| node.link_counts().any(|(peer, _)| peer == id))
        };
        has(self, other.id()) && has(other, self.id())
    }

    fn peer(&self) -> Peer {
        let addresses: Vec<SocketAddr> = self.driver.local_addr().into_iter().collect();
        let identity = Identity::open(&self.home).unwrap();
        let card = identity.card(&self.name, &addresses).unwrap();
        Card::parse(&card).unwrap().peer(TRUST)
    }

    fn list(&self, other: &Self) {
        let peer = other.peer();
        self.driver
            .command(CommandNo(0), Command::PeerAdded { peer });
    }

    fn counted(&self, what: &str) -> u64 {
        self.look(|node| node.totals().messages.get(what).copied().unwrap_or(0))
    }

    /// Returns the own offers, whatever came of them.
    fn offers(&self) -> Vec<OwnOffer> {
        self.look(|node| {
            let origins = node.origins();
            origins.open().chain(origins.closed()).cloned().collect()
        })
    }

    fn sealed(&self) -> Vec<Hold> {
        self.look(|node| node.holds().sealed().copied().collect())
    }

    /// Tells whether nothing is promised here any more that is not bound for good.
    fn is_settled(&self) -> bool {
        self.look(|node| node.is_at_rest() && node.holds().open().next().is_none())
    }

    /// Runs a verb at this node; returns why it was refused.
    async fn verb(&self, words: &[&str]) -> Result<(), String> {
        let mut program = Program::new(env!("CARGO_BIN_EXE_expressnet"));
        program.arg("--home").arg(&self.home).args(words);
        let output = spawn_blocking(move || program.output()).await.unwrap();
        let output = output.unwrap();
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(()).ok_or(why)
    }
}

impl Group {
    fn is_linked(&self, origin: &Actor) -> bool {
        let mut secondaries = self.secondaries.iter();
        self.primary.is_linked(origin) && secondaries.all(|one| one.is_linked(&self.primary))
    }

    fn actors(&self) -> impl Iterator<Item = &Actor> {
        std::iter::once(&self.primary).chain(&self.secondaries)
    }
}

/// Returns what of a configuration brings a node to the channel, from an address of its own: one
/// network group fills no list.
fn on_channel(server: &Server, number: usize) -> String {
    let own = Ipv4Addr::new(127, 10, 0, u8::try_from(number + 1).unwrap());
    format!(
        "mode = \"open\"\n[channel]\nlocal_addresses = true\n[exit]\n\
         broadcast_min = {{ \"BTC/USD\" = \"100\" }}\n[[irc]]\nname = \"net\"\n\
         server = \"{}\"\ntls = \"none\"\nbind = \"{own}\"\n",
        server.plain
    )
}

fn origin(folder: &Folder, server: &Server) -> Actor {
    let text = on_channel(server, 0)
        + "[offer]\npart_min = { BTC = \"1\" }\nttl = \"30s\"\n\
           [[offer.rail]]\nmethod = \"BTC\"\ncurrency = \"BTC\"\namount = \"150\"\n";
    Actor::start(folder, "o", &text)
}

/// Starts a primary and its secondaries, and lets them list each other.
fn group(folder: &Folder, server: &Server, number: usize, parts: &[(i64, i64)]) -> Group {
    let name = format!("p{}", number + 1);
    let primary = Actor::start(folder, &name, &on_channel(server, number + 1));
    let rule = |(tenths, price): &(i64, i64)| {
        let (method, size) = (METHODS[number], Quantity(tenths * 10_000_000));
        format!(
            "[[offer.rail]]\nmethod = \"{method}\"\ncurrency = \"USD\"\namount = \"{FUNDS_USD}\"\n\
             [[offer.rule]]\ngive = \"BTC\"\nwant = \"USD\"\nmethods = [\"{method}\"]\n\
             threshold = \"1\"\nsize_max = \"{size}\"\nprice = \"{price}\"\n"
        )
    };
    let secondaries = parts.iter().enumerate().map(|(at, part)| {
        let secondary = Actor::start(folder, &format!("{name}s{}", at + 1), &rule(part));
        primary.list(&secondary);
        secondary.list(&primary);
        secondary
    });
    let secondaries = secondaries.collect();
    Group {
        primary,
        secondaries,
    }
}

/// Lets everybody run until it is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        sleep(LOOK_EVERY).await;
    }
}

#[test]
fn the_worked_example_over_real_irc() {
    let Some(server) = Server::start(Kind::Ngircd) else {
        return;
    };
    let person = Person::join(Client::Weechat, server.plain);
    on_local_set(async {
        let folder = Folder::new();
        let origin = origin(&folder, &server);
        let parts = parts();
        let groups = parts.iter().enumerate();
        let groups: Vec<Group> = groups
            .map(|(number, parts)| group(&folder, &server, number, parts))
            .collect();
        until("all are linked", || {
            groups.iter().all(|group| group.is_linked(&origin))
        })
        .await;
        let new = ["offer", "new", OFFER, "--reserve", "100"];
        assert_eq!(origin.verb(&new).await, Ok(()));
        until("the offer is over", || origin.is_settled()).await;
        is_matched_in_full(&origin);
        let actors = || groups.iter().flat_map(Group::actors);
        until("every part is bound or free", || {
            actors().all(Actor::is_settled)
        })
        .await;
        took_what_was_given(&origin, &groups);
        until("its end is heard", || {
            groups
                .iter()
                .all(|group| group.primary.counted("heard_line") == 2)
        })
        .await;
        assert_eq!(origin.counted("announced"), 2, "that it is open, and over");
        assert_eq!(origin.counted("inquire"), 4);
        let again = ["offer", "new", "100BTC@USD:BO:SEPA", "--reserve", "100"];
        let why = origin.verb(&again).await.unwrap_err();
        assert!(why.contains("only 0 BTC lies where"), "{why}");
        let nick = nick_of(&Identity::open(&origin.home).unwrap().pin(), 0);
        if let Some(person) = person {
            spawn_blocking(move || was_said_once(&person, &nick))
                .await
                .unwrap();
        }
        for actor in std::iter::once(&origin).chain(actors()) {
            actor.driver.stop().await;
        }
    });
}

/// The numbers of the founding text.
fn is_matched_in_full(origin: &Actor) {
    let offers = origin.offers();
    assert_eq!(offers.len(), 1);
    let own = &offers[0];
    assert_eq!(own.offer.line.to_string(), OFFER);
    let candidates = own.gather.candidates().iter();
    let mut matches: Vec<(String, Quantity, CandidateState)> = candidates
        .map(|one| {
            let part = &one.part;
            let text = format!("{}BTC@{}USD:{}", part.quantity, part.price(), part.method);
            (text, one.taken, one.state)
        })
        .collect();
    matches.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        ("12BTC@108USD:PAYPAL", 12),
        ("30BTC@104USD:DWOLLA", 8),
        ("40BTC@105USD:SEPA", 40),
        ("90BTC@110USD:OKPAY", 90),
    ];
    let expected = expected.map(|(text, taken)| {
        let taken = Quantity::whole(taken);
        (text.to_owned(), taken, CandidateState::Confirmed)
    });
    assert_eq!(matches, expected);
    assert_eq!(own.state, OriginState::Closed(Closing::Filled));
    let tally = own.tally();
    assert!(tally.is_conserved(), "{tally:?}");
    let (filled, received) = (tally.filled, own.received());
    assert_eq!(
        (filled, received),
        (Quantity::whole(150), Quantity::whole(16_228))
    );
}

/// Unit for unit, behind each primary: what the origin counted of it is what its secondaries owe,
/// each no more than its rule says.
fn took_what_was_given(origin: &Actor, groups: &[Group]) {
    let given = origin.offers().remove(0);
    for (number, group) in groups.iter().enumerate() {
        let (id, method) = (group.primary.id(), METHODS[number]);
        assert_eq!(
            group.primary.sealed(),
            [],
            "a primary has no funds of its own"
        );
        let mut owed = (Quantity::ZERO, Quantity::ZERO);
        for (secondary, (tenths, price)) in group.secondaries.iter().zip(&parts()[number]) {
            let mut paid = Quantity::ZERO;
            for hold in secondary.sealed() {
                let part = hold.part;
                assert_eq!((hold.offer, part.method), (given.offer.id, method));
                assert_eq!(part.price(), Price::whole(*price));
                assert!(part.quantity <= Quantity(tenths * 10_000_000), "{part:?}");
                owed.0 = owed.0.saturating_add(part.quantity);
                paid = paid.saturating_add(part.total);
            }
            owed.1 = owed.1.saturating_add(paid);
            let free = secondary.look(|node| node.holds().free(method, Currency::USD));
            assert_eq!(free, Quantity::whole(FUNDS_USD).less(paid));
        }
        let mut counted = given.gather.candidates().iter();
        let counted = counted.find(|one| one.peer == id).unwrap();
        assert_eq!(owed, (counted.taken, counted.total), "{method}");
    }
}

/// A person at a client that nobody here wrote saw one line of the offer, and one of its end.
fn was_said_once(person: &Person, origin: &str) {
    // The answer leaves behind everything that the origin still had to say.
    person.say(&format!("ctcp {origin} VERSION"));
    person.wait_for(|_| person.lines_with(&[origin, "reply", "VERSION"]) == 1);
    let said = [OFFER, " offer1 ", "close1 "].map(|words| person.lines_with(&[words]));
    assert_eq!(said, [1, 1, 1], "{}", person.log());
}
