//! Reads `[offer]` with its rails and rules.

use toml::de::DeValue;

use crate::config::checked::Venue;
use crate::config::fault::Reason;
use crate::config::raw::{Reader, Section};
use crate::config::venues::currency_key;
use crate::config::{ENTRIES_MAX, scalar};
use crate::model::currency::{Currency, Method, Methods};
use crate::model::instrument::Market;
use crate::model::number::Quantity;
use crate::model::time::Span;
use crate::offer::{RailFunds, Rule, RulePrice, Settings};

pub(super) fn read<'t>(
    reader: &mut Reader<'t>,
    root: &Section<'t>,
    venues: &[Venue],
) -> Option<Settings> {
    let section = reader.section(root, "offer");
    let methods = methods(reader, &section);
    let offer_min = minimums(reader, &section, "offer_min");
    let part_min = minimums(reader, &section, "part_min");
    let ttl = reader.value(&section, "ttl", |value| scalar::span(value, Span::DAY));
    let gather = reader.value(&section, "gather", short);
    let hold = reader.value(&section, "hold", short);
    let cooldown = reader.value(&section, "cooldown", |value| scalar::span(value, Span::DAY));
    let haircuts = reader.table(&section, "haircuts", scalar::method_word, |_, value| {
        scalar::percent(value)
    });
    let method_caps = rail_list(reader, &section, "method_caps")
        .iter()
        .map(|cap| (cap.method, cap.currency, cap.amount))
        .collect();
    let rails = rail_list(reader, &section, "rail");
    let rules = rules(reader, &section, venues, &rails);
    let settings = Settings {
        methods,
        offer_min,
        part_min,
        ttl: ttl?,
        gather: gather?,
        hold: hold?,
        cooldown: cooldown?,
        haircuts,
        method_caps,
        rails,
        rules,
    };
    refuse_conflicts(reader, &section, &settings);
    Some(settings)
}

fn short(value: &DeValue<'_>) -> Result<Span, Reason> {
    scalar::span(value, Span::secs(3_600))
}

fn methods<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Methods {
    let list = reader.list(section, "methods", Methods::LEN_MAX, scalar::method);
    list.into_iter().collect()
}

fn minimums<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    key: &'static str,
) -> Vec<(Currency, Quantity)> {
    reader.table(section, key, currency_key, |currency, value| {
        scalar::amount(value, *currency)
    })
}

/// Reads a list of amounts by method and currency.
fn rail_list<'t>(
    reader: &mut Reader<'t>,
    parent: &Section<'t>,
    key: &'static str,
) -> Vec<RailFunds> {
    let mut rails: Vec<RailFunds> = Vec::new();
    for section in reader.sections(parent, key, ENTRIES_MAX) {
        let method = reader.value(&section, "method", scalar::method);
        let currency = reader.value(&section, "currency", scalar::currency);
        let of = currency.unwrap_or(Currency::BTC);
        let amount = reader.value(&section, "amount", |value| scalar::amount(value, of));
        let (Some(method), Some(currency), Some(amount)) = (method, currency, amount) else {
            continue;
        };
        let is_same = |rail: &RailFunds| (rail.method, rail.currency) == (method, currency);
        if rails.iter().any(is_same) {
            let twice = format!("{currency} by {method}");
            reader.refuse_key(&section, "method", Reason::Twice(twice));
            continue;
        }
        rails.push(RailFunds {
            method,
            currency,
            amount,
        });
    }
    rails
}

fn rules<'t>(
    reader: &mut Reader<'t>,
    parent: &Section<'t>,
    venues: &[Venue],
    rails: &[RailFunds],
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for section in reader.sections(parent, "rule", ENTRIES_MAX) {
        let Some(rule) = rule(reader, &section, venues) else {
            continue;
        };
        for method in rule.methods.iter() {
            warn_without_rail(reader, &section, &rule, method, rails);
        }
        rules.push(rule);
    }
    rules
}

fn rule<'t>(reader: &mut Reader<'t>, section: &Section<'t>, venues: &[Venue]) -> Option<Rule> {
    let give = reader.value(section, "give", scalar::currency);
    let want = reader.value(section, "want", scalar::currency);
    let methods = methods(reader, section);
    let of = give.unwrap_or(Currency::BTC);
    let threshold = reader.value(section, "threshold", |value| scalar::amount(value, of));
    let size_max = reader.value(section, "size_max", |value| scalar::amount(value, of));
    let price = price(reader, section, venues);
    let approve_above = reader.value(section, "approve_above", |value| scalar::amount(value, of));
    if give.is_some() && give == want {
        let why = "the rule gives and wants the same currency".to_owned();
        let remedy = "name two different currencies";
        reader.refuse_key(section, "want", Reason::Conflict { why, remedy });
    }
    if methods.is_empty() && section.get("methods").is_some() {
        let why = "the rule names no method, so it can never pay".to_owned();
        let remedy = "write for example methods = [\"SEPA\"]";
        reader.refuse_key(section, "methods", Reason::Conflict { why, remedy });
    }
    let rule = Rule {
        give: give?,
        want: want?,
        methods,
        threshold: threshold?,
        size_max: size_max?,
        price: price?,
        approve_above,
    };
    refuse_foreign_book(reader, section, &rule);
    Some(rule)
}

fn price<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    venues: &[Venue],
) -> Option<RulePrice> {
    let is_table = |value: &toml::Spanned<DeValue<'_>>| value.get_ref().is_table();
    if !section.get("price").is_some_and(is_table) {
        let price = reader.value(section, "price", scalar::price);
        return price.map(RulePrice::Fixed);
    }
    let section = reader.section(section, "price");
    let market = reader.value(&section, "book", |value| listed_market(value, venues));
    let spread_ppm = reader.value(&section, "spread", scalar::percent);
    Some(RulePrice::Book {
        market: market?,
        spread_ppm: spread_ppm?,
    })
}

fn listed_market(value: &DeValue<'_>, venues: &[Venue]) -> Result<Market, Reason> {
    let market = scalar::market(value)?;
    let mut listed = venues.iter().flat_map(|venue| {
        let id = venue.id;
        venue.pairs.iter().map(move |pair| Market {
            venue: id,
            pair: *pair,
        })
    });
    if listed.clone().any(|known| known == market) {
        return Ok(market);
    }
    Err(Reason::Unknown {
        what: "book",
        found: market.to_string(),
        known: listed.by_ref().map(|known| known.to_string()).collect(),
    })
}

fn refuse_foreign_book<'t>(reader: &mut Reader<'t>, section: &Section<'t>, rule: &Rule) {
    let RulePrice::Book { market, .. } = rule.price else {
        return;
    };
    let pair = market.pair;
    let of_rule = [(rule.give, rule.want), (rule.want, rule.give)];
    if !of_rule.contains(&(pair.base, pair.quote)) {
        let why = format!(
            "the book of {pair} cannot price {} in {}",
            rule.give, rule.want
        );
        let remedy = "name a book of the rule's own two currencies";
        reader.refuse_key(section, "price", Reason::Conflict { why, remedy });
    }
}

fn warn_without_rail<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    rule: &Rule,
    method: Method,
    rails: &[RailFunds],
) {
    let pays = |rail: &RailFunds| (rail.method, rail.currency) == (method, rule.want);
    if !rails.iter().any(pays) {
        let why = format!(
            "no rail pays {} by {method}, so the rule never does",
            rule.want
        );
        let remedy = "add an [[offer.rail]] for it, or drop the method";
        reader.warn_key(section, "methods", Reason::Conflict { why, remedy });
    }
}

fn refuse_conflicts<'t>(reader: &mut Reader<'t>, section: &Section<'t>, settings: &Settings) {
    if settings.gather >= settings.ttl {
        let why = "answers are gathered until after the offer has expired".to_owned();
        let remedy = "let gather be shorter than ttl";
        reader.refuse_key(section, "gather", Reason::Conflict { why, remedy });
    }
    if settings.hold < settings.gather {
        let why = "matchers free their funds before the best set is taken".to_owned();
        let remedy = "let hold be at least as long as gather";
        reader.refuse_key(section, "hold", Reason::Conflict { why, remedy });
    }
    for (currency, part) in &settings.part_min {
        let smallest = settings.offer_min.iter().find(|(of, _)| of == currency);
        if smallest.is_some_and(|(_, offer)| part > offer) {
            let why = format!("the smallest part of {currency} is larger than the smallest offer");
            let remedy = "let part_min be at most offer_min";
            reader.refuse_key(section, "part_min", Reason::Conflict { why, remedy });
        }
    }
    if !settings.methods.is_empty() && settings.offer_min.is_empty() {
        let why = "methods are listed, but no currency has an offer_min".to_owned();
        let remedy = "add for example offer_min = { BTC = \"1\" }";
        reader.warn_key(section, "methods", Reason::Conflict { why, remedy });
    }
}
