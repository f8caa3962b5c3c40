//! The keyed tag on first packets: keys, hints and the tag itself.

use aws_lc_rs::{hkdf, hmac};

use crate::model::ids::NodeId;

pub(super) const HINT_BYTES: usize = 8;
pub(super) const STAMP_BYTES: usize = 6;
pub(super) const TAG_BYTES: usize = 16;

/// Derives the key that two nodes share; both get the same.
pub(super) fn pair_key(shared: &[u8; 32], low: NodeId, high: NodeId) -> Option<hmac::Key> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"expressnet knock 1");
    let info = [&low.0[..], &high.0];
    let secret = salt.extract(shared);
    let material = secret.expand(&info, hmac::HMAC_SHA256).ok()?;
    Some(hmac::Key::from(material))
}

/// Returns how a sender is named to `receiver`.
pub(super) fn hint(key: &hmac::Key, receiver: NodeId) -> [u8; HINT_BYTES] {
    let mut hint = [0; HINT_BYTES];
    let digest = hmac::sign(key, &[&b"hint"[..], &receiver.0].concat());
    hint.copy_from_slice(&digest.as_ref()[..HINT_BYTES]);
    hint
}

/// Returns the tag of a packet.
pub(super) fn tag(
    key: &hmac::Key,
    receiver: NodeId,
    hint: &[u8],
    stamp: &[u8],
    packet: &[u8],
) -> [u8; TAG_BYTES] {
    let mut context = hmac::Context::with_key(key);
    context.update(&receiver.0);
    context.update(hint);
    context.update(stamp);
    context.update(packet);
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&context.sign().as_ref()[..TAG_BYTES]);
    tag
}

/// Compares in a time that does not depend on where the difference is.
pub(super) fn equal(one: &[u8; TAG_BYTES], other: &[u8]) -> bool {
    let difference = one
        .iter()
        .zip(other)
        .fold(0, |sum, (one, other)| sum | (one ^ other));
    std::hint::black_box(difference) == 0 && other.len() == TAG_BYTES
}
