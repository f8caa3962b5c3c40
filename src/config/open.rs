//! Reads `[channel]` and every `[[irc]]`.

use std::net::IpAddr;

use toml::de::DeValue;

use crate::config::fault::Reason;
use crate::config::limits::pair_key;
use crate::config::node::path;
use crate::config::raw::{Reader, Section};
use crate::config::scalar;
use crate::discovery::network::{Mode, NETWORKS_MAX, Network, Operator, Settings, Trust};
use crate::model::instrument::Pair;
use crate::model::number::Quantity;
use crate::model::time::Span;

/// Trust goes from 0 to 10.
const TRUST_MAX: u16 = 10;
/// Bytes of a channel's name (RFC 2812, 1.3).
const CHANNEL_LEN_MAX: usize = 50;
/// Bytes that may stand behind the UUID.
const REALNAME_LEN_MAX: usize = 64;

pub(super) fn read<'t>(
    reader: &mut Reader<'t>,
    root: &Section<'t>,
    mode: Option<Mode>,
) -> Option<Settings> {
    let section = reader.section(root, "channel");
    let channel = reader.value(&section, "name", channel_name);
    let realname = reader.value(&section, "realname", realname);
    let trust_min = reader.value(&section, "trust_min", |value| {
        scalar::whole(value, 0, TRUST_MAX)
    });
    let address = reader.value(&section, "address", ip);
    let is_reachable = reader.value(&section, "reachable", |value| match value.as_str() {
        Some("auto") => Ok(None),
        Some(_) | None => scalar::boolean(value).map(Some),
    });
    let ports = reader.value(&section, "ports", ports);
    let is_local_allowed = reader.value(&section, "local_addresses", scalar::boolean);
    let mut networks: Vec<Network> = Vec::new();
    for section in reader.sections(root, "irc", NETWORKS_MAX) {
        let Some(network) = network(reader, &section) else {
            continue;
        };
        if networks.iter().any(|listed| listed.name == network.name) {
            reader.refuse_key(&section, "name", Reason::Twice(network.name));
            continue;
        }
        networks.push(network);
    }
    let exit = exit(reader, root, mode);
    let chanop = chanop(reader, root);
    let mode = mode?;
    if networks.is_empty() && mode != Mode::Dark && root.get("irc").is_none() {
        let why = format!(
            "mode `{}` without a network to meet anybody on",
            mode.name()
        );
        let remedy = "add [[irc]] with a name and a server, or keep mode = \"dark\"";
        reader.refuse_key(root, "irc", Reason::Conflict { why, remedy });
    }
    Some(Settings {
        mode,
        channel: channel?,
        realname: realname?,
        trust_min: u8::try_from(trust_min?).unwrap_or(u8::MAX),
        address,
        is_reachable: is_reachable?,
        ports,
        is_local_allowed: is_local_allowed?,
        broadcast_min: exit.0,
        chanop: chanop?,
        voice_after: exit.1?,
        alone_after_lease: exit.2?,
        networks,
    })
}

/// Reads `[exit]`. A dark node exists for listed ones only, so it has nobody to announce anything to.
fn exit<'t>(
    reader: &mut Reader<'t>,
    root: &Section<'t>,
    mode: Option<Mode>,
) -> (Vec<(Pair, Quantity)>, Option<Span>, Option<bool>) {
    let section = reader.section(root, "exit");
    let voice_after = reader.value(&section, "voice_after", |value| {
        scalar::span(value, Span::DAY.times(30))
    });
    let alone = reader.value(&section, "alone_after_lease", scalar::boolean);
    let amount = |pair: &Pair, value: &DeValue<'_>| scalar::amount(value, pair.base);
    let broadcast_min = reader.table(&section, "broadcast_min", pair_key, amount);
    if mode == Some(Mode::Dark) && !broadcast_min.is_empty() {
        let why = "an exit in mode `dark` would speak to strangers".to_owned();
        let remedy = "write mode = \"mixed\" for the exit of a darknet, or take [exit] out";
        reader.refuse_key(&section, "broadcast_min", Reason::Conflict { why, remedy });
    }
    (broadcast_min, voice_after, alone)
}

/// Reads `[chanop]`: nothing where this node is no operator.
fn chanop<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Option<Option<Operator>> {
    let section = reader.section(root, "chanop");
    let runs = reader.value(&section, "run", scalar::boolean);
    let voice_after = reader.value(&section, "voice_after", |value| {
        scalar::span(value, Span::DAY.times(30))
    });
    let trust_min = reader.value(&section, "trust_min", |value| {
        scalar::whole(value, 0, TRUST_MAX)
    });
    let operator = Operator {
        voice_after: voice_after?,
        trust_min: u8::try_from(trust_min?).unwrap_or(u8::MAX),
    };
    runs.map(|runs| runs.then_some(operator))
}

fn network<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Network> {
    let name = reader.value(section, "name", |value| scalar::label(value, "\"libera\""));
    let server = reader.value(section, "server", server);
    let trust = reader.value(section, "tls", trust);
    let bind = reader.value(section, "bind", ip);
    let login_file = reader.value(section, "login_file", path);
    let (host, port) = server?;
    Some(Network {
        name: name?,
        host,
        port,
        trust: trust?,
        bind,
        login_file,
    })
}

/// Reads `host:port`; an IPv6 address stands in brackets.
fn server(value: &DeValue<'_>) -> Result<(String, u16), Reason> {
    let written = scalar::text(value)?;
    let read = written.rsplit_once(':').and_then(|(host, port)| {
        let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let bare = bare.unwrap_or(host);
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-.:".contains(letter);
        let is_host = !bare.is_empty() && bare.len() <= 253 && bare.chars().all(is_plain);
        // A colon outside of brackets is an IPv6 address whose end was taken for the port.
        (is_host && (bare.len() != host.len() || !bare.contains(':'))).then_some((bare, port))
    });
    match read {
        Some((host, port)) => Ok((host.to_owned(), port)),
        None => Err(Reason::Value {
            found: written.to_owned(),
            wanted: "the host and port of a server",
            example: "\"irc.example.org:6697\"",
        }),
    }
}

fn trust(value: &DeValue<'_>) -> Result<Trust, Reason> {
    let written = scalar::text(value)?;
    match written {
        "none" => Ok(Trust::Plain),
        "public" => Ok(Trust::Public),
        fingerprint => match fingerprint.parse() {
            Ok(fingerprint) => Ok(Trust::Pinned(fingerprint)),
            Err(_) => Err(Reason::Value {
                found: written.to_owned(),
                wanted: "\"public\", \"none\", or the SHA-256 fingerprint of the server's certificate",
                example: "\"public\"",
            }),
        },
    }
}

fn ip(value: &DeValue<'_>) -> Result<IpAddr, Reason> {
    let written = scalar::text(value)?;
    written.parse().map_err(|_| Reason::Value {
        found: written.to_owned(),
        wanted: "a numeric address",
        example: "\"192.0.2.7\"",
    })
}

fn ports(value: &DeValue<'_>) -> Result<(u16, u16), Reason> {
    let written = scalar::text(value)?;
    let read = written.split_once('-').and_then(|(first, last)| {
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port >= 1_024);
        let (first, last) = (port(first)?, port(last)?);
        (first <= last).then_some((first, last))
    });
    read.ok_or_else(|| Reason::Value {
        found: written.to_owned(),
        wanted: "first and last port, 1024 or above",
        example: "\"50000-50063\"",
    })
}

fn channel_name(value: &DeValue<'_>) -> Result<String, Reason> {
    let written = scalar::text(value)?;
    let is_plain = |letter: char| letter.is_ascii_graphic() && letter != ',' && letter != ':';
    let is_channel = written.starts_with('#') && written.len() > 1;
    if !is_channel || written.len() > CHANNEL_LEN_MAX || !written.chars().all(is_plain) {
        return Err(Reason::Value {
            found: written.to_owned(),
            wanted: "`#` and up to 49 letters, digits and signs but `,` and `:`",
            example: "\"#expressnet\"",
        });
    }
    Ok(written.to_owned())
}

fn realname(value: &DeValue<'_>) -> Result<String, Reason> {
    let written = scalar::text(value)?;
    let is_plain = |letter: char| letter == ' ' || letter.is_ascii_graphic();
    if written.len() > REALNAME_LEN_MAX || !written.chars().all(is_plain) {
        return Err(Reason::Value {
            found: written.to_owned(),
            wanted: "at most 64 printable ASCII characters",
            example: "\"run by desk@example.org\"",
        });
    }
    Ok(written.to_owned())
}
