//! `expressnet chanop`: whom this node gives voice as the channel's operator, and why not others.

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::node;
use crate::cli::screen::{self, Format};
use crate::discovery::shown::{ChanopShown, DecisionShown};
use crate::node::command::Request;
use crate::node::report::ChannelReport;

/// Arguments of `chanop`.
#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "Examples:\n  expressnet chanop list\n  expressnet chanop explain 5d41402a-bc4b-5a76-8a1b-9719d911017c"
)]
pub enum Args {
    /// Show every node on the channel, and what is against its voice.
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Show what was decided about a node, or about a nick as `list` shows it, newest first.
    Explain {
        /// A UUID or its beginning, or `network:nick`.
        node: String,
    },
}

/// Shows what the operator knows.
///
/// # Errors
/// No node answers, or it is no operator.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    match args {
        Args::List { format } => node::read(home, &Request::Channel {}, *format, list),
        Args::Explain { node } => {
            let explain = |report: &ChannelReport| explain(report, node);
            node::read(home, &Request::Channel {}, Format::default(), explain)
        }
    }
}

fn operator(report: &ChannelReport) -> Result<&ChanopShown, CliError> {
    report.chanop.as_ref().ok_or_else(|| {
        CliError::failed("this node is no operator; set run = true in [chanop] of node.toml")
    })
}

fn list(report: &ChannelReport) -> Result<(), CliError> {
    let rows: Vec<[String; 5]> = operator(report)?
        .members
        .iter()
        .map(|member| {
            [
                member.place.clone(),
                screen::or_dash(member.node.as_ref()),
                if member.voiced { "yes" } else { "no" }.to_owned(),
                member.age_s.to_string(),
                screen::or_dash(member.why_not.as_ref()),
            ]
        })
        .collect();
    let head = ["place", "node", "voice", "age_s", "against it"];
    screen::table(head, &rows, "no node is on the channel")
}

fn explain(report: &ChannelReport, node: &str) -> Result<(), CliError> {
    let is_its = |decision: &&DecisionShown| {
        let is_node = decision
            .node
            .as_ref()
            .is_some_and(|id| id.starts_with(node));
        is_node || decision.place == node
    };
    let decisions = operator(report)?.decisions.iter().rev();
    let rows: Vec<[String; 5]> = decisions
        .filter(is_its)
        .map(|decision| {
            [
                decision.ago_s.to_string(),
                decision.place.clone(),
                if decision.proven { "proven" } else { "claimed" }.to_owned(),
                decision.verdict.clone(),
                screen::or_dash(decision.reason.as_ref()),
            ]
        })
        .collect();
    let head = ["ago_s", "place", "key", "verdict", "reason"];
    screen::table(head, &rows, "nothing was decided about it")
}
