//! `expressnet watch`: spreads net of every cost, and why nothing is fired.

use std::time::Duration;

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::node;
use crate::cli::screen::{self, Format};
use crate::node::command::Request;
use crate::node::report::Watch;

/// Arguments of `watch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  expressnet watch\n  expressnet watch --once --json")]
pub struct Args {
    /// Print once and end.
    #[arg(long)]
    pub once: bool,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=3_600))]
    pub every: u16,
    #[command(flatten)]
    pub format: Format,
}

/// Prints spreads until it is stopped.
///
/// # Errors
/// No node answers.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    loop {
        let exit = node::read(home, &Request::Watch {}, args.format, show)?;
        if args.once {
            return Ok(exit);
        }
        std::thread::sleep(Duration::from_secs(u64::from(args.every)));
    }
}

fn show(watch: &Watch) -> Result<(), CliError> {
    let rows: Vec<[String; 7]> = watch
        .spreads
        .iter()
        .map(|spread| {
            [
                spread.pair.clone(),
                spread.buy_venue.clone(),
                spread.sell_venue.clone(),
                screen::percent(spread.gross_ppm),
                screen::percent(spread.net_ppm),
                spread.quantity.clone(),
                spread.verdict.clone(),
            ]
        })
        .collect();
    let head = [
        "pair", "buy at", "sell at", "gross", "net", "quantity", "verdict",
    ];
    screen::table(head, &rows, "fewer than two books of one pair are known")
}
