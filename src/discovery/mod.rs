//! The open network: IRC to find each other and to announce, DCC for everything else.
//!
//! ```text
//! bytes of a server ─ irc/line ─▶ line ─ irc/session ─▶ who is there, what was said
//!        ▲                                    │                              │
//!        └── irc/pace: one line at a time ◀───┘   announcement ◀─ sieve ◀────┘
//! ```

pub mod announce;
pub mod chanop;
pub mod dcc;
pub mod irc;
pub mod lease;
pub mod network;
pub mod shown;
pub mod sieve;
pub mod station;
