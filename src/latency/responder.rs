//! The peer's side of probing: who may probe how much, and what of it arrived.
//!
//! A prober asks for its schedule first. What comes beyond it, or without having been asked for, is
//! counted and not answered: an answer would cost as much as the probe it refuses.

use std::collections::BTreeMap;

use crate::latency::quota::{Bucket, NODE_PROBES_PER_S_MAX, Schedule, WATCH_PROBES_PER_S_MAX};
use crate::latency::train::PATIENCE;
use crate::model::ids::NodeId;
use crate::model::time::{Span, Time};

/// Asking and the first probe lie a round trip apart, and the prober takes its time as well.
const GRACE: Span = Span::secs(5);

/// Every peer that may probe this node. At most one entry for each linked peer.
#[derive(Debug, Default)]
pub struct Responder {
    watched: BTreeMap<NodeId, Bucket>,
    trains: BTreeMap<NodeId, Admitted>,
    /// Probes that were not answered: beyond a quota, or of no train.
    pub unanswered: u64,
}

#[derive(Debug)]
struct Admitted {
    train: [u8; 16],
    probes_per_s: u64,
    until: Time,
    bucket: Bucket,
    seen: Seen,
}

/// What arrived of one train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub received: u32,
    pub first: Time,
    pub last: Time,
}

/// Returns what a train is called in its probes.
pub fn tag_of(train: &[u8; 16]) -> u64 {
    let mut tag = [0; 8];
    tag.copy_from_slice(&train[..8]);
    u64::from_le_bytes(tag)
}

impl Responder {
    /// Admits a train where no other of this prober runs and all of them together, with
    /// `own_probes_per_s` of this node's own, stay below the node's limit.
    pub fn admit(
        &mut self,
        prober: NodeId,
        train: [u8; 16],
        schedule: &Schedule,
        own_probes_per_s: u64,
        now: Time,
    ) -> bool {
        let is_running = |one: &Admitted| one.until > now;
        let probes_per_s = schedule.probes_per_s();
        let sum = self.probes_per_s(now) + own_probes_per_s + probes_per_s;
        if self.trains.get(&prober).is_some_and(is_running) || sum > NODE_PROBES_PER_S_MAX {
            return false;
        }
        let admitted = Admitted {
            train,
            probes_per_s,
            until: now + schedule.lasts() + GRACE,
            bucket: Bucket::new(probes_per_s, now),
            seen: Seen::default(),
        };
        self.trains.insert(prober, admitted);
        true
    }

    /// Returns whether a probe is to be answered. A tag of zero watches the link.
    pub fn take(&mut self, prober: NodeId, tag: u64, now: Time) -> bool {
        let is_taken = if tag == 0 {
            let full = || Bucket::new(WATCH_PROBES_PER_S_MAX, now);
            self.watched.entry(prober).or_insert_with(full).take(now)
        } else {
            self.take_train(prober, tag, now)
        };
        self.unanswered += u64::from(!is_taken);
        is_taken
    }

    fn take_train(&mut self, prober: NodeId, tag: u64, now: Time) -> bool {
        let known = self.trains.get_mut(&prober);
        let known = known.filter(|known| tag_of(&known.train) == tag && known.until > now);
        let Some(known) = known.filter(|_| tag != 0) else {
            return false;
        };
        if !known.bucket.take(now) {
            return false;
        }
        if known.seen.received == 0 {
            known.seen.first = now;
        }
        known.seen.received = known.seen.received.saturating_add(1);
        known.seen.last = now;
        true
    }

    /// Ends a train and returns what was seen of it; `None` for any that does not run.
    pub fn finish(&mut self, prober: NodeId, train: [u8; 16]) -> Option<Seen> {
        let known = self.trains.get(&prober)?;
        if known.train != train {
            return None;
        }
        self.trains.remove(&prober).map(|known| known.seen)
    }

    /// Returns whether a train of this prober runs.
    pub fn is_probed_by(&self, prober: NodeId, now: Time) -> bool {
        self.trains.get(&prober).is_some_and(|one| one.until > now)
    }

    /// Forgets a peer, which exists no more.
    pub fn forget(&mut self, prober: NodeId) {
        self.watched.remove(&prober);
        self.trains.remove(&prober);
    }

    /// Returns what all admitted trains may send.
    pub fn probes_per_s(&self, now: Time) -> u64 {
        let running = self.trains.values().filter(|one| one.until > now);
        running.map(|one| one.probes_per_s).sum()
    }
}

/// How long a prober waits between asking and giving up.
pub const ASKING: Span = PATIENCE;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::train::Shape;

    const START: Time = Time(1_000 * Span::SECOND.0);
    const PROBER: NodeId = NodeId([1; 16]);
    const TRAIN: [u8; 16] = [9; 16];

    fn schedule(interval: Span) -> Schedule {
        Schedule::new(Shape::Idle { interval }, 1_000).unwrap()
    }

    #[test]
    fn only_an_admitted_train_is_answered_and_only_at_its_rate() {
        let mut responder = Responder::default();
        let tag = tag_of(&TRAIN);
        assert!(!responder.take(PROBER, tag, START));
        assert!(responder.admit(PROBER, TRAIN, &schedule(Span::millis(10)), 0, START));
        assert!(!responder.take(NodeId([2; 16]), tag, START));
        assert!(!responder.take(PROBER, tag + 1, START));
        let mut answered = 0;
        for step in 0..20_000 {
            let now = START + Span::micros(500).times(step);
            answered += u32::from(responder.take(PROBER, tag, now));
        }
        // A hundred a second for ten seconds, a tenth more, and two seconds' worth at once.
        assert!((1_310..=1_320).contains(&answered), "{answered}");
        assert_eq!(responder.unanswered, u64::from(20_003 - answered));
        let seen = responder.finish(PROBER, TRAIN).unwrap();
        assert_eq!((seen.received, seen.first), (answered, START));
        assert!(!responder.take(PROBER, tag, START));
        assert_eq!(responder.finish(PROBER, TRAIN), None);
    }

    #[test]
    fn one_train_a_prober_and_a_limit_for_all_of_them() {
        let mut responder = Responder::default();
        let fast = schedule(Span::MILLI);
        assert!(responder.admit(NodeId([0; 16]), TRAIN, &fast, 0, START));
        assert!(
            !responder.admit(NodeId([0; 16]), TRAIN, &fast, 0, START),
            "runs one"
        );
        for prober in 1..4 {
            assert!(responder.admit(NodeId([prober; 16]), TRAIN, &fast, 0, START));
        }
        assert!(
            !responder.admit(NodeId([4; 16]), TRAIN, &fast, 0, START),
            "full"
        );
        let over = START + fast.lasts() + GRACE;
        assert!(!responder.admit(NodeId([4; 16]), TRAIN, &fast, 3_001, over));
        assert!(responder.admit(NodeId([4; 16]), TRAIN, &fast, 3_000, over));
    }

    #[test]
    fn the_probes_that_watch_a_link_have_a_quota_of_their_own() {
        let mut responder = Responder::default();
        let answered = (0..1_000).filter(|_| responder.take(PROBER, 0, START));
        assert_eq!(answered.count(), 110);
        assert!(responder.take(NodeId([2; 16]), 0, START));
        assert!(responder.take(PROBER, 0, START + Span::millis(500)));
    }
}
