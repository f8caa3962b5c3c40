//! Frames of a link's stream: those that wait to leave, those that came, and how many may come.
#![expect(
    clippy::disallowed_methods,
    reason = "the allowance of a flooding peer refills with time"
)]

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Instant;

/// Bytes of one frame, without its length.
pub const FRAME_BYTES_MAX: usize = 64 * 1_024;
/// Frames and datagrams a peer may send at once and in a second; beyond, its link is closed.
pub const ALLOWANCE_MAX: u32 = 20_000;
pub const ALLOWANCE_PER_MILLI: u32 = 20;

/// Frames and bytes that may wait for a peer that reads slowly. Full: that link is closed.
pub const QUEUED_FRAMES_MAX: usize = 8_192;
pub const QUEUED_BYTES_MAX: usize = 1_024 * 1_024;
/// What each end sends first.
pub(super) const HELLO: &[u8] = b"expressnet/1 hello";

const LENGTH_BYTES: usize = 4;

/// Frames that wait until the stream takes them.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that the stream took.
    sent: usize,
    /// Where each waiting frame ends in `buffer`.
    ends: VecDeque<usize>,
}

/// Cuts a stream into frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pub(super) buffer: Vec<u8>,
    start: usize,
}

/// What a peer may still send.
#[derive(Debug)]
pub(super) struct Allowance {
    most: u32,
    per_milli: u32,
    left: Cell<u32>,
    refilled: Cell<Instant>,
}

impl Waiting {
    /// Adds a frame; false if too much waits already.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let after = self.bytes().len() + LENGTH_BYTES + bytes.len();
        if self.ends.len() >= QUEUED_FRAMES_MAX || after > QUEUED_BYTES_MAX {
            return false;
        }
        self.buffer.extend_from_slice(&length(bytes));
        self.buffer.extend_from_slice(bytes);
        self.ends.push_back(self.buffer.len());
        true
    }

    /// Returns what the stream has not taken yet.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.sent..]
    }

    /// Notes that the stream took so many bytes more.
    pub(super) fn advance(&mut self, taken: usize) {
        self.sent += taken;
        while self.ends.front().is_some_and(|&end| end <= self.sent) {
            self.ends.pop_front();
        }
        if self.sent == self.buffer.len() || self.sent > QUEUED_BYTES_MAX / 2 {
            self.buffer.drain(..self.sent);
            self.ends.iter_mut().for_each(|end| *end -= self.sent);
            self.sent = 0;
        }
    }
}

impl Frames {
    /// Returns the next whole frame, or `None` until more bytes came.
    ///
    /// # Errors
    /// The length that no frame has.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, u32> {
        let rest = &self.buffer[self.start..];
        let whole = match rest.split_first_chunk::<LENGTH_BYTES>() {
            Some((length, body)) => {
                let length = u32::from_be_bytes(*length);
                let len = usize::try_from(length).unwrap_or(usize::MAX);
                if len == 0 || len > FRAME_BYTES_MAX {
                    return Err(length);
                }
                (body.len() >= len).then_some(len)
            }
            None => None,
        };
        let Some(len) = whole else {
            self.buffer.drain(..self.start);
            self.start = 0;
            return Ok(None);
        };
        let from = self.start + LENGTH_BYTES;
        self.start = from + len;
        Ok(Some(&self.buffer[from..self.start]))
    }
}

impl Allowance {
    pub(super) fn new() -> Self {
        Self::of(ALLOWANCE_MAX, ALLOWANCE_PER_MILLI)
    }

    /// Allows `most` at once and `per_milli` more each millisecond.
    pub(super) fn of(most: u32, per_milli: u32) -> Self {
        Self {
            most,
            per_milli,
            left: Cell::new(most),
            refilled: Cell::new(Instant::now()),
        }
    }

    /// Takes one; the clock is read only when nothing seems left.
    pub(super) fn take(&self) -> bool {
        if self.left.get() == 0 {
            let passed = u32::try_from(self.refilled.get().elapsed().as_millis());
            let earned = passed.unwrap_or(u32::MAX).saturating_mul(self.per_milli);
            self.left.set(earned.min(self.most));
            self.refilled.set(Instant::now());
        }
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}

/// Returns a frame as it goes on the stream.
pub(super) fn framed(bytes: &[u8]) -> Vec<u8> {
    [&length(bytes)[..], bytes].concat()
}

/// Returns what stands before a frame.
fn length(bytes: &[u8]) -> [u8; LENGTH_BYTES] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(chunks: &[&[u8]], expected: &[&[u8]], bad: Option<u32>) {
        let mut frames = Frames::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            frames.buffer.extend_from_slice(chunk);
            loop {
                match frames.next() {
                    Ok(Some(frame)) => seen.push(frame.to_vec()),
                    Ok(None) => break,
                    Err(length) => {
                        assert_eq!(Some(length), bad);
                        return assert_eq!(seen, expected);
                    }
                }
            }
        }
        assert_eq!(
            (seen.as_slice(), bad),
            (
                &expected
                    .iter()
                    .map(|frame| frame.to_vec())
                    .collect::<Vec<_>>()[..],
                None
            )
        );
    }

    #[test]
    fn a_stream_is_cut_into_frames_wherever_it_was_cut_before() {
        check(&[b"\0\0\0\x01a\0\0\0\x02bc"], &[b"a", b"bc"], None);
        check(
            &[b"\0\0", b"\0\x01", b"a\0\0\0\x02b", b"c\0"],
            &[b"a", b"bc"],
            None,
        );
        check(&[b""], &[], None);
    }

    #[test]
    fn an_empty_or_too_long_frame_is_refused_before_its_bytes_are_awaited() {
        check(&[b"\0\0\0\0"], &[], Some(0));
        check(&[b"\0\0\0\x01a\xFF\xFF\xFF\xFF"], &[b"a"], Some(u32::MAX));
        check(&[&65_537u32.to_be_bytes()], &[], Some(65_537));
        check(&[&65_536u32.to_be_bytes()], &[], None);
    }

    #[test]
    fn an_allowance_ends_and_refills() {
        let allowance = Allowance::new();
        let taken = (0..10 * ALLOWANCE_MAX)
            .take_while(|_| allowance.take())
            .count();
        assert!(taken >= ALLOWANCE_MAX as usize && taken < 10 * ALLOWANCE_MAX as usize);
    }
}
