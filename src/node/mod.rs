//! The composition of all stages. Pure: no clock, socket, file, task or random source.
//!
//! `Node::handle` takes one [`input::Input`], lets the stages decide, and leaves in an
//! [`output::Outbox`] what the world is asked for. Stages do not know each other; the files here
//! carry values from one to the next:
//!
//! ```text
//! feeds    venue frames ─▶ books ─▶ quotes for peers, detection
//! detect   books ─▶ opportunity ─▶ gate and rights ─▶ legs, or a residual offer
//! desk     beside the venue: envelopes, fires, orders, paper
//! legs     plans and their legs, recovery, accounts
//! deals    offers: scatter, answer, gather, accept
//! mesh     links, messages, round trips
//! boot     what an earlier run left behind
//! owner    commands and answers
//! ```

pub mod command;
pub mod input;
mod legs;
mod mesh;
pub mod output;
pub mod report;
