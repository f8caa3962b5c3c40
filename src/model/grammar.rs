//! The grammar of offers and matches: one strict parser, one printer.
//!
//! ```text
//! offer  = amount give "@" ( want ":BO" | price want ) ":" method *( "|" method )
//! match  = amount give "@" price want ":" method
//! amount = decimal > 0, no leading zero but "0.", no trailing zero behind the point
//! ```
//! Printing what was parsed gives the same bytes; every other byte string is refused with the
//! column (from 1) and the reason.

use std::fmt;

use thiserror::Error;

use crate::model::currency::{Currency, Method, Methods};
use crate::model::number::{Price, Quantity, parse_decimal};
use crate::model::offer::{Asking, Line, Part};

/// Why a byte string is not an offer or a match.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("column {column}: {reason}")]
pub struct GrammarError {
    /// Counted in bytes from 1.
    pub column: usize,
    pub reason: GrammarFault,
}

/// What is wrong at the column.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum GrammarFault {
    #[error("the line is longer than 160 bytes")]
    TooLong,
    #[error("an amount such as 150 or 0.5 belongs here")]
    Amount,
    #[error("the number is not written in its shortest form")]
    NotShortest,
    #[error("the number is out of range or finer than 8 decimals")]
    Range,
    #[error("a currency of one to eight capital letters or digits belongs here")]
    Currency,
    #[error("`@` belongs here")]
    At,
    #[error("the wanted currency must differ from the given one")]
    SameCurrency,
    #[error("`:` belongs here")]
    Colon,
    #[error("`BO` belongs here; a price stands before the currency")]
    BestOffer,
    #[error("a settlement method belongs here: ACH, BTC, DWOLLA, MANUAL, OKPAY, PAYPAL or SEPA")]
    Method,
    #[error("this method is listed already")]
    MethodTwice,
    #[error("nothing may follow")]
    Trailing,
}

/// A partial or aggregate match as text names it: `1BTC@110USD:SEPA`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchLine {
    pub quantity: Quantity,
    pub give: Currency,
    pub want: Currency,
    pub price: Price,
    pub method: Method,
}

impl Line {
    /// Bytes in the longest line that is parsed; the longest that is printed is shorter.
    pub const LEN_MAX: usize = 160;

    /// Parses an offer.
    ///
    /// # Errors
    /// The first fault with its column.
    pub fn parse(text: &[u8]) -> Result<Self, GrammarError> {
        let mut cursor = Cursor::new(text)?;
        let (quantity, give) = cursor.amount_and_currency()?;
        cursor.take_byte(b'@', GrammarFault::At)?;
        let price = cursor.price_if_any()?;
        let want = cursor.wanted(give)?;
        cursor.take_byte(b':', GrammarFault::Colon)?;
        let asking = match price {
            Some(price) => Asking::AtLeast(price),
            None => {
                cursor.take_byte(b'B', GrammarFault::BestOffer)?;
                cursor.take_byte(b'O', GrammarFault::BestOffer)?;
                cursor.take_byte(b':', GrammarFault::Colon)?;
                Asking::Best
            }
        };
        let mut methods = Methods::default();
        loop {
            let column = cursor.at;
            if !methods.push(cursor.method()?) {
                return Err(cursor.fault_at(column, GrammarFault::MethodTwice));
            }
            if cursor.at == text.len() {
                break;
            }
            cursor.take_byte(b'|', GrammarFault::Trailing)?;
        }
        Ok(Self {
            quantity,
            give,
            want,
            asking,
            methods,
        })
    }
}

impl MatchLine {
    /// Parses a partial or aggregate match.
    ///
    /// # Errors
    /// The first fault with its column.
    pub fn parse(text: &[u8]) -> Result<Self, GrammarError> {
        let mut cursor = Cursor::new(text)?;
        let (quantity, give) = cursor.amount_and_currency()?;
        cursor.take_byte(b'@', GrammarFault::At)?;
        let column = cursor.at;
        let price = cursor
            .price_if_any()?
            .ok_or_else(|| cursor.fault_at(column, GrammarFault::Amount))?;
        let want = cursor.wanted(give)?;
        cursor.take_byte(b':', GrammarFault::Colon)?;
        let method = cursor.method()?;
        if cursor.at != text.len() {
            return Err(cursor.fault(GrammarFault::Trailing));
        }
        Ok(Self {
            quantity,
            give,
            want,
            price,
            method,
        })
    }

    /// Writes a part of an offer of `give` for `want`.
    pub fn of_part(part: &Part, give: Currency, want: Currency) -> Self {
        Self {
            quantity: part.quantity,
            give,
            want,
            price: part.price(),
            method: part.method,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}@", self.quantity, self.give)?;
        match self.asking {
            Asking::Best => write!(formatter, "{}:BO:{}", self.want, self.methods),
            Asking::AtLeast(price) => write!(formatter, "{price}{}:{}", self.want, self.methods),
        }
    }
}

impl fmt::Display for MatchLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}{}@{}{}:{}",
            self.quantity, self.give, self.price, self.want, self.method
        )
    }
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a [u8]) -> Result<Self, GrammarError> {
        if text.len() > Line::LEN_MAX {
            return Err(GrammarError {
                column: Line::LEN_MAX + 1,
                reason: GrammarFault::TooLong,
            });
        }
        Ok(Self { text, at: 0 })
    }

    fn fault(&self, reason: GrammarFault) -> GrammarError {
        self.fault_at(self.at, reason)
    }

    fn fault_at(&self, at: usize, reason: GrammarFault) -> GrammarError {
        GrammarError {
            column: at + 1,
            reason,
        }
    }

    fn take_while(&mut self, accepts: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.text[self.at..];
        let len = rest.iter().position(|byte| !accepts(*byte));
        let taken = &rest[..len.unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn take_byte(&mut self, byte: u8, reason: GrammarFault) -> Result<(), GrammarError> {
        if self.text.get(self.at) != Some(&byte) {
            return Err(self.fault(reason));
        }
        self.at += 1;
        Ok(())
    }

    fn decimal(&mut self) -> Result<i64, GrammarError> {
        let start = self.at;
        let digits = self.take_while(|byte| byte.is_ascii_digit() || byte == b'.');
        if digits.is_empty() {
            return Err(self.fault(GrammarFault::Amount));
        }
        let units = parse_decimal(digits).map_err(|_| self.fault_at(start, GrammarFault::Range))?;
        if units == 0 {
            return Err(self.fault_at(start, GrammarFault::Range));
        }
        if Quantity(units).to_string().as_bytes() != digits {
            return Err(self.fault_at(start, GrammarFault::NotShortest));
        }
        Ok(units)
    }

    fn currency(&mut self) -> Result<Currency, GrammarError> {
        let start = self.at;
        let code = self.take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        Currency::from_bytes(code).map_err(|_| self.fault_at(start, GrammarFault::Currency))
    }

    fn amount_and_currency(&mut self) -> Result<(Quantity, Currency), GrammarError> {
        let quantity = Quantity(self.decimal()?);
        Ok((quantity, self.currency()?))
    }

    fn price_if_any(&mut self) -> Result<Option<Price>, GrammarError> {
        match self.text.get(self.at) {
            Some(byte) if byte.is_ascii_digit() => self.decimal().map(|units| Some(Price(units))),
            _ => Ok(None),
        }
    }

    fn wanted(&mut self, give: Currency) -> Result<Currency, GrammarError> {
        let start = self.at;
        let want = self.currency()?;
        if want == give {
            return Err(self.fault_at(start, GrammarFault::SameCurrency));
        }
        Ok(want)
    }

    fn method(&mut self) -> Result<Method, GrammarError> {
        let start = self.at;
        let word = self.take_while(|byte| byte.is_ascii_uppercase());
        Method::from_word(word).ok_or_else(|| self.fault_at(start, GrammarFault::Method))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    #[test]
    fn the_founding_lines_print_as_they_were_parsed() {
        for text in [
            "150BTC@USD:BO:SEPA|OKPAY|PAYPAL|DWOLLA|ACH",
            "150BTC@110USD:SEPA",
            "0.00000001BTC@0.5USD:ACH|BTC",
        ] {
            let line = Line::parse(text.as_bytes()).unwrap();
            assert_eq!(line.to_string(), text);
        }
        for text in ["1BTC@110USD:SEPA", "40BTC@105USD:SEPA"] {
            let line = MatchLine::parse(text.as_bytes()).unwrap();
            assert_eq!(line.to_string(), text);
        }
    }

    #[track_caller]
    fn refuses(text: &str, column: usize, reason: GrammarFault) {
        let expected = Err(GrammarError { column, reason });
        assert_eq!(Line::parse(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn every_fault_names_its_column() {
        refuses("", 1, GrammarFault::Amount);
        refuses("BTC@USD:BO:SEPA", 1, GrammarFault::Amount);
        refuses("0BTC@USD:BO:SEPA", 1, GrammarFault::Range);
        refuses("-1BTC@USD:BO:SEPA", 1, GrammarFault::Amount);
        refuses("01BTC@USD:BO:SEPA", 1, GrammarFault::NotShortest);
        refuses("1.50BTC@USD:BO:SEPA", 1, GrammarFault::NotShortest);
        refuses("1.000000001BTC@USD:BO:SEPA", 1, GrammarFault::Range);
        refuses("92233720369BTC@USD:BO:SEPA", 1, GrammarFault::Range);
        refuses("1@USD:BO:SEPA", 2, GrammarFault::Currency);
        refuses("1btc@USD:BO:SEPA", 2, GrammarFault::Currency);
        refuses("1BTC USD:BO:SEPA", 5, GrammarFault::At);
        refuses("1BTC@BTC:BO:SEPA", 6, GrammarFault::SameCurrency);
        refuses("1BTC@USD:SEPA", 10, GrammarFault::BestOffer);
        refuses("1BTC@5USD:BO:SEPA", 11, GrammarFault::Method);
        refuses("1BTC@USD:BO:", 13, GrammarFault::Method);
        refuses("1BTC@USD:BO:SWIFT", 13, GrammarFault::Method);
        refuses("1BTC@USD:BO:SEPA|SEPA", 18, GrammarFault::MethodTwice);
        refuses("1BTC@USD:BO:SEPA ", 17, GrammarFault::Trailing);
        refuses("1BTC@USD:BO:SEPA|", 18, GrammarFault::Method);
        refuses(&"1".repeat(161), 161, GrammarFault::TooLong);
    }

    /// Any byte string is refused or printed back unchanged; mutations of good lines reach deep.
    #[test]
    fn what_is_accepted_prints_back_unchanged() {
        let mut random = Random::new(1);
        let mut accepted = 0;
        for _ in 0..200_000 {
            let mut text = b"150BTC@110USD:SEPA|OKPAY|PAYPAL".to_vec();
            for _ in 0..random.between(1, 3) {
                let at = usize::try_from(random.below(text.len() as u64)).unwrap();
                match random.below(3) {
                    0 => text[at] = b"019.BTCUSD@:|O "[usize::try_from(random.below(15)).unwrap()],
                    1 => text.truncate(at.max(1)),
                    _ => text.insert(at, u8::try_from(random.below(256)).unwrap()),
                }
            }
            if let Ok(line) = Line::parse(&text) {
                assert_eq!(line.to_string().as_bytes(), text);
                accepted += 1;
            }
            if let Ok(line) = MatchLine::parse(&text) {
                assert_eq!(line.to_string().as_bytes(), text);
            }
        }
        assert!(accepted > 1_000);
    }
}
