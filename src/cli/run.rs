//! `expressnet run`: the node in the foreground.

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::shell::store::CrashPoint;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  expressnet run\n  expressnet run --home tokyo\n  \
expressnet run --crash-at envelope:after:2"
)]
pub struct Args {
    /// Rehearse a crash: kill this process right before or after the Nth record of a kind is
    /// committed, as KIND:before or KIND:after, with :N.
    #[arg(long, value_name = "KIND:MOMENT[:N]")]
    pub crash_at: Option<CrashPoint>,
}

/// Runs until it is told to stop.
///
/// # Errors
/// The configuration is not valid, or the home is in use.
pub fn run(home: &Home, _args: &Args) -> Result<Exit, CliError> {
    home.config()?;
    Err(CliError::not_built("run"))
}
