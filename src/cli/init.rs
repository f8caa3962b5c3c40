//! `expressnet init`: makes a home with a key and a paper configuration.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::exit::{CliError, Exit};
use crate::cli::home::Home;
use crate::cli::screen;
use crate::shell::identity::{Identity, OwnerSource};

/// What a new home's configuration says.
pub const TEMPLATE: &str = include_str!("../../config/node.toml");

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  expressnet init\n  expressnet init --home osaka --owner tokyo/owner.key"
)]
pub struct Args {
    /// For a further node of an owner: the owner.key of another home, copied into this one.
    #[arg(long, value_name = "FILE", conflicts_with = "vouched")]
    pub owner: Option<PathBuf>,
    /// As --owner, but the key only signs and is not kept here; this node cannot vouch for others.
    #[arg(long, value_name = "FILE")]
    pub vouched: Option<PathBuf>,
}

/// Makes what the home lacks. What exists already is never overwritten.
///
/// # Errors
/// The home is complete already (exit 5), or cannot be written.
pub fn run(home: &Home, args: &Args) -> Result<Exit, CliError> {
    make_folder(&home.path)?;
    let file = home.config_file();
    let is_new = write_config(&file)?;
    let wrote = if is_new { "wrote" } else { "kept" };
    screen::line(&format!("{wrote} {}", file.display()))?;
    let owner = match (&args.owner, &args.vouched) {
        (Some(file), _) => OwnerSource::Copied(file),
        (None, Some(file)) => OwnerSource::Vouched(file),
        (None, None) => OwnerSource::New,
    };
    let exit = if is_new { Exit::Failed } else { Exit::Refused };
    let identity =
        Identity::create(&home.path, owner).map_err(|error| CliError::new(exit, error))?;
    screen::line(&format!("made node {}", identity.node_id()))?;
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

/// Returns false where there is a configuration already.
fn write_config(path: &Path) -> Result<bool, CliError> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = match file {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        file => file.with_context(|| format!("{}: cannot be written", path.display()))?,
    };
    file.write_all(TEMPLATE.as_bytes())?;
    file.sync_all()?;
    Ok(true)
}
