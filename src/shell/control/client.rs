//! The asking side of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::node::command::Request;
use crate::node::report::Refusal;
use crate::shell::control::SOCKET;

/// Bytes in the longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longer than the node itself takes to give up on an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(35);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    #[error("no node answers in {}; start one with `expressnet run`", home.display())]
    Unreachable {
        home: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the node refused the request: {0}")]
    Refused(String),
    #[error("the answer ended early")]
    Truncated,
    #[error("control socket")]
    Io(#[from] io::Error),
    #[error("request")]
    Json(#[from] serde_json::Error),
}

/// Asks the node of a home and returns the lines of its answer.
///
/// # Errors
/// No node runs there, it refused the request, or the answer did not come whole.
pub fn ask(home: &Path, request: &Request) -> Result<Vec<String>, AskError> {
    let mut lines = Vec::new();
    ask_each::<AskError>(home, request, ANSWER_BYTES_MAX, &mut |line| {
        lines.push(line);
        Ok(())
    })?;
    Ok(lines)
}

/// Asks the node of a home and hands on each line of its answer as it comes; an error of `hear`
/// ends the conversation, and the node what it does for it.
///
/// # Errors
/// As [`ask`], or what `hear` says.
pub fn ask_each<E: From<AskError>>(
    home: &Path,
    request: &Request,
    answer_bytes_max: u64,
    hear: &mut dyn FnMut(String) -> Result<(), E>,
) -> Result<(), E> {
    let stream = send(home, request)?;
    for line in BufReader::new(stream.take(answer_bytes_max)).lines() {
        let line = line.map_err(AskError::from)?;
        if line.is_empty() {
            return Ok(());
        }
        if let Ok(refusal) = serde_json::from_str::<Refusal>(&line) {
            return Err(AskError::Refused(refusal.error).into());
        }
        hear(line)?;
    }
    Err(AskError::Truncated.into())
}

/// Opens the socket and sends a request.
fn send(home: &Path, request: &Request) -> Result<UnixStream, AskError> {
    let mut stream =
        UnixStream::connect(home.join(SOCKET)).map_err(|source| AskError::Unreachable {
            home: home.to_owned(),
            source,
        })?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(stream)
}
