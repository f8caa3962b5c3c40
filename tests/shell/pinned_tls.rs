//! The TLS layer alone, without what stands before and behind it: two ends in memory.

use std::sync::Arc;

use expressnet::shell::pinned_tls::{
    Credentials, ListedPins, SERVER_NAME, client_config, server_config,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::quic::{ClientConnection, ServerConnection, Version};
use rustls::{ClientConfig, Error, ServerConfig};

use crate::shell::attacker::{certificate_of, client, genuine, server};
use crate::shell::world::Home;

fn credentials(home: &Home) -> Credentials {
    Credentials {
        certificate: certificate_of(home),
        key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(home.steal("node.key"))),
    }
}

fn name() -> ServerName<'static> {
    ServerName::try_from(SERVER_NAME).unwrap()
}

/// Shakes hands in memory; the first error of either end.
fn shake(dialler: ClientConfig, listener: ServerConfig) -> Result<(), Error> {
    let mut dialler = ClientConnection::new(Arc::new(dialler), Version::V1, name(), vec![])?;
    let mut listener = ServerConnection::new(Arc::new(listener), Version::V1, vec![])?;
    let mut bytes = Vec::new();
    for _ in 0..4 {
        while dialler.write_hs(&mut bytes).is_some() || !bytes.is_empty() {
            listener.read_hs(&bytes)?;
            bytes.clear();
        }
        while listener.write_hs(&mut bytes).is_some() || !bytes.is_empty() {
            dialler.read_hs(&bytes)?;
            bytes.clear();
        }
    }
    assert!(!dialler.is_handshaking() && !listener.is_handshaking());
    Ok(())
}

#[test]
fn a_listener_admits_listed_keys_only_and_nobody_without_one() {
    let (own, member, stranger) = (Home::new(), Home::new(), Home::new());
    let listed = ListedPins::default();
    listed.insert(member.identity.pin());
    let listener = || server_config(credentials(&own), listed.clone()).unwrap();
    assert_eq!(shake(client(Some(genuine(&member))), listener()), Ok(()));
    assert!(shake(client(Some(genuine(&stranger))), listener()).is_err());
    assert!(shake(client(None), listener()).is_err());
    let mut other_alpn = client(Some(genuine(&member)));
    other_alpn.alpn_protocols = vec![b"h3".to_vec()];
    assert!(shake(other_alpn, listener()).is_err());
    listed.remove(member.identity.pin());
    assert!(shake(client(Some(genuine(&member))), listener()).is_err());
}

#[test]
fn a_dialler_admits_the_one_key_of_its_dial() {
    let (own, member, other) = (Home::new(), Home::new(), Home::new());
    let dialler = || client_config(credentials(&own), member.identity.pin()).unwrap();
    assert_eq!(shake(dialler(), server(genuine(&member))), Ok(()));
    assert!(shake(dialler(), server(genuine(&other))).is_err());
}
