//! One IRC network as a machine without a socket: lines in, lines out, deadlines.

pub mod channel;
pub mod line;
pub mod login;
pub mod name;
pub mod pace;
pub mod retry;
pub mod session;

#[cfg(test)]
mod tests;
