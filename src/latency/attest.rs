//! What a peer attests of a train, as it stands on the wire and under its signature.

use crate::latency::train::{Attestation, Spread};
use crate::model::codec::{CodecError, Reader, Writer};
use crate::model::time::Time;

/// Bytes of the body: everything but key and signature.
pub const BODY_BYTES: usize = 92;
const DOMAIN: &[u8] = b"expressnet latency attestation 1\0";

/// Returns the body of an attestation.
pub fn body(attestation: &Attestation) -> [u8; BODY_BYTES] {
    let mut bytes = Vec::with_capacity(BODY_BYTES);
    let mut writer = Writer::new(&mut bytes);
    writer.raw(&attestation.train);
    writer.raw(&attestation.prober.0);
    writer.raw(&attestation.received.to_le_bytes());
    writer.u64(attestation.first_received.0);
    writer.u64(attestation.last_received.0);
    writer.u64(attestation.rtt.count);
    for span in [
        attestation.rtt.p50,
        attestation.rtt.p99,
        attestation.rtt.max,
        attestation.rtt_min,
    ] {
        writer.span(span);
    }
    let mut body = [0; BODY_BYTES];
    body.copy_from_slice(&bytes);
    body
}

/// Returns what the peer signs: what `sign` makes of a whole attestation.
pub fn statement(body: &[u8; BODY_BYTES]) -> Vec<u8> {
    [DOMAIN, body].concat()
}

/// Reads an attestation. Its signature is checked by whoever relies on it.
///
/// # Errors
/// The body does not read.
pub fn read(
    body: &[u8; BODY_BYTES],
    key: [u8; 32],
    signature: [u8; 64],
) -> Result<Attestation, CodecError> {
    let mut reader = Reader::new(body);
    let attestation = Attestation {
        train: reader.array("train")?,
        prober: reader.node()?,
        received: reader.array("received").map(u32::from_le_bytes)?,
        first_received: Time(reader.u64("first received")?),
        last_received: Time(reader.u64("last received")?),
        rtt: Spread {
            count: reader.u64("round trips")?,
            p50: reader.span("p50")?,
            p99: reader.span("p99")?,
            max: reader.span("max")?,
        },
        rtt_min: reader.span("least")?,
        key,
        signature,
    };
    reader.finish()?;
    Ok(attestation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::sign;
    use crate::model::ids::NodeId;
    use crate::model::time::Span;

    #[test]
    fn an_attestation_reads_back() {
        let attestation = Attestation {
            train: [1; 16],
            prober: NodeId([2; 16]),
            received: 3,
            first_received: Time(4),
            last_received: Time(5),
            rtt: Spread {
                count: 6,
                p50: Span(7),
                p99: Span(8),
                max: Span(9),
            },
            rtt_min: Span(10),
            key: [11; 32],
            signature: [12; 64],
        };
        let body = body(&attestation);
        assert_eq!(statement(&body), sign::attestation_statement(&attestation));
        assert_eq!(read(&body, [11; 32], [12; 64]), Ok(attestation));
    }
}
