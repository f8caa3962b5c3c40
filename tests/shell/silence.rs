//! Strangers get exactly no byte. The control is a stock endpoint, which does answer the same, and
//! a member, who is answered by the same node meanwhile.

use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use expressnet::model::random::Random;
use expressnet::shell::pinned_tls::SERVER_NAME;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};

use crate::shell::attacker::{Attacker, client, genuine, server};
use crate::shell::world::{Home, Node, linked, loopback, pair, run, until, within};

const JUNK: u64 = 10_000;
/// Datagrams that fit a socket's buffer at once.
const BATCH: u64 = 50;

/// A socket nobody lists, which counts what it is sent.
struct Stranger(UdpSocket);

impl Stranger {
    fn new() -> Self {
        let socket = UdpSocket::bind(loopback()).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn received(&self) -> usize {
        let mut buffer = [0; 2_048];
        std::iter::from_fn(|| self.0.recv(&mut buffer).ok()).sum()
    }

    /// Sends to a node and waits until the node has judged every datagram.
    async fn send_all(&self, node: &Node, datagrams: impl Iterator<Item = Vec<u8>>) {
        let judged = || {
            let knocks = node.mesh.stats().knocks;
            let dropped = knocks.strangers + knocks.bad_tags + knocks.outside_window;
            knocks.passed + dropped + knocks.replayed + knocks.unproven
        };
        let mut expected = judged();
        for (number, datagram) in (1..).zip(datagrams) {
            self.0.send_to(&datagram, node.address()).unwrap();
            expected += 1;
            if number % BATCH == 0 {
                until(|| judged() >= expected).await;
            }
        }
        until(|| judged() >= expected).await;
    }
}

fn junk(random: &mut Random, first: Option<u8>) -> Vec<u8> {
    let len = random.between(1, 1_400) as usize;
    let mut datagram: Vec<u8> = (0..len).map(|_| random.next_u64() as u8).collect();
    if let Some(first) = first {
        datagram[0] = first | (datagram[0] & 0x0F);
    }
    datagram
}

/// What a stock client sends first.
async fn stock_initial() -> Vec<u8> {
    let catcher = tokio::net::UdpSocket::bind(loopback()).await.unwrap();
    let endpoint = quinn::Endpoint::client(loopback()).unwrap();
    let crypto = Arc::new(QuicClientConfig::try_from(client(None)).unwrap());
    let config = quinn::ClientConfig::new(crypto);
    let address = catcher.local_addr().unwrap();
    let dialled = endpoint.connect_with(config, address, SERVER_NAME).unwrap();
    let mut initial = vec![0; 2_048];
    let len = within(catcher.recv(&mut initial)).await.unwrap();
    drop(dialled);
    initial.truncate(len);
    initial
}

/// The same packet in a version nobody speaks, which asks for version negotiation.
fn version_probe(initial: &[u8]) -> Vec<u8> {
    let mut probe = initial.to_vec();
    probe[1..5].copy_from_slice(&0x1A2A_3A4A_u32.to_be_bytes());
    probe
}

#[test]
fn a_stranger_gets_no_byte_whatever_it_sends() {
    run(async || {
        let (node, member) = pair();
        let stranger = Stranger::new();
        let mut random = Random::new(1);
        let initial = stock_initial().await;
        let probe = version_probe(&initial);

        let anything = (0..JUNK).map(|_| junk(&mut random, None));
        stranger.send_all(&node, anything).await;
        let mut random = Random::new(2);
        let short = (0..JUNK / 10).map(|_| junk(&mut random, Some(0x40)));
        stranger.send_all(&node, short).await;
        let mut random = Random::new(3);
        let long = (0..JUNK / 10).map(|_| junk(&mut random, Some(0xC0)));
        stranger.send_all(&node, long).await;
        stranger
            .send_all(&node, (0..100).map(|_| initial.clone()))
            .await;
        stranger
            .send_all(&node, (0..100).map(|_| probe.clone()))
            .await;

        assert_eq!(stranger.received(), 0);
        let (at_member, at_node) = linked(&member, &node).await;
        member.speak(at_member, &node, at_node).await;
        stranger
            .send_all(&node, (0..100).map(|_| initial.clone()))
            .await;
        node.speak(at_node, &member, at_member).await;
        assert_eq!(stranger.received(), 0);
        assert!(node.mesh.stats().knocks.passed > 0);
    });
}

#[test]
fn control_a_stock_endpoint_answers_what_ours_is_silent_to() {
    run(async || {
        let crypto = QuicServerConfig::try_from(server(genuine(&Home::new()))).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let stock = quinn::Endpoint::server(config, loopback()).unwrap();
        let accepting = tokio::task::spawn_local({
            let stock = stock.clone();
            async move {
                while let Some(incoming) = stock.accept().await {
                    tokio::task::spawn_local(async move { incoming.await.is_ok() });
                }
            }
        });
        let initial = stock_initial().await;
        for datagram in [version_probe(&initial), initial] {
            let stranger = Stranger::new();
            stranger
                .0
                .send_to(&datagram, stock.local_addr().unwrap())
                .unwrap();
            until(|| stranger.received() > 0).await;
        }
        accepting.abort();
    });
}

#[test]
fn a_stock_client_gets_nothing_to_go_on() {
    run(async || {
        let node = Node::start(Home::new());
        let endpoint = quinn::Endpoint::client(loopback()).unwrap();
        let crypto = Arc::new(QuicClientConfig::try_from(client(None)).unwrap());
        let mut transport = quinn::TransportConfig::default();
        transport.max_idle_timeout(Some(quinn::VarInt::from_u32(400).into()));
        let mut config = quinn::ClientConfig::new(crypto);
        config.transport_config(Arc::new(transport));
        let dialled = endpoint
            .connect_with(config, node.address(), SERVER_NAME)
            .unwrap();
        let error = within(dialled).await.unwrap_err();
        assert_eq!(error, quinn::ConnectionError::TimedOut);
        assert!(node.mesh.stats().knocks.strangers > 0);
    });
}

#[test]
fn a_captured_knock_is_worth_nothing_from_another_address() {
    run(async || {
        let (node, member) = (Node::start(Home::new()), Home::new());
        assert!(node.mesh.add_peer(member.peer(([127, 0, 0, 1], 9).into())));
        let knocker = Attacker::new(&member, &node.home, None);
        let tap = Stranger::new();
        let _held = knocker.gate.hold(tap.address(), node.id()).unwrap();
        let crypto = QuicClientConfig::try_from(client(Some(genuine(&member)))).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let dialled = knocker
            .endpoint
            .connect_with(config, tap.address(), SERVER_NAME);
        let mut captured = vec![0; 2_048];
        let mut len = 0;
        within(async {
            while len == 0 {
                tokio::task::yield_now().await;
                len = tap.0.recv(&mut captured).unwrap_or(0);
            }
        })
        .await;
        captured.truncate(len);
        drop(dialled);

        tap.send_all(&node, std::iter::once(captured.clone())).await;
        let answered = Cell::new(0);
        until(|| {
            answered.set(answered.get() + tap.received());
            answered.get() > 0
        })
        .await;
        assert!(
            answered.get() <= 3 * len,
            "attack 16: amplified to {}",
            answered.get()
        );
        let replayer = Stranger::new();
        replayer
            .send_all(&node, (0..100).map(|_| captured.clone()))
            .await;
        assert_eq!(node.mesh.stats().knocks.replayed, 100);
        let mut changed = captured.clone();
        changed[700] ^= 1;
        replayer
            .send_all(&node, (0..100).map(|_| changed.clone()))
            .await;
        assert_eq!(node.mesh.stats().knocks.bad_tags, 100);
        assert_eq!(replayer.received(), 0);

        node.mesh.remove_peer(member.id());
        tap.send_all(&node, std::iter::once(captured)).await;
        assert_eq!(
            node.mesh.stats().knocks.strangers,
            1,
            "a removed peer is a stranger"
        );
    });
}

#[test]
fn attack_20_a_connection_does_not_move_to_another_address() {
    run(async || {
        let (node, member) = (Node::start(Home::new()), Home::new());
        assert!(node.mesh.add_peer(member.peer(([127, 0, 0, 1], 9).into())));
        let mover = Attacker::new(&member, &node.home, None);
        let tls = client(Some(genuine(&member)));
        let entered = mover.enter(tls, node.id(), node.address()).await.unwrap();
        let (mut sending, _receiving) = entered.greet().await.unwrap();
        let (_, link) = node.sink.up().await;
        within(sending.write_all(b"\0\0\0\x01a")).await.unwrap();
        let frame = crate::shell::world::Event::Frame(link, b"a".to_vec());
        assert_eq!(node.sink.next().await, frame);
        let before = node.mesh.stats().knocks.unproven;
        let moved = expressnet::shell::silence::SilentSocket::bind(loopback(), mover.gate.clone());
        mover.endpoint.rebind_abstract(moved.unwrap()).unwrap();
        within(sending.write_all(b"\0\0\0\x01b")).await.unwrap();
        until(|| node.mesh.stats().knocks.unproven > before).await;
        assert_eq!(
            node.sink.next().await,
            crate::shell::world::Event::Down(link)
        );
    });
}
