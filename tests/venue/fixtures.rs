//! Recorded documents of real exchanges, wherever they lie: every one is read, or is a refusal.
//!
//! The folder is `$EXPRESSNET_FIXTURES`, `../shared/fixtures` without it. Its first level names the
//! dialect, its second may name an exchange of it. No file is named here: whatever lies there is
//! read. Without the folder these tests say so and pass.

#![expect(clippy::print_stderr, reason = "what is skipped or read is said aloud")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use expressnet::venue::btce::style::{BTCE, STYLES, Style};
use expressnet::venue::document::{Document, NOT_BUILT, pieces_of};
use expressnet::venue::{DecodeError, Dialect, btce, mtgox, registry};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

#[test]
fn fixture_documents_of_mtgox_are_read() {
    check("mtgox", |_, bytes| mtgox::record::read_document(bytes));
}

#[test]
fn fixture_documents_of_btce_and_its_followers_are_read() {
    check("btce", |path, bytes| {
        btce::record::read_document(style_of(path), bytes)
    });
}

#[test]
fn fixture_documents_of_yobit_are_read() {
    check("yobit", |path, bytes| {
        btce::record::read_document(style_of(path), bytes)
    });
}

#[test]
fn fixture_folders_of_exchanges_not_built_yet_are_named() {
    let Some(root) = root() else { return };
    let known = ["mtgox", "btce", "yobit"];
    let mut others: Vec<String> = fs::read_dir(&root)
        .unwrap()
        .filter_map(|entry| entry.ok().filter(|entry| entry.path().is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !known.contains(&name.as_str()) && registry::find(name).is_none())
        .collect();
    others.sort();
    eprintln!("skipped, not built yet: {}", others.join(", "));
}

/// The exchange that a file is of: the folder that bears a known name, the nearest one first.
fn style_of(path: &Path) -> &'static Style {
    let names = path.iter().rev().filter_map(|part| part.to_str());
    let mut styles = names.filter_map(|name| STYLES.iter().find(|style| style.name == name));
    styles.next().copied().unwrap_or(&BTCE)
}

fn check(dialect: &str, read: impl Fn(&Path, &[u8]) -> Result<Document, DecodeError>) {
    let Some(root) = root() else { return };
    let files = files_below(&root.join(dialect));
    if files.is_empty() {
        eprintln!("SKIPPED: no files of {dialect} in {}", root.display());
        return;
    }
    let mut faults = Vec::new();
    for path in &files {
        let bytes = bytes_of(path);
        let mut pieces = 0;
        for piece in pieces_of(&bytes) {
            pieces += 1;
            match read(path, &piece) {
                Ok(document) => eprintln!("{}: {document}", path.display()),
                Err(why) => faults.push(format!("{}: {why}", path.display())),
            }
        }
        assert!(pieces > 0, "{} holds nothing", path.display());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Reads all that is recorded of an exchange whose trading is not built yet: what its feed does not
/// know is named with a count, and only that may be unknown.
pub(crate) fn documents(exchange: &str, dialect: &dyn Dialect) {
    let is_not_built = |read: &Read| *read == Err(DecodeError::Unknown);
    read_or_named(exchange, dialect, json_pieces_of, is_not_built);
}

/// The same of an exchange whose reader tells apart what is not built yet.
pub(crate) fn told_documents(exchange: &str, dialect: &dyn Dialect) {
    let is_not_built = |read: &Read| matches!(read, Ok(document) if document.kind == NOT_BUILT);
    read_or_named(exchange, dialect, pieces_of, is_not_built);
}

type Read = Result<Document, DecodeError>;

fn read_or_named(
    exchange: &str,
    dialect: &dyn Dialect,
    pieces_of: fn(&[u8]) -> Vec<Vec<u8>>,
    is_not_built: fn(&Read) -> bool,
) {
    let Some(root) = root() else { return };
    let (mut kinds, mut not_built) = (BTreeMap::new(), BTreeMap::new());
    let mut faults = Vec::new();
    for path in files_below(&root.join(exchange)) {
        let bytes = bytes_of(&path);
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for piece in pieces_of(&bytes) {
            let read = dialect.read_document(&piece);
            if is_not_built(&read) {
                let place = format!("{}/{name}", folder.to_string_lossy());
                *not_built.entry(place).or_insert(0) += 1;
                continue;
            }
            match read {
                Ok(document) => *kinds.entry(document.kind).or_insert(0) += 1,
                Err(why) => faults.push(format!("{}: {why}", path.display())),
            }
        }
    }
    eprintln!("{exchange}: {kinds:?}");
    eprintln!("{exchange}, not built yet: {not_built:?}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(!kinds.is_empty());
}

/// What a project recorded of its questions and their answers.
#[derive(Deserialize)]
struct Answered<'a> {
    #[serde(rename = "path")]
    _path: IgnoredAny,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The pieces of a recording, without the comments that some documentation has in its JSON.
fn json_pieces_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    for piece in pieces_of(bytes) {
        if let Ok(answered) = serde_json::from_slice::<Answered<'_>>(&piece) {
            pieces.push(answered.data.get().as_bytes().to_vec());
            continue;
        }
        let is_json = |bytes: &[u8]| serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
        let text = String::from_utf8_lossy(&piece);
        let without = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
        let bare: String = text.lines().map(without).collect();
        match is_json(&piece) {
            true => pieces.push(piece),
            false if is_json(bare.as_bytes()) => pieces.push(bare.into_bytes()),
            false => {
                let several = serde_json::Deserializer::from_slice(&piece).into_iter();
                let several = several.map_while(Result::ok);
                pieces.extend(several.map(|one: &RawValue| one.get().as_bytes().to_vec()));
            }
        }
    }
    pieces
}

/// Returns what an independent replay of a capture came to, by market.
pub(crate) fn expected<T: DeserializeOwned>(capture: &Path) -> BTreeMap<String, T> {
    #[derive(Deserialize)]
    struct All<'a> {
        #[serde(borrow)]
        results: BTreeMap<String, &'a RawValue>,
    }
    let root = root().unwrap();
    let name = capture.strip_prefix(&root).unwrap().display().to_string();
    let bytes = bytes_of(&root.join("EXPECTED_REPLAY.json"));
    let all: All<'_> = serde_json::from_slice(&bytes).unwrap();
    serde_json::from_str(all.results[&name].get()).unwrap()
}

pub(crate) fn bytes_of(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    if path.extension().is_none_or(|extension| extension != "gz") {
        return bytes;
    }
    let mut whole = Vec::new();
    let mut reader = MultiGzDecoder::new(&bytes[..]);
    reader.read_to_end(&mut whole).unwrap();
    whole
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => files.push(path),
            }
        }
    }
    files.sort();
    files
}

pub(crate) fn root() -> Option<PathBuf> {
    let named = std::env::var_os("EXPRESSNET_FIXTURES").map(PathBuf::from);
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures");
    let root = named.unwrap_or(default);
    if root.is_dir() {
        return Some(root);
    }
    eprintln!("SKIPPED: no fixtures in {}", root.display());
    None
}
