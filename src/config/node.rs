//! Reads `[node]`, `[store]` and `[trading]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeValue;

use crate::config::checked::{ParkAfter, Trading, Transport};
use crate::config::fault::Reason;
use crate::config::raw::{Reader, Section};
use crate::config::scalar;
use crate::discovery::network::Mode;
use crate::latency::train::Location;
use crate::membership;
use crate::membership::card::ADDRESSES_MAX;
use crate::model::time::Span;

/// What the three sections say together.
#[derive(Debug)]
pub(super) struct NodePart {
    pub(super) name: String,
    pub(super) listen: SocketAddr,
    pub(super) advertise: Vec<SocketAddr>,
    pub(super) transport: Transport,
    pub(super) location: Option<Location>,
    pub(super) store: PathBuf,
    pub(super) trading: Trading,
    pub(super) membership: membership::Settings,
}

/// Reads all three; the mode apart, as it says what other sections must have.
pub(super) fn read<'t>(
    reader: &mut Reader<'t>,
    root: &Section<'t>,
    cores: u16,
) -> (Option<Mode>, Option<NodePart>) {
    let section = reader.section(root, "node");
    let mode = reader.value(&section, "mode", |value| {
        let modes = [Mode::Dark, Mode::Open, Mode::Mixed];
        scalar::word(value, &modes.map(|mode| (mode.name(), mode)))
    });
    (mode, part(reader, root, &section, cores))
}

fn part<'t>(
    reader: &mut Reader<'t>,
    root: &Section<'t>,
    section: &Section<'t>,
    cores: u16,
) -> Option<NodePart> {
    let name = reader.value(section, "name", |value| scalar::label(value, "\"tokyo-1\""));
    let listen = reader.value(section, "listen", scalar::address);
    let advertise = reader.list(section, "advertise", ADDRESSES_MAX, scalar::address);
    let location = reader.value(section, "location", location);
    let places = reader.value(section, "places", places);
    let dedicated = reader.value(section, "dedicated", scalar::boolean);
    let is_colo = reader.value(section, "transport", |value| {
        scalar::word(value, &[("shared", false), ("colo", true)])
    });
    let park_after = reader.value(section, "park_after", park_after);
    let redial_min = reader.value(section, "redial_min", redial);
    let redial_max = reader.value(section, "redial_max", redial);
    if redial_min > redial_max && redial_max.is_some() {
        let why = "redial_min is longer than redial_max".to_owned();
        let remedy = "let the waits grow from redial_min to redial_max";
        reader.refuse_key(section, "redial_min", Reason::Conflict { why, remedy });
    }
    let store = store(reader, root);
    let trading = trading(reader, root);
    let places = match places? {
        Places::Auto => {
            let places = membership::places(cores, dedicated?);
            reader.settle(section, "places", format!("\"auto\" ({places})"));
            places
        }
        Places::Exactly(places) => places,
    };
    let (is_colo, park_after) = (is_colo?, park_after?);
    Some(NodePart {
        name: name?,
        listen: listen?,
        advertise,
        transport: if is_colo {
            Transport::Colo { park_after }
        } else {
            Transport::Shared
        },
        location,
        store: store?,
        trading: trading?,
        membership: membership::Settings {
            places,
            redial_min: redial_min?,
            redial_max: redial_max?,
        },
    })
}

fn store<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Option<PathBuf> {
    let section = reader.section(root, "store");
    reader.value(&section, "file", path)
}

fn trading<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Option<Trading> {
    let section = reader.section(root, "trading");
    let live = reader.value(&section, "mode", |value| {
        scalar::word(value, &[("paper", false), ("live", true)])
    });
    let capability = reader.value(&section, "capability", path);
    match (live?, capability) {
        (false, _) => Some(Trading::Paper),
        (true, Some(capability)) => Some(Trading::Live { capability }),
        (true, None) if section.get("capability").is_some() => None,
        (true, None) => {
            let why = "live trading needs a capability file".to_owned();
            let remedy = "add capability = \"live.toml\", or keep mode = \"paper\"";
            reader.refuse_key(&section, "capability", Reason::Conflict { why, remedy });
            None
        }
    }
}

/// Reads a path below the home; it cannot lead out of it by `..`.
pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, Reason> {
    let written = scalar::text(value)?;
    let leaves = written.split('/').any(|part| part == "..");
    if written.is_empty() || written.contains('\0') || leaves {
        return Err(Reason::Value {
            found: written.to_owned(),
            wanted: "the path of a file, from the home or absolute, without `..`",
            example: "\"journal.sqlite\"",
        });
    }
    Ok(PathBuf::from(written))
}

/// How many places the owner wants on the node list.
enum Places {
    Auto,
    Exactly(u16),
}

fn places(value: &DeValue<'_>) -> Result<Places, Reason> {
    match value.as_str() {
        Some("auto") => Ok(Places::Auto),
        Some(found) => Err(Reason::Value {
            found: found.to_owned(),
            wanted: "\"auto\" or a whole number",
            example: "places = 12",
        }),
        None => scalar::whole(value, 1, PLACES_MAX).map(Places::Exactly),
    }
}

/// Links one core thread can serve.
const PLACES_MAX: u16 = 256;

/// Waking a thread takes longer than a round trip next door: less than this gains nothing.
const PARK_AFTER_MIN: Span = Span::millis(2);

fn park_after(value: &DeValue<'_>) -> Result<ParkAfter, Reason> {
    match value.as_str() {
        Some("never") => return Ok(ParkAfter::Never),
        Some("at_once") => return Ok(ParkAfter::AtOnce),
        Some(_) | None => {}
    }
    let quiet = scalar::span(value, Span::secs(3_600))?;
    if quiet < PARK_AFTER_MIN {
        return Err(Reason::Value {
            found: scalar::span_text(quiet),
            wanted: "2ms or more, \"at_once\" or \"never\"",
            example: "park_after = \"5ms\"",
        });
    }
    Ok(ParkAfter::Quiet(quiet))
}

fn redial(value: &DeValue<'_>) -> Result<Span, Reason> {
    scalar::span(value, Span::secs(3_600))
}

/// Reads where the node stands: degrees north and east, with at most six decimals.
fn location(value: &DeValue<'_>) -> Result<Location, Reason> {
    let written = scalar::text(value)?;
    let read = |text: &str, most_deg: i32| -> Option<i32> {
        let (sign, digits) = match text.trim().strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text.trim()),
        };
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !is_plain(whole) || !is_plain(decimals) || decimals.len() > 6 {
            return None;
        }
        let decimals: i32 = format!("{decimals:0<6}").parse().ok()?;
        let whole = whole.parse::<i32>().ok()?.checked_mul(1_000_000)?;
        let udeg = whole.checked_add(decimals)?;
        (udeg <= most_deg * 1_000_000).then_some(sign * udeg)
    };
    let parts = written.split_once(',');
    let read = parts.and_then(|(north, east)| Some((read(north, 90)?, read(east, 180)?)));
    match read {
        Some((latitude_udeg, longitude_udeg)) => Ok(Location {
            latitude_udeg,
            longitude_udeg,
        }),
        None => Err(Reason::Value {
            found: written.to_owned(),
            wanted: "degrees north and degrees east, with at most six decimals",
            example: "\"52.37,4.90\"",
        }),
    }
}
