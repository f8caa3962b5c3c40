//! All integration tests, one binary; folders mirror `src`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod membership;
mod shell;
mod venue;
