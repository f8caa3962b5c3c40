//! How an announcement is written, and read again strictly.
//!
//! ```text
//! offer fields   offer 16 │ version 4 │ smallest part 8                                  │ voice │ signature 64
//! match fields   offer 16 │ version 4 │ origin node 16 │ total 8 │ remainder 8           │ voice │ signature 64
//! relay fields   1 to 5 times (reference 8 │ version 4)                                  │ voice │ signature 64
//! close fields   offer 16 │ version 4                                                    │ voice │ signature 64
//! voice          peernet 16 │ token 8 │ expires 4 │ life 2 │ key 32      (all little endian)
//! ```

use std::fmt;

use data_encoding::BASE64URL_NOPAD;

use crate::discovery::announce::{
    AMOUNT_MAX, AmountFault, AnnounceError, Announcement, Closed, Draft, Kind, LIFE_S_MAX, Matched,
    OfferRef, Offered, RELAYED_MAX, Relayed, Said, Signer,
};
use crate::discovery::irc::line::TEXT_MAX;
use crate::model::codec::{CodecError, Reader, Writer};
use crate::model::grammar::MatchLine;
use crate::model::ids::PeernetId;
use crate::model::number::{Price, Quantity};
use crate::model::offer::{Asking, Line, Part};

const SIGNATURE_BYTES: usize = 64;
const VOICE_BYTES: usize = 16 + 8 + 4 + 2 + 32;
const OFFER_BYTES: usize = 16 + 4 + 8;
const MATCH_BYTES: usize = 16 + 4 + 16 + 8 + 8;
const REFERENCE_BYTES: usize = 8 + 4;
const CLOSE_BYTES: usize = 16 + 4;

/// The longest line is a relay of five offers: both numbers of 19 characters, both currencies of
/// eight, all seven methods, and two marks.
pub(super) const LONGEST: usize = {
    let methods = "ACH|BTC|DWOLLA|MANUAL|OKPAY|PAYPAL|SEPA".len();
    let head = 19 + 8 + 1 + 19 + 8 + 1 + methods;
    let fields = RELAYED_MAX * REFERENCE_BYTES + VOICE_BYTES + SIGNATURE_BYTES;
    head + " relay1 ".len() + (fields * 4).div_ceil(3)
};
const _: () = assert!(LONGEST <= TEXT_MAX);

impl Kind {
    const ALL: [Self; 4] = [Self::Offer, Self::Match, Self::Relay, Self::Close];

    /// Returns the word in the line; its digit is the version of the format.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Offer => "offer1",
            Self::Match => "match1",
            Self::Relay => "relay1",
            Self::Close => "close1",
        }
    }

    /// Tells whether that many bytes of fields can be of this kind, signature included.
    fn fits(self, bytes: usize) -> bool {
        let Some(own) = bytes.checked_sub(VOICE_BYTES + SIGNATURE_BYTES) else {
            return false;
        };
        match self {
            Self::Offer => own == OFFER_BYTES,
            Self::Match => own == MATCH_BYTES,
            Self::Relay => {
                let references = own / REFERENCE_BYTES;
                own % REFERENCE_BYTES == 0 && (1..=RELAYED_MAX).contains(&references)
            }
            Self::Close => own == CLOSE_BYTES,
        }
    }
}

impl Announcement {
    /// Reads a line of the channel, strictly: what is read prints back unchanged. The signature is
    /// not looked at.
    ///
    /// # Errors
    /// See [`AnnounceError`]; what costs least is looked at first.
    pub fn parse(text: &str) -> Result<Self, AnnounceError> {
        if text.len() > TEXT_MAX {
            return Err(AnnounceError::TooLong);
        }
        let first = text.as_bytes().first().copied().unwrap_or_default();
        if !first.is_ascii_digit() && first != b'c' {
            return Err(AnnounceError::Kind);
        }
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(AnnounceError::Control);
        }
        let (before, encoded) = text.rsplit_once(' ').ok_or(AnnounceError::Kind)?;
        let (head, word) = before.rsplit_once(' ').unwrap_or(("", before));
        let mut kinds = Kind::ALL.into_iter();
        let kind = kinds.find(|kind| kind.word() == word);
        let kind = kind.ok_or(AnnounceError::Kind)?;
        if !kind.fits(encoded.len() * 3 / 4) {
            return Err(AnnounceError::Encoding);
        }
        let fields = BASE64URL_NOPAD.decode(encoded.as_bytes());
        let fields = fields.map_err(|_| AnnounceError::Encoding)?;
        let announcement = Self::read(kind, head.as_bytes(), &fields)?;
        if announcement.to_string() != text {
            return Err(AnnounceError::NotCanonical);
        }
        Ok(announcement)
    }

    fn read(kind: Kind, head: &[u8], fields: &[u8]) -> Result<Self, AnnounceError> {
        let mut reader = Reader::new(fields);
        let said = match kind {
            Kind::Offer => Said::Offer(read_offer(head, &mut reader)?),
            Kind::Match => Said::Match(read_match(head, &mut reader)?),
            Kind::Relay => Said::Relay(read_relay(head, &mut reader)?),
            Kind::Close => Said::Close(Closed {
                offer: reader.offer()?,
                version: read_version(&mut reader)?,
            }),
        };
        let peernet = PeernetId(reader.array("peernet")?);
        let token = reader.u64("token")?;
        let expires_s = reader.array("expiry").map(u32::from_le_bytes)?;
        let life_s = reader.u16("life")?;
        let signer = Signer(reader.array("key")?);
        let signature = reader.array("signature")?;
        reader.finish()?;
        if !(1..=LIFE_S_MAX).contains(&life_s) || expires_s <= u32::from(life_s) {
            return Err(AnnounceError::Life);
        }
        if let Said::Match(matched) = &said
            && matched.origin == signer.node_id()
        {
            return Err(AnnounceError::SelfMatch);
        }
        let draft = Draft {
            said,
            peernet,
            token,
            expires_s,
            life_s,
            signer,
        };
        Ok(Self { draft, signature })
    }
}

impl fmt::Display for Announcement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = Vec::new();
        self.draft.push_own(&mut fields);
        self.draft.push_voice(&mut fields);
        fields.extend_from_slice(&self.signature);
        let encoded = BASE64URL_NOPAD.encode(&fields);
        write!(formatter, "{}{encoded}", self.draft.head())
    }
}

impl Draft {
    /// Returns what stands before the fields, the space included.
    fn head(&self) -> String {
        let word = self.said.kind().word();
        match &self.said {
            Said::Offer(offered) => format!("{} {word} ", offered.line),
            Said::Match(matched) => {
                let line = MatchLine::of_part(&matched.part, matched.give, matched.want);
                format!("{line} {word} ")
            }
            Said::Relay(relayed) => format!("{} {word} ", relayed.line),
            Said::Close(_) => format!("{word} "),
        }
    }

    pub(super) fn terms(&self) -> Vec<u8> {
        let mut terms = self.head().into_bytes();
        self.push_own(&mut terms);
        terms
    }

    fn push_own(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        match &self.said {
            Said::Offer(offered) => {
                writer.raw(&offered.offer.0);
                writer.raw(&offered.version.to_le_bytes());
                writer.quantity(offered.part_min);
            }
            Said::Match(matched) => {
                writer.raw(&matched.offer.0);
                writer.raw(&matched.version.to_le_bytes());
                writer.raw(&matched.origin.0);
                writer.quantity(matched.part.total);
                writer.quantity(matched.remainder);
            }
            Said::Relay(relayed) => {
                for (reference, version) in &relayed.offers {
                    writer.raw(&reference.0);
                    writer.raw(&version.to_le_bytes());
                }
            }
            Said::Close(closed) => {
                writer.raw(&closed.offer.0);
                writer.raw(&closed.version.to_le_bytes());
            }
        }
    }

    pub(super) fn push_voice(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.raw(&self.peernet.0);
        writer.u64(self.token);
        writer.raw(&self.expires_s.to_le_bytes());
        writer.u16(self.life_s);
        writer.raw(&self.signer.0);
    }
}

fn read_offer(head: &[u8], reader: &mut Reader<'_>) -> Result<Offered, AnnounceError> {
    let line = read_line(head)?;
    let offer = reader.offer()?;
    let version = read_version(reader)?;
    let part_min = reader.amount("smallest part")?;
    if part_min > line.quantity {
        return Err(AmountFault::Part.into());
    }
    Ok(Offered {
        offer,
        version,
        line,
        part_min,
    })
}

fn read_match(head: &[u8], reader: &mut Reader<'_>) -> Result<Matched, AnnounceError> {
    let line = MatchLine::parse(head)?;
    let offer = reader.offer()?;
    let version = read_version(reader)?;
    let origin = reader.node()?;
    let total = within(reader.amount("total")?)?;
    let remainder = within(reader.quantity("remainder")?)?;
    let part = Part {
        quantity: within(line.quantity)?,
        total,
        method: line.method,
    };
    within(part.quantity.saturating_add(remainder))?;
    if part.price() != line.price {
        return Err(AmountFault::Price.into());
    }
    Ok(Matched {
        offer,
        version,
        origin,
        give: line.give,
        want: line.want,
        part,
        remainder,
    })
}

fn read_relay(head: &[u8], reader: &mut Reader<'_>) -> Result<Relayed, AnnounceError> {
    let line = read_line(head)?;
    let mut offers: Vec<(OfferRef, u32)> = Vec::with_capacity(RELAYED_MAX);
    while reader.rest().len() > VOICE_BYTES + SIGNATURE_BYTES {
        let reference = OfferRef(reader.array("reference")?);
        if offers.last().is_some_and(|(last, _)| *last >= reference) {
            return Err(AnnounceError::Order);
        }
        offers.push((reference, read_version(reader)?));
    }
    Ok(Relayed { line, offers })
}

/// Reads an offer whose amounts, and what they come to, are within the limit.
fn read_line(head: &[u8]) -> Result<Line, AnnounceError> {
    let line = Line::parse(head)?;
    within(line.quantity)?;
    if let Asking::AtLeast(price) = line.asking {
        check_price(price, line.quantity)?;
    }
    Ok(line)
}

fn check_price(price: Price, quantity: Quantity) -> Result<(), AnnounceError> {
    within(Quantity(price.0))?;
    within(price.total_ceil(quantity)).map(|_| ())
}

fn within(amount: Quantity) -> Result<Quantity, AnnounceError> {
    match amount <= AMOUNT_MAX {
        true => Ok(amount),
        false => Err(AmountFault::TooLarge.into()),
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<u32, AnnounceError> {
    let version: Result<[u8; 4], CodecError> = reader.array("version");
    match version.map(u32::from_le_bytes)? {
        0 => Err(AnnounceError::Version),
        version => Ok(version),
    }
}
