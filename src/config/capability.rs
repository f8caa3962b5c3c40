//! The capability file: what makes real orders possible, for one node, some venues and a while.

use thiserror::Error;
use toml::de::DeValue;

use crate::config::VENUES_MAX;
use crate::config::fault::{ConfigFaults, Reason};
use crate::config::raw::{Reader, document};
use crate::config::scalar;
use crate::model::ids::NodeId;
use crate::model::instrument::VenueId;
use crate::model::time::Time;

/// Leave to trade live, as the owner wrote it by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    pub node: NodeId,
    pub venues: Vec<VenueId>,
    /// The last UTC day of the leave, counted from 1970.
    pub last_day: u64,
}

/// Why a capability file does not allow live orders.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CapabilityError {
    #[error(transparent)]
    Faults(#[from] ConfigFaults),
    #[error("the capability names node {named}, and this is {this}; write one for this node")]
    OtherNode { named: NodeId, this: NodeId },
    #[error("the capability has expired; set `expires` to a coming day")]
    Expired,
    #[error("the capability lists no venue; name those that may see real orders in `venues`")]
    NoVenue,
}

impl Capability {
    /// Reads a capability file and grants it, if it is meant for this node and this day.
    ///
    /// # Errors
    /// What is wrong with the file, or why it does not apply.
    pub fn parse(text: &str, file: &str, node: NodeId, now: Time) -> Result<Self, CapabilityError> {
        let capability = Self::read(text, file)?;
        if capability.node != node {
            return Err(CapabilityError::OtherNode {
                named: capability.node,
                this: node,
            });
        }
        if now.day() > capability.last_day {
            return Err(CapabilityError::Expired);
        }
        if capability.venues.is_empty() {
            return Err(CapabilityError::NoVenue);
        }
        Ok(capability)
    }

    pub fn allows(&self, venue: VenueId) -> bool {
        self.venues.contains(&venue)
    }

    fn read(text: &str, file: &str) -> Result<Self, ConfigFaults> {
        let document = document(text, file)?;
        let mut reader = Reader::new(text, file);
        let section = reader.open("live", document.get_ref());
        let node = reader.value(&section, "node", node_id);
        let venues = reader.list(&section, "venues", VENUES_MAX, scalar::venue_name);
        let last_day = reader.value(&section, "expires", day);
        match (node, last_day) {
            (Some(node), Some(last_day)) if reader.faults.is_empty() => Ok(Self {
                node,
                venues,
                last_day,
            }),
            (_, _) => Err(ConfigFaults::sorted(reader.faults)),
        }
    }
}

fn node_id(value: &DeValue<'_>) -> Result<NodeId, Reason> {
    let written = scalar::text(value)?;
    NodeId::parse(written).ok_or_else(|| Reason::Value {
        found: written.to_owned(),
        wanted: "a node's UUID",
        example: "what `expressnet id` prints",
    })
}

/// Reads `"YYYY-MM-DD"` as the number of a day since 1970.
fn day(value: &DeValue<'_>) -> Result<u64, Reason> {
    let written = scalar::text(value)?;
    day_of(written).ok_or_else(|| Reason::Value {
        found: written.to_owned(),
        wanted: "a day of the years 1970 to 9999",
        example: "\"2030-01-31\"",
    })
}

fn day_of(text: &str) -> Option<u64> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let lengths = (year.len(), month.len(), day.len());
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some()
        || lengths != (4, 2, 2)
        || ![year, month, day].map(is_digits).iter().all(|is| *is)
    {
        return None;
    }
    let (year, month, day): (u64, u64, u64) =
        (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=month_days(year, month)).contains(&day) {
        return None;
    }
    let years: u64 = (1970..year).map(year_days).sum();
    let months: u64 = (1..month).map(|month| month_days(year, month)).sum();
    Some(years + months + day - 1)
}

fn year_days(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([7; 16]);

    fn check(expires: &str, venues: &str, now: Time) -> Result<Capability, CapabilityError> {
        let text = format!("node = \"{NODE}\"\nvenues = {venues}\nexpires = \"{expires}\"\n");
        Capability::parse(&text, "live.toml", NODE, now)
    }

    #[test]
    fn days_are_counted_from_1970_over_leap_years() {
        for (text, expected) in [
            ("1970-01-01", Some(0)),
            ("1972-03-01", Some(790)),
            ("2000-02-29", Some(11_016)),
            ("2026-11-22", Some(20_779)),
            ("2026-02-29", None),
            ("2026-13-01", None),
            ("2026-1-1", None),
            ("+026-01-01", None),
            ("2026-01-01-", None),
        ] {
            assert_eq!(day_of(text), expected, "{text}");
        }
    }

    #[test]
    fn leave_ends_with_its_last_day() {
        let last = Time(790 * 86_400_000_000_000);
        assert!(check("1972-03-01", "[\"alpha\"]", last).is_ok());
        let next = Time(last.0 + 86_400_000_000_000);
        let expired = check("1972-03-01", "[\"alpha\"]", next);
        assert_eq!(expired, Err(CapabilityError::Expired));
    }

    #[test]
    fn leave_is_for_one_node_and_for_named_venues() {
        let other = NodeId([8; 16]);
        let text = format!("node = \"{other}\"\nvenues = [\"alpha\"]\nexpires = \"2030-01-01\"\n");
        let refused = Capability::parse(&text, "live.toml", NODE, Time::ZERO);
        assert!(matches!(refused, Err(CapabilityError::OtherNode { .. })));
        let none = check("2030-01-01", "[]", Time::ZERO);
        assert_eq!(none, Err(CapabilityError::NoVenue));
        let granted = check("2030-01-01", "[\"alpha\"]", Time::ZERO).unwrap();
        assert!(granted.allows("alpha".parse().unwrap()));
        assert!(!granted.allows("beta".parse().unwrap()));
    }

    #[test]
    fn every_fault_of_the_file_is_told_at_once() {
        let refused = Capability::parse("nodes = 1\nexpires = 5\n", "live.toml", NODE, Time::ZERO);
        let Err(CapabilityError::Faults(faults)) = refused else {
            panic!("granted: {refused:?}");
        };
        assert_eq!(faults.faults.len(), 4, "{faults}");
    }
}
