//! The exit's word to the outside: "I speak for this peernet, by this token".
//!
//! ```text
//! expressnet-exit1:<base64url without padding of>
//! node key 32 │ peernet 16 │ token 8 │ number 8 │ signature 64
//! ```

use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;

use crate::discovery::lease::Token;
use crate::model::codec::{CodecError, Reader};
use crate::model::ids::{NodeId, PeernetId};
use crate::model::key::{pin_of, signed};

/// What an announcement begins with; the digit is the version of the text.
pub const PREFIX: &str = "expressnet-exit1:";

const BYTES: usize = 32 + 16 + 8 + 8 + 64;
/// Letters of an announcement, which all have the same length.
pub const TEXT_LEN: usize = PREFIX.len() + (BYTES * 4).div_ceil(3);

const DOMAIN: &[u8] = b"expressnet exit 1\0";

/// An announcement, its signature not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub key: [u8; 32],
    pub peernet: PeernetId,
    pub token: Token,
    /// Higher with each announcement of a node, in all its lives.
    pub number: u64,
    pub signature: [u8; 64],
}

/// Why a text is no announcement.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AnnouncementError {
    #[error("it begins with something else")]
    Prefix,
    #[error("it has another length")]
    Length,
    #[error("it is not base64url in its one form")]
    Alphabet,
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Announcement {
    /// Returns what the exit signs.
    pub fn statement(&self) -> Vec<u8> {
        let (token, number) = (self.token.0.to_le_bytes(), self.number.to_le_bytes());
        [DOMAIN, &self.key, &self.peernet.0, &token, &number].concat()
    }

    /// Tells whether the named key has signed it: 50 µs, so not for the core thread.
    pub fn is_signed(&self) -> bool {
        signed(&self.key, &self.statement(), &self.signature)
    }

    /// Returns the node whose key it names.
    pub fn node(&self) -> NodeId {
        pin_of(&self.key).node_id()
    }

    pub fn print(&self) -> String {
        let unsigned = &self.statement()[DOMAIN.len()..];
        let mut text = PREFIX.to_owned();
        BASE64URL_NOPAD.encode_append(&[unsigned, &self.signature].concat(), &mut text);
        text
    }

    /// Reads an announcement.
    ///
    /// # Errors
    /// Any other text than the one that would be printed.
    pub fn parse(text: &str) -> Result<Self, AnnouncementError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(AnnouncementError::Prefix)?;
        if text.len() != TEXT_LEN {
            return Err(AnnouncementError::Length);
        }
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes());
        let bytes = bytes.map_err(|_| AnnouncementError::Alphabet)?;
        let mut reader = Reader::new(&bytes);
        let announcement = Self {
            key: reader.array("key")?,
            peernet: PeernetId(reader.array("peernet")?),
            token: Token(reader.u64("token")?),
            number: reader.u64("number")?,
            signature: reader.array("signature")?,
        };
        reader.finish()?;
        Ok(announcement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    fn announced() -> Announcement {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[4; 32]).unwrap();
        let mut announcement = Announcement {
            key: pair.public_key().as_ref().try_into().unwrap(),
            peernet: PeernetId([5; 16]),
            token: Token(1 << 32 | 2),
            number: 1 << 32 | 1,
            signature: [0; 64],
        };
        let signature = pair.sign(&announcement.statement());
        announcement.signature = signature.as_ref().try_into().unwrap();
        announcement
    }

    #[test]
    fn an_announcement_fits_a_line_and_reads_back() {
        let text = announced().print();
        assert_eq!(text.len(), TEXT_LEN);
        assert!(text.len() <= 380);
        assert_eq!(Announcement::parse(&text), Ok(announced()));
        assert!(announced().is_signed());
    }

    #[test]
    fn any_changed_letter_is_refused_or_unsigned() {
        let text = announced().print();
        for at in 0..text.len() {
            for letter in ['A', '_', '=', ' '] {
                let mut mutant: Vec<char> = text.chars().collect();
                if std::mem::replace(&mut mutant[at], letter) == letter {
                    continue;
                }
                let mutant: String = mutant.into_iter().collect();
                let counts = Announcement::parse(&mutant).is_ok_and(|read| read.is_signed());
                assert!(!counts, "{letter} at {at}");
            }
        }
        for wrong in [&text[..TEXT_LEN - 1], &format!("{text}A"), "", PREFIX] {
            assert!(Announcement::parse(wrong).is_err());
        }
    }
}
