//! A core that has seen other things since the last message.

use std::hint::{black_box, spin_loop};
use std::time::{Duration, Instant};

/// More than the caches of one core, and of most machines.
const WALKED_BYTES: usize = 32 << 20;
const LINE_BYTES: usize = 64;
const PAUSE: Duration = Duration::from_millis(1);

/// Memory whose only use is to be walked.
pub(crate) struct Cold(Vec<u8>);

impl Cold {
    pub(crate) fn new() -> Self {
        Self(vec![1; WALKED_BYTES])
    }

    /// Pushes everything else out of the caches and lets a millisecond pass, spinning as a core thread
    /// does. The frame is then read once: whoever copies it from a socket leaves it in the cache.
    pub(crate) fn make(&mut self, frame: &[u8]) {
        for line in self.0.chunks_mut(LINE_BYTES) {
            line[0] = line[0].wrapping_add(1);
        }
        black_box(&self.0);
        let next = Instant::now() + PAUSE;
        while Instant::now() < next {
            spin_loop();
        }
        black_box(frame.iter().fold(0u8, |sum, byte| sum ^ byte));
    }
}
