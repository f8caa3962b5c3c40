//! Reads `[risk]`, and refuses to trade what has no limit.

use crate::config::checked::Venue;
use crate::config::fault::Reason;
use crate::config::raw::{Reader, Section};
use crate::config::venues::{currency_key, listed_venue};
use crate::config::{ENTRIES_MAX, scalar};
use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::market::Side;
use crate::model::number::Quantity;
use crate::model::time::Span;
use crate::risk::{Settings, VenueDayLimit};

pub(super) fn read<'t>(reader: &mut Reader<'t>, root: &Section<'t>, venues: &[Venue]) -> Settings {
    let section = reader.section(root, "risk");
    let order_quantity_max = by_currency(reader, &section, "order_max");
    let venue_day_max = venue_days(reader, &section, venues);
    let pair_day_notional_max = reader.table(
        &section,
        "pair_day_notional_max",
        pair_key,
        |pair: &Pair, value| scalar::amount(value, pair.quote),
    );
    let day_notional_max = by_currency(reader, &section, "day_notional_max");
    let day_loss_max = by_currency(reader, &section, "day_loss_max");
    let exposure_max = by_currency(reader, &section, "exposure_max");
    let collar_ppm = reader.value(&section, "collar", scalar::percent);
    let envelope_ttl = reader.value(&section, "envelope_ttl", |value| {
        scalar::span(value, Span::DAY)
    });
    let envelope_reach_ppm = reader.value(&section, "envelope_reach", scalar::percent);
    let orders_per_s = reader.value(&section, "orders_per_s", |value| {
        scalar::whole(value, 1, ORDERS_PER_S_MAX)
    });
    let book_age_max = reader.value(&section, "book_age_max", freshness);
    let engine_lag_max = reader.value(&section, "engine_lag_max", freshness);
    // A value at fault stands as zero until the file as a whole is refused for it.
    let settings = Settings {
        order_quantity_max,
        venue_day_max,
        pair_day_notional_max,
        day_notional_max,
        day_loss_max,
        exposure_max,
        collar_ppm: collar_ppm.unwrap_or_default(),
        envelope_ttl: envelope_ttl.unwrap_or_default(),
        envelope_reach_ppm: envelope_reach_ppm.unwrap_or_default(),
        orders_per_s: orders_per_s.unwrap_or_default(),
        book_age_max: book_age_max.unwrap_or_default(),
        engine_lag_max: engine_lag_max.unwrap_or_default(),
    };
    refuse_unlimited(reader, &section, venues, &settings);
    settings
}

/// More than any venue here takes from one account.
const ORDERS_PER_S_MAX: u16 = 1_000;

fn freshness(value: &toml::de::DeValue<'_>) -> Result<Span, Reason> {
    scalar::span(value, Span::MINUTE)
}

fn by_currency<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    key: &'static str,
) -> Vec<(Currency, Quantity)> {
    reader.table(section, key, currency_key, |currency, value| {
        scalar::amount(value, *currency)
    })
}

pub(super) fn pair_key(word: &str) -> Result<Pair, Reason> {
    word.parse().map_err(|_| Reason::Value {
        found: word.to_owned(),
        wanted: "a pair of two currencies",
        example: "\"BTC/USD\"",
    })
}

fn venue_days<'t>(
    reader: &mut Reader<'t>,
    parent: &Section<'t>,
    venues: &[Venue],
) -> Vec<VenueDayLimit> {
    let mut limits: Vec<VenueDayLimit> = Vec::new();
    for section in reader.sections(parent, "venue_day_max", ENTRIES_MAX * 4) {
        let venue = reader.value(&section, "venue", |value| listed_venue(value, venues));
        let side = reader.value(&section, "side", scalar::side);
        let currency = reader.value(&section, "currency", scalar::currency);
        let of = currency.unwrap_or(Currency::BTC);
        let quantity = reader.value(&section, "quantity", |value| scalar::amount(value, of));
        let (Some(venue), Some(side), Some(currency), Some(quantity)) =
            (venue, side, currency, quantity)
        else {
            continue;
        };
        let same = |limit: &VenueDayLimit| {
            (limit.venue, limit.side, limit.currency) == (venue, side, currency)
        };
        if limits.iter().any(same) {
            let twice = format!("{venue} {} {currency}", side_word(side));
            reader.refuse_key(&section, "venue", Reason::Twice(twice));
            continue;
        }
        limits.push(VenueDayLimit {
            venue,
            side,
            currency,
            quantity,
        });
    }
    limits
}

fn side_word(side: Side) -> &'static str {
    match side {
        Side::Bid => "buy",
        Side::Ask => "sell",
    }
}

/// An unset limit allows nothing, which an owner would notice only by the trades that never come.
fn refuse_unlimited<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    venues: &[Venue],
    settings: &Settings,
) {
    let mut pairs: Vec<Pair> = venues
        .iter()
        .flat_map(|venue| venue.pairs.clone())
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    let mut bases: Vec<Currency> = pairs.iter().map(|pair| pair.base).collect();
    let mut quotes: Vec<Currency> = pairs.iter().map(|pair| pair.quote).collect();
    for list in [&mut bases, &mut quotes] {
        list.sort_unstable();
        list.dedup();
    }
    let by_currency = [
        ("order_max", &bases, &settings.order_quantity_max),
        ("exposure_max", &bases, &settings.exposure_max),
        ("day_notional_max", &quotes, &settings.day_notional_max),
        ("day_loss_max", &quotes, &settings.day_loss_max),
    ];
    for (key, traded, limits) in by_currency {
        for currency in traded {
            if !limits.iter().any(|(limited, _)| limited == currency) {
                let example = format!("{key} = {{ {currency} = \"1\" }}");
                refuse_limit(reader, section, key, currency.to_string(), example);
            }
        }
    }
    for pair in &pairs {
        let limits = &settings.pair_day_notional_max;
        if !limits.iter().any(|(limited, _)| limited == pair) {
            let example = format!("pair_day_notional_max = {{ \"{pair}\" = \"1000\" }}");
            let key = "pair_day_notional_max";
            refuse_limit(reader, section, key, pair.to_string(), example);
        }
    }
    refuse_unlimited_venues(reader, section, venues, settings);
}

fn refuse_unlimited_venues<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    venues: &[Venue],
    settings: &Settings,
) {
    for venue in venues {
        let mut bases: Vec<Currency> = venue.pairs.iter().map(|pair| pair.base).collect();
        bases.sort_unstable();
        bases.dedup();
        for (currency, side) in bases
            .iter()
            .flat_map(|currency| [(*currency, Side::Bid), (*currency, Side::Ask)])
        {
            let key = (venue.id, side, currency);
            let mut limits = settings.venue_day_max.iter();
            if !limits.any(|limit| (limit.venue, limit.side, limit.currency) == key) {
                let (id, side) = (venue.id, side_word(side));
                let what = format!("{side} orders of {currency} at {id}");
                let example = format!(
                    "{{ venue = \"{id}\", side = \"{side}\", currency = \"{currency}\", quantity = \"1\" }}"
                );
                refuse_limit(reader, section, "venue_day_max", what, example);
            }
        }
    }
}

fn refuse_limit<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    key: &str,
    what: String,
    example: String,
) {
    reader.refuse_key(section, key, Reason::NoLimit { what, example });
}
