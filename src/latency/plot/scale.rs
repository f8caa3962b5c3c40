//! Axes: where a value stands, and at which values an axis has ticks.

/// A scale from nanoseconds to pixels; y grows downwards, so `low_px` is the larger.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    pub kind: Kind,
    pub low_ns: u64,
    pub high_ns: u64,
    pub low_px: i32,
    pub high_px: i32,
}

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Linear,
    Logarithmic,
}

/// A span of values above which a linear axis would crowd the small ones together.
const LINEAR_RATIO_MAX: u64 = 12;
/// Ticks that a linear axis aims at.
const TICKS: u64 = 6;

impl Scale {
    /// Chooses the kind and the ends of an axis for values from `least_ns` to `most_ns`.
    pub fn of(least_ns: u64, most_ns: u64, low_px: i32, high_px: i32) -> Self {
        let least = least_ns.max(1);
        let most = most_ns.max(least + 1);
        let (kind, low_ns, high_ns) = match most / least > LINEAR_RATIO_MAX {
            true => (Kind::Logarithmic, step_below(least), step_above(most)),
            false => {
                let step = nice_step(most);
                // A gap below values that are close together would be all that one sees.
                let low = match (most - least) * 3 < most {
                    true => least.saturating_sub(most - least) / step * step,
                    false => 0,
                };
                (Kind::Linear, low, most.div_ceil(step) * step)
            }
        };
        Self {
            kind,
            low_ns,
            high_ns,
            low_px,
            high_px,
        }
    }

    /// Returns the values at which the axis has ticks, ascending.
    pub fn ticks(&self) -> Vec<u64> {
        match self.kind {
            Kind::Linear => {
                let step = nice_step(self.high_ns - self.low_ns);
                let first = self.low_ns.div_ceil(step);
                (first..=self.high_ns / step)
                    .map(|count| count * step)
                    .collect()
            }
            Kind::Logarithmic => {
                let mut ticks = Vec::new();
                let mut tick = self.low_ns;
                while tick <= self.high_ns {
                    ticks.push(tick);
                    tick = step_above(tick + 1);
                }
                ticks
            }
        }
    }

    /// Returns the pixel at which a value stands; what is beyond an end stands at it.
    #[expect(clippy::float_arithmetic, reason = "a place in a drawing")]
    pub fn place(&self, value_ns: u64) -> f64 {
        let value = value_ns.clamp(self.low_ns, self.high_ns) as f64;
        let (low, high) = (self.low_ns as f64, self.high_ns as f64);
        let share = match self.kind {
            Kind::Linear => (value - low) / (high - low),
            Kind::Logarithmic => (value / low).log10() / (high / low).log10(),
        };
        let (low_px, high_px) = (f64::from(self.low_px), f64::from(self.high_px));
        low_px + share * (high_px - low_px)
    }
}

/// Returns where a quantile stands on the axis of percentiles: the decimal logarithm of
/// `1 / (1 - quantile)`, so that each nine has the same room.
#[expect(clippy::float_arithmetic, reason = "a place in a drawing")]
pub fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// Returns the quantile at a share of an axis that ends at `nines`.
#[expect(clippy::float_arithmetic, reason = "a place in a drawing")]
pub fn quantile_at(share: f64, nines: f64) -> f64 {
    1.0 - 10_f64.powf(-share * nines)
}

/// Returns the pixel of a share of a length.
#[expect(clippy::float_arithmetic, reason = "a place in a drawing")]
pub fn along(from_px: i32, to_px: i32, share: f64) -> f64 {
    f64::from(from_px) + share * f64::from(to_px - from_px)
}

/// Returns one part of another, as a share.
#[expect(clippy::float_arithmetic, reason = "a place in a drawing")]
pub fn share(part: f64, whole: f64) -> f64 {
    part / whole
}

/// Returns a part of a share.
#[expect(clippy::float_arithmetic, reason = "a place in a drawing")]
pub fn part(share: f64, of: f64) -> f64 {
    share * of
}

/// Returns how many nines so many values can tell: a thousand tell p99.9 and no more.
pub fn count_nines(count: u64) -> f64 {
    (count.max(1) as f64).log10()
}

/// Moves labels apart: each at least `gap` below the one before it, all between two ends as far as
/// there is room. The heights are ascending.
#[expect(clippy::float_arithmetic, reason = "places in a drawing")]
pub fn spread(heights: &[f64], gap: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut places = heights.to_vec();
    let mut least = top;
    for place in &mut places {
        *place = place.max(least);
        least = *place + gap;
    }
    let mut most = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - gap;
    }
    places
}

/// Returns in which of `steps` equal steps, on a logarithmic scale, a value lies between two ends.
#[expect(clippy::float_arithmetic, reason = "a step of a colour ramp")]
pub fn step(value_ns: u64, least_ns: u64, most_ns: u64, steps: u8) -> u8 {
    let [value, least, most] = [value_ns, least_ns, most_ns].map(|ns| ns.max(1) as f64);
    if most <= least {
        return 0;
    }
    let share = ((value / least).log10() / (most / least).log10()).clamp(0.0, 1.0);
    // A share of a small number of steps, so it fits.
    ((share * f64::from(steps)) as u8).min(steps - 1)
}

/// Returns the least value of a step, as [`step`] counts them.
#[expect(clippy::float_arithmetic, reason = "a step of a colour ramp")]
pub fn step_floor(step: u8, least_ns: u64, most_ns: u64, steps: u8) -> u64 {
    let (least, most) = (least_ns.max(1) as f64, most_ns.max(1) as f64);
    let share = f64::from(step) / f64::from(steps);
    (least * (most / least).powf(share)) as u64
}

/// Returns a step of 1, 2 or 5 times a power of ten that divides a length into about [`TICKS`].
fn nice_step(length: u64) -> u64 {
    step_above((length / TICKS).max(1))
}

/// Returns the least of 1, 2 and 5 times a power of ten that is not below a value.
fn step_above(value: u64) -> u64 {
    let power = 10_u64.pow(value.max(1).ilog10());
    let steps = [1, 2, 5, 10].map(|step: u64| step.saturating_mul(power));
    steps
        .into_iter()
        .find(|&step| step >= value)
        .unwrap_or(u64::MAX)
}

/// Returns the greatest of 1, 2 and 5 times a power of ten that is not above a value.
fn step_below(value: u64) -> u64 {
    let power = 10_u64.pow(value.max(1).ilog10());
    let steps = [5, 2, 1].map(|step: u64| step.saturating_mul(power));
    steps
        .into_iter()
        .find(|&step| step <= value)
        .unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        let linear = Scale::of(20_000_000, 31_000_000, 400, 0);
        assert_eq!(linear.kind, Kind::Linear);
        assert!(linear.low_ns <= 20_000_000 && linear.high_ns >= 31_000_000);
        assert!(
            (4..=9).contains(&linear.ticks().len()),
            "{:?}",
            linear.ticks()
        );
        let wide = Scale::of(30_000, 90_000_000, 400, 0);
        assert_eq!(wide.kind, Kind::Logarithmic);
        let ticks = wide.ticks();
        assert_eq!((ticks[0], ticks[1], ticks[2]), (20_000, 50_000, 100_000));
        assert_eq!(ticks.last(), Some(&100_000_000));
    }

    #[test]
    fn places_run_from_end_to_end() {
        for (least, most) in [
            (20_000_000, 31_000_000),
            (30_000, 90_000_000),
            (1, 1),
            (5, 60),
        ] {
            let scale = Scale::of(least, most, 400, 0);
            assert!((scale.place(scale.low_ns) - 400.0).abs() < 0.01);
            assert!(scale.place(scale.high_ns).abs() < 0.01);
            assert!(scale.place(most) < scale.place(scale.low_ns));
            assert!(!scale.ticks().is_empty());
        }
    }

    #[test]
    fn each_nine_has_the_same_room() {
        assert!((nines(0.9) - 1.0).abs() < 1e-9);
        assert!((nines(0.999) - 3.0).abs() < 1e-9);
        assert!((quantile_at(0.5, 4.0) - 0.99).abs() < 1e-9);
    }

    #[test]
    fn labels_keep_their_distance() {
        let places = spread(&[10.0, 11.0, 12.0, 99.0, 100.0], 16.0, 0.0, 100.0);
        let near = |one: f64, other: f64| (one - other).abs() < 1e-9;
        assert!(
            places.windows(2).all(|pair| pair[1] - pair[0] >= 16.0),
            "{places:?}"
        );
        assert!(near(places[4], 100.0) && near(places[3], 84.0) && near(places[0], 10.0));
    }

    #[test]
    fn steps_cover_the_range() {
        assert_eq!(step(10, 10, 1_000, 7), 0);
        assert_eq!(step(1_000, 10, 1_000, 7), 6);
        assert_eq!(step(100, 10, 1_000, 7), 3);
        assert_eq!(step(5, 5, 5, 7), 0);
        assert_eq!(step_floor(0, 10, 1_000, 7), 10);
    }
}
