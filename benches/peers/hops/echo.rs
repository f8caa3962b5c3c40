//! Whoever sends a message and awaits it back, measured in turns.

use std::time::Instant;

use crate::MESSAGE_BYTES;
use crate::contestant::{Turns, ns_since};
use crate::ours::awaitable;

/// One end of a connection whose other end sends back what comes.
pub(crate) trait Echo {
    async fn round_trip(&mut self, message: &[u8]);
}

/// Sends one message after the other for as long as there are turns.
pub(crate) async fn measure(turns: Turns, mut echo: impl Echo) {
    let message = [7; MESSAGE_BYTES];
    let mut commands = awaitable(turns.commands);
    while let Some((count, _)) = commands.recv().await {
        let mut samples = Vec::with_capacity(count);
        for _ in 0..count {
            let begin = Instant::now();
            echo.round_trip(&message).await;
            samples.push(ns_since(begin));
        }
        turns.samples.send(samples).unwrap();
    }
}
