//! `expressnet latency compare`: whether a path became worse between two reports.

use std::path::PathBuf;

use crate::cli::exit::{CliError, Exit};
use crate::cli::latency::read;
use crate::cli::screen::{self, Format};
use crate::latency::compare::{Comparison, Estimate, Row};
use crate::latency::figure;

/// Arguments of `latency compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The report to compare with.
    before: PathBuf,
    /// The report that may be worse.
    after: PathBuf,
    /// How much a figure may grow, in percent, before it counts as worse.
    #[arg(long, value_name = "PERCENT", default_value_t = 5)]
    tolerance_percent: u32,
    #[command(flatten)]
    format: Format,
}

/// Prints a line for each figure of each path that both reports have.
///
/// # Errors
/// A file is not readable, or no report.
pub fn run(args: &Args) -> Result<Exit, CliError> {
    let (before, after) = (read(&args.before)?, read(&args.after)?);
    let comparison = Comparison::of(&before, &after, args.tolerance_percent);
    match args.format.json {
        true => show_json(&comparison)?,
        false => show(&comparison)?,
    }
    Ok(match (comparison.is_worse(), comparison.has_gaps()) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Warnings,
        (false, false) => Exit::Done,
    })
}

fn show(comparison: &Comparison) -> Result<(), CliError> {
    let rows: Vec<[String; 5]> = comparison
        .rows
        .iter()
        .map(|row| {
            [
                row.path.clone(),
                row.figure.to_owned(),
                estimate(row, row.before),
                estimate(row, row.after),
                row.change.name().to_owned(),
            ]
        })
        .collect();
    let head = [
        "path",
        "figure",
        "before (99 in 100)",
        "after (99 in 100)",
        "change",
    ];
    screen::table(head, &rows, "the reports have no path in common")?;
    for path in &comparison.only_before {
        screen::line(&format!("{path}: only in the report before"))?;
    }
    for path in &comparison.only_after {
        screen::line(&format!("{path}: only in the report after"))?;
    }
    Ok(())
}

fn estimate(row: &Row, estimate: Estimate) -> String {
    let text = |value: u64| match row.figure {
        "loss" => screen::percent(i64::try_from(value).unwrap_or(i64::MAX)),
        _ => figure::short(value),
    };
    let high = estimate.high.map_or_else(|| "?".to_owned(), text);
    format!(
        "{} ({} to {high})",
        text(estimate.value),
        text(estimate.low)
    )
}

fn show_json(comparison: &Comparison) -> Result<(), CliError> {
    let value = |estimate: Estimate| {
        serde_json::json!({
            "value": estimate.value, "low": estimate.low, "high": estimate.high,
        })
    };
    let rows: Vec<serde_json::Value> = comparison
        .rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "path": row.path,
                "figure": row.figure,
                "before": value(row.before),
                "after": value(row.after),
                "change": row.change.name().to_lowercase(),
            })
        })
        .collect();
    let shown = serde_json::json!({
        "schema": 1,
        "worse": comparison.is_worse(),
        "rows": rows,
        "only_before": comparison.only_before,
        "only_after": comparison.only_after,
    });
    screen::line(&shown.to_string())
}
