//! Venues of a world, and the ways to them.

use std::collections::BTreeMap;

use crate::model::ids::NodeId;
use crate::model::instrument::VenueId;
use crate::model::random::Random;
use crate::model::time::{Span, Time};
use crate::sim::scenario::{Scenario, VenuePlan};
use crate::venue::serving::fault::Fault;
use crate::venue::serving::{AccountSettings, ServerSettings};
use crate::venue::simulated::FAULTS;
use crate::venue::simulated::server::SimulatedServer;
use crate::venue::{Credentials, Server, ServerReply, ServerRequest, StreamNo, http};

/// One venue while its world runs.
#[derive(Debug)]
pub(super) struct Market {
    pub id: VenueId,
    pub server: SimulatedServer,
    /// Which node listens on which stream.
    pub streams: BTreeMap<StreamNo, usize>,
    /// Frames of these nodes are held back until then (fault).
    pub stalled: BTreeMap<usize, Time>,
    /// When the last frame to each node arrives: order is kept.
    pub last_arrival: BTreeMap<usize, Time>,
    pub deadline: Option<Time>,
}

/// What a call of the server left to deliver.
#[derive(Debug, Default)]
pub(super) struct Pushed {
    pub frames: Vec<(StreamNo, Vec<u8>)>,
    pub closed: Vec<StreamNo>,
}

/// The way from a node to a venue beside it.
pub(super) const WAY: Span = Span::micros(300);

impl Market {
    pub(super) fn new(plan: &VenuePlan, scenario: &Scenario, random: &mut Random) -> Option<Self> {
        let accounts = scenario
            .nodes
            .iter()
            .filter(|node| node.config.venues.iter().any(|venue| venue.id == plan.id))
            .map(|node| AccountSettings {
                credentials: credentials(node.id),
                balances: plan.balances.clone(),
                may_withdraw: false,
            })
            .collect();
        let faults = FAULTS
            .iter()
            .map(|fault| (*fault, rate(*fault, scenario.faults.venue_ppm)))
            .collect();
        let server = SimulatedServer::new(ServerSettings {
            rules: plan.rules,
            maker_fee_ppm: 0,
            markets: vec![(plan.pair, plan.source.clone())],
            accounts,
            seed: random.next_u64(),
            faults,
            requests_per_s: 500,
            personality: None,
        })
        .ok()?;
        Some(Self {
            id: plan.id,
            server,
            streams: BTreeMap::new(),
            stalled: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
            deadline: None,
        })
    }

    /// Stops the venue's own faults.
    pub(super) fn calm(&mut self) {
        for fault in FAULTS {
            self.server.set_fault(fault, 0);
        }
    }

    pub(super) fn advance(&mut self, now: Time) -> Pushed {
        let mut pushed = Pushed::default();
        self.deadline = self.server.handle_deadline(now, &mut |stream, frame| {
            pushed.frames.push((stream, frame.to_vec()));
        });
        self.drain_closed(&mut pushed);
        pushed
    }

    /// Answers raw request bytes; `None` where the reply is lost.
    pub(super) fn answer(&mut self, bytes: &[u8], now: Time) -> (Option<(u16, Vec<u8>)>, Pushed) {
        let mut pushed = Pushed::default();
        let Ok(Some(request)) = http::parse_request(bytes, http::BODY_BYTES_MAX) else {
            return (Some((400, Vec::new())), pushed);
        };
        let request = ServerRequest {
            peer: "here",
            method: request.method,
            target: request.target,
            headers: &request.headers,
            body: &request.body,
        };
        let reply = self
            .server
            .handle_request(&request, now, &mut |stream, frame| {
                pushed.frames.push((stream, frame.to_vec()));
            });
        self.drain_closed(&mut pushed);
        let answer = match reply {
            ServerReply::Answer { status, body, .. } => Some((status, body)),
            ServerReply::Lost => None,
        };
        (answer, pushed)
    }

    pub(super) fn hear(&mut self, stream: StreamNo, frame: &[u8], now: Time) -> Pushed {
        let mut pushed = Pushed::default();
        self.server
            .handle_frame(stream, frame, now, &mut |stream, frame| {
                pushed.frames.push((stream, frame.to_vec()));
            });
        self.drain_closed(&mut pushed);
        pushed
    }

    /// Closes the streams of a node.
    pub(super) fn close_streams(&mut self, node: usize) {
        let gone: Vec<StreamNo> = self
            .streams
            .iter()
            .filter(|(_, listener)| **listener == node)
            .map(|(stream, _)| *stream)
            .collect();
        for stream in gone {
            self.streams.remove(&stream);
            self.server.handle_stream_closed(stream);
        }
    }

    fn drain_closed(&mut self, pushed: &mut Pushed) {
        while let Some(stream) = self.server.poll_closed() {
            pushed.closed.push(stream);
        }
    }
}

/// Returns the account a node has at every venue beside it.
pub(super) fn credentials(node: NodeId) -> Credentials {
    Credentials {
        key: node.to_string(),
        secret: format!("secret of {node}"),
    }
}

/// Lag stops a venue for seconds and a disconnect costs a resync: both strike seldom.
const fn rate(fault: Fault, ppm: u32) -> u32 {
    match fault {
        Fault::Lag | Fault::Disconnects => ppm / 5,
        Fault::Errors | Fault::LostFrames | Fault::LostReplies | Fault::ReorderedFrames => ppm,
        Fault::SlowCancel => ppm * 10,
        Fault::CrossTrades | Fault::InvalidCalls | Fault::ReorderedReports | Fault::TextErrors => 0,
    }
}
