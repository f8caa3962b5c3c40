//! The node's home: its keys, its certificate and its owner's word for it.
//!
//! | file | holds | kept secret |
//! |---|---|---|
//! | `node.key` | Ed25519, PKCS#8: the identity | yes |
//! | `node.crt` | self-signed certificate of that key, its common name is the UUID | no |
//! | `knock.key` | X25519: the tag on first packets | yes |
//! | `owner.key` | Ed25519, PKCS#8, where the owner's key lives on this node | yes |
//! | `owner.proof` | owner's public key and signature, where it does not | no |
//!
//! All have mode 0600 in a folder of mode 0700. `node.key` is written last, so a home in which it
//! is missing was not finished and `create` finishes it.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use rcgen::{CertificateParams, DistinguishedName, DnType, PKCS_ED25519};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::membership::card::{Card, CardError, Draft, owner_statement, pin_of, signed};
use crate::model::ids::{NodeId, OwnerId, Pin};
use crate::shell::private_file::{self, PrivateFileError};

/// Bytes of a key or certificate file; ours are below 500.
const FILE_BYTES_MAX: usize = 4096;
const KNOCK_BYTES: usize = 32;
const PROOF_BYTES: usize = 32 + 64;

/// Whose word stands behind a new node.
#[derive(Clone, Copy, Debug)]
pub enum OwnerSource<'a> {
    /// A new owner: the key is made and kept in this home.
    New,
    /// The `owner.key` of another home is copied here; this node can then vouch for further ones.
    Copied(&'a Path),
    /// The `owner.key` of another home signs the proof and is not kept here.
    Vouched(&'a Path),
}

/// Who this node is. Its `Debug` shows the UUID only.
pub struct Identity {
    node: Ed25519KeyPair,
    node_pkcs8: Vec<u8>,
    certificate: Vec<u8>,
    knock: StaticSecret,
    owner: OwnerId,
    owner_signature: [u8; 64],
}

/// Why there is no identity. Never contains a secret.
#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("{0} holds an identity already; a node has one for ever")]
    Exists(PathBuf),
    #[error("{0} is cut off or damaged; restore it from a copy")]
    Damaged(PathBuf),
    #[error("{0} is not the certificate of node.key; remove it, it is made anew")]
    ForeignCertificate(PathBuf),
    #[error("{0} does not vouch for this node's keys; let the owner vouch again")]
    ForeignProof(PathBuf),
    #[error("the system's random source does not answer")]
    NoRandom,
    #[error("the certificate cannot be made")]
    Certificate(#[source] rcgen::Error),
    #[error(transparent)]
    File(#[from] PrivateFileError),
}

impl Identity {
    /// Makes a new identity in `home`, which is created if need be.
    pub fn create(home: &Path, owner: OwnerSource<'_>) -> Result<Self, IdentityError> {
        private_file::make_folder(home)?;
        let node_file = home.join("node.key");
        if read_optional(&node_file)?.is_some() {
            return Err(IdentityError::Exists(home.to_owned()));
        }
        let node_pkcs8 = new_key()?;
        let node = parse_key(&node_file, &node_pkcs8)?;
        let mut knock = [0; KNOCK_BYTES];
        getrandom::fill(&mut knock).map_err(|_| IdentityError::NoRandom)?;
        let knock_public = PublicKey::from(&StaticSecret::from(knock)).to_bytes();
        write_owner(home, owner, &owner_statement(&public(&node), &knock_public))?;
        private_file::write(&home.join("knock.key"), &knock)?;
        write_certificate(home, &node, &node_pkcs8)?;
        private_file::write(&node_file, &node_pkcs8)?;
        Self::open(home)
    }

    /// Opens the identity in `home`. A missing certificate is made anew: the key is the identity.
    ///
    /// # Errors
    /// A file that others can reach, that is a link, belongs to somebody else, or is cut off.
    pub fn open(home: &Path) -> Result<Self, IdentityError> {
        private_file::check_home(home)?;
        let node_file = home.join("node.key");
        let node_pkcs8 = private_file::read(&node_file, FILE_BYTES_MAX)?;
        let node = parse_key(&node_file, &node_pkcs8)?;
        let knock_file = home.join("knock.key");
        let knock: [u8; KNOCK_BYTES] = private_file::read(&knock_file, FILE_BYTES_MAX)?
            .try_into()
            .map_err(|_| IdentityError::Damaged(knock_file))?;
        let knock = StaticSecret::from(knock);
        let statement = owner_statement(&public(&node), &PublicKey::from(&knock).to_bytes());
        let (owner, owner_signature) = read_owner(home, &statement)?;
        let certificate_file = home.join("node.crt");
        let certificate = match read_optional(&certificate_file)? {
            Some(certificate) => certificate,
            None => write_certificate(home, &node, &node_pkcs8)?,
        };
        check_certificate(&certificate_file, &certificate, &node)?;
        Ok(Self {
            node,
            node_pkcs8,
            certificate,
            knock,
            owner,
            owner_signature,
        })
    }

    /// Prints this node's card, to be handed to friends.
    pub fn card(&self, name: &str, addresses: &[SocketAddr]) -> Result<String, CardError> {
        let draft = Draft {
            node: public(&self.node),
            knock: self.knock_public(),
            owner: self.owner.0,
            owner_signature: self.owner_signature,
            name,
            addresses,
        };
        Card::issue(&draft, |message| self.sign(message)).map(|card| card.print())
    }

    /// Returns the node's public key.
    pub fn node_key(&self) -> [u8; 32] {
        public(&self.node)
    }

    pub fn pin(&self) -> Pin {
        pin_of(&public(&self.node))
    }

    pub fn node_id(&self) -> NodeId {
        self.pin().node_id()
    }

    pub fn owner(&self) -> OwnerId {
        self.owner
    }

    pub fn knock_public(&self) -> [u8; 32] {
        PublicKey::from(&self.knock).to_bytes()
    }

    /// Signs with the node's key.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        sign(&self.node, message)
    }

    /// Returns the secret of the tag on first packets.
    pub(super) fn knock_secret(&self) -> &StaticSecret {
        &self.knock
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.certificate.clone())
    }

    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.node_pkcs8.clone()).into()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("node", &self.node_id())
            .finish_non_exhaustive()
    }
}

fn write_owner(
    home: &Path,
    source: OwnerSource<'_>,
    statement: &[u8],
) -> Result<(), IdentityError> {
    let own_file = home.join("owner.key");
    match source {
        OwnerSource::New => {
            if let Some(unfinished) = read_optional(&own_file)? {
                return parse_key(&own_file, &unfinished).map(drop);
            }
            private_file::write(&own_file, &new_key()?)?;
        }
        OwnerSource::Copied(path) => {
            let pkcs8 = private_file::read(path, FILE_BYTES_MAX)?;
            parse_key(path, &pkcs8)?;
            private_file::write(&own_file, &pkcs8)?;
        }
        OwnerSource::Vouched(path) => {
            let owner = parse_key(path, &private_file::read(path, FILE_BYTES_MAX)?)?;
            let proof = [&public(&owner)[..], &sign(&owner, statement)].concat();
            private_file::write(&home.join("owner.proof"), &proof)?;
        }
    }
    Ok(())
}

fn read_owner(home: &Path, statement: &[u8]) -> Result<(OwnerId, [u8; 64]), IdentityError> {
    let key_file = home.join("owner.key");
    if let Some(pkcs8) = read_optional(&key_file)? {
        let owner = parse_key(&key_file, &pkcs8)?;
        return Ok((OwnerId(public(&owner)), sign(&owner, statement)));
    }
    let proof_file = home.join("owner.proof");
    let proof: [u8; PROOF_BYTES] = private_file::read(&proof_file, FILE_BYTES_MAX)?
        .try_into()
        .map_err(|_| IdentityError::Damaged(proof_file.clone()))?;
    let (mut owner, mut signature) = ([0; 32], [0; 64]);
    owner.copy_from_slice(&proof[..32]);
    signature.copy_from_slice(&proof[32..]);
    if !signed(&owner, statement, &signature) {
        return Err(IdentityError::ForeignProof(proof_file));
    }
    Ok((OwnerId(owner), signature))
}

fn write_certificate(
    home: &Path,
    node: &Ed25519KeyPair,
    pkcs8: &[u8],
) -> Result<Vec<u8>, IdentityError> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8));
    let key = rcgen::KeyPair::from_der_and_sign_algo(&key, &PKCS_ED25519)
        .map_err(IdentityError::Certificate)?;
    let mut name = DistinguishedName::new();
    let id = pin_of(&public(node)).node_id();
    name.push(DnType::CommonName, id.to_string());
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    let certificate = params
        .self_signed(&key)
        .map_err(IdentityError::Certificate)?;
    let bytes = certificate.der().to_vec();
    private_file::write(&home.join("node.crt"), &bytes)?;
    Ok(bytes)
}

fn check_certificate(
    path: &Path,
    bytes: &[u8],
    node: &Ed25519KeyPair,
) -> Result<(), IdentityError> {
    let der = CertificateDer::from(bytes);
    let parsed = rustls::server::ParsedCertificate::try_from(&der)
        .map_err(|_| IdentityError::Damaged(path.to_owned()))?;
    let spki = parsed.subject_public_key_info();
    if crate::membership::card::pin_of_spki(&spki) != pin_of(&public(node)) {
        return Err(IdentityError::ForeignCertificate(path.to_owned()));
    }
    Ok(())
}

fn new_key() -> Result<Vec<u8>, IdentityError> {
    Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
        .map(|pkcs8| pkcs8.as_ref().to_vec())
        .map_err(|_| IdentityError::NoRandom)
}

fn parse_key(path: &Path, pkcs8: &[u8]) -> Result<Ed25519KeyPair, IdentityError> {
    Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| IdentityError::Damaged(path.to_owned()))
}

fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, IdentityError> {
    match private_file::read(path, FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn public(key: &Ed25519KeyPair) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(key.public_key().as_ref());
    bytes
}

fn sign(key: &Ed25519KeyPair, message: &[u8]) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes.copy_from_slice(key.sign(message).as_ref());
    bytes
}
