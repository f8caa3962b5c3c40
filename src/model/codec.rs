//! Fixed-width little-endian fields, read without trust.

use thiserror::Error;

use crate::model::currency::{Currency, Method, Methods};
use crate::model::ids::{EnvelopeId, NodeId, OfferId, OrderId, OwnerId, PlanId};
use crate::model::instrument::{Market, Pair, VenueId};
use crate::model::market::{Level, Side};
use crate::model::number::{Price, Quantity};
use crate::model::offer::{Asking, Line, Part};
use crate::model::time::Span;
use crate::model::trade::{Draw, Filled, Grant, Purpose};

/// Why a frame is not a message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CodecError {
    #[error("the frame ends within {0}")]
    Short(&'static str),
    #[error("{0} bytes follow the message")]
    Trailing(usize),
    #[error("unknown ordinal {0}")]
    Ordinal(u8),
    #[error("{0} is out of range")]
    Range(&'static str),
}

/// Reads fields from a frame in order.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(frame: &'a [u8]) -> Self {
        Self { rest: frame }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns everything that is left, and leaves nothing.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// `Trailing` where bytes are left.
    pub fn finish(self) -> Result<(), CodecError> {
        match self.rest.len() {
            0 => Ok(()),
            len => Err(CodecError::Trailing(len)),
        }
    }

    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CodecError> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(CodecError::Short(what))?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn u8(&mut self, what: &'static str) -> Result<u8, CodecError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub fn u16(&mut self, what: &'static str) -> Result<u16, CodecError> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64, CodecError> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub fn u128(&mut self, what: &'static str) -> Result<u128, CodecError> {
        self.array(what).map(u128::from_be_bytes)
    }

    pub fn i64(&mut self, what: &'static str) -> Result<i64, CodecError> {
        self.array(what).map(i64::from_le_bytes)
    }

    /// Reads UTF-8 text of at most `max` bytes.
    pub fn text(&mut self, what: &'static str, max: usize) -> Result<String, CodecError> {
        let len = usize::from(self.u8(what)?);
        if len > max {
            return Err(CodecError::Range(what));
        }
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(CodecError::Short(what))?;
        self.rest = rest;
        let text = std::str::from_utf8(head).map_err(|_| CodecError::Range(what))?;
        Ok(text.to_owned())
    }

    pub fn span(&mut self, what: &'static str) -> Result<Span, CodecError> {
        self.u64(what).map(Span)
    }

    /// Reads an amount that may be zero but not negative.
    pub fn quantity(&mut self, what: &'static str) -> Result<Quantity, CodecError> {
        let units = self.array(what).map(i64::from_le_bytes)?;
        (units >= 0)
            .then_some(Quantity(units))
            .ok_or(CodecError::Range(what))
    }

    /// Reads a price above zero.
    pub fn price(&mut self, what: &'static str) -> Result<Price, CodecError> {
        let units = self.array(what).map(i64::from_le_bytes)?;
        (units > 0)
            .then_some(Price(units))
            .ok_or(CodecError::Range(what))
    }

    pub fn flag(&mut self, what: &'static str) -> Result<bool, CodecError> {
        match self.u8(what)? {
            1 => Ok(false),
            2 => Ok(true),
            _ => Err(CodecError::Range(what)),
        }
    }

    pub fn side(&mut self) -> Result<Side, CodecError> {
        match self.u8("side")? {
            1 => Ok(Side::Bid),
            2 => Ok(Side::Ask),
            _ => Err(CodecError::Range("side")),
        }
    }

    pub fn currency(&mut self) -> Result<Currency, CodecError> {
        let code = self.array::<{ Currency::LEN_MAX }>("currency")?;
        Currency::from_bytes(without_padding(&code)).map_err(|_| CodecError::Range("currency"))
    }

    pub fn venue(&mut self) -> Result<VenueId, CodecError> {
        let name = self.array::<{ VenueId::LEN_MAX }>("venue")?;
        VenueId::from_bytes(without_padding(&name)).map_err(|_| CodecError::Range("venue"))
    }

    pub fn market(&mut self) -> Result<Market, CodecError> {
        let venue = self.venue()?;
        let (base, quote) = (self.currency()?, self.currency()?);
        if base == quote {
            return Err(CodecError::Range("pair"));
        }
        Ok(Market {
            venue,
            pair: Pair { base, quote },
        })
    }

    pub fn method(&mut self) -> Result<Method, CodecError> {
        Method::from_ordinal(self.u8("method")?).ok_or(CodecError::Range("method"))
    }

    pub fn node(&mut self) -> Result<NodeId, CodecError> {
        self.array("node").map(NodeId)
    }

    pub fn offer(&mut self) -> Result<OfferId, CodecError> {
        self.array("offer").map(OfferId)
    }

    pub fn owner(&mut self) -> Result<OwnerId, CodecError> {
        self.array("owner").map(OwnerId)
    }

    pub fn line(&mut self) -> Result<Line, CodecError> {
        let quantity = self.quantity("quantity")?;
        let (give, want) = (self.currency()?, self.currency()?);
        let asking = match self.u8("asking")? {
            1 => Asking::Best,
            2 => Asking::AtLeast(self.price("asking price")?),
            _ => return Err(CodecError::Range("asking")),
        };
        let count = self.u8("methods")?;
        let mut methods = Methods::default();
        for _ in 0..count {
            if !methods.push(self.method()?) {
                return Err(CodecError::Range("methods"));
            }
        }
        if give == want || methods.is_empty() || quantity.is_zero() {
            return Err(CodecError::Range("line"));
        }
        Ok(Line {
            quantity,
            give,
            want,
            asking,
            methods,
        })
    }

    /// Reads levels into `levels`, at most `max` of them.
    pub fn levels(&mut self, levels: &mut Vec<Level>, max: usize) -> Result<(), CodecError> {
        let count = usize::from(self.u8("levels")?);
        if count > max {
            return Err(CodecError::Range("levels"));
        }
        for _ in 0..count {
            levels.push(Level {
                price: self.price("level price")?,
                quantity: self.quantity("level quantity")?,
            });
        }
        Ok(())
    }

    /// Reads an amount above zero.
    pub fn amount(&mut self, what: &'static str) -> Result<Quantity, CodecError> {
        self.quantity(what).and_then(|amount| {
            amount
                .is_positive()
                .then_some(amount)
                .ok_or(CodecError::Range(what))
        })
    }

    pub fn filled(&mut self) -> Result<Filled, CodecError> {
        Ok(Filled {
            quantity: self.quantity("filled")?,
            total: self.quantity("total")?,
            fee: self.quantity("fee")?,
        })
    }

    pub fn part(&mut self) -> Result<Part, CodecError> {
        Ok(Part {
            quantity: self.quantity("quantity")?,
            total: self.quantity("total")?,
            method: self.method()?,
        })
    }

    /// Reads a value or its absence.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        match self.flag("presence")? {
            true => read(self).map(Some),
            false => Ok(None),
        }
    }

    pub fn grant(&mut self) -> Result<Grant, CodecError> {
        Ok(Grant {
            envelope: EnvelopeId(self.u64("envelope")?),
            market: self.market()?,
            side: self.side()?,
            first: OrderId(self.u64("first order")?),
            orders: self.u16("orders")?,
            quantity: self.quantity("quantity")?,
            worst_price: self.price("worst price")?,
            notional: self.quantity("notional")?,
        })
    }

    pub fn draw(&mut self) -> Result<Draw, CodecError> {
        Ok(Draw {
            envelope: EnvelopeId(self.u64("envelope")?),
            order: OrderId(self.u64("order")?),
            plan: PlanId(self.u64("plan")?),
            quantity: self.amount("quantity")?,
            limit: self.price("limit")?,
            purpose: if self.flag("recovery")? {
                Purpose::Recover
            } else {
                Purpose::Open
            },
        })
    }
}

/// Appends fields to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_le_bytes());
    }

    /// Writes at most 255 bytes of text.
    pub fn text(&mut self, text: &str) {
        let bytes = &text.as_bytes()[..text.len().min(255)];
        self.u8(u8::try_from(bytes.len()).unwrap_or(0));
        self.raw(bytes);
    }

    pub fn span(&mut self, span: Span) {
        self.u64(span.0);
    }

    pub fn quantity(&mut self, quantity: Quantity) {
        self.raw(&quantity.0.to_le_bytes());
    }

    pub fn price(&mut self, price: Price) {
        self.raw(&price.0.to_le_bytes());
    }

    pub fn flag(&mut self, flag: bool) {
        self.u8(if flag { 2 } else { 1 });
    }

    pub fn side(&mut self, side: Side) {
        self.u8(match side {
            Side::Bid => 1,
            Side::Ask => 2,
        });
    }

    pub fn currency(&mut self, currency: Currency) {
        self.raw(&currency.padded());
    }

    pub fn venue(&mut self, venue: VenueId) {
        self.raw(&venue.padded());
    }

    pub fn market(&mut self, market: Market) {
        self.venue(market.venue);
        self.currency(market.pair.base);
        self.currency(market.pair.quote);
    }

    pub fn line(&mut self, line: &Line) {
        self.quantity(line.quantity);
        self.currency(line.give);
        self.currency(line.want);
        match line.asking {
            Asking::Best => self.u8(1),
            Asking::AtLeast(price) => {
                self.u8(2);
                self.price(price);
            }
        }
        self.u8(u8::try_from(line.methods.len()).unwrap_or(0));
        for method in line.methods.iter() {
            self.u8(method.ordinal());
        }
    }

    /// Writes at most `max` levels.
    pub fn levels(&mut self, levels: impl Iterator<Item = Level>, max: usize) {
        let at = self.out.len();
        self.u8(0);
        let mut count = 0;
        for Level { price, quantity } in levels.take(max) {
            // In one piece: a look at the room a level, and not two.
            let mut level = [0; 16];
            level[..8].copy_from_slice(&price.0.to_le_bytes());
            level[8..].copy_from_slice(&quantity.0.to_le_bytes());
            self.raw(&level);
            count += 1;
        }
        self.out[at] = count;
    }

    pub fn filled(&mut self, filled: &Filled) {
        self.quantity(filled.quantity);
        self.quantity(filled.total);
        self.quantity(filled.fee);
    }

    pub fn part(&mut self, part: &Part) {
        self.quantity(part.quantity);
        self.quantity(part.total);
        self.u8(part.method.ordinal());
    }

    /// Writes a value or its absence.
    pub fn option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub fn grant(&mut self, grant: &Grant) {
        self.u64(grant.envelope.0);
        self.market(grant.market);
        self.side(grant.side);
        self.u64(grant.first.0);
        self.u16(grant.orders);
        self.quantity(grant.quantity);
        self.price(grant.worst_price);
        self.quantity(grant.notional);
    }

    pub fn draw(&mut self, draw: &Draw) {
        self.u64(draw.envelope.0);
        self.u64(draw.order.0);
        self.u64(draw.plan.0);
        self.quantity(draw.quantity);
        self.price(draw.limit);
        self.flag(draw.purpose == Purpose::Recover);
    }
}

fn without_padding(field: &[u8]) -> &[u8] {
    let len = field
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    &field[..len]
}
