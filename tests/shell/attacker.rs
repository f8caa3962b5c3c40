//! Somebody who got past the silence: a member's stolen knock key, and any certificate they like.

use std::net::SocketAddr;
use std::sync::Arc;

use expressnet::model::ids::NodeId;
use expressnet::shell::pinned_tls::{ALPN, SERVER_NAME};
use expressnet::shell::quic;
use expressnet::shell::silence::{Gate, Held, SilentSocket};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ResolvesClientCert};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use x25519_dalek::StaticSecret;

use crate::shell::world::{Home, loopback, within};

pub(super) const HELLO_FRAME: &[u8] = b"\0\0\0\x12expressnet/1 hello";

/// A certificate with whatever key is said to belong to it.
pub(super) type Shown = Arc<CertifiedKey>;

pub(super) struct Attacker {
    pub(super) endpoint: Endpoint,
    pub(super) gate: Arc<Gate>,
}

/// A connection that went through TLS, with the claim that keeps its address heard.
pub(super) struct Entered {
    pub(super) connection: Connection,
    _held: Held,
}

impl Attacker {
    /// Speaks with the knock key of `robbed`; `server` makes it answer dials, too.
    pub(super) fn new(robbed: &Home, victim: &Home, server: Option<ServerConfig>) -> Self {
        let knock: [u8; 32] = robbed.steal("knock.key").try_into().unwrap();
        let gate = Gate::new(robbed.id(), StaticSecret::from(knock));
        assert!(gate.add(victim.id(), &victim.identity.knock_public()));
        let server = server.map(|tls| {
            let crypto = Arc::new(QuicServerConfig::try_from(tls).unwrap());
            let mut server = quinn::ServerConfig::with_crypto(crypto);
            server.transport_config(Arc::new(quic::transport()));
            server
        });
        let socket = SilentSocket::bind(loopback(), Arc::clone(&gate)).unwrap();
        let endpoint = quic::endpoint(socket, server).unwrap();
        Self { endpoint, gate }
    }

    /// Dials the victim and goes through TLS as far as it lets us.
    pub(super) async fn enter(
        &self,
        tls: ClientConfig,
        victim: NodeId,
        address: SocketAddr,
    ) -> Option<Entered> {
        let held = self.gate.hold(address, victim).unwrap();
        let mut config =
            quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        config.transport_config(Arc::new(quic::transport()));
        let connecting = self
            .endpoint
            .connect_with(config, address, SERVER_NAME)
            .unwrap();
        let connection = within(connecting).await.ok()?;
        Some(Entered {
            connection,
            _held: held,
        })
    }

    /// Answers one dial of the victim, hello and all, and returns the connection.
    pub(super) async fn answer(&self, victim: NodeId) -> Option<Entered> {
        let incoming = within(self.endpoint.accept()).await?;
        let held = self.gate.hold(incoming.remote_address(), victim).unwrap();
        let connection = within(incoming.accept().ok()?).await.ok()?;
        Some(Entered {
            connection,
            _held: held,
        })
    }
}

impl Entered {
    /// Exchanges hellos as an honest node does; `None` if the victim closes instead.
    pub(super) async fn greet(&self) -> Option<(SendStream, RecvStream)> {
        let mut sending = within(self.connection.open_uni()).await.ok()?;
        within(sending.write_all(HELLO_FRAME)).await.ok()?;
        let mut receiving = within(self.connection.accept_uni()).await.ok()?;
        let mut hello = vec![0; HELLO_FRAME.len()];
        within(receiving.read_exact(&mut hello)).await.ok()?;
        assert_eq!(hello, HELLO_FRAME);
        Some((sending, receiving))
    }
}

/// What an honest node shows.
pub(super) fn genuine(home: &Home) -> Shown {
    shown(vec![certificate_of(home)], home.steal("node.key"))
}

pub(super) fn certificate_of(home: &Home) -> CertificateDer<'static> {
    CertificateDer::from(home.steal("node.crt"))
}

/// Shows a chain with a key, whether they belong together or not.
pub(super) fn shown(chain: Vec<CertificateDer<'static>>, pkcs8: Vec<u8>) -> Shown {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8));
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    Arc::new(CertifiedKey::new(chain, key))
}

/// Makes a self-signed certificate with this common name.
pub(super) fn forge(key: &rcgen::KeyPair, name: &str) -> CertificateDer<'static> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.self_signed(key).unwrap().der().clone()
}

/// A client that trusts everybody, resumes and wants 0-RTT.
pub(super) fn client(shown: Option<Shown>) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let mut config = match shown {
        Some(shown) => builder.with_client_cert_resolver(Arc::new(Show(shown))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_early_data = true;
    config
}

/// A server that asks nobody for a certificate.
pub(super) fn server(shown: Shown) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Show(shown)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

#[derive(Debug)]
struct Show(Shown);

#[derive(Debug)]
struct Gullible;

impl ResolvesClientCert for Show {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Shown> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Show {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Shown> {
        Some(Arc::clone(&self.0))
    }
}

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
