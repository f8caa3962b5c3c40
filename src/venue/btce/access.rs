//! Keys: signatures, nonces, rights, request rates; and how often a stranger may ask.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;

use crate::model::time::{Span, Time};
use crate::venue::Credentials;
use crate::venue::btce::refusal::Refusal;
use crate::venue::exchange::AccountNo;

/// Every key that may ask for something.
#[derive(Debug, Default)]
pub(super) struct Access {
    keys: BTreeMap<String, Key>,
}

struct Key {
    account: AccountNo,
    rights: Rights,
    secret: hmac::Key,
    /// The highest nonce that was accepted; kept for ever.
    nonce: u64,
    turns: Turns,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    pub info: bool,
    pub trade: bool,
    pub withdraw: bool,
}

/// What a request brings to prove who it is from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof<'a> {
    pub(super) key: &'a str,
    pub(super) sign: &'a str,
    /// The whole body, byte for byte.
    pub(super) signed: &'a [u8],
    /// The nonce that stands in it.
    pub(super) nonce: &'a str,
}

/// Whose key it is, and what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) account: AccountNo,
    pub(super) rights: Rights,
}

/// What keys are held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) nonce_max: u64,
    pub(super) requests_per_s: u16,
}

/// Requests over time: a second's worth at once, then one by one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns {
    /// When the requests so far would have been due at the allowed rate.
    spent_until: Time,
}

/// How often each address asked for public documents.
#[derive(Debug, Default)]
pub(super) struct Peers {
    turns: BTreeMap<String, Turns>,
}

impl Access {
    /// Characters of a nonce that a refusal repeats.
    const NONCE_SHOWN_MAX: usize = 32;

    /// Adds a key; false where the name is taken.
    pub(super) fn insert(
        &mut self,
        credentials: &Credentials,
        account: AccountNo,
        rights: Rights,
    ) -> bool {
        let key = Key {
            account,
            rights,
            secret: hmac::Key::new(hmac::HMAC_SHA512, credentials.secret.as_bytes()),
            nonce: 0,
            turns: Turns::default(),
        };
        self.keys.insert(credentials.key.clone(), key).is_none()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    pub(super) fn account(&self, key: &str) -> Option<AccountNo> {
        self.keys.get(key).map(|key| key.account)
    }

    /// Changes what a key may do; false for an unknown one.
    pub(super) fn set_rights(&mut self, key: &str, rights: Rights) -> bool {
        let known = self.keys.get_mut(key);
        known.map(|key| key.rights = rights).is_some()
    }

    /// Checks key, signature, nonce and rate, in this order. Whatever is refused behind the nonce
    /// has used it up; whatever is refused before has not.
    pub(super) fn check(
        &mut self,
        proof: Proof<'_>,
        limits: Limits,
        now: Time,
    ) -> Result<Holder, Refusal> {
        if proof.key.is_empty() {
            return Err(Refusal::KeyMissing);
        }
        if proof.sign.is_empty() {
            return Err(Refusal::SignWrong);
        }
        let key = self.keys.get_mut(proof.key).ok_or(Refusal::KeyUnknown)?;
        let tag = HEXLOWER.decode(proof.sign.as_bytes());
        let tag = tag.map_err(|_| Refusal::SignWrong)?;
        hmac::verify(&key.secret, proof.signed, &tag).map_err(|_| Refusal::SignWrong)?;
        let nonce = nonce_of(proof.nonce).filter(|nonce| *nonce <= limits.nonce_max);
        let Some(nonce) = nonce.filter(|nonce| *nonce > key.nonce) else {
            let shown = proof.nonce.chars().take(Self::NONCE_SHOWN_MAX).collect();
            return Err(Refusal::Nonce(key.nonce, shown));
        };
        key.nonce = nonce;
        if !key.turns.take(limits.requests_per_s, now) {
            return Err(Refusal::TooOften);
        }
        Ok(Holder {
            account: key.account,
            rights: key.rights,
        })
    }
}

impl Turns {
    pub(super) fn take(&mut self, requests_per_s: u16, now: Time) -> bool {
        let each = Span(Span::SECOND.0 / u64::from(requests_per_s.max(1)));
        let after = self.spent_until.max(now) + each;
        let is_allowed = after <= now + Span::SECOND;
        if is_allowed {
            self.spent_until = after;
        }
        is_allowed
    }
}

impl Peers {
    /// Addresses that are remembered; while all of them are busy, a new one has no turn.
    const PEERS_MAX: usize = 4_096;
    /// Public documents that one address may ask for in a second. Nobody knows the front end's
    /// real number; whoever asks for each document every two seconds stays far below this one.
    pub(super) const REQUESTS_PER_S: u16 = 50;

    pub(super) fn take(&mut self, peer: &str, now: Time) -> bool {
        if self.turns.len() >= Self::PEERS_MAX && !self.turns.contains_key(peer) {
            self.turns.retain(|_, turns| turns.spent_until > now);
            if self.turns.len() >= Self::PEERS_MAX {
                return false;
            }
        }
        let turns = self.turns.entry(peer.to_owned()).or_default();
        turns.take(Self::REQUESTS_PER_S, now)
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

/// Reads a whole number above zero.
fn nonce_of(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let nonce = is_plain.then(|| text.parse().ok()).flatten();
    nonce.filter(|nonce| *nonce > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        nonce_max: 4_294_967_294,
        requests_per_s: 100,
    };

    fn access() -> Access {
        let mut access = Access::default();
        let credentials = Credentials {
            key: "k".to_owned(),
            secret: "s".to_owned(),
        };
        let rights = Rights {
            info: true,
            trade: true,
            withdraw: false,
        };
        assert!(access.insert(&credentials, AccountNo(1), rights));
        assert!(!format!("{access:?}").contains("secret"));
        access
    }

    fn ask(access: &mut Access, nonce: &str, secret: &str, now: Time) -> Result<(), Refusal> {
        let body = format!("method=getInfo&nonce={nonce}");
        let secret = hmac::Key::new(hmac::HMAC_SHA512, secret.as_bytes());
        let sign = HEXLOWER.encode(hmac::sign(&secret, body.as_bytes()).as_ref());
        let proof = Proof {
            key: "k",
            sign: &sign,
            signed: body.as_bytes(),
            nonce,
        };
        access.check(proof, LIMITS, now).map(|_| ())
    }

    #[test]
    fn a_nonce_only_grows_and_a_stranger_uses_none() {
        let mut access = access();
        let nonce = |last, sent: &str| Err(Refusal::Nonce(last, sent.to_owned()));
        assert_eq!(
            ask(&mut access, "5", "other", Time::ZERO),
            Err(Refusal::SignWrong)
        );
        assert_eq!(ask(&mut access, "0", "s", Time::ZERO), nonce(0, "0"));
        assert_eq!(ask(&mut access, "5", "s", Time::ZERO), Ok(()));
        for sent in ["5", "4", "", "6.5", "-7", "x", "4294967295"] {
            assert_eq!(ask(&mut access, sent, "s", Time::ZERO), nonce(5, sent));
        }
        assert_eq!(ask(&mut access, "4294967294", "s", Time::ZERO), Ok(()));
    }

    #[test]
    fn a_request_beyond_the_rate_uses_its_nonce() {
        let mut access = access();
        for nonce in 1..=100 {
            assert_eq!(
                ask(&mut access, &nonce.to_string(), "s", Time::ZERO),
                Ok(())
            );
        }
        let refused = ask(&mut access, "101", "s", Time::ZERO);
        assert_eq!(refused, Err(Refusal::TooOften));
        let later = Time::ZERO + Span::SECOND;
        let refused = ask(&mut access, "101", "s", later);
        assert_eq!(refused, Err(Refusal::Nonce(101, "101".to_owned())));
        assert_eq!(ask(&mut access, "102", "s", later), Ok(()));
    }

    #[test]
    fn an_address_has_its_rate_and_many_addresses_have_a_limit() {
        let mut peers = Peers::default();
        let asked = (0..80).filter(|_| peers.take("one", Time::ZERO)).count();
        assert_eq!(asked, usize::from(Peers::REQUESTS_PER_S));
        for peer in 1..Peers::PEERS_MAX {
            assert!(peers.take(&peer.to_string(), Time::ZERO));
        }
        assert!(!peers.take("more", Time::ZERO));
        assert!(peers.take("more", Time::ZERO + Span::secs(2)));
    }
}
