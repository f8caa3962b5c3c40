//! From a TCP connection to a known key: TLS, then a card each way.
//!
//! The card is one line of text, so that a person at the other end sees what is wanted, and whoever
//! sends another line has none. What follows are frames, as on the stream of QUIC.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::discovery::station::Failure;
use crate::discovery::station::door::{Door, Visits};
use crate::membership::Direction;
use crate::membership::card::{CARD_BYTES_MAX, Card, CardError};
use crate::model::ids::Pin;
use crate::shell::clock::Clock;
use crate::shell::open::tls::Configs;
use crate::shell::pinned_tls::{SERVER_NAME, pin_of_chain};
use crate::shell::socket::Socket;

/// How long a connection may take, and TLS with both cards behind it.
const CONNECT_MAX: Duration = Duration::from_secs(10);
const MEET_MAX: Duration = Duration::from_secs(10);

/// What every meeting needs of this node.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) configs: Configs,
    /// The own card, with the end of its line.
    pub(super) card: Arc<str>,
}

/// Whoever was met, with the connection behind the cards.
pub(super) struct Met {
    pub(super) card: Card,
    pub(super) socket: Box<dyn Socket>,
    /// What was read behind the card.
    pub(super) rest: Vec<u8>,
    pub(super) address: IpAddr,
    pub(super) direction: Direction,
}

/// Why nobody was met.
#[derive(Debug, Error)]
pub(super) enum MeetError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("tls: {0}")]
    Tls(io::Error),
    #[error("not in time")]
    Late,
    #[error("no certificate that a node has")]
    Certificate,
    #[error("it ended before its card: {0}")]
    Ended(io::Error),
    #[error("what it says is no card: {0}")]
    Card(#[from] CardError),
    #[error("what it says is no text")]
    Text,
    #[error("its card is another key's than its certificate")]
    AnotherKey,
    #[error("no port is free to listen on")]
    NoPort,
}

impl MeetError {
    /// Returns what the station counts it as.
    pub(super) const fn failure(&self) -> Failure {
        match self {
            Self::Io(_) | Self::Late | Self::NoPort => Failure::Unreached,
            Self::Tls(_) => Failure::Tls,
            Self::Certificate | Self::Ended(_) | Self::Card(_) | Self::Text => Failure::NoCard,
            Self::AnotherKey => Failure::AnotherKey,
        }
    }
}

/// Listens on an address; where ports are named, on the first of them that is free.
pub(super) async fn listen(
    address: IpAddr,
    ports: Option<(u16, u16)>,
) -> Result<TcpListener, MeetError> {
    let Some((first, last)) = ports else {
        return Ok(TcpListener::bind((address, 0)).await?);
    };
    for port in first..=last {
        if let Ok(listener) = TcpListener::bind((address, port)).await {
            return Ok(listener);
        }
    }
    Err(MeetError::NoPort)
}

/// The door that all listeners share, and what it is opened by.
#[derive(Clone, Debug)]
pub(super) struct Entrance {
    pub(super) door: Rc<RefCell<Door>>,
    pub(super) clock: Clock,
}

/// Somebody inside; out again when dropped, whichever way that comes.
struct Inside(Rc<RefCell<Door>>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.borrow_mut().leave();
    }
}

impl Entrance {
    fn enter(&self, visits: &mut Visits, from: IpAddr) -> Option<Inside> {
        let may = self.door.borrow_mut().enter(visits, from, self.clock.now());
        may.then(|| Inside(Rc::clone(&self.door)))
    }
}

/// Waits for whoever was told of this listener, for as long as this is awaited. Others who come do
/// not end it, and nobody waits behind them; `missed` hears why each was not met.
pub(super) async fn accept(
    listener: TcpListener,
    host: &Host,
    entrance: &Entrance,
    missed: impl Fn(MeetError),
) -> Result<Met, MeetError> {
    let mut visits = Visits::default();
    let mut visitors = JoinSet::new();
    loop {
        tokio::select! {
            came = listener.accept() => {
                let (stream, from) = came?;
                if let Some(inside) = entrance.enter(&mut visits, from.ip()) {
                    let host = host.clone();
                    visitors.spawn_local(async move {
                        let met = within(welcome(stream, from.ip(), &host)).await;
                        drop(inside);
                        met
                    });
                }
            }
            Some(visited) = visitors.join_next() => match visited {
                Ok(Ok(met)) => return Ok(met),
                Ok(Err(error)) => missed(error),
                // Nobody ends a visit but its own end.
                Err(_) => (),
            }
        }
    }
}

async fn welcome(stream: TcpStream, from: IpAddr, host: &Host) -> Result<Met, MeetError> {
    stream.set_nodelay(true)?;
    let acceptor = TlsAcceptor::from(Arc::clone(&host.configs.server));
    let stream = acceptor.accept(stream).await.map_err(MeetError::Tls)?;
    let pin = pin_of(stream.get_ref().1.peer_certificates());
    exchange(Box::new(stream), pin, host, (from, Direction::Accepted)).await
}

/// Dials an address from one of this machine's.
pub(super) async fn dial(address: SocketAddr, from: IpAddr, host: &Host) -> Result<Met, MeetError> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if from.is_ipv4() == address.is_ipv4() {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let connected = timeout(CONNECT_MAX, socket.connect(address)).await;
    let stream = connected.map_err(|_| MeetError::Late)??;
    within(visit(stream, address.ip(), host)).await
}

async fn visit(stream: TcpStream, to: IpAddr, host: &Host) -> Result<Met, MeetError> {
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::clone(&host.configs.client));
    let name = ServerName::try_from(SERVER_NAME).map_err(|_| MeetError::Certificate)?;
    let stream = connector.connect(name, stream).await;
    let stream = stream.map_err(MeetError::Tls)?;
    let pin = pin_of(stream.get_ref().1.peer_certificates());
    exchange(Box::new(stream), pin, host, (to, Direction::Dialled)).await
}

async fn within(meeting: impl Future<Output = Result<Met, MeetError>>) -> Result<Met, MeetError> {
    timeout(MEET_MAX, meeting)
        .await
        .unwrap_or(Err(MeetError::Late))
}

fn pin_of(chain: Option<&[CertificateDer<'static>]>) -> Option<Pin> {
    let (first, rest) = chain?.split_first()?;
    pin_of_chain(first, rest).ok()
}

/// Says who this node is and hears who the other one is. Both have shown their keys by now.
async fn exchange(
    mut socket: Box<dyn Socket>,
    pin: Option<Pin>,
    host: &Host,
    (address, direction): (IpAddr, Direction),
) -> Result<Met, MeetError> {
    let said = socket.write_all(host.card.as_bytes()).await;
    said.map_err(broken_off)?;
    socket.flush().await.map_err(broken_off)?;
    let (line, rest) = first_line(&mut socket).await?;
    let line = String::from_utf8(line).map_err(|_| MeetError::Text)?;
    let card = Card::parse(line.trim_end_matches('\r'))?;
    let pin = pin.ok_or(MeetError::Certificate)?;
    if card.pin() != pin {
        return Err(MeetError::AnotherKey);
    }
    Ok(Met {
        card,
        socket,
        rest,
        address,
        direction,
    })
}

/// Tells TLS that ends late, as where a key is refused after the dialling end is done, from a
/// connection that ends.
fn broken_off(error: io::Error) -> MeetError {
    match error.kind() == io::ErrorKind::InvalidData {
        true => MeetError::Tls(error),
        false => MeetError::Ended(error),
    }
}

/// Reads up to the first end of a line, and no more than a card may have.
async fn first_line(socket: &mut Box<dyn Socket>) -> Result<(Vec<u8>, Vec<u8>), MeetError> {
    let mut read = Vec::with_capacity(CARD_BYTES_MAX);
    loop {
        if let Some(at) = read.iter().position(|byte| *byte == b'\n') {
            let rest = read.split_off(at + 1);
            read.truncate(at);
            return Ok((read, rest));
        }
        if read.len() > CARD_BYTES_MAX + 1 {
            return Ok((read, Vec::new()));
        }
        if socket.read_buf(&mut read).await.map_err(broken_off)? == 0 {
            return Err(broken_off(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}
