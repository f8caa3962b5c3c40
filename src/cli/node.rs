//! Questions to the running node.

use serde::de::DeserializeOwned;

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::screen::{self, Format};
use crate::node::command::Request;
use crate::node::report::Done;
use crate::shell::control::ask;

/// Asks a question and prints the answer: as it came for programs, through `show` for people.
///
/// # Errors
/// No node answers, or not what was expected.
pub fn read<T: DeserializeOwned>(
    home: &Home,
    request: &Request,
    format: Format,
    show: impl Fn(&T) -> Result<(), CliError>,
) -> Result<Exit, CliError> {
    for line in ask(&home.path, request)? {
        // A question about something that does not exist is answered as a command is.
        if let Ok(Done {
            ok: false, note, ..
        }) = serde_json::from_str(&line)
        {
            return Err(CliError::failed(note));
        }
        match format.json {
            true => screen::line(&line)?,
            false => show(&serde_json::from_str(&line)?)?,
        }
    }
    Ok(Exit::Done)
}

/// Gives a command and prints what came of it.
///
/// # Errors
/// No node answers, the command failed, or a safety rule said no (exit 5).
pub fn order(home: &Home, request: &Request) -> Result<Exit, CliError> {
    for line in ask(&home.path, request)? {
        let done: Done = serde_json::from_str(&line)?;
        match (done.ok, done.refused) {
            (true, _) => screen::line(&done.note)?,
            (false, true) => return Err(CliError::refused(done.note)),
            (false, false) => return Err(CliError::failed(done.note)),
        }
    }
    Ok(Exit::Done)
}
