//! For tests of feeds: frames that were damaged or say the same in other words, readers compared on
//! them, and a feed that is played with.

use std::fmt::Debug;

use serde_json::Value;

use crate::model::market::UpdateKind;
use crate::model::random::Random;
use crate::model::time::{Span, Time};
use crate::venue::{Ask, DecodeError, Feed, Framing, Heard, Setup, Ticket};

/// What a template, a tolerant reader and serde make of one text.
pub(super) type Readings<T> = [Option<T>; 3];

/// Lets three readers read a text that all of them take, and then thousands like it: what a faster
/// one takes, the slower ones take alike, and the tolerant one takes every other spelling. Returns
/// how many damaged texts each has taken.
pub(super) fn assert_readers_agree<T: PartialEq + Debug>(
    text: &str,
    random: &mut Random,
    read: impl Fn(&[u8]) -> Readings<T>,
) -> [u32; 3] {
    let first = read(text.as_bytes());
    assert!(first.iter().all(Option::is_some), "{text}");
    agree(&first, text.as_bytes());
    let mut taken = [0; 3];
    for _ in 0..20_000 {
        let damaged = damaged(text, random);
        let read = read(&damaged);
        agree(&read, &damaged);
        for (count, read) in taken.iter_mut().zip(&read) {
            *count += u32::from(read.is_some());
        }
    }
    for _ in 0..2_000 {
        let respelled = respelled(text, random);
        let read = read(respelled.as_bytes());
        agree(&read, respelled.as_bytes());
        assert_eq!(read[1], first[0], "{respelled}");
    }
    taken
}

fn agree<T: PartialEq + Debug>(read: &Readings<T>, text: &[u8]) {
    let said = String::from_utf8_lossy(text);
    for (faster, slower) in read.iter().zip(&read[1..]) {
        if faster.is_some() {
            assert_eq!(faster, slower, "{said}");
        }
    }
}

/// What was heard of a book: the kind of update, its sequence, its levels.
pub(super) type Told = (UpdateKind, u64, usize);

/// A feed with what it asked for and what was heard of its books.
pub(super) struct Played<F> {
    pub(super) feed: F,
    pub(super) now: Time,
    pub(super) frames: Vec<String>,
    pub(super) asked: Vec<(Ticket, String)>,
    pub(super) heard: Vec<Told>,
}

impl<F: Feed> Played<F> {
    /// Subscribes at a moment of its own.
    pub(super) fn begin(feed: F) -> Self {
        let mut played = Self {
            feed,
            now: Time(1_700_000_000_000_000_000),
            frames: Vec::new(),
            asked: Vec::new(),
            heard: Vec::new(),
        };
        played.ask(|feed, now, ask| feed.subscribe(now, ask));
        played
    }

    pub(super) fn ask(&mut self, act: impl FnOnce(&mut F, Time, &mut dyn FnMut(Ask<'_>))) {
        let (frames, asked) = (&mut self.frames, &mut self.asked);
        let mut ask = |wanted: Ask<'_>| match wanted {
            Ask::Frame(frame) => frames.push(String::from_utf8_lossy(frame).into_owned()),
            Ask::Get { ticket, target } => asked.push((ticket, target.to_owned())),
        };
        act(&mut self.feed, self.now, &mut ask);
    }

    pub(super) fn wait(&mut self, span: Span) {
        self.now = self.now + span;
        self.ask(|feed, now, ask| {
            let at = feed.tend(now, ask);
            assert!(at.is_some_and(|at| at > now));
        });
    }

    pub(super) fn hear_frame(&mut self, frame: &str) -> Result<(), DecodeError> {
        self.feed
            .decode(frame.as_bytes(), self.now, &mut noted(&mut self.heard))?;
        self.wait(Span::ZERO);
        Ok(())
    }

    /// Answers the oldest question.
    pub(super) fn answer_with(&mut self, status: u16, body: &str) -> Result<(), DecodeError> {
        let (ticket, _) = self.asked.remove(0);
        let (body, now) = (body.as_bytes(), self.now);
        let mut note = noted(&mut self.heard);
        let read = (self.feed).decode_reply(ticket, status, body, now, &mut note);
        drop(note);
        self.wait(Span::ZERO);
        read
    }
}

fn noted(heard: &mut Vec<Told>) -> impl FnMut(Heard<'_>) + use<'_> {
    |fact| {
        if let Heard::Book(update) = fact {
            let levels = update.bids.len() + update.asks.len();
            heard.push((update.kind, update.sequence, levels));
        }
    }
}

/// Returns a venue at which these markets are watched.
pub(super) fn setup(venue: &str, pairs: [&str; 2]) -> Setup {
    Setup {
        venue: venue.parse().unwrap(),
        host: "h".to_owned(),
        pairs: pairs.map(|pair| pair.parse().unwrap()).to_vec(),
        rules: Vec::new(),
        framing: Framing::Plain,
    }
}

/// Changes, inserts or removes a few bytes.
fn damaged(frame: &str, random: &mut Random) -> Vec<u8> {
    const LIKELY: &[u8] = b"0123456789.,:\"[]{}- \\eau";
    let mut frame = frame.as_bytes().to_vec();
    for _ in 0..=random.below(2) {
        let at = index(random, frame.len());
        let byte = LIKELY[index(random, LIKELY.len())];
        match random.below(5) {
            0 | 1 => frame[at] = byte,
            2 => frame[at] = u8::try_from(random.below(256)).unwrap_or_default(),
            3 => frame.insert(at, byte),
            _ => drop(frame.remove(at)),
        }
    }
    frame
}

/// Writes the same JSON with its fields in another order and other space between.
fn respelled(frame: &str, random: &mut Random) -> String {
    let value: Value = serde_json::from_str(frame).unwrap_or_default();
    let mut text = String::new();
    write(&value, random, &mut text);
    text
}

fn write(value: &Value, random: &mut Random, text: &mut String) {
    space(random, text);
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            for at in (1..fields.len()).rev() {
                fields.swap(at, index(random, at + 1));
            }
            text.push('{');
            for (at, (name, value)) in fields.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                space(random, text);
                text.push_str(&format!("{name:?}"));
                space(random, text);
                text.push(':');
                write(value, random, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(item, random, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
    space(random, text);
}

fn space(random: &mut Random, text: &mut String) {
    text.push_str(["", "", "", " ", "\n\t", "\r "][index(random, 6)]);
}

fn index(random: &mut Random, len: usize) -> usize {
    let below = u64::try_from(len).unwrap_or(1).max(1);
    usize::try_from(random.below(below)).unwrap_or_default()
}
