//! Messages of a feed, read from the bytes of its socket: ours, a bare loop and tungstenite.
//! `benches/README.md` tells how to run and read it.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(clippy::float_arithmetic, reason = "figures of a bench are no money")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock around what it measures"
)]

mod harness;

use std::io::{self, Read, Write};

use expressnet::venue::websocket::{Frame, FrameReader};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use crate::harness::{Rounds, compare, keep, pin, report};

/// Reads a stream to its end.
type Reader = fn(&[u8]);

const MESSAGES: usize = 4_096;
/// Bytes of a message: a book update, and a long one.
const LENGTHS: [usize; 2] = [200, 2_000];
/// What one read of the socket brings.
const READ_BYTES: usize = 16 * 1024;

fn main() {
    let is_quick = !std::env::args().any(|argument| argument == "--bench");
    let rounds = Rounds(if is_quick { 3 } else { 301 });
    pin();
    let mut figures = Vec::new();
    for len in LENGTHS {
        let stream = served(len);
        let case = format!("frames_{len}_bytes");
        let read = |(): &mut ()| ours(&stream);
        let peers = [("bare loop", bare as Reader), ("tungstenite", tungstenite)];
        for (peer, theirs) in peers {
            let theirs = |(): &mut ()| theirs(&stream);
            figures.push(compare(
                &case,
                rounds,
                MESSAGES,
                (|| (), read),
                (peer, || (), theirs),
            ));
        }
    }
    report("frames", &figures);
}

/// Frames as a server writes them.
fn served(len: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..MESSAGES {
        stream.extend([0x81, 126]);
        stream.extend(u16::try_from(len).unwrap().to_be_bytes());
        stream.extend(std::iter::repeat_n(b'x', len));
    }
    stream
}

fn ours(stream: &[u8]) {
    let mut reader = FrameReader::new(1 << 20);
    let (mut rest, mut messages) = (stream, 0);
    while !rest.is_empty() {
        let space = reader.space();
        let len = rest.len().min(READ_BYTES).min(space.len());
        space[..len].copy_from_slice(&rest[..len]);
        reader.filled(len);
        rest = &rest[len..];
        while let Some(frame) = reader.poll().unwrap() {
            if let Frame::Message(bytes) = frame {
                keep(bytes);
                messages += 1;
            }
        }
    }
    assert_eq!(messages, MESSAGES);
}

/// The least that can be done: the same reads, a length and a slice, nothing checked.
fn bare(stream: &[u8]) {
    let mut buffer = vec![0; 2 * READ_BYTES];
    let (mut rest, mut end, mut messages) = (stream, 0, 0);
    while !rest.is_empty() {
        let len = rest.len().min(READ_BYTES);
        buffer[end..end + len].copy_from_slice(&rest[..len]);
        end += len;
        rest = &rest[len..];
        let mut start = 0;
        while let Some(head) = buffer[start..end].first_chunk::<4>() {
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let Some(payload) = buffer[start..end].get(4..4 + len) else {
                break;
            };
            keep(payload);
            messages += 1;
            start += 4 + len;
        }
        buffer.copy_within(start..end, 0);
        end -= start;
    }
    assert_eq!(messages, MESSAGES);
}

fn tungstenite(stream: &[u8]) {
    let mut socket = WebSocket::from_raw_socket(Served(stream), Role::Client, None);
    for _ in 0..MESSAGES {
        let Message::Text(text) = socket.read().unwrap() else {
            panic!("another message");
        };
        keep(text);
    }
}

/// A socket that has been sent everything already.
struct Served<'a>(&'a [u8]);

impl Read for Served<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(READ_BYTES);
        self.0.read(&mut into[..most])
    }
}

impl Write for Served<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
