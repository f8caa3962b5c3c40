//! A served venue on a real socket: HTTP and WebSocket in front of a pure `Server`.
//!
//! One task owns the server; connections hand it events through one bounded queue and wait. What
//! the server pushes goes into a bounded queue per stream; a client that lets its queue fill up is
//! disconnected.
#![expect(
    clippy::disallowed_methods,
    reason = "the owner of the server and the listener are tasks of their own"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::connect_info::Connected;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::{StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use futures_util::stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::model::time::Time;
use crate::shell::clock::Clock;
use crate::venue::serving::Audit;
use crate::venue::{Server, ServerReply, ServerRequest, StreamNo};

/// Bytes of the largest request body; a larger one is answered 413 without being read.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the largest frame a client may send.
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Connections at a time; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 1_024;
/// Events that wait for the server; further ones wait at their connections.
const EVENTS_MAX: usize = 1_024;
/// Frames that wait for one client; with one more it is disconnected.
const FRAMES_MAX: usize = 1_024;
/// How long a client may take to send a body, or to take a frame.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// A venue that is being served.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    events: mpsc::Sender<Event>,
    listener: JoinHandle<io::Result<()>>,
    owner: JoinHandle<()>,
}

impl Served {
    /// Returns where the venue listens, with the port it was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what the venue's books say now, or `None` once it was stopped.
    pub async fn audit(&self) -> Option<Audit> {
        let (answer, audit) = oneshot::channel();
        self.events.send(Event::Audit { answer }).await.ok()?;
        audit.await.ok()
    }

    /// Closes the listener and forgets the venue.
    pub fn stop(&self) {
        self.listener.abort();
        self.owner.abort();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Serves a venue until the returned value is dropped. Port 0 takes a free port.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(
    listen: SocketAddr,
    server: Box<dyn Server>,
    clock: Clock,
) -> io::Result<Served> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let (events, inbox) = mpsc::channel(EVENTS_MAX);
    let owner = Owner {
        server,
        clock,
        streams: BTreeMap::new(),
        streams_made: 0,
    };
    let router = Router::new().fallback(handle).with_state(events.clone());
    let listener = BoundedListener {
        listener,
        permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
    };
    Ok(Served {
        address,
        events,
        listener: tokio::spawn(async move {
            let service = router.into_make_service_with_connect_info::<Peer>();
            axum::serve(listener, service).await
        }),
        owner: tokio::spawn(owner.run(inbox)),
    })
}

/// What connections tell the owner.
#[derive(Debug)]
enum Event {
    Request {
        parts: Box<request::Parts>,
        body: Bytes,
        answer: oneshot::Sender<ServerReply>,
    },
    Open {
        target: String,
        frames: mpsc::Sender<Bytes>,
        answer: oneshot::Sender<Option<StreamNo>>,
    },
    Frame {
        stream: StreamNo,
        bytes: Bytes,
    },
    Closed {
        stream: StreamNo,
    },
    Audit {
        answer: oneshot::Sender<Audit>,
    },
}

struct Owner {
    server: Box<dyn Server>,
    clock: Clock,
    streams: BTreeMap<StreamNo, mpsc::Sender<Bytes>>,
    streams_made: u64,
}

impl Owner {
    async fn run(mut self, mut inbox: mpsc::Receiver<Event>) {
        let mut next = self.handle_deadline();
        loop {
            let wait = next.map_or(Duration::MAX, |at| self.clock.until(at));
            tokio::select! {
                biased;
                () = sleep(wait) => (),
                event = inbox.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return,
                },
            }
            next = self.handle_deadline();
        }
    }

    fn handle_deadline(&mut self) -> Option<Time> {
        let next = self.with_push(|server, now, push| server.handle_deadline(now, push));
        while let Some(stream) = self.server.poll_closed() {
            self.streams.remove(&stream);
        }
        next
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Request {
                parts,
                body,
                answer,
            } => {
                let reply = self.with_push(|server, now, push| {
                    server.handle_request(
                        &request_of(&parts, &headers_of(&parts), &body),
                        now,
                        push,
                    )
                });
                // The client may have gone; the request is done all the same.
                answer.send(reply).ok();
            }
            Event::Open {
                target,
                frames,
                answer,
            } => {
                self.streams_made += 1;
                let stream = StreamNo(self.streams_made);
                let is_open = self.server.handle_stream(stream, &target, self.clock.now());
                if is_open {
                    self.streams.insert(stream, frames);
                }
                if answer.send(is_open.then_some(stream)).is_err() && is_open {
                    self.close(stream);
                }
            }
            Event::Frame { stream, bytes } => {
                self.with_push(|server, now, push| server.handle_frame(stream, &bytes, now, push));
            }
            Event::Closed { stream } => self.close(stream),
            Event::Audit { answer } => {
                answer.send(self.server.audit()).ok();
            }
        }
    }

    fn with_push<T>(
        &mut self,
        call: impl FnOnce(&mut dyn Server, Time, &mut dyn FnMut(StreamNo, &[u8])) -> T,
    ) -> T {
        let mut slow = Vec::new();
        let streams = &self.streams;
        let result = call(&mut *self.server, self.clock.now(), &mut |stream, frame| {
            let frames = streams.get(&stream);
            if frames.is_some_and(|frames| frames.try_send(Bytes::copy_from_slice(frame)).is_err())
            {
                slow.push(stream);
            }
        });
        for stream in slow {
            self.close(stream);
        }
        result
    }

    fn close(&mut self, stream: StreamNo) {
        self.streams.remove(&stream);
        self.server.handle_stream_closed(stream);
    }
}

fn headers_of(parts: &request::Parts) -> Vec<(&str, &str)> {
    parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect()
}

fn request_of<'a>(
    parts: &'a request::Parts,
    headers: &'a [(&'a str, &'a str)],
    body: &'a [u8],
) -> ServerRequest<'a> {
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let peer = parts.extensions.get::<ConnectInfo<Peer>>();
    ServerRequest {
        peer: peer.map_or("", |ConnectInfo(Peer(address))| address),
        method: parts.method.as_str(),
        target,
        headers,
        body,
    }
}

async fn handle(State(events): State<mpsc::Sender<Event>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    if parts.headers.contains_key(header::UPGRADE) {
        return match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => open_stream(events, &parts, upgrade).await,
            Err(rejection) => rejection.into_response(),
        };
    }
    let declared = parts.headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|len| len > BODY_BYTES_MAX as u64) {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let body = match timeout(CLIENT_PATIENCE, axum::body::to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let (answer, reply) = oneshot::channel();
    let event = Event::Request {
        parts: Box::new(parts),
        body,
        answer,
    };
    if events.send(event).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match reply.await {
        Ok(ServerReply::Answer {
            status,
            content_type,
            body,
        }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
        }
        Ok(ServerReply::Lost) => cut_off(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Answers with a body that breaks at once: the connection ends and the reply is never whole.
fn cut_off() -> Response {
    let broken = stream::iter([Err::<Bytes, io::Error>(
        io::ErrorKind::ConnectionReset.into(),
    )]);
    Response::new(Body::from_stream(broken))
}

async fn open_stream(
    events: mpsc::Sender<Event>,
    parts: &request::Parts,
    upgrade: WebSocketUpgrade,
) -> Response {
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let (frames, outbox) = mpsc::channel(FRAMES_MAX);
    let (answer, opened) = oneshot::channel();
    let event = Event::Open {
        target: target.to_owned(),
        frames,
        answer,
    };
    if events.send(event).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Ok(Some(stream)) = opened.await else {
        return StatusCode::NOT_FOUND.into_response();
    };
    upgrade
        .max_frame_size(FRAME_BYTES_MAX)
        .max_message_size(FRAME_BYTES_MAX)
        .on_upgrade(move |socket| async move {
            run_stream(socket, stream, &events, outbox).await;
            // Without an owner there is nothing left to tell.
            events.send(Event::Closed { stream }).await.ok();
        })
}

/// Carries frames both ways until either side ends the stream.
async fn run_stream(
    mut socket: WebSocket,
    stream: StreamNo,
    events: &mpsc::Sender<Event>,
    mut outbox: mpsc::Receiver<Bytes>,
) {
    loop {
        tokio::select! {
            biased;
            frame = outbox.recv() => {
                let Some(frame) = frame else {
                    return;
                };
                let message = match Utf8Bytes::try_from(frame.clone()) {
                    Ok(text) => Message::Text(text),
                    Err(_) => Message::Binary(frame),
                };
                let sent = timeout(CLIENT_PATIENCE, socket.send(message)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
            message = socket.recv() => {
                let bytes = match message {
                    Some(Ok(Message::Text(text))) => Bytes::from(text),
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                };
                if events.send(Event::Frame { stream, bytes }).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The address a connection comes from, without its port.
#[derive(Clone, Debug)]
struct Peer(String);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self(stream.remote_addr().ip().to_string())
    }
}

/// Accepts no more than so many connections at a time.
struct BoundedListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

/// A connection with its place among the allowed ones.
struct BoundedStream {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl axum::serve::Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                let never: Infallible = std::future::pending().await;
                match never {}
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // A connection without the option is slower, not wrong.
                    stream.set_nodelay(true).ok();
                    let bounded = BoundedStream {
                        stream,
                        _permit: permit,
                    };
                    return (bounded, peer);
                }
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
