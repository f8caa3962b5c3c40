//! Keys of the simulated venue: signatures, nonces, request rates.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_lc_rs::hmac as checking;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::model::number::push_whole;
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
    secret: checking::Key,
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

/// Makes the key by which a venue checks what was signed with a secret.
fn key_of(secret: &str) -> checking::Key {
    checking::Key::new(checking::HMAC_SHA256, secret.as_bytes())
}

/// Digits of a SHA-256 in hexadecimal.
pub(super) const SIGN_DIGITS: usize = 64;

/// Signs what is asked for. The secret is worked into the state once; each signature begins from a
/// copy of it.
#[derive(Clone)]
pub(super) struct Signer(Hmac<Sha256>);

impl Signer {
    /// Returns `None` where a secret is none; every text is one.
    pub(super) fn new(secret: &str) -> Option<Self> {
        Hmac::new_from_slice(secret.as_bytes()).ok().map(Self)
    }

    /// Signs nonce, path and body with a line feed between them, in hexadecimal.
    pub(super) fn sign(&self, lines: &[u8]) -> [u8; SIGN_DIGITS] {
        let tag = self.0.clone().chain_update(lines).finalize().into_bytes();
        let mut digits = [0; SIGN_DIGITS];
        HEXLOWER.encode_mut(&tag, &mut digits);
        digits
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signer").finish_non_exhaustive()
    }
}

/// Writes what a signature stands for, and returns how many of its bytes are the nonce.
pub(super) fn signed_lines(nonce: u64, path: &str, body: &[u8], out: &mut Vec<u8>) -> usize {
    out.clear();
    push_whole(out, nonce);
    let nonce_len = out.len();
    out.push(b'\n');
    out.extend_from_slice(path.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(body);
    nonce_len
}

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
        checking::verify(&key.secret, &signed, &tag).map_err(|_| Refusal::Access)?;
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
        let mut lines = Vec::new();
        signed_lines(nonce, "/order", b"{}", &mut lines);
        let nonce = nonce.to_string();
        let sign = Signer::new(secret).unwrap().sign(&lines);
        let sign = str::from_utf8(&sign).unwrap_or_default();
        let proof = Proof {
            key: "k",
            nonce: &nonce,
            sign,
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
