//! `expressnet legs`: orders of open plans.

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::node;
use crate::cli::screen::{self, Format};
use crate::node::command::Request;
use crate::node::report::Legs;

/// Arguments of `legs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  expressnet legs\n  expressnet legs --json")]
pub struct Args {
    #[command(flatten)]
    pub format: Format,
}

/// Prints one row for each order.
///
/// # Errors
/// No node answers.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    node::read(home, &Request::Legs {}, args.format, show)
}

fn show(answer: &Legs) -> Result<(), CliError> {
    let rows: Vec<[String; 11]> = answer
        .legs
        .iter()
        .map(|leg| {
            [
                leg.plan.to_string(),
                leg.order.to_string(),
                leg.venue.clone(),
                leg.pair.clone(),
                leg.side.clone(),
                leg.quantity.clone(),
                leg.limit.clone(),
                leg.state.clone(),
                leg.filled.clone(),
                leg.total.clone(),
                leg.fee.clone(),
            ]
        })
        .collect();
    let head = [
        "plan", "order", "venue", "pair", "side", "quantity", "limit", "state", "filled", "total",
        "fee",
    ];
    screen::table(head, &rows, "no leg is open")
}
