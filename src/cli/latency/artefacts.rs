//! The files of one measurement: `report.json` and all that is made from it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::exit::CliError;
use crate::cli::latency::text;
use crate::latency::hlog;
use crate::latency::plot::{heatmap, percentiles};
use crate::latency::report::Report;

/// Writes `report.json`, `report.txt`, `paths.hlog` and the drawings into a folder, which is made if
/// need be. Returns what was written; without any answer there are no drawings.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn write(report: &Report, folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    make(folder)?;
    let mut written = vec![
        put(folder, "report.json", &report.to_json()?)?,
        put(folder, "report.txt", &text::write(report))?,
        put(folder, "paths.hlog", &hlog::write(report))?,
    ];
    written.extend(draw(report, folder)?);
    Ok(written)
}

/// Writes `percentiles.svg` and `heatmap.svg` into a folder, which is made if need be.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn draw(report: &Report, folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    make(folder)?;
    let drawings = [
        ("percentiles.svg", percentiles::draw(report)),
        ("heatmap.svg", heatmap::draw(report)),
    ];
    let drawn = drawings
        .iter()
        .filter_map(|(name, drawing)| Some((name, drawing.as_ref()?)));
    drawn
        .map(|(name, drawing)| put(folder, name, drawing))
        .collect()
}

fn make(folder: &Path) -> Result<(), CliError> {
    fs::create_dir_all(folder)
        .with_context(|| format!("{}: the folder cannot be made", folder.display()))?;
    Ok(())
}

fn put(folder: &Path, name: &str, text: &str) -> Result<PathBuf, CliError> {
    let file = folder.join(name);
    fs::write(&file, text).with_context(|| format!("{}: cannot be written", file.display()))?;
    Ok(file)
}
