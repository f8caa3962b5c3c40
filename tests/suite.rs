//! All integration tests, one binary; folders mirror `src`.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod config;
