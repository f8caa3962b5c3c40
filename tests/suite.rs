//! Integration tests; folders mirror `src`.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod shell;
mod venue;
