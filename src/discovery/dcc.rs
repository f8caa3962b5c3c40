//! Offers of a direct connection, as real clients write them behind `DCC`.
//!
//! ```text
//! active    SCHAT chat 2130706433 52000         passive   SCHAT chat 16843009 0 9
//! IPv6      SCHAT chat ::1 5000                 answer    SCHAT chat 2130706433 52000 9
//! refusal   REJECT CHAT chat   (in a notice)
//! ```
//! There is no RFC. Addresses of four bytes stand as one decimal number, the first byte highest; of
//! sixteen as text. An answer to a passive offer repeats its token.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// Which kind of link is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Plain text. Always refused.
    Chat,
    /// TLS: who listens is the server.
    Schat,
}

/// How the two ends come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Whoever offers listens.
    Active { port: u16 },
    /// Whoever offers cannot be reached, and asks the other to listen.
    Passive { token: Token },
    /// The other listens, as it was asked to.
    Answer { port: u16, token: Token },
}

/// What ties an answer to its passive offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u32);

/// One offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub verb: Verb,
    pub address: IpAddr,
    pub way: Way,
}

/// Why a text is no offer that can be taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum OfferError {
    #[error("a kind of DCC that is not spoken here")]
    Verb,
    #[error("a word too few or too many")]
    Words,
    #[error("no numeric address")]
    Address,
    #[error("a port that is none, or below {PORT_MIN}")]
    Port,
    #[error("a passive offer without a token")]
    Token,
}

/// Lower ports belong to services, which nobody offers a link to in good faith.
pub const PORT_MIN: u16 = 1_024;

impl Offer {
    /// Reads what stands behind `DCC `. Words in any case, and any text for the third that clients
    /// fill with `chat`, as irssi, weechat and eggdrop write it.
    ///
    /// # Errors
    /// See [`OfferError`].
    pub fn parse(text: &str) -> Result<Self, OfferError> {
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let mut word = || words.next().ok_or(OfferError::Words);
        let verb = word()?;
        let verb = match verb.to_ascii_uppercase().as_str() {
            "CHAT" => Verb::Chat,
            "SCHAT" => Verb::Schat,
            _ => return Err(OfferError::Verb),
        };
        word()?;
        let (address, port) = (address_of(word()?)?, word()?);
        let port: u16 = port.parse().map_err(|_| OfferError::Port)?;
        let token = words.next().map(str::parse).transpose();
        let token = token.map_err(|_| OfferError::Token)?.map(Token);
        if words.next().is_some() {
            return Err(OfferError::Words);
        }
        let way = match (port, token) {
            (0, None) => return Err(OfferError::Token),
            (0, Some(token)) => Way::Passive { token },
            (..PORT_MIN, _) => return Err(OfferError::Port),
            (port, None) => Way::Active { port },
            (port, Some(token)) => Way::Answer { port, token },
        };
        Ok(Self { verb, address, way })
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Chat => "CHAT",
            Self::Schat => "SCHAT",
        })
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} chat ", self.verb)?;
        match self.address {
            IpAddr::V4(address) => write!(formatter, "{}", address.to_bits())?,
            IpAddr::V6(address) => write!(formatter, "{address}")?,
        }
        match self.way {
            Way::Active { port } => write!(formatter, " {port}"),
            Way::Passive { token } => write!(formatter, " 0 {}", token.0),
            Way::Answer { port, token } => write!(formatter, " {port} {}", token.0),
        }
    }
}

/// Reads a decimal number, dotted quad or IPv6 text; never a name, which would have to be looked up.
fn address_of(text: &str) -> Result<IpAddr, OfferError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        let bits: u32 = text.parse().map_err(|_| OfferError::Address)?;
        return Ok(IpAddr::V4(Ipv4Addr::from_bits(bits)));
    }
    let address: IpAddr = text.parse().map_err(|_| OfferError::Address)?;
    Ok(address.to_canonical())
}

/// Tells whether an address that a stranger named may be dialled: only what is out in the open.
///
/// Refused are this host, private, shared (RFC 6598), link-local, unique local, multicast, broadcast,
/// documentation, benchmarking and reserved addresses, and whatever hides one of them inside IPv6
/// (mapped, compatible, NAT64, 6to4, Teredo). IANA special-purpose registries, read 2026-11-23.
pub fn is_open(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_open_v4(address),
        IpAddr::V6(address) => is_open_v6(address),
    }
}

fn is_open_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_protocol = (a, b, c) == (192, 0, 0) || (a, b, c) == (192, 88, 99);
    let is_benchmark = a == 198 && (b == 18 || b == 19);
    !(a == 0
        || a >= 224
        || is_shared
        || is_protocol
        || is_benchmark
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation())
}

fn is_open_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4() {
        // Mapped and compatible; `::` and `::1` are among them and not open either.
        return address.to_ipv4_mapped().is_some() && is_open_v4(inner);
    }
    let [first, second, ..] = address.segments();
    let is_global = first & 0xE000 == 0x2000;
    let is_protocol = first == 0x2001 && second < 0x0200;
    let is_documentation = (first == 0x2001 && second == 0x0DB8) || first == 0x3FFF;
    let is_6to4 = first == 0x2002;
    is_global && !is_protocol && !is_documentation && !is_6to4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    fn parse(text: &str) -> Result<String, OfferError> {
        Offer::parse(text).map(|offer| offer.to_string())
    }

    #[test]
    fn offers_are_read_as_clients_write_them_and_written_alike() {
        for (text, written) in [
            ("CHAT chat 2130706433 52000", "CHAT chat 2130706433 52000"),
            ("SCHAT chat 2130706433 52000", "SCHAT chat 2130706433 52000"),
            ("schat CHAT 3232235777 1024", "SCHAT chat 3232235777 1024"),
            ("CHAT CHAT 16843009 0 9", "CHAT chat 16843009 0 9"),
            (
                "SCHAT chat 134744072 4000 77",
                "SCHAT chat 134744072 4000 77",
            ),
            ("SCHAT chat 8.8.8.8 5000", "SCHAT chat 134744072 5000"),
            ("SCHAT chat ::1 5000", "SCHAT chat ::1 5000"),
            (
                "SCHAT chat ::ffff:8.8.8.8 5000",
                "SCHAT chat 134744072 5000",
            ),
        ] {
            assert_eq!(parse(text), Ok(written.to_owned()), "{text}");
            assert_eq!(parse(written), Ok(written.to_owned()), "{written}");
        }
        let passive = Offer::parse("SCHAT chat 16843009 0 9").unwrap();
        assert_eq!(passive.way, Way::Passive { token: Token(9) });
    }

    #[test]
    fn what_is_no_offer_is_refused_with_its_reason() {
        for (text, why) in [
            ("", OfferError::Words),
            ("SEND file 1 2000 3", OfferError::Verb),
            ("SCHAT chat", OfferError::Words),
            ("SCHAT chat 134744072", OfferError::Words),
            ("SCHAT chat example.org 5000", OfferError::Address),
            ("SCHAT chat 4294967296 5000", OfferError::Address),
            ("SCHAT chat 0x7f000001 5000", OfferError::Address),
            ("SCHAT chat 127.1 5000", OfferError::Address),
            ("SCHAT chat 134744072 0", OfferError::Token),
            ("SCHAT chat 134744072 22", OfferError::Port),
            ("SCHAT chat 134744072 1023 5", OfferError::Port),
            ("SCHAT chat 134744072 65536", OfferError::Port),
            ("SCHAT chat 134744072 -1", OfferError::Port),
            ("SCHAT chat 134744072 0 x", OfferError::Token),
            ("SCHAT chat 134744072 0 4294967296", OfferError::Token),
            ("SCHAT chat 134744072 5000 1 2", OfferError::Words),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }

    /// Attack 29: addresses that a stranger must not make us dial.
    #[test]
    fn only_addresses_in_the_open_are_dialled() {
        for text in [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "198.18.0.1",
            "192.0.0.1",
            "192.88.99.1",
            "::",
            "::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "::8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!is_open(text.parse().unwrap()), "{text}");
        }
        for text in [
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "169.253.1.1",
            "223.255.255.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860::8888",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_open(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn any_text_is_an_offer_or_an_error() {
        let mut random = Random::new(17);
        let words = [
            "SCHAT",
            "CHAT",
            "chat",
            "0",
            "9",
            "::1",
            "134744072",
            "70000",
            "",
            "\u{e9}",
            "-",
        ];
        let mut offers = 0;
        for _ in 0..50_000 {
            let count = random.between(3, 6);
            let mut word = || words[usize::try_from(random.below(words.len() as u64)).unwrap()];
            let text: Vec<&str> = (0..count).map(|_| word()).collect();
            if let Ok(offer) = Offer::parse(&format!("SCHAT {}", text.join(" "))) {
                assert_eq!(Offer::parse(&offer.to_string()), Ok(offer));
                offers += 1;
            }
        }
        assert!(offers > 50, "{offers}");
    }
}
