//! `expressnet latency`: measures the way to peers and exchanges; checks, compares and draws reports.

pub mod artefacts;
pub mod measured;
pub mod mesh;
pub mod ping;

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;

/// Arguments of `latency`.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Measure the link to a peer, on the connection that trades.
    Ping(ping::Args),
    /// Measure every link between the nodes of this owner and their peers, both directions.
    Mesh(mesh::Args),
}

/// Does what the sub-verb says.
///
/// # Errors
/// The file is not readable, or no report; nothing answers.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    match args {
        Args::Ping(args) => ping::run(home, args),
        Args::Mesh(args) => mesh::run(home, args),
    }
}
