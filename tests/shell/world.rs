//! Homes, nodes and a sink that remembers; helpers of the shell's tests.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use expressnet::membership::card::Card;
use expressnet::membership::{Direction, Peer};
use expressnet::model::ids::{LinkNo, NodeId};
use expressnet::shell::MeshSink;
use expressnet::shell::identity::{Identity, OwnerSource};
use expressnet::shell::mesh::{Mesh, Profile};
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::task::LocalSet;

/// Whatever is awaited comes within this, or the test fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

static FOLDERS: AtomicU64 = AtomicU64::new(0);

/// A folder that is removed with the test.
pub(super) struct Folder(pub(super) PathBuf);

/// An identity in its own home.
pub(super) struct Home {
    pub(super) folder: Folder,
    pub(super) identity: Identity,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Up(NodeId, LinkNo, Direction),
    Down(LinkNo),
    DialFailed(NodeId),
    Frame(LinkNo, Vec<u8>),
    Datagram(LinkNo, Vec<u8>),
}

/// A sink that remembers what it was told.
#[derive(Default)]
pub(super) struct Recorder {
    events: RefCell<VecDeque<Event>>,
    told: Notify,
}

/// A running node of the mesh.
pub(super) struct Node {
    pub(super) home: Home,
    pub(super) mesh: Mesh,
    pub(super) sink: Rc<Recorder>,
}

impl Folder {
    pub(super) fn new() -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("expressnet-test-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

impl Home {
    pub(super) fn new() -> Self {
        let folder = Folder::new();
        let identity = Identity::create(&folder.0, OwnerSource::New).unwrap();
        Self { folder, identity }
    }

    pub(super) fn id(&self) -> NodeId {
        self.identity.node_id()
    }

    /// The peer that others list, dialled at `address`.
    pub(super) fn peer(&self, address: SocketAddr) -> Peer {
        let card = self.identity.card("test", &[address]).unwrap();
        Card::parse(&card).unwrap().peer(10)
    }

    /// What a thief finds in the home.
    pub(super) fn steal(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.file(name)).unwrap()
    }
}

impl MeshSink for Recorder {
    fn link_up(&self, peer: NodeId, link: LinkNo, direction: Direction) {
        self.tell(Event::Up(peer, link, direction));
    }

    fn link_down(&self, link: LinkNo) {
        self.tell(Event::Down(link));
    }

    fn dial_failed(&self, peer: NodeId) {
        self.tell(Event::DialFailed(peer));
    }

    fn stream_frame(&self, link: LinkNo, bytes: &[u8]) {
        self.tell(Event::Frame(link, bytes.to_vec()));
    }

    fn datagram(&self, link: LinkNo, bytes: &[u8]) {
        self.tell(Event::Datagram(link, bytes.to_vec()));
    }
}

impl Recorder {
    /// Waits for what comes next.
    pub(super) async fn next(&self) -> Event {
        within(async {
            loop {
                let event = self.events.borrow_mut().pop_front();
                match event {
                    Some(event) => break event,
                    None => self.told.notified().await,
                }
            }
        })
        .await
    }

    pub(super) async fn up(&self) -> (NodeId, LinkNo) {
        let event = self.next().await;
        let Event::Up(peer, link, _) = event else {
            panic!("{event:?} instead of a link");
        };
        (peer, link)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.borrow().is_empty()
    }

    fn tell(&self, event: Event) {
        self.events.borrow_mut().push_back(event);
        self.told.notify_one();
    }
}

impl Node {
    pub(super) fn start(home: Home) -> Self {
        Self::start_at(home, loopback())
    }

    pub(super) fn start_at(home: Home, listen: SocketAddr) -> Self {
        let sink = Rc::new(Recorder::default());
        let told = Rc::<Recorder>::clone(&sink);
        let mesh = Mesh::start(next_profile(), &home.identity, listen, &[], told).unwrap();
        Self { home, mesh, sink }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.mesh.local_addr().unwrap()
    }

    pub(super) fn id(&self) -> NodeId {
        self.home.id()
    }

    pub(super) fn peer(&self) -> Peer {
        self.home.peer(self.address())
    }

    /// Checks that a frame goes through and comes out at `other`, whose link is `at`.
    pub(super) async fn speak(&self, link: LinkNo, other: &Self, at: LinkNo) {
        self.mesh.send_stream(link, b"hear me").unwrap();
        assert_eq!(
            other.sink.next().await,
            Event::Frame(at, b"hear me".to_vec())
        );
    }
}

/// Two nodes that list each other.
pub(super) fn pair() -> (Node, Node) {
    let (one, two) = (Node::start(Home::new()), Node::start(Home::new()));
    assert!(one.mesh.add_peer(two.peer()));
    assert!(two.mesh.add_peer(one.peer()));
    (one, two)
}

/// Links `one` to `two` and returns the link's number at each end.
pub(super) async fn linked(one: &Node, two: &Node) -> (LinkNo, LinkNo) {
    one.mesh.dial(two.id());
    let (peer, at_one) = one.sink.up().await;
    assert_eq!(peer, two.id());
    let (peer, at_two) = two.sink.up().await;
    assert_eq!(peer, one.id());
    (at_one, at_two)
}

pub(super) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it takes too long")
}

/// Waits until something holds that no event announces.
pub(super) async fn until(holds: impl Fn() -> bool) {
    within(async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

const HOT: Profile = Profile::Colo {
    park_after: Duration::MAX,
};
const COLD: Profile = Profile::Colo {
    park_after: Duration::ZERO,
};

/// What the nodes of a test run by, in the order in which they start, and then again.
const PROFILES: [&[Profile]; 5] = [
    &[Profile::Shared],
    &[HOT],
    &[COLD],
    &[Profile::Shared, HOT],
    &[COLD, Profile::Shared],
];

thread_local! {
    static NODES_RUN_BY: RefCell<(&'static [Profile], usize)> = const { RefCell::new((&[], 0)) };
}

/// Returns the profile of the node that starts next.
pub(super) fn next_profile() -> Profile {
    NODES_RUN_BY.with_borrow_mut(|(profiles, started)| {
        *started += 1;
        profiles[(*started - 1) % profiles.len()]
    })
}

/// Runs a test as the core thread runs, one thread and local tasks, once for each way in which
/// its nodes can be driven.
#[expect(
    clippy::print_stderr,
    reason = "a test that fails tells which way it was"
)]
pub(super) fn run(test: impl AsyncFn()) {
    for profiles in PROFILES {
        NODES_RUN_BY.set((profiles, 0));
        eprintln!("nodes run by {profiles:?}");
        on_local_set(test());
    }
}

/// Runs a future and its tasks on this thread, as the core thread runs.
pub(crate) fn on_local_set<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future)
}

pub(super) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Writes a certificate or a key as files have it (RFC 7468).
pub(super) fn pem(what: &str, der: &[u8]) -> String {
    let lines: Vec<String> = data_encoding::BASE64
        .encode(der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!(
        "-----BEGIN {what}-----\n{}\n-----END {what}-----\n",
        lines.join("\n")
    )
}
