//! What the measuring verbs share: how probes are spaced, how lines become trains, how trains
//! become a signed report, and how that is printed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::latency::{artefacts, text};
use crate::cli::screen;
use crate::latency::lines::{Assembly, Heard, Piece};
use crate::latency::quota::Schedule;
use crate::latency::report::Report;
use crate::latency::train::{Shape, Train};
use crate::model::time::Span;
use crate::node::command::Request;
use crate::node::report::Done;
use crate::shell::control::ask_each;
use crate::shell::identity::Identity;
use crate::shell::machine;

/// Bytes of the longest answer that is read: a million samples have about 90 each.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Samples between two words on how far it is.
const PROGRESS_EVERY: usize = 1_000;
/// Probes at once, and how far apart, where nothing else is said: what a change of a book sends to
/// a few peers.
const BURST: u16 = 8;
const BURST_EVERY: Span = Span::millis(100);
const EVERY: Span = Span::millis(10);

/// How probes are spaced.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Spacing {
    /// Probes to send.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// Between two probes or bursts, such as 10ms or 500us [default: 10ms; 100ms if loaded].
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub interval: Option<Span>,
    /// Send bursts, as trading does, instead of one probe at a time.
    #[arg(long)]
    pub loaded: bool,
    /// Probes of one burst.
    #[arg(long, default_value_t = BURST, requires = "loaded", value_parser = clap::value_parser!(u16).range(2..=64))]
    pub burst: u16,
}

/// What becomes of the result.
#[derive(Clone, Debug, clap::Args)]
pub struct Kept {
    /// Write the report and all that is drawn from it into this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What a measurement brought.
#[derive(Debug, Default)]
pub struct Brought {
    pub trains: Vec<Train>,
    /// Signed reports of other nodes, as JSON.
    pub reports: Vec<String>,
    /// What is not there, and why.
    pub absent: Vec<(String, String)>,
}

impl Spacing {
    /// Returns the schedule, checked against what one train may cost.
    ///
    /// # Errors
    /// Exit 2 with the limit it breaks.
    pub fn schedule(&self) -> Result<Schedule, CliError> {
        let shape = match self.loaded {
            false => Shape::Idle {
                interval: self.interval.unwrap_or(EVERY),
            },
            true => Shape::Loaded {
                interval: self.interval.unwrap_or(BURST_EVERY),
                burst: self.burst,
            },
        };
        Schedule::new(shape, self.count).map_err(|error| CliError::usage(error.to_string()))
    }
}

/// Asks the running node to measure and puts together what it says.
///
/// # Errors
/// No node answers, or it cannot measure that.
pub fn collect(home: &Home, request: &Request) -> Result<Brought, CliError> {
    let mut assembly = Assembly::default();
    let mut brought = Brought::default();
    let mut told = 0;
    let mut pieces: BTreeMap<String, String> = BTreeMap::new();
    ask_each::<CliError>(&home.path, request, ANSWER_BYTES_MAX, &mut |line| {
        if let Ok(Done { note, .. }) = serde_json::from_str(&line) {
            return Err(CliError::failed(note));
        }
        let heard = assembly.hear(&line);
        match heard.map_err(|error| CliError::failed(error.to_string()))? {
            Heard::Begun { to } => screen::note(&format!("probing {to}"))?,
            Heard::Samples(count) if count / PROGRESS_EVERY > told => {
                told = count / PROGRESS_EVERY;
                screen::note(&format!("{count} probes"))?;
            }
            Heard::Samples(_) | Heard::Nothing | Heard::Over => (),
            Heard::Train(train) => brought.trains.push(*train),
            Heard::Absent(absent) => brought.absent.push((absent.to, absent.why)),
            Heard::Piece(Piece {
                from,
                is_whole,
                json,
            }) => {
                // All of an answer is bounded, so its pieces are.
                pieces.entry(from.clone()).or_default().push_str(&json);
                if is_whole {
                    brought.reports.extend(pieces.remove(&from));
                }
            }
        }
        Ok(())
    })?;
    Ok(brought)
}

/// Makes this node's part of a report and joins those of other nodes to it.
///
/// # Errors
/// The home has no identity, or a report from elsewhere is none.
pub fn report(home: &Home, brought: Brought) -> Result<Report, CliError> {
    let identity = Identity::open(&home.path).map_err(anyhow::Error::from)?;
    let mut report = machine::report(&identity, &home.config_file(), brought.trains);
    for json in &brought.reports {
        let other = Report::parse(json.as_bytes()).map_err(anyhow::Error::from)?;
        report.join(other).map_err(anyhow::Error::from)?;
    }
    Ok(report)
}

/// Prints a report, and writes its files where a folder is named.
///
/// # Errors
/// Standard output or the folder cannot be written; exit 3 where something was not measured.
pub fn keep(report: &Report, absent: &[(String, String)], kept: &Kept) -> Result<Exit, CliError> {
    if let Some(folder) = &kept.out {
        for file in artefacts::write(report, folder)? {
            screen::note(&format!("wrote {}", file.display()))?;
        }
    }
    if kept.json {
        screen::line(report.to_json()?.trim_end())?;
    } else {
        screen::line(text::write(report).trim_end())?;
    }
    for (what, why) in absent {
        screen::note(&format!("absent: {what}: {why}"))?;
    }
    match absent.is_empty() {
        true => Ok(Exit::Done),
        false => Ok(Exit::Warnings),
    }
}

/// Reads a span such as `10ms`.
fn span(text: &str) -> Result<Span, String> {
    let units = [
        ("us", Span::MICRO),
        ("ms", Span::MILLI),
        ("s", Span::SECOND),
    ];
    let read = units.iter().find_map(|(unit, span)| {
        let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
        Some(span.times(u64::from(count)))
    });
    read.ok_or_else(|| "a whole number with us, ms or s behind it, such as 10ms".to_owned())
}
