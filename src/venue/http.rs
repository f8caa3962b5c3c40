//! HTTP/1.1 as bytes: requests written whole, responses and requests read without a socket.

use std::borrow::Cow;

use thiserror::Error;

use crate::model::number::push_whole;

/// How this program names itself to venues.
pub const USER_AGENT: &str = concat!("expressnet/", env!("CARGO_PKG_VERSION"));
/// Bytes of the largest body that is read; more is an error.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of the largest head that is read, both ways.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header lines of a message; one more is an error.
const HEADERS_MAX: usize = 64;

/// A whole response at the start of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    pub status: u16,
    pub body: Cow<'a, [u8]>,
    /// Bytes of the buffer it took.
    pub len: usize,
    pub keeps_alive: bool,
}

/// A whole request at the start of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    pub method: &'a str,
    pub target: &'a str,
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: Cow<'a, [u8]>,
    /// Bytes of the buffer it took.
    pub len: usize,
}

/// Why bytes are not a message that is read here.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HttpError {
    #[error("the head is larger than {HEAD_BYTES_MAX} bytes")]
    HeadTooLarge,
    #[error("the body is larger than the limit")]
    BodyTooLarge,
    #[error("malformed {0}")]
    Malformed(&'static str),
}

/// Appends a whole request, head and body.
pub fn write_request(
    request: &mut Vec<u8>,
    (method, host, target): (&str, &str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) {
    let mut put = |text: &str| request.extend_from_slice(text.as_bytes());
    for text in [method, " ", target, " HTTP/1.1\r\nHost: ", host] {
        put(text);
    }
    put("\r\nConnection: keep-alive\r\n");
    for (name, value) in headers {
        for text in [name, ": ", value, "\r\n"] {
            put(text);
        }
    }
    if !body.is_empty() || method != "GET" {
        put("Content-Length: ");
        push_whole(request, body.len() as u64);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
}

/// Reads the response at the start of `bytes`; `None` while more must come.
///
/// `is_ended` says that the sender closed: a body without a length ends there.
///
/// # Errors
/// The connection is of no more use.
pub fn parse_response(
    bytes: &[u8],
    is_ended: bool,
    body_bytes_max: usize,
) -> Result<Option<Response<'_>>, HttpError> {
    let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut slots);
    let parsed = head
        .parse(bytes)
        .map_err(|_| HttpError::Malformed("head"))?;
    let Some(head_len) = whole_head(parsed, bytes)? else {
        return Ok(None);
    };
    let status = head.code.ok_or(HttpError::Malformed("status"))?;
    let mut framing = Framing::of(head.headers)?;
    if matches!(status, 100..=199 | 204 | 304) {
        framing.length = Length::Known(0);
    }
    let rest = &bytes[head_len..];
    let until_close = framing.length == Length::UntilClose;
    let body = match framing.length {
        Length::UntilClose if rest.len() > body_bytes_max => return Err(HttpError::BodyTooLarge),
        Length::UntilClose => is_ended.then_some((Cow::Borrowed(rest), rest.len())),
        Length::Known(_) | Length::Chunked => framing.body(rest, body_bytes_max)?,
    };
    Ok(body.map(|(body, len)| Response {
        status,
        body,
        len: head_len + len,
        keeps_alive: framing.keeps_alive && head.version == Some(1) && !until_close,
    }))
}

/// Reads the request at the start of `bytes`; `None` while more must come.
///
/// # Errors
/// The connection is of no more use.
pub fn parse_request(
    bytes: &[u8],
    body_bytes_max: usize,
) -> Result<Option<Request<'_>>, HttpError> {
    let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut slots);
    let parsed = head
        .parse(bytes)
        .map_err(|_| HttpError::Malformed("head"))?;
    let Some(head_len) = whole_head(parsed, bytes)? else {
        return Ok(None);
    };
    let mut framing = Framing::of(head.headers)?;
    if framing.length == Length::UntilClose {
        framing.length = Length::Known(0);
    }
    let Some((body, len)) = framing.body(&bytes[head_len..], body_bytes_max)? else {
        return Ok(None);
    };
    let mut headers = Vec::with_capacity(head.headers.len());
    for header in head.headers.iter() {
        let value = std::str::from_utf8(header.value);
        headers.push((
            header.name,
            value.map_err(|_| HttpError::Malformed("header"))?,
        ));
    }
    Ok(Some(Request {
        method: head.method.ok_or(HttpError::Malformed("method"))?,
        target: head.path.ok_or(HttpError::Malformed("target"))?,
        headers,
        body,
        len: head_len + len,
    }))
}

/// A whole body, and the bytes of the buffer it took.
type Body<'a> = (Cow<'a, [u8]>, usize);

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunked,
    UntilClose,
}

/// What the headers say of the body and of the connection.
#[derive(Clone, Copy, Debug)]
struct Framing {
    length: Length,
    keeps_alive: bool,
}

impl Framing {
    /// Refuses what two readers could understand differently: two lengths, or a length and chunks.
    fn of(headers: &[httparse::Header<'_>]) -> Result<Self, HttpError> {
        let mut framing = Self {
            length: Length::UntilClose,
            keeps_alive: true,
        };
        for header in headers {
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = Length::Known(number(value, 10)?);
                framing.set_length(length)?;
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HttpError::Malformed("transfer encoding"));
                }
                framing.set_length(Length::Chunked)?;
            } else if header.name.eq_ignore_ascii_case("connection") {
                framing.keeps_alive &= !value.eq_ignore_ascii_case(b"close");
            }
        }
        Ok(framing)
    }

    fn set_length(&mut self, length: Length) -> Result<(), HttpError> {
        if self.length != Length::UntilClose {
            return Err(HttpError::Malformed("length"));
        }
        self.length = length;
        Ok(())
    }

    fn body(self, rest: &[u8], max: usize) -> Result<Option<Body<'_>>, HttpError> {
        match self.length {
            Length::Known(len) if len > max => Err(HttpError::BodyTooLarge),
            Length::Known(len) => Ok(rest.get(..len).map(|body| (Cow::Borrowed(body), len))),
            Length::Chunked => unchunk(rest, max),
            Length::UntilClose => Ok(None),
        }
    }
}

fn whole_head(parsed: httparse::Status<usize>, bytes: &[u8]) -> Result<Option<usize>, HttpError> {
    match parsed {
        httparse::Status::Complete(len) if len > HEAD_BYTES_MAX => Err(HttpError::HeadTooLarge),
        httparse::Status::Complete(len) => Ok(Some(len)),
        httparse::Status::Partial if bytes.len() > HEAD_BYTES_MAX => Err(HttpError::HeadTooLarge),
        httparse::Status::Partial => Ok(None),
    }
}

fn unchunk(rest: &[u8], max: usize) -> Result<Option<Body<'_>>, HttpError> {
    /// Bytes of a chunk's first line, extensions included.
    const CHUNK_LINE_BYTES_MAX: usize = 256;
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let window = &rest[at..rest.len().min(at + CHUNK_LINE_BYTES_MAX)];
        let Some(line_len) = window.windows(2).position(|two| two == b"\r\n") else {
            let is_long = window.len() >= CHUNK_LINE_BYTES_MAX;
            return if is_long {
                Err(HttpError::Malformed("chunk"))
            } else {
                Ok(None)
            };
        };
        let line = &window[..line_len];
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let len = number(digits.trim_ascii(), 16)?;
        if len > max - body.len() {
            return Err(HttpError::BodyTooLarge);
        }
        at += line_len + 2;
        let Some(chunk) = rest.get(at..at + len + 2) else {
            return Ok(None);
        };
        if !chunk.ends_with(b"\r\n") {
            return Err(HttpError::Malformed("chunk"));
        }
        at += len + 2;
        if len == 0 {
            return Ok(Some((Cow::Owned(body), at)));
        }
        body.extend_from_slice(&chunk[..len]);
    }
}

fn number(digits: &[u8], radix: u32) -> Result<usize, HttpError> {
    let text = std::str::from_utf8(digits).map_err(|_| HttpError::Malformed("length"))?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(HttpError::Malformed("length"));
    }
    usize::from_str_radix(text, radix).map_err(|_| HttpError::Malformed("length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &str, expected: Result<Option<(u16, &str)>, HttpError>) {
        let parsed = parse_response(bytes.as_bytes(), false, 64);
        let seen = parsed.map(|response| {
            response.map(|response| {
                assert_eq!(response.len, bytes.len());
                (
                    response.status,
                    String::from_utf8(response.body.into_owned()).unwrap(),
                )
            })
        });
        let expected = expected.map(|some| some.map(|(status, body)| (status, body.to_owned())));
        assert_eq!(seen, expected, "{bytes}");
    }

    #[test]
    fn a_written_request_is_read_back_and_every_cut_of_it_waits_for_more() {
        let mut bytes = Vec::new();
        write_request(
            &mut bytes,
            ("POST", "h:1", "/order?x=1"),
            &[("X-Key", "k")],
            b"{}",
        );
        for cut in 0..bytes.len() {
            assert_eq!(parse_request(&bytes[..cut], 64), Ok(None));
        }
        let request = parse_request(&bytes, 64).unwrap().unwrap();
        assert_eq!((request.method, request.target), ("POST", "/order?x=1"));
        assert!(request.headers.contains(&("X-Key", "k")));
        assert!(request.headers.contains(&("Host", "h:1")));
        assert_eq!(
            (request.body.as_ref(), request.len),
            (&b"{}"[..], bytes.len())
        );
    }

    #[test]
    fn bodies_end_where_length_or_chunks_say() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            Ok(Some((200, "ok"))),
        );
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", Ok(None));
        check("HTTP/1.1 204 None\r\n\r\n", Ok(Some((204, ""))));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(
            &format!("{chunked}2\r\nok\r\n1;x=y\r\n!\r\n0\r\n\r\n"),
            Ok(Some((200, "ok!"))),
        );
        check(&format!("{chunked}2\r\nok\r\n0\r\n"), Ok(None));
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let bytes = b"HTTP/1.1 200 OK\r\n\r\nok";
        assert_eq!(parse_response(bytes, false, 64), Ok(None));
        let response = parse_response(bytes, true, 64).unwrap().unwrap();
        assert_eq!(response.body.as_ref(), b"ok");
        assert!(!response.keeps_alive);
    }

    #[test]
    fn what_is_too_large_or_ambiguous_is_refused() {
        let too_large = Err(HttpError::BodyTooLarge);
        check("HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n", too_large);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{chunked}ffffffffffffffff\r\n"), too_large);
        check(&format!("{chunked}41\r\n"), too_large);
        let two = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok";
        check(two, Err(HttpError::Malformed("length")));
        check("nonsense\r\n\r\n", Err(HttpError::Malformed("head")));
        let long = "HTTP/1.1 200 OK\r\nA: ".to_owned() + &"a".repeat(HEAD_BYTES_MAX);
        check(&long, Err(HttpError::HeadTooLarge));
    }
}
