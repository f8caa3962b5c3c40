//! `expressnet peer`: the list of nodes that exist for this one.

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::node;
use crate::cli::screen::{self, Format};
use crate::model::ids::NodeId;
use crate::node::command::{PeerCard, Request};
use crate::node::report::{PeerStatus, Peers, SCHEMA};
use crate::shell::control::{AskError, ask};
use crate::shell::identity::Identity;
use crate::shell::peers::PeerList;

/// Arguments of `peer`.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Add the node of a card line.
    #[command(after_help = "Example:\n  expressnet peer add \"$(cat card.txt)\" --trust 10")]
    Add {
        /// The line that `expressnet id` prints over there.
        line: String,
        /// 0 to 10; 10 is for your own nodes.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=10))]
        trust: u8,
    },
    /// Show the list, with round-trip times where the node runs.
    List(ListArgs),
    /// Remove a node; a running node drops its links at once.
    Remove {
        /// The node's UUID, as `peer list` shows it.
        id: String,
    },
}

/// Arguments of `peers` and `peer list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  expressnet peers --json")]
pub struct ListArgs {
    #[command(flatten)]
    pub format: Format,
}

/// Shows the list.
///
/// # Errors
/// The list cannot be read.
pub fn run_list(home: &Home, args: &ListArgs) -> Result<Exit, CliError> {
    list(home, args.format)
}

/// Reads or changes the list, and tells a running node.
///
/// # Errors
/// The card is not valid, or the list cannot be read or written.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    match args {
        Args::Add { line, trust } => add(home, line, *trust),
        Args::List(args) => list(home, args.format),
        Args::Remove { id } => remove(home, id),
    }
}

fn add(home: &Home, line: &str, trust: u8) -> Result<Exit, CliError> {
    let mut peers = open(home)?;
    let peer = peers.add(line.trim(), trust).map_err(anyhow::Error::from)?;
    screen::line(&format!(
        "listed {} {} with trust {trust}",
        peer.id, peer.name
    ))?;
    let peer = PeerCard::of(&peer);
    tell(home, &Request::PeerAdded { peer })
}

fn remove(home: &Home, id: &str) -> Result<Exit, CliError> {
    let id = NodeId::parse(id).ok_or_else(|| CliError::usage(format!("`{id}` is not a UUID")))?;
    let mut peers = open(home)?;
    let peer = peers.remove(id).map_err(anyhow::Error::from)?;
    screen::line(&format!("removed {id} {}", peer.name))?;
    let id = id.to_string();
    tell(home, &Request::PeerRemoved { id })
}

fn open(home: &Home) -> Result<PeerList, CliError> {
    let own = Identity::open(&home.path).map_err(anyhow::Error::from)?;
    Ok(PeerList::open(&home.path, own.node_id()).map_err(anyhow::Error::from)?)
}

/// Tells a running node; one that does not run reads the list when it starts.
fn tell(home: &Home, request: &Request) -> Result<Exit, CliError> {
    match node::order(home, request) {
        Err(error) if error.exit == Exit::Unreachable => Ok(Exit::Done),
        told => told,
    }
}

fn list(home: &Home, format: Format) -> Result<Exit, CliError> {
    let answer = match ask(&home.path, &Request::PeerList {}) {
        Ok(lines) => serde_json::from_str(&lines.concat())?,
        Err(AskError::Unreachable { .. }) => from_file(home)?,
        Err(error) => return Err(error.into()),
    };
    match format.json {
        true => screen::line(&serde_json::to_string(&answer)?)?,
        false => show(&answer.peers)?,
    }
    Ok(Exit::Done)
}

fn from_file(home: &Home) -> Result<Peers, CliError> {
    let file = open(home)?;
    let peers = file.list().map(|peer| PeerStatus {
        id: peer.id.to_string(),
        name: peer.name.clone(),
        trust: peer.trust,
        ..PeerStatus::default()
    });
    Ok(Peers {
        schema: SCHEMA,
        peers: peers.collect(),
    })
}

/// Prints peers as a table.
///
/// # Errors
/// Standard output cannot be written.
pub fn show(peers: &[PeerStatus]) -> Result<(), CliError> {
    let rows: Vec<[String; 8]> = peers
        .iter()
        .map(|peer| {
            [
                peer.id.clone(),
                peer.name.clone(),
                if peer.own { "own" } else { "other" }.to_owned(),
                if peer.linked { "up" } else { "down" }.to_owned(),
                screen::or_dash(peer.rtt_us_p50),
                screen::or_dash(peer.rtt_us_p99),
                clock(peer),
                peer.trust.to_string(),
            ]
        })
        .collect();
    let head = [
        "peer",
        "name",
        "owner",
        "link",
        "rtt_us_p50",
        "rtt_us_p99",
        "clock_us",
        "trust",
    ];
    screen::table(
        head,
        &rows,
        "no peers; add one with `expressnet peer add LINE`",
    )
}

/// How far a peer's clock is ahead, and how sure that is.
fn clock(peer: &PeerStatus) -> String {
    match (peer.clock_ahead_us, peer.clock_bound_us) {
        (Some(ahead_us), Some(bound_us)) => format!("{ahead_us:+} ±{bound_us}"),
        (None, _) | (_, None) => "-".to_owned(),
    }
}
