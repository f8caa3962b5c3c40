//! Public documents as they stand for two seconds.

use std::collections::BTreeMap;

use crate::model::time::{Span, Time};

/// Documents by what was asked for.
#[derive(Debug, Default)]
pub(super) struct Documents {
    written: BTreeMap<String, Document>,
}

#[derive(Debug)]
struct Document {
    at: Time,
    body: String,
}

impl Documents {
    /// Documents that are kept; one more takes the place of the oldest.
    const DOCUMENTS_MAX: usize = 64;

    /// Returns a document that is younger than `cached`.
    pub(super) fn find(&self, asked: &str, cached: Span, now: Time) -> Option<&str> {
        let document = self.written.get(asked)?;
        (now < document.at + cached).then_some(document.body.as_str())
    }

    pub(super) fn keep(&mut self, asked: String, body: String, now: Time) {
        if self.written.len() >= Self::DOCUMENTS_MAX && !self.written.contains_key(&asked) {
            let oldest = self.written.iter().min_by_key(|(_, known)| known.at);
            if let Some(oldest) = oldest.map(|(asked, _)| asked.clone()) {
                self.written.remove(&oldest);
            }
        }
        self.written.insert(asked, Document { at: now, body });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_stands_for_its_time_and_the_oldest_goes_first() {
        let mut documents = Documents::default();
        let cached = Span::secs(2);
        for step in 0..=64 {
            documents.keep(step.to_string(), "{}".to_owned(), Time(step));
        }
        assert_eq!(documents.find("0", cached, Time(64)), None);
        assert_eq!(documents.find("1", cached, Time(64)), Some("{}"));
        let last = Time(1) + cached - Span(1);
        assert_eq!(documents.find("1", cached, last), Some("{}"));
        assert_eq!(documents.find("1", cached, Time(1) + cached), None);
        assert_eq!(documents.written.len(), 64);
    }
}
