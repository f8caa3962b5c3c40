//! Proof of key: what the operator asks, and what a node answers.
//!
//! ```text
//! expressnet-challenge1:<base64url without padding of: nonce 16>
//! expressnet-voice1:<base64url without padding of:
//!     node key 32 │ nonce 16 │ peernet 16 │ token 8 │ roster hash 32 │ signature 64>
//! ```
//! The signature covers where it is said and by which nick as well. So an answer that somebody has
//! got out of a node by asking it the same question elsewhere proves nothing here.

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;

use crate::discovery::chanop::Place;
use crate::model::codec::{CodecError, Reader};
use crate::model::ids::{PeernetId, Pin};
use crate::model::key::{pin_of, signed};

/// What a challenge begins with; the digit is the version of the text.
pub const CHALLENGE_PREFIX: &str = "expressnet-challenge1:";
/// What a proof begins with.
pub const PROOF_PREFIX: &str = "expressnet-voice1:";

const PROOF_BYTES: usize = 32 + 16 + 16 + 8 + 32 + 64;
/// Letters of a proof, which all have the same length.
pub const PROOF_LEN: usize = PROOF_PREFIX.len() + (PROOF_BYTES * 4).div_ceil(3);
/// Letters of a challenge.
pub const CHALLENGE_LEN: usize = CHALLENGE_PREFIX.len() + (16_usize * 4).div_ceil(3);

const DOMAIN: &[u8] = b"expressnet voice 1\0";

/// What is asked of a nick, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub nonce: [u8; 16],
}

/// The answer, its signature not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    pub key: [u8; 32],
    pub nonce: [u8; 16],
    /// The peernet and what is known of its exit; zeros where a node only shows its key.
    pub peernet: PeernetId,
    pub token: u64,
    pub roster_hash: [u8; 32],
    pub signature: [u8; 64],
}

/// Where a proof is given: names as they are spelled for comparison.
#[derive(Clone, Copy, Debug)]
pub struct Where<'w> {
    /// As the server calls its network (`NETWORK` of its `005`); empty where it does not.
    pub network: &'w str,
    pub channel: &'w str,
    pub nick: &'w str,
}

/// Why a text is neither challenge nor proof.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TextError {
    #[error("it begins with something else")]
    Prefix,
    #[error("it has another length")]
    Length,
    #[error("it is not base64url in its one form")]
    Alphabet,
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Challenge {
    /// Makes the question that nobody can foresee: `count` is never used twice with one secret.
    pub(super) fn new(secret: &[u8; 32], place: &Place, count: u64) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let nick = place.nick.to_string();
        let question = [&count.to_le_bytes()[..], &[place.network], nick.as_bytes()].concat();
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&hmac::sign(&key, &question).as_ref()[..16]);
        Self { nonce }
    }

    pub fn print(&self) -> String {
        let mut text = CHALLENGE_PREFIX.to_owned();
        BASE64URL_NOPAD.encode_append(&self.nonce, &mut text);
        text
    }

    /// Reads a challenge.
    ///
    /// # Errors
    /// Any other text than the one that would be printed.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let bytes = decode(text, CHALLENGE_PREFIX, CHALLENGE_LEN)?;
        let mut reader = Reader::new(&bytes);
        let nonce = reader.array("nonce")?;
        reader.finish()?;
        Ok(Self { nonce })
    }
}

impl Proof {
    /// Returns what the node signs. Names longer than 255 bytes are cut off: no server has them.
    pub fn statement(&self, place: Where<'_>) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend_from_slice(&self.unsigned());
        for name in [place.network, place.channel, place.nick] {
            let name = &name.as_bytes()[..name.len().min(255)];
            bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(name);
        }
        bytes
    }

    /// Tells whether the named key has signed it for this place: 50 µs, so not for the core thread.
    pub fn is_signed(&self, place: Where<'_>) -> bool {
        signed(&self.key, &self.statement(place), &self.signature)
    }

    pub fn pin(&self) -> Pin {
        pin_of(&self.key)
    }

    pub fn print(&self) -> String {
        let mut text = PROOF_PREFIX.to_owned();
        BASE64URL_NOPAD.encode_append(&[&self.unsigned()[..], &self.signature].concat(), &mut text);
        text
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// Any other text than the one that would be printed.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let bytes = decode(text, PROOF_PREFIX, PROOF_LEN)?;
        let mut reader = Reader::new(&bytes);
        let proof = Self {
            key: reader.array("key")?,
            nonce: reader.array("nonce")?,
            peernet: PeernetId(reader.array("peernet")?),
            token: reader.u64("token")?,
            roster_hash: reader.array("roster hash")?,
            signature: reader.array("signature")?,
        };
        reader.finish()?;
        Ok(proof)
    }

    fn unsigned(&self) -> Vec<u8> {
        let token = self.token.to_le_bytes();
        let fields = [&self.key[..], &self.nonce, &self.peernet.0, &token];
        [&fields.concat()[..], &self.roster_hash].concat()
    }
}

fn decode(text: &str, prefix: &str, len: usize) -> Result<Vec<u8>, TextError> {
    let encoded = text.strip_prefix(prefix).ok_or(TextError::Prefix)?;
    if text.len() != len {
        return Err(TextError::Length);
    }
    let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes());
    bytes.map_err(|_| TextError::Alphabet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::irc::name::CaseMapping;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    const HERE: Where<'_> = Where {
        network: "OpenNet",
        channel: "#expressnet",
        nick: "xmzxw6ytb",
    };

    fn given() -> Proof {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[4; 32]).unwrap();
        let mut proof = Proof {
            key: pair.public_key().as_ref().try_into().unwrap(),
            nonce: [1; 16],
            peernet: PeernetId([2; 16]),
            token: 3,
            roster_hash: [4; 32],
            signature: [0; 64],
        };
        let signature = pair.sign(&proof.statement(HERE));
        proof.signature = signature.as_ref().try_into().unwrap();
        proof
    }

    #[test]
    fn challenge_and_proof_fit_a_line_and_read_back() {
        let text = given().print();
        assert_eq!(text.len(), PROOF_LEN);
        assert!(text.len() <= 380);
        assert_eq!(Proof::parse(&text), Ok(given()));
        assert!(given().is_signed(HERE));
        let challenge = Challenge { nonce: [7; 16] };
        assert_eq!(challenge.print().len(), CHALLENGE_LEN);
        assert_eq!(Challenge::parse(&challenge.print()), Ok(challenge));
        assert_eq!(Challenge::parse(&text), Err(TextError::Prefix));
        let cut = &text[..PROOF_LEN - 1];
        assert_eq!(Proof::parse(cut), Err(TextError::Length));
        let wrong = format!("{cut}=");
        assert_eq!(Proof::parse(&wrong), Err(TextError::Alphabet));
    }

    #[test]
    fn a_proof_holds_for_one_place_and_one_nick() {
        for elsewhere in [
            Where {
                nick: "xother234",
                ..HERE
            },
            Where {
                channel: "#other",
                ..HERE
            },
            Where {
                network: "OtherNet",
                ..HERE
            },
            // The same letters, parted elsewhere.
            Where {
                network: "OpenNet#",
                channel: "expressnet",
                ..HERE
            },
        ] {
            assert!(!given().is_signed(elsewhere), "{elsewhere:?}");
        }
        for change in [
            |proof: &mut Proof| proof.nonce[0] ^= 1,
            |proof: &mut Proof| proof.peernet.0[0] ^= 1,
            |proof: &mut Proof| proof.token += 1,
            |proof: &mut Proof| proof.roster_hash[0] ^= 1,
            |proof: &mut Proof| proof.key[0] ^= 1,
        ] {
            let mut proof = given();
            change(&mut proof);
            assert!(!proof.is_signed(HERE));
        }
    }

    #[test]
    fn no_question_is_asked_twice() {
        let place = |network, nick| Place {
            network,
            nick: CaseMapping::Ascii.fold(nick),
        };
        let one = Challenge::new(&[1; 32], &place(0, "a"), 1);
        assert_ne!(one, Challenge::new(&[1; 32], &place(0, "a"), 2));
        assert_ne!(one, Challenge::new(&[1; 32], &place(1, "a"), 1));
        assert_ne!(one, Challenge::new(&[1; 32], &place(0, "b"), 1));
        assert_ne!(one, Challenge::new(&[2; 32], &place(0, "a"), 1));
    }
}
