//! Markets by the names that an exchange gives them, found in the bytes of a frame.

/// The names of one feed's markets, in the order of the markets.
#[derive(Clone, Debug)]
pub struct Names {
    rows: Vec<Name>,
    /// Where the last one was found: most frames speak of the market that the one before did.
    last: usize,
}

#[derive(Clone, Debug)]
struct Name {
    /// The name and what always follows it.
    text: Vec<u8>,
    name_len: usize,
    /// How the text begins, where it is that long: one comparison tells most names apart.
    key: Option<[u8; KEY_LEN]>,
}

const KEY_LEN: usize = 8;

impl Names {
    /// Takes each market's name, and the text that follows every name where one stands.
    pub fn new(names: impl IntoIterator<Item = String>, follows: &str) -> Self {
        let name = |name: String| Name {
            name_len: name.len(),
            text: [name.as_bytes(), follows.as_bytes()].concat(),
            key: None,
        };
        let keyed = |mut name: Name| {
            name.key = name.text.first_chunk().copied();
            name
        };
        Self {
            rows: names.into_iter().map(name).map(keyed).collect(),
            last: 0,
        }
    }

    /// Returns the market whose name begins these bytes with all that follows it, and what is left
    /// of the bytes.
    #[inline]
    pub fn find<'a>(&mut self, bytes: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let last = self.rows.get(self.last)?;
        if let Some(rest) = bytes.strip_prefix(last.text.as_slice()) {
            return Some((self.last, rest));
        }
        let key = bytes.first_chunk();
        for (index, row) in self.rows.iter().enumerate() {
            if row.key.is_some() && row.key.as_ref() != key {
                continue;
            }
            if let Some(rest) = bytes.strip_prefix(row.text.as_slice()) {
                self.last = index;
                return Some((index, rest));
            }
        }
        None
    }

    /// Returns the market with exactly this name.
    pub fn find_name(&self, name: &[u8]) -> Option<usize> {
        let is_name = |row: &Name| row.text.get(..row.name_len) == Some(name);
        self.rows.iter().position(is_name)
    }

    /// Returns the name of a market, or nothing where there is no such market.
    pub fn name(&self, index: usize) -> &[u8] {
        let row = self.rows.get(index);
        row.and_then(|row| row.text.get(..row.name_len))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_whole_and_only_with_what_follows_it() {
        let listed = ["btcusd", "btcusdt", "ethusd", "a"];
        let mut names = Names::new(listed.map(str::to_owned), "\"}");
        for (index, name) in listed.iter().enumerate() {
            let frame = format!("{name}\"}}, and more");
            for _ in 0..2 {
                let found = names.find(frame.as_bytes());
                assert_eq!(found, Some((index, &b", and more"[..])));
            }
            assert_eq!(names.find_name(name.as_bytes()), Some(index));
            assert_eq!(names.name(index), name.as_bytes());
        }
        for frame in ["", "btc", "btcusd", "btcusd\"", "xrpusd\"}", "btcusdtx\"}"] {
            assert_eq!(names.find(frame.as_bytes()), None, "{frame}");
        }
        assert_eq!(names.find_name(b"btcusd\""), None);
        assert_eq!(names.find_name(b""), None);
        assert_eq!(names.name(9), b"");
        assert_eq!(Names::new([], "").find(b"btcusd"), None);
    }
}
