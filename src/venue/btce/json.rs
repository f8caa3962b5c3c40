//! JSON written by hand: numbers of this dialect are bare digits, which no float type holds.

use std::fmt;

use serde_json::Value;

/// An object under construction.
#[derive(Debug)]
pub(super) struct Object(String);

impl Object {
    pub(super) fn new() -> Self {
        Self("{".to_owned())
    }

    /// Appends a value that is JSON already: a number, a list, another object.
    pub(super) fn put(mut self, name: &str, value: impl fmt::Display) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0 += &format!("{}:{value}", string(name));
        self
    }

    pub(super) fn text(self, name: &str, value: &str) -> Self {
        self.put(name, string(value))
    }

    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// Writes a list of values that are JSON already.
pub(super) fn list<T: fmt::Display>(values: impl IntoIterator<Item = T>) -> String {
    let mut text = "[".to_owned();
    for value in values {
        if text.len() > 1 {
            text.push(',');
        }
        text += &value.to_string();
    }
    text.push(']');
    text
}

/// Writes a JSON string.
pub(super) fn string(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_bare_and_texts_in_quotes() {
        let inner = Object::new().put("a", 1).text("b", "say \"x\"").end();
        assert_eq!(inner, r#"{"a":1,"b":"say \"x\""}"#);
        let rows = list([inner, list::<u8>([]), list([1, 2])]);
        assert_eq!(rows, r#"[{"a":1,"b":"say \"x\""},[],[1,2]]"#);
        assert_eq!(Object::new().end(), "{}");
    }
}
