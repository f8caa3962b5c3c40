//! `expressnet latency serve`: a node that answers the probes of its listed peers, within their
//! quota, and nothing else: it has no venue, takes no leg, answers and relays no offer.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context;

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::run::{foreground, seed};
use crate::shell::boot::{Rehearsal, Start};
use crate::shell::clock::Clock;
use crate::shell::echo::{self, ALLOWED_MAX};

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The home is as for `run`: make it with `expressnet init`, exchange cards with \
`expressnet id` and `expressnet peer add`.\n\nExamples:\n  expressnet latency serve\n  \
expressnet latency serve --echo 0.0.0.0:7412 --allow 192.0.2.10"
)]
pub struct Args {
    /// Answer plain datagrams here as well, from the addresses that are allowed.
    #[arg(long, value_name = "ADDR:PORT", requires = "allow")]
    pub echo: Option<SocketAddr>,
    /// An address whose plain datagrams are answered; may be repeated.
    #[arg(long, value_name = "IP", requires = "echo")]
    pub allow: Vec<IpAddr>,
}

/// Runs until it is told to stop.
///
/// # Errors
/// The configuration is not valid, the home is in use, or an address is taken.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    if args.allow.len() > ALLOWED_MAX {
        let text = format!("at most {ALLOWED_MAX} addresses can be allowed");
        return Err(CliError::usage(text));
    }
    let loaded = home.config()?;
    if let Some(listen) = args.echo {
        let address = echo::respond(listen, &args.allow, Clock::start())
            .with_context(|| format!("{listen}: no datagrams there"))?;
        tracing::info!(%address, "answering plain datagrams");
    }
    foreground(Start {
        home: home.path.clone(),
        config: loaded.config.for_responder(),
        crash: None,
        seed: seed()?,
        rehearsal: Rehearsal::default(),
    })
}
