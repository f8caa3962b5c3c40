//! TLS for members only: the key is the identity, both ends show one, nothing is resumed.
//!
//! A certificate counts by its key alone: exactly one, Ed25519, its SPKI's SHA-256 equal to the
//! pin. Names and dates are ignored, so a certificate made anew with the same key is the same
//! node. The handshake signature is verified: whoever stole a certificate has not its key.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::aws_lc_rs::kx_group::X25519;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::{CertificateError, ClientConfig, Error, ServerConfig};

use crate::membership::card::{is_ed25519_spki, pin_of_spki};
use crate::model::ids::Pin;
use crate::shell::verifier::{Verifier, Whom};

/// The protocol both ends must name.
pub const ALPN: &[u8] = b"expressnet/1";
/// TLS wants a name; ours says nothing and is not sent.
pub const SERVER_NAME: &str = "expressnet";

/// The pins a listener admits; shared with whoever lists and revokes.
#[derive(Clone, Debug, Default)]
pub struct ListedPins(Arc<RwLock<BTreeSet<Pin>>>);

/// One key's certificate and key, as TLS shows them.
#[derive(Debug)]
pub struct Credentials {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
}

impl ListedPins {
    pub fn insert(&self, pin: Pin) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(pin);
    }

    pub fn remove(&self, pin: Pin) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&pin);
    }

    pub fn contains(&self, pin: Pin) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&pin)
    }
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self {
            certificate: self.certificate.clone(),
            key: self.key.clone_key(),
        }
    }
}

/// Configures the dialler of one dial: it expects exactly this pin.
pub fn client_config(credentials: Credentials, expected: Pin) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::ed25519(
            Whom::Pin(expected),
            &provider(),
        )))
        .with_client_auth_cert(vec![credentials.certificate], credentials.key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(config)
}

/// Configures the listener: it admits listed pins.
pub fn server_config(credentials: Credentials, listed: ListedPins) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Verifier::ed25519(
            Whom::Listed(listed),
            &provider(),
        )))
        .with_single_cert(vec![credentials.certificate], credentials.key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// Returns the pin of a chain that is one Ed25519 certificate.
pub fn pin_of_chain(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<Pin, Error> {
    if !intermediates.is_empty() {
        return Err(Error::General(
            "a chain instead of one certificate".to_owned(),
        ));
    }
    let spki = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
    if !is_ed25519_spki(&spki) {
        return Err(CertificateError::BadEncoding.into());
    }
    Ok(pin_of_spki(&spki))
}

/// TLS 1.3 with one suite and one group: fewer things to agree on, fewer to get wrong.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
        provider.kx_groups = vec![X25519];
        Arc::new(provider)
    });
    Arc::clone(provider)
}
