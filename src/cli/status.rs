//! `expressnet status`: what the node does and what keeps it from trading.

use std::collections::BTreeMap;

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::screen::{self, Format};
use crate::cli::{node, peer};
use crate::node::command::Request;
use crate::node::report::{BookState, FeedStatus, Status, VenueStatus};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  expressnet status\n  expressnet status --json")]
pub struct Args {
    #[command(flatten)]
    pub format: Format,
}

/// Prints one screen.
///
/// # Errors
/// No node answers.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    node::read(home, &Request::Status {}, args.format, show)
}

fn show(status: &Status) -> Result<(), CliError> {
    screen::line(&format!("node      {} {}", status.node, status.name))?;
    screen::line(&format!("owner     {}", status.owner))?;
    let why = match status.reason.as_str() {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    screen::line(&format!(
        "trading   {}, {}{why}",
        status.mode, status.switch
    ))?;
    screen::line(&format!(
        "running   {} s; {} plans open, {} envelopes armed, journal at {}",
        status.uptime_ms / 1_000,
        status.plans_open,
        status.envelopes_armed,
        status.journal_commit
    ))?;
    let counts = &status.counts;
    screen::line(&format!(
        "did       {} opportunities, {} taken; {} legs filled, {} failed; {} offers, {} matches",
        counts.opportunities,
        counts.taken,
        counts.legs_filled,
        counts.legs_failed,
        counts.offers,
        counts.partial_matches
    ))?;
    screen::line("")?;
    show_venues(&status.venues)?;
    screen::line("")?;
    show_feeds(&status.feeds)?;
    screen::line("")?;
    peer::show(&status.peers)?;
    screen::line("")?;
    show_reasons(
        "passed over because",
        &status.skipped,
        "no opportunity was passed over",
    )?;
    if !status.refused.is_empty() {
        screen::line("")?;
        show_reasons("legs not sent because", &status.refused, "")?;
    }
    Ok(())
}

fn show_reasons(
    title: &'static str,
    reasons: &BTreeMap<String, u64>,
    none: &str,
) -> Result<(), CliError> {
    let rows: Vec<[String; 2]> = reasons
        .iter()
        .map(|(reason, count)| [reason.clone(), count.to_string()])
        .collect();
    screen::table([title, "times"], &rows, none)
}

fn show_venues(venues: &[VenueStatus]) -> Result<(), CliError> {
    let rows: Vec<[String; 8]> = venues
        .iter()
        .map(|venue| {
            [
                venue.name.clone(),
                venue.pair.clone(),
                state_word(venue.state).to_owned(),
                venue.sequence.to_string(),
                venue.age_ms.to_string(),
                venue.engine_lag_ms.to_string(),
                screen::or_dash(venue.best_bid.as_ref()),
                screen::or_dash(venue.best_ask.as_ref()),
            ]
        })
        .collect();
    let head = [
        "venue", "pair", "book", "sequence", "age_ms", "lag_ms", "bid", "ask",
    ];
    screen::table(head, &rows, "no venue")
}

fn show_feeds(feeds: &[FeedStatus]) -> Result<(), CliError> {
    let rows: Vec<[String; 6]> = feeds
        .iter()
        .map(|feed| {
            [
                feed.name.clone(),
                feed.frames.to_string(),
                feed.refused_frames.to_string(),
                feed.by_template.to_string(),
                feed.by_tolerant.to_string(),
                feed.by_slow.to_string(),
            ]
        })
        .collect();
    let head = ["feed", "frames", "refused", "template", "tolerant", "slow"];
    screen::table(head, &rows, "no feed")
}

fn state_word(state: BookState) -> &'static str {
    match state {
        BookState::Down => "down",
        BookState::Gap => "gap",
        BookState::Stale => "stale",
        BookState::Crossed => "crossed",
        BookState::Halted => "halted",
        BookState::Live => "live",
    }
}
