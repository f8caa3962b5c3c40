//! `expressnet demo`: the whole path in one process.

use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use crate::cli::exit::{CliError, Exit};
use crate::cli::screen::Format;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  expressnet demo\n  expressnet demo --speed 60 --seed 7\n  \
expressnet demo --history alpha=a.csv --history beta=b.csv"
)]
pub struct Args {
    /// Recorded trades or books that a venue replays, as NAME=FILE; at most two.
    #[arg(long, value_name = "NAME=FILE")]
    pub history: Vec<History>,
    /// How many times faster than the clock history runs.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub speed: u32,
    /// Equal seeds give equal runs.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[command(flatten)]
    pub format: Format,
}

/// One venue's recorded past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub name: String,
    pub file: PathBuf,
}

/// Why a text names no history.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a history is written NAME=FILE")]
pub struct HistoryError;

/// Venues in the demo.
pub const HISTORIES_MAX: usize = 2;

impl FromStr for History {
    type Err = HistoryError;

    fn from_str(text: &str) -> Result<Self, HistoryError> {
        match text.split_once('=') {
            Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok(Self {
                name: name.to_owned(),
                file: PathBuf::from(file),
            }),
            Some(_) | None => Err(HistoryError),
        }
    }
}

/// Shows the demo.
///
/// # Errors
/// A history cannot be read.
pub fn run(args: &Args) -> Result<Exit, CliError> {
    if args.history.len() > HISTORIES_MAX {
        return Err(CliError::usage(
            "the demo has two venues; name at most two histories",
        ));
    }
    Err(CliError::not_built("demo"))
}
