//! Requests of the control socket: one line of JSON each way between text and [`Command`].

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::latency::train::Shape;
use crate::membership::Peer;
use crate::model::currency::{Currency, CurrencyError, Method, Methods};
use crate::model::grammar::GrammarError;
use crate::model::ids::{NodeId, OfferId, OwnerId, Pin};
use crate::model::instrument::{Location, VenueIdError};
use crate::model::number::{NumberError, Price, Quantity};
use crate::model::offer::Line;
use crate::model::time::Span;
use crate::node::input::Command;
use crate::risk::Switch;

/// A request as the socket carries it: `{"verb":"offer-new","line":"150BTC@USD:BO:SEPA"}`.
///
/// Variants without fields are empty structs, as serde lets unknown fields pass in unit variants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    Status {},
    Balance {},
    Legs {},
    Limits {},
    Watch {},
    Switch {
        to: SwitchWord,
    },
    OfferNew {
        line: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reserve: Option<String>,
    },
    OfferList {},
    OfferExplain {
        id: String,
    },
    OfferQuote {
        line: String,
    },
    OfferWithdraw {
        id: String,
    },
    OfferApprove {
        id: String,
    },
    PeerList {},
    Channel {},
    ExitShow {},
    ExitRelease {},
    PeerAdded {
        peer: PeerCard,
    },
    PeerRemoved {
        id: String,
    },
    Ping {
        peer: String,
        interval_us: u64,
        /// One for a steady train.
        burst: u16,
        count: u32,
    },
    Survey {
        interval_us: u64,
        burst: u16,
        count: u32,
    },
    Transferred {
        currency: String,
        from: String,
        to: String,
        amount: String,
    },
    Methods {
        /// As an offer writes them: `SEPA|OKPAY`.
        methods: String,
    },
}

/// A position of the kill switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SwitchWord {
    Active,
    Pause,
    Reduce,
    Halt,
}

/// A peer whose card was checked by the command line already; keys in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerCard {
    pub pin: String,
    pub key: String,
    pub knock: String,
    pub owner: String,
    pub name: String,
    pub addresses: Vec<SocketAddr>,
    pub trust: u8,
}

/// Why a request is not a command.
#[derive(Debug, Error)]
pub enum CommandError {
    #[error("not a request")]
    Json(#[source] serde_json::Error),
    #[error("`line` is not an offer")]
    Line(#[source] GrammarError),
    #[error("`{field}` is not a number")]
    Number {
        field: &'static str,
        #[source]
        source: NumberError,
    },
    #[error("`{field}` must be above zero")]
    Zero { field: &'static str },
    #[error("`id` is not the id of an offer")]
    OfferId,
    #[error("`id` is not the id of a node")]
    NodeId,
    #[error("`{field}` is not {bytes} bytes in hex")]
    Hex { field: &'static str, bytes: usize },
    #[error("`trust` goes from 0 to 10")]
    Trust,
    #[error("`currency` is not one")]
    Currency(#[source] CurrencyError),
    #[error("`{field}` is no location")]
    Location {
        field: &'static str,
        #[source]
        source: VenueIdError,
    },
    #[error("`methods` is not a list such as SEPA|OKPAY")]
    Methods,
}

impl Command {
    /// Reads one line of JSON, strictly: no unknown verb, no unknown field.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let request: Request = serde_json::from_slice(line).map_err(CommandError::Json)?;
        request.command()
    }
}

impl Request {
    /// Turns text fields into values.
    fn command(self) -> Result<Command, CommandError> {
        Ok(match self {
            Self::Status {} => Command::Status,
            Self::Balance {} => Command::Balance,
            Self::Legs {} => Command::Legs,
            Self::Limits {} => Command::Limits,
            Self::Watch {} => Command::Watch,
            Self::Switch { to } => Command::Switch(to.into()),
            Self::OfferNew { line, reserve } => Command::OfferNew {
                line: offer_line(&line)?,
                reserve: reserve.as_deref().map(price).transpose()?,
            },
            Self::OfferList {} => Command::OfferList,
            Self::OfferExplain { id } => Command::OfferExplain(offer_id(&id)?),
            Self::OfferQuote { line } => Command::OfferQuote(offer_line(&line)?),
            Self::OfferWithdraw { id } => Command::OfferWithdraw(offer_id(&id)?),
            Self::OfferApprove { id } => Command::OfferApprove(offer_id(&id)?),
            Self::PeerList {} => Command::PeerList,
            Self::Channel {} => Command::Channel(None),
            Self::ExitShow {} => Command::ExitShow,
            Self::ExitRelease {} => Command::ExitRelease,
            Self::PeerAdded { peer } => Command::PeerAdded { peer: peer.peer()? },
            Self::PeerRemoved { id } => {
                Command::PeerRemoved(NodeId::parse(&id).ok_or(CommandError::NodeId)?)
            }
            Self::Ping {
                peer,
                interval_us,
                burst,
                count,
            } => Command::Ping {
                peer,
                shape: shape(interval_us, burst),
                count,
            },
            Self::Survey {
                interval_us,
                burst,
                count,
            } => Command::Survey {
                shape: shape(interval_us, burst),
                count,
            },
            Self::Transferred {
                currency,
                from,
                to,
                amount,
            } => Command::Transferred {
                currency: currency
                    .parse::<Currency>()
                    .map_err(CommandError::Currency)?,
                from: location("from", &from)?,
                to: location("to", &to)?,
                amount: self::amount(&amount)?,
            },
            Self::Methods { methods } => Command::Methods(self::methods(&methods)?),
        })
    }
}

impl PeerCard {
    /// Writes a peer as the socket carries it.
    pub fn of(peer: &Peer) -> Self {
        Self {
            pin: peer.pin.to_string(),
            key: Pin(peer.key).to_string(),
            knock: Pin(peer.knock).to_string(),
            owner: peer.owner.to_string(),
            name: peer.name.clone(),
            addresses: peer.addresses.clone(),
            trust: peer.trust,
        }
    }

    /// Reads a peer; its id follows from its pin.
    fn peer(self) -> Result<Peer, CommandError> {
        let pin = Pin(hex("pin", &self.pin)?);
        if self.trust > TRUST_MAX {
            return Err(CommandError::Trust);
        }
        Ok(Peer {
            id: pin.node_id(),
            pin,
            key: hex("key", &self.key)?,
            knock: hex("knock", &self.knock)?,
            owner: OwnerId(hex("owner", &self.owner)?),
            name: self.name,
            addresses: self.addresses,
            trust: self.trust,
        })
    }
}

/// Trust in one's own nodes; nobody has more.
const TRUST_MAX: u8 = 10;

impl From<SwitchWord> for Switch {
    fn from(word: SwitchWord) -> Self {
        match word {
            SwitchWord::Active => Self::Active,
            SwitchWord::Pause => Self::Pause,
            SwitchWord::Reduce => Self::Reduce,
            SwitchWord::Halt => Self::Halt,
        }
    }
}

fn shape(interval_us: u64, burst: u16) -> Shape {
    let interval = Span::MICRO.times(interval_us);
    match burst {
        1 => Shape::Idle { interval },
        burst => Shape::Loaded { interval, burst },
    }
}

fn offer_line(text: &str) -> Result<Line, CommandError> {
    Line::parse(text.as_bytes()).map_err(CommandError::Line)
}

fn offer_id(text: &str) -> Result<OfferId, CommandError> {
    OfferId::parse(text).ok_or(CommandError::OfferId)
}

fn price(text: &str) -> Result<Price, CommandError> {
    let field = "reserve";
    let price: Price = text
        .parse()
        .map_err(|source| CommandError::Number { field, source })?;
    match price.is_positive() {
        true => Ok(price),
        false => Err(CommandError::Zero { field }),
    }
}

fn amount(text: &str) -> Result<Quantity, CommandError> {
    let field = "amount";
    let amount: Quantity = text
        .parse()
        .map_err(|source| CommandError::Number { field, source })?;
    match amount.is_positive() {
        true => Ok(amount),
        false => Err(CommandError::Zero { field }),
    }
}

fn location(field: &'static str, text: &str) -> Result<Location, CommandError> {
    text.parse()
        .map_err(|source| CommandError::Location { field, source })
}

fn methods(text: &str) -> Result<Methods, CommandError> {
    let mut methods = Methods::default();
    for word in text.split('|') {
        let method = Method::from_word(word.as_bytes()).ok_or(CommandError::Methods)?;
        if !methods.push(method) {
            return Err(CommandError::Methods);
        }
    }
    Ok(methods)
}

fn hex<const BYTES: usize>(field: &'static str, text: &str) -> Result<[u8; BYTES], CommandError> {
    let fault = CommandError::Hex {
        field,
        bytes: BYTES,
    };
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let Some(digits) = digits.filter(|digits| digits.len() == BYTES * 2) else {
        return Err(fault);
    };
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::try_from(pair[0] * 16 + pair[1]).unwrap_or(u8::MAX);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Command, String> {
        Command::parse(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_is_one_strict_object() {
        assert_eq!(parse("{\"verb\":\"status\"}"), Ok(Command::Status));
        let halt = parse("{\"verb\":\"switch\",\"to\":\"halt\"}");
        assert_eq!(halt, Ok(Command::Switch(Switch::Halt)));
        let line = "{\"verb\":\"offer-new\",\"line\":\"150BTC@USD:BO:SEPA\",\"reserve\":\"105\"}";
        assert!(matches!(
            parse(line),
            Ok(Command::OfferNew {
                reserve: Some(Price(10_500_000_000)),
                ..
            })
        ));
        let methods = parse("{\"verb\":\"methods\",\"methods\":\"SEPA|ACH\"}");
        assert!(matches!(methods, Ok(Command::Methods(list)) if list.len() == 2));
    }

    #[test]
    fn whatever_else_is_refused_with_its_field() {
        for (text, expected) in [
            ("", "not a request"),
            ("[]", "not a request"),
            ("{\"verb\":\"stat\"}", "not a request"),
            ("{\"verb\":\"status\",\"x\":1}", "not a request"),
            ("{\"verb\":\"offer-new\"}", "not a request"),
            (
                "{\"verb\":\"offer-new\",\"line\":\"x\"}",
                "`line` is not an offer",
            ),
            (
                "{\"verb\":\"offer-withdraw\",\"id\":\"x\"}",
                "`id` is not the id of an offer",
            ),
            (
                "{\"verb\":\"peer-removed\",\"id\":\"x\"}",
                "`id` is not the id of a node",
            ),
            (
                "{\"verb\":\"methods\",\"methods\":\"SEPA|SEPA\"}",
                "`methods` is not a list such as SEPA|OKPAY",
            ),
            (
                "{\"verb\":\"transferred\",\"currency\":\"BTC\",\"from\":\"a\",\"to\":\"wallet\",\"amount\":\"0\"}",
                "`amount` must be above zero",
            ),
        ] {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_peer_passes_unchanged_and_keeps_the_id_of_its_pin() {
        let pin = Pin([0xA7; 32]);
        let peer = Peer {
            id: pin.node_id(),
            pin,
            key: [2; 32],
            knock: [3; 32],
            owner: OwnerId([4; 32]),
            name: "tokyo".to_owned(),
            addresses: vec!["127.0.0.1:7411".parse().unwrap()],
            trust: 10,
        };
        let request = Request::PeerAdded {
            peer: PeerCard::of(&peer),
        };
        let line = serde_json::to_vec(&request).unwrap();
        assert_eq!(Command::parse(&line).unwrap(), Command::PeerAdded { peer });
    }
}
