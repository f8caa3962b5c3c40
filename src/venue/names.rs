//! Markets by the names that an exchange gives them, found in the bytes of a frame.

use crate::venue::scan::Scan;

/// The names of one feed's markets, in the order of the markets.
#[derive(Clone, Debug)]
pub struct Names {
    rows: Vec<Name>,
    /// Where the last one was found: most frames speak of the market that the one before did.
    last: usize,
}

#[derive(Clone, Debug)]
struct Name {
    /// The name and the byte that ends every name.
    text: Vec<u8>,
    /// Its first eight bytes, the first one lowest, and which bits of eight are its own: one
    /// comparison tells most names apart, and is the whole one for the short.
    key: u64,
    mask: u64,
}

impl Name {
    fn new(name: &str, end: u8) -> Self {
        let text = [name.as_bytes(), &[end]].concat();
        let (mut key, mut mask) = ([0; KEY_LEN], [0; KEY_LEN]);
        for ((key, mask), byte) in key.iter_mut().zip(&mut mask).zip(&text) {
            (*key, *mask) = (*byte, u8::MAX);
        }
        Self {
            text,
            key: u64::from_le_bytes(key),
            mask: u64::from_le_bytes(mask),
        }
    }

    fn name(&self) -> &[u8] {
        self.text.split_last().map_or(&[], |(_, name)| name)
    }

    /// Returns what is left of bytes that begin with it; `word` is the first eight of them.
    #[inline]
    fn rest_of<'a>(&self, bytes: &'a [u8], word: u64) -> Option<&'a [u8]> {
        if word & self.mask != self.key {
            return None;
        }
        match self.text.get(KEY_LEN..) {
            None => bytes.get(self.text.len()..),
            Some(further) => bytes.get(KEY_LEN..)?.strip_prefix(further),
        }
    }
}

const KEY_LEN: usize = 8;

impl Names {
    /// Takes each market's name, and the byte that ends a name wherever one stands.
    pub fn new(names: impl IntoIterator<Item = String>, end: u8) -> Self {
        let names = names.into_iter().map(|name| Name::new(&name, end));
        Self {
            rows: names.collect(),
            last: 0,
        }
    }

    /// Returns the market whose name begins these bytes with the byte that ends it, and what is left
    /// of them. Where fewer than eight are left, no frame goes on.
    #[inline]
    pub fn find<'a>(&mut self, bytes: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let word = u64::from_le_bytes(*bytes.first_chunk()?);
        let last = self.rows.get(self.last)?;
        if let Some(rest) = last.rest_of(bytes, word) {
            return Some((self.last, rest));
        }
        for (index, row) in self.rows.iter().enumerate() {
            if let Some(rest) = row.rest_of(bytes, word) {
                self.last = index;
                return Some((index, rest));
            }
        }
        None
    }

    /// Reads a name and the byte that ends it; returns its market.
    #[inline]
    pub fn take(&mut self, scan: &mut Scan<'_>) -> Option<usize> {
        let (index, rest) = self.find(scan.rest())?;
        *scan = Scan::new(rest);
        Some(index)
    }

    /// Returns the market with exactly this name.
    pub fn find_name(&self, name: &[u8]) -> Option<usize> {
        let is_name = |row: &Name| row.name() == name;
        self.rows.iter().position(is_name)
    }

    /// Returns the name of a market, or nothing where there is no such market.
    pub fn name(&self, index: usize) -> &[u8] {
        self.rows.get(index).map(Name::name).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_whole_and_only_with_what_ends_it() {
        let listed = ["btcusd", "btcusdt", "ethusd", "a", "badgerbtc"];
        let mut names = Names::new(listed.map(str::to_owned), b'"');
        for (index, name) in listed.iter().enumerate() {
            let frame = format!("{name}\", and more");
            for _ in 0..2 {
                let found = names.find(frame.as_bytes());
                assert_eq!(found, Some((index, &b", and more"[..])));
            }
            assert_eq!(names.find_name(name.as_bytes()), Some(index));
            assert_eq!(names.name(index), name.as_bytes());
        }
        for frame in [
            "",
            "btc",
            "btcusd",
            "btcusd\"",
            "btcusd, and more",
            "xrpusd\", and more",
            "btcusdtx\", and more",
            "badgerbtx\", and more",
            "badgerbtc, and more",
        ] {
            assert_eq!(names.find(frame.as_bytes()), None, "{frame}");
        }
        assert_eq!(names.find_name(b"btcusd\""), None);
        assert_eq!(names.find_name(b""), None);
        assert_eq!(names.name(9), b"");
        assert_eq!(Names::new([], b'"').find(b"btcusd\"     "), None);
    }
}
