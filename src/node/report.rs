//! Answers to the owner's questions, as JSON with stable names.
//!
//! Amounts and prices are decimal text, as `Quantity` and `Price` print; ids are their text form.
//! Every answer opens with `schema`; a field may be added within one schema, but never renamed,
//! removed or given another meaning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::discovery::shown::{ChanopShown, NetworkShown};

/// The version of every answer below.
pub const SCHEMA: u32 = 1;

/// Answer to `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub schema: u32,
    pub node: String,
    pub name: String,
    pub owner: String,
    /// `paper` or `live`.
    pub mode: String,
    /// `active`, `pause`, `reduce` or `halt`.
    pub switch: String,
    /// Why the switch is not `active`; empty where it is.
    pub reason: String,
    /// When this run began, ns since 1970.
    pub booted: u64,
    pub uptime_ms: u64,
    pub venues: Vec<VenueStatus>,
    #[serde(default)]
    pub feeds: Vec<FeedStatus>,
    pub peers: Vec<PeerStatus>,
    /// True once every order of an earlier run is accounted for.
    #[serde(default)]
    pub running: bool,
    #[serde(default)]
    pub counts: Counts,
    pub plans_open: u64,
    pub envelopes_armed: u64,
    /// The last commit known to be on disk.
    pub journal_commit: u64,
    /// How often an opportunity was passed over, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Legs that leaders asked for and this node did not send, by reason.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
}

/// What this run has done, in [`Status`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    pub opportunities: u64,
    pub taken: u64,
    pub legs_fired: u64,
    pub legs_filled: u64,
    pub legs_failed: u64,
    pub offers: u64,
    pub partial_matches: u64,
    pub aggregates: u64,
}

/// One book of a venue in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VenueStatus {
    pub name: String,
    pub pair: String,
    pub state: BookState,
    pub sequence: u64,
    pub age_ms: u64,
    pub engine_lag_ms: u64,
    pub best_bid: Option<String>,
    pub best_ask: Option<String>,
}

/// What the feed of an own venue has brought in [`Status`], and how its frames were read: one that
/// is not read by its template costs several times as much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedStatus {
    pub name: String,
    pub frames: u64,
    pub refused_frames: u64,
    pub by_template: u64,
    /// In another order or spacing than the exchange is known for.
    pub by_tolerant: u64,
    /// By the reader of last resort, which also reads whatever is no book.
    pub by_slow: u64,
    /// From an order to its acknowledgement, from a cancel to its own, from an order to its first
    /// fill. Without live orders there are none.
    #[serde(default)]
    pub order_ack: Took,
    #[serde(default)]
    pub cancel_ack: Took,
    #[serde(default)]
    pub first_fill: Took,
}

/// How long something took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    pub count: u64,
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
}

/// Whether a book may be traded on, and if not, why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BookState {
    #[default]
    Down,
    Gap,
    Stale,
    Crossed,
    Halted,
    Live,
}

/// One listed peer in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    pub id: String,
    pub name: String,
    /// True for nodes of this node's owner.
    pub own: bool,
    pub linked: bool,
    pub rtt_us_p50: Option<u64>,
    pub rtt_us_p99: Option<u64>,
    /// How far its clock is ahead of this node's, true within plus or minus the bound.
    #[serde(default)]
    pub clock_ahead_us: Option<i64>,
    #[serde(default)]
    pub clock_bound_us: Option<u64>,
    pub trust: u8,
}

/// Answer to `channel`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelReport {
    pub schema: u32,
    /// `dark`, `open` or `mixed`.
    pub mode: String,
    pub channel: String,
    pub networks: Vec<NetworkShown>,
    /// Linked ones first, nearest first.
    pub nodes: Vec<ChannelNode>,
    /// What was done and refused, by name.
    pub counts: BTreeMap<String, u64>,
    /// Where this node is the channel's operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chanop: Option<ChanopShown>,
}

/// One node on the channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelNode {
    pub id: String,
    /// As its card says; shown, never trusted.
    pub name: String,
    /// `network:nick`.
    pub nicks: Vec<String>,
    pub voiced_on: Vec<String>,
    pub listed: bool,
    pub linked: bool,
    /// Which way led to the link.
    pub by: Option<String>,
    /// It has a place on the node list.
    pub placed: bool,
    pub rtt_us_p50: Option<u64>,
    pub trust: u8,
    pub why_not: Option<String>,
}

/// Answer to `exit show`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitReport {
    pub schema: u32,
    /// Nothing before everybody has signed a roster.
    pub peernet: Option<String>,
    /// Version of the roster.
    pub version: Option<u64>,
    pub members: Vec<ExitMember>,
    /// `unready`, `young` or `aged`.
    pub standing: Option<String>,
    /// This node may speak now.
    pub speaks: bool,
    /// Whom this node has promised the lease, and by which token.
    pub exit: Option<String>,
    pub token: Option<String>,
    /// Why there is no roster of the nodes that are listed.
    pub trouble: Option<String>,
}

/// One node of the peernet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitMember {
    pub id: String,
    pub name: String,
    pub linked: bool,
}

/// Answer to `balance`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balances {
    pub schema: u32,
    pub balances: Vec<Balance>,
}

/// What lies at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    pub location: String,
    pub currency: String,
    pub free: String,
    pub held: String,
}

/// Answer to `legs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legs {
    pub schema: u32,
    pub legs: Vec<Leg>,
}

/// One order of one plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    pub plan: u64,
    pub order: u64,
    pub venue: String,
    pub pair: String,
    /// `buy` or `sell`.
    pub side: String,
    pub quantity: String,
    pub limit: String,
    pub state: String,
    pub filled: String,
    pub total: String,
    pub fee: String,
    /// The node that fires it; empty for this one.
    pub peer: String,
}

/// Answer to `limits`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub schema: u32,
    pub limits: Vec<Limit>,
}

/// One limit and how much of it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The key in the configuration, with venue, side or pair where it has one.
    pub name: String,
    pub currency: String,
    pub used: String,
    pub limit: String,
}

/// Answer to `watch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    pub schema: u32,
    pub spreads: Vec<Spread>,
}

/// One direction between two venues.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    pub pair: String,
    pub buy_venue: String,
    pub sell_venue: String,
    pub gross_ppm: i64,
    pub net_ppm: i64,
    pub quantity: String,
    /// `fire`, or why nothing is fired.
    pub verdict: String,
}

/// Answer to `offer list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    pub schema: u32,
    pub offers: Vec<Offer>,
}

/// One own offer; `filled + offered + released = planned`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub id: String,
    pub line: String,
    pub state: String,
    pub planned: String,
    pub filled: String,
    pub offered: String,
    pub released: String,
    pub matches: Vec<Match>,
}

/// One match of an own offer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    pub peer: String,
    pub line: String,
    pub state: String,
}

/// Answer to `offer quote`: what this node's own rules would say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    pub schema: u32,
    pub answers: Vec<QuoteAnswer>,
}

/// What one rule would answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteAnswer {
    /// The match it would offer; empty where it offers none.
    pub line: String,
    pub verdict: String,
    pub reason: String,
}

/// Answer to `offer explain`: who was asked, what they said, what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explain {
    pub schema: u32,
    pub candidates: Vec<Candidate>,
}

/// One node that was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    pub peer: String,
    pub line: String,
    pub verdict: String,
    pub reason: String,
}

/// Answer to `peer list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    pub schema: u32,
    pub peers: Vec<PeerStatus>,
}

/// Answer to every command that changes something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub schema: u32,
    pub ok: bool,
    /// True where a safety rule, and not a mistake, said no.
    pub refused: bool,
    /// What was done, or why not; the id of what was made.
    pub note: String,
}

impl Done {
    pub fn ok(note: impl Into<String>) -> Self {
        Self {
            schema: SCHEMA,
            ok: true,
            refused: false,
            note: note.into(),
        }
    }

    /// The command could not be done.
    pub fn failed(note: impl Into<String>) -> Self {
        Self {
            ok: false,
            ..Self::ok(note)
        }
    }

    /// A safety rule forbids the command.
    pub fn refused(note: impl Into<String>) -> Self {
        Self {
            refused: true,
            ..Self::failed(note)
        }
    }
}

/// What the control socket says instead of an answer where the request is not one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub schema: u32,
    pub error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_opens_with_its_schema() {
        let answers = [
            serde_json::to_string(&Status::default()).unwrap(),
            serde_json::to_string(&Balances::default()).unwrap(),
            serde_json::to_string(&Legs::default()).unwrap(),
            serde_json::to_string(&Limits::default()).unwrap(),
            serde_json::to_string(&Watch::default()).unwrap(),
            serde_json::to_string(&Offers::default()).unwrap(),
            serde_json::to_string(&Quote::default()).unwrap(),
            serde_json::to_string(&Explain::default()).unwrap(),
            serde_json::to_string(&Peers::default()).unwrap(),
            serde_json::to_string(&Done::default()).unwrap(),
            serde_json::to_string(&Refusal::default()).unwrap(),
        ];
        for answer in answers {
            assert!(answer.starts_with("{\"schema\":"), "{answer}");
        }
    }

    #[test]
    fn a_book_state_is_one_lower_case_word() {
        let text = serde_json::to_string(&BookState::Crossed).unwrap();
        assert_eq!(text, "\"crossed\"");
    }
}
