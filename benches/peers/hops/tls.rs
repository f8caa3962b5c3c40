//! Mutual TLS 1.3 over TCP without Nagle's delay, both ends on tokio.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::MESSAGE_BYTES;
use crate::contestant::{Contestant, Threaded, pin};
use crate::echo::{Echo, measure};
use crate::stock::{Shown, tls_client, tls_server};
use crate::udp::runtime;

/// One connection, both certificates checked.
pub(crate) fn contestant() -> Box<dyn Contestant> {
    Box::new(Threaded::start(|turns| {
        let (near, far) = (Shown::new(), Shown::new());
        let server = Arc::new(tls_server(&far, &near));
        let client = Arc::new(tls_client(&near, &far));
        let (listening, address) = channel();
        thread::spawn(move || {
            pin(1);
            runtime().block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                listening.send(listener.local_addr().unwrap()).unwrap();
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                let accepting = TlsAcceptor::from(server).accept(socket);
                let mut stream = accepting.await.unwrap();
                let mut bytes = [0; MESSAGE_BYTES];
                loop {
                    stream.read_exact(&mut bytes).await.unwrap();
                    stream.write_all(&bytes).await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
        });
        runtime().block_on(async move {
            let socket = TcpStream::connect(address.recv().unwrap()).await.unwrap();
            socket.set_nodelay(true).unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let connecting = TlsConnector::from(client).connect(name, socket);
            measure(turns, Stream(connecting.await.unwrap())).await;
        });
    }))
}

struct Stream(TlsStream<TcpStream>);

impl Echo for Stream {
    async fn round_trip(&mut self, message: &[u8]) {
        self.0.write_all(message).await.unwrap();
        self.0.flush().await.unwrap();
        self.0.read_exact(&mut [0; MESSAGE_BYTES]).await.unwrap();
    }
}
