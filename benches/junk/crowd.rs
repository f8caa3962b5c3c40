//! What a hostile channel says, prepared in a file: 30 s of it are more than memory should hold.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use expressnet::discovery::announce::{Announcement, Draft, Offered, Said, Signer};
use expressnet::discovery::irc::name::nick_of;
use expressnet::model::ids::{OfferId, PeernetId, Pin};
use expressnet::model::number::Quantity;
use expressnet::model::offer::Line;
use expressnet::model::random::Random;
use expressnet::model::time::{Span, Time};

use crate::{CHANNEL, LINES_PER_S};

/// Lines that are said together each millisecond, and once a second besides, as when a split network
/// comes together again. Both make up the lines of a second.
const TICK_LINES: u64 = 18;
const BURST_LINES: u64 = 2_000;
const TICKS_A_SECOND: u64 = 1_000;
const _: () = assert!(TICK_LINES * TICKS_A_SECOND + BURST_LINES == LINES_PER_S);
/// Who is there at once; beyond, somebody leaves for each that comes. More than a node keeps.
const CROWD_MAX: usize = 20_000;
const LIFE_S: u16 = 3_600;
/// One line that no server would pass on, of so many bytes.
const ENDLESS: usize = 9_000;

/// Somebody with a key.
pub(crate) struct Speaker(Ed25519KeyPair);

impl Speaker {
    pub(crate) fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    pub(crate) fn key(&self) -> Signer {
        Signer(self.0.public_key().as_ref().try_into().unwrap())
    }

    /// Says an offer that counts.
    pub(crate) fn offer(&self, number: u64, now: Time) -> String {
        let draft = draft(number, "150BTC@USD:BO:SEPA", self.key(), now);
        let sign = |statement: &[u8]| self.0.sign(statement).as_ref().try_into().unwrap();
        Announcement::issue(draft, CHANNEL, sign)
            .unwrap()
            .to_string()
    }
}

/// An offer by its number.
pub(crate) fn offered(number: u64, text: &str) -> Offered {
    let mut offer = [0x55; 16];
    offer[..8].copy_from_slice(&number.to_be_bytes());
    Offered {
        offer: OfferId(offer),
        version: 1,
        line: Line::parse(text.as_bytes()).unwrap(),
        part_min: Quantity(1),
    }
}

fn draft(number: u64, text: &str, signer: Signer, now: Time) -> Draft {
    let issued_s = u32::try_from(now.0 / Span::SECOND.0).unwrap();
    Draft {
        said: Said::Offer(offered(number, text)),
        peernet: PeernetId(*signer.0.first_chunk().unwrap()),
        token: 7,
        expires_s: issued_s + u32::from(LIFE_S),
        life_s: LIFE_S,
        signer,
    }
}

/// A prepared flood.
pub(crate) struct Prepared {
    /// Bytes of each tick.
    pub(crate) ticks: Vec<u32>,
    pub(crate) lines: u64,
    /// Lines to the channel that reach the sieve if nothing is dropped.
    pub(crate) said: u64,
}

/// The channel, and whom it is hostile to.
pub(crate) struct Crowd {
    random: Random,
    now: Time,
    victim: String,
    friend: Signer,
    /// One good line, said over and over.
    replay: String,
    here: VecDeque<u64>,
    came: u64,
    said: u64,
}

impl Crowd {
    pub(crate) fn new(victim: &str, friend: &Speaker, now: Time) -> Self {
        Self {
            random: Random::new(20_000),
            now,
            victim: victim.to_owned(),
            friend: friend.key(),
            replay: friend.offer(0, now),
            here: VecDeque::new(),
            came: 0,
            said: 0,
        }
    }

    /// Writes so many seconds of junk.
    pub(crate) fn prepare(&mut self, path: &Path, seconds: u64) -> Prepared {
        let mut file = BufWriter::new(File::create(path).unwrap());
        let mut ticks = Vec::new();
        let mut line = Vec::new();
        for tick in 0..seconds * TICKS_A_SECOND {
            let mut bytes = 0;
            let burst = if tick % TICKS_A_SECOND == TICKS_A_SECOND / 2 {
                BURST_LINES
            } else {
                0
            };
            for _ in 0..TICK_LINES + burst {
                line.clear();
                self.line(&mut line);
                line.extend_from_slice(b"\r\n");
                file.write_all(&line).unwrap();
                bytes += line.len();
            }
            ticks.push(u32::try_from(bytes).unwrap());
        }
        file.flush().unwrap();
        Prepared {
            lines: seconds * LINES_PER_S,
            ticks,
            said: self.said,
        }
    }

    /// Makes one line, without its end.
    fn line(&mut self, line: &mut Vec<u8>) {
        let number = self.random.next_u64();
        match self.random.below(100) {
            0..28 => self.forge(line, number, "150BTC@USD:BO:SEPA"),
            28..36 => {
                let draft = draft(number, "150BTC@USD:BO:SEPA", self.friend, self.now);
                self.say(line, forged(draft).as_bytes());
            }
            36..46 => {
                let replay = self.replay.clone();
                self.say(line, replay.as_bytes());
            }
            46..52 => {
                let at = self.below(self.replay.len());
                let cut = self.replay[..at.max(1)].to_owned();
                self.say(line, cut.as_bytes());
            }
            52..56 => {
                let noise = self.noise(200);
                self.say(line, &noise);
            }
            56..58 => {
                let length = match self.random.below(40) {
                    0 => ENDLESS,
                    _ => 381 + self.below(60),
                };
                self.said -= u64::from(length == ENDLESS);
                self.say(line, "1".repeat(length).as_bytes());
            }
            58..66 => self.forge(line, number, "150LTC@EUR:BO:SEPA"),
            66..72 => self.ask(line),
            72..77 => self.offer_link(line, number),
            77..93 => self.churn(line),
            93..95 => self.names(line),
            95..97 => self.tell_who(line, number),
            97..98 => self.change_mode(line),
            _ => {
                // What begins with a space is no line of anybody.
                line.push(b' ');
                let noise = self.noise(100);
                line.extend_from_slice(&noise);
            }
        }
    }

    /// An offer of a key that nobody has heard of, and that did not sign it.
    fn forge(&mut self, line: &mut Vec<u8>, number: u64, text: &str) {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.random.next_u64().to_le_bytes());
        let text = forged(draft(number, text, Signer(key), self.now));
        self.say(line, text.as_bytes());
    }

    fn say(&mut self, line: &mut Vec<u8>, text: &[u8]) {
        self.said += 1;
        self.begin(line);
        write!(line, "PRIVMSG {CHANNEL} :").unwrap();
        line.extend_from_slice(text);
    }

    /// Questions that a polite client answers.
    fn ask(&mut self, line: &mut Vec<u8>) {
        let to = match self.random.below(2) {
            0 => CHANNEL.to_owned(),
            _ => self.victim.clone(),
        };
        let what = ["VERSION", "PING 12345", "ACTION waves", "TIME", "\u{1}"];
        let what = what[self.below(what.len())];
        self.begin(line);
        write!(line, "PRIVMSG {to} :\u{1}{what}\u{1}").unwrap();
    }

    /// Offers of links: of files, in plain text, to forbidden addresses, and to be listened for.
    fn offer_link(&mut self, line: &mut Vec<u8>, number: u64) {
        let token = number % 1_000_000;
        let address = 0x0A00_0000 + number % 65_536;
        let what = match self.random.below(8) {
            0 => format!("SEND file {address} 2000 {token}"),
            1 => format!("CHAT chat {address} 52000"),
            2 => format!("SCHAT chat {address} 52000"),
            3 => format!("SCHAT chat {address} 22"),
            4 => format!("SCHAT chat {address} 52000 {token}"),
            5 => "SCHAT chat".to_owned(),
            _ => format!("SCHAT chat {address} 0 {token}"),
        };
        let victim = self.victim.clone();
        self.begin(line);
        write!(line, "PRIVMSG {victim} :\u{1}DCC {what}\u{1}").unwrap();
    }

    fn churn(&mut self, line: &mut Vec<u8>) {
        let leaves = self.here.len() >= CROWD_MAX || self.random.below(4) == 0;
        let gone = leaves.then(|| self.here.pop_front()).flatten();
        let Some(gone) = gone else {
            self.came += 1;
            self.here.push_back(self.came);
            return write!(line, ":{}!u@host JOIN {CHANNEL}", nick(self.came)).unwrap();
        };
        match self.random.below(3) {
            0 => write!(line, ":{}!u@host PART {CHANNEL} :bye", nick(gone)).unwrap(),
            1 => write!(line, ":{}!u@host QUIT :bye", nick(gone)).unwrap(),
            _ => {
                self.came += 1;
                self.here.push_back(self.came);
                write!(line, ":{}!u@host NICK {}", nick(gone), nick(self.came)).unwrap();
            }
        }
    }

    fn names(&mut self, line: &mut Vec<u8>) {
        let victim = &self.victim;
        write!(line, ":irc 353 {victim} = {CHANNEL} :{victim}").unwrap();
        let count = self.here.len().min(40);
        for number in self.here.iter().rev().take(count) {
            write!(line, " +{}", nick(*number)).unwrap();
        }
    }

    /// Every nick claims to be a node, and no two the same.
    fn tell_who(&mut self, line: &mut Vec<u8>, number: u64) {
        let victim = self.victim.clone();
        let nick = self.somebody();
        write!(
            line,
            ":irc 352 {victim} {CHANNEL} u host irc {nick} H :0 {:08x}-0000-8000-8000-{:012x} me",
            number >> 32,
            number >> 16
        )
        .unwrap();
    }

    fn change_mode(&mut self, line: &mut Vec<u8>) {
        let (one, other) = (self.somebody(), self.somebody());
        write!(line, ":op!u@host MODE {CHANNEL} +v-v {one} {other}").unwrap();
    }

    fn begin(&mut self, line: &mut Vec<u8>) {
        let nick = self.somebody();
        write!(line, ":{nick}!user@host.example ").unwrap();
    }

    fn somebody(&mut self) -> String {
        match self.here.len() {
            0 => "op".to_owned(),
            here => {
                let at = self.below(here);
                nick(self.here[at])
            }
        }
    }

    /// Bytes of any kind but those that end a line.
    fn noise(&mut self, most: u64) -> Vec<u8> {
        let length = self.random.below(most);
        let byte = |random: &mut Random| u8::try_from(random.below(256)).unwrap();
        let noise = (0..length).map(|_| byte(&mut self.random));
        noise
            .map(|byte| match byte {
                b'\r' | b'\n' | 1 => b'?',
                byte => byte,
            })
            .collect()
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.random.below(most as u64)).unwrap()
    }
}

fn forged(draft: Draft) -> String {
    let issued = Announcement::issue(draft, CHANNEL, |_| [9; 64]);
    issued.unwrap().to_string()
}

/// A nick as every node has one.
fn nick(number: u64) -> String {
    let mut pin = Pin([0; 32]);
    pin.0[..8].copy_from_slice(&(number << 24).to_be_bytes());
    nick_of(&pin, 0)
}
