//! Probes beside the mesh: datagrams of our own and echoes of the system, to tell what of a figure
//! is the mesh's; and the responder to those datagrams.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | `exprecho` |
//! | 4 | number (little endian, as all that follow) |
//! | 8 | sent, the prober's clock, ns since 1970 |
//! | 8 | received, the responder's clock; zero on the way there |
//! | 8 | replied |
//! | 1 | zero |
//!
//! As long as a probe of the mesh. An echo of the system carries the same bytes, and comes back
//! without the responder's moments.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, Protocol, SocketType, ipproto};

use crate::latency::clock::{Exchange, PeerClock};
use crate::latency::prober::Prober;
use crate::latency::quota::{Bucket, Schedule, TRAIN_PROBES_PER_S_MAX};
use crate::latency::train::{Offset, Sample, Spread};
use crate::model::time::{Span, Time};
use crate::shell::clock::Clock;
use crate::wire::talk::Probe;

const MAGIC: &[u8; 8] = b"exprecho";
const BYTES: usize = Probe::BYTES as usize;
/// Addresses that a responder answers.
pub const ALLOWED_MAX: usize = 64;
/// How often the receiving thread looks whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long before a moment the sending thread stops sleeping.
const YIELD_BEFORE: Duration = Duration::from_micros(100);
const LEAD: Span = Span::millis(5);
const ICMP_HEAD: usize = 8;
const IPV4_HEAD_MIN: usize = 20;

/// What a train beside the mesh brought.
#[derive(Clone, Debug)]
pub struct Brought {
    pub started: Time,
    pub samples: Vec<Sample>,
    /// How late the sending thread woke.
    pub timer_late: Spread,
    /// Known where the responder tells its moments.
    pub clock: Option<Offset>,
}

/// How the bytes are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrap {
    Udp,
    /// An echo request; `is_raw` where answers come with their IP header.
    Icmp {
        is_raw: bool,
        v6: bool,
    },
}

/// Sends a train of datagrams to a responder.
///
/// # Errors
/// The socket does not open, or the address cannot be reached.
pub fn udp(to: SocketAddr, schedule: Schedule, clock: Clock) -> io::Result<Brought> {
    let any = match to.ip() {
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    run(socket, Wrap::Udp, schedule, clock)
}

/// Sends a train of echo requests.
///
/// # Errors
/// `PermissionDenied` where this user may not; see `net.ipv4.ping_group_range` in ip-sysctl
/// (<https://docs.kernel.org/networking/ip-sysctl.html>, read 2026-11-23).
pub fn icmp(to: IpAddr, schedule: Schedule, clock: Clock) -> io::Result<Brought> {
    let (family, protocol, v6) = match to {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, false),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, true),
    };
    let open = |kind| -> io::Result<UdpSocket> { Ok(socket(family, kind, protocol)?.into()) };
    let (socket, is_raw) = match open(SocketType::DGRAM) {
        Ok(socket) => (socket, false),
        Err(error) if v6 => return Err(error),
        Err(_) => (open(SocketType::RAW)?, true),
    };
    socket.connect(SocketAddr::new(to, 0))?;
    run(socket, Wrap::Icmp { is_raw, v6 }, schedule, clock)
}

fn socket(family: AddressFamily, kind: SocketType, protocol: Protocol) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket(family, kind, Some(protocol))?)
}

/// What both threads share.
struct State {
    prober: Prober,
    clock: PeerClock,
    samples: Vec<Sample>,
}

fn run(socket: UdpSocket, wrap: Wrap, schedule: Schedule, clock: Clock) -> io::Result<Brought> {
    socket.set_read_timeout(Some(LOOK_EVERY))?;
    let first = clock.now() + LEAD;
    let state = Arc::new(Mutex::new(State {
        prober: Prober::new(schedule, first),
        clock: PeerClock::default(),
        samples: Vec::new(),
    }));
    let receiving = {
        let (socket, state) = (socket.try_clone()?, Arc::clone(&state));
        thread::Builder::new().spawn(move || receive(&socket, wrap, clock, &state))?
    };
    let timer_late = send(&socket, wrap, clock, &state);
    drop(receiving.join());
    let mut state = locked(&state);
    let now = clock.now();
    let samples = std::mem::take(&mut state.samples);
    Ok(Brought {
        started: first,
        samples,
        timer_late,
        clock: state.clock.offset(now),
    })
}

/// Sends whatever is due at each moment of the schedule. Every moment tells how late it was met,
/// also those that one late awakening finds together.
fn send(socket: &UdpSocket, wrap: Wrap, clock: Clock, state: &Mutex<State>) -> Spread {
    let (mut late, mut met) = (Vec::new(), None);
    loop {
        let Some(at) = locked(state).prober.next_due() else {
            break;
        };
        thread::sleep(clock.until(at).saturating_sub(YIELD_BEFORE));
        while !clock.until(at).is_zero() {
            thread::yield_now();
        }
        let now = clock.now();
        if met.replace(at) != Some(at) {
            late.push(now.since(at));
        }
        if let Some(number) = locked(state).prober.take_due(now) {
            // A datagram that does not leave is lost, as one that does not arrive.
            drop(socket.send(&wrapped(wrap, number, now)));
        }
    }
    spread(late)
}

fn receive(socket: &UdpSocket, wrap: Wrap, clock: Clock, state: &Mutex<State>) {
    let mut bytes = [0; 256];
    loop {
        let heard = socket.recv(&mut bytes);
        let now = clock.now();
        let mut state = locked(state);
        let State {
            prober,
            clock: peer,
            samples,
        } = &mut *state;
        if let Ok(len) = heard
            && let Some((number, exchange, tells)) = unwrapped(wrap, &bytes[..len], now)
            && prober.hear(number, &exchange).is_some()
            && tells
        {
            peer.hear(&exchange);
        }
        prober.settle(now, usize::MAX, samples);
        if prober.is_over() {
            return;
        }
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing under the lock can leave the state half changed.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spread(mut spans: Vec<Span>) -> Spread {
    spans.sort_unstable();
    let at = |per_mille: usize| {
        let last = spans.len().saturating_sub(1);
        spans
            .get(last * per_mille / 1_000)
            .copied()
            .unwrap_or_default()
    };
    Spread {
        count: u64::try_from(spans.len()).unwrap_or(u64::MAX),
        p50: at(500),
        p99: at(990),
        max: at(1_000),
    }
}

fn wrapped(wrap: Wrap, number: u32, sent: Time) -> Vec<u8> {
    let mut body = Vec::with_capacity(BYTES);
    body.extend_from_slice(MAGIC);
    body.extend_from_slice(&number.to_le_bytes());
    body.extend_from_slice(&sent.0.to_le_bytes());
    body.resize(BYTES, 0);
    let Wrap::Icmp { v6, .. } = wrap else {
        return body;
    };
    let [high, low] = u16::try_from(number & 0xFFFF).unwrap_or(0).to_be_bytes();
    let request = if v6 { 128 } else { 8 };
    let mut packet = vec![request, 0, 0, 0, 0, 0, high, low];
    packet.extend_from_slice(&body);
    // The kernel writes identifier and sum where it keeps the socket's identifier itself.
    let [high, low] = internet_sum(&packet).to_be_bytes();
    packet[2] = high;
    packet[3] = low;
    packet
}

/// Reads an answer: its number, its moments, and whether the responder told its own.
fn unwrapped(wrap: Wrap, packet: &[u8], heard: Time) -> Option<(u32, Exchange, bool)> {
    let body = match wrap {
        Wrap::Udp => packet,
        Wrap::Icmp { is_raw, v6 } => {
            let head = if is_raw { ipv4_head(packet)? } else { 0 };
            let packet = packet.get(head..)?;
            let reply = if v6 { 129 } else { 0 };
            (*packet.first()? == reply).then_some(())?;
            packet.get(ICMP_HEAD..)?
        }
    };
    let (number, sent, received, replied) = fields(body)?;
    let tells = received.0 > 0 && replied >= received;
    // Where nobody tells when it arrived, only the round trip counts: the peer held it no time.
    let (received, replied) = if tells {
        (received, replied)
    } else {
        (sent, sent)
    };
    let exchange = Exchange {
        sent,
        received,
        replied,
        heard,
    };
    Some((number, exchange, tells))
}

fn ipv4_head(packet: &[u8]) -> Option<usize> {
    let head = usize::from(packet.first()? & 0x0F) * 4;
    (head >= IPV4_HEAD_MIN).then_some(head)
}

fn fields(body: &[u8]) -> Option<(u32, Time, Time, Time)> {
    if body.len() != BYTES || !body.starts_with(MAGIC) {
        return None;
    }
    let number = body.get(8..12)?.try_into().ok()?;
    let moment = |at: usize| -> Option<Time> {
        let bytes = body.get(at..at + 8)?.try_into().ok()?;
        Some(Time(u64::from_le_bytes(bytes)))
    };
    Some((
        u32::from_le_bytes(number),
        moment(12)?,
        moment(20)?,
        moment(28)?,
    ))
}

/// The sum of RFC 1071.
fn internet_sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Answers datagrams of listed addresses, each within the quota of one train, and is silent to
/// everything else. Runs on a thread of its own until the process ends.
///
/// # Errors
/// The socket does not open.
pub fn respond(listen: SocketAddr, allowed: &[IpAddr], clock: Clock) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind(listen)?;
    let address = socket.local_addr()?;
    let now = clock.now();
    let mut quotas: Vec<(IpAddr, Bucket)> = allowed
        .iter()
        .take(ALLOWED_MAX)
        .map(|address| (*address, Bucket::new(TRAIN_PROBES_PER_S_MAX, now)))
        .collect();
    let responder = thread::Builder::new().name("echo".to_owned());
    responder.spawn(move || {
        let mut bytes = [0; BYTES + 1];
        loop {
            let Ok((len, from)) = socket.recv_from(&mut bytes) else {
                continue;
            };
            let received = clock.now();
            if let Some(answer) = answer(&bytes[..len], from.ip(), &mut quotas, received) {
                drop(socket.send_to(&answer(clock.now()), from));
            }
        }
    })?;
    Ok(address)
}

/// Returns the answer to a datagram, which still lacks the moment at which it leaves.
fn answer(
    bytes: &[u8],
    from: IpAddr,
    quotas: &mut [(IpAddr, Bucket)],
    received: Time,
) -> Option<impl Fn(Time) -> [u8; BYTES] + use<>> {
    let asked: [u8; BYTES] = bytes.try_into().ok()?;
    let (_, _, was_received, was_replied) = fields(&asked)?;
    // An answer is not answered, or two responders would play for ever.
    (was_received == Time::ZERO && was_replied == Time::ZERO).then_some(())?;
    let (_, quota) = quotas.iter_mut().find(|(address, _)| *address == from)?;
    quota.take(received).then_some(move |replied: Time| {
        let mut answer = asked;
        answer[20..28].copy_from_slice(&received.0.to_le_bytes());
        answer[28..36].copy_from_slice(&replied.0.to_le_bytes());
        answer
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::train::{Fate, Shape};

    fn schedule(count: u32) -> Schedule {
        let interval = Span::MILLI;
        Schedule::new(Shape::Idle { interval }, count).unwrap()
    }

    #[test]
    fn a_responder_tells_its_moments_and_its_clock_is_found() {
        let clock = Clock::start();
        let ahead = clock.ahead_by(Span::millis(50));
        let home = IpAddr::from([127, 0, 0, 1]);
        let responder = respond(SocketAddr::new(home, 0), &[home], ahead).unwrap();
        let brought = udp(responder, schedule(100), clock).unwrap();
        assert_eq!(brought.samples.len(), 100);
        assert_eq!(brought.timer_late.count, 100);
        let is_answered = |sample: &Sample| matches!(sample.fate, Fate::Answered { .. });
        let unanswered = brought.samples.iter().find(|sample| !is_answered(sample));
        assert_eq!(unanswered, None, "began at {:?}", brought.started);
        let offset = brought.clock.unwrap();
        assert!(
            offset.ahead_ns.abs_diff(50_000_000) <= offset.bound.0,
            "{offset:?}"
        );
    }

    #[test]
    fn strangers_and_strange_datagrams_get_no_answer() {
        let now = Time(Span::SECOND.0);
        let listed = IpAddr::from([192, 0, 2, 1]);
        let mut quotas = vec![(listed, Bucket::new(1, now))];
        let good = wrapped(Wrap::Udp, 7, Time(9));
        let mut hears = |bytes: &[u8], from| answer(bytes, from, &mut quotas, now).is_some();
        assert!(!hears(&good, IpAddr::from([192, 0, 2, 2])));
        assert!(!hears(&good[1..], listed) && !hears(&[&good[..], &[0]].concat(), listed));
        assert!(!hears(&[0; BYTES], listed));
        let mut answered = good.clone();
        answered[20] = 1;
        assert!(!hears(&answered, listed), "an answer");
        assert!(hears(&good, listed));
        let more = (0..100).filter(|_| hears(&good, listed)).count();
        assert!(more < 10, "{more} beyond the quota");
    }

    #[test]
    fn an_echo_carries_its_probe_with_and_without_an_ip_header() {
        let heard = Time(5_000);
        for (is_raw, v6) in [(false, false), (true, false), (false, true)] {
            let wrap = Wrap::Icmp { is_raw, v6 };
            let mut packet = wrapped(wrap, 70_000, Time(4_000));
            assert_eq!(
                internet_sum(&packet),
                0,
                "a packet with its sum sums to nothing"
            );
            packet[0] = if v6 { 129 } else { 0 };
            if is_raw {
                let mut whole = vec![0x45];
                whole.resize(IPV4_HEAD_MIN, 0);
                whole.extend_from_slice(&packet);
                packet = whole;
            }
            let (number, exchange, tells) = unwrapped(wrap, &packet, heard).unwrap();
            assert_eq!((number, tells), (70_000, false));
            assert_eq!(exchange.rtt(), Some(Span(1_000)));
            for len in 0..packet.len() {
                assert_eq!(unwrapped(wrap, &packet[..len], heard), None);
            }
        }
    }
}
