//! The open side: a thread of its own with the station, its networks and the links that DCC brings.
//!
//! ```text
//! networks ─ news ─▶ station ─ acts ─▶ networks, listeners, dials ─ met ─▶ station ─▶ core: a link
//! core ─ standing, list ─▶ station           core ◀─ frames ─▶ a task a link
//! ```
//! Everything between this thread and the core passes bounded queues: what happens here delays no
//! leg. Only what concerns a known key reaches the core at all.

mod link;
mod meeting;
mod operator;
mod rank;
mod side;
mod tls;
mod voice;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use thiserror::Error;
use tokio::net::lookup_host;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use crate::config::FILE_BYTES_MAX;
use crate::config::checked::Config;
use crate::discovery::announce::Announcement;
use crate::discovery::chanop;
use crate::discovery::chanop::speaker::Speaker;
use crate::discovery::irc::login::Login;
use crate::discovery::irc::session::{Session, Settings};
use crate::discovery::network::{self, Network, NetworkNo};
use crate::discovery::shown::Shown;
use crate::discovery::station::{AttemptNo, Standing, Station};
use crate::membership::card::CardError;
use crate::membership::{Direction, Peer};
use crate::model::ids::{CommandNo, LinkNo, NodeId, PeernetId};
use crate::model::random::Random;
use crate::model::time::Time;
use crate::shell::clock::Clock;
use crate::shell::identity::Identity;
use crate::shell::irc::{Given, NEWS_MAX};
use crate::shell::open::link::DATAGRAM;
use crate::shell::open::meeting::{Host, MeetError, Met};
use crate::shell::open::operator::Operator;
use crate::shell::open::side::Side;
use crate::shell::open::tls::Configs;
use crate::shell::open::voice::Voice;
use crate::shell::pinned_tls::{Credentials, ListedPins};
use crate::shell::private_file::{self, PrivateFileError};

/// What waits for the core; links and networks wait with it.
const TOLD_MAX: usize = 1_024;
/// What waits for the station from the core. Full: it is dropped, and the next standing mends it.
const ASKED_MAX: usize = 1_024;
/// How long one look at a network may take.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// How long networks may take to be left.
const STOP_MAX: Duration = Duration::from_secs(2);
/// Links over DCC have numbers of their own.
const DCC_LINK: u64 = 1 << 63;

/// Tells whether a link is one over DCC.
pub(super) const fn is_dcc(link: LinkNo) -> bool {
    link.0 & DCC_LINK != 0
}

/// Why there is no open side.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the own card: {0}")]
    Card(#[from] CardError),
    #[error(transparent)]
    File(#[from] PrivateFileError),
    #[error("{}: one line, a password, or two, account and password, belong here", .0.display())]
    Login(PathBuf),
    #[error("the system's random source does not answer")]
    NoRandom,
    #[error("the thread cannot be started")]
    Thread(#[from] std::io::Error),
}

/// What the core is told.
#[derive(Debug)]
pub enum Told {
    Met {
        peer: Peer,
        address: IpAddr,
        link: LinkNo,
        direction: Direction,
        waiting: mpsc::Sender<Vec<u8>>,
    },
    Frame {
        link: LinkNo,
        bytes: Vec<u8>,
    },
    Down {
        link: LinkNo,
    },
    /// Since when this node is on the channel, or that it is not; whether it is heard there.
    OnChannel {
        since: Option<Time>,
        may_speak: bool,
    },
    /// Versions of a roster that are missing.
    RosterWanted {
        from: NodeId,
        peernet: PeernetId,
        after: u64,
    },
    /// A line that passed the sieve, and its signature.
    Announced(Box<Announcement>),
    /// What this command asked for.
    Shown {
        number: CommandNo,
        shown: Shown,
    },
}

/// What the station is told and asked.
#[derive(Debug)]
enum Asked {
    List(Peer),
    StrikeOff(NodeId),
    Standing(NodeId, Standing),
    Show(CommandNo),
    /// By what this node speaks for its peernet, or that it does not.
    Speaker(Option<(PeernetId, u64)>),
    /// A roster: the own peernet's, or what this node says is one.
    Know(Option<NodeId>, Vec<u8>),
    /// What the node wants said, as it hands it out.
    Announce(Vec<u8>),
}

/// The core's end.
#[derive(Debug)]
pub struct Open {
    asked: mpsc::Sender<Asked>,
    links: RefCell<BTreeMap<LinkNo, mpsc::Sender<Vec<u8>>>>,
    ended: oneshot::Receiver<()>,
}

impl Open {
    /// Starts the thread; what it tells comes by the receiver.
    ///
    /// # Errors
    /// A login file or the own card that cannot be used.
    pub fn start(
        home: &Path,
        config: &Config,
        identity: &Arc<Identity>,
        peers: &[Peer],
        Begin {
            is_first_run,
            clock,
            seed,
            given,
        }: Begin,
    ) -> Result<(Self, mpsc::Receiver<Told>), OpenError> {
        let open = &config.open;
        let listed = ListedPins::default();
        let host = host(config, identity, &listed)?;
        let mut networks = Vec::new();
        for network in &open.networks {
            networks.push((network.clone(), login(home, network)?));
        }
        let mut random = Random::new(seed);
        let station = Station::new(identity.node_id(), open.clone(), random.next_u64());
        let (asked, asks) = mpsc::channel(ASKED_MAX);
        let (told, tells) = mpsc::channel(TOLD_MAX);
        let (end, ended) = oneshot::channel();
        let booted_at = (!is_first_run).then(|| clock.now());
        let voice = Voice::new(Arc::clone(identity), open, booted_at);
        let speaker = Speaker::new(identity.node_key(), clock.now());
        let operator = operator(open)?;
        let venues = config.venues.iter();
        let start = Start {
            station,
            voice,
            speaker,
            operator,
            host,
            networks,
            sessions: Settings {
                pin: identity.pin(),
                realname: format!("{} {}", identity.node_id(), open.realname),
                channel: open.channel.clone(),
                login: None,
                answers: open.wants_strangers(),
            },
            given,
            listed,
            venues: venues.map(|venue| venue.http.clone()).collect(),
            ports: open.ports,
            peers: peers.to_vec(),
            clock,
            random,
            asks,
            told,
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("open".to_owned())
            .spawn(move || {
                LocalSet::new().block_on(&runtime, start.run());
                // Whoever waited has gone.
                end.send(()).ok();
            })?;
        let open = Self {
            asked,
            links: RefCell::new(BTreeMap::new()),
            ended,
        };
        Ok((open, tells))
    }

    pub(super) fn list(&self, peer: Peer) {
        self.tell(Asked::List(peer));
    }

    pub(super) fn strike_off(&self, node: NodeId) {
        self.tell(Asked::StrikeOff(node));
    }

    pub(super) fn stand(&self, node: NodeId, standing: Standing) {
        self.tell(Asked::Standing(node, standing));
    }

    fn tell(&self, asked: Asked) {
        if self.asked.try_send(asked).is_err() {
            tracing::warn!("the open side is behind; something told to it was dropped");
        }
    }

    /// This node speaks by this token from now on, or not at all.
    pub(super) fn speak_by(&self, right: Option<(PeernetId, u64)>) {
        self.tell(Asked::Speaker(right));
    }

    /// Takes a roster: the own peernet's, or what somebody says is one.
    pub(super) fn know(&self, from: Option<NodeId>, bytes: &[u8]) {
        self.tell(Asked::Know(from, bytes.to_vec()));
    }

    /// Signs and says what the node hands out.
    pub fn announce(&self, bytes: &[u8]) {
        self.tell(Asked::Announce(bytes.to_vec()));
    }

    /// Asks what the networks show.
    pub fn look(&self, number: CommandNo) {
        self.tell(Asked::Show(number));
    }

    /// Knows a link from now on.
    pub(super) fn add(&self, link: LinkNo, waiting: mpsc::Sender<Vec<u8>>) {
        self.links.borrow_mut().insert(link, waiting);
    }

    /// Closes a link; unknown ones are closed already.
    pub(super) fn close(&self, link: LinkNo) {
        self.links.borrow_mut().remove(&link);
    }

    /// Queues a frame of the link's stream. A link that does not take it is closed.
    pub(super) fn send_stream(&self, link: LinkNo, bytes: &[u8]) {
        self.send(link, bytes.to_vec());
    }

    /// Queues what may be lost; here it arrives, behind everything before it.
    pub(super) fn send_datagram(&self, link: LinkNo, bytes: &[u8]) {
        self.send(link, [&[DATAGRAM][..], bytes].concat());
    }

    fn send(&self, link: LinkNo, frame: Vec<u8>) {
        let mut links = self.links.borrow_mut();
        let Some(waiting) = links.get(&link) else {
            return;
        };
        if waiting.try_send(frame).is_err() {
            links.remove(&link);
        }
    }

    /// Leaves the networks and ends the thread.
    pub async fn stop(self) {
        drop(self.asked);
        drop(self.links);
        if timeout(STOP_MAX, self.ended).await.is_err() {
            tracing::debug!("the networks were not left in time");
        }
    }
}

/// What a run begins with.
#[derive(Debug)]
pub struct Begin {
    pub is_first_run: bool,
    pub clock: Clock,
    pub seed: u64,
    /// Connections that stand already, of the first networks in their order: each is taken in place
    /// of the first dial.
    pub given: Vec<UnixStream>,
}

/// Returns what this node shows whoever it meets; in the dark only listed keys pass.
fn host(config: &Config, identity: &Identity, listed: &ListedPins) -> Result<Host, OpenError> {
    let only = (!config.open.wants_strangers()).then(|| listed.clone());
    let credentials = Credentials {
        certificate: identity.certificate(),
        key: identity.private_key(),
    };
    let card = identity.card(&config.name, &config.advertise)?;
    Ok(Host {
        configs: Configs::new(&credentials, only)?,
        card: format!("{card}\n").into(),
    })
}

/// Returns what of a frame is a message that may be lost.
pub(super) fn datagram(frame: &[u8]) -> Option<&[u8]> {
    frame.strip_prefix(&[DATAGRAM])
}

/// Returns this node's rules as an operator, where it is one.
fn operator(open: &network::Settings) -> Result<Option<Operator>, OpenError> {
    // Nobody is to foresee its questions.
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|_| OpenError::NoRandom)?;
    Ok(open.chanop.map(|settings| {
        let settings = chanop::Settings {
            voice_after: settings.voice_after,
            trust_min: settings.trust_min,
        };
        Operator::new(settings, open.channel.clone(), secret)
    }))
}

/// Reads what a server wants to know of this node.
fn login(home: &Path, network: &Network) -> Result<Option<Login>, OpenError> {
    let Some(file) = &network.login_file else {
        return Ok(None);
    };
    let path = home.join(file);
    let bytes = private_file::read(&path, FILE_BYTES_MAX)?;
    let text = String::from_utf8(bytes).map_err(|_| OpenError::Login(path.clone()))?;
    let mut lines = text.lines().map(str::trim);
    match (lines.next(), lines.next(), lines.next()) {
        (Some(password), None, None) if !password.is_empty() => {
            Ok(Some(Login::Password(password.to_owned())))
        }
        (Some(account), Some(password), None) if !account.is_empty() => Ok(Some(Login::Sasl {
            account: account.to_owned(),
            password: password.to_owned(),
        })),
        (_, _, _) => Err(OpenError::Login(path)),
    }
}

/// Everything the thread begins with.
struct Start {
    station: Station,
    voice: Voice,
    speaker: Speaker,
    operator: Option<Operator>,
    host: Host,
    networks: Vec<(Network, Option<Login>)>,
    given: Vec<UnixStream>,
    sessions: Settings,
    listed: ListedPins,
    /// Where the venues are: nobody is let to make this node dial them.
    venues: Vec<String>,
    ports: Option<(u16, u16)>,
    peers: Vec<Peer>,
    clock: Clock,
    random: Random,
    asks: mpsc::Receiver<Asked>,
    told: mpsc::Sender<Told>,
}

/// Looks up where the venues are.
async fn find_venues(urls: Vec<String>, done: mpsc::Sender<Done>) {
    for url in urls {
        let uri: Option<Uri> = url.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let Ok(found) = lookup_host((host, 0)).await else {
            continue;
        };
        for address in found {
            if done.send(Done::Venue(address.ip())).await.is_err() {
                return;
            }
        }
    }
}

/// Takes a connection that stands already; one that cannot be used is dialled like any other.
fn take(stream: UnixStream, network: &Network) -> Option<Given> {
    stream.set_nonblocking(true).ok()?;
    let stream = tokio::net::UnixStream::from_std(stream).ok()?;
    let local = network.bind.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Some(Given::new(stream, local))
}

/// What comes of attempts.
enum Done {
    Listening(AttemptNo, SocketAddr),
    Met(AttemptNo, Box<Met>),
    Failed(AttemptNo, MeetError),
    /// Somebody came who was not met; the listener goes on.
    Missed(MeetError),
    /// A venue is here.
    Venue(IpAddr),
}

impl Start {
    async fn run(self) {
        let (done, mut dones) = mpsc::channel(TOLD_MAX);
        let (news_to, mut news) = mpsc::channel(NEWS_MAX);
        let mut asks = self.asks;
        spawn_local(find_venues(self.venues, done.clone()));
        let mut side = Side::new(
            (self.station, self.voice),
            (self.speaker, self.operator),
            (self.host, self.ports),
            self.listed,
            self.clock,
            (self.told, done),
        );
        for peer in &self.peers {
            side.list(peer);
        }
        let mut random = self.random;
        let mut given = self.given.into_iter();
        for (at, (network, login)) in self.networks.into_iter().enumerate() {
            let settings = Settings {
                login,
                ..self.sessions.clone()
            };
            let session = Session::new(settings, random.next_u64());
            let number = NetworkNo(u8::try_from(at).unwrap_or(u8::MAX));
            let given = given.next().and_then(|stream| take(stream, &network));
            side.join(number, (network, given), session, &news_to);
        }
        loop {
            side.act();
            let due = side.deadline();
            let wait = due.map(|due| side.clock.until(due.at));
            tokio::select! {
                asked = asks.recv() => match asked {
                    Some(asked) => side.handle_asked(asked),
                    None => return side.leave().await,
                },
                Some((network, news)) = news.recv() => side.handle_news(network, news),
                Some(done) = dones.recv() => side.handle_done(done),
                () = sleep(wait.unwrap_or(Duration::MAX)) => {
                    side.handle_deadline();
                }
            }
        }
    }
}
