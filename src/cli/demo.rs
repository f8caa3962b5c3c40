//! `expressnet demo`: the whole path in one process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use thiserror::Error;
use tokio::runtime;
use tokio::task::LocalSet;

use crate::cli::exit::{CliError, Exit};
use crate::cli::screen::{self, Format};
use crate::shell::demo::{self, Report, Settings};

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  expressnet demo\n  expressnet demo --json --seed 7\n  \
expressnet demo --history mtgox=mtgoxSEK.csv.gz --history btce=kptnSEK.csv.gz"
)]
pub struct Args {
    /// Recorded trades that a venue replays, as DIALECT=FILE; once for each of the two venues.
    #[arg(long, value_name = "DIALECT=FILE")]
    pub history: Vec<History>,
    /// How many times faster than the clock history runs; without it, so that all of it is shown.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub speed: Option<u32>,
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
#[error("a history is written DIALECT=FILE")]
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
    if args.history.len() == 1 || args.history.len() > HISTORIES_MAX {
        return Err(CliError::usage(
            "the demo has two venues; name two histories, or none",
        ));
    }
    let histories = args.history.iter();
    let settings = Settings {
        seed: args.seed,
        histories: histories
            .map(|history| (history.name.clone(), history.file.clone()))
            .collect(),
        speed: args.speed,
    };
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be made")?;
    let mut say = |line: &str| drop(screen::line(line));
    let report = LocalSet::new().block_on(&runtime, async {
        tokio::select! {
            played = demo::run(&settings, &mut say) => played.map_err(anyhow::Error::from),
            told = tokio::signal::ctrl_c() => {
                told?;
                Err(anyhow::Error::msg("interrupted"))
            }
        }
    })?;
    match args.format.json {
        true => screen::line(&serde_json::to_string(&report)?)?,
        false => show(&report)?,
    }
    match report.conserved {
        true => Ok(Exit::Done),
        false => Ok(Exit::Failed),
    }
}

fn show(report: &Report) -> Result<(), CliError> {
    let legs = &report.legs;
    let rows = [
        ("arbitrage found", report.opportunities),
        ("arbitrage taken", report.taken),
        ("legs fired", legs.fired),
        ("legs filled", legs.filled),
        ("plans unwound", legs.unwound),
        ("plans held", legs.held),
        ("remainders offered", report.offers),
        ("partial matches", report.partial_matches),
        ("aggregates", report.aggregates),
    ];
    let rows = rows.map(|(what, count)| [what.to_owned(), count.to_string()]);
    screen::line("")?;
    screen::table(["what", "count"], &rows, "")?;
    screen::line("")?;
    let rows: Vec<[String; 3]> = report
        .venues
        .iter()
        .map(|(venue, count)| {
            [
                venue.clone(),
                count.orders.to_string(),
                count.filled.to_string(),
            ]
        })
        .collect();
    screen::table(["beside venue", "orders", "filled"], &rows, "")?;
    screen::line("")?;
    let rows: Vec<[String; 3]> = report
        .skipped
        .iter()
        .map(|(reason, count)| {
            let money = report.skipped_money.get(reason).cloned();
            [reason.clone(), count.to_string(), money.unwrap_or_default()]
        })
        .collect();
    screen::table(
        ["passed over because", "times", "would have earned"],
        &rows,
        "nothing was passed over",
    )?;
    screen::line("")?;
    show_assets(report)?;
    screen::line("")?;
    for text in &report.unaccounted {
        screen::line(&format!("unaccounted: {text}"))?;
    }
    let verdict = if report.conserved {
        "every unit is accounted for"
    } else {
        "NOT conserved"
    };
    screen::line(&format!("{verdict}; {} s", report.wall_s))
}

/// Prints what was planned and what came of it, by asset.
fn show_assets(report: &Report) -> Result<(), CliError> {
    let cell = |of: &BTreeMap<String, String>, currency: &String| {
        of.get(currency).cloned().unwrap_or_else(|| "0".to_owned())
    };
    let assets: BTreeSet<&String> = report.planned.keys().chain(report.pnl.keys()).collect();
    let rows: Vec<[String; 6]> = assets
        .into_iter()
        .map(|currency| {
            [
                currency.clone(),
                cell(&report.planned, currency),
                cell(&report.filled, currency),
                cell(&report.offered, currency),
                cell(&report.released, currency),
                cell(&report.pnl, currency),
            ]
        })
        .collect();
    let head = [
        "asset", "planned", "filled", "offered", "released", "result",
    ];
    screen::table(head, &rows, "nothing was planned")
}
