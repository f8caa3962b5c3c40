//! `expressnet venue`: the dialects of exchanges.

use std::path::PathBuf;

use crate::cli::exit::{CliError, Exit};
use crate::cli::screen::{self, Format};
use crate::cli::venue_serve;
use crate::model::market::FeeIn;
use crate::shell::ticks::read_recording;
use crate::venue::document::pieces_of;
use crate::venue::{Dialect, registry};

/// Arguments of `venue`.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// List every dialect this binary speaks.
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Show what a dialect can and cannot do.
    #[command(after_help = "Example:\n  expressnet venue card simulated")]
    Card {
        dialect: String,
        #[command(flatten)]
        format: Format,
    },
    /// Say what each recorded document or frame is, as the adapter reads it.
    #[command(after_help = "Example:\n  expressnet venue decode mtgox capture.jsonl.gz")]
    Decode {
        dialect: String,
        /// Recordings, plain or gzip: a document, or one of each line.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Serve a dialect on this machine, for rehearsals.
    #[command(after_help = venue_serve::EXAMPLES)]
    Serve(Box<venue_serve::Args>),
}

/// Lists, shows or serves.
///
/// # Errors
/// The dialect is not known.
pub fn run(args: &Args) -> Result<Exit, CliError> {
    match args {
        Args::List { format } => list(*format),
        Args::Card { dialect, format } => card(find(dialect)?, *format),
        Args::Decode { dialect, files } => decode(find(dialect)?, files),
        Args::Serve(args) => {
            find(&args.dialect)?;
            venue_serve::run(args)
        }
    }
}

fn find(name: &str) -> Result<&'static dyn Dialect, CliError> {
    registry::find(name).ok_or_else(|| {
        let text = format!("no dialect `{name}`; `expressnet venue list` shows all");
        CliError::usage(text)
    })
}

/// Prints a line for every document; those that are none make the verb fail.
fn decode(dialect: &dyn Dialect, files: &[PathBuf]) -> Result<Exit, CliError> {
    let mut refused = 0;
    for file in files {
        let bytes = read_recording(file)
            .map_err(|error| CliError::usage(format!("{}: {error}", file.display())))?;
        for (index, piece) in pieces_of(&bytes).iter().enumerate() {
            let place = format!("{}:{}", file.display(), index + 1);
            match dialect.read_document(piece) {
                Ok(document) => screen::line(&format!("{place}: {document}"))?,
                Err(why) => {
                    refused += 1;
                    screen::line(&format!("{place}: REFUSED, {why}"))?;
                }
            }
        }
    }
    Ok(if refused == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn list(format: Format) -> Result<Exit, CliError> {
    if format.json {
        for dialect in registry::VENUES {
            screen::line(&json(*dialect).to_string())?;
        }
        return Ok(Exit::Done);
    }
    let rows: Vec<[String; 6]> = registry::VENUES
        .iter()
        .map(|dialect| {
            let card = dialect.card();
            [
                dialect.name().to_owned(),
                yes_no(card.is_tradable).to_owned(),
                yes_no(card.sequenced_books).to_owned(),
                yes_no(card.client_order_ids).to_owned(),
                yes_no(card.private_stream).to_owned(),
                screen::percent(i64::from(card.rules.taker_fee_ppm)),
            ]
        })
        .collect();
    let head = [
        "dialect",
        "trades",
        "sequenced",
        "own order ids",
        "private stream",
        "taker fee",
    ];
    screen::table(head, &rows, "no dialect is built in")?;
    Ok(Exit::Done)
}

fn card(dialect: &dyn Dialect, format: Format) -> Result<Exit, CliError> {
    let card = json(dialect);
    if format.json {
        screen::line(&card.to_string())?;
        return Ok(Exit::Done);
    }
    let rows: Vec<[String; 2]> = card
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != "schema")
        .map(|(key, value)| [key.clone(), value.to_string().replace('"', "")])
        .collect();
    screen::table(["property", "value"], &rows, "")?;
    Ok(Exit::Done)
}

fn json(dialect: &dyn Dialect) -> serde_json::Value {
    let card = dialect.card();
    serde_json::json!({
        "schema": 1,
        "dialect": dialect.name(),
        "is_tradable": card.is_tradable,
        "sequenced_books": card.sequenced_books,
        "client_order_ids": card.client_order_ids,
        "private_stream": card.private_stream,
        "reports_engine_lag": card.reports_engine_lag,
        "depth_levels_max": card.depth_levels_max,
        "silence_ms_max": card.silence_max.as_millis(),
        "requests_per_s": card.requests_per_s,
        "tick": card.rules.tick.to_string(),
        "lot": card.rules.lot.to_string(),
        "quantity_min": card.rules.quantity_min.to_string(),
        "taker_fee_ppm": card.rules.taker_fee_ppm,
        "fee_in": match card.rules.fee_in {
            FeeIn::Received => "received",
            FeeIn::Quote => "quote",
        },
    })
}

fn yes_no(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}
