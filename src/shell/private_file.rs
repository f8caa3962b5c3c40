//! Files that hold secrets: written whole or not at all, read only when nobody else could have.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// Columns of the effective id in the `Uid:` line of a process's status.
const EFFECTIVE_UID_COLUMN: usize = 2;

/// Why a private file was not read or written. Never names what it holds.
#[derive(Debug, Error)]
pub enum PrivateFileError {
    #[error("{path} has mode {mode:04o}, others can reach it; run: chmod {wanted:o} {path}")]
    Mode {
        path: PathBuf,
        mode: u32,
        wanted: u32,
    },
    #[error("{path} is a symbolic link; put the file itself there")]
    Symlink { path: PathBuf },
    #[error("{path} belongs to user {uid}, this process runs as {own}; run: chown {own} {path}")]
    Owner { path: PathBuf, uid: u32, own: u32 },
    #[error("{path} is not a {wanted}; move it away")]
    Kind { path: PathBuf, wanted: &'static str },
    #[error("{path} is longer than {limit} bytes; restore it from a copy")]
    TooLong { path: PathBuf, limit: usize },
    #[error("{path} was exchanged while it was opened; find out who writes there")]
    Exchanged { path: PathBuf },
    #[error("{path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("/proc/self/status does not tell as whom this process runs; mount /proc")]
    NoUid,
}

impl PrivateFileError {
    /// Tells whether the file is just not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Makes a folder that only this user can enter, or checks the one that is there.
pub fn make_folder(path: &Path) -> Result<(), PrivateFileError> {
    let io = io_at(path);
    match fs::symlink_metadata(path) {
        Ok(found) => return check_folder(path, &found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(path)
        .map_err(io_at(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(FOLDER_MODE)).map_err(io_at(path))
}

/// Checks that only this user can enter a folder.
pub fn check_home(path: &Path) -> Result<(), PrivateFileError> {
    let found = fs::symlink_metadata(path).map_err(io_at(path))?;
    check_folder(path, &found)
}

/// Writes a file of mode 0600 whole or not at all: temporary file, fsync, rename, folder fsync.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    match fs::remove_file(&temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_at(&temporary)(error)),
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&temporary)
        .map_err(io_at(&temporary))?;
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all())
        .map_err(io_at(&temporary))?;
    fs::rename(&temporary, path).map_err(io_at(path))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_at(folder))
}

/// Reads a file of at most `limit` bytes, if it is a plain file that only this user can reach.
///
/// # Errors
/// Each fault of the file names its remedy; [`PrivateFileError::is_missing`] if there is none.
pub fn read(path: &Path, limit: usize) -> Result<Vec<u8>, PrivateFileError> {
    let named = fs::symlink_metadata(path).map_err(io_at(path))?;
    if named.is_symlink() {
        return Err(PrivateFileError::Symlink {
            path: path.to_owned(),
        });
    }
    check(path, &named, FILE_MODE, "plain file")?;
    let file = File::open(path).map_err(io_at(path))?;
    let opened = file.metadata().map_err(io_at(path))?;
    if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(PrivateFileError::Exchanged {
            path: path.to_owned(),
        });
    }
    check(path, &opened, FILE_MODE, "plain file")?;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(io_at(path))?;
    if bytes.len() > limit {
        return Err(PrivateFileError::TooLong {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

fn check_folder(path: &Path, found: &Metadata) -> Result<(), PrivateFileError> {
    if found.is_symlink() {
        return Err(PrivateFileError::Symlink {
            path: path.to_owned(),
        });
    }
    check(path, found, FOLDER_MODE, "folder")
}

fn check(
    path: &Path,
    found: &Metadata,
    wanted: u32,
    kind: &'static str,
) -> Result<(), PrivateFileError> {
    let path = path.to_owned();
    if found.is_dir() != (wanted == FOLDER_MODE) || (found.is_file() == found.is_dir()) {
        return Err(PrivateFileError::Kind { path, wanted: kind });
    }
    let own = own_uid()?;
    if found.uid() != own {
        return Err(PrivateFileError::Owner {
            path,
            uid: found.uid(),
            own,
        });
    }
    let mode = found.permissions().mode() & 0o7777;
    if mode & !wanted != 0 {
        return Err(PrivateFileError::Mode { path, mode, wanted });
    }
    Ok(())
}

/// Returns the effective user id without a call that would need `unsafe`.
fn own_uid() -> Result<u32, PrivateFileError> {
    let status = fs::read_to_string("/proc/self/status").map_err(|_| PrivateFileError::NoUid)?;
    status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .and_then(|line| line.split_whitespace().nth(EFFECTIVE_UID_COLUMN))
        .and_then(|uid| uid.parse().ok())
        .ok_or(PrivateFileError::NoUid)
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> PrivateFileError {
    let path = path.to_owned();
    move |source| PrivateFileError::Io { path, source }
}
