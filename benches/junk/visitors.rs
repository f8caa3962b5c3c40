//! Strangers at the door: TCP connections with garbage from many addresses.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use expressnet::model::random::Random;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_linger, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

/// Those that stay without a word; the oldest goes for each that comes.
const STAYING_MAX: usize = 200;
const CONNECT_MAX: Duration = Duration::from_millis(200);
/// Addresses that they come from.
const ADDRESSES: u64 = 2_000;

/// What became of the visits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Visited {
    /// Connections that stood.
    pub(crate) came: u64,
    /// Nobody listened on any port.
    pub(crate) nobody: u64,
    /// The kernel's queue of the listener was full.
    pub(crate) queued: u64,
}

/// Comes so many times, two a millisecond, to whichever of the ports is listened on.
pub(crate) fn visit(ports: (u16, u16), visits: u64, stop: &Arc<AtomicBool>) -> Visited {
    let mut visited = Visited::default();
    let mut random = Random::new(2_000);
    let mut staying = VecDeque::new();
    let mut port = ports.0;
    let began = Instant::now();
    for number in 0..visits {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let due = began + Duration::from_micros(500 * number);
        sleep(due.saturating_duration_since(Instant::now()));
        let from = u32::try_from(random.below(ADDRESSES)).unwrap();
        let mut came = Err(Errno::CONNREFUSED);
        for _ in ports.0..=ports.1 {
            came = knock(from, port);
            if came.as_ref().err() != Some(&Errno::CONNREFUSED) {
                break;
            }
            port = if port == ports.1 { ports.0 } else { port + 1 };
        }
        // The next one tries another listener.
        if number % 7 == 0 {
            port = if port == ports.1 { ports.0 } else { port + 1 };
        }
        match came {
            Ok(stream) => {
                visited.came += 1;
                if let Some(stream) = misbehave(stream, &mut random) {
                    staying.push_back(stream);
                }
            }
            Err(Errno::CONNREFUSED) => visited.nobody += 1,
            Err(_) => visited.queued += 1,
        }
        if staying.len() > STAYING_MAX {
            staying.pop_front();
        }
    }
    visited
}

/// Connects; where the listener's queue is full, not for long.
fn knock(from: u32, port: u16) -> Result<TcpStream, Errno> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    set_socket_timeout(&socket, Timeout::Send, Some(CONNECT_MAX))?;
    // What is closed leaves nothing behind: a minute of these would use up the ports.
    set_socket_linger(&socket, Some(Duration::ZERO))?;
    let source = Ipv4Addr::from_bits(0x7F01_0000 + ((from / 200) << 8) + from % 200 + 1);
    bind(&socket, &SocketAddr::V4(SocketAddrV4::new(source, 0)))?;
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    connect(&socket, &SocketAddr::V4(to))?;
    Ok(TcpStream::from(socket))
}

/// Says something that is no TLS and goes, or stays; who is turned away meanwhile hears an error.
fn misbehave(mut stream: TcpStream, random: &mut Random) -> Option<TcpStream> {
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3];
    let noise: [u8; 64] = std::array::from_fn(|_| u8::try_from(random.below(256)).unwrap());
    match random.below(5) {
        0 => stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .ok()?,
        1 => stream.write_all(&noise).ok()?,
        2 => {
            stream.write_all(&hello).ok()?;
            stream.write_all(&noise).ok()?;
        }
        3 => return Some(stream),
        _ => (),
    }
    (random.below(4) == 0).then_some(stream)
}
