//! How far a peer's clock is ahead of ours, and how sure that is.
//!
//! ```text
//! ours    sent ───────────────▶              ▶ heard
//! peer's          received ── replied ───────┘
//! ```
//! A probe needs some time on its way there, so the peer is ahead by at most `received - sent`; its
//! answer needs some on its way back, so it is ahead by at least `replied - heard`. The least of
//! the former and the greatest of the latter bound the offset, whatever share of the round trip
//! each direction has; half the fastest round trip is the most that bound can be. This is the clock
//! filter of RFC 5905, section 10 (<https://www.rfc-editor.org/rfc/rfc5905>, read 2026-11-23), kept
//! for each direction on its own and with the bound as the result instead of an estimate.

use crate::latency::train::Offset;
use crate::model::time::{Span, Time};

/// How fast two clocks may drift apart. Oscillators of servers are specified to 100 parts per
/// million at worst; two of them make 200. RFC 5905 reckons with 15 for one that is disciplined. A
/// clock that is slewed faster shows as limits that contradict each other.
const DRIFT_PPM: u64 = 200;
/// What reading a clock, and rounding to its ticks, may be wrong by at both ends together.
const RESOLUTION: Span = Span::MICRO;

/// The four moments of one answered probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Our clock.
    pub sent: Time,
    /// The peer's clock.
    pub received: Time,
    pub replied: Time,
    /// Our clock.
    pub heard: Time,
}

/// What is known of one peer's clock, in a few words for ever: an old limit loses against a new one by
/// the drift it has to allow for, so no window is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerClock {
    known: Option<Limits>,
    /// How often what was known contradicted a new exchange, and was forgotten.
    pub restarts: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    most: Limit,
    least: Limit,
}

/// One side of the offset as it was at a moment of our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    ahead_ns: i128,
    at: Time,
}

impl Exchange {
    /// Returns the time on the way, there and back; `None` where the moments contradict each other:
    /// an end ran backwards, or the peer held the probe for longer than it was away.
    pub fn rtt(&self) -> Option<Span> {
        let held = self.replied.0.checked_sub(self.received.0)?;
        let away = self.heard.0.checked_sub(self.sent.0)?;
        away.checked_sub(held).map(Span)
    }
}

impl PeerClock {
    /// Takes one answered probe; one whose moments contradict each other says nothing.
    pub fn hear(&mut self, exchange: &Exchange) {
        if exchange.rtt().is_none() {
            return;
        }
        let at = exchange.heard;
        let fresh = Limits {
            most: Limit {
                ahead_ns: between(exchange.received, exchange.sent),
                at,
            },
            least: Limit {
                ahead_ns: between(exchange.replied, exchange.heard),
                at,
            },
        };
        let Some(known) = self.known else {
            self.known = Some(fresh);
            return;
        };
        let (most, least) = (known.most_at(at), known.least_at(at));
        if fresh.most.ahead_ns < least || fresh.least.ahead_ns > most {
            self.restarts += 1;
            self.known = Some(fresh);
            return;
        }
        if fresh.most.ahead_ns <= most {
            self.known = self.known.map(|known| Limits {
                most: fresh.most,
                ..known
            });
        }
        if fresh.least.ahead_ns >= least {
            self.known = self.known.map(|known| Limits {
                least: fresh.least,
                ..known
            });
        }
    }

    /// Returns the offset as it stands now; `None` before the first answer.
    pub fn offset(&self, now: Time) -> Option<Offset> {
        let known = self.known?;
        let (most, least) = (known.most_at(now), known.least_at(now));
        let ahead = i64::try_from((most + least) / 2).ok()?;
        let half = u64::try_from((most - least + 1) / 2).ok()?;
        Some(Offset {
            ahead_ns: ahead,
            bound: Span(half) + RESOLUTION,
        })
    }
}

impl Limits {
    fn most_at(&self, now: Time) -> i128 {
        self.most.ahead_ns + drift(self.most.at, now)
    }

    fn least_at(&self, now: Time) -> i128 {
        self.least.ahead_ns - drift(self.least.at, now)
    }
}

fn drift(since: Time, now: Time) -> i128 {
    let age = i128::from(now.since(since).0);
    // Rounded up: an allowance is never too small.
    (age * i128::from(DRIFT_PPM) + 999_999) / 1_000_000
}

fn between(later: Time, earlier: Time) -> i128 {
    i128::from(later.0) - i128::from(earlier.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    const START: Time = Time(1_750_000_000 * Span::SECOND.0);

    /// A peer whose clock is ahead, and drifts, seen over two ways with a jitter of their own.
    struct World {
        ahead_ns: i64,
        drift_ppm: i64,
        there: Span,
        back: Span,
        jitter: Span,
        random: Random,
    }

    impl World {
        fn ahead(&self, now: Time) -> i64 {
            let age = i64::try_from(now.since(START).0).unwrap();
            self.ahead_ns + age / 1_000_000 * self.drift_ppm
        }

        fn peers(&self, now: Time) -> Time {
            Time(now.0.checked_add_signed(self.ahead(now)).unwrap())
        }

        fn probe(&mut self, sent: Time) -> Exchange {
            let mut way = |span: Span| span + Span(self.random.below(self.jitter.0 + 1));
            let arrives = sent + way(self.there);
            let leaves = arrives + Span::micros(30);
            let heard = leaves + way(self.back);
            Exchange {
                sent,
                received: self.peers(arrives),
                replied: self.peers(leaves),
                heard,
            }
        }
    }

    /// Probes every half second for ten minutes; returns the last bound.
    fn watch(mut world: World) -> Span {
        let mut clock = PeerClock::default();
        let mut last = Span::ZERO;
        for step in 0..1_200 {
            let exchange = world.probe(START + Span::millis(500).times(step));
            clock.hear(&exchange);
            for at in [exchange.heard, exchange.heard + Span::millis(400)] {
                let offset = clock.offset(at).unwrap();
                let off = world.ahead(at).abs_diff(offset.ahead_ns);
                assert!(
                    off <= offset.bound.0,
                    "step {step}: {off} ns off, bound {offset:?}"
                );
                last = offset.bound;
            }
        }
        assert_eq!(clock.restarts, 0);
        last
    }

    fn world(there_us: u64, back_us: u64, jitter_us: u64) -> World {
        World {
            ahead_ns: 50_000_000,
            drift_ppm: 0,
            there: Span::micros(there_us),
            back: Span::micros(back_us),
            jitter: Span::micros(jitter_us),
            random: Random::new(7),
        }
    }

    #[test]
    fn a_skew_of_50_ms_lies_within_the_bound_however_the_way_is_shared() {
        for (there, back) in [(5_000, 5_000), (9_900, 100), (100, 9_900), (10_000, 0)] {
            for ahead in [50_000_000, -50_000_000] {
                let skewed = World {
                    ahead_ns: ahead,
                    ..world(there, back, 0)
                };
                let bound = watch(skewed);
                // Half a round trip of 10 ms, the drift of 0.4 s, and the resolution.
                assert!(
                    bound >= Span::millis(5) && bound <= Span::micros(5_082),
                    "{bound:?}"
                );
            }
        }
    }

    #[test]
    fn jitter_widens_the_bound_by_less_than_itself() {
        let bound = watch(world(5_000, 5_000, 20_000));
        assert!(bound < Span::millis(8), "{bound:?}");
    }

    #[test]
    fn drift_up_to_what_is_allowed_for_stays_within_the_bound() {
        for drift_ppm in [-200, -15, 15, 200] {
            let drifting = World {
                drift_ppm,
                ..world(3_000, 6_000, 4_000)
            };
            watch(drifting);
        }
    }

    #[test]
    fn a_clock_that_was_set_is_learned_anew() {
        let mut clock = PeerClock::default();
        let mut skewed = world(1_000, 1_000, 0);
        clock.hear(&skewed.probe(START));
        skewed.ahead_ns = -3_000_000_000;
        let exchange = skewed.probe(START + Span::SECOND);
        clock.hear(&exchange);
        let offset = clock.offset(exchange.heard).unwrap();
        assert_eq!(clock.restarts, 1);
        assert!(offset.ahead_ns.abs_diff(-3_000_000_000) <= offset.bound.0);
    }

    #[test]
    fn moments_from_outside_that_contradict_each_other_say_nothing() {
        let mut clock = PeerClock::default();
        let fair = Exchange {
            sent: START,
            received: START,
            replied: START,
            heard: START + Span::MILLI,
        };
        for exchange in [
            Exchange {
                replied: START + Span::SECOND,
                ..fair
            },
            Exchange {
                received: Time::MAX,
                ..fair
            },
            Exchange {
                heard: Time::ZERO,
                ..fair
            },
        ] {
            assert_eq!(exchange.rtt(), None);
            clock.hear(&exchange);
        }
        assert_eq!(clock.offset(START), None);
        clock.hear(&Exchange {
            received: Time::MAX,
            replied: Time::MAX,
            ..fair
        });
        assert_eq!(clock.offset(START), None, "beyond what a number holds");
    }
}
