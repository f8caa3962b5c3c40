//! Sessions against servers that behave, misbehave, or say nothing.

use crate::discovery::irc::channel::Channel;
use crate::discovery::irc::line::Line;
use crate::discovery::irc::login::Login;
use crate::discovery::irc::name::{NICKS, nick_of};
use crate::discovery::irc::pace::Urgency;
use crate::discovery::irc::session::{Heard, Next, Phase, Session, Settings};
use crate::model::ids::Pin;
use crate::model::random::Random;
use crate::model::time::{Span, Time};

const START: Time = Time(1_000 * 1_000_000_000);
const CHANNEL: &str = "#expressnet";

fn pin() -> Pin {
    Pin(std::array::from_fn(|at| u8::try_from(at * 7 + 3).unwrap()))
}

/// A session with a server played by hand.
struct Played {
    session: Session,
    now: Time,
    heard: Vec<String>,
}

fn note(heard: &mut Vec<String>) -> impl FnMut(&Channel, Heard<'_>) {
    |_, said| heard.push(format!("{said:?}"))
}

impl Played {
    fn new(login: Option<Login>) -> Self {
        let settings = Settings {
            pin: pin(),
            realname: "6ba7b810-9dad-41d1-80b4-00c04fd430c8".to_owned(),
            channel: CHANNEL.to_owned(),
            login,
            answers: true,
        };
        Self {
            session: Session::new(settings, 1),
            now: START,
            heard: Vec::new(),
        }
    }

    /// Dials and connects; returns what is said first.
    fn connect(&mut self) -> Vec<String> {
        let (next, _) = self.tend();
        assert_eq!(next, Next::Dial);
        self.session.handle_connected(self.now);
        self.tend().1
    }

    fn tend(&mut self) -> (Next, Vec<String>) {
        let mut out = Vec::new();
        let next = loop {
            let before = out.len();
            let next = self
                .session
                .tend(self.now, &mut out, &mut note(&mut self.heard));
            // One line at a time, until nothing more is due.
            if out.len() == before {
                break next;
            }
        };
        let text = String::from_utf8(out).unwrap();
        (
            next,
            text.split_terminator("\r\n").map(str::to_owned).collect(),
        )
    }

    /// Lets the server say these lines; returns what is answered at once.
    fn hear(&mut self, lines: &str) -> Vec<String> {
        let bytes = lines.replace('\n', "\r\n") + "\r\n";
        self.session
            .handle_bytes(bytes.as_bytes(), self.now, &mut note(&mut self.heard));
        self.tend().1
    }

    fn pass(&mut self, span: Span) -> (Next, Vec<String>) {
        self.now = self.now + span;
        self.tend()
    }

    fn nick(&self) -> String {
        self.session.nick().to_owned()
    }

    /// Goes on to the channel.
    fn join(&mut self) {
        self.connect();
        let nick = self.nick();
        self.hear(&format!(
            ":s 001 {nick} :Welcome\n:s 376 {nick} :End of MOTD"
        ));
        self.hear(&format!(
            ":{nick}!e@h JOIN :{CHANNEL}\n:s 353 {nick} = {CHANNEL} :@op {nick} +talks\n:s 366 {nick} {CHANNEL} :End"
        ));
        assert!(self.session.is_on(), "{:?}", self.session.phase());
        self.heard.clear();
    }

    fn why_down(&self) -> &str {
        let (Phase::Down { why, .. } | Phase::Outside { why, .. }) = self.session.phase() else {
            panic!("{:?}", self.session.phase());
        };
        why
    }
}

#[test]
fn a_polite_server_lets_us_in() {
    let mut played = Played::new(None);
    let nick = nick_of(&pin(), 0);
    let first = played.connect();
    let user = "USER expressnet 0 * :6ba7b810-9dad-41d1-80b4-00c04fd430c8";
    assert_eq!(first, [format!("NICK {nick}"), user.to_owned()]);
    assert_eq!(played.hear("PING :cookie"), ["PONG :cookie"]);
    let said = played.hear(&format!(
        ":s 001 {nick} :Welcome\n:s 005 {nick} CASEMAPPING=ascii PREFIX=(qaohv)~&@%+ :are supported\n:s 422 {nick} :No MOTD"
    ));
    assert_eq!(said, [format!("MODE {nick} +B"), format!("JOIN {CHANNEL}")]);
    played.hear(&format!(
        ":{nick}!e@h JOIN :{CHANNEL}\n:s 353 {nick} = {CHANNEL} :~op +{nick}\n:s 366 {nick} {CHANNEL} :End"
    ));
    assert_eq!(played.heard, ["Joined"]);
    let channel = played.session.seen();
    assert!(channel.member("op").unwrap().is_operator);
    assert!(channel.member(&nick).unwrap().has_voice);
}

#[test]
fn who_comes_and_goes_is_heard() {
    let mut played = Played::new(None);
    played.join();
    played.hear(&format!(
        ":n!u@h JOIN {CHANNEL}\n:s 352 me {CHANNEL} u h s n H :0 some uuid\n:op!u@h MODE {CHANNEL} +v n\n:n!u@h NICK m\n:m!u@h PRIVMSG {CHANNEL} :an offer\n:m!u@h QUIT :bye\n:x!u@h PRIVMSG #other :no"
    ));
    let expected = [
        "Came { nick: \"n\" }",
        "Realname { nick: \"n\", realname: \"some uuid\" }",
        "Modes",
        "Renamed { from: \"n\", to: \"m\" }",
        "Said { nick: \"m\", text: \"an offer\" }",
        "Gone { nick: \"m\" }",
    ];
    assert_eq!(played.heard, expected);
}

#[test]
fn a_server_that_says_nothing_is_left_at_each_deadline() {
    let mut played = Played::new(None);
    assert_eq!(played.tend().0, Next::Dial);
    assert!(matches!(played.pass(Session::DIAL_MAX).0, Next::HangUp));
    played
        .session
        .handle_closed("closed", played.now, &mut |_, _| ());
    assert_eq!(played.why_down(), "no connection");
    let Next::Wait(again_at) = played.tend().0 else {
        panic!("it waits");
    };
    played.now = again_at;
    played.connect();
    assert!(matches!(played.pass(Session::REGISTER_MAX).0, Next::HangUp));
    assert_eq!(played.why_down(), "no welcome");

    let mut played = Played::new(None);
    played.join();
    let (_, said) = played.pass(Session::SILENCE_MAX);
    assert_eq!(said, ["PING alive"]);
    assert!(matches!(played.pass(Session::PONG_MAX).0, Next::HangUp));
    assert_eq!(played.why_down(), "silence");
    assert_eq!(played.heard, ["Left { why: \"silence\" }"]);
}

#[test]
fn a_greeting_without_an_end_is_taken_as_ended() {
    let mut played = Played::new(None);
    played.connect();
    let nick = played.nick();
    played.hear(&format!(":s 001 {nick} :Welcome"));
    let (_, said) = played.pass(Session::GREETING_MAX);
    assert_eq!(said, [format!("JOIN {CHANNEL}")]);
}

#[test]
fn another_nick_is_taken_and_the_first_one_regained() {
    let mut played = Played::new(None);
    let [first, second] = [0, 1].map(|attempt| nick_of(&pin(), attempt));
    played.connect();
    let said = played.hear(&format!(":s 433 * {first} :Nickname is already in use"));
    assert_eq!(said, [format!("NICK {second}")]);
    played.hear(&format!(":s 001 {second} :Welcome\n:s 376 {second} :End"));
    let (_, said) = played.pass(Session::REGAIN_EVERY);
    assert!(said.contains(&format!("NICK {first}")), "{said:?}");
    // It is still in use: nothing ends.
    played.hear(&format!(
        ":s 433 {second} {first} :Nickname is already in use"
    ));
    played.hear(&format!(":{second}!e@h NICK :{first}"));
    assert_eq!(played.nick(), first);
    let (_, said) = played.pass(Session::REGAIN_EVERY);
    assert!(
        !said.iter().any(|line| line.starts_with("NICK")),
        "{said:?}"
    );
}

#[test]
fn a_server_that_refuses_every_nick_is_left() {
    let mut played = Played::new(None);
    played.connect();
    for _ in 0..Session::REFUSED_MAX {
        played.hear(":s 433 * x :Nickname is already in use");
    }
    assert_eq!(played.why_down(), "every nick is taken");
    assert!(usize::from(Session::REFUSED_MAX) >= usize::from(NICKS));
    assert_eq!(played.tend().0, Next::HangUp);
}

#[test]
fn whoever_is_sent_away_comes_back_late_and_later_each_time() {
    let mut played = Played::new(None);
    played.join();
    let nick = played.nick();
    let mut waits = Vec::new();
    for _ in 0..4 {
        played.hear(&format!(":op!u@h KICK {CHANNEL} {nick} :out"));
        let Phase::Outside { again_at, why } = played.session.phase().clone() else {
            panic!("it is outside");
        };
        assert_eq!(why, "kicked");
        let wait = again_at.since(played.now);
        waits.push(wait);
        // The server is there all the time, and says so.
        let mut rejoined = false;
        while played.now < again_at {
            let (_, said) = played.pass(Span::secs(30));
            rejoined |= said.iter().any(|line| line.starts_with("JOIN"));
            assert!(!rejoined || played.now >= again_at);
            played.hear(":s PONG s :alive");
        }
        assert!(rejoined);
        played.hear(&format!(
            ":{nick}!e@h JOIN {CHANNEL}\n:s 474 {nick} {CHANNEL} :Cannot join (+b)"
        ));
        assert_eq!(played.why_down(), "Cannot join (+b)");
        let Phase::Outside { again_at, .. } = played.session.phase().clone() else {
            panic!("it is outside");
        };
        while played.now < again_at {
            played.hear(":s PONG s :alive");
            played.pass(Span::secs(30));
        }
        played.hear(&format!(":s 366 {nick} {CHANNEL} :End"));
        assert!(played.session.is_on());
    }
    assert!(
        waits.iter().all(|wait| *wait >= Span::secs(240)),
        "{waits:?}"
    );
    assert!(
        played
            .heard
            .contains(&"Left { why: \"kicked\" }".to_owned())
    );
}

#[test]
fn an_account_is_named_before_the_channel_is_entered_or_not_at_all() {
    let login = Login::Sasl {
        account: "jilles".to_owned(),
        password: "sesame".to_owned(),
    };
    let mut played = Played::new(Some(login.clone()));
    assert_eq!(played.connect()[0], "CAP REQ :sasl");
    assert_eq!(played.hear(":s CAP * ACK :sasl"), ["AUTHENTICATE PLAIN"]);
    assert_eq!(
        played.hear("AUTHENTICATE +"),
        ["AUTHENTICATE AGppbGxlcwBzZXNhbWU="]
    );
    assert_eq!(
        played.hear(":s 903 x :SASL authentication successful"),
        ["CAP END"]
    );
    for refusal in [":s CAP * NAK :sasl", ":s 904 x :SASL authentication failed"] {
        let mut played = Played::new(Some(login.clone()));
        played.connect();
        played.hear(refusal);
        assert_eq!(played.tend().0, Next::HangUp, "{refusal}");
        assert!(!played.why_down().contains("sesame"));
    }
}

#[test]
fn questions_are_answered_to_who_asks_alone_and_seldom() {
    let mut played = Played::new(None);
    played.join();
    played.pass(Span::secs(60));
    let nick = played.nick();
    let version = format!(":n!u@h PRIVMSG {nick} :\u{1}VERSION\u{1}");
    let said = played.hear(&version);
    let version_said = format!(
        "NOTICE n :\u{1}VERSION expressnet {}\u{1}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(said, [version_said]);
    let said = played.hear(&format!(":n!u@h PRIVMSG {nick} :\u{1}PING 12 34\u{1}"));
    assert_eq!(said, ["NOTICE n :\u{1}PING 12 34\u{1}"]);
    for silent in [
        format!(":n!u@h PRIVMSG {CHANNEL} :\u{1}VERSION\u{1}"),
        format!(":n!u@h NOTICE {nick} :\u{1}VERSION\u{1}"),
        format!(":n!u@h PRIVMSG {nick} :\u{1}FINGER\u{1}"),
    ] {
        assert_eq!(played.hear(&silent), Vec::<String>::new(), "{silent}");
    }
    let mut answers = 0;
    for _ in 0..600 {
        answers += played.hear(&version).len();
        answers += played.pass(Span::secs(1)).1.len();
    }
    assert!((25..=33).contains(&answers), "{answers}");
    let dcc = format!(":n!u@h PRIVMSG {nick} :\u{1}DCC SCHAT chat 1 2\u{1}");
    played.heard.clear();
    played.hear(&dcc);
    assert_eq!(
        played.heard,
        ["Dcc { nick: \"n\", text: \"SCHAT chat 1 2\" }"]
    );
}

#[test]
fn a_dark_node_answers_nobody() {
    let mut played = Played::new(None);
    let mut settings = Settings {
        pin: pin(),
        realname: "r".to_owned(),
        channel: CHANNEL.to_owned(),
        login: None,
        answers: true,
    };
    settings.answers = false;
    played.session = Session::new(settings, 1);
    played.join();
    played.pass(Span::secs(60));
    let nick = played.nick();
    let said = played.hear(&format!(":n!u@h PRIVMSG {nick} :\u{1}VERSION\u{1}"));
    assert_eq!(said, Vec::<String>::new());
}

/// Attacks 34 and 37: whatever a server says, the session is in some phase with a deadline, says no
/// line that is not one, and holds no more than it may.
#[test]
fn whatever_a_server_says_nothing_breaks() {
    let mut random = Random::new(41);
    let words = [
        ":s",
        "001",
        "005",
        "353",
        "366",
        "433",
        "474",
        "352",
        "PING",
        "ERROR",
        "MODE",
        "NICK",
        "JOIN",
        "KICK",
        "PRIVMSG",
        CHANNEL,
        "+v",
        "x",
        "=",
        ":",
        "CASEMAPPING=ascii",
        "PREFIX=(ov)@+",
        "*",
        "\u{1}VERSION\u{1}",
        "CAP",
        "ACK",
        "AUTHENTICATE",
        "@t=1",
        "903",
        "QUIT",
        "\u{fffd}",
        "",
    ];
    for seed in 0..60 {
        let mut played = Played::new(None);
        played
            .session
            .send(Urgency::Poll, Line::new("WHO", &["x"], None).unwrap())
            .unwrap();
        for _ in 0..400 {
            let (next, said) = played.tend();
            assert!(
                said.iter()
                    .all(|line| line.len() <= 510 && !line.contains(['\r', '\n']))
            );
            match next {
                Next::Dial => played.session.handle_connected(played.now),
                Next::HangUp => played
                    .session
                    .handle_closed("closed", played.now, &mut |_, _| ()),
                Next::Wait(at) => assert!(at > played.now || at < Time::MAX, "seed {seed}"),
            }
            let count = random.below(8);
            let own = played.nick();
            let mut word = || match random.below(12) {
                0 => own.clone(),
                1 => format!(":{own}!u@h"),
                _ => words[usize::try_from(random.below(words.len() as u64)).unwrap()].to_owned(),
            };
            let line: Vec<String> = (0..count).map(|_| word()).collect();
            played.hear(&line.join(" "));
            played.now = played.now + Span::millis(random.below(20_000));
        }
    }
}
