//! `expressnet latency hlog`: the log that the HdrHistogram tools read.

use std::path::PathBuf;

use crate::cli::exit::{CliError, Exit};
use crate::cli::latency::read;
use crate::cli::screen;
use crate::latency::hlog;

/// Arguments of `latency hlog`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The report.
    file: PathBuf,
}

/// Prints the log.
///
/// # Errors
/// The file is not readable, or no report.
pub fn run(args: &Args) -> Result<Exit, CliError> {
    screen::line(hlog::write(&read(&args.file)?).trim_end())?;
    Ok(Exit::Done)
}
