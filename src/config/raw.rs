//! What the file says: a document with places, read key by key, collecting every fault on the way.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::fault::{ConfigFaults, Fault, Reason, nearest};
use crate::config::scalar::kind;
use crate::config::{ENTRIES_MAX, FILE_BYTES_MAX, KEYS, Key, Unset};

/// Returns the text of a file, if it can be one.
///
/// # Errors
/// Longer than [`FILE_BYTES_MAX`], or not UTF-8.
pub fn text_of<'b>(bytes: &'b [u8], file: &str) -> Result<&'b str, ConfigFaults> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(ConfigFaults::one(file, Reason::FileTooLong));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        let (line, column) = place(good, good.len());
        let mut faults = ConfigFaults::one(file, Reason::NotUtf8);
        for fault in &mut faults.faults {
            (fault.line, fault.column) = (line, column);
        }
        faults
    })
}

/// Parses a text into a document with places.
///
/// # Errors
/// Every syntax fault that the parser can tell apart.
pub(super) fn document<'t>(
    text: &'t str,
    file: &str,
) -> Result<Spanned<DeTable<'t>>, ConfigFaults> {
    text_of(text.as_bytes(), file)?;
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table);
    }
    let faults = errors
        .iter()
        .map(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let (line, column) = place(text, at);
            Fault {
                file: file.to_owned(),
                line,
                column,
                key: String::new(),
                reason: Reason::Syntax(error.message().replace('\n', ", ")),
            }
        })
        .collect();
    Err(ConfigFaults::sorted(faults))
}

/// One key as the program understood it, for `config show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The key's path, as in `risk.collar` or `venue[0].name`.
    pub key: String,
    /// The value as TOML; what its absence means where there is none.
    pub value: String,
    /// The line in the file, or `None` for a default.
    pub line: Option<usize>,
}

/// Reads one document and keeps what is wrong with it.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Fault>,
    pub(super) resolved: Vec<Resolved>,
}

/// One table of the document, or the defaults of one that the file does not have.
#[derive(Clone, Debug)]
pub(super) struct Section<'t> {
    /// With array indexes: `venue[0]`.
    path: String,
    /// Without them: `venue`.
    name: String,
    keys: &'static [Key],
    table: Option<&'t DeTable<'t>>,
    at: usize,
}

impl<'t> Section<'t> {
    /// Returns what the file says of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.and_then(|table| table.get(key))
    }

    fn key(&self, name: &str) -> &'static Key {
        let key = self.keys.iter().find(|key| key.name == name);
        key.expect("sections are read by keys of their own row in KEYS")
    }

    fn path_of(&self, key: &str) -> String {
        joined(&self.path, key)
    }

    fn new(path: String, name: String, table: Option<&'t DeTable<'t>>, at: usize) -> Self {
        let row = KEYS.iter().find(|row| row.section == name);
        let keys = row.expect("every section has a row in KEYS").keys;
        Self {
            path,
            name,
            keys,
            table,
            at,
        }
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, file: &'t str) -> Self {
        Self {
            file,
            text,
            faults: Vec::new(),
            warnings: Vec::new(),
            resolved: Vec::new(),
        }
    }

    /// Opens the document itself as the section of the given name.
    pub(super) fn open(&mut self, name: &str, table: &'t DeTable<'t>) -> Section<'t> {
        let section = Section::new(String::new(), name.to_owned(), Some(table), 0);
        self.refuse_unknown_keys(&section);
        section
    }

    /// Opens a table inside a section; where the file has none, all its keys are unset.
    pub(super) fn section(&mut self, parent: &Section<'t>, key: &str) -> Section<'t> {
        let found = parent.get(key);
        let table = found.and_then(|value| value.get_ref().as_table());
        if let (Some(value), None) = (found, table) {
            self.refuse_kind(parent.path_of(key), value, "a table");
        }
        let at = found.map_or(parent.at, |value| value.span().start);
        let section = Section::new(parent.path_of(key), joined(&parent.name, key), table, at);
        self.refuse_unknown_keys(&section);
        section
    }

    /// Opens every table of an array of tables, in order.
    pub(super) fn sections(
        &mut self,
        parent: &Section<'t>,
        key: &str,
        entries_max: usize,
    ) -> Vec<Section<'t>> {
        let Some(found) = parent.get(key) else {
            self.resolve_unset(parent, key);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, value) in self.entries(parent, key, found, entries_max).enumerate() {
            let path = format!("{}[{index}]", parent.path_of(key));
            let Some(table) = value.get_ref().as_table() else {
                self.refuse_kind(path, value, "a table");
                continue;
            };
            let name = joined(&parent.name, key);
            let section = Section::new(path, name, Some(table), value.span().start);
            self.refuse_unknown_keys(&section);
            sections.push(section);
        }
        sections
    }

    /// Reads a value; `None` where it is at fault, or unset without a default.
    pub(super) fn value<T>(
        &mut self,
        section: &Section<'t>,
        key: &'static str,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Reason>,
    ) -> Option<T> {
        let Some(found) = section.get(key) else {
            let default = self.resolve_unset(section, key)?;
            let value = DeValue::parse(default).expect("a test parses every default");
            return Some(parse(value.get_ref()).expect("a test reads every default"));
        };
        self.resolve(section.path_of(key), found);
        match parse(found.get_ref()) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.refuse(section.path_of(key), found.span().start, reason);
                None
            }
        }
    }

    /// Reads a list, keeps its good entries, and refuses an entry that stands there twice.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        section: &Section<'t>,
        key: &'static str,
        entries_max: usize,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Reason>,
    ) -> Vec<T> {
        let Some(found) = section.get(key) else {
            self.resolve_unset(section, key);
            return Vec::new();
        };
        self.resolve(section.path_of(key), found);
        let mut list = Vec::new();
        for (index, value) in self.entries(section, key, found, entries_max).enumerate() {
            let read = parse(value.get_ref()).and_then(|entry| match list.contains(&entry) {
                false => Ok(entry),
                true => Err(Reason::Twice(rendered(value.get_ref()))),
            });
            match read {
                Ok(entry) => list.push(entry),
                Err(reason) => {
                    let path = format!("{}[{index}]", section.path_of(key));
                    self.refuse(path, value.span().start, reason);
                }
            }
        }
        list
    }

    /// Reads a table whose keys are values themselves, as in `{ BTC = "50" }`.
    pub(super) fn table<K, V>(
        &mut self,
        section: &Section<'t>,
        key: &'static str,
        parse_key: impl Fn(&str) -> Result<K, Reason>,
        parse: impl Fn(&K, &DeValue<'_>) -> Result<V, Reason>,
    ) -> Vec<(K, V)> {
        let Some(found) = section.get(key) else {
            self.resolve_unset(section, key);
            return Vec::new();
        };
        let Some(table) = found.get_ref().as_table() else {
            self.refuse_kind(section.path_of(key), found, "a table");
            return Vec::new();
        };
        self.resolve(section.path_of(key), found);
        if table.len() > ENTRIES_MAX {
            let entries_max = ENTRIES_MAX;
            let reason = Reason::TooMany { entries_max };
            self.refuse(section.path_of(key), found.span().start, reason);
        }
        let mut list = Vec::new();
        for (word, value) in table.iter().take(ENTRIES_MAX) {
            let path = joined(&section.path_of(key), word.get_ref());
            match parse_key(word.get_ref()) {
                Err(reason) => self.refuse(path, word.span().start, reason),
                Ok(entry) => match parse(&entry, value.get_ref()) {
                    Err(reason) => self.refuse(path, value.span().start, reason),
                    Ok(value) => list.push((entry, value)),
                },
            }
        }
        list
    }

    /// Tells what an unset or automatic key comes to, once that is known.
    pub(super) fn settle(&mut self, section: &Section<'t>, key: &str, value: String) {
        let path = section.path_of(key);
        let shown = self.resolved.iter_mut().rev();
        for shown in shown.filter(|shown| shown.key == path) {
            shown.value.clone_from(&value);
        }
    }

    /// Refuses a key for a reason that only several values together show.
    pub(super) fn refuse_key(&mut self, section: &Section<'t>, key: &str, reason: Reason) {
        let at = section
            .get(key)
            .map_or(section.at, |value| value.span().start);
        self.refuse(section.path_of(key), at, reason);
    }

    /// Notes something that is allowed but likely not meant.
    pub(super) fn warn_key(&mut self, section: &Section<'t>, key: &str, reason: Reason) {
        let at = section
            .get(key)
            .map_or(section.at, |value| value.span().start);
        let fault = self.fault(section.path_of(key), at, reason);
        self.warnings.push(fault);
    }

    fn entries(
        &mut self,
        section: &Section<'t>,
        key: &str,
        found: &'t Spanned<DeValue<'t>>,
        entries_max: usize,
    ) -> impl Iterator<Item = &'t Spanned<DeValue<'t>>> + use<'t> {
        let array = found.get_ref().as_array();
        if array.is_none() {
            self.refuse_kind(section.path_of(key), found, "a list");
        }
        if array.is_some_and(|array| array.len() > entries_max) {
            let reason = Reason::TooMany { entries_max };
            self.refuse(section.path_of(key), found.span().start, reason);
        }
        array
            .into_iter()
            .flat_map(|array| array.iter())
            .take(entries_max)
    }

    fn refuse_unknown_keys(&mut self, section: &Section<'t>) {
        let names: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
        for (word, _) in section.table.into_iter().flatten() {
            let name: &str = word.get_ref();
            if !names.contains(&name) {
                let key = section.path_of(name);
                let nearest = nearest(name, &names);
                let reason = Reason::UnknownKey {
                    key: key.clone(),
                    nearest,
                };
                self.refuse(key, word.span().start, reason);
            }
        }
    }

    /// Notes that a key is unset; returns its default as TOML.
    fn resolve_unset(&mut self, section: &Section<'t>, key: &str) -> Option<&'static str> {
        let path = section.path_of(key);
        let (value, default) = match section.key(key).unset {
            Unset::Default(value) => (value.to_owned(), Some(value)),
            Unset::Absent(meaning) => (format!("(unset: {meaning})"), None),
            Unset::Refused(example) => {
                self.refuse(path, section.at, Reason::Missing { example });
                return None;
            }
        };
        self.resolved.push(Resolved {
            key: path,
            value,
            line: None,
        });
        default
    }

    fn resolve(&mut self, key: String, found: &Spanned<DeValue<'_>>) {
        let (line, _) = place(self.text, found.span().start);
        self.resolved.push(Resolved {
            key,
            value: rendered(found.get_ref()),
            line: Some(line),
        });
    }

    fn refuse_kind(&mut self, key: String, value: &Spanned<DeValue<'_>>, wanted: &'static str) {
        let found = kind(value.get_ref());
        self.refuse(key, value.span().start, Reason::Kind { wanted, found });
    }

    fn refuse(&mut self, key: String, at: usize, reason: Reason) {
        let fault = self.fault(key, at, reason);
        self.faults.push(fault);
    }

    fn fault(&self, key: String, at: usize, reason: Reason) -> Fault {
        let (line, column) = place(self.text, at);
        Fault {
            file: self.file.to_owned(),
            line,
            column,
            key,
            reason,
        }
    }
}

/// Returns line and column of a byte, both from 1, the column in characters.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

fn joined(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

/// Writes a value as TOML on one line.
fn rendered(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", text.as_ref()),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|entry| rendered(entry.get_ref()))
                .collect();
            format!("[{}]", entries.join(", "))
        }
        DeValue::Table(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, entry)| format!("{:?} = {}", key.get_ref(), rendered(entry.get_ref())))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}
