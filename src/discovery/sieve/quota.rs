//! How many signatures are checked, and for whom.
//!
//! A line names a key before anybody knows whether that key signed it. So a bucket here does not
//! belong to a signer but to a claim: one key on one network. Who abuses another's key on one network
//! wears down that claim there, and the same key is heard on the other networks as before.

use std::collections::BTreeMap;

use crate::discovery::announce::Signer;
use crate::discovery::irc::pace::Allowance;
use crate::discovery::network::{NETWORKS_MAX, NetworkNo};
use crate::discovery::sieve::Refusal;
use crate::model::time::{Span, Time};

/// The highest trust there is.
pub const TRUST_MAX: u8 = 10;
/// Checks at once for a key without trust on one network, and how often there is one more. Trust
/// adds as many to both: one of 10 has 14 at once and then 11 in the time in which a stranger has one.
pub const SIGNER_BURST: u64 = 4;
pub const SIGNER_EVERY: Span = Span::secs(8);
/// Checks for all keys without trust together, on all networks: a second key buys nothing.
pub const STRANGERS_BURST: u64 = 32;
pub const STRANGERS_EVERY: Span = Span::millis(125);
/// Checks for one network. Strangers alone cannot use them up.
pub const NETWORK_BURST: u64 = 80;
pub const NETWORK_EVERY: Span = Span::millis(25);
const _: () = assert!(STRANGERS_EVERY.0 > NETWORK_EVERY.0 && STRANGERS_BURST < NETWORK_BURST);
/// Claims remembered, of keys with trust and of others each. Full: those that are as if they were new
/// go, else the one that was used least lately, and begins anew.
pub const CLAIMS_MAX: usize = 4_096;
/// Each wrong signature halves a claim's bucket, up to so many times; each right one takes one back,
/// and all are forgotten after a while without another.
pub const STRIKES_MAX: u8 = 4;
pub const STRIKES_FOR: Span = Span::secs(600);

/// A key, and where somebody speaks in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) network: NetworkNo,
    pub(super) signer: Signer,
    pub(super) trust: u8,
}

#[derive(Debug, Default)]
pub(super) struct Quota {
    listed: Buckets,
    strangers: Buckets,
    all_strangers: Allowance,
    networks: [Allowance; NETWORKS_MAX],
}

/// The buckets of some claims. A key has one trust at a time, so trust is no part of the name.
#[derive(Debug, Default)]
struct Buckets(BTreeMap<(NetworkNo, Signer), Bucket>);

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    allowance: Allowance,
    strikes: u8,
    struck_at: Time,
    used_at: Time,
}

impl Quota {
    /// Takes one check out of every bucket that it comes out of, or out of none. A line that names
    /// several offers costs its signer, and strangers together, as many.
    pub(super) fn take(&mut self, claim: Claim, offers: u64, now: Time) -> Result<(), Refusal> {
        let name = (claim.network, claim.signer);
        let bucket = self.buckets(claim).0.get(&name).copied();
        let mut bucket = bucket.unwrap_or_default();
        let (burst, every) = bucket.rate(claim.trust, now);
        if bucket.allowance.due_at(burst, every) > now {
            return Err(Refusal::SignerQuota);
        }
        let strangers_at = self.all_strangers.due_at(STRANGERS_BURST, STRANGERS_EVERY);
        if claim.trust == 0 && strangers_at > now {
            return Err(Refusal::StrangersQuota);
        }
        let network = self.networks.get_mut(usize::from(claim.network.0));
        let network = network.ok_or(Refusal::NetworkQuota)?;
        if network.due_at(NETWORK_BURST, NETWORK_EVERY) > now {
            return Err(Refusal::NetworkQuota);
        }
        network.pay(NETWORK_EVERY, now);
        if claim.trust == 0 {
            self.all_strangers.pay(STRANGERS_EVERY.times(offers), now);
        }
        bucket.allowance.pay(every.times(offers), now);
        bucket.used_at = now;
        self.buckets(claim).put(name, bucket, now);
        Ok(())
    }

    /// Counts a signature that is not the key's.
    pub(super) fn strike(&mut self, claim: Claim, now: Time) {
        let name = (claim.network, claim.signer);
        let buckets = self.buckets(claim);
        let mut bucket = buckets.0.get(&name).copied().unwrap_or_default();
        bucket.strikes = (bucket.strikes(now) + 1).min(STRIKES_MAX);
        (bucket.struck_at, bucket.used_at) = (now, now);
        buckets.put(name, bucket, now);
    }

    /// Counts a signature that is the key's.
    pub(super) fn pardon(&mut self, claim: Claim, now: Time) {
        let name = (claim.network, claim.signer);
        if let Some(bucket) = self.buckets(claim).0.get_mut(&name) {
            bucket.strikes = bucket.strikes(now).saturating_sub(1);
        }
    }

    /// Returns how many claims of keys with trust and of others are remembered.
    pub(super) fn claims(&self) -> (usize, usize) {
        (self.listed.0.len(), self.strangers.0.len())
    }

    const fn buckets(&mut self, claim: Claim) -> &mut Buckets {
        match claim.trust {
            0 => &mut self.strangers,
            _ => &mut self.listed,
        }
    }
}

impl Buckets {
    fn put(&mut self, name: (NetworkNo, Signer), bucket: Bucket, now: Time) {
        if self.0.len() >= CLAIMS_MAX && !self.0.contains_key(&name) {
            self.0.retain(|_, bucket| !bucket.is_as_new(now));
            let oldest = self.0.iter().min_by_key(|(_, bucket)| bucket.used_at);
            let oldest = oldest.map(|(name, _)| *name);
            if let Some(oldest) = oldest.filter(|_| self.0.len() >= CLAIMS_MAX) {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(name, bucket);
    }
}

impl Bucket {
    fn strikes(&self, now: Time) -> u8 {
        match now.since(self.struck_at) < STRIKES_FOR {
            true => self.strikes,
            false => 0,
        }
    }

    /// Returns how many checks there are at once and how often there is one more.
    fn rate(&self, trust: u8, now: Time) -> (u64, Span) {
        let trust = u64::from(trust.min(TRUST_MAX));
        let strikes = self.strikes(now);
        let burst = ((SIGNER_BURST + trust) >> strikes).max(1);
        let every = Span(SIGNER_EVERY.0 / (1 + trust)).times(1 << strikes);
        (burst, every)
    }

    fn is_as_new(&self, now: Time) -> bool {
        self.strikes(now) == 0 && self.allowance.due_at(1, Span::ZERO) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000 * 1_000_000_000);

    fn claim(network: u8, signer: u32, trust: u8) -> Claim {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&signer.to_le_bytes());
        Claim {
            network: NetworkNo(network),
            signer: Signer(key),
            trust,
        }
    }

    /// Asks as often as it can for a time and returns how much it gets.
    fn checks(quota: &mut Quota, claim: Claim, seconds: u64) -> u64 {
        let moments = (0..seconds * 10).map(|tenth| NOW + Span::millis(100 * tenth));
        let mut checks = 0;
        for moment in moments {
            while quota.take(claim, 1, moment).is_ok() {
                checks += 1;
            }
        }
        checks
    }

    #[test]
    fn quota_grows_with_trust() {
        let of = |trust| checks(&mut Quota::default(), claim(0, 1, trust), 80);
        let all: Vec<u64> = (0..=TRUST_MAX).map(of).collect();
        assert!(
            all.is_sorted() && all.iter().all(|checks| *checks > 0),
            "{all:?}"
        );
        assert_eq!((all[0], all[1], all[10]), (4 + 9, 5 + 19, 14 + 109));
        assert_eq!(of(255), all[10]);
    }

    #[test]
    fn a_second_key_buys_a_stranger_nothing() {
        let mut quota = Quota::default();
        let mut taken = 0;
        for tenth in 0..600_u32 {
            let now = NOW + Span::millis(100 * u64::from(tenth));
            for key in 0..100 {
                let claim = claim(u8::try_from(key % 8).unwrap(), tenth * 100 + key, 0);
                taken += u64::from(quota.take(claim, 1, now).is_ok());
            }
        }
        assert_eq!(taken, STRANGERS_BURST + 8 * 60 - 1);
        // Those with trust are heard all the same.
        assert!(quota.take(claim(0, 1, 1), 1, NOW + Span::secs(60)).is_ok());
    }

    #[test]
    fn a_network_has_a_limit_whoever_speaks_there() {
        let mut quota = Quota::default();
        let on_one = (0..1_000).filter(|key| quota.take(claim(3, *key, 10), 1, NOW).is_ok());
        assert_eq!(on_one.count() as u64, NETWORK_BURST);
        let refused = quota.take(claim(3, 2_000, 10), 1, NOW);
        assert_eq!(refused, Err(Refusal::NetworkQuota));
        assert!(quota.take(claim(4, 2_000, 10), 1, NOW).is_ok());
    }

    #[test]
    fn what_is_refused_by_one_bucket_costs_none() {
        let mut quota = Quota::default();
        for _ in 0..SIGNER_BURST {
            quota.take(claim(0, 1, 0), 1, NOW).unwrap();
        }
        for _ in 0..1_000 {
            let refused = quota.take(claim(0, 1, 0), 1, NOW);
            assert_eq!(refused, Err(Refusal::SignerQuota));
        }
        let others = (2..1_000).filter(|key| quota.take(claim(0, *key, 0), 1, NOW).is_ok());
        assert_eq!(others.count() as u64, STRANGERS_BURST - SIGNER_BURST);
    }

    #[test]
    fn a_relay_costs_as_many_as_it_names() {
        let mut quota = Quota::default();
        let mut relays = 0;
        for second in 0..800 {
            relays += u64::from(
                quota
                    .take(claim(0, 1, 0), 5, NOW + Span::secs(second))
                    .is_ok(),
            );
        }
        assert_eq!(relays, 800 / 40 + 1);
    }

    #[test]
    fn a_wrong_signature_shrinks_the_bucket_there_and_only_there() {
        let mut quota = Quota::default();
        for _ in 0..10 {
            quota.strike(claim(0, 1, 10), NOW);
        }
        assert_eq!(checks(&mut quota, claim(1, 1, 10), 80), 14 + 109);
        assert_eq!(checks(&mut quota, claim(0, 1, 10), 80), 1 + 6);
        let later = NOW + STRIKES_FOR;
        let again = (0..100).filter(|_| quota.take(claim(0, 1, 10), 1, later).is_ok());
        assert_eq!(again.count(), 14);
        quota.strike(claim(2, 1, 10), NOW);
        quota.pardon(claim(2, 1, 10), NOW);
        assert_eq!(checks(&mut quota, claim(2, 1, 10), 80), 14 + 109);
    }

    #[test]
    fn claims_have_a_limit_and_strangers_push_out_nobody_with_trust() {
        let mut quota = Quota::default();
        quota.strike(claim(0, 0, 5), NOW);
        for key in 1..20_000 {
            quota.strike(claim(0, key, 0), NOW + Span(u64::from(key)));
            assert!(quota.strangers.0.len() <= CLAIMS_MAX);
        }
        assert_eq!(quota.claims(), (1, CLAIMS_MAX));
        let later = NOW + STRIKES_FOR + Span::SECOND;
        quota.take(claim(0, 30_000, 0), 1, later).unwrap();
        assert_eq!(quota.claims(), (1, 1));
    }
}
