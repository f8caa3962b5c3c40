//! Everything that can happen to a node.

use std::net::IpAddr;

use crate::discovery::announce::Announcement;
use crate::discovery::shown::Shown;
use crate::latency::train::{PathCount, Shape, Spread};
use crate::membership::{Direction, Peer};
use crate::model::currency::{Currency, Methods};
use crate::model::ids::{CommandNo, CommitNo, LinkNo, NodeId, OfferId, PeernetId, RequestNo};
use crate::model::instrument::{Location, VenueId};
use crate::model::number::{Price, Quantity};
use crate::model::offer::Line;
use crate::model::time::Time;
use crate::risk::Switch;
use crate::venue::Asked;

/// One event. Bytes are borrowed from the receive buffer.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A venue's feed is connected; nothing was subscribed yet.
    FeedUp {
        venue: VenueId,
    },
    FeedDown {
        venue: VenueId,
    },
    FeedFrame {
        venue: VenueId,
        bytes: &'a [u8],
    },
    /// A venue answered a request, or did not.
    VenueReply {
        venue: VenueId,
        request: RequestNo,
        asked: Asked,
        outcome: Outcome<'a>,
    },
    /// A connection passed mutual authentication as this peer.
    LinkUp {
        peer: NodeId,
        link: LinkNo,
        direction: Direction,
    },
    /// DCC brought about a link with whom this card names; the key is the connection's.
    Met {
        peer: Peer,
        /// Where the other end is.
        address: IpAddr,
        link: LinkNo,
        direction: Direction,
    },
    /// Somebody announced something on the channel; the signature is the key's in the line.
    Announced {
        announced: Box<Announcement>,
    },
    /// This node is on the channel, on one network at least, since then; or on none.
    OnChannel {
        since: Option<Time>,
        /// What it says there is heard, on one of them at least.
        may_speak: bool,
    },
    /// The open side lacks versions of this peernet's roster.
    RosterWanted {
        from: NodeId,
        peernet: PeernetId,
        after: u64,
    },
    LinkDown {
        link: LinkNo,
    },
    DialFailed {
        peer: NodeId,
    },
    LinkStream {
        link: LinkNo,
        bytes: &'a [u8],
    },
    LinkDatagram {
        link: LinkNo,
        bytes: &'a [u8],
    },
    /// Everything journalled up to here is on disk.
    Committed {
        commit: CommitNo,
    },
    /// The store cannot write. Nothing after this is durable.
    StoreFailed {
        why: &'a str,
    },
    Command {
        number: CommandNo,
        command: Command,
    },
    /// Whoever gave this command listens no more.
    CommandGone {
        number: CommandNo,
    },
    /// A moment that `Output::Pace` named has come, or several have.
    Paced {
        train: u32,
    },
    /// How late the moments of a train came, on the thread that keeps them.
    PaceOver {
        train: u32,
        late: Spread,
    },
    /// The link had more to do than this probe.
    ProbeRefused {
        train: u32,
        number: u32,
    },
    /// What `Output::CountPath` asked for.
    PathCounted {
        train: u32,
        count: PathCount,
    },
    /// What `Output::Work` asked for, and the key it was signed with.
    Worked {
        work: u64,
        key: [u8; 32],
        bytes: &'a [u8],
    },
    /// The time that `Node::deadline` asked for has come.
    Deadline,
}

/// What came of a request to a venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    Reply {
        status: u16,
        body: &'a [u8],
    },
    /// The request never left this machine.
    NotSent,
    /// It may have arrived: timeout, reset, body too large.
    Lost,
}

/// A question or an order of the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Status,
    Balance,
    Legs,
    Limits,
    /// Live spreads of every pair, net of costs, and why nothing is fired.
    Watch,
    Switch(Switch),
    /// The process is about to stop.
    Close,
    OfferNew {
        line: Line,
        reserve: Option<Price>,
    },
    OfferList,
    OfferExplain(OfferId),
    /// What this node's rules would answer to such an offer, and why.
    OfferQuote(Line),
    OfferWithdraw(OfferId),
    /// Answer by hand an ask that is above the approval size.
    OfferApprove(OfferId),
    PeerList,
    /// Who is on the channel; the shell adds what the networks show.
    Channel(Option<Box<Shown>>),
    /// Who speaks for the peernet.
    ExitShow,
    /// Let another node speak for it.
    ExitRelease,
    PeerAdded {
        peer: Peer,
    },
    PeerRemoved(NodeId),
    /// Measure the link to a peer, by its name or the beginning of its id.
    Ping {
        peer: String,
        shape: Shape,
        count: u32,
    },
    /// Measure the links to all peers, here and at the other nodes of this owner.
    Survey {
        shape: Shape,
        count: u32,
    },
    /// The owner moved money by hand.
    Transferred {
        currency: Currency,
        from: Location,
        to: Location,
        amount: Quantity,
    },
    /// Which methods the owner accepts, for a running node.
    Methods(Methods),
}

impl Input<'_> {
    /// Returns the variant's name in counters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FeedUp { .. } => "feed_up",
            Self::FeedDown { .. } => "feed_down",
            Self::FeedFrame { .. } => "feed_frame",
            Self::VenueReply { .. } => "venue_reply",
            Self::LinkUp { .. } => "link_up",
            Self::Met { .. } => "met",
            Self::Announced { .. } => "announced",
            Self::OnChannel { .. } => "on_channel",
            Self::RosterWanted { .. } => "roster_wanted",
            Self::LinkDown { .. } => "link_down",
            Self::DialFailed { .. } => "dial_failed",
            Self::LinkStream { .. } => "link_stream",
            Self::LinkDatagram { .. } => "link_datagram",
            Self::Committed { .. } => "committed",
            Self::StoreFailed { .. } => "store_failed",
            Self::Command { .. } => "command",
            Self::CommandGone { .. } => "command_gone",
            Self::Paced { .. } => "paced",
            Self::PaceOver { .. } => "pace_over",
            Self::ProbeRefused { .. } => "probe_refused",
            Self::PathCounted { .. } => "path_counted",
            Self::Worked { .. } => "worked",
            Self::Deadline => "deadline",
        }
    }
}
