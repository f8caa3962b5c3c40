//! Real IRC servers of Debian on loopback, and one of our own that misbehaves.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};

use crate::shell::irc::programs::look_until;
use crate::shell::world::{Folder, PATIENCE, pem};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ngircd,
    Inspircd,
}

/// A running server.
pub(super) struct Server {
    child: Child,
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    /// The certificate that it shows, as its bytes stand in it.
    pub(super) certificate: Vec<u8>,
    folder: Folder,
}

impl Server {
    /// Starts a server; `None`, and said aloud, where it is not installed.
    pub(super) fn start(kind: Kind) -> Option<Self> {
        let server = Self::launch(kind, None, [free_address(), free_address()])?;
        for address in [server.plain, server.tls] {
            server.await_listening(address);
        }
        Some(server)
    }

    /// Starts ngircd at an address of a network namespace, on the ports that are the custom: a
    /// kernel that helps DCC through a NAT looks at no others.
    pub(super) fn start_in(namespace: &str, address: IpAddr) -> Option<Self> {
        let [plain, tls] = [6_667, 6_697].map(|port| SocketAddr::new(address, port));
        let server = Self::launch(Kind::Ngircd, Some(namespace), [plain, tls])?;
        let log = || fs::read_to_string(server.folder.0.join("log")).unwrap_or_default();
        let is_ready = look_until(|| log().contains(" ready."));
        assert!(is_ready.is_some(), "{}", log());
        Some(server)
    }

    fn launch(kind: Kind, namespace: Option<&str>, [plain, tls]: [SocketAddr; 2]) -> Option<Self> {
        let folder = Folder::new();
        fs::create_dir_all(&folder.0).unwrap();
        let certificate = write_certificate(&folder.0);
        let mut command = match kind {
            Kind::Ngircd => ngircd(&folder, plain, tls),
            Kind::Inspircd => inspircd(&folder, plain, tls),
        };
        if !is_installed(&command.get_program().to_string_lossy()) {
            skipped(&format!("{kind:?} is not installed; tests/run installs it"));
            return None;
        }
        if let Some(namespace) = namespace {
            let mut within = Command::new("ip");
            within.args(["netns", "exec", namespace]);
            within.arg(command.get_program()).args(command.get_args());
            command = within;
        }
        let log = fs::File::create(folder.0.join("log")).unwrap();
        command
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log);
        let child = command.spawn().unwrap();
        Some(Self {
            child,
            plain,
            tls,
            certificate,
            folder,
        })
    }

    /// Somebody else's process tells nobody when it listens.
    fn await_listening(&self, address: SocketAddr) {
        let began = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_err() {
            let log = || fs::read_to_string(self.folder.0.join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "{address}: {}", log());
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Says aloud what is left out, and why.
pub(super) fn skipped(why: &str) {
    let line = format!("SKIPPED: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Tells whether a program is there, where a shell would look for it.
pub(super) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

pub(super) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Writes a certificate of nobody's and its key, as `c.pem` and `k.pem`; returns the bytes in it.
pub(super) fn write_certificate(folder: &Path) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["irc.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let written = pem("CERTIFICATE", certificate.der());
    fs::write(folder.join("c.pem"), written).unwrap();
    let written = pem("PRIVATE KEY", &key.serialize_der());
    fs::write(folder.join("k.pem"), written).unwrap();
    certificate.der().to_vec()
}

fn ngircd(folder: &Folder, plain: SocketAddr, tls: SocketAddr) -> Command {
    let top = folder.0.display();
    let config = folder.0.join("ngircd.conf");
    let text = format!(
        "[Global]\nName = irc.expressnet.test\nInfo = test\nAdminInfo1 = test\nAdminInfo2 = test\n\
         AdminEMail = test@localhost\nListen = {}\nPorts = {}\nMotdPhrase = hello\n\
         [Limits]\nMaxConnectionsIP = 0\nMaxPenaltyTime = 0\n\
         [Options]\nDNS = no\nIdent = no\nPAM = no\nIncludeDir = {top}/none\n\
         [SSL]\nCertFile = {top}/c.pem\nKeyFile = {top}/k.pem\nPorts = {}\n",
        plain.ip(),
        plain.port(),
        tls.port()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new("ngircd");
    command.arg("-n").arg("-f").arg(config);
    command
}

fn inspircd(folder: &Folder, plain: SocketAddr, tls: SocketAddr) -> Command {
    let top = folder.0.display();
    let config = folder.0.join("inspircd.conf");
    let text = format!(
        r#"<config format="xml">
<server name="irc2.expressnet.test" description="test" id="97K" network="testnet">
<admin name="test" nick="test" email="test@localhost">
<bind address="127.0.0.1" port="{}" type="clients">
<bind address="127.0.0.1" port="{}" type="clients" sslprofile="self">
<module name="ssl_gnutls">
<sslprofile name="self" provider="gnutls" certfile="{top}/c.pem" keyfile="{top}/k.pem">
<module name="ircv3"><module name="cap"><module name="ircv3_servertime"><module name="namesx"><module name="uhnames"><module name="botmode">
<connect name="main" allow="*" maxchans="20" timeout="20" localmax="1000" globalmax="1000" pingfreq="2m" hardsendq="1048576" softsendq="10240" recvq="10240" threshold="10" commandrate="1000" fakelag="yes" resolvehostnames="no" useconnectban="no">
<options defaultmodes="not">
<limits maxnick="30" maxreal="128">
<pid file="{top}/inspircd.pid">
"#,
        plain.port(),
        tls.port()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new("inspircd");
    command
        .args(["--nofork", "--runasroot", "--config"])
        .arg(config);
    command
}

/// A listener that does to whoever dials what `misbehave` says, again and again.
pub(super) fn hostile(misbehave: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            misbehave(stream);
        }
    });
    address
}

/// Reads what a client says first, so that its registration is on the way.
pub(super) fn first_words(stream: &mut TcpStream) -> String {
    let mut words = [0; 512];
    let len = stream.read(&mut words).unwrap_or(0);
    String::from_utf8_lossy(&words[..len]).into_owned()
}
