//! Reads every `[[venue]]`.

use toml::de::DeValue;

use crate::config::checked::{Known, Venue};
use crate::config::fault::Reason;
use crate::config::node::path;
use crate::config::raw::{Reader, Section};
use crate::config::{PAIRS_MAX, VENUES_MAX, scalar};
use crate::model::currency::Currency;
use crate::model::instrument::VenueId;
use crate::model::market::{FeeIn, Rules};
use crate::model::number::{Price, Quantity};

pub(super) fn read<'t>(
    reader: &mut Reader<'t>,
    root: &Section<'t>,
    known: &Known<'_>,
) -> Vec<Venue> {
    let mut venues: Vec<Venue> = Vec::new();
    for section in reader.sections(root, "venue", VENUES_MAX) {
        let Some(venue) = venue(reader, &section, known) else {
            continue;
        };
        if venues.iter().any(|listed| listed.id == venue.id) {
            reader.refuse_key(&section, "name", Reason::Twice(venue.id.to_string()));
            continue;
        }
        venues.push(venue);
    }
    venues
}

fn venue<'t>(reader: &mut Reader<'t>, section: &Section<'t>, known: &Known<'_>) -> Option<Venue> {
    let id = reader.value(section, "name", scalar::venue_name);
    let dialect = reader.value(section, "dialect", |value| dialect(value, known));
    let http = reader.value(section, "http", scalar::http_base);
    let ws = reader.value(section, "ws", scalar::ws_url);
    let key_file = reader.value(section, "key_file", path);
    let pairs = reader.list(section, "pairs", PAIRS_MAX, scalar::pair);
    let of_dialect = dialect.as_ref().map(|(_, rules)| *rules);
    let rules = rules(reader, section, of_dialect);
    let paper = reader.table(section, "paper", currency_key, |currency, value| {
        scalar::amount(value, *currency)
    });
    if pairs.is_empty() && section.get("pairs").is_some_and(is_empty_list) {
        let example = "[\"BTC/USD\"]";
        reader.refuse_key(section, "pairs", Reason::Missing { example });
    }
    let (dialect, _) = dialect?;
    Some(Venue {
        id: id?,
        dialect,
        http: http?,
        ws: ws?,
        key_file,
        pairs,
        rules: rules?,
        paper,
    })
}

fn is_empty_list(value: &toml::Spanned<DeValue<'_>>) -> bool {
    let list = value.get_ref().as_array();
    list.is_some_and(|list| list.is_empty())
}

fn dialect(value: &DeValue<'_>, known: &Known<'_>) -> Result<(String, Rules), Reason> {
    let found = scalar::text(value)?;
    known
        .dialects
        .iter()
        .find(|dialect| dialect.name == found)
        .map(|dialect| (found.to_owned(), dialect.rules))
        .ok_or_else(|| Reason::Unknown {
            what: "dialect",
            found: found.to_owned(),
            known: known
                .dialects
                .iter()
                .map(|dialect| dialect.name.to_owned())
                .collect(),
        })
}

/// Reads what the file overrides of the dialect's rules.
fn rules<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    of_dialect: Option<Rules>,
) -> Option<Rules> {
    let taker_fee_ppm = reader.value(section, "taker_fee", scalar::percent);
    let tick: Option<Price> = reader.value(section, "tick", scalar::price);
    let lot: Option<Quantity> = reader.value(section, "lot", scalar::positive);
    let quantity_min: Option<Quantity> = reader.value(section, "quantity_min", scalar::positive);
    let fee_in = reader.value(section, "fee_in", scalar::fee_in);
    let of_dialect = of_dialect?;
    let rules = Rules {
        tick: tick.unwrap_or(of_dialect.tick),
        lot: lot.unwrap_or(of_dialect.lot),
        quantity_min: quantity_min.unwrap_or(of_dialect.quantity_min),
        taker_fee_ppm: taker_fee_ppm.unwrap_or(of_dialect.taker_fee_ppm),
        fee_in: fee_in.unwrap_or(of_dialect.fee_in),
    };
    let fee_in = match rules.fee_in {
        FeeIn::Received => "received".to_owned(),
        FeeIn::Quote => "quote".to_owned(),
    };
    for (key, value) in [
        ("taker_fee", scalar::percent_text(rules.taker_fee_ppm)),
        ("tick", rules.tick.to_string()),
        ("lot", rules.lot.to_string()),
        ("quantity_min", rules.quantity_min.to_string()),
        ("fee_in", fee_in),
    ] {
        reader.settle(section, key, format!("{value:?}"));
    }
    Some(rules)
}

/// Reads a currency that stands as a key.
pub(super) fn currency_key(word: &str) -> Result<Currency, Reason> {
    word.parse().map_err(|_| Reason::Value {
        found: word.to_owned(),
        wanted: "a currency of one to eight capitals",
        example: "BTC",
    })
}

/// Reads the name of a venue that this file must have.
pub(super) fn listed_venue(value: &DeValue<'_>, venues: &[Venue]) -> Result<VenueId, Reason> {
    let id = scalar::venue_name(value)?;
    if venues.iter().any(|venue| venue.id == id) {
        return Ok(id);
    }
    Err(Reason::Unknown {
        what: "venue",
        found: id.to_string(),
        known: venues.iter().map(|venue| venue.id.to_string()).collect(),
    })
}
