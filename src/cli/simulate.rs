//! `expressnet simulate`: seeded worlds, every invariant checked after every step.

use std::ops::RangeInclusive;

use clap::ValueEnum;

use crate::cli::exit::{CliError, Exit};
use crate::cli::screen::Format;

/// Arguments of `simulate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  expressnet simulate --seed 7\n  \
expressnet simulate --seeds 1..500 --nodes 6 --topology mesh --json")]
pub struct Args {
    /// One world.
    #[arg(long, conflicts_with = "seeds")]
    pub seed: Option<u64>,
    /// A range of worlds, both ends included.
    #[arg(long, value_name = "FROM..TO", value_parser = seeds)]
    pub seeds: Option<RangeInclusive<u64>>,
    /// Nodes in each world.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=256))]
    pub nodes: u16,
    /// Who is linked with whom.
    #[arg(long, value_enum, default_value_t = Topology::Mesh)]
    pub topology: Topology,
    /// Virtual seconds in each world.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    /// Plant a known bug, to see that the checks find it.
    #[arg(long, value_name = "NAME")]
    pub bug: Option<String>,
    #[command(flatten)]
    pub format: Format,
}

/// How nodes of a simulated world are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Topology {
    /// Two nodes and one link, however many nodes are asked for.
    Two,
    /// Each with the next.
    Line,
    /// Each with every other.
    Mesh,
}

fn seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let range = text.split_once("..").and_then(|(from, to)| {
        let range: RangeInclusive<u64> = from.parse().ok()?..=to.parse().ok()?;
        (!range.is_empty()).then_some(range)
    });
    range.ok_or_else(|| "a range is written FROM..TO, as in 1..500".to_owned())
}

/// Runs the worlds.
///
/// # Errors
/// An invariant was broken; the seed is in the text.
pub fn run(_args: &Args) -> Result<Exit, CliError> {
    Err(CliError::not_built("simulate"))
}
