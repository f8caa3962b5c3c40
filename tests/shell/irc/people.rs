//! People on the channel, at clients that nobody here wrote, see a well-behaved user and nothing else.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Instant;

use serde_json::Value;

use crate::shell::irc::meeting::member;
use crate::shell::irc::programs::{Client, Person};
use crate::shell::irc::servers::{Kind, Server};
use crate::shell::process::Node;
use crate::shell::world::Folder;

/// Requests in a row, as somebody sends them who wants a node to flood.
const MANY: usize = 30;
/// Answers of one kind at once, and how long it takes until there is one more.
const ANSWERS_MAX: usize = 3;
const ANSWER_EVERY_S: u64 = 20;

#[test]
fn weechat_sees_a_polite_user_who_is_not_to_be_hurried() {
    sees_a_polite_user(Client::Weechat);
}

#[test]
fn irssi_sees_a_polite_user_who_is_not_to_be_hurried() {
    sees_a_polite_user(Client::Irssi);
}

fn sees_a_polite_user(client: Client) {
    let folder = Folder::new();
    let Some(server) = Server::start(Kind::Ngircd) else {
        return;
    };
    let Some(person) = Person::join(client, server.plain) else {
        return;
    };
    let servers = [server];
    let [mut open, mut dark] = ["open", "dark"].map(|mode| member(&folder, mode, mode, &servers));
    let (open_nick, dark_nick) = (join(&mut open), join(&mut dark));
    // Plain chat is offered here, and nobody may come.
    let offered = TcpListener::bind("127.0.0.1:0").unwrap();
    offered.set_nonblocking(true).unwrap();
    let port = offered.local_addr().unwrap().port();
    let chat = |nick: &str| format!("ctcp {nick} DCC CHAT chat 2130706433 {port}");

    for nick in [&dark_nick, &open_nick] {
        person.say(&format!("ctcp {nick} VERSION"));
        person.ping(nick);
        person.say(&format!("dcc chat {nick}"));
        person.say(&chat(nick));
    }
    count(&dark, "refused_plain", 2);
    let began = Instant::now();
    let words = |what: &'static str| -> [&str; 3] { [&open_nick, "reply", what] };
    let refusal: [&str; 2] = [&open_nick, "DCC REJECT CHAT chat"];
    person.wait_for(|_| person.lines_with(&words("VERSION")) == 1);
    person.wait_for(|_| person.lines_with(&words("PING")) == 1);
    person.wait_for(|_| person.lines_with(&refusal) == 2);

    // Each answer waits behind those before it, so one that is seen was preceded by all of them.
    for _ in 0..MANY {
        person.say(&chat(&open_nick));
    }
    count(&open, "refused_plain", 2 + MANY);
    person.say(&format!("ctcp {open_nick} VERSION"));
    person.wait_for(|_| person.lines_with(&words("VERSION")) == 2);
    let refusals = person.lines_with(&refusal);
    assert!(refusals <= at_most(began), "{refusals}");

    is_not_hurried_by_questions(&folder, &servers, &person);

    assert_eq!(offered.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    for node in [&open, &dark] {
        assert_eq!(counts(node)["dials"], Value::Null);
    }
    // All that the dark node may still have to say leaves before its good-bye.
    assert!(dark.stop());
    person.wait_for(|_| person.lines_with(&[&dark_nick, "has quit"]) > 0);
    for word in ["reply", "NOTICE", "REJECT"] {
        assert_eq!(
            person.lines_with(&[&dark_nick, word]),
            0,
            "{}",
            person.log()
        );
    }
}

/// A node of its own, for the answers of the others are spent.
fn is_not_hurried_by_questions(folder: &Folder, servers: &[Server], person: &Person) {
    let mut fresh = member(folder, "fresh", "open", servers);
    let nick = join(&mut fresh);
    let began = Instant::now();
    for _ in 0..MANY {
        person.say(&format!("ctcp {nick} VERSION"));
    }
    person.say(&format!("ctcp {nick} DCC CHAT chat 2130706433 5000"));
    person.wait_for(|_| person.lines_with(&[&nick, "DCC REJECT CHAT chat"]) == 1);
    let answers = person.lines_with(&[&nick, "reply", "VERSION"]);
    assert!((1..=at_most(began)).contains(&answers), "{answers}");
}

/// Returns how many answers of one kind there may be since then.
fn at_most(since: Instant) -> usize {
    let more = since.elapsed().as_secs() / ANSWER_EVERY_S + 1;
    ANSWERS_MAX + usize::try_from(more).unwrap()
}

/// Runs a node until it is on the channel; returns its nick.
pub(super) fn join(node: &mut Node) -> String {
    node.run(&[]);
    let report = node.wait_for(&["channel", "--json"], |report| {
        report["networks"][0]["state"] == "on"
    });
    report["networks"][0]["nick"].as_str().unwrap().to_owned()
}

/// Waits until something was counted as often.
#[track_caller]
pub(super) fn count(node: &Node, what: &str, times: usize) {
    node.wait_for(&["channel", "--json"], |report| {
        report["counts"][what].as_u64() == Some(times as u64)
    });
}

pub(super) fn counts(node: &Node) -> Value {
    let report: Value = serde_json::from_str(&node.cli(&["channel", "--json"])).unwrap();
    report["counts"].clone()
}
