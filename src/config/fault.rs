//! What is wrong with a configuration: where, at which key, why, and what to do about it.

use std::fmt;

use thiserror::Error;

use crate::config::{FAULTS_MAX, FILE_BYTES_MAX};

/// Everything that is wrong with one file, in the order of the file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub struct ConfigFaults {
    pub faults: Vec<Fault>,
}

/// One fault. Prints as `file:line:column: key.path: fault; remedy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted in characters from 1.
    pub column: usize,
    /// Empty where the fault lies in the file as a whole.
    pub key: String,
    pub reason: Reason,
}

/// Why a value is not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Reason {
    #[error("longer than {FILE_BYTES_MAX} bytes")]
    FileTooLong,
    #[error("not UTF-8 text")]
    NotUtf8,
    #[error("not TOML: {0}")]
    Syntax(String),
    #[error("unknown key `{key}`")]
    UnknownKey {
        key: String,
        nearest: Option<String>,
    },
    #[error("missing")]
    Missing { example: &'static str },
    #[error("{wanted} belongs here, not {found}")]
    Kind {
        wanted: &'static str,
        found: &'static str,
    },
    #[error("`{found}` is not {wanted}")]
    Value {
        found: String,
        wanted: &'static str,
        example: &'static str,
    },
    #[error("`{found}`: {why}")]
    Amount { found: String, why: String },
    #[error("`{found}` lies outside {low} to {high}")]
    Range {
        found: String,
        low: String,
        high: String,
    },
    #[error("more than {entries_max} entries")]
    TooMany { entries_max: usize },
    #[error("`{0}` stands here twice")]
    Twice(String),
    #[error("unknown {what} `{found}`")]
    Unknown {
        what: &'static str,
        found: String,
        known: Vec<String>,
    },
    #[error("no limit for {what}, which is traded; an unset limit allows nothing")]
    NoLimit { what: String, example: String },
    #[error("{why}")]
    Conflict { why: String, remedy: &'static str },
}

impl ConfigFaults {
    /// Puts faults into the order of the file and keeps the first hundred.
    pub(super) fn sorted(mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        faults.truncate(FAULTS_MAX);
        Self { faults }
    }

    pub(super) fn one(file: &str, reason: Reason) -> Self {
        let faults = vec![Fault {
            file: file.to_owned(),
            line: 1,
            column: 1,
            key: String::new(),
            reason,
        }];
        Self { faults }
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(formatter, "{end}{fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            key,
            reason,
        } = self;
        write!(formatter, "{file}:{line}:{column}: ")?;
        if !key.is_empty() {
            write!(formatter, "{key}: ")?;
        }
        write!(formatter, "{reason}")?;
        match reason.remedy() {
            Some(remedy) => write!(formatter, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl Reason {
    /// Returns what the owner can do about it, where that does not follow from the fault itself.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::FileTooLong => Some("is this the right file?".to_owned()),
            Self::NotUtf8 => Some("save the file as UTF-8".to_owned()),
            Self::UnknownKey { nearest, .. } => Some(match nearest {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => "remove it; config/node.toml shows every key".to_owned(),
            }),
            Self::Missing { example } | Self::Value { example, .. } => {
                Some(format!("write for example {example}"))
            }
            Self::Unknown { found, known, .. } => Some(match nearest(found, known) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None if known.is_empty() => "none is known here".to_owned(),
                None => format!("known: {}", known.join(", ")),
            }),
            Self::NoLimit { example, .. } => {
                Some(format!("add {example}, or \"0\" to forbid it on purpose"))
            }
            Self::Conflict { remedy, .. } => Some((*remedy).to_owned()),
            Self::Twice(_) => Some("remove one of them".to_owned()),
            Self::TooMany { .. } => Some("split it over several nodes".to_owned()),
            Self::Syntax(_) | Self::Kind { .. } | Self::Amount { .. } | Self::Range { .. } => None,
        }
    }
}

/// Returns the known word that a typing slip most likely meant.
pub(super) fn nearest<W: AsRef<str>>(found: &str, known: &[W]) -> Option<String> {
    known
        .iter()
        .map(AsRef::as_ref)
        .map(|word| (strsim::damerau_levenshtein(found, word), word))
        .min()
        .filter(|(slips, word)| *slips <= SLIPS_MAX && *slips < word.chars().count())
        .map(|(_, word)| word.to_owned())
}

/// Letters that may be wrong, missing or swapped for a word still to be suggested.
const SLIPS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_prints_its_place_its_key_and_its_remedy() {
        let fault = Fault {
            file: "node.toml".to_owned(),
            line: 7,
            column: 3,
            key: "risk.oder_max".to_owned(),
            reason: Reason::UnknownKey {
                key: "risk.oder_max".to_owned(),
                nearest: nearest("oder_max", &["collar", "order_max"]),
            },
        };
        assert_eq!(
            fault.to_string(),
            "node.toml:7:3: risk.oder_max: unknown key `risk.oder_max`; did you mean `order_max`?"
        );
    }

    #[test]
    fn a_word_unlike_any_known_one_suggests_nothing() {
        assert_eq!(nearest("zebra", &["collar", "order_max"]), None);
        assert_eq!(nearest("a", &["b"]), None);
    }
}
