//! A report as text: who measured, the self line, and a row for each path.

use crate::cli::screen::layout;
use crate::latency::figure::{loss, multiple, one_way, own_line, short};
use crate::latency::physics::{self, Light};
use crate::latency::report::{Measured, Part, Report};

/// Answers below which p99.9 is no more than the slowest.
const ANSWERS_FOR_P99_9: u64 = 1_000;

/// Writes the whole report.
pub fn write(report: &Report) -> String {
    let mut lines = Vec::new();
    for part in &report.parts {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(of_part(part));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn of_part(part: &Part) -> Vec<String> {
    let header = &part.claim.header;
    let mut lines = vec![
        format!(
            "{} measured with {} on {}",
            header.name, header.program, header.kernel
        ),
        format!("clock: {}", header.clock),
        format!("self: {}", own_line(part)),
        String::new(),
    ];
    if part.claim.paths.is_empty() {
        lines.push("no path was measured".to_owned());
        return lines;
    }
    lines.extend(figures(&part.claim.paths));
    lines.push(String::new());
    lines.extend(ways(&part.claim.paths));
    lines.extend(notes(part));
    lines
}

fn figures(paths: &[Measured]) -> Vec<String> {
    let head = [
        "path",
        "probes",
        "lost",
        "refused",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "jitter",
        "reordered",
    ];
    let rows: Vec<[String; 11]> = paths.iter().map(row).collect();
    layout(head, &rows)
}

fn row(path: &Measured) -> [String; 11] {
    let counts = path.counts;
    let rtt = path.rtt.as_ref();
    let figure = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), short);
    [
        path.name(),
        counts.probes.to_string(),
        loss(counts),
        counts.refused.to_string(),
        figure(rtt.map(|rtt| rtt.p50_ns)),
        figure(rtt.map(|rtt| rtt.p90_ns)),
        figure(rtt.map(|rtt| rtt.p99_ns)),
        figure(rtt.map(|rtt| rtt.p99_9_ns)),
        figure(rtt.map(|rtt| rtt.max_ns)),
        figure(path.jitter_ns),
        counts.overtaken.to_string(),
    ]
}

fn ways(paths: &[Measured]) -> Vec<String> {
    let rows: Vec<[String; 4]> = paths
        .iter()
        .map(|path| {
            let light = physics::judge(path);
            [
                path.name(),
                one_way(&path.forward),
                one_way(&path.backward),
                light.map_or_else(|| "unknown".to_owned(), beside_light),
            ]
        })
        .collect();
    layout(["path", "there", "back", "beside light in fibre"], &rows)
}

fn beside_light(light: Light) -> String {
    let apart = format!("{} km", light.distance_m / 1_000);
    let times = light.multiple_milli.map_or_else(
        || format!("{apart}, too near to tell"),
        |milli| format!("{apart}, {}", multiple(milli)),
    );
    match light.fault {
        None => times,
        Some(fault) => format!("{times}: {} is {}", fault.figure, fault.beyond),
    }
}

fn notes(part: &Part) -> Vec<String> {
    let mut notes = Vec::new();
    for path in &part.claim.paths {
        let counts = path.counts;
        if (1..ANSWERS_FOR_P99_9).contains(&counts.answered) {
            notes.push(format!(
                "{}: {} answers are too few for p99.9, which is the slowest of them",
                path.name(),
                counts.answered
            ));
        }
        if counts.contradicted > 0 {
            notes.push(format!(
                "{}: the peer says that it held {} probes for longer than they were under way",
                path.name(),
                counts.contradicted
            ));
        }
    }
    if part.claim.left_off > 0 {
        notes.push(format!("{} trains more were left off", part.claim.left_off));
    }
    if !notes.is_empty() {
        notes.insert(0, String::new());
    }
    notes
}
