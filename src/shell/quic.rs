//! QUIC's settings. The library's defaults serve web servers; every limit here is our own.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AckFrequencyConfig, ClientConfig, Endpoint, EndpointConfig, IdleTimeout, NoneTokenLog,
    NoneTokenStore, ServerConfig, TokioRuntime, TransportConfig, ValidationTokenConfig, VarInt,
};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use thiserror::Error;

use crate::model::ids::Pin;
use crate::shell::pinned_tls::{self, Credentials, ListedPins};
use crate::shell::silence::SilentSocket;

/// QUIC packets stay below this, as the trailer of first packets must fit beside them.
pub const PACKET_BYTES: u16 = 1_200;
/// Silence after which a connection is dead; five keep-alives.
pub const IDLE_TIMEOUT_MS: u32 = 5_000;
pub const KEEP_ALIVE_MS: u64 = 1_000;
/// Streams a peer may open: its one long-lived stream.
pub const STREAMS_MAX: u32 = 1;
/// Bytes a peer may have in flight to us on its stream: 20 Mbit/s at 100 ms.
pub const STREAM_WINDOW_BYTES: u32 = 256 * 1_024;
/// Bytes we have in flight to one peer; what is beyond waits in the link's own queue.
pub const SEND_WINDOW_BYTES: u64 = 256 * 1_024;
/// Datagrams waiting, each way; the oldest is dropped when it is full.
pub const DATAGRAM_BUFFER_BYTES: usize = 64 * 1_024;
/// What the kernel may keep while the core thread is busy or not running: with its usual room, the
/// quotes and probes of a tenth of a second do not fit.
pub const RECEIVE_BUFFER_BYTES: usize = 4 * 1_024 * 1_024;
/// First packets waiting to be answered; further ones are refused.
pub const INCOMING_MAX: usize = 64;
/// Bytes kept for one of them, and for all of them.
pub const INCOMING_BUFFER_BYTES: u64 = 16 * 1_024;
pub const INCOMING_BUFFER_TOTAL_BYTES: u64 = 256 * 1_024;
/// Bytes of a handshake that may arrive out of order.
pub const CRYPTO_BUFFER_BYTES: usize = 16 * 1_024;
/// How long a Retry token may be shown; a dial takes less.
pub const RETRY_TOKEN: Duration = Duration::from_secs(5);

/// Packets that ask for an acknowledgement before one is sent (measured: -20 % on fan-out).
const ACK_THRESHOLD: u32 = 10;
const INITIAL_RTT: Duration = Duration::from_millis(100);
const QUIC_VERSION_1: u32 = 1;
/// A stateless reset only ever goes to members; one an hour serves nobody but harms nobody.
const RESET_INTERVAL: Duration = Duration::from_secs(3_600);

/// Why QUIC could not be configured.
#[derive(Debug, Error)]
pub enum QuicError {
    #[error("the node's certificate or key does not suit TLS")]
    Tls(#[from] rustls::Error),
    #[error("the cipher suite of first packets is missing")]
    Suite(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    #[error("the socket does not open")]
    Socket(#[from] io::Error),
}

/// Returns the limits of every connection.
pub fn transport() -> TransportConfig {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(ACK_THRESHOLD));
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_MAX))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .keep_alive_interval(Some(Duration::from_millis(KEEP_ALIVE_MS)))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES * STREAMS_MAX))
        .send_window(SEND_WINDOW_BYTES)
        .send_fairness(false)
        .initial_rtt(INITIAL_RTT)
        .initial_mtu(PACKET_BYTES)
        .min_mtu(PACKET_BYTES)
        .mtu_discovery_config(None)
        .crypto_buffer_size(CRYPTO_BUFFER_BYTES)
        .allow_spin(false)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
        .enable_segmentation_offload(false)
        .ack_frequency_config(Some(acks));
    transport
}

/// Configures the listening side.
pub fn server(
    credentials: Credentials,
    listed: ListedPins,
    transport: Arc<TransportConfig>,
) -> Result<ServerConfig, QuicError> {
    let tls = pinned_tls::server_config(credentials, listed)?;
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0).log(Arc::new(NoneTokenLog));
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    server
        .transport_config(transport)
        .migration(false)
        .retry_token_lifetime(RETRY_TOKEN)
        .validation_token_config(tokens)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BUFFER_BYTES)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL_BYTES);
    Ok(server)
}

/// Configures one dial.
pub fn client(
    credentials: Credentials,
    expected: Pin,
    transport: Arc<TransportConfig>,
) -> Result<ClientConfig, QuicError> {
    let tls = pinned_tls::client_config(credentials, expected)?;
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    client
        .transport_config(transport)
        .token_store(Arc::new(NoneTokenStore));
    Ok(client)
}

/// Opens the socket of an endpoint, which does not block. The kernel may grant less room than is
/// asked for; then a stall loses packets sooner.
pub fn socket(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(listen)?;
    socket.set_nonblocking(true)?;
    if let Err(error) = set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES) {
        tracing::debug!(%error, "the socket keeps its usual room");
    }
    Ok(socket)
}

/// Returns the limits of every endpoint.
pub fn endpoint_config() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config
        .grease_quic_bit(false)
        .supported_versions(vec![QUIC_VERSION_1])
        .min_reset_interval(RESET_INTERVAL);
    config
}

/// Opens an endpoint over a silent socket.
pub fn endpoint(
    socket: Arc<SilentSocket>,
    server: Option<ServerConfig>,
) -> Result<Endpoint, QuicError> {
    let runtime = Arc::new(TokioRuntime);
    let config = endpoint_config();
    Ok(Endpoint::new_with_abstract_socket(
        config, server, socket, runtime,
    )?)
}
