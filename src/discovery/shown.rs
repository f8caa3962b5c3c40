//! The open network as it is shown to its owner.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::ids::NodeId;

/// What the networks and the station know, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub networks: Vec<NetworkShown>,
    pub nodes: Vec<NodeShown>,
    pub counts: BTreeMap<String, u64>,
    /// Where this node is the channel's operator.
    pub chanop: Option<ChanopShown>,
}

/// What the operator knows and has decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChanopShown {
    pub members: Vec<VoiceShown>,
    /// Oldest first.
    pub decisions: Vec<DecisionShown>,
}

/// A member that says it is a node, has shown a key or has voice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceShown {
    /// `network:nick`.
    pub place: String,
    /// The node whose key was shown there.
    pub node: Option<String>,
    pub voiced: bool,
    /// Time that its key has been on the channel.
    pub age_s: u64,
    /// What is against its voice.
    pub why_not: Option<String>,
}

/// One decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionShown {
    pub ago_s: u64,
    pub place: String,
    pub node: Option<String>,
    pub proven: bool,
    pub verdict: String,
    pub reason: Option<String>,
}

/// One network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkShown {
    pub name: String,
    pub server: String,
    /// Where the connection is, and why it is not further.
    pub state: String,
    pub nick: String,
    /// Nicks on the channel, people included, and those beyond what is kept.
    pub members: u64,
    pub unknown: u64,
    pub moderated: bool,
    /// This node has voice there.
    pub voiced: bool,
    /// What was heard and had no room, and lines that were too long to be read.
    pub dropped: u64,
    pub long_lines: u64,
}

/// One node, as the networks show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeShown {
    pub id: NodeId,
    pub is_listed: bool,
    /// `network:nick`, the likeliest first.
    pub nicks: Vec<String>,
    /// Names of networks where it has voice.
    pub voiced_on: Vec<String>,
    /// How it was linked, where DCC did it.
    pub by: Option<String>,
    pub why_not: Option<String>,
}
