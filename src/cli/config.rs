//! `expressnet config`: checks and shows the configuration.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::{Home, load};
use crate::cli::screen::{self, Format};
use crate::config::checked::Loaded;

/// Arguments of `config`.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Check a file and list all its faults with line, key and remedy.
    #[command(
        after_help = "Examples:\n  expressnet config check\n  expressnet config check --file lp.toml"
    )]
    Check {
        /// The file [default: node.toml in the home].
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Show every key with its value and where that comes from.
    #[command(after_help = "Example:\n  expressnet config show --json")]
    Show {
        /// The file [default: node.toml in the home].
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
}

/// Checks or shows.
///
/// # Errors
/// Exit 2 with every fault of the file.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    match args {
        Args::Check { file } => check(&chosen(home, file)),
        Args::Show { file, format } => show(&load(&chosen(home, file))?, *format),
    }
}

fn chosen(home: &Home, file: &Option<PathBuf>) -> PathBuf {
    file.clone().unwrap_or_else(|| home.config_file())
}

fn check(file: &Path) -> Result<Exit, CliError> {
    let loaded = load(file)?;
    for warning in &loaded.warnings {
        screen::line(&format!("{warning} (warning)"))?;
    }
    if !loaded.warnings.is_empty() {
        return Ok(Exit::Warnings);
    }
    let venues = loaded.config.venues.len();
    let rules = loaded.config.offer.rules.len();
    screen::line(&format!(
        "{}: good ({venues} venues, {rules} rules)",
        file.display()
    ))?;
    Ok(Exit::Done)
}

/// One key in the JSON answer of `config show`.
#[derive(Serialize)]
struct Shown<'l> {
    schema: u32,
    key: &'l str,
    value: &'l str,
    /// `file` or `default`.
    origin: &'static str,
    line: Option<usize>,
}

fn show(loaded: &Loaded, format: Format) -> Result<Exit, CliError> {
    let mut rows = Vec::new();
    for resolved in &loaded.resolved {
        let (origin, place) = match resolved.line {
            Some(line) => ("file", format!("line {line}")),
            None => ("default", "default".to_owned()),
        };
        if format.json {
            let shown = Shown {
                schema: 1,
                key: &resolved.key,
                value: &resolved.value,
                origin,
                line: resolved.line,
            };
            screen::line(&serde_json::to_string(&shown)?)?;
        }
        rows.push([resolved.key.clone(), place, resolved.value.clone()]);
    }
    if !format.json {
        screen::table(["key", "from", "value"], &rows, "nothing is set")?;
    }
    Ok(Exit::Done)
}
