//! Counts how often a state machine went from one state to another.

/// A matrix of transitions for a machine of `N` states, in lifecycle order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transitions<const N: usize> {
    counts: [[u64; N]; N],
}

impl<const N: usize> Default for Transitions<N> {
    fn default() -> Self {
        Self {
            counts: [[0; N]; N],
        }
    }
}

impl<const N: usize> Transitions<N> {
    /// Counts one step; states are given as their place in the lifecycle.
    pub fn count(&mut self, from: usize, to: usize) {
        if let Some(cell) = self.counts.get_mut(from).and_then(|row| row.get_mut(to)) {
            *cell += 1;
        }
    }

    pub fn of(&self, from: usize, to: usize) -> u64 {
        self.counts
            .get(from)
            .and_then(|row| row.get(to))
            .copied()
            .unwrap_or(0)
    }

    pub fn add(&mut self, other: &Self) {
        for (row, others) in self.counts.iter_mut().zip(&other.counts) {
            for (cell, more) in row.iter_mut().zip(others) {
                *cell += more;
            }
        }
    }
}
