//! Requests to one venue: a lane of warm connections for orders, another one for questions.
//!
//! Orders leave in the call that hands them in, on a connection opened beforehand by the core
//! thread. One request is in flight per connection. Questions (orders, account) go through reqwest
//! and never stand in the way of an order. Replies come through the sink, never from within `send`.
//!
//! A venue behind https has no lane: its orders go the way of questions.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use crate::model::ids::RequestNo;
use crate::model::instrument::VenueId;
use crate::node::input::Outcome;
use crate::shell::VenueSink;
use crate::shell::queries::{Queries, Query};
use crate::venue::Asked;
use crate::venue::http::{HEAD_BYTES_MAX, parse_response};

/// The request did not leave: every connection is taken and enough wait already.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the request was not sent")]
pub struct NotSent;

/// Why no connections to a venue were prepared.
#[derive(Debug, Error)]
pub enum OrdersError {
    #[error("`{0}` is not of the form http://host:port or https://host")]
    Address(String),
    #[error("the client for questions cannot be made, or its certificates not be read")]
    Client(#[from] reqwest::Error),
}

/// Sends requests to one venue; its connections close with the last handle.
#[derive(Clone, Debug)]
pub struct OrdersHandle {
    may_order: bool,
    /// Exists where orders may be sent.
    lane: Option<Rc<Open>>,
    queries: mpsc::Sender<Query>,
}

impl OrdersHandle {
    /// Sends a whole request; its outcome comes through the sink.
    ///
    /// # Errors
    /// `NotSent`, and then nothing comes through the sink.
    pub fn send(&self, request: RequestNo, asked: Asked, bytes: Vec<u8>) -> Result<(), NotSent> {
        let job = Job {
            request,
            asked,
            bytes,
            written: 0,
            since: Instant::now(),
        };
        match asked {
            Asked::Place(_) | Asked::Cancel(_) if !self.may_order => Err(NotSent),
            Asked::Place(_) | Asked::Cancel(_) if self.lane.is_some() => {
                let lane = self.lane.as_ref().ok_or(NotSent)?;
                lane.0.send(job)
            }
            Asked::Place(_)
            | Asked::Cancel(_)
            | Asked::Orders
            | Asked::Account
            | Asked::Fills(_)
            | Asked::Entry
            | Asked::Public(_) => {
                let query = Query {
                    request,
                    asked,
                    bytes: job.bytes,
                };
                self.queries.try_send(query).map_err(|_| NotSent)
            }
        }
    }

    /// Returns how many connections stand ready for an order.
    pub fn idle(&self) -> usize {
        let lanes = self.lane.iter();
        lanes
            .flat_map(|lane| &lane.0.slots)
            .filter(|slot| matches!(*slot.state.borrow(), State::Idle(_)))
            .count()
    }
}

/// Where a venue's requests go.
#[derive(Clone, Debug)]
pub struct OrdersSettings {
    pub venue: VenueId,
    /// `http://host:port` or `https://host`.
    pub http: String,
    /// Certificates in PEM that alone are trusted for https.
    pub ca_pem: Option<Vec<u8>>,
    /// Whether orders may be sent, or questions only.
    pub may_order: bool,
}

/// Opens the connections as tasks of the current `LocalSet`.
///
/// # Errors
/// The address is not one, or the certificates are none.
pub fn start(
    settings: &OrdersSettings,
    sink: Rc<dyn VenueSink>,
) -> Result<OrdersHandle, OrdersError> {
    let (venue, may_order) = (settings.venue, settings.may_order);
    let http = settings.http.trim_end_matches('/');
    let bad = || OrdersError::Address(http.to_owned());
    let (scheme, address) = http.split_once("://").ok_or_else(bad)?;
    let is_plain = match scheme {
        "http" if address.contains(':') => true,
        "https" => false,
        _ => return Err(bad()),
    };
    if address.is_empty() || address.contains('/') {
        return Err(bad());
    }
    let ca_pem = settings.ca_pem.as_deref();
    let queries = Queries::start(venue, http.to_owned(), ca_pem, Rc::clone(&sink))?;
    if !may_order || !is_plain {
        return Ok(OrdersHandle {
            may_order,
            lane: None,
            queries,
        });
    }
    let lane = Rc::new(Lane {
        venue,
        address: address.to_owned(),
        sink,
        slots: Default::default(),
        queue: RefCell::new(VecDeque::new()),
        is_closed: Cell::new(false),
    });
    for index in 0..Lane::CONNECTIONS {
        spawn_local(Rc::clone(&lane).run(index));
    }
    Ok(OrdersHandle {
        may_order,
        lane: Some(Rc::new(Open(lane))),
        queries,
    })
}

/// Closes the lane when the last handle goes.
struct Open(Rc<Lane>);

impl std::fmt::Debug for Open {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Lane")
            .field("venue", &self.0.venue)
            .finish_non_exhaustive()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.is_closed.set(true);
        for slot in &self.0.slots {
            slot.woken.notify_one();
        }
    }
}

struct Lane {
    venue: VenueId,
    address: String,
    sink: Rc<dyn VenueSink>,
    slots: [Slot; Self::CONNECTIONS],
    /// Orders that found every connection taken.
    queue: RefCell<VecDeque<Job>>,
    is_closed: Cell<bool>,
}

#[derive(Default)]
struct Slot {
    state: RefCell<State>,
    /// What `send` began to write on this connection.
    handed: RefCell<Option<Job>>,
    woken: Notify,
}

#[derive(Default)]
enum State {
    #[default]
    Down,
    Idle(Rc<TcpStream>),
    Busy,
}

struct Job {
    request: RequestNo,
    asked: Asked,
    bytes: Vec<u8>,
    written: usize,
    since: Instant,
}

/// What became of a request whose reply is not there.
#[derive(Clone, Copy)]
enum Broken {
    NotSent,
    Lost,
}

impl Lane {
    /// Connections to one venue, each with one request in flight.
    const CONNECTIONS: usize = 4;
    /// Orders that wait for a connection; one more is not sent.
    const QUEUE_MAX: usize = 64;
    /// An order that waited this long is not sent any more: its price is history.
    const QUEUE_PATIENCE: Duration = Duration::from_secs(1);
    /// How long a reply may take.
    const REPLY_PATIENCE: Duration = Duration::from_secs(5);
    const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
    /// Between two attempts to connect.
    const RECONNECT_AFTER: Duration = Duration::from_millis(250);
    /// Bytes of the largest reply to an order.
    const REPLY_BYTES_MAX: usize = 256 * 1024;

    fn send(&self, mut job: Job) -> Result<(), NotSent> {
        for slot in &self.slots {
            let mut state = slot.state.borrow_mut();
            let State::Idle(stream) = &*state else {
                continue;
            };
            match stream.try_write(&job.bytes) {
                Ok(written) => job.written = written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                // The task of this connection sees the same and replaces it.
                Err(_) => continue,
            }
            *state = State::Busy;
            *slot.handed.borrow_mut() = Some(job);
            slot.woken.notify_one();
            return Ok(());
        }
        let mut queue = self.queue.borrow_mut();
        if queue.len() >= Self::QUEUE_MAX {
            return Err(NotSent);
        }
        queue.push_back(job);
        Ok(())
    }

    async fn run(self: Rc<Self>, index: usize) {
        let slot = &self.slots[index];
        while !self.is_closed.get() {
            let connect = timeout(Self::CONNECT_PATIENCE, TcpStream::connect(&self.address));
            if let Ok(Ok(stream)) = connect.await {
                // A connection without the option is slower, not wrong.
                stream.set_nodelay(true).ok();
                self.carry(slot, &Rc::new(stream)).await;
                *slot.state.borrow_mut() = State::Down;
            } else {
                self.fail_queue();
                sleep(Self::RECONNECT_AFTER).await;
            }
        }
    }

    /// Where no connection is left, what waits for one is not sent.
    fn fail_queue(&self) {
        let all_down = self
            .slots
            .iter()
            .all(|slot| matches!(*slot.state.borrow(), State::Down));
        while all_down && let Some(job) = self.pop_queue() {
            self.tell_broken(&job, Broken::NotSent);
        }
    }

    fn pop_queue(&self) -> Option<Job> {
        self.queue.borrow_mut().pop_front()
    }

    /// Returns the next order that waits, after telling those that waited too long.
    fn next_queued(&self) -> Option<Job> {
        while let Some(job) = self.pop_queue() {
            if job.since.elapsed() <= Self::QUEUE_PATIENCE {
                return Some(job);
            }
            self.tell_broken(&job, Broken::NotSent);
        }
        None
    }

    /// Serves requests on one connection until it ends.
    async fn carry(&self, slot: &Slot, stream: &Rc<TcpStream>) {
        let mut buffer = Vec::with_capacity(HEAD_BYTES_MAX);
        loop {
            *slot.state.borrow_mut() = State::Busy;
            let job = match self.next_queued() {
                Some(job) => job,
                None => {
                    *slot.state.borrow_mut() = State::Idle(Rc::clone(stream));
                    match self.wait(slot, stream).await {
                        Some(job) => job,
                        None => return,
                    }
                }
            };
            *slot.state.borrow_mut() = State::Busy;
            let exchange = timeout(
                Self::REPLY_PATIENCE,
                self.exchange(stream, &job, &mut buffer),
            );
            match exchange.await {
                Ok(Ok(true)) => (),
                Ok(Ok(false)) => return,
                Ok(Err(broken)) => return self.tell_broken(&job, broken),
                Err(_) => return self.tell_broken(&job, Broken::Lost),
            }
        }
    }

    /// Waits for a job; `None` where the idle connection ended or the lane closed.
    async fn wait(&self, slot: &Slot, stream: &TcpStream) -> Option<Job> {
        loop {
            tokio::select! {
                biased;
                () = slot.woken.notified() => (),
                ready = stream.readable() => {
                    let mut stray = [0; 1];
                    let is_alive = ready.is_ok()
                        && stream.try_read(&mut stray).is_err_and(|error| {
                            error.kind() == io::ErrorKind::WouldBlock
                        });
                    if !is_alive && slot.handed.borrow().is_none() {
                        return None;
                    }
                }
            }
            if let Some(job) = slot.handed.borrow_mut().take() {
                return Some(job);
            }
            if self.is_closed.get() {
                return None;
            }
        }
    }

    /// Writes what is left of a request and tells its reply; true where the connection lives on.
    async fn exchange(
        &self,
        stream: &TcpStream,
        job: &Job,
        buffer: &mut Vec<u8>,
    ) -> Result<bool, Broken> {
        let mut written = job.written;
        while written < job.bytes.len() {
            let broken = if written == 0 {
                Broken::NotSent
            } else {
                Broken::Lost
            };
            stream.writable().await.map_err(|_| broken)?;
            match stream.try_write(&job.bytes[written..]) {
                Ok(len) => written += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                Err(_) => return Err(broken),
            }
        }
        let mut is_ended = false;
        loop {
            let parsed = parse_response(buffer, is_ended, Self::REPLY_BYTES_MAX);
            match parsed.map_err(|_| Broken::Lost)? {
                Some(response) if response.status < 200 => {
                    let len = response.len;
                    buffer.drain(..len);
                }
                Some(response) => {
                    let outcome = Outcome::Reply {
                        status: response.status,
                        body: &response.body,
                    };
                    self.sink.reply(self.venue, job.request, job.asked, outcome);
                    let lives = response.keeps_alive && response.len == buffer.len() && !is_ended;
                    buffer.clear();
                    return Ok(lives);
                }
                None if is_ended => return Err(Broken::Lost),
                None => is_ended = read_some(stream, buffer).await.map_err(|_| Broken::Lost)?,
            }
        }
    }

    fn tell_broken(&self, job: &Job, broken: Broken) {
        let outcome = match broken {
            Broken::NotSent => Outcome::NotSent,
            Broken::Lost => Outcome::Lost,
        };
        self.sink.reply(self.venue, job.request, job.asked, outcome);
    }
}

/// Reads what is there; true where the sender closed.
async fn read_some(stream: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        stream.readable().await?;
        match stream.try_read_buf(buffer) {
            Ok(len) => return Ok(len == 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
            Err(error) => return Err(error),
        }
    }
}
