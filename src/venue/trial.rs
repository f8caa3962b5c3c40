//! For tests of feeds: frames that were damaged or say the same in other words, readers compared on
//! them, and a feed that is played with.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde_json::value::RawValue;

use crate::model::market::UpdateKind;
use crate::model::random::Random;
use crate::model::time::{Span, Time};
use crate::venue::{Ask, DecodeError, Feed, Framing, Heard, Setup, Ticket};

/// What a template, a tolerant reader and serde make of one text.
pub(super) type Readings<T> = [Option<T>; 3];

/// What a tolerant reader does with fields that it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// It reads over them where they are plain, so serde takes all that it takes.
    Checked,
    /// It reads over anything, also over what serde knows to be no JSON.
    Unchecked,
}

/// Lets three readers read a text that all of them take, and then thousands like it: they agree on
/// each, and the tolerant one takes every other spelling. Returns how many damaged texts each has
/// taken.
pub(super) fn assert_readers_agree<T: PartialEq + Debug>(
    text: &str,
    random: &mut Random,
    unknown: Unknown,
    read: impl Fn(&[u8]) -> Readings<T>,
) -> [u32; 3] {
    let first = read(text.as_bytes());
    let taken_whole = agree(&first, text.as_bytes(), unknown);
    assert_eq!(taken_whole, [true; 3], "{text}");
    let mut taken = [0; 3];
    for _ in 0..20_000 {
        let damaged = damaged(text, random);
        let by = agree(&read(&damaged), &damaged, unknown);
        for (count, is_taken) in taken.iter_mut().zip(by) {
            *count += u32::from(is_taken);
        }
    }
    for _ in 0..2_000 {
        let respelled = respelled(text, random);
        let read = read(respelled.as_bytes());
        agree(&read, respelled.as_bytes(), unknown);
        assert_eq!(read[1], first[0], "{respelled}");
    }
    taken
}

/// What the template takes, the others take alike, and so does serde what the tolerant reader takes;
/// where that reads over what it does not check, serde may refuse it. Returns which have taken it.
#[track_caller]
pub(super) fn agree<T: PartialEq + Debug>(
    read: &Readings<T>,
    text: &[u8],
    unknown: Unknown,
) -> [bool; 3] {
    let said = String::from_utf8_lossy(text);
    let [template, tolerant, slow] = read;
    if template.is_some() {
        assert_eq!(template, tolerant, "{said}");
        assert_eq!(template, slow, "{said}");
    }
    if tolerant.is_some() && (unknown == Unknown::Checked || slow.is_some()) {
        assert_eq!(tolerant, slow, "{said}");
    }
    read.each_ref().map(Option::is_some)
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
pub(super) fn damaged(frame: &str, random: &mut Random) -> Vec<u8> {
    const LIKELY: &[u8] = b"0123456789.,:\"[]{}- \\eEau";
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

/// Writes the same JSON with its fields in another order and other space between; numbers and texts
/// stay as they were printed.
fn respelled(frame: &str, random: &mut Random) -> String {
    let mut text = String::new();
    write(frame, random, &mut text);
    text
}

fn write(value: &str, random: &mut Random, text: &mut String) {
    space(random, text);
    if let Ok(fields) = serde_json::from_str::<BTreeMap<&str, &RawValue>>(value) {
        let mut fields: Vec<(&str, &RawValue)> = fields.into_iter().collect();
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
            write(value.get(), random, text);
        }
        text.push('}');
    } else if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(value) {
        text.push('[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            write(item.get(), random, text);
        }
        text.push(']');
    } else {
        text.push_str(value);
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
