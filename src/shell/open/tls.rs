//! TLS between two ends of which neither has a name: TLS 1.3 only, both show a certificate of their
//! own making, and the key in it is who they are.
//!
//! A stranger's certificate may be of any kind, or be missing where it dials: what is not a node has
//! no card, and that is where it is told so. A node that exists for listed ones alone goes no
//! further with any other key.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, Error, ServerConfig};

use crate::shell::pinned_tls::{Credentials, ListedPins};
use crate::shell::verifier::{Verifier, Whom};

/// Both roles of one node.
#[derive(Clone, Debug)]
pub(super) struct Configs {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
}

impl Configs {
    /// Makes both roles; with `listed`, only those keys pass.
    pub(super) fn new(
        credentials: &Credentials,
        listed: Option<ListedPins>,
    ) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let whom = listed.map_or(Whom::Anybody, Whom::Listed);
        let keys = Arc::new(Verifier::new(whom, &provider));
        let versions = [&rustls::version::TLS13];
        let Credentials { certificate, key } = credentials.clone();
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&keys) as _)
            .with_client_auth_cert(vec![certificate], key)?;
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        let Credentials { certificate, key } = credentials.clone();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)?
            .with_client_cert_verifier(keys)
            .with_single_cert(vec![certificate], key)?;
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }
}
