//! `expressnet balance`: what lies where.

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::node;
use crate::cli::screen::{self, Format};
use crate::node::command::Request;
use crate::node::report::Balances;

/// Arguments of `balance`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  expressnet balance\n  expressnet balance --json")]
pub struct Args {
    #[command(flatten)]
    pub format: Format,
}

/// Prints balances by place and currency.
///
/// # Errors
/// No node answers.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    node::read(home, &Request::Balance {}, args.format, show)
}

fn show(answer: &Balances) -> Result<(), CliError> {
    let rows: Vec<[String; 4]> = answer
        .balances
        .iter()
        .map(|balance| {
            [
                balance.location.clone(),
                balance.currency.clone(),
                balance.free.clone(),
                balance.held.clone(),
            ]
        })
        .collect();
    screen::table(
        ["place", "currency", "free", "held"],
        &rows,
        "nothing lies anywhere",
    )
}
