//! All integration tests, one binary; folders mirror `src`.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on stops, and tests of the shell read clocks and start threads"
)]

mod config;
mod shell;
