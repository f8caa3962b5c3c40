//! `expressnet latency`: measures the way to peers and exchanges; checks, compares and draws reports.

pub mod artefacts;
pub mod compare;
pub mod hlog;
pub mod matrix;
pub mod measured;
pub mod mesh;
pub mod ping;
pub mod plot;
pub mod serve;
pub mod text;
pub mod venue;
pub mod verify;
pub mod why;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::screen::Format;
use crate::latency::report::{FILE_BYTES_MAX, Report};

/// Arguments of `latency`.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Measure the link to a peer, on the connection that trades.
    Ping(ping::Args),
    /// Measure every link between the nodes of this owner and their peers, both directions.
    Mesh(mesh::Args),
    /// Measure the way to an exchange: connection, first book, age of books; orders, where there were.
    Venue(venue::Args),
    /// Answer probes of listed peers, and do nothing else: for machines that do not trade.
    Serve(serve::Args),
    /// Check a report off-line: signatures of both ends, sums, light. Exit 1 if anything is wrong.
    #[command(after_help = "Example:\n  expressnet latency verify report.json")]
    Verify(ReportArgs),
    /// Compare two reports. Exit 1 if a path became worse, 3 if something could not be compared.
    #[command(after_help = "Example:\n  expressnet latency compare before.json after.json")]
    Compare(compare::Args),
    /// Name what coincided with each slow or lost probe.
    #[command(after_help = "Example:\n  expressnet latency why report.json")]
    Why(ReportArgs),
    /// Draw a report: percentiles.svg and heatmap.svg.
    #[command(after_help = "Example:\n  expressnet latency plot report.json --out drawings")]
    Plot(plot::Args),
    /// Print the log that the HdrHistogram tools read.
    #[command(after_help = "Example:\n  expressnet latency hlog report.json > paths.hlog")]
    Hlog(hlog::Args),
}

/// Arguments of the verbs that print what a report's file says.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// The report.
    file: PathBuf,
    #[command(flatten)]
    format: Format,
}

/// Does what the sub-verb says.
///
/// # Errors
/// The file is not readable (exit 2) or no report (exit 1); no node answers (exit 4).
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    match args {
        Args::Ping(args) => ping::run(home, args),
        Args::Mesh(args) => mesh::run(home, args),
        Args::Venue(args) => venue::run(home, args),
        Args::Serve(args) => serve::run(home, args),
        Args::Verify(args) => verify::run(args),
        Args::Compare(args) => compare::run(args),
        Args::Why(args) => why::run(args),
        Args::Plot(args) => plot::run(args),
        Args::Hlog(args) => hlog::run(args),
    }
}

/// Reads a report's file, of which one byte more than may be is enough to refuse it.
fn read(file: &Path) -> Result<Report, CliError> {
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    fs::File::open(file)
        .and_then(|opened| opened.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .with_context(|| format!("{}: not readable", file.display()))
        .map_err(|error| CliError::new(Exit::Usage, error))?;
    let report = Report::parse(&bytes).with_context(|| file.display().to_string())?;
    Ok(report)
}
