//! `expressnet` alone: what it is and what to type next.

use crate::cli::exit::{CliError, Exit};
use crate::cli::screen;

/// Says what the program is.
///
/// # Errors
/// Standard output cannot be written.
pub fn run() -> Result<Exit, CliError> {
    screen::line(
        "expressnet: nodes beside exchanges that know each other, take spreads together, and offer\n\
         one another what they cannot do alone. Paper mode until you say otherwise; no keys needed.\n\
         \n\
         Next:\n  \
           expressnet demo      see the whole path in one process\n  \
           expressnet init      make a home for a node of your own\n  \
           expressnet run       run it (expressnet --help shows every verb)",
    )?;
    Ok(Exit::Done)
}
