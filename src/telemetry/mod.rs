//! Counters and histograms that the stages own and the node sums.
