//! Why the slow probes were slow: what else is known of the moments in which they travelled.
//!
//! | cause | when it is named |
//! |---|---|
//! | path switch | the peer's address changed while the probe was under way |
//! | loss | the transport lost packets meanwhile, or probes beside it were lost |
//! | congestion | the transport counted congestion, or its window shrank |
//! | timer late | the probe left late by half of what it was slow by, or more |
//! | peer held it | the peer had it for half of what it was slow by, or more |
//! | stall | a neighbour was slow by half as much too: the path or the peer stood still |
//!
//! The last three are judged by excess: how much slower than the median. A cause is a coincidence in
//! time, not a proof; several may be named, and none is `unexplained`.

use crate::latency::report::{LostProbe, Measured, Outlier, TransportCount};

/// One slow or lost probe and what coincided with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub number: u32,
    pub intended_ns: u64,
    /// `None` where it was lost.
    pub rtt_ns: Option<u64>,
    pub causes: Vec<Cause>,
}

/// What coincided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    PathSwitch,
    Loss { packets: u64 },
    Congestion { events: u64, window_shrank: bool },
    TimerLate { late_ns: u64 },
    PeerHeld { held_ns: u64 },
    Stall { neighbours: u8 },
    Unexplained,
}

/// What the transport counted between two moments.
#[derive(Clone, Copy, Debug, Default)]
struct Delta {
    lost: u64,
    congestion: u64,
    shrank: bool,
    switches: u64,
}

impl Cause {
    pub const fn name(self) -> &'static str {
        match self {
            Self::PathSwitch => "path switch",
            Self::Loss { .. } => "loss",
            Self::Congestion { .. } => "congestion",
            Self::TimerLate { .. } => "timer late",
            Self::PeerHeld { .. } => "peer held it",
            Self::Stall { .. } => "stall of the path or the peer",
            Self::Unexplained => "unexplained",
        }
    }
}

/// Gives a reason for each outlier and each lost probe of a path, by number.
pub fn reasons(path: &Measured) -> Vec<Reason> {
    let median = path.rtt.as_ref().map_or(0, |rtt| rtt.p50_ns);
    let slow = path.outliers.iter().map(|outlier| Reason {
        number: outlier.number,
        intended_ns: outlier.intended_ns,
        rtt_ns: Some(outlier.rtt_ns),
        causes: or_unexplained(of_slow(path, outlier, median)),
    });
    let lost = path.lost.iter().map(|probe| Reason {
        number: probe.number,
        intended_ns: probe.intended_ns,
        rtt_ns: None,
        causes: or_unexplained(of_lost(path, probe, median)),
    });
    let mut reasons: Vec<Reason> = slow.chain(lost).collect();
    reasons.sort_by_key(|reason| reason.number);
    reasons
}

fn of_slow(path: &Measured, outlier: &Outlier, median: u64) -> Vec<Cause> {
    // The transport tells of a loss up to a round trip after the answer.
    let until = outlier.heard_ns.saturating_add(median);
    let mut causes = transport_causes(path, outlier.sent_ns, until);
    let excess = outlier.rtt_ns.saturating_sub(median);
    let late_ns = outlier.sent_ns.saturating_sub(outlier.intended_ns);
    if explains(late_ns, excess) {
        causes.push(Cause::TimerLate { late_ns });
    }
    let held_ns = outlier.replied_ns.saturating_sub(outlier.received_ns);
    if explains(held_ns, excess) {
        causes.push(Cause::PeerHeld { held_ns });
    }
    let neighbours = [outlier.before_ns, outlier.after_ns];
    let slow = neighbours
        .into_iter()
        .flatten()
        .filter(|rtt_ns| explains(rtt_ns.saturating_sub(median), excess));
    if let neighbours @ 1.. = u8::try_from(slow.count()).unwrap_or(u8::MAX) {
        causes.push(Cause::Stall { neighbours });
    }
    causes
}

fn of_lost(path: &Measured, probe: &LostProbe, median: u64) -> Vec<Cause> {
    // A datagram counts as lost once later ones were acknowledged: two round trips suffice.
    let until = probe.sent_ns.saturating_add(median.saturating_mul(2));
    let mut causes = transport_causes(path, probe.sent_ns, until);
    let beside = |number: Option<u32>| {
        number.is_some_and(|number| path.lost.iter().any(|lost| lost.number == number))
    };
    let neighbours = [probe.number.checked_sub(1), probe.number.checked_add(1)];
    let neighbours = neighbours.into_iter().filter(|number| beside(*number));
    if let neighbours @ 1.. = u8::try_from(neighbours.count()).unwrap_or(u8::MAX) {
        causes.push(Cause::Stall { neighbours });
    }
    causes
}

fn transport_causes(path: &Measured, from_ns: u64, until_ns: u64) -> Vec<Cause> {
    let delta = delta(&path.transport, from_ns, until_ns);
    let switch = (delta.switches > 0).then_some(Cause::PathSwitch);
    let packets = delta.lost;
    let loss = (packets > 0).then_some(Cause::Loss { packets });
    let congestion = (delta.congestion > 0 || delta.shrank).then_some(Cause::Congestion {
        events: delta.congestion,
        window_shrank: delta.shrank,
    });
    [switch, loss, congestion].into_iter().flatten().collect()
}

/// Adds up what changed between the last count before a window and the last one in it.
fn delta(counts: &[TransportCount], from_ns: u64, until_ns: u64) -> Delta {
    let mut delta = Delta::default();
    for pair in counts.windows(2) {
        let [before, after] = pair else { continue };
        if after.at_ns < from_ns || after.at_ns > until_ns {
            continue;
        }
        let lost = after.lost_packets.saturating_sub(before.lost_packets);
        delta.lost = delta.lost.saturating_add(lost);
        let events = after
            .congestion_events
            .saturating_sub(before.congestion_events);
        delta.congestion = delta.congestion.saturating_add(events);
        let switches = after.path_switches.saturating_sub(before.path_switches);
        delta.switches = delta.switches.saturating_add(switches);
        delta.shrank |= after.congestion_window_bytes < before.congestion_window_bytes;
    }
    delta
}

/// Tells whether a part is at least half of what a probe was slow by.
const fn explains(part_ns: u64, excess_ns: u64) -> bool {
    part_ns > 0 && part_ns >= excess_ns / 2
}

fn or_unexplained(mut causes: Vec<Cause>) -> Vec<Cause> {
    if causes.is_empty() {
        causes.push(Cause::Unexplained);
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::fixture::{INTERVAL, START, report, samples, train};
    use crate::latency::train::{Fate, PathCount, Train};
    use crate::model::time::{Span, Time};

    const SLOW: u32 = 500;

    #[test]
    fn a_lone_slow_probe_is_unexplained() {
        assert_eq!(causes(&one_slow()), [Cause::Unexplained]);
    }

    #[test]
    fn loss_while_it_was_under_way_is_named() {
        let mut train = one_slow();
        let sent = START + INTERVAL.times(u64::from(SLOW));
        train.path = vec![count(START, 0, 0), count(sent + Span::millis(30), 2, 0)];
        assert_eq!(causes(&train), [Cause::Loss { packets: 2 }]);
        train.path = vec![count(START, 0, 0), count(sent - Span::millis(1), 2, 0)];
        assert_eq!(causes(&train), [Cause::Unexplained]);
        train.path = vec![count(START, 0, 0), count(sent + Span::millis(200), 2, 0)];
        assert_eq!(causes(&train), [Cause::Unexplained]);
    }

    #[test]
    fn a_switch_and_a_smaller_window_are_named() {
        let mut train = one_slow();
        let at = START + INTERVAL.times(u64::from(SLOW)) + Span::millis(30);
        let mut after = count(at, 0, 1);
        after.path_switches = 1;
        after.congestion_window_bytes = 6_000;
        train.path = vec![count(START, 0, 0), after];
        let congestion = Cause::Congestion {
            events: 1,
            window_shrank: true,
        };
        assert_eq!(causes(&train), [Cause::PathSwitch, congestion]);
    }

    #[test]
    fn what_the_machines_did_is_named() {
        let mut late = one_slow();
        let sample = &mut late.samples[SLOW as usize];
        sample.intended = sample.intended - Span::millis(50);
        let late_ns = 50_005_000;
        assert_eq!(causes(&late), [Cause::TimerLate { late_ns }]);
        let mut held = one_slow();
        if let Fate::Answered { replied, heard, .. } = &mut held.samples[SLOW as usize].fate {
            *replied = *replied + Span::millis(50);
            *heard = *heard + Span::millis(50);
        }
        let held_ns = 50_020_000;
        assert_eq!(causes(&held), [Cause::PeerHeld { held_ns }]);
    }

    #[test]
    fn a_stall_shows_in_the_neighbours() {
        let mut rtts = vec![Some(Span::millis(20)); 1_000];
        for (slower, rtt) in rtts[490..500].iter_mut().enumerate() {
            *rtt = Some(Span::millis(120 - 10 * u64::try_from(slower).unwrap()));
        }
        let mut train = train(1, 2);
        train.samples = samples(&rtts);
        let reasons = of(&train);
        assert_eq!(reasons[0].number, 490);
        assert_eq!(reasons[0].causes, [Cause::Stall { neighbours: 1 }]);
    }

    #[test]
    fn lost_probes_have_reasons_too() {
        let mut rtts = vec![Some(Span::millis(20)); 1_000];
        (rtts[10], rtts[700], rtts[701]) = (None, None, None);
        let mut train = train(1, 2);
        train.samples = samples(&rtts);
        let lost = START + INTERVAL.times(10);
        train.path = vec![count(START, 0, 0), count(lost + Span::millis(30), 1, 0)];
        let reasons = of(&train);
        let causes: Vec<_> = reasons.iter().map(|reason| reason.causes[0]).collect();
        let stall = Cause::Stall { neighbours: 1 };
        assert_eq!(causes, [Cause::Loss { packets: 1 }, stall, stall]);
    }

    fn one_slow() -> Train {
        let mut rtts = vec![Some(Span::millis(20)); 1_000];
        rtts[SLOW as usize] = Some(Span::millis(80));
        let mut train = train(1, 2);
        train.samples = samples(&rtts);
        train
    }

    fn count(at: Time, lost_packets: u64, congestion_events: u64) -> PathCount {
        PathCount {
            at,
            sent_packets: 0,
            lost_packets,
            congestion_events,
            congestion_window_bytes: 12_000,
            path_switches: 0,
        }
    }

    fn of(train: &Train) -> Vec<Reason> {
        reasons(&report(std::slice::from_ref(train)).parts[0].claim.paths[0])
    }

    fn causes(train: &Train) -> Vec<Cause> {
        let reasons = of(train);
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        reasons[0].causes.clone()
    }
}
