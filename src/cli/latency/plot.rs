//! `expressnet latency plot`: draws a report.

use std::path::PathBuf;

use crate::cli::exit::{CliError, Exit};
use crate::cli::latency::{artefacts, read};
use crate::cli::screen;

/// Arguments of `latency plot`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The report.
    file: PathBuf,
    /// The folder for the drawings, which is made if need be.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

/// Writes the drawings and prints their names; without any answer there is nothing to draw (exit 3).
///
/// # Errors
/// The file is not readable or no report, or a drawing cannot be written.
pub fn run(args: &Args) -> Result<Exit, CliError> {
    let report = read(&args.file)?;
    let written = artefacts::draw(&report, &args.out)?;
    for file in &written {
        screen::line(&file.display().to_string())?;
    }
    if written.is_empty() {
        screen::note("nothing was answered, so there is nothing to draw")?;
        return Ok(Exit::Warnings);
    }
    Ok(Exit::Done)
}
