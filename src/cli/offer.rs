//! `expressnet offer`: offers made, answered and explained.

use anyhow::Context;

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::node;
use crate::cli::screen::{self, Format};
use crate::model::grammar::GrammarError;
use crate::model::offer::Line;
use crate::node::command::Request;
use crate::node::report::{Explain, Offers, Quote};

/// Arguments of `offer`.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Scatter an offer of your own making.
    #[command(
        after_help = "Example:\n  expressnet offer new '150BTC@USD:BO:SEPA|OKPAY' --reserve 104.5"
    )]
    New {
        /// What is given, what is wanted, how it may be paid.
        line: String,
        /// Accept nothing below this price; it is never sent.
        #[arg(long, value_name = "PRICE")]
        reserve: Option<String>,
    },
    /// List own offers with their matches.
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Say what this node's rules would answer to such an offer, and why.
    Quote {
        line: String,
        #[command(flatten)]
        format: Format,
    },
    /// Say who was asked, what they answered, and what came of it.
    Explain {
        id: String,
        #[command(flatten)]
        format: Format,
    },
    /// Take an open offer back; accepted matches stand.
    Withdraw { id: String },
    /// Answer by hand an ask that is above the approval size.
    Approve { id: String },
}

/// Asks or tells the running node.
///
/// # Errors
/// No node answers, the line is not an offer (exit 2), or a safety rule says no (exit 5).
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    match args {
        Args::New { line, reserve } => {
            let (line, reserve) = (checked(line)?, reserve.clone());
            node::order(home, &Request::OfferNew { line, reserve })
        }
        Args::List { format } => node::read(home, &Request::OfferList {}, *format, show_offers),
        Args::Quote { line, format } => {
            let line = checked(line)?;
            node::read(home, &Request::OfferQuote { line }, *format, show_quote)
        }
        Args::Explain { id, format } => {
            let id = id.clone();
            node::read(home, &Request::OfferExplain { id }, *format, show_explain)
        }
        Args::Withdraw { id } => node::order(home, &Request::OfferWithdraw { id: id.clone() }),
        Args::Approve { id } => node::order(home, &Request::OfferApprove { id: id.clone() }),
    }
}

/// Finds a fault in a line before a node is asked, so that its column is told in any case.
fn checked(line: &str) -> Result<String, CliError> {
    let parsed: Result<Line, GrammarError> = Line::parse(line.as_bytes());
    parsed
        .with_context(|| format!("`{line}` is not an offer"))
        .map_err(|error| CliError::new(Exit::Usage, error))?;
    Ok(line.to_owned())
}

fn show_offers(answer: &Offers) -> Result<(), CliError> {
    let rows: Vec<[String; 7]> = answer
        .offers
        .iter()
        .map(|offer| {
            [
                offer.id.clone(),
                offer.state.clone(),
                offer.planned.clone(),
                offer.filled.clone(),
                offer.offered.clone(),
                offer.released.clone(),
                offer.line.clone(),
            ]
        })
        .collect();
    let head = [
        "offer", "state", "planned", "filled", "offered", "released", "line",
    ];
    screen::table(head, &rows, "no offers")?;
    for offer in answer
        .offers
        .iter()
        .filter(|offer| !offer.matches.is_empty())
    {
        let rows: Vec<[String; 3]> = offer
            .matches
            .iter()
            .map(|found| [found.peer.clone(), found.state.clone(), found.line.clone()])
            .collect();
        screen::line(&format!("\nmatches of {}", offer.id))?;
        screen::table(["peer", "state", "line"], &rows, "")?;
    }
    Ok(())
}

fn show_quote(answer: &Quote) -> Result<(), CliError> {
    let rows: Vec<[String; 3]> = answer
        .answers
        .iter()
        .map(|answer| {
            [
                answer.verdict.clone(),
                answer.line.clone(),
                answer.reason.clone(),
            ]
        })
        .collect();
    screen::table(
        ["verdict", "match", "reason"],
        &rows,
        "no rule fits this offer",
    )
}

fn show_explain(answer: &Explain) -> Result<(), CliError> {
    let rows: Vec<[String; 4]> = answer
        .candidates
        .iter()
        .map(|candidate| {
            [
                candidate.peer.clone(),
                candidate.verdict.clone(),
                candidate.line.clone(),
                candidate.reason.clone(),
            ]
        })
        .collect();
    screen::table(
        ["peer", "verdict", "match", "reason"],
        &rows,
        "nobody was asked",
    )
}
