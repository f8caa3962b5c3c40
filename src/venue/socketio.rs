//! socket.io 0.x: the handshake before its WebSocket, and the frames on it.
//!
//! Shape and numbers: the socket.io 0.9 protocol, revision 1, as MtGox spoke it; read 2026-11-23.

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0::`: the other side ends.
    Disconnect,
    /// `1::` with a namespace, perhaps an empty one.
    Connect(&'a str),
    /// `2::`: must be answered with the same.
    Heartbeat,
    /// `4::`: a JSON message in a namespace.
    Json(&'a str, &'a [u8]),
    /// Other kinds, which nobody here sends or needs.
    Other,
}

/// Reads a frame; `None` where it is none of this protocol.
pub fn parse(frame: &[u8]) -> Option<Packet<'_>> {
    let mut fields = frame.splitn(4, |byte| *byte == b':');
    let kind = fields.next()?;
    let (_id, namespace) = (fields.next()?, fields.next()?);
    let namespace = std::str::from_utf8(namespace).ok()?;
    let data = fields.next();
    Some(match kind {
        b"0" => Packet::Disconnect,
        b"1" => Packet::Connect(namespace.split('?').next().unwrap_or_default()),
        b"2" => Packet::Heartbeat,
        b"4" => Packet::Json(namespace, data?),
        b"3" | b"5" | b"6" | b"7" | b"8" => Packet::Other,
        _ => return None,
    })
}

/// Writes a JSON message in a namespace.
pub fn json(namespace: &str, message: &[u8]) -> Vec<u8> {
    [b"4::", namespace.as_bytes(), b":", message].concat()
}

/// Reads the session id of a handshake's answer: `sid:heartbeat:close:transports`.
pub fn session_of(body: &[u8]) -> Option<&str> {
    const SESSION_BYTES_MAX: usize = 128;
    let mut fields = body.split(|byte| *byte == b':');
    let session = std::str::from_utf8(fields.next()?).ok()?.trim();
    let transports = fields.nth(2)?;
    let has_websocket = transports
        .split(|byte| *byte == b',')
        .any(|name| name.trim_ascii() == b"websocket");
    let is_id = !session.is_empty()
        && session.len() <= SESSION_BYTES_MAX
        && session
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    (has_websocket && is_id).then_some(session)
}

/// Returns where the WebSocket of a session is: `http://host/socket.io/1/?q` becomes
/// `ws://host/socket.io/1/websocket/<session>?q`.
pub fn stream_url(handshake: &str, body: &[u8]) -> Option<String> {
    let session = session_of(body)?;
    let rest = handshake.strip_prefix("http")?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let place = place.trim_end_matches('/');
    let mark = if query.is_empty() { "" } else { "?" };
    Some(format!("ws{place}/websocket/{session}{mark}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart() {
        assert_eq!(parse(b"1::"), Some(Packet::Connect("")));
        assert_eq!(
            parse(b"1::/mtgox?Currency=USD"),
            Some(Packet::Connect("/mtgox"))
        );
        assert_eq!(parse(b"2::"), Some(Packet::Heartbeat));
        assert_eq!(parse(b"2:::"), Some(Packet::Heartbeat));
        assert_eq!(parse(b"0::"), Some(Packet::Disconnect));
        let frame = json("/mtgox", b"{\"op\":\"x:y\"}");
        assert_eq!(
            parse(&frame),
            Some(Packet::Json("/mtgox", b"{\"op\":\"x:y\"}"))
        );
        assert_eq!(parse(b"4::/mtgox"), None);
        for noise in [&b"{}"[..], b"", b"9::", b"1", b"1:", b"\xff::\xff"] {
            assert_eq!(parse(noise), None, "{noise:?}");
        }
    }

    #[test]
    fn a_handshake_names_the_session() {
        let body = b"a1b2c3:15:25:websocket,xhr-polling";
        let url = stream_url("https://h/socket.io/1?Currency=USD", body);
        assert_eq!(
            url.as_deref(),
            Some("wss://h/socket.io/1/websocket/a1b2c3?Currency=USD")
        );
        let url = stream_url("http://h:1/socket.io/1/", body);
        assert_eq!(
            url.as_deref(),
            Some("ws://h:1/socket.io/1/websocket/a1b2c3")
        );
        for body in [
            &b""[..],
            b"a:1:2:xhr-polling",
            b"../x:1:2:websocket",
            b":1:2:websocket",
        ] {
            assert_eq!(session_of(body), None);
        }
    }
}
