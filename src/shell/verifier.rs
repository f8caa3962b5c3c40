//! Whose certificate counts, whatever authorities say: names and dates never matter here, the key or
//! the certificate itself does.

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
};

use crate::discovery::network::Fingerprint;
use crate::model::ids::Pin;
use crate::shell::pinned_tls::{ListedPins, pin_of_chain};

/// Whose certificate counts.
#[derive(Clone, Debug)]
pub(super) enum Whom {
    /// One key's.
    Pin(Pin),
    /// Those of listed keys.
    Listed(ListedPins),
    /// Anybody's, and a client may show none: who it is is found out later.
    Anybody,
    /// This one, of a server that may still speak TLS 1.2.
    Certificate(Fingerprint),
}

/// One rule, as TLS asks for it from either end. That the other end has the key is always checked.
#[derive(Debug)]
pub(super) struct Verifier {
    whom: Whom,
    algorithms: WebPkiSupportedAlgorithms,
    schemes: Vec<SignatureScheme>,
}

impl Verifier {
    /// Takes every kind of signature that the provider knows.
    pub(super) fn new(whom: Whom, provider: &CryptoProvider) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        Self {
            whom,
            algorithms,
            schemes: algorithms.supported_schemes(),
        }
    }

    /// Takes signatures by Ed25519 only.
    pub(super) fn ed25519(whom: Whom, provider: &CryptoProvider) -> Self {
        Self {
            schemes: vec![SignatureScheme::ED25519],
            ..Self::new(whom, provider)
        }
    }

    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let counts = match &self.whom {
            Whom::Pin(pin) => pin_of_chain(end_entity, intermediates)? == *pin,
            Whom::Listed(listed) => listed.contains(pin_of_chain(end_entity, intermediates)?),
            Whom::Anybody => true,
            Whom::Certificate(fingerprint) => digest(&SHA256, end_entity).as_ref() == fingerprint.0,
        };
        match counts {
            true => Ok(()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn check_scheme(&self, signature: &DigitallySignedStruct) -> Result<(), Error> {
        match self.schemes.contains(&signature.scheme) {
            true => Ok(()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }
}

/// What both traits ask of a verifier alike.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let Whom::Certificate(_) = self.whom else {
                return Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into());
            };
            self.check_scheme(signature)?;
            verify_tls12_signature(message, certificate, signature, &self.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.check_scheme(signature)?;
            verify_tls13_signature(message, certificate, signature, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.schemes.clone()
        }
    };
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures!();
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        !matches!(self.whom, Whom::Anybody)
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    signatures!();
}
