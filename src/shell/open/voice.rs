//! The channel's lines: what the node says is signed here, what others say is sieved here.

use std::sync::Arc;

use crate::discovery::announce::{Announcement, Draft, LIFE_S_MAX, Said, Signer, take_over};
use crate::discovery::irc::pace::Urgency;
use crate::discovery::network::{NetworkNo, Settings};
use crate::discovery::sieve::{self, Sieve, Standing, Verdict};
use crate::model::ids::PeernetId;
use crate::model::time::{Span, Time};
use crate::shell::identity::Identity;

/// Seconds that a line is good for.
const LIFE_S: u16 = 600;
const _: () = assert!(LIFE_S <= LIFE_S_MAX);

/// The key that speaks, and the sieve.
pub(super) struct Voice {
    identity: Arc<Identity>,
    channel: String,
    sieve: Sieve,
}

impl Voice {
    /// `booted_at` is the start of a node that ran before: what an earlier run may have taken is not
    /// taken again.
    pub(super) fn new(identity: Arc<Identity>, open: &Settings, booted_at: Option<Time>) -> Self {
        let settings = sieve::Settings {
            channel: open.channel.clone(),
            own: Signer(identity.node_key()),
            broadcast_min: open.broadcast_min.iter().copied().collect(),
        };
        let sieve = match booted_at {
            None => Sieve::new(settings),
            Some(booted_at) => Sieve::restore(settings, &sieve::Marks::default(), booted_at),
        };
        Self {
            channel: open.channel.clone(),
            sieve,
            identity,
        }
    }

    /// Returns what became of the channel's lines.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.sieve.counts().named().into_iter()
    }

    pub(super) const fn channel_name(&self) -> &str {
        self.channel.as_str()
    }

    pub(super) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity)
    }

    /// Makes a line of what the node handed out.
    pub(super) fn word(&self, bytes: &[u8], now: Time) -> Option<(Urgency, String)> {
        let ((peernet, token), said) = take_over(bytes).ok()?;
        let urgency = match said {
            Said::Close(_) => Urgency::Withdraw,
            Said::Match(_) => Urgency::Match,
            Said::Offer(_) | Said::Relay(_) => Urgency::Offer,
        };
        let expires = now + Span::secs(u64::from(LIFE_S));
        let draft = Draft {
            said,
            peernet,
            token,
            expires_s: u32::try_from(expires.0 / Span::SECOND.0).ok()?,
            life_s: LIFE_S,
            signer: Signer(self.identity.node_key()),
        };
        let sign = |message: &[u8]| self.identity.sign(message);
        let announced = Announcement::issue(draft, &self.channel, sign).ok()?;
        Some((urgency, announced.to_string()))
    }

    /// Takes a line of the channel; returns the announcement where it is one that counts.
    pub(super) fn hear(
        &mut self,
        network: NetworkNo,
        text: &str,
        now: Time,
        standing: impl Fn(Signer, PeernetId) -> Standing,
    ) -> Option<Box<Announcement>> {
        let candidate = match self.sieve.handle_line(network, text, now, standing) {
            Verdict::Check(candidate) => candidate,
            Verdict::Refused(why) => {
                tracing::trace!(?why, "a line of the channel was refused");
                return None;
            }
        };
        let is_valid = candidate.is_signed();
        let admitted = self.sieve.admit(candidate, is_valid, now);
        admitted.ok().map(Box::new)
    }
}
