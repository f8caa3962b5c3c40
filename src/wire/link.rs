//! How messages arrive once, in order, across reconnects of one link.
//!
//! A sequenced message is kept until the peer has acknowledged it and is sent again after a
//! reconnect; the receiver drops what it has. A message sent *once* dies with its connection: a
//! leg that may be late must not be fired late. An incarnation number tells a restarted peer from
//! a reconnected one; what was meant for its earlier life is dropped, and each stage says again
//! what still holds.
//!
//! ```text
//! connected ── welcome both ways ──▶ ready ── data, acks ──▶ … ── connection lost ──▶ connected
//! ```

use std::collections::VecDeque;

use crate::model::codec::{CodecError, Reader, Writer};
use crate::wire::Version;

const WELCOME: u8 = 1;
const SEQUENCED: u8 = 2;
const ONCE: u8 = 3;
const ACK: u8 = 4;

/// One peer's side of the reliable stream. Outlives its connections.
#[derive(Clone, Debug)]
pub struct Link {
    own_incarnation: u64,
    peer_incarnation: u64,
    next_sequence: u64,
    unacknowledged: VecDeque<(u64, Vec<u8>)>,
    received: u64,
    /// Messages taken for this life of the peer, and messages of its this life handed on.
    submitted: u64,
    delivered: u64,
    is_ready: bool,
    faults: Faults,
}

/// Bugs that can be planted to prove that the simulator's checkers have teeth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Forgets at a reconnect what was sent but not acknowledged.
    pub forget_at_reconnect: bool,
}

/// What a frame on the stream means to the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// The peer is there; `restarted` where it lost its memory since last time.
    Ready { restarted: bool },
    /// A message, to be handled now.
    Message(&'a [u8]),
    /// Nothing to do.
    Nothing,
}

/// Why the connection must be closed.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum LinkError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("the peer speaks version {0} only")]
    Version(u8),
    #[error("a message came before the welcome")]
    NotWelcomed,
    #[error("message {got} came where {expected} was due")]
    OutOfOrder { got: u64, expected: u64 },
    #[error("{0} messages wait for acknowledgement")]
    Full(usize),
}

impl Link {
    /// Messages kept for a peer that does not acknowledge; full closes the link and is told.
    pub const UNACKNOWLEDGED_MAX: usize = 4_096;

    pub fn new(own_incarnation: u64) -> Self {
        Self {
            own_incarnation,
            peer_incarnation: 0,
            next_sequence: 1,
            unacknowledged: VecDeque::new(),
            received: 0,
            submitted: 0,
            delivered: 0,
            is_ready: false,
            faults: Faults::default(),
        }
    }

    pub fn plant(&mut self, faults: Faults) {
        self.faults = faults;
    }

    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Returns how many messages the peer has not acknowledged.
    pub fn waiting(&self) -> usize {
        self.unacknowledged.len()
    }

    /// Returns, for these lives of both ends, how many messages were taken for the peer and are
    /// acknowledged, how many were taken, and how many of its were handed on.
    pub fn counts(&self) -> (u64, u64, u64) {
        let waiting = self.unacknowledged.len() as u64;
        (
            self.submitted.saturating_sub(waiting),
            self.submitted,
            self.delivered,
        )
    }

    /// Begins a new connection: emits the welcome.
    pub fn handle_connected(&mut self, send: &mut dyn FnMut(&[u8])) {
        self.is_ready = false;
        let mut frame = Vec::with_capacity(27);
        let mut writer = Writer::new(&mut frame);
        writer.u8(WELCOME);
        writer.u8(Version::CURRENT.number());
        writer.u8(Version::OLDEST.number());
        writer.u64(self.own_incarnation);
        writer.u64(self.peer_incarnation);
        writer.u64(self.received);
        send(&frame);
    }

    pub fn handle_disconnected(&mut self) {
        self.is_ready = false;
    }

    /// Takes one frame of the stream; may emit resent messages and acknowledgements.
    ///
    /// # Errors
    /// The connection must be closed; what was kept is resent on the next one.
    pub fn handle_frame<'a>(
        &mut self,
        frame: &'a [u8],
        send: &mut dyn FnMut(&[u8]),
    ) -> Result<Heard<'a>, LinkError> {
        let mut reader = Reader::new(frame);
        let kind = reader.u8("frame kind")?;
        if kind != WELCOME && !self.is_ready {
            return Err(LinkError::NotWelcomed);
        }
        match kind {
            WELCOME => self.handle_welcome(reader, send),
            SEQUENCED => {
                let sequence = reader.u64("sequence")?;
                let expected = self.received + 1;
                if sequence > expected {
                    return Err(LinkError::OutOfOrder {
                        got: sequence,
                        expected,
                    });
                }
                self.received = self.received.max(sequence);
                self.acknowledge(send);
                if sequence < expected {
                    return Ok(Heard::Nothing);
                }
                self.delivered += 1;
                Ok(Heard::Message(reader.rest()))
            }
            ONCE => Ok(Heard::Message(reader.rest())),
            ACK => {
                let acknowledged = reader.u64("acknowledged")?;
                reader.finish()?;
                self.forget_to(acknowledged);
                Ok(Heard::Nothing)
            }
            ordinal => Err(LinkError::Codec(CodecError::Ordinal(ordinal))),
        }
    }

    /// Sends a message that must arrive, now or after a reconnect.
    ///
    /// # Errors
    /// `Full`: the message is not sent and not kept.
    pub fn send(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>),
        send: &mut dyn FnMut(&[u8]),
    ) -> Result<(), LinkError> {
        if self.unacknowledged.len() >= Self::UNACKNOWLEDGED_MAX {
            return Err(LinkError::Full(self.unacknowledged.len()));
        }
        let mut frame = Vec::with_capacity(96);
        let mut writer = Writer::new(&mut frame);
        writer.u8(SEQUENCED);
        writer.u64(self.next_sequence);
        write(&mut frame);
        if self.is_ready {
            send(&frame);
        }
        self.unacknowledged.push_back((self.next_sequence, frame));
        self.next_sequence += 1;
        self.submitted += 1;
        Ok(())
    }

    /// Writes a message that is worth nothing after this connection. The caller sends it.
    pub fn write_once(write: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        out.push(ONCE);
        write(out);
    }

    fn handle_welcome(
        &mut self,
        mut reader: Reader<'_>,
        send: &mut dyn FnMut(&[u8]),
    ) -> Result<Heard<'static>, LinkError> {
        let newest = reader.u8("version")?;
        let oldest = reader.u8("oldest version")?;
        if newest < Version::OLDEST.number() || oldest > Version::CURRENT.number() {
            return Err(LinkError::Version(newest));
        }
        let incarnation = reader.u64("incarnation")?;
        let known_incarnation = reader.u64("known incarnation")?;
        let received = reader.u64("received")?;
        reader.finish()?;
        let restarted = incarnation != self.peer_incarnation;
        if restarted {
            if self.peer_incarnation != 0 {
                // What was meant for an earlier life may do harm in this one; whoever is still
                // owed something is told again by the stage that owes it.
                self.unacknowledged.clear();
                self.submitted = 0;
            }
            self.delivered = 0;
            self.peer_incarnation = incarnation;
            self.received = 0;
        }
        if restarted || known_incarnation != self.own_incarnation {
            // It has heard nothing of this pair of lives, even where it has seen a welcome.
            self.renumber();
        } else {
            self.forget_to(received);
            if self.faults.forget_at_reconnect {
                self.unacknowledged.clear();
                self.next_sequence = received + 1;
            }
        }
        self.is_ready = true;
        for (_, frame) in &self.unacknowledged {
            send(frame);
        }
        Ok(Heard::Ready { restarted })
    }

    /// Numbers what is kept anew for a peer that has forgotten everything.
    fn renumber(&mut self) {
        for (index, (sequence, frame)) in self.unacknowledged.iter_mut().enumerate() {
            *sequence = index as u64 + 1;
            frame[1..9].copy_from_slice(&sequence.to_le_bytes());
        }
        self.next_sequence = self.unacknowledged.len() as u64 + 1;
    }

    fn forget_to(&mut self, acknowledged: u64) {
        while let Some((sequence, _)) = self.unacknowledged.front() {
            if *sequence > acknowledged {
                break;
            }
            self.unacknowledged.pop_front();
        }
    }

    fn acknowledge(&self, send: &mut dyn FnMut(&[u8])) {
        let mut frame = [ACK; 9];
        frame[1..].copy_from_slice(&self.received.to_le_bytes());
        send(&frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    /// Two links over a connection that breaks at random: every message arrives once, in order.
    #[test]
    fn messages_arrive_once_across_reconnects() {
        for seed in 0..200 {
            assert_eq!(
                deliver(seed, Faults::default()),
                (0..100).collect::<Vec<u8>>(),
                "seed {seed}"
            );
        }
    }

    /// A peer that comes back, sees a welcome, and loses the connection before its own is seen.
    #[test]
    fn a_new_life_begins_at_one_however_often_its_welcome_is_lost() {
        let (mut one, mut other) = (Link::new(1), Link::new(1));
        for number in 0..9 {
            one.send(|out| out.push(number), &mut |_| ()).unwrap();
        }
        exchange(&mut one, &mut other);
        other = Link::new(2);
        let mut welcome = Vec::new();
        one.handle_connected(&mut |frame| welcome = frame.to_vec());
        other.handle_frame(&welcome, &mut |_| ()).unwrap();
        other.handle_disconnected();
        one.handle_disconnected();
        exchange(&mut one, &mut other);
        one.send(|out| out.push(9), &mut |_| ()).unwrap();
        one.handle_disconnected();
        assert_eq!(exchange(&mut one, &mut other), [9]);
    }

    /// Connects two links and carries everything; returns what arrives at the other.
    fn exchange(one: &mut Link, other: &mut Link) -> Vec<u8> {
        let (mut there, mut back) = (VecDeque::new(), VecDeque::new());
        one.handle_connected(&mut |frame| there.push_back(frame.to_vec()));
        other.handle_connected(&mut |frame| back.push_back(frame.to_vec()));
        let mut arrived = Vec::new();
        loop {
            if let Some(frame) = there.pop_front() {
                let mut send = |frame: &[u8]| back.push_back(frame.to_vec());
                if let Heard::Message(message) = other.handle_frame(&frame, &mut send).unwrap() {
                    arrived.push(message[0]);
                }
            } else if let Some(frame) = back.pop_front() {
                let mut send = |frame: &[u8]| there.push_back(frame.to_vec());
                one.handle_frame(&frame, &mut send).unwrap();
            } else {
                return arrived;
            }
        }
    }

    #[test]
    fn the_planted_bug_is_seen() {
        let faults = Faults {
            forget_at_reconnect: true,
        };
        let whole: Vec<u8> = (0..100).collect();
        assert!((0..20).any(|seed| deliver(seed, faults) != whole));
    }

    #[test]
    fn a_message_before_the_welcome_closes_the_connection() {
        let mut link = Link::new(1);
        let refused = link.handle_frame(&[ONCE, 3], &mut |_| ());
        assert_eq!(refused, Err(LinkError::NotWelcomed));
    }

    fn deliver(seed: u64, faults: Faults) -> Vec<u8> {
        let mut sent_count = 0;
        let mut random = Random::new(seed);
        let (mut one, mut other) = (Link::new(1), Link::new(2));
        one.plant(faults);
        let (mut there, mut back) = (VecDeque::new(), VecDeque::new());
        let mut arrived = Vec::new();
        let mut sent = 0;
        one.handle_connected(&mut |frame| there.push_back(frame.to_vec()));
        other.handle_connected(&mut |frame| back.push_back(frame.to_vec()));
        while arrived.len() < 100 && sent < 5_000 {
            sent += 1;
            match random.below(8) {
                0 => {
                    there.clear();
                    back.clear();
                    one.handle_connected(&mut |frame| there.push_back(frame.to_vec()));
                    other.handle_connected(&mut |frame| back.push_back(frame.to_vec()));
                }
                1 | 2 => {
                    if sent_count < 100 {
                        let next = sent_count;
                        sent_count += 1;
                        one.send(|out| out.push(next), &mut |frame| {
                            there.push_back(frame.to_vec())
                        })
                        .unwrap();
                    }
                }
                3..=5 => {
                    if let Some(frame) = there.pop_front() {
                        let heard =
                            other.handle_frame(&frame, &mut |frame| back.push_back(frame.to_vec()));
                        if let Heard::Message(message) = heard.unwrap() {
                            arrived.push(message[0]);
                        }
                    }
                }
                _ => {
                    if let Some(frame) = back.pop_front() {
                        one.handle_frame(&frame, &mut |frame| there.push_back(frame.to_vec()))
                            .unwrap();
                    }
                }
            }
        }
        arrived
    }
}
