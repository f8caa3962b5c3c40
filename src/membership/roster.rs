//! The roster: who belongs to a peernet, signed by everybody on it.
//!
//! ```text
//! peernet 16 │ version 8 │ count 1 │ keys 32 each, ascending │ signatures 64 each, in that order
//! ```
//! A peernet's id is a digest of the keys of version 1, so nobody can found it but they. A later
//! version follows only from the one before it, and only if it keeps a majority of its keys: as
//! every key that is listed has signed, a majority of the peernet has agreed to each step. Signing
//! a version ends the signer's part in every earlier one.

use aws_lc_rs::digest;
use thiserror::Error;

use crate::model::codec::{CodecError, Reader, Writer};
use crate::model::ids::{NodeId, PeernetId};
use crate::model::key::{pin_of, sha256, signed};

/// Members of one peernet; a longer list is refused.
pub const MEMBERS_MAX: usize = 64;
/// The last version there can be: fencing tokens hold the version in their upper half.
pub const VERSION_MAX: u64 = u32::MAX as u64;
/// Bytes of the longest roster.
pub const ROSTER_BYTES_MAX: usize = 16 + 8 + 1 + MEMBERS_MAX * (32 + 64);

const ID_DOMAIN: &[u8] = b"expressnet peernet 1\0";
const ROSTER_DOMAIN: &[u8] = b"expressnet roster 1\0";

/// What members sign: which keys make up a version of a peernet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    peernet: PeernetId,
    version: u64,
    keys: Vec<[u8; 32]>,
}

/// A roster as it was read; nobody has looked at its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    draft: Draft,
    signatures: Vec<[u8; 64]>,
}

/// A roster that every listed key has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    draft: Draft,
    signatures: Vec<[u8; 64]>,
    members: Vec<NodeId>,
    hash: [u8; 32],
}

/// Why keys are no draft of a roster.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DraftError {
    #[error("a roster lists 1 to 64 keys")]
    Count,
    #[error("a key is listed twice")]
    Twice,
    #[error("the peernet has had its last version")]
    Version,
    #[error("fewer than a majority of the roster before it are listed")]
    Majority,
}

/// Why bytes are no roster.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReadError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("a roster lists 1 to 64 keys")]
    Count,
    #[error("the keys are not in ascending order, each once")]
    Order,
    #[error("versions are 1 to 2^32 - 1")]
    Version,
    #[error("the peernet's id does not follow from the keys that found it")]
    Id,
}

/// Why a roster does not count.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SignatureError {
    #[error("{have} signatures for {want} keys")]
    Count { have: usize, want: usize },
    #[error("the signature of key {at} does not verify")]
    Wrong { at: usize },
}

/// Why a roster does not follow from another.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SuccessionError {
    #[error("it is of another peernet")]
    Peernet,
    #[error("version {version} does not follow version {before}")]
    Version { before: u64, version: u64 },
    #[error("fewer than a majority of the roster before it are listed")]
    Majority,
}

impl Draft {
    /// Founds a peernet.
    ///
    /// # Errors
    /// No key, too many, or one that stands twice.
    pub fn found(keys: &[[u8; 32]]) -> Result<Self, DraftError> {
        let keys = sorted(keys)?;
        Ok(Self {
            peernet: peernet_of(&keys),
            version: 1,
            keys,
        })
    }

    /// Drafts the version that is to follow `before`.
    ///
    /// # Errors
    /// As [`Draft::found`]; or fewer than a majority of the earlier keys are kept.
    pub fn succeed(before: &Roster, keys: &[[u8; 32]]) -> Result<Self, DraftError> {
        let draft = Self {
            peernet: before.draft.peernet,
            version: before.version().checked_add(1).ok_or(DraftError::Version)?,
            keys: sorted(keys)?,
        };
        if draft.version > VERSION_MAX {
            return Err(DraftError::Version);
        }
        match keeps_majority(&before.draft.keys, &draft.keys) {
            true => Ok(draft),
            false => Err(DraftError::Majority),
        }
    }

    /// Drafts a version of a peernet whose earlier ones are not known here. Whether it follows from
    /// them is looked at by who knows them.
    ///
    /// # Errors
    /// As [`Draft::found`]; or there is no such version.
    pub fn join(peernet: PeernetId, version: u64, keys: &[[u8; 32]]) -> Result<Self, DraftError> {
        let founded = Self::found(keys)?;
        match version {
            // Of another id it is another draft, and nobody signs it.
            1 => Ok(founded),
            2..=VERSION_MAX => Ok(Self {
                peernet,
                version,
                ..founded
            }),
            0.. => Err(DraftError::Version),
        }
    }

    pub const fn peernet(&self) -> PeernetId {
        self.peernet
    }

    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Returns the keys in ascending order: the order of signatures.
    pub fn keys(&self) -> &[[u8; 32]] {
        &self.keys
    }

    /// Returns the bytes that every listed key signs.
    pub fn statement(&self) -> Vec<u8> {
        let mut bytes = ROSTER_DOMAIN.to_vec();
        self.write(&mut bytes);
        bytes
    }

    /// Returns SHA-256 of the statement: one name for exactly these keys in this version.
    pub fn sum(&self) -> [u8; 32] {
        sha256(&self.statement())
    }

    /// Writes a roster of a draft and signatures in the order of its keys, which nobody has looked at.
    pub fn write_unverified(&self, signatures: &[[u8; 64]], out: &mut Vec<u8>) {
        self.write(out);
        out.extend_from_slice(signatures.as_flattened());
    }

    /// Puts the signatures to a draft, in the order of its keys.
    ///
    /// # Errors
    /// One is missing, too many, or does not verify.
    pub fn sign(self, signatures: Vec<[u8; 64]>) -> Result<Roster, SignatureError> {
        Unverified {
            draft: self,
            signatures,
        }
        .verify()
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.raw(&self.peernet.0);
        writer.u64(self.version);
        writer.u8(u8::try_from(self.keys.len()).unwrap_or(0));
        for key in &self.keys {
            writer.raw(key);
        }
    }
}

impl Unverified {
    /// Reads a roster's bytes; everything but the signatures is checked.
    ///
    /// # Shape
    /// `peernet 16, version 8, count 1, keys 32 each, signatures 64 each`, integers little endian,
    /// nothing behind.
    ///
    /// # Errors
    /// Any other shape, keys out of order, or a founding roster that is not the one its id names.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut reader = Reader::new(bytes);
        let peernet = PeernetId(reader.array("peernet")?);
        let version = reader.u64("roster version")?;
        let count = usize::from(reader.u8("key count")?);
        if !(1..=MEMBERS_MAX).contains(&count) {
            return Err(ReadError::Count);
        }
        let keys = (0..count).map(|_| reader.array("key"));
        let keys = keys.collect::<Result<Vec<[u8; 32]>, _>>()?;
        let signatures = (0..count).map(|_| reader.array("signature"));
        let signatures = signatures.collect::<Result<Vec<[u8; 64]>, _>>()?;
        reader.finish()?;
        if !keys.is_sorted_by(|one, other| one < other) {
            return Err(ReadError::Order);
        }
        match version {
            1 if peernet != peernet_of(&keys) => return Err(ReadError::Id),
            version if (1..=VERSION_MAX).contains(&version) => (),
            0.. => return Err(ReadError::Version),
        }
        let draft = Draft {
            peernet,
            version,
            keys,
        };
        Ok(Self { draft, signatures })
    }

    pub const fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Looks at every signature: about 50 µs each, so not for the core thread.
    ///
    /// # Errors
    /// The first key that has not signed.
    pub fn verify(self) -> Result<Roster, SignatureError> {
        let (have, want) = (self.signatures.len(), self.draft.keys.len());
        if have != want {
            return Err(SignatureError::Count { have, want });
        }
        let statement = self.draft.statement();
        let mut pairs = self.draft.keys.iter().zip(&self.signatures);
        if let Some(at) = pairs.position(|(key, signature)| !signed(key, &statement, signature)) {
            return Err(SignatureError::Wrong { at });
        }
        Ok(self.seal_verified())
    }

    /// Takes the word of whoever has verified these bytes beside the core.
    pub(crate) fn seal_verified(self) -> Roster {
        let hash = self.draft.sum();
        let members = self.draft.keys.iter().map(|key| pin_of(key).node_id());
        let mut members: Vec<NodeId> = members.collect();
        members.sort_unstable();
        Roster {
            members,
            hash,
            draft: self.draft,
            signatures: self.signatures,
        }
    }
}

impl Roster {
    pub const fn peernet(&self) -> PeernetId {
        self.draft.peernet
    }

    pub const fn version(&self) -> u64 {
        self.draft.version
    }

    pub fn keys(&self) -> &[[u8; 32]] {
        &self.draft.keys
    }

    /// Returns the members' ids in ascending order.
    pub fn members(&self) -> &[NodeId] {
        &self.members
    }

    /// Returns SHA-256 of what was signed: one name for exactly these keys in this version.
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Tells whether this roster follows from `before`.
    ///
    /// # Errors
    /// Another peernet, not the next version, or too few of the earlier keys agreed.
    pub fn succeeds(&self, before: &Self) -> Result<(), SuccessionError> {
        if self.peernet() != before.peernet() {
            return Err(SuccessionError::Peernet);
        }
        if before.version() + 1 != self.version() {
            let (before, version) = (before.version(), self.version());
            return Err(SuccessionError::Version { before, version });
        }
        match keeps_majority(before.keys(), self.keys()) {
            true => Ok(()),
            false => Err(SuccessionError::Majority),
        }
    }

    /// Appends the roster's one form in bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.draft.write(out);
        for signature in &self.signatures {
            out.extend_from_slice(signature);
        }
    }
}

/// Derives the id of the peernet that these keys found.
fn peernet_of(sorted: &[[u8; 32]]) -> PeernetId {
    let count = u8::try_from(sorted.len()).unwrap_or(0);
    let founding = [ID_DOMAIN, &[count], sorted.as_flattened()].concat();
    let mut id = [0; 16];
    id.copy_from_slice(&digest::digest(&digest::SHA256, &founding).as_ref()[..16]);
    PeernetId(id)
}

fn sorted(keys: &[[u8; 32]]) -> Result<Vec<[u8; 32]>, DraftError> {
    if !(1..=MEMBERS_MAX).contains(&keys.len()) {
        return Err(DraftError::Count);
    }
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    match keys.is_sorted_by(|one, other| one < other) {
        true => Ok(keys),
        false => Err(DraftError::Twice),
    }
}

/// Tells whether more than half of `before` stand in `after`, both ascending.
fn keeps_majority(before: &[[u8; 32]], after: &[[u8; 32]]) -> bool {
    let kept = before.iter().filter(|key| after.binary_search(key).is_ok());
    kept.count() > before.len() / 2
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    pub(crate) fn key(seed: u8) -> [u8; 32] {
        pair(seed).public_key().as_ref().try_into().unwrap()
    }

    /// Signs a draft with the keys of `seeds`, whose order does not matter.
    pub(crate) fn signed_by(draft: &Draft, seeds: &[u8]) -> Roster {
        let statement = draft.statement();
        let sign = |listed: &[u8; 32]| {
            let seed = seeds.iter().find(|seed| key(**seed) == *listed).unwrap();
            pair(*seed).sign(&statement).as_ref().try_into().unwrap()
        };
        let signatures = draft.keys().iter().map(sign).collect();
        draft.clone().sign(signatures).unwrap()
    }

    pub(crate) fn founded(seeds: &[u8]) -> Roster {
        let keys: Vec<[u8; 32]> = seeds.iter().map(|seed| key(*seed)).collect();
        signed_by(&Draft::found(&keys).unwrap(), seeds)
    }

    pub(crate) fn followed(before: &Roster, seeds: &[u8]) -> Roster {
        let keys: Vec<[u8; 32]> = seeds.iter().map(|seed| key(*seed)).collect();
        signed_by(&Draft::succeed(before, &keys).unwrap(), seeds)
    }

    fn bytes(roster: &Roster) -> Vec<u8> {
        let mut bytes = Vec::new();
        roster.write(&mut bytes);
        bytes
    }

    #[test]
    fn a_roster_has_one_form_in_bytes() {
        let roster = founded(&[3, 1, 2]);
        let written = bytes(&roster);
        assert_eq!(written.len(), 16 + 8 + 1 + 3 * 96);
        let read = Unverified::read(&written).unwrap().verify().unwrap();
        assert_eq!(read, roster);
        assert_eq!(bytes(&read), written);
        let seeds: Vec<u8> = (0..64).collect();
        assert_eq!(bytes(&founded(&seeds)).len(), ROSTER_BYTES_MAX);
    }

    #[test]
    fn any_changed_bit_and_any_truncation_is_refused() {
        let written = bytes(&founded(&[1, 2]));
        for at in 0..written.len() {
            assert!(Unverified::read(&written[..at]).is_err(), "{at} bytes");
            for bit in 0..8 {
                let mut mutant = written.clone();
                mutant[at] ^= 1 << bit;
                let counts = Unverified::read(&mutant).is_ok_and(|read| read.verify().is_ok());
                assert!(!counts, "byte {at}, bit {bit}");
            }
        }
        let longer = [&written[..], &[0]].concat();
        let refused = Unverified::read(&longer);
        assert_eq!(refused, Err(CodecError::Trailing(1).into()));
    }

    #[test]
    fn keys_out_of_order_or_listed_twice_are_refused() {
        let written = bytes(&founded(&[1, 2]));
        let (first, second) = (25..57, 57..89);
        let mut swapped = written.clone();
        swapped[first.clone()].copy_from_slice(&written[second.clone()]);
        swapped[second.clone()].copy_from_slice(&written[first.clone()]);
        assert_eq!(Unverified::read(&swapped), Err(ReadError::Order));
        let mut twice = written.clone();
        twice[second].copy_from_slice(&written[first]);
        assert_eq!(Unverified::read(&twice), Err(ReadError::Order));
        assert_eq!(Draft::found(&[key(1), key(1)]), Err(DraftError::Twice));
        assert_eq!(Draft::found(&[]), Err(DraftError::Count));
        assert_eq!(Draft::found(&[[0; 32]; 65]), Err(DraftError::Count));
        for count in [0, 65, 255] {
            let mut wrong = written.clone();
            wrong[24] = count;
            assert_eq!(Unverified::read(&wrong), Err(ReadError::Count));
        }
    }

    #[test]
    fn nobody_claims_the_peernet_of_others() {
        let theirs = founded(&[1, 2, 3]);
        let mut claim = bytes(&founded(&[7, 8]));
        claim[..16].copy_from_slice(&theirs.peernet().0);
        assert_eq!(Unverified::read(&claim), Err(ReadError::Id));
        claim[16..24].copy_from_slice(&0_u64.to_le_bytes());
        assert_eq!(Unverified::read(&claim), Err(ReadError::Version));
        // A version 2 that its own keys have signed, and nobody of version 1.
        let draft = Draft {
            peernet: theirs.peernet(),
            version: 2,
            keys: sorted(&[key(7), key(8)]).unwrap(),
        };
        let usurped = signed_by(&draft, &[7, 8]);
        assert_eq!(usurped.succeeds(&theirs), Err(SuccessionError::Majority));
    }

    #[test]
    fn a_version_follows_only_from_the_one_before_with_a_majority_of_its_keys() {
        let first = founded(&[1, 2, 3, 4]);
        let second = followed(&first, &[1, 2, 3]);
        assert_eq!(second.succeeds(&first), Ok(()));
        assert_eq!(second.peernet(), first.peernet());
        let third = followed(&second, &[1, 2, 9, 10, 11, 12]);
        assert_eq!(
            third.succeeds(&first),
            Err(SuccessionError::Version {
                before: 1,
                version: 3
            })
        );
        assert_eq!(
            second.succeeds(&founded(&[5])),
            Err(SuccessionError::Peernet)
        );
        let half = Draft::succeed(&first, &[key(1), key(2), key(9)]);
        assert_eq!(
            half,
            Err(DraftError::Majority),
            "two of four are no majority"
        );
    }

    #[test]
    fn every_listed_key_must_have_signed() {
        let draft = Draft::found(&[key(1), key(2)]).unwrap();
        let whole = signed_by(&draft, &[1, 2]);
        let mut signatures = whole.signatures.clone();
        signatures.swap(0, 1);
        assert_eq!(
            draft.clone().sign(signatures.clone()),
            Err(SignatureError::Wrong { at: 0 })
        );
        signatures.pop();
        assert_eq!(
            draft.sign(signatures),
            Err(SignatureError::Count { have: 1, want: 2 })
        );
    }

    #[test]
    fn a_signature_counts_for_one_version_and_one_list() {
        let first = founded(&[1, 2, 3]);
        let second = Draft::succeed(&first, &[key(1), key(2), key(3)]).unwrap();
        let replayed = second.sign(first.signatures.clone());
        assert_eq!(replayed, Err(SignatureError::Wrong { at: 0 }));
        assert_ne!(founded(&[1, 2]).hash(), first.hash());
    }

    #[test]
    fn members_are_the_ids_of_the_keys() {
        let roster = founded(&[1, 2, 3]);
        assert!(roster.members().is_sorted());
        assert!(roster.members().contains(&pin_of(&key(2)).node_id()));
    }
}
