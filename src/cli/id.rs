//! `expressnet id`: this node's card.

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::screen::{self, Format};
use crate::shell::identity::Identity;

/// Arguments of `id`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  expressnet id\n  expressnet id --json")]
pub struct Args {
    #[command(flatten)]
    pub format: Format,
}

/// Prints one line to hand to the owner of a peer.
///
/// # Errors
/// The home has no identity or no valid configuration.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    let config = home.config()?.config;
    let identity = Identity::open(&home.path).map_err(anyhow::Error::from)?;
    let card = identity
        .card(&config.name, &config.advertise)
        .map_err(anyhow::Error::from)?;
    if !args.format.json {
        screen::line(&card)?;
        return Ok(Exit::Done);
    }
    let shown = serde_json::json!({
        "schema": 1,
        "node": identity.node_id().to_string(),
        "name": config.name,
        "card": card,
    });
    screen::line(&shown.to_string())?;
    Ok(Exit::Done)
}
