//! TLS to IRC servers: trusted as the machine trusts, or by the fingerprint of one certificate.

use std::sync::Arc;

use rustls::{ClientConfig, Error};
use rustls_platform_verifier::BuilderVerifierExt as _;

use crate::discovery::network::Fingerprint;
use crate::shell::socket::client_builder;
use crate::shell::verifier::{Verifier, Whom};

/// Trusts whom this machine trusts.
pub(super) fn public() -> Result<Arc<ClientConfig>, Error> {
    let builder = client_builder()?.with_platform_verifier()?;
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// Trusts one certificate and nobody's word for it: names and dates do not matter.
pub(super) fn pinned(fingerprint: Fingerprint) -> Result<Arc<ClientConfig>, Error> {
    let builder = client_builder()?;
    let whom = Whom::Certificate(fingerprint);
    let verifier = Verifier::new(whom, builder.crypto_provider());
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}
