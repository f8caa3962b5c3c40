//! `expressnet simulate`: seeded worlds, every invariant checked after every step.

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::ValueEnum;
use serde_json::json;

use crate::cli::exit::{CliError, Exit};
use crate::cli::screen::{Format, line};
use crate::node::Faults as Bugs;
use crate::sim::scenario::{self, Scenario};
use crate::sim::tally::Tallies;
use crate::sim::{self, Report};

/// Arguments of `simulate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  expressnet simulate --seed 7\n  \
expressnet simulate --seeds 1..500 --nodes 6 --topology mesh --json\n  \
expressnet simulate --seeds 1..100 --bug double-accept")]
pub struct Args {
    /// One world.
    #[arg(long, conflicts_with = "seeds")]
    pub seed: Option<u64>,
    /// A range of worlds, both ends included.
    #[arg(long, value_name = "FROM..TO", value_parser = seeds)]
    pub seeds: Option<RangeInclusive<u64>>,
    /// Nodes in each world; without it, from 2 to 8 by seed.
    #[arg(long, value_parser = clap::value_parser!(u16).range(2..=64))]
    pub nodes: Option<u16>,
    /// Who is linked with whom; without it, by seed.
    #[arg(long, value_enum)]
    pub topology: Option<Topology>,
    /// Virtual seconds with faults in each world.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    /// Plant a known bug, to see that the checks find it: lost-acknowledgement, double-accept,
    /// late-hold, envelope-reuse or stale-book.
    #[arg(long, value_name = "NAME", value_parser = bug)]
    pub bug: Option<Bugs>,
    /// Fail where a step of a machine or a fault occurred less often than this over all worlds.
    #[arg(long, default_value_t = 0)]
    pub coverage_min: u64,
    /// Write what every node journals, sends and tells to stderr; for one world.
    #[arg(long)]
    pub story: bool,
    #[command(flatten)]
    pub format: Format,
}

/// How nodes of a simulated world are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Topology {
    /// Two nodes and one link, however many nodes are asked for.
    Two,
    /// Each with the next.
    Line,
    /// Each with every other.
    Mesh,
}

fn seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let range = text.split_once("..").and_then(|(from, to)| {
        let range: RangeInclusive<u64> = from.parse().ok()?..=to.parse().ok()?;
        (!range.is_empty()).then_some(range)
    });
    range.ok_or_else(|| "a range is written FROM..TO, as in 1..500".to_owned())
}

fn bug(text: &str) -> Result<Bugs, String> {
    let mut bugs = Bugs::default();
    let planted = match text {
        "lost-acknowledgement" => &mut bugs.lost_acknowledgement,
        "double-accept" => &mut bugs.double_accept,
        "late-hold" => &mut bugs.late_hold,
        "envelope-reuse" => &mut bugs.envelope_reuse,
        "stale-book" => &mut bugs.stale_book,
        _ => {
            return Err(
                "a bug is lost-acknowledgement, double-accept, late-hold, envelope-reuse or stale-book"
                    .to_owned(),
            );
        }
    };
    *planted = true;
    Ok(bugs)
}

/// What a set of worlds came to.
struct Summary {
    worlds: u64,
    first: Option<Report>,
    failed: Vec<Report>,
    tallies: Tallies,
    offers_least: u64,
}

/// Runs the worlds, on every core, and prints one summary.
///
/// # Errors
/// An invariant was broken; the seed is in the text.
pub fn run(args: &Args) -> Result<Exit, CliError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the time a run took is shown, nothing follows from it"
    )]
    let started = Instant::now();
    let seeds = args
        .seeds
        .clone()
        .unwrap_or_else(|| args.seed.map_or(1..=1, |seed| seed..=seed));
    let summary = run_all(args, &seeds);
    if let Some(first) = &summary.first {
        for told in &first.story {
            crate::cli::screen::note(told)?;
        }
    }
    let thin = thin_spots(args, &summary);
    let wall_s = started.elapsed().as_millis();
    let text = render(args, &summary, &thin, wall_s);
    line(&text)?;
    let is_good = summary.failed.is_empty() && thin.is_empty();
    Ok(if is_good { Exit::Done } else { Exit::Failed })
}

fn run_all(args: &Args, seeds: &RangeInclusive<u64>) -> Summary {
    let next = AtomicU64::new(*seeds.start());
    let summary = Mutex::new(Summary {
        worlds: 0,
        first: None,
        failed: Vec::new(),
        tallies: Tallies::default(),
        offers_least: u64::MAX,
    });
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > *seeds.end() {
                        break;
                    }
                    let report = sim::run(&world(args, seed), args.bug.unwrap_or_default());
                    let Ok(mut summary) = summary.lock() else {
                        break;
                    };
                    summary.worlds += 1;
                    summary.tallies.add(&report.tallies);
                    summary.offers_least = summary.offers_least.min(report.tallies.offers);
                    if !report.violations.is_empty() {
                        summary.failed.push(report.clone());
                    }
                    if seed == *seeds.start() {
                        summary.first = Some(report);
                    }
                }
            });
        }
    });
    let mut summary = summary
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    summary.failed.sort_by_key(|report| report.seed);
    summary
}

/// Chooses the world of a seed: two nodes, a line or a mesh, in turn, with 2 to 8 nodes.
fn world(args: &Args, seed: u64) -> Scenario {
    let by_seed = [Topology::Two, Topology::Line, Topology::Mesh];
    let place = usize::try_from(seed % 3).unwrap_or(0);
    let topology = args.topology.unwrap_or(by_seed[place]);
    let by_seed = 3 + u16::try_from(seed / 3 % 6).unwrap_or(0);
    let (nodes, topology) = match topology {
        Topology::Two => (2, scenario::Topology::Mesh),
        Topology::Line => (args.nodes.unwrap_or(by_seed), scenario::Topology::Line),
        Topology::Mesh => (args.nodes.unwrap_or(by_seed), scenario::Topology::Mesh),
    };
    let mut world = scenario::standard(seed, nodes, topology, u64::from(args.seconds));
    world.tells = args.story;
    world
}

/// Offers every world of a covering set must have seen.
const OFFERS_MIN: u64 = 20;

/// Lists what occurred too seldom to be called tested.
fn thin_spots(args: &Args, summary: &Summary) -> Vec<String> {
    let tallies = &summary.tallies;
    let mut thin = Vec::new();
    if args.coverage_min == 0 {
        return thin;
    }
    for (machine, from, to, count) in tallies.transitions() {
        if count < args.coverage_min {
            thin.push(format!("{machine} {from} → {to}: {count}"));
        }
    }
    for (name, count) in &tallies.faults {
        if *count < args.coverage_min {
            thin.push(format!("fault {name}: {count}"));
        }
    }
    if summary.offers_least < OFFERS_MIN {
        thin.push(format!("offers in one world: {}", summary.offers_least));
    }
    thin.extend(tallies.undrawn());
    thin
}

fn render(args: &Args, summary: &Summary, thin: &[String], wall_ms: u128) -> String {
    let tallies = &summary.tallies;
    if args.format.json {
        let transitions: serde_json::Map<String, serde_json::Value> = tallies
            .transitions()
            .into_iter()
            .map(|(machine, from, to, count)| (format!("{machine}.{from}.{to}"), json!(count)))
            .collect();
        let failed: Vec<_> = summary
            .failed
            .iter()
            .map(|report| json!({"seed": report.seed, "violations": report.violations}))
            .collect();
        let first = summary.first.as_ref();
        return json!({
            "schema": 1,
            "worlds": summary.worlds,
            "violations": summary.failed.len(),
            "failed": failed,
            "sim_seconds": tallies.sim_seconds,
            "steps": tallies.steps,
            "plans": tallies.plans,
            "offers": tallies.offers,
            "offers_least": summary.offers_least,
            "transitions": transitions,
            "faults": tallies.faults,
            "endings": tallies.endings,
            "skipped": tallies.skipped,
            "messages": tallies.messages,
            "thin": thin,
            "trace": first.map(|report| format!("{:016x}", report.trace)),
            "wall_s": format!("{}.{:03}", wall_ms / 1_000, wall_ms % 1_000),
        })
        .to_string();
    }
    let mut text = format!(
        "{} worlds, {} simulated s, {} steps, {} plans, {} offers (least {}), {} with violations, {}.{:01} s\n",
        summary.worlds,
        tallies.sim_seconds,
        tallies.steps,
        tallies.plans,
        tallies.offers,
        summary.offers_least,
        summary.failed.len(),
        wall_ms / 1_000,
        wall_ms % 1_000 / 100,
    );
    for (machine, from, to, count) in tallies.transitions() {
        text.push_str(&format!("  {machine:6} {from:>10} → {to:10} {count:>9}\n"));
    }
    for (name, counts) in [
        ("fault", &tallies.faults),
        ("ending", &tallies.endings),
        ("skipped", &tallies.skipped),
    ] {
        for (what, count) in counts {
            text.push_str(&format!("  {name:7} {what:22} {count:>9}\n"));
        }
    }
    for report in &summary.failed {
        for violation in &report.violations {
            text.push_str(&format!("  seed {}: {violation}\n", report.seed));
        }
    }
    for spot in thin {
        text.push_str(&format!("  too seldom: {spot}\n"));
    }
    text.trim_end().to_owned()
}
