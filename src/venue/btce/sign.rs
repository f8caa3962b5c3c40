//! Signatures of the BTC-e dialect.
//!
//! Source: `Key` and `Sign` as the documentation of tapi gives them; verified against independent
//! vectors, read 2026-11-23.

use std::fmt;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;

use crate::venue::Credentials;

/// Key and secret of an account, ready to sign.
#[derive(Clone)]
pub struct Signer {
    key: String,
    secret: hmac::Key,
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Signer(hidden)")
    }
}

impl Signer {
    pub fn new(credentials: &Credentials) -> Self {
        Self {
            key: credentials.key.clone(),
            secret: hmac::Key::new(hmac::HMAC_SHA512, credentials.secret.as_bytes()),
        }
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// Signs a body: HMAC-SHA512 with the secret's own letters, in lower-case hexadecimal.
    pub fn sign(&self, body: &[u8]) -> String {
        HEXLOWER.encode(hmac::sign(&self.secret, body).as_ref())
    }
}
