//! `expressnet latency verify`: whether a report holds, from the file alone.

use crate::cli::exit::{CliError, Exit};
use crate::cli::latency::{ReportArgs, read};
use crate::cli::screen;
use crate::latency::verify::Verdict;

/// Prints a line for each finding, then the verdict.
///
/// # Errors
/// The file is not readable, or no report.
pub fn run(args: &ReportArgs) -> Result<Exit, CliError> {
    let verdict = Verdict::of(&read(&args.file)?);
    let exit = match verdict.is_good() {
        true => Exit::Done,
        false => Exit::Failed,
    };
    if args.format.json {
        let findings: Vec<serde_json::Value> = verdict
            .findings
            .iter()
            .map(|finding| {
                serde_json::json!({
                    "about": finding.about,
                    "check": finding.check.name(),
                    "grade": finding.grade.name().to_lowercase(),
                    "text": finding.text,
                })
            })
            .collect();
        let good = verdict.is_good();
        let shown = serde_json::json!({"schema": 1, "good": good, "findings": findings});
        screen::line(&shown.to_string())?;
        return Ok(exit);
    }
    let rows: Vec<[String; 4]> = verdict
        .findings
        .iter()
        .map(|finding| {
            [
                finding.grade.name().to_owned(),
                finding.about.clone(),
                finding.check.name().to_owned(),
                finding.text.clone(),
            ]
        })
        .collect();
    screen::table(
        ["grade", "about", "check", "finding"],
        &rows,
        "nothing to check",
    )?;
    screen::line(match verdict.is_good() {
        true => "the report holds",
        false => "THE REPORT DOES NOT HOLD",
    })?;
    Ok(exit)
}
