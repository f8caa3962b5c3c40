//! The feed of one venue: a WebSocket client on the core thread.
//!
//! ```text
//! (handshake ─▶) connect ─▶ feed_up ─▶ feed_frame … ─▶ feed_down ─▶ wait (jitter) ─▶ connect
//! ```
//! Frames go straight into the sink from the task that read them. Frames to send wait in a bounded
//! queue; where it is full the venue does not listen and the connection is given up.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::model::instrument::VenueId;
use crate::model::random::Random;
use crate::shell::{VenueSink, queries};
use crate::venue::socketio;

/// Where a feed connects to.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    pub venue: VenueId,
    pub stream: Stream,
    /// Spreads the reconnects of many feeds.
    pub seed: u64,
}

/// How a feed is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// It is not: everything is asked for piece by piece.
    Polled,
    /// `ws://host:port/path`.
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
            if let Some(socket) = self.connect().await {
                back_off_ms = FeedSettings::BACK_OFF_MS_MIN;
                match self.carry(socket).await {
                    End::Dropped => return,
                    End::Because(why) => self.sink.feed_down(self.settings.venue, why),
                }
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

    async fn connect(&self) -> Option<WebSocketStream<MaybeTlsStream<TcpStream>>> {
        let url = self.url().await?;
        let config = WebSocketConfig::default()
            .max_frame_size(Some(FeedSettings::FRAME_BYTES_MAX))
            .max_message_size(Some(FeedSettings::FRAME_BYTES_MAX));
        let connect = connect_async_with_config(url, Some(config), true);
        let (socket, _) = timeout(FeedSettings::PATIENCE, connect).await.ok()?.ok()?;
        Some(socket)
    }

    async fn carry(&mut self, mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>) -> End {
        while self.outbox.try_recv().is_ok() {}
        self.control.wants_reconnect.set(false);
        self.sink.feed_up(self.settings.venue);
        loop {
            if self.control.wants_reconnect.take() {
                return End::Because("given up here");
            }
            tokio::select! {
                biased;
                () = self.control.woken.notified() => (),
                frame = self.outbox.recv() => {
                    let Some(frame) = frame else {
                        return End::Dropped;
                    };
                    let message = match Utf8Bytes::try_from(frame.clone()) {
                        Ok(text) => Message::Text(text),
                        Err(_) => Message::Binary(frame),
                    };
                    match timeout(FeedSettings::PATIENCE, socket.send(message)).await {
                        Ok(Ok(())) => (),
                        Ok(Err(_)) => return End::Because("the connection broke"),
                        Err(_) => return End::Because("the venue does not read"),
                    }
                }
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        self.sink.feed_frame(self.settings.venue, text.as_bytes());
                    }
                    Some(Ok(Message::Binary(bytes))) => {
                        self.sink.feed_frame(self.settings.venue, &bytes);
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => (),
                    Some(Ok(Message::Close(_))) | None => {
                        return End::Because("the venue closed");
                    }
                    Some(Err(_)) => return End::Because("the connection broke"),
                }
            }
        }
    }
}
