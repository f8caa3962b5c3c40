//! What a node hands to the thread that signs: its peernet, the token of its lease, and what is to be said.

use crate::discovery::announce::{Closed, Offered, Said};
use crate::model::codec::{CodecError, Reader, Writer};
use crate::model::ids::PeernetId;

const OFFER: u8 = 1;
const CLOSE: u8 = 2;

/// Appends what is to be said under a token. Matches and relays are not handed out yet.
pub fn hand_out(said: &Said, (peernet, token): (PeernetId, u64), out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.raw(&peernet.0);
    writer.u64(token);
    match said {
        Said::Offer(offered) => {
            writer.u8(OFFER);
            writer.raw(&offered.offer.0);
            writer.u64(u64::from(offered.version));
            writer.line(&offered.line);
            writer.quantity(offered.part_min);
        }
        Said::Close(closed) => {
            writer.u8(CLOSE);
            writer.raw(&closed.offer.0);
            writer.u64(u64::from(closed.version));
        }
        Said::Match(_) | Said::Relay(_) => (),
    }
}

/// Reads what [`hand_out`] wrote.
///
/// # Errors
/// Anything else.
pub fn take_over(bytes: &[u8]) -> Result<((PeernetId, u64), Said), CodecError> {
    let mut reader = Reader::new(bytes);
    let peernet = PeernetId(reader.array("peernet")?);
    let token = reader.u64("token")?;
    let kind = reader.u8("kind")?;
    let offer = reader.offer()?;
    let version = reader.u64("version")?;
    let version = u32::try_from(version).map_err(|_| CodecError::Range("version"))?;
    let said = match kind {
        OFFER => Said::Offer(Offered {
            offer,
            version,
            line: reader.line()?,
            part_min: reader.quantity("smallest part")?,
        }),
        CLOSE => Said::Close(Closed { offer, version }),
        kind => return Err(CodecError::Ordinal(kind)),
    };
    reader.finish()?;
    Ok(((peernet, token), said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{OfferId, PeernetId};
    use crate::model::number::Quantity;
    use crate::model::offer::Line;

    #[test]
    fn what_is_handed_out_is_taken_over() {
        let offer = OfferId([7; 16]);
        for said in [
            Said::Offer(Offered {
                offer,
                version: 3,
                line: Line::parse(b"150BTC@USD:BO:SEPA|ACH").unwrap(),
                part_min: Quantity(5),
            }),
            Said::Close(Closed { offer, version: 3 }),
        ] {
            let mut bytes = Vec::new();
            let right = (PeernetId([8; 16]), 9);
            hand_out(&said, right, &mut bytes);
            assert_eq!(take_over(&bytes), Ok((right, said)));
            assert!(take_over(&bytes[1..]).is_err());
            bytes.push(0);
            assert!(take_over(&bytes).is_err());
        }
    }
}
