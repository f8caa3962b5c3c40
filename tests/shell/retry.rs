//! Attack 17: a Retry token is worth nothing from another address. A relay between dialler and
//! node sends the first packet from one address and the others from the same or from another.

use std::net::SocketAddr;

use tokio::net::UdpSocket;
use tokio::task::{JoinHandle, spawn_local};

use crate::shell::attacker::{Attacker, client, genuine};
use crate::shell::world::{Home, Node, loopback, run};

async fn socket() -> UdpSocket {
    UdpSocket::bind(loopback()).await.unwrap()
}

/// Relays to `node`; returns where to dial it.
async fn relay(node: SocketAddr, moving: bool) -> (SocketAddr, JoinHandle<()>) {
    let (front, first, second) = (socket().await, socket().await, socket().await);
    let address = front.local_addr().unwrap();
    let relaying = async move {
        let mut dialler = None;
        loop {
            let (mut out, mut one, mut two) = ([0; 2_048], [0; 2_048], [0; 2_048]);
            tokio::select! {
                Ok((len, from)) = front.recv_from(&mut out) => {
                    let moved = moving && dialler.is_some();
                    dialler = Some(from);
                    let back = if moved { &second } else { &first };
                    back.send_to(&out[..len], node).await.unwrap();
                }
                Ok(len) = first.recv(&mut one) => {
                    front.send_to(&one[..len], dialler.unwrap()).await.unwrap();
                }
                Ok(len) = second.recv(&mut two) => {
                    front.send_to(&two[..len], dialler.unwrap()).await.unwrap();
                }
            }
        }
    };
    (address, spawn_local(relaying))
}

#[test]
fn attack_17_a_retry_token_counts_only_at_the_address_it_was_given_to() {
    run(async || {
        let (node, member) = (Node::start(Home::new()), Home::new());
        assert!(node.mesh.add_peer(member.peer(([127, 0, 0, 1], 9).into())));
        let dialler = Attacker::new(&member, &node.home, None);
        for moving in [true, false] {
            let (address, relaying) = relay(node.address(), moving).await;
            let tls = client(Some(genuine(&member)));
            let entered = dialler.enter(tls, node.id(), address).await;
            assert_eq!(entered.is_none(), moving);
            if let Some(entered) = entered {
                entered.greet().await.unwrap();
                assert_eq!(node.sink.up().await.0, member.id());
            }
            assert!(node.sink.is_empty());
            relaying.abort();
        }
        assert_eq!(node.mesh.stats().retries, 2);
        assert_eq!(node.mesh.stats().accepted, 1);
    });
}
