//! WebSocket frames as a client reads and writes them, RFC 6455 §5 (read 2026-11-23), without a
//! socket and without a copy: a message in one frame is handed out where it was received.
//!
//! Extensions are not negotiated, so every reserved bit is a fault. Text is not checked to be UTF-8:
//! whoever decodes it reads bytes without trust.

use thiserror::Error;

/// What a server may send, by opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole message, text or binary.
    Message(&'a [u8]),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    Pong,
    Close,
}

/// Why a stream is of no more use.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    #[error("a message of more than {0} bytes")]
    TooLong(usize),
    #[error("a reserved bit or opcode")]
    Reserved,
    #[error("a server's frame that is masked")]
    Masked,
    #[error("a control frame that is long or in parts")]
    Control,
    #[error("a part of a message that was not begun, or a new one within another")]
    Part,
}

/// What a client sends, by opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    Text,
    Close,
    Pong,
}

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
/// Payload of the longest control frame.
const CONTROL_BYTES_MAX: usize = 125;
/// What a read asks the socket for at least.
const READ_BYTES_MIN: usize = 16 * 1024;

/// Bytes as they came from a server, and the frames in them.
#[derive(Debug)]
pub struct FrameReader {
    bytes: Vec<u8>,
    /// What was received and not handed out yet.
    start: usize,
    end: usize,
    /// A message that comes in parts.
    parts: Vec<u8>,
    is_in_parts: bool,
    message_bytes_max: usize,
}

/// The head of a frame.
#[derive(Clone, Copy)]
struct Head {
    is_last: bool,
    opcode: u8,
    head_len: usize,
    payload_len: usize,
}

impl FrameReader {
    pub fn new(message_bytes_max: usize) -> Self {
        Self {
            bytes: vec![0; READ_BYTES_MIN],
            start: 0,
            end: 0,
            parts: Vec::new(),
            is_in_parts: false,
            message_bytes_max,
        }
    }

    /// Returns where the next bytes of the socket belong.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.bytes.len() - self.end < READ_BYTES_MIN / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.bytes.len() - self.end < READ_BYTES_MIN / 2 {
            // No frame is longer than a message, so this ends at twice that.
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Takes note that so many bytes were put there.
    pub fn filled(&mut self, len: usize) {
        self.end = (self.end + len).min(self.bytes.len());
    }

    /// Takes bytes that were read elsewhere, behind the handshake.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.space();
            let len = space.len().min(bytes.len());
            space[..len].copy_from_slice(&bytes[..len]);
            self.filled(len);
            bytes = &bytes[len..];
        }
    }

    /// Returns the next whole frame; `None` while more bytes must come.
    ///
    /// # Errors
    /// The stream cannot be read any further.
    #[inline]
    pub fn poll(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        loop {
            let Some(head) = self.head()? else {
                return Ok(None);
            };
            let from = self.start + head.head_len;
            let to = from + head.payload_len;
            if to > self.end {
                return Ok(None);
            }
            self.start = to;
            match (head.opcode, self.is_in_parts) {
                (TEXT | BINARY, false) if head.is_last => {
                    return Ok(Some(Frame::Message(&self.bytes[from..to])));
                }
                (TEXT | BINARY, false) => {
                    self.parts.clear();
                    self.is_in_parts = true;
                    self.parts.extend_from_slice(&self.bytes[from..to]);
                }
                (CONTINUATION, true) => {
                    if self.parts.len() + head.payload_len > self.message_bytes_max {
                        return Err(FrameError::TooLong(self.message_bytes_max));
                    }
                    self.parts.extend_from_slice(&self.bytes[from..to]);
                    if head.is_last {
                        self.is_in_parts = false;
                        return Ok(Some(Frame::Message(&self.parts)));
                    }
                }
                (TEXT | BINARY, true) | (CONTINUATION, false) => return Err(FrameError::Part),
                (PING, _) => return Ok(Some(Frame::Ping(&self.bytes[from..to]))),
                (PONG, _) => return Ok(Some(Frame::Pong)),
                (CLOSE, _) => return Ok(Some(Frame::Close)),
                _ => return Err(FrameError::Reserved),
            }
        }
    }

    /// Reads the head of the next frame, and refuses one that could never be taken.
    #[inline]
    fn head(&self) -> Result<Option<Head>, FrameError> {
        let [first, second, rest @ ..] = &self.bytes[self.start..self.end] else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(FrameError::Reserved);
        }
        if second & 0x80 != 0 {
            return Err(FrameError::Masked);
        }
        let (payload_len, head_len) = match second & 0x7F {
            126 => match rest.first_chunk() {
                Some(len) => (u64::from(u16::from_be_bytes(*len)), 4),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(len) => (u64::from_be_bytes(*len), 10),
                None => return Ok(None),
            },
            len => (u64::from(len), 2),
        };
        let too_long = FrameError::TooLong(self.message_bytes_max);
        let payload_len = usize::try_from(payload_len).map_err(|_| too_long)?;
        if payload_len > self.message_bytes_max {
            return Err(too_long);
        }
        let head = Head {
            is_last: first & 0x80 != 0,
            opcode: first & 0x0F,
            head_len,
            payload_len,
        };
        let is_control = head.opcode & 0x8 != 0;
        if is_control && (!head.is_last || payload_len > CONTROL_BYTES_MAX) {
            return Err(FrameError::Control);
        }
        Ok(Some(head))
    }
}

/// Appends one frame of a client, masked with a key that nobody can guess.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, mask: [u8; 4], payload: &[u8]) {
    out.push(match opcode {
        Opcode::Text => 0x80 | TEXT,
        Opcode::Close => 0x80 | CLOSE,
        Opcode::Pong => 0x80 | PONG,
    });
    let len = payload.len();
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short), _) if short < 126 => out.push(0x80 | short),
        (_, Ok(middle)) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&middle.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    out.extend(masked.map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    /// A frame as a server writes it.
    fn served(is_last: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![if is_last { 0x80 } else { 0 } | opcode];
        match payload.len() {
            len @ 0..126 => frame.push(u8::try_from(len).unwrap()),
            len @ 126..65_536 => {
                frame.push(126);
                frame.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
            len => {
                frame.push(127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    fn texts(reader: &mut FrameReader) -> Result<Vec<String>, FrameError> {
        let mut texts = Vec::new();
        while let Some(frame) = reader.poll()? {
            texts.push(match frame {
                Frame::Message(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Frame::Ping(bytes) => format!("ping {}", bytes.len()),
                other @ (Frame::Pong | Frame::Close) => format!("{other:?}"),
            });
        }
        Ok(texts)
    }

    #[test]
    fn messages_come_whole_however_the_bytes_come() {
        let long = "x".repeat(70_000);
        let mut bytes = Vec::new();
        for frame in [
            served(true, TEXT, b"one"),
            served(true, PING, b"p"),
            served(false, TEXT, b"tw"),
            served(true, PONG, b""),
            served(false, CONTINUATION, b""),
            served(true, CONTINUATION, b"o"),
            served(true, BINARY, &[b'3'; 300]),
            served(true, TEXT, long.as_bytes()),
            served(true, CLOSE, b"\x03\xe8"),
        ] {
            bytes.extend(frame);
        }
        let three = "3".repeat(300);
        let expected = ["one", "ping 1", "Pong", "two", &three, &long, "Close"];
        let mut random = Random::new(1);
        for most in [1, 7, 1_000, 100_000] {
            let mut reader = FrameReader::new(100_000);
            let mut found = Vec::new();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let len = usize::try_from(random.between(1, most)).unwrap();
                let (now, later) = rest.split_at(len.min(rest.len()));
                reader.push(now);
                found.extend(texts(&mut reader).unwrap());
                rest = later;
            }
            assert_eq!(found, expected, "{most} bytes at a time");
        }
    }

    #[test]
    fn what_a_server_must_not_send_ends_the_stream() {
        for (bytes, why) in [
            (vec![0xC1, 0], FrameError::Reserved),
            (vec![0x83, 0], FrameError::Reserved),
            (vec![0x81, 0x80, 0, 0, 0, 0], FrameError::Masked),
            (vec![0x09, 0], FrameError::Control),
            (served(true, PING, &[0; 126]), FrameError::Control),
            (served(true, CONTINUATION, b"x"), FrameError::Part),
            (served(true, TEXT, &[0; 1_001]), FrameError::TooLong(1_000)),
            (
                vec![0x81, 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
                FrameError::TooLong(1_000),
            ),
        ] {
            let mut reader = FrameReader::new(1_000);
            reader.push(&bytes);
            assert_eq!(texts(&mut reader), Err(why), "{bytes:?}");
        }
        let mut reader = FrameReader::new(1_000);
        reader.push(&served(false, TEXT, &[0; 600]));
        reader.push(&served(true, CONTINUATION, &[0; 600]));
        assert_eq!(texts(&mut reader), Err(FrameError::TooLong(1_000)));
        let mut reader = FrameReader::new(1_000);
        reader.push(&served(false, TEXT, b"a"));
        reader.push(&served(true, TEXT, b"b"));
        assert_eq!(texts(&mut reader), Err(FrameError::Part));
    }

    #[test]
    fn memory_stays_within_twice_a_message() {
        let mut reader = FrameReader::new(100_000);
        let frame = served(true, TEXT, &[b'x'; 100_000]);
        for _ in 0..50 {
            reader.push(&frame);
            assert_eq!(texts(&mut reader).unwrap().len(), 1);
        }
        assert!(reader.bytes.len() <= 262_144, "{}", reader.bytes.len());
    }

    #[test]
    fn a_client_masks_what_it_sends() {
        let mut out = Vec::new();
        write_frame(&mut out, Opcode::Text, [1, 2, 3, 4], b"abcde");
        assert_eq!(
            out,
            [
                0x81,
                0x85,
                1,
                2,
                3,
                4,
                b'a' ^ 1,
                b'b' ^ 2,
                b'c' ^ 3,
                b'd' ^ 4,
                b'e' ^ 1
            ]
        );
        out.clear();
        write_frame(&mut out, Opcode::Pong, [0; 4], &[7; 200]);
        assert_eq!(out[..4], [0x8A, 0x80 | 126, 0, 200]);
        assert_eq!(out.len(), 8 + 200);
    }

    #[test]
    fn no_bytes_make_a_reader_panic() {
        let mut random = Random::new(2);
        for _ in 0..20_000 {
            let mut reader = FrameReader::new(4_096);
            for _ in 0..4 {
                let len = random.below(40);
                let bytes: Vec<u8> = (0..len)
                    .map(|_| random.next_u64().to_le_bytes()[0])
                    .collect();
                reader.push(&bytes);
                if texts(&mut reader).is_err() {
                    break;
                }
            }
        }
    }
}
