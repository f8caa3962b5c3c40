//! For tests: frames that were damaged, and frames that say the same in other words.

use serde_json::Value;

use crate::model::random::Random;

/// Changes, inserts or removes a few bytes.
pub(super) fn damaged(frame: &str, random: &mut Random) -> Vec<u8> {
    const LIKELY: &[u8] = b"0123456789.,:\"[]{}- \\eau";
    let mut frame = frame.as_bytes().to_vec();
    for _ in 0..=random.below(2) {
        let at = index(random, frame.len());
        let byte = LIKELY[index(random, LIKELY.len())];
        match random.below(5) {
            0 | 1 => frame[at] = byte,
            2 => frame[at] = u8::try_from(random.below(256)).unwrap_or_default(),
            3 => frame.insert(at, byte),
            _ => drop(frame.remove(at)),
        }
    }
    frame
}

/// Writes the same JSON with its fields in another order and other space between.
pub(super) fn respelled(frame: &str, random: &mut Random) -> String {
    let value: Value = serde_json::from_str(frame).unwrap_or_default();
    let mut text = String::new();
    write(&value, random, &mut text);
    text
}

fn write(value: &Value, random: &mut Random, text: &mut String) {
    space(random, text);
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            for at in (1..fields.len()).rev() {
                fields.swap(at, index(random, at + 1));
            }
            text.push('{');
            for (at, (name, value)) in fields.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                space(random, text);
                text.push_str(&format!("{name:?}"));
                space(random, text);
                text.push(':');
                write(value, random, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(item, random, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
    space(random, text);
}

fn space(random: &mut Random, text: &mut String) {
    text.push_str(["", "", "", " ", "\n\t", "\r "][index(random, 6)]);
}

fn index(random: &mut Random, len: usize) -> usize {
    let below = u64::try_from(len).unwrap_or(1).max(1);
    usize::try_from(random.below(below)).unwrap_or_default()
}
