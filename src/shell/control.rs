//! The control socket: one line of JSON in, lines of JSON out, an empty line at the end.
//!
//! ```text
//! client ── request line ──▶ connection task ── ControlSink::command(number, …) ──▶ driver
//!        ◀── answer lines, empty line ── queue ◀── ControlHandle::answer(number, …) ──┘
//! ```
//! The socket lies in the node's home (folder 0700, socket 0600), so only the owner's account gets
//! here. Tasks run on the core thread's `LocalSet`.

mod client;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

use crate::model::ids::CommandNo;
use crate::node::command::CommandError;
use crate::node::input::Command;
use crate::node::report::{Refusal, SCHEMA};
pub use crate::shell::control::client::{AskError, ask, ask_each};

/// Bytes in the longest request line, its newline included.
pub const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// Clients served at once; one more is told so and closed.
pub const CONNECTIONS_MAX: usize = 16;
/// Answer lines that may wait for a slow client; one more ends its answer early.
pub const ANSWER_LINES_MAX: usize = 1_024;
/// A client must have sent its request by then.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);
/// The node must have said something new by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// A client must have read a line by then.
const READ_WITHIN: Duration = Duration::from_secs(5);
const SOCKET: &str = "control.sock";

/// What the socket tells the driver. The call returns at once; the answer may begin meanwhile.
pub trait ControlSink {
    fn command(&self, number: CommandNo, command: Command);

    /// Whoever gave this command listens no more, though its answer has not ended.
    fn gone(&self, _number: CommandNo) {}
}

/// Why the socket cannot be opened.
#[derive(Debug, Error)]
pub enum ControlError {
    #[error("{}: a node is running in this home; stop it first", path.display())]
    InUse { path: PathBuf },
    #[error("{}: not a socket, so it is left alone; move it away", path.display())]
    Foreign { path: PathBuf },
    #[error("{}: the path is too long for a socket; use a home with a shorter one", path.display())]
    PathTooLong { path: PathBuf },
    #[error("{}: control socket", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The way back to whoever asked. Dropping it closes the socket and removes it.
#[derive(Debug)]
pub struct ControlHandle {
    answers: Answers,
    path: PathBuf,
    listener: AbortHandle,
}

type Answers = Rc<RefCell<BTreeMap<CommandNo, mpsc::Sender<AnswerLine>>>>;

/// One line of an answer.
#[derive(Debug)]
enum AnswerLine {
    More(Vec<u8>),
    Last(Vec<u8>),
}

impl ControlHandle {
    /// Opens the socket in a home and serves it on the current `LocalSet`.
    ///
    /// # Errors
    /// A node answers there already, or the file system refuses.
    pub fn serve(home: &Path, sink: Rc<dyn ControlSink>) -> Result<Self, ControlError> {
        let path = home.join(SOCKET);
        if path.as_os_str().len() > SOCKET_PATH_LEN_MAX {
            return Err(ControlError::PathTooLong { path });
        }
        let io_error = |source| ControlError::Io {
            path: path.clone(),
            source,
        };
        fs::set_permissions(home, Permissions::from_mode(0o700)).map_err(io_error)?;
        remove_stale(&path)?;
        let socket = UnixListener::bind(&path).map_err(io_error)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(io_error)?;
        let answers = Answers::default();
        let server = Server {
            sink,
            answers: Rc::clone(&answers),
            next: Rc::new(Cell::new(CommandNo(1))),
            open: Rc::new(()),
        };
        let listener = spawn_local(server.accept(socket)).abort_handle();
        Ok(Self {
            answers,
            path,
            listener,
        })
    }

    /// Sends one line of an answer. A line for a client that has gone is dropped, and a client
    /// that lets [`ANSWER_LINES_MAX`] lines wait is cut off.
    pub fn answer(&self, number: CommandNo, line: &[u8], last: bool) {
        let mut answers = self.answers.borrow_mut();
        let Some(queue) = answers.get(&number) else {
            return;
        };
        let line = match last {
            false => AnswerLine::More(line.to_vec()),
            true => AnswerLine::Last(line.to_vec()),
        };
        if queue.try_send(line).is_err() || last {
            answers.remove(&number);
        }
    }
}

/// `sockaddr_un` on Linux has room for 107 bytes and a zero.
const SOCKET_PATH_LEN_MAX: usize = 107;

impl Drop for ControlHandle {
    fn drop(&mut self) {
        self.listener.abort();
        drop(fs::remove_file(&self.path));
    }
}

/// Removes a socket that a node left behind, and nothing else.
fn remove_stale(path: &Path) -> Result<(), ControlError> {
    let io_error = |source| ControlError::Io {
        path: path.to_owned(),
        source,
    };
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(ControlError::InUse {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            use std::os::unix::fs::FileTypeExt;
            let kind = fs::symlink_metadata(path).map_err(io_error)?.file_type();
            if !kind.is_socket() {
                return Err(ControlError::Foreign {
                    path: path.to_owned(),
                });
            }
            fs::remove_file(path).map_err(io_error)
        }
        Err(source) => Err(io_error(source)),
    }
}

/// What every connection task needs.
#[derive(Clone)]
struct Server {
    sink: Rc<dyn ControlSink>,
    answers: Answers,
    next: Rc<Cell<CommandNo>>,
    /// Held once by each open connection.
    open: Rc<()>,
}

impl Server {
    async fn accept(self, socket: UnixListener) {
        loop {
            let Ok((stream, _)) = socket.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let held_here = 1;
            if Rc::strong_count(&self.open) - held_here >= CONNECTIONS_MAX {
                let line = refusal("too many clients at once; ask again later");
                drop(stream.try_write(&line));
                continue;
            }
            spawn_local(self.clone().serve(stream));
        }
    }

    async fn serve(self, stream: UnixStream) {
        let (read, mut write) = stream.into_split();
        let line = match timeout(REQUEST_WITHIN, request_line(read)).await {
            Ok(Ok(line)) => line,
            Ok(Err(why)) => {
                send(&mut write, &refusal(&why)).await;
                return;
            }
            Err(_) => {
                send(&mut write, &refusal("no whole request came in time")).await;
                return;
            }
        };
        match Command::parse(&line) {
            Ok(command) => self.answer(command, &mut write).await,
            Err(error) => {
                send(&mut write, &refusal(&chain(&error))).await;
            }
        }
    }

    async fn answer(&self, command: Command, write: &mut OwnedWriteHalf) {
        let number = self.next.replace(self.next.get().next());
        let (queue, mut lines) = mpsc::channel(ANSWER_LINES_MAX);
        self.answers.borrow_mut().insert(number, queue);
        self.sink.command(number, command);
        if !self.carry(&mut lines, write).await {
            self.sink.gone(number);
        }
        self.answers.borrow_mut().remove(&number);
    }

    /// Carries an answer to its client; false where it ended early.
    async fn carry(
        &self,
        lines: &mut mpsc::Receiver<AnswerLine>,
        write: &mut OwnedWriteHalf,
    ) -> bool {
        loop {
            let (mut line, last) = match timeout(ANSWER_WITHIN, lines.recv()).await {
                Ok(Some(AnswerLine::More(line))) => (line, false),
                Ok(Some(AnswerLine::Last(line))) => (line, true),
                Ok(None) => return false,
                Err(_) => {
                    send(write, &refusal("the node did not answer in time")).await;
                    return false;
                }
            };
            if !line.is_empty() {
                line.push(b'\n');
            }
            if last {
                line.push(b'\n');
            }
            if !send(write, &line).await {
                return false;
            }
            if last {
                return true;
            }
        }
    }
}

async fn request_line(read: OwnedReadHalf) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    let mut read = BufReader::new(read.take(REQUEST_BYTES_MAX));
    let read = read.read_until(b'\n', &mut line).await;
    read.map_err(|error| error.to_string())?;
    match line.pop() {
        Some(b'\n') => Ok(line),
        Some(_) => Err(format!(
            "a request is one line of at most {REQUEST_BYTES_MAX} bytes"
        )),
        None => Err("no request came".to_owned()),
    }
}

/// Returns false where the client has gone or does not read.
async fn send(write: &mut OwnedWriteHalf, bytes: &[u8]) -> bool {
    matches!(
        timeout(READ_WITHIN, write.write_all(bytes)).await,
        Ok(Ok(()))
    )
}

fn refusal(why: &str) -> Vec<u8> {
    let refusal = Refusal {
        schema: SCHEMA,
        error: why.to_owned(),
    };
    let mut line = serde_json::to_vec(&refusal).unwrap_or_default();
    line.extend_from_slice(b"\n\n");
    line
}

fn chain(error: &CommandError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
