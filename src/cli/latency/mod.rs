//! `expressnet latency`: measures the way to peers and exchanges; checks, compares and draws reports.

pub mod artefacts;

use crate::cli::exit::{CliError, Exit};

/// Arguments of `latency`.
#[derive(Debug, clap::Subcommand)]
pub enum Args {}

/// Does what the sub-verb says.
///
/// # Errors
/// The file is not readable, or no report.
pub fn run(args: &Args) -> Result<Exit, CliError> {
    match *args {}
}
