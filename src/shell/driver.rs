//! The driver: the one place that feeds the node and does what it asks for.
//!
//! ```text
//! sinks (links, feeds, orders, control) ─▶ step: handle, drain in order, arm the timer ─▶ hands
//! timer, store's progress ────────────────────┘
//! ```
//! A step runs to its end within the call of its sink: no queue lies between bytes and decision.
//! What fails while a step is drained (an order that could not leave, a store that takes no more)
//! becomes the next input; that backlog is bounded.

mod open;
mod trains;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;

use crate::latency::train::{PathCount, Spread};
use crate::membership::Direction;
use crate::model::ids::{CommandNo, LinkNo, NodeId, RequestNo};
use crate::model::instrument::VenueId;
use crate::model::time::Time;
use crate::node::Node;
use crate::node::input::{Command, Input, Outcome};
use crate::node::output::{Carrier, Outbox, Output, Severity};
use crate::shell::clock::Clock;
use crate::shell::control::{ControlHandle, ControlSink};
pub(super) use crate::shell::driver::trains::Jobs;
use crate::shell::driver::trains::Work;
use crate::shell::feed::FeedHandle;
use crate::shell::mesh::Mesh;
use crate::shell::open::{Open, Told};
use crate::shell::orders::OrdersHandle;
use crate::shell::pacer::Pacer;
use crate::shell::store::{Progress, Store};
use crate::shell::{MeshSink, VenueSink};
use crate::venue::Asked;

/// Next sends of one step and of what follows from them. Full: the store counts as failed, for
/// a node that fires into nothing this often must not go on.
const BACKLOG_MAX: usize = 1_024;
/// Where the node asks for a deadline that has passed again and again, it is called this often.
const LATE_POLL: Duration = Duration::from_millis(1);

/// A running node with everything it reaches the world by.
pub struct Driver {
    name: String,
    is_live: bool,
    clock: Clock,
    core: RefCell<Core>,
    backlog: RefCell<VecDeque<Next>>,
    /// `None` before the start and after the end.
    hands: RefCell<Option<Hands>>,
    due: Cell<Option<Time>>,
    rearmed: Notify,
}

struct Core {
    node: Node,
    outbox: Outbox,
}

/// Lets the legs of a step leave while it runs.
struct Early(Weak<Driver>);

/// What the node's outputs are done with.
pub(super) struct Hands {
    pub(super) mesh: Mesh,
    pub(super) feeds: BTreeMap<VenueId, FeedHandle>,
    pub(super) orders: BTreeMap<VenueId, OrdersHandle>,
    pub(super) control: ControlHandle,
    pub(super) store: Store,
    pub(super) pacer: Pacer,
    pub(super) works: mpsc::Sender<Work>,
    /// The open side, where the owner wants one.
    pub(super) open: Option<Open>,
}

/// What follows at once from something that was asked for.
enum Next {
    /// It could not be done.
    Request(VenueId, RequestNo, Asked),
    Store(String),
    ProbeRefused(u32, u32),
    /// It was a question.
    PaceOver(u32, Spread),
    PathCounted(u32, PathCount),
}

impl Driver {
    /// Takes a node that was just made, and its first outputs.
    pub(super) fn new(
        name: String,
        is_live: bool,
        clock: Clock,
        node: Node,
        mut outbox: Outbox,
    ) -> Rc<Self> {
        Rc::new_cyclic(|driver| {
            outbox.carry_by(Box::new(Early(Weak::clone(driver))));
            Self {
                name,
                is_live,
                clock,
                core: RefCell::new(Core { node, outbox }),
                backlog: RefCell::new(VecDeque::new()),
                hands: RefCell::new(None),
                due: Cell::new(None),
                rearmed: Notify::new(),
            }
        })
    }

    /// Gives the driver its hands, does what the new node asks for, and starts timer and store.
    pub(super) fn start(
        self: &Rc<Self>,
        hands: Hands,
        works: Jobs,
        told: Option<mpsc::Receiver<Told>>,
    ) {
        let progress = hands.store.progress();
        let waiting = hands.pacer.waiting();
        self.hands.replace(Some(hands));
        {
            let mut core = self.core.borrow_mut();
            self.carry_out(&mut core);
        }
        self.step(Input::Deadline);
        spawn_local(Rc::clone(self).keep_time());
        spawn_local(Rc::clone(self).follow_store(progress));
        spawn_local(Rc::clone(self).follow_pacer(waiting));
        spawn_local(Rc::clone(self).follow_works(works));
        if let Some(told) = told {
            spawn_local(Rc::clone(self).follow_open(told));
        }
    }

    /// Lets `look` read the node between two steps.
    pub fn look<T>(&self, look: impl FnOnce(&Node) -> T) -> T {
        look(&self.core.borrow().node)
    }

    /// Returns the mesh's own address, or `None` after the end.
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        self.hands.borrow().as_ref()?.mesh.local_addr().ok()
    }

    /// Tells the node that it is about to stop.
    pub fn close(&self) {
        self.step(Input::Command {
            number: CommandNo::default(),
            command: Command::Close,
        });
    }

    /// Closes feeds, order connections, socket and links, and writes the journal to its end.
    pub async fn stop(&self) {
        let Some(hands) = self.hands.take() else {
            return;
        };
        drop(hands.works);
        drop(hands.feeds);
        drop(hands.orders);
        drop(hands.control);
        if let Some(open) = hands.open {
            open.stop().await;
        }
        self.rearmed.notify_one();
        hands.mesh.stop().await;
        drop(hands.store);
    }

    fn is_stopped(&self) -> bool {
        self.hands.borrow().is_none()
    }

    /// One mutation and everything that follows from it.
    fn step(&self, input: Input<'_>) {
        if self.is_stopped() {
            return;
        }
        let mut core = self.core.borrow_mut();
        core.handle(input, self.clock.now());
        self.carry_out(&mut core);
        let due = core.node.deadline().map(|deadline| deadline.at);
        let earlier = |due: Time| self.due.get().is_none_or(|armed| due < armed);
        let is_earlier = due.is_some_and(earlier);
        self.due.set(due);
        if is_earlier {
            self.rearmed.notify_one();
        }
    }

    /// Does what the outbox holds, and then what failed of it, until nothing is left.
    fn carry_out(&self, core: &mut Core) {
        for _ in 0..BACKLOG_MAX {
            self.act_all(&core.outbox);
            core.outbox.clear();
            let next = self.backlog.borrow_mut().pop_front();
            match next {
                None => return,
                Some(failed) => core.handle(failed.input(), self.clock.now()),
            }
        }
        self.backlog.borrow_mut().clear();
        let why = "the node fires into nothing";
        core.handle(Input::StoreFailed { why }, self.clock.now());
        core.outbox.clear();
    }

    /// Does what of the outbox was not done yet; what is said to one peer leaves together.
    fn act_all(&self, outbox: &Outbox) {
        if let Some(hands) = &*self.hands.borrow() {
            let backlog = &mut self.backlog.borrow_mut();
            for output in outbox.waiting() {
                self.act(hands, *output, outbox, backlog);
            }
            hands.mesh.flush();
        }
    }

    fn act(&self, hands: &Hands, output: Output, outbox: &Outbox, backlog: &mut VecDeque<Next>) {
        match output {
            Output::Dial { peer } => hands.mesh.dial(peer),
            Output::CloseLink { link } => self.close_link(hands, link),
            Output::LinkStream { link, bytes } => self.send(hands, link, bytes, outbox),
            Output::LinkDatagram { link, bytes } => self.send_datagram(hands, link, bytes, outbox),
            Output::Forget { peer } => hands.mesh.remove_peer(peer),
            Output::Standing { peer, standing } => open::stand(hands, peer, standing),
            Output::Speaker { right } => open::with(hands, |open| open.speak_by(right)),
            Output::Roster { bytes } => open::know(hands, None, outbox.read(bytes)),
            Output::RosterHeard { from, bytes } => {
                open::know(hands, Some(from), outbox.read(bytes));
            }
            Output::Announce { bytes } => {
                open::with(hands, |open| open.announce(outbox.read(bytes)));
            }
            Output::VenueFrame { venue, bytes } => {
                if let Some(feed) = hands.feeds.get(&venue) {
                    feed.send(outbox.read(bytes));
                }
            }
            Output::VenueReconnect { venue } => {
                if let Some(feed) = hands.feeds.get(&venue) {
                    feed.reconnect();
                }
            }
            Output::VenueRequest {
                venue,
                request,
                asked,
                bytes,
            } => {
                let bytes = outbox.read(bytes).to_vec();
                let handle = hands.orders.get(&venue);
                let sent = handle.map(|handle| handle.send(request, asked, bytes));
                if !matches!(sent, Some(Ok(()))) {
                    backlog.push_back(Next::Request(venue, request, asked));
                }
            }
            Output::Journal { commit, bytes } => {
                if let Err(error) = hands.store.append(commit, outbox.read(bytes)) {
                    backlog.push_back(Next::Store(error.to_string()));
                }
            }
            Output::Answer {
                command,
                bytes,
                last,
            } => hands.control.answer(command, outbox.read(bytes), last),
            Output::Transfer {
                currency,
                from,
                to,
                amount,
            } if self.is_live => {
                let node = &self.name;
                tracing::warn!(node, "move {amount} {currency} from {from} to {to} by hand");
            }
            // A paper account is moved in the node's own books.
            Output::Transfer { .. } => (),
            Output::Pace { .. }
            | Output::PaceOver { .. }
            | Output::Probe { .. }
            | Output::CountPath { .. }
            | Output::Work { .. } => self.act_on_trains(hands, output, outbox, backlog),
            Output::Notice { severity, bytes } => {
                self.tell(severity, &String::from_utf8_lossy(outbox.read(bytes)));
            }
        }
    }

    fn tell(&self, severity: Severity, text: &str) {
        let node = &self.name;
        match severity {
            Severity::Debug => tracing::debug!(node, "{text}"),
            Severity::Info => tracing::info!(node, "{text}"),
            Severity::Warn => tracing::warn!(node, "{text}"),
            Severity::Error => tracing::error!(node, "{text}"),
        }
    }

    /// Calls the node at each of its deadlines.
    async fn keep_time(self: Rc<Self>) {
        while !self.is_stopped() {
            let Some(at) = self.due.get() else {
                self.rearmed.notified().await;
                continue;
            };
            let wait = self.clock.until(at);
            if !wait.is_zero() {
                tokio::select! {
                    biased;
                    () = self.rearmed.notified() => (),
                    () = sleep(wait) => (),
                }
                continue;
            }
            self.step(Input::Deadline);
            let is_late = |due: Time| self.clock.until(due).is_zero();
            if self.due.get().is_some_and(is_late) {
                sleep(LATE_POLL).await;
            } else {
                yield_now().await;
            }
        }
    }

    /// Tells the node what is on disk.
    async fn follow_store(self: Rc<Self>, mut progress: watch::Receiver<Progress>) {
        loop {
            let Progress { durable, failed } = progress.borrow_and_update().clone();
            self.step(Input::Committed { commit: durable });
            if let Some(why) = failed {
                self.step(Input::StoreFailed { why: &why });
                return;
            }
            if progress.changed().await.is_err() {
                return;
            }
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Driver")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Carrier for Early {
    fn carry(&mut self, outbox: &Outbox) {
        if let Some(driver) = self.0.upgrade() {
            driver.act_all(outbox);
        }
    }
}

impl Core {
    fn handle(&mut self, input: Input<'_>, now: Time) {
        self.node.handle(input, now, &mut self.outbox);
    }
}

impl Next {
    fn input(&self) -> Input<'_> {
        match self {
            Self::Request(venue, request, asked) => Input::VenueReply {
                venue: *venue,
                request: *request,
                asked: *asked,
                outcome: Outcome::NotSent,
            },
            Self::Store(why) => Input::StoreFailed { why },
            Self::ProbeRefused(train, number) => Input::ProbeRefused {
                train: *train,
                number: *number,
            },
            Self::PaceOver(train, late) => Input::PaceOver {
                train: *train,
                late: *late,
            },
            Self::PathCounted(train, count) => Input::PathCounted {
                train: *train,
                count: *count,
            },
        }
    }
}

impl MeshSink for Driver {
    fn link_up(&self, peer: NodeId, link: LinkNo, direction: Direction) {
        self.step(Input::LinkUp {
            peer,
            link,
            direction,
        });
    }

    fn link_down(&self, link: LinkNo) {
        self.step(Input::LinkDown { link });
    }

    fn dial_failed(&self, peer: NodeId) {
        self.step(Input::DialFailed { peer });
    }

    fn stream_frame(&self, link: LinkNo, bytes: &[u8]) {
        self.step(Input::LinkStream { link, bytes });
    }

    fn datagram(&self, link: LinkNo, bytes: &[u8]) {
        self.step(Input::LinkDatagram { link, bytes });
    }
}

impl VenueSink for Driver {
    fn feed_up(&self, venue: VenueId) {
        self.step(Input::FeedUp { venue });
    }

    fn feed_down(&self, venue: VenueId, why: &str) {
        tracing::info!(node = self.name, %venue, why, "feed down");
        self.step(Input::FeedDown { venue });
    }

    fn feed_frame(&self, venue: VenueId, bytes: &[u8]) {
        self.step(Input::FeedFrame { venue, bytes });
    }

    fn reply(&self, venue: VenueId, request: RequestNo, asked: Asked, outcome: Outcome<'_>) {
        self.step(Input::VenueReply {
            venue,
            request,
            asked,
            outcome,
        });
    }
}

impl ControlSink for Driver {
    fn gone(&self, number: CommandNo) {
        self.step(Input::CommandGone { number });
    }

    /// A change of the peer list reaches the mesh before the node dials, and after it hung up.
    fn command(&self, number: CommandNo, command: Command) {
        let mut removed = None;
        if command == Command::Channel(None) && self.ask_open(number) {
            return;
        }
        if let Command::PeerAdded { peer } = &command
            && let Some(hands) = &*self.hands.borrow()
        {
            hands.mesh.add_peer(peer.clone());
            self.with_open(|open| open.list(peer.clone()));
        }
        if let Command::PeerRemoved(peer) = &command {
            removed = Some(*peer);
        }
        self.step(Input::Command { number, command });
        if let Some(peer) = removed
            && let Some(hands) = &*self.hands.borrow()
        {
            hands.mesh.remove_peer(peer);
            self.with_open(|open| open.strike_off(peer));
        }
    }
}
