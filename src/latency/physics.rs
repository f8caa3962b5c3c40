//! What light allows: the distance between two sites, and a delay as a multiple of light in fibre.
//!
//! Fibre is taken straight along the great circle, which no cable is; so a real path is above 1, and
//! one below 1 is no fibre at all. Between fibre and vacuum a radio link or hollow fibre is possible;
//! below vacuum nothing is.

use crate::latency::report::{Measured, Place};

/// The earth's mean radius (IUGG, `R1`).
const EARTH_RADIUS_M: f64 = 6_371_008.8;
/// Light in vacuum, exactly.
const LIGHT_M_PER_S: u128 = 299_792_458;
/// Group index at 1,550 nm that is usually given for standard single-mode fibre (ITU-T G.652), in
/// ten-thousandths: 1.4682, so light makes 204,190 km a second. Fibre of pure silica is 0.4 % faster,
/// which no cable's detours leave to be seen.
const FIBRE_INDEX: u128 = 14_682;
const FIBRE_INDEX_ONE: u128 = 10_000;
/// What locations are wrong by: sites are named by town or hall, not to the metre.
const SLACK_M: u64 = 2_000;

/// What a path's figures say beside light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Light {
    pub distance_m: u64,
    /// One way, in fibre along the great circle.
    pub fibre_ns: u64,
    /// The fastest round trip's half as a multiple of that, in thousandths; `None` where the sites
    /// are too near to one another to tell, or nothing was answered.
    pub multiple_milli: Option<u64>,
    pub fault: Option<TooFast>,
}

/// A figure that light in fibre cannot reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFast {
    /// Which figure: half the round trip, or the delay there or back with its bound added.
    pub figure: &'static str,
    pub delay_ns: u64,
    pub beyond: Beyond,
}

/// Which limit is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// Faster than light in fibre; radio or hollow fibre could be.
    Fibre,
    /// Faster than light in vacuum; nothing could be.
    Vacuum,
}

/// Judges one path; `None` where a site has no location.
pub fn judge(path: &Measured) -> Option<Light> {
    let (from, to) = path.from.location.zip(path.to.location)?;
    let distance_m = distance_m(from, to);
    let fibre_ns = fibre_ns(distance_m);
    let half = path.rtt.as_ref().map(|rtt| rtt.min_ns / 2);
    // Near sites have no multiple worth printing.
    let is_far = distance_m > SLACK_M;
    let multiple = half.filter(|_| is_far).and_then(|half| {
        let thousandths = u128::from(half) * 1_000;
        u64::try_from(thousandths.checked_div(u128::from(fibre_ns))?).ok()
    });
    Some(Light {
        distance_m,
        fibre_ns,
        multiple_milli: multiple,
        fault: fault(path, distance_m),
    })
}

/// Returns the great-circle distance by the haversine formula.
#[expect(
    clippy::float_arithmetic,
    reason = "a distance on a sphere; no money is in it"
)]
pub fn distance_m(from: Place, to: Place) -> u64 {
    let radians = |udeg: i32| (f64::from(udeg) / 1e6).to_radians();
    let (latitude, other) = (radians(from.latitude_udeg), radians(to.latitude_udeg));
    let north = (other - latitude) / 2.0;
    let east = (radians(to.longitude_udeg) - radians(from.longitude_udeg)) / 2.0;
    let square = north.sin().powi(2) + latitude.cos() * other.cos() * east.sin().powi(2);
    let metres = 2.0 * EARTH_RADIUS_M * square.clamp(0.0, 1.0).sqrt().asin();
    // Half the earth's girth at most, so it fits; the fraction of a metre is dropped.
    metres as u64
}

/// Returns how long light in fibre takes for a distance.
pub fn fibre_ns(distance_m: u64) -> u64 {
    light_ns(distance_m, FIBRE_INDEX)
}

fn vacuum_ns(distance_m: u64) -> u64 {
    light_ns(distance_m, FIBRE_INDEX_ONE)
}

fn light_ns(distance_m: u64, index: u128) -> u64 {
    let ns = u128::from(distance_m) * 1_000_000_000 * index / (LIGHT_M_PER_S * FIBRE_INDEX_ONE);
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// Finds the figure that is furthest below light, if one is. A one-way delay counts with its bound
/// added, for only then is it surely too fast.
fn fault(path: &Measured, distance_m: u64) -> Option<TooFast> {
    let sure_m = distance_m.saturating_sub(SLACK_M);
    let half = path
        .rtt
        .as_ref()
        .map(|rtt| ("half the round trip", rtt.min_ns / 2));
    let there = path
        .forward
        .at_most_ns()
        .map(|most| ("the way there", most));
    let back = path
        .backward
        .at_most_ns()
        .map(|most| ("the way back", most));
    let fastest = [half, there, back].into_iter().flatten();
    let (figure, delay_ns) = fastest.min_by_key(|(_, delay_ns)| *delay_ns)?;
    let beyond = match delay_ns {
        _ if delay_ns < vacuum_ns(sure_m) => Beyond::Vacuum,
        _ if delay_ns < fibre_ns(sure_m) => Beyond::Fibre,
        _ => return None,
    };
    Some(TooFast {
        figure,
        delay_ns,
        beyond,
    })
}

impl std::fmt::Display for Beyond {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Fibre => "faster than light in fibre (radio or hollow fibre could be)",
            Self::Vacuum => "faster than light in vacuum (nothing could be)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::fixture;
    use crate::model::time::Span;

    const FRANKFURT: Place = Place {
        latitude_udeg: 50_110_900,
        longitude_udeg: 8_682_100,
    };
    const NEW_YORK: Place = Place {
        latitude_udeg: 40_712_800,
        longitude_udeg: -74_006_000,
    };

    #[test]
    fn a_quarter_of_the_equator_is_10007_km() {
        let at = |longitude_udeg| Place {
            latitude_udeg: 0,
            longitude_udeg,
        };
        assert_eq!(distance_m(at(0), at(90_000_000)) / 1_000, 10_007);
        assert_eq!(distance_m(at(-179_000_000), at(179_000_000)) / 1_000, 222);
        assert_eq!(distance_m(FRANKFURT, FRANKFURT), 0);
    }

    #[test]
    fn light_in_fibre_makes_204190_km_a_second() {
        assert_eq!(fibre_ns(204_190_000) / 1_000_000, 999);
        assert_eq!(fibre_ns(204_191_000) / 1_000_000, 1_000);
    }

    #[test]
    fn a_path_stands_as_a_multiple_of_light() {
        let light = judge(&measured(90)).unwrap();
        assert_eq!(light.distance_m / 1_000, 6_202);
        assert_eq!(light.multiple_milli, Some(1_481));
        assert_eq!(light.fault, None);
    }

    #[test]
    fn what_is_faster_than_light_is_flagged() {
        let beyond = |millis| {
            judge(&measured(millis))
                .unwrap()
                .fault
                .map(|fault| fault.beyond)
        };
        assert_eq!(beyond(62), None);
        assert_eq!(beyond(60), Some(Beyond::Fibre));
        assert_eq!(beyond(40), Some(Beyond::Vacuum));
    }

    #[test]
    fn sites_in_one_town_are_never_too_fast() {
        let mut path = measured(1);
        path.to.location = Some(Place {
            latitude_udeg: FRANKFURT.latitude_udeg + 10_000,
            ..FRANKFURT
        });
        let light = judge(&path).unwrap();
        assert_eq!((light.multiple_milli, light.fault), (None, None));
        path.to.location = None;
        assert_eq!(judge(&path), None);
    }

    fn measured(millis: u64) -> Measured {
        let mut train = fixture::train(1, 2);
        train.samples = fixture::samples(&[Some(Span::millis(millis)); 20]);
        let mut path = fixture::report(&[train]).parts[0].claim.paths[0].clone();
        path.from.location = Some(FRANKFURT);
        path.to.location = Some(NEW_YORK);
        path
    }
}
