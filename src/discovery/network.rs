//! What the owner says about the open network: whom to meet there, where, and as whom.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use thiserror::Error;

use crate::model::instrument::Pair;
use crate::model::number::Quantity;
use crate::model::time::Span;

/// Networks that one node is on at most.
pub const NETWORKS_MAX: usize = 8;

/// Who exists for this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Listed nodes; nobody else gets an answer of any kind.
    #[default]
    Dark,
    /// Everybody on the channel.
    Open,
    /// Listed nodes, and strangers whose trust passes the owner's floor.
    Mixed,
}

impl Mode {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Open => "open",
            Self::Mixed => "mixed",
        }
    }
}

/// One of the networks, by its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetworkNo(pub u8);

/// One network, as the owner wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The owner's name for it.
    pub name: String,
    pub host: String,
    pub port: u16,
    pub trust: Trust,
    /// The address of this machine that is dialled from.
    pub bind: Option<IpAddr>,
    /// One line, the server's password, or two, account and password; relative to the home.
    pub login_file: Option<PathBuf>,
}

/// How a server is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Not at all: plain text.
    Plain,
    /// By whom this machine trusts.
    Public,
    /// By its certificate alone.
    Pinned(Fingerprint),
}

/// SHA-256 over a whole certificate, as `openssl x509 -fingerprint -sha256` prints it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// Why a text is no fingerprint.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a fingerprint is 64 hexadecimal digits, with colons between or without")]
pub struct FingerprintError;

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits = text.replace(':', "");
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
        let bytes = bytes.map_err(|_| FingerprintError)?;
        bytes.try_into().map(Self).map_err(|_| FingerprintError)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

/// What an operator of the channel asks of those it gives voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Time on the channel before voice.
    pub voice_after: Span,
    /// Trust, 0 to 10.
    pub trust_min: u8,
}

/// The open network of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub mode: Mode,
    pub channel: String,
    /// What the owner wants said behind the UUID.
    pub realname: String,
    /// The least trust of strangers in mode `mixed`; who is not known has 0.
    pub trust_min: u8,
    /// What offers of a link name; else the address that a network is dialled from.
    pub address: Option<IpAddr>,
    /// Whether others can reach that address; unset, it is judged by its kind.
    pub is_reachable: Option<bool>,
    /// First and last port that is listened on for links.
    pub ports: Option<(u16, u16)>,
    /// Private and local addresses of strangers are dialled as well: for rehearsals on one machine.
    pub is_local_allowed: bool,
    /// The least offer that is announced, and heard, of what is given (base) for what is wanted
    /// (quote). Of other pairs nothing is.
    pub broadcast_min: Vec<(Pair, Quantity)>,
    /// Time on the channel after which its operator gives voice.
    pub voice_after: Span,
    /// In a peernet of two: this node may speak without the other one.
    pub alone_after_lease: bool,
    /// This node gives voice where it is an operator.
    pub chanop: Option<Operator>,
    pub networks: Vec<Network>,
}

impl Default for Settings {
    /// What holds where no file says anything: no open network.
    fn default() -> Self {
        Self {
            mode: Mode::Dark,
            channel: "#expressnet".to_owned(),
            realname: String::new(),
            trust_min: 1,
            address: None,
            is_reachable: None,
            ports: None,
            is_local_allowed: false,
            broadcast_min: Vec::new(),
            voice_after: Span::DAY,
            alone_after_lease: false,
            chanop: None,
            networks: Vec::new(),
        }
    }
}

impl Settings {
    /// Tells whether anybody is met who is not on the list.
    pub const fn wants_strangers(&self) -> bool {
        match self.mode {
            Mode::Dark => false,
            Mode::Open => true,
            // Nobody knows a stranger yet, so each has 0.
            Mode::Mixed => self.trust_min == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_tools_print_it() {
        let plain = "00ff".repeat(16);
        let fingerprint: Fingerprint = plain.parse().unwrap();
        let colons = ["00:FF"; 16].join(":");
        assert_eq!(colons.parse(), Ok(fingerprint));
        assert_eq!(fingerprint.to_string(), plain);
        for text in ["", "00ff", &"0g".repeat(32), &"00".repeat(33)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError), "{text}");
        }
    }
}
