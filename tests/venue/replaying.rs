//! Recorded streams through a feed and the books behind it, as the node would put them together.

use std::collections::BTreeMap;
use std::path::Path;

use expressnet::book::{Applied, Book};
use expressnet::model::instrument::{Market, Pair};
use expressnet::model::market::{Level, Side};
use expressnet::model::time::Time;
use expressnet::venue::{Ask, DecodeError, Dialect, Feed, Framing, Heard, Setup};
use serde::Deserialize;
use serde_json::Value;

use crate::venue::fixtures::{bytes_of, files_below, root};

/// A line of a recording.
#[derive(Debug, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) t: String,
    #[serde(default)]
    pub(crate) data: String,
}

/// A recording of streams: its path below the fixtures and its lines.
pub(crate) type Capture = (String, Vec<Recorded>);

/// Returns every recording in the container of streams below a folder of the fixtures.
pub(crate) fn captures(folder: &str) -> Vec<Capture> {
    let Some(root) = root() else {
        return Vec::new();
    };
    let files = files_below(&root.join(folder));
    let captures: Vec<Capture> = files
        .iter()
        .filter(|path| is_stream(path))
        .map(|path| (below(&root, path), lines_of(path)))
        .collect();
    captures
}

fn is_stream(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".jsonl.gz")
}

fn below(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.to_string_lossy().into_owned()
}

fn lines_of(path: &Path) -> Vec<Recorded> {
    let bytes = bytes_of(path);
    let lines = bytes.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// Returns what others counted in a recording, if they did.
pub(crate) fn expected(capture: &str) -> Option<Value> {
    let bytes = bytes_of(&root()?.join("EXPECTED_REPLAY.json"));
    let all: Value = serde_json::from_slice(&bytes).unwrap();
    all["results"].get(capture).cloned()
}

/// The name of the venue that everything recorded is of.
const VENUE: &str = "recorded";

/// Returns a feed of these markets, and their books before the first frame.
pub(crate) fn watched(
    dialect: &dyn Dialect,
    pairs: &[Pair],
) -> (Box<dyn Feed>, impl Iterator<Item = Book>) {
    let setup = Setup {
        venue: VENUE.parse().unwrap(),
        host: "venue.example".to_owned(),
        pairs: pairs.to_vec(),
        rules: Vec::new(),
        framing: Framing::Plain,
    };
    let Setup { venue, pairs, .. } = setup.clone();
    let books = pairs
        .into_iter()
        .map(move |pair| Book::new(Market { venue, pair }));
    (dialect.feed(&setup), books)
}

/// A feed with the books that it fills.
pub(crate) struct Replay {
    pub(crate) feed: Box<dyn Feed>,
    pub(crate) books: BTreeMap<Market, Book>,
    /// Updates of each market that changed its book.
    pub(crate) changed: BTreeMap<Market, u64>,
    /// For which markets the book stage asked for a fresh snapshot.
    pub(crate) resyncs: Vec<(Market, Applied)>,
    /// Frames that the feed sent, and the documents it asked for.
    pub(crate) asked: Vec<String>,
    pub(crate) now: Time,
    venue: expressnet::model::instrument::VenueId,
}

impl Replay {
    pub(crate) fn new(dialect: &dyn Dialect, pairs: &[Pair]) -> Self {
        let (feed, books) = watched(dialect, pairs);
        let mut replay = Self {
            feed,
            books: books.map(|book| (book.market(), book)).collect(),
            changed: BTreeMap::new(),
            resyncs: Vec::new(),
            asked: Vec::new(),
            now: Time(1_600_000_000_000_000_000),
            venue: VENUE.parse().unwrap(),
        };
        let asked = &mut replay.asked;
        let mut ask = |ask: Ask<'_>| asked.push(text_of(ask));
        replay.feed.subscribe(replay.now, &mut ask);
        replay.feed.tend(replay.now, &mut ask);
        replay
    }

    pub(crate) fn market(&self, pair: &str) -> Market {
        Market {
            venue: self.venue,
            pair: pair.parse().unwrap(),
        }
    }

    /// Hands on one frame as the node does: books first, then resyncs, then what is due.
    pub(crate) fn frame(&mut self, frame: &[u8]) -> Result<(), DecodeError> {
        let (books, changed) = (&mut self.books, &mut self.changed);
        let mut lost: Vec<(Market, Applied)> = Vec::new();
        let now = self.now;
        let decoded = self.feed.decode(frame, now, &mut |heard| {
            let Heard::Book(update) = heard else { return };
            let book = books.get_mut(&update.market).unwrap();
            match book.apply(&update, now) {
                Applied::Changed => *changed.entry(update.market).or_default() += 1,
                fault @ (Applied::Gap | Applied::Crossed) => lost.push((update.market, fault)),
                Applied::Old => (),
            }
        });
        let asked = &mut self.asked;
        let mut ask = |ask: Ask<'_>| asked.push(text_of(ask));
        for (market, _) in &lost {
            self.feed.resync(*market, now, &mut ask);
        }
        self.feed.tend(now, &mut ask);
        self.resyncs.extend(lost);
        decoded
    }

    /// Returns the best levels of a side, best first.
    pub(crate) fn best(&self, market: Market, side: Side, count: usize) -> Vec<Level> {
        let levels = self.books[&market].depth(side).levels();
        levels.take(count).collect()
    }

    /// Asserts that the best levels are those that others found, by value.
    pub(crate) fn assert_best(&self, market: Market, expected: &Value) {
        for (side, name) in [(Side::Bid, "bids"), (Side::Ask, "asks")] {
            let expected: Vec<Level> = expected[name]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| Level {
                    price: row[0].as_str().unwrap().parse().unwrap(),
                    quantity: row[1].as_str().unwrap().parse().unwrap(),
                })
                .collect();
            assert!(!expected.is_empty());
            let found = self.best(market, side, expected.len());
            assert_eq!(found, expected, "{market} {name}");
        }
    }
}

fn text_of(ask: Ask<'_>) -> String {
    match ask {
        Ask::Frame(frame) => String::from_utf8(frame.to_vec()).unwrap(),
        Ask::Get { target, .. } => target.to_owned(),
    }
}
