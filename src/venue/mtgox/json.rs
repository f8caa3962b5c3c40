//! JSON as the venue writes it: ASCII only, floats by their digits.

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::venue::mtgox::money;

/// A JSON number given by its digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bare(pub(super) String);

impl Bare {
    /// Writes units of 1e-8 as one of the venue's floats.
    pub(super) fn float(units: i64) -> Self {
        Self(money::float(units))
    }
}

impl Serialize for Bare {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = RawValue::from_string(self.0.clone()).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// A document that is written already.
#[derive(Clone, Debug)]
pub(super) struct Written(Box<RawValue>);

impl Written {
    /// Takes what [`json_of`] wrote; anything else becomes `null`.
    pub(super) fn new(document: Vec<u8>) -> Self {
        let text = String::from_utf8(document).unwrap_or_default();
        Self(RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Writes a document; what is not ASCII is escaped, as the venue did it.
pub(super) fn json_of(value: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_string(value).expect("these shapes have string keys and no floats");
    if text.is_ascii() {
        return text.into_bytes();
    }
    let mut bytes = Vec::with_capacity(text.len() + 64);
    let mut pair = [0; 2];
    for letter in text.chars() {
        match u8::try_from(letter) {
            Ok(byte) if byte.is_ascii() => bytes.push(byte),
            Ok(_) | Err(_) => {
                for half in letter.encode_utf16(&mut pair) {
                    bytes.extend_from_slice(format!("\\u{half:04x}").as_bytes());
                }
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ascii_is_escaped() {
        assert_eq!(json_of(&"1\u{a0}BTC"), b"\"1\\u00a0BTC\"");
        assert_eq!(json_of(&"\u{1f600}"), b"\"\\ud83d\\ude00\"");
        assert_eq!(json_of(&Bare::float(1_000)), b"1.0e-5");
        assert_eq!(json_of(&Written::new(b"[1]".to_vec())), b"[1]");
        assert_eq!(json_of(&Written::new(b"]".to_vec())), b"null");
    }
}
