//! Members that misbehave: each costs its own link and nobody else's.

use std::time::{Duration, Instant};

use expressnet::model::ids::LinkNo;
use expressnet::shell::frames::ALLOWANCE_MAX;
use expressnet::shell::frames::QUEUED_BYTES_MAX;
use expressnet::shell::mesh::{HANDSHAKE_DEADLINE, SendError};
use expressnet::shell::quic::{SEND_WINDOW_BYTES, STREAM_WINDOW_BYTES};
use quinn::{RecvStream, SendStream};

use crate::shell::attacker::{Attacker, Entered, HELLO_FRAME, client, genuine};
use crate::shell::world::{Event, Home, Node, linked, run, within};

/// A victim with one honest link, and a member that is let in and then misbehaves.
struct Scene {
    victim: Node,
    honest: Node,
    at_victim: LinkNo,
    at_honest: LinkNo,
    member: Home,
    attacker: Attacker,
}

impl Scene {
    async fn new() -> Self {
        let (victim, honest) = crate::shell::world::pair();
        let member = Home::new();
        assert!(
            victim
                .mesh
                .add_peer(member.peer(([127, 0, 0, 1], 9).into()))
        );
        let (at_honest, at_victim) = linked(&honest, &victim).await;
        let attacker = Attacker::new(&member, &victim.home, None);
        Self {
            victim,
            honest,
            at_victim,
            at_honest,
            member,
            attacker,
        }
    }

    async fn through_tls(&self) -> Entered {
        let tls = client(Some(genuine(&self.member)));
        let entered = self
            .attacker
            .enter(tls, self.victim.id(), self.victim.address())
            .await;
        entered.unwrap()
    }

    async fn enter(&self) -> (Entered, SendStream, RecvStream, LinkNo) {
        let entered = self.through_tls().await;
        let (sending, receiving) = entered.greet().await.unwrap();
        let (peer, link) = self.victim.sink.up().await;
        assert_eq!(peer, self.member.id());
        (entered, sending, receiving, link)
    }

    /// The honest link was not touched.
    async fn unharmed(&self) {
        self.victim
            .speak(self.at_victim, &self.honest, self.at_honest)
            .await;
        self.honest
            .speak(self.at_honest, &self.victim, self.at_victim)
            .await;
    }
}

#[test]
fn attack_18_who_does_not_say_hello_in_time_is_closed() {
    run(async || {
        let scene = Scene::new().await;
        let begun = Instant::now();
        let (silent, halting) = (scene.through_tls().await, scene.through_tls().await);
        let mut stream = within(halting.connection.open_uni()).await.unwrap();
        within(stream.write_all(&HELLO_FRAME[..7])).await.unwrap();
        within(silent.connection.closed()).await;
        within(halting.connection.closed()).await;
        let lasted = begun.elapsed();
        assert!(
            lasted < HANDSHAKE_DEADLINE + Duration::from_secs(1),
            "{lasted:?}"
        );
        assert_eq!(scene.victim.mesh.stats().refused, 2);
        assert!(scene.victim.sink.is_empty());
        scene.unharmed().await;
        scene.enter().await;
    });
}

#[test]
fn a_first_frame_that_is_no_hello_is_refused() {
    run(async || {
        let scene = Scene::new().await;
        for first in [
            &b"\0\0\0\x05order"[..],
            b"\0\0\0\x12expressnet/2 hello",
            b"\0\0\0\0",
        ] {
            let entered = scene.through_tls().await;
            let mut stream = within(entered.connection.open_uni()).await.unwrap();
            within(stream.write_all(first)).await.unwrap();
            within(entered.connection.closed()).await;
            assert!(scene.victim.sink.is_empty());
        }
        scene.unharmed().await;
        scene.enter().await;
    });
}

#[test]
fn attack_21_a_peer_that_never_reads_loses_its_link_and_nobody_else_notices() {
    run(async || {
        let scene = Scene::new().await;
        let (_entered, _sending, _receiving, link) = scene.enter().await;
        let frame = vec![1; 10_000];
        let mut taken = 0;
        let error = loop {
            match scene.victim.mesh.send_stream(link, &frame) {
                Ok(()) => taken += frame.len(),
                Err(error) => break error,
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(error, SendError::Overflow);
        let windows = SEND_WINDOW_BYTES as usize + STREAM_WINDOW_BYTES as usize;
        assert!(
            taken <= QUEUED_BYTES_MAX + windows,
            "{taken} bytes were taken"
        );
        assert_eq!(scene.victim.sink.next().await, Event::Down(link));
        assert_eq!(scene.victim.mesh.stats().overflows, 1);
        assert_eq!(
            scene.victim.mesh.send_stream(link, &frame),
            Err(SendError::NoLink)
        );
        scene.unharmed().await;
        for _ in 0..taken / frame.len() * 2 {
            scene
                .victim
                .mesh
                .send_stream(scene.at_victim, &frame)
                .unwrap();
            let received = scene.honest.sink.next().await;
            assert_eq!(received, Event::Frame(scene.at_honest, frame.clone()));
        }
    });
}

#[test]
fn attack_26_a_length_of_four_gigabytes_closes_the_link_without_memory() {
    run(async || {
        let scene = Scene::new().await;
        for length in [u32::MAX, 65_537, 0] {
            let (entered, mut sending, _receiving, link) = scene.enter().await;
            within(sending.write_all(b"\0\0\0\x02ok")).await.unwrap();
            assert_eq!(
                scene.victim.sink.next().await,
                Event::Frame(link, b"ok".to_vec())
            );
            within(sending.write_all(&length.to_be_bytes()))
                .await
                .unwrap();
            assert_eq!(scene.victim.sink.next().await, Event::Down(link));
            within(entered.connection.closed()).await;
        }
        assert_eq!(scene.victim.mesh.stats().bad_frames, 3);
        scene.unharmed().await;
    });
}

#[test]
fn attack_19_who_sends_more_than_its_allowance_is_closed() {
    run(async || {
        let scene = Scene::new().await;
        let (_entered, mut sending, _receiving, link) = scene.enter().await;
        let some = b"\0\0\0\x01a".repeat(1_000);
        within(sending.write_all(&some)).await.unwrap();
        for _ in 0..1_000 {
            assert_eq!(
                scene.victim.sink.next().await,
                Event::Frame(link, b"a".to_vec())
            );
        }
        let flood = b"\0\0\0\x01a".repeat(20 * ALLOWANCE_MAX as usize);
        let flooding = async { sending.write_all(&flood).await.is_err() };
        let counting = async {
            let mut frames = 0_u32;
            loop {
                match scene.victim.sink.next().await {
                    Event::Frame(..) => frames += 1,
                    other @ (Event::Up(..)
                    | Event::Down(_)
                    | Event::DialFailed(_)
                    | Event::Datagram(..)) => break (frames, other),
                }
            }
        };
        let (cut_off, (frames, ended)) = within(async { tokio::join!(flooding, counting) }).await;
        assert!(cut_off);
        assert_eq!(ended, Event::Down(link));
        assert!(frames < 10 * ALLOWANCE_MAX, "{frames} frames were heard");
        assert_eq!(scene.victim.mesh.stats().floods, 1);
        scene.unharmed().await;
    });
}

#[test]
fn a_peer_that_ends_or_resets_its_stream_is_closed_and_opens_no_second_one() {
    run(async || {
        let scene = Scene::new().await;
        for reset in [true, false] {
            let (entered, mut sending, _receiving, link) = scene.enter().await;
            let second = entered.connection.open_uni();
            let second = tokio::time::timeout(Duration::from_millis(50), second).await;
            assert!(second.is_err(), "a second stream was allowed");
            if reset {
                sending.reset(0u32.into()).unwrap();
            } else {
                sending.finish().unwrap();
            }
            assert_eq!(scene.victim.sink.next().await, Event::Down(link));
            within(entered.connection.closed()).await;
        }
        scene.unharmed().await;
    });
}
