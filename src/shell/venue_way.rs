//! The way to a venue, measured without a node: connect, TLS, upgrade, first book, and how old the
//! books are that come. Each round is a connection of its own; nothing is ordered.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::config::checked::Venue;
use crate::model::market::UpdateKind;
use crate::model::time::{Span, Time};
use crate::shell::boot::{StartError, certificates, stream_of, trust_of};
use crate::shell::clock::Clock;
use crate::shell::feed::{FeedSettings, Stream};
use crate::shell::queries;
use crate::shell::socket::{self, Passed, Socket, SocketError};
use crate::venue::socketio;
use crate::venue::websocket::{Frame, FrameReader, Opcode, write_frame};
use crate::venue::{Ask, Feed, Heard, Ticket, registry};

/// Whatever is waited for of a venue.
const PATIENCE: Duration = Duration::from_secs(15);
/// Documents that wait to be fetched. Full: the venue's feed asks again.
const DOCUMENTS_MAX: usize = 64;
/// Ages that are kept of one round; later books are not looked at.
pub const AGES_MAX: usize = 100_000;

/// One connection.
#[derive(Clone, Debug, Default)]
pub struct Round {
    pub resolve: Option<Span>,
    pub connect: Option<Span>,
    pub tls: Option<Span>,
    pub upgrade: Option<Span>,
    /// From the subscription, or the first question, to the first whole book.
    pub first_book: Option<Span>,
    /// How old each later book was by the venue's clock; below nothing where its clock is ahead.
    pub ages_ns: Vec<i64>,
}

/// Why a venue was not measured.
#[derive(Debug, Error)]
pub enum WayError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("no dialect is called {0}; `expressnet venue list` shows all")]
    Dialect(String),
    #[error("the venue did not come up in time")]
    Late,
    #[error("the socket: {0}")]
    Socket(#[from] SocketError),
    #[error("a document: {0}")]
    Document(#[from] reqwest::Error),
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the venue closed, or sent what is no frame")]
    Closed,
}

/// Opens one connection, waits for the first book and listens for a while.
///
/// # Errors
/// What kept a book from coming.
pub async fn round(home: &Path, venue: &Venue, listen: Duration) -> Result<Round, WayError> {
    let clock = Clock::start();
    let dialect = registry::find(&venue.dialect);
    let dialect = dialect.ok_or_else(|| WayError::Dialect(venue.dialect.clone()))?;
    let mut way = Way {
        clock,
        feed: dialect.feed(&venue.setup()),
        http: venue.http.clone(),
        ca_pem: certificates(home, venue)?,
        asked: VecDeque::new(),
        out: Vec::new(),
        began: clock.now(),
        round: Round::default(),
    };
    let mut open = None;
    if let Some(url) = url_of(&stream_of(venue)).await? {
        let trust = trust_of(home, venue)?;
        let opened = timeout(PATIENCE, way.open(&url, &trust)).await;
        open = Some(opened.map_err(|_| WayError::Late)??);
    }
    way.began = clock.now();
    way.subscribe();
    let (mut socket, behind) = open.unzip();
    let mut reader = FrameReader::new(FeedSettings::FRAME_BYTES_MAX);
    if let Some(behind) = behind {
        reader.push(&behind);
    }
    let first = timeout(PATIENCE, async {
        while way.round.first_book.is_none() {
            way.turn(&mut socket, &mut reader).await?;
        }
        Ok::<(), WayError>(())
    });
    first.await.map_err(|_| WayError::Late)??;
    let rest = timeout(listen, async {
        loop {
            way.turn(&mut socket, &mut reader).await?;
        }
    });
    match rest.await {
        Err(_) => Ok(way.round),
        Ok::<Result<(), WayError>, _>(Err(error)) => Err(error),
        Ok(Ok(())) => Ok(way.round),
    }
}

async fn url_of(stream: &Stream) -> Result<Option<String>, WayError> {
    Ok(match stream {
        Stream::Polled => None,
        Stream::Plain(url) => Some(url.clone()),
        Stream::SocketIo(handshake) => {
            let body = queries::get(handshake).await?;
            Some(socketio::stream_url(handshake, &body).ok_or(WayError::Closed)?)
        }
    })
}

struct Way {
    clock: Clock,
    feed: Box<dyn Feed>,
    http: String,
    ca_pem: Option<Vec<u8>>,
    asked: VecDeque<(Ticket, String)>,
    out: Vec<u8>,
    began: Time,
    round: Round,
}

impl Way {
    async fn open(
        &mut self,
        url: &str,
        trust: &socket::Trust,
    ) -> Result<(Box<dyn Socket>, Bytes), WayError> {
        let (clock, round) = (self.clock, &mut self.round);
        let mut last = clock.now();
        let mut passed = |what: Passed| {
            let now = clock.now();
            let took = Some(now.since(last));
            last = now;
            match what {
                Passed::Resolved => round.resolve = took,
                Passed::Connected => round.connect = took,
                Passed::Tls => round.tls = took,
                Passed::Upgraded => round.upgrade = took,
            }
        };
        Ok(socket::open_telling(url, trust, &mut passed).await?)
    }

    fn subscribe(&mut self) {
        let now = self.clock.now();
        let (asked, out) = (&mut self.asked, &mut self.out);
        self.feed.subscribe(now, &mut |ask| note(ask, asked, out));
    }

    /// One document, or whatever the stream brings next.
    async fn turn(
        &mut self,
        socket: &mut Option<Box<dyn Socket>>,
        reader: &mut FrameReader,
    ) -> Result<(), WayError> {
        let now = self.clock.now();
        let (asked, out) = (&mut self.asked, &mut self.out);
        let tend_at = self.feed.tend(now, &mut |ask| note(ask, asked, out));
        if let Some(socket) = socket
            && !self.out.is_empty()
        {
            socket.write_all(&self.out).await?;
            socket.flush().await?;
        }
        self.out.clear();
        if let Some((ticket, target)) = self.asked.pop_front() {
            let url = format!("{}{target}", self.http);
            let body = queries::get_document(&url, self.ca_pem.as_deref()).await?;
            self.hear(Some(ticket), &body);
            return Ok(());
        }
        let until_tended = tend_at.map_or(PATIENCE, |at| self.clock.until(at));
        let Some(socket) = socket else {
            tokio::time::sleep(until_tended.max(Duration::from_millis(1))).await;
            return Ok(());
        };
        match timeout(until_tended, socket.read(reader.space())).await {
            Err(_) => return Ok(()),
            Ok(Ok(0)) => return Err(WayError::Closed),
            Ok(read) => reader.filled(read?),
        }
        loop {
            match reader.poll() {
                Ok(None) => return Ok(()),
                Ok(Some(Frame::Message(bytes))) => self.hear(None, bytes),
                Ok(Some(Frame::Ping(payload))) => {
                    write_frame(&mut self.out, Opcode::Pong, MASK, payload);
                }
                Ok(Some(Frame::Pong)) => (),
                Ok(Some(Frame::Close)) | Err(_) => return Err(WayError::Closed),
            }
        }
    }

    /// A frame that is no book, or that the dialect refuses, tells nothing of the way.
    fn hear(&mut self, ticket: Option<Ticket>, bytes: &[u8]) {
        let now = self.clock.now();
        let (began, round) = (self.began, &mut self.round);
        let mut heard = |fact: Heard<'_>| {
            let Heard::Book(book) = fact else {
                return;
            };
            if round.first_book.is_none() {
                let is_whole = book.kind == UpdateKind::Snapshot;
                round.first_book = is_whole.then(|| now.since(began));
            } else if round.ages_ns.len() < AGES_MAX {
                let age = i128::from(now.0) - i128::from(book.venue_time.0);
                round.ages_ns.extend(i64::try_from(age));
            }
        };
        let decoded = match ticket {
            None => self.feed.decode(bytes, now, &mut heard),
            Some(ticket) => self.feed.decode_reply(ticket, 200, bytes, now, &mut heard),
        };
        if let Err(why) = decoded {
            tracing::debug!(%why, "neither a book nor anything else");
        }
    }
}

/// What hides frames from proxies; nothing else is asked of it.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

fn note(ask: Ask<'_>, asked: &mut VecDeque<(Ticket, String)>, out: &mut Vec<u8>) {
    match ask {
        Ask::Frame(frame) => write_frame(out, Opcode::Text, MASK, frame),
        Ask::Get { ticket, target } if asked.len() < DOCUMENTS_MAX => {
            asked.push_back((ticket, target.to_owned()));
        }
        Ask::Get { .. } => (),
    }
}
