//! `expressnet init`: makes a home with a key and a paper configuration.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::screen;
use crate::cli::standin::{Identity, OwnerSource};

/// What a new home's configuration says.
pub const TEMPLATE: &str = include_str!("../../config/node.toml");

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  expressnet init\n  expressnet init --home tokyo --owner owner.key"
)]
pub struct Args {
    /// The owner's key file, for a further node of the same owner; without it an owner is made.
    #[arg(long, value_name = "FILE")]
    pub owner: Option<PathBuf>,
}

/// Makes the home. What exists already is never overwritten.
///
/// # Errors
/// The home has a configuration already, or cannot be written.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    make_folder(&home.path)?;
    write_config(&home.config_file())?;
    screen::line(&format!("wrote {}", home.config_file().display()))?;
    let owner = match &args.owner {
        Some(file) => OwnerSource::File(file.clone()),
        None => OwnerSource::New,
    };
    let identity = Identity::create(&home.path, &owner).map_err(anyhow::Error::from)?;
    screen::line(&format!("made node {}", identity.node()))?;
    screen::line("next: expressnet config check, then expressnet run")?;
    Ok(Exit::Done)
}

fn make_folder(path: &Path) -> Result<(), CliError> {
    if fs::metadata(path).is_ok_and(|kind| kind.is_dir()) {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("{}: cannot be made", path.display()))?;
    Ok(())
}

fn write_config(path: &Path) -> Result<(), CliError> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = match file {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let path = path.display();
            let text = format!("{path} exists and is left as it is; name another home with --home");
            return Err(CliError::refused(text));
        }
        file => file.with_context(|| format!("{}: cannot be written", path.display()))?,
    };
    file.write_all(TEMPLATE.as_bytes())?;
    file.sync_all()?;
    Ok(())
}
