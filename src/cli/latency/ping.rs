//! `expressnet latency ping`: the way to one peer, on the connection that trades.

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::latency::measured::{self, Kept, Spacing};
use crate::node::command::Request;

/// Arguments of `ping`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  expressnet latency ping tokyo\n  \
expressnet latency ping tokyo --count 2000 --interval 1ms --out measured\n  \
expressnet latency ping tokyo --loaded")]
pub struct Args {
    /// A peer's name, or the beginning of its id.
    pub peer: String,
    #[command(flatten)]
    pub spacing: Spacing,
    #[command(flatten)]
    pub kept: Kept,
}

/// Measures and prints.
///
/// # Errors
/// No node runs in this home, or the peer is not linked.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    let schedule = args.spacing.schedule()?;
    let request = Request::Ping {
        peer: args.peer.clone(),
        interval_us: schedule.interval().as_micros(),
        burst: schedule.burst(),
        count: schedule.count,
    };
    let brought = measured::collect(home, &request)?;
    let absent = brought.absent.clone();
    let report = measured::report(home, brought)?;
    measured::keep(&report, &absent, &args.kept)
}
