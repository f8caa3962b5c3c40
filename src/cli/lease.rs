//! `expressnet exit`: who speaks for the peernet, and letting somebody else.

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::node;
use crate::cli::screen::{self, Format};
use crate::node::command::Request;
use crate::node::report::ExitReport;

/// Arguments of `exit`.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:\n  expressnet exit show --json\n  expressnet exit release")]
pub enum Args {
    /// Show the nodes that have signed one roster, and which of them may speak.
    Show {
        #[command(flatten)]
        format: Format,
    },
    /// Give the lease back; this node does not ask for it for ten seconds.
    Release,
}

/// Shows or gives back the lease.
///
/// # Errors
/// No node answers, or this one does not speak.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    match args {
        Args::Show { format } => node::read(home, &Request::ExitShow {}, *format, show),
        Args::Release => node::order(home, &Request::ExitRelease {}),
    }
}

fn show(report: &ExitReport) -> Result<(), CliError> {
    let peernet = report.peernet.as_deref().unwrap_or("none yet");
    screen::line(&format!("peernet   {peernet}"))?;
    screen::line(&format!("roster    {}", screen::or_dash(report.version)))?;
    let exit = match (&report.exit, report.speaks) {
        (_, true) => "this node".to_owned(),
        (Some(exit), false) => format!("{exit} is promised the lease"),
        (None, false) => "nobody".to_owned(),
    };
    screen::line(&format!("exit      {exit}"))?;
    screen::line(&format!(
        "token     {}",
        screen::or_dash(report.token.as_ref())
    ))?;
    screen::line(&format!(
        "standing  {}",
        screen::or_dash(report.standing.as_ref())
    ))?;
    if let Some(trouble) = &report.trouble {
        screen::line(&format!("trouble   {trouble}"))?;
    }
    screen::line("")?;
    let rows: Vec<[String; 3]> = report
        .members
        .iter()
        .map(|member| {
            let linked = if member.linked { "yes" } else { "no" };
            [member.id.clone(), member.name.clone(), linked.to_owned()]
        })
        .collect();
    screen::table(["node", "name", "linked"], &rows, "no roster is signed yet")
}
