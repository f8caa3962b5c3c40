//! One train of probes from one node to one peer, as it was measured.
//!
//! Moments are those of the clock of whoever saw them: `intended`, `sent` and `heard` of the
//! prober, `received` and `replied` of the peer. A path's latency is `heard` less `sent` less the
//! peer's own time; `sent` less `intended` is the prober's own fault and stands in the self line.

use crate::model::ids::NodeId;
use crate::model::time::{Span, Time};

/// Probes of one train. A longer measurement is several trains.
pub const PROBES_MAX: u32 = 1_000_000;
/// A probe not answered by then is lost.
pub const PATIENCE: Span = Span::secs(2);

/// What was sent, what came back, and what is known of the tools it was measured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Train {
    /// Drawn by the prober; the peer names it in its attestation.
    pub id: [u8; 16],
    pub from: End,
    pub to: End,
    pub over: Over,
    pub shape: Shape,
    pub started: Time,
    /// Bytes of one probe before encryption.
    pub probe_bytes: u16,
    /// In the order in which they were due.
    pub samples: Vec<Sample>,
    pub clock: Option<Offset>,
    /// What the transport counted, at its beginning, its end and whenever it changed.
    pub path: Vec<PathCount>,
    pub own: SelfLine,
    pub attestation: Option<Attestation>,
}

/// One end of a train.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub node: NodeId,
    pub name: String,
    pub location: Option<Location>,
}

/// Where a site is, in millionths of a degree; north and east count up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    pub latitude_udeg: i32,
    pub longitude_udeg: i32,
}

/// What carried the probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Over {
    /// The connection that trades. Only here does a peer attest.
    Mesh,
    /// Datagrams beside it.
    Udp,
    /// Echoes of the peer's system.
    Icmp,
}

/// How probes are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One probe every `interval`.
    Idle { interval: Span },
    /// Bursts as trading makes them: `burst` probes at once every `interval`.
    Loaded { interval: Span, burst: u16 },
}

/// One probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub number: u32,
    pub intended: Time,
    pub sent: Time,
    pub fate: Fate,
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No answer within [`PATIENCE`].
    Lost,
    /// The quota of the peer or of this node did not allow it.
    Refused,
    Answered {
        received: Time,
        replied: Time,
        heard: Time,
        /// A probe that was sent later was answered before.
        overtaken: bool,
    },
}

/// How far the peer's clock is ahead of ours: true within plus or minus `bound`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    pub ahead_ns: i64,
    pub bound: Span,
}

/// What the transport has counted on this link up to a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathCount {
    pub at: Time,
    pub sent_packets: u64,
    pub lost_packets: u64,
    pub congestion_events: u64,
    pub congestion_window_bytes: u64,
    /// How often the peer's address changed.
    pub path_switches: u64,
}

/// The measuring tool measured: what of a figure is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfLine {
    /// Round trips of this machine with itself over loopback.
    pub loopback: Option<Spread>,
    /// How late the pacing thread woke.
    pub timer_late: Spread,
    pub timestamps: TimestampSource,
    /// What the system says of its clock, such as `ntp synchronised, ±0.8 ms`.
    pub system_clock: String,
}

/// A distribution in brief.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    pub count: u64,
    pub p50: Span,
    pub p99: Span,
    pub max: Span,
}

/// Who took the moments `sent` and `heard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampSource {
    Kernel,
    User,
}

/// What the peer says of the same train, signed with its node key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    pub train: [u8; 16],
    pub prober: NodeId,
    /// Probes of the train that reached the peer, and when the first and the last did.
    pub received: u32,
    pub first_received: Time,
    pub last_received: Time,
    /// Round trips that the peer itself measured to the prober on this link.
    pub rtt: Spread,
    pub rtt_min: Span,
    pub key: [u8; 32],
    pub signature: [u8; 64],
}
