//! Reading frames whose fields come in any order and spacing, without building anything.
//!
//! It takes less than JSON allows: strings without escapes, numbers without exponents. What it does
//! not take is left to serde_json, so that it never decides alone that a frame is wrong.

use crate::model::number::{Price, Quantity};
use crate::venue::scan::{Scan, text_len};

/// Brackets that may stand in each other where a value is skipped.
const DEPTH_MAX: usize = 64;

/// Where one frame is being read. Every step returns `None` where something else stands there.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    pub const fn new(frame: &'a [u8]) -> Self {
        Self { rest: frame }
    }

    /// Reads an object: `field` reads the value of each name, or skips it.
    pub fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, &'a [u8]) -> Option<()>,
    ) -> Option<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            return self.take(b'}');
        }
        loop {
            let name = self.text()?;
            self.take(b':')?;
            field(self, name)?;
            match self.peek()? {
                b',' => self.take(b',')?,
                _ => return self.take(b'}'),
            }
        }
    }

    /// Reads a list: `item` reads each of its items.
    pub fn list(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        if self.peek()? == b']' {
            return self.take(b']');
        }
        loop {
            item(self)?;
            match self.peek()? {
                b',' => self.take(b',')?,
                _ => return self.take(b']'),
            }
        }
    }

    /// Reads the comma between two items of a list of known length.
    pub fn comma(&mut self) -> Option<()> {
        self.take(b',')
    }

    /// Reads the bracket that opens a list of known length.
    pub fn open(&mut self) -> Option<()> {
        self.take(b'[')
    }

    /// Reads the bracket that closes one.
    pub fn close(&mut self) -> Option<()> {
        self.take(b']')
    }

    /// Reads a string.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let mut scan = Scan::new(self.rest);
        let text = scan.text()?;
        self.rest = scan.rest();
        Some(text)
    }

    /// Reads a number, bare or in a string, as its digits stand.
    pub fn digits(&mut self) -> Option<&'a [u8]> {
        if self.peek()? == b'"' {
            return self.text();
        }
        let len = self.rest.iter().position(is_end_of_digits)?;
        let (digits, rest) = self.rest.split_at(len);
        self.rest = rest;
        Some(digits)
    }

    /// Reads a number, bare or in a string, in units of 1e-8.
    pub fn units(&mut self) -> Option<i64> {
        let mut scan = Scan::new(self.digits()?);
        let units = scan.units()?;
        scan.end()?;
        Some(units)
    }

    pub fn price(&mut self) -> Option<Price> {
        self.units().map(Price)
    }

    pub fn quantity(&mut self) -> Option<Quantity> {
        self.units().map(Quantity)
    }

    /// Reads a whole number, bare or in a string.
    pub fn whole(&mut self) -> Option<u64> {
        let mut scan = Scan::new(self.digits()?);
        let whole = scan.whole()?;
        scan.end()?;
        Some(whole)
    }

    /// Reads over one value of any kind.
    pub fn skip(&mut self) -> Option<()> {
        self.skip_space();
        let mut depth = 0_usize;
        let mut rest = self.rest;
        loop {
            let (first, behind) = rest.split_first()?;
            rest = behind;
            match first {
                b'"' => {
                    let len = text_len(rest)?;
                    let (end, behind) = rest[len..].split_first()?;
                    if *end == b'\\' {
                        return None;
                    }
                    rest = behind;
                }
                b'{' | b'[' => {
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return None;
                    }
                }
                b'}' | b']' => depth = depth.checked_sub(1)?,
                b',' | b':' if depth > 0 => continue,
                b',' | b':' => return None,
                b' ' | b'\n' | b'\r' | b'\t' => continue,
                _ => {
                    let len = rest.iter().position(is_end_of_digits)?;
                    rest = &rest[len..];
                }
            }
            if depth == 0 {
                self.rest = rest;
                return Some(());
            }
        }
    }

    /// Only space is left.
    pub fn end(&mut self) -> Option<()> {
        self.skip_space();
        self.rest.is_empty().then_some(())
    }

    /// Returns the next byte that is no space, without reading it.
    pub fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.rest.first().copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_space();
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        (*first == byte).then_some(())
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some((b' ' | b'\n' | b'\r' | b'\t', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }
}

#[inline]
fn is_end_of_digits(byte: &u8) -> bool {
    matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Vec<(i64, i64)>, u64)> {
        let (mut levels, mut number) = (Vec::new(), 0);
        let mut walk = Walk::new(text.as_bytes());
        walk.object(|walk, name| match name {
            b"b" => walk.list(|walk| {
                walk.open()?;
                let price = walk.units()?;
                walk.comma()?;
                levels.push((price, walk.units()?));
                walk.close()
            }),
            b"u" => {
                number = walk.whole()?;
                Some(())
            }
            _ => walk.skip(),
        })?;
        walk.end()?;
        Some((levels, number))
    }

    #[test]
    fn fields_come_in_any_order_and_spacing() {
        let expected = Some((vec![(100_000_000, 250_000_000)], 7));
        assert_eq!(read(r#"{"u":7,"b":[["1","2.5"]]}"#), expected);
        assert_eq!(
            read(" {\n\"b\" : [ [ 1.0 , \"2.5\" ] ] ,\t\"u\" : \"7\" } \n"),
            expected
        );
        let other = r#"{"x":{"y":[1,{"z":"]"}],"n":null},"b":[["1","2.5"]],"t":true,"u":7}"#;
        assert_eq!(read(other), expected);
        assert_eq!(read("{}"), Some((Vec::new(), 0)));
        assert_eq!(read(r#"{"b":[]}"#), Some((Vec::new(), 0)));
    }

    #[test]
    fn what_it_does_not_take_is_nothing() {
        let frame = r#"{"x":{"y":[1]},"b":[["1","2.5"]],"u":7}"#;
        for cut in 0..frame.len() {
            assert_eq!(read(&frame[..cut]), None, "{}", &frame[..cut]);
        }
        let deep = format!("{{\"x\":{}1{}}}", "[".repeat(65), "]".repeat(65));
        for text in [
            r#"{"u":7}}"#,
            r#"{"u":7,}"#,
            r#"{"u":1e3}"#,
            r#"{"u\u0041":7}"#,
            r#"{"x":,"u":7}"#,
            r#"{"b":[["1","2.5","3"]]}"#,
            deep.as_str(),
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
