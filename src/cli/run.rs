//! `expressnet run`: the node in the foreground.

use std::time::Duration;

use anyhow::Context;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::journal::record::NAMES;
use crate::model::time::Span;
use crate::node::Node;
use crate::shell::boot::{self, Rehearsal, Start};
use crate::shell::store::CrashPoint;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  expressnet run\n  expressnet run --home tokyo\n  \
expressnet run --crash-at granted:after:2"
)]
pub struct Args {
    /// Rehearse a crash: kill this process right before or after the Nth record of a kind is
    /// committed, as KIND:before or KIND:after, with :N.
    #[arg(long, value_name = "KIND:MOMENT[:N]")]
    pub crash_at: Option<CrashPoint>,
    /// Rehearse a wrong clock: this node's is ahead by so many milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=86_400_000))]
    pub clock_ahead_ms: u64,
    /// Rehearse a late timer: the thread that paces probes wakes late by so many microseconds.
    #[arg(long, value_name = "US", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub timer_late_us: u64,
}

/// Runs until it is told to stop.
///
/// # Errors
/// The configuration is not valid, or the home is in use.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    check_crash_point(args.crash_at.as_ref())?;
    let loaded = home.config()?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let start = Start {
        home: home.path.clone(),
        config: loaded.config,
        crash: args.crash_at.clone(),
        seed: seed()?,
        rehearsal: Rehearsal {
            clock_ahead: Span::millis(args.clock_ahead_ms),
            timer_late: Span::micros(args.timer_late_us),
        },
    };
    foreground(start)
}

/// Runs a node on this thread until it is told to stop.
///
/// # Errors
/// The home is in use, or something in it keeps the node from running.
pub fn foreground(start: Start) -> Result<Exit, CliError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be made")?;
    LocalSet::new().block_on(&runtime, serve(start))?;
    Ok(Exit::Done)
}

/// How long a node that is told to stop waits for its legs to end.
const REST_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Serves the node until SIGINT or SIGTERM. Legs under way then come to their end, and offers are
/// withdrawn; a second signal stops at once. The switch stays as it is, and what is still open is
/// taken up by the next run.
async fn serve(start: Start) -> Result<(), CliError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let driver = boot::start(start).map_err(anyhow::Error::from)?;
    let node = driver.look(|node| node.id());
    tracing::info!(%node, address = ?driver.local_addr(), "running");
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
    }
    tracing::info!("stopping");
    driver.close();
    let rest = async {
        while !driver.look(Node::is_at_rest) {
            sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        ended = timeout(REST_WITHIN, rest) => if ended.is_err() {
            tracing::warn!("legs are still under way; the next run takes them up");
        },
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
    }
    driver.stop().await;
    Ok(())
}

/// A point that is never reached would be a rehearsal of nothing.
fn check_crash_point(point: Option<&CrashPoint>) -> Result<(), CliError> {
    let known: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
    match point {
        Some(point) if !known.contains(&point.kind.as_str()) => {
            let (kind, known) = (&point.kind, known.join(", "));
            let text = format!("no record is called `{kind}`; known are: {known}");
            Err(CliError::usage(text))
        }
        Some(_) | None => Ok(()),
    }
}

/// Draws what a node's only source of randomness begins with.
///
/// # Errors
/// The system has none.
pub fn seed() -> Result<u64, CliError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|_| CliError::failed("the system's random source does not answer"))?;
    Ok(u64::from_le_bytes(bytes))
}
