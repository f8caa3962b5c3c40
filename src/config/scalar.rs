//! Single values as a file writes them: amounts, percentages, lengths of time, addresses.

use std::net::SocketAddr;
use std::str::FromStr;

use toml::de::DeValue;

use crate::config::fault::Reason;
use crate::model::currency::{Currency, Method};
use crate::model::instrument::{Location, Market, Pair, VenueId};
use crate::model::market::{FeeIn, Side};
use crate::model::number::{Price, Quantity, parse_decimal};
use crate::model::time::Span;

pub(super) fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Reason> {
    value.as_str().ok_or(Reason::Kind {
        wanted: "text in quotes",
        found: kind(value),
    })
}

/// Reads what something is called: printable, without what would break a line of text.
pub(super) fn label(value: &DeValue<'_>, example: &'static str) -> Result<String, Reason> {
    let written = text(value)?;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if written.is_empty() || written.len() > LABEL_LEN_MAX || !written.chars().all(is_plain) {
        return Err(Reason::Value {
            found: written.to_owned(),
            wanted: "a name of 1 to 32 letters, digits, `-`, `_` and `.`",
            example,
        });
    }
    Ok(written.to_owned())
}

const LABEL_LEN_MAX: usize = 32;

pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Reason> {
    value.as_bool().ok_or(Reason::Kind {
        wanted: "true or false",
        found: kind(value),
    })
}

pub(super) fn whole(value: &DeValue<'_>, low: u16, high: u16) -> Result<u16, Reason> {
    let integer = value.as_integer().ok_or(Reason::Kind {
        wanted: "a whole number",
        found: kind(value),
    })?;
    u16::from_str_radix(integer.as_str(), integer.radix())
        .ok()
        .filter(|number| (low..=high).contains(number))
        .ok_or_else(|| Reason::Range {
            found: integer.to_string(),
            low: low.to_string(),
            high: high.to_string(),
        })
}

/// Reads an amount such as `"1.5"` or `"1.5 BTC"`; a currency that is written must be `of`.
pub(super) fn amount(value: &DeValue<'_>, of: Currency) -> Result<Quantity, Reason> {
    let written = money_text(value)?;
    let (number, unit) = match written.split_once(' ') {
        Some((number, unit)) => (number, Some(unit)),
        None => (written, None),
    };
    if unit.is_some_and(|unit| unit != of.as_str()) {
        return Err(Reason::Amount {
            found: written.to_owned(),
            why: format!("the amount is one of {of} here"),
        });
    }
    decimal(written, number).map(Quantity)
}

/// Reads an amount without a currency, above zero.
pub(super) fn positive(value: &DeValue<'_>) -> Result<Quantity, Reason> {
    let written = money_text(value)?;
    match decimal(written, written)? {
        0 => Err(Reason::Amount {
            found: written.to_owned(),
            why: "the number must be above zero".to_owned(),
        }),
        units => Ok(Quantity(units)),
    }
}

pub(super) fn price(value: &DeValue<'_>) -> Result<Price, Reason> {
    positive(value).map(|Quantity(units)| Price(units))
}

fn money_text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Reason> {
    value.as_str().ok_or(Reason::Kind {
        wanted: "an amount in quotes, as in \"1.5\",",
        found: kind(value),
    })
}

fn decimal(written: &str, number: &str) -> Result<i64, Reason> {
    parse_decimal(number.as_bytes()).map_err(|error| Reason::Amount {
        found: written.to_owned(),
        why: error.to_string(),
    })
}

/// Reads `"0.2%"` as 2,000 parts per million: 0 to 100 %, at most four decimals.
pub(super) fn percent(value: &DeValue<'_>) -> Result<u32, Reason> {
    let written = text(value)?;
    let refusal = || Reason::Value {
        found: written.to_owned(),
        wanted: "a percentage of 0% to 100% with at most 4 decimals",
        example: "\"0.2%\"",
    };
    let number = written.strip_suffix('%').ok_or_else(refusal)?;
    let units = parse_decimal(number.as_bytes()).map_err(|_| refusal())?;
    if units % UNITS_PER_PPM != 0 {
        return Err(refusal());
    }
    u32::try_from(units / UNITS_PER_PPM)
        .ok()
        .filter(|ppm| *ppm <= 1_000_000)
        .ok_or_else(refusal)
}

/// A percent is 10,000 parts per million, and 100,000,000 units of a decimal.
const UNITS_PER_PPM: i64 = 10_000;

/// Writes parts per million as a file would: in percent, without needless zeros.
pub(super) fn percent_text(ppm: u32) -> String {
    format!("{}%", Quantity(i64::from(ppm) * UNITS_PER_PPM))
}

/// Reads `"250ms"`, `"2s"`, `"10m"`: above zero, at most `longest`.
pub(super) fn span(value: &DeValue<'_>, longest: Span) -> Result<Span, Reason> {
    let written = text(value)?;
    let refusal = || Reason::Value {
        found: written.to_owned(),
        wanted: "a length of time: a whole number and us, ms, s, m or h",
        example: "\"250ms\"",
    };
    let digits = written
        .find(|letter: char| !letter.is_ascii_digit())
        .ok_or_else(refusal)?;
    let (number, unit) = written.split_at(digits);
    let (_, unit) = SPAN_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(refusal)?;
    let number: u64 = number.parse().map_err(|_| refusal())?;
    let span = unit.times(number);
    if span == Span::ZERO || span > longest {
        return Err(Reason::Range {
            found: written.to_owned(),
            low: "1us".to_owned(),
            high: span_text(longest),
        });
    }
    Ok(span)
}

/// The units of time a file may use, longest first.
const SPAN_UNITS: [(&str, Span); 5] = [
    ("h", Span::secs(3_600)),
    ("m", Span::MINUTE),
    ("s", Span::SECOND),
    ("ms", Span::MILLI),
    ("us", Span::MICRO),
];

/// Writes a length of time as a file would: in the longest unit that divides it.
pub(super) fn span_text(span: Span) -> String {
    let (name, unit) = SPAN_UNITS
        .iter()
        .find(|(_, unit)| span.0.is_multiple_of(unit.0))
        .unwrap_or(&("us", Span::MICRO));
    format!("{}{name}", span.0 / unit.0)
}

pub(super) fn address(value: &DeValue<'_>) -> Result<SocketAddr, Reason> {
    let written = text(value)?;
    written
        .parse()
        .ok()
        .filter(|address: &SocketAddr| address.port() != 0)
        .ok_or_else(|| Reason::Value {
            found: written.to_owned(),
            wanted: "a numeric address with a port of 1 to 65535",
            example: "\"203.0.113.7:7411\" or \"[2001:db8::7]:7411\"",
        })
}

/// Reads `http://host:port` or `https://host`, with a port where it is not 443, without a path.
pub(super) fn http_base(value: &DeValue<'_>) -> Result<String, Reason> {
    let written = text(value)?;
    let is_plain = written
        .strip_prefix("http://")
        .is_some_and(is_host_and_port);
    let is_secure = written
        .strip_prefix("https://")
        .is_some_and(|rest| is_host_and_port(rest) || is_host_and_port(&format!("{rest}:443")));
    if is_plain || is_secure {
        return Ok(written.to_owned());
    }
    Err(Reason::Value {
        found: written.to_owned(),
        wanted: "an address of the form http://host:port or https://host",
        example: "\"http://127.0.0.1:7501\" or \"https://yobit.net\"",
    })
}

/// Reads `ws://host:port/path`, or `http://host:port/path` of a socket.io handshake.
pub(super) fn ws_url(value: &DeValue<'_>) -> Result<String, Reason> {
    let written = text(value)?;
    let (rest, has_port) = match written.strip_prefix("wss://") {
        // The port of https, unless another one is named.
        Some(rest) => (Some(rest), false),
        None => {
            let plain = written.strip_prefix("ws://");
            (plain.or_else(|| written.strip_prefix("http://")), true)
        }
    };
    rest.map(|rest| rest.split_once('/').map_or(rest, |(host, _)| host))
        .filter(|host| {
            let is_host =
                is_host_and_port(host) || (!has_port && is_host_and_port(&format!("{host}:443")));
            is_host && written.bytes().all(|byte| byte.is_ascii_graphic())
        })
        .map(|_| written.to_owned())
        .ok_or_else(|| Reason::Value {
            found: written.to_owned(),
            wanted: "an address of the form ws://host:port/path or wss://host/path",
            example: "\"ws://127.0.0.1:7501/ws\"",
        })
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    let port: Option<u16> = port.parse().ok();
    !host.is_empty() && host.bytes().all(is_host) && port.is_some_and(|port| port > 0)
}

/// Reads text that one of the model's own parsers understands.
pub(super) fn parsed<T: FromStr>(
    value: &DeValue<'_>,
    wanted: &'static str,
    example: &'static str,
) -> Result<T, Reason> {
    let written = text(value)?;
    written.parse().map_err(|_| Reason::Value {
        found: written.to_owned(),
        wanted,
        example,
    })
}

pub(super) fn currency(value: &DeValue<'_>) -> Result<Currency, Reason> {
    parsed(value, "a currency of one to eight capitals", "\"BTC\"")
}

pub(super) fn pair(value: &DeValue<'_>) -> Result<Pair, Reason> {
    parsed(value, "a pair of two currencies", "\"BTC/USD\"")
}

pub(super) fn venue_name(value: &DeValue<'_>) -> Result<VenueId, Reason> {
    let wanted = "a venue name: 1 to 16 of a-z, 0-9 and -, beginning with a letter";
    parsed(value, wanted, "\"alpha\"")
}

pub(super) fn location(value: &DeValue<'_>) -> Result<Location, Reason> {
    parsed(value, "`wallet`, a method or a venue name", "\"wallet\"")
}

pub(super) fn market(value: &DeValue<'_>) -> Result<Market, Reason> {
    let written = text(value)?;
    written
        .split_once(':')
        .and_then(|(venue, pair)| {
            Some(Market {
                venue: venue.parse().ok()?,
                pair: pair.parse().ok()?,
            })
        })
        .ok_or_else(|| Reason::Value {
            found: written.to_owned(),
            wanted: "a book: a venue and a pair",
            example: "\"alpha:BTC/USD\"",
        })
}

pub(super) fn method(value: &DeValue<'_>) -> Result<Method, Reason> {
    method_word(text(value)?)
}

pub(super) fn method_word(word: &str) -> Result<Method, Reason> {
    Method::from_word(word.as_bytes()).ok_or_else(|| Reason::Unknown {
        what: "method",
        found: word.to_owned(),
        known: Method::ALL
            .iter()
            .map(|(_, name, _)| (*name).to_owned())
            .collect(),
    })
}

/// Reads `buy` or `sell`.
pub(super) fn side(value: &DeValue<'_>) -> Result<Side, Reason> {
    word(value, &[("buy", Side::Bid), ("sell", Side::Ask)])
}

pub(super) fn fee_in(value: &DeValue<'_>) -> Result<FeeIn, Reason> {
    word(
        value,
        &[("received", FeeIn::Received), ("quote", FeeIn::Quote)],
    )
}

/// Reads one of a few words.
pub(super) fn word<T: Copy>(value: &DeValue<'_>, words: &[(&'static str, T)]) -> Result<T, Reason> {
    let written = text(value)?;
    words
        .iter()
        .find(|(name, _)| *name == written)
        .map(|(_, meaning)| *meaning)
        .ok_or_else(|| Reason::Unknown {
            what: "word",
            found: written.to_owned(),
            known: words.iter().map(|(name, _)| (*name).to_owned()).collect(),
        })
}

/// Names what stands in the file, for a reader who does not know TOML's terms.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a bare whole number",
        DeValue::Float(_) => "a bare decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> DeValue<'_> {
        DeValue::parse(text).unwrap().into_inner()
    }

    #[test]
    fn a_percentage_is_exact_or_refused() {
        for (text, ppm) in [
            ("\"0.2%\"", Some(2_000)),
            ("\"15%\"", Some(150_000)),
            ("\"0.0001%\"", Some(1)),
            ("\"100%\"", Some(1_000_000)),
            ("\"0.00001%\"", None),
            ("\"100.0001%\"", None),
            ("\"0.2\"", None),
            ("\"-1%\"", None),
            ("0.2", None),
        ] {
            assert_eq!(percent(&value(text)).ok(), ppm, "{text}");
            let written = ppm.map(percent_text);
            assert!(
                written.is_none_or(|written| text == format!("\"{written}\"")),
                "{text}"
            );
        }
    }

    #[test]
    fn a_length_of_time_needs_its_unit() {
        for (text, expected) in [
            ("\"250ms\"", Some(Span::millis(250))),
            ("\"2s\"", Some(Span::secs(2))),
            ("\"10m\"", Some(Span::secs(600))),
            ("\"5us\"", Some(Span::micros(5))),
            ("\"1h\"", Some(Span::secs(3_600))),
            ("\"0s\"", None),
            ("\"25h\"", None),
            ("\"99999999999999999999h\"", None),
            ("\"18446744073709551615h\"", None),
            ("\"2\"", None),
            ("\"s\"", None),
            ("\"1.5s\"", None),
            ("2", None),
        ] {
            let read = span(&value(text), Span::DAY).ok();
            assert_eq!(read, expected, "{text}");
            if let Some(read) = read {
                assert_eq!(format!("\"{}\"", span_text(read)), text);
            }
        }
    }

    #[test]
    fn an_amount_may_name_its_currency_but_no_other() {
        for (text, expected) in [
            ("\"1.5\"", Some(150_000_000)),
            ("\"1.5 BTC\"", Some(150_000_000)),
            ("\"0\"", Some(0)),
            ("\"1.5 USD\"", None),
            ("\"1.5BTC\"", None),
            ("\"-1\"", None),
            ("1.5", None),
            ("1", None),
        ] {
            let read = amount(&value(text), Currency::BTC).ok();
            assert_eq!(read, expected.map(Quantity), "{text}");
        }
    }

    #[test]
    fn an_address_has_a_host_and_a_port_above_zero() {
        for text in ["\"127.0.0.1:0\"", "\"localhost:1\"", "\"127.0.0.1\"", "1"] {
            assert!(address(&value(text)).is_err(), "{text}");
        }
        for text in ["http://a:0", "http://a", "http://a:1/", "http://:1"] {
            assert!(http_base(&DeValue::String(text.into())).is_err(), "{text}");
        }
        for text in ["ws://a:99999/x", "ws://a/x", "ws://a:1/ x", "a:1"] {
            assert!(ws_url(&DeValue::String(text.into())).is_err(), "{text}");
        }
        assert!(address(&value("\"[::1]:7411\"")).is_ok());
        assert!(http_base(&value("\"http://venue.example:8080\"")).is_ok());
        assert!(http_base(&value("\"https://venue.example\"")).is_ok());
        assert!(http_base(&value("\"https://venue.example:8443\"")).is_ok());
        assert!(ws_url(&value("\"ws://127.0.0.1:8080/feed?v=1\"")).is_ok());
    }
}
