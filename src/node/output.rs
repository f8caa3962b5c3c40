//! What a node asks of the world, in a reused arena.

use std::fmt;

use crate::discovery::station::Standing;
use crate::model::currency::Currency;
use crate::model::ids::{CommandNo, CommitNo, LinkNo, NodeId, PeernetId, RequestNo};
use crate::model::instrument::{Location, VenueId};
use crate::model::number::Quantity;
use crate::model::time::{Span, Time};
use crate::venue::Asked;

/// One wish of the node. Bytes lie in the [`Outbox`] that holds it.
///
/// What must be durable first is not pushed before the store has reported its commit: the node
/// keeps it meanwhile, and nothing else waits with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection to a listed peer.
    Dial { peer: NodeId },
    /// Close one connection.
    CloseLink { link: LinkNo },
    /// A stranger is forgotten: nothing is heard from it any more.
    Forget { peer: NodeId },
    /// Tell the open side how this node stands to another one.
    Standing { peer: NodeId, standing: Standing },
    /// This node speaks for its peernet by this token from now on, or does not speak.
    Speaker { right: Option<(PeernetId, u64)> },
    /// The own peernet has this roster now.
    Roster { bytes: Bytes },
    /// A stranger says that this is a roster.
    RosterHeard { from: NodeId, bytes: Bytes },
    /// Sign and say on the channel what these bytes hold (`discovery::announce::take_over`).
    Announce { bytes: Bytes },
    /// Send on the link's ordered stream.
    LinkStream { link: LinkNo, bytes: Bytes },
    /// Send as a datagram; may be lost.
    LinkDatagram { link: LinkNo, bytes: Bytes },
    /// Send one text frame on a venue's feed.
    VenueFrame { venue: VenueId, bytes: Bytes },
    /// Drop and reopen a venue's feed.
    VenueReconnect { venue: VenueId },
    /// Send one HTTP request to a venue.
    VenueRequest {
        venue: VenueId,
        request: RequestNo,
        asked: Asked,
        bytes: Bytes,
    },
    /// Append one journal record; `commit` is reported when it is on disk.
    Journal { commit: CommitNo, bytes: Bytes },
    /// Answer the control socket with one line of JSON; `last` ends the answer.
    Answer {
        command: CommandNo,
        bytes: Bytes,
        last: bool,
    },
    /// Move money between locations, where somebody can (paper, simulator); live owners are told.
    Transfer {
        currency: Currency,
        from: Location,
        to: Location,
        amount: Quantity,
    },
    /// Call with `Input::Paced` at `first` and at each `interval` after it, `slots` moments in all,
    /// as exactly as this machine can; moments that were missed may come as one.
    Pace {
        train: u32,
        first: Time,
        interval: Span,
        slots: u32,
    },
    /// Call for this train no more, and tell how late its moments came.
    PaceOver { train: u32 },
    /// Send a datagram, unless the link has anything else to do; then say so.
    Probe {
        link: LinkNo,
        train: u32,
        number: u32,
        bytes: Bytes,
    },
    /// Tell what the transport has counted on a link.
    CountPath { link: LinkNo, train: u32 },
    /// Do what takes too long for a step, beside the core.
    Work { work: u64, job: Job, bytes: Bytes },
    /// Tell the owner.
    Notice { severity: Severity, bytes: Bytes },
}

/// What is done beside the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Sign these bytes with the node's key.
    Sign,
    /// Give a roster back whose signatures all verify; nothing where one does not.
    VerifyRoster,
    /// Make a signed report, as JSON, of the trains in these lines; nothing where that fails.
    Report,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Debug,
    Info,
    Warn,
    /// Trading stopped or money is at risk.
    Error,
}

/// A range of the outbox's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    start: u32,
    len: u32,
}

const _: () = assert!(size_of::<Output>() <= 64);

/// Takes outputs while the step that makes them still runs, so that the bytes of a leg leave before
/// the node writes down what follows from it.
pub trait Carrier {
    /// Does what [`Outbox::waiting`] holds, in its order.
    fn carry(&mut self, outbox: &Outbox);
}

/// Outputs of one step and the bytes they carry. Cleared and reused, so a step does not allocate
/// once the buffers have grown.
#[derive(Default)]
pub struct Outbox {
    outputs: Vec<Output>,
    arena: Vec<u8>,
    /// Outputs that the carrier has taken.
    carried: usize,
    /// Without one everything waits for the end of the step.
    carrier: Option<Box<dyn Carrier>>,
}

impl Outbox {
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets a carrier take the legs of every step from now on.
    pub fn carry_by(&mut self, carrier: Box<dyn Carrier>) {
        self.carrier = Some(carrier);
    }

    /// Hands the carrier a leg and whatever was pushed before it: nothing is overtaken.
    pub fn hand_over(&mut self) {
        if let Some(mut carrier) = self.carrier.take() {
            carrier.carry(self);
            self.carrier = Some(carrier);
            self.carried = self.outputs.len();
        }
    }

    /// Returns the outputs that nobody has taken yet.
    pub fn waiting(&self) -> &[Output] {
        self.outputs.get(self.carried..).unwrap_or_default()
    }

    pub fn clear(&mut self) {
        self.outputs.clear();
        self.arena.clear();
        self.carried = 0;
    }

    pub fn push(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// Copies bytes into the arena.
    pub fn bytes(&mut self, bytes: &[u8]) -> Bytes {
        self.write(|arena| arena.extend_from_slice(bytes))
    }

    /// Lets `write` append to the arena and returns what it appended.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let start = self.arena.len();
        write(&mut self.arena);
        Bytes {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            len: u32::try_from(self.arena.len() - start).unwrap_or(0),
        }
    }

    /// Returns every output of the step, taken or not.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Returns the bytes an output carries.
    pub fn read(&self, bytes: Bytes) -> &[u8] {
        let start = bytes.start as usize;
        self.arena
            .get(start..start + bytes.len as usize)
            .unwrap_or_default()
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Outbox")
            .field("outputs", &self.outputs)
            .field("carried", &self.carried)
            .finish_non_exhaustive()
    }
}
