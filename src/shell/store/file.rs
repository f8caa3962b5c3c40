//! The SQLite file of the journal: its schema, its chain of digests, its transactions.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};
use thiserror::Error;

/// Why a journal cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{}: another process uses this home; stop it, or give this one another home", path.display())]
    InUse { path: PathBuf },
    #[error("{}: not a journal of expressnet; move it away, or name another file in [store]", path.display())]
    Foreign { path: PathBuf },
    #[error(
        "{}: written by version {found} of the journal, and this program reads version {SCHEMA}; run the program that wrote it",
        path.display()
    )]
    Version { path: PathBuf, found: i32 },
    #[error(
        "{}: record {record} breaks the chain of digests; restore the file from a backup, and reconcile by hand what happened since",
        path.display()
    )]
    BrokenChain { path: PathBuf, record: i64 },
    #[error("{}: damaged; restore it from a backup, or look at a copy of it with sqlite3", path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("{}: not readable or writable", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// "XNJ1": tells our files from those of other programs.
const APPLICATION_ID: i32 = 0x584E_4A31;
const SCHEMA: i32 = 1;
const DIGEST_LEN: usize = digest::SHA256_OUTPUT_LEN;

type Digest = [u8; DIGEST_LEN];

/// Takes the lock that lets one process use a journal at a time; it ends with the process.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(beside(path, ".lock"))
        .map_err(io_error(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(io_error(path)(source)),
    }
}

/// An open journal with the digest of its last record.
#[derive(Debug)]
pub(super) struct Journal {
    connection: Connection,
    head: Digest,
}

impl Journal {
    /// Opens the file, or creates it, and reads it from end to end.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Vec<u8>>), StoreError> {
        match header(path) {
            Ok(None) => create(path)?,
            Ok(Some(header)) => check_header(path, &header)?,
            Err(source) => return Err(io_error(path)(source)),
        }
        let damaged = |source| damage(path, source);
        let connection = connect(path).map_err(damaged)?;
        let (head, bodies) = read_chain(&connection, path)?;
        let journal = Self { connection, head };
        Ok((journal, bodies))
    }

    /// Begins a transaction; dropping it undoes everything since.
    pub(super) fn begin(&mut self) -> Result<Entry<'_>, rusqlite::Error> {
        let behavior = TransactionBehavior::Immediate;
        let transaction = Transaction::new(&mut self.connection, behavior)?;
        let chained = self.head;
        Ok(Entry {
            transaction,
            head: &mut self.head,
            chained,
        })
    }
}

/// One transaction under way.
#[derive(Debug)]
pub(super) struct Entry<'j> {
    transaction: Transaction<'j>,
    head: &'j mut Digest,
    chained: Digest,
}

impl Entry<'_> {
    pub(super) fn append(&mut self, body: &[u8]) -> Result<(), rusqlite::Error> {
        self.chained = chained(&self.chained, body);
        self.transaction
            .prepare_cached("INSERT INTO journal (body, digest) VALUES (?1, ?2)")?
            .execute(params![body, self.chained])?;
        Ok(())
    }

    /// Replaces every record; the chain goes on from the last digest of the old ones.
    pub(super) fn replace(&mut self, bodies: &[Vec<u8>]) -> Result<(), rusqlite::Error> {
        self.transaction.execute("DELETE FROM journal", [])?;
        self.transaction
            .execute("UPDATE chain SET start = ?1", [self.chained])?;
        bodies.iter().try_for_each(|body| self.append(body))
    }

    pub(super) fn commit(self) -> Result<(), rusqlite::Error> {
        self.transaction
            .prepare_cached("UPDATE chain SET head = ?1")?
            .execute([self.chained])?;
        self.transaction.commit()?;
        *self.head = self.chained;
        Ok(())
    }
}

/// Reads the 100 bytes that open every SQLite file; `None` where there is no file yet.
fn header(path: &Path) -> Result<Option<Vec<u8>>, io::Error> {
    match File::open(path) {
        Ok(file) => {
            let mut header = Vec::new();
            file.take(100).read_to_end(&mut header)?;
            Ok(Some(header))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Looks at a file before SQLite does: opening one may already alter it.
///
/// # Source
/// sqlite.org/fileformat2.html, "The Database Header", read 2026-11-22: user version at byte 60,
/// application id at byte 68, big-endian.
fn check_header(path: &Path, header: &[u8]) -> Result<(), StoreError> {
    let number = |at: usize| -> Option<i32> {
        let bytes: [u8; 4] = header.get(at..at + 4)?.try_into().ok()?;
        Some(i32::from_be_bytes(bytes))
    };
    let is_sqlite = header.starts_with(b"SQLite format 3\0");
    if !is_sqlite || number(68) != Some(APPLICATION_ID) {
        return Err(StoreError::Foreign {
            path: path.to_owned(),
        });
    }
    match number(60) {
        Some(SCHEMA) => Ok(()),
        found => Err(StoreError::Version {
            path: path.to_owned(),
            found: found.unwrap_or(0),
        }),
    }
}

/// Makes an empty journal aside and moves it into place, so that a crash leaves all of it or none.
fn create(path: &Path) -> Result<(), StoreError> {
    let fresh = beside(path, ".new");
    for leftover in [fresh.clone(), beside(path, ".new-journal")] {
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(path)(error));
            }
            Ok(()) | Err(_) => (),
        }
    }
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(io_error(path))?;
    write_schema(&fresh).map_err(|source| damage(path, source))?;
    fs::rename(&fresh, path).map_err(io_error(path))?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(io_error(path))
}

fn write_schema(path: &Path) -> Result<(), rusqlite::Error> {
    let connection = Connection::open_with_flags(path, OPEN_FLAGS)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", SCHEMA)?;
    connection.execute_batch(
        "BEGIN;
         CREATE TABLE journal (
             seq INTEGER PRIMARY KEY AUTOINCREMENT,
             body BLOB NOT NULL,
             digest BLOB NOT NULL CHECK (length(digest) = 32)
         );
         CREATE TABLE chain (
             id INTEGER PRIMARY KEY CHECK (id = 1),
             start BLOB NOT NULL,
             head BLOB NOT NULL
         );
         INSERT INTO chain VALUES (1, zeroblob(32), zeroblob(32));
         COMMIT;",
    )?;
    connection.close().map_err(|(_, error)| error)
}

const OPEN_FLAGS: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, OPEN_FLAGS)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Returns the last digest and every body, oldest first, having checked each digest on the way.
fn read_chain(connection: &Connection, path: &Path) -> Result<(Digest, Vec<Vec<u8>>), StoreError> {
    let damaged = |source| damage(path, source);
    let (start, head): (Digest, Digest) = connection
        .query_row("SELECT start, head FROM chain", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .map_err(damaged)?;
    let mut statement = connection
        .prepare("SELECT seq, body, digest FROM journal ORDER BY seq")
        .map_err(damaged)?;
    let mut rows = statement.query([]).map_err(damaged)?;
    let (mut last, mut record) = (start, 0);
    let mut bodies = Vec::new();
    let broken = |record| StoreError::BrokenChain {
        path: path.to_owned(),
        record,
    };
    while let Some(row) = rows.next().map_err(damaged)? {
        record = row.get(0).map_err(damaged)?;
        let body: Vec<u8> = row.get(1).map_err(damaged)?;
        let digest: Digest = row.get(2).map_err(damaged)?;
        last = chained(&last, &body);
        if digest != last {
            return Err(broken(record));
        }
        bodies.push(body);
    }
    if last != head {
        return Err(broken(record + 1));
    }
    Ok((last, bodies))
}

fn chained(previous: &Digest, body: &[u8]) -> Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(previous);
    context.update(body);
    let mut chained = [0; DIGEST_LEN];
    chained.copy_from_slice(context.finish().as_ref());
    chained
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn damage(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            StoreError::InUse { path }
        }
        Some(rusqlite::ErrorCode::NotADatabase) => StoreError::Foreign { path },
        Some(_) | None => StoreError::Damaged { path, source },
    }
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io {
        path: path.clone(),
        source,
    }
}
