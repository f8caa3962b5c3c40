//! Where money lies and what is traded there.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::model::currency::{Currency, Method};

/// The owner's name for one venue: 1 to 16 lower-case letters, digits and hyphens. All nodes of
/// one owner use the same names.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VenueId([u8; 16]);

/// As the bytes compare, in one comparison: every look at a book by its market does some.
impl Ord for VenueId {
    fn cmp(&self, other: &Self) -> Ordering {
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl PartialOrd for VenueId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Why a text is not a venue name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a venue name is 1 to 16 lower-case letters, digits and hyphens, beginning with a letter")]
pub struct VenueIdError;

impl VenueId {
    pub const LEN_MAX: usize = 16;

    pub fn from_bytes(text: &[u8]) -> Result<Self, VenueIdError> {
        let begins_well = text.first().is_some_and(u8::is_ascii_lowercase);
        let is_name = text
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-');
        if !begins_well || !is_name || text.len() > Self::LEN_MAX {
            return Err(VenueIdError);
        }
        let mut name = [0; Self::LEN_MAX];
        name[..text.len()].copy_from_slice(text);
        Ok(Self(name))
    }

    /// Returns the name with zeros behind it.
    pub const fn padded(self) -> [u8; Self::LEN_MAX] {
        self.0
    }

    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|byte| *byte == 0);
        std::str::from_utf8(&self.0[..len.unwrap_or(Self::LEN_MAX)]).unwrap_or_default()
    }
}

impl fmt::Display for VenueId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Debug for VenueId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for VenueId {
    type Err = VenueIdError;

    fn from_str(text: &str) -> Result<Self, VenueIdError> {
        Self::from_bytes(text.as_bytes())
    }
}

/// Where money lies: at a venue, in the owner's wallet, or on a rail account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    Venue(VenueId),
    Wallet,
    Rail(Method),
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Venue(venue) => write!(formatter, "{venue}"),
            Self::Wallet => formatter.write_str("wallet"),
            Self::Rail(method) => write!(formatter, "{method}"),
        }
    }
}

impl FromStr for Location {
    type Err = VenueIdError;

    /// Reads `wallet`, a method in capitals, or a venue name.
    fn from_str(text: &str) -> Result<Self, VenueIdError> {
        if text == "wallet" {
            return Ok(Self::Wallet);
        }
        match Method::from_word(text.as_bytes()) {
            Some(method) => Ok(Self::Rail(method)),
            None => text.parse().map(Self::Venue),
        }
    }
}

/// A currency at a location: USD at one venue is not USD at another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instrument {
    pub currency: Currency,
    pub at: Location,
}

/// What is priced in what.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    pub base: Currency,
    pub quote: Currency,
}

/// Why a text is not a pair.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a pair is two different currencies with a stroke between them, as in BTC/USD")]
pub struct PairError;

impl Pair {
    /// Appends the pair as it is displayed.
    pub fn push_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.base.as_bytes());
        out.push(b'/');
        out.extend_from_slice(self.quote.as_bytes());
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.base, self.quote)
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Pair {
    type Err = PairError;

    fn from_str(text: &str) -> Result<Self, PairError> {
        let (base, quote) = text.split_once('/').ok_or(PairError)?;
        let base: Currency = base.parse().map_err(|_| PairError)?;
        let quote: Currency = quote.parse().map_err(|_| PairError)?;
        if base == quote {
            return Err(PairError);
        }
        Ok(Self { base, quote })
    }
}

/// One order book: a pair at a venue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Market {
    pub venue: VenueId,
    pub pair: Pair,
}

impl Market {
    pub fn base(&self) -> Instrument {
        Instrument {
            currency: self.pair.base,
            at: Location::Venue(self.venue),
        }
    }

    pub fn quote(&self) -> Instrument {
        Instrument {
            currency: self.pair.quote,
            at: Location::Venue(self.venue),
        }
    }
}

impl fmt::Display for Market {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.venue, self.pair)
    }
}

impl fmt::Debug for Market {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_print_as_they_were_read() {
        for text in ["a", "mtgox", "btc-e", "a234567890123456"] {
            let venue: VenueId = text.parse().unwrap();
            assert_eq!(venue.to_string(), text);
        }
        for text in ["", "A", "1a", "a b", "a2345678901234567"] {
            assert_eq!(text.parse::<VenueId>(), Err(VenueIdError), "{text}");
        }
        let pair: Pair = "BTC/USD".parse().unwrap();
        assert_eq!(pair.to_string(), "BTC/USD");
        assert_eq!("BTC/BTC".parse::<Pair>(), Err(PairError));
    }

    #[test]
    fn a_location_is_a_wallet_a_rail_or_a_venue() {
        assert_eq!("wallet".parse(), Ok(Location::Wallet));
        assert_eq!("SEPA".parse(), Ok(Location::Rail(Method::Sepa)));
        let venue = "mtgox".parse().unwrap();
        assert_eq!("mtgox".parse(), Ok(Location::Venue(venue)));
    }
}
