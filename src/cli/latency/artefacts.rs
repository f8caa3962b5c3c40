//! The files of one measurement: `report.json` and all that is made from it.

use std::path::Path;

use anyhow::Context;

use crate::cli::exit::CliError;
use crate::latency::report::Report;

/// Writes `report.json` into a folder, which is made if need be.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn write(report: &Report, folder: &Path) -> Result<(), CliError> {
    std::fs::create_dir_all(folder).with_context(|| format!("{}: not made", folder.display()))?;
    let file = folder.join("report.json");
    std::fs::write(&file, report.to_json()?)
        .with_context(|| format!("{}: not written", file.display()))?;
    Ok(())
}
