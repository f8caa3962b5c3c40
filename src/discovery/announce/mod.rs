//! Announcements: what one node says to the channel, one line each, signed.
//!
//! ```text
//! offer   150BTC@USD:BO:SEPA|OKPAY offer1 <fields>     what an exit's peernet could not fill
//! match   40BTC@105USD:SEPA match1 <fields>            what another exit's peernet takes of one offer
//! relay   150BTC@USD:BO:SEPA|OKPAY relay1 <fields>     offers of equal terms, where they were not heard
//! close   close1 <fields>                              an offer is over
//! ```
//! `<fields>` is base64url without padding of fixed fields and the signature; `text` has the layout.
//! One announcement has exactly one text. Who spoke is the key in the line; a nick says nothing.

mod group;
mod handed;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;

use thiserror::Error;

pub use crate::discovery::announce::group::{Group, Unfilled, group};
pub use crate::discovery::announce::handed::{hand_out, take_over};
use crate::model::codec::CodecError;
use crate::model::currency::Currency;
use crate::model::grammar::GrammarError;
use crate::model::ids::{NodeId, OfferId, PeernetId};
use crate::model::instrument::Pair;
use crate::model::key::{pin_of, sha256, signed};
use crate::model::number::Quantity;
use crate::model::offer::{Line, Part};
use crate::model::time::{Span, Time};

/// The greatest quantity, price or total in a line: 10^10 whole units. Nine of them can be added
/// without leaving 64 bits.
pub const AMOUNT_MAX: Quantity = Quantity::whole(10_000_000_000);
/// Offers in one relay line.
pub const RELAYED_MAX: usize = 5;
/// Seconds from issue to expiry, at most.
pub const LIFE_S_MAX: u16 = 3_600;
/// How far a signer's clock may be ahead of ours.
pub const CLOCK_TOLERANCE: Span = Span::secs(30);

const DOMAIN: &[u8] = b"expressnet channel line 1\0";
const REFERENCE_DOMAIN: &[u8] = b"expressnet offer reference 1\0";

/// The Ed25519 key that signed a line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signer(pub [u8; 32]);

impl Signer {
    pub fn node_id(&self) -> NodeId {
        pin_of(&self.0).node_id()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// Eight bytes that stand for an offer in a relay line: of SHA-256 over its exit and its id.
///
/// The hash has the exit in it, so nobody can make another offer that goes by the same reference but
/// by trying 2^64 of them, for one hour at most; whoever answers has the signed offer itself by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferRef(pub [u8; 8]);

impl OfferRef {
    /// Returns the reference of an offer that the exit `origin` announced.
    pub fn of(origin: NodeId, offer: OfferId) -> Self {
        let sum = sha256(&[REFERENCE_DOMAIN, &origin.0, &offer.0].concat());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&sum[..8]);
        Self(bytes)
    }
}

/// An exit's own offer, with what is still open of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    pub offer: OfferId,
    /// From 1; each line with another remainder has a higher one.
    pub version: u32,
    pub line: Line,
    pub part_min: Quantity,
}

/// What an exit takes of an offer by one method, and what it leaves of that version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    pub offer: OfferId,
    pub version: u32,
    /// The exit that announced the offer.
    pub origin: NodeId,
    pub give: Currency,
    pub want: Currency,
    pub part: Part,
    pub remainder: Quantity,
}

/// Offers of equal terms from elsewhere, with the sum of what is open of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relayed {
    pub line: Line,
    /// 1 to [`RELAYED_MAX`] references with their versions, ascending.
    pub offers: Vec<(OfferRef, u32)>,
}

/// An offer is over, up to this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    pub offer: OfferId,
    pub version: u32,
}

/// What is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Offer(Offered),
    Match(Matched),
    Relay(Relayed),
    Close(Closed),
}

/// The kinds of lines. Ordinals stand in the sieve's sums only; lines have the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Offer = 1,
    Match = 2,
    Relay = 3,
    Close = 4,
}

impl Said {
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Offer(_) => Kind::Offer,
            Self::Match(_) => Kind::Match,
            Self::Relay(_) => Kind::Relay,
            Self::Close(_) => Kind::Close,
        }
    }

    /// Returns what is given (base) for what (quote); an end names neither.
    pub fn pair(&self) -> Option<Pair> {
        let (base, quote) = match self {
            Self::Offer(offered) => (offered.line.give, offered.line.want),
            Self::Match(matched) => (matched.give, matched.want),
            Self::Relay(relayed) => (relayed.line.give, relayed.line.want),
            Self::Close(_) => return None,
        };
        Some(Pair { base, quote })
    }

    /// Returns what a broadcast asks others to take; matches and ends are none.
    pub const fn broadcast(&self) -> Option<Quantity> {
        match self {
            Self::Offer(offered) => Some(offered.line.quantity),
            Self::Relay(relayed) => Some(relayed.line.quantity),
            Self::Match(_) | Self::Close(_) => None,
        }
    }
}

/// An announcement before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub said: Said,
    pub peernet: PeernetId,
    /// The fencing token of the lease under which the exit speaks.
    pub token: u64,
    /// Seconds since 1970.
    pub expires_s: u32,
    /// Seconds from issue to expiry, 1 to [`LIFE_S_MAX`].
    pub life_s: u16,
    pub signer: Signer,
}

/// One line of the channel, whose form is right; whether its signature is, tells
/// [`Announcement::is_signed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    draft: Draft,
    signature: [u8; 64],
}

/// What is wrong with an amount; one of nothing is a fault of the grammar or of its field.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AmountFault {
    #[error("an amount, or what it comes to, is more than 10000000000")]
    TooLarge,
    #[error("the smallest part is more than the offer")]
    Part,
    #[error("the price is not the total by the quantity")]
    Price,
}

/// Why a text is no announcement.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AnnounceError {
    #[error("more than 380 bytes")]
    TooLong,
    #[error("no kind of line that is spoken here")]
    Kind,
    #[error("a byte that is no printable ASCII")]
    Control,
    #[error("the fields have another length, or are no base64url in its one form")]
    Encoding,
    #[error(transparent)]
    Line(#[from] GrammarError),
    #[error(transparent)]
    Field(#[from] CodecError),
    #[error(transparent)]
    Amount(#[from] AmountFault),
    #[error("a version of 0; they begin at 1")]
    Version,
    #[error("the offers of a relay stand in ascending order, none twice")]
    Order,
    #[error("a life of 1 to 3600 seconds, and an expiry behind it")]
    Life,
    #[error("an exit does not match its own offer")]
    SelfMatch,
    #[error("the text is not the one that this announcement has")]
    NotCanonical,
}

impl Announcement {
    /// Makes an announcement for a channel; `sign` is the signer's key over the bytes it is handed.
    ///
    /// # Errors
    /// The same as [`Announcement::parse`]: no line is made that would not be read.
    pub fn issue(
        draft: Draft,
        channel: &str,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<Self, AnnounceError> {
        if let Said::Relay(relayed) = &draft.said
            && relayed.offers.len() > RELAYED_MAX
        {
            return Err(AnnounceError::Order);
        }
        let signature = sign(&draft.statement(channel));
        Self::parse(&Self { draft, signature }.to_string())
    }

    pub const fn said(&self) -> &Said {
        &self.draft.said
    }

    pub fn into_said(self) -> Said {
        self.draft.said
    }

    pub const fn signer(&self) -> Signer {
        self.draft.signer
    }

    pub const fn peernet(&self) -> PeernetId {
        self.draft.peernet
    }

    pub const fn token(&self) -> u64 {
        self.draft.token
    }

    pub const fn expires_s(&self) -> u32 {
        self.draft.expires_s
    }

    pub fn expires(&self) -> Time {
        moment(self.draft.expires_s)
    }

    pub fn issued(&self) -> Time {
        moment(self.draft.expires_s) - Span::secs(u64::from(self.draft.life_s))
    }

    /// Tells whether the key in the line signed it, for this channel. The only costly check.
    pub fn is_signed(&self, channel: &str) -> bool {
        let statement = self.draft.statement(channel);
        signed(&self.draft.signer.0, &statement, &self.signature)
    }

    /// Returns SHA-256 over what is announced, without who, until when and under which token.
    pub(in crate::discovery) fn terms(&self) -> [u8; 32] {
        sha256(&self.draft.terms())
    }
}

impl Draft {
    /// Returns the bytes that are signed: domain, channel in small letters, zero, the text up to the
    /// fields, the fields.
    fn statement(&self, channel: &str) -> Vec<u8> {
        let mut statement = DOMAIN.to_vec();
        statement.extend_from_slice(channel.to_ascii_lowercase().as_bytes());
        statement.push(0);
        statement.extend_from_slice(&self.terms());
        self.push_voice(&mut statement);
        statement
    }
}

fn moment(second: u32) -> Time {
    Time::ZERO + Span::secs(u64::from(second))
}
