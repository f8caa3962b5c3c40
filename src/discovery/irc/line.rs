//! Lines: bytes of a server cut into them, and ours made so that they cannot become two.

use std::borrow::Cow;

use irc::proto::Message;
use thiserror::Error;

/// Bytes of the longest line that is read: message tags and the line behind them (IRCv3 message
/// tags, read 2026-11-23). What is longer is dropped up to its end and counted.
pub const LINE_IN_MAX: usize = 8_191 + 512;
/// Bytes of the longest line that is sent, without its end: ngircd kills for one more (RFC 1459, 2.3).
pub const LINE_OUT_MAX: usize = 510;
/// Bytes of text in a line to the channel that arrive whole, whatever the server puts in front.
pub const TEXT_MAX: usize = 380;

/// Cuts what a server sends into lines. A lone `\r` ends a line as well.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    /// What is being read belongs to a line that was too long.
    is_dropping: bool,
    dropped: u64,
}

impl Lines {
    /// Hands on each line that these bytes complete, with what is not UTF-8 replaced.
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            let (end, behind) = rest.split_at(at);
            rest = behind.get(1..).unwrap_or_default();
            let is_whole = !self.is_dropping && self.begun.len() + end.len() <= LINE_IN_MAX;
            if !is_whole {
                self.dropped += u64::from(!self.is_dropping);
            } else if self.begun.is_empty() {
                give(end, &mut each);
            } else {
                self.begun.extend_from_slice(end);
                give(&self.begun, &mut each);
            }
            self.is_dropping = false;
            self.begun.clear();
        }
        if self.is_dropping {
            return;
        }
        if self.begun.len() + rest.len() > LINE_IN_MAX {
            self.is_dropping = true;
            self.dropped += 1;
            self.begun.clear();
        } else {
            self.begun.extend_from_slice(rest);
        }
    }

    /// Forgets what was begun: the connection is another one.
    pub fn clear(&mut self) {
        self.begun.clear();
        self.is_dropping = false;
    }

    /// Returns how many lines were too long.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn give(line: &[u8], each: &mut impl FnMut(&str)) {
    if !line.is_empty() {
        each(&String::from_utf8_lossy(line));
    }
}

/// Reads one line; `None` where it is none, which a server may send at any time.
pub fn read(line: &str) -> Option<Message> {
    line.parse().ok()
}

/// Returns the words of a line behind its tags and its prefix, the command first. For commands whose
/// words the parser would lay out by rules that the server does not share, as it is with `MODE`.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    let line = behind(behind(line, '@'), ':');
    let (middle, last) = match line.split_once(" :") {
        Some((middle, last)) => (middle, Some(last)),
        None => (line, None),
    };
    middle
        .split(' ')
        .filter(|word| !word.is_empty())
        .chain(last)
}

fn behind(line: &str, mark: char) -> &str {
    match line.strip_prefix(mark) {
        Some(rest) => rest
            .split_once(' ')
            .map_or("", |(_, rest)| rest.trim_start_matches(' ')),
        None => line,
    }
}

/// One line to send: no end of line inside, and never too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line(String);

/// Why a line cannot be sent.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LineError {
    #[error("a line of {0} bytes; {LINE_OUT_MAX} are the most that servers take")]
    TooLong(usize),
    #[error("an end of line or a zero byte inside a line")]
    Control,
    #[error("an empty word, one with a space, or one that begins with a colon")]
    Word,
}

impl Line {
    /// Makes a line of a command, its words, and a last text that may have spaces.
    ///
    /// # Errors
    /// See [`LineError`].
    pub fn new(command: &str, words: &[&str], text: Option<&str>) -> Result<Self, LineError> {
        let is_word =
            |word: &str| !word.is_empty() && !word.contains(' ') && !word.starts_with(':');
        if !is_word(command) || !words.iter().all(|word| is_word(word)) {
            return Err(LineError::Word);
        }
        let mut line = String::from(command);
        for word in words {
            line.push(' ');
            line.push_str(word);
        }
        if let Some(text) = text {
            line.push_str(" :");
            line.push_str(text);
        }
        if line.contains(['\r', '\n', '\0']) {
            return Err(LineError::Control);
        }
        if line.len() > LINE_OUT_MAX {
            return Err(LineError::TooLong(line.len()));
        }
        Ok(Self(line))
    }

    /// Makes a line that says something to a nick or a channel.
    ///
    /// # Errors
    /// See [`LineError`]; more than [`TEXT_MAX`] bytes of text are too long.
    pub fn say(command: &str, to: &str, text: &str) -> Result<Self, LineError> {
        if text.len() > TEXT_MAX {
            return Err(LineError::TooLong(text.len()));
        }
        Self::new(command, &[to], Some(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Appends it with its end.
    pub fn push_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Makes a text that others wrote fit to be shown or put in a line: what controls a terminal or ends
/// a line becomes a space.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(|letter: char| letter.is_control()) {
        return Cow::Borrowed(text);
    }
    let shown = |letter: char| if letter.is_control() { ' ' } else { letter };
    Cow::Owned(text.chars().map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;
    use irc::proto::Command;

    fn cut(pieces: &[&[u8]]) -> (Vec<String>, u64) {
        let mut lines = Lines::default();
        let mut cut = Vec::new();
        for piece in pieces {
            lines.take(piece, |line| cut.push(line.to_owned()));
        }
        (cut, lines.dropped())
    }

    #[test]
    fn lines_end_where_any_server_ends_them() {
        let (lines, dropped) = cut(&[b"PING :a\r\nPI", b"NG :b\n\r\n\nPING :c\rPING :d\r\n:begun"]);
        assert_eq!(lines, ["PING :a", "PING :b", "PING :c", "PING :d"]);
        assert_eq!(dropped, 0);
        let (lines, _) = cut(&[b"PRIVMSG #a :\xFF\xC3\x28 caf\xC3", b"\xA9\r\n"]);
        assert_eq!(lines, ["PRIVMSG #a :\u{FFFD}\u{FFFD}( caf\u{e9}"]);
    }

    #[test]
    fn a_line_without_an_end_costs_no_more_than_the_longest() {
        let mut lines = Lines::default();
        let mut heard = Vec::new();
        for _ in 0..1_000 {
            lines.take(&[b'a'; 1_024], |line| heard.push(line.to_owned()));
            assert!(lines.begun.capacity() <= 4 * LINE_IN_MAX);
        }
        lines.take(b"a\r\nPING :b\r\n", |line| heard.push(line.to_owned()));
        assert_eq!((heard, lines.dropped()), (vec!["PING :b".to_owned()], 1));
        let whole = [&[b'a'; LINE_IN_MAX][..], b"\n"].concat();
        assert_eq!(cut(&[&whole]).1, 0);
        assert_eq!(cut(&[b"a", &whole]), (Vec::new(), 1));
    }

    #[test]
    fn cutting_is_the_same_wherever_the_bytes_were_parted() {
        let mut random = Random::new(5);
        for _ in 0..2_000 {
            let letters = b"ab: \r\n\x01\xFF";
            let bytes: Vec<u8> = (0..random.below(60))
                .map(|_| letters[usize::try_from(random.below(8)).unwrap()])
                .collect();
            let at = usize::try_from(random.below(bytes.len() as u64 + 1)).unwrap();
            let (one, other) = bytes.split_at(at);
            assert_eq!(cut(&[&bytes]), cut(&[one, other]), "{bytes:?}");
            for line in cut(&[&bytes]).0 {
                read(&line);
                assert!(words(&line).count() <= line.len());
            }
        }
    }

    #[test]
    fn no_line_of_ours_can_become_two() {
        for text in ["a\r\nQUIT", "a\nb", "a\rb", "a\0b"] {
            assert_eq!(Line::say("PRIVMSG", "#a", text), Err(LineError::Control));
            assert!(Line::new("JOIN", &[text], None).is_err());
        }
        for word in ["", "a b", ":a"] {
            assert_eq!(Line::new("JOIN", &[word], None), Err(LineError::Word));
        }
        let most = "a".repeat(TEXT_MAX);
        assert!(Line::say("PRIVMSG", "#expressnet", &most).is_ok());
        let more = "a".repeat(TEXT_MAX + 1);
        let fault = Line::say("PRIVMSG", "#a", &more).unwrap_err();
        assert_eq!(fault, LineError::TooLong(TEXT_MAX + 1));
        let long = "a".repeat(LINE_OUT_MAX - 6);
        assert!(Line::new("QUIT", &[], Some(&long)).is_ok());
        let long = "a".repeat(LINE_OUT_MAX - 5);
        assert!(Line::new("QUIT", &[], Some(&long)).is_err());
        let line = Line::say("PRIVMSG", "#a", "b c").unwrap();
        assert_eq!(line.as_str(), "PRIVMSG #a :b c");
    }

    #[test]
    fn words_stand_as_the_server_wrote_them() {
        let line = "@t=1;u :n!u@h MODE  #a +kvx  key nick :and this";
        let found: Vec<&str> = words(line).collect();
        assert_eq!(found, ["MODE", "#a", "+kvx", "key", "nick", "and this"]);
        assert_eq!(
            words("@t").count() + words(":n").count() + words("").count(),
            0
        );
        let message = read(":n!u@h PRIVMSG #a :b :c").unwrap();
        let said = Command::PRIVMSG("#a".to_owned(), "b :c".to_owned());
        assert_eq!(
            (message.source_nickname(), message.command.clone()),
            (Some("n"), said)
        );
        assert_eq!(plain("a\x1b[2Jb\u{9b}c"), "a [2Jb c");
    }
}
