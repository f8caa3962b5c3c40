//! One durable fact. Ordinals are fixed; zero is refused, a retired one is never used again.

use crate::journal::peernet::PeernetRecord;
use crate::model::codec::{CodecError, Reader, Writer};
use crate::model::currency::Currency;
use crate::model::ids::{EnvelopeId, MatchId, NodeId, OfferId, OrderId, PlanId};
use crate::model::instrument::{Market, VenueId};
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::offer::{Bound, Offer, Part, Tally};
use crate::model::time::Time;
use crate::model::trade::{Draw, Filled, Grant, VenueRef};

/// Members of one relayed aggregate in a record.
const MEMBERS_MAX: usize = 64;

/// What the journal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A run of the node began; ids of earlier runs are never used again.
    Booted {
        incarnation: u64,
    },
    /// The kill switch, by its ordinal.
    Switched {
        switch: u8,
    },
    /// An envelope may be drawn on. Durable before its drawer hears of it.
    Granted {
        grant: Grant,
        drawer: NodeId,
        at: Time,
    },
    EnvelopeClosed {
        envelope: EnvelopeId,
    },
    /// An order was fired (journalled behind the fire).
    Drawn {
        draw: Draw,
        leader: NodeId,
        market: Market,
        side: Side,
    },
    /// An order of this node ended.
    Ended {
        order: OrderId,
        filled: Filled,
        at: Time,
    },
    /// This node, as leader, fired a leg (journalled behind the fire).
    LegFired {
        granter: NodeId,
        draw: Draw,
        market: Market,
        side: Side,
        planned: Quantity,
    },
    /// A plan is accounted for.
    PlanClosed {
        plan: PlanId,
        base: Currency,
        quote: Currency,
        tally: Tally,
        /// Signed units: quote earned, base lost to fees, base left unbalanced.
        result: (i64, i64, i64),
        at: Time,
    },
    OfferOpened {
        offer: Offer,
    },
    /// The origin takes part of a match. Durable before the matcher hears of it.
    Accepted {
        offer: OfferId,
        peer: NodeId,
        id: MatchId,
        quantity: Quantity,
        part: Part,
    },
    /// A confirmed match is counted as filled. Durable before the matcher hears of it.
    Counted {
        offer: OfferId,
        peer: NodeId,
        id: MatchId,
        part: Part,
    },
    /// An accepted match came to nothing, or was counted and lapsed.
    Uncounted {
        offer: OfferId,
        peer: NodeId,
        id: MatchId,
    },
    OfferClosed {
        offer: OfferId,
        tally: Tally,
        received: Quantity,
    },
    /// This node is bound to a part. Durable before the origin hears of it.
    HoldConfirmed {
        offer: OfferId,
        id: MatchId,
        upstream: Option<NodeId>,
        give: Currency,
        want: Currency,
        part: Part,
    },
    HoldOver {
        id: MatchId,
        is_sealed: bool,
    },
    /// This node is bound to an aggregate. Durable before the origin hears of it.
    RelayBound {
        bound: Bound,
    },
    RelayOver {
        id: MatchId,
        is_sealed: bool,
    },
    /// Money of a paper account, or moved by the owner, at a location written as text.
    Balance {
        location: String,
        currency: Currency,
        units: i64,
    },
    /// A venue's own name for an order, where it gives names of its own.
    Named {
        order: OrderId,
        reference: VenueRef,
    },
    /// Nonces of a venue below this one may have been used.
    Nonces {
        venue: VenueId,
        below: u64,
    },
    /// A line about an own offer goes to the channel: that it is open, or that it is over.
    Spoken {
        offer: OfferId,
        version: u32,
        is_over: bool,
    },
    /// About the peernet.
    Peernet(PeernetRecord),
}

impl Record {
    /// Returns the record's fixed number and its name, which is also its crash point.
    pub const fn ordinal(&self) -> (u8, &'static str) {
        match self {
            Self::Booted { .. } => (1, "booted"),
            Self::Switched { .. } => (2, "switched"),
            Self::Granted { .. } => (3, "granted"),
            Self::EnvelopeClosed { .. } => (4, "envelope-closed"),
            Self::Drawn { .. } => (5, "drawn"),
            Self::Ended { .. } => (6, "ended"),
            Self::LegFired { .. } => (7, "leg-fired"),
            Self::PlanClosed { .. } => (8, "plan-closed"),
            Self::OfferOpened { .. } => (9, "offer-opened"),
            Self::Accepted { .. } => (10, "accepted"),
            Self::Counted { .. } => (11, "counted"),
            Self::Uncounted { .. } => (12, "uncounted"),
            Self::OfferClosed { .. } => (13, "offer-closed"),
            Self::HoldConfirmed { .. } => (14, "hold-confirmed"),
            Self::HoldOver { .. } => (15, "hold-over"),
            Self::RelayBound { .. } => (16, "relay-bound"),
            Self::RelayOver { .. } => (17, "relay-over"),
            Self::Balance { .. } => (18, "balance"),
            Self::Named { .. } => (19, "named"),
            Self::Nonces { .. } => (20, "nonces"),
            Self::Spoken { .. } => (21, "spoken"),
            Self::Peernet(record) => record.ordinal(),
        }
    }

    /// Returns the crash point of an encoded record.
    pub fn name_of(body: &[u8]) -> &'static str {
        NAMES
            .iter()
            .find(|(ordinal, _)| Some(ordinal) == body.first())
            .map_or("unknown", |(_, name)| name)
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.u8(self.ordinal().0);
        match self {
            Self::Booted { incarnation } => writer.u64(*incarnation),
            Self::Switched { switch } => writer.u8(*switch),
            Self::Granted { grant, drawer, at } => {
                writer.grant(grant);
                writer.raw(&drawer.0);
                writer.u64(at.0);
            }
            Self::EnvelopeClosed { envelope } => writer.u64(envelope.0),
            Self::Drawn {
                draw,
                leader,
                market,
                side,
            } => {
                writer.draw(draw);
                writer.raw(&leader.0);
                writer.market(*market);
                writer.side(*side);
            }
            Self::Ended { order, filled, at } => {
                writer.u64(order.0);
                writer.filled(filled);
                writer.u64(at.0);
            }
            Self::LegFired {
                granter,
                draw,
                market,
                side,
                planned,
            } => {
                writer.raw(&granter.0);
                writer.draw(draw);
                writer.market(*market);
                writer.side(*side);
                writer.quantity(*planned);
            }
            Self::PlanClosed { .. }
            | Self::OfferOpened { .. }
            | Self::Accepted { .. }
            | Self::Counted { .. }
            | Self::Uncounted { .. }
            | Self::OfferClosed { .. }
            | Self::HoldConfirmed { .. }
            | Self::HoldOver { .. }
            | Self::RelayBound { .. }
            | Self::RelayOver { .. }
            | Self::Balance { .. }
            | Self::Named { .. }
            | Self::Nonces { .. }
            | Self::Spoken { .. }
            | Self::Peernet(_) => self.write_offer_record(&mut writer),
        }
    }

    fn write_offer_record(&self, writer: &mut Writer<'_>) {
        match self {
            Self::OfferOpened { offer } => {
                writer.raw(&offer.id.0);
                writer.raw(&offer.origin.0);
                writer.line(&offer.line);
                writer.i64(offer.reserve.0);
                writer.quantity(offer.part_min);
                writer.u64(offer.expires.0);
                writer.option(offer.covers.as_ref(), |writer, currency| {
                    writer.currency(*currency)
                });
            }
            Self::Accepted {
                offer,
                peer,
                id,
                quantity,
                part,
            } => {
                write_match(writer, offer, peer, id);
                writer.quantity(*quantity);
                writer.part(part);
            }
            Self::Counted {
                offer,
                peer,
                id,
                part,
            } => {
                write_match(writer, offer, peer, id);
                writer.part(part);
            }
            Self::Uncounted { offer, peer, id } => write_match(writer, offer, peer, id),
            Self::OfferClosed {
                offer,
                tally,
                received,
            } => {
                writer.raw(&offer.0);
                write_tally(writer, tally);
                writer.quantity(*received);
            }
            Self::PlanClosed { .. }
            | Self::HoldConfirmed { .. }
            | Self::HoldOver { .. }
            | Self::RelayBound { .. }
            | Self::RelayOver { .. }
            | Self::Balance { .. }
            | Self::Named { .. }
            | Self::Nonces { .. }
            | Self::Spoken { .. }
            | Self::Peernet(_) => self.write_other_record(writer),
            Self::Booted { .. }
            | Self::Switched { .. }
            | Self::Granted { .. }
            | Self::EnvelopeClosed { .. }
            | Self::Drawn { .. }
            | Self::Ended { .. }
            | Self::LegFired { .. } => (),
        }
    }

    fn write_plan_closed(&self, writer: &mut Writer<'_>) {
        let Self::PlanClosed {
            plan,
            base,
            quote,
            tally,
            result,
            at,
        } = self
        else {
            return;
        };
        writer.u64(plan.0);
        writer.currency(*base);
        writer.currency(*quote);
        write_tally(writer, tally);
        for units in [result.0, result.1, result.2] {
            writer.i64(units);
        }
        writer.u64(at.0);
    }

    fn write_other_record(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Balance {
                location,
                currency,
                units,
            } => {
                writer.text(location);
                writer.currency(*currency);
                writer.i64(*units);
            }
            Self::Named { order, reference } => {
                writer.u64(order.0);
                writer.raw(&reference.0.to_be_bytes());
            }
            Self::Nonces { venue, below } => {
                writer.venue(*venue);
                writer.u64(*below);
            }
            Self::Spoken {
                offer,
                version,
                is_over,
            } => {
                writer.raw(&offer.0);
                writer.u64(u64::from(*version));
                writer.flag(*is_over);
            }
            Self::Peernet(record) => record.write(writer),
            Self::PlanClosed { .. } => self.write_plan_closed(writer),
            Self::HoldConfirmed {
                offer,
                id,
                upstream,
                give,
                want,
                part,
            } => {
                writer.raw(&offer.0);
                writer.u64(id.0);
                writer.option(upstream.as_ref(), |writer, node| writer.raw(&node.0));
                writer.currency(*give);
                writer.currency(*want);
                writer.part(part);
            }
            Self::HoldOver { id, is_sealed } => {
                writer.u64(id.0);
                writer.flag(*is_sealed);
            }
            Self::RelayBound { bound } => write_bound(writer, bound),
            Self::RelayOver { id, is_sealed } => {
                writer.u64(id.0);
                writer.flag(*is_sealed);
            }
            Self::Booted { .. }
            | Self::Switched { .. }
            | Self::Granted { .. }
            | Self::EnvelopeClosed { .. }
            | Self::Drawn { .. }
            | Self::Ended { .. }
            | Self::LegFired { .. }
            | Self::OfferOpened { .. }
            | Self::Accepted { .. }
            | Self::Counted { .. }
            | Self::Uncounted { .. }
            | Self::OfferClosed { .. } => (),
        }
    }

    /// Reads one whole record.
    ///
    /// # Errors
    /// Anything that `encode` could not have written.
    pub fn decode(body: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(body);
        let record = match reader.u8("ordinal")? {
            1 => Self::Booted {
                incarnation: reader.u64("incarnation")?,
            },
            2 => Self::Switched {
                switch: reader.u8("switch")?,
            },
            3 => Self::Granted {
                grant: reader.grant()?,
                drawer: reader.node()?,
                at: Time(reader.u64("time")?),
            },
            4 => Self::EnvelopeClosed {
                envelope: EnvelopeId(reader.u64("envelope")?),
            },
            5 => Self::Drawn {
                draw: reader.draw()?,
                leader: reader.node()?,
                market: reader.market()?,
                side: reader.side()?,
            },
            6 => Self::Ended {
                order: OrderId(reader.u64("order")?),
                filled: reader.filled()?,
                at: Time(reader.u64("time")?),
            },
            7 => Self::LegFired {
                granter: reader.node()?,
                draw: reader.draw()?,
                market: reader.market()?,
                side: reader.side()?,
                planned: reader.quantity("planned")?,
            },
            8 => Self::PlanClosed {
                plan: PlanId(reader.u64("plan")?),
                base: reader.currency()?,
                quote: reader.currency()?,
                tally: read_tally(&mut reader)?,
                result: (
                    reader.i64("result")?,
                    reader.i64("fees")?,
                    reader.i64("imbalance")?,
                ),
                at: Time(reader.u64("time")?),
            },
            18 => Self::Balance {
                location: reader.text("location", 32)?,
                currency: reader.currency()?,
                units: reader.i64("units")?,
            },
            19 => Self::Named {
                order: OrderId(reader.u64("order")?),
                reference: VenueRef(reader.u128("reference")?),
            },
            20 => Self::Nonces {
                venue: reader.venue()?,
                below: reader.u64("nonce")?,
            },
            ordinal => Self::read_offer_record(ordinal, &mut reader)?,
        };
        reader.finish()?;
        Ok(record)
    }

    fn read_offer_record(ordinal: u8, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match ordinal {
            9 => Self::OfferOpened {
                offer: Offer {
                    id: reader.offer()?,
                    origin: reader.node()?,
                    line: reader.line()?,
                    reserve: Price(reader.i64("reserve")?),
                    part_min: reader.quantity("smallest part")?,
                    expires: Time(reader.u64("expiry")?),
                    covers: reader.option(Reader::currency)?,
                },
            },
            10 => {
                let (offer, peer, id) = read_match(reader)?;
                Self::Accepted {
                    offer,
                    peer,
                    id,
                    quantity: reader.quantity("quantity")?,
                    part: reader.part()?,
                }
            }
            11 => {
                let (offer, peer, id) = read_match(reader)?;
                let part = reader.part()?;
                Self::Counted {
                    offer,
                    peer,
                    id,
                    part,
                }
            }
            12 => {
                let (offer, peer, id) = read_match(reader)?;
                Self::Uncounted { offer, peer, id }
            }
            13 => Self::OfferClosed {
                offer: reader.offer()?,
                tally: read_tally(reader)?,
                received: reader.quantity("received")?,
            },
            14 => Self::HoldConfirmed {
                offer: reader.offer()?,
                id: MatchId(reader.u64("match")?),
                upstream: reader.option(Reader::node)?,
                give: reader.currency()?,
                want: reader.currency()?,
                part: reader.part()?,
            },
            15 => Self::HoldOver {
                id: MatchId(reader.u64("match")?),
                is_sealed: reader.flag("sealed")?,
            },
            16 => Self::RelayBound {
                bound: read_bound(reader)?,
            },
            17 => Self::RelayOver {
                id: MatchId(reader.u64("match")?),
                is_sealed: reader.flag("sealed")?,
            },
            21 => read_spoken(reader)?,
            ordinal if PeernetRecord::ORDINALS.contains(&ordinal) => {
                Self::Peernet(PeernetRecord::read(ordinal, reader)?)
            }
            ordinal => return Err(CodecError::Ordinal(ordinal)),
        })
    }
}

fn read_spoken(reader: &mut Reader<'_>) -> Result<Record, CodecError> {
    Ok(Record::Spoken {
        offer: reader.offer()?,
        version: u32::try_from(reader.u64("version")?).map_err(|_| CodecError::Range("version"))?,
        is_over: reader.flag("over")?,
    })
}

/// The crash points: every record's ordinal and name.
pub const NAMES: [(u8, &str); 24] = [
    (1, "booted"),
    (2, "switched"),
    (3, "granted"),
    (4, "envelope-closed"),
    (5, "drawn"),
    (6, "ended"),
    (7, "leg-fired"),
    (8, "plan-closed"),
    (9, "offer-opened"),
    (10, "accepted"),
    (11, "counted"),
    (12, "uncounted"),
    (13, "offer-closed"),
    (14, "hold-confirmed"),
    (15, "hold-over"),
    (16, "relay-bound"),
    (17, "relay-over"),
    (18, "balance"),
    (19, "named"),
    (20, "nonces"),
    (21, "spoken"),
    (22, "roster"),
    (23, "promised"),
    (24, "roster-signed"),
];

fn write_match(writer: &mut Writer<'_>, offer: &OfferId, peer: &NodeId, id: &MatchId) {
    writer.raw(&offer.0);
    writer.raw(&peer.0);
    writer.u64(id.0);
}

fn read_match(reader: &mut Reader<'_>) -> Result<(OfferId, NodeId, MatchId), CodecError> {
    Ok((
        reader.offer()?,
        reader.node()?,
        MatchId(reader.u64("match")?),
    ))
}

fn write_tally(writer: &mut Writer<'_>, tally: &Tally) {
    writer.quantity(tally.planned);
    writer.quantity(tally.filled);
    writer.quantity(tally.offered);
    writer.quantity(tally.released);
}

fn read_tally(reader: &mut Reader<'_>) -> Result<Tally, CodecError> {
    Ok(Tally {
        planned: reader.quantity("planned")?,
        filled: reader.quantity("filled")?,
        offered: reader.quantity("offered")?,
        released: reader.quantity("released")?,
    })
}

fn write_bound(writer: &mut Writer<'_>, bound: &Bound) {
    write_match(writer, &bound.offer, &bound.upstream, &bound.id);
    writer.part(&bound.part);
    writer.option(bound.own.as_ref(), |writer, id| writer.u64(id.0));
    let members = &bound.members[..bound.members.len().min(MEMBERS_MAX)];
    writer.u8(u8::try_from(members.len()).unwrap_or(0));
    for (peer, id) in members {
        writer.raw(&peer.0);
        writer.u64(id.0);
    }
}

fn read_bound(reader: &mut Reader<'_>) -> Result<Bound, CodecError> {
    let (offer, upstream, id) = read_match(reader)?;
    let part = reader.part()?;
    let own = reader.option(|reader| reader.u64("own match").map(MatchId))?;
    let count = usize::from(reader.u8("members")?);
    if count > MEMBERS_MAX {
        return Err(CodecError::Range("members"));
    }
    let mut members = Vec::with_capacity(count);
    for _ in 0..count {
        members.push((reader.node()?, MatchId(reader.u64("match")?)));
    }
    Ok(Bound {
        offer,
        upstream,
        id,
        part,
        own,
        members,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::currency::Method;
    use crate::model::offer::Line;
    use crate::model::trade::Purpose;

    fn samples() -> Vec<Record> {
        let market: Market = Market {
            venue: "a".parse().unwrap(),
            pair: "BTC/USD".parse().unwrap(),
        };
        let draw = Draw {
            envelope: EnvelopeId(1),
            order: OrderId(2),
            plan: PlanId(3),
            quantity: Quantity(4),
            limit: Price(5),
            purpose: Purpose::Recover,
        };
        let peer = NodeId([4; 16]);
        vec![
            Record::Booted { incarnation: 1 },
            Record::Switched { switch: 4 },
            Record::EnvelopeClosed {
                envelope: EnvelopeId(9),
            },
            Record::Drawn {
                draw,
                leader: peer,
                market,
                side: Side::Ask,
            },
            Record::Ended {
                order: OrderId(2),
                filled: Filled::default(),
                at: Time(8),
            },
            Record::LegFired {
                granter: peer,
                draw,
                market,
                side: Side::Bid,
                planned: Quantity(7),
            },
            Record::PlanClosed {
                plan: PlanId(1),
                base: Currency::BTC,
                quote: Currency::USD,
                tally: Tally::default(),
                result: (-1, -2, 3),
                at: Time(9),
            },
            Record::Named {
                order: OrderId(2),
                reference: VenueRef(u128::MAX - 1),
            },
            Record::Nonces {
                venue: market.venue,
                below: 77,
            },
            Record::Spoken {
                offer: OfferId([3; 16]),
                version: 2,
                is_over: true,
            },
            Record::Peernet(PeernetRecord::Promised {
                token: 1 << 32 | 5,
                to: NodeId([6; 16]),
            }),
            Record::Peernet(PeernetRecord::Signed { version: 8 }),
        ]
    }

    fn offer_samples() -> Vec<Record> {
        let part = Part {
            quantity: Quantity(1),
            total: Quantity(2),
            method: Method::Sepa,
        };
        let (offer, peer, id) = (OfferId([3; 16]), NodeId([4; 16]), MatchId(5));
        vec![
            Record::OfferOpened {
                offer: Offer {
                    id: offer,
                    origin: peer,
                    line: Line::parse(b"150BTC@USD:BO:SEPA|ACH").unwrap(),
                    reserve: Price(7),
                    part_min: Quantity(1),
                    expires: Time(9),
                    covers: Some(Currency::BTC),
                },
            },
            Record::Accepted {
                offer,
                peer,
                id,
                quantity: Quantity(1),
                part,
            },
            Record::HoldConfirmed {
                offer,
                id,
                upstream: Some(peer),
                give: Currency::BTC,
                want: Currency::USD,
                part,
            },
            Record::RelayBound {
                bound: Bound {
                    offer,
                    upstream: peer,
                    id,
                    part,
                    own: None,
                    members: vec![(peer, id)],
                },
            },
            Record::Balance {
                location: "wallet".to_owned(),
                currency: Currency::BTC,
                units: -5,
            },
        ]
    }

    #[test]
    fn every_record_reads_as_it_was_written_and_no_other_length_does() {
        for record in samples().into_iter().chain(offer_samples()) {
            let mut body = Vec::new();
            record.encode(&mut body);
            assert_eq!(Record::decode(&body), Ok(record.clone()));
            assert_eq!(Record::name_of(&body), record.ordinal().1);
            for len in 0..body.len() {
                assert!(
                    Record::decode(&body[..len]).is_err(),
                    "{record:?} cut at {len}"
                );
            }
            body.push(0);
            assert!(Record::decode(&body).is_err());
        }
    }
}
