//! Nicks: how ours follows from the key, and when two spellings are one name.

use std::fmt;

use data_encoding::BASE32;

use crate::model::ids::Pin;

/// Letters of the longest nick that every server takes: ngircd refuses a tenth, others cut it off.
pub const NICK_LEN_MAX: usize = 9;
/// Nicks that a node has in reserve; where all are taken it waits.
pub const NICKS: u8 = 6;

/// How a server compares names (`CASEMAPPING` of its `005`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaseMapping {
    Ascii,
    /// `{}|^` are the small letters of `[]\~`: what holds where a server says nothing (RFC 1459, 2.2).
    #[default]
    Rfc1459,
    /// As the one before, without `^` and `~`.
    StrictRfc1459,
}

impl CaseMapping {
    /// Reads the value of `CASEMAPPING`; `None` for one that is not known.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "ascii" => Some(Self::Ascii),
            "rfc1459" => Some(Self::Rfc1459),
            "strict-rfc1459" | "rfc1459-strict" => Some(Self::StrictRfc1459),
            _ => None,
        }
    }

    /// Returns the one spelling that stands for all that are the same name.
    pub fn fold(self, name: &str) -> Folded {
        let small = name.chars().map(|letter| self.small(letter));
        Folded(small.collect())
    }

    pub fn is_same(self, one: &str, other: &str) -> bool {
        let small = |letter| self.small(letter);
        one.chars().map(small).eq(other.chars().map(small))
    }

    fn small(self, letter: char) -> char {
        match (letter, self) {
            ('[', Self::Rfc1459 | Self::StrictRfc1459) => '{',
            (']', Self::Rfc1459 | Self::StrictRfc1459) => '}',
            ('\\', Self::Rfc1459 | Self::StrictRfc1459) => '|',
            ('~', Self::Rfc1459) => '^',
            (letter, _) => letter.to_ascii_lowercase(),
        }
    }
}

/// A name in the spelling that is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folded(String);

impl fmt::Display for Folded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Returns one of the nicks of a node: `x` and 40 bits of its pin in base 32 (RFC 4648). The first
/// is what others expect; the rest are for when somebody has taken it.
pub fn nick_of(pin: &Pin, attempt: u8) -> String {
    const BYTES: usize = 5;
    let start = usize::from(attempt % NICKS) * BYTES;
    let letters = BASE32.encode(&pin.0[start..start + BYTES]);
    format!("x{}", letters.to_ascii_lowercase())
}

/// Tells whether a text can be a nick at all (RFC 2812, 2.3.1, without its limit of length).
pub fn is_nick(text: &str) -> bool {
    let is_special = |byte: u8| matches!(byte, b'['..=b'`' | b'{'..=b'}');
    let mut bytes = text.bytes();
    let begins_well = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || is_special(byte));
    let goes_on = |byte: u8| byte.is_ascii_alphanumeric() || is_special(byte) || byte == b'-';
    begins_well && text.len() <= 64 && bytes.all(goes_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nick_follows_from_the_key_and_fits_every_server() {
        let pin = Pin(std::array::from_fn(|at| u8::try_from(at * 7 + 3).unwrap()));
        let nicks: Vec<String> = (0..NICKS).map(|attempt| nick_of(&pin, attempt)).collect();
        for (at, nick) in nicks.iter().enumerate() {
            assert_eq!(nick.len(), NICK_LEN_MAX);
            assert!(is_nick(nick), "{nick}");
            assert!(!nicks[..at].contains(nick));
        }
        assert_eq!(nick_of(&pin, NICKS), nicks[0]);
        assert_eq!(nick_of(&Pin([0; 32]), 0), "xaaaaaaaa");
        assert_eq!(nick_of(&Pin([0xFF; 32]), 0), "x77777777");
        // The first 40 bits of "foobar" in base 32 by RFC 4648, section 10.
        let mut pin = Pin([0; 32]);
        pin.0[..6].copy_from_slice(b"foobar");
        assert_eq!(nick_of(&pin, 0), "xmzxw6ytb");
    }

    #[test]
    fn names_are_the_same_as_the_server_says() {
        for (mapping, one, other, is_same) in [
            (CaseMapping::Rfc1459, "Nick[a]~", "nICK{A}^", true),
            (CaseMapping::StrictRfc1459, "Nick[a]", "nick{a}", true),
            (CaseMapping::StrictRfc1459, "a~", "a^", false),
            (CaseMapping::Ascii, "Nick[a]", "nick{a}", false),
            (CaseMapping::Ascii, "NICK", "nick", true),
            (CaseMapping::Rfc1459, "a", "ab", false),
        ] {
            assert_eq!(mapping.is_same(one, other), is_same, "{one} {other}");
            assert_eq!(mapping.fold(one) == mapping.fold(other), is_same);
        }
        assert_eq!(CaseMapping::parse("ascii"), Some(CaseMapping::Ascii));
        assert_eq!(CaseMapping::parse("utf8"), None);
    }

    #[test]
    fn what_is_no_nick_is_told() {
        for text in ["", "1abc", "-a", "a b", "a!b", "a\u{e9}", "a:b", "#a"] {
            assert!(!is_nick(text), "{text}");
        }
        for text in ["a", "[bot]-1", "x77777777", "^_^"] {
            assert!(is_nick(text), "{text}");
        }
    }
}
