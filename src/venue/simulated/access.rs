//! Keys of the simulated venue: signatures, nonces, request rates.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_lc_rs::hmac;

use crate::model::time::{Span, Time};
use crate::venue::exchange::AccountNo;
use crate::venue::{Credentials, Refusal};

/// What a login on the feed signs in place of a path.
pub const LOGIN_PATH: &str = "/ws";
/// Nonces of a key that are remembered: the highest ones; what lies below them is refused.
const NONCES_MAX: usize = 1_024;

/// Every key that may ask for something.
#[derive(Debug, Default)]
pub(super) struct Access {
    keys: BTreeMap<String, Key>,
}

struct Key {
    account: AccountNo,
    may_withdraw: bool,
    secret: hmac::Key,
    nonces: BTreeSet<u64>,
    /// When the requests so far would have been due at the allowed rate.
    spent_until: Time,
}

/// What a request brings to prove who it is from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Proof<'a> {
    pub(super) key: &'a str,
    pub(super) nonce: &'a str,
    pub(super) sign: &'a str,
}

/// Whose key it is, and what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) account: AccountNo,
    pub(super) may_withdraw: bool,
}

/// Makes the signing key of a secret.
pub fn key_of(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

/// Digits of a SHA-256 in hexadecimal.
pub(super) const SIGN_DIGITS: usize = 64;

/// Signs nonce, path and body, in hexadecimal.
pub fn sign(secret: &hmac::Key, nonce: &str, path: &str, body: &[u8]) -> String {
    let digits = sign_digits(secret, nonce.as_bytes(), path, body);
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// The same without an allocation.
pub(super) fn sign_digits(
    secret: &hmac::Key,
    nonce: &[u8],
    path: &str,
    body: &[u8],
) -> [u8; SIGN_DIGITS] {
    let mut signing = hmac::Context::with_key(secret);
    for part in [nonce, b"\n", path.as_bytes(), b"\n", body] {
        signing.update(part);
    }
    let tag = signing.sign();
    let mut digits = [0; SIGN_DIGITS];
    for (two, byte) in digits.chunks_exact_mut(2).zip(tag.as_ref()) {
        two[0] = HEX[usize::from(byte >> 4)];
        two[1] = HEX[usize::from(byte & 15)];
    }
    digits
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl Access {
    /// Adds a key; false where the name is taken.
    pub(super) fn insert(&mut self, credentials: &Credentials, holder: Holder) -> bool {
        let key = Key {
            account: holder.account,
            may_withdraw: holder.may_withdraw,
            secret: key_of(&credentials.secret),
            nonces: BTreeSet::new(),
            spent_until: Time::ZERO,
        };
        self.keys.insert(credentials.key.clone(), key).is_none()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    pub(super) fn account(&self, key: &str) -> Option<AccountNo> {
        self.keys.get(key).map(|key| key.account)
    }

    /// Checks signature, then rate, then nonce: a stranger can spend nothing of a key.
    pub(super) fn check(
        &mut self,
        proof: Proof<'_>,
        path: &str,
        body: &[u8],
        requests_per_s: u16,
        now: Time,
    ) -> Result<Holder, Refusal> {
        let key = self.keys.get_mut(proof.key).ok_or(Refusal::Access)?;
        let tag = bytes_of_hex(proof.sign).ok_or(Refusal::Access)?;
        let signed = signed_bytes(proof.nonce, path, body);
        hmac::verify(&key.secret, &signed, &tag).map_err(|_| Refusal::Access)?;
        let nonce: u64 = proof.nonce.parse().map_err(|_| Refusal::Access)?;
        if !key.take_turn(requests_per_s, now) {
            return Err(Refusal::Throttled);
        }
        if !key.take_nonce(nonce) {
            return Err(Refusal::Access);
        }
        Ok(Holder {
            account: key.account,
            may_withdraw: key.may_withdraw,
        })
    }
}

impl Key {
    /// Lets a second's worth of requests through at once, then one by one.
    fn take_turn(&mut self, requests_per_s: u16, now: Time) -> bool {
        let each = Span(Span::SECOND.0 / u64::from(requests_per_s.max(1)));
        let after = self.spent_until.max(now) + each;
        let is_allowed = after <= now + Span::SECOND;
        if is_allowed {
            self.spent_until = after;
        }
        is_allowed
    }

    fn take_nonce(&mut self, nonce: u64) -> bool {
        let is_full = self.nonces.len() >= NONCES_MAX;
        if is_full && self.nonces.first().is_some_and(|lowest| nonce < *lowest) {
            return false;
        }
        let is_new = self.nonces.insert(nonce);
        if self.nonces.len() > NONCES_MAX {
            self.nonces.pop_first();
        }
        is_new
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Key")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

fn signed_bytes(nonce: &str, path: &str, body: &[u8]) -> Vec<u8> {
    [nonce.as_bytes(), b"\n", path.as_bytes(), b"\n", body].concat()
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != SIGN_DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..SIGN_DIGITS).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let mut access = Access::default();
        let holder = Holder {
            account: AccountNo(1),
            may_withdraw: false,
        };
        let credentials = Credentials {
            key: "k".to_owned(),
            secret: "s".to_owned(),
        };
        assert!(access.insert(&credentials, holder));
        access
    }

    fn ask(access: &mut Access, nonce: u64, secret: &str, now: Time) -> Result<(), Refusal> {
        let nonce = nonce.to_string();
        let sign = sign(&key_of(secret), &nonce, "/order", b"{}");
        let proof = Proof {
            key: "k",
            nonce: &nonce,
            sign: &sign,
        };
        access.check(proof, "/order", b"{}", 2_000, now).map(|_| ())
    }

    #[test]
    fn a_nonce_is_good_once_in_any_order_within_the_window() {
        let mut access = access();
        for nonce in (2..1_026).rev() {
            assert_eq!(ask(&mut access, nonce, "s", Time(nonce)), Ok(()));
        }
        assert_eq!(ask(&mut access, 5, "s", Time::ZERO), Err(Refusal::Access));
        assert_eq!(ask(&mut access, 1, "s", Time::ZERO), Err(Refusal::Access));
        assert_eq!(ask(&mut access, 5_000, "s", Time::ZERO), Ok(()));
        assert_eq!(ask(&mut access, 2, "s", Time::ZERO), Err(Refusal::Access));
    }

    #[test]
    fn a_wrong_signature_costs_the_key_nothing() {
        let mut access = access();
        for _ in 0..5_000 {
            assert_eq!(
                ask(&mut access, 1, "wrong", Time::ZERO),
                Err(Refusal::Access)
            );
        }
        assert_eq!(ask(&mut access, 1, "s", Time::ZERO), Ok(()));
        let proof = Proof {
            key: "k",
            nonce: "2",
            sign: "zz",
        };
        assert_eq!(
            access.check(proof, "/", b"", 1, Time::ZERO),
            Err(Refusal::Access)
        );
    }

    #[test]
    fn a_key_has_its_requests_in_a_second() {
        let mut access = access();
        for nonce in 0..2_000 {
            assert_eq!(ask(&mut access, nonce, "s", Time::ZERO), Ok(()));
        }
        assert_eq!(
            ask(&mut access, 2_000, "s", Time::ZERO),
            Err(Refusal::Throttled)
        );
        assert_eq!(ask(&mut access, 2_000, "s", Time(500_000)), Ok(()));
    }
}
