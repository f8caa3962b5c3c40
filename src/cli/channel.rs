//! `expressnet channel`: who is on the channel, who is linked, and why others are not.

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::node;
use crate::cli::screen::{self, Format};
use crate::node::command::Request;
use crate::node::report::{ChannelNode, ChannelReport};

/// Arguments of `channel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  expressnet channel\n  expressnet channel --json")]
pub struct Args {
    #[command(flatten)]
    pub format: Format,
}

/// Prints the networks, and every node that is known from them, nearest first.
///
/// # Errors
/// No node answers.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    node::read(home, &Request::Channel {}, args.format, show)
}

fn show(report: &ChannelReport) -> Result<(), CliError> {
    screen::line(&format!(
        "channel   {}, mode {}",
        report.channel, report.mode
    ))?;
    screen::line("")?;
    let rows: Vec<[String; 6]> = report
        .networks
        .iter()
        .map(|network| {
            [
                network.name.clone(),
                network.server.clone(),
                network.nick.clone(),
                network.members.to_string(),
                if network.voiced { "yes" } else { "no" }.to_owned(),
                network.state.clone(),
            ]
        })
        .collect();
    let head = ["network", "server", "nick", "members", "voice", "state"];
    let none = "no network; add [[irc]] with a name and a server to node.toml";
    screen::table(head, &rows, none)?;
    screen::line("")?;
    let rows: Vec<[String; 7]> = report.nodes.iter().map(node_row).collect();
    let head = [
        "node", "name", "seen as", "voice", "rtt_us", "trust", "link",
    ];
    screen::table(head, &rows, "no other node is known")
}

fn node_row(node: &ChannelNode) -> [String; 7] {
    let link = match (&node.by, &node.why_not) {
        (Some(by), _) if node.placed => format!("up, {by}"),
        (Some(by), _) => format!("up, {by}, on trial"),
        (None, Some(why)) => format!("none: {why}"),
        (None, None) => "none".to_owned(),
    };
    [
        node.id.clone(),
        node.name.clone(),
        node.nicks.join(" "),
        node.voiced_on.join(" "),
        screen::or_dash(node.rtt_us_p50),
        node.trust.to_string(),
        link,
    ]
}
