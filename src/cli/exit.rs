//! How the process ends, and what a script can tell from it.

use crate::config::fault::ConfigFaults;
use crate::shell::control::AskError;

/// The exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// Done, but something is likely not as meant.
    Warnings,
    /// No node answers.
    Unreachable,
    /// A safety rule said no.
    Refused,
}

impl Exit {
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Warnings => 3,
            Self::Unreachable => 4,
            Self::Refused => 5,
        }
    }
}

/// An error that ends the process, with its exit code.
#[derive(Debug)]
pub struct CliError {
    pub exit: Exit,
    pub error: anyhow::Error,
}

impl CliError {
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        Self { exit, error }
    }

    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(Exit::Failed, anyhow::Error::msg(text.into()))
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, anyhow::Error::msg(text.into()))
    }

    pub fn refused(text: impl Into<String>) -> Self {
        Self::new(Exit::Refused, anyhow::Error::msg(text.into()))
    }

    /// A verb whose part of the program is not in this binary.
    pub fn not_built(verb: &str) -> Self {
        Self::failed(format!("`expressnet {verb}` is not built in this binary"))
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<ConfigFaults> for CliError {
    fn from(faults: ConfigFaults) -> Self {
        Self::new(Exit::Usage, faults)
    }
}

impl From<AskError> for CliError {
    fn from(error: AskError) -> Self {
        let exit = match error {
            AskError::Unreachable { .. } => Exit::Unreachable,
            AskError::Refused(_) => Exit::Usage,
            AskError::Truncated | AskError::Io(_) | AskError::Json(_) => Exit::Failed,
        };
        Self::new(exit, error)
    }
}
