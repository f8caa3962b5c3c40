//! The socket of a feed: TCP, TLS where the address says so, and the WebSocket handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{
    CONNECTION, HOST, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE, USER_AGENT as USER_AGENT_NAME,
};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::BuilderVerifierExt as _;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::spawn_local;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::venue::http::USER_AGENT;

/// A connection that carries WebSocket frames.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Why there is none.
#[derive(Debug, Error)]
pub enum SocketError {
    #[error("`{0}` is no address of a WebSocket")]
    Address(String),
    #[error("no certificate in the file that should hold them")]
    NoCertificate,
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("http: {0}")]
    Http(#[from] hyper::Error),
    #[error("the venue answered {0} to the handshake")]
    Status(StatusCode),
    #[error("the venue's answer to the handshake is not of this handshake")]
    Accept,
}

/// Whose word a venue's certificate needs.
#[derive(Clone, Debug)]
pub struct Trust(Option<Arc<ClientConfig>>);

impl Trust {
    /// Nobody's: for connections without TLS.
    pub const NONE: Self = Self(None);

    /// Trusts whom this machine trusts, or only the issuers in a file.
    ///
    /// # Errors
    /// The file holds no certificate.
    pub fn new(ca_pem: Option<&[u8]>) -> Result<Self, SocketError> {
        let builder = client_builder()?;
        let config = match ca_pem {
            None => builder.with_platform_verifier()?.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    roots.add(certificate.map_err(|_| SocketError::NoCertificate)?)?;
                }
                if roots.is_empty() {
                    return Err(SocketError::NoCertificate);
                }
                builder.with_root_certificates(roots).with_no_client_auth()
            }
        };
        Ok(Self(Some(Arc::new(config))))
    }
}

/// Begins the configuration of TLS to a server that is none of ours.
pub(super) fn client_builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error>
{
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

/// What a connection has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    Resolved,
    Connected,
    Tls,
    Upgraded,
}

/// Connects to `ws://` or `wss://`; returns the socket and what was read behind the handshake.
///
/// # Errors
/// What kept the WebSocket from being opened.
pub(super) async fn open(
    url: &str,
    trust: &Trust,
) -> Result<(Box<dyn Socket>, Bytes), SocketError> {
    open_telling(url, trust, &mut |_| ()).await
}

/// As [`open`]; tells what it has passed, as it does.
///
/// # Errors
/// What kept the WebSocket from being opened.
pub(super) async fn open_telling(
    url: &str,
    trust: &Trust,
    passed: &mut dyn FnMut(Passed),
) -> Result<(Box<dyn Socket>, Bytes), SocketError> {
    let address = || SocketError::Address(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| address())?;
    let host = uri.host().ok_or_else(address)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let (is_tls, port) = match uri.scheme_str() {
        Some("ws") => (false, 80),
        Some("wss") => (true, 443),
        Some(_) | None => return Err(address()),
    };
    let port = uri.port_u16().unwrap_or(port);
    let addresses: Vec<SocketAddr> = lookup_host((bare, port)).await?.collect();
    passed(Passed::Resolved);
    let stream = TcpStream::connect(&addresses[..]).await?;
    stream.set_nodelay(true)?;
    passed(Passed::Connected);
    if !is_tls {
        let opened = shake_hands(stream, &uri).await?;
        passed(Passed::Upgraded);
        return Ok(opened);
    }
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| address())?;
    let config = trust.0.as_ref().ok_or(SocketError::NoCertificate)?;
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector.connect(name, stream).await?;
    passed(Passed::Tls);
    let opened = shake_hands(stream, &uri).await?;
    passed(Passed::Upgraded);
    Ok(opened)
}

async fn shake_hands<T: Socket + 'static>(
    stream: T,
    uri: &Uri,
) -> Result<(Box<dyn Socket>, Bytes), SocketError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driven = spawn_local(connection.with_upgrades());
    let key = generate_key();
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = target
        .parse()
        .map_err(|_| SocketError::Address(uri.to_string()))?;
    let text =
        |text: &str| HeaderValue::from_str(text).map_err(|_| SocketError::Address(uri.to_string()));
    let headers = request.headers_mut();
    headers.insert(HOST, text(host)?);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, text(&key)?);
    headers.insert(USER_AGENT_NAME, HeaderValue::from_static(USER_AGENT));
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        driven.abort();
        return Err(SocketError::Status(response.status()));
    }
    let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT);
    if accept.map(HeaderValue::as_bytes) != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        driven.abort();
        return Err(SocketError::Accept);
    }
    let upgraded = hyper::upgrade::on(response).await?;
    let parts = upgraded
        .downcast::<TokioIo<T>>()
        .map_err(|_| SocketError::Accept)?;
    Ok((Box::new(parts.io.into_inner()), parts.read_buf))
}
