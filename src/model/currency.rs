//! Currencies and the methods by which they are settled.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A currency code of one to eight capital letters or digits, beginning with a letter.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 8]);

/// As the bytes compare, in one comparison.
impl Ord for Currency {
    fn cmp(&self, other: &Self) -> Ordering {
        u64::from_be_bytes(self.0).cmp(&u64::from_be_bytes(other.0))
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Why a text is not a currency code.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a currency is one to eight capital letters or digits and begins with a letter")]
pub struct CurrencyError;

impl Currency {
    pub const BTC: Self = Self(*b"BTC\0\0\0\0\0");
    pub const USD: Self = Self(*b"USD\0\0\0\0\0");
    /// Letters in the longest code.
    pub const LEN_MAX: usize = 8;

    pub fn from_bytes(text: &[u8]) -> Result<Self, CurrencyError> {
        let begins_well = text.first().is_some_and(u8::is_ascii_uppercase);
        let is_code = text
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if !begins_well || !is_code || text.len() > Self::LEN_MAX {
            return Err(CurrencyError);
        }
        let mut code = [0; Self::LEN_MAX];
        code[..text.len()].copy_from_slice(text);
        Ok(Self(code))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Returns the code with zeros behind it.
    pub const fn padded(self) -> [u8; Self::LEN_MAX] {
        self.0
    }

    pub fn as_bytes(&self) -> &[u8] {
        // What is not used is zero, and the letters come first.
        let unused = u64::from_be_bytes(self.0).trailing_zeros() as usize / 8;
        &self.0[..Self::LEN_MAX - unused]
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        Self::from_bytes(text.as_bytes())
    }
}

/// How a match is settled. The order of an offer's methods is the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    Ach,
    Btc,
    Dwolla,
    Manual,
    Okpay,
    Paypal,
    Sepa,
}

impl Method {
    /// Every method with its word in the grammar and its ordinal on the wire.
    pub const ALL: [(Self, &'static str, u8); 7] = [
        (Self::Ach, "ACH", 1),
        (Self::Btc, "BTC", 2),
        (Self::Dwolla, "DWOLLA", 3),
        (Self::Manual, "MANUAL", 4),
        (Self::Okpay, "OKPAY", 5),
        (Self::Paypal, "PAYPAL", 6),
        (Self::Sepa, "SEPA", 7),
    ];

    pub fn from_word(word: &[u8]) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, name, _)| name.as_bytes() == word)
            .map(|(method, ..)| *method)
    }

    pub fn from_ordinal(ordinal: u8) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(.., number)| *number == ordinal)
            .map(|(method, ..)| *method)
    }

    pub fn word(self) -> &'static str {
        Self::ALL[usize::from(self.ordinal()) - 1].1
    }

    pub const fn ordinal(self) -> u8 {
        match self {
            Self::Ach => 1,
            Self::Btc => 2,
            Self::Dwolla => 3,
            Self::Manual => 4,
            Self::Okpay => 5,
            Self::Paypal => 6,
            Self::Sepa => 7,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.word())
    }
}

/// Up to eight settlement methods in order of preference, none twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Methods {
    list: [Option<Method>; Self::LEN_MAX],
}

impl Methods {
    /// Methods in one offer; the grammar refuses a ninth.
    pub const LEN_MAX: usize = 8;

    /// Appends a method; returns false where it is listed already or the list is full.
    pub fn push(&mut self, method: Method) -> bool {
        if self.contains(method) {
            return false;
        }
        let Some(slot) = self.list.iter_mut().find(|slot| slot.is_none()) else {
            return false;
        };
        *slot = Some(method);
        true
    }

    pub fn iter(&self) -> impl Iterator<Item = Method> + '_ {
        self.list.iter().map_while(|method| *method)
    }

    pub fn contains(&self, method: Method) -> bool {
        self.iter().any(|listed| listed == method)
    }

    /// Returns the place of a method in the order of preference.
    pub fn rank(&self, method: Method) -> Option<usize> {
        self.iter().position(|listed| listed == method)
    }

    pub fn is_empty(&self) -> bool {
        self.list[0].is_none()
    }

    pub fn len(&self) -> usize {
        self.iter().count()
    }
}

impl FromIterator<Method> for Methods {
    /// Keeps the first eight different methods.
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        let mut list = Self::default();
        for method in methods {
            list.push(method);
        }
        list
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, method) in self.iter().enumerate() {
            let bar = if index == 0 { "" } else { "|" };
            write!(formatter, "{bar}{method}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_by_its_word_and_its_ordinal() {
        for (index, (method, word, ordinal)) in Method::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(ordinal), index + 1);
            assert_eq!(method.ordinal(), ordinal);
            assert_eq!(method.word(), word);
            assert_eq!(Method::from_word(word.as_bytes()), Some(method));
            assert_eq!(Method::from_ordinal(ordinal), Some(method));
        }
        assert_eq!(Method::from_ordinal(0), None);
    }

    #[test]
    fn a_currency_is_a_short_capital_code() {
        assert_eq!("BTC".parse(), Ok(Currency::BTC));
        for text in ["", "btc", "1BTC", "TOOLONGCODE", "B-C"] {
            assert_eq!(text.parse::<Currency>(), Err(CurrencyError), "{text}");
        }
    }
}
