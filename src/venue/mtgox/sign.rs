//! Signatures of MtGox: HTTP v1 and v2, and calls on the stream.
//!
//! Source: `Rest-Key` and `Rest-Sign` as the reference clients of 2013 make them; verified against
//! independent vectors, read 2026-11-23.

use std::fmt;

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use uuid::Uuid;

use crate::venue::Credentials;

/// Key and secret of an account, ready to sign.
#[derive(Clone)]
pub struct Signer {
    key_text: String,
    key: Uuid,
    secret: hmac::Key,
}

/// Which generation of the HTTP interface a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Signer(hidden)")
    }
}

impl Signer {
    /// Takes a key that is a UUID and a secret in base64. Where they are not, they are used as they
    /// stand: the venue will refuse them, and says so.
    pub fn new(credentials: &Credentials) -> Self {
        let secret = BASE64
            .decode(credentials.secret.as_bytes())
            .unwrap_or_else(|_| credentials.secret.clone().into_bytes());
        Self {
            key: credentials.key.parse().unwrap_or_default(),
            key_text: credentials.key.clone(),
            secret: hmac::Key::new(hmac::HMAC_SHA512, &secret),
        }
    }

    pub fn key(&self) -> &str {
        &self.key_text
    }

    /// Signs an HTTP request. `method` is the path behind `api/2/`; v1 signs the body alone.
    pub fn sign(&self, version: Version, method: &str, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.secret);
        if version == Version::V2 {
            context.update(method.as_bytes());
            context.update(&[0]);
        }
        context.update(body);
        BASE64.encode(context.sign().as_ref())
    }

    /// Wraps a call for the stream: key, signature and text, in base64.
    pub fn call(&self, text: &[u8]) -> String {
        let sign = hmac::sign(&self.secret, text);
        BASE64.encode(&[self.key.as_bytes(), sign.as_ref(), text].concat())
    }
}
