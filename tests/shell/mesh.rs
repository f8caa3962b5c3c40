//! Attacks on identity. Each is made past the silence, with a member's stolen knock key, and each
//! is followed by the same thing done rightly, which succeeds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use expressnet::membership::Direction;
use expressnet::membership::card::pin_of_spki;
use expressnet::shell::pinned_tls::{self, ALPN, Credentials, ListedPins};
use expressnet::shell::quic;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData};
use rustls::client::ClientConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::quic::{ClientConnection, ServerConnection, Version};

use crate::shell::attacker::{
    Attacker, Shown, certificate_of, client, forge, genuine, server, shown,
};
use crate::shell::world::{Event, Home, Node, linked, loopback, pair, run, until, within};

/// A victim that lists `member`, and the raw endpoint that holds the member's knock key.
fn scene() -> (Node, Home, Attacker) {
    let (victim, member) = (Node::start(Home::new()), Home::new());
    assert!(
        victim
            .mesh
            .add_peer(member.peer(([127, 0, 0, 1], 9).into()))
    );
    let attacker = Attacker::new(&member, &victim.home, None);
    (victim, member, attacker)
}

/// The dialler with this configuration is refused; with the member's own it is let in.
async fn refused(victim: &Node, member: &Home, attacker: &Attacker, tls: ClientConfig) {
    let before = victim.mesh.stats();
    if let Some(entered) = attacker.enter(tls, victim.id(), victim.address()).await {
        assert!(entered.greet().await.is_none(), "the victim said hello");
    }
    until(|| victim.mesh.stats().refused == before.refused + 1).await;
    assert!(victim.sink.is_empty(), "the victim told of it");
    admitted(victim, member, attacker, client(Some(genuine(member)))).await;
}

async fn admitted(victim: &Node, member: &Home, attacker: &Attacker, tls: ClientConfig) {
    let entered = attacker
        .enter(tls, victim.id(), victim.address())
        .await
        .unwrap();
    entered.greet().await.unwrap();
    let (peer, link) = victim.sink.up().await;
    assert_eq!(peer, member.id());
    entered.connection.close(0u32.into(), b"");
    assert_eq!(victim.sink.next().await, Event::Down(link));
}

fn new_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

#[test]
fn attack_01_an_unknown_certificate_with_a_members_uuid_is_refused() {
    run(async || {
        let (victim, member, attacker) = scene();
        let key = new_key();
        let forged = forge(&key, &member.id().to_string());
        let tls = client(Some(shown(vec![forged], key.serialize_der())));
        refused(&victim, &member, &attacker, tls).await;
    });
}

#[test]
fn attack_02_a_stolen_certificate_without_its_key_is_refused() {
    run(async || {
        let (victim, member, attacker) = scene();
        let stolen = vec![certificate_of(&member)];
        let tls = client(Some(shown(stolen, new_key().serialize_der())));
        refused(&victim, &member, &attacker, tls).await;
    });
}

#[test]
fn attack_03_a_chain_is_refused_wherever_the_pinned_certificate_stands_in_it() {
    run(async || {
        let (victim, member, attacker) = scene();
        let key = new_key();
        let own = forge(&key, "own");
        let chain = vec![own.clone(), certificate_of(&member)];
        let tls = client(Some(shown(chain, key.serialize_der())));
        refused(&victim, &member, &attacker, tls).await;
        let chain = vec![certificate_of(&member), own];
        let tls = client(Some(shown(chain, member.steal("node.key"))));
        refused(&victim, &member, &attacker, tls).await;
    });
}

#[test]
fn attack_04_without_a_client_certificate_there_is_no_link() {
    run(async || {
        let (victim, member, attacker) = scene();
        refused(&victim, &member, &attacker, client(None)).await;
    });
}

#[test]
fn attack_05_another_alpn_is_refused() {
    run(async || {
        let (victim, member, attacker) = scene();
        for alpn in [vec![], vec![b"h3".to_vec()], vec![b"expressnet/2".to_vec()]] {
            let mut tls = client(Some(genuine(&member)));
            tls.alpn_protocols = alpn;
            refused(&victim, &member, &attacker, tls).await;
        }
    });
}

/// A dial of `robbed` that is answered by somebody showing `answered`.
async fn dial_answered_by(victim: &Node, robbed: &Home, answered: Shown) -> Event {
    let attacker = Attacker::new(robbed, &victim.home, Some(server(answered)));
    let address = attacker.endpoint.local_addr().unwrap();
    assert!(victim.mesh.add_peer(robbed.peer(address)));
    victim.mesh.dial(robbed.id());
    let answering = async {
        let entered = attacker.answer(victim.id()).await?;
        entered.greet().await?;
        Some(entered)
    };
    let (told, answered) = tokio::join!(victim.sink.next(), answering);
    match &told {
        Event::Up(..) => drop(answered.unwrap()),
        Event::Down(_) | Event::DialFailed(_) | Event::Frame(..) | Event::Datagram(..) => {}
    }
    told
}

#[test]
fn attack_06_an_impostor_server_is_refused_by_the_dialler() {
    run(async || {
        let (victim, member) = (Node::start(Home::new()), Home::new());
        let key = new_key();
        let forged = forge(&key, &member.id().to_string());
        for impostor in [
            shown(vec![forged], key.serialize_der()),
            shown(vec![certificate_of(&member)], key.serialize_der()),
        ] {
            let told = dial_answered_by(&victim, &member, impostor).await;
            assert_eq!(told, Event::DialFailed(member.id()));
        }
        let told = dial_answered_by(&victim, &member, genuine(&member)).await;
        assert!(matches!(told, Event::Up(peer, _, Direction::Dialled) if peer == member.id()));
    });
}

#[test]
fn attack_07_a_member_is_who_its_key_says_whatever_it_claims() {
    run(async || {
        let (victim, member, attacker) = scene();
        let other = Home::new();
        assert!(victim.mesh.add_peer(other.peer(([127, 0, 0, 1], 9).into())));
        let key = KeyPair::try_from(other.steal("node.key").as_slice()).unwrap();
        let claim = forge(&key, &member.id().to_string());
        let tls = client(Some(shown(vec![claim.clone()], other.steal("node.key"))));
        refused(&victim, &member, &attacker, tls).await;

        let honest_knock = Attacker::new(&other, &victim.home, None);
        let tls = client(Some(shown(vec![claim], other.steal("node.key"))));
        admitted(&victim, &other, &honest_knock, tls).await;
    });
}

#[test]
fn attack_08_a_dial_answered_by_another_member_is_refused() {
    run(async || {
        let (victim, wanted, other) = (Node::start(Home::new()), Home::new(), Home::new());
        assert!(victim.mesh.add_peer(other.peer(([127, 0, 0, 1], 9).into())));
        let told = dial_answered_by(&victim, &wanted, genuine(&other)).await;
        assert_eq!(told, Event::DialFailed(wanted.id()));
        let told = dial_answered_by(&victim, &other, genuine(&other)).await;
        assert!(matches!(told, Event::Up(peer, _, Direction::Dialled) if peer == other.id()));
    });
}

#[test]
fn attack_09_a_certificate_made_anew_with_the_same_key_is_accepted_both_ways() {
    run(async || {
        let (victim, member, attacker) = scene();
        let key = KeyPair::try_from(member.steal("node.key").as_slice()).unwrap();
        let again = forge(&key, "another name");
        assert_ne!(again, certificate_of(&member));
        let again = shown(vec![again], member.steal("node.key"));
        admitted(
            &victim,
            &member,
            &attacker,
            client(Some(Arc::clone(&again))),
        )
        .await;
        let tls = client(Some(shown(
            vec![forge(&new_key(), "test")],
            new_key().serialize_der(),
        )));
        refused(&victim, &member, &attacker, tls).await;
        let told = dial_answered_by(&victim, &member, again).await;
        assert!(matches!(told, Event::Up(peer, _, Direction::Dialled) if peer == member.id()));
    });
}

#[test]
fn attack_10_a_removed_peers_link_is_closed_within_100_ms_and_it_does_not_return() {
    run(async || {
        let (one, two) = pair();
        let (at_one, at_two) = linked(&one, &two).await;
        one.speak(at_one, &two, at_two).await;
        let removed = Instant::now();
        two.mesh.remove_peer(one.id());
        assert_eq!(two.sink.next().await, Event::Down(at_two));
        assert_eq!(one.sink.next().await, Event::Down(at_one));
        assert!(
            removed.elapsed() <= Duration::from_millis(100),
            "{:?}",
            removed.elapsed()
        );

        one.mesh.dial(two.id());
        assert_eq!(one.sink.next().await, Event::DialFailed(two.id()));
        assert!(two.sink.is_empty());
        two.mesh.add_peer(one.peer());
        linked(&one, &two).await;
    });
}

#[test]
fn attack_11_there_are_no_tickets_and_no_early_data() {
    let home = Home::new();
    let credentials = Credentials {
        certificate: certificate_of(&home),
        key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(home.steal("node.key"))),
    };
    let listener = pinned_tls::server_config(credentials.clone(), ListedPins::default()).unwrap();
    assert_eq!(
        (listener.send_tls13_tickets, listener.max_early_data_size),
        (0, 0)
    );
    assert!(!listener.session_storage.can_cache());
    let dialler = pinned_tls::client_config(credentials, home.identity.pin()).unwrap();
    assert!(!dialler.enable_early_data && !dialler.enable_sni);
    assert!(format!("{:?}", dialler.resumption).contains("NoClientSessionStorage"));
    run(async || {
        let (victim, member, attacker) = scene();
        let tls = client(Some(genuine(&member)));
        for _ in 0..2 {
            let held = attacker.gate.hold(victim.address(), victim.id()).unwrap();
            let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls.clone()).unwrap();
            let config = quinn::ClientConfig::new(Arc::new(crypto));
            let address = victim.address();
            let dialled = attacker
                .endpoint
                .connect_with(config, address, "expressnet");
            let connecting = dialled.unwrap().into_0rtt();
            let Err(connecting) = connecting else {
                panic!("a ticket was kept");
            };
            within(connecting).await.unwrap().close(0u32.into(), b"");
            drop(held);
        }
    });
}

#[test]
fn control_11_the_same_dialler_gets_a_ticket_where_tickets_are_given() {
    run(async || {
        let (home, robbed) = (Home::new(), Home::new());
        let mut tls = server(genuine(&home));
        tls.max_early_data_size = u32::MAX;
        let giving = Attacker::new(&home, &robbed, Some(tls));
        let dialler = Attacker::new(&robbed, &home, None);
        let address = giving.endpoint.local_addr().unwrap();
        let tls = client(Some(genuine(&robbed)));
        let dialling = dialler.enter(tls.clone(), home.id(), address);
        let (entered, _answered) = tokio::join!(dialling, giving.answer(robbed.id()));
        let entered = entered.unwrap();
        let dial = || {
            let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls.clone()).unwrap();
            let config = quinn::ClientConfig::new(Arc::new(crypto));
            let dialled = dialler.endpoint.connect_with(config, address, "expressnet");
            dialled.unwrap().into_0rtt().is_ok()
        };
        until(dial).await;
        drop(entered);
    });
}

#[test]
fn attack_11_every_default_that_would_be_unsafe_is_closed() {
    let transport = format!("{:?}", quic::transport());
    for setting in [
        "max_concurrent_bidi_streams: 0",
        "max_concurrent_uni_streams: 1",
        "max_idle_timeout: Some(5000)",
        "stream_receive_window: 262144",
        "receive_window: 262144",
        "send_window: 262144",
        "initial_mtu: 1200",
        "min_mtu: 1200",
        "mtu_discovery_config: None",
        "keep_alive_interval: Some(1s)",
        "crypto_buffer_size: 16384",
        "allow_spin: false",
        "datagram_receive_buffer_size: Some(65536)",
        "datagram_send_buffer_size: 65536",
        "enable_segmentation_offload: false",
    ] {
        assert!(
            transport.contains(setting),
            "{setting} is not in {transport}"
        );
    }
    let home = Home::new();
    let credentials = Credentials {
        certificate: certificate_of(&home),
        key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(home.steal("node.key"))),
    };
    let shared = Arc::new(quic::transport());
    let server = quic::server(credentials, ListedPins::default(), shared).unwrap();
    let server = format!("{server:?}");
    for setting in [
        "migration: false",
        "retry_token_lifetime: 5s",
        "max_incoming: 64",
        "incoming_buffer_size: 16384",
        "incoming_buffer_size_total: 262144",
        "sent: 0",
    ] {
        assert!(server.contains(setting), "{setting} is not in {server}");
    }
}

#[test]
fn attack_12_a_listed_key_that_is_not_ed25519_is_refused() {
    run(async || {
        let (victim, member, attacker) = scene();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let pin = pin_of_spki(&key.subject_public_key_info());
        let mut listed = member.peer(victim.address());
        (listed.pin, listed.id) = (pin, pin.node_id());
        assert!(victim.mesh.add_peer(listed));
        let certificate = forge(&key, "ecdsa");
        assert!(pinned_tls::pin_of_chain(&certificate, &[]).is_err());
        assert!(pinned_tls::pin_of_chain(&certificate_of(&member), &[]).is_ok());
        let tls = client(Some(shown(vec![certificate], key.serialize_der())));
        refused(&victim, &member, &attacker, tls).await;
    });
}

#[test]
fn attack_12_a_hello_of_an_older_tls_is_refused() {
    let home = Home::new();
    let credentials = Credentials {
        certificate: certificate_of(&home),
        key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(home.steal("node.key"))),
    };
    let server = pinned_tls::server_config(credentials, ListedPins::default()).unwrap();
    let server = Arc::new(server);
    let name = "expressnet".try_into().unwrap();
    let tls = Arc::new(client(None));
    let mut dialler = ClientConnection::new(tls, Version::V1, name, vec![]).unwrap();
    let mut hello = Vec::new();
    dialler.write_hs(&mut hello);
    let read = |hello: &[u8]| {
        let server = Arc::clone(&server);
        let mut listener = ServerConnection::new(server, Version::V1, vec![]).unwrap();
        listener.read_hs(hello)
    };
    assert_eq!(read(&hello), Ok(()));
    let versions = [0x00, 0x2B, 0x00, 0x03, 0x02, 0x03, 0x04];
    let at = hello
        .windows(versions.len())
        .position(|window| window == versions);
    hello[at.unwrap() + versions.len() - 1] = 0x03;
    assert!(read(&hello).is_err(), "a hello that offers TLS 1.2 only");
    assert!(hello.windows(ALPN.len()).any(|window| window == ALPN));
}

#[test]
fn attack_13_a_node_neither_lists_nor_links_itself() {
    run(async || {
        let (one, two) = pair();
        assert!(!one.mesh.add_peer(one.peer()));
        one.mesh.dial(one.id());
        assert_eq!(one.sink.next().await, Event::DialFailed(one.id()));
        assert!(one.mesh.add_peer(two.home.peer(one.address())));
        one.mesh.dial(two.id());
        assert_eq!(one.sink.next().await, Event::DialFailed(two.id()));
        assert!(one.mesh.add_peer(two.peer()));
        linked(&one, &two).await;
    });
}

#[test]
fn frames_and_datagrams_arrive_in_both_directions_and_the_rtt_is_known() {
    run(async || {
        let (one, two) = pair();
        let (at_one, at_two) = linked(&one, &two).await;
        assert_eq!(
            two.mesh.stats().retries,
            1,
            "the address was not proven first"
        );
        let longest = vec![7; 64 * 1024];
        one.mesh.send_stream(at_one, &longest).unwrap();
        assert_eq!(two.sink.next().await, Event::Frame(at_two, longest));
        two.speak(at_two, &one, at_one).await;
        let len = two.mesh.datagram_bytes_max(at_two).unwrap();
        assert!(len > 1_100, "{len}");
        two.mesh.send_datagram(at_two, &vec![1; len]).unwrap();
        assert_eq!(one.sink.next().await, Event::Datagram(at_one, vec![1; len]));
        assert!(two.mesh.send_datagram(at_two, &vec![1; len + 1]).is_err());
        assert!(one.mesh.send_stream(at_one, &[]).is_err());
        assert!(one.mesh.rtt(at_one).unwrap().as_millis() < 100);
    });
}

#[test]
fn a_restarted_node_is_reached_again_at_its_address() {
    run(async || {
        let (one, two) = pair();
        let (at_one, _) = linked(&one, &two).await;
        let (address, id) = (two.address(), two.id());
        let Node {
            home,
            mesh,
            sink: _,
        } = two;
        mesh.stop().await;
        assert_eq!(one.sink.next().await, Event::Down(at_one));
        one.mesh.dial(id);
        assert_eq!(one.sink.next().await, Event::DialFailed(id));
        let two = Node::start_at(home, address);
        assert!(two.mesh.add_peer(one.home.peer(loopback_port(&one))));
        let (at_one, at_two) = linked(&one, &two).await;
        one.speak(at_one, &two, at_two).await;
        let (at_two, at_one_again) = linked(&two, &one).await;
        two.speak(at_two, &one, at_one_again).await;
    });
}

fn loopback_port(node: &Node) -> std::net::SocketAddr {
    (loopback().ip(), node.address().port()).into()
}
