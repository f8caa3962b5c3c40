//! The markets of a feed by the names that stand in frames.

use crate::venue::scan::Scan;

/// Symbols with the quote that ends them. Compared as bytes, the one that was read last first.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    quoted: Vec<Quoted>,
    last: usize,
}

#[derive(Clone, Debug)]
struct Quoted {
    /// The first eight bytes, so that most others are told apart by one comparison.
    head: [u8; HEAD_LEN],
    text: Vec<u8>,
}

const HEAD_LEN: usize = 8;

impl Symbols {
    pub fn new(symbols: impl Iterator<Item = String>) -> Self {
        let quoted = |symbol: String| {
            let text = format!("{symbol}\"").into_bytes();
            let mut head = [0; HEAD_LEN];
            for (place, byte) in head.iter_mut().zip(&text) {
                *place = *byte;
            }
            Quoted { head, text }
        };
        Self {
            quoted: symbols.map(quoted).collect(),
            last: 0,
        }
    }

    /// Returns the place of a symbol without its quote.
    pub fn place_of(&self, symbol: &[u8]) -> Option<usize> {
        let mut quoted = self.quoted.iter();
        quoted.position(|quoted| quoted.text.strip_suffix(b"\"") == Some(symbol))
    }

    /// Reads a symbol and its quote; returns its place.
    #[inline]
    pub fn take(&mut self, scan: &mut Scan<'_>) -> Option<usize> {
        let last = self.quoted.get(self.last)?;
        if last.stands_in(scan) {
            return Some(self.last);
        }
        self.last = self
            .quoted
            .iter()
            .position(|quoted| quoted.stands_in(scan))?;
        Some(self.last)
    }
}

impl Quoted {
    #[inline]
    fn stands_in(&self, scan: &mut Scan<'_>) -> bool {
        let is_other = self.text.len() >= HEAD_LEN && scan.rest().first_chunk() != Some(&self.head);
        !is_other && scan.takes(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_is_found_whatever_its_length_and_the_one_before() {
        let names = ["A/B", "BTC/USD", "BTC/USDT", "LONGCODE/OTHERONE"];
        let mut symbols = Symbols::new(names.iter().map(|name| (*name).to_owned()));
        for name in names.iter().chain(names.iter().rev()) {
            let text = format!("{name}\",1");
            let mut scan = Scan::new(text.as_bytes());
            let place = symbols.take(&mut scan);
            assert_eq!(place, symbols.place_of(name.as_bytes()), "{name}");
            assert!(place.is_some());
            assert_eq!(scan.rest(), b",1");
        }
        for other in ["", "A", "A/B", "A/C\"", "BTC/USDX\"", "LONGCODE/OTHERTWO\""] {
            assert_eq!(
                symbols.take(&mut Scan::new(other.as_bytes())),
                None,
                "{other}"
            );
        }
        assert_eq!(Symbols::default().take(&mut Scan::new(b"A\"")), None);
    }
}
