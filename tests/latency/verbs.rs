//! `verify`, `compare`, `why`, `plot` and `hlog` as a user types them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use expressnet::cli::latency::artefacts;
use expressnet::latency::report::Report;
use expressnet::latency::train::Fate;
use expressnet::model::time::Span;

use crate::home;
use crate::latency::world::{Making, mesh, report};

#[test]
fn every_verb_has_help_with_an_example() {
    for verb in ["verify", "compare", "why", "plot", "hlog"] {
        let output = latency(&[verb, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{verb}");
        assert!(stdout(&output).contains("Example"), "{verb}");
    }
}

#[test]
fn a_mesh_of_signed_parts_holds_and_has_every_artefact() {
    let folder = home("latency-mesh");
    let written = artefacts::write(&mesh(), &folder).unwrap();
    let names: Vec<_> = written
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap())
        .collect();
    let expected = [
        "report.json",
        "report.txt",
        "paths.hlog",
        "percentiles.svg",
        "heatmap.svg",
    ];
    assert_eq!(names, expected);
    let file = folder.join("report.json");
    let output = latency(&["verify", path(&file)]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).ends_with("the report holds\n"));
    let text = fs::read_to_string(folder.join("report.txt")).unwrap();
    for part in [
        "frankfurt → london",
        "tokyo → newyork",
        "self: loopback p50 38.0 µs",
        "asymmetry unknown: p50 0 to 6.08 ms (clocks ± 9.00 ms)",
        "6202 km, 1.33x",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let hlog = latency(&["hlog", path(&file)]);
    let log = fs::read_to_string(folder.join("paths.hlog")).unwrap();
    assert_eq!(stdout(&hlog), log);
    let again = folder.join("again");
    let output = latency(&["plot", path(&file), "--out", path(&again)]);
    assert_eq!(output.status.code(), Some(0));
    for name in ["percentiles.svg", "heatmap.svg"] {
        let drawn = fs::read_to_string(again.join(name)).unwrap();
        assert_eq!(drawn, fs::read_to_string(folder.join(name)).unwrap());
    }
}

#[test]
fn a_forged_report_ends_with_1_and_says_what_is_wrong() {
    let folder = home("latency-forged");
    let mut fast = Making::of(0, 2).train();
    for sample in &mut fast.samples {
        if let Fate::Answered {
            replied,
            heard,
            received,
            ..
        } = &mut sample.fate
        {
            *received = sample.sent + Span::millis(15);
            *replied = *received + Span::micros(20);
            *heard = *replied + Span::millis(15);
        }
    }
    let file = save(&folder, "forged.json", &report(0, &[fast]));
    let output = latency(&["verify", path(&file)]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(
        text.contains("but the peer's own was 81000000 ns"),
        "{text}"
    );
    assert!(text.contains("faster than light in vacuum"), "{text}");
    assert!(text.ends_with("THE REPORT DOES NOT HOLD\n"), "{text}");
    let output = latency(&["verify", path(&file), "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(shown["good"], false);
    let file = save(
        &folder,
        "honest.json",
        &report(0, &[Making::of(0, 2).train()]),
    );
    let changed = fs::read_to_string(&file)
        .unwrap()
        .replacen("\"max_ns\": ", "\"max_ns\": 1", 1);
    fs::write(&file, changed).unwrap();
    let output = latency(&["verify", path(&file)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("signature does not verify"));
}

#[test]
fn compare_ends_with_1_for_a_regression_and_with_0_for_noise() {
    let folder = home("latency-compare");
    let save = |name: &str, making: Making| {
        let making = Making {
            probes: 20_000,
            ..making
        };
        save(&folder, name, &report(making.from, &[making.train()]))
    };
    let before = save("before.json", Making::of(0, 1));
    let noise = save(
        "noise.json",
        Making {
            seed: 9,
            ..Making::of(0, 1)
        },
    );
    let slower = save(
        "slower.json",
        Making {
            slower_percent: 12,
            ..Making::of(0, 1)
        },
    );
    let lossy = save(
        "lossy.json",
        Making {
            loss_percent: 2,
            ..Making::of(0, 1)
        },
    );
    let other = save("other.json", Making::of(0, 2));
    let exit = |after: &Path, more: &[&str]| {
        let words = [&["compare", path(&before), path(after)], more].concat();
        let output = latency(&words);
        (output.status.code().unwrap(), stdout(&output))
    };
    assert_eq!(exit(&noise, &[]).0, 0, "{}", exit(&noise, &[]).1);
    let (code, text) = exit(&slower, &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("WORSE"), "{text}");
    assert_eq!(exit(&slower, &["--tolerance-percent", "30"]).0, 0);
    assert_eq!(exit(&lossy, &["--json"]).0, 1);
    let (code, text) = exit(&other, &[]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("only in the report before"), "{text}");
}

#[test]
fn why_names_what_coincided() {
    let folder = home("latency-why");
    let file = save(
        &folder,
        "report.json",
        &report(0, &[Making::of(0, 1).train()]),
    );
    let text = stdout(&latency(&["why", path(&file)]));
    let stalled = text
        .lines()
        .find(|line| line.starts_with(" 1000 "))
        .unwrap();
    assert!(
        stalled.contains("congestion (1 events, the window shrank)"),
        "{text}"
    );
    assert!(stalled.contains("stall of the path or the peer"), "{text}");
    let json = stdout(&latency(&["why", path(&file), "--json"]));
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["path"], "frankfurt → london");
}

#[test]
fn what_is_no_report_ends_with_1_and_what_is_not_there_with_2() {
    let folder = home("latency-none");
    let file = folder.join("none.json");
    for verb in ["verify", "why", "plot", "hlog"] {
        assert_eq!(
            latency(&[verb, path(&file)]).status.code(),
            Some(2),
            "{verb}"
        );
    }
    fs::write(&file, "{}").unwrap();
    for verb in ["verify", "why", "plot", "hlog"] {
        let output = latency(&[verb, path(&file)]);
        assert_eq!(output.status.code(), Some(1), "{verb}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("none.json: this is no report"), "{text}");
    }
}

pub(super) fn save(folder: &Path, name: &str, report: &Report) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, report.to_json().unwrap()).unwrap();
    file
}

pub(super) fn latency(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_expressnet"))
        .args(["--home", "/nonexistent", "latency"])
        .args(words)
        .output()
        .unwrap()
}

pub(super) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(super) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
