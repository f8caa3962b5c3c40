//! Latency histograms with fixed bounds: 1 µs to 60 s, two significant digits.

use hdrhistogram::Histogram;

const LOWEST_US: u64 = 1;
const HIGHEST_US: u64 = 60_000_000;
const DIGITS: u8 = 2;

/// A histogram that costs nothing until its first sample.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    samples: Option<Box<Histogram<u32>>>,
}

impl Latency {
    /// Adds a sample; beyond the bounds it counts as the bound.
    pub fn record_us(&mut self, latency_us: u64) {
        let value = latency_us.clamp(LOWEST_US, HIGHEST_US);
        if self.samples.is_none() {
            self.samples = Histogram::new_with_bounds(LOWEST_US, HIGHEST_US, DIGITS)
                .ok()
                .map(Box::new);
        }
        if let Some(samples) = &mut self.samples {
            samples.saturating_record(value);
        }
    }

    pub fn count(&self) -> u64 {
        self.samples.as_ref().map_or(0, |samples| samples.len())
    }

    /// Returns the value below which `per_mille` of all samples lie, or `None` without samples.
    pub fn quantile_us(&self, per_mille: u16) -> Option<u64> {
        let samples = self
            .samples
            .as_ref()
            .filter(|samples| !samples.is_empty())?;
        #[expect(
            clippy::float_arithmetic,
            reason = "the histogram asks for a share, no money is in it"
        )]
        let value = samples.value_at_quantile(f64::from(per_mille) / 1_000.0);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_stand_within_two_digits() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantile_us(500), None);
        for micros in 1..=1_000 {
            latency.record_us(micros);
        }
        let median = latency.quantile_us(500).unwrap();
        assert!((495..=505).contains(&median), "{median}");
        assert_eq!(latency.count(), 1_000);
    }
}
