//! Sockets alone: the least that any transport over UDP costs on this machine.

use std::hint::spin_loop;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::contestant::{Arrivals, Contestant, Pace, Threaded, Turns, ns_since, pin, spin_until};
use crate::{FAN_OUT, MESSAGE_BYTES, QUOTE_BYTES};

/// Both ends look at their sockets without sleeping.
pub(crate) fn spinning() -> Box<dyn Contestant> {
    Box::new(Threaded::start(|turns| spin(turns, 1, MESSAGE_BYTES, None)))
}

/// One end sends to twelve sockets of the other, which notes when the last message came.
pub(crate) fn fan_out() -> Box<dyn Contestant> {
    Box::new(Threaded::start(|turns| {
        spin(turns, FAN_OUT, QUOTE_BYTES, Some(Arrivals::new()))
    }))
}

fn spin(turns: Turns, peers: usize, bytes: usize, arrivals: Option<Arc<Arrivals>>) {
    let is_on = Arc::new(AtomicBool::new(false));
    let pairs: Vec<(UdpSocket, UdpSocket)> = (0..peers).map(|_| pair()).collect();
    let (near, far): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let answering = Arc::clone(&is_on);
    let noted = arrivals.clone();
    let answerer = thread::spawn(move || answer(&far, &answering, noted.as_deref()));
    let message = vec![7; bytes];
    let mut buffer = [0; 2_048];
    for (count, pace) in &turns.commands {
        is_on.store(true, Ordering::Release);
        answerer.thread().unpark();
        let mut samples = Vec::with_capacity(count);
        let mut next = Instant::now();
        for _ in 0..count {
            if pace == Pace::EveryMilli {
                next += Duration::from_millis(1);
                spin_until(next);
            }
            if let Some(arrivals) = &arrivals {
                arrivals.expect(peers);
            }
            let begin = Instant::now();
            for socket in &near {
                socket.send(&message).unwrap();
            }
            if let Some(arrivals) = &arrivals {
                while !arrivals.are_there() {
                    spin_loop();
                }
                samples.push(arrivals.last_after(begin));
                continue;
            }
            for socket in &near {
                spin_receive(socket, &mut buffer);
            }
            samples.push(ns_since(begin));
        }
        is_on.store(false, Ordering::Release);
        turns.samples.send(samples).unwrap();
    }
}

fn answer(far: &[UdpSocket], is_on: &AtomicBool, arrivals: Option<&Arrivals>) {
    pin(1);
    let mut buffer = [0; 2_048];
    loop {
        while is_on.load(Ordering::Acquire) {
            for socket in far {
                let Ok(len) = socket.recv(&mut buffer) else {
                    continue;
                };
                match arrivals {
                    Some(arrivals) => arrivals.note(),
                    None => drop(socket.send(&buffer[..len]).unwrap()),
                }
            }
        }
        thread::park();
    }
}

fn spin_receive(socket: &UdpSocket, buffer: &mut [u8]) {
    loop {
        match socket.recv(buffer) {
            Ok(_) => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

/// Two connected sockets that do not block.
fn pair() -> (UdpSocket, UdpSocket) {
    let (one, two) = (
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    one.connect(two.local_addr().unwrap()).unwrap();
    two.connect(one.local_addr().unwrap()).unwrap();
    one.set_nonblocking(true).unwrap();
    two.set_nonblocking(true).unwrap();
    (one, two)
}

/// Both ends await their sockets on a current_thread runtime.
pub(crate) fn awaited() -> Box<dyn Contestant> {
    Box::new(Threaded::start(|turns| {
        let (near, far) = pair();
        thread::spawn(move || {
            pin(1);
            runtime().block_on(async {
                let far = tokio::net::UdpSocket::from_std(far).unwrap();
                let mut buffer = [0; 2_048];
                loop {
                    let len = far.recv(&mut buffer).await.unwrap();
                    far.send(&buffer[..len]).await.unwrap();
                }
            });
        });
        let runtime = runtime();
        let near = {
            let _entered = runtime.enter();
            tokio::net::UdpSocket::from_std(near).unwrap()
        };
        let mut buffer = [0; 2_048];
        for (count, _) in &turns.commands {
            let samples = runtime.block_on(async {
                let mut samples = Vec::with_capacity(count);
                for _ in 0..count {
                    let begin = Instant::now();
                    near.send(&[7; MESSAGE_BYTES]).await.unwrap();
                    near.recv(&mut buffer).await.unwrap();
                    samples.push(ns_since(begin));
                }
                samples
            });
            turns.samples.send(samples).unwrap();
        }
    }))
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
