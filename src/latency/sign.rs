//! What is signed: by the prober its part of a report, by the peer what it saw of a train.
//!
//! | who | bytes |
//! |---|---|
//! | prober | `expressnet latency report 1\0`, then the part's `claim` as compact JSON, fields in the order in which they are written |
//! | peer | `expressnet latency attestation 1\0`, train 16, prober 16, received 4, first 8, last 8, round trips: count 8, p50 8, p99 8, max 8, least 8 (little endian, ns) |
//!
//! Both are Ed25519 signatures of node keys, so that a reader derives the ids from the keys and
//! needs nothing but the file.

use crate::latency::report::{Attested, Claim};
use crate::latency::train::Attestation;

const REPORT_DOMAIN: &[u8] = b"expressnet latency report 1\0";
const ATTESTATION_DOMAIN: &[u8] = b"expressnet latency attestation 1\0";

/// Returns what a prober signs.
pub fn statement(claim: &Claim) -> Vec<u8> {
    let mut bytes = REPORT_DOMAIN.to_vec();
    // Strings, integers and lists of them always serialise.
    bytes.extend_from_slice(&serde_json::to_vec(claim).unwrap_or_default());
    bytes
}

/// Returns what a peer signs; the fields `key` and `signature` are not part of it.
pub fn attestation_statement(attestation: &Attestation) -> Vec<u8> {
    attested_statement(&Attested::from(attestation))
}

/// Returns what the peer has signed, from a file.
pub fn attested_statement(attested: &Attested) -> Vec<u8> {
    let mut bytes = ATTESTATION_DOMAIN.to_vec();
    bytes.extend_from_slice(&attested.train.0);
    bytes.extend_from_slice(&attested.prober.0);
    bytes.extend_from_slice(&attested.received.to_le_bytes());
    for number in [
        attested.first_received_ns,
        attested.last_received_ns,
        attested.rtt.count,
        attested.rtt.p50_ns,
        attested.rtt.p99_ns,
        attested.rtt.max_ns,
        attested.rtt_min_ns,
    ] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes
}
