//! `expressnet latency venue`: the way to an exchange of the configuration, and what the running node
//! has seen of its orders.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::runtime;
use tokio::task::LocalSet;

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::screen::{self, Format};
use crate::config::checked::Venue;
use crate::model::time::Span;
use crate::node::command::Request;
use crate::node::report::{FeedStatus, SCHEMA, Status, Took};
use crate::shell::control::{AskError, ask};
use crate::shell::venue_way::{Round, round};

/// Arguments of `venue`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  expressnet latency venue alpha --rounds 10")]
pub struct Args {
    /// The venue's name in node.toml.
    pub name: String,
    /// Connections, one after another; venues count attempts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub rounds: u16,
    /// Seconds to listen on each connection after the first book.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=300))]
    pub listen: u16,
    #[command(flatten)]
    pub format: Format,
}

/// What was measured, in microseconds.
#[derive(Debug, Serialize)]
struct Answer {
    schema: u32,
    venue: String,
    rows: Vec<Row>,
}

/// One figure; without a count it is absent, and why.
#[derive(Debug, Serialize)]
struct Row {
    what: &'static str,
    count: usize,
    p50_us: Option<i64>,
    p99_us: Option<i64>,
    max_us: Option<i64>,
    absent: &'static str,
}

/// Measures and prints.
///
/// # Errors
/// The venue is not configured, or no book comes.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    let config = home.config()?.config;
    let named = config
        .venues
        .iter()
        .find(|venue| venue.id.as_str() == args.name);
    let Some(venue) = named else {
        let text = format!("no [[venue]] of node.toml is called {}", args.name);
        return Err(CliError::usage(text));
    };
    let rounds = measure(home, venue, args)?;
    let mut rows = rows_of(&rounds);
    rows.extend(orders(home, &args.name)?);
    let answer = Answer {
        schema: SCHEMA,
        venue: args.name.clone(),
        rows,
    };
    if args.format.json {
        screen::line(&serde_json::to_string(&answer)?)?;
        return Ok(Exit::Done);
    }
    let cells: Vec<[String; 6]> = answer.rows.iter().map(cells).collect();
    let head = ["what", "count", "p50_us", "p99_us", "max_us", "absent"];
    screen::table(head, &cells, "nothing was measured")?;
    Ok(Exit::Done)
}

fn measure(home: &Home, venue: &Venue, args: &Args) -> Result<Vec<Round>, CliError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be made")?;
    let listen = Duration::from_secs(u64::from(args.listen));
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        let one = LocalSet::new().block_on(&runtime, round(&home.path, venue, listen));
        rounds.push(one.with_context(|| format!("venue {}", venue.id))?);
    }
    Ok(rounds)
}

fn rows_of(rounds: &[Round]) -> Vec<Row> {
    let spans = |of: fn(&Round) -> Option<Span>| -> Vec<i64> {
        let spans = rounds.iter().filter_map(of);
        spans
            .map(|span| i64::try_from(span.0).unwrap_or(i64::MAX))
            .collect()
    };
    let ages = rounds
        .iter()
        .flat_map(|round| round.ages_ns.iter().copied());
    let polled = "everything is asked for document by document";
    vec![
        row("resolve", spans(|round| round.resolve), polled),
        row("connect", spans(|round| round.connect), polled),
        row("tls", spans(|round| round.tls), "the stream is plain"),
        row("upgrade", spans(|round| round.upgrade), polled),
        row(
            "subscribe to first book",
            spans(|round| round.first_book),
            "",
        ),
        row(
            "book age by the venue's clock",
            ages.collect(),
            "no further book came",
        ),
    ]
}

/// Returns what the running node has seen of its own orders there.
fn orders(home: &Home, name: &str) -> Result<Vec<Row>, CliError> {
    let status = match ask(&home.path, &Request::Status {}) {
        Ok(lines) => Some(serde_json::from_str::<Status>(&lines.concat())?),
        Err(AskError::Unreachable { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let feeds = status.as_ref().map(|status| status.feeds.iter());
    let feed = feeds.and_then(|mut feeds| feeds.find(|feed| feed.name == name));
    let absent = match status {
        None => "no node runs here, and a measurement sends no order",
        Some(_) => "the running node has had none, and a measurement sends no order",
    };
    let took = |of: fn(&FeedStatus) -> Took| feed.map(of).unwrap_or_default();
    let of_node = |what, took: Took| Row {
        what,
        count: usize::try_from(took.count).unwrap_or(usize::MAX),
        p50_us: took.p50_us.and_then(|us| i64::try_from(us).ok()),
        p99_us: took.p99_us.and_then(|us| i64::try_from(us).ok()),
        max_us: None,
        absent: if took.count == 0 { absent } else { "" },
    };
    Ok(vec![
        of_node("order to acknowledgement", took(|feed| feed.order_ack)),
        of_node("cancel to acknowledgement", took(|feed| feed.cancel_ack)),
        of_node("order to first fill", took(|feed| feed.first_fill)),
    ])
}

fn row(what: &'static str, mut nanos: Vec<i64>, absent: &'static str) -> Row {
    nanos.sort_unstable();
    let at = |per_mille: usize| {
        let last = nanos.len().checked_sub(1)?;
        nanos
            .get(last * per_mille / 1_000)
            .map(|nanos| nanos / 1_000)
    };
    Row {
        what,
        count: nanos.len(),
        p50_us: at(500),
        p99_us: at(990),
        max_us: at(1_000),
        absent: if nanos.is_empty() { absent } else { "" },
    }
}

fn cells(row: &Row) -> [String; 6] {
    [
        row.what.to_owned(),
        row.count.to_string(),
        screen::or_dash(row.p50_us),
        screen::or_dash(row.p99_us),
        screen::or_dash(row.max_us),
        row.absent.to_owned(),
    ]
}
