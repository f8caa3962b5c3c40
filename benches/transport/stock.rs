//! quinn as its own examples run it: defaults, one bidirectional stream or datagrams.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::watch;

use crate::MESSAGE_BYTES;
use crate::contestant::{Contestant, Threaded, Turns, ns_since, pin};
use crate::ours::awaitable;
use crate::udp::runtime;

/// One end's certificate and key.
pub(crate) struct Shown {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Shown {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Self {
            certificate: made.cert.der().clone(),
            key: key.into(),
        }
    }

    fn roots(&self) -> Arc<rustls::RootCertStore> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        Arc::new(roots)
    }
}

/// Asleep between packets, both certificates checked.
pub(crate) fn quinn() -> Box<dyn Contestant> {
    contestant(false)
}

/// The runtimes have something to do at every moment, so neither end ever sleeps.
pub(crate) fn quinn_never_parking() -> Box<dyn Contestant> {
    contestant(true)
}

fn contestant(never_parks: bool) -> Box<dyn Contestant> {
    Box::new(Threaded::start(move |turns| {
        let (near, far) = (Shown::new(), Shown::new());
        let server = server(&far, &near);
        let client = client(&near, &far);
        let (listening, address) = std::sync::mpsc::channel();
        let (is_on, its_turn) = watch::channel(false);
        let spins = never_parks.then(|| its_turn.clone());
        thread::spawn(move || {
            pin(1);
            runtime().block_on(async move {
                let listen = ([127, 0, 0, 1], 0).into();
                let endpoint = Endpoint::server(server, listen).unwrap();
                listening.send(endpoint.local_addr().unwrap()).unwrap();
                let connection = endpoint.accept().await.unwrap().await.unwrap();
                if let Some(its_turn) = spins {
                    tokio::spawn(stay_awake(its_turn));
                }
                loop {
                    let bytes = connection.read_datagram().await.unwrap();
                    connection.send_datagram(bytes).unwrap();
                }
            });
        });
        runtime().block_on(async move {
            let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
            let address = address.recv().unwrap();
            let connecting = endpoint.connect_with(client, address, "localhost");
            let connection = connecting.unwrap().await.unwrap();
            if never_parks {
                tokio::spawn(stay_awake(its_turn));
            }
            measure(connection, turns, &is_on).await;
        });
    }))
}

async fn measure(connection: Connection, turns: Turns, is_on: &watch::Sender<bool>) {
    let message = Bytes::from_static(&[7; MESSAGE_BYTES]);
    let mut commands = awaitable(turns.commands);
    while let Some((count, _)) = commands.recv().await {
        is_on.send_replace(true);
        let mut samples = Vec::with_capacity(count);
        for _ in 0..count {
            let begin = Instant::now();
            connection.send_datagram(message.clone()).unwrap();
            connection.read_datagram().await.unwrap();
            samples.push(ns_since(begin));
        }
        is_on.send_replace(false);
        turns.samples.send(samples).unwrap();
    }
}

/// Gives the runtime something to do while it is this contestant's turn.
async fn stay_awake(mut its_turn: watch::Receiver<bool>) {
    while its_turn.wait_for(|is_on| *is_on).await.is_ok() {
        while *its_turn.borrow() {
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) fn server(own: &Shown, other: &Shown) -> ServerConfig {
    let tls = QuicServerConfig::try_from(tls_server(own, other)).unwrap();
    let mut server = ServerConfig::with_crypto(Arc::new(tls));
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(std::time::Duration::from_secs(1)));
    server.transport_config(Arc::new(transport));
    server
}

pub(crate) fn client(own: &Shown, other: &Shown) -> ClientConfig {
    let tls = QuicClientConfig::try_from(tls_client(own, other)).unwrap();
    ClientConfig::new(Arc::new(tls))
}

/// TLS 1.3 that accepts the other's certificate only.
pub(crate) fn tls_server(own: &Shown, other: &Shown) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        other.roots(),
        Arc::clone(&provider),
    );
    rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![own.certificate.clone()], own.key.clone_key())
        .unwrap()
}

/// TLS 1.3 that shows a certificate and accepts the other's only.
pub(crate) fn tls_client(own: &Shown, other: &Shown) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(other.roots())
        .with_client_auth_cert(vec![own.certificate.clone()], own.key.clone_key())
        .unwrap()
}
