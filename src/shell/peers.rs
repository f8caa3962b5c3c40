//! The list of peers in the node's home: one line each, the owner's trust and the peer's card.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::membership::Peer;
use crate::membership::card::{CARD_BYTES_MAX, Card, CardError};
use crate::membership::links::PEERS_MAX;
use crate::model::ids::NodeId;
use crate::shell::private_file::{self, PrivateFileError};

/// The highest trust; what one gives one's own nodes.
pub const TRUST_MAX: u8 = 10;
const FILE_BYTES_MAX: usize = PEERS_MAX * (CARD_BYTES_MAX + 4);

/// The peers this node lists. A change is on disk when its method returns.
#[derive(Debug)]
pub struct PeerList {
    file: PathBuf,
    own: NodeId,
    listed: Vec<Listed>,
}

#[derive(Clone, Debug)]
struct Listed {
    peer: Peer,
    card: String,
}

/// Why the list was not read or changed.
#[derive(Debug, Error)]
pub enum PeerListError {
    #[error("{file}:{line}")]
    Line {
        file: String,
        line: usize,
        #[source]
        fault: PeerFault,
    },
    #[error(transparent)]
    Refused(#[from] PeerFault),
    #[error(transparent)]
    File(#[from] PrivateFileError),
}

/// Why one peer cannot be listed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PeerFault {
    #[error("the card does not read")]
    Card(#[source] CardError),
    #[error("the list is full: 256 peers")]
    Full,
    #[error("this node does not list itself")]
    Itself,
    #[error("a line is the trust, one space and a card")]
    Shape,
    #[error("trust is a number from 0 to 10")]
    Trust,
    #[error("this node is listed already")]
    Twice,
    #[error("no listed node has this id")]
    Unknown,
}

impl PeerList {
    /// Reads the list in `home`; one that is missing is empty. `own` is refused in it.
    ///
    /// # Errors
    /// The first faulty line with its number; nothing of a faulty list is used.
    pub fn open(home: &Path, own: NodeId) -> Result<Self, PeerListError> {
        let file = home.join("peers");
        let mut list = Self {
            file,
            own,
            listed: Vec::new(),
        };
        let bytes = match private_file::read(&list.file, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut rest = bytes.as_slice();
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let end = rest.iter().position(|&byte| byte == b'\n');
            let (line, tail) =
                end.map_or((rest, &rest[..0]), |end| (&rest[..end], &rest[end + 1..]));
            let whole = end.ok_or(PeerFault::Shape);
            whole
                .and_then(|_| list.parse_line(line))
                .map_err(|fault| PeerListError::Line {
                    file: list.file.display().to_string(),
                    line: number,
                    fault,
                })?;
            rest = tail;
        }
        Ok(list)
    }

    /// Returns the listed peers in the order in which they were added.
    pub fn list(&self) -> impl Iterator<Item = &Peer> {
        self.listed.iter().map(|listed| &listed.peer)
    }

    /// Lists the node of this card.
    pub fn add(&mut self, card: &str, trust: u8) -> Result<Peer, PeerListError> {
        let peer = self.accept(card, trust)?;
        if let Err(error) = self.store() {
            self.listed.pop();
            return Err(error.into());
        }
        Ok(peer)
    }

    /// Strikes a node off the list.
    pub fn remove(&mut self, id: NodeId) -> Result<Peer, PeerListError> {
        let found = self.listed.iter().position(|listed| listed.peer.id == id);
        let place = found.ok_or(PeerFault::Unknown)?;
        let removed = self.listed.remove(place);
        if let Err(error) = self.store() {
            self.listed.insert(place, removed);
            return Err(error.into());
        }
        Ok(removed.peer)
    }

    fn parse_line(&mut self, line: &[u8]) -> Result<(), PeerFault> {
        let line = std::str::from_utf8(line).map_err(|_| PeerFault::Shape)?;
        let (trust, card) = line.split_once(' ').ok_or(PeerFault::Shape)?;
        let number: u8 = trust.parse().map_err(|_| PeerFault::Trust)?;
        if number.to_string() != trust {
            return Err(PeerFault::Trust);
        }
        self.accept(card, number).map(drop)
    }

    fn accept(&mut self, card: &str, trust: u8) -> Result<Peer, PeerFault> {
        if trust > TRUST_MAX {
            return Err(PeerFault::Trust);
        }
        let peer = Card::parse(card).map_err(PeerFault::Card)?.peer(trust);
        if peer.id == self.own {
            return Err(PeerFault::Itself);
        }
        if self.list().any(|other| other.id == peer.id) {
            return Err(PeerFault::Twice);
        }
        if self.listed.len() >= PEERS_MAX {
            return Err(PeerFault::Full);
        }
        let card = card.to_owned();
        self.listed.push(Listed {
            peer: peer.clone(),
            card,
        });
        Ok(peer)
    }

    fn store(&self) -> Result<(), PrivateFileError> {
        let mut text = String::new();
        for listed in &self.listed {
            text.push_str(&format!("{} {}\n", listed.peer.trust, listed.card));
        }
        private_file::write(&self.file, text.as_bytes())
    }
}
