//! Reads every `[[venue]]`.

use toml::de::DeValue;

use crate::config::checked::{Known, Venue};
use crate::config::fault::Reason;
use crate::config::node::path;
use crate::config::raw::{Reader, Section};
use crate::config::{PAIRS_MAX, VENUES_MAX, scalar};
use crate::model::currency::Currency;
use crate::model::instrument::{Pair, VenueId};
use crate::model::market::{FeeIn, Rules};
use crate::model::number::{Price, Quantity};
use crate::venue::Dialect;

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
    let ca_file = reader.value(section, "ca_file", path);
    let key_file = reader.value(section, "key_file", path);
    let pairs = reader.list(section, "pairs", PAIRS_MAX, scalar::pair);
    let rules = rules(reader, section, dialect, &pairs);
    let paper = reader.table(section, "paper", currency_key, |currency, value| {
        scalar::amount(value, *currency)
    });
    if pairs.is_empty() && section.get("pairs").is_some_and(is_empty_list) {
        let example = "[\"BTC/USD\"]";
        reader.refuse_key(section, "pairs", Reason::Missing { example });
    }
    let dialect = dialect?;
    if ws.is_none() && section.get("ws").is_none() && !dialect.card().is_pollable {
        let example = "\"ws://127.0.0.1:7501/ws\"";
        reader.refuse_key(section, "ws", Reason::Missing { example });
        return None;
    }
    Some(Venue {
        id: id?,
        dialect: dialect.name().to_owned(),
        http: http?,
        ws,
        ca_file,
        key_file,
        pairs,
        rules,
        paper,
    })
}

fn is_empty_list(value: &toml::Spanned<DeValue<'_>>) -> bool {
    let list = value.get_ref().as_array();
    list.is_some_and(|list| list.is_empty())
}

fn dialect(value: &DeValue<'_>, known: &Known<'_>) -> Result<&'static dyn Dialect, Reason> {
    let found = scalar::text(value)?;
    known
        .dialects
        .iter()
        .copied()
        .find(|dialect| dialect.name() == found)
        .ok_or_else(|| Reason::Unknown {
            what: "dialect",
            found: found.to_owned(),
            known: known
                .dialects
                .iter()
                .map(|dialect| dialect.name().to_owned())
                .collect(),
        })
}

/// Reads what the file overrides of the dialect's rules, in every market alike.
fn rules<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    dialect: Option<&dyn Dialect>,
    pairs: &[Pair],
) -> Vec<(Pair, Rules)> {
    let taker_fee_ppm = reader.value(section, "taker_fee", scalar::percent);
    let tick: Option<Price> = reader.value(section, "tick", scalar::price);
    let lot: Option<Quantity> = reader.value(section, "lot", scalar::positive);
    let quantity_min: Option<Quantity> = reader.value(section, "quantity_min", scalar::positive);
    let fee_in = reader.value(section, "fee_in", scalar::fee_in);
    let Some(dialect) = dialect else {
        return Vec::new();
    };
    let of_pair = |pair: &Pair| {
        let rules = dialect.rules(*pair);
        let rules = Rules {
            tick: tick.unwrap_or(rules.tick),
            lot: lot.unwrap_or(rules.lot),
            quantity_min: quantity_min.unwrap_or(rules.quantity_min),
            taker_fee_ppm: taker_fee_ppm.unwrap_or(rules.taker_fee_ppm),
            fee_in: fee_in.unwrap_or(rules.fee_in),
        };
        (*pair, rules)
    };
    let all: Vec<(Pair, Rules)> = pairs.iter().map(of_pair).collect();
    if let Some((_, rules)) = all.first() {
        settle(reader, section, rules);
    }
    all
}

/// Shows what the dialect gives where the file says nothing, for the first pair.
fn settle<'t>(reader: &mut Reader<'t>, section: &Section<'t>, rules: &Rules) {
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
