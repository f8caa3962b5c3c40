//! Tick files and recordings on disk, plain or gzip.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;

use crate::venue::history::{HistoryError, Tick, TickReader};

/// Why a tick file was not read.
#[derive(Debug, Error)]
pub enum TicksError {
    #[error("the file cannot be read")]
    Read(#[from] io::Error),
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// Reads a tick file; what begins like gzip is unpacked, whatever its name.
///
/// # Errors
/// The first bad line with its number, or the disk's own error.
pub fn read_ticks(path: &Path) -> Result<Vec<Tick>, TicksError> {
    let mut file = BufReader::new(File::open(path)?);
    let is_gzip = file.fill_buf()?.starts_with(&[0x1F, 0x8B]);
    if is_gzip {
        read_lines(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        read_lines(file)
    }
}

/// Reads a recording of documents, unpacked where it is gzip.
///
/// # Errors
/// The disk's own error, or that there is too much of it.
pub fn read_recording(path: &Path) -> io::Result<Vec<u8>> {
    const RECORDING_BYTES_MAX: u64 = 256 * 1024 * 1024;
    let mut file = BufReader::new(File::open(path)?);
    let is_gzip = file.fill_buf()?.starts_with(&[0x1F, 0x8B]);
    let mut bytes = Vec::new();
    if is_gzip {
        let packed = MultiGzDecoder::new(file);
        packed
            .take(RECORDING_BYTES_MAX + 1)
            .read_to_end(&mut bytes)?;
    } else {
        file.take(RECORDING_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > RECORDING_BYTES_MAX {
        return Err(io::Error::other("it is larger than 256 MB; split it"));
    }
    Ok(bytes)
}

/// Holds one line at a time: a file of one endless line is refused after its first few bytes.
fn read_lines(mut file: impl BufRead) -> Result<Vec<Tick>, TicksError> {
    const LINE_BYTES_READ_MAX: u64 = 2 * TickReader::LINE_BYTES_MAX as u64;
    let mut reader = TickReader::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let len = file
            .by_ref()
            .take(LINE_BYTES_READ_MAX)
            .read_until(b'\n', &mut line)?;
        if len == 0 {
            return Ok(reader.finish()?);
        }
        reader.line(&line)?;
    }
}
