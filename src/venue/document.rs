//! What a recorded document or frame is, read by the decoders that trade.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::model::market::Side;
use crate::model::number::Price;
use crate::venue::DecodeError;
use crate::venue::literal::{Excess, Literal, countable};

/// The kind of what the trading half of an exchange will read one day: told apart from everything
/// else, no further.
pub const NOT_BUILT: &str = "answer of a kind not built yet";

/// A document that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub kind: &'static str,
    /// Rows of a list, levels of a book.
    pub rows: usize,
    /// Best bid and best ask, where it has them.
    pub best: Option<(Price, Price)>,
    /// What the exchange says instead of an answer.
    pub refusal: Option<String>,
}

impl Document {
    pub fn new(kind: &'static str, rows: usize) -> Self {
        Self {
            kind,
            rows,
            best: None,
            refusal: None,
        }
    }

    pub fn refusal(text: &str) -> Self {
        /// Letters of a refusal that are shown.
        const SHOWN_MAX: usize = 120;
        let shown: String = text.chars().take(SHOWN_MAX).collect();
        Self {
            refusal: Some(shown),
            ..Self::new("refusal", 0)
        }
    }

    pub fn with_best(mut self, bid: Price, ask: Price) -> Self {
        self.best = Some((bid, ask));
        self
    }

    /// Takes the best of a book, unless a side of it is empty.
    pub fn with_best_of(self, bid: Option<Price>, ask: Option<Price>) -> Self {
        Self {
            best: bid.zip(ask).or(self.best),
            ..self
        }
    }
}

impl fmt::Display for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.kind)?;
        if self.rows > 0 {
            write!(formatter, ", {} rows", self.rows)?;
        }
        if let Some((bid, ask)) = self.best {
            write!(formatter, ", bid {bid}, ask {ask}")?;
        }
        match &self.refusal {
            Some(text) => write!(formatter, ": {text}"),
            None => Ok(()),
        }
    }
}

/// Splits a recording into what was received: a whole document, or one of each line, bare or in the
/// container of a recorder (`t` with `data`, or `url` with `body`). What only describes the recording
/// is left out.
pub fn pieces_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let is_json = |bytes: &[u8]| serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    if is_json(bytes) {
        return contained(bytes).into_iter().collect();
    }
    let lines: Vec<&[u8]> = bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.iter().all(|line| is_json(line)) {
        return lines.into_iter().filter_map(contained).collect();
    }
    vec![bytes.to_vec()]
}

/// What a recorder wrote of one message.
#[derive(Default, Deserialize)]
struct Recorded {
    #[serde(default)]
    t: Option<String>,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    body: Option<String>,
}

fn contained(line: &[u8]) -> Option<Vec<u8>> {
    let recorded: Recorded = serde_json::from_slice(line).unwrap_or_default();
    match (recorded.t.as_deref(), recorded.data) {
        (Some("recv" | "http"), Some(data)) => return Some(data.into_bytes()),
        (Some("header" | "connect" | "send"), _) => return None,
        _ => (),
    }
    match (recorded.url, recorded.body) {
        (Some(_), Some(body)) => Some(body.into_bytes()),
        _ => Some(line.to_vec()),
    }
}

/// The names of an object's fields, with their values unread.
pub type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Reads an object's fields, or `None` where the text is no object.
pub fn fields_of(text: &str) -> Option<Fields<'_>> {
    serde_json::from_str(text).ok()
}

/// Reads the items of a list, or `None` where the text is none.
pub fn items_of(text: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text).ok()
}

/// Reads a text as one type, for its faults.
///
/// # Errors
/// Where and why it is not of that type.
pub fn read<'a, T: Deserialize<'a>>(
    text: &'a (impl AsRef<[u8]> + ?Sized),
) -> Result<T, DecodeError> {
    Ok(serde_json::from_slice(text.as_ref())?)
}

/// Returns true for whole JSON of whatever shape.
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Reads every level of a side, price and quantity, in any order; returns its best price. A bid is
/// rounded down and an ask up; prices beyond all counting are out of everybody's reach and left out.
///
/// # Errors
/// A price or a quantity is no number.
pub fn best<'a>(
    side: Side,
    rows: impl Iterator<Item = (&'a Literal<'a>, &'a Literal<'a>)>,
) -> Result<Option<Price>, DecodeError> {
    let excess = match side {
        Side::Bid => Excess::Down,
        Side::Ask => Excess::Up,
    };
    let number = |literal: &Literal<'_>, excess| {
        countable(literal.units(excess)).map_err(|_| DecodeError::malformed("level"))
    };
    let mut best: Option<Price> = None;
    for (price, quantity) in rows {
        let (price, _) = (number(price, excess)?, number(quantity, Excess::Down)?);
        let Some(price) = price.map(Price) else {
            continue;
        };
        best = Some(match (best, side) {
            (Some(best), Side::Bid) => best.max(price),
            (Some(best), Side::Ask) => best.min(price),
            (None, _) => price,
        });
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (Literal<'static>, Literal<'static>);

    fn rows(text: &'static str) -> Vec<Row> {
        serde_json::from_str(text).unwrap()
    }

    fn of<'a>(rows: &'a [Row]) -> impl Iterator<Item = (&'a Literal<'a>, &'a Literal<'a>)> {
        rows.iter().map(|(price, quantity)| (price, quantity))
    }

    #[test]
    fn the_best_of_a_side_is_found_in_any_order_and_rounded_against_its_taker() {
        let some = rows(r#"[["2","1"],["3.000000001","1"],["1.000000001","0.0000000001"]]"#);
        assert_eq!(best(Side::Bid, of(&some)), Ok(Some(Price(300_000_000))));
        assert_eq!(best(Side::Ask, of(&some)), Ok(Some(Price(100_000_001))));
        assert_eq!(best(Side::Bid, of(&[])), Ok(None));
        let beyond = rows(r#"[["99999999999999","1"],["2","99999999999999"]]"#);
        assert_eq!(best(Side::Bid, of(&beyond)), Ok(Some(Price(200_000_000))));
        for text in [r#"[["1e","1"]]"#, r#"[["1","-"]]"#] {
            let said = best(Side::Ask, of(&rows(text)));
            assert_eq!(said, Err(DecodeError::malformed("level")), "{text}");
        }
    }

    #[test]
    fn a_book_with_an_empty_side_changes_no_best() {
        let (bid, ask) = (Price(1), Price(2));
        let document = Document::new("book", 1).with_best_of(Some(bid), None);
        assert_eq!(document.best, None);
        let document = document.with_best_of(Some(bid), Some(ask));
        assert_eq!(
            document.with_best_of(None, Some(bid)).best,
            Some((bid, ask))
        );
    }
}
