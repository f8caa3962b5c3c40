//! Node keys: the pin that follows from one, and what one has signed.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use crate::model::ids::Pin;

/// What stands before the 32 key bytes in the SPKI of every Ed25519 key (RFC 8410).
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// Derives the pin of an Ed25519 key: SHA-256 of its SPKI.
pub fn pin_of(key: &[u8; 32]) -> Pin {
    pin_of_spki(&[&ED25519_SPKI[..], key].concat())
}

/// Derives a pin from a whole SPKI, as a certificate carries it.
pub fn pin_of_spki(spki: &[u8]) -> Pin {
    Pin(sha256(spki))
}

/// Returns the SHA-256 of some bytes (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    sum
}

/// Tells whether these bytes are the SPKI of an Ed25519 key.
pub fn is_ed25519_spki(spki: &[u8]) -> bool {
    spki.len() == ED25519_SPKI.len() + 32 && spki.starts_with(&ED25519_SPKI)
}

/// Tells whether `signature` is this Ed25519 key's over `message`.
pub fn signed(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, key)
        .verify(message, signature)
        .is_ok()
}
