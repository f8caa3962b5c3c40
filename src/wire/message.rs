//! What nodes say to each other.

use crate::model::codec::{CodecError, Reader, Writer};
use crate::model::ids::{EnvelopeId, MatchId, NodeId, OfferId, OrderId, PlanId};
use crate::model::instrument::Market;
use crate::model::market::{FeeIn, Level, Rules};
use crate::model::number::Quantity;
use crate::model::offer::{Ask, NoAnswer, Part};
use crate::model::time::Span;
use crate::model::trade::{Draw, Grant, LegRefusal, LegReport};
use crate::wire::peernet::Peernet;
use crate::wire::talk::{Probe, Talk};

/// Levels a side in one quote.
pub const QUOTE_LEVELS_MAX: usize = 16;
/// The most frequent message is written without being made.
const QUOTE_ORDINAL: u8 = 2;
/// Nodes named in one ask as asked already.
pub const ASKED_MAX: usize = 16;

/// One message. Ordinals are written out in `ordinal`; zero is refused, a retired one is never
/// used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A market beside the sender, with the rules that a leader must reckon with.
    Market { market: Market, rules: Rules },
    /// The sender's book (datagram, latest wins).
    Quote(Quote),
    /// A question for the four moments of a round trip (datagram).
    Probe(Probe),
    /// Its answer (datagram).
    ProbeReply(Probe),
    /// About measuring.
    Talk(Talk),
    /// The receiver may draw on this envelope for `ttl`.
    Grant { grant: Grant, ttl: Span },
    /// No more draws on this envelope.
    GrantOver { envelope: EnvelopeId },
    /// Fire one leg now.
    Fire(Draw),
    /// How a leg stands.
    LegReport(LegReport),
    /// A leg was not fired, and never will be.
    LegRefused {
        order: OrderId,
        plan: PlanId,
        why: LegRefusal,
    },
    /// What became of this leg?
    LegQuery { order: OrderId, plan: PlanId },
    /// Who takes part of this offer? Answers within `answer_within`, holds for `hold`.
    Ask {
        ask: Ask,
        answer_within: Span,
        hold: Span,
        asked: Vec<NodeId>,
    },
    /// A partial or aggregate match, held for `hold`.
    Match {
        offer: OfferId,
        id: MatchId,
        part: Part,
        hold: Span,
    },
    /// No match, and why; ends the wait for this node.
    NoMatch { offer: OfferId, why: NoAnswer },
    /// The origin takes this much of a match.
    Accept {
        offer: OfferId,
        id: MatchId,
        quantity: Quantity,
    },
    /// The matcher is bound to this much, for this total; zero means it is not.
    Confirm {
        offer: OfferId,
        id: MatchId,
        quantity: Quantity,
        total: Quantity,
    },
    /// The origin does not need the match; the hold is free.
    Release { offer: OfferId, id: MatchId },
    /// The origin has counted the confirmed match.
    Seal { offer: OfferId, id: MatchId },
    /// The matcher gave up waiting and is bound no more.
    Lapse { offer: OfferId, id: MatchId },
    /// The offer is over.
    Withdraw { offer: OfferId },
    /// Ask me about an offer that you announced on the channel.
    Inquire { offer: OfferId },
    /// About the peernet.
    Peernet(Peernet),
}

/// A book as a peer hears it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    pub head: QuoteHead,
    /// Best first.
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
}

/// What a quote says besides its levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuoteHead {
    pub market: Market,
    /// Counts the sender's quotes of this market in its life: the highest is the latest.
    pub number: u64,
    /// The book's own sequence; it begins anew with the venue's feed.
    pub sequence: u64,
    /// How old the book was when it was sent.
    pub age: Span,
    pub engine_lag: Span,
    /// False where the sender would not trade on it.
    pub is_live: bool,
}

impl Message {
    /// Returns the message's fixed number and its name in counters.
    pub const fn ordinal(&self) -> (u8, &'static str) {
        match self {
            Self::Market { .. } => (1, "market"),
            Self::Quote(_) => (QUOTE_ORDINAL, "quote"),
            // 3 and 4 were the probes of version 1.
            Self::Probe(_) => (20, "probe"),
            Self::ProbeReply(_) => (21, "probe_reply"),
            Self::Talk(talk) => talk.ordinal(),
            Self::Grant { .. } => (5, "grant"),
            Self::GrantOver { .. } => (6, "grant_over"),
            Self::Fire(_) => (7, "fire"),
            Self::LegReport(_) => (8, "leg_report"),
            Self::LegRefused { .. } => (9, "leg_refused"),
            Self::LegQuery { .. } => (10, "leg_query"),
            Self::Ask { .. } => (11, "ask"),
            Self::Match { .. } => (12, "match"),
            Self::NoMatch { .. } => (13, "no_match"),
            Self::Accept { .. } => (14, "accept"),
            Self::Confirm { .. } => (15, "confirm"),
            Self::Release { .. } => (16, "release"),
            Self::Seal { .. } => (17, "seal"),
            Self::Lapse { .. } => (18, "lapse"),
            Self::Withdraw { .. } => (19, "withdraw"),
            Self::Inquire { .. } => (29, "inquire"),
            Self::Peernet(peernet) => peernet.ordinal(),
        }
    }

    /// Tells whether strangers may say it: what is about an offer, and rosters.
    pub const fn is_public(&self) -> bool {
        matches!(self.ordinal().0, 11..=19 | 29 | 32 | 33)
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.u8(self.ordinal().0);
        match self {
            Self::Market { market, rules } => {
                writer.market(*market);
                write_rules(&mut writer, rules);
            }
            Self::Quote(Quote { head, bids, asks }) => {
                let (bids, asks) = (bids.iter().copied(), asks.iter().copied());
                head.write(bids, asks, &mut writer);
            }
            Self::Probe(probe) | Self::ProbeReply(probe) => probe.write(&mut writer),
            Self::Talk(talk) => talk.write(&mut writer),
            Self::Peernet(peernet) => peernet.write(&mut writer),
            Self::Grant { grant, ttl } => {
                writer.grant(grant);
                writer.span(*ttl);
            }
            Self::GrantOver { envelope } => writer.u64(envelope.0),
            Self::Fire(draw) => writer.draw(draw),
            Self::LegReport(report) => write_leg_report(&mut writer, report),
            Self::LegRefused { order, plan, why } => {
                writer.u64(order.0);
                writer.u64(plan.0);
                writer.u8(place_of(&LegRefusal::ALL, why));
            }
            Self::LegQuery { order, plan } => {
                writer.u64(order.0);
                writer.u64(plan.0);
            }
            Self::Ask { .. }
            | Self::Match { .. }
            | Self::NoMatch { .. }
            | Self::Accept { .. }
            | Self::Confirm { .. }
            | Self::Release { .. }
            | Self::Seal { .. }
            | Self::Lapse { .. }
            | Self::Withdraw { .. }
            | Self::Inquire { .. } => self.write_offer_message(&mut writer),
        }
    }

    fn write_offer_message(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Ask {
                ask,
                answer_within,
                hold,
                asked,
            } => {
                write_ask(writer, ask);
                writer.span(*answer_within);
                writer.span(*hold);
                let named = &asked[..asked.len().min(ASKED_MAX)];
                writer.u8(u8::try_from(named.len()).unwrap_or(0));
                for node in named {
                    writer.raw(&node.0);
                }
            }
            Self::Match {
                offer,
                id,
                part,
                hold,
            } => {
                write_match_id(writer, offer, id);
                writer.quantity(part.quantity);
                writer.quantity(part.total);
                writer.u8(part.method.ordinal());
                writer.span(*hold);
            }
            Self::NoMatch { offer, why } => {
                writer.raw(&offer.0);
                writer.u8(place_of(&NoAnswer::ALL, why));
            }
            Self::Accept {
                offer,
                id,
                quantity,
            } => {
                write_match_id(writer, offer, id);
                writer.quantity(*quantity);
            }
            Self::Confirm {
                offer,
                id,
                quantity,
                total,
            } => {
                write_match_id(writer, offer, id);
                writer.quantity(*quantity);
                writer.quantity(*total);
            }
            Self::Release { offer, id } | Self::Seal { offer, id } | Self::Lapse { offer, id } => {
                write_match_id(writer, offer, id);
            }
            Self::Withdraw { offer } | Self::Inquire { offer } => writer.raw(&offer.0),
            Self::Market { .. }
            | Self::Quote(_)
            | Self::Probe(_)
            | Self::ProbeReply(_)
            | Self::Talk(_)
            | Self::Peernet(_)
            | Self::Grant { .. }
            | Self::GrantOver { .. }
            | Self::Fire(_)
            | Self::LegReport(_)
            | Self::LegRefused { .. }
            | Self::LegQuery { .. } => (),
        }
    }

    /// Reads one whole message.
    ///
    /// # Errors
    /// Anything that `encode` could not have written.
    pub fn decode(frame: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(frame);
        let message = match reader.u8("ordinal")? {
            1 => Self::Market {
                market: reader.market()?,
                rules: read_rules(&mut reader)?,
            },
            QUOTE_ORDINAL => Self::Quote(Quote::read(&mut reader)?),
            5 => Self::Grant {
                grant: reader.grant()?,
                ttl: reader.span("ttl")?,
            },
            6 => Self::GrantOver {
                envelope: EnvelopeId(reader.u64("envelope")?),
            },
            7 => Self::Fire(reader.draw()?),
            8 => Self::LegReport(read_leg_report(&mut reader)?),
            9 => Self::LegRefused {
                order: OrderId(reader.u64("order")?),
                plan: PlanId(reader.u64("plan")?),
                why: at_place(&LegRefusal::ALL, reader.u8("refusal")?, "refusal")?,
            },
            10 => Self::LegQuery {
                order: OrderId(reader.u64("order")?),
                plan: PlanId(reader.u64("plan")?),
            },
            ordinal @ 11..=19 => Self::read_offer_message(ordinal, &mut reader)?,
            20 => Self::Probe(Probe::read(&mut reader)?),
            21 => Self::ProbeReply(Probe::read(&mut reader)?),
            29 => Self::Inquire {
                offer: reader.offer()?,
            },
            ordinal if Peernet::ORDINALS.contains(&ordinal) => {
                Self::Peernet(Peernet::read(ordinal, &mut reader)?)
            }
            ordinal if Talk::ORDINALS.contains(&ordinal) => {
                Self::Talk(Talk::read(ordinal, &mut reader)?)
            }
            ordinal => return Err(CodecError::Ordinal(ordinal)),
        };
        reader.finish()?;
        Ok(message)
    }

    fn read_offer_message(ordinal: u8, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        if ordinal == 11 {
            return read_ask_message(reader);
        }
        let offer = reader.offer()?;
        if ordinal == 13 {
            let why = at_place(&NoAnswer::ALL, reader.u8("no answer")?, "no answer")?;
            return Ok(Self::NoMatch { offer, why });
        }
        if ordinal == 19 {
            return Ok(Self::Withdraw { offer });
        }
        let id = MatchId(reader.u64("match")?);
        Ok(match ordinal {
            12 => Self::Match {
                offer,
                id,
                part: Part {
                    quantity: reader.amount("quantity")?,
                    total: reader.amount("total")?,
                    method: reader.method()?,
                },
                hold: reader.span("hold")?,
            },
            14 => Self::Accept {
                offer,
                id,
                quantity: reader.amount("quantity")?,
            },
            15 => Self::Confirm {
                offer,
                id,
                quantity: reader.quantity("quantity")?,
                total: reader.quantity("total")?,
            },
            16 => Self::Release { offer, id },
            17 => Self::Seal { offer, id },
            18 => Self::Lapse { offer, id },
            ordinal => return Err(CodecError::Ordinal(ordinal)),
        })
    }
}

impl QuoteHead {
    /// Appends a quote with these levels, best first, as `Message::Quote` is encoded: at most
    /// `QUOTE_LEVELS_MAX` a side.
    pub fn encode(
        &self,
        bids: impl ExactSizeIterator<Item = Level>,
        asks: impl ExactSizeIterator<Item = Level>,
        out: &mut Vec<u8>,
    ) {
        let mut writer = Writer::new(out);
        writer.u8(QUOTE_ORDINAL);
        self.write(bids, asks, &mut writer);
    }

    /// Reads a quote into levels that are reused; `None` where the bytes are another message.
    ///
    /// # Errors
    /// Why the bytes are no quote.
    pub fn decode(
        bytes: &[u8],
        bids: &mut Vec<Level>,
        asks: &mut Vec<Level>,
    ) -> Option<Result<Self, CodecError>> {
        let (ordinal, rest) = bytes.split_first()?;
        if *ordinal != QUOTE_ORDINAL {
            return None;
        }
        let mut reader = Reader::new(rest);
        let read = Self::read(&mut reader, bids, asks);
        Some(read.and_then(|head| reader.finish().map(|()| head)))
    }

    fn write(
        &self,
        bids: impl ExactSizeIterator<Item = Level>,
        asks: impl ExactSizeIterator<Item = Level>,
        writer: &mut Writer<'_>,
    ) {
        writer.market(self.market);
        writer.u64(self.number);
        writer.u64(self.sequence);
        writer.span(self.age);
        writer.span(self.engine_lag);
        writer.flag(self.is_live);
        writer.levels(bids, QUOTE_LEVELS_MAX);
        writer.levels(asks, QUOTE_LEVELS_MAX);
    }

    fn read(
        reader: &mut Reader<'_>,
        bids: &mut Vec<Level>,
        asks: &mut Vec<Level>,
    ) -> Result<Self, CodecError> {
        let head = Self {
            market: reader.market()?,
            number: reader.u64("quote number")?,
            sequence: reader.u64("sequence")?,
            age: reader.span("age")?,
            engine_lag: reader.span("engine lag")?,
            is_live: reader.flag("live")?,
        };
        bids.clear();
        asks.clear();
        reader.levels(bids, QUOTE_LEVELS_MAX)?;
        reader.levels(asks, QUOTE_LEVELS_MAX)?;
        Ok(head)
    }
}

impl Quote {
    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (mut bids, mut asks) = (Vec::new(), Vec::new());
        let head = QuoteHead::read(reader, &mut bids, &mut asks)?;
        Ok(Self { head, bids, asks })
    }
}

fn write_rules(writer: &mut Writer<'_>, rules: &Rules) {
    writer.price(rules.tick);
    writer.quantity(rules.lot);
    writer.quantity(rules.quantity_min);
    writer.u64(u64::from(rules.taker_fee_ppm));
    writer.u8(match rules.fee_in {
        FeeIn::Received => 1,
        FeeIn::Quote => 2,
    });
}

fn read_rules(reader: &mut Reader<'_>) -> Result<Rules, CodecError> {
    let rules = Rules {
        tick: reader.price("tick")?,
        lot: reader.quantity("lot")?,
        quantity_min: reader.quantity("smallest quantity")?,
        taker_fee_ppm: u32::try_from(reader.u64("fee")?).map_err(|_| CodecError::Range("fee"))?,
        fee_in: match reader.u8("fee currency")? {
            1 => FeeIn::Received,
            2 => FeeIn::Quote,
            _ => return Err(CodecError::Range("fee currency")),
        },
    };
    if rules.taker_fee_ppm > 500_000 {
        return Err(CodecError::Range("fee"));
    }
    Ok(rules)
}

fn write_leg_report(writer: &mut Writer<'_>, report: &LegReport) {
    writer.u64(report.order.0);
    writer.u64(report.plan.0);
    writer.market(report.market);
    writer.side(report.side);
    writer.price(report.limit);
    writer.filled(&report.filled);
    writer.flag(report.is_final);
}

fn read_leg_report(reader: &mut Reader<'_>) -> Result<LegReport, CodecError> {
    Ok(LegReport {
        order: OrderId(reader.u64("order")?),
        plan: PlanId(reader.u64("plan")?),
        market: reader.market()?,
        side: reader.side()?,
        limit: reader.price("limit")?,
        filled: reader.filled()?,
        is_final: reader.flag("final")?,
    })
}

fn write_ask(writer: &mut Writer<'_>, ask: &Ask) {
    writer.raw(&ask.offer.0);
    writer.raw(&ask.origin.0);
    writer.raw(&ask.owner.0);
    writer.line(&ask.line);
    writer.quantity(ask.part_min);
    writer.u8(ask.hops);
}

fn read_ask_message(reader: &mut Reader<'_>) -> Result<Message, CodecError> {
    let ask = Ask {
        offer: reader.offer()?,
        origin: reader.node()?,
        owner: reader.owner()?,
        line: reader.line()?,
        part_min: reader.quantity("smallest part")?,
        hops: reader.u8("hops")?,
    };
    let (answer_within, hold) = (reader.span("answer within")?, reader.span("hold")?);
    let count = usize::from(reader.u8("asked")?);
    if count > ASKED_MAX {
        return Err(CodecError::Range("asked"));
    }
    let mut asked = Vec::with_capacity(count);
    for _ in 0..count {
        asked.push(reader.node()?);
    }
    Ok(Message::Ask {
        ask,
        answer_within,
        hold,
        asked,
    })
}

fn write_match_id(writer: &mut Writer<'_>, offer: &OfferId, id: &MatchId) {
    writer.raw(&offer.0);
    writer.u64(id.0);
}

/// Returns the ordinal of a reason: its place in the list of all, from 1.
fn place_of<T: PartialEq>(all: &[T], item: &T) -> u8 {
    let place = all
        .iter()
        .position(|one| one == item)
        .map_or(0, |at| at + 1);
    u8::try_from(place).unwrap_or(0)
}

fn at_place<T: Copy>(all: &[T], ordinal: u8, what: &'static str) -> Result<T, CodecError> {
    usize::from(ordinal)
        .checked_sub(1)
        .and_then(|at| all.get(at))
        .copied()
        .ok_or(CodecError::Range(what))
}
