//! Recorded streams of exchanges, cut into what makes the books and the steady frames behind it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use expressnet::book::Book;
use expressnet::model::instrument::{Market, Pair};
use expressnet::model::market::Side;
use expressnet::model::time::{Span, Time};
use expressnet::venue::registry;
use expressnet::venue::{Ask, Dialect, Feed, Framing, Heard, Setup, Ticket};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;

pub(crate) const SIDES: [Side; 2] = [Side::Bid, Side::Ask];

/// Which exchange's captures are read by which dialect, and how the peer reads their frames.
pub(crate) const KINDS: [(&str, &str, Kind); 5] = [
    ("kraken", "kraken", Kind::Kraken),
    ("coinbase", "coinbase", Kind::Advanced),
    ("coinbase", "coinbaseexchange", Kind::Exchange),
    ("bitstamp", "bitstamp", Kind::Bitstamp),
    ("binance", "binance", Kind::Binance),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Kraken,
    Advanced,
    Exchange,
    Bitstamp,
    Binance,
}

impl Kind {
    /// Returns what every book frame of this kind has in it.
    fn mark(self) -> &'static str {
        match self {
            Self::Kraken => r#"{"channel":"book","#,
            Self::Advanced => r#"{"channel":"l2_data","#,
            Self::Exchange => r#""type":"l2update""#,
            Self::Bitstamp => r#""channel":"diff_order_book_"#,
            Self::Binance => r#""e":"depthUpdate""#,
        }
    }
}

/// One recorded stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) pairs: Vec<Pair>,
    dialect: &'static dyn Dialect,
    /// What stands before the steady frames: frames, and documents for the questions asked.
    before: Vec<Piece>,
    /// Frames that change a book, behind all of that.
    pub(crate) steady: Vec<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Piece {
    at: Time,
    document_of: Option<Pair>,
    data: Vec<u8>,
}

#[derive(Deserialize)]
struct Line {
    t: String,
    #[serde(default)]
    ts: f64,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    data: Option<String>,
}

/// Reads every stream that there is; none is an empty list, and said aloud.
pub(crate) fn streams() -> Vec<Stream> {
    let root = std::env::var_os("EXPRESSNET_FIXTURES").map(PathBuf::from);
    let root = root.unwrap_or_else(beside_the_project);
    let mut streams = Vec::new();
    for (folder, dialect, kind) in KINDS {
        let files = fs::read_dir(root.join(folder).join("capture"));
        let mut files: Vec<PathBuf> = files
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        files.sort();
        let dialect = registry::find(dialect).unwrap();
        let found = files.iter().filter_map(|file| stream(file, dialect, kind));
        // The longest one speaks for its exchange.
        streams.extend(found.max_by_key(|stream| stream.steady.len()));
    }
    if streams.is_empty() {
        eprintln!("SKIPPED: no captures in {}", root.display());
    }
    streams
}

/// Returns the folder of captures that stands beside the project, of which this crate may be a part.
fn beside_the_project() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut near = own.ancestors().map(|top| top.join("../shared/fixtures"));
    near.find(|folder| folder.is_dir())
        .unwrap_or_else(|| own.join("../shared/fixtures"))
}

impl Stream {
    /// A stream of frames that were made: what stands before them is frames, and documents of the
    /// markets they are about.
    pub(crate) fn made(
        dialect: &'static dyn Dialect,
        kind: Kind,
        pairs: Vec<Pair>,
        before: Vec<(Option<Pair>, Vec<u8>)>,
        steady: Vec<Vec<u8>>,
    ) -> Self {
        let pieces = before.into_iter().map(|(document_of, data)| Piece {
            at: Time(Span::SECOND.0),
            document_of,
            data,
        });
        Self {
            name: dialect.name().to_owned(),
            kind,
            pairs,
            dialect,
            before: pieces.collect(),
            steady,
        }
    }
}

fn stream(file: &Path, dialect: &'static dyn Dialect, kind: Kind) -> Option<Stream> {
    let pieces = pieces(file);
    let is_book = |piece: &Piece| {
        let text = std::str::from_utf8(&piece.data).unwrap_or_default();
        piece.document_of.is_none() && text.contains(kind.mark())
    };
    if !pieces.iter().any(is_book) {
        return None;
    }
    let mut pairs: Vec<Pair> = pieces
        .iter()
        .filter_map(|piece| piece.document_of)
        .collect();
    for piece in pieces.iter().filter(|piece| is_book(piece)) {
        pairs.extend(pair_in(kind, &piece.data));
    }
    pairs.sort();
    pairs.dedup();
    // Whatever is needed to begin has come by half of the stream, or it is not used.
    let middle = pieces.len() / 2;
    let (before, behind) = pieces.split_at(middle);
    // Frames of one connection are numbered together: those of other kinds belong to them.
    let is_steady =
        |piece: &&Piece| piece.document_of.is_none() && (kind == Kind::Advanced || is_book(piece));
    let behind: Vec<Piece> = behind.iter().filter(is_steady).cloned().collect();
    let mut stream = Stream {
        name: dialect.name().to_owned(),
        kind,
        pairs,
        dialect,
        before: before.to_vec(),
        steady: Vec::new(),
    };
    let mut ours = Ours::ready(&stream);
    for piece in behind {
        let changed = ours.changed;
        ours.take(&piece.data);
        if ours.changed > changed || kind == Kind::Advanced {
            stream.steady.push(piece.data);
        }
    }
    Some(stream)
}

fn pieces(file: &Path) -> Vec<Piece> {
    let mut text = String::new();
    let bytes = fs::read(file).unwrap();
    MultiGzDecoder::new(&bytes[..])
        .read_to_string(&mut text)
        .unwrap();
    let mut pieces: Vec<Piece> = text
        .lines()
        .filter_map(|line| {
            let line: Line = serde_json::from_str(line).ok()?;
            let document_of = match line.t.as_str() {
                "recv" => None,
                "http" => Some(pair_of_url(&line.url?)?),
                _ => return None,
            };
            Some(Piece {
                at: Time(Span::millis((line.ts * 1e3) as u64).0),
                document_of,
                data: line.data?.into_bytes(),
            })
        })
        .collect();
    pieces.sort_by_key(|piece| piece.at);
    pieces
}

/// Returns the market of an address of a whole book.
fn pair_of_url(url: &str) -> Option<Pair> {
    let name = match url.split_once("/depth?symbol=") {
        Some((_, query)) => query.split('&').next()?,
        None => url.split_once("/order_book/")?.1.split(['/', '?']).next()?,
    };
    let name = name.to_uppercase();
    let quotes = ["USDT", "BUSD", "USD", "EUR", "GBP", "BTC", "ETH"];
    let (base, quote) = quotes
        .iter()
        .find_map(|quote| Some((name.strip_suffix(quote)?, quote)))?;
    format!("{base}/{quote}").parse().ok()
}

/// Returns the market that a frame names with a dash or a slash.
fn pair_in(kind: Kind, frame: &[u8]) -> Option<Pair> {
    let mark = match kind {
        Kind::Kraken => r#""symbol":""#,
        Kind::Advanced | Kind::Exchange => r#""product_id":""#,
        Kind::Bitstamp | Kind::Binance => return None,
    };
    let text = std::str::from_utf8(frame).ok()?;
    let (_, rest) = text.split_once(mark)?;
    rest.split('"').next()?.replace('-', "/").parse().ok()
}

/// A feed and its books, as the node has them.
pub(crate) struct Ours {
    pub(crate) feed: Box<dyn Feed>,
    pub(crate) books: Vec<Book>,
    indices: BTreeMap<Pair, usize>,
    now: Time,
    pub(crate) changed: u64,
}

impl Ours {
    /// Plays what stands before the steady frames.
    pub(crate) fn ready(stream: &Stream) -> Self {
        let setup = Setup {
            venue: "recorded".parse().unwrap(),
            host: "h".to_owned(),
            pairs: stream.pairs.clone(),
            rules: Vec::new(),
            framing: Framing::Plain,
        };
        let books = stream.pairs.iter().map(|pair| {
            Book::new(Market {
                venue: setup.venue,
                pair: *pair,
            })
        });
        let pairs = stream.pairs.iter().enumerate();
        let mut ours = Self {
            feed: stream.dialect.feed(&setup),
            books: books.collect(),
            indices: pairs.map(|(index, pair)| (*pair, index)).collect(),
            now: stream.before.first().map_or(Time::ZERO, |piece| piece.at),
            changed: 0,
        };
        let mut asked: Vec<(Ticket, String)> = Vec::new();
        ours.feed.subscribe(ours.now, &mut |_| ());
        let mut documents: Vec<&Piece> = Vec::new();
        for piece in &stream.before {
            ours.now = piece.at.max(ours.now);
            match piece.document_of {
                Some(_) => documents.push(piece),
                None => ours.take(&piece.data),
            }
            ours.feed.tend(ours.now, &mut |ask| {
                if let Ask::Get { ticket, target } = ask {
                    asked.push((ticket, target.to_lowercase()));
                }
            });
            documents.retain(|piece| !ours.answer(piece, &mut asked));
        }
        ours
    }

    fn answer(&mut self, piece: &Piece, asked: &mut Vec<(Ticket, String)>) -> bool {
        let pair = piece.document_of.unwrap();
        let name = format!("{}{}", pair.base, pair.quote).to_lowercase();
        let open = asked.iter().position(|(_, target)| target.contains(&name));
        let Some(open) = open else { return false };
        let (ticket, _) = asked.remove(open);
        let (books, indices, now) = (&mut self.books, &self.indices, self.now);
        let mut hear = |heard: Heard<'_>| {
            if let Heard::Book(update) = heard {
                books[indices[&update.market.pair]].apply(&update, now);
            }
        };
        self.feed
            .decode_reply(ticket, 200, &piece.data, now, &mut hear)
            .is_ok()
    }

    /// Takes one frame of the stream.
    pub(crate) fn take(&mut self, frame: &[u8]) {
        let (books, now, changed) = (&mut self.books, self.now, &mut self.changed);
        let mut hear = |heard: Heard<'_>| {
            if let Heard::Book(update) = heard {
                let mut books = books.iter_mut();
                let book = books.find(|book| book.market() == update.market);
                let applied = book.map(|book| book.apply(&update, now));
                *changed += u64::from(applied == Some(expressnet::book::Applied::Changed));
            }
        };
        // What is no book frame says other things.
        self.feed.decode(frame, now, &mut hear).ok();
    }
}
