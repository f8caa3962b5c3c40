//! `expressnet limits`: limits and how much of each is used.

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::node;
use crate::cli::screen::{self, Format};
use crate::node::command::Request;
use crate::node::report::Limits;

/// Arguments of `limits`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  expressnet limits\n  expressnet limits --json")]
pub struct Args {
    #[command(flatten)]
    pub format: Format,
}

/// Prints one row for each limit.
///
/// # Errors
/// No node answers.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    node::read(home, &Request::Limits {}, args.format, show)
}

fn show(answer: &Limits) -> Result<(), CliError> {
    let rows: Vec<[String; 4]> = answer
        .limits
        .iter()
        .map(|limit| {
            [
                limit.name.clone(),
                limit.currency.clone(),
                limit.used.clone(),
                limit.limit.clone(),
            ]
        })
        .collect();
    screen::table(
        ["limit", "currency", "used", "of"],
        &rows,
        "no limit is set: nothing is allowed",
    )
}
