//! `expressnet pause`, `reduce`, `halt` and `resume`: the kill switch.

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::node;
use crate::node::command::{Request, SwitchWord};

/// Sets the switch of the running node.
///
/// # Errors
/// No node answers, or it refuses to resume (exit 5).
pub fn run(home: &Home, to: SwitchWord) -> Result<Exit, CliError> {
    node::order(home, &Request::Switch { to })
}
