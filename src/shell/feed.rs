//! The feed of one venue: a WebSocket client on the core thread.
//!
//! ```text
//! (handshake ─▶) connect ─▶ feed_up ─▶ feed_frame … ─▶ feed_down ─▶ wait (jitter) ─▶ connect
//! ```
//! Frames go straight into the sink from the task that read them. Frames to send wait in a bounded
//! queue; where it is full the venue does not listen and the connection is given up.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use crate::model::instrument::VenueId;
use crate::model::random::Random;
use crate::shell::socket::{self, Socket, SocketError, Trust};
use crate::shell::{VenueSink, queries};
use crate::venue::socketio;
use crate::venue::websocket::{Frame, FrameReader, Opcode, write_frame};

/// Where a feed connects to.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    pub venue: VenueId,
    pub stream: Stream,
    pub trust: Trust,
    /// Spreads the reconnects of many feeds.
    pub seed: u64,
}

/// How a feed is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// It is not: everything is asked for piece by piece.
    Polled,
    /// `ws://host:port/path`, or `wss://`.
    Plain(String),
    /// `http://host:port/path` of a socket.io handshake, which leads to the WebSocket.
    SocketIo(String),
}

impl FeedSettings {
    /// Bytes of the largest frame that is read; a larger one ends the connection. The whole book of
    /// BTC-USD at Coinbase has 5 MB.
    pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
    /// Frames that wait to be sent; with one more the connection is given up.
    pub const SENDS_MAX: usize = 256;
    /// How long a connection may take to come up, and a frame to leave.
    const PATIENCE: Duration = Duration::from_secs(5);
    /// The first wait after a connection ended; it doubles up to the last one.
    const BACK_OFF_MS_MIN: u64 = 100;
    const BACK_OFF_MS_MAX: u64 = 10_000;
    /// A connection that lasted so long begins its waits anew; one that a venue refuses as soon as it
    /// has heard what is wanted does not, for venues count attempts.
    const STEADY_AFTER: Duration = Duration::from_secs(1);
}

/// Holds a feed open; the connection ends with the last handle.
#[derive(Clone, Debug)]
pub struct FeedHandle {
    sends: mpsc::Sender<Bytes>,
    control: Rc<Control>,
}

#[derive(Debug, Default)]
struct Control {
    wants_reconnect: Cell<bool>,
    woken: Notify,
}

impl FeedHandle {
    /// Queues a frame; what is queued while there is no connection is dropped.
    pub fn send(&self, frame: &[u8]) {
        if self.sends.try_send(Bytes::copy_from_slice(frame)).is_err() {
            self.reconnect();
        }
    }

    /// Gives the connection up and opens another.
    pub fn reconnect(&self) {
        self.control.wants_reconnect.set(true);
        self.control.woken.notify_one();
    }
}

/// Starts a feed as a task of the current `LocalSet`.
pub fn start(settings: FeedSettings, sink: Rc<dyn VenueSink>) -> FeedHandle {
    let (sends, outbox) = mpsc::channel(FeedSettings::SENDS_MAX);
    let control = Rc::new(Control::default());
    let feed = FeedTask {
        random: Random::new(settings.seed),
        settings,
        sink,
        outbox,
        control: Rc::clone(&control),
    };
    spawn_local(feed.run());
    FeedHandle { sends, control }
}

struct FeedTask {
    settings: FeedSettings,
    sink: Rc<dyn VenueSink>,
    outbox: mpsc::Receiver<Bytes>,
    control: Rc<Control>,
    random: Random,
}

/// Why a connection ended.
enum End {
    /// Nobody holds the feed any more.
    Dropped,
    Because(&'static str),
}

impl FeedTask {
    async fn run(mut self) {
        let mut back_off_ms = FeedSettings::BACK_OFF_MS_MIN;
        if self.settings.stream == Stream::Polled {
            return self.pretend().await;
        }
        while !self.outbox.is_closed() {
            match self.connect().await {
                Ok((socket, behind)) => {
                    let began = Instant::now();
                    let end = self.carry(socket, &behind).await;
                    if began.elapsed() >= FeedSettings::STEADY_AFTER {
                        back_off_ms = FeedSettings::BACK_OFF_MS_MIN;
                    }
                    match end {
                        End::Dropped => return,
                        End::Because(why) => self.sink.feed_down(self.settings.venue, why),
                    }
                }
                // Once is enough for whoever reads along; the state stands in `status`.
                Err(why) if back_off_ms == FeedSettings::BACK_OFF_MS_MIN => {
                    warn!(venue = %self.settings.venue, %why, "no feed; trying again");
                }
                Err(why) => debug!(venue = %self.settings.venue, %why, "no feed"),
            }
            let wait_ms = self.random.between(back_off_ms / 2, back_off_ms);
            back_off_ms = (back_off_ms * 2).min(FeedSettings::BACK_OFF_MS_MAX);
            sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    /// Where all is polled there is nothing to connect: the feed is up until it is given up.
    async fn pretend(mut self) {
        loop {
            self.control.wants_reconnect.set(false);
            self.sink.feed_up(self.settings.venue);
            while !self.control.wants_reconnect.get() {
                tokio::select! {
                    () = self.control.woken.notified() => (),
                    frame = self.outbox.recv() => if frame.is_none() {
                        return;
                    },
                }
            }
            self.sink.feed_down(self.settings.venue, "given up here");
            sleep(Duration::from_millis(FeedSettings::BACK_OFF_MS_MIN)).await;
        }
    }

    /// Returns where the WebSocket is, after a handshake where one is needed.
    async fn url(&self) -> Option<String> {
        match &self.settings.stream {
            Stream::Polled => None,
            Stream::Plain(url) => Some(url.clone()),
            Stream::SocketIo(handshake) => {
                let asked = timeout(FeedSettings::PATIENCE, queries::get(handshake));
                let body = asked.await.ok()?.ok()?;
                socketio::stream_url(handshake, &body)
            }
        }
    }

    async fn connect(&self) -> Result<(Box<dyn Socket>, Bytes), SocketError> {
        let Some(url) = self.url().await else {
            let what = format!("{:?}", self.settings.stream);
            return Err(SocketError::Address(what));
        };
        let opened = timeout(
            FeedSettings::PATIENCE,
            socket::open(&url, &self.settings.trust),
        );
        opened
            .await
            .map_err(|_| SocketError::Io(io::ErrorKind::TimedOut.into()))?
    }

    async fn carry(&mut self, socket: Box<dyn Socket>, behind: &[u8]) -> End {
        while self.outbox.try_recv().is_ok() {}
        self.control.wants_reconnect.set(false);
        self.sink.feed_up(self.settings.venue);
        let (mut receiving, mut sending) = tokio::io::split(socket);
        let mut reader = FrameReader::new(FeedSettings::FRAME_BYTES_MAX);
        reader.push(behind);
        let mut out = Vec::new();
        loop {
            // What came is read before anybody is waited for.
            if let Err(end) = self.hear(&mut reader, &mut out) {
                return end;
            }
            if let Err(end) = send(&mut sending, &mut out).await {
                return end;
            }
            if self.control.wants_reconnect.take() {
                return End::Because("given up here");
            }
            tokio::select! {
                biased;
                () = self.control.woken.notified() => (),
                frame = self.outbox.recv() => {
                    let Some(frame) = frame else {
                        write_frame(&mut out, Opcode::Close, self.mask(), &[]);
                        send(&mut sending, &mut out).await.ok();
                        return End::Dropped;
                    };
                    write_frame(&mut out, Opcode::Text, self.mask(), &frame);
                }
                read = receiving.read(reader.space()) => match read {
                    Ok(0) => return End::Because("the venue closed"),
                    Ok(len) => reader.filled(len),
                    Err(_) => return End::Because("the connection broke"),
                }
            }
        }
    }

    /// Hands on every frame that has come whole, and appends the answers to pings.
    fn hear(&mut self, reader: &mut FrameReader, out: &mut Vec<u8>) -> Result<(), End> {
        loop {
            match reader.poll() {
                Ok(None) => return Ok(()),
                Ok(Some(Frame::Message(bytes))) => {
                    self.sink.feed_frame(self.settings.venue, bytes);
                }
                Ok(Some(Frame::Ping(payload))) => {
                    let mask = self.random.next_u64().to_le_bytes();
                    let [a, b, c, d, ..] = mask;
                    write_frame(out, Opcode::Pong, [a, b, c, d], payload);
                }
                Ok(Some(Frame::Pong)) => (),
                Ok(Some(Frame::Close)) => return Err(End::Because("the venue closed")),
                Err(why) => {
                    debug!(venue = %self.settings.venue, %why, "no WebSocket frame");
                    return Err(End::Because("the venue sent what is no frame"));
                }
            }
        }
    }

    /// Returns a key for one frame. It keeps proxies from reading what is sent as theirs, no more.
    fn mask(&mut self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.random.next_u64().to_le_bytes();
        [a, b, c, d]
    }
}

/// Sends what is there, within the patience that a venue is given.
async fn send(sending: &mut (impl AsyncWrite + Unpin), out: &mut Vec<u8>) -> Result<(), End> {
    if out.is_empty() {
        return Ok(());
    }
    let sent = timeout(FeedSettings::PATIENCE, async {
        sending.write_all(out).await?;
        sending.flush().await
    });
    let sent = sent.await;
    out.clear();
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Because("the connection broke")),
        Err(_) => Err(End::Because("the venue does not read")),
    }
}
