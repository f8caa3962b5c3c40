//! One network, from dialling to the channel and back again.
//!
//! ```text
//!        due           connected              001             end of MOTD, or 5 s        own JOIN
//! down ──────▶ dialling ──────▶ registering ──────▶ greeted ────────────────▶ joining ──────────▶ on
//!   ▲             │                  │                 │                      │  ▲                │
//!   └─────────────┴──── closed, silent, refused ───────┴──────────────────────┘  └── kicked: waits ┘
//! ```
//! Whatever a server does costs this one network only: each phase has a deadline, each table and
//! queue a limit, and what closes is dialled again after a wait that grows and is never the same.

use irc::proto::{CapSubCommand, Command, Prefix};

use crate::discovery::irc::channel::Channel;
use crate::discovery::irc::line::{Line, LineError, Lines, plain, read, words};
use crate::discovery::irc::login::Login;
use crate::discovery::irc::name::{CaseMapping, NICKS, nick_of};
use crate::discovery::irc::pace::{Allowance, Full, Pace, Urgency};
use crate::discovery::irc::retry::Retry;
use crate::model::ids::Pin;
use crate::model::random::Random;
use crate::model::time::{Span, Time};

/// What the owner and the key say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the nicks follow from.
    pub pin: Pin,
    /// The node's UUID, and what the owner wants said behind it.
    pub realname: String,
    pub channel: String,
    /// What `PASS` says; servers that ask for none ignore it.
    pub login: Option<Login>,
    /// Whether strangers' questions (`VERSION`, `PING`) are answered. A dark node answers nobody.
    pub answers: bool,
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'h> {
    /// We are on the channel, and its names are known.
    Joined,
    /// We are not on the channel any more.
    Left {
        why: &'h str,
    },
    Came {
        nick: &'h str,
    },
    Gone {
        nick: &'h str,
    },
    Renamed {
        from: &'h str,
        to: &'h str,
    },
    /// `WHO` told a realname.
    Realname {
        nick: &'h str,
        realname: &'h str,
    },
    /// Ranks on the channel are other than before.
    Modes,
    /// Somebody said something to the channel.
    Said {
        nick: &'h str,
        text: &'h str,
    },
    /// Somebody said something to us alone.
    Told {
        nick: &'h str,
        text: &'h str,
    },
    /// Somebody sent us a `DCC` request; `text` is what stands behind that word.
    Dcc {
        nick: &'h str,
        text: &'h str,
    },
}

/// What the socket is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Dial,
    /// Close the connection; the session has given it up already.
    HangUp,
    /// Nothing before then, unless bytes come.
    Wait(Time),
}

/// Where a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    Down {
        again_at: Time,
        why: String,
    },
    Dialling {
        since: Time,
    },
    Registering {
        since: Time,
    },
    Greeted {
        since: Time,
    },
    Joining {
        since: Time,
    },
    /// On the network, and not on the channel until it is tried again.
    Outside {
        again_at: Time,
        why: String,
    },
    On {
        since: Time,
    },
}

/// A connection to one network.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    phase: Phase,
    /// The nick that the server knows us by, or the one that was asked for.
    nick: String,
    /// Which of our nicks is being tried.
    attempt: u8,
    /// Nicks that were refused on this connection.
    refused: u8,
    regain_at: Time,
    channel: Channel,
    /// What the server calls its network.
    network: String,
    lines: Lines,
    pace: Pace,
    heard_at: Time,
    /// When the server was asked for a sign of life that has not come.
    asked_at: Option<Time>,
    dials: Retry,
    joins: Retry,
    /// What strangers were answered.
    answers: Allowance,
    is_closing: bool,
    random: Random,
}

type Hear<'f> = &'f mut dyn FnMut(&Channel, Heard<'_>);

impl Session {
    pub const DIAL_MAX: Span = Span::secs(20);
    /// Some servers look up who asks before they say a word.
    pub const REGISTER_MAX: Span = Span::secs(60);
    /// How long an end of the greeting is waited for; some never send one.
    pub const GREETING_MAX: Span = Span::secs(5);
    pub const JOIN_MAX: Span = Span::secs(60);
    /// Silence after which the server is asked for a sign of life, and how long that may take.
    pub const SILENCE_MAX: Span = Span::secs(90);
    pub const PONG_MAX: Span = Span::secs(45);
    /// How often the nick that others expect is tried for while somebody has it.
    pub const REGAIN_EVERY: Span = Span::secs(60);
    /// Nicks refused in a row before the connection is given up.
    pub const REFUSED_MAX: u8 = 2 * NICKS;
    /// Letters of a network's name that are kept.
    const NETWORK_LEN_MAX: usize = 64;
    /// Answers to strangers at once, and how often there is one more.
    pub const ANSWERS_MAX: u64 = 3;
    pub const ANSWER_EVERY: Span = Span::secs(20);

    pub fn new(settings: Settings, seed: u64) -> Self {
        let down = Phase::Down {
            again_at: Time::ZERO,
            why: "not tried yet".to_owned(),
        };
        Self {
            nick: nick_of(&settings.pin, 0),
            settings,
            phase: down,
            attempt: 0,
            refused: 0,
            regain_at: Time::MAX,
            channel: Channel::default(),
            network: String::new(),
            lines: Lines::default(),
            pace: Pace::new(),
            heard_at: Time::ZERO,
            asked_at: None,
            dials: Retry::of_dials(),
            joins: Retry::of_joins(),
            answers: Allowance::default(),
            is_closing: false,
            random: Random::new(seed),
        }
    }

    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Returns the channel as this connection sees it.
    pub const fn seen(&self) -> &Channel {
        &self.channel
    }

    pub fn nick(&self) -> &str {
        &self.nick
    }

    /// Returns what the server calls its network (`NETWORK` of its `005`); empty where it does not.
    pub fn network(&self) -> &str {
        &self.network
    }

    pub const fn is_on(&self) -> bool {
        matches!(self.phase, Phase::On { .. })
    }

    /// Returns how many lines of this server were too long to be read.
    pub const fn lines_dropped(&self) -> u64 {
        self.lines.dropped()
    }

    /// Lets a line wait for its turn.
    ///
    /// # Errors
    /// Too many of its urgency wait.
    pub fn send(&mut self, urgency: Urgency, line: Line) -> Result<(), Full> {
        self.pace.push(urgency, line)
    }

    /// Tells whether what this node says to the channel is heard there.
    pub fn may_speak(&self) -> bool {
        let own = self.channel.member(&self.nick);
        let has_rank = own.is_some_and(|own| own.has_voice || own.is_operator);
        self.is_on() && (has_rank || !self.channel.is_moderated())
    }

    /// Lets a line to the channel wait for its turn.
    ///
    /// # Errors
    /// The text cannot be said in one line, or too many wait.
    pub fn say(&mut self, urgency: Urgency, text: &str) -> Result<(), SayError> {
        let line = Line::say("PRIVMSG", &self.settings.channel, text)?;
        Ok(self.pace.push(urgency, line)?)
    }

    /// Takes note that the socket is connected.
    pub fn handle_connected(&mut self, now: Time) {
        self.lines.clear();
        self.pace.clear();
        self.channel.clear();
        (self.attempt, self.refused) = (0, 0);
        (self.heard_at, self.asked_at) = (now, None);
        self.regain_at = Time::MAX;
        self.phase = Phase::Registering { since: now };
        if let Some(line) = self.settings.login.as_ref().map(Login::first_line) {
            self.push(Urgency::Server, line);
        }
        self.ask_for_nick();
        let user = Line::new(
            "USER",
            &["expressnet", "0", "*"],
            Some(&self.settings.realname),
        );
        self.push(Urgency::Server, user);
    }

    /// Takes note that the connection is gone, or never was.
    pub fn handle_closed(&mut self, why: &str, now: Time, heard: Hear<'_>) {
        if matches!(self.phase, Phase::Down { .. }) {
            self.is_closing = false;
            return;
        }
        self.give_up(why, now, heard);
        self.is_closing = false;
    }

    /// Takes what the server sent.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Time, heard: Hear<'_>) {
        self.heard_at = now;
        self.asked_at = None;
        let mut lines = std::mem::take(&mut self.lines);
        lines.take(bytes, |line| {
            if !self.is_closing {
                self.handle_line(line, now, heard);
            }
        });
        self.lines = lines;
    }

    /// Does what is due; appends what is to be sent, and says what is next.
    pub fn tend(&mut self, now: Time, out: &mut Vec<u8>, heard: Hear<'_>) -> Next {
        if self.is_closing {
            return Next::HangUp;
        }
        if let Phase::Down { again_at, .. } = self.phase {
            if now < again_at {
                return Next::Wait(again_at);
            }
            self.phase = Phase::Dialling { since: now };
            return Next::Dial;
        }
        if let Some(why) = self.overdue(now) {
            self.give_up(why, now, heard);
            self.is_closing = true;
            return Next::HangUp;
        }
        self.tend_phase(now);
        if matches!(self.phase, Phase::Dialling { .. }) {
            return Next::Wait(self.due_at());
        }
        // One at a time: what a NAT helper is to read must stand alone in its segment.
        if let Some(line) = self.pace.pop(now) {
            line.push_to(out);
        }
        Next::Wait(self.due_at().min(self.pace.due_at().unwrap_or(Time::MAX)))
    }

    /// Returns why the connection is to be given up, if it is.
    fn overdue(&self, now: Time) -> Option<&'static str> {
        let is_over = |since: Time, most: Span| now.since(since) >= most;
        match self.phase {
            Phase::Dialling { since } if is_over(since, Self::DIAL_MAX) => Some("no connection"),
            Phase::Registering { since } if is_over(since, Self::REGISTER_MAX) => {
                Some("no welcome")
            }
            Phase::Dialling { .. } | Phase::Registering { .. } | Phase::Down { .. } => None,
            Phase::Greeted { .. }
            | Phase::Joining { .. }
            | Phase::Outside { .. }
            | Phase::On { .. } => {
                let asked_at = self.asked_at?;
                is_over(asked_at, Self::PONG_MAX).then_some("silence")
            }
        }
    }

    /// Goes on where time alone is a reason to.
    fn tend_phase(&mut self, now: Time) {
        match self.phase {
            Phase::Down { .. } | Phase::Dialling { .. } | Phase::Registering { .. } => return,
            Phase::Greeted { since } if now.since(since) >= Self::GREETING_MAX => self.join(now),
            Phase::Joining { since } if now.since(since) >= Self::JOIN_MAX => {
                self.stay_outside("no answer to JOIN", now);
            }
            Phase::Outside { again_at, .. } if now >= again_at => self.join(now),
            Phase::On { since } => self.dials.note_success(now.since(since)),
            Phase::Greeted { .. } | Phase::Joining { .. } | Phase::Outside { .. } => (),
        }
        if self.asked_at.is_none() && now.since(self.heard_at) >= Self::SILENCE_MAX {
            self.asked_at = Some(now);
            self.push(Urgency::Server, Line::new("PING", &["alive"], None));
        }
        if now >= self.regain_at {
            self.regain_at = now + Self::REGAIN_EVERY;
            let wanted = nick_of(&self.settings.pin, 0);
            self.push(Urgency::Poll, Line::new("NICK", &[&wanted], None));
        }
    }

    /// Returns when time alone is a reason to do something.
    fn due_at(&self) -> Time {
        let sign_of_life = match self.asked_at {
            Some(asked_at) => asked_at + Self::PONG_MAX,
            None => self.heard_at + Self::SILENCE_MAX,
        };
        let of_phase = match self.phase {
            Phase::Down { again_at, .. } => return again_at,
            Phase::Dialling { since } => return since + Self::DIAL_MAX,
            Phase::Registering { since } => return since + Self::REGISTER_MAX,
            Phase::Greeted { since } => since + Self::GREETING_MAX,
            Phase::Joining { since } => since + Self::JOIN_MAX,
            Phase::Outside { again_at, .. } => again_at,
            Phase::On { .. } => Time::MAX,
        };
        of_phase.min(sign_of_life).min(self.regain_at)
    }

    fn give_up(&mut self, why: &str, now: Time, heard: Hear<'_>) {
        let was_on = self.is_on();
        self.channel.clear();
        let wait = self.dials.next_wait(&mut self.random);
        self.phase = Phase::Down {
            again_at: now + wait,
            why: plain(why).into_owned(),
        };
        if was_on {
            heard(&self.channel, Heard::Left { why });
        }
    }

    fn join(&mut self, now: Time) {
        self.channel.clear_members();
        self.phase = Phase::Joining { since: now };
        let join = Line::new("JOIN", &[&self.settings.channel], None);
        self.push(Urgency::Server, join);
    }

    fn stay_outside(&mut self, why: &str, now: Time) {
        let wait = self.joins.next_wait(&mut self.random);
        self.phase = Phase::Outside {
            again_at: now + wait,
            why: plain(why).into_owned(),
        };
    }

    fn ask_for_nick(&mut self) {
        self.nick = nick_of(&self.settings.pin, self.attempt);
        self.push(Urgency::Server, Line::new("NICK", &[&self.nick], None));
    }

    /// Lets a line of our own making wait. One that has no room is lost: the queue is full of lines
    /// to a server that takes none, and its deadline ends that.
    fn push(&mut self, urgency: Urgency, line: Result<Line, LineError>) {
        if let Ok(line) = line {
            self.pace.push(urgency, line).ok();
        }
    }
}

/// Why something cannot be said.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SayError {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error(transparent)]
    Full(#[from] Full),
}

/// What the server says.
impl Session {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most of what a server may say does not concern us"
    )]
    fn handle_line(&mut self, text: &str, now: Time, heard: Hear<'_>) {
        let Some(message) = read(text) else {
            return;
        };
        let source = match &message.prefix {
            Some(Prefix::Nickname(nick, ..)) => nick.as_str(),
            Some(Prefix::ServerName(_)) | None => "",
        };
        let is_own = self.channel.mapping().is_same(source, &self.nick);
        match &message.command {
            Command::PING(token, _) => {
                self.push(Urgency::Server, Line::new("PONG", &[], Some(token)));
            }
            Command::ERROR(why) => {
                self.give_up(why, now, heard);
                self.is_closing = true;
            }
            Command::CAP(_, subcommand, field, capabilities) => {
                let offered = [field, capabilities].map(|text| text.as_deref().unwrap_or_default());
                self.handle_capabilities(*subcommand, offered, now, heard);
            }
            Command::AUTHENTICATE(_) => {
                if let Some(line) = self.settings.login.as_ref().map(Login::answer) {
                    self.push(Urgency::Server, line);
                }
            }
            Command::NICK(to) => self.handle_nick(source, to, is_own, heard),
            Command::JOIN(channel, ..) if self.is_channel(channel) && !is_own => {
                self.channel.handle_join(source, now);
                heard(&self.channel, Heard::Came { nick: source });
            }
            Command::PART(channel, _) if self.is_channel(channel) => {
                self.handle_gone(source, "parted", now, heard);
            }
            Command::QUIT(_) => self.handle_gone(source, "quit", now, heard),
            Command::KICK(channel, nick, _) if self.is_channel(channel) => {
                self.handle_gone(nick, "kicked", now, heard);
            }
            Command::ChannelMODE(channel, _) if self.is_channel(channel) => {
                self.channel.handle_modes(words(text).skip(2));
                heard(&self.channel, Heard::Modes);
            }
            Command::PRIVMSG(to, said) => self.handle_said(source, to, said, now, heard),
            Command::Response(response, words) => {
                self.handle_numeric(*response as u16, words, now, heard);
            }
            Command::Raw(command, words) => {
                if let Ok(number) = command.parse() {
                    self.handle_numeric(number, words, now, heard);
                }
            }
            // A notice is never answered, and nothing else concerns us.
            _ => self.handle_raw(text, heard),
        }
    }

    /// A `MODE` that the parser could not lay out still says who has voice.
    fn handle_raw(&mut self, text: &str, heard: Hear<'_>) {
        let mut words = words(text);
        if words.next() == Some("MODE") && words.next().is_some_and(|to| self.is_channel(to)) {
            self.channel.handle_modes(words);
            heard(&self.channel, Heard::Modes);
        }
    }

    fn is_channel(&self, name: &str) -> bool {
        self.channel.mapping().is_same(name, &self.settings.channel)
    }

    fn is_us(&self, name: &str) -> bool {
        self.channel.mapping().is_same(name, &self.nick)
    }

    fn handle_capabilities(
        &mut self,
        subcommand: CapSubCommand,
        offered: [&str; 2],
        now: Time,
        heard: Hear<'_>,
    ) {
        let has_sasl = offered
            .iter()
            .any(|text| text.split(' ').any(|one| one == "sasl"));
        match subcommand {
            CapSubCommand::ACK if has_sasl => {
                self.push(Urgency::Server, Line::new("AUTHENTICATE", &["PLAIN"], None));
            }
            CapSubCommand::NAK => self.refuse_login("the server knows no SASL", now, heard),
            CapSubCommand::LS
            | CapSubCommand::LIST
            | CapSubCommand::REQ
            | CapSubCommand::ACK
            | CapSubCommand::END
            | CapSubCommand::NEW
            | CapSubCommand::DEL => (),
        }
    }

    /// Who asked to be logged in does not go on without.
    fn refuse_login(&mut self, why: &str, now: Time, heard: Hear<'_>) {
        self.dials.be_patient();
        self.give_up(why, now, heard);
        self.is_closing = true;
    }

    fn handle_numeric(&mut self, number: u16, words: &[String], now: Time, heard: Hear<'_>) {
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        let last = words.last().map_or("", String::as_str);
        match number {
            1 if matches!(self.phase, Phase::Registering { .. }) => self.greet(word(0), now),
            5 => self.handle_features(words),
            376 | 422 if matches!(self.phase, Phase::Greeted { .. }) => self.join(now),
            352 if self.is_channel(word(1)) || word(1) == "*" => {
                // Distance and realname stand in one word.
                let realname = last.split_once(' ').map_or("", |(_, realname)| realname);
                self.channel.handle_realname(word(5), realname);
                let nick = word(5);
                heard(&self.channel, Heard::Realname { nick, realname });
            }
            353 if self.is_channel(word(2)) => {
                for name in last.split(' ').filter(|name| !name.is_empty()) {
                    self.channel.handle_name(name, now);
                }
            }
            366 if self.is_channel(word(1)) && matches!(self.phase, Phase::Joining { .. }) => {
                self.phase = Phase::On { since: now };
                self.joins.note_success(Span::DAY);
                heard(&self.channel, Heard::Joined);
            }
            324 if self.is_channel(word(1)) => {
                self.channel
                    .handle_modes(words.iter().skip(2).map(String::as_str));
            }
            432 | 433 | 436 | 437 => self.handle_nick_refused(now, heard),
            403 | 405 | 471 | 473 | 474 | 475 | 477 if self.is_channel(word(1)) => {
                self.stay_outside(last, now);
            }
            464 | 465 | 904 | 905 | 906 | 908 => self.refuse_login(last, now, heard),
            903 => self.push(Urgency::Server, Line::new("CAP", &["END"], None)),
            _ => (),
        }
    }

    fn greet(&mut self, nick: &str, now: Time) {
        // Some servers cut a nick off instead of refusing it.
        if !nick.is_empty() {
            nick.clone_into(&mut self.nick);
        }
        self.refused = 0;
        if self.attempt > 0 {
            self.regain_at = now + Self::REGAIN_EVERY;
        }
        self.phase = Phase::Greeted { since: now };
        self.push(
            Urgency::Server,
            Line::new("MODE", &[&self.nick, "+B"], None),
        );
    }

    fn handle_features(&mut self, words: &[String]) {
        for word in words.iter().skip(1) {
            match word.split_once('=') {
                Some(("CASEMAPPING", value)) => {
                    self.channel
                        .set_mapping(CaseMapping::parse(value).unwrap_or_default());
                }
                Some(("NETWORK", value)) => {
                    self.network = value.chars().take(Self::NETWORK_LEN_MAX).collect();
                }
                Some(("PREFIX", value)) => self.channel.modes_mut().set_prefix(value),
                Some(("CHANMODES", value)) => self.channel.modes_mut().set_channel_modes(value),
                Some(_) | None => (),
            }
        }
    }

    fn handle_nick(&mut self, from: &str, to: &str, is_own: bool, heard: Hear<'_>) {
        self.channel.handle_nick(from, to);
        if is_own {
            to.clone_into(&mut self.nick);
            if self.is_us(&nick_of(&self.settings.pin, 0)) {
                self.regain_at = Time::MAX;
            }
        } else {
            heard(&self.channel, Heard::Renamed { from, to });
        }
    }

    fn handle_nick_refused(&mut self, now: Time, heard: Hear<'_>) {
        if !matches!(self.phase, Phase::Registering { .. }) {
            return;
        }
        self.refused += 1;
        if self.refused >= Self::REFUSED_MAX {
            self.give_up("every nick is taken", now, heard);
            self.is_closing = true;
            return;
        }
        self.attempt = (self.attempt + 1) % NICKS;
        self.ask_for_nick();
    }

    fn handle_gone(&mut self, nick: &str, why: &'static str, now: Time, heard: Hear<'_>) {
        if !self.is_us(nick) {
            self.channel.handle_gone(nick);
            return heard(&self.channel, Heard::Gone { nick });
        }
        // Whoever was sent away comes back late, or it is no sending away.
        if why != "quit" {
            self.channel.handle_gone(nick);
            self.joins.be_patient();
            self.stay_outside(why, now);
            heard(&self.channel, Heard::Left { why });
        }
    }

    fn handle_said(&mut self, nick: &str, to: &str, text: &str, now: Time, heard: Hear<'_>) {
        let request = text.strip_prefix('\u{1}');
        let request = request.map(|rest| rest.strip_suffix('\u{1}').unwrap_or(rest));
        if self.is_channel(to) {
            // One question to the channel would be as many answers as there are nodes.
            if request.is_none() {
                heard(&self.channel, Heard::Said { nick, text });
            }
        } else if self.is_us(to) && !nick.is_empty() {
            match request {
                None => heard(&self.channel, Heard::Told { nick, text }),
                Some(request) => self.handle_request(nick, request, now, heard),
            }
        }
    }

    /// Answers a polite question politely, and not often.
    fn handle_request(&mut self, nick: &str, request: &str, now: Time, heard: Hear<'_>) {
        let (verb, rest) = request.split_once(' ').unwrap_or((request, ""));
        let answer = match verb.to_ascii_uppercase().as_str() {
            "DCC" => return heard(&self.channel, Heard::Dcc { nick, text: rest }),
            "VERSION" => format!("\u{1}VERSION expressnet {}\u{1}", env!("CARGO_PKG_VERSION")),
            "PING" => format!("\u{1}PING {rest}\u{1}"),
            _ => return,
        };
        if !self.settings.answers || !self.take_answer(now) {
            return;
        }
        self.push(Urgency::Poll, Line::say("NOTICE", nick, &answer));
    }

    fn take_answer(&mut self, now: Time) -> bool {
        let due_at = self.answers.due_at(Self::ANSWERS_MAX, Self::ANSWER_EVERY);
        let is_due = due_at <= now;
        if is_due {
            self.answers.pay(Self::ANSWER_EVERY, now);
        }
        is_due
    }
}
