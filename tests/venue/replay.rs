//! Recorded streams played through a feed and the books behind it, as the node does it.

#![expect(clippy::print_stderr, reason = "what is skipped is said aloud")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use expressnet::book::{Applied, Book, BookState};
use expressnet::model::instrument::Pair;
use expressnet::model::market::{Level, Side, UpdateKind};
use expressnet::model::time::{Span, Time};
use expressnet::venue::literal::{Excess, Literal};
use expressnet::venue::{Ask, DecodeError, Dialect, Feed, Heard, Ticket};
use serde::Deserialize;

use crate::venue::fixtures::{bytes_of, files_below, root};
use crate::venue::replaying::watched;

/// One stream with the documents that were asked for beside it, in the order of their arrival.
#[derive(Debug)]
pub(crate) struct Capture {
    pub path: PathBuf,
    pub lines: Vec<Line>,
    pub pairs: Vec<Pair>,
}

/// What came in at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub at: Time,
    /// `None` for a frame of the stream.
    pub document_of: Option<Pair>,
    pub data: String,
}

#[derive(Deserialize)]
struct Recorded<'a> {
    t: String,
    #[serde(borrow, default)]
    ts: Option<Literal<'a>>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    data: Option<String>,
}

/// Reads every capture of an exchange; `named` finds a market's name in the address of its book.
pub(crate) fn captures(exchange: &str, named: fn(&str) -> Option<&str>) -> Vec<Capture> {
    let Some(root) = root() else {
        return Vec::new();
    };
    let mut captures = Vec::new();
    for path in files_below(&root.join(exchange)) {
        let text = String::from_utf8(bytes_of(&path)).unwrap();
        let mut lines = Vec::new();
        for text in text.lines() {
            let Ok(line) = serde_json::from_str::<Recorded<'_>>(text) else {
                continue;
            };
            let (Some(ts), Some(data)) = (line.ts, line.data) else {
                continue;
            };
            let document_of = match (line.t.as_str(), line.url.as_deref().and_then(named)) {
                ("recv", _) => None,
                ("http", Some(name)) => Some(pair_of(name)),
                _ => continue,
            };
            let nanos = ts.units(Excess::Nearest).unwrap() * 10;
            lines.push(Line {
                at: Time(u64::try_from(nanos).unwrap()),
                document_of,
                data,
            });
        }
        let mut pairs: Vec<Pair> = lines.iter().filter_map(|line| line.document_of).collect();
        pairs.sort();
        pairs.dedup();
        if !pairs.is_empty() {
            lines.sort_by_key(|line| line.at);
            captures.push(Capture { path, lines, pairs });
        }
    }
    if captures.is_empty() {
        eprintln!("SKIPPED: no captures of {exchange} in {}", root.display());
    }
    captures
}

/// Splits a market's name such as `btcusd`; the recorded ones end with one of these.
pub(crate) fn pair_of(name: &str) -> Pair {
    let name = name.to_uppercase();
    let quotes = ["USDT", "BUSD", "USD", "EUR", "GBP", "BTC", "ETH"];
    let (base, quote) = quotes
        .iter()
        .find_map(|quote| Some((name.strip_suffix(quote)?, quote)))
        .unwrap();
    format!("{base}/{quote}").parse().unwrap()
}

/// A feed, its books, and what the node would do about them.
#[derive(Debug)]
pub(crate) struct Stage {
    pub feed: Box<dyn Feed>,
    pub books: BTreeMap<Pair, Book>,
    pub now: Time,
    /// Questions that nobody has answered yet.
    pub asked: Vec<(Ticket, String)>,
    pub resyncs: BTreeMap<Pair, u32>,
    pub applied: BTreeMap<Pair, u32>,
    pub crossed_states: u32,
    /// Frames of the stream, and those of them that were refused.
    pub frames: u32,
    pub refused: Vec<DecodeError>,
    wake_at: Option<Time>,
}

impl Stage {
    pub(crate) fn new(dialect: &dyn Dialect, pairs: &[Pair], now: Time) -> Self {
        let (feed, books) = watched(dialect, pairs);
        let mut stage = Self {
            feed,
            books: books.map(|book| (book.market().pair, book)).collect(),
            now,
            asked: Vec::new(),
            resyncs: BTreeMap::new(),
            applied: BTreeMap::new(),
            crossed_states: 0,
            frames: 0,
            refused: Vec::new(),
            wake_at: None,
        };
        stage.feed.subscribe(now, &mut note(&mut stage.asked));
        stage.tend(&mut Vec::new());
        stage
    }

    /// Lets time pass; the feed does what is due meanwhile.
    pub(crate) fn wait_until(&mut self, at: Time) {
        while let Some(wake_at) = self.wake_at.filter(|wake_at| *wake_at <= at) {
            self.now = wake_at.max(self.now);
            self.tend(&mut Vec::new());
        }
        self.now = at.max(self.now);
    }

    pub(crate) fn frame(&mut self, frame: &[u8]) {
        self.frames += 1;
        self.take(None, frame);
    }

    /// Answers the question for a market's book, where one is open.
    pub(crate) fn answer(&mut self, pair: Pair, body: &str) -> bool {
        let name = format!("{}{}", pair.base, pair.quote).to_lowercase();
        let is_it = |target: &str| {
            let parts = target.split(|letter: char| !letter.is_ascii_alphanumeric());
            parts.into_iter().any(|part| part.to_lowercase() == name)
        };
        let open = self.asked.iter().position(|(_, target)| is_it(target));
        let Some(open) = open else { return false };
        let (ticket, _) = self.asked.remove(open);
        self.take(Some(ticket), body.as_bytes());
        true
    }

    fn take(&mut self, document: Option<Ticket>, bytes: &[u8]) {
        let (books, applied, crossed) =
            (&mut self.books, &mut self.applied, &mut self.crossed_states);
        let (now, mut resync) = (self.now, Vec::new());
        let mut hear = |heard: Heard<'_>| match heard {
            Heard::Book(update) => {
                let pair = update.market.pair;
                let book = books.get_mut(&pair).unwrap();
                match book.apply(&update, now) {
                    Applied::Gap | Applied::Crossed if !resync.contains(&pair) => resync.push(pair),
                    Applied::Changed if matches!(update.kind, UpdateKind::Delta { .. }) => {
                        *applied.entry(pair).or_default() += 1;
                    }
                    Applied::Gap | Applied::Crossed | Applied::Changed | Applied::Old => (),
                }
                *crossed += u32::from(book.state() == BookState::Crossed);
            }
            Heard::Order(_) | Heard::EngineLag(_) | Heard::Account | Heard::Alive => (),
        };
        let read = match document {
            Some(ticket) => self.feed.decode_reply(ticket, 200, bytes, now, &mut hear),
            None => self.feed.decode(bytes, now, &mut hear),
        };
        self.refused.extend(read.err());
        self.tend(&mut resync);
    }

    fn tend(&mut self, resync: &mut Vec<Pair>) {
        for pair in resync.drain(..) {
            *self.resyncs.entry(pair).or_default() += 1;
            let market = self.books[&pair].market();
            self.feed
                .resync(market, self.now, &mut note(&mut self.asked));
        }
        self.wake_at = self.feed.tend(self.now, &mut note(&mut self.asked));
    }

    /// Returns the best levels of a market, best first, bids and asks.
    pub(crate) fn best(&self, pair: Pair, depth: usize) -> [Vec<Level>; 2] {
        best(&self.books[&pair], depth)
    }

    /// Plays a capture: a document answers the question for it, or waits for it to be asked.
    pub(crate) fn play(&mut self, lines: &[Line], mut after: impl FnMut(&mut Self, &Line)) {
        let mut documents: Vec<&Line> = Vec::new();
        for line in lines {
            self.wait_until(line.at);
            match line.document_of {
                Some(_) => documents.push(line),
                None => self.frame(line.data.as_bytes()),
            }
            documents.retain(|line| {
                let pair = line.document_of.unwrap();
                !self.answer(pair, &line.data)
            });
            after(self, line);
        }
    }
}

pub(crate) fn best(book: &Book, depth: usize) -> [Vec<Level>; 2] {
    [Side::Bid, Side::Ask].map(|side| {
        let levels = book.depth(side).levels();
        levels.take(depth).collect()
    })
}

fn note(asked: &mut Vec<(Ticket, String)>) -> impl FnMut(Ask<'_>) {
    |wanted| match wanted {
        Ask::Frame(_) => (),
        Ask::Get { ticket, target } => asked.push((ticket, target.to_owned())),
    }
}

/// A market as it was after each of its frames, in a run without faults.
#[derive(Debug)]
pub(crate) struct Truth {
    pub pair: Pair,
    /// The frames of this market alone, with the moment and the whole book after each.
    pub steps: Vec<Step>,
}

#[derive(Debug)]
pub(crate) struct Step {
    pub line: Line,
    pub sides: [Vec<Level>; 2],
}

/// What is done to the frames of a market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Injected {
    /// The fault is in the frames themselves.
    Nothing,
    Lost,
    Twice,
    Swapped,
}

impl Truth {
    /// Levels of a side that are compared: those far below a document's last level were unknown.
    const DEPTH: usize = 500;

    /// Takes the market with the most frames of its own.
    pub(crate) fn of(dialect: &dyn Dialect, capture: &Capture) -> Self {
        let mut stage = Stage::new(dialect, &capture.pairs, capture.lines[0].at);
        let mut steps: BTreeMap<Pair, Vec<Step>> = BTreeMap::new();
        let mut counts: BTreeMap<Pair, u32> = BTreeMap::new();
        stage.play(&capture.lines, |stage, line| {
            for pair in &capture.pairs {
                let count = stage.applied.get(pair).copied().unwrap_or_default();
                if counts.insert(*pair, count) != Some(count) && line.document_of.is_none() {
                    let sides = stage.best(*pair, usize::MAX);
                    let line = line.clone();
                    steps.entry(*pair).or_default().push(Step { line, sides });
                }
            }
        });
        let (pair, steps) = steps
            .into_iter()
            .max_by_key(|(_, steps)| steps.len())
            .unwrap();
        Self { pair, steps }
    }

    /// Plays the market's frames with one fault in the middle; `document` writes the whole book as it
    /// was after a step, with that step's number, and answers every question.
    ///
    /// Returns the stage at the end.
    pub(crate) fn play(
        &self,
        dialect: &dyn Dialect,
        injected: Injected,
        document: impl Fn(&Step) -> String,
    ) -> Stage {
        let middle = self.steps.len() / 2;
        let mut order: Vec<usize> = (0..self.steps.len()).collect();
        match injected {
            Injected::Nothing => (),
            Injected::Lost => drop(order.remove(middle)),
            Injected::Twice => order.insert(middle, middle),
            Injected::Swapped => order.swap(middle, middle + 1),
        }
        let mut stage = Stage::new(dialect, &[self.pair], self.steps[0].line.at);
        let mut newest = 0;
        for index in order {
            let step = &self.steps[index];
            newest = newest.max(index);
            stage.wait_until(step.line.at);
            stage.frame(step.line.data.as_bytes());
            stage.answer(self.pair, &document(&self.steps[newest]));
        }
        stage
    }

    /// Lets time pass with the last book as the answer to every question.
    pub(crate) fn rest(&self, stage: &mut Stage, span: Span, document: impl Fn(&Step) -> String) {
        let last = self.steps.last().unwrap();
        let until = stage.now + span;
        while stage.now < until {
            stage.wait_until(stage.now + Span::SECOND);
            stage.answer(self.pair, &document(last));
        }
    }

    /// Returns true where the stage's book is the last one of the run without faults.
    pub(crate) fn is_met_by(&self, stage: &Stage) -> bool {
        let last = self.steps.last().unwrap();
        let book = &stage.books[&self.pair];
        let first = |side: &Vec<Level>| side[..side.len().min(Self::DEPTH)].to_vec();
        let sides = last.sides.each_ref().map(first);
        book.state() == BookState::Live && best(book, Self::DEPTH) == sides
    }
}

/// Writes levels as `[["price","quantity"],…]`.
pub(crate) fn rows(levels: &[Level], comma: &str) -> String {
    let row = |level: &Level| format!("[\"{}\"{comma}\"{}\"]", level.price, level.quantity);
    format!(
        "[{}]",
        levels.iter().map(row).collect::<Vec<_>>().join(comma)
    )
}
