//! `expressnet venue`: the dialects of exchanges.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cli::exit::{CliError, Exit};
use crate::cli::screen::{self, Format};
use crate::cli::standin::{KnownCard, dialects};
use crate::model::market::FeeIn;

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
    /// Serve a dialect on this machine, for rehearsals.
    Serve(ServeArgs),
}

/// Arguments of `venue serve`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  expressnet venue serve simulated --listen 127.0.0.1:7501 --seed 7"
)]
pub struct ServeArgs {
    pub dialect: String,
    #[arg(long, default_value = "127.0.0.1:7501")]
    pub listen: SocketAddr,
    /// Pairs that are traded there.
    #[arg(long, default_value = "BTC/USD", value_delimiter = ',')]
    pub pairs: Vec<String>,
    /// Recorded trades or books to replay; without it the flow is made from the seed.
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// How many times faster than the clock history runs.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub speed: u32,
    /// Equal seeds give equal markets.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Lists, shows or serves.
///
/// # Errors
/// The dialect is not known.
pub fn run(args: &Args) -> Result<Exit, CliError> {
    match args {
        Args::List { format } => list(*format),
        Args::Card { dialect, format } => card(&find(dialect)?, *format),
        Args::Serve(args) => serve(args),
    }
}

/// Serves a dialect until it is stopped.
///
/// # Errors
/// The dialect is not known, or the address is in use.
pub fn serve(args: &ServeArgs) -> Result<Exit, CliError> {
    find(&args.dialect)?;
    Err(CliError::not_built("venue serve"))
}

fn find(name: &str) -> Result<KnownCard, CliError> {
    dialects()
        .into_iter()
        .find(|dialect| dialect.name == name)
        .ok_or_else(|| {
            let text = format!("no dialect `{name}`; `expressnet venue list` shows all");
            CliError::usage(text)
        })
}

fn list(format: Format) -> Result<Exit, CliError> {
    if format.json {
        for dialect in dialects() {
            screen::line(&json(&dialect).to_string())?;
        }
        return Ok(Exit::Done);
    }
    let rows: Vec<[String; 5]> = dialects()
        .iter()
        .map(|KnownCard { name, card }| {
            [
                (*name).to_owned(),
                yes_no(card.sequenced_books).to_owned(),
                yes_no(card.client_order_ids).to_owned(),
                yes_no(card.private_stream).to_owned(),
                screen::percent(i64::from(card.rules.taker_fee_ppm)),
            ]
        })
        .collect();
    let head = [
        "dialect",
        "sequenced",
        "own order ids",
        "private stream",
        "taker fee",
    ];
    screen::table(head, &rows, "no dialect is built in")?;
    Ok(Exit::Done)
}

fn card(dialect: &KnownCard, format: Format) -> Result<Exit, CliError> {
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

fn json(KnownCard { name, card }: &KnownCard) -> serde_json::Value {
    serde_json::json!({
        "schema": 1,
        "dialect": name,
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
