//! The whole path in one process: two venues on loopback, five nodes of two owners.
//!
//! ```text
//!   venue alpha ── A ──┐            ┌── P1   (owner 2, pays by SEPA at its own price)
//!                 │    C ───────────┤
//!   venue beta ── B ──┘            └── P2   (owner 2, follows the book of beta)
//!   └──────── owner 1 ───────┘
//! ```
//! A and B fire legs beside their venues, as real orders over HTTP. When own funds run out the
//! remainder is offered; C hands it on to both providers and answers with their sum.

mod cast;
mod report;
mod score;
mod stage;

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tokio::time::sleep;

use crate::shell::boot::StartError;
use crate::shell::clock::Clock;
use crate::shell::demo::cast::Script;
pub use crate::shell::demo::report::{LegCounts, OrderCounts, Report};
use crate::shell::demo::score::Score;
use crate::shell::demo::stage::Stage;
use crate::shell::ticks::TicksError;
use crate::venue::serving::SetupError;

/// What to show.
#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    /// Recorded pasts of the two venues, by dialect; none for a seeded market.
    pub histories: Vec<(String, PathBuf)>,
    /// Seconds of history in one second; so that all of it is shown, without it.
    pub speed: Option<u32>,
}

/// Why there is nothing to show.
#[derive(Debug, Error)]
pub enum DemoError {
    #[error("name two histories, one for each venue")]
    Histories,
    #[error("no dialect `{0}`; `expressnet venue list` shows all")]
    Dialect(String),
    #[error("{}", file.display())]
    Ticks {
        file: PathBuf,
        #[source]
        source: TicksError,
    },
    #[error("{}: the name does not end in a currency, as mtgoxUSD.csv does", .0.display())]
    Name(PathBuf),
    #[error("the histories are of {0} and {1}; both must be of one pair")]
    Pairs(String, String),
    #[error("the histories have no day in common")]
    Apart,
    #[error("venue")]
    Venue(#[from] SetupError),
    #[error("node {name}")]
    Node {
        name: &'static str,
        #[source]
        source: Box<StartError>,
    },
    #[error("the demo's own configuration of node {name}")]
    Config {
        name: &'static str,
        #[source]
        source: crate::config::fault::ConfigFaults,
    },
    #[error("a home cannot be made")]
    Home(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How often the story looks at the nodes.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What is under way when the curtain falls has this long to end.
const QUIET_WITHIN: Duration = Duration::from_secs(12);

/// Plays the demo on the current `LocalSet` and tells the story line by line.
///
/// # Errors
/// What keeps it from being played.
pub async fn run(settings: &Settings, say: &mut dyn FnMut(&str)) -> Result<Report, DemoError> {
    let clock = Clock::start();
    let began = clock.now();
    let script = Script::write(settings)?;
    for line in script.intro() {
        say(&line);
    }
    let stage = Stage::build(&script, settings.seed).await?;
    let mut score = Score::default();
    let ends = began + script.plays;
    while clock.now() < ends && !(score.is_complete() && clock.now() >= began + script.plays_min) {
        sleep(LOOK_EVERY).await;
        score.follow(&stage, clock.now().since(began), say);
    }
    say("closing: no new plans, offers withdrawn");
    stage.close();
    let closing = clock.now();
    while !stage.is_quiet() && clock.until(closing + span(QUIET_WITHIN)) > Duration::ZERO {
        sleep(LOOK_EVERY).await;
        score.follow(&stage, clock.now().since(began), say);
    }
    let audits = stage.audit().await;
    let wall = clock.now().since(began);
    let report = Report::of(&stage, &script, &audits, wall);
    stage.stop().await;
    Ok(report)
}

fn span(duration: Duration) -> crate::model::time::Span {
    crate::model::time::Span(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
