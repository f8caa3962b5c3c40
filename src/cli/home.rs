//! The node's folder and what lies in it.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::exit::{CliError, Exit};
use crate::config::FILE_BYTES_MAX;
use crate::config::checked::{Known, Loaded};
use crate::config::raw::text_of;
use crate::shell::boot::CONFIG_FILE;
use crate::venue::registry;

/// The folder of one node.
#[derive(Clone, Debug)]
pub struct Home {
    pub path: PathBuf,
}

impl Home {
    /// Returns the folder that was named, or else `$EXPRESSNET_HOME`, or else `~/.expressnet`.
    ///
    /// # Errors
    /// None of them is known.
    pub fn find(named: Option<&Path>) -> Result<Self, CliError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let path = match (named, set("EXPRESSNET_HOME"), set("HOME")) {
            (Some(named), _, _) => named.to_owned(),
            (None, Some(path), _) => PathBuf::from(path),
            (None, None, Some(user)) => Path::new(&user).join(".expressnet"),
            (None, None, None) => return Err(CliError::usage("no home; name one with --home DIR")),
        };
        Ok(Self { path })
    }

    /// Returns the configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.path.join(CONFIG_FILE)
    }

    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// Exit 2 with every fault of the file, or because there is none.
    pub fn config(&self) -> Result<Loaded, CliError> {
        load(&self.config_file())
    }
}

/// Reads and checks a configuration file against what this binary and machine can do.
///
/// # Errors
/// Exit 2 with every fault of the file, or because it cannot be read.
pub fn load(file: &Path) -> Result<Loaded, CliError> {
    let name = file.display().to_string();
    let bytes = read(file)
        .with_context(|| format!("{name}: not readable; `expressnet init` writes one"))
        .map_err(|error| CliError::new(Exit::Usage, error))?;
    let text = text_of(&bytes, &name)?;
    let known = Known {
        dialects: registry::VENUES,
        cores: cores(),
    };
    Ok(Loaded::parse(text, &name, &known)?)
}

/// Reads one byte more than a configuration may have, so that a longer file is told from a whole.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    fs::File::open(file)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn cores() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(cores).unwrap_or(u16::MAX)
}
