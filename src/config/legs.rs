//! Reads `[arbitrage]` and `[execution]`.

use toml::de::DeValue;

use crate::config::checked::Venue;
use crate::config::fault::Reason;
use crate::config::raw::{Reader, Section};
use crate::config::venues::listed_venue;
use crate::config::{ENTRIES_MAX, scalar};
use crate::execution::TransferRoute;
use crate::model::currency::Currency;
use crate::model::instrument::Location;
use crate::model::time::Span;
use crate::{arbitrage, execution};

pub(super) fn read_arbitrage<'t>(
    reader: &mut Reader<'t>,
    root: &Section<'t>,
    venues: &[Venue],
) -> Option<arbitrage::Settings> {
    let section = reader.section(root, "arbitrage");
    let edge_min_ppm = reader.value(&section, "edge_min", scalar::percent);
    let drift_ppm_per_s = reader.value(&section, "drift_per_s", scalar::percent);
    let mut frictions: Vec<arbitrage::Friction> = Vec::new();
    for section in reader.sections(&section, "friction", ENTRIES_MAX) {
        let venue = reader.value(&section, "venue", |value| listed_venue(value, venues));
        let currency = reader.value(&section, "currency", scalar::currency);
        let ppm = reader.value(&section, "cost", scalar::percent);
        let (Some(venue), Some(currency), Some(ppm)) = (venue, currency, ppm) else {
            continue;
        };
        let is_same =
            |other: &arbitrage::Friction| (other.venue, other.currency) == (venue, currency);
        if frictions.iter().any(is_same) {
            let twice = format!("{currency} at {venue}");
            reader.refuse_key(&section, "venue", Reason::Twice(twice));
            continue;
        }
        frictions.push(arbitrage::Friction {
            venue,
            currency,
            ppm,
        });
    }
    Some(arbitrage::Settings {
        edge_min_ppm: edge_min_ppm?,
        drift_ppm_per_s: drift_ppm_per_s?,
        frictions,
    })
}

pub(super) fn read_execution<'t>(
    reader: &mut Reader<'t>,
    root: &Section<'t>,
    venues: &[Venue],
) -> Option<execution::Settings> {
    let section = reader.section(root, "execution");
    let leg_deadline = reader.value(&section, "leg_deadline", short);
    let unknown_after = reader.value(&section, "unknown_after", short);
    let recovery_reach_ppm = reader.value(&section, "recovery_reach", scalar::percent);
    let recovery_deadline = reader.value(&section, "recovery_deadline", |value| {
        scalar::span(value, Span::secs(3_600))
    });
    let paper_latency_min = reader.value(&section, "paper_latency_min", short);
    let acquire_for_offers = reader.value(&section, "acquire_for_offers", scalar::boolean);
    let transfers = reader
        .sections(&section, "transfer", ENTRIES_MAX)
        .iter()
        .filter_map(|section| transfer(reader, section, venues))
        .collect();
    Some(execution::Settings {
        leg_deadline: leg_deadline?,
        unknown_after: unknown_after?,
        recovery_reach_ppm: recovery_reach_ppm?,
        recovery_deadline: recovery_deadline?,
        paper_latency_min: paper_latency_min?,
        transfers,
        acquire_for_offers: acquire_for_offers?,
    })
}

fn short(value: &DeValue<'_>) -> Result<Span, Reason> {
    scalar::span(value, Span::MINUTE)
}

fn transfer<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    venues: &[Venue],
) -> Option<TransferRoute> {
    let currency = reader.value(section, "currency", scalar::currency);
    let from = reader.value(section, "from", |value| place(value, venues));
    let to = reader.value(section, "to", |value| place(value, venues));
    let takes = reader.value(section, "takes", |value| {
        scalar::span(value, Span::DAY.times(TRANSFER_DAYS_MAX))
    });
    let of = currency.unwrap_or(Currency::BTC);
    let cost = reader.value(section, "cost", |value| scalar::amount(value, of));
    if from.is_some() && from == to {
        let why = "the transfer ends where it begins".to_owned();
        let remedy = "name two different places";
        reader.refuse_key(section, "to", Reason::Conflict { why, remedy });
    }
    Some(TransferRoute {
        currency: currency?,
        from: from?,
        to: to?,
        takes: takes?,
        cost: cost?,
    })
}

/// A month covers the slowest bank.
const TRANSFER_DAYS_MAX: u64 = 31;

/// Reads a location; a venue must be one of this file.
fn place(value: &DeValue<'_>, venues: &[Venue]) -> Result<Location, Reason> {
    match scalar::location(value)? {
        Location::Venue(_) => listed_venue(value, venues).map(Location::Venue),
        elsewhere @ (Location::Wallet | Location::Rail(_)) => Ok(elsewhere),
    }
}
