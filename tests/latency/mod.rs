//! Verbs on report files: what they print, write and end with.

// The fixture is the one of the library's own tests and finds its modules where the library has them.
use expressnet::latency::{histogram, report, sign, summary, train, wire};

#[path = "../../src/latency/fixture.rs"]
#[expect(dead_code, reason = "the library's own tests need more of it")]
mod fixture;
mod hlog_python;
mod verbs;
mod world;
