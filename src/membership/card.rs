//! The card: one line that says who a node is, who owns it and where it can be dialled.
//!
//! ```text
//! expressnet1:<base64url without padding of>
//! version 1 │ node key 32 │ knock key 32 │ owner key 32 │ owner's signature 64
//! │ name length 1, name │ address count 1, addresses │ node's signature 64
//! address: 4, IPv4 4, port 2   or   6, IPv6 16, port 2   (big endian)
//! ```
//! The owner vouches for the node's two keys, the node signs everything. One card has exactly one
//! text: what parses prints back to the same bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use data_encoding::{BASE64URL_NOPAD, DecodeKind};
use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::membership::Peer;
use crate::model::ids::{NodeId, OwnerId, Pin};
pub use crate::model::key::{is_ed25519_spki, pin_of, pin_of_spki, signed};

/// What every card begins with; the digit is the version of the text.
pub const PREFIX: &str = "expressnet1:";
/// Bytes of a name, all of them printable ASCII.
pub const NAME_BYTES_MAX: usize = 32;
/// Addresses on one card.
pub const ADDRESSES_MAX: usize = 4;
/// Bytes of a card's text, prefix included: the longest name and four IPv6 addresses.
pub const CARD_BYTES_MAX: usize = 600;

const VERSION: u8 = 1;
const OWNER_DOMAIN: &[u8] = b"expressnet owner vouches for node 1\0";
const CARD_DOMAIN: &[u8] = b"expressnet node card 1\0";
/// What a card says, both signatures verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    node: [u8; 32],
    knock: [u8; 32],
    owner: [u8; 32],
    owner_signature: [u8; 64],
    name: String,
    addresses: Vec<SocketAddr>,
    signature: [u8; 64],
}

/// What goes into a new card.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    pub node: [u8; 32],
    pub knock: [u8; 32],
    pub owner: [u8; 32],
    /// Over [`owner_statement`] of the two keys.
    pub owner_signature: [u8; 64],
    pub name: &'a str,
    pub addresses: &'a [SocketAddr],
}

/// Why a line is not a card, and at which column (from 1).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("column {column}: {reason}")]
pub struct CardError {
    pub column: usize,
    pub reason: CardFault,
}

/// What is wrong with a card.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CardFault {
    #[error("this is no address that can be dialled")]
    Address,
    #[error("an address stands twice")]
    AddressTwice,
    #[error("a card has at most 4 addresses")]
    Addresses,
    #[error("this is no base64url character")]
    Alphabet,
    #[error("a card begins with `expressnet1:`")]
    Prefix,
    #[error("the knock key is no X25519 key in its one form")]
    Knock,
    #[error("a name is 1 to 32 printable ASCII characters without a space at its ends")]
    Name,
    #[error("the node's signature does not verify")]
    NodeSignature,
    #[error("the owner's signature does not verify")]
    OwnerSignature,
    #[error("the card is too long")]
    TooLong,
    #[error("the card ends too early")]
    TooShort,
    #[error("more stands behind the card's end")]
    Trailing,
    #[error("the card's version is unknown")]
    Version,
}

impl Card {
    /// Makes a card; `sign` is the node's key over the bytes it is handed.
    ///
    /// # Errors
    /// The same faults as [`Card::parse`]: no card is made that would not be read.
    pub fn issue(
        draft: &Draft<'_>,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<Self, CardError> {
        let mut card = Self {
            node: draft.node,
            knock: draft.knock,
            owner: draft.owner,
            owner_signature: draft.owner_signature,
            name: draft.name.to_owned(),
            addresses: draft.addresses.to_vec(),
            signature: [0; 64],
        };
        let named = draft.name.len() <= NAME_BYTES_MAX;
        if !named || draft.addresses.len() > ADDRESSES_MAX {
            let reason = if named {
                CardFault::Addresses
            } else {
                CardFault::Name
            };
            return Err(CardError { column: 1, reason });
        }
        card.signature = sign(&statement(&card.body()));
        Self::parse(&card.print())
    }

    /// Reads a card, strictly: one text a card, exact lengths, both signatures.
    ///
    /// # Errors
    /// [`CardError`] with the first column that is wrong; a signature points at its own column.
    pub fn parse(text: &str) -> Result<Self, CardError> {
        let at = |column, reason| CardError { column, reason };
        if text.len() > CARD_BYTES_MAX {
            return Err(at(CARD_BYTES_MAX + 1, CardFault::TooLong));
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(at(1, CardFault::Prefix))?;
        let bytes = BASE64URL_NOPAD
            .decode(encoded.as_bytes())
            .map_err(|error| {
                let reason = match error.kind {
                    DecodeKind::Length => CardFault::TooShort,
                    DecodeKind::Symbol | DecodeKind::Trailing | DecodeKind::Padding => {
                        CardFault::Alphabet
                    }
                };
                at(PREFIX.len() + error.position + 1, reason)
            })?;
        let mut reader = Reader {
            bytes: &bytes,
            offset: 0,
        };
        let card = Self::read(&mut reader)?;
        card.verify(&bytes)?;
        Ok(card)
    }

    /// Prints the one line.
    pub fn print(&self) -> String {
        let mut bytes = self.body();
        bytes.extend_from_slice(&self.signature);
        let mut text = PREFIX.to_owned();
        BASE64URL_NOPAD.encode_append(&bytes, &mut text);
        text
    }

    pub fn pin(&self) -> Pin {
        pin_of(&self.node)
    }

    pub fn node_id(&self) -> NodeId {
        self.pin().node_id()
    }

    /// Returns the listed node this card describes, with the owner's trust in it.
    pub fn peer(&self, trust: u8) -> Peer {
        Peer {
            id: self.node_id(),
            pin: self.pin(),
            key: self.node,
            knock: self.knock,
            owner: OwnerId(self.owner),
            name: self.name.clone(),
            addresses: self.addresses.clone(),
            trust,
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CardError> {
        if reader.byte()? != VERSION {
            return Err(reader.behind(1, CardFault::Version));
        }
        let node = reader.array()?;
        let knock = reader.array()?;
        if !is_knock_key(&knock) {
            return Err(reader.behind(32, CardFault::Knock));
        }
        let owner = reader.array()?;
        let owner_signature = reader.array()?;
        let name = read_name(reader)?;
        let addresses = read_addresses(reader)?;
        let signature = reader.array()?;
        if reader.offset != reader.bytes.len() {
            return Err(reader.behind(0, CardFault::Trailing));
        }
        Ok(Self {
            node,
            knock,
            owner,
            owner_signature,
            name,
            addresses,
            signature,
        })
    }

    fn verify(&self, bytes: &[u8]) -> Result<(), CardError> {
        let (body, _) = bytes.split_at(bytes.len() - self.signature.len());
        if !signed(
            &self.owner,
            &owner_statement(&self.node, &self.knock),
            &self.owner_signature,
        ) {
            let column = column_of(1 + 3 * 32);
            return Err(CardError {
                column,
                reason: CardFault::OwnerSignature,
            });
        }
        if !signed(&self.node, &statement(body), &self.signature) {
            let column = column_of(body.len());
            return Err(CardError {
                column,
                reason: CardFault::NodeSignature,
            });
        }
        Ok(())
    }

    fn body(&self) -> Vec<u8> {
        let mut body = vec![VERSION];
        body.extend_from_slice(&self.node);
        body.extend_from_slice(&self.knock);
        body.extend_from_slice(&self.owner);
        body.extend_from_slice(&self.owner_signature);
        body.push(u8::try_from(self.name.len()).unwrap_or(u8::MAX));
        body.extend_from_slice(self.name.as_bytes());
        body.push(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX));
        for address in &self.addresses {
            match address.ip() {
                IpAddr::V4(ip) => {
                    body.push(4);
                    body.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    body.push(6);
                    body.extend_from_slice(&ip.octets());
                }
            }
            body.extend_from_slice(&address.port().to_be_bytes());
        }
        body
    }
}

/// Returns what an owner signs to vouch for a node.
pub fn owner_statement(node: &[u8; 32], knock: &[u8; 32]) -> Vec<u8> {
    [OWNER_DOMAIN, node, knock].concat()
}

fn statement(body: &[u8]) -> Vec<u8> {
    [CARD_DOMAIN, body].concat()
}

/// Refuses keys of small order, with which every secret agrees on zero, and the second spelling
/// that X25519 allows for a key.
fn is_knock_key(key: &[u8; 32]) -> bool {
    let shared = StaticSecret::from([0x42; 32]).diffie_hellman(&PublicKey::from(*key));
    let reduced =
        key[31] < 0x7F || (key[31] == 0x7F && key[1..31].iter().any(|&byte| byte != 0xFF));
    shared.was_contributory() && reduced
}

fn read_name(reader: &mut Reader<'_>) -> Result<String, CardError> {
    let len = usize::from(reader.byte()?);
    if !(1..=NAME_BYTES_MAX).contains(&len) {
        return Err(reader.behind(1, CardFault::Name));
    }
    let name = reader.take(len)?;
    let printable = name.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if !printable || name.first() == Some(&b' ') || name.last() == Some(&b' ') {
        return Err(reader.behind(len, CardFault::Name));
    }
    Ok(String::from_utf8_lossy(name).into_owned())
}

fn read_addresses(reader: &mut Reader<'_>) -> Result<Vec<SocketAddr>, CardError> {
    let count = usize::from(reader.byte()?);
    if count > ADDRESSES_MAX {
        return Err(reader.behind(1, CardFault::Addresses));
    }
    let mut addresses = Vec::with_capacity(count);
    for _ in 0..count {
        let start = reader.offset;
        let ip = match reader.byte()? {
            4 => IpAddr::V4(Ipv4Addr::from(reader.array::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(reader.array::<16>()?)),
            _ => return Err(reader.behind(1, CardFault::Address)),
        };
        let address = SocketAddr::new(ip, u16::from_be_bytes(reader.array()?));
        let used = reader.offset - start;
        if !is_dialable(address) {
            return Err(reader.behind(used, CardFault::Address));
        }
        if addresses.contains(&address) {
            return Err(reader.behind(used, CardFault::AddressTwice));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn is_dialable(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    let mapped = ip.to_canonical() != ip;
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast && !mapped
}

/// Returns the column of the character in which byte `offset` of the card begins.
fn column_of(offset: usize) -> usize {
    PREFIX.len() + offset * 4 / 3 + 1
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], CardError> {
        let end = self.offset + len;
        let Some(taken) = self.bytes.get(self.offset..end) else {
            let column = column_of(self.bytes.len());
            return Err(CardError {
                column,
                reason: CardFault::TooShort,
            });
        };
        self.offset = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, CardError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], CardError> {
        let mut array = [0; LEN];
        array.copy_from_slice(self.take(LEN)?);
        Ok(array)
    }

    /// Returns an error that points at the last `len` bytes taken.
    fn behind(&self, len: usize, reason: CardFault) -> CardError {
        CardError {
            column: column_of(self.offset - len),
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    fn key(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn public(key: &Ed25519KeyPair) -> [u8; 32] {
        key.public_key().as_ref().try_into().unwrap()
    }

    fn sign(key: &Ed25519KeyPair, message: &[u8]) -> [u8; 64] {
        key.sign(message).as_ref().try_into().unwrap()
    }

    fn issue(name: &str, addresses: &[&str]) -> Result<Card, CardError> {
        let (node, owner) = (key(1), key(2));
        let knock = PublicKey::from(&StaticSecret::from([3; 32])).to_bytes();
        let addresses: Vec<SocketAddr> =
            addresses.iter().map(|text| text.parse().unwrap()).collect();
        let draft = Draft {
            node: public(&node),
            knock,
            owner: public(&owner),
            owner_signature: sign(&owner, &owner_statement(&public(&node), &knock)),
            name,
            addresses: &addresses,
        };
        Card::issue(&draft, |message| sign(&node, message))
    }

    fn refused(name: &str, addresses: &[&str], expected: CardFault) {
        assert_eq!(
            issue(name, addresses).unwrap_err().reason,
            expected,
            "{name} {addresses:?}"
        );
    }

    #[test]
    fn printing_a_parsed_card_gives_the_same_line() {
        let widest = "[2001:db8::1]:65535";
        for (name, addresses) in [
            ("a", vec!["192.0.2.1:4433"]),
            ("Gate of Tokyo ~ no. 7", vec!["192.0.2.1:1", widest]),
            (
                "12345678901234567890123456789012",
                vec![
                    widest,
                    "[2001:db8::2]:1",
                    "[2001:db8::3]:1",
                    "[2001:db8::4]:1",
                ],
            ),
        ] {
            let text = issue(name, &addresses).unwrap().print();
            let card = Card::parse(&text).unwrap();
            assert_eq!(card.print(), text);
            let peer = card.peer(7);
            assert_eq!((peer.name.as_str(), peer.trust), (name, 7));
            assert_eq!(peer.addresses.len(), addresses.len());
            assert_eq!(peer.id, peer.pin.node_id());
            assert_eq!(peer.owner, OwnerId(public(&key(2))));
        }
    }

    #[test]
    fn any_changed_character_and_any_truncation_is_refused() {
        let text = issue("mutant", &["192.0.2.1:4433"]).unwrap().print();
        for at in 0..text.len() {
            for replacement in ['A', 'Z', '0', '_', '=', '+'] {
                let mut mutant: Vec<char> = text.chars().collect();
                if mutant[at] == replacement {
                    continue;
                }
                mutant[at] = replacement;
                let mutant: String = mutant.into_iter().collect();
                assert!(Card::parse(&mutant).is_err(), "column {}", at + 1);
            }
            assert!(Card::parse(&text[..at]).is_err(), "{at} characters");
        }
        for suffix in ["A", "AA", "AAAA", "=", "\n", " "] {
            assert!(
                Card::parse(&format!("{text}{suffix}")).is_err(),
                "{suffix:?}"
            );
        }
        assert!(Card::parse(&text).is_ok());
    }

    #[test]
    fn a_card_that_nobody_could_read_is_not_made() {
        refused("", &["192.0.2.1:1"], CardFault::Name);
        refused(" a", &["192.0.2.1:1"], CardFault::Name);
        refused("line\nfeed", &["192.0.2.1:1"], CardFault::Name);
        refused(
            "123456789012345678901234567890123",
            &["192.0.2.1:1"],
            CardFault::Name,
        );
        refused("a", &["192.0.2.1:1"; 5], CardFault::Addresses);
        refused("a", &["192.0.2.1:1"; 2], CardFault::AddressTwice);
        refused("a", &["192.0.2.1:0"], CardFault::Address);
        refused("a", &["0.0.0.0:1"], CardFault::Address);
        refused("a", &["224.0.0.1:1"], CardFault::Address);
        refused("a", &["[::ffff:192.0.2.1]:1"], CardFault::Address);
    }

    #[test]
    fn a_foreign_owner_does_not_vouch() {
        let mut card = issue("a", &["192.0.2.1:1"]).unwrap();
        card.owner = public(&key(9));
        card.signature = sign(&key(1), &statement(&card.body()));
        let error = Card::parse(&card.print()).unwrap_err();
        assert_eq!(error.reason, CardFault::OwnerSignature);
        assert_eq!(error.column, column_of(97));
    }

    #[test]
    fn a_knock_key_that_everybody_agrees_with_is_refused() {
        assert!(!is_knock_key(&[0; 32]));
        assert!(!is_knock_key(&[0xFF; 32]));
        assert!(is_knock_key(
            &PublicKey::from(&StaticSecret::from([3; 32])).to_bytes()
        ));
    }
}
