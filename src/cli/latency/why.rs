//! `expressnet latency why`: what coincided with each slow or lost probe.

use crate::cli::exit::{CliError, Exit};
use crate::cli::latency::{ReportArgs, read};
use crate::cli::screen;
use crate::latency::figure;
use crate::latency::report::Measured;
use crate::latency::why::{Cause, Reason, reasons};
use crate::model::time::Span;

/// Prints a line for each slow or lost probe.
///
/// # Errors
/// The file is not readable, or no report.
pub fn run(args: &ReportArgs) -> Result<Exit, CliError> {
    let report = read(&args.file)?;
    for path in report.paths() {
        let reasons = reasons(path);
        match args.format.json {
            true => reasons
                .iter()
                .try_for_each(|reason| screen::line(&json(path, reason)))?,
            false => show(path, &reasons)?,
        }
    }
    Ok(Exit::Done)
}

fn show(path: &Measured, reasons: &[Reason]) -> Result<(), CliError> {
    let median = path.rtt.as_ref().map_or(0, |rtt| rtt.p50_ns);
    screen::line(&format!("{} (p50 {})", path.name(), figure::short(median)))?;
    let rows: Vec<[String; 4]> = reasons
        .iter()
        .map(|reason| {
            let after = reason.intended_ns.saturating_sub(path.started_ns);
            let causes: Vec<String> = reason.causes.iter().map(cause).collect();
            [
                reason.number.to_string(),
                format!(
                    "{}.{:03} s",
                    after / Span::SECOND.0,
                    after / Span::MILLI.0 % 1_000
                ),
                reason
                    .rtt_ns
                    .map_or_else(|| "lost".to_owned(), figure::short),
                causes.join("; "),
            ]
        })
        .collect();
    let head = ["probe", "due after", "round trip", "what coincided"];
    screen::table(head, &rows, "no probe was slow or lost")?;
    let (kept, lost) = (reasons.len(), path.counts.lost);
    let lost_shown = u64::try_from(path.lost.len()).unwrap_or(u64::MAX);
    let left_off = path
        .outliers_left_off
        .saturating_add(lost.saturating_sub(lost_shown));
    if left_off > 0 {
        screen::line(&format!(
            "{kept} of these are in the report, {left_off} more are not"
        ))?;
    }
    screen::line("")
}

fn cause(cause: &Cause) -> String {
    let name = cause.name();
    match *cause {
        Cause::PathSwitch | Cause::Unexplained => name.to_owned(),
        Cause::Loss { packets } => format!("{name} of {packets} packets"),
        Cause::Congestion {
            events,
            window_shrank,
        } => match window_shrank {
            true => format!("{name} ({events} events, the window shrank)"),
            false => format!("{name} ({events} events)"),
        },
        Cause::TimerLate { late_ns } => format!("{name} by {}", figure::short(late_ns)),
        Cause::PeerHeld { held_ns } => format!("{name} for {}", figure::short(held_ns)),
        Cause::Stall { neighbours: 1 } => format!("{name} (a neighbour too)"),
        Cause::Stall { .. } => format!("{name} (both neighbours too)"),
    }
}

fn json(path: &Measured, reason: &Reason) -> String {
    let causes: Vec<&str> = reason.causes.iter().map(|cause| cause.name()).collect();
    serde_json::json!({
        "schema": 1,
        "path": path.name(),
        "train": path.train,
        "probe": reason.number,
        "intended_ns": reason.intended_ns,
        "rtt_ns": reason.rtt_ns,
        "causes": causes,
    })
    .to_string()
}
