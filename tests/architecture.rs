//! The rules of `docs/ARCHITECTURE.md` that a compiler does not know, held by `cargo test`.
//!
//! Each rule is a function from one source file to its offences. Two tests stand for each: the tree
//! has none, and a planted offence is found, for a rule that finds nothing may be a broken rule.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

use std::fs;
use std::path::Path;

/// The layers, outermost last: a module may name modules of lower layers, and itself.
const LAYERS: &[&[&str]] = &[
    &["model", "telemetry"],
    &[
        "venue",
        "book",
        "arbitrage",
        "risk",
        "execution",
        "offer",
        "settlement",
        "trust",
        "membership",
        "discovery",
        "wire",
        "journal",
        "latency",
    ],
    &["config"],
    &["node"],
    &["sim", "shell"],
    &["cli"],
];

/// What reaches the machine or the network; only the modules in `WORLDLY` may.
const WORLD: &[&str] = &[
    "tokio",
    "quinn",
    "reqwest",
    "rusqlite",
    "rustix",
    "hyper",
    "axum",
    "getrandom",
    "std::fs",
    "std::io::std",
    "std::env",
    "std::process",
    "std::thread",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::unix::net",
    "std::time",
    "async fn",
];
/// Words of `WORLD` that begin a longer name.
const PREFIXES: &[&str] = &["std::net::Tcp", "std::net::Udp", "std::io::std"];
const WORLDLY: &[&str] = &["shell", "cli"];

/// Values that prove a check, with the only places whose code may make them: the folder that makes
/// the check, and tests that need such a value.
const SEALED: &[(&str, &[&str])] = &[
    ("LiveBook::seal(", &["src/book/"]),
    (
        "Approved::seal(",
        &["src/risk/", "src/venue/conformance.rs"],
    ),
    (
        ".seal_verified(",
        &["src/membership/", "src/node/peernet.rs"],
    ),
];

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;

/// One source file with its path from the top of the project.
struct Source {
    path: String,
    text: String,
}

type Rule = fn(&Source) -> Vec<String>;

#[test]
fn a_module_names_lower_layers_only() {
    holds(layers);
    catches(layers, "src/venue/a.rs", "use crate::book::Book;");
    catches(layers, "src/node/a.rs", "fn a() -> crate::shell::Mesh {}");
    catches(layers, "src/sim/a.rs", "use crate::{cli, model};");
    catches(layers, "src/mystery/a.rs", "use crate::model::Price;");
    passes(layers, "src/node/a.rs", "use crate::{membership, venue};");
    passes(
        layers,
        "src/venue/a.rs",
        "use crate::venue::b; // crate::book",
    );
}

#[test]
fn only_shell_and_cli_touch_the_world() {
    holds(world);
    catches(world, "src/book/a.rs", "let a = std::fs::read(path);");
    catches(world, "src/node/a.rs", "async fn a() {}");
    passes(world, "src/shell/a.rs", "use std::fs;");
    passes(world, "src/book/a.rs", "/// Unlike std::fs, this is pure.");
}

#[test]
fn every_queue_has_a_limit() {
    holds(queues);
    catches(
        queues,
        "src/shell/a.rs",
        "let (a, b) = mpsc::unbounded_channel();",
    );
    catches(
        queues,
        "src/shell/a.rs",
        "let (a, b) = std::sync::mpsc::channel();",
    );
    passes(queues, "src/shell/a.rs", "let (a, b) = oneshot::channel();");
    passes(
        queues,
        "src/shell/a.rs",
        "use tokio::sync::mpsc;\nlet (a, b) = mpsc::channel(16);",
    );
}

#[test]
fn imports_are_spelled_so_that_the_layers_show() {
    holds(imports);
    catches(imports, "src/book/a.rs", "use super::Book;");
    catches(imports, "src/book/a.rs", "use super::*;");
    catches(imports, "src/book/a.rs", "use crate::model::number::*;");
    passes(
        imports,
        "src/book/a.rs",
        "#[cfg(test)]\nmod tests {\n    use super::*;\n}",
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    holds(module_doc);
    catches(module_doc, "src/book/a.rs", "use std::fmt;");
    passes(module_doc, "src/book/a.rs", "//! A book.");
}

#[test]
fn a_sealed_value_is_made_in_one_place() {
    holds(seals);
    catches(
        seals,
        "src/arbitrage/a.rs",
        "let book = LiveBook::seal(market);",
    );
    catches(seals, "src/book/a.rs", "let order = Approved::seal(order);");
    passes(seals, "src/book/a.rs", "let book = LiveBook::seal(market);");
}

#[test]
fn functions_and_files_stay_readable() {
    holds(lengths);
    let long = format!("fn a() {{\n{}}}\n", "    b();\n".repeat(FUNCTION_LINES_MAX));
    catches(lengths, "src/book/a.rs", &long);
    let within = format!(
        "impl A {{\n    pub(super) async fn a() {{\n{}    }}\n}}\n",
        "        b();\n".repeat(80)
    );
    catches(lengths, "src/shell/a.rs", &within);
    catches(lengths, "src/book/a.rs", &"//\n".repeat(FILE_LINES_MAX + 1));
    passes(
        lengths,
        "src/book/a.rs",
        &"fn a() {\n    b();\n}\n".repeat(50),
    );
}

#[test]
fn nothing_is_left_for_later() {
    holds(leftovers);
    catches(leftovers, "src/book/a.rs", concat!("// TO", "DO: think"));
    catches(leftovers, "src/book/a.rs", concat!("FIX", "ME"));
    passes(leftovers, "src/book/a.rs", "// A note that holds.");
}

fn layers(source: &Source) -> Vec<String> {
    let Some(module) = module_of(source) else {
        return Vec::new();
    };
    let Some(own) = layer_of(module) else {
        return vec![format!("{}: {module} stands in no layer", source.path)];
    };
    let is_below = |named: &str| layer_of(named).is_some_and(|layer| layer < own);
    offences(source, |code| {
        let foreign = named_modules(code).into_iter();
        let mut foreign = foreign.filter(|named| *named != module && !is_below(named));
        foreign
            .next()
            .map(|named| format!("{module} may not name {named}"))
    })
}

fn world(source: &Source) -> Vec<String> {
    let Some(module) = module_of(source) else {
        return Vec::new();
    };
    if WORLDLY.contains(&module) {
        return Vec::new();
    }
    offences(source, |code| {
        let word = WORLD.iter().find(|word| contains_word(code, word))?;
        Some(format!(
            "`{word}` touches the world, which {module} may not"
        ))
    })
}

fn queues(source: &Source) -> Vec<String> {
    offences(source, |code| {
        let without_limit = code.replace("oneshot::channel()", "");
        let is_endless = code.contains("unbounded") || without_limit.contains("channel()");
        is_endless.then(|| "a queue without a limit".to_owned())
    })
}

fn imports(source: &Source) -> Vec<String> {
    let tests = source
        .text
        .find("#[cfg(test)]")
        .unwrap_or(source.text.len());
    let tests = source.text[..tests].lines().count();
    numbered(source)
        .filter_map(|(line, code)| {
            let is_test_glob = line > tests && code.trim() == "use super::*;";
            let is_hidden = code.contains("super::") && !is_test_glob;
            let is_glob = code.trim_start().starts_with("use ") && code.contains("::*");
            (is_hidden || (is_glob && !is_test_glob))
                .then(|| format!("{}:{line}: spell it `crate::stage::Item`", source.path))
        })
        .collect()
}

fn module_doc(source: &Source) -> Vec<String> {
    match source.text.starts_with("//! ") {
        true => Vec::new(),
        false => vec![format!("{}: begins without a module doc", source.path)],
    }
}

fn seals(source: &Source) -> Vec<String> {
    offences(source, |code| {
        let (seal, homes) = SEALED.iter().find(|(seal, _)| code.contains(seal))?;
        let is_home = homes.iter().any(|home| source.path.starts_with(home));
        (!is_home).then(|| format!("`{seal}` belongs to {}", homes.join(", ")))
    })
}

/// Measures functions by the layout of rustfmt: a body ends with a brace at the depth of its `fn`.
fn lengths(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let lines: Vec<&str> = source.text.lines().collect();
    if lines.len() > FILE_LINES_MAX {
        found.push(format!(
            "{}: {} lines in one file",
            source.path,
            lines.len()
        ));
    }
    for (start, line) in lines.iter().enumerate() {
        let depth = line.len() - line.trim_start().len();
        if !opens_function(line.trim_start()) || !has_body(&lines[start..]) {
            continue;
        }
        let end = format!("{}}}", " ".repeat(depth));
        let length = lines[start..]
            .iter()
            .position(|line| *line == end)
            .unwrap_or(0)
            + 1;
        if length > FUNCTION_LINES_MAX {
            let start = start + 1;
            found.push(format!(
                "{}:{start}: a function of {length} lines",
                source.path
            ));
        }
    }
    found
}

fn leftovers(source: &Source) -> Vec<String> {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let lines = source.text.lines().enumerate();
    lines
        .filter(|(_, line)| words.iter().any(|word| contains_word(line, word)))
        .map(|(index, _)| format!("{}:{}: left for later", source.path, index + 1))
        .collect()
}

/// Asserts that a rule finds nothing in the tree.
#[track_caller]
fn holds(rule: Rule) {
    let sources = sources();
    assert!(sources.len() > 20, "the tree was not read");
    let found: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Asserts that a rule finds a planted offence.
#[track_caller]
fn catches(rule: Rule, path: &str, text: &str) {
    assert!(!rule(&planted(path, text)).is_empty(), "missed: {text}");
}

/// Asserts that a rule lets a text pass.
#[track_caller]
fn passes(rule: Rule, path: &str, text: &str) {
    let found = rule(&planted(path, text));
    assert!(found.is_empty(), "{found:?}");
}

fn planted(path: &str, text: &str) -> Source {
    Source {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

fn offences(source: &Source, judge: impl Fn(&str) -> Option<String>) -> Vec<String> {
    numbered(source)
        .filter_map(|(line, code)| {
            let offence = judge(code)?;
            Some(format!("{}:{line}: {offence}", source.path))
        })
        .collect()
}

/// Yields every line from 1 without its comment.
fn numbered(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let code = |line: &'_ str| line.find("//").unwrap_or(line.len());
    let lines = source.text.lines().enumerate();
    lines.map(move |(index, line)| (index + 1, &line[..code(line)]))
}

/// Returns the modules that a line names after `crate::`, in braces too.
fn named_modules(code: &str) -> Vec<&str> {
    let mut named = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default(),
            None => rest.split(',').next().unwrap_or_default(),
        };
        for path in list.split(',') {
            let path = path.trim();
            let end = path.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
            let name = &path[..end.unwrap_or(path.len())];
            let is_module = name.starts_with(|first: char| first.is_ascii_lowercase());
            if is_module && name != "self" {
                named.push(name);
            }
        }
    }
    named
}

fn contains_word(text: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        let ends = word.ends_with(is_part) && !PREFIXES.contains(&word);
        let goes_on = ends && after.is_some_and(is_part);
        !before.is_some_and(is_part) && !goes_on
    })
}

fn opens_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let qualifiers = ["pub", "const", "async", "pub(super)", "pub(crate)"];
    let first = words.find(|word| !qualifiers.contains(word) && !word.starts_with("pub("));
    first == Some("fn")
}

/// Tells a function from its mere declaration in a trait.
fn has_body(lines: &[&str]) -> bool {
    let mut ends = lines.iter().map(|line| line.trim_end());
    ends.find(|line| line.ends_with([';', '{', '}']))
        .is_some_and(|line| !line.ends_with(';'))
}

/// Returns the top-level module of a file; `main.rs` and `lib.rs` have none and may name all.
fn module_of(source: &Source) -> Option<&str> {
    let (module, _) = source.path.strip_prefix("src/")?.split_once('/')?;
    Some(module)
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn sources() -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    let mut folders = vec![top.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(top).unwrap().display().to_string();
                sources.push(Source { path, text });
            }
        }
    }
    sources
}
