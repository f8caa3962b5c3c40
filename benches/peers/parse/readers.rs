//! Two readers of JSON that use vector instructions, as their documentation shows them
//! (docs.rs/sonic-rs 0.5.10 and docs.rs/simd-json 0.19.0, read 2026-11-23).

use serde::Deserialize;
use simd_json::Buffers;

use crate::typed::Reader;

/// sonic-rs over borrowed bytes.
pub(crate) struct Sonic<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> for Sonic<'a> {
    fn bytes(&self) -> &[u8] {
        self.0
    }

    fn read<T: Deserialize<'a>>(self) -> T {
        sonic_rs::from_slice(self.0).unwrap()
    }
}

/// simd-json over bytes that it may change, with buffers that are used again.
pub(crate) struct Simd<'a, 'b>(pub(crate) &'a mut [u8], pub(crate) &'b mut Buffers);

impl<'a> Reader<'a> for Simd<'a, '_> {
    fn bytes(&self) -> &[u8] {
        self.0
    }

    fn read<T: Deserialize<'a>>(self) -> T {
        simd_json::serde::from_slice_with_buffers(self.0, self.1).unwrap()
    }
}

/// Buffers for frames of the size of a large snapshot.
pub(crate) fn simd_buffers() -> Buffers {
    Buffers::new(1 << 16)
}
