//! Counters and histograms that the stages own and the node sums.

pub mod latency;
pub mod transitions;
