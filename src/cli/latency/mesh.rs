//! `expressnet latency mesh`: every link between the nodes of one owner and their peers, measured
//! from both ends, on one command at any node.

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::latency::matrix;
use crate::cli::latency::measured::{self, Kept, Spacing};
use crate::cli::screen;
use crate::node::command::Request;

/// Arguments of `mesh`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  expressnet latency mesh\n  \
expressnet latency mesh --count 2000 --interval 5ms --out measured")]
pub struct Args {
    #[command(flatten)]
    pub spacing: Spacing,
    #[command(flatten)]
    pub kept: Kept,
}

/// Measures and prints.
///
/// # Errors
/// No node runs in this home.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    let schedule = args.spacing.schedule()?;
    let request = Request::Survey {
        interval_us: schedule.interval().as_micros(),
        burst: schedule.burst(),
        count: schedule.count,
    };
    let brought = measured::collect(home, &request)?;
    if brought.trains.is_empty() && brought.reports.is_empty() {
        let text = "nothing was measured, for no peer is linked; see `expressnet peer list`";
        return Err(CliError::failed(text));
    }
    let absent = brought.absent.clone();
    let report = measured::report(home, brought)?;
    if !args.kept.json {
        for line in matrix::write(&report) {
            screen::line(&line)?;
        }
        screen::line("")?;
    }
    measured::keep(&report, &absent, &args.kept)
}
