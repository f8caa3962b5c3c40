//! The program as a user types it: what it prints, and its exit codes.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::home;

#[test]
fn alone_it_says_what_it_is_and_what_to_type_next() {
    let output = expressnet(Path::new("/nonexistent"), &[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0));
    for verb in ["expressnet demo", "expressnet init", "expressnet run"] {
        assert!(text.contains(verb), "{text}");
    }
}

#[test]
fn every_verb_has_help_with_an_example() {
    for verb in [
        "init", "id", "run", "status", "watch", "balance", "legs", "limits", "demo", "simulate",
    ] {
        let output = expressnet(Path::new("/nonexistent"), &[verb, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{verb}");
        assert!(stdout(&output).contains("Example"), "{verb}");
    }
}

#[test]
fn init_writes_a_configuration_that_checks_and_never_overwrites_it() {
    let home = home("cli-init").join("node");
    expressnet(&home, &["init"]);
    let file = home.join("node.toml");
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .starts_with("# expressnet")
    );
    let output = expressnet(&home, &["config", "check"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    fs::write(&file, "[node]\nname = \"mine\"\n").unwrap();
    assert_ne!(expressnet(&home, &["init"]).status.code(), Some(0));
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "[node]\nname = \"mine\"\n"
    );
}

#[test]
fn config_check_lists_every_fault_and_ends_with_2() {
    let home = home("cli-check");
    let file = home.join("node.toml");
    fs::write(&file, "[node]\nplaces = 0\n[risk]\noder_max = {}\n").unwrap();
    let output = expressnet(&home, &["config", "check"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout(&output), "");
    let text = stderr(&output);
    assert!(text.contains("node.toml:2:10: node.places: "), "{text}");
    assert!(text.contains("did you mean `order_max`?"), "{text}");
    fs::write(&file, [b'x', 0xFF]).unwrap();
    let output = expressnet(&home, &["config", "check"]);
    assert!(
        stderr(&output).contains("not UTF-8 text"),
        "{}",
        stderr(&output)
    );
    fs::remove_file(&file).unwrap();
    let output = expressnet(&home, &["config", "check"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("`expressnet init` writes one"));
}

#[test]
fn a_warning_ends_with_3() {
    let home = home("cli-warning");
    fs::write(home.join("node.toml"), "[offer]\nmethods = [\"SEPA\"]\n").unwrap();
    let output = expressnet(&home, &["config", "check"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stdout(&output).contains("offer.methods"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn config_show_is_json_on_request() {
    let home = home("cli-show");
    fs::write(home.join("node.toml"), "[risk]\ncollar = \"10%\"\n").unwrap();
    let output = expressnet(&home, &["config", "show", "--json"]);
    let text = stdout(&output);
    let shown: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let collar = shown
        .iter()
        .find(|shown| shown["key"] == "risk.collar")
        .unwrap();
    assert_eq!(collar["value"], "\"10%\"");
    assert_eq!(
        (&collar["origin"], &collar["line"]),
        (&"file".into(), &2.into())
    );
    let reach = shown
        .iter()
        .find(|shown| shown["key"] == "risk.envelope_reach")
        .unwrap();
    assert_eq!(reach["origin"], "default");
}

#[test]
fn without_a_node_questions_end_with_4() {
    let home = home("cli-none");
    for words in [
        &["status"][..],
        &["balance", "--json"],
        &["legs"],
        &["limits"],
        &["watch", "--once"],
        &["offer", "list"],
        &["halt"],
    ] {
        let output = expressnet(&home, words);
        assert_eq!(output.status.code(), Some(4), "{words:?}");
        assert!(
            stderr(&output).contains("`expressnet run`"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn what_is_mistyped_ends_with_2() {
    let home = home("cli-usage");
    for words in [
        &["stats"][..],
        &["offer", "new", "150BTC"],
        &["venue", "card", "nowhere"],
        &["run", "--crash-at", "envelope"],
        &["run", "--crash-at", "envelope:after"],
        &["simulate", "--seeds", "9..1"],
        &["demo", "--history", "alpha"],
        &["peer", "add", "line", "--trust", "11"],
    ] {
        let output = expressnet(&home, words);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{words:?}: {}",
            stderr(&output)
        );
    }
}

fn expressnet(home: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_expressnet"))
        .arg("--home")
        .arg(home)
        .args(words)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
