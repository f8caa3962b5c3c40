//! iroh as its `echo-no-router` example runs it (docs.rs/iroh 1.4.1, read 2026-11-23), without relays
//! and address lookup, for both ends know where they are.

use std::sync::mpsc::channel;
use std::thread;

use bytes::Bytes;
use iroh::endpoint::{Connection, RecvStream, SendStream, presets};
use iroh::{Endpoint, EndpointAddr, RelayMode};

use crate::MESSAGE_BYTES;
use crate::contestant::{Contestant, Threaded, Way, pin};
use crate::echo::{Echo, measure};
use crate::udp::runtime;

const ALPN: &[u8] = b"expressnet-bench/echo/0";

/// Two endpoints, each on a runtime of its own core.
pub(crate) fn contestant(way: Way) -> Box<dyn Contestant> {
    Box::new(Threaded::start(move |turns| {
        let (listening, address) = channel();
        thread::spawn(move || {
            pin(1);
            runtime().block_on(async move {
                let endpoint = endpoint().await;
                let at = endpoint.bound_sockets()[0];
                let address = EndpointAddr::new(endpoint.id()).with_ip_addr(at);
                listening.send(address).unwrap();
                let connection = endpoint.accept().await.unwrap().await.unwrap();
                answer(connection, way).await;
            });
        });
        runtime().block_on(async move {
            let endpoint = endpoint().await;
            let address = address.recv().unwrap();
            let connection = endpoint.connect(address, ALPN).await.unwrap();
            match way {
                Way::Datagram => measure(turns, Datagrams(connection)).await,
                Way::Stream => {
                    let (sending, receiving) = connection.open_bi().await.unwrap();
                    measure(turns, Stream(sending, receiving)).await;
                }
            }
        });
    }))
}

async fn endpoint() -> Endpoint {
    let builder = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .alpns(vec![ALPN.to_vec()])
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0");
    builder.unwrap().bind().await.unwrap()
}

async fn answer(connection: Connection, way: Way) {
    match way {
        Way::Datagram => loop {
            let bytes = connection.read_datagram().await.unwrap();
            connection.send_datagram(bytes).unwrap();
        },
        Way::Stream => {
            let (mut sending, mut receiving) = connection.accept_bi().await.unwrap();
            let mut bytes = [0; MESSAGE_BYTES];
            loop {
                receiving.read_exact(&mut bytes).await.unwrap();
                sending.write_all(&bytes).await.unwrap();
            }
        }
    }
}

struct Datagrams(Connection);

impl Echo for Datagrams {
    async fn round_trip(&mut self, message: &[u8]) {
        let bytes = Bytes::copy_from_slice(message);
        self.0.send_datagram(bytes).unwrap();
        self.0.read_datagram().await.unwrap();
    }
}

struct Stream(SendStream, RecvStream);

impl Echo for Stream {
    async fn round_trip(&mut self, message: &[u8]) {
        self.0.write_all(message).await.unwrap();
        self.1.read_exact(&mut [0; MESSAGE_BYTES]).await.unwrap();
    }
}
