//! The journal on disk: SQLite, hash-chained, written in groups by a thread of its own.
//!
//! ```text
//! driver ── append(commit, body) ──▶ queue ──▶ thread: drain, one transaction, one fsync
//!        ◀── Progress { durable, failed } ──────┘
//! ```
//! What is reported durable survives a power cut. After one failed write nothing more is accepted:
//! a journal with a hole would be worse than a node that stops.

mod crash;
mod file;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use thiserror::Error;
use tokio::sync::watch;

pub use crate::shell::store::crash::{Crash, CrashPoint, CrashPointError, Moment};
use crate::shell::store::file::Journal;
pub use crate::shell::store::file::StoreError;

use crate::model::ids::CommitNo;

/// A handle on the journal. Dropping it writes what is queued and closes the file.
#[derive(Debug)]
pub struct Store {
    /// `None` only while it is dropped.
    jobs: Option<SyncSender<Job>>,
    progress: Arc<watch::Sender<Progress>>,
    thread: Option<JoinHandle<()>>,
    _lock: File,
}

/// Records that may wait for the disk. At the commit rate of a slow disk (100 a second, in groups)
/// this is reached only when the disk has stopped.
pub const QUEUE_RECORDS_MAX: usize = 4_096;
/// Records in one transaction, so that a long queue is still reported in steps.
pub const GROUP_RECORDS_MAX: usize = 1_024;
/// Bytes in one record.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// How far the journal is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The highest commit that is durable, and with it everything appended before.
    pub durable: CommitNo,
    /// Why nothing after `durable` will be; stays once it is set.
    pub failed: Option<String>,
}

/// Why a record was not taken. The node must treat each as a failed store.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AppendError {
    #[error("the store fell behind: {QUEUE_RECORDS_MAX} records wait for the disk")]
    Behind,
    #[error("the store has failed and takes nothing more")]
    Stopped,
    #[error("a record of more than {RECORD_BYTES_MAX} bytes")]
    TooLong,
}

#[derive(Debug)]
enum Job {
    Append {
        commit: CommitNo,
        body: Vec<u8>,
    },
    Compact {
        commit: CommitNo,
        bodies: Vec<Vec<u8>>,
    },
}

impl Store {
    /// Opens or creates the journal and returns every record in it, oldest first.
    ///
    /// # Errors
    /// In use by another process, of another program or version, unreadable, or its chain is
    /// broken. Nothing was altered then.
    pub fn open(path: &Path) -> Result<(Self, Vec<Vec<u8>>), StoreError> {
        Self::start(path, None)
    }

    /// Opens the journal for a rehearsal in which the process kills itself at the given point.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_to_crash(path: &Path, crash: Crash) -> Result<(Self, Vec<Vec<u8>>), StoreError> {
        Self::start(path, Some(crash))
    }

    /// Queues one record. It is durable once [`Progress::durable`] has reached `commit`; commits
    /// must rise.
    ///
    /// # Errors
    /// The record was not taken, and the store must not be relied on any more.
    pub fn append(&self, commit: CommitNo, body: &[u8]) -> Result<(), AppendError> {
        if body.len() > RECORD_BYTES_MAX {
            return Err(AppendError::TooLong);
        }
        self.send(Job::Append {
            commit,
            body: body.to_vec(),
        })
    }

    /// Queues the replacement of the whole journal, with everything appended before, by a
    /// checkpoint. Readers see the old journal or the new one, never a mixture.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn compact(&self, commit: CommitNo, records: &[Vec<u8>]) -> Result<(), AppendError> {
        if records.iter().any(|body| body.len() > RECORD_BYTES_MAX) {
            return Err(AppendError::TooLong);
        }
        self.send(Job::Compact {
            commit,
            bodies: records.to_vec(),
        })
    }

    /// Returns a receiver to wait on; only the latest progress is kept, so it is never behind.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    fn start(path: &Path, crash: Option<Crash>) -> Result<(Self, Vec<Vec<u8>>), StoreError> {
        let lock = file::lock(path)?;
        let (journal, bodies) = Journal::open(path)?;
        let (jobs, queue) = sync_channel(QUEUE_RECORDS_MAX);
        let progress = Arc::new(watch::Sender::new(Progress::default()));
        let writer = Writer {
            journal,
            queue,
            progress: Arc::clone(&progress),
            crash,
        };
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| StoreError::Io {
                path: path.to_owned(),
                source,
            })?;
        let store = Self {
            jobs: Some(jobs),
            progress,
            thread: Some(thread),
            _lock: lock,
        };
        Ok((store, bodies))
    }

    fn send(&self, job: Job) -> Result<(), AppendError> {
        let jobs = self.jobs.as_ref().ok_or(AppendError::Stopped)?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => AppendError::Behind,
            TrySendError::Disconnected(_) => AppendError::Stopped,
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The thread's end of the queue.
struct Writer {
    journal: Journal,
    queue: Receiver<Job>,
    progress: Arc<watch::Sender<Progress>>,
    crash: Option<Crash>,
}

impl Writer {
    fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
            let mut group = vec![first];
            while group.len() < self.group_max()
                && let Ok(job) = self.queue.try_recv()
            {
                group.push(job);
            }
            let moment = self.rehearsed(&group);
            if moment == Some(Moment::Before) {
                crash::now();
            }
            let written = self.write(&group);
            if moment == Some(Moment::After) {
                crash::now();
            }
            match written {
                Ok(()) => self.report(group.last()),
                Err(error) => {
                    let why = error.to_string();
                    // Whoever has been told of the failure finds the queue closed.
                    drop(self.queue);
                    self.progress
                        .send_modify(|progress| progress.failed = Some(why));
                    return;
                }
            }
        }
    }

    /// In a rehearsal each record is a group of its own, so that the crash is exact.
    fn group_max(&self) -> usize {
        match self.crash {
            Some(_) => 1,
            None => GROUP_RECORDS_MAX,
        }
    }

    fn rehearsed(&mut self, group: &[Job]) -> Option<Moment> {
        let crash = self.crash.as_mut()?;
        group.iter().find_map(|job| match job {
            Job::Append { body, .. } => crash.is_due(body),
            Job::Compact { .. } => None,
        })
    }

    fn write(&mut self, group: &[Job]) -> Result<(), rusqlite::Error> {
        let mut entry = self.journal.begin()?;
        for job in group {
            match job {
                Job::Append { body, .. } => entry.append(body)?,
                Job::Compact { bodies, .. } => entry.replace(bodies)?,
            }
        }
        entry.commit()
    }

    fn report(&self, last: Option<&Job>) {
        let Some(Job::Append { commit, .. } | Job::Compact { commit, .. }) = last else {
            return;
        };
        let durable = *commit;
        self.progress
            .send_modify(|progress| progress.durable = progress.durable.max(durable));
    }
}
