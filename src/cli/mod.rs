//! The command line: one file per verb.
//!
//! Data goes to standard output, logs to standard error. A verb returns how the process ends; only
//! `main` prints errors. The environment is read here and in `home`, nowhere else.

pub mod about;
pub mod balance;
pub mod channel;
pub mod chanop;
pub mod config;
pub mod demo;
pub mod exit;
pub mod home;
pub mod id;
pub mod init;
pub mod latency;
pub mod lease;
pub mod legs;
pub mod limits;
pub mod node;
pub mod offer;
pub mod peer;
pub mod run;
pub mod screen;
pub mod simulate;
pub mod status;
pub mod switch;
pub mod venue;
pub mod venue_serve;
pub mod watch;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

pub use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::node::command::SwitchWord;

/// Arbitrage beside exchanges, in a private mesh of your own nodes. Paper mode, unless you say
/// otherwise in three places.
#[derive(Debug, Parser)]
#[command(name = "expressnet", version, max_term_width = 100, after_help = EXITS)]
pub struct Cli {
    /// The node's folder [default: $EXPRESSNET_HOME, or ~/.expressnet].
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

const EXITS: &str = "Exit codes: 0 done · 1 failed · 2 usage or configuration · 3 done, with warnings · \
4 no node answers · 5 refused by a safety rule\n\nExamples:\n  expressnet init\n  expressnet config check\n  \
expressnet run\n  expressnet status --json";

/// What the program can be told to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a home: a key for this node and a commented paper configuration.
    Init(init::Args),
    /// Print the card line that a peer's owner needs.
    Id(id::Args),
    /// List the nodes that exist for this one.
    #[command(subcommand)]
    Peer(peer::Args),
    /// The same list, nearest first.
    Peers(peer::ListArgs),
    /// Check or show the configuration.
    #[command(subcommand)]
    Config(config::Args),
    /// Run the node in the foreground.
    Run(run::Args),
    /// What the node does and what keeps it from trading.
    Status(status::Args),
    /// Spreads net of every cost, and why nothing is fired.
    Watch(watch::Args),
    /// Who is on the open network, who is linked, and why others are not.
    Channel(channel::Args),
    /// Whom this node gives voice as the channel's operator.
    #[command(subcommand)]
    Chanop(chanop::Args),
    /// Which node of the peernet speaks to the open network.
    #[command(subcommand)]
    Exit(lease::Args),
    /// What lies where.
    Balance(balance::Args),
    /// Orders of open plans.
    Legs(legs::Args),
    /// Limits and how much of each is used.
    Limits(limits::Args),
    /// Dialects of exchanges; serve one for rehearsals.
    #[command(subcommand)]
    Venue(venue::Args),
    /// Measure the way to peers and exchanges; check, compare and draw reports.
    #[command(subcommand)]
    Latency(latency::Args),
    /// Make, list, explain, withdraw and approve offers.
    #[command(subcommand)]
    Offer(offer::Args),
    /// Begin no new plan; open ones run to their end.
    Pause,
    /// Let only orders pass that reduce exposure.
    Reduce,
    /// Let nothing pass but cancels.
    Halt,
    /// Trade again.
    Resume,
    /// Show the whole path in one process, without keys or accounts.
    Demo(demo::Args),
    /// Run seeded worlds and check every invariant after every step.
    Simulate(simulate::Args),
}

/// Does what the command line says.
///
/// # Errors
/// What went wrong, with the exit code that tells it to a script.
pub fn run(cli: &Cli) -> Result<Exit, CliError> {
    log_to_stderr(&cli.verb);
    let Some(verb) = &cli.verb else {
        return about::run();
    };
    let home = Home::find(cli.home.as_deref())?;
    match verb {
        Verb::Init(args) => init::run(&home, args),
        Verb::Id(args) => id::run(&home, args),
        Verb::Peer(args) => peer::run(&home, args),
        Verb::Peers(args) => peer::run_list(&home, args),
        Verb::Config(args) => config::run(&home, args),
        Verb::Run(args) => run::run(&home, args),
        Verb::Status(args) => status::run(&home, args),
        Verb::Watch(args) => watch::run(&home, args),
        Verb::Channel(args) => channel::run(&home, args),
        Verb::Chanop(args) => chanop::run(&home, args),
        Verb::Exit(args) => lease::run(&home, args),
        Verb::Balance(args) => balance::run(&home, args),
        Verb::Legs(args) => legs::run(&home, args),
        Verb::Limits(args) => limits::run(&home, args),
        Verb::Venue(args) => venue::run(args),
        Verb::Latency(args) => latency::run(&home, args),
        Verb::Offer(args) => offer::run(&home, args),
        Verb::Pause => switch::run(&home, SwitchWord::Pause),
        Verb::Reduce => switch::run(&home, SwitchWord::Reduce),
        Verb::Halt => switch::run(&home, SwitchWord::Halt),
        Verb::Resume => switch::run(&home, SwitchWord::Active),
        Verb::Demo(args) => demo::run(args),
        Verb::Simulate(args) => simulate::run(args),
    }
}

/// Sends logs to standard error, at the level that `EXPRESSNET_LOG` asks for. By default that is
/// `info`; the demo tells its own story and leaves only what went wrong.
fn log_to_stderr(verb: &Option<Verb>) {
    let usual = match verb {
        Some(Verb::Demo(_)) => "error",
        Some(_) | None => "info",
    };
    let filter = EnvFilter::try_from_env("EXPRESSNET_LOG").unwrap_or_else(|_| usual.into());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    if let Err(error) = logs.try_init() {
        tracing::debug!(%error, "logs go where they went before");
    }
}
