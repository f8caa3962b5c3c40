//! Whom a station meets, and what others can make it do.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::discovery::irc::name::{CaseMapping, nick_of};
use crate::discovery::network::{Mode, Network, NetworkNo, Settings, Trust};
use crate::discovery::station::{Act, AttemptNo, Failure, Rung, Standing, Station};
use crate::model::ids::{NodeId, Pin};
use crate::model::time::{Span, Time};

const ONE: NetworkNo = NetworkNo(0);
const NOW: Time = Time(1_000_000 * 1_000_000_000);

fn pin(seed: u16) -> Pin {
    let [high, low] = seed.to_be_bytes();
    Pin(std::array::from_fn(|at| {
        if at % 2 == 0 { high } else { low ^ 0x5A }
    }))
}

fn node(seed: u16) -> NodeId {
    pin(seed).node_id()
}

fn nick(seed: u16) -> String {
    nick_of(&pin(seed), 0)
}

fn settings(mode: Mode) -> Settings {
    let network = |trust| Network {
        name: "one".to_owned(),
        host: "irc.test".to_owned(),
        port: 6667,
        trust,
        bind: None,
        login_file: None,
    };
    Settings {
        mode,
        trust_min: 0,
        networks: vec![network(Trust::Plain), network(Trust::Public)],
        ..Settings::default()
    }
}

/// A station at an address, on the first network, with these strangers there.
struct Scene {
    station: Station,
    now: Time,
}

impl Scene {
    fn new(settings: Settings, local: &str, others: &[u16]) -> Self {
        let mut scene = Self {
            station: Station::new(node(1), settings, 7),
            now: NOW,
        };
        let local: IpAddr = local.parse().unwrap();
        let members: Vec<(String, String)> = others
            .iter()
            .map(|seed| (nick(*seed), format!("{} somebody", node(*seed))))
            .collect();
        let members = members
            .iter()
            .map(|(nick, realname)| (nick.as_str(), Some(realname.as_str())));
        let mapping = CaseMapping::Ascii;
        scene
            .station
            .handle_joined(ONE, mapping, local, members, scene.now);
        scene
    }

    /// Lets time pass up to a moment, deadline by deadline; returns what was wished for.
    fn pass(&mut self, span: Span) -> Vec<Act> {
        let until = self.now + span;
        let mut acts = self.acts();
        while let Some(due) = self.station.deadline().filter(|due| due.at <= until) {
            self.now = self.now.max(due.at);
            self.station.handle_deadline(self.now);
            acts.extend(self.acts());
        }
        self.now = until;
        acts
    }

    fn acts(&mut self) -> Vec<Act> {
        std::iter::from_fn(|| self.station.poll_act()).collect()
    }

    fn dcc(&mut self, nick: &str, text: &str) -> Vec<Act> {
        self.station.handle_dcc(ONE, nick, text, self.now);
        self.acts()
    }

    fn count(&self, what: &str) -> u64 {
        self.station.counts().get(what).copied().unwrap_or(0)
    }
}

fn said(acts: &[Act]) -> Vec<String> {
    let line = |act: &Act| match act {
        Act::Say { line, .. } => Some(line.as_str().to_owned()),
        Act::Listen { .. } | Act::Dial { .. } | Act::Forget { .. } | Act::Report(_) => None,
    };
    acts.iter().filter_map(line).collect()
}

fn dialled(acts: &[Act]) -> Vec<(AttemptNo, SocketAddr)> {
    let dial = |act: &Act| match act {
        Act::Dial {
            attempt, address, ..
        } => Some((*attempt, *address)),
        Act::Say { .. } | Act::Listen { .. } | Act::Forget { .. } | Act::Report(_) => None,
    };
    acts.iter().filter_map(dial).collect()
}

fn listened(acts: &[Act]) -> Vec<AttemptNo> {
    let listen = |act: &Act| match act {
        Act::Listen { attempt, .. } => Some(*attempt),
        Act::Say { .. } | Act::Dial { .. } | Act::Forget { .. } | Act::Report(_) => None,
    };
    acts.iter().filter_map(listen).collect()
}

/// The ladder: this node listens, then asks the other one to, then leaves it for a while.
#[test]
fn every_rung_is_tried_and_then_there_is_a_rest() {
    let mut scene = Scene::new(settings(Mode::Open), "20.0.0.1", &[9]);
    let acts = scene.pass(Span::secs(60));
    let [attempt] = listened(&acts)[..] else {
        panic!("{acts:?}");
    };
    scene
        .station
        .handle_listening(attempt, "20.0.0.1:50007".parse().unwrap());
    let offer = format!(
        "PRIVMSG {} :\u{1}DCC SCHAT chat 335544321 50007\u{1}",
        nick(9)
    );
    assert_eq!(said(&scene.acts()), [offer]);
    let acts = scene.pass(Span::secs(60));
    assert!(acts.contains(&Act::Forget { attempt }));
    let passive = said(&acts);
    assert!(
        passive.len() == 1 && passive[0].contains("SCHAT chat 335544321 0 "),
        "{passive:?}"
    );
    // A public address needs no helper, so that was the last rung.
    let acts = scene.pass(Span::secs(50));
    assert_eq!((listened(&acts), said(&acts)), (vec![], vec![]));
    assert_eq!(
        scene.station.sightings()[0].why_not.as_deref(),
        Some("no offer led to a link")
    );
    let acts = scene.pass(Station::AGAIN_MIN);
    assert_eq!(listened(&acts).len(), 1, "it begins anew");
}

/// Behind a NAT nothing direct is tried; the helper is, where the network is plain text.
#[test]
fn a_private_address_asks_the_other_one_first() {
    let mut scene = Scene::new(settings(Mode::Open), "192.168.1.7", &[9]);
    let acts = scene.pass(Span::secs(60));
    assert_eq!(listened(&acts), []);
    let asked = said(&acts);
    let token = asked[0]
        .trim_end_matches('\u{1}')
        .rsplit(' ')
        .next()
        .unwrap();
    // The answer of somebody else, and one to no question, are dropped.
    scene.dcc(&nick(8), &format!("SCHAT chat 134744072 5000 {token}"));
    scene.dcc(&nick(9), "SCHAT chat 134744072 5000 77");
    assert_eq!(scene.count("refused_token"), 2);
    let acts = scene.dcc(&nick(9), &format!("SCHAT chat 134744072 5000 {token}"));
    let [(attempt, address)] = dialled(&acts)[..] else {
        panic!("{acts:?}");
    };
    assert_eq!(address, "8.8.8.8:5000".parse().unwrap());
    // Once only.
    let again = scene.dcc(&nick(9), &format!("SCHAT chat 134744072 5000 {token}"));
    assert_eq!(dialled(&again), []);
    scene.station.handle_failed(attempt, scene.now);
    let acts = scene.pass(Span::secs(20));
    let [helped] = listened(&acts)[..] else {
        panic!("{acts:?}");
    };
    assert!(scene.station.handle_met(helped, node(9), scene.now));
    assert_eq!(scene.station.sightings()[0].by, Some(Rung::Helper));
}

/// Who came and was no node is told apart from nobody, and from who lies.
#[test]
fn what_an_attempt_came_to_is_counted_by_its_reason() {
    let mut scene = Scene::new(settings(Mode::Open), "20.0.0.1", &[]);
    for (failure, name) in [
        (Failure::Unreached, "unreached"),
        (Failure::Tls, "no_tls"),
        (Failure::NoCard, "no_card"),
        (Failure::AnotherKey, "false_card"),
    ] {
        assert_eq!(scene.count(name), 0);
        scene.station.handle_missed(failure);
        assert_eq!(scene.count(name), 1);
    }
}

#[test]
fn a_network_with_tls_has_no_helper() {
    let mut scene = Scene::new(settings(Mode::Open), "192.168.1.7", &[]);
    let members = [(nick(9), node(9).to_string())];
    let members = members.iter().map(|(nick, name)| (&**nick, Some(&**name)));
    let (mapping, local) = (CaseMapping::Ascii, "192.168.1.7".parse().unwrap());
    scene
        .station
        .handle_joined(NetworkNo(1), mapping, local, members, scene.now);
    let acts = scene.pass(Span::secs(100));
    assert_eq!(said(&acts).len(), 1);
    assert_eq!(listened(&acts), []);
}

/// Attack 29, 30: nothing is sent to an address that a stranger must not name.
#[test]
fn offers_of_addresses_that_are_not_open_are_dropped_without_a_word() {
    let mut scene = Scene::new(settings(Mode::Open), "20.0.0.1", &[9]);
    scene.station.forbid("20.0.0.99".parse().unwrap());
    for address in [
        "2130706433",
        "167772161",
        "2886729729",
        "3232235777",
        "2851995649",
        "1681915905",
        "0",
        "3758096385",
        "4294967295",
        "::1",
        "fc00::1",
        "fe80::1",
        "::ffff:127.0.0.1",
        "335544321",
        "335544419",
    ] {
        let acts = scene.dcc(&nick(9), &format!("SCHAT chat {address} 5000"));
        assert_eq!(acts, [], "{address}");
    }
    assert_eq!(scene.count("refused_address"), 15);
    for text in [
        "SCHAT chat 134744072 80",
        "SCHAT chat 134744072 0",
        "SEND a 1 2",
        "SCHAT",
    ] {
        assert_eq!(scene.dcc(&nick(9), text), [], "{text}");
    }
    let local = Settings {
        is_local_allowed: true,
        ..settings(Mode::Open)
    };
    let mut scene = Scene::new(local, "127.0.0.1", &[9]);
    assert_eq!(
        dialled(&scene.dcc(&nick(9), "SCHAT chat 2130706433 5000")).len(),
        1
    );
    assert_eq!(scene.dcc(&nick(9), "SCHAT chat 0 5000"), []);
    assert_eq!(scene.dcc(&nick(9), "SCHAT chat 3758096385 5000"), []);
}

/// Attack 31: many nicks that name one victim do not make this node knock there often.
#[test]
fn one_address_is_dialled_no_oftener_however_many_name_it() {
    let mut scene = Scene::new(settings(Mode::Open), "20.0.0.1", &[]);
    let mut dials = 0;
    for seed in 0..1_000 {
        dials += dialled(&scene.dcc(&nick(seed), "SCHAT chat 134744072 5000")).len();
        scene.pass(Span::millis(100));
    }
    assert!(dials <= 4, "{dials} in 100 s");
    // The whole of what strangers cause is bounded as well, and so is what one IPv6 customer has.
    let mut dials = 0;
    for seed in 0..1_000_u32 {
        let address = 0x0900_0000 + seed * 7;
        let acts = scene.dcc(&nick(9), &format!("SCHAT chat {address} 5000"));
        dials += dialled(&acts).len();
    }
    assert!(dials <= 12, "{dials} at once");
    scene.pass(Span::secs(3_600));
    let mut dials = 0;
    for seed in 0..20 {
        let acts = scene.dcc(&nick(9), &format!("SCHAT chat 2a00:1::{seed} 5000"));
        dials += dialled(&acts).len();
    }
    assert_eq!(dials, 3);
}

/// Attack 33, 36: who somebody is, the key says and not the nick.
#[test]
fn a_nick_is_no_identity() {
    let mut scene = Scene::new(settings(Mode::Open), "20.0.0.1", &[9]);
    let acts = scene.dcc(&nick(9), "SCHAT chat 134744072 5000");
    let attempt = dialled(&acts)[0].0;
    assert!(!scene.station.handle_met(attempt, node(8), scene.now));
    let acts = scene.acts();
    assert!(
        acts.iter()
            .any(|act| matches!(act, Act::Report(text) if text.contains("another node"))),
        "{acts:?}"
    );
    assert_eq!(scene.count("another_key"), 1);
    assert!(
        !scene.station.handle_met(attempt, node(9), scene.now),
        "it is over"
    );
    // One that claims nothing is whoever its key says.
    let acts = scene.dcc("somebody", "SCHAT chat 134744073 5000");
    assert!(
        scene
            .station
            .handle_met(dialled(&acts)[0].0, node(4), scene.now)
    );
}

/// Attack 35, and manners: plain chat is refused, to people politely and not often.
#[test]
fn plain_chat_is_refused_and_a_dark_node_says_nothing_to_anybody() {
    let mut scene = Scene::new(settings(Mode::Open), "20.0.0.1", &[]);
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.extend(said(&scene.dcc("alice", "CHAT chat 134744072 5000")));
    }
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0], "NOTICE alice :\u{1}DCC REJECT CHAT chat\u{1}");
    let mut dark = Scene::new(settings(Mode::Dark), "20.0.0.1", &[9]);
    dark.station.list(&pin(3), dark.now);
    for text in [
        "CHAT chat 134744072 5000",
        "SCHAT chat 134744072 5000",
        "SCHAT chat 134744072 0 5",
    ] {
        assert_eq!(dark.dcc(&nick(9), text), [], "{text}");
    }
    assert_eq!(dark.pass(Span::secs(3_600)), []);
    assert_eq!(dark.count("polls"), 0);
    assert_eq!(
        dark.station.sightings()[..],
        [],
        "whom a stranger claims to be does not matter"
    );
}

#[test]
fn a_dark_node_meets_who_is_listed_by_the_nick_of_the_key() {
    let mut scene = Scene::new(settings(Mode::Dark), "20.0.0.1", &[9]);
    scene.station.list(&pin(3), scene.now);
    scene
        .station
        .handle_came(ONE, &nick_of(&pin(3), 2), scene.now);
    let acts = scene.pass(Span::secs(90));
    assert_eq!(listened(&acts).len(), 1);
    let accepted = scene.dcc(&nick_of(&pin(3), 2), "SCHAT chat 134744072 5000");
    let attempt = dialled(&accepted)[0].0;
    assert!(!scene.station.handle_met(attempt, node(9), scene.now));
    // Listed while the nick was there already.
    scene.station.handle_came(ONE, &nick(12), scene.now);
    scene.pass(Span::secs(90));
    let is_known = |scene: &Scene| {
        let mut seen = scene.station.sightings().into_iter();
        seen.any(|seen| seen.node == node(12))
    };
    assert!(!is_known(&scene));
    scene.station.list(&pin(12), scene.now);
    assert!(is_known(&scene));
    assert!(!listened(&scene.pass(Span::secs(90))).is_empty());
}

/// Offers leave one after the other, and no more of them than a NAT helper remembers are open.
#[test]
fn offers_are_staggered() {
    let others: Vec<u16> = (300..360).collect();
    let mut scene = Scene::new(settings(Mode::Open), "20.0.0.1", &others);
    let mut open: BTreeMap<AttemptNo, ()> = BTreeMap::new();
    let (mut most, mut offers) = (0, 0);
    for _ in 0..120 {
        for act in scene.pass(Span::secs(1)) {
            match act {
                Act::Listen { attempt, .. } => {
                    open.insert(attempt, ());
                    offers += 1;
                }
                Act::Forget { attempt } => {
                    open.remove(&attempt);
                }
                Act::Say { .. } | Act::Dial { .. } | Act::Report(_) => (),
            }
            most = most.max(open.len());
        }
    }
    assert!(most <= Station::OUTSTANDING_MAX, "{most}");
    assert!((10..=16).contains(&offers), "{offers} in two minutes");
}

/// What this node sends does not grow with the channel.
#[test]
fn polling_is_flat_from_a_hundred_to_ten_thousand_members() {
    let mut sent = Vec::new();
    for members in [100_u16, 1_000, 10_000] {
        let mut scene = Scene::new(settings(Mode::Open), "20.0.0.1", &[]);
        let nicks: Vec<String> = (1_000..1_000 + members).map(nick).collect();
        let there = nicks.iter().map(|nick| (nick.as_str(), None));
        let (mapping, local) = (CaseMapping::Ascii, "20.0.0.1".parse().unwrap());
        scene
            .station
            .handle_joined(ONE, mapping, local, there, scene.now);
        let mut lines = 0;
        let mut asked = 0;
        for _ in 0..120 {
            for line in said(&scene.pass(Span::secs(60))) {
                lines += 1;
                let Some(nick) = line
                    .strip_prefix("WHO ")
                    .filter(|who| *who != "#expressnet")
                else {
                    continue;
                };
                asked += 1;
                let at = nicks.iter().position(|known| known == nick).unwrap();
                let realname = node(1_000 + at as u16).to_string();
                scene
                    .station
                    .handle_realname(ONE, nick, &realname, scene.now);
            }
        }
        assert!(asked <= 2 * 220, "{members} members: {asked}");
        assert!(members <= 200 || asked >= 300, "{members} members: {asked}");
        sent.push(lines);
    }
    assert!(sent.iter().all(|lines| *lines <= 1_300), "{sent:?}");
    assert!(sent[2] <= sent[1] * 11 / 10, "{sent:?}");
}

#[test]
fn whoever_is_linked_is_left_alone_and_whoever_is_not_wanted_for_a_while() {
    let mut scene = Scene::new(settings(Mode::Open), "20.0.0.1", &[8, 9]);
    let standing = Standing::Linked;
    scene.station.handle_standing(node(9), standing, scene.now);
    let until = scene.now + Span::secs(3_600);
    let standing = Standing::Unwanted { until };
    scene.station.handle_standing(node(8), standing, scene.now);
    assert_eq!(listened(&scene.pass(Span::secs(3_500))), []);
    for seed in [8, 9] {
        assert_eq!(scene.dcc(&nick(seed), "SCHAT chat 134744072 5000"), []);
    }
    assert_eq!(listened(&scene.pass(Span::secs(200))).len(), 1);
    let standing = Standing::Free;
    scene.station.handle_standing(node(9), standing, scene.now);
    assert_eq!(listened(&scene.pass(Span::secs(20))).len(), 1);
}

/// Whoever goes is forgotten, whoever takes the nick is asked for anew, and a network that is lost
/// takes its members along.
#[test]
fn what_was_claimed_ends_with_the_nick() {
    let mut scene = Scene::new(settings(Mode::Open), "20.0.0.1", &[9]);
    scene.station.handle_gone(ONE, &nick(9));
    assert_eq!(scene.station.sightings(), []);
    scene.station.handle_came(ONE, &nick(9), scene.now);
    assert_eq!(
        said(&scene.pass(Span::secs(1))),
        [format!("WHO {}", nick(9))]
    );
    scene
        .station
        .handle_realname(ONE, &nick(9), &node(4).to_string(), scene.now);
    assert_eq!(scene.station.sightings()[0].node, node(4));
    scene.station.handle_left(ONE);
    assert_eq!(listened(&scene.pass(Span::secs(100))), []);
    assert_eq!(scene.station.sightings(), []);
}

/// Any text behind `DCC`, from anybody, leaves the tables within their limits.
#[test]
fn a_flood_of_offers_costs_no_more_than_its_bucket() {
    let mut scene = Scene::new(settings(Mode::Open), "20.0.0.1", &[]);
    let mut acts = 0;
    for count in 0..100_000_u32 {
        let text = match count % 4 {
            0 => format!("SCHAT chat {} 5000", 0x0900_0000 + count),
            1 => format!("SCHAT chat 134744072 0 {count}"),
            2 => "CHAT chat 134744072 5000".to_owned(),
            _ => "SCHAT chat".to_owned(),
        };
        acts += scene.dcc(&nick(count as u16), &text).len();
    }
    assert!(acts <= 12 + 3, "{acts}");
    assert!(scene.station.targets.len() <= Station::TARGETS_MAX);
}
