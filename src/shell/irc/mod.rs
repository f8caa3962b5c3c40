//! The sockets of IRC networks: each is read, written and dialled again as its session says.
//!
//! A task a network, none of which waits for another. What a session hears leaves through a queue.
//! Where that has no room, the server is not read until it has: it waits, as for anybody who is slow,
//! and what this node has to say leaves meanwhile. What still has no room is dropped and counted.

mod tls;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::discovery::irc::channel::{Channel, Member};
use crate::discovery::irc::line::Line;
use crate::discovery::irc::name::CaseMapping;
use crate::discovery::irc::pace::Urgency;
use crate::discovery::irc::session::{Heard, Next, Phase, Session};
use crate::discovery::network::{Network, Trust};
use crate::model::time::{Span, Time};
use crate::shell::clock::Clock;
use crate::shell::socket::Socket;

/// What a network is told.
#[derive(Debug)]
pub enum Wish {
    Send {
        urgency: Urgency,
        line: Line,
    },
    /// Say it to the channel, where this node may.
    Say {
        urgency: Urgency,
        text: String,
    },
    /// Hands out who is there.
    Show(oneshot::Sender<View>),
}

/// A network as it is now.
#[derive(Clone, Debug)]
pub struct View {
    pub phase: Phase,
    pub nick: String,
    pub is_moderated: bool,
    pub members: Vec<Member>,
    /// Members beyond those that are known.
    pub unknown: u64,
    /// What was heard and dropped, and lines that were too long to be read.
    pub dropped: u64,
    pub long_lines: u64,
}

/// What was heard, for a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Who is on the channel: after joining it, and again when something was heard and had no room.
    Joined(Joined),
    Left {
        why: String,
    },
    Came {
        nick: String,
    },
    Gone {
        nick: String,
    },
    Renamed {
        from: String,
        to: String,
    },
    Realname {
        nick: String,
        realname: String,
    },
    /// Ranks on the channel, as they are now.
    Ranks(Ranks),
    Said {
        nick: String,
        text: String,
    },
    Told {
        nick: String,
        text: String,
    },
    Dcc {
        nick: String,
        text: String,
    },
}

/// Who has which rank on the channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranks {
    /// What the server calls its network, and us.
    pub network: String,
    pub own: String,
    /// What we say to the channel is heard.
    pub may_speak: bool,
    pub is_operator: bool,
    /// Only who has voice, or a higher rank, is heard.
    pub is_moderated: bool,
    pub voiced: Vec<String>,
    pub operators: Vec<String>,
}

/// A channel with everybody on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub mapping: CaseMapping,
    /// The address of this machine that the network is dialled from.
    pub local: IpAddr,
    /// Nicks, and realnames as far as they are known.
    pub members: Vec<(String, Option<String>)>,
}

/// A connection that stands already, in place of the first dial.
pub struct Given {
    socket: Box<dyn Socket>,
    local: IpAddr,
}

impl Given {
    /// `local` is the address of this machine that it is to count as dialled from.
    pub fn new(
        socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        local: IpAddr,
    ) -> Self {
        Self {
            socket: Box::new(socket),
            local,
        }
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Given")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// Why a network could not be dialled.
#[derive(Debug, Error)]
enum DialError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    #[error("{0:?} is no name that a certificate could have")]
    Name(String),
    #[error("no address for {0}")]
    NoAddress(String),
    #[error("no connection in time")]
    Late,
}

/// How long one write may take; a server that does not read is given up.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// How long a dial may take, TLS and looking up the name included.
const DIAL_MAX: Duration = Duration::from_secs(20);
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// The shortest line that is news is `QUIT` and its end.
const NEWS_BYTES_MIN: usize = 5;
/// How often ranks are told: whoever changes them all the time has them looked at no oftener.
const RANKS_EVERY: Span = Span::millis(100);
/// Wishes and news that wait.
pub const WISHES_MAX: usize = 256;
pub const NEWS_MAX: usize = 1_024;

/// Runs one network until nobody holds the other end of `wishes`.
pub async fn run(
    network: Network,
    given: Option<Given>,
    session: Session,
    clock: Clock,
    mut wishes: mpsc::Receiver<Wish>,
    news: mpsc::Sender<News>,
) {
    let mut run = Run {
        session,
        clock,
        ear: Ear {
            news,
            dropped: 0,
            local: IpAddr::from([0, 0, 0, 0]),
            is_behind: false,
            are_ranks_new: false,
            ranks_at: Time::ZERO,
            own: String::new(),
        },
        out: Vec::new(),
        given,
        socket: None,
    };
    let mut bytes = vec![0; READ_BYTES];
    loop {
        run.catch_up();
        match run.tend() {
            Next::Dial => run.dial(&network).await,
            Next::HangUp => run.close("closed"),
            Next::Wait(at) => {
                run.write().await;
                let ranks_at = Some(run.ear.ranks_at).filter(|_| run.may_tell_ranks());
                let wait = clock.until(ranks_at.map_or(at, |ranks_at| at.min(ranks_at)));
                let Run { socket, ear, .. } = &mut run;
                let read = async {
                    match socket {
                        Some(socket) => {
                            let most = ear.bytes_that_can_be_told().await.min(READ_BYTES);
                            socket.read(&mut bytes[..most]).await
                        }
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    wish = wishes.recv() => match wish {
                        Some(wish) => run.handle_wish(wish),
                        None => return run.leave().await,
                    },
                    read = read => run.handle_read(read, &bytes),
                    () = sleep(wait) => (),
                }
            }
        }
    }
}

struct Run {
    session: Session,
    clock: Clock,
    ear: Ear,
    out: Vec<u8>,
    given: Option<Given>,
    socket: Option<Box<dyn Socket>>,
}

impl Run {
    fn tend(&mut self) -> Next {
        let mut hear = self.ear.open();
        self.session
            .tend(self.clock.now(), &mut self.out, &mut hear)
    }

    async fn dial(&mut self, network: &Network) {
        let dialled = match self.given.take() {
            Some(Given { socket, local }) => Ok((socket, local)),
            None => {
                let dialled = timeout(DIAL_MAX, connect(network)).await;
                dialled.unwrap_or(Err(DialError::Late))
            }
        };
        match dialled {
            Ok((socket, local)) => {
                self.socket = Some(socket);
                self.ear.local = local;
                self.session.handle_connected(self.clock.now());
            }
            Err(error) => self.close(&error.to_string()),
        }
    }

    /// Tells anew who is there, once there is room for it.
    fn catch_up(&mut self) {
        if self.ear.is_behind && self.ear.news.capacity() > 0 && self.session.is_on() {
            self.ear.is_behind = false;
            self.ear.tell_joined(self.session.seen());
            self.ear.are_ranks_new = true;
        }
        let now = self.clock.now();
        self.ear.are_ranks_new |= self.session.nick() != self.ear.own;
        if self.may_tell_ranks() && self.ear.ranks_at <= now {
            self.ear.are_ranks_new = false;
            self.ear.ranks_at = now + RANKS_EVERY;
            self.session.nick().clone_into(&mut self.ear.own);
            self.ear.tell(News::Ranks(self.ranks()));
        }
    }

    /// What has no room now is told the next time.
    fn may_tell_ranks(&self) -> bool {
        self.ear.are_ranks_new && self.session.is_on() && self.ear.news.capacity() > 0
    }

    fn ranks(&self) -> Ranks {
        let own = self.session.nick().to_owned();
        let channel = self.session.seen();
        let nicks = |has_rank: fn(&Member) -> bool| {
            let members = channel.members().filter(|member| has_rank(member));
            members.map(|member| member.nick.clone()).collect()
        };
        Ranks {
            network: self.session.network().to_owned(),
            may_speak: self.session.may_speak(),
            is_moderated: channel.is_moderated(),
            is_operator: channel.member(&own).is_some_and(|own| own.is_operator),
            voiced: nicks(|member| member.has_voice),
            operators: nicks(|member| member.is_operator),
            own,
        }
    }

    fn close(&mut self, why: &str) {
        self.socket = None;
        self.out.clear();
        let mut hear = self.ear.open();
        self.session.handle_closed(why, self.clock.now(), &mut hear);
    }

    async fn write(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let Some(socket) = &mut self.socket else {
            return;
        };
        let written = timeout(WRITE_MAX, async {
            socket.write_all(&self.out).await?;
            socket.flush().await
        });
        let written = written.await;
        self.out.clear();
        match written {
            Ok(Ok(())) => (),
            Ok(Err(error)) => self.close(&error.to_string()),
            Err(_) => self.close("it does not read"),
        }
    }

    fn handle_read(&mut self, read: io::Result<usize>, bytes: &[u8]) {
        match read {
            Ok(0) => self.close("closed"),
            Ok(len) => {
                let mut hear = self.ear.open();
                let bytes = bytes.get(..len).unwrap_or_default();
                self.session
                    .handle_bytes(bytes, self.clock.now(), &mut hear);
            }
            Err(error) => self.close(&error.to_string()),
        }
    }

    fn handle_wish(&mut self, wish: Wish) {
        match wish {
            Wish::Send { urgency, line } => {
                self.ear.dropped += u64::from(self.session.send(urgency, line).is_err());
            }
            Wish::Say { urgency, text } => {
                let is_said = self.session.may_speak() && self.session.say(urgency, &text).is_ok();
                self.ear.dropped += u64::from(!is_said);
            }
            Wish::Show(asker) => {
                let channel = self.session.seen();
                let view = View {
                    phase: self.session.phase().clone(),
                    nick: self.session.nick().to_owned(),
                    is_moderated: channel.is_moderated(),
                    members: channel.members().cloned().collect(),
                    unknown: channel.unknown(),
                    dropped: self.ear.dropped,
                    long_lines: self.session.lines_dropped(),
                };
                // Whoever asked may have gone.
                asker.send(view).ok();
            }
        }
    }

    /// Says good-bye, if there is somebody to hear it.
    async fn leave(&mut self) {
        if self.socket.is_some() {
            self.out.extend_from_slice(b"QUIT :leaving\r\n");
            self.write().await;
        }
    }
}

/// Passes on what must not wait; when the queue is full it is counted and gone.
struct Ear {
    news: mpsc::Sender<News>,
    dropped: u64,
    local: IpAddr,
    /// Something had no room: who is there is told anew later.
    is_behind: bool,
    /// Ranks, or nicks that have them, are other than told last.
    are_ranks_new: bool,
    /// When they may be told again.
    ranks_at: Time,
    /// The own nick as it was told last.
    own: String,
}

impl Ear {
    fn open(&mut self) -> impl FnMut(&Channel, Heard<'_>) {
        |channel, heard| {
            self.are_ranks_new |=
                matches!(heard, Heard::Joined | Heard::Modes | Heard::Renamed { .. });
            if heard == Heard::Joined {
                self.tell_joined(channel);
            } else if let Some(news) = News::of(heard) {
                self.tell(news);
            }
        }
    }

    fn tell_joined(&mut self, channel: &Channel) {
        let named = |member: &Member| (member.nick.clone(), member.realname.clone());
        self.tell(News::Joined(Joined {
            mapping: channel.mapping(),
            local: self.local,
            members: channel.members().map(named).collect(),
        }));
    }

    /// Waits until there is room for news; returns how many bytes make no more than that.
    async fn bytes_that_can_be_told(&self) -> usize {
        // Where nobody takes news any more, nobody is left to wait for them.
        drop(self.news.reserve().await);
        self.news.capacity().max(1) * NEWS_BYTES_MIN
    }

    fn tell(&mut self, news: News) {
        if self.news.try_send(news).is_err() {
            self.dropped += 1;
            self.is_behind = true;
        }
    }
}

impl News {
    /// Returns what was heard; that the channel was joined is told with who is there, and ranks are
    /// told once for all that has changed.
    fn of(heard: Heard<'_>) -> Option<Self> {
        let owned = str::to_owned;
        let nick_and = |nick: &str, text: &str| (owned(nick), owned(text));
        Some(match heard {
            Heard::Joined | Heard::Modes => return None,
            Heard::Left { why } => Self::Left { why: owned(why) },
            Heard::Came { nick } => Self::Came { nick: owned(nick) },
            Heard::Gone { nick } => Self::Gone { nick: owned(nick) },
            Heard::Renamed { from, to } => {
                let (from, to) = nick_and(from, to);
                Self::Renamed { from, to }
            }
            Heard::Realname { nick, realname } => {
                let (nick, realname) = nick_and(nick, realname);
                Self::Realname { nick, realname }
            }
            Heard::Said { nick, text } => {
                let (nick, text) = nick_and(nick, text);
                Self::Said { nick, text }
            }
            Heard::Told { nick, text } => {
                let (nick, text) = nick_and(nick, text);
                Self::Told { nick, text }
            }
            Heard::Dcc { nick, text } => {
                let (nick, text) = nick_and(nick, text);
                Self::Dcc { nick, text }
            }
        })
    }
}

async fn connect(network: &Network) -> Result<(Box<dyn Socket>, IpAddr), DialError> {
    let host = network.host.as_str();
    let mut addresses = lookup_host((host, network.port)).await?;
    let is_ours = |address: &SocketAddr| match network.bind {
        Some(bind) => bind.is_ipv4() == address.is_ipv4(),
        None => true,
    };
    let address = addresses.find(is_ours);
    let address = address.ok_or_else(|| DialError::NoAddress(host.to_owned()))?;
    let stream = dial(address, network.bind).await?;
    let local = stream.local_addr()?.ip();
    let config = match &network.trust {
        Trust::Plain => return Ok((Box::new(stream), local)),
        Trust::Public => tls::public()?,
        Trust::Pinned(fingerprint) => tls::pinned(*fingerprint)?,
    };
    Ok((shake_hands(stream, host, config).await?, local))
}

async fn dial(address: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(bind) = bind {
        socket.bind(SocketAddr::new(bind, 0))?;
    }
    let stream = socket.connect(address).await?;
    // An offer for the kernel's NAT helper must stand alone in its segment.
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn shake_hands(
    stream: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<Box<dyn Socket>, DialError> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| DialError::Name(host.to_owned()))?;
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    Ok(Box::new(stream))
}
