//! The files in `config/` are complete and parse.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use expressnet::config::capability::Capability;
use expressnet::config::{KEYS, Unset};
use expressnet::model::ids::NodeId;
use expressnet::model::time::Time;

use crate::config::load;

#[test]
fn every_example_parses_without_a_warning() {
    for name in [
        "node.toml",
        "lp.toml",
        "mtgox.toml",
        "btce.toml",
        "yobit.toml",
        "kraken.toml",
        "coinbase.toml",
        "bitstamp.toml",
        "binance.toml",
    ] {
        let loaded = load(&example(name));
        assert_eq!(loaded.warnings, [], "{name}");
    }
    let node = NodeId::parse("00000000-0000-8000-8000-000000000000").unwrap();
    let capability = Capability::parse(&example("live.toml"), "live.toml", node, Time::ZERO);
    assert!(capability.is_ok(), "{capability:?}");
}

/// A setting that is switched off is still checked: with all of them on, the file parses too.
#[test]
fn the_settings_that_are_switched_off_would_parse() {
    let text = switched_on(&example("node.toml")).replace("places = \"auto\"", "places = 12");
    load(&text);
}

#[test]
fn the_node_example_names_every_key() {
    let named = named_keys(&switched_on(&example("node.toml")));
    for row in KEYS
        .iter()
        .filter(|row| row.section != "live" && !row.section.is_empty())
    {
        for key in row.keys {
            let path = format!("{}.{}", row.section, key.name);
            assert!(named.contains(&path), "config/node.toml lacks {path}");
        }
    }
}

#[test]
fn the_node_example_states_each_default_as_it_is() {
    let text = example("node.toml");
    for line in text.lines() {
        let Some((name, value)) = line
            .strip_prefix('#')
            .and_then(|line| line.split_once(" = "))
        else {
            continue;
        };
        let unset: Vec<Unset> = KEYS
            .iter()
            .flat_map(|row| row.keys)
            .filter(|key| key.name == name)
            .map(|key| key.unset)
            .collect();
        if unset.is_empty() {
            continue;
        }
        let is_default = |unset: &Unset| matches!(unset, Unset::Default(_));
        let is_stated = |unset: &Unset| matches!(unset, Unset::Default(stated) if *stated == value);
        assert!(
            !unset.iter().all(is_default) || unset.iter().any(is_stated),
            "{name} = {value} is not the default {unset:?}"
        );
    }
}

fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn switched_on(text: &str) -> String {
    let on = |line: &str| -> String {
        match line.strip_prefix('#') {
            Some(rest)
                if rest.starts_with(|first: char| first.is_ascii_lowercase() || first == '[') =>
            {
                rest.to_owned()
            }
            Some(_) | None => line.to_owned(),
        }
    };
    text.lines().map(on).collect::<Vec<_>>().join("\n")
}

/// Returns the path of every key and section in the text.
fn named_keys(text: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_matches(['[', ']']).to_owned();
            named.insert(section.clone());
        } else if let Some((key, _)) = line.split_once(" = ") {
            named.insert(format!("{section}.{}", key.trim()));
            // Keys of a table within a list stand on one line.
            for inner in line
                .split(['{', ','])
                .filter_map(|part| part.split_once(" = "))
            {
                named.insert(format!("risk.venue_day_max.{}", inner.0.trim()));
            }
        }
    }
    named
}
