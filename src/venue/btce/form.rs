//! Form fields of queries and bodies, decoded.

use data_encoding::HEXLOWER_PERMISSIVE;

/// The fields of one request, in order.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Fields of one request; what follows is not read.
    const FIELDS_MAX: usize = 64;

    /// Reads `name=value&name=value`; what is no text is left out.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let fields = bytes.split(|byte| *byte == b'&');
        let fields = fields.filter(|field| !field.is_empty());
        let read = |field: &[u8]| {
            let at = field.iter().position(|byte| *byte == b'=');
            let (name, value) = match at {
                Some(at) => (&field[..at], &field[at + 1..]),
                None => (field, &[][..]),
            };
            Some((decoded(name)?, decoded(value)?))
        };
        Self(fields.filter_map(read).take(Self::FIELDS_MAX).collect())
    }

    /// Returns a field's value, the last one where it is named twice, as PHP reads it.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter().rev();
        let found = fields.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns a field's value where it is there and not empty.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|value| !value.is_empty())
    }
}

/// Takes the form encoding off; `None` where what is left is no UTF-8 or an escape is broken.
fn decoded(bytes: &[u8]) -> Option<String> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'+' => plain.push(b' '),
            b'%' => {
                let digits = rest.get(..2)?;
                plain.extend(HEXLOWER_PERMISSIVE.decode(digits).ok()?);
                rest = &rest[2..];
            }
            other => plain.push(*other),
        }
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_and_found_by_name() {
        let form = Form::parse(b"a=1&b=x%2Fy+z%c3%a9&&c&d=&a=2&e=%zz&f=%f");
        assert_eq!(form.value("a"), Some("2"));
        assert_eq!(form.value("b"), Some("x/y z\u{e9}"));
        assert_eq!(form.value("c"), Some(""));
        assert_eq!(form.filled("d"), None);
        assert_eq!((form.value("e"), form.value("f")), (None, None));
        let many = "x=1&".repeat(100) + "y=2";
        assert_eq!(Form::parse(many.as_bytes()).value("y"), None);
    }
}
