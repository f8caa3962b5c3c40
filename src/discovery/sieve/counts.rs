//! What became of lines, step by step.

use thiserror::Error;

/// Why a line is not taken, in the order of the steps.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("longer than a line may be")]
    TooLong,
    #[error("no announcement")]
    Grammar,
    #[error("a pair that the owner did not name")]
    UnknownPair,
    #[error("smaller than what the owner wants to hear of")]
    BelowMin,
    #[error("expired")]
    Expired,
    #[error("issued ahead of our clock")]
    Ahead,
    #[error("issued before this node started")]
    BeforeStart,
    #[error("our own")]
    Own,
    #[error("the signer is not on the peernet's roster")]
    Foreign,
    #[error("the signer said two things under one name")]
    Marked,
    #[error("another lease holds since")]
    OldToken,
    #[error("heard before")]
    Seen,
    #[error("expires before lines that had to be forgotten")]
    BeforeEvicted,
    #[error("its signature is being checked already")]
    Checking,
    #[error("too many signatures are being checked")]
    ChecksFull,
    #[error("too many lines of this signer")]
    SignerQuota,
    #[error("too many lines of strangers")]
    StrangersQuota,
    #[error("too many lines on this network")]
    NetworkQuota,
    #[error("the signature is not the signer's")]
    BadSignature,
    #[error("the same offer and version with other terms")]
    Conflict,
}

/// What became of lines: one counter a reason, in the order of the steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub lines: u64,
    pub too_long: u64,
    pub grammar: u64,
    pub unknown_pair: u64,
    pub below_min: u64,
    pub expired: u64,
    pub ahead: u64,
    pub before_start: u64,
    pub own: u64,
    pub foreign: u64,
    pub marked: u64,
    pub old_token: u64,
    pub seen: u64,
    pub before_evicted: u64,
    pub checking: u64,
    pub checks_full: u64,
    pub signer_quota: u64,
    pub strangers_quota: u64,
    pub network_quota: u64,
    /// Signatures that were asked to be checked.
    pub checks: u64,
    pub bad_signature: u64,
    pub conflict: u64,
    pub taken: u64,
}

impl Counts {
    /// Returns each counter by the name that the owner sees.
    pub const fn named(self) -> [(&'static str, u64); 23] {
        [
            ("lines", self.lines),
            ("line_too_long", self.too_long),
            ("line_grammar", self.grammar),
            ("line_unknown_pair", self.unknown_pair),
            ("line_below_min", self.below_min),
            ("line_expired", self.expired),
            ("line_ahead", self.ahead),
            ("line_before_start", self.before_start),
            ("line_own", self.own),
            ("line_foreign", self.foreign),
            ("line_marked", self.marked),
            ("line_old_token", self.old_token),
            ("line_seen", self.seen),
            ("line_before_evicted", self.before_evicted),
            ("line_checking", self.checking),
            ("line_checks_full", self.checks_full),
            ("line_signer_quota", self.signer_quota),
            ("line_strangers_quota", self.strangers_quota),
            ("line_network_quota", self.network_quota),
            ("signatures_checked", self.checks),
            ("line_bad_signature", self.bad_signature),
            ("line_conflict", self.conflict),
            ("line_taken", self.taken),
        ]
    }

    pub(super) fn count(&mut self, why: Refusal) {
        let counter = match why {
            Refusal::TooLong => &mut self.too_long,
            Refusal::Grammar => &mut self.grammar,
            Refusal::UnknownPair => &mut self.unknown_pair,
            Refusal::BelowMin => &mut self.below_min,
            Refusal::Expired => &mut self.expired,
            Refusal::Ahead => &mut self.ahead,
            Refusal::BeforeStart => &mut self.before_start,
            Refusal::Own => &mut self.own,
            Refusal::Foreign => &mut self.foreign,
            Refusal::Marked => &mut self.marked,
            Refusal::OldToken => &mut self.old_token,
            Refusal::Seen => &mut self.seen,
            Refusal::BeforeEvicted => &mut self.before_evicted,
            Refusal::Checking => &mut self.checking,
            Refusal::ChecksFull => &mut self.checks_full,
            Refusal::SignerQuota => &mut self.signer_quota,
            Refusal::StrangersQuota => &mut self.strangers_quota,
            Refusal::NetworkQuota => &mut self.network_quota,
            Refusal::BadSignature => &mut self.bad_signature,
            Refusal::Conflict => &mut self.conflict,
        };
        *counter += 1;
    }
}
